//! One log on its way in: bytes to lines, lines to records, records to observations in a batch, and how far that got.
//!
//! An intake reads a file from its beginning, wherever it lies and however its bytes arrive. It finds out which
//! lineage it is, claims it, passes over what was read before (checking that the bytes are the same), and counts the
//! rest. A TSV `#separator` inside the file ends one lineage and begins another.
//!
//! Rows and the progress that covers them go into the same batch; see [`super::claims`] for why that is exactly once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::claims::Claimed;
use super::contents::Telling;
use super::meaning::{self, Meaning};
use super::paired_logs::PairedLog;
use super::{Context, newest, shown};
use crate::progress::{LineageId, Mark, Progress};
use crate::store::StoreError;
use crate::store::batch::Batch;
use crate::tail::lineage::{Prefix, push_mark};
use crate::tail::lines::{Block, Lines};
use crate::tally::{Fate, Malformed, Tally};
use crate::zeek::{self, Line, Reader};

/// Why an intake does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// Another reader has the lineage, or what it read is not committed yet: the file has to be met again later.
    #[error("another reader has this log")]
    Busy {
        /// Whether that reader follows it live.
        live: bool,
    },
    /// The first record is none of a DNS log, and nobody has shown that others are.
    #[error("no DNS log so far")]
    Unproven,
    /// The ledger cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the reading of a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An archive was read to its sound end: the log is complete.
    Sound,
    /// There is nothing more for now, or for ever; only `#close` tells.
    Exhausted,
}

/// One log on its way in.
pub struct Intake {
    lines: Lines,
    core: Core,
}

/// Everything but the cutting into lines, so that the two can be borrowed apart.
struct Core {
    context: Arc<Context>,
    path: PathBuf,
    sensor: String,
    zeek: zeek::Options,
    meaning: Meaning,
    /// Now, as of the last bytes, epoch seconds.
    now: u64,
    /// Whether it is followed live.
    live: bool,
    state: State,
    /// Whether the reader's header came from elsewhere: the file lost its own in a copytruncate.
    inherited_header: bool,
    /// Whether the last line was `#close`.
    closed: bool,
    /// Whether the file is known to be a DNS log: somebody has looked further into it.
    proven: bool,
    /// Whether the lineage begins where the file does, so that lengths of the two can be compared.
    at_file_start: bool,
    /// What was counted by this intake.
    new: Tally,
    /// Another log that tells the same events, if there is one.
    paired: Option<PairedLog>,
    /// Records up to this time, seconds, are told by another log; those in the first so many bytes of this one.
    told_until: Option<(u64, u64)>,
    /// Somebody is told what it holds.
    telling: Option<Telling>,
}

enum State {
    /// Before the first record. What came so far is hashed; nothing is counted.
    Seeking(Prefix),
    /// In the part that was read before.
    Known(ClaimedLog, KnownPart),
    /// In the part that is new.
    Reading(ClaimedLog),
}

/// A claimed lineage and the place in it.
struct ClaimedLog {
    prefix: Prefix,
    progress: Box<Progress>,
    /// Whether something is to be said that `progress` does not say yet.
    dirty: bool,
    /// Inside a line that is too long to be kept: where it began.
    line_start: Option<Mark>,
}

/// How the known part compares so far.
struct KnownPart {
    /// The mark that comes next.
    next_mark: usize,
    /// Whether a mark did not fit.
    changed: bool,
    /// The offset at which the bytes are compared next.
    stop: u64,
}

impl Intake {
    /// An intake for one file, which is followed live or not. `header` is that of the same open file before it lost it, if it did.
    ///
    /// # Errors
    ///
    /// When the sensor cannot be registered.
    pub fn new(
        context: &Arc<Context>,
        path: &Path,
        sensor: &str,
        zeek: &zeek::Options,
        live: bool,
        header: Option<&[u8]>,
    ) -> Result<Intake, StoreError> {
        let sensor_id = context.store.sensor(sensor)?;
        let reader = meaning::reader(zeek, header);
        Ok(Intake {
            lines: Lines::new(context.max_line_bytes),
            core: Core {
                context: Arc::clone(context),
                path: path.to_owned(),
                sensor: sensor.to_owned(),
                zeek: zeek.clone(),
                meaning: Meaning::new(reader, &context.observe, sensor_id),
                now: 0,
                live,
                state: State::Seeking(Prefix::default()),
                inherited_header: header.is_some(),
                closed: false,
                proven: false,
                at_file_start: true,
                new: Tally::default(),
                paired: None,
                told_until: None,
                telling: None,
            },
        })
    }

