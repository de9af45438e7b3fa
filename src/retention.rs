//! Keeping the ledger within bounds: how long a row stays that is not seen any more, and how much disk all of it takes.
//!
//! Both are one cut: what was last seen before it goes ([`WriteStore::expire`]), at once for whoever looks something up, and from the
//! disk with later merges. For an age the cut is that long ago, at the start of a day (UTC). For a budget it is the time
//! before which as much goes as the ledger is too large: found by counting the rows by their last sighting, and, since rows
//! are not all of one size, found again from what is left.
//!
//! A clock may be wrong, and what is dropped is gone. So ages count from the newest record that is not of the future, and
//! never from a later instant than the clock; where more than half of the rows would go at once the daemon leaves that to the
//! operator; and a time that was set by a clock that was ahead is moved back. What was seen within the last day stays
//! whatever the budget is, for logs are read late now and then.

mod shrink;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use self::shrink::shrink;
use crate::base::time::{DAY, format_utc};
pub use crate::store::LEAST_DISK;
use crate::store::{Expired, ReadStore, Reduce, Reduced, Scan, Stats, StoreError, Survey, WriteStore};

/// The least age, and what no budget touches.
pub const LEAST_AGE: Duration = Duration::from_secs(DAY);
/// How often a budget is gone for at a time.
const ROUNDS: usize = 4;
/// What the notice is about that rows wait to be dropped by hand.
pub const RETENTION: &str = "retention";
/// Counting names may take one in so many parts of the time.
pub const SURVEY_SHARE: u32 = 50;
/// Of so many names one must fold.
const NAMES_SHARE: u64 = 16;
/// How long what fails on a full disk is tried, and the pause between.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
/// How often writing anew is tried where somebody else's write fails meanwhile.
const TRIES: usize = 3;
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
    /// Rows last seen before this are dropped, epoch seconds, whatever the newest record is. Only by hand.
    pub before: Option<u64>,
}

impl Bounds {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Bounds::default()
    }

    /// What was last seen before this is too old, where the newest record is of this time. That is now at the latest.
    fn cut(&self, now: u64, newest: Option<u64>) -> Option<u64> {
        let aged = self.retention.and_then(|age| newest?.min(now).checked_sub(age.max(LEAST_AGE).as_secs()));
        let aged = aged.map(|cut| cut - cut % DAY);
        let before = self.before.map(|before| before.min(now.saturating_sub(LEAST_AGE.as_secs())));
        aged.max(before).filter(|cut| *cut > 0)
    }
}

/// What came of bringing a ledger within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// Rows that were dropped.
    pub rows: u64,
    /// Questions that were dropped.
    pub questions: u64,
    /// Rows and questions that were folded into the row of their domain.
    #[serde(default)]
    pub folded: u64,
    /// Questions that were dropped because they never resolved and were asked once.
    #[serde(default)]
    pub unresolved: u64,
    /// What was last seen before this is not kept, epoch seconds; 0 where nothing ever expired.
    pub before: u64,
    /// Bytes on disk before.
    pub disk_before: u64,
    /// Bytes on disk now.
    pub disk: u64,
    /// Whether the ledger is within the budget, if it has one.
    pub fits: bool,
}

/// What would go if a ledger were brought within its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Forecast {
    /// What was last seen before this would go, epoch seconds; 0 where nothing would.
    pub before: u64,
    /// The newest record that is not of the future, epoch seconds; 0 where there is none.
    pub newest: u64,
    /// Rows that would go.
    pub rows: u64,
    /// All rows.
    pub all_rows: u64,
    /// Questions that would go.
    pub questions: u64,
    /// All questions.
    pub all_questions: u64,
}

