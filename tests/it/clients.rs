//! The real clients of other ledgers against the real program, over the log in `testdata/clients`.
//!
//! `tests/clients/setup.sh` installs them, and `.ci/run` calls it. Where one is missing its tests say `SKIPPED`; in CI
//! that is a failure. Everything stays on the loopback interface.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::compat::{guarded, start, watch};
use super::env::{Daemon, Ended, TestEnv, free_port, skipped, until};

/// Says that a tool is missing; in CI that is a failure.
fn skip(tool: &str) {
    assert!(std::env::var_os("CI").is_none(), "{tool} is missing: run tests/clients/setup.sh");
    skipped(&format!("{tool} is missing: run tests/clients/setup.sh"));
}

/// Whether a tool is there.
pub fn is_there(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
    let found = found.status.success();
    if !found {
        skip(tool);
    }
    found
}

/// The environment of the Python clients, if it is there.
pub fn python() -> Option<PathBuf> {
    // The program lies in target/{profile}/.
    let target = Path::new(env!("CARGO_BIN_EXE_dnsledger")).ancestors().nth(2).unwrap();
    let bin = target.join("clients/bin");
    if bin.parent().unwrap().join("installed").exists() {
        return Some(bin);
    }
    skip("the environment of the Python clients");
    None
}

/// Runs a script of `tests/clients`, which says nothing when all is well.
#[track_caller]
pub fn check(env: &TestEnv, bin: &Path, script: &str, args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = env.tool(bin.join("python").to_str().unwrap());
    let ended = env.finish(command.arg("-B").arg(script).args(args));
    let said = format!("{}{}", ended.stdout.escape_ascii(), ended.stderr);
    assert!(ended.status.success() && said.is_empty(), "{}: {said}", ended.status);
}

//--- curl -----------------------------------------------------------------------------------------------------------

/// What curl gets: the body and the status.
#[track_caller]
fn curl(env: &TestEnv, daemon: &Daemon, args: &[&str], path: &str) -> (String, String) {
    let mut command = env.tool("curl");
    command.args(["-sS", "--noproxy", "*", "-w", "%{stderr}%{http_code}"]).args(args);
    let ended = env.finish(command.arg(daemon.url(path)));
    assert!(ended.status.success(), "{path}: {}", ended.stderr);
    (String::from_utf8(ended.stdout).unwrap(), ended.stderr)
}

/// Rows 1 to 3: scripts that ask the recipe's API and zeek-pdns.
#[test]
fn curl_asks_as_scripts_do() {
    if !is_there("curl") {
        return;
    }
    let (env, daemon) = start();
    let (body, status) = curl(&env, &daemon, &[], "/dns/mail.example.com");
    assert_eq!(status, "200");
    assert!(
        body.starts_with("{\"records\": [{\"query\": \"mail.example.com\", \"type\": \"A\", \"answer\": \"192.0.2.25\", \"count\": 1, \"ttl\": 300, \"first\": \"2026-01-02 03:05:05\", \"last\": \"2026-01-02 03:05:05\"}"),
        "{body}"
    );
    let (body, _) = curl(&env, &daemon, &[], "/dns/full/pages.EXAMPLE");
    assert_eq!(body.matches("\"query\": \"host").count(), 120);
    let (body, _) = curl(&env, &daemon, &[], "/dns/nothing.example");
    assert_eq!(body, "{\"records\": []}\n");
    let (body, _) = curl(&env, &daemon, &[], "/dns/like/tuples/cdn.example.net");
    assert_eq!(body.matches("\"Query\":").count(), 2);
}

