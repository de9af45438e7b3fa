//! The accept loop: connections with a head timeout, a stall timeout, a cap, and an end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use warp::reply::Response;

use super::State;
use super::answer::handle_beside;
use super::cors;
use super::error::ApiError;
use super::guard::{Asker, Door, network};
use super::gzip;
use super::page;
use super::request::without_doubled_slashes;
use super::routes::routes;
use crate::base::descriptors::FOR_CONTROL;
use crate::base::shutdown::Stop;
use crate::base::threads;

/// Bytes of a request's head, and of a connection's buffers.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Bytes of a path, with what is asked behind it, that are soon understood.
const SHORT: usize = 512;
/// Headers of one request.
const MAX_HEADERS: usize = 100;
/// How long open requests may take to end once it is time to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client is waited for that is refused.
const REFUSAL: Duration = Duration::from_secs(1);
/// How long to wait when the system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// On every answer: nothing here is to be framed, sniffed, kept, or to load anything.
static SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What the system keeps of an answer that a client has not taken yet, bytes; Linux doubles it. Left to itself it keeps
/// several megabytes for each client: work and memory for many that never read.
const SEND_BUFFER: usize = 128 << 10;

/// Connections that wait to be accepted. The standard library's 128 are soon too few: a client that finds no room tries
/// again after a second.
const BACKLOG: i32 = 1024;

/// A socket that listens.
pub enum Listener {
    /// Over the network.
    Tcp(TcpListener),
    /// In the data folder: the control socket.
    Unix(UnixListener),
}

impl Listener {
    /// Listens at a port that is bound. Runs within the runtime.
    ///
    /// # Errors
    ///
    /// When the system does not let it be listened at.
    pub fn tcp(bound: std::net::TcpListener) -> io::Result<Listener> {
        bound.set_nonblocking(true)?;
        let socket = SockRef::from(&bound);
        // Connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.listen(BACKLOG)?;
        Ok(Listener::Tcp(TcpListener::from_std(bound)?))
    }

    fn door(&self) -> Door {
        match self {
            // A socket that does not know its address is treated as one that everybody reaches.
            Listener::Tcp(listener) => {
                Door::Network { loopback: listener.local_addr().is_ok_and(|at| at.ip().is_loopback()) }
            }
            Listener::Unix(_) => Door::Control,
        }
    }

