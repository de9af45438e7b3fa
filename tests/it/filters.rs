//! The filters of logs: made while archives are read, or behind that, and none ever says of a log that it does not hold what it does.
//!
//! Files are killed into half of what they were, and filters with them. `DNSLEDGER_KILLS` says how often a program is killed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use generate::Random;
use serde_json::Value;

use crate::env::{TestEnv, made_up_log, pause, setting, until};

/// Archives of so many lines each: large enough that their filters are made while they are read.
const LINES: u64 = 1_500;

/// Writes an archive that is packed, and closed an hour ago.
fn archive(path: &Path, log: &[u8]) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(log).unwrap();
    fs::write(path, encoder.finish().unwrap()).unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
    fs::File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
}

/// A folder with archives of different traffic, and one log that only one row is in.
fn logs(env: &TestEnv, archives: u64) {
    fs::create_dir_all(env.path("logs")).unwrap();
    for at in 0..archives {
        archive(&env.path(&format!("logs/dns.{at:02}.log.gz")), &made_up_log(LINES, 40 + at));
    }
}

/// The filters in a data folder.
pub fn filters(env: &TestEnv, data: &str) -> Vec<std::path::PathBuf> {
    let Ok(found) = fs::read_dir(env.path(data).join("evidence")) else { return Vec::new() };
    found.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_none()).collect()
}

/// Asks for some rows and blocks of a ledger that nobody has open: the lines that are found are as many as were counted. Gives how many logs
/// were passed over.
#[track_caller]
pub fn check_nothing_is_denied(env: &TestEnv, data: &str, rows: usize) -> u64 {
    let listed = String::from_utf8(env.run(&["lookup", "--data", data, "-f", "json", "*"]).stdout).unwrap();
    let listed: Vec<&str> = listed.lines().collect();
    let mut passed_over = 0;
    let mut check = |args: &[&str], counted: Option<u64>| {
        let ended = env.run(&[&["evidence", "--data", data, "--logs", "logs", "-f", "json"], args].concat());
        let text = String::from_utf8(ended.stdout).unwrap();
        let end: Value =
            serde_json::from_str(text.lines().last().unwrap_or_else(|| panic!("{}", ended.stderr))).unwrap();
        let end = &end["end"];
        assert_eq!(end["complete"], true, "{args:?}: {end}");
        assert_eq!(end["sightings"]["missing"], 0, "{args:?}: {end}");
        assert!(counted.is_none_or(|counted| end["sightings"]["found"] == counted), "{args:?}: {end}");
        passed_over += end["logs_passed_over"].as_u64().unwrap();
    };
    for line in listed.iter().step_by(listed.len() / rows + 1) {
        let row: Value = serde_json::from_str(line).unwrap();
        // As a query its brackets are what surrounds a pasted name.
        if row["rrname"] == "(empty)" {
            continue;
        }
        let [name, rrtype, rdata] = ["rrname", "rrtype", "rdata"].map(|key| row[key].as_str().unwrap());
        check(&[name, "-t", rrtype, "--rdata", rdata], row["count"].as_u64());
        if rrtype == "A" {
            check(&[&format!("{rdata}/24")], None);
        }
    }
    passed_over
}

