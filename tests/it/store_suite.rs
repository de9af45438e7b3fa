use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dnsledger::dns::{Name, Rdata, RrType, registrable};
use dnsledger::fleet::cluster::{Cluster, PAGE_ROWS};
use dnsledger::fleet::forward::{Forwarder, Options as ForwardOptions};
use dnsledger::fleet::source::ChangeSource;
use dnsledger::fleet::store::FleetStore;
use dnsledger::fleet::{Address, tables};
use dnsledger::lookup::{
    Brands, End, Filters, Limits, NewCursor, NewSearch, Query, Search, Slice, Types, Walk, What, find_new,
};
use dnsledger::observation::{Asked, FirstSeen, Half, Halves, Outcome, Seen, SensorId, Tuple};
use dnsledger::progress::{LineageId, Progress};
use dnsledger::store::batch::Batch;
use dnsledger::store::memory::MemoryStore;
use dnsledger::store::sled::{self, SledStore};
use dnsledger::store::{
    Condition, DomainSeen, Entry, FORMAT, Options, Position, Question, ReadStore, Scan, Side, StoreError,
    WriteStore,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::env::{TestEnv, copy_folder, setting, testdata, unpack_store, until};
use crate::fleet::Engine;

//--- what is stored -------------------------------------------------------------------------------------------------

const NAMES: [&str; 10] = [
    ".",
    "com",
    "example.com",
    "www.example.com",
    "a.www.example.com",
    "notexample.com",
    "example.community",
    "example.net",
    r"odd\001\000.example.net",
    r"dot\.ted.example.net",
];
const SENSORS: [&str; 4] = ["north", "east", "south", "west"];
const ADDRESSES: [&str; 8] = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.3.0",
    "255.255.255.255",
    "::",
    "::ffff:192.0.2.1",
    "2001:db8::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

fn name(at: usize) -> Name {
    let parsed = NAMES.iter().filter_map(|text| Name::parse(text).ok());
    parsed.cycle().nth(at).unwrap()
}

fn rdata(at: usize) -> Rdata {
    match at % 4 {
        0 | 1 => match ADDRESSES[at / 2 % ADDRESSES.len()].parse().unwrap() {
            IpAddr::V4(address) => Rdata::V4(address),
            IpAddr::V6(address) => Rdata::V6(address),
        },
        2 => Rdata::Name(name(at / 4)),
        _ => Rdata::text(&[at as u8, 0, b'"']),
    }
}

/// One sighting or question, as small numbers.
#[derive(Debug, Clone)]
struct Fact {
    rrname: usize,
    rrtype: u16,
    rdata: usize,
    sensor: usize,
    time: u64,
    ttl: u32,
    kind: usize,
}

fn fact() -> impl Strategy<Value = Fact> {
    (0usize..10, 1u16..4, 0usize..32, 0usize..4, 0u64..10_000_000, 0u32..5, 0usize..12).prop_map(
        |(rrname, rrtype, rdata, sensor, time, ttl, kind)| Fact {
            rrname,
            rrtype,
            rdata,
            sensor,
            time,
            ttl,
            kind,
        },
    )
}

fn add(fact: &Fact, store: &dyn WriteStore, batch: &mut Batch) {
    let sensor = store.sensor(SENSORS[fact.sensor]).unwrap();
    let (rrname, rrtype) = (name(fact.rrname), RrType(fact.rrtype));
    let mut key = Vec::new();
    if let Some(outcome) = Outcome::ALL.get(fact.kind) {
        key.extend_from_slice(rrname.key());
        key.extend_from_slice(&rrtype.0.to_be_bytes());
        key.extend_from_slice(&sensor.0.to_be_bytes());
        batch.add_asked(&key, &Asked::once(fact.time, *outcome));
    }
    let half = if fact.kind.is_multiple_of(3) { Half::Alias } else { Half::Direct };
    let seen = Seen::once(fact.time, fact.ttl);
    add_row(batch, &Tuple { rrname, rrtype, rdata: rdata(fact.rdata) }, sensor, &Halves::once(half, seen));
}

fn add_row(batch: &mut Batch, tuple: &Tuple, sensor: SensorId, halves: &Halves) {
    let mut key = Vec::new();
    tuple.push_key(&mut key);
    key.extend_from_slice(&sensor.0.to_be_bytes());
    batch.add_halves(&key, halves);
}

fn progress(lineage: u8, offset: u64) -> Progress {
    let mut progress = Progress::start(LineageId([lineage; 16]), "north");
    progress.consumed.offset = offset;
    progress
}

//--- stores ---------------------------------------------------------------------------------------------------------

/// Bounds so small that a handful of rows passes through journal, segments, folds, and merges of several levels.
fn tiny() -> Options {
    Options { memory: 1 << 20, fold_rows: 12, bulk_rows: 30, fan_in: 2, ..Options::default() }
}

fn open(path: &Path) -> SledStore {
    unlocked(path).unwrap()
}

/// Opens a ledger that this process has let go. A program that another test starts just then holds a copy of each open file,
/// locks too, until it is itself.
fn unlocked(path: &Path) -> Result<SledStore, StoreError> {
    until("nobody holds the lock", || match SledStore::open(path, &tiny()) {
        Err(StoreError::Locked { .. }) => None,
        opened => Some(opened),
    })
}

/// Runs a test of the contract on each implementation.
fn on_each_store(test: impl Fn(&dyn WriteStore)) {
    test(&MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    test(&open(dir.path()));
}

fn scans() -> Vec<Scan> {
    let address = |at: usize| -> IpAddr { ADDRESSES[at].parse().unwrap() };
    let mut scans = vec![
        Scan::All,
        Scan::Addresses(address(0), address(1)),
        Scan::Addresses(address(0), address(3)),
        Scan::Addresses(address(4), address(7)),
        Scan::Addresses(address(1), address(0)),
        Scan::Addresses(address(0), address(7)),
    ];
    for at in 0..NAMES.len() {
        scans.push(Scan::Name(name(at)));
        scans.push(Scan::Subtree(name(at)));
        scans.push(Scan::Target(name(at)));
        scans.push(Scan::TargetSubtree(name(at)));
    }
    scans.extend(ADDRESSES.iter().map(|text| text.parse().unwrap()).map(|a| Scan::Addresses(a, a)));
    scans
}

fn entries(store: &dyn WriteStore, scan: &Scan, after: Option<&Position>) -> Vec<Entry> {
    store.now().entries(scan, after).unwrap().collect::<Result<_, _>>().unwrap()
}

fn questions(store: &dyn WriteStore, scan: &Scan) -> Vec<Question> {
    store.now().questions(scan).unwrap().collect::<Result<_, _>>().unwrap()
}

fn domains(store: &dyn WriteStore, scan: &Scan) -> Vec<DomainSeen> {
    store.now().domains(scan).unwrap().collect::<Result<_, _>>().unwrap()
}

/// What rows and questions tell of registrable domains.
fn domains_of_rows(store: &dyn WriteStore) -> Vec<DomainSeen> {
    let mut all: BTreeMap<(Name, Arc<str>), FirstSeen> = BTreeMap::new();
    let mut add = |name: &Name, sensor: Arc<str>, times: FirstSeen| {
        if let Some(domain) = registrable(name) {
            all.entry((domain, sensor)).and_modify(|known| known.merge(&times)).or_insert(times);
        }
    };
    for entry in entries(store, &Scan::All, None) {
        add(&entry.tuple.rrname, entry.sensor, FirstSeen::of_sightings(&entry.halves));
    }
    for question in questions(store, &Scan::All) {
        add(&question.rrname, question.sensor, FirstSeen::of_question(&question.asked));
    }
    all.into_iter().map(|((domain, sensor), times)| DomainSeen { domain, sensor, times }).collect()
}

/// Everything in a store, as it is handed out.
fn contents(store: &dyn WriteStore) -> (Vec<Entry>, Vec<Question>) {
    (entries(store, &Scan::All, None), questions(store, &Scan::All))
}

fn assert_agree(store: &dyn WriteStore, oracle: &dyn WriteStore) {
    assert_reads_agree(store, oracle);
    let lineages = |store: &dyn WriteStore| {
        let mut all = store.lineages().unwrap();
        all.sort_by_key(|progress| progress.lineage);
        all
    };
    assert_eq!(lineages(store), lineages(oracle));
    for progress in lineages(oracle) {
        assert_eq!(store.lineage(&progress.lineage).unwrap(), Some(progress));
    }
    assert_eq!(store.cached().unwrap(), oracle.cached().unwrap());
}

/// What is read agrees, by every scan from every position.
fn assert_reads_agree(store: &dyn WriteStore, oracle: &dyn WriteStore) {
    assert_eq!(contents(store), contents(oracle));
    for scan in scans() {
        let all = entries(oracle, &scan, None);
        assert_eq!(entries(store, &scan, None), all, "{scan:?}");
        assert_eq!(questions(store, &scan), questions(oracle, &scan), "{scan:?}");
        assert_eq!(domains(store, &scan), domains(oracle, &scan), "{scan:?}");
        for (at, entry) in all.iter().enumerate().step_by(3) {
            assert_eq!(entries(store, &scan, Some(&entry.position())), all[at + 1..], "{scan:?} after {at}");
        }
    }
    // Some domains together are what each of them is.
    let wanted: BTreeSet<Name> = (0..NAMES.len()).step_by(2).map(name).collect();
    let of_wanted =
        |seen: DomainSeen| wanted.contains(&seen.domain).then_some(((seen.domain, seen.sensor), seen.times));
    let together = store.now();
    let together = together.domains_of_each(wanted.clone()).unwrap().map(Result::unwrap);
    let alone = domains(oracle, &Scan::All).into_iter().filter_map(of_wanted).collect::<BTreeMap<_, _>>();
    assert_eq!(together.filter_map(of_wanted).collect::<BTreeMap<_, _>>(), alone);
    // Positions that are no row: between, before and after what a scan finds.
    for at in 0..8 {
        let tuple = Tuple { rrname: name(at), rrtype: RrType(2), rdata: rdata(5 * at) };
        let position = Position { tuple, sensor: "m".into() };
        for scan in scans() {
            let wanted = entries(oracle, &scan, Some(&position));
            assert_eq!(entries(store, &scan, Some(&position)), wanted, "{scan:?} after {position:?}");
        }
    }
}

//--- the oracle -----------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Action {
    Apply { facts: Vec<Fact>, lineage: u8, offset: u64 },
    Hint(u8, bool),
    Expire(u64),
    Forget(bool, u8),
    Rewrite,
    Reopen,
    Settle,
}

fn action() -> impl Strategy<Value = Action> {
    let apply = |facts| {
        (proptest::collection::vec(fact(), facts), 0u8..4, 0u64..1000)
            .prop_map(|(facts, lineage, offset)| Action::Apply { facts, lineage, offset })
    };
    prop_oneof![
        6 => apply(0..12),
        2 => apply(30..60),
        1 => (0u8..4, any::<bool>()).prop_map(|(path, keep)| Action::Hint(path, keep)),
        1 => (0u64..10_000_000).prop_map(Action::Expire),
        1 => (any::<bool>(), 0u8..4).prop_map(|(north, lineage)| Action::Forget(north, lineage)),
        1 => Just(Action::Rewrite),
        1 => Just(Action::Reopen),
        1 => Just(Action::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_agrees_with_the_oracle(actions in proptest::collection::vec(action(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let oracle = MemoryStore::default();
        let mut store = Some(open(dir.path()));
        let mut number = 0;
        for action in actions {
            let open_store = store.as_ref().unwrap();
            match action {
                Action::Apply { facts, lineage, offset } => {
                    number += 1;
                    for store in [open_store as &dyn WriteStore, &oracle] {
                        let mut batch = Batch::default();
                        facts.iter().for_each(|fact| add(fact, store, &mut batch));
                        batch.advance(progress(lineage, offset));
                        store.apply(&batch).unwrap();
                    }
                }
                Action::Hint(path, keep) => {
                    let (key, value) = (vec![b'/', path], vec![number as u8]);
                    let (puts, drops) = if keep { (vec![(key, value)], vec![]) } else { (vec![], vec![key]) };
                    open_store.cache(&puts, &drops).unwrap();
                    oracle.cache(&puts, &drops).unwrap();
                }
                Action::Expire(before) => {
                    let dropped = open_store.expire(before, number).unwrap();
                    prop_assert_eq!(dropped, oracle.expire(before, number).unwrap());
                    prop_assert_eq!(open_store.expired_before(), oracle.expired_before());
                }
                Action::Forget(north, lineage) => {
                    for store in [open_store as &dyn WriteStore, &oracle] {
                        let sensor = store.sensor(if north { "north" } else { "south" }).unwrap();
                        store.forget(sensor, &LineageId([lineage; 16])).unwrap();
                    }
                }
                Action::Rewrite => open_store.rewrite().unwrap(),
                Action::Reopen => {
                    drop(store.take());
                    store = Some(open(dir.path()));
                }
                Action::Settle => open_store.settle().unwrap(),
            }
            prop_assert_eq!(contents(store.as_ref().unwrap()), contents(&oracle));
            prop_assert_eq!(domains(store.as_ref().unwrap(), &Scan::All), domains(&oracle, &Scan::All));
        }
        assert_agree(store.as_ref().unwrap(), &oracle);
        store.as_ref().unwrap().settle().unwrap();
        assert_agree(store.as_ref().unwrap(), &oracle);
    }

    #[test]
    fn any_order_and_any_batches_give_the_same_contents(
        facts in proptest::collection::vec(fact(), 1..120).prop_shuffle(),
        cuts in proptest::collection::vec(1usize..70, 1..12),
    ) {
        let fill = |store: &dyn WriteStore, facts: &mut dyn Iterator<Item = &Fact>, sizes: &mut dyn Iterator<Item = usize>| {
            loop {
                let mut batch = Batch::default();
                facts.take(sizes.next().unwrap()).for_each(|fact| add(fact, store, &mut batch));
                if batch.is_empty() {
                    return;
                }
                store.apply(&batch).unwrap();
            }
        };
        let oracle = MemoryStore::default();
        fill(&oracle, &mut facts.iter(), &mut std::iter::repeat(1000));
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (open(&dir.path().join("a")), open(&dir.path().join("b")));
        fill(&a, &mut facts.iter(), &mut cuts.iter().copied().cycle());
        fill(&b, &mut facts.iter().rev(), &mut cuts.iter().rev().copied().cycle());
        prop_assert_eq!(contents(&a), contents(&oracle));
        b.settle().unwrap();
        prop_assert_eq!(contents(&b), contents(&oracle));
        for store in [&a, &b] {
            prop_assert_eq!(domains(store, &Scan::All), domains_of_rows(&oracle));
        }
    }
}

//--- a cluster ------------------------------------------------------------------------------------------------------

/// Ships what is in a ledger.
fn ship(ledger: &Arc<SledStore>, address: &Address) {
    // So that what the cluster has is gone through in many parts.
    let cluster = Cluster::new(address).unwrap().with_pages([3, 6]);
    let options = ForwardOptions { quorum: 0, compare_every: Duration::ZERO };
    let source = ChangeSource::Ledger(Arc::clone(ledger) as Arc<dyn ReadStore>);
    let mut forwarder = Forwarder::new(cluster, source, "a cluster", options);
    forwarder.pass().unwrap();
    forwarder.pass().unwrap();
    assert_eq!(forwarder.told().differing, 0, "it is equal after the first time");
}

#[test]
fn a_cluster_that_a_ledger_feeds_is_read_as_the_oracle_is() {
    let env = TestEnv::new();
    let (Some(first), Some(second)) = (Engine::start(&env, "first"), Engine::start(&env, "second")) else {
        return;
    };
    assert_cluster_agrees(&format!("{};{}", first.host(), second.host()), 0);
}

#[test]
fn the_newest_engine_that_a_ledger_feeds_is_read_as_the_oracle_is() {
    let env = TestEnv::new();
    let Some(engine) = Engine::newest(&env, "engine") else { return };
    assert_cluster_agrees(&engine.host(), 1);
}

/// A table that is gone through in parts has the key at which one ends and the next one begins in one of them.
#[test]
fn what_a_cluster_sums_up_in_parts_counts_each_key_once() {
    let env = TestEnv::new();
    let Some(engine) = Engine::start(&env, "engine") else { return };
    let address = Address::parse(&format!("clickhouse://{}/parts", engine.host())).unwrap();
    tables::init(&Cluster::new(&address).unwrap(), tables::Form::Plain).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (oracle, ledger) = (MemoryStore::default(), Arc::new(open(dir.path())));
    for store in [&*ledger as &dyn WriteStore, &oracle] {
        let sensor = store.sensor("north").unwrap();
        let mut batch = Batch::default();
        for at in 0u32..1000 {
            let rrname = Name::parse(&format!("n{at}.d{}.example", at % 90)).unwrap();
            let asked = [rrname.key(), &RrType::A.0.to_be_bytes(), &sensor.0.to_be_bytes()].concat();
            batch.add_asked(&asked, &Asked::once(5000, Outcome::ALL[0]));
            let tuple = Tuple { rrname, rrtype: RrType::A, rdata: Rdata::V4((at << 8).into()) };
            add_row(&mut batch, &tuple, sensor, &Halves::once(Half::Direct, Seen::once(5000, 60)));
        }
        store.apply(&batch).unwrap();
    }
    // The second comparison finds all of it equal.
    ship(&ledger, &address);
    let store = FleetStore::open(Cluster::new(&address).unwrap().with_pages([3, 6])).unwrap();
    for what in [What::Domain, What::Name, What::Rdata] {
        let search = NewSearch { what, since: 1000, limit: 2000, ..NewSearch::default() };
        let new = |store: &dyn WriteStore| {
            let found = find_new(&*store.now(), &search, &Brands::default(), &mut || false);
            found.unwrap()
        };
        assert_eq!(new(&store), new(&oracle), "{what:?}");
    }
    // Who looked ahead and goes back is handed out what was read then.
    let (now, condition) = (store.now(), Condition::Shows(Side::Rrname, b"n9".to_vec()));
    let rows = |after: Option<&Position>, most: usize| {
        let rows = now.entries_where(&Scan::All, after, &condition).unwrap();
        let rows = rows.map(Result::unwrap).filter(|row| !row.is_mark());
        rows.take(most).map(|row| Position { tuple: row.tuple, sensor: row.sensor }).collect::<Vec<_>>()
    };
    let statements = || {
        let told = engine.ask("SELECT value FROM system.events WHERE event = 'SelectQuery'").unwrap();
        told.trim_end().rsplit('\n').next().unwrap().parse::<u64>().unwrap()
    };
    let last = rows(None, 5).pop();
    let ahead = rows(last.as_ref(), usize::MAX);
    let before = statements();
    assert!(ahead.len() > 90 && rows(last.as_ref(), usize::MAX) == ahead, "{}", ahead.len());
    let asked = statements() - before;
    assert!(asked < 10, "{asked} statements for what was read already");
}

/// Ledgers are fed into a cluster, and what is read of it agrees with the oracle. Two engines share the cases: each takes every second one.
fn assert_cluster_agrees(hosts: &str, first_case: u64) {
    let mut runner = TestRunner::deterministic();
    for case in (first_case..setting("DNSLEDGER_CLUSTER_CASES", 2)).step_by(2) {
        let address = format!("clickhouse://{hosts}/case_{case}");
        let address = Address::parse(&address).unwrap();
        tables::init(&Cluster::new(&address).unwrap(), tables::Form::Plain).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (oracle, ledger) = (MemoryStore::default(), Arc::new(open(dir.path())));
        // Many facts in few batches; shipped in between, in one step with what another sensor has left.
        for batches in 1..4 {
            let facts = proptest::collection::vec(fact(), 1..60).new_tree(&mut runner).unwrap().current();
            for facts in facts.chunks(facts.len() / batches + 1) {
                for store in [&*ledger as &dyn WriteStore, &oracle] {
                    let mut batch = Batch::default();
                    facts.iter().for_each(|fact| add(fact, store, &mut batch));
                    store.apply(&batch).unwrap();
                }
            }
            if batches == 3 {
                for store in [&*ledger as &dyn WriteStore, &oracle] {
                    let sensor = store.sensor("north").unwrap();
                    store.forget(sensor, &LineageId([9; 16])).unwrap();
                }
            }
            ship(&ledger, &address);
        }
        let store = FleetStore::open(Cluster::new(&address).unwrap()).unwrap();
        assert_reads_agree(&store, &oracle);
        // Pages so small that each scan has several, and some of them nothing.
        let pages = if (case + case / 2) % 2 == 0 { [6, 12] } else { PAGE_ROWS };
        let store = FleetStore::open(Cluster::new(&address).unwrap().with_pages(pages)).unwrap();
        assert_eq!(contents(&store), contents(&oracle));
        assert_lookups_agree(&store, &oracle);
        // What a ledger drops by age stays.
        let dropped = ledger.expire(6_000_000, 7_000_000).unwrap();
        assert!(dropped.rows > 0 && dropped.questions > 0, "{dropped:?}");
        ship(&ledger, &address);
        assert_eq!(contents(&store), contents(&oracle));
    }
    assert_domains_agree(hosts);
}

/// Domains below public suffixes of every kind, some of which lie in a domain, are summed up as the oracle has them.
fn assert_domains_agree(hosts: &str) {
    let address = Address::parse(&format!("clickhouse://{hosts}/suffixes")).unwrap();
    tables::init(&Cluster::new(&address).unwrap(), tables::Form::Plain).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (oracle, ledger) = (MemoryStore::default(), Arc::new(open(dir.path())));
    let suffixes = "com co.uk uk ck a.ck kobe.jp city.kobe.jp x.kobe.jp jp github.io io amazonaws.com s3.amazonaws.com \
                    compute.amazonaws.com eu-west-1.compute.amazonaws.com.cn corp . \\001x.com a\\.b.co.uk";
    for store in [&*ledger as &dyn WriteStore, &oracle] {
        let mut batch = Batch::default();
        for (at, suffix) in (0u64..).zip(suffixes.split_whitespace()) {
            for (more, front) in (0u64..).zip(["", "a.", "www.a.", "b.", "x.y.b.", "c."]) {
                let time = 1000 * (1 + (at * 7 + more * 5) % 11);
                let rrname = Name::parse(&format!("{front}{}", suffix.trim_start_matches('.'))).unwrap();
                if more % 3 != 2 {
                    let tuple =
                        Tuple { rrname: rrname.clone(), rrtype: RrType::A, rdata: rdata(more as usize) };
                    let sensor = store.sensor(SENSORS[(at + more) as usize % 2]).unwrap();
                    add_row(&mut batch, &tuple, sensor, &Halves::once(Half::Direct, Seen::once(time, 60)));
                }
                if more % 2 == 0 {
                    ask(store, &mut batch, &rrname.to_string(), time + 500);
                }
            }
        }
        store.apply(&batch).unwrap();
    }
    ship(&ledger, &address);
    for pages in [PAGE_ROWS, [6, 12]] {
        let store = FleetStore::open(Cluster::new(&address).unwrap().with_pages(pages)).unwrap();
        assert_eq!(domains(&store, &Scan::All), domains(&oracle, &Scan::All), "{pages:?}");
        for name in
            ["com", "co.uk", "amazonaws.com", "s3.amazonaws.com", "a.s3.amazonaws.com", "jp", "kobe.jp"]
        {
            let scan = Scan::Subtree(Name::parse(name).unwrap());
            assert_eq!(domains(&store, &scan), domains(&oracle, &scan), "{name} {pages:?}");
        }
        for since in [1000, 4000, 9000] {
            let search = NewSearch { since, limit: 1000, ..NewSearch::default() };
            let new = |store: &dyn WriteStore| {
                find_new(&*store.now(), &search, &Brands::default(), &mut || false).unwrap()
            };
            assert_eq!(new(&store), new(&oracle), "{since} {pages:?}");
        }
    }
}

/// The answer to a search, walked in small steps, each from where the one before it ended.
fn answer(store: &dyn WriteStore, search: &Search) -> Vec<String> {
    let (ledger, mut rows, mut from) = (store.now(), Vec::new(), None);
    let limits = Limits { rows: 3, examined: u64::MAX };
    loop {
        let mut walk = Walk::start(&ledger, search, limits, from).unwrap();
        while walk.end().is_none() {
            walk.advance(Slice { examined: 2 }, |found| {
                let Entry { tuple, sensor, .. } = found.entry;
                rows.push(format!("{tuple:?} {sensor} {:?}", found.seen));
                true
            })
            .unwrap();
        }
        match walk.end() {
            Some(End::Limit(next)) => from = Some(next.to_string().parse().unwrap()),
            _ => return rows,
        }
    }
}

/// What is looked for by text, type, sensor and time is found as it is in the oracle, whatever the engine is told of it.
fn assert_lookups_agree(store: &dyn WriteStore, oracle: &dyn WriteStore) {
    let queries = [
        "*",
        "~exam",
        "~example.com",
        "~m.",
        "~.",
        "~1",
        "~001",
        "~\\.ted",
        "~192.0",
        "~192.0.2.1",
        "~a.www.example",
        "~www.example.com.",
        "~db8",
        "~ffff:ffff",
        "~0.2.",
        "~255",
        "~2001:db8",
        "~ffff",
        "~::",
        "~\"",
        "/^(www|ns)[0-9]?\\./",
        "/[a-z]+le\\.net$/",
        "/(?-i)EXAMPLE/",
        "/^.$/",
        "/^[a-z]{3}$/",
        "/[a-z]{8}/",
        "/^[a-z]+\\.[a-z]{3}$/",
        "/[0-9]{3}/",
        "/^[0-9]+\\.[0-9]/",
        "/[0-9a-f]:[0-9a-f]/",
        "/\\.[^a-z]*[a-c]/",
        "/^(a|[0-9])\\.?[^.]{3}/",
        "/^.{16,}$/",
        "rdata:/^.{17,}$/",
        "~01x",
        "~2.1",
        "192.0.2.1",
        "a.www.example|192.0.2.1|www.example.com|2001:db8::1",
        "rdata:/^[a-z0-9]{4,}$/",
        "w*.example.com",
        "rdata:*example*",
        "rdata:/x/",
        "www.example.*",
        "*.example.com",
        "192.0.2.0/24",
        "rdata:*.example.com",
    ];
    let set: [fn(&mut Filters); 9] = [
        |_| {},
        |filters| filters.types = Types::Of(vec![RrType::A, RrType(2)]),
        |filters| filters.types = Types::Any,
        |filters| filters.sensor = Some("east".to_owned()),
        |filters| (filters.first_after, filters.direct) = (Some(4_000_000), true),
        |filters| filters.first_before = Some(4_000_000),
        |filters| {
            (filters.last_after, filters.sensor) = (Some(5_000_000), Some("north".to_owned()));
        },
        |filters| filters.last_before = Some(5_000_000),
        |filters| filters.during = Some((3_000_000, 4_000_000)),
    ];
    let is_long = setting("DNSLEDGER_CLUSTER_CASES", 0) > 0;
    for (at, query) in queries.iter().enumerate() {
        for (number, set) in set.iter().enumerate() {
            for merge_sensors in [false, true] {
                let is_simple = at < 2 || number == 0;
                if !is_long && (!is_simple || merge_sensors != (at + number).is_multiple_of(2)) {
                    continue;
                }
                let mut search = Search::new(Query::parse(query).unwrap());
                search.merge_sensors = merge_sensors;
                search.all_forms = (at + number).is_multiple_of(3);
                set(&mut search.filters);
                assert_eq!(answer(store, &search), answer(oracle, &search), "{search:?}");
            }
        }
    }
    for what in [What::Domain, What::Name, What::Rdata] {
        for since in [3_000_000, 8_000_000] {
            for (sensor, under) in [(None, None), (Some("north"), Some("net"))] {
                let mut search = NewSearch {
                    what,
                    since,
                    sensor: sensor.map(str::to_owned),
                    under: under.map(|name| Name::parse(name).unwrap()).into_iter().collect(),
                    limit: 100,
                    ..NewSearch::default()
                };
                // All at once, and the newest few, and the next.
                for limit in [100, 4, 5] {
                    search.limit = limit;
                    let new = |store: &dyn WriteStore| {
                        find_new(&*store.now(), &search, &Brands::default(), &mut || false).unwrap()
                    };
                    let found = new(store).unwrap();
                    assert_eq!(Some(&found), new(oracle).as_ref(), "{search:?}");
                    search.after = found.next.map(|place| NewCursor::parse(&place).unwrap());
                }
            }
        }
    }
}

//--- the contract ---------------------------------------------------------------------------------------------------

#[test]
fn nothing_is_in_a_new_store() {
    on_each_store(|store| {
        assert_agree(store, &MemoryStore::default());
        assert_eq!(store.stats().unwrap().rows, 0);
        assert_eq!(store.lineage(&LineageId([1; 16])).unwrap(), None);
    });
}

#[test]
fn sensors_have_one_number_each_and_come_out_by_name() {
    on_each_store(|store| {
        let numbers: Vec<_> = SENSORS.iter().map(|sensor| store.sensor(sensor).unwrap()).collect();
        assert_eq!(SENSORS.map(|sensor| store.sensor(sensor).unwrap()).as_slice(), numbers);
        assert_eq!(store.sensor_name(numbers[2]).as_deref(), Some("south"));
        assert_eq!(store.sensor_name(SensorId(99)), None);
        let mut batch = Batch::default();
        let tuple = Tuple { rrname: name(2), rrtype: RrType::A, rdata: rdata(0) };
        for sensor in numbers {
            add_row(&mut batch, &tuple, sensor, &Halves::once(Half::Direct, Seen::once(1, 1)));
        }
        store.apply(&batch).unwrap();
        for scan in
            [Scan::All, Scan::Name(name(2)), Scan::Addresses([192, 0, 2, 1].into(), [192, 0, 2, 1].into())]
        {
            let found = entries(store, &scan, None);
            assert_eq!(
                found.iter().map(|e| &*e.sensor).collect::<Vec<_>>(),
                ["east", "north", "south", "west"]
            );
            assert_eq!(entries(store, &scan, Some(&found[1].position())), found[2..]);
        }
    });
}

#[test]
fn a_snapshot_is_one_moment() {
    on_each_store(|store| {
        let facts = |from: usize| {
            (from..from + 20).map(|i| Fact {
                rrname: i % 10,
                rrtype: 1,
                rdata: i,
                sensor: 0,
                time: i as u64,
                ttl: 1,
                kind: 0,
            })
        };
        let mut snapshots = Vec::new();
        let mut seen = Vec::new();
        for number in 1..10 {
            let mut batch = Batch::default();
            facts(number as usize).for_each(|fact| add(&fact, store, &mut batch));
            store.apply(&batch).unwrap();
            snapshots.push(store.now());
            seen.push(contents(store));
        }
        for (snapshot, seen) in snapshots.iter().zip(seen) {
            let rows: Vec<_> = snapshot.entries(&Scan::All, None).unwrap().map(Result::unwrap).collect();
            let asked: Vec<_> = snapshot.questions(&Scan::All).unwrap().map(Result::unwrap).collect();
            assert_eq!((rows, asked), seen);
        }
    });
}

/// One sighting of a name and an address, and a question.
fn sighting(store: &dyn WriteStore, n: usize, time: u64) -> Batch {
    let (sensor, mut batch) = (store.sensor("north").unwrap(), Batch::default());
    let tuple = Tuple { rrname: name(n), rrtype: RrType::A, rdata: Rdata::V4([192, 0, 2, n as u8].into()) };
    add_row(&mut batch, &tuple, sensor, &Halves::once(Half::Direct, Seen::once(time, 60)));
    ask(store, &mut batch, &name(n).to_string(), time);
    batch
}

#[test]
fn a_lookup_sees_each_sighting_once_before_and_after_it_is_committed() {
    on_each_store(|store| {
        let scans = [
            Scan::All,
            Scan::Name(name(1)),
            Scan::Subtree(Name::root()),
            Scan::Addresses([192, 0, 2, 0].into(), [192, 0, 2, 255].into()),
        ];
        for round in 1..=12 {
            store.stage(&sighting(store, 1, round)).unwrap();
            if round % 3 == 0 {
                store.apply(&sighting(store, 1, round)).unwrap();
            }
            let count = round + round / 3;
            for _ in 0..2 {
                for scan in &scans {
                    let rows = entries(store, scan, None);
                    assert_eq!(rows.len(), 1, "{scan:?}");
                    assert_eq!(rows[0].halves.combined().count, count, "{scan:?}");
                }
                assert_eq!(questions(store, &Scan::Name(name(1)))[0].asked.count(), count);
                if round % 2 == 0 {
                    store.commit().unwrap();
                }
            }
        }
        assert!(
            entries(store, &Scan::Addresses([192, 0, 2, 2].into(), [192, 0, 2, 9].into()), None).is_empty()
        );
    });
}

#[test]
fn staged_and_committed_rows_come_in_one_order_and_pages_meet() {
    on_each_store(|store| {
        for (at, n) in [3, 1, 0, 2, 4, 5].into_iter().enumerate() {
            store.stage(&sighting(store, n, 1)).unwrap();
            if at == 2 {
                store.commit().unwrap();
            }
        }
        let moment = store.now();
        for scan in [Scan::All, Scan::Addresses([0, 0, 0, 0].into(), [255, 255, 255, 255].into())] {
            let all = entries(store, &scan, None);
            assert_eq!(all.len(), 6);
            for at in 0..all.len() {
                assert_eq!(entries(store, &scan, Some(&all[at].position())), all[at + 1..]);
            }
        }
        // It stays what it was.
        store.stage(&sighting(store, 6, 2)).unwrap();
        store.commit().unwrap();
        assert_eq!(moment.entries(&Scan::All, None).unwrap().count(), 6);
        assert_eq!(entries(store, &Scan::All, None).len(), 7);
    });
}

#[test]
fn progress_is_stored_with_the_commit_and_given_to_who_asked_for_it() {
    on_each_store(|store| {
        for offset in [10, 20] {
            let mut batch = Batch::default();
            batch.advance(progress(1, offset));
            batch.advance(progress(2, offset));
            store.stage(&batch).unwrap();
        }
        assert_eq!(store.lineage(&LineageId([1; 16])).unwrap(), None);
        assert!(store.staged_bytes() > 0);
        let mut committed = store.commit().unwrap();
        committed.sort_by_key(|progress| progress.lineage);
        assert_eq!(committed, [progress(1, 20), progress(2, 20)]);
        assert_eq!((store.lineages().unwrap(), store.staged_bytes()), (committed, 0));
        assert!(store.commit().unwrap().is_empty());
    });
}

#[test]
fn a_batch_with_a_sensor_nobody_gave_out_is_refused_whole() {
    on_each_store(|store| {
        store.sensor("north").unwrap();
        for rows in [1, 40] {
            let mut batch = Batch::default();
            for i in 0..rows {
                let tuple = Tuple { rrname: name(i), rrtype: RrType(i as u16), rdata: rdata(i) };
                let sensor = SensorId(if i == rows - 1 { 7 } else { 0 });
                add_row(&mut batch, &tuple, sensor, &Halves::once(Half::Direct, Seen::once(1, 1)));
            }
            batch.advance(progress(1, 100));
            assert!(matches!(store.apply(&batch), Err(StoreError::Damaged { .. })));
            assert!(matches!(store.stage(&batch), Err(StoreError::Damaged { .. })));
            assert_agree(store, &MemoryStore::default());
        }
    });
}

#[test]
fn progress_replaces_what_was_stored_of_its_lineage() {
    on_each_store(|store| {
        for offset in [10, 30, 20] {
            let mut batch = Batch::default();
            batch.advance(progress(1, offset));
            batch.advance(progress(2, 1000 + offset));
            store.apply(&batch).unwrap();
        }
        assert_eq!(store.lineage(&LineageId([1; 16])).unwrap(), Some(progress(1, 20)));
        assert_eq!(store.lineages().unwrap(), [progress(1, 20), progress(2, 1020)]);
    });
}

//--- on disk --------------------------------------------------------------------------------------------------------

/// A batch that counts one sighting of each of so many names.
fn everywhere(store: &dyn WriteStore, rows: usize, time: u64) -> Batch {
    let sensor = store.sensor("north").unwrap();
    let mut batch = Batch::default();
    for i in 0..rows {
        let rrname = Name::parse(&format!("{i}.example")).unwrap();
        let tuple = Tuple { rrname, rrtype: RrType::A, rdata: Rdata::V4(u32::try_from(i).unwrap().into()) };
        add_row(&mut batch, &tuple, sensor, &Halves::once(Half::Direct, Seen::once(time, 1)));
    }
    batch.advance(progress(1, time));
    batch
}

fn ask(store: &dyn WriteStore, batch: &mut Batch, rrname: &str, time: u64) {
    let sensor = store.sensor("north").unwrap();
    let mut key = Name::parse(rrname).unwrap().key().to_vec();
    key.extend_from_slice(&RrType::A.0.to_be_bytes());
    key.extend_from_slice(&sensor.0.to_be_bytes());
    batch.add_asked(&key, &Asked::once(time, Outcome::NoData));
}

#[test]
fn readers_see_each_batch_whole_while_rows_are_folded_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), &Options { bulk_rows: 60, ..tiny() }).unwrap();
    let done = AtomicBool::new(false);
    const BATCHES: u64 = 60;
    std::thread::scope(|scope| {
        let read = |scan: Scan| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let found = entries(&store, &scan, None);
                let counts: Vec<_> = found.iter().map(|entry| entry.halves.combined().count).collect();
                assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
                let count = counts.first().copied().unwrap_or_default();
                assert!(counts.is_empty() || counts.len() == 35);
                assert!(count >= last);
                last = count;
            }
        };
        scope.spawn(move || read(Scan::All));
        scope.spawn(move || read(Scan::Addresses([0, 0, 0, 0].into(), [255, 0, 0, 0].into())));
        for time in 1..=BATCHES {
            let mut batch = everywhere(&store, 35, time);
            if time % 3 == 0 {
                // Questions make it large: it becomes a run at once, and the others go through the journal.
                (0..35).for_each(|i| ask(&store, &mut batch, &format!("{i}.example"), time));
            }
            store.apply(&batch).unwrap();
        }
        store.settle().unwrap();
        done.store(true, Ordering::Relaxed);
    });
    let found = entries(&store, &Scan::All, None);
    assert!(found.iter().all(|entry| entry.halves.combined().count == BATCHES));
}

