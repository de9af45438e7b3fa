//! Rows as a table for a terminal, as wide as it is.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use super::printable::sanitise;
use super::row::{QueryLabel, Row};
use crate::base::time::{format_date, format_utc};
use crate::lookup::During;

/// Rows that are kept back to find the widths of the columns.
pub(super) const ROWS_MEASURED: usize = 500;
/// The fewest characters of a name or of data that a narrow terminal leaves.
const NARROWEST: usize = 16;
/// The longest data that is taken for a name or an address, in bytes.
const REFERENCE_LONGEST: usize = 1_100;

/// The widest column of queries.
const MARK_WIDEST: usize = 40;

/// The most columns that a cell is filled up to. What is longer stands out; all other rows would be as long with it.
const WIDEST: usize = 256;

/// A table that is written while rows come: the first few hundred decide how wide the columns are.
pub struct TextTable<W> {
    out: W,
    /// Columns of the terminal; unlimited where there is none.
    width: Option<usize>,
    colour: bool,
    /// Whether the terminal has characters to draw with.
    draws: bool,
    /// Whose times are told; UTC's where there is none.
    zone: Option<TimeZone>,
    held: Vec<(Option<QueryLabel>, Row)>,
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

impl<W: Write> TextTable<W> {
    /// A table. `width` is the width of the terminal, absent where rows may be of any length; `colour` whether the head
    /// may be highlighted.
    pub fn new(out: W, width: Option<usize>, colour: bool) -> TextTable<W> {
        TextTable { out, width, colour, draws: false, zone: None, held: Vec::new(), layout: None, cut: 0 }
    }

    /// The same with a picture of the days of each row, where the terminal has room for it.
    pub fn with_days(self, draws: bool) -> TextTable<W> {
        TextTable { draws, ..self }
    }

    /// The same with the times of a time zone.
    pub fn in_zone(self, zone: TimeZone) -> TextTable<W> {
        TextTable { zone: Some(zone), ..self }
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
    pub fn push_marked(&mut self, mark: Option<QueryLabel>, row: Row) -> io::Result<()> {
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
    fn fitting(held: &[(Option<QueryLabel>, Row)], width: Option<usize>) -> Layout {
        let rows = || held.iter().map(|(_, row)| row);
        let mark = held.iter().filter_map(|(mark, _)| mark.as_ref()).map(QueryLabel::shown);
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

    fn line(&self, mark: Option<&QueryLabel>, row: &Row) -> String {
        let Layout { rrname, rrtype, rdata, count, .. } = *self;
        // Filled up by hand: a width in a format is at most 65,535, and a panic beyond it.
        let mut line = String::new();
        if let Some(widths) = self.mark {
            let (number, query) = mark.map(QueryLabel::shown).unwrap_or_default();
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
pub(super) fn push_padded(text: &str, width: usize, out: &mut String) {
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
pub(super) fn wrapped(mut text: &str, width: usize) -> Vec<Cow<'_, str>> {
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
