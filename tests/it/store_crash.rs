//! That no kill and no power loss takes from the ledger what it had, or makes it count what it has not read.
//!
//! The real daemon follows a growing log, with bounds so small that it commits, folds and merges all the time
//! (`DNSLEDGER_TEST_FOLD_ROWS`), and logs are imported. It is killed at random moments. Each time the ledger must be sound, and
//! its export that of a ledger into which exactly those bytes of each log were imported which it says it has read.
//!
//! In the same way it is killed, or the command that asks it, while it expires, is rewritten and hands out a snapshot. What
//! expires are old logs, each whole: the ledger says what is not kept, and the model leaves those logs out.
//!
//! The power is also taken away while a ledger of an older format is brought up.
//!
//! A power loss is a copy of the image of a mounted file system, taken while the daemon is stopped in the middle of its work:
//! what was not synced is missing there. What was flushed before must be in the copy.
//!
//! `DNSLEDGER_KILLS` and `DNSLEDGER_LOSSES` say how often, `DNSLEDGER_SEED` from which seed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use generate::{Config, Format, Random, write_log};

use crate::env::{TestEnv, pause, post_control, setting, skipped, unpack_store};
use crate::filters::check_nothing_is_denied;

/// A folder with a live log that grows, and logs to import.
pub struct Logs {
    seed: u64,
    pub random: Random,
    /// Bytes of the live log that was generated, and how much of it is in the file.
    pub live: Vec<u8>,
    pub written: usize,
    imports: u64,
    /// Old logs that were imported, to expire.
    old: u64,
}

/// When the records of an old log are, epoch seconds: those of each some days after those of the one before.
fn old_time(number: u64) -> u64 {
    1_000_000_000 + number * 1_000_000
}

impl Logs {
    pub fn new(env: &TestEnv, seed: u64) -> Logs {
        fs::create_dir_all(env.path("logs")).unwrap();
        let mut live = Vec::new();
        let config = Config { lines: 20_000, ..Config::rich(seed) };
        write_log(config.generate(), Format::Tsv, false, &mut live).unwrap();
        Logs { seed, random: Random::new(seed ^ 0xdead), live, written: 0, imports: 0, old: 0 }
    }

    /// Appends some bytes, not only whole lines.
    pub fn grow(&mut self, env: &TestEnv) {
        let more = self.random.between(1, 6_000) as usize;
        let to = (self.written + more).min(self.live.len());
        let path = env.path("logs/dns.log");
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(&self.live[self.written..to]).unwrap();
        self.written = to;
    }

    /// Makes another old log, whose rows no other has.
    pub fn another_old(&mut self, env: &TestEnv) -> String {
        self.old += 1;
        let (number, time) = (self.old, old_time(self.old));
        let record = |i| {
            format!(
                "{{\"ts\":{time}.{i:04},\"uid\":\"C{number}x{i}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\
                 \"query\":\"n{i}.old{number}.test\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\
                 \"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}}\n"
            )
        };
        let name = format!("old-{number}.log");
        let lines = self.random.between(1, 200);
        fs::write(env.path(&name), (0..lines).map(record).collect::<String>()).unwrap();
        name
    }

    /// The age above which all old logs but the newest are.
    pub fn age(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Some days before the newest, for a cut is at the start of a day.
        format!("{}s", now - (old_time(self.old) - 300_000))
    }

    /// Makes another log to import.
    pub fn another(&mut self, env: &TestEnv) -> String {
        self.imports += 1;
        let name = format!("import-{}.log", self.imports);
        let mut log = Vec::new();
        let lines = self.random.between(20, 800);
        let config = Config { lines, ..Config::rich(self.seed + 1000 + self.imports) };
        write_log(config.generate(), Format::Tsv, true, &mut log).unwrap();
        fs::write(env.path(&name), log).unwrap();
        name
    }
}

