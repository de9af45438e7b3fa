//! Hits on their way out, in the order of their numbers, each once; never a flood.
//!
//! A hundred a second go out, and a thousand an hour; what comes beyond that within the hour stays in the ledger and is told by a sum
//! in its place: from which number, to which, how many.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::HitLine;
use crate::store::{ReadStore, StoreError};

/// Hits that go out within an hour.
pub const AN_HOUR: u64 = 1000;
/// Hits that go out together.
const TOGETHER: usize = 10;
/// The time that has to pass between.
pub const PAUSE: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);

/// Hits that did not go out one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summed {
    /// The number of the first.
    pub from: u64,
    /// The number of the last.
    pub to: u64,
    /// How many they are.
    pub hits: u64,
}

/// What goes out.
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

/// One way out.
#[derive(Debug)]
pub struct Outlet {
    /// The number of the last hit that went out.
    after: u64,
    since: Instant,
    sent: u64,
}

impl Outlet {
    /// One that goes on behind a number.
    pub fn new(after: u64) -> Outlet {
        Outlet { after, since: Instant::now(), sent: 0 }
    }

    /// The number of the last hit that went out.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// What goes out next: a few at a time, not more often than every [`PAUSE`].
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn next(&mut self, ledger: &dyn ReadStore, last: u64) -> Result<Vec<Sent>, StoreError> {
        if last <= self.after {
            return Ok(Vec::new());
        }
        if self.since.elapsed() >= HOUR {
            (self.since, self.sent) = (Instant::now(), 0);
        }
        let snapshot = ledger.now();
        let mut out = Vec::new();
        let mut beyond: Option<Summed> = None;
        for hit in snapshot.hits(self.after)? {
            let hit = hit?;
            if hit.sequence > last {
                break;
            }
            if self.sent < AN_HOUR {
                if out.len() >= TOGETHER {
                    break;
                }
                self.sent += 1;
                self.after = hit.sequence;
                out.push(Sent::Hit(Box::new(HitLine::from(&hit))));
                continue;
            }
            let sum = beyond.get_or_insert(Summed { from: hit.sequence, to: hit.sequence, hits: 0 });
            (sum.to, sum.hits) = (hit.sequence, sum.hits + 1);
            self.after = hit.sequence;
        }
        out.extend(beyond.map(Sent::Summed));
        Ok(out)
    }
}
