//! When each registrable domain was first asked for, and first answered: a family of rows that is made of the others.
//!
//! Of each registrable domain and sensor there is a row with the least time of a question below the domain, the least time of
//! a sighting, and the greatest of both. Two are merged by minimum and maximum, so that it means nothing in which order logs were
//! read. A batch brings these rows with its own, in the same run or segment; the journal does not hold them, for they are
//! made again of what it holds.
//!
//! What is one domain is said by the public suffix list. Each key begins with the number of the list that it was made by; with
//! another list the rows are made anew, of all rows and questions, piece by piece in the background ([`super::derived`] does
//! that), and merges leave out what an older list made. A ledger that was written before there was this family is brought
//! up in the same way. Until that is done whoever asks is answered from rows and questions, which says the same and takes longer.
//!
//! A row of this family goes when nothing below the domain was seen for as long as rows are kept. Until then it keeps the first
//! time, also where the rows that said so are gone.

use std::collections::BTreeMap;

use super::StoreError;
use super::batch::Batch;
use super::key::{self, Family};
use crate::dns::{self, registrable_length, split_name_key};
use crate::observation::FirstSeen;

/// Puts rows of domains together from rows and questions. It is quick where those of a name come one after another.
#[derive(Default)]
pub(crate) struct Collector {
    /// The last name, and how many of its bytes are its domain's.
    name: Vec<u8>,
    domain: Option<usize>,
    /// The row that is added to, by whose it is, and whether the last name is in its domain; and all others.
    key: Vec<u8>,
    sensor: [u8; 2],
    is_of_name: bool,
    times: Option<FirstSeen>,
    all: BTreeMap<Vec<u8>, FirstSeen>,
}

impl Collector {
    /// Adds a row or a question.
    pub fn add(&mut self, family: Family, key: &[u8], times: &FirstSeen) -> Result<(), StoreError> {
        let bad = || key::bad_key(family);
        let (name, _) = split_name_key(key).ok_or_else(bad)?;
        let (_, sensor) = key.split_last_chunk::<2>().ok_or_else(bad)?;
        let is_new = self.name != name;
        if is_new {
            self.name.clear();
            self.name.extend_from_slice(name);
            self.domain = registrable_length(name);
        }
        let Some(domain) = self.domain.and_then(|length| name.get(..length)) else { return Ok(()) };
        let list = dns::SUFFIX_LIST.to_be_bytes();
        if is_new {
            self.is_of_name = is_joined(&self.key, &[list.as_slice(), domain, &[0], &self.sensor]);
        }
        match &mut self.times {
            Some(known) if self.is_of_name && self.sensor == *sensor => known.merge(times),
            _ => {
                self.put();
                self.key = [list.as_slice(), domain, &[0], sensor].concat();
                (self.sensor, self.is_of_name) = (*sensor, true);
                self.times = Some(*times);
            }
        }
        Ok(())
    }

    fn put(&mut self) {
        if let Some(times) = self.times.take() {
            let key = std::mem::take(&mut self.key);
            self.all.entry(key).and_modify(|known| known.merge(&times)).or_insert(times);
        }
    }

    /// All of them, in order. It is empty then.
    pub fn take(&mut self) -> BTreeMap<Vec<u8>, FirstSeen> {
        self.put();
        std::mem::take(&mut self.all)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_none() && self.all.is_empty()
    }
}

/// Whether bytes are those of some parts.
fn is_joined(bytes: &[u8], parts: &[&[u8]]) -> bool {
    let mut rest = Some(bytes);
    for part in parts {
        rest = rest.and_then(|rest| rest.strip_prefix(*part));
    }
    rest == Some(&[])
}

/// How many lookup parts the rows of a batch have at most, about: what its filter is made for.
pub(crate) fn lookup_keys(batch: &Batch) -> u64 {
    let (rows, questions) = (batch.tuples().len() as u64, batch.questions().len() as u64);
    2 * rows + questions + (rows + questions) / 4 + 2 * batch.hits().len() as u64
}
