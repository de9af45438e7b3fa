//! Wakes threads that wait for something to change, also when it changed just before they began to wait.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Counts what has changed.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    notified: Mutex<u64>,
    changed: Condvar,
}

impl Notifier {
    /// How often it was notified: what [`Notifier::wait`] is given, taken before one looks whether there is reason to wait.
    pub fn count(&self) -> u64 {
        *self.notified.lock()
    }

    /// Wakes all who wait.
    pub fn notify(&self) {
        *self.notified.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until it was notified more often than this, or for so long.
    pub fn wait(&self, count: u64, at_most: Option<Duration>) {
        let until = at_most.map(|wait| Instant::now() + wait);
        let mut notified = self.notified.lock();
        while *notified == count {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return,
                Some(left) => drop(self.changed.wait_for(&mut notified, left)),
                None => self.changed.wait(&mut notified),
            }
        }
    }
}
