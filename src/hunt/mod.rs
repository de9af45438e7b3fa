//! Hunting: which of many indicators the ledger has, and what of each. Nothing of them is kept.
//!
//! A [`Hunt`] takes indicators as they are read, in little memory ([`Sorted`]), and is then run over one moment of
//! the ledger. Few are looked up one by one; many are merged with a walk over all rows, for a walk costs as much as looking up
//! one indicator in some seventy rows. Which way it was makes no difference to what is told, nor to its order: that of the
//! ledger, names as a tree and then addresses, each after what is below or in it.
//!
//! - A name is hit by rows of that name and by rows that lead to it (CNAME, NS, MX, PTR), a domain by those at and below it, an
//!   address or a network by rows with such data. Names that are counted are the owners of those rows.
//! - What was logged in another form counts too: a name in UTF-8 for its A-labels, `::ffff:192.0.2.1` for that address of IPv4.
//! - A name that was asked for and has no row is told, apart from those that have.
//! - Of an indicator that has more than [`MAX_NAMES`] names only the first of them are counted, and it is said to be too wide.
//! - What was seen after `valid_until` is no hit, nor is what an exception of the list has.

mod addresses;
mod names;
mod sorted;
mod tally;

use std::sync::Arc;

pub use tally::{Hit, MAX_NAMES};

use crate::indicators::{Action, AllowList, Indicator, ReadError, Value};
use crate::store::{Snapshot, StoreError};
use sorted::Sorted;
use tally::HuntSummary;

/// Bytes of memory that the indicators of a hunt take at most.
pub const MAX_MEMORY: u64 = 112 << 20;
/// A walk over so many rows costs as much as looking up one indicator.
const ROWS_A_LOOKUP: u64 = 70;

/// How a hunt goes about it. What it tells is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By how many there are of indicators and of rows, names and addresses each for themselves.
    Best,
    /// Each indicator by itself.
    Lookups,
    /// One walk over all rows.
    Walk,
}

/// What came of a hunt. Indicators that were taken are hits, missed, late, duplicates or allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HuntOutcome {
    /// Indicators that the ledger has.
    pub hits: u64,
    /// Indicators that it does not have.
    pub missed: u64,
    /// Indicators that it has only of times after they ended.
    pub late: u64,
    /// Indicators that were in the list already, a name whose domain is in it included.
    pub duplicates: u64,
    /// Indicators that an exception of the list makes harmless.
    pub allowed: u64,
    /// Hits that are too wide.
    pub too_wide: u64,
    /// What was seen last before this second is not kept; 0 where nothing was dropped.
    pub expired_before: u64,
}

/// Who is told of hits, and asked now and then whether to go on.
pub struct Listener<'a> {
    /// Takes a hit, and says whether it wants more.
    pub hit: &'a mut dyn FnMut(Hit) -> bool,
    /// Says whether to go on.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

/// Indicators that are hunted.
pub struct Hunt {
    names: Sorted,
    addresses: Sorted,
    allow: AllowList,
    notes: Notes,
    most: u64,
}

impl Default for Hunt {
    fn default() -> Hunt {
        Hunt::within(MAX_MEMORY)
    }
}

impl Hunt {
    /// One that takes so many bytes of memory at most.
    pub fn within(most: u64) -> Hunt {
        let (names, addresses) = (Sorted::default(), Sorted::default());
        Hunt { names, addresses, allow: AllowList::default(), notes: Notes::default(), most }
    }

    /// Takes an indicator, or an exception.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn take(&mut self, indicator: Indicator) -> Result<(), ReadError> {
        let Indicator { value, action, reference } = indicator;
        if action == Action::Allow {
            self.allow.add(&value);
        } else {
            let note = self.notes.add(reference.id.as_deref(), reference.title.as_deref());
            let mut key = Vec::with_capacity(64);
            let (sorted, is_name) = match &value {
                Value::Name(name) | Value::Domain(name) => {
                    key.extend_from_slice(name.key());
                    (&mut self.names, matches!(value, Value::Name(_)))
                }
                Value::Address(_) | Value::Network(_) => {
                    value.network().into_iter().for_each(|network| network.push_key(&mut key));
                    (&mut self.addresses, false)
                }
            };
            sorted.push(&key, is_name, reference.line, reference.valid_until.unwrap_or(u64::MAX), note);
        }
        let allowed = 24 * self.allow.len() as u64;
        if self.names.bytes() + self.addresses.bytes() + self.notes.bytes() + allowed > self.most {
            return Err(ReadError::NoRoom { most: self.most });
        }
        Ok(())
    }

    /// Takes what is harmless, whoever says otherwise.
    pub fn except(&mut self, own: &AllowList) {
        self.allow.merge(own);
    }

    /// Tells of each indicator that the ledger has, as of one moment. `rows` says how many rows that has, about.
    ///
    /// `None` when it was ended.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn run(
        self,
        ledger: &Arc<dyn Snapshot>,
        rows: u64,
        way: Way,
        listener: &mut Listener<'_>,
    ) -> Result<Option<HuntOutcome>, StoreError> {
        let Hunt { names, addresses, allow, notes, .. } = self;
        let walks = |len: u64| match way {
            Way::Best => len > rows / ROWS_A_LOOKUP,
            Way::Lookups => false,
            Way::Walk => true,
        };
        let outcome = HuntOutcome { expired_before: ledger.expired_before(), ..HuntOutcome::default() };
        let mut sum = HuntSummary { allow: &allow, notes: &notes, outcome, is_ended: false };
        let walk = walks(names.len());
        names::run(names, &**ledger, walk, &mut sum, listener)?;
        if !sum.is_ended {
            let walk = walks(addresses.len());
            addresses::run(addresses, &**ledger, walk, &mut sum, listener)?;
        }
        Ok((!sum.is_ended).then_some(sum.outcome))
    }
}

//--- Notes ----------------------------------------------------------------------------------------------------------

/// Ids and titles, one behind the other. A title is mostly that of the one before.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    bytes: Vec<u8>,
    title: Vec<u8>,
    title_at: usize,
}

impl Notes {
    /// Where a note is from then on; 0 where there is nothing to note.
    fn add(&mut self, id: Option<&str>, title: Option<&str>) -> u64 {
        if id.is_none() && title.is_none() {
            return 0;
        }
        let title = title.unwrap_or_default().as_bytes();
        if self.bytes.is_empty() {
            self.bytes.push(0);
        }
        if title != self.title || self.title_at == 0 {
            self.title_at = self.bytes.len();
            self.title = title.to_vec();
            push_text(title, &mut self.bytes);
        }
        let at = self.bytes.len();
        sorted::push_varint(self.title_at as u64, &mut self.bytes);
        push_text(id.unwrap_or_default().as_bytes(), &mut self.bytes);
        at as u64
    }

    /// The id and the title of a note.
    fn of(&self, note: u64) -> (Option<String>, Option<String>) {
        let at = |at: u64| usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        let text = |bytes: &[u8]| {
            let mut rest = bytes;
            let length = usize::try_from(sorted::varint(&mut rest)?).ok()?;
            let text = std::str::from_utf8(rest.get(..length)?).ok()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let Some(mut rest) = at(note).filter(|_| note > 0) else { return (None, None) };
        let title = sorted::varint(&mut rest).and_then(at).and_then(text);
        (text(rest), title)
    }

    fn bytes(&self) -> u64 {
        self.bytes.capacity() as u64
    }
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    sorted::push_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
