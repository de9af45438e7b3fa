//! The DNSDB API, for the clients that speak it: version 2 below `/dnsdb/v2`, version 1 at the root.
//!
//! | path | finds |
//! |---|---|
//! | `lookup/rrset/name/{name}[/{rrtype}[/{bailiwick}]]` | rows of a name, `*.name` or `name.*` |
//! | `lookup/rrset/raw/{hex}[/{rrtype}]` | rows of a name in wire form |
//! | `lookup/rdata/name/{name}[/{rrtype}]` | rows whose data is a name, `*.name` or `name.*` |
//! | `lookup/rdata/ip/{address}[/{rrtype}]` | rows whose data is an address, or in a block or range (`,` or `/`; `-`) |
//! | `lookup/rdata/raw/{hex}[/{rrtype}]` | rows whose data is this in wire form |
//! | `summarize/…` | of the same rows: their number, the sum of their counts, the first and the last time |
//! | `regex\|glob/rrnames\|rdata/{pattern}[/{rrtype}]` | names or data that match (version 2) |
//! | `rate_limit`, `ping` | that there is no limit; that the server is there |
//!
//! Version 2 answers in the Streaming Answer Format ([`saf`]), version 1 in bare lines, and with 404 where nothing is
//! found. A row is an object of its own: `rdata` has one value, `count` and times are of that value. Names end in a dot.
//!
//! Sensors are merged. Rows seen through a chain only are among the answers of an rdata lookup, not of an rrset lookup;
//! `?aliases=` says otherwise. The bailiwick is not in Zeek's log: it is in no object, and asking for one asks for names at
//! or below it. All fences are inclusive. `aggr` changes nothing, for there are no rows by time. Without a type, and with
//! `ANY`, types that exist for DNSSEC only are left out.
//!
//! An error is one line of text, for that is what these clients show.

mod flex;
mod saf;

use std::sync::LazyLock;

use hyper::StatusCode;
use serde_json::json;
use warp::reply::Response;

use self::flex::Side;
use self::saf::{Framing, SafRows, Summary};
use super::State;
use super::answer::{Ended, Gathered, answer, as_of, gather};
use super::error::ApiError;
use super::machine;
use super::request::Request;
use crate::base::clock::now;
use crate::dns::{Name, RrType, name_from_wire, rdata_from_wire};
use crate::lookup::{
    End, Filters, Found, Limits, Query, Search, Types, parse_bool, refuse_nothing, understood,
};

/// Rows of an answer when no limit is given.
const DEFAULT_LIMIT: u64 = 10_000;
/// Rows that can be skipped.
const MAX_OFFSET: u64 = 1_000_000;

/// The version of the API that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Bare lines.
    V1,
    /// Lines in a frame.
    V2,
}

/// Answers a path of the API; `path` is what follows its base.
pub async fn respond(
    state: State,
    request: Result<Request, ApiError>,
    version: Version,
    path: &[&str],
) -> Response {
    let answered = match request {
        Ok(mut request) => {
            // Some clients put a path behind the parameters: `limit=101/`.
            for (_, value) in &mut request.params {
                value.truncate(value.trim_end_matches('/').len());
            }
            route(state, request, version, path).await
        }
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| error.for_dnsdb().into_text("GET, HEAD"))
}

