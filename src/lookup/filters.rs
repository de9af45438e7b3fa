//! Filters: which of the rows found are wanted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::time::{DAY, parse_period, parse_rfc3339};
use crate::base::units::parse_duration;
use crate::dns::{Name, RrType};
use crate::observation::{Halves, Seen, SensorId};
use crate::store::{Condition, Entry, Fence, Question, ReadStore};

use super::QueryError;

/// The filters by name, as URL parameters have them.
pub const FILTER_KEYS: &[&str] = &[
    "type",
    "sensor",
    "direct",
    "first_before",
    "first_after",
    "last_before",
    "last_after",
    "during",
    "limit",
];

//--- Types ----------------------------------------------------------------------------------------------------------

/// Which record types are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Types {
    /// All types.
    #[default]
    All,
    /// `ANY`: all that do not exist for DNSSEC only, as the DNSDB API has it.
    Any,
    /// `ANY-DNSSEC`: those that exist for DNSSEC only.
    AnyDnssec,
    /// These.
    Of(Vec<RrType>),
}

impl Types {
    /// Whether a type is among them.
    pub fn contains(&self, rrtype: RrType) -> bool {
        match self {
            Types::All => true,
            Types::Any => !rrtype.is_dnssec(),
            Types::AnyDnssec => rrtype.is_dnssec(),
            Types::Of(types) => types.contains(&rrtype),
        }
    }

    /// Reads `A`, `A,AAAA`, `TYPE65280`, `ANY` or `ANY-DNSSEC`, in any case.
    ///
    /// # Errors
    ///
    /// When a part is no type.
    pub fn parse(text: &str) -> Result<Types, QueryError> {
        if text.eq_ignore_ascii_case("ANY") {
            return Ok(Types::Any);
        }
        if text.eq_ignore_ascii_case("ANY-DNSSEC") {
            return Ok(Types::AnyDnssec);
        }
        let mut types = Vec::new();
        let mut at = 0;
        for part in text.split(',') {
            let rrtype = part.trim().parse().map_err(|_| {
                let hint = "a mnemonic such as AAAA, TYPE and a number up to 65535, ANY or ANY-DNSSEC";
                QueryError::new(text, at, "not a record type", hint)
            })?;
            types.push(rrtype);
            at += part.len() + 1;
        }
        Ok(Types::Of(types))
    }
}

//--- Filters --------------------------------------------------------------------------------------------------------

/// Which of the rows found are wanted, and how many. All fences are inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// Record types.
    pub types: Types,
    /// Only what this sensor saw.
    pub sensor: Option<String>,
    /// Only what was seen at the name itself, with the figures of that alone.
    pub direct: bool,
    /// First seen at this second or before.
    pub first_before: Option<u64>,
    /// First seen at this second or after.
    pub first_after: Option<u64>,
    /// Last seen at this second or before.
    pub last_before: Option<u64>,
    /// Last seen at this second or after.
    pub last_after: Option<u64>,
    /// Seen from this second to that one, as far as the first and the last sighting tell.
    pub during: Option<(u64, u64)>,
    /// Only rrnames at or below this name; it has no key, for a query says the same.
    pub below: Option<Name>,
    /// The most rows.
    pub limit: Option<u64>,
}

