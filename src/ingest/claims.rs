//! Who may read which log.
//!
//! A lineage may be met at several places at once: the live file, its rotated name, its archive. Only one reader may
//! read it at a time, and another only after everything read so far is committed, so that progress never runs ahead of
//! the counts it covers: rows and the progress that covers them are one batch, and the next reader begins at the progress
//! that is stored. So whatever stops when, each line is counted exactly once.
//!
//! Everything here may be called from any thread. No lock is held while the store works.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::totals::Totals;
use crate::base::fault::point;
use crate::observation::SensorId;
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::{StoreError, WriteStore};

/// The logs that are being read into a store, and by whom.
pub(super) struct Claims {
    store: Arc<dyn WriteStore>,
    table: Mutex<Table>,
    /// Told whenever a claim ends.
    released: Condvar,
}

#[derive(Default)]
struct Table {
    claims: HashMap<LineageId, Claim>,
    /// The sums over all lineages, as far as they were read, committed or not.
    totals: Totals,
}

/// Who has a lineage.
#[derive(Default)]
struct Claim {
    /// A reader has it.
    held: bool,
    /// Whether that reader follows a live log.
    live: bool,
    /// How far it was read when that was last committed.
    committed: Option<Progress>,
    /// The newest progress that was put in a batch and not yet committed.
    uncommitted: Option<Progress>,
}

impl Claim {
    /// How far the lineage was read.
    fn newest(&self) -> Option<&Progress> {
        self.uncommitted.as_ref().or(self.committed.as_ref())
    }
}

impl Table {
    /// Changes what is known of a lineage, and the totals with it.
    fn change(&mut self, claim: &LineageId, change: impl FnOnce(&mut Claim)) {
        let Some(claim) = self.claims.get_mut(claim) else { return };
        let before = claim.newest().cloned();
        change(claim);
        if before.as_ref() != claim.newest() {
            self.totals.replace(before.as_ref(), claim.newest());
        }
    }

    /// Ends a claim that nobody needs any more.
    fn end(&mut self, id: &LineageId) {
        if self.claims.get(id).is_some_and(|claim| !claim.held && claim.uncommitted.is_none()) {
            self.claims.remove(id);
        }
    }
}

/// What came of asking for a lineage.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It is the caller's until [`Claims::release`]; how far it was read before.
    Yes(Option<Box<Progress>>),
    /// Another reader has it, or what it read is not committed yet; whether that one follows it live.
    Busy {
        /// The reader follows a live log, and has read all of it that there is.
        live: bool,
    },
}

impl Claims {
    /// None so far, on the logs of a store, of which these are all, for these sources.
    pub fn new(store: &Arc<dyn WriteStore>, sources: Vec<(PathBuf, String)>, logs: &[Progress]) -> Claims {
        let table = Table { totals: Totals::new(sources, logs), ..Table::default() };
        Claims { store: Arc::clone(store), table: Mutex::new(table), released: Condvar::new() }
    }

    /// Asks for a lineage, to read on in it; `live` says that the reader follows a live log.
    ///
    /// # Errors
    ///
    /// When the store cannot say how far it was read; the lineage is not claimed then.
    pub fn claim(&self, id: &LineageId, live: bool) -> Result<Claimed, StoreError> {
        {
            let mut table = self.table.lock();
            if let Some(claim) = table.claims.get(id) {
                return Ok(Claimed::Busy { live: claim.live });
            }
            table.claims.insert(*id, Claim { held: true, live, ..Claim::default() });
        }
        // The disk may be slow, and others wait for that lock.
        match self.store.lineage(id) {
            Ok(progress) => {
                // It is in the totals already.
                if let Some(claim) = self.table.lock().claims.get_mut(id) {
                    claim.committed.clone_from(&progress);
                }
                Ok(Claimed::Yes(progress.map(Box::new)))
            }
            Err(error) => {
                self.release(id);
                Err(error)
            }
        }
    }

