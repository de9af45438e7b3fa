//! `/control/…`: what only the owner of the data folder may do, over the socket in it.
//!
//! | request | does |
//! |---|---|
//! | `POST /control/import?name=PATH&sensor=NAME&replace=true` | reads the body as one log, or as COF, and answers when it is applied |
//! | `GET /control/export` | as `/api/v1/export` |
//! | `POST /control/expire?older_than=SECONDS&max_disk=BYTES` | brings the ledger within these bounds: an [`ExpireLine`] |
//! | `POST /control/expire/forecast?…` | says what that would drop: an [`ExpireLine`] |
//! | `POST /control/snapshot` | a whole copy of the ledger at one moment: a [`SnapshotFrame`] at a time |
//! | `POST /control/verify` | verifies the ledger while it serves: a [`VerifyLine`] at a time |
//! | `GET /control/evidence?q=QUERY&…` | the lines of logs behind an answer: see `evidence.rs` |
//! | `POST /control/watch` | takes feeds up that have changed, and looks through history with them |
//! | `POST /control/changes?since=MARK` | what has changed since a commit: see `changes.rs` |
//! | `POST /control/forwarding?report=JSON` | takes how forwarding goes |
//! | `POST /control/delivering?report=JSON` | takes how delivery of hits goes |
//! | `POST /control/flush` | applies and flushes everything that was read before |

use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;
use warp::reply::{Reply, Response};

use super::State;
use super::body::{Patience, sent};
use super::error::ApiError;
use super::machine::{exactly, json};
use super::request::Request;
use crate::base::clock::now;
use crate::ingest::{ImportOptions, ImportSummary};
use crate::observation::check_sensor_name;
use crate::status::shown_path;
use crate::store::Verification;
use crate::store::retention::{Bounds, Forecast, RETENTION, Reduction, commit_and_keep, forecast};
use crate::tally::{Malformed, Skip, Tally};

/// Lines of an answer that wait to be sent.
const LINES_AHEAD: usize = 16;
/// How often a verification says how far it is.
const SAID_EVERY: Duration = Duration::from_millis(250);

//--- ImportReport ---------------------------------------------------------------------------------------------------

/// What came of an import, as it travels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    files: u64,
    bytes: u64,
    already: u64,
    counted: u64,
    skipped: Vec<(String, u64)>,
    malformed: Vec<(String, u64)>,
    #[serde(default)]
    answers_cut: u64,
    incomplete: Vec<(String, String)>,
    failed: Vec<(String, String)>,
    #[serde(default)]
    refused: Vec<String>,
    #[serde(default)]
    no_log: Vec<(String, String)>,
    passed_over: Vec<(String, String)>,
}

impl From<ImportSummary> for ImportReport {
    fn from(summary: ImportSummary) -> ImportReport {
        let tally = &summary.tally;
        let skipped = Skip::ALL.iter().map(|&reason| (reason.name().to_owned(), tally.skipped(reason)));
        let malformed =
            Malformed::ALL.iter().map(|&reason| (reason.name().to_owned(), tally.malformed(reason)));
        ImportReport {
            files: summary.files,
            bytes: summary.bytes,
            already: summary.already,
            counted: tally.counted,
            skipped: skipped.collect(),
            malformed: malformed.collect(),
            answers_cut: tally.answers_cut,
            incomplete: named(summary.incomplete),
            failed: named(summary.failed),
            refused: summary.refused.iter().map(|path| shown_path(path)).collect(),
            no_log: named(summary.no_log),
            passed_over: named(summary.passed_over),
        }
    }
}

/// Files as they can be told: a path need not be UTF-8.
fn named(files: Vec<(PathBuf, String)>) -> Vec<(String, String)> {
    files.into_iter().map(|(path, why)| (shown_path(&path), why)).collect()
}