#[test]
fn what_was_applied_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let oracle = MemoryStore::default();
    for time in 1..=12 {
        let store = open(dir.path());
        for store in [&store as &dyn WriteStore, &oracle] {
            store.apply(&everywhere(store, if time % 2 == 0 { 5 } else { 50 }, time)).unwrap();
        }
        assert_eq!(contents(&store), contents(&oracle), "{time}");
    }
    assert_agree(&open(dir.path()), &oracle);
}

#[test]
fn folds_and_merges_leave_few_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for time in 1..=40 {
        store.apply(&everywhere(&store, 10, time)).unwrap();
    }
    store.settle().unwrap();
    let stats = store.stats().unwrap();
    assert!(stats.runs <= 3, "{stats:?}");
    assert!(stats.pending_rows < 12, "{stats:?}");
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(SledStore::open(dir.path(), &tiny()), Err(StoreError::Locked { .. })));
    drop(store);
    open(dir.path());
}

#[test]
fn a_snapshot_outlives_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.apply(&everywhere(&store, 50, 1)).unwrap();
    let snapshot: Arc<_> = store.now();
    drop(store);
    assert_eq!(snapshot.entries(&Scan::All, None).unwrap().count(), 50);
}

//--- damage ---------------------------------------------------------------------------------------------------------

