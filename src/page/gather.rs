//! Asking the ledger for what a page shows. Everything blocks, and everything is bounded: by rows, by rows looked at, and
//! by a moment until which to look; what was left out is said.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use super::link::{MAX_SORTED, View};
use crate::dns::{Name, Rdata, name_of_address, other_form, registrable};
use crate::lookup::{
    AskedOf, Cursor, CursorError, During, End, Found, Limits, Query, QuestionLimits, Search, Slice, Sort,
    SortColumn, Top, Walk,
};
use crate::observation::Seen;
use crate::output::summary::Questions;
use crate::store::{Entry, Question, Scan, Snapshot, StoreError};

/// Rows that are looked at between two glances at the clock.
const SLICE: Slice = Slice { examined: 4_096 };
/// A result of so many rows is small: it is sorted by its last sightings unless another order is asked for.
const SMALL: u64 = 2_000;
/// Rows that a sorted result looks at, where a scan may look at fewer.
const SORTED_EXAMINED: u64 = 1_000_000;
/// Rows of one part of a page about a name or an address.
const PART_ROWS: u64 = 500;
/// Rows that are looked at for the surroundings of a name or an address.
const SURROUNDINGS_EXAMINED: u64 = 20_000;
/// Names, or addresses, of the surroundings.
const SURROUNDINGS: usize = 256;

/// Why a page cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The cursor is of another search.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A row that is shown.
#[derive(Debug, Clone)]
pub struct ShownRow {
    /// The row.
    pub entry: Entry,
    /// Its figures, as they were asked for.
    pub seen: Seen,
    /// Whether it was seen within the time that is asked for, if one is.
    pub during: Option<During>,
}

impl From<&Found<'_>> for ShownRow {
    fn from(found: &Found<'_>) -> ShownRow {
        ShownRow { entry: found.entry.clone(), seen: found.seen, during: found.during }
    }
}

impl ShownRow {
    /// Whether it was seen through a chain of CNAMEs only, as far as it is shown.
    pub fn is_alias(&self) -> bool {
        self.entry.halves.direct.is_none()
    }

    /// From when to when it was seen.
    pub fn span(&self) -> (u64, u64) {
        (self.seen.time_first, self.seen.time_last)
    }
}

//--- results --------------------------------------------------------------------------------------------------------

/// One page of a result.
#[derive(Debug)]
pub struct Results {
    /// The rows.
    pub rows: Vec<ShownRow>,
    /// The order they are in; that of the index where there is none.
    pub sort: Option<Sort>,
    /// All rows, where they were all counted.
    pub total: Option<u64>,
    /// Where the next page begins.
    pub next: Option<Next>,
    /// Whether looking stopped before the end for lack of time, or after as many rows as one page may look at.
    pub stopped_early: bool,
    /// How the name was asked for, or all at and below it, where the query is about one.
    pub questions: Option<Questions>,
}

/// Where a page begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// At a cursor.
    Cursor(Cursor),
    /// At a page of a sorted result.
    Page(u64),
}

/// Answers a search with one page of rows, and with what was asked.
///
/// # Errors
///
/// When the cursor is of another search, or the store fails.
pub fn search(
    ledger: &Arc<dyn Snapshot>,
    search: &Search,
    view: &View,
    examined: u64,
    until: Instant,
) -> Result<Results, GatherError> {
    let patience = until.saturating_duration_since(Instant::now());
    let results = rows_of(ledger, search, view, examined, until)?;
    // Whoever looks further has seen what was asked on the first page.
    let is_first = view.cursor.is_none() && view.page <= 1;
    let of = AskedOf::of(search).filter(|of| is_first || !of.is_scan());
    let reach = QuestionLimits::shared(examined, Some(Instant::now() + patience / 2));
    let questions =
        of.map(|of| of.questions(&**ledger, reach, results.rows.is_empty())).transpose()?.flatten();
    Ok(Results { questions: questions.as_ref().map(Questions::from), ..results })
}

