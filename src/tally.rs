//! One accounting: how each line of a log ended.
//!
//! Every line that is not a directive, a column line or blank ends in exactly one [`Fate`], so that
//! `lines = counted + skipped by reason + malformed by reason` holds for a file and in total.

use std::fmt;

/// How one line of a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It gave at least one observation.
    Counted,
    /// A sound record that the ledger deliberately does not keep.
    Skipped(Skip),
    /// Not a record that could be read.
    Malformed(Malformed),
}

/// Defines a reason enum with its stable names; the order is the order of the list, and codes never change.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All reasons. The place of a reason here is its code in the store: append, never reorder.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name in status, metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

reasons! {
    /// Why a sound record is not kept. The order is the order in which the reasons are tried, but that `time_range` is
    /// tried before `expired`.
    Skip {
        /// A record of another Zeek log (`_path`, `@stream`, `#path`).
        OtherLog = "other_log",
        /// NetBIOS, mDNS or LLMNR, by port or by a multicast responder: the owners of the answers are unknown.
        Port = "port",
        /// Not class IN.
        Class = "class",
        /// Not a QUERY: NOTIFY, dynamic updates.
        Opcode = "opcode",
        /// AXFR or IXFR: answers of many owners.
        Transfer = "transfer",
        /// The name that was asked is not known.
        NoQuery = "no_query",
        /// The name that was asked is no valid name.
        BadName = "bad_name",
        /// Older than the ledger's cut.
        Expired = "expired",
        /// Nothing was answered. The question is counted.
        NoAnswer = "no_answer",
        /// Answers without one that can be kept.
        UnusableAnswers = "unusable_answers",
        /// Of a time that cannot be: before 2000, or ahead of the clock by more than a day, unless told otherwise.
        TimeRange = "time_range",
    }
}

reasons! {
    /// Why a line could not be read.
    Malformed {
        /// Another number of columns than the header has: cut, merged or overwritten.
        Columns = "columns",
        /// `ts` is absent, negative, infinite or not a time.
        Time = "time",
        /// A column that is needed does not hold a value of its type.
        Value = "value",
        /// Not a JSON object, or one with a needed key of the wrong type.
        Json = "json",
        /// Longer than the limit on a line.
        TooLong = "too_long",
        /// A record before any header, and no columns configured.
        NoHeader = "no_header",
        /// The last line of a finished file has no newline.
        Unterminated = "unterminated",
        /// NUL bytes inside the line: a hole, or two writers in one file.
        Nul = "nul",
    }
}

//--- Tally ----------------------------------------------------------------------------------------------------------

/// Counts of lines by their fate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that gave observations.
    pub counted: u64,
    /// Answers that were left out of lines that were counted, since one line held too many. No line more or less.
    pub answers_cut: u64,
    skipped: [u64; Skip::ALL.len()],
    malformed: [u64; Malformed::ALL.len()],
}

impl Tally {
    /// Counts one line.
    pub fn add(&mut self, fate: Fate) {
        let slot = match fate {
            Fate::Counted => Some(&mut self.counted),
            Fate::Skipped(reason) => self.skipped.get_mut(reason as usize),
            Fate::Malformed(reason) => self.malformed.get_mut(reason as usize),
        };
        if let Some(slot) = slot {
            *slot = slot.saturating_add(1);
        }
    }

    /// Counts answers that were left out of a line that was counted.
    pub fn cut_answers(&mut self, answers: u64) {
        self.answers_cut = self.answers_cut.saturating_add(answers);
    }

    /// Adds another tally to this one.
    pub fn merge(&mut self, other: &Tally) {
        self.combine(other, u64::saturating_add);
    }

    /// Takes away what was added by [`Tally::merge`].
    pub fn subtract(&mut self, other: &Tally) {
        self.combine(other, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Tally, combined: fn(u64, u64) -> u64) {
        self.counted = combined(self.counted, other.counted);
        self.answers_cut = combined(self.answers_cut, other.answers_cut);
        let mine = self.skipped.iter_mut().chain(&mut self.malformed);
        for (mine, theirs) in mine.zip(other.skipped.iter().chain(&other.malformed)) {
            *mine = combined(*mine, *theirs);
        }
    }

    /// All lines read: the sum of everything.
    pub fn lines(&self) -> u64 {
        self.counted
            .saturating_add(self.skipped.iter().sum::<u64>())
            .saturating_add(self.malformed.iter().sum::<u64>())
    }

    /// Lines skipped for one reason.
    pub fn skipped(&self, reason: Skip) -> u64 {
        self.skipped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Lines malformed for one reason.
    pub fn malformed(&self, reason: Malformed) -> u64 {
        self.malformed.get(reason as usize).copied().unwrap_or_default()
    }

    /// Sets the number of malformed lines for one reason (the store and the follower's `unterminated` use it).
    pub fn set_malformed(&mut self, reason: Malformed, lines: u64) {
        if let Some(slot) = self.malformed.get_mut(reason as usize) {
            *slot = lines;
        }
    }

    /// The counts in the order of the codes, for the store: counted, each skip reason, each malformed reason.
    pub fn to_counts(&self) -> (u64, Vec<u64>, Vec<u64>) {
        (self.counted, self.skipped.to_vec(), self.malformed.to_vec())
    }

    /// Takes back what [`Tally::to_counts`] gave, also from a version that knew fewer reasons.
    pub fn from_counts(counted: u64, skipped: &[u64], malformed: &[u64]) -> Tally {
        let mut tally = Tally { counted, ..Tally::default() };
        for (slot, count) in tally.skipped.iter_mut().zip(skipped) {
            *slot = *count;
        }
        for (slot, count) in tally.malformed.iter_mut().zip(malformed) {
            *slot = *count;
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_one_line() {
        let mut tally = Tally::default();
        let mut fates = vec![Fate::Counted];
        fates.extend(Skip::ALL.iter().map(|&r| Fate::Skipped(r)));
        fates.extend(Malformed::ALL.iter().map(|&r| Fate::Malformed(r)));
        for &fate in &fates {
            tally.add(fate);
        }
        assert_eq!(tally.lines(), fates.len() as u64);
        assert!(Skip::ALL.iter().all(|&r| tally.skipped(r) == 1));
        assert!(Malformed::ALL.iter().all(|&r| tally.malformed(r) == 1));
        let (counted, skipped, malformed) = tally.to_counts();
        assert_eq!(Tally::from_counts(counted, &skipped, &malformed), tally);
        let mut twice = tally.clone();
        twice.merge(&tally);
        assert_eq!(twice.lines(), 2 * tally.lines());
    }
}
