//! Sorted runs of rows: writing one, going through one, and going through several as one.
//!
//! A run never changes once it is written. Where its blocks are is a [`BlockSource`]'s business: in memory
//! ([`super::segment`]) or in the engine ([`super::ledger`]); what is here is the same for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{Builder, Reader, Restarts};
use super::domains::Collector;
use super::filter::{self, Filter};
use super::key::{self, Each, Family, Range};
use super::span::after_prefix;
use super::{StoreError, damaged, value};
use crate::observation::{FirstSeen, SensorId};
use crate::store::batch::{Batch, RowTable};

/// A block of rows.
///
/// Blocks of a family are bounded by keys: the bound of one is not greater than any key in it, and greater than all before.
/// That of the first is empty. Each block knows the bound of the next, so that one that was lost is missed.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The bound of the next block; `None` in the last of a family.
    pub next: Option<Bytes>,
    /// The rows, raw.
    pub rows: Bytes,
    /// Where it can be entered but at its beginning; none in one that was only just opened.
    pub restarts: Restarts,
}

impl Block {
    /// Whether a key is before the next block.
    pub fn is_before_next(&self, key: &[u8]) -> bool {
        self.next.as_deref().is_none_or(|next| key < next)
    }

    /// Its rows from a key on and before another: less to keep than all of it.
    pub fn extract(&self, from: &[u8], to: Option<&[u8]>) -> Result<Block, StoreError> {
        let (mut rows, mut part) = (Reader::new(self.rows.clone()), Builder::default());
        let mut is_row = rows.seek(&self.restarts, from)?;
        while is_row && to.is_none_or(|to| rows.key() < to) {
            part.push(rows.key(), rows.value());
            is_row = rows.advance()?;
        }
        let next = if is_row {
            to.map(Bytes::copy_from_slice)
        } else {
            self.next.as_deref().map(Bytes::copy_from_slice)
        };
        Ok(Block { next, rows: Bytes::copy_from_slice(part.raw()), restarts: Restarts::default() })
    }
}

/// Where the blocks of a run are.
pub(crate) trait BlockSource: Send + Sync {
    /// The block of a family where a key is, if it is anywhere; `None` when the family is empty.
    fn floor(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError>;

    /// The block of a family with this bound, which there is.
    fn at(&self, family: Family, bound: &[u8]) -> Result<Block, StoreError>;

    /// The seed of the hashes that its filter is asked with.
    fn filter_seed(&self) -> u64;

    /// Whether rows with a lookup part of this hash may be in it; with [`Reach::Memory`] nothing is read that may have to be
    /// waited for.
    fn may_hold(&self, hash: u64, reach: Reach) -> Result<bool, StoreError>;

    /// How many rows it holds.
    fn counts(&self) -> &Counts;

    /// Between which keys they are.
    fn extents(&self) -> &Extents;

    /// Whether no row of a range can be in it.
    fn is_apart(&self, range: &Range) -> bool {
        self.counts().of(range.family) == 0
            || self.extents().of(range.family).as_ref().is_some_and(|extent| extent.is_apart(range))
    }

    /// As [`BlockSource::floor`], for the first step of a scan: what it opens is kept for the next one, as far as there is room.
    fn first(&self, family: Family, key: &[u8]) -> Result<Option<Block>, StoreError> {
        self.floor(family, key)
    }

    /// The rows of an exact lookup from a key on and before another, as far as one block has them, and perhaps more; what
    /// it opens is kept for the next one, as far as there is room, and with [`Reach::Memory`] nothing is read that may have
    /// to be waited for.
    fn extract(
        &self,
        family: Family,
        from: &[u8],
        _to: Option<&[u8]>,
        _reach: Reach,
    ) -> Result<Option<Block>, StoreError> {
        self.floor(family, from)
    }
}

/// Runs that are gone through as one, each with how many cuts were made before it was.
///
/// A row may lie in several runs. A cut decides by the parts that were there when it was made: if the last of them is before the
/// cut, they are dropped, and parts in later runs are a new row.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    runs: Vec<(u32, Arc<dyn BlockSource>)>,
    /// The times of the cuts, the earliest cut first.
    cuts: Vec<u64>,
}

impl Sources {
    /// No runs yet, and these cuts.
    pub fn with_cuts(cuts: Vec<u64>) -> Sources {
        Sources { runs: Vec::new(), cuts }
    }

