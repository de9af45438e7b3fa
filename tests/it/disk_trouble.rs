//! That no trouble of the disk, at whatever moment, brings the daemon to a standstill or costs it anything.
//!
//! The real daemon follows a growing log and reads old ones, with bounds so small that it commits, folds and merges all the
//! time, and writes the ledger anew, to expire rows and by itself. Meanwhile its small disk is filled, or its writes fail, or say
//! that the file system is read-only; after a while the trouble passes. Or the file system becomes read-only for good, and has to
//! be mounted anew. Lookups answer all the time. Then it goes on by itself within a
//! quarter of a minute, or it has ended with the exit code of one that is to be started again, and goes on after that. SIGTERM
//! ends it within ten seconds, also in the middle of the trouble. In the end the ledger is sound, and its export that of a
//! ledger into which the logs were imported.
//!
//! `DNSLEDGER_FILLS` says how often, `DNSLEDGER_SEED` from which seed: run N has seed + N, so that one run can be had again.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use generate::Random;

use crate::env::{Daemon, TestEnv, pause, setting};
use crate::full_disk::SmallDisk;
use crate::store_crash::{Image, Logs, assert_whole};
use crate::system_calls::{SYNCS, WRITES, can_trace, hold, let_go};

/// Within this time it goes on by itself, or has ended.
const GOES_ON: Duration = Duration::from_secs(15);
/// Within this time SIGTERM ends it, and a request is answered.
const ANSWERS: Duration = Duration::from_secs(10);
/// The exit codes of a daemon that is to be started again.
const START_AGAIN: [i32; 2] = [75, 70];

/// A trouble, for as long as it is there.
enum Trouble {
    Full(PathBuf),
    Failing(Daemon),
}

impl Trouble {
    /// Begins some trouble.
    fn begin(
        env: &TestEnv,
        disk: &SmallDisk,
        daemon: &Daemon,
        random: &mut Random,
        traced: bool,
    ) -> (Trouble, String) {
        if !traced || random.chance(0.7) {
            let left = [0, 60, 300, 1500][random.between(0, 3) as usize] << 10;
            let filler = disk.fill();
            let file = fs::File::options().write(true).open(&filler).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length.saturating_sub(left)).unwrap();
            return (Trouble::Full(filler), format!("{left} bytes left"));
        }
        let error = if random.chance(0.5) { "EIO" } else { "EROFS" };
        let calls = [format!("{WRITES},{SYNCS}"), WRITES.to_owned(), SYNCS.to_owned()];
        let calls = &calls[random.between(0, 2) as usize];
        let when = ["1+", "1+", "2+3"][random.between(0, 2) as usize];
        let inject = format!("{calls}:error={error}:when={when}");
        (Trouble::Failing(hold(env, daemon, "disk/ledger", std::slice::from_ref(&inject))), inject)
    }

    fn end(self) {
        match self {
            Trouble::Full(filler) => fs::remove_file(filler).unwrap(),
            Trouble::Failing(strace) => let_go(strace),
        }
    }
}

/// How a run went.
#[derive(Default)]
struct Figures {
    went_on: u32,
    healed: u32,
    stopped_in_trouble: u32,
    /// How often the ledger was written anew without being told to.
    rewritten: u32,
    slowest: Duration,
    slowest_stop: Duration,
    slowest_lookup: Duration,
}

impl Figures {
    /// Takes down whether the ledger was written anew since it had this name; `false` where it was told to.
    fn look(&mut self, env: &TestEnv, before: &str, by_itself: bool) -> String {
        let now = current(env);
        self.rewritten += u32::from(by_itself && now != before);
        now
    }

    /// Ends it by SIGTERM, in time.
    #[track_caller]
    fn stop(&mut self, daemon: Daemon, what: &str) -> i32 {
        let began = Instant::now();
        daemon.signal("TERM");
        let ended = daemon.ended();
        let took = began.elapsed();
        assert!(took < ANSWERS, "{what}: SIGTERM took {took:?}\n{}", ended.stderr);
        self.slowest_stop = self.slowest_stop.max(took);
        ended.status.code().unwrap_or_else(|| panic!("{what}: {}\n{}", ended.status, ended.stderr))
    }

