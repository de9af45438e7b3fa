//! Lines that could not be read: what they say is in no answer, so who finds nothing hears of them where they are many, or of late.

use std::collections::HashMap;

use crate::progress::{LineageId, Progress};
use crate::tally::{Malformed, Tally};

/// What was read in so many seconds is of late.
const LATE: u64 = 86_400;
/// One in so many lines of what was read of late is told.
const OF_LATE: u64 = 1000;
/// One in so many of all lines is told.
const OF_ALL: u64 = 100;
/// Logs with such lines that are kept, those that were read last.
const MOST_LOGS: usize = 256;

/// Logs with lines that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spoiled {
    /// When each was read last, and its lines.
    logs: HashMap<LineageId, (u64, Lines)>,
}

/// How many lines there are, and how many of them could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lines {
    all: u64,
    malformed: u64,
}

impl Lines {
    fn of(tally: &Tally) -> Lines {
        let malformed = Malformed::ALL.iter().map(|&reason| tally.malformed(reason)).sum();
        Lines { all: tally.lines(), malformed }
    }

    fn add(&mut self, other: Lines) {
        self.all = self.all.saturating_add(other.all);
        self.malformed = self.malformed.saturating_add(other.malformed);
    }

    fn is_one_in(self, lines: u64) -> bool {
        self.malformed > 0 && self.malformed.saturating_mul(lines) >= self.all
    }
}

impl Spoiled {
    /// Takes up how far a log is read now, in place of how far it was read before.
    pub fn replace(&mut self, old: Option<&Progress>, new: Option<&Progress>) {
        if let Some(old) = old {
            self.logs.remove(&old.lineage);
        }
        let Some(new) = new else { return };
        let lines = Lines::of(&new.tally);
        if lines.malformed == 0 {
            return;
        }
        self.logs.insert(new.lineage, (new.read_at, lines));
        if self.logs.len() > MOST_LOGS
            && let Some(oldest) =
                self.logs.iter().min_by_key(|(_, (read_at, _))| *read_at).map(|(log, _)| *log)
        {
            self.logs.remove(&oldest);
        }
    }

    /// That there are many, of late or of all, in a sentence.
    pub fn in_words<'a>(&self, all: impl Iterator<Item = &'a Tally>, now: u64) -> Option<String> {
        let mut of_late = Lines::default();
        for (read_at, lines) in self.logs.values() {
            if read_at.saturating_add(LATE) >= now {
                of_late.add(*lines);
            }
        }
        let mut of_all = Lines::default();
        all.for_each(|tally| of_all.add(Lines::of(tally)));
        let (Lines { all, malformed }, which) = match (of_late.is_one_in(OF_LATE), of_all.is_one_in(OF_ALL)) {
            (true, _) => (of_late, "the logs with such lines that were read in the last day"),
            (_, true) => (of_all, "all logs"),
            _ => return None,
        };
        let are = if malformed == 1 { "line is" } else { "lines are" };
        Some(format!(
            "{malformed} {are} malformed, of {all} in {which}: what they say is in no answer; `dnsledger status` says why they are."
        ))
    }
}

/// The same of a ledger that nobody feeds.
pub fn malformed_in_words(logs: &[Progress], now: u64) -> Option<String> {
    let mut spoiled = Spoiled::default();
    logs.iter().for_each(|log| spoiled.replace(None, Some(log)));
    spoiled.in_words(logs.iter().map(|log| &log.tally), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Fate;

    fn log(id: u16, good: usize, bad: usize, read_at: u64) -> Progress {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        let mut log = Progress::start(LineageId(bytes), "lan");
        (0..good).for_each(|_| log.tally.add(Fate::Counted));
        (0..bad).for_each(|_| log.tally.add(Fate::Malformed(Malformed::Columns)));
        log.read_at = read_at;
        log
    }

    #[test]
    fn lines_that_could_not_be_read_are_told_where_they_are_many_or_of_late() {
        let now = 10 * LATE;
        let said = |logs: &[Progress]| malformed_in_words(logs, now);
        assert_eq!(said(&[log(1, 5000, 0, now)]), None);
        // Zeek was killed in the middle of a line.
        assert_eq!(said(&[log(1, 5000, 1, now)]), None);
        assert_eq!(said(&[log(1, 999, 1, 0), log(2, 50, 0, now)]), None);
        let of_late = said(&[log(1, 999, 1, now), log(2, 90_000, 0, now)]).unwrap();
        assert!(of_late.starts_with("1 line is malformed, of 1000 in the logs with such lines"), "{of_late}");
        let of_all = said(&[log(1, 80, 20, 0), log(2, 900, 0, now)]).unwrap();
        assert!(of_all.starts_with("20 lines are malformed, of 1000 in all logs"), "{of_all}");
    }

    #[test]
    fn no_more_logs_are_kept_than_a_bound_and_those_that_were_read_last() {
        let mut spoiled = Spoiled::default();
        let logs: Vec<Progress> = (0..1000).map(|at| log(at, 1, 1, at.into())).collect();
        logs.iter().for_each(|log| spoiled.replace(None, Some(log)));
        assert_eq!(
            (spoiled.logs.len(), spoiled.logs.values().map(|(at, _)| *at).min()),
            (MOST_LOGS, Some(744))
        );
        spoiled.replace(logs.last(), None);
        assert_eq!(spoiled.logs.len(), MOST_LOGS - 1);
    }
}
