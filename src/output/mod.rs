//! Rows for people and programs: a table for a terminal, JSON, CSV.
//!
//! Text of the ledger is printable ASCII with everything else escaped. Text that comes from elsewhere (a sensor's name,
//! a path, what the user typed) goes through [`sanitise`] before it reaches a terminal.

pub mod cof;
pub mod hunt;
pub mod json;
pub mod summary;

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::base::time::{format_date, format_utc};
use crate::lookup::{During, Found};
use crate::observation::{MAX_SENSOR_BYTES, is_unsafe_char};
use crate::output::json::{push_bool, push_number, push_str, push_string};

/// Characters of a name in presentation form at most: each of its bytes is four, and so is none of its dots.
const NAME_SHOWN: usize = 1_100;
/// Characters of a type at most.
const TYPE_SHOWN: usize = 24;
/// Characters of record data at most: a line of a log holds less, with each byte of it escaped.
const RDATA_SHOWN: usize = 4 << 20;

//--- Row ------------------------------------------------------------------------------------------------------------

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
    fn halves(&self) -> &'static str {
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
        // Writing plain values to memory cannot fail.
        drop(serde_json::to_writer(&mut *out, self));
        out.push(b'\n');
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
        drop(writeln!(out, ",{days:#x}"));
    }
}

/// Appends one line of JSON, as [`Row::push_json`] does, without making a [`Row`] first.
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

//--- Mark -----------------------------------------------------------------------------------------------------------

/// Which query of a list a row is for.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    /// The line it was on, from 1; none where it was typed.
    pub line: Option<u64>,
    /// As it came.
    pub query: String,
    /// As it was understood.
    pub asked: String,
}

impl Mark {
    /// Appends one line of JSON: the mark and the row as one object.
    pub fn push_json(&self, row: &Row, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Marked<'a> {
            #[serde(flatten)]
            mark: &'a Mark,
            #[serde(flatten)]
            row: &'a Row,
        }
        // Writing plain values to memory cannot fail.
        drop(serde_json::to_writer(&mut *out, &Marked { mark: self, row }));
        out.push(b'\n');
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
    fn shown(&self) -> (String, String) {
        (self.line.map(|line| line.to_string()).unwrap_or_default(), sanitise(&self.asked).into_owned())
    }
}

//--- Table ----------------------------------------------------------------------------------------------------------

/// Rows that are kept back to find the widths of the columns.
const ROWS_MEASURED: usize = 500;
/// The fewest characters of a name or of data that a narrow terminal leaves.
const NARROWEST: usize = 16;
/// The longest data that is taken for a name or an address, in bytes.
const REFERENCE_LONGEST: usize = 1_100;

/// The widest column of queries.
const MARK_WIDEST: usize = 40;

/// The most columns that a cell is filled up to. What is longer stands out; all other rows would be as long with it.
const WIDEST: usize = 256;

/// A table that is written while rows come: the first few hundred decide how wide the columns are.
pub struct Table<W> {
    out: W,
    /// Columns of the terminal; unlimited where there is none.
    width: Option<usize>,
    colour: bool,
    /// Whether the terminal has characters to draw with.
    draws: bool,
    /// Whose times are told; UTC's where there is none.
    zone: Option<TimeZone>,
    held: Vec<(Option<Mark>, Row)>,
    layout: Option<Layout>,
    /// Cells of which the middle was left out.
    cut: u64,
}

/// The columns of a table, once known.
struct Layout {
    rrname: usize,
    /// The columns of the line and the query that a row is for.
    mark: Option<(usize, usize)>,
    rrtype: usize,
    rdata: usize,
    count: usize,
    /// Whether times have a time of day.
    clock: bool,
    sensor: bool,
    sensors: usize,
    /// Whether the days of a sighting are drawn.
    days: bool,
    /// Whether what is longer than its column is wrapped, or cut.
    cut: bool,
    /// What stands where something is left out.
    mark_of_cut: &'static str,
    /// Whose times are told; UTC's where there is none.
    zone: Option<TimeZone>,
}