fn rows_of(
    ledger: &Arc<dyn Snapshot>,
    search: &Search,
    view: &View,
    examined: u64,
    until: Instant,
) -> Result<Results, GatherError> {
    if let Some(sort) = view.sort {
        return sorted(ledger, search, view, sort, examined, until);
    }
    let cursor = view.cursor.as_deref().map(str::parse).transpose()?;
    if cursor.is_none() && !search.query.is_scan() {
        let limits = Limits { rows: SMALL, examined: SMALL };
        let small = rows(ledger, search, limits, None, until)?;
        if small.end == End::Complete {
            let sort = Sort { column: SortColumn::Last, descending: true };
            let mut rows = small.rows;
            // What is known to have been seen in the time that is asked for stays first.
            rows.sort_by(|a, b| a.during.cmp(&b.during).then_with(|| order(sort, a, b)));
            let total = rows.len() as u64;
            rows.truncate(usize::try_from(view.rows).unwrap_or(usize::MAX));
            let next = (total > view.rows).then_some(Next::Page(2));
            return Ok(Results {
                rows,
                sort: Some(sort),
                total: Some(total),
                next,
                stopped_early: false,
                questions: None,
            });
        }
    }
    let first = cursor.is_none();
    let part = rows(ledger, search, Limits { rows: view.rows, examined }, cursor, until)?;
    let total = (first && part.end == End::Complete).then_some(part.rows.len() as u64);
    let stopped_early = matches!(part.end, End::Budget(_));
    let next = part.end.next().cloned().map(Next::Cursor);
    Ok(Results { rows: part.rows, sort: None, total, next, stopped_early, questions: None })
}

/// The rows of one page in an order that no index has: everything is looked at, and the best are kept.
fn sorted(
    ledger: &Arc<dyn Snapshot>,
    search: &Search,
    view: &View,
    sort: Sort,
    examined: u64,
    until: Instant,
) -> Result<Results, GatherError> {
    let upto = view.page.saturating_mul(view.rows).min(MAX_SORTED);
    let mut best = Top::new(sort, upto);
    let limits = Limits { rows: u64::MAX, examined: examined.max(SORTED_EXAMINED) };
    let mut walk = Walk::begin(ledger, search, limits);
    while walk.end().is_none() && Instant::now() < until {
        walk.advance(SLICE, |found| {
            best.push(found);
            true
        })?;
    }
    let (best, _) = best.into_rows();
    let complete = walk.end() == Some(&End::Complete);
    let more = walk.found() > upto && upto < MAX_SORTED;
    let row = |(entry, seen)| ShownRow { entry, seen, during: search.filters.seen_during(&seen) };
    let skip = usize::try_from((view.page - 1).saturating_mul(view.rows)).unwrap_or(usize::MAX);
    Ok(Results {
        rows: best.into_iter().skip(skip).map(row).collect(),
        sort: Some(sort),
        total: complete.then_some(walk.found()),
        next: more.then_some(Next::Page(view.page + 1)),
        stopped_early: !complete,
        questions: None,
    })
}

/// The order of two rows; what is equal in it keeps the order of names.
fn order(sort: Sort, a: &ShownRow, b: &ShownRow) -> Ordering {
    sort.compare((&a.entry, &a.seen), (&b.entry, &b.seen))
}

/// Some rows and how they ended.
struct Portion {
    rows: Vec<ShownRow>,
    end: End,
}

fn rows(
    ledger: &Arc<dyn Snapshot>,
    search: &Search,
    limits: Limits,
    from: Option<Cursor>,
    until: Instant,
) -> Result<Portion, GatherError> {
    let mut rows = Vec::new();
    let end = visit(ledger, search, limits, from, until, |found| {
        rows.push(ShownRow::from(found));
        true
    })?;
    Ok(Portion { rows, end })
}

