//! The two records that say what there is: the manifest names the runs, and the last commit bounds the journal.
//!
//! A run that the manifest does not name does not exist.

use std::collections::HashMap;

use bincode::{Decode, Encode};

use super::engine::{COMMITS, MANIFEST};
use super::key::Family;
use super::run::{CommitRange, Contents, Counts, Extent};
use super::{Expired, StoreError, block, damaged, value};

/// A run on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunMeta {
    /// Its number, which its stored keys start with. Never given twice.
    pub id: u32,
    /// Its rows by family.
    pub contents: Contents,
    /// The commits that brought it.
    pub commits: CommitRange,
    /// Bytes of its blocks as stored.
    pub bytes: u64,
    /// Pages of its filter.
    pub filter_pages: u32,
}

impl RunMeta {
    /// How many rows it holds.
    pub fn counts(&self) -> &Counts {
        &self.contents.counts
    }
}

/// A time before which rows were dropped that are still on disk.
///
/// Whether a row is dropped is decided by what the ledger held at that moment: the rows of these runs, and of the runs of earlier
/// cuts after those cuts. A row that is seen again later is a new row.
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
    /// The time of each cut, epoch seconds, the earliest first.
    pub cuts: Vec<u64>,
    of: HashMap<u32, u32>,
}

impl Epochs {
    /// The epochs of the cuts in a manifest.
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

/// The value stored under [`MANIFEST`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    /// The runs, in the order in which they were made.
    pub runs: Vec<RunMeta>,
    /// No run has this number or a greater one, unless a crash left it behind unnamed.
    pub next_run: u32,
    /// The journal begins with this entry: all before are in runs.
    pub journal_from: u64,
    /// The number of the last commit before that entry.
    pub journal_after: u64,
    /// How many rows and questions have expired so far.
    pub expired: Expired,
    /// The cuts of which rows are still on disk, the earliest first.
    pub cuts: Vec<Cut>,
}

/// Versions of the manifest. Format 1 has the first two, format 2 the second, format 3 the third.
#[derive(Encode, Decode)]
enum Stored {
    V1(OlderManifest),
    V2(OlderManifest, Expired),
    V3 {
        runs: Vec<StoredRun>,
        next_run: u32,
        journal_from: u64,
        journal_after: u64,
        expired: Expired,
        cuts: Vec<Cut>,
    },
}

#[derive(Encode, Decode)]
struct StoredRun {
    id: u32,
    bytes: u64,
    filter_pages: u32,
    lookup_keys: u64,
    commits: (u64, u64),
    families: Vec<StoredFamily>,
}

/// A family in a run's metadata.
#[derive(Encode, Decode)]
struct StoredFamily {
    byte: u8,
    rows: u64,
    first: Vec<u8>,
    /// Empty where neither is known.
    last: Vec<u8>,
}

#[derive(Encode, Decode)]
struct OlderManifest {
    runs: Vec<OlderRun>,
    next_run: u32,
    journal_from: u64,
}

#[derive(Encode, Decode)]
struct OlderRun {
    id: u32,
    rows: u64,
    by_rdata: u64,
    questions: u64,
    lookup_keys: u64,
    bytes: u64,
    filter_pages: u32,
}

impl From<&RunMeta> for StoredRun {
    fn from(run: &RunMeta) -> StoredRun {
        let Contents { counts, extents } = &run.contents;
        let stored = |family: Family| {
            let Extent { first, last } = extents.of(family).clone().unwrap_or_default();
            StoredFamily { byte: family.byte(), rows: counts.of(family), first, last }
        };
        StoredRun {
            id: run.id,
            bytes: run.bytes,
            filter_pages: run.filter_pages,
            lookup_keys: counts.lookup_keys,
            commits: (run.commits.first, run.commits.last),
            families: Family::ALL.into_iter().map(stored).filter(|family| family.rows > 0).collect(),
        }
    }
}

impl StoredRun {
    fn meta(self) -> Result<RunMeta, StoreError> {
        let mut contents = Contents::default();
        contents.counts.lookup_keys = self.lookup_keys;
        for StoredFamily { byte, rows, first, last } in self.families {
            let family = Family::from_byte(byte)
                .ok_or_else(|| damaged(WHAT, "a run has rows of an unknown family"))?;
            *contents.counts.slot(family) = rows;
            *contents.extents.of_mut(family) = (!last.is_empty()).then_some(Extent { first, last });
        }
        let commits = CommitRange { first: self.commits.0, last: self.commits.1 };
        let StoredRun { id, bytes, filter_pages, .. } = self;
        Ok(RunMeta { id, contents, commits, bytes, filter_pages })
    }
}

impl From<OlderRun> for RunMeta {
    /// Older formats have no commit range and no extents: the range begins at the first commit, the extents are unknown.
    fn from(older: OlderRun) -> RunMeta {
        let OlderRun { id, rows, by_rdata, questions, lookup_keys, bytes, filter_pages } = older;
        let mut contents = Contents::default();
        contents.counts.lookup_keys = lookup_keys;
        for (family, rows) in
            [(Family::ByName, rows), (Family::ByRdata, by_rdata), (Family::Questions, questions)]
        {
            *contents.counts.slot(family) = rows;
        }
        RunMeta { id, contents, commits: CommitRange::one(FIRST_COMMIT), bytes, filter_pages }
    }
}

