use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::dns::{Name, Rdata, RrType, other_form};
use crate::indicators::{self, Options};
use crate::observation::{Half, Observations, Outcome as Answer};
use crate::store::memory::MemoryStore;
use crate::store::{ReadStore, WriteStore, batch::Batch};

/// What was seen at a time: a name, and an address or a name that it led to, or nothing where it was only asked for.
type Sighting = (String, Option<String>, u64);

fn ledger(sightings: &[Sighting]) -> MemoryStore {
    let store = MemoryStore::default();
    for (at, (name, address, time)) in sightings.iter().enumerate() {
        let sensor = store.sensor(if at % 2 == 0 { "lan" } else { "dmz" }).unwrap();
        let mut observations = Observations::new(sensor);
        observations.reset(*time);
        let name = Name::parse(name).unwrap();
        let mut rrtype = RrType::A;
        let mut key = Vec::new();
        if let Some(address) = address {
            match address.parse() {
                Ok(IpAddr::V4(address)) => Rdata::V4(address).push_key(&mut key),
                Ok(IpAddr::V6(address)) => {
                    rrtype = RrType::AAAA;
                    Rdata::V6(address).push_key(&mut key);
                }
                Err(_) => {
                    rrtype = RrType::CNAME;
                    Rdata::Name(Name::parse(address).unwrap()).push_key(&mut key);
                }
            }
            observations.push(name.key(), rrtype, &key, Half::Direct, 60);
        }
        let outcome = if address.is_some() { Answer::Answered } else { Answer::NxDomain };
        observations.ask(name.key(), rrtype, outcome);
        let mut batch = Batch::default();
        batch.add(&observations);
        store.stage(&batch).unwrap();
    }
    store
}

fn sighting(name: &str, address: &str, time: u64) -> Sighting {
    (name.to_owned(), (!address.is_empty()).then(|| address.to_owned()), time)
}

fn hunt(list: &str) -> Hunt {
    let mut hunt = Hunt::default();
    indicators::read(&mut list.as_bytes(), &Options::default(), &mut |indicator| hunt.take(indicator))
        .unwrap();
    hunt
}

fn shown(hit: &Hit) -> String {
    let Hit { value, names, rows, asked_only, is_too_wide, time_first, time_last, line, .. } = hit;
    let wide = if *is_too_wide { " too wide" } else { "" };
    let kind = value.kind().name();
    format!(
        "{kind} {value}: {names} names {rows} rows {asked_only} asked {time_first}-{time_last} line {line}{wide}"
    )
}

fn told(hunt: Hunt, store: &MemoryStore, way: Way) -> (Vec<String>, Option<HuntOutcome>) {
    let mut hits = Vec::new();
    let mut listener = Listener {
        hit: &mut |hit| {
            hits.push(shown(&hit));
            true
        },
        go_on: &mut || true,
    };
    let outcome = hunt.run(&store.now(), 0, way, &mut listener).unwrap();
    (hits, outcome)
}

const LIST: &str = "! Title: t\n||bad.example^\n||c.bad.example^\n||other.example^\n@@||fine.bad.example^\n||198.51.100.7^\n||gone.example^\n||bad.example^\n||0.0.0.0^\n||two.example/x^\n";

fn sample() -> MemoryStore {
    ledger(&[
        sighting("bad.example", "198.51.100.7", 100),
        sighting("www.bad.example", "198.51.100.8", 200),
        sighting("a.c.bad.example", "2001:db8::7", 300),
        sighting("asked.bad.example", "", 50),
        sighting("fine.bad.example", "198.51.100.7", 10),
        sighting("notbad.example", "198.51.100.7", 400),
        sighting("zz.example", "", 400),
        sighting("cloaked.example", "c.bad.example", 600),
        sighting("self.bad.example", "c.bad.example", 70),
    ])
}