impl Filters {
    /// Sets a filter by its name; says whether there is one of that name. `now` is epoch seconds, for ages.
    ///
    /// # Errors
    ///
    /// When the value is none of that filter's.
    pub fn set(&mut self, key: &str, value: &str, now: u64) -> Result<bool, QueryError> {
        match key {
            "type" => self.types = Types::parse(value)?,
            "sensor" => self.sensor = Some(value.to_owned()),
            "direct" => self.direct = parse_bool(value)?,
            "first_before" => self.first_before = Some(parse_time(value, now, true)?),
            "first_after" => self.first_after = Some(parse_time(value, now, false)?),
            "last_before" => self.last_before = Some(parse_time(value, now, true)?),
            "last_after" => self.last_after = Some(parse_time(value, now, false)?),
            "during" => self.during = Some(parse_during(value, now)?),
            "limit" => self.limit = Some(parse_limit(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether a question is of a type and a sensor that are wanted, and was asked when it is wanted.
    pub fn wants_question(&self, question: &Question) -> bool {
        self.types.contains(question.qtype)
            && self.sensor.as_ref().is_none_or(|sensor| **sensor == *question.sensor)
            && self.is_time(question.asked.time_first, question.asked.time_last)
    }

    /// Whether a row is of a type and a sensor that are wanted, and was seen when it is wanted.
    pub fn wants_entry(&self, entry: &Entry) -> bool {
        self.types.contains(entry.tuple.rrtype)
            && self.sensor.as_ref().is_none_or(|sensor| **sensor == *entry.sensor)
            && self.select(&entry.halves).is_some()
    }

    /// Whether there may be questions that they leave out.
    pub fn narrow_questions(&self) -> bool {
        self.types != Types::default() || self.sensor.is_some() || self.fences().next().is_some()
    }

    /// Whether the first and the last sighting are within all fences.
    fn is_time(&self, first: u64, last: u64) -> bool {
        self.fences().all(|fence| fence.holds(first, last))
    }

    /// The bounds on times.
    fn fences(&self) -> impl Iterator<Item = Fence> {
        let (from, up_to) = self.during.unzip();
        let fences = [
            self.first_before.map(Fence::FirstUpTo),
            self.first_after.map(Fence::FirstFrom),
            self.last_before.map(Fence::LastUpTo),
            self.last_after.map(Fence::LastFrom),
            up_to.map(Fence::FirstUpTo),
            from.map(Fence::LastFrom),
        ];
        fences.into_iter().flatten()
    }

    /// What each row or question meets that they want; of all sensors, where their rows are one.
    pub(super) fn condition(&self, merges_sensors: bool) -> Condition {
        let types = match &self.types {
            Types::Of(types) => Some(Condition::Types(types.clone())),
            Types::All | Types::Any | Types::AnyDnssec => None,
        };
        let sensor = self.sensor.clone().filter(|_| !merges_sensors).map(Condition::Sensor);
        let seen = self.fences().map(Condition::Seen);
        Condition::all([types, sensor].into_iter().flatten().chain(seen))
    }

    /// Whether a row was seen within the time that is asked for, if one is. The last 64 days of a row are kept.
    pub fn seen_during(&self, seen: &Seen) -> Option<During> {
        let (from, to) = self.during?;
        let first_kept = (seen.time_last / DAY).saturating_sub(63);
        Some(match is_seen_within(seen, (from, to)) {
            true => During::Seen,
            false if from.max(seen.time_first) / DAY >= first_kept => During::NoDay,
            false => During::Unknown,
        })
    }

    /// The figures of a row that are asked for, if it is wanted by them.
    pub(super) fn select(&self, halves: &Halves) -> Option<Seen> {
        let seen = if self.direct { halves.direct } else { halves.combined() };
        (self.is_time(seen.time_first, seen.time_last) && !seen.is_none()).then_some(seen)
    }
}

/// Whether a row was seen within the time that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum During {
    /// On a day of it.
    Seen,
    /// Before and after it; its days are not kept.
    Unknown,
    /// Before and after it, and of its days, which are kept, on none.
    NoDay,
}

impl During {
    /// In a word or two; nothing of what was seen then.
    pub fn in_words(self) -> &'static str {
        match self {
            During::Seen => "",
            During::Unknown => "before and after",
            During::NoDay => "no day in it",
        }
    }

    /// The word that JSON answers have for it.
    pub fn name(self) -> &'static str {
        match self {
            During::Seen => "seen",
            During::Unknown => "unknown",
            During::NoDay => "no_day",
        }
    }
}

/// Whether a row was seen on a day of a stretch of time, as far as its days are known.
pub fn is_seen_within(seen: &Seen, (from, to): (u64, u64)) -> bool {
    let is_within = |time: u64| (from..=to).contains(&time);
    let last_day = seen.time_last / DAY;
    is_within(seen.time_first)
        || is_within(seen.time_last)
        || (0..64).filter(|bit| seen.days >> bit & 1 == 1).any(|bit| {
            let start = last_day.saturating_sub(bit) * DAY;
            start <= to && start + DAY > from
        })
}

/// Reads a truth value as clients spell it: `true`, `True`, `t`, `1`, `yes`, and their opposites.
///
/// # Errors
///
/// When the text is none.
pub fn parse_bool(text: &str) -> Result<bool, QueryError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err(QueryError::new(text, 0, "not a truth value", "true or false")),
    }
}

fn parse_limit(text: &str) -> Result<u64, QueryError> {
    match text.parse() {
        Ok(limit) if limit > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(limit),
        _ => Err(QueryError::new(text, 0, "not a limit", "a number of rows, 1 or more")),
    }
}

