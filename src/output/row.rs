//! A row of the ledger as JSON and CSV have it.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::json::{push_bool, push_line, push_number, push_str, push_string};
use super::printable::{is_unsafe, printable, sanitise, shortened};
use crate::base::time::format_utc;
use crate::lookup::{During, Found};
use crate::observation::MAX_SENSOR_BYTES;

/// Characters of a name in presentation form at most: each of its bytes is four, and so is none of its dots.
pub(super) const NAME_SHOWN: usize = 1_100;
/// Characters of a type at most.
pub(super) const TYPE_SHOWN: usize = 24;
/// Characters of record data at most: a line of a log holds less, with each byte of it escaped.
pub(super) const RDATA_SHOWN: usize = 4 << 20;

/// A row of the ledger as the native API has it. The names are those of COF, where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The owner name, in presentation form.
    pub rrname: String,
    /// A mnemonic, or `TYPE` and a number.
    pub rrtype: String,
    /// The record data, in presentation form.
    pub rdata: String,
    /// Log records that held the tuple.
    pub count: u64,
    /// The first sighting, epoch seconds.
    pub time_first: u64,
    /// The last sighting, epoch seconds.
    pub time_last: u64,
    /// The time to live of the latest sighting, seconds.
    pub ttl: u32,
    /// Whether it was seen at the name itself.
    pub direct: bool,
    /// Whether it was seen through a chain of CNAMEs.
    pub alias: bool,
    /// The sensor that saw it.
    pub sensor: String,
    /// The UTC days with a sighting: bit i is the day of `time_last` minus i days, up to 63.
    pub days: u64,
    /// Of a row that stands for names which were folded: how many they were, about, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded_names: Option<u64>,
    /// Whether it was seen within the time that was asked for, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<During>,
}

impl From<&Found<'_>> for Row {
    fn from(found: &Found<'_>) -> Row {
        let Found { entry, seen, during } = found;
        Row {
            rrname: entry.tuple.rrname.to_string(),
            rrtype: entry.tuple.rrtype.to_string(),
            rdata: {
                let mut rdata = Vec::new();
                entry.push_rdata(&mut rdata);
                String::from_utf8(rdata).unwrap_or_default()
            },
            count: seen.count,
            time_first: seen.time_first,
            time_last: seen.time_last,
            ttl: seen.ttl,
            direct: !entry.halves.direct.is_none(),
            alias: !entry.halves.alias.is_none(),
            sensor: entry.sensor.to_string(),
            days: seen.days,
            folded_names: entry.names,
            during: *during,
        }
    }
}

impl Row {
    /// Which halves there are, in one word.
    pub(super) fn halves(&self) -> &'static str {
        match (self.direct, self.alias) {
            (true, true) => "both",
            (false, true) => "alias",
            _ => "direct",
        }
    }

    /// The row as it may be shown, of a server that may be anybody's: names and data are printable ASCII, as this program
    /// writes them, nothing is longer than it can be, and a sensor is a name.
    pub fn tamed(mut self) -> Row {
        for (text, most) in
            [(&mut self.rrname, NAME_SHOWN), (&mut self.rrtype, TYPE_SHOWN), (&mut self.rdata, RDATA_SHOWN)]
        {
            if text.len() > most || !text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
                *text = printable(text, most);
            }
        }
        if self.sensor.len() > MAX_SENSOR_BYTES || is_unsafe(&self.sensor) {
            self.sensor = shortened(&sanitise(&self.sensor), MAX_SENSOR_BYTES);
        }
        self
    }

    /// Appends one line of JSON.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        push_line(self, out);
    }

    /// Appends one line of CSV (RFC 4180, but with a bare newline), in the order of [`CSV_HEADER`].
    pub fn push_csv(&self, out: &mut Vec<u8>) {
        let halves = self.halves();
        for text in [&self.rrname, &self.rrtype, &self.rdata] {
            push_csv_cell(text, out);
            out.push(b',');
        }
        let Row { count, ttl, days, .. } = self;
        let (first, last) = (format_utc(self.time_first), format_utc(self.time_last));
        drop(write!(out, "{count},{first},{last},{ttl},{halves},"));
        push_csv_cell(&self.sensor, out);
        drop(write!(out, ",{days:#x}"));
        if let Some(during) = self.during {
            drop(write!(out, ",{}", during.name()));
        }
        out.push(b'\n');
    }
}

