//! The ways Zeek writes a time, each read to microseconds since the epoch.
//!
//! TSV has `%.6f` seconds. JSON has, by `LogAscii::json_timestamps`, a double in its shortest form, whole
//! milliseconds, or ISO 8601 in UTC (`scripts/base/frameworks/logging/writers/ascii.zeek`,
//! `src/threading/formatters/JSON.cc`). A time before 1970 or after the year 9999 is no time here.

use crate::base::time::epoch_secs;

/// The last second of the year 9999.
const MAX_MICROS: u64 = 253_402_300_799_999_999;
const MICROS: u64 = 1_000_000;
/// Whole JSON numbers below this are seconds (to the year 5138), from it on milliseconds (from 1973).
const MILLIS_FROM: u64 = 100_000_000_000;

/// Reads seconds with an optional fraction, as TSV has them.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    let mut whole = 0u64;
    let mut at = 0;
    while let Some(digit) = text.get(at).and_then(digit) {
        if at == 12 {
            return None; // beyond the year 9999, and far from an overflow
        }
        whole = whole * 10 + digit;
        at += 1;
    }
    let mut fraction = 0;
    match (at, text.get(at)) {
        (0, _) => return None,
        (_, None) => {}
        (_, Some(b'.')) => {
            let digits = text.get(at + 1..)?;
            if digits.is_empty() {
                return None;
            }
            if digits.len() > 6 {
                return if digits.iter().all(u8::is_ascii_digit) { from_f64(text) } else { None };
            }
            for byte in digits {
                fraction = fraction * 10 + digit(byte)?;
            }
            for _ in digits.len()..6 {
                fraction *= 10;
            }
        }
        _ => return None,
    }
    bounded(whole * MICROS + fraction)
}

/// Reads a JSON number: a double is seconds; a whole number is milliseconds, or seconds if it is too small for that
/// (some shippers write the double 1617105592.0 without its fraction).
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        let whole: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let unit = if whole < MILLIS_FROM { MICROS } else { 1_000 };
        return bounded(whole.checked_mul(unit)?);
    }
    if text.iter().any(|b| matches!(b, b'e' | b'E')) { from_f64(text) } else { seconds(text) }
}

/// Reads a JSON string: ISO 8601, or seconds that somebody quoted.
pub(super) fn text(text: &[u8]) -> Option<u64> {
    if text.get(4) == Some(&b'-') { iso_8601(text) } else { seconds(text) }
}

/// Reads `YYYY-MM-DDThh:mm:ss`, an optional fraction, and `Z` or an offset.
///
/// Zeek rounds the fraction by itself: from .9999995 on it writes `.1000000`, seven digits, and means one second more.
fn iso_8601(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_first_chunk::<19>()?;
    let separators = [date[4], date[7], date[10], date[13], date[16]];
    if separators != *b"--T::" {
        return None;
    }
    let part = |from: usize, to: usize| date.get(from..to).and_then(digits);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // A leap second is the one after the last of its minute.
    if second > 60 {
        return None;
    }
    let secs = epoch_secs([year, month, day, hour, minute, second.min(59)])? + second / 60;
    let (mut micros, rest) = match rest.split_first() {
        Some((b'.', rest)) => {
            let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let (fraction, rest) = rest.split_at_checked(length)?;
            (fraction_micros(fraction)?, rest)
        }
        _ => (0, rest),
    };
    micros += secs * MICROS;
    match rest {
        b"Z" => bounded(micros),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            let offset = (digits(&[*h1, *h2])? * 3_600 + digits(&[*m1, *m2])? * 60) * MICROS;
            bounded(if *sign == b'+' { micros.checked_sub(offset)? } else { micros + offset })
        }
        _ => None,
    }
}

/// Microseconds of the digits behind a point.
fn fraction_micros(fraction: &[u8]) -> Option<u64> {
    match fraction {
        [] => None,
        b"1000000" => Some(MICROS),
        _ => {
            let kept = fraction.get(..6).unwrap_or(fraction);
            let missing = u32::try_from(6 - kept.len()).ok()?;
            let up = u64::from(fraction.get(6).is_some_and(|&b| b >= b'5'));
            Some(digits(kept)? * 10u64.pow(missing) + up)
        }
    }
}

/// Reads a number as the double it was written from, and rounds that as `%.6f` does: exactly, half to even.
fn from_f64(text: &[u8]) -> Option<u64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if !(0.0..=1e12).contains(&value) {
        return None;
    }
    let bits = value.to_bits();
    let (biased, fraction) = ((bits >> 52) as i32, u128::from(bits & ((1 << 52) - 1)));
    let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
    // value = mantissa / 2^shift; at most 1e12, so the shift is 13 or more.
    let shift = u32::try_from(1_075 - biased.max(1)).ok()?;
    let scaled = mantissa * u128::from(MICROS);
    if shift >= 128 {
        return Some(0);
    }
    let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1));
    let up = rest > half || rest == half && whole & 1 == 1;
    bounded(u64::try_from(whole).ok()? + u64::from(up))
}

