//! Status: how far each log was read, how its lines ended, and as of when answers are true.
//!
//! Plain values with one JSON form, the same over HTTP, the control socket and `dnsledger status`.

pub mod history;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::progress::Progress;
use crate::tally::{Malformed, Skip, Tally};

/// How far the newest record may be ahead of the clock and is taken for one of now, seconds.
const CLOCK_SLACK: u64 = 60;

/// A path as text: as it is, or, where it is no UTF-8, with `\\xff` for each byte that belongs to no character, and two
/// backslashes for one.
pub fn shown_path(path: &Path) -> String {
    if let Some(text) = path.to_str() {
        return text.to_owned();
    }
    let mut shown = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        shown.push_str(&chunk.valid().replace('\\', "\\\\"));
        chunk.invalid().iter().for_each(|byte| shown.push_str(&format!("\\x{byte:02x}")));
    }
    shown
}

fn write_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_path(path))
}

/// The state of everything that reads.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Status {
    /// The wall-clock instant by which every byte then visible in the logs had been read, epoch milliseconds; absent
    /// before the first pass over all sources ended, and where nothing is followed.
    pub as_of_ms: Option<u64>,
    /// Whether everything that was visible at the last look is read, history included.
    pub caught_up: bool,
    /// The time of the latest record that is not of the future, epoch seconds; absent before the first.
    pub newest: Option<u64>,
    /// Warnings for the operator, a sentence each.
    pub warnings: Vec<String>,
    /// Why answers may lack what the logs hold, in a sentence each; empty when everything visible is read.
    pub incomplete: Vec<String>,
    /// All lines ever read, by how they ended.
    pub totals: Tally,
    /// Each source.
    pub sources: Vec<SourceStatus>,
}

/// One source.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct SourceStatus {
    /// The folder, file or glob as configured; empty for what was imported.
    #[serde(serialize_with = "write_path")]
    pub logs: PathBuf,
    /// Its sensor.
    pub sensor: String,
    /// Its state.
    pub state: SourceState,
    /// Why it waits or fails, and what to do.
    pub reason: Option<String>,
    /// Bytes visible in live files and not read yet.
    pub lag_bytes: u64,
    /// Seconds since everything visible in it had been read; absent before the first pass.
    pub lag_seconds: Option<f64>,
    /// The reading of archives; absent when there is none to read.
    pub backfill: Option<BackfillStatus>,
    /// How much of it was seen and is not read, by kind.
    pub unread_counts: UnreadCounts,
    /// Files that are not read, with the reason: at most [`UNREAD_LISTED`], those that may hold records first.
    pub unread: Vec<Unread>,
    /// The lines of this source, by how they ended.
    pub totals: Tally,
    /// How often the content of one of its logs differed from what was read before.
    #[serde(skip)]
    pub prefix_changed: u64,
    /// Each log.
    pub files: Vec<FileStatus>,
}

/// The state of a source.
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

/// As of when answers are true, and what they may lack: members of each answer in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Freshness {
    /// The instant by which every byte then visible had been read, RFC 3339; absent before the first pass.
    pub as_of: Option<String>,
    /// Why answers may lack what the logs hold, in a sentence each; empty when everything visible is read.
    pub incomplete: Vec<String>,
    /// Rows last seen before this were dropped, epoch seconds; absent if none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_before: Option<u64>,
    /// Whether logs are followed.
    #[serde(skip)]
    pub is_followed: bool,
    /// Where other ledgers feed this one: as of when it has what each sensor has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensors: Option<Vec<SensorTime>>,
}

/// As of when all that a sensor has seen is there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SensorTime {
    /// The sensor.
    pub sensor: String,
    /// RFC 3339; absent where it never was.
    pub as_of: Option<String>,
    /// Whether nothing more is expected of it.
    pub closed: bool,
}

//--- Notices --------------------------------------------------------------------------------------------------------

/// Warnings for the operator, by subject. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Notices(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Notices {
    /// Puts up a notice, or takes it down. Says whether that changes anything.
    pub fn set(&self, about: &'static str, says: Option<String>) -> bool {
        let mut notices = self.0.lock();
        let is_new = notices.get(about) != says.as_ref();
        match says {
            Some(says) => drop(notices.insert(about, says)),
            None => drop(notices.remove(about)),
        }
        is_new
    }

    /// All notices that are set.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().values().cloned().collect()
    }
}

//--- Unread ---------------------------------------------------------------------------------------------------------

