use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::shrink::{Part, part_for};
use super::*;
use crate::dns::{Name, Rdata, RrType};
use crate::observation::{Asked, Half, Halves, Outcome, Seen, Tuple};
use crate::store::batch::Batch;
use crate::store::ledger::Ledger;
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::store::tests::crash::{VolatileSite, tiny};
use crate::store::{NameBudget, Options, SPANS};

/// Noon of some day.
const NOW: u64 = 20_000 * DAY + DAY / 2;

/// Applies a row and a question for each of these times.
fn add(store: &dyn WriteStore, times: impl Iterator<Item = u64>) {
    add_names(store, times.enumerate().map(|(i, time)| (format!("host-{i}-{time}.example"), time)));
}

/// Applies a row and a question for each of these names.
fn add_names(store: &dyn WriteStore, names: impl Iterator<Item = (String, u64)>) {
    store.apply(&batch_of_names(store, names)).unwrap();
}

/// A row and a question for each of these names.
fn batch_of_names(store: &dyn WriteStore, names: impl Iterator<Item = (String, u64)>) -> Batch {
    let sensor = store.sensor("s").unwrap();
    let mut batch = Batch::default();
    for (i, (name, time)) in names.enumerate() {
        let rrname = Name::parse(&name).unwrap();
        let rdata = Rdata::V4(u32::try_from(i).unwrap().into());
        let mut key = Vec::new();
        Tuple { rrname: rrname.clone(), rrtype: RrType::A, rdata }.push_key(&mut key);
        key.extend_from_slice(&sensor.0.to_be_bytes());
        batch.add_halves(&key, &Halves::once(Half::Direct, Seen::once(time, 60)));
        let question = [rrname.key(), &RrType::A.0.to_be_bytes(), &sensor.0.to_be_bytes()].concat();
        batch.add_asked(&question, &Asked::once(time, Outcome::Answered));
    }
    batch
}

/// When each row was last seen, in order.
fn times(store: &dyn WriteStore) -> Vec<u64> {
    let snapshot = store.now();
    let rows = snapshot.entries(&Scan::All, None).unwrap();
    let mut times: Vec<u64> = rows.map(|row| row.unwrap().halves.combined().time_last).collect();
    times.sort_unstable();
    times
}

fn aged(days: u64) -> Bounds {
    Bounds { retention: Some(Duration::from_secs(days * DAY)), ..Bounds::default() }
}

fn kept(look: Result<Upkeep, StoreError>) -> Reduction {
    match look.unwrap() {
        Upkeep::Reduced(kept) => kept,
        look => panic!("{look:?}"),
    }
}

#[test]
fn what_is_too_old_goes_at_the_start_of_a_day_and_the_future_drives_nothing() {
    let store = Arc::new(MemoryStore::default());
    let midnight = NOW - NOW % DAY - 10 * DAY;
    let far = NOW + 1000 * DAY;
    add(&*store, [1, midnight - 1, midnight, NOW, far].into_iter());
    let kept = keep(&*store, &aged(10), NOW).unwrap();
    assert_eq!((kept.rows, kept.questions, kept.before, kept.fits), (2, 2, midnight, true));
    assert_eq!(times(&*store), [midnight, NOW, far]);
    // Less than a day is a day, and an age beyond the epoch drops nothing.
    keep(&*store, &aged(30_000), NOW).unwrap();
    assert_eq!(store.expired_before(), midnight);
    keep(&*store, &aged(0), NOW).unwrap();
    assert_eq!(times(&*store), [NOW, far]);
}

#[test]
fn it_is_looked_often_and_dropped_once_a_day() {
    let store = Arc::new(MemoryStore::default());
    add(&*store, (0..40).map(|day| NOW - day * DAY));
    let mut keeper = Keeper::new(aged(25));
    assert_eq!(kept(keeper.look(&*store, NOW)).rows, 14);
    for later in [0, 600, DAY / 2 - 1] {
        add(&*store, [NOW + later].into_iter());
        assert_eq!(keeper.look(&*store, NOW + later).unwrap(), Upkeep::Within, "{later}");
    }
    // The clock alone makes nothing old.
    assert_eq!(keeper.look(&*store, NOW + DAY / 2).unwrap(), Upkeep::Within);
    add(&*store, [NOW + DAY / 2].into_iter());
    assert_eq!(kept(keeper.look(&*store, NOW + DAY / 2)).rows, 1);
    // A clock that goes back brings nothing back and drops nothing.
    assert_eq!(keeper.look(&*store, NOW - DAY).unwrap(), Upkeep::Within);
    assert_eq!(Keeper::new(Bounds::default()).look(&*store, NOW).unwrap(), Upkeep::Within);
}