    /// Another log tells the same events: what it told before is not counted.
    pub fn pair(&mut self, paired: PairedLog) {
        self.core.paired = Some(paired);
    }

    /// Another log has told what was recorded up to this time, seconds; of the first so many bytes.
    pub fn set_told_until(&mut self, time: u64, bytes: u64) {
        self.core.told_until = Some((time, bytes));
    }

    /// Takes it as given that the file is a DNS log, whatever its first record is.
    pub fn proven(mut self) -> Intake {
        self.core.proven = true;
        self
    }

    /// The lineage that is being read, and whether its end was seen by whoever read it before.
    pub fn lineage(&self) -> Option<(LineageId, bool)> {
        match &self.core.state {
            State::Seeking(_) => None,
            State::Known(place, _) | State::Reading(place) => {
                Some((place.progress.lineage, place.progress.complete))
            }
        }
    }

    /// Takes the next bytes of the file. What they say is in `batch` when this returns, progress included.
    ///
    /// # Errors
    ///
    /// See [`Halt`]. What was taken before stands; the intake itself is of no more use.
    pub fn feed(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), Halt> {
        let Intake { lines, core } = self;
        let before = core.new.lines();
        core.meaning.set_bounds(core.context.expired_before(), core.context.not_after());
        core.now = core.context.clock.newest();
        let taken = lines.push(bytes, &mut |block| core.block(block, batch));
        let read = core.new.lines().saturating_sub(before);
        core.context.lines_read.fetch_add(read, Ordering::Relaxed);
        core.advance(batch);
        taken
    }

    /// Says that the file ends here. The lineage is given back.
    pub fn end(mut self, ending: Ending, batch: &mut Batch) -> Tally {
        let unterminated = self.lines.is_inside_line();
        self.core.end(ending, unterminated, batch);
        self.core.new.clone()
    }

    /// Whether the rest of the file is known for sure without reading it: its lineage is complete, begins with the file,
    /// and is as long as the file is said to be.
    pub fn is_passed_over(&self, length_fits: impl FnOnce(&Progress) -> bool) -> bool {
        match &self.core.state {
            State::Known(place, part) => {
                self.core.at_file_start
                    && !part.changed
                    && place.progress.complete
                    && length_fits(&place.progress)
            }
            _ => false,
        }
    }

    /// Takes down that a log which needs no reading lies here now.
    pub fn note_place(&self, batch: &mut Batch) {
        if let State::Known(place, _) = &self.core.state
            && place.progress.path != self.core.path
        {
            let progress = Progress { path: self.core.path.clone(), ..(*place.progress).clone() };
            self.core.context.claims.advance(batch, progress);
        }
    }

    /// Whether what came so far is not even the beginning of a DNS log: no record, and no header of one.
    pub fn is_no_log(&self) -> bool {
        match &self.core.state {
            State::Seeking(_) => self.core.at_file_start && !self.core.meaning.reader.header_shows_dns(),
            _ => false,
        }
    }

    /// Whether what came ends within a line before the first record: which log that is of is not known, so that it cannot be counted.
    pub fn ends_unknown(&self) -> bool {
        matches!(self.core.state, State::Seeking(_)) && self.lines.is_inside_line()
    }

    /// Bytes of the log that are held in memory: an unfinished line.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.lines.held()
    }

    /// Remembers how many bytes the archive has that is being read, for the next time it is met.
    pub fn set_archive_bytes(&mut self, bytes: u64) {
        let at_file_start = self.core.at_file_start;
        if let State::Reading(place) = &mut self.core.state
            && at_file_start
            && place.progress.archive_bytes != bytes
        {
            place.progress.archive_bytes = bytes;
            place.dirty = true;
        }
    }

    /// The header in force, for the same open file should it lose its own.
    pub fn header(&self) -> Option<Vec<u8>> {
        self.core.meaning.reader.header()
    }

    /// Whether the last line was `#close`: Zeek writes nothing after it.
    pub fn is_closed(&self) -> bool {
        self.core.closed && !self.lines.is_inside_line()
    }

    /// Whether the last whole line was `#close`, also where another one has begun since.
    pub fn has_seen_close(&self) -> bool {
        self.core.closed
    }

    /// What was counted by this intake so far.
    pub fn counted(&self) -> &Tally {
        &self.core.new
    }
}

