//! Crashes and refused writes at any call: the ledger on an engine that forgets what was not synced.
//!
//! Progress travels with rows, so the ledger itself says after each crash how many batches it has, and must hold exactly
//! those. The engine fails at a chosen call, for good (the power is out) or until it is opened again (the disk is full);
//! what it then remembers is any prefix of its calls that holds all that were synced, as [`Engine`] promises. The call that
//! failed may be among them, and of a batch that was refused any part, in memory and on disk.

mod fold;
mod hits;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use proptest::prelude::*;

use super::cases;
use crate::dns::{Name, Rdata, RrType, registrable};
use crate::observation::{Asked, FirstSeen, Half, Halves, Outcome, Seen, Tuple};
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::block;
use crate::store::derived::Record;
use crate::store::engine::MarkFile;
use crate::store::engine::{self, Changes, Engine, EnginePlace, Pairs, Site};
use crate::store::key::Family;
use crate::store::ledger::Ledger;
use crate::store::manifest::{Commits, Manifest, RunMeta};
use crate::store::memory::MemoryStore;
use crate::store::migrate::Migration;
use crate::store::stored::{FORMAT, open_block};
use crate::store::{Entry, Mark, Options, Pair, Question, ReadStore, Scan, StoreError, WriteStore};

pub(in crate::store) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Call {
    Write(Changes),
    Append(u32, Vec<Pair>),
    Remove(u32),
}

/// What is at one place.
#[derive(Debug, Default, Clone)]
struct World {
    calls: Vec<Call>,
    synced: usize,
    main: Map,
    runs: BTreeMap<u32, Map>,
    /// A call failed: nothing more is written before it is opened again.
    failed: bool,
    /// The mark of what was acknowledged.
    mark: Option<Vec<u8>>,
}

impl World {
    fn replay(&mut self, call: &Call) {
        match call {
            Call::Write(changes) => {
                for (key, value) in changes {
                    match value {
                        Some(value) => self.main.insert(key.clone(), value.clone()),
                        None => self.main.remove(key),
                    };
                }
            }
            Call::Append(id, pairs) => {
                let run = self.runs.entry(*id).or_default();
                for (key, value) in pairs {
                    assert!(run.last_key_value().is_none_or(|(last, _)| last < key), "keys in order");
                    run.insert(key.clone(), value.clone());
                }
            }
            Call::Remove(id) => {
                self.runs.remove(id);
            }
        }
    }

    /// What is there when it is opened: all that was synced, and of the rest the first part.
    fn reopened(&self, kept: &mut dyn FnMut(usize) -> usize) -> World {
        let kept = self.synced + kept(self.calls.len() - self.synced + 1);
        let mark = self.mark.clone();
        let mut next = World { synced: kept, calls: self.calls[..kept].to_vec(), mark, ..World::default() };
        self.calls[..kept].iter().for_each(|call| next.replay(call));
        next
    }
}

/// All places of a ledger.
struct Disk {
    worlds: BTreeMap<String, World>,
    current: String,
    /// Calls that still succeed.
    left: usize,
    /// Decides what is remembered.
    seed: u64,
    /// Bytes that each place says it takes, by its number, the last one for all behind it; and those that are free.
    bytes: Vec<u64>,
    free: Option<u64>,
    /// Places that were made.
    made: u32,
    /// The threads that removed one.
    removed_by: Vec<String>,
}

fn full() -> StoreError {
    StoreError::Io { what: "the engine".to_owned(), error: io::ErrorKind::StorageFull.into() }
}

impl Disk {
    fn spend(&mut self) -> Result<(), StoreError> {
        self.left = self.left.checked_sub(1).ok_or_else(full)?;
        Ok(())
    }

    /// Any number below a bound.
    fn any(&mut self, bound: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % bound
    }

    fn reopen(&mut self, place: &str) {
        let world = self.worlds.remove(place).unwrap_or_default();
        let next = world.reopened(&mut |bound| self.any(bound));
        self.worlds.insert(place.to_owned(), next);
    }
}

/// The number of a place.
fn number(name: &str) -> usize {
    name.strip_prefix("ledger-").unwrap().parse().unwrap()
}

/// A disk in memory that can lose its power, or be full.
#[derive(Clone)]
pub(in crate::store) struct VolatileSite(Arc<Mutex<Disk>>);

impl VolatileSite {
    pub fn new(left: usize, seed: u64) -> VolatileSite {
        let current = "ledger-1".to_owned();
        VolatileSite(Arc::new(Mutex::new(Disk {
            worlds: BTreeMap::new(),
            current,
            left,
            seed,
            bytes: vec![0],
            free: None,
            made: 0,
            removed_by: Vec::new(),
        })))
    }

    /// What is at the current place: the main map and those of the runs.
    pub fn maps(&self) -> (Map, BTreeMap<u32, Map>) {
        let disk = self.disk();
        let world = &disk.worlds[&disk.current];
        (world.main.clone(), world.runs.clone())
    }

    /// From now on places say that they take so many bytes.
    pub(in crate::store) fn say_bytes(&self, bytes: u64) {
        self.disk().bytes = vec![bytes];
    }

    /// From now on each place says that it takes so many bytes, by its number, from the next one on that is made.
    pub(in crate::store) fn say_next_bytes(&self, bytes: &[u64]) {
        let mut disk = self.disk();
        let (current, now) = (number(&disk.current), disk.bytes.last().copied().unwrap_or_default());
        disk.bytes = std::iter::repeat_n(now, current).chain(bytes.iter().copied()).collect();
    }

    /// From now on so many bytes are free.
    pub(in crate::store) fn say_free(&self, bytes: u64) {
        self.disk().free = Some(bytes);
    }

    /// From now on there is room for a copy beside, or in the file of the ledger only.
    fn say_room(&self, beside: bool) {
        let mut disk = self.disk();
        (disk.free, disk.bytes) = if beside { (None, vec![0]) } else { (Some(0), vec![16 << 20]) };
    }

    /// How many places were made so far.
    pub(in crate::store) fn made(&self) -> u32 {
        self.disk().made
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock()
    }

