//! Names beyond the budget of their domain are folded, against the model, over crashes, and without room.

use std::collections::BTreeMap;

use super::*;
use crate::dns::registrable;
use crate::observation::SensorId;
use crate::store::{NameBudget, Reduce};

const DAY: u64 = 86_400;
/// Noon of a day.
const NOON: u64 = 20_000 * DAY + DAY / 2;

/// A sighting, or a question only.
#[derive(Debug, Clone)]
struct Fact {
    name: String,
    rdata: Option<u8>,
    half: Half,
    sensor: &'static str,
    time: u64,
    outcome: Outcome,
}

const DOMAINS: [&str; 5] = ["flood.com", "b.co.uk", "amazonaws.com", "c.s3.amazonaws.com", "kept.org"];

fn fact() -> impl Strategy<Value = Fact> {
    let rdata = proptest::option::weighted(0.7, 0u8..6);
    let what = (0usize..8, 0u8..12, rdata, any::<bool>(), any::<bool>());
    (what, 0u64..3, 0u64..40, 0usize..3).prop_map(
        |((domain, label, rdata, alias, two), day, second, outcome)| {
            // Most of it is below one domain, and some of it at the domain itself.
            let domain = DOMAINS.get(domain).unwrap_or(&DOMAINS[0]);
            let name = if label == 0 { (*domain).to_owned() } else { format!("n{label}.{domain}") };
            Fact {
                name,
                rdata,
                half: if alias { Half::Alias } else { Half::Direct },
                sensor: if two { "two" } else { "one" },
                time: NOON + day * DAY + second,
                outcome: [Outcome::Answered, Outcome::NxDomain, Outcome::NotLogged][outcome],
            }
        },
    )
}

fn batch_of(facts: &[Fact], store: &dyn WriteStore) -> Batch {
    let mut batch = Batch::default();
    for Fact { name, rdata, half, sensor, time, outcome } in facts {
        let sensor = store.sensor(sensor).unwrap();
        let name = Name::parse(name).unwrap();
        if let Some(rdata) = rdata {
            let rdata = match rdata {
                0..3 => Rdata::V4([192, 0, 2, *rdata].into()),
                3 => Rdata::Name(Name::parse("cdn.flood.com").unwrap()),
                _ => Rdata::text(&[*rdata]),
            };
            let tuple = Tuple { rrname: name.clone(), rrtype: RrType(1), rdata };
            let mut key = Vec::new();
            tuple.push_key(&mut key);
            key.extend_from_slice(&sensor.0.to_be_bytes());
            batch.add_halves(&key, &Halves::once(*half, Seen::once(*time, 60)));
        }
        let key = [name.key(), &1u16.to_be_bytes(), &sensor.0.to_be_bytes()].concat();
        batch.add_asked(&key, &Asked::once(*time, *outcome));
    }
    batch
}

/// What all rows and questions of each domain and sensor are together.
fn totals(store: &dyn WriteStore) -> BTreeMap<(Option<Name>, Arc<str>), (Halves, Asked)> {
    let mut totals: BTreeMap<_, (Halves, Asked)> = BTreeMap::new();
    let (entries, _, questions) = contents(store);
    for entry in entries {
        let total = totals.entry((registrable(&entry.tuple.rrname), entry.sensor)).or_default();
        total.0.merge(&entry.halves);
    }
    for question in questions {
        totals.entry((registrable(&question.rrname), question.sensor)).or_default().1.merge(&question.asked);
    }
    totals
}

/// The contents without the numbers of names, and those.
fn split(store: &dyn WriteStore) -> (Contents, Vec<Option<u64>>) {
    let (mut entries, by_address, mut questions) = contents(store);
    let names = entries.iter_mut().map(|entry| entry.names.take()).collect::<Vec<_>>();
    let more = questions.iter_mut().map(|question| question.names.take()).collect::<Vec<_>>();
    ((entries, by_address, questions), [names, more].concat())
}

