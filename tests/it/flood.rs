//! Floods of names: one domain, many domains.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use generate::Random;
use serde_json::Value;

use crate::env::{TestEnv, pause, setting, until};

/// A log line of JSON.
fn line(out: &mut String, uid: &str, time: f64, name: &str, address: Option<&str>) {
    let (rcode, answers) = match address {
        Some(address) => (0, format!(",\"answers\":[\"{address}\"],\"TTLs\":[60.0]")),
        None => (3, String::new()),
    };
    writeln!(
        out,
        "{{\"ts\":{time:.3},\"uid\":\"{uid}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"{name}\",\"qclass\":1,\
         \"qtype\":1,\"qtype_name\":\"A\",\"rcode\":{rcode}{answers}}}"
    )
    .unwrap();
}

/// A start of a day long ago, so that nothing is of the last day.
const START: f64 = 1_700_006_400.0;

/// A name that nobody could guess, the same for the same number.
fn random(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995;
    state ^= state >> 29;
    format!("{:016x}", state.wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

/// A flood of names below some domains, in logs of a day each; and before it some rows of others, and of these domains.
fn logs(env: &TestEnv, names: u64, domains: u64) -> Vec<String> {
    let mut logs = Vec::new();
    let mut before = String::new();
    for i in 0..300 {
        let domain =
            if i % 3 == 0 { format!("d{}.flood.test", i % domains) } else { format!("site{i}.example") };
        line(
            &mut before,
            &format!("Cb{i}"),
            START - 90_000.0 + i as f64,
            &format!("before{i}.{domain}"),
            Some("198.51.100.7"),
        );
    }
    fs::write(env.path("dns.before.log"), before).unwrap();
    logs.push("dns.before.log".to_owned());
    let days = 7;
    for day in 0..days {
        let mut text = String::new();
        for i in (day * names / days)..((day + 1) * names / days) {
            // The domains are `d0.flood.test`, … under a suffix of one label: below each one is registered.
            let name = format!("{}.flood{}.test", random(i), i % domains);
            let time = START + day as f64 * 86_400.0 + (i % 86_000) as f64;
            line(&mut text, &format!("Cf{i}"), time, &name, (i % 2 == 0).then_some("203.0.113.9"));
        }
        let log = format!("dns.flood{day}.log");
        fs::write(env.path(&log), text).unwrap();
        logs.push(log);
    }
    logs
}

type Sums = BTreeMap<String, (u64, u64, u64)>;

/// The counts of an export by registrable domain: of rows and folded row together; how many rows; and all names.
fn sums(export: &str) -> (Sums, u64, Vec<String>) {
    let (mut sums, mut rows, mut names) = (BTreeMap::new(), 0, Vec::new());
    for line in export.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let name = row["rrname"].as_str().unwrap().to_owned();
        let labels: Vec<&str> = name.rsplit('.').take(2).collect();
        let number = |key: &str| row[key].as_u64().unwrap();
        let sum: &mut (u64, u64, u64) = sums.entry(labels.join(".")).or_insert((0, u64::MAX, 0));
        *sum = (sum.0 + number("count"), sum.1.min(number("time_first")), sum.2.max(number("time_last")));
        rows += 1;
        names.push(name);
    }
    (sums, rows, names)
}

fn config(env: &TestEnv, budget: u64) {
    let store = format!("[store]\nnames_per_domain = {budget}\n");
    fs::write(env.path("dnsledger.toml"), format!("data_dir = \"ledger\"\n{store}")).unwrap();
    fs::write(env.path("whole.toml"), "data_dir = \"whole\"\n[store]\nnames_per_domain = 0\n").unwrap();
}

/// What it came to, for people.
fn flooded(names: u64, domains: u64, budget: u64) -> String {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", "2000");
    config(&env, budget);
    let logs = logs(&env, names, domains);
    let import = |config: &str, logs: &[&String]| {
        let mut arguments = vec!["import", "--config", config];
        arguments.extend(logs.iter().map(|log| log.as_str()));
        env.ok(&arguments);
    };
    let in_order: Vec<&String> = logs.iter().collect();
    let turned: Vec<&String> = logs.iter().rev().collect();
    import("whole.toml", &in_order);
    let (whole, all_rows, _) = sums(&env.export("whole"));
    let mut report = String::new();
    for order in [&in_order, &turned] {
        drop(fs::remove_dir_all(env.path("ledger"))); // there is none the first time
        for log in order {
            import("dnsledger.toml", &[log]);
        }
        env.ok(&["expire", "--config", "dnsledger.toml", "--max-disk", "1GiB"]);
        let (folded, rows, names) = sums(&env.export("ledger"));
        let bytes = env.status("ledger")["store"]["disk_bytes"].as_u64().unwrap();
        report.push_str(&format!("{domains} domains: {rows} rows of {all_rows}, {bytes} bytes on disk\n"));
        assert_eq!(folded, whole, "the totals of each domain");
        assert!(rows < all_rows / 2, "{rows} rows of {all_rows}");
        for i in 0..300 {
            let start = format!("before{i}.");
            assert!(names.iter().any(|name| name.starts_with(&start)), "{start} was there before the flood");
        }
        env.ok(&["verify", "--data", "ledger"]);
    }
    // It says of itself that it is folded, in each format.
    for format in ["table", "csv", "json"] {
        let asked = ["lookup", "--config", "dnsledger.toml", "--format", format, "flood0.test"];
        let said = String::from_utf8(env.ok(&asked)).unwrap();
        assert!(said.contains("FOLDED") && said.contains("beyond the budget of this domain"), "{said}");
    }
    let status = env.status("ledger");
    assert!(status["store"]["folded"]["rows"].as_u64().unwrap() > 0, "{status:#}");
    report
}

#[test]
fn a_flood_of_one_domain_is_a_row_and_what_was_there_before_stays() {
    let names = setting("DNSLEDGER_FLOOD", 6_000);
    println!("{}", flooded(names, 1, names / 12));
}

#[test]
fn a_flood_of_many_domains_is_a_row_for_each() {
    let (names, domains) = (setting("DNSLEDGER_FLOOD", 9_000), setting("DNSLEDGER_FLOOD_DOMAINS", 30));
    println!("{}", flooded(names, domains, names / domains * 2 / 5));
}

#[test]
fn no_kill_changes_the_totals_of_a_folded_domain() {
    let (seed, kills) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_KILLS", 4));
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", "500");
    config(&env, 100);
    let logs = logs(&env, 3_000, 3);
    let import = |config| {
        let mut words = vec!["import", "--config", config];
        words.extend(logs.iter().map(String::as_str));
        words
    };
    env.ok(&import("whole.toml"));
    let (whole, all_rows, _) = sums(&env.export("whole"));
    let mut random = Random::new(seed);
    let expire = ["expire", "--config", "dnsledger.toml", "--max-disk", "1GiB"];
    for kill in 0..kills {
        let is_there = env.path("ledger/CURRENT").exists();
        let fold = is_there && random.chance(0.5);
        let work = if fold { expire.to_vec() } else { import("dnsledger.toml") };
        let working = env.begin(&work);
        pause(Duration::from_micros(random.between(1_000, 300_000)));
        working.kill();
        if kill % 8 == 3 && env.path("ledger/CURRENT").exists() {
            let verified = env.run(&["verify", "--data", "ledger"]);
            let said = String::from_utf8(verified.stdout).unwrap() + &verified.stderr;
            let sound = verified.status.success() || said.contains("there is no ledger");
            assert!(sound, "seed {seed}, kill {kill}: {said}");
        }
    }
    env.ok(&import("dnsledger.toml"));
    env.ok(&expire);
    let (folded, rows, _) = sums(&env.export("ledger"));
    assert_eq!(folded, whole, "seed {seed}, after {kills} kills");
    assert!(rows < all_rows / 2, "{rows} rows of {all_rows}");
    env.ok(&["verify", "--data", "ledger"]);
}

/// Who has no daemon imports a log each hour, each time by a command that is there for moments.
#[test]
fn many_small_imports_keep_a_flood_within_the_budget_of_its_domain() {
    let env = TestEnv::new();
    config(&env, 1_000);
    let status = || env.status("ledger")["store"].clone();
    for hour in 0..12 {
        let mut text = String::new();
        for i in hour * 1_000..(hour + 1) * 1_000 {
            let name = format!("{}.flood.test", random(i));
            line(&mut text, &format!("Cf{i}"), START + i as f64, &name, Some("203.0.113.9"));
        }
        fs::write(env.path("dns.log"), text).unwrap();
        env.ok(&["import", "--config", "dnsledger.toml", "dns.log"]);
    }
    let (store, (sums, rows, _)) = (status(), sums(&env.export("ledger")));
    assert!(rows < 4_000, "{rows} rows of 12,000: {store:#}");
    assert_eq!(sums["test.flood"].0, 12_000, "nothing is lost of the total");
    // Another one that brings nothing does not count them again.
    let before = store["disk_bytes"].as_u64();
    env.ok(&["import", "--config", "dnsledger.toml", "dns.log"]);
    assert_eq!(status()["disk_bytes"].as_u64(), before);
}

#[test]
fn a_daemon_tells_which_domains_grow_and_what_was_folded() {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", "2000");
    fs::create_dir(env.path("logs")).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as f64;
    let mut text = String::new();
    for i in 0..3000u64 {
        line(
            &mut text,
            &format!("Cg{i}"),
            now - 3600.0 + i as f64,
            &format!("{}.flood.test", random(i)),
            Some("203.0.113.9"),
        );
    }
    fs::write(env.path("logs/dns.log"), text).unwrap();
    let config = "data_dir = \"ledger\"\n[http]\nlisten = \"127.0.0.1:0\"\n[store]\nnames_per_domain = 100\n[[source]]\nlogs = \"logs\"\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "ledger");
    daemon.wait_for_lines(3000);
    until("the flood is folded", || {
        let rows = daemon.json("/api/v1/status")["store"]["folded"]["rows"].as_u64();
        (rows > Some(1000)).then_some(())
    });
    let found = daemon.json("/api/v1/records?q=flood.test");
    let row = &found["records"][0];
    assert_eq!(row["rrtype"], "FOLDED", "{found}");
    assert!(row["folded_names"].as_u64() > Some(1000), "{found}");
    let asked = daemon.json("/api/v1/names/flood.test");
    assert!(asked["asked"] == false && asked["questions"][0]["qtype"] == "FOLDED", "{asked}");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains("dnsledger_store_folded_total{what=\"row\",why=\"names\"} "), "{metrics}");
    assert!(metrics.contains("dnsledger_store_domain_names_a_day{domain=\"flood.test\"} "), "{metrics}");
    let page = String::from_utf8(daemon.get("/status").body).unwrap();
    assert!(page.contains("Domains that grow most") && page.contains("flood.test"), "{page}");
    for (path, says) in [
        ("/pdns/query/flood.test", "\"rrtype\":65535"),
        ("/dnsdb/v2/lookup/rrset/name/flood.test", "\"FOLDED\""),
        ("/dns/flood.test", "beyond the budget of this domain"),
        ("/api/v1/export?q=flood.test", "\"folded_names\":"),
        ("/?q=flood.test", "beyond the budget of this domain"),
    ] {
        let answer = String::from_utf8(daemon.get(path).body).unwrap();
        assert!(answer.contains(says), "{path}: {answer}");
    }
    assert!(daemon.stop().status.success());
    let status = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    assert!(status.contains("\nfolded    "), "{status}");
}
