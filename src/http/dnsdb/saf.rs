//! The Streaming Answer Format: objects in a frame that says how an answer ended.
//!
//! ```text
//! {"cond":"begin"}
//! {"obj":{"count":3,"time_first":1767323045,"time_last":1772600767,"rrname":"www.example.com.","rrtype":"A","rdata":["192.0.2.10"]}}
//! {"cond":"succeeded"}
//! ```
//!
//! The last line is `succeeded`; `limited` where there is more, with the reason; `failed` where the rest could not be
//! read. An answer without any of these was cut. Version 1 has the objects alone.

use std::borrow::Cow;

use serde::Serialize;
use warp::reply::Response;

use super::super::answer::{Ended, Shape, with_headers};
use super::super::error::ApiError;
use super::{NOTHING, Version};
use crate::base::time::format_rfc3339;
use crate::lookup::{Cursor, End, Found};
use crate::observation::Seen;
use crate::output::json::{Text, push_line, type_name};
use crate::status::Freshness;

const CONTENT_TYPE: &str = "application/x-ndjson";

//--- Framing --------------------------------------------------------------------------------------------------------

/// What is around the objects of a version.
#[derive(Debug, Clone, Copy)]
pub struct Framing(pub Version);

impl Framing {
    pub fn begin(self, out: &mut Vec<u8>) {
        self.condition("begin", None, out);
    }

    /// Writes an object.
    pub fn object(self, object: &impl Serialize, out: &mut Vec<u8>) {
        match self.0 {
            Version::V1 => push_line(object, out),
            Version::V2 => push_line(&Framed { obj: object }, out),
        }
    }

    pub fn succeeded(self, out: &mut Vec<u8>) {
        self.condition("succeeded", None, out);
    }

    pub fn limited(self, why: &str, out: &mut Vec<u8>) {
        self.condition("limited", Some(why), out);
    }

    pub fn failed(self, why: &str, out: &mut Vec<u8>) -> bool {
        self.condition("failed", Some(why), out);
        self.0 == Version::V2
    }

    /// Writes how gathering ended.
    ///
    /// # Errors
    ///
    /// 504 where version 1 would have to hide that there is more.
    pub fn ended(self, ended: &Ended, examined: u64, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match ended {
            Ended::Answer(End::Complete) => self.succeeded(out),
            Ended::Answer(End::Limit(_)) | Ended::Enough => self.limited(LIMIT, out),
            Ended::Answer(End::Budget(_)) | Ended::Time if self.0 == Version::V1 => {
                return Err(ApiError::timeout());
            }
            Ended::Answer(End::Budget(_)) | Ended::Time => {
                let why =
                    format!("stopped after {examined} rows, before the end of the ledger: ask for less");
                self.limited(&why, out);
            }
        }
        Ok(())
    }

    /// A whole answer.
    pub fn response(self, out: Vec<u8>, as_of: Freshness) -> Response {
        with_headers(Response::new(out.into()), CONTENT_TYPE, as_of)
    }

    fn condition(self, cond: &str, msg: Option<&str>, out: &mut Vec<u8>) {
        if self.0 == Version::V2 {
            push_line(&Condition { cond, msg }, out);
        }
    }
}

/// A line that is no object of the answer.
#[derive(Serialize)]
struct Condition<'a> {
    cond: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'a str>,
}

#[derive(Serialize)]
struct Framed<'a, T> {
    obj: &'a T,
}

/// The words of the original.
const LIMIT: &str = "Result limit reached";

//--- Rows -----------------------------------------------------------------------------------------------------------

/// Writes rows.
#[derive(Clone)]
pub struct SafRows {
    pub framing: Framing,
    /// Data as an array of one.
    pub array: bool,
    /// Times as RFC 3339.
    pub human: bool,
    /// Rows to leave out first.
    pub skip: u64,
}

