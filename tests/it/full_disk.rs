//! The daemon on a disk that is full for a while.
//!
//! The disk is a small file system in memory, which takes the right to mount one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env::{Daemon, TestEnv, skipped, until};

pub const HEADER: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n\
    #open\t2024-04-12-19-29-12\n#fields\tts\tuid\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\n\
    #types\ttime\tstring\taddr\tport\tstring\tcount\tcount\tcount\tvector[string]\tvector[interval]\n";

/// A file system in memory of so many MiB; gone with this.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// Mounts one, or says that this is not permitted.
    pub fn mount(path: PathBuf, size: &str) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallDisk(path));
        }
        skipped("no file system in memory can be mounted here; as root the test runs");
        None
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &how]).arg(&self.0).status().unwrap().success());
    }

    /// Leaves no room at all.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        let mut block = vec![0x55u8; 64 << 10];
        while !block.is_empty() {
            while file.write_all(&block).is_ok() {}
            block.truncate(block.len() / 2);
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.unwrap().success());
    }
}

/// Appends records with names of their own, and one name that all of them have.
pub fn write(log: &Path, records: std::ops::Range<u64>) {
    let mut file = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut text = if records.start == 0 { HEADER.to_owned() } else { String::new() };
    for i in records {
        for name in [format!("n{i}.example"), "all.example".to_owned()] {
            let line = format!("17{i:08}.5\tC{i}{name}\t10.0.0.1\t53\t{name}\t1\t1\t0\t192.0.2.1\t60.0\n");
            text.push_str(&line);
        }
    }
    file.write_all(text.as_bytes()).unwrap();
}

