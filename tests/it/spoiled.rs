//! That a byte which the disk spoiled is never silent, and that the logs make good for it.
//!
//! The real daemon follows a growing log, with commits since its start, and is killed. Then one byte is flipped, anywhere in
//! the data folder. From then on:
//!
//! - `verify` says "sound" only where nothing is missing, and no command gives an answer that is wrong: it is right, or an error;
//! - the next start of the daemon, or where it refuses one `verify --repair` before it, ends with the ledger that one clean
//!   import of the logs makes, for the logs are there.
//!
//! `DNSLEDGER_FLIPS` says in how many places, `DNSLEDGER_SEED` from which seed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use generate::{Config, Format, Random, write_log};

use crate::env::{TestEnv, post_control, setting, until};

/// A data folder whose daemon was killed after some commits, the logs beside it, and what a clean import of them gives.
fn killed(fold_rows: &str, lines: u64) -> (TestEnv, String) {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", fold_rows);
    fs::create_dir_all(env.path("logs")).unwrap();
    let write = |name: &str, lines: u64, seed: u64, ended: bool| {
        let mut log = Vec::new();
        write_log(Config { lines, ..Config::rich(seed) }.generate(), Format::Tsv, ended, &mut log).unwrap();
        fs::write(env.path("logs").join(name), &log).unwrap();
        log
    };
    write("dns.2024-01-01-00-00-00.log", lines / 2, 7, true);
    let live = write("dns.log", lines, 8, false);
    let lines: Vec<_> = live.split_inclusive(|byte| *byte == b'\n').collect();
    let (first, rest) = lines.split_at(lines.len() / 2);
    fs::write(env.path("logs/dns.log"), first.concat()).unwrap();
    let daemon = env.daemon("logs", "base");
    daemon.catch_up();
    for some in rest.chunks(rest.len() / 4 + 1) {
        let mut file = fs::File::options().append(true).open(env.path("logs/dns.log")).unwrap();
        file.write_all(&some.concat()).unwrap();
        daemon.catch_up();
        assert_eq!(post_control(&env.path("base"), "/control/flush"), 200);
    }
    daemon.kill();
    fs::remove_file(env.path("base/control.sock")).unwrap(); // it cannot be copied
    env.ok(&["import", "--data", "clean", "logs"]);
    let expected = env.export("clean");
    (env, expected)
}

/// All files in a folder, with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let size = path.metadata().unwrap().len();
            all.push((path, size));
        }
    }
    all.sort();
    all.retain(|(_, size)| *size > 0);
    all
}

/// Flips bits of a byte somewhere in a data folder; says where.
fn flip(data: &Path, random: &mut Random) -> String {
    let files = files(data);
    let mut at = random.between(0, files.iter().map(|(_, size)| size).sum::<u64>() - 1);
    let (mut path, mut size) = files[0].clone();
    if random.chance(0.6) {
        for file in &files {
            (path, size) = file.clone();
            match at.checked_sub(size) {
                Some(left) => at = left,
                None => break,
            }
        }
    } else {
        // Also what is small.
        (path, size) = files[random.between(0, files.len() as u64 - 1) as usize].clone();
        at = random.between(0, size - 1);
    }
    let mut bytes = fs::read(&path).unwrap();
    // What was written ahead and is zero is worth a try now and then.
    for _ in 0..20 {
        if bytes[at as usize] != 0 || random.chance(0.1) {
            break;
        }
        at = random.between(0, size - 1);
    }
    let bits = random.between(1, 255) as u8;
    bytes[at as usize] ^= bits;
    fs::write(&path, bytes).unwrap();
    format!("{} byte {at}, bits {bits:#04x}", path.strip_prefix(data).unwrap().display())
}

