//! `/api/v1/status`, `/healthz`, `/readyz`: what the daemon says of itself.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use warp::reply::Response;

use super::State;
use super::answer::{as_of, format_millis, in_report};
use super::error::ApiError;
use super::headers::AS_OF;
use super::request::Request;
use super::{Delivering, Forwarding};
use crate::evidence::FiltersStatus;
use crate::status::{Freshness, SensorTime, Status};
use crate::store::{Expired, Folded, Growth, Stats};
use crate::watch::PullStatus;

/// The status with what is beside it: as of when, by which version, in which store.
#[derive(Debug, Serialize)]
pub struct Report {
    /// As of when, RFC 3339; absent where nothing is followed.
    as_of: Option<String>,
    /// The version of the program.
    version: &'static str,
    /// The version of the on-disk format.
    format: u32,
    store: StoreReport,
    /// How far the filters of logs are made; absent where no daemon makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<FiltersStatus>,
    /// How forwarding into a cluster goes, as `dnsledger forward` told last.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding: Option<Forwarding>,
    /// Where other ledgers feed this one: as of when it has what each sensor has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    sensors: Option<Vec<SensorTime>>,
    /// How delivery of hits goes, outlet by outlet, as `dnsledger deliver` told last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delivering: Vec<Delivering>,
    /// How pulling feeds goes, as `dnsledger feeds pull` noted last; of those that are pulled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pulls: Vec<PullReport>,
    #[serde(flatten)]
    status: Status,
}

/// How pulling a feed goes.
#[derive(Debug, Serialize)]
struct PullReport {
    feed: String,
    #[serde(flatten)]
    pull: PullStatus,
}

/// The figures of the store.
#[derive(Debug, Serialize)]
struct StoreReport {
    rows: u64,
    pending_rows: u64,
    runs: u64,
    disk_bytes: u64,
    /// Of `disk_bytes`: ledgers that readers hold, which go with them.
    held_bytes: u64,
    live_bytes: u64,
    missing_logs: u64,
    /// The most bytes on disk; absent where there is no bound.
    max_disk: Option<u64>,
    expired: Expired,
    /// What was folded, and what was dropped for room.
    folded: Folded,
    /// The domains that grow most.
    growth: Vec<Growth>,
    /// While the first sightings of domains are made of older rows: how many of these were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sightings: Option<u64>,
}

/// Puts a report together.
pub fn report(status: Status, stats: &Stats) -> Report {
    Report {
        as_of: status.as_of_ms.map(format_millis),
        version: env!("CARGO_PKG_VERSION"),
        format: stats.format,
        store: StoreReport {
            rows: stats.rows,
            pending_rows: stats.pending_rows,
            runs: stats.runs,
            disk_bytes: stats.disk_bytes,
            held_bytes: stats.held_bytes,
            live_bytes: stats.live_bytes,
            missing_logs: stats.missing_logs,
            max_disk: stats.max_disk,
            expired: stats.expired,
            folded: stats.folded,
            growth: stats.growth.clone(),
            first_sightings: stats.first_sightings,
        },
        evidence: None,
        forwarding: None,
        sensors: None,
        delivering: Vec::new(),
        pulls: Vec::new(),
        status,
    }
}

impl Report {
    /// The same of a store that other ledgers feed.
    pub fn with_fed(mut self, fed: Freshness) -> Report {
        self.status.caught_up = fed.incomplete.is_empty();
        self.status.incomplete = fed.incomplete;
        Report { as_of: fed.as_of, sensors: fed.sensors, ..self }
    }

    /// The same with how far the filters of logs are made, and with how forwarding, delivery and pulling go, where somebody does so.
    fn with_more(self, state: &State) -> Report {
        let (forwarding, delivering) = (state.0.forwarding.lock().clone(), state.0.delivering.lock().clone());
        let feeds = state.watching().map(|watching| watching.feeds()).unwrap_or_default();
        let pulls =
            feeds.into_iter().filter_map(|feed| Some(PullReport { feed: feed.name, pull: feed.pull? }));
        let (evidence, pulls) = (Some(state.0.filters.status()), pulls.collect());
        Report { evidence, forwarding, delivering, pulls, ..self }
    }
}