    /// Adds one that was made after so many cuts.
    pub fn push(&mut self, epoch: u32, run: Arc<dyn BlockSource>) {
        self.runs.push((epoch, run));
    }

    /// The runs that were there when a cut was made.
    pub fn before_cut(&self, cut: u32) -> Sources {
        let runs = self.runs.iter().filter(|(epoch, _)| *epoch <= cut).cloned().collect();
        Sources { runs, cuts: self.cuts.iter().take(cut as usize).copied().collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// Runs of which nothing was dropped.
impl FromIterator<Arc<dyn BlockSource>> for Sources {
    fn from_iter<I: IntoIterator<Item = Arc<dyn BlockSource>>>(runs: I) -> Sources {
        Sources { runs: runs.into_iter().map(|run| (0, run)).collect(), cuts: Vec::new() }
    }
}

/// How far an exact lookup goes for its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Memory only; anything else is [`StoreError::NotInMemory`].
    Memory,
    /// The disk may be read.
    Disk,
}

/// Where blocks go to while a run is written.
pub(crate) trait Sink {
    /// Takes the next block of a family: its bound, that of the block after it, and its rows.
    fn block(
        &mut self,
        family: Family,
        bound: &[u8],
        next: Option<&[u8]>,
        rows: &[u8],
    ) -> Result<(), StoreError>;
}

//--- Writer ---------------------------------------------------------------------------------------------------------

/// How many rows a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Rows of each family.
    families: Each<u64>,
    /// Distinct lookup parts, as far as neighbours tell: what the filter was filled with.
    pub lookup_keys: u64,
}

impl Counts {
    /// Rows of a family.
    pub fn of(&self, family: Family) -> u64 {
        *self.families.of(family)
    }

    /// The count of a family.
    pub fn slot(&mut self, family: Family) -> &mut u64 {
        self.families.of_mut(family)
    }

    /// Rows by name: the rows of the ledger.
    pub fn rows(&self) -> u64 {
        self.of(Family::ByName)
    }

    /// Rows and questions: all but what is in an index.
    pub fn primary(&self) -> u64 {
        Family::primary().map(|family| self.of(family)).sum()
    }

    /// Everything.
    pub fn all(&self) -> u64 {
        self.families.iter().map(|(_, rows)| rows).sum()
    }

    /// The sum of two.
    pub fn plus(mut self, other: Counts) -> Counts {
        for family in Family::ALL {
            *self.slot(family) = self.of(family).saturating_add(other.of(family));
        }
        self.lookup_keys = self.lookup_keys.saturating_add(other.lookup_keys);
        self
    }
}

/// Between which keys all rows of a family in a run are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    /// Not greater than any key.
    pub first: Vec<u8>,
    /// Not smaller than any.
    pub last: Vec<u8>,
}

/// Bytes of a key in an extent, at most: what is longer is bounded by its beginning.
const EXTENT_BYTES: usize = 96;

impl Extent {
    /// The extent of rows from one key to another.
    pub fn of(first: &[u8], last: &[u8]) -> Extent {
        let bounded = |key: &[u8]| key.get(..EXTENT_BYTES).unwrap_or(key).to_vec();
        let last = if last.len() > EXTENT_BYTES { after_prefix(&bounded(last)) } else { None }
            .unwrap_or_else(|| last.to_vec());
        Extent { first: bounded(first), last }
    }

    /// Whether a key may be in it.
    pub fn holds(&self, key: &[u8]) -> bool {
        self.first.as_slice() <= key && key <= self.last.as_slice()
    }

    /// Whether no row of a range can be in it.
    fn is_apart(&self, range: &Range) -> bool {
        self.last < range.from || range.to.as_ref().is_some_and(|to| self.first >= *to)
    }
}

/// The extent of each family, where it is known.
pub(crate) type Extents = Each<Option<Extent>>;

/// Which commits brought rows of a run, by their numbers: all of them lie between these two, both included. 0 is what is not
/// committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CommitRange {
    pub first: u64,
    pub last: u64,
}

impl CommitRange {
    /// The range of one commit.
    pub fn one(number: u64) -> CommitRange {
        CommitRange { first: number, last: number }
    }