impl Shape for SafRows {
    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.framing.begin(out);
    }

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let Found { entry, seen, .. } = found;
        let data = match entry.names {
            Some(_) => Text::DataOf(entry),
            None => Text::DottedData(&entry.tuple.rdata),
        };
        let row = RowObject {
            seen: SeenMembers::of(seen, self.human),
            rrname: Text::Dotted(&entry.tuple.rrname),
            rrtype: type_name(entry.tuple.rrtype),
            rdata: if self.array { Data::Array([data]) } else { Data::One(data) },
        };
        self.framing.object(&row, out);
    }

    fn end(&mut self, end: &End, out: &mut Vec<u8>) {
        match end {
            End::Complete => self.framing.succeeded(out),
            End::Limit(_) => self.framing.limited(LIMIT, out),
            End::Budget(_) => {
                self.framing.limited(
                    "stopped at the budget of a scan, before the end of the ledger: ask for less",
                    out,
                );
            }
        }
    }

    fn says_truncated(&self) -> bool {
        self.framing.0 == Version::V1
    }

    fn nothing(&self, end: &End) -> Option<ApiError> {
        match (self.framing.0, end) {
            (Version::V2, _) | (Version::V1, End::Limit(_)) => None,
            (Version::V1, End::Complete) => Some(NOTHING.clone()),
            (Version::V1, End::Budget(_)) => Some(ApiError::timeout()),
        }
    }

    fn fail(&mut self, out: &mut Vec<u8>) -> bool {
        self.framing.failed("the ledger cannot be read", out)
    }

    fn late(&mut self, _next: &Cursor, out: &mut Vec<u8>) -> bool {
        let is_framed = self.framing.0 == Version::V2;
        self.framing
            .limited("the time of an answer is over, before its end: ask for less, or take it faster", out);
        is_framed
    }
}

#[derive(Serialize)]
struct RowObject<'a> {
    #[serde(flatten)]
    seen: SeenMembers,
    rrname: Text<'a>,
    rrtype: Cow<'static, str>,
    rdata: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    One(Text<'a>),
    Array([Text<'a>; 1]),
}

/// Count and times of an object.
#[derive(Serialize)]
pub struct SeenMembers {
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_first: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_last: Option<Time>,
}

/// A time in epoch seconds, or as RFC 3339.
#[derive(Serialize)]
#[serde(untagged)]
enum Time {
    Seconds(u64),
    Text(String),
}

impl SeenMembers {
    pub fn of(seen: &Seen, human: bool) -> SeenMembers {
        let time = |at: u64| Some(if human { Time::Text(format_rfc3339(at)) } else { Time::Seconds(at) });
        SeenMembers { count: seen.count, time_first: time(seen.time_first), time_last: time(seen.time_last) }
    }
}

//--- Summary --------------------------------------------------------------------------------------------------------

/// What many rows are together.
#[derive(Debug, Default)]
pub struct Summary {
    seen: Seen,
    rows: u64,
}

impl Summary {
    pub fn add(&mut self, seen: &Seen) {
        self.seen.merge(seen);
        self.rows += 1;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The sum of their counts.
    pub fn count(&self) -> u64 {
        self.seen.count
    }

    /// The object.
    pub fn object(&self, human: bool) -> impl Serialize {
        #[derive(Serialize)]
        struct Object {
            #[serde(flatten)]
            seen: SeenMembers,
            num_results: u64,
        }
        let none = SeenMembers { count: 0, time_first: None, time_last: None };
        let seen = if self.rows == 0 { none } else { SeenMembers::of(&self.seen, human) };
        Object { seen, num_results: self.rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_breaks_off_says_so_where_the_format_can() {
        let rows = |version| SafRows { framing: Framing(version), array: true, human: false, skip: 0 };
        let mut out = Vec::new();
        assert!(rows(Version::V2).fail(&mut out));
        assert_eq!(out, b"{\"cond\":\"failed\",\"msg\":\"the ledger cannot be read\"}\n");
        out.clear();
        assert!(!rows(Version::V1).fail(&mut out) && out.is_empty());
    }
}