impl From<ImportReport> for ImportSummary {
    fn from(report: ImportReport) -> ImportSummary {
        let paths = |files: Vec<(String, String)>| {
            files.into_iter().map(|(path, why)| (PathBuf::from(path), why)).collect()
        };
        let count = |counts: &[(String, u64)], reason: &str| {
            counts.iter().find(|(name, _)| name == reason).map_or(0, |(_, lines)| *lines)
        };
        let skipped: Vec<u64> = Skip::ALL.iter().map(|r| count(&report.skipped, r.name())).collect();
        let malformed: Vec<u64> = Malformed::ALL.iter().map(|r| count(&report.malformed, r.name())).collect();
        let mut tally = Tally::from_counts(report.counted, &skipped, &malformed);
        tally.answers_cut = report.answers_cut;
        ImportSummary {
            files: report.files,
            bytes: report.bytes,
            tally,
            already: report.already,
            incomplete: paths(report.incomplete),
            failed: paths(report.failed),
            refused: report.refused.into_iter().map(PathBuf::from).collect(),
            no_log: paths(report.no_log),
            passed_over: paths(report.passed_over),
        }
    }
}

//--- requests -------------------------------------------------------------------------------------------------------

/// Answers `/control/import`.
///
/// # Errors
///
/// When the ledger refuses, or the daemon is being stopped. A body that breaks off is no error of the log: what came
/// is counted, and the rest when it is sent again. It has ended when its end was read from the client, and in no other
/// way: this request may be dropped at any moment, when the client goes or the daemon is stopped.
pub async fn import<B: Buf>(
    state: State,
    request: Request,
    body: impl Stream<Item = Result<B, warp::Error>> + Unpin,
) -> Result<Response, ApiError> {
    posted(&request)?;
    let Some(name) = request.param("name") else {
        return Err(ApiError::bad_request("bad_request", "the parameter name is missing", "?name=dns.log"));
    };
    let name = PathBuf::from(name);
    let sensor = request.param("sensor").map(str::to_owned);
    if let Some(Err(why)) = sensor.as_deref().map(check_sensor_name) {
        return Err(ApiError::bad_request("bad_request", format!("sensor: {why}"), "?sensor=dmz"));
    }
    let replace = request.param("replace").is_some_and(|value| value == "true");
    // Each holds a thread until its body has ended.
    let place = state.0.imports.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let (parts, stream) = sent();
    let ingest = Arc::clone(&state.0.ingest);
    let reading = spawn_blocking(move || {
        let _place = place;
        ingest.import_stream(
            Path::new(&name),
            ImportOptions { sensor: sensor.as_deref(), replace },
            Box::new(stream),
        )
    });
    // What comes from this machine may come from a pipe, and pause with it.
    let patience = state.0.config.request_timeout;
    let patience = match state.1.network {
        Some(_) => Patience::with(patience),
        None => Patience::for_owner(patience * 10),
    };
    let stalled = parts.take(body, patience).await;
    match reading.await {
        _ if stalled => Err(ApiError::stalled()),
        Ok(summary) => Ok(json(StatusCode::OK, &ImportReport::from(summary?))),
        Err(error) => {
            tracing::error!(%error, "An import ended abnormally.");
            Err(ApiError::unavailable("the import failed"))
        }
    }
}

/// What was said of archives that could not be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotReadReport {
    /// How many were taken down, or forgotten.
    pub archives: u64,
}

/// Answers `/control/not-read`: takes down `why` an archive could not be read by who imports; without a reason, nobody misses it.
///
/// # Errors
///
/// When it cannot be written.
pub fn not_read(state: &State, request: &Request) -> Result<Response, ApiError> {
    posted(request)?;
    let Some(name) = request.param("name") else {
        return Err(ApiError::bad_request(
            "bad_request",
            "the parameter name is missing",
            "?name=dns.log.gz",
        ));
    };
    let (path, not_read) = (PathBuf::from(name), state.0.ingest.not_read());
    let done = match request.param("why") {
        Some(why) => not_read.take(&[], &[&(path, why.to_owned())]).map(|()| 1),
        None => not_read.dismiss(&path),
    };
    let archives = done.map_err(|error| {
        ApiError::unavailable(format!("which archives were not read cannot be written: {error}"))
    })?;
    Ok(json(StatusCode::OK, &NotReadReport { archives }))
}

