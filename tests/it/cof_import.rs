//! Merging other sites: COF goes in under a sensor of its own, once, and comes out as it was.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::env::{TestEnv, testdata, until};

/// A site with the sample logs, and its export as `site-b.json`.
fn site() -> (TestEnv, String) {
    let env = TestEnv::new();
    // A name that had an address both through a chain and by itself.
    let log = [(1, "[\"b.both.test\",\"192.0.2.9\"]", "[60.0,30.0]"), (2, "[\"192.0.2.9\"]", "[90.0]")].map(
        |(uid, answers, ttls)| {
            format!(
                "{{\"ts\":1767323045.{uid},\"uid\":\"C{uid}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\
                 \"query\":\"a.both.test\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\
                 \"answers\":{answers},\"TTLs\":{ttls}}}\n"
            )
        },
    );
    fs::write(env.path("dns.log"), log.concat()).unwrap();
    env.ok(&["import", "--data", "theirs", &testdata("zeek-tree"), "dns.log"]);
    let export = env.export("theirs");
    fs::write(env.path("site-b.json"), &export).unwrap();
    (env, export)
}

fn import(env: &TestEnv, arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["import", "--data", "ours"];
    all.extend(arguments);
    let ended = env.run(&all);
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap() + &ended.stderr)
}

fn renamed(export: &str, sensor: &str) -> String {
    export.replace("\"sensor_id\":\"default\"", &format!("\"sensor_id\":\"{sensor}\""))
}

#[test]
fn an_export_that_is_imported_elsewhere_is_exported_the_same() {
    let (env, export) = site();
    assert!(export.contains("\"halves\":"), "the sample has rows that are both");
    let (code, said) = import(&env, &["site-b.json"]);
    assert_eq!(code, Some(0), "{said}");
    let lines = export.lines().count();
    assert!(said.contains(&format!("{lines} new lines: {lines} counted, 0 skipped, 0 malformed")), "{said}");
    assert!(env.export("ours") == renamed(&export, "site-b"));
    // Compressed, by a name of its own, into another ledger, and from there into a third.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(export.as_bytes()).unwrap();
    fs::write(env.path("x.gz"), packed.finish().unwrap()).unwrap();
    env.ok(&["import", "--data", "second", "--sensor", "B", "x.gz"]);
    assert!(env.export("second") == renamed(&export, "B"));
    assert_eq!(env.ok(&["verify", "--data", "second"]).last_chunk(), Some(b"sound\n"));
}

#[test]
fn the_same_origin_counts_once() {
    let (env, export) = site();
    env.ok(&["import", "--data", "ours", "site-b.json"]);
    let once = env.export("ours");
    // The same file again changes nothing.
    let (code, said) = import(&env, &["site-b.json"]);
    assert!(code == Some(0) && said.contains("1 of them without anything new\n0 new lines"), "{said}");
    // A later export of the same origin would count most rows twice, also one that only goes on.
    let line = "{\"rrname\":\"new.test\",\"rrtype\":\"A\",\"rdata\":\"192.0.2.1\",\"time_first\":1700000001,\"time_last\":1700000002}\n";
    for other in [export.clone() + line, line.to_owned() + &export, export.lines().next().unwrap().to_owned()]
    {
        fs::write(env.path("site-b.json"), other).unwrap();
        let (code, said) = import(&env, &["site-b.json"]);
        assert!(code == Some(2) && said.contains("another file was imported as sensor site-b"), "{said}");
        assert!(said.contains("--sensor NAME"), "{said}");
        assert!(env.export("ours") == once);
    }
    let status = env.status("ours");
    assert_eq!(status["totals"]["counted"], export.lines().count());
    assert_eq!(status["sources"][0]["sensor"], "site-b");
}

