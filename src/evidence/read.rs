//! Reading a file of logs for lines that were counted: recognised by content, in the way in which they were counted.
//!
//! Which log it is its first record tells, never its path. That it still is what was counted the marks tell that were taken
//! then. What is cut off at the end is no change; what differs is.

use std::io;
use std::sync::Arc;

use super::needle::Needle;
use crate::ingest::{Meaning, reader};
use crate::observation::SensorId;
use crate::observe;
use crate::progress::{LineageId, Progress};
use crate::tail::decode::{Decoder, End};
use crate::tail::lineage::Prefix;
use crate::tail::lines::{Block, Lines};
use crate::zeek::{self, Line};

/// Bytes of a log that are parsed at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a file in which its first record is looked for.
const HEAD_BYTES: u64 = 4 << 20;

/// How lines are read.
#[derive(Clone, Copy)]
pub(super) struct ReadRules<'a> {
    pub zeek: &'a zeek::Options,
    pub observe: &'a observe::Options,
    pub max_line_bytes: usize,
    /// What a line has in it that is to be shown.
    pub needle: &'a Needle,
}

/// A log that is wanted.
pub(super) struct WantedLog<'a> {
    /// Which of those that are asked for.
    pub index: usize,
    /// How far it was counted.
    pub progress: &'a Progress,
    /// The number of its sensor, of the caller's choice.
    pub sensor: SensorId,
}

/// A line that is in the ledger, at its place.
pub(super) struct At<'a> {
    pub index: usize,
    /// Bytes of the log up to and including it.
    pub end: u64,
    /// Its number in the file, from 1.
    pub number: u64,
    /// As it stands there, without its newline.
    pub raw: &'a [u8],
    /// The header that it is read with, where it needs one.
    pub header: Option<Arc<[u8]>>,
    /// What it means; its observations are at hand.
    pub meaning: &'a mut Meaning,
}

/// How a log was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogMatch {
    /// All that was counted of it, and perhaps more.
    Whole,
    /// Only so many bytes of it.
    Cut(u64),
    /// It is what was counted up to this byte, and somewhere behind that it differs.
    Changed(u64),
}

/// What came of reading a file.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// The logs that were wanted and are in it.
    pub found: Vec<(usize, LogMatch)>,
    /// Why it could not be unpacked to its end.
    pub damage: Option<String>,
    /// Whether reading was ended from outside.
    pub stopped: bool,
}

/// Reads a file to its end, and shows each line of the wanted logs that is in the ledger. `go_on` is asked after each piece of
/// it.
///
/// # Errors
///
/// When the file cannot be read: an error of the operating system, not of the content.
pub(super) fn read<'p>(
    mut decoder: Decoder,
    how: ReadRules<'_>,
    want: &dyn Fn(&LineageId) -> Option<WantedLog<'p>>,
    each: &mut dyn FnMut(At<'_>),
    go_on: &mut dyn FnMut() -> bool,
) -> io::Result<Came> {
    let mut lines = Lines::new(how.max_line_bytes);
    let mut walk = LogSearch::new(how, want);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let (filled, end) = decoder.fill(&mut buffer)?;
        let bytes = buffer.get(..filled).unwrap_or_default();
        let done: Result<(), std::convert::Infallible> = lines.push(bytes, &mut |block| {
            walk.block(block, each);
            Ok(())
        });
        let Ok(()) = done;
        match end {
            Some(end) => {
                walk.end_log();
                walk.came.damage = match end {
                    End::Whole => None,
                    End::CutShort => Some("it ends too early".to_owned()),
                    End::Corrupt(why) => Some(why),
                };
                return Ok(walk.came);
            }
            None if !go_on() => {
                walk.end_log();
                walk.came.stopped = true;
                return Ok(walk.came);
            }
            None => {}
        }
    }
}

/// Which log a file begins with; none where there is no record in its first part.
///
/// # Errors
///
/// As [`read`].
pub(super) fn first_log(mut decoder: Decoder, how: ReadRules<'_>) -> io::Result<Option<LineageId>> {
    let first = std::cell::Cell::new(None);
    let want = |id: &LineageId| {
        first.set(first.get().or(Some(*id)));
        None
    };
    let mut lines = Lines::new(how.max_line_bytes);
    let mut walk = LogSearch::new(how, &want);
    let (mut buffer, mut taken) = (vec![0; 16 << 10], 0);
    while first.get().is_none() && taken < HEAD_BYTES {
        let (filled, end) = decoder.fill(&mut buffer)?;
        let bytes = buffer.get(..filled).unwrap_or_default();
        let done: Result<(), std::convert::Infallible> = lines.push(bytes, &mut |block| {
            walk.block(block, &mut |_| {});
            Ok(())
        });
        let Ok(()) = done;
        taken += filled as u64;
        if end.is_some() {
            break;
        }
    }
    Ok(first.get())
}

