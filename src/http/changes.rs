//! `/control/changes`: what has changed in the ledger since a mark, for `dnsledger forward`; and what that and `dnsledger deliver` tell
//! of how it goes.
//!
//! `POST /control/changes?since=MARK` answers with a [`ChangesFrame`] at a time: what ledger it is and how far, then rows. With
//! `hits=MARK` hits that have changed since that mark come behind them; with `head=true` all of it is left out. It holds a snapshot and a place for a scan, and nothing else: however slowly it is read, commits go on.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use warp::reply::Response;

use super::State;
use super::control::{posted, without_end};
use super::error::ApiError;
use super::machine::{exactly, json};
use super::request::Request;
use crate::base::clock::now;
use crate::store::{Changed, Identity, Mark, ReadStore, StoreError};

/// Bytes of rows in one frame, about.
const FRAME_BYTES: usize = 128 << 10;
/// The longest frame that is read.
const MAX_FRAME: u32 = 16 << 20;

/// Which ledger it is, and how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesHead {
    /// The identity of the ledger.
    pub identity: Identity,
    /// The last commit that is in it.
    pub mark: Mark,
    /// What was last seen before this was dropped, epoch seconds.
    pub expired_before: u64,
    /// As of when all that was visible in the logs is in it, epoch seconds; 0 where not all was read yet.
    pub at: u64,
}

impl ChangesHead {
    /// That of what has changed, now.
    pub fn of(changed: &Changed<'_>) -> ChangesHead {
        let Changed { mark, identity, expired_before, .. } = *changed;
        ChangesHead { identity, mark, expired_before, at: now() }
    }
}

/// A part of the answer: a byte, the length of what follows (4, big-endian), and that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangesFrame {
    /// Which ledger, and how far: the first one.
    Head(ChangesHead),
    /// Rows, questions and hits: see [`crate::store::Change`].
    Changes(Vec<u8>),
    /// All changes were sent.
    End,
    /// The stream ends early, for this reason.
    Failed(String),
}

impl ChangesFrame {
    fn to_bytes(&self) -> Bytes {
        let (kind, payload) = match self {
            ChangesFrame::Head(head) => (b'h', serde_json::to_vec(head).unwrap_or_default()),
            ChangesFrame::Changes(changes) => (b'c', changes.clone()),
            ChangesFrame::End => (b'e', Vec::new()),
            ChangesFrame::Failed(why) => (b'f', why.clone().into_bytes()),
        };
        // What is written is far shorter.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        [[kind].as_slice(), &length, &payload].concat().into()
    }

