//! What an answer comes to, in a few figures.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::filters::Filters;
use super::query::Query;
use super::walk::Found;
use crate::dns::RrType;
use crate::observation::Asked;
use crate::store::{Scan, Snapshot, StoreError};

/// Names that are told apart; beyond them there are at least as many.
const MOST_NAMES: usize = 65_536;
/// Questions that are looked at.
const MOST_QUESTIONS: u64 = 200_000;

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
struct Names {
    hashes: HashSet<u64>,
    hasher: RandomState,
    last: Option<u64>,
}

impl Names {
    fn add(&mut self, name: &[u8]) {
        let hash = self.hasher.hash_one(name);
        // Rows of a name mostly come one after the other.
        if self.last != Some(hash) && self.hashes.len() < MOST_NAMES {
            self.hashes.insert(hash);
        }
        self.last = Some(hash);
    }

    fn count(&self) -> u64 {
        self.hashes.len() as u64
    }
}

//--- Questions ------------------------------------------------------------------------------------------------------

/// How a name, or the names at and below one, were asked for.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// All of it as one.
    pub asked: Asked,
    /// Whether all questions were looked at.
    pub is_all: bool,
    /// Whether filters may have left some out.
    pub is_filtered: bool,
    /// What was last asked before this was dropped, epoch seconds; 0 where nothing was.
    pub expired_before: u64,
    names: Names,
}

impl Questions {
    /// The scan whose questions belong to a query; none of one that is about no name.
    pub fn scan_of(query: &Query) -> Option<Scan> {
        match query {
            Query::Name(name) | Query::Either(name) | Query::Pair(name, _) => Some(Scan::Name(name.clone())),
            Query::Subtree(name) => Some(Scan::Subtree(name.clone())),
            _ => None,
        }
    }

    /// What was asked, as far as filters leave it in.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn of(ledger: &dyn Snapshot, scan: &Scan, filters: &Filters) -> Result<Questions, StoreError> {
        let (is_filtered, expired_before) = (filters.narrow_questions(), ledger.expired_before());
        let mut sum = Questions { is_filtered, expired_before, ..Questions::default() };
        let mut left = MOST_QUESTIONS;
        for question in ledger.questions(scan)? {
            let Some(rest) = left.checked_sub(1) else { return Ok(sum) };
            left = rest;
            let question = question?;
            // What a domain has of names below it that were folded is not its own.
            let is_own = question.qtype != RrType::FOLDED || matches!(scan, Scan::Subtree(_));
            if is_own && filters.wants_question(&question) {
                sum.asked.merge(&question.asked);
                sum.names.add(question.rrname.key());
            }
        }
        Ok(Questions { is_all: true, ..sum })
    }

    /// Different names that were asked for; no more than a bound are told apart.
    pub fn names(&self) -> u64 {
        self.names.count()
    }
}