impl Forecast {
    /// Whether so much would go that a person should look first: more than half of the rows. A step of a day or two after
    /// the last time is what a short retention does every day.
    fn is_drastic(&self, last_before: u64) -> bool {
        let most = match self.all_rows {
            0 => self.questions.saturating_mul(2) > self.all_questions,
            all => self.rows.saturating_mul(2) > all,
        };
        most && (last_before == 0 || self.before > last_before.saturating_add(2 * DAY))
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forecast { rows, all_rows, questions, all_questions, before, .. } = *self;
        let before = format_utc(before);
        write!(
            f,
            "{rows} of {all_rows} rows and {questions} of {all_questions} questions were last seen before {before} UTC"
        )
    }
}

/// Brings a ledger within bounds, and gives space back at once. `now` is the wall clock, epoch seconds. Reading, commits and lookups
/// go on meanwhile.
///
/// # Errors
///
/// When the ledger cannot be read or written anew. What was dropped before is dropped; all else is as it was.
pub fn keep(store: &dyn WriteStore, bounds: &Bounds, now: u64) -> Result<Kept, StoreError> {
    store.use_reserve();
    let kept = bring_within(store, bounds, now, Space::AtOnce);
    store.keep_reserve();
    kept
}

/// As [`keep`], after what is read is committed, so that it is judged with the rest. On a full disk this may take a moment.
///
/// # Errors
///
/// As [`keep`] and `commit` have them.
pub fn commit_and_keep(
    store: &dyn WriteStore,
    commit: impl Fn() -> Result<(), StoreError>,
    bounds: &Bounds,
    now: u64,
) -> Result<Kept, StoreError> {
    store.use_reserve();
    let kept = patiently(commit).and_then(|()| bring_within(store, bounds, now, Space::AtOnce));
    store.keep_reserve();
    kept
}

/// When the space of what is dropped by age is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// Everything is written anew.
    AtOnce,
    /// When runs are merged.
    Later,
}

/// On a disk that is full something fails until the engine was opened again: it is tried for so long.
fn patiently<T>(work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match work() {
            Err(StoreError::Io { .. }) if Instant::now() < until => std::thread::park_timeout(PAUSE),
            done => return done,
        }
    }
}

/// Writes the ledger anew; `false` where there is no room for that: merges give the space back, in time.
fn write_anew(store: &dyn WriteStore) -> Result<bool, StoreError> {
    for _ in 0..TRIES {
        match store.rewrite() {
            Err(error) if error.is_full() => return Ok(false),
            // A write of somebody else failed meanwhile.
            Err(StoreError::Io { .. }) => std::thread::park_timeout(PAUSE),
            done => return done.map(|()| true),
        }
    }
    store.rewrite().map(|()| true)
}

fn bring_within(store: &dyn WriteStore, bounds: &Bounds, now: u64, space: Space) -> Result<Kept, StoreError> {
    let newest = newest(store, now)?;
    let Stats { disk_bytes: disk_before, expired: before, folded: folded_before, .. } = store.stats()?;
    if let Some(cut) = bounds.cut(now, newest) {
        patiently(|| store.expire(cut, now))?;
    }
    // Only so many domains are folded at a time.
    for _ in 0..ROUNDS {
        match store.reduce(Reduce::Names { at_least: 1 }, now) {
            Ok(reduced) if reduced == Reduced::default() => break,
            Ok(_) => {}
            // Where there is no room for that it waits for another time.
            Err(error) if error.can_pass() => break,
            Err(error) => return Err(error),
        }
    }
    if space == Space::AtOnce && store.stats()?.expired_on_disk > 0 {
        write_anew(store)?;
    }
    if let Some(budget) = bounds.max_disk {
        shrink(store, budget, newest.map_or(now, |newest| newest.min(now)), now)?;
    }
    let stats = store.stats()?;
    let Stats { disk_bytes: disk, expired, folded, .. } = stats;
    let Expired { before: cut, rows, questions, .. } = expired;
    Ok(Kept {
        rows: rows.saturating_sub(before.rows),
        questions: questions.saturating_sub(before.questions),
        folded: folded.all().saturating_sub(folded_before.all()),
        unresolved: folded.unresolved.saturating_sub(folded_before.unresolved),
        before: cut,
        disk_before,
        disk,
        fits: bounds.max_disk.is_none_or(|budget| stats.own_disk_bytes() <= budget),
    })
}