/// How many unread files and folders of a source are listed; all of them are counted.
pub const UNREAD_LISTED: usize = 100;
/// How many are remembered by path.
const UNREAD_KEPT: usize = 10_000;
/// How long a reason may be, characters.
const REASON_CHARS: usize = 300;

/// Why something is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum UnreadKind {
    /// The system refuses: no permission, an error of the disk. It is tried again.
    Unreadable,
    /// It cannot be decompressed, or not to its end: damaged, cut short, a compression that is not supported.
    Undecodable,
    /// A folder beyond the bound on folders or depth.
    NotEntered,
    /// It was looked at and holds no DNS record, or the same records as another log that is read.
    PassedOver,
}

impl UnreadKind {
    /// All of them, in the order of their severity.
    pub const ALL: &'static [UnreadKind] =
        &[UnreadKind::Unreadable, UnreadKind::Undecodable, UnreadKind::NotEntered, UnreadKind::PassedOver];

    /// The name in status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            UnreadKind::Unreadable => "unreadable",
            UnreadKind::Undecodable => "undecodable",
            UnreadKind::NotEntered => "not_entered",
            UnreadKind::PassedOver => "passed_over",
        }
    }

    /// Whether records may be missing for it: then not everything visible is read.
    pub fn may_hold_records(self) -> bool {
        self != UnreadKind::PassedOver
    }
}

/// A file or folder that was seen and is not read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    /// Where it is.
    #[serde(serialize_with = "write_path")]
    pub path: PathBuf,
    /// The kind of the reason.
    pub kind: UnreadKind,
    /// The reason, and what to do.
    pub reason: String,
}

/// How many files and folders are unread, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnreadCounts([u64; UnreadKind::ALL.len()]);

impl UnreadCounts {
    /// How many are unread for this kind of reason.
    pub fn of(&self, kind: UnreadKind) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    /// How many may hold records.
    pub fn may_hold_records(&self) -> u64 {
        UnreadKind::ALL.iter().filter(|kind| kind.may_hold_records()).map(|&kind| self.of(kind)).sum()
    }

    /// How many are unread.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, kind: UnreadKind, n: u64) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = slot.saturating_add(n);
        }
    }

    /// Adds others to these.
    pub fn merge(&mut self, other: &UnreadCounts) {
        UnreadKind::ALL.iter().for_each(|&kind| self.add(kind, other.of(kind)));
    }
}

impl Serialize for UnreadCounts {
    /// `{kind: number}`, every kind named.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(UnreadKind::ALL.iter().map(|&kind| (kind.name(), self.of(kind))))
    }
}

/// The files of a source that are not read, by path, each with its latest reason. Only so many are remembered by path; the
/// others are counted until none is left.
#[derive(Debug, Clone, Default)]
pub struct UnreadSet {
    files: BTreeMap<PathBuf, (UnreadKind, String)>,
    counts: UnreadCounts,
    more: UnreadCounts,
}

impl UnreadSet {
    /// Notes why a path is not read. Says whether that is new: it had no reason, or another one.
    pub fn put(&mut self, path: &Path, kind: UnreadKind, reason: &str) -> bool {
        let reason: String = reason.chars().take(REASON_CHARS).collect();
        if let Some(known) = self.files.get_mut(path) {
            let is_new = known.1 != reason || known.0 != kind;
            *known = (kind, reason);
            self.tidy();
            return is_new;
        }
        if self.files.len() >= UNREAD_KEPT {
            self.more.add(kind, 1);
            return false;
        }
        self.files.insert(path.to_owned(), (kind, reason));
        self.counts.add(kind, 1);
        true
    }

    /// Forgets a path: it is read now, or is gone. Says whether it was there.
    pub fn remove(&mut self, path: &Path) -> bool {
        let was_there = self.files.remove(path).is_some();
        self.tidy();
        was_there
    }

    /// Whether a path has a reason.
    pub fn contains(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Keeps only some paths.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        self.files.retain(|path, _| keep(path));
        self.tidy();
    }

    fn tidy(&mut self) {
        let mut counts = UnreadCounts::default();
        self.files.values().for_each(|(kind, _)| counts.add(*kind, 1));
        self.counts = counts;
        if self.files.is_empty() {
            self.more = UnreadCounts::default();
        }
    }

    /// Why a path is not read, if it is in here.
    pub fn reason(&self, path: &Path) -> Option<&str> {
        self.files.get(path).map(|(_, reason)| reason.as_str())
    }

    /// How many there are.
    pub fn counts(&self) -> UnreadCounts {
        let mut counts = self.more;
        counts.merge(&self.counts);
        counts
    }

