//! Summaries: of an answer, a line for each query, and of the questions for a name.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::{push_csv_cell, push_padded, sanitise, shortened};
use crate::base::time::format_utc;
use crate::lookup;
use crate::observation::Outcome;

/// Bytes of text of a server's that is shown.
const SHOWN: usize = 500;
/// Names without an answer that are shown.
const NAMED: usize = 10;
/// The widest column of queries.
const WIDEST: usize = 80;

//--- Questions ------------------------------------------------------------------------------------------------------

/// How a name was asked for, or all names at and below one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Questions {
    /// How often.
    pub count: u64,
    /// The first time, epoch seconds.
    pub time_first: Option<u64>,
    /// The last time.
    pub time_last: Option<u64>,
    /// How often each outcome came about that did.
    pub outcomes: BTreeMap<String, u64>,
    /// Different names that were asked for.
    pub names: u64,
    /// Whether there were more: so many are told apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_names: bool,
    /// Whether they are for the name that is written as the address is that was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_name: bool,
    /// Whether all questions were looked at.
    pub complete: bool,
    /// Whether only some count: those that fit the filters of the lookup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filtered: bool,
    /// Whether such a name is asked for in a class that is never kept, CHAOS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chaos: bool,
    /// Questions last asked before this were dropped, epoch seconds; absent if none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_before: Option<u64>,
    /// For several names: how many never had an answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unanswered: u64,
    /// The first of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered_names: Vec<String>,
    /// For one name: what is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Rows and questions below a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Below {
    /// Whether a name below it has rows.
    pub rows: bool,
    /// Whether one was asked for.
    pub asked: bool,
    /// Where there is neither: whether rows of other names lead to one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub led_to: bool,
    /// The query that finds them.
    pub query: String,
}

impl From<&lookup::Below> for Below {
    fn from(below: &lookup::Below) -> Below {
        Below {
            rows: below.has_rows,
            asked: below.was_asked,
            led_to: below.is_led_to,
            query: below.query.clone(),
        }
    }
}

impl Below {
    /// In words: `names below it have rows`.
    pub fn in_words(&self) -> &'static str {
        match (self.rows, self.asked) {
            (true, _) => "names below it have rows",
            _ if self.led_to => "rows lead to names below it",
            _ => "names below it were asked for",
        }
    }
}

impl From<&lookup::Questions> for Questions {
    fn from(questions: &lookup::Questions) -> Questions {
        let asked = &questions.asked;
        let count = asked.count();
        let outcomes =
            Outcome::ALL.iter().map(|outcome| (outcome.name().to_owned(), asked.outcome(*outcome)));
        Questions {
            count,
            time_first: (count > 0).then_some(asked.time_first),
            time_last: (count > 0).then_some(asked.time_last),
            outcomes: outcomes.filter(|(_, count)| *count > 0).collect(),
            names: questions.names(),
            more_names: questions.has_more_names(),
            as_name: questions.as_name,
            complete: questions.is_all,
            filtered: questions.is_filtered,
            chaos: questions.is_of_chaos,
            expired_before: Some(questions.expired_before).filter(|before| *before > 0),
            unanswered: questions.unanswered,
            unanswered_names: questions.named.iter().map(ToString::to_string).collect(),
            below: questions.below.as_ref().map(Below::from),
        }
    }
}

impl Questions {
    /// In words: `asked 3 times (NXDOMAIN 2, answered 1), first 2024-03-01 12:00:00, last 2024-03-02 12:00:00`.
    pub fn in_words(&self) -> String {
        let (Some(first), Some(last)) = (self.time_first, self.time_last) else {
            return self.not_asked();
        };
        let least = if self.complete { "" } else { "at least " };
        let asked = if self.as_name { "asked for as a name" } else { "asked" };
        let last = format_utc(last);
        let of = match (self.names, self.more_names) {
            (0 | 1, _) => String::new(),
            (names, false) => format!(" of {names} names"),
            (names, true) => format!(" of at least {names} names"),
        };
        let said = match (self.count, self.outcomes.keys().next()) {
            (1, Some(outcome)) => format!("{asked} 1 time, {}, last {last}", words(outcome)),
            (count, Some(outcome)) if self.outcomes.len() == 1 => {
                format!(
                    "{asked} {least}{count} times{of}, {}, first {}, last {last}",
                    words(outcome),
                    format_utc(first)
                )
            }
            (count, _) => {
                format!(
                    "{asked} {least}{count} times{of} ({}), first {}, last {last}",
                    self.outcome(),
                    format_utc(first)
                )
            }
        };
        match self.without_answer() {
            Some(names) => format!("{said}; {names}"),
            None => said,
        }
    }

