//! What evidence takes while it reads: that logs which may not be read are said, that memory has a bound, and that it ends when nobody
//! listens.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::env::{Daemon, Ended, TestEnv, made_up_log, skipped, until};

/// The lines and the end of an answer as JSON.
fn taken_apart(text: &str) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap();
    (lines, end["end"].clone())
}

#[test]
fn a_log_that_may_not_be_read_is_named_and_the_others_are_read() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    for (at, name) in ["open", "closed"].iter().enumerate() {
        fs::write(env.path(&format!("logs/{name}.dns.log")), made_up_log(100, 7 + at as u64)).unwrap();
    }
    env.ok(&["import", "--data", "data", "logs"]);
    let closed = env.path("logs/closed.dns.log");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let args = ["evidence", "--data", "data", "-f", "json", "*"];
    let ended = match fs::File::open(&closed) {
        Err(_) => env.run(&args),
        // Root may read all, but not in a user namespace of its own.
        Ok(_) => {
            let mut command = env.tool("unshare");
            let ended = command.args(["--user", env!("CARGO_BIN_EXE_dnsledger")]).args(args).output();
            let Some(ended) = ended.ok().filter(|ended| !ended.stdout.is_empty()) else {
                return skipped("no user namespace can be made here");
            };
            let stderr = String::from_utf8(ended.stderr).unwrap();
            Ended { status: ended.status, stdout: ended.stdout, stderr }
        }
    };
    let (lines, end) = taken_apart(std::str::from_utf8(&ended.stdout).unwrap());
    assert_eq!((ended.status.code(), &end["complete"]), (Some(1), &false.into()), "{}", ended.stderr);
    assert_eq!((&end["missing_logs"], &end["missing"][0]["fault"]), (&1.into(), &"unreadable".into()));
    assert!(lines.len() > 50 && lines.iter().all(|line| line["log"].as_str().unwrap().contains("open")));
    for part in ["cannot be read", "closed.dns.log", "ermission denied"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn however_little_memory_there_is_for_lines_they_are_all_handed_out_in_order() {
    let mut env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    for at in 0..3 {
        fs::write(env.path(&format!("logs/dns.{at}.log")), made_up_log(400, 20 + at)).unwrap();
    }
    env.ok(&["import", "--data", "data", "logs"]);
    let run = |env: &TestEnv, args: &[&str]| {
        let ended = env.run(&[&["evidence", "--data", "data", "-f", "json", "*"], args].concat());
        taken_apart(std::str::from_utf8(&ended.stdout).unwrap())
    };
    let whole = [&[][..], &["--first", "--limit", "5000"]].map(|args| (args, run(&env, args)));
    for bytes in ["30000", "200000"] {
        env.set("DNSLEDGER_TEST_HELD_BYTES", bytes);
        for (args, (lines, end)) in &whole {
            let (found, ended) = run(&env, args);
            assert!(found == *lines, "{bytes} {args:?}: {} of {} lines", found.len(), lines.len());
            assert_eq!((&ended["complete"], &ended["sightings"]), (&end["complete"], &end["sightings"]));
        }
    }
    // One line at a time takes as many rounds as there are lines.
    env.set("DNSLEDGER_TEST_HELD_BYTES", "1");
    let (newest, _) = run(&env, &["--limit", "15"]);
    assert!(newest[..] == whole[0].1.0[..15]);
}

/// Asks for everything and goes away after the first bytes.
fn ask_and_go(daemon: &Daemon, token: &str) {
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let path = "/api/v1/evidence?q=*&raw=true&limit=100000";
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n")
        .unwrap();
    let mut first = [0; 600];
    stream.read_exact(&mut first).unwrap();
    let head = std::str::from_utf8(&first).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("\"client\""), "{head}");
}

#[test]
fn it_ends_when_the_client_goes_and_others_may_ask() {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    // More than all buffers between the two hold.
    for at in 0..4 {
        fs::write(env.path(&format!("logs/dns.{at}.log")), made_up_log(3_000, 60 + at)).unwrap();
    }
    fs::write(
        env.path("on.toml"),
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\ntokens_file = \"tokens\"\nmax_limit = 100000\n\
         [evidence]\nhttp = true\n[[source]]\nlogs = \"logs\"\n",
    )
    .unwrap();
    let token = env.ok(&["token", "new", "evidence", "--scope", "evidence", "--config", "on.toml"]);
    let token = String::from_utf8(token).unwrap().trim().to_owned();
    env.ok(&["import", "--config", "on.toml", "logs"]);
    let daemon = env.configured_daemon("on.toml", "data");
    let threads = || {
        let names = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let name =
            |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
        names.filter_map(name).filter(|name| name.trim() == "evidence").count()
    };
    // There are two places: each client that went has given back its own, or the next would be refused.
    for _ in 0..6 {
        ask_and_go(&daemon, &token);
        until("nobody reads for a client that is gone", || (threads() == 0).then_some(()));
    }
    // One that does not read is no reason to hold more than a few pieces of its answer.
    let memory = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = memory();
    let address = daemon.url("").strip_prefix("http://").unwrap().to_owned();
    let mut idle = TcpStream::connect(&address).unwrap();
    let path = "/api/v1/evidence?q=*&raw=true&limit=100000";
    write!(idle, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let mut first = [0; 600];
    idle.read_exact(&mut first).unwrap();
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB");
    assert!(threads() == 1, "it waits for its client");
    drop(idle);
    until("it ends", || (threads() == 0).then_some(()));
    assert_eq!(daemon.stop().status.code(), Some(0));
}
