//! Keeping the ledger within bounds: how long a row stays that is not seen any more, and how much disk all of it takes.
//!
//! Both are one cut: what was last seen before it goes ([`Store::expire`]). For an age the cut is that long ago, at the
//! start of a day (UTC), so that a daemon writes its ledger anew once a day and not more often. For a budget it is the time
//! before which as much goes as the ledger is too large: found by counting the rows by their last sighting, and, since rows
//! are not all of one size, found again from what is left.
//!
//! The clock decides, and never a log: a record with a time in the future stays, and makes nothing else go. What was seen
//! within the last day stays whatever the budget is, for logs are read late now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::store::{Expired, Scan, Stats, Store, StoreError};
use crate::time::DAY;

/// The least age, and what no budget touches.
pub const LEAST_AGE: Duration = Duration::from_secs(DAY);
/// The least budget: the engine takes some of it for itself.
pub const LEAST_DISK: u64 = 16 << 20;
/// How often a budget is gone for at a time.
const ROUNDS: usize = 4;
/// The rows are counted by hours first.
const HOUR: u64 = 3600;

//--- Bounds ---------------------------------------------------------------------------------------------------------

/// The bounds of a ledger. Without any, everything stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Rows that were not seen for so long are dropped; at least [`LEAST_AGE`].
    pub retention: Option<Duration>,
    /// Bytes on disk above which the rows that were not seen for longest are dropped, down to four fifths of it.
    pub max_disk: Option<u64>,
}

impl Bounds {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Bounds::default()
    }

    /// What was last seen before this is too old.
    fn cut(&self, now: u64) -> Option<u64> {
        let age = self.retention?.max(LEAST_AGE).as_secs();
        now.checked_sub(age).map(|cut| cut - cut % DAY).filter(|cut| *cut > 0)
    }
}

/// What came of bringing a ledger within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// Rows that were dropped.
    pub rows: u64,
    /// Questions that were dropped.
    pub questions: u64,
    /// What was last seen before this is not kept, epoch seconds; 0 where nothing ever expired.
    pub before: u64,
    /// Bytes on disk before.
    pub disk_before: u64,
    /// Bytes on disk now.
    pub disk: u64,
    /// Whether the ledger is within the budget, if it has one.
    pub fits: bool,
}

/// Brings a ledger within bounds. `now` is the wall clock, epoch seconds. Reading, commits and lookups go on meanwhile.
///
/// # Errors
///
/// When the ledger cannot be read or written anew. What was dropped before is dropped; all else is as it was.
pub fn keep(ledger: &Ledger, bounds: &Bounds, now: u64) -> Result<Kept, StoreError> {
    ledger.commit()?;
    let store = &**ledger.store();
    let Stats { disk_bytes: disk_before, expired: before, .. } = store.stats()?;
    if let Some(cut) = bounds.cut(now) {
        store.expire(cut, now)?;
    }
    if let Some(budget) = bounds.max_disk {
        shrink(store, budget, now)?;
    }
    let Stats { disk_bytes: disk, expired, .. } = store.stats()?;
    let Expired { before: cut, rows, questions, .. } = expired;
    Ok(Kept {
        rows: rows.saturating_sub(before.rows),
        questions: questions.saturating_sub(before.questions),
        before: cut,
        disk_before,
        disk,
        fits: bounds.max_disk.is_none_or(|budget| disk <= budget),
    })
}