/// Everything in a ledger, by every way there is to it.
#[derive(Debug, Default, PartialEq)]
struct State {
    progress: u64,
    by_name: Vec<Entry>,
    by_address: Vec<Entry>,
    questions: Vec<Question>,
}

fn read_everything(path: &Path) -> Result<State, StoreError> {
    let store = unlocked(path)?;
    let progress = store.lineage(&LineageId([1; 16]))?.map_or(0, |progress| progress.consumed.offset);
    let snapshot = store.now();
    let everywhere = Scan::Addresses([0, 0, 0, 0].into(), [255, 255, 255, 255].into());
    let by_name = snapshot.entries(&Scan::All, None)?.collect::<Result<_, _>>()?;
    let by_address = snapshot.entries(&everywhere, None)?.collect::<Result<_, _>>()?;
    let questions = snapshot.questions(&Scan::All)?.collect::<Result<_, _>>()?;
    Ok(State { progress, by_name, by_address, questions })
}

/// A ledger with runs and a journal, and what it held after each of its batches.
fn ledger_to_damage(path: &Path) -> Vec<State> {
    let mut states = vec![State::default()];
    for time in 1..=6 {
        let store = open(path);
        let mut batch = everywhere(&store, if time % 2 == 0 { 400 } else { 9 }, time);
        (0..time).for_each(|i| ask(&store, &mut batch, &format!("{i}.example"), time));
        store.apply(&batch).unwrap();
        store.settle().unwrap();
        drop(store);
        states.push(read_everything(path).unwrap());
    }
    states
}

