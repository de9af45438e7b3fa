//! A list of indicators against the ledger: by command line and over HTTP, with and without a daemon.

use serde_json::{Value, json};

use crate::env::{TestEnv, testdata};

const HEADER: &str = "#separator \\x09\n#fields\tts\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\n";

/// A ledger with something of the samples in `testdata/feeds`.
fn ledger() -> TestEnv {
    let env = TestEnv::new();
    let rows = [
        ("1772366400", "c2.quarry.example", "1", "0", "198.51.100.66", "60"),
        ("1772366401", "x.c2.quarry.example", "1", "0", "203.0.113.200", "60"),
        ("1772366402", "gone.c2.quarry.example", "1", "3", "-", "-"),
        ("1772366403", "drop.quarry.example", "28", "0", "2001:db8:5::1", "60"),
        ("1772366404", "cloaked.example.com", "5", "0", "c2.quarry.example", "60"),
        ("1772366405", "fine.quarry.example", "1", "0", "192.0.2.9", "60"),
    ];
    let lines = rows.map(|(ts, query, qtype, rcode, answers, ttls)| {
        format!("{ts}\t{query}\t1\t{qtype}\t{rcode}\t{answers}\t{ttls}\n")
    });
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), format!("{HEADER}{}", lines.concat())).unwrap();
    env.ok(&["import", "--data", "data", "logs/dns.log"]);
    env
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_list_is_answered_the_same_with_and_without_a_daemon() {
    let env = ledger();
    let list = testdata("feeds/plain.txt");
    let hunt = || env.run(&["hunt", "--data", "data", "-o", "json", &list]);
    let alone = hunt();
    assert_eq!(alone.status.code(), Some(0), "{}", alone.stderr);
    let told = lines(&alone.stdout);
    let values: Vec<(&str, &str)> =
        told.iter().filter_map(|hit| Some((hit["kind"].as_str()?, hit["value"].as_str()?))).collect();
    assert_eq!(
        values,
        [
            ("domain", "c2.quarry.example"),
            ("name", "drop.quarry.example"),
            ("address", "198.51.100.66"),
            ("network", "203.0.113.128/25"),
            ("network", "2001:db8:5::/48"),
        ]
    );
    let first = &told[0];
    assert_eq!((&first["names"], &first["rows"], &first["asked_only"]), (&json!(3), &json!(3), &json!(1)));
    assert_eq!((&first["time_first"], &first["time_last"]), (&json!(1_772_366_400), &json!(1_772_366_404)));
    assert_eq!((&first["line"], &first["too_wide"]), (&json!(3), &json!(false)));
    let sum = told.last().unwrap();
    assert_eq!((&sum["taken"], &sum["hits"], &sum["missed"]), (&json!(8), &json!(5), &json!(3)), "{sum}");
    assert_eq!(sum["skipped"]["public_suffix"], json!(2), "{sum}");
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    let by_socket = hunt();
    assert_eq!(by_socket.status.code(), Some(0), "{}", by_socket.stderr);
    let without_freshness = |bytes: &[u8]| {
        let mut lines = lines(bytes);
        if let Some(sum) = lines.last_mut() {
            sum["as_of"] = Value::Null;
            sum["incomplete"] = json!([]);
        }
        lines
    };
    assert_eq!(without_freshness(&by_socket.stdout), without_freshness(&alone.stdout));
    let over_http = daemon.post("/api/v1/hunt", &std::fs::read_to_string(&list).unwrap());
    assert_eq!(over_http.status, 200);
    assert_eq!(without_freshness(&over_http.body), without_freshness(&alone.stdout));
}

