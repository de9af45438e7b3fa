//! Filters: which names and addresses a log cannot hold, so that it need not be read for them.
//!
//! Each complete log may have one, a file in the folder `evidence` of the data folder: what the log holds, as the filter of a run
//! does ([`crate::store::LogFilter`]). It is made while an archive is read for the ledger ([`super::making`]); where it is missing all
//! the same, by reading the log once more, by a thread that gives way to all others, the newest log first, as far as the budget goes.
//! What is there from before is kept, so a pass that was ended goes on where it was.
//!
//! A filter that is wrong would hide lines. So it is written beside its place, and then named; it says of which log it is, up
//! to which byte, what was before that byte and by which options, and has a checksum over all of that, which is looked at each time it
//! is used, and once by each process before it is counted as one. What does not fit is no filter: then the log is read.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::keys::{Collector, Probes};
use super::needle::Needle;
use super::places::source_of;
use super::read::{LogMatch, ReadRules, WantedLog, read};
use crate::base::shutdown::Stop;
use crate::ingest::{Config, SourceConfig, is_origin};
use crate::observation::SensorId;
use crate::observe;
use crate::progress::{LineageId, Progress};
use crate::store::{LogFilter, MaxDisk, ReadStore, StoreError};
use crate::tail::decode::Decoder;
use crate::tally::Skip;

/// What each file begins with.
const MAGIC: &[u8] = b"dnsledger evidence 2\n";
/// Bytes of a file that is read: none is so large.
const MAX_BYTES: u64 = 64 << 20;
/// Different keys of a log at most; one with more has no filter.
const MOST_KEYS: usize = 8 << 20;
/// The part of the ledger that filters may take where nothing else is said, one in so many bytes; and at least so many.
const SHARE: u64 = 20;
const LEAST: u64 = 256 << 20;

/// Bytes that filters may take, of a ledger with so many; none where there is no bound.
pub fn budget(disk: MaxDisk, ledger_bytes: u64) -> Option<u64> {
    match disk {
        MaxDisk::Auto => Some((ledger_bytes / SHARE).max(LEAST)),
        MaxDisk::Bytes(bytes) => Some(bytes),
        MaxDisk::Unbounded => None,
    }
}

//--- LogFilters -----------------------------------------------------------------------------------------------------

/// How far filters are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FiltersStatus {
    /// Complete logs, each of which may have one.
    pub logs: u64,
    /// Logs that have a filter.
    pub filters: u64,
    /// Bytes on disk of these.
    pub bytes: u64,
    /// The most bytes; absent where there is no bound, or before the first pass.
    pub max_bytes: Option<u64>,
}

/// The filters of a ledger's logs.
pub struct LogFilters {
    folder: PathBuf,
    /// What of a log counts: by other options it would hold other names.
    options: u64,
    status: Mutex<FiltersStatus>,
    /// Logs of which none could be made, where they were.
    failed: Mutex<HashMap<LineageId, PathBuf>>,
    /// Logs whose filter was made while they were read: what the ledger is told of them may not be committed yet.
    fresh: Mutex<HashSet<String>>,
    /// Files whose checksum this process has seen to be right, and their bytes.
    sound: Mutex<HashMap<LineageId, u64>>,
}

impl LogFilters {
    /// Those in a data folder.
    pub fn of(data: &Path, observe: &observe::Options) -> LogFilters {
        LogFilters {
            folder: data.join("evidence"),
            options: xxh3_64(format!("{observe:?}").as_bytes()),
            status: Mutex::default(),
            failed: Mutex::default(),
            fresh: Mutex::default(),
            sound: Mutex::default(),
        }
    }

    /// How far they are made.
    pub fn status(&self) -> FiltersStatus {
        *self.status.lock()
    }

    fn path(&self, log: &LineageId) -> PathBuf {
        self.folder.join(log.to_string())
    }

    /// What stands before the filter of a log.
    fn head(&self, log: &Progress) -> Vec<u8> {
        let length = log.consumed.offset.to_be_bytes();
        [MAGIC, &log.lineage.0, &length, &log.consumed.hash, &self.options.to_be_bytes()].concat()
    }

    /// Whether a log may hold what is looked for; where it has no filter that fits, it may.
    pub(super) fn may_hold(&self, log: &Progress, probes: &Probes) -> bool {
        self.load(log).is_none_or(|filter| probes.may_be_in(&filter))
    }