/// How far the ledger says that it has read each log.
fn consumed(env: &TestEnv, data: &str) -> Vec<(String, usize)> {
    let status = env.status(data);
    let sources = status["sources"].as_array().unwrap().iter();
    let files = sources.flat_map(|source| source["files"].as_array().unwrap());
    let file = |file: &serde_json::Value| {
        (file["path"].as_str().unwrap().to_owned(), file["consumed"].as_u64().unwrap() as usize)
    };
    files.map(file).collect()
}

/// Asserts that a ledger is sound, and holds what it says it has read; how much that is of the live log.
#[track_caller]
pub fn assert_whole(env: &TestEnv, data: &str, what: &str) -> usize {
    let verified = env.run(&["verify", "--data", data]);
    let said = String::from_utf8(verified.stdout).unwrap() + &verified.stderr;
    if said.contains("there is no ledger in") {
        return 0; // it was killed before there was one
    }
    assert!(verified.status.success(), "{what}: {said}");
    let (model, logs) = (env.path("model"), env.path("model-logs"));
    for folder in [&model, &logs] {
        drop(fs::remove_dir_all(folder)); // there is none the first time
        fs::create_dir(folder).unwrap();
    }
    let kept_from = env.status(data)["store"]["expired"]["before"].as_u64().unwrap();
    let is_kept = |name: &str| {
        let old = name.strip_prefix("old-").and_then(|name| name.strip_suffix(".log"));
        old.is_none_or(|number| old_time(number.parse().unwrap()) >= kept_from)
    };
    let mut live = 0;
    for (path, read) in consumed(env, data) {
        let whole = fs::read(env.path(".").join(&path)).unwrap();
        let name = Path::new(&path).file_name().unwrap().to_str().unwrap();
        if name == "dns.log" {
            live = read;
        }
        if is_kept(name) {
            fs::write(logs.join(format!("dns.{name}.log")), &whole[..read]).unwrap();
        }
    }
    // It may have been killed before it had read anything.
    let is_empty = fs::read_dir(&logs).unwrap().next().is_none();
    let expected = match is_empty {
        true => String::new(),
        false => {
            env.ok(&["import", "--data", "model", "model-logs"]);
            env.export("model")
        }
    };
    let there = env.export(data);
    if there != expected {
        let (rows, wanted) = (there.lines().count(), expected.lines().count());
        let differs = there.lines().zip(expected.lines()).find(|(a, b)| a != b);
        panic!("{what}: {rows} rows, {wanted} expected; the first that differs: {differs:#?}");
    }
    live
}

fn env() -> TestEnv {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FOLD_ROWS", "60");
    env.set("DNSLEDGER_TEST_FILTERS_MS", "5");
    env
}

#[test]
fn no_kill_hurts_the_ledger() {
    let (seed, kills) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_KILLS", 10));
    let env = env();
    let mut logs = Logs::new(&env, seed);
    let mut last = 0;
    for kill in 0..kills {
        let what = format!("seed {seed}, kill {kill}");
        let importing = logs.random.chance(0.2).then(|| logs.another(&env));
        // One in four is killed while it opens the ledger.
        let daemon = match (&importing, logs.random.chance(0.25)) {
            (Some(log), _) => env.spawn_import(log, "ledger"),
            (None, true) => env.spawn("logs", "ledger"),
            (None, false) => env.daemon("logs", "ledger"),
        };
        for _ in 0..logs.random.between(1, 40) {
            logs.grow(&env);
            pause(Duration::from_micros(logs.random.between(0, 8_000)));
        }
        daemon.kill();
        let read = assert_whole(&env, "ledger", &what);
        assert!(read >= last, "{what}: {read} bytes are read, and {last} were before");
        last = read;
    }
    let daemon = env.daemon("logs", "ledger");
    daemon.catch_up();
    assert!(daemon.stop().status.success());
    assert!(assert_whole(&env, "ledger", "at the end") > 0);
    check_nothing_is_denied(&env, "ledger", 5);
    let current = fs::read_to_string(env.path("ledger/CURRENT")).unwrap();
    let rewritten = current.lines().nth(1).and_then(|name| name.strip_prefix("ledger-")).unwrap();
    writeln!(std::io::stderr(), "{kills} kills, and ledger number {rewritten} in the end").unwrap();
}

