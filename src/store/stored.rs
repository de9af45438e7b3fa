//! What is stored under the keys of the main map and of runs: sealed when it is written, checked and taken apart when it is read.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::block::Restarts;
use super::engine::{self, Pairs};
use super::filter::Filter;
use super::key::Family;
use super::manifest::RunMeta;
use super::run::Block;
use super::{StoreError, block, damaged, value};
use crate::progress::{LineageId, Progress};

/// The version of the format that this program writes, and the newest it reads.
pub const FORMAT: u32 = 3;
/// Bytes of a page of a filter, which does not get smaller: sixteen of them are one page of sled, which must be below 128 KB.
pub(super) const FILTER_PAGE_BYTES: usize = 6 << 10;
/// Bytes before the rows of a part of the journal: how many parts there are, and the family.
pub(super) const JOURNAL_HEADER: usize = 3;

/// Refuses what another program wrote.
pub(super) fn check_format(engine: &dyn Pairs) -> Result<(), StoreError> {
    let stored = engine.get(engine::FORMAT)?.and_then(|stored| stored.try_into().ok());
    match stored.map(u32::from_be_bytes) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(damaged("the ledger", &format!("its format is {found} and not {FORMAT}"))),
        None => Err(damaged("the ledger", "it does not say which format it has")),
    }
}

/// A page of the filter of a run.
pub(super) fn read_filter_page(meta: &RunMeta, pairs: &dyn Pairs, page: u32) -> Result<Bytes, StoreError> {
    let what = || format!("the filter of run {}", meta.id);
    let key = filter_key(page);
    let sealed = pairs.get(&key)?.ok_or_else(|| damaged(&what(), "a page is missing"))?;
    block::open(&key, &sealed, &what)
}

/// The filter of a run.
pub(super) fn read_filter(meta: &RunMeta, pairs: &dyn Pairs) -> Result<Filter, StoreError> {
    let mut stored = Vec::new();
    for page in 0..meta.filter_pages {
        stored.extend_from_slice(&read_filter_page(meta, pairs, page)?);
    }
    let why = "invalid filter length";
    Filter::from_bytes(&stored).ok_or_else(|| damaged(&format!("the filter of run {}", meta.id), why))
}

/// Takes a block of a run from what is stored under its key.
pub(super) fn open_block(run: u32, key: &[u8], sealed: &[u8]) -> Result<Block, StoreError> {
    let what = || format!("a block of run {run}");
    let raw = block::open(key, sealed, &what)?;
    let mut at = 0;
    let bounds = block::take_length(&raw, &mut at).map(|length| match length.checked_sub(1) {
        Some(length) => (Some(at..at + length), at + length),
        None => (None, at),
    });
    match bounds {
        Some((next, rows)) if rows <= raw.len() => Ok(Block {
            next: next.map(|next| raw.slice(next)),
            rows: raw.slice(rows..),
            restarts: Restarts::default(),
        }),
        _ => Err(damaged(&what(), "the bound of the next block reaches beyond its end")),
    }
}

pub(super) fn block_key(family: Family, bound: &[u8]) -> Vec<u8> {
    engine::join(&[&[family.byte()], bound])
}

pub(super) fn filter_key(page: u32) -> Vec<u8> {
    engine::join(&[&[engine::FILTER], &page.to_be_bytes()])
}

/// A part of a journal entry.
pub(super) struct OpenedPart {
    /// How many parts the entry has.
    pub parts: u16,
    /// The family: rows by name, or questions.
    pub family: Family,
    pub rows: Bytes,
}

/// Takes a part of a journal entry from what is stored under its key.
pub(super) fn open_journal_part(sequence: u64, key: &[u8], sealed: &[u8]) -> Result<OpenedPart, StoreError> {
    let what = || format!("entry {sequence} of the journal");
    let raw = block::open(key, sealed, &what)?;
    let Some([a, b, family]) = raw.first_chunk::<JOURNAL_HEADER>() else {
        return Err(damaged(&what(), "a part is cut"));
    };
    let family = Family::from_byte(*family).filter(|family| !family.definition().is_index);
    let family = family.ok_or_else(|| damaged(&what(), "it has rows of an unknown family"))?;
    Ok(OpenedPart { parts: u16::from_be_bytes([*a, *b]), family, rows: raw.slice(JOURNAL_HEADER..) })
}

pub(super) fn progress_hash(key: &[u8], sealed: &[u8]) -> u64 {
    xxh3_64_with_seed(sealed, xxh3_64(key))
}

pub(super) fn open_progress(key: &[u8], sealed: &[u8]) -> Result<Progress, StoreError> {
    let what = "the progress of a log";
    let lineage = key.get(engine::PROGRESS.len()..).and_then(|id| id.try_into().ok());
    let lineage = LineageId(lineage.ok_or_else(|| damaged(what, "invalid key"))?);
    value::progress(lineage, &block::open(key, sealed, &|| what.to_owned())?)
}
