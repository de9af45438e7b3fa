//! `/api/v1/records` and `/api/v1/export`: the native API.
//!
//! `records` takes the query language (`q`), the filters, `cursor`, `pointing=true` (for a name: also the rows that point
//! at it) and `format` (`json`, `ndjson`, `csv`; an `Accept` header does as well). As JSON the answer is one object:
//!
//! ```json
//! {"as_of": "2026-03-04T05:06:07.123Z", "incomplete": [], "asked": "www.example.com", "records": [...], "truncated": false, "ended": "complete", "next": null}
//! ```
//!
//! `ended` is `complete`, `limit`, `budget` or `time`; `next` is the cursor of the rest. As NDJSON each record is a line, and the
//! last line is an object of the other members, so that a stream that was cut is seen to be.
//!
//! `export` takes the filters and `pointing`, and writes the whole ledger, or the part that `q` names, as COF lines or CSV.

use hyper::header::{ACCEPT, CONTENT_DISPOSITION, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::time::Instant;
use warp::reply::Response;

use super::State;
use super::answer::{Ended, Gathered, Shape, answer, as_of, gather, in_time, place_for, with_headers};
use super::error::ApiError;
use super::headers::say_truncated;
use super::request::Request;
use crate::lookup::{
    AskedOf, Cursor, End, Filters, Found, Indicator, Limits, MAX_SORTED, Query, QuestionLimits, Search, Sort,
    Top, another, maybe_meant, no_such_sensor, parse_bool, sensors,
};
use crate::output::cof::push_export_line;
use crate::output::json::push_object;
use crate::output::summary;
use crate::output::{Row, csv_header, file_name, push_json, sanitise};
use crate::status::Freshness;

/// What a query was understood as.
const ASKED: HeaderName = HeaderName::from_static("x-dnsledger-asked");

/// Answers `/api/v1/records`.
///
/// # Errors
///
/// 400 for a query, filter, cursor or format that has no meaning; else as any lookup.
pub async fn records(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    let Some(q) = request.param("q") else {
        return Err(ApiError::bad_request("bad_query", "the parameter q is missing", "?q=www.example.com"));
    };
    request.only(&["q", "cursor", "pointing", "format", "questions", "sort"])?;
    let mut filters = known_filters(&state, &request)?;
    let config = &state.0.config;
    let rows = filters.limit.unwrap_or(config.default_limit).min(config.max_limit);
    filters.limit = None;
    let pointing = pointing(&request)?;
    let Indicator { query, asked, .. } = Indicator::read(q)?;
    let search = Search { filters, pointing, ..Search::new(query) }.in_all_forms();
    let from = request.param("cursor").map(str::parse).transpose()?;
    let limits = Limits { rows, examined: config.scan_rows };
    let as_of = as_of(&state);
    let wants_questions = request.param("questions").map_or(Ok(false), parse_bool)?;
    let questions = match wants_questions.then(|| AskedOf::of(&search)).flatten() {
        Some(of) => questions_of(&state, of).await?,
        None => None,
    };
    let shown = asked.clone();
    let hint = maybe_meant(&asked).or_else(|| another(&asked));
    let format = format(&request)?;
    if let Some(sort) = sort(&request)? {
        if from.is_some() || limits.rows > MAX_SORTED {
            let message = "a sorted answer is one page of at most 10,000 rows";
            return Err(ApiError::bad_request("bad_sort", message, "limit=10000, and no cursor"));
        }
        let response = sorted(&state, search, limits, sort, (asked, hint, questions), as_of, format).await;
        return response.map(|response| named(say_asked(response, &shown), &shown, format));
    }
    let response = match format {
        Format::Json => {
            let shape = Json { first: true, as_of: as_of.clone(), asked, hint, questions };
            answer(&state, search, limits, from, as_of, shape).await
        }
        Format::Ndjson => {
            let shape = Ndjson { as_of: as_of.clone(), asked, hint, questions };
            answer(&state, search, limits, from, as_of, shape).await
        }
        Format::Csv => {
            let shape = Csv { is_during: search.filters.during.is_some() };
            answer(&state, search, limits, from, as_of, shape).await
        }
    };
    response.map(|response| named(say_asked(response, &shown), &shown, format))
}

/// Answers with the first rows in an order that no index has: all are looked at, and so many are kept.
async fn sorted(
    state: &State,
    search: Search,
    limits: Limits,
    sort: Sort,
    (asked, hint, questions): (String, Option<String>, Option<summary::Questions>),
    as_of: Freshness,
    format: Format,
) -> Result<Response, ApiError> {
    let all = Limits { rows: u64::MAX, ..limits };
    let filters = search.filters.clone();
    let visit = |top: &mut Top, found: &Found<'_>| {
        top.push(found);
        true
    };
    let Gathered { value: top, ended, .. } =
        gather(state, search, all, None, Top::new(sort, limits.rows), visit).await?;
    let (rows, given) = top.into_rows();
    let ended = match ended {
        Ended::Answer(End::Complete) if given > rows.len() as u64 => "limit",
        Ended::Answer(end) => self::ended(&end),
        Ended::Enough | Ended::Time => "time",
    };
    let truncated = ended != "complete";
    let summary = Summary { truncated, ended, ..Summary::new(&End::Complete) };
    let mut out = Vec::new();
    let write = |shape: &mut dyn FnMut(&Found<'_>, &mut Vec<u8>), out: &mut Vec<u8>| {
        rows.iter().for_each(|(entry, seen)| {
            shape(&Found { entry, seen: *seen, during: filters.seen_during(seen) }, out);
        });
    };
    let content_type = match format {
        Format::Json => {
            let mut shape = Json { first: true, as_of: as_of.clone(), asked, hint, questions };
            shape.begin(&mut out);
            write(&mut |found, out| shape.row(found, out), &mut out);
            Json::close(&summary, &mut out);
            shape.content_type()
        }
        Format::Ndjson => {
            let shape = Ndjson { as_of: as_of.clone(), asked, hint, questions };
            write(&mut |found, out| push_json(found, out), &mut out);
            shape.summary(summary).push(&mut out);
            out.push(b'\n');
            shape.content_type()
        }
        Format::Csv => {
            let mut shape = Csv { is_during: filters.during.is_some() };
            shape.begin(&mut out);
            write(&mut |found, out| shape.row(found, out), &mut out);
            shape.content_type()
        }
    };
    let mut response = with_headers(Response::new(out.into()), content_type, as_of);
    if truncated {
        say_truncated(&mut response);
    }
    Ok(response)
}

