//! The ledger on an engine: a journal of commits, segments in memory, immutable sorted runs, and a manifest.
//!
//! # How rows move
//!
//! - What is staged is in segments in memory, which lookups see, and nowhere else ([`staging`]). A commit makes one entry of the
//!   journal and one [`Segment`] of them, or a run where they are large.
//! - A small batch that is applied by itself becomes an entry of the journal and a segment, a large one a run at once.
//! - A *fold* writes all segments as one run. A *merge* writes several runs of about one size as one.
//! - A run does not exist until the manifest names it. Naming it, dropping what it replaces (journal entries, or runs), and
//!   the progress of a large commit are one atomic write.
//! - A run that is no longer named is removed when the last reader has let go of it; one that a crash left behind unnamed,
//!   at the next opening.
//!
//! Each commit is acknowledged in a file beside the engine ([`acknowledged`](super::acknowledged)), durable before the commit returns. It
//! shows at the next opening whether the engine has lost writes.
//!
//! On disk the order is: blocks, sync, manifest, sync, removal. Readers hold a [`ReadView`], which never changes.
//!
//! # Failed writes
//!
//! After a failed write nothing more is written until the engine was opened again beneath the ledger ([`recovery`]), which
//! whoever writes next tries first, and a thread of its own. What failed may be on disk or not: a fold or a merge that is
//! there is kept, for it changes nothing that anybody sees; a commit is taken back, for whoever asked for it was told that it is
//! not there. Of a commit a part may be there: what takes it back is on disk before it ([`super::undo`]). The manifest of a
//! fold or a merge is one key; what it makes superfluous goes after it.
//!
//! # Files
//!
//! [`open`] opens and closes, [`staging`] and [`commit`] take what comes, [`background`] folds and merges, [`disk`] reads and writes
//! runs, [`view`] is what lookups see, [`first_seen`] makes rows of domains of older rows, [`hits`] gives numbers to what is met. [`expiry`], [`reduce`] and [`rewrite`] drop rows and give space back, [`room`] says how much there is for that, [`old_places`] removes what a
//! rewrite left, [`recovery`] and [`repair`] go on after a failure.
//!
//! # Threads
//!
//! One thread folds, another merges and removes; a third watches that nobody waits for an engine that has failed, and a
//! fourth opens that again. A panic in one of them ends the process. The first two, and whoever commits, change the manifest
//! under a lock that is held for one write. Lookups take no lock: the view is replaced as a whole. Who stages takes the locks
//! `staging` and `publishing`, which are held for moments only, never for a write. Who needs several locks takes `merging`, `committed`, `folding`, `manifest`,
//! `hints`, `staging`, `publishing`, in this order.

mod background;
mod commit;
mod disk;
mod expiry;
mod first_seen;
mod hits;
mod old_places;
mod open;
mod recovery;
mod reduce;
mod repair;
mod rewrite;
mod room;
mod staging;
mod view;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use self::commit::{CommitRows, Committed};
use self::disk::{RunPairs, RunSink};
use self::old_places::Replaced;
use self::staging::Staging;
use self::view::ReadView;
use crate::base::fault::point;
use crate::observation::SensorId;
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::copy::{OnPiece, Pieces};
use crate::store::derived::Record;
use crate::store::domains::lookup_keys;
use crate::store::engine::{self, EnginePlace, Pairs, Site, with_prefix};
use crate::store::engine_handle::EngineHandle;
use crate::store::manifest::Manifest;
use crate::store::notifier::Notifier;
use crate::store::run::{BlockSource, Writer};
use crate::store::segment::Segment;
use crate::store::sensors::Sensors;
use crate::store::space::copied_into;
use crate::store::stored::open_progress;
use crate::store::verify::{Checker, OnProgress, Verification};
use crate::store::{
    Acknowledged, Expired, FORMAT, Growth, NewHit, OnHits, Options, Pair, ReadStore, Reduce, Reduced,
    Snapshot, Stats, StoreError, Survey, Watch, WriteStore,
};

pub(super) use self::open::beginning;

