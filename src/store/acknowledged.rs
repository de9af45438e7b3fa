//! The acknowledgement file: a durable mark beside the engine that shows when the engine has lost writes.
//!
//! An engine takes what it cannot read at the end of its log for a write that a crash cut short, and goes on without it. A
//! byte that the disk spoiled looks the same. So of each log there is noted here, outside of the engine, how far it was
//! read when that was acknowledged; with how many changes of the manifest and how many sensors there were then.
//!
//! - A commit is noted once it is durable in the engine, and before anybody is told: after a crash the mark is what the
//!   engine holds, or one commit behind it. It never leads.
//! - A ledger that holds less of a log than was acknowledged has lost commits. Rows and progress are lost together, so the
//!   log is read again from where the ledger is; until then the mark goes on to say what is missing.
//! - A ledger that holds a commit and lacks a change of the manifest or a sensor that came before it has a hole: what is in
//!   it no longer fits together, and it is damaged.
//!
//! The mark is a table that is written as a whole when a ledger is opened, and grows by what is acknowledged. The bytes are
//! in `docs/dev/format.md`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::engine::MarkFile;
use super::files::{failed, sync};
use super::{StoreError, damaged};
use crate::progress::LineageId;

/// The file in a ledger's folder.
pub(super) const NAME: &str = "acknowledged";
const NEXT: &str = "acknowledged.next";
/// The magic bytes of the file.
const MAGIC: &[u8; 16] = b"dnsledger acks 1";
/// Bytes of an entry: log, offset, changes of the manifest, sensors.
const ENTRY: usize = 16 + 8 + 4 + 4;
/// Bytes that are written ahead, so that noting a commit does not change the file's length.
const AHEAD: usize = 64 << 10;
/// Bytes that may be appended before the table is written as a whole again.
const APPENDED: usize = 1 << 20;

/// The acknowledged progress of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Bytes of it that were read.
    pub offset: u64,
    /// [`super::manifest::Manifest::next_run`] then, which each change of the manifest makes greater.
    pub next_run: u32,
    /// Sensors then.
    pub sensors: u32,
}

/// A log of which more was acknowledged than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub lineage: LineageId,
    pub acknowledged: u64,
    pub there: u64,
}

impl Missing {
    /// The error that tells it.
    pub fn fault(&self, path: Option<&Path>) -> StoreError {
        let Missing { lineage, acknowledged, there } = self;
        let what = match path {
            Some(path) => format!("what was read of {}", path.display()),
            None => format!("what was read of the log {lineage}"),
        };
        damaged(&what, &format!("{acknowledged} bytes of it were acknowledged, and {there} are there"))
    }
}

//--- Acknowledged ---------------------------------------------------------------------------------------------------

/// The table: what was acknowledged of each log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged(HashMap<LineageId, Ack>);

