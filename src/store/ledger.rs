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
//! What was committed is noted beside the engine ([`acknowledged`](super::acknowledged)), durable before a commit returns: by that one sees
//! at the next opening that the engine has lost something.
//!
//! On disk the order is: blocks, sync, manifest, sync, removal. Readers hold a [`View`], which never changes.
//!
//! # Failed writes
//!
//! After a failed write nothing more is written until the engine was opened again beneath the ledger ([`mend`]), which
//! whoever writes next tries first, and a thread of its own. What failed may be on disk or not: a fold or a merge that is
//! there is kept, for it changes nothing that anybody sees; a commit is taken back, for whoever asked for it was told that it is
//! not there. Of a commit a part may be there: what takes it back is on disk before it ([`super::undo`]). The manifest of a
//! fold or a merge is one key; what it makes superfluous goes after it.
//!
//! # Threads
//!
//! One thread folds, another merges and removes; a third watches that nobody waits for an engine that has failed, and a
//! fourth opens that again. A panic in
//! one of them ends the process. The first two, and whoever commits, change the manifest under a lock that is held for one
//! write. Lookups take no lock: the view is replaced as a whole. Who stages takes the locks `staging` and `publishing`, which
//! are held for moments only, never for a write. Who needs several locks takes `merging`, `committed`, `folding`, `manifest`,
//! `hints`, `staging`, `publishing`, in this order.

mod cut;
mod mend;
mod reduce;
mod repair;
mod retired;
mod rewrite;
mod staging;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use self::retired::Retired;
use self::staging::Staging;
use super::acknowledged::{AckLog, MarkFile};
use super::bell::Bell;
use super::block::Restarts;
use super::budget::{Estimates, FoldRecord, load_estimates};
use super::cache::Cache;
use super::copy::{OnPiece, Pieces};
use super::engine::{self, Changes, Pairs, Place, Site, with_prefix};
use super::filter::{Filter, Pages};
use super::home::Home;
use super::key::{Family, Range};
use super::manifest::{Commits, Epochs, Manifest, RunMeta};
use super::run::{Block, CommitRange, Counts, Extents, Merged, Reach, Sink, Source, Sources, Whole, Writer};
use super::scan::{EntryScan, QuestionScan};
use super::segment::{JournalPart, Segment};
use super::sensors::Sensors;
use super::space::of_copy;
use super::undo::{self, Undo};
use super::verify::{Checker, OnProgress, Verification};
use super::{
    Changed, Entries, Expired, Growth, Mark, Options, Pair, Position, Questions, ReadStore, Reduce, Reduced,
    Scan, Snapshot, Stats, StoreError, Survey, WriteStore, block, damaged, value,
};
use crate::base::fault::point;
use crate::base::keyed::new_seed;
use crate::base::threads;
use crate::observation::SensorId;
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;

/// The version of the format that this program writes, and the newest it reads.
pub const FORMAT: u32 = 3;
/// Raw bytes of a block on disk. Compressed it is 3 to 4 KB: sixteen of them are one page of sled.
const BLOCK_BYTES: usize = 8 << 10;
/// Bytes of a page of a filter, which does not get smaller: sixteen of them are one page of sled, which must be below 128 KB.
const FILTER_PAGE_BYTES: usize = 6 << 10;
/// Blocks of a run that are handed to the engine together.
const APPEND: usize = 256;
/// Bytes before the rows of a part of the journal: how many parts there are, and the family.
const JOURNAL_HEADER: usize = 3;
/// How often it is looked whether readers have let go of a place that is to be removed.
const CLEAR_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// Keys that are removed together.
const REMOVED_TOGETHER: usize = 64;
/// Segments of one tier that are merged in memory into one of the next.
const SEGMENT_FAN_IN: usize = 8;

/// A ledger that is open.
pub struct Ledger {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The most bytes on disk.
    pub(super) max_disk: Option<u64>,
}

struct Shared {
    home: Mutex<Arc<Home>>,
    /// Those that another one has taken over from. Closing one and removing its files takes a while: who holds it last must
    /// not be a lookup, but whoever merges.
    left: Mutex<Vec<Retired>>,
    /// All that are open, to be watched.
    homes: Mutex<Vec<Weak<Home>>>,
    options: Options,
    sensors: Arc<Sensors>,
    /// Held while runs are merged or removed, and while the ledger is rewritten.
    merging: Mutex<()>,
    /// Held while segments are folded.
    folding: Mutex<()>,
    /// Held while hints are written.
    hints: Mutex<()>,
    /// Rows last seen before this are not kept, epoch seconds.
    cut: AtomicU64,
    /// Whether somebody makes room, who will write the ledger anew.
    making_room: AtomicBool,
    /// Bytes on disk when the ledger was last rewritten by itself, or could not be; 0 before.
    rewritten: AtomicU64,
    /// Logs of which rows are missing that were acknowledged.
    missing: AtomicU64,
    /// Rows and questions when the names were last counted.
    surveyed: AtomicU64,
    /// The domains that grow most.
    growth: Mutex<Vec<Growth>>,
    /// Who applies a batch holds this.
    committed: Mutex<Committed>,
    manifest: Mutex<Manifest>,
    next_run: AtomicU32,
    /// That of new filters: as long as there are runs, each says it.
    filter_seed: u64,
    view: ArcSwap<View>,
    /// Held while the view is replaced.
    publishing: Mutex<()>,
    staging: Mutex<Staging>,
    bell: Arc<Bell>,
    stop: AtomicBool,
    /// Why the last fold and the last merge failed, if they did.
    failures: [Mutex<Option<StoreError>>; 2],
    /// Goes last: with it the folder is let go of.
    site: Arc<dyn Site>,
}

/// One moment of the ledger.
#[derive(Clone)]
struct View {
    runs: Vec<Arc<Run>>,
    /// What is in the journal and in no run.
    segments: Vec<Arc<Segment>>,
    /// What is staged and not committed.
    staged: Vec<Arc<Segment>>,
    /// The number of the last commit.
    last_commit: u64,
    sensors: Arc<Sensors>,
    folding: Arc<Folding>,
    /// Which of the runs were there when which cut was made.
    epochs: Arc<Epochs>,
}

/// What is known of what was folded.
struct Folding {
    record: FoldRecord,
    estimates: Arc<Estimates>,
}

impl Folding {
    fn load(main: &dyn Pairs) -> Result<Folding, StoreError> {
        Ok(Folding { record: FoldRecord::load(main)?, estimates: Arc::new(load_estimates(main)?) })
    }
}

impl View {
    fn sources(&self) -> Sources {
        let mut sources = Sources::with_cuts(self.epochs.cuts.clone());
        for run in &self.runs {
            sources.push(self.epochs.epoch(run.meta.id), Arc::clone(run) as Arc<dyn Source>);
        }
        // Where there is a cut all that is in memory came after it.
        for segment in self.segments.iter().chain(&self.staged) {
            sources.push(self.epochs.cuts.len() as u32, Arc::clone(segment) as Arc<dyn Source>);
        }
        sources
    }

