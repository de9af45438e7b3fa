//! Archives: read by a few threads, in batches of their own that become visible when they are applied whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::warn;

use super::source::{Job, Verdict};
use super::{LONGEST_WRITE_PAUSE, LedgerUser, RETRY, STORE_RETRY, Shared};
use crate::base::fault::point;
use crate::base::priority;
use crate::ingest::worker::{ReadOutcome, Worker};
use crate::ingest::{ImportSummary, IngestError, shown};
use crate::status::UnreadKind;
use crate::store::Pair;
use crate::store::batch::Batch;
use crate::tail::discover::FoundFile;
use crate::tail::wake::Wake;

/// How long a backfill batch waits for more before it is applied.
const BULK_AGE: Duration = Duration::from_secs(2);

/// What one of the threads that read archives is at.
#[derive(Default)]
pub(super) struct Reading {
    /// The source of the archive.
    pub(super) source: Mutex<Option<usize>>,
    /// Bytes of it that were read from disk.
    pub(super) bytes: Arc<AtomicU64>,
    /// New lines in it so far.
    pub(super) lines: Arc<AtomicU64>,
}

/// Reads archives as they are queued, giving way to what is followed.
pub(super) fn read_archives(shared: &Shared, reading: &Reading) {
    priority::give_way_to_live();
    let apply = |batch: Batch| shared.apply_archives(&batch);
    let mut reader = ArchiveReader::new(shared, reading, &apply);
    let mut pause = STORE_RETRY;
    while !shared.stop.is_stopped() {
        let patience = if reader.worker.has_unapplied() { Duration::ZERO } else { Duration::from_secs(1) };
        let mut queue = shared.archives.lock();
        let nothing = |queue: &mut VecDeque<Job>| queue.is_empty() && !shared.stop.is_stopped();
        shared.archives_changed.wait_while_for(&mut queue, nothing, patience);
        let job = queue.pop_front();
        drop(queue);
        let is_job = job.is_some();
        let done = match job {
            Some(job) => reader.read(job),
            None => reader.flush(),
        };
        match done {
            Ok(()) => {
                // What was refused may be gone since.
                if is_job || shared.has_no_archives_left() {
                    shared.works(LedgerUser::Archives);
                }
                pause = STORE_RETRY;
            }
            // The logs are read again at the next start.
            Err(IngestError::Stopped) => return,
            Err(error) => {
                if let IngestError::Store(error) = &error {
                    shared.fails(LedgerUser::Archives, error);
                } else {
                    warn!(%error, "Archives cannot be read just now; it is tried again.");
                }
                shared.stop.wait(pause);
                pause = (pause * 2).min(LONGEST_WRITE_PAUSE);
            }
        }
    }
    drop(reader.flush());
}

/// Reads archives, one after the other, into batches.
pub(super) struct ArchiveReader<'a> {
    shared: &'a Shared,
    reading: &'a Reading,
    worker: Worker<'a>,
    /// Read, and not applied yet.
    read: Vec<Job>,
    /// When the batch was begun.
    since: Instant,
}