impl<W: Write> Table<W> {
    /// A table. `width` is the width of the terminal, absent where rows may be of any length; `colour` whether the head
    /// may be highlighted.
    pub fn new(out: W, width: Option<usize>, colour: bool) -> Table<W> {
        Table { out, width, colour, draws: false, zone: None, held: Vec::new(), layout: None, cut: 0 }
    }

    /// The same with a picture of the days of each row, where the terminal has room for it.
    pub fn with_days(self, draws: bool) -> Table<W> {
        Table { draws, ..self }
    }

    /// The same with the times of a time zone.
    pub fn in_zone(self, zone: TimeZone) -> Table<W> {
        Table { zone: Some(zone), ..self }
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn push(&mut self, row: Row) -> io::Result<()> {
        self.push_marked(None, row)
    }

    /// Likewise, with the query that it is for: of all rows or of none.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn push_marked(&mut self, mark: Option<Mark>, row: Row) -> io::Result<()> {
        match &self.layout {
            Some(layout) => {
                self.cut += u64::from(layout.is_cut(&row));
                self.out.write_all(layout.line(mark.as_ref(), &row).as_bytes())
            }
            None => {
                self.held.push((mark, row));
                if self.held.len() < ROWS_MEASURED { Ok(()) } else { self.settle() }
            }
        }
    }

    /// Writes what was kept back. Without any row, not even a head is written. In so many cells the middle was left out.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        if self.layout.is_none() && !self.held.is_empty() {
            self.settle()?;
        }
        self.out.flush()?;
        Ok(self.cut)
    }

    fn settle(&mut self) -> io::Result<()> {
        let mut layout = Layout::fitting(&self.held, self.width);
        layout.days &= self.draws;
        layout.mark_of_cut = if self.draws { "\u{2026}" } else { "..." };
        layout.zone = self.zone.take();
        let head = layout.head();
        match self.colour {
            true => writeln!(self.out, "\x1b[1m{head}\x1b[0m")?,
            false => writeln!(self.out, "{head}")?,
        }
        for (mark, row) in self.held.drain(..) {
            self.cut += u64::from(layout.is_cut(&row));
            self.out.write_all(layout.line(mark.as_ref(), &row).as_bytes())?;
        }
        self.layout = Some(layout);
        Ok(())
    }
}

