//! Calendar and clock text, in UTC.
//!
//! The ledger keeps times as whole seconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX). This module turns
//! them into text and back, in the proleptic Gregorian calendar. It knows no other time zone and never asks what time
//! it is.

use std::fmt;

/// Seconds in a day.
pub const DAY: u64 = 86_400;
/// The last second of the year 9999: no later time is written or read.
pub const LATEST: u64 = 253_402_300_799;

//--- Civil ----------------------------------------------------------------------------------------------------------

/// A moment as a calendar and a clock show it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil {
    /// The year, 1970 or later.
    pub year: u64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
}

impl Civil {
    /// What the calendar shows at so many seconds after the epoch.
    pub fn from_secs(secs: u64) -> Civil {
        // Years are counted from 1 March, so that a leap day is a year's last; an era is 400 of them, 146,097 days.
        // 719,468 days lie between 1 March of year 0 and the epoch.
        let days = secs / DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let second = secs % DAY;
        Civil {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as u8,
            day: day as u8,
            hour: (second / 3_600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    /// Seconds from the epoch to this moment; `None` when a field is out of its range, or the year is before 1970 or
    /// after 9999.
    pub fn secs(&self) -> Option<u64> {
        let in_range = (1970..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if !in_range {
            return None;
        }
        let (month, day) = (u64::from(self.month), u64::from(self.day));
        let year = self.year - u64::from(month <= 2);
        let (era, year_of_era) = (year / 400, year % 400);
        let month_from_march = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Some(days * DAY + u64::from(self.hour) * 3_600 + u64::from(self.minute) * 60 + u64::from(self.second))
    }
}

/// `YYYY-MM-DD HH:MM:SS`.
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

fn days_in_month(year: u64, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

//--- Text of a time -------------------------------------------------------------------------------------------------

/// `2024-04-12 19:29:12`.
pub fn format_utc(secs: u64) -> String {
    Civil::from_secs(secs).to_string()
}

/// `2024-04-12T19:29:12Z` (RFC 3339).
pub fn format_rfc3339(secs: u64) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::from_secs(secs);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2024-04-12`.
pub fn format_date(secs: u64) -> String {
    let Civil { year, month, day, .. } = Civil::from_secs(secs);
    format!("{year:04}-{month:02}-{day:02}")
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
    let civil = cursor.date()?;
    if !cursor.0.is_empty() {
        return Err(TimeError::Form);
    }
    checked_secs(civil)
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
    let mut civil = Civil { year: cursor.number(4)?, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
    let mut length = None;
    if cursor.skip(|byte| byte == b'-') {
        civil.month = cursor.number(2)? as u8;
        length = Some(DAY * u64::from(days_in_month(civil.year, civil.month)));
        if cursor.skip(|byte| byte == b'-') {
            civil.day = cursor.number(2)? as u8;
            length = Some(DAY);
            if cursor.skip(|byte| matches!(byte, b'T' | b't' | b' ')) {
                civil.hour = cursor.number(2)? as u8;
                length = Some(3_600);
                if cursor.skip(|byte| byte == b':') {
                    civil.minute = cursor.number(2)? as u8;
                    length = Some(60);
                }
            }
        }
    }
    if !cursor.0.is_empty() {
        return Err(TimeError::Form);
    }
    let start = checked_secs(civil)?;
    let days = if days_in_month(civil.year, 2) == 29 { 366 } else { 365 };
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
    let mut civil = cursor.date()?;
    if !cursor.skip(|byte| matches!(byte, b'T' | b't' | b' ')) {
        return Err(TimeError::Form);
    }
    civil.hour = cursor.number(2)? as u8;
    cursor.expect(b':')?;
    civil.minute = cursor.number(2)? as u8;
    cursor.expect(b':')?;
    let second = cursor.number(2)? as u8;
    let leap = second == 60;
    civil.second = if leap { 59 } else { second };
    if cursor.skip(|byte| byte == b'.') {
        cursor.number(1)?;
        while cursor.skip(|byte| byte.is_ascii_digit()) {}
    }
    let secs = checked_secs(civil)? + u64::from(leap);
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

fn checked_secs(civil: Civil) -> Result<u64, TimeError> {
    if !(1970..=9999).contains(&civil.year) {
        return Err(TimeError::Year);
    }
    civil.secs().ok_or(TimeError::Range)
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn date(&mut self) -> Result<Civil, TimeError> {
        let year = self.number(4)?;
        self.expect(b'-')?;
        let month = self.number(2)? as u8;
        self.expect(b'-')?;
        let day = self.number(2)? as u8;
        Ok(Civil { year, month, day, hour: 0, minute: 0, second: 0 })
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
        assert_eq!(Civil::from_secs(u64::MAX).year, 584_554_051_223);
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut previous = Civil::from_secs(0);
        for day in 1..146_097 {
            let civil = Civil::from_secs(day * DAY);
            let expected = if previous.day < days_in_month(previous.year, previous.month) {
                (previous.year, previous.month, previous.day + 1)
            } else if previous.month < 12 {
                (previous.year, previous.month + 1, 1)
            } else {
                (previous.year + 1, 1, 1)
            };
            assert_eq!((civil.year, civil.month, civil.day), expected);
            previous = civil;
        }
        assert_eq!((previous.year, previous.month, previous.day), (2369, 12, 31));
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
            prop_assert_eq!(Civil::from_secs(secs).secs(), Some(secs));
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