/// Walks until the answer ends, the visitor has enough, or the time is over.
fn visit(
    ledger: &Arc<dyn Snapshot>,
    search: &Search,
    limits: Limits,
    from: Option<Cursor>,
    until: Instant,
    mut take: impl FnMut(&Found<'_>) -> bool,
) -> Result<End, GatherError> {
    let mut walk = Walk::start(ledger, search, limits, from)?;
    let mut enough = false;
    loop {
        walk.advance(SLICE, |found| {
            enough = !take(found);
            !enough
        })?;
        if let Some(end) = walk.end() {
            return Ok(end.clone());
        }
        if enough || Instant::now() >= until {
            return Ok(End::Budget(walk.here()));
        }
    }
}

/// All rows of some queries, sensors as one, the latest first; whether there are more.
fn part(
    ledger: &Arc<dyn Snapshot>,
    queries: impl IntoIterator<Item = Query>,
    until: Instant,
) -> Result<(Vec<ShownRow>, bool), GatherError> {
    let (mut all, mut more) = (Vec::new(), false);
    for query in queries {
        let search = Search { merge_sensors: true, ..Search::new(query) };
        let limits = Limits { rows: PART_ROWS, examined: SURROUNDINGS_EXAMINED };
        let Portion { rows, end } = self::rows(ledger, &search, limits, None, until)?;
        all.extend(rows);
        more |= end != End::Complete;
    }
    all.sort_by(|a, b| order(Sort { column: SortColumn::Last, descending: true }, a, b));
    Ok((all, more))
}

/// A name in both of its forms, where it has two.
fn forms(name: &Name) -> Vec<Name> {
    [Some(name.clone()), other_form(name)].into_iter().flatten().collect()
}

//--- a name ---------------------------------------------------------------------------------------------------------

/// What is known about one name.
#[derive(Debug)]
pub struct Profile {
    /// The name.
    pub name: Name,
    /// Its rows, the latest first.
    pub rows: Vec<ShownRow>,
    /// Whether it has more rows than these.
    pub more_rows: bool,
    /// Rows that point at it, the latest first.
    pub pointing: Vec<ShownRow>,
    /// Whether more rows point at it.
    pub more_pointing: bool,
    /// What was asked of it, sensors as one, by type.
    pub questions: Vec<Question>,
    /// The registrable domain it is under.
    pub domain: Option<Name>,
    /// Names under that domain, itself among them.
    pub siblings: Vec<Sibling>,
    /// Whether there are more names under that domain.
    pub more_siblings: bool,
    /// How names at and below that domain were asked for.
    pub asked_under: Option<Questions>,
}

/// A name, and when any of its rows was seen.
#[derive(Debug)]
pub struct Sibling {
    /// The name.
    pub name: Name,
    /// The sightings of all of its rows, merged.
    pub seen: Seen,
}

/// Puts together what is known about a name.
///
/// # Errors
///
/// When the store fails.
pub fn name(ledger: &Arc<dyn Snapshot>, name: &Name, until: Instant) -> Result<Profile, GatherError> {
    let (rows, more_rows) = part(ledger, forms(name).into_iter().map(Query::Name), until)?;
    let (pointing, more_pointing) = part(ledger, forms(name).into_iter().map(Query::Target), until)?;
    let mut questions: Vec<Question> = Vec::new();
    for form in forms(name) {
        questions.extend(ledger.questions(&Scan::Name(form))?.collect::<Result<Vec<_>, StoreError>>()?);
    }
    questions.sort_by_key(|question| question.qtype);
    questions.dedup_by(|later, kept| {
        let same = later.qtype == kept.qtype;
        if same {
            kept.asked.merge(&later.asked);
        }
        same
    });
    let domain = registrable(name);
    let mut siblings: Vec<Sibling> = Vec::new();
    let (mut more_siblings, mut asked_under) = (false, None);
    if let Some(domain) = &domain {
        let limits = Limits { rows: u64::MAX, examined: SURROUNDINGS_EXAMINED };
        let end =
            visit(ledger, &Search::new(Query::Subtree(domain.clone())), limits, None, until, |found| {
                let rrname = &found.entry.tuple.rrname;
                let full = siblings.len() == SURROUNDINGS;
                match siblings.last_mut() {
                    Some(sibling) if sibling.name == *rrname => sibling.seen.merge(&found.seen),
                    _ if full => return false,
                    _ => siblings.push(Sibling { name: rrname.clone(), seen: found.seen }),
                }
                true
            })?;
        more_siblings = end != End::Complete;
        if let Some(of) = AskedOf::of(&Search::new(Query::Subtree(domain.clone()))) {
            let reach = QuestionLimits::shared(SURROUNDINGS_EXAMINED, Some(until));
            asked_under = of.questions(&**ledger, reach, false)?.as_ref().map(Into::into);
        }
    }
    Ok(Profile {
        name: name.clone(),
        rows,
        more_rows,
        pointing,
        more_pointing,
        questions,
        domain,
        siblings,
        more_siblings,
        asked_under,
    })
}

//--- an address -----------------------------------------------------------------------------------------------------

/// What is known about one address.
#[derive(Debug)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Rows of the names that had it, the latest first.
    pub rows: Vec<ShownRow>,
    /// Whether there are more of these rows.
    pub more_rows: bool,
    /// Rows of the name that is written as the address is, and rows that lead to that name.
    pub named_rows: Vec<ShownRow>,
    /// How that name was asked for, if it was.
    pub asked: Option<Questions>,
    /// The name under which its own name is asked for.
    pub reverse: Name,
    /// Rows of that name.
    pub reverse_rows: Vec<ShownRow>,
    /// The first address of the block around it.
    pub block: IpAddr,
    /// The addresses of that block that were seen, itself among them, in their order.
    pub neighbours: Vec<Neighbour>,
    /// Whether there are more addresses.
    pub more_neighbours: bool,
}

