//! What is there is looked through when indicators come: on one moment of the ledger, taken after the set is in use for all that comes.
//!
//! Few indicators are looked up, many are held against all rows; both find the same. How far a walk is, is noted now and then, after what it
//! has found is kept. One that was cut short goes on from there, on a later moment of the ledger: what came before that place meanwhile was met
//! as it came. What is looked at twice is not kept twice.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::feed::Feed;
use super::folder::FeedFolder;
use super::key;
use super::set::{Before, Set};
use super::walk_progress::{At, WalkProgress};
use crate::base::shutdown::Stop;
use crate::dns::Name;
use crate::dns::other_form;
use crate::indicators::{Action, Value};
use crate::observation::SensorId;
use crate::store::{NewHit, Scan, Snapshot, StoreError, WriteStore};

/// From one indicator in so many rows on, all rows are gone through.
const ROWS_A_LOOKUP: u64 = 70;
/// Hits that are kept together.
const TOGETHER: usize = 1000;
/// Missing hits that are told.
const MISSING: usize = 100;
/// Rows between two looks whether it is to stop, and whether it is time to note how far it is.
const LOOK: u64 = if cfg!(test) {
    8
} else if cfg!(debug_assertions) {
    256
} else {
    4096
};
/// How often that is noted; in debug builds at each look, so that tests which kill meet it on its way.
const NOTED_EVERY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 0 } else { 250 });

/// How a place among rows or questions is made of the key of a name.
type PlaceOf = fn(Vec<u8>) -> At;

/// A walk through what is there.
struct HistorySearch<'a> {
    store: &'a dyn WriteStore,
    set: &'a Set,
    stop: &'a Stop,
    sensors: HashMap<Arc<str>, SensorId>,
    found: Vec<NewHit>,
    /// Where nothing is kept: what is missing.
    missing: Option<Vec<NewHit>>,
    new: u64,
    read: u64,
    /// Where it is noted how far it is; not where nothing is kept.
    folder: Option<&'a FeedFolder>,
    place: WalkProgress,
    noted: Instant,
    before: Before,
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
    folder: &FeedFolder,
    stop: &Stop,
) -> Result<Option<u64>, StoreError> {
    let ledger = store.now();
    let mut walk = HistorySearch::new(store, set, stop);
    walk.folder = Some(folder);
    walk.place.feeds = feeds.iter().map(|feed| (feed.meta.name.clone(), feed.id)).collect();
    // Rows were held against all feeds of the set that it had; lookups are counted over these alone.
    if let Some(before) = folder.place()
        && match before.at {
            At::Lookups(_) => before.feeds == walk.place.feeds,
            _ => walk.place.feeds.iter().all(|(name, id)| before.feeds.get(name) == Some(id)),
        }
    {
        tracing::info!(feeds = before.feeds.len(), "Looking through history goes on where it was cut short.");
        walk.place = before;
    }
    let indicators: u64 = feeds.iter().map(|feed| feed.entries).sum();
    let looks_up = match walk.place.at {
        At::Start => indicators.saturating_mul(ROWS_A_LOOKUP) < store.stats()?.rows,
        At::Lookups(_) => true,
        At::Rows(_) | At::Questions(_) => false,
    };
    let done = if looks_up { walk.look_up(&*ledger, feeds)? } else { walk.go_through(&*ledger)? };
    walk.keep()?;
    if !done {
        walk.note();
    }
    Ok(done.then_some(walk.new))
}

/// Looks through all that is there, and gives the hits that are not; a few of them.
///
/// # Errors
///
/// When the ledger cannot be read.
pub(super) fn missing(store: &dyn WriteStore, set: &Set) -> Result<Vec<NewHit>, StoreError> {
    let (ledger, stop) = (store.now(), Stop::new());
    let mut walk = HistorySearch { missing: Some(Vec::new()), ..HistorySearch::new(store, set, &stop) };
    walk.go_through(&*ledger)?;
    walk.keep()?;
    Ok(walk.missing.unwrap_or_default())
}