    /// The names that never had an answer, as far as they are told: `without an answer: a.example, b.example and 7 more`.
    fn without_answer(&self) -> Option<String> {
        let shown = |name: &String| shortened(&sanitise(name), SHOWN);
        let names: Vec<String> = self.unanswered_names.iter().take(NAMED).map(shown).collect();
        let more = self.unanswered.saturating_sub(names.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("without an answer: {}{more}", names.join(", ")))
    }

    /// Says that names below have something: `names below it have rows: ask for *.example.com`.
    pub fn below_in_words(&self) -> Option<String> {
        let below = self.below.as_ref()?;
        Some(format!("{}: ask for {}", below.in_words(), shortened(&sanitise(&below.query), SHOWN)))
    }

    /// Nobody can say "never" of a time that is not kept.
    fn not_asked(&self) -> String {
        let kept = self.not_asked_as_kept();
        if self.chaos {
            format!("{kept} (in the class CHAOS, of which nothing is kept, it may have been)")
        } else {
            kept
        }
    }

    fn not_asked_as_kept(&self) -> String {
        if !self.complete {
            return "not asked as far as was looked, which is not to the end".to_owned();
        }
        let what = if self.filtered { "not asked within these filters" } else { "never asked" };
        match self.expired_before {
            Some(before) if self.filtered => {
                format!("{what}, and nothing is kept from before {}", format_utc(before))
            }
            Some(before) => {
                format!("not asked since {}, and nothing is kept from before", format_utc(before))
            }
            None => what.to_owned(),
        }
    }

    /// How they ended, the most frequent first: `NXDOMAIN 2, answered 1`.
    pub fn outcome(&self) -> String {
        if self.count == 0 {
            return self.not_asked();
        }
        let mut outcomes: Vec<(&String, &u64)> = self.outcomes.iter().take(Outcome::ALL.len()).collect();
        outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let parts: Vec<String> =
            outcomes.into_iter().map(|(outcome, count)| format!("{} {count}", words(outcome))).collect();
        parts.join(", ")
    }
}

/// An outcome as people call it.
fn words(outcome: &str) -> String {
    match outcome {
        "nodata" => "no data".to_owned(),
        "nxdomain" | "servfail" | "refused" => outcome.to_ascii_uppercase(),
        "other" => "other error".to_owned(),
        "no_response" => "no response".to_owned(),
        "not_logged" => "answer not logged".to_owned(),
        other => shortened(&sanitise(other), SHOWN),
    }
}

//--- SummaryLine ----------------------------------------------------------------------------------------------------

/// The summary of the answer to one query of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryLine {
    /// The line it was on, from 1; none where it was typed.
    pub line: Option<u64>,
    /// As it came.
    pub query: String,
    /// As it was understood; none of what is no query.
    pub asked: Option<String>,
    /// Rows found.
    #[serde(default)]
    pub rows: u64,
    /// Different names in them.
    #[serde(default)]
    pub names: u64,
    /// Whether there may be more names: so many are told apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_names: bool,
    /// When the first of them was first seen.
    #[serde(default)]
    pub time_first: Option<u64>,
    /// When any of them was last seen.
    #[serde(default)]
    pub time_last: Option<u64>,
    /// How the name was asked for, where the query is about one.
    #[serde(default)]
    pub questions: Option<Questions>,
    /// `complete`; otherwise there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Why it is no query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<QueryFault>,
}

/// Why something is no query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryFault {
    /// The reason.
    pub message: String,
    /// A form that would be accepted.
    #[serde(default)]
    pub hint: String,
}

/// The first line of CSV.
pub const SUMMARY_HEADER: &str = "line,query,asked,rows,names,time_first,time_last,questions,outcome\n";

