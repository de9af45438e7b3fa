//! How far into which log we are.
//!
//! A *lineage* is one log, by content: whatever its path, and whether it lies there plain, rotated, copied or compressed.
//! Progress is stored in the same atomic batch as the counts it covers; that is the whole of exactly-once.

use std::fmt;
use std::path::PathBuf;

use crate::tally::Tally;

/// The identity of a log: the 128-bit hash of its decompressed bytes up to and including the first complete record,
/// leading NULs skipped. A log without a complete record has none and needs none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineageId(pub [u8; 16]);

impl fmt::Display for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineageId({self})")
    }
}

/// A place in a lineage and the hash of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Decompressed bytes from the start of the lineage; always just after a newline.
    pub offset: u64,
    /// XXH3-128 of those bytes, big-endian.
    pub hash: [u8; 16],
}

/// What is known of one lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The log that it is about.
    pub lineage: LineageId,
    /// The sensor its records are counted under.
    pub sensor: String,
    /// How far it was read.
    pub consumed: Mark,
    /// A few older places, ascending, each before `consumed`: a shorter copy is recognised by them.
    pub marks: Vec<Mark>,
    /// The header its records are read with, where the log itself does not hold it (a copytruncate hole loses it).
    pub header: Option<Vec<u8>>,
    /// How its lines ended.
    pub tally: Tally,
    /// The time of its latest record, epoch seconds; 0 before one was counted.
    pub newest: u64,
    /// The time of its oldest record, likewise; 0 also where an earlier version has counted a part of it, which did not note it.
    pub oldest: u64,
    /// The time of its latest record, whatever the clock was: [`Progress::newest`] is never ahead of that. 0 also where an
    /// earlier version has counted all of it.
    pub latest: u64,
    /// Whether its end was seen (`#close` last, or an archive that ended well). A hint only: growth reopens it.
    pub complete: bool,
    /// Bytes on disk of the archive that was last read to its sound end; 0 where there was none. With the length that
    /// the archive itself names it saves reading it again.
    pub archive_bytes: u64,
    /// How often its content differed from what was read before, and reading went on after the known part.
    pub prefix_changed: u64,
    /// Where it was seen last. A hint for people; never an identity.
    pub path: PathBuf,
    /// When it was read last, epoch seconds by the wall clock.
    pub read_at: u64,
}

impl Progress {
    /// Takes down the time of a record, before it is taken into [`Progress::newest`].
    pub fn note_time(&mut self, time: u64) {
        if self.newest == 0 && self.latest == 0 {
            self.oldest = time;
        } else if self.oldest > 0 {
            self.oldest = self.oldest.min(time);
        }
        // What an earlier version has counted may have been as late as the newest it noted.
        self.latest = self.latest.max(self.newest).max(time);
    }

    /// Between which times its records lie, both included, epoch seconds, as far as that is known.
    pub fn times(&self) -> (u64, u64) {
        (self.oldest, self.latest.max(self.newest))
    }

    /// The beginning of a lineage of which nothing was read.
    pub fn start(lineage: LineageId, sensor: &str) -> Progress {
        Progress {
            lineage,
            sensor: sensor.to_owned(),
            consumed: Mark { offset: 0, hash: [0; 16] },
            marks: Vec::new(),
            header: None,
            tally: Tally::default(),
            newest: 0,
            oldest: 0,
            latest: 0,
            complete: false,
            archive_bytes: 0,
            prefix_changed: 0,
            path: PathBuf::new(),
            read_at: 0,
        }
    }
}