async fn route(
    state: State,
    request: Request,
    version: Version,
    path: &[&str],
) -> Result<Response, ApiError> {
    request.read_only()?;
    // The segments of the request are what follows the path that led here.
    let segments: Vec<&str> =
        path.iter().copied().chain(request.segments.iter().map(String::as_str)).collect();
    match (version, segments.as_slice()) {
        (Version::V2, ["ping"]) => Ok(machine::json(StatusCode::OK, &json!({"ping": "ok"}))),
        (Version::V2, ["rate_limit"]) | (Version::V1, ["lookup", "rate_limit"]) => {
            let results_max = state.0.config.max_limit;
            let rate = json!({
                "reset": "n/a", "limit": "unlimited", "remaining": "n/a",
                "results_max": results_max, "offset_max": MAX_OFFSET,
            });
            Ok(machine::json(StatusCode::OK, &json!({"rate": rate})))
        }
        (_, ["lookup", side, form, value @ ..]) => {
            let asked = Asked::parse(side, form, value)?;
            lookup(state, &request, version, asked).await
        }
        (_, ["summarize", side, form, value @ ..]) => {
            let asked = Asked::parse(side, form, value)?;
            summarize(state, &request, version, asked).await
        }
        (Version::V2, [method @ ("regex" | "glob"), "rrnames", pattern, rest @ ..]) => {
            flex::answer(state, &request, method, Side::Rrnames, pattern, rest).await
        }
        (Version::V2, [method @ ("regex" | "glob"), "rdata", pattern, rest @ ..]) => {
            flex::answer(state, &request, method, Side::Rdata, pattern, rest).await
        }
        _ => Err(ApiError::not_found()),
    }
}

//--- what is asked --------------------------------------------------------------------------------------------------

/// What a lookup or a summary asks for.
struct Asked {
    query: Query,
    types: Types,
    /// Only names at or below this.
    below: Option<Name>,
    /// By rrname rather than by rdata.
    rrset: bool,
}

impl Asked {
    fn parse(side: &str, form: &str, value: &[&str]) -> Result<Asked, ApiError> {
        let hint =
            "rrset/name, rrset/raw, rdata/name, rdata/ip or rdata/raw, a value, and at most a type behind it";
        let asked = |query, types| Asked { query, types, below: None, rrset: side == "rrset" };
        match (side, form, value) {
            ("rrset", "name", [name, rest @ ..]) if rest.len() <= 2 => {
                let below = rest.get(1).map(|bailiwick| below(bailiwick)).transpose()?;
                let query = narrowed(owner(name)?, below.as_ref());
                Ok(Asked { below, ..asked(query, types(rest.first())?) })
            }
            ("rrset", "raw", [raw, rest @ ..]) if rest.len() <= 1 => {
                let name = name_from_wire(&bytes(raw)?).ok_or_else(|| {
                    bad(
                        "not a name in wire form",
                        "length-prefixed labels and a zero, such as 03777777076578616d706c6503636f6d00",
                    )
                })?;
                Ok(asked(Query::Name(name), types(rest.first())?))
            }
            ("rdata", "name", [name, rest @ ..]) if rest.len() <= 1 => {
                Ok(asked(target(name)?, types(rest.first())?))
            }
            ("rdata", "ip", [address, length, rest @ ..])
                if rest.len() <= 1 && length.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(asked(addresses(&format!("{address}/{length}"))?, address_types(rest.first())?))
            }
            ("rdata", "ip", [address, rest @ ..]) if rest.len() <= 1 => {
                Ok(asked(addresses(address)?, address_types(rest.first())?))
            }
            ("rdata", "raw", [raw, rest @ ..]) if rest.len() <= 1 => {
                let types = types(rest.first())?;
                let rrtype = match &types {
                    Types::Of(types) => types.first().copied(),
                    _ => None,
                };
                let data = rdata_from_wire(&bytes(raw)?, rrtype);
                if data.is_empty() {
                    let hint = "an address, a name, MX, SRV or SOA data, or (with the type TXT) strings; of other types \
                                Zeek does not log the bytes";
                    return Err(bad("nothing like this is kept", hint));
                }
                Ok(asked(Query::Data(data), types))
            }
            _ => Err(bad("unknown lookup", hint)),
        }
    }

    /// The search for it.
    fn search(self, request: &Request, params: &Params) -> Result<Search, ApiError> {
        let filters = Filters {
            types: self.types,
            direct: request.direct(self.rrset)?,
            below: self.below,
            ..params.fences.clone()
        };
        Ok(Search { filters, merge_sensors: true, ..Search::new(self.query) })
    }
}

