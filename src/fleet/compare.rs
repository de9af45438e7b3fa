//! Comparing: what an insert acknowledged is not always there afterwards. So for each bucket of each table the ledger's rows and those
//! of the cluster are counted and summed up, and what differs is shipped again. What the cluster has and the ledger has not any more,
//! though it is not too old, is overwritten by a state without sightings.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::FleetError;
use super::bucket::BUCKETS;
use super::forward::{Forwarder, version};
use super::outbox::with_outbox;
use super::registry::Shipped;
use super::rowbinary::{ColumnReader, put_u16, put_u64};
use super::rows::{ClusterTable, ShippedState};
use super::sweep::{Sweep, behind};
use super::tables::COMPARED;
use crate::base::clock::now;
use crate::http::ChangesHead;
use crate::store::Mark;

/// Rows whose keys are in memory at a time.
const ROWS_AT_ONCE: u64 = 500_000;

/// What comparing has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Buckets of tables that differed.
    pub differing: u64,
    /// Rows that were shipped again, or emptied.
    pub mended: u64,
}

/// How many rows, and the sum of their digests.
type Digest = (u64, u64);
type Digests = BTreeMap<(ClusterTable, u16), Digest>;
/// What tells rows of a table apart: the columns of its key, and the sensor, as they are read.
type Key = Vec<u8>;
/// Rows that the cluster has: their digests, and their buckets.
type There = HashMap<(ClusterTable, Key), (u64, u16)>;

/// Rows of a bucket.
fn rows_of(digests: &Digests, at: (ClusterTable, u16)) -> u64 {
    digests.get(&at).map_or(0, |digest| digest.0)
}

fn key_of(state: &ShippedState, table: ClusterTable) -> Key {
    let mut key = Vec::new();
    state.push_key(table, &mut key);
    key
}

impl Forwarder {
    /// Compares all of a ledger, and mends what differs.
    ///
    /// The ledger goes on meanwhile, so what came since the last shipment differs too, and is shipped by this.
    /// What was last seen before `cut` is not kept in the cluster, and does not count.
    pub(super) fn compare(
        &self,
        shipped: &Shipped,
        cut: u64,
        has_hits: bool,
    ) -> Result<Comparison, FleetError> {
        let generation = shipped.generation;
        let tables = if has_hits { ClusterTable::ALL.as_slice() } else { &ClusterTable::OF_ROWS };
        let hits_since = has_hits.then(Mark::default);
        let mut here = Digests::new();
        let head = self.source().changes(Mark::default(), hits_since, &mut |_, change| {
            let state = ShippedState::of(change);
            if state.last() < cut {
                return Ok(());
            }
            let digest = state.digest();
            for table in state.tables() {
                let (rows, sum) = here.entry((*table, state.bucket(*table))).or_default();
                *rows += 1;
                *sum = sum.wrapping_add(digest);
            }
            Ok(())
        })?;
        let there = self.digests(tables, generation, head.expired_before.max(cut))?;
        let all: HashSet<(ClusterTable, u16)> = here.keys().chain(there.keys()).copied().collect();
        let mut differing: Vec<_> = all.into_iter().filter(|at| here.get(at) != there.get(at)).collect();
        differing.sort_unstable();
        let mut found = Comparison { differing: differing.len() as u64, mended: 0 };
        let differs: HashSet<(ClusterTable, u16)> = differing.iter().copied().collect();
        let all = || tables.iter().flat_map(|table| (0..BUCKETS).map(move |bucket| (*table, bucket)));
        let equal = all().filter(|at| !differs.contains(at));
        self.note_equal(generation, equal.map(|at| (at, rows_of(&here, at))))?;
        let mut rest = differing.as_slice();
        while !rest.is_empty() {
            let mut sum = 0;
            let fits = rest.iter().take_while(|at| {
                sum += rows_of(&there, **at);
                sum <= ROWS_AT_ONCE
            });
            let (some, others) = rest.split_at(fits.count().clamp(1, rest.len()));
            let (mended, head, after) = self.ship_differing(shipped, cut, some)?;
            found.mended += mended;
            // Nobody else ships from this ledger: what is there now must be what was shipped.
            let there = self.digests(tables, generation, head.expired_before.max(cut))?;
            let equal = some.iter().copied().filter(|at| after.get(at) == there.get(at));
            self.note_equal(generation, equal.map(|at| (at, rows_of(&after, at))))?;
            rest = others;
        }
        Ok(found)
    }