/// Says what [`keep`] would drop. Of a budget that is about right: it is found out by doing.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn forecast(store: &dyn ReadStore, bounds: &Bounds, now: u64) -> Result<Forecast, StoreError> {
    let newest = newest(store, now)?;
    let stats = store.stats()?;
    let (disk_bytes, live_bytes, expired) = (stats.own_disk_bytes(), stats.live_bytes, stats.expired);
    let mut cut = bounds.cut(now, newest);
    if let Some(budget) = bounds.max_disk.filter(|budget| disk_bytes > *budget) {
        let goal = budget / 5 * 4;
        if live_bytes > goal {
            let from = newest.map_or(now, |newest| newest.min(now));
            cut = cut.max(find_cut(store, goal as f64 / live_bytes as f64, from)?);
        }
    }
    let before = cut.filter(|cut| *cut > expired.before).unwrap_or_default();
    let mut told = Forecast { before, newest: newest.unwrap_or_default(), ..Forecast::default() };
    let snapshot = store.now();
    for entry in snapshot.entries(&Scan::All, None)? {
        told.all_rows += 1;
        told.rows += u64::from(entry?.halves.combined().time_last < before);
    }
    for question in snapshot.questions(&Scan::All)? {
        told.all_questions += 1;
        told.questions += u64::from(question?.asked.time_last < before);
    }
    Ok(told)
}

/// Moves the time before which nothing is kept back, where it was set by a clock that was ahead: it would drop what comes now.
/// Says how it was and is, if so. What was dropped by it is gone.
///
/// # Errors
///
/// When the ledger cannot be read or written.
pub fn heal(store: &dyn WriteStore, bounds: &Bounds, now: u64) -> Result<Option<(u64, u64)>, StoreError> {
    let Expired { before, at, .. } = store.stats()?.expired;
    // A clock that is set back by less than a day leaves a time that is more than a day ago, or nearly.
    if before == 0 || at <= now.saturating_add(DAY) {
        return Ok(None);
    }
    let aged = Duration::from_secs(at.saturating_sub(before));
    let bounds = Bounds { retention: Some(bounds.retention.unwrap_or(aged)), ..Bounds::default() };
    let lower = bounds.cut(now, newest(store, now)?).unwrap_or_default().min(before);
    store.lower_expired(lower, now)?;
    Ok(Some((before, lower)))
}

/// The time of the newest record that is not of the future: what the logs say, and where none does, the rows.
fn newest(store: &dyn ReadStore, now: u64) -> Result<Option<u64>, StoreError> {
    let is_past = |time: &u64| *time > 0 && *time <= now;
    let lineages = store.lineages()?;
    if let Some(newest) = lineages.iter().map(|progress| progress.newest).filter(is_past).max() {
        return Ok(Some(newest));
    }
    let (mut newest, snapshot) = (None, store.now());
    for entry in snapshot.entries(&Scan::All, None)? {
        newest = newest.max(Some(entry?.halves.combined().time_last).filter(is_past));
    }
    for question in snapshot.questions(&Scan::All)? {
        newest = newest.max(Some(question?.asked.time_last).filter(is_past));
    }
    Ok(newest)
}

/// The time before which so many rows were last seen that not more than a share of all stays; `None` when nothing may go.
/// What was seen within a day before `from` stays.
fn find_cut(store: &dyn ReadStore, share: f64, from: u64) -> Result<Option<u64>, StoreError> {
    let end = from.saturating_sub(LEAST_AGE.as_secs());
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
    store: &dyn ReadStore,
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
    let snapshot = store.now();
    for entry in snapshot.entries(&Scan::All, None)? {
        add(entry?.halves.combined().time_last);
    }
    for question in snapshot.questions(&Scan::All)? {
        add(question?.asked.time_last);
    }
    Ok((all, steps))
}