    /// The disk after the power has come back.
    fn after_crash(&self, left: usize) -> VolatileSite {
        let mut disk = self.disk();
        let next = VolatileSite::new(left, disk.seed);
        let current = disk.current.clone();
        disk.reopen(&current);
        let world = disk.worlds.remove(&current).unwrap_or_default();
        let mut after = next.disk();
        after.worlds.insert(current.clone(), world);
        after.current = current;
        drop(after);
        next
    }

    /// Another disk with the same on it.
    fn twin(&self) -> VolatileSite {
        let disk = self.disk();
        let twin = VolatileSite::new(usize::MAX, disk.seed);
        let mut other = twin.disk();
        other.worlds.clone_from(&disk.worlds);
        other.current.clone_from(&disk.current);
        drop(other);
        twin
    }

    fn is_new(&self) -> bool {
        let disk = self.disk();
        // One that was only begun is made anew.
        disk.worlds.get(&disk.current).is_none_or(|world| world.main.len() < 5)
    }

    fn place(&self, name: &str) -> Arc<dyn EnginePlace> {
        Arc::new(Volatile { site: self.clone(), name: name.to_owned() })
    }
}

impl Site for VolatileSite {
    fn current(&self) -> Arc<dyn EnginePlace> {
        self.place(&self.disk().current)
    }

    fn next(&self) -> Result<Arc<dyn EnginePlace>, StoreError> {
        let mut disk = self.disk();
        disk.made += 1;
        let last = disk.worlds.keys().map(|name| number(name)).max().unwrap_or_default();
        drop(disk);
        Ok(self.place(&format!("ledger-{}", last + 1)))
    }

    fn switch(&self, to: &dyn EnginePlace) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.spend()?;
        disk.current = to.name().to_owned();
        Ok(())
    }

    fn is_unsettled(&self) -> bool {
        false
    }

    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A place, and the engine there.
#[derive(Clone)]
struct Volatile {
    site: VolatileSite,
    name: String,
}

impl EnginePlace for Volatile {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<Arc<dyn Engine>, StoreError> {
        let mut disk = self.site.disk();
        if disk.worlds.entry(self.name.clone()).or_default().failed {
            disk.reopen(&self.name);
        }
        Ok(Arc::new(self.clone()))
    }

    fn mark(&self) -> Box<dyn MarkFile> {
        Box::new(self.clone())
    }

    fn free_bytes(&self) -> Option<u64> {
        self.site.disk().free
    }

    fn probe(&self) -> Result<Box<dyn Send>, StoreError> {
        self.site.disk().spend()?;
        Ok(Box::new(()))
    }

    fn remove(&self) {
        let mut disk = self.site.disk();
        assert_ne!(disk.current, self.name, "what is current is not removed");
        disk.worlds.remove(&self.name);
        disk.removed_by.push(std::thread::current().name().unwrap_or_default().to_owned());
    }
}

impl MarkFile for Volatile {
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.world(|world| world.mark.clone()))
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.site.disk();
        let spent = disk.spend();
        if spent.is_ok() || disk.any(2) == 0 {
            let world = disk.worlds.get_mut(&self.name).expect("nobody uses a place that was removed");
            world.mark = Some(bytes.to_vec());
        }
        spent
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.site.disk();
        let spent = disk.spend();
        // One that fails may be there in part.
        let length = if spent.is_ok() { bytes.len() } else { disk.any(bytes.len() + 1) };
        let world = disk.worlds.get_mut(&self.name).expect("nobody uses a place that was removed");
        world.mark.as_mut().expect("it is written anew first").extend_from_slice(&bytes[..length]);
        spent
    }
}

impl Volatile {
    fn world<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(self.site.disk().worlds.get_mut(&self.name).expect("nobody uses a place that was removed"))
    }

    fn call(&self, mut call: Call) -> Result<(), StoreError> {
        let mut disk = self.site.disk();
        let spent = disk.spend();
        if spent.is_err()
            && let Call::Write(changes) = &mut call
            && changes.len() > 1
        {
            changes.retain(|_| disk.any(3) > 0);
        }
        let world = disk.worlds.get_mut(&self.name).expect("nobody uses a place that was removed");
        if world.failed {
            return Err(full());
        }
        world.failed = spent.is_err();
        if spent.is_ok() || matches!(call, Call::Write(_)) {
            world.replay(&call);
        }
        world.calls.push(call);
        spent
    }
}

pub(in crate::store) fn at_most(map: &Map, key: &[u8]) -> Option<Pair> {
    let range = (Bound::Unbounded, Bound::Included(key));
    map.range::<[u8], _>(range).next_back().map(|(key, value)| (key.clone(), value.clone()))
}

pub(in crate::store) fn above(map: &Map, key: &[u8]) -> Option<Pair> {
    let range = (Bound::Excluded(key), Bound::Unbounded);
    map.range::<[u8], _>(range).next().map(|(key, value)| (key.clone(), value.clone()))
}

impl Pairs for Volatile {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.world(|world| world.main.get(key).cloned()))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        Ok(self.world(|world| at_most(&world.main, key)))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        Ok(self.world(|world| above(&world.main, key)))
    }
}

struct Run(Volatile, u32);

impl Run {
    fn read<T>(&self, read: impl FnOnce(&Map) -> T) -> Result<T, StoreError> {
        Ok(self.0.world(|world| read(world.runs.get(&self.1).expect("nobody reads a run that was removed"))))
    }
}

impl Pairs for Run {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|map| map.get(key).cloned())
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.read(|map| at_most(map, key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.read(|map| above(map, key))
    }
}

impl Engine for Volatile {
    fn write(&self, changes: Changes) -> Result<(), StoreError> {
        self.call(Call::Write(changes))
    }

    fn append(&self, id: u32, before: u64, pairs: Vec<Pair>) -> Result<(), StoreError> {
        let there = self.world(|world| world.runs.get(&id).map_or(0, Map::len));
        assert_eq!(there as u64, before, "a number is given once, and a run is written without gaps");
        self.call(Call::Append(id, pairs))
    }

    fn run(&self, id: u32) -> Result<Arc<dyn Pairs>, StoreError> {
        Ok(Arc::new(Run(self.clone(), id)))
    }

    fn runs(&self) -> Result<BTreeSet<u32>, StoreError> {
        Ok(self.world(|world| world.runs.keys().copied().collect()))
    }

