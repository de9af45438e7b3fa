//! A hit as it is written: a line of JSON, or one of Zeek's intel.log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::key;
use super::note::{HitNote, Note};
use super::novel;
use super::set::Set;
use crate::base::time::format_rfc3339;
use crate::dns::{Name, other_form};
use crate::indicators::Value;
use crate::indicators::value::{Values, read};
use crate::store::{Hit, Mark, Scan, Snapshot, StoreError};

/// Rows of a name that are looked at for one that leads to what is sought.
const MOST_ROWS: usize = 10_000;

/// A hit as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitLine {
    /// Its number, one more than that of the hit before.
    pub sequence: u64,
    /// Among hits of several ledgers: which ledger the number is of, as 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// When it was noted.
    pub noted: u64,
    /// The same as RFC 3339.
    pub noted_utc: String,
    /// When the record was by which it was met, or the first of them.
    pub time: u64,
    /// The same as RFC 3339.
    pub time_utc: String,
    /// `name`, `domain`, `address` or `network`; of an event of what is new `new`, `new_retracted` or `new_summed`.
    pub kind: String,
    /// The indicator.
    pub indicator: String,
    /// The name that was asked for, or that a row is of.
    pub rrname: String,
    /// The address that was answered, where the indicator is about such.
    pub address: Option<String>,
    /// The sensor that saw it.
    pub sensor: String,
    /// The feeds that had it then.
    pub feeds: Vec<String>,
    /// Others that have it now: a hit is noted once, however many feeds come to have its indicator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feeds_now: Vec<String>,
    /// The line in the first of them.
    pub line: u64,
    /// The id of the indicator in its feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The title of what it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The description of the indicator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where there is more to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How sure its source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u8>,
    /// When somebody has seen to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
    /// The same as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_utc: Option<String>,
    /// Who acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// For an event of a new domain: whether an older log has shown the domain since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retracted: bool,
}

impl From<&Hit> for HitLine {
    fn from(hit: &Hit) -> HitLine {
        let value = key::read(&hit.indicator).map(|(value, _)| value);
        let HitNote { feeds, note } = HitNote::from_bytes(&hit.note);
        let Note { line, mut id, title, description, tags, link, confidence, .. } = note;
        let event = novel::kind(&hit.indicator);
        // An event is of no sensor: its note says which one saw it first.
        let sensor = match event {
            Some(_) => id.take().unwrap_or_default(),
            None => hit.sensor.to_string(),
        };
        let indicator = match event {
            Some(_) => hit.rrname.to_string(),
            None => value.as_ref().map(Value::to_string).unwrap_or_default(),
        };
        HitLine {
            sequence: hit.sequence,
            ledger: None,
            noted: hit.noted,
            noted_utc: format_rfc3339(hit.noted),
            time: hit.time,
            time_utc: format_rfc3339(hit.time),
            kind: event.or(value.as_ref().map(|value| value.kind().name())).unwrap_or("unknown").to_owned(),
            indicator,
            rrname: hit.rrname.to_string(),
            address: hit.address.map(|address| address.to_string()),
            sensor,
            feeds,
            feeds_now: Vec::new(),
            line,
            id,
            title,
            description,
            tags,
            link,
            confidence,
            acknowledged: hit.acknowledged.as_ref().map(|seen| seen.at),
            acknowledged_utc: hit.acknowledged.as_ref().map(|seen| format_rfc3339(seen.at)),
            acknowledged_by: hit.acknowledged.as_ref().map(|seen| seen.by.clone()),
            retracted: false,
        }
    }
}

impl HitLine {
    /// A hit as feeds know it now: which others have the indicator.
    pub fn of(hit: &Hit, set: Option<&Set>) -> HitLine {
        let line = HitLine::from(hit);
        let mut feeds_now =
            set.map(|set| set.feeds_with(&hit.indicator, &hit.rrname, hit.address)).unwrap_or_default();
        feeds_now.retain(|feed| !line.feeds.contains(feed));
        HitLine { feeds_now, ..line }
    }