/// Folds the names of domains that a count has found beyond their budget, where it is worth it.
///
/// # Errors
///
/// When the ledger cannot be written anew. Nothing has changed then.
pub fn fold(store: &dyn WriteStore, found: &Survey, now: u64) -> Result<Reduced, StoreError> {
    let at_least = (found.names / NAMES_SHARE).max(1);
    // To know it exactly all names are read once more.
    if found.names_over < at_least {
        return Ok(Reduced::default());
    }
    store.reduce(Reduce::Names { at_least }, now)
}

//--- Keeper ---------------------------------------------------------------------------------------------------------

/// Looks now and then whether a ledger is within its bounds.
#[derive(Debug)]
pub struct Keeper {
    bounds: Bounds,
    /// When a budget was gone for in vain, and how large the ledger was after it.
    in_vain: Option<(u64, u64)>,
    /// When so much would have gone that it was left to the operator, and what.
    left: Option<(u64, Forecast)>,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// The ledger is within its bounds.
    Within,
    /// It is now.
    Kept(Kept),
    /// More than half of the rows would go at once: `dnsledger expire` does that when a person has looked.
    Asks(Forecast),
}

impl Keeper {
    /// One that has not looked yet.
    pub fn new(bounds: Bounds) -> Keeper {
        Keeper { bounds, in_vain: None, left: None }
    }