impl Acknowledged {
    /// Takes it from what is stored, as far as that makes sense; also whether all of it does.
    pub fn from_bytes(stored: &[u8]) -> (Acknowledged, bool) {
        let mut table = Acknowledged::default();
        let Some(mut rest) = stored.strip_prefix(MAGIC) else { return (table, false) };
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length == 0 {
                // Space written ahead is zero.
                return (table, rest.iter().all(|byte| *byte == 0));
            }
            let record = after.split_at_checked(length);
            let record = record.and_then(|(entries, after)| Some((entries, after.split_first_chunk::<8>()?)));
            let Some((entries, (sum, after))) = record else { return (table, false) };
            let at = (stored.len() - rest.len()) as u64;
            if u64::from_be_bytes(*sum) != xxh3_64_with_seed(entries, at) || !length.is_multiple_of(ENTRY) {
                return (table, false);
            }
            table.0.extend(entries.chunks_exact(ENTRY).filter_map(entry));
            rest = after;
        }
        (table, rest.is_empty())
    }

    /// Encodes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let entries: Vec<_> = self.0.iter().map(|(lineage, ack)| (*lineage, *ack)).collect();
        // A record has a bound, and a table none.
        for some in entries.chunks(4096) {
            let record = record(some, bytes.len() as u64);
            bytes.extend_from_slice(&record);
        }
        bytes
    }

    /// The logs of which more was acknowledged than `there` says.
    ///
    /// # Errors
    ///
    /// When what is there has a hole.
    pub fn missing(
        &self,
        there: &dyn Fn(&LineageId) -> Option<u64>,
        next_run: u32,
        sensors: usize,
    ) -> Result<Vec<Missing>, StoreError> {
        let mut missing = Vec::new();
        for (lineage, ack) in &self.0 {
            match there(lineage) {
                Some(there) if there >= ack.offset => {
                    if ack.next_run > next_run {
                        let why = "a change of it is missing that came before what else is there";
                        return Err(damaged("the manifest of the ledger", why));
                    }
                    if ack.sensors as usize > sensors {
                        let why = "one is missing that came before what else is there";
                        return Err(damaged("the list of sensors", why));
                    }
                }
                there => missing.push(Missing {
                    lineage: *lineage,
                    acknowledged: ack.offset,
                    there: there.unwrap_or_default(),
                }),
            }
        }
        missing.sort_by_key(|missing| missing.lineage);
        Ok(missing)
    }

    /// Adds what another table says.
    pub fn merge(&mut self, other: Acknowledged) {
        for (lineage, ack) in other.0 {
            let known = self.0.entry(lineage).or_insert(ack);
            known.offset = known.offset.max(ack.offset);
        }
    }

    /// The same of a ledger in which nothing is.
    pub fn rebased(mut self) -> Acknowledged {
        self.0.values_mut().for_each(|ack| (ack.next_run, ack.sensors) = (0, 0));
        self
    }

    /// The logs in it.
    pub fn logs(&self) -> impl Iterator<Item = (&LineageId, &Ack)> {
        self.0.iter()
    }
}

fn entry(bytes: &[u8]) -> Option<(LineageId, Ack)> {
    let (lineage, rest) = bytes.split_first_chunk::<16>()?;
    let (offset, rest) = rest.split_first_chunk::<8>()?;
    let (next_run, rest) = rest.split_first_chunk::<4>()?;
    let (sensors, _) = rest.split_first_chunk::<4>()?;
    let ack = Ack {
        offset: u64::from_be_bytes(*offset),
        next_run: u32::from_be_bytes(*next_run),
        sensors: u32::from_be_bytes(*sensors),
    };
    Some((LineageId(*lineage), ack))
}

/// A record of entries, at a place in the file.
fn record(entries: &[(LineageId, Ack)], at: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY + 12);
    bytes.extend_from_slice(&((entries.len() * ENTRY) as u32).to_be_bytes());
    for (lineage, ack) in entries {
        bytes.extend_from_slice(&lineage.0);
        bytes.extend_from_slice(&ack.offset.to_be_bytes());
        bytes.extend_from_slice(&ack.next_run.to_be_bytes());
        bytes.extend_from_slice(&ack.sensors.to_be_bytes());
    }
    let sum = xxh3_64_with_seed(bytes.get(4..).unwrap_or_default(), at);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

//--- AckLog ---------------------------------------------------------------------------------------------------------

/// The mark of a ledger that is open.
pub(crate) struct AckLog {
    file: Box<dyn MarkFile>,
    table: Acknowledged,
    /// Bytes in the file, and those that were appended to the table.
    length: u64,
    appended: usize,
    /// Logs of which acknowledged progress is missing.
    missing: HashMap<LineageId, Missing>,
}

