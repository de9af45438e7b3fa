//! From merged rows to what is handed out: rows of one tuple together, by the name of their sensor.
//!
//! In the ledger rows of a tuple are ordered by the number of their sensor, which depends on which was met first. What is
//! handed out is ordered by its name, so that equal contents print equally.

use std::sync::Arc;

use super::budget::Estimates;
use super::derived::Derived;
use super::key::{self, Family};
use super::run::{Merged, Whole};
use super::sensors::Sensors;
use super::{DomainSeen, Entry, Hit, Question, StoreError, damaged, value};
use crate::dns::{Name, RrType};
use crate::observation::{Asked, FirstSeen, Halves};

/// Rows in the order of their keys.
pub(crate) enum Rows {
    Merged(Merged),
    Whole(Box<Whole>),
    Derived(Box<Derived>),
}

impl From<Merged> for Rows {
    fn from(rows: Merged) -> Rows {
        Rows::Merged(rows)
    }
}

impl From<Whole> for Rows {
    fn from(rows: Whole) -> Rows {
        Rows::Whole(Box::new(rows))
    }
}

impl From<Derived> for Rows {
    fn from(rows: Derived) -> Rows {
        Rows::Derived(Box::new(rows))
    }
}

impl Rows {
    fn advance(&mut self) -> Result<bool, StoreError> {
        match self {
            Rows::Merged(rows) => rows.advance(),
            Rows::Whole(rows) => rows.advance(),
            Rows::Derived(rows) => rows.advance(&mut || Ok(())),
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Rows::Merged(rows) => rows.key(),
            Rows::Whole(rows) => rows.key(),
            Rows::Derived(rows) => rows.key(),
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Rows::Merged(rows) => rows.value(),
            Rows::Whole(rows) => rows.value(),
            Rows::Derived(rows) => rows.value(),
        }
    }
}

/// Goes through groups of rows whose keys differ in nothing but the sensor.
struct Groups<V> {
    rows: Rows,
    sensors: Arc<Sensors>,
    estimates: Arc<Estimates>,
    decode: fn(&[u8]) -> Result<V, StoreError>,
    /// Whether `rows` stands at a row that is in no group yet; `None` before the first.
    ahead: Option<bool>,
    /// The key of the group's first row.
    key: Vec<u8>,
    /// The group, the last of it first.
    group: Vec<(Arc<str>, V)>,
}

impl<V> Groups<V> {
    fn new(
        rows: Rows,
        (sensors, estimates): (Arc<Sensors>, Arc<Estimates>),
        decode: fn(&[u8]) -> Result<V, StoreError>,
    ) -> Groups<V> {
        Groups { rows, sensors, estimates, decode, ahead: None, key: Vec::new(), group: Vec::new() }
    }

    /// How many names a folded row of a sensor stands for, where that is known.
    fn names(&self, rrname: &Name, rrtype: RrType, sensor: &str) -> Option<u64> {
        if rrtype != RrType::FOLDED {
            return None;
        }
        self.estimates.of(rrname, self.sensors.number(sensor)?)
    }

    /// Collects the next group; `false` after the last.
    fn advance(&mut self, family: Family) -> Result<bool, StoreError> {
        let bad_key = || key::bad_key(family);
        let mut ahead = match self.ahead {
            Some(ahead) => ahead,
            None => self.rows.advance()?,
        };
        if !ahead {
            return Ok(false);
        }
        self.key.clear();
        self.key.extend_from_slice(self.rows.key());
        let (what, _) = key::split_sensor(&self.key).ok_or_else(bad_key)?;
        while ahead {
            let (other, sensor) = key::split_sensor(self.rows.key()).ok_or_else(bad_key)?;
            if other != what {
                break;
            }
            let name = self.sensors.name(sensor).ok_or_else(|| damaged("a row", "its sensor has no name"))?;
            self.group.push((name, (self.decode)(self.rows.value())?));
            ahead = self.rows.advance()?;
        }
        self.ahead = Some(ahead);
        self.group.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(true)
    }

    /// Ends the scan: nothing comes after an error.
    fn stop(&mut self) {
        self.ahead = Some(false);
        self.group.clear();
    }
}

/// Entries in the order of a family.
pub(crate) struct EntryScan {
    groups: Groups<Halves>,
    family: Family,
    /// Leave out what is not after this: a key without sensor, and a sensor.
    skip: Option<(Vec<u8>, Arc<str>)>,
    tuple: Option<crate::observation::Tuple>,
}

