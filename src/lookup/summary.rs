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
    /// Names that somebody else told apart, and whether there may be more.
    told: (u64, bool),
}

impl Summary {
    /// What somebody else made of rows.
    pub fn of(rows: u64, names: (u64, bool), time_first: Option<u64>, time_last: Option<u64>) -> Summary {
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
        self.told.0 + self.names.count()
    }

    /// Whether there may be more names, which were not told apart.
    pub fn has_more_names(&self) -> bool {
        self.told.1 || self.names.are_more()
    }
}

/// Different names, as many as are told apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    hashes: HashSet<u64>,
    hasher: RandomState,
    last: Option<u64>,
    are_more: bool,
}

impl Names {
    pub(super) fn add(&mut self, name: &[u8]) {
        let hash = self.hasher.hash_one(name);
        // Rows of a name mostly come one after the other.
        if self.last != Some(hash) && self.hashes.len() < MOST_NAMES {
            self.hashes.insert(hash);
        } else if self.last != Some(hash) {
            self.are_more |= !self.hashes.contains(&hash);
        }
        self.last = Some(hash);
    }

    pub(super) fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Whether there were more, which were not told apart.
    pub(super) fn are_more(&self) -> bool {
        self.are_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_names_than_are_told_apart_are_said_to_be_more() {
        let mut summary = Summary::default();
        for name in 0..MOST_NAMES {
            summary.add_row(&name.to_be_bytes(), 1, 2);
        }
        summary.add_row(&0usize.to_be_bytes(), 1, 2);
        assert_eq!((summary.names(), summary.has_more_names()), (65_536, false));
        summary.add_row(b"another", 1, 2);
        assert_eq!((summary.names(), summary.has_more_names(), summary.rows), (65_536, true, 65_538));
        assert!(Summary::of(2, (1, true), None, None).has_more_names());
    }
}
