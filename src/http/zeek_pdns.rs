//! `/dns/{find,like}/{tuples,individual}/{q}`: the API of zeek-pdns.
//!
//! | path | finds |
//! |---|---|
//! | `/dns/like/tuples/{q}` | rows whose query ends in `q`, or whose answer begins with it, by character |
//! | `/dns/find/tuples/{q}` | rows whose query or whose answer is exactly `q`; any word but `like` means the same |
//! | `/dns/{find,like}/individual/{q}` | the values of these rows on the side that matches, each once |
//!
//! The answer is a JSON array: `{Query, Type, Answer, Count, TTL, First, Last}` or `{Value, Which, Count, First, Last}`,
//! where `Which` is `Q` for a query and `A` for an answer. Times are as zeek-pdns on SQLite has them. Sensors are merged
//! and aliases included; `?aliases=false` leaves them out. Rows come in the order of the ledger, by the labels of the
//! name from the right; values in the order of their bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use warp::reply::Response;

use super::State;
use super::answer::{Ended, Gathered, answer, as_of, gather, with_headers};
use super::error::ApiError;
use super::headers::say_truncated;
use super::native::check_sensor;
use super::recipe::{Form, Record, Records};
use super::request::Request;
use crate::base::time::format_utc;
use crate::dns::Name;
use crate::lookup::{End, Found, Limits, Pattern, Query, Search, refuse_nothing, understood};
use crate::observation::Seen;
use crate::output::json::{Text, push_object};

/// As zeek-pdns' own, which leaves it to Go to guess.
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Answers `/dns/{how}/tuples/{q}`.
///
/// # Errors
///
/// As any lookup.
pub async fn tuples(state: State, request: Request, how: &str, q: &str) -> Result<Response, ApiError> {
    refuse_nothing(q)?;
    let one = understood(q).filter(|one| !q.starts_with('"') && one.query.is_exact());
    let q = one.as_ref().map_or(q, |one| one.asked.as_str());
    let (search, limits) = search(&state, &request, how, q)?;
    let as_of = as_of(&state);
    answer(&state, search, limits, None, as_of, Records::in_form(&TUPLES)).await
}

/// Answers `/dns/{how}/individual/{q}`.
///
/// # Errors
///
/// As any lookup. Values are gathered before the first is written, so a walk that takes too long is 504.
pub async fn individual(state: State, request: Request, how: &str, q: &str) -> Result<Response, ApiError> {
    refuse_nothing(q)?;
    let one = understood(q).filter(|one| !q.starts_with('"') && one.query.is_exact());
    let q = one.as_ref().map_or(q, |one| one.asked.as_str());
    let (mut search, limits) = search(&state, &request, how, q)?;
    let most = search.filters.limit.take().unwrap_or(u64::MAX).min(limits.rows);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let limits = Limits { rows: u64::MAX, ..limits };
    let matches = Side::new(how, q);
    let as_of = as_of(&state);
    let visit = move |values: &mut Values, found: &Found<'_>| {
        values.add(&matches, found);
        values.values.len() <= most
    };
    let Gathered { value: mut values, ended, .. } =
        gather(&state, search, limits, None, Values::default(), visit).await?;
    let is_given_up = matches!(ended, Ended::Answer(End::Budget(_))) && values.values.is_empty();
    if ended == Ended::Time || is_given_up {
        return Err(ApiError::timeout());
    }
    let truncated = ended != Ended::Answer(End::Complete) || values.values.len() > most;
    while values.values.len() > most {
        values.values.pop_last();
    }
    let mut response = with_headers(Response::new(values.to_json().into()), CONTENT_TYPE, as_of);
    if truncated {
        say_truncated(&mut response);
    }
    Ok(response)
}

/// What is asked, and the bounds on it.
fn search(state: &State, request: &Request, how: &str, q: &str) -> Result<(Search, Limits), ApiError> {
    request.read_only()?;
    let query = if how == "like" { Query::Pattern(Pattern::like(q)) } else { Query::exact(q) };
    let filters = request.compatible_filters(false)?;
    check_sensor(state, &filters)?;
    let config = &state.0.config;
    let limits = Limits { rows: config.max_limit, examined: config.scan_rows };
    Ok((Search { filters, merge_sensors: true, ..Search::new(query) }, limits))
}

