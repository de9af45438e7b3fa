//! `/api/v1/hits`, `/api/v1/hits/stream`, `/api/v1/feeds` and `/control/watch`: what feeds say is bad and was met.
//!
//! `POST /api/v1/hits/acknowledge?hits=3,7-9` notes that somebody has seen to hits.
//! `hits` takes `order` (`newest`, which is what it is without, or `oldest`), `since` (noted then or after), `feed`, `sensor`, `kind`, `value`, `limit`
//! and `cursor` (`next` of the answer before, or with `order=oldest` its `at`); with `order=oldest`, `wait` is how long to wait for a hit behind the cursor where there is none yet. The stream is of server-sent events (WHATWG HTML, 9.2): each hit with its number as `id`, so that whoever comes back
//! says by `Last-Event-ID` where to go on; without that, and without `after`, it begins with the next hit. A sum (event `summed`)
//! stands for hits beyond a thousand an hour.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use warp::reply::{Reply, Response};

use super::State;
use super::answer::{as_of, in_report, in_time, place_for};
use super::control::posted;
use super::error::ApiError;
use super::headers::say_fresh;
use super::machine::{exactly, json};
use super::native::known_filters;
use super::request::Request;
use crate::base::clock::now;
use crate::base::shutdown::Stop;
use crate::base::units::parse_duration;
use crate::dns::Rdata;
use crate::lookup::parse_since;
use crate::output::sanitise;
use crate::status::Freshness;
use crate::store::Acknowledged;
use crate::watch::{
    FeedStatus, HitFilter, HitLine, HitPlace, HitsFound, HitsWanted, KINDS, Outlet, Sent, Sought, Watching,
    find_hits, ledger_name, parse_numbers,
};

const PARAMETERS: [&str; 10] =
    ["order", "since", "feed", "sensor", "kind", "value", "limit", "cursor", "wait", "acknowledged"];
/// The longest that it is waited for a hit.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// What a cursor is.
const CURSOR: &str = "the value of next or at in the answer before";
/// What to do where there is no stream.
const POLL: &str = "/api/v1/hits?order=oldest&wait=20s, again and again with the value of at as the cursor";
/// How often who waits for hits looks whether it is to stop; of hits it is told.
const LOOK: Duration = Duration::from_millis(100);
/// After how long a stream says that it lives.
const ALIVE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    fresh: &'a Freshness,
    hits: &'a [HitLine],
    /// Which ledger it is: numbers of hits mean something in one only. Empty where there are several: each hit says its own then.
    ledger: &'a str,
    /// The number of the last hit there is; of several ledgers all of these together.
    last: u64,
    next: Option<&'a HitPlace>,
    /// With the oldest first: where to go on from when more have come.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a HitPlace>,
    /// Feeds that are watched, and indicators in them.
    feeds: usize,
    indicators: u64,
    /// Feeds that what is there was not held against yet: hits of them may be missing.
    pending: &'a [String],
}

/// Hits, the newest first, and how many were noted in all.
///
/// # Errors
///
/// When the ledger cannot be read, or the cursor is of another.
pub(super) fn newest(
    state: &State,
    filter: HitFilter,
    limit: usize,
    from: Option<HitPlace>,
) -> Result<(HitsFound, u64), ApiError> {
    let snapshot = state.snapshot();
    let last = state.0.ledger.last_hits()?;
    let wanted = HitsWanted { newest: true, filter, limit, from: fitting(from, &last)? };
    let set = state.watching().map(|watching| watching.set());
    let found = find_hits(&*snapshot, set.as_deref(), &last, &wanted)?;
    Ok((found, last.values().sum()))
}

/// A cursor, where it can be one of these ledgers.
fn fitting(from: Option<HitPlace>, last: &BTreeMap<u64, u64>) -> Result<Option<HitPlace>, ApiError> {
    match from {
        Some(from) if !from.is_among(last) => Err(bad("the cursor is of another ledger", CURSOR)),
        from => Ok(from),
    }
}

fn bad(message: &str, hint: &str) -> ApiError {
    ApiError::bad_request("bad_parameter", message, hint)
}