    /// Looks, and brings the ledger within its bounds where it is not, unless more than half of its rows would go by that. A
    /// budget that could not be kept is gone for again when the ledger has grown by a quarter, or a day later: each time
    /// everything is written anew. What is dropped by age alone is gone for lookups, and from the disk with later merges.
    ///
    /// # Errors
    ///
    /// As [`keep`].
    pub fn look(&mut self, store: &dyn WriteStore, now: u64) -> Result<Look, StoreError> {
        let stats = store.stats()?;
        let (disk_bytes, expired) = (stats.own_disk_bytes(), stats.expired);
        let newest = match self.bounds.retention {
            Some(_) => newest(store, now)?,
            None => None,
        };
        let cut = self.bounds.cut(now, newest).filter(|cut| *cut > expired.before);
        let is_large = self.bounds.max_disk.is_some_and(|budget| disk_bytes > budget)
            && self.in_vain.is_none_or(|(at, disk)| {
                now.abs_diff(at) >= DAY || disk_bytes > disk.saturating_add(disk / 4)
            });
        if cut.is_none() && !is_large {
            self.left = None;
            // It has grown since.
            store.renew_reserve();
            return Ok(Look::Within);
        }
        let bounds = Bounds { max_disk: self.bounds.max_disk.filter(|_| is_large), ..self.bounds };
        // Counting reads the whole ledger: once a day is enough while the operator has not looked.
        let is_known = |left: &(u64, Forecast)| {
            now.abs_diff(left.0) < DAY
                && left.1.before > expired.before
                && cut.is_none_or(|cut| cut <= left.1.before)
        };
        if let Some((_, told)) = self.left.filter(is_known) {
            return Ok(Look::Asks(told));
        }
        let told = forecast(store, &bounds, now)?;
        if told.is_drastic(expired.before) {
            self.left = Some((now, told));
            return Ok(Look::Asks(told));
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
        kept.map(Look::Kept)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dns::{Name, Rdata, RrType};
    use crate::observation::{Asked, Half, Halves, Outcome, Seen, Tuple};
    use crate::store::Options;
    use crate::store::batch::Batch;
    use crate::store::memory::MemoryStore;
    use crate::store::sled::SledStore;

    /// Noon of some day.
    const NOW: u64 = 20_000 * DAY + DAY / 2;

    /// Applies a row and a question for each of these times.
    fn add(store: &dyn WriteStore, times: impl Iterator<Item = u64>) {
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
    fn times(store: &dyn WriteStore) -> Vec<u64> {
        let snapshot = store.now();
        let rows = snapshot.entries(&Scan::All, None).unwrap();
        let mut times: Vec<u64> = rows.map(|row| row.unwrap().halves.combined().time_last).collect();
        times.sort_unstable();
        times
    }

    fn aged(days: u64) -> Bounds {
        Bounds { retention: Some(Duration::from_secs(days * DAY)), ..Bounds::default() }
    }

    fn kept(look: Result<Look, StoreError>) -> Kept {
        match look.unwrap() {
            Look::Kept(kept) => kept,
            look => panic!("{look:?}"),
        }
    }

    #[test]
    fn what_is_too_old_goes_at_the_start_of_a_day_and_the_future_drives_nothing() {
        let store = Arc::new(MemoryStore::default());
        let midnight = NOW - NOW % DAY - 10 * DAY;
        let far = NOW + 1000 * DAY;
        add(&*store, [1, midnight - 1, midnight, NOW, far].into_iter());
        let kept = keep(&*store, &aged(10), NOW).unwrap();
        assert_eq!((kept.rows, kept.questions, kept.before, kept.fits), (2, 2, midnight, true));
        assert_eq!(times(&*store), [midnight, NOW, far]);
        // Less than a day is a day, and an age beyond the epoch drops nothing.
        keep(&*store, &aged(30_000), NOW).unwrap();
        assert_eq!(store.expired_before(), midnight);
        keep(&*store, &aged(0), NOW).unwrap();
        assert_eq!(times(&*store), [NOW, far]);
    }

    #[test]
    fn it_is_looked_often_and_dropped_once_a_day() {
        let store = Arc::new(MemoryStore::default());
        add(&*store, (0..40).map(|day| NOW - day * DAY));
        let mut keeper = Keeper::new(aged(25));
        assert_eq!(kept(keeper.look(&*store, NOW)).rows, 14);
        for later in [0, 600, DAY / 2 - 1] {
            add(&*store, [NOW + later].into_iter());
            assert_eq!(keeper.look(&*store, NOW + later).unwrap(), Look::Within, "{later}");
        }
        // The clock alone makes nothing old.
        assert_eq!(keeper.look(&*store, NOW + DAY / 2).unwrap(), Look::Within);
        add(&*store, [NOW + DAY / 2].into_iter());
        assert_eq!(kept(keeper.look(&*store, NOW + DAY / 2)).rows, 1);
        // A clock that goes back brings nothing back and drops nothing.
        assert_eq!(keeper.look(&*store, NOW - DAY).unwrap(), Look::Within);
        assert_eq!(Keeper::new(Bounds::default()).look(&*store, NOW).unwrap(), Look::Within);
    }

    #[test]
    fn a_clock_that_is_ahead_drops_nothing_that_is_not_as_old_as_that() {
        let ahead = NOW + 3 * 365 * DAY;
        for bounds in [aged(400), aged(1), Bounds { max_disk: Some(u64::MAX), ..aged(30) }] {
            let store = Arc::new(MemoryStore::default());
            add(&*store, (0..100).map(|hour| NOW - hour * 600));
            let mut keeper = Keeper::new(bounds);
            assert!(!matches!(keeper.look(&*store, ahead).unwrap(), Look::Asks(_)));
            keep(&*store, &bounds, ahead).unwrap();
            assert_eq!(times(&*store).len(), 100);
            let cut = store.expired_before();
            assert!(cut <= NOW - bounds.retention.unwrap().as_secs());
            // One record that is ahead with the clock makes the rest old: a person has to look.
            add(&*store, [ahead].into_iter());
            let Look::Asks(told) = keeper.look(&*store, ahead).unwrap() else { panic!("{bounds:?}") };
            assert_eq!((told.rows, told.all_rows, told.newest), (100, 101, ahead));
            assert_eq!(keeper.look(&*store, ahead + 600).unwrap(), Look::Asks(told));
            assert_eq!((times(&*store).len(), store.expired_before()), (101, cut));
            // The clock is right again.
            assert_eq!(keeper.look(&*store, NOW).unwrap(), Look::Within);
            // By hand it is done.
            assert_eq!(forecast(&*store, &bounds, ahead).unwrap(), told);
            assert_eq!(keep(&*store, &bounds, ahead).unwrap().rows, 100);
            assert_eq!(keeper.look(&*store, ahead).unwrap(), Look::Within);
        }
    }

    #[test]
    fn a_short_retention_drops_most_rows_every_day_without_asking() {
        let store = Arc::new(MemoryStore::default());
        let mut keeper = Keeper::new(aged(1));
        let midnight = NOW - NOW % DAY;
        for day in 0..5 {
            let now = midnight + day * DAY + DAY / 2;
            add(&*store, (0..100).map(|i| now - i));
            let look = keeper.look(&*store, now).unwrap();
            assert!(!matches!(look, Look::Asks(_)), "{day}: {look:?}");
        }
        assert_eq!(times(&*store).len(), 200);
    }

    #[test]
    fn a_time_that_a_clock_set_that_was_ahead_is_moved_back_when_the_clock_is_right() {
        let ahead = NOW + 3 * 365 * DAY;
        for (bounds, retention) in [(aged(400), 400), (Bounds::default(), 30)] {
            let store = Arc::new(MemoryStore::default());
            add(&*store, [NOW - 10, NOW - 5].into_iter());
            // An earlier version did that.
            store.expire(ahead - ahead % DAY - retention * DAY, ahead).unwrap();
            assert!(times(&*store).is_empty());
            add(&*store, [NOW - 3].into_iter());
            assert!(times(&*store).is_empty());
            assert_eq!(heal(&*store, &bounds, ahead).unwrap(), None, "the clock is still ahead");
            let (_, lower) = heal(&*store, &bounds, NOW).unwrap().unwrap();
            assert!(lower <= NOW - retention * DAY && store.expired_before() == lower);
            assert_eq!(heal(&*store, &bounds, NOW).unwrap(), None, "once");
            add(&*store, [NOW - 2].into_iter());
            assert_eq!(times(&*store), [NOW - 2]);
        }
        // One that was right stays, whatever the retention is now.
        let store = Arc::new(MemoryStore::default());
        store.expire(NOW - 30 * DAY, NOW).unwrap();
        assert_eq!(heal(&*store, &aged(400), NOW + 5).unwrap(), None);
    }

    #[test]
    fn a_time_that_was_moved_back_is_so_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), &Options::default()).unwrap();
        add(&store, [NOW - 500 * DAY, NOW].into_iter());
        store.expire(NOW - 30 * DAY, NOW + 1).unwrap();
        store.lower_expired(NOW - 400 * DAY, NOW + 2).unwrap();
        store.lower_expired(NOW, NOW + 3).unwrap();
        drop(store);
        let store = SledStore::open(folder.path(), &Options::default()).unwrap();
        assert_eq!(store.expired_before(), NOW - 400 * DAY);
        let Stats { expired, .. } = store.stats().unwrap();
        assert_eq!((expired.before, expired.at, expired.rows), (NOW - 400 * DAY, NOW + 2, 1));
        add(&store, [NOW - 100 * DAY, NOW - 401 * DAY].into_iter());
        assert_eq!(times(&store), [NOW - 100 * DAY, NOW]);
        store.rewrite().unwrap();
        assert_eq!(store.expired_before(), NOW - 400 * DAY);
        assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
    }

