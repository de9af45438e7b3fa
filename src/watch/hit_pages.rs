//! Hits of one ledger, or of several together, a page at a time.
//!
//! Each ledger numbers its own. So where somebody is among them is a number for each ledger: what was noted late, or came late to where it
//! is asked, is not passed over. Of two ledgers that comes first which was noted first, or last where the newest come first.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{HitFilter, HitLine, Set};
use crate::store::{Hit, HitSpan, OWN, Snapshot, StoreError};

/// Numbers that are looked at together at first, of all ledgers.
const WINDOW: u64 = 1000;
/// The least of one ledger, and the most where there are none.
const LEAST: u64 = 32;
const MOST: u64 = 1 << 20;

/// Where somebody is among hits: at which number of each ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HitPlace(BTreeMap<u64, u64>);

impl HitPlace {
    /// At these numbers, by the generations of ledgers.
    pub fn new(numbers: BTreeMap<u64, u64>) -> HitPlace {
        HitPlace(numbers)
    }

    /// Whether it can be one among the hits of these ledgers.
    pub fn is_among(&self, last: &BTreeMap<u64, u64>) -> bool {
        self.0.contains_key(&OWN) == last.contains_key(&OWN) || *self == HitPlace::default()
    }

    /// Whether there are hits behind it.
    pub fn is_before(&self, last: &BTreeMap<u64, u64>) -> bool {
        last.iter().any(|(ledger, last)| *last > self.of(*ledger))
    }

    /// The number of a ledger.
    fn of(&self, ledger: u64) -> u64 {
        self.0.get(&ledger).copied().unwrap_or(0)
    }
}

impl Default for HitPlace {
    /// The place before all hits.
    fn default() -> HitPlace {
        HitPlace(BTreeMap::from([(OWN, 0)]))
    }
}

impl fmt::Display for HitPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.0.get(&OWN) {
            return write!(f, "{number}");
        }
        for (at, (ledger, number)) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{ledger:016x}-{number}")?;
        }
        Ok(())
    }
}

impl FromStr for HitPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HitPlace, &'static str> {
        if let Ok(number) = text.parse() {
            return Ok(HitPlace(BTreeMap::from([(OWN, number)])));
        }
        let of_one = |part: &str| {
            let (ledger, number) = part.split_once('-')?;
            let ledger = u64::from_str_radix(ledger, 16).ok().filter(|ledger| *ledger != OWN)?;
            Some((ledger, number.parse().ok()?))
        };
        let numbers: Option<BTreeMap<u64, u64>> = text.split('.').map(of_one).collect();
        numbers.map(HitPlace).ok_or("it is not a place among hits")
    }
}

impl Serialize for HitPlace {
    /// A number in one ledger, and text among several.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.get(&OWN) {
            Some(number) => serializer.serialize_u64(*number),
            None => serializer.collect_str(self),
        }
    }
}

/// Which hits are wanted.
#[derive(Debug, Clone, Default)]
pub struct HitsWanted {
    /// Whether the newest come first.
    pub newest: bool,
    /// The filter that a hit must pass.
    pub filter: HitFilter,
    /// The most hits.
    pub limit: usize,
    /// The place to begin at; the first hit where there is none.
    pub from: Option<HitPlace>,
}

/// Hits that were found.
#[derive(Debug, Clone)]
pub struct HitsFound {
    /// The hits.
    pub hits: Vec<HitLine>,
    /// Where to go on from, if there may be more.
    pub next: Option<HitPlace>,
    /// Where all is that was looked at: of the oldest, where to go on from when more have come.
    pub at: HitPlace,
}

/// What is left of the hits of one ledger.
struct Left {
    ledger: u64,
    /// The last one that was taken; of the newest one more than the last there is, where none was.
    at: u64,
    /// Up to where they were read.
    reach: u64,
    last: u64,
    window: u64,
    /// Whether nothing was found where it was read last.
    is_dry: bool,
    ready: VecDeque<Hit>,
    is_over: bool,
}

