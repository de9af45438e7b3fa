//! Many queries at once, answered in the order in which they lie in the ledger, whatever order they came in.
//!
//! Neighbours in the ledger are in the same blocks, so a sorted list of names costs a fraction of what it costs name by
//! name. QueryRef each query only its text, its place in the list and its place in the ledger are kept; one at a time is a
//! [`Walk`]. All are answered as of one moment.

use std::sync::Arc;

use super::filters::Filters;
use super::indicator::Indicator;
use super::order::{Sort, Top};
use super::query::{Query, QueryError};
use super::questions::{AskedOf, QuestionLimits, Questions};
use super::summary::Summary;
use super::walk::{End, Found, Limits, Search, Slice, Walk};
use crate::dns::push_address_key;
use crate::observation::Seen;
use crate::store::{Entry, Snapshot, StoreError};

/// Bytes around the texts of one that waits.
const AROUND_A_QUERY: usize = 192;

/// A query of a list, waiting.
#[derive(Debug)]
struct QueuedQuery {
    /// A key that sorts as the index does that answers it.
    order: Box<[u8]>,
    /// As it came.
    text: Box<str>,
    /// As it was understood, where that is another text.
    asked: Option<Box<str>>,
    number: u32,
}

/// A query of a list, as one is told of it.
#[derive(Debug, Clone, Copy)]
pub struct QueryRef<'a> {
    /// Its number, which is the caller's.
    pub number: u32,
    /// Its text as it came.
    pub text: &'a str,
    /// Its text as it was understood.
    pub asked: &'a str,
}

impl QueuedQuery {
    fn of(&self) -> QueryRef<'_> {
        let asked = self.asked.as_deref().unwrap_or(&self.text);
        QueryRef { number: self.number, text: &self.text, asked }
    }
}

/// A list of queries that are to be asked together.
#[derive(Debug)]
pub struct Queries {
    /// Asked of each of them.
    template: Search,
    /// The order of the rows of each; that of the index where there is none.
    sort: Option<Sort>,
    asks: Vec<QueuedQuery>,
    bytes: usize,
}

impl Queries {
    /// An empty list; filters and the like are those of `template`, whose own query does not matter.
    pub fn new(template: Search) -> Queries {
        Queries { template, sort: None, asks: Vec::new(), bytes: 0 }
    }

    /// The same, with the rows of each answer in an order: all are looked at, and the first [`MAX_SORTED`](super::MAX_SORTED) kept at
    /// most.
    pub fn sorted(self, sort: Option<Sort>) -> Queries {
        Queries { sort, ..self }
    }

    /// Adds an indicator or a query, under a number of the caller's.
    ///
    /// # Errors
    ///
    /// When the text is no query, or one that reads the whole ledger.
    pub fn push(&mut self, number: u32, text: &str) -> Result<(), QueryError> {
        let refused = || {
            let hint =
                "a name, *.name, an address, a block or a range, or rdata:name; ask for the rest one by one";
            QueryError::new(text, 0, "this reads the whole ledger, so it is not asked in bulk", hint)
        };
        // It takes a while to be made ready.
        if is_regex(text.trim()) {
            return Err(refused());
        }
        let Indicator { query, asked, .. } = Indicator::read(text)?;
        if query.is_scan() {
            return Err(refused());
        }
        let asked: Option<Box<str>> = (asked != text).then(|| asked.into());
        let order = order(&query);
        self.bytes +=
            order.len() + text.len() + asked.as_ref().map_or(0, |asked| asked.len()) + AROUND_A_QUERY;
        self.asks.push(QueuedQuery { order, text: text.into(), asked, number });
        Ok(())
    }

    /// About as many bytes of memory as they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.asks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }
}

/// Whether a query is a regex.
pub fn is_regex(query: &str) -> bool {
    let regex = query.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    regex.is_some_and(|regex| !regex.starts_with('/'))
}

