//! A one-way stop signal that threads wait on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Says once, to everyone who holds a clone, that it is time to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Stop {
    /// A signal not yet given.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Gives the signal; giving it again changes nothing.
    pub fn stop(&self) {
        let (stopped, changed) = &*self.shared;
        *stopped.lock() = true;
        changed.notify_all();
    }

    /// Whether the stop was given.
    pub fn is_stopped(&self) -> bool {
        *self.shared.0.lock()
    }

    /// Waits for the signal, at most so long; says whether it was given.
    pub fn wait(&self, at_most: Duration) -> bool {
        let (stopped, changed) = &*self.shared;
        let mut stopped = stopped.lock();
        changed.wait_while_for(&mut stopped, |stopped| !*stopped, at_most);
        *stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reaches_every_clone_and_stays() {
        let stop = Stop::new();
        let other = stop.clone();
        assert!(!other.wait(Duration::ZERO));
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        stop.stop();
        assert!(waiter.join().unwrap());
        assert!(stop.is_stopped() && stop.wait(Duration::from_secs(60)));
    }
}
