//! Rewriting: the ledger is copied to a fresh place, which then takes over; on the way what was dropped is left behind, or the rows
//! of a sensor.
//!
//! An engine does not give space back, and a name that lies in several runs can only be judged where all of it comes
//! together: so both are one copy of everything. Commits, folds and lookups go on meanwhile, merges do not. What came
//! since is copied at the end, while commits wait; then the new place is made current in one step. Until then it is worth
//! nothing, and after it the old one is: a crash leaves one of them whole. Readers keep the old place until the last of
//! them lets go.
//!
//! Where something is left behind, and there is no room for a copy beside, the copy is made *in place*: new runs in the same
//! engine, which then replace all others in one step. The engine uses the space again of what was removed. It is not begun where what
//! stays has no room there either: a disk that is filled by it would stop all writing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::disk::Run;
use super::expiry::share;
use super::old_places::Replaced;
use super::room::Room;
use super::view::{Folding, ReadView};
use crate::observation::SensorId;
use crate::progress::LineageId;
use crate::store::batch::Batch;
use crate::store::budget::Rules;
use crate::store::domains::lookup_keys;
use crate::store::engine::{self, Changes, EnginePlace, with_prefix};
use crate::store::engine_handle::EngineHandle;
use crate::store::key::{Family, Range};
use crate::store::manifest::{Commits, FIRST_COMMIT, Manifest};
use crate::store::run::{BlockSource, CommitRange, Merged, Sources};
use crate::store::space::{check_room, in_file, of_copy, with_slack};
use crate::store::{Reduced, StoreError};

/// What is refused where there is no room.
const WHAT: &str = "writing the ledger anew";
/// Rows that may be left to copy while commits wait.
const LAST_ROWS: u64 = 50_000;
/// Rows that are read between two looks whether it is to stop.
const ROWS_BETWEEN_CHECKS: u64 = 4096;
/// How often what came since is copied before commits wait.
const CATCH_UPS: usize = 6;

