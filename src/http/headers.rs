//! Headers that say what an answer is worth: as of when it is true, what it may lack or was dropped, whether it was cut.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use warp::reply::Response;

use crate::base::time::format_rfc3339;
use crate::status::Freshness;

/// Says as of when an answer is true.
pub const AS_OF: HeaderName = HeaderName::from_static("x-dnsledger-as-of");
/// Says why an answer may lack what the logs hold; absent when everything visible is read.
pub const INCOMPLETE: HeaderName = HeaderName::from_static("x-dnsledger-incomplete");
/// Says that what was last seen before this time was dropped.
pub const EXPIRED_BEFORE: HeaderName = HeaderName::from_static("x-dnsledger-expired-before");
/// Characters of what an answer may lack.
const MOST_INCOMPLETE: usize = 1000;
/// Says that an answer of the recipe's API was cut.
const TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");

/// Says in headers as of when an answer is true, why it may lack something, and what was dropped by age.
pub fn say_fresh(headers: &mut HeaderMap, fresh: &Freshness) {
    if let Some(as_of) = fresh.as_of.as_deref().and_then(|as_of| HeaderValue::from_str(as_of).ok()) {
        headers.insert(AS_OF, as_of);
    }
    let expired = fresh.expired_before.and_then(|before| HeaderValue::try_from(format_rfc3339(before)).ok());
    if let Some(expired) = expired {
        headers.insert(EXPIRED_BEFORE, expired);
    }
    if !fresh.incomplete.is_empty() {
        let is_plain = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        let text: String = fresh.incomplete.join(" ").chars().map(is_plain).take(MOST_INCOMPLETE).collect();
        if let Ok(text) = HeaderValue::try_from(text) {
            headers.insert(INCOMPLETE, text);
        }
    }
}

/// Says in a header that an answer was cut.
pub fn say_truncated(response: &mut Response) {
    response.headers_mut().insert(TRUNCATED, HeaderValue::from_static("true"));
}
