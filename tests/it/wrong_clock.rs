//! The real daemon under a wall clock that is wrong, and is set while it runs. A small library that is loaded before the
//! others moves the clock; where there is no compiler for it, this says `SKIPPED`.

use std::fs;
use std::process::Command;

use crate::env::{TestEnv, skipped, until};

/// Moves the wall clock by the seconds in a file.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static int (*real)(clockid_t, struct timespec *);
int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *path = getenv("CLOCK_FILE");
    if (clock == CLOCK_REALTIME && path) {
        FILE *file = fopen(path, "r");
        long long by = 0;
        if (file) { if (fscanf(file, "%lld", &by) != 1) by = 0; fclose(file); }
        time->tv_sec += by;
    }
    return result;
}
"#;

/// Builds it; `None` where that cannot be done.
pub fn shim(env: &TestEnv) -> Option<String> {
    let (source, library) = (env.path("shim.c"), env.path("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let built = cc.output().is_ok_and(|output| output.status.success());
    if !built {
        skipped("there is no C compiler to move the clock with");
    }
    built.then(|| library.to_str().unwrap().to_owned())
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn record(i: u64, time: u64) -> String {
    format!(
        "{{\"ts\":{time}.{i:06},\"uid\":\"C{i}\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"k{i}.example\",\
         \"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}}\n"
    )
}

#[test]
fn a_clock_that_is_years_ahead_for_a_moment_drops_nothing_and_hides_nothing() {
    let env = TestEnv::new();
    let Some(shim) = shim(&env) else { return };
    let log = env.path("logs/dns.log");
    fs::create_dir(env.path("logs")).unwrap();
    let start = now();
    fs::write(&log, (0..100).map(|i| record(i, start - i * 86_400)).collect::<String>()).unwrap();
    let config = "data_dir = \"ledger\"\n[http]\nlisten = \"127.0.0.1:0\"\n[store]\nretention = \"400d\"\n\
                  [[source]]\nlogs = \"logs\"\nbackfill = \"30d\"\n";
    fs::write(env.path("dnsledger.toml"), config).unwrap();
    let offset = env.path("offset");
    for by in ["100000000", "-864000", "-788400000", "34560000"] {
        fs::write(&offset, by).unwrap();
        let mut command = env.command(&["run", "--config", "dnsledger.toml"]);
        command.env("LD_PRELOAD", &shim).env("CLOCK_FILE", &offset);
        let daemon = env.listening("ledger", env.background(&mut command));
        let lines = || fs::read_to_string(&log).unwrap().lines().count() as u64;
        daemon.wait_for_lines(lines());
        // The clock is right again, while the daemon runs.
        fs::write(&offset, "0").unwrap();
        let more = lines();
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, record(more, now()).as_bytes()).unwrap();
        daemon.wait_for_lines(more + 1);
        let status = daemon.json("/api/v1/status");
        assert_eq!(status["totals"]["counted"], more + 1, "{by}: {}", status["totals"]);
        let as_of = until("it is true as of now", || {
            let as_of = daemon.json("/api/v1/status")["as_of"].as_str()?.to_owned();
            (as_of.as_str() <= dnsledger::base::time::format_rfc3339(now() + 2).as_str()).then_some(as_of)
        });
        assert!(as_of > dnsledger::base::time::format_rfc3339(start - 5), "{by}: {as_of}");
        let newest = daemon.json("/api/v1/status")["newest"].as_u64().unwrap();
        assert!(newest <= now() && newest + 60 >= start, "{by}: {newest}");
        assert!(daemon.stop().status.success());
        assert_eq!(env.export("ledger").lines().count() as u64, more + 1, "{by}");
    }
}
