//! Following sources: live logs as they are written, history behind them.
//!
//! Events wake a follower; what it does then does not depend on them. At each turn it opens live logs that are new at
//! their paths, reads every followed file to its end, lets go of those that are finished, and now and then looks through
//! the whole source for archives it has not met. Archives are read by other threads: the live log never waits for them.
//!
//! [`follower`] is the one of a source, [`archives`] reads history, [`source`] is what both and status know of a source.

mod archives;
mod follower;
mod source;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::{info, warn};

#[cfg(test)]
use self::archives::ArchiveReader;
use self::archives::{Reading, read_archives};
#[cfg(test)]
use self::follower::Follower;
use self::follower::follow;
use self::source::{FollowedSource, Job, SourceProgress};
use super::import::apply_patiently;
use super::worker::{ReadOutcome, Worker};
use super::{Config, Context, ImportOptions, ImportSummary, IngestError, NotRead, SourceConfig, shown};
use crate::base::liveness::Liveness;
use crate::base::shutdown::Stop;
use crate::base::threads;
use crate::status::history::Pulse;
use crate::status::{BackfillStatus, FileStatus, Notices, SourceState, SourceStatus, Status, newest_past};
use crate::store::batch::Batch;
use crate::store::{StoreError, WriteStore};
use crate::tail::wake::Wake;

/// How long a source that failed, or a file in it, is left alone.
const RETRY: Duration = Duration::from_secs(10);
/// How long a log is left alone when the ledger could not be asked about it.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// The longest wait before a write that failed is tried again.
const LONGEST_WRITE_PAUSE: Duration = Duration::from_secs(2);
/// How long a thread may be at one step that is not a commit: a look through a source, a chunk of a log. Slow disks, and file
/// systems over a network, are waited for; nobody waits for ever.
const LONGEST_STEP: Duration = Duration::from_secs(300);
/// How long a commit may take: it waits for folds and for the disk.
const LONGEST_COMMIT: Duration = Duration::from_secs(900);
/// How often the instant that the ledger is true of is kept while nothing happens.
const AS_OF_PAUSE: Duration = Duration::from_secs(60);

/// How far live logs may be behind before an answer says so: lines that have just come are no news.
const LATE_MS: u64 = 2000;
/// Reasons that an answer has with it.
const MOST_REASONS: usize = 8;

//--- Ingest ---------------------------------------------------------------------------------------------------------

/// Everything that feeds a ledger while the daemon runs.
pub struct Ingest {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// State that the threads share.
struct Shared {
    context: Arc<Context>,
    config: Config,
    stop: Stop,
    sources: Vec<FollowedSource>,
    /// Archives to be read, and a wakeup for those who read them.
    archives: Mutex<VecDeque<Job>>,
    archives_changed: Condvar,
    /// Rung when what is staged is to be committed before its time.
    commit_now: (Mutex<bool>, Condvar),
    /// Why the ledger refuses to be written or asked, by who was refused last.
    failing: Mutex<BTreeMap<LedgerUser, String>>,
    /// The threads that read archives.
    readers: Vec<Arc<Reading>>,
    notices: Notices,
    /// Whether who commits gets on.
    committing: Liveness,
    /// As of when it was told last that everything was read, epoch milliseconds; 0 before.
    told_as_of: AtomicU64,
    /// The reasons told last why answers may be incomplete.
    told_incomplete: Mutex<Vec<String>>,
    told_malformed: Mutex<Option<String>>,
}

/// Who needs the ledger, as far as it is told when that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LedgerUser {
    /// The thread that commits what is read live.
    Commit,
    /// The threads that read archives.
    Archives,
    /// A client that sends a log.
    Import,
    /// The follower of a source.
    Follower(usize),
}

/// Starts following. Nothing that is missing or unreadable is an error here: it is waited for.
///
/// # Errors
///
/// When no thread can be started, or the ledger cannot be asked.
pub fn start(config: Config, store: Arc<dyn WriteStore>, stop: Stop) -> Result<Ingest, IngestError> {
    let shared = Shared::new(config, &store, stop)?;
    let mut running = Vec::new();
    let mut spawn = |name: &str, work: Box<dyn FnOnce(&Shared) + Send>| {
        let shared = Arc::clone(&shared);
        let thread = threads::spawn(name, move || work(&shared));
        thread.map(|handle| running.push(handle)).map_err(IngestError::Thread)
    };
    spawn("commit", Box::new(commit))?;
    for at in 0..shared.sources.len() {
        spawn("follow", Box::new(move |shared| follow(shared, at)))?;
    }
    for reading in shared.readers.iter().map(Arc::clone) {
        spawn("archives", Box::new(move |shared| read_archives(shared, &reading)))?;
    }
    Ok(Ingest { shared, threads: running })
}

