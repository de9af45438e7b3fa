//! The other side: a small blocking client for the command line, over the control socket, an `http://` or an `https://` URL.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::server::Stream;
use super::tls::{self, TlsError};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
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
            ClientError::Broken { .. } => None,
        }
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
pub struct Client {
    server: Server,
    token: Option<HeaderValue>,
    /// Further headers of each request.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How long an answer may take to begin, and to go on, where there is a bound.
    patience: Option<Duration>,
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
        let (headers, patience, is_plain) = (Vec::new(), None, false);
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
        (client.patience, client.is_plain) = (Some(patience), true);
        Ok(client)
    }

    /// The same, where an answer may take so long to begin and to go on.
    pub fn with_patience(self, patience: Duration) -> Client {
        Client { patience: Some(patience), ..self }
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
        self.send(Method::GET, path, params, Upload(None))
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
        self.send(Method::POST, path, params, Upload(body))
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

    /// Sends a request on a connection of its own.
    pub(super) fn exchange<B>(&self, request: Request<B>) -> Result<Response<Incoming>, ClientError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.runtime.block_on(async {
            let mut sender = self.connect().await?;
            let sent = async {
                sender.send_request(request).await.map_err(|error| match error.is_parse() {
                    true => self.speaks_no_http(),
                    false => self.broken(error.into()),
                })
            };
            match self.patience {
                None => sent.await,
                Some(patience) => {
                    let late = |_| Err(self.broken(io::Error::from(io::ErrorKind::TimedOut).into()));
                    timeout(patience, sent).await.unwrap_or_else(late)
                }
            }
        })
    }

    /// A body that is read as it comes.
    pub(super) fn answer(&self, body: Incoming) -> Answer {
        let (runtime, current) = (Arc::clone(&self.runtime), Bytes::new());
        Answer { runtime, body, current, patience: self.patience, broken: None }
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
        body: Upload,
    ) -> Result<Answer, ClientError> {
        let request = self.request(method, path, params).body(body);
        let request = request.map_err(|error| self.broken(error.into()))?;
        let response = self.exchange(request)?;
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
    patience: Option<Duration>,
    /// Why it broke off: whoever reads on is told so again.
    broken: Option<String>,
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(why) = &self.broken {
            return Err(io::Error::other(why.clone()));
        }
        while self.current.is_empty() {
            let frame = self.body.frame();
            let frame = match self.patience {
                None => self.runtime.block_on(frame),
                Some(patience) => self.runtime.block_on(async {
                    timeout(patience, frame).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
                })?,
            };
            match frame {
                Some(Ok(frame)) => self.current = frame.into_data().unwrap_or_default(),
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

/// A body that is read from a blocking reader: this runtime has nothing else to do.
struct Upload(Option<Box<dyn Read + Send>>);

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
