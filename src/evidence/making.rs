//! Filters of archives, made while these are read for the ledger.
//!
//! What a log holds is at hand then: a batch shows each row that it meets for the first time in a log. So a filter costs little more than
//! its keys. One that is made so is there before the ledger knows the log; if that never comes about, the next pass removes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::keys::Collector;
use super::log_filters::{LogFilters, budget, kept_lines};
use crate::ingest::{Contents, Listener, Listening};
use crate::progress::Progress;
use crate::store::batch::NewKey;
use crate::store::{MaxDisk, WriteStore};
use crate::tally::Skip;

/// Keys of a log at most, which are in memory while it is read: 16 MB. One with more is read once more by a pass.
const MOST_KEYS: usize = 2_000_000;
/// A log with fewer bytes is read in no time: its filter is left to a pass.
const LEAST_BYTES: u64 = 64 << 10;
/// How long it is taken as given how large the ledger is.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Makes filters of the archives that are read.
struct Making {
    filters: Arc<LogFilters>,
    ledger: Arc<dyn WriteStore>,
    disk: MaxDisk,
    /// What filters may take, and since when that is known.
    budget: Mutex<Option<(Instant, Option<u64>)>>,
    /// Keys of the last log.
    expected: AtomicUsize,
}

/// Has filters made of the archives that are read, as far as `disk` goes. Where their folder cannot be made there are none: a pass tells of
/// that.
pub fn make_while_reading(
    filters: &Arc<LogFilters>,
    ledger: &Arc<dyn WriteStore>,
    disk: MaxDisk,
) -> Listening {
    if disk == MaxDisk::Bytes(0) {
        return Listening::default();
    }
    if let Err(error) = filters.make_folder().and_then(|()| filters.look()) {
        tracing::debug!(%error, "No filters of logs are made while these are read.");
        return Listening::default();
    }
    Listening::to(Arc::new(Shared(Arc::new(Making {
        filters: Arc::clone(filters),
        ledger: Arc::clone(ledger),
        disk,
        budget: Mutex::default(),
        expected: AtomicUsize::new(0),
    }))))
}

struct Shared(Arc<Making>);

impl Listener for Shared {
    fn begin(&self) -> Box<dyn Contents> {
        let expected = self.0.expected.load(Ordering::Relaxed);
        Box::new(OfOneLog { making: Arc::clone(&self.0), keys: Collector::new(MOST_KEYS, expected) })
    }
}

struct OfOneLog {
    making: Arc<Making>,
    keys: Collector,
}

impl Contents for OfOneLog {
    fn take(&mut self, met: NewKey<'_>) {
        self.keys.take(met);
    }

    fn finish(self: Box<Self>, log: &Progress) {
        let OfOneLog { making, keys } = *self;
        // What was too old to be kept is in the log all the same.
        if log.consumed.offset < LEAST_BYTES || log.tally.skipped(Skip::Expired) > 0 {
            return;
        }
        making.expected.store(keys.len(), Ordering::Relaxed);
        let Some(filter) = keys.finish(kept_lines(log)) else { return };
        if let Err(error) = making.filters.save_fresh(log, &filter, making.budget()) {
            tracing::debug!(%error, "The filter of a log could not be written.");
        }
    }
}

impl Making {
    /// Bytes that filters may take.
    fn budget(&self) -> Option<u64> {
        let mut known = self.budget.lock();
        match *known {
            Some((since, budget)) if since.elapsed() < GOOD_FOR => budget,
            _ => {
                let bytes = self.ledger.stats().map_or(0, |stats| stats.live_bytes);
                known.insert((Instant::now(), budget(self.disk, bytes))).1
            }
        }
    }
}
