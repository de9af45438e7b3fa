//! The other side: a small blocking client for the command line, over the control socket, an `http://` or an `https://` URL.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::server::Stream;
use super::tls::{self, TlsError};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may say nothing where nobody has said it: twice the time that it has for a request.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one may take to say whether it is there.
const PROBE: Duration = Duration::from_secs(15);
/// How many times as long may be silent what works at length, and how many times as long it may go on slowly: two hours.
const AT_LENGTH: u32 = 10;
const SLOWLY: u32 = 120;
/// Bytes a second below which an answer is slow.
const SLOW: u64 = 1 << 10;
/// Bytes of a body that are read and sent at a time.
const UPLOAD_BYTES: usize = 256 << 10;
/// Bytes of an error that are read.
pub(super) const MAX_ERROR_BYTES: u64 = 64 << 10;
/// Bytes of an answer to what was pushed, about, that are read.
const MAX_PUSHED_BYTES: usize = 1 << 20;
/// Characters of a plain error that are told.
const MAX_PLAIN_CHARS: usize = 500;
/// The characters that are percent-encoded in a parameter.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

//--- ClientError ----------------------------------------------------------------------------------------------------

/// Why a request had no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach {server}: {error}")]
    Unreachable {
        /// The socket or the URL.
        server: String,
        /// The reason.
        error: io::Error,
    },
    /// The URL cannot be used.
    #[error("{url:?} is not a server: {why}")]
    BadUrl {
        /// The URL as given.
        url: String,
        /// The reason.
        why: &'static str,
    },
    /// The certificates that are to be trusted cannot be read.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The server answered with an error.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's message.
        message: String,
        /// The server's hint.
        hint: Option<String>,
        /// The server's error code.
        code: Option<String>,
    },
    /// The connection broke.
    #[error("the connection to {server} broke: {error}")]
    Broken {
        /// The socket or the URL.
        server: String,
        /// The reason.
        error: io::Error,
    },
    /// The server is there, and says nothing.
    #[error("{server} took the request and said nothing for {} s", silence.as_secs())]
    Silent {
        /// The socket or the URL.
        server: String,
        /// How long it was waited for.
        silence: Duration,
    },
    /// The server does not speak HTTP.
    #[error("{server} does not answer in HTTP")]
    NoHttp {
        /// The URL.
        server: String,
    },
}

impl ClientError {
    /// Whether nobody listens on the socket: no daemon, or a dead one's socket.
    pub fn is_nobody(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, ClientError::Unreachable { error, .. } if matches!(error.kind(), ConnectionRefused | NotFound))
    }

    /// Whether what was typed has no meaning: a query, a time, a sensor. What is wrong with a list is none of that.
    pub fn is_misuse(&self) -> bool {
        match self {
            ClientError::BadUrl { .. } => true,
            ClientError::Refused { status: 400, code, .. } => {
                let code = code.as_deref().unwrap_or_default();
                code.starts_with("bad_")
                    && !["bad_list", "bad_body", "bad_encoding", "bad_target"].contains(&code)
            }
            _ => false,
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ClientError::Unreachable { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(
                    "run it as the user that runs the daemon, or ask over HTTP: `--server http://127.0.0.1:8081`",
                )
            }
            // Errors of TLS have this kind.
            ClientError::Unreachable { error, .. } if error.kind() == io::ErrorKind::InvalidData => Some(
                "if the server's certificate is its own or of an authority of yours, name the file: --ca FILE; if the \
                 server speaks no TLS, ask http://",
            ),
            ClientError::Trust(error) => Some(error.hint()),
            ClientError::Unreachable { .. } => Some("check the address, and that `dnsledger run` is running"),
            ClientError::BadUrl { .. } => Some("--server http://127.0.0.1:8081"),
            ClientError::Refused { status: 401, .. } => Some(
                "--token-file FILE, DNSLEDGER_TOKEN_FILE, or token_file in ~/.config/dnsledger/client.toml: a file with a token, \
                 which `dnsledger token new NAME` makes where the daemon is",
            ),
            ClientError::Refused { hint, .. } => hint.as_deref(),
            ClientError::NoHttp { .. } => Some("if that port speaks TLS, ask https://"),
            ClientError::Silent { .. } => Some(
                "if it is a daemon that has much to do, ask again, with --timeout 10m where the command has that",
            ),
            ClientError::Broken { .. } => None,
        }
    }
}

