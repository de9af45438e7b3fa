//! What is there is looked through when indicators come: on one moment of the ledger, taken after the set is in use for all that comes.
//!
//! Few indicators are looked up, many are held against all rows; both find the same. A walk that was cut short is begun anew: what it has
//! found is there, and is not kept twice.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::feed::Feed;
use super::key;
use super::set::Set;
use crate::base::shutdown::Stop;
use crate::indicators::{Action, Value};
use crate::observation::SensorId;
use crate::store::{NewHit, Scan, Snapshot, StoreError, WriteStore};

/// From one indicator in so many rows on, all rows are gone through.
const ROWS_A_LOOKUP: u64 = 70;
/// Hits that are kept together.
const TOGETHER: usize = 1000;
/// Missing hits that are told.
const MISSING: usize = 100;
/// Rows between two looks whether it is to stop.
const LOOK: u64 = 4096;

/// A walk through what is there.
struct Walk<'a> {
    store: &'a dyn WriteStore,
    set: &'a Set,
    stop: &'a Stop,
    sensors: HashMap<Arc<str>, SensorId>,
    found: Vec<NewHit>,
    /// Where nothing is kept: what is missing.
    missing: Option<Vec<NewHit>>,
    new: u64,
    read: u64,
}

/// Looks through what is there with a set, for the indicators of these feeds; how many hits are new, and `None` where it was
/// stopped.
///
/// # Errors
///
/// When the ledger cannot be read or written.
pub(super) fn walk(
    store: &dyn WriteStore,
    set: &Set,
    feeds: &[Arc<Feed>],
    stop: &Stop,
) -> Result<Option<u64>, StoreError> {
    let ledger = store.now();
    let mut walk = Walk::new(store, set, stop);
    let indicators: u64 = feeds.iter().map(|feed| feed.entries).sum();
    let rows = store.stats()?.rows;
    let done = if indicators.saturating_mul(ROWS_A_LOOKUP) < rows {
        walk.look_up(&*ledger, feeds)?
    } else {
        walk.scan(&*ledger, &Scan::All)?
    };
    walk.keep()?;
    Ok(done.then_some(walk.new))
}

/// Looks through all that is there, and gives the hits that are not; a few of them.
///
/// # Errors
///
/// When the ledger cannot be read.
pub(super) fn missing(store: &dyn WriteStore, set: &Set) -> Result<Vec<NewHit>, StoreError> {
    let (ledger, stop) = (store.now(), Stop::new());
    let mut walk = Walk { missing: Some(Vec::new()), ..Walk::new(store, set, &stop) };
    walk.scan(&*ledger, &Scan::All)?;
    walk.keep()?;
    Ok(walk.missing.unwrap_or_default())
}

impl<'a> Walk<'a> {
    fn new(store: &'a dyn WriteStore, set: &'a Set, stop: &'a Stop) -> Walk<'a> {
        let (sensors, found, missing) = (HashMap::new(), Vec::new(), None);
        Walk { store, set, stop, sensors, found, missing, new: 0, read: 0 }
    }

    fn sensor(&mut self, name: &Arc<str>) -> Result<SensorId, StoreError> {
        if let Some(known) = self.sensors.get(name) {
            return Ok(*known);
        }
        let sensor = self.store.sensor(name)?;
        self.sensors.insert(Arc::clone(name), sensor);
        Ok(sensor)
    }

    fn keep(&mut self) -> Result<(), StoreError> {
        match &mut self.missing {
            Some(missing) if missing.len() >= MISSING => {}
            Some(missing) => missing.extend(self.store.missing_hits(&self.found)?),
            None => self.new += self.store.keep_hits(&self.found)?,
        }
        self.found.clear();
        Ok(())
    }

    /// Whether to go on after a row.
    fn tick(&mut self) -> Result<bool, StoreError> {
        self.read += 1;
        if self.found.len() >= TOGETHER {
            self.keep()?;
        }
        Ok(!self.read.is_multiple_of(LOOK) || !self.stop.is_stopped())
    }

    /// Goes through rows and questions; `false` where it was stopped.
    fn scan(&mut self, ledger: &dyn Snapshot, scan: &Scan) -> Result<bool, StoreError> {
        for row in ledger.entries(scan, None)? {
            let row = row?;
            let sensor = self.sensor(&row.sensor)?;
            let tuple = &row.tuple;
            self.set.row(
                tuple.rrname.key(),
                tuple.rrtype,
                &tuple.rdata,
                &row.halves,
                sensor,
                &mut self.found,
            );
            if !self.tick()? {
                return Ok(false);
            }
        }
        for question in ledger.questions(scan)? {
            let question = question?;
            let sensor = self.sensor(&question.sensor)?;
            self.set.question(
                question.rrname.key(),
                question.qtype,
                &question.asked,
                sensor,
                &mut self.found,
            );
            if !self.tick()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks up each indicator.
    fn look_up(&mut self, ledger: &dyn Snapshot, feeds: &[Arc<Feed>]) -> Result<bool, StoreError> {
        for feed in feeds {
            let mut scans: Vec<Scan> = Vec::new();
            let read = feed.each(&mut |stored, _| {
                match key::read(stored) {
                    Some((Value::Name(name), Action::Watch)) => {
                        scans.extend([Scan::Name(name.clone()), Scan::Target(name)]);
                    }
                    Some((Value::Domain(name), Action::Watch)) => {
                        scans.extend([Scan::Subtree(name.clone()), Scan::TargetSubtree(name)]);
                    }
                    Some((Value::Address(address), Action::Watch)) => {
                        addresses(address, address, &mut scans);
                    }
                    Some((Value::Network(network), Action::Watch)) => {
                        addresses(network.first(), network.last(), &mut scans);
                    }
                    _ => {}
                }
                true
            });
            read.map_err(|error| StoreError::Io { what: format!("reading feed {}", feed.meta.name), error })?;
            for scan in scans {
                if !self.scan(ledger, &scan)? || self.stop.is_stopped() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Where addresses of IPv4 may also stand: written as ones of IPv6.
fn addresses(first: IpAddr, last: IpAddr, scans: &mut Vec<Scan>) {
    scans.push(Scan::Addresses(first, last));
    if let (IpAddr::V4(first), IpAddr::V4(last)) = (first, last) {
        scans.push(Scan::Addresses(first.to_ipv6_mapped().into(), last.to_ipv6_mapped().into()));
    }
}
