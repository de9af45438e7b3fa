//! That what Zeek writes can be asked for at once, and counts once, while logs are rotated and archived.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use generate::{Config, Format, Layout, Player, Record};

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
            player = player.laid_out([Layout::Dateext, Layout::Deep, Layout::Zeekctl][rotation % 3]);
        }
    }
    daemon.wait_for_lines(200);
    for (name, address) in expected {
        assert_eq!(answers(&daemon, &name), BTreeMap::from([(address, 1)]), "{name}");
    }
    assert!(daemon.stop().status.success());
}

/// A record of thousands of answers once cost the square of them, and all lookups waited meanwhile.
#[test]
fn records_of_thousands_of_answers_hold_up_nobody() {
    const LARGE: u64 = 30;
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let mut log = fs::File::create(env.path("logs/dns.log")).unwrap();
    let mut number = 0;
    let mut line = |query: &str, answers: &str| {
        number += 1;
        format!("1700000000.{number:06}\tC{number}\t192.0.2.53\t53\t{query}\t1\t1\t0\t{answers}\t-\n")
    };
    let header = "#separator \\x09\n#set_separator\t,\n#path\tdns\n\
        #fields\tts\tuid\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\n";
    log.write_all(header.as_bytes()).unwrap();
    log.write_all(line("first.example", "192.0.2.1").as_bytes()).unwrap();
    let daemon = env.daemon("logs", "data");
    daemon.wait_for_lines(1);
    let many =
        |n: u32| (0..n).map(|i| format!("1.{}.{}.{}", i >> 14, i >> 7 & 127, i & 127)).collect::<Vec<_>>();
    let name =
        |first: &str| format!("{first}.{}", ["a".repeat(60), "b".repeat(60), "c".repeat(60)].join("."));
    let answers = [vec![name("cdn")], many(4000)].concat().join(",");
    let begun = std::time::Instant::now();
    for _ in 0..LARGE {
        log.write_all(line(&name("q"), &answers).as_bytes()).unwrap();
        assert_eq!(daemon.get("/dns/first.example").status, 200);
    }
    // And one of a megabyte.
    log.write_all(line("q.x", &many(84_000).join(",")).as_bytes()).unwrap();
    log.write_all(line("last.example", "192.0.2.9").as_bytes()).unwrap();
    daemon.wait_for_lines(LARGE + 3);
    // It was more than a minute.
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    let status = daemon.json("/api/v1/status");
    // Behind a chain each answer is two rows, and one is the chain's own.
    assert_eq!(status["totals"]["answers_cut"], LARGE * 3501 + 83_000);
    assert_eq!(status["totals"]["counted"], LARGE + 3);
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains(&format!("dnsledger_answers_cut_total {}", LARGE * 3501 + 83_000)), "{metrics}");
}
