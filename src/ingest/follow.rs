//! Following sources: live logs into the open batch, history behind them.
//!
//! Events wake a follower; what it does then does not depend on them. At each turn it opens live logs that are new at
//! their paths, reads every followed file to its end, lets go of those that are finished, and now and then looks through
//! the whole source for archives it has not met. Archives are read by other threads: the live log never waits for them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::bulk::{Met, Worker, apply_patiently};
use super::intake::{Ending, Halt, Intake};
use super::{Backfill, Config, Context, How, IngestError, SourceConfig, Summary, reading_hint, shown};
use crate::clock::now_ms;
use crate::fault::point;
use crate::history::Pulse;
use crate::ledger::Ledger;
use crate::merge::Batch;
use crate::shutdown::Stop;
use crate::status::{BackfillStatus, SourceState, SourceStatus, Status};
use crate::store::{Pair, Store, StoreError};
use crate::tail::decode::Packing;
use crate::tail::discover::{Found, Stamp, discover, is_glob};
use crate::tail::followed::{Followed, Read};
use crate::tail::wake::{Alarm, LOST_EVENTS, Wake};

/// Bytes of a live log that are folded in at a time: the open batch is locked for so long.
const LIVE_CHUNK_BYTES: usize = 32 << 10;
/// Bytes of the open batch at which it is committed before its time: lookups walk through it.
const OPEN_BATCH_BYTES: usize = 2 << 20;
/// How long a source that failed, or a file in it, is left alone.
const RETRY: Duration = Duration::from_secs(10);
/// The longest time between two looks through a whole source.
const LONGEST_SCAN_PAUSE: Duration = Duration::from_secs(30);
/// How often the instant that the ledger is true of is kept while nothing happens.
const AS_OF_PAUSE: Duration = Duration::from_secs(60);
/// How often it is logged how far the archives are.
const TELL_PAUSE: Duration = Duration::from_secs(10);
/// How long a backfill batch waits for more before it is applied.
const BULK_AGE: Duration = Duration::from_secs(2);

//--- Ingest ---------------------------------------------------------------------------------------------------------

/// Everything that feeds a ledger while the daemon runs.
pub struct Ingest {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    context: Arc<Context>,
    config: Config,
    stop: Stop,
    sources: Vec<Source>,
    /// Archives to be read, and a bell for those who read them.
    archives: Mutex<VecDeque<Job>>,
    archives_changed: Condvar,
    /// Rung when the open batch is to be committed before its time.
    commit_now: (Mutex<bool>, Condvar),
    /// Why the ledger refuses to be written, if it does.
    failing: Mutex<Option<String>>,
    /// The threads that read archives.
    readers: Vec<Arc<Reading>>,
}

/// An archive to be read.
struct Job {
    source: usize,
    found: Found,
}

/// One source, as its follower and status share it.
struct Source {
    config: SourceConfig,
    state: Mutex<Standing>,
    /// Wakes its follower.
    bell: Mutex<Option<SyncSender<Wake>>>,
}

/// How a source stands.
#[derive(Default)]
struct Standing {
    state: SourceState,
    reason: Option<String>,
    /// When everything visible had been read, epoch milliseconds; from an earlier run until this one has caught up.
    as_of_ms: Option<u64>,
    /// The same as the ledger has it for the next run.
    kept_as_of_ms: Option<u64>,
    caught_up: bool,
    lag_bytes: u64,
    /// Archives that were queued or read, as they were then: none of them is met again unless it changes.
    met: HashMap<PathBuf, Stamp>,
    /// Archives that could not be read, and when to try again.
    troubled: HashMap<PathBuf, Instant>,
    /// Archives of logs that are followed live, and when to try again.
    shadowed: HashMap<PathBuf, Instant>,
    /// Whether an archive was given back since the last look through the source.
    unsettled: bool,
    /// Queued and not read yet.
    pending: u64,
    backfill: BackfillStatus,
    pace: Pace,
}

/// For how long archives were read, so that rates do not sink while there are none.
#[derive(Default)]
struct Pace {
    /// In spells that are over.
    before: Duration,
    /// When the present one began.
    since: Option<Instant>,
}

