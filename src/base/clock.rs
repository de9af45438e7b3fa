//! The wall clock, read here alone: what reads and keeps logs knows only the times of their records.
//!
//! A wall clock is sometimes wrong: a machine without a battery starts in 1970, a mistyped date or a bad time server sets
//! it years ahead for a moment. So nothing that cannot be taken back follows from one reading of it:
//!
//! - What *drops* something counts from the newest record that is not in the future, and never from a later instant than the
//!   clock ([`Clock::now`]).
//! - What *refuses* a record as one of the future holds the clock to be as late as anything that speaks for it
//!   ([`Clock::latest`]): the clock itself, the time that has passed since the start, and what the ledger was told before.
//!   A clock before the year 2025 was never set; it says nothing of the future, and then [`UNSET_AHEAD`] is the bound.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// This program did not exist before, 2025-01-01: a clock that is earlier was never set.
const FIRST: u64 = 1_735_689_600;
/// How far behind [`FIRST`] records may lie where the clock was never set, seconds: ten years.
pub const UNSET_AHEAD: u64 = 10 * 366 * 86_400;
/// A clock that is so far behind what is known is worth a word, seconds.
const BEHIND: u64 = 86_400;

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
    millis(since_epoch())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A wall clock, and what is known beside it.
#[derive(Clone)]
pub struct Clock {
    face: Face,
    /// What it showed at the start.
    started_ms: u64,
    /// It was as late as that once, by what a ledger holds, epoch seconds.
    witness: Arc<AtomicU64>,
}

/// Where the time comes from.
#[derive(Clone)]
enum Face {
    /// The system, and when this clock was made.
    System(Instant),
    /// A test: the wall clock, and the milliseconds since the start.
    #[cfg(test)]
    Set(Arc<AtomicU64>, Arc<AtomicU64>),
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { face: Face::System(Instant::now()), started_ms: now_ms(), witness: Arc::default() }
    }
}

impl Clock {
    /// What the wall clock shows, epoch milliseconds.
    pub fn now_ms(&self) -> u64 {
        match &self.face {
            Face::System(_) => now_ms(),
            #[cfg(test)]
            Face::Set(wall_ms, _) => wall_ms.load(Ordering::SeqCst),
        }
    }

    /// What the wall clock shows, epoch seconds.
    pub fn now(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// Milliseconds since this clock was made, which no setting of the wall clock changes.
    fn elapsed_ms(&self) -> u64 {
        match &self.face {
            Face::System(start) => millis(start.elapsed()),
            #[cfg(test)]
            Face::Set(_, elapsed_ms) => elapsed_ms.load(Ordering::SeqCst),
        }
    }

    /// Takes down that the clock was right and showed this, epoch seconds.
    pub fn witness(&self, seconds: u64) {
        self.witness.fetch_max(seconds, Ordering::Relaxed);
    }

    /// As late as it may be, by everything that speaks for it, epoch seconds.
    pub fn latest(&self) -> u64 {
        let passed = self.started_ms.saturating_add(self.elapsed_ms()) / 1000;
        self.now().max(passed).max(self.witness.load(Ordering::Relaxed))
    }

    /// The time after which a record is one of the future, epoch seconds: so many seconds ahead of the clock.
    pub fn horizon(&self, ahead: u64) -> u64 {
        match self.latest() {
            latest if latest < FIRST => FIRST.saturating_add(UNSET_AHEAD),
            latest => latest.saturating_add(ahead),
        }
    }

    /// The latest time that the newest record can have, epoch seconds: one of the future is as new as now.
    pub fn newest(&self) -> u64 {
        self.now().max(FIRST)
    }

    /// What is wrong with the clock, as far as can be known.
    pub fn fault(&self) -> Option<String> {
        let (now, latest) = (self.now(), self.latest());
        if now < FIRST {
            return Some("the clock of this machine is before 2025, so it was never set".to_owned());
        }
        let behind = latest.saturating_sub(now);
        (behind > BEHIND).then(|| {
            let days = behind / 86_400;
            format!("the clock of this machine is {days} days behind what it was before: it was set back, or it was ahead")
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// A clock is no part of what a configuration says.
impl PartialEq for Clock {
    fn eq(&self, _: &Clock) -> bool {
        true
    }
}

/// Sets the clock of a test.
#[cfg(test)]
#[derive(Clone)]
pub struct Hand {
    wall_ms: Arc<AtomicU64>,
    elapsed_ms: Arc<AtomicU64>,
}

#[cfg(test)]
impl Hand {
    /// A clock that stands still at this time, epoch seconds, and what sets it.
    pub fn at(seconds: u64) -> (Clock, Hand) {
        let hand = Hand { wall_ms: Arc::new(AtomicU64::new(seconds * 1000)), elapsed_ms: Arc::default() };
        let face = Face::Set(Arc::clone(&hand.wall_ms), Arc::clone(&hand.elapsed_ms));
        (Clock { face, started_ms: seconds * 1000, witness: Arc::default() }, hand)
    }

    /// Sets the wall clock, epoch seconds. No time passes by that.
    pub fn set(&self, seconds: u64) {
        self.wall_ms.store(seconds * 1000, Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: u64) {
        self.wall_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
        self.elapsed_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const NOW: u64 = 1_795_000_000;

    #[test]
    fn a_clock_that_is_set_back_is_not_believed_alone() {
        let (clock, hand) = Hand::at(NOW);
        assert_eq!((clock.now(), clock.horizon(DAY), clock.fault()), (NOW, NOW + DAY, None));
        for back in [10 * DAY, 25 * 365 * DAY] {
            hand.set(NOW - back);
            hand.pass(100);
            hand.set(NOW - back + 100);
            assert!(clock.latest() >= NOW + 100 && clock.horizon(DAY) >= NOW + 100 + DAY);
            assert!(clock.fault().is_some());
        }
        hand.set(NOW + 200);
        assert_eq!((clock.horizon(DAY), clock.fault()), (NOW + 200 + DAY, None));
        // The clock of the next start is behind from the beginning; the ledger knows better.
        let (clock, _hand) = Hand::at(NOW - 10 * DAY);
        clock.witness(NOW);
        assert_eq!(clock.horizon(DAY), NOW + DAY);
        assert!(clock.fault().unwrap().contains("10 days behind"));
    }

    #[test]
    fn a_clock_that_is_ahead_is_believed_for_as_long_as_it_is() {
        let (clock, hand) = Hand::at(NOW);
        hand.set(NOW + 400 * DAY);
        assert_eq!(clock.horizon(DAY), NOW + 401 * DAY);
        hand.set(NOW);
        assert_eq!((clock.horizon(DAY), clock.fault()), (NOW + DAY, None));
    }

    #[test]
    fn a_clock_that_was_never_set_refuses_no_record_of_today() {
        let (clock, hand) = Hand::at(3);
        assert!(clock.horizon(DAY) > NOW && clock.horizon(DAY) < FIRST + 11 * 366 * DAY);
        assert!(clock.fault().unwrap().contains("never set"));
        hand.set(NOW);
        assert_eq!((clock.horizon(DAY), clock.fault()), (NOW + DAY, None));
    }

    #[test]
    fn the_system_has_a_clock() {
        let clock = Clock::default();
        assert!(clock.now().abs_diff(now()) < 60 && clock.now_ms() > 1000);
        assert!(clock.latest() >= now() - 60);
    }
}