/// Damages copies of a ledger: one is read, and must give what was there after some batch, or an error; another is verified,
/// and what is said to be sound can be read. Each has its own, for whoever opens one takes back what a crash had cut short.
/// Says whether it could be read.
fn judge(whole: &Path, states: &[State], what: &str, damage: &dyn Fn(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let copies = [dir.path().join("read"), dir.path().join("verified")];
    for copy in &copies {
        copy_folder(whole, copy);
        damage(&copy.join("ledger-1"));
    }
    let [read, verified] = copies;
    let found = sled::verify(&verified, &tiny(), &mut |_, _| true);
    match (read_everything(&read), found) {
        (Ok(state), found) => {
            assert!(states.contains(&state), "{what}: {} rows", state.by_name.len());
            assert!(found.is_ok(), "{what}: it can be read, and {found:?}");
            true
        }
        (Err(error), found) => {
            assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Io { .. }), "{what}: {error}");
            let named =
                ["ledger-1", "run ", "journal", "progress", "manifest", "commit", "the ledger", "sensor"];
            let text = error.to_string();
            assert!(named.iter().any(|part| text.contains(part)) && error.hint().is_some(), "{what}: {text}");
            let sound = found.is_ok_and(|found| found.is_none_or(|found| found.is_sound()));
            assert!(!sound, "{what}: said to be sound, and {error}");
            false
        }
    }
}

