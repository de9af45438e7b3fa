//! Reading whole files into batches: what an import and the readers of archives do alike.
//!
//! Each worker reads one file at a time into its own batch and hands it on when it is full; large files are inflated by
//! a second thread. A file whose lineage another reader has is put off until that one is done and applied.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::dump;
use super::dump::Dump;
use super::intake::{Ending, Halt, Intake};
use super::probe::{LogProbe, by_name, look_into};
use super::{Context, DEFAULT_SENSOR, ImportSummary, IngestError, why_unreadable};
use crate::base::threads;
use crate::progress::{LineageId, Progress};
use crate::status::UnreadKind;
use crate::store::batch::Batch;
use crate::tail::decode::{Decoder, End, Packing, gzip_length};
use crate::tail::discover::FoundFile;
use crate::tail::open::open;
use crate::tally::Tally;
use crate::zeek;

/// Bytes of a log that are parsed at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Files larger than this are read and inflated by a thread of their own.
const AHEAD_BYTES: u64 = 512 << 10;

/// Lines that are looked at to see what a file holds.
const LOOKED_AT: usize = 8;
/// The first `cond` of an answer in DNSDB's frame.
pub(super) const BEGIN: &str = "begin";
/// What is said of an archive that is damaged and hides nothing.
pub(super) const READ_ELSEWHERE: &str = "; all of its log was read from another file";

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

/// Whether these first bytes of a file are COF.
pub(super) fn is_cof(first: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it only matters that they are there")]
    struct Keys {
        rrname: String,
        rrtype: Value,
        rdata: Value,
    }
    #[derive(Deserialize)]
    struct Framed {
        cond: Option<String>,
        obj: Option<Keys>,
    }
    let is_framed = |line| {
        let framed = serde_json::from_slice::<Framed>(line);
        framed.is_ok_and(|Framed { cond, obj }| obj.is_some() || cond.as_deref() == Some(BEGIN))
    };
    let mut lines = first.split(|&byte| byte == b'\n').take(LOOKED_AT);
    lines.any(|line| serde_json::from_slice::<Keys>(line).is_ok() || is_framed(line))
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
    pub summary: ImportSummary,
    /// Why the last file is not read, or not whole, if so.
    pub verdict: Option<(UnreadKind, String)>,
    /// The log that it held, if it held one, and whether its end was seen.
    pub lineage: Option<(LineageId, bool)>,
}

/// How a file was met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// It was read, as far as it goes.
    Read,
    /// Another reader has its lineage: try again later.
    Busy {
        /// Whether that reader follows it live.
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
            summary: ImportSummary::default(),
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
        found: &FoundFile,
        sensor: Option<&str>,
        zeek: &zeek::Options,
    ) -> Result<ReadOutcome, IngestError> {
        let size = found.stamp.size;
        let bytes = Arc::clone(&self.bytes_read);
        let before = bytes.load(Ordering::Relaxed);
        (self.verdict, self.lineage) = (None, None);
        let met = match self.open(&found.path) {
            Ok(decoder) => self.read(decoder, &found.path, Some(size), sensor, zeek, false)?,
            Err(error) => self.fail(&found.path, &error),
        };
        let busy = matches!(met, ReadOutcome::Busy { .. });
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
    ) -> Result<ReadOutcome, IngestError> {
        let met = match self.decoder(stream) {
            Ok(decoder) => self.read(decoder, name, None, sensor, zeek, false)?,
            Err(error) => self.fail(name, &error),
        };
        self.summary.files += u64::from(!matches!(met, ReadOutcome::Busy { .. }));
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

    pub(super) fn fail(&mut self, path: &Path, error: &io::Error) -> ReadOutcome {
        self.summary.failed.push((path.to_owned(), why_unreadable(path, error)));
        ReadOutcome::Failed
    }

    pub(super) fn refuse(&mut self, path: &Path, why: &str) -> ReadOutcome {
        self.summary.refused.push(path.to_owned());
        self.summary.failed.push((path.to_owned(), why.to_owned()));
        ReadOutcome::Failed
    }

    /// The file is no DNS log.
    fn no_log(&mut self, path: &Path, fault: (UnreadKind, String)) -> ReadOutcome {
        let (kind, why) = by_name(path, fault);
        self.verdict = Some((kind, why.clone()));
        self.summary.no_log.push((path.to_owned(), why));
        ReadOutcome::Read
    }

    /// Looks further into a file whose first line is none of a DNS log, beginning with the bytes at hand.
    fn look(
        &self,
        bytes: &[u8],
        path: Option<&Path>,
        zeek: &zeek::Options,
    ) -> Result<(), (UnreadKind, String)> {
        let mut look = LogProbe::new(zeek, self.context.max_line_bytes);
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
    ) -> Result<ReadOutcome, IngestError> {
        let packing = decoder.packing();
        if let Packing::Unsupported(ending) = packing {
            self.verdict = Some((UnreadKind::Undecodable, Packing::refusal(ending)));
            self.summary.failed.push((path.to_owned(), Packing::refusal(ending)));
            return Ok(ReadOutcome::Read);
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
            if is_cof(&bytes) {
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
                    return Ok(ReadOutcome::Busy { live });
                }
                Err(Halt::Store(error)) => return Err(error.into()),
            }
            let lines = intake.counted().lines();
            self.lines.fetch_add(lines - counted, Ordering::Relaxed);
            counted = lines;
            if std::mem::take(&mut first) && intake.is_passed_over(length_fits) {
                self.summary.already += 1;
                intake.note_place(&mut self.batch);
                return Ok(ReadOutcome::Read);
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
        let ends_unknown = intake.ends_unknown();
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
            End::Whole if ends_unknown => {
                self.incomplete(path, "it ends before its first record does, so nothing of that is counted");
            }
            End::Whole => self.summary.already += u64::from(tally == Tally::default()),
            End::CutShort | End::Corrupt(_) => {}
        }
        Ok(ReadOutcome::Read)
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

impl Worker<'_> {
    /// Waits until some lineage was given back, or a moment.
    pub(super) fn wait_for_release(&self) {
        self.context.claims.wait_for_release(Duration::from_millis(100));
    }
}
