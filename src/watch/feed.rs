//! A feed as it is kept: a file of indicators in the order of their keys, written once and never changed.
//!
//! ```text
//! ┌───────────────────────┬────────────┬──────┬─────────────────────┬─────┬──────────────┐
//! │ "dnsledger feed 1\n"  │ length (4) │ meta │ entry, entry, ...   │ end │ checksum (8) │
//! └───────────────────────┴────────────┴──────┴─────────────────────┴─────┴──────────────┘
//! entry   length of the key (2), of the note (2), key, note; the end is an entry whose lengths are 0
//! ```
//!
//! All integers are big-endian; meta and notes are JSON; the checksum is XXH3-64 of all before it. A file is written as
//! `NAME.part`, synced, and renamed, so a feed is there whole, the one before or the one after. Where the first entry of each few KB
//! is, is noted in memory when a feed is opened; an entry is then found by one read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::key;
use crate::base::seeded_hash::new_seed;
use crate::indicators::Action;
use crate::store::LogFilter;

const MAGIC: &[u8] = b"dnsledger feed 1\n";
/// Bytes of entries between two places that are noted.
const STRETCH: u64 = 4 << 10;
/// Bytes of entries that are sorted in memory at a time.
const SORTED_BYTES: usize = 24 << 20;
/// The longest meta, key and note.
const MAX_META: u32 = 1 << 20;
const MAX_PART: usize = 4096;

/// What is known of a feed as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedMeta {
    /// What it is called.
    pub name: String,
    /// When it was read, epoch seconds.
    pub read_at: u64,
    /// How it was written.
    pub format: String,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// What was not taken, by reason.
    pub skipped: Vec<(String, u64)>,
    /// What the files looked like that it was read from, where the configuration names them.
    #[serde(default)]
    pub source: Option<String>,
}

/// A feed that is open.
pub struct Feed {
    /// What is known of it as a whole.
    pub meta: FeedMeta,
    /// Its indicators, exceptions among them.
    pub entries: u64,
    /// A number that another content would not have.
    pub id: u64,
    file: File,
    /// The first key of each stretch, and where it is.
    places: Vec<(Box<[u8]>, u64)>,
    end: u64,
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {why}"))
}

/// Reads entries one after the other, and hashes what it reads.
struct Entries<R> {
    input: R,
    hash: Xxh3,
    at: u64,
    key: Vec<u8>,
    note: Vec<u8>,
}

impl<R: Read> Entries<R> {
    fn new(input: R) -> Entries<R> {
        Entries { input, hash: Xxh3::new(), at: 0, key: Vec::new(), note: Vec::new() }
    }

    fn fill(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        self.at += length as u64;
        Ok(bytes)
    }

    fn head(&mut self) -> io::Result<FeedMeta> {
        if self.fill(MAGIC.len())? != MAGIC {
            return Err(bad("it is not a feed"));
        }
        let length = u32::from_be_bytes(self.fill(4)?.try_into().unwrap_or_default());
        if length > MAX_META {
            return Err(bad("its beginning is too long"));
        }
        let meta = self.fill(length as usize)?;
        serde_json::from_slice(&meta).map_err(|error| bad(&error.to_string()))
    }

    /// Goes to the next entry; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let mut lengths = [0; 4];
        self.input.read_exact(&mut lengths)?;
        self.hash.update(&lengths);
        let [a, b, c, d] = lengths;
        let (key, note) = (usize::from(u16::from_be_bytes([a, b])), usize::from(u16::from_be_bytes([c, d])));
        self.at += 4;
        if key > MAX_PART || note > MAX_PART {
            return Err(bad("an entry is too long"));
        }
        if key == 0 {
            return Ok(false);
        }
        for (part, length) in [(&mut self.key, key), (&mut self.note, note)] {
            part.resize(length, 0);
            self.input.read_exact(part)?;
            self.hash.update(part);
            self.at += length as u64;
        }
        Ok(true)
    }
}

impl Feed {
    /// Opens one, reads all of it, and hands out each key.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not what was written.
    pub fn open(path: &Path, each: &mut dyn FnMut(&[u8])) -> io::Result<Feed> {
        let file = File::open(path)?;
        let mut entries = Entries::new(BufReader::with_capacity(64 << 10, &file));
        let meta = entries.head()?;
        let mut places: Vec<(Box<[u8]>, u64)> = Vec::new();
        let (mut count, mut last) = (0, Vec::new());
        loop {
            let at = entries.at;
            if !entries.advance()? {
                break;
            }
            if count > 0 && entries.key <= last {
                return Err(bad("its entries are not in order"));
            }
            if places.last().is_none_or(|(_, place)| at - place >= STRETCH) {
                places.push((entries.key.as_slice().into(), at));
            }
            each(&entries.key);
            last.clone_from(&entries.key);
            count += 1;
        }
        let (end, id) = (entries.at, entries.hash.digest());
        let mut checksum = [0; 8];
        entries.input.read_exact(&mut checksum)?;
        if u64::from_be_bytes(checksum) != id {
            return Err(bad("its checksum does not fit"));
        }
        drop(entries);
        Ok(Feed { meta, entries: count, id, file, places, end })
    }