impl Pace {
    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn end(&mut self) {
        self.before += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    fn elapsed(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// What one of the threads that read archives is at.
#[derive(Default)]
struct Reading {
    /// The source of the archive.
    source: Mutex<Option<usize>>,
    /// Bytes of it that were read from disk.
    bytes: Arc<AtomicU64>,
    /// New lines in it so far.
    lines: Arc<AtomicU64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts following. Nothing that is missing or unreadable is an error here: it is waited for.
///
/// # Errors
///
/// When no thread can be started.
pub fn start(config: Config, ledger: Arc<Ledger>, stop: Stop) -> Result<Ingest, IngestError> {
    let shared = Shared::new(config, &ledger, stop);
    let mut threads = Vec::new();
    let mut spawn = |name: &str, work: Box<dyn FnOnce(&Shared) + Send>| {
        let shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared));
        thread.map(|handle| threads.push(handle)).map_err(IngestError::Thread)
    };
    spawn("commit", Box::new(commit))?;
    for at in 0..shared.sources.len() {
        spawn("follow", Box::new(move |shared| follow(shared, at)))?;
    }
    for reading in shared.readers.iter().map(Arc::clone) {
        spawn("archives", Box::new(move |shared| read_archives(shared, &reading)))?;
    }
    Ok(Ingest { shared, threads })
}

impl Ingest {
    /// How far everything is.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be asked.
    pub fn status(&self) -> Result<Status, StoreError> {
        self.shared.status()
    }

    /// Why the ledger cannot be written, if it cannot.
    pub fn failing(&self) -> Option<String> {
        lock(&self.shared.failing).clone()
    }

    /// What was read so far and how far behind that is; cheap enough to be asked every few seconds.
    pub fn pulse(&self) -> Pulse {
        let lines = self.shared.context.lines_read.load(Ordering::Relaxed);
        let lag_ms = self.shared.as_of_ms().map(|as_of| now_ms().saturating_sub(as_of));
        Pulse { lines, lag_ms }
    }

    /// The instant by which every byte then visible had been read, epoch milliseconds; `None` before the first pass.
    pub fn as_of_ms(&self) -> Option<u64> {
        self.shared.as_of_ms()
    }

    /// Reads one log that a client sends, and returns when it is applied.
    ///
    /// # Errors
    ///
    /// When the ledger refuses it, or the daemon is being stopped.
    pub fn import_stream<'a>(
        &self,
        name: &Path,
        how: impl Into<How<'a>>,
        stream: Box<dyn io::Read + Send>,
    ) -> Result<Summary, IngestError> {
        let shared = &self.shared;
        let apply = |batch: Batch| shared.apply(&batch);
        let mut worker = Worker::new(&shared.context, shared.batch_bytes(), &apply);
        let How { sensor, replace } = how.into();
        worker.reads_cof = true;
        worker.replaces = replace;
        let zeek = Default::default();
        if let Met::Busy { .. } = worker.read_stream(stream, name, sensor, &zeek)? {
            let why = "the daemon is reading this very log";
            worker.summary.passed_over.push((name.to_owned(), why.to_owned()));
        }
        worker.flush()?;
        Ok(worker.summary)
    }

    /// Waits until everything has stopped and the last batch is applied. The stop signal must have been given.
    ///
    /// # Errors
    ///
    /// When the last batch cannot be applied. It will be read again from the logs.
    pub fn join(self) -> Result<(), StoreError> {
        self.shared.ring();
        self.shared.archives_changed.notify_all();
        for source in &self.shared.sources {
            if let Some(bell) = &*lock(&source.bell) {
                let _ = bell.try_send(Wake::Poll); // full means that it is awake
            }
        }
        for thread in self.threads {
            drop(thread.join()); // one that panicked has nothing left to give
        }
        let instants = self.shared.instants();
        self.shared.context.ledger.commit()?;
        self.shared.keep_as_of(&instants);
        self.shared.context.ledger.store().flush()
    }
}

impl Shared {
    fn new(config: Config, ledger: &Arc<Ledger>, stop: Stop) -> Arc<Shared> {
        let source = |source: &SourceConfig| Source {
            config: source.clone(),
            state: Mutex::default(),
            bell: Mutex::default(),
        };
        let readers = (0..config.threads.max(1)).map(|_| Arc::default()).collect();
        Arc::new(Shared {
            context: Context::new(ledger, &config),
            sources: config.sources.iter().map(source).collect(),
            config,
            stop,
            archives: Mutex::default(),
            archives_changed: Condvar::new(),
            commit_now: Default::default(),
            failing: Mutex::default(),
            readers,
        })
    }

    fn ledger(&self) -> &Ledger {
        &self.context.ledger
    }

    /// Bytes of one backfill batch: each reader has one, and one more is being applied.
    fn batch_bytes(&self) -> usize {
        usize::try_from(self.config.memory).unwrap_or(usize::MAX) / (2 * self.config.threads.max(1) + 2)
    }

    /// Rings for a commit.
    fn ring(&self) {
        *lock(&self.commit_now.0) = true;
        self.commit_now.1.notify_all();
    }

    fn apply(&self, batch: &Batch) -> Result<(), IngestError> {
        let applied = apply_patiently(self.ledger(), batch, &self.stop, &|error| self.fails(error));
        if applied.is_ok() {
            self.works();
        }
        applied
    }

    fn fails(&self, error: &StoreError) {
        let mut failing = lock(&self.failing);
        let text = error.to_string();
        if failing.as_ref() != Some(&text) {
            warn!(%error, hint = error.hint(), "The ledger cannot be written; lookups go on, and writing is tried again.");
            *failing = Some(text);
        }
    }

    fn works(&self) {
        if lock(&self.failing).take().is_some() {
            info!("The ledger can be written again.");
        }
    }

    fn status(&self) -> Result<Status, StoreError> {
        let lineages = self.context.ledger.lineages()?;
        let at_rest = Status::at_rest(&lineages);
        let mut status = Status { totals: at_rest.totals, newest: at_rest.newest, ..Status::default() };
        status.caught_up = true;
        for (at, source) in self.sources.iter().enumerate() {
            let standing = lock(&source.state);
            let mut described = SourceStatus {
                logs: source.config.logs.clone(),
                sensor: source.config.sensor.clone(),
                state: standing.state,
                reason: standing.reason.clone(),
                lag_bytes: standing.lag_bytes,
                lag_seconds: standing.as_of_ms.map(|at| now_ms().saturating_sub(at) as f64 / 1000.0),
                ..SourceStatus::default()
            };
            if standing.backfill.files_total > 0 {
                described.backfill = Some(self.rated(at, &standing));
            }
            status.caught_up &= standing.caught_up;
            status.sources.push(described);
        }
        status.as_of_ms = self.as_of_ms();
        // Each log belongs to the source it was seen in; what was imported stands apart.
        for at_rest_source in at_rest.sources {
            let mut imported = SourceStatus { sensor: at_rest_source.sensor, ..SourceStatus::default() };
            imported.state = SourceState::Imported;
            for file in at_rest_source.files {
                let tally = file.tally.clone();
                let home = status.sources.iter_mut().find(|source| {
                    source.state != SourceState::Imported
                        && source.sensor == imported.sensor
                        && (is_glob(&source.logs) || file.path.starts_with(&source.logs))
                });
                let home = home.unwrap_or(&mut imported);
                home.totals.merge(&tally);
                home.files.push(file);
            }
            if !imported.files.is_empty() {
                status.sources.push(imported);
            }
        }
        Ok(status)
    }

