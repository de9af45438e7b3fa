//! What clients of other ledgers get, byte for byte, over the log in `testdata/clients`. `clients` runs the real ones.

use serde_json::{Value, json};

use super::env::{Daemon, TestEnv, testdata};
use super::fleet::front_of;

/// Lines of the log.
pub const LINES: u64 = 136;

/// A daemon that has read the log; with `DNSLEDGER_TEST_FRONT` a front end of a cluster into which that was shipped.
pub fn start() -> (TestEnv, Daemon) {
    let env = TestEnv::new();
    if std::env::var_os("DNSLEDGER_TEST_FRONT").is_some() {
        env.ok(&["import", "--data", "data", &testdata("clients")]);
        watch(&env);
        let front = front_of(&env, "engine", "data", &[]);
        return (env, front);
    }
    let daemon = env.daemon(&testdata("clients"), "data");
    daemon.wait_for_lines(LINES);
    (env, daemon)
}

/// Watches for some of what is in the log.
pub fn watch(env: &TestEnv) {
    std::fs::write(env.path("bad.txt"), "www.example.com\n192.0.2.77\n").unwrap();
    env.ok(&["indicators", "import", "--data", "data", "--feed", "bad", "bad.txt"]);
}

/// As [`start`] has one, that lets in with a token only; and the token.
pub fn guarded(env: &TestEnv) -> (Daemon, String) {
    let (daemon, token) = env.guarded_daemon(&testdata("clients"));
    if std::env::var_os("DNSLEDGER_TEST_FRONT").is_none() {
        return (daemon, token);
    }
    assert!(daemon.stop().status.success());
    (front_of(env, "guarded-engine", "guarded", &["--config", "guarded.toml"]), token)
}

/// The body of a good answer, as text.
#[track_caller]
fn body(daemon: &Daemon, path: &str) -> String {
    let response = daemon.get(path);
    let body = String::from_utf8(response.body).unwrap();
    assert_eq!(response.status, 200, "{path}: {body}");
    body
}

/// The lines of a good answer.
#[track_caller]
fn lines(daemon: &Daemon, path: &str) -> Vec<Value> {
    body(daemon, path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The objects of an answer in the Streaming Answer Format, and its last line.
#[track_caller]
fn framed(daemon: &Daemon, path: &str) -> (Vec<Value>, Value) {
    let mut lines = lines(daemon, path);
    assert_eq!(lines.remove(0), json!({"cond": "begin"}), "{path}");
    let end = lines.pop().unwrap();
    (lines.into_iter().map(|mut line| line["obj"].take()).collect(), end)
}

/// Rows as `rrname rrtype rdata`.
fn shown(rows: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(|v| v.as_str().unwrap()).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    rows.iter()
        .map(|row| format!("{} {} {}", text(&row["rrname"]), text(&row["rrtype"]), text(&row["rdata"])))
        .collect()
}

//--- zeek-pdns ------------------------------------------------------------------------------------------------------

#[test]
fn zeek_pdns_gets_its_arrays() {
    let (_env, daemon) = start();
    assert_eq!(
        body(&daemon, "/dns/find/tuples/192.0.2.10"),
        "[{\"Query\":\"www.example.com\",\"Type\":\"A\",\"Answer\":\"192.0.2.10\",\"Count\":3,\"TTL\":300,\
         \"First\":\"2026-01-02 03:04:05\",\"Last\":\"2026-03-04 05:06:07\"}]\n"
    );
    assert_eq!(
        body(&daemon, "/dns/find/individual/www.example.com"),
        "[{\"Value\":\"www.example.com\",\"Which\":\"A\",\"Count\":1,\"First\":\"2026-01-02 03:05:25\",\
         \"Last\":\"2026-01-02 03:05:25\"},{\"Value\":\"www.example.com\",\"Which\":\"Q\",\"Count\":5,\
         \"First\":\"2026-01-02 03:04:05\",\"Last\":\"2026-03-04 05:06:07\"}]\n"
    );
    for path in ["/dns/find/tuples/nothing.example", "/dns/like/individual/nothing.example"] {
        assert_eq!(body(&daemon, path), "[]\n", "{path}");
    }
    let answers = |path: &str| -> Vec<String> {
        let rows: Vec<Value> = serde_json::from_str(&body(&daemon, path)).unwrap();
        let shown =
            |row: &Value| format!("{} {}", row["Query"].as_str().unwrap(), row["Answer"].as_str().unwrap());
        rows.iter().map(shown).collect()
    };
    // The end of a query, or the start of an answer, by character.
    assert_eq!(
        answers("/dns/like/tuples/MAIL.example.com"),
        ["example.com mail.example.com", "mail.example.com 192.0.2.25"]
    );
    assert_eq!(answers("/dns/like/tuples/ample.net"), ["cdn.example.net 192.0.2.77"]);
    assert_eq!(answers("/dns/like/tuples/203.0.113.").len(), 120);
    let values: Vec<Value> = serde_json::from_str(&body(&daemon, "/dns/like/individual/192.0.2.1")).unwrap();
    let values: Vec<_> =
        values.iter().map(|v| (v["Value"].as_str().unwrap(), v["Count"].as_u64().unwrap())).collect();
    assert_eq!(values, [("192.0.2.10", 3), ("192.0.2.11", 1)]);
    assert_eq!(answers("/dns/find/tuples/192.0.2.77?aliases=false"), ["cdn.example.net 192.0.2.77"]);
    let cut = daemon.get("/dns/like/individual/pages.example.org?limit=7");
    assert!(cut.head.contains("x-truncated: true"), "{}", cut.head);
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&cut.body).unwrap().len(), 7);
}

