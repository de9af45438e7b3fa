//! The border to the engine that keeps bytes: ordered maps on stable storage, as little of them as the ledger needs.
//!
//! [`super::ledger`] is written against these traits, `sled.rs` implements them, and the tests of the ledger have an engine
//! of their own that loses what was not synced.
//!
//! There is one map for what changes, and one for each run, written once from its first key to its last and removed as a
//! whole: that is what an engine can do cheaply.
//!
//! # Stored keys
//!
//! The first byte is the family; integers are big-endian. In the main map:
//!
//! | key | value |
//! |---|---|
//! | `c` path | what the follower remembers of a file: a hint, as it was given |
//! | `h` | what was folded, sealed |
//! | `h` name, sensor (2) | how many names were folded into the row of a domain, sealed |
//! | `j` sequence (8), part (2) | rows of a commit, sealed: how many parts (2), family (1), rows |
//! | `mformat` | the version of the format (4 bytes) |
//! | `midentity` | which ledger this is, sealed |
//! | `msensor` number (2) | a sensor's name, sealed |
//! | `n` | how far the rows of registrable domains are made of older rows, sealed |
//! | `p` lineage (16) | the progress of a log, sealed |
//! | `s` | the record of the last commit, sealed |
//! | `u` part (2) | while a batch is committed: what takes it back, sealed ([`super::undo`]) |
//! | `x` | the manifest, sealed |
//!
//! In the map of a run:
//!
//! | key | value |
//! |---|---|
//! | family (1), bound | a block, sealed: the bound of the next (its length + 1, or 0 in the last), rows |
//! | `z`, page (4) | a page of its filter, sealed |

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Pair, StoreError};
use crate::dns::split_name_key;
use crate::observation::SensorId;
use crate::progress::LineageId;

/// Keys with what becomes of them: a value, or nothing.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An ordered map of bytes that can be read.
pub(crate) trait Pairs: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The last pair whose key is not greater than this.
    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError>;

    /// The first pair whose key is greater than this.
    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError>;
}

/// The main map, and the way to those of the runs.
///
/// Writes are visible to readers at once, in the order of the calls, and durable after [`Engine::sync`]. A crash may undo the
/// last writes that were not synced, never an earlier one without the later ones.
pub(crate) trait Engine: Pairs {
    /// Makes changes in the main map, all or none, also over a crash. After a failure some of them may be there, in memory and
    /// on disk; a single one is there or not.
    fn write(&self, changes: Changes) -> Result<(), StoreError>;

    /// Adds pairs to the map of a run, which has so many pairs before and is begun with the first; in order, with keys
    /// greater than all before.
    fn append(&self, id: u32, before: u64, pairs: Vec<Pair>) -> Result<(), StoreError>;

    /// The map of a run.
    fn run(&self, id: u32) -> Result<Arc<dyn Pairs>, StoreError>;

    /// All runs of which there is a map, or the beginning of one.
    fn runs(&self) -> Result<BTreeSet<u32>, StoreError>;

    /// Removes the map of a run, which nobody reads.
    fn remove_run(&self, id: u32) -> Result<(), StoreError>;

    /// Waits until all that was written is on stable storage.
    ///
    /// After this has failed nothing more can be written until the engine is opened again.
    fn sync(&self) -> Result<(), StoreError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> Result<u64, StoreError>;

    /// A failure that the engine has met in the background, after which it refuses all writes. Waits for nothing.
    fn failure(&self) -> Option<StoreError> {
        None
    }

    /// Lets calls return that wait for a write which has failed. Waits for nothing.
    fn wake(&self) {}
}

/// Where an engine is kept.
pub(crate) trait EnginePlace: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Opens the engine there, or makes an empty one. It can be open only once.
    fn open(&self) -> Result<Arc<dyn Engine>, StoreError>;

    /// The mark of what was acknowledged there.
    fn mark(&self) -> Box<dyn MarkFile>;

    /// Bytes that can still be written there, if that can be told.
    fn free_bytes(&self) -> Option<u64>;

    /// Tries whether as much can be written there as opening takes. That stays taken, so that nobody else has it, until what is given
    /// is dropped.
    fn probe(&self) -> Result<Box<dyn Send>, StoreError>;

    /// Removes all that is there, as far as it goes. The engine is closed.
    fn remove(&self);
}

/// Where the mark of a ledger is kept.
pub(crate) trait MarkFile: Send {
    /// All of it; `None` when there is none.
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes it anew: after a crash it is the one or the other. Durable when it returns.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Adds to it. Durable when it returns; after a crash before that any part of it may be there.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;
}

/// The places of one ledger, of which one is current.
pub(crate) trait Site: Send + Sync {
    /// The place that is current.
    fn current(&self) -> Arc<dyn EnginePlace>;

    /// A new place, with nothing there but a note that it is to take over from the current one.
    fn next(&self) -> Result<Arc<dyn EnginePlace>, StoreError>;