/// Answers `/control/flush`.
///
/// # Errors
///
/// When the store refuses.
pub async fn flush(state: State, request: Request) -> Result<Response, ApiError> {
    posted(&request)?;
    let (ledger, ingest) = (Arc::clone(&state.0.ledger), Arc::clone(&state.0.ingest));
    let flushed = spawn_blocking(move || ingest.commit().and_then(|()| ledger.flush())).await;
    match flushed {
        Ok(Ok(())) => Ok(json(StatusCode::OK, &serde_json::Map::new())),
        Ok(Err(error)) => Err(ApiError::unavailable(error.to_string())),
        Err(_) => Err(ApiError::unavailable("the flush failed")),
    }
}

/// A line of the answer to `/control/verify`. The last one is no progress, or the answer was cut short.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLine {
    /// Rows that are read, and all of them.
    Progress {
        /// How much is done.
        done: u64,
        /// How much there is to do in all.
        total: u64,
    },
    /// What was found.
    Found(Box<Verification>),
    /// It ended early, for this reason.
    Failed(String),
}

pub(super) fn line_of(line: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(line).unwrap_or_else(|error| {
        tracing::error!(%error, "An answer cannot be written as JSON.");
        br#"{"failed":"the answer cannot be written as JSON"}"#.to_vec()
    });
    line.push(b'\n');
    line.into()
}

/// The answer to `/control/expire`: one line, when it is done. An answer without it was cut short.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpireLine {
    /// Rows were dropped: how much went.
    Kept(Reduction),
    /// Nothing was dropped: how much would go.
    Forecast(Forecast),
    /// Why nothing more was dropped, and what can be done.
    Failed(String, Option<String>),
}

/// Answers `/control/expire`, which goes on when the client goes, and `/control/expire/forecast`.
///
/// # Errors
///
/// When a parameter is no number, or as many scans as may run already.
pub fn expire(state: &State, request: &Request, is_forecast: bool) -> Result<Response, ApiError> {
    posted(request)?;
    let number = |name: &str| match request.param(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            ApiError::bad_request(
                "bad_request",
                format!("the parameter {name} is not a number"),
                "?older_than=86400",
            )
        }),
    };
    let bounds = Bounds {
        retention: number("older_than")?.map(Duration::from_secs),
        max_disk: number("max_disk")?,
        before: number("before")?,
    };
    let (ledger, ingest) = (Arc::clone(&state.0.ledger), Arc::clone(&state.0.ingest));
    // What it does goes on, and no words of it can be said before.
    at_length(state, Bytes::new(), move |lines| {
        let done = match is_forecast {
            // What cannot be written just now is told of all the same.
            true => forecast(&*ledger, &bounds, now()).map(ExpireLine::Forecast),
            false => commit_and_keep(&*ledger, || ingest.commit(), &bounds, now()).map(ExpireLine::Kept),
        };
        let line = match done {
            Ok(line) => {
                if matches!(line, ExpireLine::Kept(_)) {
                    // A person has looked; the next look of the daemon says whether more is left.
                    ingest.notices().set(RETENTION, None);
                }
                line
            }
            Err(error) => ExpireLine::Failed(error.to_string(), error.hint().map(str::to_owned)),
        };
        // A client that is gone does not want to know.
        let _ = lines.blocking_send(line_of(&line));
    })
}

/// A part of the answer to `/control/snapshot`: a byte, the length of what follows (4, big-endian), and that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotFrame {
    /// About how many bytes all pieces will have.
    Total(u64),
    /// A piece, for a [`crate::store::Replica`]. The last one says so itself.
    Piece(Vec<u8>),
    /// The stream ends early, for this reason.
    Failed(String),
}

