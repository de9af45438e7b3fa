//! Going through all keys of some tables in parts, to have servers sum up what lies within each: a part has about as many rows as was said.

use std::sync::Arc;

use super::FleetError;
use super::bucket;
use super::cluster::{Cluster, Shard};
use super::condition::Bounds;
use super::fence;
use super::pages::Keys;
use super::rows::ClusterTable;
use crate::store::after_prefix;

/// What is left to go through.
pub(super) struct Sweep<'a> {
    cluster: &'a Cluster,
    /// The shards that may have some, from 0 on.
    shards: Vec<usize>,
    tables: &'static [ClusterTable],
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    below: Below,
    /// About how many rows of a shard and table the next part has, and at most.
    span: u64,
    most: u64,
    is_over: bool,
}

/// Only keys that begin so; all where none is said.
type Below = Arc<[Vec<u8>]>;

/// First columns: from one on, up to and without another.
pub(super) struct KeyPart {
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    below: Below,
    /// About how many rows a shard and table has within, at most.
    pub(super) rows: u64,
}

impl KeyPart {
    /// The same as a condition on that column.
    pub(super) fn of(&self, column: &str) -> String {
        let between =
            |from: &[u8], to: Option<&[u8]>| Bounds { from, to: to.map(|to| (to, false)) }.of(column);
        let all = between(&self.from, self.to.as_deref());
        let each = self.below.iter().map(|prefix| between(prefix, after_prefix(prefix).as_deref()));
        match each.collect::<Vec<_>>().as_slice() {
            [] => all,
            some => format!("{all} AND ({})", some.join(" OR ")),
        }
    }
}

/// Largest pages whose rows a part has, about, where somebody waits for what is found in it; and where nobody does.
const WAITED_FOR: u64 = 16;
const WHOLE: u64 = 32;

impl<'a> Sweep<'a> {
    /// Over all of a table, which nobody waits for.
    pub(super) fn whole(cluster: &'a Cluster, table: &'static ClusterTable) -> Sweep<'a> {
        let all = Keys::Between(Vec::new(), None);
        let sweep = Sweep::open(cluster, std::slice::from_ref(table), all, None, &[]);
        let [_, most] = cluster.page_rows();
        Sweep { span: WHOLE * most, most: WHOLE * most, ..sweep }
    }

    /// Over some keys, all of them in a bucket where one is said, in tables whose keys begin with the same column.
    pub(super) fn open(
        cluster: &'a Cluster,
        tables: &'static [ClusterTable],
        keys: Keys,
        bucket: Option<u16>,
        without: &[usize],
    ) -> Sweep<'a> {
        let count = cluster.shards().len();
        let one = bucket.map(|bucket| bucket::shard(bucket, count));
        let shards = (0..count).filter(|at| one.is_none_or(|one| one == *at) && !without.contains(at));
        let [_, most] = cluster.page_rows();
        let (from, to) = match keys {
            Keys::Exactly(key) => (key.clone(), Some(behind(key))),
            Keys::AnyOf(keys) => {
                let to = keys.last().cloned().map(behind);
                (keys.into_iter().next().unwrap_or_default(), to)
            }
            Keys::Between(from, to) => (from, to),
        };
        Sweep {
            cluster,
            shards: shards.collect(),
            tables,
            from,
            to,
            below: Arc::default(),
            span: most,
            most: WAITED_FOR * most,
            is_over: false,
        }
    }

    /// Over keys with some prefixes, at least one.
    pub(super) fn below(
        cluster: &'a Cluster,
        tables: &'static [ClusterTable],
        prefixes: Vec<Vec<u8>>,
        without: &[usize],
    ) -> Sweep<'a> {
        let first = prefixes.iter().min().cloned().unwrap_or_default();
        let end = prefixes.iter().max().and_then(|prefix| after_prefix(prefix));
        let sweep = Sweep::open(cluster, tables, Keys::Between(first, end), None, without);
        Sweep { below: prefixes.into(), ..sweep }
    }

    /// How many shards there are to ask.
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Asks each shard, all at once.
    pub(super) fn each<T: Send>(
        &self,
        ask: impl Fn(&Shard) -> Result<T, FleetError> + Sync,
    ) -> Result<Vec<T>, FleetError> {
        Ok(self.each_of(&[()], |shard, ()| ask(shard))?.into_iter().map(|(_, told)| told).collect())
    }

    /// Asks each shard about each table, all at once.
    pub(super) fn each_table<T: Send>(
        &self,
        ask: impl Fn(&Shard, ClusterTable) -> Result<T, FleetError> + Sync,
    ) -> Result<Vec<(ClusterTable, T)>, FleetError> {
        self.each_of(self.tables, ask)
    }

    fn each_of<O: Copy + Send, T: Send>(
        &self,
        of: &[O],
        ask: impl Fn(&Shard, O) -> Result<T, FleetError> + Sync,
    ) -> Result<Vec<(O, T)>, FleetError> {
        let shards: Vec<&Shard> =
            self.shards.iter().map(|at| self.cluster.shard(*at)).collect::<Result<_, _>>()?;
        let all = shards.iter().flat_map(|shard| of.iter().map(|one| (*shard, *one)));
        std::thread::scope(|scope| {
            let ask = &ask;
            let asked: Vec<_> = all.map(|(shard, one)| (one, scope.spawn(move || ask(shard, one)))).collect();
            let joined = asked
                .into_iter()
                .map(|(one, thread)| Ok((one, thread.join().unwrap_or(Err(FleetError::Stopped))?)));
            joined.collect()
        })
    }

    /// The next part, which ends where `end` has it of the last first column within; `None` behind the last one.
    pub(super) fn next(&mut self, end: impl Fn(Vec<u8>) -> Vec<u8>) -> Result<Option<KeyPart>, FleetError> {
        if self.is_over {
            return Ok(None);
        }
        let column = self.tables.first().map_or("name", |table| table.first_column());
        let (database, span) = (self.cluster.database(), self.span);
        let below = Arc::clone(&self.below);
        let left = KeyPart { from: self.from.clone(), to: self.to.clone(), below, rows: span }.of(column);
        let ends = self.each_table(|shard, table| fence::find_surely(shard, database, table, &left, span))?;
        let end = ends.into_iter().filter_map(|(_, end)| end).min().map(end);
        let end = end.filter(|end| self.to.as_ref().is_none_or(|to| end < to));
        self.span = (self.span * 4).min(self.most);
        self.is_over = end.is_none();
        let from = std::mem::replace(&mut self.from, end.clone().unwrap_or_default());
        let (to, below) = (end.or_else(|| self.to.clone()), Arc::clone(&self.below));
        Ok(Some(KeyPart { from, to, below, rows: span }))
    }
}

/// The first bytes behind these.
pub(super) fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