//--- COF ------------------------------------------------------------------------------------------------------------

#[test]
fn circl_gets_lines_of_the_common_output_format() {
    let (_env, daemon) = start();
    let address = "/pdns/query/192.0.2.25";
    let found = body(&daemon, address);
    let origin = found.split("\"origin\":").nth(1).unwrap();
    assert!(origin.starts_with("\"http://127.0.0.1:"), "{origin}");
    assert_eq!(
        found.split(",\"origin\"").next().unwrap(),
        "{\"rrname\":\"mail.example.com\",\"rrtype\":\"A\",\"rdata\":\"192.0.2.25\",\"time_first\":1767323105,\
         \"time_last\":1767323105,\"count\":1"
    );
    assert!(found.ends_with("}\n"));
    assert_eq!(body(&daemon, "/pdns/query/nothing.example"), "");
    let find = |path: &str| shown(&lines(&daemon, path));
    // A name finds no alias rows, an address does.
    assert_eq!(find("/pdns/query/blog.example.com"), ["blog.example.com CNAME cdn.example.net"]);
    assert_eq!(find("/pdns/query/blog.example.com?aliases=True").len(), 2);
    let both = ["blog.example.com A 192.0.2.77", "cdn.example.net A 192.0.2.77"];
    assert_eq!(find("/pdns/query/192.0.2.77"), both);
    assert_eq!(find("/passivedns/192.0.2.77/"), both);
    for block in ["192.0.2.64/26", "192.0.2.64,26", "192.0.2.64%2C26", "192.0.2.70-192.0.2.80"] {
        assert_eq!(find(&format!("/pdns/query/{block}")), both, "{block}");
    }
    assert_eq!(find("/pdns/query/2001%3Adb8::/32"), ["www.example.com AAAA 2001:db8::10"]);
    // A type that nobody has a name for is a number.
    assert_eq!(find("/pdns/query/zone.example.org"), ["zone.example.org 65534 BIND9 signing signal"]);
    assert_eq!(daemon.get("/pdns/query/192.0.2.0/33").status, 400);
    assert_eq!(daemon.get("/pdns/query").status, 404);
}

#[test]
fn d4_gets_all_rows_of_the_names_of_an_address() {
    let (_env, daemon) = start();
    let find = |path: &str| shown(&lines(&daemon, path));
    let www =
        ["www.example.com A 192.0.2.10", "www.example.com A 192.0.2.11", "www.example.com AAAA 2001:db8::10"];
    assert_eq!(find("/query/192.0.2.11"), www);
    assert_eq!(find("/query/www.example.com"), www);
    assert_eq!(find("/fquery/www.example.com"), ["10.2.0.192.in-addr.arpa PTR www.example.com"]);
    assert_eq!(find("/fquery/2001:db8::10"), www);
    assert_eq!(find("/fquery/%22v=spf1%20-all%22").len(), 5);
    assert_eq!(find("/query/203.0.113.7").len(), 120);
    assert_eq!(find("/query/203.0.113.7?limit=50").len(), 50);
    assert_eq!(body(&daemon, "/query/192.0.2.200"), "");
    assert_eq!(body(&daemon, "/fquery/nothing.example"), "");
    let info = daemon.json("/info");
    assert_eq!(info["software"], "dnsledger");
    assert_eq!(info["sensors"], json!([{"sensor_id": "default", "count": LINES}]));
    assert_eq!(info["stats"], LINES);
}

