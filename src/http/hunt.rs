//! `POST /api/v1/hunt`: a report, a list, a bundle or an export of indicators against the ledger. Nothing of it is kept.
//!
//! The body is the list as it is, gzip too. Parameters are `format` (found out where it is not given), `below`, `column`,
//! `confidence_min`, `observed` and `ended`. The answer is NDJSON: a line for each indicator that the ledger has, and the sum.
//!
//! ```json
//! {"value":"evil.example","kind":"domain","names":3,"rows":7,"asked_only":1,"too_wide":false,"time_first":1772000000,"time_last":1772900000,"line":12}
//! {"format":"plain","lines":40,"taken":31,"hits":1,"missed":29,"duplicates":1,"allowed":0,"too_wide":0,"exceptions":0,"skipped":{"private":2},"examples":[],"as_of":null,"incomplete":[]}
//! ```
//!
//! A line may have blanks before it: one is sent now and then while nothing is found. An answer without the sum was cut. The list is read to its end before the first line is sent, so what is no list, or too
//! much of one, is a status of its own.

use std::io::Read;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use warp::reply::Response;

use super::State;
use super::answer::{Chunk, as_of, body, place_for};
use super::body::{Patience, sent};
use super::error::ApiError;
use super::headers::say_fresh;
use super::request::Request;
use crate::hunt::{Hunt, Listener, Way};
use crate::indicators::{self, AllowList, Format, ListSummary, Options, ReadError};
use crate::lookup::parse_bool;
use crate::output::hunt::{HuntLine, HuntSum};
use crate::status::Freshness;
use crate::store::StoreError;

/// Bytes of the answer that are sent together.
const CHUNK_BYTES: usize = 64 << 10;
/// How often a client hears of it that the hunt goes on.
const ALIVE: Duration = Duration::from_secs(15);

/// Answers `POST /api/v1/hunt`.
///
/// # Errors
///
/// 400 for a parameter without a meaning and for what is no list, 413 for too much of one; else as any lookup.
pub async fn hunt<B: Buf>(
    state: State,
    request: Request,
    sent_body: impl Stream<Item = Result<B, warp::Error>> + Unpin,
) -> Result<Response, ApiError> {
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let options = options(&request)?;
    let hunting = state.0.hunts.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let (parts, mut list) = sent();
    let mut harmless = allowed(&request)?;
    if let Some(watching) = state.watching() {
        harmless.merge(watching.own());
    }
    let reading = spawn_blocking(move || read(&mut list, &options, &harmless));
    let stalled = parts.take(sent_body, Patience::with(state.0.config.request_timeout)).await;
    let read = reading.await;
    if stalled {
        return Err(ApiError::stalled());
    }
    let (hunt, taken) = read.map_err(|error| {
        tracing::error!(%error, "A hunt ended abnormally.");
        ApiError::unavailable("the hunt failed")
    })??;
    let as_of = as_of(&state);
    let place = place_for(&state, true).await?;
    let (chunks, receiver) = channel(1);
    let telling = Telling { chunks, state: state.clone(), as_of: as_of.clone() };
    spawn_blocking(move || {
        let _places = (hunting, place);
        telling.run(hunt, &taken);
    });
    let mut response = body(receiver);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    say_fresh(headers, &as_of);
    Ok(response)
}

/// How the list is to be read.
fn options(request: &Request) -> Result<Options, ApiError> {
    request.only_these(&["format", "below", "column", "confidence_min", "observed", "ended", "allow"])?;
    let bad = |message: String, hint: &str| ApiError::bad_request("bad_parameter", message, hint);
    let format = match request.param("format") {
        None | Some("auto") => None,
        Some(name) => {
            let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
            let hint = format!("auto, {}", names.join(", "));
            Some(Format::from_name(name).ok_or_else(|| bad("unknown format".to_owned(), &hint))?)
        }
    };
    let confidence_min = request.param("confidence_min").map(|text| {
        let number = text.parse().ok().filter(|number| *number <= 100);
        number.ok_or_else(|| bad("confidence_min is not a number up to 100".to_owned(), "confidence_min=50"))
    });
    Ok(Options {
        format,
        below: request.param("below").map(parse_bool).transpose()?,
        column: request.param("column").map(str::to_owned),
        confidence_min: confidence_min.transpose()?,
        observed: request.param("observed").map_or(Ok(false), parse_bool)?,
        ended: request.param("ended").map_or(Ok(false), parse_bool)?,
        ..Options::default()
    })
}