    /// The instant by which every source had read everything visible.
    fn as_of_ms(&self) -> Option<u64> {
        self.instants().into_iter().reduce(|a, b| a.zip(b).map(|(a, b)| a.min(b))).flatten()
    }

    /// How the reading of a source's archives stands, with its rate and what is being read just now.
    fn rated(&self, at: usize, standing: &Standing) -> BackfillStatus {
        let mut rated = standing.backfill;
        for reading in &self.readers {
            // The lock holds the figures and what they belong to together.
            let source = lock(&reading.source);
            if *source == Some(at) {
                rated.bytes_done += reading.bytes.load(Ordering::Relaxed);
                rated.lines += reading.lines.load(Ordering::Relaxed);
            }
        }
        rated.bytes_done = rated.bytes_done.min(rated.bytes_total);
        let seconds = standing.pace.elapsed().as_secs_f64().max(0.001);
        rated.lines_per_second = rated.lines as f64 / seconds;
        let bytes_per_second = rated.bytes_done as f64 / seconds;
        let left = rated.bytes_total.saturating_sub(rated.bytes_done) as f64;
        rated.seconds_left = (bytes_per_second > 0.0).then(|| left / bytes_per_second);
        rated
    }

    /// Keeps for the next run as of when the ledger is true. Given are the instants that held before the last commit:
    /// everything that was read by then is applied now.
    fn keep_as_of(&self, instants: &[Option<u64>]) {
        let mut hints = Vec::new();
        for (source, as_of) in self.sources.iter().zip(instants) {
            let mut standing = lock(&source.state);
            if let Some(as_of) = as_of.filter(|as_of| standing.kept_as_of_ms.is_none_or(|kept| kept < *as_of))
            {
                standing.kept_as_of_ms = Some(as_of);
                hints.push((source.hint_key(b"as_of"), as_of.to_be_bytes().to_vec()));
            }
        }
        // Without it the next run knows less of what it has missed, and counts all the same.
        if !hints.is_empty() {
            drop(self.ledger().store().cache(&hints, &[]));
        }
    }

    /// As of when each source stands.
    fn instants(&self) -> Vec<Option<u64>> {
        self.sources.iter().map(|source| lock(&source.state).as_of_ms).collect()
    }
}

//--- commit ---------------------------------------------------------------------------------------------------------

/// Commits the open batch every interval, and when it is asked to.
fn commit(shared: &Shared) {
    let (rung, bell) = &shared.commit_now;
    let mut pause = shared.config.commit_interval;
    let mut kept = Instant::now();
    while !shared.stop.is_stopped() {
        let guard = lock(rung);
        let (mut guard, _) =
            bell.wait_timeout_while(guard, pause, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *guard = false;
        drop(guard);
        let (instants, is_due) = (shared.instants(), shared.ledger().has_unapplied());
        match shared.ledger().commit() {
            Ok(()) => {
                shared.works();
                // Where nothing is written to the logs the disk is left alone for a while.
                if is_due || kept.elapsed() > AS_OF_PAUSE {
                    shared.keep_as_of(&instants);
                    kept = Instant::now();
                }
                pause = shared.config.commit_interval;
            }
            Err(error) => {
                shared.fails(&error);
                pause = (pause * 2).clamp(Duration::from_millis(250), Duration::from_secs(15));
            }
        }
    }
}

//--- archives -------------------------------------------------------------------------------------------------------

/// Reads archives as they are queued.
fn read_archives(shared: &Shared, reading: &Reading) {
    let apply = |batch: Batch| shared.apply(&batch);
    let mut reader = ArchiveReader::new(shared, reading, &apply);
    while !shared.stop.is_stopped() {
        let patience = if reader.worker.has_unapplied() { Duration::ZERO } else { Duration::from_secs(1) };
        let queue = lock(&shared.archives);
        let (mut queue, _) = shared
            .archives_changed
            .wait_timeout_while(queue, patience, |queue| queue.is_empty() && !shared.stop.is_stopped())
            .unwrap_or_else(PoisonError::into_inner);
        let job = queue.pop_front();
        drop(queue);
        // An error means that the ledger is of no more use, or that we are being stopped: the logs are read again.
        let done = match job {
            Some(job) => reader.read(job),
            None => reader.flush(),
        };
        if done.is_err() {
            return;
        }
    }
    drop(reader.flush());
}

/// Reads archives, one after the other, into batches.
struct ArchiveReader<'a> {
    shared: &'a Shared,
    reading: &'a Reading,
    worker: Worker<'a>,
    /// Read, and not applied yet.
    read: Vec<Job>,
    /// When the batch was begun.
    since: Instant,
}

impl<'a> ArchiveReader<'a> {
    fn new(
        shared: &'a Shared,
        reading: &'a Reading,
        apply: &'a dyn Fn(Batch) -> Result<(), IngestError>,
    ) -> ArchiveReader<'a> {
        let mut worker = Worker::new(&shared.context, shared.batch_bytes(), apply);
        worker.bytes_read = Arc::clone(&reading.bytes);
        worker.lines = Arc::clone(&reading.lines);
        ArchiveReader { shared, reading, worker, read: Vec::new(), since: Instant::now() }
    }

