//! That nobody is told more than is true: what is seen and not read is said in every answer that may lack it.

use std::fs;

use crate::ask::{A, record, text as text_of};
use crate::env::{Daemon, Response, TestEnv, made_up_log, until};

/// A daemon over a live log and an archive that is cut short: what is in its end is in no answer.
fn with_a_damaged_archive() -> (TestEnv, Daemon) {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/dns.log"), made_up_log(200, 1)).unwrap();
    let packed = gzip(&made_up_log(3000, 7));
    fs::write(env.path("logs/dns.1.log.gz"), &packed[..packed.len() / 2]).unwrap();
    let daemon = env.daemon("logs", "ledger");
    until("the archive is found damaged", || {
        let status = daemon.json("/api/v1/status");
        let is_found = status["sources"][0]["unread_counts"]["undecodable"] == 1;
        (is_found && status["sources"][0]["state"] == "following").then_some(())
    });
    (env, daemon)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The header that says what is not read.
fn incomplete(answer: &Response) -> Option<&str> {
    answer.head.lines().find_map(|line| line.strip_prefix("x-dnsledger-incomplete: "))
}

const NOBODY: &str = "nobody-ever-asked.example";

#[test]
fn an_empty_answer_says_what_is_not_read_in_every_format_and_face() {
    let (env, daemon) = with_a_damaged_archive();
    let says = "dns.1.log.gz";
    let status = daemon.json("/api/v1/status");
    assert_eq!(status["caught_up"], false);
    assert!(status["incomplete"][0].as_str().unwrap().contains(says), "{status:#}");
    for path in [
        format!("/dns/{NOBODY}"),
        format!("/pdns/query/{NOBODY}"),
        format!("/dns/find/tuples/{NOBODY}"),
        format!("/dnsdb/v2/summarize/rrset/name/{NOBODY}"),
        format!("/api/v1/records?q={NOBODY}"),
        format!("/api/v1/records?q={NOBODY}&format=ndjson"),
        format!("/api/v1/records?q={NOBODY}&format=csv"),
        format!("/api/v1/names/{NOBODY}"),
        format!("/api/v1/seen/{NOBODY}"),
        format!("/lookup/rrset/name/{NOBODY}"),
        format!("/summarize/rrset/name/{NOBODY}"),
        format!("/?q={NOBODY}"),
    ] {
        let answer = daemon.get(&path);
        assert!(incomplete(&answer).unwrap_or_default().contains(says), "{path}: {}", answer.head);
    }
    for path in [format!("/api/v1/records?q={NOBODY}"), format!("/api/v1/names/{NOBODY}")] {
        let document = daemon.json(&path);
        assert!(document["incomplete"][0].as_str().unwrap().contains(says), "{document:#}");
    }
    let lines =
        String::from_utf8(daemon.get(&format!("/api/v1/records?q={NOBODY}&format=ndjson")).body).unwrap();
    assert!(lines.lines().last().unwrap().contains(says), "{lines}");
    for path in [format!("/?q={NOBODY}"), "/".to_owned(), "/status".to_owned()] {
        let page = String::from_utf8(daemon.get(&path).body).unwrap();
        assert!(page.contains(says) && page.contains("/status"), "{path}");
        assert!(!page.contains("Nothing is followed"), "{path}");
    }
    for format in ["table", "json", "csv"] {
        let ended = env.run(&["lookup", "--data", "ledger", "--format", format, NOBODY]);
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(says), "{format}: {}", ended.stderr);
    }
    // Also in the body of a 404, and of lines of logs: these are not all.
    let answer = String::from_utf8(daemon.get(&format!("/api/v1/seen/{NOBODY}")).body).unwrap();
    assert!(answer.contains("\"incomplete\":[\"") && answer.contains(says), "{answer}");
    for format in ["table", "json"] {
        let ended = env.run(&["evidence", "--data", "ledger", "-f", format, NOBODY]);
        assert!(ended.status.code() == Some(1) && ended.stderr.contains(says), "{}", ended.stderr);
        let out = String::from_utf8(ended.stdout).unwrap();
        assert!(format == "table" || out.contains("\"complete\":false"), "{out}");
    }
    let said = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    assert!(said.contains("running, not everything visible is read"), "{said}");
    assert!(said.contains("not read: ") && said.contains("ends too early"), "{said}");
    // What only the daemon has seen, who read it to where it ends, doctor asks it for.
    let doctor = env.run(&["doctor", "--data", "ledger", "--logs", "logs"]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    let told: Vec<&str> = doctor.lines().filter(|line| line.contains(says)).collect();
    assert!(told.len() == 1 && told[0].contains("ends too early"), "{doctor}");
    let ready = daemon.json("/readyz");
    assert_eq!(ready["status"], "incomplete");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    let unread = metrics.lines().find(|line| line.contains("source_unread{") && line.contains("undecodable"));
    assert!(unread.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    assert!(metrics.contains("dnsledger_caught_up 0\n"), "{metrics}");

    // A reason goes away when its file does.
    fs::remove_file(env.path("logs/dns.1.log.gz")).unwrap();
    daemon.catch_up();
    let status = daemon.json("/api/v1/status");
    assert_eq!((status["incomplete"].as_array().unwrap().len(), status["caught_up"] == true), (0, true));
    assert_eq!(status["sources"][0]["reason"], serde_json::Value::Null);
    assert_eq!(daemon.json("/readyz")["status"], "ok");
    assert_eq!(incomplete(&daemon.get(&format!("/dns/{NOBODY}"))), None);
    let page = String::from_utf8(daemon.get(&format!("/?q={NOBODY}")).body).unwrap();
    assert!(!page.contains("Not all"), "{page}");
    let ended = env.run(&["lookup", "--data", "ledger", "--format", "csv", NOBODY]);
    assert!(!ended.stderr.contains("Not all"), "{}", ended.stderr);
}

#[test]
fn an_archive_that_an_import_could_not_read_is_told_of_until_it_is_read_or_dismissed() {
    let env = TestEnv::new();
    let whole = gzip(record(1_767_225_600, "in.archive.example", A, 0, &["203.0.113.1"]).as_bytes());
    let noise: String = (0..2000)
        .map(|at| record(1_767_225_600 + at, &format!("n{at}.example"), A, 0, &["203.0.113.2"]))
        .collect();
    let cut = gzip(noise.as_bytes());
    std::fs::write(env.path("dns.1.log.gz"), &whole).unwrap();
    std::fs::write(env.path("dns.2.log.gz"), &cut[..cut.len() / 2]).unwrap();
    std::fs::write(env.path("dns.3.log.xz"), b"\xfd7zXZ\0nothing").unwrap();
    let import = |names: &[&str], code: i32| {
        let ended = env.run(&[&["import", "--data", "data"], names].concat());
        assert_eq!(ended.status.code(), Some(code), "{names:?}: {}", ended.stderr);
    };
    let lookup = || env.run(&["lookup", "--data", "data", "never.example"]).said();
    let doctor = || env.run(&["doctor", "--data", "data", "--logs", "logs"]);
    let said = |what: &str| {
        let text = lookup();
        assert!(text.contains("Not all logs are read.") && text.contains(what), "{what}: {text}");
        let status = text_of(env.run(&["status", "--data", "data"]).stdout);
        assert!(status.contains("not read") && status.contains(what), "{what}: {status}");
        let doctor = text_of(doctor().stdout);
        assert!(doctor.contains(what), "{what}: {doctor}");
    };
    std::fs::create_dir(env.path("logs")).unwrap();
    import(&["dns.1.log.gz", "dns.2.log.gz", "dns.3.log.xz"], 2);
    said("2 archives that were to be imported could not be read whole, the first is ");
    // One of them is read later, whole.
    std::fs::write(env.path("dns.2.log.gz"), &cut).unwrap();
    import(&["dns.2.log.gz"], 0);
    said("dns.3.log.xz");
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    said("dns.3.log.xz");
    let answer = daemon.get("/api/v1/records?q=never.example");
    assert!(incomplete(&answer).is_some_and(|why| why.contains("dns.3.log.xz")), "{}", answer.head);
    // The daemon hears of those that cannot be sent, and of what it cannot read to its end.
    std::fs::write(env.path("dns.4.log.gz"), &cut[..cut.len() / 3]).unwrap();
    std::fs::write(env.path("dns.5.log.xz"), b"\xfd7zXZ\0nothing").unwrap();
    import(&["dns.4.log.gz", "dns.5.log.xz"], 2);
    said("3 archives");
    let dismiss = |name: &str| env.run(&["import", "--data", "data", "--dismiss", name]);
    assert_eq!(dismiss("dns.9.log").status.code(), Some(1));
    assert_eq!(dismiss("dns.5.log.xz").status.code(), Some(0));
    said("2 archives");
    daemon.stop();
    said("2 archives");
    assert_eq!(text_of(dismiss(".").stdout), "2 archives that could not be read are dismissed\n");
    assert!(!lookup().contains("Not all logs are read."), "{}", lookup());
}

#[test]
fn who_finds_nothing_hears_of_lines_that_could_not_be_read() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    let good: String = (0..20)
        .map(|at| record(1_767_225_600 + at, &format!("n{at}.example"), A, 0, &["203.0.113.2"]))
        .collect();
    fs::write(env.path("logs/dns.log"), format!("{good}{{\"ts\": broken\n{{\"ts\": broken\n")).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    let says = "Not all logs are read. 2 lines are malformed, of 22 in the logs with such lines";
    let lookup = |name: &str| env.run(&["lookup", "--data", "data", name]).stderr;
    assert!(lookup("never.example").contains(says), "{}", lookup("never.example"));
    assert!(!lookup("n1.example").contains("malformed"), "{}", lookup("n1.example"));
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    assert!(lookup("never.example").contains(says), "{}", lookup("never.example"));
    let answer = daemon.get("/api/v1/records?q=never.example");
    assert!(incomplete(&answer).is_some_and(|why| why.contains("2 lines are malformed")), "{}", answer.head);
    let page = text_of(daemon.get("/?q=never.example").body);
    assert!(page.contains("2 lines are malformed"), "{page}");
}

#[test]
fn a_ledger_that_nobody_follows_logs_into_says_so_and_how_new_it_is() {
    let env = TestEnv::new();
    fs::write(env.path("dns.log"), made_up_log(200, 1)).unwrap();
    env.ok(&["import", "--data", "ledger", "dns.log"]);
    fs::write(env.path("list.txt"), format!("{NOBODY}\n")).unwrap();
    let newest = String::from_utf8(env.ok(&["status", "--data", "ledger"])).unwrap();
    let newest = newest.lines().find_map(|line| line.strip_prefix("newest")).unwrap().trim().to_owned();
    let says =
        format!("No daemon follows logs into this ledger: the newest record that it has is of {newest}.");
    for asked in [
        &["lookup", NOBODY][..],
        &["lookup", "--file", "list.txt", "--summary"],
        &["hunt", "list.txt"],
        &["evidence", NOBODY],
        &["hits"],
        &["new", "--since", "today"],
    ] {
        let ended = env.run(&[asked, &["--data", "ledger"]].concat());
        assert_eq!(ended.status.code(), Some(1), "{asked:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(&says), "{asked:?}: {}", ended.stderr);
    }
    // Of what is found it is said where a daemon should be there.
    let found = |more: &[&str]| env.run(&[&["lookup", "*"], more].concat()).stderr;
    assert!(!found(&["--data", "ledger"]).contains("No daemon"));
    let text = "data_dir = \"ledger\"\n[[source]]\nlogs = \"logs\"\n";
    fs::write(env.path("dnsledger.toml"), text).unwrap();
    assert!(found(&["--config", "dnsledger.toml"]).contains(&says));
}

#[test]
fn a_slip_of_the_hand_is_an_error_and_no_answer() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(env.path("logs/dns.log"), made_up_log(200, 1)).unwrap();
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(200);
    for (path, code, says) in [
        ("/api/v1/records?q=x.example&sensor=nobody", "bad_sensor", "default"),
        ("/api/v1/names/x.example?sensor=nobody", "bad_sensor", "default"),
        ("/api/v1/export?sensor=nobody", "bad_sensor", "default"),
        ("/api/v1/records?q=x.example&limt=5", "bad_parameter", "limit"),
        ("/api/v1/records?q=x.example&query=y", "bad_parameter", "pointing"),
        ("/api/v1/names/x.example?q=1", "bad_parameter", "type"),
        ("/api/v1/export?limits=1", "bad_parameter", "limit"),
        ("/api/v1/status?verbose=1", "bad_parameter", ""),
        ("/api/v1/records?q=x.example&last_after=7", "bad_query", "7d"),
        ("/api/v1/records?q=x.example&first_before=2024", "bad_query", "2024-03-01"),
    ] {
        let answer = daemon.get(path);
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 400, "{path}: {body}");
        let error: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(error["error"]["code"], code, "{path}: {body}");
        assert!(error["error"]["hint"].as_str().unwrap().contains(says), "{path}: {body}");
    }
    // Clients of other ledgers send what they like.
    for path in ["/dns/x.example?swclient=a&version=1", "/dnsdb/v2/lookup/rrset/name/x.example?swclient=a"] {
        assert!(daemon.get(path).status != 400, "{path}");
    }
    // A sensor that is followed and has logged nothing yet is one.
    assert_eq!(daemon.get("/api/v1/records?q=x.example&sensor=default").status, 200);
    let through = ["lookup", "--data", "ledger", "--sensor", "nobody", "x.example"];
    let ended = env.run(&through);
    assert!(
        ended.status.code() == Some(64) && ended.stderr.contains("unknown sensor nobody"),
        "{}",
        ended.stderr
    );
    assert!(daemon.stop().status.success());
    for arguments in [&through[..], &["export", "--data", "ledger", "--sensor", "nobody"]] {
        let ended = env.run(arguments);
        assert!(ended.status.code() == Some(64) && ended.stderr.contains("default"), "{}", ended.stderr);
    }
    let ended = env.run(&["lookup", "--data", "ledger", "--last-after", "7", "x.example"]);
    assert!(ended.status.code() == Some(64) && ended.stderr.contains("7d"), "{}", ended.stderr);
}

