//! A hit as it is written: a line of JSON, or one of Zeek's intel.log.

use serde::{Deserialize, Serialize};

use super::key;
use super::note::{HitNote, Note};
use crate::base::time::format_rfc3339;
use crate::indicators::Value;
use crate::store::{Hit, Mark, Snapshot, StoreError};

/// A hit as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitLine {
    /// Its number, one more than that of the hit before.
    pub sequence: u64,
    /// When it was noted.
    pub noted: u64,
    /// The same as RFC 3339.
    pub noted_utc: String,
    /// When the record was by which it was met, or the first of them.
    pub time: u64,
    /// The same as RFC 3339.
    pub time_utc: String,
    /// `name`, `domain`, `address` or `network`.
    pub kind: String,
    /// What was looked for.
    pub indicator: String,
    /// The name that was asked for, or that a row is of.
    pub rrname: String,
    /// The address that was answered, where the indicator is about such.
    pub address: Option<String>,
    /// The sensor that saw it.
    pub sensor: String,
    /// The feeds that had it then.
    pub feeds: Vec<String>,
    /// The line in the first of them.
    pub line: u64,
    /// Its id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The title of what it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where there is more to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How sure its source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u8>,
}

impl From<&Hit> for HitLine {
    fn from(hit: &Hit) -> HitLine {
        let value = key::read(&hit.indicator).map(|(value, _)| value);
        let HitNote { feeds, note } = HitNote::from_bytes(&hit.note);
        let Note { line, id, title, description, tags, link, confidence, .. } = note;
        HitLine {
            sequence: hit.sequence,
            noted: hit.noted,
            noted_utc: format_rfc3339(hit.noted),
            time: hit.time,
            time_utc: format_rfc3339(hit.time),
            kind: value.as_ref().map_or("unknown", |value| value.kind().name()).to_owned(),
            indicator: value.as_ref().map(Value::to_string).unwrap_or_default(),
            rrname: hit.rrname.to_string(),
            address: hit.address.map(|address| address.to_string()),
            sensor: hit.sensor.to_string(),
            feeds,
            line,
            id,
            title,
            description,
            tags,
            link,
            confidence,
        }
    }
}

/// What a ledger is called where hits of several come together: 16 hex digits.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn ledger_name(ledger: &dyn Snapshot) -> Result<String, StoreError> {
    Ok(format!("{:016x}", ledger.changed_since(Mark(u64::MAX))?.identity.generation))
}

/// Which hits are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HitFilter {
    /// Noted at this second or after.
    pub since: Option<u64>,
    /// Of this feed.
    pub feed: Option<String>,
    /// Seen by this sensor.
    pub sensor: Option<String>,
}

impl HitFilter {
    /// Whether a hit is among them.
    pub fn wants(&self, hit: &HitLine) -> bool {
        !self.is_over(hit.noted)
            && self.feed.as_ref().is_none_or(|feed| hit.feeds.contains(feed))
            && self.sensor.as_ref().is_none_or(|sensor| *sensor == hit.sensor)
    }

    /// Whether what was noted then, and all before it, is not.
    pub fn is_over(&self, noted: u64) -> bool {
        self.since.is_some_and(|since| noted < since)
    }
}