    fn remove_run(&self, id: u32) -> Result<(), StoreError> {
        self.call(Call::Remove(id))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut disk = self.site.disk();
        let spent = disk.spend();
        let world = disk.worlds.get_mut(&self.name).expect("nobody uses a place that was removed");
        if world.failed {
            return Err(full());
        }
        world.failed = spent.is_err();
        if spent.is_ok() {
            world.synced = world.calls.len();
        }
        spent
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        let disk = self.site.disk();
        let at = (number(&self.name) - 1).min(disk.bytes.len() - 1);
        Ok(disk.bytes[at])
    }
}

//--- batches --------------------------------------------------------------------------------------------------------

const LINEAGE: LineageId = LineageId([1; 16]);

/// Batch `number`: some rows that others have too, some of its own; every fourth is large.
pub(in crate::store) fn batch(number: u64, store: &dyn WriteStore) -> Result<Batch, StoreError> {
    let sensor = store.sensor(if number.is_multiple_of(3) { "south" } else { "north" })?;
    let mut batch = Batch::default();
    for i in 0..if number.is_multiple_of(4) { 40 } else { 1 + number % 5 } {
        let rrname = Name::parse(&format!("{}.example", (i * number) % 50)).unwrap();
        let rdata = Rdata::V4(u32::try_from(i % 7).unwrap().into());
        let mut key = Vec::new();
        Tuple { rrname: rrname.clone(), rrtype: RrType::A, rdata }.push_key(&mut key);
        key.extend_from_slice(&sensor.0.to_be_bytes());
        batch.add_halves(&key, &Halves::once(Half::Direct, Seen::once(1000 + number, 60)));
        let question = [rrname.key(), &RrType::A.0.to_be_bytes(), &sensor.0.to_be_bytes()].concat();
        batch.add_asked(&question, &Asked::once(1000 + number, Outcome::Answered));
    }
    let mut progress = Progress::start(LINEAGE, "north");
    progress.consumed.offset = number;
    batch.advance(progress);
    Ok(batch)
}

/// What is found by name, by address, and of questions.
type Contents = (Vec<Entry>, Vec<Entry>, Vec<Question>);

fn contents(store: &dyn WriteStore) -> Contents {
    let snapshot = store.now();
    let entries = |scan| snapshot.entries(&scan, None).unwrap().collect::<Result<_, _>>().unwrap();
    let by_address = Scan::Addresses([0, 0, 0, 0].into(), [255, 255, 255, 255].into());
    (
        entries(Scan::All),
        entries(by_address),
        snapshot.questions(&Scan::All).unwrap().map(Result::unwrap).collect(),
    )
}

/// The contents after the first so many batches.
fn oracle(batches: u64, expired: &Expiries) -> MemoryStore {
    let oracle = MemoryStore::default();
    for number in 1..=batches {
        oracle.apply(&batch(number, &oracle).unwrap()).unwrap();
        if expired.contains(&number) {
            oracle.expire(cut_after(number), number).unwrap();
        }
    }
    oracle
}

/// The batches after which something expired.
type Expiries = BTreeSet<u64>;

/// What expires after a batch.
fn cut_after(number: u64) -> u64 {
    1000 + number - 8
}

pub(in crate::store) fn tiny() -> Options {
    // Who waits here looks through the whole ledger again and again.
    let retry = (Duration::from_micros(10), Duration::from_micros(200));
    Options { memory: 1 << 20, fold_rows: 10, bulk_rows: 60, fan_in: 2, retry, ..Options::default() }
}

/// Applies batches from where the ledger says it is, until one fails; how many there are then at least.
fn go_on(ledger: &Ledger, from: u64, to: u64, expired: &mut Expiries) -> u64 {
    for number in from + 1..=to {
        if batch(number, ledger).and_then(|batch| ledger.apply(&batch)).is_err() {
            return number - 1;
        }
        let done = match number {
            _ if number % 9 == 0 => ledger.expire(cut_after(number), number).map(|_| {
                expired.insert(number);
            }),
            _ if number % 5 == 0 => ledger.rewrite(),
            _ => Ok(()),
        };
        if done.is_err() {
            return number;
        }
    }
    to
}

fn applied(store: &dyn WriteStore) -> u64 {
    store.lineage(&LINEAGE).unwrap().map_or(0, |progress| progress.consumed.offset)
}