#[track_caller]
fn assert_like(ledger: &dyn WriteStore, model: &MemoryStore) {
    let ((there, names), (wanted, counted)) = (split(ledger), split(model));
    assert_eq!(there, wanted);
    for (names, counted) in names.iter().zip(&counted) {
        assert_eq!(names.is_some(), counted.is_some());
        let (names, counted) = (names.unwrap_or_default(), counted.unwrap_or_default());
        assert!(names.abs_diff(counted) <= 1 + counted / 20, "{names} names, and it were {counted}");
    }
    let mut stats = (ledger.stats().unwrap().folded, model.stats().unwrap().folded);
    // Who folds by itself asks the clock.
    (stats.0.at, stats.1.at) = (0, 0);
    assert_eq!(stats.0, stats.1);
    let found = ledger.verify(&mut |_, _| true).unwrap();
    assert!(found.is_sound(), "{:?}", found.faults);
}

fn budget(names: u64, except: &[&str]) -> NameBudget {
    let except = except.iter().map(|name| Name::parse(name).unwrap()).collect();
    NameBudget { names, except, ..NameBudget::default() }
}

/// A ledger that folds only when it is told to.
fn options(names: &NameBudget) -> Options {
    Options { names: names.clone(), survey_rows: u64::MAX, ..tiny() }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Reduce(Reduce),
    Expire(u64),
    Rewrite,
    Reopen,
    /// There is no room beside the ledger, or there is again.
    Room(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Reduce(Reduce::Names { at_least: 1 })),
        1 => (1u64..9, 0u64..3 * DAY).prop_map(|(part, since)| {
            Step::Reduce(Reduce::LargeDomains { part, since: NOON - DAY + since })
        }),
        1 => (0u64..3 * DAY, any::<bool>()).prop_map(|(at, newest)| {
            let (since, before) = if newest { (NOON + at, u64::MAX) } else { (0, NOON + at) };
            Step::Reduce(Reduce::Unresolved { since, before })
        }),
        1 => (0u64..2 * DAY).prop_map(|at| Step::Expire(NOON + at)),
        1 => Just(Step::Rewrite),
        1 => Just(Step::Reopen),
        1 => any::<bool>().prop_map(Step::Room),
    ]
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn whatever_is_folded_is_what_the_model_folds(
        work in proptest::collection::vec((proptest::collection::vec(fact(), 0..25), step()), 1..8),
        names in 1u64..6,
        except in any::<bool>(),
    ) {
        let names = budget(names, if except { &["n7.flood.com", "kept.org"] } else { &[] });
        let site = VolatileSite::new(usize::MAX, 1);
        let mut ledger = Ledger::open_site(Arc::new(site.clone()), true, &options(&names)).unwrap();
        let model = MemoryStore::with_names(names.clone());
        let whole = MemoryStore::with_names(budget(0, &[]));
        let mut lost = false;
        for (facts, step) in work {
            for facts in facts.chunks(4) {
                ledger.apply(&batch_of(facts, &ledger)).unwrap();
                model.apply(&batch_of(facts, &model)).unwrap();
                whole.apply(&batch_of(facts, &whole)).unwrap();
            }
            match step {
                Step::Reduce(rule) => {
                    lost |= matches!(rule, Reduce::Unresolved { .. });
                    prop_assert_eq!(ledger.reduce(rule, 7).unwrap(), model.reduce(rule, 7).unwrap());
                    // Nothing is left to do.
                    prop_assert_eq!(ledger.reduce(rule, 8).unwrap(), Default::default());
                }
                Step::Expire(before) => {
                    lost = true;
                    ledger.expire(before, 1).unwrap();
                    model.expire(before, 1).unwrap();
                }
                Step::Rewrite => drop(ledger.rewrite()),
                Step::Reopen => {
                    drop(ledger);
                    ledger = Ledger::open_site(Arc::new(site.clone()), false, &options(&names)).unwrap();
                }
                Step::Room(room) => site.say_room(room),
            }
            assert_like(&ledger, &model);
            if !lost {
                prop_assert_eq!(totals(&ledger), totals(&whole));
            }
        }
    }

    #[test]
    fn a_crash_while_names_are_folded_changes_no_total(seed: u64, room: bool) {
        let names = budget(3, &[]);
        let facts: Vec<Fact> = (0..40u64)
            .map(|i| Fact {
                name: format!("n{i}.flood.com"),
                rdata: (i % 3 > 0).then_some((i % 5) as u8),
                half: Half::Direct,
                sensor: if i % 2 == 0 { "one" } else { "two" },
                time: NOON + i,
                outcome: Outcome::NoData,
            })
            .collect();
        let mut is_done = false;
        for calls in (seed % 3..3000).step_by(3) {
            let site = VolatileSite::new(usize::MAX, seed);
            let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options(&names)).unwrap();
            for facts in facts.chunks(7) {
                ledger.apply(&batch_of(facts, &ledger)).unwrap();
            }
            settle(&ledger);
            let before = totals(&ledger);
            site.say_room(room);
            site.disk().left = calls as usize;
            let done = ledger.reduce(Reduce::Names { at_least: 1 }, 7);
            site.disk().left = 0;
            drop(ledger);
            let after = site.after_crash(usize::MAX);
            let ledger = Ledger::open_site(Arc::new(after.clone()), false, &options(&names)).unwrap();
            prop_assert_eq!(totals(&ledger), before.clone());
            let found = ledger.verify(&mut |_, _| true).unwrap();
            prop_assert!(found.is_sound(), "{:?}", found.faults);
            let rows = contents(&ledger).0.len();
            prop_assert!(rows == 26 || rows < 8, "{}", rows);
            prop_assert!(done.is_err() || rows < 8);
            ledger.reduce(Reduce::Names { at_least: 1 }, 7).unwrap();
            prop_assert_eq!((totals(&ledger), contents(&ledger).0.len() < 8), (before, true));
            is_done = done.is_ok();
            if is_done {
                break;
            }
        }
        prop_assert!(is_done, "it was never let through");
    }

    #[test]
    fn a_full_disk_while_names_are_folded_changes_no_total(seed: u64, room: bool, calls in 0usize..60) {
        let names = budget(3, &[]);
        let site = VolatileSite::new(usize::MAX, seed);
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options(&names)).unwrap();
        let facts: Vec<Fact> = (0..40u64)
            .map(|i| Fact {
                name: format!("n{i}.flood.com"),
                rdata: Some(1),
                half: Half::Direct,
                sensor: "one",
                time: NOON + i,
                outcome: Outcome::Answered,
            })
            .collect();
        ledger.apply(&batch_of(&facts, &ledger)).unwrap();
        settle(&ledger);
        let before = totals(&ledger);
        site.say_room(room);
        site.disk().left = calls;
        let first = ledger.reduce(Reduce::Names { at_least: 1 }, 7);
        prop_assert_eq!(totals(&ledger), before.clone());
        site.disk().left = usize::MAX;
        // It goes on by itself, and what was not done is done the next time.
        let until = Instant::now() + Duration::from_secs(20);
        let second = loop {
            match ledger.reduce(Reduce::Names { at_least: 1 }, 7) {
                Ok(second) => break second,
                Err(_) => assert!(Instant::now() < until),
            }
            std::thread::yield_now();
        };
        prop_assert!(first.is_err() || second == Default::default());
        prop_assert_eq!(totals(&ledger), before);
        prop_assert_eq!(contents(&ledger).0.len(), 4);
        settle(&ledger);
        let found = ledger.verify(&mut |_, _| true).unwrap();
        prop_assert!(found.is_sound(), "{:?}", found.faults);
    }
}

