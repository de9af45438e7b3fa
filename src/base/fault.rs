//! Dying at a chosen place, for tests of recovery.
//!
//! `DNSLEDGER_FAULT=NAME:N` in the environment ends the process without a word, as `kill -9` does, when it passes the
//! point NAME for the Nth time; `NAME:N:panic` lets the thread that passes it panic. The points lie between the steps of a
//! commit; they are listed in [`POINTS`], those of a snapshot in [`SNAPSHOT_POINTS`], those of a migration in
//! [`MIGRATION_POINTS`], those of taking over in [`TAKE_OVER_POINTS`]. The variable is read once. Without it a
//! point costs one load of an atomic that never changes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable.
pub const VARIABLE: &str = "DNSLEDGER_FAULT";

/// The points, in the order in which a commit passes them.
pub const POINTS: &[&str] = &[
    "live_read",      // bytes of a live log are read, and nothing of them is in the open batch
    "live_closed",    // the open batch is closed, and nothing of it applied
    "apply_begun",    // the store has taken the batch, and nothing is written
    "run_written",    // a large batch or a fold is a run that no manifest names yet
    "undo_written",   // what takes the batch back is written, and nothing of the batch
    "commit_written", // all that makes a batch count is in the engine, and not synced
    "commit_synced",  // it is synced, and readers do not see it yet
    "live_applied",   // the store has applied the batch, and the ledger still holds it
    "bulk_applied",   // the store has applied a batch of archives, and nobody knows
    "hints_due",      // archives are applied, and not in the scan cache
    "archives_done",  // they are in the scan cache
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

/// The exit code of a process that could not go on, and heals when it is started again (`EX_TEMPFAIL`).
pub const START_AGAIN: i32 = 75;

/// Ends the process at once, with that code. Who calls it has said why.
pub fn end_to_start_again() -> ! {
    std::process::exit(START_AGAIN)
}

struct Fault {
    point: String,
    left: AtomicU64,
    panics: bool,
}

fn fault() -> Option<&'static Fault> {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let read = || {
        let text = std::env::var(VARIABLE).ok()?;
        let (point, times) = text.split_once(':')?;
        let (times, panics) = times.strip_suffix(":panic").map_or((times, false), |times| (times, true));
        let left = AtomicU64::new(times.parse().ok().filter(|times| *times > 0)?);
        Some(Fault { point: point.to_owned(), left, panics })
    };
    FAULT.get_or_init(read).as_ref()
}

/// Passes a point.
#[inline]
pub fn point(name: &str) {
    // In unit tests other threads go first: what lies between two steps is met.
    #[cfg(test)]
    std::thread::yield_now();
    if let Some(fault) = fault()
        && fault.point == name
        && fault.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        if fault.panics {
            std::panic::panic_any("the fault that was asked for");
        }
        std::process::abort();
    }
}