/// Waits until nothing is due, over failures that pass.
fn settle(ledger: &Ledger) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = ledger.settle() {
        assert!(Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
}

/// What is not in the manifest is not on disk, once the last reader has let go.
fn nothing_is_left_behind(site: &VolatileSite, ledger: &Ledger) {
    let until = Instant::now() + Duration::from_secs(10);
    let there = || {
        let disk = site.disk();
        (disk.worlds.len(), disk.worlds.get(&disk.current).map_or(0, |world| world.runs.len() as u64))
    };
    while there() != (1, ledger.stats().unwrap().runs) {
        assert!(
            Instant::now() < until,
            "left behind: {:?}, {:?}, {:?}",
            there(),
            ledger.stats(),
            site.disk()
                .worlds
                .values()
                .map(|w| w.runs.keys().copied().collect::<Vec<_>>())
                .collect::<Vec<_>>()
        );
        std::thread::yield_now();
    }
}

const BATCHES: u64 = 40;

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn after_any_crash_there_is_each_batch_whole_or_not_at_all(
        crashes in proptest::collection::vec(0usize..60, 1..6),
        seed: u64,
    ) {
        let mut site = VolatileSite::new(crashes[0], seed);
        let mut sure = 0;
        let mut expired = Expiries::new();
        for at in 0..crashes.len() {
            // Opening can fail too, at the first writes to a new ledger.
            if let Ok(ledger) = Ledger::open_site(Arc::new(site.clone()), site.is_new(), &tiny()) {
                let found = ledger.verify(&mut |_, _| true).unwrap();
                prop_assert!(found.is_sound(), "{:?}", found.faults);
                prop_assert_eq!(ledger.stats().unwrap().missing_logs, 0, "a crash is no damage");
                let there = applied(&ledger);
                prop_assert!(there >= sure, "{there} batches are left of {sure} that were durable");
                // One that failed may have happened all the same.
                expired.extend((9..=there).step_by(9).filter(|n| cut_after(*n) == ledger.expired_before()));
                prop_assert_eq!(contents(&ledger), contents(&oracle(there, &expired)));
                sure = go_on(&ledger, there, BATCHES, &mut expired);
                prop_assert_eq!(contents(&ledger), contents(&oracle(sure, &expired)));
            }
            site = site.after_crash(crashes.get(at + 1).copied().unwrap_or(usize::MAX));
        }
        let ledger = Ledger::open_site(Arc::new(site.clone()), site.is_new(), &tiny()).unwrap();
        let there = applied(&ledger);
        prop_assert!(there >= sure);
        expired.extend((9..=there).step_by(9).filter(|n| cut_after(*n) == ledger.expired_before()));
        prop_assert_eq!(go_on(&ledger, there, BATCHES, &mut expired), BATCHES);
        ledger.settle().unwrap();
        prop_assert_eq!(contents(&ledger), contents(&oracle(BATCHES, &expired)));
        nothing_is_left_behind(&site, &ledger);
    }

    #[test]
    fn over_writes_that_are_refused_for_a_while_nothing_is_lost_and_nothing_is_there_twice(
        budgets in proptest::collection::vec(0usize..40, 1..10),
        seed: u64,
    ) {
        let site = VolatileSite::new(usize::MAX, seed);
        // Runs are written by one thread or by two.
        let options = if seed.is_multiple_of(2) { tiny() } else { tiny().put_off_merges() };
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
        let mut budgets = budgets.into_iter();
        let mut refill = || site.disk().left = budgets.next().unwrap_or(usize::MAX);
        refill();
        let model = MemoryStore::default();
        for number in 1..=BATCHES {
            while batch(number, &ledger).and_then(|batch| ledger.apply(&batch)).is_err() {
                // Lookups go on, and do not see what was refused.
                prop_assert_eq!(contents(&ledger), contents(&model));
                refill();
            }
            model.apply(&batch(number, &model).unwrap()).unwrap();
            if number % 9 == 0 {
                while ledger.expire(cut_after(number), number).is_err() {
                    prop_assert_eq!(contents(&ledger), contents(&model));
                    refill();
                }
                model.expire(cut_after(number), number).unwrap();
                prop_assert_eq!(contents(&ledger), contents(&model));
            } else if number % 5 == 0 {
                while ledger.rewrite().is_err() {
                    prop_assert_eq!(contents(&ledger), contents(&model));
                    refill();
                }
            }
        }
        settle(&ledger);
        prop_assert!(ledger.failing().is_none());
        prop_assert_eq!(contents(&ledger), contents(&model));
        nothing_is_left_behind(&site, &ledger);
        // And it is on disk.
        drop(ledger);
        let site = site.after_crash(usize::MAX);
        let ledger = Ledger::open_site(Arc::new(site.clone()), false, &tiny()).unwrap();
        prop_assert_eq!(contents(&ledger), contents(&model));
    }
}

proptest! {
    #![proptest_config(cases(15))]

    #[test]
    fn what_is_staged_is_seen_at_once_and_after_a_crash_there_is_what_was_committed(
        crashes in proptest::collection::vec(0usize..60, 1..5),
        every in 1u64..8,
        seed: u64,
    ) {
        let mut site = VolatileSite::new(crashes[0], seed);
        let mut sure = 0;
        for at in 0..=crashes.len() {
            if let Ok(ledger) = Ledger::open_site(Arc::new(site.clone()), site.is_new(), &tiny()) {
                let there = applied(&ledger);
                prop_assert!(there >= sure, "{there} batches are left of {sure} that were durable");
                // A commit that failed may be there all the same after a crash.
                sure = there;
                prop_assert_eq!(ledger.stats().unwrap().missing_logs, 0, "a crash is no damage");
                let model = oracle(there, &Expiries::new());
                prop_assert_eq!(contents(&ledger), contents(&model));
                for number in there + 1..=BATCHES {
                    let Ok(staged) = batch(number, &ledger) else { break };
                    ledger.stage(&staged).unwrap();
                    model.apply(&batch(number, &model).unwrap()).unwrap();
                    prop_assert_eq!(contents(&ledger), contents(&model));
                    if number % every == 0 || number == BATCHES {
                        sure = if ledger.commit().is_ok() { number } else { sure };
                        prop_assert_eq!(contents(&ledger), contents(&model), "whatever came of it");
                        prop_assert_eq!(applied(&ledger), sure, "progress is what was committed");
                    }
                }
            }
            site = site.after_crash(crashes.get(at + 1).copied().unwrap_or(usize::MAX));
        }
        let ledger = Ledger::open_site(Arc::new(site.clone()), site.is_new(), &tiny()).unwrap();
        prop_assert_eq!((applied(&ledger), sure), (BATCHES, BATCHES));
        ledger.settle().unwrap();
        prop_assert_eq!(contents(&ledger), contents(&oracle(BATCHES, &Expiries::new())));
        nothing_is_left_behind(&site, &ledger);
    }

    #[test]
    fn what_could_not_be_committed_is_committed_with_what_came_meanwhile(
        budgets in proptest::collection::vec(0usize..40, 1..10),
        every in 1u64..8,
        seed: u64,
    ) {
        let site = VolatileSite::new(usize::MAX, seed);
        // Runs are written by one thread or by two.
        let options = if seed.is_multiple_of(2) { tiny() } else { tiny().put_off_merges() };
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
        let mut budgets = budgets.into_iter();
        let mut refill = || site.disk().left = budgets.next().unwrap_or(usize::MAX);
        refill();
        let model = MemoryStore::default();
        for number in 1..=BATCHES {
            let staged = loop {
                match batch(number, &ledger) {
                    Ok(staged) => break staged,
                    Err(_) => refill(),
                }
            };
            ledger.stage(&staged).unwrap();
            model.apply(&batch(number, &model).unwrap()).unwrap();
            // One that fails is not tried again before more has come.
            if number % every == 0 && ledger.commit().is_err() {
                prop_assert!(ledger.staged_bytes() > 0);
                refill();
            }
            prop_assert_eq!(contents(&ledger), contents(&model));
            if number % 7 == 0 {
                while ledger.rewrite().is_err() {
                    refill();
                }
                prop_assert_eq!(contents(&ledger), contents(&model));
            }
        }
        while ledger.commit().is_err() {
            refill();
        }
        prop_assert_eq!((applied(&ledger), ledger.staged_bytes()), (BATCHES, 0));
        // There is room again for what is done in the background.
        site.disk().left = usize::MAX;
        settle(&ledger);
        prop_assert_eq!(contents(&ledger), contents(&model));
        nothing_is_left_behind(&site, &ledger);
        drop(ledger);
        let site = site.after_crash(usize::MAX);
        let ledger = Ledger::open_site(Arc::new(site.clone()), false, &tiny()).unwrap();
        prop_assert_eq!(contents(&ledger), contents(&model));
    }
}

