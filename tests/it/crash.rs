//! That every record counts once, whatever happens to the daemon.
//!
//! A Zeek is played into a log folder, with torn writes, rotations, and archives that grow under their final names. The
//! real daemon follows it and is killed at random moments. At the end its ledger must be the same, byte for byte, as that
//! of one clean import of all that was written, and it must have read as many lines as there were records; and the lines behind its rows
//! must be found where the logs are by then, with what filters there are.
//!
//! `DNSLEDGER_KILLS` says how often it is killed, `DNSLEDGER_SEED` from which seed; the seed that failed is in the message,
//! and replays what was written. (When the kill strikes is up to the machine.)

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use dnsledger::base::fault;
use generate::{Archive, Config, Format, Generator, JsonTimes, Layout, Player, Random, Rotated, write_log};

use crate::env::{Daemon, TestEnv, pause, setting, until};
use crate::filters::check_nothing_is_denied;

#[test]
fn a_daemon_that_is_killed_again_and_again_counts_each_record_once() {
    let seed = setting("DNSLEDGER_SEED", 1);
    let kills = setting("DNSLEDGER_KILLS", 10);
    hunt(seed, kills, Format::Tsv);
}

#[test]
fn so_does_one_that_reads_json() {
    let seed = setting("DNSLEDGER_SEED", 1) + 1_000_000;
    let kills = setting("DNSLEDGER_KILLS", 10) / 5;
    hunt(seed, kills, Format::Json { times: JsonTimes::Epoch, path: false });
}

#[test]
fn one_that_was_down_over_rotations_catches_up() {
    for down in [0, 1, 2, 5] {
        let env = TestEnv::new();
        let mut zeek = Zeek::new(&env.path("logs"), Format::Tsv, 7 + down);
        zeek.write(40);
        let daemon = env.daemon("logs", "ledger");
        daemon.wait_for_lines(zeek.written);
        assert!(daemon.stop().status.success());
        for _ in 0..down {
            zeek.write(30);
            zeek.rotate();
            zeek.archive();
        }
        zeek.write(20);
        let daemon = env.daemon("logs", "ledger");
        daemon.wait_for_lines(zeek.written);
        assert!(daemon.stop().status.success());
        assert_clean(&env, zeek.written, &format!("down over {down} rotations"));
    }
}

#[test]
fn killed_between_any_two_steps_of_a_commit_it_counts_each_record_once() {
    let env = TestEnv::new();
    let mut zeek = Zeek::new(&env.path("logs"), Format::Tsv, 31);
    let large = ["run_written"];
    for (at, point) in fault::POINTS.iter().filter(|point| !large.contains(point)).enumerate() {
        // Something that is known by its archive only, and something live.
        zeek.write(20);
        zeek.rotate();
        zeek.archive();
        let fault = format!("{point}:{}", 1 + at % 2);
        let mut daemon = env.spawn_with("logs", "ledger", &[(fault::VARIABLE, &fault)]);
        until(&format!("the daemon passes {fault}"), || {
            zeek.write(1);
            // A second one of each, for those that die at the second passage.
            if zeek.written.is_multiple_of(200) {
                zeek.rotate();
                zeek.archive();
            }
            daemon.has_ended().then_some(())
        });
    }
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(zeek.written);
    assert!(daemon.stop().status.success());
    assert_clean(&env, zeek.written, "killed between the steps of a commit");
}

#[test]
fn killed_between_the_steps_of_a_large_batch_it_counts_each_record_once() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("logs")).unwrap();
    let lines = 30_000;
    let config = Config { lines, new_names: 1.0, growth: 1.0, ..Config::default() };
    let log = std::fs::File::create(env.path("logs/dns.log")).unwrap();
    write_log(config.generate(), Format::Tsv, true, log).unwrap();
    for (point, passage) in [
        ("run_written", 1),
        ("commit_written", 1),
        ("commit_written", 2),
        ("commit_synced", 1),
        ("commit_synced", 2),
    ] {
        let args = ["import", "--data", "ledger", "logs"];
        let ended = env.run_with(&args, &[(fault::VARIABLE, &format!("{point}:{passage}"))]);
        // Once the batch is applied nothing is left to commit.
        assert!(!ended.status.success() || point != "run_written", "{point} was not passed");
    }
    env.ok(&["import", "--data", "ledger", "logs"]);
    assert_clean(&env, lines, "killed between the steps of a large batch");
}

