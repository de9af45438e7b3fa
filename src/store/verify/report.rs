//! What a verification found.

use serde::{Deserialize, Serialize};

use crate::store::{StoreError, damaged};

/// Faults that are told one by one.
const TOLD: usize = 100;

/// What was read of a ledger, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Sorted runs.
    pub runs: u64,
    /// Blocks of them.
    pub blocks: u64,
    /// Rows in runs. One that lies in several runs counts in each.
    pub rows: u64,
    /// Entries of the index by record data.
    pub index_entries: u64,
    /// Questions in runs.
    pub questions: u64,
    /// Registrable domains with their first sightings, likewise.
    #[serde(default)]
    pub domains: u64,
    /// Hits of indicators, likewise.
    #[serde(default)]
    pub hits: u64,
    /// Commits in the journal.
    pub journal_entries: u64,
    /// Rows and questions in the journal.
    pub journal_rows: u64,
    /// Logs of which there is progress.
    pub logs: u64,
    /// Sensors.
    pub sensors: u64,
    /// Runs that are no longer needed, or that a crash left behind: they do not count, and will be removed.
    pub unnamed_runs: u64,
    /// Logs of which more was acknowledged than there is. Each is a fault.
    #[serde(default)]
    pub missing_logs: u64,
    /// What is wrong, as far as it is told.
    pub faults: Vec<LedgerFault>,
    /// Faults that are not told one by one.
    pub more_faults: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerFault {
    /// The file or the part of the ledger.
    pub what: String,
    /// What was found there.
    pub why: String,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether something is wrong that is not made good for by reading logs again from where the ledger is.
    pub fn is_damaged(&self) -> bool {
        self.faults.len() as u64 + self.more_faults > self.missing_logs
    }

    /// Hits that rows, questions and indicators make, and that are not there.
    pub fn missing_hits(&mut self, missing: Vec<String>) {
        for why in missing {
            self.fault(&damaged("the hits", &why));
        }
    }

    /// A ledger of which nothing could be read.
    pub(crate) fn of_error(error: &StoreError) -> Verification {
        let mut found = Verification::default();
        found.fault(error);
        found
    }

    pub(crate) fn fault(&mut self, error: &StoreError) {
        if self.faults.len() >= TOLD {
            self.more_faults += 1;
            return;
        }
        let (what, why) = match error {
            StoreError::Damaged { what, why } => (what.clone(), why.clone()),
            StoreError::Io { what, error } => (what.clone(), error.to_string()),
            other => ("the ledger".to_owned(), other.to_string()),
        };
        self.faults.push(LedgerFault { what, why });
    }
}
