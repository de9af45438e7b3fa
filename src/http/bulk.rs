//! `POST /api/v1/lookup`: up to 100,000 queries in one request.
//!
//! The body has an indicator or a query a line: a JSON string, a JSON object with `q`, or the query as it is. Parameters are those of
//! `/api/v1/records` and hold for each query. The answer is NDJSON, and each line says which line of the body it is about:
//!
//! ```json
//! {"line": 2, "query": "hxxp://www[.]example[.]com/x", "asked": "www.example.com", "rrname": "www.example.com", "rrtype": "A", ...}
//! {"line": 2, "query": "hxxp://www[.]example[.]com/x", "asked": "www.example.com", "found": 1, "questions": {"count": 1, ...}, "ended": "complete", "next": null}
//! {"line": 3, "query": "a..b", "error": {"code": "bad_query", "message": "...", "hint": "..."}}
//! {"queries": 2, "found": 1, "errors": 1, "as_of": "2026-03-04T05:06:07.123Z", "incomplete": []}
//! ```
//!
//! With `sort` the rows of each query come in that order, and the first of it only; `ended` is `limit` where there are more, and `next` is null.
//!
//! The parameters `column` and `extract` say how a list is written whose lines are not the queries themselves; `summary=true`
//! gives of each query one line, what its rows come to. Answers come in the order of the index, so that it is walked once. Each query has a line that ends it, also where nothing
//! was found; the last line is the sum, so an answer without it was cut.

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use warp::reply::Response;

use super::State;
use super::answer::{Chunk, as_of, body, in_time, place_for, read_beside};
use super::error::ApiError;
use super::headers::say_fresh;
use super::native::{ended, known_filters, pointing, sort};
use super::places::{Place, PlacesOf};
use super::request::Request;
use crate::lookup::{
    AnswerPart, End, FILTER_KEYS, Limits, List, ListForm, MAX_SORTED, Queries, QueriesWalk, Query,
    QueryError, QueryRef, Search, Slice, Sort, another, maybe_meant, parse_bool,
};
use crate::output::json::{push_line, push_object};
use crate::output::push_json;
use crate::output::summary::{Questions, SummaryLine};
use crate::status::Freshness;
use crate::store::StoreError;

/// Queries of one request.
pub const MAX_QUERIES: u32 = 100_000;
/// Bytes of its body.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Bytes of a line: the longest query with every character escaped.
const MAX_LINE_BYTES: usize = 32 << 10;
/// Lines that may be no query; with more, the body is something else.
const MAX_BAD_LINES: u64 = 1000;
/// Rows and queries that are looked at before others get their turn.
const SLICE: Slice = Slice { examined: 4096 };
/// Bytes of the answer that are sent together.
const CHUNK_BYTES: usize = 64 << 10;