#[test]
fn a_clock_that_is_ahead_drops_nothing_that_is_not_as_old_as_that() {
    let ahead = NOW + 3 * 365 * DAY;
    for bounds in [aged(400), aged(1), Bounds { max_disk: Some(u64::MAX), ..aged(30) }] {
        let store = Arc::new(MemoryStore::default());
        add(&*store, (0..100).map(|hour| NOW - hour * 600));
        let mut keeper = Keeper::new(bounds);
        assert!(!matches!(keeper.look(&*store, ahead).unwrap(), Upkeep::Asks(_)));
        keep(&*store, &bounds, ahead).unwrap();
        assert_eq!(times(&*store).len(), 100);
        let cut = store.expired_before();
        assert!(cut <= NOW - bounds.retention.unwrap().as_secs());
        // One record that is ahead with the clock makes the rest old: a person has to look.
        add(&*store, [ahead].into_iter());
        let Upkeep::Asks(told) = keeper.look(&*store, ahead).unwrap() else { panic!("{bounds:?}") };
        assert_eq!((told.rows, told.all_rows, told.newest), (100, 101, ahead));
        assert_eq!(keeper.look(&*store, ahead + 600).unwrap(), Upkeep::Asks(told));
        assert_eq!((times(&*store).len(), store.expired_before()), (101, cut));
        // The clock is right again.
        assert_eq!(keeper.look(&*store, NOW).unwrap(), Upkeep::Within);
        // By hand it is done.
        assert_eq!(forecast(&*store, &bounds, ahead).unwrap(), told);
        assert_eq!(keep(&*store, &bounds, ahead).unwrap().rows, 100);
        assert_eq!(keeper.look(&*store, ahead).unwrap(), Upkeep::Within);
    }
}

#[test]
fn a_short_retention_drops_most_rows_every_day_without_asking() {
    let store = Arc::new(MemoryStore::default());
    let mut keeper = Keeper::new(aged(1));
    let midnight = NOW - NOW % DAY;
    for day in 0..5 {
        let now = midnight + day * DAY + DAY / 2;
        add(&*store, (0..100).map(|i| now - i));
        let look = keeper.look(&*store, now).unwrap();
        assert!(!matches!(look, Upkeep::Asks(_)), "{day}: {look:?}");
    }
    assert_eq!(times(&*store).len(), 200);
}

#[test]
fn a_time_that_a_clock_set_that_was_ahead_is_moved_back_when_the_clock_is_right() {
    let ahead = NOW + 3 * 365 * DAY;
    for (bounds, retention) in [(aged(400), 400), (Bounds::default(), 30)] {
        let store = Arc::new(MemoryStore::default());
        add(&*store, [NOW - 10, NOW - 5].into_iter());
        // An earlier version did that.
        store.expire(ahead - ahead % DAY - retention * DAY, ahead).unwrap();
        assert!(times(&*store).is_empty());
        add(&*store, [NOW - 3].into_iter());
        assert!(times(&*store).is_empty());
        assert_eq!(heal(&*store, &bounds, ahead).unwrap(), None, "the clock is still ahead");
        let (_, lower) = heal(&*store, &bounds, NOW).unwrap().unwrap();
        assert!(lower <= NOW - retention * DAY && store.expired_before() == lower);
        assert_eq!(heal(&*store, &bounds, NOW).unwrap(), None, "once");
        add(&*store, [NOW - 2].into_iter());
        assert_eq!(times(&*store), [NOW - 2]);
    }
    // One that was right stays, whatever the retention is now.
    let store = Arc::new(MemoryStore::default());
    store.expire(NOW - 30 * DAY, NOW).unwrap();
    assert_eq!(heal(&*store, &aged(400), NOW + 5).unwrap(), None);
}