enum State {
    /// Before the first record of a log.
    Seeking(Prefix),
    /// In a log that is not wanted, or no more.
    Passing,
    /// In a log that is wanted.
    Reading(Box<Current>),
}

struct Current {
    index: usize,
    prefix: Prefix,
    consumed: u64,
    /// Places at which the hash is known, the next one first.
    marks: std::vec::IntoIter<crate::progress::Mark>,
    next: Option<crate::progress::Mark>,
    /// Up to here it is what was counted.
    proven: u64,
    /// Whether all that was counted is there.
    whole: bool,
}

struct LogSearch<'a, 'p> {
    how: ReadRules<'a>,
    want: &'a dyn Fn(&LineageId) -> Option<WantedLog<'p>>,
    meaning: Meaning,
    state: State,
    /// Newlines before the line at hand.
    newlines: u64,
    header: HeaderLines,
    came: Came,
}

impl<'a, 'p> LogSearch<'a, 'p> {
    fn new(how: ReadRules<'a>, want: &'a dyn Fn(&LineageId) -> Option<WantedLog<'p>>) -> LogSearch<'a, 'p> {
        let meaning = Meaning::new(reader(how.zeek, None), how.observe, SensorId(0));
        let state = State::Seeking(Prefix::default());
        LogSearch {
            how,
            want,
            meaning,
            state,
            newlines: 0,
            header: HeaderLines::default(),
            came: Came::default(),
        }
    }

