//! Durations and sizes as people write them: `30d`, `1s`, `256MiB`.
//!
//! A number and a unit, nothing between or behind. What is printed is read back as the same value.

use std::time::Duration;

/// The text is no duration or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("not a duration: write a number and ms, s, m, h, d or w, such as 30d")]
    Duration,
    /// Not a size.
    #[error("not a size: write a number and B, KiB, MiB, GiB or TiB, such as 256MiB")]
    Size,
}

/// Units of time, in milliseconds, the largest first.
const DURATIONS: &[(&str, u64)] =
    &[("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size, in bytes, the largest first.
const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration: `500ms`, `1s`, `5m`, `12h`, `30d`, `2w`.
///
/// # Errors
///
/// [`UnitError::Duration`] for anything else, and for more than 2^64 milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    // Who writes `12M` means months.
    if text.ends_with('M') {
        return Err(UnitError::Duration);
    }
    parse(text, DURATIONS).map(Duration::from_millis).ok_or(UnitError::Duration)
}

/// Writes a duration with the largest unit that loses nothing; what is below a millisecond is dropped.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // A week is for reading only: 30 days should not come back as something else than days.
    let units = DURATIONS.get(1..).unwrap_or_default();
    if millis == 0 { "0s".to_owned() } else { format(millis, units) }
}

/// Reads a size: `512B`, `64KiB`, `256MiB`, `1GiB`, `2TiB`.
///
/// # Errors
///
/// [`UnitError::Size`] for anything else, and for more than 2^64 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, SIZES).ok_or(UnitError::Size)
}

/// Writes a size with the largest unit that loses nothing.
pub fn format_size(bytes: u64) -> String {
    format(bytes, SIZES)
}

/// A duration as the text of a configuration: `#[serde(with = "duration")]`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes it.
    ///
    /// # Errors
    ///
    /// Those of the format.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// When the text is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::parse_duration(&String::deserialize(deserializer)?).map_err(Error::custom)
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => format!("{value}{}", units.last().map_or("", |(unit, _)| unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_what_they_say() {
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("2W"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(format_duration(Duration::from_secs(30 * 86_400)), "30d");
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_size(1 << 20), "1MiB");
        assert_eq!(format_size(1025), "1025B");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["12M", "", "d", "30", "30 d", "-1d", "1.5h", "1d2h", "18446744073709551615w"] {
            assert_eq!(parse_duration(bad), Err(UnitError::Duration), "{bad}");
        }
        for bad in ["", "MiB", "1", "1MB", "99999999999TiB"] {
            assert_eq!(parse_size(bad), Err(UnitError::Size), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(value: u64) {
            let duration = Duration::from_millis(value);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format_size(value)), Ok(value));
        }
    }
}
