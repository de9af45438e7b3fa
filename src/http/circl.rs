//! The Common Output Format for CIRCL's clients and for D4's.
//!
//! | path | finds |
//! |---|---|
//! | `/pdns/query/{q}`, `/passivedns/{q}` | rows of a name; rows whose answer is an address, or lies in a block or range |
//! | `/query/{q}` | all rows of the names that had an address; rows of a name |
//! | `/fquery/{q}` | all rows of the names whose answer is `q` |
//! | `/v2pssl/query/{address}` | nothing, ever: no certificates are kept |
//! | `/info` | the version, and what was counted by each sensor |
//!
//! Each row is a line, see [`crate::output::cof`]; nothing found is an empty answer, and no error. Sensors are merged. Rows that
//! were seen through a chain only are among the answers of an address, and not of a name; `?aliases=` says otherwise.
//! The filters of the native API work here too.
//!
//! CIRCL's pages: `dribble-paginate-count` asks for so many rows, and the header `x-dribble-cursor` of the answer, sent
//! back as `dribble-paginate-cursor`, for those after them. It is the number of rows that went before; while the ledger
//! grows, a row that comes in before that place moves the rest by one. `dribble-filter-rrtype` is a type;
//! `dribble-disable-active-query` changes nothing, for nothing is ever resolved.

use std::collections::{BTreeSet, VecDeque};

use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use warp::reply::Response;

use super::State;
use super::answer::{Ended, Gathered, Shape, answer, answer_all, as_of, gather, in_report, with_headers};
use super::error::ApiError;
use super::headers::say_truncated;
use super::machine::{exactly, json};
use super::native::check_sensor;
use super::request::Request;
use crate::dns::Name;
use crate::lookup::{
    End, Filters, Found, Limits, Query, QueryError, Search, Types, refuse_nothing, understood,
};
use crate::output::cof::push_query_line;

const CONTENT_TYPE: &str = "application/x-ndjson";
/// Names whose rows one D4 answer has.
const MAX_NAMES: usize = 1000;
/// Rows of a page, which is in memory while it is gathered.
const MAX_PAGE: u64 = 10_000;

static PAGINATE_COUNT: HeaderName = HeaderName::from_static("dribble-paginate-count");
static PAGINATE_CURSOR: HeaderName = HeaderName::from_static("dribble-paginate-cursor");
static FILTER_RRTYPE: HeaderName = HeaderName::from_static("dribble-filter-rrtype");
const CURSOR: HeaderName = HeaderName::from_static("x-dribble-cursor");
const ERRORS: HeaderName = HeaderName::from_static("x-dribble-errors");

//--- CIRCL ----------------------------------------------------------------------------------------------------------

/// Answers `/pdns/query/{q}`.
///
/// # Errors
///
/// As any lookup.
pub async fn circl(state: State, request: Request) -> Result<Response, ApiError> {
    let query = parse(&asked(&request)?)?;
    let mut search = search(&state, &request, query)?;
    let mut lines = Lines::new(&state, &request);
    let config = &state.0.config;
    let mut limits = Limits { rows: config.max_limit, examined: config.scan_rows };
    let as_of = as_of(&state);
    if let Some(rrtype) = text(&request.headers, &FILTER_RRTYPE) {
        match Types::parse(rrtype) {
            Ok(types) => search.filters.types = types,
            Err(_) => {
                // The client's words for it: "must be a valid RR Type or the response will be empty".
                let mut response = with_headers(Response::default(), CONTENT_TYPE, as_of);
                let errors = HeaderValue::from_static("{\"rrtype\":\"not a record type\"}");
                response.headers_mut().insert(ERRORS, errors);
                return Ok(response);
            }
        }
    }
    let Some(page) = number(&request.headers, &PAGINATE_COUNT)? else {
        return answer(&state, search, limits, None, as_of, lines).await;
    };
    let before = number(&request.headers, &PAGINATE_CURSOR)?.unwrap_or(0);
    limits.rows = before.saturating_add(page.clamp(1, MAX_PAGE));
    // All of it is asked for: a limit beside pages bounds what they have together.
    let bound = search.filters.limit.take().unwrap_or(u64::MAX);
    limits.rows = limits.rows.min(bound);
    let mut passed = 0;
    let visit = move |out: &mut Vec<u8>, found: &Found<'_>| {
        passed += 1;
        if passed > before {
            lines.row(found, out);
        }
        true
    };
    let Gathered { value, ended, .. } = gather(&state, search, limits, None, Vec::new(), visit).await?;
    let more = match ended {
        Ended::Answer(End::Complete) | Ended::Enough => false,
        Ended::Answer(End::Limit(_)) => limits.rows < bound,
        Ended::Answer(End::Budget(_)) | Ended::Time => return Err(ApiError::timeout()),
    };
    let mut response = with_headers(Response::new(value.into()), CONTENT_TYPE, as_of);
    if more {
        response.headers_mut().insert(CURSOR, HeaderValue::from(limits.rows));
    }
    Ok(response)
}

/// A header as text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// A header that is a number of rows.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, ApiError> {
    let number = text(headers, name).map(str::parse).transpose();
    number.map_err(|_| {
        ApiError::bad_request("bad_page", format!("{name} is not a number of rows"), "such as 50")
    })
}

//--- D4 -------------------------------------------------------------------------------------------------------------