    /// Puts progress into a batch. The caller holds the lineage.
    pub fn advance(&self, batch: &mut Batch, progress: Progress) {
        let mut table = self.table.lock();
        let id = progress.lineage;
        table.claims.entry(id).or_default();
        table.change(&id, |claim| claim.uncommitted = Some(progress.clone()));
        drop(table);
        batch.advance(progress);
    }

    /// Gives a lineage back. It can be claimed again once all progress in it is committed.
    pub fn release(&self, id: &LineageId) {
        let mut table = self.table.lock();
        if let Some(claim) = table.claims.get_mut(id) {
            claim.held = false;
            claim.live = false;
            table.end(id);
            self.released.notify_all();
        }
    }

    /// Drops all rows of a sensor, and how far a lineage was read that the caller holds.
    ///
    /// # Errors
    ///
    /// When the store refuses. Nothing was dropped then.
    pub fn forget(&self, sensor: SensorId, id: &LineageId) -> Result<(), StoreError> {
        self.store.forget(sensor, id)?;
        self.table.lock().change(id, |claim| (claim.committed, claim.uncommitted) = (None, None));
        Ok(())
    }

    /// Commits what is staged, and lets others read on where that ends.
    ///
    /// # Errors
    ///
    /// When the store refuses. Nothing is lost: everything stays staged, and the next call tries again.
    pub fn commit(&self) -> Result<(), StoreError> {
        let committed = self.store.commit()?;
        self.committed(committed.iter());
        Ok(())
    }

