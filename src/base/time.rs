//! Calendar and clock text, in UTC.
//!
//! The ledger keeps times as whole seconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX). This module turns
//! them into text and back. The calendar is that of jiff. It knows no other time zone and never asks what time
//! it is.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};

/// Seconds in a day.
pub const DAY: u64 = 86_400;
/// The last second of the year 9999: no later time is written or read.
pub const LATEST: u64 = 253_402_300_799;

/// Bytes of a time as text, at most.
const TEXT_BYTES: usize = "2024-04-12T19:29:12.123Z".len();

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

//--- Text of a time -------------------------------------------------------------------------------------------------

/// What a calendar and a clock show at so many seconds after the epoch; the last second of the year 9999 for all that are later.
pub fn civil(secs: u64) -> DateTime {
    let since = SignedDuration::from_secs(i64::try_from(secs.min(LATEST)).unwrap_or_default());
    EPOCH.checked_add(since).unwrap_or(EPOCH)
}

/// The second at which the calendar and the clock show year, month, day, hour, minute and second; `None` when there is none, or
/// the year is before 1970 or after 9999.
pub fn epoch_secs([year, month, day, hour, minute, second]: [u64; 6]) -> Option<u64> {
    let small = |field: u64| i8::try_from(field).ok();
    let year = i16::try_from(year).ok()?;
    let (hour, minute, second) = (small(hour)?, small(minute)?, small(second)?);
    let moment = DateTime::new(year, small(month)?, small(day)?, hour, minute, second, 0).ok()?;
    u64::try_from(moment.duration_since(EPOCH).as_secs()).ok()
}

/// `2024-04-12 19:29:12`.
pub fn format_utc(secs: u64) -> String {
    let civil = civil(secs);
    let mut text = text_of_date(civil);
    text.push(' ');
    push_clock(civil, &mut text);
    text
}

/// A time of RFC 3339 in UTC as people read it: with a blank for the `T`, and without the `Z`.
pub fn spaced_utc(rfc3339: &str) -> String {
    rfc3339.trim_end_matches('Z').replacen('T', " ", 1)
}

/// `2024-04-12T19:29:12Z` (RFC 3339).
pub fn format_rfc3339(secs: u64) -> String {
    let civil = civil(secs);
    let mut text = text_of_date(civil);
    text.push('T');
    push_clock(civil, &mut text);
    text.push('Z');
    text
}

/// `2024-04-12`.
pub fn format_date(secs: u64) -> String {
    text_of_date(civil(secs))
}

/// A date, with room for a time behind it. Answers have two times in each row: digit by digit they cost a fraction of what a formatter does.
fn text_of_date(civil: DateTime) -> String {
    let mut text = String::with_capacity(TEXT_BYTES);
    let year = civil.year().unsigned_abs();
    push_two(u8::try_from(year / 100).unwrap_or_default(), &mut text);
    push_two(u8::try_from(year % 100).unwrap_or_default(), &mut text);
    for part in [civil.month(), civil.day()] {
        text.push('-');
        push_two(part.unsigned_abs(), &mut text);
    }
    text
}

fn push_clock(civil: DateTime, text: &mut String) {
    push_two(civil.hour().unsigned_abs(), text);
    for part in [civil.minute(), civil.second()] {
        text.push(':');
        push_two(part.unsigned_abs(), text);
    }
}

fn push_two(number: u8, text: &mut String) {
    text.push(char::from(b'0' + number / 10));
    text.push(char::from(b'0' + number % 10));
}

//--- Reading a time -------------------------------------------------------------------------------------------------

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It does not look like one.
    #[error("expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ")]
    Form,
    /// It looks like one and there is no such day or hour.
    #[error("there is no such date or time of day")]
    Range,
    /// It lies outside of the years 1970 to 9999.
    #[error("only the years 1970 to 9999 are known")]
    Year,
}

/// The first second of a day, from `2024-04-12`.
///
/// # Errors
///
/// When the text is not exactly of that form, or there is no such day.
pub fn parse_date(text: &str) -> Result<u64, TimeError> {
    let mut cursor = Cursor(text.as_bytes());
    let [year, month, day] = cursor.date()?;
    if !cursor.0.is_empty() {
        return Err(TimeError::Form);
    }
    checked_secs([year, month, day, 0, 0, 0])
}