#[test]
fn filters_are_made_while_archives_are_read_and_deny_nothing() {
    let env = TestEnv::new();
    logs(&env, 6);
    env.ok(&["import", "--data", "data", "logs"]);
    assert_eq!(filters(&env, "data").len(), 6, "an import leaves them, and nobody else was here");
    let bytes: u64 = filters(&env, "data").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < 6 * LINES * 6, "{bytes}");
    assert!(check_nothing_is_denied(&env, "data", 12) > 0);
    // A daemon keeps them, and says so.
    let daemon = env.daemon("logs", "data");
    until("the filters are counted", || {
        let status = daemon.json("/api/v1/status");
        (status["evidence"]["logs"] == 6 && status["evidence"]["filters"] == 6).then_some(())
    });
    let said = String::from_utf8(env.ok(&["status", "--data", "data"])).unwrap();
    assert!(said.contains("evidence  filters of 6 of 6 complete logs, "), "{said}");
    assert!(String::from_utf8(daemon.get("/status").body).unwrap().contains("Filters of logs"));
    daemon.stop();
    // One that catches up makes them as it does.
    let daemon = env.daemon("logs", "other");
    daemon.wait_for_lines(6 * LINES);
    assert_eq!(filters(&env, "other").len(), 6);
    daemon.stop();
    // Where there is no room for them there are none.
    fs::write(env.path("none.toml"), "data_dir = \"none\"\n[evidence]\ndisk = \"0B\"\n").unwrap();
    env.ok(&["import", "--config", "none.toml", "logs"]);
    assert_eq!(filters(&env, "none").len(), 0);
    assert_eq!(check_nothing_is_denied(&env, "none", 3), 0);
    fs::write(env.path("little.toml"), "data_dir = \"little\"\n[evidence]\ndisk = \"10KiB\"\n").unwrap();
    env.ok(&["import", "--config", "little.toml", "logs"]);
    let bytes: u64 = filters(&env, "little").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!((1..=10_240).contains(&bytes), "{bytes}");
}

#[test]
fn a_log_that_was_only_begun_or_is_not_whole_has_no_filter() {
    let env = TestEnv::new();
    logs(&env, 2);
    let path = env.path("logs/dns.01.log.gz");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    // One that is still written to has no end.
    let open = made_up_log(LINES, 90);
    let end = open.windows(7).rposition(|part| part == b"\n#close").unwrap() + 1;
    fs::write(env.path("logs/dns.log"), &open[..end]).unwrap();
    env.run(&["import", "--data", "data", "logs"]);
    assert_eq!(filters(&env, "data").len(), 1);
    // It is whole now: what was read before was not told then, so its filter is made behind it.
    fs::write(&path, &whole).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    assert_eq!(filters(&env, "data").len(), 1);
    check_nothing_is_denied(&env, "data", 6);
}

#[test]
fn killed_while_filters_are_written_none_denies_what_is_there() {
    let kills = setting("DNSLEDGER_KILLS", 10);
    let seed = setting("DNSLEDGER_SEED", 1);
    let mut random = Random::new(seed);
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FILTERS_MS", "1");
    logs(&env, 5);
    for kill in 0..kills {
        // Each time something is new: an archive, or what becomes of a filter when the power goes.
        archive(&env.path(&format!("logs/dns.x{kill}.log.gz")), &made_up_log(300, 1_000 + kill));
        if let Some(filter) = filters(&env, "data").into_iter().nth(random.below(5) as usize) {
            let bytes = fs::read(&filter).unwrap();
            let cut = random.below(bytes.len() as u64 + 1) as usize;
            // A part of it, or as many zeros.
            let rest = if random.chance(0.5) { 0 } else { bytes.len() - cut };
            fs::write(&filter, [&bytes[..cut], &vec![0; rest]].concat()).unwrap();
        }
        let running = match random.chance(0.5) {
            true => env.spawn("logs", "data"),
            false => env.begin(&["import", "--data", "data", "logs"]),
        };
        pause(Duration::from_micros(random.between(0, 400_000)));
        running.kill();
        if random.chance(0.3) {
            env.ok(&["import", "--data", "data", "logs"]);
            check_nothing_is_denied(&env, "data", 4);
        }
    }
    let daemon = env.daemon("logs", "data");
    let lines = 5 * LINES + kills * 300;
    daemon.wait_for_lines(lines);
    until("each log has a filter", || {
        let status = daemon.json("/api/v1/status");
        let filters = &status["evidence"];
        (filters["logs"] == 5 + kills && filters["filters"] == 5 + kills).then_some(())
    });
    assert!(daemon.stop().status.success(), "seed {seed}");
    assert_eq!(filters(&env, "data").len() as u64, 5 + kills, "seed {seed}");
    assert!(check_nothing_is_denied(&env, "data", 10) > 0, "seed {seed}");
}
