//! That the logs in `testdata/zeek`, each written by hand for one property, are read as they are meant to be.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::env::{TestEnv, testdata};

/// What a log holds: how its lines end, and rows as `rrname rrtype rdata count ttl`, with `alias` where the name was
/// only asked, not the owner.
struct Fixture {
    file: &'static str,
    counted: u64,
    skipped: &'static [(&'static str, u64)],
    malformed: &'static [(&'static str, u64)],
    rows: &'static [&'static str],
}

/// Two requests for one address, one each for some other types, a name that does not exist, an answer Zeek does not log.
const OK: Fixture = Fixture {
    file: "ok_tsv.log",
    counted: 6,
    skipped: &[("no_answer", 2)],
    malformed: &[],
    rows: &[
        "1.2.0.192.in-addr.arpa PTR www.example.com 1 300",
        "example.com MX mail.example.com 1 300",
        "example.com TXT \"v=spf1 a,b -all\" 1 300",
        "www.example.com A 192.0.2.1 2 300",
        "www.example.com AAAA 2001:db8::1 1 300",
    ],
};

/// What shippers make of a log: a chain, a text, a name that does not exist, and one record each of mDNS and NetBIOS.
const SHIPPED: Fixture = Fixture {
    file: "json_nested_id.log",
    counted: 2,
    skipped: &[("no_answer", 1), ("port", 2)],
    malformed: &[],
    rows: &[
        r#"t\195\164b.example.com TXT "a\009b\"c" 1 60"#,
        "www.example.com A 192.0.2.1 1 300 alias",
        "www.example.com CNAME www.example.net 1 300",
        "www.example.net A 192.0.2.1 1 300",
    ],
};

const FIXTURES: &[Fixture] = &[
    OK,
    SHIPPED,
    // All records in one line, which has no end.
    Fixture { file: "json_array.log", ..SHIPPED },
    Fixture { file: "json_in_dns.log", ..SHIPPED },
    Fixture { file: "json_in_zeek_dns.log", ..SHIPPED },
    Fixture { file: "json_as_text.log", ..SHIPPED },
    // Address, port and time are elsewhere, by the Elastic Common Schema, in objects or in names with dots.
    Fixture { file: "json_ecs.log", ..SHIPPED },
    Fixture { file: "json_dotted.log", ..SHIPPED },
    // One record each of Docker and Fluent Bit, Splunk's collector, an export of Elasticsearch, syslog, and two in one.
    Fixture { file: "json_envelopes.log", ..SHIPPED },
    Fixture { file: "tsv_as_text.log", ..SHIPPED },
    Fixture { file: "ok_json.log", ..OK },
    // A chain with addresses, one without, one logged behind its address, and a loop.
    Fixture {
        file: "cname_chain.log",
        counted: 4,
        skipped: &[],
        malformed: &[],
        rows: &[
            "a.example.net CNAME b.example.net 2 300",
            "b.example.net A 192.0.2.5 1 300",
            "b.example.net A 192.0.2.6 1 300",
            "cname.example.net A 192.0.2.7 1 300",
            "last.example.org A 192.0.2.7 1 300 alias",
            "last.example.org CNAME cname.example.net 1 300",
            "loop.example.org CNAME pool.example.org 1 300",
            "www.example.org A 192.0.2.5 1 300 alias",
            "www.example.org A 192.0.2.6 1 300 alias",
            "www.example.org CNAME a.example.net 2 300",
        ],
    },
    // Replies whose query was not seen; the root; names that read like "unset" and "empty".
    Fixture {
        file: "unset_fields.log",
        counted: 4,
        skipped: &[("no_query", 1), ("unusable_answers", 1)],
        malformed: &[],
        rows: &[
            "(empty) A 192.0.2.10 1 300",
            "- A 192.0.2.9 1 300",
            ". NS ns.example.org 1 300",
            "owner.example.org A 192.0.2.8 1 300",
        ],
    },
    Fixture {
        file: "fields_reordered.log",
        counted: 2,
        skipped: &[],
        malformed: &[],
        rows: &[
            "example.com NS ns1.example.com 1 300",
            "example.com NS ns2.example.com 1 300",
            "www.example.com A 192.0.2.1 1 300",
        ],
    },
    Fixture {
        file: "schema_changes_midfile.log",
        counted: 3,
        skipped: &[],
        malformed: &[],
        rows: &[
            "after.example.com A 192.0.2.2 1 300",
            "after.example.com AAAA 2001:db8::2 1 300",
            "before.example.com A 192.0.2.1 1 300",
        ],
    },
    // A line cut in the middle, and a last one without its end.
    Fixture {
        file: "truncated_line.log",
        counted: 2,
        skipped: &[],
        malformed: &[("columns", 1), ("unterminated", 1)],
        rows: &["whole.example.com A 192.0.2.1 2 300"],
    },
    // Escaped bytes, UTF-8, a raw byte, a backslash, a NUL.
    Fixture {
        file: "not_utf8.log",
        counted: 4,
        skipped: &[("bad_name", 1)],
        malformed: &[],
        rows: &[
            r"back\\slash.example.com A 192.0.2.4 1 300",
            r"caf\195\169.example.com A 192.0.2.2 1 300",
            r"raw\255.example.com A 192.0.2.3 1 300",
            r"zi1ba\208\209.t.example.com A 192.0.2.1 1 300",
        ],
    },
    // RFC 2181 section 8: above 2^31 - 1 is 0.
    Fixture {
        file: "bad_ttl.log",
        counted: 2,
        skipped: &[],
        malformed: &[],
        rows: &[
            "last.example.com A 192.0.2.3 1 2147483647",
            "long.example.com A 192.0.2.1 1 0",
            "long.example.com A 192.0.2.2 1 60",
        ],
    },
    // Masked, negative, infinite.
    Fixture {
        file: "bad_time.log",
        counted: 1,
        skipped: &[],
        malformed: &[("time", 3)],
        rows: &["good.example.com A 192.0.2.1 1 300"],
    },
    // Two lines in one, a hole, the head of an image, CSV.
    Fixture {
        file: "garbage.log",
        counted: 2,
        skipped: &[],
        malformed: &[("columns", 5), ("nul", 1)],
        rows: &["good.example.com A 192.0.2.1 2 300"],
    },
    Fixture {
        file: "multicast.log",
        counted: 0,
        skipped: &[("class", 1), ("port", 4)],
        malformed: &[],
        rows: &[],
    },
    // A conn.log and a dns.log, joined.
    Fixture {
        file: "two_logs_in_one.log",
        counted: 1,
        skipped: &[("other_log", 1)],
        malformed: &[],
        rows: &["is.dns.example.com A 192.0.2.1 1 300"],
    },
];