/// The first and the last second of a year, a month, a day, an hour or a minute: `2024`, `2024-04`, `2024-04-12`,
/// `2024-04-12T19`, `2024-04-12T19:29`, the latter two with or without a `Z`.
///
/// # Errors
///
/// When the text is of another form, or there is no such time.
pub fn parse_period(text: &str) -> Result<(u64, u64), TimeError> {
    let bytes = text.as_bytes();
    let mut cursor = Cursor(if bytes.len() > 10 { bytes.strip_suffix(b"Z").unwrap_or(bytes) } else { bytes });
    let (year, mut month, mut day, mut hour, mut minute) = (cursor.number(4)?, 1, 1, 0, 0);
    let mut length = None;
    let is_year = !cursor.skip(|byte| byte == b'-');
    if !is_year {
        month = cursor.number(2)?;
        if cursor.skip(|byte| byte == b'-') {
            day = cursor.number(2)?;
            length = Some(DAY);
            if cursor.skip(|byte| matches!(byte, b'T' | b't' | b' ')) {
                hour = cursor.number(2)?;
                length = Some(3_600);
                if cursor.skip(|byte| byte == b':') {
                    minute = cursor.number(2)?;
                    length = Some(60);
                }
            }
        }
    }
    if !cursor.0.is_empty() {
        return Err(TimeError::Form);
    }
    let start = checked_secs([year, month, day, hour, minute, 0])?;
    let first = civil(start);
    let days = if is_year { first.days_in_year() as u64 } else { first.days_in_month() as u64 };
    Ok((start, start + length.unwrap_or(days * DAY) - 1))
}

/// Epoch seconds from an RFC 3339 time such as `2024-04-12T19:29:12Z` or `2024-04-12t21:29:12.5+02:00`.
///
/// A space may stand for the `T`, and without an offset the time is UTC, so that [`format_utc`] is read back. A fraction
/// is cut off. A leap second (`:60`) is the first second of the next minute, as POSIX counts.
///
/// # Errors
///
/// When the text is of another form, there is no such moment, or it is before 1970.
pub fn parse_rfc3339(text: &str) -> Result<u64, TimeError> {
    let mut cursor = Cursor(text.as_bytes());
    let [year, month, day] = cursor.date()?;
    if !cursor.skip(|byte| matches!(byte, b'T' | b't' | b' ')) {
        return Err(TimeError::Form);
    }
    let hour = cursor.number(2)?;
    cursor.expect(b':')?;
    let minute = cursor.number(2)?;
    cursor.expect(b':')?;
    let second = cursor.number(2)?;
    let leap = second == 60;
    if cursor.skip(|byte| byte == b'.') {
        cursor.number(1)?;
        while cursor.skip(|byte| byte.is_ascii_digit()) {}
    }
    let whole = if leap { 59 } else { second };
    let secs = checked_secs([year, month, day, hour, minute, whole])? + u64::from(leap);
    match cursor.0.split_first() {
        None | Some((b'Z' | b'z', [])) => Ok(secs),
        Some((sign @ (b'+' | b'-'), rest)) => {
            cursor.0 = rest;
            let hours = cursor.number(2)?;
            cursor.expect(b':')?;
            let minutes = cursor.number(2)?;
            if !cursor.0.is_empty() {
                return Err(TimeError::Form);
            }
            if hours > 23 || minutes > 59 {
                return Err(TimeError::Range);
            }
            let offset = hours * 3_600 + minutes * 60;
            if *sign == b'-' { Ok(secs + offset) } else { secs.checked_sub(offset).ok_or(TimeError::Year) }
        }
        Some(_) => Err(TimeError::Form),
    }
}