/// Where the answer starts: its index, and a key that sorts as that one's do.
fn order(query: &Query) -> Box<[u8]> {
    let key = |index: u8, tag: &[u8], key: &[u8]| [&[index], tag, key].concat().into_boxed_slice();
    match query {
        Query::Name(name) | Query::Either(name) => key(1, &[], name.key()),
        Query::Several(parts) => parts.first().map_or_else(|| key(2, &[], &[]), order),
        Query::Subtree(name) => key(1, &[], name.subtree_key()),
        Query::Target(name) => key(0, &[0x10], name.key()),
        Query::TargetSubtree(name) => key(0, &[0x10], name.subtree_key()),
        Query::Addresses(first, _) => {
            let mut address = Vec::with_capacity(17);
            push_address_key(*first, &mut address);
            key(0, &[], &address)
        }
        Query::Data(rdata) => {
            let mut data = Vec::new();
            rdata.first().into_iter().for_each(|rdata| rdata.push_key(&mut data));
            key(0, &[], &data)
        }
        Query::All | Query::Prefix(_) | Query::RdataText(_) | Query::Pattern(_) => key(2, &[], &[]),
    }
}

/// An event of a [`QueriesWalk`].
#[derive(Debug)]
pub enum AnswerPart<'a> {
    /// A row of its answer.
    Row(&'a Found<'a>),
    /// The answer to a query has ended.
    End {
        /// How.
        end: &'a End,
        /// Whether rows were left out that come later in the order asked for.
        is_cut: bool,
        /// The summary of its rows.
        summary: &'a Summary,
        /// How the name was asked for, or all at and below it, where the query is about one.
        questions: Option<&'a Questions>,
    },
}

/// A query being answered.
struct Current {
    ask: QueuedQuery,
    walk: Walk,
    summary: Summary,
    questions: Option<AskedOf>,
    /// The first rows so far, where they have an order.
    top: Option<Top>,
    filters: Filters,
    /// Sorted rows that are still to be handed out.
    sorted: Option<std::vec::IntoIter<(Entry, Seen)>>,
    is_cut: bool,
}

impl Current {
    /// Hands out the rows that were put in order, until the visitor has enough (`false`).
    fn hand_out(&mut self, visit: &mut impl FnMut(QueryRef<'_>, AnswerPart<'_>) -> bool) -> bool {
        if let Some(top) = self.top.take() {
            let (rows, given) = top.into_rows();
            self.is_cut = given > rows.len() as u64;
            self.sorted = Some(rows.into_iter());
        }
        while let Some((entry, seen)) = self.sorted.as_mut().and_then(Iterator::next) {
            let during = self.filters.seen_during(&seen);
            let found = Found { entry: &entry, seen, during };
            self.summary.add(&found);
            if !visit(self.ask.of(), AnswerPart::Row(&found)) {
                return false;
            }
        }
        self.sorted = None;
        true
    }
}

/// Many queries being answered.
pub struct QueriesWalk {
    ledger: Arc<dyn Snapshot>,
    template: Search,
    sort: Option<Sort>,
    asks: std::vec::IntoIter<QueuedQuery>,
    current: Option<Current>,
    each: Limits,
    /// Rows that may still be looked at.
    left: u64,
    done: bool,
}

impl QueriesWalk {
    /// Begins to answer as of one moment. Each query has the limits `each`; together they look at `examined` rows at most.
    pub fn start(ledger: Arc<dyn Snapshot>, asks: Queries, each: Limits, examined: u64) -> QueriesWalk {
        let Queries { template, sort, mut asks, .. } = asks;
        asks.sort_unstable_by(|a, b| a.order.cmp(&b.order).then(a.number.cmp(&b.number)));
        let asks = asks.into_iter();
        QueriesWalk { ledger, template, sort, asks, current: None, each, left: examined, done: false }
    }

