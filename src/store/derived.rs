//! Rows of registrable domains as rows and questions tell of them, and how far they are made of these: see [`super::domains`].

use std::collections::{BTreeMap, btree_map};

use bincode::{Decode, Encode};

use super::domains::Collector;
use super::engine::{self, Changes, Pairs};
use super::key::{self, Family, Range};
use super::run::{Merged, Sources};
use super::{Scan, StoreError, manifest, value};
use crate::dns::{self, registrable_length, split_name_key};
use crate::observation::FirstSeen;

/// Rows between two looks whether somebody wants it to end.
const LOOK: u64 = 4096;
const WHAT: &str = "the record of first sightings";

//--- Derived --------------------------------------------------------------------------------------------------------

/// Goes through the rows of domains as rows and questions tell of them, in the order of their keys.
pub(crate) struct Derived {
    streams: [(Family, Merged, bool); 2],
    /// What all names begin with of the outermost domain that is gone through: in it may lie others.
    outer: Vec<u8>,
    open: Collector,
    ready: btree_map::IntoIter<Vec<u8>, FirstSeen>,
    /// Only what begins with this.
    within: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Rows and questions that were read.
    pub read: u64,
}

impl Derived {
    /// Opens the rows at and below a name, or all.
    pub fn open(sources: &Sources, scan: &Scan) -> Result<Option<Derived>, StoreError> {
        let scan = match scan {
            Scan::Name(name) => &Scan::Subtree(name.clone()),
            scan => scan,
        };
        let (Some(rows), Some(questions)) = (Range::entries(scan), Range::questions(scan)) else {
            return Ok(None);
        };
        let within = Range::domains(scan).map(|range| range.from).unwrap_or_default();
        Derived::of(sources, [rows, questions], within).map(Some)
    }

    /// Opens all rows from a name on.
    pub fn from(sources: &Sources, name: &[u8]) -> Result<Derived, StoreError> {
        let from = |family| Range { from: name.to_vec(), ..Range::all(family) };
        Derived::of(sources, [from(Family::ByName), from(Family::Questions)], Vec::new())
    }

    fn of(sources: &Sources, [rows, questions]: [Range; 2], within: Vec<u8>) -> Result<Derived, StoreError> {
        let stream = |range: &Range| {
            let mut rows = Merged::open(sources, range)?;
            let ahead = rows.advance()?;
            Ok::<_, StoreError>((range.family, rows, ahead))
        };
        Ok(Derived {
            streams: [stream(&rows)?, stream(&questions)?],
            outer: Vec::new(),
            open: Collector::default(),
            ready: BTreeMap::new().into_iter(),
            within,
            key: Vec::new(),
            value: Vec::new(),
            read: 0,
        })
    }

