//! The page over HTTP: `/`, `/list`, `/name/{name}`, `/address/{address}`, `/evidence`, `/hits`, `/status` and `/assets/{file}`.
//!
//! What is served is made by [`crate::page`]; here are paths, headers and bounds. A page may load the style, the script and
//! the icon of this very origin and nothing else, and nothing inline. Assets have their content's hash in their URL, so a
//! browser keeps them for ever; pages are never kept.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, LOCATION,
};
use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use warp::reply::Response;

use super::State;
use super::answer::{as_of, in_report, in_time, place_for, read_beside};
use super::error::ApiError;
use super::evidence;
use super::headers::say_fresh;
use super::native::check_sensor;
use super::request::{Request, form_pairs};
use crate::base::clock::now;
use crate::base::time::DAY;
use crate::dns::{Name, Rdata};
use crate::evidence::{Ask, LogLine, Visit};
use crate::hunt::{Hunt, Listener, Way};
use crate::indicators;
use crate::lookup::{
    AnswerPart, End, Filters, Indicator, Limits, List, ListForm, NewFound, NewSearch, Queries, QueriesWalk,
    Query, QueryError, Search, Slice, find_new, is_regex,
};
use crate::output::hunt::HuntSum;
use crate::output::summary::{QueryFault, SummaryLine};
use crate::page::{self, ASSETS, HitPage, Hunted, Listed, StatusPage, Trail, View};
use crate::status::Freshness;
use crate::status::history::INTERVAL;
use crate::watch::{HitFilter, parse_numbers};

/// What a page may load.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);
/// How long a page looks for rows. Then it shows what it has, says so, and leads on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the first page looks for new domains, and how many it shows.
const NEW_PATIENCE: Duration = Duration::from_secs(2);
const NEW_SHOWN: usize = 10;
/// Bytes of a list on the page.
const MAX_LIST_BYTES: usize = 1 << 20;
/// Indicators of it that are asked for.
const MAX_LISTED: usize = 1000;
/// Rows of a list that are looked at between two glances at the clock.
const LIST_SLICE: u64 = 4096;

/// Takes a sample of the readers every few seconds, for as long as the runtime lasts.
pub async fn watch(state: State) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = ticks.tick().await;
    loop {
        let now = ticks.tick().await;
        let pulse = state.0.ingest.pulse();
        let mut history = state.0.history.lock();
        history.push(pulse, now.duration_since(before));
        before = now;
    }
}

impl State {
    /// The way that led to a page; rows lead on to the lines of logs where who asks may see them.
    fn trail(&self, request: &Request) -> Trail {
        let has_lines = self.may_see_lines().is_ok() && self.0.ledger.fed().is_none();
        Trail::from_params(&request.params).with_evidence(has_lines)
    }
}

/// Answers `/`: the first page, or what a query finds.
pub async fn search(state: State, request: Request) -> Response {
    let view = View { trail: state.trail(&request), ..View::from_params(&request.params) };
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
        return in_report(state, move |state| {
            let stats = state.0.ledger.stats()?;
            let new = match stats.first_sightings {
                None => new_domains(state)?,
                // Until they are told quickly the first page does without.
                Some(_) => None,
            };
            Ok(page::home_page(&stats, new.as_ref(), as_of.as_ref()))
        })
        .await?;
    }
    let indicator = Indicator::read(&view.q)?;
    let query = indicator.query.clone();
    let mut filters = Filters::default();
    let now = now();
    for (key, value) in &view.filters {
        filters.set(key, value, now)?;
    }
    check_sensor(state, &filters)?;
    let pointing = query.is_pointed_at();
    let search = Search { filters, pointing, ..Search::new(query.clone()) }.in_all_forms();
    let place = place_for(state, query.is_scan()).await?;
    let (view, as_of) = (view.clone(), as_of.cloned());
    blocking(state, move |state| {
        let until = std::time::Instant::now() + PATIENCE;
        let config = &state.0.config;
        let results = page::search(&state.snapshot(), &search, &view, config.scan_rows, until);
        drop(place);
        Ok(page::results_page(&view, &indicator, &results?, config.max_limit, as_of.as_ref()))
    })
    .await
}

/// The newest registrable domains, for the first page; `None` where that takes too long.
fn new_domains(state: &State) -> Result<Option<NewFound>, ApiError> {
    let until = std::time::Instant::now() + NEW_PATIENCE;
    let search = NewSearch { since: now().saturating_sub(DAY), limit: NEW_SHOWN, ..NewSearch::default() };
    let settings = state.new_settings();
    let is_over = &mut || std::time::Instant::now() >= until;
    Ok(find_new(&*state.snapshot(), &search, &settings.brands, is_over)?)
}

