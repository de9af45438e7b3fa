//! How a store on disk is kept within bounds.

use std::time::Duration;

use super::{MaxDisk, NameBudget};

/// How a store on disk is kept within bounds. The defaults fit an appliance with 2 cores and 4 GB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes for rows that are not in a run yet, for blocks that lookups opened, and for the engine's cache, together.
    pub memory: u64,
    /// Rows in memory that are folded into a run; fewer when they need more than an eighth of the memory, or are more than an eighth of
    /// what is in runs.
    pub fold_rows: usize,
    /// Rows of a batch that becomes a run at once, without the journal.
    pub bulk_rows: usize,
    /// Runs of about one size that are merged into one; at least 2.
    pub fan_in: usize,
    /// Whether merges wait for [`WriteStore::end_bulk`](super::WriteStore::end_bulk), as long as runs are not eight times as many.
    pub puts_off_merges: bool,
    /// Bytes on disk from which on the ledger is rewritten when most of them are not needed.
    pub rewrite_bytes: u64,
    /// Bytes on disk from which on readers are ended soon that hold a ledger which makes it too large.
    pub held_bytes: u64,
    /// How long a reader may hold a ledger that another has taken over from, where it is in the way.
    pub reader_grace: Duration,
    /// The most bytes on disk that it may take.
    pub max_disk: MaxDisk,
    /// The names that a domain may have.
    pub names: NameBudget,
    /// Rows and questions from which on names are counted by itself.
    pub survey_rows: u64,
    /// The first and the longest wait before a fold or a merge that failed is tried again.
    pub retry: (Duration, Duration),
    /// For who only asks: nothing is folded, merged or removed.
    pub reading: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            memory: 256 << 20,
            fold_rows: 100_000,
            bulk_rows: 50_000,
            fan_in: 6,
            puts_off_merges: false,
            rewrite_bytes: 8 << 20,
            held_bytes: 8 << 20,
            reader_grace: Duration::from_secs(30),
            max_disk: MaxDisk::Auto,
            names: NameBudget::default(),
            survey_rows: 100_000,
            retry: (Duration::from_secs(1), Duration::from_secs(15)),
            reading: false,
        }
    }
}

impl Options {
    /// The same for a command that loads much at once: merging runs and counting names would take from it what it came for.
    /// It lets runs become eight times as many until [`WriteStore::end_bulk`](super::WriteStore::end_bulk), and counts names when there are many rows more; a
    /// daemon, or the next command but a few, does that.
    #[must_use]
    pub fn put_off_merges(self) -> Options {
        Options { puts_off_merges: true, survey_rows: self.survey_rows.saturating_mul(64), ..self }
    }

    /// These options, for a process that only asks.
    #[must_use]
    pub(super) fn for_reading(self) -> Options {
        Options { reading: true, ..self }
    }

    /// Bytes of blocks that lookups opened.
    pub(super) fn block_cache_bytes(&self) -> u64 {
        self.memory / 8 * 3
    }

    /// Bytes of rows in memory that are folded into a run.
    pub(super) fn fold_bytes(&self) -> usize {
        usize::try_from(self.memory / 8).unwrap_or(usize::MAX)
    }
}
