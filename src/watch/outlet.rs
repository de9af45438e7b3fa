//! Hits on their way out, in the order of their numbers, each once; never a flood.
//!
//! A hundred a second go out, and a thousand an hour; what comes beyond that within the hour stays in the ledger and is told by a sum
//! in its place: from which number, to which, how many.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{HitLine, novel};
use crate::store::{ReadStore, StoreError};

/// Hits that go out within an hour.
pub const AN_HOUR: u64 = 1000;
/// Hits that go out together.
const TOGETHER: usize = 10;
/// The time that each of them takes.
const EACH: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);

/// Hits that did not go out one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summed {
    /// The number of the first.
    pub from: u64,
    /// The number of the last.
    pub to: u64,
    /// How many hits it stands for.
    pub hits: u64,
}

/// What is sent to an outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A hit.
    Hit(Box<HitLine>),
    /// A sum in the place of hits.
    Summed(Summed),
}

impl Sent {
    /// The number behind which to go on.
    pub fn sequence(&self) -> u64 {
        match self {
            Sent::Hit(hit) => hit.sequence,
            Sent::Summed(summed) => summed.to,
        }
    }
}

/// The hits that one outlet gets, in the order of their numbers and with a bound on their rate.
#[derive(Debug)]
pub struct Outlet {
    /// The number of the last hit that went out.
    after: u64,
    since: Instant,
    /// Hits within the hour, and events of what is new, of which as many go out: neither keeps the other back.
    sent: [u64; 2],
    /// When the time is over that those before have taken.
    free: Instant,
}

impl Outlet {
    /// One that goes on behind a number.
    pub fn new(after: u64) -> Outlet {
        let now = Instant::now();
        Outlet { after, since: now, sent: [0; 2], free: now }
    }

    /// The number of the last hit that went out.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// How long to wait before anything may go out: a hundred a second, and a few at once after a silence.
    pub fn pause(&self) -> Duration {
        let ahead = self.free.saturating_duration_since(Instant::now());
        ahead.saturating_sub(EACH * (TOGETHER as u32 - 1))
    }

    /// How many may go out now.
    fn room(&self, now: Instant) -> usize {
        let ahead = self.free.saturating_duration_since(now).as_millis().div_ceil(EACH.as_millis());
        TOGETHER.saturating_sub(usize::try_from(ahead).unwrap_or(usize::MAX))
    }

    /// What goes out next: a few at a time, and none before [`Outlet::pause`] is over.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn next(&mut self, ledger: &dyn ReadStore, last: u64) -> Result<Vec<Sent>, StoreError> {
        if last <= self.after {
            return Ok(Vec::new());
        }
        if self.since.elapsed() >= HOUR {
            (self.since, self.sent) = (Instant::now(), [0; 2]);
        }
        let now = Instant::now();
        let room = self.room(now);
        if room == 0 {
            return Ok(Vec::new());
        }
        let snapshot = ledger.now();
        let mut out = Vec::new();
        let mut beyond: Option<Summed> = None;
        for hit in snapshot.hits(self.after)? {
            let hit = hit?;
            if hit.sequence > last {
                break;
            }
            let [hits, events] = &mut self.sent;
            let sent = if novel::kind(&hit.indicator).is_some() { events } else { hits };
            if *sent < AN_HOUR {
                if out.len() >= room {
                    break;
                }
                *sent += 1;
                self.after = hit.sequence;
                out.push(Sent::Hit(Box::new(HitLine::from(&hit))));
                continue;
            }
            let sum = beyond.get_or_insert(Summed { from: hit.sequence, to: hit.sequence, hits: 0 });
            (sum.to, sum.hits) = (hit.sequence, sum.hits + 1);
            self.after = hit.sequence;
        }
        out.extend(beyond.map(Sent::Summed));
        self.free = self.free.max(now) + EACH * u32::try_from(out.len()).unwrap_or(u32::MAX);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use crate::store::sled::SledStore;
    use crate::store::{NewHit, Options, WriteStore};

    #[test]
    fn a_flood_goes_out_as_a_thousand_and_a_sum_and_none_is_told_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), &Options::default()).unwrap();
        let sensor = store.sensor("lan").unwrap();
        let hit = |number: u64| NewHit {
            rrname: Name::parse(&format!("h{number}.example")).unwrap(),
            indicator: b"x".to_vec(),
            address: None,
            sensor,
            time: 7,
            note: Vec::new(),
        };
        let all: Vec<NewHit> = (0..AN_HOUR + 500).map(hit).collect();
        assert_eq!(store.keep_hits(&all).unwrap(), AN_HOUR + 500);
        let mut outlet = Outlet::new(0);
        let mut sent = Vec::new();
        loop {
            let next = outlet.next(&store, store.last_hit().0).unwrap();
            if next.is_empty() && outlet.pause().is_zero() {
                break;
            }
            // As if time passed.
            outlet.free = Instant::now();
            assert!(next.len() <= TOGETHER + 1);
            sent.extend(next);
        }
        let (sum, hits) = sent.split_last().unwrap();
        let numbers: Vec<u64> = hits.iter().map(Sent::sequence).collect();
        assert_eq!(numbers, (1..=AN_HOUR).collect::<Vec<_>>());
        let beyond = Summed { from: AN_HOUR + 1, to: AN_HOUR + 500, hits: 500 };
        assert_eq!((sum, outlet.after()), (&Sent::Summed(beyond), AN_HOUR + 500));
        // Ten at once, and then one every ten milliseconds.
        let mut burst = Outlet::new(0);
        let last = store.last_hit().0;
        assert_eq!((burst.pause(), burst.next(&store, last).unwrap().len()), (Duration::ZERO, TOGETHER));
        assert!(burst.pause() <= EACH && burst.next(&store, last).unwrap().len() <= 1);
        burst.free = Instant::now() + EACH * 3;
        assert!(burst.next(&store, last).unwrap().len() >= TOGETHER - 3);
        // One that comes then is told with the next sum, and who begins there is told of it.
        store.keep_hits(&[hit(9999)]).unwrap();
        let last = store.last_hit().0;
        assert_eq!(
            outlet.next(&store, last).unwrap(),
            [Sent::Summed(Summed { from: last, to: last, hits: 1 })]
        );
        assert_eq!(Outlet::new(last - 1).next(&store, last).unwrap().len(), 1);
    }
}