impl Ingest {
    /// How far everything is, with each log.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be asked.
    pub fn status(&self) -> Result<Status, StoreError> {
        self.shared.status()
    }

    /// How far everything is, without the single logs: it takes no longer where there are many of them.
    pub fn overview(&self) -> Status {
        self.shared.overview()
    }

    /// Which of the threads that must get on does not: those that follow, and the one that commits. A ledger that cannot be
    /// written stops none of them, nor do archives.
    pub fn stuck(&self) -> Option<String> {
        let following = self.shared.sources.iter().map(|source| &source.following);
        following.chain([&self.shared.committing]).find_map(Liveness::is_stuck).map(str::to_owned)
    }

    /// Why the ledger cannot be written, if it cannot.
    pub fn failing(&self) -> Option<String> {
        self.shared.failing.lock().values().next().cloned()
    }

    /// Rings for a commit.
    #[cfg(test)]
    pub(super) fn wake(&self) {
        self.shared.wake();
    }

    /// How much was read and how far behind that is; cheap enough for every few seconds.
    pub fn pulse(&self) -> Pulse {
        let lines = self.shared.context.lines_read.load(Ordering::Relaxed);
        let lag_ms = self
            .shared
            .as_of_ms_at_once()
            .map(|as_of| self.shared.context.clock.now_ms().saturating_sub(as_of));
        Pulse { lines, lag_ms }
    }

    /// The instant by which every byte then visible had been read, epoch milliseconds; `None` before the first pass.
    ///
    /// It does not wait for who reads: while that changes, it is what was told last.
    pub fn as_of_ms(&self) -> Option<u64> {
        self.shared.as_of_ms_at_once()
    }

    /// Warnings for the operator; other parts may add theirs.
    pub fn notices(&self) -> &Notices {
        &self.shared.notices
    }

    /// Why answers may lack what the logs hold, in a sentence each. Cheap enough to be asked for each answer.
    ///
    /// It does not wait for who reads: while that changes, it is what was told last.
    pub fn incomplete(&self) -> Vec<String> {
        let told = || self.shared.told_incomplete.lock().clone();
        self.shared.incomplete(|source| source.state.try_lock()).unwrap_or_else(told)
    }

    /// The logs to read, and limits.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The sensors of the sources that are followed.
    pub fn sensors(&self) -> impl Iterator<Item = &str> {
        self.shared.sources.iter().map(|source| source.config.sensor.as_str())
    }

    /// Whether a source cannot be read at all, or its live log cannot.
    pub fn has_failing_source(&self) -> bool {
        let is_failing = |standing: MutexGuard<'_, SourceProgress>| standing.state == SourceState::Failing;
        self.shared.sources.iter().any(|source| source.state.try_lock().is_some_and(is_failing))
    }

