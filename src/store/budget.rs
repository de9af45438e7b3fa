//! The budget of names that a registrable domain has, and what is done with the names beyond it.
//!
//! Whoever can make DNS queries writes into the ledger: random names below one domain are a row, an entry of the index and a
//! question each. So a domain has a budget of distinct names. Of one that has more, the names that were seen first stay, as
//! many as the budget is, and of the others those that tell least are *folded*: their rows and questions become one row, and
//! one question, of the domain, of the type [`RrType::FOLDED`], which keep count, first, last and days; how many names they
//! were is told by a [`Sketch`].
//!
//! # What folds
//!
//! A name folds, with all its rows and questions of all sensors, or stays. It stays when it is among those of the budget, or
//! an exception, or was seen or asked on two days (UTC); where room is needed, also when it was first seen before the flood ([`SPANS`]). Of the rest the names fold of which each row was seen once, and those
//! that were only asked. Where that leaves more than twice the budget, all of the rest fold: else whoever asks each name twice
//! had no bound.
//!
//! Rows and folded row together give the same totals for the domain as before. A name that comes back after it was folded is
//! a row again, until the next time.
//!
//! # How it is decided
//!
//! In three readings of the same runs, with memory that is bounded:
//!
//! 1. [`survey`] goes through all names in their order, in which those of a domain are together, and finds the domains
//!    that have too many, with the last name of the budget of each (by first sighting, then by name).
//! 2. [`plan`] goes through the names of those domains, and notes which names stay although one of their rows, seen alone,
//!    looks as if it folded: by a hash, so that two names of one hash both stay.
//! 3. Where the rows are written, family by family, [`Rules::keeps`] judges each by what it says itself and by these notes: the
//!    same for the row, for its entry in the index, and for the question. What does not stay is summed up, and the sums are
//!    written as a run of their own.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;

use bincode::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::engine::{self, Changes, Pairs, with_prefix};
use super::hyperloglog::Sketch;
use super::key::{self, Family};
use super::manifest;
use super::run::{Merged, Sources};
use super::{Growth, Scan, StoreError, block, damaged, value};
use crate::dns::{Name, Rdata, RrType, registrable_length, split_name_key, split_rdata_key};
use crate::observation::{Asked, Halves, Outcome, SensorId};
use crate::store::batch::Batch;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Domains that are folded at a time, those with the most names: each has sums in memory.
const DOMAINS: usize = 4096;
/// Names that are noted at a time, 8 bytes each. A domain with more of them has its turn when others have had theirs.
const NOTED: usize = 2 << 20;
/// Domains that are named as those that grow most.
const GROWING: usize = 10;
/// Where room is needed a domain may have one in so many names of its budget, the largest part first.
pub const PARTS: [u64; 7] = [4, 16, 64, 256, 1024, 4096, 16_384];
/// Days: names that were first seen within so many fold before older ones do. What is older than the last is in all spans.
pub const SPANS: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, u64::MAX];
/// Names that fold, about, for each of [`SPANS`] and each of [`PARTS`].
pub type FoldsBySpan = [[u64; PARTS.len()]; SPANS.len()];
/// A flood is when most names were first seen within so many days.
const FLOOD_DAYS: u64 = 8;
/// The text shown in place of record data.
const TEXT: &str = "folded: names beyond the budget of this domain";

/// How many distinct names a registrable domain may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameBudget {
    /// Names; 0 is no bound.
    pub names: u64,
    /// Names that never fold, with all below them.
    pub except: Vec<Name>,
    /// Names that were first seen before this neither fold nor count, epoch seconds: 0 but where room is needed.
    pub since: u64,
}

impl Default for NameBudget {
    fn default() -> NameBudget {
        NameBudget { names: 50_000, except: Vec::new(), since: 0 }
    }
}

impl NameBudget {
    /// A part of this budget, for the names first seen since a time.
    pub(crate) fn share(&self, part: u64, since: u64) -> NameBudget {
        let names = if self.names == 0 { 0 } else { (self.names / part.max(1)).max(1) };
        NameBudget { names, since, ..self.clone() }
    }

