//! Opening a ledger and closing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::Work;
use super::commit::Committed;
use super::disk::Run;
use super::view::{Folding, ReadView};
use super::{Ledger, Shared};
use crate::base::seeded_hash::new_seed;
use crate::base::threads;
use crate::store::batch::Batch;
use crate::store::cache::Cache;
use crate::store::derived::Record;
use crate::store::engine::{self, Changes, Pairs, Site};
use crate::store::engine_handle::EngineHandle;
use crate::store::manifest::{Commits, Epochs, Manifest, RunMeta};
use crate::store::notifier::Notifier;
use crate::store::run::CommitRange;
use crate::store::segment::Segment;
use crate::store::sensors::Sensors;
use crate::store::stored::{check_format, open_journal_part};
use crate::store::undo::{self};
use crate::store::{FORMAT, Identity, Options, StoreError, WriteStore, block, damaged, value};

/// How often who waits for the work in the background looks whether it is to stop.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

impl Ledger {
    /// Opens what is at the current place, or begins a new ledger at an empty one.
    pub(in crate::store) fn open_site(
        site: Arc<dyn Site>,
        is_new: bool,
        options: &Options,
    ) -> Result<Ledger, StoreError> {
        let shared = Shared::open(site, is_new, options, Run::load)?;
        shared.take_up_survey()?;
        let mut ledger = Ledger { shared, workers: Vec::new() };
        let works: &[Work] = if options.reading { &[] } else { &[Work::Fold, Work::Merge] };
        for &work in works {
            ledger.start(work.thread_name(), move |shared| shared.work(work))?;
        }
        if !options.reading {
            ledger.start("ledger-watch", Shared::watch)?;
            ledger.start("ledger-heal", Shared::heal)?;
        }
        Ok(ledger)
    }

    /// Starts a thread. If it panics the process ends: others would wait for it for ever.
    fn start(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let started = threads::spawn(name, move || work(&shared)).map_err(|error| StoreError::Io {
            what: "could not start a thread of the ledger".to_owned(),
            error,
        })?;
        self.workers.push(started);
        Ok(())
    }

    /// Waits until no work is due in the background, nor under way: rows in memory are few, and runs of one size too.
    ///
    /// # Errors
    ///
    /// Why the work failed, if it did.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.settle_until(&|| false)
    }

    /// As [`Ledger::settle`], or until it is told to stop.
    pub(super) fn settle_until(&self, is_stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
        loop {
            let seen = self.shared.notifier.count();
            if is_stopped() {
                return Ok(());
            }
            // What is under way may take long.
            let Some(nothing_is_merged) = self.shared.merging.try_lock_for(SETTLE_PAUSE) else { continue };
            let nothing_is_folded = self.shared.folding.lock();
            // Both are held while it is asked: work that is begun is no longer due.
            if !self.shared.is_due(Work::Fold) && !self.shared.is_due(Work::Merge) {
                return Ok(());
            }
            drop((nothing_is_folded, nothing_is_merged));
            self.shared.failure(Work::Fold)?;
            self.shared.failure(Work::Merge)?;
            self.shared.notifier.wait(seen, Some(SETTLE_PAUSE));
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.notifier.notify();
        for worker in self.workers.drain(..) {
            // None has panicked: that ends the process.
            let _ = worker.join();
        }
        if !self.shared.options.reading {
            self.renew_reserve();
        }
    }
}