impl Shared {
    /// Copies everything to a fresh place, which takes over: all that was dropped is gone then. Without a sensor and the progress of a
    /// log, if so.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    pub(super) fn rewrite(&self, without: Option<(SensorId, LineageId)>) -> Result<(), StoreError> {
        let _alone = self.merging.lock();
        self.rewrite_alone(without)
    }

    /// As [`Shared::rewrite`], for who has made sure that nothing is merged meanwhile.
    fn rewrite_alone(&self, without: Option<(SensorId, LineageId)>) -> Result<(), StoreError> {
        let rules = Rules { without: without.map(|(sensor, _)| sensor), ..Rules::default() };
        let runs = self.settled_runs()?;
        let leaves = without.is_none() && !self.manifest.lock().cuts.is_empty();
        let how = CopyOptions {
            at: 0,
            forget: without.map(|(_, lineage)| lineage),
            in_place: leaves,
            pressed: false,
        };
        self.copy(runs, rules, how).map(drop)
    }

    /// Copies what stays of some runs, which are all there were when they were asked for, and all that came since.
    pub(super) fn copy(
        &self,
        runs: Vec<Arc<Run>>,
        rules: Rules,
        how: CopyOptions,
    ) -> Result<Reduced, StoreError> {
        self.count_cuts()?;
        // What nobody needs any more still takes room.
        self.clear_all_away()?;
        let place = self.site.next()?;
        let mut room = self.room()?;
        let mut found = self.find_place(room, how.in_place, None);
        if !matches!(found, Ok(CopyPlace { in_place: false, .. })) && !self.replaced.lock().is_empty() {
            // What readers hold of an earlier place comes back first. One that may not be ended holds it all the same.
            if let Err(error) = self.wait_for_readers() {
                tracing::debug!(%error, "What a reader holds is not free yet.");
            }
            room = self.room()?;
            found = self.find_place(room, how.in_place, None);
        }
        let found = match found {
            // Of a flood little stays: what goes needs no room. It is counted where that decides.
            Ok(CopyPlace { in_place: true, .. }) | Err(StoreError::NoRoom { .. })
                if rules.tell_rows_apart() =>
            {
                let kept = self.count_kept(&runs, rules.clone())?;
                self.find_place(room, how.in_place, Some(kept))?
            }
            found => found?,
        };
        if !found.uses_reserve {
            return self.copy_to(place, runs, rules, how, found);
        }
        self.use_reserve(u64::MAX);
        let copied = self.copy_to(place, runs, rules, how, found);
        self.keep_reserve();
        copied
    }

    /// Copies what stays of some runs to a place where there is room for it.
    fn copy_to(
        &self,
        place: Arc<dyn EnginePlace>,
        runs: Vec<Arc<Run>>,
        rules: Rules,
        how: CopyOptions,
        found: CopyPlace,
    ) -> Result<Reduced, StoreError> {
        let in_place = found.in_place;
        let handle = if in_place {
            self.handle()
        } else {
            self.wait_for_readers()?;
            let handle = self.open_handle(place)?;
            // Until it takes over.
            handle.abandon(true);
            handle
        };
        *self.copying.lock() = Some((Arc::clone(&handle), found.bytes));
        let mut copy = Copy::new(self, handle);
        (copy.forget, copy.rules, copy.in_place, copy.pressed) = (how.forget, rules, in_place, how.pressed);
        copy.add(runs)?;
        let sums = copy.rules.sums()?;
        copy.add_batch(&sums)?;
        for _ in 0..CATCH_UPS {
            if copy.is_nearly_done() {
                break;
            }
            copy.add(self.settled_runs()?)?;
        }
        copy.take_over(how.at)
    }

    /// How many bytes of the rows and questions of some runs stay by rules, and of how many.
    fn count_kept(&self, runs: &[Arc<Run>], mut rules: Rules) -> Result<(u64, u64), StoreError> {
        let sources = self.sources_of(runs);
        let (mut kept, mut all, mut rows_read) = (0u64, 0u64, 0u64);
        for family in [Family::ByName, Family::Questions] {
            let mut rows = Merged::open(&sources, &Range::all(family))?;
            while rows.advance()? {
                if rows_read.is_multiple_of(ROWS_BETWEEN_CHECKS) {
                    self.check_stop()?;
                }
                rows_read += 1;
                let bytes = (rows.key().len() + rows.value().len()) as u64;
                all += bytes;
                if rules.keeps(family, rows.key(), rows.value())? {
                    kept += bytes;
                }
            }
        }
        Ok((kept, all))
    }

    /// Where a copy of what is kept has room, of which so many bytes of so many stay where that was counted. Commits that found
    /// none because of it would be refused; where something is left behind, that is for a moment only.
    fn find_place(
        &self,
        room: Option<Room>,
        leaves: bool,
        kept: Option<(u64, u64)>,
    ) -> Result<CopyPlace, StoreError> {
        let Some(room) = room else { return Ok(CopyPlace::default()) };
        let stays = self.stays(kept);
        let needed = if leaves { with_slack(stays) } else { of_copy(stays) };
        if needed <= room.beside {
            let uses_reserve = needed > room.free;
            Ok(CopyPlace { in_place: false, uses_reserve, bytes: with_slack(stays) })
        } else if leaves && needed <= room.within() {
            let bytes = self.handle().disk_bytes()?.saturating_add(needed);
            Ok(CopyPlace { in_place: true, uses_reserve: true, bytes })
        } else {
            Err(StoreError::NoRoom { what: WHAT, needed: of_copy(stays), free: room.beside })
        }
    }

    /// Refuses a copy of everything where there is no room for it.
    pub(super) fn check_room(&self, free: Option<u64>) -> Result<(), StoreError> {
        check_room(WHAT, self.stays(None), free)
    }

    /// Bytes of blocks that stay: so many of so many, where that was counted.
    fn stays(&self, kept: Option<(u64, u64)>) -> u64 {
        let view = self.view();
        let live = view.block_bytes();
        let counts = view.runs.iter().fold(view.pending(), |sum, run| sum.plus(*run.meta.counts()));
        let (all, (rows, questions)) = (counts.primary(), self.manifest.lock().left());
        let stays = share(live, all.saturating_sub(rows + questions), all);
        kept.map_or(stays, |(kept, all)| share(live, kept, all).min(stays))
    }

    /// All runs, once nothing that was committed before is only in the journal.
    pub(super) fn settled_runs(&self) -> Result<Vec<Arc<Run>>, StoreError> {
        let mut committed = self.committed.lock();
        self.recover(Some(&mut committed))?;
        let _alone = self.folding.lock();
        let view = self.view();
        if !view.segments.is_empty() {
            self.fold(&view.segments)?;
        }
        drop(view);
        Ok(self.view().runs.clone())
    }

    /// Whether the ledger is to be written anew once so many bytes more are written to its file, because it would take three tenths
    /// more than what is live: what is written beside it takes [up to a fifth](in_file) more, and so both together two and a half
    /// times. One that gave little, or failed, is not tried again before the ledger has grown by a quarter: it needs room of its own,
    /// and a disk that is nearly full must not be filled by it.
    pub(super) fn rewrite_is_due(&self, view: &ReadView, coming: u64) -> bool {
        let live = view.live_bytes();
        // What is free in the file is used first.
        let disk = self.handle().disk_bytes().unwrap_or_default().max(in_file(live.saturating_add(coming)));
        let rewritten = self.rewritten.load(Ordering::Relaxed);
        // What a reader holds would have to be waited for.
        self.replaced.lock().is_empty()
            && self.is_to_take_less().is_ok_and(|is_to| !is_to)
            && disk > self.options.rewrite_bytes
            && disk > live.saturating_mul(13) / 10
            && disk > rewritten.saturating_add(rewritten / 4)
    }

    /// Rewrites the ledger because it is due, and remembers how large it was afterwards.
    pub(super) fn rewrite_by_itself(&self) -> Result<(), StoreError> {
        let done = self.rewrite_alone(None);
        self.rewritten.store(self.handle().disk_bytes().unwrap_or_default(), Ordering::Relaxed);
        done
    }
}

