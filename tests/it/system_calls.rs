//! That system calls which fail cost time only: strace makes them fail, in the logs and in the ledger.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use generate::Random;

use crate::env::{self, Daemon, TestEnv, made_up_log, pause, skipped, until};
use crate::full_disk::{goes_on, write};

/// The system calls that read a file.
const READS: &str = "read,pread64,readv";
/// Those that write one.
pub const WRITES: &str = "write,pwrite64,ftruncate";
/// Those that put it on stable storage.
pub const SYNCS: &str = "fsync,fdatasync,sync_file_range";

/// A folder, if something can be traced; where nothing can, says so loudly.
fn traced_env() -> Option<TestEnv> {
    let env = TestEnv::new();
    can_trace(&env).then_some(env)
}

/// Whether something can be traced; where nothing can, says so loudly.
pub fn can_trace(env: &TestEnv) -> bool {
    let traced = env.tool("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    let why = match traced {
        Ok(ended) if ended.status.success() => return true,
        Ok(ended) => String::from_utf8(ended.stderr).unwrap(),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "strace: {error}");
            error.to_string()
        }
    };
    skipped(&format!("no system call can be made to fail: strace: {why}"));
    false
}

/// Two logs, and what an import of them without any fault is.
struct Case {
    env: TestEnv,
    sound: String,
}

impl Case {
    /// None where nothing can be traced.
    fn new() -> Option<Case> {
        let env = traced_env()?;
        std::fs::create_dir(env.path("logs")).unwrap();
        for (name, lines, seed) in [("a", 4000, 3), ("b", 500, 4)] {
            let log = made_up_log(lines, seed);
            std::fs::write(env.path(&format!("logs/dns.{name}.log")), log).unwrap();
        }
        env.ok(&["import", "--data", "sound", "logs"]);
        let sound = env.export("sound");
        Some(Case { env, sound })
    }

    /// Imports while calls on these files fail, as `inject` of strace has it; whether that was told by the exit code, and
    /// what was said.
    fn import(&self, data: &str, files: &[PathBuf], inject: &str) -> (bool, String) {
        std::fs::create_dir_all(self.env.path(data)).unwrap();
        let mut strace = self.env.tool("strace");
        let trace = self.env.path("trace");
        strace.args(["-f", "-qq", "-e", &format!("inject={inject}"), "-o"]).arg(&trace);
        for file in files {
            strace.arg("-P").arg(file);
        }
        strace.args([env!("CARGO_BIN_EXE_dnsledger"), "import", "--data", data, "logs"]);
        let ended = self.env.finish(&mut strace);
        let trace = std::fs::read_to_string(trace).unwrap();
        assert!(trace.contains("(INJECTED)"), "{inject}: nothing failed\n{trace}");
        assert!(!ended.stderr.contains("panicked"), "{inject}: {}", ended.stderr);
        (ended.status.success(), ended.stderr)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.env.path("logs").join(format!("dns.{name}.log"))
    }

    /// Without faults the rest comes in, and nothing counts twice.
    fn is_made_good(&self, data: &str) {
        self.env.ok(&["import", "--data", data, "logs"]);
        assert_eq!(self.env.export(data), self.sound);
        assert_eq!(self.env.status(data)["totals"]["lines_read"], 4500);
        self.env.ok(&["verify", "--data", data]);
    }
}

#[test]
fn a_read_that_is_interrupted_is_made_again() {
    let Some(case) = Case::new() else { return };
    let logs = [case.log("a"), case.log("b")];
    let (done, said) = case.import("ledger", &logs, &format!("{READS}:error=EINTR:when=1+2"));
    assert!(done, "{said}");
    assert_eq!(case.env.export("ledger"), case.sound);
}

#[test]
fn a_log_that_cannot_be_read_is_named_and_does_not_keep_others_back() {
    let Some(case) = Case::new() else { return };
    for (data, name, when) in [("first", "b", "1+"), ("later", "a", "3+")] {
        let (done, said) = case.import(data, &[case.log(name)], &format!("{READS}:error=EIO:when={when}"));
        assert!(!done && said.contains(&format!("Not read: logs/dns.{name}.log: ")), "{said}");
        let other = if name == "a" { 500 } else { 4000 };
        assert!(case.env.status(data)["totals"]["lines_read"].as_u64().unwrap() >= other, "{said}");
        case.is_made_good(data);
    }
}

#[test]
fn a_ledger_that_cannot_be_written_says_so_and_nothing_is_lost() {
    let Some(case) = Case::new() else { return };
    for (at, (calls, error)) in [(WRITES, "ENOSPC"), (WRITES, "EIO"), (SYNCS, "EIO")].iter().enumerate() {
        let mut failed = 0;
        for when in ["1+", "1"] {
            let data = format!("ledger{at}.{when}");
            let files: Vec<PathBuf> =
                ["db", "conf"].map(|file| case.env.path(&data).join("ledger-1").join(file)).into();
            let (done, said) = case.import(&data, &files, &format!("{calls}:error={error}:when={when}"));
            assert!(done || said.contains("could not use"), "{said}");
            failed += u32::from(!done);
            case.is_made_good(&data);
        }
        assert!(failed > 0, "{calls} never failed");
    }
}