    /// Whether records may be missing for something in here.
    pub fn may_hold_records(&self) -> bool {
        self.counts().may_hold_records() > 0
    }

    /// The gravest of what may hold records.
    pub fn gravest(&self) -> Option<Unread> {
        self.in_order().next().filter(|unread| unread.kind.may_hold_records())
    }

    /// The files that are not in another set, or have another reason there.
    pub fn news(&self, before: &UnreadSet) -> Vec<Unread> {
        let is_new =
            |unread: &Unread| before.files.get(&unread.path).map(|known| &known.1) != Some(&unread.reason);
        self.in_order().filter(is_new).take(UNREAD_LISTED).collect()
    }

    /// Whether nothing is in here.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The paths, what may hold records first.
    fn in_order(&self) -> impl Iterator<Item = Unread> {
        UnreadKind::ALL.iter().flat_map(|&wanted| {
            let of_kind = self.files.iter().filter(move |(_, (kind, _))| *kind == wanted);
            of_kind.map(|(path, (kind, reason))| Unread {
                path: path.clone(),
                kind: *kind,
                reason: reason.clone(),
            })
        })
    }
}

impl SourceStatus {
    /// Takes up what is not read, of one set or of several.
    pub fn add_unread(&mut self, unread: &UnreadSet) {
        self.unread_counts.merge(&unread.counts());
        self.unread.extend(unread.in_order().take(UNREAD_LISTED));
        self.unread.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        self.unread.truncate(UNREAD_LISTED);
    }
}

//--- logs -----------------------------------------------------------------------------------------------------------

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
    #[serde(serialize_with = "write_path")]
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

impl FileStatus {
    /// How far a log was read; `now` is the wall clock, epoch seconds.
    pub fn at(progress: &Progress, now: u64) -> FileStatus {
        let newest = |until| Some(progress.newest).filter(|newest| *newest > 0 && *newest <= until);
        FileStatus {
            path: progress.path.clone(),
            lineage: progress.lineage.to_string(),
            consumed: progress.consumed.offset,
            newest: newest(now + CLOCK_SLACK),
            complete: progress.complete,
            prefix_changed: progress.prefix_changed,
            read_at: progress.read_at,
            tally: progress.tally.clone(),
        }
    }
}

/// The time of the latest record that is not of the future, given the latest one until a time.
pub fn newest_past(newest_until: impl FnOnce(u64) -> Option<u64>, now: u64) -> Option<u64> {
    // A clock that was set back a little makes the present the future for a moment.
    newest_until(now + CLOCK_SLACK).map(|newest| newest.min(now))
}

impl Status {
    /// The state of a ledger that nobody is feeding: its lineages, one source for each sensor. `now` is the wall clock,
    /// epoch seconds.
    pub fn at_rest(lineages: &[Progress], now: u64) -> Status {
        let mut status = Status::default();
        for progress in lineages {
            status.totals.merge(&progress.tally);
            let file = FileStatus::at(progress, now);
            status.newest = status.newest.max(newest_past(|_| file.newest, now));
            let at = status.imported_from(&progress.sensor);
            if let Some(source) = status.sources.get_mut(at) {
                source.totals.merge(&progress.tally);
                source.prefix_changed = source.prefix_changed.saturating_add(progress.prefix_changed);
                source.files.push(file);
            }
        }
        status.sources.sort_by(|a, b| a.sensor.cmp(&b.sensor));
        status.sort_files();
        status
    }

    /// Where what was imported under a sensor stands among the sources.
    pub fn imported_from(&mut self, sensor: &str) -> usize {
        let is_it = |source: &SourceStatus| source.state == SourceState::Imported && source.sensor == sensor;
        self.sources.iter().position(is_it).unwrap_or_else(|| {
            let (sensor, state) = (sensor.to_owned(), SourceState::Imported);
            self.sources.push(SourceStatus { sensor, state, ..SourceStatus::default() });
            self.sources.len() - 1
        })
    }

    /// Puts the logs of each source in order.
    pub fn sort_files(&mut self) {
        for source in &mut self.sources {
            source.files.sort_by(|a, b| (&a.path, &a.lineage).cmp(&(&b.path, &b.lineage)));
        }
    }
}