impl AckLog {
    /// Compares the mark in a file with what is in a ledger: of each log how far it was read, the manifest's number of the
    /// next run, and the number of sensors. Nothing is written before [`AckLog::renew`].
    ///
    /// # Errors
    ///
    /// When it cannot be read, or shows that the ledger has a hole.
    pub fn open(
        file: Box<dyn MarkFile>,
        there: &HashMap<LineageId, u64>,
        next_run: u32,
        sensors: usize,
    ) -> Result<AckLog, StoreError> {
        let stored = file.read()?.unwrap_or_default();
        let (mut table, _) = Acknowledged::from_bytes(&stored);
        let missing = table.missing(&|lineage| there.get(lineage).copied(), next_run, sensors)?;
        for (lineage, offset) in there {
            let ack = table.0.entry(*lineage).or_insert(Ack { offset: 0, next_run, sensors: 0 });
            ack.offset = ack.offset.max(*offset);
        }
        let mut log = AckLog {
            file,
            table,
            length: 0,
            appended: 0,
            missing: missing.into_iter().map(|missing| (missing.lineage, missing)).collect(),
        };
        log.rebase(next_run, sensors);
        Ok(log)
    }

    /// Makes this manifest and these sensors the base of the table.
    fn rebase(&mut self, next_run: u32, sensors: usize) {
        for ack in self.table.0.values_mut() {
            (ack.next_run, ack.sensors) = (next_run, u32::try_from(sensors).unwrap_or(u32::MAX));
        }
    }

    /// The mark for a copy of the ledger at another place, which is written there: without a log that the copy lacks, and
    /// without what is missing if that is given up.
    pub fn copy_to(
        &self,
        file: Box<dyn MarkFile>,
        next_run: u32,
        sensors: usize,
        without: Option<LineageId>,
        gives_up: bool,
    ) -> Result<AckLog, StoreError> {
        let (table, missing) = (self.table.clone(), self.missing.clone());
        let mut copy = AckLog { file, table, length: 0, appended: 0, missing };
        if let Some(lineage) = without {
            copy.table.0.remove(&lineage);
            copy.missing.remove(&lineage);
        }
        if gives_up {
            copy.give_up_missing();
        }
        copy.rebase(next_run, sensors);
        copy.renew()?;
        Ok(copy)
    }

    fn give_up_missing(&mut self) {
        for (lineage, missing) in self.missing.drain() {
            match missing.there {
                0 => drop(self.table.0.remove(&lineage)),
                there => {
                    self.table.0.entry(lineage).and_modify(|ack| ack.offset = there);
                }
            }
        }
    }

    /// Writes the whole table anew.
    ///
    /// # Errors
    ///
    /// When it cannot be written. It says then what it said before, or what it should.
    pub fn renew(&mut self) -> Result<(), StoreError> {
        let bytes = self.table.to_bytes();
        self.file.replace(&bytes)?;
        (self.length, self.appended) = (bytes.len() as u64, 0);
        Ok(())
    }

    /// Notes what was committed; durable when it returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written. It may lag then, until it is written anew.
    pub fn acknowledge(
        &mut self,
        acks: impl Iterator<Item = (LineageId, u64)>,
        next_run: u32,
        sensors: usize,
    ) -> Result<(), StoreError> {
        let sensors = u32::try_from(sensors).unwrap_or(u32::MAX);
        let mut entries = Vec::new();
        for (lineage, offset) in acks {
            if let Some(missing) = self.missing.get_mut(&lineage) {
                missing.there = offset;
                if offset < missing.acknowledged {
                    continue;
                }
                self.missing.remove(&lineage);
            }
            let ack = Ack { offset, next_run, sensors };
            self.table.0.insert(lineage, ack);
            entries.push((lineage, ack));
        }
        if entries.is_empty() {
            return Ok(());
        }
        if self.appended > APPENDED.max(2 * ENTRY * self.table.0.len()) {
            return self.renew();
        }
        let mut bytes = Vec::new();
        for some in entries.chunks(4096) {
            let record = record(some, self.length + bytes.len() as u64);
            bytes.extend_from_slice(&record);
        }
        self.file.append(&bytes)?;
        self.length += bytes.len() as u64;
        self.appended += bytes.len();
        Ok(())
    }

