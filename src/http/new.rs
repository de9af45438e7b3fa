//! `/api/v1/new`: what was first seen since a time.
//!
//! Takes `what` (`domain`, `name`, `rdata`), `since` (a time or an age; `24h` where it is left out), `under` (names, with commas
//! between them), `watched=true` (at and below the names of `[new] watched`), `lookalikes=true` (only what looks like one of
//! `[new] brands`), `sensor`, `limit` and `cursor`. The answer is one object, the newest first; `total` counts all, and `next` is
//! the cursor of the rest.

use std::sync::Arc;
use std::time;

use hyper::StatusCode;
use serde::Serialize;
use tokio::time::Instant;
use warp::reply::Response;

use super::State;
use super::answer::{as_of, in_time, place_for};
use super::error::ApiError;
use super::headers::say_fresh;
use super::machine::json;
use super::native::known_filters;
use super::request::Request;
use crate::base::clock::now;
use crate::lookup::{MAX_NEW, NewFound, NewSearch, NewSettings, find_new};
use crate::status::Freshness;

/// The parameters.
const PARAMETERS: [&str; 8] =
    ["what", "since", "under", "watched", "lookalikes", "sensor", "limit", "cursor"];

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    fresh: &'a Freshness,
    #[serde(flatten)]
    found: &'a NewFound,
}

/// Answers `/api/v1/new`.
///
/// # Errors
///
/// 400 when a parameter has no meaning; else as any lookup.
pub async fn respond(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    request.only_these(&PARAMETERS)?;
    let filters = known_filters(&state, &request)?;
    let config = &state.0.config;
    let most = usize::try_from(config.max_limit).unwrap_or(usize::MAX).min(MAX_NEW);
    let limit = usize::try_from(filters.limit.unwrap_or(config.default_limit)).unwrap_or(usize::MAX);
    let settings = state.new_settings();
    let params = request.params.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let search = NewSearch::read(params, &settings, limit.min(most), now())?;
    let as_of = as_of(&state);
    let place = place_for(&state, true).await?;
    let ledger = state.snapshot();
    let patience = config.request_timeout;
    let until = time::Instant::now() + patience;
    let work = move || {
        let _place = place;
        find_new(&*ledger, &search, &settings.brands, &mut || time::Instant::now() >= until)
    };
    let found = in_time(Instant::now() + 2 * patience, work).await??.ok_or_else(ApiError::timeout)?;
    let document = Document { fresh: &as_of, found: &found };
    let mut response = json(StatusCode::OK, &document);
    say_fresh(response.headers_mut(), &as_of);
    Ok(response)
}

impl State {
    /// Says what is told apart of what is new, from now on.
    pub fn tell_new(&self, settings: NewSettings) {
        *self.0.new.lock() = Arc::new(settings);
    }

    /// The watched names and brands of the configuration.
    pub(super) fn new_settings(&self) -> Arc<NewSettings> {
        Arc::clone(&self.0.new.lock())
    }
}
