//! Nobody is told "nothing" where there is something.

use serde_json::{Value, json};

use crate::ask::{A, encoded, lines, record, text};
use crate::env::TestEnv;

/// A ledger `data` and its log in `logs`: names with rows, and names that were only asked for.
fn ledger() -> TestEnv {
    let env = TestEnv::new();
    let log = [
        record(1_709_294_400, "www.evil.example", A, 0, &["203.0.113.66"]),
        record(1_709_294_401, "na1.evil.example", A, 3, &[]),
        record(1_709_294_402, "na2.evil.example", A, 3, &[]),
        record(1_709_294_403, "na2.evil.example", A, 3, &[]),
        record(1_709_294_404, "nb.evil.example", A, 2, &[]),
        record(1_709_294_405, "deep.beacon.badtld", A, 3, &[]),
        record(1_709_294_406, "ns1.example.com", A, 0, &["192.0.2.8"]),
    ];
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log.concat()).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    env
}

#[test]
fn a_pattern_tells_of_names_that_were_only_asked_for() {
    let env = ledger();
    let forms = [
        ("~na2", 2, 1),
        ("na*", 3, 2),
        ("*na?*", 3, 2),
        ("/^na[0-9]/", 3, 2),
        ("na[12].evil.example", 3, 2),
        ("na2.*", 2, 1),
        ("*beacon*", 1, 1),
        ("~badtld", 1, 1),
        ("~DEEP.beacon.badtld.", 1, 1),
    ];
    let ask = |query: &str| env.run(&["lookup", "--data", "data", query]);
    let check = || {
        for (query, count, names) in forms {
            let said = ask(query).stderr;
            let times = if count == 1 { "asked 1 time, ".to_owned() } else { format!("asked {count} times") };
            assert!(said.contains(&format!("Nothing found for {query}: {times}")), "{query}: {said}");
            assert!(said.contains("; without an answer: "), "{query}: {said}");
            let summed = env.run(&["lookup", "--data", "data", "--summary", "-f", "json", query]);
            let questions = &lines(summed.stdout)[0]["questions"];
            assert_eq!((&questions["count"], &questions["names"]), (&json!(count), &json!(names)), "{query}");
        }
        assert!(ask("~nowhere").stderr.contains("Nothing found for ~nowhere: never asked."));
        // Beside rows, too.
        let both = ask("*evil*");
        assert_eq!(both.status.code(), Some(0));
        let said = "*evil*: asked 5 times of 4 names (NXDOMAIN 3, answered 1, SERVFAIL 1), first ";
        assert!(both.stderr.contains(said), "{}", both.stderr);
        let names = "; without an answer: na1.evil.example, na2.evil.example, nb.evil.example.";
        assert!(both.stderr.contains(names), "{}", both.stderr);
        // Of data nobody asks, and of other times and types it says what it says of names.
        assert!(ask("rdata:*na2*").stderr.contains("Nothing found for rdata:*na2*."));
        let other = env.run(&["lookup", "--data", "data", "--type", "MX", "na*"]).stderr;
        assert!(other.contains("Nothing found for na*: not asked within these filters."), "{other}");
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    for (query, count, names) in forms {
        let answer = daemon.json(&format!("/api/v1/records?questions=true&q={}", encoded(query)));
        let questions = &answer["questions"];
        assert_eq!((&questions["count"], &questions["names"]), (&json!(count), &json!(names)), "{answer}");
        assert_eq!(questions["unanswered_names"].as_array().map(Vec::len), Some(names), "{answer}");
        let page = text(daemon.get(&format!("/?q={}", encoded(query))).body);
        assert!(
            page.contains("Names that match were asked ") && page.contains("without an answer"),
            "{page}"
        );
    }
    let page = text(daemon.get(&format!("/?q={}", encoded("*evil*"))).body);
    assert!(page.contains("Names that match were asked 5 times of 4 names"), "{page}");
}

#[test]
fn questions_that_are_not_all_looked_at_are_never_called_none() {
    let env = ledger();
    let config =
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\nscan_rows = 1\n[[source]]\nlogs = \"logs\"\n";
    std::fs::write(env.path("few.toml"), config).unwrap();
    let daemon = env.configured_daemon("few.toml", "data");
    daemon.catch_up();
    let answer = daemon.json("/api/v1/records?questions=true&q=~nowhere");
    assert_eq!((&answer["questions"]["count"], &answer["questions"]["complete"]), (&json!(0), &json!(false)));
    let said = env.run(&["lookup", "--data", "data", "~nowhere"]).stderr;
    assert!(said.contains("not asked as far as was looked, which is not to the end"), "{said}");
    assert!(!said.contains("never asked"), "{said}");
}

#[test]
fn a_bare_domain_tells_of_names_below_it() {
    let env = ledger();
    let forms = [
        ("evil.example", true, true, "names below it have rows"),
        ("beacon.badtld", false, true, "names below it were asked for"),
        ("badtld", false, true, "names below it were asked for"),
        ("example.com", true, true, "names below it have rows"),
    ];
    let check = || {
        for (name, _, _, words) in forms {
            let said = env.run(&["lookup", "--data", "data", name]).stderr;
            let both = format!("Nothing found for {name}: never asked.\nBut {words}: ask for *.{name}.");
            assert!(said.contains(&both), "{said}");
            let summed = env.run(&["lookup", "--data", "data", "--summary", name]);
            let line = text(summed.stdout);
            assert!(line.contains(&format!("never asked; {words}: ask for *.{name}")), "{line}");
        }
        let none = env.run(&["lookup", "--data", "data", "nothing.example"]).stderr;
        assert!(!none.contains("below it"), "{none}");
        // What filters leave out is not there.
        let said = env.run(&["lookup", "--data", "data", "--during", "2025", "evil.example"]).stderr;
        assert!(!said.contains("below it"), "{said}");
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    let list: String = forms.iter().map(|(name, ..)| format!("{name}\n")).collect();
    let bulk = lines(daemon.post("/api/v1/lookup", &list).body);
    for (at, (name, rows, asked, words)) in forms.iter().enumerate() {
        let below = json!({"rows": rows, "asked": asked, "query": format!("*.{name}")});
        let answer = daemon.json(&format!("/api/v1/records?questions=true&q={name}"));
        assert_eq!(answer["questions"]["below"], below, "{answer}");
        let end = bulk.iter().find(|line| line["line"] == at + 1 && line["found"] == 0).unwrap();
        assert_eq!(end["questions"]["below"], below, "{end}");
        let seen = daemon.get(&format!("/api/v1/seen/{name}"));
        let error: Value = serde_json::from_slice(&seen.body).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(seen.status == 404 && message.ends_with(words), "{error}");
        assert!(error["error"]["hint"].as_str().unwrap().contains(&format!("*.{name}")), "{error}");
        let page = text(daemon.get(&format!("/?q={name}")).body);
        let link = format!("href=\"/?q=%2A.{name}\"");
        assert!(page.contains(&format!("But {words}")) && page.contains(&link), "{page}");
        let listed = text(daemon.post("/list", &format!("list={name}")).body);
        assert!(listed.contains(words) && listed.contains(&link), "{listed}");
    }
    let seen = daemon.json("/api/v1/seen/www.evil.example");
    assert!(seen["below"].is_null(), "{seen}");
    // Beside a name, those that were only asked for.
    let page = text(daemon.get("/name/www.evil.example").body);
    assert!(page.contains("Without an answer: ") && page.contains("/name/na2.evil.example"), "{page}");
}

#[test]
fn seen_understands_a_url_and_a_block_or_says_why_not() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    for (path, kind, value) in [
        ("https://www.evil.example/gate.php", "name", "www.evil.example"),
        ("hxxps%3A%2F%2Fwww%5B.%5Devil.example%2Fx", "name", "www.evil.example"),
        ("203.0.113.0/24", "addresses", "203.0.113.0/24"),
        ("203.0.113.0%2F24", "addresses", "203.0.113.0/24"),
        ("203.0.113.66:443", "address", "203.0.113.66"),
    ] {
        let seen = daemon.json(&format!("/api/v1/seen/{path}"));
        let is = (&seen["seen"], &seen["kind"], &seen["value"], &seen["rows_as_rrname"]);
        let rows = json!(if kind == "name" { 1 } else { 0 });
        assert_eq!(is, (&json!(true), &json!(kind), &json!(value), &rows), "{path}: {seen}");
    }
    assert_eq!(daemon.json("/api/v1/names/https://na2.evil.example/x")["count"], 2);
    for (path, status) in [("198.51.100.0/24", 404), ("203.0.113.0/99", 400), ("*.evil.example", 400)] {
        let answer = daemon.get(&format!("/api/v1/seen/{path}"));
        let code = if status == 404 { "nothing_found" } else { "bad_query" };
        assert!(answer.status == status && text(answer.body).contains(code), "{path}");
    }
}
