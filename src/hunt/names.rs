//! Names and domains against rows, questions, and rows that lead to them.
//!
//! All three lie in the order of that name, so that they are walked side by side. What there is of the other form of a name, its UTF-8
//! where it has A-labels, lies elsewhere: of the few indicators that have one it is looked up, whichever way the rest is gone about.

use std::collections::HashSet;
use std::iter::Peekable;

use super::Listener;
use super::sorted::{Sorted, WantedKey};
use super::tally::{HuntSummary, Open};
use crate::base::seeded_hash;
use crate::dns::{Name, RrType, other_form};
use crate::indicators::{AllowList, Value};
use crate::observation::Seen;
use crate::store::{Entries, Questions, Scan, Snapshot, StoreError};

/// Names after which it is asked whether to go on.
const STEP: u32 = 1024;

/// Counts all of them.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn run(
    names: Sorted,
    ledger: &dyn Snapshot,
    walk: bool,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut wanted = names.into_iter();
    match walk {
        true => walked(&mut wanted, ledger, sum, listener)?,
        false => looked_up(&mut wanted, ledger, sum, listener)?,
    }
    sum.outcome.duplicates += wanted.duplicates();
    Ok(())
}

fn value(wanted: &WantedKey) -> Option<Value> {
    let name = Name::from_key(&wanted.key).ok()?;
    Some(if wanted.is_name { Value::Name(name) } else { Value::Domain(name) })
}

/// Reports the indicators that do not hold a name, the lowest domain first, and takes them off the stack.
fn close(
    open: &mut Vec<Counted>,
    key: Option<&[u8]>,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) {
    while let Some(last) = open.pop_if(|last| !key.is_some_and(|key| last.holds(key))) {
        sum.close(last.open, listener);
    }
}

/// Looks each name and domain up by itself.
fn looked_up(
    wanted: &mut dyn Iterator<Item = WantedKey>,
    ledger: &dyn Snapshot,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    // Those that are counted, and wait for what is below them.
    let mut waiting: Vec<Counted> = Vec::new();
    for (wanted, number) in wanted.zip(0u32..) {
        if number.is_multiple_of(STEP) && !(listener.go_on)() {
            sum.is_ended = true;
        }
        close(&mut waiting, Some(&wanted.key), sum, listener);
        if sum.is_ended {
            return Ok(());
        }
        let Some(mut open) = Counted::of(wanted, sum) else { continue };
        let own = Counted::scan(&open.open.value, None);
        if !open.look_up_other(ledger, sum, listener)? || !open.look_up(own, ledger, sum, listener)? {
            return Ok(());
        }
        open.owners = HashSet::new();
        waiting.push(open);
    }
    close(&mut waiting, None, sum, listener);
    Ok(())
}

