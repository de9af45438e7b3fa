//! What a daemon does about its bounds: it looks now and then, and leaves large cuts to a person.

use super::{Bounds, Forecast, Reduction, Space, bring_within, forecast, keep, newest};
use crate::base::time::DAY;
use crate::store::{StoreError, WriteStore};

/// Looks now and then whether a ledger is within its bounds.
#[derive(Debug)]
pub struct Keeper {
    bounds: Bounds,
    /// When a budget was gone for in vain, and how large the ledger was after it.
    in_vain: Option<(u64, u64)>,
    /// When so much would have gone that it was left to the operator, and what.
    left: Option<(u64, Forecast)>,
}

/// How a ledger stands to its bounds when it was looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// The ledger is within its bounds.
    Within,
    /// It is now.
    Reduced(Reduction),
    /// More than half of the rows would go at once: `dnsledger expire` does that when a person has looked.
    Asks(Forecast),
}

impl Keeper {
    /// One that has not looked yet.
    pub fn new(bounds: Bounds) -> Keeper {
        Keeper { bounds, in_vain: None, left: None }
    }

    /// Whether the ledger takes more of the disk than it may, and something can be done about it: a flood fills a disk in minutes.
    pub fn is_due(&self, store: &dyn WriteStore, now: u64) -> bool {
        self.left.is_none() && store.stats().is_ok_and(|stats| self.is_too_large(stats.own_disk_bytes(), now))
    }

    fn is_too_large(&self, disk_bytes: u64, now: u64) -> bool {
        self.bounds.max_disk.is_some_and(|budget| disk_bytes > budget)
            && self.in_vain.is_none_or(|(at, disk)| {
                now.abs_diff(at) >= DAY || disk_bytes > disk.saturating_add(disk / 4)
            })
    }

    /// Looks, and brings the ledger within its bounds where it is not, unless more than half of its rows would go by that. A
    /// budget that could not be kept is gone for again when the ledger has grown by a quarter, or a day later: each time
    /// everything is written anew. What is dropped by age alone is gone for lookups, and from the disk with later merges.
    ///
    /// # Errors
    ///
    /// As [`keep`].
    pub fn look(&mut self, store: &dyn WriteStore, now: u64) -> Result<Upkeep, StoreError> {
        let stats = store.stats()?;
        let (disk_bytes, expired) = (stats.own_disk_bytes(), stats.expired);
        let newest = match self.bounds.retention {
            Some(_) => newest(store, now)?,
            None => None,
        };
        let cut = self.bounds.cut(now, newest).filter(|cut| *cut > expired.before);
        let is_large = self.is_too_large(disk_bytes, now);
        if cut.is_none() && !is_large {
            self.left = None;
            // It has grown since.
            store.renew_reserve();
            return Ok(Upkeep::Within);
        }
        let bounds = Bounds { max_disk: self.bounds.max_disk.filter(|_| is_large), ..self.bounds };
        // Counting reads the whole ledger: once a day is enough while the operator has not looked.
        let is_known = |left: &(u64, Forecast)| {
            now.abs_diff(left.0) < DAY
                && left.1.before > expired.before
                && cut.is_none_or(|cut| cut <= left.1.before)
        };
        if let Some((_, told)) = self.left.filter(is_known) {
            return Ok(Upkeep::Asks(told));
        }
        let told = forecast(store, &bounds, now)?;
        if told.is_drastic(expired.before) {
            self.left = Some((now, told));
            return Ok(Upkeep::Asks(told));
        }
        self.left = None;
        let kept = if is_large {
            keep(store, &bounds, now)
        } else {
            bring_within(store, &bounds, now, Space::Later)
        };
        if is_large {
            let fits = kept.as_ref().is_ok_and(|kept| kept.fits);
            self.in_vain = (!fits).then_some((now, kept.as_ref().map_or(disk_bytes, |kept| kept.disk)));
        }
        kept.map(Upkeep::Reduced)
    }
}