/// How the names of a query were asked for.
///
/// # Errors
///
/// As any lookup.
pub async fn questions_of(state: &State, of: AskedOf) -> Result<Option<summary::Questions>, ApiError> {
    let place = place_for(state, of.is_scan()).await?;
    let ledger = state.snapshot();
    let config = &state.0.config;
    // What there is no time for is said to be missing.
    let until = std::time::Instant::now() + config.request_timeout / 2;
    let limits = QuestionLimits::shared(config.scan_rows, Some(until));
    let work = move || {
        let _place = place;
        let questions = of.questions(&*ledger, limits, true)?;
        Ok::<_, ApiError>(questions.as_ref().map(Into::into))
    };
    in_time(Instant::now() + state.0.config.request_timeout, work).await?
}

/// Says in a header what was understood, for formats that have no other place for it.
pub fn say_asked(mut response: Response, asked: &str) -> Response {
    if let Ok(asked) = HeaderValue::from_str(asked) {
        response.headers_mut().insert(ASKED, asked);
    }
    response
}

/// Names the file that a browser makes of an answer after its query. JSON it shows by itself; what it cannot show it keeps.
fn named(response: Response, asked: &str, format: Format) -> Response {
    let (how, extension) = match format {
        Format::Json => ("inline", "json"),
        Format::Ndjson => ("attachment", "ndjson"),
        Format::Csv => ("attachment", "csv"),
    };
    disposed(response, how, &file_name(asked, extension))
}

