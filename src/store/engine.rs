//! The border to the engine that keeps bytes: an ordered map on stable storage, as little of it as the ledger needs.
//!
//! [`super::ledger`] is written against this trait, `sled.rs` implements it, and the tests of the ledger have one of
//! their own that loses what was not flushed.
//!
//! # Stored keys
//!
//! The first byte is the family; integers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `c` path | what the follower remembers of a file: a hint, as it was given |
//! | `j` sequence (8), family (1), part (2) | a sealed block of a commit's rows |
//! | `m` `format` | the version of the format (4 bytes) |
//! | `m` `sensor` number (2) | a sensor's name, sealed |
//! | `p` lineage (16) | the progress of a log, sealed |
//! | `r` run (4), family (1), lower bound | a sealed block of a run's rows |
//! | `r` run (4), `b`, page (4) | a page of a run's filter, sealed |
//! | `x` | the manifest, sealed |

use super::{Pair, StoreError};
use crate::progress::LineageId;

/// Keys with what becomes of them: a value, or nothing.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An ordered map on stable storage.
///
/// What was written is visible to readers at once, in the order of the calls, and durable after [`Engine::sync`]; after a
/// crash, some of the last writes that were not synced may be missing, never an earlier one without the later.
pub(crate) trait Engine: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The last pair whose key is not greater than this.
    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError>;

    /// The first pair whose key is greater than this.
    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError>;

    /// Makes changes, all or none, also over a crash.
    fn write(&self, changes: Changes) -> Result<(), StoreError>;

    /// Makes many changes one by one, without holding readers up: what nothing refers to yet, or any longer.
    fn write_loosely(&self, changes: Changes) -> Result<(), StoreError>;

    /// Waits until all that was written is on stable storage.
    ///
    /// After this has failed nothing more can be written until the engine is opened again.
    fn sync(&self) -> Result<(), StoreError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> Result<u64, StoreError>;
}

/// The pairs whose keys start with a prefix, in order.
pub(crate) fn with_prefix<'a>(
    engine: &'a dyn Engine,
    prefix: &'a [u8],
) -> impl Iterator<Item = Result<Pair, StoreError>> + use<'a> {
    let mut next = engine.get(prefix).map(|value| value.map(|value| (prefix.to_vec(), value))).transpose();
    let mut at = prefix.to_vec();
    std::iter::from_fn(move || {
        let pair = next.take().or_else(|| engine.above(&at).transpose())?;
        match pair {
            Ok((key, _)) if !key.starts_with(prefix) => None,
            Ok((key, value)) => {
                at.clone_from(&key);
                Some(Ok((key, value)))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

//--- stored keys ----------------------------------------------------------------------------------------------------

/// The key of the manifest.
pub(crate) const MANIFEST: &[u8] = b"x";
/// The key of the format's version.
pub(crate) const FORMAT: &[u8] = b"mformat";
/// What the keys of sensors start with.
pub(crate) const SENSORS: &[u8] = b"msensor";
/// What the keys of progress start with.
pub(crate) const PROGRESS: &[u8] = b"p";
/// What the keys of the journal start with.
pub(crate) const JOURNAL: &[u8] = b"j";
/// What the keys of runs start with.
pub(crate) const RUNS: &[u8] = b"r";
/// What the keys of the follower's hints start with.
pub(crate) const CACHE: &[u8] = b"c";
/// Where other keys of a run have the family, its filter has this.
pub(crate) const FILTER: u8 = b'b';

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

/// What the keys of a run start with.
pub(crate) fn run(id: u32) -> Vec<u8> {
    join(&[RUNS, &id.to_be_bytes()])
}

/// The run that a key belongs to.
pub(crate) fn run_of(key: &[u8]) -> Option<u32> {
    let (id, _) = key.strip_prefix(RUNS)?.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*id))
}

/// What the keys of a journal entry start with.
pub(crate) fn journal(sequence: u64) -> Vec<u8> {
    join(&[JOURNAL, &sequence.to_be_bytes()])
}

/// The sequence number and the family of a part of the journal.
pub(crate) fn journal_of(key: &[u8]) -> Option<(u64, u8)> {
    let (sequence, rest) = key.strip_prefix(JOURNAL)?.split_first_chunk::<8>()?;
    let [family, _, _] = *rest else { return None };
    Some((u64::from_be_bytes(*sequence), family))
}
