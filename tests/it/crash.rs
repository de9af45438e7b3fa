//! That every record counts once, whatever happens to the daemon.
//!
//! A Zeek is played into a log folder, with torn writes, rotations, and archives that grow under their final names. The
//! real daemon follows it and is killed at random moments. At the end its ledger must be the same, byte for byte, as that
//! of one clean import of all that was written, and it must have read as many lines as there were records.
//!
//! `DNSLEDGER_KILLS` says how often it is killed, `DNSLEDGER_SEED` from which seed; the seed that failed is in the message,
//! and replays what was written. (When the kill strikes is up to the machine.)

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use dnsledger::generate::{Archive, Config, Format, Generator, JsonTimes, Player, Random, Rotated};

use crate::env::{TestEnv, pause, setting};

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

/// Plays a Zeek and kills the daemon that follows it, so often.
fn hunt(seed: u64, kills: u64, format: Format) {
    let env = TestEnv::new();
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
        let config =
            Config { seed, lines: u64::MAX, lines_per_second: 20.0, rare: 0.02, ..Config::default() };
        Zeek {
            logs: logs.to_owned(),
            player: Player::new(logs, format).unwrap().torn(),
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
            self.player.archive(rotated).unwrap();
        }
    }

    /// Brings everything to rest: most logs archived, the last one live.
    fn end(&mut self) {
        self.archive();
        self.write(5);
    }
}
