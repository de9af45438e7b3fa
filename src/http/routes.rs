//! Which path leads where.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;

use bytes::{Buf, Bytes};
use futures_util::{Stream, TryStreamExt};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::dnsdb::Version;
use super::error::ApiError;
use super::guard::{Asker, Door};
use super::request::{Head, Request, head};
use super::{
    State, bulk, changes, circl, control, dnsdb, evidence, hits, hunt, machine, metrics, names, native, new,
    page, recipe, zeek_pdns,
};

/// The body of a request.
type Body = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// The groups of paths that are answered alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Home,
    Dns,
    Circl,
    Query,
    PassiveSsl,
    FullQuery,
    Info,
    DnsdbV2,
    DnsdbLookup,
    DnsdbSummarize,
    Bulk,
    Hunt,
    Acknowledge,
    Api,
    Openapi,
    Health,
    Ready,
    Metrics,
    Name,
    Address,
    Evidence,
    Hits,
    Status,
    List,
    Assets,
    Import,
    Export,
    OwnersEvidence,
    Control,
    Nothing,
}

impl Route {
    /// Whether nothing may follow its prefix.
    fn is_whole(self) -> bool {
        matches!(self, Route::Home | Route::Bulk | Route::Hunt | Route::Acknowledge)
    }

    /// Whether only the owner of the ledger has it.
    fn is_owners(self) -> bool {
        matches!(self, Route::Import | Route::Export | Route::OwnersEvidence | Route::Control)
    }
}

/// The prefixes of paths, in whole segments. The first that fits counts.
const ROUTES: &[(&str, Route)] = &[
    ("dns", Route::Dns),
    ("api/v1/lookup", Route::Bulk),
    ("api/v1/hunt", Route::Hunt),
    ("api/v1/hits/acknowledge", Route::Acknowledge),
    ("api/v1", Route::Api),
    ("pdns/query", Route::Circl),
    ("passivedns", Route::Circl),
    ("query", Route::Query),
    ("v2pssl/query", Route::PassiveSsl),
    ("fquery", Route::FullQuery),
    ("info", Route::Info),
    ("dnsdb/v2", Route::DnsdbV2),
    ("lookup", Route::DnsdbLookup),
    ("summarize", Route::DnsdbSummarize),
    ("", Route::Home),
    ("name", Route::Name),
    ("address", Route::Address),
    ("evidence", Route::Evidence),
    ("hits", Route::Hits),
    ("status", Route::Status),
    ("list", Route::List),
    ("assets", Route::Assets),
    ("healthz", Route::Health),
    ("readyz", Route::Ready),
    ("metrics", Route::Metrics),
    ("openapi.json", Route::Openapi),
    ("control/import", Route::Import),
    ("control/export", Route::Export),
    ("control/evidence", Route::OwnersEvidence),
    ("control", Route::Control),
];

/// Where a path leads, and what of it follows the prefix. Prefixes are compared as they were sent: an encoded one is another path, for
/// the guard as well.
fn route_of(path: &str, door: Door) -> (Route, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let fits = |(prefix, route): &(&str, Route)| {
        let rest = path.strip_prefix(prefix)?;
        let tail = if prefix.is_empty() || rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        (!route.is_whole() || tail.is_empty()).then_some((*route, tail))
    };
    let found = ROUTES.iter().find_map(fits);
    found.filter(|(route, _)| door == Door::Control || !route.is_owners()).unwrap_or((Route::Nothing, path))
}

/// All routes of a door, as one filter that always answers.
pub fn routes(
    state: State,
    door: Door,
) -> impl Filter<Extract = (impl Reply + use<>,), Error = Infallible> + Clone {
    warp::ext::optional::<Asker>()
        .and(head())
        .and(warp::body::stream())
        .then(move |asker: Option<Asker>, head, body| {
            let state = state.asked_by(asker.unwrap_or_default());
            respond(state, door, head, sent(body))
        })
        .recover(|_| async { Ok::<_, Infallible>(ApiError::not_found().into_response("")) })
}

