//! `/api/v1/names/{rrname}`: was this name ever asked for, and how did that end?
//!
//! ```json
//! {"as_of": "...", "rrname": "www.example.com", "asked": true, "count": 3, "time_first": 1767323045,
//!  "time_last": 1772600767, "outcomes": {"answered": 2, "nxdomain": 1, ...},
//!  "questions": [{"qtype": "A", "sensor": "lan", "count": 3, "time_first": ..., "time_last": ..., "outcomes": {...}}]}
//! ```
//!
//! A name that was never asked for is an answer, too: `asked` is false and the times are null. What it resolved to is at
//! `/api/v1/records`. The filters `type` and `sensor` leave out questions.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::{Serialize, Serializer};
use tokio::time::Instant;
use warp::reply::Response;

use super::State;
use super::answer::{AS_OF, as_of, in_time, place_for};
use super::error::ApiError;
use super::machine::json;
use super::request::Request;
use crate::lookup::Query;
use crate::observation::{Asked, Outcome};
use crate::store::{Question, Scan};

/// Answers `/api/v1/names/{rrname}`.
///
/// # Errors
///
/// 400 when it is no name, or a filter has no meaning; else as any lookup.
pub async fn name(state: State, request: Request, rrname: &str) -> Result<Response, ApiError> {
    request.read_only()?;
    let Query::Either(rrname) = Query::exact(rrname) else {
        let hint = "a name as it is shown, such as www.example.com; /api/v1/records?q= takes other queries";
        return Err(ApiError::bad_request("bad_query", "this is no name", hint));
    };
    let filters = request.filters()?;
    let as_of = as_of(&state);
    let place = place_for(&state, false).await?;
    let ledger = Arc::clone(&state.0.ledger);
    let scan = Scan::Name(rrname.clone());
    let work = move || {
        let _place = place;
        Ok::<_, ApiError>(ledger.view(&scan)?.questions()?)
    };
    let questions = in_time(Instant::now() + state.0.config.request_timeout, work).await??;
    let wanted = |question: &Question| {
        filters.types.contains(question.qtype)
            && filters.sensor.as_ref().is_none_or(|sensor| **sensor == *question.sensor)
    };
    let mut all = Asked::default();
    let mut shown = Vec::new();
    for question in questions.iter().filter(|question| wanted(question)) {
        all.merge(&question.asked);
        let (qtype, sensor) = (question.qtype.to_string(), question.sensor.to_string());
        shown.push(OneQuestion { qtype, sensor, asked: Figures::from(&question.asked) });
    }
    let asked = all.count() > 0;
    let document = Document {
        as_of: as_of.as_deref(),
        rrname: rrname.to_string(),
        asked,
        all: Figures::from(&all),
        questions: shown,
    };
    let mut response = json(StatusCode::OK, &document);
    if let Some(as_of) = as_of.as_deref().and_then(|as_of| HeaderValue::from_str(as_of).ok()) {
        response.headers_mut().insert(AS_OF, as_of);
    }
    Ok(response)
}

#[derive(Serialize)]
struct Document<'a> {
    as_of: Option<&'a str>,
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