    /// Reads one log that a client sends, and returns when it is applied.
    ///
    /// # Errors
    ///
    /// When the ledger refuses it, or the daemon is being stopped.
    pub fn import_stream<'a>(
        &self,
        name: &Path,
        how: impl Into<ImportOptions<'a>>,
        stream: Box<dyn io::Read + Send>,
    ) -> Result<ImportSummary, IngestError> {
        let shared = &self.shared;
        let apply = |batch: Batch| shared.apply_import(&batch);
        let mut worker = Worker::new(&shared.context, shared.batch_bytes(), &apply);
        let ImportOptions { sensor, replace } = how.into();
        worker.reads_cof = true;
        worker.replaces = replace;
        let zeek = Default::default();
        if let ReadOutcome::Busy { .. } = worker.read_stream(stream, name, sensor, &zeek)? {
            let why = "the daemon is reading this very log";
            worker.summary.passed_over.push((name.to_owned(), why.to_owned()));
        }
        worker.flush()?;
        let summary = std::mem::take(&mut worker.summary);
        shared.keep_not_read(shared.config.not_read.take(&[name.to_owned()], &summary.not_read()));
        Ok(summary)
    }

    /// Archives that imports could not read.
    pub fn not_read(&self) -> &NotRead {
        &self.shared.config.not_read
    }

    /// Commits what was read of live logs so far.
    ///
    /// # Errors
    ///
    /// When the store refuses; it is tried again soon.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.shared.context.claims.commit()
    }

    /// Waits until everything has stopped and all that was read is committed. The stop signal must have been given.
    ///
    /// # Errors
    ///
    /// When what was read last cannot be committed. It will be read again from the logs.
    pub fn join(self) -> Result<(), StoreError> {
        self.shared.wake();
        self.shared.archives_changed.notify_all();
        for source in &self.shared.sources {
            if let Some(wakeup) = &*source.wakeup.lock() {
                let _ = wakeup.try_send(Wake::Poll); // full means that it is awake
            }
        }
        for thread in self.threads {
            drop(thread.join()); // one that panics ends the process
        }
        let instants = self.shared.instants();
        self.shared.context.claims.commit()?;
        self.shared.keep_as_of(&instants);
        self.shared.context.store.flush()
    }
}

impl Shared {
    fn new(config: Config, store: &Arc<dyn WriteStore>, stop: Stop) -> Result<Arc<Shared>, StoreError> {
        let source = |source: &SourceConfig| FollowedSource {
            config: source.clone(),
            state: Mutex::default(),
            wakeup: Mutex::default(),
            following: Liveness::new(format!("follow {}", source.sensor), LONGEST_STEP),
        };
        let readers = (0..config.threads.max(1)).map(|_| Arc::default()).collect();
        Ok(Arc::new(Shared {
            context: Context::new(store, &config)?,
            sources: config.sources.iter().map(source).collect(),
            config,
            stop,
            archives: Mutex::default(),
            archives_changed: Condvar::new(),
            commit_now: Default::default(),
            failing: Mutex::default(),
            readers,
            committing: Liveness::new("commit", LONGEST_COMMIT),
            notices: Notices::default(),
            told_as_of: AtomicU64::new(0),
            told_incomplete: Mutex::default(),
            told_malformed: Mutex::default(),
        }))
    }

    fn store(&self) -> &dyn WriteStore {
        &*self.context.store
    }

    /// Bytes of one backfill batch: each reader has one, and one more is being applied.
    fn batch_bytes(&self) -> usize {
        usize::try_from(self.config.memory).unwrap_or(usize::MAX) / (2 * self.config.threads.max(1) + 2)
    }

    /// Rings for a commit.
    fn wake(&self) {
        *self.commit_now.0.lock() = true;
        self.commit_now.1.notify_all();
    }

    /// Applies a batch that a client sent. What cannot be applied for good is given back.
    fn apply_import(&self, batch: &Batch) -> Result<(), IngestError> {
        self.apply(LedgerUser::Import, batch, StoreError::can_pass)
    }

    /// Applies a batch of archives: whatever is wrong with the ledger, it is tried again until it works or all stops.
    fn apply_archives(&self, batch: &Batch) -> Result<(), IngestError> {
        self.apply(LedgerUser::Archives, batch, |_| true)
    }

    fn apply(
        &self,
        part: LedgerUser,
        batch: &Batch,
        again: impl Fn(&StoreError) -> bool,
    ) -> Result<(), IngestError> {
        let applied = apply_patiently(&self.context.claims, batch, &self.stop, &again, &|error| {
            self.fails(part, error);
        });
        match &applied {
            Ok(()) => self.works(part),
            Err(_) => {
                self.context.claims.abandon(batch);
                // A client that was told so is not waited for.
                if part == LedgerUser::Import {
                    self.failing.lock().remove(&part);
                }
            }
        }
        applied
    }

    /// Something could not be done with the ledger.
    fn fails(&self, part: LedgerUser, error: &StoreError) {
        let mut failing = self.failing.lock();
        let text = error.to_string();
        if !failing.values().any(|said| *said == text) {
            warn!(%error, hint = error.hint(), "The ledger cannot be written; lookups go on, and writing is tried again.");
        }
        failing.insert(part, text);
    }

