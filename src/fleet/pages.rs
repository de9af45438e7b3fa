//! Rows of the tables in their order, a page at a time, from all shards that can have some.
//!
//! A page is a statement of its own, so each is as of another moment; a row is met once, for what comes next is what lies behind the last
//! key. `FINAL` reads all of the range that it is given, so a large range is cut: where the first of the large parts of the table has its n-th
//! row behind the position, the page ends. Order is asked for, and checked.
//!
//! Where not all rows are wanted, the engine leaves out most of the others, and the range of a page grows for as long as little is found. `FINAL` is
//! one thread's work on old servers, so such a page is asked for without it: with all versions of a row, of which the newest comes first.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::FleetError;
use super::bucket;
use super::cluster::Cluster;
use super::condition::{Bounds, Filter, at_least};
use super::fence;
use super::rowbinary::{ColumnReader, literal};
use super::rows::{ClusterTable, Values};
use crate::dns::push_address_key;
use crate::observation::{Asked, Halves, Seen};
use crate::store::{Condition, FoundBy, Position, Scan, Span};

/// Largest pages whose rows the range of a page has at most, about, where not all are wanted; the second where the engine holds keys of them
/// in memory.
const MOST_SPAN: [u64; 2] = [64, 16];

/// Rows that are taken out of a page at a time.
const ROWS_AT_ONCE: usize = 256;

/// The keys that a scan reads: those whose first column is one, or lies within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// One.
    Exactly(Vec<u8>),
    /// Each of these, in their order: at least one.
    AnyOf(Vec<Vec<u8>>),
    /// From one on, up to and without another.
    Between(Vec<u8>, Option<Vec<u8>>),
}

/// What is read of which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The table.
    pub table: ClusterTable,
    /// The keys.
    pub keys: Keys,
    /// The bucket that has all of them, if one does.
    pub bucket: Option<u16>,
    /// What of them is wanted, as far as the engine is told.
    filter: Option<Filter>,
}

impl Range {
    fn of(table: ClusterTable, scan: &Scan, span: Span) -> Range {
        let bucket = match scan {
            Scan::All | Scan::From(_) => None,
            Scan::Name(_) => Some(bucket::of_name(&span.from)),
            Scan::Target(_) => Some(bucket::of_data(&span.from)),
            Scan::Subtree(name) | Scan::TargetSubtree(name) => bucket::of_subtree(name.subtree_key()),
            Scan::Addresses(_, last) => {
                let mut to = Vec::new();
                push_address_key(*last, &mut to);
                bucket::of_addresses(&span.from, &to)
            }
        };
        let keys = if span.is_exact { Keys::Exactly(span.from) } else { Keys::Between(span.from, span.to) };
        Range { table, keys, bucket, filter: None }
    }

    /// What a scan of rows reads; `None` where it can find nothing.
    pub fn of_rows(scan: &Scan) -> Option<Range> {
        let span = scan.span()?;
        let table = match span.found_by {
            FoundBy::Rrname => ClusterTable::ByName,
            FoundBy::Rdata => ClusterTable::ByData,
        };
        Some(Range::of(table, scan, span))
    }

    /// What a scan of questions reads; `None` where it can find nothing.
    pub fn of_questions(scan: &Scan) -> Option<Range> {
        Some(Range::of(ClusterTable::Questions, scan, scan.span_of_names()?))
    }

    /// What several ranges of one table read together, if each is of one key.
    pub fn together(ranges: &[&Range]) -> Option<Range> {
        let first = ranges.first()?;
        let key = |range: &&Range| match &range.keys {
            Keys::Exactly(key) => Some(key.clone()),
            _ => None,
        };
        let mut keys: Vec<Vec<u8>> = ranges.iter().map(key).collect::<Option<_>>()?;
        keys.sort_unstable();
        Some(Range { keys: Keys::AnyOf(keys), bucket: None, ..(*first).clone() })
    }

