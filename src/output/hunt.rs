//! The output of a hunt: a line for each indicator that the ledger has, and a summary.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{push_csv_cell, sanitise, shortened};
use crate::base::time::format_utc;
use crate::hunt::{Hit, HuntOutcome, MAX_NAMES};
use crate::indicators::{Format, LeftOut, ListSummary, Reason};

/// Characters of a value or a title that are shown in a table.
const SHOWN: usize = 80;

//--- HuntLine -------------------------------------------------------------------------------------------------------

/// An indicator that the ledger has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HuntLine {
    /// The indicator.
    pub value: String,
    /// The indicator's kind.
    pub kind: String,
    /// Different names that rows were found of.
    pub names: u64,
    /// Rows.
    pub rows: u64,
    /// Names that were asked for and have no row.
    pub asked_only: u64,
    /// Whether there are more names than are counted.
    pub too_wide: bool,
    /// When it was first seen, or asked for, epoch seconds.
    pub time_first: u64,
    /// When it was last seen, or asked for.
    pub time_last: u64,
    /// The line in the source.
    pub line: u64,
    /// Its id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The title of what it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl From<Hit> for HuntLine {
    fn from(hit: Hit) -> HuntLine {
        HuntLine {
            value: hit.value.to_string(),
            kind: hit.value.kind().name().to_owned(),
            names: hit.names,
            rows: hit.rows,
            asked_only: hit.asked_only,
            too_wide: hit.is_too_wide,
            time_first: hit.time_first,
            time_last: hit.time_last,
            line: hit.line,
            id: hit.id,
            title: hit.title,
        }
    }
}

/// The first line of CSV.
pub const HUNT_HEADER: &str =
    "value,kind,names,rows,asked_only,too_wide,time_first,time_last,line,id,title\n";
/// The titles of a table.
pub const HUNT_TITLES: [&str; 9] =
    ["VALUE", "KIND", "NAMES", "ROWS", "ASKED ONLY", "FIRST (UTC)", "LAST (UTC)", "LINE", "SOURCE"];

impl HuntLine {
    /// Appends one line of JSON.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        // Writing plain values to memory cannot fail.
        drop(serde_json::to_writer(&mut *out, self));
        out.push(b'\n');
    }

    /// Appends one line of CSV, in the order of [`HUNT_HEADER`].
    pub fn push_csv(&self, out: &mut Vec<u8>) {
        push_csv_cell(&sanitise(&self.value), out);
        let HuntLine { kind, names, rows, asked_only, too_wide, line, .. } = self;
        let (first, last) = (format_utc(self.time_first), format_utc(self.time_last));
        drop(write!(out, ",{kind},{names},{rows},{asked_only},{too_wide},{first},{last},{line},"));
        push_csv_cell(&sanitise(self.id.as_deref().unwrap_or_default()), out);
        out.push(b',');
        push_csv_cell(&sanitise(self.title.as_deref().unwrap_or_default()), out);
        out.push(b'\n');
    }

    /// The cells of a table, in the order of [`HUNT_TITLES`].
    pub fn cells(&self) -> [String; 9] {
        let least = if self.too_wide { ">" } else { "" };
        let text = |text: &str| shortened(&sanitise(text), SHOWN);
        [
            text(&self.value),
            self.kind.clone(),
            format!("{least}{}", self.names),
            format!("{least}{}", self.rows),
            self.asked_only.to_string(),
            format_utc(self.time_first),
            format_utc(self.time_last),
            self.line.to_string(),
            text(self.title.as_deref().or(self.id.as_deref()).unwrap_or_default()),
        ]
    }
}

//--- HuntSum --------------------------------------------------------------------------------------------------------

/// The summary of a hunt. Each indicator that was taken is a hit, missed, late, a duplicate or allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HuntSum {
    /// How the list was written.
    pub format: String,
    /// Its title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Lines, or attributes and objects, in it.
    pub lines: u64,
    /// Indicators that were taken.
    pub taken: u64,
    /// Indicators that the ledger has.
    pub hits: u64,
    /// Indicators that it does not have.
    pub missed: u64,
    /// Indicators seen only after they had ended (`valid_until`).
    pub late: u64,
    /// Indicators that were in the list before.
    pub duplicates: u64,
    /// Indicators that an exception of the list makes harmless.
    pub allowed: u64,
    /// Hits with more names than are counted.
    pub too_wide: u64,
    /// Exceptions in the list.
    pub exceptions: u64,
    /// How many entries were not taken, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// The first few of each reason.
    pub examples: Vec<Example>,
    /// Columns, or keys of objects, that hold names or addresses and were not taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutColumn>,
    /// Rows last seen before this were dropped, epoch seconds; absent if none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_before: Option<u64>,
    /// Why there was nothing to look for, if so: then no hit does not mean clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<String>,
    /// As of when the ledger answers, where a daemon follows logs.
    pub as_of: Option<String>,
    /// Which logs are not read.
    pub incomplete: Vec<String>,
}

