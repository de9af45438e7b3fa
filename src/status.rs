//! What the ledger says of itself: how far each log was read, how its lines ended, and as of when answers are true.
//!
//! Plain values with one JSON form, the same over HTTP, the control socket and `dnsledger status`.

use std::path::PathBuf;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::progress::Progress;
use crate::tally::{Malformed, Skip, Tally};

/// The state of everything that reads.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Status {
    /// The wall-clock instant by which every byte then visible in the logs had been read, epoch milliseconds; absent
    /// before the first pass over all sources ended, and where nothing is followed.
    pub as_of_ms: Option<u64>,
    /// Whether everything that was visible at the last look is read, history included.
    pub caught_up: bool,
    /// The time of the latest record, epoch seconds; absent before the first.
    pub newest: Option<u64>,
    /// All lines ever read, by how they ended.
    pub totals: Tally,
    /// Each source.
    pub sources: Vec<SourceStatus>,
}

/// One source.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct SourceStatus {
    /// The folder, file or glob as configured; empty for what was imported.
    pub logs: PathBuf,
    /// Its sensor.
    pub sensor: String,
    /// What it is doing.
    pub state: SourceState,
    /// Why it waits or fails, and what to do.
    pub reason: Option<String>,
    /// Bytes visible in live files and not read yet.
    pub lag_bytes: u64,
    /// Seconds since everything visible in it had been read; absent before the first pass.
    pub lag_seconds: Option<f64>,
    /// The reading of archives; absent when there is none to read.
    pub backfill: Option<BackfillStatus>,
    /// The lines of this source, by how they ended.
    pub totals: Tally,
    /// Each log.
    pub files: Vec<FileStatus>,
}

/// What a source is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// The folder or file is not there yet.
    #[default]
    Waiting,
    /// Archives are read while the live log is followed.
    Backfilling,
    /// The live log is followed and all archives are read.
    Following,
    /// It cannot be read just now; it is tried again.
    Failing,
    /// It was read once and is not followed.
    Imported,
}

/// How far the reading of archives is.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct BackfillStatus {
    /// Archives read or passed over.
    pub files_done: u64,
    /// Archives known.
    pub files_total: u64,
    /// Bytes on disk of those read or passed over.
    pub bytes_done: u64,
    /// Bytes on disk of all.
    pub bytes_total: u64,
    /// Lines read since it started.
    pub lines: u64,
    /// Lines a second since it started.
    pub lines_per_second: f64,
    /// Seconds left, by the bytes and the rate so far; absent before there is a rate.
    pub seconds_left: Option<f64>,
}

/// One log.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FileStatus {
    /// Where it was seen last.
    pub path: PathBuf,
    /// Its identity, 32 hexadecimal digits.
    pub lineage: String,
    /// Decompressed bytes read.
    pub consumed: u64,
    /// The time of its latest record, epoch seconds; absent before one was counted.
    pub newest: Option<u64>,
    /// Whether its end was seen.
    pub complete: bool,
    /// How often its content differed from what was read before.
    pub prefix_changed: u64,
    /// When it was read last, epoch seconds.
    pub read_at: u64,
    /// Its lines, by how they ended.
    #[serde(flatten)]
    pub tally: Tally,
}

impl From<&Progress> for FileStatus {
    fn from(progress: &Progress) -> FileStatus {
        FileStatus {
            path: progress.path.clone(),
            lineage: progress.lineage.to_string(),
            consumed: progress.consumed.offset,
            newest: (progress.newest > 0).then_some(progress.newest),
            complete: progress.complete,
            prefix_changed: progress.prefix_changed,
            read_at: progress.read_at,
            tally: progress.tally.clone(),
        }
    }
}

impl Status {
    /// The state of a ledger that nobody is feeding: its lineages, one source for each sensor.
    pub fn at_rest(lineages: &[Progress]) -> Status {
        let mut status = Status::default();
        for progress in lineages {
            status.totals.merge(&progress.tally);
            status.newest = status.newest.max((progress.newest > 0).then_some(progress.newest));
            let at = match status.sources.iter().position(|source| source.sensor == progress.sensor) {
                Some(at) => at,
                None => {
                    let sensor = progress.sensor.clone();
                    let state = SourceState::Imported;
                    status.sources.push(SourceStatus { sensor, state, ..SourceStatus::default() });
                    status.sources.len() - 1
                }
            };
            if let Some(source) = status.sources.get_mut(at) {
                source.totals.merge(&progress.tally);
                source.files.push(progress.into());
            }
        }
        status.sources.sort_by(|a, b| a.sensor.cmp(&b.sensor));
        for source in &mut status.sources {
            source.files.sort_by(|a, b| (&a.path, &a.lineage).cmp(&(&b.path, &b.lineage)));
        }
        status
    }
}

impl Serialize for Tally {
    /// `{"lines_read", "counted", "skipped": {reason: lines}, "malformed": {reason: lines}}`, every reason named.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Reasons<F>(F);
        impl<F: Fn() -> Vec<(&'static str, u64)>> Serialize for Reasons<F> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0())
            }
        }
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("lines_read", &self.lines())?;
        map.serialize_entry("counted", &self.counted)?;
        let skipped = || Skip::ALL.iter().map(|&r| (r.name(), self.skipped(r))).collect();
        map.serialize_entry("skipped", &Reasons(skipped))?;
        let malformed = || Malformed::ALL.iter().map(|&r| (r.name(), self.malformed(r))).collect();
        map.serialize_entry("malformed", &Reasons(malformed))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::LineageId;
    use crate::tally::Fate;

    #[test]
    fn a_ledger_at_rest_adds_up() {
        let mut lineages = Vec::new();
        for (i, sensor) in ["b", "a", "b"].iter().enumerate() {
            let mut progress = Progress::start(LineageId([i as u8; 16]), sensor);
            progress.tally.add(Fate::Counted);
            progress.tally.add(Fate::Skipped(Skip::NoAnswer));
            progress.newest = i as u64;
            lineages.push(progress);
        }
        let status = Status::at_rest(&lineages);
        assert_eq!(status.totals.lines(), 6);
        assert_eq!(status.newest, Some(2));
        assert_eq!(
            status.sources.iter().map(|s| (s.sensor.as_str(), s.files.len())).collect::<Vec<_>>(),
            [("a", 1), ("b", 2)]
        );
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["totals"]["lines_read"], 6);
        assert_eq!(json["totals"]["skipped"]["no_answer"], 3);
        assert_eq!(json["sources"][0]["files"][0]["counted"], 1);
    }
}