impl Left {
    /// What to read next, if nothing is left of what was.
    fn span(&mut self, newest: bool) -> Option<HitSpan> {
        if self.is_over || !self.ready.is_empty() {
            return None;
        }
        self.is_over = if newest { self.reach <= 1 } else { self.reach >= self.last };
        if self.is_over {
            return None;
        }
        self.window = if self.is_dry { (self.window * 4).min(MOST) } else { self.window.min(WINDOW) };
        self.is_dry = true;
        let (after, to) = match newest {
            true => (self.reach.saturating_sub(self.window + 1), self.reach - 1),
            false => (self.reach, self.reach.saturating_add(self.window).min(self.last)),
        };
        self.reach = if newest { after + 1 } else { to };
        Some(HitSpan { ledger: self.ledger, after, to })
    }
}

/// Finds hits, up to the last of each ledger; the feeds say what they have now.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn find_hits(
    snapshot: &dyn Snapshot,
    set: Option<&Set>,
    last: &BTreeMap<u64, u64>,
    wanted: &HitsWanted,
) -> Result<HitsFound, StoreError> {
    let HitsWanted { newest, filter, limit, from } = wanted;
    let window = (WINDOW / last.len().max(1) as u64).max(LEAST);
    let mut all: Vec<Left> = last
        .iter()
        .map(|(ledger, last)| {
            let begin = if *newest { last.saturating_add(1) } else { 0 };
            let at = from.as_ref().and_then(|from| from.0.get(ledger).copied()).unwrap_or(begin);
            // What was put back to an older state has fewer.
            let at = if *newest { at.min(begin) } else { at.min(*last) };
            let (is_dry, ready) = (false, VecDeque::new());
            Left { ledger: *ledger, at, reach: at, last: *last, window, is_dry, ready, is_over: false }
        })
        .collect();
    let mut hits = Vec::new();
    loop {
        let spans: Vec<HitSpan> = all.iter_mut().filter_map(|left| left.span(*newest)).collect();
        if !spans.is_empty() {
            for (ledger, hit) in snapshot.hits_within(&spans)? {
                let Some(left) = all.iter_mut().find(|left| left.ledger == ledger) else { continue };
                left.is_dry = false;
                if *newest { left.ready.push_front(hit) } else { left.ready.push_back(hit) }
            }
            continue;
        }
        let heads = all.iter().enumerate();
        let heads = heads.filter_map(|(at, left)| Some(((left.ready.front()?.noted, left.ledger), at)));
        let next = if *newest { heads.max() } else { heads.min() };
        let place = |all: &[Left]| HitPlace(all.iter().map(|left| (left.ledger, left.at)).collect());
        let Some(left) = next.and_then(|(_, at)| all.get_mut(at)) else {
            if !newest {
                all.iter_mut().for_each(|left| left.at = left.at.max(left.last));
            }
            HitLine::retract(&mut hits, snapshot)?;
            return Ok(HitsFound { hits, next: None, at: place(&all) });
        };
        if hits.len() >= *limit {
            HitLine::retract(&mut hits, snapshot)?;
            return Ok(HitsFound { hits, next: Some(place(&all)), at: place(&all) });
        }
        let Some(hit) = left.ready.pop_front() else { continue };
        left.at = hit.sequence;
        if *newest && filter.is_over(hit.noted) {
            // What the ledger noted before comes before.
            (left.is_over, left.ready) = (true, VecDeque::new());
            continue;
        }
        let line = HitLine::from(&hit);
        if line.is_event() && !filter.wants(&line) {
            continue;
        }
        let line = HitLine::of(&hit, set);
        if filter.wants_by(&line, snapshot)? {
            let ledger = (left.ledger != OWN).then(|| format!("{:016x}", left.ledger));
            hits.push(HitLine { ledger, ..line });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::dns::Name;
    use crate::observation::FirstSeen;
    use crate::store::{Changed, DomainSeen, Domains, Entries, Mark, Position, Questions, Scan};

    /// Hits of several ledgers: when each was noted, by ledger and number.
    struct Several(BTreeMap<u64, BTreeMap<u64, u64>>);

    /// Events of new domains of one ledger, of which every other one was seen before; how often domains were asked for.
    #[derive(Default)]
    struct Events(AtomicU64);

    impl Snapshot for Events {
        fn entries<'a>(&'a self, _: &Scan, _: Option<&Position>) -> Result<Entries<'a>, StoreError> {
            Ok(Box::new(std::iter::empty()))
        }

        fn questions<'a>(&'a self, _: &Scan) -> Result<Questions<'a>, StoreError> {
            Ok(Box::new(std::iter::empty()))
        }

        fn domains<'a>(&'a self, _: &Scan) -> Result<Domains<'a>, StoreError> {
            Err(StoreError::OnlyAsked)
        }

        fn domains_of_each<'a>(&'a self, wanted: BTreeSet<Name>) -> Result<Domains<'a>, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let seen = wanted.into_iter().map(|domain| {
                let asked = if domain.to_string().starts_with("d0") { 7 } else { 2_000 };
                let times = FirstSeen { asked: Some(asked), ..FirstSeen::default() };
                Ok(DomainSeen { domain, sensor: "lan".into(), times })
            });
            Ok(Box::new(seen))
        }

        fn changed_since<'a>(&'a self, _: Mark) -> Result<Changed<'a>, StoreError> {
            Err(StoreError::OnlyAsked)
        }

        fn hits_within(&self, spans: &[HitSpan]) -> Result<Vec<(u64, Hit)>, StoreError> {
            let event = |number: u64| Hit {
                sequence: number,
                noted: number,
                time: 2_000,
                rrname: Name::parse(&format!("d{}x{number}.example", number % 2)).unwrap(),
                indicator: b"w".to_vec(),
                address: None,
                sensor: "".into(),
                note: Vec::new(),
                acknowledged: None,
            };
            let of_one = |span: &HitSpan| {
                (span.after + 1..=span.to).map(|number| (OWN, event(number))).collect::<Vec<_>>()
            };
            Ok(spans.iter().flat_map(of_one).collect())
        }
    }

    #[test]
    fn a_page_of_events_asks_once_which_of_them_were_taken_back() {
        let events = Events::default();
        let last = BTreeMap::from([(OWN, 100)]);
        let mut wanted = HitsWanted { limit: 40, ..HitsWanted::default() };
        let mut all = Vec::new();
        for page in 1..=3 {
            let found = find_hits(&events, None, &last, &wanted).unwrap();
            assert_eq!(events.0.load(Ordering::Relaxed), page);
            all.extend(found.hits.into_iter().map(|hit| hit.retracted));
            wanted.from = found.next;
        }
        assert_eq!(all, (1..=100).map(|number| number % 2 == 0).collect::<Vec<_>>());
    }

    impl Snapshot for Several {
        fn entries<'a>(&'a self, _: &Scan, _: Option<&Position>) -> Result<Entries<'a>, StoreError> {
            Ok(Box::new(std::iter::empty()))
        }

        fn questions<'a>(&'a self, _: &Scan) -> Result<Questions<'a>, StoreError> {
            Ok(Box::new(std::iter::empty()))
        }

        fn domains<'a>(&'a self, _: &Scan) -> Result<Domains<'a>, StoreError> {
            Ok(Box::new(std::iter::empty()))
        }

        fn changed_since<'a>(&'a self, _: Mark) -> Result<Changed<'a>, StoreError> {
            Err(StoreError::OnlyAsked)
        }

        fn hits_within(&self, spans: &[HitSpan]) -> Result<Vec<(u64, Hit)>, StoreError> {
            let of_one = |span: &HitSpan| {
                let numbers = self.0[&span.ledger].range(span.after + 1..=span.to);
                let ledger = span.ledger;
                let hit = |(sequence, noted): (&u64, &u64)| Hit {
                    sequence: *sequence,
                    noted: *noted,
                    time: *noted,
                    rrname: Name::parse("a.example").unwrap(),
                    indicator: b"x".to_vec(),
                    address: None,
                    sensor: "lan".into(),
                    note: Vec::new(),
                    acknowledged: None,
                };
                numbers.map(|number| (ledger, hit(number))).collect::<Vec<_>>()
            };
            Ok(spans.iter().flat_map(of_one).collect())
        }
    }

    fn read(several: &Several, newest: bool, limit: usize) -> Vec<(String, u64)> {
        let last = several.0.iter().map(|(ledger, of_one)| (*ledger, *of_one.keys().last().unwrap()));
        let last: BTreeMap<u64, u64> = last.collect();
        let mut wanted = HitsWanted { newest, limit, ..HitsWanted::default() };
        let mut all = Vec::new();
        loop {
            let found = find_hits(several, None, &last, &wanted).unwrap();
            all.extend(found.hits.into_iter().map(|hit| (hit.ledger.unwrap_or_default(), hit.sequence)));
            let Some(next) = found.next else { break };
            assert_eq!(next.to_string().parse(), Ok(next.clone()));
            wanted.from = Some(next);
        }
        all
    }

    #[test]
    fn hits_of_several_ledgers_come_each_once_whatever_the_page_and_however_clocks_go() {
        // Of one ledger many numbers are gone, and the clock of another one went back.
        let first = (1..=40).chain([5000, 90_000, 90_001]).map(|number| (number, 10 * number));
        let second = (1..=60).map(|number| (number, if number == 30 { 7 } else { 7 * number }));
        let several = Several(BTreeMap::from([(0xaa, first.collect()), (0xbb, second.collect())]));
        for newest in [true, false] {
            let all = read(&several, newest, 1000);
            assert_eq!(all.len(), 103);
            let mut of_one: Vec<u64> =
                all.iter().filter(|(ledger, _)| ledger.ends_with("bb")).map(|(_, number)| *number).collect();
            if newest {
                of_one.reverse();
            }
            assert_eq!(of_one, (1..=60).collect::<Vec<_>>());
            for limit in [1, 2, 7, 50] {
                assert_eq!(read(&several, newest, limit), all, "{newest} {limit}");
            }
        }
        let alone = Several(BTreeMap::from([(OWN, [(1, 5), (3, 6)].into())]));
        assert_eq!(read(&alone, true, 1), [(String::new(), 3), (String::new(), 1)]);
    }

    #[test]
    fn who_waits_at_the_end_gets_what_comes_later_also_where_it_was_noted_before() {
        let mut several = Several(BTreeMap::from([(0xaa, [(1, 100)].into()), (0xbb, [(1, 200)].into())]));
        let last = |several: &Several| -> BTreeMap<u64, u64> {
            several.0.iter().map(|(ledger, of_one)| (*ledger, *of_one.keys().last().unwrap())).collect()
        };
        let wanted = HitsWanted { limit: 10, ..HitsWanted::default() };
        let found = find_hits(&several, None, &last(&several), &wanted).unwrap();
        assert_eq!((found.hits.len(), found.at.is_before(&last(&several))), (2, false));
        several.0.get_mut(&0xaa).unwrap().insert(2, 150);
        several.0.insert(0xcc, [(1, 1)].into());
        assert!(found.at.is_before(&last(&several)));
        let wanted = HitsWanted { from: Some(found.at), ..wanted };
        let later = find_hits(&several, None, &last(&several), &wanted).unwrap();
        let ledgers: Vec<_> = later.hits.iter().map(|hit| hit.ledger.clone().unwrap()).collect();
        assert_eq!(ledgers, ["00000000000000cc", "00000000000000aa"]);
    }

    #[test]
    fn a_place_is_a_number_in_one_ledger_and_one_of_each_among_several() {
        assert_eq!("17".parse::<HitPlace>().unwrap().to_string(), "17");
        for none in ["", "x", "-", "aa-", "-3", "aa-3.", "0-3", "aa-x"] {
            assert!(none.parse::<HitPlace>().is_err(), "{none}");
        }
        let among = BTreeMap::from([(0xaa, 3)]);
        let place: HitPlace = "aa-2".parse().unwrap();
        assert!(place.is_among(&among) && !place.is_among(&BTreeMap::from([(OWN, 3)])));
        assert!(HitPlace::default().is_among(&among) && !"7".parse::<HitPlace>().unwrap().is_among(&among));
    }
}
