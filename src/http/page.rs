//! The page over HTTP: `/`, `/name/{name}`, `/address/{address}`, `/status` and `/assets/{file}`.
//!
//! What is served is made by [`crate::page`]; here are paths, headers and bounds. A page may load the style, the script and
//! the icon of this very origin and nothing else, and nothing inline. Assets have their content's hash in their URL, so a
//! browser keeps them for ever; pages are never kept.

use std::sync::PoisonError;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use warp::reply::Response;

use super::State;
use super::answer::{as_of, in_time, place_for, place_for_report, say_fresh};
use super::error::ApiError;
use super::request::Request;
use crate::base::clock::now;
use crate::dns::Name;
use crate::lookup::{Filters, Indicator, Query, Search};
use crate::page::{self, ASSETS, Standing, Trail, View};
use crate::status::Freshness;
use crate::status::history::INTERVAL;

/// What a page may load.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);
/// How long a page looks for rows. Then it shows what it has, says so, and leads on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes a sample of the readers every few seconds, for as long as the runtime lasts.
pub async fn watch(state: State) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = ticks.tick().await;
    loop {
        let now = ticks.tick().await;
        let pulse = state.0.ingest.pulse();
        let mut history = state.0.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(pulse, now.duration_since(before));
        before = now;
    }
}

/// Answers `/`: the first page, or what a query finds.
pub async fn search(state: State, request: Request) -> Response {
    let view = View::from_params(&request.params);
    let as_of = as_of(&state);
    match found(&state, &request, &view, Some(&as_of)).await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&view, error, Some(&as_of)),
    }
}

async fn found(
    state: &State,
    request: &Request,
    view: &View,
    as_of: Option<&Freshness>,
) -> Result<String, ApiError> {
    request.read_only()?;
    if view.q.is_empty() {
        let as_of = as_of.cloned();
        let place = place_for_report(state).await?;
        return blocking(state, move |state| {
            let _place = place;
            Ok(page::home_page(&state.0.ledger.stats()?, as_of.as_ref()))
        })
        .await;
    }
    let indicator = Indicator::read(&view.q)?;
    let query = indicator.query.clone();
    let mut filters = Filters::default();
    let now = now();
    for (key, value) in &view.filters {
        filters.set(key, value, now)?;
    }
    let pointing = matches!(query, Query::Name(_) | Query::Pair(..));
    let search = Search { query: query.clone(), filters, pointing, merge_sensors: false };
    let place = place_for(state, query.is_scan()).await?;
    let (view, as_of) = (view.clone(), as_of.cloned());
    blocking(state, move |state| {
        let until = std::time::Instant::now() + PATIENCE;
        let config = &state.0.config;
        let results = page::search(&state.0.ledger.now(), &search, &view, config.scan_rows, until);
        drop(place);
        Ok(page::results_page(&view, &indicator, &results?, config.max_limit, as_of.as_ref()))
    })
    .await
}

/// Answers `/name/{name}`. The root has no segment: a browser takes a dot in a path for the folder itself.
pub async fn name(state: State, request: Request) -> Response {
    let shown = match request.segments.as_slice() {
        [] => ".",
        [one] => one.as_str(),
        _ => return fault(&View::default(), ApiError::not_found(), None),
    };
    let as_of = as_of(&state);
    let trail = Trail::from_params(&request.params);
    let view = View { q: shown.to_owned(), trail: trail.clone(), rows: 50, page: 1, ..View::default() };
    let gathered = async {
        request.read_only()?;
        let name = Name::parse(shown).map_err(|error| {
            ApiError::bad_request("bad_name", error.to_string(), "a name such as www.example.com")
        })?;
        let place = place_for(&state, false).await?;
        let as_of = as_of.clone();
        blocking(&state, move |state| {
            let profile = page::name(&state.0.ledger.now(), &name, std::time::Instant::now() + PATIENCE);
            drop(place);
            Ok(page::name_page(&profile?, &trail, Some(&as_of)))
        })
        .await
    };
    match gathered.await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&view, error, Some(&as_of)),
    }
}

/// Answers `/address/{address}`.
pub async fn address(state: State, request: Request) -> Response {
    let [shown] = request.segments.as_slice() else {
        return fault(&View::default(), ApiError::not_found(), None);
    };
    let as_of = as_of(&state);
    let trail = Trail::from_params(&request.params);
    let view = View { q: shown.clone(), trail: trail.clone(), rows: 50, page: 1, ..View::default() };
    let gathered = async {
        request.read_only()?;
        let address = shown.parse().map_err(|_| {
            ApiError::bad_request(
                "bad_address",
                "not an address",
                "an address such as 192.0.2.7 or 2001:db8::1",
            )
        })?;
        let place = place_for(&state, false).await?;
        let as_of = as_of.clone();
        blocking(&state, move |state| {
            let found = page::address(&state.0.ledger.now(), address, std::time::Instant::now() + PATIENCE);
            drop(place);
            Ok(page::address_page(&found?, &trail, Some(&as_of)))
        })
        .await
    };
    match gathered.await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&view, error, Some(&as_of)),
    }
}

/// Answers `/status`.
pub async fn status(state: State, request: Request) -> Response {
    if !request.segments.is_empty() {
        return fault(&View::default(), ApiError::not_found(), None);
    }
    let as_of = as_of(&state);
    let gathered = async {
        request.read_only()?;
        let as_of = as_of.clone();
        let place = place_for_report(&state).await?;
        blocking(&state, move |state| {
            let _place = place;
            let samples = state.0.history.lock().unwrap_or_else(PoisonError::into_inner).samples();
            let standing = Standing {
                status: state.0.ingest.status()?,
                stats: state.0.ledger.stats()?,
                failing: state.failing(),
                samples,
            };
            Ok(page::status_page(&standing, Some(&as_of)))
        })
        .await
    };
    match gathered.await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&View::default(), error, Some(&as_of)),
    }
}

/// Answers `/assets/{file}`.
///
/// # Errors
///
/// 404 when there is no such file.
pub fn asset(request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    let [name] = request.segments.as_slice() else { return Err(ApiError::not_found()) };
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(ApiError::not_found)?;
    let tag = format!("\"{}\"", asset.hash);
    let known = request.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if known { Vec::new().into() } else { asset.bytes.to_vec().into() });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    // Only the version that was asked for is what it will always be.
    let is_current = request.param("v") == Some(asset.hash.as_str());
    let keep = if is_current { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    insert(headers, ETAG, &tag);
    Ok(response)
}

/// Asks the ledger, and makes the page of what it says, on a thread that may block.
async fn blocking<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&State) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + state.0.config.request_timeout;
    let state = state.clone();
    in_time(deadline, move || work(&state)).await?
}

fn html_response(status: StatusCode, html: String, as_of: Option<&Freshness>) -> Response {
    let mut response = Response::new(html.into());
    *response.status_mut() = status;
    dress(response.headers_mut(), as_of);
    response
}

/// An error as a page, with the status and the headers that it has as JSON.
fn fault(view: &View, error: ApiError, as_of: Option<&Freshness>) -> Response {
    let title = error.title();
    let html = page::fault_page(view, title, error.message(), error.advice(), as_of);
    let mut response = error.into_response("GET, HEAD");
    *response.body_mut() = html.into();
    dress(response.headers_mut(), as_of);
    response
}

fn dress(headers: &mut HeaderMap, as_of: Option<&Freshness>) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    if let Some(as_of) = as_of {
        say_fresh(headers, as_of);
    }
}

/// Inserts a header of text that is ASCII.
fn insert(headers: &mut HeaderMap, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