/// Where there is room for a copy.
#[derive(Debug, Clone, Copy, Default)]
struct CopyPlace {
    /// Not beside the ledger, but in its own file.
    in_place: bool,
    /// Only with what is kept in reserve.
    uses_reserve: bool,
    /// Bytes that the ledger there takes then, at most.
    bytes: u64,
}

/// How a ledger is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyOptions {
    /// When, epoch seconds.
    pub at: u64,
    /// A log whose progress is left behind.
    pub forget: Option<LineageId>,
    /// Whether it may be done in place where there is no room beside.
    pub in_place: bool,
    /// Whether something is folded because room is needed.
    pub pressed: bool,
}

/// A ledger on its way to another place, or to other runs.
pub(super) struct Copy<'a> {
    shared: &'a Shared,
    handle: Arc<EngineHandle>,
    /// The engine is the one it comes from.
    in_place: bool,
    /// A log whose progress is left behind.
    forget: Option<LineageId>,
    /// What stays.
    rules: Rules,
    /// Whether something is folded because room is needed.
    pressed: bool,
    /// Runs that were copied.
    old: Vec<Arc<Run>>,
    /// What they became.
    new: Vec<Arc<Run>>,
    /// What is missing is no longer asked for.
    pub gives_up_missing: bool,
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        // What nobody names.
        for run in self.new.iter().filter(|_| self.in_place) {
            run.obsolete.store(true, Ordering::Relaxed);
        }
        *self.shared.copying.lock() = None;
    }
}