#[test]
fn a_day_of_rotations_with_the_daemon_down_over_some() {
    for down in [0, 1, 2, 5] {
        let env = TestEnv::new();
        let mut zeek = Zeek::new(&env.path("logs"), Format::Tsv, 70 + down);
        let mut daemon = None;
        for hour in 0..24 {
            // Up for three hours, then down over so many rotations.
            if hour % (down + 3) < 3 {
                zeek.write(15);
                let up: Daemon = daemon.take().unwrap_or_else(|| env.daemon("logs", "ledger"));
                zeek.write(15);
                zeek.rotate();
                if hour % 2 == 0 {
                    up.wait_for_lines(zeek.written);
                }
                zeek.archive();
                daemon = Some(up);
            } else {
                if let Some(up) = daemon.take() {
                    up.kill();
                }
                zeek.write(30);
                zeek.rotate();
                zeek.archive();
            }
        }
        let daemon = daemon.unwrap_or_else(|| env.daemon("logs", "ledger"));
        daemon.wait_for_lines(24 * 30);
        assert!(daemon.stop().status.success());
        assert_clean(&env, 24 * 30, &format!("24 rotations, down over {down} at a time"));
    }
}

#[test]
fn one_traffic_as_tsv_json_and_compressed_by_zeek_gives_the_same_rows() {
    let json = Format::Json { times: JsonTimes::Epoch, path: false };
    let mut exports = Vec::new();
    for (format, compressed) in [(Format::Tsv, false), (json, false), (Format::Tsv, true)] {
        let env = TestEnv::new();
        let mut zeek = Zeek::new(&env.path("logs"), format, 99);
        let daemon = env.daemon("logs", "ledger");
        for _ in 0..6 {
            zeek.write(60);
            // Zeek's own gzip shows nothing before the rotation: as if it had been written in one moment.
            if !compressed {
                daemon.wait_for_lines(zeek.written);
            }
            zeek.rotate();
            zeek.archive();
        }
        daemon.wait_for_lines(zeek.written);
        assert!(daemon.stop().status.success());
        exports.push((env.export("ledger"), env.status("ledger")["totals"].clone()));
    }
    let first = exports.remove(0);
    assert!(first.0.lines().count() > 50);
    assert!(exports.iter().all(|other| *other == first));
}

/// Plays a Zeek and kills the daemon that follows it, so often.
fn hunt(seed: u64, kills: u64, format: Format) {
    let mut env = TestEnv::new();
    env.set("DNSLEDGER_TEST_FILTERS_MS", "5");
    let mut random = Random::new(seed);
    let mut zeek = Zeek::new(&env.path("logs"), format, seed);
    let stop = Arc::new(AtomicBool::new(false));
    let (done, written) = mpsc::channel();
    let writer = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                zeek.act();
            }
            zeek.end();
            done.send(zeek.written).unwrap();
        }
    });
    for _ in 0..kills {
        // One in four is killed while it opens the ledger and looks at what is there.
        let daemon =
            if random.chance(0.25) { env.spawn("logs", "ledger") } else { env.daemon("logs", "ledger") };
        pause(Duration::from_micros(random.between(0, 150_000)));
        daemon.kill();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap_or_else(|_| panic!("seed {seed}: the player failed"));
    let written = written.recv().unwrap();
    let daemon = env.daemon("logs", "ledger");
    daemon.wait_for_lines(written);
    assert!(daemon.stop().status.success(), "seed {seed}");
    assert_clean(&env, written, &format!("seed {seed}, {kills} kills"));
    // The logs are where they are now, and the lines of each row in them.
    check_nothing_is_denied(&env, "ledger", 5);
}

