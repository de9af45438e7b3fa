//! Each line of `doctor`: a fault is planted, and it says what is wrong and what to do. Faults that need a disk of their own are in
//! `full_disk.rs`, those of a damaged ledger in `spoiled.rs`, those of inotify and certificates that end in `cli.rs`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use crate::env::{Ended, TestEnv, skipped};

/// A line that must be there, and part of the advice beneath it.
#[track_caller]
fn says(env: &TestEnv, args: &[&str], how: &str, what: &str, line: &str, advice: &str) {
    said(env.run(&[&["doctor"], args].concat()), how, what, line, advice);
}

/// Likewise, in what was said already.
#[track_caller]
fn said(ended: Ended, how: &str, what: &str, line: &str, advice: &str) {
    let said = String::from_utf8(ended.stdout).unwrap();
    let expected = if said.contains("FAIL") { 2 } else { 0 };
    assert_eq!(ended.status.code(), Some(expected), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let is_line = |text: &&str| text.starts_with(&format!("{how:<6}{what}")) && text.contains(line);
    let Some(at) = lines.iter().position(is_line) else { panic!("no {how} {what} {line}: {said}") };
    let next = lines.get(at + 1).copied().unwrap_or_default().trim_start();
    assert!(next.starts_with("try: ") && next.contains(advice), "{line}: no advice {advice}: {said}");
}

/// An environment with a log as Zeek writes it, and a configuration whose port is free.
fn prepared() -> TestEnv {
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).unwrap();
    fs::write(
        env.path("logs/dns.log"),
        "{\"ts\":1709294400.5,\"query\":\"a.example\",\"answers\":[\"192.0.2.1\"]}\n",
    )
    .unwrap();
    fs::write(env.path("good.toml"), "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    env
}

/// Writes a configuration, and gives the arguments that name it.
fn configured<'a>(env: &TestEnv, more: &str) -> [&'a str; 6] {
    fs::write(env.path("c.toml"), format!("{more}\n[http]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    ["--config", "c.toml", "--data", "data", "--logs", "logs"]
}

const GOOD: [&str; 6] = ["--config", "good.toml", "--data", "data", "--logs", "logs"];

#[test]
fn a_fault_of_the_configuration_is_told() {
    let env = prepared();
    // Without a configuration there is nothing to look at: it is told in the place of everything else.
    fs::write(env.path("open.toml"), "[http]\nlisten = \"0.0.0.0:0\"\n").unwrap();
    fs::write(env.path("wrong.toml"), "nonsense = 1\n").unwrap();
    for (file, part) in [("open.toml", "there are no tokens"), ("wrong.toml", "nonsense")] {
        let ended = env.run(&["doctor", "--config", file, "--data", "data", "--logs", "logs"]);
        let said = &ended.stderr;
        assert!(ended.status.code() == Some(64) && said.contains(part) && said.contains("\ntry: "), "{said}");
    }
    says(
        &env,
        &configured(&env, "[store]\nmax_disk = \"\""),
        "warn",
        "disk",
        "no bound",
        "max_disk = \"auto\"",
    );
}

#[test]
fn the_sources_of_a_daemon_are_looked_at_wherever_they_were_named() {
    let env = prepared();
    let daemon = env.daemon("logs", "data");
    daemon.catch_up();
    let said = String::from_utf8(env.run(&["doctor", "--data", "data"]).stdout).unwrap();
    assert!(said.contains("logs: 1 live, 0 archived") && !said.contains("FAIL"), "{said}");
    fs::remove_dir_all(env.path("logs")).unwrap();
    says(&env, &["--data", "data"], "warn", "source", "is not there", "as soon as it is there");
}

#[test]
fn a_server_that_other_commands_ask_is_looked_at() {
    let env = prepared();
    let nobody = "http://127.0.0.1:9";
    let ended = env.run_with(&["doctor"], &[("DNSLEDGER_SERVER", nobody)]);
    said(ended, "FAIL", "client", "other commands ask http://127.0.0.1:9", "DNSLEDGER_SERVER");
}

#[test]
fn a_fault_of_the_data_folder_is_told() {
    let env = prepared();
    fs::write(env.path("file"), "").unwrap();
    let as_file = ["--config", "good.toml", "--data", "file", "--logs", "logs"];
    says(&env, &as_file, "FAIL", "data", "is not a folder", "data_dir");
    fs::create_dir(env.path("data")).unwrap();
    fs::set_permissions(env.path("data"), Permissions::from_mode(0o755)).unwrap();
    says(&env, &GOOD, "warn", "data", "is open to other users", "chmod 700");
    fs::set_permissions(env.path("data"), Permissions::from_mode(0o700)).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    fs::create_dir(env.path("data/ledger-9.damaged")).unwrap();
    says(&env, &GOOD, "warn", "data", "was set aside", "rm -r");
}

#[test]
fn a_disk_that_will_be_full_is_told() {
    let env = prepared();
    env.ok(&["import", "--data", "data", "logs"]);
    // It began two days ago, and takes by now as much as a thousand disks have: in a sparse file.
    fs::write(env.path("data/max-disk"), format!("{}\n", u64::MAX / 4)).unwrap();
    let began = SystemTime::now() - Duration::from_secs(2 * 86_400);
    File::options().write(true).open(env.path("data/max-disk")).unwrap().set_modified(began).unwrap();
    let large = File::create(env.path("data/ledger-1/large")).unwrap();
    if large.set_len(1 << 43).is_err() {
        return skipped("the file system has no file of 8 TiB");
    }
    says(&env, &GOOD, "FAIL", "disk", "the disk is full in about 0 days", "store.max_disk");
}

#[test]
fn a_fault_of_tokens_and_certificates_is_told() {
    let env = prepared();
    let http = |more: &str| {
        fs::write(env.path("c.toml"), format!("[http]\n{more}\n")).unwrap();
        ["--config", "c.toml", "--data", "data", "--logs", "logs"]
    };
    fs::write(env.path("tokens"), "").unwrap();
    let closed = http("listen = \"127.0.0.1:0\"\ntokens_file = \"tokens\"");
    says(&env, &closed, "warn", "tokens", "there are no tokens", "token new");
    says(
        &env,
        &http("listen = \"0.0.0.0:0\"\ntokens_file = \"tokens\""),
        "warn",
        "tls",
        "in the clear",
        "tls_cert",
    );
    fs::write(env.path("tokens"), "no token at all\n").unwrap();
    says(&env, &closed, "FAIL", "tokens", "tokens", "");
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["ledger.example".to_owned()]).unwrap();
        fs::write(env.path(&format!("{name}.pem")), made.cert.pem()).unwrap();
        fs::write(env.path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    certificate("one");
    certificate("two");
    let mixed = http("listen = \"127.0.0.1:0\"\ntls_cert = \"one.pem\"\ntls_key = \"two.key\"");
    says(&env, &mixed, "FAIL", "tls", "", "");
    says(
        &env,
        &http("listen = \"127.0.0.1:0\"\ntls_cert = \"one.pem\"\ntls_key = \"none.key\""),
        "FAIL",
        "tls",
        "none.key",
        "",
    );
}

#[test]
fn a_fault_of_the_logs_is_told() {
    let env = prepared();
    let log = || File::options().write(true).open(env.path("logs/dns.log")).unwrap();
    log().set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    says(&env, &GOOD, "warn", "clock", "in the future", "NTP");
    log().set_modified(SystemTime::now() - Duration::from_secs(5 * 86_400)).unwrap();
    says(&env, &GOOD, "warn", "zeek", "has not grown for 5 days", "zeekctl status");
    fs::write(env.path("logs/dns.log.7z"), b"7z\xbc\xaf\x27\x1c\x00\x04").unwrap();
    says(&env, &GOOD, "warn", "source", "dns.log.7z", "it is not read");
    fs::remove_file(env.path("logs/dns.log.7z")).unwrap();
    let columns =
        vec!["1709294400.5", "C1", "192.0.2.1", "1", "192.0.2.53", "53", "udp", "1", "0.1", "a.example", "1"];
    fs::write(env.path("logs/dns.log"), format!("{}\n", columns.join("\t"))).unwrap();
    says(&env, &GOOD, "warn", "zeek", "has no header", "include_meta");
    fs::remove_file(env.path("logs/dns.log")).unwrap();
    says(&env, &GOOD, "warn", "source", "no DNS log yet", "port 53");
    // Where Zeek is installed it is found by itself.
    let is_here =
        ["/opt/zeek", "/usr/local/zeek", "/var/log/zeek", "/var/spool/zeek", "/usr/share/zeek", "/opt/bro"];
    if !is_here.iter().any(|folder| std::path::Path::new(folder).exists()) {
        let without = ["--config", "good.toml", "--data", "data"];
        says(&env, &without, "FAIL", "source", "no log folder of Zeek", "[[source]]");
    }
}

#[test]
fn a_clock_that_is_not_set_is_told() {
    let env = prepared();
    let Some(shim) = crate::wrong_clock::shim(&env) else { return };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    fs::write(env.path("clock"), format!("-{}", now - 3600)).unwrap();
    let file = env.path("clock").display().to_string();
    let args = [&["doctor"], &GOOD[..]].concat();
    let ended = env.run_with(&args, &[("LD_PRELOAD", &shim), ("CLOCK_FILE", &file)]);
    said(ended, "FAIL", "clock", "it is not set", "NTP");
}

#[test]
fn few_watches_and_limits_that_cannot_be_read_are_told() {
    for (plant, line, advice) in [
        ("echo 100 > /proc/sys/user/max_inotify_watches", "100 watches; folders beyond", "max_user_watches"),
        ("mount -t tmpfs none /proc/sys", "its limits cannot be read", "polled"),
    ] {
        let env = prepared();
        // In namespaces of its own that is no one else's.
        let mut command = env.tool("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command.arg(format!("{plant} && touch planted && exec \"$@\"")).arg("sh");
        command.arg(env!("CARGO_BIN_EXE_dnsledger")).arg("doctor").args(GOOD);
        let ended = command.output();
        let Some(ended) = ended.ok().filter(|_| env.path("planted").exists()) else {
            return skipped("no user namespace can be made here");
        };
        let stderr = String::from_utf8(ended.stderr).unwrap();
        let ended = Ended { status: ended.status, stdout: ended.stdout, stderr };
        said(ended, "warn", "inotify", line, advice);
    }
}
