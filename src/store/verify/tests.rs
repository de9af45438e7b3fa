use super::super::Pair;
use super::super::ReadStore;
use super::*;
use crate::store::tests::crash::{Map, above, at_most, filled_ledger};

impl Pairs for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(Map::get(self, key).cloned())
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        Ok(at_most(self, key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        Ok(above(self, key))
    }
}

/// What is stored of a ledger.
#[derive(Clone)]
struct Maps {
    main: Map,
    runs: BTreeMap<u32, Map>,
}

/// A ledger with several runs and a journal, closed.
fn ledger() -> Maps {
    let (site, ledger) = filled_ledger();
    let open = ledger.verify(&mut |_, _| true).unwrap();
    drop(ledger);
    let (main, mut runs) = site.maps();
    // Merged runs that were not removed yet would be at the next opening.
    let manifest = Manifest::from_bytes(main.get(engine::MANIFEST).cloned()).unwrap();
    runs.retain(|id, _| manifest.runs.iter().any(|run| run.id == *id));
    let maps = Maps { main, runs };
    // The same is said of a ledger that is open.
    let closed = verified(&maps);
    assert_eq!((open.is_sound(), open.rows + open.journal_rows), (true, closed.rows + closed.journal_rows));
    maps
}

fn verified(maps: &Maps) -> Verification {
    let mut go_on = |_, _| true;
    let mut checker = Checker::new(&mut go_on);
    for meta in checker.main(&maps.main, Ok(maps.runs.keys().copied().collect())) {
        checker.run(&meta, &maps.runs[&meta.id]).unwrap();
    }
    checker.end()
}

/// Every place where something is stored: of the main map, or of a run.
fn places(maps: &Maps) -> Vec<(Option<u32>, Vec<u8>)> {
    let main = maps.main.keys().map(|key| (None, key.clone()));
    let runs = maps.runs.iter().flat_map(|(id, map)| map.keys().map(|key| (Some(*id), key.clone())));
    main.chain(runs).filter(|(run, key)| run.is_some() || !key.starts_with(engine::CACHE)).collect()
}

fn edit(maps: &mut Maps, run: Option<u32>, edit: impl FnOnce(&mut Map)) {
    match run {
        Some(id) => edit(maps.runs.get_mut(&id).unwrap()),
        None => edit(&mut maps.main),
    }
}

#[test]
fn a_sound_ledger_is_said_to_be_sound_and_counted() {
    let engine = ledger();
    let found = verified(&engine);
    assert_eq!((found.is_sound(), &found.faults), (true, &Vec::new()));
    let Verification { runs, blocks, rows, index_entries, questions, .. } = found;
    assert!(runs >= 2 && blocks >= 6 && rows > 40 && index_entries == rows && questions > 0, "{found:?}");
    let Verification { journal_entries, journal_rows, logs, sensors, unnamed_runs, .. } = found;
    assert!(journal_entries > 0 && journal_rows > 0, "{found:?}");
    assert_eq!((logs, sensors, unnamed_runs), (1, 2, 0));
}

#[test]
fn it_can_be_ended() {
    let maps = ledger();
    let mut stop = |_, _| false;
    let mut checker = Checker::new(&mut stop);
    let runs = checker.main(&maps.main, Ok(maps.runs.keys().copied().collect()));
    let ended = checker.run(&runs[0], &maps.runs[&runs[0].id]);
    assert!(matches!(ended, Err(StoreError::Closed)));
}

#[test]
fn whatever_is_removed_is_missed() {
    let engine = ledger();
    // Without the record of first sightings these are made anew, and without an identity it gets another one.
    let is_made_anew = |key: &[u8]| [engine::DOMAINS, engine::IDENTITY, engine::SURVEYED].contains(&key);
    let places = places(&engine).into_iter().filter(|(_, key)| !is_made_anew(key));
    for (run, key) in places {
        let mut damaged = engine.clone();
        edit(&mut damaged, run, |map| drop(map.remove(&key).unwrap()));
        assert!(!verified(&damaged).is_sound(), "run {run:?}, {}", key.escape_ascii());
    }
    let runs: Vec<u32> = engine.runs.keys().copied().collect();
    for id in runs {
        let mut damaged = engine.clone();
        damaged.runs.remove(&id);
        assert!(!verified(&damaged).is_sound(), "run {id}");
    }
}

#[test]
fn whatever_is_changed_or_added_is_found() {
    let engine = ledger();
    for (run, key) in places(&engine) {
        let mut damaged = engine.clone();
        edit(&mut damaged, run, |map| *map.get_mut(&key).unwrap().last_mut().unwrap() ^= 1);
        assert!(!verified(&damaged).is_sound(), "run {run:?}, {} changed", key.escape_ascii());
        let mut damaged = engine.clone();
        edit(&mut damaged, run, |map| {
            let value = map.get(&key).unwrap().clone();
            map.insert([&key, b"\0".as_slice()].concat(), value);
        });
        assert!(!verified(&damaged).is_sound(), "run {run:?}, {} twice", key.escape_ascii());
    }
}

/// Changes the rows of the first block of a family of the first run, and seals it again.
fn reseal(maps: &mut Maps, family: Family, change: impl FnOnce(&mut Vec<Pair>)) {
    let id = *maps.runs.keys().next().unwrap();
    edit(maps, Some(id), |map| {
        let (key, sealed) = map.iter().find(|(key, _)| key[0] == family.byte()).unwrap();
        let (key, block) = (key.clone(), open_block(id, key, sealed).unwrap());
        assert!(block.next.is_none());
        let mut rows = Vec::new();
        let mut reader = block::Reader::new(block.rows);
        while reader.advance().unwrap() {
            rows.push((reader.key().to_vec(), reader.value().to_vec()));
        }
        change(&mut rows);
        let mut builder = block::Builder::default();
        rows.iter().for_each(|(key, value)| builder.push(key, value));
        let sealed = block::seal(&key, &[&[0], builder.raw()].concat());
        map.insert(key, sealed);
    });
}

#[test]
fn an_index_that_does_not_fit_its_rows_is_found_and_named() {
    let whole = ledger();
    let faults = |family, change: fn(&mut Vec<Pair>)| {
        let mut engine = whole.clone();
        reseal(&mut engine, family, change);
        verified(&engine).faults.into_iter().map(|f| format!("{}: {}", f.what, f.why)).collect::<String>()
    };
    let swapped = |rows: &mut Vec<Pair>| {
        let other = rows.iter().position(|row| row.1.len() == rows[0].1.len() && row.1 != rows[0].1);
        rows[0].1 = rows[other.unwrap()].1.clone();
    };
    let found = faults(Family::ByRdata, swapped);
    assert!(found.contains("says something else than its row"), "{found}");
    let found = faults(Family::ByName, swapped);
    assert!(found.contains("says something else than its row"), "{found}");
    let found = faults(Family::ByRdata, |rows| drop(rows.pop()));
    assert!(found.contains("index entries can be read, and"), "{found}");
    let found = faults(Family::ByName, |rows| rows.swap(0, 1));
    assert!(found.contains("rows are not in order"), "{found}");
    let found = faults(Family::ByName, |rows| rows[0].0[0] = 0xff);
    assert!(!found.is_empty());
}