impl Layout {
    fn fitting(held: &[(Option<Mark>, Row)], width: Option<usize>) -> Layout {
        let rows = || held.iter().map(|(_, row)| row);
        let mark = held.iter().filter_map(|(mark, _)| mark.as_ref()).map(Mark::shown);
        let mark = mark.map(|(line, query)| (line.len(), query.chars().count()));
        let mark = mark.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)));
        let mark =
            mark.map(|(line, query)| (line.max("LINE".len()), query.clamp("QUERY".len(), MARK_WIDEST)));
        let width = width.map(|width| width.saturating_sub(mark.map_or(0, |(line, query)| line + query + 4)));
        let longest = |head: &str, length: &dyn Fn(&Row) -> usize| {
            rows().map(length).max().unwrap_or_default().min(WIDEST).max(head.len())
        };
        let mut layout = Layout {
            rrname: longest("RRNAME", &|row| row.rrname.len()),
            rrtype: longest("TYPE", &|row| row.rrtype.len()),
            rdata: longest("RDATA", &|row| row.rdata.len()),
            count: longest("COUNT", &|row| row.count.to_string().len()),
            clock: true,
            mark,
            sensor: rows().any(|row| row.sensor != "default"),
            sensors: longest("SENSOR", &|row| sanitise(&row.sensor).chars().count()),
            days: false,
            cut: width.is_some(),
            mark_of_cut: "...",
            zone: None,
        };
        let Some(width) = width else { return layout };
        let sensors = layout.sensors;
        let others = |layout: &Layout| {
            let times = if layout.clock { 2 * 19 } else { 2 * 10 };
            let sensor = if layout.sensor { 2 + sensors } else { 0 };
            layout.rrtype + layout.count + times + "direct".len() + 6 * 2 + sensor
        };
        layout.clock = layout.rrname + layout.rdata + others(&layout) <= width;
        layout.days = layout.clock && layout.rrname + layout.rdata + others(&layout) + 2 + DAY_CELLS <= width;
        let room = width.saturating_sub(others(&layout));
        if layout.rrname + layout.rdata > room {
            // The narrower of the two keeps its width if that is at most half of the room.
            let half = (room / 2).max(NARROWEST);
            if layout.rdata <= half {
                layout.rrname = room.saturating_sub(layout.rdata).max(NARROWEST);
            } else if layout.rrname <= half {
                layout.rdata = room.saturating_sub(layout.rrname).max(NARROWEST);
            } else {
                (layout.rrname, layout.rdata) = (half, half);
            }
        }
        layout
    }

    fn head(&self) -> String {
        let times = if self.clock { 19 } else { 10 };
        let Layout { rrname, rrtype, rdata, count, .. } = self;
        let (first, last) = match (&self.zone, self.clock) {
            (None, _) => ("FIRST (UTC)", "LAST (UTC)"),
            (Some(_), true) => ("FIRST (local)", "LAST (local)"),
            (Some(_), false) => ("FIRST", "LAST"),
        };
        let mut head = String::new();
        if let Some((line, query)) = self.mark {
            push_mark(("LINE", "QUERY"), (line, query), &mut head);
        }
        for (title, width) in [("RRNAME", rrname), ("TYPE", rrtype), ("RDATA", rdata)] {
            push_padded(title, *width, &mut head);
            head.push_str("  ");
        }
        head.extend(std::iter::repeat_n(' ', count.saturating_sub("COUNT".len())));
        head.push_str("COUNT  ");
        for title in [first, last] {
            push_padded(title, times, &mut head);
            head.push_str("  ");
        }
        push_padded("SEEN", "direct".len(), &mut head);
        if self.sensor {
            head.push_str("  SENSOR");
        }
        if self.days {
            fill(&mut head, self.before_days());
            head.push_str("  64 DAYS TO LAST");
        }
        head.trim_end().to_owned()
    }

    fn line(&self, mark: Option<&Mark>, row: &Row) -> String {
        let Layout { rrname, rrtype, rdata, count, .. } = *self;
        // Filled up by hand: a width in a format is at most 65,535, and a panic beyond it.
        let mut line = String::new();
        if let Some(widths) = self.mark {
            let (number, query) = mark.map(Mark::shown).unwrap_or_default();
            push_mark((&number, &query), widths, &mut line);
        }
        // Names and addresses are whole, on as many lines as they take; other data may be of any length.
        let names = wrapped(&row.rrname, self.width_of(rrname));
        let data = match is_reference(&row.rdata) {
            true => wrapped(&row.rdata, self.width_of(rdata)),
            false => vec![cut_middle(&row.rdata, self.width_of(rdata), self.mark_of_cut)],
        };
        let start = line.chars().count();
        let cells = [
            (names.first().cloned().unwrap_or_default(), rrname),
            (row.rrtype.as_str().into(), rrtype),
            (data.first().cloned().unwrap_or_default(), rdata),
        ];
        for (text, width) in cells {
            push_padded(&text, width, &mut line);
            line.push_str("  ");
        }
        let number = row.count.to_string();
        line.extend(std::iter::repeat_n(' ', count.saturating_sub(number.len())));
        line.push_str(&number);
        for text in [&self.time(row.time_first), &self.time(row.time_last), row.halves()] {
            line.push_str("  ");
            line.push_str(text);
        }
        if self.sensor {
            line.extend(std::iter::repeat_n(' ', "direct".len() - row.halves().len()));
            line.push_str("  ");
            line.push_str(&sanitise(&row.sensor));
        }
        if self.days {
            fill(&mut line, self.before_days());
            line.push_str("  ");
            line.push_str(&draw_days(row.days));
        }
        if let Some(words) = row.during.map(During::in_words).filter(|words| !words.is_empty()) {
            line.truncate(line.trim_end().len());
            line.push_str("  ");
            line.push_str(words);
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        for at in 1..names.len().max(data.len()) {
            let part =
                |parts: &[Cow<'_, str>]| parts.get(at).map(|part| part.to_string()).unwrap_or_default();
            let mut more = " ".repeat(start);
            push_padded(&part(&names), rrname + 2 + rrtype + 2, &mut more);
            more.push_str(&part(&data));
            line.push_str(more.trim_end());
            line.push('\n');
        }
        line
    }

    /// Whether the middle of the data of a row is left out.
    fn is_cut(&self, row: &Row) -> bool {
        !is_reference(&row.rdata) && row.rdata.is_ascii() && row.rdata.len() > self.width_of(self.rdata)
    }

    /// A time, epoch seconds, or its day alone.
    fn time(&self, secs: u64) -> String {
        time_in(self.zone.as_ref(), secs, self.clock)
    }

    /// Columns before the picture of days; sensors that come later may be longer, and move it.
    fn before_days(&self) -> usize {
        self.mark.map_or(0, |(line, query)| line + query + 4) + self.before_days_of_row()
    }

    fn before_days_of_row(&self) -> usize {
        let sensor = if self.sensor { 2 + self.sensors } else { 0 };
        self.rrname + self.rrtype + self.rdata + self.count + 2 * 19 + "direct".len() + 6 * 2 + sensor
    }

    /// The width that text of a column is cut to.
    fn width_of(&self, column: usize) -> usize {
        if self.cut { column } else { usize::MAX }
    }
}

/// Appends the line and the query that a row is for.
fn push_mark((line, query): (&str, &str), widths: (usize, usize), out: &mut String) {
    out.extend(std::iter::repeat_n(' ', widths.0.saturating_sub(line.len())));
    out.push_str(line);
    out.push_str("  ");
    push_padded(query, widths.1, out);
    out.push_str("  ");
}

/// A time in a zone, UTC where there is none: with its time of day, or its day alone.
pub fn time_in(zone: Option<&TimeZone>, secs: u64, clock: bool) -> String {
    let local = zone.and_then(|zone| {
        let time = Timestamp::from_second(secs.try_into().ok()?).ok()?;
        Some(time.to_zoned(zone.clone()))
    });
    match (local, clock) {
        (Some(local), true) => local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        (Some(local), false) => local.strftime("%Y-%m-%d").to_string(),
        (None, true) => format_utc(secs),
        (None, false) => format_date(secs),
    }
}

/// Appends text and fills it up to a width.
fn push_padded(text: &str, width: usize, out: &mut String) {
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(text.chars().count())));
}

