//! A file-action interpreter: Zeek, archivers and operators do things to files in random order while the follower looks
//! on, is stopped, or is killed; a model knows which records exist and where. At the end each record that can still be
//! read, or was, is counted once, and none twice.
//!
//! Everything is stepped by hand: no threads, no clock. One seed replays a failure (`PROPTEST_CASES` sets how many).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::base::clock::Hand;
use crate::base::shutdown::Stop;
use crate::ingest::follow::Stepped;
use crate::ingest::*;
use crate::observation::SensorId;
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::memory::MemoryStore;
use crate::store::{
    Expired, OnPiece, OnProgress, Pair, ReadStore, Reduce, Reduced, Scan, Snapshot, Stats, StoreError,
    Survey, Verification, WriteStore,
};

//--- the world ------------------------------------------------------------------------------------------------------

const HEADER: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n\
    #open\t2024-04-12-19-29-12\n#fields\tts\tuid\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\n\
    #types\ttime\tstring\taddr\tport\tstring\tcount\tcount\tcount\tvector[string]\tvector[interval]\n";

fn line(record: u32) -> String {
    format!("17{record:08}.5\tC{record}\t10.0.0.1\t53\tr{record}.example\t1\t1\t0\t192.0.2.1\t60.0\n")
}

fn json_line(record: u32) -> String {
    format!(
        "{{\"ts\":17{record:08}.5,\"uid\":\"C{record}\",\"id.resp_p\":53,\"query\":\"r{record}.example\",\"qclass\":1,\"qtype\":1,\
         \"rcode\":0,\"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}}\n"
    )
}

/// The record of a whole line.
fn record_of(line: &str) -> Option<u32> {
    let line = line.trim_start_matches('\0').strip_suffix('\n')?;
    let uid = match line.starts_with("{\"ts\":17") && line.ends_with('}') {
        true => line.split('"').nth(5),
        false => line.split('\t').nth(1).filter(|_| line.starts_with("17")),
    };
    uid?.strip_prefix('C').map(|number| number.parse().unwrap())
}

/// A store whose disk may be full.
#[derive(Default)]
struct Disk {
    store: MemoryStore,
    /// So many batches more are refused, and new sensors until then.
    full: AtomicU8,
    /// How often a batch was given.
    tries: AtomicUsize,
    /// How often it was asked to have everything on disk.
    flushes: AtomicUsize,
    has_sensor: AtomicBool,
}

impl Disk {
    fn is_full() -> StoreError {
        let error = io::ErrorKind::StorageFull.into();
        StoreError::Io { what: "a full disk".to_owned(), error }
    }

    fn write(&self) -> Result<(), StoreError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let full = self.full.load(Ordering::Relaxed);
        if full > 0 {
            self.full.store(full - 1, Ordering::Relaxed);
            return Err(Disk::is_full());
        }
        Ok(())
    }
}

impl ReadStore for Disk {
    fn now(&self) -> Arc<dyn Snapshot> {
        self.store.now()
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.store.sensor_name(sensor)
    }

    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        self.store.lineage(id)
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        self.store.lineages()
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        self.store.stats()
    }

    fn expired_before(&self) -> u64 {
        self.store.expired_before()
    }

    fn survey(&self, now: u64, goes_on: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError> {
        self.store.survey(now, goes_on)
    }

    fn failing(&self) -> Option<StoreError> {
        self.store.failing()
    }

    fn copy(&self, take: OnPiece<'_>) -> Result<(), StoreError> {
        self.store.copy(take)
    }

    fn verify(&self, on_progress: OnProgress<'_>) -> Result<Verification, StoreError> {
        self.store.verify(on_progress)
    }
}

impl WriteStore for Disk {
    fn stage(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.stage(batch)
    }

    fn staged_bytes(&self) -> usize {
        self.store.staged_bytes()
    }

    fn commit(&self) -> Result<Vec<Progress>, StoreError> {
        if self.store.staged_bytes() > 0 {
            self.write()?;
        }
        self.store.commit()
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.write()?;
        self.store.apply(batch)
    }

    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        if self.full.load(Ordering::Relaxed) > 0 && !self.has_sensor.load(Ordering::Relaxed) {
            return Err(Disk::is_full());
        }
        self.has_sensor.store(true, Ordering::Relaxed);
        self.store.sensor(name)
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        self.store.cached()
    }

    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        self.store.cache(puts, drops)
    }

    fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        self.store.expire(before, at)
    }

    fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        self.store.lower_expired(before, at)
    }

    fn forget(&self, sensor: SensorId, lineage: &LineageId) -> Result<(), StoreError> {
        self.store.forget(sensor, lineage)
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        self.store.rewrite()
    }

    fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError> {
        self.store.reduce(rule, at)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.store.flush()
    }
}

