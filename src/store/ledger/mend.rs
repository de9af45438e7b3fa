//! Going on after a failed write: the engine is opened again beneath the ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::time::Duration;

use super::Shared;
use super::commit::Committed;
use super::disk::Run;
use super::open::journal_before;
use super::view::Folding;
use crate::base::fault::end_to_start_again;
use crate::store::StoreError;
use crate::store::damaged;
use crate::store::engine::{self, Changes, Pairs};
use crate::store::manifest::{Commits, Epochs, Manifest};
use crate::store::undo;

/// How often it is looked whether something has failed in the background.
const WATCH_PAUSE: Duration = Duration::from_millis(200);

impl Shared {
    /// Opens the engine again if a write failed since it was opened last; whoever writes asks for it first.
    ///
    /// # Errors
    ///
    /// When nothing can be written still, or what is on disk is not what was committed. Lookups go on.
    pub(super) fn mend(&self, committed: Option<&mut Committed>) -> Result<(), StoreError> {
        if self.home().failure().is_none() {
            return Ok(());
        }
        match committed {
            Some(committed) => self.mend_now(committed),
            None => self.mend_now(&mut self.committed.lock()),
        }
    }

    fn mend_now(&self, committed: &mut Committed) -> Result<(), StoreError> {
        let home = self.home();
        // Another may have done it while this one waited for the lock.
        if home.failure().is_none() {
            return Ok(());
        }
        // However often somebody asks.
        if let Some(failure) = home.too_soon() {
            return Err(failure);
        }
        match self.site.settle().and_then(|()| home.renew()).and_then(|()| self.take_up(committed)) {
            Ok(()) => {
                tracing::info!("The ledger was opened again and can be written.");
                Ok(())
            }
            Err(error) if error.can_pass() => {
                home.put_off();
                Err(error)
            }
            // What is on disk is not what is in memory, and no later try will change that; a start takes what is there.
            Err(error) => {
                tracing::error!(
                    %error,
                    "After a failed write the ledger is not as it was left. The process ends, to be started again: the logs are read again from what is on disk."
                );
                end_to_start_again()
            }
        }
    }

    /// The life of a thread: sees to it that nobody waits for ever after a failed write. It calls nothing that could wait
    /// itself.
    pub(super) fn watch(&self) {
        loop {
            let rung = self.bell.count();
            if self.check_stop().is_err() {
                return;
            }
            self.homes.lock().retain(|home| match home.upgrade() {
                Some(home) => {
                    home.watch();
                    true
                }
                None => false,
            });
            self.bell.wait(rung, Some(WATCH_PAUSE));
        }
    }

    /// The life of another: sees to it that the ledger can be written again as soon as its place can, if nobody writes.
    pub(super) fn heal(&self) {
        loop {
            let rung = self.bell.count();
            if self.check_stop().is_err() {
                return;
            }
            let failed = self.home().failure().is_some();
            // Whoever holds the lock mends, or comes to it.
            if failed && let Some(mut committed) = self.committed.try_lock() {
                // Who writes next says why it fails.
                drop(self.mend(Some(&mut committed)));
            }
            self.bell.wait(rung, failed.then_some(WATCH_PAUSE));
        }
    }

