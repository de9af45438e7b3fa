//! The rows of a run: whether they are in order and can be read, and whether the index has an entry for each.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::report::Verification;
use crate::base::seeded_hash;
use crate::dns::{Name, Rdata, split_name_key, split_rdata_key};
use crate::observation::{Halves, Seen, SensorId};
use crate::store::filter::{self, Filter};
use crate::store::key::{self, Family, Values};
use crate::store::manifest::RunMeta;
use crate::store::run::{Block, Counts, Extents};
use crate::store::{StoreError, block, damaged, value};

/// Sums by which rows and index entries are compared.
const SUMS: usize = 4096;

/// Whether a row can be read and makes sense.
pub(crate) fn check_row(family: Family, key: &[u8], stored: &[u8], sensors: usize) -> Result<(), StoreError> {
    let bad = |why: &str| damaged(&format!("a row with {}", shown(family, key)), why);
    match key::split_sensor(key) {
        Some((_, SensorId(number))) if usize::from(number) < sensors => {}
        _ => return Err(bad("it has a sensor that nobody is")),
    }
    match family.values() {
        Values::Sightings => {
            key::tuple(family, key)?;
            let Halves { direct, alias } = value::halves(stored)?;
            let sound =
                |seen: &Seen| seen.is_none() || (seen.time_first <= seen.time_last && seen.days & 1 == 1);
            if (direct.is_none() && alias.is_none()) || !sound(&direct) || !sound(&alias) {
                return Err(bad("its sightings make no sense"));
            }
        }
        Values::Questions => {
            key::question(key)?;
            let asked = value::asked(stored)?;
            if asked.count() == 0 || asked.time_first > asked.time_last {
                return Err(bad("its counts make no sense"));
            }
        }
        Values::Hit => {
            let value = value::hit(stored)?;
            let own = if family == Family::HitLog { key::hit_of_log(key) } else { Some(key) };
            let fits = family != Family::HitLog || key.starts_with(&value.sequence.to_be_bytes());
            if own.and_then(key::hit).is_none() || value.sequence == 0 || !fits {
                return Err(bad("its number makes no sense"));
            }
        }
        Values::FirstSeen => {
            let name = key::domain(key).and_then(|name| Name::from_key(name).ok());
            if name.is_none() || !value::first_seen(stored)?.is_sound() {
                return Err(bad("its times make no sense"));
            }
        }
    }
    Ok(())
}

/// The key of the index under which a row is found, if it is; of an entry of the index, its own.
pub(super) fn index_entry(family: Family, key: &[u8], entry: &mut Vec<u8>) -> Result<bool, StoreError> {
    entry.clear();
    match family {
        Family::ByRdata => entry.extend_from_slice(key),
        Family::ByName => match key::indexed_rdata(key)? {
            Some(rdata) => key::push_by_rdata(key, rdata, entry)?,
            None => return Ok(false),
        },
        Family::Questions | Family::Domains | Family::Hits | Family::HitLog => return Ok(false),
    }
    Ok(true)
}

/// Which sum an entry with its value belongs to, and its hash. `entry` is as it was when this returns.
pub(super) fn place(entry: &mut Vec<u8>, stored: &[u8]) -> (usize, u128) {
    let length = entry.len();
    entry.extend_from_slice(stored);
    entry.extend_from_slice(&(length as u32).to_be_bytes());
    let hash = xxh3_128(entry);
    entry.truncate(length);
    // The sum is chosen by the key alone, so that a row and an entry that differ in their values meet.
    (seeded_hash::hash(entry) as usize % SUMS, hash)
}

/// A key, or the first bytes of one, for people.
pub(crate) fn shown(family: Family, key: &[u8]) -> String {
    let text = match family {
        Family::ByRdata => split_rdata_key(key)
            .and_then(|(rdata, _)| Rdata::split_key(rdata).ok())
            .map(|(rdata, _)| format!("the data {rdata}")),
        Family::ByName | Family::Questions => split_name_key(key)
            .and_then(|(name, _)| Name::from_key(name).ok())
            .map(|name| format!("the name {name}")),
        Family::Hits | Family::HitLog => {
            let key = if family == Family::HitLog { key::hit_of_log(key) } else { Some(key) };
            key.and_then(key::hit).map(|hit| format!("the hit of {}", hit.rrname))
        }
        Family::Domains => key::domain(key)
            .and_then(|name| Name::from_key(name).ok())
            .map(|name| format!("the domain {name}")),
    };
    match text {
        Some(text) => text,
        None if key.is_empty() => "the first key".to_owned(),
        None => format!("the key \"{}\"", key.escape_ascii()),
    }
}