    fn load(&self, log: &Progress) -> Option<LogFilter> {
        let mut bytes = Vec::new();
        File::open(self.path(&log.lineage)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let (sealed, checksum) = bytes.split_last_chunk()?;
        if xxh3_64(sealed) != u64::from_be_bytes(*checksum) {
            return None;
        }
        LogFilter::from_bytes(sealed.strip_prefix(self.head(log).as_slice())?)
    }

    /// Writes the filter of a log. It is not synced: what a crash leaves of it has another checksum.
    fn save(&self, log: &Progress, filter: &LogFilter) -> io::Result<u64> {
        let mut bytes = self.head(log);
        bytes.extend_from_slice(&filter.to_bytes());
        bytes.extend_from_slice(&xxh3_64(&bytes).to_be_bytes());
        let path = self.path(&log.lineage);
        let beside = path.with_extension("part");
        File::create(&beside)?.write_all(&bytes)?;
        fs::rename(&beside, &path)?;
        self.sound.lock().insert(log.lineage, bytes.len() as u64);
        Ok(bytes.len() as u64)
    }

    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// When that cannot be.
    pub(super) fn make_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)
    }

    /// Writes the filter of a log that is being read; `Ok(false)` where there is no room for it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn save_fresh(
        &self,
        log: &Progress,
        filter: &LogFilter,
        budget: Option<u64>,
    ) -> io::Result<bool> {
        // Its room is taken before it is written: others write theirs at the same time.
        let bytes = bytes_of(filter);
        {
            let mut status = self.status.lock();
            if budget.is_some_and(|budget| status.bytes.saturating_add(bytes) > budget) {
                return Ok(false);
            }
            status.bytes += bytes;
            status.filters += 1;
            status.logs = status.logs.max(status.filters);
        }
        self.fresh.lock().insert(log.lineage.to_string());
        if let Err(error) = self.save(log, filter) {
            let mut status = self.status.lock();
            status.bytes = status.bytes.saturating_sub(bytes);
            status.filters = status.filters.saturating_sub(1);
            return Err(error);
        }
        Ok(true)
    }

    /// Looks how much there is, before anything is made.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(super) fn look(&self) -> io::Result<()> {
        let there = self.there()?;
        let mut status = self.status.lock();
        status.filters = there.len() as u64;
        status.bytes = there.values().sum();
        Ok(())
    }

    /// The files in the folder, and their bytes.
    fn there(&self) -> io::Result<HashMap<String, u64>> {
        let mut there = HashMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            if let Ok(name) = entry.file_name().into_string() {
                there.insert(name, bytes);
            }
        }
        Ok(there)
    }

    /// Makes the filters that are missing, the newest log's first, as far as `budget` bytes go, and removes those for which there is
    /// no room, or no log, any more.
    ///
    /// # Errors
    ///
    /// When the ledger or the folder cannot be read or written.
    pub fn pass(
        &self,
        ledger: &dyn ReadStore,
        config: &Config,
        budget: Option<u64>,
        stop: &Stop,
    ) -> Result<(), StoreError> {
        // What is made while a log is read is there before the ledger knows that log.
        let failed =
            |error: io::Error| StoreError::Io { what: format!("writing {}", self.folder.display()), error };
        self.make_folder().map_err(failed)?;
        let mut there = self.there().map_err(failed)?;
        let mut logs = ledger.lineages()?;
        logs.retain(|log| {
            log.complete
                && !is_origin(log)
                && (log.tally.counted > 0 || log.tally.skipped(Skip::NoAnswer) > 0)
        });
        logs.sort_by_key(|log| std::cmp::Reverse((log.times().1, log.lineage)));
        let mut status =
            FiltersStatus { logs: logs.len() as u64, max_bytes: budget, ..FiltersStatus::default() };
        let room = budget.unwrap_or(u64::MAX);
        for log in &logs {
            let name = log.lineage.to_string();
            let known = there.remove(&name);
            self.fresh.lock().remove(&name);
            if stop.is_stopped() {
                return Ok(());
            }
            let fits = |bytes: u64| status.bytes.saturating_add(bytes) <= room;
            let kept = match known {
                Some(bytes) if fits(bytes) && self.is_of(log, bytes) => Some(bytes),
                Some(_) => {
                    fs::remove_file(self.path(&log.lineage)).map_err(failed)?;
                    None
                }
                None => None,
            };
            let made = match kept {
                Some(bytes) => Some(bytes),
                None if status.bytes >= room => None,
                None if self.failed.lock().get(&log.lineage) == Some(&log.path) => None,
                None => match self.make(log, config, stop) {
                    Some(filter) if fits(bytes_of(&filter)) => Some(self.save(log, &filter).map_err(failed)?),
                    // Neither one that is too large nor a log that is not there is tried again and again.
                    _ => {
                        self.failed.lock().insert(log.lineage, log.path.clone());
                        None
                    }
                },
            };
            if let Some(bytes) = made {
                status.filters += 1;
                status.bytes += bytes;
            }
            *self.status.lock() = status;
        }
        *self.status.lock() = status;
        // Logs that the ledger knows no more, and what a process left that was killed.
        for name in there.keys() {
            let stem = name.strip_suffix(".part").unwrap_or(name);
            if self.fresh.lock().contains(stem) {
                continue;
            }
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the file of a log, of so many bytes, is of that log as it is now. Its checksum is looked at once, and then each time it is
    /// used.
    fn is_of(&self, log: &Progress, bytes: u64) -> bool {
        if self.sound.lock().get(&log.lineage) != Some(&bytes) {
            if self.load(log).is_none() {
                return false;
            }
            self.sound.lock().insert(log.lineage, bytes);
            return true;
        }
        let head = self.head(log);
        let mut found = vec![0; head.len()];
        let read = File::open(self.path(&log.lineage)).and_then(|mut file| file.read_exact(&mut found));
        read.is_ok() && found == head
    }

    /// Makes the filter of a log; none where it is not there, or not what was counted.
    fn make(&self, log: &Progress, config: &Config, stop: &Stop) -> Option<LogFilter> {
        let default = SourceConfig::default();
        let source = source_of(config, &log.path, &log.sensor).unwrap_or(&default);
        let how = ReadRules {
            zeek: &source.zeek,
            observe: &config.observe,
            max_line_bytes: config.max_line_bytes,
            needle: &Needle::NONE,
        };
        let want = |id: &LineageId| {
            let wanted = WantedLog { index: 0, progress: log, sensor: SensorId(0) };
            (*id == log.lineage).then_some(wanted)
        };
        let mut collector = Collector::new(MOST_KEYS, 0);
        let decoder = Decoder::open(&log.path).ok()?;
        let mut each = |at: super::read::At<'_>| collector.add(&at.meaning.observations);
        let came = read(decoder, how, &want, &mut each, &mut || !stop.is_stopped()).ok()?;
        let is_whole = !came.stopped && came.found.iter().any(|(_, found)| *found == LogMatch::Whole);
        if is_whole { collector.finish(kept_lines(log)) } else { None }
    }
}

/// Lines of a log that are in the ledger.
pub(super) fn kept_lines(log: &Progress) -> u64 {
    log.tally.counted.saturating_add(log.tally.skipped(Skip::NoAnswer))
}

/// Bytes that the file of a filter takes.
fn bytes_of(filter: &LogFilter) -> u64 {
    (filter.to_bytes().len() + MAGIC.len() + 16 + 8 + 16 + 8 + 8) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::keys::tests::observed;

    #[test]
    fn filters_that_are_written_at_the_same_time_keep_to_the_budget() {
        let data = tempfile::tempdir().unwrap();
        let filters = LogFilters::of(data.path(), &observe::Options::default());
        filters.make_folder().unwrap();
        let filter = observed(&["www.example.com"], &["192.0.2.7"]);
        let budget = Some(3 * bytes_of(&filter));
        let written = std::thread::scope(|scope| {
            let (filters, filter) = (&filters, &filter);
            let save = |number: u8| {
                let log = Progress::start(LineageId([number; 16]), "lan");
                scope.spawn(move || filters.save_fresh(&log, filter, budget).unwrap())
            };
            let all: Vec<_> = (0..32).map(save).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).filter(|written| *written).count()
        });
        assert_eq!((written, filters.there().unwrap().len()), (3, 3));
        assert_eq!(filters.status().bytes, filters.there().unwrap().values().sum::<u64>());
    }

    #[test]
    fn a_filter_that_is_cut_spoiled_or_of_something_else_is_none() {
        let data = tempfile::tempdir().unwrap();
        let options = observe::Options::default();
        let filters = LogFilters::of(data.path(), &options);
        fs::create_dir(&filters.folder).unwrap();
        let mut log = Progress::start(LineageId([7; 16]), "s");
        log.consumed.offset = 1234;
        let filter = observed(&["www.example.com"], &["192.0.2.7"]);
        filters.save(&log, &filter).unwrap();
        let bytes = fs::metadata(filters.path(&log.lineage)).unwrap().len();
        assert_eq!(bytes, bytes_of(&filter));
        assert!(filters.load(&log).is_some() && filters.is_of(&log, bytes));
        let path = filters.path(&log.lineage);
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(filters.load(&log).is_none(), "{end}");
        }
        for at in 0..whole.len() {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1;
            fs::write(&path, spoiled).unwrap();
            assert!(filters.load(&log).is_none(), "{at}");
            // Another process sees it, and makes it anew.
            assert!(!LogFilters::of(data.path(), &options).is_of(&log, bytes), "{at}");
        }
        fs::write(&path, &whole).unwrap();
        let longer = Progress {
            consumed: crate::progress::Mark { offset: 1235, hash: log.consumed.hash },
            ..log.clone()
        };
        assert!(filters.load(&longer).is_none() && !filters.is_of(&longer, bytes));
        let mut other = log.clone();
        other.consumed.hash = [9; 16];
        assert!(filters.load(&other).is_none() && !filters.is_of(&other, bytes));
        let other = observe::Options { skip_ports: vec![53], ..options };
        assert!(LogFilters::of(data.path(), &other).load(&log).is_none());
    }
}