impl Serialize for Tally {
    /// `{"lines_read", "counted", "skipped": {reason: lines}, "malformed": {reason: lines}, "answers_cut"}`, every reason
    /// named.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Reasons<F>(F);
        impl<F: Fn() -> Vec<(&'static str, u64)>> Serialize for Reasons<F> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0())
            }
        }
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("lines_read", &self.lines())?;
        map.serialize_entry("counted", &self.counted)?;
        let skipped = || Skip::ALL.iter().map(|&r| (r.name(), self.skipped(r))).collect();
        map.serialize_entry("skipped", &Reasons(skipped))?;
        let malformed = || Malformed::ALL.iter().map(|&r| (r.name(), self.malformed(r))).collect();
        map.serialize_entry("malformed", &Reasons(malformed))?;
        map.serialize_entry("answers_cut", &self.answers_cut)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::LineageId;
    use crate::tally::Fate;

    #[test]
    fn what_is_not_read_is_listed_up_to_a_bound_and_counted_whole() {
        let mut unread = UnreadSet::default();
        for i in 0..UNREAD_KEPT + 5 {
            let path = format!("/logs/dns-notes-{i:05}");
            assert_eq!(
                unread.put(Path::new(&path), UnreadKind::PassedOver, "no DNS record"),
                i < UNREAD_KEPT
            );
        }
        assert!(!unread.may_hold_records());
        let mut source = SourceStatus::default();
        source.add_unread(&unread);
        let mut failed = UnreadSet::default();
        let path = Path::new("/logs/dns.1.log.gz");
        assert!(failed.put(path, UnreadKind::Unreadable, "permission denied"));
        assert!(!failed.put(path, UnreadKind::Unreadable, "permission denied"));
        assert!(failed.put(path, UnreadKind::Undecodable, &"damaged ".repeat(100)), "the reason changed");
        assert!(failed.may_hold_records() && failed.reason(path).unwrap().len() == REASON_CHARS);
        source.add_unread(&failed);
        assert_eq!((source.unread.len(), source.unread[0].path.as_path()), (UNREAD_LISTED, path));
        let json = serde_json::to_value(&source).unwrap();
        assert_eq!(json["unread_counts"]["passed_over"], UNREAD_KEPT + 5);
        assert_eq!(json["unread_counts"]["undecodable"], 1);
        assert_eq!(json["unread"][0]["kind"], "undecodable");
        assert_eq!((source.unread_counts.total(), source.unread_counts.may_hold_records()), (10_006, 1));
        assert!(failed.remove(path) && !failed.remove(path) && !failed.may_hold_records());
        unread.retain(|_| false);
        assert_eq!(unread.counts(), UnreadCounts::default());
    }

    #[test]
    fn a_ledger_at_rest_adds_up() {
        let mut lineages = Vec::new();
        for (i, sensor) in ["b", "a", "b"].iter().enumerate() {
            let mut progress = Progress::start(LineageId([i as u8; 16]), sensor);
            progress.tally.add(Fate::Counted);
            progress.tally.add(Fate::Skipped(Skip::NoAnswer));
            progress.tally.cut_answers(7);
            progress.newest = i as u64;
            lineages.push(progress);
        }
        let status = Status::at_rest(&lineages, 1);
        assert_eq!(status.totals.lines(), 6);
        assert_eq!(status.newest, Some(1), "one of the future is not later than now");
        assert_eq!(Status::at_rest(&lineages, 100).newest, Some(2));
        // What an earlier version took down of a wrong time says nothing.
        lineages[1].newest = 4_039_374_839;
        assert_eq!(Status::at_rest(&lineages, 100).newest, Some(2));
        assert_eq!(
            status.sources.iter().map(|s| (s.sensor.as_str(), s.files.len())).collect::<Vec<_>>(),
            [("a", 1), ("b", 2)]
        );
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["totals"]["lines_read"], 6);
        assert_eq!(json["totals"]["skipped"]["no_answer"], 3);
        assert_eq!(json["totals"]["answers_cut"], 21);
        assert_eq!(json["sources"][0]["files"][0]["counted"], 1);
    }

    #[test]
    fn a_status_can_be_written_whatever_files_are_called() {
        use std::os::unix::ffi::OsStrExt;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/logs/a\\b\xffdns.log"));
        let mut progress = Progress::start(LineageId([0; 16]), "lan");
        progress.path = path.clone();
        let mut status = Status::at_rest(&[progress], 0);
        status.sources[0].logs = path.clone();
        status.sources[0].unread.push(Unread { path, kind: UnreadKind::Unreadable, reason: String::new() });
        let json = serde_json::to_value(&status).unwrap();
        let source = &json["sources"][0];
        for shown in [&source["logs"], &source["files"][0]["path"], &source["unread"][0]["path"]] {
            assert_eq!(shown, "/logs/a\\\\b\\xffdns.log");
        }
        assert_eq!(shown_path(Path::new("/a\\b/ü")), "/a\\b/ü");
    }
}
