//! Shipping: what has changed since what the cluster last acknowledged, whole, into the tables.
//!
//! Nothing is queued and nothing kept: what is to be shipped next is what has changed since the mark that the cluster has.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::FleetError;
use super::cluster::Cluster;
use super::outbox::with_outbox;
use super::registry::{self, HitMark, Registry, Sensor, Shipped, Stands};
use super::rows::{ClusterTable, ShippedState, sip_hash};
use super::source::ChangeSource;
use super::sweep::{Sweep, behind};
use super::tables;
use crate::base::clock::now;
use crate::base::threads;
use crate::http::{ChangesHead, Forwarding};
use crate::store::Mark;

/// How it is shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Replicas that have a row when it is acknowledged, where tables are replicated.
    pub quorum: usize,
    /// How often all is compared.
    pub compare_every: Duration,
}

/// Ships from one ledger into one cluster.
pub struct Forwarder {
    cluster: Cluster,
    source: Arc<ChangeSource>,
    options: Options,
    /// Replicas that have a row when it is acknowledged, once it is known whether tables are replicated.
    quorum: Option<usize>,
    /// Sensors that are noted already, with the generation.
    noted: HashSet<(u64, String)>,
    told: Arc<Mutex<Forwarding>>,
    /// The commit up to which the cluster has all, once it has said so.
    acknowledged: Option<Mark>,
    /// When it was last counted what the cluster lacks, and how long that took.
    counted: Option<(Instant, Duration)>,
    /// The ledger that was shipped last.
    generation: u64,
    /// When all is compared though it is not due, epoch seconds: at once at first, and some time after a shipment has failed.
    compares_at: Option<u64>,
}

/// The version of a state that was read at a commit.
pub fn version(base: u64, mark: Mark, is_alive: bool) -> u64 {
    base.saturating_add(mark.0).saturating_mul(2).saturating_add(u64::from(!is_alive))
}

/// More commits than a ledger has that nothing was acknowledged of.
const BEYOND: u64 = 1 << 32;

/// The time as of which a ledger is there: what it says, or, where it has not read all yet, what it said before.
fn later(before: u64, at: u64) -> u64 {
    if at == 0 { before } else { at }
}

/// The longest that comparing waits after a failure, seconds; a part of the time between two comparisons where that is shorter.
const LONGEST_WAIT: u64 = 600;
const PART: u64 = 4;

/// How often the daemon is told that a shipment goes on.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// What a cluster that is away lacks is counted for a twentieth of the time, at most: it is read for that.
const COUNTED_FOR: u32 = 20;

/// How long comparing waits after a failure, seconds. An outage of a cluster ends for all sensors at once, and comparing goes through all
/// rows of each: so it is another time for each ledger, and always the same one.
fn wait_to_compare(generation: u64, every: Duration) -> u64 {
    let longest = LONGEST_WAIT.min(every.as_secs() / PART);
    sip_hash(&[&generation.to_be_bytes()]) % longest.saturating_add(1)
}

/// Tells the daemon how it goes.
fn tell(source: &ChangeSource, told: &Mutex<Forwarding>) -> Result<(), FleetError> {
    let told = {
        let mut told = told.lock();
        told.at = now();
        told.clone()
    };
    source.tell(&told)
}

impl Forwarder {
    /// One that has not asked anybody yet.
    pub fn new(cluster: Cluster, source: ChangeSource, to: &str, options: Options) -> Forwarder {
        let told = Forwarding { to: to.to_owned(), ..Forwarding::default() };
        Forwarder {
            cluster,
            source: Arc::new(source),
            options,
            quorum: None,
            noted: HashSet::new(),
            told: Arc::new(Mutex::new(told)),
            acknowledged: None,
            counted: None,
            generation: 0,
            compares_at: Some(0),
        }
    }

    /// How it goes.
    pub fn told(&self) -> Forwarding {
        self.told.lock().clone()
    }

    /// Where it ships to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where it ships from.
    pub fn source(&self) -> &ChangeSource {
        &self.source
    }

    /// Replicas that have a row when it is acknowledged.
    pub(super) fn quorum(&self) -> usize {
        self.quorum.unwrap_or(0)
    }

    /// Ships what has changed, compares where that is due, and tells the daemon how it goes: meanwhile, where that takes long, and at the end.
    ///
    /// # Errors
    ///
    /// Why it could not: the next call begins where the cluster is.
    pub fn pass(&mut self) -> Result<(), FleetError> {
        let (source, told) = (Arc::clone(&self.source), Arc::clone(&self.told));
        let done = std::thread::scope(|scope| {
            // It is dropped when all is done.
            let (_going, goes_on) = channel::<()>();
            scope.spawn(move || {
                threads::guarded(|| {
                    while goes_on.recv_timeout(TELL_EVERY) == Err(RecvTimeoutError::Timeout) {
                        // A daemon that is away has nobody who asks it.
                        let _ = tell(&source, &told);
                    }
                });
            });
            self.ship_and_compare()
        });
        match &done {
            Ok(()) => {
                let mut told = self.told.lock();
                told.error.clear();
                told.lag_rows = 0;
            }
            Err(error) => {
                {
                    let mut told = self.told.lock();
                    told.failures += 1;
                    told.error = error.to_string();
                }
                if matches!(error, FleetError::Shard { .. }) {
                    self.count_lacking();
                }
                let wait = wait_to_compare(self.generation, self.options.compare_every);
                self.compares_at = Some(now().saturating_add(wait));
            }
        }
        done.and(tell(&self.source, &self.told))
    }