impl<'a> ArchiveReader<'a> {
    pub(super) fn new(
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
    pub(super) fn read(&mut self, mut job: Job) -> Result<(), IngestError> {
        let Some(source) = self.shared.sources.get(job.source) else { return Ok(()) };
        self.worker.summary = ImportSummary::default();
        *self.reading.source.lock() = Some(job.source);
        let met = self.worker.read_file(&job.found, Some(&source.config.sensor), &source.config.zeek);
        let summary = &self.worker.summary;
        let mut standing = source.state.lock();
        self.reading.rest();
        let met = match met {
            Ok(met) => met,
            // The next look through the source finds it again.
            Err(error) => {
                standing.unsettled = true;
                standing.forget(&job);
                drop(standing);
                self.give_back();
                return Err(error);
            }
        };
        standing.backfill.lines += summary.tally.lines();
        let path = &job.found.path;
        match met {
            ReadOutcome::Read => {
                let lineage = self.worker.lineage.take();
                job.verdict = self.worker.verdict.take().map(|(kind, reason)| {
                    let lineage = lineage.filter(|(_, complete)| !complete).map(|(lineage, _)| lineage);
                    Verdict { kind, reason, lineage }
                });
                if standing.judge(path, job.verdict.as_ref())
                    && let Some(Verdict { reason: why, .. }) = &job.verdict
                {
                    warn!(path = shown(path), reason = %why.escape_debug(), "An archive could not be read whole.");
                }
                if job.verdict.is_none() {
                    self.shared.keep_not_read(self.shared.config.not_read.was_read(path));
                }
                if let Some((lineage, true)) = lineage {
                    standing.completed(&lineage);
                }
                standing.backfill.bytes_done += job.found.stamp.size;
                self.read.push(job);
            }
            // A copy of what is followed: it can hold nothing new before that is finished.
            ReadOutcome::Busy { live: true } => {
                standing.shadowed.insert(job.found.path.clone(), Instant::now() + RETRY);
                standing.forget(&job);
            }
            // The next look through the source finds it again.
            ReadOutcome::Busy { live: false } => {
                standing.unsettled = true;
                standing.forget(&job);
            }
            ReadOutcome::Failed => {
                for (path, why) in &summary.failed {
                    standing.troubled.insert(path.clone(), Instant::now() + RETRY);
                    if standing.failed.put(path, UnreadKind::Unreadable, why) {
                        warn!(path = shown(path), reason = %why.escape_debug(), "An archive cannot be read; it is tried again.");
                    }
                }
                standing.forget(&job);
            }
        }
        drop(standing);
        if !self.worker.has_unapplied() || self.since.elapsed() > BULK_AGE {
            self.flush()?;
        }
        Ok(())
    }

    /// Applies what was read.
    pub(super) fn flush(&mut self) -> Result<(), IngestError> {
        if let Err(error) = self.worker.flush() {
            self.give_back();
            return Err(error);
        }
        self.since = Instant::now();
        self.shared.finish(&mut self.read);
        Ok(())
    }

    /// Gives back the archives that were read into a batch which is lost; one that still waits to be applied is not.
    fn give_back(&mut self) {
        if self.worker.has_unapplied() {
            return;
        }
        for job in self.read.drain(..) {
            if let Some(source) = self.shared.sources.get(job.source) {
                let mut standing = source.state.lock();
                standing.unsettled = true;
                standing.backfill.bytes_done -= job.found.stamp.size;
                standing.forget(&job);
            }
        }
    }
}

impl Reading {
    /// The archive is done with: what was read of it is the source's from now on.
    fn rest(&self) {
        let mut source = self.source.lock();
        *source = None;
        self.bytes.store(0, Ordering::Relaxed);
        self.lines.store(0, Ordering::Relaxed);
    }
}

impl Shared {
    /// Whether no archive is to be read, nor to be tried again.
    fn has_no_archives_left(&self) -> bool {
        self.sources
            .iter()
            .map(|source| source.state.lock())
            .all(|standing| standing.pending == 0 && !standing.unsettled)
    }

    /// Archives are read *and* applied: from now on they are passed over, also after a restart.
    fn finish(&self, done: &mut Vec<Job>) {
        let mut hints: Vec<Pair> = Vec::new();
        let mut drops = Vec::new();
        for job in &*done {
            let Some(source) = self.sources.get(job.source) else { continue };
            let FoundFile { path, stamp } = &job.found;
            hints.push(source.met_hint(path, stamp));
            match &job.verdict {
                Some(verdict) => hints.push(source.unread_hint(path, stamp, verdict)),
                None => drops.push(source.unread_key(path)),
            }
        }
        if !hints.is_empty() {
            point("hints_due");
            // A hint that is not kept costs a second look at the archive, no more.
            drop(self.context.store.cache(&hints, &drops));
            point("archives_done");
        }
        for job in done.drain(..) {
            let Some(source) = self.sources.get(job.source) else { continue };
            let mut standing = source.state.lock();
            standing.settled_one();
            standing.backfill.files_done += 1;
            standing.troubled.remove(&job.found.path);
            if standing.pending == 0 {
                drop(standing);
                // The follower says when everything is read.
                if let Some(wakeup) = &*source.wakeup.lock() {
                    let _ = wakeup.try_send(Wake::Poll); // full means that it is awake
                }
            }
        }
    }
}
