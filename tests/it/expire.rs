//! `dnsledger expire` and `[store] retention`: what was not seen for long goes, and nothing else.

use std::fs;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::env::{TestEnv, until};

/// A log of records of one day, so many days ago, at noon.
fn write(env: &TestEnv, name: &str, days_ago: u64, records: Range<u64>) {
    let time = now() / 86_400 * 86_400 + 43_200 - days_ago * 86_400;
    let record = |i| {
        format!(
            "{{\"ts\":{time}.{i:04},\"uid\":\"C{days_ago}x{i}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\
             \"query\":\"n{i}.day{days_ago}.test\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\
             \"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}}\n"
        )
    };
    fs::write(env.path(name), records.map(record).collect::<String>()).unwrap();
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Runs `expire`: how it ended, and what it said.
fn expire(env: &TestEnv, arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["expire", "--data", "ledger"];
    all.extend(arguments);
    let ended = env.run(&all);
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
}

/// Logs of 100, 50 and 5 days ago, and of half a day that is to come.
fn logs() -> TestEnv {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    for days_ago in [100, 50, 5] {
        write(&env, &format!("logs/dns.{days_ago}.log"), days_ago, 0..20);
    }
    let future = fs::read_to_string(env.path("logs/dns.5.log")).unwrap();
    let (day, later) = (now() / 86_400 * 86_400 + 43_200 - 5 * 86_400, now() + 43_200);
    let future = future.replace(&format!("\"ts\":{day}."), &format!("\"ts\":{later}."));
    fs::write(env.path("logs/dns.later.log"), future.replace("day5", "later")).unwrap();
    env
}

/// What a ledger exports that has read only these logs.
fn export_of(env: &TestEnv, logs: &[&str]) -> String {
    let model = format!("model-{}", logs.concat().replace('/', "-"));
    let mut arguments = vec!["import", "--data", &model];
    arguments.extend(logs);
    env.ok(&arguments);
    env.export(&model)
}

#[test]
fn what_is_older_goes_and_an_old_log_does_not_bring_it_back() {
    let env = logs();
    env.ok(&["import", "--data", "ledger", "logs"]);
    let (code, said) = expire(&env, &["--older-than", "60d"]);
    assert!(code == Some(0) && said.starts_with("20 rows and 20 questions dropped; none is left"), "{said}");
    let newer = ["logs/dns.50.log", "logs/dns.5.log", "logs/dns.later.log"];
    assert!(env.export("ledger") == export_of(&env, &newer));
    // Nothing more is as old as that.
    let (code, said) = expire(&env, &["--older-than", "60d"]);
    assert!(code == Some(0) && said.starts_with("0 rows and 0 questions dropped"), "{said}");
    write(&env, "archive.log", 100, 0..30);
    let said = String::from_utf8(env.ok(&["import", "--data", "ledger", "archive.log"])).unwrap();
    assert!(said.contains("0 counted, 10 skipped, 0 malformed\n  skipped: expired 10"), "{said}");
    assert!(env.export("ledger") == export_of(&env, &newer));
    let status = env.status("ledger");
    assert_eq!(status["store"]["expired"]["rows"], 20);
    let status = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    assert!(status.contains("expired   20 rows and 20 questions last seen before "), "{status}");
    assert_eq!(env.ok(&["verify", "--data", "ledger"]).last_chunk(), Some(b"sound\n"));
}

#[test]
fn a_daemon_expires_while_it_serves() {
    let env = logs();
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(80);
    let (code, said) = expire(&env, &["--older-than", "60d"]);
    assert!(code == Some(0) && said.starts_with("20 rows and 20 questions dropped"), "{said}");
    let found =
        |name: &str| daemon.json(&format!("/api/v1/records?q={name}"))["records"].as_array().unwrap().len();
    assert_eq!((found("n3.day100.test"), found("n3.day50.test"), found("n3.later.test")), (0, 1, 1));
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains("dnsledger_store_expired_total{what=\"row\"} 20\n"), "{metrics}");
    assert!(metrics.contains("dnsledger_store_expired_before_seconds "), "{metrics}");
    let page = String::from_utf8(daemon.get("/status").body).unwrap();
    assert!(page.contains("20 rows last seen before "), "{page}");
    assert!(daemon.stop().status.success());
    assert!(
        env.export("ledger") == export_of(&env, &["logs/dns.50.log", "logs/dns.5.log", "logs/dns.later.log"])
    );
}