fn flood(count: u64, domain: &str, time: u64) -> Vec<Fact> {
    let fact = |i| Fact {
        name: format!("x{i}.{domain}"),
        rdata: Some(1),
        half: Half::Direct,
        sensor: "one",
        time: time + i,
        outcome: Outcome::Answered,
    };
    (0..count).map(fact).collect()
}

fn opened(names: &NameBudget) -> (VolatileSite, Ledger) {
    let site = VolatileSite::new(usize::MAX, 1);
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options(names)).unwrap();
    (site, ledger)
}

fn folded(ledger: &Ledger, domain: &str) -> Option<Entry> {
    let scan = Scan::Name(Name::parse(domain).unwrap());
    let rows: Vec<Entry> = ledger.now().entries(&scan, None).unwrap().map(Result::unwrap).collect();
    rows.into_iter().find(|row| row.tuple.rrtype == RrType::FOLDED)
}

#[test]
fn what_was_there_before_the_flood_stays_and_what_was_seen_on_two_days() {
    let (_, ledger) = opened(&budget(20, &["x500.flood.com"]));
    let mut facts = flood(10, "flood.com", NOON);
    facts.iter_mut().for_each(|fact| fact.name.insert_str(0, "old-"));
    facts.extend(flood(1000, "flood.com", NOON + 100));
    // One of the flood is seen again the day after, one is an exception, and one has other rows.
    facts.push(Fact { time: NOON + DAY, ..facts[510].clone() });
    facts.push(Fact { rdata: Some(2), time: NOON + 2 * DAY, ..facts[410].clone() });
    ledger.apply(&batch_of(&facts, &ledger)).unwrap();
    let before = totals(&ledger);
    let reduced = ledger.reduce(Reduce::Names { at_least: 1 }, 7).unwrap();
    let names: Vec<String> = contents(&ledger).0.iter().map(|row| row.tuple.rrname.to_string()).collect();
    for stays in ["old-x0", "old-x9", "x0", "x9", "x500", "x400"] {
        assert!(names.contains(&format!("{stays}.flood.com")), "{stays}: {names:?}");
    }
    // The ten before, ten of the flood, the two, both rows of one of them, and the folded row.
    assert_eq!((reduced.rows, names.len()), (988, 24));
    let row = folded(&ledger, "flood.com").unwrap();
    assert_eq!(row.halves.direct.count, 988);
    assert!(row.names.unwrap().abs_diff(988) < 50, "{:?}", row.names);
    assert_eq!(totals(&ledger), before);
    // What comes back is a row again, and folds into the same row: its name is counted once.
    ledger.apply(&batch_of(&facts[600..700], &ledger)).unwrap();
    ledger.reduce(Reduce::Names { at_least: 1 }, 8).unwrap();
    let again = folded(&ledger, "flood.com").unwrap();
    assert_eq!((again.halves.direct.count, again.names), (1088, row.names));
}