    /// The least one that holds several.
    pub fn over(ranges: impl Iterator<Item = CommitRange>) -> CommitRange {
        let both = |a: CommitRange, b: CommitRange| CommitRange {
            first: a.first.min(b.first),
            last: a.last.max(b.last),
        };
        ranges.reduce(both).unwrap_or_default()
    }
}

/// The contents of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    pub counts: Counts,
    pub extents: Extents,
}

/// Puts a run together from rows that come in order, family by family.
pub(crate) struct Writer<S> {
    sink: S,
    block_bytes: usize,
    family: Option<Family>,
    builder: Builder,
    /// Where the block that is being built begins.
    bound: Vec<u8>,
    /// The lookup part of the last row.
    part: Vec<u8>,
    filter: Filter,
    /// The first key of the family.
    first: Vec<u8>,
    contents: Contents,
}

impl<S: Sink> Writer<S> {
    /// Begins a run of blocks of about so many raw bytes, with at most so many lookup keys, and a filter
    /// with this seed.
    pub fn new(sink: S, block_bytes: usize, lookup_keys: u64, filter_seed: u64) -> Writer<S> {
        Writer {
            sink,
            block_bytes,
            family: None,
            builder: Builder::default(),
            bound: Vec::new(),
            part: Vec::new(),
            filter: Filter::new(lookup_keys, filter_seed),
            first: Vec::new(),
            contents: Contents::default(),
        }
    }

    /// Appends a row.
    pub fn push(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.family != Some(family) {
            self.close_family()?;
            self.family = Some(family);
            self.first.clear();
            self.first.extend_from_slice(key);
            self.bound.clear();
            self.part.clear();
        } else if self.builder.len() + key.len() + value.len() > self.block_bytes {
            // The shortest key that divides the blocks.
            let shared = self.builder.last().iter().zip(key).take_while(|(a, b)| a == b).count();
            let next = key.get(..=shared).unwrap_or(key);
            self.close_block(Some(next))?;
            self.bound.clear();
            self.bound.extend_from_slice(next);
        }
        self.builder.push(key, value);
        *self.contents.counts.slot(family) += 1;
        // A lookup part ends itself, so a key that starts with it has the same one.
        if self.part.is_empty() || !key.starts_with(&self.part) {
            let part = family.lookup_part(key).ok_or_else(|| key::bad_key(family))?;
            self.part.clear();
            self.part.extend_from_slice(part);
            self.filter.insert(filter::hash(self.filter.seed(), part));
            self.contents.counts.lookup_keys += 1;
        }
        Ok(())
    }

    fn close_block(&mut self, next: Option<&[u8]>) -> Result<(), StoreError> {
        if let Some(family) = self.family
            && self.builder.len() > 0
        {
            self.sink.block(family, &self.bound, next, self.builder.raw())?;
            self.builder.clear();
        }
        Ok(())
    }

    fn close_family(&mut self) -> Result<(), StoreError> {
        self.close_block(None)?;
        if let Some(family) = self.family {
            *self.contents.extents.of_mut(family) = Some(Extent::of(&self.first, self.builder.last()));
        }
        Ok(())
    }

    /// Ends the run: what it holds, its filter, and the sink.
    pub fn finish(mut self) -> Result<(S, Contents, Filter), StoreError> {
        self.close_family()?;
        self.filter.shrink(self.contents.counts.lookup_keys);
        Ok((self.sink, self.contents, self.filter))
    }

