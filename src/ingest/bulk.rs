//! Whole files into batches of their own: imports, and the history behind a live log.
//!
//! Each worker reads one file at a time into its own batch and hands it on when it is full; large files are inflated by
//! a second thread. A file whose lineage another reader has is put off until that one is done and applied.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dump::Dump;
use super::intake::{Ending, Halt, Intake};
use super::{Config, Context, DEFAULT_SENSOR, How, ImportProgress, IngestError, Summary, reading_hint};
use super::{cof, dump, twins};
use crate::ledger::Ledger;
use crate::merge::Batch;
use crate::progress::Progress;
use crate::shutdown::Stop;
use crate::store::StoreError;
use crate::tail::decode::{Decoder, End, Packing, gzip_length};
use crate::tail::discover::{Found, Listing, Stamp, discover};
use crate::tail::open::open;
use crate::tally::Tally;
use crate::threads;
use crate::zeek;

/// Bytes of a log that are parsed at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Files larger than this are read and inflated by a thread of their own.
const AHEAD_BYTES: u64 = 512 << 10;

//--- Chunks ---------------------------------------------------------------------------------------------------------

/// The bytes of a log, some at a time.
pub(super) enum Chunks {
    /// Read where they are wanted.
    Here(Decoder, Vec<u8>),
    /// Read ahead by another thread. It ends when this is dropped.
    Ahead { filled: Receiver<io::Result<Chunk>>, emptied: SyncSender<Vec<u8>>, current: Vec<u8> },
}

/// Some bytes, and how the log ended after them, if it did.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    end: Option<End>,
}

impl Chunks {
    fn new(decoder: Decoder, ahead: bool) -> Chunks {
        if !ahead {
            return Chunks::Here(decoder, Vec::new());
        }
        let (filled_to, filled) = sync_channel::<io::Result<Chunk>>(3);
        let (emptied, emptied_from) = sync_channel::<Vec<u8>>(4);
        let read_ahead = move || {
            let mut decoder = decoder;
            loop {
                let mut bytes = emptied_from.try_recv().unwrap_or_default();
                let chunk = fill(&mut decoder, &mut bytes).map(|end| Chunk { bytes, end });
                let last = !matches!(&chunk, Ok(Chunk { end: None, .. }));
                if filled_to.send(chunk).is_err() || last {
                    return;
                }
            }
        };
        // Where no thread can be started the channel closes, and the next read says so.
        drop(threads::spawn("inflate", read_ahead));
        Chunks::Ahead { filled, emptied, current: Vec::new() }
    }

    /// The next bytes, and how the log ended after them, if it did.
    pub fn next(&mut self) -> io::Result<(&[u8], Option<End>)> {
        match self {
            Chunks::Here(decoder, bytes) => {
                let end = fill(decoder, bytes)?;
                Ok((bytes, end))
            }
            Chunks::Ahead { filled, emptied, current } => {
                // A full channel means enough buffers are on their way back already.
                drop(emptied.try_send(std::mem::take(current)));
                let chunk = filled.recv().map_err(|_| io::Error::other("the reading thread ended"))??;
                *current = chunk.bytes;
                Ok((current, chunk.end))
            }
        }
    }
}

/// Fills a buffer as far as the log goes.
fn fill(decoder: &mut Decoder, bytes: &mut Vec<u8>) -> io::Result<Option<End>> {
    bytes.resize(CHUNK_BYTES, 0);
    let (filled, end) = decoder.fill(bytes)?;
    bytes.truncate(filled);
    Ok(end)
}

/// A file that counts the bytes read from it.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

//--- Worker ---------------------------------------------------------------------------------------------------------