    /// Counts what has changed since what the cluster has, as far as that is known.
    fn count_lacking(&mut self) {
        let is_due = self.counted.is_none_or(|(at, took)| at.elapsed() >= took * COUNTED_FOR);
        let Some(since) = self.acknowledged.filter(|_| is_due) else { return };
        let (began, mut rows) = (Instant::now(), 0);
        let counted = self.source.changes(since, Some(since), &mut |_, _| {
            rows += 1;
            Ok(())
        });
        // Where the daemon is away, too, it is as it was.
        if counted.is_ok() {
            self.told.lock().lag_rows = rows;
        }
        self.counted = Some((Instant::now(), began.elapsed()));
    }

    fn ship_and_compare(&mut self) -> Result<(), FleetError> {
        let head = self.source.head()?;
        let generation = head.identity.generation;
        if self.generation != generation {
            (self.generation, self.acknowledged) = (generation, None);
        }
        if generation == 0 {
            return Err(FleetError::Tables {
                what: "the ledger was made before ledgers had an identity, and was not opened to be written since".to_owned(),
                hint: "start the daemon once, or import something",
            });
        }
        if self.quorum.is_none() {
            tables::check(&self.cluster)?;
            self.quorum = Some(tables::quorum(&self.cluster, self.options.quorum)?);
        }
        let quorum = self.quorum();
        // Where a shard is away nothing could be acknowledged, and would be shipped once more.
        let registry = Registry::load_whole(&self.cluster)?;
        registry.spread(&self.cluster, quorum)?;
        let known = registry.ledgers.get(&generation).copied();
        let mut shipped = known.unwrap_or(Shipped {
            generation,
            // What was dropped before anything was shipped is not there.
            drops: head.identity.drops,
            expired: head.expired_before,
            ..Shipped::default()
        });
        if head.expired_before > shipped.expired {
            // What is too old for the cluster needs no copy.
            let from = shipped.expired.max(registry.cut);
            self.keep_expired(generation, from, head.expired_before)?;
        }
        shipped.expired = head.expired_before;
        let drops = head.identity.drops;
        if shipped.mark > head.mark.0 {
            // The ledger was put back to an older state. What it has now is newer than all that it has shipped.
            shipped.base = shipped.base.saturating_add(shipped.mark).saturating_add(BEYOND);
            shipped.mark = 0;
            self.compares_at = Some(0);
        }
        let since = Mark(shipped.mark);
        self.acknowledged = Some(since);
        let mut hits = registry.hits.get(&generation).copied();
        // Where tables came to have hits since, all of them are shipped.
        let hits_since = registry.has_hits.then_some(if hits.is_some() { since } else { Mark(0) });
        if since.0 == 0 {
            hits = None;
        }
        if shipped.mark != head.mark.0 || known.is_none() || hits_since.is_some_and(|mark| mark != since) {
            let (end, last_hit) = self.ship(since, hits_since, &shipped, &registry)?;
            shipped.mark = end.mark.0;
            shipped.as_of = later(shipped.as_of, end.at);
            if hits_since.is_some() && hits.is_none_or(|known| known.last < last_hit) {
                let version = registry.hits.get(&generation).map_or(0, |known| known.version);
                let mark = HitMark { version: registry::next_version(version), last: last_hit };
                registry::note_hits(&self.cluster, generation, &mark, quorum)?;
            }
        } else {
            shipped.as_of = later(shipped.as_of, head.at);
        }
        shipped.version = registry::next_version(shipped.version);
        registry::note(&self.cluster, &shipped, quorum)?;
        self.acknowledged = Some(Mark(shipped.mark));
        let undecided = registry.undecided().filter(|sensor| sensor.generation == generation);
        let undecided = undecided.map(|sensor| sensor.name.to_string()).collect();
        {
            let mut told = self.told.lock();
            (told.acknowledged, told.acknowledged_at) = (shipped.mark, shipped.as_of);
            told.undecided = undecided;
        }
        let is_due = now().saturating_sub(shipped.compared) >= self.options.compare_every.as_secs()
            || self.compares_at.is_some_and(|at| at <= now());
        // A replica that is behind differs, and will not when it has caught up.
        if (drops != shipped.drops || is_due) && !self.cluster.is_behind() {
            let found = self.compare(&shipped, registry.cut, hits_since.is_some())?;
            self.compares_at = None;
            (shipped.drops, shipped.compared) = (drops, now());
            {
                let mut told = self.told.lock();
                told.differing = found.differing;
                told.mended += found.mended;
                told.compared_at = shipped.compared;
            }
            shipped.version = registry::next_version(shipped.version);
            registry::note(&self.cluster, &shipped, quorum)?;
        }
        Ok(())
    }