    /// For a copy of the ledger: the table of what is missing; none where nothing is.
    pub fn lost(&self) -> Option<Acknowledged> {
        let lost = self
            .missing
            .values()
            .map(|missing| (missing.lineage, Ack { offset: missing.acknowledged, next_run: 0, sensors: 0 }));
        (!self.missing.is_empty()).then(|| Acknowledged(lost.collect()))
    }

    #[cfg(test)]
    fn missing(&self) -> impl Iterator<Item = &Missing> {
        self.missing.values()
    }

    /// How many they are.
    pub fn missing_logs(&self) -> u64 {
        self.missing.len() as u64
    }

    /// The table.
    pub fn table(&self) -> &Acknowledged {
        &self.table
    }
}

//--- MarkFile -------------------------------------------------------------------------------------------------------

/// The mark in the folder of a ledger.
pub(crate) struct DiskMark {
    folder: PathBuf,
    /// The file, where its next byte goes, and how long it is. `None` before it was written anew.
    open: Option<(File, u64, u64)>,
}

impl DiskMark {
    pub fn of(ledger: &Path) -> DiskMark {
        DiskMark { folder: ledger.to_owned(), open: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }
}

impl MarkFile for DiskMark {
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match fs::read(self.path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("could not read", &self.path())(error)),
        }
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.open = None;
        let (path, beside) = (self.path(), self.folder.join(NEXT));
        let write = || {
            let mut file =
                File::options().read(true).write(true).create(true).truncate(true).open(&beside)?;
            file.write_all(bytes)?;
            file.write_all(&vec![0; AHEAD])?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            Ok(file)
        };
        let file = write().map_err(failed("could not write", &path))?;
        sync(&self.folder)?;
        let end = bytes.len() as u64;
        self.open = Some((file, end, end + AHEAD as u64));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path();
        let Some((file, end, length)) = &mut self.open else {
            return Err(failed("could not write", &path)(ErrorKind::NotConnected.into()));
        };
        let mut write = || -> io::Result<()> {
            if *end + bytes.len() as u64 > *length {
                let ahead = AHEAD.max(bytes.len());
                file.write_all_at(&vec![0; ahead], *length)?;
                file.sync_all()?;
                *length += ahead as u64;
            }
            file.write_all_at(bytes, *end)?;
            file.sync_data()
        };
        write().map_err(failed("could not write", &path))?;
        *end += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(number: u8) -> LineageId {
        LineageId([number; 16])
    }

    fn open(folder: &Path, there: &[(u8, u64)], next_run: u32) -> Result<AckLog, StoreError> {
        let there = there.iter().map(|(number, offset)| (log(*number), *offset)).collect();
        AckLog::open(Box::new(DiskMark::of(folder)), &there, next_run, 1)
    }

    fn missing(log: &AckLog) -> Vec<(u64, u64)> {
        let mut missing: Vec<_> = log.missing().map(|m| (m.acknowledged, m.there)).collect();
        missing.sort_unstable();
        missing
    }