/// Reads files into a batch of its own.
pub(super) struct Worker<'a> {
    pub(super) context: Arc<Context>,
    pub(super) batch: Batch,
    /// Bytes of memory at which the batch is handed on.
    pub(super) batch_bytes: usize,
    /// Whether files of COF are read too.
    pub reads_cof: bool,
    /// What files are, if they are dumps of a database.
    pub dump: Option<Dump>,
    /// Whether one takes the place of what was imported of its origin before.
    pub replaces: bool,
    /// Takes a full batch and applies it, in the order in which it gets them.
    apply: &'a dyn Fn(Batch) -> Result<(), IngestError>,
    /// Bytes read from disk.
    pub bytes_read: Arc<AtomicU64>,
    /// New lines so far.
    pub lines: Arc<AtomicU64>,
    pub summary: Summary,
}

/// How a file was met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// As far as it goes.
    Read,
    /// Another reader has its lineage: try again later.
    Busy {
        /// That reader follows it live.
        live: bool,
    },
    /// It could not be read; the summary says why.
    Failed,
}

impl<'a> Worker<'a> {
    pub fn new(
        context: &Arc<Context>,
        batch_bytes: usize,
        apply: &'a dyn Fn(Batch) -> Result<(), IngestError>,
    ) -> Worker<'a> {
        Worker {
            context: Arc::clone(context),
            batch: Batch::default(),
            batch_bytes,
            reads_cof: false,
            dump: None,
            replaces: false,
            apply,
            bytes_read: Arc::default(),
            lines: Arc::default(),
            summary: Summary::default(),
        }
    }

    /// Whether something waits to be applied.
    pub fn has_unapplied(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Applies what was read.
    pub fn flush(&mut self) -> Result<(), IngestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        (self.apply)(std::mem::take(&mut self.batch))
    }

    /// Reads a file. What it says is in the batch or applied when this returns.
    pub fn read_file(
        &mut self,
        found: &Found,
        sensor: Option<&str>,
        zeek: &zeek::Options,
    ) -> Result<Met, IngestError> {
        let size = found.stamp.size;
        let bytes = Arc::clone(&self.bytes_read);
        let before = bytes.load(Ordering::Relaxed);
        let opened = open(&found.path)
            .and_then(|(file, _)| self.decoder(Box::new(Counted { inner: file, bytes: Arc::clone(&bytes) })));
        let met = match opened {
            Ok(decoder) => self.read(decoder, &found.path, Some(size), sensor, zeek)?,
            Err(error) => self.fail(&found.path, &error),
        };
        let busy = matches!(met, Met::Busy { .. });
        if !busy {
            self.summary.files += 1;
            self.summary.bytes += size;
        }
        // What was passed over is done, too; what another thread still reads ahead is not counted twice.
        bytes.store(before + if busy { 0 } else { size }, Ordering::Relaxed);
        Ok(met)
    }

    /// Reads a stream that is no file.
    pub fn read_stream(
        &mut self,
        stream: Box<dyn Read + Send>,
        name: &Path,
        sensor: Option<&str>,
        zeek: &zeek::Options,
    ) -> Result<Met, IngestError> {
        let met = match self.decoder(stream) {
            Ok(decoder) => self.read(decoder, name, None, sensor, zeek)?,
            Err(error) => self.fail(name, &error),
        };
        self.summary.files += u64::from(!matches!(met, Met::Busy { .. }));
        Ok(met)
    }

    /// What is read of a stream: itself, or of a dump its rows.
    fn decoder(&self, stream: Box<dyn Read + Send>) -> io::Result<Decoder> {
        let decoder = Decoder::new(stream)?;
        match &self.dump {
            Some(dump) => Decoder::new(Box::new(dump.lines(decoder))),
            None => Ok(decoder),
        }
    }

    pub(super) fn fail(&mut self, path: &Path, error: &io::Error) -> Met {
        let hint = reading_hint(error).map_or_else(String::new, |hint| format!("; try: {hint}"));
        self.refuse(path, &format!("{error}{hint}"))
    }

    pub(super) fn refuse(&mut self, path: &Path, why: &str) -> Met {
        self.summary.failed.push((path.to_owned(), why.to_owned()));
        Met::Failed
    }

    /// Reads a log to its end. `size` is that of the file on disk, if it is one.
    fn read(
        &mut self,
        decoder: Decoder,
        path: &Path,
        size: Option<u64>,
        sensor: Option<&str>,
        zeek: &zeek::Options,
    ) -> Result<Met, IngestError> {
        let packing = decoder.packing();
        if let Packing::Unsupported(ending) = packing {
            self.summary.passed_over.push((path.to_owned(), Packing::refusal(ending)));
            return Ok(Met::Read);
        }
        let length_fits = |progress: &Progress| match (packing, size) {
            (Packing::Plain, Some(size)) => size == progress.consumed.offset,
            // The length at the end of a gzip file is that of its last member: it proves something only of the very
            // archive that was read whole before.
            (Packing::Gzip, Some(size)) => {
                progress.archive_bytes == size
                    && matches!(gzip_length(path), Ok(Some(length)) if length == progress.consumed.offset as u32)
            }
            (Packing::Zstd, Some(size)) => progress.archive_bytes == size,
            _ => false,
        };
        let mut chunks = Chunks::new(decoder, size.is_none_or(|size| size > AHEAD_BYTES));
        let mut begun = None;
        if self.reads_cof {
            let (bytes, end) = match chunks.next() {
                Ok((bytes, end)) => (bytes.to_vec(), end),
                Err(error) => return Ok(self.fail(path, &error)),
            };
            if cof::is_cof(&bytes) {
                return self.read_cof(&bytes, end, chunks, path, sensor);
            }
            if let Some(why) = dump::looks_like(&bytes) {
                return Ok(self.refuse(path, why));
            }
            begun = Some((bytes, end));
        }
        let sensor = sensor.unwrap_or(DEFAULT_SENSOR);
        let mut intake = Intake::new(&self.context, path, sensor, zeek, false, None)?;
        let (mut first, mut counted, mut is_empty) = (true, 0, true);
        let end = loop {
            let next = match &mut begun {
                Some((bytes, end)) if first => Ok((bytes.as_slice(), end.take())),
                _ => chunks.next(),
            };
            let (bytes, end) = match next {
                Ok(next) => next,
                Err(error) => {
                    self.summary.tally.merge(&intake.end(Ending::Exhausted, &mut self.batch));
                    return Ok(self.fail(path, &error));
                }
            };
            is_empty &= bytes.is_empty();
            match intake.feed(bytes, &mut self.batch) {
                Ok(()) => {}
                Err(Halt::Busy { live }) => {
                    // What came before the lineage that is busy stands; it will be known at the next try.
                    self.summary.tally.merge(intake.counted());
                    return Ok(Met::Busy { live });
                }
                Err(Halt::Store(error)) => return Err(error.into()),
            }
            let lines = intake.counted().lines();
            self.lines.fetch_add(lines - counted, Ordering::Relaxed);
            counted = lines;
            if std::mem::take(&mut first) && intake.is_passed_over(length_fits) {
                self.summary.already += 1;
                return Ok(Met::Read);
            }
            if self.batch.bytes() > self.batch_bytes {
                self.flush()?;
            }
            if let Some(end) = end {
                break end;
            }
        };
        let ending = match (&end, packing) {
            (End::Whole, Packing::Gzip | Packing::Zstd) => {
                intake.set_archive_bytes(size.unwrap_or_default());
                Ending::Sound
            }
            _ => Ending::Exhausted,
        };
        let is_no_log = !is_empty && intake.is_no_log();
        let tally = intake.end(ending, &mut self.batch);
        self.summary.tally.merge(&tally);
        match end {
            End::Whole if is_no_log => {
                self.summary
                    .passed_over
                    .push((path.to_owned(), "not one whole line of a log in it".to_owned()));
            }
            End::Whole => self.summary.already += u64::from(tally == Tally::default()),
            End::CutShort => self.incomplete(path, "the archive ends too early"),
            End::Corrupt(why) => self.incomplete(path, &why),
        }
        Ok(Met::Read)
    }

    pub(super) fn incomplete(&mut self, path: &Path, why: &str) {
        self.summary.incomplete.push((path.to_owned(), why.to_owned()));
    }
}