    /// Whether a shard, of so many, may have some of it.
    fn is_in(&self, shard: usize, count: usize) -> bool {
        let of_key = |key: &Vec<u8>| match self.table {
            ClusterTable::ByData => bucket::of_data(key),
            ClusterTable::ByName | ClusterTable::Questions | ClusterTable::Hits => bucket::of_name(key),
        };
        match (&self.keys, self.bucket) {
            (_, Some(bucket)) => bucket::shard(bucket, count) == shard,
            (Keys::AnyOf(keys), None) => keys.iter().any(|key| bucket::shard(of_key(key), count) == shard),
            _ => true,
        }
    }

    /// Whether the engine is told what of it is wanted: then it looks through much for that.
    pub fn is_told(&self) -> bool {
        self.filter.is_some()
    }

    /// The same without what does not meet a condition, as far as the engine can tell.
    pub fn with(self, condition: &Condition) -> Range {
        Range { filter: Filter::of(condition), ..self }
    }
}

/// A row as it is stored: one of several that a row of the scan is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The columns of its key, in the order of its table, the sensor as the last.
    pub key: Vec<KeyColumn>,
    /// The generation of the ledger.
    pub generation: u64,
    /// The epoch.
    pub epoch: u32,
    /// The values.
    pub values: Values,
    /// One more than names were folded into it, where that is known.
    pub names: u64,
}

/// A column of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyColumn {
    /// A number.
    Number(u64),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl KeyColumn {
    fn literal(&self) -> String {
        match self {
            KeyColumn::Number(number) => number.to_string(),
            KeyColumn::Bytes(bytes) => literal(bytes),
        }
    }
}

impl Stored {
    fn order(&self) -> (&[KeyColumn], u64, u32) {
        (&self.key, self.generation, self.epoch)
    }

    fn full_key(&self) -> Vec<KeyColumn> {
        let rest = [KeyColumn::Number(self.generation), KeyColumn::Number(self.epoch.into())];
        self.key.iter().cloned().chain(rest).collect()
    }
}

/// The columns of the key behind a position, as many as it says.
pub fn key_of(position: &Position, table: ClusterTable) -> Vec<KeyColumn> {
    let name = KeyColumn::Bytes(position.tuple.rrname.key().to_vec());
    let rrtype = KeyColumn::Number(position.tuple.rrtype.0.into());
    let mut rdata = Vec::new();
    position.tuple.rdata.push_key(&mut rdata);
    let sensor = KeyColumn::Bytes(position.sensor.as_bytes().to_vec());
    match table {
        ClusterTable::ByName => vec![name, rrtype, KeyColumn::Bytes(rdata), sensor],
        ClusterTable::ByData => vec![KeyColumn::Bytes(rdata), name, rrtype, sensor],
        ClusterTable::Questions | ClusterTable::Hits => vec![name, rrtype, sensor],
    }
}

/// All columns of a table's key.
fn columns(table: ClusterTable) -> Vec<&'static str> {
    table.key().iter().copied().chain(["sensor", "gen", "epoch"]).collect()
}

/// The condition that a key lies behind another, of which some columns are given. The first comparison narrows the index.
fn behind(table: ClusterTable, after: &[KeyColumn]) -> String {
    let columns = columns(table);
    let mut condition = String::new();
    for (column, value) in columns.iter().zip(after).rev() {
        let value = value.literal();
        condition = match condition.as_str() {
            "" => format!("{column} > {value}"),
            inner => format!("{column} >= {value} AND ({column} > {value} OR ({inner}))"),
        };
    }
    condition
}

/// Where the next page of a shard begins.
#[derive(Debug, Clone)]
enum Low {
    /// At the beginning of the range.
    Start,
    /// Behind a key, of which some columns are given.
    Behind(Vec<KeyColumn>),
    /// Behind all rows with this first column.
    BehindFirst(Vec<u8>),
}

/// The pages of one shard.
struct Pages {
    cluster: Arc<Cluster>,
    shard: usize,
    range: Range,
    low: Low,
    /// The last first column of the pages that are read just now, if they have one.
    fence: Option<Vec<u8>>,
    /// Up to where nothing was found since that was said last.
    passed: Option<Vec<u8>>,
    /// What is taken out of the page that was read last.
    rows: VecDeque<Stored>,
    /// That page, how much of it was taken apart, and how many rows that were.
    answer: Vec<u8>,
    taken: usize,
    counted: u64,
    /// The last row of it.
    last: Option<Stored>,
    page: u64,
    /// About how many rows its range has.
    span: u64,
    /// Whether a page was read that is not over.
    is_read: bool,
    is_over: bool,
}