/// Fills a line up to a width.
fn fill(line: &mut String, width: usize) {
    let missing = width.saturating_sub(line.chars().count());
    line.extend(std::iter::repeat_n(' ', missing));
}

/// Characters of a picture of 64 days.
const DAY_CELLS: usize = 16;

/// Draws on which of 64 days something was seen, the last at the right: four days a character, the higher the more of them.
fn draw_days(days: u64) -> String {
    let cell = |cell: usize| match (days >> (4 * (DAY_CELLS - 1 - cell)) & 0xf).count_ones() {
        0 => '·',
        1 => '▂',
        2 => '▄',
        3 => '▆',
        _ => '█',
    };
    (0..DAY_CELLS).map(cell).collect()
}

/// Whether data is a name or an address, which is never cut.
fn is_reference(rdata: &str) -> bool {
    !rdata.contains([' ', '"']) && rdata.len() <= REFERENCE_LONGEST
}

/// Text in pieces of a width, divided behind a dot or a colon where there is one.
fn wrapped(mut text: &str, width: usize) -> Vec<Cow<'_, str>> {
    let mut pieces = Vec::new();
    while text.len() > width && text.is_ascii() {
        let head = text.get(..width).unwrap_or(text);
        let at = head.rfind(['.', ':']).map(|at| at + 1).filter(|at| *at > width / 3).unwrap_or(head.len());
        let (piece, rest) = text.split_at_checked(at.max(1)).unwrap_or((text, ""));
        pieces.push(piece.into());
        text = rest;
    }
    pieces.push(text.into());
    pieces
}