/// Zeek with one logger, writing in one folder.
struct Zeek {
    folder: PathBuf,
    /// Whether it writes JSON: that has no header to lose, and no end.
    json: bool,
    /// The open log and the place in it: Zeek does not append.
    open: Option<(File, u64)>,
    /// The rest of a line of which only the beginning was written, and its record.
    torn: Option<(Vec<u8>, u32)>,
}

impl Zeek {
    fn path(&self) -> PathBuf {
        self.folder.join("dns.log")
    }

    /// Renames the log, unless somebody else did.
    fn rename_to(&self, name: &Path) {
        if self.path().exists() {
            fs::rename(self.path(), name).unwrap();
        }
    }
}

/// What happens.
#[derive(Debug, Clone)]
enum Action {
    /// Zeek writes records.
    Write { logger: usize, records: u8 },
    /// A write reaches the file only in part; the next one completes it.
    Tear { logger: usize, at: u8 },
    /// `#close`, and a rename in the same folder.
    Rotate { logger: usize },
    /// Zeek is killed and starts again in the same folder: its log is truncated in place.
    Restart { logger: usize },
    /// Zeek is killed, and its log is rotated without `#close` when it starts again.
    CrashRotate { logger: usize },
    /// logrotate: a copy, then truncation; Zeek writes on at its old place.
    CopyTruncate { logger: usize },
    /// logrotate: a rename, but Zeek writes on in the renamed file.
    RenameOpen { logger: usize },
    /// The archiver begins to compress a rotated log: part of the archive is there.
    GzipBegin { pick: u8, part: u8 },
    /// The archiver goes on with an archive it began.
    GzipStep { pick: u8, bytes: u8 },
    /// The archive is whole; the rotated log goes.
    GzipFinish { pick: u8 },
    /// An archive is made under another name, as zstd.
    ArchiveAgain { pick: u8 },
    /// An archive or rotated log gets another name or folder.
    Move { pick: u8 },
    /// A move to another file system begins: part of the copy is there.
    MoveBegin { pick: u8, part: u8 },
    /// All such moves end: the copies are whole, the originals go.
    MoveEnd,
    /// A copy on another file system: another inode.
    Copy { pick: u8 },
    /// An archive is overwritten in place by another one (the hour that comes twice in autumn).
    Overwrite { pick: u8, by: u8 },
    /// A rotated log or an archive is deleted.
    Delete { pick: u8 },
    /// The folder that a Zeek writes in is moved away and made anew, as itself or as a link to another; Zeek writes on in what
    /// it has open.
    ReplaceFolder { logger: usize, link: bool },
    /// The folder of some rotated log or archive, with all that is below it, gets another name, in another folder.
    MoveFolder { pick: u8 },
    /// The clock was wrong when a file was written: it says another time of itself, days before or after.
    Date { pick: u8, days: i8 },
    /// The clock of the daemon is set, to so many days before or after what is right.
    SetClock { days: i16 },
    /// The follower looks at everything once.
    Turn,
    /// One archive is read.
    ReadArchive,
    /// The open batch is committed.
    Commit,
    /// The disk of the ledger is full for so many commits.
    DiskFull { commits: u8 },
    /// The daemon runs until there is nothing to do.
    Settle,
    /// The daemon is stopped, and started again.
    Stop,
    /// The daemon is killed, and started again.
    Kill,
    /// The daemon is killed; it starts again at the next `Turn` or later.
    Down,
}

struct World {
    root: tempfile::TempDir,
    store: Arc<Disk>,
    daemon: Option<Stepped>,
    /// What sets the clock of the daemon, and what it shows at the next start.
    hand: Option<Hand>,
    time: u64,
    zeeks: Vec<Zeek>,
    /// Archives that are being written: where, and what is missing.
    growing: Vec<(PathBuf, Vec<u8>)>,
    /// Files that are being moved across file systems: from where, to where.
    moving: Vec<(PathBuf, PathBuf)>,
    next_record: u32,
    next_name: u32,
    /// Records of which it cannot be said whether they could be read: those after a hole, whose header may be lost.
    uncertain: BTreeSet<u32>,
    written: u32,
}