    /// Whether all that was asked is answered.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The queries that are not answered yet.
    pub fn left(&self) -> impl Iterator<Item = QueryRef<'_>> {
        self.current.iter().map(|current| &current.ask).chain(self.asks.as_slice()).map(QueuedQuery::of)
    }

    /// Hands out what is found, with the query that it is for, until the visitor has enough (`false`), about
    /// so many rows were looked at, or all is answered. A query counts as one row at least.
    ///
    /// # Errors
    ///
    /// When the store fails. The answer is not complete then, whatever was handed out.
    pub fn advance(
        &mut self,
        slice: Slice,
        mut visit: impl FnMut(QueryRef<'_>, AnswerPart<'_>) -> bool,
    ) -> Result<(), StoreError> {
        let mut left = slice.examined;
        let mut enough = false;
        while !enough && left > 0 {
            if self.current.is_none() {
                let Some(ask) = self.asks.next() else {
                    self.done = true;
                    return Ok(());
                };
                // It was a query when it came, so it is one now.
                let query = Indicator::read(ask.of().asked).map_or(Query::All, |indicator| indicator.query);
                let search = Search { query, ..self.template.clone() };
                let examined = self.each.examined.min(self.left);
                let top = self.sort.map(|sort| Top::new(sort, self.each.rows));
                let rows = if top.is_some() { u64::MAX } else { self.each.rows };
                let questions = AskedOf::of(&search);
                let walk = Walk::begin(&self.ledger, &search, Limits { rows, examined });
                let summary = Summary::default();
                self.current = Some(Current {
                    ask,
                    walk,
                    summary,
                    questions,
                    top,
                    filters: search.filters,
                    sorted: None,
                    is_cut: false,
                });
            }
            let Some(current) = &mut self.current else { continue };
            let Current { ask, walk, summary, top, .. } = current;
            let before = walk.examined();
            walk.advance(Slice { examined: left }, |found| {
                match top {
                    Some(top) => top.push(found),
                    None => {
                        summary.add(found);
                        enough = !visit(ask.of(), AnswerPart::Row(found));
                    }
                }
                !enough
            })?;
            let examined = walk.examined() - before;
            left = left.saturating_sub(examined.max(1));
            self.left = self.left.saturating_sub(examined);
            if current.walk.end().is_none() {
                continue;
            }
            enough |= !current.hand_out(&mut visit);
            let Current { ask, walk, summary, questions, sorted, is_cut, .. } = current;
            if let Some(end) = walk.end().filter(|_| sorted.is_none()) {
                // What is below a name is of interest where it has nothing itself.
                let probes = summary.rows == 0;
                let limits = QuestionLimits::shared(self.left, None);
                let questions = questions.take();
                let questions =
                    questions.map(|of| of.questions(&*self.ledger, limits, probes)).transpose()?.flatten();
                let (questions, is_cut) = (questions.as_ref(), *is_cut);
                enough |= !visit(ask.of(), AnswerPart::End { end, is_cut, summary, questions });
                self.current = None;
            }
        }
        if self.current.is_none() && self.asks.len() == 0 {
            self.done = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::walk::tests::{ask, sample, shown};

    const QUERIES: [&str; 9] = [
        "www.example.com",
        "192.0.2.1",
        "nothing.example",
        "*.example.com",
        "rdata:*.example.net",
        "192.0.2.0/24",
        "www.example.com",
        "rdata:self.example",
        "198.51.100.1-198.51.100.2",
    ];

    fn template() -> Search {
        Search { pointing: true, ..Search::new(Query::All) }
    }

    fn answers(each: Limits, examined: u64, slice: u64, stop: bool) -> Vec<(u32, Vec<String>, End)> {
        let mut asks = Queries::new(template());
        for (number, text) in (0..).zip(QUERIES) {
            asks.push(number, text).unwrap();
        }
        let mut bulk = QueriesWalk::start(sample(), asks, each, examined);
        let (mut answers, mut rows) = (Vec::new(), Vec::new());
        while !bulk.is_done() {
            bulk.advance(Slice { examined: slice }, |QueryRef { number, text, .. }, told| {
                assert_eq!(text, QUERIES[number as usize]);
                match told {
                    AnswerPart::Row(found) => rows.push(shown(found)),
                    AnswerPart::End { end, summary, questions, .. } => {
                        assert_eq!(summary.rows, rows.len() as u64);
                        assert_eq!(questions.is_some(), !text.contains(':') && !text.starts_with("1"));
                        answers.push((number, std::mem::take(&mut rows), end.clone()));
                    }
                }
                !stop
            })
            .unwrap();
        }
        answers
    }

    #[test]
    fn each_query_has_the_answer_that_it_has_alone() {
        for (slice, stop) in [(u64::MAX, false), (1, false), (3, true)] {
            let mut all = answers(Limits::NONE, u64::MAX, slice, stop);
            let order: Vec<u32> = all.iter().map(|(number, ..)| *number).collect();
            assert_eq!(order, [5, 1, 8, 7, 4, 3, 0, 6, 2], "as they lie in the ledger");
            all.sort_by_key(|(number, ..)| *number);
            for ((number, rows, end), text) in all.iter().zip(QUERIES) {
                let search = Search { query: Query::parse(text).unwrap(), ..template() };
                assert_eq!((rows, end), (&ask(&sample(), &search), &End::Complete), "{number} {text}");
            }
        }
    }

    #[test]
    fn limits_hold_for_each_and_the_budget_for_all() {
        let one = answers(Limits { rows: 1, examined: u64::MAX }, u64::MAX, 100, false);
        assert!(one.iter().all(|(_, rows, _)| rows.len() <= 1));
        assert!(one.iter().any(|(_, _, end)| matches!(end, End::Limit(_))));
        let few = answers(Limits::NONE, 5, 100, false);
        assert_eq!(few.len(), QUERIES.len(), "each is told how it ended");
        assert!(few.iter().map(|(_, rows, _)| rows.len()).sum::<usize>() <= 6 + QUERIES.len());
        assert!(few.iter().any(|(_, _, end)| matches!(end, End::Budget(_))));
    }

    #[test]
    fn rows_of_each_come_in_an_order_and_the_first_of_it_only() {
        let sort = Sort::parse("-name").unwrap();
        for (slice, stop) in [(u64::MAX, false), (1, false), (3, true)] {
            for rows in [1, 2, u64::MAX] {
                let mut asks = Queries::new(template()).sorted(Some(sort));
                for (number, text) in (0..).zip(QUERIES) {
                    asks.push(number, text).unwrap();
                }
                let each = Limits { rows, examined: u64::MAX };
                let mut bulk = QueriesWalk::start(sample(), asks, each, u64::MAX);
                let (mut ended, mut names) = (0, Vec::new());
                while !bulk.is_done() {
                    bulk.advance(Slice { examined: slice }, |of, told| {
                        match told {
                            AnswerPart::Row(found) => names.push(found.entry.tuple.rrname.clone()),
                            AnswerPart::End { end, is_cut, summary, .. } => {
                                let search = Search { query: Query::parse(of.text).unwrap(), ..template() };
                                let all = ask(&sample(), &search).len();
                                assert_eq!((end, summary.rows), (&End::Complete, names.len() as u64));
                                assert_eq!(names.len(), all.min(usize::try_from(rows).unwrap()));
                                assert_eq!(is_cut, all > names.len());
                                assert!(names.iter().rev().is_sorted(), "{}: {names:?}", of.text);
                                names.clear();
                                ended += 1;
                            }
                        }
                        !stop
                    })
                    .unwrap();
                }
                assert_eq!(ended, QUERIES.len());
            }
        }
    }

    #[test]
    fn what_is_no_query_or_a_scan_is_refused() {
        let mut asks = Queries::new(template());
        for text in ["~mail", "/x/", "www.*", "a*b", "a..b", ""] {
            assert!(asks.push(1, text).is_err(), "{text}");
        }
        assert!(asks.is_empty());
        asks.push(1, "*.example").unwrap();
        assert_eq!(asks.len(), 1);
        let mut none = QueriesWalk::start(sample(), Queries::new(template()), Limits::NONE, 1);
        none.advance(Slice { examined: 1 }, |_, _| panic!("nothing was asked")).unwrap();
        assert!(none.is_done());
    }
}
