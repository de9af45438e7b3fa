//! The manifest: which runs there are. A run that it does not name does not exist.

use bincode::{Decode, Encode};

use super::engine::MANIFEST;
use super::run::Counts;
use super::{StoreError, block, value};

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

/// Versions of the manifest; a new one is appended, an old one stays readable.
#[derive(Encode, Decode)]
enum Stored {
    V1(Manifest),
}

/// What is stored under [`MANIFEST`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Manifest {
    /// The runs, in the order in which they were made.
    pub runs: Vec<RunMeta>,
    /// No run has this number or a greater one, unless a crash left it behind unnamed.
    pub next_run: u32,
}

impl Manifest {
    /// What is stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        value::push(&Stored::V1(self.clone()), &mut out)?;
        Ok(block::seal(MANIFEST, &out))
    }

    /// Takes a manifest from what is stored.
    pub fn from_bytes(stored: &[u8]) -> Result<Manifest, StoreError> {
        let what = "the manifest of the ledger";
        let Stored::V1(manifest) = value::take(&block::open(MANIFEST, stored, &|| what.to_owned())?, what)?;
        Ok(manifest)
    }
}