fn bad(message: impl Into<String>, hint: &str) -> ApiError {
    ApiError::bad_request("bad_query", message, hint)
}

/// An owner name, or one with a star at one end.
fn owner(text: &str) -> Result<Query, ApiError> {
    if let Some(query @ (Query::Name(_) | Query::Subtree(_))) = understood(text).map(|one| one.query) {
        return Ok(query);
    }
    refuse_nothing(text)?;
    match Query::parse(text)? {
        query @ (Query::Name(_) | Query::Subtree(_) | Query::Prefix(_)) => Ok(query),
        _ => exactly(text).map(Query::Name),
    }
}

/// A name as record data, or one with a star at one end.
fn target(text: &str) -> Result<Query, ApiError> {
    match understood(text).map(|one| one.query) {
        Some(Query::Name(name)) => return Ok(Query::Target(name)),
        Some(Query::Subtree(name)) => return Ok(Query::TargetSubtree(name)),
        _ => {}
    }
    refuse_nothing(text)?;
    match Query::parse(&format!("rdata:{text}"))? {
        query @ (Query::Target(_) | Query::TargetSubtree(_)) => Ok(query),
        query @ Query::Pattern(_) if text.ends_with(".*") => Ok(query),
        _ => exactly(text).map(Query::Target),
    }
}

/// Text that is a name whatever it looks like, such as an address; a star in it is none that stands for anything.
fn exactly(text: &str) -> Result<Name, ApiError> {
    let hint = "a name, *.name or name.*";
    if text.contains('*') {
        return Err(bad("a star stands for whole labels at one end", hint));
    }
    Name::parse(text).map_err(|error| bad(error.to_string(), hint))
}

/// A bailiwick, with or without a star in front.
fn below(text: &str) -> Result<Name, ApiError> {
    exactly(text.strip_prefix("*.").unwrap_or(text))
}

/// A subtree within another is walked there.
fn narrowed(query: Query, below: Option<&Name>) -> Query {
    match (query, below) {
        (Query::Subtree(name), Some(below)) if name.is_at_or_above(below) => Query::Subtree(below.clone()),
        (query, _) => query,
    }
}

fn addresses(text: &str) -> Result<Query, ApiError> {
    if let Some(query @ Query::Addresses(..)) = understood(text).map(|one| one.query) {
        return Ok(query);
    }
    match Query::parse(text)? {
        query @ Query::Addresses(..) => Ok(query),
        _ => Err(bad("not an address", "192.0.2.7, 192.0.2.0,24, 192.0.2.3-192.0.2.9, or the same of IPv6")),
    }
}

fn types(text: Option<&&str>) -> Result<Types, ApiError> {
    Ok(text.map_or(Ok(Types::Any), |text| Types::parse(text))?)
}

/// The types that have addresses.
fn address_types(text: Option<&&str>) -> Result<Types, ApiError> {
    match types(text)? {
        types @ (Types::Any | Types::All) => Ok(types),
        Types::Of(types) if types.iter().all(|t| matches!(*t, RrType::A | RrType::AAAA)) => {
            Ok(Types::Of(types))
        }
        _ => Err(bad("no type of addresses", "A, AAAA or ANY")),
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, ApiError> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).map(|digit| digit as u8);
    let bytes = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>().ok_or_else(|| bad("not bytes", "an even number of hexadecimal digits"))
}

//--- parameters -----------------------------------------------------------------------------------------------------

/// The parameters that most endpoints have. Others are labels of clients.
struct Params {
    limit: u64,
    offset: u64,
    /// Times as RFC 3339.
    human: bool,
    /// The fences, and nothing else.
    fences: Filters,
}