    fn is_exception(&self, name: &[u8]) -> bool {
        self.except.iter().any(|except| name.starts_with(except.subtree_key()))
    }
}

/// The record data of a folded row.
pub(crate) fn folded_rdata() -> Rdata {
    Rdata::Text(TEXT.into())
}

/// Whether a row or a question is a folded one. None is in the index: its data is text.
fn is_folded(family: Family, key: &[u8]) -> bool {
    matches!(family, Family::ByName | Family::Questions)
        && split_name_key(key).is_some_and(|(_, rest)| rest.starts_with(&RrType::FOLDED.0.to_be_bytes()))
}

/// The domain and the sensor of a folded row or question; `None` of any other.
pub(crate) fn folded_place(family: Family, key: &[u8]) -> Result<Option<(Vec<u8>, SensorId)>, StoreError> {
    if !is_folded(family, key) {
        return Ok(None);
    }
    let (_, sensor) = key::split_sensor(key).ok_or_else(|| key::bad_key(family))?;
    let name = name_of(family, key)?;
    Ok(Some((name.split_last().map_or(name, |(_, labels)| labels).to_vec(), sensor)))
}

/// The name that a row or a question belongs to, in key form.
fn name_of(family: Family, key: &[u8]) -> Result<&[u8], StoreError> {
    let name = match family {
        Family::ByRdata => split_rdata_key(key).and_then(|(_, rest)| split_name_key(rest)),
        Family::ByName | Family::Questions | Family::Hits => split_name_key(key),
        Family::HitLog => key::hit_of_log(key).and_then(split_name_key),
        Family::Domains => return key::domain(key).ok_or_else(|| key::bad_key(family)),
    };
    name.map(|(name, _)| name).ok_or_else(|| key::bad_key(family))
}

/// First and last sighting of a row or a question, and how often.
#[derive(Debug, Clone, Copy)]
struct Sight {
    first: u64,
    last: u64,
    /// How often it was seen; 1 of a question.
    count: u64,
}

impl Sight {
    fn of(family: Family, stored: &[u8]) -> Result<Sight, StoreError> {
        Ok(match family {
            Family::ByRdata | Family::ByName => {
                let seen = value::halves(stored)?.combined();
                Sight { first: seen.time_first, last: seen.time_last, count: seen.count }
            }
            Family::Questions => {
                let asked = value::asked(stored)?;
                Sight { first: asked.time_first, last: asked.time_last, count: 1 }
            }
            Family::Domains => {
                let times = value::first_seen(stored)?;
                Sight { first: times.first(), last: times.last, count: 1 }
            }
            Family::Hits | Family::HitLog => {
                let hit = value::hit(stored)?;
                Sight { first: hit.time, last: hit.time, count: 1 }
            }
        })
    }

    /// Whether it folds if nothing else of its name speaks against it.
    fn may_fold(self, name: &[u8], bound: &Bound, level: Level) -> bool {
        self.first / DAY == self.last / DAY
            && (level == Level::Day || self.count <= 1)
            && bound.is_before(self.first, name)
    }
}

/// The last name of the budget of a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bound(u64, Box<[u8]>);

impl Bound {
    fn is_before(&self, first: u64, name: &[u8]) -> bool {
        (self.0, &*self.1) < (first, name)
    }
}

/// How much of a domain folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Names whose rows were seen once, and those that were only asked.
    Once,
    /// All that were seen on one day.
    Day,
}

//--- going through names --------------------------------------------------------------------------------------------

/// Goes through the names of some runs, in their order.
struct Names {
    streams: [(Family, Merged, bool); 2],
    key: Vec<u8>,
    first: u64,
    last: u64,
    /// Whether all its rows were seen once.
    is_once: bool,
    /// Whether one of its rows or questions looks as if it folded, by level.
    looks: [bool; 2],
}

