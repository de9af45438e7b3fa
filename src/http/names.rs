//! `/api/v1/names/{rrname}` and `/api/v1/seen/{value}`: was this name ever asked for, and how did that end?
//!
//! ```json
//! {"as_of": "...", "rrname": "www.example.com", "asked": true, "count": 3, "time_first": 1767323045,
//!  "time_last": 1772600767, "outcomes": {"answered": 2, "nxdomain": 1, ...},
//!  "questions": [{"qtype": "A", "sensor": "lan", "count": 3, "time_first": ..., "time_last": ..., "outcomes": {...}}]}
//! ```
//!
//! A name that was never asked for is an answer, too: `asked` is false and the times are null. What it resolved to is at
//! `/api/v1/records`. The filters `type` and `sensor` leave out questions.
//!
//! `seen` sums up all that is known of a name, an address or a block in one object, for clients that want a yes or a no, and is
//! 404 for what was neither seen nor asked for. Of a name it also says whether there is something below it.

use hyper::StatusCode;
use serde::{Serialize, Serializer};
use tokio::time::Instant;
use warp::reply::Response;

use super::State;
use super::answer::{Ended, Gathered, as_of, gather, in_time, place_for};
use super::error::ApiError;
use super::headers::say_fresh;
use super::machine::json;
use super::native::known_filters;
use super::request::Request;
use crate::base::time::format_utc;
use crate::dns::{Name, RrType, name_of_address, other_form};
use crate::lookup::{self, End, Filters, Found, Indicator, Limits, Query, Search, maybe_meant};
use crate::observation::{Asked, Outcome, Seen};
use crate::output::summary::Below;
use crate::status::Freshness;
use crate::store::{Scan, StoreError};

/// Answers `/api/v1/names/{rrname}`.
///
/// # Errors
///
/// 400 when it is no name, or a filter has no meaning; else as any lookup.
pub async fn name(state: State, request: Request, rrname: &str) -> Result<Response, ApiError> {
    request.read_only()?;
    let Query::Name(rrname) = Indicator::read(rrname)?.query else {
        let hint = "a name as it is shown, such as www.example.com; /api/v1/records?q= takes other queries";
        return Err(ApiError::bad_request("bad_query", "this is not a name", hint));
    };
    request.only(&[])?;
    let filters = known_filters(&state, &request)?;
    let as_of = as_of(&state);
    let place = place_for(&state, false).await?;
    let ledger = state.snapshot();
    let names = [Some(rrname.clone()), other_form(&rrname)];
    let work = move || {
        let _place = place;
        let mut questions = Vec::new();
        for name in names.into_iter().flatten() {
            for question in ledger.questions(&Scan::Name(name))? {
                questions.push(question?);
            }
        }
        Ok::<_, StoreError>(questions)
    };
    let questions = in_time(Instant::now() + state.0.config.request_timeout, work).await??;
    let mut all = Asked::default();
    let mut shown = Vec::new();
    for question in questions.iter().filter(|question| filters.wants_question(question)) {
        // Of a domain: what was asked of names below it is not of its own.
        if question.qtype != RrType::FOLDED {
            all.merge(&question.asked);
        }
        let (qtype, sensor) = (question.qtype.to_string(), question.sensor.to_string());
        shown.push(OneQuestion {
            qtype,
            sensor,
            folded_names: question.names,
            asked: Figures::from(&question.asked),
        });
    }
    let asked = all.count() > 0;
    let document = Document {
        fresh: &as_of,
        rrname: rrname.to_string(),
        asked,
        all: Figures::from(&all),
        questions: shown,
    };
    let mut response = json(StatusCode::OK, &document);
    say_fresh(response.headers_mut(), &as_of);
    Ok(response)
}

