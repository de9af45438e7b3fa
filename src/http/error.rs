//! What a request gets that cannot be answered: one place decides status, code and words.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use warp::reply::Response;

use super::headers::say_fresh;
use crate::ingest::IngestError;
use crate::lookup::{CursorError, QueryError};
use crate::page::GatherError;
use crate::status::Freshness;
use crate::store::StoreError;

/// An error as a client sees it: `{"error": {"code", "message", "hint"}}` and a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
    retry_after: Option<Duration>,
    /// As of when this is true, where it says what the ledger holds.
    fresh: Option<Box<Freshness>>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), hint: None, retry_after: None, fresh: None }
    }

    /// Says in its headers, as an answer does, as of when it is true and what may be missing.
    pub(super) fn true_of(mut self, fresh: Freshness) -> ApiError {
        self.fresh = Some(Box::new(fresh));
        self
    }

    /// 501: a front end of a cluster does not have it.
    pub(super) fn elsewhere(what: &str) -> ApiError {
        let message = format!("{what} are not in a cluster: each sensor's own daemon has them");
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "elsewhere", message)
            .hint("ask the daemon of the sensor; /api/v1/status names the sensors")
    }

    /// 501: a front end of a cluster does not write.
    pub(super) fn acknowledged_elsewhere() -> ApiError {
        let message = "hits are acknowledged at the daemon of their sensor, and the cluster has that some seconds later";
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "elsewhere", message)
            .hint("each hit says of which sensor it is")
    }

    /// Whether a part of a cluster is away, without which one can go on.
    pub(super) fn is_part_away(&self) -> bool {
        self.code == "part_away"
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint = Some(hint.into());
        self
    }

    /// 400: a parameter is absent or has no meaning.
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>, hint: &str) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message).hint(hint)
    }

    /// 403: a browser was led here under another name (DNS rebinding).
    pub(super) fn bad_host() -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "bad_host", "the Host header is not a loopback name or address")
            .hint("ask for localhost, 127.0.0.1 or [::1], or name the host by http.allowed_hosts")
    }

    /// 403: a page of another site made a browser ask this.
    pub(super) fn cross_site() -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "cross_site", "a page of another site may not ask this")
            .hint("name its origin by http.cors_origins, or send a token as `Authorization: Bearer`")
    }

    /// 400: not a request for a path of this server, or for that of two.
    pub(super) fn bad_target() -> ApiError {
        ApiError::bad_request(
            "bad_target",
            "the request is not for a path of one server",
            "GET /dns/www.example.com HTTP/1.1",
        )
    }

    /// 500: an answer that cannot be written.
    pub(super) fn internal(message: &str) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            .hint("this is a fault of dnsledger: its log says more, please report it")
    }

    /// 408: a client that sends its body too slowly.
    pub(super) fn stalled() -> ApiError {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "stalled", "the body did not go on in time")
            .hint("send it again: what came is counted, and only the rest is read then")
    }

    /// 401: there is no token, or not one that is known. Clients of DNSDB expect 403 for that.
    pub(super) fn unauthorized(dnsdb: bool) -> ApiError {
        let status = if dnsdb { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        ApiError::new(
            status,
            "unauthorized",
            "a token is needed here, and this request has none that is known",
        )
        .hint("`Authorization: Bearer TOKEN`, `X-API-Key: TOKEN`, or the token as a Basic password")
    }

    /// 403: the token is known and not good for this, for which it takes one of this scope.
    pub(super) fn forbidden(message: &str, scope: &str) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "forbidden", message).hint(format!(
            "make one by `dnsledger token new NAME --scope {scope}`, and send it as `Authorization: Bearer`"
        ))
    }

    /// 403: lines of logs are not handed out here, or not to this caller.
    pub(super) fn no_lines(are_handed_out: bool) -> ApiError {
        let (message, hint) = match are_handed_out {
            true => (
                "lines of logs, which hold who asked, are for tokens of the scope evidence",
                "make one by `dnsledger token new NAME --scope evidence`",
            ),
            false => (
                "lines of logs, which hold who asked, are not handed out over HTTP",
                "ask on the machine of the daemon, by `dnsledger evidence`; or set http = true under [evidence]",
            ),
        };
        ApiError::new(StatusCode::FORBIDDEN, "forbidden", message).hint(hint)
    }

    /// 429: this token, or this address, asked too often.
    pub(super) fn too_often(wait: Duration) -> ApiError {
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests");
        let wait = Duration::from_secs(wait.as_secs() + 1);
        ApiError { retry_after: Some(wait), ..error }.hint("ask more slowly; http.rate_limit is the limit")
    }

    /// 404: there is nothing at this path.
    pub(super) fn not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
            .hint("/dns/{query}, /dns/full/{text}, /api/v1/records?q=, /api/v1/export, /api/v1/status")
    }

    /// 404: there is no page at this path, for who looks for one.
    pub(super) fn no_page() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no page at this path")
            .hint("search for a name or an address above, or begin at the first page")
    }

    /// Whether there is nothing at the path that was asked for.
    pub(super) fn is_not_found(&self) -> bool {
        self.code == "not_found"
    }

    /// Whether whoever asks is not let in.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        )
    }

    /// 404: the path is right and nothing was found, where clients expect that to be an error.
    pub(super) fn nothing_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "nothing_found", message)
    }

    /// 405: the path is right and the method is not.
    pub(super) fn method_not_allowed() -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has another method")
    }

    /// 416: more rows to skip than may be skipped.
    pub(super) fn bad_range(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "bad_range", message)
            .hint("narrow the query by a type or a time, and begin at 0")
    }

    /// 413: more than is taken in one request.
    pub(super) fn too_large(message: &str) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).hint("send it in several requests")
    }

    /// 429: all places are taken.
    pub(super) fn busy() -> ApiError {
        let busy = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too many lookups at once");
        ApiError { retry_after: Some(Duration::from_secs(1)), ..busy }.hint("ask again in a second")
    }

    /// 504: the time of a request was over before its answer began.
    pub(super) fn timeout() -> ApiError {
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the lookup took too long")
            .hint("ask for less: a name, an address, or a smaller limit")
    }

    /// 503: the ledger cannot do it now.
    pub(super) fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The same for clients that take 429 for a quota that is used up, and 503 for too many requests at once.
    pub(super) fn for_dnsdb(mut self) -> ApiError {
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            self.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        self
    }

    /// The response as one line of text, for clients that show the body of an error as it is.
    pub(super) fn into_text(self, allow: &'static str) -> Response {
        let hint = self.hint.as_deref().map(|hint| format!(" (try: {hint})")).unwrap_or_default();
        let line = format!("Error: {}{hint}\n", self.message).into();
        let mut response = self.into_response(allow);
        *response.body_mut() = line;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }

    /// What went wrong, in a few words.
    pub(super) fn title(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "That cannot be asked",
            StatusCode::UNAUTHORIZED => "A token is needed",
            StatusCode::FORBIDDEN => "That is not allowed",
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::TOO_MANY_REQUESTS => "Too much at once",
            StatusCode::GATEWAY_TIMEOUT => "That took too long",
            _ => "No answer",
        }
    }

    /// What went wrong.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The response. `allow` is what a 405 says is allowed.
    pub(super) fn into_response(self, allow: &'static str) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Inner<'a>,
            #[serde(flatten)]
            fresh: Option<&'a Freshness>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
        }
        let error = Inner { code: self.code, message: &self.message, hint: self.hint.as_deref() };
        let fresh = self.fresh.as_deref();
        // Plain text: nothing that JSON cannot hold. The status says the most, whatever becomes of the words.
        let mut body =
            serde_json::to_vec(&Body { error, fresh }).unwrap_or_else(|_| br#"{"error":{}}"#.to_vec());
        body.push(b'\n');
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if let Some(fresh) = &self.fresh {
            say_fresh(headers, fresh);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // A browser asks its user then: the token is the password, and the name does not matter.
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dnsledger\""));
            let basic = HeaderValue::from_static("Basic realm=\"dnsledger\", charset=\"UTF-8\"");
            headers.append(WWW_AUTHENTICATE, basic);
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        ApiError::bad_request("bad_query", error.to_string(), error.hint)
    }
}

