//! That no thread dies unseen: a panic ends the process with a word, and what it was at is done at the next start.

use std::time::{Duration, SystemTime};

use dnsledger::base::fault;
use dnsledger::base::threads::PANICKED;

use crate::env::{TestEnv, post_control, until};
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

#[test]
fn a_panic_of_the_thread_that_keeps_the_bounds_ends_the_process_and_loses_nothing() {
    panics_at("bounds_due");
}

//--- the engine, and a stop that hangs -----------------------------------------------------------------------------

/// A daemon over a growing log with these faults, until it has ended by itself; what is there then heals at the next start.
fn ends_and_heals(faults: &str, code: i32, says: &str) {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("logs")).unwrap();
    write(&env.path("logs/dns.log"), 0..20);
    let mut daemon = env.spawn_with("logs", "ledger", &[(fault::VARIABLE, faults)]);
    let mut written = 20;
    until("it ends", || {
        write(&env.path("logs/dns.log"), written..written + 1);
        written += 1;
        daemon.has_ended().then_some(())
    });
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(code), "{faults}: {}", ended.stderr);
    assert!(ended.stderr.contains(says), "{faults}: {}", ended.stderr);
    is_healed(&env, faults);
}

/// The next daemon reads what is missing, stops in order, and the ledger is that of an import.
fn is_healed(env: &TestEnv, what: &str) {
    let daemon = env.daemon("logs", "ledger");
    daemon.catch_up();
    assert_eq!(daemon.stop().status.code(), Some(0), "{what}");
    env.ok(&["verify", "--data", "ledger"]);
    env.ok(&["import", "--data", "clean", "logs"]);
    assert!(env.export("ledger") == env.export("clean"), "{what}");
    assert_eq!(env.status("ledger")["totals"], env.status("clean")["totals"], "{what}");
}

#[test]
fn a_panic_in_a_thread_of_the_engine_ends_the_process_and_heals() {
    ends_and_heals("engine_thread:12:panic", PANICKED, "A thread of the ledger's engine has panicked");
}

#[test]
fn an_engine_that_cannot_be_closed_or_opened_after_a_failure_ends_the_process_and_heals() {
    for (faults, says) in [
        ("engine_write:12:panic,engine_closes:1:hang", "could not be closed after a failed write"),
        ("engine_write:12:panic,engine_opens:1:hang", "could not be opened after a failed write"),
    ] {
        ends_and_heals(faults, fault::START_AGAIN, says);
    }
}

#[test]
fn a_panic_in_a_call_of_the_engine_costs_an_opening_and_nothing_else() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("logs")).unwrap();
    write(&env.path("logs/dns.log"), 0..20);
    let faults = [(fault::VARIABLE, "engine_write:12:panic")];
    let mut daemon = env.listening("ledger", env.spawn_with("logs", "ledger", &faults));
    for written in 20..60 {
        write(&env.path("logs/dns.log"), written..written + 1);
        daemon.wait_for_lines(2 * written + 2);
        // The one in which it panics is refused, and tried again.
        until("it is written", || (post_control(&env.path("ledger"), "/control/flush") == 200).then_some(()));
    }
    daemon.assert_runs();
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("the fault that was asked for"), "{}", ended.stderr);
    is_healed(&env, "a panic in a call");
}

#[test]
fn a_stop_in_which_something_hangs_ends_in_time_and_heals() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("logs")).unwrap();
    write(&env.path("logs/dns.log"), 0..20);
    // The thread that commits is at its work for ever; lookups go on.
    let faults = [(fault::VARIABLE, "live_closed:1:hang")];
    let daemon = env.listening("ledger", env.spawn_with("logs", "ledger", &faults));
    write(&env.path("logs/dns.log"), 20..40);
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.signal("TERM");
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(fault::START_AGAIN), "{}", ended.stderr);
    assert!(ended.stderr.contains("Stopping took too long"), "{}", ended.stderr);
    is_healed(&env, "a stop that hangs");
}

#[test]
fn a_daemon_that_is_stopped_while_it_counts_names_has_closed_the_ledger_in_order() {
    let env = TestEnv::new();
    write(&env.path("dns.log"), 0..40_000);
    env.ok(&["import", "--data", "ledger", "dns.log"]);
    std::fs::create_dir(env.path("logs")).unwrap();
    let daemon = env.daemon("logs", "ledger");
    // It begins to count at its start.
    assert!(daemon.stop().status.success());
    let lock = std::fs::metadata(env.path("ledger/lock")).unwrap();
    assert_eq!(lock.len(), 0, "the next start takes it for killed, and verifies all");
}