impl SummaryLine {
    /// Fills in what the rows come to.
    pub fn with(self, summary: &lookup::Summary) -> SummaryLine {
        let lookup::Summary { rows, time_first, time_last, .. } = *summary;
        let (names, more_names) = (summary.names(), summary.has_more_names());
        SummaryLine { rows, names, more_names, time_first, time_last, ..self }
    }

    /// How it ended, in words.
    fn outcome(&self) -> String {
        if let Some(fault) = &self.error {
            return format!("no query: {}", shortened(&sanitise(&fault.message), SHOWN));
        }
        let mut text = self.questions.as_ref().map(Questions::outcome).unwrap_or_default();
        if self.questions.is_none() && self.rows == 0 {
            text.push_str("not seen");
        }
        let asked = self.asked.as_deref().unwrap_or_default();
        let hint = lookup::maybe_meant(asked).filter(|_| self.rows == 0);
        if let Some(hint) = hint.or_else(|| lookup::another(asked)) {
            text.push_str("; ");
            text.push_str(&shortened(&sanitise(&hint), SHOWN));
        }
        if let Some(below) =
            self.questions.as_ref().filter(|_| self.rows == 0).and_then(Questions::below_in_words)
        {
            text.push_str("; ");
            text.push_str(&below);
        }
        if self.more_names {
            text.push_str(if text.is_empty() {
                "at least so many names"
            } else {
                "; at least so many names"
            });
        }
        if self.ended.as_deref().is_some_and(|ended| ended != "complete") {
            text.push_str(if text.is_empty() { "there may be more" } else { "; there may be more" });
        }
        text
    }

    /// Appends one line of JSON.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        // Writing plain values to memory cannot fail.
        drop(serde_json::to_writer(&mut *out, self));
        out.push(b'\n');
    }

    /// Appends one line of CSV, in the order of [`SUMMARY_HEADER`].
    pub fn push_csv(&self, out: &mut Vec<u8>) {
        out.extend(self.line.map(|line| line.to_string()).unwrap_or_default().bytes());
        for text in [&self.query, self.asked.as_ref().unwrap_or(&String::new())] {
            out.push(b',');
            push_csv_cell(text, out);
        }
        let time = |time: Option<u64>| time.map(format_utc).unwrap_or_default();
        let asked = self.questions.as_ref().map(|questions| questions.count.to_string()).unwrap_or_default();
        let (first, last) = (time(self.time_first), time(self.time_last));
        drop(write!(out, ",{},{},{first},{last},{asked},", self.rows, self.names));
        push_csv_cell(&self.outcome(), out);
        out.push(b'\n');
    }
}

/// Writes summaries as a table, whose times `time` tells.
///
/// # Errors
///
/// When it cannot be written.
pub fn push_table(
    lines: &[SummaryLine],
    time: &dyn Fn(u64) -> String,
    out: &mut impl Write,
) -> io::Result<()> {
    let shown = |line: &SummaryLine| {
        let count = |count: u64| if line.error.is_some() { String::new() } else { count.to_string() };
        let moment = |at: Option<u64>| at.map(time).unwrap_or_default();
        [
            line.line.map(|line| line.to_string()).unwrap_or_default(),
            sanitise(line.asked.as_ref().unwrap_or(&line.query)).into_owned(),
            count(line.rows),
            count(line.names),
            moment(line.time_first),
            moment(line.time_last),
            line.questions.as_ref().map(|questions| questions.count.to_string()).unwrap_or_default(),
            line.outcome(),
        ]
    };
    let head = ["LINE", "QUERY", "ROWS", "NAMES", "FIRST (UTC)", "LAST (UTC)", "ASKED", "OUTCOME"]
        .map(str::to_owned);
    let all: Vec<[String; 8]> = std::iter::once(head).chain(lines.iter().map(shown)).collect();
    let width = |at: usize| {
        all.iter().filter_map(|row| Some(row.get(at)?.chars().count())).max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<usize> = (0..8).map(width).collect();
    for row in &all {
        let mut text = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at == 0 && lines.iter().all(|line| line.line.is_none()) {
                continue;
            }
            if matches!(at, 0 | 2 | 3 | 6) {
                text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                text.push_str(cell);
            } else {
                push_padded(cell, *width, &mut text);
            }
            text.push_str("  ");
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
