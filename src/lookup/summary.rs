//! What an answer comes to, in a few figures.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::walk::Found;

/// Names that are told apart; beyond them there are at least as many.
const MOST_NAMES: usize = 65_536;

//--- Summary --------------------------------------------------------------------------------------------------------

/// What the rows of an answer come to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// When the first of them was first seen, where there is one.
    pub time_first: Option<u64>,
    /// When any of them was last seen.
    pub time_last: Option<u64>,
    names: Names,
    /// Names that somebody else told apart.
    told: u64,
}

impl Summary {
    /// What somebody else made of rows.
    pub fn of(rows: u64, names: u64, time_first: Option<u64>, time_last: Option<u64>) -> Summary {
        Summary { rows, time_first, time_last, told: names, ..Summary::default() }
    }

    /// Adds a row.
    pub fn add(&mut self, found: &Found<'_>) {
        self.add_row(found.entry.tuple.rrname.key(), found.seen.time_first, found.seen.time_last);
    }

    /// Adds a row of a name, in whatever form that is in all of them.
    pub fn add_row(&mut self, name: &[u8], first: u64, last: u64) {
        self.rows += 1;
        self.time_first = Some(self.time_first.map_or(first, |time| time.min(first)));
        self.time_last = self.time_last.max(Some(last));
        self.names.add(name);
    }

    /// Different names; no more than a bound are told apart.
    pub fn names(&self) -> u64 {
        self.told + self.names.count()
    }
}

/// Different names, as many as are told apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    hashes: HashSet<u64>,
    hasher: RandomState,
    last: Option<u64>,
}

impl Names {
    pub(super) fn add(&mut self, name: &[u8]) {
        let hash = self.hasher.hash_one(name);
        // Rows of a name mostly come one after the other.
        if self.last != Some(hash) && self.hashes.len() < MOST_NAMES {
            self.hashes.insert(hash);
        }
        self.last = Some(hash);
    }

    pub(super) fn count(&self) -> u64 {
        self.hashes.len() as u64
    }
}