impl<'a> HistorySearch<'a> {
    fn new(store: &'a dyn WriteStore, set: &'a Set, stop: &'a Stop) -> HistorySearch<'a> {
        let (sensors, found, missing) = (HashMap::new(), Vec::new(), None);
        let place = WalkProgress { feeds: BTreeMap::new(), at: At::Start };
        HistorySearch {
            store,
            set,
            stop,
            sensors,
            found,
            missing,
            new: 0,
            read: 0,
            folder: None,
            place,
            noted: Instant::now(),
            before: Before::default(),
        }
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

    /// Whether to go on after a row, up to which all is looked at; what is looked up has no place of its own.
    fn tick(&mut self, at: Option<(PlaceOf, &Name)>) -> Result<bool, StoreError> {
        self.read += 1;
        if self.found.len() >= TOGETHER {
            self.keep()?;
        }
        if !self.read.is_multiple_of(LOOK) {
            return Ok(true);
        }
        let stops = self.stop.is_stopped();
        if let Some((at, name)) = at
            && (stops || self.is_due())
        {
            self.place.at = at(name.key().to_vec());
            self.keep_and_note()?;
        }
        Ok(!stops)
    }

    /// Whether it is time to note how far it is.
    fn is_due(&self) -> bool {
        self.folder.is_some() && self.noted.elapsed() >= NOTED_EVERY
    }

    fn keep_and_note(&mut self) -> Result<(), StoreError> {
        self.keep()?;
        self.note();
        Ok(())
    }

    /// Notes how far it is: what was found up to there is kept.
    fn note(&mut self) {
        let Some(folder) = self.folder.filter(|_| self.place.at != At::Start) else { return };
        if let Err(error) = folder.keep_place(&self.place) {
            tracing::warn!(%error, "How far history was looked through cannot be noted: it is begun anew if this ends.");
        }
        self.noted = Instant::now();
    }

    /// Goes through all rows and questions from where it is; `false` where it was stopped.
    fn go_through(&mut self, ledger: &dyn Snapshot) -> Result<bool, StoreError> {
        let (rows, questions) = self.place.at.scans();
        if let Some(rows) = rows
            && !self.rows(ledger, &rows, true)?
        {
            return Ok(false);
        }
        self.questions(ledger, &questions, true)
    }

    /// Goes through rows and questions that are looked up; `false` where it was stopped.
    fn scan(&mut self, ledger: &dyn Snapshot, scan: &Scan) -> Result<bool, StoreError> {
        Ok(self.rows(ledger, scan, false)? && self.questions(ledger, scan, false)?)
    }

    fn rows(&mut self, ledger: &dyn Snapshot, scan: &Scan, is_all: bool) -> Result<bool, StoreError> {
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
                Some(&mut self.before),
                &mut self.found,
            );
            if !self.tick(is_all.then_some((At::Rows, &tuple.rrname)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn questions(&mut self, ledger: &dyn Snapshot, scan: &Scan, is_all: bool) -> Result<bool, StoreError> {
        for question in ledger.questions(scan)? {
            let question = question?;
            let sensor = self.sensor(&question.sensor)?;
            self.set.question(
                question.rrname.key(),
                question.qtype,
                &question.asked,
                sensor,
                Some(&mut self.before),
                &mut self.found,
            );
            if !self.tick(is_all.then_some((At::Questions, &question.rrname)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks up each indicator.
    fn look_up(&mut self, ledger: &dyn Snapshot, feeds: &[Arc<Feed>]) -> Result<bool, StoreError> {
        let done = if let At::Lookups(done) = self.place.at { done } else { 0 };
        let mut count = 0;
        for feed in feeds {
            let mut scans: Vec<Scan> = Vec::new();
            let read = feed.each(&mut |stored, _| {
                match key::read(stored) {
                    Some((Value::Name(name), Action::Watch)) => {
                        for name in other_form(&name).into_iter().chain([name]) {
                            scans.extend([Scan::Name(name.clone()), Scan::Target(name)]);
                        }
                    }
                    Some((Value::Domain(name), Action::Watch)) => {
                        for name in other_form(&name).into_iter().chain([name]) {
                            scans.extend([Scan::Subtree(name.clone()), Scan::TargetSubtree(name)]);
                        }
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
                count += 1;
                if count <= done {
                    continue;
                }
                if !self.scan(ledger, &scan)? || self.stop.is_stopped() {
                    return Ok(false);
                }
                self.place.at = At::Lookups(count);
                if self.is_due() {
                    self.keep_and_note()?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{Cursor, Read};

    use super::super::folder::FeedRules;
    use super::super::set::SetBuilder;
    use super::*;
    use crate::indicators::AllowList;
    use crate::observation::{Asked, Outcome};
    use crate::store::batch::Batch;
    use crate::store::sled::SledStore;
    use crate::store::{Options, ReadStore};

    fn ask(store: &SledStore, names: impl Iterator<Item = String>) {
        let (sensor, mut batch) = (store.sensor("lan").unwrap(), Batch::default());
        for name in names {
            let mut key = Name::parse(&name).unwrap().key().to_vec();
            key.extend_from_slice(&1u16.to_be_bytes());
            key.extend_from_slice(&sensor.0.to_be_bytes());
            batch.add_asked(&key, &Asked::once(1_780_000_000, Outcome::ALL[0]));
        }
        store.apply(&batch).unwrap();
    }

    fn feed(folder: &FeedFolder, name: &str, text: &str) -> Arc<Feed> {
        let input: Box<dyn Read> = Box::new(Cursor::new(text.as_bytes().to_vec()));
        folder.import(name, &mut [Ok(input)].into_iter(), &FeedRules::default(), 7).unwrap();
        Arc::new(Feed::open(&folder.feed(name), &mut |_| ()).unwrap())
    }

    /// Walks that are cut short again and again, each after a few rows, until one is at the end; how many there were.
    fn walks(store: &SledStore, folder: &FeedFolder, feeds: &[Arc<Feed>]) -> u64 {
        let mut builder = SetBuilder::new();
        for feed in feeds {
            builder.open(&folder.feed(&feed.meta.name), &AllowList::default()).unwrap();
        }
        let (set, stopped) = (builder.finish(), Stop::new());
        stopped.stop();
        (1..1000).find(|_| walk(store, &set, feeds, folder, &stopped).unwrap().is_some()).unwrap()
    }

    fn hits(store: &SledStore) -> BTreeSet<String> {
        store.now().hits(0).unwrap().map(|hit| hit.unwrap().rrname.to_string()).collect()
    }

    #[test]
    fn a_walk_that_is_cut_short_again_and_again_goes_on_and_finds_each_once() {
        let data = tempfile::tempdir().unwrap();
        let store = SledStore::open(&data.path().join("ledger"), &Options::default()).unwrap();
        let folder = FeedFolder::of(data.path());
        let bad = |at: u64| format!("h{at:03}.bad.example");
        ask(&store, (0..100).map(bad).chain((0..100).map(|at| format!("h{at:03}.good.example"))));
        let many: String = (0..50).map(|at| format!("n{at}.test\n")).collect();
        let bad_feed = feed(&folder, "bad", &format!("bad.example\n{many}"));
        let count = walks(&store, &folder, &[Arc::clone(&bad_feed)]);
        assert!((15..60).contains(&count), "{count}");
        assert_eq!(hits(&store), (0..100).map(bad).collect());
        assert_eq!(store.last_hit().0, 100, "each once");
        // Another feed begins at the first row, whatever was noted of the one before.
        let stopped = Stop::new();
        stopped.stop();
        let set = SetBuilder::new().finish();
        folder.forget_place();
        assert_eq!(walk(&store, &set, &[bad_feed], &folder, &stopped).unwrap(), None);
        let before = folder.place().unwrap();
        let good = feed(&folder, "good", &format!("h000.bad.example\nh001.good.example\n{many}"));
        walks(&store, &folder, &[good]);
        assert!(folder.place().is_some_and(|place| place != before));
        assert_eq!(hits(&store).len(), 101);
    }
}
