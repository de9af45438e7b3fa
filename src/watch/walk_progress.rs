//! How far the walk through history is, as it is noted beside the feeds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dns::Name;
use crate::store::Scan;

/// How far a walk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WalkProgress {
    /// The feeds that it is for, each with a number that another content would not have.
    pub feeds: BTreeMap<String, u64>,
    /// The place that the walk has come to.
    pub at: At,
}

/// What was looked at last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At {
    /// Nothing yet.
    #[default]
    Start,
    /// Rows up to this name, which may not be at their end.
    Rows(Vec<u8>),
    /// All rows, and questions up to this name.
    Questions(Vec<u8>),
    /// The walk looks up each indicator, and has done this many lookups.
    Lookups(u64),
}

impl At {
    /// The rows and questions behind it; `None` where they were all seen.
    pub fn scans(&self) -> (Option<Scan>, Scan) {
        let from = |key: &[u8]| Name::from_key(key).map_or(Scan::All, Scan::From);
        match self {
            At::Start | At::Lookups(_) => (Some(Scan::All), Scan::All),
            At::Rows(key) => (Some(from(key)), Scan::All),
            At::Questions(key) => (None, from(key)),
        }
    }
}
