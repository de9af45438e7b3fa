//! What a daemon does about its bounds: it looks now and then, and leaves large cuts to a person.

use super::{Bounds, Forecast, Reduction, Space, Stats, bring_within, forecast, keep, newest};
use crate::base::time::DAY;
use crate::store::{StoreError, WriteStore};

/// Looks now and then whether a ledger is within its bounds.
#[derive(Debug)]
pub struct Keeper {
    bounds: Bounds,
    /// When a budget was gone for in vain, and how it stood then.
    in_vain: Option<InVain>,
    /// When so much would have gone that it was left to the operator, and what.
    left: Option<(u64, Forecast)>,
}

/// A budget that was gone for in vain.
#[derive(Debug)]
struct InVain {
    at: u64,
    /// Bytes on disk, and what was live of them.
    disk: u64,
    live: u64,
    /// There was no room for what was to go.
    no_room: bool,
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
        self.left.is_none() && store.stats().is_ok_and(|stats| self.is_too_large(store, &stats, now))
    }

    fn is_too_large(&self, store: &dyn WriteStore, stats: &Stats, now: u64) -> bool {
        let (disk, live) = (stats.own_disk_bytes(), stats.live_bytes);
        self.bounds.max_disk.is_some_and(|budget| disk > budget)
            && self.in_vain.as_ref().is_none_or(|then| {
                now.abs_diff(then.at) >= DAY
                    || disk > then.disk.saturating_add(then.disk / 4)
                    || live > then.live.saturating_add(then.live / 4)
                    || then.no_room
                        && store.copy_room().is_ok_and(|room| room.is_none_or(|room| room >= live))
            })
    }

    /// Looks, and brings the ledger within its bounds where it is not, unless more than half of its rows would go by that. A
    /// budget that could not be kept is gone for again when the ledger, or what is live of it, has grown by a quarter, when there is room
    /// that there was not, or a day later: each time everything is written anew. What is dropped by age alone is gone for lookups, and from the disk with later merges.
    ///
    /// # Errors
    ///
    /// As [`keep`].
    pub fn look(&mut self, store: &dyn WriteStore, now: u64) -> Result<Upkeep, StoreError> {
        let stats = store.stats()?;
        let expired = stats.expired;
        let newest = match self.bounds.retention {
            Some(_) => newest(store, now)?,
            None => None,
        };
        let cut = self.bounds.cut(now, newest).filter(|cut| *cut > expired.before);
        let is_large = self.is_too_large(store, &stats, now);
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
        // Counting reads everything several times, while a flood goes on: of a budget that leaves half of it nobody is asked.
        let leaves_half = |budget| budget / 5 * 4 >= stats.live_bytes / 2;
        let told = match bounds {
            Bounds { max_disk: Some(budget), .. } if cut.is_none() && leaves_half(budget) => {
                Forecast::default()
            }
            _ => forecast(store, &bounds, now)?,
        };
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
            self.in_vain = match &kept {
                Ok(kept) if kept.fits => None,
                kept => {
                    let after = store.stats().unwrap_or_else(|_| stats.clone());
                    let (disk, live) = (after.own_disk_bytes(), after.live_bytes);
                    let no_room = kept.as_ref().map_or(true, |kept| kept.no_room);
                    Some(InVain { at: now, disk, live, no_room })
                }
            };
        }
        kept.map(Upkeep::Reduced)
    }
}