impl From<GatherError> for ApiError {
    fn from(error: GatherError) -> ApiError {
        match error {
            GatherError::Cursor(error) => error.into(),
            GatherError::Store(error) => error.into(),
        }
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> ApiError {
        ApiError::bad_request(
            "bad_cursor",
            error.to_string(),
            "the `next` of the answer before, and its query",
        )
    }
}

impl From<StoreError> for ApiError {
    /// What failed stands in the log; a client is told that it failed, and not where files lie.
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::Cluster(what) => {
                tracing::error!(error = what, "A lookup failed.");
                // The number of the shard, and not the names of servers.
                let part = what.split(": ").next().unwrap_or_default();
                ApiError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "part_away",
                    format!("{part} cannot be asked, and without it the answer would lack rows"),
                )
                .hint("ask again, or with partial=1 for what the rest has")
            }
            StoreError::OlderTables => {
                ApiError::new(StatusCode::NOT_IMPLEMENTED, "older_tables", error.to_string())
            }
            StoreError::Superseded => ApiError::unavailable(error.to_string()).hint("ask again"),
            error => {
                tracing::error!(%error, "A lookup failed.");
                ApiError::unavailable("the ledger cannot be read")
            }
        }
    }
}

impl From<IngestError> for ApiError {
    /// Only the control socket gets these, and whoever may use it may know.
    fn from(error: IngestError) -> ApiError {
        let answer = ApiError::unavailable(error.to_string());
        match error.hint() {
            Some(hint) => answer.hint(hint),
            None => answer,
        }
    }
}