impl Drop for Worker<'_> {
    /// What was read and is never applied can be read by others.
    fn drop(&mut self) {
        self.context.ledger.abandon(&self.batch);
    }
}

//--- import ---------------------------------------------------------------------------------------------------------

/// The files that an import of these paths reads, in this order: of a folder its logs, of a pattern its matches.
///
/// # Errors
///
/// When a path that was named cannot be looked at.
pub fn files_under(paths: &[PathBuf]) -> Result<Vec<PathBuf>, IngestError> {
    Ok(list(paths)?.0.into_iter().map(|found| found.path).collect())
}

/// The files to read, oldest first; in the summary what is passed over.
fn list(paths: &[PathBuf]) -> Result<(Vec<Found>, Summary), IngestError> {
    let (mut all, mut summary) = (Vec::new(), Summary::default());
    for path in paths {
        if path.as_os_str() == "-" {
            let stamp = Stamp { device: 0, inode: 0, size: 0, modified: 0 };
            all.push(Found { path: path.clone(), stamp });
            continue;
        }
        let listing = discover(path).map_err(|error| IngestError::Path { path: path.clone(), error })?;
        let Listing { live, archives, streaming, streaming_archives, passed_over: over, .. } = listing;
        let plain: Vec<Found> = archives.into_iter().chain(live).collect();
        let zeek = Default::default();
        for found in streaming_archives.into_iter().chain(streaming) {
            if twins::covered_by(&plain, &zeek, &found.path) {
                summary.passed_over.push((found.path, twins::PASSED_OVER.to_owned()));
            } else {
                all.push(found);
            }
        }
        all.extend(plain);
        summary.passed_over.extend(over);
    }
    Ok((all, summary))
}