#[test]
fn a_ledger_refuses_what_it_exported_itself() {
    let (env, export) = site();
    fs::rename(env.path("theirs"), env.path("ours")).unwrap();
    let (code, said) = import(&env, &["site-b.json"]);
    assert!(code == Some(2) && said.contains("this ledger exported it"), "{said}");
    assert!(said.contains("snapshot"), "{said}");
    assert!(env.export("ours") == export);
    // The sensor of its own logs is no origin.
    fs::write(
        env.path("c.json"),
        "{\"rrname\":\"c.test\",\"rrtype\":\"A\",\"rdata\":\"192.0.2.1\",\"time_first\":1700000001}\n",
    )
    .unwrap();
    let (code, said) = import(&env, &["--sensor", "default", "c.json"]);
    assert!(code == Some(2) && said.contains("sensor default has logs of its own"), "{said}");
    let (code, said) = import(&env, &["c.json"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(env.export("ours").lines().count(), export.lines().count() + 1);
}

#[test]
fn bad_lines_are_counted_and_the_last_newline_may_be_missing() {
    let env = TestEnv::new();
    let good = "{\"rrname\":\"a.test\",\"rrtype\":65280,\"rdata\":\"x\",\"time_first\":1700000001}";
    let text = format!("{good}\n\nnonsense\n{{\"rrname\":\"a..b\",\"rrtype\":1,\"rdata\":\"x\"}}\n{good}");
    fs::write(env.path("b.json"), &text).unwrap();
    let (code, said) = import(&env, &["b.json"]);
    assert!(code == Some(0) && said.contains("4 new lines: 2 counted, 0 skipped, 2 malformed"), "{said}");
    assert!(said.contains("malformed: value 1, json 1"), "{said}");
    let row: Value = serde_json::from_str(&env.export("ours")).unwrap();
    assert_eq!((&row["count"], &row["rrtype"], &row["sensor_id"]), (&2.into(), &65280.into(), &"b".into()));
    let (code, said) = import(&env, &["b.json"]);
    assert!(code == Some(0) && said.contains("\n0 new lines"), "{said}");
    // Cut in the middle of its last line.
    fs::write(env.path("c.json"), &text[..text.len() - 5]).unwrap();
    for new in [4, 0] {
        let (code, said) = import(&env, &["c.json"]);
        assert!(code == Some(0) && said.contains(&format!("\n{new} new lines")), "{said}");
    }
}

#[test]
fn rows_of_1970_and_of_the_future_are_malformed() {
    let env = TestEnv::new();
    let row = |first: u64, last: u64| {
        format!(
            "{{\"rrname\":\"a.test\",\"rrtype\":\"A\",\"rdata\":\"192.0.2.1\",\"time_first\":{first},\"time_last\":{last}}}\n"
        )
    };
    let text = row(1_600_000_000, 1_700_000_000)
        + &row(0, 1_700_000_000)
        + &row(946_684_799, 946_684_800)
        + &row(1_600_000_000, 4_039_374_839);
    fs::write(env.path("b.json"), text).unwrap();
    let (code, said) = import(&env, &["b.json"]);
    assert!(code == Some(0) && said.contains("4 new lines: 1 counted, 0 skipped, 3 malformed"), "{said}");
    assert!(said.contains("malformed: time 3"), "{said}");
    assert_eq!(env.status("ours")["newest"], 1_700_000_000);
    // Whoever knows better can say so.
    fs::write(env.path("all.toml"), "data_dir = \"all\"\n[observe]\nnot_before = \"\"\nmax_ahead = \"\"\n")
        .unwrap();
    let said = String::from_utf8(env.ok(&["import", "--config", "all.toml", "b.json"])).unwrap();
    assert!(said.contains("4 new lines: 4 counted"), "{said}");
    assert_eq!(
        env.status("all")["newest"],
        1_700_000_000,
        "the newest row is of the future, and the one before"
    );
}

#[test]
fn an_answer_of_dnsdb_is_imported_as_it_was_saved() {
    let env = TestEnv::new();
    let row = |name: &str| {
        format!(
            "{{\"obj\":{{\"count\":42,\"time_first\":1600000000,\"time_last\":1700000000,\"rrname\":\"{name}.\",\"rrtype\":\"A\",\
             \"bailiwick\":\"saf.example.\",\"rdata\":[\"192.0.2.10\",\"192.0.2.11\"]}}}}\n"
        )
    };
    let frame = |cond: &str| format!("{{\"cond\":\"{cond}\"}}\n");
    let answer = [frame("begin"), row("www.saf.example"), row("saf.example"), frame("succeeded")].concat();
    fs::write(env.path("saf.json"), &answer).unwrap();
    let (code, said) = import(&env, &["--sensor", "x", "saf.json"]);
    assert!(code == Some(0) && said.contains("2 new lines: 2 counted, 0 skipped, 0 malformed"), "{said}");
    assert!(!said.contains("broke off"), "{said}");
    let export = env.export("ours");
    assert_eq!(export.lines().count(), 4, "{export}");
    assert!(export.contains("\"sensor_id\":\"x\"") && export.contains("\"count\":42"), "{export}");
    let (code, said) = import(&env, &["--sensor", "x", "saf.json"]);
    assert!(code == Some(0) && said.contains("0 new lines"), "{said}");
    for (name, answer, says) in [
        ("cut", [frame("begin"), row("cut.example")].concat(), "broke off"),
        ("limited", [frame("begin"), row("limited.example"), frame("limited")].concat(), "was limited"),
    ] {
        fs::write(env.path("more.json"), answer).unwrap();
        let (_, said) = import(&env, &["--sensor", name, "more.json"]);
        assert!(said.contains("1 counted") && said.contains(says), "{said}");
    }
    let empty = [frame("begin"), frame("succeeded")].concat();
    fs::write(env.path("empty.json"), empty).unwrap();
    let (code, said) = import(&env, &["empty.json"]);
    assert!(code == Some(0) && said.contains("0 new lines"), "{said}");
}

#[test]
fn a_daemon_takes_it_too() {
    let (env, export) = site();
    let daemon = env.daemon("no-logs-yet", "ours");
    let (code, said) = import(&env, &["site-b.json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(env.export("ours") == renamed(&export, "site-b"));
    let (code, said) = import(&env, &["site-b.json"]);
    assert!(code == Some(0) && said.contains("\n0 new lines"), "{said}");
    assert!(daemon.stop().status.success());
    assert!(env.export("ours") == renamed(&export, "site-b"));
}

/// Sends the first half of a file to the daemon, and not its end.
fn send_half(env: &TestEnv, text: &str) -> UnixStream {
    let mut stream = UnixStream::connect(env.path("ours/control.sock")).unwrap();
    let middle = text.len() / 2;
    let half = &text[..middle + text[middle..].find('\n').unwrap() + 1];
    let head = "POST /control/import?name=site-b.json HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(stream, "{head}{:x}\r\n{half}\r\n", half.len()).unwrap();
    stream
}

#[test]
fn an_import_that_was_cut_off_is_not_taken_for_complete_and_can_be_made_again() {
    for is_stopped in [false, true] {
        let (env, export) = site();
        let mut daemon = env.daemon("no-logs-yet", "ours");
        let sending = send_half(&env, &export);
        if is_stopped {
            // The client is still there when the daemon is stopped.
            assert!(daemon.stop().status.success());
            drop(sending);
            daemon = env.daemon("no-logs-yet", "ours");
        } else {
            drop(sending);
        }
        // The one before may not be gone yet.
        let said = until("the same file is taken", || {
            let (code, said) = import(&env, &["site-b.json"]);
            assert!(!said.contains("another file was imported"), "{said}");
            (code == Some(0)).then_some(said)
        });
        assert!(said.contains("1 files"), "{said}");
        assert!(daemon.stop().status.success());
        assert!(env.export("ours") == renamed(&export, "site-b"), "stopped: {is_stopped}");
        let (code, said) = import(&env, &["site-b.json"]);
        assert!(code == Some(0) && said.contains("\n0 new lines"), "{said}");
    }
}

#[test]
fn a_newer_export_takes_the_place_of_the_one_before_where_that_is_asked_for() {
    for served in [false, true] {
        let (env, export) = site();
        env.ok(&["import", "--data", "ours", "site-b.json"]);
        fs::write(env.path("c.json"), export.lines().take(5).collect::<Vec<_>>().join("\n")).unwrap();
        env.ok(&["import", "--data", "ours", "c.json", "dns.log"]);
        let daemon = served.then(|| env.daemon("no-logs-yet", "ours"));
        // Some rows went, one is new, and one was seen more often.
        let newer: String = export.lines().skip(7).flat_map(|line| [line, "\n"]).collect();
        let newer = newer.replacen("\"count\":1,", "\"count\":41,", 1)
            + "{\"rrname\":\"new.test\",\"rrtype\":\"A\",\"rdata\":\"192.0.2.1\",\"time_first\":1700000001,\"time_last\":1700000002}\n";
        fs::write(env.path("site-b.json"), &newer).unwrap();
        let (code, said) = import(&env, &["site-b.json"]);
        assert!(code == Some(2) && said.contains("--replace, if this is newer"), "{said}");
        let (code, said) = import(&env, &["--replace", "site-b.json"]);
        let lines = newer.lines().count();
        assert!(code == Some(0) && said.contains(&format!("{lines} new lines: {lines} counted")), "{said}");
        // From then on it is as any other.
        let (code, said) = import(&env, &["site-b.json"]);
        assert!(code == Some(0) && said.contains("\n0 new lines"), "{said}");
        // One that was never imported is imported, and one that is refused takes nothing away.
        let (code, said) = import(&env, &["--replace", "--sensor", "d", "c.json"]);
        assert!(code == Some(0) && said.contains("5 new lines"), "{said}");
        let (code, said) = import(&env, &["--replace", "--sensor", "default", "c.json"]);
        assert!(code == Some(2) && said.contains("has logs of its own"), "{said}");
        if let Some(daemon) = daemon {
            assert!(daemon.stop().status.success());
        }
        env.ok(&["import", "--data", "model", "site-b.json", "c.json", "dns.log"]);
        env.ok(&["import", "--data", "model", "--sensor", "d", "c.json"]);
        assert!(env.export("ours") == env.export("model"), "served {served}");
        assert_eq!(env.ok(&["verify", "--data", "ours"]).last_chunk(), Some(b"sound\n"));
        let (code, said) = import(&env, &["--replace", "site-b.json", "c.json"]);
        assert!(code == Some(64) && said.contains("one file at a time"), "{said}");
    }
}

/// What a site may send that means no good: rows that are absurd, huge, nested, or none.
#[test]
fn a_hostile_file_is_counted_line_by_line_and_harms_nobody() {
    let env = TestEnv::new();
    let most = u64::MAX;
    let row = |name: &str, rest: &str| format!(r#"{{"rrname":"{name}","rrtype":"A",{rest}}}"#);
    let once = r#""rdata":"192.0.2.1","time_first":1700000001,"time_last":1700000001"#;
    let addresses = |n: u32| {
        let all: Vec<String> =
            (0..n).map(|i| format!("\"10.{}.{}.{}\"", i >> 16, i >> 8 & 255, i & 255)).collect();
        format!(r#""rdata":[{}],"time_first":1700000001,"time_last":1700000001"#, all.join(","))
    };
    let twice =
        format!(r#""rdata":"192.0.2.1","time_first":1700000000,"time_last":1700000001,"count":{most}"#);
    let lines = [
        // Counts stop at their end.
        row("a.big.example", &twice),
        row("a.big.example", &twice),
        row("b.big.example", &format!(r#""rdata":"192.0.2.1","time_first":{most},"time_last":{most}"#)),
        row("c.big.example", r#""rdata":"192.0.2.1","time_first":1e14,"time_last":9.9e14"#),
        row("d.big.example", r#""rdata":"192.0.2.1","time_first":253402300799,"time_last":253402300799"#),
        row("e.big.example", r#""rdata":"192.0.2.1","time_first":1e400,"time_last":1700000001"#),
        // Many, and many times the same.
        row("f.big.example", &addresses(4000)),
        row(
            "g.big.example",
            &format!(r#""rdata":[{}"192.0.2.1"],"time_first":1700000001"#, "\"192.0.2.1\",".repeat(50_000)),
        ),
        format!(
            r#"{{"rrname":"h.example","rrtype":"TXT","rdata":"{}","time_first":1700000001}}"#,
            "x".repeat(900_000)
        ),
        row("\\u0000.example", once),
        row("\\ud800.example", once),
        row(&format!("{}.example", "\u{fb00}".repeat(200)), once),
        row("i.example", &format!(r#"{once},"x":{}{}"#, "[".repeat(200_000), "]".repeat(200_000))),
        row("j.example", &format!(r#"{once},"rrname":"k.example""#)),
        r#"{"rrname":"l.example","rrtype":"TXT","rdata":"\u202e\u001b[31m\n\u0000","time_first":1700000001}"#
            .to_owned(),
        "\0\0".to_owned(),
        row("z.example", once),
    ];
    fs::write(env.path("hostile.json"), lines.join("\n") + "\n").unwrap();
    let (code, said) = import(&env, &["hostile.json"]);
    assert_eq!(code, Some(0), "{said}");
    let counted = 8; // a twice, f, g, h, l, z, and i: what nobody reads may be nested as it likes
    let malformed = lines.len() - counted;
    assert!(
        said.contains(&format!(
            "{} new lines: {counted} counted, 0 skipped, {malformed} malformed",
            lines.len()
        )),
        "{said}"
    );
    assert!(said.contains("answers cut: 3000"), "{said}");
    let export = env.export("ours");
    assert!(export.bytes().all(|byte| matches!(byte, b'\n' | 0x20..=0x7e)));
    let of =
        |name: &str| export.lines().filter(|line| line.contains(&format!("\"{name}\""))).collect::<Vec<_>>();
    assert!(of("a.big.example")[0].contains(&format!(r#""count":{most}"#)), "{:?}", of("a.big.example"));
    assert_eq!(of("f.big.example").len(), 1000);
    assert!(of("g.big.example")[0].contains(r#""count":1,"#), "{:?}", of("g.big.example"));
    assert_eq!((of("d.big.example").len(), of("z.example").len()), (0, 1), "the year 9999 is of the future");
}
