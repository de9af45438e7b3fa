//! Getting what other servers have: a request with headers of its own, and an answer with its status and headers.
//!
//! Unlike [`super::client`], which asks a ledger, nothing is expected of the answer: whoever asks looks at the status. Where it may
//! lead elsewhere is for [`Location::led_to`] to say.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use percent_encoding::percent_encode;

use super::client::{Answer, Client, ClientError, ENCODED};

/// How the program names itself.
const AGENT: &str = concat!("dnsledger/", env!("CARGO_PKG_VERSION"));

//--- Location -------------------------------------------------------------------------------------------------------

/// Where something is: a URL with `http` or `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    is_secure: bool,
    /// The host and the port, the one of the scheme left out.
    authority: String,
    /// The path, with what is asked behind it.
    target: String,
}

impl Location {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Location, &'static str> {
        let url = url.split('#').next().unwrap_or_default();
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let is_secure = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with https:// or http://"),
        };
        let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("a user and a password do not belong into it");
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err("it has no host");
        }
        let port = authority.port_u16().filter(|port| *port != if is_secure { 443 } else { 80 });
        let authority = port.map_or(host.clone(), |port| format!("{host}:{port}"));
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Location { is_secure, authority, target })
    }

    /// The scheme, the host and the port.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_secure { "https" } else { "http" }, self.authority)
    }

    /// The path, without what is asked.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The same host with another path, and what is asked there.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Location {
        Location { target: target.to_owned(), ..self.clone() }
    }

    fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
            _ => &self.authority,
        }
    }

    /// What a link on it means, wherever that is.
    ///
    /// # Errors
    ///
    /// When it is neither `http` nor `https`.
    pub fn linked(&self, link: &str) -> Result<Location, &'static str> {
        let link = link.trim();
        let scheme = link.split_once(':').map(|(scheme, _)| scheme);
        let has_scheme = scheme.is_some_and(|scheme| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        if has_scheme {
            return Location::parse(link);
        }
        if let Some(rest) = link.strip_prefix("//") {
            return Location::parse(&format!("{}://{rest}", if self.is_secure { "https" } else { "http" }));
        }
        let path = self.path();
        let target = match link.chars().next() {
            Some('/') => link.to_owned(),
            Some('?') => format!("{path}{link}"),
            _ => format!("{}/{link}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Location::parse(&format!("{}{target}", self.origin()))
    }

    /// Where a redirect leads, if it may be followed: the same host, by TLS, or the very same server.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn led_to(&self, link: &str) -> Result<Location, &'static str> {
        let to = self.linked(link)?;
        if to.host() != self.host() {
            return Err("it is another host");
        }
        if self.is_secure && !to.is_secure {
            return Err("it is without TLS");
        }
        // From http to https the port changes with the scheme, and in no other way.
        let is_same = to.authority == self.authority;
        let is_upgrade = to.is_secure && !self.is_secure && to.authority == to.host();
        if !is_same && !is_upgrade {
            return Err("it is another port");
        }
        Ok(to)
    }
}

impl std::fmt::Display for Location {
    /// Without what is asked: there may be a key in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin(), self.path())
    }
}

/// A text as a value in what is asked.
pub fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), ENCODED).to_string()
}

//--- fetching -------------------------------------------------------------------------------------------------------

/// An answer, whatever it says.
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    headers: HeaderMap,
    body: Answer,
}

impl Reply {
    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as it comes, without the coding that it was sent in. One that breaks off, or goes on until then, is an error.
    ///
    /// # Errors
    ///
    /// When it is sent in a coding that was not asked for.
    pub fn into_body(self, until: Instant) -> Result<Box<dyn Read>, String> {
        let coding = self.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        // Before it is inflated: what inflates to nothing never gives anything to who reads it.
        let body = self.body.until(until);
        match coding.as_deref() {
            None | Some(b"" | b"identity") => Ok(Box::new(body)),
            Some(b"gzip" | b"x-gzip") => Ok(Box::new(MultiGzDecoder::new(body))),
            Some(other) => Err(format!("it is sent as {}", other.escape_ascii())),
        }
    }
}

