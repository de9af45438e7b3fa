//! That what Zeek writes can be asked for at once, and counts once, while logs are rotated and archived.

use std::collections::BTreeMap;

use dnsledger::generate::{Config, Format, Player, Record};

use crate::env::{Daemon, TestEnv, until};

/// What the recipe's API knows of a name: answers with their counts.
fn answers(daemon: &Daemon, name: &str) -> BTreeMap<String, u64> {
    let reply = daemon.get(&format!("/dns/{name}"));
    assert!([200, 404].contains(&reply.status), "/dns/{name}: {}", reply.status);
    let reply: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let records = reply["records"].as_array().cloned().unwrap_or_default();
    records
        .iter()
        .map(|record| (record["answer"].as_str().unwrap().to_owned(), record["count"].as_u64().unwrap()))
        .collect()
}

#[test]
fn every_line_is_visible_at_once_and_counts_once_over_four_rotations() {
    let env = TestEnv::new();
    let mut player = Player::new(&env.path("logs"), Format::Tsv).unwrap();
    let daemon = env.daemon("logs", "ledger");
    let pattern = Config::default().generate().find(|record| record.qtype == Some(1)).unwrap();
    let mut now = Config::default().start;
    let mut expected = Vec::new();
    for rotation in 0..5 {
        for line in 0..40 {
            let name = format!("line{line}.rotation{rotation}.example");
            let address = format!("100.64.{rotation}.{line}");
            let record = Record {
                query: Some(name.clone().into_bytes()),
                answers: vec![(address.clone().into_bytes(), 60)],
                ts_micros: now * 1_000_000,
                rcode: Some(0),
                resp_p: 53,
                ..pattern.clone()
            };
            player.write(&record, now).unwrap();
            until(&format!("{name} is visible"), || {
                answers(&daemon, &name).contains_key(&address).then_some(())
            });
            expected.push((name, address));
        }
        if rotation < 4 {
            now += 3_600;
            let rotated = player.rotate(now).unwrap().unwrap();
            player.archive(rotated).unwrap();
        }
    }
    daemon.wait_for_lines(200);
    for (name, address) in expected {
        assert_eq!(answers(&daemon, &name), BTreeMap::from([(address, 1)]), "{name}");
    }
    assert!(daemon.stop().status.success());
}