    /// What is noted of a key, if it is in it.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn find(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let after = self.places.partition_point(|(first, _)| **first <= *key);
        let Some((_, from)) = after.checked_sub(1).and_then(|at| self.places.get(at)) else {
            return Ok(None);
        };
        let to = self.places.get(after).map_or(self.end, |(_, at)| *at);
        let mut stretch = vec![0; usize::try_from(to - from).map_err(|_| bad("a stretch is too long"))?];
        self.file.read_exact_at(&mut stretch, *from)?;
        let mut entries = Entries::new(stretch.as_slice());
        while entries.at < to - from && entries.advance()? {
            if entries.key == key {
                return Ok(Some(entries.note));
            }
        }
        Ok(None)
    }

    /// Hands out all its entries, until that says `false`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn each(&self, take: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> io::Result<()> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let mut entries = Entries::new(BufReader::with_capacity(64 << 10, file));
        entries.head()?;
        while entries.advance()? && take(&entries.key, &entries.note) {}
        Ok(())
    }
}

impl Feed {
    /// Hands out its indicators as text: the kind, the value, and whether it is an exception; until that says `false`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn indicators(&self, take: &mut dyn FnMut(&'static str, String, bool) -> bool) -> io::Result<()> {
        self.each(&mut |stored, _| match key::read(stored) {
            Some((value, action)) => take(value.kind().name(), value.to_string(), action == Action::Allow),
            None => true,
        })
    }
}

//--- FeedWriter -----------------------------------------------------------------------------------------------------

/// Puts a feed together from indicators in any order, with bounded memory. Of several with one key the first stands.
pub struct FeedWriter {
    path: PathBuf,
    /// Entries that are not sorted yet: where each begins, and its length.
    arena: Vec<u8>,
    waiting: Vec<(u32, u16, u16)>,
    parts: Vec<PathBuf>,
}

impl FeedWriter {
    /// One that will be at a path.
    pub fn new(path: &Path) -> FeedWriter {
        FeedWriter { path: path.to_owned(), arena: Vec::new(), waiting: Vec::new(), parts: Vec::new() }
    }

    /// Adds an indicator.
    ///
    /// # Errors
    ///
    /// When what is sorted so far cannot be written.
    pub fn push(&mut self, key: &[u8], note: &[u8]) -> io::Result<()> {
        if key.is_empty() || key.len() > MAX_PART || note.len() > MAX_PART {
            return Ok(());
        }
        self.waiting.push((self.arena.len() as u32, key.len() as u16, note.len() as u16));
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(note);
        if self.arena.len() + self.waiting.len() * 8 > SORTED_BYTES { self.spill() } else { Ok(()) }
    }

    fn sorted(&mut self) -> Vec<(&[u8], &[u8])> {
        let FeedWriter { arena, waiting, .. } = self;
        let entry = |(at, key, note): &(u32, u16, u16)| {
            let (at, key, note) = (*at as usize, usize::from(*key), usize::from(*note));
            let key_bytes = arena.get(at..at + key).unwrap_or_default();
            (key_bytes, arena.get(at + key..at + key + note).unwrap_or_default())
        };
        let mut entries: Vec<_> = waiting.iter().map(entry).collect();
        // Stable: of equal keys the first stays the first.
        entries.sort_by(|a, b| a.0.cmp(b.0));
        entries.dedup_by(|b, a| a.0 == b.0);
        entries
    }

    fn spill(&mut self) -> io::Result<()> {
        let part = self.path.with_extension(format!("part{}", self.parts.len()));
        let mut out = BufWriter::new(File::create(&part)?);
        for (key, note) in self.sorted() {
            push_entry(key, note, &mut |bytes| out.write_all(bytes))?;
        }
        push_entry(&[], &[], &mut |bytes| out.write_all(bytes))?;
        out.flush()?;
        self.parts.push(part);
        self.arena.clear();
        self.waiting.clear();
        Ok(())
    }