#[test]
fn a_time_that_was_moved_back_is_so_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path(), &Options::default()).unwrap();
    add(&store, [NOW - 500 * DAY, NOW].into_iter());
    store.expire(NOW - 30 * DAY, NOW + 1).unwrap();
    store.lower_expired(NOW - 400 * DAY, NOW + 2).unwrap();
    store.lower_expired(NOW, NOW + 3).unwrap();
    drop(store);
    let store = SledStore::open(folder.path(), &Options::default()).unwrap();
    assert_eq!(store.expired_before(), NOW - 400 * DAY);
    let Stats { expired, .. } = store.stats().unwrap();
    assert_eq!((expired.before, expired.at, expired.rows), (NOW - 400 * DAY, NOW + 2, 1));
    add(&store, [NOW - 100 * DAY, NOW - 401 * DAY].into_iter());
    assert_eq!(times(&store), [NOW - 100 * DAY, NOW]);
    store.rewrite().unwrap();
    assert_eq!(store.expired_before(), NOW - 400 * DAY);
    assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
}

#[test]
fn a_day_that_is_named_goes_also_where_nothing_new_comes() {
    let store = Arc::new(MemoryStore::default());
    add(&*store, [NOW - 500 * DAY, NOW - 400 * DAY].into_iter());
    let by_age = forecast(&*store, &aged(30), NOW).unwrap();
    assert_eq!((by_age.rows, by_age.newest), (1, NOW - 400 * DAY));
    let bounds = Bounds { before: Some(NOW - 30 * DAY), ..Bounds::default() };
    assert_eq!(forecast(&*store, &bounds, NOW).unwrap().rows, 2);
    assert_eq!(keep(&*store, &bounds, NOW).unwrap().rows, 2);
    // The last day stays.
    add(&*store, [NOW].into_iter());
    let bounds = Bounds { before: Some(NOW + DAY), ..Bounds::default() };
    assert_eq!(keep(&*store, &bounds, NOW).unwrap().before, NOW - DAY);
    assert_eq!(times(&*store), [NOW]);
}

#[test]
fn the_cut_leaves_the_share_that_was_asked_for() {
    let store = MemoryStore::default();
    let first = NOW - 100 * DAY;
    // Several in an hour, and many at one second.
    add(&store, (0..500).map(|i| first + i * 7).chain(std::iter::repeat_n(first + 9 * DAY, 500)));
    let stay = |share: f64| {
        let cut = find_cut(&store, share, NOW).unwrap().unwrap();
        times(&store).iter().filter(|time| **time >= cut).count()
    };
    assert_eq!([0.999, 0.75, 0.5, 0.49, 0.0].map(stay), [999, 750, 500, 0, 0]);
    // What was seen within the last day stays.
    add(&store, [NOW - DAY + 1, NOW, NOW + 5 * DAY].into_iter());
    assert_eq!(find_cut(&store, 0.0, NOW).unwrap(), Some(NOW - DAY));
    assert_eq!(find_cut(&store, 0.0, first - DAY).unwrap(), None);
    assert_eq!(find_cut(&MemoryStore::default(), 0.5, NOW).unwrap(), None);
}

