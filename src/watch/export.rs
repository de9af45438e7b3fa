//! Hits for other programs: as an event of MISP, and as a bundle of STIX 2.1.
//!
//! Events of what is new are in neither: nobody says that it is bad.
//!
//! What is the same has the same id in each export: ids are UUIDs of version 5, made of what the thing is. Those of STIX's observables are made as
//! STIX 2.1 says (2.9).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

use super::HitLine;
use crate::base::time::{format_date, format_rfc3339};

/// The namespace of STIX's observables.
const OBSERVABLES: u128 = 0x00ab_edb4_aa42_466c_9c01_fed2_3315_a9b7;
/// That of everything else here.
const OURS: u128 = 0x6f9a_1d52_0c4e_4b0f_8d3b_6a51_9e2c_7f40;

/// A UUID of version 5 (RFC 9562, 5.5).
fn uuid(namespace: u128, name: &str) -> String {
    let all = [namespace.to_be_bytes().as_slice(), name.as_bytes()].concat();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &all);
    let first: [u8; 16] = std::array::from_fn(|at| hash.as_ref().get(at).copied().unwrap_or(0));
    let number = u128::from_be_bytes(first);
    let number = number & !(0xf << 76) | 5 << 76;
    let number = number & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// A value in a pattern of STIX.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The pattern of an indicator.
fn pattern(hit: &HitLine) -> String {
    let value = hit.indicator.as_str();
    let kind = if value.contains(':') { "ipv6-addr" } else { "ipv4-addr" };
    match hit.kind.as_str() {
        "address" => format!("[{kind}:value = {}]", quoted(value)),
        "network" => format!("[{kind}:value ISSUBSET {}]", quoted(value)),
        "domain" => format!(
            "[domain-name:value = {} OR domain-name:value LIKE {}]",
            quoted(value),
            quoted(&format!("%.{value}"))
        ),
        _ => format!("[domain-name:value = {}]", quoted(value)),
    }
}

/// A time as STIX has it, to the millisecond.
fn instant(secs: u64) -> String {
    format!("{}.000Z", format_rfc3339(secs).trim_end_matches('Z'))
}

/// An observable, by its value.
fn observable(kind: &str, value: &str) -> (String, Value) {
    let id = format!("{kind}--{}", uuid(OBSERVABLES, &json!({ "value": value }).to_string()));
    let object = json!({ "type": kind, "spec_version": "2.1", "id": id, "value": value });
    (id, object)
}

/// Hits of a ledger as a bundle of STIX 2.1: of each the indicator, what was observed, and a sighting of the one by the other.
pub fn stix(ledger: &str, hits: &[HitLine]) -> Value {
    let mut objects: BTreeMap<String, Value> = BTreeMap::new();
    let begun = instant(hits.iter().map(|hit| hit.noted).min().unwrap_or(0));
    let own = format!("identity--{}", uuid(OURS, ledger));
    let identity = json!({
        "type": "identity", "spec_version": "2.1", "id": own, "created": begun, "modified": begun,
        "name": format!("dnsledger {ledger}"), "identity_class": "system",
    });
    objects.insert(own.clone(), identity);
    for hit in hits.iter().filter(|hit| !hit.is_event()) {
        let (noted, time) = (instant(hit.noted), instant(hit.time));
        let ledger = hit.ledger.as_deref().unwrap_or(ledger);
        let key = |what: &str| format!("{what}/{ledger}/{}", hit.sequence);
        let indicator = format!("indicator--{}", uuid(OURS, &format!("{}/{}", hit.kind, hit.indicator)));
        objects.entry(indicator.clone()).or_insert_with(|| of_indicator(hit, &indicator, &own, &begun));
        let mut seen = Vec::new();
        let address = hit.address.as_deref().and_then(|address| address.parse::<IpAddr>().ok());
        let address = address.map(|address| match address {
            IpAddr::V4(address) => ("ipv4-addr", address.to_string()),
            IpAddr::V6(address) => ("ipv6-addr", address.to_string()),
        });
        for (kind, value) in std::iter::once(("domain-name", hit.rrname.clone())).chain(address) {
            let (id, object) = observable(kind, &value);
            objects.insert(id.clone(), object);
            seen.push(id);
        }
        let observed = format!("observed-data--{}", uuid(OURS, &key("observed")));
        let object = json!({
            "type": "observed-data", "spec_version": "2.1", "id": observed, "created_by_ref": own, "created": noted,
            "modified": noted, "first_observed": time, "last_observed": time, "number_observed": 1, "object_refs": seen,
        });
        objects.insert(observed.clone(), object);
        let sighting = format!("sighting--{}", uuid(OURS, &key("sighting")));
        let mut object = json!({
            "type": "sighting", "spec_version": "2.1", "id": sighting, "created_by_ref": own, "created": noted,
            "modified": noted, "first_seen": time, "last_seen": time, "count": 1, "sighting_of_ref": indicator,
            "observed_data_refs": [observed], "where_sighted_refs": [own],
        });
        let said = format!("{} by sensor {}, feeds {}", hit.rrname, hit.sensor, hit.feeds.join(", "));
        put(&mut object, "description", json!(said));
        objects.insert(sighting, object);
    }
    let all: Vec<Value> = objects.into_values().collect();
    let ids: Vec<&str> = all.iter().filter_map(|object| object.get("id")?.as_str()).collect();
    let id = format!("bundle--{}", uuid(OURS, &ids.concat()));
    json!({ "type": "bundle", "id": id, "objects": all })
}