impl Address {
    /// The length of the prefix of the block around it.
    pub fn block_length(&self) -> u8 {
        if self.address.is_ipv4() { 24 } else { 64 }
    }
}

/// An address that was seen.
#[derive(Debug)]
pub struct Neighbour {
    /// The address.
    pub address: IpAddr,
    /// Names that had it.
    pub names: u64,
    /// One of them: the one seen last.
    pub name: Name,
    /// When that name was seen last, epoch seconds.
    name_last: u64,
    /// The sightings of all of its rows, merged.
    pub seen: Seen,
}

/// Puts together what is known about an address.
///
/// # Errors
///
/// When the store fails.
pub fn address(ledger: &Arc<dyn Snapshot>, address: IpAddr, until: Instant) -> Result<Address, GatherError> {
    let mapped = match address {
        IpAddr::V4(v4) => Some(v4.to_ipv6_mapped().into()),
        IpAddr::V6(_) => None,
    };
    let addresses = [Some(address), mapped].into_iter().flatten();
    let (rows, more_rows) = part(ledger, addresses.map(|one| Query::Addresses(one, one)), until)?;
    let reverse = reverse_name(address);
    let (reverse_rows, _) = part(ledger, [Query::Name(reverse.clone())], until)?;
    let as_name = name_of_address(address).unwrap_or_else(Name::root);
    let (named_rows, _) = part(ledger, [Query::Name(as_name.clone()), Query::Target(as_name)], until)?;
    let search = Search::new(Query::Addresses(address, address)).in_all_forms();
    let asked = match AskedOf::of(&search) {
        Some(of) => {
            of.questions(&**ledger, QuestionLimits::shared(SURROUNDINGS_EXAMINED, Some(until)), false)?
        }
        None => None,
    };
    let (block, last) = block(address);
    let mut neighbours: Vec<Neighbour> = Vec::new();
    let mut before: Option<Name> = None;
    let limits = Limits { rows: u64::MAX, examined: SURROUNDINGS_EXAMINED };
    let search = Search { merge_sensors: true, ..Search::new(Query::Addresses(block, last)) };
    let end = visit(ledger, &search, limits, None, until, |found| {
        let tuple = &found.entry.tuple;
        let Some(address) = tuple.rdata.address() else { return true };
        let full = neighbours.len() == SURROUNDINGS;
        match neighbours.last_mut() {
            Some(neighbour) if neighbour.address == address => {
                // Rows of one address come by name.
                neighbour.names += u64::from(before.as_ref() != Some(&tuple.rrname));
                neighbour.seen.merge(&found.seen);
                if found.seen.time_last > neighbour.name_last {
                    neighbour.name_last = found.seen.time_last;
                    neighbour.name = tuple.rrname.clone();
                }
            }
            _ if full => return false,
            _ => neighbours.push(Neighbour {
                address,
                names: 1,
                name: tuple.rrname.clone(),
                name_last: found.seen.time_last,
                seen: found.seen,
            }),
        }
        before = Some(tuple.rrname.clone());
        true
    })?;
    Ok(Address {
        address,
        rows,
        more_rows,
        named_rows,
        asked: asked.as_ref().map(Into::into),
        reverse,
        reverse_rows,
        block,
        neighbours,
        more_neighbours: end != End::Complete,
    })
}

