//! First sightings: registrable domains, names, or record data first seen since a time, the newest first.
//!
//! Domains have a family of rows of their own ([`Snapshot::domains`]) and are answered in the time that takes. The first sighting
//! of a name is the least time of its rows and questions, that of record data (addresses and names) the least of the rows that
//! have it: both are found by going through the rows. All are exact, and free of the order in which logs were read.

use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::filters::{parse_bool, time_after};
use super::indicator::Indicator;
use super::lookalike::{Brands, Lookalike};
use super::{Query, QueryError};
use crate::base::time::format_rfc3339;
use crate::dns::{Name, Rdata, RrType};
use crate::observation::FirstSeen;
use crate::store::{About, Entries, First, FirstsOf, Scan, Snapshot, StoreError};

/// Rows between two looks whether it takes too long.
const LOOK: u64 = 4096;
/// Since when, where nothing is said.
const SINCE: &str = "24h";
/// Names that are looked below, at most.
const MOST_UNDER: usize = 100;
/// The most that one answer has.
pub const MAX_NEW: usize = 10_000;

/// The kinds of things that can be first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Registrable domains.
    #[default]
    Domain,
    /// Names.
    Name,
    /// Addresses and names that rows lead to.
    Rdata,
}

impl What {
    /// Reads one as it is written.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(text: &str) -> Result<What, QueryError> {
        match text {
            "domain" => Ok(What::Domain),
            "name" => Ok(What::Name),
            "rdata" => Ok(What::Rdata),
            _ => Err(QueryError::new(text, 0, "nothing of this kind can be new", "domain, name or rdata")),
        }
    }
}

/// A search for first sightings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewSearch {
    /// The kind.
    pub what: What,
    /// At and below one of these names only; everywhere where there is none.
    pub under: Vec<Name>,
    /// First seen at this second or after.
    pub since: u64,
    /// Only as this sensor saw it.
    pub sensor: Option<String>,
    /// Only what looks like a brand.
    pub lookalikes: bool,
    /// The most things; the newest are given.
    pub limit: usize,
    /// Only what comes after this place in the order of an answer.
    pub after: Option<NewCursor>,
}

/// Brands and names by which first sightings are marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSettings {
    /// Names that look like one of these are marked.
    pub brands: Brands,
    /// Names that are watched, with all below them.
    pub watched: Vec<Name>,
}

impl NewSearch {
    /// Reads a search from names and values of parameters.
    ///
    /// # Errors
    ///
    /// When one of them has no meaning.
    pub fn read<'a>(
        params: impl Iterator<Item = (&'a str, &'a str)>,
        settings: &NewSettings,
        limit: usize,
        now: u64,
    ) -> Result<NewSearch, QueryError> {
        let mut search = NewSearch { since: time_after(SINCE, now)?, limit, ..NewSearch::default() };
        for (key, value) in params {
            match key {
                "what" => search.what = What::parse(value)?,
                "since" => search.since = time_after(value, now)?,
                "under" => {
                    for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                        match Indicator::read(text)?.query {
                            Query::Name(name) | Query::Subtree(name) => search.under.push(name),
                            _ => {
                                let hint = "a name such as example.com";
                                return Err(QueryError::new(text, 0, "not a name", hint));
                            }
                        }
                    }
                    if search.under.len() > MOST_UNDER {
                        let hint = "ask once for each part of them";
                        return Err(QueryError::new(value, 0, "more than 100 names to look below", hint));
                    }
                }
                "watched" if parse_bool(value)? => {
                    if settings.watched.is_empty() {
                        let hint = "watched = [\"example.com\"] in the section [new] of the configuration";
                        return Err(QueryError::new(value, 0, "no names are watched", hint));
                    }
                    search.under.extend(settings.watched.iter().cloned());
                }
                "lookalikes" => {
                    search.lookalikes = parse_bool(value)?;
                    if search.lookalikes && settings.brands.is_empty() {
                        let hint = "brands = [\"example.com\"] in the section [new] of the configuration";
                        return Err(QueryError::new(value, 0, "there are no brands to look like", hint));
                    }
                }
                "sensor" => search.sensor = Some(value.to_owned()),
                "cursor" => search.after = Some(NewCursor::parse(value)?),
                _ => {}
            }
        }
        Ok(search)
    }
}