    /// Says of events of new domains whether they were taken back, by what a ledger knows of these now.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn retract(lines: &mut [HitLine], ledger: &dyn Snapshot) -> Result<(), StoreError> {
        let is_new = |line: &HitLine| Some(line.kind.as_str()) == novel::kind(novel::NEW);
        let mut events: BTreeMap<Name, Vec<&mut HitLine>> = BTreeMap::new();
        for line in lines.iter_mut().filter(|line| is_new(line)) {
            if let Ok(domain) = Name::parse(&line.rrname) {
                events.entry(domain).or_default().push(line);
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        for seen in ledger.domains_of_each(events.keys().cloned().collect())? {
            let seen = seen?;
            for line in events.get_mut(&seen.domain).into_iter().flatten() {
                line.retracted |= novel::is_earlier(seen.times.first(), line.time);
            }
        }
        Ok(())
    }

    /// Whether a feed had its indicator when it was noted, or has it now.
    pub fn is_of(&self, feed: &String) -> bool {
        self.feeds.contains(feed) || self.feeds_now.contains(feed)
    }

    /// The feeds that had its indicator, and those that have it now, as people read it.
    pub fn feeds_in_words(&self) -> String {
        self.feeds.iter().chain(&self.feeds_now).map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// Whether it is an event of what is new, and no indicator was met.
    pub fn is_event(&self) -> bool {
        self.kind.starts_with("new")
    }
}

/// The name of a ledger where hits of several ledgers come together: 16 hex digits.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn ledger_name(ledger: &dyn Snapshot) -> Result<String, StoreError> {
    Ok(format!("{:016x}", ledger.changed_since(Mark(u64::MAX))?.identity.generation))
}

/// The kinds of hits: those of indicators, and events of new domains.
pub const KINDS: [&str; 7] = ["name", "domain", "address", "network", "new", "new_retracted", "new_summed"];

/// Which hits are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HitFilter {
    /// Noted at this second or after.
    pub since: Option<u64>,
    /// Only hits of indicators that this feed had then, or has now.
    pub feed: Option<String>,
    /// Seen by this sensor.
    pub sensor: Option<String>,
    /// Only acknowledged hits, or only the others.
    pub acknowledged: Option<bool>,
    /// Only hits of this kind.
    pub kind: Option<String>,
    /// Only hits about this.
    pub value: Option<Sought>,
}

/// The subject of hits: a name with all below it, an address, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought(Value);

impl Sought {
    /// Understands text as people paste it.
    ///
    /// # Errors
    ///
    /// Where it is no name, no address and no network.
    pub fn parse(text: &str) -> Result<Sought, String> {
        match read(text, true) {
            Ok(Values::One(value)) => Ok(Sought(value)),
            _ => Err(format!("{text:?} is not a name, an address or a network")),
        }
    }

    /// Whether a hit is about it: by what was met, or by the indicator that met it.
    fn is_of(&self, hit: &HitLine) -> bool {
        let met = Name::parse(&hit.rrname).ok();
        let other = met.as_ref().and_then(other_form).map(Value::Name);
        let met = met.map(Value::Name);
        let address = hit.address.as_ref().and_then(|text| text.parse().ok()).map(Value::Address);
        // An event of a new domain has the name as its indicator.
        let indicator = match read(&hit.indicator, true) {
            Ok(Values::One(value)) => Some(value),
            _ => None,
        };
        [met, other, address, indicator].iter().flatten().any(|value| self.holds(value))
    }