static TUPLES: Form = Form {
    content_type: CONTENT_TYPE,
    begin: "[",
    between: ",",
    end: "]\n",
    push: |Record { query, rrtype, answer, count, ttl, first, last }, out| {
        push_object(&Tuple { query, rrtype, answer, count, ttl, first, last }, out);
    },
};

/// A row, under the names that Go gives it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tuple<'a> {
    query: Text<'a>,
    #[serde(rename = "Type")]
    rrtype: Cow<'static, str>,
    answer: Text<'a>,
    count: u64,
    #[serde(rename = "TTL")]
    ttl: u32,
    first: String,
    last: String,
}

//--- values ---------------------------------------------------------------------------------------------------------

/// The end of a name, or the start of an answer, in lower case, without a final dot, and in A-labels.
fn folded(q: &str) -> String {
    let name = (!q.is_ascii()).then(|| Name::parse(q).ok()).flatten();
    let q = name.map_or_else(|| q.to_ascii_lowercase(), |name| name.to_string());
    q.strip_suffix('.').filter(|bare| !bare.is_empty()).map(str::to_owned).unwrap_or(q)
}

/// Which side of a row is asked for.
enum Side {
    Exactly(Vec<u8>),
    Like(Vec<u8>),
}

impl Side {
    fn new(how: &str, q: &str) -> Side {
        if how == "like" {
            return Side::Like(folded(q).into());
        }
        match Query::exact(q) {
            // As it is shown, whichever way it was written.
            Query::Either(name) => Side::Exactly(name.to_string().to_ascii_lowercase().into()),
            _ => Side::Exactly(q.to_ascii_lowercase().into()),
        }
    }

    fn is_query(&self, shown: &[u8]) -> bool {
        match self {
            Side::Exactly(q) => shown.eq_ignore_ascii_case(q),
            Side::Like(q) => {
                shown.len() >= q.len()
                    && shown.get(shown.len() - q.len()..).is_some_and(|end| end.eq_ignore_ascii_case(q))
            }
        }
    }

    fn is_answer(&self, shown: &[u8]) -> bool {
        match self {
            Side::Exactly(q) => shown.eq_ignore_ascii_case(q),
            Side::Like(q) => shown.get(..q.len()).is_some_and(|start| start.eq_ignore_ascii_case(q)),
        }
    }
}

/// A value with the figures of all its rows.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Value<'a> {
    value: Text<'a>,
    which: &'a str,
    count: u64,
    first: String,
    last: String,
}

/// Values by their text, and by whether they are an answer (`A`) or a query (`Q`), with the figures of all their rows.
#[derive(Default)]
struct Values {
    values: BTreeMap<(Vec<u8>, &'static str), Seen>,
    shown: Vec<u8>,
}

impl Values {
    fn add(&mut self, side: &Side, found: &Found<'_>) {
        let Values { values, shown } = self;
        let mut add =
            |shown: &[u8], which| values.entry((shown.to_vec(), which)).or_default().merge(&found.seen);
        shown.clear();
        found.entry.tuple.rrname.push_presentation(shown);
        if side.is_query(shown) {
            add(shown, "Q");
        }
        shown.clear();
        found.entry.tuple.rdata.push_presentation(shown);
        if side.is_answer(shown) {
            add(shown, "A");
        }
    }

    fn to_json(&self) -> Vec<u8> {
        let mut out = b"[".to_vec();
        for (i, ((value, which), seen)) in self.values.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let value = Value {
                value: Text::Made(value),
                which,
                count: seen.count,
                first: format_utc(seen.time_first),
                last: format_utc(seen.time_last),
            };
            push_object(&value, &mut out);
        }
        out.extend_from_slice(b"]\n");
        out
    }
}
