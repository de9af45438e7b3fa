//! Whether an exact lookup may ask the engine within the event loop, and what keeps that from holding up anybody.
//!
//! What lies in no cache of ours is in that of the engine or of the system most of the time, and neither says so. Another
//! thread costs more than such a read, so while reads are quick a lookup makes them where it is. Nobody waits for one that
//! is not:
//!
//! - a few lookups in a row must have been quick on another thread before the first is made within the loop, and one that
//!   is slow ends that;
//! - so many at once that a thread of the loop is always left; while one of them is not done after ten milliseconds, none
//!   is added;
//! - a thread of the loop that is held up may be the one that listens for everybody: [`Pace::watch`] wakes another then.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::base::threads;

/// Quick lookups in a row, on other threads, after which they are made within the loop.
const PROVEN: u32 = 8;
/// A lookup that takes no longer than this is quick.
const QUICK: Duration = Duration::from_millis(1);
/// One that takes longer than this is slow. Between the two it may only have waited for a processor.
const SLOW: Duration = Duration::from_millis(30);
/// One that is not done after so long is held up, milliseconds: longer than a thread waits for a processor where others have work too.
const HELD_UP_MS: u64 = 10;
/// How often it is looked whether one is held up.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long it goes on being looked after the last one.
const LOOK_ON_MS: u64 = 200;
/// How long the one who looks rests at most.
const REST: Duration = Duration::from_secs(60);

/// How quick lookups are that ask the engine.
pub struct Pace {
    began: Instant,
    /// Quick ones in a row.
    quick: AtomicU32,
    /// Those within the loop: when each began, milliseconds, from 1; 0 is none.
    within: OnceLock<Vec<AtomicU64>>,
    /// When the last of them began.
    last: AtomicU64,
    /// Whether the one who looks is at it.
    looks: AtomicBool,
    looker: OnceLock<Option<Thread>>,
}

/// A lookup within the loop.
pub struct Turn<'a> {
    pace: &'a Pace,
    slot: &'a AtomicU64,
    began: Instant,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.slot.store(0, Ordering::SeqCst);
        self.pace.took(self.began.elapsed());
    }
}

impl Pace {
    /// Before any lookup.
    pub fn new() -> Arc<Pace> {
        Arc::new(Pace {
            began: Instant::now(),
            quick: AtomicU32::new(0),
            within: OnceLock::new(),
            last: AtomicU64::new(0),
            looks: AtomicBool::new(false),
            looker: OnceLock::new(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A lookup that asked the engine took so long.
    pub fn took(&self, took: Duration) {
        if took > SLOW {
            self.quick.store(0, Ordering::Relaxed);
        } else if took <= QUICK && self.quick.load(Ordering::Relaxed) < PROVEN {
            self.quick.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A turn within the loop, which runs this; none where it is another thread's.
    pub fn turn(self: &Arc<Pace>) -> Option<Turn<'_>> {
        if self.quick.load(Ordering::Relaxed) < PROVEN {
            return None;
        }
        let within = self.within.get_or_init(|| {
            let threads = Handle::try_current().map_or(0, |handle| handle.metrics().num_workers());
            (1..threads).map(|_| AtomicU64::new(0)).collect()
        });
        let now = self.now();
        let is_held_up = |slot: &AtomicU64| is_older(slot.load(Ordering::SeqCst), now);
        if within.is_empty() || within.iter().any(is_held_up) || !self.is_watched(now) {
            return None;
        }
        let free =
            |slot: &&AtomicU64| slot.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        within.iter().find(free).map(|slot| Turn { pace: self, slot, began: Instant::now() })
    }

    /// Sees to it that somebody looks; `false` where that cannot be.
    fn is_watched(self: &Arc<Pace>, now: u64) -> bool {
        self.last.store(now, Ordering::SeqCst);
        let looker = self.looker.get_or_init(|| {
            let (pace, handle) = (Arc::downgrade(self), Handle::try_current().ok()?);
            let looker = threads::spawn("loop-watch", move || watch(&pace, &handle)).ok()?;
            Some(looker.thread().clone())
        });
        match looker {
            Some(looker) => {
                if !self.looks.swap(true, Ordering::SeqCst) {
                    looker.unpark();
                }
                true
            }
            None => false,
        }
    }

    /// Whether a lookup within the loop is held up.
    fn is_held_up(&self) -> bool {
        let now = self.now();
        self.within
            .get()
            .is_some_and(|within| within.iter().any(|slot| is_older(slot.load(Ordering::SeqCst), now)))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if let Some(Some(looker)) = self.looker.get() {
            looker.unpark();
        }
    }
}

fn is_older(began: u64, now: u64) -> bool {
    began != 0 && now.saturating_sub(began) > HELD_UP_MS
}

/// Looks whether a thread of the loop is held up, and gives the others something to do then: whoever takes it listens for
/// everybody afterwards, and takes what the one that is held up was to do next.
fn watch(pace: &Weak<Pace>, handle: &Handle) {
    loop {
        let Some(pace) = pace.upgrade() else { return };
        if pace.is_held_up() {
            drop(handle.spawn(async {}));
        } else if pace.now().saturating_sub(pace.last.load(Ordering::SeqCst)) > LOOK_ON_MS {
            pace.looks.store(false, Ordering::SeqCst);
            // One may have begun before it saw that nobody looks any more.
            if pace.now().saturating_sub(pace.last.load(Ordering::SeqCst)) > LOOK_ON_MS {
                drop(pace);
                std::thread::park_timeout(REST);
                continue;
            }
            pace.looks.store(true, Ordering::SeqCst);
        }
        drop(pace);
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_loop(threads: usize, test: impl FnOnce(&Arc<Pace>)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build().unwrap();
        let _inside = runtime.enter();
        test(&Pace::new());
    }

    fn prove(pace: &Pace) {
        (0..PROVEN).for_each(|_| pace.took(QUICK));
    }

    #[test]
    fn only_quick_ones_are_made_within_the_loop_and_a_slow_one_ends_that() {
        on_a_loop(3, |pace| {
            assert!(pace.turn().is_none(), "nothing is known yet");
            prove(pace);
            drop(pace.turn().unwrap());
            pace.took(SLOW + QUICK);
            assert!(pace.turn().is_none());
            prove(pace);
            assert!(pace.turn().is_some());
        });
    }

    #[test]
    fn a_thread_of_the_loop_is_always_left() {
        for (threads, most) in [(1, 0), (2, 1), (3, 2)] {
            on_a_loop(threads, |pace| {
                prove(pace);
                let turns: Vec<_> = std::iter::from_fn(|| pace.turn()).take(10).collect();
                assert_eq!(turns.len(), most, "{threads}");
            });
        }
    }

    #[test]
    fn while_one_is_held_up_none_is_added() {
        on_a_loop(4, |pace| {
            prove(pace);
            let held = pace.turn().unwrap();
            held.slot.store(1, Ordering::SeqCst);
            let until = pace.now() + 2 * HELD_UP_MS;
            while pace.now() < until {
                std::thread::yield_now();
            }
            assert!(pace.is_held_up() && pace.turn().is_none());
            drop(held);
            prove(pace);
            assert!(pace.turn().is_some());
        });
    }
}
