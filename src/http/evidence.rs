//! `/control/evidence`: the lines of logs behind an answer.
//!
//! Takes the query language (`q`), the filters `type`, `sensor`, `direct`, `during` and `limit`, `rdata` (only rows with this
//! data), `order` (`newest`, `oldest`), `raw=true` (each line as Zeek wrote it) and `progress=true`. The answer is NDJSON, an
//! [`EvidenceLine`] each: lines, how far it is, and last how it ended. One without that was cut short.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use warp::reply::Response;

use super::State;
use super::control::{at_length, line_of};
use super::error::ApiError;
use super::request::Request;
use crate::base::{priority, threads};
use crate::evidence::{Answer, Ask, Evidence, LogLine, Visit};
use crate::lookup::{Indicator, Search, no_such_sensor, parse_bool, sensors};
use crate::output::sanitise;

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
    /// How it ended.
    End(Box<Answer>),
    /// Why it ended early.
    Failed(String),
    /// A line of a log. It is an object of its own, without a name.
    #[serde(untagged)]
    Line(Box<LogLine>),
}

/// Answers.
///
/// # Errors
///
/// When a parameter has no meaning, or as many as may are reading logs already.
pub fn respond(state: &State, request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    let Some(q) = request.param("q") else {
        return Err(ApiError::bad_request("bad_query", "the parameter q is missing", "?q=www.example.com"));
    };
    for key in ["first_before", "first_after", "last_before", "last_after"] {
        if request.param(key).is_some() {
            let message = format!("{key} is for rows; there is no such filter for lines");
            return Err(ApiError::bad_request("bad_parameter", message, "during=2026-03-24"));
        }
    }
    request.only(&["q", "rdata", "order", "raw", "progress"])?;
    let filters = request.filters()?;
    let flag = |key: &str| request.param(key).map_or(Ok(false), parse_bool);
    let (raw, tells) = (flag("raw")?, flag("progress")?);
    let oldest_first = match request.param("order") {
        None | Some("newest") => false,
        Some("oldest") => true,
        Some(_) => {
            let message = "there is no such order";
            return Err(ApiError::bad_request("bad_parameter", message, "order=newest, order=oldest"));
        }
    };
    if let Some(sensor) = &filters.sensor
        && let Some(those) = no_such_sensor(sensor, &sensors(&*state.0.ledger))
    {
        let message = format!("there is no sensor {}; {those}", sanitise(sensor));
        return Err(ApiError::bad_request("bad_parameter", message, "leave sensor out"));
    }
    let limit = filters.limit;
    let Indicator { query, .. } = Indicator::read(q)?;
    let search = Search { filters, pointing: true, ..Search::new(query) };
    let ask = Ask {
        search,
        rdata: request.param("rdata").map(str::to_owned),
        oldest_first,
        limit,
        raw,
        until: Instant::now().checked_add(state.0.config.stream_timeout),
    };
    let place = state.0.evidence.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let shared = std::sync::Arc::clone(&state.0);
    let late = line_of(&EvidenceLine::Failed("it took longer than http.stream_timeout".to_owned()));
    at_length(state, late, move |lines| {
        // A thread of its own, which gives way to all others.
        let work = move || {
            let _place = place;
            priority::give_way();
            let mut sending = Sending { lines, buffer: Vec::new(), sent: Instant::now(), tells };
            let evidence = Evidence {
                ledger: &*shared.ledger,
                config: shared.ingest.config(),
                also: &[],
                beginnings: &shared.beginnings,
            };
            let last = match evidence.find(&ask, &|| shared.ingest.commit(), &mut sending) {
                Ok(answer) => EvidenceLine::End(Box::new(answer)),
                Err(error) => EvidenceLine::Failed(error.to_string()),
            };
            sending.push(&last);
            sending.send();
        };
        match threads::spawn("evidence", work) {
            Ok(thread) => drop(thread.join()),
            Err(error) => tracing::error!(%error, "No thread can be started to read logs."),
        }
    })
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