//--- DNSDB ----------------------------------------------------------------------------------------------------------

#[test]
fn dnsdb_answers_in_its_frame() {
    let (_env, daemon) = start();
    let response = daemon.get("/dnsdb/v2/lookup/rrset/name/mail.example.com");
    assert!(response.head.contains("content-type: application/x-ndjson"), "{}", response.head);
    assert_eq!(
        String::from_utf8(response.body).unwrap(),
        "{\"cond\":\"begin\"}\n{\"obj\":{\"count\":1,\"time_first\":1767323105,\"time_last\":1767323105,\
         \"rrname\":\"mail.example.com.\",\"rrtype\":\"A\",\"rdata\":[\"192.0.2.25\"]}}\n{\"cond\":\"succeeded\"}\n"
    );
    assert_eq!(
        body(&daemon, "/dnsdb/v2/lookup/rrset/name/nothing.example"),
        "{\"cond\":\"begin\"}\n{\"cond\":\"succeeded\"}\n"
    );
    let (human, _) = framed(&daemon, "/dnsdb/v2/lookup/rdata/ip/192.0.2.25?humantime=True");
    assert_eq!(human[0]["time_last"], "2026-01-02T03:05:05Z");
    assert_eq!(
        body(&daemon, "/lookup/rdata/ip/192.0.2.25"),
        "{\"count\":1,\"time_first\":1767323105,\"time_last\":1767323105,\"rrname\":\"mail.example.com.\",\
         \"rrtype\":\"A\",\"rdata\":\"192.0.2.25\"}\n"
    );
    let nothing = daemon.get("/lookup/rrset/name/nothing.example");
    assert_eq!(
        (nothing.status, nothing.body.as_slice()),
        (404, &b"Error: no results found for query.\n"[..])
    );
}

#[test]
fn dnsdb_finds_by_every_path() {
    let (_env, daemon) = start();
    let find = |path: &str| shown(&framed(&daemon, &format!("/dnsdb/v2/lookup/{path}")).0);
    let www_a = ["www.example.com. A 192.0.2.10", "www.example.com. A 192.0.2.11"];
    let aaaa = "www.example.com. AAAA 2001:db8::10";
    for path in [
        "rrset/name/WWW.example.com./a",
        "rrset/name/www.example.com/A/",
        "rrset/name/www.example.com/A/example.com",
        "rrset/name/www.example.com/A/%2A.com.",
        "rrset/raw/03777777076578616D706c6503636f6d00/A",
        "rdata/ip/192.0.2.10,31",
        "rdata/ip/192.0.2.10/31/",
        "rdata/ip/192.0.2.10%2C31/A",
        "rdata/ip/192.0.2.10-192.0.2.20/ANY",
    ] {
        assert_eq!(find(path), www_a, "{path}");
    }
    for path in [
        "rrset/name/www.example.com/AAAA",
        "rrset/name/www.example.com/TYPE28",
        "rdata/ip/2001%3Adb8%3A%3A,32",
        "rdata/ip/2001:db8::10",
        "rdata/raw/20010db8000000000000000000000010",
        "rrset/name/www.*/AAAA",
        "rrset/name/%2A.com/AAAA/example.com",
    ] {
        assert_eq!(find(path), [aaaa], "{path}");
    }
    assert_eq!(find("rrset/name/www.example.com/ANY/example.org"), [""; 0]);
    let target = ["example.com. NS ns1.example.net.", "example.com. SOA ns1.example.net."];
    for path in
        ["rdata/name/ns1.example.net", "rdata/name/ns1.*", "rdata/raw/036e7331076578616d706c65036e657400"]
    {
        assert_eq!(find(path), target, "{path}");
    }
    assert_eq!(find("rdata/name/*.example.net/NS").len(), 2);
    assert_eq!(find("rdata/name/ns1.example.net/NS"), target[..1]);
    assert_eq!(
        find("rdata/raw/000a046d61696c076578616d706c6503636f6d00/MX"),
        ["example.com. MX mail.example.com."]
    );
    assert_eq!(find("rdata/raw/0B763d73706631202d616c6c/TXT"), ["example.com. TXT \"v=spf1 -all\""]);
    // Types that exist for DNSSEC only are left out unless asked for.
    let (a, ds) = ("signed.example.org. A 198.51.100.200", "signed.example.org. DS DS 8 2");
    assert_eq!(find("rrset/name/signed.example.org"), [a]);
    assert_eq!(find("rrset/name/signed.example.org/ANY"), [a]);
    assert_eq!(find("rrset/name/signed.example.org/any-dnssec"), [ds]);
    assert_eq!(find("rrset/name/zone.example.org"), ["zone.example.org. TYPE65534 BIND9 signing signal"]);
    assert_eq!(
        find("rrset/name/caf%5C195%5C169.example.org"),
        [r"caf\195\169.example.org. A 198.51.100.201"]
    );
    // An rrset has no alias rows, an rdata lookup does.
    assert_eq!(find("rrset/name/blog.example.com"), ["blog.example.com. CNAME cdn.example.net."]);
    assert_eq!(find("rrset/name/blog.example.com?aliases=1").len(), 2);
    assert_eq!(find("rdata/ip/192.0.2.77").len(), 2);
    assert_eq!(find("rdata/ip/192.0.2.77?aliases=false"), ["cdn.example.net. A 192.0.2.77"]);
}