impl World {
    fn new(loggers: usize) -> World {
        let root = tempfile::tempdir().unwrap();
        let zeeks = (0..loggers)
            .map(|i| {
                let folder = root.path().join(match i {
                    0 => "current".to_owned(),
                    i => format!("sensors/{i}/spool"),
                });
                fs::create_dir_all(&folder).unwrap();
                Zeek { folder, json: i == 1, open: None, torn: None }
            })
            .collect();
        let mut world = World {
            root,
            store: Arc::default(),
            daemon: None,
            hand: None,
            time: crate::base::clock::now(),
            zeeks,
            growing: Vec::new(),
            moving: Vec::new(),
            next_record: 0,
            next_name: 0,
            uncertain: BTreeSet::new(),
            written: 0,
        };
        world.daemon();
        world
    }

    fn daemon(&mut self) -> &mut Stepped {
        let (store, root, time, hand) = (&self.store, self.root.path(), self.time, &mut self.hand);
        self.daemon.get_or_insert_with(|| {
            let source = SourceConfig { logs: root.to_owned(), ..SourceConfig::default() };
            let none = Duration::ZERO;
            let (clock, new) = Hand::at(time);
            *hand = Some(new);
            let config = Config {
                sources: vec![source],
                grace: none,
                settling: none,
                threads: 1,
                clock,
                ..Config::default()
            };
            store.store.crash();
            Stepped::start(config, &(Arc::clone(store) as Arc<dyn WriteStore>))
        })
    }

    fn new_name(&mut self, ending: &str) -> PathBuf {
        self.next_name += 1;
        let day = 10 + self.next_name % 3;
        // Folders as deep as people have them.
        let folder = self.root.path().join(match self.next_name / 3 % 4 {
            0 => format!("2024-04-{day}"),
            1 => format!("2024/04/{day}"),
            2 => format!("logs/zeek/sensor-{day}/2024-04-{day}"),
            _ => format!("sensors/{day}/spool/old"),
        });
        fs::create_dir_all(&folder).unwrap();
        // Zeek's names, those of logrotate with `dateext`, and those of other sensors.
        match (self.next_name % 3, ending.strip_prefix(".log")) {
            (0, Some(packed)) => folder.join(format!("dns.log-{:08}{packed}", self.next_name)),
            (1, Some(_)) => folder.join(format!("dns_{:08}_12:00:00{ending}", self.next_name)),
            _ => folder.join(format!("dns.{:04}{ending}", self.next_name)),
        }
    }