//--- Patience -------------------------------------------------------------------------------------------------------

/// How long a server is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    /// How long it may say nothing, before its answer and within it.
    silence: Duration,
    /// How long an answer may be waited for, all in all, beside a second for each [`SLOW`] bytes of it. One that comes by the byte is never
    /// silent, and never ends. `None` where whoever asks sees to that.
    slowly: Option<Duration>,
}

impl Patience {
    fn of(silence: Duration) -> Patience {
        Patience { silence, slowly: Some(silence) }
    }

    /// How long the next part of an answer may take, of which so many bytes came after so long a wait; `None` where it is given up.
    fn left(self, waited: Duration, came: u64) -> Option<Duration> {
        let Some(slowly) = self.slowly else { return Some(self.silence) };
        let left = slowly.saturating_add(Duration::from_secs(came / SLOW)).checked_sub(waited)?;
        (!left.is_zero()).then_some(left.min(self.silence))
    }
}

//--- Client ---------------------------------------------------------------------------------------------------------

/// Where a server is.
#[derive(Clone)]
enum Server {
    Socket(PathBuf),
    Tcp { host: String, port: u16, authority: String, tls: Option<(TlsConnector, ServerName<'static>)> },
}

/// A client of one server. Each request has a connection of its own.
#[derive(Clone)]
pub struct Client {
    server: Server,
    token: Option<HeaderValue>,
    /// Further headers of each request.
    headers: Vec<(HeaderName, HeaderValue)>,
    patience: Patience,
    /// Whether errors are plain text, of which the beginning is told.
    is_plain: bool,
    runtime: Arc<Runtime>,
}

impl Client {
    /// A client of the daemon that has the socket.
    ///
    /// # Errors
    ///
    /// When the system gives no event queue.
    pub fn of_socket(path: &Path) -> Result<Client, ClientError> {
        Client::new(Server::Socket(path.to_owned()), None)
    }

    /// A client of a server by its URL, with a token where it wants one. Of `https://`, the certificates in the file `ca`
    /// are trusted, or without one those of the system.
    ///
    /// # Errors
    ///
    /// When the URL, the token or the file cannot be used.
    pub fn of_url(url: &str, token: Option<&str>, ca: Option<&Path>) -> Result<Client, ClientError> {
        let bad = |why| ClientError::BadUrl { url: url.to_owned(), why };
        // A host and a port alone are asked over HTTP, but where there is a certificate to trust.
        let has_scheme = url.is_empty() || url.contains("://");
        let scheme = if ca.is_some() { "https" } else { "http" };
        let full = if has_scheme { url.to_owned() } else { format!("{scheme}://{url}") };
        let uri: Uri = full.parse().map_err(|_| bad("not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") if ca.is_some() => {
                return Err(bad("without https:// there is no certificate to trust"));
            }
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("it does not start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("only a host and a port are expected"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = match secure {
            false => None,
            true => {
                let name =
                    ServerName::try_from(host.clone()).map_err(|_| bad("its host has no certificate"))?;
                Some((tls::trusting(ca)?, name))
            }
        };
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let mut token = token.map_err(|_| bad("the token holds characters that no token has"))?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Client::new(Server::Tcp { host, port, authority: authority.to_string(), tls }, token)
    }

    fn new(server: Server, token: Option<HeaderValue>) -> Result<Client, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| ClientError::Unreachable { server: server.to_string(), error })
            .map(Arc::new)?;
        let (headers, patience, is_plain) = (Vec::new(), Patience::of(SILENCE), false);
        Ok(Client { server, token, headers, patience, is_plain, runtime })
    }

    /// The same for a database that speaks HTTP: each request says these headers, an answer may take so long to begin and to go
    /// on, and errors are plain text.
    ///
    /// # Errors
    ///
    /// When a header cannot be said.
    pub(super) fn of_database(
        url: &str,
        ca: Option<&Path>,
        headers: &[(&'static str, &str)],
        patience: Duration,
    ) -> Result<Client, ClientError> {
        let mut client = Client::of_url(url, None, ca)?;
        for (name, value) in headers {
            let bad = |_| ClientError::BadUrl {
                url: url.to_owned(),
                why: "its user or password holds what no header may",
            };
            let mut value = HeaderValue::try_from(*value).map_err(bad)?;
            value.set_sensitive(true);
            client.headers.push((HeaderName::from_static(name), value));
        }
        (client.patience, client.is_plain) = (Patience { silence: patience, slowly: None }, true);
        Ok(client)
    }

    /// The same, where the server may say nothing for so long.
    #[must_use]
    pub(super) fn with_timeout(self, silence: Duration) -> Client {
        Client { patience: Patience::of(silence), ..self }
    }

    /// The same, where somebody has said that the server may say nothing for so long.
    #[must_use]
    pub fn patient(self, silence: Option<Duration>) -> Client {
        match silence {
            Some(silence) => self.with_timeout(silence),
            None => self,
        }
    }

    /// The same for who only asks whether it is there.
    #[must_use]
    pub fn probing(&self) -> Client {
        self.clone().with_timeout(PROBE.min(self.patience.silence))
    }

    /// The same for what looks through much, and may be silent meanwhile.
    #[must_use]
    pub fn at_length(&self) -> Client {
        let Patience { silence, .. } = self.patience;
        let slowly = Some(silence.saturating_mul(SLOWLY));
        Client { patience: Patience { silence: silence.saturating_mul(AT_LENGTH), slowly }, ..self.clone() }
    }

    /// The same for what says nothing before it is done.
    #[must_use]
    pub fn until_done(&self) -> Client {
        self.clone().with_timeout(self.patience.silence.saturating_mul(SLOWLY))
    }

    /// The same for a stream without an end, in which something comes now and then.
    #[must_use]
    pub fn without_end(&self) -> Client {
        Client { patience: Patience { slowly: None, ..self.patience }, ..self.clone() }
    }

    /// A client of what a URL with a path names, and that path with its query.
    ///
    /// # Errors
    ///
    /// When the URL or the certificates cannot be used.
    pub fn of_endpoint(url: &str, ca: Option<&Path>) -> Result<(Client, String), ClientError> {
        let bad = |why| ClientError::BadUrl { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| bad("not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad("it does not start with http:// or https://"));
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok((Client::of_url(&format!("{scheme}://{authority}"), None, ca)?, target))
    }

    /// Posts bytes with these headers, and gives what is answered, whatever that is: no redirect is followed. All of it takes no
    /// longer than this.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn push(
        &self,
        target: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
        at_most: Duration,
    ) -> Result<Pushed, ClientError> {
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| ClientError::Broken {
            server: self.server.to_string(),
            error: io::Error::other(error),
        };
        let mut request =
            Request::builder().method(Method::POST).uri(target).header(HOST, self.server.authority());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(http_body_util::Full::new(Bytes::from(body)))
            .map_err(|error| broken(error.into()))?;
        let pushed = async {
            let stream = self.server.connect().await;
            let stream = stream
                .map_err(|error| ClientError::Unreachable { server: self.server.to_string(), error })?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| broken(error.into()))?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|error| match error.is_parse() {
                true => ClientError::NoHttp { server: self.server.to_string() },
                false => broken(error.into()),
            })?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
            let retry_after =
                retry_after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
            let (mut body, mut response) = (Vec::new(), response.into_body());
            while let Some(frame) = response.frame().await {
                let Ok(Ok(data)) = frame.map(Frame::into_data) else { break };
                body.extend_from_slice(&data);
                if body.len() > MAX_PUSHED_BYTES {
                    break;
                }
            }
            Ok(Pushed { status, retry_after, body })
        };
        self.runtime.block_on(async {
            let late = || broken(io::Error::from(io::ErrorKind::TimedOut).into());
            timeout(at_most, pushed).await.unwrap_or_else(|_| Err(late()))
        })
    }

    /// Gets a path with these parameters.
    ///
    /// # Errors
    ///
    /// When there is no good answer.
    pub fn get(&self, path: &str, params: &[(&str, &str)]) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, params, None)
    }

