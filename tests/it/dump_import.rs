//! The tables of bro-pdns and zeek-pdns: each row comes in with its times and its count, once, under a sensor of its own.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use crate::env::{TestEnv, testdata};

fn import(env: &TestEnv, arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["import", "--data", "ours"];
    all.extend(arguments);
    let ended = env.run(&all);
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
}

/// What a ledger holds: name, type, data, count, first, last, ttl, sensor.
fn rows(env: &TestEnv) -> Vec<Value> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&row["direct"], &row["alias"]), (&json!(true), &json!(false)));
        let keys = ["rrname", "rrtype", "rdata", "count", "time_first", "time_last", "ttl", "sensor_id"];
        Value::Array(keys.iter().map(|key| row[key].clone()).collect())
    };
    env.export("ours").lines().map(row).collect()
}

const APRIL: u64 = 1_459_468_800; // 2016-04-01T00:00:00Z
const DAY: u64 = 86_400;

/// The rows of the dump of bro-pdns, whose clock was so far ahead.
fn bro_pdns(sensor: &str, ahead: u64) -> Vec<Value> {
    let first = APRIL + 7_200 - ahead;
    let last = APRIL + 30 * DAY + 11_045 - ahead;
    let april = APRIL - ahead;
    vec![
        json!([
            "7.2.0.192.in-addr.arpa",
            "PTR",
            ["host.example.com"],
            2,
            april,
            april + 2 * DAY,
            3600,
            sensor
        ]),
        json!(["example.com", "MX", ["mx.example.com"], 3, april, april + 30 * DAY, 3600, sensor]),
        json!(["example.com", "TXT", ["\"v=spf1 it's a:b\\\\c -all\""], 1, april, april, 3600, sensor]),
        json!(["www.example.com", "A", ["192.0.2.10"], 42, first, last, 60, sensor]),
        json!(["www.example.com", "CNAME", ["cdn.example.net"], 42, first, last, 300, sensor]),
        json!(["www.example.com", "AAAA", ["2001:db8::10"], 7, april + DAY, april + DAY, 0, sensor]),
    ]
}

#[test]
fn the_table_of_bro_pdns_comes_in_once() {
    let env = TestEnv::new();
    let dump = testdata("dumps/bro-pdns.sql");
    let (code, said) = import(&env, &["--from", "mysql-dump", &dump]);
    assert!(code == Some(0) && said.contains("8 new lines: 6 counted, 1 skipped, 1 malformed"), "{said}");
    assert!(said.contains("skipped: no_answer 1") && said.contains("malformed: time 1"), "{said}");
    assert_eq!(rows(&env), bro_pdns("bro-pdns", 0));
    // The same file again, packed too, changes nothing, and another one of the same origin is refused.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&fs::read(&dump).unwrap()).unwrap();
    fs::write(env.path("bro-pdns.sql.gz"), packed.finish().unwrap()).unwrap();
    for again in [dump.as_str(), "bro-pdns.sql.gz"] {
        let (code, said) = import(&env, &["--from", "mysql-dump", again]);
        assert!(code == Some(0) && said.contains("1 of them without anything new\n0 new lines"), "{said}");
    }
    let later = fs::read_to_string(&dump).unwrap().replace("'192.0.2.10',42", "'192.0.2.10',43");
    fs::write(env.path("bro-pdns.sql"), later).unwrap();
    let (code, said) = import(&env, &["--from", "mysql-dump", "bro-pdns.sql"]);
    assert!(code == Some(2) && said.contains("another file was imported as sensor bro-pdns"), "{said}");
    assert_eq!(rows(&env), bro_pdns("bro-pdns", 0));
    assert_eq!(env.ok(&["verify", "--data", "ours"]).last_chunk(), Some(b"sound\n"));
}