    /// All files, once for each name.
    fn files(&self) -> Vec<PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![self.root.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                // What a link leads to is in the folder, too.
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    /// Rotated logs and archives.
    fn rotated(&self) -> Vec<PathBuf> {
        let mut found = self.files();
        found.retain(|path| path.file_name().unwrap() != "dns.log");
        found
    }

    fn pick(&self, pick: u8, packed: Option<bool>) -> Option<PathBuf> {
        let mut found = self.rotated();
        if let Some(packed) = packed {
            found.retain(|path| matches!(path.extension().unwrap().to_str(), Some("gz" | "zst")) == packed);
        }
        if found.is_empty() { None } else { Some(found.swap_remove(usize::from(pick) % found.len())) }
    }

    fn zeek(&mut self, logger: usize) -> &mut Zeek {
        let count = self.zeeks.len();
        &mut self.zeeks[logger % count]
    }

    fn write(&mut self, logger: usize, records: u32, tear_at: Option<u8>) {
        let from = self.next_record;
        self.next_record += records;
        let zeek = self.zeek(logger);
        if zeek.open.is_none() {
            let file = File::create(zeek.folder.join("dns.log")).unwrap();
            let header = if zeek.json { "" } else { HEADER };
            file.write_all_at(header.as_bytes(), 0).unwrap();
            zeek.open = Some((file, header.len() as u64));
        }
        let (file, place) = zeek.open.as_mut().unwrap();
        let mut put = |bytes: &[u8]| {
            file.write_all_at(bytes, *place).unwrap();
            *place += bytes.len() as u64;
        };
        if let Some((rest, _)) = zeek.torn.take() {
            put(&rest);
        }
        for record in from..from + records {
            let text = if zeek.json { json_line(record) } else { line(record) };
            match tear_at {
                Some(at) if record + 1 == from + records => {
                    let (begin, rest) = text.as_bytes().split_at(1 + usize::from(at) % (text.len() - 1));
                    put(begin);
                    zeek.torn = Some((rest.to_vec(), record));
                }
                _ => put(text.as_bytes()),
            }
        }
        self.written = self.next_record;
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Write { logger, records } => self.write(logger, u32::from(records), None),
            Action::Tear { logger, at } => self.write(logger, 1, Some(at)),
            Action::Rotate { logger } => {
                self.write(logger, 0, None); // completes a torn line; opens a log if there is none
                let name = self.new_name(".log");
                let zeek = self.zeek(logger);
                let (file, place) = zeek.open.take().unwrap();
                if !zeek.json {
                    file.write_all_at(b"#close\t2024-04-12-19-34-07\n", place).unwrap();
                }
                zeek.rename_to(&name);
            }
            Action::Restart { logger } => {
                let zeek = self.zeek(logger);
                zeek.torn = None;
                zeek.open = None;
                self.write(logger, 0, None);
            }
            Action::CrashRotate { logger } => {
                let name = self.new_name(".log");
                let zeek = self.zeek(logger);
                zeek.torn = None;
                if zeek.open.take().is_some() {
                    zeek.rename_to(&name);
                }
            }
            Action::CopyTruncate { logger } => {
                let name = self.new_name(".log");
                let from = self.next_record;
                let zeek = self.zeek(logger);
                if zeek.path().exists()
                    && let Some((file, _)) = &zeek.open
                {
                    fs::copy(zeek.path(), name).unwrap();
                    file.set_len(0).unwrap();
                    // What is written to this file from now on comes after a hole, and its header is gone: it is read
                    // with the one of the same open file, which only a daemon that followed it has.
                    if !zeek.json {
                        self.uncertain.extend(from..from + 1000);
                    }
                }
            }
            Action::RenameOpen { logger } => {
                let name = self.new_name(".log");
                let zeek = self.zeek(logger);
                zeek.rename_to(&name);
            }
            Action::GzipBegin { pick, part } => {
                if let Some(path) = self.pick(pick, Some(false)) {
                    let mut whole = gzip(&fs::read(&path).unwrap());
                    let rest = whole.split_off(whole.len() * usize::from(part) / 256);
                    self.replaced(&gz_name(&path));
                    fs::write(gz_name(&path), whole).unwrap();
                    self.growing.push((gz_name(&path), rest));
                }
            }
            Action::GzipStep { pick, bytes } => {
                self.growing.retain(|(path, rest)| path.exists() && !rest.is_empty());
                if let Some(at) = usize::from(pick).checked_rem(self.growing.len()) {
                    let (path, rest) = &mut self.growing[at];
                    let left = rest.split_off(rest.len().min(4 * usize::from(bytes)));
                    let step = std::mem::replace(rest, left);
                    OpenOptions::new().append(true).open(path).unwrap().write_all(&step).unwrap();
                }
            }
            Action::GzipFinish { pick } => {
                if let Some(path) = self.pick(pick, Some(false))
                    && !self.is_open(&path)
                {
                    self.replaced(&gz_name(&path));
                    fs::write(gz_name(&path), gzip(&fs::read(&path).unwrap())).unwrap();
                    fs::remove_file(path).unwrap();
                }
            }
            Action::ArchiveAgain { pick } => {
                if let Some(path) = self.pick(pick, Some(false)) {
                    let name = self.new_name(".log.zst");
                    fs::write(name, zstd::encode_all(&fs::read(&path).unwrap()[..], 1).unwrap()).unwrap();
                }
            }
            Action::Move { pick } => {
                if let Some(path) = self.pick(pick, None) {
                    let ending = ending(&path);
                    fs::rename(&path, self.new_name(&ending)).unwrap();
                }
            }
            Action::MoveBegin { pick, part } => {
                if let Some(path) = self.pick(pick, None)
                    && !self.is_open(&path)
                {
                    let bytes = fs::read(&path).unwrap();
                    let to = self.new_name(&ending(&path));
                    fs::write(&to, &bytes[..bytes.len() * usize::from(part) / 256]).unwrap();
                    self.moving.push((path, to));
                }
            }
            Action::MoveEnd => {
                for (from, to) in std::mem::take(&mut self.moving) {
                    // Either may have been moved or deleted meanwhile, and the file may have been renamed by another.
                    if from.exists() && to.exists() && !self.is_open(&from) {
                        self.replaced(&from);
                        fs::write(to, fs::read(&from).unwrap()).unwrap();
                        fs::remove_file(from).unwrap();
                    }
                }
            }
            Action::Copy { pick } => {
                if let Some(path) = self.pick(pick, None) {
                    let ending = ending(&path);
                    fs::copy(&path, self.new_name(&ending)).unwrap();
                }
            }
            Action::Overwrite { pick, by } => {
                if let (Some(path), Some(by)) = (self.pick(pick, Some(true)), self.pick(by, Some(true))) {
                    let bytes = fs::read(by).unwrap();
                    self.replaced(&path);
                    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
                    file.seek(SeekFrom::Start(0)).unwrap();
                    file.write_all(&bytes).unwrap();
                }
            }
            Action::Delete { pick } => {
                if let Some(path) = self.pick(pick, None)
                    && !self.is_open(&path)
                {
                    fs::remove_file(path).unwrap();
                }
            }
            Action::ReplaceFolder { logger, link } => {
                self.next_name += 1;
                let number = self.next_name;
                let root = self.root.path().to_owned();
                let folder = self.zeek(logger).folder.clone();
                fs::rename(&folder, root.join(format!("gone-{number}"))).unwrap();
                if link {
                    let to = root.join(format!("spool-{number}"));
                    fs::create_dir(&to).unwrap();
                    std::os::unix::fs::symlink(to, folder).unwrap();
                } else {
                    fs::create_dir(folder).unwrap();
                }
            }
            Action::MoveFolder { pick } => {
                if let Some(path) = self.pick(pick, None)
                    && let Some(folder) = path.parent()
                    && !self.zeeks.iter().any(|zeek| zeek.folder.starts_with(folder))
                {
                    self.next_name += 1;
                    let to = self.root.path().join(format!("kept/{}", self.next_name));
                    fs::create_dir_all(&to).unwrap();
                    // Who compresses or moves what is in it finds it gone, and leaves it.
                    self.growing.retain(|(path, _)| !path.starts_with(folder));
                    self.moving.retain(|(from, to)| !from.starts_with(folder) && !to.starts_with(folder));
                    fs::rename(folder, to.join(folder.file_name().unwrap())).unwrap();
                }
            }
            Action::SetClock { days } => {
                let now = crate::base::clock::now();
                let by = u64::from(days.unsigned_abs()) * 86_400;
                // Not before the records were written: those would be of the future, and skipped for it.
                self.time = if days < 0 { now.saturating_sub(by).max(1_710_000_000) } else { now + by };
                if let Some(hand) = &self.hand {
                    hand.set(self.time);
                }
            }
            Action::Date { pick, days } => {
                if let Some(path) = self.pick(pick, None) {
                    let (now, day) = (std::time::SystemTime::now(), Duration::from_secs(86_400));
                    let time = match days {
                        0.. => now + day * u32::from(days.unsigned_abs()),
                        _ => now - day * u32::from(days.unsigned_abs()),
                    };
                    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
                }
            }
            Action::Turn => {
                self.daemon().turn();
                self.check_claim();
            }
            Action::ReadArchive => self.daemon().read_archive(),
            Action::Commit => {
                let failed = self.store.full.load(Ordering::Relaxed) > 0;
                assert_eq!(self.daemon().try_commit().is_err(), failed && self.daemon().has_uncommitted());
            }
            Action::DiskFull { commits } => self.store.full.store(commits, Ordering::Relaxed),
            Action::Settle => {
                self.store.full.store(0, Ordering::Relaxed);
                self.daemon().settle();
            }
            Action::Stop => {
                // What cannot be applied at the end is read again.
                drop(self.daemon().try_commit());
                self.daemon = None;
                self.daemon();
            }
            Action::Kill => {
                self.daemon = None;
                self.daemon();
            }
            Action::Down => self.daemon = None,
        }
    }

