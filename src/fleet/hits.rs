//! Hits of the ledgers that count, out of their table: each ledger has its own numbers, and which of them are there is noted.

use std::net::IpAddr;
use std::sync::Arc;

use super::FleetError;
use super::cluster::Cluster;
use super::registry::Known;
use super::rowbinary::ColumnReader;
use super::rows::ClusterTable;
use crate::dns::{Name, Rdata};
use crate::store::{Acknowledged, Hit, HitSpan};

/// Hits within some spans, in the order of these and of their numbers.
pub(super) fn within(
    cluster: &Cluster,
    known: &Known,
    without: &[usize],
    spans: &[HitSpan],
) -> Result<Vec<(u64, Hit)>, FleetError> {
    if spans.is_empty() {
        return Ok(Vec::new());
    }
    let span = |span: &HitSpan| {
        format!("(gen = {} AND number > {} AND number <= {})", span.ledger, span.after, span.to)
    };
    let table = ClusterTable::Hits;
    let statement = format!(
        "SELECT gen, {}, sensor, {} FROM {}.{} FINAL PREWHERE {} WHERE {} AND {} >= {}",
        table.key().join(", "),
        table.values(),
        cluster.database(),
        table.name(),
        spans.iter().map(span).collect::<Vec<_>>().join(" OR "),
        table.is_alive(),
        table.last(),
        known.registry.cut,
    );
    let mut found = Vec::new();
    for (_, rows) in cluster.each(without, |_, shard| shard.rows(&statement)) {
        let rows = rows?;
        let mut columns = ColumnReader(&rows);
        while !columns.is_empty() {
            found.extend(hit(known, &mut columns)?);
        }
    }
    let place = |ledger: u64, number: u64| {
        spans.iter().position(|span| span.ledger == ledger && span.after < number && number <= span.to)
    };
    found.sort_by_key(|(ledger, hit)| (place(*ledger, hit.sequence), hit.sequence));
    Ok(found)
}

/// The next one of an answer; none where its ledger does not count.
fn hit(known: &Known, columns: &mut ColumnReader<'_>) -> Result<Option<(u64, Hit)>, FleetError> {
    let (ledger, sequence) = (columns.u64()?, columns.u64()?);
    let rrname = Name::from_key(columns.bytes()?).map_err(|_| FleetError::cut())?;
    let indicator = columns.bytes()?.to_vec();
    let address = address(columns.bytes()?)?;
    let sensor = columns.text()?;
    let (noted, time, note) = (columns.u64()?, columns.u64()?, columns.bytes()?.to_vec());
    let (at, by) = (columns.u64()?, columns.text()?);
    let acknowledged = (at > 0).then(|| Acknowledged { at, by: by.to_owned() });
    // One that is not known yet was met by a forwarder just now.
    let sensor = known.sensor(sensor).filter(|sensor| known.stands(sensor, ledger));
    Ok(sensor.map(|sensor| {
        let sensor = Arc::clone(sensor);
        (ledger, Hit { sequence, noted, time, rrname, indicator, address, sensor, note, acknowledged })
    }))
}

fn address(key: &[u8]) -> Result<Option<IpAddr>, FleetError> {
    match key {
        [] => Ok(None),
        key => match Rdata::split_key(key) {
            Ok((Rdata::V4(address), [])) => Ok(Some(address.into())),
            Ok((Rdata::V6(address), [])) => Ok(Some(address.into())),
            _ => Err(FleetError::cut()),
        },
    }
}