/// A time: epoch seconds, RFC 3339, a date (its last second where that is the end of something), or an age.
fn parse_time(text: &str, now: u64, end: bool) -> Result<u64, QueryError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(seconds) if seconds > GREATEST_TIME => {
                Err(QueryError::new(text, 0, "not a time: these may be milliseconds since 1970", TIMES))
            }
            Ok(seconds) if seconds >= LEAST_TIME => Ok(seconds),
            // Days were meant, or a year.
            Ok(_) => Err(QueryError::new(
                text,
                0,
                "not a time: seconds since 1970 have nine digits or more",
                TIMES,
            )),
            Err(_) => Err(QueryError::new(text, 0, "not a time", TIMES)),
        };
    }
    if let Some((first, last)) = period(text, now) {
        return Ok(if end { last } else { first });
    }
    if let Ok(age) = parse_duration(text) {
        return Ok(now.saturating_sub(age.as_secs()));
    }
    parse_rfc3339(text)
        .or_else(|error| {
            // In a URL a plus sign is a space.
            let zone =
                text.len().checked_sub(6).filter(|&at| text.get(at..at + 1) == Some(" ")).ok_or(error)?;
            let (time, offset) = text.split_at_checked(zone).ok_or(error)?;
            parse_rfc3339(&format!("{time}+{}", offset.trim_start()))
        })
        .map_err(|error| QueryError::new(text, 0, format!("not a time: {error}"), TIMES))
}

/// The first second of a time: what is seen then or after is since that time.
pub(super) fn time_after(text: &str, now: u64) -> Result<u64, QueryError> {
    parse_time(text, now, false)
}

/// Epoch seconds below this are a slip of the hand: no record is older than 2000.
const LEAST_TIME: u64 = 100_000_000;
/// Above this, in the year 5138, as well.
const GREATEST_TIME: u64 = 100_000_000_000;
const TIMES: &str = "a date such as 2024-03-01, a month 2024-03, an hour 2024-03-01T17, 2024-03-01T12:00:00Z, today, \
                     yesterday, an age with its unit such as 7d, or epoch seconds";

/// A month, a day, an hour or a minute, `today` and `yesterday`: the first and the last second. All is UTC.
fn period(text: &str, now: u64) -> Option<(u64, u64)> {
    let day = |start: u64| (start, start + DAY - 1);
    match text.to_ascii_lowercase().as_str() {
        "today" => Some(day(now - now % DAY)),
        "yesterday" => Some(day((now - now % DAY).saturating_sub(DAY))),
        _ => parse_period(text).ok(),
    }
}

/// A stretch of time: a period, a year, the last so many days (`7d`), or from one time to another (`A..B`, `A..`, `..B`).
fn parse_during(text: &str, now: u64) -> Result<(u64, u64), QueryError> {
    let text = text.trim();
    if let Some((from, to)) = text.split_once("..") {
        let (from, to) = (from.trim(), to.trim());
        if from.is_empty() && to.is_empty() {
            return Err(QueryError::new(text, 0, "not a time: the range has no end", TIMES));
        }
        let year = |text: &str| if text.len() == 4 { parse_period(text).ok() } else { None };
        let end = |text: &str, open: u64, is_end: bool| match (text, year(text)) {
            ("", _) => Ok(open),
            (_, Some((first, last))) => Ok(if is_end { last } else { first }),
            _ => parse_time(text, now, is_end),
        };
        let (from, to) = (end(from, 0, false)?, end(to, u64::MAX, true)?);
        if from > to {
            return Err(QueryError::new(text, 0, "not a time: the range ends before it begins", TIMES));
        }
        return Ok((from, to));
    }
    if let Some(period) = period(text, now) {
        return Ok(period);
    }
    if let Ok(age) = parse_duration(text) {
        return Ok((now.saturating_sub(age.as_secs()), now));
    }
    parse_time(text, now, false).map(|time| (time, time))
}

/// The sensors of a ledger, by name.
pub fn sensors(store: &dyn ReadStore) -> Vec<String> {
    let names = (0..=u16::MAX).map_while(|id| store.sensor_name(SensorId(id)));
    names.map(|name| name.to_string()).collect()
}