    /// Reads one archive. It is passed over from when it is applied.
    fn read(&mut self, job: Job) -> Result<(), IngestError> {
        let Some(source) = self.shared.sources.get(job.source) else { return Ok(()) };
        self.worker.summary = Summary::default();
        *lock(&self.reading.source) = Some(job.source);
        let met = self.worker.read_file(&job.found, Some(&source.config.sensor), &source.config.zeek);
        let summary = &self.worker.summary;
        let mut standing = lock(&source.state);
        self.reading.rest();
        let met = met?;
        for (path, why) in summary.incomplete.iter().chain(&summary.passed_over) {
            warn!(path = shown(path), reason = %why.escape_debug(), "An archive could not be read whole.");
        }
        standing.backfill.lines += summary.tally.lines();
        for (path, why) in &summary.failed {
            if standing.troubled.insert(path.clone(), Instant::now() + RETRY).is_none() {
                warn!(path = shown(path), reason = %why.escape_debug(), "An archive cannot be read; it is tried again.");
            }
            standing.reason = Some(format!("{}: {why}", shown(path)));
        }
        match met {
            Met::Read => {
                standing.backfill.bytes_done += job.found.stamp.size;
                self.read.push(job);
            }
            // A copy of what is followed: it can hold nothing new before that is finished.
            Met::Busy { live: true } => {
                standing.shadowed.insert(job.found.path.clone(), Instant::now() + RETRY);
                standing.forget(&job);
            }
            // The next look through the source finds it again.
            Met::Busy { live: false } => {
                standing.unsettled = true;
                standing.forget(&job);
            }
            Met::Failed => standing.forget(&job),
        }
        drop(standing);
        if !self.worker.has_unapplied() || self.since.elapsed() > BULK_AGE {
            self.flush()?;
        }
        Ok(())
    }

    /// Applies what was read.
    fn flush(&mut self) -> Result<(), IngestError> {
        self.worker.flush()?;
        self.since = Instant::now();
        self.shared.finish(&mut self.read);
        Ok(())
    }
}

impl Reading {
    /// The archive is done with: what was read of it is the source's from now on.
    fn rest(&self) {
        let mut source = lock(&self.source);
        *source = None;
        self.bytes.store(0, Ordering::Relaxed);
        self.lines.store(0, Ordering::Relaxed);
    }
}

impl Standing {
    /// One archive less is to be read.
    fn settled_one(&mut self) {
        self.pending -= 1;
        if self.pending == 0 {
            self.pace.end();
        }
    }

    /// An archive that was queued is not read after all.
    fn forget(&mut self, job: &Job) {
        self.met.remove(&job.found.path);
        self.settled_one();
        self.backfill.files_total -= 1;
        self.backfill.bytes_total -= job.found.stamp.size;
    }
}

impl Shared {
    /// Archives are read *and* applied: from now on they are passed over, also after a restart.
    fn finish(&self, done: &mut Vec<Job>) {
        let hints: Vec<Pair> = done
            .iter()
            .filter_map(|job| Some(self.sources.get(job.source)?.met_hint(&job.found.path, &job.found.stamp)))
            .collect();
        if !hints.is_empty() {
            point("hints_due");
            // A hint that is not kept costs a second look at the archive, no more.
            drop(self.ledger().store().cache(&hints, &[]));
            point("archives_done");
        }
        for job in done.drain(..) {
            let Some(source) = self.sources.get(job.source) else { continue };
            let mut standing = lock(&source.state);
            standing.settled_one();
            standing.backfill.files_done += 1;
            standing.troubled.remove(&job.found.path);
            if standing.pending == 0 {
                drop(standing);
                // The follower says when everything is read.
                if let Some(bell) = &*lock(&source.bell) {
                    let _ = bell.try_send(Wake::Poll); // full means that it is awake
                }
            }
        }
    }
}

//--- follow ---------------------------------------------------------------------------------------------------------

/// A live log being followed.
struct Live {
    file: Followed,
    intake: Intake,
    /// When it last grew, or went from its path.
    last_change: Instant,
    gone: bool,
    /// Another file at its path holds the same log (rsync replaces files so): there is nothing to wait for in this one.
    superseded: bool,
}

/// Follows one source.
struct Follower<'a> {
    shared: &'a Shared,
    at: usize,
    source: &'a Source,
    alarm: Alarm,
    /// When the source is looked through at the latest.
    next_scan: Instant,
    /// Whether the last look left nothing for later.
    settled: bool,
    /// How often in a row the source could not be looked through.
    failures: u32,
    /// When it was last logged how far the archives are.
    told: Option<Instant>,
    /// Whether it was logged that all of them are read.
    told_all: bool,
    /// Since when archives are being read.
    reading_since: Option<Instant>,
    live: Vec<Live>,
    /// Paths at which live logs were found.
    live_paths: Vec<PathBuf>,
    /// What was warned of, so that it is said once.
    said: HashSet<(PathBuf, String)>,
    /// Live files that another reader has, or that cannot be opened, and when to try again.
    put_off: HashMap<PathBuf, Instant>,
    /// What in the source may not be looked into, and what to do.
    barred: Option<String>,
    /// Archives are read that changed at or after this instant, nanoseconds since the epoch.
    cut: i128,
    /// Whether the source ever had a plain log, beside which JSON streaming logs hold nothing new.
    has_plain: bool,
    buffer: Vec<u8>,
}