    /// A file gets other contents: nobody goes on writing the old ones.
    fn replaced(&mut self, path: &Path) {
        self.growing.retain(|(growing, _)| growing != path);
    }

    /// Whether some Zeek still writes to the file.
    fn is_open(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = fs::metadata(path).unwrap().ino();
        self.zeeks
            .iter()
            .any(|zeek| zeek.open.as_ref().is_some_and(|(file, _)| file.metadata().unwrap().ino() == inode))
    }

    /// Records with a whole line in some file that is there now.
    fn readable(&self) -> BTreeSet<u32> {
        let mut readable = BTreeSet::new();
        for path in self.files() {
            let mut decoder = crate::tail::decode::Decoder::open(&path).unwrap();
            let mut text = Vec::new();
            let mut buffer = vec![0; 1 << 16];
            loop {
                let (n, end) = decoder.fill(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..n]);
                if end.is_some() {
                    break;
                }
            }
            for line in text.split_inclusive(|&b| b == b'\n') {
                // The first bytes of an archive do not yet tell that they are one.
                let Ok(line) = std::str::from_utf8(line) else { continue };
                readable.extend(record_of(line));
            }
        }
        readable
    }

    /// How often each record was counted.
    fn counts(&mut self) -> BTreeMap<u32, u64> {
        let all = self.store.now();
        let mut counts = BTreeMap::new();
        for entry in all.entries(&Scan::All, None).unwrap() {
            let entry = entry.unwrap();
            let name = entry.tuple.rrname.to_string();
            let record = name.strip_prefix('r').and_then(|name| name.strip_suffix(".example")).unwrap();
            counts.insert(record.parse().unwrap(), entry.halves.combined().count);
        }
        counts
    }

    /// What the daemon says of itself is true just after it has looked: where everything is read, everything is found.
    fn check_claim(&mut self) {
        if !self.daemon().status().caught_up {
            return;
        }
        let counts = self.counts();
        let readable = self.readable();
        let missing: Vec<_> = readable
            .iter()
            .filter(|record| !counts.contains_key(record) && !self.uncertain.contains(record))
            .collect();
        assert!(missing.is_empty(), "everything is said to be read, and is not: {missing:?}");
    }

    fn check(&mut self) {
        self.store.full.store(0, Ordering::Relaxed);
        self.daemon().settle();
        let counts = self.counts();
        assert!(counts.values().all(|&n| n == 1), "counted twice: {counts:?}");
        let missing: Vec<u32> = self
            .readable()
            .into_iter()
            .filter(|record| !counts.contains_key(record) && !self.uncertain.contains(record))
            .collect();
        assert!(missing.is_empty(), "never counted: {missing:?}");
        let time = self.time;
        let status = self.daemon().status();
        assert_eq!(status.totals.counted, counts.len() as u64, "the totals are those of the rows");
        let whole = status.sources[0].unread_counts.may_hold_records() == 0;
        assert_eq!(status.caught_up, whole, "{status:?}");
        // As of when that is so is no time to come, whatever the clock was before.
        assert!(status.as_of_ms.is_none_or(|as_of| as_of <= time * 1000), "{status:?}");
        assert!(!whole || status.as_of_ms.is_some(), "{status:?}");
    }
}