    /// Appends the rows of a batch that were seen at `cut` or later, and the hits of another one with its own.
    ///
    /// # Errors
    ///
    /// Also when a key is none, or has a sensor that is not among the first `sensors`.
    pub fn push_batch(
        &mut self,
        batch: &Batch,
        more_hits: &Batch,
        sensors: usize,
        cut: u64,
    ) -> Result<(), StoreError> {
        let rows = sorted(batch.tuples(), sensors, |halves| halves.combined().time_last >= cut)?;
        let questions = sorted(batch.questions(), sensors, |asked| asked.time_last >= cut)?;
        // Rows and questions of a name one after the other: each domain is then met once, but for those within others.
        let (mut domains, mut asked) = (Collector::default(), questions.iter().peekable());
        let mut packed = Packed::default();
        for row in &rows {
            while let Some(question) = asked.next_if(|question| question.place() < row.place()) {
                domains.add(Family::Questions, question.key, &FirstSeen::of_question(question.value))?;
            }
            domains.add(Family::ByName, row.key, &FirstSeen::of_sightings(row.value))?;
            packed.push(row.key, |out| value::push_halves(row.value, out))?;
        }
        for question in asked {
            domains.add(Family::Questions, question.key, &FirstSeen::of_question(question.value))?;
        }
        drop(rows);
        let mut key = Vec::new();
        for (rdata, at) in by_rdata(&packed)? {
            if let Some((row, stored)) = packed.get(at) {
                key.clear();
                key::push_by_rdata(row, rdata, &mut key)?;
                self.push(Family::ByRdata, &key, stored)?;
            }
        }
        for (row, stored) in packed.iter() {
            self.push(Family::ByName, row, stored)?;
        }
        drop(packed);
        let mut stored = Vec::new();
        for row in questions {
            stored.clear();
            value::push_asked(row.value, &mut stored)?;
            self.push(Family::Questions, row.key, &stored)?;
        }
        for (key, times) in domains.take() {
            stored.clear();
            value::push_first_seen(&times, &mut stored)?;
            self.push(Family::Domains, &key, &stored)?;
        }
        let mut by_number = Vec::new();
        let hits: BTreeMap<&[u8], &[u8]> = batch
            .hits()
            .iter()
            .chain(more_hits.hits())
            .map(|(key, stored)| (key.as_slice(), stored.as_slice()))
            .collect();
        for (hit, stored) in hits {
            let value = value::hit(stored)?;
            if value.noted < cut {
                continue;
            }
            self.push(Family::Hits, hit, stored)?;
            by_number.push(([value.sequence.to_be_bytes().as_slice(), hit].concat(), stored));
        }
        by_number.sort_unstable();
        for (key, stored) in by_number {
            self.push(Family::HitLog, &key, stored)?;
        }
        Ok(())
    }

    /// Appends those rows of several runs, as one, that are to be kept by their family, key and value.
    pub fn push_kept(
        &mut self,
        sources: &Sources,
        mut keeps: impl FnMut(Family, &[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for family in Family::ALL {
            let mut rows = Merged::open(sources, &Range::all(family))?;
            while rows.advance()? {
                if keeps(family, rows.key(), rows.value())? {
                    self.push(family, rows.key(), rows.value())?;
                }
            }
        }
        Ok(())
    }

    /// Appends the rows of several runs as one, those that were last seen at `cut` or later.
    pub fn push_merged(&mut self, sources: &Sources, cut: u64) -> Result<(), StoreError> {
        self.push_kept(sources, |family, key, stored| {
            let is_current = family != Family::Domains || key::is_of_this_list(key);
            Ok(is_current && (cut == 0 || value::last_seen(family, stored)? >= cut))
        })
    }
}

/// The rows that are found by their record data, ordered by it: the data of each and its place. Those with equal data are in order already.
fn by_rdata(rows: &Packed) -> Result<impl Iterator<Item = (&[u8], usize)>, StoreError> {
    let mut order = Vec::with_capacity(rows.rows.len());
    for (at, (key, _)) in (0u32..).zip(rows.iter()) {
        if let Some(rdata) = key::indexed_rdata(key)? {
            order.push((prefix(rdata), rdata, at));
        }
    }
    // Record data ends itself: what is no longer than its prefix is equal where that is.
    let end = |rdata: &[u8]| rdata.len().min(PREFIX_BYTES);
    order.sort_unstable_by(|(a, x, i), (b, y, j)| {
        a.cmp(b).then_with(|| x.get(end(x)..).cmp(&y.get(end(y)..))).then(i.cmp(j))
    });
    Ok(order.into_iter().map(|(_, rdata, at)| (rdata, at as usize)))
}

/// A row of a batch with the start of its key beside it: most comparisons end there.
struct Sortable<'a, V> {
    prefix: u128,
    key: &'a [u8],
    value: &'a V,
}

impl<'a, V> Sortable<'a, V> {
    /// Its place in the order of keys.
    fn place(&self) -> (u128, &'a [u8]) {
        (self.prefix, self.key)
    }
}

fn sorted<V>(
    table: &RowTable<V>,
    sensors: usize,
    keep: impl Fn(&V) -> bool,
) -> Result<Vec<Sortable<'_, V>>, StoreError> {
    let mut rows = Vec::with_capacity(table.len());
    for (key, value) in table.iter() {
        match key::split_sensor(key) {
            Some((_, SensorId(number))) if usize::from(number) < sensors => {}
            _ => return Err(damaged("the batch", "unknown sensor id")),
        }
        if keep(value) {
            rows.push(Sortable { prefix: prefix(key), key, value });
        }
    }
    rows.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
    Ok(rows)
}