/// A daemon with a retention of 30 days.
fn configured(env: &TestEnv) -> crate::env::Daemon {
    let config = "data_dir = \"ledger\"\n[http]\nlisten = \"127.0.0.1:0\"\n[store]\nretention = \"30d\"\n\
                  [[source]]\nlogs = \"logs\"\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    env.configured_daemon("dnsledger.toml", "ledger")
}

#[test]
fn a_daemon_keeps_the_retention_of_its_configuration() {
    let env = logs();
    write(&env, "logs/dns.4.log", 4, 0..40);
    env.ok(&["import", "--data", "ledger", "logs/dns.100.log", "logs/dns.5.log", "logs/dns.4.log"]);
    let daemon = configured(&env);
    daemon.wait_for_lines(120);
    until("the old rows are gone", || {
        let expired = daemon.json("/api/v1/status")["store"]["expired"].clone();
        (expired["before"].as_u64() > Some(0)).then_some(())
    });
    assert!(daemon.stop().status.success());
    let newer = ["logs/dns.5.log", "logs/dns.4.log", "logs/dns.later.log"];
    // What is 50 days old may have been read before it was looked: then it went with the rest.
    let (code, said) = expire(&env, &["--config", "dnsledger.toml"]);
    assert!(code == Some(0) && said.contains(" rows and "), "{said}");
    assert!(env.export("ledger") == export_of(&env, &newer));
}

#[test]
fn more_than_half_of_the_rows_go_only_by_hand() {
    let env = logs();
    write(&env, "logs/dns.60.log", 60, 0..20);
    env.ok(&["import", "--data", "ledger", "logs"]);
    let before = env.export("ledger");
    let daemon = configured(&env);
    daemon.wait_for_lines(100);
    let warning = until("the daemon asks", || {
        let warnings = daemon.json("/api/v1/status")["warnings"].clone();
        warnings[0].as_str().map(str::to_owned)
    });
    assert!(
        warning.starts_with("60 of 100 rows and 60 of 100 questions were last seen before "),
        "{warning}"
    );
    assert!(warning.contains("dnsledger expire --dry-run"), "{warning}");
    assert_eq!(daemon.json("/api/v1/status")["store"]["expired"]["before"], 0);
    for said in [
        String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap(),
        String::from_utf8(daemon.get("/status").body).unwrap(),
        String::from_utf8(env.run(&["doctor", "--config", "dnsledger.toml"]).stdout).unwrap(),
    ] {
        assert!(said.contains("60 of 100 rows"), "{said}");
    }
    let (code, said) = expire(&env, &["--config", "dnsledger.toml", "--dry-run"]);
    assert!(
        code == Some(0) && said.starts_with("60 of 100 rows") && said.contains("would be dropped"),
        "{said}"
    );
    assert!(env.export("ledger") == before);
    let (code, said) = expire(&env, &["--config", "dnsledger.toml"]);
    assert!(code == Some(0) && said.starts_with("60 rows and 60 questions dropped"), "{said}");
    assert_eq!(daemon.json("/api/v1/status")["warnings"].as_array().map(Vec::len), Some(0));
    let log = daemon.stop();
    assert!(log.stderr.contains("60 of 100 rows"), "{}", log.stderr);
    assert!(env.export("ledger") == export_of(&env, &["logs/dns.5.log", "logs/dns.later.log"]));
}