impl Pages {
    /// Makes sure that a row is there, or it is known up to where there is none.
    fn fill(&mut self) -> Result<(), FleetError> {
        while !self.is_filled() {
            if self.taken < self.answer.len() {
                self.take_apart()?;
            } else {
                self.end_page();
                if !self.is_over {
                    self.read_page()?;
                }
            }
        }
        Ok(())
    }

    fn is_filled(&self) -> bool {
        !self.rows.is_empty() || self.passed.is_some() || self.is_over
    }

    /// Whether the next thing to do is to ask the shard.
    fn must_ask(&self) -> bool {
        !self.is_filled() && self.taken >= self.answer.len()
    }

    /// What the first column of the page is.
    fn bounds(&self) -> Bounds<'_> {
        let (from, to) = match &self.range.keys {
            Keys::Exactly(key) => return Bounds { from: key, to: Some((key, true)) },
            Keys::AnyOf(keys) => {
                let from = keys.first().map_or([].as_slice(), Vec::as_slice);
                return Bounds { from, to: keys.last().map(|last| (last.as_slice(), true)) };
            }
            Keys::Between(from, to) => (from, to),
        };
        let from = match &self.low {
            Low::Start => from,
            Low::Behind(key) => match key.first() {
                Some(KeyColumn::Bytes(first)) => first,
                _ => from,
            },
            Low::BehindFirst(first) => first,
        };
        let fence = self.fence.as_deref().map(|fence| (fence, true));
        Bounds { from, to: fence.or_else(|| to.as_deref().map(|to| (to, false))) }
    }

    fn conditions(&self) -> Vec<String> {
        let first = self.range.table.first_column();
        let mut conditions = Vec::new();
        match &self.range.keys {
            Keys::Exactly(key) => conditions.push(format!("{first} = {}", literal(key))),
            Keys::AnyOf(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| literal(key)).collect();
                conditions.push(format!("{first} IN ({})", keys.join(", ")));
            }
            Keys::Between(from, to) => {
                // A later lower bound says more.
                if matches!(self.low, Low::Start) {
                    conditions.push(at_least(first, from));
                }
                conditions.extend(to.iter().map(|to| format!("{first} < {}", literal(to))));
            }
        }
        match &self.low {
            Low::Start => {}
            Low::Behind(key) => conditions.push(format!("({})", behind(self.range.table, key))),
            Low::BehindFirst(key) => conditions.push(format!("{first} > {}", literal(key))),
        }
        conditions
    }

    fn read_page(&mut self) -> Result<(), FleetError> {
        let cluster = Arc::clone(&self.cluster);
        let shard = cluster.shard(self.shard)?;
        let (database, table) = (cluster.database(), self.range.table);
        let first = table.first_column();
        if self.fence.is_none() && matches!(self.range.keys, Keys::Between(..)) {
            let within = self.conditions().join(" AND ");
            self.fence = fence::find(shard, database, table, &within, self.span)?;
        }
        let mut conditions = self.conditions();
        conditions.extend(self.fence.iter().map(|fence| format!("{first} <= {}", literal(fence))));
        let has_odd = self.range.filter.is_some() && shard.has_odd(database)?;
        if let Some(filter) = &self.range.filter {
            conditions.extend(filter.conditions(database, table, has_odd, &self.bounds()));
        }
        let after = self.range.filter.as_ref().map_or("", |filter| filter.after(has_odd));
        let after = if after.is_empty() { String::new() } else { format!(" WHERE {after}") };
        let (key, values) = (columns(table).join(", "), table.values());
        // What is left out of such a page goes by keys alone, so all versions of a row are there or none.
        let (newest, order) = if self.range.filter.is_some() { ("", ", ver DESC") } else { (" FINAL", "") };
        self.answer = shard.rows(&format!(
            "SELECT {key}, {values}, names FROM {database}.{}{newest} PREWHERE {}{after} ORDER BY {key}{order} LIMIT {}",
            table.name(),
            conditions.join(" AND "),
            self.page,
        ))?;
        (self.taken, self.counted, self.last) = (0, 0, None);
        self.is_read = true;
        Ok(())
    }

    /// Takes the next rows out of the page: rows take more memory than what they are read from.
    fn take_apart(&mut self) -> Result<(), FleetError> {
        let left = self.answer.get(self.taken..).unwrap_or_default();
        let mut read = ColumnReader(left);
        while !read.is_empty() && self.rows.len() < ROWS_AT_ONCE {
            let row = stored(self.range.table, &mut read)?;
            self.counted += 1;
            let before = self.rows.back().or(self.last.as_ref());
            match before.map_or(Ordering::Less, |before| before.order().cmp(&row.order())) {
                Ordering::Less => self.rows.push_back(row),
                // An older version of the same row.
                Ordering::Equal if self.range.filter.is_some() => {}
                _ => {
                    return Err(FleetError::Nonsense {
                        what: "a page",
                        why: "its rows are not in order".to_owned(),
                    });
                }
            }
        }
        self.taken = self.answer.len() - read.0.len();
        if let Some(last) = self.rows.back() {
            self.last = Some(last.clone());
        }
        Ok(())
    }

    /// Says where the next page begins, or that there is none, once all of one is taken.
    fn end_page(&mut self) {
        if !std::mem::take(&mut self.is_read) {
            return;
        }
        let is_full = self.counted >= self.page;
        if is_full {
            if let Some(last) = self.last.take() {
                self.low = Low::Behind(last.full_key());
            }
            if self.range.filter.is_some() {
                // The next one has a smaller range.
                self.fence = None;
            }
        } else {
            match self.fence.take() {
                Some(fence) => {
                    if self.range.filter.is_some() && self.counted == 0 {
                        self.passed = Some(fence.clone());
                    }
                    self.low = Low::BehindFirst(fence);
                }
                None => self.is_over = true,
            }
        }
        let [_, most] = self.cluster.page_rows();
        let [most_span, most_with_keys] = MOST_SPAN.map(|pages| pages * most);
        self.span = match &self.range.filter {
            None => (self.page * 4).min(most),
            Some(_) if is_full => (self.span / 4).max(most),
            Some(_) if self.counted > self.page / 4 => self.span,
            Some(filter) if filter.looks_at_times() => (self.span * 4).min(most_with_keys),
            Some(_) => (self.span * 4).min(most_span),
        };
        self.page = (self.page * 4).min(most);
        (self.answer, self.taken) = (Vec::new(), 0);
    }
}