/// The start and the end of some data, with a mark where something is left out.
fn cut_middle<'a>(text: &'a str, width: usize, mark: &str) -> Cow<'a, str> {
    let room = width.saturating_sub(mark.chars().count());
    if text.len() <= width || !text.is_ascii() {
        return text.into();
    }
    let (start, end) = (room - room / 3, room / 3);
    let (head, tail) =
        (text.get(..start).unwrap_or_default(), text.get(text.len() - end..).unwrap_or_default());
    format!("{head}{mark}{tail}").into()
}

//--- file names ---------------------------------------------------------------------------------------------------

/// Characters of a query that are in the name of a file, at most.
const FILE_NAME_LONGEST: usize = 100;

/// The name of a file with the answer to a query: of characters that no system and no header takes for something else.
pub fn file_name(asked: &str, extension: &str) -> String {
    let mut name = String::from("dnsledger");
    if !asked.is_empty() {
        name.push('-');
    }
    for c in asked.chars().take(FILE_NAME_LONGEST) {
        match c {
            '*' => name.push_str("any"),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => name.push(c),
            _ => name.push('_'),
        }
    }
    name.truncate(name.trim_end_matches('.').len());
    format!("{name}.{extension}")
}

//--- sanitise -------------------------------------------------------------------------------------------------------

/// Makes text safe for a terminal: control characters, and those that change the direction of text or cannot be seen, are
/// shown as `\u{…}`.
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if !is_unsafe(text) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe_char(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe.into()
}

fn is_unsafe(text: &str) -> bool {
    text.chars().any(is_unsafe_char)
}

/// Text of a JSON document, safe for a terminal: what cannot be seen is escaped as JSON has it.
pub fn sanitise_json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for c in document.chars() {
        if c != '\n' && is_unsafe_char(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Text of which everything but printable ASCII is escaped, cut to so many characters.
fn printable(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in text.chars().take(most + 1) {
        if matches!(c, ' '..='~') { out.push(c) } else { out.extend(c.escape_unicode()) }
    }
    shortened(&out, most)
}

/// The first so many bytes of a text at most, with a mark where it goes on.
pub fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(3));
    format!("{}...", text.get(..end).unwrap_or_default())
}

/// Writes to a terminal what a server has sent that may be anybody's: lines of ASCII. All other bytes become `?`.
pub struct Tamed<W>(pub W);