fn sent<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static) -> Body {
    Box::pin(body.map_ok(|mut part| part.copy_to_bytes(part.remaining())))
}

async fn respond(state: State, door: Door, head: Head, body: Body) -> Response {
    let Head { method, path, query, headers } = head;
    let (route, tail) = route_of(path.as_str(), door);
    let (state, request) = of_part(state, Request::parse(method, tail, &query, headers)).await;
    // Each in a box of its own: together they would take as much as the largest, for each request.
    let answer: Pin<Box<dyn Future<Output = Response> + Send>> = match route {
        Route::Home => Box::pin(shown(state, request, page::search)),
        Route::Dns => Box::pin(read(request, |request| names(state, request))),
        Route::Circl => Box::pin(read(request, |request| circl::circl(state, request))),
        Route::Query => Box::pin(read(request, |request| circl::query(state, request))),
        Route::PassiveSsl => Box::pin(read(request, |request| ready(circl::passive_ssl(&request)))),
        Route::FullQuery => Box::pin(read(request, |request| circl::full_query(state, request))),
        Route::Info => Box::pin(read(request, |request| circl::info(state, request))),
        Route::DnsdbV2 => Box::pin(dnsdb::respond(state, request, Version::V2, &[])),
        Route::DnsdbLookup => Box::pin(dnsdb::respond(state, request, Version::V1, &["lookup"])),
        Route::DnsdbSummarize => Box::pin(dnsdb::respond(state, request, Version::V1, &["summarize"])),
        Route::Bulk => Box::pin(write(request, |request| bulk::lookup(state, request, body))),
        Route::Hunt => Box::pin(write(request, |request| hunt::hunt(state, request, body))),
        Route::Acknowledge => Box::pin(write(request, |request| hits::acknowledge(state, request))),
        Route::Api => Box::pin(read(request, |request| api(state, request))),
        Route::Openapi => Box::pin(read(request, |request| ready(machine::openapi(&request)))),
        Route::Health => Box::pin(read(request, |request| ready(machine::health(&request)))),
        Route::Ready => Box::pin(read(request, move |request| ready(machine::ready(&state, &request)))),
        Route::Metrics => Box::pin(read(request, |request| metrics::respond(state, request))),
        Route::Name => Box::pin(shown(state, request, page::name)),
        Route::Address => Box::pin(shown(state, request, page::address)),
        Route::Evidence => Box::pin(shown(state, request, page::evidence)),
        Route::Hits => Box::pin(shown(state, request, |state, request| page::hits(state, request, body))),
        Route::Status => Box::pin(shown(state, request, page::status)),
        Route::List => Box::pin(shown(state, request, |state, request| page::list(state, request, body))),
        Route::Assets => Box::pin(read(request, |request| ready(page::asset(&request)))),
        Route::Import => Box::pin(write(request, |request| control::import(state, request, body))),
        Route::Export => Box::pin(read(request, |request| native::export(state, request))),
        Route::OwnersEvidence => {
            Box::pin(read(request, move |request| ready(evidence::respond(&state, &request))))
        }
        Route::Control => Box::pin(write(request, |request| controlled(state, request))),
        Route::Nothing => Box::pin(read(request, |_| ready(Err::<Response, _>(ApiError::not_found())))),
    };
    answer.await
}

/// Finds what can be asked, where the request is content with that.
async fn of_part(state: State, request: Result<Request, ApiError>) -> (State, Result<Request, ApiError>) {
    let wants_part = request.as_ref().map_or(Ok(false), Request::is_partial);
    match wants_part {
        Ok(false) => (state.begun(), request),
        Ok(true) => match state.clone().partial().await {
            Ok(state) => (state, request),
            Err(error) => (state, Err(error)),
        },
        Err(error) => (state, Err(error)),
    }
}

/// What is below `/dns`: zeek-pdns' paths have three segments there, the recipe's one or two.
async fn names(state: State, request: Request) -> Result<Response, ApiError> {
    match request.segments.as_slice() {
        [how, form, q] if form == "tuples" => {
            let (how, q) = (how.clone(), q.clone());
            zeek_pdns::tuples(state, request, &how, &q).await
        }
        [how, form, q] if form == "individual" => {
            let (how, q) = (how.clone(), q.clone());
            zeek_pdns::individual(state, request, &how, &q).await
        }
        _ => recipe::records(state, request).await,
    }
}