/// Answers `/list`: a box for a list, and what is known of each indicator in it.
pub async fn list<B: Buf>(
    state: State,
    request: Request,
    sent: impl Stream<Item = Result<B, warp::Error>> + Unpin,
) -> Response {
    let as_of = as_of(&state);
    if !request.segments.is_empty() {
        return fault(&View::default(), ApiError::no_page(), None);
    }
    if matches!(request.method, Method::GET | Method::HEAD) {
        let html = page::list_page(&Listed::default(), Some(&as_of));
        return html_response(StatusCode::OK, html, Some(&as_of));
    }
    match listed(&state, &request, sent).await {
        Ok(listed) => {
            let status = if listed.fault.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            let fresh = as_of.clone();
            match read_beside(&state, move || page::list_page(&listed, Some(&fresh))).await {
                Ok(html) => html_response(status, html, Some(&as_of)),
                Err(error) => fault(&View::default(), error, Some(&as_of)),
            }
        }
        Err(error) => fault(&View::default(), error, Some(&as_of)),
    }
}

/// Reads a form that was sent.
async fn form_of<B: Buf>(
    state: &State,
    sent: &mut (impl Stream<Item = Result<B, warp::Error>> + Unpin),
) -> Result<Vec<(String, String)>, ApiError> {
    let deadline = Instant::now() + state.0.config.request_timeout;
    let mut body = Vec::new();
    loop {
        match timeout_at(deadline, sent.next()).await.map_err(|_| ApiError::stalled())? {
            Some(Ok(mut part)) => body.extend_from_slice(&part.copy_to_bytes(part.remaining())),
            Some(Err(_)) => {
                return Err(ApiError::bad_request("bad_body", "the body broke off", "send it again"));
            }
            None => break,
        }
        if body.len() > MAX_LIST_BYTES {
            return Err(ApiError::too_large("a list on the page has at most 1 MiB"));
        }
    }
    let form = std::str::from_utf8(&body)
        .map_err(|_| ApiError::bad_request("bad_encoding", "the list is not UTF-8", "a list in UTF-8"))?;
    form_pairs(form)
}

/// Reads a form with a list, and asks for each indicator.
async fn listed<B: Buf>(
    state: &State,
    request: &Request,
    mut sent: impl Stream<Item = Result<B, warp::Error>> + Unpin,
) -> Result<Listed, ApiError> {
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let form = form_of(state, &mut sent).await?;
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    let listed = Listed {
        text: field("list").unwrap_or_default().to_owned(),
        column: field("column").unwrap_or_default().to_owned(),
        extract: field("extract").is_some(),
        ..Listed::default()
    };
    let column = Some(listed.column.clone()).filter(|column| !column.is_empty() && !listed.extract);
    if field("how") == Some("hunt") {
        return hunted(state, listed, column).await;
    }
    let (listed, asked) = read_beside(state, move || asks_of(listed, column)).await?;
    let Some((asks, lines)) = asked else { return Ok(listed) };
    answered(state, listed, asks, lines).await
}

/// The indicators in a list, and what is said of lines that are none; nothing where it is no list, which it says then.
fn asks_of(mut listed: Listed, column: Option<String>) -> (Listed, Option<(Queries, Vec<SummaryLine>)>) {
    let mut list = List::new(ListForm { column, extract: listed.extract });
    let mut asks = Queries::new(Search { pointing: true, ..Search::new(Query::All) }.in_all_forms());
    let mut lines = Vec::new();
    let text = listed.text.clone();
    let mut last = 1;
    // Behind the last line there is what that left.
    for (number, text) in (1..).zip(text.lines().map(Some).chain([None])) {
        let number = if text.is_some() { number } else { last };
        last = number;
        let refused = |query: &str, error: QueryError| SummaryLine {
            line: Some(u64::from(number)),
            query: query.chars().take(200).collect(),
            // A scan is a query that can be asked by itself.
            asked: match is_regex(query.trim()) {
                true => Some(query.trim().to_owned()),
                false => Indicator::read(query).ok().map(|indicator| indicator.asked),
            },
            error: Some(QueryFault { message: error.message, hint: error.hint.to_owned() }),
            ..SummaryLine::default()
        };
        let queries = match text.map(|text| list.line(text)).unwrap_or_else(|| Ok(list.end())) {
            Ok(queries) => queries,
            Err(error) if list.fault().is_some() => {
                listed.fault = Some(error.message);
                return (listed, None);
            }
            Err(_) if asks.len() + lines.len() >= MAX_LISTED => {
                listed.left_out += 1;
                continue;
            }
            Err(error) => {
                lines.push(refused(text.unwrap_or_default(), error));
                continue;
            }
        };
        for query in queries {
            if asks.len() + lines.len() >= MAX_LISTED {
                listed.left_out += 1;
            } else if let Err(error) = asks.push(number, &query) {
                lines.push(refused(&query, error));
            }
        }
    }
    if asks.is_empty() && lines.is_empty() {
        listed.fault = Some("There is no indicator in the list.".to_owned());
        return (listed, None);
    }
    (listed, Some((asks, lines)))
}

