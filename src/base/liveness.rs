//! Whether a thread still gets on: it says so at each step, and how long the next one may take.
//!
//! Who watches over the process is told that it lives only as long as all of them do (see [`crate::daemon`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one thread says of itself.
#[derive(Debug)]
pub struct Liveness {
    name: String,
    began: Instant,
    /// Until when the present step may take, milliseconds since it began; 0 when it has ended in order.
    until: AtomicU64,
}

impl Liveness {
    /// Of a thread that is about to start; its first step may take so long.
    pub fn new(name: impl Into<String>, first: Duration) -> Liveness {
        let liveness = Liveness { name: name.into(), began: Instant::now(), until: AtomicU64::new(0) };
        liveness.steps(first);
        liveness
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// It gets on, and its next step may take so long.
    pub fn steps(&self, at_most: Duration) {
        let at_most = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        self.until.store(self.now().saturating_add(at_most).max(1), Ordering::Relaxed);
    }

    /// Notes that the thread has ended in order.
    pub fn ends(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// What it is called, if it is at one step for longer than that may take.
    pub fn is_stuck(&self) -> Option<&str> {
        let until = self.until.load(Ordering::Relaxed);
        (until != 0 && self.now() > until).then_some(self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_stuck_when_a_step_takes_longer_than_it_may() {
        let thread = Liveness::new("follow", Duration::from_secs(3600));
        assert_eq!(thread.is_stuck(), None);
        thread.until.store(1, Ordering::Relaxed);
        crate::base::shutdown::Stop::new().wait(Duration::from_millis(5));
        assert_eq!(thread.is_stuck(), Some("follow"));
        thread.steps(Duration::from_secs(3600));
        assert_eq!(thread.is_stuck(), None);
        thread.until.store(1, Ordering::Relaxed);
        thread.ends();
        assert_eq!(thread.is_stuck(), None);
        thread.steps(Duration::MAX);
        assert_eq!(thread.is_stuck(), None);
    }
}
