//! Retention of the cluster's own: what was not seen for long goes, whatever the ledgers keep.
//!
//! A *cut* is noted first. From then on readers leave out what was last seen before it, forwarders do not ship it, and comparing passes
//! over it; so servers may delete it whenever they come to it, and nobody brings it back.

use super::FleetError;
use super::cluster::Cluster;
use super::registry::note_cut;
use super::rowbinary::ColumnReader;
use super::rows::ClusterTable;
use super::tables;

/// Rows of each table that would go by a cut, as far as servers have not merged them twice over.
///
/// # Errors
///
/// When a shard does not answer.
pub fn forecast(cluster: &Cluster, before: u64) -> Result<Vec<(ClusterTable, u64)>, FleetError> {
    let database = cluster.database();
    let mut all = Vec::new();
    for table in cluster.tables()?.iter().copied() {
        let mut rows = 0;
        for shard in cluster.shards() {
            let (name, condition) = (table.name(), condition(table, before));
            let answer =
                shard.rows(&format!("SELECT count() FROM {database}.{name} FINAL WHERE {condition}"))?;
            rows += ColumnReader(&answer).u64()?;
        }
        all.push((table, rows));
    }
    Ok(all)
}

/// A state without sightings stays: it says that an older one does not count.
fn condition(table: ClusterTable, before: u64) -> String {
    format!("({}) AND {} < {before}", table.is_alive(), table.last())
}

/// Notes a cut, on so many replicas where there are some. It never goes back.
///
/// # Errors
///
/// When a shard does not take it.
pub fn cut(cluster: &Cluster, before: u64, replicas: usize) -> Result<(), FleetError> {
    let quorum = tables::quorum(cluster, replicas)?;
    note_cut(cluster, before, quorum)
}

/// Has servers delete what a cut leaves out. They go on with it by themselves, and the space comes back when they have merged.
///
/// # Errors
///
/// When a server does not: what is not deleted yet is left out of answers all the same.
pub fn delete(cluster: &Cluster, before: u64) -> Result<(), FleetError> {
    let (database, tables) = (cluster.database(), cluster.tables()?);
    for shard in cluster.shards() {
        for table in tables.iter().copied() {
            let name = table.name();
            // First only the newest state of each row is left: where that alone was deleted, an older one would count again.
            shard.execute(&format!("OPTIMIZE TABLE {database}.{name} FINAL"))?;
            let condition = condition(table, before);
            shard.execute(&format!("ALTER TABLE {database}.{name} DELETE WHERE {condition}"))?;
        }
    }
    Ok(())
}