/// Understands a cursor.
///
/// # Errors
///
/// 400 where it is none.
pub(super) fn cursor(request: &Request) -> Result<Option<HitPlace>, ApiError> {
    let cursor = request.param("cursor").map(str::parse).transpose();
    cursor.map_err(|_| bad("the cursor is none", CURSOR))
}

/// Answers `/api/v1/hits`.
///
/// # Errors
///
/// 400 when a parameter has no meaning; else as any lookup.
pub async fn hits(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    request.only_these(&PARAMETERS)?;
    let filters = known_filters(&state, &request)?;
    let config = &state.0.config;
    let newest = match request.param("order") {
        None | Some("newest") => true,
        Some("oldest") => false,
        Some(_) => return Err(bad("unknown order", "order=newest, order=oldest")),
    };
    let from = cursor(&request)?;
    let since = request.param("since").map(|text| parse_since(text, now())).transpose()?;
    let limit = filters.limit.unwrap_or(config.default_limit).min(config.max_limit);
    let acknowledged = match request.param("acknowledged") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(bad("acknowledged is true or false", "acknowledged=false")),
    };
    let param = |name: &str| request.param(name).map(str::to_owned);
    let value = request.param("value").map(sought).transpose()?;
    let (feed, kind, sensor) = (param("feed"), param("kind"), filters.sensor);
    if kind.as_deref().is_some_and(|kind| !KINDS.contains(&kind)) {
        return Err(bad(
            "unknown kind of hit",
            "kind=name, domain, address, network, new, new_retracted or new_summed",
        ));
    }
    let filter = HitFilter { since, feed: feed.clone(), sensor, kind, acknowledged, value };
    let watching = state.watching();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let wait = request.param("wait").map(parse_duration).transpose();
    let wait = wait.map_err(|_| bad("the wait is not a duration", "wait=10s"))?;
    match (wait, newest) {
        (Some(_), true) => return Err(bad("only order=oldest waits", "order=oldest&wait=10s")),
        (Some(wait), false) => {
            let longest = LONGEST_WAIT.min(config.request_timeout / 2);
            wait_for_hit(&state, &from.clone().unwrap_or_default(), wait.min(longest)).await?;
        }
        (None, _) => {}
    }
    let as_of = as_of(&state);
    let place = place_for(&state, false).await?;
    let is_own = state.0.ledger.fed().is_none();
    let (snapshot, store) = (state.snapshot(), Arc::clone(&state.0.ledger));
    let work = move || {
        let _place = place;
        let last = store.last_hits()?;
        // Numbers of several ledgers are told with each hit.
        let name = if is_own { ledger_name(&*snapshot)? } else { String::new() };
        let watched = watching.map(|watching| watching.watched()).unwrap_or_default();
        let wanted = HitsWanted { newest, filter, limit, from: fitting(from, &last)? };
        let found = find_hits(&*snapshot, watched.set.as_deref(), &last, &wanted)?;
        Ok::<_, ApiError>((found, last.values().sum(), name, watched))
    };
    let (found, last, name, watched) = in_time(Instant::now() + config.request_timeout, work).await??;
    let HitsFound { hits, next, at } = found;
    let is_unknown = |feed: &String| is_own && !watched.feeds.contains(feed);
    if let (true, Some(feed)) = (hits.is_empty(), feed.filter(is_unknown)) {
        let message = format!("unknown feed {}, and no hit of a former one", sanitise(&feed));
        return Err(bad(&message, &watched.feeds_hint()));
    }
    let document = Document {
        fresh: &as_of,
        hits: &hits,
        ledger: &name,
        last,
        next: next.as_ref(),
        at: (!newest).then_some(&at),
        feeds: watched.feeds.len(),
        indicators: watched.indicators,
        pending: &watched.pending,
    };
    let mut response = json(StatusCode::OK, &document);
    say_fresh(response.headers_mut(), &as_of);
    Ok(response)
}

/// What hits are to be about.
///
/// # Errors
///
/// 400 where that is nothing.
pub(super) fn sought(text: &str) -> Result<Sought, ApiError> {
    let bad = |why: String| {
        ApiError::bad_request("bad_parameter", why, "value=www.example.com, value=192.0.2.0/24")
    };
    Sought::parse(text).map_err(bad)
}