    /// Applies a batch that one reader made for itself.
    ///
    /// # Errors
    ///
    /// When the store refuses; the same batch may be given again.
    pub fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch)?;
        point("bulk_applied");
        self.committed(batch.progress());
        Ok(())
    }

    /// Gives back what a batch holds that is never staged or applied: its lineages can be claimed again, from where the store
    /// has them.
    pub fn abandon(&self, batch: &Batch) {
        self.settle(batch.progress(), |claim, progress| {
            if claim.uncommitted.as_ref() == Some(progress) {
                claim.uncommitted = None;
            }
        });
    }

    /// Ends the claims that waited for this progress.
    fn committed<'a>(&self, progress: impl Iterator<Item = &'a Progress>) {
        self.settle(progress, |claim, progress| {
            if claim.uncommitted.as_ref() == Some(progress) {
                claim.uncommitted = None;
            }
            // Who committed later may be here first.
            let is_news = |known: &Progress| known.consumed.offset <= progress.consumed.offset;
            if claim.committed.as_ref().is_none_or(is_news) {
                claim.committed = Some(progress.clone());
            }
        });
    }

    fn settle<'a>(
        &self,
        progress: impl Iterator<Item = &'a Progress>,
        change: impl Fn(&mut Claim, &Progress),
    ) {
        let mut table = self.table.lock();
        for progress in progress {
            table.change(&progress.lineage, |claim| change(claim, progress));
            table.end(&progress.lineage);
        }
        self.released.notify_all();
    }

    /// Waits until some claim has ended, at most so long.
    pub fn wait_for_release(&self, at_most: Duration) {
        let mut table = self.table.lock();
        if !table.claims.is_empty() {
            self.released.wait_for(&mut table, at_most);
        }
    }

    /// The sums over all lineages, as far as they were read, committed or not.
    pub fn totals(&self) -> Totals {
        self.table.lock().totals.clone()
    }

    /// That many lines could not be read, in a sentence; the outer `None` while somebody changes the sums.
    pub fn malformed_in_words(&self, now: u64) -> Option<Option<String>> {
        self.table.try_lock().map(|table| table.totals.malformed_in_words(now))
    }

    /// How far a lineage was read, committed or not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        let uncommitted = self.table.lock().claims.get(id).and_then(|claim| claim.uncommitted.clone());
        uncommitted.map_or_else(|| self.store.lineage(id), |progress| Ok(Some(progress)))
    }

    /// All lineages, as far as they were read, committed or not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        let uncommitted: Vec<Progress> =
            self.table.lock().claims.values().filter_map(|claim| claim.uncommitted.clone()).collect();
        let mut all: HashMap<LineageId, Progress> =
            self.store.lineages()?.into_iter().map(|progress| (progress.lineage, progress)).collect();
        for progress in uncommitted {
            // It may have been committed, and read on, between the two looks.
            let newer = all.get(&progress.lineage).is_none_or(|known| {
                known.read_at <= progress.read_at && known.consumed.offset <= progress.consumed.offset
            });
            if newer {
                all.insert(progress.lineage, progress);
            }
        }
        Ok(all.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::tally::{Fate, Skip};

    #[test]
    fn a_lineage_is_busy_until_all_that_was_read_of_it_is_committed() {
        let store: Arc<dyn WriteStore> = Arc::new(MemoryStore::default());
        let claims = Claims::new(&store, Vec::new(), &[]);
        let id = LineageId([7; 16]);
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Yes(None)));
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        let (mut progress, mut batch) = (Progress::start(id, "s"), Batch::default());
        progress.consumed.offset = 10;
        claims.advance(&mut batch, progress.clone());
        claims.release(&id);
        // It is not even staged, then not committed.
        claims.commit().unwrap();
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        store.stage(&batch).unwrap();
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        assert_eq!(claims.lineages().unwrap(), [progress.clone()]);
        claims.commit().unwrap();
        match claims.claim(&id, false).unwrap() {
            Claimed::Yes(Some(known)) => assert_eq!(*known, progress),
            other => panic!("{other:?}"),
        }
        claims.release(&id);
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Yes(Some(_))));
    }

    /// A log, as it is read on and on.
    fn read_on(progress: &mut Progress, random: u64) {
        progress.consumed.offset += 1 + random % 7;
        progress.tally.add(Fate::Counted);
        progress.tally.add(Fate::Skipped(Skip::Port));
        progress.newest = random % 5;
        progress.prefix_changed += random % 2;
        progress.path =
            PathBuf::from(if random.is_multiple_of(3) { "/logs/dns.log" } else { "/elsewhere/dns.log" });
    }

    proptest! {
        #[test]
        fn totals_that_are_kept_are_those_that_are_summed_up(
            steps in proptest::collection::vec((0..7u8, 0..4u8, any::<u64>()), 1..60),
        ) {
            let store: Arc<dyn WriteStore> = Arc::new(MemoryStore::default());
            let sources = vec![(PathBuf::from("/logs"), "s".to_owned())];
            let claims = Claims::new(&store, sources.clone(), &[]);
            let number = store.sensor("s").unwrap();
            // What each reader is at, and its batch.
            let mut readers: HashMap<u8, (Progress, Batch)> = HashMap::new();
            for (step, log, random) in steps {
                let id = LineageId([log; 16]);
                match (step, readers.get_mut(&log)) {
                    (0 | 1, None) => {
                        if let Claimed::Yes(known) = claims.claim(&id, random.is_multiple_of(2)).unwrap() {
                            let progress = known.map_or_else(|| Progress::start(id, "s"), |known| *known);
                            readers.insert(log, (progress, Batch::default()));
                        }
                    }
                    (0 | 1, Some((progress, batch))) => {
                        read_on(progress, random);
                        claims.advance(batch, progress.clone());
                    }
                    (2, Some((_, batch))) => store.stage(&std::mem::take(batch)).unwrap(),
                    (3, Some((_, batch))) if store.staged_bytes() == 0 => claims.apply(&std::mem::take(batch)).unwrap(),
                    // Who reads into a batch that is lost begins anew where the store is.
                    (4, Some(_)) if store.staged_bytes() == 0 => {
                        let (_, batch) = readers.remove(&log).unwrap();
                        claims.release(&id);
                        claims.abandon(&batch);
                    }
                    (5, Some((progress, batch))) if store.staged_bytes() == 0 && batch.is_empty() => {
                        claims.forget(number, &id).unwrap();
                        *progress = Progress::start(id, "s");
                    }
                    (6, Some((_, batch))) if batch.is_empty() => {
                        claims.release(&id);
                        readers.remove(&log);
                    }
                    _ => claims.commit().unwrap(),
                }
                let summed = Totals::new(sources.clone(), &claims.lineages().unwrap());
                prop_assert_eq!(claims.totals(), summed);
            }
            drop(readers);
        }
    }
}