/// Answers `POST /api/v1/lookup`.
///
/// # Errors
///
/// 400 for a parameter or a body that has no meaning, 413 for too much of it; else as any lookup.
pub async fn lookup<B: Buf>(
    state: State,
    request: Request,
    mut sent: impl Stream<Item = Result<B, warp::Error>> + Unpin,
) -> Result<Response, ApiError> {
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let config = &state.0.config;
    request.only(&["pointing", "column", "extract", "summary", "sort"])?;
    let flag = |name: &str| request.param(name).map_or(Ok(false), parse_bool);
    let is_summary = flag("summary")?;
    let sort = sort(&request)?;
    if sort.is_some() && is_summary {
        let message = "a summary has no order";
        return Err(ApiError::bad_request("bad_sort", message, "leave out sort, or summary"));
    }
    let form = ListForm { column: request.param("column").map(str::to_owned), extract: flag("extract")? };
    let mut filters = known_filters(&state, &request)?;
    let limit = if is_summary { u64::MAX } else { config.default_limit };
    let most = if is_summary { u64::MAX } else { config.max_limit };
    let rows = filters.limit.take().unwrap_or(limit).min(most);
    if sort.is_some() && rows > MAX_SORTED {
        let message = "a sorted answer has at most 10,000 rows";
        return Err(ApiError::bad_request("bad_sort", message, "limit=10000"));
    }
    let template =
        Search { filters, pointing: pointing(&request)?, ..Search::new(Query::All) }.in_all_forms();
    let mut room = Room { places: state.0.lists.of(state.1.network), held: Vec::new() };
    let (mut parts, mut bytes) = (Vec::new(), 0);
    let deadline = Instant::now() + config.request_timeout;
    loop {
        let late = |_| ApiError::bad_request("bad_body", "the body did not come in time", "send it faster");
        match timeout_at(deadline, sent.next()).await.map_err(late)? {
            Some(Ok(mut part)) => {
                bytes += part.remaining();
                if bytes > MAX_BODY_BYTES {
                    return Err(ApiError::too_large("a body has at most 16 MiB"));
                }
                room.hold(bytes)?;
                parts.push(part.copy_to_bytes(part.remaining()));
            }
            Some(Err(_)) => {
                return Err(ApiError::bad_request("bad_body", "the body broke off", "send it again"));
            }
            None => break,
        }
    }
    let work = move || {
        let mut lines = Lines::new(template, sort, form);
        for part in parts {
            lines.take(&part)?;
            room.hold(bytes + lines.asks.bytes())?;
        }
        lines.end()?;
        room.hold(lines.asks.bytes())?;
        Ok::<_, ApiError>((lines, room))
    };
    let (lines, room) = read_beside(&state, work).await??;
    let as_of = as_of(&state);
    let place = place_for(&state, false).await?;
    let ledger = state.snapshot();
    let limits = Limits { rows, examined: u64::MAX };
    let (budget, fresh) = (config.scan_rows, as_of.clone());
    let deadline = Instant::now() + config.request_timeout;
    let begin = move || {
        let Lines { asks, bad, errors, .. } = lines;
        let sum = BulkSummary { queries: asks.len() as u64 + errors, found: 0, errors, fresh };
        let bulk = QueriesWalk::start(ledger, asks, limits, budget);
        let is_sorted = sort.is_some();
        let mut told = AnswerWriter { bulk, sum, out: bad, is_summary, is_sorted, _room: room };
        told.fill().map(|()| told)
    };
    let told = in_time(deadline, begin).await??;
    drop(place);
    let (chunks, receiver) = channel(1);
    tokio::spawn(produce(chunks, told, state.clone()));
    let mut response = body(receiver);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    say_fresh(headers, &as_of);
    Ok(response)
}

//--- the body -------------------------------------------------------------------------------------------------------

/// A share of the memory that there is for lists of queries.
struct Room {
    places: PlacesOf,
    /// Each stands for a MiB of memory.
    held: Vec<Place>,
}

impl Room {
    /// Holds room for so many bytes, or more.
    ///
    /// # Errors
    ///
    /// 429 when others have it.
    fn hold(&mut self, bytes: usize) -> Result<(), ApiError> {
        while self.held.len() <= bytes >> 20 {
            self.held.push(self.places.try_take().ok_or_else(ApiError::busy)?);
        }
        Ok(())
    }
}

/// A body being taken apart.
struct Lines {
    asks: Queries,
    list: List,
    /// What is answered to lines that are no query.
    bad: Vec<u8>,
    errors: u64,
    number: u32,
    /// The start of a line whose end has not come.
    begun: Vec<u8>,
    /// Whether the line before ended in a carriage return.
    is_behind: bool,
}

impl Lines {
    fn new(template: Search, sort: Option<Sort>, form: ListForm) -> Lines {
        let (asks, list) = (Queries::new(template).sorted(sort), List::new(form));
        Lines { asks, list, bad: Vec::new(), errors: 0, number: 0, begun: Vec::new(), is_behind: false }
    }