/// What becomes of a data folder in which a byte was flipped; a word for it.
fn assert_never_silent(
    env: &TestEnv,
    data: &str,
    expected: &str,
    verify_first: bool,
    what: &str,
) -> &'static str {
    let verify = || {
        let ended = env.run(&["verify", "--data", data]);
        let said = String::from_utf8(ended.stdout).unwrap() + &ended.stderr;
        (ended.status.code(), said)
    };
    let export = || {
        let ended = env.run(&["export", "--data", data]);
        let rows = String::from_utf8(ended.stdout).unwrap();
        assert!(ended.status.code().is_some(), "{what}: export died: {}", ended.stderr);
        (ended.status.success().then_some(rows), ended.stderr)
    };
    let before = if verify_first { None } else { Some(export()) };
    let (code, said) = verify();
    let (rows, why) = before.unwrap_or_else(export);
    match (code, &rows) {
        (Some(0), Some(rows)) => assert!(rows == expected, "{what}: \"sound\", and rows differ: {said}"),
        (Some(0), None) => panic!("{what}: \"sound\", and export fails: {why}"),
        (Some(2), Some(rows)) => assert!(rows == expected, "{what}: a wrong answer; verify says {said}"),
        (Some(2), None) => assert!(said.contains("\ntry: "), "{what}: {said}"),
        _ => panic!("{what}: verify ended with {code:?}: {said}"),
    }
    if said.contains("this version reads up to") {
        // The number in CURRENT is another one: nothing touches what a newer version wrote.
        fs::copy(env.path("base/CURRENT"), env.path(data).join("CURRENT")).unwrap();
    }
    let mut outcome = if code == Some(0) { "sound" } else { "healed by a start" };
    let heal = || {
        let daemon = env.daemon("logs", data);
        daemon.catch_up();
        assert!(daemon.stop().status.success(), "{what}");
    };
    heal();
    let (code, said) = verify();
    assert_eq!(code, Some(0), "{what}: after a start: {said}");
    let (rows, why) = export();
    assert!(rows.as_deref() == Some(expected), "{what}: after a start the rows differ: {why}");
    let aside = |entry: fs::DirEntry| entry.file_name().to_string_lossy().contains(".damaged");
    if fs::read_dir(env.path(data)).unwrap().any(|entry| aside(entry.unwrap())) {
        outcome = "begun anew by a start";
    }
    outcome
}

#[test]
fn a_byte_that_is_flipped_anywhere_is_never_silent_and_the_logs_make_good_for_it() {
    let (seed, flips) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_FLIPS", 3));
    let mut random = Random::new(seed);
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    // One that is in the journal, one of many small runs, and one over several segments of sled.
    let bases: &[_] =
        if flips < 20 { &[("60", 600)] } else { &[("100000", 600), ("60", 600), ("2000", 20_000)] };
    let bases: Vec<_> = bases.iter().map(|(fold_rows, lines)| killed(fold_rows, *lines)).collect();
    for number in 0..flips {
        let (env, expected) = &bases[(number as usize) % bases.len()];
        env.copy("base", "data");
        let place = flip(&env.path("data"), &mut random);
        let what = format!("seed {seed}, flip {number}: {place}");
        let outcome = assert_never_silent(env, "data", expected, random.chance(0.5), &what);
        *outcomes.entry(outcome).or_default() += 1;
        if std::env::var_os("DNSLEDGER_TELL").is_some() {
            writeln!(std::io::stderr(), "{what}: {outcome}").unwrap();
        }
        fs::remove_dir_all(env.path("data")).unwrap();
    }
    writeln!(std::io::stderr(), "{flips} flips: {outcomes:?}").unwrap();
}