fn follow(shared: &Shared, at: usize) {
    let Some(mut follower) = Follower::new(shared, at) else { return };
    let mut wake = Wake::Changed;
    while !shared.stop.is_stopped() {
        let more = follower.turn(wake);
        wake = if more { Wake::Poll } else { follower.alarm.wait(follower.source.config.poll_interval) };
    }
}

impl Source {
    /// What the store's hints of this source begin with.
    fn hint_key(&self, kind: &[u8]) -> Vec<u8> {
        [kind, b"\0", self.config.logs.as_os_str().as_bytes(), b"\0"].concat()
    }

    /// The hint that an archive was read as it was then.
    fn met_hint(&self, path: &Path, stamp: &Stamp) -> Pair {
        let key = [&self.hint_key(b"met"), path.as_os_str().as_bytes()].concat();
        (key, stamp.to_bytes().to_vec())
    }

    /// Takes up what earlier runs left: which archives were read, and where this source's time begins. That instant is
    /// kept from the first start on, so that later starts read every log after it that is unknown. Says also whether the
    /// source had plain logs.
    fn recall(&self, store: &dyn Store) -> Result<(i128, bool), StoreError> {
        let (met_key, cut_key) = (self.hint_key(b"met"), self.hint_key(b"cut"));
        let (as_of_key, plain_key) = (self.hint_key(b"as_of"), self.hint_key(b"plain"));
        let (mut cut, mut has_plain) = (None, false);
        let mut standing = lock(&self.state);
        for (key, value) in store.cached()? {
            if key == cut_key {
                cut = value.try_into().ok().map(i128::from_be_bytes);
            } else if key == plain_key {
                has_plain = true;
            } else if key == as_of_key {
                standing.as_of_ms = value.try_into().ok().map(u64::from_be_bytes);
                standing.kept_as_of_ms = standing.as_of_ms;
            } else if let Some(path) = key.strip_prefix(met_key.as_slice())
                && let Some(stamp) = Stamp::from_bytes(&value)
            {
                standing.met.insert(PathBuf::from(OsStr::from_bytes(path)), stamp);
            }
        }
        drop(standing);
        let age = match self.config.backfill {
            Backfill::All => return Ok((i128::MIN, has_plain)),
            Backfill::None => Duration::ZERO,
            Backfill::Age(age) => age,
        };
        match cut {
            Some(cut) => Ok((cut, has_plain)),
            None => {
                let now = i128::from(now_ms()) * 1_000_000;
                let cut = now - i128::try_from(age.as_nanos()).unwrap_or(i128::MAX);
                store.cache(&[(cut_key, cut.to_be_bytes().to_vec())], &[])?;
                Ok((cut, has_plain))
            }
        }
    }
}

impl<'a> Follower<'a> {
    fn new(shared: &'a Shared, at: usize) -> Option<Follower<'a>> {
        let source = shared.sources.get(at)?;
        let (alarm, no_events) = Alarm::new();
        *lock(&source.bell) = Some(alarm.bell());
        let mut follower = Follower {
            shared,
            at,
            source,
            alarm,
            next_scan: Instant::now(),
            settled: false,
            failures: 0,
            told: None,
            told_all: false,
            reading_since: None,
            live: Vec::new(),
            live_paths: Vec::new(),
            said: HashSet::new(),
            put_off: HashMap::new(),
            barred: None,
            cut: i128::MIN,
            has_plain: false,
            buffer: vec![0; LIVE_CHUNK_BYTES],
        };
        if let Some(error) = no_events {
            follower.say(Path::new(""), &error.to_string());
        }
        match source.recall(shared.ledger().store().as_ref()) {
            Ok((cut, has_plain)) => (follower.cut, follower.has_plain) = (cut, has_plain),
            Err(error) => shared.fails(&error),
        }
        Some(follower)
    }

    /// Looks at everything once. Says whether there is more to read at once.
    fn turn(&mut self, wake: Wake) -> bool {
        let started_ms = now_ms();
        if self.alarm.take_lost() {
            self.say(Path::new("inotify"), LOST_EVENTS);
        }
        if wake == Wake::Changed || Instant::now() >= self.next_scan {
            let begun = Instant::now();
            self.settled = self.scan();
            // A large tree is looked through less often, so that looking never is what the daemon mostly does.
            let pause = (begun.elapsed() * 50).clamp(self.source.config.poll_interval, LONGEST_SCAN_PAUSE);
            // One that fails is left alone for longer and longer.
            let pause = (pause * (1 << self.failures.min(8))).min(LONGEST_SCAN_PAUSE.max(pause));
            self.next_scan = Instant::now() + pause;
        }
        self.open_live();
        let more = self.read_live();
        self.stand(started_ms, self.settled && !more);
        more
    }

    /// Says something about a path, once.
    fn say(&mut self, path: &Path, what: &str) {
        if self.said.insert((path.to_owned(), what.to_owned())) {
            warn!(path = shown(path), reason = %what.escape_debug(), "A source needs attention.");
        }
    }

    fn unsay(&mut self, path: &Path) {
        self.said.retain(|(said, _)| said != path);
    }

    /// Looks through the source: which live logs there are, and which archives were not met. Says whether nothing had
    /// to be left for later.
    fn scan(&mut self) -> bool {
        let logs = self.source.config.logs.clone();
        let listing = match discover(&logs) {
            Ok(listing) => listing,
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let hint = if missing {
                    "it is waited for"
                } else {
                    reading_hint(&error).unwrap_or("it is tried again")
                };
                let reason = format!("{error}; {hint}");
                self.say(&logs, &reason);
                self.failures = if missing { 0 } else { self.failures.saturating_add(1) };
                let mut standing = lock(&self.source.state);
                standing.state = if missing { SourceState::Waiting } else { SourceState::Failing };
                standing.reason = Some(reason);
                drop(standing);
                // Wait where it will appear, if that place is there.
                let parent = logs.ancestors().skip(1).find(|folder| folder.is_dir());
                drop(self.alarm.watch(&parent.map(Path::to_owned).into_iter().collect::<Vec<_>>()));
                return missing && self.live.is_empty();
            }
        };
        self.unsay(&logs);
        self.failures = 0;
        if let Err(error) = self.alarm.watch(&listing.folders) {
            self.say(&logs, &error.to_string());
        }
        for (path, why) in &listing.passed_over {
            self.say(path, why);
        }
        self.barred = listing.barred.as_ref().map(|path| {
            let hint = "`dnsledger doctor`, run as root, says how to let the daemon read it";
            format!("{}: permission denied; {hint}", shown(path))
        });
        let mut listing = listing;
        let is_empty = listing.live.is_empty() && listing.archives.is_empty();
        if listing.is_streaming && self.has_plain {
            // The plain log is away for a moment, between a rotation and its next record.
            listing.live.clear();
            listing.archives.clear();
        } else if !is_empty && !listing.is_streaming {
            self.keep_plain();
        }
        self.live_paths = listing.live.into_iter().map(|found| found.path).collect();
        // What was put off and has gone since is met under its other name.
        self.put_off.retain(|path, _| self.live_paths.contains(path));
        self.queue_archives(listing.archives)
    }

