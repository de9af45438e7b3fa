//! Which path leads where.

use std::convert::Infallible;
use std::future::{Future, ready};

use warp::reply::Response;
use warp::{Filter, Reply};

use super::dnsdb::Version;
use super::error::ApiError;
use super::guard::{Asker, Door};
use super::request::{Request, request};
use super::{
    State, bulk, changes, circl, control, dnsdb, evidence, hits, hunt, machine, metrics, names, native, new,
    page, recipe, zeek_pdns,
};

/// All routes of a door, as one filter that always answers.
pub fn routes(
    state: State,
    door: Door,
) -> impl Filter<Extract = (impl Reply + use<>,), Error = Infallible> + Clone {
    let state = warp::ext::optional::<Asker>()
        .map(move |asker: Option<Asker>| state.asked_by(asker.unwrap_or_default()));
    let asked = state.clone().and(request()).then(of_part).untuple_one().boxed();
    let dns = warp::path("dns")
        .and(asked.clone())
        .then(|state, request| read(request, |request| names(state, request)));
    let pdns = warp::path("pdns")
        .and(warp::path("query"))
        .or(warp::path("passivedns"))
        .unify()
        .and(asked.clone())
        .then(|state, request| read(request, |request| circl::circl(state, request)));
    let query = warp::path("query")
        .and(asked.clone())
        .then(|state, request| read(request, |request| circl::query(state, request)));
    let passive_ssl = warp::path("v2pssl")
        .and(warp::path("query"))
        .and(asked.clone())
        .then(|_, request| read(request, |request| ready(circl::passive_ssl(&request))));
    let fquery = warp::path("fquery")
        .and(asked.clone())
        .then(|state, request| read(request, |request| circl::full_query(state, request)));
    let info = warp::path("info")
        .and(asked.clone())
        .then(|state, request| read(request, |request| circl::info(state, request)));
    let dnsdb = warp::path("dnsdb")
        .and(warp::path("v2"))
        .and(asked.clone())
        .then(|state, request| dnsdb::respond(state, request, Version::V2, &[]));
    let lookup = warp::path("lookup")
        .and(asked.clone())
        .then(|state, request| dnsdb::respond(state, request, Version::V1, &["lookup"]));
    let summarize = warp::path("summarize")
        .and(asked.clone())
        .then(|state, request| dnsdb::respond(state, request, Version::V1, &["summarize"]));
    let bulk = warp::path!("api" / "v1" / "lookup")
        .and(asked.clone())
        .and(warp::body::stream())
        .then(|state, request, body| write(request, |request| bulk::lookup(state, request, Box::pin(body))));
    let hunt = warp::path!("api" / "v1" / "hunt")
        .and(asked.clone())
        .and(warp::body::stream())
        .then(|state, request, body| write(request, |request| hunt::hunt(state, request, Box::pin(body))));
    let acknowledge = warp::path!("api" / "v1" / "hits" / "acknowledge")
        .and(asked.clone())
        .then(|state, request| write(request, |request| hits::acknowledge(state, request)));
    let api = warp::path("api")
        .and(warp::path("v1"))
        .and(asked.clone())
        .then(|state, request| read(request, |request| api(state, request)));
    let health = warp::path("healthz")
        .and(asked.clone())
        .then(|_, request| read(request, |request| ready(machine::health(&request))));
    let readiness = warp::path("readyz")
        .and(asked.clone())
        .then(|state, request| read(request, move |request| ready(machine::ready(&state, &request))));
    let home =
        warp::path::end().and(asked.clone()).then(|state, request| shown(state, request, page::search));
    let name = warp::path("name").and(asked.clone()).then(|state, request| shown(state, request, page::name));
    let address =
        warp::path("address").and(asked.clone()).then(|state, request| shown(state, request, page::address));
    let lines = warp::path("evidence")
        .and(asked.clone())
        .then(|state, request| shown(state, request, page::evidence));
    let hits =
        warp::path("hits").and(asked.clone()).and(warp::body::stream()).then(|state, request, body| {
            shown(state, request, |state, request| page::hits(state, request, Box::pin(body)))
        });
    let status =
        warp::path("status").and(asked.clone()).then(|state, request| shown(state, request, page::status));
    let list =
        warp::path("list").and(asked.clone()).and(warp::body::stream()).then(|state, request, body| {
            shown(state, request, |state, request| page::list(state, request, Box::pin(body)))
        });
    let assets = warp::path("assets")
        .and(asked.clone())
        .then(|_, request| read(request, |request| ready(page::asset(&request))));
    let pages = home
        .or(name)
        .unify()
        .or(address)
        .unify()
        .or(list)
        .unify()
        .or(status)
        .unify()
        .or(lines)
        .unify()
        .or(hits)
        .unify()
        .or(assets)
        .unify();
    let metrics = warp::path("metrics")
        .and(asked.clone())
        .then(|state, request| read(request, |request| metrics::respond(state, request)));
    let openapi = warp::path("openapi.json")
        .and(asked.clone())
        .then(|_, request| read(request, |request| ready(machine::openapi(&request))));
    let owner = warp::any().and_then(move || async move {
        if door == Door::Control { Ok(()) } else { Err(warp::reject::not_found()) }
    });
    let owner = warp::path("control").and(owner).untuple_one();
    let import = owner.and(warp::path("import")).and(asked.clone()).and(warp::body::stream());
    let import = import.then(|state, request, body| {
        write(request, |request| control::import(state, request, Box::pin(body)))
    });
    let export = owner
        .and(warp::path("export"))
        .and(asked.clone())
        .then(|state, request| read(request, |request| native::export(state, request)));
    let evidence = owner
        .and(warp::path("evidence"))
        .and(asked.clone())
        .then(|state, request| read(request, move |request| ready(evidence::respond(&state, &request))));
    let control =
        owner.and(asked.clone()).then(|state, request| write(request, |request| controlled(state, request)));
    // A box around each group keeps the types small: the time that rustc takes for one grows exponentially with its depth.
    let recipe = dns.boxed();
    let cof = pdns.or(query).unify().or(fquery).unify().or(info).unify().or(passive_ssl).unify().boxed();
    let dnsdb = dnsdb.or(lookup).unify().or(summarize).unify().boxed();
    let native = bulk.or(hunt).unify().or(acknowledge).unify().or(api).unify().or(openapi).unify().boxed();
    let machine = health.or(readiness).unify().or(metrics).unify().boxed();
    let control = import.or(export).unify().or(evidence).unify().or(control).unify().boxed();
    let pages = pages.boxed();
    let found = recipe.or(native).unify().or(cof).unify().or(dnsdb).unify().boxed();
    let found = found.or(pages).unify().or(machine).unify().or(control).unify().boxed();
    let nothing =
        asked.then(|_, request| read(request, |_| ready(Err::<Response, _>(ApiError::not_found())))).boxed();
    found
        .or(nothing)
        .unify()
        .recover(|_| async { Ok::<_, Infallible>(ApiError::not_found().into_response("")) })
}

/// Finds what can be asked, where the request is content with that.
async fn of_part(state: State, request: Result<Request, ApiError>) -> (State, Result<Request, ApiError>) {
    let wants_part = request.as_ref().map_or(Ok(false), Request::is_partial);
    match wants_part {
        Ok(false) => (state, request),
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