/// Asserts that the ledger is the one that a clean import makes.
#[track_caller]
fn assert_clean(env: &TestEnv, written: u64, what: &str) {
    env.ok(&["import", "--data", "clean", "logs"]);
    for data in ["ledger", "clean"] {
        assert_eq!(env.status(data)["totals"]["lines_read"], written, "{what}: {data}");
    }
    let (ledger, clean) = (env.export("ledger"), env.export("clean"));
    if ledger != clean {
        let differs = ledger.lines().zip(clean.lines()).find(|(a, b)| a != b);
        let (lines, expected) = (ledger.lines().count(), clean.lines().count());
        panic!("{what}: {lines} rows instead of {expected}; the first that differs: {differs:#?}");
    }
    assert!(written == 0 || !ledger.is_empty(), "{what}: nothing was counted");
}

//--- Zeek -----------------------------------------------------------------------------------------------------------

/// A Zeek and its zeekctl, which act at random.
struct Zeek {
    logs: PathBuf,
    player: Player,
    records: Generator,
    random: Random,
    /// Its clock, in seconds since the epoch. It jumps an hour with each rotation, so that no two logs have one name.
    now: u64,
    /// Logs that wait for being archived.
    waiting: Vec<Rotated>,
    /// An archive that is being written.
    archive: Option<Archive>,
    /// Records written.
    written: u64,
}

impl Zeek {
    fn new(logs: &Path, format: Format, seed: u64) -> Zeek {
        let layout = [Layout::Zeekctl, Layout::Dateext, Layout::Deep][seed as usize % 3];
        let config =
            Config { seed, lines: u64::MAX, lines_per_second: 20.0, rare: 0.02, ..Config::default() };
        Zeek {
            logs: logs.to_owned(),
            player: Player::new(logs, format).unwrap().torn().laid_out(layout),
            now: config.start,
            records: config.generate(),
            random: Random::new(seed ^ 0x5eed),
            waiting: Vec::new(),
            archive: None,
            written: 0,
        }
    }

    /// Does one thing that a Zeek or its zeekctl does.
    fn act(&mut self) {
        match self.random.below(100) {
            0..60 => {
                let records = self.random.between(1, 40);
                self.write(records);
            }
            60..64 => self.rotate(),
            64..72 => self.step(),
            _ => pause(Duration::from_micros(self.random.between(100, 8_000))),
        }
    }

    fn write(&mut self, records: u64) {
        for record in self.records.by_ref().take(records as usize) {
            self.player.write(&record, self.now).unwrap();
            self.written += 1;
        }
    }

    fn rotate(&mut self) {
        self.now += 3_600;
        self.waiting.extend(self.player.rotate(self.now).unwrap());
    }

    /// Goes on with an archive, or begins one, or begins it anew after it was cut short.
    fn step(&mut self) {
        match self.archive.take() {
            None if self.waiting.is_empty() => {}
            None => {
                let at = self.random.below(self.waiting.len() as u64) as usize;
                self.archive = Some(Archive::begin(&self.logs, self.waiting[at].clone()).unwrap());
            }
            // gzip was killed: what it wrote stays, and the log too.
            Some(_) if self.random.chance(0.1) => {}
            Some(mut archive) => {
                let bytes = self.random.between(1, 6_000) as usize;
                if archive.step(bytes).unwrap() {
                    self.archive = Some(archive);
                } else {
                    self.finish(archive);
                }
            }
        }
    }

    fn finish(&mut self, archive: Archive) {
        self.waiting.retain(|rotated| rotated != archive.rotated());
        archive.finish().unwrap();
    }

    /// Archives all that waits for it.
    fn archive(&mut self) {
        if let Some(archive) = self.archive.take() {
            self.finish(archive);
        }
        for rotated in std::mem::take(&mut self.waiting) {
            let path = self.player.archive(rotated).unwrap();
            // It is whole: nobody has to wait and see.
            let archive = std::fs::File::options().write(true).open(path).unwrap();
            archive.set_modified(SystemTime::now() - Duration::from_secs(3_600)).unwrap();
        }
    }

    /// Brings everything to rest: most logs archived, the last one live.
    fn end(&mut self) {
        self.archive();
        self.write(5);
    }
}