/// What to say of a sensor that nobody has: those there are.
pub fn no_such_sensor(sensor: &str, known: &[String]) -> Option<String> {
    /// Sensors that are named.
    const NAMED: usize = 10;
    if known.iter().any(|known| known == sensor) {
        return None;
    }
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let names: Vec<&str> = known.iter().take(NAMED).copied().collect();
    Some(match known.len() {
        0 => "the ledger has none yet: leave the filter out".to_owned(),
        n if n > NAMED => format!("there are {n}, among them {}", names.join(", ")),
        _ => format!("there are: {}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Half;

    const NOON: u64 = 1_709_294_400; // 2024-03-01T12:00:00Z

    fn set(key: &str, value: &str) -> Result<Filters, QueryError> {
        let mut filters = Filters::default();
        assert!(filters.set(key, value, NOON)?);
        Ok(filters)
    }

    #[test]
    fn every_key_is_known_and_no_other() {
        for key in FILTER_KEYS {
            match Filters::default().set(key, "1", NOON) {
                Ok(known) => assert!(known, "{key}"),
                Err(error) if *key == "type" => assert_eq!(error.message, "not a record type"),
                Err(error) => assert!(error.message.starts_with("not a time"), "{key}: {}", error.message),
            }
        }
        assert_eq!(Filters::default().set("version", "2.6.4", NOON), Ok(false));
    }

    #[test]
    fn times_are_read_in_every_form() {
        for (value, before, after) in [
            ("1709294400", NOON, NOON),
            ("2024-03-01", NOON + DAY / 2 - 1, NOON - DAY / 2),
            ("2024-03-01T12:00:00Z", NOON, NOON),
            ("2024-03-01T14:00:00+02:00", NOON, NOON),
            ("2024-03-01T14:00:00 02:00", NOON, NOON),
            ("2024-03-01 12:00:00", NOON, NOON),
            ("7d", NOON - 7 * DAY, NOON - 7 * DAY),
            ("1h", NOON - 3600, NOON - 3600),
        ] {
            assert_eq!(set("first_before", value).unwrap().first_before, Some(before), "{value}");
            assert_eq!(set("last_after", value).unwrap().last_after, Some(after), "{value}");
        }
        for bad in [
            "",
            "7",
            "30",
            "2024",
            "20240301",
            "some day",
            "-5",
            "2024-13-01",
            "99999999999999999999",
            "2024-03-01T14:00:00é2:00",
        ] {
            assert!(set("last_before", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_are_a_list_or_a_group() {
        assert_eq!(
            set("type", "a,AAAA,TYPE65280").unwrap().types,
            Types::Of(vec![RrType::A, RrType::AAAA, RrType(65280)])
        );
        assert!(set("type", "any").unwrap().types.contains(RrType::A));
        assert!(!set("type", "any").unwrap().types.contains(RrType::DS));
        assert!(set("type", "ANY-DNSSEC").unwrap().types.contains(RrType::DS));
        assert_eq!(set("type", "A,BOGUS").unwrap_err().at, 2);
        assert!(set("type", "").is_err());
    }

    #[test]
    fn a_stretch_of_time_is_read_in_every_form() {
        let day = NOON - NOON % DAY;
        for (value, from, to) in [
            ("today", day, day + DAY - 1),
            ("Yesterday", day - DAY, day - 1),
            ("2024-03-01", day, day + DAY - 1),
            ("2024-03-01T12", NOON, NOON + 3599),
            ("2024-03", day, day + 31 * DAY - 1),
            ("2024", day - 60 * DAY, day + 306 * DAY - 1),
            ("7d", NOON - 7 * DAY, NOON),
            ("7d..", NOON - 7 * DAY, u64::MAX),
            ("..2024-03-01", 0, day + DAY - 1),
            ("2024-02..2024-03", day - 29 * DAY, day + 31 * DAY - 1),
            ("2024..2024", day - 60 * DAY, day + 306 * DAY - 1),
            ("2024-03-01T12:00:00Z .. today", NOON, day + DAY - 1),
        ] {
            assert_eq!(set("during", value).unwrap().during, Some((from, to)), "{value}");
        }
        for wrong in
            ["", "..", "7", "30", "soon", "2024-13", "2024-03..2024-02", "March", "2024-03-32", "7..9"]
        {
            let error = set("during", wrong).unwrap_err();
            assert!(error.message.starts_with("not a time") && error.hint.contains("7d"), "{wrong}: {error}");
        }
        assert_eq!(set("last_after", "2024-03").unwrap().last_after, Some(day));
        assert_eq!(set("last_before", "yesterday").unwrap().last_before, Some(day - 1));
    }

    #[test]
    fn truth_and_limits_are_read_as_clients_write_them() {
        for (value, truth) in [("True", true), ("1", true), ("yes", true), ("F", false), ("no", false)] {
            assert_eq!(set("direct", value).unwrap().direct, truth);
        }
        assert!(set("direct", "maybe").is_err());
        assert_eq!(set("limit", "10").unwrap().limit, Some(10));
        for bad in ["0", "-1", "+1", "ten", ""] {
            assert!(set("limit", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fences_are_inclusive_and_direct_takes_the_direct_half() {
        let at = |seconds: u64| LEAST_TIME + seconds;
        let mut halves = Halves::once(Half::Direct, Seen::once(at(100), 60));
        halves.merge(&Halves::once(Half::Alias, Seen::once(at(200), 60)));
        let wanted =
            |key: &str, time: u64| set(key, &at(time).to_string()).unwrap().select(&halves).is_some();
        assert!(wanted("first_before", 100) && !wanted("first_before", 99));
        assert!(wanted("first_after", 100) && !wanted("first_after", 101));
        assert!(wanted("last_before", 200) && !wanted("last_before", 199));
        assert!(wanted("last_after", 200) && !wanted("last_after", 201));
        let direct = set("direct", "true").unwrap();
        assert_eq!(direct.select(&halves).unwrap().time_last, at(100));
        assert_eq!(direct.select(&Halves::once(Half::Alias, Seen::once(1, 1))), None);
    }
}
