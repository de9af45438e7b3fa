//! Rows on their way: gathered by shard and table, and inserted by a few threads, so that who reads the ledger does not wait for servers.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use super::FleetError;
use super::bucket;
use super::cluster::Cluster;
use super::rows::{ClusterTable, ShippedState};

/// Rows of one insert at most, and bytes.
const INSERT_ROWS: usize = 50_000;
const INSERT_BYTES: usize = 8 << 20;
/// Inserts at once.
const INSERTS: usize = 4;
/// Bytes that are gathered for all shards together, at most.
const GATHERED: usize = 64 << 20;

/// Rows for one table of one shard, in RowBinary.
struct Insert {
    shard: usize,
    table: ClusterTable,
    /// Whether they have spans.
    spans: bool,
    rows: Vec<u8>,
}

/// Takes rows, and hands them on when there are enough.
pub(super) struct Outbox<'a> {
    cluster: &'a Cluster,
    waiting: BTreeMap<(usize, ClusterTable, bool), (usize, Vec<u8>)>,
    gathered: usize,
    inserts: SyncSender<Insert>,
    failed: &'a Mutex<Option<FleetError>>,
}

/// Lets `fill` put rows into an outbox. All of them are there when this returns.
///
/// # Errors
///
/// What `fill` says, or why not all were inserted: some may be there all the same, and inserting them again changes nothing.
pub(super) fn with_outbox<T>(
    cluster: &Cluster,
    quorum: usize,
    fill: impl FnOnce(&mut Outbox<'_>) -> Result<T, FleetError>,
) -> Result<T, FleetError> {
    let failed = Mutex::new(None);
    let (inserts, waiting) = sync_channel(1);
    let waiting = Mutex::new(waiting);
    let filled = std::thread::scope(|scope| {
        for _ in 0..INSERTS {
            scope.spawn(|| insert_all(cluster, quorum, &waiting, &failed));
        }
        // It goes when this ends, and then the threads do.
        let mut outbox = Outbox { cluster, waiting: BTreeMap::new(), gathered: 0, inserts, failed: &failed };
        let filled = fill(&mut outbox)?;
        outbox.flush()?;
        Ok(filled)
    });
    match failed.into_inner() {
        // It ends the filling, too, and says why.
        Some(error) => Err(error),
        None => filled,
    }
}

fn insert_all(
    cluster: &Cluster,
    quorum: usize,
    waiting: &Mutex<Receiver<Insert>>,
    failed: &Mutex<Option<FleetError>>,
) {
    loop {
        let next = waiting.lock().recv();
        // Nobody fills any more.
        let Ok(Insert { shard, table, spans, rows }) = next else { return };
        if failed.lock().is_some() {
            continue;
        }
        let into = format!("{} ({})", table.name(), table.columns(spans));
        if let Err(error) = cluster.insert(shard, &into, &rows, quorum) {
            failed.lock().get_or_insert(error);
        }
    }
}

impl Outbox<'_> {
    /// Takes a state for each of its tables.
    pub(super) fn put(
        &mut self,
        state: &ShippedState,
        generation: u64,
        version: u64,
    ) -> Result<(), FleetError> {
        state.tables().iter().try_for_each(|table| self.put_in(*table, state, generation, version))
    }

    /// Takes a state for one table.
    pub(super) fn put_in(
        &mut self,
        table: ClusterTable,
        state: &ShippedState,
        generation: u64,
        version: u64,
    ) -> Result<(), FleetError> {
        let bucket = state.bucket(table);
        self.push(table, bucket, |spans, bytes| {
            state.push(table, spans, bucket, generation, version, bytes);
        })
    }

    /// Takes a state without sightings, of a key as a table has it ([`ClusterTable::take_key`]).
    pub(super) fn put_empty(
        &mut self,
        table: ClusterTable,
        key: &[u8],
        bucket: u16,
        generation: u64,
        version: u64,
    ) -> Result<(), FleetError> {
        self.push(table, bucket, |_, bytes| table.push_empty(key, bucket, generation, version, bytes))
    }

    fn push(
        &mut self,
        table: ClusterTable,
        bucket: u16,
        push: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<(), FleetError> {
        let shard = bucket::shard(bucket, self.cluster.shards().len());
        let spans = self.cluster.shard(shard)?.has_spans(self.cluster.database())?;
        let at = (shard, table, spans);
        let (rows, bytes) = self.waiting.entry(at).or_default();
        let before = bytes.len();
        push(spans, bytes);
        *rows += 1;
        self.gathered += bytes.len() - before;
        if *rows >= INSERT_ROWS || bytes.len() >= INSERT_BYTES {
            return self.send(at);
        }
        if self.gathered >= GATHERED {
            let largest = self.waiting.iter().max_by_key(|(_, (_, bytes))| bytes.len()).map(|(at, _)| *at);
            return largest.map_or(Ok(()), |at| self.send(at));
        }
        Ok(())
    }

    /// Hands on what is gathered for a table of a shard.
    fn send(&mut self, at: (usize, ClusterTable, bool)) -> Result<(), FleetError> {
        let Some((_, rows)) = self.waiting.remove(&at) else { return Ok(()) };
        self.gathered = self.gathered.saturating_sub(rows.len());
        if self.failed.lock().is_some() {
            return Err(FleetError::Stopped);
        }
        let (shard, table, spans) = at;
        self.inserts.send(Insert { shard, table, spans, rows }).map_err(|_| FleetError::Stopped)
    }

    /// Hands on what is left.
    fn flush(&mut self) -> Result<(), FleetError> {
        while let Some(at) = self.waiting.keys().next().copied() {
            self.send(at)?;
        }
        Ok(())
    }
}
