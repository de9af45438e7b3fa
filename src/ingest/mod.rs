//! Feeding the ledger: the parts below brought together, with threads and back-pressure.
//!
//! - [`intake`] is one log on its way in, from bytes to a batch; [`meaning`] says what its lines are;
//! - [`probe`] finds out whether a file is a log at all, where its first record does not tell;
//! - [`import`](mod@import) reads whole files into batches of their own: imports and history;
//! - [`cof_import`] merges what other sites saw;
//! - [`dump`] turns the tables of other tools into that, [`sql`] reads their text;
//! - [`paired_logs`] counts once what two logs of one Zeek both tell;
//! - [`gone`](gone()) looks whether logs are still there;
//! - [`claims`] says who may read which log;
//! - [`follow`] follows live logs, stages what they say and commits it, and reads history behind it.
//!
//! # Threads
//!
//! One thread for each source follows its live logs and stages what it reads; one commits that every second; a few read
//! archives. They share nothing but the store, the claims on logs, and plain status values.

mod claims;
mod cof_import;
mod contents;
mod dump;
mod follow;
mod import;
mod intake;
mod malformed;
mod meaning;
mod missing_logs;
mod not_read;
mod paired_logs;
mod plain_logs;
mod probe;
mod sql;
#[cfg(test)]
mod tests;
mod totals;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::warn;

use self::claims::Claims;
pub use cof_import::is_origin;
pub use contents::{Contents, Listener, Listening};
pub use dump::{Database, Dump};
pub use follow::{Ingest, start};
pub use import::{Listed, STANDARD_INPUT, files_under, import};
pub use malformed::malformed_in_words;
pub use meaning::{Meaning, reader};
pub use missing_logs::gone;
pub use not_read::NotRead;
pub use paired_logs::{LogPair, PairSide, zeek_folder};
pub use probe::look_at;

use crate::base::clock::Clock;
use crate::base::time::DAY;
use crate::status::shown_path;
use crate::store::{StoreError, WriteStore};
use crate::tail::discover::Scope;
use crate::tally::{Malformed, Tally};
use crate::{observe, zeek};

//--- Config ---------------------------------------------------------------------------------------------------------

/// The sensor that records are counted under when none is named.
pub const DEFAULT_SENSOR: &str = "default";

/// Which archives are read when a source is met for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backfill {
    /// All archives.
    All,
    /// None: only what is written from now on.
    None,
    /// Archives that were changed within this time.
    Age(Duration),
}

impl Backfill {
    /// How old an archive may be to be read at first; without a bound all are.
    fn age(self) -> Option<Duration> {
        match self {
            Backfill::All => None,
            Backfill::None => Some(Duration::ZERO),
            Backfill::Age(age) => Some(age),
        }
    }
}

/// One source of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// A folder, a file or a glob.
    pub logs: PathBuf,
    /// The sensor its records are counted under.
    pub sensor: String,
    /// Which archives are read at first.
    pub backfill: Backfill,
    /// How often to look where no event arrives.
    pub poll_interval: Duration,
    /// How logs without a header are read.
    pub zeek: zeek::Options,
    /// Which names count, and how far is searched.
    pub scope: Scope,
}

impl Default for SourceConfig {
    fn default() -> SourceConfig {
        SourceConfig {
            logs: PathBuf::new(),
            sensor: DEFAULT_SENSOR.to_owned(),
            backfill: Backfill::All,
            poll_interval: Duration::from_secs(1),
            zeek: zeek::Options::default(),
            scope: Scope::default(),
        }
    }
}

