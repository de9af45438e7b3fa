//! Pulling feeds from servers that behave well, and from those that do not.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::env::{TestEnv, until};
use crate::served::{Asked, Said, Server};

/// A line of a log for each name.
fn log(names: &[&str]) -> String {
    let line = |(at, name): (usize, &&str)| {
        format!(
            "{{\"ts\":{}.5,\"uid\":\"C{at}\",\"id.resp_p\":53,\"query\":\"{name}\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\
             \"rcode\":0,\"answers\":[\"198.51.100.{at}\"],\"TTLs\":[60.0]}}\n",
            1_780_000_000 + at
        )
    };
    names.iter().enumerate().map(line).collect()
}

/// A ledger with these names, and a configuration with one feed.
pub fn ledger(names: &[&str], feed: &str) -> TestEnv {
    let env = TestEnv::new();
    fs::write(env.path("dns.log"), log(names)).unwrap();
    fs::create_dir(env.path("logs")).unwrap();
    configure(&env, feed);
    env.ok(&["import", "--config", "dnsledger.toml", "dns.log"]);
    env
}

/// Writes the configuration with other keys of the feed.
pub fn configure(env: &TestEnv, feed: &str) {
    let text = format!(
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[source]]\nlogs = \"logs\"\n[[feed]]\nname = \"bad\"\n{feed}"
    );
    fs::write(env.path("dnsledger.toml"), text).unwrap();
}

/// Pulls, and gives what was printed; a pull that fails is told as an error.
pub fn pull(env: &TestEnv) -> Result<String, String> {
    let ended = env.run(&["feeds", "pull", "--config", "dnsledger.toml"]);
    match ended.status.code() {
        Some(0) => Ok(String::from_utf8(ended.stdout).unwrap()),
        Some(2) => Err(ended.stderr),
        code => panic!("{code:?}: {}", ended.stderr),
    }
}

/// The indicators of the feed.
pub fn indicators(env: &TestEnv) -> Vec<String> {
    let ended = env.run(&["indicators", "list", "--config", "dnsledger.toml", "--feed", "bad"]);
    let text = String::from_utf8(ended.stdout).unwrap();
    text.lines().map(|line| line.replace('\t', " ")).collect()
}

