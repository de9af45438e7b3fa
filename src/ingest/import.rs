//! Imports: files into batches, by a few threads, and the batches into the store.
//!
//! A file whose lineage another reader has is put off until that one is done and applied.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::Mutex;

use super::claims::Claims;
use super::dump::Dump;
use super::paired_logs;
use super::plain_logs::PlainFiles;
use super::{Config, Context, ImportOptions, ImportProgress, ImportSummary, IngestError};
use crate::base::shutdown::Stop;
use crate::base::threads;
use crate::status::UnreadKind;
use crate::store::batch::Batch;
use crate::store::{StoreError, WriteStore};
use crate::tail::discover::{FoundFile, Scope, Stamp, discover, is_glob};
use crate::zeek;

use super::worker::{ReadOutcome, Worker};

/// New lines from which on an import ends with the merges that it has put off. They take about half as long as reading, and what fewer
/// lines leave is looked up about as quickly without them: a daemon, or a later command, makes them.
const SETTLED_FROM: u64 = 5_000_000;

/// What the log is called that comes by standard input.
pub const STANDARD_INPUT: &str = "standard input";

//--- import ---------------------------------------------------------------------------------------------------------

/// What an import of some paths reads.
pub struct Listed {
    files: Vec<FoundFile>,
    /// For each path what was found there.
    groups: Vec<Group>,
    /// What was seen and is not read.
    pub summary: ImportSummary,
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

    /// Says what nothing came of: a path at which there was no DNS log stays in [`ImportSummary::no_log`]; a file that is none,
    /// beside others that are, was passed over.
    pub fn judge(&self, summary: &mut ImportSummary) {
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
    let mut listed = Listed { files: Vec::new(), groups: Vec::new(), summary: ImportSummary::default() };
    for path in paths {
        let mut group = Group { path: path.clone(), is_file: true, files: Vec::new(), seen: String::new() };
        if path.as_os_str() == "-" {
            let stamp = Stamp { device: 0, inode: 0, size: 0, modified: 0 };
            listed.files.push(FoundFile { path: path.clone(), stamp });
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
            let plain: Vec<FoundFile> = listing.archives.into_iter().chain(listing.live).collect();
            let start = listed.files.len();
            let zeek = Default::default();
            let look = |path: &Path, most: usize| paired_logs::times(path, &zeek, most);
            let mut plain_files = PlainFiles::new(plain.iter().map(|found| found.path.as_path()), look);
            for found in listing.streaming_archives.into_iter().chain(listing.streaming) {
                if !group.is_file && plain_files.cover(&found.path) {
                    listed.summary.passed_over.push((found.path, paired_logs::PASSED_OVER.to_owned()));
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
/// COF is merged under a sensor of its own: see [`super::cof_import`]. Without a name of a sensor, logs have the default one. With a
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
    how: impl Into<ImportOptions<'a>>,
    dump: Option<&Dump>,
    paths: &[PathBuf],
    on_progress: &(dyn Fn(&ImportProgress) + Sync),
    stop: &Stop,
) -> Result<ImportSummary, IngestError> {
    let (how, context) = (how.into(), Context::new(store, config)?);
    let listed = files_under(paths)?;
    let (files, summary) = (listed.files.clone(), listed.summary.clone());
    let total = ImportProgress {
        files_done: summary.files,
        files_total: files.len() as u64,
        bytes_total: files.iter().map(|found| found.stamp.size).sum(),
        ..ImportProgress::default()
    };
    let workers = config.threads.clamp(1, files.len().max(1));
    // Batches in memory at one time: one for each worker, one that waits, one that is applied (and sorted, as much again).
    let batch_bytes = usize::try_from(config.memory).unwrap_or(usize::MAX) / (workers + 3);
    let queue: Mutex<VecDeque<FoundFile>> = Mutex::new(files.into());
    let zeek = config.sources.first().map(|source| source.zeek.clone()).unwrap_or_default();
    let done = Mutex::new(summary);
    let (to_writer, batches) = sync_channel::<Batch>(1);
    // Each worker's figures, so that progress can be told while they work: bytes read, new lines, files.
    let counters: Vec<(Arc<AtomicU64>, Arc<AtomicU64>, AtomicU64)> =
        (0..workers).map(|_| Default::default()).collect();
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
        for (bytes_read, lines, files) in &counters {
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
                    files.store(worker.summary.files, Ordering::Relaxed);
                    for (bytes, lines, files) in counters {
                        progress.files_done += files.load(Ordering::Relaxed);
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
    let mut summary = done.into_inner();
    store.end_bulk(summary.tally.lines() >= SETTLED_FROM, &|| stop.is_stopped())?;
    listed.judge(&mut summary);
    if let Err(error) = config.not_read.take(&listed.paths(), &summary.not_read()) {
        tracing::warn!(%error, "It cannot be kept which archives were not read.");
    }
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
    queue: &Mutex<VecDeque<FoundFile>>,
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
            if let ReadOutcome::Busy { .. } = worker.read_stream(Box::new(io::stdin()), name, sensor, zeek)? {
                worker.summary.failed.push((name.to_owned(), "another reader has this log".to_owned()));
            }
        } else if let ReadOutcome::Busy { .. } = worker.read_file(&found, sensor, zeek)? {
            busy.push(found);
        }
        each(worker);
    }
    worker.flush()?;
    for found in busy {
        while !stop.is_stopped()
            && matches!(worker.read_file(&found, sensor, zeek)?, ReadOutcome::Busy { .. })
        {
            worker.flush()?;
            worker.wait_for_release();
        }
        each(worker);
    }
    worker.flush()?;
    if stop.is_stopped() { Err(IngestError::Stopped) } else { Ok(()) }
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