#[test]
fn a_ledger_that_is_too_large_loses_what_was_not_seen_for_longest_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { memory: 4 << 20, fold_rows: 4000, bulk_rows: 2000, ..Options::default() };
    let store = Arc::new(SledStore::open(folder.path(), &options).unwrap());
    let first = NOW - 100 * DAY;
    let spread = || (0..40_000u64).map(|i| first + i * (100 * DAY / 40_000));
    add(&*store, spread());
    store.rewrite().unwrap();
    let whole = store.stats().unwrap().disk_bytes;
    let all = times(&*store);
    let bounds = |max_disk| Bounds { max_disk: Some(max_disk), ..Bounds::default() };
    // It fits: nothing is done.
    let mut keeper = Keeper::new(bounds(whole));
    assert_eq!(keeper.look(&*store, NOW).unwrap(), Upkeep::Within);
    assert!(!keeper.is_due(&*store, NOW) && Keeper::new(bounds(whole - 1)).is_due(&*store, NOW));
    // More than half would go.
    let Upkeep::Asks(told) = Keeper::new(bounds(whole / 2)).look(&*store, NOW).unwrap() else { panic!() };
    assert!(told.rows > 20_000 && told.rows < 28_000 && told.all_rows == 40_000, "{told:?}");
    let budget = whole * 4 / 5;
    let told = forecast(&*store, &bounds(budget), NOW).unwrap();
    let kept = kept(Keeper::new(bounds(budget)).look(&*store, NOW));
    assert!(told.rows.abs_diff(kept.rows) <= told.rows / 10, "{told:?} {kept:?}");
    assert!(kept.fits && kept.disk <= budget && kept.disk_before == whole, "{kept:?} of {budget}");
    let left: Vec<u64> = all.iter().copied().filter(|time| *time >= kept.before).collect();
    assert_eq!(times(&*store), left);
    assert_eq!(kept.rows as usize, all.len() - left.len());
    assert!(left.len() > all.len() / 5, "{} rows are left of {}", left.len(), all.len());
    assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
    // One that cannot be kept is gone for once, and again a day later.
    let kept = keep(&*store, &bounds(1), NOW).unwrap();
    let newest = all[all.len() - 1];
    assert!(!kept.fits && times(&*store).iter().all(|time| *time >= newest - DAY), "{kept:?}");
    assert!(times(&*store).len() > 300);
    let mut keeper = Keeper::new(bounds(1));
    assert!(!self::kept(keeper.look(&*store, NOW)).fits);
    assert_eq!(keeper.look(&*store, NOW + DAY - 1).unwrap(), Upkeep::Within);
    assert_ne!(keeper.look(&*store, NOW + DAY).unwrap(), Upkeep::Within);
    // Space that a rewrite gives back costs no row.
    store.expire(newest, NOW).unwrap();
    let rows = times(&*store);
    add(&*store, spread().filter(|time| *time < newest));
    assert_eq!(times(&*store), rows, "what is older than the cut is not taken");
    let Stats { live_bytes, disk_bytes, .. } = store.stats().unwrap();
    assert!(live_bytes < disk_bytes / 2, "{live_bytes} of {disk_bytes}");
    let kept = keep(&*store, &bounds(disk_bytes - 1), NOW).unwrap();
    assert!(kept.fits && kept.rows == 0 && kept.disk < disk_bytes, "{kept:?}");
}

/// A ledger at places that take what they are told to.
fn anywhere(options: &Options) -> (VolatileSite, Ledger) {
    let site = VolatileSite::new(usize::MAX, 1);
    let ledger = Ledger::open_site(Arc::new(site.clone()), true, options).unwrap();
    (site, ledger)
}

#[test]
fn no_row_goes_where_writing_anew_is_enough_whatever_went_before() {
    // What is folded leaves a file of twice what is live; but not what is written anew for its size.
    for percent in [160, 200, 224] {
        let names = NameBudget { names: 50, ..NameBudget::default() };
        let (site, ledger) = anywhere(&Options { names, fan_in: 1000, ..tiny() });
        add_names(&ledger, (0..400).map(|i| (format!("www.site{i}.com"), NOW - 50 * DAY - i)));
        add_names(&ledger, (0..100).map(|i| (format!("x{i}.many.com"), NOW - 30 * DAY - i % DAY)));
        ledger.rewrite().unwrap();
        let live = ledger.stats().unwrap().live_bytes;
        site.say_bytes(3 * live);
        site.say_next_bytes(&[live * percent / 100, live]);
        // Names fold for room, once what is beyond the budget of names has: half of them are left then.
        let bounds = Bounds { max_disk: Some(live * 3 / 2), ..Bounds::default() };
        let kept = keep(&ledger, &bounds, NOW).unwrap();
        assert!(kept.fits && (kept.rows, kept.questions, kept.unresolved) == (0, 0, 0), "{kept:?}");
        assert_eq!(times(&ledger).iter().filter(|time| **time < NOW - 40 * DAY).count(), 400);
    }
}

