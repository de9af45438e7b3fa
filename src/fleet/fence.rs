//! Where a page of a table is to end, so that what is read for it is about as much as was said.

use super::FleetError;
use super::cluster::Shard;
use super::rowbinary::{ColumnReader, literal};
use super::rows::ClusterTable;

/// Parts of a table that are looked at for where a page is to end, the largest first.
const MOST_PARTS: usize = 16;
/// How often they are looked at, where some of them go meanwhile.
const MOST_TRIES: usize = 3;
/// Rows of each of them that may be read at once.
const READ_AT_ONCE: u64 = 4096;

/// The first column of the least `span`-th row of any large part, among rows that meet a condition. `None` where there are fewer.
pub(super) fn find(
    shard: &Shard,
    database: &str,
    table: ClusterTable,
    within: &str,
    span: u64,
) -> Result<Option<Vec<u8>>, FleetError> {
    let parts = large_parts(shard, database, table, span)?;
    find_in(&parts, shard, database, table, within, span)
}

/// The same where the rest must not be much: a part that was merged meanwhile tells nothing, so it is looked for once more.
pub(super) fn find_surely(
    shard: &Shard,
    database: &str,
    table: ClusterTable,
    within: &str,
    span: u64,
) -> Result<Option<Vec<u8>>, FleetError> {
    for _ in 0..MOST_TRIES {
        let parts = large_parts(shard, database, table, span)?;
        let fence = find_in(&parts, shard, database, table, within, span)?;
        if fence.is_some() || large_parts(shard, database, table, span)? == parts {
            return Ok(fence);
        }
    }
    Ok(None)
}

/// The parts of a table that have more than so many rows.
fn large_parts(
    shard: &Shard,
    database: &str,
    table: ClusterTable,
    span: u64,
) -> Result<Vec<String>, FleetError> {
    let parts = shard.rows(&format!(
        "SELECT name FROM system.parts WHERE database = '{database}' AND table = '{}' AND active AND rows > {span} \
         ORDER BY rows DESC LIMIT {MOST_PARTS}",
        table.name(),
    ))?;
    let (mut left, mut parts) = (ColumnReader(&parts), Vec::new());
    while !left.is_empty() {
        parts.push(left.text()?.to_owned());
    }
    Ok(parts)
}

fn find_in(
    parts: &[String],
    shard: &Shard,
    database: &str,
    table: ClusterTable,
    within: &str,
    span: u64,
) -> Result<Option<Vec<u8>>, FleetError> {
    let (first, table) = (table.first_column(), table.name());
    let mut fence: Option<Vec<u8>> = None;
    // Each reads no further than to where the ones before it have ended; where that is little, all are read at once.
    for parts in parts.chunks(if span <= READ_AT_ONCE { MOST_PARTS } else { 1 }) {
        let mut conditions = within.to_owned();
        if let Some(fence) = &fence {
            conditions += &format!(" AND {first} <= {}", literal(fence));
        }
        let each = parts.iter().map(|part| {
            format!(
                "SELECT count(), max({first}) FROM (SELECT {first} FROM {database}.{table} PREWHERE {conditions} \
                 WHERE _part = '{part}' LIMIT {span})",
            )
        });
        let found = shard.rows_in_turn(&each.collect::<Vec<_>>().join(" UNION ALL "))?;
        let mut found = ColumnReader(&found);
        while !found.is_empty() {
            let (rows, last) = (found.u64()?, found.bytes()?);
            if rows >= span && fence.as_deref().is_none_or(|fence| last < fence) {
                fence = Some(last.to_vec());
            }
        }
    }
    Ok(fence)
}