/// The logs to read, and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The sources to follow.
    pub sources: Vec<SourceConfig>,
    /// Which records count.
    pub observe: observe::Options,
    /// The longest line that is read, bytes; a longer one is malformed and never held in memory.
    pub max_line_bytes: usize,
    /// How often live lines are committed.
    pub commit_interval: Duration,
    /// Bytes for batches in memory, all together.
    pub memory: u64,
    /// Threads that read archives.
    pub threads: usize,
    /// How long a file that is gone from its path is followed on after it last grew, when no `#close` ended it.
    pub grace: Duration,
    /// An archive that changed this recently may still be being written, and is left alone.
    pub settling: Duration,
    /// The wall clock.
    pub clock: Clock,
    /// A log that is not compressed and was written to this recently is followed, whatever its name.
    pub active: Duration,
    /// The listener that is told the contents of archives while they are read.
    pub listening: Listening,
    /// Archives that imports could not read.
    pub not_read: NotRead,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            sources: Vec::new(),
            observe: observe::Options::default(),
            max_line_bytes: 1 << 20,
            commit_interval: Duration::from_secs(1),
            memory: 128 << 20,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            grace: Duration::from_secs(5),
            settling: Duration::from_secs(2),
            clock: Clock::default(),
            active: Duration::from_secs(60),
            listening: Listening::default(),
            not_read: NotRead::default(),
        }
    }
}

/// How what is imported is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportOptions<'a> {
    /// The sensor; where none is named, [`DEFAULT_SENSOR`], and for what other sites saw the name of the file.
    pub sensor: Option<&'a str>,
    /// The import of another site's rows replaces its earlier import.
    pub replace: bool,
}

impl<'a> From<Option<&'a str>> for ImportOptions<'a> {
    fn from(sensor: Option<&'a str>) -> ImportOptions<'a> {
        ImportOptions { sensor, replace: false }
    }
}

//--- results --------------------------------------------------------------------------------------------------------

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Files met.
    pub files: u64,
    /// Bytes of them on disk.
    pub bytes: u64,
    /// The lines that were new, by how they ended.
    pub tally: Tally,
    /// Files without anything new.
    pub already: u64,
    /// Archives that end too early or are damaged: what could be read of them is counted.
    pub incomplete: Vec<(PathBuf, String)>,
    /// Files that could not be read, and why.
    pub failed: Vec<(PathBuf, String)>,
    /// The failed files that can be read and are refused for their contents: nobody needs to miss them.
    pub refused: Vec<PathBuf>,
    /// Named paths without a DNS log, with what is there instead.
    pub no_log: Vec<(PathBuf, String)>,
    /// Files that were passed over, with the reason.
    pub passed_over: Vec<(PathBuf, String)>,
}

impl ImportSummary {
    /// Files that could not be read, or not to their end.
    pub fn not_read(&self) -> Vec<&(PathBuf, String)> {
        let failed = self.failed.iter().filter(|(path, _)| !self.refused.contains(path));
        failed.chain(&self.incomplete).collect()
    }

    /// Adds what another thread did.
    pub fn merge(&mut self, other: ImportSummary) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.tally.merge(&other.tally);
        self.already += other.already;
        self.incomplete.extend(other.incomplete);
        self.failed.extend(other.failed);
        self.refused.extend(other.refused);
        self.no_log.extend(other.no_log);
        self.passed_over.extend(other.passed_over);
    }
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Files read or passed over.
    pub files_done: u64,
    /// How many files there are in all.
    pub files_total: u64,
    /// Bytes on disk of those read.
    pub bytes_done: u64,
    /// Bytes on disk of all.
    pub bytes_total: u64,
    /// New lines so far.
    pub lines: u64,
}

/// Why feeding the ledger ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The ledger refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path that was named cannot be looked at.
    #[error("{}: {error}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The operating system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The process is being stopped.
    #[error("stopped before the end; the next run goes on where this one was")]
    Stopped,
}

impl IngestError {
    /// Advice for the operator.
    pub fn hint(&self) -> Option<&str> {
        match self {
            IngestError::Store(error) => error.hint(),
            IngestError::Path { error, .. } => reading_hint(error),
            _ => None,
        }
    }
}