/// The files of a ledger.
fn files(whole: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(whole.join("ledger-1")).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into())
        .collect();
    files.sort();
    files
}

#[test]
fn a_flipped_byte_gives_an_error_or_an_earlier_whole_state_but_no_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let states = ledger_to_damage(&whole);
    assert!(judge(&whole, &states[states.len() - 1..], "whole", &|_| {}));
    // `DNSLEDGER_DAMAGES` says at how many places of each file.
    let (mut errors, damages) = (0, usize::try_from(setting("DNSLEDGER_DAMAGES", 80)).unwrap());
    for name in files(&whole) {
        let file = std::fs::read(whole.join("ledger-1").join(&name)).unwrap();
        let written: Vec<usize> = (0..file.len()).filter(|at| file[*at] != 0).collect();
        for at in written.iter().step_by((written.len() / damages).max(1)) {
            let mut bytes = file.clone();
            bytes[*at] ^= 0x55;
            let damage = |ledger: &Path| std::fs::write(ledger.join(&name), &bytes).unwrap();
            errors += usize::from(!judge(&whole, &states, &format!("byte {at} of {name:?}"), &damage));
        }
    }
    assert!(errors > 0);
}

#[test]
fn a_file_that_is_cut_or_gone_gives_an_error_or_an_earlier_whole_state() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let states = ledger_to_damage(&whole);
    for name in files(&whole) {
        let length = std::fs::metadata(whole.join("ledger-1").join(&name)).unwrap().len();
        for cut in (0..length).step_by(usize::try_from(length / 15).unwrap().max(1)) {
            let damage = |ledger: &Path| {
                let file = std::fs::File::options().write(true).open(ledger.join(&name)).unwrap();
                file.set_len(cut).unwrap();
            };
            judge(&whole, &states, &format!("{name:?} cut at {cut}"), &damage);
        }
        judge(&whole, &states, &format!("{name:?} gone"), &|ledger| {
            std::fs::remove_file(ledger.join(&name)).unwrap();
        });
    }
}