    /// What is not in the rows themselves.
    fn known(&self) -> (Arc<Sensors>, Arc<Estimates>) {
        (Arc::clone(&self.sensors), Arc::clone(&self.folding.estimates))
    }

    fn pending(&self) -> Counts {
        self.segments.iter().fold(Counts::default(), |sum, segment| sum.plus(*segment.counts()))
    }

    fn pending_bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes()).sum()
    }
}

//--- Run ------------------------------------------------------------------------------------------------------------

/// A run in the engine.
struct Run {
    meta: RunMeta,
    filter: Arc<Pages>,
    home: Arc<Home>,
    /// The manifest no longer names it: it is removed with its last reader.
    retired: AtomicBool,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.home.let_go(self.meta.id);
        self.home.cache().forget(self.meta.id);
        if *self.retired.get_mut() {
            self.home.bury(self.meta.id);
        }
    }
}

impl Run {
    /// One that is there. Its filter is read where there is room for it; else as it is asked.
    fn load(meta: RunMeta, home: &Arc<Home>) -> Result<Run, StoreError> {
        let pairs = RunPairs { home, id: meta.id };
        let page = |at| read_filter_page(&meta, &pairs, at);
        let bad = || damaged(&format!("the filter of run {}", meta.id), "its length is none");
        let last = meta.filter_pages.checked_sub(1).ok_or_else(bad)?;
        let pages: Vec<Bytes> = if home.cache().has_room(meta.filter_pages as usize * FILTER_PAGE_BYTES) {
            (0..=last).map(page).collect::<Result<_, _>>()?
        } else {
            vec![page(0)?, page(last)?]
        };
        let (first, last) = pages.first().zip(pages.last()).ok_or_else(bad)?;
        let filter = Arc::new(Pages::new(meta.filter_pages as usize, first, last).ok_or_else(bad)?);
        if pages.len() == filter.count() {
            home.cache().offer_pages(meta.id, &filter, &pages);
        }
        Ok(Run::new(meta, filter, home))
    }

    /// One whose filter says nothing, since it may be damaged.
    fn without_filter(meta: RunMeta, home: &Arc<Home>) -> Result<Run, StoreError> {
        Ok(Run::new(meta, Arc::new(Pages::of_anything()), home))
    }

    fn new(meta: RunMeta, filter: Arc<Pages>, home: &Arc<Home>) -> Run {
        home.hold(meta.id);
        Run { meta, filter, home: Arc::clone(home), retired: AtomicBool::new(false) }
    }

    fn missing(&self) -> StoreError {
        damaged(&format!("run {}", self.meta.id), "a block is missing")
    }

    /// The block of a family, which has rows, where a key is, with its bound.
    fn read_floor(&self, family: Family, key: &[u8]) -> Result<(Vec<u8>, Block), StoreError> {
        let key = block_key(family, key);
        match self.home.in_run(self.meta.id, |pairs| pairs.at_most(&key))? {
            Some((key, sealed)) if key.first() == Some(&family.byte()) => {
                let block = open_block(self.meta.id, &key, &sealed)?;
                Ok((key.get(1..).unwrap_or_default().to_vec(), block))
            }
            _ => Err(self.missing()),
        }
    }
}

impl Source for Run {
    fn floor(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError> {
        if self.meta.counts().of(family) == 0 {
            return Ok(None);
        }
        self.read_floor(family, key).map(|(_, block)| Some(block))
    }

    fn at(&self, family: Family, bound: &[u8]) -> Result<Block, StoreError> {
        let key = block_key(family, bound);
        let sealed = self.home.in_run(self.meta.id, |pairs| pairs.get(&key))?;
        let sealed = sealed.ok_or_else(|| self.missing())?;
        open_block(self.meta.id, &key, &sealed)
    }

    fn counts(&self) -> &Counts {
        self.meta.counts()
    }

    fn extents(&self) -> &Extents {
        &self.meta.contents.extents
    }

    fn filter_seed(&self) -> u64 {
        self.filter.seed()
    }

    fn may_hold(&self, hash: u64, reach: Reach) -> Result<bool, StoreError> {
        if let Some(found) = self.filter.look(hash) {
            return Ok(found);
        }
        if reach == Reach::Memory {
            return Err(StoreError::NotInMemory);
        }
        let at = self.filter.page_of(hash);
        let page = read_filter_page(&self.meta, &RunPairs { home: &self.home, id: self.meta.id }, at as u32)?;
        self.home.cache().keep_page(self.meta.id, &self.filter, at, &page);
        Ok(self.filter.look_in(&page, hash))
    }

    fn first(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError> {
        if self.meta.counts().of(family) == 0 {
            return Ok(None);
        }
        if let Some(block) = self.home.cache().floor(self.meta.id, family, key) {
            return Ok(Some(block));
        }
        let (bound, mut block) = self.read_floor(family, key)?;
        block.restarts = Restarts::of(&block.rows)?;
        self.home.cache().keep(self.meta.id, family, &bound, &block);
        Ok(Some(block))
    }

    fn extract(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        reach: Reach,
    ) -> Result<Option<Block>, StoreError> {
        if self.meta.counts().of(family) == 0 {
            return Ok(None);
        }
        let cache = self.home.cache();
        if let Some(extract) = cache.extract(self.meta.id, family, from) {
            return Ok(Some(extract));
        }
        if let Some(block) = cache.floor(self.meta.id, family, from) {
            return Ok(Some(block));
        }
        if reach == Reach::Memory {
            return Err(StoreError::NotInMemory);
        }
        let (_, block) = self.read_floor(family, from)?;
        let extract = block.extract(from, to)?;
        cache.keep_extract(self.meta.id, family, from, &extract);
        Ok(Some(extract))
    }
}

/// The map of a run in a home.
struct RunPairs<'a> {
    home: &'a Home,
    id: u32,
}

impl Pairs for RunPairs<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.home.in_run(self.id, |pairs| pairs.get(key))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.home.in_run(self.id, |pairs| pairs.at_most(key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.home.in_run(self.id, |pairs| pairs.above(key))
    }
}

/// A page of the filter of a run.
fn read_filter_page(meta: &RunMeta, pairs: &dyn Pairs, page: u32) -> Result<Bytes, StoreError> {
    let what = || format!("the filter of run {}", meta.id);
    let key = filter_key(page);
    let sealed = pairs.get(&key)?.ok_or_else(|| damaged(&what(), "a page is missing"))?;
    block::open(&key, &sealed, &what)
}

/// The filter of a run.
pub(super) fn read_filter(meta: &RunMeta, pairs: &dyn Pairs) -> Result<Filter, StoreError> {
    let mut stored = Vec::new();
    for page in 0..meta.filter_pages {
        stored.extend_from_slice(&read_filter_page(meta, pairs, page)?);
    }
    let why = "its length is none";
    Filter::from_bytes(&stored).ok_or_else(|| damaged(&format!("the filter of run {}", meta.id), why))
}

/// Takes a block of a run from what is stored under its key.
pub(super) fn open_block(run: u32, key: &[u8], sealed: &[u8]) -> Result<Block, StoreError> {
    let what = || format!("a block of run {run}");
    let raw = block::open(key, sealed, &what)?;
    let mut at = 0;
    let bounds = block::take_length(&raw, &mut at).map(|length| match length.checked_sub(1) {
        Some(length) => (Some(at..at + length), at + length),
        None => (None, at),
    });
    match bounds {
        Some((next, rows)) if rows <= raw.len() => Ok(Block {
            next: next.map(|next| raw.slice(next)),
            rows: raw.slice(rows..),
            restarts: Restarts::default(),
        }),
        _ => Err(damaged(&what(), "the bound of the next block reaches beyond its end")),
    }
}

pub(super) fn block_key(family: Family, bound: &[u8]) -> Vec<u8> {
    engine::join(&[&[family.byte()], bound])
}

fn filter_key(page: u32) -> Vec<u8> {
    engine::join(&[&[engine::FILTER], &page.to_be_bytes()])
}

/// Takes the blocks of a run that is written to the engine.
struct RunSink<'a> {
    shared: &'a Shared,
    home: &'a Home,
    /// The run is written in this one, or not at all.
    generation: u64,
    id: u32,
    /// Pairs that were handed to the engine.
    written: u64,
    waiting: Vec<Pair>,
    bytes: u64,
}