fn feed(env: &TestEnv) -> Value {
    let ended = env.run(&["feeds", "--config", "dnsledger.toml", "-f", "json"]);
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// A server whose answer can be changed.
fn changing(first: Said) -> (Server, Arc<Mutex<Said>>) {
    let said = Arc::new(Mutex::new(first));
    let told = Arc::clone(&said);
    let server = Server::start(move |asked| {
        let said = told.lock().unwrap().clone();
        let tag = said.headers.iter().find(|(name, _)| *name == "ETag").map(|(_, tag)| tag.as_str());
        match asked.header("if-none-match").is_some_and(|known| Some(known) == tag) {
            true => Said::new(304, ""),
            false => said,
        }
    });
    (server, said)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_list_is_pulled_when_it_has_changed_and_what_fails_changes_nothing() {
    let (server, said) = changing(Said::ok("evil.example\n203.0.113.9\n").with("ETag", "\"1\""));
    let url = format!("url = \"{}\"\nkey_file = \"key\"\n", server.url("/list.txt?a=b"));
    let env = ledger(&["www.evil.example", "later.example"], &url);
    fs::write(env.path("key"), "s3cret\n").unwrap();
    // Before the first.
    let ended = env.run(&["feeds", "--config", "dnsledger.toml"]);
    assert!(String::from_utf8(ended.stdout).unwrap().contains("never pulled"));
    let told = pull(&env).unwrap();
    assert!(told.contains("bad: 2 indicators, before 0 (plain)") && told.contains("1 new hits"), "{told}");
    let asked = server.asked().remove(0);
    assert_eq!(
        (asked.target.as_str(), asked.header("authorization")),
        ("/list.txt?a=b", Some("Bearer s3cret"))
    );
    assert_eq!((asked.method.as_str(), asked.param("a").as_deref()), ("GET", Some("b")));
    assert_eq!((asked.header("if-none-match"), asked.header("accept-encoding")), (None, Some("gzip")));
    // Nothing has changed.
    assert_eq!(pull(&env).unwrap(), "bad: nothing has changed\n");
    assert_eq!(server.asked()[0].header("if-none-match"), Some("\"1\""));
    assert!(feed(&env)["pull"]["pulled_at"].as_u64().unwrap() > 1_700_000_000);
    // It has, and comes packed; the one before is gone.
    let list = gzip(b"later.example\n203.0.113.9\n");
    *said.lock().unwrap() = Said::ok(list.clone()).with("ETag", "\"2\"").with("Content-Encoding", "gzip");
    assert!(pull(&env).unwrap().contains("1 new hits"));
    assert_eq!(indicators(&env), ["address 203.0.113.9", "domain later.example"]);
    // What fails, in any way, is said and changes nothing.
    let html = "<!DOCTYPE html><html><body>evil.example</body></html>";
    let bomb = gzip(&[b"evil.example\n#", vec![b' '; 257 << 20].as_slice()].concat());
    assert!(bomb.len() < 1 << 20);
    for (answer, says) in [
        (Said::ok(html), "page of HTML"),
        (Said::new(403, "{\"message\":\"your key is wrong\"}"), "answered 403: your key is wrong"),
        (Said::new(500, html), "answered 500"),
        (Said::ok(""), "there is nothing in it"),
        (Said::ok(bomb.clone()), "more than 256 MiB when it is inflated"),
        (Said::ok(bomb).with("Content-Encoding", "gzip"), "more than 256 MiB"),
        (Said::ok("x").with("Content-Encoding", "br"), "sent as br"),
        (Said::ok(list.clone()).with("Content-Encoding", "gzip, gzip"), "sent as gzip, gzip"),
        (Said { cut: Some(20), ..Said::ok(list) }, ""),
        (Said { cut: Some(5), ..Said::ok("evil.example\n") }, ""),
        (Said::new(302, "").with("Location", "https://other.example/list"), "another host"),
        (Said::new(302, "").with("Location", "file:///etc/hosts"), "not followed"),
        (Said::new(302, "").with("Location", "http://127.0.0.1:1/list"), "another port"),
        (Said::new(302, "").with("Location", "/list.txt"), "more than 5 times"),
    ] {
        *said.lock().unwrap() = answer.clone();
        let why = pull(&env).unwrap_err();
        assert!(why.contains(says) && !why.contains("s3cret"), "{answer:?}: {why}");
        assert_eq!(indicators(&env), ["address 203.0.113.9", "domain later.example"]);
    }
    let told = feed(&env);
    assert_eq!((&told["pull"]["failures"], &told["indicators"]), (&14.into(), &2.into()));
    let text = String::from_utf8(env.ok(&["feeds", "--config", "dnsledger.toml"])).unwrap();
    assert!(text.contains("PULL FAILED") && text.contains("more than 5 times"), "{text}");
    // Another way to read it is another content, whatever the tag; and a failure is forgotten when it went well.
    *said.lock().unwrap() = Said::ok("later.example\n203.0.113.9\n").with("ETag", "\"2\"");
    configure(&env, &format!("{url}below = false\n"));
    pull(&env).unwrap();
    assert_eq!(indicators(&env), ["address 203.0.113.9", "name later.example"]);
    assert_eq!((&feed(&env)["pull"]["failures"], &feed(&env)["pull"]["error"]), (&0.into(), &Value::Null));
    // Where the key is not there nothing is asked.
    server.asked();
    fs::remove_file(env.path("key")).unwrap();
    assert!(pull(&env).unwrap_err().contains("the key in"));
    assert!(server.asked().is_empty());
    env.ok(&["indicators", "remove", "--config", "dnsledger.toml", "--feed", "bad"]);
    assert!(!env.path("data/watch/bad.pull").exists());
}

#[test]
fn a_redirect_on_the_same_server_is_followed_and_carries_the_key() {
    let server = Server::start(|asked: &Asked| match asked.path() {
        "/list" => Said::new(301, "").with("Location", "now/list"),
        _ => Said::ok("evil.example\n"),
    });
    let keys = format!("url = \"{}\"\nkey_file = \"key\"\nkey_header = \"Auth-Key\"\n", server.url("/list"));
    let env = ledger(&["evil.example"], &keys);
    fs::write(env.path("key"), "k").unwrap();
    pull(&env).unwrap();
    let asked = server.asked();
    assert_eq!(asked.iter().map(|asked| asked.path()).collect::<Vec<_>>(), ["/list", "/now/list"]);
    assert!(asked.iter().all(|asked| asked.header("auth-key") == Some("k")));
    configure(&env, &format!("url = \"{}\"\nkey_file = \"key\"\nuser = \"me\"\n", server.url("/list")));
    pull(&env).unwrap();
    assert_eq!(server.asked()[0].header("authorization"), Some("Basic bWU6aw=="));
}

#[test]
fn a_feed_that_shrinks_by_over_half_is_held_back_until_it_is_pulled_so_once_more() {
    let many: String = (0..60).map(|at| format!("d{at}.example\n")).collect();
    let (server, said) = changing(Said::ok(many).with("ETag", "\"1\""));
    let env = ledger(&["d1.example"], &format!("url = \"{}\"\n", server.url("/")));
    pull(&env).unwrap();
    *said.lock().unwrap() = Said::ok("d1.example\n").with("ETag", "\"2\"");
    assert!(pull(&env).unwrap().contains("held back"));
    assert_eq!((indicators(&env).len(), &feed(&env)["held"]), (60, &true.into()));
    assert!(pull(&env).unwrap().contains("1 indicators"));
    assert_eq!(indicators(&env), ["domain d1.example"]);
    assert_eq!(pull(&env).unwrap(), "bad: nothing has changed\n");
}

#[test]
fn a_daemon_takes_up_what_was_pulled_and_tells_how_pulling_goes() {
    let (server, said) = changing(Said::ok("evil.example\n").with("ETag", "\"1\""));
    let env = ledger(
        &["evil.example", "later.example"],
        &format!("url = \"{}\"\nevery = \"2h\"\n", server.url("/")),
    );
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    let due = || env.ok(&["feeds", "pull", "--due", "--config", "dnsledger.toml"]);
    due();
    let hits = |wanted: usize| {
        until("the hits", || {
            let hits = daemon.json("/api/v1/hits")["hits"].as_array().unwrap().len();
            (hits == wanted).then_some(())
        });
    };
    hits(1);
    // Its time has not come.
    server.asked();
    due();
    assert!(server.asked().is_empty());
    *said.lock().unwrap() = Said::ok("evil.example\nlater.example\n");
    assert!(pull(&env).unwrap().contains("the daemon has taken it up"));
    hits(2);
    *said.lock().unwrap() = Said::new(503, "busy");
    pull(&env).unwrap_err();
    let feeds = daemon.json("/api/v1/feeds");
    let why = feeds["feeds"][0]["pull"]["error"].as_str().unwrap();
    assert!(why.ends_with("answered 503: busy"), "{why}");
    assert_eq!(daemon.json("/api/v1/status")["pulls"][0]["feed"], "bad");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains("dnsledger_feed_pull_failing{feed=\"bad\"} 1"), "{metrics}");
    let status = String::from_utf8(env.ok(&["status", "--config", "dnsledger.toml"])).unwrap();
    assert!(status.contains("feed      bad: pulled") && status.contains("it fails: http://"), "{status}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn what_cannot_be_pulled_is_refused_in_the_configuration() {
    let env = ledger(&["a.example"], "");
    for (keys, says) in [
        ("url = \"file:///etc/hosts\"", "https:// or http://"),
        ("url = \"https://u:p@x.example/\"", "user and a password"),
        ("url = \"https://x.example/\"\nfile = \"x\"", "both a file and a url"),
        ("url = \"https://x.example/\"\nkind = \"gopher\"", "unknown kind \"gopher\""),
        ("url = \"https://x.example/\"\nuser = \"u\"", "no key_file"),
        ("url = \"https://x.example/\"\nevery = \"1s\"", "less than a minute"),
        ("url = \"https://x.example/\"\nformat = \"word\"", "unknown format"),
        ("url = \"https://x.example/\"\nkey_file = \"k\"\nkey_header = \"A: b\"", "not a name of a header"),
    ] {
        configure(&env, keys);
        let ended = env.run(&["feeds", "pull", "--config", "dnsledger.toml"]);
        assert!(ended.status.code() == Some(64) && ended.stderr.contains(says), "{keys}: {}", ended.stderr);
    }
    configure(&env, "");
    let ended = env.run(&["feeds", "pull", "--config", "dnsledger.toml"]);
    assert!(
        ended.status.code() == Some(64) && ended.stderr.contains("no feed with a url"),
        "{}",
        ended.stderr
    );
}