    /// Goes to the next row; `false` after the last. `check` may end it.
    pub fn advance(&mut self, check: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<bool, StoreError> {
        loop {
            for (key, times) in self.ready.by_ref() {
                if key.starts_with(&self.within) {
                    self.key = key;
                    self.value.clear();
                    value::push_first_seen(&times, &mut self.value)?;
                    return Ok(true);
                }
            }
            if !self.gather(check)? {
                return Ok(false);
            }
        }
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Where nothing was read yet that was not handed out: the name from which to go on; `None` at the end.
    pub fn border(&self) -> Option<Option<Vec<u8>>> {
        (self.ready.len() == 0 && self.open.is_empty())
            .then(|| self.least().and_then(|at| self.name_at(at)).map(<[u8]>::to_vec))
    }

    fn name_at(&self, at: usize) -> Option<&[u8]> {
        let (_, rows, ahead) = self.streams.get(at)?;
        if *ahead { split_name_key(rows.key()).map(|(name, _)| name) } else { None }
    }

    /// The stream that stands at the least name.
    fn least(&self) -> Option<usize> {
        match (self.name_at(0), self.name_at(1)) {
            (Some(row), Some(question)) => Some(usize::from(question < row)),
            (Some(_), None) => Some(0),
            (None, Some(_)) => Some(1),
            (None, None) => None,
        }
    }

    /// Reads to the end of the outermost domain; `false` where nothing is left.
    fn gather(&mut self, check: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<bool, StoreError> {
        loop {
            let least = self.least();
            let is_outside = least
                .and_then(|at| self.name_at(at))
                .is_none_or(|name| self.outer.is_empty() || !name.starts_with(&self.outer));
            if is_outside {
                self.outer.clear();
                if !self.open.is_empty() {
                    self.ready = self.open.take().into_iter();
                    return Ok(true);
                }
            }
            let Some(at) = least else {
                // A key that is none has no name.
                return match self.streams.iter().find(|(_, _, ahead)| *ahead) {
                    Some((family, ..)) => Err(key::bad_key(*family)),
                    None => Ok(false),
                };
            };
            if self.outer.is_empty()
                && let Some(outer) = self.name_at(at).and_then(outermost)
            {
                self.outer = outer.to_vec();
            }
            let Derived { streams, open, read, .. } = self;
            let Some((family, rows, ahead)) = streams.get_mut(at) else { return Ok(false) };
            let times = match family {
                Family::Questions => FirstSeen::of_question(&value::asked(rows.value())?),
                _ => FirstSeen::of_sightings(&value::halves(rows.value())?),
            };
            open.add(*family, rows.key(), &times)?;
            *ahead = rows.advance()?;
            *read += 1;
            if read.is_multiple_of(LOOK) {
                check()?;
            }
        }
    }
}

/// What a name begins with of the outermost registrable domain that it is in: below one may lie other public suffixes.
fn outermost(name: &[u8]) -> Option<&[u8]> {
    let ends = name.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at + 1);
    let prefixes = ends.filter_map(|end| name.get(..end));
    prefixes.into_iter().find(|prefix| registrable_length(prefix) == Some(prefix.len()))
}

//--- Record ---------------------------------------------------------------------------------------------------------

/// How far the rows of domains are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The number of the list that they are made by.
    list: u32,
    /// The name from which on rows and questions are still to be read; `None` where all is done.
    pub from: Option<Vec<u8>>,
}

#[derive(Encode, Decode)]
enum StoredRecord {
    V1 { list: u32, from: Option<Vec<u8>> },
}

impl Record {
    /// That of a ledger of which nothing is left to be read.
    pub fn whole() -> Record {
        Record { list: dns::SUFFIX_LIST, from: None }
    }

    /// A whole one of another list.
    #[cfg(test)]
    pub fn of_list(list: u32) -> Record {
        Record { list, from: None }
    }

    /// With what is left from a name on.
    pub fn from(name: Option<Vec<u8>>) -> Record {
        Record { list: dns::SUFFIX_LIST, from: name }
    }

    /// What is stored. Where it is none of this list all is to be read.
    pub fn load(main: &dyn Pairs) -> Result<Record, StoreError> {
        let stored = main.get(engine::DOMAINS)?;
        if stored.is_none() {
            return Ok(Record::from(Some(Vec::new())));
        }
        let StoredRecord::V1 { list, from } = manifest::open(engine::DOMAINS, stored, WHAT)?;
        Ok(if list == dns::SUFFIX_LIST { Record { list, from } } else { Record::from(Some(Vec::new())) })
    }

    /// Whether what is stored can be read, if there is anything.
    pub fn check(main: &dyn Pairs) -> Result<(), StoreError> {
        Record::load(main).map(drop)
    }

    /// The changes of the engine that store it.
    pub fn to_changes(&self) -> Result<Changes, StoreError> {
        let stored = StoredRecord::V1 { list: self.list, from: self.from.clone() };
        Ok(vec![(engine::DOMAINS.to_vec(), Some(manifest::seal(engine::DOMAINS, &stored)?))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;

    #[test]
    fn the_outermost_domain_is_the_one_that_others_may_lie_in() {
        let outer = |name: &str| {
            let name = Name::parse(name).unwrap();
            outermost(name.key()).map(|outer| Name::from_key(&[outer, &[0]].concat()).unwrap().to_string())
        };
        assert_eq!(outer("a.bucket.s3.amazonaws.com").as_deref(), Some("amazonaws.com"));
        assert_eq!(outer("www.example.co.uk").as_deref(), Some("example.co.uk"));
        assert_eq!(outer("example.com").as_deref(), Some("example.com"));
        assert_eq!(outer("co.uk"), None);
        assert_eq!(outer("."), None);
    }
}