/// Answers `/api/v1/hits/acknowledge`.
///
/// # Errors
///
/// 403 without the scope `watch`, 400 when no number is given, and when the ledger refuses.
pub async fn acknowledge(state: State, request: Request) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Done {
        /// How many were not acknowledged before.
        acknowledged: u64,
        /// Numbers that no hit has.
        unknown: Vec<u64>,
    }
    exactly(&request, &[])?;
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    request.only_these(&["hits", "by"])?;
    let bad = |why: String| ApiError::bad_request("bad_parameter", why, "?hits=3,7-9");
    let numbers = parse_numbers(request.param("hits").unwrap_or_default()).map_err(bad)?;
    let (acknowledged, unknown) = see_to(&state, numbers, request.param("by")).await?;
    Ok(json(StatusCode::OK, &Done { acknowledged, unknown }))
}

/// Notes that whoever asks has seen to hits; how many were not acknowledged, and numbers that no hit has. The owner says who it is.
///
/// # Errors
///
/// 403 where whoever asks may not, and when the ledger refuses.
pub(super) async fn see_to(
    state: &State,
    numbers: BTreeSet<u64>,
    by: Option<&str>,
) -> Result<(u64, Vec<u64>), ApiError> {
    if state.0.ledger.fed().is_some() {
        return Err(ApiError::acknowledged_elsewhere());
    }
    let Some(token) = &state.1.may_acknowledge else {
        return Err(ApiError::forbidden(
            "hits are acknowledged with a token of the scope watch, by a page of this site or a program",
            "watch",
        ));
    };
    let by = if token.is_empty() { by.unwrap_or("owner") } else { token };
    let by = by.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (seen, ledger) = (Acknowledged { at: now(), by }, Arc::clone(&state.0.ledger));
    let place = place_for(state, false).await?;
    let work = move || {
        let _place = place;
        ledger.acknowledge_hits(&numbers, &seen)
    };
    Ok(in_time(Instant::now() + state.0.config.request_timeout, work).await??)
}

/// Waits until there is a hit behind a place, or for so long.
async fn wait_for_hit(state: &State, after: &HitPlace, wait: Duration) -> Result<(), ApiError> {
    // Who delivers is of this machine, and is not to wait because others listen.
    let _place = match state.1.network {
        None => None,
        network => Some(state.0.hit_streams.of(network).try_take().ok_or_else(ApiError::busy)?),
    };
    let stop = state.0.watching.lock().as_ref().map(|(_, stop)| stop.clone()).unwrap_or_default();
    let until = Instant::now() + wait;
    let mut told = state.0.hits.clone();
    // Seen before it is looked: what is committed in between is told.
    told.mark_unchanged();
    while !stop.is_stopped() && Instant::now() < until {
        let ledger = Arc::clone(&state.0.ledger);
        let is_there = match ledger.fed() {
            None => after.is_before(&ledger.last_hits()?),
            // It may have to be asked for.
            Some(_) => {
                let last = spawn_blocking(move || ledger.last_hits()).await;
                after.is_before(&last.map_err(|_| ApiError::unavailable("hits cannot be asked for"))??)
            }
        };
        if is_there {
            break;
        }
        hit_or_so_long(&mut told, LOOK.min(until - Instant::now())).await;
    }
    Ok(())
}

/// Waits until hits are committed that were not seen, or for so long.
async fn hit_or_so_long(told: &mut watch::Receiver<u64>, long: Duration) {
    // A store that tells of none has nobody who would.
    if let Ok(Err(_)) = timeout(long, told.changed()).await {
        sleep(long).await;
    }
}

/// An event of a stream.
fn event(sent: &Sent) -> String {
    // Plain values: nothing that can fail.
    let (name, data) = match sent {
        Sent::Hit(hit) => ("hit", serde_json::to_string(hit)),
        Sent::Summed(summed) => ("summed", serde_json::to_string(summed)),
    };
    format!("id: {}\nevent: {name}\ndata: {}\n\n", sent.sequence(), data.unwrap_or_default())
}