#[test]
fn a_table_has_a_line_a_hit_and_the_sum_behind_it() {
    let env = ledger();
    let hunt = |output: &str, list: &str| {
        let list = testdata(&format!("feeds/{list}"));
        env.run(&["hunt", "--data", "data", "-o", output, &list])
    };
    let table = hunt("table", "typed.csv");
    let rows: Vec<&str> = text(&table.stdout).lines().collect();
    assert!(rows[0].starts_with("VALUE") && rows[0].contains("ASKED ONLY"), "{rows:?}");
    assert!(
        rows[1].starts_with("c2.quarry.example    domain       3     3           1  2026-03-01 12:00:00"),
        "{rows:?}"
    );
    assert!(rows[1].ends_with("Quarry") && rows.len() == 4, "{rows:?}");
    assert!(table.stderr.contains("3 taken: 3 in the ledger, 0 not. Read as csv."), "{}", table.stderr);
    assert!(
        table.stderr.contains("2 not taken: 1 a hash; 1 a type that no DNS log has."),
        "{}",
        table.stderr
    );
    let csv = hunt("csv", "bundle.json");
    let csv = text(&csv.stdout);
    assert!(csv.starts_with("value,kind,names,rows,"), "{csv}");
    assert!(csv.contains("c2.quarry.example,name,2,2,0,false,2026-03-01 12:00:00,"), "{csv}");
    let nothing = hunt("table", "ranking.csv");
    assert_eq!((nothing.status.code(), text(&nothing.stdout)), (Some(4), ""));
    assert!(nothing.stderr.contains("It is an allow list"), "{}", nothing.stderr);
    let exceptions = lines(&hunt("json", "adblock.txt").stdout);
    assert_eq!(exceptions[0]["value"], "quarry.example");
    assert_eq!(exceptions[0]["names"], json!(4), "what is fine is none: {exceptions:?}");
}

#[test]
fn a_feed_in_a_folder_and_a_list_on_standard_input_are_read() {
    let env = ledger();
    let folder = testdata("feeds/misp-feed");
    let told = lines(&env.run(&["hunt", "--data", "data", "-o", "json", &folder]).stdout);
    assert_eq!(told[0]["title"], "Quarry campaign", "{told:?}");
    assert_eq!(told.last().unwrap()["format"], "misp");
    let mut command = env.command(&["hunt", "--data", "data", "-o", "json", "--exact", "-"]);
    let told = lines(&env.finish(env.with_input(&mut command, "c2[.]quarry[.]example\n")).stdout);
    assert_eq!((&told[0]["kind"], &told[0]["names"]), (&json!("name"), &json!(2)), "{told:?}");
    let empty = env.run(&["hunt", "--data", "data", "logs"]);
    assert!(empty.status.code() == Some(64) && empty.stderr.contains("no event of MISP"), "{}", empty.stderr);
}

#[test]
fn what_is_no_list_is_an_error_that_says_what_it_is() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    for (list, said, status) in [
        ("login.html", "it is a page of HTML", 400),
        ("rules.suricata", "rules of Suricata", 400),
        ("refused.json", "Authentication failed", 400),
        ("misp-feed/manifest.json", "the manifest of a feed", 400),
    ] {
        let path = testdata(&format!("feeds/{list}"));
        let ended = env.run(&["hunt", "--data", "data", &path]);
        assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(2), ""), "{list}");
        assert!(ended.stderr.contains(said) && ended.stderr.contains("try: "), "{list}: {}", ended.stderr);
        let answer = daemon.post("/api/v1/hunt", &std::fs::read_to_string(&path).unwrap());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["error"]["code"]), (status, &json!("no_list")), "{list}");
    }
    for wrong in ["format=x", "below=maybe", "confidence_min=101", "nothing=1"] {
        assert_eq!(daemon.post(&format!("/api/v1/hunt?{wrong}"), "a.example\n").status, 400, "{wrong}");
    }
    assert_eq!(daemon.get("/api/v1/hunt").status, 405);
    let wrong = env.run(&["hunt", "--format", "json", "x"]);
    assert!(wrong.status.code() == Some(64) && wrong.stderr.contains("--output"), "{}", wrong.stderr);
}