    /// Remembers, for later runs too, that this source has plain logs: a JSON streaming log in it is never read.
    fn keep_plain(&mut self) {
        if !std::mem::replace(&mut self.has_plain, true) {
            let hint = (self.source.hint_key(b"plain"), Vec::new());
            // Lost, it is found out again as soon as a plain log is there.
            drop(self.shared.ledger().store().cache(&[hint], &[]));
        }
    }

    /// Queues the archives that were not met as they are now.
    fn queue_archives(&mut self, archives: Vec<Found>) -> bool {
        let now = Instant::now();
        let wall = i128::from(now_ms()) * 1_000_000;
        let mut nothing_left = true;
        let mut new = Vec::new();
        let mut grown = Vec::new();
        {
            let mut standing = lock(&self.source.state);
            standing.unsettled = false;
            if standing.met.len() > archives.len() {
                self.forget_gone(&mut standing, &archives);
            }
            for found in archives {
                let stamp = found.stamp;
                let met = standing.met.get(&found.path).copied();
                if met == Some(stamp) || stamp.modified < self.cut {
                    continue;
                }
                if self.live.iter().any(|live| live.file.identity() == (stamp.device, stamp.inode)) {
                    continue; // the rotated name of a log that is still followed
                }
                let put_off =
                    standing.troubled.get(&found.path).or_else(|| standing.shadowed.get(&found.path));
                if put_off.is_some_and(|until| *until > now) {
                    continue;
                }
                standing.shadowed.remove(&found.path);
                // A plain file that goes on growing under its rotated name is followed like a live one.
                if met.is_some_and(|met| {
                    (met.device, met.inode) == (stamp.device, stamp.inode) && met.size < stamp.size
                }) && !packed(&found.path)
                {
                    grown.push(found.path);
                    continue;
                }
                let age = wall - stamp.modified;
                if age.unsigned_abs() < self.shared.config.settling.as_nanos() && packed(&found.path) {
                    nothing_left = false; // still being written, perhaps: look again soon
                    continue;
                }
                standing.met.insert(found.path.clone(), stamp);
                standing.pending += 1;
                standing.pace.begin();
                standing.backfill.files_total += 1;
                standing.backfill.bytes_total += stamp.size;
                new.push(Job { source: self.at, found });
            }
        }
        self.live_paths.extend(grown);
        if !new.is_empty() {
            lock(&self.shared.archives).extend(new);
            self.shared.archives_changed.notify_all();
        }
        nothing_left
    }

    /// Forgets archives that are no more.
    fn forget_gone(&self, standing: &mut Standing, archives: &[Found]) {
        let there: HashSet<&Path> = archives.iter().map(|found| found.path.as_path()).collect();
        let mut drops = Vec::new();
        standing.met.retain(|path, stamp| {
            let keep = there.contains(path.as_path());
            if !keep {
                drops.push(self.source.met_hint(path, stamp).0);
            }
            keep
        });
        drop(self.shared.ledger().store().cache(&[], &drops)); // hints that stay do no harm
    }

    /// Opens what is new at the paths of live logs.
    fn open_live(&mut self) {
        let paths = std::mem::take(&mut self.live_paths);
        for path in &paths {
            if self.put_off.get(path).is_some_and(|until| *until > Instant::now()) {
                continue;
            }
            self.put_off.remove(path);
            let Ok(metadata) = fs::metadata(path) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            if !metadata.is_file() || self.live.iter().any(|live| live.file.identity() == identity) {
                continue;
            }
            let opened = Followed::open(path);
            match opened {
                Ok(file) => match self.intake(path, None) {
                    Ok(intake) => {
                        self.unsay(path);
                        info!(path = shown(path), "Following.");
                        let last_change = Instant::now();
                        let (gone, superseded) = (false, false);
                        self.live.push(Live { file, intake, last_change, gone, superseded });
                    }
                    Err(error) => self.shared.fails(&error),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let hint = reading_hint(&error).unwrap_or("it is tried again");
                    let reason = format!("{error}; {hint}");
                    self.say(path, &reason);
                    let mut standing = lock(&self.source.state);
                    standing.state = SourceState::Failing;
                    standing.reason = Some(format!("{}: {reason}", shown(path)));
                    self.put_off.insert(path.clone(), Instant::now() + self.source.config.poll_interval);
                }
            }
        }
        self.live_paths = paths;
    }