#[test]
fn names_are_counted_once_to_find_out_how_many_must_fold() {
    let names = NameBudget { names: 4096, ..NameBudget::default() };
    let (site, ledger) = anywhere(&Options { names, fan_in: 1000, ..tiny() });
    add_names(&ledger, (0..100).map(|i| (format!("www.site{i}.com"), NOW - 50 * DAY - i)));
    add_names(&ledger, (0..4000).map(|i| (format!("x{i}.many{}.com", i % 100), NOW - 1 - i)));
    ledger.rewrite().unwrap();
    let survey = ledger.survey(NOW, &mut || true).unwrap();
    assert_eq!((survey.names, survey.new, survey.names_over), (4100, 4000, 0));
    // Of each domain 40 names, of which 16 may stay, or 4, or one.
    assert_eq!(survey.names_over_parts, [[0, 0, 0, 2400, 3600, 3900, 3900]; SPANS.len()]);
    let part = |of_budget| Some(Part { days: 1, of_budget });
    let may_stay = |share: f64, is_flood: bool| part_for(&survey, share, 0, is_flood).map(|(part, _)| part);
    assert_eq!([0.5, 0.2, 0.1, 0.01].map(|share| may_stay(share, true)), [256, 1024, 4096, 4096].map(part));
    assert_eq!([0.5, 0.2, 0.01].map(|share| may_stay(share, false)), [part(256); 3]);
    assert_eq!(part_for(&survey, 0.5, 2400, true), part(1024).map(|part| (part, 3600)));
    assert_eq!(part_for(&survey, 0.5, 3900, true), None);
    // What takes it is one copy, and nothing goes that is not of the flood.
    let (live, made) = (ledger.stats().unwrap().live_bytes, site.made());
    site.say_bytes(live);
    site.say_next_bytes(&[live / 5]);
    let kept = keep(&ledger, &Bounds { max_disk: Some(live / 4), ..Bounds::default() }, NOW).unwrap();
    assert_eq!((site.made() - made, kept.fits, kept.rows, kept.unresolved), (1, true, 0, 0), "{kept:?}");
    assert_eq!((kept.folded, times(&ledger).len()), (7200, 600));
}

/// A ledger with 300 rows of as many domains that were seen once long ago, and then 40 names of each of 400 domains.
fn flooded(folder: &Path, time: impl Fn(u64) -> u64) -> SledStore {
    let options = Options { memory: 4 << 20, fold_rows: 4000, bulk_rows: 2000, ..Options::default() };
    let store = SledStore::open(folder, &options).unwrap();
    add_names(&store, (0..300).map(|i| (format!("www.site{i}.com"), NOW - 50 * DAY - i)));
    add_names(&store, (0..16_000).map(|i| (format!("{:016x}.many{}.com", i * 7919, i % 400), time(i))));
    store.rewrite().unwrap();
    store
}

#[test]
fn a_flood_from_many_domains_folds_before_what_others_left_long_ago_goes() {
    let folder = tempfile::tempdir().unwrap();
    let store = flooded(folder.path(), |i| NOW - 1 - i / 8);
    let max_disk = store.stats().unwrap().disk_bytes / 2;
    let kept = keep(&store, &Bounds { max_disk: Some(max_disk), ..Bounds::default() }, NOW).unwrap();
    assert!(kept.fits && kept.rows == 0 && kept.folded > 8_000, "{kept:?}");
    assert_eq!(times(&store).iter().filter(|time| **time < NOW - 40 * DAY).count(), 300);
    assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
}