/// A log is known by its first record: where that has no end, nothing of it can be counted, and it is not said to have nothing new.
#[test]
fn a_log_that_ends_within_its_first_record_is_told() {
    let env = TestEnv::new();
    let log = made_up_log(10, 3);
    let mut lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
    lines.truncate(lines.iter().position(|line| line[0] != b'#').unwrap() + 1);
    let (log, header) = (lines.concat(), lines[..lines.len() - 1].concat());
    let cut = &log[..log.len() - 1];
    fs::write(env.path("dns.log"), cut).unwrap();
    fs::write(env.path("dns.log.gz"), gzip(&[cut, &b"a".repeat(3 << 20)].concat())).unwrap();
    for name in ["dns.log", "dns.log.gz"] {
        let ended = env.run(&["import", "--data", "ledger", name]);
        assert!(String::from_utf8(ended.stdout).unwrap().contains("0 new lines"));
        let told = format!("Read as far as it goes: {name}: it ends before its first record does");
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    }
    // Nothing but a header is whole.
    for (bytes, lines) in [(header, "0 new lines"), (log, "1 new lines: 1 counted")] {
        fs::write(env.path("dns.log"), bytes).unwrap();
        let ended = env.run(&["import", "--data", "ledger", "dns.log"]);
        assert!(!ended.stderr.contains("Read as far"), "{}", ended.stderr);
        assert!(String::from_utf8(ended.stdout).unwrap().contains(lines));
    }
}