#[test]
fn what_the_ledger_has_is_told_in_its_order_and_everything_adds_up() {
    let hits = [
        "domain c.bad.example: 3 names 3 rows 0 asked 70-600 line 3",
        "domain bad.example: 5 names 5 rows 1 asked 50-600 line 2",
        "address 198.51.100.7: 2 names 2 rows 0 asked 100-400 line 6",
    ];
    for way in [Way::Lookups, Way::Walk, Way::Best] {
        let (told, outcome) = told(hunt(LIST), &sample(), way);
        assert_eq!(told, hits, "{way:?}");
        let outcome = outcome.unwrap();
        assert_eq!(
            outcome,
            HuntOutcome { hits: 3, missed: 3, late: 0, duplicates: 1, ..HuntOutcome::default() }
        );
    }
}

#[test]
fn a_network_has_each_name_once_and_what_is_in_it_is_told_before_it() {
    let list = "198.51.100.0/24\n198.51.100.8\n2001:db8::/32\n203.0.113.0/24\n";
    for way in [Way::Lookups, Way::Walk] {
        let (told, outcome) = told(hunt(list), &sample(), way);
        assert_eq!(
            told,
            [
                "address 198.51.100.8: 1 names 1 rows 0 asked 200-200 line 2",
                "network 198.51.100.0/24: 4 names 4 rows 0 asked 10-400 line 1",
                "network 2001:db8::/32: 1 names 1 rows 0 asked 300-300 line 3",
            ],
            "{way:?}"
        );
        assert_eq!(outcome.unwrap().missed, 1);
    }
}

#[test]
fn what_was_seen_after_an_indicator_ended_is_no_hit() {
    let table = "domain,valid_until\nbad.example,150\nwww.bad.example,150\n";
    for way in [Way::Lookups, Way::Walk] {
        let (told, _) = told(hunt(table), &sample(), way);
        assert_eq!(told, ["domain bad.example: 3 names 3 rows 1 asked 10-100 line 2"], "{way:?}");
    }
    // That it is there all the same is said, of names and of addresses.
    let table = "indicator,valid_until\nbad.example,5\n198.51.100.8,5\nnowhere.example,5\n";
    for way in [Way::Lookups, Way::Walk] {
        let (told, outcome) = told(hunt(table), &sample(), way);
        assert_eq!(
            (told.len(), outcome.unwrap()),
            (0, HuntOutcome { missed: 1, late: 2, ..HuntOutcome::default() }),
            "{way:?}"
        );
    }
}

#[test]
fn an_indicator_with_too_many_names_is_said_to_be_too_wide_and_ends_there() {
    let sightings: Vec<Sighting> = (0..MAX_NAMES + 5)
        .map(|i| {
            sighting(&format!("n{i:05}.bad.example"), if i % 3 == 0 { "" } else { "198.51.100.7" }, 1000 + i)
        })
        .collect();
    let store = ledger(&sightings);
    for list in ["bad.example\n", "198.51.100.0/24\n"] {
        let (one, outcome) = told(hunt(list), &store, Way::Lookups);
        assert_eq!(told(hunt(list), &store, Way::Walk), (one.clone(), outcome));
        match list.starts_with('b') {
            true => {
                assert!(one[0].ends_with("line 1 too wide"), "{one:?}");
                assert!(one[0].contains(": 6666 names 6666 rows 3334 asked 1000-10999"), "{one:?}");
                assert_eq!(outcome.unwrap().too_wide, 1);
            }
            false => assert!(one[0].contains(": 6670 names 6670 rows 0 asked"), "{one:?}"),
        }
    }
}

#[test]
fn who_listens_may_end_it_and_memory_has_a_bound() {
    let mut listener = Listener { hit: &mut |_| false, go_on: &mut || true };
    assert_eq!(hunt(LIST).run(&sample().now(), 0, Way::Walk, &mut listener).unwrap(), None);
    let mut listener = Listener { hit: &mut |_| true, go_on: &mut || false };
    assert_eq!(hunt(LIST).run(&sample().now(), 0, Way::Lookups, &mut listener).unwrap(), None);
    let mut small = Hunt::within(1000);
    let list: String = (0..100).map(|i| format!("n{i}.bad.example\n")).collect();
    let read =
        indicators::read(&mut list.as_bytes(), &Options::default(), &mut |indicator| small.take(indicator));
    assert!(matches!(read, Err(ReadError::NoRoom { most: 1000 })));
}

