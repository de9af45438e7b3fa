//! The two records that say what there is: the manifest names the runs, and the last commit bounds the journal.
//!
//! A run that the manifest does not name does not exist.

use std::collections::HashMap;

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

/// Versions of the manifest. Format 1 has the first two, format 2 the second, and the third while rows that were dropped are still
/// on disk.
#[derive(Encode, Decode)]
enum Stored {
    V1(ManifestV1),
    V2(ManifestV2),
    V3(ManifestV2, Vec<Cut>),
}

#[derive(Encode, Decode)]
struct ManifestV1 {
    runs: Vec<RunMeta>,
    next_run: u32,
    journal_from: u64,
}

#[derive(Encode, Decode)]
struct ManifestV2 {
    runs: Vec<RunMeta>,
    next_run: u32,
    journal_from: u64,
    expired: Expired,
}

impl ManifestV2 {
    fn with(self, cuts: Vec<Cut>) -> Manifest {
        let ManifestV2 { runs, next_run, journal_from, expired } = self;
        Manifest { runs, next_run, journal_from, expired, cuts }
    }
}

/// A time before which rows were dropped that are still on disk.
///
/// What is dropped is judged by all that was there at that moment: the rows of these runs, and of those of earlier cuts, after these
/// were made. A row that is seen again later is a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Cut {
    /// Rows and questions last seen before this are dropped, epoch seconds.
    pub before: u64,
    /// The runs that were there, without those of earlier cuts.
    pub runs: Vec<u32>,
    /// Whether what it drops was counted.
    pub is_counted: bool,
    /// Rows that it drops.
    pub rows: u64,
    /// Questions that it drops.
    pub questions: u64,
}

/// Which runs were there when which cut was made.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    /// When each was, the earliest first.
    pub cuts: Vec<u64>,
    of: HashMap<u32, u32>,
}

impl Epochs {
    /// As a manifest has it.
    pub fn of(cuts: &[Cut]) -> Epochs {
        let runs = (0..).zip(cuts).flat_map(|(epoch, cut)| cut.runs.iter().map(move |run| (*run, epoch)));
        Epochs { cuts: cuts.iter().map(|cut| cut.before).collect(), of: runs.collect() }
    }

    /// How many cuts were made before a run was, or what it was merged of.
    pub fn epoch(&self, run: u32) -> u32 {
        self.of.get(&run).copied().unwrap_or(self.cuts.len() as u32)
    }
}

const WHAT: &str = "the manifest of the ledger";

/// What is stored under [`MANIFEST`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    /// The runs, in the order in which they were made.
    pub runs: Vec<RunMeta>,
    /// No run has this number or a greater one, unless a crash left it behind unnamed.
    pub next_run: u32,
    /// The journal begins with this entry: all before are in runs.
    pub journal_from: u64,
    /// What was dropped because it was not seen for long.
    pub expired: Expired,
    /// What of that is still on disk, the earliest first.
    pub cuts: Vec<Cut>,
}

impl Manifest {
    /// What is stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let Manifest { runs, next_run, journal_from, expired, cuts } = self.clone();
        let first = ManifestV2 { runs, next_run, journal_from, expired };
        seal(MANIFEST, &if cuts.is_empty() { Stored::V2(first) } else { Stored::V3(first, cuts) })
    }

    /// A run takes the place of others, of which all were there when a cut was made, or none.
    pub fn replace(&mut self, replaced: &[u32], by: RunMeta) {
        self.runs.retain(|run| !replaced.contains(&run.id));
        for cut in &mut self.cuts {
            let before = cut.runs.len();
            cut.runs.retain(|run| !replaced.contains(run));
            if cut.runs.len() < before {
                cut.runs.push(by.id);
            }
        }
        self.runs.push(by);
    }

    /// Rows and questions that are dropped, and still on disk.
    pub fn left(&self) -> (u64, u64) {
        let sum = |of: fn(&Cut) -> u64| self.cuts.iter().map(of).sum();
        (sum(|cut| cut.rows), sum(|cut| cut.questions))
    }

    /// Forgets cuts that drop nothing: what is before them and after is judged together.
    pub fn join_cuts(&mut self) {
        let mut runs = Vec::new();
        self.cuts.retain_mut(|cut| {
            cut.runs.append(&mut runs);
            let drops = !cut.is_counted || cut.rows + cut.questions > 0;
            if !drops {
                runs = std::mem::take(&mut cut.runs);
            }
            drops
        });
    }

    /// Takes a manifest from what is stored.
    pub fn from_bytes(stored: Option<Vec<u8>>) -> Result<Manifest, StoreError> {
        match open(MANIFEST, stored, WHAT)? {
            Stored::V1(_) => Err(damaged(WHAT, "it is one of format 1")),
            Stored::V2(manifest) => Ok(manifest.with(Vec::new())),
            Stored::V3(manifest, cuts) => Ok(manifest.with(cuts)),
        }
    }

    /// Takes a manifest from what is stored in a ledger of format 1.
    pub fn of_format_1(stored: Option<Vec<u8>>) -> Result<Manifest, StoreError> {
        Ok(match open(MANIFEST, stored, WHAT)? {
            Stored::V1(ManifestV1 { runs, next_run, journal_from }) => {
                let expired = Expired::default();
                Manifest { runs, next_run, journal_from, expired, cuts: Vec::new() }
            }
            Stored::V2(manifest) => manifest.with(Vec::new()),
            Stored::V3(manifest, cuts) => manifest.with(cuts),
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