impl RunSink<'_> {
    fn put(&mut self, key: Vec<u8>, raw: &[u8]) -> Result<(), StoreError> {
        let sealed = block::seal(&key, raw);
        self.bytes += (key.len() + sealed.len()) as u64;
        self.waiting.push((key, sealed));
        if self.waiting.len() >= APPEND { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.shared.check_stop()?;
        let pairs = std::mem::take(&mut self.waiting);
        let count = pairs.len() as u64;
        self.home.append(self.generation, self.id, self.written, pairs)?;
        self.written += count;
        Ok(())
    }
}

impl Sink for RunSink<'_> {
    fn block(
        &mut self,
        family: Family,
        bound: &[u8],
        next: Option<&[u8]>,
        rows: &[u8],
    ) -> Result<(), StoreError> {
        let mut raw = Vec::with_capacity(rows.len() + 64);
        block::push_length(next.map_or(0, |next| next.len() + 1), &mut raw);
        raw.extend_from_slice(next.unwrap_or_default());
        raw.extend_from_slice(rows);
        self.put(block_key(family, bound), &raw)
    }
}

//--- opening and closing --------------------------------------------------------------------------------------------

impl Ledger {
    /// Opens what is at the current place, or begins a new ledger at an empty one.
    pub(super) fn open_site(
        site: Arc<dyn Site>,
        is_new: bool,
        options: &Options,
    ) -> Result<Ledger, StoreError> {
        let shared = Shared::open(site, is_new, options, Run::load)?;
        let mut ledger = Ledger { shared, workers: Vec::new(), max_disk: None };
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
        loop {
            let rung = self.shared.bell.count();
            drop(self.shared.merging.lock());
            drop(self.shared.folding.lock());
            if !self.shared.is_due(Work::Fold) && !self.shared.is_due(Work::Merge) {
                return Ok(());
            }
            self.shared.failure(Work::Fold)?;
            self.shared.failure(Work::Merge)?;
            self.shared.bell.wait(rung, None);
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.bell.ring();
        for worker in self.workers.drain(..) {
            // None has panicked: that ends the process.
            let _ = worker.join();
        }
        if !self.shared.options.reading {
            self.keep_reserve();
        }
    }
}

/// Whether nobody else holds a home.
fn is_free(home: &Arc<Home>) -> bool {
    Arc::strong_count(home) == 1
}

/// What makes an empty ledger.
pub(super) fn beginning() -> Result<Changes, StoreError> {
    Ok(vec![
        (engine::FORMAT.to_vec(), Some(FORMAT.to_be_bytes().to_vec())),
        (engine::MANIFEST.to_vec(), Some(Manifest::default().to_bytes()?)),
        (engine::COMMITS.to_vec(), Some(Commits::default().to_bytes()?)),
    ])
}

/// Refuses a copy of so many bytes of blocks for which there is no room.
pub(super) fn check_room(what: &'static str, bytes: u64, free: Option<u64>) -> Result<(), StoreError> {
    match free.filter(|free| of_copy(bytes) > *free) {
        Some(free) => Err(StoreError::NoRoom { what, needed: of_copy(bytes), free }),
        None => Ok(()),
    }
}

/// The keys of entries of the journal that are in runs: what was left when they should have gone.
fn journal_before(map: &(impl Pairs + ?Sized), from: u64) -> Result<Vec<Vec<u8>>, StoreError> {
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
fn recover(home: &Home, reading: bool) -> Result<(), StoreError> {
    let found = undo::find(home)?;
    // Who only reads needs what is left to be away no more than anybody.
    if reading && found.changes.is_empty() {
        return Ok(());
    }
    if !found.changes.is_empty() {
        tracing::warn!(
            "The last commit is on disk in part, after a failed write. It is taken back; the logs are read again from before it."
        );
        home.commit(found.changes)?;
    }
    let mut left = found.keys;
    // A damaged manifest is told of by who reads it next.
    if let Ok(manifest) = Manifest::from_bytes(home.get(engine::MANIFEST)?) {
        left.extend(journal_before(home, manifest.journal_from)?);
    }
    if left.is_empty() {
        return Ok(());
    }
    home.commit(left.into_iter().map(|key| (key, None)).collect())
}

/// Refuses what another program wrote.
pub(super) fn check_format(engine: &dyn Pairs) -> Result<(), StoreError> {
    let stored = engine.get(engine::FORMAT)?.and_then(|stored| stored.try_into().ok());
    match stored.map(u32::from_be_bytes) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(damaged("the ledger", &format!("its format is {found} and not {FORMAT}"))),
        None => Err(damaged("the ledger", "it does not say which format it has")),
    }
}

/// What was committed last, and what it needs to be kept up.
struct Committed {
    record: Commits,
    /// The hash of each lineage's progress.
    lineages: HashMap<LineageId, u64>,
    /// How far each was read when that was acknowledged.
    acks: AckLog,
    /// A batch that could not be applied, and may be on disk all the same.
    doubt: Option<Doubt>,
}

/// How to take back what may be on disk.
struct Doubt {
    /// The record of the last commit, if it is there.
    record: Commits,
    /// What makes the main map as it was before, but for that record and the manifest.
    undo: Changes,
    /// The run that holds its rows, if it is large.
    run: Option<u32>,
}

impl Committed {
    /// The number of the next commit.
    fn next(&self) -> CommitRange {
        CommitRange::one(self.record.number.saturating_add(1))
    }