#[test]
fn a_snapshot_that_sled_was_killed_over_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let states = ledger_to_damage(dir.path());
    for (number, bytes) in [&b""[..], b"half a snapshot"].into_iter().enumerate() {
        // Its number is that of a place in the log beyond the last whole one.
        std::fs::write(dir.path().join(format!("ledger-1/snap.7FFFFFFFFFFFFF{number:02}.generating")), bytes)
            .unwrap();
        assert_eq!(read_everything(dir.path()).unwrap(), *states.last().unwrap());
    }
}

//--- formats --------------------------------------------------------------------------------------------------------

/// What is in the fixture: rows of every kind, in a run and in the journal.
fn fill_fixture(store: &dyn WriteStore) {
    for number in 1..=3u64 {
        let mut batch = Batch::default();
        for i in 0..if number == 2 { 40 } else { 6 } {
            let seed = usize::try_from(number).unwrap() * 7 + i;
            let time = 1_790_000_000 + 86_400 * (seed as u64 % 5);
            let fact = Fact {
                rrname: seed,
                rrtype: 1 + i as u16 % 3,
                rdata: i,
                sensor: i % 3,
                time,
                ttl: 300,
                kind: i % 12,
            };
            add(&fact, store, &mut batch);
        }
        batch.advance(progress(1, 1000 * number));
        batch.advance(progress(2, 10));
        store.apply(&batch).unwrap();
    }
    store.cache(&[(b"/logs/dns.log".to_vec(), b"hint".to_vec())], &[]).unwrap();
}