    /// The next connection, and the address it comes from. The system ends it where its other side takes nothing of what was sent for so
    /// long: what it has taken over from a stream is beyond the reach of [`Impatient`].
    async fn accept(&self, unread: Duration) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_user_timeout(Some(unread))?;
                Ok((Box::new(stream), Some(peer.ip())))
            }
            Listener::Unix(listener) => Ok((Box::new(listener.accept().await?.0), None)),
        }
    }
}

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Serves until the stop signal, then lets open requests end, but not for ever.
pub async fn serve(listener: Listener, state: State, stop: Stop) {
    let config = state.0.config.clone();
    let door = listener.door();
    let doors = Doors {
        door,
        usual: TowerToHyperService::new(warp::service(routes(state.clone(), door))),
        control: TowerToHyperService::new(warp::service(routes(state.clone(), Door::Control))),
    };
    // The control socket has places of its own, which no client from the network can take.
    let places = match door {
        Door::Network { .. } => config.max_connections,
        Door::Control => usize::try_from(FOR_CONTROL).unwrap_or(usize::MAX),
    };
    let connections = Arc::new(Semaphore::new(places));
    let crowds = Arc::new(Crowds::new(config.max_connections_per_address));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let mut stopped = std::pin::pin!(stopped(stop));
    loop {
        let accept = async {
            // Before accepting: who cannot be served waits in the system's queue, not in our memory.
            let place = Arc::clone(&connections).acquire_owned().await;
            (listener.accept(config.stream_timeout).await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stopped => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "A connection could not be accepted.");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (doors, state, builder, watcher) =
            (doors.clone(), state.clone(), builder.clone(), graceful.watcher());
        let tls = state.tls().filter(|_| door != Door::Control);
        let crowd = match crowds.enter(peer) {
            Some(crowd) => crowd,
            None => {
                refuse(stream, tls.is_some());
                continue;
            }
        };
        let (patience, header_timeout) = (config.request_timeout, config.header_timeout);
        tokio::spawn(async move {
            let _connected = state.metrics().connected();
            let stream = match tls {
                None => stream,
                Some(tls) => match timeout(header_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(error)) => return tracing::debug!(%error, "A TLS handshake failed."),
                    Err(_) => return tracing::debug!("A TLS handshake took too long."),
                },
            };
            let service = service_fn(|request| guarded(doors.clone(), state.clone(), request, peer));
            let stream = TokioIo::new(Impatient::new(stream, patience));
            if let Err(error) = watcher.watch(builder.serve_connection(stream, service)).await {
                tracing::debug!(%error, "A connection ended early.");
            }
            drop((place, crowd));
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("Some requests did not end in time and were cut.");
    }
}

/// The routes of a door, and those of the control socket for who may use them.
#[derive(Clone)]
struct Doors<U, C> {
    door: Door,
    usual: U,
    control: C,
}

/// Passes a request on if it may come in, and puts the headers on its answer that every answer has.
async fn guarded<U, C>(
    doors: Doors<U, C>,
    state: State,
    mut request: Request<Incoming>,
    peer: Option<IpAddr>,
) -> Result<Response, Infallible>
where
    U: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    C: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if !is_for_a_path(request.method(), request.uri()) || hosts > 1 {
        // There is no body to be read, nor a path to answer at: what follows on this connection may be anything.
        let mut response = ApiError::bad_target().into_response("");
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        dress(response.headers_mut());
        return Ok(response);
    }
    // Who names the host in the target means that one (RFC 9112, 3.2.2).
    let named = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = named {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(uri) = without_doubled_slashes(request.uri()) {
        *request.uri_mut() = uri;
    }
    let (guard, began) = (state.guard(), Instant::now());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let gzip = method != Method::HEAD && gzip::is_asked(request.headers());
    let is_browser = page::is_of_a_browser(&method, request.headers());
    let origin = state.origins().of(request.headers());
    if origin.is_some() && cors::is_preflight(&method, request.headers()) {
        let mut response = cors::preflight();
        state.origins().mark(response.headers_mut(), origin);
        return Ok(response);
    }
    let caller = guard.admit(doors.door, peer, &method, &uri, request.headers_mut(), origin.is_some());
    if let Ok(caller) = &caller {
        let scheme = state.proxies().scheme(peer, request.headers(), state.tls().is_some());
        request.extensions_mut().insert(Asker::new(peer, caller, scheme));
    }
    let mut response = match &caller {
        Ok(caller) if caller.may_control() => doors.control.call(request).await?,
        Ok(_) if may_take_long(&uri) => {
            let handled = handle_beside(&state, peer.map(network), doors.usual.call(request)).await;
            match handled {
                Ok(response) => response?,
                Err(error) => page::told(error, is_browser, ""),
            }
        }
        Ok(_) => doors.usual.call(request).await?,
        Err(error) => page::told(error.clone(), is_browser, ""),
    };
    state.metrics().answered(uri.path(), response.status(), began.elapsed());
    guard.record(caller.as_ref().ok(), peer, &method, &uri, response.status());
    if gzip {
        response = gzip::compressed(response);
    }
    let headers = response.headers_mut();
    state.origins().mark(headers, origin);
    dress(headers);
    Ok(response)
}

/// Whether what is asked may take long to be understood: it is long, or may be a pattern.
fn may_take_long(uri: &Uri) -> bool {
    let asked = uri.path_and_query().map_or("", |asked| asked.as_str());
    let of_patterns =
        |b: u8| matches!(b, b'%' | b'*' | b'~' | b'[' | b'(' | b'{' | b'^' | b'$' | b'|' | b'\\');
    asked.len() > SHORT || asked.bytes().any(of_patterns)
}

/// Puts the headers on an answer that every answer has.
fn dress(headers: &mut HeaderMap) {
    for (name, value) in &SECURITY_HEADERS {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Whether a request is for a path of this server: no tunnel, no other server, no server as a whole.
fn is_for_a_path(method: &Method, uri: &Uri) -> bool {
    *method != Method::CONNECT && uri.path_and_query().is_some() && uri.path().starts_with('/')
}

/// Says to one who has as many connections as an address may have that it is so, and closes this one.
fn refuse(mut stream: Box<dyn Stream>, is_tls: bool) {
    tracing::debug!("A connection was refused: its address has as many as it may have.");
    if is_tls {
        return; // what is said before a handshake is no answer
    }
    tokio::spawn(async move {
        let body = "{\"error\":{\"code\":\"too_many_connections\",\"message\":\"too many connections from this address\"}}\n";
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             retry-after: 1\r\nconnection: close\r\n\r\n{body}"
        );
        // Who is gone, or takes nothing, is not waited for.
        drop(timeout(REFUSAL, stream.write_all(answer.as_bytes())).await);
        drop(timeout(REFUSAL, stream.shutdown()).await);
    });
}

//--- Crowds ---------------------------------------------------------------------------------------------------------

/// How many connections each address has.
struct Crowds {
    each: usize,
    of: Mutex<HashMap<IpAddr, usize>>,
}

impl Crowds {
    fn new(each: usize) -> Crowds {
        Crowds { each, of: Mutex::default() }
    }

    /// One more connection from an address, unless it has as many as it may have.
    fn enter(self: &Arc<Crowds>, peer: Option<IpAddr>) -> Option<Crowd> {
        let network = peer.map(network);
        if let Some(network) = network {
            let mut of = self.of.lock();
            let here = of.entry(network).or_default();
            if *here >= self.each {
                return None;
            }
            *here += 1;
        }
        Some(Crowd { crowds: Arc::clone(self), network })
    }
}

/// A connection that is counted for as long as it is open.
struct Crowd {
    crowds: Arc<Crowds>,
    network: Option<IpAddr>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(network) = self.network {
            let mut of = self.crowds.of.lock();
            if let Some(here) = of.get_mut(&network) {
                *here -= 1;
                if *here == 0 {
                    of.remove(&network);
                }
            }
        }
    }
}

/// Waits for the stop signal without holding a thread of the runtime.
async fn stopped(stop: Stop) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let waiting = move || {
        while !stop.wait(Duration::from_secs(3600)) {}
        let _ = tell.send(()); // nobody listens any more: nothing to tell
    };
    match threads::spawn("stop", waiting) {
        Ok(_) => drop(told.await),
        Err(error) => tracing::error!(%error, "No thread to wait for the stop signal: stopping."),
    }
}

//--- Impatient ------------------------------------------------------------------------------------------------------

/// A stream that fails when its other side takes nothing for too long. Reading waits as long as it must: hyper has its own
/// limit for heads, and bodies come over the control socket only.
struct Impatient {
    stream: Box<dyn Stream>,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: Box<dyn Stream>, patience: Duration) -> Impatient {
        Impatient { stream, patience, stalled: None }
    }

    /// Lets a write wait, but not for ever.
    fn waits<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience;
        let stalled =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.waits(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.waits(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.waits(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.waits(outcome, context)
    }
}