    /// Takes it from an engine, and what was acknowledged from the mark beside it.
    fn load(
        engine: &dyn Pairs,
        mark: Box<dyn MarkFile>,
        next_run: u32,
        sensors: usize,
    ) -> Result<Committed, StoreError> {
        let (mut lineages, mut offsets) = (HashMap::new(), HashMap::new());
        for pair in with_prefix(engine, engine::PROGRESS) {
            let (key, sealed) = pair?;
            let progress = open_progress(&key, &sealed)?;
            lineages.insert(progress.lineage, progress_hash(&key, &sealed));
            offsets.insert(progress.lineage, progress.consumed.offset);
        }
        let record = Commits::from_bytes(engine.get(engine::COMMITS)?)?;
        let digest = lineages.values().fold(0, |all, hash| all ^ hash);
        if (record.lineages, record.digest) != (lineages.len() as u64, digest) {
            return Err(damaged("the progress of the logs", "it is not what was last committed"));
        }
        let acks = AckLog::open(mark, &offsets, next_run, sensors)?;
        Ok(Committed { record, lineages, acks, doubt: None })
    }
}

pub(super) fn progress_hash(key: &[u8], sealed: &[u8]) -> u64 {
    xxh3_64_with_seed(sealed, xxh3_64(key))
}

/// A part of a journal entry.
pub(super) struct OpenedPart {
    /// How many parts the entry has.
    pub parts: u16,
    /// By name, or questions.
    pub family: Family,
    pub rows: Bytes,
}

/// Takes a part of a journal entry from what is stored under its key.
pub(super) fn open_journal_part(sequence: u64, key: &[u8], sealed: &[u8]) -> Result<OpenedPart, StoreError> {
    let what = || format!("entry {sequence} of the journal");
    let raw = block::open(key, sealed, &what)?;
    let Some([a, b, family]) = raw.first_chunk::<JOURNAL_HEADER>() else {
        return Err(damaged(&what(), "a part is cut"));
    };
    let family = Family::from_byte(*family).filter(|family| !family.definition().is_index);
    let family = family.ok_or_else(|| damaged(&what(), "it has rows of an unknown family"))?;
    Ok(OpenedPart { parts: u16::from_be_bytes([*a, *b]), family, rows: raw.slice(JOURNAL_HEADER..) })
}

/// Makes segments of entries of the journal, which these commits brought.
fn replay(
    engine: &dyn Pairs,
    entries: std::ops::Range<u64>,
    commits: CommitRange,
    options: &Options,
    sensors: usize,
) -> Result<Vec<Arc<Segment>>, StoreError> {
    let mut segments = Vec::new();
    let (mut batch, mut sequences) = (Batch::default(), Vec::new());
    for sequence in entries {
        if batch.bytes() > options.fold_bytes() {
            let (full, sequences) = (std::mem::take(&mut batch), std::mem::take(&mut sequences));
            segments.push(Arc::new(Segment::from_batch(&full, sensors, sequences, commits, 0)?));
        }
        sequences.push(sequence);
        let bad = |why: &str| damaged(&format!("entry {sequence} of the journal"), why);
        let (mut part, mut parts) = (0, 1);
        while part < parts {
            let key = engine::journal_part(sequence, part);
            let sealed = engine.get(&key)?.ok_or_else(|| bad("a part is missing"))?;
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
        segments.push(Arc::new(Segment::from_batch(&batch, sensors, sequences, commits, 0)?));
    }
    Ok(segments)
}

//--- work in the background -----------------------------------------------------------------------------------------

/// What a thread of the ledger does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Segments into runs.
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

impl Shared {
    /// Opens what is at the current place, with nobody who works on it, and each run by `load`.
    fn open(
        site: Arc<dyn Site>,
        is_new: bool,
        options: &Options,
        load: fn(RunMeta, &Arc<Home>) -> Result<Run, StoreError>,
    ) -> Result<Arc<Shared>, StoreError> {
        let bell = Arc::new(Bell::default());
        let cache = Arc::new(Cache::new(options.block_cache_bytes()));
        let home = Arc::new(Home::open(site.current(), &bell, &cache, options.retry)?);
        if is_new {
            home.commit(beginning()?)?;
        }
        check_format(&*home)?;
        recover(&home, options.reading)?;
        let manifest = Manifest::from_bytes(home.get(engine::MANIFEST)?)?;
        let sensors = Arc::new(Sensors::load(&*home)?);
        let mark = home.place().mark();
        let mut committed = Committed::load(&*home, mark, manifest.next_run, sensors.len())?;
        let mut next_run = manifest.next_run;
        let stored = home.runs()?;
        if let Some(missing) = manifest.runs.iter().find(|run| !stored.contains(&run.id)) {
            return Err(damaged(&format!("run {}", missing.id), "it is missing"));
        }
        for id in stored {
            if !manifest.runs.iter().any(|run| run.id == id) {
                home.bury(id);
            }
            next_run = next_run.max(id.saturating_add(1));
        }
        let runs = manifest.runs.iter().map(|meta| load(meta.clone(), &home).map(Arc::new));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let seeds = runs.iter().map(|run| run.filter.seed());
        let filter_seed = seeds.filter(|seed| *seed != 0).max().unwrap_or_else(new_seed);
        let entries = manifest.journal_from..committed.record.journal_to;
        let last_commit = committed.record.number;
        let commits = CommitRange { first: manifest.journal_after.saturating_add(1), last: last_commit };
        let segments = replay(&*home, entries, commits, options, sensors.len())?;
        let folding = Arc::new(Folding::load(&*home)?);
        let epochs = Arc::new(Epochs::of(&manifest.cuts));
        let (staged, sensors_then) = (Vec::new(), Arc::clone(&sensors));
        let view = View { runs, segments, staged, last_commit, sensors: sensors_then, folding, epochs };
        let missing = committed.acks.missing_logs();
        if !options.reading {
            // The ledger can be looked into all the same; nothing is committed before it could be written.
            committed.acks.renew().unwrap_or_else(|error| home.fail(&error));
            if missing > 0 {
                tracing::error!(
                    logs = missing,
                    "The ledger was damaged: rows of these logs are missing that were acknowledged. The logs are read again \
                     from where the ledger is, as far as they are there; until then `dnsledger verify` names what is missing."
                );
            }
        }
        Ok(Arc::new(Shared {
            homes: Mutex::new(vec![Arc::downgrade(&home)]),
            home: Mutex::new(home),
            left: Mutex::default(),
            merging: Mutex::default(),
            folding: Mutex::default(),
            hints: Mutex::default(),
            cut: AtomicU64::new(manifest.expired.before),
            making_room: AtomicBool::new(false),
            rewritten: AtomicU64::new(0),
            surveyed: AtomicU64::new(0),
            growth: Mutex::default(),
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
            bell,
            stop: AtomicBool::new(false),
            failures: Default::default(),
            site,
        }))
    }

    fn home(&self) -> Arc<Home> {
        Arc::clone(&self.home.lock())
    }

    /// Opens another place, and watches it too.
    fn open_home(&self, place: Arc<dyn Place>) -> Result<Arc<Home>, StoreError> {
        let home = Arc::new(Home::open(place, &self.bell, self.home().cache(), self.options.retry)?);
        self.homes.lock().push(Arc::downgrade(&home));
        Ok(home)
    }

    fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Replaces the view by one that `edit` has changed, and lets those know who work in the background.
    fn publish(&self, edit: impl FnOnce(&mut View)) {
        self.show(edit);
        self.bell.ring();
    }

    /// Replaces the view by one that `edit` has changed.
    fn show(&self, edit: impl FnOnce(&mut View)) {
        let publishing = self.publishing.lock();
        let mut next = View::clone(&self.view.load());
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

    /// The life of a thread: works while there is work, and waits for the bell.
    fn work(&self, work: Work) {
        let mut wait = self.options.retry.0;
        loop {
            let rung = self.bell.count();
            if self.check_stop().is_err() {
                return;
            }
            let generation = self.home().generation();
            match self.mend(None).and_then(|()| self.step(work)) {
                Ok(true) => {
                    wait = self.options.retry.0;
                    self.set_failure(work, None);
                    self.bell.ring();
                }
                Ok(false) => {
                    // Readers ring no bell when they let go.
                    let left = work == Work::Merge && !self.left.lock().is_empty();
                    self.bell.wait(rung, left.then_some(CLEAR_PAUSE));
                }
                Err(_) if self.check_stop().is_err() => return,
                Err(error) => {
                    tracing::warn!(work = work.thread_name(), %error, "Work on the ledger failed and will be tried again.");
                    self.set_failure(work, Some(error));
                    self.bell.ring();
                    let until = std::time::Instant::now() + wait;
                    // The next one to write may open the engine again before.
                    while self.check_stop().is_ok()
                        && std::time::Instant::now() < until
                        && self.home().generation() == generation
                    {
                        let rung = self.bell.count();
                        self.bell
                            .wait(rung, Some(until.saturating_duration_since(std::time::Instant::now())));
                    }
                    wait = (2 * wait).min(self.options.retry.1);
                }
            }
        }
    }

    fn is_due(&self, work: Work) -> bool {
        let view = self.view();
        match work {
            Work::Fold => self.fold_is_due(&view) || segments_to_merge(&view.segments).is_some(),
            Work::Merge => {
                self.home().has_graves()
                    || self.left.lock().iter().any(|retired| is_free(&retired.home))
                    || self.is_uncounted()
                    || self.runs_to_merge(&view).is_some()
                    || self.runs_to_cut(&view).is_some()
                    || self.rewrite_is_due(&view)
                    || self.survey_is_due(&view)
            }
        }
    }

    /// Does one piece of work; `false` when none is due, and `true` also where a failure is to be mended first.
    fn step(&self, work: Work) -> Result<bool, StoreError> {
        let _alone = (if work == Work::Fold { &self.folding } else { &self.merging }).lock();
        // Who had the lock before may have failed since this thread saw to it that all is well: what it wrote may be there all
        // the same, and its rows in the view too. That is seen to first.
        if self.home().failure().is_some() {
            return Ok(true);
        }
        let view = self.view();
        match work {
            Work::Fold if self.fold_is_due(&view) => self.fold(&view.segments).map(|()| true),
            Work::Fold => match segments_to_merge(&view.segments) {
                Some(group) => self.merge_segments(&group).map(|()| true),
                None => Ok(false),
            },
            Work::Merge => {
                let (group, cut) = (self.runs_to_merge(&view), self.runs_to_cut(&view));
                let (too_large, survey) = (self.rewrite_is_due(&view), self.survey_is_due(&view));
                self.end_long_readers(&view);
                drop(view);
                // Removal goes first: what is removed makes room for what is written.
                match group {
                    _ if self.clear_away() || self.home().remove_a_run()? => Ok(true),
                    _ if self.is_uncounted() => self.count_cuts().map(|()| true),
                    Some(group) => self.merge_runs(group).map(|()| true),
                    None => match cut {
                        Some(runs) => self.carry_out_cuts(&runs).map(|()| true),
                        None if survey => self.fold_names_by_itself().map(|()| true),
                        None if too_large => self.rewrite_by_itself().map(|()| true),
                        None => Ok(false),
                    },
                }
            }
        }
    }

    fn fold_is_due(&self, view: &View) -> bool {
        let pending = view.pending();
        pending.primary() >= self.options.fold_rows as u64
            || view.pending_bytes() >= self.options.fold_bytes()
    }

    /// Writes segments as a run.
    fn fold(&self, segments: &[Arc<Segment>]) -> Result<(), StoreError> {
        let keys = segments.iter().map(|segment| segment.counts().lookup_keys).sum();
        let sources = segments.iter().map(|s| Arc::clone(s) as Arc<dyn Source>).collect();
        let home = self.home();
        let mut folded_keys = Vec::new();
        let mut journal_from = 0;
        for sequence in segments.iter().flat_map(|segment| &segment.sequences) {
            for pair in with_prefix(&*home, &engine::journal(*sequence)) {
                folded_keys.push(pair?.0);
            }
            journal_from = journal_from.max(sequence + 1);
        }
        let commits = CommitRange::over(segments.iter().map(|segment| segment.commits));
        let run = self.write_run(&home, keys, commits, |writer| writer.push_merged(&sources, 0))?;
        let folded = |view: &mut View| {
            view.segments.retain(|kept| !segments.iter().any(|folded| Arc::ptr_eq(kept, folded)));
        };
        let journal = Some((journal_from, commits.last));
        let flip = Flip { add: run, replaced: &[], journal, batch: None, ends_cuts: false };
        self.flip(flip, folded)?;
        for keys in folded_keys.chunks(REMOVED_TOGETHER) {
            // They count no more. What is left of them goes when the engine is opened again.
            if home.write(keys.iter().map(|key| (key.clone(), None)).collect()).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Merges segments in memory.
    fn merge_segments(&self, group: &[Arc<Segment>]) -> Result<(), StoreError> {
        let merged = Arc::new(Segment::merge(group)?);
        self.publish(|view| {
            view.segments.retain(|kept| !group.iter().any(|old| Arc::ptr_eq(kept, old)));
            view.segments.push(merged);
        });
        Ok(())
    }

    /// Merges runs into one.
    fn merge_runs(&self, group: Vec<Arc<Run>>) -> Result<(), StoreError> {
        let keys = group.iter().map(|run| run.meta.counts().lookup_keys).sum();
        let commits = CommitRange::over(group.iter().map(|run| run.meta.commits));
        // From one side of each cut, so that none is carried out by this.
        let sources = group.iter().map(|run| Arc::clone(run) as Arc<dyn Source>).collect();
        let run = self.write_run(&self.home(), keys, commits, |writer| writer.push_merged(&sources, 0))?;
        let flip = Flip { add: run, replaced: &group, journal: None, batch: None, ends_cuts: false };
        self.flip(flip, |_| {}).map(drop)
    }

    /// The runs of one size that have become too many, or all that came between two cuts.
    fn runs_to_merge(&self, view: &View) -> Option<Vec<Arc<Run>>> {
        let View { runs, epochs, .. } = view;
        let fan_in = self.options.fan_in.max(2);
        let now = epochs.cuts.len() as u32;
        let tier = |run: &Run| {
            let tier = (run.meta.counts().primary() / (self.options.fold_rows.max(1) as u64))
                .checked_ilog(fan_in as u64)
                .map_or(0, |tier| tier + 1);
            let epoch = epochs.epoch(run.meta.id);
            let is_between = epoch > 0 && epoch < now;
            (epoch, if is_between { 0 } else { tier }, if is_between { 2 } else { fan_in })
        };
        let tiers: BTreeSet<_> = runs.iter().map(|run| tier(run)).collect();
        tiers.into_iter().find_map(|wanted| {
            let group: Vec<_> = runs.iter().filter(|run| tier(run) == wanted).map(Arc::clone).collect();
            (group.len() >= wanted.2).then_some(group)
        })
    }

    //--- writing

    /// Writes a run that nobody knows yet. It is on stable storage when this returns.
    fn write_run(
        &self,
        home: &Arc<Home>,
        lookup_keys: u64,
        commits: CommitRange,
        fill: impl FnOnce(&mut Writer<RunSink<'_>>) -> Result<(), StoreError>,
    ) -> Result<Arc<Run>, StoreError> {
        // In this order: a number that was given before the engine was opened again is not written to after it.
        let generation = home.generation();
        let id = self.next_run.fetch_add(1, Ordering::SeqCst);
        // From its first block on: whoever opens the engine again must not take it for one that was left behind.
        home.hold(id);
        self.try_write_run(home, generation, id, (lookup_keys, commits), fill).inspect_err(|_| {
            home.let_go(id);
            home.bury(id);
        })
    }

    fn try_write_run(
        &self,
        home: &Arc<Home>,
        generation: u64,
        id: u32,
        (lookup_keys, commits): (u64, CommitRange),
        fill: impl FnOnce(&mut Writer<RunSink<'_>>) -> Result<(), StoreError>,
    ) -> Result<Arc<Run>, StoreError> {
        let waiting = Vec::new();
        let sink = RunSink { shared: self, home, generation, id, written: 0, waiting, bytes: 0 };
        let mut writer = Writer::new(sink, BLOCK_BYTES, lookup_keys, self.filter_seed);
        fill(&mut writer)?;
        let (mut sink, contents, filter) = writer.finish()?;
        let stored = Bytes::from(filter.to_bytes());
        drop(filter);
        let from = (0..stored.len()).step_by(FILTER_PAGE_BYTES);
        let pages: Vec<Bytes> =
            from.map(|from| stored.slice(from..stored.len().min(from + FILTER_PAGE_BYTES))).collect();
        let mut filter_pages = 0;
        for page in &pages {
            sink.put(filter_key(filter_pages), page)?;
            filter_pages += 1;
        }
        sink.write()?;
        home.sync_in(generation)?;
        let meta = RunMeta { id, contents, commits, bytes: sink.bytes, filter_pages };
        let filter =
            pages.first().zip(pages.last()).and_then(|(first, last)| Pages::new(pages.len(), first, last));
        let filter = Arc::new(filter.ok_or_else(|| damaged("a filter", "its length is none"))?);
        // Each for itself: one that is let go of must not keep the memory of all.
        let pages: Vec<Bytes> = pages.iter().map(|page| Bytes::copy_from_slice(page)).collect();
        home.cache().offer_pages(id, &filter, &pages);
        point("run_written");
        Ok(Arc::new(Run::new(meta, filter, home)))
    }

    /// Commits a batch: `before` is what its keys hold until then. After an error it may be there, or a part of it.
    fn commit(&self, home: &Home, batch: Changes, before: &Changes) -> Result<(), StoreError> {
        let mut keys = Vec::new();
        for (key, sealed) in Undo::of(&batch, before).to_pairs()? {
            keys.push((key.clone(), None));
            home.write(vec![(key, Some(sealed))])?;
        }
        point("undo_written");
        home.commit(batch)?;
        // Before anything else is written that changes these keys. If it fails the batch is there all the same, and this goes
        // when the engine is opened again.
        drop(home.write(keys));
        Ok(())
    }

    /// Commits rows and progress by one atomic write, and shows them to readers; `edit` changes the view with it.
    fn commit_rows(
        &self,
        committed: &mut Committed,
        progress: &[&Progress],
        rows: Rows,
        edit: impl FnOnce(&mut View),
    ) -> Result<(), StoreError> {
        let home = self.home();
        let mut record = committed.record;
        record.number += 1;
        let number = record.number;
        let edit = |view: &mut View| {
            view.last_commit = number;
            edit(view);
        };
        let (mut changes, mut undo, mut hashes) = (Changes::new(), Changes::new(), Vec::new());
        for progress in progress {
            let key = engine::progress(&progress.lineage);
            let sealed = block::seal(&key, &value::progress_to_bytes(progress)?);
            let hash = progress_hash(&key, &sealed);
            match committed.lineages.get(&progress.lineage) {
                Some(last) => {
                    record.digest ^= last;
                    undo.push((key.clone(), home.get(&key)?));
                }
                None => {
                    record.lineages += 1;
                    undo.push((key.clone(), None));
                }
            }
            record.digest ^= hash;
            hashes.push((progress.lineage, hash));
            changes.push((key, Some(sealed)));
        }
        let next_run = match rows {
            Rows::Run(run) => {
                changes.push((engine::COMMITS.to_vec(), Some(record.to_bytes()?)));
                let id = run.meta.id;
                let before = with_record(&undo, &committed.record)?;
                let batch = Some((changes, before));
                let flip = Flip { add: run, replaced: &[], journal: None, batch, ends_cuts: false };
                self.flip(flip, edit).inspect_err(|_| {
                    committed.doubt = Some(Doubt { record, undo, run: Some(id) });
                })?
            }
            Rows::Segment(segment) => {
                let sequence = record.journal_to;
                let parts = segment.journal_parts();
                let count =
                    u16::try_from(parts.len()).map_err(|_| damaged("the batch", "it is too large"))?;
                for (part, JournalPart { family, rows }) in (0..count).zip(parts) {
                    let key = engine::journal_part(sequence, part);
                    let sealed =
                        block::seal(&key, &engine::join(&[&count.to_be_bytes(), &[family.byte()], &rows]));
                    undo.push((key.clone(), None));
                    changes.push((key, Some(sealed)));
                }
                record.journal_to += u64::from(count > 0);
                changes.push((engine::COMMITS.to_vec(), Some(record.to_bytes()?)));
                // Before it is committed: a change that comes between is not one that came before.
                let next_run = self.manifest.lock().next_run;
                let before = with_record(&undo, &committed.record)?;
                self.commit(&home, changes, &before).inspect_err(|_| {
                    committed.doubt = Some(Doubt { record, undo, run: None });
                })?;
                self.publish(|view| {
                    if count > 0 {
                        view.segments.push(Arc::from(segment));
                    }
                    edit(view);
                });
                next_run
            }
        };
        committed.record = record;
        committed.lineages.extend(hashes);
        self.acknowledge(progress, committed, &home, next_run);
        Ok(())
    }

    /// Changes the manifest, with a batch or alone, and shows it to readers. Gives the number of the next run, which each such
    /// change makes greater: by it one sees that none is missing.
    fn flip(&self, flip: Flip<'_>, edit: impl FnOnce(&mut View)) -> Result<u32, StoreError> {
        let mut manifest = self.manifest.lock();
        // When it fails the run is let go of before the lock is: whoever opens the engine again then sees to what became of it.
        let Flip { add, replaced, journal, batch, ends_cuts } = flip;
        let replaced_ids: Vec<u32> = replaced.iter().map(|run| run.meta.id).collect();
        let mut next = manifest.clone();
        if ends_cuts {
            next.cuts.clear();
        }
        next.replace(&replaced_ids, add.meta.clone());
        next.next_run = self.next_run.load(Ordering::SeqCst).max(manifest.next_run.saturating_add(1));
        self.next_run.fetch_max(next.next_run, Ordering::SeqCst);
        let next_run = next.next_run;
        if let Some(journal) = journal {
            (next.journal_from, next.journal_after) = journal;
        }
        let (home, change) = (self.home(), (engine::MANIFEST.to_vec(), Some(next.to_bytes()?)));
        match batch {
            Some((mut changes, mut before)) => {
                changes.push(change);
                before.push((engine::MANIFEST.to_vec(), Some(manifest.to_bytes()?)));
                self.commit(&home, changes, &before)?;
            }
            // One key: it is there or not.
            None => home.commit(vec![change])?,
        }
        *manifest = next;
        replaced.iter().for_each(|run| run.retired.store(true, Ordering::Relaxed));
        let epochs = Arc::new(Epochs::of(&manifest.cuts));
        self.publish(|view| {
            view.runs.retain(|run| !replaced_ids.contains(&run.meta.id));
            view.runs.push(add);
            view.epochs = epochs;
            edit(view);
        });
        Ok(next_run)
    }

    /// Notes what was committed, with the number of the next run that the manifest had then. It is durable in the
    /// engine: where it cannot be noted nothing more is written before it was.
    fn acknowledge(&self, progress: &[&Progress], committed: &mut Committed, home: &Home, next_run: u32) {
        let logs = progress.iter().map(|progress| (progress.lineage, progress.consumed.offset));
        let noted = committed.acks.acknowledge(logs, next_run, self.sensors.len());
        noted.unwrap_or_else(|error| home.fail(&error));
        let left = committed.acks.missing_logs();
        if self.missing.swap(left, Ordering::SeqCst) > 0 && left == 0 {
            tracing::info!("All rows that were missing are there again.");
        }
    }

    /// Waits while there is too much in memory that could not be folded yet.
    fn wait_for_room(&self) -> Result<(), StoreError> {
        loop {
            let rung = self.bell.count();
            if self.view().pending_bytes() < 2 * self.options.fold_bytes() {
                return Ok(());
            }
            self.failure(Work::Fold)?;
            // Who waits here holds what mending needs.
            self.home().failure().map_or(Ok(()), Err)?;
            self.check_stop()?;
            self.bell.wait(rung, None);
        }
    }
}

/// Rows that are to be committed.
enum Rows {
    /// They become an entry of the journal.
    Segment(Box<Segment>),
    /// They are a run that nobody knows yet.
    Run(Arc<Run>),
}

/// What keys held before, with the record of the last commit.
fn with_record(before: &Changes, record: &Commits) -> Result<Changes, StoreError> {
    let record = (engine::COMMITS.to_vec(), Some(record.to_bytes()?));
    Ok(before.iter().cloned().chain([record]).collect())
}

/// What changes in the manifest.
struct Flip<'a> {
    add: Arc<Run>,
    replaced: &'a [Arc<Run>],
    /// Where the journal begins now, if it was cut, and the number of the last commit before that.
    journal: Option<(u64, u64)>,
    /// What is committed with it, and what is there before.
    batch: Option<(Changes, Changes)>,
    /// Whether all cuts are carried out by it.
    ends_cuts: bool,
}

/// The segments of one tier that have become too many.
fn segments_to_merge(segments: &[Arc<Segment>]) -> Option<Vec<Arc<Segment>>> {
    let tiers: BTreeSet<u32> = segments.iter().map(|segment| segment.tier).collect();
    tiers.into_iter().find_map(|tier| {
        let group: Vec<_> = segments.iter().filter(|segment| segment.tier == tier).map(Arc::clone).collect();
        (group.len() >= SEGMENT_FAN_IN).then_some(group)
    })
}

//--- ReadStore and WriteStore ----------------------------------------------------------------------------------------

impl ReadStore for Ledger {
    fn now(&self) -> Arc<dyn Snapshot> {
        self.shared.view()
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.shared.sensors.name(sensor)
    }

    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        let key = engine::progress(id);
        let home = self.shared.home();
        if home.failure().is_some() {
            // A batch that was refused may be in the engine all the same, or a part of it.
            let committed = self.shared.committed.lock();
            let undo = committed.doubt.iter().flat_map(|doubt| &doubt.undo);
            if let Some((_, before)) = undo.into_iter().find(|(changed, _)| *changed == key) {
                return before.as_ref().map(|sealed| open_progress(&key, sealed)).transpose();
            }
        }
        home.get(&key)?.map(|sealed| open_progress(&key, &sealed)).transpose()
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        with_prefix(&*self.shared.home(), engine::PROGRESS)
            .map(|pair| pair.and_then(|(key, sealed)| open_progress(&key, &sealed)))
            .collect()
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        let view = self.shared.view();
        let pending_rows = view.pending().rows();
        let staged_rows = view.staged.iter().map(|segment| segment.counts().rows()).sum::<u64>();
        let held_bytes = self.shared.retired_bytes()?;
        let (expired, (dropped, dropped_questions)) = {
            let manifest = self.shared.manifest.lock();
            (manifest.expired, manifest.left())
        };
        let in_runs = view.runs.iter().map(|run| run.meta.counts().rows()).sum::<u64>();
        Ok(Stats {
            rows: (pending_rows + staged_rows + in_runs).saturating_sub(dropped),
            pending_rows,
            runs: view.runs.len() as u64,
            disk_bytes: self.shared.home().disk_bytes()?.saturating_add(held_bytes),
            held_bytes,
            live_bytes: view.runs.iter().map(|run| run.meta.bytes).sum(),
            max_disk: self.max_disk,
            format: FORMAT,
            expired,
            expired_on_disk: dropped + dropped_questions,
            missing_logs: self.missing_logs(),
            folded: self.shared.folded(),
            growth: self.shared.growth.lock().clone(),
        })
    }

    fn missing_logs(&self) -> u64 {
        self.shared.missing.load(Ordering::SeqCst)
    }

    fn expired_before(&self) -> u64 {
        self.shared.cut.load(Ordering::SeqCst)
    }

    fn survey(&self, now: u64) -> Result<Survey, StoreError> {
        self.shared.survey(now)
    }

    fn failing(&self) -> Option<StoreError> {
        self.shared.home().failure()
    }

    fn copy(&self, take: OnPiece<'_>) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let (main, lost, view, _spared) = {
            let mut committed = shared.committed.lock();
            shared.mend(Some(&mut committed))?;
            let lost = committed.acks.lost();
            let _folds_wait = shared.manifest.lock();
            let _hints_wait = shared.hints.lock();
            let home = shared.home();
            // Progress and hints, of which there is one for each log, and a journal that is bounded.
            let main = with_prefix(&*home, b"").collect::<Result<Vec<Pair>, _>>()?;
            (main, lost, shared.view(), home.spare())
        };
        let mut pieces = Pieces::new(take);
        lost.map_or(Ok(()), |lost| pieces.lost(&lost))?;
        pieces.main(main.into_iter().map(Ok))?;
        for run in &view.runs {
            pieces.run(run.meta.id, with_prefix(&RunPairs { home: &run.home, id: run.meta.id }, b""))?;
        }
        pieces.end()
    }

    fn verify(&self, on_progress: OnProgress<'_>) -> Result<Verification, StoreError> {
        let mut checker = Checker::new(on_progress);
        let (view, _spared) = {
            let committed = self.shared.committed.lock();
            checker = checker.acknowledged(committed.acks.table().clone());
            let _folds_wait = self.shared.manifest.lock();
            let home = self.shared.home();
            checker.main(&*home, home.runs());
            (self.shared.view(), home.spare())
        };
        for run in &view.runs {
            checker.run(&run.meta, &RunPairs { home: &run.home, id: run.meta.id })?;
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
        shared.mend(Some(&mut committed))?;
        shared.sensors.add(name, |key, sealed| shared.home().commit(vec![(key, Some(sealed))]))
    }

    fn stage(&self, batch: &Batch) -> Result<(), StoreError> {
        self.shared.stage(batch)
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
        let mut committed = shared.committed.lock();
        shared.mend(Some(&mut committed))?;
        let progress: Vec<&Progress> = batch.progress().collect();
        let (sensors, cut) = (shared.sensors.len(), shared.cut.load(Ordering::SeqCst));
        let commits = committed.next();
        let rows = if batch.tuples().len() + batch.questions().len() >= shared.options.bulk_rows {
            let keys = 2 * batch.tuples().len() + batch.questions().len();
            let fill = |writer: &mut Writer<RunSink<'_>>| writer.push_batch(batch, sensors, cut);
            Rows::Run(shared.write_run(&shared.home(), keys as u64, commits, fill)?)
        } else {
            shared.wait_for_room()?;
            let sequences = vec![committed.record.journal_to];
            Rows::Segment(Box::new(Segment::from_batch(batch, sensors, sequences, commits, cut)?))
        };
        shared.commit_rows(&mut committed, &progress, rows, |_| {})
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        let hint = |(key, value): Pair| (key.get(engine::CACHE.len()..).unwrap_or_default().to_vec(), value);
        with_prefix(&*self.shared.home(), engine::CACHE).map(|pair| pair.map(hint)).collect()
    }

    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        let key = |path: &[u8]| engine::join(&[engine::CACHE, path]);
        let puts = puts.iter().map(|(path, hint)| (key(path), Some(hint.clone())));
        let _not_while_it_moves = self.shared.hints.lock();
        self.shared.home().write(puts.chain(drops.iter().map(|path| (key(path), None))).collect())
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

    fn use_reserve(&self) {
        self.shared.making_room.store(true, Ordering::SeqCst);
        let view = self.shared.view();
        let live: u64 = view.runs.iter().map(|run| run.meta.bytes).sum();
        self.shared.site.use_reserve(live + view.pending_bytes() as u64);
    }

    fn keep_reserve(&self) {
        self.shared.making_room.store(false, Ordering::SeqCst);
        self.shared.bell.ring();
        // Where the engine cannot be asked it is for another time.
        if let Ok(stats) = self.stats() {
            let pending = self.shared.view().pending_bytes() as u64;
            self.shared.site.keep_reserve(stats.disk_bytes, stats.live_bytes + pending);
        }
    }

    fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError> {
        self.shared.reduce(rule, at)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.shared.mend(None)?;
        self.shared.home().sync()
    }
}

pub(super) fn open_progress(key: &[u8], sealed: &[u8]) -> Result<Progress, StoreError> {
    let what = "the progress of a log";
    let lineage = key.get(engine::PROGRESS.len()..).and_then(|id| id.try_into().ok());
    let lineage = LineageId(lineage.ok_or_else(|| damaged(what, "its key is none"))?);
    value::progress(lineage, &block::open(key, sealed, &|| what.to_owned())?)
}

impl Snapshot for View {
    fn entries<'a>(&'a self, scan: &Scan, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        self.entries_within(scan, after, Reach::Disk)
    }

    fn entries_in_memory<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
    ) -> Result<Entries<'a>, StoreError> {
        self.entries_within(scan, after, Reach::Memory)
    }

    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError> {
        let Some(range) = Range::questions(scan) else { return Ok(Box::new(std::iter::empty())) };
        let rows = Merged::open(&self.sources(), &range)?;
        Ok(Box::new(QuestionScan::new(rows.into(), self.known())))
    }

    fn changed_since<'a>(&'a self, mark: Mark) -> Result<Changed<'a>, StoreError> {
        // A mark that is ahead is of another ledger: all of this one is new.
        let mark = if mark.0 > self.last_commit { 0 } else { mark.0 };
        let mut all = Sources::with_cuts(self.epochs.cuts.clone());
        let mut newer = Vec::new();
        let now = self.epochs.cuts.len() as u32;
        let runs = self.runs.iter().map(|run| {
            (self.epochs.epoch(run.meta.id), Arc::clone(run) as Arc<dyn Source>, run.meta.commits)
        });
        let segments = self
            .segments
            .iter()
            .map(|segment| (now, Arc::clone(segment) as Arc<dyn Source>, segment.commits));
        for (epoch, source, commits) in runs.chain(segments) {
            if commits.last > mark {
                newer.push(Arc::clone(&source));
            }
            all.push(epoch, source);
        }
        let rows = Whole::open(Family::ByName, &newer, &all)?;
        let questions = Whole::open(Family::Questions, &newer, &all)?;
        Ok(Changed {
            entries: Box::new(EntryScan::new(rows.into(), Family::ByName, self.known(), None)),
            questions: Box::new(QuestionScan::new(questions.into(), self.known())),
            mark: Mark(self.last_commit),
        })
    }
}

impl View {
    fn entries_within<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
        reach: Reach,
    ) -> Result<Entries<'a>, StoreError> {
        let Some(mut range) = Range::entries(scan) else { return Ok(Box::new(std::iter::empty())) };
        let skip = after.map(|after| (range.skip_to(after), Arc::clone(&after.sensor)));
        let rows = Merged::open_within(&self.sources(), &range, reach)?;
        Ok(Box::new(EntryScan::new(rows.into(), range.family, self.known(), skip)))
    }
}