#[test]
fn ids_and_titles_come_back_with_the_hits() {
    let csv = "uuid,value,malware\nu-1,bad.example,Quarry\nu-2,www.bad.example,Quarry\nu-3,c.bad.example,\n";
    let mut hits = Vec::new();
    let mut listener = Listener {
        hit: &mut |hit: Hit| {
            hits.push((hit.value.to_string(), hit.id, hit.title));
            true
        },
        go_on: &mut || true,
    };
    hunt(csv).run(&sample().now(), 0, Way::Walk, &mut listener).unwrap();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        hits,
        [
            ("c.bad.example".to_owned(), some("u-3"), None),
            ("www.bad.example".to_owned(), some("u-2"), some("Quarry")),
            ("bad.example".to_owned(), some("u-1"), some("Quarry")),
        ]
    );
}

#[test]
fn what_was_logged_in_another_form_is_found_and_summed_into_one_line() {
    let store = ledger(&[
        sighting("xn--bcher-kva.example", "198.51.100.7", 100),
        sighting(r"b\195\188cher.example", "198.51.100.7", 200),
        sighting(r"www.b\195\188cher.example", "", 50),
        sighting("cloaked.example", r"b\195\188cher.example", 300),
        sighting(r"self.b\195\188cher.example", "xn--bcher-kva.example", 400),
        sighting(r"fein.b\195\188cher.example", "198.51.100.7", 1),
        sighting("v4.example", "203.0.113.66", 10),
        sighting("mapped.example", "::ffff:203.0.113.66", 20),
        sighting("mapped.example", "::ffff:203.0.113.70", 30),
    ]);
    let list = "||b\u{fc}cher.example^\n@@||fein.xn--bcher-kva.example^\n||203.0.113.66^\n";
    for way in [Way::Lookups, Way::Walk] {
        let (found, outcome) = told(hunt(list), &store, way);
        assert_eq!(
            found,
            [
                "domain xn--bcher-kva.example: 4 names 4 rows 1 asked 50-400 line 1",
                "address 203.0.113.66: 2 names 2 rows 0 asked 10-20 line 3",
            ],
            "{way:?}"
        );
        assert_eq!(outcome.unwrap().hits, 2);
        // Also where nothing was logged in its own form.
        let (found, _) = told(hunt("203.0.113.70\n203.0.113.64/29\n"), &store, way);
        assert_eq!(
            found,
            [
                "address 203.0.113.70: 1 names 1 rows 0 asked 30-30 line 1",
                "network 203.0.113.64/29: 2 names 3 rows 0 asked 10-30 line 2",
            ],
            "{way:?}"
        );
    }
}

//--- against brute force --------------------------------------------------------------------------------------------

/// What an indicator must find, by looking at each sighting. A row is a name and an address at a sensor.
fn brute(sightings: &[Sighting], is_name: bool, value: &Value) -> Option<(usize, usize, usize)> {
    let is_it = |name: &str| {
        let name = Name::parse(name).unwrap();
        let forms = value.name().into_iter().flat_map(|own| [Some(own.clone()), other_form(own)]);
        forms.flatten().any(|wanted| match value {
            Value::Name(_) => name == wanted,
            _ => wanted.is_at_or_above(&name),
        })
    };
    let holds = |(name, data, _): &Sighting| match (value.network(), data.as_ref()) {
        (None, data) => {
            is_it(name) || data.is_some_and(|data| data.parse::<IpAddr>().is_err() && is_it(data))
        }
        (Some(network), data) => {
            let address = data.and_then(|data| data.parse::<IpAddr>().ok());
            address.is_some_and(|address| network.contains(address.to_canonical()))
        }
    };
    let found: Vec<(usize, &Sighting)> =
        sightings.iter().enumerate().filter(|(_, sighting)| holds(sighting)).collect();
    let answered: BTreeSet<Name> =
        found.iter().filter(|(_, s)| s.1.is_some()).map(|(_, s)| Name::parse(&s.0).unwrap()).collect();
    let all: BTreeSet<Name> = found.iter().map(|(_, s)| Name::parse(&s.0).unwrap()).collect();
    let rows: BTreeSet<(Name, String, usize)> =
        found.iter().filter_map(|(at, s)| Some((Name::parse(&s.0).unwrap(), s.1.clone()?, at % 2))).collect();
    let asked = if is_name { all.len() - answered.len() } else { 0 };
    (!found.is_empty()).then_some((answered.len(), rows.len(), asked))
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c-d"), Just("a0"), Just("xn--b-eha")].prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(label(), 1..4).prop_map(|labels| format!("{}.example", labels.join(".")))
}