impl Names {
    /// All names, or those of a domain.
    fn open(sources: &Sources, domain: Option<&Name>) -> Result<Names, StoreError> {
        let scan = domain.map_or(Scan::All, |domain| Scan::Subtree(domain.clone()));
        let stream = |family, range: Option<key::Range>| {
            let mut rows = Merged::open(sources, &range.unwrap_or_else(|| key::Range::all(family)))?;
            let ahead = rows.advance()?;
            Ok::<_, StoreError>((family, rows, ahead))
        };
        Ok(Names {
            streams: [
                stream(Family::ByName, key::Range::entries(&scan))?,
                stream(Family::Questions, key::Range::questions(&scan))?,
            ],
            key: Vec::new(),
            first: 0,
            last: 0,
            is_once: true,
            looks: [false; 2],
        })
    }

    /// Goes to the next name; `false` after the last. Folded rows are of no name.
    fn advance(&mut self, bound: Option<&Bound>) -> Result<bool, StoreError> {
        loop {
            let mut least: Option<&[u8]> = None;
            for (family, rows, ahead) in &self.streams {
                if *ahead {
                    let name = name_of(*family, rows.key())?;
                    least = Some(least.map_or(name, |least| least.min(name)));
                }
            }
            let Some(least) = least else { return Ok(false) };
            self.key.clear();
            self.key.extend_from_slice(least);
            (self.first, self.last, self.is_once, self.looks) = (u64::MAX, 0, true, [false; 2]);
            for (family, rows, ahead) in &mut self.streams {
                // A name ends itself, so a key that starts with it has the same one.
                while *ahead && rows.key().starts_with(&self.key) {
                    if !is_folded(*family, rows.key()) {
                        let sight = Sight::of(*family, rows.value())?;
                        self.first = self.first.min(sight.first);
                        self.last = self.last.max(sight.last);
                        self.is_once &= sight.count <= 1;
                        if let Some(bound) = bound {
                            for (looks, level) in self.looks.iter_mut().zip([Level::Once, Level::Day]) {
                                *looks |= sight.may_fold(&self.key, bound, level);
                            }
                        }
                    }
                    *ahead = rows.advance()?;
                }
            }
            if self.first <= self.last {
                return Ok(true);
            }
        }
    }

    /// At which level it folds, if it does.
    fn folds(&self, bound: &Bound) -> Option<Level> {
        let stays = self.first / DAY != self.last / DAY || !bound.is_before(self.first, &self.key);
        if stays { None } else { Some(if self.is_once { Level::Once } else { Level::Day }) }
    }
}

//--- survey ---------------------------------------------------------------------------------------------------------

/// The result of a survey of all names.
#[derive(Debug, Default)]
pub(crate) struct NameSurvey {
    /// Distinct names.
    pub names: u64,
    /// Of these the ones that may be of a flood, by when they were first seen.
    pub new: u64,
    /// Names that would fold, about, where a domain had only a part of its budget, by how long ago they were first seen.
    pub names_over_parts: FoldsBySpan,
    /// The domains that have more than their budget.
    over: Vec<Over>,
    /// The domains that have got most names since a time, the most first.
    pub growth: Vec<Growth>,
}

impl NameSurvey {
    /// How many names are beyond the budget of their domain.
    pub fn names_over(&self, budget: &NameBudget) -> u64 {
        self.over.iter().map(|over| over.names.saturating_sub(budget.names)).sum()
    }
}

/// A domain that has more names than its budget.
#[derive(Debug)]
struct Over {
    /// The common prefix of its names.
    prefix: Vec<u8>,
    names: u64,
    bound: Bound,
}

/// A domain whose names are being counted.
struct Open {
    prefix: Vec<u8>,
    /// All names, those that were first seen of late, and those that count.
    all: u64,
    recent: u64,
    names: u64,
    /// Those that count, by how long ago they were first seen.
    ages: Ages,
    /// The first of them, as many as the budget is.
    firsts: BinaryHeap<Bound>,
}

/// How many names of a domain count, for each of [`SPANS`] those that are in no shorter one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ages([Counted; SPANS.len()]);

/// Names that count: all, and those that were seen on one day only, once or more often.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    names: u64,
    once: u64,
    often: u64,
}

