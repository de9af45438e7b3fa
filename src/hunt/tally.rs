//! What is counted of each indicator.

use super::sorted::WantedKey;
use super::{HuntOutcome, Listener, Notes};
use crate::indicators::{AllowList, Value};

/// Names of an indicator that are counted.
pub const MAX_NAMES: u64 = 10_000;

/// An indicator that the ledger has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What was looked for.
    pub value: Value,
    /// Different names that rows were found of.
    pub names: u64,
    /// Rows.
    pub rows: u64,
    /// Names that were asked for and have no row.
    pub asked_only: u64,
    /// Whether there are more names than are counted.
    pub is_too_wide: bool,
    /// When it was first seen or asked for.
    pub time_first: u64,
    /// When it was last seen or asked for.
    pub time_last: u64,
    /// The line in the source.
    pub line: u64,
    /// Its id there.
    pub id: Option<String>,
    /// The title of what it is in.
    pub title: Option<String>,
}

/// What is counted so far.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    names: u64,
    rows: u64,
    asked_only: u64,
    is_too_wide: bool,
    time_first: u64,
    time_last: u64,
    /// Whether there is something that was first seen after the indicator ended.
    is_late: bool,
    /// The counts of the name that is read now.
    name: NameCount,
}

/// What is counted of one name.
#[derive(Debug, Clone, Copy)]
struct NameCount {
    rows: u64,
    asked: bool,
    first: u64,
    last: u64,
    asked_first: u64,
    asked_last: u64,
}

const NOTHING: NameCount =
    NameCount { rows: 0, asked: false, first: u64::MAX, last: 0, asked_first: u64::MAX, asked_last: 0 };

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            names: 0,
            rows: 0,
            asked_only: 0,
            is_too_wide: false,
            time_first: u64::MAX,
            time_last: 0,
            is_late: false,
            name: NOTHING,
        }
    }
}

impl Tally {
    /// Whether no more is counted.
    pub fn is_over(&self) -> bool {
        self.is_too_wide
    }

    /// Whether what was first seen then counts: not after the indicator ended.
    pub fn counts(&mut self, first: u64, until: u64) -> bool {
        self.is_late |= first > until;
        first <= until
    }

    /// Adds a row of the name at hand.
    pub fn row(&mut self, first: u64, last: u64, until: u64) {
        if self.counts(first, until) {
            self.name.rows += 1;
            self.name.first = self.name.first.min(first);
            self.name.last = self.name.last.max(last);
        }
    }

    /// Adds a question for the name at hand.
    pub fn asked(&mut self, first: u64, last: u64, until: u64) {
        if self.counts(first, until) {
            self.name.asked = true;
            self.name.asked_first = self.name.asked_first.min(first);
            self.name.asked_last = self.name.asked_last.max(last);
        }
    }

    /// That was all of the name at hand. `is_new` says that it was not counted before.
    pub fn end_name(&mut self, is_new: bool) {
        let name = std::mem::replace(&mut self.name, NOTHING);
        if self.is_too_wide || name.rows == 0 && !name.asked {
            return;
        }
        if is_new && self.names + self.asked_only >= MAX_NAMES {
            self.is_too_wide = true;
            return;
        }
        let (first, last) = match name.rows {
            0 => {
                self.asked_only += u64::from(is_new);
                (name.asked_first, name.asked_last)
            }
            rows => {
                self.names += u64::from(is_new);
                self.rows += rows;
                (name.first, name.last)
            }
        };
        self.time_first = self.time_first.min(first);
        self.time_last = self.time_last.max(last);
    }
}

/// An indicator that is counted.
#[derive(Debug)]
pub struct Open {
    pub wanted: WantedKey,
    pub value: Value,
    pub tally: Tally,
}

/// What is told, and what comes of it.
pub struct HuntSummary<'a> {
    pub allow: &'a AllowList,
    pub notes: &'a Notes,
    pub outcome: HuntOutcome,
    /// Whether the listener wants no more hits.
    pub is_ended: bool,
}

impl HuntSummary<'_> {
    /// An indicator that is counted from now on, unless it is harmless.
    pub fn open(&mut self, wanted: WantedKey, value: Option<Value>) -> Option<Open> {
        let value = value?;
        if self.allow.has(&value) {
            self.outcome.allowed += 1;
            return None;
        }
        Some(Open { wanted, value, tally: Tally::default() })
    }

    /// All of an indicator was counted.
    pub fn close(&mut self, open: Open, listener: &mut Listener<'_>) {
        let Open { wanted, value, tally } = open;
        if tally.names == 0 && tally.asked_only == 0 {
            match tally.is_late {
                true => self.outcome.late += 1,
                false => self.outcome.missed += 1,
            }
            return;
        }
        self.outcome.hits += 1;
        self.outcome.too_wide += u64::from(tally.is_too_wide);
        let (id, title) = self.notes.of(wanted.note);
        let hit = Hit {
            value,
            names: tally.names,
            rows: tally.rows,
            asked_only: tally.asked_only,
            is_too_wide: tally.is_too_wide,
            time_first: tally.time_first,
            time_last: tally.time_last,
            line: wanted.line,
            id,
            title,
        };
        self.is_ended |= !(listener.hit)(hit);
    }
}