#[test]
fn times_of_a_local_clock_are_moved() {
    let env = TestEnv::new();
    let dump = testdata("dumps/bro-pdns.sql");
    let (code, said) =
        import(&env, &["--from", "mysql-dump", "--utc-offset", "+02:00", "--sensor", "old", &dump]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rows(&env), bro_pdns("old", 7_200));
    let (code, said) = import(&env, &["--from", "mysql-dump", "--utc-offset", "2", &dump]);
    assert!(code == Some(64) && said.contains("+HH:MM"), "{said}");
}

#[test]
fn the_table_of_zeek_pdns_comes_in_through_a_daemon_too() {
    let zeek_pdns = [
        json!([
            "7.2.0.192.in-addr.arpa",
            "PTR",
            ["host.example.com"],
            2,
            APRIL,
            APRIL + 2 * DAY,
            0,
            "zeek-pdns"
        ]),
        json!(["example.com", "TXT", ["\"v=spf1 it's a:b\\\\c -all\""], 1, APRIL, APRIL, 3600, "zeek-pdns"]),
        json!(["www.example.com", "A", ["192.0.2.10"], 42, APRIL, 1_462_071_845, 60, "zeek-pdns"]),
        json!(["www.example.com", "CNAME", ["cdn.example.net"], 42, APRIL, 1_462_071_845, 300, "zeek-pdns"]),
        json!(["printer.lan", "A", ["192.0.2.12"], 5, APRIL, APRIL + 1, 60, "zeek-pdns"]),
    ];
    let dump = testdata("dumps/zeek-pdns.sql");
    for with_daemon in [false, true] {
        let env = TestEnv::new();
        let daemon = with_daemon.then(|| env.daemon("no-logs-yet", "ours"));
        let (code, said) = import(&env, &["--from", "sqlite", &dump]);
        assert!(code == Some(0) && said.contains("5 new lines: 5 counted, 0 skipped, 0 malformed"), "{said}");
        assert_eq!(rows(&env), zeek_pdns);
        let (code, said) = import(&env, &["--from", "sqlite", &dump]);
        assert!(code == Some(0) && said.contains("\n0 new lines"), "{said}");
        assert_eq!(rows(&env), zeek_pdns);
        if let Some(daemon) = daemon {
            assert!(daemon.stop().status.success());
        }
    }
}

#[test]
fn what_is_no_dump_says_what_to_do_and_changes_nothing() {
    for with_daemon in [false, true] {
        let env = TestEnv::new();
        let daemon = with_daemon.then(|| env.daemon("no-logs-yet", "ours"));
        let whole = fs::read_to_string(testdata("dumps/zeek-pdns.sql")).unwrap();
        fs::write(env.path("pdns.db"), "SQLite format 3\0and so on").unwrap();
        fs::write(env.path("other.sql"), "CREATE TABLE t (a);\nINSERT INTO t VALUES (1);\n").unwrap();
        let zeek_pdns = testdata("dumps/zeek-pdns.sql");
        for (arguments, says) in [
            (&["--from", "sqlite", "pdns.db"] as &[_], "sqlite3 FILE .dump | dnsledger import"),
            (&["pdns.db"], "sqlite3 FILE .dump | dnsledger import"),
            (&["--from", "mysql-dump", "other.sql"], "no table with the columns query, type, answer"),
            (&[zeek_pdns.as_str()], "--from sqlite"),
            (&["--from", "sqlite", "not-there.sql"], "not-there.sql"),
        ] {
            let (code, said) = import(&env, arguments);
            assert!(code == Some(2) && said.contains(says), "{arguments:?}: {said}");
        }
        assert_eq!(env.export("ours"), "");
        // One that was cut is read as far as it goes, and goes on when it is whole.
        fs::write(env.path("zeek-pdns.sql"), whole.split_once("INSERT INTO individual").unwrap().0).unwrap();
        let (code, said) = import(&env, &["--from", "sqlite", "zeek-pdns.sql"]);
        assert!(code == Some(2) && said.contains("the dump was cut"), "{said}");
        let (code, said) = import(&env, &["--from", "sqlite", &zeek_pdns]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(env.export("ours").lines().count(), 5);
        if let Some(daemon) = daemon {
            assert!(daemon.stop().status.success());
        }
    }
}
