//! Figures of a store, and of what was dropped and folded in it.

use super::Growth;

/// A step that makes a ledger smaller, from the least telling rows on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Names of domains beyond their budget are folded; where fewer than this fold, nothing is done.
    Names {
        /// Names for which it is worth the while.
        at_least: u64,
    },
    /// Names of domains beyond a part of their budget are folded: room is needed.
    LargeDomains {
        /// One in so many names of the budget.
        part: u64,
        /// Names first seen before this neither fold nor count, epoch seconds.
        since: u64,
    },
    /// Questions that were asked once, within a span, and never resolved are dropped. Those of a domain that is folded are
    /// folded, too.
    Unresolved {
        /// Epoch seconds: from this on.
        since: u64,
        /// Epoch seconds.
        before: u64,
    },
}

/// The result of such a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reduced {
    /// Rows that are gone.
    pub rows: u64,
    /// Questions that are gone.
    pub questions: u64,
}

/// How much a store has folded, and dropped for room, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Folded {
    /// When that was done last, epoch seconds; 0 before.
    pub at: u64,
    /// Domains that have a folded row or question, by sensor.
    pub domains: u64,
    /// Rows that were folded because their domain was beyond its budget.
    pub rows: u64,
    /// Questions that are gone.
    pub questions: u64,
    /// Rows that were folded because room was needed, and their domain was beyond a quarter of its budget.
    pub pressed_rows: u64,
    /// Questions likewise.
    pub pressed_questions: u64,
    /// Questions that were dropped because room was needed: they never resolved, and were asked once.
    pub unresolved: u64,
}

impl Folded {
    /// All rows and questions that were folded.
    pub fn all(&self) -> u64 {
        self.rows + self.questions + self.pressed_rows + self.pressed_questions
    }
}

/// Figures of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rows, an upper bound: a row that lies in several runs counts in each until they are merged.
    pub rows: u64,
    /// Rows in memory that are in the journal and not yet in a run.
    pub pending_rows: u64,
    /// Sorted runs.
    pub runs: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes of replaced ledgers that readers still hold.
    pub held_bytes: u64,
    /// Bytes of runs, and of what of the journal is in none yet, as they are stored: what the disk would hold if the engine wasted nothing.
    pub live_bytes: u64,
    /// The most bytes on disk that it may take, where there is a bound.
    pub max_disk: Option<u64>,
    /// The version of the on-disk format.
    pub format: u32,
    /// How much expired.
    pub expired: Expired,
    /// Rows and questions of that which are still on disk: merges remove them.
    pub expired_on_disk: u64,
    /// Logs of which rows are missing that were acknowledged: the ledger was damaged, and has not read them again yet.
    pub missing_logs: u64,
    /// How much was folded.
    pub folded: Folded,
    /// The domains that grow most, the most first, as of the last look.
    pub growth: Vec<Growth>,
    /// While the first sightings of domains are made of older rows: how many of these were read. Until it is done they are
    /// told of rows themselves.
    pub first_sightings: Option<u64>,
}

impl Stats {
    /// Bytes on disk of the ledger that is current.
    pub fn own_disk_bytes(&self) -> u64 {
        self.disk_bytes.saturating_sub(self.held_bytes)
    }
}

/// How much of a store has expired since it was made.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct Expired {
    /// Rows and questions last seen before this were dropped, epoch seconds; 0 before any were.
    pub before: u64,
    /// When that was done last, epoch seconds.
    pub at: u64,
    /// Rows dropped, all together.
    pub rows: u64,
    /// Questions dropped, all together.
    pub questions: u64,
}