/// Asks for the indicators of a list.
async fn answered(
    state: &State,
    mut listed: Listed,
    asks: Queries,
    mut lines: Vec<SummaryLine>,
) -> Result<Listed, ApiError> {
    let place = place_for(state, false).await?;
    let found = blocking(state, move |state| {
        let _place = place;
        let until = std::time::Instant::now() + PATIENCE;
        let limits = Limits { rows: u64::MAX, examined: u64::MAX };
        let mut bulk = QueriesWalk::start(state.snapshot(), asks, limits, state.0.config.scan_rows);
        let mut found = Vec::new();
        while !bulk.is_done() {
            // What there is no time for is told to be left.
            if std::time::Instant::now() >= until {
                found
                    .extend(bulk.left().map(|of| (of.number, of.text.to_owned(), of.asked.to_owned(), None)));
                break;
            }
            bulk.advance(Slice { examined: LIST_SLICE }, |of, told| {
                if let AnswerPart::End { end, summary, questions, .. } = told {
                    let came = (summary.clone(), questions.map(Into::into), *end == End::Complete);
                    found.push((of.number, of.text.to_owned(), of.asked.to_owned(), Some(came)));
                }
                true
            })?;
        }
        Ok(found)
    });
    for (number, query, asked, came) in found.await? {
        let line =
            SummaryLine { line: Some(number.into()), query, asked: Some(asked), ..SummaryLine::default() };
        lines.push(match came {
            Some((summary, questions, is_all)) => {
                let ended = if is_all { "complete" } else { "budget" };
                SummaryLine { questions, ended: Some(ended.to_owned()), ..line }.with(&summary)
            }
            None => line,
        });
    }
    lines.sort_by_key(|line| line.line);
    listed.lines = Some(lines);
    Ok(listed)
}

/// Hunts for the indicators of a list, whatever its form.
async fn hunted(state: &State, listed: Listed, column: Option<String>) -> Result<Listed, ApiError> {
    let format = listed.extract.then_some(indicators::Format::Prose);
    let options = indicators::Options { format, column, ..indicators::Options::default() };
    let hunting = state.0.hunts.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let place = place_for(state, true).await?;
    blocking(state, move |state| {
        let _places = (hunting, place);
        let mut hunt = Hunt::default();
        let read =
            indicators::read(&mut listed.text.as_bytes(), &options, &mut |indicator| hunt.take(indicator));
        let taken = match read {
            Ok(taken) => taken,
            Err(error) => {
                let fault = Some(format!("This cannot be read: {error}. Try {}.", error.hint()));
                return Ok(Listed { fault, ..listed });
            }
        };
        let until = std::time::Instant::now() + PATIENCE;
        let mut hits = Vec::new();
        let mut listener = Listener {
            hit: &mut |hit| {
                hits.extend((hits.len() < MAX_LISTED).then(|| hit.into()));
                true
            },
            go_on: &mut || std::time::Instant::now() < until,
        };
        let rows = state.0.ledger.stats()?.rows;
        let outcome = hunt.run(&state.snapshot(), rows, Way::Best, &mut listener)?;
        let sum = outcome.map(|outcome| HuntSum::of(&taken, &outcome));
        Ok(Listed { hunted: Some(Hunted { hits, sum }), ..listed })
    })
    .await
}