/// A place in the order of an answer: the newest first, and of those of one second by text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCursor {
    /// When it was first seen.
    pub first: u64,
    /// The name, domain or data.
    pub value: String,
}

impl NewCursor {
    /// Reads one as [`std::fmt::Display`] writes it.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(text: &str) -> Result<NewCursor, QueryError> {
        let none = || QueryError::new(text, 0, "not a cursor", "the value of next in the answer before");
        let (first, value) = text.split_once('-').ok_or_else(none)?;
        Ok(NewCursor { first: first.parse().map_err(|_| none())?, value: value.to_owned() })
    }
}

impl std::fmt::Display for NewCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.value)
    }
}

/// The time of `since`: an age, a day, a time.
///
/// # Errors
///
/// When it is none.
pub fn parse_since(text: &str, now: u64) -> Result<u64, QueryError> {
    time_after(text, now)
}

/// One thing that is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct New {
    /// The name, domain or data.
    pub value: String,
    /// When it was first seen or asked for, epoch seconds.
    pub first_seen: u64,
    /// The same as RFC 3339.
    pub first_seen_utc: String,
    /// When it was first asked for; not of record data.
    #[serde(default)]
    pub first_asked: Option<u64>,
    /// When it was first answered.
    #[serde(default)]
    pub first_answered: Option<u64>,
    /// When it was last seen or asked for.
    pub last_seen: u64,
    /// The sensor that met it first.
    pub sensor: String,
    /// The brand that it looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookalike: Option<Lookalike>,
}

/// A page of first sightings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFound {
    /// The kind.
    pub what: What,
    /// Since when, epoch seconds.
    pub since: u64,
    /// How many there are, also those that are not handed out.
    pub total: u64,
    /// The newest of them, the newest first.
    pub new: Vec<New>,
    /// Where to go on from, if there are more.
    pub next: Option<String>,
}

/// Finds what is new; `None` where `is_over` ended it.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn find_new(
    ledger: &dyn Snapshot,
    search: &NewSearch,
    brands: &Brands,
    is_over: &mut dyn FnMut() -> bool,
) -> Result<Option<NewFound>, StoreError> {
    let limit = search.limit.clamp(1, MAX_NEW);
    let mut finding =
        Finding { search, brands, limit, heap: BinaryHeap::new(), total: 0, read: 0, is_over, ended: false };
    match search.what {
        What::Domain => finding.domains(ledger)?,
        What::Name => finding.names(ledger)?,
        What::Rdata => finding.rdata(ledger)?,
    }
    if finding.ended {
        return Ok(None);
    }
    let Finding { heap, total, .. } = finding;
    let new: Vec<New> = heap.into_sorted_vec().into_iter().map(|Ordered(new)| new).collect();
    let left = total > new.len() as u64;
    let last = new.last().filter(|_| left);
    let next = last.map(|last| NewCursor { first: last.first_seen, value: last.value.clone() }.to_string());
    Ok(Some(NewFound { what: search.what, since: search.since, total, new, next }))
}

/// A new thing that is compared by its place in an answer.
#[derive(PartialEq, Eq)]
struct Ordered(New);

impl Ord for Ordered {
    fn cmp(&self, other: &Ordered) -> std::cmp::Ordering {
        let Ordered(a) = self;
        let Ordered(b) = other;
        b.first_seen.cmp(&a.first_seen).then_with(|| a.value.cmp(&b.value))
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Ordered) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The first sighting of one thing, while its rows are read.
struct FirstSighting<T> {
    of: T,
    times: FirstSeen,
    sensor: Arc<str>,
    is_under: bool,
}

impl<T> FirstSighting<T> {
    fn add(&mut self, times: &FirstSeen, sensor: &Arc<str>) {
        // Two sensors in the same second: the first by name wins.
        if (times.first(), sensor) < (self.times.first(), &self.sensor) {
            self.sensor = Arc::clone(sensor);
        }
        self.times.merge(times);
    }
}

struct Finding<'a> {
    search: &'a NewSearch,
    brands: &'a Brands,
    limit: usize,
    /// The newest so far, the oldest of them on top.
    heap: BinaryHeap<Ordered>,
    total: u64,
    read: u64,
    is_over: &'a mut dyn FnMut() -> bool,
    ended: bool,
}