/// Over a time in which nothing can be written: lookups go on, and then the daemon goes on by itself, exactly once.
pub fn goes_on<S>(
    env: &TestEnv,
    data: &str,
    stop_writes: impl FnOnce(&Daemon) -> S,
    let_write: impl FnOnce(S),
) {
    fs::create_dir(env.path("logs")).unwrap();
    let log = env.path("logs/dns.log");
    write(&log, 0..100);
    let daemon = env.daemon("logs", data);
    daemon.wait_for_lines(200);
    assert_eq!(daemon.get("/readyz").status, 200);
    let stopped = stop_writes(&daemon);
    write(&log, 100..4000);
    // Lines are visible before they are on disk; they are not on disk now, and so not all that is there may be said to be read.
    let read = || daemon.json("/api/v1/status")["totals"]["lines_read"] == 8000;
    until("all lines are read", || read().then_some(()));
    let reason = until("the daemon says that it cannot write", || {
        let ready = daemon.get("/readyz");
        (ready.status == 503).then(|| String::from_utf8(ready.body).unwrap())
    });
    // Why, is in the log: anybody may ask this.
    assert!(reason.contains("the ledger cannot be written"), "{reason}");
    let doctor = env.run(&["doctor", "--data", data, "--logs", "logs"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("FAIL  daemon   it is not ready: "), "{said}");
    for (name, count) in [("n5.example", 1), ("n3999.example", 1), ("all.example", 4000)] {
        let found = daemon.json(&format!("/api/v1/records?q={name}"));
        assert_eq!(found["records"][0]["count"], count, "{name}: {found}");
    }
    let_write(stopped);
    until("the daemon writes again", || (daemon.get("/readyz").status == 200).then_some(()));
    write(&log, 4000..4100);
    daemon.wait_for_lines(8200);
    daemon.kill();
    let daemon = env.daemon("logs", data);
    daemon.wait_for_lines(8200);
    assert_eq!(daemon.stop().status.code(), Some(0));
    let rows = env.export(data);
    assert_eq!(rows.lines().count(), 4101);
    let all = rows.lines().find(|row| row.contains("\"all.example\"")).unwrap();
    assert!(all.contains("\"count\":4100,"), "{all}");
    assert!(rows.lines().filter(|row| row.contains("\"count\":1,")).count() == 4100);
}

/// The same on a small disk.
fn on_a_small_disk(stop_writes: impl FnOnce(&SmallDisk), let_write: impl FnOnce(&SmallDisk)) {
    let env = TestEnv::new();
    let Some(disk) = SmallDisk::mount(env.path("disk"), "48m") else { return };
    goes_on(&env, "disk/data", |_| stop_writes(&disk), |()| let_write(&disk));
}

#[test]
fn a_full_disk_stops_nothing_but_writing_and_that_only_for_as_long_as_it_is_full() {
    on_a_small_disk(|disk| drop(disk.fill()), |disk| fs::remove_file(disk.0.join("filler")).unwrap());
}

#[test]
fn a_disk_that_was_made_larger_is_noticed() {
    on_a_small_disk(|disk| drop(disk.fill()), |disk| disk.remount("size=96m"));
}

#[test]
fn on_a_file_system_that_is_read_only_each_command_says_so() {
    let env = TestEnv::new();
    let Some(disk) = SmallDisk::mount(env.path("disk"), "48m") else { return };
    fs::create_dir(env.path("logs")).unwrap();
    write(&env.path("logs/dns.log"), 0..100);
    env.ok(&["import", "--data", "disk/data", "logs"]);
    disk.remount("ro");
    for arguments in [
        &["run", "--logs", "logs", "--listen", "127.0.0.1:0"] as &[_],
        &["import", "logs"],
        &["lookup", "n5.example"],
        &["export"],
        &["verify"],
        &["verify", "--repair"],
    ] {
        let ended = env.run(&[arguments, &["--data", "disk/data"]].concat());
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("Read-only file system"), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{arguments:?}: what cannot be looked up is not empty");
    }
    let doctor = env.run(&["doctor", "--data", "disk/data", "--logs", "logs"]);
    assert_eq!(doctor.status.code(), Some(2));
    let said = String::from_utf8(doctor.stdout).unwrap();
    for planted in
        ["is mounted read-only", "is in memory: what is there is gone at the next boot", "disk/data is full"]
    {
        assert!(said.lines().any(|line| line.starts_with("FAIL") && line.contains(planted)), "{said}");
    }
    disk.remount("rw");
    assert_eq!(env.export("disk/data").lines().count(), 101);
}

/// A ledger of rows of fifty days on a disk that is full to the last byte.
fn filled(env: &TestEnv, disk: &SmallDisk, records: u64) {
    let mut text = HEADER.to_owned();
    for i in 0..records {
        let time = 1_690_000_000 + i * 50 * 86_400 / records;
        let part = |part: u64| format!("{:016x}", (i * 32 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let data: String = (0..12).map(part).collect();
        text.push_str(&format!("{time}.5\tC{i}\t10.0.0.1\t53\t{i}.test\t1\t16\t0\tTXT 192 {data}\t60.0\n"));
    }
    fs::write(env.path("dns.log"), text).unwrap();
    env.ok(&["import", "--data", "disk/data", "dns.log"]);
    disk.fill();
}

#[test]
fn on_a_full_disk_expire_gives_space_back() {
    let env = TestEnv::new();
    let Some(disk) = SmallDisk::mount(env.path("disk"), "160m") else { return };
    filled(&env, &disk, 100_000);
    let before = fs::metadata(env.path("disk/data/ledger-1/db")).unwrap().len();
    let said = String::from_utf8(env.ok(&["expire", "--data", "disk/data", "--max-disk", "16MiB"])).unwrap();
    let store = env.status("disk/data")["store"].clone();
    let (now, live) = (store["disk_bytes"].as_u64().unwrap(), store["live_bytes"].as_u64().unwrap());
    assert!(now <= 16 << 20 && now < before * 3 / 4 && now < 5 * live / 2, "{said}{before}: {store}");
    env.ok(&["verify", "--data", "disk/data"]);
    // What stays is whole, and the rest is really gone.
    let rows = env.export("disk/data").lines().count() as u64;
    assert!(rows == store["rows"].as_u64().unwrap() && rows > 1000, "{rows}: {store}");
}

#[test]
fn a_daemon_on_a_full_disk_drops_rows_when_it_is_told_to() {
    let env = TestEnv::new();
    let Some(disk) = SmallDisk::mount(env.path("disk"), "96m") else { return };
    filled(&env, &disk, 20_000);
    fs::remove_file(disk.0.join("filler")).unwrap();
    fs::create_dir(env.path("logs")).unwrap();
    write(&env.path("logs/dns.log"), 0..100);
    let daemon = env.daemon("logs", "disk/data");
    daemon.wait_for_lines(20_200);
    // One that is being written anew takes the reserve, and who fills the disk just then would have it.
    until("the ledger is written anew where that is due", || {
        let store = daemon.json("/api/v1/status")["store"].clone();
        let of = |figure: &str| store[figure].as_u64().unwrap();
        (of("disk_bytes") < 8 << 20 || 10 * of("disk_bytes") <= 13 * of("live_bytes")).then_some(())
    });
    disk.fill();
    write(&env.path("logs/dns.log"), 100..4000);
    let said =
        String::from_utf8(env.ok(&["expire", "--data", "disk/data", "--before", "2023-08-26"])).unwrap();
    assert!(said.contains(" rows and ") && !said.starts_with("0 rows"), "{said}");
    until("the daemon writes", || (daemon.get("/readyz").status == 200).then_some(()));
    daemon.wait_for_lines(28_000);
    assert!(daemon.stop().status.success());
    env.ok(&["verify", "--data", "disk/data"]);
    let all = env.export("disk/data");
    assert!(all.lines().any(|row| row.contains("\"all.example\"") && row.contains("\"count\":4000,")));
}

#[test]
fn what_is_on_a_full_disk_is_found_also_after_a_start() {
    let env = TestEnv::new();
    let Some(disk) = SmallDisk::mount(env.path("disk"), "48m") else { return };
    fs::create_dir(env.path("logs")).unwrap();
    write(&env.path("logs/dns.log"), 0..2000);
    env.ok(&["import", "--data", "disk/data", "logs"]);
    let filler = disk.fill();
    for _ in 0..3 {
        let found = env.ok(&["lookup", "--data", "disk/data", "n5.example"]);
        assert!(String::from_utf8(found).unwrap().contains("n5.example"));
        // Others take what is free again.
        OpenOptions::new().append(true).open(&filler).unwrap().write_all(&vec![0; 8 << 20]).unwrap_err();
    }
    for start in 1..=3 {
        let daemon = env.daemon("logs", "disk/data");
        write(&env.path("logs/dns.log"), start * 2000..(start + 1) * 2000);
        disk.fill();
        // They are found, and committed when there is room.
        let found =
            || daemon.json("/api/v1/records?q=all.example")["records"][0]["count"] == (start + 1) * 2000;
        until("what is read is found", || found().then_some(()));
        daemon.kill();
    }
    fs::remove_file(filler).unwrap();
    let daemon = env.daemon("logs", "disk/data");
    daemon.wait_for_lines(16_000);
    assert!(daemon.stop().status.success());
    env.ok(&["verify", "--data", "disk/data"]);
    assert_eq!(env.export("disk/data").lines().count(), 8001);
}