#[test]
fn the_page_hunts_for_what_is_pasted() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    let pasted = |list: &str| {
        let encoded: String = list.bytes().map(|byte| format!("%{byte:02x}")).collect();
        daemon.post("/list", &format!("list={encoded}&column=&how=hunt"))
    };
    let bundle = std::fs::read_to_string(testdata("feeds/bundle.json")).unwrap();
    let page = pasted(&bundle);
    let shown = text(&page.body);
    assert_eq!(page.status, 200);
    assert!(shown.contains("7 taken: 4 in the ledger, 3 not.") && shown.contains("Quarry 1"), "{shown}");
    assert!(shown.contains("1 revoked or deleted"), "{shown}");
    let page = pasted("<html><body>x");
    assert!(page.status == 400 && text(&page.body).contains("a page of HTML"), "{}", text(&page.body));
    let page = pasted("never[.]example");
    assert!(text(&page.body).contains("1 taken: 0 in the ledger, 1 not."), "{}", text(&page.body));
}

#[test]
fn what_is_ones_own_is_no_hit_whatever_a_list_or_a_feed_says() {
    let env = ledger();
    std::fs::write(
        env.path("list"),
        "c2.quarry.example\ndrop.quarry.example\n198.51.100.0/24\nfine.quarry.example\n",
    )
    .unwrap();
    std::fs::write(env.path("own"), "fine.quarry.example\n10.0.0.0/8\n").unwrap();
    let config = |own: &str| {
        let text = format!(
            "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n{own}"
        );
        std::fs::write(env.path("dnsledger.toml"), text).unwrap();
    };
    let hunted = |more: &[&str]| -> Vec<String> {
        let ended =
            env.run(&[&["hunt", "--config", "dnsledger.toml", "-o", "json"], more, &["list"]].concat());
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let text = |hit: &Value| hit["value"].as_str().map(str::to_owned);
        lines(&ended.stdout).iter().filter_map(text).collect()
    };
    let without_and_with_a_daemon = |wanted: &[&str], more: &[&str]| {
        assert_eq!(hunted(more), wanted);
        let daemon = env.configured_daemon("dnsledger.toml", "data");
        assert_eq!(hunted(more), wanted);
        assert_eq!(daemon.stop().status.code(), Some(0));
    };
    config("");
    let all = ["c2.quarry.example", "drop.quarry.example", "fine.quarry.example", "198.51.100.0/24"];
    assert_eq!(hunted(&[]), all);
    without_and_with_a_daemon(
        &all[1..2],
        &["--allow", "c2.quarry.example", "--allow", "own", "--allow", "198.51.0.0/16"],
    );
    let ended = env.run(&["hunt", "--config", "dnsledger.toml", "--allow", "no such thing", "list"]);
    assert!(
        ended.status.code() == Some(64) && ended.stderr.contains("not a name, a network or a file"),
        "{}",
        ended.stderr
    );
    let own = format!("[watch]\nown = [\"c2.quarry.example\", {:?}]\n", env.path("own"));
    config(&own);
    // The address is of an own name.
    without_and_with_a_daemon(&[all[1]], &[]);
    env.ok(&["indicators", "import", "--config", "dnsledger.toml", "--feed", "bad", "list"]);
    let met = env.ok(&["hits", "--config", "dnsledger.toml", "-f", "json"]);
    let met: Vec<String> = lines(&met)
        .iter()
        .map(|hit| format!("{} {}", hit["indicator"].as_str().unwrap(), hit["rrname"].as_str().unwrap()))
        .collect();
    assert_eq!(met, ["drop.quarry.example drop.quarry.example"], "nor what has an own name");
    config("[watch]\nown = [\"no such thing\"]\n");
    let ended = env.run(&["hits", "--config", "dnsledger.toml"]);
    assert!(ended.status.code() == Some(64) && ended.stderr.contains("watch.own"), "{}", ended.stderr);
}