impl EntryScan {
    pub fn new(
        rows: Rows,
        family: Family,
        known: (Arc<Sensors>, Arc<Estimates>),
        skip: Option<(Vec<u8>, Arc<str>)>,
    ) -> EntryScan {
        EntryScan { groups: Groups::new(rows, known, value::halves), family, skip, tuple: None }
    }

    fn step(&mut self) -> Result<Option<Entry>, StoreError> {
        loop {
            if let Some((sensor, halves)) = self.groups.group.pop() {
                let tuple = if self.groups.group.is_empty() { self.tuple.take() } else { self.tuple.clone() };
                let Some(tuple) = tuple else { return Ok(None) };
                let names = self.groups.names(&tuple.rrname, tuple.rrtype, &sensor);
                return Ok(Some(Entry { tuple, sensor, halves, names }));
            }
            if !self.groups.advance(self.family)? {
                return Ok(None);
            }
            // Only the first group can hold the row to start after.
            if let Some((part, sensor)) = self.skip.take()
                && key::split_sensor(&self.groups.key).is_some_and(|(first, _)| first == part)
            {
                self.groups.group.retain(|(name, _)| **name > *sensor);
            }
            self.tuple = Some(key::tuple(self.family, &self.groups.key)?.0);
        }
    }
}

impl Iterator for EntryScan {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().inspect_err(|_| self.groups.stop()).transpose()
    }
}

/// Questions in the order of their names.
pub(crate) struct QuestionScan {
    groups: Groups<Asked>,
}

impl QuestionScan {
    pub fn new(rows: Rows, known: (Arc<Sensors>, Arc<Estimates>)) -> QuestionScan {
        QuestionScan { groups: Groups::new(rows, known, value::asked) }
    }

    fn step(&mut self) -> Result<Option<Question>, StoreError> {
        if self.groups.group.is_empty() && !self.groups.advance(Family::Questions)? {
            return Ok(None);
        }
        let Some((sensor, asked)) = self.groups.group.pop() else { return Ok(None) };
        let (rrname, qtype, _) = key::question(&self.groups.key)?;
        let names = self.groups.names(&rrname, qtype, &sensor);
        Ok(Some(Question { rrname, qtype, sensor, asked, names }))
    }
}

impl Iterator for QuestionScan {
    type Item = Result<Question, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().inspect_err(|_| self.groups.stop()).transpose()
    }
}

/// Hits in the order of their numbers.
pub(crate) struct HitScan {
    rows: Rows,
    sensors: Arc<Sensors>,
    ended: bool,
}

impl HitScan {
    pub fn new(rows: Rows, sensors: Arc<Sensors>) -> HitScan {
        HitScan { rows, sensors, ended: false }
    }

    fn step(&mut self) -> Result<Option<Hit>, StoreError> {
        if self.ended || !self.rows.advance()? {
            return Ok(None);
        }
        let bad = || key::bad_key(Family::HitLog);
        let key = key::hit_of_log(self.rows.key()).and_then(key::hit).ok_or_else(bad)?;
        let value::HitValue { sequence, noted, time, note, acknowledged } = value::hit(self.rows.value())?;
        let sensor =
            self.sensors.name(key.sensor).ok_or_else(|| damaged("a hit", "its sensor has no name"))?;
        let key::HitKey { rrname, indicator, address, .. } = key;
        Ok(Some(Hit { sequence, noted, time, rrname, indicator, address, sensor, note, acknowledged }))
    }
}

impl Iterator for HitScan {
    type Item = Result<Hit, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        self.ended |= next.is_err();
        next.transpose()
    }
}

/// Registrable domains in the order of their names.
pub(crate) struct DomainScan {
    groups: Groups<FirstSeen>,
}

impl DomainScan {
    pub fn new(rows: Rows, known: (Arc<Sensors>, Arc<Estimates>)) -> DomainScan {
        DomainScan { groups: Groups::new(rows, known, value::first_seen) }
    }

    fn step(&mut self) -> Result<Option<DomainSeen>, StoreError> {
        if self.groups.group.is_empty() && !self.groups.advance(Family::Domains)? {
            return Ok(None);
        }
        let Some((sensor, times)) = self.groups.group.pop() else { return Ok(None) };
        let domain = key::domain(&self.groups.key).and_then(|name| Name::from_key(name).ok());
        let domain = domain.ok_or_else(|| key::bad_key(Family::Domains))?;
        Ok(Some(DomainSeen { domain, sensor, times }))
    }
}

impl Iterator for DomainScan {
    type Item = Result<DomainSeen, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().inspect_err(|_| self.groups.stop()).transpose()
    }
}