fn ending(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    name[name.find(".log").unwrap()..].to_owned()
}

fn gz_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

//--- the cases ------------------------------------------------------------------------------------------------------

fn action() -> impl Strategy<Value = Action> {
    let logger = 0usize..2;
    prop_oneof![
        6 => (logger.clone(), 1u8..20).prop_map(|(logger, records)| Action::Write { logger, records }),
        2 => (logger.clone(), any::<u8>()).prop_map(|(logger, at)| Action::Tear { logger, at }),
        4 => logger.clone().prop_map(|logger| Action::Rotate { logger }),
        1 => logger.clone().prop_map(|logger| Action::Restart { logger }),
        1 => logger.clone().prop_map(|logger| Action::CrashRotate { logger }),
        1 => logger.clone().prop_map(|logger| Action::CopyTruncate { logger }),
        1 => logger.prop_map(|logger| Action::RenameOpen { logger }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(pick, part)| Action::GzipBegin { pick, part }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(pick, bytes)| Action::GzipStep { pick, bytes }),
        3 => any::<u8>().prop_map(|pick| Action::GzipFinish { pick }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(pick, part)| Action::MoveBegin { pick, part }),
        1 => Just(Action::MoveEnd),
        1 => (1u8..4).prop_map(|commits| Action::DiskFull { commits }),
        1 => (0usize..2, any::<bool>()).prop_map(|(logger, link)| Action::ReplaceFolder { logger, link }),
        1 => any::<u8>().prop_map(|pick| Action::MoveFolder { pick }),
        1 => (any::<u8>(), -9i8..9).prop_map(|(pick, days)| Action::Date { pick, days }),
        1 => prop_oneof![-2i16..3, -1000i16..30_000].prop_map(|days| Action::SetClock { days }),
        1 => any::<u8>().prop_map(|pick| Action::ArchiveAgain { pick }),
        1 => any::<u8>().prop_map(|pick| Action::Move { pick }),
        1 => any::<u8>().prop_map(|pick| Action::Copy { pick }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(pick, by)| Action::Overwrite { pick, by }),
        1 => any::<u8>().prop_map(|pick| Action::Delete { pick }),
        6 => Just(Action::Turn),
        3 => Just(Action::ReadArchive),
        3 => Just(Action::Commit),
        2 => Just(Action::Settle),
        1 => Just(Action::Stop),
        2 => Just(Action::Kill),
        1 => Just(Action::Down),
    ]
}

