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

use warp::reply::Response;

use super::super::answer::{Ended, Shape, with_headers};
use super::super::error::ApiError;
use super::{NOTHING, Version};
use crate::base::time::format_rfc3339;
use crate::dns::{Name, Rdata, RrType};
use crate::lookup::{Cursor, End, Found};
use crate::observation::Seen;
use crate::output::json::{push_number, push_str, push_string};
use crate::status::Freshness;

const CONTENT_TYPE: &str = "application/x-ndjson";

//--- Framing --------------------------------------------------------------------------------------------------------

/// What is around the objects of a version.
#[derive(Debug, Clone, Copy)]
pub struct Framing(pub Version);

impl Framing {
    pub fn begin(self, out: &mut Vec<u8>) {
        self.line(b"{\"cond\":\"begin\"}\n", out);
    }

    /// Writes an object, which the closure appends.
    pub fn object(self, out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
        match self.0 {
            Version::V1 => {
                push(out);
                out.push(b'\n');
            }
            Version::V2 => {
                out.extend_from_slice(b"{\"obj\":");
                push(out);
                out.extend_from_slice(b"}\n");
            }
        }
    }

    pub fn succeeded(self, out: &mut Vec<u8>) {
        self.line(b"{\"cond\":\"succeeded\"}\n", out);
    }

    pub fn limited(self, why: &str, out: &mut Vec<u8>) {
        if self.0 == Version::V2 {
            out.extend_from_slice(b"{\"cond\":\"limited\",\"msg\":");
            push_str(why, out);
            out.extend_from_slice(b"}\n");
        }
    }

    pub fn failed(self, why: &str, out: &mut Vec<u8>) -> bool {
        if self.0 == Version::V2 {
            out.extend_from_slice(b"{\"cond\":\"failed\",\"msg\":");
            push_str(why, out);
            out.extend_from_slice(b"}\n");
        }
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

    fn line(self, line: &[u8], out: &mut Vec<u8>) {
        if self.0 == Version::V2 {
            out.extend_from_slice(line);
        }
    }
}

/// The words of the original.
const LIMIT: &str = "Result limit reached";

//--- Rows -----------------------------------------------------------------------------------------------------------

/// Writes rows.
#[derive(Clone)]
pub struct Rows {
    pub framing: Framing,
    /// Data as an array of one.
    pub array: bool,
    /// Times as RFC 3339.
    pub human: bool,
    /// Rows to leave out first.
    pub skip: u64,
}

impl Shape for Rows {
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
        let (array, human) = (self.array, self.human);
        self.framing.object(out, |out| {
            out.push(b'{');
            push_seen(seen, human, out);
            out.extend_from_slice(b",\"rrname\":");
            push_string(out, |out| push_name(&entry.tuple.rrname, out));
            out.extend_from_slice(b",\"rrtype\":");
            push_rrtype(entry.tuple.rrtype, out);
            out.extend_from_slice(if array { b",\"rdata\":[" } else { b",\"rdata\":" });
            push_string(out, |out| match entry.names {
                Some(_) => entry.push_rdata(out),
                None => push_rdata(&entry.tuple.rdata, out),
            });
            out.extend_from_slice(if array { b"]}" } else { b"}" });
        });
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

/// Appends count and times, without braces.
pub fn push_seen(seen: &Seen, human: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"count\":");
    push_number(seen.count, out);
    out.extend_from_slice(b",\"time_first\":");
    push_time(seen.time_first, human, out);
    out.extend_from_slice(b",\"time_last\":");
    push_time(seen.time_last, human, out);
}

fn push_time(secs: u64, human: bool, out: &mut Vec<u8>) {
    if human { push_str(&format_rfc3339(secs), out) } else { push_number(secs, out) }
}

/// Appends a type: always a string, `TYPE65280` where there is no mnemonic.
pub fn push_rrtype(rrtype: RrType, out: &mut Vec<u8>) {
    match rrtype.mnemonic() {
        Some(name) => push_str(name, out),
        None => push_str(&rrtype.to_string(), out),
    }
}

/// Appends a name with its final dot, without quotation marks.
pub fn push_name(name: &Name, out: &mut Vec<u8>) {
    name.push_presentation(out);
    if !name.is_root() {
        out.push(b'.');
    }
}

/// Appends data, names with their final dot, without quotation marks.
pub fn push_rdata(rdata: &Rdata, out: &mut Vec<u8>) {
    match rdata {
        Rdata::Name(name) => push_name(name, out),
        rdata => rdata.push_presentation(out),
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

    /// Appends the object.
    pub fn push(&self, human: bool, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.rows == 0 {
            out.extend_from_slice(b"\"count\":0");
        } else {
            push_seen(&self.seen, human, out);
        }
        out.extend_from_slice(b",\"num_results\":");
        push_number(self.rows, out);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_breaks_off_says_so_where_the_format_can() {
        let rows = |version| Rows { framing: Framing(version), array: true, human: false, skip: 0 };
        let mut out = Vec::new();
        assert!(rows(Version::V2).fail(&mut out));
        assert_eq!(out, b"{\"cond\":\"failed\",\"msg\":\"the ledger cannot be read\"}\n");
        out.clear();
        assert!(!rows(Version::V1).fail(&mut out) && out.is_empty());
    }

    #[test]
    fn names_end_in_a_dot_and_other_data_does_not() {
        let shown = |rdata: Rdata| {
            let mut out = Vec::new();
            push_rdata(&rdata, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(Rdata::Name(Name::parse("ns1.example.net").unwrap())), "ns1.example.net.");
        assert_eq!(shown(Rdata::Name(Name::root())), ".");
        assert_eq!(shown(Rdata::text(b"\"x.\"")), "\"x.\"");
    }
}