#[test]
fn a_flood_folds_before_the_names_that_an_old_domain_has_many_of() {
    // A flood of a day, and one of a week; in any order of its parts.
    for (span, turned) in [(DAY / 2, false), (6 * DAY, false), (6 * DAY, true)] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { memory: 4 << 20, fold_rows: 4000, bulk_rows: 2000, ..Options::default() };
        let store = SledStore::open(folder.path(), &options).unwrap();
        let old = || (0..1000).map(|i| (format!("host{i}.old.com"), NOW - 40 * DAY + i));
        add_names(&store, old());
        store.rewrite().unwrap();
        let max_disk = Some(1 << 20);
        let (flood, parts) = (100 * 400u64, 8);
        for part in 0..parts {
            let part = if turned { parts - 1 - part } else { part };
            let ids = (part * flood / parts)..((part + 1) * flood / parts);
            let time = |i| NOW - span + i * span / flood;
            add_names(&store, ids.map(|i| (format!("{:016x}.many{}.com", i * 7919, i % 400), time(i))));
            keep(&store, &Bounds { max_disk, ..Bounds::default() }, NOW).unwrap();
        }
        let folded = store.stats().unwrap();
        assert!(
            Some(folded.own_disk_bytes()) <= max_disk && folded.folded.pressed_rows > 10_000,
            "{folded:?}"
        );
        let snapshot = store.now();
        let rows: Vec<_> = snapshot.entries(&Scan::All, None).unwrap().map(Result::unwrap).collect();
        let names: BTreeSet<String> = rows.iter().map(|row| row.tuple.rrname.to_string()).collect();
        let lost: Vec<_> = old().filter(|(name, _)| !names.contains(name)).collect();
        assert_eq!(lost, [], "{span} {turned}");
        // Each domain has as many sightings as it had.
        let mut counts = BTreeMap::<String, u64>::new();
        for row in &rows {
            let domain = crate::dns::registrable(&row.tuple.rrname).unwrap().to_string();
            *counts.entry(domain).or_default() += row.halves.combined().count;
        }
        assert_eq!(counts.remove("old.com"), Some(1000));
        assert!(counts.len() == 400 && counts.values().all(|count| *count == 100), "{counts:?}");
        assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
    }
}

#[test]
fn in_a_flood_of_names_that_never_resolve_the_newest_go_first() {
    for (span, stays) in [(DAY, 100), (200 * DAY, 0)] {
        let (site, ledger) = anywhere(&Options { fan_in: 1000, ..tiny() });
        let sensor = ledger.sensor("s").unwrap();
        let mut batch = Batch::default();
        let asked = (0..100).map(|i| (format!("old{i}.com"), NOW - 300 * DAY));
        for (name, time) in asked.chain((0..2000).map(|i| (format!("x{i}.com"), NOW - i * span / 2000))) {
            let name = Name::parse(&name).unwrap();
            let question = [name.key(), &RrType::A.0.to_be_bytes(), &sensor.0.to_be_bytes()].concat();
            batch.add_asked(&question, &Asked::once(time, Outcome::NxDomain));
        }
        ledger.apply(&batch).unwrap();
        ledger.rewrite().unwrap();
        let live = ledger.stats().unwrap().live_bytes;
        site.say_bytes(live);
        site.say_next_bytes(&[live / 2]);
        let kept = keep(&ledger, &Bounds { max_disk: Some(live * 3 / 4), ..Bounds::default() }, NOW).unwrap();
        assert!(kept.fits && kept.unresolved > 800 && kept.unresolved < 1200, "{kept:?}");
        let snapshot = ledger.now();
        let old = snapshot.questions(&Scan::All).unwrap().map(Result::unwrap);
        assert_eq!(old.filter(|old| old.asked.time_last < NOW - 250 * DAY).count(), stays, "{span}");
    }
}

#[test]
fn names_of_many_domains_that_came_over_months_go_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = flooded(folder.path(), |i| NOW - i * (45 * DAY / 16_000));
    let max_disk = store.stats().unwrap().disk_bytes / 2;
    let kept = keep(&store, &Bounds { max_disk: Some(max_disk), ..Bounds::default() }, NOW).unwrap();
    assert!(kept.fits && kept.rows > 300 && kept.folded == 0, "{kept:?}");
}

#[test]
fn what_is_in_no_run_yet_is_live_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path(), &Options::default()).unwrap();
    for first in 0..8 {
        add(&store, (0..300).map(|i| NOW - 10 * DAY + first * 300 + i));
    }
    let Stats { live_bytes, disk_bytes, runs, .. } = store.stats().unwrap();
    assert_eq!(runs, 0);
    assert!(live_bytes > disk_bytes / 4 && live_bytes <= disk_bytes, "{live_bytes} of {disk_bytes}");
    drop(store);
    let store = SledStore::open(folder.path(), &Options::default()).unwrap();
    assert_eq!(store.stats().unwrap().live_bytes, live_bytes);
    store.rewrite().unwrap();
    let stats = store.stats().unwrap();
    assert!(stats.live_bytes > live_bytes && stats.live_bytes < 3 * live_bytes, "{live_bytes}, {stats:?}");
}