fn play(actions: &[Action]) {
    let mut world = World::new(2);
    for action in actions {
        world.act(action);
    }
    world.check();
}

proptest! {
    #[test]
    fn every_record_counts_once_whatever_happens_to_the_files(actions in proptest::collection::vec(action(), 1..40)) {
        play(&actions);
    }
}

fn sizes(world: &mut World) -> HashMap<u32, u64> {
    world.counts().into_iter().collect()
}

#[test]
fn a_daemon_that_follows_through_a_copytruncate_loses_nothing_it_could_read() {
    let mut world = World::new(1);
    world.act(&Action::Write { logger: 0, records: 10 });
    world.act(&Action::Turn);
    world.act(&Action::CopyTruncate { logger: 0 });
    world.act(&Action::Write { logger: 0, records: 10 });
    world.act(&Action::Settle);
    assert_eq!(sizes(&mut world).len(), 20);
    // The lineage after the hole remembers the header: a restart goes on in it.
    world.act(&Action::Kill);
    world.act(&Action::Write { logger: 0, records: 5 });
    world.act(&Action::Settle);
    assert_eq!(sizes(&mut world).len(), 25);
}

#[test]
fn what_a_full_disk_refused_is_committed_when_there_is_room_again() {
    let mut world = World::new(1);
    for round in 1..4 {
        world.act(&Action::Write { logger: 0, records: 10 });
        world.act(&Action::Turn);
        world.act(&Action::DiskFull { commits: 2 });
        for _ in 0..3 {
            world.act(&Action::Commit);
        }
        assert_eq!(sizes(&mut world).len(), 10 * round);
    }
    world.check();
}

#[test]
fn lines_written_after_a_rename_are_followed_under_the_new_name() {
    let mut world = World::new(1);
    world.act(&Action::Write { logger: 0, records: 3 });
    world.act(&Action::Settle);
    world.act(&Action::RenameOpen { logger: 0 });
    for _ in 0..3 {
        world.act(&Action::Settle);
        world.act(&Action::Write { logger: 0, records: 3 });
    }
    world.check();
    assert_eq!(sizes(&mut world).len(), 12);
}

#[test]
fn down_over_any_number_of_rotations_nothing_is_lost() {
    for rotations in [0, 1, 2, 5] {
        let mut world = World::new(1);
        world.act(&Action::Write { logger: 0, records: 10 });
        world.act(&Action::Settle);
        world.act(&Action::Write { logger: 0, records: 10 });
        world.act(&Action::Down);
        for _ in 0..rotations {
            world.act(&Action::Write { logger: 0, records: 10 });
            world.act(&Action::Rotate { logger: 0 });
            world.act(&Action::GzipFinish { pick: 0 });
        }
        world.check();
        assert_eq!(sizes(&mut world).len(), 20 + 10 * rotations);
    }
}

#[test]
fn what_a_full_disk_refused_of_archives_and_a_new_sensor_is_read_when_there_is_room_again() {
    let mut world = World::new(1);
    for _ in 0..3 {
        world.act(&Action::Write { logger: 0, records: 10 });
        world.act(&Action::Rotate { logger: 0 });
        world.act(&Action::GzipFinish { pick: 0 });
    }
    world.act(&Action::Write { logger: 0, records: 10 });
    // Not even the sensor can be registered, and then not one batch be applied.
    world.store.full.store(200, Ordering::Relaxed);
    for _ in 0..3 {
        world.act(&Action::Turn);
        world.act(&Action::ReadArchive);
    }
    world.store.full.store(0, Ordering::Relaxed);
    world.act(&Action::Turn);
    world.store.full.store(2, Ordering::Relaxed);
    for _ in 0..2 {
        world.act(&Action::ReadArchive);
        world.act(&Action::Turn);
    }
    world.check();
    assert_eq!(sizes(&mut world).len(), 40);
}

