//! First sightings of registrable domains, made of rows and questions in their order: the cluster keeps none of its own.

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;

use crate::dns::{Name, registrable};
use crate::observation::FirstSeen;
use crate::store::{DomainSeen, Entries, Questions, StoreError};

/// The domains of some rows and questions, each in the order of names.
pub struct OfRows<'a> {
    entries: Peekable<Entries<'a>>,
    questions: Peekable<Questions<'a>>,
    /// The name at or below which a domain must be.
    within: Option<Name>,
    /// The domain within which all that is gathered lies: a public suffix may lie below one, and domains below that.
    outer: Option<Name>,
    gathered: BTreeMap<(Name, Arc<str>), FirstSeen>,
    ready: VecDeque<DomainSeen>,
    is_over: bool,
}

impl<'a> OfRows<'a> {
    /// Those of these that are at or below a name, if one is given: rows below it may be of a domain above it.
    pub fn new(entries: Entries<'a>, questions: Questions<'a>, within: Option<Name>) -> OfRows<'a> {
        OfRows {
            entries: entries.peekable(),
            questions: questions.peekable(),
            within,
            outer: None,
            gathered: BTreeMap::new(),
            ready: VecDeque::new(),
            is_over: false,
        }
    }

    fn hand_out(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        self.ready.extend(gathered.into_iter().map(|((domain, sensor), times)| DomainSeen {
            domain,
            sensor,
            times,
        }));
    }

    /// Takes the next row or question; `false` after the last.
    fn gather(&mut self) -> Result<bool, StoreError> {
        let is_row = match (self.entries.peek(), self.questions.peek()) {
            (None, None) => return Ok(false),
            (Some(Ok(row)), Some(Ok(question))) => row.tuple.rrname <= question.rrname,
            (Some(_), None) | (Some(Err(_)), _) => true,
            (None, Some(_)) | (_, Some(Err(_))) => false,
        };
        let (name, sensor, times) = if is_row {
            let Some(row) = self.entries.next().transpose()? else { return Ok(false) };
            if row.is_mark() {
                return Ok(true);
            }
            (row.tuple.rrname, row.sensor, FirstSeen::of_sightings(&row.halves))
        } else {
            let Some(question) = self.questions.next().transpose()? else { return Ok(false) };
            if question.is_mark() {
                return Ok(true);
            }
            (question.rrname, question.sensor, FirstSeen::of_question(&question.asked))
        };
        let Some(domain) = registrable(&name) else { return Ok(true) };
        let is_within = |name: &Name| domain.key().starts_with(name.subtree_key());
        if !self.within.as_ref().is_none_or(is_within) {
            return Ok(true);
        }
        if !self.outer.as_ref().is_some_and(|outer| domain.key().starts_with(outer.subtree_key())) {
            self.hand_out();
            self.outer = Some(domain.clone());
        }
        let known = self.gathered.entry((domain, sensor));
        known.and_modify(|known| known.merge(&times)).or_insert(times);
        Ok(true)
    }
}

impl Iterator for OfRows<'_> {
    type Item = Result<DomainSeen, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.is_over {
            match self.gather() {
                Ok(true) => {}
                Ok(false) => {
                    self.is_over = true;
                    self.hand_out();
                }
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