    /// Whether the ledger refused it last.
    fn is_refused(&self, part: LedgerUser) -> bool {
        self.failing.lock().contains_key(&part)
    }

    /// Something was done with the ledger.
    fn works(&self, part: LedgerUser) {
        let mut failing = self.failing.lock();
        if failing.remove(&part).is_some() && failing.is_empty() {
            info!("The ledger can be written again.");
        }
    }

    fn status(&self) -> Result<Status, StoreError> {
        let mut status = self.overview();
        let (totals, now) = (self.context.claims.totals(), self.context.clock.now());
        for progress in self.context.claims.lineages()? {
            let source = totals.source_of(&progress.sensor, &progress.path);
            let at = source.unwrap_or_else(|| status.imported_from(&progress.sensor));
            if let Some(source) = status.sources.get_mut(at) {
                source.files.push(FileStatus::at(&progress, now));
            }
        }
        status.sort_files();
        Ok(status)
    }

    /// The status without the single logs.
    fn overview(&self) -> Status {
        let totals = self.context.claims.totals();
        let mut status = Status {
            newest: newest_past(|until| totals.newest(until), self.context.clock.now()),
            ..Status::default()
        };
        // It may have begun to fail since the last turn.
        status.caught_up = self.failing.lock().is_empty()
            && self.store().failing().is_none()
            && self.store().missing_logs() == 0;
        status.warnings = self.notices.all();
        status.warnings.extend(self.context.clock.fault());
        status.incomplete = self.incomplete(|source| Some(source.state.lock())).unwrap_or_default();
        for (at, source) in self.sources.iter().enumerate() {
            let standing = source.state.lock();
            let mut described = SourceStatus {
                logs: source.config.logs.clone(),
                sensor: source.config.sensor.clone(),
                state: standing.state,
                reason: standing.gravest(),
                lag_bytes: standing.lag_bytes,
                lag_seconds: standing
                    .as_of_ms
                    .map(|at| self.context.clock.now_ms().saturating_sub(at) as f64 / 1000.0),
                ..SourceStatus::default()
            };
            if standing.backfill.files_total > 0 {
                described.backfill = Some(self.rated(at, &standing));
            }
            described.add_unread(&standing.failed);
            described.add_unread(&standing.seen);
            status.caught_up &= standing.caught_up;
            status.sources.push(described);
        }
        status.as_of_ms = self.as_of_ms();
        // Each log belongs to the source it was seen in; what was imported stands apart.
        for ((source, sensor), sum) in totals.groups() {
            status.totals.merge(&sum.tally);
            let at = source.unwrap_or_else(|| status.imported_from(sensor));
            if let Some(source) = status.sources.get_mut(at) {
                source.totals.merge(&sum.tally);
                source.prefix_changed = source.prefix_changed.saturating_add(sum.prefix_changed);
            }
        }
        status
    }

    /// Says that it cannot be kept what was not read.
    fn keep_not_read(&self, kept: io::Result<()>) {
        if let Err(error) = kept {
            tracing::warn!(%error, "It cannot be kept which archives were not read.");
        }
    }