fn stored(table: ClusterTable, read: &mut ColumnReader<'_>) -> Result<Stored, FleetError> {
    let mut key = Vec::new();
    for column in table.key() {
        key.push(match *column {
            "rrtype" => KeyColumn::Number(read.u16()?.into()),
            _ => KeyColumn::Bytes(read.bytes()?.to_vec()),
        });
    }
    key.push(KeyColumn::Bytes(read.bytes()?.to_vec()));
    let (generation, epoch) = (read.u64()?, read.u32()?);
    let mut seen = || {
        Ok::<_, FleetError>(Seen {
            count: read.u64()?,
            time_first: read.u64()?,
            time_last: read.u64()?,
            days: read.u64()?,
            ttl: read.u32()?,
        })
    };
    let values = match table {
        ClusterTable::ByName | ClusterTable::ByData => {
            Values::Seen(Halves { direct: seen()?, alias: seen()? })
        }
        ClusterTable::Questions => {
            let mut asked = Asked::default();
            for outcome in &mut asked.outcomes {
                *outcome = read.u64()?;
            }
            (asked.time_first, asked.time_last) = (read.u64()?, read.u64()?);
            Values::Asked(asked)
        }
        // They are read by `hits.rs`.
        ClusterTable::Hits => return Err(FleetError::cut()),
    };
    Ok(Stored { key, generation, epoch, values, names: read.u64()? })
}

/// What comes next of all shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A row.
    Row(Stored),
    /// There are no more rows up to this first column that are wanted.
    Passed(Vec<u8>),
}

