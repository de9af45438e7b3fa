//! That what is written is visible at once after a folder or a link on the way to the log was replaced.
//!
//! The source is polled once an hour: what is seen is seen by events. `DNSLEDGER_ROUNDS` says how often each way is gone; with
//! more than one the times from writing to seeing are told.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::env::{Daemon, TestEnv, setting, until};
use crate::full_disk::HEADER;

/// Writes records of which each has a name of its own, and waits until it is visible.
struct Writer<'a> {
    daemon: &'a Daemon,
    written: u64,
    times: Vec<Duration>,
}

impl Writer<'_> {
    /// Writes the next record; says its name.
    fn write(&mut self, log: &Path) -> String {
        self.written += 1;
        let (n, name) = (self.written, format!("n{}.replaced.example", self.written));
        let mut text = if log.exists() { String::new() } else { HEADER.to_owned() };
        text.push_str(&format!("17{n:08}.5\tC{n}\t10.0.0.1\t53\t{name}\t1\t1\t0\t192.0.2.1\t60.0\n"));
        OpenOptions::new().create(true).append(true).open(log).unwrap().write_all(text.as_bytes()).unwrap();
        name
    }

    /// Writes three records and waits for each.
    fn visible(&mut self, log: &Path, what: &str) {
        for _ in 0..3 {
            let begun = Instant::now();
            let name = self.write(log);
            until(&format!("{name} is visible, {what}"), || {
                let found = self.daemon.get(&format!("/dns/{name}")).body;
                String::from_utf8(found).unwrap().contains("192.0.2.1").then_some(())
            });
            self.times.push(begun.elapsed());
        }
    }
}

/// Goes a way of replacing something, again and again; the source is `top/logs`, what is written `top/logs/current/dns.log`.
fn each_way(what: &str, prepare: impl Fn(&Path), replace: impl Fn(&Path, u64)) {
    let env = TestEnv::new();
    let top = env.path("top");
    fs::create_dir_all(top.join("logs")).unwrap();
    prepare(&top);
    let config = "data_dir = \"ledger\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
                  [[source]]\nlogs = \"top/logs\"\npoll_interval = \"1h\"\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "ledger");
    let mut writer = Writer { daemon: &daemon, written: 0, times: Vec::new() };
    let log = top.join("logs/current/dns.log");
    writer.visible(&log, "before");
    let rounds = setting("DNSLEDGER_ROUNDS", 2);
    for round in 0..rounds {
        replace(&top, round);
        writer.visible(&log, &format!("{what}, round {round}"));
    }
    let (mut times, written) = (writer.times, writer.written);
    if rounds > 2 {
        times.sort();
        let at = |share: usize| times[times.len() * share / 100].as_micros();
        let figures = format!("{what}: p50 {} us, p99 {} us, of {}", at(50), at(99), times.len());
        let mut stderr = std::io::stderr();
        writeln!(stderr, "{figures}").unwrap();
    }
    daemon.wait_for_lines(written);
    assert!(daemon.stop().status.success());
}

fn folder(top: &Path) {
    fs::create_dir(top.join("logs/current")).unwrap();
}

/// A link to a folder beside the source.
fn link(top: &Path) {
    fs::create_dir(top.join("spool")).unwrap();
    symlink("../spool", top.join("logs/current")).unwrap();
}

#[test]
fn a_folder_that_was_moved_away_and_made_anew() {
    each_way("current moved and made", folder, |top, round| {
        fs::rename(top.join("logs/current"), top.join(format!("gone{round}"))).unwrap();
        fs::create_dir(top.join("logs/current")).unwrap();
    });
}

#[test]
fn a_folder_that_was_removed_and_made_anew() {
    each_way("current removed and made", folder, |top, _| {
        fs::remove_dir_all(top.join("logs/current")).unwrap();
        fs::create_dir(top.join("logs/current")).unwrap();
    });
}

#[test]
fn a_link_that_was_pointed_elsewhere_at_once() {
    each_way("link renamed over", link, |top, round| {
        let to = format!("spool{round}");
        fs::create_dir(top.join(&to)).unwrap();
        symlink(format!("../{to}"), top.join("logs/new")).unwrap();
        fs::rename(top.join("logs/new"), top.join("logs/current")).unwrap();
    });
}

#[test]
fn a_link_that_was_removed_and_made_anew() {
    each_way("link removed and made", link, |top, round| {
        let to = top.join(format!("spool{round}"));
        fs::create_dir(&to).unwrap();
        fs::remove_file(top.join("logs/current")).unwrap();
        symlink(to, top.join("logs/current")).unwrap();
    });
}

#[test]
fn a_folder_behind_a_link_that_was_replaced() {
    each_way("spool moved and made", link, |top, round| {
        fs::rename(top.join("spool"), top.join(format!("spool-crash{round}"))).unwrap();
        fs::create_dir(top.join("spool")).unwrap();
    });
}

#[test]
fn a_log_that_is_a_link_which_was_pointed_elsewhere() {
    let prepare = |top: &Path| {
        folder(top);
        fs::create_dir(top.join("elsewhere")).unwrap();
        fs::write(top.join("elsewhere/first.log"), HEADER).unwrap();
        symlink("../../elsewhere/first.log", top.join("logs/current/dns.log")).unwrap();
    };
    each_way("dns.log pointed elsewhere", prepare, |top, round| {
        let to = top.join(format!("elsewhere/{round}.log"));
        fs::write(&to, HEADER).unwrap();
        symlink(to, top.join("logs/current/new")).unwrap();
        fs::rename(top.join("logs/current/new"), top.join("logs/current/dns.log")).unwrap();
    });
}

#[test]
fn the_folder_of_the_source_itself_that_was_replaced() {
    each_way("logs moved and made", folder, |top, round| {
        fs::rename(top.join("logs"), top.join(format!("old{round}"))).unwrap();
        fs::create_dir_all(top.join("logs/current")).unwrap();
    });
}

#[test]
fn a_folder_above_the_source_that_was_replaced() {
    each_way("top moved and made", folder, |top, round| {
        fs::rename(top, top.with_file_name(format!("old{round}"))).unwrap();
        fs::create_dir_all(top.join("logs/current")).unwrap();
    });
}