#[test]
fn no_row_goes_for_what_a_reader_holds() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(folder.path(), &Options::default()).unwrap());
    add(&*store, (0..60_000).map(|i| NOW - 10 * DAY + i));
    store.rewrite().unwrap();
    let held = store.now();
    store.rewrite().unwrap();
    let stats = store.stats().unwrap();
    assert!(stats.held_bytes > 0 && stats.own_disk_bytes() < stats.disk_bytes);
    let budget = Bounds { max_disk: Some(stats.own_disk_bytes() * 5 / 4), ..Bounds::default() };
    let kept = keep(&*store, &budget, NOW).unwrap();
    assert!(kept.fits && kept.rows == 0 && kept.disk > budget.max_disk.unwrap(), "{kept:?}");
    drop(held);
}

#[test]
fn what_is_free_is_left_to_who_makes_room() {
    let (site, ledger) = anywhere(&tiny());
    let staged = |first: u64| {
        add_names(&ledger, (0..10).map(|i| (format!("www.site{}.com", first + i), NOW)));
        let batch = batch_of_names(&ledger, (0..10).map(|i| (format!("ftp.site{}.com", first + i), NOW)));
        ledger.stage(&batch).unwrap();
        ledger.commit().map(|_| times(&ledger).len())
    };
    site.say_free(1 << 20);
    assert_eq!(staged(0).unwrap(), 20, "nobody makes room");
    ledger.use_reserve();
    let batch = batch_of_names(&ledger, std::iter::once(("a.com".to_owned(), NOW)));
    ledger.stage(&batch).unwrap();
    assert!(matches!(ledger.commit(), Err(StoreError::MakingRoom)));
    assert_eq!(times(&ledger).len(), 21, "it is seen all the same");
    // What is dropped is found without it.
    let kept = commit_and_keep(&ledger, || ledger.commit().map(drop), &Bounds::default(), NOW).unwrap();
    assert!(kept.fits && ledger.staged_bytes() > 0, "{kept:?}");
    // An import does not fail for it: it goes on when there is room.
    let applied = std::thread::scope(|scope| {
        let applying = scope.spawn(|| ledger.apply(&batch));
        site.say_free(1 << 30);
        applying.join().unwrap()
    });
    applied.unwrap();
    ledger.commit().unwrap();
    ledger.keep_reserve();
    assert_eq!(ledger.staged_bytes(), 0);
}

#[test]
fn nothing_goes_by_age_where_folding_lacks_room_and_what_folds_is_what_leaves_little_enough() {
    // A flood below the budget of its domains, and what others left long ago.
    let (site, ledger) = anywhere(&Options { fan_in: 1000, ..tiny() });
    add_names(&ledger, (0..400).map(|i| (format!("www.site{i}.com"), NOW - 50 * DAY - i)));
    add_names(&ledger, (0..4000).map(|i| (format!("x{i}.many{}.com", i % 100), NOW - 1 - i)));
    ledger.rewrite().unwrap();
    let live = ledger.stats().unwrap().live_bytes;
    site.say_bytes(live);
    let bounds = Bounds { max_disk: Some(live * 4 / 5), ..Bounds::default() };
    let mut keeper = Keeper::new(bounds);
    // No room for anything: all stays, and it is said why.
    site.say_free(0);
    let kept = kept(keeper.look(&ledger, NOW));
    assert!(!kept.fits && kept.no_room, "{kept:?}");
    assert_eq!((kept.rows, kept.questions, kept.folded, kept.unresolved), (0, 0, 0, 0));
    assert_eq!((times(&ledger).len(), ledger.expired_before()), (4400, 0));
    assert!(!keeper.is_due(&ledger, NOW), "it was in vain");
    // Two thirds of the ledger could stay, and there is room for much less: more of the flood folds, and nothing goes by age.
    site.say_free((1 << 20) + live / 4);
    site.say_next_bytes(&[live / 3]);
    assert!(Keeper::new(bounds).is_due(&ledger, NOW));
    let kept = self::kept(Keeper::new(bounds).look(&ledger, NOW));
    assert!(kept.fits && !kept.no_room && kept.rows == 0 && kept.folded > 7000, "{kept:?}");
    assert_eq!(times(&ledger).iter().filter(|time| **time < NOW - 40 * DAY).count(), 400);
    assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
}