    /// Posts to a path with these parameters; the body is read while it is sent.
    ///
    /// # Errors
    ///
    /// When there is no good answer.
    pub fn post(
        &self,
        path: &str,
        params: &[(&str, &str)],
        body: Option<Box<dyn Read + Send>>,
    ) -> Result<Answer, ClientError> {
        self.send(Method::POST, path, params, body)
    }

    /// Runs what waits for the server.
    pub(super) fn block_on<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.runtime.block_on(waiting)
    }

    /// Connects to the server.
    pub(super) async fn connect<B>(&self) -> Result<SendRequest<B>, ClientError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = match timeout(CONNECT, self.server.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let stream =
            stream.map_err(|error| ClientError::Unreachable { server: self.server.to_string(), error })?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error.into()))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a request on a connection of its own. What is sent meanwhile says when a part of it went out last.
    fn exchange_while<B>(&self, request: Request<B>, sent: &Sent) -> Result<Response<Incoming>, ClientError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.runtime.block_on(async {
            let mut sender = self.connect().await?;
            let mut answer = std::pin::pin!(sender.send_request(request));
            sent.now();
            loop {
                let until = sent.last() + self.patience.silence;
                match timeout_at(until.into(), &mut answer).await {
                    Ok(answered) => {
                        return answered.map_err(|error| match error.is_parse() {
                            true => self.speaks_no_http(),
                            false => self.broken(error.into()),
                        });
                    }
                    // It took a part meanwhile.
                    Err(_) if sent.last() + self.patience.silence > Instant::now() => {}
                    Err(_) => {
                        let (server, silence) = (self.server.to_string(), self.patience.silence);
                        return Err(ClientError::Silent { server, silence });
                    }
                }
            }
        })
    }

    /// Sends a request that is at hand on a connection of its own.
    pub(super) fn exchange<B>(&self, request: Request<B>) -> Result<Response<Incoming>, ClientError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.exchange_while(request, &Sent::default())
    }

    /// A body that is read as it comes.
    pub(super) fn answer(&self, body: Incoming) -> Answer {
        let (runtime, current) = (Arc::clone(&self.runtime), Bytes::new());
        let (patience, waited, came) = (self.patience, Duration::ZERO, 0);
        Answer { runtime, body, current, patience, waited, came, until: None, broken: None }
    }

    /// The error for a connection that broke.
    pub(super) fn broken(&self, error: Box<dyn std::error::Error + Send + Sync>) -> ClientError {
        ClientError::Broken { server: self.server.to_string(), error: io::Error::other(error) }
    }

    /// The error for a server that does not speak HTTP.
    pub(super) fn speaks_no_http(&self) -> ClientError {
        ClientError::NoHttp { server: self.server.to_string() }
    }

    /// The host and port, as requests name it.
    pub(super) fn authority(&self) -> &str {
        self.server.authority()
    }

    /// The head of a request.
    pub(super) fn request(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Builder {
        let mut target = path.to_owned();
        for (i, (key, value)) in params.iter().enumerate() {
            target.push(if i == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            target.extend(percent_encode(value.as_bytes(), ENCODED));
        }
        let mut request = Request::builder().method(method).uri(target).header(HOST, self.server.authority());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
        body: Option<Box<dyn Read + Send>>,
    ) -> Result<Answer, ClientError> {
        let sent = Sent::default();
        let request = self.request(method, path, params).body(Upload(body, sent.clone()));
        let request = request.map_err(|error| self.broken(error.into()))?;
        let response = self.exchange_while(request, &sent)?;
        let status = response.status();
        let body = response.into_body();
        let mut answer = self.answer(body);
        if status.is_success() {
            return Ok(answer);
        }
        let mut text = Vec::new();
        // An error may be cut: its beginning is enough.
        let _ = answer.by_ref().take(MAX_ERROR_BYTES).read_to_end(&mut text);
        Err(self.refused(status, &text))
    }

    /// The error for an answer with an error status and a text.
    pub(super) fn refused(&self, status: StatusCode, text: &[u8]) -> ClientError {
        let error: Option<serde_json::Value> = serde_json::from_slice(text).ok();
        let part = |key: &str| {
            error.as_ref().and_then(|e| e.pointer(&format!("/error/{key}"))?.as_str().map(str::to_owned))
        };
        // Why it is not ready, a server says in another shape.
        let reason = || error.as_ref()?.get("reason")?.as_str().map(str::to_owned);
        let plain = || Some(plain_text(text)).filter(|text| self.is_plain && !text.is_empty());
        let message = part("message").or_else(reason).or_else(plain);
        ClientError::Refused {
            status: status.as_u16(),
            message: message.unwrap_or_else(|| format!("the server answered {status}")),
            hint: part("hint"),
            code: part("code"),
        }
    }
}

/// The answer to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The HTTP status.
    pub status: u16,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The body, as far as it could be read.
    pub body: Vec<u8>,
}