impl Client {
    /// A client of the server that a location is on, which begins and goes on to answer within `patience`, and not by the byte.
    ///
    /// # Errors
    ///
    /// As [`Client::of_url`].
    pub fn of_location(at: &Location, ca: Option<&Path>, patience: Duration) -> Result<Client, ClientError> {
        Ok(Client::of_url(&at.origin(), None, ca.filter(|_| at.is_secure))?.with_timeout(patience))
    }

    /// Gets what is there, or posts a body to it.
    ///
    /// # Errors
    ///
    /// When there is no answer. Any answer is one.
    pub fn fetch(
        &self,
        at: &Location,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, ClientError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(&at.target);
        request = request.header(HOST, self.authority()).header(USER_AGENT, AGENT);
        for (name, value) in headers {
            let name = HeaderName::try_from(*name)
                .map_err(|_| self.broken("the name of a header is none".into()))?;
            let mut value = HeaderValue::try_from(*value)
                .map_err(|_| self.broken(format!("{name} holds what no header may").into()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| self.broken(error.into()))?;
        let response = self.exchange(request)?;
        let (head, body) = response.into_parts();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: self.answer(body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_a_location_and_no_key_is_shown() {
        for (url, shown) in [
            ("https://list.example/a/b.txt?key=x#y", "https://list.example/a/b.txt"),
            ("http://LIST.example:80", "http://list.example/"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ] {
            assert_eq!(Location::parse(url).unwrap().to_string(), shown);
        }
        for url in
            ["file:///etc/passwd", "ftp://x/y", "list.example/x", "https://u:p@x/", "https://", "", "/x"]
        {
            assert!(Location::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_redirect_leads_to_the_same_host_and_never_to_less_than_tls() {
        let led = |from: &str, link: &str| {
            Location::parse(from).unwrap().led_to(link).map(|to| format!("{}{}", to.origin(), to.target))
        };
        for (from, link, to) in [
            ("https://a.example/x/list", "other?n=1", "https://a.example/x/other?n=1"),
            ("https://a.example/x/list", "/y", "https://a.example/y"),
            ("https://a.example/x/list", "https://A.example:443/z", "https://a.example/z"),
            ("http://a.example/list", "https://a.example/list", "https://a.example/list"),
            ("http://127.0.0.1:8000/list", "?b=2", "http://127.0.0.1:8000/list?b=2"),
            ("https://[2001:db8::1]/a", "//[2001:db8::1]/b", "https://[2001:db8::1]/b"),
        ] {
            assert_eq!(led(from, link).as_deref(), Ok(to));
        }
        for (from, link) in [
            ("https://a.example/", "http://a.example/"),
            ("https://a.example/", "https://b.example/"),
            ("https://a.example/", "//b.example/"),
            ("https://a.example/", "file:///etc/passwd"),
            ("https://a.example/", "https://a.example:8443/"),
            ("http://a.example/", "https://a.example:8443/"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:9000/"),
            ("https://a.example/", "https://a.example@b.example/"),
            ("https://a.example/", "javascript:alert(1)"),
        ] {
            assert!(led(from, link).is_err(), "{from} {link}");
        }
    }

    /// What comes of a server that sends this again and again, now and then or at once, until nobody takes it.
    fn read_of(begin: &'static str, again: Vec<u8>, now_and_then: bool, time: Duration) -> std::io::Error {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = Location::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(begin.as_bytes()).unwrap();
            while stream.write_all(&again).is_ok() {
                if now_and_then {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
        });
        let client = Client::of_location(&at, None, Duration::from_millis(200)).unwrap();
        let reply = client.fetch(&at, &[], None).unwrap();
        let mut body = reply.into_body(Instant::now() + time).unwrap();
        let error = body.read_to_end(&mut Vec::new()).unwrap_err();
        drop((body, client));
        server.join().unwrap();
        error
    }

    #[test]
    fn an_answer_without_an_end_is_given_up_even_where_it_inflates_to_nothing_or_is_an_error() {
        let mut nothing = Vec::new();
        flate2::write::GzEncoder::new(&mut nothing, flate2::Compression::default()).finish().unwrap();
        let packed = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        let error = read_of(packed, nothing.repeat(1000), false, Duration::from_millis(200));
        assert!(error.to_string().contains("takes too long"), "{error}");
        let error = read_of("HTTP/1.1 500 X\r\n\r\n", b"x".to_vec(), true, Duration::from_secs(3600));
        assert!(error.to_string().contains("comes too slowly"), "{error}");
    }
}
