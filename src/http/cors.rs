//! Pages of other sites that may read answers, by the Fetch standard: none, unless the configuration names them.
//!
//! A browser asks first whether a page may send a token (a preflight: `OPTIONS`), and carries none itself, so that question
//! is answered before anybody is let in. What is let in is the guard's business still.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use warp::reply::Response;

/// What a page may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, x-api-key");
/// What it may read besides the answer.
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-dnsledger-as-of, x-truncated");
/// How long a browser remembers that, seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Why something is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Any site at all would be one of them.
    #[error("every page that a browser shows could read the ledger")]
    Any,
    /// Not as a browser writes it.
    #[error("it is not of the form https://host or https://host:port")]
    Form,
}

/// The origins whose pages may read answers.
#[derive(Debug, Default, Clone)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Takes them as browsers send them: scheme, host, and a port if it is not the usual one.
    ///
    /// # Errors
    ///
    /// Which one is none, and why.
    pub fn parse(texts: &[String]) -> Result<Origins, (&str, OriginError)> {
        texts
            .iter()
            .map(|text| origin(text).map_err(|why| (text.as_str(), why)))
            .collect::<Result<_, _>>()
            .map(Origins)
    }

    /// The origin of a request, if its pages may read the answer.
    pub fn of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.contains(origin).then(|| origin.clone())
    }

    /// Says in an answer whose pages may read it.
    pub fn mark(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        if self.0.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Whether a browser asks if a page may ask.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that, for a page that may.
pub fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    response.headers_mut().extend(allowed);
    response
}

fn origin(text: &str) -> Result<HeaderValue, OriginError> {
    if text == "*" {
        return Err(OriginError::Any);
    }
    let uri: Uri = text.parse().map_err(|_| OriginError::Form)?;
    let usual = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(OriginError::Form),
    };
    let is_written_so = uri.authority().is_some_and(|host| {
        text.split_once("://").is_some_and(|(_, rest)| rest == host.as_str())
            && !host.as_str().contains('@')
            && host.port_u16() != Some(usual)
    });
    if !is_written_so || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(OriginError::Form);
    }
    HeaderValue::try_from(text).map_err(|_| OriginError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in ["https://dash.example", "http://127.0.0.1:3000", "https://[2001:db8::1]:8443"] {
            assert!(Origins::parse(&[text.to_owned()]).is_ok(), "{text}");
        }
        for text in [
            "",
            "null",
            "dash.example",
            "https://",
            "https://dash.example/",
            "https://dash.example/x",
            "https://a@b.example",
            "https://dash.example:443",
            "http://dash.example:80",
            "https://Dash.example",
            "ftp://dash.example",
            "https://*.example/",
        ] {
            let texts = [text.to_owned()];
            assert_eq!(Origins::parse(&texts).unwrap_err(), (text, OriginError::Form), "{text}");
        }
        assert_eq!(Origins::parse(&["*".to_owned()]).unwrap_err().1, OriginError::Any);
    }
}
