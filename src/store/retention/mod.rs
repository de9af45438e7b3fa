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

mod keeper;
mod shrink;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

pub use self::keeper::{Keeper, Upkeep};
use self::shrink::shrink;
use crate::base::time::{DAY, format_utc};
use crate::store::{Expired, ReadStore, Reduce, Reduced, Scan, Stats, StoreError, Survey, WriteStore};

/// The least age, and what no budget touches.
pub const LEAST_AGE: Duration = Duration::from_secs(DAY);
/// How often a budget is gone for at a time.
const ROUNDS: usize = 4;
/// What the notice is about that rows wait to be dropped by hand.
pub const RETENTION: &str = "retention";
/// What is said where the disk has no room to write anew what stays.
pub const NO_ROOM: &str = "The ledger exceeds store.max_disk, and its disk has no room to write anew what stays: nothing goes for which there was none.";
/// What to do then.
pub const NO_ROOM_HINT: &str = "make room on the disk, or a smaller store.max_disk";
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

/// What was dropped and folded to bring a ledger within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reduction {
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
    /// Whether the disk had no room to write anew what stays of something that was to go: it stays.
    #[serde(default)]
    pub no_room: bool,
}

impl Reduction {
    /// What was done, for a log.
    pub fn what(&self) -> &'static str {
        match (self.rows + self.questions, self.folded, self.unresolved) {
            (0, 0, 0) => "The ledger was written anew: no row was dropped.",
            (0, 0, _) => "Questions that never resolved were dropped.",
            (0, ..) => "Names were folded into the rows of their domains.",
            _ => "Rows that were not seen for long were dropped.",
        }
    }

    /// Why the ledger is still larger than it may be; empty where it is not.
    pub fn why_larger(&self) -> &'static str {
        match (self.fits, self.no_room) {
            (true, _) => "",
            (false, true) => "the disk has no room to write anew what stays",
            (false, false) => "what was seen in the last day is never dropped, and that alone takes more",
        }
    }
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
pub fn keep(store: &dyn WriteStore, bounds: &Bounds, now: u64) -> Result<Reduction, StoreError> {
    store.use_reserve();
    let kept = bring_within(store, bounds, now, Space::AtOnce);
    store.keep_reserve();
    kept
}

/// As [`keep`], after what is read is committed, so that it is judged with the rest, where there is room for it. On a full disk this may
/// take a moment.
///
/// # Errors
///
/// As [`keep`] and `commit` have them.
pub fn commit_and_keep(
    store: &dyn WriteStore,
    commit: impl Fn() -> Result<(), StoreError>,
    bounds: &Bounds,
    now: u64,
) -> Result<Reduction, StoreError> {
    store.use_reserve();
    let kept = match patiently(commit) {
        // It waits until room is made.
        Err(StoreError::MakingRoom) | Ok(()) => bring_within(store, bounds, now, Space::AtOnce),
        Err(error) => Err(error),
    };
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

fn bring_within(
    store: &dyn WriteStore,
    bounds: &Bounds,
    now: u64,
    space: Space,
) -> Result<Reduction, StoreError> {
    // While an engine is opened again nothing can be read either.
    let newest = patiently(|| newest(store, now))?;
    let Stats { disk_bytes: disk_before, expired: before, folded: folded_before, .. } =
        patiently(|| store.stats())?;
    if let Some(cut) = bounds.cut(now, newest) {
        patiently(|| store.expire(cut, now))?;
    }
    let mut has_room = true;
    // Only so many domains are folded at a time.
    for _ in 0..ROUNDS {
        match store.reduce(Reduce::Names { at_least: 1 }, now) {
            Ok(reduced) if reduced == Reduced::default() => break,
            Ok(_) => {}
            // Where there is no room for that it waits for another time.
            Err(error) if error.can_pass() => {
                has_room = false;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if space == Space::AtOnce && store.stats()?.expired_on_disk > 0 {
        write_anew(store)?;
    }
    if let Some(budget) = bounds.max_disk {
        has_room &= shrink(store, budget, newest.map_or(now, |newest| newest.min(now)), now, has_room)?;
    }
    let stats = store.stats()?;
    let Stats { disk_bytes: disk, expired, folded, .. } = stats;
    let Expired { before: cut, rows, questions, .. } = expired;
    Ok(Reduction {
        rows: rows.saturating_sub(before.rows),
        questions: questions.saturating_sub(before.questions),
        folded: folded.all().saturating_sub(folded_before.all()),
        unresolved: folded.unresolved.saturating_sub(folded_before.unresolved),
        before: cut,
        disk_before,
        disk,
        fits: bounds.max_disk.is_none_or(|budget| stats.own_disk_bytes() <= budget),
        no_room: !has_room,
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
