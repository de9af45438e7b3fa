//! Whole files into batches of their own: imports, and the history behind a live log.
//!
//! Each worker reads one file at a time into its own batch and hands it on when it is full; large files are inflated by
//! a second thread. A file whose lineage another reader has is put off until that one is done and applied.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::claims::Claims;
use super::dump::Dump;
use super::intake::{Ending, Halt, Intake};
use super::look::{Look, by_name, look_into};
use super::{Config, Context, DEFAULT_SENSOR, How, ImportProgress, IngestError, Summary, reading_hint};
use super::{cof, dump, twins};
use crate::base::shutdown::Stop;
use crate::base::threads;
use crate::progress::{LineageId, Progress};
use crate::status::UnreadKind;
use crate::store::batch::Batch;
use crate::store::{StoreError, WriteStore};
use crate::tail::decode::{Decoder, End, Packing, gzip_length};
use crate::tail::discover::{Found, Scope, Stamp, discover, is_glob};
use crate::tail::open::open;
use crate::tally::Tally;
use crate::zeek;

/// Bytes of a log that are parsed at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Files larger than this are read and inflated by a thread of their own.
const AHEAD_BYTES: u64 = 512 << 10;

/// What is said of an archive that is damaged and hides nothing.
pub(super) const READ_ELSEWHERE: &str = "; all of its log was read from another file";
/// What the log is called that comes by standard input.
pub const STANDARD_INPUT: &str = "standard input";

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
    /// Why the last file is not read, or not whole, if so.
    pub verdict: Option<(UnreadKind, String)>,
    /// The log that it held, if it held one, and whether its end was seen.
    pub lineage: Option<(LineageId, bool)>,
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
            verdict: None,
            lineage: None,
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
        (self.verdict, self.lineage) = (None, None);
        let met = match self.open(&found.path) {
            Ok(decoder) => self.read(decoder, &found.path, Some(size), sensor, zeek, false)?,
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
            Ok(decoder) => self.read(decoder, name, None, sensor, zeek, false)?,
            Err(error) => self.fail(name, &error),
        };
        self.summary.files += u64::from(!matches!(met, Met::Busy { .. }));
        Ok(met)
    }

    /// Opens a file, and counts what is read of it.
    fn open(&self, path: &Path) -> io::Result<Decoder> {
        let (file, _) = open(path)?;
        self.decoder(Box::new(Counted { inner: file, bytes: Arc::clone(&self.bytes_read) }))
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

    /// The file is no DNS log.
    fn no_log(&mut self, path: &Path, fault: (UnreadKind, String)) -> Met {
        let (kind, why) = by_name(path, fault);
        self.verdict = Some((kind, why.clone()));
        self.summary.no_log.push((path.to_owned(), why));
        Met::Read
    }

    /// Looks further into a file whose first line is none of a DNS log, beginning with the bytes at hand.
    fn look(
        &self,
        bytes: &[u8],
        path: Option<&Path>,
        zeek: &zeek::Options,
    ) -> Result<(), (UnreadKind, String)> {
        let mut look = Look::new(zeek, self.context.max_line_bytes);
        if look.take(bytes) {
            return Ok(());
        }
        let Some(path) = path else { return Err(look.why_not()) };
        match self.open(path) {
            Ok(decoder) => look_into(decoder, zeek, self.context.max_line_bytes),
            Err(error) => Err((UnreadKind::Unreadable, error.to_string())),
        }
    }

    /// Reads a log to its end. `size` is that of the file on disk, if it is one; `proven` says that it is known to be a DNS
    /// log.
    fn read(
        &mut self,
        decoder: Decoder,
        path: &Path,
        size: Option<u64>,
        sensor: Option<&str>,
        zeek: &zeek::Options,
        proven: bool,
    ) -> Result<Met, IngestError> {
        let packing = decoder.packing();
        if let Packing::Unsupported(ending) = packing {
            self.verdict = Some((UnreadKind::Undecodable, Packing::refusal(ending)));
            self.summary.failed.push((path.to_owned(), Packing::refusal(ending)));
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
        let new = || Intake::new(&self.context, path, sensor, zeek, false, None);
        let mut intake = if proven { new()?.proven() } else { new()? };
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
            let mut fed = intake.feed(bytes, &mut self.batch);
            if matches!(fed, Err(Halt::Unproven)) {
                let file = size.is_some().then_some(path);
                match self.look(bytes, file, zeek) {
                    Err(why) => return Ok(self.no_log(path, why)),
                    Ok(()) if size.is_some() => {
                        let decoder = match self.open(path) {
                            Ok(decoder) => decoder,
                            Err(error) => return Ok(self.fail(path, &error)),
                        };
                        return self.read(decoder, path, size, Some(sensor), zeek, true);
                    }
                    // Of a stream only what is at hand can be read once more.
                    Ok(()) => {
                        intake = Intake::new(&self.context, path, sensor, zeek, false, None)?.proven();
                        fed = intake.feed(bytes, &mut self.batch);
                    }
                }
            }
            match fed {
                Ok(()) | Err(Halt::Unproven) => {}
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
                intake.note_place(&mut self.batch);
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
        self.lineage =
            intake.lineage().map(|(lineage, complete)| (lineage, complete || ending == Ending::Sound));
        // Where its last line was read here, what stands behind that is not known: another log, perhaps.
        let ends_here = intake.has_seen_close();
        let known_whole = !ends_here && self.lineage.is_some_and(|(_, complete)| complete);
        let tally = intake.end(ending, &mut self.batch);
        self.summary.tally.merge(&tally);
        match &end {
            End::CutShort => self.incomplete(path, "the archive ends too early"),
            End::Corrupt(why) => self.incomplete(path, why),
            End::Whole => {}
        }
        if let Some((kind, why)) = self.verdict.as_mut().filter(|_| known_whole) {
            *kind = UnreadKind::PassedOver;
            why.push_str(READ_ELSEWHERE);
        }
        match end {
            End::Whole if is_no_log => {
                let file = size.is_some().then_some(path);
                let none =
                    || (UnreadKind::PassedOver, "there is not one whole line of a log in it".to_owned());
                let why = self.look(&[], file, zeek).err().unwrap_or_else(none);
                self.no_log(path, why);
            }
            End::Whole if is_empty => {
                self.verdict = Some((UnreadKind::PassedOver, "it is empty".to_owned()));
                self.summary.already += 1;
            }
            End::Whole => self.summary.already += u64::from(tally == Tally::default()),
            End::CutShort | End::Corrupt(_) => {}
        }
        Ok(Met::Read)
    }

    pub(super) fn incomplete(&mut self, path: &Path, why: &str) {
        self.verdict = Some((UnreadKind::Undecodable, why.to_owned()));
        self.summary.incomplete.push((path.to_owned(), why.to_owned()));
    }
}

impl Drop for Worker<'_> {
    /// What was read and is never applied can be read by others.
    fn drop(&mut self) {
        self.context.claims.abandon(&self.batch);
    }
}

//--- import ---------------------------------------------------------------------------------------------------------

/// What an import of some paths reads.
pub struct Listed {
    files: Vec<Found>,
    /// For each path what was found there.
    groups: Vec<Group>,
    /// What was seen and is not read.
    pub summary: Summary,
}

/// One path that was named.
struct Group {
    path: PathBuf,
    /// Whether it is a single file, or a stream.
    is_file: bool,
    files: Vec<PathBuf>,
    /// What was looked for and seen.
    seen: String,
}

impl Listed {
    /// The files, in the order in which they are read: of a folder its logs, of a pattern its matches.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|found| found.path.clone()).collect()
    }

    /// Says what nothing came of: a path at which there was no DNS log stays in [`Summary::no_log`]; a file that is none,
    /// beside others that are, was passed over.
    pub fn judge(&self, summary: &mut Summary) {
        let mut no_log: BTreeMap<PathBuf, String> = std::mem::take(&mut summary.no_log).into_iter().collect();
        let mut said = Vec::new();
        for group in &self.groups {
            if group.is_file {
                said.extend(no_log.get(&group.path).map(|why| (group.path.clone(), why.clone())));
            } else if group.files.iter().all(|file| no_log.contains_key(file)) {
                let why = match group.files.as_slice() {
                    [] => format!("no DNS log: {}", group.seen),
                    [first, ..] => {
                        let why = no_log.get(first).map(String::as_str).unwrap_or_default();
                        let first = first.display();
                        format!("not one of {} files in it is a DNS log; {first}: {why}", group.files.len())
                    }
                };
                said.push((group.path.clone(), why));
            }
        }
        for (path, _) in &said {
            no_log.remove(path);
        }
        summary.no_log = said;
        summary.passed_over.extend(no_log);
    }
}