/// Answers `/api/v1/seen/{value}`: all that is known of a name, an address or a block, in one object.
///
/// # Errors
///
/// 404 when it was neither seen nor asked for; 400 when it is none of these, or a filter has no meaning; else as any lookup.
pub async fn seen(state: State, request: Request, value: &str) -> Result<Response, ApiError> {
    request.read_only()?;
    request.only(&[])?;
    let filters = Filters { limit: None, ..known_filters(&state, &request)? };
    let is_filtered = filters != Filters::default();
    let as_of = as_of(&state);
    let Indicator { query, asked: value, .. } = Indicator::read(value)?;
    // An address may be asked for as a name, too.
    let (query, names, kind) = match query {
        Query::Addresses(first, last) if first == last => {
            (query, name_of_address(first).into_iter().collect(), "address")
        }
        Query::Addresses(..) => (query, vec![], "addresses"),
        Query::Name(name) => (Query::Either(name.clone()), vec![name], "name"),
        Query::Several(ref parts) if parts.iter().all(|part| !matches!(part, Query::Subtree(_))) => {
            let names: Vec<Name> = query.names().cloned().collect();
            let kind = match (names.len(), parts.len()) {
                (1, 2) => "pair",
                (0, _) => "addresses",
                (many, of) if many == of => "names",
                _ => "several",
            };
            (query, names, kind)
        }
        _ => {
            let hint = "a name, an address or a block, such as www.example.com; /api/v1/records?q= takes other queries";
            return Err(ApiError::bad_request("bad_query", "this is neither a name nor an address", hint));
        }
    };
    let value = if kind == "name" { names.first().map_or(value, ToString::to_string) } else { value };
    let search =
        Search { filters: filters.clone(), merge_sensors: true, pointing: true, ..Search::new(query) }
            .in_all_forms();
    let limits = Limits { rows: u64::MAX, examined: state.0.config.scan_rows };
    let forms: Vec<Name> =
        names.iter().flat_map(|name| [Some(name.clone()), other_form(name)]).flatten().collect();
    let own = forms.clone();
    let visit = move |(owned, pointing): &mut (Sightings, Sightings), found: &Found<'_>| {
        let is_own = own.contains(&found.entry.tuple.rrname);
        let side = if is_own { owned } else { pointing };
        side.add(&found.seen);
        true
    };
    let Gathered { value: (owned, pointing), ended, .. } =
        gather(&state, search, limits, None, Default::default(), visit).await?;
    let (asked, below) = asked_for(&state, names, forms, filters).await?;
    if owned.rows + pointing.rows + asked.count() == 0 {
        let within = if is_filtered { " within these filters" } else { "" };
        let nothing = match state.0.ledger.expired_before() {
            0 => format!("neither seen nor asked for{within}"),
            before => format!(
                "neither seen nor asked for{within} since {} UTC, and nothing is kept from before",
                format_utc(before)
            ),
        };
        return Err(match (ended, below) {
            (Ended::Answer(End::Complete), None) => {
                let error = ApiError::nothing_found(nothing).true_of(as_of);
                maybe_meant(&value).into_iter().fold(error, ApiError::hint)
            }
            (Ended::Answer(End::Complete), Some(below)) => {
                let message = format!("{nothing}, but {}", below.in_words());
                let hint = format!("/api/v1/records?questions=true&q={}", below.query);
                ApiError::nothing_found(message).hint(hint).true_of(as_of)
            }
            // What was not looked at may hold it.
            _ => ApiError::timeout(),
        });
    }
    let mut all = owned.seen;
    all.merge(&pointing.seen);
    let document = SightingsAnswer {
        fresh: &as_of,
        value,
        kind,
        complete: ended == Ended::Answer(End::Complete),
        seen: owned.rows + pointing.rows > 0,
        count: all.count,
        time_first: (all.count > 0).then_some(all.time_first),
        time_last: (all.count > 0).then_some(all.time_last),
        rows_as_rrname: owned.rows,
        rows_as_rdata: pointing.rows,
        asked: asked.count() > 0,
        questions: Figures::from(&asked),
        below,
    };
    let mut response = json(StatusCode::OK, &document);
    say_fresh(response.headers_mut(), &as_of);
    Ok(response)
}

/// How names were asked for in all of their forms, all types and sensors together, and what there is below them.
async fn asked_for(
    state: &State,
    names: Vec<Name>,
    forms: Vec<Name>,
    filters: Filters,
) -> Result<(Asked, Option<Below>), ApiError> {
    let place = place_for(state, false).await?;
    let ledger = state.snapshot();
    let work = move || {
        let _place = place;
        let mut all = Asked::default();
        for name in forms {
            for question in ledger.questions(&Scan::Name(name))? {
                let question = question?;
                // Of a domain: what was asked of names below it is not of its own.
                if question.qtype != RrType::FOLDED && filters.wants_question(&question) {
                    all.merge(&question.asked);
                }
            }
        }
        for name in names {
            if let Some(below) = lookup::Below::of(&*ledger, &name, &filters)? {
                return Ok((all, Some(Below::from(&below))));
            }
        }
        Ok::<_, ApiError>((all, None))
    };
    in_time(Instant::now() + state.0.config.request_timeout, work).await?
}

/// Rows, and what was seen in all of them.
#[derive(Default)]
struct Sightings {
    rows: u64,
    seen: Seen,
}

impl Sightings {
    fn add(&mut self, seen: &Seen) {
        self.seen.merge(seen);
        self.rows += 1;
    }
}

#[derive(Serialize)]
struct SightingsAnswer<'a> {
    #[serde(flatten)]
    fresh: &'a Freshness,
    value: String,
    kind: &'static str,
    /// Whether all rows were looked at.
    complete: bool,
    seen: bool,
    count: u64,
    time_first: Option<u64>,
    time_last: Option<u64>,
    rows_as_rrname: u64,
    rows_as_rdata: u64,
    asked: bool,
    questions: Figures,
    /// What there is below it, where a name was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Below>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    fresh: &'a Freshness,
    rrname: String,
    asked: bool,
    #[serde(flatten)]
    all: Figures,
    questions: Vec<OneQuestion>,
}

#[derive(Serialize)]
struct OneQuestion {
    qtype: String,
    sensor: String,
    /// Of a question that stands for those of names which were folded (FOLDED): how many names, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    folded_names: Option<u64>,
    #[serde(flatten)]
    asked: Figures,
}

#[derive(Serialize)]
struct Figures {
    count: u64,
    time_first: Option<u64>,
    time_last: Option<u64>,
    outcomes: Outcomes,
}

impl From<&Asked> for Figures {
    fn from(asked: &Asked) -> Figures {
        let count = asked.count();
        let when = |time| Some(time).filter(|_| count > 0);
        Figures {
            count,
            time_first: when(asked.time_first),
            time_last: when(asked.time_last),
            outcomes: Outcomes(*asked),
        }
    }
}

/// All outcomes by name, those that never came about included.
struct Outcomes(Asked);

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Outcome::ALL.iter().map(|outcome| (outcome.name(), self.0.outcome(*outcome))))
    }
}