impl Ages {
    /// Counts a name.
    pub fn add(&mut self, now: u64, first: u64, last: u64, is_once: bool) {
        let days = now.saturating_sub(first).div_ceil(DAY);
        let at = SPANS.partition_point(|span| *span < days);
        let Some(counted) = self.0.get_mut(at) else { return };
        counted.names += 1;
        if first / DAY == last / DAY {
            counted.once += u64::from(is_once);
            counted.often += u64::from(!is_once);
        }
    }

    /// How many fold, about. Which of them are within the budget is not known here: it may be fewer.
    pub fn add_folds(&self, budget: u64, sums: &mut FoldsBySpan) {
        let mut all = Counted::default();
        for (sums, counted) in sums.iter_mut().zip(&self.0) {
            all.names += counted.names;
            all.once += counted.once;
            all.often += counted.often;
            for (sum, part) in sums.iter_mut().zip(PARTS) {
                *sum += all.folds(if budget == 0 { u64::MAX } else { (budget / part).max(1) });
            }
        }
    }
}

impl Counted {
    fn folds(self, most: u64) -> u64 {
        let beyond = self.names.saturating_sub(most);
        let once = self.once.min(beyond);
        let folds_all = self.names - once > most.saturating_mul(2);
        if folds_all { (self.once + self.often).min(beyond) } else { once }
    }
}

/// Since when names were first seen that fold before those that are older than so many days.
pub(crate) fn since(now: u64, days: u64) -> u64 {
    now.saturating_sub(days.saturating_mul(DAY))
}

/// Whether a name may be of a flood, by when it was first seen.
pub(crate) fn is_new(now: u64, first: u64) -> bool {
    first >= since(now, FLOOD_DAYS)
}

/// Counts the names of each domain in some runs. Those first seen within a day are growth.
///
/// # Errors
///
/// When the runs cannot be read, or `check` ends it.
pub(crate) fn survey(
    sources: &Sources,
    budget: &NameBudget,
    now: u64,
    check: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<NameSurvey, StoreError> {
    let mut found = NameSurvey::default();
    let mut names = Names::open(sources, None)?;
    // A domain may have another public suffix below it: names of that one come between its own.
    let mut open: Vec<Open> = Vec::new();
    while names.advance(None)? {
        if found.names.is_multiple_of(1024) {
            check()?;
        }
        found.names += 1;
        found.new += u64::from(is_new(now, names.first));
        while let Some(left) = open.pop_if(|domain| !names.key.starts_with(&domain.prefix)) {
            found.close(left, budget)?;
        }
        let Some(prefix) = registrable_length(&names.key).and_then(|length| names.key.get(..length)) else {
            continue;
        };
        if open.last().is_none_or(|domain| domain.prefix != prefix) {
            let (prefix, firsts) = (prefix.to_vec(), BinaryHeap::new());
            open.push(Open { prefix, all: 0, recent: 0, names: 0, ages: Ages::default(), firsts });
        }
        let Some(domain) = open.last_mut() else { continue };
        domain.all += 1;
        domain.recent += u64::from(names.first >= since(now, 1));
        if budget.names == 0 || names.first < budget.since || budget.is_exception(&names.key) {
            continue;
        }
        domain.names += 1;
        domain.ages.add(now, names.first, names.last, names.is_once);
        if (domain.firsts.len() as u64) < budget.names {
            domain.firsts.push(Bound(names.first, names.key.as_slice().into()));
        } else if let Some(mut last) = domain.firsts.peek_mut()
            && !last.is_before(names.first, &names.key)
        {
            *last = Bound(names.first, names.key.as_slice().into());
        }
    }
    while let Some(left) = open.pop() {
        found.close(left, budget)?;
    }
    Ok(found)
}

impl NameSurvey {
    fn close(&mut self, domain: Open, budget: &NameBudget) -> Result<(), StoreError> {
        let Open { prefix, all, recent, names, ages, firsts } = domain;
        ages.add_folds(budget.names, &mut self.names_over_parts);
        let grows = |known: &Growth| known.names_a_day < recent;
        if recent > 0 && (self.growth.len() < GROWING || self.growth.last().is_some_and(grows)) {
            let growth =
                Growth { domain: domain_name(&prefix)?.to_string(), names_a_day: recent, names: all };
            let at = self.growth.partition_point(|known| known.names_a_day >= recent);
            self.growth.insert(at, growth);
            self.growth.truncate(GROWING);
        }
        if names > budget.names
            && let Some(bound) = firsts.into_iter().max()
        {
            self.over.push(Over { prefix, names, bound });
        }
        Ok(())
    }
}

fn domain_name(prefix: &[u8]) -> Result<Name, StoreError> {
    Name::from_key(&[prefix, &[0]].concat()).map_err(|_| key::bad_key(Family::ByName))
}

//--- plan -----------------------------------------------------------------------------------------------------------

/// A plan: which names fold.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    /// Names that fold.
    pub names: u64,
    budget: NameBudget,
    /// The domains, sorted by prefix.
    domains: Vec<Folding>,
    /// Hashes of names that stay although a row of theirs looks as if it folded, in order.
    noted: Vec<u64>,
    seed: u64,
    /// The last name that was looked for, and its domain.
    last: (Vec<u8>, Option<usize>),
}

