use super::engine::{SledTree, run_of};
use super::*;
use crate::dns::{Name, Rdata, RrType};
use crate::observation::{Half, Halves, Seen, Tuple};
use crate::store::batch::Batch;
use crate::store::key::Family;
use crate::store::tests::crash::{batch, tiny};
use crate::store::{Entries, Entry, Scan, WriteStore};

fn verified(path: &Path) -> Verification {
    verify(path, &tiny(), &mut |_, _| true).unwrap().unwrap()
}

fn rows(path: &Path) -> Vec<Entry> {
    let store = SledStore::open(path, &tiny()).unwrap();
    let snapshot = store.now();
    snapshot.entries(&Scan::All, None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn nobody_takes_the_reserve_from_who_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path(), &tiny()).unwrap();
    let reserve = folder.path().join("reserve");
    assert!(reserve.exists());
    store.use_reserve();
    store.use_reserve();
    std::fs::remove_file(&reserve).unwrap();
    store.renew_reserve();
    store.keep_reserve();
    assert!(!reserve.exists(), "somebody still makes room");
    store.keep_reserve();
    assert!(reserve.exists());
}

/// What no compression makes smaller.
fn random_rows(number: u64, rows: u32, store: &dyn WriteStore) -> Batch {
    let sensor = store.sensor("north").unwrap();
    let mut batch = Batch::default();
    let mut random = number;
    for _ in 0..rows {
        let mut digit = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 59) as u8
        };
        let label: String = (0..40).map(|_| char::from(b'a' + digit() % 26)).collect();
        let rrname = Name::parse(&format!("{label}.example")).unwrap();
        let rdata = Rdata::V4([digit(), digit(), digit(), digit()].into());
        let mut key = Vec::new();
        Tuple { rrname, rrtype: RrType::A, rdata }.push_key(&mut key);
        key.extend_from_slice(&sensor.0.to_be_bytes());
        batch.add_halves(&key, &Halves::once(Half::Direct, Seen::once(1000 + number, 60)));
    }
    batch
}

#[test]
fn no_page_of_the_engine_is_so_large_that_it_goes_to_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { fold_rows: 20_000, bulk_rows: 10_000, ..tiny() };
    let options = Options { memory: 64 << 20, rewrite_bytes: u64::MAX, ..options };
    let store = SledStore::open(folder.path(), &options).unwrap();
    // Three in the journal, one that is a run at once, and a fold of them.
    for (number, rows) in [(1, 4000), (2, 4000), (3, 4000), (4, 20_000), (5, 9000)] {
        store.apply(&random_rows(number, rows, &store)).unwrap();
        let large = fs::read_dir(folder.path().join("ledger-1/blobs")).unwrap().count();
        assert_eq!(large, 0, "after batch {number}");
    }
    store.settle().unwrap();
    assert_eq!(fs::read_dir(folder.path().join("ledger-1/blobs")).unwrap().count(), 0);
}

#[test]
fn an_index_that_is_lost_on_disk_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let store = SledStore::open(path, &tiny()).unwrap();
    for number in 1..=21 {
        store.apply(&batch(number, &store).unwrap()).unwrap();
    }
    store.settle().unwrap();
    drop(store);
    let before = rows(path);
    assert!(verified(path).is_sound());
    let ledger = DataFolder::look(path).unwrap().unwrap().ledger();
    let engine = SledEngine::open(&ledger, &tiny()).unwrap();
    let mut lost = 0;
    for name in engine.db.tree_names().iter().filter(|name| run_of(name).is_some()) {
        let SledTree { tree, .. } = engine.tree(name).unwrap();
        let keys: Vec<_> = tree.iter().keys().map(Result::unwrap).collect();
        for key in
            keys.iter().filter(|key| [Family::ByRdata.byte(), super::super::engine::FILTER].contains(&key[0]))
        {
            tree.remove(key).unwrap();
            lost += 1;
        }
    }
    engine.sync().unwrap();
    drop(engine);
    assert!(lost > 0 && !verified(path).is_sound());
    repair(path, &tiny(), &mut |_, _| true).unwrap().unwrap();
    let found = verified(path);
    assert!(found.is_sound() && found.index_entries == found.rows && found.logs == 1, "{found:?}");
    assert_eq!(rows(path), before);
    assert!(!ledger.exists(), "the damaged one is gone");
    assert!(repair(&path.join("none"), &tiny(), &mut |_, _| true).unwrap().is_none());
}

#[test]
fn an_exact_lookup_is_answered_from_memory_once_it_was_answered_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path(), &tiny()).unwrap();
    for number in 1..=21 {
        store.apply(&batch(number, &store).unwrap()).unwrap();
    }
    drop(store);
    let store = SledStore::open(folder.path(), &Options { bulk_rows: 1, ..tiny() }).unwrap();
    store.apply(&batch(22, &store).unwrap()).unwrap();
    store.rewrite().unwrap();
    let snapshot = store.now();
    let all = |entries: Entries<'_>| entries.collect::<Result<Vec<Entry>, _>>().unwrap();
    let rows = all(snapshot.entries(&Scan::All, None).unwrap());
    let scans: Vec<Scan> = rows
        .iter()
        .flat_map(|row| {
            let by_data = match &row.tuple.rdata {
                Rdata::Name(name) => Some(Scan::Target(name.clone())),
                rdata => rdata.address().map(|address| Scan::Addresses(address, address)),
            };
            by_data.into_iter().chain([Scan::Name(row.tuple.rrname.clone())])
        })
        .collect();
    let in_memory = |scan: &Scan| snapshot.entries_in_memory(scan, None).map(all);
    assert!(scans.iter().all(|scan| matches!(in_memory(scan), Err(StoreError::NotInMemory))));
    for scan in &scans {
        let found = all(snapshot.entries(scan, None).unwrap());
        assert!(!found.is_empty() && in_memory(scan).unwrap() == found, "{scan:?}");
        let after = found[0].position();
        let rest = all(snapshot.entries_in_memory(scan, Some(&after)).unwrap());
        assert_eq!(rest, found[1..], "{scan:?}");
    }
    // What a scan reads is not kept: it would leave nothing of use.
    assert!(matches!(in_memory(&Scan::All), Err(StoreError::NotInMemory)));
}