#[test]
fn dnsdb_limits_offsets_and_fences_hold() {
    let (_env, daemon) = start();
    let ask = |tail: &str| framed(&daemon, &format!("/dnsdb/v2/lookup/rdata/ip/203.0.113.7{tail}"));
    let limited = json!({"cond": "limited", "msg": "Result limit reached"});
    let (all, end) = ask("");
    assert_eq!((all.len(), end), (120, json!({"cond": "succeeded"})));
    for (tail, from, to, is_limited) in [
        ("?limit=50", 0, 50, true),
        ("?limit=50&offset=50", 50, 100, true),
        ("?limit=50&offset=100", 100, 120, false),
        ("?limit=20&offset=100", 100, 120, false),
        ("?limit=0&offset=119&aggr=f", 119, 120, false),
        ("?offset=120", 120, 120, false),
        ("?offset=1000000", 120, 120, false),
    ] {
        let (rows, end) = ask(tail);
        assert_eq!((&rows[..], end == limited), (&all[from..to], is_limited), "{tail}");
    }
    let www = |fences: &str| {
        framed(&daemon, &format!("/dnsdb/v2/lookup/rrset/name/www.example.com?{fences}")).0.len()
    };
    // Inclusive: the rows were seen first at 1767323045, 1767323055 and 1767409445, the first of them last at 1772600767.
    for (fences, rows) in [
        ("time_first_before=1767323045", 1),
        ("time_first_before=1767323044", 0),
        ("time_first_after=1767409445", 1),
        ("time_first_after=1767409446", 0),
        ("time_last_after=1772600767", 1),
        ("time_last_before=1767323055", 1),
        ("time_last_after=-1", 0),
        ("time_last_before=-1", 3),
        ("time_first_after=1767323055&time_last_before=1767409445", 2),
    ] {
        assert_eq!(www(fences), rows, "{fences}");
    }
}

#[test]
fn dnsdb_summarises() {
    let (_env, daemon) = start();
    let sum = |path: &str| framed(&daemon, &format!("/dnsdb/v2/summarize/{path}")).0;
    assert_eq!(
        sum("rrset/name/www.example.com"),
        [json!({"count": 5, "num_results": 3, "time_first": 1_767_323_045, "time_last": 1_772_600_767})]
    );
    assert_eq!(sum("rdata/ip/203.0.113.7?max_count=30")[0]["num_results"], 30);
    assert_eq!(sum("rrset/name/nothing.example"), [json!({"count": 0, "num_results": 0})]);
    assert_eq!(lines(&daemon, "/summarize/rdata/name/ns1.example.net")[0]["num_results"], 2);
}