    /// Why answers may lack what the logs hold; nothing where how a source stands cannot be had.
    fn incomplete<'a>(
        &'a self,
        stands: impl Fn(&'a FollowedSource) -> Option<MutexGuard<'a, SourceProgress>>,
    ) -> Option<Vec<String>> {
        let mut reasons = Vec::new();
        if let Some(why) = self.failing.lock().values().next() {
            reasons.push(format!("The ledger cannot be written: {why}."));
        } else if let Some(why) = self.store().failing() {
            reasons.push(format!("The ledger cannot be written: {why}."));
        }
        let missing = self.store().missing_logs();
        if missing > 0 {
            reasons.push(format!(
                "Rows of {missing} logs are missing that were there: the ledger was damaged, and what it lost is not read again so \
                 far; `dnsledger verify` names it."
            ));
        }
        reasons.extend(self.config.not_read.in_words());
        // Nobody waits for who reads: then it is what was told last.
        let mut malformed = self.told_malformed.lock();
        if let Some(now) = self.context.claims.malformed_in_words(self.context.clock.now()) {
            *malformed = now;
        }
        reasons.extend(malformed.clone());
        drop(malformed);
        let now_ms = self.context.clock.now_ms();
        for (at, source) in self.sources.iter().enumerate() {
            let standing = stands(source)?;
            if standing.caught_up && standing.reason.is_none() {
                continue;
            }
            let (logs, before) = (shown(&source.config.logs), reasons.len());
            if let Some(why) = &standing.reason {
                reasons.push(format!("{logs} is not read: {why}."));
            }
            if standing.pending > 0 {
                let BackfillStatus { files_done, files_total, seconds_left, .. } = self.rated(at, &standing);
                let left = seconds_left.filter(|left| *left >= 1.0);
                let left = left.map(|left| format!(", about {left:.0} s left")).unwrap_or_default();
                reasons.push(format!(
                    "The archives in {logs} are still being read: {files_done} of {files_total}{left}."
                ));
            }
            if standing.misses_files() {
                let mut counts = standing.seen.counts();
                counts.merge(&standing.failed.counts());
                let first = standing.failed.gravest().or_else(|| standing.seen.gravest());
                let first = first.map(|one| format!(", {}: {}", shown(&one.path), one.reason));
                let (n, first) = (counts.may_hold_records(), first.unwrap_or_default());
                reasons.push(format!("Not read in {logs}: {n} files or folders{first}."));
            }
            // Where nothing is left to be read, what is wrong is said elsewhere.
            if reasons.len() == before && !standing.settled {
                match standing.as_of_ms {
                    None => reasons.push(format!("{logs} is not looked through yet.")),
                    Some(as_of) if now_ms.saturating_sub(as_of) > LATE_MS => {
                        let bytes = standing.lag_bytes;
                        reasons.push(format!(
                            "The logs in {logs} are not read to their end: {bytes} bytes are left."
                        ));
                    }
                    Some(_) => {} // lines that have just come
                }
            }
        }
        let more = reasons.len().saturating_sub(MOST_REASONS);
        reasons.truncate(MOST_REASONS);
        if more > 0 {
            reasons.push(format!("{more} more reasons are in the status."));
        }
        self.told_incomplete.lock().clone_from(&reasons);
        Some(reasons)
    }

    /// The instant by which every source had read everything visible.
    fn as_of_ms(&self) -> Option<u64> {
        if self.lacks_rows() { None } else { earliest(self.instants()) }
    }

    /// Whether rows are missing that were there: then there is no instant that the ledger is true of.
    fn lacks_rows(&self) -> bool {
        self.store().missing_logs() > 0
    }

    /// Likewise, for who must not wait: as it was when it could last be told, while somebody changes it.
    fn as_of_ms_at_once(&self) -> Option<u64> {
        if self.lacks_rows() {
            return None;
        }
        let instants =
            self.sources.iter().map(|source| source.state.try_lock().map(|source| source.as_of_ms));
        match instants.collect::<Option<Vec<_>>>() {
            Some(instants) => {
                let as_of = earliest(instants);
                self.told_as_of.store(as_of.unwrap_or(0), Ordering::Relaxed);
                as_of
            }
            None => Some(self.told_as_of.load(Ordering::Relaxed)).filter(|as_of| *as_of > 0),
        }
    }

