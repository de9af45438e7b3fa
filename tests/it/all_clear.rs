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
        // And the lines behind it.
        let behind = env.run(&["evidence", "--data", "data", "-f", "json", "~na2"]);
        assert_eq!(behind.status.code(), Some(0), "{}", behind.stderr);
        assert_eq!(text(behind.stdout).matches("\"query\":\"na2.evil.example\"").count(), 2);
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
fn a_domain_that_rows_lead_to_says_so_also_where_nothing_of_it_was_asked() {
    let env = TestEnv::new();
    let log = record(1_709_294_400, "shop.example.net", (5, "CNAME"), 0, &["edge1.badcdn.test"]);
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    let check = || {
        for name in ["badcdn.test", "*.badcdn.test", "*.edge1.badcdn.test"] {
            let said = env.run(&["lookup", "--data", "data", name]).stderr;
            let top = name.trim_start_matches("*.");
            let leads = format!("But rows lead to names below it: ask for rdata:*.{top}.");
            assert!(said.contains("never asked") && said.contains(&leads), "{said}");
            assert_eq!(
                env.run(&["lookup", "--data", "data", &format!("rdata:*.{top}")]).status.code(),
                Some(0)
            );
        }
        // What leads to a name itself is found with it.
        assert_eq!(env.run(&["lookup", "--data", "data", "edge1.badcdn.test"]).status.code(), Some(0));
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    let seen = text(daemon.get("/api/v1/seen/badcdn.test").body);
    assert!(seen.contains("rows lead to names below it") && seen.contains("rdata"), "{seen}");
    let page = text(daemon.get("/?q=badcdn.test").body);
    assert!(page.contains("But rows lead to names below it"), "{page}");
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

//--- indicators and lists -------------------------------------------------------------------------------------------

#[test]
fn a_link_in_a_link_is_asked_for_by_where_it_leads() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    let links = [
        "https://nam01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fwww.evil.example%2Fx&data=05%7C01&reserved=0",
        "hxxps://eur04[.]safelinks[.]protection[.]outlook[.]com/?url=hxxps%3A%2F%2Fwww[.]evil[.]example%2Fx",
        "https://urldefense.com/v3/__https://www.evil.example/a__;!!Abc!xyz$",
        "https://urldefense.proofpoint.com/v2/url?u=https-3A__www.evil.example_x&d=DwMF",
        "https://urldefense.com/v2/url?u=https-3A__www.evil.example_x&d=DwMF",
        "https://www.google.com/url?q=https://www.evil.example/&sa=D",
        "https://secure-web.cisco.com/1abc/https%3A%2F%2Fwww.evil.example%2Fx",
        "https://l.facebook.com/l.php?u=https%3A%2F%2Fwww.evil.example%2F&h=AT0",
        "https://safe.menlosecurity.com/https://www.evil.example/x",
        "https://www.google.com/amp/s/www.evil.example/x",
        "https://outlook.office.com/mail/safelink.html?url=https%3A%2F%2Fwww.evil.example%2F",
        // One gateway behind the other.
        "https://nam01.safelinks.protection.outlook.com/?url=https%3A%2F%2Furldefense.com%2Fv3%2F__https%3A%2F%2Fwww.evil.example%2Fa__%3B!!Abc!xyz%24&data=x",
        "https://www.ev=\nil.example/x",
    ];
    for link in links {
        let answer = daemon.json(&format!("/api/v1/records?q={}", encoded(link)));
        assert_eq!(
            (&answer["asked"], answer["records"][0]["rrname"].as_str()),
            (&json!("www.evil.example"), Some("www.evil.example")),
            "{link}"
        );
        let ended = env.run(&["lookup", "--data", "data", link]);
        assert_eq!(ended.status.code(), Some(0), "{link}: {}", ended.stderr);
        assert!(ended.stderr.contains("Asked for www.evil.example."), "{link}: {}", ended.stderr);
        let page = text(daemon.get(&format!("/?q={}", encoded(link))).body);
        assert!(page.contains("Asked for ") && page.contains(">www.evil.example</a>"), "{link}: {page}");
        std::fs::write(
            env.path("report.txt"),
            format!("The user clicked on {link} on Monday, and that was it.\n"),
        )
        .unwrap();
        let extracted = env.run(&[
            "lookup",
            "--data",
            "data",
            "--summary",
            "-f",
            "json",
            "--extract",
            "--file",
            "report.txt",
        ]);
        let asked: Vec<Value> = lines(extracted.stdout).iter().map(|line| line["asked"].clone()).collect();
        assert_eq!(asked, ["www.evil.example"], "{link}");
        let hunted = lines(env.run(&["hunt", "--data", "data", "-o", "json", "report.txt"]).stdout);
        assert_eq!(
            (&hunted[0]["value"], hunted.len()),
            (&json!("www.evil.example"), 2),
            "{link}: {hunted:?}"
        );
    }
    for lost in
        ["https://nam01.safelinks.protection.outlook.com/?url=%FF", "https://www.evil-", "www.evil.exam="]
    {
        let ended = env.run(&["lookup", "--data", "data", lost]);
        assert_eq!(ended.status.code(), Some(64), "{lost}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("cannot be told") || ended.stderr.contains("this is cut"),
            "{}",
            ended.stderr
        );
    }
    // Of a site that nobody knows both are asked for.
    for led in [
        "https://to.example/?u=https%3A%2F%2Fwww.evil.example%2Fx&a=b",
        "https://to.example/r?url=www.evil.example",
        "https://to.example/r?goto=aHR0cHM6Ly93d3cuZXZpbC5leGFtcGxlL3g",
        "to.example|www.evil.example",
    ] {
        let asked = "to.example|www.evil.example";
        let ended = env.run(&["lookup", "--data", "data", "-f", "json", led]);
        assert_eq!(ended.status.code(), Some(0), "{led}: {}", ended.stderr);
        assert_eq!(
            ended.stderr.contains(&format!("Asked for {asked}.")),
            led != asked,
            "{led}: {}",
            ended.stderr
        );
        let served = daemon.json(&format!("/api/v1/records?questions=true&q={}", encoded(led)));
        let found = (&served["asked"], &served["records"][0]["rrname"], &served["questions"]["count"]);
        assert_eq!(found, (&json!(asked), &json!("www.evil.example"), &json!(1)), "{led}");
        let bulk = lines(daemon.post("/api/v1/lookup", led).body);
        assert_eq!((&bulk[0]["asked"], &bulk[1]["found"]), (&json!(asked), &json!(1)), "{led}: {bulk:?}");
        let page = text(daemon.get(&format!("/?q={}", encoded(led))).body);
        assert!(page.contains("/name/www.evil.example") && !page.contains("Nothing found"), "{led}: {page}");
        let seen = daemon.json(&format!("/api/v1/seen/{}", encoded(led)));
        assert_eq!((&seen["value"], &seen["rows_as_rrname"]), (&json!(asked), &json!(1)), "{led}: {seen}");
    }
    // A mirror is asked for itself, with what it shows.
    let mirror = "https://www-evil-example.translate.goog/x?_x_tr_sl=auto";
    let said = env.run(&["lookup", "--data", "data", mirror]).stderr;
    assert!(said.contains("Asked for www-evil-example.translate.goog|www.evil.example."), "{said}");
    let said = env.run(&["lookup", "--data", "data", "www-evil-example.translate.goog"]).stderr;
    assert!(said.contains("But there is another URL in it: ask for www.evil.example as well."), "{said}");
    // A name that is broken over two lines of a report.
    let broken = "It called https://na2.ev=\nil.example/gate, hxxps://www.evil-\nc2.example/x and www[.]evil[.]\nexample/y.\n";
    std::fs::write(env.path("broken.txt"), broken).unwrap();
    let args = ["lookup", "--data", "data", "--summary", "-f", "json", "--extract", "--file", "broken.txt"];
    let asked: Vec<Value> = lines(env.run(&args).stdout).iter().map(|line| line["asked"].clone()).collect();
    assert_eq!(asked, ["na2.evil.example", "www.evil-c2.example", "www.evil.example"]);
    let hunted =
        lines(env.run(&["hunt", "--data", "data", "-o", "json", "--format", "prose", "broken.txt"]).stdout);
    let values: Vec<&Value> = hunted.iter().filter_map(|line| line.get("value")).collect();
    assert_eq!(
        (values, &hunted.last().unwrap()["taken"]),
        (vec![&json!("na2.evil.example"), &json!("www.evil.example")], &json!(3))
    );
    // What is cut is not taken for a name.
    let cut = daemon.post("/api/v1/lookup?extract=true", "see https://www.evil.exam-");
    let told = lines(cut.body);
    let message = told[0]["error"]["message"].as_str().unwrap_or_default();
    assert!(cut.status == 200 && message.contains("this is cut") && told.len() == 2, "{told:?}");
}

#[test]
fn an_address_that_was_asked_for_as_a_name_is_found_by_that_address() {
    let env = TestEnv::new();
    let log = [
        record(1_767_225_600, "203.0.113.7", A, 3, &[]),
        record(1_767_225_601, "203.0.113.8", A, 0, &["203.0.113.8"]),
        record(1_767_225_602, "shop.example", (15, "MX"), 0, &["203.0.113.9"]),
    ];
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log.concat()).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    let check = || {
        let ended = env.run(&["lookup", "--data", "data", "203.0.113.7"]);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let said =
            "Nothing found for 203.0.113.7: asked for as a name 1 time, NXDOMAIN, last 2026-01-01 00:00:00.";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        let summed = text(env.run(&["lookup", "--data", "data", "--summary", "203.0.113.7"]).stdout);
        assert!(summed.contains("NXDOMAIN 1"), "{summed}");
        for (address, name) in [("203.0.113.8", "203.0.113.8"), ("203.0.113.9", "shop.example")] {
            let rows = lines(env.run(&["lookup", "--data", "data", "-f", "json", address]).stdout);
            assert_eq!(rows[0]["rrname"], name, "{address}: {rows:?}");
        }
        let never = env.run(&["lookup", "--data", "data", "203.0.113.1"]);
        assert_eq!(never.status.code(), Some(1));
        assert!(never.stderr.contains("Nothing found for 203.0.113.1."), "{}", never.stderr);
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    let answer = daemon.json("/api/v1/records?questions=true&q=203.0.113.7");
    assert_eq!((&answer["questions"]["count"], &answer["questions"]["as_name"]), (&json!(1), &json!(true)));
    assert!(daemon.json("/api/v1/records?questions=true&q=203.0.113.1")["questions"].is_null());
    let bulk = lines(daemon.post("/api/v1/lookup", "203.0.113.7").body);
    assert_eq!(bulk[0]["questions"]["count"], 1, "{bulk:?}");
    assert_eq!(daemon.json("/api/v1/seen/203.0.113.7")["asked"], true);
    assert_eq!(daemon.json("/api/v1/seen/203.0.113.9")["rows_as_rdata"], 1);
    let asked = "asked for as a name 1 time, NXDOMAIN";
    assert!(text(daemon.get("/?q=203.0.113.7").body).contains(asked));
    assert!(text(daemon.get("/address/203.0.113.7").body).contains(asked));
    assert!(text(daemon.get("/address/203.0.113.9").body).contains("/name/shop.example"));
}

#[test]
fn a_list_without_an_indicator_is_no_clean_result() {
    let env = ledger();
    let write = |name: &str, text: &str| std::fs::write(env.path(name), text).unwrap();
    write("empty", "");
    write("comments", "# of today\n\n# nothing\n");
    write("hashes", "d41d8cd98f00b204e9800998ecf8427e\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n");
    let check = || {
        for (name, looked, hunted) in [
            ("empty", "it is empty, or has only comments", "The list is empty"),
            ("comments", "it is empty, or has only comments", "There is no indicator in the list"),
            ("hashes", "no line of it is a query", "There are only hashes in it"),
        ] {
            let ended = env.run(&["lookup", "--data", "data", "--file", name]);
            assert_eq!(ended.status.code(), Some(4), "{name}: {}", ended.stderr);
            let said = format!("There is no indicator in the list, so nothing was asked: {looked}.");
            assert!(ended.stderr.contains(&said), "{name}: {}", ended.stderr);
            let ended = env.run(&["hunt", "--data", "data", name]);
            assert_eq!(ended.status.code(), Some(4), "{name}: {}", ended.stderr);
            assert!(ended.stderr.contains(hunted), "{name}: {}", ended.stderr);
            let is_told = ended.stderr.contains("only hashes");
            assert_eq!(is_told, name == "hashes", "{name}: {}", ended.stderr);
            let ended = env.run(&["hunt", "--data", "data", "-o", "json", name]);
            let sum = lines(ended.stdout).pop().unwrap();
            assert!(sum["empty"].as_str().is_some_and(|why| why.starts_with(hunted)), "{name}: {sum}");
        }
        // With an indicator, a list without a hit is one.
        write("one", "# of today\nnever.example\n");
        for command in
            [&["lookup", "--data", "data", "--file", "one"][..], &["hunt", "--data", "data", "one"]]
        {
            assert_eq!(env.run(command).status.code(), Some(1), "{command:?}");
        }
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    for body in ["", "# nothing\n\n"] {
        assert_eq!(daemon.post("/api/v1/lookup", body).status, 400, "{body:?}");
    }
    let page = daemon.post("/list", "list=%23+nothing");
    assert!(page.status == 400 && text(page.body).contains("There is no indicator in the list."));
}

#[test]
fn a_list_is_read_alike_by_who_looks_up_hunts_and_watches() {
    use std::io::Write;
    let env = ledger();
    let list = "# of today\nwww.evil.example\nna2.evil.example\n";
    let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{}", list.replace('\n', "\r\n")).encode_utf16().flat_map(unit).collect()
    };
    let packed = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let forms = [
        ("plain", list.as_bytes().to_vec()),
        ("windows", list.replace('\n', "\r\n").into_bytes()),
        ("mac", list.replace('\n', "\r").into_bytes()),
        ("mark", format!("\u{feff}{list}").into_bytes()),
        ("le", wide(u16::to_le_bytes)),
        ("be", wide(u16::to_be_bytes)),
        ("plain.gz", packed(list.as_bytes())),
        ("le.gz", packed(&wide(u16::to_le_bytes))),
        ("mac.gz", packed(list.replace('\n', "\r").as_bytes())),
    ];
    for (name, bytes) in &forms {
        std::fs::write(env.path(name), bytes).unwrap();
        let looked =
            lines(env.run(&["lookup", "--data", "data", "--summary", "-f", "json", "--file", name]).stdout);
        let of: Vec<_> = looked.iter().map(|line| (&line["line"], &line["asked"], &line["rows"])).collect();
        let (www, na2) = (json!("www.evil.example"), json!("na2.evil.example"));
        assert_eq!(of, [(&json!(2), &www, &json!(1)), (&json!(3), &na2, &json!(0))], "{name}");
        let hunted = lines(env.run(&["hunt", "--data", "data", "-o", "json", name]).stdout);
        let of: Vec<_> = hunted.iter().filter_map(|line| Some((&line["line"], line.get("value")?))).collect();
        assert_eq!(of.len(), 2, "{name}: {hunted:?}");
        assert!(of.contains(&(&json!(2), &www)) && of.contains(&(&json!(3), &na2)), "{name}: {hunted:?}");
        let feed = name.replace('.', "-");
        let imported = env.run(&["indicators", "import", "--data", "data", "--feed", &feed, name]);
        assert_eq!(imported.status.code(), Some(0), "{name}: {}", imported.stderr);
    }
    // A line of a body ends so, too.
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    for body in [list.to_owned(), list.replace('\n', "\r"), list.replace('\n', "\r\n")] {
        let ends = lines(daemon.post("/api/v1/lookup", &body).body);
        let numbers: Vec<&Value> =
            ends.iter().filter_map(|line| line.get("found").and(line.get("line"))).collect();
        assert_eq!(numbers, [&json!(2), &json!(3)].iter().rev().copied().collect::<Vec<_>>(), "{ends:?}");
    }
}

//--- exit codes -----------------------------------------------------------------------------------------------------

#[test]
fn what_is_typed_wrongly_has_one_exit_code_with_a_daemon_and_without() {
    let env = ledger();
    let check = || {
        for wrong in [
            &["new", "--since", "soon"][..],
            &["new", "--sensor", "nobody"],
            &["lookup", "--sensor", "nobody", "evil.example"],
            &["lookup", "--during", "soon", "evil.example"],
            &["evidence", "--during", "soon", "evil.example"],
            &["evidence", "--sensor", "nobody", "evil.example"],
        ] {
            let args = [&[wrong[0], "--data", "data"], &wrong[1..]].concat();
            let ended = env.run(&args);
            assert_eq!(ended.status.code(), Some(64), "{wrong:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("\ntry: "), "{wrong:?}: {}", ended.stderr);
            assert!(ended.stderr.matches("default").count() <= 1, "{}", ended.stderr);
        }
        // Asked for and never answered is found alike by one and by many.
        std::fs::write(env.path("one"), "na2.evil.example\n").unwrap();
        for command in [
            &["lookup", "--data", "data", "na2.evil.example"][..],
            &["lookup", "--data", "data", "--summary", "--file", "one"],
            &["hunt", "--data", "data", "one"],
        ] {
            assert_eq!(env.run(command).status.code(), Some(0), "{command:?}");
        }
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    let page = daemon.get("/?q=www.evil.example&sensor=nobody");
    let said = text(page.body);
    assert!(
        page.status == 400 && said.contains("unknown sensor nobody") && said.contains("default"),
        "{said}"
    );
}

//--- forms of names and addresses, times ----------------------------------------------------------------------------

/// A ledger of names in UTF-8, of addresses of IPv4 written as IPv6, and of names that were seen around a time.
fn odd_ledger() -> TestEnv {
    let env = TestEnv::new();
    let day = |day: u64| 1_767_225_600 + (day - 1) * 86_400 + 43_200; // of January 2026
    let log = [
        record(day(1), "m\u{fc}ller.example", A, 0, &["203.0.113.1"]),
        record(day(1), "xn--bcher-kva.example", A, 0, &["203.0.113.2"]),
        record(day(1), "nur.m\u{fc}ller.example", A, 3, &[]),
        record(day(1), "gefragt\u{e4}.example", A, 3, &[]),
        record(day(1), "mapped.example", (28, "AAAA"), 0, &["::ffff:203.0.113.9"]),
        record(day(1), "v6.example", (28, "AAAA"), 0, &["2001:db8::66"]),
        // Within January; around the 10th, of which the days are kept; and long around it.
        record(day(10), "in.time.example", A, 0, &["203.0.113.20"]),
        record(day(8), "around.time.example", A, 0, &["203.0.113.20"]),
        record(day(12), "around.time.example", A, 0, &["203.0.113.20"]),
        record(day(2), "long.time.example", A, 0, &["203.0.113.20"]),
        record(day(120), "long.time.example", A, 0, &["203.0.113.20"]),
    ];
    std::fs::create_dir(env.path("logs")).unwrap();
    std::fs::write(env.path("logs/dns.log"), log.concat()).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    env
}

#[test]
fn who_asks_as_a_row_is_shown_finds_it_and_who_asks_otherwise_too() {
    let env = odd_ledger();
    let raw = r"m\195\188ller.example";
    let forms = [
        ("m\u{fc}ller.example", raw),
        ("M\u{dc}LLER.example.", raw),
        ("https://m\u{fc}ller.example/x", raw),
        ("xn--mller-kva.example", raw),
        (raw, raw),
        ("*.m\u{fc}ller.example", raw),
        ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        (r"b\195\188cher.example", "xn--bcher-kva.example"),
        ("::ffff:203.0.113.9", "mapped.example"),
        ("::ffff:203.0.113.9/128", "mapped.example"),
        ("203.0.113.9", "mapped.example"),
        ("203.0.113.8/30", "mapped.example"),
        ("2001:db8::66:50000", "v6.example"),
        ("2001:db8:0:0:0:0:0:66:443", "v6.example"),
        ("2001:db8::66.443", "v6.example"),
    ];
    let check = |served: &str| {
        for (asked, name) in forms {
            let ended = env.run(&["lookup", "--data", "data", "-f", "json", asked]);
            assert_eq!(ended.status.code(), Some(0), "{served} {asked}: {}", ended.stderr);
            let names: Vec<Value> = lines(ended.stdout).iter().map(|row| row["rrname"].clone()).collect();
            assert_eq!(names, [name], "{served} {asked}");
        }
        let said = env.run(&["lookup", "--data", "data", "gefragt\u{e4}.example"]).stderr;
        assert!(said.contains("asked 1 time, NXDOMAIN"), "{said}");
        // Where an end may be a port, nothing found says so.
        let port = env.run(&["lookup", "--data", "data", "2001:db8::66:443"]);
        assert_eq!(port.status.code(), Some(1));
        assert!(port.stderr.contains("But if 443 is a port: ask for 2001:db8::66."), "{}", port.stderr);
        let summed = env.run(&["lookup", "--data", "data", "--summary", "2001:db8::66:443"]);
        assert!(text(summed.stdout).contains("if 443 is a port: ask for 2001:db8::66"));
    };
    check("alone");
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check("served");
    for (asked, name) in forms {
        let page = text(daemon.get(&format!("/?q={}", encoded(asked))).body);
        assert!(page.contains("1 row") && !page.contains("Nothing found"), "{asked}: {page}");
        let bulk = lines(daemon.post("/api/v1/lookup", &format!("{}\n", json!(asked))).body);
        assert_eq!(bulk[0]["rrname"], name, "{asked}: {bulk:?}");
        if !asked.starts_with('*') {
            let seen = daemon.json(&format!("/api/v1/seen/{}", encoded(asked)));
            assert_eq!(seen["seen"], true, "{asked}: {seen}");
        }
    }
    assert_eq!(daemon.json(&format!("/api/v1/names/{}", encoded("gefragt\u{e4}.example")))["count"], 1);
    let answer = daemon.json("/api/v1/records?q=2001:db8::66:443");
    assert_eq!(answer["hint"], "if 443 is a port: ask for 2001:db8::66", "{answer}");
    let bulk = lines(daemon.post("/api/v1/lookup", "2001:db8::66:443").body);
    assert_eq!(bulk[0]["hint"], answer["hint"], "{bulk:?}");
    assert!(text(daemon.get("/?q=2001:db8::66:443").body).contains("But if 443 is a port"));
    assert!(text(daemon.get("/api/v1/seen/2001:db8::66:443").body).contains("if 443 is a port"));
    assert!(daemon.json("/api/v1/records?q=2001:db8::66")["hint"].is_null());
    // Clients of other ledgers are told what they ask for.
    let theirs = text(daemon.get("/pdns/query/203.0.113.9").body);
    assert_eq!(theirs, "", "{theirs}");
}

#[test]
fn rows_that_were_seen_on_no_day_of_a_time_say_so_and_come_last() {
    let env = odd_ledger();
    let want = [("in", Some("seen")), ("around", Some("no_day")), ("long", Some("unknown"))];
    let of = |rows: &[Value]| -> Vec<(String, Value)> {
        rows.iter().map(|row| (row["rrname"].as_str().unwrap().to_owned(), row["during"].clone())).collect()
    };
    let check = || {
        let args = ["lookup", "--data", "data", "--during", "2026-01-10", "203.0.113.20"];
        let rows = lines(env.run(&[&args[..], &["-f", "json"]].concat()).stdout);
        let mut found = of(&rows);
        assert_eq!(found[0], ("in.time.example".to_owned(), json!("seen")), "{found:?}");
        found.sort_by_key(|row| row.0.clone());
        let mut all = want.map(|(name, during)| (format!("{name}.time.example"), json!(during))).to_vec();
        all.sort_by_key(|row| row.0.clone());
        assert_eq!(found, all);
        let table = env.run(&args);
        let shown = text(table.stdout);
        let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("around").ends_with("no day in it"), "{shown}");
        assert!(line("long").ends_with("before and after"), "{shown}");
        assert!(line("in.").ends_with("direct"), "{shown}");
        assert!(table.stderr.contains("2 rows were seen before and after that time"), "{}", table.stderr);
        let sorted = lines(env.run(&[&args[..], &["-f", "json", "--sort", "-last"]].concat()).stdout);
        assert_eq!(of(&sorted)[0], ("long.time.example".to_owned(), json!("unknown")));
        let csv = text(env.run(&[&args[..], &["-f", "csv"]].concat()).stdout);
        let ends: Vec<&str> = csv.lines().filter_map(|line| line.rsplit(',').next()).collect();
        assert_eq!((ends[0], ends[1], ends.len()), ("during", "seen", 4), "{csv}");
        assert!(ends.contains(&"no_day") && ends.contains(&"unknown"), "{csv}");
        let exported =
            text(env.run(&["export", "--data", "data", "-f", "csv", "--during", "2026-01-10"]).stdout);
        assert!(
            exported.lines().next().unwrap().ends_with(",during") && exported.contains(",no_day\n"),
            "{exported}"
        );
        let without = lines(env.run(&["lookup", "--data", "data", "-f", "json", "203.0.113.20"]).stdout);
        assert!(without.len() == 3 && without.iter().all(|row| row["during"].is_null()), "{without:?}");
    };
    check();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    check();
    for path in [
        "records?format=csv&q=203.0.113.20",
        "records?format=csv&sort=-last&q=203.0.113.20",
        "export?format=csv&q=203.0.113.20",
    ] {
        let csv = text(daemon.get(&format!("/api/v1/{path}&during=2026-01-10")).body);
        assert!(
            csv.lines().next().unwrap().ends_with(",days,during") && csv.contains(",no_day\n"),
            "{path}: {csv}"
        );
    }
    let page = text(daemon.get("/?q=203.0.113.20&from=2026-01-10&to=2026-01-10").body);
    let at = |name: &str| page.find(&format!("/name/{name}.time.example")).unwrap();
    assert!(at("in") < at("long") && at("long") < at("around"), "{page}");
    assert!(page.contains("no day in it") && page.contains("2 rows were seen before and after"), "{page}");
}

#[test]
fn endpoints_of_other_clients_understand_what_can_be_nothing_by_their_rules() {
    let env = ledger();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    for path in [
        "/dns/www[.]evil[.]example",
        "/dns/hxxps:%2F%2Fwww.evil.example%2Fx",
        "/dns/203.0.113[.]66",
        "/dns/full/www[.]evil[.]example",
        "/dns/full/evil[.]example",
        "/dns/find/tuples/www[.]evil[.]example",
        "/dns/like/tuples/evil[.]example",
        "/dns/find/individual/www[.]evil[.]example",
        "/pdns/query/www[.]evil[.]example",
        "/pdns/query/https://www.evil.example/x",
        "/pdns/query/203.0.113.66:443",
        "/query/www(.)evil(.)example",
        "/fquery/203[.]0[.]113[.]66",
        "/dnsdb/v2/lookup/rrset/name/www[.]evil[.]example",
        "/dnsdb/v2/lookup/rrset/name/*.evil[.]example/ANY",
        "/dnsdb/v2/lookup/rdata/ip/203.0.113[.]66",
        "/dnsdb/v2/summarize/rrset/name/www[.]evil[.]example",
        "/lookup/rrset/name/www[.]evil[.]example",
        // Copied with its quotation marks; and a block as people write it.
        "/dns/%22www.evil.example%22",
        "/pdns/query/%22www.evil.example%22",
        "/dnsdb/v2/lookup/rrset/name/%22www.evil.example%22",
        "/dns/203.0.113.*",
        "/dns/203.0.113.0%2F24",
        "/dns/203.0.113.60-203.0.113.70",
        "/dns/www.evil.example%0A",
        "/dns/203.0.113.66%0D%0A",
        "/pdns/query/203.0.113.*",
        "/query/203.0.*.*",
        "/dnsdb/v2/lookup/rdata/ip/203.0.113.*",
    ] {
        let target = path.replace('[', "%5B").replace(']', "%5D");
        let answer = daemon.get(&target);
        let body = text(answer.body);
        let is_found = body.contains("www.evil.example") || body.contains("num_results\":1");
        assert!(answer.status == 200 && is_found, "{path}: {} {body}", answer.status);
    }
    // What can be nothing at all is refused, as it is everywhere.
    for what in [
        "AS64500",
        "www.evil.example,c2.evil.example",
        "www.evil.example;203.0.113.66",
        "203.0.113.256",
        "203.0.113.066",
        "d41d8cd98f00b204e9800998ecf8427e",
    ] {
        for front in [
            "/dns/",
            "/dns/find/tuples/",
            "/pdns/query/",
            "/query/",
            "/dnsdb/v2/lookup/rrset/name/",
            "/lookup/rrset/name/",
        ] {
            let answer = daemon.get(&format!("{front}{what}"));
            assert_eq!(answer.status, 400, "{front}{what}: {}", text(answer.body));
        }
        assert_eq!(env.run(&["lookup", "--data", "data", what]).status.code(), Some(64), "{what}");
    }
    // What is no indicator stays what their clients mean: text of an answer, or nothing.
    for path in ["/dns/%22a%5B.%5Db%22", "/dns/a%20b", "/dns/full/c%20d"] {
        assert_eq!(text(daemon.get(path).body), "{\"records\": []}\n", "{path}");
    }
}