/// Stored rows of all shards, in order.
pub struct Merged {
    shards: Vec<Pages>,
}

impl Merged {
    /// Those of a range, behind a position where one is given. Some shards may be left out.
    pub fn open(
        cluster: &Arc<Cluster>,
        range: &Range,
        after: Option<&Position>,
        without: &[usize],
    ) -> Merged {
        let count = cluster.shards().len();
        // A position before the range is none: the range itself begins later.
        let is_before = |key: &Vec<KeyColumn>| match (&range.keys, key.first()) {
            (Keys::Between(from, _), Some(KeyColumn::Bytes(first))) => first < from,
            _ => false,
        };
        let after = after.map(|after| key_of(after, range.table)).filter(|key| !is_before(key));
        let low = after.map_or(Low::Start, Low::Behind);
        let [first, most] = cluster.page_rows();
        let (page, span) = if range.filter.is_some() { (most, most) } else { (first, first) };
        let pages = |shard| Pages {
            cluster: Arc::clone(cluster),
            shard,
            range: range.clone(),
            low: low.clone(),
            fence: None,
            passed: None,
            rows: VecDeque::new(),
            answer: Vec::new(),
            taken: 0,
            counted: 0,
            last: None,
            is_read: false,
            page,
            span,
            is_over: false,
        };
        Merged {
            shards: (0..count)
                .filter(|shard| range.is_in(*shard, count) && !without.contains(shard))
                .map(pages)
                .collect(),
        }
    }

    /// One without rows.
    pub fn empty() -> Merged {
        Merged { shards: Vec::new() }
    }

    /// The next row, without taking it; `None` where none comes next.
    pub fn peek(&mut self) -> Result<Option<&Stored>, FleetError> {
        Ok(self.least()?.and_then(|at| self.shards.get(at)).and_then(|pages| pages.rows.front()))
    }

    /// What comes next.
    pub fn take(&mut self) -> Result<Option<Next>, FleetError> {
        let least = self.least()?;
        let Some(pages) = least.and_then(|at| self.shards.get_mut(at)) else { return Ok(None) };
        let row = pages.rows.pop_front().map(Next::Row);
        Ok(row.or_else(|| pages.passed.take().map(Next::Passed)))
    }

    /// The part that has what comes next.
    fn least(&mut self) -> Result<Option<usize>, FleetError> {
        self.fill()?;
        let heads = self.shards.iter().enumerate();
        let heads = heads.filter_map(|(at, pages)| Some((pages.rows.front()?, at)));
        let row = heads.min_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
        let passed = self.shards.iter().enumerate();
        let passed = passed.filter_map(|(at, pages)| Some((pages.passed.as_deref()?, at)));
        Ok(match (row, passed.min()) {
            (Some((row, at)), Some((passed, nowhere))) => match row.key.first() {
                Some(KeyColumn::Bytes(first)) if first.as_slice() > passed => Some(nowhere),
                _ => Some(at),
            },
            (row, passed) => row.map(|(_, at)| at).or(passed.map(|(_, at)| at)),
        })
    }

    /// Has each part read what it needs; several ask their shards at once.
    fn fill(&mut self) -> Result<(), FleetError> {
        if self.shards.iter().filter(|pages| pages.must_ask()).count() < 2 {
            return self.shards.iter_mut().try_for_each(Pages::fill);
        }
        std::thread::scope(|scope| {
            let each = self.shards.iter_mut().map(|pages| scope.spawn(|| pages.fill()));
            let each: Vec<_> = each.collect();
            let mut filled = Ok(());
            for thread in each {
                filled = filled.and(thread.join().unwrap_or(Err(FleetError::Stopped)));
            }
            filled
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_a_key_is_asked_for_by_its_columns() {
        let key = [KeyColumn::Bytes(b"a".to_vec()), KeyColumn::Number(1), KeyColumn::Bytes(b"b".to_vec())];
        assert_eq!(
            behind(ClusterTable::Questions, &key),
            r"name >= '\x61' AND (name > '\x61' OR (rrtype >= 1 AND (rrtype > 1 OR (sensor > '\x62'))))"
        );
    }
}