/// Reads logs once: files, folders, patterns, and `-` for standard input. What was read before is passed over. A file of
/// COF is merged under a sensor of its own: see [`super::cof`]. Without a name of a sensor, logs have the default one. With a
/// `dump` the files are dumps of a database: see [`super::dump`].
///
/// `on_progress` is called now and then from one of the reading threads.
///
/// # Errors
///
/// When the ledger refuses, or a path that was named is not there. Single files that cannot be read are in the summary.
pub fn import<'a>(
    ledger: &Arc<Ledger>,
    config: &Config,
    how: impl Into<How<'a>>,
    dump: Option<&Dump>,
    paths: &[PathBuf],
    on_progress: &(dyn Fn(&ImportProgress) + Sync),
    stop: &Stop,
) -> Result<Summary, IngestError> {
    let (how, context) = (how.into(), Context::new(ledger, config));
    let (files, summary) = list(paths)?;
    let total = ImportProgress {
        files_total: files.len() as u64,
        bytes_total: files.iter().map(|found| found.stamp.size).sum(),
        ..ImportProgress::default()
    };
    let workers = config.threads.clamp(1, files.len().max(1));
    // Batches in memory at one time: one for each worker, one that waits, one that is applied (and sorted, as much again).
    let batch_bytes = usize::try_from(config.memory).unwrap_or(usize::MAX) / (workers + 3);
    let queue: Mutex<VecDeque<Found>> = Mutex::new(files.into());
    let zeek = config.sources.first().map(|source| source.zeek.clone()).unwrap_or_default();
    let done = Mutex::new(summary);
    let (to_writer, batches) = sync_channel::<Batch>(1);
    // Each worker's figures, so that progress can be told while they work: bytes read, new lines.
    let counters: Vec<(Arc<AtomicU64>, Arc<AtomicU64>)> = (0..workers).map(|_| Default::default()).collect();
    let failed: Mutex<Option<IngestError>> = Mutex::default();
    let fail = |error: IngestError| {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    std::thread::scope(|scope| {
        let writer = || {
            for batch in batches {
                if let Err(error) = ledger.apply_bulk(&batch) {
                    fail(error.into());
                    return; // the channel closes, and the workers stop
                }
            }
        };
        spawn(scope, "writer", writer).map_err(IngestError::Thread)?;
        for (bytes_read, lines) in &counters {
            let (context, to_writer) = (&context, to_writer.clone());
            let (queue, done, fail, zeek, total, counters) = (&queue, &done, &fail, &zeek, &total, &counters);
            let work = move || {
                // The writer ends only after a failure, which it has noted.
                let apply = |batch| to_writer.send(batch).map_err(|_| IngestError::Stopped);
                let mut worker = Worker::new(context, batch_bytes, &apply);
                worker.bytes_read = Arc::clone(bytes_read);
                worker.lines = Arc::clone(lines);
                worker.reads_cof = true;
                worker.dump = dump.cloned();
                worker.replaces = how.replace;
                let mut each = |worker: &Worker<'_>| {
                    let mut progress = *total;
                    progress.files_done =
                        done.lock().unwrap_or_else(PoisonError::into_inner).files + worker.summary.files;
                    for (bytes, lines) in counters {
                        progress.bytes_done += bytes.load(Ordering::Relaxed);
                        progress.lines += lines.load(Ordering::Relaxed);
                    }
                    on_progress(&progress);
                };
                if let Err(error) = work_off(&mut worker, queue, how.sensor, zeek, stop, &mut each) {
                    fail(error);
                }
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .merge(std::mem::take(&mut worker.summary));
            };
            spawn(scope, "import", work).map_err(IngestError::Thread)?;
        }
        drop(to_writer);
        Ok::<(), IngestError>(())
    })?;
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    ledger.store().flush()?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn spawn<'scope, 'env, F>(
    scope: &'scope std::thread::Scope<'scope, 'env>,
    name: &str,
    work: F,
) -> io::Result<std::thread::ScopedJoinHandle<'scope, ()>>
where
    F: FnOnce() + Send + 'scope,
{
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, || threads::guarded(work))
}