/// From now on a daemon's calls on its ledger fail, or take long, until what this gives is let go.
pub fn hold(env: &TestEnv, daemon: &Daemon, data: &str, injects: &[String]) -> Daemon {
    let pid = daemon.pid().to_string();
    let mut strace = env.tool("strace");
    strace.args(["-f", "-qq", "-p", &pid, "-o"]).arg(env.path("trace"));
    let current = std::fs::read_to_string(env.path(data).join("CURRENT")).unwrap();
    let ledger = env.path(data).join(current.lines().nth(1).unwrap());
    for file in ["", "db", "probe"] {
        strace.arg("-P").arg(ledger.join(file));
    }
    for inject in injects {
        strace.args(["-e", &format!("inject={inject}")]);
    }
    let strace = env.background(&mut strace);
    until("all threads are traced", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let status = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.unwrap().path().join("status"))
        };
        threads
            .map(status)
            .all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
            .then_some(())
    });
    strace
}

/// Ends that.
pub fn let_go(strace: Daemon) {
    strace.stop();
}

#[test]
fn a_file_system_that_becomes_read_only_stops_nothing_but_writing_until_it_is_writable_again() {
    let Some(env) = traced_env() else { return };
    let injects = [format!("{WRITES},{SYNCS},openat:error=EROFS")];
    goes_on(&env, "data", |daemon| hold(&env, daemon, "data", &injects), let_go);
    let trace = std::fs::read_to_string(env.path("trace")).unwrap();
    assert!(trace.contains("EROFS (Read-only file system) (INJECTED)"), "{trace}");
}

#[test]
fn a_slow_disk_keeps_no_line_from_being_found_and_no_lookup_waiting() {
    const DELAY: Duration = Duration::from_secs(60);
    let Some(env) = traced_env() else { return };
    std::fs::create_dir(env.path("logs")).unwrap();
    let log = env.path("logs/dns.log");
    write(&log, 0..10);
    let daemon = env.daemon("logs", "data");
    daemon.wait_for_lines(20);
    let slow = format!("{SYNCS}:delay_enter={}", DELAY.as_micros());
    let strace = hold(&env, &daemon, "data", &[slow]);
    let began = Instant::now();
    for round in 1..20 {
        write(&log, round * 10..round * 10 + 10);
        daemon.wait_for_lines(20 + round * 20);
        let found = daemon.json("/api/v1/records?q=all.example");
        assert_eq!(found["records"][0]["count"], round * 10 + 10);
        assert_eq!(daemon.json("/api/v1/records?q=n3.example")["records"][0]["count"], 1);
    }
    until("a sync is under way", || {
        let trace = std::fs::read_to_string(env.path("trace")).unwrap();
        SYNCS.split(',').any(|call| trace.contains(&format!(" {call}("))).then_some(())
    });
    assert!(began.elapsed() < DELAY, "a line waited for the disk: {:?}", began.elapsed());
    assert_eq!(daemon.get("/readyz").status, 200);
    let_go(strace);
    daemon.catch_up();
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert_eq!(env.status("data")["totals"]["lines_read"], 400);
    assert_eq!(env.export("data").lines().count(), 201);
}

#[test]
fn lookups_that_wait_for_a_slow_disk_hold_up_nobody() {
    const DELAY: Duration = Duration::from_millis(1500);
    let Some(env) = traced_env() else { return };
    std::fs::create_dir(env.path("logs")).unwrap();
    // More than is in memory, and nothing that packs well.
    let mut random = Random::new(1);
    let mut name = || {
        let part: Vec<String> = (0..12).map(|_| format!("{:015x}", random.below(1 << 60))).collect();
        format!("{}.{}.{}.example", part[..4].concat(), part[4..8].concat(), part[8..].concat())
    };
    let names: Vec<String> = (0..30_000).map(|_| name()).collect();
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number as u32);
        writeln!(
            text,
            "{{\"ts\":1767225600.5,\"uid\":\"C{number}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"{name}\",\
             \"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\"answers\":[\"{address}\"],\"TTLs\":[60.0]}}"
        )
        .unwrap();
    }
    std::fs::write(env.path("logs/dns.log"), text).unwrap();
    env.ok(&["import", "--data", "data", "logs"]);
    let config = "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\nrequest_timeout = \"3s\"\n[store]\nmemory = \"16MiB\"\n[[source]]\nlogs = \"logs\"\n";
    std::fs::write(env.path("dnsledger.toml"), config).unwrap();
    let daemon = env.configured_daemon("dnsledger.toml", "data");
    daemon.wait_for_lines(30_000);
    let strace = hold(&env, &daemon, "data", &[format!("{READS}:delay_enter={}", DELAY.as_micros())]);
    let (address, asked) = (daemon.address(), AtomicUsize::new(0));
    let slowest = std::thread::scope(|scope| {
        for number in 0..8 {
            let (names, asked) = (&names, &asked);
            scope.spawn(move || {
                for name in 0..2 {
                    let path = format!("/dns/{}", names[number * 3600 + name * 700 + 17]);
                    let status = env::get(address, &path).unwrap().status;
                    assert!([200, 429, 504].contains(&status), "{path}: {status}");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut slowest = Duration::ZERO;
        while asked.load(Ordering::SeqCst) < 16 {
            let began = Instant::now();
            assert_eq!(daemon.get("/healthz").status, 200);
            slowest = slowest.max(began.elapsed());
            pause(Duration::from_millis(20));
        }
        slowest
    });
    let trace = std::fs::read_to_string(env.path("trace")).unwrap();
    assert!(READS.split(',').any(|call| trace.contains(&format!(" {call}("))), "nothing was read");
    assert!(slowest < DELAY / 2, "who needs no disk waited for it: {slowest:?}");
    let_go(strace);
    assert_eq!(daemon.get("/dns/none.example").status, 200);
    assert_eq!(daemon.stop().status.code(), Some(0));
}