/// What has changed since a mark, and the mark after it.
fn changed(store: &dyn WriteStore, mark: Mark) -> (Vec<Entry>, Vec<Question>, Mark) {
    let now = store.now();
    let changed = now.changed_since(mark).unwrap();
    let entries = changed.entries.collect::<Result<_, _>>().unwrap();
    (entries, changed.questions.collect::<Result<_, _>>().unwrap(), changed.mark)
}

#[test]
fn what_has_changed_since_a_mark_is_told_whole_and_nothing_is_left_out() {
    // Without merges and folds it is told exactly.
    for (options, is_exact) in [(Options { bulk_rows: 1, ..tiny() }, true), (tiny(), false)] {
        let options = Options { fan_in: if is_exact { 100 } else { 2 }, ..options };
        let site = VolatileSite::new(usize::MAX, 1);
        let mut ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
        let model = MemoryStore::default();
        let mut marks = vec![(Mark::default(), Mark::default())];
        for number in 1..=BATCHES {
            for store in [&ledger as &dyn WriteStore, &model] {
                let batch = batch(number, store).unwrap();
                if number % 2 == 0 {
                    store.apply(&batch).unwrap();
                } else {
                    store.stage(&batch).unwrap();
                }
                if number % 4 == 3 {
                    store.commit().unwrap();
                }
            }
            if number % 5 == 0 {
                // What is staged only is no change yet.
                for store in [&ledger as &dyn WriteStore, &model] {
                    store.commit().unwrap();
                }
                for (mark, of_model) in &marks {
                    let (entries, questions, _) = changed(&ledger, *mark);
                    let (all, all_questions, _) = changed(&model, *of_model);
                    if is_exact {
                        assert_eq!((&entries, &questions), (&all, &all_questions), "{number} since {mark:?}");
                    }
                    assert!(all.iter().all(|row| entries.contains(row)), "{number} since {mark:?}");
                    assert!(all_questions.iter().all(|question| questions.contains(question)));
                    let there = contents(&ledger);
                    assert!(entries.iter().all(|row| there.0.contains(row)), "each is whole");
                }
                marks.push((changed(&ledger, Mark::default()).2, changed(&model, Mark::default()).2));
            }
            if number == 20 && !is_exact {
                settle(&ledger);
                ledger.rewrite().unwrap();
                drop(ledger);
                ledger = Ledger::open_site(Arc::new(site.clone()), false, &options).unwrap();
            }
        }
        let (_, _, last) = changed(&ledger, Mark::default());
        assert_eq!(changed(&ledger, last), (vec![], vec![], last), "nothing has");
        // A mark of another ledger, which is ahead of this one.
        assert_eq!(changed(&ledger, Mark(last.0 + 1)).0, contents(&ledger).0);
    }
}

#[test]
fn what_expires_while_it_is_staged_is_not_committed() {
    let (site, ledger) = filled_ledger();
    for number in [11, 20] {
        ledger.stage(&batch(number, &ledger).unwrap()).unwrap();
    }
    ledger.expire(1020, 1).unwrap();
    assert_eq!(ledger.commit().unwrap().len(), 1);
    let (rows, _, questions) = contents(&ledger);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.halves.combined().time_last >= 1020));
    assert!(questions.iter().all(|question| question.asked.time_last >= 1020));
    drop(ledger);
    let ledger = Ledger::open_site(Arc::new(site.after_crash(usize::MAX)), false, &tiny()).unwrap();
    assert_eq!((applied(&ledger), contents(&ledger).0), (20, rows));
}

#[test]
fn lines_that_come_one_by_one_are_few_segments_and_a_commit_makes_one_of_them() {
    let site = VolatileSite::new(usize::MAX, 1);
    let options = Options { fold_rows: 10_000, bulk_rows: 10_000, ..tiny() };
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
    let (mut most, model) = (0, MemoryStore::default());
    for number in 1..=600 {
        ledger.stage(&batch(number, &ledger).unwrap()).unwrap();
        model.apply(&batch(number, &model).unwrap()).unwrap();
        most = most.max(ledger.segments().1);
    }
    assert!(most <= 32, "{most} segments");
    let calls = |site: &VolatileSite| site.disk().worlds["ledger-1"].calls.len();
    let before = calls(&site);
    ledger.commit().unwrap();
    assert_eq!(ledger.segments(), (1, 0));
    assert!(calls(&site) - before <= 4, "what takes it back, the commit itself, and what that removes");
    assert_eq!(contents(&ledger), contents(&model));
    // There is nothing more to commit, and nothing is written.
    let before = calls(&site);
    assert!(ledger.commit().unwrap().is_empty() && calls(&site) == before);
}

