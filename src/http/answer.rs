//! Answers of many rows: walked beside the event loop, written chunk by chunk, or gathered into one value.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};
use warp::reply::{Reply, Response};

use super::State;
use super::error::ApiError;
use super::headers::{say_fresh, say_truncated};
use super::places::{Place, PlacesOf};
use crate::base::time::format_rfc3339;
use crate::lookup::{Cursor, End, Found, Limits, Search, Slice, Walk};
use crate::status::{Freshness, SensorTime};
use crate::store::{Fed, SensorAsOf, Snapshot, StoreError};

/// Rows that a walk looks at before others get their turn.
const SLICE: Slice = Slice { examined: 16_384 };
/// Rows in memory that are looked at within the event loop: a lookup that needs no more is done before another thread had
/// woken up.
const AT_ONCE: Slice = Slice { examined: 64 };
/// An answer that is no longer than this is sent whole, with its length.
const WHOLE_BYTES: usize = 64 << 10;
/// The size of a chunk of a longer one. A client that does not read holds a few of these.
const CHUNK_BYTES: usize = 16 << 10;
/// Headers that an answer has in the end, about: room is made for them once.
const MOST_HEADERS: usize = 16;
/// How long a lookup waits for a place.
const PLACE_WAIT: Duration = Duration::from_millis(500);

/// How an answer is written.
pub trait Shape: Clone + Send + 'static {
    /// The media type.
    fn content_type(&self) -> &'static str;
    /// Writes what is before the first row.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Writes a row.
    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>);
    /// Writes what is behind the last row.
    fn end(&mut self, end: &End, out: &mut Vec<u8>);
    /// Whether a header must say if the answer was cut.
    fn says_truncated(&self) -> bool {
        false
    }
    /// What is answered where an answer ended so and has no rows, if that is no empty answer.
    fn nothing(&self, _end: &End) -> Option<ApiError> {
        None
    }
    /// Writes that the rest cannot be read, in a format that has words for it; else the connection is cut.
    fn fail(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }
    /// Writes that the time of the answer is over, and where the rest begins, in a format that has words for it; else the
    /// connection is cut.
    fn late(&mut self, _next: &Cursor, _out: &mut Vec<u8>) -> bool {
        false
    }
}

/// What every answer from now on is true of: the instant, as RFC 3339 with milliseconds, and what it may lack.
pub fn as_of(state: &State) -> Freshness {
    let expired_before = Some(state.0.ledger.expired_before()).filter(|before| *before > 0);
    if let Some(fed) = state.0.ledger.fed() {
        let missing = state.2.as_ref().map_or([].as_slice(), |part| part.missing.as_slice());
        return Freshness { expired_before, ..of_fed(&fed, missing) };
    }
    let ingest = &state.0.ingest;
    Freshness {
        as_of: ingest.as_of_ms().map(format_millis),
        incomplete: ingest.incomplete(),
        expired_before,
        is_followed: ingest.sensors().next().is_some(),
        sensors: None,
    }
}

/// What an answer of a store that other ledgers feed is true of, of which parts may be missing.
pub fn of_fed(fed: &Fed, missing: &[String]) -> Freshness {
    let time = |at: u64| (at > 0).then(|| format_rfc3339(at));
    let sensor = |sensor: &SensorAsOf| SensorTime {
        sensor: sensor.sensor.to_string(),
        as_of: time(sensor.as_of),
        closed: sensor.is_closed,
    };
    Freshness {
        as_of: fed.as_of().and_then(time),
        incomplete: missing.iter().chain(&fed.lacks).cloned().collect(),
        expired_before: None,
        is_followed: true,
        sensors: Some(fed.sensors.iter().map(sensor).collect()),
    }
}

/// An instant with milliseconds.
pub fn format_millis(millis: u64) -> String {
    let mut text = format_rfc3339(millis / 1000);
    text.truncate(text.len() - 1);
    text.push('.');
    text.extend([100, 10, 1].map(|unit| char::from(b'0' + (millis / unit % 10) as u8)));
    text.push('Z');
    text
}

/// Answers a search.
///
/// # Errors
///
/// Before the first byte: no place (429), no time (504), the ledger fails (503), a cursor of another search (400).
/// Afterwards the connection is cut, so that no client takes a part for the whole.
pub async fn answer(
    state: &State,
    search: Search,
    limits: Limits,
    from: Option<Cursor>,
    as_of: Freshness,
    shape: impl Shape,
) -> Result<Response, ApiError> {
    answer_all(state, VecDeque::from([search]), limits, from, as_of, shape).await
}