impl<W: Write> Write for Tamed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let tame = |&byte: &u8| if matches!(byte, b'\n' | 0x20..=0x7e) { byte } else { b'?' };
        self.0.write_all(&bytes.iter().map(tame).collect::<Vec<u8>>())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rrname: &str, rdata: &str) -> Row {
        Row {
            rrname: rrname.to_owned(),
            rrtype: "A".to_owned(),
            rdata: rdata.to_owned(),
            count: 42,
            time_first: 1_767_323_045,
            time_last: 1_772_600_767,
            ttl: 300,
            direct: true,
            alias: false,
            sensor: "default".to_owned(),
            days: 5,
            folded_names: None,
            during: None,
        }
    }

    fn table(rows: &[Row], width: Option<usize>) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out, width, false);
        rows.iter().for_each(|row| table.push(row.clone()).unwrap());
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [row("www.example.com", "192.0.2.10"), row("a.example", "192.0.2.1")];
        assert_eq!(
            table(&rows, None),
            "RRNAME           TYPE  RDATA       COUNT  FIRST (UTC)          LAST (UTC)           SEEN\n\
             www.example.com  A     192.0.2.10     42  2026-01-02 03:04:05  2026-03-04 05:06:07  direct\n\
             a.example        A     192.0.2.1      42  2026-01-02 03:04:05  2026-03-04 05:06:07  direct\n"
        );
        assert_eq!(table(&[], None), "");
    }

    #[test]
    fn days_are_drawn_where_there_is_room() {
        let mut some = row("a.example", "192.0.2.1");
        some.days = 0x8000_0000_0000_073f;
        let draw = |width: Option<usize>, draws: bool| {
            let mut out = Vec::new();
            let mut table = Table::new(&mut out, width, false).with_days(draws);
            table.push(some.clone()).unwrap();
            table.finish().unwrap();
            String::from_utf8(out).unwrap()
        };
        let wide = draw(Some(120), true);
        assert!(wide.ends_with("  ▂············▆▄█\n"), "{wide}");
        let mut lines = wide.lines();
        let (head, line) = (lines.next().unwrap(), lines.next().unwrap());
        let at = |text: &str, mark: &str| text.split(mark).next().unwrap().chars().count();
        assert_eq!(at(head, "64 DAYS"), at(line, "▂"), "{wide}");
        for (width, draws) in [(Some(96), true), (None, true), (Some(120), false)] {
            assert!(!draw(width, draws).contains('·'));
        }
    }

    #[test]
    fn times_are_those_of_a_zone_where_one_is_given() {
        let show = |width| {
            let mut out = Vec::new();
            let zone = TimeZone::fixed(jiff::tz::offset(-10));
            let mut table = Table::new(&mut out, width, false).in_zone(zone);
            table.push(row("a.example", "192.0.2.1")).unwrap();
            table.finish().unwrap();
            String::from_utf8(out).unwrap()
        };
        let wide = show(None);
        assert!(wide.contains("  FIRST (local)        LAST (local)         SEEN\n"), "{wide}");
        assert!(wide.contains("  2026-01-01 17:04:05  2026-03-03 19:06:07  direct\n"), "{wide}");
        let narrow = show(Some(70));
        assert!(narrow.contains("  FIRST       LAST        SEEN\n"), "{narrow}");
        assert!(narrow.contains("  2026-01-01  2026-03-03  direct\n"), "{narrow}");
    }

    #[test]
    fn a_sensor_is_shown_where_it_says_something() {
        let mut other = row("a.example", "192.0.2.1");
        other.sensor = "dmz\u{202e}".to_owned();
        other.alias = true;
        let text = table(&[other], None);
        assert!(text.lines().next().unwrap().ends_with("SEEN    SENSOR"), "{text}");
        assert!(text.ends_with("both    dmz\\u{202e}\n"), "{text}");
    }

    #[test]
    fn a_table_fits_the_terminal_at_any_width_that_has_room_for_its_columns() {
        let long = "x".repeat(60);
        let rows = [row(&format!("{long}.example.com"), &long), row("a.example", "192.0.2.1")];
        for width in 90..200 {
            let text = table(&rows, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}\n{text}");
            // Nothing of a name is left out.
            let start = text.find("RDATA").unwrap();
            let first = text.lines().position(|line| line.starts_with("a.example")).unwrap();
            let joined: String = text
                .lines()
                .take(first)
                .skip(1)
                .map(|line| line[..start.min(line.len())].trim_end())
                .collect();
            let joined = joined.replace(" A", "").replace(' ', "");
            assert_eq!(joined.trim_end_matches('A'), format!("{long}.example.com"), "{width}\n{text}");
        }
        assert!(table(&rows, None).contains(&long));
    }

    #[test]
    fn addresses_are_whole_and_other_data_is_cut_in_the_middle_with_a_mark() {
        let address = "2001:db8:1234:5678:9abc:def0:1234:5678";
        let spf = format!("\"v=spf1 {} -all\"", "include:_spf.example.com ".repeat(9));
        let text =
            table(&[row("www.a-name-of-some-length.example.com", address), row("a.example", &spf)], Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let pieces = wrapped(address, 16);
        assert_eq!(pieces, ["2001:db8:1234:", "5678:9abc:def0:", "1234:5678"]);
        for piece in pieces {
            assert!(text.contains(&*piece), "{text}");
        }
        assert!(text.contains("\"v=spf1 i...all\""), "{text}");
        let draws = |draws| {
            let mut out = Vec::new();
            let mut table = Table::new(&mut out, Some(80), false).with_days(draws);
            table.push(row("a.example", &spf)).unwrap();
            table.push(row("b.example", address)).unwrap();
            assert_eq!(table.finish().unwrap(), 1, "it is known that one is cut");
            String::from_utf8(out).unwrap()
        };
        assert!(draws(true).contains('\u{2026}') && draws(false).is_ascii());
    }

    #[test]
    fn rows_behind_the_measured_ones_are_whole_where_there_is_no_terminal() {
        let mut rows = vec![row("a.example", "192.0.2.1"); ROWS_MEASURED];
        rows.push(row("a.much.longer.name.example", "192.0.2.1"));
        assert!(table(&rows, None).contains("a.much.longer.name.example  A"));
        let narrow = table(&rows, Some(120));
        assert!(narrow.lines().count() >= ROWS_MEASURED + 2 && narrow.contains("\na.much."), "{narrow}");
    }

    #[test]
    fn a_spreadsheet_meets_no_formula() {
        let csv = |row: &Row| {
            let mut out = Vec::new();
            row.push_csv(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            csv(&row("www.example.com", "192.0.2.10")),
            "www.example.com,A,192.0.2.10,42,2026-01-02 03:04:05,2026-03-04 05:06:07,300,direct,default,0x5\n"
        );
        assert!(csv(&row("=cmd()|x", "x")).starts_with("\"'=cmd()|x\",A,"));
        for start in ["+", "-", "@", "|", "\t", "\r", " =", "\t=cmd", "\u{ff1d}"] {
            assert!(csv(&row(start, "x")).starts_with(&format!("\"'{start}\",")), "{start:?}");
        }
        // Nor where cells are divided by semicolons.
        let divided = csv(&row("a;=cmd()", "\"v=DMARC1; p=none\""));
        assert!(divided.starts_with("\"a\\059=cmd()\",A,\"\"\"v=DMARC1\\059 p=none\"\"\","), "{divided}");
        // In any column.
        let hostile = Row { rrtype: "=A".to_owned(), sensor: "-s;".to_owned(), ..row("a", "b") };
        let hostile = csv(&hostile);
        assert!(hostile.starts_with("a,\"'=A\",b,") && hostile.contains(",\"'-s\\059\","), "{hostile}");
        assert!(
            csv(&row("a", "\"v=spf1 -all\" \"b,c\"")).starts_with("a,A,\"\"\"v=spf1 -all\"\" \"\"b,c\"\"\",")
        );
        assert_eq!(CSV_HEADER.matches(',').count(), csv(&row("a", "b")).matches(',').count());
    }

    #[test]
    fn data_of_any_length_makes_a_table() {
        let long = format!("\"{}\"", "x".repeat(65_535));
        let rows = [row("a.example", &long), row("b.example", "192.0.2.1")];
        let text = table(&rows, None);
        assert!(text.contains(&long), "it is whole where there is no terminal");
        let short = text.lines().last().unwrap();
        assert!(
            short.contains("b.example") && short.len() < 600,
            "and makes no other row long: {}",
            short.len()
        );
        assert!(table(&rows, Some(120)).lines().all(|line| line.chars().count() <= 120));
        let mut sensor = row("a.example", "192.0.2.1");
        sensor.sensor = "s".repeat(70_000);
        let mut out = Vec::new();
        let mut wide = Table::new(&mut out, Some(1 << 20), false).with_days(true);
        wide.push(sensor).unwrap();
        wide.finish().unwrap();
    }

    #[test]
    fn what_another_server_sends_is_escaped_and_has_a_bound() {
        let hostile = Row {
            rrtype: format!("A\u{9b}{}", "B".repeat(100)),
            sensor: format!("\u{202e}{}", "s".repeat(1000)),
            ..row(
                &format!("\x1b]0;title\x07\u{430}{}", "x".repeat(10_000)),
                "\x1b[2J\r\nforged  line\u{200b}",
            )
        };
        let tamed = hostile.tamed();
        assert!(tamed.rrname.starts_with("\\u{1b}]0;title\\u{7}\\u{430}xxx"), "{}", tamed.rrname);
        assert_eq!(tamed.rdata, "\\u{1b}[2J\\u{d}\\u{a}forged  line\\u{200b}");
        assert!(tamed.rrname.len() <= NAME_SHOWN && tamed.rrtype.len() <= TYPE_SHOWN);
        assert!(tamed.sensor.len() <= MAX_SENSOR_BYTES && tamed.sensor.starts_with("\\u{202e}"));
        let text = table(std::slice::from_ref(&tamed), None);
        assert!(text.bytes().all(|byte| matches!(byte, b'\n' | 0x20..=0x7e)), "{text}");
        // What this program itself writes stays as it is.
        let own = row("\\004x.example", "\"a\\\"b; c\"");
        assert_eq!(own.clone().tamed(), own);
        let mut out = Vec::new();
        Tamed(&mut out).write_all("{\"a\":1}\n\x1b[2J\u{9b}".as_bytes()).unwrap();
        assert_eq!(out, b"{\"a\":1}\n?[2J??");
        let document = serde_json::json!({ "a": "\u{202e}\x1b\u{e0001}" });
        let safe = sanitise_json(&format!("{document:#}"));
        assert!(safe.is_ascii() && serde_json::from_str::<serde_json::Value>(&safe).unwrap() == document);
    }

    #[test]
    fn json_is_read_back() {
        let mut out = Vec::new();
        row("a\\\".example", "x").push_json(&mut out);
        assert_eq!(serde_json::from_slice::<Row>(&out).unwrap(), row("a\\\".example", "x"));
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
    }

    #[test]
    fn json_written_straight_is_the_json_of_the_row() {
        use crate::dns::{Name, Rdata, RrType};
        use crate::observation::{Half, Halves, Seen, Tuple};
        use crate::store::Entry;
        for (rrtype, rdata, half) in [
            (RrType::TXT, Rdata::text(b"\"a\\b\" \xff"), Half::Direct),
            (RrType(65280), Rdata::Name(Name::from_log(b"a\"b.example").unwrap()), Half::Alias),
        ] {
            let tuple = Tuple { rrname: Name::from_log(b"x\x01y.example").unwrap(), rrtype, rdata };
            let halves = Halves::once(half, Seen::once(1_767_323_045, 60));
            let entry = Entry { tuple, sensor: "dmz \"\u{fc}\"".into(), halves, names: None };
            let found = Found { entry: &entry, seen: entry.halves.combined(), during: None };
            let (mut straight, mut by_row) = (Vec::new(), Vec::new());
            push_json(&found, &mut straight);
            Row::from(&found).push_json(&mut by_row);
            assert_eq!(String::from_utf8(straight).unwrap(), String::from_utf8(by_row).unwrap());
        }
    }

    #[test]
    fn a_file_is_named_after_its_query_in_plain_characters() {
        assert_eq!(file_name("", "jsonl"), "dnsledger.jsonl");
        assert_eq!(file_name("www.example.com", "csv"), "dnsledger-www.example.com.csv");
        assert_eq!(file_name("*.example.com.", "csv"), "dnsledger-any.example.com.csv");
        assert_eq!(file_name("2001:db8::/32", "json"), "dnsledger-2001_db8___32.json");
        assert_eq!(file_name("../\"\u{202e}\r\n;x", "csv"), "dnsledger-..______x.csv");
        assert!(file_name(&"x".repeat(4_096), "csv").len() < 120);
    }

    #[test]
    fn nothing_unseen_reaches_a_terminal() {
        assert_eq!(sanitise("plain ü"), "plain ü");
        assert_eq!(sanitise("\x1b[2Jx\u{202e}y\u{200b}\u{9b}"), "\\u{1b}[2Jx\\u{202e}y\\u{200b}\\u{9b}");
    }
}
