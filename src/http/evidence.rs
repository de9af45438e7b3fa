//! `/api/v1/evidence` and `/control/evidence`: the lines of logs behind an answer, and so who asked.
//!
//! Takes the query language (`q`), the filters `type`, `sensor`, `direct`, `during` and `limit`, `rdata` (only rows with this
//! data), `order` (`newest`, `oldest`), `raw=true` (each line as Zeek wrote it) and `progress=true`. The answer is NDJSON, an
//! [`EvidenceLine`] each: lines, how far it is, and last how it ended. One without that was cut short.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use warp::reply::Response;

use super::State;
use super::answer::as_of;
use super::control::{at_length, line_of};
use super::error::ApiError;
use super::request::Request;
use crate::base::{priority, threads};
use crate::evidence::{Answer, Ask, Evidence, LogLine, Visit};
use crate::lookup::{Indicator, Search, no_such_sensor, parse_bool, sensors};
use crate::output::sanitise;
use crate::store::StoreError;

/// Bytes of lines that are sent together.
const CHUNK_BYTES: usize = 16 << 10;
/// How long lines wait for others to be sent with them, and how often it is said how far it is.
const SAID_EVERY: Duration = Duration::from_millis(100);

/// What is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceLine {
    /// So many of so many logs are read.
    Progress(u64, u64),
    /// The search has ended.
    End(Box<Answer>),
    /// The search ended early, for this reason.
    Failed(String),
    /// A line of a log. It is an object of its own, without a name.
    #[serde(untagged)]
    Line(Box<LogLine>),
}

/// What is asked for, and what that was understood as.
///
/// # Errors
///
/// When a parameter has no meaning.
pub fn asked(state: &State, request: &Request) -> Result<(Ask, String), ApiError> {
    let Some(q) = request.param("q") else {
        return Err(ApiError::bad_request("bad_query", "the parameter q is missing", "?q=www.example.com"));
    };
    for key in ["first_before", "first_after", "last_before", "last_after"] {
        if request.param(key).is_some() {
            let message = format!("{key} is for rows; there is no such filter for lines");
            return Err(ApiError::bad_request("bad_parameter", message, "during=2026-03-24"));
        }
    }
    let filters = request.filters()?;
    let raw = request.param("raw").map_or(Ok(false), parse_bool)?;
    let oldest_first = match request.param("order") {
        None | Some("newest") => false,
        Some("oldest") => true,
        Some(_) => {
            let message = "unknown order";
            return Err(ApiError::bad_request("bad_parameter", message, "order=newest, order=oldest"));
        }
    };
    if let Some(sensor) = &filters.sensor
        && let Some(those) = no_such_sensor(sensor, &sensors(&*state.0.ledger))
    {
        let message = format!("unknown sensor {}; {those}", sanitise(sensor));
        return Err(ApiError::bad_request("bad_parameter", message, "leave sensor out"));
    }
    let config = &state.0.config;
    // The owner of the ledger may have all.
    let limit = match state.1.network {
        None => filters.limit,
        Some(_) => Some(filters.limit.unwrap_or(config.default_limit).min(config.max_limit)),
    };
    let Indicator { query, asked, .. } = Indicator::read(q)?;
    let search = Search { filters, pointing: true, ..Search::new(query) }.in_all_forms();
    let rdata = request.param("rdata").map(str::to_owned);
    let until = Instant::now().checked_add(config.stream_timeout);
    Ok((Ask { search, rdata, oldest_first, limit, raw, until }, asked))
}

/// Answers at `/api/v1/evidence` and `/control/evidence`.
///
/// # Errors
///
/// When a parameter has no meaning, who asks may see no lines, or as many as may are reading logs already.
pub fn respond(state: &State, request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    state.only_of_a_ledger("lines of logs")?;
    state.may_see_lines()?;
    request.only(&["q", "rdata", "order", "raw", "progress"])?;
    let (ask, _) = asked(state, request)?;
    let tells = request.param("progress").map_or(Ok(false), parse_bool)?;
    if request.method == Method::HEAD {
        return Ok(as_ndjson(Response::default()));
    }
    let place = state.0.evidence.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let this = state.clone();
    let late = line_of(&EvidenceLine::Failed("it took longer than http.stream_timeout".to_owned()));
    let response = at_length(state, late, move |lines| {
        let work = move || {
            let _place = place;
            let mut sending = Sending { lines, buffer: Vec::new(), sent: Instant::now(), tells };
            let last = match find(&this, &ask, &mut sending) {
                Ok(answer) => EvidenceLine::End(Box::new(answer)),
                Err(error) => EvidenceLine::Failed(error.to_string()),
            };
            sending.push(&last);
            sending.send();
        };
        give_way_with(work);
    });
    response.map(as_ndjson)
}

fn as_ndjson(mut response: Response) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// Does something on a thread of its own, which gives way to all others, and waits for it.
pub fn give_way_with<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let lowly = move || {
        priority::give_way();
        work()
    };
    match threads::spawn("evidence", lowly) {
        Ok(thread) => thread.join().ok(),
        Err(error) => {
            tracing::error!(%error, "No thread can be started to read logs.");
            None
        }
    }
}

/// Finds lines.
///
/// # Errors
///
/// When the ledger cannot be read.
pub fn find(state: &State, ask: &Ask, visit: &mut dyn Visit) -> Result<Answer, StoreError> {
    let shared = &state.0;
    let evidence = Evidence {
        ledger: &*shared.ledger,
        config: shared.ingest.config(),
        also: &[],
        filters: &shared.filters,
        beginnings: &shared.beginnings,
    };
    let mut answer = evidence.find(ask, &|| shared.ingest.commit(), visit)?;
    // What is not read is not known: lines of it are not looked for.
    let unread = as_of(state).incomplete;
    answer.complete &= unread.is_empty();
    answer.notes.extend(unread.iter().map(|reason| format!("Not all logs are read. {reason}")));
    Ok(answer)
}

/// Lines on their way to a client.
struct Sending {
    lines: Sender<Bytes>,
    buffer: Vec<u8>,
    sent: Instant,
    tells: bool,
}

impl Sending {
    fn push(&mut self, line: &EvidenceLine) {
        self.buffer.extend_from_slice(&line_of(line));
    }

    /// Sends what waits; `false` where the client is gone.
    fn send(&mut self) -> bool {
        self.sent = Instant::now();
        match self.buffer.is_empty() {
            true => !self.lines.is_closed(),
            false => self.lines.blocking_send(std::mem::take(&mut self.buffer).into()).is_ok(),
        }
    }
}

impl Visit for Sending {
    fn line(&mut self, line: LogLine) -> bool {
        self.push(&EvidenceLine::Line(Box::new(line)));
        self.buffer.len() < CHUNK_BYTES && self.sent.elapsed() < SAID_EVERY || self.send()
    }

    fn progress(&mut self, logs: u64, of: u64) -> bool {
        if self.sent.elapsed() < SAID_EVERY {
            return true;
        }
        if self.tells {
            self.push(&EvidenceLine::Progress(logs, of));
        }
        self.send()
    }
}