impl SnapshotFrame {
    /// The longest frame that is read.
    const MAX_BYTES: u32 = 64 << 20;

    fn to_bytes(&self) -> Bytes {
        let (kind, payload) = match self {
            SnapshotFrame::Total(bytes) => (b't', bytes.to_be_bytes().to_vec()),
            SnapshotFrame::Piece(piece) => (b'p', piece.clone()),
            SnapshotFrame::Failed(why) => (b'f', why.clone().into_bytes()),
        };
        // A piece is far shorter.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        [[kind].as_slice(), &length, &payload].concat().into()
    }

    /// Reads the next one.
    ///
    /// # Errors
    ///
    /// When the answer ends, or is none.
    pub fn read(answer: &mut impl Read) -> io::Result<SnapshotFrame> {
        let mut head = [0; 5];
        answer.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        let mut payload = Vec::new();
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        if length > SnapshotFrame::MAX_BYTES {
            return Err(bad());
        }
        if answer.take(length.into()).read_to_end(&mut payload)? != length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match kind {
            b't' => Ok(SnapshotFrame::Total(u64::from_be_bytes(payload.try_into().map_err(|_| bad())?))),
            b'p' => Ok(SnapshotFrame::Piece(payload)),
            b'f' => String::from_utf8(payload).map(SnapshotFrame::Failed).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

/// Answers `/control/snapshot`. It ends when the client goes.
///
/// # Errors
///
/// When as many scans as may run already.
pub fn snapshot(state: &State, request: &Request) -> Result<Response, ApiError> {
    posted(request)?;
    let (ledger, ingest) = (Arc::clone(&state.0.ledger), Arc::clone(&state.0.ingest));
    at_length(state, SnapshotFrame::Failed(LATE.to_owned()).to_bytes(), move |frames| {
        let send = |frame: SnapshotFrame| frames.blocking_send(frame.to_bytes()).is_ok();
        let copy = || {
            // What is read already is to be in it.
            ingest.commit()?;
            send(SnapshotFrame::Total(ledger.stats()?.live_bytes));
            ledger.copy(&mut |piece| send(SnapshotFrame::Piece(piece)))
        };
        if let Err(error) = copy() {
            send(SnapshotFrame::Failed(error.to_string()));
        }
    })
}

/// Answers `/control/verify`. It ends when the client goes.
///
/// # Errors
///
/// When as many scans as may run already.
pub fn verify(state: &State, request: &Request) -> Result<Response, ApiError> {
    posted(request)?;
    let (ledger, ingest, watching) =
        (Arc::clone(&state.0.ledger), Arc::clone(&state.0.ingest), state.watching());
    at_length(state, line_of(&VerifyLine::Failed(LATE.to_owned())), move |lines| {
        let mut said = Instant::now();
        let mut say = |done, total| {
            if said.elapsed() < SAID_EVERY {
                return true;
            }
            said = Instant::now();
            lines.blocking_send(line_of(&VerifyLine::Progress { done, total })).is_ok()
        };
        let hits = |mut found: Verification| {
            if let Some(watching) = watching {
                found.missing_hits(watching.missing(&|| ingest.commit())?);
            }
            Ok(found)
        };
        let last = match ledger.verify(&mut say).and_then(hits) {
            Ok(found) => VerifyLine::Found(Box::new(found)),
            Err(error) => VerifyLine::Failed(error.to_string()),
        };
        // A client that is gone does not want to know.
        let _ = lines.blocking_send(line_of(&last));
    })
}

/// What is said where an answer takes too long.
const LATE: &str = "it took longer than http.stream_timeout";

/// Answers with what long work says, as it says it, and with `late` when that takes too long. It takes the place of a scan.
pub(super) fn at_length(
    state: &State,
    late: Bytes,
    work: impl FnOnce(Sender<Bytes>) + Send + 'static,
) -> Result<Response, ApiError> {
    within(state, Some((state.0.config.stream_timeout, late)), work)
}

/// The same of what may take any time: who takes nothing of it loses the connection after `http.stream_timeout`.
pub(super) fn without_end(
    state: &State,
    work: impl FnOnce(Sender<Bytes>) + Send + 'static,
) -> Result<Response, ApiError> {
    within(state, None, work)
}

fn within(
    state: &State,
    end: Option<(Duration, Bytes)>,
    work: impl FnOnce(Sender<Bytes>) + Send + 'static,
) -> Result<Response, ApiError> {
    let place = state.0.scans.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let (lines, mut receiver) = channel::<Bytes>(LINES_AHEAD);
    drop(spawn_blocking(move || {
        // The answer ends when its last sender is gone: who then asks again finds the place free.
        let end = lines.clone();
        work(lines);
        drop(place);
        drop(end);
    }));
    let mut end = end.map(|(time, late)| (Box::pin(tokio::time::sleep(time)), late));
    let mut is_over = false;
    let frames = futures_util::stream::poll_fn(move |context| {
        if is_over {
            return Poll::Ready(None);
        }
        if let Some((time, late)) = &mut end
            && time.as_mut().poll(context).is_ready()
        {
            is_over = true;
            // Who works for it finds nobody who listens, and ends.
            receiver.close();
            tracing::info!("An answer took longer than http.stream_timeout and was ended.");
            return Poll::Ready((!late.is_empty()).then(|| Ok(late.clone())));
        }
        receiver.poll_recv(context).map(|line| line.map(Ok::<_, io::Error>))
    });
    Ok(warp::reply::stream(frames).into_response())
}

pub(super) fn posted(request: &Request) -> Result<(), ApiError> {
    exactly(request, &[])?;
    if request.method == Method::POST { Ok(()) } else { Err(ApiError::method_not_allowed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Fate;

    #[test]
    fn a_report_of_an_import_travels_whole() {
        let mut summary = ImportSummary { files: 3, bytes: 70, already: 1, ..ImportSummary::default() };
        summary.tally.add(Fate::Counted);
        summary.tally.add(Fate::Skipped(Skip::NoAnswer));
        summary.tally.add(Fate::Malformed(Malformed::Json));
        summary.tally.cut_answers(3);
        summary.failed.push(("x.log".into(), "not there".to_owned()));
        let sent = serde_json::to_vec(&ImportReport::from(summary.clone())).unwrap();
        assert_eq!(ImportSummary::from(serde_json::from_slice::<ImportReport>(&sent).unwrap()), summary);
    }

    #[test]
    fn a_report_tells_of_files_whatever_they_are_called() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"dns.\xff\xfe.log")).to_owned();
        let summary =
            ImportSummary { failed: vec![(path, "it is not a log".to_owned())], ..ImportSummary::default() };
        let sent = serde_json::to_value(ImportReport::from(summary)).unwrap();
        assert_eq!(sent["failed"][0][0], "dns.\\xff\\xfe.log");
    }

    #[test]
    fn frames_travel_whole_or_are_an_error() {
        let frames = [
            SnapshotFrame::Total(7),
            SnapshotFrame::Piece(vec![0; 300]),
            SnapshotFrame::Failed("no".to_owned()),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.to_bytes().to_vec()).collect();
        for end in 0..=bytes.len() {
            let mut sent = &bytes[..end];
            let mut read = Vec::new();
            let error = loop {
                match SnapshotFrame::read(&mut sent) {
                    Ok(frame) => read.push(frame),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(read, frames[..read.len()]);
            assert_eq!(read.len() == 3, end == bytes.len());
        }
        for none in [&b"x\0\0\0\0"[..], b"t\0\0\0\x01\0", b"p\xff\xff\xff\xff"] {
            assert!(SnapshotFrame::read(&mut &*none).is_err());
        }
    }
}