/// All of them in one walk over all names.
fn walked(
    wanted: &mut dyn Iterator<Item = WantedKey>,
    ledger: &dyn Snapshot,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<(), StoreError> {
    let mut wanted = wanted.peekable();
    let mut open: Vec<Counted> = Vec::new();
    let mut groups = Groups::of(ledger, &Scan::All)?;
    let mut names = 0u32;
    while let Some(name) = groups.next_name() {
        names = names.wrapping_add(1);
        if names.is_multiple_of(STEP) && !(listener.go_on)() {
            sum.is_ended = true;
        }
        while let Some(next) = wanted.next_if(|next| *next.key <= *name.key()) {
            if !begin(next, &mut open, ledger, sum, listener)? {
                return Ok(());
            }
        }
        close(&mut open, Some(name.key()), sum, listener);
        if sum.is_ended {
            return Ok(());
        }
        if open.is_empty() && wanted.peek().is_none() {
            return Ok(());
        }
        groups.each(&name, sum.allow, &mut |found| open.iter_mut().for_each(|open| open.add(&found)))?;
    }
    for left in wanted {
        if !begin(left, &mut open, ledger, sum, listener)? {
            return Ok(());
        }
    }
    close(&mut open, None, sum, listener);
    Ok(())
}

/// Begins to count one, behind all that are not above it; `false` where it was ended.
fn begin(
    wanted: WantedKey,
    open: &mut Vec<Counted>,
    ledger: &dyn Snapshot,
    sum: &mut HuntSummary<'_>,
    listener: &mut Listener<'_>,
) -> Result<bool, StoreError> {
    close(open, Some(&wanted.key), sum, listener);
    if sum.is_ended {
        return Ok(false);
    }
    let Some(mut next) = Counted::of(wanted, sum) else { return Ok(true) };
    let goes_on = next.look_up_other(ledger, sum, listener)?;
    open.push(next);
    Ok(goes_on)
}

/// Whether an exception has a name in either of its forms.
fn is_harmless(allow: &AllowList, name: &Name) -> bool {
    let other = || other_form(name).is_some_and(|other| allow.has_name(other.key()));
    allow.has_name(name.key()) || !allow.is_empty() && !name.key().is_ascii() && other()
}

/// A name or a domain that is counted.
struct Counted {
    open: Open,
    /// The other form of it, if it has one.
    other: Option<Name>,
    /// Names elsewhere that lead to it.
    owners: HashSet<u64>,
}

impl Counted {
    fn of(wanted: WantedKey, sum: &mut HuntSummary<'_>) -> Option<Counted> {
        let value = value(&wanted);
        let other = value.as_ref().and_then(Value::name).and_then(other_form);
        sum.open(wanted, value).map(|open| Counted { open, other, owners: HashSet::new() })
    }

    /// Whether its own form is, or has below it, what this is the key of.
    fn holds(&self, key: &[u8]) -> bool {
        self.is_at_or_above(&self.open.wanted.key, key)
    }

    /// The same of either form.
    fn holds_in_any_form(&self, key: &[u8]) -> bool {
        self.holds(key) || self.other.as_ref().is_some_and(|other| self.is_at_or_above(other.key(), key))
    }

    fn is_at_or_above(&self, top: &[u8], key: &[u8]) -> bool {
        match &self.open.value {
            Value::Name(_) => top == key,
            _ => top.split_last().is_some_and(|(_, labels)| key.starts_with(labels)),
        }
    }

    /// The scan that reads all rows of an indicator, or of its other form.
    fn scan(value: &Value, other: Option<&Name>) -> Option<Scan> {
        Some(match value {
            Value::Name(name) => Scan::Name(other.unwrap_or(name).clone()),
            Value::Domain(name) => Scan::Subtree(other.unwrap_or(name).clone()),
            Value::Address(_) | Value::Network(_) => return None,
        })
    }

    /// Counts what there is of its other form; `false` where it was ended.
    fn look_up_other(
        &mut self,
        ledger: &dyn Snapshot,
        sum: &mut HuntSummary<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<bool, StoreError> {
        let scan = self.other.as_ref().and_then(|other| Counted::scan(&self.open.value, Some(other)));
        self.look_up(scan, ledger, sum, listener)
    }

    /// Counts what lies there; `false` where it was ended.
    fn look_up(
        &mut self,
        scan: Option<Scan>,
        ledger: &dyn Snapshot,
        sum: &mut HuntSummary<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<bool, StoreError> {
        let Some(scan) = scan.filter(|_| !self.open.tally.is_over()) else { return Ok(true) };
        let mut groups = Groups::of(ledger, &scan)?;
        let mut names = 0u32;
        while let Some(name) = groups.next_name() {
            groups.each(&name, sum.allow, &mut |found| self.add(&found))?;
            names = names.wrapping_add(1);
            if self.open.tally.is_over() {
                break;
            }
            if names.is_multiple_of(STEP) && !(listener.go_on)() {
                sum.is_ended = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn add(&mut self, found: &FoundOf<'_>) {
        let until = self.open.wanted.until;
        match *found {
            FoundOf::Row(seen) => self.open.tally.row(seen.time_first, seen.time_last, until),
            FoundOf::Asked(first, last) => self.open.tally.asked(first, last, until),
            FoundOf::End => self.open.tally.end_name(true),
            // A row whose owner the indicator holds was counted there already.
            FoundOf::Target(owner, seen)
                if !self.open.tally.is_over()
                    && !self.holds_in_any_form(owner.key())
                    && self.open.tally.counts(seen.time_first, until) =>
            {
                self.open.tally.row(seen.time_first, seen.time_last, until);
                let is_new = self.owners.insert(seeded_hash::hash(owner.key()));
                self.open.tally.end_name(is_new);
            }
            FoundOf::Target(..) => {}
        }
    }
}

/// What there is of a name.
enum FoundOf<'a> {
    /// A row of it.
    Row(Seen),
    /// A question for it, and when it was first and last asked.
    Asked(u64, u64),
    /// There are no further rows of it, and no questions for it.
    End,
    /// A row of another name that leads to it.
    Target(&'a Name, Seen),
}

/// Rows, questions, and rows that lead to it, name by name.
struct Groups<'a> {
    entries: Peekable<Entries<'a>>,
    questions: Peekable<Questions<'a>>,
    targets: Peekable<Entries<'a>>,
}

impl<'a> Groups<'a> {
    fn of(ledger: &'a dyn Snapshot, scan: &Scan) -> Result<Groups<'a>, StoreError> {
        let target = match scan {
            Scan::Name(name) => Scan::Target(name.clone()),
            Scan::Subtree(name) => Scan::TargetSubtree(name.clone()),
            _ => Scan::TargetSubtree(Name::root()),
        };
        Ok(Groups {
            entries: ledger.entries(scan, None)?.peekable(),
            questions: ledger.questions(scan)?.peekable(),
            targets: ledger.entries(&target, None)?.peekable(),
        })
    }

    /// The next name that has rows or questions. A row that cannot be read counts as one of the root, so that its error is returned.
    fn next_name(&mut self) -> Option<Name> {
        let entry = self.entries.peek().map(|entry| entry.as_ref().ok().map(|entry| &entry.tuple.rrname));
        let question =
            self.questions.peek().map(|question| question.as_ref().ok().map(|found| &found.rrname));
        let target =
            self.targets.peek().map(|entry| entry.as_ref().ok().and_then(|entry| entry.tuple.rdata.name()));
        let first = [entry, question, target].into_iter().flatten().min()?;
        Some(first.cloned().unwrap_or_else(Name::root))
    }

    /// Hands out what there is of this name, but for what is harmless.
    fn each(
        &mut self,
        name: &Name,
        allow: &AllowList,
        visit: &mut dyn FnMut(FoundOf<'_>),
    ) -> Result<(), StoreError> {
        let is_harmless = is_harmless(allow, name);
        while let Some(entry) =
            self.entries.next_if(|entry| entry.as_ref().map_or(true, |entry| entry.tuple.rrname == *name))
        {
            let entry = entry?;
            // What stands for many names is no name.
            if entry.tuple.rrtype != RrType::FOLDED && !is_harmless {
                visit(FoundOf::Row(entry.halves.combined()));
            }
        }
        while let Some(question) = self
            .questions
            .next_if(|question| question.as_ref().map_or(true, |question| question.rrname == *name))
        {
            let question = question?;
            if question.qtype != RrType::FOLDED && !is_harmless {
                visit(FoundOf::Asked(question.asked.time_first, question.asked.time_last));
            }
        }
        visit(FoundOf::End);
        while let Some(entry) = self.targets.next_if(|entry| {
            entry.as_ref().map_or(true, |entry| entry.tuple.rdata.name().is_none_or(|target| target == name))
        }) {
            let entry = entry?;
            let owner = &entry.tuple.rrname;
            if !is_harmless && !self::is_harmless(allow, owner) {
                visit(FoundOf::Target(owner, entry.halves.combined()));
            }
        }
        Ok(())
    }
}