/// Drops what was not seen for longest until the ledger is within a budget, or nothing more may go.
fn shrink(store: &dyn Store, budget: u64, now: u64) -> Result<(), StoreError> {
    let goal = budget / 5 * 4;
    for round in 0..ROUNDS {
        let Stats { disk_bytes, live_bytes, .. } = store.stats()?;
        if disk_bytes <= budget {
            return Ok(());
        }
        // Much of the disk may be space that a rewrite gives back: no row goes for it. Once it is written anew, what it
        // takes is what its rows take.
        let size = if round == 0 { live_bytes } else { disk_bytes };
        let cut = if size <= goal { None } else { find_cut(store, goal as f64 / size as f64, now)? };
        match cut {
            Some(cut) if cut > store.expired_before() => drop(store.expire(cut, now)?),
            _ if round == 0 => store.rewrite()?,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// The time before which so many rows were last seen that not more than a share of all stays; `None` when nothing may go.
fn find_cut(store: &dyn Store, share: f64, now: u64) -> Result<Option<u64>, StoreError> {
    let end = now.saturating_sub(LEAST_AGE.as_secs());
    let (all, hours) = count(store, 0..end, HOUR)?;
    let may_stay = (all as f64 * share) as u64;
    let mut stays = all;
    for (hour, rows) in hours {
        if stays.saturating_sub(rows) > may_stay {
            stays -= rows;
            continue;
        }
        // It lies within this hour.
        let (_, seconds) = count(store, hour..(hour + HOUR).min(end), 1)?;
        for (second, rows) in seconds {
            stays = stays.saturating_sub(rows);
            if stays <= may_stay {
                return Ok(Some(second + 1));
            }
        }
        return Ok(Some((hour + HOUR).min(end)));
    }
    Ok((stays < all).then_some(end))
}

/// Counts rows and questions: all of them, and those last seen within a span, by steps of it.
fn count(
    store: &dyn Store,
    within: std::ops::Range<u64>,
    step: u64,
) -> Result<(u64, BTreeMap<u64, u64>), StoreError> {
    let (mut all, mut steps) = (0, BTreeMap::new());
    let mut add = |time: u64| {
        all += 1;
        if within.contains(&time) {
            *steps.entry(time - time % step).or_default() += 1;
        }
    };
    let snapshot = store.snapshot();
    for entry in snapshot.entries(&Scan::All, None)? {
        add(entry?.halves.combined().time_last);
    }
    for question in snapshot.questions(&Scan::All)? {
        add(question?.asked.time_last);
    }
    Ok((all, steps))
}

//--- Keeper ---------------------------------------------------------------------------------------------------------

/// Looks now and then whether a ledger is within its bounds.
#[derive(Debug)]
pub struct Keeper {
    bounds: Bounds,
    /// When a budget was gone for in vain, and how large the ledger was after it.
    in_vain: Option<(u64, u64)>,
}

impl Keeper {
    /// One that has not looked yet.
    pub fn new(bounds: Bounds) -> Keeper {
        Keeper { bounds, in_vain: None }
    }

    /// Looks, and brings the ledger within its bounds where it is not; `None` where it is. A budget that could not be kept
    /// is gone for again when the ledger has grown by a quarter, or a day later: each time everything is written anew.
    ///
    /// # Errors
    ///
    /// As [`keep`].
    pub fn look(&mut self, ledger: &Ledger, now: u64) -> Result<Option<Kept>, StoreError> {
        let Stats { disk_bytes, expired, .. } = ledger.store().stats()?;
        let is_old = self.bounds.cut(now).is_some_and(|cut| cut > expired.before);
        let is_large = self.bounds.max_disk.is_some_and(|budget| disk_bytes > budget)
            && self.in_vain.is_none_or(|(at, disk)| {
                now >= at.saturating_add(DAY) || disk_bytes > disk.saturating_add(disk / 4)
            });
        if !is_old && !is_large {
            return Ok(None);
        }
        let max_disk = self.bounds.max_disk.filter(|_| is_large);
        let kept = keep(ledger, &Bounds { max_disk, ..self.bounds }, now);
        if is_large {
            let fits = kept.as_ref().is_ok_and(|kept| kept.fits);
            self.in_vain = (!fits).then_some((now, kept.as_ref().map_or(disk_bytes, |kept| kept.disk)));
        }
        kept.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dns::{Name, Rdata, RrType};
    use crate::merge::Batch;
    use crate::observation::{Asked, Half, Halves, Outcome, Seen, Tuple};
    use crate::store::Options;
    use crate::store::memory::MemoryStore;
    use crate::store::sled::SledStore;

    /// Noon of some day.
    const NOW: u64 = 20_000 * DAY + DAY / 2;

    /// Applies a row and a question for each of these times.
    fn add(store: &dyn Store, times: impl Iterator<Item = u64>) {
        let sensor = store.sensor("s").unwrap();
        let mut batch = Batch::default();
        for (i, time) in times.enumerate() {
            let rrname = Name::parse(&format!("host-{i}-{time}.example")).unwrap();
            let rdata = Rdata::V4(u32::try_from(i).unwrap().into());
            let mut key = Vec::new();
            Tuple { rrname: rrname.clone(), rrtype: RrType::A, rdata }.push_key(&mut key);
            key.extend_from_slice(&sensor.0.to_be_bytes());
            batch.add_halves(&key, &Halves::once(Half::Direct, Seen::once(time, 60)));
            let question = [rrname.key(), &RrType::A.0.to_be_bytes(), &sensor.0.to_be_bytes()].concat();
            batch.add_asked(&question, &Asked::once(time, Outcome::Answered));
        }
        store.apply(&batch).unwrap();
    }

    /// When each row was last seen, in order.
    fn times(store: &dyn Store) -> Vec<u64> {
        let snapshot = store.snapshot();
        let rows = snapshot.entries(&Scan::All, None).unwrap();
        let mut times: Vec<u64> = rows.map(|row| row.unwrap().halves.combined().time_last).collect();
        times.sort_unstable();
        times
    }

    fn aged(days: u64) -> Bounds {
        Bounds { retention: Some(Duration::from_secs(days * DAY)), ..Bounds::default() }
    }

    #[test]
    fn what_is_too_old_goes_at_the_start_of_a_day_and_the_future_drives_nothing() {
        let store = Arc::new(MemoryStore::default());
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn Store>);
        let midnight = NOW - NOW % DAY - 10 * DAY;
        let far = NOW + 1000 * DAY;
        add(&*store, [1, midnight - 1, midnight, NOW, far].into_iter());
        let kept = keep(&ledger, &aged(10), NOW).unwrap();
        assert_eq!((kept.rows, kept.questions, kept.before, kept.fits), (2, 2, midnight, true));
        assert_eq!(times(&*store), [midnight, NOW, far]);
        // Less than a day is a day, and an age beyond the epoch drops nothing.
        keep(&ledger, &aged(30_000), NOW).unwrap();
        assert_eq!(store.expired_before(), midnight);
        keep(&ledger, &aged(0), NOW).unwrap();
        assert_eq!(times(&*store), [NOW, far]);
    }

    #[test]
    fn it_is_looked_often_and_dropped_once_a_day() {
        let store = Arc::new(MemoryStore::default());
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn Store>);
        add(&*store, (0..40).map(|day| NOW - day * DAY));
        let mut keeper = Keeper::new(aged(10));
        assert_eq!(keeper.look(&ledger, NOW).unwrap().unwrap().rows, 29);
        for later in [0, 600, DAY / 2 - 1] {
            assert_eq!(keeper.look(&ledger, NOW + later).unwrap(), None, "{later}");
        }
        assert_eq!(keeper.look(&ledger, NOW + DAY / 2).unwrap().unwrap().rows, 1);
        // A clock that goes back brings nothing back and drops nothing.
        assert_eq!(keeper.look(&ledger, NOW - DAY).unwrap(), None);
        assert!(Keeper::new(Bounds::default()).look(&ledger, NOW).unwrap().is_none());
    }

    #[test]
    fn the_cut_leaves_the_share_that_was_asked_for() {
        let store = MemoryStore::default();
        let first = NOW - 100 * DAY;
        // Several in an hour, and many at one second.
        add(&store, (0..500).map(|i| first + i * 7).chain(std::iter::repeat_n(first + 9 * DAY, 500)));
        let stay = |share: f64| {
            let cut = find_cut(&store, share, NOW).unwrap().unwrap();
            times(&store).iter().filter(|time| **time >= cut).count()
        };
        assert_eq!([0.999, 0.75, 0.5, 0.49, 0.0].map(stay), [999, 750, 500, 0, 0]);
        // What was seen within the last day stays.
        add(&store, [NOW - DAY + 1, NOW, NOW + 5 * DAY].into_iter());
        assert_eq!(find_cut(&store, 0.0, NOW).unwrap(), Some(NOW - DAY));
        assert_eq!(find_cut(&store, 0.0, first - DAY).unwrap(), None);
        assert_eq!(find_cut(&MemoryStore::default(), 0.5, NOW).unwrap(), None);
    }

    #[test]
    fn a_ledger_that_is_too_large_loses_what_was_not_seen_for_longest_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { memory: 4 << 20, fold_rows: 4000, bulk_rows: 2000, ..Options::default() };
        let store = Arc::new(SledStore::open(folder.path(), &options).unwrap());
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn Store>);
        let first = NOW - 100 * DAY;
        let spread = || (0..40_000u64).map(|i| first + i * (100 * DAY / 40_000));
        add(&*store, spread());
        store.rewrite().unwrap();
        let whole = store.stats().unwrap().disk_bytes;
        let all = times(&*store);
        let bounds = |max_disk| Bounds { max_disk: Some(max_disk), ..Bounds::default() };
        // It fits: nothing is done.
        let mut keeper = Keeper::new(bounds(whole));
        assert_eq!(keeper.look(&ledger, NOW).unwrap(), None);
        let budget = whole * 3 / 5;
        let kept = Keeper::new(bounds(budget)).look(&ledger, NOW).unwrap().unwrap();
        assert!(kept.fits && kept.disk <= budget && kept.disk_before == whole, "{kept:?} of {budget}");
        let left: Vec<u64> = all.iter().copied().filter(|time| *time >= kept.before).collect();
        assert_eq!(times(&*store), left);
        assert_eq!(kept.rows as usize, all.len() - left.len());
        assert!(left.len() > all.len() / 5, "{} rows are left of {}", left.len(), all.len());
        assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
        // One that cannot be kept is gone for once, and again a day later.
        let mut keeper = Keeper::new(bounds(1));
        let kept = keeper.look(&ledger, NOW).unwrap().unwrap();
        assert!(!kept.fits && times(&*store).iter().all(|time| *time >= NOW - DAY), "{kept:?}");
        assert!(times(&*store).len() > 300);
        assert_eq!(keeper.look(&ledger, NOW + DAY - 1).unwrap(), None);
        assert!(keeper.look(&ledger, NOW + DAY).unwrap().is_some());
        // Space that a rewrite gives back costs no row.
        let rows = times(&*store);
        add(&*store, spread());
        assert_eq!(times(&*store), rows, "what is older than the cut is not taken");
        let Stats { live_bytes, disk_bytes, .. } = store.stats().unwrap();
        assert!(live_bytes < disk_bytes / 2);
        let kept = keep(&ledger, &bounds(disk_bytes - 1), NOW).unwrap();
        assert!(kept.fits && kept.rows == 0 && kept.disk < disk_bytes, "{kept:?}");
    }
}