#[test]
fn each_log_gives_the_rows_it_is_meant_to() {
    for fixture in FIXTURES {
        let env = TestEnv::new();
        env.ok(&["import", "--data", "ledger", &testdata(&format!("zeek/{}", fixture.file))]);
        let mut rows: Vec<String> = env.export("ledger").lines().map(row).collect();
        rows.sort();
        assert_eq!(rows, fixture.rows, "{}", fixture.file);
        let totals = &env.status("ledger")["totals"];
        assert_eq!(totals["counted"], fixture.counted, "{}", fixture.file);
        assert_eq!(
            reasons(&totals["skipped"]),
            fixture.skipped.iter().copied().collect(),
            "{}",
            fixture.file
        );
        assert_eq!(
            reasons(&totals["malformed"]),
            fixture.malformed.iter().copied().collect(),
            "{}",
            fixture.file
        );
    }
}

#[test]
fn the_sample_folder_gives_the_same_ledger_as_its_json_twin() {
    let env = TestEnv::new();
    env.ok(&["import", "--data", "tsv", &testdata("zeek-tree")]);
    env.ok(&["import", "--data", "json", &testdata("zeek-tree-json")]);
    let export = env.export("tsv");
    assert!(export.lines().count() > 500, "{} rows", export.lines().count());
    assert!(export == env.export("json"));
    assert_eq!(env.status("tsv")["totals"], env.status("json")["totals"]);
    // A second time nothing is new.
    env.ok(&["import", "--data", "tsv", &testdata("zeek-tree")]);
    assert!(export == env.export("tsv"));
}

#[test]
fn every_log_is_in_the_table() {
    let mut files: Vec<String> = std::fs::read_dir(testdata("zeek"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut named: Vec<&str> = FIXTURES.iter().map(|fixture| fixture.file).collect();
    named.sort_unstable();
    assert_eq!(files, named);
}

/// A line of an export, as the table has it.
fn row(line: &str) -> String {
    let row: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{key} in {line}")).to_owned();
    let rdata = row["rdata"].as_array().unwrap();
    assert_eq!(rdata.len(), 1, "{line}");
    let alias = if row["direct"] == true { "" } else { " alias" };
    let (rdata, count, ttl) = (rdata[0].as_str().unwrap(), &row["count"], &row["ttl"]);
    format!("{} {} {rdata} {count} {ttl}{alias}", text("rrname"), text("rrtype"))
}

/// The reasons that occurred.
fn reasons(counts: &Value) -> BTreeMap<&str, u64> {
    let counts = counts.as_object().unwrap();
    counts
        .iter()
        .map(|(reason, lines)| (reason.as_str(), lines.as_u64().unwrap()))
        .filter(|(_, n)| *n > 0)
        .collect()
}