/// What is below `/control` and has no body.
async fn controlled(state: State, mut request: Request) -> Result<Response, ApiError> {
    let segments = std::mem::take(&mut request.segments);
    match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["flush"] => control::flush(state, request).await,
        ["not-read"] => control::not_read(&state, &request),
        ["watch"] => hits::watch(state, request).await,
        ["verify"] => control::verify(&state, &request),
        ["expire"] => control::expire(&state, &request, false),
        ["expire", "forecast"] => control::expire(&state, &request, true),
        ["snapshot"] => control::snapshot(&state, &request),
        ["changes"] => changes::changes(&state, &request),
        ["delivering"] => changes::delivering(&state, &request),
        ["forwarding"] => changes::forwarding(&state, &request),
        _ => Err(ApiError::not_found()),
    }
}

/// What is below `/api/v1`.
async fn api(state: State, mut request: Request) -> Result<Response, ApiError> {
    let segments = std::mem::take(&mut request.segments);
    match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["records"] => native::records(state, request).await,
        ["export"] => native::export(state, request).await,
        ["status"] => machine::status(state, request).await,
        ["new"] => new::respond(state, request).await,
        ["hits"] => hits::hits(state, request).await,
        ["hits", "stream"] => hits::stream(state, &request),
        ["feeds"] => hits::feeds(state, request).await,
        ["evidence"] => evidence::respond(&state, &request),
        ["names", rrname @ ..] if !rrname.is_empty() => names::name(state, request, &rrname.join("/")).await,
        // A URL and a block have slashes in them.
        ["seen", value @ ..] if !value.is_empty() => names::seen(state, request, &value.join("/")).await,
        _ => Err(ApiError::not_found()),
    }
}

/// Answers a person: errors are pages too, but for those of a URL that is no text.
async fn shown<F>(
    state: State,
    request: Result<Request, ApiError>,
    handle: impl FnOnce(State, Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    match request {
        Ok(request) => handle(state, request).await,
        Err(error) => error.into_response("GET, HEAD"),
    }
}

/// Answers at a path that is read.
async fn read<F>(request: Result<Request, ApiError>, handle: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Result<Response, ApiError>>,
{
    let is_browser =
        request.as_ref().is_ok_and(|request| page::is_of_a_browser(&request.method, &request.headers));
    answered(request, handle).await.unwrap_or_else(|error| page::told(error, is_browser, "GET, HEAD"))
}

/// Answers at a path that is written to.
async fn write<F>(request: Result<Request, ApiError>, handle: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Result<Response, ApiError>>,
{
    answered(request, handle).await.unwrap_or_else(|error| error.into_response("POST"))
}

async fn answered<F>(
    request: Result<Request, ApiError>,
    handle: impl FnOnce(Request) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<Response, ApiError>>,
{
    handle(request?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_where_its_first_segments_do() {
        let network = Door::Network { loopback: true };
        for (path, door, route, tail) in [
            ("/", network, Route::Home, ""),
            ("/dns/full/a", network, Route::Dns, "full/a"),
            ("/dns", network, Route::Dns, ""),
            ("/dnsx/a", network, Route::Nothing, "dnsx/a"),
            ("/%64ns/a", network, Route::Nothing, "%64ns/a"),
            ("/api/v1/lookup", network, Route::Bulk, ""),
            ("/api/v1/lookup/", network, Route::Bulk, ""),
            ("/api/v1/lookup/x", network, Route::Api, "lookup/x"),
            ("/api/v2/records", network, Route::Nothing, "api/v2/records"),
            ("/control/flush", network, Route::Nothing, "control/flush"),
            ("/control/flush", Door::Control, Route::Control, "flush"),
            ("/control/import", Door::Control, Route::Import, ""),
        ] {
            assert_eq!(route_of(path, door), (route, tail), "{path}");
        }
    }
}