impl Core {
    fn block(&mut self, block: Block<'_>, batch: &mut Batch) -> Result<(), Halt> {
        match block {
            Block::Lines(lines) => self.lines(lines, batch),
            Block::Long(piece) => {
                if let State::Reading(place) = &mut self.state {
                    let here = &place.prefix;
                    place.line_start.get_or_insert_with(|| here.mark());
                }
                self.hash(piece);
                Ok(())
            }
            Block::Element(element) => self.element(element, batch),
            Block::LongEnd(piece) => {
                self.hash(piece);
                if let State::Reading(place) = &mut self.state {
                    place.line_start = None;
                }
                self.line_end(Line::Malformed(Malformed::TooLong), batch)
            }
        }
    }

    /// Takes whole lines. They are hashed in as large pieces as can be.
    fn lines(&mut self, lines: &[u8], batch: &mut Batch) -> Result<(), Halt> {
        let (mut hashed, mut at) = (0, 0);
        while let Some(rest) = lines.get(at..)
            && let Some(length) = memchr::memchr(b'\n', rest)
        {
            let line = rest.get(..length).unwrap_or_default();
            if zeek::starts_log(line) && self.begins_another(at > hashed) {
                self.hash(lines.get(hashed..at).unwrap_or_default());
                hashed = at;
                self.begin_another(batch);
            }
            at += length + 1;
            match &self.state {
                State::Reading(_) => {
                    let parsed = self.meaning.read(line);
                    self.settle(parsed, batch);
                }
                State::Seeking(_) => match self.meaning.read(line) {
                    Line::Directive => self.inherited_header &= line.is_empty(),
                    Line::Close => {}
                    parsed => {
                        self.hash(lines.get(hashed..at).unwrap_or_default());
                        hashed = at;
                        self.line_end(parsed, batch)?;
                    }
                },
                State::Known(_, part) => {
                    let stop = part.stop;
                    if self.meaning.reader.is_directive(line) {
                        self.closed = self.meaning.read(line) == Line::Close;
                    } else {
                        self.closed = false;
                    }
                    if place_offset(&self.state) + (at - hashed) as u64 >= stop {
                        self.hash(lines.get(hashed..at).unwrap_or_default());
                        hashed = at;
                        self.compare();
                    }
                }
            }
        }
        self.hash(lines.get(hashed..).unwrap_or_default());
        Ok(())
    }

    /// Takes one element of a JSON array as the line that it is.
    fn element(&mut self, element: &[u8], batch: &mut Batch) -> Result<(), Halt> {
        let line = element.strip_suffix(b"\n").unwrap_or(element);
        let parsed = match &self.state {
            State::Known(..) => Line::Directive,
            State::Seeking(_) | State::Reading(_) => self.meaning.read(line),
        };
        self.hash(element);
        match (&self.state, parsed) {
            (State::Seeking(_), Line::Directive | Line::Close) => Ok(()),
            (State::Known(_, part), _) => {
                if place_offset(&self.state) >= part.stop {
                    self.compare();
                }
                Ok(())
            }
            (_, parsed) => self.line_end(parsed, batch),
        }
    }

