//! A bell: threads that wait for something to change hear it, also when it rang just before they listened.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<u64>,
    heard: Condvar,
}

impl Bell {
    /// How often it rang: what [`Bell::wait`] is given, taken before one looks whether there is reason to wait.
    pub fn count(&self) -> u64 {
        *self.rung.lock()
    }

    /// Wakes all who wait.
    pub fn ring(&self) {
        *self.rung.lock() += 1;
        self.heard.notify_all();
    }

    /// Waits until it has rung more often than this, or for so long.
    pub fn wait(&self, count: u64, at_most: Option<Duration>) {
        let until = at_most.map(|wait| Instant::now() + wait);
        let mut rung = self.rung.lock();
        while *rung == count {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return,
                Some(left) => drop(self.heard.wait_for(&mut rung, left)),
                None => self.heard.wait(&mut rung),
            }
        }
    }
}