    /// How the reading of a source's archives stands, with its rate and what is being read just now.
    fn rated(&self, at: usize, standing: &SourceProgress) -> BackfillStatus {
        let mut rated = standing.backfill;
        for reading in &self.readers {
            // The lock holds the figures and what they belong to together.
            let source = reading.source.lock();
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
        let (mut hints, now_ms) = (Vec::new(), self.context.clock.now_ms());
        for (source, as_of) in self.sources.iter().zip(instants) {
            let mut standing = source.state.lock();
            // One that is ahead of the clock was kept while the clock was.
            let is_news =
                |as_of: &u64| standing.kept_as_of_ms.is_none_or(|kept| kept < *as_of || kept > now_ms);
            if let Some(as_of) = as_of.filter(is_news) {
                standing.kept_as_of_ms = Some(as_of);
                hints.push((source.hint_key(b"as_of"), as_of.to_be_bytes().to_vec()));
            }
        }
        // Without it the next run knows less of what it has missed, and counts all the same.
        if !hints.is_empty() {
            drop(self.store().cache(&hints, &[]));
        }
    }

    /// As of when each source stands.
    fn instants(&self) -> Vec<Option<u64>> {
        self.sources.iter().map(|source| source.state.lock().as_of_ms).collect()
    }
}

/// The earliest of several instants; none where one of them is not known.
fn earliest(instants: Vec<Option<u64>>) -> Option<u64> {
    instants.into_iter().reduce(|a, b| a.zip(b).map(|(a, b)| a.min(b))).flatten()
}

//--- commit ---------------------------------------------------------------------------------------------------------

/// Commits what is staged every interval, and when it is asked to.
fn commit(shared: &Shared) {
    let (is_woken, wakeup) = &shared.commit_now;
    let mut failures = 0;
    let mut kept = Instant::now();
    while !shared.stop.is_stopped() {
        shared.committing.steps(LONGEST_STEP + shared.config.commit_interval);
        if failures > 0 {
            // Who rings does not make it work: that is waited for.
            let pause = Duration::from_millis(125) * (1 << failures.min(5));
            shared.stop.wait(pause.min(LONGEST_WRITE_PAUSE));
        } else {
            let mut guard = is_woken.lock();
            let interval = shared.config.commit_interval;
            wakeup.wait_while_for(&mut guard, |is_woken| !*is_woken, interval);
        }
        *is_woken.lock() = false;
        shared.committing.steps(LONGEST_COMMIT);
        let (instants, is_due) = (shared.instants(), shared.store().staged_bytes() > 0);
        match shared.context.claims.commit() {
            Ok(()) => {
                failures = 0;
                if is_due {
                    shared.works(LedgerUser::Commit);
                }
                // Where nothing is written to the logs the disk is left alone for a while.
                if is_due || kept.elapsed() > AS_OF_PAUSE {
                    shared.keep_as_of(&instants);
                    kept = Instant::now();
                }
            }
            Err(error) => {
                shared.fails(LedgerUser::Commit, &error);
                failures += 1;
            }
        }
    }
    shared.committing.ends();
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
    pub fn start(config: Config, store: &Arc<dyn WriteStore>) -> Stepped {
        let shared = Shared::new(config, store, Stop::new()).unwrap();
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
            follower.not_before = Instant::now();
            follower.turn(Wake::Changed);
        }
    }

    /// Makes everything due that was put off.
    pub fn forget_pauses(&mut self) {
        for follower in &mut self.followers {
            follower.no_logs.values_mut().for_each(|no_log| no_log.until = Instant::now());
        }
    }

    /// One archive is read and applied, if one is queued. Where the ledger refuses, it is given back at once.
    pub fn read_archive(&mut self) {
        let Some(job) = self.shared.archives.lock().pop_front() else { return };
        let apply = |batch: Batch| {
            let claims = &self.shared.context.claims;
            claims.apply(&batch).inspect_err(|_| claims.abandon(&batch)).map_err(IngestError::from)
        };
        let Some(reading) = self.shared.readers.first() else { return };
        let mut reader = ArchiveReader::new(&self.shared, reading, &apply);
        drop(reader.read(job).and_then(|()| reader.flush()));
    }

    pub fn commit(&mut self) {
        self.try_commit().unwrap();
    }

    pub fn try_commit(&mut self) -> Result<(), StoreError> {
        let instants = self.shared.instants();
        self.shared.context.claims.commit()?;
        self.shared.keep_as_of(&instants);
        Ok(())
    }

    pub fn has_uncommitted(&self) -> bool {
        self.shared.store().staged_bytes() > 0
    }

    /// Goes on until everything is read and committed.
    pub fn settle(&mut self) {
        for source in &self.shared.sources {
            source.state.lock().shadowed.clear();
        }
        for _ in 0..1000 {
            self.turn();
            while !self.shared.archives.lock().is_empty() {
                self.read_archive();
            }
            self.commit();
            let settled = self.shared.sources.iter().all(|source| source.state.lock().settled);
            if settled && self.shared.archives.lock().is_empty() {
                return;
            }
        }
        panic!("it never settles");
    }

    /// From now on each follower holds so many logs open.
    pub fn limit_open(&mut self, most: usize) {
        self.followers.iter_mut().for_each(|follower| follower.max_open = most);
    }

    /// How many logs are held open.
    pub fn open_logs(&self) -> usize {
        self.followers.iter().map(|follower| follower.live.len()).sum()
    }

    pub fn status(&self) -> Status {
        self.shared.status().unwrap()
    }
}