#[test]
fn a_ledger_is_rewritten_by_itself_once_and_again_only_when_it_has_grown() {
    let site = VolatileSite::new(usize::MAX, 1);
    let options = Options { rewrite_bytes: 1000, ..tiny() };
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
    let mut number = 0;
    // Commits a batch while the places say that they take so much, and gives how many were made by then.
    let mut made_at = |bytes: u64| {
        site.say_bytes(bytes);
        number += 1;
        ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
        ledger.settle().unwrap();
        site.made()
    };
    assert_eq!(made_at(1000), 0, "so little is not worth it");
    let large = 1 << 30;
    assert_eq!(made_at(large), 1);
    // It did not help: the place says the same as before.
    assert_eq!(made_at(large), 1);
    assert_eq!(made_at(large + large / 4), 1);
    assert_eq!(made_at(large + large / 4 + 1), 2);
    assert_eq!(made_at(large + large / 4 + 2), 2);
    let contents_before = contents(&ledger);
    // One for which there is no room is not tried again and again, either, and harms nothing.
    site.disk().free = Some(0);
    site.say_bytes(2 * large);
    ledger.apply(&Batch::default()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while ledger.settle().is_err() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert_eq!(site.disk().made, 3);
    assert_eq!(contents(&ledger), contents_before);
    assert!(ledger.failing().is_none());
}

#[test]
fn who_looks_up_clears_nothing_away() {
    let (site, ledger) = filled_ledger();
    let before = ledger.now();
    let there = contents(&ledger);
    ledger.rewrite().unwrap();
    ledger.settle().unwrap();
    assert!(site.disk().removed_by.is_empty(), "a reader has it still");
    assert_eq!(before.entries(&Scan::All, None).unwrap().count(), there.0.len());
    drop(before);
    let until = Instant::now() + Duration::from_secs(20);
    while site.disk().removed_by.is_empty() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert_eq!(site.disk().removed_by, ["ledger-merge"]);
    assert_eq!(contents(&ledger), there);
    // What nobody holds is gone when the ledger is settled.
    ledger.rewrite().unwrap();
    ledger.settle().unwrap();
    assert_eq!(site.disk().removed_by.len(), 2);
    assert_eq!(site.disk().worlds.len(), 1);
}

#[test]
fn without_room_nothing_is_written_anew_beside_and_what_goes_goes_in_place() {
    let site = VolatileSite::new(usize::MAX, 1);
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, &tiny()).unwrap();
    for number in 1..=BATCHES {
        ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
    }
    ledger.settle().unwrap();
    let before = contents(&ledger);
    site.disk().free = Some(8 << 20);
    let refused = ledger.rewrite().unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("needs about 9 MiB free") && text.contains("there are 8 MiB"), "{text}");
    assert!(refused.hint().is_some() && refused.can_pass());
    assert_eq!((contents(&ledger), ledger.expired_before()), (before.clone(), 0));
    // What goes needs no copy beside: the runs are written anew in the same place.
    ledger.expire(1005, 1).unwrap();
    assert_eq!((site.disk().worlds.len(), ledger.expired_before()), (1, 1005));
    let (rows, _, questions) = contents(&ledger);
    assert!(!rows.is_empty() && rows.len() < before.0.len());
    assert!(rows.iter().all(|row| row.halves.combined().time_last >= 1005));
    assert!(questions.iter().all(|question| question.asked.time_last >= 1005));
    assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
    // Of what goes no copy is made.
    ledger.expire(u64::MAX, 1).unwrap();
    assert!(contents(&ledger).0.is_empty());
    nothing_is_left_behind(&site, &ledger);
}

/// A ledger with several runs, a journal and a hint.
pub(in crate::store) fn filled_ledger() -> (VolatileSite, Ledger) {
    let site = VolatileSite::new(usize::MAX, 1);
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, &tiny()).unwrap();
    // The last one is too small to be folded, and stays in the journal.
    for number in 1..=10 {
        ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
        if number < 10 {
            ledger.settle().unwrap();
        }
    }
    ledger.cache(&[(b"/x".to_vec(), b"hint".to_vec())], &[]).unwrap();
    (site, ledger)
}

/// Such a ledger, closed; what is in it, and where each pair of its runs is.
fn closed_ledger() -> (VolatileSite, Contents, Vec<(u32, Vec<u8>)>) {
    let (site, ledger) = filled_ledger();
    let there = contents(&ledger);
    drop(ledger);
    let (main, runs) = site.maps();
    // One that was merged and not removed yet is nobody's.
    let manifest = Manifest::from_bytes(main.get(engine::MANIFEST).cloned()).unwrap();
    let is_named = |id: &u32| manifest.runs.iter().any(|run| run.id == *id);
    let places = runs
        .iter()
        .filter(|(id, _)| is_named(id))
        .flat_map(|(id, map)| map.keys().map(|key| (*id, key.clone())))
        .collect();
    (site, there, places)
}

/// Makes a ledger of an older format of one whose rows never expired.
fn make_older(site: &VolatileSite, format: u32) {
    let (main, _) = site.maps();
    let mut manifest = Manifest::from_bytes(main.get(engine::MANIFEST).cloned()).unwrap();
    let commits = Commits::from_bytes(main.get(engine::COMMITS).cloned()).unwrap();
    for run in &mut manifest.runs {
        without_domains(site, run);
    }
    let engine = site.current().open().unwrap();
    let expired = (format > 1).then_some(manifest.expired);
    let older = [
        (engine::FORMAT, format.to_be_bytes().to_vec()),
        (engine::MANIFEST, manifest.to_older(expired)),
        (engine::COMMITS, commits.to_older()),
    ];
    engine.write(older.map(|(key, value)| (key.to_vec(), Some(value))).into()).unwrap();
    engine.write(vec![(engine::DOMAINS.to_vec(), None)]).unwrap();
    engine.sync().unwrap();
}

/// Takes the rows of registrable domains from a run: older formats had none.
fn without_domains(site: &VolatileSite, run: &mut RunMeta) {
    let mut disk = site.disk();
    let current = disk.current.clone();
    let map = disk.worlds.get_mut(&current).unwrap().runs.get_mut(&run.id).unwrap();
    let blocks: Vec<_> = map.keys().filter(|key| key[0] == Family::Domains.byte()).cloned().collect();
    let mut parts = BTreeSet::new();
    for key in blocks {
        let sealed = map.remove(&key).unwrap();
        run.bytes -= (key.len() + sealed.len()) as u64;
        let mut rows = block::Reader::new(open_block(run.id, &key, &sealed).unwrap().rows);
        while rows.advance().unwrap() {
            parts.insert(Family::Domains.lookup_part(rows.key()).unwrap().to_vec());
        }
    }
    run.contents.counts.lookup_keys -= parts.len() as u64;
    *run.contents.counts.slot(Family::Domains) = 0;
}

