//! Segments: runs in memory, of rows that are not yet in a run on disk: in the journal, or only staged.

use std::sync::Arc;

use bytes::Bytes;

use super::block::Restarts;
use super::domains::lookup_keys;
use super::filter::{Filter, seed_in_memory};
use super::key::{Each, Family};
use super::run::{Block, BlockSource, CommitRange, Contents, Counts, Extents, Reach, Sink, Writer};
use super::{StoreError, damaged};
use crate::store::batch::Batch;

/// Raw bytes of a block in memory: a lookup goes through half of one.
const BLOCK_BYTES: usize = 4 << 10;
/// Raw bytes of a part of the journal. Sixteen are small enough for one of the engine's pages, whatever is in them.
const PART_BYTES: usize = 4 << 10;

/// A sorted run in memory. It never changes.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    blocks: Blocks,
    filter: Filter,
    contents: Contents,
    bytes: usize,
    /// How often it is the result of a merge of segments.
    pub tier: u32,
    /// The entries of the journal that hold its rows; none while it is staged.
    pub sequences: Vec<u64>,
    /// Bytes of these as they are stored.
    pub journal_bytes: u64,
    /// The commits that brought its rows.
    pub commits: CommitRange,
}

/// The blocks of each family with their bounds.
type Blocks = Each<Vec<(Vec<u8>, Block)>>;

impl Sink for Blocks {
    fn block(
        &mut self,
        family: Family,
        bound: &[u8],
        next: Option<&[u8]>,
        rows: &[u8],
    ) -> Result<(), StoreError> {
        let (next, rows) = (next.map(Bytes::copy_from_slice), Bytes::copy_from_slice(rows));
        let block = Block { next, rows, restarts: Restarts::default() };
        self.of_mut(family).push((bound.to_vec(), block));
        Ok(())
    }
}

impl Segment {
    /// Makes one of a batch, which is in these entries of the journal. Rows that were last seen before `cut` are left out.
    pub fn from_batch(
        batch: &Batch,
        more_hits: &Batch,
        sensors: usize,
        sequences: Vec<u64>,
        commits: CommitRange,
        cut: u64,
    ) -> Result<Segment, StoreError> {
        let keys = lookup_keys(batch);
        let mut writer = Writer::new(Blocks::default(), BLOCK_BYTES, keys, seed_in_memory());
        writer.push_batch(batch, more_hits, sensors, cut)?;
        Segment::finish(writer, 0, sequences, commits)
    }

    /// Merges several into one.
    pub fn merge(segments: &[Arc<Segment>]) -> Result<Segment, StoreError> {
        let tier = segments.iter().map(|s| s.tier).max().unwrap_or(0) + 1;
        let sequences = segments.iter().flat_map(|s| &s.sequences).copied().collect();
        let commits = CommitRange::over(segments.iter().map(|segment| segment.commits));
        let journal_bytes = segments.iter().map(|segment| segment.journal_bytes).sum();
        Ok(Segment { journal_bytes, ..Segment::merged(segments, 0, tier, sequences, commits)? })
    }

    /// Makes one of staged segments, which becomes an entry of the journal by a commit of this number. Rows that were last
    /// seen before `cut` are left out.
    pub fn to_commit(
        staged: &[Arc<Segment>],
        sequence: u64,
        number: u64,
        cut: u64,
    ) -> Result<Segment, StoreError> {
        let (sequences, commits) = (vec![sequence], CommitRange::one(number));
        match staged {
            [only] if cut == 0 => Ok(Segment { tier: 0, sequences, commits, ..Segment::clone(only) }),
            _ => Segment::merged(staged, cut, 0, sequences, commits),
        }
    }

    fn merged(
        segments: &[Arc<Segment>],
        cut: u64,
        tier: u32,
        sequences: Vec<u64>,
        commits: CommitRange,
    ) -> Result<Segment, StoreError> {
        let sources = segments.iter().map(|s| Arc::clone(s) as Arc<dyn BlockSource>).collect();
        let keys = segments.iter().map(|segment| segment.counts().lookup_keys).sum();
        let mut writer = Writer::new(Blocks::default(), BLOCK_BYTES, keys, seed_in_memory());
        writer.push_merged(&sources, cut)?;
        Segment::finish(writer, tier, sequences, commits)
    }

    fn finish(
        writer: Writer<Blocks>,
        tier: u32,
        sequences: Vec<u64>,
        commits: CommitRange,
    ) -> Result<Segment, StoreError> {
        let (blocks, contents, filter) = writer.finish()?;
        let of_blocks = blocks
            .iter()
            .flat_map(|(_, blocks)| blocks)
            .map(|(bound, block)| block.rows.len() + 2 * bound.len() + 128);
        let bytes = of_blocks.sum::<usize>() + filter.bytes();
        Ok(Segment { blocks, filter, contents, bytes, tier, sequences, journal_bytes: 0, commits })
    }

    /// Rows and questions.
    pub fn rows(&self) -> u64 {
        self.contents.counts.primary()
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its rows as parts of a journal entry: all but indexes, which are made again of them.
    pub fn journal_parts(&self) -> Vec<JournalPart> {
        let mut parts = Vec::new();
        for family in Family::primary() {
            let mut rows = Vec::new();
            let mut blocks = self.blocks.of(family).iter().peekable();
            while let Some((_, block)) = blocks.next() {
                rows.extend_from_slice(&block.rows);
                if rows.len() >= PART_BYTES || blocks.peek().is_none() {
                    parts.push(JournalPart { family, rows: std::mem::take(&mut rows) });
                }
            }
        }
        parts
    }
}

/// Some of the rows of an entry of the journal.
#[derive(Debug)]
pub(crate) struct JournalPart {
    pub family: Family,
    /// Raw.
    pub rows: Vec<u8>,
}

impl BlockSource for Segment {
    fn floor(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError> {
        let blocks = self.blocks.of(family);
        let after = blocks.partition_point(|(bound, _)| bound.as_slice() <= key);
        Ok(after.checked_sub(1).and_then(|at| blocks.get(at)).map(|(_, block)| block.clone()))
    }

    fn at(&self, family: Family, bound: &[u8]) -> Result<Block, StoreError> {
        self.floor(family, bound)?.ok_or_else(|| damaged("a segment in memory", "a block is missing"))
    }

    fn counts(&self) -> &Counts {
        &self.contents.counts
    }

    fn extents(&self) -> &Extents {
        &self.contents.extents
    }

    fn filter_seed(&self) -> u64 {
        self.filter.seed()
    }

    fn may_hold(&self, hash: u64, _reach: Reach) -> Result<bool, StoreError> {
        Ok(self.filter.may_hold(hash))
    }
}