/// Says what a browser shall do with an answer, and under which name.
fn disposed(mut response: Response, how: &str, name: &str) -> Response {
    if let Ok(disposition) = HeaderValue::try_from(format!("{how}; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// Answers `/api/v1/export`: everything, without a limit or a budget of rows.
///
/// # Errors
///
/// As [`records`].
pub async fn export(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    request.only(&["q", "pointing", "format"])?;
    let indicator = request.param("q").map(Indicator::read).transpose()?;
    let (query, asked) = indicator.map_or((Query::All, String::new()), |it| (it.query, it.asked));
    let search = Search {
        filters: known_filters(&state, &request)?,
        pointing: pointing(&request)?,
        all_forms: true,
        ..Search::new(query)
    };
    let as_of = as_of(&state);
    let response = match request.param("format") {
        None | Some("cof") => answer(&state, search, Limits::NONE, None, as_of, Cof).await,
        Some("csv") => {
            let shape = Csv { is_during: search.filters.during.is_some() };
            answer(&state, search, Limits::NONE, None, as_of, shape).await
        }
        Some(_) => Err(ApiError::bad_request("bad_format", "unknown format", "cof or csv")),
    };
    let extension = if request.param("format") == Some("csv") { "csv" } else { "jsonl" };
    let response = response.map(|response| disposed(response, "attachment", &file_name(&asked, extension)));
    response.map(|response| if asked.is_empty() { response } else { say_asked(response, &asked) })
}

/// The filters, whose sensor there must be.
///
/// # Errors
///
/// 400 when a filter has no meaning, or nobody has the sensor.
pub fn known_filters(state: &State, request: &Request) -> Result<Filters, ApiError> {
    let filters = request.filters()?;
    check_sensor(state, &filters)?;
    Ok(filters)
}

/// Refuses a sensor that nobody has: nothing found would be no answer.
///
/// # Errors
///
/// 400, with the sensors there are.
pub fn check_sensor(state: &State, filters: &Filters) -> Result<(), ApiError> {
    let Some(sensor) = &filters.sensor else { return Ok(()) };
    let mut known = sensors(&*state.0.ledger);
    known.extend(state.0.ingest.sensors().map(str::to_owned));
    match no_such_sensor(sensor, &known) {
        None => Ok(()),
        Some(hint) => {
            let message = format!("unknown sensor {}", sanitise(sensor));
            Err(ApiError::bad_request("bad_sensor", message, &hint))
        }
    }
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Ndjson,
    Csv,
}

/// The format asked for: by parameter, else by the first media type accepted that there is.
fn format(request: &Request) -> Result<Format, ApiError> {
    match request.param("format") {
        Some("json") => return Ok(Format::Json),
        Some("ndjson") => return Ok(Format::Ndjson),
        Some("csv") => return Ok(Format::Csv),
        Some(_) => {
            return Err(ApiError::bad_request("bad_format", "unknown format", "json, ndjson or csv"));
        }
        None => {}
    }
    let accepted = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = |part: &str| match part.split(';').next().unwrap_or_default().trim() {
        "application/json" => Some(Format::Json),
        "application/x-ndjson" | "application/ndjson" => Some(Format::Ndjson),
        "text/csv" => Some(Format::Csv),
        _ => None,
    };
    Ok(accepted.split(',').find_map(known).unwrap_or(Format::Json))
}

/// How an answer ended, in a word.
pub fn ended(end: &End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Limit(_) => "limit",
        End::Budget(_) => "budget",
    }
}

/// The order that is asked for, if any is.
///
/// # Errors
///
/// 400 when there is no such order.
pub fn sort(request: &Request) -> Result<Option<Sort>, ApiError> {
    let Some(text) = request.param("sort") else { return Ok(None) };
    let hint = "name, type, data, first, last, count or ttl; with a minus sign the greatest first";
    let none = || ApiError::bad_request("bad_sort", "unknown order", hint);
    Sort::parse(text).ok_or_else(none).map(Some)
}

/// Whether rows that point at a name are asked for, too.
pub fn pointing(request: &Request) -> Result<bool, ApiError> {
    Ok(request.param("pointing").map_or(Ok(false), parse_bool)?)
}

/// What an answer says of itself behind its records.
#[derive(Serialize)]
struct Summary<'a> {
    truncated: bool,
    ended: &'static str,
    next: Option<String>,
    #[serde(flatten)]
    fresh: Option<&'a Freshness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    questions: Option<&'a summary::Questions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Summary<'_> {
    fn new(end: &End) -> Summary<'static> {
        let next = end.next().map(ToString::to_string);
        Summary {
            truncated: next.is_some(),
            ended: ended(end),
            next,
            fresh: None,
            asked: None,
            questions: None,
            hint: None,
        }
    }

    /// The summary of an answer that ran out of time.
    fn late(next: &Cursor) -> Summary<'static> {
        Summary {
            truncated: true,
            ended: "time",
            next: Some(next.to_string()),
            fresh: None,
            asked: None,
            questions: None,
            hint: None,
        }
    }

    fn push(&self, out: &mut Vec<u8>) {
        push_object(self, out);
    }
}