/// The first and the last address of the /24 or the /64 around an address.
fn block(address: IpAddr) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let first = address.to_bits() & !0xff;
            (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | 0xff).into())
        }
        IpAddr::V6(address) => {
            let host = u128::from(u64::MAX);
            let first = address.to_bits() & !host;
            (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | host).into())
        }
    }
}

/// The name of an address in the tree of reverse names (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse_name(address: IpAddr) -> Name {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let mut text = String::with_capacity(72);
            for byte in address.octets().iter().rev() {
                text.push_str(&format!("{:x}.{:x}.", byte & 15, byte >> 4));
            }
            text + "ip6.arpa"
        }
    };
    Name::parse(&text).unwrap_or_else(|_| Name::root())
}

/// Whether data is an address.
pub fn is_address(rdata: &Rdata) -> bool {
    rdata.address().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RrType;
    use crate::observation::{Half, Observations, Outcome};
    use crate::store::batch::Batch;
    use crate::store::memory::MemoryStore;
    use crate::store::{ReadStore, WriteStore};
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// A ledger of names with an address each, seen at these times.
    fn ledger(rows: &[(&str, &str, u64)]) -> Arc<dyn Snapshot> {
        let (store, mut batch) = (MemoryStore::default(), Batch::default());
        let mut observations = Observations::new(store.sensor("lan").unwrap());
        for (name, address, time) in rows {
            let (name, mut rdata) = (Name::parse(name).unwrap(), Vec::new());
            crate::dns::push_address_key(address.parse().unwrap(), &mut rdata);
            observations.reset(*time);
            observations.push(name.key(), RrType::A, &rdata, Half::Direct, 60);
            observations.ask(name.key(), RrType::A, Outcome::Answered);
            batch.add(&observations);
        }
        store.stage(&batch).unwrap();
        store.now()
    }

    fn view(pairs: &[(&str, &str)]) -> View {
        let params: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        View::from_params(&params)
    }

    fn names(results: &Results) -> Vec<String> {
        results.rows.iter().map(|row| row.entry.tuple.rrname.to_string()).collect()
    }

    #[test]
    fn a_small_result_comes_latest_first_and_a_sorted_one_in_pages() {
        let ledger = ledger(&[
            ("a.x", "192.0.2.1", 5),
            ("b.x", "192.0.2.1", 9),
            ("c.x", "192.0.2.1", 7),
            ("d.x", "192.0.2.1", 1),
        ]);
        let asked = Search::new(Query::parse("192.0.2.1").unwrap());
        let ask = |view: &View| search(&ledger, &asked, view, 1_000, soon()).unwrap();
        let first = ask(&view(&[("limit", "3")]));
        assert_eq!(names(&first), ["b.x", "c.x", "a.x"]);
        assert_eq!((first.total, first.next), (Some(4), Some(Next::Page(2))));
        let second = ask(&view(&[("limit", "3"), ("sort", "-last"), ("page", "2")]));
        assert_eq!((names(&second), second.next), (vec!["d.x".to_owned()], None));
        assert_eq!(names(&ask(&view(&[("sort", "first")]))), ["d.x", "a.x", "c.x", "b.x"]);
    }

    #[test]
    fn a_large_result_comes_by_name_with_a_cursor() {
        let rows: Vec<(String, u64)> = (0..SMALL + 5).map(|i| (format!("n{i:05}.x"), 1_000 + i)).collect();
        let rows: Vec<_> = rows.iter().map(|(name, time)| (name.as_str(), "192.0.2.1", *time)).collect();
        let ledger = ledger(&rows);
        let asked = Search::new(Query::parse("192.0.2.1").unwrap());
        let first = search(&ledger, &asked, &view(&[("limit", "2")]), u64::MAX, soon()).unwrap();
        assert_eq!((names(&first), first.sort), (vec!["n00000.x".to_owned(), "n00001.x".to_owned()], None));
        let Some(Next::Cursor(cursor)) = first.next else { panic!("{:?}", first.next) };
        let cursor = cursor.to_string();
        let second =
            search(&ledger, &asked, &view(&[("limit", "2"), ("cursor", &cursor)]), u64::MAX, soon()).unwrap();
        assert_eq!(names(&second), ["n00002.x", "n00003.x"]);
        let latest = search(&ledger, &asked, &view(&[("limit", "1"), ("sort", "-last")]), 0, soon()).unwrap();
        assert_eq!((names(&latest), latest.total), (vec!["n02004.x".to_owned()], Some(SMALL + 5)));
    }

    #[test]
    fn who_has_no_time_is_told_where_to_go_on() {
        let ledger = ledger(&[("a.x", "192.0.2.1", 5)]);
        let asked = Search::new(Query::parse("~nothing").unwrap());
        let late = Instant::now();
        let results = search(&ledger, &asked, &view(&[]), 1, late).unwrap();
        assert!(results.rows.is_empty());
        let sorted = search(&ledger, &asked, &view(&[("sort", "name")]), 1, late).unwrap();
        assert!(sorted.stopped_early && sorted.total.is_none());
    }

    #[test]
    fn a_name_has_siblings_and_an_address_neighbours() {
        let ledger = ledger(&[
            ("a.example.co.uk", "192.0.2.1", 5),
            ("b.example.co.uk", "192.0.2.1", 6),
            ("b.example.co.uk", "192.0.2.9", 7),
            ("c.other.co.uk", "192.0.3.1", 8),
        ]);
        let profile = name(&ledger, &Name::parse("a.example.co.uk").unwrap(), soon()).unwrap();
        let siblings: Vec<_> = profile.siblings.iter().map(|s| (s.name.to_string(), s.seen.count)).collect();
        assert_eq!(siblings, [("a.example.co.uk".to_owned(), 1), ("b.example.co.uk".to_owned(), 2)]);
        assert_eq!((profile.rows.len(), profile.questions.len()), (1, 1));
        let found = address(&ledger, "192.0.2.1".parse().unwrap(), soon()).unwrap();
        let neighbours: Vec<_> =
            found.neighbours.iter().map(|n| (n.address.to_string(), n.names, n.name.to_string())).collect();
        assert_eq!(
            neighbours,
            [
                ("192.0.2.1".to_owned(), 2, "b.example.co.uk".to_owned()),
                ("192.0.2.9".to_owned(), 1, "b.example.co.uk".to_owned())
            ]
        );
        assert_eq!(found.reverse.to_string(), "1.2.0.192.in-addr.arpa");
        assert!(reverse_name("2001:db8::1".parse().unwrap()).to_string().starts_with("1.0.0.0."));
    }
}