/// Answers several searches of one kind one after the other, as if they were one; the cursor is of the first.
///
/// # Errors
///
/// As [`answer`].
pub async fn answer_all(
    state: &State,
    mut searches: VecDeque<Search>,
    limits: Limits,
    from: Option<Cursor>,
    as_of: Freshness,
    mut shape: impl Shape,
) -> Result<Response, ApiError> {
    let config = &state.0.config;
    let began = Instant::now();
    let deadline = began + config.request_timeout;
    let content_type = shape.content_type();
    let says_truncated = shape.says_truncated();
    let Some(first) = searches.pop_front() else {
        let mut buffer = Vec::new();
        shape.begin(&mut buffer);
        shape.end(&End::Complete, &mut buffer);
        return Ok(with_headers(Response::new(buffer.into()), content_type, as_of));
    };
    let is_scan = first.query.is_scan();
    let places = places(state, is_scan);
    // All is answered as of one moment.
    let ledger = state.snapshot();
    let mut place = None;
    let mut part;
    let tried = match searches.is_empty() && first.query.is_exact() {
        true => at_once(&ledger, &first, limits, from.as_ref(), &shape),
        false => None,
    };
    match tried {
        Some(answered) => part = answered?,
        None => {
            let is_exact = first.query.is_exact();
            let begin = move |slice| {
                let walk = Walk::start(&ledger, &first, limits, from)?;
                let mut buffer = Vec::with_capacity(1024);
                shape.begin(&mut buffer);
                let mut part = OpenAnswer { walk, searches, left: limits, ledger, shape, buffer };
                part.fill(WHOLE_BYTES, slice)?;
                Ok::<_, ApiError>(part)
            };
            let pace = &state.0.pace;
            if let Some(_turn) = if is_exact { pace.turn() } else { None } {
                part = begin(AT_ONCE)?;
            } else {
                let taken = take_place(&places).await?;
                let pace = Arc::clone(pace);
                let work = move || {
                    let began = std::time::Instant::now();
                    let part = begin(if is_exact { AT_ONCE } else { SLICE })?;
                    if is_exact {
                        pace.took(began.elapsed());
                    }
                    Ok::<_, ApiError>((part, Some(taken)))
                };
                (part, place) = in_time(deadline, work).await??;
            }
        }
    }
    while !part.is_full(WHOLE_BYTES) {
        let taken = hold(place.take(), &places).await?;
        let fill = move || part.fill(WHOLE_BYTES, SLICE).map(|()| (part, Some(taken)));
        (part, place) = in_time(deadline, fill).await??;
    }
    if part.walk.found() == 0
        && let Some(end) = part.walk.end()
        && let Some(nothing) = part.shape.nothing(end)
    {
        return Err(nothing.true_of(as_of));
    }
    let mut truncated = part.walk.end().map(|end| *end != End::Complete);
    if says_truncated && truncated.is_none() {
        // A header comes before all rows, so the rest is counted before it is written.
        let mut ahead = part.walk.clone();
        let mut taken = hold(place.take(), &places).await?;
        while ahead.end().is_none() {
            let count = move || ahead.advance(SLICE, |_| true).map(|()| (ahead, taken));
            (ahead, taken) = in_time(deadline, count).await??;
        }
        truncated = ahead.end().map(|end| *end != End::Complete);
    }
    drop(place);
    let mut response = if part.walk.end().is_some() {
        Response::new(part.buffer.into())
    } else {
        let (chunks, receiver) = channel(1);
        let streams = if is_scan { places } else { state.0.streams.of(None) };
        let until = began + config.stream_timeout;
        tokio::spawn(produce(chunks, part, streams, config.request_timeout, until));
        body(receiver)
    };
    if says_truncated && truncated == Some(true) {
        say_truncated(&mut response);
    }
    Ok(with_headers(response, content_type, as_of))
}

/// Begins the answer to an exact lookup within the event loop, from what is in memory: another thread costs more than that.
/// `None` when it may have to wait, which nobody may do here.
fn at_once<S: Shape>(
    ledger: &Arc<dyn Snapshot>,
    search: &Search,
    limits: Limits,
    from: Option<&Cursor>,
    shape: &S,
) -> Option<Result<OpenAnswer<S>, ApiError>> {
    let mut walk = match Walk::start(ledger, search, limits, from.cloned()) {
        Ok(walk) => walk,
        Err(error) => return Some(Err(error.into())),
    };
    let (mut shape, mut buffer) = (shape.clone(), Vec::with_capacity(1024));
    shape.begin(&mut buffer);
    let advanced = walk.advance_in_memory(AT_ONCE, |found| {
        shape.row(found, &mut buffer);
        buffer.len() < WHOLE_BYTES
    });
    match advanced {
        Ok(()) => {}
        Err(StoreError::NotInMemory) => return None,
        Err(error) => return Some(Err(error.into())),
    }
    if let Some(end) = walk.end() {
        shape.end(end, &mut buffer);
    }
    let searches = VecDeque::new();
    Some(Ok(OpenAnswer { walk, searches, left: limits, ledger: Arc::clone(ledger), shape, buffer }))
}

