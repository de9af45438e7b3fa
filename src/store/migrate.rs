//! From an older format to this one: the ledger is copied, pair by pair, to a fresh place, and what differs is written anew
//! on the way.
//!
//! The older ledger is only read. Runs are copied one after the other, and after each the copy notes how far it is and of
//! which ledger: one that was interrupted goes on there. What is sealed stays sealed, so damage is copied as damage, and
//! found where it is read.
//!
//! | from | what differs |
//! |---|---|
//! | 1 | the manifest may not say yet what was dropped because it was not seen for long |
//! | 1, 2 | the manifest does not say yet which commits brought a run, nor between which keys its rows are; commits have no numbers |

use bincode::{Decode, Encode};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::engine::{self, Changes, Engine, Pairs, with_prefix};
use super::key::Family;
use super::manifest::{self, Commits, Manifest, RunMeta};
use super::run::{Block, Extent};
use super::span::after_prefix;
use super::stored::{FORMAT, block_key, open_block};
use super::verify::OnProgress;
use super::{Pair, StoreError, block, damaged};
use crate::base::fault::point;

/// Where a copy that is not whole notes how far it is.
const NOTE: &[u8] = b"mcopied";
/// Pairs of a run that are handed to the engine together.
const APPEND: usize = 256;

/// How far the copy of a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Note {
    /// Of the older ledger, as it was when the copy was begun: its manifest and its last commit.
    of: u64,
    /// How many of its runs are copied, in the order of the manifest.
    runs: u32,
}

/// An older ledger that is to be copied.
pub(super) struct Migration<'a> {
    old: &'a dyn Engine,
    manifest: Manifest,
    of: u64,
}

