//! The two records that say what there is: the manifest names the runs, and the last commit bounds the journal.
//!
//! A run that the manifest does not name does not exist.

use bincode::{Decode, Encode};

use super::engine::{COMMITS, MANIFEST};
use super::run::Counts;
use super::{Expired, StoreError, block, damaged, value};

/// A run on disk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct RunMeta {
    /// Its number, which its stored keys start with. Never given twice.
    pub id: u32,
    /// What it holds.
    pub counts: Counts,
    /// Bytes of its blocks as stored.
    pub bytes: u64,
    /// Pages of its filter.
    pub filter_pages: u32,
}

/// Versions of the manifest. Format 1 has both, format 2 the second.
#[derive(Encode, Decode)]
enum Stored {
    V1(ManifestV1),
    V2(Manifest),
}

#[derive(Encode, Decode)]
struct ManifestV1 {
    runs: Vec<RunMeta>,
    next_run: u32,
    journal_from: u64,
}

const WHAT: &str = "the manifest of the ledger";

/// What is stored under [`MANIFEST`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Manifest {
    /// The runs, in the order in which they were made.
    pub runs: Vec<RunMeta>,
    /// No run has this number or a greater one, unless a crash left it behind unnamed.
    pub next_run: u32,
    /// The journal begins with this entry: all before are in runs.
    pub journal_from: u64,
    /// What was left behind because it was not seen for long.
    pub expired: Expired,
}

impl Manifest {
    /// What is stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        seal(MANIFEST, &Stored::V2(self.clone()))
    }

    /// Takes a manifest from what is stored.
    pub fn from_bytes(stored: Option<Vec<u8>>) -> Result<Manifest, StoreError> {
        match open(MANIFEST, stored, WHAT)? {
            Stored::V1(_) => Err(damaged(WHAT, "it is one of format 1")),
            Stored::V2(manifest) => Ok(manifest),
        }
    }

    /// Takes a manifest from what is stored in a ledger of format 1.
    pub fn of_format_1(stored: Option<Vec<u8>>) -> Result<Manifest, StoreError> {
        Ok(match open(MANIFEST, stored, WHAT)? {
            Stored::V1(ManifestV1 { runs, next_run, journal_from }) => {
                Manifest { runs, next_run, journal_from, expired: Expired::default() }
            }
            Stored::V2(manifest) => manifest,
        })
    }

    /// What format 1 stored before anything could be dropped.
    #[cfg(test)]
    pub fn to_format_1(&self) -> Vec<u8> {
        let Manifest { runs, next_run, journal_from, .. } = self.clone();
        seal(MANIFEST, &Stored::V1(ManifestV1 { runs, next_run, journal_from })).unwrap()
    }
}

//--- Commits --------------------------------------------------------------------------------------------------------

/// What every commit changes: by it one sees that nothing of the journal and of the progress was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Commits {
    /// The journal ends before this entry.
    pub journal_to: u64,
    /// How many logs there is progress of.
    pub lineages: u64,
    /// The hashes of their progress, joined by exclusive or.
    pub digest: u64,
}

#[derive(Encode, Decode)]
enum StoredCommits {
    V1(Commits),
}

impl Commits {
    /// What is stored.
    pub fn to_bytes(self) -> Result<Vec<u8>, StoreError> {
        seal(COMMITS, &StoredCommits::V1(self))
    }

    /// Takes them from what is stored.
    pub fn from_bytes(stored: Option<Vec<u8>>) -> Result<Commits, StoreError> {
        let StoredCommits::V1(commits) = open(COMMITS, stored, "the record of the last commit")?;
        Ok(commits)
    }
}

/// Seals a record under a key.
pub(super) fn seal(key: &[u8], record: &impl Encode) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    value::push(record, &mut out)?;
    Ok(block::seal(key, &out))
}

/// Takes the record of a key from what is stored.
pub(super) fn open<T: Decode<()>>(key: &[u8], stored: Option<Vec<u8>>, what: &str) -> Result<T, StoreError> {
    let stored = stored.ok_or_else(|| damaged(what, "it is missing"))?;
    value::take(&block::open(key, &stored, &|| what.to_owned())?, what)
}
