//! `/dns/…`: the API of the Zeek passive-DNS recipe (bro-pdns), which existing scripts ask.
//!
//! | path | finds |
//! |---|---|
//! | `/dns/{q}` | rows whose query or whose answer is exactly `q` |
//! | `/dns/full/{q}` | rows whose query or whose answer contains `q`; no wildcards |
//! | `/dns/{address}/{length}` | rows whose answer is an address in the block (new here) |
//!
//! The answer is `{"records": [{query, type, answer, count, ttl, first, last}]}`; times are `YYYY-MM-DD HH:MM:SS`, UTC.
//! Types have Zeek's own spelling where there is no mnemonic. Sensors are merged and aliases included, as that API always
//! did; `?aliases=false` leaves them out. It has the whole result unless `?limit=` or the server's own maximum cuts it,
//! which the header `X-Truncated: true` says.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use warp::reply::Response;

use super::State;
use super::answer::{Shape, answer_all, as_of};
use super::error::ApiError;
use super::native::{check_sensor, say_asked};
use super::request::Request;
use crate::base::time::format_utc;
use crate::dns::RrType;
use crate::lookup::{End, Found, Indicator, Limits, Pattern, Query, Search, refuse_nothing, understood};
use crate::output::json::Text;

/// Answers `/dns/…`.
///
/// # Errors
///
/// As any lookup; a path of another form is 404.
pub async fn records(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    // Defanged or with what surrounds it, it is in no log: that it is understood takes nothing from a script that asks rightly.
    let one = match *segments.as_slice() {
        [q] => understood(q).map(Indicator::with_links),
        ["full", q] => understood(q),
        _ => None,
    };
    let asked = one.as_ref().map(|one| one.asked.clone());
    // In quotation marks it may be text that was answered, or a name: both are looked for.
    let mut quoted = None;
    let query = match (segments.as_slice(), one) {
        // What a link has in it, on either side.
        ([_], Some(one)) if matches!(one.query, Query::Several(_)) => one.query,
        ([_], Some(one)) if !one.query.is_exact() && matches!(one.query, Query::Addresses(..)) => one.query,
        (&[q], Some(one)) if q.starts_with('"') => {
            quoted = Some(Query::exact(&one.asked));
            Query::exact(q)
        }
        (&[q], one) => {
            if one.is_none() {
                refuse_nothing(q)?;
            }
            match Query::of_addresses(q) {
                // A block or a range; a single address may have been asked for as a name.
                Some(block @ Query::Addresses(first, last)) if first != last => block,
                _ => Query::exact(asked.as_deref().unwrap_or(q)),
            }
        }
        // A URL may be part of an answer.
        (&["full", q], _) => Query::Pattern(Pattern::texts(&[Some(q), asked.as_deref()])),
        (&[address, length], _) => Query::block(address, length).map_err(|error| {
            let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            if number(length) { ApiError::from(error) } else { ApiError::not_found() }
        })?,
        _ => return Err(ApiError::not_found()),
    };
    let filters = request.compatible_filters(false)?;
    check_sensor(&state, &filters)?;
    let search = Search { filters, merge_sensors: true, pointing: true, ..Search::new(query) };
    let config = &state.0.config;
    let limits = Limits { rows: config.max_limit, examined: config.scan_rows };
    let as_of = as_of(&state);
    let searches = [Some(search.clone()), quoted.map(|query| Search { query, ..search })];
    let searches = searches.into_iter().flatten().collect();
    let response = answer_all(&state, searches, limits, None, as_of, Records::in_form(&RECIPE)).await?;
    Ok(asked.iter().fold(response, |response, asked| say_asked(response, asked)))
}

/// How an API of this family writes rows: all have the same figures, under names of their own.
pub(super) struct Form {
    pub(super) content_type: &'static str,
    pub(super) begin: &'static str,
    pub(super) between: &'static str,
    pub(super) end: &'static str,
    pub(super) push: fn(Record<'_>, &mut Vec<u8>),
}

static RECIPE: Form = Form {
    content_type: "application/json",
    begin: "{\"records\": [",
    between: ", ",
    end: "]}\n",
    // Plain values to memory: nothing that can fail.
    push: |record, out| drop(record.serialize(&mut Serializer::with_formatter(out, Spaced))),
};

/// Writes rows in a form.
#[derive(Clone)]
pub(super) struct Records {
    form: &'static Form,
    first: bool,
}

impl Records {
    pub(super) fn in_form(form: &'static Form) -> Records {
        Records { form, first: true }
    }
}

impl Shape for Records {
    fn content_type(&self) -> &'static str {
        self.form.content_type
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.form.begin.as_bytes());
    }

    fn row(&mut self, found: &Found<'_>, out: &mut Vec<u8>) {
        let Found { entry, seen, .. } = found;
        if !std::mem::take(&mut self.first) {
            out.extend_from_slice(self.form.between.as_bytes());
        }
        let record = Record {
            query: Text::Name(&entry.tuple.rrname),
            rrtype: zeek_type(entry.tuple.rrtype),
            answer: Text::DataOf(entry),
            count: seen.count,
            ttl: seen.ttl,
            first: format_utc(seen.time_first),
            last: format_utc(seen.time_last),
        };
        (self.form.push)(record, out);
    }

    fn end(&mut self, _end: &End, out: &mut Vec<u8>) {
        out.extend_from_slice(self.form.end.as_bytes());
    }

    fn says_truncated(&self) -> bool {
        true
    }

    /// Who sees only the body must not take a scan that was given up for an answer.
    fn nothing(&self, end: &End) -> Option<ApiError> {
        matches!(end, End::Budget(_)).then(ApiError::timeout)
    }
}

/// A row as the recipe has it.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    pub(super) query: Text<'a>,
    #[serde(rename = "type")]
    pub(super) rrtype: Cow<'static, str>,
    pub(super) answer: Text<'a>,
    pub(super) count: u64,
    pub(super) ttl: u32,
    pub(super) first: String,
    pub(super) last: String,
}

/// A space behind each comma and colon, as Python writes JSON.
struct Spaced;

impl Formatter for Spaced {
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, is_first: bool) -> io::Result<()> {
        out.write_all(if is_first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// A type as Zeek's `qtype_name` has it: `*` for ANY, `query-65280` where it knows no name.
pub fn zeek_type(rrtype: RrType) -> Cow<'static, str> {
    match rrtype.mnemonic() {
        _ if rrtype == RrType::ANY => "*".into(),
        Some(name) => name.into(),
        None => format!("query-{}", rrtype.0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_spelled_as_zeek_spells_them() {
        let shown = |rrtype: RrType| format!("\"{}\"", zeek_type(rrtype));
        assert_eq!(shown(RrType::AAAA), "\"AAAA\"");
        assert_eq!(shown(RrType::ANY), "\"*\"");
        assert_eq!(shown(RrType(65280)), "\"query-65280\"");
    }
}