    /// Asks something; an answer comes in time, which may be that nothing can be looked up just now.
    #[track_caller]
    fn ask(&mut self, daemon: &mut Daemon, what: &str) {
        let began = Instant::now();
        for path in ["/healthz", "/api/v1/records?q=%2A.test&limit=5", "/api/v1/status"] {
            match daemon.try_get(path) {
                Ok(answer) => {
                    assert!(matches!(answer.status, 200 | 503), "{what}: {path}: {}", answer.status);
                }
                Err(error) => {
                    // One that has ended does not answer; how it ended is looked at later.
                    pause(Duration::from_millis(200));
                    assert!(daemon.has_ended(), "{what}: {path}: {error}");
                    return;
                }
            }
        }
        assert!(began.elapsed() < ANSWERS, "{what}: lookups took {:?}", began.elapsed());
        self.slowest_lookup = self.slowest_lookup.max(began.elapsed());
    }
}

/// One that has ended because it cannot go on is started again.
#[track_caller]
fn healed(env: &TestEnv, daemon: Daemon, what: &str) -> Daemon {
    let ended = daemon.ended();
    let code = ended.status.code();
    assert!(
        code.is_some_and(|code| START_AGAIN.contains(&code)),
        "{what}: {}\n{}",
        ended.status,
        ended.stderr
    );
    assert!(ended.stderr.contains("ERROR"), "{what}: it did not say why\n{}", ended.stderr);
    env.daemon("logs", "disk/ledger")
}

/// Lets the logs grow, and others appear, for about so long.
fn work(env: &TestEnv, logs: &mut Logs, old: &mut u64, length: Duration) {
    let until = Instant::now() + length;
    while Instant::now() < until {
        logs.grow(env);
        if logs.random.chance(0.05) {
            let name = logs.another(env);
            *old += 1;
            fs::rename(env.path(&name), env.path("logs").join(format!("dns.{old}.log"))).unwrap();
        }
        pause(Duration::from_micros(logs.random.between(0, 20_000)));
    }
}

/// The name of the ledger in the data folder.
fn current(env: &TestEnv) -> String {
    fs::read_to_string(env.path("disk/ledger/CURRENT")).unwrap_or_default()
}

/// A daemon that works on a disk which is well so far.
struct Begun {
    logs: Logs,
    old_logs: u64,
    daemon: Daemon,
    /// The name of its ledger.
    before: String,
    /// A command that drops rows meanwhile.
    expiring: Option<Daemon>,
}

fn begin(env: &mut TestEnv, mut logs: Logs) -> Begun {
    env.set("DNSLEDGER_TEST_FOLD_ROWS", ["60", "400", "100000"][logs.random.between(0, 2) as usize]);
    let mut old_logs = 0;
    let old = logs.another_old(env);
    env.ok(&["import", "--data", "disk/ledger", &old]);
    let daemon = env.daemon("logs", "disk/ledger");
    let before = current(env);
    let length = Duration::from_millis(logs.random.between(0, 800));
    work(env, &mut logs, &mut old_logs, length);
    let age = logs.age();
    let expire = ["expire", "--data", "disk/ledger", "--older-than", &age];
    let expiring = logs.random.chance(0.4).then(|| env.begin(&expire));
    let length = Duration::from_millis(logs.random.between(0, 100));
    work(env, &mut logs, &mut old_logs, length);
    Begun { logs, old_logs, daemon, before, expiring }
}

/// The file system fails under the daemon, which can then only be stopped, and goes on where it was mounted anew.
fn run_to_read_only(seed: u64, figures: &mut Figures) -> bool {
    let mut env = TestEnv::new();
    let image = Image::new(&env.path("disk.img"));
    let Some(mounted) = image.mount(&env.path("disk")) else { return false };
    let logs = Logs::new(&env, seed);
    let mut what = format!("seed {seed}, read-only");
    let Begun { mut logs, mut old_logs, mut daemon, before, expiring } = begin(&mut env, logs);
    figures.look(&env, &before, expiring.is_none());
    mounted.becomes_read_only();
    let until = Instant::now() + Duration::from_millis(logs.random.between(100, 2500));
    while Instant::now() < until {
        work(&env, &mut logs, &mut old_logs, Duration::from_millis(100));
        figures.ask(&mut daemon, &what);
    }
    if daemon.has_ended() {
        what = format!("{what}, ended");
        let ended = daemon.ended();
        let code = ended.status.code();
        assert!(
            code.is_some_and(|code| START_AGAIN.contains(&code)),
            "{what}: {}\n{}",
            ended.status,
            ended.stderr
        );
        figures.healed += 1;
    } else if logs.random.chance(0.7) {
        figures.stop(daemon, &what);
        figures.stopped_in_trouble += 1;
    } else {
        daemon.kill();
    }
    let _ = expiring.map(Daemon::wait);
    drop(mounted);
    let mounted = image.mount(&env.path("disk")).unwrap();
    let daemon = env.daemon("logs", "disk/ledger");
    work(&env, &mut logs, &mut old_logs, Duration::from_millis(50));
    daemon.catch_up();
    let code = figures.stop(daemon, &what);
    assert_eq!(code, 0, "{what}: it did not stop well");
    let read = assert_whole(&env, "disk/ledger", &what);
    let lines = memchr::memrchr(b'\n', &logs.live[..logs.written]).map_or(0, |at| at + 1);
    assert_eq!(read, lines, "{what}: not all of the live log is read");
    drop(mounted);
    true
}