/// How often it is looked whether readers have let go of a place that is to be removed.
const CLEAR_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// A ledger that is open.
pub struct Ledger {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    handle: Mutex<Arc<EngineHandle>>,
    /// Replaced engines. Closing one and removing its files takes a while, so the thread that merges must hold it last, not a
    /// lookup.
    replaced: Mutex<Vec<Replaced>>,
    /// All handles that are open, to be watched.
    handles: Mutex<Vec<Weak<EngineHandle>>>,
    options: Options,
    sensors: Arc<Sensors>,
    /// Held while runs are merged or removed, and while the ledger is rewritten.
    merging: Mutex<()>,
    /// Whether merges are put off while much is loaded.
    puts_off_merges: AtomicBool,
    /// Whether nobody waits for a core, so that a run is written by two threads.
    uses_all_cores: AtomicBool,
    /// Held while segments are folded.
    folding: Mutex<()>,
    /// Held while hints are written.
    hints: Mutex<()>,
    /// Rows last seen before this are not kept, epoch seconds.
    cut: AtomicU64,
    /// How many make room just now, and will write the ledger anew. Held while disk is put in reserve, too.
    making_room: Mutex<usize>,
    /// Bytes that were in reserve, and are free for those who make room.
    released: AtomicU64,
    /// The ledger, or the place of its copy, while everything is copied, and how many bytes it takes then.
    copying: Mutex<Option<(Arc<EngineHandle>, u64)>>,
    /// The most disk that it may take; `u64::MAX` where that is not bounded.
    max_disk: AtomicU64,
    /// Bytes on disk when the ledger was last rewritten by itself, or could not be; 0 before.
    rewritten: AtomicU64,
    /// Logs of which rows are missing that were acknowledged.
    missing: AtomicU64,
    /// Rows and questions when the names were last counted.
    surveyed: AtomicU64,
    /// How far the rows of registrable domains are made of older rows, and how many of these were read since it was opened.
    first_seen: Mutex<(Record, u64)>,
    /// The domains that grow most.
    growth: Mutex<Vec<Growth>>,
    /// Held while a batch is applied.
    committed: Mutex<Committed>,
    manifest: Mutex<Manifest>,
    next_run: AtomicU32,
    /// The seed of new filters. Each run stores it.
    filter_seed: u64,
    view: ArcSwap<ReadView>,
    /// Held while the view is replaced.
    publishing: Mutex<()>,
    staging: Mutex<Staging>,
    /// The watch. Held while a batch is matched and staged or committed.
    watch: RwLock<Option<Arc<dyn Watch>>>,
    /// The number of the last hit that is committed.
    last_hit: AtomicU64,
    /// Called when there are new hits.
    on_hits: RwLock<Option<OnHits>>,
    notifier: Arc<Notifier>,
    stop: AtomicBool,
    /// Why the last fold and the last merge failed, if they did.
    failures: [Mutex<Option<StoreError>>; 2],
    /// Goes last: with it the folder is let go of.
    site: Arc<dyn Site>,
}

/// The tasks of the ledger's threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Write segments as runs.
    Fold,
    /// Runs into larger runs, and removal of those that nobody needs.
    Merge,
}

impl Work {
    fn thread_name(self) -> &'static str {
        match self {
            Work::Fold => "ledger-fold",
            Work::Merge => "ledger-merge",
        }
    }
}

/// Whether nobody else holds an engine.
fn is_free(handle: &Arc<EngineHandle>) -> bool {
    Arc::strong_count(handle) == 1
}

impl Shared {
    fn handle(&self) -> Arc<EngineHandle> {
        Arc::clone(&self.handle.lock())
    }

    /// Opens another place, and watches it too.
    fn open_handle(&self, place: Arc<dyn EnginePlace>) -> Result<Arc<EngineHandle>, StoreError> {
        let handle =
            Arc::new(EngineHandle::open(place, &self.notifier, self.handle().cache(), self.options.retry)?);
        self.handles.lock().push(Arc::downgrade(&handle));
        Ok(handle)
    }

    fn view(&self) -> Arc<ReadView> {
        self.view.load_full()
    }

    /// Replaces the view by one that `edit` has changed, and lets those know who work in the background.
    fn publish(&self, edit: impl FnOnce(&mut ReadView)) {
        self.show(edit);
        self.notifier.notify();
    }

    /// Replaces the view by one that `edit` has changed.
    fn show(&self, edit: impl FnOnce(&mut ReadView)) {
        let publishing = self.publishing.lock();
        let mut next = ReadView::clone(&self.view.load());
        edit(&mut next);
        let last = self.view.swap(Arc::new(next));
        drop(publishing);
        // Outside the lock: it may be the last to hold a run.
        drop(last);
    }

    fn check_stop(&self) -> Result<(), StoreError> {
        if self.stop.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }

    fn failure(&self, work: Work) -> Result<(), StoreError> {
        self.failures
            .get(work as usize)
            .and_then(|failure| failure.lock().as_ref().map(StoreError::again))
            .map_or(Ok(()), Err)
    }

    fn set_failure(&self, work: Work, failure: Option<StoreError>) {
        if let Some(slot) = self.failures.get(work as usize) {
            *slot.lock() = failure;
        }
    }
}

//--- ReadStore and WriteStore ----------------------------------------------------------------------------------------

