//! Recovery: going on after a failed write: the engine is opened again beneath the ledger.

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
    pub(super) fn recover(&self, committed: Option<&mut Committed>) -> Result<(), StoreError> {
        if self.handle().failure().is_none() {
            return Ok(());
        }
        match committed {
            Some(committed) => self.recover_now(committed),
            None => self.recover_now(&mut self.committed.lock()),
        }
    }

    fn recover_now(&self, committed: &mut Committed) -> Result<(), StoreError> {
        let handle = self.handle();
        // Another may have done it while this one waited for the lock.
        if handle.failure().is_none() {
            return Ok(());
        }
        // However often somebody asks.
        if let Some(failure) = handle.too_soon() {
            return Err(failure);
        }
        match self.site.settle().and_then(|()| handle.renew()).and_then(|()| self.take_up(committed)) {
            Ok(()) => {
                tracing::info!("The ledger was opened again and can be written.");
                Ok(())
            }
            Err(error) if error.can_pass() => {
                handle.put_off();
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
            let seen = self.notifier.count();
            if self.check_stop().is_err() {
                return;
            }
            self.handles.lock().retain(|handle| match handle.upgrade() {
                Some(handle) => {
                    handle.watch();
                    true
                }
                None => false,
            });
            self.notifier.wait(seen, Some(WATCH_PAUSE));
        }
    }

    /// The life of another: sees to it that the ledger can be written again as soon as its place can, if nobody writes.
    pub(super) fn heal(&self) {
        loop {
            let seen = self.notifier.count();
            if self.check_stop().is_err() {
                return;
            }
            let failed = self.handle().failure().is_some();
            // Whoever holds the lock recovers, or comes to it.
            if failed && let Some(mut committed) = self.committed.try_lock() {
                // Who writes next says why it fails.
                drop(self.recover(Some(&mut committed)));
            }
            self.notifier.wait(seen, failed.then_some(WATCH_PAUSE));
        }
    }

    /// Makes what is on disk and what is in memory the same again; then others may write.
    fn take_up(&self, committed: &mut Committed) -> Result<(), StoreError> {
        let handle = self.handle();
        let mut manifest = self.manifest.lock();
        let mut next = Manifest::from_bytes(handle.get(engine::MANIFEST)?)?;
        let record = Commits::from_bytes(handle.get(engine::COMMITS)?)?;
        let is_uncertain = committed.uncertain.as_ref().is_some_and(|uncertain| uncertain.record == record);
        if record != committed.record && !is_uncertain {
            return Err(damaged("the record of the last commit", "it is not what was last committed"));
        }
        if let Some(uncertain) = &committed.uncertain {
            next.runs.retain(|run| Some(run.id) != uncertain.run);
            let mut changes: Changes = uncertain.undo.clone();
            changes.push((engine::COMMITS.to_vec(), Some(committed.record.to_bytes()?)));
            changes.push((engine::MANIFEST.to_vec(), Some(next.to_bytes()?)));
            handle.correct(changes)?;
            committed.uncertain = None;
        }
        if next.cuts.len() > manifest.cuts.len() {
            // Whoever made the last cut was told that it is not there.
            next = manifest.clone();
            handle.correct(vec![(engine::MANIFEST.to_vec(), Some(next.to_bytes()?))])?;
        }
        // Only now: until then it says how to do the same at a start.
        let mut left = undo::find(&*handle)?.keys;
        left.extend(journal_before(&*handle, next.journal_from)?);
        if !left.is_empty() {
            handle.correct(left.into_iter().map(|key| (key, None)).collect())?;
        }
        // A fold or a merge that failed may be there.
        let view = self.view();
        let mut runs = Vec::with_capacity(next.runs.len());
        for meta in &next.runs {
            runs.push(match view.runs.iter().find(|run| run.meta.id == meta.id) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Run::load(meta.clone(), &handle)?),
            });
        }
        let is_named = |id: u32| next.runs.iter().any(|run| run.id == id);
        for run in view.runs.iter().filter(|run| !is_named(run.meta.id)) {
            run.obsolete.store(true, Ordering::Relaxed);
        }
        // What was removed before may be there again. What is held is read, or was written and is to be named.
        let is_left = |id: &u32| !is_named(*id) && !handle.is_held(*id);
        handle.runs()?.into_iter().filter(is_left).for_each(|id| handle.mark_obsolete(id));
        let journal_from = next.journal_from;
        // A copy in place that failed may be there, too, with what it dropped.
        let folding = Arc::new(Folding::load(&*handle)?);
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
        handle.recovered();
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
        let handle = shared.handle();
        let batch = batch(4, &MemoryStore::default()).unwrap();
        // Its number is the next one.
        let id = shared.next_run.load(Ordering::SeqCst);
        let fill = |writer: &mut Writer<RunSink<'_>>| {
            assert!(handle.is_held(id));
            writer.push_batch(&batch, &Default::default(), 1, 0)
        };
        let run = shared.write_run(&handle, 80, CommitRange::one(1), fill).unwrap();
        // Another write fails before it is named.
        handle.fail(&StoreError::Closed);
        shared.recover(None).unwrap();
        assert!(handle.runs().unwrap().contains(&id) && !handle.has_obsolete_runs());
        // One that fails is removed, and so is one that nobody names.
        let gone = shared.write_run(&handle, 80, CommitRange::one(1), |_| Err(StoreError::Closed)).map(drop);
        assert!(gone.is_err() && !handle.is_held(id + 1));
        assert!(handle.remove_a_run().unwrap() && !handle.has_obsolete_runs());
        drop(run);
        handle.fail(&StoreError::Closed);
        // So soon after the last failure it may be put off.
        while shared.recover(None).is_err() {
            std::thread::yield_now();
        }
        assert!(handle.remove_a_run().unwrap() && handle.runs().unwrap().is_empty());
    }

    #[test]
    fn nothing_is_merged_before_a_failed_write_was_seen_to() {
        let site = Arc::new(VolatileSite::new(usize::MAX, 1));
        let options = Options { fold_rows: usize::MAX, bulk_rows: usize::MAX, ..tiny() };
        let shared = Shared::open(site, true, &options, Run::load).unwrap();
        let ledger = Ledger { shared: Arc::clone(&shared), workers: Vec::new() };
        let mut number = 0;
        while !shared.is_due(Work::Fold) {
            number += 1;
            ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
        }
        // The failed write may have been a fold of the same segments, by another thread, that is on disk.
        shared.handle().fail(&StoreError::Closed);
        let before = shared.view();
        assert!(shared.step(Work::Fold).unwrap());
        assert!(Arc::ptr_eq(&before, &shared.view()));
        while shared.recover(None).is_err() {
            std::thread::yield_now();
        }
        assert!(shared.step(Work::Fold).unwrap());
        assert!(shared.view().segments.len() < before.segments.len());
    }
}