/// A daemon with threads, over what a world has.
fn started(world: &World) -> (follow::Ingest, crate::base::shutdown::Stop) {
    let logs = world.root.path().to_owned();
    let poll_interval = Duration::from_millis(20);
    let source = SourceConfig { logs, poll_interval, ..SourceConfig::default() };
    let config = Config { sources: vec![source], settling: Duration::ZERO, threads: 1, ..Config::default() };
    world.store.store.crash();
    let store = Arc::clone(&world.store) as Arc<dyn WriteStore>;
    let stop = crate::base::shutdown::Stop::new();
    (start(config, store, stop.clone()).unwrap(), stop)
}

/// Waits until something is so, for as long as a slow machine may take.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn the_thread_that_reads_archives_goes_on_after_the_ledger_refused_a_new_sensor() {
    let mut world = World::new(1);
    world.act(&Action::Write { logger: 0, records: 10 });
    world.act(&Action::Rotate { logger: 0 });
    world.act(&Action::GzipFinish { pick: 0 });
    world.daemon = None;
    world.store.full.store(u8::MAX, Ordering::Relaxed);
    let (ingest, stop) = started(&world);
    until("it is said that the ledger refuses", || ingest.failing().is_some());
    world.store.full.store(0, Ordering::Relaxed);
    until("everything is read", || ingest.status().unwrap().caught_up);
    assert_eq!(ingest.failing(), None);
    stop.stop();
    ingest.join().unwrap();
    assert_eq!(world.counts().len(), 10);
}

#[test]
fn a_refusal_is_over_when_the_log_it_was_for_is_an_archive_by_now() {
    play(&[
        Action::DiskFull { commits: 1 },
        Action::Tear { logger: 0, at: 0 },
        Action::Turn,
        Action::Rotate { logger: 0 },
    ]);
}

#[test]
fn a_log_of_which_only_the_end_of_a_line_was_left_does_not_hide_the_next_one() {
    play(&[
        Action::Tear { logger: 1, at: 0 },
        Action::CopyTruncate { logger: 1 },
        Action::Settle,
        Action::Rotate { logger: 1 },
        Action::Settle,
        Action::Write { logger: 1, records: 1 },
    ]);
}

#[test]
fn what_was_no_log_is_read_as_soon_as_it_is_one() {
    play(&[
        Action::Tear { logger: 1, at: 0 },
        Action::CopyTruncate { logger: 1 },
        Action::Write { logger: 1, records: 0 },
        Action::Settle,
        Action::Write { logger: 1, records: 1 },
    ]);
}

#[test]
fn what_was_imported_is_on_disk_when_the_import_ends() {
    let mut world = World::new(1);
    world.act(&Action::Write { logger: 0, records: 3 });
    let store = Arc::new(Disk::default());
    let ledger: Arc<dyn WriteStore> = Arc::clone(&store) as _;
    let paths = [world.zeek(0).path()];
    import(&ledger, &Config::default(), Some("s"), None, &paths, &|_| {}, &Stop::new()).unwrap();
    assert!(store.flushes.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_write_that_failed_is_not_tried_again_each_time_somebody_wants_room() {
    let mut world = World::new(1);
    world.act(&Action::Write { logger: 0, records: 10 });
    world.daemon = None;
    world.store.has_sensor.store(true, Ordering::Relaxed);
    world.store.full.store(u8::MAX, Ordering::Relaxed);
    let (ingest, stop) = started(&world);
    until("it is said that the ledger refuses", || ingest.failing().is_some());
    let (begun, before) = (Instant::now(), world.store.tries.load(Ordering::Relaxed));
    for _ in 0..200 {
        ingest.wake();
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let tries = world.store.tries.load(Ordering::Relaxed) - before;
    assert!(tries as u128 <= 2 + begun.elapsed().as_millis() / 250, "{tries} tries");
    world.store.full.store(0, Ordering::Relaxed);
    until("it can be written again", || ingest.failing().is_none());
    stop.stop();
    ingest.join().unwrap();
    assert_eq!(world.counts().len(), 10);
}