#[test]
fn no_kill_hurts_the_ledger_while_it_is_written_anew_or_copied() {
    let (seed, kills) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_KILLS", 8));
    let env = env();
    let mut logs = Logs::new(&env, seed + 33);
    let (mut last, mut snapshots, mut expired) = (0, 0, 0);
    for kill in 0..kills {
        let what = format!("seed {seed}, kill {kill}");
        let old = logs.another_old(&env);
        env.ok(&["import", "--data", "ledger", &old]);
        let age = logs.age();
        let expire = ["expire", "--data", "ledger", "--older-than", &age];
        let snapshot = ["snapshot", "--data", "ledger", "backup"];
        let work: &[&str] = if logs.random.chance(0.5) { &expire } else { &snapshot };
        // One in three has no daemon to ask, and one in three outlives the daemon that it asked.
        let daemon = logs.random.chance(0.7).then(|| env.daemon("logs", "ledger"));
        let asking = env.begin(work);
        for _ in 0..logs.random.between(0, 60) {
            logs.grow(&env);
            pause(Duration::from_micros(logs.random.between(0, 8_000)));
        }
        match daemon {
            Some(daemon) if logs.random.chance(0.5) => {
                daemon.kill();
                asking.wait();
            }
            daemon => {
                asking.kill();
                daemon.into_iter().for_each(|daemon| daemon.kill());
            }
        }
        let read = assert_whole(&env, "ledger", &what);
        assert!(read >= last, "{what}: {read} bytes are read, and {last} were before");
        last = read;
        expired = env.status("ledger")["store"]["expired"]["rows"].as_u64().unwrap();
        // What has the name of a snapshot is whole.
        if env.path("backup").exists() {
            assert_whole(&env, "backup", &format!("{what}, its snapshot"));
            fs::remove_dir_all(env.path("backup")).unwrap();
            snapshots += 1;
        }
    }
    let daemon = env.daemon("logs", "ledger");
    daemon.catch_up();
    env.ok(&["snapshot", "--data", "ledger", "backup"]);
    env.ok(&["expire", "--data", "ledger", "--older-than", &logs.age()]);
    assert!(daemon.stop().status.success());
    assert!(assert_whole(&env, "ledger", "at the end") > 0);
    assert_whole(&env, "backup", "the last snapshot");
    writeln!(
        std::io::stderr(),
        "{kills} kills: {snapshots} snapshots were whole, {expired} rows had expired"
    )
    .unwrap();
}

#[test]
fn no_power_loss_takes_what_was_flushed() {
    let (seed, losses) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_LOSSES", 1));
    let env = env();
    let image = Image::new(&env.path("disk.img"));
    let Some(_mounted) = image.mount(&env.path("disk")) else { return };
    let mut logs = Logs::new(&env, seed + 77);
    let mut daemon = env.daemon("logs", "disk/ledger");
    for loss in 0..losses {
        let what = format!("seed {seed}, loss {loss}");
        for _ in 0..logs.random.between(1, 10) {
            logs.grow(&env);
        }
        daemon.catch_up();
        assert_eq!(post_control(&env.path("disk/ledger"), "/control/flush"), 200);
        // What is flushed now is whole lines.
        let flushed = memchr::memrchr(b'\n', &logs.live[..logs.written]).map_or(0, |at| at + 1);
        let old = logs.another_old(&env);
        env.ok(&["import", "--data", "disk/ledger", &old]);
        let age = logs.age();
        let expiring = logs.random.chance(0.6);
        let expiring =
            expiring.then(|| env.begin(&["expire", "--data", "disk/ledger", "--older-than", &age]));
        for _ in 0..logs.random.between(0, 30) {
            logs.grow(&env);
            pause(Duration::from_micros(logs.random.between(0, 5_000)));
        }
        daemon.signal("STOP");
        fs::copy(&image.0, env.path("lost.img")).unwrap();
        daemon.signal("CONT");
        let lost = Image(env.path("lost.img"));
        let after = lost.mount(&env.path("lost")).unwrap();
        let read = assert_whole(&env, "lost/ledger", &what);
        assert!(read >= flushed, "{what}: {read} bytes are read, and {flushed} were flushed");
        drop(after);
        if let Some(expiring) = expiring {
            assert!(expiring.wait(), "{what}: the ledger could not be expired");
        }
        if logs.random.chance(0.3) {
            daemon.kill();
            daemon = env.daemon("logs", "disk/ledger");
        }
    }
    drop(daemon);
}

