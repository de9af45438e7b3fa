//! Flexible search: names or data that match a regex or a glob, each with its types once.
//!
//! A pattern runs on names with their final dot and on data as it is shown, in any case. What matches is gathered before
//! the first line is written, so that its figures are those of all rows with that name, or data, and type. When the limit
//! is reached first, the answer is `limited` and figures are of the rows up to there.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use warp::reply::Response;

use super::super::State;
use super::super::answer::{Gathered, as_of, gather};
use super::super::error::ApiError;
use super::super::request::Request;
use super::saf::{Framing, SeenMembers};
use super::{Params, Version, bad, flag, types};
use crate::dns::{RrType, push_wire_rdata};
use crate::lookup::{Filters, Found, Limits, Pattern, Query, Search};
use crate::observation::Seen;
use crate::output::json::{Text, type_name};

/// Matches of one answer, skipped ones included: they are in memory while the ledger is looked through.
const MAX_MATCHES: u64 = 50_000;

/// What is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Owner names.
    Rrnames,
    /// Record data.
    Rdata,
}

/// Answers `{method}/{side}/{pattern}[/{rrtype}]`.
///
/// # Errors
///
/// 400 where the pattern is none; else as any lookup.
pub async fn answer(
    state: State,
    request: &Request,
    method: &str,
    side: Side,
    pattern: &str,
    rest: &[&str],
) -> Result<Response, ApiError> {
    if rest.len() > 1 {
        return Err(ApiError::not_found());
    }
    let params = Params::parse(request, &state.0.config)?;
    if params.offset >= MAX_MATCHES {
        return Err(ApiError::bad_range(format!("offset is at most {} here", MAX_MATCHES - 1)));
    }
    let most = params.offset.saturating_add(params.limit).min(MAX_MATCHES);
    let verbose = flag(request, "verbose")?.unwrap_or(true);
    let mut wanted = compile(method, side, pattern)?;
    if let Some(excluded) = request.param("exclude") {
        wanted = wanted.but_not(compile(method, side, excluded)?);
    }
    let filters = Filters {
        types: types(rest.first())?,
        direct: request.direct(side == Side::Rrnames)?,
        ..params.fences.clone()
    };
    let search = Search { filters, merge_sensors: true, ..Search::new(Query::Pattern(wanted)) };
    let limits = Limits { rows: u64::MAX, examined: state.0.config.scan_rows };
    let as_of = as_of(&state);
    let visit = move |matches: &mut Matches, found: &Found<'_>| matches.add(side, found, most);
    let Gathered { value, ended, examined } =
        gather(&state, search, limits, None, Matches::default(), visit).await?;
    let framing = Framing(Version::V2);
    let mut out = Vec::new();
    framing.begin(&mut out);
    for one in value.matches.iter().skip(usize::try_from(params.offset).unwrap_or(usize::MAX)) {
        framing.object(&one.object(side, verbose.then_some(params.human)), &mut out);
    }
    framing.ended(&ended, examined, &mut out)?;
    Ok(framing.response(out, as_of))
}

fn compile(method: &str, side: Side, pattern: &str) -> Result<Pattern, ApiError> {
    let compiled = if method == "glob" { Pattern::glob(pattern) } else { Pattern::regex(pattern) };
    let compiled = compiled
        .map_err(|error| bad(error.to_string(), "a pattern such as ^mail[0-9]*\\. or mail*.example.com."))?;
    let compiled = compiled.with_final_dot();
    Ok(if side == Side::Rrnames { compiled.on_rrname() } else { compiled.on_rdata() })
}

/// What matched, in the order in which it was met.
#[derive(Default)]
struct Matches {
    matches: Vec<Match>,
    by_key: HashMap<(Vec<u8>, RrType), usize>,
}

/// A name, or data, with one of its types.
struct Match {
    shown: Vec<u8>,
    rrtype: RrType,
    /// Data in wire form, where all of it is known.
    wire: Option<Vec<u8>>,
    seen: Seen,
}

impl Matches {
    /// Adds a row; `false`, and it is not added, where it would be one match too many.
    fn add(&mut self, side: Side, found: &Found<'_>, most: u64) -> bool {
        let tuple = &found.entry.tuple;
        let mut shown = Vec::new();
        match side {
            Side::Rrnames => Text::Dotted(&tuple.rrname).push(&mut shown),
            Side::Rdata => Text::DottedData(&tuple.rdata).push(&mut shown),
        }
        let key = (shown, tuple.rrtype);
        if let Some(known) = self.by_key.get(&key).and_then(|&at| self.matches.get_mut(at)) {
            known.seen.merge(&found.seen);
            return true;
        }
        if self.matches.len() as u64 >= most {
            return false;
        }
        let mut wire = Vec::new();
        let whole = side == Side::Rdata && push_wire_rdata(tuple.rrtype, &tuple.rdata, &mut wire);
        self.matches.push(Match {
            shown: key.0.clone(),
            rrtype: tuple.rrtype,
            wire: whole.then_some(wire),
            seen: found.seen,
        });
        self.by_key.insert(key, self.matches.len() - 1);
        true
    }
}

/// A match as it is told.
#[derive(Serialize)]
struct MatchObject<'a> {
    #[serde(flatten)]
    seen: Option<SeenMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rrname: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdata: Option<Text<'a>>,
    rrtype: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_rdata: Option<Text<'a>>,
}

impl Match {
    /// The object; figures are in it where it is said how times are written.
    fn object(&self, side: Side, human: Option<bool>) -> MatchObject<'_> {
        let shown = Text::Made(&self.shown);
        MatchObject {
            seen: human.map(|human| SeenMembers::of(&self.seen, human)),
            rrname: (side == Side::Rrnames).then_some(shown),
            rdata: (side == Side::Rdata).then_some(shown),
            rrtype: type_name(self.rrtype),
            raw_rdata: self.wire.as_deref().map(Text::Hex),
        }
    }
}
