//! Dying at a chosen place, for tests of recovery.
//!
//! `DNSLEDGER_FAULT=NAME:N` in the environment ends the process without a word, as `kill -9` does, when it passes the
//! point NAME for the Nth time; `NAME:N:panic` lets the thread that passes it panic, `NAME:N:hang` lets it wait for ever.
//! Several are separated by commas. The points lie between the steps of a commit; they are listed in [`POINTS`], those of the
//! engine in [`ENGINE_POINTS`], those of a snapshot in [`SNAPSHOT_POINTS`], those of a migration in [`MIGRATION_POINTS`], those
//! of taking over in [`TAKE_OVER_POINTS`], those of a daemon's other work in [`UPKEEP_POINTS`]. The variable is read once, and
//! only by what was built with the feature `test-hooks`: for packages there are no faults.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The environment variable that asks for faults.
pub const VARIABLE: &str = "DNSLEDGER_FAULT";

/// The points, in the order in which a commit passes them.
pub const POINTS: &[&str] = &[
    "live_read",      // bytes of a live log are read, and nothing of them is staged
    "live_closed",    // a commit has taken what is staged, and nothing is written
    "apply_begun",    // the store has begun a commit or a batch, and nothing is written
    "run_written",    // a large batch or a fold is a run that no manifest names yet
    "undo_written",   // what takes the batch back is written, and nothing of the batch
    "commit_written", // all that makes a batch count is in the engine, and not synced
    "commit_synced",  // it is synced, and readers do not see it yet
    "live_applied",   // what was staged is committed, and its logs are still claimed
    "bulk_applied",   // the store has applied a batch of archives, and nobody knows
    "hints_due",      // archives are applied, and not in the scan cache
    "archives_done",  // they are in the scan cache
];

/// The points of the engine. All but the first may be passed more than once for each commit.
pub const ENGINE_POINTS: &[&str] = &[
    "engine_write",  // a call that writes is in the engine
    "engine_thread", // the same, with a thread as one of the engine's own that passes it in its place
    "engine_closes", // an engine that has failed is about to be closed
    "engine_opens",  // it is closed, and about to be opened again
];

/// The points of a snapshot, in its order; the first is the daemon's.
pub const SNAPSHOT_POINTS: &[&str] = &[
    "piece_sent",      // a piece is read, and not handed out
    "snapshot_piece",  // a piece is there, and not written
    "snapshot_synced", // all of it is written, and the copy is no ledger yet
    "snapshot_kept",   // it is a ledger, and has not its name
];

/// The points of a migration to a newer format, in its order.
pub const MIGRATION_POINTS: &[&str] = &[
    "run_migrated",    // a run is copied, and noted
    "ledger_migrated", // all of it is copied, and the older one is current
    "older_named",     // what is current stays to be found, and is current still
];

/// The points where a ledger takes over from another, or from none.
pub const TAKE_OVER_POINTS: &[&str] = &[
    "ledger_synced", // all of it is on stable storage, and it is not named
    "ledger_named",  // it is, and the one before is there still
];

/// The points of the work that a daemon does beside reading and committing.
pub const UPKEEP_POINTS: &[&str] = &[
    "bounds_due", // it is about to be looked whether the ledger is within its bounds
];

/// The exit code of a process that could not go on, and heals when it is started again (`EX_TEMPFAIL`).
pub const START_AGAIN: i32 = 75;

/// Ends the process at once, with that code. Who calls it has said why.
pub fn end_to_start_again() -> ! {
    std::process::exit(START_AGAIN)
}

/// What becomes of a thread that passes a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The process ends.
    Abort,
    Panic,
    /// It waits for ever.
    Hang,
}

struct Fault {
    point: String,
    left: AtomicU64,
    action: Action,
}

/// Takes a fault from its text.
fn parse(text: &str) -> Option<Fault> {
    let mut parts = text.split(':');
    let (point, times) = (parts.next()?, parts.next()?);
    let action = match parts.next() {
        None => Action::Abort,
        Some("panic") => Action::Panic,
        Some("hang") => Action::Hang,
        Some(_) => return None,
    };
    let left = AtomicU64::new(times.parse().ok().filter(|times| *times > 0)?);
    Some(Fault { point: point.to_owned(), left, action })
}

fn faults() -> &'static [Fault] {
    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
    let read = || {
        let text =
            cfg!(feature = "test-hooks").then(|| std::env::var(VARIABLE).ok()).flatten().unwrap_or_default();
        text.split(',').filter_map(parse).collect()
    };
    FAULTS.get_or_init(read)
}

/// What is to become of the thread that passes a point.
fn at(name: &str) -> Option<Action> {
    let fault = faults().iter().find(|fault| fault.point == name)?;
    (fault.left.fetch_sub(1, Ordering::Relaxed) == 1).then_some(fault.action)
}

fn meet(action: Action) {
    match action {
        Action::Abort => std::process::abort(),
        Action::Panic => std::panic::panic_any("the fault that was asked for"),
        Action::Hang => loop {
            std::thread::park();
        },
    }
}

/// Passes a point: does there what the variable asks for.
#[inline]
pub fn point(name: &str) {
    // In unit tests other threads go first: what lies between two steps is met.
    #[cfg(test)]
    std::thread::yield_now();
    if !faults().is_empty()
        && let Some(action) = at(name)
    {
        meet(action);
    }
}

/// Passes a point in another thread, of this name, while this one goes on: what becomes of a thread that is not ours.
pub fn point_in_thread(name: &str, thread: &str) {
    if !faults().is_empty()
        && let Some(action) = at(name)
    {
        let work = move || meet(action);
        // Without a thread there is no fault, and the test that asked for it says so.
        drop(std::thread::Builder::new().name(thread.to_owned()).spawn(work));
    }
}

/// How long is waited for what may hang: as given, or less where a test lets something hang.
pub fn patience(limit: Duration) -> Duration {
    let hangs = faults().iter().any(|fault| fault.action == Action::Hang);
    if hangs { limit / 8 } else { limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_asked_for_by_a_point_a_number_and_what_is_to_happen() {
        let parsed =
            |text: &str| parse(text).map(|fault| (fault.point, fault.left.into_inner(), fault.action));
        assert_eq!(parsed("live_read:3"), Some(("live_read".to_owned(), 3, Action::Abort)));
        assert_eq!(parsed("live_read:1:panic"), Some(("live_read".to_owned(), 1, Action::Panic)));
        assert_eq!(parsed("live_read:2:hang"), Some(("live_read".to_owned(), 2, Action::Hang)));
        for none in ["", "live_read", "live_read:0", "live_read:x", "live_read:1:else"] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }
}