    /// Reads the next one.
    ///
    /// # Errors
    ///
    /// When the answer ends, or is none.
    pub fn read(answer: &mut impl Read) -> io::Result<ChangesFrame> {
        let mut head = [0; 5];
        answer.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        if length > MAX_FRAME {
            return Err(bad());
        }
        let mut payload = Vec::new();
        if answer.take(length.into()).read_to_end(&mut payload)? != length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match (kind, payload) {
            (b'h', payload) => serde_json::from_slice(&payload).map(ChangesFrame::Head).map_err(|_| bad()),
            (b'c', payload) => Ok(ChangesFrame::Changes(payload)),
            (b'e', payload) if payload.is_empty() => Ok(ChangesFrame::End),
            (b'f', payload) => String::from_utf8(payload).map(ChangesFrame::Failed).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

/// Answers `/control/changes`. It ends when the client goes.
///
/// # Errors
///
/// When a parameter is no number, or as many scans as may run already.
pub fn changes(state: &State, request: &Request) -> Result<Response, ApiError> {
    exactly(request, &[])?;
    if request.method != hyper::Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let since = request.param("since").unwrap_or("0").parse();
    let since = since.map_err(|_| {
        ApiError::bad_request("bad_request", "the parameter since is not a number", "?since=0")
    })?;
    let only_head = request.param("head").is_some_and(|value| value == "true");
    let hits = request.param("hits").map(|mark| mark.parse().map(Mark)).transpose().map_err(|_| {
        ApiError::bad_request("bad_request", "the parameter hits is not a number", "?since=0&hits=0")
    })?;
    let (ledger, ingest) = (Arc::clone(&state.0.ledger), Arc::clone(&state.0.ingest));
    // What was shipped of it is not acknowledged before its end: where it was cut each time, there would be none.
    without_end(state, move |frames| {
        // All that was read until then is committed now, so it is among the changes.
        let at = match ingest.sensors().next() {
            Some(_) => ingest.as_of_ms().map_or(0, |millis| millis / 1000),
            None => now(),
        };
        // Where that fails there is what was committed before.
        let at = if ingest.commit().is_ok() { at } else { 0 };
        if let Err(error) = tell(&*ledger, Mark(since), hits, only_head, at, &frames) {
            // A client that is gone does not want to know.
            let _ = frames.blocking_send(ChangesFrame::Failed(error.to_string()).to_bytes());
        }
    })
}

fn tell(
    ledger: &dyn ReadStore,
    since: Mark,
    hits_since: Option<Mark>,
    only_head: bool,
    at: u64,
    frames: &Sender<Bytes>,
) -> Result<(), StoreError> {
    let send = |frame: ChangesFrame| frames.blocking_send(frame.to_bytes()).is_ok();
    let now = ledger.now();
    let changed = now.changed_since(since)?;
    if !send(ChangesFrame::Head(ChangesHead { at, ..ChangesHead::of(&changed) })) {
        return Ok(());
    }
    if !only_head {
        let mut bytes = Vec::with_capacity(FRAME_BYTES + 4096);
        for change in changed.all_with(&*now, since, hits_since)? {
            change?.push(&mut bytes)?;
            if bytes.len() >= FRAME_BYTES && !send(ChangesFrame::Changes(std::mem::take(&mut bytes))) {
                return Ok(());
            }
        }
        if !bytes.is_empty() && !send(ChangesFrame::Changes(bytes)) {
            return Ok(());
        }
    }
    send(ChangesFrame::End);
    Ok(())
}

/// How forwarding goes, as `dnsledger forward` tells the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Forwarding {
    /// The cluster that is shipped into.
    pub to: String,
    /// When it was told, epoch seconds.
    pub at: u64,
    /// The last commit of which all is in the cluster.
    pub acknowledged: u64,
    /// When that was so in the ledger, epoch seconds.
    pub acknowledged_at: u64,
    /// Rows and questions that the cluster lacks, about: those that have changed since what it has, once a shipment has failed; of one that is
    /// under way, those that were read so far.
    pub lag_rows: u64,
    /// Rows and questions that were shipped, all together since it was started.
    pub shipped: u64,
    /// Shipments that failed.
    pub failures: u64,
    /// Why the last one failed; empty where it did not.
    pub error: String,
    /// When all was last compared, epoch seconds; 0 before.
    pub compared_at: u64,
    /// Buckets that were found to differ then.
    pub differing: u64,
    /// Rows and questions that were shipped again for that, since it was started.
    pub mended: u64,
    /// Sensors of this ledger that do not count in the cluster, since another ledger ships for them too.
    pub undecided: Vec<String>,
}

/// Answers `/control/forwarding`: takes what is told, for status and metrics.
///
/// # Errors
///
/// When it is none.
pub fn forwarding(state: &State, request: &Request) -> Result<Response, ApiError> {
    exactly(request, &[])?;
    if request.method != hyper::Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let bad = |_| ApiError::bad_request("bad_request", "the parameter report makes no sense", "?report={}");
    let told: Forwarding = serde_json::from_str(request.param("report").unwrap_or("{}")).map_err(bad)?;
    *state.0.forwarding.lock() = Some(told);
    Ok(json(StatusCode::OK, &serde_json::Map::new()))
}

/// How delivery to one outlet goes, as `dnsledger deliver` tells the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivering {
    /// What the outlet is called.
    pub outlet: String,
    /// What it is: `webhook`, `syslog` and so on.
    pub kind: String,
    /// When it was told, epoch seconds.
    pub at: u64,
    /// The number of the last hit that is settled: delivered, summed, refused or not wanted.
    pub after: u64,
    /// Hits that were not delivered yet.
    pub waiting: u64,
    /// Hits that were delivered, since the process was started.
    pub delivered: u64,
    /// Hits that were delivered as a sum.
    pub summed: u64,
    /// Hits that were refused for good, or given up, and are in the file of dead letters.
    pub refused: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Since when it fails, epoch seconds; 0 while it does not.
    pub failing_since: u64,
    /// Why the last attempt failed; empty where it did not.
    pub error: String,
}

/// Answers `/control/delivering`: takes how delivery goes, for status and metrics.
///
/// # Errors
///
/// When it is told of none.
pub fn delivering(state: &State, request: &Request) -> Result<Response, ApiError> {
    posted(request)?;
    let bad = |_| ApiError::bad_request("bad_request", "the parameter report makes no sense", "?report=[]");
    let told: Vec<Delivering> = serde_json::from_str(request.param("report").unwrap_or("[]")).map_err(bad)?;
    *state.0.delivering.lock() = told;
    Ok(json(StatusCode::OK, &serde_json::Map::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_travel_whole_or_are_an_error() {
        let frames = [
            ChangesFrame::Head(ChangesHead { at: 7, ..ChangesHead::default() }),
            ChangesFrame::Changes(vec![0; 300]),
            ChangesFrame::End,
            ChangesFrame::Failed("no".to_owned()),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.to_bytes().to_vec()).collect();
        for end in 0..=bytes.len() {
            let (mut sent, mut read) = (&bytes[..end], Vec::new());
            let error = loop {
                match ChangesFrame::read(&mut sent) {
                    Ok(frame) => read.push(frame),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(read, frames[..read.len()]);
        }
        for none in [&b"x\0\0\0\0"[..], b"h\0\0\0\x01{", b"c\xff\xff\xff\xff"] {
            assert!(ChangesFrame::read(&mut &*none).is_err());
        }
    }
}