fn bounded(micros: u64) -> Option<u64> {
    (micros <= MAX_MICROS).then_some(micros)
}

fn digit(byte: &u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

/// A few digits and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value: u64, byte| Some(value * 10 + digit(byte)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: u64 = 1_521_911_720_865_716;

    #[test]
    fn seconds_of_tsv_are_read_to_the_microsecond() {
        assert_eq!(seconds(b"1521911720.865716"), Some(T));
        assert_eq!(seconds(b"1521911720"), Some(T / MICROS * MICROS));
        assert_eq!(seconds(b"0.000001"), Some(1));
        assert_eq!(seconds(b"1.5"), Some(1_500_000));
        let bad: &[&[u8]] = &[
            b"",
            b"-",
            b"-1.000000",
            b".5",
            b"1.",
            b"1.x",
            b"1,5",
            b"inf",
            b"nan",
            b"XXXXXXXXXX.XXXXXX",
            b" 1",
            b"1 ",
            b"1e9",
            b"999999999999.0",
            b"3140000000000000.000000",
            b"1521911720.86571x",
            b"1521911720.8657161x",
            b"1.0000000e9",
        ];
        for text in bad {
            assert_eq!(seconds(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn json_numbers_are_seconds_or_milliseconds() {
        assert_eq!(number(b"1521911720.865716"), Some(T));
        assert_eq!(number(b"1521911720865"), Some(1_521_911_720_865_000));
        assert_eq!(number(b"1521911720"), Some(1_521_911_720_000_000));
        assert_eq!(number(b"1.5219117208657160e9"), Some(T));
        assert_eq!(number(b"1e-7"), Some(0));
        assert_eq!(number(b"5e-324"), Some(0));
        // Milliseconds of 1960, signed and unsigned (Zeek before 8.0), and a double of 1960.
        for text in
            ["-315619200000", "18446743758090351616", "-315619200.0", "1e400", "99999999999999999999999"]
        {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn iso_8601_has_six_digits_or_seven() {
        assert_eq!(text(b"2018-03-24T17:15:20.865716Z"), Some(T));
        assert_eq!(text(b"2018-03-24T17:15:20Z"), Some(T / MICROS * MICROS));
        assert_eq!(text(b"2018-03-24T19:15:20.865716+02:00"), Some(T));
        assert_eq!(text(b"2018-03-24T15:45:20.8657164-01:30"), Some(T));
        assert_eq!(text(b"2018-03-24T19:15:20.865716+0200"), Some(T));
        assert_eq!(text(b"2018-12-31T23:59:59.1000000Z"), text(b"2019-01-01T00:00:00.000000Z"));
        assert_eq!(text(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(text(b"2016-12-31T23:59:60Z"), text(b"2017-01-01T00:00:00Z"));
        assert_eq!(text(b"2000-02-29T00:00:00Z"), Some(951_782_400 * MICROS));
        assert_eq!(text(b"9999-12-31T23:59:59.999999Z"), Some(MAX_MICROS));
        assert_eq!(text(b"1521911720.865716"), Some(T));
        for bad in [
            "1960-01-01T00:00:00.000000Z",
            "2018-03-24 17:15:20.865716Z",
            "2018-03-24T17:15:20.865716",
            "2018-03-24T17:15:20.Z",
            "2018-13-24T17:15:20Z",
            "2018-02-31T17:15:20Z",
            "2019-02-29T17:15:20Z",
            "2018-04-31T17:15:20Z",
            "2018-03-24T17:15:2",
            "9999-12-31T23:59:59.1000000Z",
            "1970-01-01T00:00:00+01:00",
            "0000-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(text(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        /// Zeek prints one double as `%.6f` in TSV and in its shortest form in JSON.
        #[test]
        fn both_forms_of_one_double_are_one_time(value in 0f64..4e9) {
            let (tsv, json) = (format!("{value:.6}"), format!("{value:?}"));
            prop_assert_eq!(seconds(tsv.as_bytes()), number(json.as_bytes()), "{} {}", tsv, json);
        }

        #[test]
        fn any_bytes_are_a_time_or_none(raw in proptest::collection::vec(any::<u8>(), 0..40), ascii in "[-0-9.TZ:eE+]{0,30}") {
            for raw in [raw.as_slice(), ascii.as_bytes()] {
                for read in [seconds, number, text] {
                    prop_assert!(read(raw).is_none_or(|micros| micros <= MAX_MICROS));
                }
            }
        }
    }
}