/// The part of a plan that is about one domain.
#[derive(Debug, Clone)]
struct Folding {
    prefix: Vec<u8>,
    bound: Bound,
    level: Level,
}

/// Finds out what is to be folded of the domains that a survey of the same runs has found; `None` where there is nothing.
///
/// # Errors
///
/// As [`survey`].
pub(crate) fn plan(
    sources: &Sources,
    found: NameSurvey,
    budget: &NameBudget,
    seed: u64,
    check: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<Option<Fold>, StoreError> {
    let mut over = found.over;
    over.sort_by(|a, b| b.names.cmp(&a.names).then_with(|| a.prefix.cmp(&b.prefix)));
    over.truncate(DOMAINS);
    let mut fold = Fold {
        names: 0,
        budget: budget.clone(),
        domains: Vec::new(),
        noted: Vec::new(),
        seed,
        last: (Vec::new(), None),
    };
    for Over { prefix, bound, .. } in over {
        let mut names = Names::open(sources, Some(&domain_name(&prefix)?))?;
        let (mut seen, mut stay, mut once, mut day) = (0u64, 0u64, 0u64, 0u64);
        let (mut noted, mut room) = ([Vec::new(), Vec::new()], NOTED.saturating_sub(fold.noted.len()));
        while names.advance(Some(&bound))? {
            seen += 1;
            if seen.is_multiple_of(1024) {
                check()?;
            }
            // The name is of another domain below this one, or never folds.
            if registrable_length(&names.key) != Some(prefix.len()) || budget.is_exception(&names.key) {
                continue;
            }
            let level = names.folds(&bound);
            match level {
                Some(Level::Once) => once += 1,
                Some(Level::Day) => day += 1,
                None => stay += u64::from(names.first >= budget.since),
            }
            let stays = [level != Some(Level::Once), level.is_none()];
            for ((noted, looks), stays) in noted.iter_mut().zip(names.looks).zip(stays) {
                if looks && stays {
                    noted.push(hash(seed, &names.key));
                    room = room.saturating_sub(1);
                }
            }
            if room == 0 {
                break;
            }
        }
        let [noted_once, noted_day] = noted;
        let (level, noted, folds) = if stay + day > budget.names.saturating_mul(2) {
            (Level::Day, noted_day, once + day)
        } else {
            (Level::Once, noted_once, once)
        };
        if room > 0 && folds > 0 {
            fold.names += folds;
            fold.noted.extend(noted);
            fold.domains.push(Folding { prefix, bound, level });
        }
    }
    fold.domains.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    fold.noted.sort_unstable();
    Ok((!fold.domains.is_empty()).then_some(fold))
}

/// The hash by which names are noted and counted.
fn hash(seed: u64, name: &[u8]) -> u64 {
    xxh3_64_with_seed(name, seed)
}

impl Fold {
    /// The place of the domain of a name, if it is one that is folded.
    fn domain(&mut self, name: &[u8]) -> Option<usize> {
        if self.last.0 != name {
            let prefix = registrable_length(name).and_then(|length| name.get(..length));
            let at = prefix.and_then(|prefix| {
                self.domains.binary_search_by(|domain| domain.prefix.as_slice().cmp(prefix)).ok()
            });
            let at = at.filter(|_| !self.budget.is_exception(name));
            self.last.0.clear();
            self.last.0.extend_from_slice(name);
            self.last.1 = at.filter(|_| self.noted.binary_search(&hash(self.seed, name)).is_err());
        }
        self.last.1
    }

    /// The number of domains in the plan.
    pub fn domains(&self) -> usize {
        self.domains.len()
    }

    /// The prefix of the domain that a row folds into; none where the row stays.
    fn folds(&mut self, family: Family, name: &[u8], stored: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let Some(domain) = self.domain(name).and_then(|at| self.domains.get(at)) else { return Ok(None) };
        let folds = Sight::of(family, stored)?.may_fold(name, &domain.bound, domain.level);
        Ok(folds.then_some(&domain.prefix))
    }
}

//--- rules ----------------------------------------------------------------------------------------------------------

/// Decides which rows are kept while they are written anew, and counts the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// A sensor whose rows are left behind.
    pub without: Option<SensorId>,
    /// The plan for folding.
    pub fold: Option<Fold>,
    /// Questions that were asked once, within this span, and never resolved are dropped, or folded where their domain is.
    pub unresolved: Range<u64>,
    /// Estimates of earlier folds.
    pub known: Arc<Estimates>,
    /// The seed of the hash by which names are counted.
    pub seed: u64,
    /// Rows and questions that were folded.
    pub folded: (u64, u64),
    /// Questions that were dropped.
    pub dropped: u64,
    /// Whether all estimates stay, since folded rows do not pass by here.
    pub keeps_estimates: bool,
    pub sums: BTreeMap<(Vec<u8>, SensorId), FoldedSum>,
    /// Domains and sensors of which a folded row or question stays.
    pub alive: BTreeSet<(Vec<u8>, SensorId)>,
}