#[test]
fn who_asks_each_name_twice_has_a_budget_too() {
    let (_, ledger) = opened(&budget(20, &[]));
    let mut facts = flood(300, "flood.com", NOON);
    facts.extend(flood(300, "flood.com", NOON + 7));
    ledger.apply(&batch_of(&facts, &ledger)).unwrap();
    let before = totals(&ledger);
    assert_eq!(ledger.survey(NOON + 50, &mut || true).unwrap().names_over, 280);
    assert_eq!(ledger.reduce(Reduce::Names { at_least: 1 }, 7).unwrap().rows, 280);
    assert_eq!(totals(&ledger), before);
}

#[test]
fn what_stays_of_a_flood_is_written_beside_where_all_of_it_has_no_room() {
    let (site, ledger) = opened(&budget(20, &[]));
    ledger.apply(&batch_of(&flood(1000, "flood.com", NOON), &ledger)).unwrap();
    settle(&ledger);
    let before = totals(&ledger);
    let live = ledger.stats().unwrap().live_bytes;
    site.disk().free = Some((1 << 20) + live / 2);
    assert!(matches!(ledger.rewrite(), Err(StoreError::NoRoom { .. })));
    let first = site.disk().current.clone();
    assert_eq!(ledger.reduce(Reduce::Names { at_least: 1 }, 7).unwrap().rows, 980);
    assert_ne!(site.disk().current, first, "it was written in place");
    assert_eq!(totals(&ledger), before);
    assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
}

