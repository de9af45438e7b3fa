//! Making room: what tells least goes first.
//!
//! 1. Names of domains beyond their budget were folded before: nothing is lost of their totals.
//! 2. Questions that never resolved and were asked once are dropped, as many as needed: the oldest first, and in a flood the newest.
//! 3. Names of domains beyond a part of their budget, those seen once first, are folded: beyond a quarter, or a sixteenth, and so on
//!    ([`PARTS`]). Who floods the ledger from many domains stays below what one may have. At first only names fold that were first seen
//!    within the last day, then within two, and so on ([`SPANS`]): what was there before a flood stays where folding the flood is enough.
//!    All names are counted once, and that tells which span and part it takes: in a flood there is no time to try one after the other. The
//!    smallest parts are for floods only, when most names came within some days: who has thousands of domains must not make the
//!    evidence of others go.
//! 4. What was not seen for longest is dropped, rows and questions alike, but nothing of the last day.
//!
//! After each the ledger is measured, and written anew where it then takes less.
//!
//! What stays needs room while it is written. Where there is little of it, more folds than is needed, so that what stays fits. And
//! where there is not enough for something that goes first, nothing goes by age: that would drop evidence and keep noise. Nor does
//! it where what then stays has no room: it would be dropped in vain.

use std::collections::BTreeMap;

use super::{HOUR, ROUNDS, find_cut, patiently, write_anew};
use crate::dns::RrType;
use crate::store::budget::{is_new, since};
use crate::store::{PARTS, Reduce, Reduced, SPANS, Scan, StoreError, Survey, WriteStore, is_unresolved};

/// What is done, in this order, and how often at most: only so many domains are folded at a time, and where a part was not enough
/// the next one is. Questions for which there was no room may have some when names have folded.
const STEPS: [(Step, usize); 4] =
    [(Step::Unresolved, 1), (Step::LargeDomains, 32), (Step::UnresolvedThen, 1), (Step::Age, ROUNDS)];

/// Names beyond such a part of the budget fold in a flood only: a site has as many that were seen once.
const FLOOD: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Unresolved,
    LargeDomains,
    UnresolvedThen,
    Age,
}

/// Makes room until the ledger is within a budget, or nothing more may go. What was seen within the day before `from` does not go
/// by age. `has_folded` is whether there was room to fold what is beyond the budget of its domain. Gives whether there was room for all
/// that was to go.
///
/// # Errors
///
/// When the ledger cannot be read, or written anew. What went before is gone.
pub(super) fn shrink(
    store: &dyn WriteStore,
    budget: u64,
    from: u64,
    now: u64,
    has_folded: bool,
) -> Result<bool, StoreError> {
    let mut room = Room { store, budget, is_fresh: false, was_there: has_folded };
    let mut questions_wait = false;
    for (step, rounds) in STEPS {
        for _ in 0..rounds {
            let Some(share) = room.share()? else { return Ok(room.was_there) };
            let was_fresh = room.is_fresh;
            let went = match step {
                Step::Unresolved => {
                    let went = drop_unresolved(store, share, from, now)?;
                    questions_wait = went.is_none();
                    went.unwrap_or_default()
                }
                Step::UnresolvedThen if !questions_wait => false,
                Step::UnresolvedThen => room.of(drop_unresolved(store, share, from, now)?),
                Step::LargeDomains => room.of(fold_parts(store, share, from, now)?),
                Step::Age if !room.is_enough_for(share)? => return Ok(false),
                Step::Age => match find_cut(store, share, from)? {
                    Some(cut) if cut > store.expired_before() => {
                        patiently(|| store.expire(cut, now))?;
                        write_anew(store)?;
                        true
                    }
                    _ => false,
                },
            };
            if went {
                // What stays may have been written in place, where much of the file is free then.
                room.is_fresh = false;
            } else if step != Step::Age {
                break;
            } else if was_fresh || !room.write_anew()? {
                return Ok(room.was_there);
            }
        }
    }
    Ok(room.was_there)
}

/// A ledger that is to take less.
struct Room<'a> {
    store: &'a dyn WriteStore,
    budget: u64,
    /// Whether it was written anew just for its size: the disk it takes is what its rows take then, with what the engine adds.
    is_fresh: bool,
    /// Whether there was room for all that was to go.
    was_there: bool,
}

impl Room<'_> {
    /// How much of what is there may stay; `None` where it is within its budget, or there is no room to write it anew. Where writing it
    /// anew is enough, no row goes.
    fn share(&mut self) -> Result<Option<f64>, StoreError> {
        let goal = self.budget / 5 * 4;
        loop {
            // What readers hold goes with them: no row goes for it.
            let stats = self.store.stats()?;
            let (disk_bytes, live_bytes) = (stats.own_disk_bytes(), stats.live_bytes);
            if disk_bytes <= self.budget {
                return Ok(None);
            }
            // Much of the disk may be space that writing anew gives back: no row goes for it.
            let size = if self.is_fresh { disk_bytes } else { live_bytes };
            if size > goal {
                return Ok(Some(goal as f64 / size as f64));
            }
            // Without room for it beside, the engine gives back what it does not need while it goes on.
            if !self.write_anew()? {
                return Ok(None);
            }
        }
    }

    /// Whether there was room for it.
    fn write_anew(&mut self) -> Result<bool, StoreError> {
        self.is_fresh = write_anew(self.store)?;
        self.was_there &= self.is_fresh;
        Ok(self.is_fresh)
    }

    /// Whether something went; nothing, where there was no room for it.
    fn of(&mut self, went: Option<bool>) -> bool {
        self.was_there &= went.is_some();
        went.unwrap_or_default()
    }

    /// Whether there was room for all that goes first, and is for what stays by age.
    fn is_enough_for(&self, share: f64) -> Result<bool, StoreError> {
        Ok(self.was_there && room_share(self.store)? >= share)
    }
}