/// What an answer says of itself before its records.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(flatten)]
    fresh: &'a Freshness,
    asked: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    questions: Option<&'a summary::Questions>,
}

#[derive(Clone)]
struct Json {
    first: bool,
    as_of: Freshness,
    asked: String,
    hint: Option<String>,
    questions: Option<summary::Questions>,
}

impl Shape for Json {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let head = Head {
            fresh: &self.as_of,
            asked: &self.asked,
            hint: self.hint.as_deref(),
            questions: self.questions.as_ref(),
        };
        push_object(&head, out);
        out.pop(); // its closing brace: the object goes on
        out.extend_from_slice(b",\"records\":[");
    }

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(if std::mem::take(&mut self.first) { b"\n" } else { b",\n" });
        push_json(found, out);
        out.pop(); // the newline
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        Json::close(&Summary::new(end), out);
    }

    fn late(&mut self, next: &Cursor, out: &mut Vec<u8>) -> bool {
        Json::close(&Summary::late(next), out);
        true
    }
}

impl Json {
    fn close(summary: &Summary<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],");
        let start = out.len();
        summary.push(out);
        out.remove(start); // its opening brace: the object was begun before
        out.push(b'\n');
    }
}

#[derive(Clone)]
struct Ndjson {
    as_of: Freshness,
    asked: String,
    hint: Option<String>,
    questions: Option<summary::Questions>,
}

impl Ndjson {
    /// A summary with what is true of the whole answer.
    fn summary<'a>(&'a self, summary: Summary<'a>) -> Summary<'a> {
        Summary {
            fresh: Some(&self.as_of),
            asked: Some(&self.asked),
            questions: self.questions.as_ref(),
            hint: self.hint.clone(),
            ..summary
        }
    }
}

impl Shape for Ndjson {
    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        push_json(found, out);
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        self.summary(Summary::new(end)).push(out);
        out.push(b'\n');
    }

    fn late(&mut self, next: &Cursor, out: &mut Vec<u8>) -> bool {
        self.summary(Summary::late(next)).push(out);
        out.push(b'\n');
        true
    }
}

#[derive(Clone)]
struct Csv {
    /// Whether a time is asked for.
    is_during: bool,
}

impl Shape for Csv {
    fn content_type(&self) -> &'static str {
        "text/csv; charset=utf-8"
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(csv_header(self.is_during).as_bytes());
    }

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        Row::from(found).push_csv(out);
    }

    fn end(&mut self, _end: &End, _out: &mut Vec<u8>) {}

    fn says_truncated(&self) -> bool {
        true
    }

    /// Who sees only the body must not take a scan that was given up for an answer.
    fn nothing(&self, end: &End) -> Option<ApiError> {
        matches!(end, End::Budget(_)).then(ApiError::timeout)
    }
}

#[derive(Clone)]
struct Cof;

impl Shape for Cof {
    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        push_export_line(found, out);
    }

    fn end(&mut self, _end: &End, _out: &mut Vec<u8>) {}
}