    fn intake(&self, path: &Path, header: Option<&[u8]>) -> Result<Intake, StoreError> {
        let config = &self.source.config;
        Intake::new(&self.shared.context, path, &config.sensor, &config.zeek, true, header)
    }

    /// Reads all live logs as far as they go, a bounded part of each. Says whether there is more.
    fn read_live(&mut self) -> bool {
        let mut more = false;
        let mut at = 0;
        while at < self.live.len() {
            match self.read_one(at) {
                Turn::More => {
                    more = true;
                    at += 1;
                }
                Turn::End => at += 1,
                Turn::LetGo => {
                    self.live.swap_remove(at);
                }
                Turn::Gone => more = true, // the next turn meets its archive
            }
        }
        more
    }

    fn read_one(&mut self, at: usize) -> Turn {
        let Some(live) = self.live.get_mut(at) else { return Turn::End };
        for _ in 0..64 {
            let read = match live.file.read(&mut self.buffer) {
                Ok(read) => read,
                Err(error) => {
                    let path = live.file.path().to_owned();
                    let reason = format!("{error}; {}", reading_hint(&error).unwrap_or("it is tried again"));
                    self.put_off.insert(path.clone(), Instant::now() + RETRY);
                    self.say(&path, &reason);
                    return Turn::LetGo; // what was read of it is known, and it is met again
                }
            };
            match read {
                Read::Bytes(n) => {
                    let bytes = self.buffer.get(..n).unwrap_or_default();
                    if live.file.offset() == n as u64 && Packing::is_undecided(bytes) {
                        live.file.rewind();
                        return self.at_end(at);
                    }
                    if live.file.offset() == n as u64 && Packing::of(bytes) != Packing::Plain {
                        let path = live.file.path().to_owned();
                        self.put_off.insert(path.clone(), Instant::now() + RETRY);
                        self.say(&path, "it is compressed while Zeek writes it; its archive is read");
                        return Turn::LetGo;
                    }
                    live.last_change = Instant::now();
                    let mut fed = Ok(());
                    let intake = &mut live.intake;
                    let open = self.shared.ledger().add_live(|batch| fed = intake.feed(bytes, batch));
                    if open > OPEN_BATCH_BYTES {
                        self.shared.make_room(open);
                    }
                    match fed {
                        Ok(()) => {}
                        Err(halt) => {
                            if let Halt::Store(error) = halt {
                                self.shared.fails(&error);
                            }
                            let path = live.file.path().to_owned();
                            for older in self.live.iter_mut().filter(|older| older.file.path() == path) {
                                older.superseded |= older.gone;
                            }
                            self.put_off.insert(path, Instant::now() + Duration::from_millis(50));
                            return Turn::LetGo;
                        }
                    }
                    if self.shared.stop.is_stopped() {
                        return Turn::End;
                    }
                }
                Read::Replaced => {
                    let header = live.intake.header();
                    let path = live.file.path().to_owned();
                    info!(
                        path = shown(&path),
                        read = live.file.offset(),
                        "The log was truncated or rewritten in place."
                    );
                    match self.intake(&path, header.as_deref()) {
                        Ok(intake) => {
                            let Some(live) = self.live.get_mut(at) else { return Turn::End };
                            let old = std::mem::replace(&mut live.intake, intake);
                            self.shared.ledger().add_live(|batch| {
                                old.end(Ending::Exhausted, batch);
                            });
                            live.file.rewind();
                            lock(&self.source.state).shadowed.clear(); // a copy may hold what we did not see
                            live.last_change = Instant::now();
                            return Turn::More;
                        }
                        Err(error) => {
                            self.shared.fails(&error);
                            return Turn::LetGo;
                        }
                    }
                }
                Read::End => return self.at_end(at),
            }
        }
        Turn::More
    }

    /// A live log is read to its end: is it finished?
    fn at_end(&mut self, at: usize) -> Turn {
        let Some(live) = self.live.get_mut(at) else { return Turn::End };
        match live.file.is_at_its_path() {
            Ok(true) => {
                live.gone = false;
                return Turn::End;
            }
            Ok(false) => {}
            Err(_) => return Turn::End, // the file system does not say just now
        }
        if !std::mem::replace(&mut live.gone, true) {
            live.last_change = Instant::now();
            return Turn::More; // once more: it may have grown between the last read and the rename
        }
        let is_over = live.intake.is_closed() || live.superseded;
        if !is_over && live.last_change.elapsed() < self.shared.config.grace {
            return Turn::End;
        }
        info!(path = shown(live.file.path()), lines = live.intake.counted().lines(), "The log is finished.");
        let live = self.live.swap_remove(at);
        self.shared.ledger().add_live(|batch| {
            live.intake.end(Ending::Exhausted, batch);
        });
        lock(&self.source.state).shadowed.clear(); // its archive can be met, once this is committed
        self.shared.ring();
        Turn::Gone
    }

