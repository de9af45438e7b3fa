//! Answering a search over one moment of the ledger, a page at a time.

use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::Arc;

use crate::dns::{Name, Rdata, name_of_address, other_form};
use crate::observation::{Seen, Tuple};
use crate::store::{Condition, Entries, Entry, Position, Scan, Snapshot, StoreError};

use super::cursor::{Cursor, CursorError};
use super::filters::{During, Filters, Types, is_seen_within};
use super::pattern::Pattern;
use super::query::Query;

//--- Search ---------------------------------------------------------------------------------------------------------

/// A search: a query with filters.
#[derive(Debug, Clone)]
pub struct Search {
    /// The query.
    pub query: Query,
    /// Filters on its rows.
    pub filters: Filters,
    /// For one rrname: also the rows that point at it.
    pub pointing: bool,
    /// Whether rows that differ only by their sensor are one, with their figures added.
    pub merge_sensors: bool,
    /// Whether a name in Unicode is looked for in both of its forms, and an address of IPv4 also as one of IPv6
    /// (`::ffff:192.0.2.1`), and any address also as the name that is written so: so that who asks as a row is shown finds it.
    pub all_forms: bool,
}

impl Search {
    /// Asks for everything that a query finds, sensors apart.
    pub fn new(query: Query) -> Search {
        Search { query, filters: Filters::default(), pointing: false, merge_sensors: false, all_forms: false }
    }

    /// The same, in all forms that names and addresses have.
    pub fn in_all_forms(self) -> Search {
        Search { all_forms: true, ..self }
    }

    /// The scans to walk, one after the other, and what a row must look like besides.
    fn plan(&self) -> (Vec<Scan>, Test) {
        let (mut scans, test) = self.plan_as_asked(&self.query);
        if self.all_forms {
            let others: Vec<Scan> = scans.iter().filter_map(other_form_of).collect();
            scans.extend(others);
            for name in self.query.parts().iter().filter_map(|part| name_of_address(part.address()?)) {
                scans.extend([Scan::Name(name.clone()), Scan::Target(name)]);
            }
        }
        (scans, test)
    }

    fn plan_as_asked(&self, query: &Query) -> (Vec<Scan>, Test) {
        match query {
            Query::All => (vec![Scan::All], Test::None),
            Query::Name(name) if self.pointing => {
                (vec![Scan::Name(name.clone()), Scan::Target(name.clone())], Test::None)
            }
            Query::Name(name) => (vec![Scan::Name(name.clone())], Test::None),
            // None of them has a test of its own.
            Query::Several(parts) => {
                (parts.iter().flat_map(|part| self.plan_as_asked(part).0).collect(), Test::None)
            }
            Query::Subtree(name) => (vec![Scan::Subtree(name.clone())], Test::None),
            Query::Prefix(name) => (vec![Scan::All], Test::Prefix(name.clone())),
            Query::Addresses(first, last) => (vec![Scan::Addresses(*first, *last)], Test::None),
            Query::Target(name) => (vec![Scan::Target(name.clone())], Test::None),
            Query::TargetSubtree(name) => (vec![Scan::TargetSubtree(name.clone())], Test::None),
            Query::Either(name) => {
                let other = match name.to_string().parse::<IpAddr>() {
                    Ok(address) => Scan::Addresses(address, address),
                    Err(_) => Scan::Target(name.clone()),
                };
                (vec![Scan::Name(name.clone()), other], Test::None)
            }
            Query::RdataText(text) => (vec![Scan::All], Test::Rdata(text.clone())),
            Query::Data(data) if query.is_scan() => (vec![Scan::All], Test::Data(data.clone())),
            Query::Data(data) => {
                let scan = |rdata: &Rdata| match rdata {
                    Rdata::V4(address) => Scan::Addresses((*address).into(), (*address).into()),
                    Rdata::V6(address) => Scan::Addresses((*address).into(), (*address).into()),
                    Rdata::Name(name) => Scan::Target(name.clone()),
                    Rdata::Text(_) => Scan::All,
                };
                (data.iter().map(scan).collect(), Test::Data(data.clone()))
            }
            Query::Pattern(pattern) => {
                let scan = pattern.under().map_or(Scan::All, |name| Scan::Subtree(name.clone()));
                (vec![scan], Test::Pattern(pattern.clone()))
            }
        }
    }
}

