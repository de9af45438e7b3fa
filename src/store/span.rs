//! What a scan means: the one definition of which rows it reads, in which order.
//!
//! A key begins with what it is found by, which ends itself: of rows and questions the name, of rows in the other order the
//! record data. So a scan is a range of such beginnings, whatever stands behind them, and in whichever store.

use std::cmp::Ordering;

use super::Scan;
use crate::dns::{Name, Rdata, push_address_key};
use crate::observation::Tuple;

/// By which part of them the rows of a scan are found and ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// The owner name.
    Rrname,
    /// The record data.
    Rdata,
}

/// The rows that a scan reads, as a range of what they are found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What that is.
    pub found_by: FoundBy,
    /// The first, in key form ([`Name::key`], [`Rdata::push_key`]).
    pub from: Vec<u8>,
    /// The first that is no longer read; `None` where all behind `from` are.
    pub to: Option<Vec<u8>>,
    /// Whether `from` is the only one.
    pub is_exact: bool,
}

impl Span {
    fn new(found_by: FoundBy, from: Vec<u8>, to: Option<Vec<u8>>) -> Span {
        Span { found_by, from, to, is_exact: false }
    }

    fn starting(found_by: FoundBy, prefix: Vec<u8>) -> Span {
        let to = after_prefix(&prefix);
        Span::new(found_by, prefix, to)
    }

    fn exactly(found_by: FoundBy, key: Vec<u8>) -> Span {
        Span { is_exact: true, ..Span::starting(found_by, key) }
    }

    /// Whether what has this key form is read.
    pub fn holds(&self, key: &[u8]) -> bool {
        if self.is_exact {
            return key == self.from;
        }
        self.from.as_slice() <= key && self.to.as_ref().is_none_or(|to| key < to.as_slice())
    }
}

impl Scan {
    /// The rows that are read; `None` where there can be none.
    pub fn span(&self) -> Option<Span> {
        let target = |key: &[u8]| [&[Rdata::NAME_TAG], key].concat();
        Some(match self {
            Scan::All => Span::new(FoundBy::Rrname, Vec::new(), None),
            Scan::From(name) => Span::new(FoundBy::Rrname, name.key().to_vec(), None),
            Scan::Name(name) => Span::exactly(FoundBy::Rrname, name.key().to_vec()),
            Scan::Subtree(name) => Span::starting(FoundBy::Rrname, name.subtree_key().to_vec()),
            Scan::Target(name) => Span::exactly(FoundBy::Rdata, target(name.key())),
            Scan::TargetSubtree(name) => Span::starting(FoundBy::Rdata, target(name.subtree_key())),
            Scan::Addresses(first, last) => {
                if first.is_ipv4() != last.is_ipv4() || first > last {
                    return None;
                }
                let (mut from, mut to) = (Vec::new(), Vec::new());
                push_address_key(*first, &mut from);
                push_address_key(*last, &mut to);
                if first == last {
                    return Some(Span::exactly(FoundBy::Rdata, from));
                }
                // Addresses of one family have one length.
                Span::new(FoundBy::Rdata, from, after_prefix(&to))
            }
        })
    }

    /// The span, where it is one of owner names: questions have nothing else.
    pub fn span_of_names(&self) -> Option<Span> {
        self.span().filter(|span| span.found_by == FoundBy::Rrname)
    }

    /// The name at and below which registrable domains are wanted; the root for all. `None` where there can be none.
    pub fn domains_below(&self) -> Option<Name> {
        match self {
            Scan::All => Some(Name::root()),
            Scan::Name(name) | Scan::Subtree(name) => Some(name.clone()),
            Scan::From(_) | Scan::Addresses(..) | Scan::Target(_) | Scan::TargetSubtree(_) => None,
        }
    }

    /// Whether a tuple is among the entries.
    pub fn matches(&self, tuple: &Tuple) -> bool {
        let Some(span) = self.span() else { return false };
        match span.found_by {
            FoundBy::Rrname => span.holds(tuple.rrname.key()),
            FoundBy::Rdata => {
                let mut key = Vec::new();
                tuple.rdata.push_key(&mut key);
                span.holds(&key)
            }
        }
    }

    /// The order of the entries: by rrname (as a tree), rrtype, rdata, sensor name; for addresses and targets by rdata
    /// first.
    pub fn compare(&self, a: (&Tuple, &str), b: (&Tuple, &str)) -> Ordering {
        let by_name = || a.0.cmp(b.0).then_with(|| a.1.cmp(b.1));
        match self {
            Scan::All | Scan::From(_) | Scan::Name(_) | Scan::Subtree(_) => by_name(),
            Scan::Addresses(..) | Scan::Target(_) | Scan::TargetSubtree(_) => {
                a.0.rdata.cmp(&b.0.rdata).then_with(by_name)
            }
        }
    }
}

/// The first key after all those with a prefix; `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
