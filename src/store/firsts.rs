//! First sightings of names and record data, as who keeps the rows can tell them without handing these out.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Scan, StoreError};
use crate::dns::{Name, Rdata};
use crate::observation::FirstSeen;

/// What the sightings are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Names: their rows and questions.
    Rrname,
    /// Addresses and names that rows lead to.
    Rdata,
}

/// Which first sightings are wanted.
#[derive(Debug, Clone)]
pub struct FirstsOf {
    /// What the sightings are of.
    pub about: About,
    /// Where: names by a scan of names, record data by one of those.
    pub scan: Scan,
    /// Those that were then or later, epoch seconds.
    pub since: u64,
    /// Only as this sensor saw it.
    pub sensor: Option<String>,
    /// Record data that a name at or below one of these leads to; all where there is none.
    pub under: Vec<Name>,
    /// What was first seen before this, epoch seconds, is only counted. Who asks may raise it on the way.
    pub floor: Arc<AtomicU64>,
}

/// One step through first sightings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// That of one thing, over all sensors, and the sensor that saw it first; the first by name of those that did in one second.
    Of(Rdata, FirstSeen, Arc<str>),
    /// So many more are older than the floor. Where that is 0 it only says that it takes its time.
    Older(u64),
}

/// A stream of first sightings, in no order.
pub type Firsts<'a> = Box<dyn Iterator<Item = Result<First, StoreError>> + Send + 'a>;