/// Appends one line of JSON, as [`Row::push_json`] does, without making a [`Row`] first. Whole ledgers are written so: straight,
/// for by serde a row took twice as long.
pub fn push_json(found: &Found<'_>, out: &mut Vec<u8>) {
    let Found { entry, seen, during } = found;
    out.extend_from_slice(b"{\"rrname\":");
    push_string(out, |out| entry.tuple.rrname.push_presentation(out));
    out.extend_from_slice(b",\"rrtype\":");
    match entry.tuple.rrtype.mnemonic() {
        Some(mnemonic) => push_str(mnemonic, out),
        None => push_str(&entry.tuple.rrtype.to_string(), out),
    }
    out.extend_from_slice(b",\"rdata\":");
    push_string(out, |out| entry.push_rdata(out));
    for (name, number) in [
        (",\"count\":", seen.count),
        (",\"time_first\":", seen.time_first),
        (",\"time_last\":", seen.time_last),
        (",\"ttl\":", u64::from(seen.ttl)),
    ] {
        out.extend_from_slice(name.as_bytes());
        push_number(number, out);
    }
    out.extend_from_slice(b",\"direct\":");
    push_bool(!entry.halves.direct.is_none(), out);
    out.extend_from_slice(b",\"alias\":");
    push_bool(!entry.halves.alias.is_none(), out);
    out.extend_from_slice(b",\"sensor\":");
    push_str(&entry.sensor, out);
    out.extend_from_slice(b",\"days\":");
    push_number(seen.days, out);
    if let Some(names) = entry.names {
        out.extend_from_slice(b",\"folded_names\":");
        push_number(names, out);
    }
    if let Some(during) = during {
        out.extend_from_slice(b",\"during\":");
        push_str(during.name(), out);
    }
    out.extend_from_slice(b"}\n");
}

/// The first line of CSV. Times are UTC; `seen` is `direct`, `alias` or `both`; `days` is the bit field in hexadecimal.
pub const CSV_HEADER: &str = "rrname,rrtype,rdata,count,time_first,time_last,ttl,seen,sensor,days\n";

/// The same where a time is asked for: with a column that says whether a row was seen on a day in it.
pub fn csv_header(is_during: bool) -> String {
    match is_during {
        true => format!("{},during\n", CSV_HEADER.trim_end()),
        false => CSV_HEADER.to_owned(),
    }
}

/// Appends a cell, quoted where it must be, so that no spreadsheet takes it for more than text.
///
/// A cell that a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets hide. Where the comma
/// is the sign of a fraction, spreadsheets divide cells at semicolons, quoted or not: what is behind one would be a cell of its
/// own, so a semicolon is written as `\059` (RFC 1035 5.1).
pub fn push_csv_cell(text: &str, out: &mut Vec<u8>) {
    let formula = text.starts_with(['\t', '\r', '\n'])
        || text
            .trim_start()
            .starts_with(['=', '+', '-', '@', '|', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if !formula && !text.contains(['"', ',', ';', '\n', '\r', '\t']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    if formula {
        out.push(b'\'');
    }
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\"\""),
            b';' => out.extend_from_slice(b"\\059"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Which query of a list a row is for.
#[derive(Debug, Clone, Serialize)]
pub struct QueryLabel {
    /// The line it was on, from 1; none where it was typed.
    pub line: Option<u64>,
    /// As it came.
    pub query: String,
    /// As it was understood.
    pub asked: String,
}

impl QueryLabel {
    /// Appends one line of JSON: the label and the row as one object.
    pub fn push_json(&self, row: &Row, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Labelled<'a> {
            #[serde(flatten)]
            label: &'a QueryLabel,
            #[serde(flatten)]
            row: &'a Row,
        }
        push_line(&Labelled { label: self, row }, out);
    }

    /// Appends the cells of a line of CSV that come before those of the row.
    pub fn push_csv(&self, out: &mut Vec<u8>) {
        out.extend(self.line.map(|line| line.to_string()).unwrap_or_default().bytes());
        for text in [&self.query, &self.asked] {
            out.push(b',');
            push_csv_cell(text, out);
        }
        out.push(b',');
    }

    /// What a table has of it: the line, and the query as it was understood.
    pub(super) fn shown(&self) -> (String, String) {
        (self.line.map(|line| line.to_string()).unwrap_or_default(), sanitise(&self.asked).into_owned())
    }
}