/// What is harmless: names with all below them, and networks, with commas between.
fn allowed(request: &Request) -> Result<AllowList, ApiError> {
    let text = request.param("allow").unwrap_or_default();
    let mut list = AllowList::default();
    let options =
        Options { format: Some(Format::Plain), allow: true, below: Some(true), ..Options::default() };
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mut is_any = false;
        indicators::read(&mut part.as_bytes(), &options, &mut |indicator| {
            is_any = true;
            list.add(&indicator.value);
            Ok(())
        })?;
        if !is_any {
            let message = format!("allow: {part:?} is neither a name nor a network");
            return Err(ApiError::bad_request("bad_parameter", message, "allow=example.com,192.0.2.0/24"));
        }
    }
    Ok(list)
}

fn read(
    list: &mut dyn Read,
    options: &Options,
    harmless: &AllowList,
) -> Result<(Hunt, ListSummary), ReadError> {
    let mut hunt = Hunt::default();
    hunt.except(harmless);
    let taken = indicators::read(list, options, &mut |indicator| hunt.take(indicator))?;
    Ok((hunt, taken))
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> ApiError {
        let (message, hint) = (error.to_string(), error.hint());
        match error {
            ReadError::NoList { .. } => ApiError::bad_request("no_list", message, hint),
            ReadError::Malformed { .. } => ApiError::bad_request("bad_list", message, hint),
            ReadError::TooLarge { .. } | ReadError::TooMany { .. } | ReadError::NoRoom { .. } => {
                ApiError::too_large(&message)
            }
            ReadError::Io(_) | ReadError::Stopped => ApiError::bad_request("bad_body", message, hint),
        }
    }
}

//--- the answer -----------------------------------------------------------------------------------------------------

/// An answer being written.
struct Telling {
    chunks: Sender<Chunk>,
    state: State,
    as_of: Freshness,
}

impl Telling {
    /// Tells all of it. When the client is gone or too slow it ends without the last chunk.
    fn run(&self, hunt: Hunt, taken: &ListSummary) {
        let mut out = Vec::new();
        match self.tell(hunt, taken, &mut out) {
            Ok(true) => {}
            Ok(false) if self.chunks.is_closed() => return,
            Ok(false) => {
                tracing::info!("A hunt took longer than http.stream_timeout and was ended.");
                out.extend_from_slice(
                    b"{\"error\":{\"code\":\"timeout\",\"message\":\"the time of an answer is over, before its end\"}}\n",
                );
            }
            Err(error) => {
                tracing::error!(%error, "A hunt was cut short.");
                out.extend_from_slice(
                    b"{\"error\":{\"code\":\"unavailable\",\"message\":\"the ledger cannot be read to the end\"}}\n",
                );
            }
        }
        self.send(Chunk::Last(out.into()));
    }

    /// Whether it came to its end.
    fn tell(&self, hunt: Hunt, taken: &ListSummary, out: &mut Vec<u8>) -> Result<bool, StoreError> {
        let ledger = &self.state.0.ledger;
        let rows = ledger.stats()?.rows;
        let until = Instant::now() + self.state.0.config.stream_timeout;
        let mut said = Instant::now();
        let mut listener = Listener {
            hit: &mut |hit| {
                HuntLine::from(hit).push_json(out);
                out.len() < CHUNK_BYTES || self.send(Chunk::More(std::mem::take(out).into()))
            },
            go_on: &mut || self.is_alive(&mut said) && Instant::now() < until,
        };
        let Some(outcome) = hunt.run(&self.state.snapshot(), rows, Way::Best, &mut listener)? else {
            return Ok(false);
        };
        let sum = HuntSum::of(taken, &outcome);
        let (as_of, incomplete) = (self.as_of.as_of.clone(), self.as_of.incomplete.clone());
        HuntSum { as_of, incomplete, ..sum }.push_json(out);
        Ok(true)
    }

    /// Whether the client is there. So that it knows that there is more to come, a blank before the next line is sent now and then.
    fn is_alive(&self, said: &mut Instant) -> bool {
        if said.elapsed() < ALIVE {
            return !self.chunks.is_closed();
        }
        *said = Instant::now();
        self.send(Chunk::More(Bytes::from_static(b" ")))
    }

    /// Whether the client took it in time.
    fn send(&self, chunk: Chunk) -> bool {
        let patience = self.state.0.config.request_timeout;
        matches!(Handle::current().block_on(timeout(patience, self.chunks.send(chunk))), Ok(Ok(())))
    }
}