impl Shared {
    /// Opens what is at the current place, with nobody who works on it, and each run by `load`.
    pub(super) fn open(
        site: Arc<dyn Site>,
        is_new: bool,
        options: &Options,
        load: fn(RunMeta, &Arc<EngineHandle>) -> Result<Run, StoreError>,
    ) -> Result<Arc<Shared>, StoreError> {
        let notifier = Arc::new(Notifier::default());
        let cache = Arc::new(Cache::new(options.block_cache_bytes()));
        let handle = Arc::new(EngineHandle::open(site.current(), &notifier, &cache, options.retry)?);
        if is_new {
            handle.commit(beginning()?)?;
        }
        check_format(&*handle)?;
        finish_last_commit(&handle, options.reading)?;
        let manifest = Manifest::from_bytes(handle.get(engine::MANIFEST)?)?;
        let sensors = Arc::new(Sensors::load(&*handle)?);
        let mark = handle.place().mark();
        let mut committed = Committed::load(&*handle, mark, manifest.next_run, sensors.len())?;
        let mut next_run = manifest.next_run;
        let stored = handle.runs()?;
        if let Some(missing) = manifest.runs.iter().find(|run| !stored.contains(&run.id)) {
            return Err(damaged(&format!("run {}", missing.id), "it is missing"));
        }
        for id in stored {
            if !manifest.runs.iter().any(|run| run.id == id) {
                handle.mark_obsolete(id);
            }
            next_run = next_run.max(id.saturating_add(1));
        }
        let runs = manifest.runs.iter().map(|meta| load(meta.clone(), &handle).map(Arc::new));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let seeds = runs.iter().map(|run| run.filter.seed());
        let filter_seed = seeds.filter(|seed| *seed != 0).max().unwrap_or_else(new_seed);
        let entries = manifest.journal_from..committed.record.journal_to;
        let (last_commit, last_hit) = (committed.record.number, committed.record.hits);
        let commits = CommitRange { first: manifest.journal_after.saturating_add(1), last: last_commit };
        let segments = replay(&*handle, entries, commits, options, sensors.len())?;
        let folding = Arc::new(Folding::load(&*handle)?);
        let epochs = Arc::new(Epochs::of(&manifest.cuts));
        let (staged, sensors_then) = (Vec::new(), Arc::clone(&sensors));
        let record = Record::load(&*handle).unwrap_or_else(|error| {
            tracing::warn!(%error, "How far first sightings are made of older rows is not known: they are made anew.");
            Record::from(Some(Vec::new()))
        });
        let domains = record.from.is_none();
        let identity = match Identity::load(&*handle)? {
            Some(identity) => identity,
            // What was made before there were any gets one as soon as it may be written.
            None if options.reading => Identity::default(),
            None => {
                let identity = Identity::new();
                let told = handle.commit(vec![(engine::IDENTITY.to_vec(), Some(identity.to_bytes()?))]);
                told.map_or_else(
                    |error| {
                        handle.fail(&error);
                        Identity::default()
                    },
                    |()| identity,
                )
            }
        };
        let view = ReadView {
            runs,
            segments,
            staged,
            last_commit,
            sensors: sensors_then,
            folding,
            epochs,
            domains,
            identity,
            expired_before: manifest.expired.before,
        };
        let missing = committed.acks.missing_logs();
        if !options.reading {
            // The ledger can be looked into all the same; nothing is committed before it could be written.
            committed.acks.renew().unwrap_or_else(|error| handle.fail(&error));
            if missing > 0 {
                tracing::error!(
                    logs = missing,
                    "The ledger was damaged: rows of these logs are missing that were acknowledged. The logs are read again \
                     from where the ledger is, as far as they are there; until then `dnsledger verify` names what is missing."
                );
            }
        }
        Ok(Arc::new(Shared {
            handles: Mutex::new(vec![Arc::downgrade(&handle)]),
            handle: Mutex::new(handle),
            replaced: Mutex::default(),
            merging: Mutex::default(),
            puts_off_merges: AtomicBool::new(options.puts_off_merges),
            uses_all_cores: AtomicBool::new(options.puts_off_merges),
            folding: Mutex::default(),
            hints: Mutex::default(),
            cut: AtomicU64::new(manifest.expired.before),
            making_room: Mutex::default(),
            released: AtomicU64::new(0),
            copying: Mutex::default(),
            max_disk: AtomicU64::new(u64::MAX),
            rewritten: AtomicU64::new(0),
            surveyed: AtomicU64::new(0),
            growth: Mutex::default(),
            first_seen: Mutex::new((record, 0)),
            options: options.clone(),
            sensors,
            missing: AtomicU64::new(missing),
            committed: Mutex::new(committed),
            manifest: Mutex::new(manifest),
            next_run: AtomicU32::new(next_run),
            filter_seed,
            view: ArcSwap::from_pointee(view),
            publishing: Mutex::default(),
            staging: Mutex::default(),
            watch: RwLock::default(),
            last_hit: AtomicU64::new(last_hit),
            on_hits: RwLock::default(),
            notifier,
            stop: AtomicBool::new(false),
            failures: Default::default(),
            site,
        }))
    }
}