fn of_indicator(hit: &HitLine, id: &str, own: &str, begun: &str) -> Value {
    let mut object = json!({
        "type": "indicator", "spec_version": "2.1", "id": id, "created_by_ref": own, "created": begun, "modified": begun,
        "name": hit.title.as_deref().unwrap_or(&hit.indicator), "indicator_types": ["malicious-activity"],
        "pattern": pattern(hit), "pattern_type": "stix", "pattern_version": "2.1", "valid_from": begun,
    });
    let named = || format!("{} {} of {}", hit.kind, hit.indicator, hit.feeds.join(", "));
    put(&mut object, "description", json!(hit.description.clone().unwrap_or_else(named)));
    if let Some(confidence) = hit.confidence.filter(|confidence| *confidence <= 100) {
        put(&mut object, "confidence", json!(confidence));
    }
    let labels: Vec<&String> = hit.tags.iter().chain(&hit.feeds).filter(|label| !label.is_empty()).collect();
    if !labels.is_empty() {
        put(&mut object, "labels", json!(labels));
    }
    if let Some(link) = hit.link.as_deref().filter(|link| link.starts_with("http")) {
        let source = hit.feeds.first().map_or("feed", String::as_str);
        put(&mut object, "external_references", json!([{ "source_name": source, "url": link }]));
    }
    object
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Hits of a ledger as an event of MISP: an attribute for each name and each address that was met, with what met it as the comment.
pub fn misp(ledger: &str, hits: &[HitLine]) -> Value {
    let mut attributes: BTreeMap<(&str, &str), (u64, u64, Vec<String>)> = BTreeMap::new();
    for hit in hits.iter().filter(|hit| !hit.is_event()) {
        let name = ("hostname", hit.rrname.as_str());
        let address = hit.address.as_deref().map(|address| ("ip-dst", address));
        for key in std::iter::once(name).chain(address) {
            let (first, last, why) = attributes.entry(key).or_insert((hit.time, hit.time, Vec::new()));
            (*first, *last) = ((*first).min(hit.time), (*last).max(hit.time));
            let said =
                format!("{} {} of {}, sensor {}", hit.kind, hit.indicator, hit.feeds.join(", "), hit.sensor);
            if !why.contains(&said) && why.len() < 10 {
                why.push(said);
            }
        }
    }
    let attribute = |(&(kind, value), (first, last, why)): (&(&str, &str), &(u64, u64, Vec<String>))| {
        json!({
            "uuid": uuid(OURS, &format!("attribute/{ledger}/{kind}/{value}")), "type": kind, "category": "Network activity",
            "value": value, "to_ids": false, "comment": format!("met by {}", why.join("; ")),
            "first_seen": format_rfc3339(*first), "last_seen": format_rfc3339(*last), "timestamp": last.to_string(),
            "distribution": "5",
        })
    };
    let all: Vec<Value> = attributes.iter().map(attribute).collect();
    let last = hits.iter().map(|hit| hit.noted).max().unwrap_or(0);
    let number = |hit: &HitLine| match &hit.ledger {
        None => hit.sequence.to_string(),
        Some(ledger) => format!("{ledger}-{}", hit.sequence),
    };
    let numbers: Vec<String> = hits.iter().map(number).collect();
    json!({ "Event": {
        "uuid": uuid(OURS, &format!("event/{ledger}/{}", numbers.join(","))),
        "info": format!("Hits of dnsledger {ledger}"), "date": format_date(last), "timestamp": last.to_string(),
        "threat_level_id": "4", "analysis": "0", "distribution": "0", "published": false, "Attribute": all,
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_others_would_make() {
        // RFC 9562, A.4: "www.example.com" in the namespace of names of DNS.
        let dns = 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8;
        assert_eq!(uuid(dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        // As uuid.uuid5 of Python makes it of {"value":"198.51.100.3"}.
        assert_eq!(
            observable("ipv4-addr", "198.51.100.3").0,
            "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4"
        );
    }

    #[test]
    fn a_value_cannot_leave_its_pattern() {
        assert_eq!(quoted("a'] OR [b\\"), "'a\\'] OR [b\\\\'");
    }
}