/// Answers `/name/{name}`. The root has no segment: a browser takes a dot in a path for the folder itself.
pub async fn name(state: State, request: Request) -> Response {
    let shown = match request.segments.as_slice() {
        [] => ".",
        [one] => one.as_str(),
        _ => return fault(&View::default(), ApiError::no_page(), None),
    };
    let as_of = as_of(&state);
    let trail = state.trail(&request);
    let view = View { q: shown.to_owned(), trail: trail.clone(), rows: 50, page: 1, ..View::default() };
    let gathered = async {
        request.read_only()?;
        let name = Name::parse(shown).map_err(|error| {
            ApiError::bad_request("bad_name", error.to_string(), "a name such as www.example.com")
        })?;
        let place = place_for(&state, false).await?;
        let as_of = as_of.clone();
        blocking(&state, move |state| {
            let profile = page::name(&state.snapshot(), &name, std::time::Instant::now() + PATIENCE);
            let listed = state.listed(&Rdata::Name(name));
            drop(place);
            Ok(page::name_page(&profile?, &listed, &trail, Some(&as_of), now()))
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
        return fault(&View::default(), ApiError::no_page(), None);
    };
    let as_of = as_of(&state);
    let trail = state.trail(&request);
    let view = View { q: shown.clone(), trail: trail.clone(), rows: 50, page: 1, ..View::default() };
    let gathered = async {
        request.read_only()?;
        let address: IpAddr = shown.parse().map_err(|_| {
            ApiError::bad_request(
                "bad_address",
                "not an address",
                "an address such as 192.0.2.7 or 2001:db8::1",
            )
        })?;
        let place = place_for(&state, false).await?;
        let as_of = as_of.clone();
        blocking(&state, move |state| {
            let found = page::address(&state.snapshot(), address, std::time::Instant::now() + PATIENCE);
            let listed = state.listed(&match address {
                IpAddr::V4(address) => Rdata::V4(address),
                IpAddr::V6(address) => Rdata::V6(address),
            });
            drop(place);
            Ok(page::address_page(&found?, &listed, &trail, Some(&as_of)))
        })
        .await
    };
    match gathered.await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&view, error, Some(&as_of)),
    }
}

/// Lines that a page shows.
const LINES_SHOWN: u64 = 200;

/// Answers `/evidence`: the lines of logs behind a row.
pub async fn evidence(state: State, request: Request) -> Response {
    let as_of = as_of(&state);
    let trail = state.trail(&request);
    let view = View {
        q: request.param("q").unwrap_or_default().to_owned(),
        trail: trail.clone(),
        ..View::default()
    };
    let gathered = async {
        request.read_only()?;
        state.only_of_a_ledger("lines of logs")?;
        state.may_see_lines()?;
        if !request.segments.is_empty() {
            return Err(ApiError::no_page());
        }
        let (ask, asked) = evidence::asked(&state, &request)?;
        let until = std::time::Instant::now().checked_add(state.0.config.request_timeout / 2);
        let limit = Some(ask.limit.map_or(LINES_SHOWN, |limit| limit.min(LINES_SHOWN)));
        let ask = Ask { limit, until, raw: false, ..ask };
        let place = state.0.evidence.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
        let params: Vec<(String, String)> = request
            .params
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "via" | "limit"))
            .cloned()
            .collect();
        let as_of = as_of.clone();
        blocking(&state, move |state| {
            let state = state.clone();
            let found = evidence::give_way_with(move || {
                let _place = place;
                let mut lines = Gathered(Vec::new());
                evidence::find(&state, &ask, &mut lines).map(|answer| (lines.0, answer))
            });
            let (lines, answer) =
                found.ok_or_else(|| ApiError::unavailable("no thread can be started to read logs"))??;
            let lines = page::EvidenceLines { asked, params, lines, answer };
            Ok(page::evidence_page(&lines, &trail, Some(&as_of)))
        })
        .await
    };
    match gathered.await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&view, error, Some(&as_of)),
    }
}

/// Lines for a page.
struct Gathered(Vec<LogLine>);

impl Visit for Gathered {
    fn line(&mut self, line: LogLine) -> bool {
        self.0.push(line);
        true
    }
}

/// Hits that a page shows.
const HITS_SHOWN: usize = 100;