fn run(seed: u64, figures: &mut Figures) -> bool {
    let mut env = TestEnv::new();
    let Some(disk) = SmallDisk::mount(env.path("disk"), "96m") else { return false };
    let traced = can_trace(&env);
    let logs = Logs::new(&env, seed);
    let mut what = format!("seed {seed}");
    let Begun { mut logs, mut old_logs, mut daemon, before, expiring } = begin(&mut env, logs);
    let is_told = expiring.is_some();
    let before = figures.look(&env, &before, !is_told);
    let (trouble, kind) = Trouble::begin(&env, &disk, &daemon, &mut logs.random, traced);
    what = format!("{what}, {kind}");
    let until = Instant::now() + Duration::from_millis(logs.random.between(100, 2500));
    while Instant::now() < until {
        work(&env, &mut logs, &mut old_logs, Duration::from_millis(100));
        figures.ask(&mut daemon, &what);
    }
    let stops = logs.random.between(0, 9);
    if stops == 0 && !daemon.has_ended() {
        figures.stop(daemon, &what);
        figures.stopped_in_trouble += 1;
        trouble.end();
        daemon = env.daemon("logs", "disk/ledger");
    } else if stops == 1 && !daemon.has_ended() {
        daemon.kill();
        trouble.end();
        daemon = env.daemon("logs", "disk/ledger");
    } else {
        trouble.end();
        let began = Instant::now();
        let ended = loop {
            if daemon.has_ended() {
                break true;
            }
            if daemon.try_get("/readyz").is_ok_and(|answer| answer.status == 200) {
                break false;
            }
            assert!(began.elapsed() < GOES_ON, "{what}: it neither goes on nor ends");
            pause(Duration::from_millis(20));
        };
        figures.slowest = figures.slowest.max(began.elapsed());
        if ended {
            figures.healed += 1;
            daemon = healed(&env, daemon, &what);
        } else {
            figures.went_on += 1;
        }
    }
    // It could be done or not; there was too little room for it, perhaps.
    let _ = expiring.map(Daemon::wait);
    let before = figures.look(&env, &before, !is_told);
    work(&env, &mut logs, &mut old_logs, Duration::from_millis(50));
    daemon.catch_up();
    if logs.random.chance(0.2) {
        daemon.kill();
        daemon = env.daemon("logs", "disk/ledger");
        daemon.catch_up();
    }
    let code = figures.stop(daemon, &what);
    assert_eq!(code, 0, "{what}: it did not stop well");
    figures.look(&env, &before, true);
    let read = assert_whole(&env, "disk/ledger", &what);
    let lines = memchr::memrchr(b'\n', &logs.live[..logs.written]).map_or(0, |at| at + 1);
    assert_eq!(read, lines, "{what}: not all of the live log is read");
    true
}

#[test]
fn no_trouble_of_the_disk_stops_the_daemon_for_good_or_costs_anything() {
    let (seed, fills) = (setting("DNSLEDGER_SEED", 1), setting("DNSLEDGER_FILLS", 2));
    let mut figures = Figures::default();
    for fill in 0..fills {
        // Every fourth file system becomes read-only, the second of the short form.
        let is_whole = match (seed + fill) % 4 {
            2 => run_to_read_only(seed + fill, &mut figures),
            _ => run(seed + fill, &mut figures),
        };
        if !is_whole {
            return;
        }
        if fills > 10 {
            writeln!(std::io::stderr(), "run {} of {fills} (seed {}) is well", fill + 1, seed + fill)
                .unwrap();
        }
    }
    let Figures { went_on, healed, stopped_in_trouble, rewritten, .. } = figures;
    let Figures { slowest, slowest_stop, slowest_lookup, .. } = figures;
    writeln!(
        std::io::stderr(),
        "{fills} troubles: {went_on} times it went on, after {slowest:?} at most; {healed} times it ended and healed; \
         {stopped_in_trouble} were stopped in the middle; in {rewritten} spells the ledger was written anew by itself; a stop took {slowest_stop:?} at most, three requests {slowest_lookup:?}"
    )
    .unwrap();
}