/// Puts the headers on an answer that all of them have.
pub fn with_headers(mut response: Response, content_type: &'static str, as_of: Freshness) -> Response {
    let headers = response.headers_mut();
    headers.reserve(MOST_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    say_fresh(headers, &as_of);
    response
}

/// The places that a lookup takes one of, or a scan of the whole ledger.
fn places(state: &State, is_scan: bool) -> PlacesOf {
    if is_scan { state.0.scans.of(state.1.network) } else { state.0.lookups.of(None) }
}

/// Makes something of text of clients that may be long, on a thread that may block.
///
/// # Errors
///
/// 429 when others do so all the time, 504 when it takes too long.
pub async fn read_beside<T: Send + 'static>(
    state: &State,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let place = take_place(&state.0.reading.of(state.1.network)).await?;
    let work = move || {
        let _place = place;
        work()
    };
    in_time(Instant::now() + state.0.config.request_timeout, work).await
}

/// Makes progress with what begins by understanding text of clients that may be long: the event loop goes on elsewhere meanwhile.
///
/// # Errors
///
/// 429 when others do so all the time.
pub async fn handle_beside<F: Future>(
    state: &State,
    network: Option<IpAddr>,
    handled: F,
) -> Result<F::Output, ApiError> {
    let mut place = Some(take_place(&state.0.reading.of(network)).await?);
    let mut handled = std::pin::pin!(handled);
    let polled = poll_fn(|context| {
        let polled = block_in_place(|| handled.as_mut().poll(context));
        // All else that it does is beside the event loop anyway.
        place = None;
        polled
    });
    Ok(polled.await)
}

/// Makes a report about the daemon itself, on a thread that may block. A moment is waited for a place among all reports.
///
/// # Errors
///
/// 429 when all places stay taken, 504 when the time of a request is over.
pub async fn in_report<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&State) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + state.0.config.request_timeout;
    let place = take_place(&state.0.reports.of(None)).await?;
    let state = state.clone();
    let work = move || {
        let _place = place;
        work(&state)
    };
    in_time(deadline, work).await
}

/// Waits a moment for a place among the lookups, or among the scans.
///
/// # Errors
///
/// 429 when all stay taken.
pub async fn place_for(state: &State, is_scan: bool) -> Result<Place, ApiError> {
    take_place(&places(state, is_scan)).await
}

/// The place that is held, or one that is waited for.
async fn hold(held: Option<Place>, places: &PlacesOf) -> Result<Place, ApiError> {
    match held {
        Some(held) => Ok(held),
        None => take_place(places).await,
    }
}

async fn take_place(places: &PlacesOf) -> Result<Place, ApiError> {
    match timeout(PLACE_WAIT, places.take()).await {
        Ok(Some(place)) => Ok(place),
        _ => Err(ApiError::busy()),
    }
}

/// What was gathered from the rows of a search.
pub struct Gathered<T> {
    /// What was made of these rows.
    pub value: T,
    /// Why no more rows were looked at.
    pub ended: Ended,
    /// How many rows were looked at.
    pub examined: u64,
}

/// Why gathering ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The answer did, in its way.
    Answer(End),
    /// The visitor had enough.
    Enough,
    /// Half of the time of a request was over.
    Time,
}

/// Walks a search beside the event loop and lets a visitor gather from its rows until it has enough (`false`).
///
/// # Errors
///
/// As [`answer`] before the first byte.
pub async fn gather<T: Send + 'static>(
    state: &State,
    search: Search,
    limits: Limits,
    from: Option<Cursor>,
    mut value: T,
    mut visit: impl FnMut(&mut T, &Found<'_>) -> bool + Send + 'static,
) -> Result<Gathered<T>, ApiError> {
    let start = Instant::now();
    let deadline = start + state.0.config.request_timeout;
    let patience = start + state.0.config.request_timeout / 2;
    let mut place = place_for(state, search.query.is_scan()).await?;
    let mut walk = Walk::start(&state.snapshot(), &search, limits, from)?;
    loop {
        let mut more = true;
        let step = move || {
            walk.advance(SLICE, |found| {
                more = visit(&mut value, found);
                more
            })?;
            Ok::<_, StoreError>((walk, value, visit, more, place))
        };
        (walk, value, visit, more, place) = in_time(deadline, step).await??;
        let ended = match walk.end() {
            Some(end) => Ended::Answer(end.clone()),
            None if !more => Ended::Enough,
            None if Instant::now() >= patience => Ended::Time,
            None => continue,
        };
        return Ok(Gathered { value, ended, examined: walk.examined() });
    }
}