/// What rows and questions tell of registrable domains, and what is told of them.
fn first_sightings(ledger: &Ledger) -> [BTreeMap<(Name, Arc<str>), FirstSeen>; 2] {
    let (snapshot, mut of_rows) = (ledger.now(), BTreeMap::new());
    let mut add = |name: &Name, sensor: Arc<str>, times: FirstSeen| {
        if let Some(domain) = registrable(name) {
            let known = of_rows.entry((domain, sensor));
            known.and_modify(|known: &mut FirstSeen| known.merge(&times)).or_insert(times);
        }
    };
    for row in snapshot.entries(&Scan::All, None).unwrap().map(Result::unwrap) {
        add(&row.tuple.rrname, row.sensor, FirstSeen::of_sightings(&row.halves));
    }
    for question in snapshot.questions(&Scan::All).unwrap().map(Result::unwrap) {
        add(&question.rrname, question.sensor, FirstSeen::of_question(&question.asked));
    }
    let told = snapshot.domains(&Scan::All).unwrap().map(Result::unwrap);
    [of_rows, told.map(|domain| ((domain.domain, domain.sensor), domain.times)).collect()]
}

#[test]
fn first_sightings_of_a_ledger_that_had_none_are_made_of_its_rows_and_so_are_those_of_another_list() {
    for another_list in [false, true] {
        let (site, _, _) = closed_ledger();
        let (main, _) = site.maps();
        let mut manifest = Manifest::from_bytes(main.get(engine::MANIFEST).cloned()).unwrap();
        manifest.runs.iter_mut().for_each(|run| without_domains(&site, run));
        let mut changes = vec![(engine::MANIFEST.to_vec(), Some(manifest.to_bytes().unwrap()))];
        match another_list {
            true => changes.extend(Record::of_list(7).to_changes().unwrap()),
            false => changes.push((engine::DOMAINS.to_vec(), None)),
        }
        let engine = site.current().open().unwrap();
        engine.write(changes).unwrap();
        engine.sync().unwrap();
        drop(engine);
        let site = Arc::new(site);
        let reading = Options { reading: true, ..tiny() };
        let ledger = Ledger::open_site(Arc::clone(&site) as Arc<dyn Site>, false, &reading).unwrap();
        let [of_rows, told] = first_sightings(&ledger);
        assert!(of_rows.len() > 3 && ledger.stats().unwrap().first_sightings.is_some());
        assert_eq!(told, of_rows, "who only asks is told the same");
        drop(ledger);
        for _ in 0..2 {
            let ledger = Ledger::open_site(Arc::clone(&site) as Arc<dyn Site>, false, &tiny()).unwrap();
            ledger.settle().unwrap();
            assert_eq!(ledger.stats().unwrap().first_sightings, None);
            let [of_rows, told] = first_sightings(&ledger);
            assert_eq!(told, of_rows);
            let found = ledger.verify(&mut |_, _| true).unwrap();
            assert!(found.is_sound() && found.domains > 0, "{found:?}");
        }
    }
}

#[test]
fn a_migration_that_is_cut_short_anywhere_goes_on_from_there() {
    for format in 1..FORMAT {
        cut_migration_short(format);
    }
}

fn cut_migration_short(format: u32) {
    let (whole, there, _) = closed_ledger();
    make_older(&whole, format);
    assert!(Ledger::open_site(Arc::new(whole.twin()), false, &tiny()).is_err());
    let mut went_on = 0;
    for calls in 0.. {
        let site = whole.twin();
        let (old, place) = (site.current().open().unwrap(), site.next().unwrap());
        let before = site.maps();
        let migration = Migration::of(&*old, format).unwrap();
        site.disk().left = calls;
        let cut_short = migration.copy_to(&*place.open().unwrap(), &mut |_, _| true).is_err();
        site.disk().left = usize::MAX;
        if cut_short {
            let mut new = place.open().unwrap();
            let left = migration.bytes_left(Some(&*new));
            if migration.is_begun_in(&*new) {
                went_on += usize::from(left < migration.bytes_left(None));
            } else {
                place.remove();
                new = place.open().unwrap();
            }
            let calls_before = site.disk().worlds[place.name()].calls.len();
            let mut told = Vec::new();
            let on_progress = &mut |done, total| {
                told.push(total - done);
                true
            };
            migration.copy_to(&*new, on_progress).unwrap();
            assert!(told.iter().all(|still| *still <= left), "{told:?}, {left}");
            let disk = site.disk();
            let made = &disk.worlds[place.name()].calls[calls_before..];
            let removed = made.iter().filter(|call| matches!(call, Call::Remove(_))).count();
            assert!(removed <= 1, "only what was begun is begun again: {made:?}");
        }
        assert_eq!(site.maps(), before, "the older one is only read");
        site.switch(&*place).unwrap();
        let ledger = Ledger::open_site(Arc::new(site.clone()), false, &tiny()).unwrap();
        let found = ledger.verify(&mut |_, _| true).unwrap();
        assert!(found.is_sound(), "{calls}: {:?}", found.faults);
        assert_eq!(contents(&ledger), there);
        assert_eq!((applied(&ledger), ledger.cached().unwrap().len()), (10, 1));
        let (known, runs) = ledger.known_extents();
        assert!(known == runs && runs > 0, "between which keys {known} of {runs} runs are");
        if !cut_short {
            break;
        }
    }
    assert!(went_on > 3, "{went_on}");
}

#[test]
fn a_migration_of_another_ledger_is_not_gone_on_with() {
    let (site, _, _) = closed_ledger();
    make_older(&site, 1);
    let (old, new) = (site.current().open().unwrap(), site.next().unwrap().open().unwrap());
    let begun = |from| Migration::of(&*old, from).map(|migration| migration.is_begun_in(&*new));
    assert!(!begun(1).unwrap());
    let mut runs = 0;
    let ended = Migration::of(&*old, 1).unwrap().copy_to(&*new, &mut |_, _| {
        // Once before the first, and then before each.
        runs += 1;
        runs < 3
    });
    assert!(matches!(ended, Err(StoreError::Closed)) && begun(1).unwrap());
    let manifest = Manifest { next_run: 77, ..Manifest::default() };
    old.write(vec![(engine::MANIFEST.to_vec(), Some(manifest.to_older(None)))]).unwrap();
    assert!(!begun(1).unwrap(), "the older program went on meanwhile");
    assert!(begun(2).is_err());
}