/// Answers `/hits`; a form that is sent there acknowledges hits.
pub async fn hits<B: Buf>(
    state: State,
    request: Request,
    mut sent: impl Stream<Item = Result<B, warp::Error>> + Unpin,
) -> Response {
    if !request.segments.is_empty() {
        return fault(&View::default(), ApiError::no_page(), None);
    }
    let as_of = as_of(&state);
    if request.method == Method::POST {
        return match seen_to(&state, &mut sent).await {
            Ok(back) => {
                let mut response = Response::new("".into());
                *response.status_mut() = StatusCode::SEE_OTHER;
                if let Ok(back) = HeaderValue::from_str(&back) {
                    response.headers_mut().insert(LOCATION, back);
                }
                response
            }
            Err(error) => fault(&View::default(), error, Some(&as_of)),
        };
    }
    let gathered = async {
        request.read_only()?;
        let from = super::hits::cursor(&request)?;
        let feed = request.param("feed").map(str::to_owned);
        let value = request.param("value").map(str::to_owned);
        let sought = value.as_deref().map(super::hits::sought).transpose()?;
        let is_open = request.param("open").is_some_and(|open| open == "true");
        let is_own = state.0.ledger.fed().is_none();
        let may_acknowledge = is_own && state.1.may_acknowledge.is_some();
        let cursor = from.as_ref().map(ToString::to_string);
        let as_of = as_of.clone();
        let place = place_for(&state, false).await?;
        blocking(&state, move |state| {
            let _place = place;
            let filter = HitFilter {
                feed: feed.clone(),
                acknowledged: is_open.then_some(false),
                value: sought,
                ..HitFilter::default()
            };
            let (found, last) = super::hits::newest(state, filter, HITS_SHOWN, from)?;
            let (hits, next) = (found.hits, found.next.map(|next| next.to_string()));
            let feeds = state.watching().map(|watching| watching.feeds()).unwrap_or_default();
            let shown =
                HitPage { hits, last, next, feed, value, feeds, is_own, is_open, cursor, may_acknowledge };
            Ok(page::hits_page(&shown, Some(&as_of)))
        })
        .await
    };
    match gathered.await {
        Ok(html) => html_response(StatusCode::OK, html, Some(&as_of)),
        Err(error) => fault(&View::default(), error, Some(&as_of)),
    }
}

/// Acknowledges the hits in a form; the page to go back to.
async fn seen_to<B: Buf>(
    state: &State,
    sent: &mut (impl Stream<Item = Result<B, warp::Error>> + Unpin),
) -> Result<String, ApiError> {
    let form = form_of(state, sent).await?;
    let hits: Vec<&str> =
        form.iter().filter(|(key, _)| key == "hit").map(|(_, value)| value.as_str()).collect();
    if !hits.is_empty() {
        let bad = |why: String| ApiError::bad_request("bad_parameter", why, "the boxes beside the hits");
        super::hits::see_to(state, parse_numbers(&hits.join(",")).map_err(bad)?, None).await?;
    }
    // Whatever the form says, it leads to this page.
    let mut back = "/hits".to_owned();
    let kept = form.iter().filter(|(key, _)| ["feed", "value", "open", "cursor"].contains(&key.as_str()));
    for (at, (key, value)) in kept.enumerate() {
        back.push(if at == 0 { '?' } else { '&' });
        back.push_str(key);
        back.push('=');
        back.extend(percent_encode(value.as_bytes(), NON_ALPHANUMERIC));
    }
    Ok(back)
}

/// Answers `/status`.
pub async fn status(state: State, request: Request) -> Response {
    if !request.segments.is_empty() {
        return fault(&View::default(), ApiError::no_page(), None);
    }
    let as_of = as_of(&state);
    let gathered = async {
        request.read_only()?;
        let as_of = as_of.clone();
        in_report(&state, move |state| {
            let samples = state.0.history.lock().samples();
            let mut status = state.0.ingest.status()?;
            if as_of.sensors.is_some() {
                status.caught_up = as_of.incomplete.is_empty();
                status.incomplete.clone_from(&as_of.incomplete);
            }
            let page = StatusPage {
                status,
                stats: state.0.ledger.stats()?,
                failing: state.failing(),
                samples,
                filters: state.0.filters.status(),
            };
            Ok(page::status_page(&page, Some(&as_of)))
        })
        .await?
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

/// An error as whoever asked expects it: a page for a browser that asks for one where there is nothing, or that is not let in.
pub fn told(error: ApiError, is_browser: bool, allow: &'static str) -> Response {
    match is_browser {
        true if error.is_not_found() => fault(&View::default(), ApiError::no_page(), None),
        true if error.is_refusal() => fault(&View::default(), error, None),
        _ => error.into_response(allow),
    }
}

/// Whether a request is of a browser that is to show a page.
pub fn is_of_a_browser(method: &Method, headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_html = |part: &str| part.split(';').next().is_some_and(|kind| kind.trim() == "text/html");
    matches!(*method, Method::GET | Method::HEAD) && accepted.any(|value| value.split(',').any(is_html))
}

/// Queries the ledger, and makes the page of what it says, on a thread that may block.
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
    let html = page::fault_page(view, title, error.message(), error.advice(), error.is_part_away(), as_of);
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