    fn take(&mut self, part: &[u8]) -> Result<(), ApiError> {
        for piece in part.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            // A line ends in a line feed, a carriage return, or both.
            if std::mem::replace(&mut self.is_behind, piece.ends_with(b"\r")) && piece == b"\n" {
                continue;
            }
            if self.begun.len() + piece.len() > MAX_LINE_BYTES {
                return Err(ApiError::too_large("a line has at most 32 KiB"));
            }
            match piece.strip_suffix(b"\n").or_else(|| piece.strip_suffix(b"\r")) {
                Some(line) if self.begun.is_empty() => self.line(line)?,
                Some(line) => {
                    let mut whole = std::mem::take(&mut self.begun);
                    whole.extend_from_slice(line);
                    self.line(&whole)?;
                }
                None => self.begun.extend_from_slice(piece),
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ApiError> {
        let rest = std::mem::take(&mut self.begun);
        self.line(&rest)?;
        for query in self.list.end() {
            if let Err(QueryError { message, hint, .. }) = self.asks.push(self.number, &query) {
                self.refuse(&query, &message, hint)?;
            }
        }
        if self.asks.is_empty() && self.errors == 0 {
            let hint = "a query a line; what are only comments is not a list";
            return Err(ApiError::bad_request("bad_body", "there is no query in the body", hint));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ApiError> {
        self.number += 1;
        let Ok(line) = std::str::from_utf8(line) else {
            return self.refuse("", "the line is not UTF-8", "a query a line, as text or as JSON");
        };
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        if self.asks.len() as u64 + self.errors >= u64::from(MAX_QUERIES) {
            return Err(ApiError::too_large("one request has at most 100,000 queries"));
        }
        #[derive(Deserialize)]
        struct Object {
            q: String,
            #[serde(flatten)]
            others: HashMap<String, IgnoredAny>,
        }
        let is_plain = self.list.is_plain();
        let queries = match line.as_bytes().first() {
            Some(b'"') if is_plain && let Ok(query) = serde_json::from_str(line) => vec![query],
            Some(b'{') if is_plain => match serde_json::from_str::<Object>(line) {
                Ok(object) if FILTER_KEYS.iter().any(|key| object.others.contains_key(*key)) => {
                    let message = "a filter in a line has no meaning: it is for all of them";
                    return self.refuse(&object.q, message, "a parameter, such as /api/v1/lookup?type=A");
                }
                Ok(object) => vec![object.q],
                Err(_) => {
                    let message = "the line is not a JSON string or an object with q";
                    return self.refuse(line, message, "{\"q\": \"a.example\"}");
                }
            },
            _ => match self.list.line(line) {
                Ok(queries) => queries,
                Err(QueryError { message, hint, .. }) if self.list.fault().is_some() => {
                    return Err(ApiError::bad_request("bad_column", message, hint));
                }
                Err(QueryError { message, hint, .. }) => return self.refuse(line, &message, hint),
            },
        };
        for query in queries {
            if let Err(QueryError { message, hint, .. }) = self.asks.push(self.number, &query) {
                self.refuse(&query, &message, hint)?;
            }
        }
        Ok(())
    }

    /// Says of a line that it is no query; an error of all when most of the body seems to be none.
    fn refuse(&mut self, query: &str, message: &str, hint: &str) -> Result<(), ApiError> {
        self.errors += 1;
        if self.errors > MAX_BAD_LINES {
            let message =
                format!("more than {MAX_BAD_LINES} lines are no query; line {} is one", self.number);
            return Err(ApiError::bad_request("bad_body", message, "a query a line, as text or as JSON"));
        }
        #[derive(Serialize)]
        struct Bad<'a> {
            line: u32,
            query: &'a str,
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: &'a str,
            message: &'a str,
            hint: &'a str,
        }
        let cut = query.char_indices().nth(200).map_or(query.len(), |(at, _)| at);
        let query = query.get(..cut).unwrap_or_default();
        let bad = Bad { line: self.number, query, error: Inner { code: "bad_query", message, hint } };
        // Plain values to memory: nothing that can fail.
        drop(serde_json::to_writer(&mut self.bad, &bad));
        self.bad.push(b'\n');
        Ok(())
    }
}

//--- the answer -----------------------------------------------------------------------------------------------------

/// The last line of an answer: sums over all queries.
#[derive(Serialize)]
struct BulkSummary {
    queries: u64,
    found: u64,
    errors: u64,
    #[serde(flatten)]
    fresh: Freshness,
}

/// Which query of the body a line is about.
#[derive(Serialize)]
struct Label<'a> {
    line: u32,
    query: &'a str,
    asked: &'a str,
}

/// What ends a query's answer.
#[derive(Serialize)]
struct EndLine<'a> {
    #[serde(flatten)]
    label: Label<'a>,
    found: u64,
    questions: Option<Questions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    ended: &'static str,
    next: Option<String>,
}

/// An answer being written.
struct AnswerWriter {
    bulk: QueriesWalk,
    sum: BulkSummary,
    out: Vec<u8>,
    /// Whether of each query only what its rows come to is told.
    is_summary: bool,
    /// Whether rows come in an order of their own.
    is_sorted: bool,
    /// Memory for the queries.
    _room: Room,
}

impl AnswerWriter {
    /// Writes until a chunk is full, a slice is over, or all is told.
    fn fill(&mut self) -> Result<(), StoreError> {
        let AnswerWriter { bulk, sum, out, is_summary, is_sorted, .. } = self;
        bulk.advance(SLICE, |QueryRef { number, text, asked }, told| {
            if *is_summary {
                if let AnswerPart::End { end, summary, questions, .. } = told {
                    sum.found += summary.rows;
                    let line = SummaryLine {
                        line: Some(number.into()),
                        query: text.to_owned(),
                        asked: Some(asked.to_owned()),
                        questions: questions.map(Into::into),
                        ended: Some(ended(end).to_owned()),
                        ..SummaryLine::default()
                    };
                    line.with(summary).push_json(out);
                }
                return out.len() < CHUNK_BYTES;
            }
            match told {
                AnswerPart::Row(found) => {
                    sum.found += 1;
                    push_object(&Label { line: number, query: text, asked }, out);
                    out.pop(); // its closing brace: the object goes on
                    out.push(b',');
                    let start = out.len();
                    push_json(found, out);
                    out.remove(start); // its opening brace
                }
                AnswerPart::End { end, is_cut, summary, questions } => {
                    let hint = maybe_meant(asked).filter(|_| summary.rows == 0);
                    let is_limit = is_cut && *end == End::Complete;
                    let line = EndLine {
                        label: Label { line: number, query: text, asked },
                        found: summary.rows,
                        questions: questions.map(Questions::from),
                        hint: hint.or_else(|| another(asked)),
                        ended: if is_limit { "limit" } else { ended(end) },
                        // What was put in order has no place at which to go on.
                        next: end.next().filter(|_| !*is_sorted).map(ToString::to_string),
                    };
                    push_line(&line, out);
                }
            }
            out.len() < CHUNK_BYTES
        })?;
        if bulk.is_done() {
            push_line(sum, out);
        }
        Ok(())
    }
}

/// Sends an answer. When the client is gone, too slow, or the ledger fails, it ends without the last chunk. `chunks` comes first, so that
/// it is dropped last.
async fn produce(chunks: Sender<Chunk>, mut told: AnswerWriter, state: State) {
    let patience = state.0.config.request_timeout;
    let until = Instant::now() + state.0.config.stream_timeout;
    loop {
        if !told.bulk.is_done() && Instant::now() >= until {
            tracing::info!("An answer took longer than http.stream_timeout and was ended.");
            told.out.extend_from_slice(
                b"{\"error\":{\"code\":\"timeout\",\"message\":\"the time of an answer is over, before its end\"}}\n",
            );
            // A client that is gone needs no words.
            drop(timeout(patience, chunks.send(Chunk::Last(told.out.into()))).await);
            return;
        }
        while !told.bulk.is_done() && told.out.len() < CHUNK_BYTES {
            let Some(place) = state.0.streams.of(None).take().await else { return };
            let filled = spawn_blocking(move || {
                let filled = told.fill();
                drop(place);
                (told, filled)
            });
            let ended = match filled.await {
                Ok((back, Ok(()))) => {
                    told = back;
                    continue;
                }
                Ok((_, Err(error))) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::error!(error = %ended, "An answer was cut short.");
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut told.out));
        let last = told.bulk.is_done();
        let chunk = if last { Chunk::Last(bytes) } else { Chunk::More(bytes) };
        match timeout(patience, chunks.send(chunk)).await {
            Ok(Ok(())) if !last => {}
            _ => return,
        }
    }
}