/// Runs something that blocks, until the deadline.
///
/// # Errors
///
/// 504 when it is over first; what runs goes on to its own end, which is near.
pub async fn in_time<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    match timeout_at(deadline, spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "A lookup ended abnormally.");
            Err(ApiError::unavailable("the lookup failed"))
        }
        Err(_) => Err(ApiError::timeout()),
    }
}

/// An answer being written.
struct OpenAnswer<S> {
    walk: Walk,
    /// The searches to come.
    searches: VecDeque<Search>,
    /// The bounds that were left when the walk began.
    left: Limits,
    /// The moment of the ledger that all of them are answered from.
    ledger: Arc<dyn Snapshot>,
    shape: S,
    buffer: Vec<u8>,
}

impl<S: Shape> OpenAnswer<S> {
    /// Walks one slice, or until so many bytes are there.
    fn fill(&mut self, bytes: usize, slice: Slice) -> Result<(), StoreError> {
        let OpenAnswer { walk, searches, left, ledger, shape, buffer } = self;
        walk.advance(slice, |found| {
            shape.row(found, buffer);
            buffer.len() < bytes
        })?;
        match walk.end() {
            Some(End::Complete) if let Some(next) = searches.pop_front() => {
                left.rows = left.rows.saturating_sub(walk.found());
                left.examined = left.examined.saturating_sub(walk.examined());
                *walk = Walk::begin(ledger, &next, *left);
            }
            Some(end) => shape.end(end, buffer),
            None => {}
        }
        Ok(())
    }

    fn is_full(&self, bytes: usize) -> bool {
        self.walk.end().is_some() || self.buffer.len() >= bytes
    }
}

/// A part of a body.
pub enum Chunk {
    /// There is more behind it.
    More(Bytes),
    /// The last bytes of the body.
    Last(Bytes),
}

/// Writes the rest of an answer. When the client is gone, too slow, or the ledger fails, it ends without the last chunk. `chunks` comes
/// first, so that it is dropped last.
async fn produce<S: Shape>(
    chunks: Sender<Chunk>,
    mut part: OpenAnswer<S>,
    places: PlacesOf,
    patience: Duration,
    until: Instant,
) {
    loop {
        let Ok(Ok(room)) = timeout(patience, chunks.reserve()).await else { return };
        let ended = part.walk.end().is_some();
        if !ended && Instant::now() >= until {
            tracing::info!("An answer took longer than http.stream_timeout and was ended.");
            let next = part.walk.here();
            if part.shape.late(&next, &mut part.buffer) {
                room.send(Chunk::Last(part.buffer.into()));
            }
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut part.buffer));
        room.send(if ended { Chunk::Last(bytes) } else { Chunk::More(bytes) });
        if ended {
            return;
        }
        // Nothing is made before there is room for it.
        match timeout(patience, chunks.reserve()).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
        while !part.is_full(CHUNK_BYTES) {
            let Some(place) = places.take().await else { return };
            let filled;
            (part, filled) = match spawn_blocking(move || fill_in_place(part, place)).await {
                Ok(filled) => filled,
                Err(error) => {
                    tracing::error!(%error, "An answer was cut short.");
                    return;
                }
            };
            if let Err(error) = filled {
                tracing::error!(%error, "An answer was cut short.");
                if part.shape.fail(&mut part.buffer) {
                    let bytes = std::mem::take(&mut part.buffer).into();
                    // A client that is gone needs no words.
                    drop(timeout(patience, chunks.send(Chunk::Last(bytes))).await);
                }
                return;
            }
        }
    }
}

fn fill_in_place<S: Shape>(
    mut part: OpenAnswer<S>,
    _place: Place,
) -> (OpenAnswer<S>, Result<(), StoreError>) {
    let filled = part.fill(CHUNK_BYTES, SLICE);
    (part, filled)
}

/// A body of chunks; it fails when they end before the last one. It ends when its sender is gone, which is dropped last: who asks again
/// when an answer has ended finds the places free that it took.
pub fn body(mut chunks: Receiver<Chunk>) -> Response {
    let (mut whole, mut ended) = (false, false);
    let frames = stream::poll_fn(move |context| {
        if ended {
            return std::task::Poll::Ready(None);
        }
        chunks.poll_recv(context).map(|chunk| match chunk {
            Some(Chunk::More(bytes)) => Some(Ok(bytes)),
            Some(Chunk::Last(bytes)) => {
                whole = true;
                Some(Ok(bytes))
            }
            None => {
                ended = true;
                (!whole).then(|| Err(io::Error::other("the answer was cut short")))
            }
        })
    });
    warp::reply::stream(frames).into_response()
}