#[test]
fn what_is_lost_at_the_end_is_named_asked_for_and_read_again() {
    let (env, expected) = killed("100000", 600);
    let db = fs::read(env.path("base/ledger-1/db")).unwrap();
    let end = db.iter().rposition(|byte| *byte != 0).unwrap();
    // Somewhere in the last commits, which sled takes for torn. What the engine writes by itself may be behind them.
    let said = (1..600).find_map(|step| {
        env.copy("base", "data");
        let mut spoiled = db.clone();
        spoiled[end.checked_sub(step * 100)?] ^= 0x55;
        fs::write(env.path("data/ledger-1/db"), spoiled).unwrap();
        let ended = env.run(&["verify", "--data", "data"]);
        let said = String::from_utf8(ended.stdout).unwrap() + &ended.stderr;
        assert!(ended.status.code() == Some(2) || !said.contains("acknowledged"), "{said}");
        let found = said.contains(" bytes of it were acknowledged, and ").then_some(said);
        if found.is_none() {
            fs::remove_dir_all(env.path("data")).unwrap();
        }
        found
    });
    let said = said.expect("some commit is lost by one of these");
    assert!(said.contains("DAMAGED what was read of ") && said.contains("logs/dns.log: "), "{said}");
    assert!(said.contains("\ndamaged\ntry: `dnsledger run`"), "{said}");
    for arguments in [&["export"] as &[_], &["lookup", "example.com"], &["snapshot", "backup"]] {
        let refused = env.run(&[arguments, &["--data", "data"]].concat());
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("rows of 1 logs are missing that were there"), "{}", refused.stderr);
        assert!(refused.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(env.status("data")["store"]["missing_logs"], 1);
    // Without the log it stays so, over starts, and a copy says it too, until it is given up.
    fs::rename(env.path("logs"), env.path("away")).unwrap();
    let daemon = env.daemon("logs", "data");
    let status = daemon.json("/api/v1/status");
    assert_eq!(status["store"]["missing_logs"], 1);
    // Every face says that answers may lack it, those that say that there is nothing too.
    let says = "rows of 1 logs are missing that were there";
    assert!(status["caught_up"] == false && status["as_of"].is_null(), "{status}");
    assert!(status["incomplete"][0].as_str().unwrap().to_lowercase().contains(says), "{status}");
    for path in ["/dns/nowhere.example", "/api/v1/seen/nowhere.example", "/lookup/rrset/name/nowhere.example"]
    {
        let answer = daemon.get(path);
        let header = answer.head.lines().find(|line| line.starts_with("x-dnsledger-incomplete: "));
        assert!(header.is_some_and(|header| header.contains(says)), "{path}: {}", answer.head);
        assert_eq!(answer.status == 404, !path.starts_with("/dns"), "{path}");
    }
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 200);
    assert!(String::from_utf8(ready.body).unwrap().contains("\"status\":\"incomplete\""));
    // A copy says it of itself.
    let copied = env.run(&["snapshot", "--data", "data", "copy"]);
    assert!(
        copied.status.success() && copied.stderr.contains("Rows of 1 logs are missing in it"),
        "{}",
        copied.stderr
    );
    assert_eq!(env.status("copy")["store"]["missing_logs"], 1);
    let refused = env.run(&["export", "--data", "copy"]);
    assert!(refused.status.code() == Some(2) && refused.stderr.contains(says), "{}", refused.stderr);
    let ended = env.run(&["verify", "--data", "data"]);
    assert_eq!(ended.status.code(), Some(2));
    let doctor = env.run(&["doctor", "--data", "data", "--logs", "logs"]);
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("rows of 1 logs are missing"));
    let logged = daemon.stop().stderr;
    assert!(logged.contains("rows of these logs are missing that were acknowledged"), "{logged}");
    env.copy("data", "given-up");
    let given_up = env.run(&["verify", "--repair", "--data", "given-up"]);
    let said = String::from_utf8(given_up.stdout).unwrap() + &given_up.stderr;
    assert!(
        given_up.status.success() && said.contains("What is missing of 1 logs is no longer asked for"),
        "{said}"
    );
    let rows = env.export("given-up");
    assert!(rows.lines().count() < expected.lines().count());
    env.ok(&["verify", "--data", "given-up"]);
    // With it, it is read again.
    fs::rename(env.path("away"), env.path("logs")).unwrap();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    assert_eq!(post_control(&env.path("data"), "/control/flush"), 200);
    assert_eq!(daemon.json("/api/v1/status")["store"]["missing_logs"], 0);
    let logged = daemon.stop().stderr;
    assert!(logged.contains("All rows that were missing are there again."), "{logged}");
    env.ok(&["verify", "--data", "data"]);
    assert_eq!(env.export("data"), expected);
}