/// The scan for the other form of what one looks for, where that has another.
pub(super) fn other_form_of(scan: &Scan) -> Option<Scan> {
    Some(match scan {
        Scan::All | Scan::From(_) => return None,
        Scan::Name(name) => Scan::Name(other_form(name)?),
        Scan::Subtree(name) => Scan::Subtree(other_form(name)?),
        Scan::Target(name) => Scan::Target(other_form(name)?),
        Scan::TargetSubtree(name) => Scan::TargetSubtree(other_form(name)?),
        Scan::Addresses(IpAddr::V4(first), IpAddr::V4(last)) => {
            Scan::Addresses(first.to_ipv6_mapped().into(), last.to_ipv6_mapped().into())
        }
        Scan::Addresses(..) => return None,
    })
}

/// A test for rows within a scan.
#[derive(Debug, Clone)]
enum Test {
    None,
    /// Its rrname starts with the labels of this name.
    Prefix(Name),
    /// Its rdata is shown as this text, in any case.
    Rdata(String),
    /// Its rdata is one of these, text in any case.
    Data(Vec<Rdata>),
    /// It matches as it is shown.
    Pattern(Pattern),
}

impl Test {
    /// A condition that each row that passes meets.
    fn condition(&self) -> Condition {
        match self {
            Test::None => Condition::Always,
            Test::Prefix(name) => Condition::BeginsWith(name.clone()),
            Test::Rdata(text) => Condition::Data(vec![Rdata::Text(text.as_str().into())]),
            Test::Data(data) => Condition::Data(data.clone()),
            Test::Pattern(pattern) => pattern.condition(),
        }
    }

    fn passes(&self, tuple: &Tuple, shown: &mut Vec<u8>) -> bool {
        match self {
            Test::None => true,
            Test::Prefix(start) => starts_with(&tuple.rrname, start),
            Test::Rdata(text) => match &tuple.rdata {
                Rdata::Text(rdata) => rdata.eq_ignore_ascii_case(text),
                _ => false,
            },
            Test::Data(data) => data.iter().any(|rdata| match (rdata, &tuple.rdata) {
                (Rdata::Text(wanted), Rdata::Text(rdata)) => rdata.eq_ignore_ascii_case(wanted),
                (wanted, rdata) => wanted == rdata,
            }),
            Test::Pattern(pattern) => pattern.matches(tuple, shown),
        }
    }
}

/// Whether a name starts with the labels of another.
pub(super) fn starts_with(name: &Name, start: &Name) -> bool {
    // In key form the first labels are the last, and each starts behind an END or at the very front.
    name.key().strip_suffix(start.key()).is_some_and(|before| before.last().is_none_or(|&end| end == 0))
}

//--- RowTest --------------------------------------------------------------------------------------------------------

/// Says of single rows whether a search finds them, whatever order they come in and whether or not they are in a ledger.
#[derive(Debug, Clone)]
pub struct RowTest {
    scans: Vec<Scan>,
    test: Test,
    types: Types,
    below: Option<Name>,
    shown: Vec<u8>,
}

impl RowTest {
    /// The test of a search on names, types and data; not on sensors and times.
    pub fn of(search: &Search) -> RowTest {
        let (scans, test) = search.plan();
        let Filters { types, below, .. } = &search.filters;
        RowTest { scans, test, types: types.clone(), below: below.clone(), shown: Vec::new() }
    }

    /// Where all rows lie that it finds.
    pub fn scans(&self) -> &[Scan] {
        &self.scans
    }

    /// The types that are wanted.
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// Whether the search finds a row of this tuple.
    pub fn passes(&mut self, tuple: &Tuple) -> bool {
        self.types.contains(tuple.rrtype)
            && self.below.as_ref().is_none_or(|top| top.is_at_or_above(&tuple.rrname))
            && self.scans.iter().any(|scan| scan.matches(tuple))
            && self.test.passes(tuple, &mut self.shown)
    }
}

//--- Walk -----------------------------------------------------------------------------------------------------------

/// Bounds on a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows in the answer; a smaller limit of the search comes first.
    pub rows: u64,
    /// Rows looked at, wanted or not.
    pub examined: u64,
}

impl Limits {
    /// No bounds.
    pub const NONE: Limits = Limits { rows: u64::MAX, examined: u64::MAX };
}