/// Which block must come next.
pub(super) enum Expected {
    /// The one with this bound.
    Bound(Bytes),
    /// None of this family.
    None,
    /// That cannot be told: the one before could not be read.
    Unknown,
}

/// How far a run is read.
pub(super) struct RunState {
    run: u32,
    filter: Option<Filter>,
    sensors: usize,
    family: Option<Family>,
    pub expected: Expected,
    /// The last key, and its lookup part.
    last: Vec<u8>,
    part: Vec<u8>,
    pub counts: Counts,
    /// What the manifest says of its keys.
    extents: Extents,
    pub bytes: u64,
    /// Hashes of rows, added, and of entries of the index, subtracted.
    pub sums: Vec<u128>,
    entry: Vec<u8>,
}

impl RunState {
    pub fn new(meta: &RunMeta, filter: Option<Filter>, sensors: usize) -> RunState {
        RunState {
            run: meta.id,
            filter,
            sensors,
            family: None,
            expected: Expected::None,
            last: Vec::new(),
            part: Vec::new(),
            counts: Counts::default(),
            extents: meta.contents.extents.clone(),
            bytes: 0,
            sums: vec![0; SUMS],
            entry: Vec::new(),
        }
    }

    /// Comes to a block.
    pub fn enter(&mut self, family: Family, bound: &[u8], found: &mut Verification) {
        if self.family != Some(family) {
            self.leave(found);
            self.family = Some(family);
            self.expected = Expected::Bound(Bytes::new());
            self.last.clear();
            self.part.clear();
        }
        let what = format!("run {}", self.run);
        match &self.expected {
            Expected::Bound(expected) if **expected == *bound => {}
            Expected::Bound(expected) => {
                let why = format!("the block from {} on is missing", shown(family, expected));
                found.fault(&damaged(&what, &why));
            }
            Expected::None => {
                let why = format!("the block from {} on belongs to no other", shown(family, bound));
                found.fault(&damaged(&what, &why));
            }
            Expected::Unknown => {}
        }
    }

    /// Reads the rows of a block; how many they are.
    pub fn block(&mut self, family: Family, bound: &[u8], block: Block) -> Result<u64, StoreError> {
        let what = || format!("a block of run {}", self.run);
        let mut count = 0;
        let mut rows = block::Reader::new(block.rows);
        while rows.advance()? {
            let key = rows.key();
            if key < bound || (count + self.last.len() > 0 && key <= self.last.as_slice()) {
                return Err(damaged(&what(), "its rows are not in order"));
            }
            check_row(family, key, rows.value(), self.sensors)?;
            if self.extents.of(family).as_ref().is_some_and(|extent| !extent.holds(key)) {
                let why = format!("the manifest says that it does not hold {}", shown(family, key));
                return Err(damaged(&format!("run {}", self.run), &why));
            }
            if self.part.is_empty() || !key.starts_with(&self.part) {
                let part = family.lookup_part(key).ok_or_else(|| key::bad_key(family))?;
                if self
                    .filter
                    .as_ref()
                    .is_some_and(|filter| !filter.may_hold(filter::hash(filter.seed(), part)))
                {
                    let why = format!("it does not hold {}", shown(family, key));
                    return Err(damaged(&format!("the filter of run {}", self.run), &why));
                }
                self.part.clear();
                self.part.extend_from_slice(part);
                self.counts.lookup_keys += 1;
            }
            if index_entry(family, key, &mut self.entry)? {
                let (at, hash) = place(&mut self.entry, rows.value());
                if let Some(sum) = self.sums.get_mut(at) {
                    *sum = match family {
                        Family::ByName => sum.wrapping_add(hash),
                        _ => sum.wrapping_sub(hash),
                    };
                }
            }
            *self.counts.slot(family) += 1;
            self.last.clear();
            self.last.extend_from_slice(key);
            count += 1;
        }
        if block.next.as_deref().is_some_and(|next| next <= self.last.as_slice()) {
            return Err(damaged(&what(), "the next one begins before its end"));
        }
        self.expected = block.next.map_or(Expected::None, Expected::Bound);
        Ok(count as u64)
    }

    /// Comes to the end of a family.
    pub fn leave(&mut self, found: &mut Verification) {
        if let (Some(family), Expected::Bound(bound)) = (self.family, &self.expected) {
            let why = format!("the block from {} on is missing", shown(family, bound));
            found.fault(&damaged(&format!("run {}", self.run), &why));
        }
        self.expected = Expected::None;
    }
}