/// Takes files from the queue until there is none, and then those that were busy.
fn work_off(
    worker: &mut Worker<'_>,
    queue: &Mutex<VecDeque<Found>>,
    sensor: Option<&str>,
    zeek: &zeek::Options,
    stop: &Stop,
    each: &mut dyn FnMut(&Worker<'_>),
) -> Result<(), IngestError> {
    let mut busy = Vec::new();
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(found) = next() {
        if stop.is_stopped() {
            break;
        }
        if found.path.as_os_str() == "-" {
            let name = Path::new("standard input");
            if let Met::Busy { .. } = worker.read_stream(Box::new(io::stdin()), name, sensor, zeek)? {
                worker.summary.failed.push((name.to_owned(), "another reader has this log".to_owned()));
            }
        } else if let Met::Busy { .. } = worker.read_file(&found, sensor, zeek)? {
            busy.push(found);
        }
        each(worker);
    }
    worker.flush()?;
    for found in busy {
        while !stop.is_stopped() && matches!(worker.read_file(&found, sensor, zeek)?, Met::Busy { .. }) {
            worker.flush()?;
            worker.wait_for_release();
        }
        each(worker);
    }
    worker.flush()?;
    if stop.is_stopped() { Err(IngestError::Stopped) } else { Ok(()) }
}

impl Worker<'_> {
    /// Waits until some lineage was given back, or a moment.
    fn wait_for_release(&self) {
        self.context.ledger.wait_for_release(Duration::from_millis(100));
    }
}

/// Applies a batch, again and again while that has a point.
pub(super) fn apply_patiently(
    ledger: &Ledger,
    batch: &Batch,
    stop: &Stop,
    again: &dyn Fn(&StoreError) -> bool,
    on_failure: &dyn Fn(&StoreError),
) -> Result<(), IngestError> {
    let mut pause = Duration::from_millis(250);
    loop {
        match ledger.apply_bulk(batch) {
            Ok(()) => return Ok(()),
            Err(error) => {
                on_failure(&error);
                if !again(&error) {
                    return Err(error.into());
                }
            }
        }
        if stop.wait(pause) {
            return Err(IngestError::Stopped);
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
