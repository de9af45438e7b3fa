//! Making room: what tells least goes first.
//!
//! 1. Names of domains beyond their budget are folded: nothing is lost of their totals.
//! 2. Questions that never resolved and were asked once are dropped, the oldest first, as many as needed.
//! 3. Names of domains beyond a quarter of their budget, those seen once first, are folded; then beyond a sixteenth, and so on: who
//!    floods the ledger from many domains stays below what one may have.
//! 4. In a flood, when most of what is there came within the last day, they are folded in finer steps still: who has thousands of
//!    domains must not make the evidence of others go.
//! 5. What was not seen for longest is dropped, rows and questions alike, but nothing of the last day.
//!
//! After each the ledger is measured, and written anew where it then takes less.

use std::collections::BTreeMap;

use super::{HOUR, LEAST_AGE, ROUNDS, find_cut, patiently, write_anew};
use crate::dns::RrType;
use crate::store::{Reduce, Reduced, Scan, StoreError, WriteStore, is_unresolved};

/// What is done, in this order.
const STEPS: [Step; 10] = [
    Step::Names,
    Step::Unresolved,
    Step::LargeDomains(4),
    Step::LargeDomains(16),
    Step::LargeDomains(64),
    Step::LargeDomains(256),
    Step::LargeDomains(FLOOD),
    Step::LargeDomains(4 * FLOOD),
    Step::LargeDomains(16 * FLOOD),
    Step::Age,
];

/// Names beyond one in so many of the budget, and more, fold in a flood only: a site has as many that were seen once.
const FLOOD: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Names,
    Unresolved,
    /// Beyond one in so many names of the budget.
    LargeDomains(u64),
    Age,
}

/// Makes room until the ledger is within a budget, or nothing more may go. What was seen within the day before `from` does not go
/// by age.
///
/// # Errors
///
/// When the ledger cannot be read, or written anew. What went before is gone.
pub(super) fn shrink(store: &dyn WriteStore, budget: u64, from: u64, now: u64) -> Result<(), StoreError> {
    let goal = budget / 5 * 4;
    // Whether the ledger was written anew since something went, so that the disk it takes is what its rows take.
    let mut is_fresh = false;
    for step in STEPS {
        // Only so many domains are folded at a time.
        let rounds = if matches!(step, Step::Age | Step::LargeDomains(_)) { ROUNDS } else { 1 };
        for _ in 0..rounds {
            // What readers hold goes with them: no row goes for it.
            let stats = store.stats()?;
            let (disk_bytes, live_bytes) = (stats.own_disk_bytes(), stats.live_bytes);
            if disk_bytes <= budget {
                return Ok(());
            }
            // Much of the disk may be space that writing anew gives back: no row goes for it.
            let size = if is_fresh { disk_bytes } else { live_bytes };
            if size <= goal {
                if !write_anew(store)? {
                    // There is no room beside: the engine gives back what it does not need while it goes on.
                    return Ok(());
                }
                is_fresh = true;
                continue;
            }
            let share = goal as f64 / size as f64;
            let went = match step {
                Step::Names => went(reduce(store, Reduce::Names { at_least: 1 }, now)?),
                Step::Unresolved => drop_unresolved(store, share, now)?,
                Step::LargeDomains(part) if part >= FLOOD && !is_flood(store, from)? => false,
                Step::LargeDomains(part) => went(reduce(store, Reduce::LargeDomains { part }, now)?),
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
                // Where it was written anew in place, much of the file is free and is no reason for more to go.
                let stats = store.stats()?;
                let disk = stats.own_disk_bytes();
                is_fresh = disk < disk_bytes && disk <= stats.live_bytes.saturating_mul(9) / 4;
            } else if step != Step::Age {
                break;
            } else {
                if is_fresh {
                    return Ok(());
                }
                is_fresh = true;
                if !write_anew(store)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Whether most of what is there was first seen within the day before an instant.
fn is_flood(store: &dyn WriteStore, from: u64) -> Result<bool, StoreError> {
    let since = from.saturating_sub(LEAST_AGE.as_secs());
    let (mut all, mut new) = (0u64, 0u64);
    let mut add = |time_first: u64| {
        all += 1;
        new += u64::from(time_first >= since);
    };
    let snapshot = store.now();
    for entry in snapshot.entries(&Scan::All, None)? {
        add(entry?.halves.combined().time_first);
    }
    for question in snapshot.questions(&Scan::All)? {
        add(question?.asked.time_first);
    }
    Ok(new.saturating_mul(2) > all)
}

/// Nothing, where there is no room to write anew what stays.
fn reduce(store: &dyn WriteStore, rule: Reduce, now: u64) -> Result<Reduced, StoreError> {
    match store.reduce(rule, now) {
        Err(error) if error.is_full() => Ok(Reduced::default()),
        done => done,
    }
}

fn went(reduced: Reduced) -> bool {
    reduced != Reduced::default()
}

/// Drops questions that never resolved and were asked once, the oldest first, until a share of all rows and questions is left,
/// or none of them; whether any went.
fn drop_unresolved(store: &dyn WriteStore, share: f64, now: u64) -> Result<bool, StoreError> {
    let (mut all, mut hours) = (0u64, BTreeMap::<u64, u64>::new());
    let snapshot = store.now();
    for entry in snapshot.entries(&Scan::All, None)? {
        entry?;
        all += 1;
    }
    for question in snapshot.questions(&Scan::All)? {
        let question = question?;
        all += 1;
        if question.qtype != RrType::FOLDED && is_unresolved(&question.asked) {
            *hours.entry(question.asked.time_last / HOUR).or_default() += 1;
        }
    }
    drop(snapshot);
    let may_stay = (all as f64 * share) as u64;
    let mut stays = all;
    let mut before = 0;
    for (hour, questions) in hours {
        if stays <= may_stay {
            break;
        }
        stays -= questions;
        before = hour.saturating_add(1).saturating_mul(HOUR);
    }
    if before == 0 {
        return Ok(false);
    }
    Ok(went(reduce(store, Reduce::Unresolved { before }, now)?))
}