#[test]
fn after_a_kill_whoever_opens_a_ledger_first_leaves_nothing_that_others_could_read() {
    use std::os::unix::fs::PermissionsExt;
    fn open_to_others(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let (entry, path) = entry.map(|entry| (entry.metadata().unwrap(), entry.path())).unwrap();
            if entry.permissions().mode() & 0o077 != 0 {
                found.push(path.clone());
            }
            if entry.is_dir() {
                open_to_others(&path, found);
            }
        }
    }
    let (env, _) = killed("60", 600);
    let mut found = Vec::new();
    env.copy("base", "data");
    // As a copy is made by this test, by its umask.
    assert!(Command::new("chmod").args(["-R", "go="]).arg(env.path("data")).status().unwrap().success());
    env.ok(&["verify", "--data", "data"]);
    open_to_others(&env.path("data"), &mut found);
    assert!(found.is_empty(), "{found:?}");
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    let said = daemon.stop().stderr;
    assert!(!said.contains("Others could enter"), "{said}");
}

#[test]
fn a_damaged_ledger_whose_logs_are_gone_is_left_alone_until_somebody_decides() {
    let (env, expected) = killed("60", 600);
    fs::write(env.path("base/ledger-1/db"), "").unwrap();
    let archive = "logs/dns.2024-01-01-00-00-00.log";
    fs::rename(env.path(archive), env.path("away.log")).unwrap();
    let names = || {
        let entries = fs::read_dir(env.path("base")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains("ledger") || name.contains("CURRENT"));
        names.sort();
        names
    };
    let said = |arguments: &[&str]| {
        let ended = env.run(&[arguments, &["--data", "base", "--logs", "logs"]].concat());
        (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
    };
    let why = "of 2 logs that it had read, 1 are not in the sources any more";
    let (code, text) = said(&["run", "--listen", "127.0.0.1:0"]);
    assert!(code == Some(2) && text.contains(why) && text.contains("rows could be lost"), "{text}");
    assert!(text.contains("\ntry: run `dnsledger verify --repair`"), "{text}");
    let (code, text) = said(&["verify", "--repair"]);
    assert!(code == Some(2) && text.contains(why) && text.contains("nothing was changed"), "{text}");
    assert!(text.contains("`dnsledger verify --repair --begin-anew`"), "{text}");
    assert_eq!(names(), ["CURRENT", "ledger-1"]);
    let (code, text) = said(&["verify", "--repair", "--begin-anew"]);
    assert!(
        code == Some(0) && text.contains("and is now base/ledger-1.damaged. Another ledger was begun"),
        "{text}"
    );
    assert_eq!(names(), ["CURRENT", "ledger-1.damaged", "ledger-2"]);
    assert_eq!(env.status("base")["store"]["missing_logs"], 2);
    let daemon = env.daemon("logs", "base");
    until("what is there is read", || {
        let status = daemon.json("/api/v1/status");
        let reasons = status["incomplete"].as_array().unwrap();
        let only =
            reasons.len() == 1 && reasons[0].as_str().unwrap().starts_with("Rows of 1 logs are missing");
        (only && status["caught_up"] == false).then_some(())
    });
    assert!(daemon.stop().status.success());
    let (code, text) = said(&["verify"]);
    assert!(code == Some(2) && text.contains(" bytes of it were acknowledged, and 0 are there"), "{text}");
    assert_eq!(env.status("base")["store"]["missing_logs"], 1);
    // It turns up again.
    fs::rename(env.path("away.log"), env.path(archive)).unwrap();
    env.ok(&["import", "--data", "base", "logs"]);
    env.ok(&["verify", "--data", "base"]);
    assert_eq!(env.export("base"), expected);
    let (_, text) = said(&["doctor"]);
    assert!(text.contains("base/ledger-1.damaged was set aside"), "{text}");
}