impl<'a> Copy<'a> {
    /// One to an engine that is empty.
    pub fn new(shared: &'a Shared, handle: Arc<EngineHandle>) -> Copy<'a> {
        Copy {
            shared,
            handle,
            in_place: false,
            forget: None,
            rules: Rules::default(),
            pressed: false,
            gives_up_missing: false,
            old: Vec::new(),
            new: Vec::new(),
        }
    }

    /// Writes a batch as a run.
    pub fn add_batch(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.tuples().is_empty() && batch.questions().is_empty() && batch.hits().is_empty() {
            return Ok(());
        }
        let sensors = self.shared.sensors.len();
        // Rows made of others are as of all commits so far.
        let commits = CommitRange { first: FIRST_COMMIT, last: self.shared.view().last_commit };
        let run = self.shared.write_run(&self.handle, lookup_keys(batch), commits, |writer| {
            writer.push_batch(batch, &Batch::default(), sensors, 0)
        })?;
        self.new.push(run);
        Ok(())
    }

    /// What these runs hold is in what was written.
    pub fn copied(&mut self, runs: Vec<Arc<Run>>) {
        self.old.extend(runs);
    }

    /// What is known of folded names is kept, though rows come as batches.
    pub fn keep_folding(&mut self) {
        self.rules.keeps_estimates = true;
    }

    fn is_copied(&self, run: &Run) -> bool {
        self.old.iter().any(|copied| copied.meta.id == run.meta.id)
    }

    /// Whether little has come since.
    fn is_nearly_done(&self) -> bool {
        let view = self.shared.view();
        let runs = view.runs.iter().filter(|run| !self.is_copied(run));
        runs.map(|run| run.meta.counts().primary()).sum::<u64>() + view.pending().primary() <= LAST_ROWS
    }

    /// Copies those of these runs that were not copied.
    fn add(&mut self, mut runs: Vec<Arc<Run>>) -> Result<(), StoreError> {
        runs.retain(|run| !self.is_copied(run));
        let sources = self.shared.sources_of(&runs);
        let keys = runs.iter().map(|run| run.meta.counts().lookup_keys).sum();
        let commits = CommitRange::over(runs.iter().map(|run| run.meta.commits));
        self.add_sources(&sources, keys, commits)?;
        self.old.extend(runs);
        Ok(())
    }

    fn add_sources(
        &mut self,
        sources: &Sources,
        lookup_keys: u64,
        commits: CommitRange,
    ) -> Result<(), StoreError> {
        if sources.is_empty() {
            return Ok(());
        }
        let (rules, shared, mut rows_read) = (&mut self.rules, self.shared, 0u64);
        let run = shared.write_run(&self.handle, lookup_keys, commits, |writer| {
            writer.push_kept(sources, |family, key, stored| {
                rows_read += 1;
                if rows_read.is_multiple_of(ROWS_BETWEEN_CHECKS) {
                    // Where all rows go nothing is written for long.
                    shared.check_stop()?;
                }
                rules.keeps(family, key, stored)
            })
        })?;
        if run.meta.counts().all() > 0 {
            self.new.push(run);
        } else {
            self.handle.mark_obsolete(run.meta.id);
        }
        Ok(())
    }

    /// Copies the rest while commits wait, and puts the new place, or the new runs, in the old one's.
    pub fn take_over(mut self, at: u64) -> Result<Reduced, StoreError> {
        let shared = self.shared;
        let mut committed = shared.committed.lock();
        shared.recover(Some(&mut committed))?;
        let _nothing_is_folded = shared.folding.lock();
        let view = shared.view();
        let rest: Vec<_> = view.runs.iter().filter(|run| !self.is_copied(run)).map(Arc::clone).collect();
        let keys: u64 = rest.iter().map(|run| run.meta.counts().lookup_keys).sum();
        let in_memory = view.segments.iter().map(|segment| segment.commits);
        let commits = CommitRange::over(rest.iter().map(|run| run.meta.commits).chain(in_memory));
        // All of it came after the last cut, which what was copied first has carried out.
        let rest = rest.into_iter().map(|run| run as Arc<dyn BlockSource>);
        let segments = view.segments.iter().map(|segment| Arc::clone(segment) as Arc<dyn BlockSource>);
        self.add_sources(&rest.chain(segments).collect(), keys + view.pending().lookup_keys, commits)?;
        let old = shared.handle();
        let mut journal = Changes::new();
        for sequence in view.segments.iter().flat_map(|segment| &segment.sequences) {
            for pair in with_prefix(&*old, &engine::journal(*sequence)) {
                journal.push((pair?.0, None));
            }
        }
        drop(view);
        let mut manifest = shared.manifest.lock();
        let _no_hints = shared.hints.lock();
        let next = Manifest {
            runs: self.new.iter().map(|run| run.meta.clone()).collect(),
            next_run: shared.next_run.load(Ordering::SeqCst).max(manifest.next_run.saturating_add(1)),
            journal_from: committed.record.journal_to,
            journal_after: committed.record.number,
            expired: manifest.expired,
            cuts: Vec::new(),
        };
        shared.next_run.fetch_max(next.next_run, Ordering::SeqCst);
        let forgotten = self.forget.and_then(|id| Some((id, *committed.lineages.get(&id)?)));
        let mut record = committed.record;
        if let Some((_, hash)) = forgotten {
            record.lineages -= 1;
            record.digest ^= hash;
        }
        let known = shared.view();
        let folding = self.rules.record(&known.folding.record, self.pressed, at);
        let (mut changes, estimates) = self.rules.changes(&*old, &folding, &known.folding.estimates)?;
        let drops = self.gives_up_missing || self.rules.drops();
        let identity = if drops { known.identity.after_a_drop() } else { known.identity };
        changes.push((engine::IDENTITY.to_vec(), Some(identity.to_bytes()?)));
        drop(known);
        let folding = Arc::new(Folding { record: folding, estimates: Arc::new(estimates) });
        if self.in_place {
            // Of a batch that fails a part may be there: numbers of names that are ahead of their rows harm nothing.
            let (mut batch, left): (Changes, Changes) =
                changes.into_iter().partition(|change| change.1.is_some());
            batch.push((engine::MANIFEST.to_vec(), Some(next.to_bytes()?)));
            journal.extend(left);
            if let Err(error) = old.commit(batch) {
                // It may be there all the same: whoever opens the engine again sees to what became of it.
                self.new.clear();
                return Err(error);
            }
            // What is left of it goes when the engine is opened again, if this fails.
            drop(old.write(journal));
        } else {
            self.copy_main(record, &next, changes)?;
            let (mark, sensors) = (self.handle.place().mark(), shared.sensors.len());
            let without = forgotten.map(|(lineage, _)| lineage);
            let acks =
                committed.acks.copy_to(mark, next.next_run, sensors, without, self.gives_up_missing)?;
            if let Err(error) = shared.site.switch(self.handle.place()) {
                if shared.site.is_unsettled() {
                    // Whoever opens the ledger next may find this copy: it stays, and nothing is committed that it lacks.
                    self.handle.abandon(false);
                    shared.handle().fail(&error);
                }
                return Err(error);
            }
            committed.acks = acks;
            self.handle.abandon(false);
            let old = std::mem::replace(&mut *shared.handle.lock(), Arc::clone(&self.handle));
            old.abandon(true);
            // Nobody writes there any more, and who watches must not be the last to hold it.
            shared.handles.lock().retain(|watched| watched.as_ptr() != Arc::as_ptr(&old));
            shared.replaced.lock().push(Replaced::new(old));
        }
        committed.record = record;
        if let Some((lineage, _)) = forgotten {
            committed.lineages.remove(&lineage);
        }
        shared.missing.store(committed.acks.missing_logs(), Ordering::SeqCst);
        *manifest = next;
        let new = std::mem::take(&mut self.new);
        let in_place = self.in_place;
        shared.publish(|view| {
            for run in view.runs.iter().filter(|_| in_place) {
                run.obsolete.store(true, Ordering::Relaxed);
            }
            view.runs = new;
            view.segments.clear();
            view.folding = folding;
            view.identity = identity;
            view.epochs = Arc::default();
        });
        let (rows, questions) = self.rules.folded;
        let reduced = Reduced { rows, questions: questions + self.rules.dropped };
        if in_place {
            // So that the space is there when this returns, but for what is read still.
            drop(std::mem::take(&mut self.old));
            drop((manifest, committed));
            while shared.handle().remove_a_run()? {}
        }
        Ok(reduced)
    }

    /// Copies what is in no run.
    fn copy_main(&self, record: Commits, manifest: &Manifest, folding: Changes) -> Result<(), StoreError> {
        let old = self.shared.handle();
        let mut changes: Changes = vec![
            (engine::FORMAT.to_vec(), Some(crate::store::FORMAT.to_be_bytes().to_vec())),
            (engine::MANIFEST.to_vec(), Some(manifest.to_bytes()?)),
            (engine::COMMITS.to_vec(), Some(record.to_bytes()?)),
        ];
        for prefix in [engine::SENSORS, engine::PROGRESS, engine::CACHE, engine::FOLDED] {
            for pair in with_prefix(&*old, prefix) {
                let (key, value) = pair?;
                let is_new = folding.iter().any(|(new, _)| *new == key);
                if is_new || self.forget.is_some_and(|lineage| key == engine::progress(&lineage)) {
                    continue;
                }
                changes.push((key, Some(value)));
            }
        }
        changes.extend(folding.into_iter().filter(|(_, value)| value.is_some()));
        changes.extend(self.shared.first_seen.lock().0.to_changes()?);
        self.handle.commit(changes)
    }
}