    /// Writes all of it beside its place, synced; how many entries there are. [`WrittenFeed::flip_to`] puts it there.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self, meta: &FeedMeta) -> io::Result<WrittenFeed> {
        let part = self.path.with_extension("part");
        let mut out = BufWriter::with_capacity(64 << 10, File::create(&part)?);
        let mut hash = Xxh3::new();
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            out.write_all(bytes)
        };
        let text = serde_json::to_vec(meta).map_err(io::Error::other)?;
        put(MAGIC)?;
        put(&(text.len() as u32).to_be_bytes())?;
        put(&text)?;
        let mut entries = 0;
        if self.parts.is_empty() {
            for (key, note) in self.sorted() {
                push_entry(key, note, &mut put)?;
                entries += 1;
            }
        } else {
            self.spill()?;
            let mut inputs = Vec::new();
            let mut heap = BinaryHeap::new();
            for (at, part) in self.parts.iter().enumerate() {
                let mut input = Entries::new(BufReader::new(File::open(part)?));
                if input.advance()? {
                    heap.push(Reverse((input.key.clone(), at)));
                }
                inputs.push(input);
            }
            let mut last: Vec<u8> = Vec::new();
            while let Some(Reverse((key, at))) = heap.pop() {
                let Some(input) = inputs.get_mut(at) else { break };
                if key != last {
                    push_entry(&key, &input.note, &mut put)?;
                    entries += 1;
                    last = key;
                }
                if input.advance()? {
                    heap.push(Reverse((input.key.clone(), at)));
                }
            }
        }
        push_entry(&[], &[], &mut put)?;
        let id = hash.digest();
        out.write_all(&id.to_be_bytes())?;
        out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(WrittenFeed { part, entries })
    }
}

impl Drop for FeedWriter {
    fn drop(&mut self) {
        for part in &self.parts {
            // It was only of use here.
            drop(fs::remove_file(part));
        }
    }
}

fn push_entry(key: &[u8], note: &[u8], put: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    put(&(key.len() as u16).to_be_bytes())?;
    put(&(note.len() as u16).to_be_bytes())?;
    put(key)?;
    put(note)
}

/// A feed that is written beside its place.
pub struct WrittenFeed {
    part: PathBuf,
    /// Its indicators.
    pub entries: u64,
}

impl WrittenFeed {
    /// Whether another feed has about the same: over half of the indicators of each are in the other. Where there is none it has not.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read.
    pub fn resembles(&self, other: &Path) -> io::Result<bool> {
        let (seed, mut hashes) = (new_seed(), HashSet::new());
        let other = Feed::open(other, &mut |key| _ = hashes.insert(LogFilter::hash(seed, key)));
        let other = match other {
            Ok(other) => other.entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let mut common: u64 = 0;
        Feed::open(&self.part, &mut |key| common += u64::from(hashes.contains(&LogFilter::hash(seed, key))))?;
        Ok(common.saturating_mul(2) >= other.max(self.entries))
    }

    /// Puts it in a place, in one step.
    ///
    /// # Errors
    ///
    /// When it cannot be done: what was there before is there then.
    pub fn flip_to(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.part, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again_and_what_is_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.feed");
        let mut writer = FeedWriter::new(&path);
        let key = |n: u32| format!("k{:07}", (n * 7919) % 100_003).into_bytes();
        for n in 0..20_000u32 {
            writer.push(&key(n), format!("note {n}").as_bytes()).unwrap();
            if n % 5000 == 0 {
                writer.spill().unwrap();
            }
            writer.push(&key(n), b"the second").unwrap();
        }
        let meta = FeedMeta { name: "a".to_owned(), read_at: 7, ..FeedMeta::default() };
        let written = writer.finish(&meta).unwrap();
        assert_eq!(written.entries, 20_000);
        assert!(!path.exists(), "it is not in its place before it is put there");
        written.flip_to(&path).unwrap();
        let mut keys = 0;
        let feed = Feed::open(&path, &mut |_| keys += 1).unwrap();
        assert_eq!((keys, feed.entries, feed.meta.clone()), (20_000, 20_000, meta));
        for n in (0..20_000u32).step_by(37) {
            assert_eq!(feed.find(&key(n)).unwrap(), Some(format!("note {n}").into_bytes()));
        }
        for none in [&b"a"[..], b"k", b"k0000000x", b"z"] {
            assert_eq!(feed.find(none).unwrap(), None);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left");
        let good = fs::read(&path).unwrap();
        for at in [0, 20, good.len() / 2, good.len() - 1] {
            let mut spoiled = good.clone();
            spoiled[at] ^= 1;
            fs::write(&path, &spoiled).unwrap();
            assert!(Feed::open(&path, &mut |_| ()).is_err(), "{at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(Feed::open(&path, &mut |_| ()).is_err(), "{at}");
        }
    }
}
