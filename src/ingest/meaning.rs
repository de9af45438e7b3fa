//! What the lines of a log mean: the one place where a line becomes a fate and observations.
//!
//! [`super::intake`] counts with it, and [`crate::evidence`] finds with it the lines that were counted: so both agree about
//! every line, whatever it looks like.

use crate::observation::{Observations, SensorId};
use crate::observe::{self, Observer};
use crate::tally::{Fate, Skip};
use crate::zeek::{self, Line, LogRecord, Reader};

/// Reads the lines of one log, in order.
pub struct Meaning {
    /// Reads lines, with the header in force.
    pub reader: Reader,
    /// The last line that was a record.
    pub record: LogRecord,
    observer: Observer,
    /// What that record proves, if it was judged and counts, or asks at least.
    pub observations: Observations,
}

impl Meaning {
    /// That of the lines of a log from its start.
    pub fn new(reader: Reader, observe: &observe::Options, sensor: SensorId) -> Meaning {
        Meaning {
            reader,
            record: LogRecord::default(),
            observer: Observer::new(observe),
            observations: Observations::new(sensor).with_max_tuples(observe.max_tuples),
        }
    }

    /// From now on records before and after these times are skipped, epoch seconds.
    pub fn set_bounds(&mut self, expired_before: u64, not_after: u64) {
        self.observer.set_expired_before(expired_before);
        self.observer.set_not_after(not_after);
    }

    /// Reads a line, without its newline.
    pub fn read(&mut self, line: &[u8]) -> Line {
        self.reader.read(line, &mut self.record)
    }

    /// How the line that was just read ends in the accounting; none where it is no line of it.
    pub fn fate(&mut self, parsed: Line) -> Option<Fate> {
        Some(match parsed {
            Line::Directive | Line::Close => return None,
            Line::OtherLog => Fate::Skipped(Skip::OtherLog),
            Line::Malformed(reason) => Fate::Malformed(reason),
            Line::Record => self.observer.observe(&self.record, &mut self.observations),
        })
    }

    /// Whether a line that ends so is in the ledger: its rows, or its question at least.
    pub fn is_kept(fate: Fate) -> bool {
        matches!(fate, Fate::Counted | Fate::Skipped(Skip::NoAnswer))
    }
}

/// Where a log's lines begin: its own header, or one that it has lost.
pub fn reader(zeek: &zeek::Options, header: Option<&[u8]>) -> Reader {
    match header {
        Some(header) => Reader::with_header(zeek, header),
        None => Reader::new(zeek),
    }
}