/// Why a file of a source cannot be read, and what can be done about it: nothing behind a link, for who put it there may hope for rights
/// to what it leads to.
fn why_unreadable(path: &Path, error: &io::Error) -> String {
    match (std::fs::read_link(path), reading_hint(error)) {
        (Ok(to), _) => format!("{error}; it is a link to {}", shown_path(&to)),
        (Err(_), Some(hint)) => format!("{error}; try: {hint}"),
        (Err(_), None) => error.to_string(),
    }
}

/// Advice for a file that cannot be read.
fn reading_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some("give the user that runs dnsledger read access to it and its folders")
        }
        io::ErrorKind::NotFound => {
            Some("check the path; a folder that is to come is waited for by `dnsledger run`")
        }
        _ => None,
    }
}

//--- shared ---------------------------------------------------------------------------------------------------------

/// State that all intakes share.
pub struct Context {
    store: Arc<dyn WriteStore>,
    claims: Claims,
    observe: observe::Options,
    max_line_bytes: usize,
    sampler: Sampler,
    clock: Clock,
    /// Lines read since the process started, for a rate.
    lines_read: AtomicU64,
    listening: Listening,
}

impl Context {
    fn new(store: &Arc<dyn WriteStore>, config: &Config) -> Result<Arc<Context>, StoreError> {
        let clock = config.clock.clone();
        let logs = store.lineages()?;
        // The ledger was read to then by the clock, and had records of then: both had to be wrong.
        let read_at = logs.iter().map(|progress| progress.read_at).max().unwrap_or_default();
        let newest = logs.iter().map(|progress| progress.newest).max().unwrap_or_default();
        clock.witness(read_at.min(newest));
        let sources = config.sources.iter().map(|source| (source.logs.clone(), source.sensor.clone()));
        Ok(Arc::new(Context {
            store: Arc::clone(store),
            claims: Claims::new(store, sources.collect(), &logs),
            observe: config.observe.clone(),
            max_line_bytes: config.max_line_bytes,
            sampler: Sampler::default(),
            clock,
            lines_read: AtomicU64::new(0),
            listening: config.listening.clone(),
        }))
    }

    /// The time after which a record is one of the future, epoch seconds.
    fn not_after(&self) -> u64 {
        self.observe.max_ahead.map_or(u64::MAX, |ahead| self.clock.horizon(ahead.as_secs()))
    }

    /// The time before which records are expired, epoch seconds. What was seen within the last day never is.
    fn expired_before(&self) -> u64 {
        let cut = self.store.expired_before().max(self.observe.expired_before);
        cut.min(self.clock.now().saturating_sub(DAY))
    }
}

/// The time of the newest record, after one more was counted. `now` is the clock: a record that is a little ahead of it is as
/// new as now, and one that is far ahead says nothing. One that was noted as newest by a wrong clock, or before times had a
/// bound, does not stay.
fn newest(known: u64, time: u64, now: u64) -> u64 {
    let far = now.saturating_add(DAY);
    match time {
        time if time > far => known,
        time if known > far => time.min(now),
        time => known.max(time.min(now)),
    }
}

/// Shows a malformed line's place in the log, at most once a minute for each reason.
#[derive(Default)]
struct Sampler {
    last: Mutex<[Option<Instant>; Malformed::ALL.len()]>,
}

impl Sampler {
    /// How long a reason is not shown again.
    const QUIET: Duration = Duration::from_secs(60);

    fn malformed(&self, path: &Path, offset: u64, reason: Malformed) {
        let mut last = self.last.lock();
        let Some(last) = last.get_mut(reason as usize) else { return };
        if last.is_none_or(|at| at.elapsed() >= Sampler::QUIET) {
            *last = Some(Instant::now());
            let path = shown(path);
            warn!(path, after_offset = offset, %reason, "A line could not be read; more of this kind are only counted.");
        }
    }
}

/// A path as it may be shown: control characters and bytes that are not UTF-8 are escaped.
fn shown(path: &Path) -> String {
    format!("{path:?}").trim_matches('"').to_owned()
}