    /// Whether a hit is about it because rows of the name that was met lead to it: `mx1.evil.example`, where `evil.example` is
    /// the indicator, and somebody's `MX` is that name.
    fn is_led_to(&self, hit: &HitLine, ledger: &dyn Snapshot) -> Result<bool, StoreError> {
        let (Value::Name(sought) | Value::Domain(sought)) = &self.0 else { return Ok(false) };
        let (Ok(met), Ok(indicator)) = (Name::parse(&hit.rrname), Name::parse(&hit.indicator)) else {
            return Ok(false);
        };
        // A hit on a name is about all names above it.
        if hit.is_event() || hit.address.is_some() || !indicator.is_at_or_above(sought) {
            return Ok(false);
        }
        for row in ledger.entries(&Scan::Name(met), None)?.take(MOST_ROWS) {
            let row = row?;
            let Some(target) = row.tuple.rdata.name() else { continue };
            let other = other_form(target);
            if [Some(target), other.as_ref()]
                .into_iter()
                .flatten()
                .any(|target| sought.is_at_or_above(target))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds(&self, other: &Value) -> bool {
        match (&self.0, other) {
            (Value::Name(top) | Value::Domain(top), Value::Name(name) | Value::Domain(name)) => {
                top.is_at_or_above(name)
            }
            (Value::Address(sought), Value::Address(address)) => sought == address,
            (Value::Network(network), Value::Address(address)) => network.contains(*address),
            (Value::Network(sought), Value::Network(network)) => {
                sought.contains(network.first()) && sought.contains(network.last())
            }
            _ => false,
        }
    }
}

impl HitFilter {
    /// Whether a hit is among them, as far as it says so itself.
    pub fn wants(&self, hit: &HitLine) -> bool {
        self.wants_but_for_value(hit) && self.value.as_ref().is_none_or(|value| value.is_of(hit))
    }

    /// Whether a hit of a ledger is among them, also by the rows of the name that was met.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn wants_by(&self, hit: &HitLine, ledger: &dyn Snapshot) -> Result<bool, StoreError> {
        match &self.value {
            Some(value) if self.wants_but_for_value(hit) => {
                Ok(value.is_of(hit) || value.is_led_to(hit, ledger)?)
            }
            _ => Ok(self.wants(hit)),
        }
    }

    fn wants_but_for_value(&self, hit: &HitLine) -> bool {
        !self.is_over(hit.noted)
            && self.feed.as_ref().is_none_or(|feed| hit.is_of(feed))
            && self.sensor.as_ref().is_none_or(|sensor| *sensor == hit.sensor)
            && self.acknowledged.is_none_or(|wanted| wanted == hit.acknowledged.is_some())
            && self.kind.as_ref().is_none_or(|kind| *kind == hit.kind)
    }

    /// Whether what was noted then, and all before it, is not.
    pub fn is_over(&self, noted: u64) -> bool {
        self.since.is_some_and(|since| noted < since)
    }
}

/// Numbers that are given at once at most.
const MAX_NUMBERS: u64 = 10_000;

/// Numbers of hits as people write them: `3`, `3,7-9`.
///
/// # Errors
///
/// With what is none, and where they are more than 10,000.
pub fn parse_numbers(text: &str) -> Result<BTreeSet<u64>, String> {
    let mut numbers = BTreeSet::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
        let (Some(from), Some(to)) = (number(from), number(to)) else {
            return Err(format!("{part:?} is not a number of a hit"));
        };
        if from > to {
            return Err(format!("{part:?} goes backwards"));
        }
        if (to - from).saturating_add(numbers.len() as u64) >= MAX_NUMBERS {
            return Err("more than 10,000 hits at once".to_owned());
        }
        numbers.extend(from..=to);
    }
    if numbers.is_empty() { Err("no number of a hit is given".to_owned()) } else { Ok(numbers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_about_what_was_met_and_what_met_it() {
        let line = |kind: &str, indicator: &str, rrname: &str, address: Option<&str>| {
            let known = serde_json::json!({
                "sequence": 1, "noted": 2, "noted_utc": "", "time": 3, "time_utc": "", "kind": kind, "indicator": indicator, "rrname": rrname,
                "address": address, "sensor": "lan", "feeds": ["f"], "line": 4
            });
            serde_json::from_value::<HitLine>(known).unwrap()
        };
        let hits = [
            line("domain", "d7.example", "www.d7.example", None),
            line("domain", "cdn.test", "shop.example", None),
            line("address", "198.51.0.5", "a.example", Some("198.51.0.5")),
            line("network", "2001:db8::/48", "b.example", Some("2001:db8::9")),
            line("new", "fresh.example", "fresh.example", None),
        ];
        for (text, wanted) in [
            ("d7.example", [0].as_slice()),
            ("WWW[.]d7.example.", &[0]),
            ("hxxps://www.d7.example/x", &[0]),
            ("test", &[1]),
            ("shop.example", &[1]),
            ("x.cdn.test", &[]),
            ("example", &[0, 1, 2, 3, 4]),
            ("198.51.0.5", &[2]),
            ("198.51.0.0/24", &[2]),
            ("2001:db8::9", &[3]),
            ("2001:db8::1", &[]),
            ("2001:db8::/32", &[3]),
            ("2001:db8::/64", &[3]),
            ("fresh.example", &[4]),
        ] {
            let filter = HitFilter { value: Some(Sought::parse(text).unwrap()), ..HitFilter::default() };
            let found: Vec<usize> = (0..hits.len()).filter(|at| filter.wants(&hits[*at])).collect();
            assert_eq!(found, wanted, "{text}");
        }
        for none in ["", "/x/", "d41d8cd98f00b204e9800998ecf8427e", "soc@corp.example"] {
            assert!(Sought::parse(none).is_err(), "{none}");
        }
    }

    #[test]
    fn numbers_are_read_as_people_write_them_and_are_bounded() {
        let set = |numbers: &[u64]| Ok(numbers.iter().copied().collect::<BTreeSet<_>>());
        assert_eq!(parse_numbers("3"), set(&[3]));
        assert_eq!(parse_numbers("7-9, 3,8"), set(&[3, 7, 8, 9]));
        assert_eq!(parse_numbers("1-10000").unwrap().len(), 10_000);
        for none in
            ["", "0", "x", "1-", "-1", "9-7", "1-10001", "1-18446744073709551615", "1-9000,20000-29000"]
        {
            assert!(parse_numbers(none).is_err(), "{none}");
        }
    }
}