/// The sum of all that folds into one row.
#[derive(Debug, Clone, Default)]
pub(crate) struct FoldedSum {
    halves: Halves,
    asked: Asked,
    names: Sketch,
}

impl Rules {
    /// Whether rows go by what they are, and not only by whose they are.
    pub fn tell_rows_apart(&self) -> bool {
        self.fold.is_some() || !self.unresolved.is_empty()
    }

    /// Whether a row stays. Its entry in the index is judged before it, and in the same way.
    pub fn keeps(&mut self, family: Family, key: &[u8], stored: &[u8]) -> Result<bool, StoreError> {
        let (_, sensor) = key::split_sensor(key).ok_or_else(|| key::bad_key(family))?;
        if self.without == Some(sensor) {
            return Ok(false);
        }
        // Domains and hits stay as they are, whatever becomes of its names.
        match family {
            Family::Domains => return Ok(key::is_of_this_list(key)),
            Family::Hits | Family::HitLog => return Ok(true),
            Family::ByRdata | Family::ByName | Family::Questions => {}
        }
        if let Some(place) = folded_place(family, key)? {
            self.alive.insert(place);
            return Ok(true);
        }
        if self.fold.is_none() && (self.unresolved.is_empty() || family != Family::Questions) {
            return Ok(true);
        }
        let name = name_of(family, key)?;
        let into = match &mut self.fold {
            Some(fold) => fold.folds(family, name, stored)?.map(<[u8]>::to_vec),
            None => None,
        };
        if let Some(prefix) = into {
            self.add(family, prefix, sensor, name, stored)?;
            return Ok(false);
        }
        if family == Family::Questions && self.is_unresolved(&value::asked(stored)?) {
            // The totals of a domain that was folded must stay exact.
            let prefix = registrable_length(name).and_then(|length| name.get(..length)).map(<[u8]>::to_vec);
            let place = prefix.map(|prefix| (prefix, sensor));
            match place.filter(|place| self.known.0.contains_key(place) || self.sums.contains_key(place)) {
                Some((prefix, _)) => self.add(family, prefix, sensor, name, stored)?,
                None => self.dropped += 1,
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn is_unresolved(&self, asked: &Asked) -> bool {
        self.unresolved.contains(&asked.time_last) && is_unresolved(asked)
    }

    fn add(
        &mut self,
        family: Family,
        prefix: Vec<u8>,
        sensor: SensorId,
        name: &[u8],
        stored: &[u8],
    ) -> Result<(), StoreError> {
        match family {
            Family::ByRdata | Family::Domains | Family::Hits | Family::HitLog => return Ok(()),
            Family::ByName => self.folded.0 += 1,
            Family::Questions => self.folded.1 += 1,
        }
        let sum = self.sums.entry((prefix, sensor)).or_default();
        match family {
            Family::Questions => sum.asked.merge(&value::asked(stored)?),
            _ => sum.halves.merge(&value::halves(stored)?),
        }
        sum.names.insert(hash(self.seed, name));
        Ok(())
    }

    /// The folded rows and questions, once all rows of what was surveyed were judged. Nothing is folded any more after this.
    pub fn sums(&mut self) -> Result<Batch, StoreError> {
        self.fold = None;
        self.unresolved = 0..0;
        let mut batch = Batch::default();
        for ((prefix, sensor), sum) in &self.sums {
            let mut key = [prefix.as_slice(), &[0], &RrType::FOLDED.0.to_be_bytes()].concat();
            let question = [key.as_slice(), &sensor.0.to_be_bytes()].concat();
            folded_rdata().push_key(&mut key);
            key.extend_from_slice(&sensor.0.to_be_bytes());
            if sum.halves != Halves::default() {
                batch.add_halves(&key, &sum.halves);
            }
            if sum.asked.count() > 0 {
                batch.add_asked(&question, &sum.asked);
            }
        }
        Ok(batch)
    }

    /// Whether something was left behind, or made less of, that is not too old.
    pub fn drops(&self) -> bool {
        self.without.is_some() || (self.folded, self.dropped) != ((0, 0), 0)
    }

    /// The record of folding to store from then on.
    pub fn record(&self, known: &FoldRecord, pressed: bool, at: u64) -> FoldRecord {
        let (rows, questions) = self.folded;
        if (rows, questions, self.dropped) == (0, 0, 0) {
            return *known;
        }
        let (by_budget, by_need) =
            if pressed { ((0, 0), (rows, questions)) } else { ((rows, questions), (0, 0)) };
        FoldRecord {
            seed: self.seed,
            at,
            rows: known.rows.saturating_add(by_budget.0),
            questions: known.questions.saturating_add(by_budget.1),
            pressed_rows: known.pressed_rows.saturating_add(by_need.0),
            pressed_questions: known.pressed_questions.saturating_add(by_need.1),
            unresolved: known.unresolved.saturating_add(self.dropped),
        }
    }

    /// Changes to the main map, and the estimates from then on.
    pub fn changes(
        &self,
        main: &dyn Pairs,
        record: &FoldRecord,
        known: &Estimates,
    ) -> Result<(Changes, Estimates), StoreError> {
        let (mut changes, mut next) = (Changes::new(), known.clone());
        for place in known.0.keys().filter(|place| !self.alive.contains(place)) {
            if !self.sums.contains_key(place) && !self.keeps_estimates {
                changes.push((engine::sketch(&place.0, place.1), None));
                next.0.remove(place);
            }
        }
        for (place, sum) in &self.sums {
            let key = engine::sketch(&place.0, place.1);
            let mut names = sum.names.clone();
            if let Some(before) = main.get(&key)?.and_then(|sealed| open_sketch(&key, &sealed).ok()) {
                names.merge(&before);
            }
            next.0.insert(place.clone(), names.estimate());
            changes.push((key.clone(), Some(block::seal(&key, names.to_bytes()))));
        }
        if *record != FoldRecord::default() {
            changes.push((engine::FOLDED.to_vec(), Some(record.to_bytes()?)));
        }
        Ok((changes, next))
    }
}

/// Whether a question never resolved and was asked once. Where Zeek logs no answers, nobody knows.
pub fn is_unresolved(asked: &Asked) -> bool {
    asked.count() == 1 && asked.outcome(Outcome::Answered) == 0 && asked.outcome(Outcome::NotLogged) == 0
}

//--- what is kept of it ---------------------------------------------------------------------------------------------

/// How many names were folded, about, by what the names of the domain start with and by sensor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Estimates(pub BTreeMap<(Vec<u8>, SensorId), u64>);

impl Estimates {
    /// The estimate for a name and a sensor.
    pub fn of(&self, name: &Name, sensor: SensorId) -> Option<u64> {
        self.0.get(&(name.subtree_key().to_vec(), sensor)).copied()
    }
}

/// The stored record of folding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct FoldRecord {
    /// The seed of the hash by which names are counted. Random, so that nobody can choose names that count for many.
    pub seed: u64,
    /// When something was folded or dropped last, epoch seconds.
    pub at: u64,
    /// Rows and questions that were folded because their domain was beyond its budget.
    pub rows: u64,
    pub questions: u64,
    /// The same because room was needed, and their domain was beyond a part of its budget.
    pub pressed_rows: u64,
    pub pressed_questions: u64,
    /// Questions that were dropped because room was needed, and they never resolved and were asked once.
    pub unresolved: u64,
}

#[derive(Encode, Decode)]
enum StoredRecord {
    V1(FoldRecord),
}

const WHAT: &str = "the record of what was folded";

impl FoldRecord {
    fn to_bytes(self) -> Result<Vec<u8>, StoreError> {
        manifest::seal(engine::FOLDED, &StoredRecord::V1(self))
    }

    /// Reads the record; the default for a ledger that never folded.
    pub fn load(main: &dyn Pairs) -> Result<FoldRecord, StoreError> {
        match main.get(engine::FOLDED)? {
            None => Ok(FoldRecord::default()),
            stored => {
                let StoredRecord::V1(record) = manifest::open(engine::FOLDED, stored, WHAT)?;
                Ok(record)
            }
        }
    }

    /// This record with a random seed, where it has none.
    pub fn seeded(self) -> FoldRecord {
        use std::hash::{BuildHasher, Hasher};
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        FoldRecord { seed: if self.seed == 0 { random() } else { self.seed }, ..self }
    }
}

/// All estimates of a ledger. One that is damaged is not known: [`check_sketch`] is what tells.
pub(crate) fn load_estimates(main: &dyn Pairs) -> Result<Estimates, StoreError> {
    let mut estimates = Estimates::default();
    for pair in with_prefix(main, engine::FOLDED) {
        let (key, sealed) = pair?;
        if key == engine::FOLDED {
            continue;
        }
        match (engine::sketch_place(&key), open_sketch(&key, &sealed)) {
            (Some(place), Ok(names)) => drop(estimates.0.insert(place, names.estimate())),
            _ => {
                tracing::warn!(key = %key.escape_ascii(), "How many names were folded is damaged in one place, and not told.");
            }
        }
    }
    Ok(estimates)
}

fn open_sketch(key: &[u8], sealed: &[u8]) -> Result<Sketch, StoreError> {
    let what = || "the number of names that were folded".to_owned();
    let raw = block::open(key, sealed, &what)?;
    Sketch::from_bytes(&raw).ok_or_else(|| damaged(&what(), "invalid length"))
}

/// Checks a pair that begins with [`engine::FOLDED`].
pub(crate) fn check_sketch(key: &[u8], sealed: &[u8]) -> Result<(), StoreError> {
    if key == engine::FOLDED {
        let StoredRecord::V1(_) = manifest::open(key, Some(sealed.to_vec()), WHAT)?;
        return Ok(());
    }
    engine::sketch_place(key)
        .ok_or_else(|| damaged("the number of names that were folded", "invalid key"))?;
    open_sketch(key, sealed).map(drop)
}