#[test]
fn no_power_loss_takes_anything_while_a_ledger_is_brought_up() {
    let (seed, losses) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_LOSSES", 1));
    let env = env();
    let image = Image::new(&env.path("disk.img"));
    let Some(_mounted) = image.mount(&env.path("disk")) else { return };
    let mut logs = Logs::new(&env, seed + 88);
    unpack_store("v2", &env.path("older"));
    env.copy("older", "model");
    let expected = env.export("model");
    let begin = || {
        drop(fs::remove_dir_all(env.path("disk/ledger"))); // there is none the first time
        env.copy("older", "disk/ledger");
        shell("sync").unwrap();
        (env.begin(&["export", "--data", "disk/ledger"]), Instant::now())
    };
    let (whole, began) = begin();
    assert!(whole.wait());
    let takes = began.elapsed().as_micros() as u64;
    let mut interrupted = 0;
    for loss in 0..5 * losses {
        let what = format!("seed {seed}, loss {loss}");
        let (exporting, _) = begin();
        pause(Duration::from_micros(logs.random.between(0, takes)));
        exporting.signal("STOP");
        fs::copy(&image.0, env.path("lost.img")).unwrap();
        exporting.signal("CONT");
        assert!(exporting.wait(), "{what}");
        let after = Image(env.path("lost.img")).mount(&env.path("lost")).unwrap();
        let current = fs::read_to_string(env.path("lost/ledger/CURRENT")).unwrap();
        interrupted += u32::from(current.starts_with("dnsledger format 2\n"));
        assert_eq!(env.export("lost/ledger"), expected, "{what}");
        env.ok(&["verify", "--data", "lost/ledger"]);
        drop(after);
    }
    println!("{losses} times five losses, {interrupted} before it was brought up");
}

//--- Image ----------------------------------------------------------------------------------------------------------

/// A file system in a file.
pub struct Image(std::path::PathBuf);

/// Where it is mounted, until it is dropped.
pub struct Mounted(std::path::PathBuf);

fn shell(command: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-c", command]).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8(output.stderr).unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(said) }
}

impl Image {
    pub fn new(path: &Path) -> Image {
        fs::File::create(path).unwrap().set_len(96 << 20).unwrap();
        Image(path.to_owned())
    }

    /// Mounts it. Where that cannot be done, says so loudly.
    pub fn mount(&self, at: &Path) -> Option<Mounted> {
        fs::create_dir_all(at).unwrap();
        let (image, at) = (self.0.display(), at.to_owned());
        let is_new = fs::read(&self.0).unwrap().iter().all(|byte| *byte == 0);
        let make = if is_new { format!("PATH=$PATH:/sbin mkfs.ext4 -qF {image} &&") } else { String::new() };
        match shell(&format!("{make} mount -o loop {image} {}", at.display())) {
            Ok(()) => Some(Mounted(at)),
            Err(why) => {
                skipped(&format!("no power is lost, for no file system in a file can be mounted: {why}"));
                None
            }
        }
    }
}

impl Mounted {
    /// It fails: the kernel gives its journal up and lets nobody write any more, as after an error of the disk, until it is
    /// mounted anew.
    pub fn becomes_read_only(&self) {
        // What it answers is about what is left to be written, which cannot be.
        drop(shell(&format!("mount -o remount,abort {}", self.0.display())));
        let written = fs::write(self.0.join("written"), "x");
        assert!(written.is_err(), "it can be written still");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that was killed may hold it for a moment.
        let unmounted = shell(&format!("umount {0} || umount -l {0}", self.0.display()));
        if let Err(why) = unmounted
            && !std::thread::panicking()
        {
            panic!("{why}");
        }
    }
}