/// Answers `/api/v1/status`.
///
/// # Errors
///
/// When the store cannot be read, or takes too long.
pub async fn status(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    exactly(&request, &[])?;
    request.only(&[])?;
    let work = |state: &State| {
        let report = report(state.0.ingest.status()?, &state.0.ledger.stats()?);
        let report = match state.0.ledger.fed() {
            Some(_) => report.with_fed(as_of(state)),
            None => report,
        };
        Ok::<_, ApiError>(report.with_more(state))
    };
    let report = in_report(&state, work).await??;
    let mut response = json(StatusCode::OK, &report);
    if let Some(as_of) = report.as_of.as_deref().and_then(|as_of| HeaderValue::from_str(as_of).ok()) {
        response.headers_mut().insert(AS_OF, as_of);
    }
    Ok(response)
}

/// What all of this is, for machines (OpenAPI 3.1).
const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// Answers `/openapi.json`.
///
/// # Errors
///
/// For another method or a longer path.
pub fn openapi(request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    exactly(request, &[])?;
    let mut response = Response::new(OPENAPI.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Answers `/healthz`: the process runs and its event loop turns.
///
/// # Errors
///
/// For another method or a longer path.
pub fn health(request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    exactly(request, &[])?;
    Ok(json(StatusCode::OK, &Health { status: "ok", reason: None }))
}

/// Answers `/readyz`: whether the ledger takes what is read, and whether there is something to read; 503 with the reason while
/// it refuses, or while a source or its live log cannot be read. While archives are being read, or single ones cannot be, lookups
/// are worth their answer: that is 200, and `incomplete`.
///
/// # Errors
///
/// As [`health`].
pub fn ready(state: &State, request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    exactly(request, &[])?;
    Ok(match state.failing() {
        None => {
            let incomplete = as_of(state).incomplete;
            let is_failing = state.0.ingest.has_failing_source();
            let status = match (is_failing, incomplete.is_empty()) {
                (true, _) => "failing",
                (false, false) => "incomplete",
                (false, true) => "ok",
            };
            let code = if is_failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            let reason = (!incomplete.is_empty()).then(|| match state.1.is_known {
                true => incomplete.join(" "),
                false => match state.0.ledger.fed() {
                    Some(_) => "not all of the cluster, or of its sensors, is there".to_owned(),
                    None => "not all logs are read".to_owned(),
                },
            });
            json(code, &Health { status, reason })
        }
        // What failed has paths in it, which are nobody's business without a token.
        reason => {
            let reason = reason.map(|reason| if state.1.is_known { reason } else { without_paths(&reason) });
            json(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "failing", reason })
        }
    })
}

/// Why something failed as far as the system said, without what it was done to.
fn without_paths(reason: &str) -> String {
    // The engine tells an error of the system as its source code would: `Os { code: 28, …, message: "No space left" }`.
    let why = reason.rsplit(": ").next().unwrap_or_default().trim_matches(['"', ' ', '{', '}']);
    let why = if why.is_empty() || why.contains('/') { String::new() } else { format!(": {why}") };
    format!("the ledger cannot be written{why}")
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Refuses a path that goes on.
pub fn exactly(request: &Request, segments: &[&str]) -> Result<(), ApiError> {
    if request.segments == segments { Ok(()) } else { Err(ApiError::not_found()) }
}

/// One JSON document and a newline.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let mut body = match serde_json::to_vec(document) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "An answer cannot be written as JSON.");
            return ApiError::internal("the answer cannot be written as JSON").into_response("");
        }
    };
    body.push(b'\n');
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
