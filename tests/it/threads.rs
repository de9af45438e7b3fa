//! That no thread dies unseen: a panic ends the process with a word, and what it was at is done at the next start.

use std::time::{Duration, SystemTime};

use dnsledger::base::fault;
use dnsledger::base::threads::PANICKED;

use crate::env::{TestEnv, until};
use crate::full_disk::write;

/// A daemon with a live log and an archive, in which the thread that passes a point panics; then one without.
fn panics_at(point: &str) {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("logs")).unwrap();
    let archive = env.path("logs/dns.1.log");
    write(&archive, 0..50);
    // Another log than the live one: its records have other identities.
    let text = std::fs::read_to_string(&archive).unwrap().replace("\tC", "\tX");
    std::fs::write(&archive, text).unwrap();
    // One that was written to a moment ago is followed instead.
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    std::fs::File::options().append(true).open(&archive).unwrap().set_modified(hour_ago).unwrap();
    write(&env.path("logs/dns.log"), 0..1);
    let mut daemon = env.spawn_with("logs", "ledger", &[(fault::VARIABLE, &format!("{point}:1:panic"))]);
    let mut written = 1;
    until("it ends", || {
        write(&env.path("logs/dns.log"), written..written + 1);
        written += 1;
        daemon.has_ended().then_some(())
    });
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(PANICKED), "{point}: {}", ended.stderr);
    assert!(ended.stderr.contains("A thread panicked"), "{point}: {}", ended.stderr);
    let daemon = env.daemon("logs", "ledger");
    daemon.catch_up();
    assert!(daemon.stop().status.success());
    env.ok(&["import", "--data", "clean", "logs"]);
    assert!(env.export("ledger") == env.export("clean"), "{point}");
    assert_eq!(env.status("ledger")["totals"], env.status("clean")["totals"], "{point}");
}

#[test]
fn a_panic_of_the_thread_that_commits_ends_the_process_and_loses_nothing() {
    panics_at("live_closed");
}

#[test]
fn a_panic_of_a_thread_that_reads_archives_ends_the_process_and_loses_nothing() {
    panics_at("bulk_applied");
}

#[test]
fn a_panic_of_a_follower_ends_the_process_and_loses_nothing() {
    panics_at("live_read");
}