    /// Makes another place current, durable when it returns. What is at the other places is worth nothing then.
    ///
    /// # Errors
    ///
    /// The place that was current still is; but whoever opens the ledger next may find the other one if this is
    /// [`Site::is_unsettled`].
    fn switch(&self, to: &dyn EnginePlace) -> Result<(), StoreError>;

    /// Whether it is not certain that the current place is found by whoever opens the ledger next. Nothing may be committed
    /// then, and no place removed.
    fn is_unsettled(&self) -> bool;

    /// Bytes on disk that are kept in reserve.
    fn reserved(&self) -> u64 {
        0
    }

    /// Lets go of disk that is kept in reserve, where there is less free than a copy of so many bytes needs. Gives how many bytes that was.
    fn use_reserve(&self, _live: u64) -> u64 {
        0
    }

    /// Puts disk in reserve for a ledger that takes so much, and has so much in it.
    fn keep_reserve(&self, _taken: u64, _live: u64) {}

    /// Makes that certain.
    fn settle(&self) -> Result<(), StoreError>;
}

/// The pairs whose keys start with a prefix, in order.
pub(crate) fn with_prefix<'a>(
    map: &'a (impl Pairs + ?Sized),
    prefix: &'a [u8],
) -> impl Iterator<Item = Result<Pair, StoreError>> {
    let mut first = map.get(prefix).map(|value| value.map(|value| (prefix.to_vec(), value))).transpose();
    let mut at = prefix.to_vec();
    std::iter::from_fn(move || match first.take().or_else(|| map.above(&at).transpose())? {
        Ok((key, _)) if !key.starts_with(prefix) => None,
        Ok((key, value)) => {
            at.clone_from(&key);
            Some(Ok((key, value)))
        }
        Err(error) => Some(Err(error)),
    })
}

//--- stored keys ----------------------------------------------------------------------------------------------------

/// The key of the manifest.
pub(crate) const MANIFEST: &[u8] = b"x";
/// The key of the record of the last commit.
pub(crate) const COMMITS: &[u8] = b"s";
/// The key of the format's version.
pub(crate) const FORMAT: &[u8] = b"mformat";
/// Which ledger this is.
pub(crate) const IDENTITY: &[u8] = b"midentity";
/// The key of how many rows and questions there were when names were counted last.
pub(crate) const SURVEYED: &[u8] = b"mnames";
/// The prefix of the keys of sensors.
pub(crate) const SENSORS: &[u8] = b"msensor";
/// The prefix of the keys of progress.
pub(crate) const PROGRESS: &[u8] = b"p";
/// The key of the record of folding, and the prefix of the keys of its estimates.
pub(crate) const FOLDED: &[u8] = b"h";
/// The key of the record how far the rows of registrable domains are made.
pub(crate) const DOMAINS: &[u8] = b"n";
/// The prefix of the keys of the journal.
pub(crate) const JOURNAL: &[u8] = b"j";
/// The prefix of the keys of undo records.
pub(crate) const UNDO: &[u8] = b"u";
/// The prefix of the keys of the follower's hints.
pub(crate) const CACHE: &[u8] = b"c";
/// Where other keys of a run have the family, its filter, which is written last, has this.
pub(crate) const FILTER: u8 = b'z';

/// Joins the parts of a key.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The key of a sensor's name.
pub(crate) fn sensor(number: u16) -> Vec<u8> {
    join(&[SENSORS, &number.to_be_bytes()])
}

/// The key of a lineage's progress.
pub(crate) fn progress(lineage: &LineageId) -> Vec<u8> {
    join(&[PROGRESS, &lineage.0])
}

/// The key of the number of names that were folded: by what the names of a domain start with, and by sensor.
pub(crate) fn sketch(prefix: &[u8], sensor: SensorId) -> Vec<u8> {
    join(&[FOLDED, prefix, &[0], &sensor.0.to_be_bytes()])
}

/// Splits the key of an estimate.
pub(crate) fn sketch_place(key: &[u8]) -> Option<(Vec<u8>, SensorId)> {
    let (name, sensor) = split_name_key(key.strip_prefix(FOLDED)?)?;
    let sensor = SensorId(u16::from_be_bytes(sensor.try_into().ok()?));
    Some((name.split_last()?.1.to_vec(), sensor))
}

/// The prefix of the keys of a journal entry.
pub(crate) fn journal(sequence: u64) -> Vec<u8> {
    join(&[JOURNAL, &sequence.to_be_bytes()])
}

/// The key of a part of a journal entry.
pub(crate) fn journal_part(sequence: u64, part: u16) -> Vec<u8> {
    join(&[JOURNAL, &sequence.to_be_bytes(), &part.to_be_bytes()])
}

/// The key of a part of what takes the last batch back.
pub(crate) fn undo_part(part: u16) -> Vec<u8> {
    join(&[UNDO, &part.to_be_bytes()])
}

/// Sequence and part in the key of a part of a journal entry.
pub(crate) fn journal_place(key: &[u8]) -> Option<(u64, u16)> {
    let (sequence, part) = key.strip_prefix(JOURNAL)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*sequence), u16::from_be_bytes(part.try_into().ok()?)))
}
