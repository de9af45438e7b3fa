//! The wall clock, read here alone: what reads and keeps logs knows only the times of their records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn since_epoch() -> Duration {
    // A clock before 1970 is one that was never set.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Epoch seconds.
pub fn now() -> u64 {
    since_epoch().as_secs()
}

/// Epoch milliseconds.
pub fn now_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}