#[test]
fn whatever_is_lost_of_index_and_filters_is_made_anew_and_what_else_is_lost_is_told() {
    let (whole, there, places) = closed_ledger();
    assert!(places.len() > 10);
    for (run, key) in places {
        for remove in [true, false] {
            let site = whole.twin();
            let change = |map: &mut Map| match remove {
                true => drop(map.remove(&key).unwrap()),
                false => *map.get_mut(&key).unwrap().last_mut().unwrap() ^= 1,
            };
            {
                let mut disk = site.disk();
                let current = disk.current.clone();
                let Some(map) = disk.worlds.get_mut(&current).unwrap().runs.get_mut(&run) else { continue };
                change(map);
            }
            let before = site.maps();
            let what = format!("run {run}, {}, removed {remove}", key.escape_ascii());
            let recovered = Ledger::repair(Arc::new(site.clone()), &tiny(), &mut |_, _| true);
            if [b'd', b'r', b'z'].contains(&key[0]) {
                recovered.unwrap_or_else(|error| panic!("{what}: {error}"));
                let ledger = Ledger::open_site(Arc::new(site.clone()), false, &tiny()).unwrap();
                assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound(), "{what}");
                assert_eq!(contents(&ledger), there, "{what}");
                assert_eq!(ledger.cached().unwrap().len(), 1, "{what}");
                assert_eq!(applied(&ledger), 10, "{what}");
            } else {
                assert!(matches!(recovered, Err(StoreError::Damaged { .. })), "{what}: {recovered:?}");
                assert_eq!(site.maps(), before, "{what}");
            }
        }
    }
}

/// The contents, unless something of them cannot be read.
fn readable_contents(store: &dyn WriteStore) -> Result<Contents, StoreError> {
    let snapshot = store.now();
    let by_address = Scan::Addresses([0, 0, 0, 0].into(), [255, 255, 255, 255].into());
    Ok((
        snapshot.entries(&Scan::All, None)?.collect::<Result<_, _>>()?,
        snapshot.entries(&by_address, None)?.collect::<Result<_, _>>()?,
        snapshot.questions(&Scan::All)?.collect::<Result<_, _>>()?,
    ))
}

/// What became of a ledger whose engine lost something.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It is damaged: it was refused, or what is lost was met.
    Damaged,
    /// It lacks rows, and has them again once they are read again.
    Missing,
    /// Nothing is missing.
    Whole,
}

/// Opens a ledger that had so many batches, of which the engine lost something: that is never silent.
fn told(site: &VolatileSite, batches: u64, what: &str) -> Told {
    let ledger = match Ledger::open_site(Arc::new(site.clone()), false, &tiny()) {
        Ok(ledger) => ledger,
        Err(StoreError::Damaged { .. }) => return Told::Damaged,
        Err(error) => panic!("{what}: {error}"),
    };
    let found = ledger.verify(&mut |_, _| true).unwrap();
    let (there, missing) = (applied(&ledger), ledger.stats().unwrap().missing_logs);
    let Ok(contents_there) = readable_contents(&ledger) else {
        assert!(!found.is_sound(), "{what}: what cannot be read is not sound");
        return Told::Damaged;
    };
    if !found.is_sound() && missing == 0 {
        assert_eq!(
            contents_there,
            contents(&oracle(batches, &Expiries::new())),
            "{what}: {:?}",
            found.faults
        );
        return Told::Damaged;
    }
    let model = |to| contents(&oracle(to, &Expiries::new()));
    assert_eq!(contents_there, model(there), "{what}: rows are those that it says it has read");
    assert_eq!(missing > 0, there < batches, "{what}: {there} of {batches}, {missing} missing");
    assert_eq!(found.is_sound(), missing == 0, "{what}: {:?}", found.faults);
    for number in there + 1..=batches {
        assert_eq!(ledger.stats().unwrap().missing_logs, 1, "{what}");
        ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
    }
    settle(&ledger);
    assert_eq!(contents(&ledger), model(batches), "{what}");
    let found = ledger.verify(&mut |_, _| true).unwrap();
    assert!(found.is_sound() && ledger.stats().unwrap().missing_logs == 0, "{what}: {:?}", found.faults);
    if missing > 0 { Told::Missing } else { Told::Whole }
}

#[test]
fn an_engine_that_lost_its_last_calls_is_told_from_one_that_never_had_them() {
    let (whole, ledger) = filled_ledger();
    drop(ledger);
    let calls = whole.disk().worlds["ledger-1"].calls.len();
    let (mut damaged, mut missing) = (0, 0);
    for kept in 0..calls {
        let site = whole.twin();
        {
            let mut disk = site.disk();
            let mut world = disk.worlds.remove("ledger-1").unwrap();
            world.calls.truncate(kept);
            world.synced = kept;
            let world = world.reopened(&mut |_| 0);
            disk.worlds.insert("ledger-1".to_owned(), world);
        }
        match told(&site, 10, &format!("{kept} of {calls} calls")) {
            Told::Damaged => damaged += 1,
            Told::Missing => missing += 1,
            Told::Whole => {}
        }
    }
    assert!(damaged <= 1 && missing > 10, "{damaged} damaged, {missing} missing");
}

#[test]
fn an_engine_that_lost_calls_in_the_middle_or_parts_of_them_is_never_taken_for_whole() {
    let (whole, ledger) = filled_ledger();
    drop(ledger);
    let calls = whole.disk().worlds["ledger-1"].calls.clone();
    let mut seen = [0; 3];
    let mut lose = |what: &str, edit: &dyn Fn(&mut Vec<Call>)| {
        let site = whole.twin();
        {
            let mut disk = site.disk();
            let mut world = disk.worlds.remove("ledger-1").unwrap();
            edit(&mut world.calls);
            world.synced = world.calls.len();
            let world = world.reopened(&mut |_| 0);
            disk.worlds.insert("ledger-1".to_owned(), world);
        }
        seen[told(&site, 10, what) as usize] += 1;
    };
    for at in 0..calls.len() {
        for more in [1, 2, 5, 12] {
            lose(&format!("{more} calls from {at} on"), &|calls| {
                calls.drain(at..(at + more).min(calls.len()));
            });
        }
        if let Call::Write(changes) = &calls[at] {
            for lost in 0..changes.len() {
                let key = changes[lost].0.escape_ascii();
                lose(&format!("change {lost} of call {at}: {key}"), &|calls| {
                    if let Call::Write(changes) = &mut calls[at] {
                        changes.remove(lost);
                    }
                });
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 5), "damaged, missing, whole: {seen:?}");
}