/// The changes of the engine that make an empty ledger.
pub(in crate::store) fn beginning() -> Result<Changes, StoreError> {
    let mut changes = vec![
        (engine::FORMAT.to_vec(), Some(FORMAT.to_be_bytes().to_vec())),
        (engine::MANIFEST.to_vec(), Some(Manifest::default().to_bytes()?)),
        (engine::COMMITS.to_vec(), Some(Commits::default().to_bytes()?)),
        (engine::IDENTITY.to_vec(), Some(Identity::new().to_bytes()?)),
    ];
    changes.extend(Record::whole().to_changes()?);
    Ok(changes)
}

/// The keys of entries of the journal that are in runs: what was left when they should have gone.
pub(super) fn journal_before(map: &(impl Pairs + ?Sized), from: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    while let Some((key, _)) = map.above(keys.last().map_or(engine::JOURNAL, Vec::as_slice))? {
        if engine::journal_place(&key).is_none_or(|(sequence, _)| sequence >= from) {
            break;
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Takes back what is there of a batch in part, and removes what was left when it should have gone.
fn finish_last_commit(handle: &EngineHandle, reading: bool) -> Result<(), StoreError> {
    let found = undo::find(handle)?;
    // Who only reads needs what is left to be away no more than anybody.
    if reading && found.changes.is_empty() {
        return Ok(());
    }
    if !found.changes.is_empty() {
        tracing::warn!(
            "The last commit is on disk in part, after a failed write. It is taken back; the logs are read again from before it."
        );
        handle.commit(found.changes)?;
    }
    let mut left = found.keys;
    // A damaged manifest is told of by who reads it next.
    if let Ok(manifest) = Manifest::from_bytes(handle.get(engine::MANIFEST)?) {
        left.extend(journal_before(handle, manifest.journal_from)?);
    }
    if left.is_empty() {
        return Ok(());
    }
    handle.commit(left.into_iter().map(|key| (key, None)).collect())
}

/// Makes segments of entries of the journal, which these commits brought.
fn replay(
    engine: &dyn Pairs,
    entries: std::ops::Range<u64>,
    commits: CommitRange,
    options: &Options,
    sensors: usize,
) -> Result<Vec<Arc<Segment>>, StoreError> {
    let segment = |batch: &Batch, sequences, journal_bytes| {
        let mut made = Segment::from_batch(batch, &Batch::default(), sensors, sequences, commits, 0)?;
        made.journal_bytes = journal_bytes;
        Ok::<_, StoreError>(Arc::new(made))
    };
    let mut segments = Vec::new();
    let (mut batch, mut sequences, mut journal_bytes) = (Batch::default(), Vec::new(), 0);
    for sequence in entries {
        if batch.bytes() > options.fold_bytes() {
            let full = std::mem::take(&mut batch);
            segments.push(segment(
                &full,
                std::mem::take(&mut sequences),
                std::mem::take(&mut journal_bytes),
            )?);
        }
        sequences.push(sequence);
        let bad = |why: &str| damaged(&format!("entry {sequence} of the journal"), why);
        let (mut part, mut parts) = (0, 1);
        while part < parts {
            let key = engine::journal_part(sequence, part);
            let sealed = engine.get(&key)?.ok_or_else(|| bad("a part is missing"))?;
            journal_bytes += sealed.len() as u64;
            let opened = open_journal_part(sequence, &key, &sealed)?;
            parts = opened.parts;
            part += 1;
            let mut rows = block::Reader::new(opened.rows);
            while rows.advance()? {
                value::add_row(opened.family, rows.key(), rows.value(), &mut batch)?;
            }
        }
    }
    if !sequences.is_empty() {
        segments.push(segment(&batch, sequences, journal_bytes)?);
    }
    Ok(segments)
}