/// Looks for the files that an import of these paths reads.
///
/// # Errors
///
/// When a path that was named cannot be looked at.
pub fn files_under(paths: &[PathBuf]) -> Result<Listed, IngestError> {
    let mut listed = Listed { files: Vec::new(), groups: Vec::new(), summary: Summary::default() };
    for path in paths {
        let mut group = Group { path: path.clone(), is_file: true, files: Vec::new(), seen: String::new() };
        if path.as_os_str() == "-" {
            let stamp = Stamp { device: 0, inode: 0, size: 0, modified: 0 };
            listed.files.push(Found { path: path.clone(), stamp });
            group.path = STANDARD_INPUT.into();
        } else {
            let listing = discover(path, &Scope::default())
                .map_err(|error| IngestError::Path { path: path.clone(), error })?;
            group.is_file = !is_glob(path) && !path.is_dir();
            group.seen = if is_glob(path) && listing.folders.is_empty() {
                "nothing matches this pattern".to_owned()
            } else {
                listing.seen()
            };
            for unread in listing.unread {
                let list = match unread.kind {
                    _ if group.is_file => &mut listed.summary.failed,
                    UnreadKind::PassedOver | UnreadKind::NotEntered => &mut listed.summary.passed_over,
                    UnreadKind::Unreadable | UnreadKind::Undecodable => &mut listed.summary.failed,
                };
                list.push((unread.path, unread.reason));
            }
            let plain: Vec<Found> = listing.archives.into_iter().chain(listing.live).collect();
            let start = listed.files.len();
            let zeek = Default::default();
            for found in listing.streaming_archives.into_iter().chain(listing.streaming) {
                if !group.is_file && twins::covered_by(&plain, &zeek, &found.path) {
                    listed.summary.passed_over.push((found.path, twins::PASSED_OVER.to_owned()));
                } else {
                    listed.files.push(found);
                }
            }
            listed.files.extend(plain);
            let new = listed.files.get(start..).unwrap_or_default();
            group.files = new.iter().map(|found| found.path.clone()).collect();
        }
        listed.groups.push(group);
    }
    Ok(listed)
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
    store: &Arc<dyn WriteStore>,
    config: &Config,
    how: impl Into<How<'a>>,
    dump: Option<&Dump>,
    paths: &[PathBuf],
    on_progress: &(dyn Fn(&ImportProgress) + Sync),
    stop: &Stop,
) -> Result<Summary, IngestError> {
    let (how, context) = (how.into(), Context::new(store, config)?);
    let listed = files_under(paths)?;
    let (files, summary) = (listed.files.clone(), listed.summary.clone());
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
        failed.lock().get_or_insert(error);
    };
    std::thread::scope(|scope| {
        let writer = || {
            for batch in batches {
                if let Err(error) = context.claims.apply(&batch) {
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
                    progress.files_done = done.lock().files + worker.summary.files;
                    for (bytes, lines) in counters {
                        progress.bytes_done += bytes.load(Ordering::Relaxed);
                        progress.lines += lines.load(Ordering::Relaxed);
                    }
                    on_progress(&progress);
                };
                if let Err(error) = work_off(&mut worker, queue, how.sensor, zeek, stop, &mut each) {
                    fail(error);
                }
                done.lock().merge(std::mem::take(&mut worker.summary));
            };
            spawn(scope, "import", work).map_err(IngestError::Thread)?;
        }
        drop(to_writer);
        Ok::<(), IngestError>(())
    })?;
    if let Some(error) = failed.into_inner() {
        return Err(error);
    }
    store.end_bulk(&|| stop.is_stopped())?;
    let mut summary = done.into_inner();
    listed.judge(&mut summary);
    Ok(summary)
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
    let next = || queue.lock().pop_front();
    while let Some(found) = next() {
        if stop.is_stopped() {
            break;
        }
        if found.path.as_os_str() == "-" {
            let name = Path::new(STANDARD_INPUT);
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
        self.context.claims.wait_for_release(Duration::from_millis(100));
    }
}

/// Applies a batch, again and again while that has a point.
pub(super) fn apply_patiently(
    claims: &Claims,
    batch: &Batch,
    stop: &Stop,
    again: &dyn Fn(&StoreError) -> bool,
    on_failure: &dyn Fn(&StoreError),
) -> Result<(), IngestError> {
    let mut pause = Duration::from_millis(250);
    loop {
        match claims.apply(batch) {
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