/// A name as it may be logged: with its A-labels or in UTF-8.
fn logged() -> impl Strategy<Value = String> {
    (name(), any::<bool>()).prop_map(|(name, is_utf8)| match other_form(&Name::parse(&name).unwrap()) {
        Some(other) if is_utf8 => other.to_string(),
        _ => name,
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..8).prop_map(|last| IpAddr::from([198, 51, 100, last])),
        (0u16..4).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
    ]
}

fn logged_address() -> impl Strategy<Value = IpAddr> {
    (address(), any::<bool>()).prop_map(|(address, is_mapped)| match address {
        IpAddr::V4(v4) if is_mapped => v4.to_ipv6_mapped().into(),
        address => address,
    })
}

fn data() -> impl Strategy<Value = String> {
    prop_oneof![2 => logged_address().prop_map(|address| address.to_string()), 1 => logged()]
}

proptest! {
    #[test]
    fn both_ways_tell_what_brute_force_finds(
        sightings in proptest::collection::vec((logged(), proptest::option::of(data()), 1u64..99), 0..40),
        names in proptest::collection::vec((name(), any::<bool>()), 0..12),
        networks in proptest::collection::vec((address(), 24u8..=32), 0..8),
    ) {
        let store = ledger(&sightings);
        let mut list = String::from("#fields\tindicator_type\tindicator\n");
        for (name, is_url) in &names {
            list.push_str(&format!("Intel::{}\t{name}\n", if *is_url { "URL" } else { "DOMAIN" }));
        }
        for (address, length) in &networks {
            let length = if address.is_ipv4() { *length } else { 96 + length };
            list.push_str(&format!("Intel::SUBNET\t{address}/{length}\n"));
        }
        for below in [false, true] {
            let read = || {
                let mut hunt = Hunt::default();
                let options = Options { below: Some(below), ..Options::default() };
                let mut values = BTreeMap::new();
                indicators::read(&mut list.as_bytes(), &options, &mut |indicator| {
                    values.entry(indicator.value.clone()).or_insert(indicator.reference.line);
                    hunt.take(indicator)
                }).unwrap();
                (hunt, values)
            };
            let (one, values) = read();
            let looked_up = told(one, &store, Way::Lookups);
            prop_assert_eq!(&looked_up, &told(read().0, &store, Way::Walk));
            let mut expected: Vec<String> = values.iter().filter_map(|(value, line)| {
                let (names, rows, asked) = brute(&sightings, value.name().is_some(), value)?;
                let kind = value.kind().name();
                Some(format!("{kind} {value}: {names} names {rows} rows {asked} asked line {line}"))
            }).collect();
            let mut found: Vec<String> = looked_up.0.iter().map(|hit| {
                let (front, back) = hit.split_once(" asked ").unwrap();
                format!("{front} asked {}", back.split_once(' ').unwrap().1)
            }).collect();
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
            let outcome = looked_up.1.unwrap();
            let taken = names.len() + networks.len();
            prop_assert_eq!(outcome.hits + outcome.missed + outcome.duplicates, taken as u64);
        }
    }
}

#[test]
fn a_sensor_is_a_row_of_its_own() {
    let store =
        ledger(&[sighting("bad.example", "198.51.100.7", 1), sighting("bad.example", "198.51.100.7", 2)]);
    let (told, _) = told(hunt("bad.example\n"), &store, Way::Best);
    assert_eq!(told, ["domain bad.example: 1 names 2 rows 0 asked 1-2 line 1"]);
}
