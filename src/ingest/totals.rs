//! Sums over all logs, kept while logs are read: who asks for them does not have to go through all logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::malformed::Spoiled;
use crate::progress::Progress;
use crate::tail::discover::is_glob;
use crate::tally::Tally;

/// The source that a log belongs to, by its place in the configuration, and the sensor. What was imported has no source.
pub(super) type Group = (Option<usize>, String);

/// The sums over some logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogTotals {
    /// The number of logs.
    pub logs: u64,
    /// Their lines, by how they ended.
    pub tally: Tally,
    /// How often their content differed from what was read before.
    pub prefix_changed: u64,
}

/// The sums over all logs, by source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Folder, file or glob of each source, and its sensor.
    sources: Vec<(PathBuf, String)>,
    groups: BTreeMap<Group, LogTotals>,
    /// How many logs have their latest record at which time.
    newest: BTreeMap<u64, u64>,
    spoiled: Spoiled,
}

impl Totals {
    /// Sums up some logs, for these sources.
    pub fn new(sources: Vec<(PathBuf, String)>, logs: &[Progress]) -> Totals {
        let mut totals = Totals { sources, ..Totals::default() };
        logs.iter().for_each(|progress| totals.replace(None, Some(progress)));
        totals
    }

    /// The source that a log belongs to.
    pub fn source_of(&self, sensor: &str, path: &Path) -> Option<usize> {
        self.sources.iter().position(|(logs, of)| of == sensor && (is_glob(logs) || path.starts_with(logs)))
    }

    /// Takes up how far a log is read now, in place of how far it was read before.
    pub fn replace(&mut self, old: Option<&Progress>, new: Option<&Progress>) {
        self.spoiled.replace(old, new);
        if let Some(old) = old {
            let group = self.group(old);
            if let Some(sum) = self.groups.get_mut(&group) {
                sum.logs = sum.logs.saturating_sub(1);
                sum.tally.subtract(&old.tally);
                sum.prefix_changed = sum.prefix_changed.saturating_sub(old.prefix_changed);
                if sum.logs == 0 {
                    self.groups.remove(&group);
                }
            }
            if let Some(logs) = self.newest.get_mut(&old.newest) {
                *logs = logs.saturating_sub(1);
                if *logs == 0 {
                    self.newest.remove(&old.newest);
                }
            }
        }
        if let Some(new) = new {
            let group = self.group(new);
            let sum = self.groups.entry(group).or_default();
            sum.logs += 1;
            sum.tally.merge(&new.tally);
            sum.prefix_changed = sum.prefix_changed.saturating_add(new.prefix_changed);
            *self.newest.entry(new.newest).or_default() += 1;
        }
    }

    fn group(&self, progress: &Progress) -> Group {
        (self.source_of(&progress.sensor, &progress.path), progress.sensor.clone())
    }

    /// The sums for each source and sensor of which there are logs, what was imported first.
    pub fn groups(&self) -> &BTreeMap<Group, LogTotals> {
        &self.groups
    }

    /// That many lines could not be read, of late or of all, in a sentence.
    pub fn malformed_in_words(&self, now: u64) -> Option<String> {
        self.spoiled.in_words(self.groups.values().map(|sum| &sum.tally), now)
    }

    /// The time of the latest record that is not after a time, epoch seconds.
    pub fn newest(&self, until: u64) -> Option<u64> {
        self.newest.range(1..=until.max(1)).next_back().map(|(newest, _)| *newest)
    }
}