/// Bounds on one call of [`Walk::advance`], so that a walk can be interleaved with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Rows looked at, wanted or not.
    pub examined: u64,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All rows were given.
    Complete,
    /// There is more, beyond the limit of rows.
    Limit(Cursor),
    /// There may be more: the walk had looked at as many rows as it may.
    Budget(Cursor),
}

impl End {
    /// Where the rest of the answer starts.
    pub fn next(&self) -> Option<&Cursor> {
        match self {
            End::Complete => None,
            End::Limit(next) | End::Budget(next) => Some(next),
        }
    }
}

/// A row of an answer.
#[derive(Debug)]
pub struct Found<'a> {
    /// The row.
    pub entry: &'a Entry,
    /// The figures that were asked for: both halves as one, or those of the direct half alone.
    pub seen: Seen,
    /// Whether it was seen within the time that is asked for, if one is.
    pub during: Option<During>,
}

/// A search being answered. Cloning is cheap and gives a walk that goes on from the same place on its own.
#[derive(Clone)]
pub struct Walk {
    filters: Filters,
    test: Test,
    /// The part of both that the store can use.
    condition: Arc<Condition>,
    merge_sensors: bool,
    /// The ledger when the walk began.
    ledger: Arc<dyn Snapshot>,
    /// The scans of it that are walked, one after the other.
    steps: Arc<[Scan]>,
    /// How many they are before they are walked again, for rows that come last.
    once: usize,
    /// The place it has come to.
    at: Cursor,
    limits: Limits,
    found: u64,
    examined: u64,
    end: Option<End>,
    /// Scratch for rows as they are shown.
    shown: Vec<u8>,
}

impl Walk {
    /// Begins an answer as of one moment of the ledger. It waits for nothing.
    pub fn begin(ledger: &Arc<dyn Snapshot>, search: &Search, limits: Limits) -> Walk {
        let (mut scans, test) = search.plan();
        let (once, mut examined) = (scans.len(), limits.examined);
        if search.filters.during.is_some() {
            // First what is known to have been seen in that time, then what may have been.
            scans.extend_from_within(..);
            examined = examined.saturating_mul(2);
        }
        let rows = search.filters.limit.unwrap_or(u64::MAX).min(limits.rows);
        Walk {
            filters: search.filters.clone(),
            condition: Arc::new(Condition::all([
                test.condition(),
                search.filters.condition(search.merge_sensors),
                search.filters.below.clone().map_or(Condition::Always, Condition::Below),
            ])),
            test,
            merge_sensors: search.merge_sensors,
            ledger: Arc::clone(ledger),
            steps: scans.into(),
            once,
            at: Cursor { step: 0, after: None },
            limits: Limits { rows, examined },
            found: 0,
            examined: 0,
            end: None,
            shown: Vec::new(),
        }
    }

    /// Begins an answer, or goes on with one at a cursor.
    ///
    /// # Errors
    ///
    /// When the cursor is of another search.
    pub fn start(
        ledger: &Arc<dyn Snapshot>,
        search: &Search,
        limits: Limits,
        from: Option<Cursor>,
    ) -> Result<Walk, CursorError> {
        let mut walk = Walk::begin(ledger, search, limits);
        if let Some(from) = from {
            let scan = walk.steps.get(usize::from(from.step)).ok_or(CursorError)?;
            if from.after.as_ref().is_some_and(|after| !scan.matches(&after.tuple)) {
                return Err(CursorError);
            }
            walk.at = from;
        }
        Ok(walk)
    }

    /// How the answer ended; `None` while it has not.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The place it has come to: another walk of the same search goes on from there.
    pub fn here(&self) -> Cursor {
        self.at.clone()
    }