impl Pushed {
    /// The body as text for people, or the status where it is empty.
    pub fn text(&self) -> String {
        let said = plain_text(&self.body);
        if said.is_empty() { self.status.to_string() } else { format!("{}: {said}", self.status) }
    }
}

/// The beginning of a text, as far as it is printable ASCII.
fn plain_text(text: &[u8]) -> String {
    let shown = text.trim_ascii().iter().take(MAX_PLAIN_CHARS);
    shown.map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { ' ' }).collect()
}

impl Server {
    fn authority(&self) -> &str {
        match self {
            Server::Socket(_) => "localhost",
            Server::Tcp { authority, .. } => authority,
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Server::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Server::Tcp { host, port, tls, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                match tls {
                    None => Box::new(stream),
                    Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
                }
            }
        })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Server::Socket(path) => write!(f, "{}", path.display()),
            Server::Tcp { authority, tls, .. } => {
                write!(f, "{}://{authority}", if tls.is_some() { "https" } else { "http" })
            }
        }
    }
}

//--- Answer ---------------------------------------------------------------------------------------------------------

/// A good answer, read as it comes. A body that breaks off is an error, never an end.
pub struct Answer {
    runtime: Arc<Runtime>,
    body: Incoming,
    current: Bytes,
    patience: Patience,
    /// How long it was waited for, and how many bytes came. How long whoever reads it takes does not count.
    waited: Duration,
    came: u64,
    /// When it is to have ended, whoever takes its time.
    until: Option<Instant>,
    /// Why it broke off: whoever reads on is told so again.
    broken: Option<String>,
}