impl Params {
    fn parse(request: &Request, config: &super::Config) -> Result<Params, ApiError> {
        let number = |key: &str| -> Result<Option<u64>, ApiError> {
            let bad = |_| bad(format!("{key} is not a number"), "0 or more");
            request.param(key).map(|text| text.parse().map_err(bad)).transpose()
        };
        let limit = match number("limit")? {
            None => DEFAULT_LIMIT,
            Some(0) => u64::MAX,
            Some(limit) => limit,
        };
        let offset = number("offset")?.unwrap_or(0);
        if offset > MAX_OFFSET {
            return Err(ApiError::bad_range(format!("offset is at most {MAX_OFFSET}")));
        }
        flag(request, "aggr")?;
        let now = now();
        let fence = |key: &str| request.param(key).map(|text| fence(key, text, now)).transpose();
        let fences = Filters {
            first_before: fence("time_first_before")?,
            first_after: fence("time_first_after")?,
            last_before: fence("time_last_before")?,
            last_after: fence("time_last_after")?,
            ..Filters::default()
        };
        let human = flag(request, "humantime")?.unwrap_or(false);
        Ok(Params { limit: limit.min(config.max_limit), offset, human, fences })
    }
}

fn flag(request: &Request, key: &str) -> Result<Option<bool>, ApiError> {
    Ok(request.param(key).map(parse_bool).transpose()?)
}

/// Epoch seconds, or so many seconds before now where it is negative.
fn fence(key: &str, text: &str, now: u64) -> Result<u64, ApiError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|digits| digits.parse::<u64>().ok()) {
        Some(age) if digits.len() < text.len() => Ok(now.saturating_sub(age)),
        Some(time) => Ok(time),
        None => Err(bad(
            format!("{key} is not a time"),
            "epoch seconds, or a negative number of seconds before now",
        )),
    }
}

//--- answers --------------------------------------------------------------------------------------------------------

async fn lookup(
    state: State,
    request: &Request,
    version: Version,
    asked: Asked,
) -> Result<Response, ApiError> {
    let params = Params::parse(request, &state.0.config)?;
    let rrset = asked.rrset;
    let search = asked.search(request, &params)?;
    let rows = params.offset.saturating_add(params.limit);
    let limits = Limits { rows, examined: state.0.config.scan_rows };
    let as_of = as_of(&state);
    let shape = SafRows {
        framing: Framing(version),
        // Version 1 has a string for data that was asked for.
        array: rrset || version == Version::V2,
        human: params.human,
        skip: params.offset,
    };
    answer(&state, search, limits, None, as_of, shape).await
}

async fn summarize(
    state: State,
    request: &Request,
    version: Version,
    asked: Asked,
) -> Result<Response, ApiError> {
    let params = Params::parse(request, &state.0.config)?;
    let max_count = match request.param("max_count") {
        None => u64::MAX,
        Some(text) => text.parse().map_err(|_| bad("max_count is not a number", "1 or more"))?,
    };
    let search = asked.search(request, &params)?;
    let limits = Limits { rows: u64::MAX, examined: state.0.config.scan_rows };
    let as_of = as_of(&state);
    let visit = move |summary: &mut Summary, found: &Found<'_>| {
        summary.add(&found.seen);
        summary.count() < max_count
    };
    let Gathered { value, ended, examined } =
        gather(&state, search, limits, None, Summary::default(), visit).await?;
    if version == Version::V1 && value.is_empty() && ended == Ended::Answer(End::Complete) {
        return Err(NOTHING.clone().true_of(as_of));
    }
    let mut out = Vec::new();
    let framing = Framing(version);
    framing.begin(&mut out);
    framing.object(&value.object(params.human), &mut out);
    match ended {
        // The client asked to stop there.
        Ended::Enough => framing.succeeded(&mut out),
        ended => framing.ended(&ended, examined, &mut out)?,
    }
    Ok(framing.response(out, as_of))
}

/// The error of version 1 where nothing is found, as it always was.
static NOTHING: LazyLock<ApiError> = LazyLock::new(|| ApiError::nothing_found("no results found for query."));