    /// Says how the source stands after a turn that began at the instant given.
    fn stand(&mut self, started_ms: u64, all_read: bool) {
        let lag = self
            .live
            .iter()
            .map(|live| live.file.size().map_or(0, |size| size.saturating_sub(live.file.offset())));
        let lag = lag.sum();
        // A log that is put off is visible and not read.
        let all_read = all_read && self.put_off.is_empty();
        let mut standing = lock(&self.source.state);
        standing.lag_bytes = lag;
        standing.caught_up = all_read && standing.pending == 0 && !standing.unsettled;
        if standing.caught_up {
            standing.as_of_ms = Some(started_ms);
        }
        if matches!(standing.state, SourceState::Waiting | SourceState::Failing)
            && (!self.put_off.is_empty()
                || self.said.iter().any(|(path, _)| *path == self.source.config.logs))
        {
            return;
        }
        standing.state = if standing.pending > 0 { SourceState::Backfilling } else { SourceState::Following };
        if standing.troubled.is_empty() {
            standing.reason.clone_from(&self.barred);
        }
        // After the first look one new archive, read at once, is nothing to tell.
        let since = (standing.pending > 0).then(|| self.reading_since.unwrap_or_else(Instant::now));
        let lasts = since.is_some_and(|since| since.elapsed() > TELL_PAUSE);
        let is_due = (lasts || !self.told_all) && self.told.is_none_or(|told| told.elapsed() > TELL_PAUSE);
        self.reading_since = since;
        if (standing.pending > 0 && is_due) || (standing.pending == 0 && self.told.is_some()) {
            let rated = self.shared.rated(self.at, &standing);
            self.told = (standing.pending > 0).then(Instant::now);
            self.told_all |= self.told.is_none();
            drop(standing);
            let seconds_left = rated.seconds_left.map(|left| left.round() as u64);
            info!(
                logs = shown(&self.source.config.logs),
                files = rated.files_done,
                files_total = rated.files_total,
                bytes = rated.bytes_done,
                bytes_total = rated.bytes_total,
                lines = rated.lines,
                lines_per_second = rated.lines_per_second.round() as u64,
                seconds_left,
                "{}",
                if self.told.is_some() { "Reading archives." } else { "All archives are read." }
            );
        }
    }
}

/// What came of reading a live log for a while.
enum Turn {
    /// There is more to read.
    More,
    /// Everything there is was read.
    End,
    /// It is not followed any more, and is to be dropped.
    LetGo,
    /// It is finished and was taken out of the list.
    Gone,
}

impl Shared {
    /// The open batch is large: commits it, and waits while it is so large that memory would not hold.
    fn make_room(&self, mut open: usize) {
        self.ring();
        let limit = usize::try_from(self.config.memory / 4).unwrap_or(usize::MAX);
        while open > limit && !self.stop.wait(Duration::from_millis(20)) {
            self.ring();
            open = self.ledger().add_live(|_| {});
        }
    }
}

/// Whether a file begins like a compressed one, or cannot be looked at, or may yet become one.
fn packed(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; 6];
    match fs::File::open(path).and_then(|mut file| file.read(&mut start)) {
        Ok(n) => {
            let start = start.get(..n).unwrap_or_default();
            Packing::is_undecided(start) || Packing::of(start) != Packing::Plain
        }
        Err(_) => true,
    }
}

//--- Stepped --------------------------------------------------------------------------------------------------------

/// The same daemon without threads or clock: tests say what happens next.
#[cfg(test)]
pub(super) struct Stepped {
    shared: Arc<Shared>,
    followers: Vec<Follower<'static>>,
}

#[cfg(test)]
impl Stepped {
    pub fn start(config: Config, ledger: &Arc<Ledger>) -> Stepped {
        let shared = Shared::new(config, ledger, Stop::new());
        // Followers borrow what they share; a test may leak it.
        let leaked: &'static Shared = Box::leak(Box::new(Arc::clone(&shared)));
        let followers = (0..shared.sources.len()).filter_map(|at| Follower::new(leaked, at)).collect();
        Stepped { shared, followers }
    }

    /// Each follower looks at everything once.
    pub fn turn(&mut self) {
        for follower in &mut self.followers {
            // The waiting is over.
            follower.put_off.values_mut().for_each(|until| *until = Instant::now());
            follower.turn(Wake::Changed);
        }
    }

    /// One archive is read and applied, if one is queued.
    pub fn read_archive(&mut self) {
        let Some(job) = lock(&self.shared.archives).pop_front() else { return };
        let apply = |batch: Batch| self.shared.apply(&batch);
        let Some(reading) = self.shared.readers.first() else { return };
        let mut reader = ArchiveReader::new(&self.shared, reading, &apply);
        reader.read(job).and_then(|()| reader.flush()).unwrap();
    }

    pub fn commit(&mut self) {
        self.try_commit().unwrap();
    }

    pub fn try_commit(&mut self) -> Result<(), StoreError> {
        let instants = self.shared.instants();
        self.shared.ledger().commit()?;
        self.shared.keep_as_of(&instants);
        Ok(())
    }

    pub fn has_unapplied(&self) -> bool {
        self.shared.ledger().has_unapplied()
    }

    /// Goes on until everything is read and committed.
    pub fn settle(&mut self) {
        for source in &self.shared.sources {
            lock(&source.state).shadowed.clear();
        }
        for _ in 0..1000 {
            self.turn();
            while !lock(&self.shared.archives).is_empty() {
                self.read_archive();
            }
            self.commit();
            let settled = self.shared.sources.iter().all(|source| lock(&source.state).caught_up);
            if settled && lock(&self.shared.archives).is_empty() {
                return;
            }
        }
        panic!("it never settles");
    }

    pub fn status(&self) -> Status {
        self.shared.status().unwrap()
    }
}