impl Answer {
    /// The same, which is given up then.
    #[must_use]
    pub(super) fn until(self, until: Instant) -> Answer {
        Answer { until: Some(until), ..self }
    }

    /// The error for one that is given up.
    fn late(&mut self, why: String) -> io::Error {
        self.broken = Some(why.clone());
        io::Error::new(io::ErrorKind::TimedOut, why)
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(why) = &self.broken {
            return Err(io::Error::other(why.clone()));
        }
        while self.current.is_empty() {
            let begun = Instant::now();
            let mut left = self.patience.left(self.waited, self.came).unwrap_or_default();
            if let Some(until) = self.until {
                let allowed = until.saturating_duration_since(begun);
                if allowed.is_zero() {
                    return Err(self.late("the answer takes too long".to_owned()));
                }
                left = left.min(allowed);
            }
            let body = &mut self.body;
            let frame = self.runtime.block_on(async { timeout(left, body.frame()).await });
            let silent = begun.elapsed();
            self.waited += silent;
            let Ok(frame) = frame else {
                let (waited, came) = (self.waited.as_secs(), self.came);
                // It is the time of all where only a little of it is used up before.
                let why = match silent >= self.patience.silence / 2 {
                    true => format!("the server said nothing for {} s, within its answer", silent.as_secs()),
                    false => format!("the answer comes too slowly: {came} bytes in {waited} s"),
                };
                return Err(self.late(why));
            };
            match frame {
                Some(Ok(frame)) => {
                    self.current = frame.into_data().unwrap_or_default();
                    self.came += self.current.len() as u64;
                }
                Some(Err(error)) => {
                    self.broken = Some(error.to_string());
                    return Err(io::Error::other(error));
                }
                None => return Ok(0),
            }
        }
        let n = self.current.len().min(buffer.len());
        self.current.split_to(n).copy_to_slice(buffer.get_mut(..n).unwrap_or_default());
        Ok(n)
    }
}

/// When a part of a body went out last.
#[derive(Clone)]
struct Sent(Arc<Mutex<Instant>>);