impl<'a> Migration<'a> {
    /// That of a ledger of format `from`.
    ///
    /// # Errors
    ///
    /// When it is not of that format, or nothing says what is in it.
    pub fn of(old: &'a dyn Engine, from: u32) -> Result<Migration<'a>, StoreError> {
        let stored = old.get(engine::FORMAT)?.and_then(|stored| stored.try_into().ok());
        if stored.map(u32::from_be_bytes) != Some(from) {
            return Err(damaged("the ledger", &format!("it does not say that its format is {from}")));
        }
        let (runs, commits) = (old.get(engine::MANIFEST)?, old.get(engine::COMMITS)?);
        let hash =
            |stored: &Option<Vec<u8>>, seed| xxh3_64_with_seed(stored.as_deref().unwrap_or_default(), seed);
        let of = hash(&commits, hash(&runs, xxh3_64(&from.to_be_bytes())));
        Ok(Migration { old, manifest: Manifest::of_older(runs)?, of })
    }

    /// Whether a copy of this very ledger was begun in an engine.
    pub fn is_begun_in(&self, new: &dyn Engine) -> bool {
        self.note_in(new).is_ok_and(|note| note.is_some_and(|note| note.of == self.of))
    }

    /// Whether a copy of any ledger was begun in an engine, and is not whole.
    pub fn is_any_begun_in(new: &dyn Engine) -> bool {
        new.get(NOTE).is_ok_and(|note| note.is_some())
    }

    /// Bytes of its runs that are not copied yet.
    pub fn bytes_left(&self, new: Option<&dyn Engine>) -> u64 {
        let copied =
            new.and_then(|new| self.note_in(new).ok().flatten()).map_or(0, |note| note.runs as usize);
        self.manifest.runs.iter().skip(copied).map(|run| run.bytes).sum()
    }

    fn note_in(&self, new: &dyn Engine) -> Result<Option<Note>, StoreError> {
        let stored = new.get(NOTE)?;
        stored.map(|stored| manifest::open(NOTE, Some(stored), "the note in the copy")).transpose()
    }

    /// Copies it to an engine where nothing is, or where a copy of it was begun. It is whole, and durable, when this
    /// returns. `on_progress` is told bytes.
    ///
    /// # Errors
    ///
    /// What reading and writing have, and [`StoreError::Closed`] when `on_progress` ended it. It can go on then.
    pub fn copy_to(&self, new: &dyn Engine, on_progress: OnProgress<'_>) -> Result<(), StoreError> {
        let mut note = self.note_in(new)?.unwrap_or(Note { of: self.of, runs: 0 });
        let runs = &self.manifest.runs;
        let (copied, left) = runs.split_at_checked(note.runs as usize).unwrap_or((runs, &[]));
        // One of which only the beginning is there.
        for id in new.runs()?.into_iter().filter(|id| !copied.iter().any(|run| run.id == *id)) {
            new.remove_run(id)?;
        }
        let total = runs.iter().map(|run| run.bytes).sum();
        let mut done = copied.iter().map(|run| run.bytes).sum();
        let there = self.old.runs()?;
        let mut goes_on = |done| if on_progress(done, total) { Ok(()) } else { Err(StoreError::Closed) };
        // Also where there is no run.
        goes_on(done)?;
        for run in left {
            if !there.contains(&run.id) {
                return Err(damaged(&format!("run {}", run.id), "it is missing"));
            }
            goes_on(done)?;
            let map = self.old.run(run.id)?;
            let (mut before, mut waiting) = (0, Vec::with_capacity(APPEND));
            let mut write = |waiting: &mut Vec<Pair>| {
                let pairs = std::mem::take(waiting);
                let count = pairs.len() as u64;
                new.append(run.id, before, pairs)?;
                before += count;
                Ok::<_, StoreError>(())
            };
            for pair in with_prefix(&*map, b"") {
                let (key, value) = pair?;
                done += (key.len() + value.len()) as u64;
                waiting.push((key, value));
                if waiting.len() >= APPEND {
                    write(&mut waiting)?;
                    goes_on(done)?;
                }
            }
            if !waiting.is_empty() {
                write(&mut waiting)?;
            }
            note.runs += 1;
            new.write(vec![(NOTE.to_vec(), Some(manifest::seal(NOTE, &note)?))])?;
            point("run_migrated");
        }
        let mut manifest = self.manifest.clone();
        for run in &mut manifest.runs {
            find_extents(run, &*new.run(run.id)?);
        }
        let mut changes: Changes = vec![(NOTE.to_vec(), None)];
        for pair in with_prefix(self.old, b"") {
            let (key, value) = pair?;
            let value = match key.as_slice() {
                engine::FORMAT => FORMAT.to_be_bytes().to_vec(),
                engine::MANIFEST => manifest.to_bytes()?,
                engine::COMMITS => Commits::from_bytes(Some(value))?.to_bytes()?,
                _ => value,
            };
            changes.push((key, Some(value)));
        }
        new.write(changes)?;
        new.sync()
    }
}

/// Finds out between which keys the rows of a run are. Of a family of which that cannot be read it is left open: what is
/// damaged is found where it is looked up.
fn find_extents(run: &mut RunMeta, pairs: &dyn Pairs) {
    let block = |pair: Result<Option<Pair>, StoreError>, family: Family| -> Option<Block> {
        let (key, sealed) = pair.ok()??;
        (key.first() == Some(&family.byte())).then(|| open_block(run.id, &key, &sealed).ok())?
    };
    for family in Family::ALL.into_iter().filter(|family| run.contents.counts.of(*family) > 0) {
        let first_key = block_key(family, &[]);
        let beyond = after_prefix(&first_key).unwrap_or_default();
        let first = block(pairs.at_most(&first_key), family).and_then(|block| keys(block, 1));
        let last = block(pairs.at_most(&beyond), family).and_then(|block| keys(block, usize::MAX));
        *run.contents.extents.of_mut(family) = first.zip(last).map(|(first, last)| Extent::of(&first, &last));
    }
}

/// The key of the row at a place in a block, or of the last one.
fn keys(block: Block, at_most: usize) -> Option<Vec<u8>> {
    let mut rows = block::Reader::new(block.rows);
    let mut key = None;
    for _ in 0..at_most {
        if !rows.advance().ok()? {
            break;
        }
        key = Some(rows.key().to_vec());
    }
    key
}