    /// Takes bytes into the running hash.
    fn hash(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Seeking(prefix) => prefix.update(bytes),
            State::Known(place, _) => place.prefix.update(bytes),
            State::Reading(place) => {
                place.prefix.update(bytes);
                place.dirty = true;
            }
        }
    }

    /// A line has ended and everything up to its end is hashed: outside the hot path.
    fn line_end(&mut self, parsed: Line, batch: &mut Batch) -> Result<(), Halt> {
        match &self.state {
            State::Seeking(_) => {
                if self.identify(parsed)? {
                    self.settle(parsed, batch);
                }
            }
            State::Known(..) => self.compare(),
            State::Reading(_) => self.settle(parsed, batch),
        }
        Ok(())
    }

    /// Whether a `#separator` line ends what came before it, rather than being the first line.
    fn begins_another(&self, unhashed: bool) -> bool {
        unhashed || place_offset(&self.state) > 0
    }

    /// Ends the lineage before a `#separator` line and seeks the next one.
    fn begin_another(&mut self, batch: &mut Batch) {
        self.end(Ending::Sound, false, batch);
        self.meaning.reader = Reader::new(&self.zeek);
        self.inherited_header = false;
        self.at_file_start = false;
    }

    /// The first record has come: finds out which lineage this is. Says whether it is new.
    fn identify(&mut self, parsed: Line) -> Result<bool, Halt> {
        let State::Seeking(prefix) = &self.state else { return Ok(false) };
        let id = prefix.lineage_id();
        let known = match self.context.claims.claim(&id, self.live)? {
            Claimed::Busy { live } => return Err(Halt::Busy { live }),
            Claimed::Yes(known) => known,
        };
        let prefix = prefix.clone();
        match known {
            // What begins like no DNS log may be one all the same: a torn line, another log before it.
            None if self.at_file_start
                && !self.proven
                && !self.meaning.reader.shows_dns(parsed, &self.meaning.record) =>
            {
                self.context.claims.release(&id);
                Err(Halt::Unproven)
            }
            None => {
                let mut progress = Box::new(Progress::start(id, &self.sensor));
                if self.inherited_header {
                    progress.header = self.meaning.reader.header();
                }
                self.state = State::Reading(ClaimedLog { prefix, progress, dirty: true, line_start: None });
                // What another log tells is not seen here, and what is followed has no end yet.
                let is_whole = !self.live && self.paired.is_none() && self.told_until.is_none();
                self.telling = is_whole.then(|| self.context.listening.begin()).flatten();
                Ok(true)
            }
            Some(progress) => {
                if let Some(header) =
                    progress.header.as_ref().filter(|_| self.meaning.reader.header().is_none())
                {
                    self.meaning.reader = Reader::with_header(&self.zeek, header);
                }
                let here = prefix.offset();
                let next_mark = progress.marks.partition_point(|mark| mark.offset <= here);
                let place = ClaimedLog { prefix, progress, dirty: false, line_start: None };
                self.state = if place.progress.consumed.offset <= here {
                    State::Reading(place)
                } else {
                    let stop = place.stop(next_mark);
                    State::Known(place, KnownPart { next_mark, changed: false, stop })
                };
                Ok(false)
            }
        }
    }

    /// In the known part, at a line end where a mark is or that lies behind one: are the bytes the same?
    fn compare(&mut self) {
        let State::Known(place, part) = &mut self.state else { return };
        let here = place.prefix.mark();
        while let Some(mark) =
            place.progress.marks.get(part.next_mark).filter(|mark| mark.offset <= here.offset)
        {
            part.changed |= *mark != here;
            part.next_mark += 1;
        }
        if here.offset < place.progress.consumed.offset {
            part.stop = place.stop(part.next_mark);
            return;
        }
        let changed = here != place.progress.consumed;
        let State::Known(mut place, _) =
            std::mem::replace(&mut self.state, State::Seeking(Prefix::default()))
        else {
            return;
        };
        if changed {
            self.note_change(&mut place);
        }
        self.state = State::Reading(place);
    }

    /// The content is not what was read before. It is never counted again; reading goes on behind it.
    fn note_change(&self, place: &mut ClaimedLog) {
        place.progress.prefix_changed += 1;
        place.dirty = true;
        warn!(
            path = %shown(&self.path),
            lineage = %place.progress.lineage,
            offset = place.progress.consumed.offset,
            "The log differs from what was read of it before; reading goes on after the known part."
        );
    }

    /// Whether another log told the event that was just read.
    fn is_told(&mut self) -> bool {
        let here = place_offset(&self.state);
        let until = self.told_until.filter(|(_, bytes)| here < *bytes);
        if until.is_some_and(|(time, _)| self.meaning.record.ts_micros() / 1_000_000 <= time) {
            return true;
        }
        self.paired
            .as_ref()
            .is_some_and(|PairedLog { pair, side }| pair.lock().tell(*side, &self.meaning.record))
    }

    /// Counts one line of the new part.
    fn settle(&mut self, parsed: Line, batch: &mut Batch) {
        if parsed == Line::Record && (self.paired.is_some() || self.told_until.is_some()) && self.is_told() {
            self.closed = false;
            return;
        }
        let State::Reading(place) = &mut self.state else { return };
        let Some(fate) = self.meaning.fate(parsed) else {
            self.closed |= parsed == Line::Close;
            return;
        };
        if let Fate::Malformed(reason) = fate {
            self.context.sampler.malformed(&self.path, place.prefix.offset(), reason);
        }
        if Meaning::is_kept(fate) {
            let observations = &self.meaning.observations;
            match &mut self.telling {
                None => batch.add(observations),
                Some(Telling { turn, contents }) => {
                    batch.add_and_show(observations, *turn, &mut |met| contents.take(met));
                }
            }
            let cut = observations.answers_cut();
            place.progress.tally.cut_answers(cut);
            self.new.cut_answers(cut);
            place.progress.note_time(observations.time());
            place.progress.newest = newest(place.progress.newest, observations.time(), self.now);
        }
        self.closed = false;
        place.progress.tally.add(fate);
        self.new.add(fate);
    }

    /// Puts the progress into the batch, if there is any.
    fn advance(&mut self, batch: &mut Batch) {
        let State::Reading(place) = &mut self.state else { return };
        if !place.dirty {
            return;
        }
        place.dirty = false;
        let progress = &mut place.progress;
        let here = place.line_start.unwrap_or_else(|| place.prefix.mark());
        if here.offset > progress.consumed.offset {
            if progress.consumed.offset > 0 {
                push_mark(&mut progress.marks, progress.consumed);
            }
            progress.consumed = here;
            progress.complete = self.closed;
            progress.tally.set_malformed(Malformed::Unterminated, 0);
        }
        progress.path.clone_from(&self.path);
        progress.read_at = self.context.clock.now();
        self.context.claims.advance(batch, (**progress).clone());
    }

    /// Ends the lineage and gives it back.
    fn end(&mut self, ending: Ending, unterminated: bool, batch: &mut Batch) {
        self.advance(batch);
        match &mut self.state {
            State::Seeking(_) => {}
            State::Known(place, part) => {
                // The file is shorter than what was read. Equal so far: there is nothing to do.
                if part.changed {
                    let State::Known(mut place, _) =
                        std::mem::replace(&mut self.state, State::Seeking(Prefix::default()))
                    else {
                        return;
                    };
                    self.note_change(&mut place);
                    self.context.claims.advance(batch, (*place.progress).clone());
                    self.context.claims.release(&place.progress.lineage);
                } else {
                    self.context.claims.release(&place.progress.lineage);
                }
            }
            State::Reading(place) => {
                let progress = &mut place.progress;
                let lines = u64::from(unterminated);
                let complete = progress.complete || self.closed || ending == Ending::Sound;
                let has_moved = progress.path != self.path;
                if lines != progress.tally.malformed(Malformed::Unterminated)
                    || complete != progress.complete
                    || has_moved
                {
                    if lines > progress.tally.malformed(Malformed::Unterminated) {
                        self.new.add(Fate::Malformed(Malformed::Unterminated));
                        self.context.sampler.malformed(
                            &self.path,
                            progress.consumed.offset,
                            Malformed::Unterminated,
                        );
                    }
                    progress.tally.set_malformed(Malformed::Unterminated, lines);
                    progress.complete = complete;
                    progress.path.clone_from(&self.path);
                    progress.read_at = self.context.clock.now();
                    self.context.claims.advance(batch, (**progress).clone());
                }
                if let Some(Telling { contents, .. }) = self.telling.take().filter(|_| progress.complete) {
                    contents.finish(progress);
                }
                self.context.claims.release(&progress.lineage);
            }
        }
        self.telling = None;
        self.state = State::Seeking(Prefix::default());
        self.closed = false;
    }
}

impl ClaimedLog {
    /// The offset at which the known bytes are compared next.
    fn stop(&self, next_mark: usize) -> u64 {
        self.progress.marks.get(next_mark).map_or(self.progress.consumed.offset, |mark| mark.offset)
    }
}

/// Bytes of the lineage that are hashed.
fn place_offset(state: &State) -> u64 {
    match state {
        State::Seeking(prefix) => prefix.offset(),
        State::Known(place, _) | State::Reading(place) => place.prefix.offset(),
    }
}

impl Drop for Core {
    /// An intake that is given up gives its lineage back.
    fn drop(&mut self) {
        if let State::Known(place, _) | State::Reading(place) = &self.state {
            self.context.claims.release(&place.progress.lineage);
        }
    }
}
