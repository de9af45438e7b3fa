//! Crashes at any write: the ledger on an engine that forgets what was not synced.
//!
//! Progress travels with rows, so the ledger itself says after each crash how many batches it has, and must hold exactly
//! those. The engine fails for good at a chosen call; what it then remembers is any prefix of its calls that holds all that
//! were synced, as [`Engine`] promises.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::engine::{Append, Changes, Engine, Pairs};
use super::ledger::Ledger;
use super::memory::MemoryStore;
use super::{Entry, Options, Pair, Question, Scan, Store, StoreError};
use crate::dns::{Name, Rdata, RrType};
use crate::merge::Batch;
use crate::observation::{Asked, Half, Halves, Outcome, Seen, Tuple};
use crate::progress::{LineageId, Progress};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Call {
    Write(Changes),
    Append(u32, Vec<Pair>),
    Remove(u32),
}

#[derive(Debug, Default)]
struct World {
    calls: Vec<Call>,
    synced: usize,
    main: Map,
    runs: BTreeMap<u32, Map>,
    /// Calls that still succeed.
    left: usize,
}

impl World {
    fn spend(&mut self) -> Result<(), StoreError> {
        let out =
            || StoreError::Io { what: "the engine".to_owned(), error: io::Error::other("the power is out") };
        self.left = self.left.checked_sub(1).ok_or_else(out)?;
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<(), StoreError> {
        self.spend()?;
        self.replay(&call);
        self.calls.push(call);
        Ok(())
    }

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
}

/// An engine in memory that can lose its power.
#[derive(Clone)]
struct Volatile(Arc<Mutex<World>>);

impl Volatile {
    fn new(left: usize) -> Volatile {
        Volatile(Arc::new(Mutex::new(World { left, ..World::default() })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there after the power has come back: all that was synced, and of the rest the first part.
    fn after_crash(&self, kept: prop::sample::Index, left: usize) -> Volatile {
        let world = self.world();
        let kept = world.synced + kept.index(world.calls.len() - world.synced + 1);
        let mut next = World { left, synced: kept, ..World::default() };
        for call in &world.calls[..kept] {
            next.replay(call);
            next.calls.push(call.clone());
        }
        Volatile(Arc::new(Mutex::new(next)))
    }
}

fn at_most(map: &Map, key: &[u8]) -> Option<Pair> {
    let range = (Bound::Unbounded, Bound::Included(key));
    map.range::<[u8], _>(range).next_back().map(|(key, value)| (key.clone(), value.clone()))
}

fn above(map: &Map, key: &[u8]) -> Option<Pair> {
    let range = (Bound::Excluded(key), Bound::Unbounded);
    map.range::<[u8], _>(range).next().map(|(key, value)| (key.clone(), value.clone()))
}

impl Pairs for Volatile {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.world().main.get(key).cloned())
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        Ok(at_most(&self.world().main, key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        Ok(above(&self.world().main, key))
    }
}

struct Run(Volatile, u32);

impl Run {
    fn read<T>(&self, read: impl FnOnce(&Map) -> T) -> Result<T, StoreError> {
        Ok(read(self.0.world().runs.get(&self.1).expect("nobody reads a run that was removed")))
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

impl Append for Run {
    fn append(&mut self, pairs: Vec<Pair>) -> Result<(), StoreError> {
        self.0.world().call(Call::Append(self.1, pairs))
    }
}

impl Engine for Volatile {
    fn write(&self, changes: Changes) -> Result<(), StoreError> {
        self.world().call(Call::Write(changes))
    }

    fn begin_run(&self, id: u32) -> Result<Box<dyn Append + '_>, StoreError> {
        assert!(!self.world().runs.contains_key(&id), "a number is given once");
        Ok(Box::new(Run(self.clone(), id)))
    }

    fn run(&self, id: u32) -> Result<Arc<dyn Pairs>, StoreError> {
        Ok(Arc::new(Run(self.clone(), id)))
    }

    fn runs(&self) -> Result<BTreeSet<u32>, StoreError> {
        Ok(self.world().runs.keys().copied().collect())
    }

    fn remove_run(&self, id: u32) -> Result<(), StoreError> {
        self.world().call(Call::Remove(id))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut world = self.world();
        world.spend()?;
        world.synced = world.calls.len();
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

//--- batches --------------------------------------------------------------------------------------------------------

const LINEAGE: LineageId = LineageId([1; 16]);

/// Batch `number`: some rows that others have too, some of its own; every fourth is large.
fn batch(number: u64, store: &dyn Store) -> Result<Batch, StoreError> {
    let sensor = store.sensor(if number.is_multiple_of(3) { "south" } else { "north" })?;
    let mut batch = Batch::numbered(number);
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

fn contents(store: &dyn Store) -> (Vec<Entry>, Vec<Entry>, Vec<Question>) {
    let snapshot = store.snapshot();
    let entries = |scan| snapshot.entries(&scan, None).unwrap().collect::<Result<_, _>>().unwrap();
    let by_address = Scan::Addresses([0, 0, 0, 0].into(), [255, 255, 255, 255].into());
    (
        entries(Scan::All),
        entries(by_address),
        snapshot.questions(&Scan::All).unwrap().map(Result::unwrap).collect(),
    )
}

/// The contents after the first so many batches.
fn oracle(batches: u64) -> MemoryStore {
    let oracle = MemoryStore::default();
    for number in 1..=batches {
        oracle.apply(&batch(number, &oracle).unwrap()).unwrap();
    }
    oracle
}

fn tiny() -> Options {
    Options { memory: 1 << 20, fold_rows: 10, bulk_rows: 60, fan_in: 2 }
}

/// Applies batches from where the ledger says it is, until one fails; how many there are then at least.
fn go_on(ledger: &Ledger, from: u64, to: u64) -> u64 {
    for number in from + 1..=to {
        if batch(number, ledger).and_then(|batch| ledger.apply(&batch)).is_err() {
            return number - 1;
        }
    }
    to
}

fn applied(store: &dyn Store) -> u64 {
    store.lineage(&LINEAGE).unwrap().map_or(0, |progress| progress.consumed.offset)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn after_any_crash_there_is_each_batch_whole_or_not_at_all(
        crashes in proptest::collection::vec((0usize..60, any::<prop::sample::Index>()), 1..6),
    ) {
        const BATCHES: u64 = 40;
        let mut engine = Volatile::new(crashes[0].0);
        let mut sure = 0;
        for (at, (_, kept)) in crashes.iter().enumerate() {
            // Opening can fail too, at the first writes to a new ledger.
            let is_new = engine.world().main.is_empty();
            if let Ok(ledger) = Ledger::open(Arc::new(engine.clone()), is_new, &tiny()) {
                let there = applied(&ledger);
                prop_assert!(there >= sure, "{there} batches are left of {sure} that were durable");
                prop_assert_eq!(contents(&ledger), contents(&oracle(there)));
                sure = go_on(&ledger, there, BATCHES);
                prop_assert_eq!(contents(&ledger), contents(&oracle(sure)));
            }
            engine = engine.after_crash(*kept, crashes.get(at + 1).map_or(usize::MAX, |(left, _)| *left));
        }
        let is_new = engine.world().main.is_empty();
        let ledger = Ledger::open(Arc::new(engine.clone()), is_new, &tiny()).unwrap();
        let there = applied(&ledger);
        prop_assert!(there >= sure);
        prop_assert_eq!(go_on(&ledger, there, BATCHES), BATCHES);
        ledger.settle().unwrap();
        prop_assert_eq!(contents(&ledger), contents(&oracle(BATCHES)));
        // Nothing is left behind: what is not in the manifest is not on disk, once the last reader has let go.
        let until = Instant::now() + Duration::from_secs(10);
        while engine.runs().unwrap().len() as u64 != ledger.stats().unwrap().runs {
            prop_assert!(Instant::now() < until, "runs are left behind");
            std::thread::yield_now();
        }
    }
}