impl Default for Sent {
    fn default() -> Sent {
        Sent(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Sent {
    fn now(&self) {
        *self.0.lock() = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock()
    }
}

/// A body that is read from a blocking reader: this runtime has nothing else to do.
struct Upload(Option<Box<dyn Read + Send>>, Sent);

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(reader) = &mut self.0 else { return Poll::Ready(None) };
        let mut bytes = vec![0; UPLOAD_BYTES];
        let read = loop {
            match reader.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        // Not before it is read: a pipe may pause.
        self.1.now();
        Poll::Ready(match read {
            Ok(0) => {
                self.0 = None;
                None
            }
            Ok(n) => {
                bytes.truncate(n);
                Some(Ok(Frame::data(bytes.into())))
            }
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_is_a_server() {
        for url in [
            "http://127.0.0.1:8081",
            "http://[::1]:8081/",
            "http://sensor",
            "sensor:8081",
            "[::1]:8081",
            "localhost",
        ] {
            assert!(Client::of_url(url, Some("abc"), None).is_ok(), "{url}");
        }
        for url in ["u@x:8081", "https://u:p@x", "ftp://x", "http://u:p@x", "http://x/dns", "http://", ""] {
            assert!(matches!(Client::of_url(url, None, None), Err(ClientError::BadUrl { .. })), "{url}");
        }
        assert!(Client::of_url("http://x", Some("a\nb"), None).is_err());
    }

    /// A server that sends something and then a byte now and then, or nothing, until nobody takes it.
    fn server(begin: &'static [u8], by_the_byte: bool) -> (Client, std::thread::JoinHandle<()>) {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(begin).unwrap();
            if !by_the_byte {
                let _ = stream.read_to_end(&mut Vec::new());
            }
            while by_the_byte && stream.write_all(b"a").is_ok() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        (Client::of_url(&url, None, None).unwrap().with_timeout(Duration::from_millis(200)), thread)
    }

    #[test]
    fn a_server_that_says_nothing_or_little_is_given_up() {
        for (begin, by_the_byte) in [(&b""[..], false), (b"HTTP/1.1 200 OK\r\nX: ", true)] {
            let (client, server) = server(begin, by_the_byte);
            let silent = client.get("/", &[]).err();
            assert!(matches!(silent, Some(ClientError::Silent { .. })), "{silent:?}");
            drop(client);
            server.join().unwrap();
        }
        let begin = &b"HTTP/1.1 200 OK\r\n\r\nbegun"[..];
        for (by_the_byte, why) in [(false, "said nothing"), (true, "comes too slowly")] {
            let (client, server) = server(begin, by_the_byte);
            let mut answer = client.get("/", &[]).unwrap();
            let mut text = Vec::new();
            let error = answer.read_to_end(&mut text).unwrap_err();
            assert!(text.starts_with(b"begun") && error.to_string().contains(why), "{error}");
            assert!(answer.read(&mut [0]).is_err(), "and it never has an end");
            drop((answer, client));
            server.join().unwrap();
        }
    }

    #[test]
    fn what_is_sent_may_take_its_time() {
        use std::io::Write;
        struct Slow(u32);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                std::thread::park_timeout(Duration::from_millis(150));
                let Some(left) = self.0.checked_sub(1) else { return Ok(0) };
                self.0 = left;
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"0\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                got.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
        });
        let client = Client::of_url(&url, None, None).unwrap().with_timeout(Duration::from_millis(400));
        let mut answer = client.post("/", &[], Some(Box::new(Slow(4)))).unwrap();
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "done");
        server.join().unwrap();
    }

    #[test]
    fn an_answer_has_a_second_for_each_part_of_it_beside_its_time() {
        let patience = Patience::of(Duration::from_secs(60));
        let left =
            |waited: u64, came| patience.left(Duration::from_secs(waited), came).map(|left| left.as_secs());
        assert_eq!((left(0, 0), left(59, 0), left(60, 0)), (Some(60), Some(1), None));
        assert_eq!((left(90, 40 << 10), left(101, 40 << 10)), (Some(10), None));
        let endless = Patience { slowly: None, ..patience };
        assert_eq!(endless.left(Duration::MAX, 0), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_socket_that_nobody_has_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let nobody = |path: &Path| match Client::of_socket(path).unwrap().get("/healthz", &[]) {
            Err(error) => error.is_nobody(),
            Ok(_) => false,
        };
        assert!(nobody(&path));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists() && nobody(&path));
    }
}