impl Ledger {
    /// From now on it is to take no more disk than this.
    pub(super) fn bound_disk(&self, most: Option<u64>) {
        self.shared.max_disk.store(most.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl ReadStore for Ledger {
    fn now(&self) -> Arc<dyn Snapshot> {
        self.shared.view()
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.shared.sensors.name(sensor)
    }

    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        let key = engine::progress(id);
        let handle = self.shared.handle();
        if handle.failure().is_some() {
            // A batch that was refused may be in the engine all the same, or a part of it.
            let committed = self.shared.committed.lock();
            let undo = committed.uncertain.iter().flat_map(|uncertain| &uncertain.undo);
            if let Some((_, before)) = undo.into_iter().find(|(changed, _)| *changed == key) {
                return before.as_ref().map(|sealed| open_progress(&key, sealed)).transpose();
            }
        }
        handle.get(&key)?.map(|sealed| open_progress(&key, &sealed)).transpose()
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        with_prefix(&*self.shared.handle(), engine::PROGRESS)
            .map(|pair| pair.and_then(|(key, sealed)| open_progress(&key, &sealed)))
            .collect()
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        let view = self.shared.view();
        let pending_rows = view.pending().rows();
        let staged_rows = view.staged.iter().map(|segment| segment.counts().rows()).sum::<u64>();
        let held_bytes = self.shared.replaced_bytes()?;
        let (expired, (dropped, dropped_questions)) = {
            let manifest = self.shared.manifest.lock();
            (manifest.expired, manifest.left())
        };
        let in_runs = view.runs.iter().map(|run| run.meta.counts().rows()).sum::<u64>();
        Ok(Stats {
            rows: (pending_rows + staged_rows + in_runs).saturating_sub(dropped),
            pending_rows,
            runs: view.runs.len() as u64,
            disk_bytes: self.shared.handle().disk_bytes()?.saturating_add(held_bytes),
            held_bytes,
            live_bytes: view.live_bytes(),
            max_disk: self.shared.max_disk(),
            format: FORMAT,
            expired,
            expired_on_disk: dropped + dropped_questions,
            missing_logs: self.missing_logs(),
            folded: self.shared.folded(),
            growth: self.shared.growth.lock().clone(),
            first_sightings: self.shared.first_sightings_read(),
        })
    }

    fn missing_logs(&self) -> u64 {
        self.shared.missing.load(Ordering::SeqCst)
    }

    fn expired_before(&self) -> u64 {
        self.shared.cut.load(Ordering::SeqCst)
    }

    fn survey(&self, now: u64, goes_on: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError> {
        self.shared.survey(now, goes_on)
    }

    fn failing(&self) -> Option<StoreError> {
        self.shared.handle().failure()
    }

    fn copy(&self, take: OnPiece<'_>) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let (main, lost, view, _spared) = {
            let mut committed = shared.committed.lock();
            shared.recover(Some(&mut committed))?;
            let lost = committed.acks.lost();
            let _folds_wait = shared.manifest.lock();
            let _hints_wait = shared.hints.lock();
            let handle = shared.handle();
            // Progress and hints, of which there is one for each log, and a journal that is bounded.
            let main = with_prefix(&*handle, b"").collect::<Result<Vec<Pair>, _>>()?;
            (main, lost, shared.view(), handle.spare())
        };
        let mut pieces = Pieces::new(take);
        lost.map_or(Ok(()), |lost| pieces.lost(&lost))?;
        pieces.main(main.into_iter().map(Ok))?;
        for run in &view.runs {
            pieces.run(run.meta.id, with_prefix(&RunPairs { handle: &run.handle, id: run.meta.id }, b""))?;
        }
        pieces.end()
    }

    fn verify(&self, on_progress: OnProgress<'_>) -> Result<Verification, StoreError> {
        let mut checker = Checker::new(on_progress);
        let (view, _spared) = {
            let committed = self.shared.committed.lock();
            checker = checker.acknowledged(committed.acks.table().clone());
            let _folds_wait = self.shared.manifest.lock();
            let handle = self.shared.handle();
            checker.main(&*handle, handle.runs());
            (self.shared.view(), handle.spare())
        };
        for run in &view.runs {
            checker.run(&run.meta, &RunPairs { handle: &run.handle, id: run.meta.id })?;
        }
        Ok(checker.end())
    }
}

impl WriteStore for Ledger {
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        let shared = &*self.shared;
        if let Some(known) = shared.sensors.number(name) {
            return Ok(known);
        }
        let mut committed = shared.committed.lock();
        if let Some(known) = shared.sensors.number(name) {
            return Ok(known);
        }
        shared.recover(Some(&mut committed))?;
        shared.sensors.add(name, |key, sealed| shared.handle().commit(vec![(key, Some(sealed))]))
    }

    fn stage(&self, batch: &Batch) -> Result<(), StoreError> {
        self.shared.stage(batch)
    }

    fn watch(&self, watch: Option<Arc<dyn Watch>>) {
        *self.shared.watch.write() = watch;
    }

    fn keep_hits(&self, hits: &[NewHit]) -> Result<u64, StoreError> {
        self.shared.keep_hits(hits)
    }

    fn acknowledge_hits(
        &self,
        numbers: &BTreeSet<u64>,
        seen: &Acknowledged,
    ) -> Result<(u64, Vec<u64>), StoreError> {
        self.shared.acknowledge_hits(numbers, seen)
    }

    fn missing_hits(&self, hits: &[NewHit]) -> Result<Vec<NewHit>, StoreError> {
        self.shared.missing_hits(hits)
    }

    fn on_hits(&self, told: OnHits) {
        *self.shared.on_hits.write() = Some(told);
    }

    fn last_hit(&self) -> (u64, bool) {
        (self.shared.last_hit.load(Ordering::SeqCst), !self.shared.staging.lock().hits.is_empty())
    }

    fn staged_bytes(&self) -> usize {
        self.shared.staged_bytes()
    }

    fn commit(&self) -> Result<Vec<Progress>, StoreError> {
        self.shared.commit_staged()
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let shared = &*self.shared;
        point("apply_begun");
        shared.wait_until_room_is_made()?;
        let watch = shared.watch.read();
        let found = hits::look(watch.as_deref(), batch);
        let mut committed = shared.committed.lock();
        shared.recover(Some(&mut committed))?;
        let hits = shared.number_hits(committed.record.hits, &found)?;
        let new_hits = hits.hits().len() as u64;
        let progress: Vec<&Progress> = batch.progress().collect();
        let (sensors, cut) = (shared.sensors.len(), shared.cut.load(Ordering::SeqCst));
        let commits = committed.next();
        let rows = if batch.tuples().len() + batch.questions().len() >= shared.options.bulk_rows {
            let fill = |writer: &mut Writer<RunSink<'_>>| writer.push_batch(batch, &hits, sensors, cut);
            CommitRows::Run(shared.write_run(&shared.handle(), lookup_keys(batch), commits, fill)?)
        } else {
            shared.wait_for_room()?;
            let sequences = vec![committed.record.journal_to];
            CommitRows::Segment(Box::new(Segment::from_batch(
                batch, &hits, sensors, sequences, commits, cut,
            )?))
        };
        shared.commit_rows(&mut committed, &progress, rows, new_hits, |_| {})
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        let hint = |(key, value): Pair| (key.get(engine::CACHE.len()..).unwrap_or_default().to_vec(), value);
        with_prefix(&*self.shared.handle(), engine::CACHE).map(|pair| pair.map(hint)).collect()
    }

    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        let key = |path: &[u8]| engine::join(&[engine::CACHE, path]);
        let puts = puts.iter().map(|(path, hint)| (key(path), Some(hint.clone())));
        let _not_while_it_moves = self.shared.hints.lock();
        self.shared.handle().write(puts.chain(drops.iter().map(|path| (key(path), None))).collect())
    }

    fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        self.shared.expire(before, at)
    }

    fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        self.shared.lower_expired(before, at)
    }

    fn forget(&self, sensor: SensorId, lineage: &LineageId) -> Result<(), StoreError> {
        self.shared.rewrite(Some((sensor, *lineage)))
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        self.shared.rewrite(None)
    }

    fn copy_room(&self) -> Result<Option<u64>, StoreError> {
        let _alone = self.shared.merging.lock();
        self.shared.clear_all_away()?;
        Ok(self.shared.room()?.map(|room| copied_into(room.beside.max(room.within()))))
    }

    fn use_reserve(&self) {
        self.shared.use_reserve(self.shared.view().block_bytes());
        // A write that failed before this says nothing of the next one.
        self.shared.handle().try_now();
    }

    fn keep_reserve(&self) {
        self.shared.keep_reserve();
    }

    fn renew_reserve(&self) {
        self.shared.renew_reserve();
    }

    fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError> {
        self.shared.reduce(rule, at)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.shared.recover(None)?;
        self.shared.handle().sync()
    }

    fn end_bulk(&self, is_much: bool, is_stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
        self.flush()?;
        // All that was loaded is there, also where this cannot be done.
        if self.shared.options.puts_off_merges
            && let Err(error) = self.shared.fold_names_of_load(is_stopped)
        {
            tracing::warn!(%error, "The names of domains beyond their budget could not be folded.");
        }
        if !is_much {
            return Ok(());
        }
        self.shared.puts_off_merges.store(false, Ordering::Relaxed);
        self.shared.notifier.notify();
        let before = self.shared.uses_all_cores.swap(true, Ordering::Relaxed);
        let settled = self.settle_until(is_stopped);
        self.shared.uses_all_cores.store(before, Ordering::Relaxed);
        settled
    }
}