#[test]
fn dnsdb_finds_flexibly() {
    let (_env, daemon) = start();
    let ask = |path: &str| framed(&daemon, &format!("/dnsdb/v2/{path}"));
    let (names, end) = ask("regex/rrnames/%5Ewww%5C.");
    assert_eq!(
        names,
        [
            json!({"count": 4, "time_first": 1_767_323_045, "time_last": 1_772_600_767, "rrname": "www.example.com.", "rrtype": "A"}),
            json!({"count": 1, "time_first": 1_767_323_055, "time_last": 1_767_323_055, "rrname": "www.example.com.", "rrtype": "AAAA"}),
        ]
    );
    assert_eq!(end, json!({"cond": "succeeded"}));
    // Each value of data once for each type, with the figures of all its rows.
    let (data, _) = ask("glob/rdata/203.0.113.%2A");
    assert_eq!(
        data,
        [
            json!({"count": 120, "time_first": 1_767_323_245, "time_last": 1_767_323_364, "rdata": "203.0.113.7",
                "rrtype": "A", "raw_rdata": "CB007107"})
        ]
    );
    assert_eq!(
        ask("regex/rdata/spf1.%2A%22$?verbose=false").0,
        [json!({
            "rdata": "\"v=spf1 -all\"", "rrtype": "TXT", "raw_rdata": "0B763D73706631202D616C6C"
        })]
    );
    let (cut, end) = ask("regex/rrnames/pages/A?limit=10&offset=5");
    assert_eq!(
        (cut.len(), end["cond"].as_str(), cut[0]["rrname"].as_str()),
        (10, Some("limited"), Some("host005.pages.example.org."))
    );
    assert_eq!(ask("glob/rrnames/%2A.example.com./MX").0.len(), 0);
    assert_eq!(ask("glob/rrnames/example.com./MX").0.len(), 1);
    assert_eq!(ask("regex/rrnames/example%5C.com%5C.$/A?exclude=mail").0.len(), 1);
    assert_eq!(ask("regex/rrnames/signed/ANY-DNSSEC").0[0]["rrtype"], "DS");
}

#[test]
fn dnsdb_refuses_with_words() {
    let (_env, daemon) = start();
    for (path, status) in [
        ("lookup/rrset/name/www.example.com/BOGUS", 400),
        ("lookup/rrset/name/a..b", 400),
        ("lookup/rrset/name/w*w.example.com", 400),
        ("lookup/rrset/raw/0377", 400),
        ("lookup/rrset/raw/xyz", 400),
        ("lookup/rrset/raw/00/ANY/example.com", 400),
        ("lookup/rrset/name", 400),
        ("lookup/rdata/ip/192.0.2.0,33", 400),
        ("lookup/rdata/ip/www.example.com", 400),
        ("lookup/rdata/ip/192.0.2.1/MX", 400),
        ("lookup/rdata/raw/0102030405", 400),
        ("lookup/rrset/name/x?limit=-1", 400),
        ("lookup/rrset/name/x?limit=ten", 400),
        ("lookup/rrset/name/x?time_first_after=yesterday", 400),
        ("lookup/rrset/name/x?humantime=perhaps", 400),
        ("lookup/rrset/name/x?offset=1000001", 416),
        ("regex/rrnames/a(", 400),
        ("regex/rrnames/a?offset=50000", 416),
        ("glob/rrnames/%5Ba", 400),
        ("glob/other/a", 404),
        ("other", 404),
    ] {
        let response = daemon.get(&format!("/dnsdb/v2/{path}"));
        let body = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, status, "{path}: {body}");
        assert!(body.starts_with("Error: ") && body.ends_with('\n') && body.len() > 12, "{path}: {body:?}");
    }
    assert_eq!(daemon.json("/dnsdb/v2/ping"), json!({"ping": "ok"}));
    assert_eq!(daemon.json("/lookup/rate_limit"), daemon.json("/dnsdb/v2/rate_limit"));
    assert_eq!(daemon.json("/dnsdb/v2/rate_limit")["rate"]["limit"], "unlimited");
}