    /// Makes what is on disk and what is in memory the same again; then others may write.
    fn take_up(&self, committed: &mut Committed) -> Result<(), StoreError> {
        let home = self.home();
        let mut manifest = self.manifest.lock();
        let mut next = Manifest::from_bytes(home.get(engine::MANIFEST)?)?;
        let record = Commits::from_bytes(home.get(engine::COMMITS)?)?;
        let doubtful = committed.doubt.as_ref().is_some_and(|doubt| doubt.record == record);
        if record != committed.record && !doubtful {
            return Err(damaged("the record of the last commit", "it is not what was last committed"));
        }
        if let Some(doubt) = &committed.doubt {
            next.runs.retain(|run| Some(run.id) != doubt.run);
            let mut changes: Changes = doubt.undo.clone();
            changes.push((engine::COMMITS.to_vec(), Some(committed.record.to_bytes()?)));
            changes.push((engine::MANIFEST.to_vec(), Some(next.to_bytes()?)));
            home.correct(changes)?;
            committed.doubt = None;
        }
        if next.cuts.len() > manifest.cuts.len() {
            // Whoever made the last cut was told that it is not there.
            next = manifest.clone();
            home.correct(vec![(engine::MANIFEST.to_vec(), Some(next.to_bytes()?))])?;
        }
        // Only now: until then it says how to do the same at a start.
        let mut left = undo::find(&*home)?.keys;
        left.extend(journal_before(&*home, next.journal_from)?);
        if !left.is_empty() {
            home.correct(left.into_iter().map(|key| (key, None)).collect())?;
        }
        // A fold or a merge that failed may be there.
        let view = self.view();
        let mut runs = Vec::with_capacity(next.runs.len());
        for meta in &next.runs {
            runs.push(match view.runs.iter().find(|run| run.meta.id == meta.id) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Run::load(meta.clone(), &home)?),
            });
        }
        let is_named = |id: u32| next.runs.iter().any(|run| run.id == id);
        for run in view.runs.iter().filter(|run| !is_named(run.meta.id)) {
            run.retired.store(true, Ordering::Relaxed);
        }
        // What was removed before may be there again. What is held is read, or was written and is to be named.
        let is_left = |id: &u32| !is_named(*id) && !home.is_held(*id);
        home.runs()?.into_iter().filter(is_left).for_each(|id| home.bury(id));
        let journal_from = next.journal_from;
        // A copy in place that failed may be there, too, with what it dropped.
        let folding = Arc::new(Folding::load(&*home)?);
        self.cut.store(next.expired.before, Ordering::SeqCst);
        *manifest = next;
        let epochs = Arc::new(Epochs::of(&manifest.cuts));
        self.publish(|view| {
            view.runs = runs;
            view.epochs = epochs;
            view.folding = folding;
            view.segments.retain(|segment| segment.sequences.iter().any(|&at| at >= journal_from));
        });
        committed.acks.renew()?;
        // Only now, for who folds or merges must start from what was taken up; and before the manifest may be changed, for a run
        // that is refused after this look would be left behind.
        home.mended();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ledger;
    use super::super::Work;
    use super::super::disk::RunSink;
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::run::{CommitRange, Writer};
    use crate::store::tests::crash::{VolatileSite, batch, tiny};
    use crate::store::{Options, WriteStore};

    #[test]
    fn a_run_that_is_being_written_is_not_taken_for_one_that_was_left_behind() {
        let site = Arc::new(VolatileSite::new(usize::MAX, 1));
        let shared = Shared::open(site, true, &tiny(), Run::load).unwrap();
        let home = shared.home();
        let batch = batch(4, &MemoryStore::default()).unwrap();
        // Its number is the next one.
        let id = shared.next_run.load(Ordering::SeqCst);
        let fill = |writer: &mut Writer<RunSink<'_>>| {
            assert!(home.is_held(id));
            writer.push_batch(&batch, 1, 0)
        };
        let run = shared.write_run(&home, 80, CommitRange::one(1), fill).unwrap();
        // Another write fails before it is named.
        home.fail(&StoreError::Closed);
        shared.mend(None).unwrap();
        assert!(home.runs().unwrap().contains(&id) && !home.has_graves());
        // One that fails is removed, and so is one that nobody names.
        let gone = shared.write_run(&home, 80, CommitRange::one(1), |_| Err(StoreError::Closed)).map(drop);
        assert!(gone.is_err() && !home.is_held(id + 1));
        assert!(home.remove_a_run().unwrap() && !home.has_graves());
        drop(run);
        home.fail(&StoreError::Closed);
        // So soon after the last failure it may be put off.
        while shared.mend(None).is_err() {
            std::thread::yield_now();
        }
        assert!(home.remove_a_run().unwrap() && home.runs().unwrap().is_empty());
    }

    #[test]
    fn nothing_is_merged_before_a_failed_write_was_seen_to() {
        let site = Arc::new(VolatileSite::new(usize::MAX, 1));
        let options = Options { fold_rows: usize::MAX, bulk_rows: usize::MAX, ..tiny() };
        let shared = Shared::open(site, true, &options, Run::load).unwrap();
        let ledger = Ledger { shared: Arc::clone(&shared), workers: Vec::new(), max_disk: None };
        let mut number = 0;
        while !shared.is_due(Work::Fold) {
            number += 1;
            ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
        }
        // The failed write may have been a fold of the same segments, by another thread, that is on disk.
        shared.home().fail(&StoreError::Closed);
        let before = shared.view();
        assert!(shared.step(Work::Fold).unwrap());
        assert!(Arc::ptr_eq(&before, &shared.view()));
        while shared.mend(None).is_err() {
            std::thread::yield_now();
        }
        assert!(shared.step(Work::Fold).unwrap());
        assert!(shared.view().segments.len() < before.segments.len());
    }
}