/// Bytes of a [`prefix`].
const PREFIX_BYTES: usize = size_of::<u128>();

/// The first bytes as a number of the same order.
fn prefix(key: &[u8]) -> u128 {
    let start = key.first_chunk().copied().unwrap_or_else(|| {
        let mut start = [0; PREFIX_BYTES];
        start.iter_mut().zip(key).for_each(|(slot, byte)| *slot = *byte);
        start
    });
    u128::from_be_bytes(start)
}

/// Rows in their order, each with its stored value behind its key: they are gone through more than once, and lie apart in a batch.
#[derive(Default)]
struct Packed {
    bytes: Vec<u8>,
    /// Where each begins, and how long its key is.
    rows: Vec<(usize, u32)>,
}

impl Packed {
    fn push(
        &mut self,
        key: &[u8],
        store: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.rows.push((self.bytes.len(), u32::try_from(key.len()).unwrap_or(u32::MAX)));
        self.bytes.extend_from_slice(key);
        store(&mut self.bytes)
    }

    fn get(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let (start, key) = *self.rows.get(at)?;
        let end = self.rows.get(at + 1).map_or(self.bytes.len(), |(next, _)| *next);
        self.bytes.get(start..end)?.split_at_checked(key as usize)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.rows.len()).filter_map(|at| self.get(at))
    }
}

//--- reading --------------------------------------------------------------------------------------------------------

/// Goes through the rows of one run in a range.
struct Cursor {
    source: Arc<dyn BlockSource>,
    /// How many cuts were made before the run was.
    epoch: u32,
    family: Family,
    /// How far it goes, if it is an exact lookup's.
    lookup: Option<Reach>,
    /// The bound of the next block, while it is in the range.
    next: Option<Bytes>,
    to: Option<Arc<[u8]>>,
    reader: Reader,
}

impl Cursor {
    /// Stands at the first row; `None` when there is none.
    fn open(
        (epoch, source): (u32, &Arc<dyn BlockSource>),
        range: &Range,
        to: Option<Arc<[u8]>>,
        lookup: Option<Reach>,
    ) -> Result<Option<Cursor>, StoreError> {
        let block = match lookup {
            Some(reach) => source.extract(range.family, &range.from, to.as_deref(), reach)?,
            // Lookups of one network or domain come again and begin in the same block; what is behind it is read once.
            None if range.to.is_some() => source.first(range.family, &range.from)?,
            None => source.floor(range.family, &range.from)?,
        };
        let Some(block) = block else { return Ok(None) };
        let mut cursor = Cursor {
            source: Arc::clone(source),
            epoch,
            family: range.family,
            lookup,
            next: block.next,
            to,
            reader: Reader::new(block.rows),
        };
        if cursor.reader.seek(&block.restarts, &range.from)? {
            let is_in = cursor.to.as_deref().is_none_or(|to| cursor.reader.key() < to);
            return Ok(is_in.then_some(cursor));
        }
        // All of it is before the range; what is in the next block is not.
        Ok(cursor.advance()?.then_some(cursor))
    }

    /// Goes to the next row; `false` after the last.
    fn advance(&mut self) -> Result<bool, StoreError> {
        let to = self.to.as_deref();
        while !self.reader.advance()? {
            match self.next.take() {
                Some(next) if to.is_none_or(|to| *next < *to) => {
                    let block = match self.lookup {
                        Some(reach) => self.source.extract(self.family, &next, to, reach)?,
                        None => Some(self.source.at(self.family, &next)?),
                    };
                    let Some(block) = block else { return Ok(false) };
                    self.next = block.next;
                    self.reader.reset(block.rows);
                }
                _ => return Ok(false),
            }
        }
        Ok(to.is_none_or(|to| self.reader.key() < to))
    }
}

/// Goes through the rows of several runs as if they were one: equal keys are merged, and what was dropped is left out.
pub(crate) struct Merged {
    family: Family,
    cursors: Vec<Cursor>,
    /// Cursors that stand at a row, the one with the least key last, each with the prefix of its key: most comparisons end there.
    order: Vec<(u128, usize)>,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The times of the cuts, the earliest cut first.
    cuts: Vec<u64>,
    /// Where there are cuts: the parts of a row, each with how many cuts were made before it was.
    parts: Vec<(u32, Vec<u8>)>,
}