/// Makes the fixture of this version's format.
fn bless_fixture(dir: &Path) {
    let new = dir.join("new");
    let store = SledStore::open(&new, &Options { fold_rows: 1000, ..tiny() }).unwrap();
    fill_fixture(&store);
    drop(store);
    let fixture = PathBuf::from(testdata(&format!("store/v{FORMAT}")));
    let target = fixture.join("ledger-1");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::copy(new.join("CURRENT"), fixture.join("CURRENT")).unwrap();
    for entry in std::fs::read_dir(new.join("ledger-1")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let mut name = entry.file_name();
            name.push(".gz");
            let packed = std::fs::File::create(target.join(name)).unwrap();
            let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::best());
            std::io::copy(&mut std::fs::File::open(entry.path()).unwrap(), &mut packed).unwrap();
            packed.finish().unwrap();
        }
    }
}

#[test]
fn a_ledger_of_each_format_opens_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    if std::env::var_os("BLESS").is_some() {
        bless_fixture(dir.path());
    }
    for format in 1..=FORMAT {
        let old = dir.path().join(format!("v{format}"));
        unpack_store(&format!("v{format}"), &old);
        let oracle = MemoryStore::default();
        fill_fixture(&oracle);
        let store = open(&old);
        assert_agree(&store, &oracle);
        assert_eq!(store.cached().unwrap(), oracle.cached().unwrap());
        assert!(store.stats().unwrap().runs > 0);
        assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
        // And it is not only read.
        for store in [&store as &dyn WriteStore, &oracle] {
            store.apply(&everywhere(store, 40, 4)).unwrap();
        }
        store.settle().unwrap();
        assert_agree(&store, &oracle);
        drop(store);
        assert_agree(&open(&old), &oracle);
    }
}

