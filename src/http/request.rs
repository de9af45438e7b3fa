//! A request as the routes see it.

use std::collections::HashSet;
use std::convert::Infallible;

use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;
use warp::Filter;
use warp::path::FullPath;

use super::error::ApiError;
use crate::base::clock::now;
use crate::lookup::{FILTER_KEYS, Filters, parse_bool};
use crate::output::sanitise;

/// The most parameters of one request that are looked at.
const MAX_PARAMS: usize = 64;

/// The parameter of who is content with what can be had where parts of a cluster are away.
const PARTIAL: &str = "partial";

/// A request, split and decoded.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// What follows the prefix of the route, decoded once after splitting; empty segments are left out.
    pub segments: Vec<String>,
    /// Parameters in their order, decoded.
    pub params: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
}

impl Request {
    /// Splits and decodes what follows the prefix of a route.
    pub(super) fn parse(
        method: Method,
        tail: &str,
        query: &str,
        headers: HeaderMap,
    ) -> Result<Request, ApiError> {
        let segments =
            tail.split('/').filter(|part| !part.is_empty()).map(decode).collect::<Result<_, _>>()?;
        let params = form_pairs(query)?;
        Ok(Request { method, segments, params, headers })
    }

    /// The value of a parameter, the last where there are several.
    pub fn param(&self, key: &str) -> Option<&str> {
        self.params.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether an answer is wanted though parts of a cluster may be away.
    pub fn is_partial(&self) -> Result<bool, ApiError> {
        Ok(self.param(PARTIAL).map_or(Ok(false), parse_bool)?)
    }

    /// The filters among the parameters. Others are ignored: clients send labels and versions.
    pub fn filters(&self) -> Result<Filters, ApiError> {
        let mut filters = Filters::default();
        let now = now();
        for (key, value) in &self.params {
            filters.set(key, value, now)?;
        }
        Ok(filters)
    }

    /// Refuses a parameter that is neither a filter nor one of these, so that a slip of the hand is no answer to another
    /// question. Only the native API does: clients of others send labels and versions.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        self.each_once()?;
        let is_known = |name: &str| known.contains(&name) || name == PARTIAL || FILTER_KEYS.contains(&name);
        let Some((name, _)) = self.params.iter().find(|(name, _)| !is_known(name)) else { return Ok(()) };
        let message = format!("unknown parameter {}", sanitise(name));
        let all: Vec<&str> = known.iter().chain(FILTER_KEYS).copied().collect();
        Err(ApiError::bad_request("bad_parameter", message, &format!("one of: {}", all.join(", "))))
    }

    /// Refuses a parameter that is there twice: one of the two would be passed over.
    fn each_once(&self) -> Result<(), ApiError> {
        let mut known = HashSet::new();
        let Some((name, _)) = self.params.iter().find(|(name, _)| !known.insert(name)) else { return Ok(()) };
        let message = format!("the parameter {} is there more than once", sanitise(name));
        Err(ApiError::bad_request("bad_parameter", message, "each once; many queries: POST /api/v1/lookup"))
    }

    /// Refuses a parameter that is none of these, or is there twice.
    pub fn only_these(&self, known: &[&str]) -> Result<(), ApiError> {
        self.each_once()?;
        let Some((name, _)) =
            self.params.iter().find(|(name, _)| name != PARTIAL && !known.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let message = format!("unknown parameter {}", sanitise(name));
        Err(ApiError::bad_request("bad_parameter", message, &format!("one of: {}", known.join(", "))))
    }

    /// The filters, at an endpoint whose clients know nothing of aliases: see [`Request::direct`].
    pub fn compatible_filters(&self, direct: bool) -> Result<Filters, ApiError> {
        Ok(Filters { direct: self.direct(direct)?, ..self.filters()? })
    }

    /// Whether rows that were seen through a chain only are left out: as given, unless `?aliases=` or `?direct=` says
    /// otherwise.
    pub fn direct(&self, direct: bool) -> Result<bool, ApiError> {
        match (self.param("aliases"), self.param("direct")) {
            (Some(aliases), _) => Ok(!parse_bool(aliases)?),
            (None, Some(direct)) => Ok(parse_bool(direct)?),
            (None, None) => Ok(direct),
        }
    }

    /// Refuses any other method than GET and HEAD.
    pub fn read_only(&self) -> Result<(), ApiError> {
        match self.method {
            Method::GET | Method::HEAD => Ok(()),
            _ => Err(ApiError::method_not_allowed()),
        }
    }
}

fn decode(part: &str) -> Result<String, ApiError> {
    percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| {
        ApiError::bad_request("bad_encoding", "the URL is not UTF-8", "percent-encode UTF-8 bytes")
    })
}

/// Names and values, as a URL and the body of a form have them.
pub fn form_pairs(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MAX_PARAMS);
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(&key.replace('+', " "))?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// A request before it is known where it leads.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path, as it was sent.
    pub path: FullPath,
    /// What follows the question mark, as it was sent.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
}

/// Everything of a request but its body.
pub fn head() -> impl Filter<Extract = (Head,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .map(|method, path, query, headers| Head { method, path, query, headers })
}

/// The URI with `//` in its path as `/`, so that routes match; `None` where nothing is to be done.
pub fn without_doubled_slashes(uri: &Uri) -> Option<Uri> {
    let path_and_query = uri.path_and_query()?.as_str();
    let (path, query) = path_and_query.split_at(uri.path().len());
    if !path.contains("//") {
        return None;
    }
    let mut joined = String::with_capacity(path_and_query.len());
    for c in path.chars() {
        if c != '/' || !joined.ends_with('/') {
            joined.push(c);
        }
    }
    joined.push_str(query);
    joined.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tail: &str, query: &str) -> Result<Request, ApiError> {
        Request::parse(Method::GET, tail, query, HeaderMap::new())
    }

    #[test]
    fn segments_are_decoded_once_after_splitting() {
        let request = parse("full/a%2Fb/%252F/2001%3adb8::1/", "").unwrap();
        assert_eq!(request.segments, ["full", "a/b", "%2F", "2001:db8::1"]);
    }

    #[test]
    fn parameters_are_decoded_and_the_last_one_counts() {
        let request = parse("", "q=a+b%2Bc&&version&q=%2A.example&limit=5").unwrap();
        assert_eq!(request.param("q"), Some("*.example"));
        assert_eq!(request.param("version"), Some(""));
        assert_eq!(request.params[0].1, "a b+c");
        assert_eq!(request.filters().unwrap().limit, Some(5));
        assert!(request.only(&["q", "version"]).is_err(), "q is there twice");
        assert!(parse("", "q=a&limit=5").unwrap().only(&["q"]).is_ok());
    }

    #[test]
    fn what_is_not_utf_8_is_an_error_and_never_a_panic() {
        assert!(parse("%ff", "").is_err());
        assert!(parse("", "q=%c3").is_err());
        assert_eq!(parse("%", "%=%").unwrap().segments, ["%"]);
    }

    #[test]
    fn doubled_slashes_are_one() {
        let joined = |uri: &str| without_doubled_slashes(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(joined("//dns///x//?a=//"), Some("/dns/x/?a=//".to_owned()));
        assert_eq!(joined("/dns/x?a=//"), None);
    }
}