impl Merged {
    /// Stands before the first row of a range.
    pub fn open(sources: &Sources, range: &Range) -> Result<Merged, StoreError> {
        Merged::open_within(sources, range, Reach::Disk)
    }

    /// Likewise; an exact lookup goes so far for its rows.
    pub fn open_within(sources: &Sources, range: &Range, reach: Reach) -> Result<Merged, StoreError> {
        let lookup = range.exact.is_some().then_some(reach);
        if reach == Reach::Memory && lookup.is_none() {
            return Err(StoreError::NotInMemory);
        }
        let to: Option<Arc<[u8]>> = range.to.as_deref().map(Arc::from);
        // Nearly all runs have one seed.
        let (mut seed, mut hash) = (None, 0);
        let mut merged = Merged {
            family: range.family,
            cursors: Vec::new(),
            order: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            cuts: sources.cuts.clone(),
            parts: Vec::new(),
        };
        // Whoever goes on behind a row of another query asks for a range without keys.
        if range.to.as_ref().is_some_and(|to| *to <= range.from) {
            return Ok(merged);
        }
        for (epoch, source) in sources.runs.iter().filter(|(_, source)| !source.is_apart(range)) {
            if let Some(part) = range.exact.as_deref() {
                if seed != Some(source.filter_seed()) {
                    seed = Some(source.filter_seed());
                    hash = filter::hash(source.filter_seed(), part);
                }
                if !source.may_hold(hash, reach)? {
                    continue;
                }
            }
            if let Some(cursor) = Cursor::open((*epoch, source), range, to.clone(), lookup)? {
                merged.cursors.push(cursor);
                merged.put_in_order(merged.cursors.len() - 1);
            }
        }
        Ok(merged)
    }

    fn key_of(&self, at: usize) -> &[u8] {
        self.cursors.get(at).map_or(&[], |cursor| cursor.reader.key())
    }

    fn put_in_order(&mut self, at: usize) {
        let key = self.key_of(at);
        let start = prefix(key);
        let is_less = |&(other, at): &(u128, usize)| (other, self.key_of(at)) < (start, key);
        let place = match self.order.last() {
            Some(least) if is_less(least) => self.order.partition_point(|other| !is_less(other)),
            _ => self.order.len(),
        };
        self.order.insert(place, (start, at));
    }

    /// Goes to the next row; `false` after the last.
    pub fn advance(&mut self) -> Result<bool, StoreError> {
        if !self.cuts.is_empty() {
            return self.advance_over_cuts();
        }
        let Some(cursor) = least(&self.order, &self.cursors) else { return Ok(false) };
        self.key.clear();
        self.key.extend_from_slice(cursor.reader.key());
        self.value.clear();
        self.value.extend_from_slice(cursor.reader.value());
        self.advance_least()?;
        while let Some(cursor) = least(&self.order, &self.cursors) {
            if cursor.reader.key() != self.key {
                break;
            }
            value::merge(self.family, &mut self.value, cursor.reader.value())?;
            self.advance_least()?;
        }
        Ok(true)
    }

    /// The same where rows were dropped that are still there.
    fn advance_over_cuts(&mut self) -> Result<bool, StoreError> {
        loop {
            let Some(cursor) = least(&self.order, &self.cursors) else { return Ok(false) };
            self.key.clear();
            self.key.extend_from_slice(cursor.reader.key());
            let mut parts = 0;
            while let Some(cursor) = least(&self.order, &self.cursors) {
                if cursor.reader.key() != self.key {
                    break;
                }
                if self.parts.len() == parts {
                    self.parts.push((0, Vec::new()));
                }
                if let Some((epoch, value)) = self.parts.get_mut(parts) {
                    *epoch = cursor.epoch;
                    value.clear();
                    value.extend_from_slice(cursor.reader.value());
                }
                parts += 1;
                self.advance_least()?;
            }
            if self.judge(parts)? {
                return Ok(true);
            }
        }
    }