fn checked_secs(fields: [u64; 6]) -> Result<u64, TimeError> {
    let [year, ..] = fields;
    if !(1970..=9999).contains(&year) {
        return Err(TimeError::Year);
    }
    epoch_secs(fields).ok_or(TimeError::Range)
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn date(&mut self) -> Result<[u64; 3], TimeError> {
        let year = self.number(4)?;
        self.expect(b'-')?;
        let month = self.number(2)?;
        self.expect(b'-')?;
        Ok([year, month, self.number(2)?])
    }

    /// Reads a number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Result<u64, TimeError> {
        let (number, rest) = self.0.split_at_checked(digits).ok_or(TimeError::Form)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, byte| match byte {
            b'0'..=b'9' => Ok(sum * 10 + u64::from(byte - b'0')),
            _ => Err(TimeError::Form),
        })
    }

    fn expect(&mut self, wanted: u8) -> Result<(), TimeError> {
        if self.skip(|byte| byte == wanted) { Ok(()) } else { Err(TimeError::Form) }
    }

    /// Passes over the next byte if it is a wanted one; says whether it was.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        match self.0.split_first() {
            Some((&byte, rest)) if wanted(byte) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_have_their_text() {
        for (secs, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_704_067_199, "2023-12-31 23:59:59"),
            (1_712_950_152, "2024-04-12 19:29:12"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_300_799, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(format_utc(secs), text);
            assert_eq!(parse_rfc3339(text), Ok(secs));
        }
        assert_eq!(format_rfc3339(1_712_950_152), "2024-04-12T19:29:12Z");
        assert_eq!(format_date(1_712_950_152), "2024-04-12");
    }

    #[test]
    fn no_number_of_seconds_is_too_large_to_print() {
        assert_eq!(format_utc(u64::MAX), "9999-12-31 23:59:59");
    }

    #[test]
    fn only_days_that_there_are_have_a_second() {
        for (year, month, day) in [(2024, 2, 31), (2023, 2, 29), (2100, 2, 29), (2024, 4, 31), (2024, 0, 1)] {
            assert_eq!(epoch_secs([year, month, day, 0, 0, 0]), None, "{year}-{month}-{day}");
        }
        assert_eq!(epoch_secs([2024, 2, 29, 23, 59, 59]), Some(1_709_251_199));
        assert_eq!(epoch_secs([1969, 12, 31, 23, 59, 59]), None);
        assert_eq!(epoch_secs([2024, 2, 29, 24, 0, 0]), None);
        assert_eq!(epoch_secs([2024, u64::MAX, 1, 0, 0, 0]), None);
    }

    #[test]
    fn offsets_fractions_and_leap_seconds_are_read() {
        let expected = Ok(1_712_950_152);
        assert_eq!(parse_rfc3339("2024-04-12T21:29:12+02:00"), expected);
        assert_eq!(parse_rfc3339("2024-04-12t15:59:12.999999-03:30"), expected);
        assert_eq!(parse_rfc3339("2024-04-12 19:29:12z"), expected);
        assert_eq!(parse_rfc3339("2016-12-31T23:59:60Z"), parse_rfc3339("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        for text in ["", "2024", "2024-4-12", "2024-04-12T", "2024-04-12T1:02:03Z", "2024-04-12T01:02:03.Z"] {
            assert_eq!(parse_rfc3339(text), Err(TimeError::Form), "{text}");
        }
        for text in ["2024-04-12T01:02:03X", "2024-04-12T01:02:03+0200", "+024-04-12T01:02:03Z"] {
            assert_eq!(parse_rfc3339(text), Err(TimeError::Form), "{text}");
        }
        for text in ["2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-04-31T00:00:00Z"] {
            assert_eq!(parse_rfc3339(text), Err(TimeError::Range), "{text}");
        }
        for text in ["2024-04-12T24:00:00Z", "2024-04-12T00:00:61Z", "2024-04-12T00:00:00+24:00"] {
            assert_eq!(parse_rfc3339(text), Err(TimeError::Range), "{text}");
        }
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), Err(TimeError::Year));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00+00:01"), Err(TimeError::Year));
        assert_eq!(parse_date("2024-04-12"), Ok(1_712_880_000));
        assert_eq!(parse_date("2024-04-12 "), Err(TimeError::Form));
        assert_eq!(parse_date("1900-02-29"), Err(TimeError::Year));
        assert_eq!(parse_date("2100-02-29"), Err(TimeError::Range));
    }

    #[test]
    fn a_period_has_its_first_and_its_last_second() {
        for (text, first, last) in [
            ("2024", "2024-01-01 00:00:00", "2024-12-31 23:59:59"),
            ("2023", "2023-01-01 00:00:00", "2023-12-31 23:59:59"),
            ("2024-02", "2024-02-01 00:00:00", "2024-02-29 23:59:59"),
            ("2024-12", "2024-12-01 00:00:00", "2024-12-31 23:59:59"),
            ("2024-04-12", "2024-04-12 00:00:00", "2024-04-12 23:59:59"),
            ("2024-04-12T19", "2024-04-12 19:00:00", "2024-04-12 19:59:59"),
            ("2024-04-12 19:29", "2024-04-12 19:29:00", "2024-04-12 19:29:59"),
            ("2024-04-12T19Z", "2024-04-12 19:00:00", "2024-04-12 19:59:59"),
            ("9999", "9999-01-01 00:00:00", "9999-12-31 23:59:59"),
        ] {
            let (start, end) = parse_period(text).unwrap();
            assert_eq!((format_utc(start).as_str(), format_utc(end).as_str()), (first, last), "{text}");
        }
        for text in ["", "24", "2024-4", "2024-", "2024-04-12T", "2024-04-12T19:29:12", "2024-04Z", "20240"] {
            assert_eq!(parse_period(text), Err(TimeError::Form), "{text}");
        }
        assert_eq!(parse_period("2024-13"), Err(TimeError::Range));
        assert_eq!(parse_period("2023-02-29"), Err(TimeError::Range));
        assert_eq!(parse_period("1969"), Err(TimeError::Year));
    }

    proptest! {
        #[test]
        fn every_form_is_read_back(secs in 0u64..=253_402_300_799) {
            prop_assert_eq!(parse_rfc3339(&format_utc(secs)), Ok(secs));
            prop_assert_eq!(parse_rfc3339(&format_rfc3339(secs)), Ok(secs));
            prop_assert_eq!(parse_date(&format_date(secs)), Ok(secs - secs % DAY));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,32}") {
            let _ = (parse_date(&text), parse_rfc3339(&text), parse_period(&text));
        }
    }
}