#[test]
fn a_ledger_within_its_budgets_is_not_touched() {
    let (site, ledger) = opened(&budget(20, &[]));
    for domain in 0..30 {
        ledger.apply(&batch_of(&flood(20, &format!("d{domain}.com"), NOON), &ledger)).unwrap();
    }
    let before = contents(&ledger);
    assert_eq!(ledger.reduce(Reduce::Names { at_least: 1 }, 7).unwrap(), Default::default());
    assert_eq!((contents(&ledger), site.disk().made), (before, 0));
    // No public suffix has a budget, whatever is below it.
    assert_eq!(ledger.survey(NOON + 50, &mut || true).unwrap().names_over, 0);
    let growth = ledger.stats().unwrap().growth;
    assert_eq!((growth.len(), growth[0].names_a_day, growth[0].names), (10, 20, 20));
    assert!(matches!(ledger.survey(NOON + 50, &mut || false), Err(StoreError::Closed)));
    assert_eq!(ledger.survey(NOON + 3 * DAY, &mut || true).unwrap().names, 600);
    assert!(ledger.stats().unwrap().growth.is_empty());
}

#[test]
fn a_flood_is_folded_by_itself_and_a_repair_keeps_what_is_known_of_it() {
    let names = budget(20, &[]);
    let site = VolatileSite::new(usize::MAX, 1);
    let by_itself = Options { survey_rows: 100, ..options(&names) };
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, &by_itself).unwrap();
    for part in 0..40 {
        ledger.apply(&batch_of(&flood(50, &format!("p{part}.flood.com"), NOON + part), &ledger)).unwrap();
        ledger.settle().unwrap();
    }
    let folded_row = folded(&ledger, "flood.com").unwrap();
    let rows = contents(&ledger).0;
    assert!(rows.len() < 600, "{}", rows.len());
    assert_eq!(rows.iter().map(|row| row.halves.direct.count).sum::<u64>(), 2000);
    let stats = ledger.stats().unwrap();
    assert!(stats.folded.at > 0 && stats.folded.rows == folded_row.halves.direct.count, "{stats:?}");
    drop(ledger);
    Ledger::repair(Arc::new(site.clone()), &options(&names), &mut |_, _| true).unwrap();
    let ledger = Ledger::open_site(Arc::new(site.clone()), false, &options(&names)).unwrap();
    assert_eq!(
        (folded(&ledger, "flood.com"), ledger.stats().unwrap().folded),
        (Some(folded_row), stats.folded)
    );
    // With the row goes what is known of it, also where another sensor's stays.
    ledger.forget(SensorId(0), &LineageId([0; 16])).unwrap();
    assert_eq!((folded(&ledger, "flood.com"), ledger.stats().unwrap().folded.domains), (None, 0));
}

#[test]
fn opening_a_ledger_does_not_count_its_names_anew_until_it_has_grown() {
    let names = budget(20, &[]);
    let site = VolatileSite::new(usize::MAX, 1);
    let open = |is_new, survey_rows| {
        let options = Options { survey_rows, ..options(&names) };
        Ledger::open_site(Arc::new(site.clone()), is_new, &options).unwrap()
    };
    let add = |ledger: &Ledger, name: &str| {
        ledger.apply(&batch_of(&flood(60, name, NOON), ledger)).unwrap();
        ledger.settle().unwrap();
    };
    let ledger = open(true, u64::MAX);
    add(&ledger, "a.flood.com");
    drop(ledger);
    let ledger = open(false, 100);
    ledger.settle().unwrap();
    assert_eq!(folded(&ledger, "flood.com"), None, "it has as many rows as when names were counted last");
    add(&ledger, "b.flood.com");
    assert_eq!(folded(&ledger, "flood.com"), None);
    add(&ledger, "c.flood.com");
    add(&ledger, "d.flood.com");
    let of_domain = folded(&ledger, "flood.com");
    assert!(of_domain.is_some(), "it has more than three times the rows");
    drop(ledger);
    // One that loads has it from the ledger when names were counted, and does not take it that they were.
    let load = || {
        let options = Options { survey_rows: u64::MAX, puts_off_merges: true, ..options(&names) };
        Ledger::open_site(Arc::new(site.clone()), false, &options).unwrap()
    };
    let ledger = load();
    ledger.end_bulk(false, &|| false).unwrap();
    assert_eq!(folded(&ledger, "flood.com"), of_domain);
    add(&ledger, "e.flood.com");
    drop(ledger);
    let ledger = load();
    ledger.end_bulk(false, &|| false).unwrap();
    assert_ne!(folded(&ledger, "flood.com"), of_domain, "what the last one loaded and did not count");
}