    fn block(&mut self, block: Block<'_>, each: &mut dyn FnMut(At<'_>)) {
        match block {
            Block::Lines(lines) => {
                for line in lines.split_inclusive(|&byte| byte == b'\n') {
                    self.line(line, each);
                }
            }
            Block::Element(element) => self.line(element, each),
            Block::Long(piece) => self.hash(piece),
            Block::LongEnd(piece) => {
                self.hash(piece);
                if let State::Seeking(prefix) = &self.state {
                    self.identify(prefix.lineage_id(), &[], each);
                }
                self.compare();
                self.newlines += 1;
            }
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Seeking(prefix) => prefix.update(bytes),
            State::Reading(current) => current.prefix.update(bytes),
            State::Passing => {}
        }
    }

    /// Takes a line with its newline, or an element of an array.
    fn line(&mut self, line: &[u8], each: &mut dyn FnMut(At<'_>)) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if zeek::starts_log(text) && !self.is_at_start() {
            self.end_log();
            self.meaning.reader = reader(self.how.zeek, None);
            self.header = HeaderLines::default();
        }
        match &mut self.state {
            State::Passing => {}
            State::Seeking(prefix) => {
                let parsed = self.meaning.read(text);
                prefix.update(line);
                let id = prefix.lineage_id();
                match parsed {
                    Line::Directive => self.header.take(text),
                    Line::Close => {}
                    _ => self.identify(id, text, each),
                }
            }
            State::Reading(_) => self.show(text, Some(line), each),
        }
        self.newlines += u64::from(line.ends_with(b"\n"));
    }

    fn is_at_start(&self) -> bool {
        matches!(&self.state, State::Seeking(prefix) if prefix.offset() == 0)
    }

    /// The first record of a log has come, and is hashed.
    fn identify(&mut self, id: LineageId, text: &[u8], each: &mut dyn FnMut(At<'_>)) {
        let State::Seeking(prefix) = std::mem::replace(&mut self.state, State::Passing) else { return };
        let Some(WantedLog { index, progress, sensor }) = (self.want)(&id) else { return };
        if self.came.found.iter().any(|(found, _)| *found == index) {
            return; // once more in the same file: it counted once
        }
        let mut reading = self.meaning.reader.clone();
        if let Some(header) = progress.header.as_ref().filter(|_| reading.header().is_none()) {
            reading = reader(self.how.zeek, Some(header));
            self.header = HeaderLines::of(header);
        }
        self.meaning = Meaning::new(reading, self.how.observe, sensor);
        let ahead = self.how.observe.max_ahead.map_or(u64::MAX, |ahead| ahead.as_secs());
        // What was too far ahead of the clock then was not counted.
        self.meaning.set_bounds(0, progress.read_at.max(progress.newest).saturating_add(ahead));
        let mut marks = progress.marks.clone();
        marks.retain(|mark| mark.offset >= prefix.offset());
        marks.push(progress.consumed);
        let mut marks = marks.into_iter();
        let next = marks.next();
        self.state = State::Reading(Box::new(Current {
            index,
            proven: prefix.offset(),
            consumed: progress.consumed.offset,
            prefix,
            marks,
            next,
            whole: false,
        }));
        if !text.is_empty() {
            self.show(text, None, each);
        }
        self.compare();
    }

    /// Takes a line of a wanted log, and shows it if it is in the ledger. Its bytes are hashed where they are given.
    fn show(&mut self, text: &[u8], bytes: Option<&[u8]>, each: &mut dyn FnMut(At<'_>)) {
        let State::Reading(current) = &mut self.state else { return };
        if let Some(bytes) = bytes {
            current.prefix.update(bytes);
        }
        if !text.starts_with(b"#") && !self.how.needle.may_be_in(text) {
            if bytes.is_some() {
                self.compare();
            }
            return;
        }
        let parsed = self.meaning.read(text);
        match self.meaning.fate(parsed) {
            Some(fate) if Meaning::is_kept(fate) => {
                let raw = element(text);
                each(At {
                    index: current.index,
                    end: current.prefix.offset(),
                    number: self.newlines + 1,
                    header: if raw.first() == Some(&b'{') { None } else { self.header.bytes() },
                    raw,
                    meaning: &mut self.meaning,
                });
            }
            Some(_) => {}
            None if parsed == Line::Directive => self.header.take(text),
            None => {}
        }
        if bytes.is_some() {
            self.compare();
        }
    }

    /// At the end of a line: where the hash is known, is it the same?
    fn compare(&mut self) {
        let State::Reading(current) = &mut self.state else { return };
        let here = current.prefix.offset();
        while let Some(mark) = current.next.filter(|mark| mark.offset <= here) {
            if mark != current.prefix.mark() {
                self.came.found.push((current.index, LogMatch::Changed(current.proven)));
                self.state = State::Passing;
                return;
            }
            current.proven = here;
            current.whole |= here >= current.consumed;
            current.next = current.marks.next();
        }
    }

    /// The log ends here.
    fn end_log(&mut self) {
        if let State::Reading(current) = &self.state {
            let found = if current.whole { LogMatch::Whole } else { LogMatch::Cut(current.prefix.offset()) };
            self.came.found.push((current.index, found));
        }
        self.state = State::Seeking(Prefix::default());
    }
}

/// An element of an array without what stands beside it; any other line as it is.
fn element(text: &[u8]) -> &[u8] {
    let trimmed = text.trim_ascii();
    let inner = trimmed.strip_prefix(b"[").or_else(|| trimmed.strip_prefix(b",")).unwrap_or(trimmed);
    let inner = inner.trim_ascii_start();
    match inner.first() {
        Some(b'{') => {
            let end = inner.iter().rposition(|&byte| byte == b'}').map_or(inner.len(), |end| end + 1);
            inner.get(..end).unwrap_or(inner)
        }
        _ => text,
    }
}

/// The lines that say how those behind them are read.
#[derive(Default)]
struct HeaderLines {
    lines: Vec<Vec<u8>>,
    bytes: Option<Arc<[u8]>>,
}

/// Lines and bytes of a header that are kept; what is beyond them is no header.
const MOST_HEADER_LINES: usize = 32;
const MOST_HEADER_BYTES: usize = 64 << 10;

impl HeaderLines {
    fn of(header: &[u8]) -> HeaderLines {
        let mut lines = HeaderLines::default();
        header.split(|&byte| byte == b'\n').for_each(|line| lines.take(line));
        lines
    }

    /// Takes a line; it takes the place of an earlier one that says the same thing.
    fn take(&mut self, line: &[u8]) {
        let word = |line: &[u8]| {
            let end = line.iter().position(|byte| !matches!(byte, b'#' | b'_' | b'a'..=b'z'));
            match line.first() {
                Some(b'#') => line.get(..end.unwrap_or(line.len())).unwrap_or_default().to_vec(),
                _ => b"#fields".to_vec(), // names of columns alone
            }
        };
        if line.is_empty()
            || line.len() > MOST_HEADER_BYTES
            || matches!(line.first(), Some(b'[' | b']' | b',' | b'{'))
        {
            return;
        }
        self.bytes = None;
        let known = word(line);
        let has_room = self.lines.len() < MOST_HEADER_LINES;
        match self.lines.iter_mut().find(|kept| word(kept) == known) {
            Some(kept) => *kept = line.to_vec(),
            None if has_room => self.lines.push(line.to_vec()),
            None => {}
        }
    }

    fn bytes(&mut self) -> Option<Arc<[u8]>> {
        if self.bytes.is_none() && !self.lines.is_empty() {
            let mut bytes = self.lines.join(&b'\n');
            bytes.push(b'\n');
            self.bytes = Some(bytes.into());
        }
        self.bytes.clone()
    }
}