impl Manifest {
    /// Encodes it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let Manifest { runs, next_run, journal_from, journal_after, expired, cuts } = self.clone();
        let runs = runs.iter().map(StoredRun::from).collect();
        seal(MANIFEST, &Stored::V3 { runs, next_run, journal_from, journal_after, expired, cuts })
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
            Stored::V1(_) | Stored::V2(..) => Err(damaged(WHAT, "it is one of an older format")),
            Stored::V3 { runs, next_run, journal_from, journal_after, expired, cuts } => {
                let runs = runs.into_iter().map(StoredRun::meta).collect::<Result<_, _>>()?;
                Ok(Manifest { runs, next_run, journal_from, journal_after, expired, cuts })
            }
        }
    }

    /// Takes a manifest from what is stored in a ledger of an older format.
    pub fn of_older(stored: Option<Vec<u8>>) -> Result<Manifest, StoreError> {
        let (older, expired) = match open(MANIFEST, stored, WHAT)? {
            Stored::V1(older) => (older, Expired::default()),
            Stored::V2(older, expired) => (older, expired),
            Stored::V3 { .. } => return Err(damaged(WHAT, "it is one of a newer format")),
        };
        let OlderManifest { runs, next_run, journal_from } = older;
        let runs = runs.into_iter().map(RunMeta::from).collect();
        Ok(Manifest { runs, next_run, journal_from, journal_after: 0, expired, cuts: Vec::new() })
    }

    /// Encodes it as format 2 and later versions of format 1 did; with `None` as the first version of format 1.
    #[cfg(test)]
    pub fn to_older(&self, expired: Option<Expired>) -> Vec<u8> {
        let run = |run: &RunMeta| OlderRun {
            id: run.id,
            rows: run.counts().rows(),
            by_rdata: run.counts().of(Family::ByRdata),
            questions: run.counts().of(Family::Questions),
            lookup_keys: run.counts().lookup_keys,
            bytes: run.bytes,
            filter_pages: run.filter_pages,
        };
        let Manifest { next_run, journal_from, .. } = *self;
        let older = OlderManifest { runs: self.runs.iter().map(run).collect(), next_run, journal_from };
        let stored = match expired {
            Some(expired) => Stored::V2(older, expired),
            None => Stored::V1(older),
        };
        seal(MANIFEST, &stored).unwrap()
    }
}

//--- Commits --------------------------------------------------------------------------------------------------------

/// The number of the first commit, and of all that older formats committed, which have no numbers.
pub(crate) const FIRST_COMMIT: u64 = 1;

/// Counters that every commit changes: they show whether a part of the journal or of the progress is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Commits {
    /// The journal ends before this entry.
    pub journal_to: u64,
    /// How many logs there is progress of.
    pub lineages: u64,
    /// The hashes of their progress, joined by exclusive or.
    pub digest: u64,
    /// The number of the last commit.
    pub number: u64,
    /// The number of the last hit.
    pub hits: u64,
}

/// Versions of the record: the second since format 3, the third once there is a hit.
#[derive(Encode, Decode)]
enum StoredCommits {
    V1 { journal_to: u64, lineages: u64, digest: u64 },
    V2 { journal_to: u64, lineages: u64, digest: u64, number: u64 },
    V3 { journal_to: u64, lineages: u64, digest: u64, number: u64, hits: u64 },
}

impl Commits {
    /// Encodes it.
    pub fn to_bytes(self) -> Result<Vec<u8>, StoreError> {
        let Commits { journal_to, lineages, digest, number, hits } = self;
        let stored = match hits {
            0 => StoredCommits::V2 { journal_to, lineages, digest, number },
            hits => StoredCommits::V3 { journal_to, lineages, digest, number, hits },
        };
        seal(COMMITS, &stored)
    }

    /// Takes them from what is stored, also in an older format.
    pub fn from_bytes(stored: Option<Vec<u8>>) -> Result<Commits, StoreError> {
        Ok(match open(COMMITS, stored, "the record of the last commit")? {
            StoredCommits::V1 { journal_to, lineages, digest } => {
                Commits { journal_to, lineages, digest, number: FIRST_COMMIT, hits: 0 }
            }
            StoredCommits::V2 { journal_to, lineages, digest, number } => {
                Commits { journal_to, lineages, digest, number, hits: 0 }
            }
            StoredCommits::V3 { journal_to, lineages, digest, number, hits } => {
                Commits { journal_to, lineages, digest, number, hits }
            }
        })
    }

    /// Encodes it as older formats did.
    #[cfg(test)]
    pub fn to_older(self) -> Vec<u8> {
        let Commits { journal_to, lineages, digest, .. } = self;
        seal(COMMITS, &StoredCommits::V1 { journal_to, lineages, digest }).unwrap()
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
