//! Hits over crashes and refused writes: each is there once, with the rows by which it was met, and has one number.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::{BATCHES, Expiries, VolatileSite, applied, batch, cases, go_on, tiny};
use crate::dns::Name;
use crate::observation::{Tuple, question_from_row_key};
use crate::store::batch::Batch;
use crate::store::ledger::Ledger;
use crate::store::{Acknowledged, Hit, NewHit, ReadStore, Scan, Watch, WriteStore};

/// Looks for all names below `example` that begin with an odd number, and for all addresses.
struct Everything;

fn is_watched(name: &Name) -> bool {
    name.to_string().split('.').next().unwrap().parse::<u64>().is_ok_and(|number| number % 2 == 1)
}

impl Watch for Everything {
    fn look(&self, batch: &Batch, found: &mut Vec<NewHit>) {
        let mut add = |rrname, sensor, indicator: &[u8], address, time| {
            let (indicator, note) = (indicator.to_vec(), b"a note".to_vec());
            found.push(NewHit { rrname, indicator, address, sensor, time, note });
        };
        for (key, halves) in batch.tuples().iter() {
            let (tuple, sensor) = Tuple::from_row_key(key).unwrap();
            let time = halves.combined().time_first;
            if is_watched(&tuple.rrname) {
                add(tuple.rrname.clone(), sensor, b"odd", None, time);
            }
            add(tuple.rrname, sensor, b"address", tuple.rdata.address(), time);
        }
        for (key, asked) in batch.questions().iter() {
            let (rrname, _, sensor) = question_from_row_key(key).unwrap();
            if is_watched(&rrname) {
                add(rrname, sensor, b"odd", None, asked.time_first);
            }
        }
    }
}

type Known = BTreeSet<(Name, Vec<u8>, Option<IpAddr>, Arc<str>)>;

/// What all rows and questions of a ledger would hit.
fn expected(ledger: &Ledger) -> Known {
    let (snapshot, mut known) = (ledger.now(), Known::new());
    for row in snapshot.entries(&Scan::All, None).unwrap().map(Result::unwrap) {
        if is_watched(&row.tuple.rrname) {
            known.insert((row.tuple.rrname.clone(), b"odd".to_vec(), None, Arc::clone(&row.sensor)));
        }
        known.insert((row.tuple.rrname, b"address".to_vec(), row.tuple.rdata.address(), row.sensor));
    }
    for question in snapshot.questions(&Scan::All).unwrap().map(Result::unwrap) {
        if is_watched(&question.rrname) {
            known.insert((question.rrname, b"odd".to_vec(), None, question.sensor));
        }
    }
    known
}

/// The hits of a ledger: their numbers have no gaps, and none is there twice.
fn hits(ledger: &Ledger) -> Known {
    let snapshot = ledger.now();
    let all: Vec<Hit> = snapshot.hits(0).unwrap().map(Result::unwrap).collect();
    let numbers: Vec<u64> = all.iter().map(|hit| hit.sequence).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(ledger.last_hit().0, all.len() as u64);
    let half = snapshot.hits(numbers.len() as u64 / 2).unwrap().count();
    assert_eq!(half, all.len() - all.len() / 2);
    let known: Known = all
        .iter()
        .map(|hit| (hit.rrname.clone(), hit.indicator.clone(), hit.address, Arc::clone(&hit.sensor)))
        .collect();
    assert_eq!(known.len(), all.len());
    assert!(all.iter().all(|hit| hit.note == b"a note" && hit.time > 1000 && hit.noted > 1000));
    known
}

fn by(name: &str, at: u64) -> Acknowledged {
    Acknowledged { at, by: name.to_owned() }
}

/// The numbers of hits that are acknowledged.
fn acknowledged(ledger: &Ledger) -> BTreeSet<u64> {
    let snapshot = ledger.now();
    let all = snapshot.hits(0).unwrap().map(Result::unwrap);
    all.filter(|hit| hit.acknowledged.as_ref().is_some_and(|seen| seen.by == "anna"))
        .map(|hit| hit.sequence)
        .collect()
}