    /// Rows found so far.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Rows looked at so far, wanted or not.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// Hands out rows until the visitor has enough (`false`), the slice is over, or the answer is.
    ///
    /// # Errors
    ///
    /// When the store fails. The answer is not complete then, whatever was handed out.
    pub fn advance(&mut self, slice: Slice, visit: impl FnMut(&Found<'_>) -> bool) -> Result<(), StoreError> {
        let condition = Arc::clone(&self.condition);
        if self.examined == 0 && self.at.after.is_none() {
            let next = self.steps.get(usize::from(self.at.step)..).unwrap_or_default();
            self.ledger.entries_soon(next, &condition)?;
        }
        self.go_on(slice, |ledger, scan, after| ledger.entries_where(scan, after, &condition), visit)
    }

    /// Likewise, from memory alone: it never waits.
    ///
    /// # Errors
    ///
    /// Also [`StoreError::NotInMemory`]: the walk is of no more use then, and what was handed out is to be forgotten.
    pub fn advance_in_memory(
        &mut self,
        slice: Slice,
        visit: impl FnMut(&Found<'_>) -> bool,
    ) -> Result<(), StoreError> {
        self.go_on(slice, |ledger, scan, after| ledger.entries_in_memory(scan, after), visit)
    }

    fn go_on(
        &mut self,
        slice: Slice,
        entries_of: impl for<'a> Fn(&'a dyn Snapshot, &Scan, Option<&Position>) -> Result<Entries<'a>, StoreError>,
        mut visit: impl FnMut(&Found<'_>) -> bool,
    ) -> Result<(), StoreError> {
        let (ledger, steps) = (Arc::clone(&self.ledger), Arc::clone(&self.steps));
        let mut left = slice.examined;
        while self.end.is_none() {
            let Some(scan) = steps.get(usize::from(self.at.step)) else {
                self.end = Some(End::Complete);
                break;
            };
            let mut entries = entries_of(&*ledger, scan, self.at.after.as_ref())?.peekable();
            // The row the walk has come to, kept whole until its place is needed.
            let mut last: Option<Entry> = None;
            let paused = loop {
                if entries.peek().is_some_and(|next| next.as_ref().is_ok_and(Entry::is_mark)) {
                    // Nothing was found for a while: whoever walks looks at the clock.
                    last = entries.next().transpose()?;
                    break true;
                }
                let Some(entry) = self.take(&mut entries)? else { break false };
                left = left.saturating_sub(1);
                self.examined += 1;
                if let Some(seen) = self.select(&entry, &steps) {
                    if self.found == self.limits.rows {
                        self.arrive(last.take());
                        self.end = Some(End::Limit(self.at.clone()));
                        return Ok(());
                    }
                    self.found += 1;
                    let during = self.filters.seen_during(&seen);
                    if !visit(&Found { entry: &entry, seen, during }) {
                        left = 0;
                    }
                }
                last = Some(entry);
                if self.examined >= self.limits.examined && entries.peek().is_some() {
                    self.arrive(last.take());
                    self.end = Some(End::Budget(self.at.clone()));
                    return Ok(());
                }
                if left == 0 {
                    break true;
                }
            };
            if paused {
                self.arrive(last);
                return Ok(());
            }
            self.at = Cursor { step: self.at.step.saturating_add(1), after: None };
        }
        Ok(())
    }

    /// Moves to just after a row.
    fn arrive(&mut self, row: Option<Entry>) {
        if let Some(row) = row {
            self.at.after = Some(row.position());
        }
    }

    /// The next row, with those that differ only by their sensor where they are one.
    fn take(&self, entries: &mut Peekable<Entries<'_>>) -> Result<Option<Entry>, StoreError> {
        let wanted =
            |entry: &Entry| self.filters.sensor.as_ref().is_none_or(|sensor| **sensor == *entry.sensor);
        let Some(mut entry) = entries.next().transpose()? else { return Ok(None) };
        if !self.merge_sensors {
            return Ok(Some(entry));
        }
        if !wanted(&entry) {
            entry.halves = Default::default();
        }
        while entries.peek().is_some_and(|next| next.as_ref().is_ok_and(|next| next.tuple == entry.tuple)) {
            let Some(next) = entries.next().transpose()? else { break };
            if wanted(&next) {
                entry.merge(&next);
            }
            entry.sensor = next.sensor;
        }
        Ok(Some(entry))
    }

    /// The figures of a row if it is wanted.
    fn select(&mut self, entry: &Entry, steps: &[Scan]) -> Option<Seen> {
        let filters = &self.filters;
        if !filters.types.contains(entry.tuple.rrtype) {
            return None;
        }
        if filters.below.as_ref().is_some_and(|top| !top.is_at_or_above(&entry.tuple.rrname)) {
            return None;
        }
        if !self.merge_sensors && filters.sensor.as_ref().is_some_and(|sensor| **sensor != *entry.sensor) {
            return None;
        }
        let seen = filters.select(&entry.halves)?;
        let (step, once) = (usize::from(self.at.step), self.once.max(1));
        let first_of_pass = step - step % once;
        if filters.during.is_some_and(|during| is_seen_within(&seen, during) != (first_of_pass == 0)) {
            return None;
        }
        let mut before = steps.iter().take(step).skip(first_of_pass);
        let known = before.any(|earlier| earlier.matches(&entry.tuple));
        (!known && self.test.passes(&entry.tuple, &mut self.shown)).then_some(seen)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dns::RrType;
    use crate::observation::{Half, Observations};
    use crate::store::batch::Batch;
    use crate::store::memory::MemoryStore;
    use crate::store::{ReadStore, WriteStore};

    const SLICE: Slice = Slice { examined: 3 };

    /// A ledger of these rows: name, type, rdata, sensor, half. Each is seen once, at its place in the list.
    fn ledger(rows: &[(&str, RrType, &str, &str, Half)]) -> Arc<dyn Snapshot> {
        let store = MemoryStore::default();
        for (i, (name, rrtype, rdata, sensor, half)) in rows.iter().enumerate() {
            let mut observations = Observations::new(store.sensor(sensor).unwrap());
            observations.reset(1000 + i as u64);
            let mut key = Vec::new();
            match (rdata.parse(), *rrtype) {
                (Ok(IpAddr::V4(address)), _) => Rdata::V4(address),
                (Ok(IpAddr::V6(address)), _) => Rdata::V6(address),
                (_, RrType::TXT) => Rdata::text(rdata.as_bytes()),
                _ => Rdata::Name(Name::parse(rdata).unwrap()),
            }
            .push_key(&mut key);
            observations.push(Name::parse(name).unwrap().key(), *rrtype, &key, *half, 60);
            let mut batch = Batch::default();
            batch.add(&observations);
            store.stage(&batch).unwrap();
            if i % 2 == 0 {
                store.commit().unwrap();
            }
        }
        store.now()
    }

    pub fn sample() -> Arc<dyn Snapshot> {
        use Half::{Alias, Direct};
        ledger(&[
            ("www.example.com", RrType::A, "192.0.2.1", "lan", Direct),
            ("www.example.com", RrType::A, "192.0.2.1", "dmz", Alias),
            ("www.example.com", RrType::CNAME, "cdn.example.net", "lan", Direct),
            ("cdn.example.net", RrType::A, "192.0.2.9", "lan", Direct),
            ("example.com", RrType::NS, "ns1.example.net", "lan", Direct),
            ("example.com", RrType::TXT, "\"v=spf1 -ALL\"", "lan", Direct),
            ("www.example.org", RrType::A, "198.51.100.1", "lan", Direct),
            ("www.examples.com", RrType::A, "198.51.100.2", "lan", Direct),
            ("self.example", RrType::CNAME, "self.example", "lan", Direct),
            ("192.0.2.1", RrType::TXT, "\"odd\"", "lan", Direct),
        ])
    }

    pub fn shown(found: &Found<'_>) -> String {
        let Entry { tuple, sensor, .. } = found.entry;
        format!("{} {} {} {sensor} {}", tuple.rrname, tuple.rrtype, tuple.rdata, found.seen.count)
    }

    fn rows(mut walk: Walk) -> (Vec<String>, End) {
        let mut rows = Vec::new();
        while walk.end().is_none() {
            walk.advance(SLICE, |found| {
                rows.push(shown(found));
                true
            })
            .unwrap();
        }
        let end = walk.end().cloned().unwrap();
        (rows, end)
    }

    pub fn ask(ledger: &Arc<dyn Snapshot>, search: &Search) -> Vec<String> {
        let (rows, end) = rows(Walk::start(ledger, search, Limits::NONE, None).unwrap());
        assert_eq!(end, End::Complete);
        rows
    }

    fn find(query: &str) -> Vec<String> {
        ask(&sample(), &Search::new(Query::parse(query).unwrap()))
    }

    #[test]
    fn each_form_finds_its_rows_in_order() {
        let cdn = "www.example.com CNAME cdn.example.net lan 1";
        let www = ["www.example.com A 192.0.2.1 dmz 1", "www.example.com A 192.0.2.1 lan 1"];
        assert_eq!(find("www.example.com"), [www[0], www[1], cdn]);
        let below = ["example.com NS ns1.example.net lan 1", "example.com TXT \"v=spf1 -ALL\" lan 1"];
        assert_eq!(find("*.example.com"), [below[0], below[1], www[0], www[1], cdn]);
        assert_eq!(find("www.example.*"), [www[0], www[1], cdn, "www.example.org A 198.51.100.1 lan 1"]);
        assert_eq!(find("192.0.2.1"), www);
        assert_eq!(find("192.0.2.2-192.0.2.255"), ["cdn.example.net A 192.0.2.9 lan 1"]);
        assert_eq!(find("rdata:cdn.example.net"), [cdn]);
        assert_eq!(find("rdata:*.example.net"), [cdn, below[0]]);
        assert_eq!(find("~SPF1 -all"), [below[1]]);
        assert_eq!(find("~100.2"), ["www.examples.com A 198.51.100.2 lan 1"]);
        assert_eq!(find("/^www\\.examples?\\.(org|com)$/").len(), 5);
        assert_eq!(find("w?w.example*.com"), [www[0], www[1], cdn, "www.examples.com A 198.51.100.2 lan 1"]);
        assert_eq!(find("c*n.example.net"), ["cdn.example.net A 192.0.2.9 lan 1"]);
        assert_eq!(find("rdata:ns*"), [below[0]]);
        assert_eq!(find("nothing.example"), [""; 0]);
        assert_eq!(find("*").len(), 10);
    }

    #[test]
    fn a_name_also_finds_what_points_at_it_each_row_once() {
        let pointing = |name: &str| {
            let mut search = Search::new(Query::parse(name).unwrap());
            search.pointing = true;
            ask(&sample(), &search)
        };
        assert_eq!(
            pointing("cdn.example.net"),
            ["cdn.example.net A 192.0.2.9 lan 1", "www.example.com CNAME cdn.example.net lan 1"]
        );
        assert_eq!(pointing("self.example"), ["self.example CNAME self.example lan 1"]);
    }

    #[test]
    fn the_recipe_finds_either_side_and_merges_sensors() {
        let either = |text: &str| {
            let mut search = Search::new(Query::exact(text));
            search.merge_sensors = true;
            ask(&sample(), &search)
        };
        assert_eq!(either("192.0.2.1"), ["192.0.2.1 TXT \"odd\" lan 1", "www.example.com A 192.0.2.1 lan 2"]);
        assert_eq!(either("CDN.example.net.").len(), 2);
        assert_eq!(either("\"V=spf1 -all\""), ["example.com TXT \"v=spf1 -ALL\" lan 1"]);
        assert_eq!(either("v=spf1"), [""; 0]);
    }

    #[test]
    fn data_of_every_kind_is_found_each_row_once() {
        let data = |data: Vec<Rdata>| ask(&sample(), &Search::new(Query::Data(data)));
        let address = Rdata::V4([192, 0, 2, 1].into());
        let target = Rdata::Name(Name::parse("ns1.example.net").unwrap());
        let www = ["www.example.com A 192.0.2.1 dmz 1", "www.example.com A 192.0.2.1 lan 1"];
        let ns = "example.com NS ns1.example.net lan 1";
        assert_eq!(data(vec![address.clone()]), www);
        assert_eq!(data(vec![target.clone(), address.clone(), target.clone()]), [ns, www[0], www[1]]);
        // With text it is one walk over everything, in the order of that.
        let text = Rdata::text(b"\"V=spf1 -all\"");
        let all = data(vec![address, text, target]);
        assert_eq!(all, [ns, "example.com TXT \"v=spf1 -ALL\" lan 1", www[0], www[1]]);
    }

    #[test]
    fn a_name_to_stay_below_holds_for_every_query() {
        let below = |query: &str, top: &str| {
            let mut search = Search::new(Query::parse(query).unwrap());
            search.filters.below = Some(Name::parse(top).unwrap());
            ask(&sample(), &search).len()
        };
        assert_eq!(below("www.example.com", "example.com"), 3);
        assert_eq!(below("www.example.com", "ww.example.com"), 0);
        assert_eq!(below("192.0.2.0/24", "net"), 1);
        assert_eq!(below("*", "example.com"), 5);
    }

    #[test]
    fn filters_leave_out_rows_before_and_after_merging() {
        let filtered = |filters: &[(&str, &str)], merge_sensors: bool| {
            let mut search = Search::new(Query::parse("www.example.com").unwrap());
            search.merge_sensors = merge_sensors;
            for (key, value) in filters {
                assert!(search.filters.set(key, value, 5000).unwrap());
            }
            ask(&sample(), &search)
        };
        assert_eq!(filtered(&[("type", "CNAME")], false).len(), 1);
        assert_eq!(
            filtered(&[("direct", "true"), ("type", "A")], false),
            ["www.example.com A 192.0.2.1 lan 1"]
        );
        assert_eq!(filtered(&[("sensor", "dmz")], false), ["www.example.com A 192.0.2.1 dmz 1"]);
        assert_eq!(filtered(&[("sensor", "dmz")], true), ["www.example.com A 192.0.2.1 lan 1"]);
        assert_eq!(filtered(&[("sensor", "none")], true), [""; 0]);
        // Ages, for it is 5,000 s now: 1,001 s and 1,000 s.
        assert_eq!(filtered(&[("first_after", "3999s")], true).len(), 1);
        assert_eq!(filtered(&[("first_after", "3999s")], false).len(), 2);
        assert_eq!(filtered(&[("last_before", "4000s"), ("type", "A")], false).len(), 1);
    }

    #[test]
    fn pages_of_any_size_meet_without_a_gap_or_a_repeat() {
        let ledger = sample();
        for query in ["*", "~example", "www.example.*", "0.0.0.0/0", "cdn.example.net"] {
            for merge_sensors in [false, true] {
                let mut search = Search::new(Query::parse(query).unwrap());
                search.pointing = true;
                search.merge_sensors = merge_sensors;
                let all = ask(&ledger, &search);
                for (limit, examined) in [(1, 100), (2, 100), (3, 2), (100, 1), (100, 4)] {
                    let limits = Limits { rows: limit, examined };
                    let mut pages = Vec::new();
                    let mut from = None;
                    loop {
                        let (page, end) = rows(Walk::start(&ledger, &search, limits, from.clone()).unwrap());
                        assert!(page.len() as u64 <= limit);
                        pages.extend(page);
                        match end.next() {
                            Some(next) => from = Some(next.to_string().parse().unwrap()),
                            None => break,
                        }
                    }
                    assert_eq!(pages, all, "{query} {limits:?} {merge_sensors}");
                }
            }
        }
    }

    #[test]
    fn a_limit_that_takes_all_is_a_complete_answer() {
        let ledger = sample();
        let mut search = Search::new(Query::parse("www.example.com").unwrap());
        for (limit, complete) in [(2, false), (3, true), (4, true)] {
            search.filters.limit = Some(limit);
            let (_, end) = rows(Walk::start(&ledger, &search, Limits::NONE, None).unwrap());
            assert_eq!(end == End::Complete, complete, "{limit}");
        }
    }

    #[test]
    fn a_visitor_can_pause_and_a_clone_goes_on_alone() {
        let ledger = sample();
        let search = Search::new(Query::parse("*").unwrap());
        let mut walk = Walk::start(&ledger, &search, Limits::NONE, None).unwrap();
        let mut first = Vec::new();
        walk.advance(Slice { examined: 100 }, |found| {
            first.push(shown(found));
            first.len() < 4
        })
        .unwrap();
        assert_eq!((first.len(), walk.found()), (4, 4));
        let rest = rows(walk.clone());
        assert_eq!(rest, rows(walk));
        first.extend(rest.0);
        assert_eq!(first, ask(&ledger, &search));
    }

    #[test]
    fn a_cursor_of_another_search_is_refused() {
        let ledger = sample();
        let limits = Limits { rows: 1, examined: u64::MAX };
        let search = Search::new(Query::parse("*.example.com").unwrap());
        let (_, end) = rows(Walk::start(&ledger, &search, limits, None).unwrap());
        let cursor = end.next().cloned();
        assert!(cursor.is_some());
        let other = Search::new(Query::parse("*.example.net").unwrap());
        assert!(matches!(Walk::start(&ledger, &other, limits, cursor), Err(CursorError)));
        let beyond = Some(Cursor { step: 9, after: None });
        assert!(matches!(Walk::start(&ledger, &search, limits, beyond), Err(CursorError)));
    }
}