    /// What the cluster has of a ledger, without what is too old.
    fn digests(
        &self,
        tables: &'static [ClusterTable],
        generation: u64,
        oldest: u64,
    ) -> Result<Digests, FleetError> {
        let database = self.cluster().database();
        let mut digests = Digests::new();
        for table in tables {
            let mut sweep = Sweep::whole(self.cluster(), table);
            while let Some(part) = sweep.next(behind)? {
                let (column, digest, name) = (table.first_column(), table.digest(), table.name());
                let statement = format!(
                    "SELECT bucket, count(), sum(digest) FROM (SELECT bucket, {digest} AS digest FROM {database}.{name} FINAL \
                     PREWHERE {} AND gen = {generation} AND epoch = 0 WHERE ({}) AND {} >= {oldest}) GROUP BY bucket",
                    part.of(column),
                    table.is_alive(),
                    table.last(),
                );
                for rows in sweep.each(|shard| shard.rows(&statement))? {
                    let mut columns = ColumnReader(&rows);
                    while !columns.is_empty() {
                        let at = (*table, columns.u16()?);
                        let (rows, sum) = digests.entry(at).or_default();
                        *rows += columns.u64()?;
                        *sum = sum.wrapping_add(columns.u64()?);
                    }
                }
            }
        }
        Ok(digests)
    }

    /// Ships what differs in some buckets, row by row. Gives how many rows that were, and what the buckets have then.
    fn ship_differing(
        &self,
        shipped: &Shipped,
        cut: u64,
        buckets: &[(ClusterTable, u16)],
    ) -> Result<(u64, ChangesHead, Digests), FleetError> {
        let Shipped { generation, base, .. } = *shipped;
        let mut there = There::new();
        let oldest = self.source().head()?.expired_before.max(cut);
        for table in &ClusterTable::ALL {
            let of_table: Vec<u16> = buckets.iter().filter(|at| at.0 == *table).map(|at| at.1).collect();
            self.keys(generation, oldest, table, &of_table, &mut there)?;
        }
        let wanted: HashSet<(ClusterTable, u16)> = buckets.iter().copied().collect();
        let hits_since = buckets.iter().any(|at| at.0 == ClusterTable::Hits).then(Mark::default);
        let (mut mended, mut after) = (0, Digests::new());
        let head = with_outbox(self.cluster(), self.quorum(), |outbox| {
            let head = self.source().changes(Mark::default(), hits_since, &mut |head, change| {
                let state = ShippedState::of(change);
                if state.last() < cut {
                    return Ok(());
                }
                for table in state.tables() {
                    let bucket = state.bucket(*table);
                    if !wanted.contains(&(*table, bucket)) {
                        continue;
                    }
                    let digest = state.digest();
                    let (rows, sum) = after.entry((*table, bucket)).or_default();
                    *rows += 1;
                    *sum = sum.wrapping_add(digest);
                    if there.remove(&(*table, key_of(&state, *table))) != Some((digest, bucket)) {
                        mended += 1;
                        outbox.put_in(*table, &state, generation, version(base, head.mark, true))?;
                    }
                }
                Ok(())
            })?;
            // What is left is not in the ledger, and was not too old.
            for ((table, key), (_, bucket)) in there {
                mended += 1;
                outbox.put_empty(table, &key, bucket, generation, version(base, head.mark, false))?;
            }
            Ok(head)
        })?;
        Ok((mended, head, after))
    }

    /// The keys of some buckets, with the digest of each row.
    fn keys(
        &self,
        generation: u64,
        oldest: u64,
        table: &'static ClusterTable,
        buckets: &[u16],
        there: &mut There,
    ) -> Result<(), FleetError> {
        if buckets.is_empty() {
            return Ok(());
        }
        let database = self.cluster().database();
        let buckets = buckets.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let mut sweep = Sweep::whole(self.cluster(), table);
        while let Some(part) = sweep.next(behind)? {
            let statement = format!(
                "SELECT {}, sensor, bucket, {} FROM {database}.{} FINAL \
                 PREWHERE {} AND gen = {generation} AND epoch = 0 WHERE ({}) AND {} >= {oldest} AND bucket IN ({buckets})",
                table.key().join(", "),
                table.digest(),
                table.name(),
                part.of(table.first_column()),
                table.is_alive(),
                table.last(),
            );
            for rows in sweep.each(|shard| shard.rows(&statement))? {
                let mut columns = ColumnReader(&rows);
                while !columns.is_empty() {
                    let key = table.take_key(&mut columns)?.to_vec();
                    let bucket = columns.u16()?;
                    there.insert((*table, key), (columns.u64()?, bucket));
                }
            }
        }
        Ok(())
    }

    /// Notes that buckets were found equal, with how many rows.
    fn note_equal(
        &self,
        generation: u64,
        buckets: impl Iterator<Item = ((ClusterTable, u16), u64)>,
    ) -> Result<(), FleetError> {
        let (mut notes, now) = (Vec::new(), now());
        for ((table, bucket), rows) in buckets {
            put_u64(generation, &mut notes);
            notes.push(ClusterTable::ALL.iter().position(|other| *other == table).unwrap_or_default() as u8);
            put_u16(bucket, &mut notes);
            put_u64(now, &mut notes);
            put_u64(rows, &mut notes);
        }
        if notes.is_empty() {
            return Ok(());
        }
        self.cluster().insert_everywhere(COMPARED, &notes, self.quorum())
    }
}