impl Finding<'_> {
    /// Counts a row; `false` where it is over.
    fn tick(&mut self) -> bool {
        self.read += 1;
        if self.read.is_multiple_of(LOOK) { self.look() } else { !self.ended }
    }

    /// Looks at the clock; `false` where it is over.
    fn look(&mut self) -> bool {
        self.ended |= (self.is_over)();
        !self.ended
    }

    fn wants_sensor(&self, sensor: &str) -> bool {
        self.search.sensor.as_ref().is_none_or(|wanted| *wanted == *sensor)
    }

    fn is_under(&self, name: &Name) -> bool {
        self.search.under.is_empty() || self.search.under.iter().any(|under| under.is_at_or_above(name))
    }

    /// Where names are looked for: below each of those that are named, once.
    fn scans(&self) -> Vec<Scan> {
        let under = &self.search.under;
        if under.is_empty() {
            return vec![Scan::All];
        }
        let covered = |name: &Name| under.iter().any(|other| other != name && other.is_at_or_above(name));
        let mut names: Vec<&Name> = under.iter().filter(|name| !covered(name)).collect();
        names.sort();
        names.dedup();
        names.into_iter().map(|name| Scan::Subtree(name.clone())).collect()
    }

    /// Takes what who keeps the rows has summed up itself; `false` where these must be gone through.
    fn summed_up(&mut self, ledger: &dyn Snapshot, about: About, scan: &Scan) -> Result<bool, StoreError> {
        let floor = Arc::new(AtomicU64::new(self.floor()));
        let of = FirstsOf {
            about,
            scan: scan.clone(),
            since: self.search.since,
            sensor: self.search.sensor.clone(),
            under: self.search.under.clone(),
            floor: Arc::clone(&floor),
        };
        let Some(firsts) = ledger.firsts(of)? else { return Ok(false) };
        for first in firsts {
            let goes_on = match first? {
                First::Older(count) => {
                    self.total += count;
                    floor.store(self.floor(), Ordering::Relaxed);
                    self.look()
                }
                First::Of(of, times, sensor) => {
                    self.push(of.to_string(), of.name(), &times, &sensor);
                    self.tick()
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(true)
    }

    /// Sightings older than this are not on the page; they are only counted.
    fn floor(&self) -> u64 {
        let is_full = self.heap.len() >= self.limit && !self.search.lookalikes;
        self.heap.peek().filter(|_| is_full).map_or(0, |Ordered(oldest)| oldest.first_seen)
    }

    fn domains(&mut self, ledger: &dyn Snapshot) -> Result<(), StoreError> {
        for scan in self.scans() {
            let mut last: Option<FirstSighting<Name>> = None;
            for domain in ledger.domains_since(&scan, self.search.since)? {
                let domain = domain?;
                let goes_on = if domain.is_mark() { self.look() } else { self.tick() };
                if !goes_on {
                    return Ok(());
                }
                if domain.is_mark() || !self.wants_sensor(&domain.sensor) {
                    continue;
                }
                match &mut last {
                    Some(seen) if seen.of == domain.domain => seen.add(&domain.times, &domain.sensor),
                    _ => {
                        let (of, times, sensor) = (domain.domain, domain.times, domain.sensor);
                        self.name(last.replace(FirstSighting { of, times, sensor, is_under: true }));
                    }
                }
            }
            self.name(last);
        }
        Ok(())
    }

    fn names(&mut self, ledger: &dyn Snapshot) -> Result<(), StoreError> {
        for scan in self.scans() {
            if self.summed_up(ledger, About::Rrname, &scan)? {
                continue;
            }
            let mut rows = ledger.entries(&scan, None)?.peekable();
            let mut questions = ledger.questions(&scan)?.peekable();
            let mut last: Option<FirstSighting<Name>> = None;
            loop {
                let row = match (rows.peek(), questions.peek()) {
                    (None, None) => break,
                    (Some(Ok(row)), Some(Ok(question))) => row.tuple.rrname <= question.rrname,
                    (Some(_), None) | (Some(Err(_)), _) => true,
                    _ => false,
                };
                let (name, times, sensor, rrtype) = if row {
                    let Some(row) = rows.next().transpose()? else { break };
                    let times = FirstSeen::of_sightings(&row.halves);
                    (row.tuple.rrname, times, row.sensor, row.tuple.rrtype)
                } else {
                    let Some(question) = questions.next().transpose()? else { break };
                    let times = FirstSeen::of_question(&question.asked);
                    (question.rrname, times, question.sensor, question.qtype)
                };
                if !self.tick() {
                    return Ok(());
                }
                // A row of folded names has no name of its own.
                if rrtype == RrType::FOLDED || !self.wants_sensor(&sensor) {
                    continue;
                }
                match &mut last {
                    Some(seen) if seen.of == name => seen.add(&times, &sensor),
                    _ => self.name(last.replace(FirstSighting { of: name, times, sensor, is_under: true })),
                }
            }
            self.name(last);
        }
        Ok(())
    }

    fn rdata(&mut self, ledger: &dyn Snapshot) -> Result<(), StoreError> {
        let v4 = Scan::Addresses(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST));
        let v6 =
            Scan::Addresses(IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
        for scan in [v4, v6, Scan::TargetSubtree(Name::root())] {
            if self.summed_up(ledger, About::Rdata, &scan)? {
                continue;
            }
            if !self.rows_by_rdata(ledger.entries(&scan, None)?)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn rows_by_rdata(&mut self, rows: Entries<'_>) -> Result<bool, StoreError> {
        let mut last: Option<FirstSighting<Rdata>> = None;
        for row in rows {
            let row = row?;
            if !self.tick() {
                return Ok(false);
            }
            if row.tuple.rrtype == RrType::FOLDED || !self.wants_sensor(&row.sensor) {
                continue;
            }
            let times = FirstSeen::of_sightings(&row.halves);
            let is_under = self.is_under(&row.tuple.rrname);
            match &mut last {
                Some(seen) if seen.of == row.tuple.rdata => {
                    seen.add(&times, &row.sensor);
                    seen.is_under |= is_under;
                }
                _ => {
                    let seen = FirstSighting { of: row.tuple.rdata, times, sensor: row.sensor, is_under };
                    self.data(last.replace(seen));
                }
            }
        }
        self.data(last);
        Ok(true)
    }

    fn data(&mut self, seen: Option<FirstSighting<Rdata>>) {
        if let Some(seen) = seen.filter(|seen| seen.is_under) {
            let name = seen.of.name().cloned();
            self.push(seen.of.to_string(), name.as_ref(), &seen.times, &seen.sensor);
        }
    }

    fn name(&mut self, seen: Option<FirstSighting<Name>>) {
        if let Some(FirstSighting { of, times, sensor, .. }) = seen
            && times.first() >= self.search.since
        {
            self.push(of.to_string(), Some(&of), &times, &sensor);
        }
    }

    fn push(&mut self, value: String, name: Option<&Name>, times: &FirstSeen, sensor: &str) {
        let first_seen = times.first();
        if first_seen < self.search.since {
            return;
        }
        let new = New {
            value,
            first_seen,
            first_seen_utc: String::new(),
            first_asked: times.asked,
            first_answered: times.answered,
            last_seen: times.last,
            sensor: sensor.to_owned(),
            lookalike: None,
        };
        let mut new = Ordered(new);
        if let Some(NewCursor { first, value }) = &self.search.after {
            let (time, text) = (new.0.first_seen, &new.0.value);
            if time > *first || (time == *first && text <= value) {
                return;
            }
        }
        if self.search.lookalikes {
            new.0.lookalike = name.and_then(|name| self.brands.like(name));
            if new.0.lookalike.is_none() {
                return;
            }
        }
        self.total += 1;
        if self.heap.len() >= self.limit && self.heap.peek().is_some_and(|oldest| *oldest <= new) {
            return;
        }
        if !self.search.lookalikes {
            new.0.lookalike = name.and_then(|name| self.brands.like(name));
        }
        new.0.first_seen_utc = format_rfc3339(first_seen);
        self.heap.push(new);
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }
}