/// Something of a list that was not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Where it is.
    pub line: u64,
    /// Why.
    pub reason: String,
    /// The entry as it is in the list.
    pub text: String,
}

/// A column, or a key of objects, that holds names or addresses and was not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutColumn {
    /// Its title or number.
    pub column: String,
    /// Cells with names, of those that were looked at.
    pub names: u64,
    /// Cells with addresses.
    pub addresses: u64,
}

impl HuntSum {
    /// Makes the summary of a list and of its hunt.
    pub fn of(taken: &ListSummary, outcome: &HuntOutcome) -> HuntSum {
        let skipped = taken.skipped.iter().map(|(reason, count)| (reason.name().to_owned(), count));
        let example = |(line, reason, text): &(u64, Reason, String)| Example {
            line: *line,
            reason: reason.name().to_owned(),
            text: text.clone(),
        };
        let column = |LeftOut { column, names, addresses }: &LeftOut| LeftOutColumn {
            column: column.clone(),
            names: *names,
            addresses: *addresses,
        };
        let sum = HuntSum {
            left_out: taken.left_out.iter().map(column).collect(),
            format: taken.format.name().to_owned(),
            title: taken.title.clone(),
            lines: taken.lines,
            taken: taken.taken,
            hits: outcome.hits,
            missed: outcome.missed,
            late: outcome.late,
            duplicates: outcome.duplicates,
            allowed: outcome.allowed,
            too_wide: outcome.too_wide,
            exceptions: taken.allowed,
            skipped: skipped.collect(),
            examples: taken.skipped.examples().iter().map(example).collect(),
            expired_before: Some(outcome.expired_before).filter(|before| *before > 0),
            empty: None,
            as_of: None,
            incomplete: Vec::new(),
        };
        HuntSum { empty: sum.why_empty().map(str::to_owned), ..sum }
    }

    /// Why there was nothing to look for, if that is so.
    fn why_empty(&self) -> Option<&'static str> {
        let are_all = |harmless: Reason| self.skipped.keys().all(|reason| reason == harmless.name());
        Some(match self.skipped.is_empty() {
            _ if self.taken > 0 => return None,
            _ if self.exceptions > 0 => "It is an allow list: there is nothing in it to look for.",
            true if self.lines == 0 => "The list is empty: there is nothing in it to look for.",
            true => {
                "There is no indicator in the list, only comments, empty lines or words: nothing was looked for."
            }
            false if are_all(Reason::Observed) => "There are only observables in it: --observed takes them.",
            false if are_all(Reason::Hash) => {
                "There are only hashes in it, of values or of files: no name can be told from them."
            }
            false => "Nothing of the list was taken, so nothing was looked for.",
        })
    }

    /// Appends one line of JSON.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        // Writing plain values to memory cannot fail.
        drop(serde_json::to_writer(&mut *out, self));
        out.push(b'\n');
    }

    /// In words, a line for each thing to say.
    pub fn in_words(&self) -> Vec<String> {
        let HuntSum { taken, hits, missed, duplicates, allowed, .. } = self;
        let mut first = format!("{taken} taken: {hits} in the ledger, {missed} not");
        for (count, what) in [(duplicates, "twice in the list"), (allowed, "harmless by its exceptions")] {
            if *count > 0 {
                first.push_str(&format!(", {count} {what}"));
            }
        }
        if self.late > 0 {
            first.push_str(&format!(", {} seen only after they had ended", self.late));
        }
        let title = self.title.as_ref().map(|title| format!(" \u{201c}{title}\u{201d}")).unwrap_or_default();
        let mut lines = vec![format!("{first}. Read as {}{title}.", self.format)];
        if self.late > 0 {
            lines.push("What was seen only after valid_until of its indicator is not a hit: --ended (ended=true) takes it for one.".to_owned());
        }
        if let (Some(before), 1..) = (self.expired_before, self.missed) {
            lines.push(format!(
                "Of those that it has not, nothing is kept from before {} UTC.",
                format_utc(before)
            ));
        }
        if self.too_wide > 0 {
            lines.push(format!(
                "{} have more than {MAX_NAMES} names, of which the first are counted.",
                self.too_wide
            ));
        }
        if !self.skipped.is_empty() {
            let total: u64 = self.skipped.values().sum();
            let reasons: Vec<String> = self
                .skipped
                .iter()
                .map(|(reason, count)| match Reason::from_name(reason) {
                    Some(reason) => format!("{count} {}", reason.in_words()),
                    None => format!("{count} {reason}"),
                })
                .collect();
            lines.push(format!("{total} not taken: {}.", reasons.join("; ")));
        }
        let format = Format::from_name(&self.format).unwrap_or(Format::Csv);
        lines.extend(self.left_out.iter().map(|LeftOutColumn { column, names, addresses }| {
            let (column, names, addresses) = (column.clone(), *names, *addresses);
            LeftOut { column, names, addresses }.in_words(format)
        }));
        lines.extend(self.why_empty().map(str::to_owned));
        lines
    }
}