    /// Joins the first so many parts, cut after cut; whether something of them is left.
    fn judge(&mut self, parts: usize) -> Result<bool, StoreError> {
        let Merged { family, parts: all, cuts, value, .. } = self;
        let Some(parts) = all.get_mut(..parts) else { return Ok(false) };
        parts.sort_by_key(|(epoch, _)| *epoch);
        let is_dropped = |value: &[u8], from: u32, to: Option<u32>| {
            let after = cuts.get(from as usize..).unwrap_or_default();
            let cuts = after.iter().take(to.map_or(usize::MAX, |to| (to - from) as usize));
            let Some(cut) = cuts.max() else { return Ok(false) };
            Ok::<_, StoreError>(value::last_seen(*family, value)? < *cut)
        };
        let mut last = None;
        for (epoch, part) in parts {
            match last {
                Some(last) if !is_dropped(value, last, Some(*epoch))? => value::merge(*family, value, part)?,
                _ => {
                    value.clear();
                    value.extend_from_slice(part);
                }
            }
            last = Some(*epoch);
        }
        match last {
            Some(last) => Ok(!is_dropped(value, last, None)?),
            None => Ok(false),
        }
    }

    fn advance_least(&mut self) -> Result<(), StoreError> {
        if let Some((_, at)) = self.order.pop()
            && let Some(cursor) = self.cursors.get_mut(at)
            && cursor.advance()?
        {
            self.put_in_order(at);
        }
        Ok(())
    }

    /// The key of the row.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value of the row.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// The cursor that stands at the least key.
fn least<'a>(order: &[(u128, usize)], cursors: &'a [Cursor]) -> Option<&'a Cursor> {
    order.last().and_then(|&(_, at)| cursors.get(at))
}

/// One in so many rows must have changed for all to be gone through at once, instead of being looked up name by name.
const LOOKED_UP: u64 = 16;

/// Goes through the rows of some runs, each whole: with what others hold of its key.
pub(crate) struct Whole {
    newer: Merged,
    /// All runs, with those that are read one by one.
    all: Sources,
    /// Rows of all runs from about the row on: of one lookup part, or of everything.
    rows: Option<Merged>,
    /// Whether they stand at one.
    is_ahead: bool,
    /// That lookup part.
    part: Option<Vec<u8>>,
}

impl Whole {
    /// Stands before the first row of a family.
    pub fn open(family: Family, newer: &[Arc<dyn BlockSource>], all: &Sources) -> Result<Whole, StoreError> {
        let rows = |source: &Arc<dyn BlockSource>| source.counts().of(family);
        let range = Range::all(family);
        let newer_rows = newer.iter().map(rows).sum::<u64>();
        let at_once = newer_rows.saturating_mul(LOOKED_UP) >= all.runs.iter().map(|(_, run)| rows(run)).sum();
        Ok(Whole {
            newer: Merged::open(&newer.iter().map(Arc::clone).collect(), &range)?,
            rows: if at_once { Some(Merged::open(all, &range)?) } else { None },
            is_ahead: false,
            all: all.clone(),
            part: (!at_once).then(Vec::new),
        })
    }

    /// Goes to the next row; `false` after the last. What was dropped is left out.
    pub fn advance(&mut self) -> Result<bool, StoreError> {
        while self.newer.advance()? {
            if self.find()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds the whole row of the key, unless it was dropped.
    fn find(&mut self) -> Result<bool, StoreError> {
        let (family, key) = (self.newer.family, self.newer.key());
        // A lookup part ends itself, so a key that starts with it has the same one.
        if let Some(part) = self.part.as_mut().filter(|part| part.is_empty() || !key.starts_with(part)) {
            *part = family.lookup_part(key).ok_or_else(|| key::bad_key(family))?.to_vec();
            self.rows = Some(Merged::open(&self.all, &Range::exact(family, part.clone()))?);
            self.is_ahead = false;
        }
        let Some(rows) = self.rows.as_mut() else { return Ok(false) };
        // After one that was dropped the rows are at the one behind it.
        while !self.is_ahead || rows.key() < key {
            self.is_ahead = rows.advance()?;
            if !self.is_ahead {
                // Nothing comes any more of this part; what may come of another is opened then.
                self.rows = None;
                return Ok(false);
            }
        }
        Ok(rows.key() == key)
    }

    /// The key of the row.
    pub fn key(&self) -> &[u8] {
        self.newer.key()
    }

    /// The value of the row.
    pub fn value(&self) -> &[u8] {
        self.rows.as_ref().map_or(&[], Merged::value)
    }
}