/// Row 11: the shapes of URL that Cortex's analyzers and IntelOwl make, and pages by header.
#[test]
fn curl_asks_as_cortex_and_intelowl_do() {
    if !is_there("curl") {
        return;
    }
    let (env, daemon) = start();
    for (path, status, rows) in [
        // IntelOwl: the type may be empty, and a wildcard is not escaped.
        ("/dnsdb/v2/lookup/rrset/name/www.example.com/?limit=10000&humantime=true", "200", 5),
        ("/dnsdb/v2/lookup/rrset/name/*.example.com/A", "200", 5),
        ("/dnsdb/v2/lookup/rdata/ip/192.0.2.10/", "200", 3),
        ("//dnsdb//v2/lookup/rdata/name/ns1.example.net//", "200", 4),
        ("/lookup/rdata/name/ns1.example.net/", "200", 2),
        // Cortex.
        ("/lookup/rrset/name/www.example.com", "200", 3),
        ("/lookup/rrset/name/www.example.com/ANY/example.com/", "200", 3),
        ("/lookup/rdata/ip/192.0.2.0,24", "200", 5),
        ("/lookup/rdata/ip/2001:db8::10", "200", 1),
        ("/lookup/rrset/name/nothing.example", "404", 1),
    ] {
        let key = ["-H", "X-Api-Key: anything", "-H", "Accept: application/json", "--globoff"];
        let (body, got) = curl(&env, &daemon, &key, path);
        assert_eq!((got.as_str(), body.lines().count()), (status, rows), "{path}: {body}");
    }
    let page = ["-D", "-", "-H", "dribble-paginate-count: 50", "-H", "dribble-paginate-cursor: 50"];
    let (page, _) = curl(&env, &daemon, &page, "/pdns/query/203.0.113.7");
    assert!(page.contains("x-dribble-cursor: 100\r\n"), "{page}");
    let last = ["-D", "-", "-H", "dribble-paginate-count: 50", "-H", "dribble-paginate-cursor: 100"];
    let (last, _) = curl(&env, &daemon, &last, "/pdns/query/203.0.113.7");
    assert!(!last.contains("x-dribble-cursor") && last.matches("\"rrname\"").count() == 20, "{last}");
    let wrong = ["-H", "dribble-paginate-count: many"];
    assert_eq!(curl(&env, &daemon, &wrong, "/pdns/query/203.0.113.7").1, "400");
}

//--- dnsdbq ---------------------------------------------------------------------------------------------------------

fn dnsdbq(env: &TestEnv, daemon: &Daemon, args: &[&str], input: &str) -> Ended {
    dnsdbq_with_key(env, daemon, args, input, "anything")
}

fn dnsdbq_with_key(env: &TestEnv, daemon: &Daemon, args: &[&str], input: &str, key: &str) -> Ended {
    let mut command = env.tool("dnsdbq");
    command
        .args(args)
        .env("DNSDBQ_CONFIG_FILE", "/dev/null")
        .env("DNSDB_SERVER", daemon.url(""))
        .env("DNSDB_API_KEY", key)
        .env("CIRCL_SERVER", daemon.url("/pdns/query"))
        .env("CIRCL_AUTH", format!("user:{key}"));
    let ended = env.finish(env.with_input(&mut command, input));
    assert!(ended.status.success(), "{args:?}: {}", ended.stderr);
    ended
}