#[test]
fn a_day_that_is_named_is_dropped_by_hand_and_asked_before() {
    let env = TestEnv::new();
    for days_ago in [100, 50] {
        write(&env, &format!("dns.{days_ago}.log"), days_ago, 0..20);
        env.ok(&["import", "--data", "ledger", &format!("dns.{days_ago}.log")]);
    }
    // Nothing new comes: ages are counted from the newest record.
    let (code, said) = expire(&env, &["--older-than", "30d", "--dry-run"]);
    assert!(code == Some(0) && said.starts_with("20 of 40 rows") && said.contains("--before DATE"), "{said}");
    let (code, said) = expire(&env, &["--older-than", "30d"]);
    assert!(code == Some(0) && said.starts_with("20 rows"), "{said}");
    let today = dnsledger::base::time::format_date(now());
    let (code, said) = expire(&env, &["--before", &today, "--dry-run"]);
    assert!(code == Some(0) && said.starts_with("20 of 20 rows"), "{said}");
    let (code, said) = expire(&env, &["--before", &today, "--yes"]);
    assert!(code == Some(0) && said.starts_with("20 rows"), "{said}");
    assert_eq!(env.export("ledger"), "");
    let (code, said) = expire(&env, &["--before", "soon"]);
    assert!(code == Some(64) && said.contains("YYYY-MM-DD"), "{said}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let env = TestEnv::new();
    for (arguments, says) in [
        (&["--older-than", "1h"][..], "below 1d"),
        (&["--older-than", "soon"], "not a duration"),
        (&["--max-disk", "1MiB"], "below 16MiB"),
        (&["--older-than", "30d"], "there is no ledger in ledger"),
    ] {
        let (code, said) = expire(&env, arguments);
        assert!(code == Some(64) && said.contains(says), "{arguments:?}: {said}");
    }
    fs::write(env.path("empty.toml"), "[store]\nmax_disk = \"none\"\n").unwrap();
    let (code, said) = expire(&env, &["--config", "empty.toml"]);
    assert!(code == Some(64) && said.contains("neither an age nor a size"), "{said}");
}

#[test]
fn without_a_bound_of_its_own_a_ledger_has_one_that_its_first_start_made() {
    let env = TestEnv::new();
    write(&env, "a.log", 5, 0..3);
    env.ok(&["import", "--data", "ledger", "a.log"]);
    let most = |env: &TestEnv| env.status("ledger")["store"]["max_disk"].as_u64().unwrap();
    let first = most(&env);
    assert!(first >= 16 << 20);
    assert_eq!(fs::read_to_string(env.path("ledger/max-disk")).unwrap(), format!("{first}\n"));
    // It is kept, whatever is free later.
    fs::write(env.path("ledger/max-disk"), "20971520\n").unwrap();
    let status = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    assert!(status.contains(" on disk of at most 20.0 MiB, "), "{status}");
    let daemon = env.daemon("a.log", "ledger");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains("dnsledger_store_max_disk_bytes 20971520\n"), "{metrics}");
    let page = String::from_utf8(daemon.get("/status").body).unwrap();
    assert!(page.contains(" of at most 20"), "{page}");
    // `expire` without bounds has the daemon keep its own.
    let (code, said) = expire(&env, &[]);
    assert!(code == Some(0) && said.starts_with("nothing was dropped"), "{said}");
    assert!(daemon.stop().status.success());
    let (_, said) = (0, String::from_utf8(env.run(&["doctor", "--data", "ledger"]).stdout).unwrap());
    assert!(said.contains("at most 20.0 MiB, by what was free at the first start, "), "{said}");
    // A backup goes to another disk.
    env.ok(&["snapshot", "--data", "ledger", "backup"]);
    assert!(!env.path("backup/max-disk").exists());
}

#[test]
fn an_import_without_a_daemon_keeps_to_the_disk_that_the_ledger_may_take() {
    let env = TestEnv::new();
    fs::write(env.path("dnsledger.toml"), "data_dir = \"ledger\"\n[store]\nmax_disk = \"16MiB\"\n").unwrap();
    let mut random = generate::Random::new(4);
    let import = |log: &str| env.run(&["import", "--config", "dnsledger.toml", log]);
    let day = |number: u64, random: &mut generate::Random| {
        let log = format!("dns.{number}.log");
        let mut text = String::new();
        for i in 0..4_000 {
            let data: String = (0..125).map(|_| format!("{:016x}", random.below(u64::MAX))).collect();
            let time = 1_700_006_400 + number * 86_400 + i;
            text.push_str(&format!(
                "{{\"ts\":{time},\"uid\":\"C{number}x{i}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"n{i}.d{number}.test\",\
                 \"qclass\":1,\"qtype\":16,\"rcode\":0,\"answers\":[\"TXT 250 {data}\"],\"TTLs\":[60.0]}}\n"
            ));
        }
        fs::write(env.path(&log), text).unwrap();
        log
    };
    let mut said = Vec::new();
    for number in 0..3 {
        let log = day(number, &mut random);
        let done = import(&log);
        assert!(done.status.success(), "{}", done.stderr);
        said.push(done.stderr);
    }
    assert!(said[2].contains("larger than store.max_disk") && said[2].contains("rows and"), "{said:?}");
    let taken = env.status("ledger")["store"]["disk_bytes"].as_u64().unwrap();
    assert!(taken <= 16 << 20, "{taken}");
}