    #[test]
    fn what_is_behind_the_mark_is_missing_until_it_is_read_again_or_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut acks = open(dir.path(), &[(1, 50)], 3).unwrap();
        assert_eq!(acks.missing_logs(), 0, "a ledger without a mark lacks nothing");
        acks.renew().unwrap();
        acks.acknowledge([(log(1), 70), (log(2), 10)].into_iter(), 3, 1).unwrap();
        acks.acknowledge([(log(1), 90)].into_iter(), 4, 1).unwrap();
        drop(acks);
        // The mark may be one commit behind.
        assert_eq!(open(dir.path(), &[(1, 95), (2, 10)], 4).unwrap().missing_logs(), 0);
        let mut acks = open(dir.path(), &[(1, 70)], 3).unwrap();
        assert_eq!(missing(&acks), [(10, 0), (90, 70)]);
        // It is said over and over, also by a copy, until it was read again.
        acks.renew().unwrap();
        acks.acknowledge([(log(1), 80), (log(2), 10)].into_iter(), 3, 1).unwrap();
        assert_eq!(missing(&acks), [(90, 80)]);
        let acks = open(dir.path(), &[(1, 80), (2, 10)], 3).unwrap();
        assert_eq!(missing(&acks), [(90, 80)]);
        let other = tempfile::tempdir().unwrap();
        let copy = acks.copy_to(Box::new(DiskMark::of(other.path())), 7, 1, Some(log(2)), false).unwrap();
        assert_eq!(missing(&copy), [(90, 80)]);
        assert_eq!(missing(&open(other.path(), &[(1, 80)], 7).unwrap()), [(90, 80)]);
        acks.copy_to(Box::new(DiskMark::of(other.path())), 7, 1, None, true).unwrap();
        assert_eq!(open(other.path(), &[(1, 80), (2, 10)], 7).unwrap().missing_logs(), 0);
    }

    #[test]
    fn a_ledger_that_lacks_what_came_before_what_it_has_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let mut acks = open(dir.path(), &[], 1).unwrap();
        acks.renew().unwrap();
        acks.acknowledge([(log(1), 70)].into_iter(), 5, 1).unwrap();
        assert!(open(dir.path(), &[(1, 70)], 5).is_ok());
        let refused = open(dir.path(), &[(1, 70)], 4).err().unwrap().to_string();
        assert!(refused.contains("the manifest of the ledger is damaged"), "{refused}");
        // Both are lost: the log is read again.
        assert_eq!(open(dir.path(), &[(1, 60)], 4).unwrap().missing_logs(), 1);
        acks.acknowledge([(log(1), 80)].into_iter(), 5, 2).unwrap();
        let refused = open(dir.path(), &[(1, 80)], 5).err().unwrap().to_string();
        assert!(refused.contains("the list of sensors is damaged"), "{refused}");
    }

    #[test]
    fn whatever_byte_of_the_mark_is_spoiled_it_says_nothing_that_is_not_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut acks = open(dir.path(), &[(1, 50)], 1).unwrap();
        acks.renew().unwrap();
        let offsets = [60, 70, 80];
        for offset in offsets {
            acks.acknowledge([(log(1), offset)].into_iter(), 1, 1).unwrap();
        }
        let stored = fs::read(dir.path().join(NAME)).unwrap();
        let (whole, is_whole) = Acknowledged::from_bytes(&stored);
        assert!(is_whole && whole.0[&log(1)].offset == 80 && stored.len() > AHEAD);
        for at in 0..400 {
            let mut spoiled = stored.clone();
            spoiled[at] ^= 0x41;
            let (table, is_whole) = Acknowledged::from_bytes(&spoiled);
            assert!(!is_whole, "{at}");
            let offset = table.0.get(&log(1)).map(|ack| ack.offset);
            assert!(offset.is_none_or(|offset| offset == 50 || offsets.contains(&offset)), "{at}");
            // Cut anywhere, too.
            let (table, _) = Acknowledged::from_bytes(&stored[..at]);
            let offset = table.0.get(&log(1)).map(|ack| ack.offset);
            assert!(offset.is_none_or(|offset| offset == 50 || offsets.contains(&offset)), "{at}");
        }
    }

    #[test]
    fn it_grows_beyond_what_was_written_ahead_and_is_written_anew_when_it_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let mut acks = open(dir.path(), &[], 1).unwrap();
        acks.renew().unwrap();
        let mut longest = 0;
        for round in 0..12 {
            acks.acknowledge(
                (0..4000u16).map(|i| {
                    let mut id = [0; 16];
                    id[..2].copy_from_slice(&i.to_be_bytes());
                    (LineageId(id), 1 + round)
                }),
                1,
                1,
            )
            .unwrap();
            let length = fs::metadata(dir.path().join(NAME)).unwrap().len();
            longest = longest.max(length);
            let (table, is_whole) = Acknowledged::from_bytes(&fs::read(dir.path().join(NAME)).unwrap());
            assert!(is_whole && table.0.len() == 4000 && table.0.values().all(|ack| ack.offset == 1 + round));
        }
        assert!(longest > APPENDED as u64 && longest < 2 * APPENDED as u64, "{longest}");
    }
}