    /// Copies the rows that a ledger may have dropped by age, between two times, to an epoch of their own: the time of their first
    /// sighting. Doing it again changes nothing.
    fn keep_expired(&self, generation: u64, from: u64, to: u64) -> Result<(), FleetError> {
        let database = self.cluster.database();
        // A hit that comes back is another one, with a number of its own.
        for table in &ClusterTable::OF_ROWS {
            let (name, key) = (table.name(), table.key().join(", "));
            let (last, first, alive) = (table.last(), table.first(), table.is_alive());
            let mut sweep = Sweep::whole(&self.cluster, table);
            while let Some(part) = sweep.next(behind)? {
                let bounds = part.of(table.first_column());
                sweep.each(|shard| {
                    let spans = shard.has_spans(database)?;
                    let (columns, stored) = (table.columns(spans), table.stored(spans));
                    let copy = format!(
                        "INSERT INTO {database}.{name} ({columns}) \
                         SELECT {key}, sensor, gen, toUInt32({first}), ver, bucket, {stored}, names \
                         FROM {database}.{name} FINAL PREWHERE {bounds} AND gen = {generation} AND epoch = 0 \
                         WHERE ({alive}) AND {last} >= {from} AND {last} < {to}"
                    );
                    shard.copy(&copy, self.quorum())
                })?;
            }
        }
        Ok(())
    }

    /// Ships what has changed since a mark, and hits that have since another. Gives how far that is, and the greatest number of a hit.
    fn ship(
        &mut self,
        since: Mark,
        hits_since: Option<Mark>,
        shipped: &Shipped,
        registry: &Registry,
    ) -> Result<(ChangesHead, u64), FleetError> {
        let Shipped { generation, expired, base, .. } = *shipped;
        let quorum = self.quorum();
        let Forwarder { cluster, source, noted, told, .. } = self;
        told.lock().lag_rows = 0;
        let mut last_hit = 0;
        let end = with_outbox(cluster, quorum, |outbox| {
            source.changes(since, hits_since, &mut |head, change| {
                if head.identity.generation != generation {
                    return Err(FleetError::Daemon("another ledger took its place".to_owned()));
                }
                if head.expired_before != expired {
                    // What came back since would take the place of what is not kept yet.
                    return Err(FleetError::Daemon("rows expired meanwhile: it is tried again".to_owned()));
                }
                let state = ShippedState::of(change);
                last_hit = last_hit.max(state.number());
                if state.last() < registry.cut {
                    return Ok(());
                }
                let name = state.sensor();
                if !noted.contains(&(generation, name.to_owned())) {
                    let known = registry.sensors.get(name).map_or([].as_slice(), Vec::as_slice);
                    if !known.iter().any(|sensor| sensor.generation == generation) {
                        // Who came first is told by it.
                        let last = known.iter().map(|sensor| sensor.since + 1).max().unwrap_or(0);
                        let since = now().max(last);
                        let sensor = Sensor {
                            name: name.into(),
                            generation,
                            version: 1,
                            stands: Stands::Unsaid,
                            since,
                        };
                        registry::note_sensors(cluster, &[sensor], quorum)?;
                    }
                    noted.insert((generation, name.to_owned()));
                }
                told.lock().lag_rows += 1;
                outbox.put(&state, generation, version(base, head.mark, true))
            })
        })?;
        let mut told = told.lock();
        told.shipped += std::mem::take(&mut told.lag_rows);
        Ok((end, last_hit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_that_failed_at_once_do_not_compare_at_once() {
        let day = Duration::from_secs(86_400);
        let waits = |every| {
            let mut waits: Vec<u64> = (1..=50).map(|generation| wait_to_compare(generation, every)).collect();
            waits.sort_unstable();
            waits
        };
        let all = waits(day);
        assert_eq!(all, waits(day), "each has its own");
        assert!(all.iter().all(|wait| *wait <= LONGEST_WAIT), "{all:?}");
        // In no minute there are many.
        let most =
            (0..=LONGEST_WAIT / 60).map(|minute| all.iter().filter(|wait| **wait / 60 == minute).count());
        assert!(most.max() <= Some(12), "{all:?}");
        // Where comparing is due soon it does not wait long for that.
        assert!(waits(Duration::from_secs(40)).iter().all(|wait| *wait <= 10));
        assert!(waits(Duration::ZERO).iter().all(|wait| *wait == 0));
    }
}
