//! Which plain logs of a Zeek were written when one of its streaming logs began: what such a log tells, they tell too.
//!
//! The plain logs are put in order once; each streaming log is then held against one or two of them. So a folder of many logs of
//! both kinds costs as many looks into files as it has logs, and no more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::paired_logs::{PairSide, times, zeek_folder};
use crate::progress::Progress;
use crate::zeek;

/// Records by which it is told when a log began: some are out of order.
const LOOKED_AT: usize = 50;
/// How long a plain log is taken to be of which only the end is known, seconds.
const USUAL_LENGTH: u64 = 2 * 3600;

//--- Of the ledger --------------------------------------------------------------------------------------------------

/// The plain logs that the ledger has, by the folder of their Zeek, in the order in which they ended.
pub(super) struct PlainLogs(HashMap<PathBuf, Vec<(u64, PathBuf)>>);

impl PlainLogs {
    pub fn of(lineages: impl IntoIterator<Item = Progress>) -> PlainLogs {
        let mut by_folder: HashMap<PathBuf, Vec<(u64, PathBuf)>> = HashMap::new();
        for progress in lineages {
            if PairSide::of(&progress.path) == PairSide::Plain {
                by_folder
                    .entry(zeek_folder(&progress.path))
                    .or_default()
                    .push((progress.newest, progress.path));
            }
        }
        by_folder.values_mut().for_each(|logs| logs.sort_unstable());
        PlainLogs(by_folder)
    }

    /// The folders of the Zeeks that wrote them.
    pub fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Whether a streaming log began while one of them was written, of the same Zeek; if so, the last time in any of those.
    pub fn cover(&self, options: &zeek::Options, path: &Path) -> Option<u64> {
        let logs = self.0.get(&zeek_folder(path))?;
        let began = began(path, options)?;
        let (newest, log) = logs.get(logs.partition_point(|(newest, _)| *newest < began))?;
        let first = times(log, options, LOOKED_AT).into_iter().min();
        let first = first.unwrap_or(newest.saturating_sub(USUAL_LENGTH));
        (first <= began).then(|| logs.last().map_or(*newest, |(newest, _)| *newest))
    }
}

//--- Of a folder ----------------------------------------------------------------------------------------------------

/// The plain logs among some files, which are looked into when a streaming log of the same Zeek is there.
pub(super) struct PlainFiles<'a, T> {
    /// By the folder of their Zeek: those that were not looked into yet.
    unknown: HashMap<PathBuf, Vec<&'a Path>>,
    /// Likewise those that were, by when they began.
    begun: HashMap<PathBuf, Vec<(u64, &'a Path)>>,
    /// The last times in some of them.
    ends: HashMap<&'a Path, Option<u64>>,
    /// The times of the records of a log, at most so many.
    times: T,
}

impl<'a, T: FnMut(&Path, usize) -> Vec<u64>> PlainFiles<'a, T> {
    pub fn new(paths: impl IntoIterator<Item = &'a Path>, times: T) -> PlainFiles<'a, T> {
        let mut unknown: HashMap<PathBuf, Vec<&Path>> = HashMap::new();
        for path in paths {
            unknown.entry(zeek_folder(path)).or_default().push(path);
        }
        PlainFiles { unknown, begun: HashMap::new(), ends: HashMap::new(), times }
    }

    /// Whether a streaming log began while one of them was written, of the same Zeek.
    pub fn cover(&mut self, path: &Path) -> bool {
        let PlainFiles { unknown, begun, ends, times } = self;
        let folder = zeek_folder(path);
        if let Some(logs) = unknown.remove(&folder) {
            let first = |log: &'a Path| Some((times(log, LOOKED_AT).into_iter().min()?, log));
            let mut logs: Vec<(u64, &Path)> = logs.into_iter().filter_map(first).collect();
            logs.sort_unstable();
            begun.insert(folder.clone(), logs);
        }
        let Some(logs) = begun.get(&folder).filter(|logs| !logs.is_empty()) else { return false };
        let Some(began) = middle(times(path, LOOKED_AT)) else { return false };
        let before = logs.partition_point(|(first, _)| *first <= began);
        let Some((_, log)) = before.checked_sub(1).and_then(|at| logs.get(at)) else { return false };
        *ends.entry(log).or_insert_with(|| times(log, usize::MAX).into_iter().max()) >= Some(began)
    }
}

/// When a log began, about.
pub(super) fn began(path: &Path, options: &zeek::Options) -> Option<u64> {
    middle(times(path, options, LOOKED_AT))
}

/// The middle of the times of a log's first records.
fn middle(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_logs_of_both_kinds_cost_a_few_looks_each() {
        const LOGS: u64 = 500;
        let plain: Vec<PathBuf> = (0..LOGS).map(|n| format!("/logs/dns.{n}.log").into()).collect();
        let mut looks = 0;
        // Each log is ten seconds long; of the streaming ones every fifth began when no plain one was written.
        let times = |path: &Path, most: usize| {
            looks += 1;
            let name = path.file_name().unwrap().to_str().unwrap();
            let number: u64 = name.split('.').nth(1).unwrap().parse().unwrap();
            let late = if name.starts_with("json") { 1 + number % 5 * 3 } else { 0 };
            (number * 100 + late..number * 100 + late + 10).take(most).collect()
        };
        let mut files = PlainFiles::new(plain.iter().map(PathBuf::as_path), times);
        for n in 0..LOGS {
            let covered = files.cover(Path::new(&format!("/logs/json_streaming_dns.{n}.log")));
            assert_eq!(covered, n % 5 < 2, "{n}");
        }
        // Those of another Zeek are looked into by nobody.
        assert!(!files.cover(Path::new("/other/json_streaming_dns.1.log")));
        assert!(looks <= 3 * LOGS, "{looks} looks");
    }
}