/// Rows 4 and 10: every way to ask, and nothing on stderr.
#[test]
fn dnsdbq_finds_and_complains_about_nothing() {
    if !is_there("dnsdbq") {
        return;
    }
    let (env, daemon) = start();
    let ask = |args: &[&str], input: &str| {
        let ended = dnsdbq(&env, &daemon, args, input);
        assert_eq!(ended.stderr, "", "{args:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    // How many objects an answer has, and something that is in it.
    let batch = "rrset/name/www.example.com/A\nrdata/ip/192.0.2.0,24\nrdata/name/ns1.example.net\n";
    let raw = "03777777076578616d706c6503636f6d00";
    let ns1 = "036e7331076578616d706c65036e657400";
    for (args, rows, holds) in [
        (&["-r", "www.example.com"][..], 3, "\"rdata\":[\"192.0.2.10\"]"),
        (&["-r", "www.example.com/A/example.com"], 2, "192.0.2.11"),
        (&["-r", "www.example.com", "-b", "example.com"], 3, "2001:db8::10"),
        (&["-r", "*.example.com", "-t", "A,AAAA"], 4, "mail.example.com."),
        (&["-r", "www.*"], 3, "www.example.com."),
        (&["-n", "ns1.example.net"], 2, "\"rrtype\":\"SOA\""),
        (&["-n", "ns1.example.net/NS"], 1, "\"rdata\":[\"ns1.example.net.\"]"),
        (&["-i", "192.0.2.10"], 1, "www.example.com."),
        (&["-i", "192.0.2.0/24"], 5, "blog.example.com."),
        (&["-i", "192.0.2.0,24"], 5, "blog.example.com."),
        (&["-i", "2001:db8::/32"], 1, "AAAA"),
        (&["-i", "192.0.2.1-192.0.2.20"], 2, "192.0.2.11"),
        (&["-R", raw], 3, "www.example.com."),
        (&["-N", ns1], 2, "example.com."),
        (&["-N", "c0000219"], 1, "mail.example.com."),
        (&["-r", "www.example.com", "-A", "2026-02-01"], 1, "\"count\":3"),
        (&["-r", "www.example.com", "-B", "2026-01-02 03:04:10"], 1, "\"count\":3"),
        (&["-c", "-r", "www.example.com", "-A", "2026-01-01", "-B", "2026-01-31"], 2, "\"count\":1"),
        (&["-g", "-r", "www.example.com"], 3, "192.0.2.10"),
        (&["-l", "50", "-i", "203.0.113.7"], 50, "host049"),
        (&["-l", "50", "-O", "100", "-i", "203.0.113.7"], 20, "host119"),
        (&["-l", "0", "-i", "203.0.113.7"], 120, "host000"),
        (&["-s", "-k", "last,count", "-r", "www.example.com"], 3, "192.0.2.10"),
        (&["-r", "zone.example.org", "-t", "TYPE65534"], 1, "\"rrtype\":\"TYPE65534\""),
        (&["-r", "signed.example.org", "-t", "ANY-DNSSEC"], 1, "\"rrtype\":\"DS\""),
        (&["-r", "caf\\195\\169.example.org"], 1, "198.51.100.201"),
        (&["-V", "summarize", "-M", "500", "-r", "www.example.com"], 1, "\"num_results\":3"),
        (&["-u", "dnsdb1", "-r", "www.example.com", "-l", "7"], 3, "\"rdata\":[\"192.0.2.10\"]"),
        (&["-u", "dnsdb1", "-i", "192.0.2.10"], 1, "\"rdata\":\"192.0.2.10\""),
        (&["-u", "circl", "-r", "www.example.com"], 3, "\"origin\":\"http://127.0.0.1:"),
        (&["-u", "circl", "-i", "192.0.2.0/24"], 5, "cdn.example.net"),
    ] {
        let args = [&["-j"], args].concat();
        let answer = ask(&args, "");
        assert_eq!(answer.lines().count(), rows, "{args:?}: {answer}");
        assert!(answer.contains(holds), "{args:?}: {answer}");
        assert!(
            answer.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
            "{answer}"
        );
    }
    let answer = ask(&["-j", "-f"], batch);
    assert_eq!(answer.lines().filter(|line| line.starts_with('{')).count(), 9, "{answer}");
    assert_eq!(answer.lines().filter(|line| *line == "--").count(), 3, "{answer}");
    let text = ask(&["-r", "mail.example.com"], "");
    assert!(text.contains("mail.example.com.  A  192.0.2.25") && text.contains(";; count: 1"), "{text}");
    let csv = ask(&["-p", "csv", "-r", "mail.example.com"], "");
    assert!(csv.contains(",1,,\"mail.example.com.\",\"A\",\"192.0.2.25\""), "{csv}");
    for args in [&["-I"][..], &["-u", "dnsdb1", "-I"]] {
        assert!(ask(args, "").contains("limit: unlimited"), "{args:?}");
    }
}

/// Row 5, and 10: nothing found is no error, and what is wrong is said.
#[test]
fn dnsdbq_shows_why_there_is_nothing() {
    if !is_there("dnsdbq") {
        return;
    }
    let (env, daemon) = start();
    for (args, status) in [
        (&["-r", "nothing.example"][..], "Query status: NOERROR (no results found for query.)\n"),
        (&["-i", "192.0.2.200"], "Query status: NOERROR (no results found for query.)\n"),
        (
            &["-r", "www.example.com", "-A", "2026-11-01"],
            "Query status: NOERROR (no results found for query.)\n",
        ),
        (&["-u", "circl", "-r", "nothing.example"], ""),
    ] {
        let ended = dnsdbq(&env, &daemon, args, "");
        assert_eq!((ended.stderr.as_str(), ended.stdout.len()), (status, 0), "{args:?}");
    }
    for (args, says) in [
        (&["-u", "dnsdb1", "-r", "nothing.example"][..], "(Error: no results found for query.)"),
        (&["-r", "www.example.com", "-t", "BOGUS"], "(Error: not a record type"),
        (&["-r", "www.example.com", "-O", "5000000"], "(Error: offset is at most 1000000"),
        (&["-i", "300.1.1.1"], "(Error: not an address"),
    ] {
        let ended = dnsdbq(&env, &daemon, args, "");
        assert!(ended.stderr.contains(says) && ended.stdout.is_empty(), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn dnsdbq_needs_the_key_where_there_is_one() {
    if !is_there("dnsdbq") {
        return;
    }
    let env = TestEnv::new();
    let (daemon, token) = guarded(&env);
    for system in ["dnsdb2", "dnsdb1", "circl"] {
        let args = ["-u", system, "-j", "-r", "www.example.com"];
        let right = dnsdbq_with_key(&env, &daemon, &args, "", &token);
        let rows = right.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!((rows, right.stderr.as_str()), (3, ""), "{system}");
        let wrong = dnsdbq_with_key(&env, &daemon, &args, "", "anything");
        assert!(
            wrong.stdout.is_empty() && wrong.stderr.contains("a token is needed"),
            "{system}: {}",
            wrong.stderr
        );
    }
}

//--- Python ---------------------------------------------------------------------------------------------------------

/// Row 6.
#[test]
fn dnsdb2_finds_and_raises_what_it_should() {
    let Some(bin) = python() else { return };
    let (env, daemon) = start();
    let (guarded, token) = guarded(&env);
    check(&env, &bin, "check_dnsdb2.py", &[&daemon.url(""), &guarded.url(""), &token]);
}

/// Row 7.
#[test]
fn pypdns_gets_typed_rows_and_an_end() {
    let Some(bin) = python() else { return };
    let (env, daemon) = start();
    let (guarded, token) = guarded(&env);
    check(&env, &bin, "check_pypdns.py", &[&daemon.url(""), &guarded.url(""), &token]);
}

/// Rows 8 and 9: MISP's own module, ours, and the import of an export.
#[test]
fn misp_gets_objects_and_friendly_errors() {
    let Some(bin) = python() else { return };
    let (env, daemon) = start();
    let (guarded, token) = guarded(&env);
    // A front end has the hits that were shipped.
    if std::env::var_os("DNSLEDGER_TEST_FRONT").is_none() {
        watch(&env);
    }
    let met = || daemon.json("/api/v1/hits?value=192.0.2.77")["hits"].as_array().unwrap().len();
    until("it is met", || (met() > 0).then_some(()));
    // It cannot be asked which port it took.
    let port = free_port();
    let custom = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/misp");
    let mut command = env.tool(bin.join("misp-modules").to_str().unwrap());
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-c", custom.to_str().unwrap()]);
    let mut server = env.background(command.env("PYTHONDONTWRITEBYTECODE", "1"));
    until("misp-modules answers", || {
        server.assert_runs();
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let misp = format!("http://127.0.0.1:{port}");
    check(&env, &bin, "check_misp.py", &[&misp, &daemon.url(""), &guarded.url(""), &token]);
}