/// Of how much of what is there a copy has room.
fn room_share(store: &dyn WriteStore) -> Result<f64, StoreError> {
    let live = store.stats()?.live_bytes.max(1);
    Ok(store.copy_room()?.map_or(1.0, |room| (room as f64 / live as f64).min(1.0)))
}

/// Folds names of domains beyond that part of their budget by which a share of all names is left, or less where there is room for less
/// only; whether any went. `None` where there is no room.
fn fold_parts(store: &dyn WriteStore, share: f64, from: u64, now: u64) -> Result<Option<bool>, StoreError> {
    let survey = store.survey(from, &mut || true)?;
    let is_flood = survey.new.saturating_mul(2) > survey.names;
    let mut share = share.min(room_share(store)?);
    let (mut had_room, mut did_not_do) = (true, 0);
    while let Some((part, folds)) = part_for(&survey, share, did_not_do, is_flood) {
        let rule = Reduce::LargeDomains { part: part.of_budget, since: since(from, part.days) };
        match reduce(store, rule, now)? {
            Some(reduced) if went(reduced) => return Ok(Some(true)),
            // Which names fold is known by doing it only.
            Some(_) => {}
            // Less must stay.
            None => (had_room, share) = (false, share / 2.0),
        }
        did_not_do = folds;
    }
    Ok(had_room.then_some(false))
}

/// A part of the budget of a domain, for the names that were first seen within so many days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub days: u64,
    pub of_budget: u64,
}

/// The part by which no more than a share of all names is left: of the shortest span by which three quarters of that can go, the largest
/// that does, or else the one that leaves least; and how many names fold, about: more than so many that did not do.
pub(super) fn part_for(survey: &Survey, share: f64, did_not_do: u64, is_flood: bool) -> Option<(Part, u64)> {
    let by_span: Vec<Vec<(Part, u64)>> = SPANS
        .iter()
        .zip(&survey.names_over_parts)
        .map(|(days, over)| {
            let parts = PARTS.iter().map(|of_budget| Part { days: *days, of_budget: *of_budget });
            let may_fold =
                |(part, over): &(Part, u64)| *over > did_not_do && (is_flood || part.of_budget < FLOOD);
            parts.zip(over.iter().copied()).filter(may_fold).collect()
        })
        .collect();
    let most = |parts: &Vec<(Part, u64)>| parts.iter().map(|(_, over)| *over).max().unwrap_or_default();
    let may_stay = (survey.names as f64 * share) as u64;
    let goes = survey.names.saturating_sub(may_stay).max(1).min(by_span.iter().map(most).max()?);
    // How much a name takes is not known: where nearly all of it is of a shorter span, that may be enough.
    let parts = by_span.iter().find(|parts| most(parts) >= (goes / 4 * 3).max(1))?;
    let part = parts.iter().find(|(_, over)| *over >= goes).or(parts.last());
    part.copied()
}

/// `None` where there is no room to write anew what stays.
fn reduce(store: &dyn WriteStore, rule: Reduce, now: u64) -> Result<Option<Reduced>, StoreError> {
    match store.reduce(rule, now) {
        Err(error) if error.is_full() => {
            tracing::debug!(%error, ?rule, "There is no room for this.");
            Ok(None)
        }
        done => done.map(Some),
    }
}

fn went(reduced: Reduced) -> bool {
    reduced != Reduced::default()
}

/// Drops questions that never resolved and were asked once, until a share of all rows and questions is left, or none of them: the oldest
/// first, and in a flood, of which most of them are, the newest; whether any went. `None` where there is no room.
fn drop_unresolved(
    store: &dyn WriteStore,
    share: f64,
    from: u64,
    now: u64,
) -> Result<Option<bool>, StoreError> {
    let share = share.min(room_share(store)?);
    let (mut all, mut unresolved, mut new, mut hours) = (0u64, 0u64, 0u64, BTreeMap::<u64, u64>::new());
    let snapshot = store.now();
    for entry in snapshot.entries(&Scan::All, None)? {
        entry?;
        all += 1;
    }
    for question in snapshot.questions(&Scan::All)? {
        let question = question?;
        all += 1;
        if question.qtype != RrType::FOLDED && is_unresolved(&question.asked) {
            unresolved += 1;
            new += u64::from(is_new(from, question.asked.time_first));
            *hours.entry(question.asked.time_last / HOUR).or_default() += 1;
        }
    }
    drop(snapshot);
    let may_stay = (all as f64 * share) as u64;
    let mut stays = all;
    let mut goes = |(hour, questions): (&u64, &u64)| {
        let goes = stays > may_stay;
        stays = stays.saturating_sub(*questions);
        goes.then_some(*hour)
    };
    let hour = |hour: u64| hour.saturating_mul(HOUR);
    let span = if new.saturating_mul(2) > unresolved {
        let first = hours.iter().rev().map_while(&mut goes).last();
        first.map(|first| (hour(first), u64::MAX))
    } else {
        let last = hours.iter().map_while(&mut goes).last();
        last.map(|last| (0, hour(last.saturating_add(1))))
    };
    let Some((since, before)) = span else { return Ok(Some(false)) };
    Ok(reduce(store, Reduce::Unresolved { since, before }, now)?.map(went))
}