    #[test]
    fn a_day_that_is_named_goes_also_where_nothing_new_comes() {
        let store = Arc::new(MemoryStore::default());
        add(&*store, [NOW - 500 * DAY, NOW - 400 * DAY].into_iter());
        let by_age = forecast(&*store, &aged(30), NOW).unwrap();
        assert_eq!((by_age.rows, by_age.newest), (1, NOW - 400 * DAY));
        let bounds = Bounds { before: Some(NOW - 30 * DAY), ..Bounds::default() };
        assert_eq!(forecast(&*store, &bounds, NOW).unwrap().rows, 2);
        assert_eq!(keep(&*store, &bounds, NOW).unwrap().rows, 2);
        // The last day stays.
        add(&*store, [NOW].into_iter());
        let bounds = Bounds { before: Some(NOW + DAY), ..Bounds::default() };
        assert_eq!(keep(&*store, &bounds, NOW).unwrap().before, NOW - DAY);
        assert_eq!(times(&*store), [NOW]);
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
        let first = NOW - 100 * DAY;
        let spread = || (0..40_000u64).map(|i| first + i * (100 * DAY / 40_000));
        add(&*store, spread());
        store.rewrite().unwrap();
        let whole = store.stats().unwrap().disk_bytes;
        let all = times(&*store);
        let bounds = |max_disk| Bounds { max_disk: Some(max_disk), ..Bounds::default() };
        // It fits: nothing is done.
        let mut keeper = Keeper::new(bounds(whole));
        assert_eq!(keeper.look(&*store, NOW).unwrap(), Look::Within);
        // More than half would go.
        let Look::Asks(told) = Keeper::new(bounds(whole / 2)).look(&*store, NOW).unwrap() else { panic!() };
        assert!(told.rows > 20_000 && told.rows < 28_000 && told.all_rows == 40_000, "{told:?}");
        let budget = whole * 4 / 5;
        let told = forecast(&*store, &bounds(budget), NOW).unwrap();
        let kept = kept(Keeper::new(bounds(budget)).look(&*store, NOW));
        assert!(told.rows.abs_diff(kept.rows) <= told.rows / 10, "{told:?} {kept:?}");
        assert!(kept.fits && kept.disk <= budget && kept.disk_before == whole, "{kept:?} of {budget}");
        let left: Vec<u64> = all.iter().copied().filter(|time| *time >= kept.before).collect();
        assert_eq!(times(&*store), left);
        assert_eq!(kept.rows as usize, all.len() - left.len());
        assert!(left.len() > all.len() / 5, "{} rows are left of {}", left.len(), all.len());
        assert!(store.verify(&mut |_, _| true).unwrap().is_sound());
        // One that cannot be kept is gone for once, and again a day later.
        let kept = keep(&*store, &bounds(1), NOW).unwrap();
        let newest = all[all.len() - 1];
        assert!(!kept.fits && times(&*store).iter().all(|time| *time >= newest - DAY), "{kept:?}");
        assert!(times(&*store).len() > 300);
        let mut keeper = Keeper::new(bounds(1));
        assert!(!super::tests::kept(keeper.look(&*store, NOW)).fits);
        assert_eq!(keeper.look(&*store, NOW + DAY - 1).unwrap(), Look::Within);
        assert_ne!(keeper.look(&*store, NOW + DAY).unwrap(), Look::Within);
        // Space that a rewrite gives back costs no row.
        store.expire(newest, NOW).unwrap();
        let rows = times(&*store);
        add(&*store, spread().filter(|time| *time < newest));
        assert_eq!(times(&*store), rows, "what is older than the cut is not taken");
        let Stats { live_bytes, disk_bytes, .. } = store.stats().unwrap();
        assert!(live_bytes < disk_bytes / 2, "{live_bytes} of {disk_bytes}");
        let kept = keep(&*store, &bounds(disk_bytes - 1), NOW).unwrap();
        assert!(kept.fits && kept.rows == 0 && kept.disk < disk_bytes, "{kept:?}");
    }

    #[test]
    fn no_row_goes_for_what_a_reader_holds() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SledStore::open(folder.path(), &Options::default()).unwrap());
        add(&*store, (0..60_000).map(|i| NOW - 10 * DAY + i));
        store.rewrite().unwrap();
        let held = store.now();
        store.rewrite().unwrap();
        let stats = store.stats().unwrap();
        assert!(stats.held_bytes > 0 && stats.own_disk_bytes() < stats.disk_bytes);
        let budget = Bounds { max_disk: Some(stats.own_disk_bytes() * 5 / 4), ..Bounds::default() };
        let kept = keep(&*store, &budget, NOW).unwrap();
        assert!(kept.fits && kept.rows == 0 && kept.disk > budget.max_disk.unwrap(), "{kept:?}");
        drop(held);
    }
}
