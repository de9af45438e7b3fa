//! Places that another one has taken over from, while readers still hold them.
//!
//! A reader sees one moment, and so may hold the whole place where that moment is, long after another has taken over. Each
//! costs as much disk as a ledger. So a rewrite waits while one is held, and a reader that holds one for long is ended
//! where a rewrite waits for it, and soon where that makes the ledger too large: the place is closed and removed, and the next read
//! fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::view::ReadView;
use super::{CLEAR_PAUSE, Shared, is_free};
use crate::store::StoreError;
use crate::store::engine_handle::EngineHandle;
use crate::store::space::in_file;

/// How long a reader may hold one where the ledger is too large for it: several times what a lookup takes.
const SHORTLY: Duration = Duration::from_millis(100);
/// How long a rewrite waits for readers that were told to end.
const PATIENCE: Duration = Duration::from_secs(45);

/// A place that is no longer current.
pub(super) struct Replaced {
    pub handle: Arc<EngineHandle>,
    since: Instant,
}

impl Replaced {
    pub fn new(handle: Arc<EngineHandle>) -> Replaced {
        Replaced { handle, since: Instant::now() }
    }
}

impl Shared {
    /// Closes and removes those that no reader holds any more; whether there was such a one.
    pub(super) fn clear_away(&self) -> bool {
        let mut left = self.replaced.lock();
        let (free, held): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *left).into_iter().partition(|retired| is_free(&retired.handle));
        *left = held;
        drop(left);
        !free.is_empty()
    }

    /// Closes and removes all that nobody needs any more: places that no reader holds, and runs that others have replaced. Who calls it
    /// sees to it that nothing is merged meanwhile.
    pub(super) fn clear_all_away(&self) -> Result<(), StoreError> {
        self.clear_away();
        while self.handle().remove_a_run()? {}
        Ok(())
    }

    /// Bytes on disk of those that readers hold; the others are being removed.
    pub(super) fn replaced_bytes(&self) -> Result<u64, StoreError> {
        let left = self.replaced.lock();
        let held = left.iter().filter(|retired| !is_free(&retired.handle));
        let handles: Vec<_> = held.map(|retired| Arc::clone(&retired.handle)).collect();
        drop(left);
        // One that has just been ended takes none any more.
        handles.iter().filter(|handle| !handle.is_ended()).map(|handle| handle.disk_bytes()).sum()
    }

    /// Ends readers that hold one for longer than a moment, where the ledger is too large for it, or will be once so many bytes more are
    /// written: it may take two and a half times what is live.
    pub(super) fn end_long_readers(&self, view: &ReadView, coming: u64) {
        let grace = self.options.reader_grace.min(SHORTLY);
        let is_old = |retired: &Replaced| retired.since.elapsed() >= grace;
        if !self.replaced.lock().iter().any(is_old) {
            return;
        }
        let live = view.live_bytes();
        // What is free in the file is used first.
        let grown = |now: u64| now.max(in_file(live.saturating_add(coming)));
        let disk = self.handle().disk_bytes().and_then(|now| Ok(grown(now) + self.replaced_bytes()?));
        let disk = disk.unwrap_or(u64::MAX);
        // A small one has journal and log in its file, and little to give back.
        if disk > self.options.held_bytes && disk > live.saturating_mul(5) / 2 {
            self.end_readers(grace);
        }
    }

    /// Closes and removes what readers have held for so long.
    fn end_readers(&self, grace: Duration) {
        let old: Vec<_> = {
            let left = self.replaced.lock();
            let old = left.iter().filter(|retired| retired.since.elapsed() >= grace);
            old.map(|retired| Arc::clone(&retired.handle)).collect()
        };
        // Outside the lock: closing takes a while.
        let ended: Vec<_> = old.into_iter().filter(|handle| handle.end()).collect();
        self.replaced
            .lock()
            .retain(|retired| !ended.iter().any(|handle| Arc::ptr_eq(handle, &retired.handle)));
    }

    /// Waits until no reader holds one: there must never be many of them.
    ///
    /// # Errors
    ///
    /// When one still holds on; nothing has changed then.
    pub(super) fn wait_for_readers(&self) -> Result<(), StoreError> {
        let until = Instant::now() + self.options.reader_grace + PATIENCE;
        loop {
            self.clear_away();
            {
                let left = self.replaced.lock();
                if left.is_empty() {
                    return Ok(());
                }
            }
            self.end_readers(self.options.reader_grace);
            self.check_stop()?;
            if Instant::now() >= until {
                return Err(StoreError::Io {
                    what: "a reader still holds the ledger as it was before".to_owned(),
                    error: std::io::ErrorKind::ResourceBusy.into(),
                });
            }
            let seen = self.notifier.count();
            self.notifier.wait(seen, Some(CLEAR_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ledger;
    use super::*;
    use crate::store::tests::crash::{VolatileSite, batch, tiny};
    use crate::store::{Options, ReadStore, Scan, Snapshot, WriteStore};

    fn ledger(options: &Options) -> Ledger {
        let site = Arc::new(VolatileSite::new(usize::MAX, 1));
        let ledger = Ledger::open_site(site, true, options).unwrap();
        for number in 1..=8 {
            ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
        }
        ledger
    }

    fn read(snapshot: &dyn Snapshot) -> Result<usize, StoreError> {
        let rows: Result<Vec<_>, _> = snapshot.entries(&Scan::All, None)?.collect();
        rows.map(|rows| rows.len())
    }

    #[test]
    fn what_readers_hold_is_counted_and_a_rewrite_by_itself_is_put_off() {
        let ledger = ledger(&Options { reader_grace: Duration::from_secs(3600), rewrite_bytes: 0, ..tiny() });
        ledger.rewrite().unwrap();
        let before = ledger.stats().unwrap().disk_bytes;
        let held = ledger.now();
        ledger.rewrite().unwrap();
        let current = ledger.shared.handle().disk_bytes().unwrap();
        assert_eq!(ledger.shared.replaced_bytes().unwrap(), before);
        assert_eq!(ledger.stats().unwrap().disk_bytes, before + current);
        assert!(!ledger.shared.rewrite_is_due(&ledger.shared.view(), 0));
        let rows = read(&*held).unwrap();
        assert_eq!(rows, read(&*ledger.now()).unwrap());
    }

    #[test]
    fn a_ledger_is_written_anew_before_two_of_them_are_too_large() {
        let site = VolatileSite::new(usize::MAX, 1);
        let options = Options { rewrite_bytes: 0, fan_in: 1000, ..tiny() };
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
        for number in 1..=40 {
            ledger.apply(&batch(number, &ledger).unwrap()).unwrap();
        }
        ledger.settle().unwrap();
        let view = ledger.shared.view();
        let live = view.live_bytes();
        let is_due = |disk: u64, coming: u64| {
            site.say_bytes(disk);
            ledger.shared.rewrite_is_due(&view, coming)
        };
        let most = live * 13 / 10;
        assert!(!is_due(most, 0) && is_due(most + 1, 0));
        // A merge of a tenth of it makes the file as large, with what the engine adds.
        assert!(!is_due(live, live / 20) && is_due(live, live / 10));
    }

    #[test]
    fn a_rewrite_ends_a_reader_that_holds_an_earlier_one_for_long() {
        let ledger = ledger(&Options { reader_grace: Duration::ZERO, ..tiny() });
        ledger.rewrite().unwrap();
        let held = ledger.now();
        ledger.rewrite().unwrap();
        assert!(read(&*held).is_ok(), "nobody is in its way");
        let reader = std::thread::spawn(move || {
            // It reads again and again until it is ended, and lets go then.
            loop {
                match read(&*held) {
                    Ok(_) => std::thread::yield_now(),
                    Err(error) => return error,
                }
            }
        });
        ledger.rewrite().unwrap();
        assert!(matches!(reader.join().unwrap(), StoreError::Superseded));
        assert!(ledger.shared.replaced_bytes().unwrap() == 0 || ledger.shared.clear_away());
    }

    #[test]
    fn what_a_reader_holds_that_does_not_read_goes_where_the_ledger_is_too_large() {
        let ledger =
            ledger(&Options { reader_grace: Duration::ZERO, rewrite_bytes: 0, held_bytes: 0, ..tiny() });
        ledger.rewrite().unwrap();
        let held = ledger.now();
        ledger.rewrite().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        // Places of this engine say that they take nothing unless they are told to.
        while ledger.shared.replaced_bytes().unwrap() > 0 || !ledger.shared.replaced.lock().is_empty() {
            assert!(Instant::now() < until);
            ledger.shared.end_readers(Duration::ZERO);
        }
        assert!(matches!(read(&*held), Err(StoreError::Superseded)));
        assert!(read(&*ledger.now()).is_ok());
    }

    #[test]
    fn a_reader_that_holds_too_much_is_ended_also_while_runs_are_merged() {
        let site = VolatileSite::new(usize::MAX, 1);
        let options =
            Options { reader_grace: Duration::ZERO, rewrite_bytes: u64::MAX, held_bytes: 0, ..tiny() };
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, &options).unwrap();
        ledger.apply(&batch(1, &ledger).unwrap()).unwrap();
        ledger.rewrite().unwrap();
        let held = ledger.now();
        ledger.rewrite().unwrap();
        site.say_bytes(ledger.shared.view().live_bytes() * 2);
        let _merging = ledger.shared.merging.lock();
        ledger.shared.notifier.notify();
        let until = Instant::now() + Duration::from_secs(20);
        while read(&*held).is_ok() {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        assert!(matches!(read(&*held), Err(StoreError::Superseded)));
    }

    #[test]
    fn a_backup_comes_to_its_end_whatever_is_written_meanwhile() {
        let ledger =
            ledger(&Options { reader_grace: Duration::ZERO, rewrite_bytes: 0, held_bytes: 0, ..tiny() });
        ledger.rewrite().unwrap();
        let mut pieces = 0;
        ledger
            .copy(&mut |_| {
                if pieces == 0 {
                    ledger.rewrite().unwrap();
                    ledger.shared.end_long_readers(&ledger.shared.view(), 0);
                }
                pieces += 1;
                true
            })
            .unwrap();
        assert!(pieces > 1, "{pieces}");
    }
}