/// Answers `/api/v1/hits/stream`.
///
/// # Errors
///
/// 400 when it is no number behind which to go on; 429 when as many streams as may are open.
pub fn stream(state: State, request: &Request) -> Result<Response, ApiError> {
    request.read_only()?;
    state.only_of_a_ledger("streams of hits").map_err(|error| error.hint(POLL))?;
    request.only_these(&["after"])?;
    let last_id = request.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = last_id.or(request.param("after")).map(str::parse::<u64>).transpose().map_err(|_| {
        ApiError::bad_request(
            "bad_parameter",
            "it is not a number of a hit",
            "Last-Event-ID: 17, or ?after=17",
        )
    })?;
    let place = state.0.hit_streams.of(state.1.network).try_take().ok_or_else(ApiError::busy)?;
    let ledger = Arc::clone(&state.0.ledger);
    let stop = state.0.watching.lock().as_ref().map(|(_, stop)| stop.clone()).unwrap_or_default();
    let outlet = Outlet::new(after.unwrap_or_else(|| ledger.last_hit().0));
    let begun = (Some(outlet), place, Instant::now(), true);
    let hits = state.0.hits.clone();
    let events = futures_util::stream::unfold(begun, move |(outlet, place, mut said, first)| {
        let (ledger, stop, mut told) = (Arc::clone(&ledger), stop.clone(), hits.clone());
        async move {
            if first {
                // So that whoever waits knows that it is open.
                return Some((Ok::<_, Infallible>(Bytes::from(": open\n\n")), (outlet, place, said, false)));
            }
            let mut outlet = outlet?;
            loop {
                if stop.is_stopped() {
                    return None;
                }
                told.mark_unchanged();
                let (asked, last) = (Arc::clone(&ledger), ledger.last_hit().0);
                if last > outlet.after() {
                    sleep(outlet.pause()).await;
                    let next = spawn_blocking(move || {
                        let sent = outlet.next(&*asked, last);
                        (outlet, sent)
                    });
                    let (came, sent) = next.await.ok()?;
                    outlet = came;
                    // Who listens comes back, and goes on where this ended.
                    let sent = sent.ok()?;
                    if !sent.is_empty() {
                        let text: String = sent.iter().map(event).collect();
                        said = Instant::now();
                        return Some((Ok(Bytes::from(text)), (Some(outlet), place, said, false)));
                    }
                }
                if said.elapsed() > ALIVE {
                    said = Instant::now();
                    return Some((Ok(Bytes::from(": alive\n\n")), (Some(outlet), place, said, false)));
                }
                if last <= outlet.after() {
                    hit_or_so_long(&mut told, LOOK).await;
                }
            }
        }
    });
    let mut response = warp::reply::stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Answers `/api/v1/feeds`.
///
/// # Errors
///
/// As any report.
pub async fn feeds(state: State, request: Request) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Feeds {
        feeds: Vec<FeedStatus>,
        indicators: u64,
    }
    request.read_only()?;
    state.only_of_a_ledger("feeds")?;
    request.only_these(&[])?;
    let work = |state: &State| {
        let watching = state.watching();
        let indicators = watching.as_ref().map_or(0, |watching| watching.set().indicators);
        Feeds { feeds: watching.map(|watching| watching.feeds()).unwrap_or_default(), indicators }
    };
    Ok(json(StatusCode::OK, &in_report(&state, work).await?))
}

/// Answers `/control/watch`: takes feeds up that have changed, and looks through history with them soon.
///
/// # Errors
///
/// When it cannot be done.
pub async fn watch(state: State, request: Request) -> Result<Response, ApiError> {
    posted(&request)?;
    let watching = state.watching();
    let done = spawn_blocking(move || {
        if let Some(watching) = watching {
            watching.reload();
            watching.wake();
        }
    });
    done.await.map_err(|_| ApiError::unavailable("feeds could not be taken up"))?;
    Ok(json(StatusCode::OK, &serde_json::Map::new()))
}

impl State {
    /// Says what is watched, from now on; streams of hits end with the signal.
    pub fn tell_watching(&self, watching: Arc<Watching>, stop: Stop) {
        *self.0.watching.lock() = Some((watching, stop));
    }

    /// The feeds that name something now.
    pub(super) fn listed(&self, value: &Rdata) -> Vec<(String, Vec<String>)> {
        self.watching().map(|watching| watching.set().listed(value)).unwrap_or_default()
    }

    /// What is watched.
    pub(super) fn watching(&self) -> Option<Arc<Watching>> {
        self.0.watching.lock().as_ref().map(|(watching, _)| Arc::clone(watching))
    }
}