#[test]
fn a_hit_is_acknowledged_once_and_who_did_so_first_stands_through_merges() {
    let site = VolatileSite::new(usize::MAX, 1);
    let ledger = Ledger::open_site(Arc::new(site), true, &tiny()).unwrap();
    ledger.watch(Some(Arc::new(Everything)));
    ledger.apply(&batch(1, &ledger).unwrap()).unwrap();
    ledger.stage(&batch(2, &ledger).unwrap()).unwrap();
    ledger.commit().unwrap();
    let known = hits(&ledger);
    let last = known.len() as u64;
    assert!(last > 3, "{last}");
    let some = |numbers: &[u64]| numbers.iter().copied().collect::<BTreeSet<_>>();
    let said = ledger.acknowledge_hits(&some(&[1, last, last + 1]), &by("anna", 70)).unwrap();
    assert_eq!(said, (2, vec![last + 1]));
    let said = ledger.acknowledge_hits(&some(&[1, 2]), &by(&"x".repeat(100), 60)).unwrap();
    assert_eq!(said, (1, vec![]), "the first stands");
    for step in 3..=BATCHES {
        ledger.apply(&batch(step, &ledger).unwrap()).unwrap();
    }
    ledger.settle().unwrap();
    assert!(hits(&ledger).is_superset(&known) && acknowledged(&ledger) == some(&[1, last]));
    ledger.rewrite().unwrap();
    assert_eq!(acknowledged(&ledger), some(&[1, last]));
    let second = ledger.now().hits(1).unwrap().next().unwrap().unwrap();
    assert_eq!(second.acknowledged, Some(by(&"x".repeat(64), 60)));
    assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
}

fn open(site: &VolatileSite) -> Option<Ledger> {
    let ledger = Ledger::open_site(Arc::new(site.clone()), site.is_new(), &tiny()).ok()?;
    ledger.watch(Some(Arc::new(Everything)));
    Some(ledger)
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn each_hit_is_there_once_and_with_its_rows_after_any_crash(
        crashes in proptest::collection::vec(0usize..80, 1..6),
        seed: u64,
    ) {
        let mut site = VolatileSite::new(crashes[0], seed);
        let mut seen = BTreeSet::new();
        for at in 0..crashes.len() {
            if let Some(ledger) = open(&site) {
                prop_assert_eq!(hits(&ledger), expected(&ledger));
                let there = applied(&ledger);
                for number in there + 1..=BATCHES {
                    let Ok(batch) = batch(number, &ledger) else { break };
                    let done = match number % 2 {
                        0 => ledger.apply(&batch),
                        _ => ledger.stage(&batch).and_then(|()| ledger.commit().map(drop)),
                    };
                    if done.is_err() {
                        break;
                    }
                    prop_assert!(hits(&ledger).is_superset(&expected(&ledger)));
                    let which = BTreeSet::from([number, number + 7]);
                    let Ok((_, none)) = ledger.acknowledge_hits(&which, &by("anna", number)) else { break };
                    seen.extend(which.into_iter().filter(|number| !none.contains(number)));
                }
                prop_assert!(acknowledged(&ledger).is_superset(&seen));
                if ledger.staged_bytes() == 0 {
                    prop_assert_eq!(hits(&ledger), expected(&ledger));
                }
                let found = ledger.verify(&mut |_, _| true).unwrap();
                prop_assert!(found.is_sound(), "{:?}", found.faults);
            }
            site = site.after_crash(crashes.get(at + 1).copied().unwrap_or(usize::MAX));
        }
        let ledger = open(&site).unwrap();
        prop_assert_eq!(hits(&ledger), expected(&ledger));
        let mut expired = Expiries::new();
        go_on(&ledger, applied(&ledger), BATCHES, &mut expired);
        ledger.settle().unwrap();
        prop_assert!(hits(&ledger).is_superset(&expected(&ledger)));
        prop_assert!(acknowledged(&ledger).is_superset(&seen));
        ledger.rewrite().unwrap();
        prop_assert!(hits(&ledger).is_superset(&expected(&ledger)));
        prop_assert!(acknowledged(&ledger).is_superset(&seen));
        let found = ledger.verify(&mut |_, _| true).unwrap();
        prop_assert!(found.is_sound() && found.hits > 0, "{:?}", found.faults);
    }
}

#[test]
fn hits_that_are_found_in_what_is_there_are_the_ones_that_would_have_been_met() {
    let site = VolatileSite::new(usize::MAX, 1);
    let ledger = Ledger::open_site(Arc::new(site), true, &tiny()).unwrap();
    (1..=9).for_each(|number| ledger.apply(&batch(number, &ledger).unwrap()).unwrap());
    assert_eq!(hits(&ledger), Known::new());
    ledger.watch(Some(Arc::new(Everything)));
    ledger.stage(&batch(10, &ledger).unwrap()).unwrap();
    assert!(ledger.last_hit().1, "it is to be committed soon");
    ledger.commit().unwrap();
    assert!(!ledger.last_hit().1);
    let live = hits(&ledger);
    assert!(!live.is_empty());
    let mut found = Vec::new();
    (1..=10).for_each(|number| Everything.look(&batch(number, &ledger).unwrap(), &mut found));
    let new = ledger.keep_hits(&found).unwrap();
    assert_eq!(hits(&ledger), expected(&ledger));
    assert_eq!(new as usize, hits(&ledger).len() - live.len());
    assert_eq!(ledger.keep_hits(&found).unwrap(), 0, "each once");
}