#[test]
fn an_older_ledger_is_brought_up_once_and_can_be_gone_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let (data, current) = (dir.path().join("data"), dir.path().join("data/CURRENT"));
    unpack_store("v1", &data);
    let older = std::fs::read(&current).unwrap();
    let mut told = Vec::new();
    let mut on_migration = |done, total| {
        told.push((done, total));
        told.len() < 3
    };
    drop(sled::open(&data, &tiny(), &mut on_migration).unwrap());
    assert!(matches!(told.as_slice(), [(0, total), (0, _)] if *total > 0), "{told:?}");
    assert_eq!(std::fs::read_to_string(&current).unwrap(), format!("dnsledger format {FORMAT}\nledger-2\n"));
    assert_eq!(std::fs::read(data.join("CURRENT.format-1")).unwrap(), older);
    // Once: what comes then is not in the older one.
    let oracle = MemoryStore::default();
    fill_fixture(&oracle);
    let store = open(&data);
    store.apply(&everywhere(&store, 40, 4)).unwrap();
    drop(store);
    let kept = sled::kept_before(&data);
    assert!(
        matches!(kept.as_slice(), [(file, bytes)] if file.ends_with("CURRENT.format-1") && *bytes > 0),
        "{kept:?}"
    );
    // Back, with the older program, which removes what it does not know; and up again.
    std::fs::rename(data.join("CURRENT.format-1"), &current).unwrap();
    std::fs::remove_dir_all(data.join("ledger-2")).unwrap();
    assert_agree(&open(&data), &oracle);
    // What is no longer named goes.
    std::fs::remove_file(data.join("CURRENT.format-1")).unwrap();
    assert_agree(&open(&data), &oracle);
    assert!(!data.join("ledger-1").exists() && sled::kept_before(&data).is_empty());
}

#[test]
fn a_newer_format_is_refused_and_not_one_byte_is_written() {
    let dir = tempfile::tempdir().unwrap();
    unpack_store("v1", dir.path());
    std::fs::write(dir.path().join("CURRENT"), "dnsledger format 4\nledger-1\n").unwrap();
    let listing = || {
        let mut files = Vec::new();
        for folder in [dir.path().to_owned(), dir.path().join("ledger-1")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                files.push((
                    path.clone(),
                    path.metadata().unwrap().modified().unwrap(),
                    std::fs::read(&path).ok(),
                ));
            }
        }
        files.sort();
        files
    };
    let before = listing();
    let refused = SledStore::open(dir.path(), &tiny()).map(|_| ());
    assert!(matches!(refused, Err(StoreError::NewerFormat { found: 4, known: 3, .. })), "{refused:?}");
    assert!(before == listing());
}