/// Answers `/query/{q}`.
///
/// # Errors
///
/// As any lookup.
pub async fn query(state: State, request: Request) -> Result<Response, ApiError> {
    match parse(&asked(&request)?)? {
        query @ Query::Addresses(..) => names_of(state, request, query).await,
        query => {
            let search = search(&state, &request, query)?;
            let config = &state.0.config;
            let limits = Limits { rows: config.max_limit, examined: config.scan_rows };
            let as_of = as_of(&state);
            answer(&state, search, limits, None, as_of, Lines::new(&state, &request)).await
        }
    }
}

/// Answers `/fquery/{q}`.
///
/// # Errors
///
/// As any lookup.
pub async fn full_query(state: State, request: Request) -> Result<Response, ApiError> {
    let q = asked(&request)?;
    let query = match parse(&q) {
        Ok(query @ Query::Addresses(..)) => query,
        Ok(Query::Name(name)) => Query::Target(name),
        _ => Query::RdataText(q),
    };
    names_of(state, request, query).await
}

/// All rows of the names that a query finds.
async fn names_of(state: State, request: Request, query: Query) -> Result<Response, ApiError> {
    let rows = search(&state, &request, Query::All)?;
    let filters = Filters { direct: rows.filters.direct, ..Filters::default() };
    let found = Search { filters, ..Search::new(query) };
    let config = &state.0.config;
    let limits = Limits { rows: u64::MAX, examined: config.scan_rows };
    let as_of = as_of(&state);
    let visit = |names: &mut BTreeSet<Name>, found: &Found<'_>| {
        if !names.contains(&found.entry.tuple.rrname) {
            names.insert(found.entry.tuple.rrname.clone());
        }
        names.len() <= MAX_NAMES
    };
    let Gathered { value: mut names, ended, examined } =
        gather(&state, found, limits, None, BTreeSet::new(), visit).await?;
    if matches!(ended, Ended::Time | Ended::Answer(End::Budget(_))) {
        return Err(ApiError::timeout());
    }
    let truncated = names.len() > MAX_NAMES;
    if truncated {
        names.pop_last();
    }
    let searches: VecDeque<Search> =
        names.into_iter().map(|name| Search { query: Query::Name(name), ..rows.clone() }).collect();
    let limit = rows.filters.limit.unwrap_or(u64::MAX).min(config.max_limit);
    let limits = Limits { rows: limit, examined: config.scan_rows.saturating_sub(examined) };
    let lines = Lines::new(&state, &request);
    let mut response = answer_all(&state, searches, limits, None, as_of, lines).await?;
    if truncated {
        say_truncated(&mut response);
    }
    Ok(response)
}

/// Answers `/v2pssl/query/{address}`: CIRCL's passive SSL, of which there is nothing here. Some of its clients give up where
/// that path is missing.
///
/// # Errors
///
/// For another method or a path without an address.
pub fn passive_ssl(request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    asked(request)?;
    Ok(json(StatusCode::OK, &serde_json::Map::new()))
}

/// What `/info` says.
#[derive(Serialize)]
struct Info {
    version: &'static str,
    software: &'static str,
    /// Log records that were counted.
    stats: u64,
    sensors: Vec<Sensor>,
}

#[derive(Serialize)]
struct Sensor {
    sensor_id: String,
    /// Log records of it that were counted.
    count: u64,
}

/// Answers `/info`.
///
/// # Errors
///
/// When the store cannot be read, or takes too long.
pub async fn info(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    exactly(&request, &[])?;
    let work = |state: &State| {
        let status = state.0.ingest.overview();
        let mut sensors: Vec<Sensor> = Vec::new();
        for source in status.sources {
            match sensors.iter_mut().find(|sensor| sensor.sensor_id == source.sensor) {
                Some(sensor) => sensor.count += source.totals.counted,
                None => sensors.push(Sensor { sensor_id: source.sensor, count: source.totals.counted }),
            }
        }
        let stats = status.totals.counted;
        let version = env!("CARGO_PKG_VERSION");
        Info { version, software: env!("CARGO_PKG_NAME"), stats, sensors }
    };
    Ok(json(StatusCode::OK, &in_report(&state, work).await?))
}

//--- what both have -------------------------------------------------------------------------------------------------

/// What is asked: all of the path, for a block of addresses has a slash.
fn asked(request: &Request) -> Result<String, ApiError> {
    if request.segments.is_empty() { Err(ApiError::not_found()) } else { Ok(request.segments.join("/")) }
}

/// A query by the clients' rules, or, of what can be nothing by these, what is understood of it.
fn parse(text: &str) -> Result<Query, QueryError> {
    match understood(text) {
        Some(one) => Ok(one.with_links().query),
        None => refuse_nothing(text).and_then(|()| Query::parse(text)),
    }
}

/// The search of a request, with what its clients expect of aliases.
fn search(state: &State, request: &Request, query: Query) -> Result<Search, ApiError> {
    request.read_only()?;
    let by_name = matches!(query, Query::Name(_) | Query::Subtree(_) | Query::Prefix(_));
    let filters = request.compatible_filters(by_name)?;
    check_sensor(state, &filters)?;
    Ok(Search { filters, merge_sensors: true, ..Search::new(query) })
}

/// Writes lines.
#[derive(Clone)]
struct Lines {
    origin: String,
}

impl Lines {
    /// Lines whose origin is the URL that was asked.
    fn new(state: &State, request: &Request) -> Lines {
        let host = text(&request.headers, &HOST).unwrap_or("localhost");
        let scheme = state.1.scheme.name();
        Lines { origin: format!("{scheme}://{host}/") }
    }
}

impl Shape for Lines {
    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        push_query_line(found, &self.origin, out);
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
