//! Verification: whether all that a ledger holds is what was written, and fits together.
//!
//! Everything is read once, whatever the size of the ledger, with one block in memory at a time. What is wrong is listed
//! and never an error: after one fault there may be others.
//!
//! - *The main map*: the version, the manifest, the last commit; the journal is whole and has nothing beside it; progress
//!   is that of the last commit, and makes sense; numbers of sensors have no gaps. What was acknowledged is there.
//! - *Each run*: blocks are sealed, chained and in order; rows are in order, and can be read; the filter holds every key;
//!   what the manifest counts is there.
//! - *Rows and index*: each row that is found by its data has its entry in the index, and each entry its row, with the same
//!   value. The two come in different orders, so they are compared by sums of hashes; only where sums differ are rows held
//!   against each other, in a second reading.

mod report;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use report::{LedgerFault, Verification};
use rows::{Expected, RunState, index_entry, place};
pub(crate) use rows::{check_row, shown};

use super::acknowledged::Acknowledged;
use super::derived::Record;
use super::engine::{self, Engine, Pairs, with_prefix};
use super::key::Family;
use super::manifest::{Commits, Manifest, RunMeta};
use super::span::after_prefix;
use super::stored::{check_format, open_block, open_journal_part, open_progress, progress_hash, read_filter};
use super::undo::Undone;
use super::{Identity, StoreError, block, budget, damaged};
use crate::progress::{LineageId, Progress};

/// Keys of the main map that there is one of.
const SINGLE_KEYS: [&[u8]; 6] =
    [engine::FORMAT, engine::IDENTITY, engine::COMMITS, engine::MANIFEST, engine::DOMAINS, engine::SURVEYED];
/// Rows that are held against each other to name those that differ.
const COMPARED: usize = 100_000;

/// Is told how many rows are read, of how many; `false` ends the verification.
pub type OnProgress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

//--- Checker --------------------------------------------------------------------------------------------------------

/// Reads a ledger and takes down what is wrong.
pub(crate) struct Checker<'a> {
    found: Verification,
    sensors: usize,
    /// Rows read, and those that there are.
    done: u64,
    total: u64,
    acknowledged: Acknowledged,
    on_progress: OnProgress<'a>,
}

impl<'a> Checker<'a> {
    pub fn new(on_progress: OnProgress<'a>) -> Checker<'a> {
        let (found, acknowledged) = (Verification::default(), Acknowledged::default());
        Checker { found, sensors: 0, done: 0, total: 0, acknowledged, on_progress }
    }

    /// Also whether what was acknowledged is there.
    pub fn acknowledged(self, acknowledged: Acknowledged) -> Checker<'a> {
        Checker { acknowledged, ..self }
    }

    /// Verifies a ledger that nobody uses.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it is ended before its end.
    pub fn all(mut self, engine: &dyn Engine) -> Result<Verification, StoreError> {
        for meta in self.main(engine, engine.runs()) {
            match engine.run(meta.id) {
                Ok(pairs) => self.run(&meta, &*pairs)?,
                Err(error) => self.found.fault(&error),
            }
        }
        Ok(self.end())
    }

    pub fn end(self) -> Verification {
        self.found
    }

    fn note(&mut self, what: &str, why: &str) {
        self.found.fault(&damaged(what, why));
    }

    fn take<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        read.map_err(|error| self.found.fault(&error)).ok()
    }

    /// Verifies the main map, and gives the runs that the manifest names and that are there. Nothing in it may change meanwhile.
    pub fn main(&mut self, engine: &dyn Pairs, stored: Result<BTreeSet<u32>, StoreError>) -> Vec<RunMeta> {
        // What the next opening takes back is not there.
        let undone = self.take(Undone::of(engine));
        let engine: &dyn Pairs = match &undone {
            Some(undone) => undone,
            None => engine,
        };
        self.take(check_format(engine));
        let manifest = self.take(engine.get(engine::MANIFEST).and_then(Manifest::from_bytes));
        let commits = self.take(engine.get(engine::COMMITS).and_then(Commits::from_bytes));
        self.take(Identity::load(engine));
        self.sensors(engine);
        self.progress(engine, commits.as_ref());
        self.folded(engine);
        self.take(Record::check(engine));
        if let (Some(manifest), Some(commits)) = (&manifest, &commits) {
            self.journal(engine, manifest.journal_from..commits.journal_to);
        }
        self.other_keys(engine);
        if let Some(manifest) = &manifest {
            self.missing(engine, manifest.next_run);
            self.cuts(manifest);
        }
        let mut manifest = manifest.unwrap_or_default();
        self.total = manifest.runs.iter().map(|run| run.counts().all()).sum();
        if let Some(stored) = self.take(stored) {
            let mut named = HashSet::new();
            for RunMeta { id, .. } in &manifest.runs {
                if !named.insert(*id) || *id >= manifest.next_run {
                    self.note("the manifest of the ledger", &format!("run {id} has a number it cannot have"));
                }
                if !stored.contains(id) {
                    self.note(&format!("run {id}"), "it is missing");
                }
            }
            self.found.unnamed_runs = stored.iter().filter(|id| !named.contains(id)).count() as u64;
            manifest.runs.retain(|run| stored.contains(&run.id));
        }
        manifest.runs
    }

    fn sensors(&mut self, engine: &dyn Pairs) {
        let mut names = HashSet::new();
        for (pair, number) in with_prefix(engine, engine::SENSORS).zip(0..=u16::MAX) {
            let Some((key, sealed)) = self.take(pair) else { break };
            if key != engine::sensor(number) {
                self.note("the list of sensors", &format!("number {number} is missing"));
                break;
            }
            self.sensors += 1;
            let what = || format!("the name of sensor {number}");
            let Some(name) = self.take(block::open(&key, &sealed, &what)) else { continue };
            match std::str::from_utf8(&name) {
                Err(_) => self.note(&what(), "it is not UTF-8"),
                Ok(name) if !names.insert(name.to_owned()) => self.note(&what(), "another has the same"),
                Ok(_) => {}
            }
        }
        self.found.sensors = self.sensors as u64;
    }

    fn progress(&mut self, engine: &dyn Pairs, commits: Option<&Commits>) {
        let (mut digest, mut whole) = (0, true);
        for pair in with_prefix(engine, engine::PROGRESS) {
            let Some((key, sealed)) = self.take(pair) else {
                whole = false;
                break;
            };
            digest ^= progress_hash(&key, &sealed);
            self.found.logs += 1;
            match self.take(open_progress(&key, &sealed)) {
                Some(progress) => {
                    if let Some(why) = nonsense(&progress) {
                        self.note(&format!("the progress of log {}", progress.lineage), why);
                    }
                }
                None => whole = false,
            }
        }
        if let Some(commits) = commits
            && whole
            && (commits.lineages, commits.digest) != (self.found.logs, digest)
        {
            let why = format!(
                "it is not what was last committed: {} logs, and there were {}",
                self.found.logs, commits.lineages
            );
            self.note("the progress of the logs", &why);
        }
    }

    /// Whether all that was acknowledged is there.
    fn missing(&mut self, engine: &dyn Pairs, next_run: u32) {
        let mut known = HashMap::new();
        for (lineage, _) in self.acknowledged.logs() {
            let key = engine::progress(lineage);
            // What cannot be read was told already.
            let stored = engine.get(&key).ok().flatten();
            if let Some(progress) = stored.and_then(|sealed| open_progress(&key, &sealed).ok()) {
                known.insert(*lineage, (progress.consumed.offset, progress.path));
            }
        }
        let there = |lineage: &LineageId| known.get(lineage).map(|(offset, _)| *offset);
        let missing = self.acknowledged.missing(&there, next_run, self.sensors);
        for missing in self.take(missing).unwrap_or_default() {
            self.found.missing_logs += 1;
            let path = known.get(&missing.lineage).map(|(_, path)| path.as_path());
            self.found.fault(&missing.fault(path));
        }
    }

    /// Whether each cut names runs that there are, and none twice.
    fn cuts(&mut self, manifest: &Manifest) {
        let mut named: HashSet<u32> = manifest.runs.iter().map(|run| run.id).collect();
        let runs = manifest.cuts.iter().flat_map(|cut| &cut.runs);
        if let Some(run) = runs.into_iter().find(|run| !named.remove(run)) {
            self.note(
                "the manifest of the ledger",
                &format!("what was dropped names run {run}, which it cannot"),
            );
        }
    }

    fn folded(&mut self, engine: &dyn Pairs) {
        for pair in with_prefix(engine, engine::FOLDED) {
            let Some((key, sealed)) = self.take(pair) else { return };
            let checked = budget::check_sketch(&key, &sealed);
            self.take(checked);
        }
    }

    fn journal(&mut self, engine: &dyn Pairs, entries: std::ops::Range<u64>) {
        for sequence in entries.clone() {
            self.found.journal_entries += 1;
            if let Err(error) = self.journal_entry(engine, sequence) {
                self.found.fault(&error);
            }
        }
        // Parts that belong to no entry.
        for pair in with_prefix(engine, engine::JOURNAL) {
            let Some((key, sealed)) = self.take(pair) else { return };
            let Some((sequence, part)) = engine::journal_place(&key) else {
                self.note("the journal", "a part has an invalid key");
                continue;
            };
            let parts = open_journal_part(sequence, &key, &sealed).map(|part| part.parts);
            // It is in a run, and only has not gone yet.
            if sequence < entries.start {
                continue;
            }
            if !entries.contains(&sequence) || parts.is_ok_and(|parts| part >= parts) {
                self.note(&format!("entry {sequence} of the journal"), "it is there and should not be");
            }
        }
    }

    fn journal_entry(&mut self, engine: &dyn Pairs, sequence: u64) -> Result<(), StoreError> {
        let bad = |why: &str| damaged(&format!("entry {sequence} of the journal"), why);
        let (mut part, mut parts) = (0, 1);
        let (mut family, mut last) = (Family::ByName, Vec::new());
        while part < parts {
            let key = engine::journal_part(sequence, part);
            let sealed = engine.get(&key)?.ok_or_else(|| bad("a part is missing"))?;
            let opened = open_journal_part(sequence, &key, &sealed)?;
            if part > 0 && opened.parts != parts {
                return Err(bad("its parts do not agree how many they are"));
            }
            if opened.family != family {
                if opened.family < family {
                    return Err(bad("its parts are not in order"));
                }
                family = opened.family;
                last.clear();
            }
            (part, parts) = (part + 1, opened.parts);
            let mut rows = block::Reader::new(opened.rows);
            while rows.advance()? {
                if rows.key() <= last.as_slice() {
                    return Err(bad("its rows are not in order"));
                }
                last.clear();
                last.extend_from_slice(rows.key());
                check_row(family, rows.key(), rows.value(), self.sensors)?;
                self.found.journal_rows += 1;
            }
        }
        Ok(())
    }

    /// Whether there are keys that nobody wrote.
    fn other_keys(&mut self, engine: &dyn Pairs) {
        // From one family of keys to the next, and not through them.
        let mut at = Vec::new();
        while let Some(Some((key, _))) = self.take(engine.above(&at)) {
            let known = [engine::CACHE, engine::FOLDED, engine::JOURNAL, engine::PROGRESS, engine::SENSORS];
            at = match known.into_iter().find(|family| key.starts_with(family)) {
                Some(family) => after_prefix(family).unwrap_or_default(),
                None if SINGLE_KEYS.contains(&key.as_slice()) => key,
                None => {
                    self.note("the ledger", &format!("a key that nobody wrote: {}", key.escape_ascii()));
                    key
                }
            };
        }
    }

    //--- runs

    /// Verifies a run.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it is ended before its end.
    pub fn run(&mut self, meta: &RunMeta, pairs: &dyn Pairs) -> Result<(), StoreError> {
        self.found.runs += 1;
        let faults_before = self.found.faults.len() as u64 + self.found.more_faults;
        let filter = self.take(read_filter(meta, pairs));
        let mut state = RunState::new(meta, filter, self.sensors);
        for pair in with_prefix(pairs, b"") {
            let Some((key, sealed)) = self.take(pair) else {
                state.expected = Expected::Unknown;
                break;
            };
            state.bytes += (key.len() + sealed.len()) as u64;
            let family = key.split_first().map(|(byte, bound)| (*byte, Family::from_byte(*byte), bound));
            match family {
                Some((_, Some(family), bound)) => {
                    self.found.blocks += 1;
                    state.enter(family, bound, &mut self.found);
                    let opened = open_block(meta.id, &key, &sealed);
                    match opened.and_then(|block| state.block(family, bound, block)) {
                        Ok(rows) => self.done += rows,
                        Err(error) => {
                            self.found.fault(&at_place(error, &shown(family, bound)));
                            state.expected = Expected::Unknown;
                        }
                    }
                }
                Some((engine::FILTER, None, page)) => {
                    let page = page.try_into().map(u32::from_be_bytes);
                    if page.is_ok_and(|page| page < meta.filter_pages) {
                        continue;
                    }
                    self.note(&format!("the filter of run {}", meta.id), "it has a page too many");
                }
                _ => {
                    let why = format!("a key that nobody wrote: {}", key.escape_ascii());
                    self.note(&format!("run {}", meta.id), &why);
                }
            }
            if !(self.on_progress)(self.done, self.total.max(self.done)) {
                return Err(StoreError::Closed);
            }
        }
        state.leave(&mut self.found);
        self.found.rows += state.counts.rows();
        self.found.index_entries += state.counts.of(Family::ByRdata);
        self.found.questions += state.counts.of(Family::Questions);
        self.found.domains += state.counts.of(Family::Domains);
        self.found.hits += state.counts.of(Family::Hits);
        let what = format!("run {}", meta.id);
        let names = [
            (Family::ByName, "rows"),
            (Family::ByRdata, "index entries"),
            (Family::Questions, "questions"),
            (Family::Domains, "registrable domains"),
            (Family::Hits, "hits"),
            (Family::HitLog, "hits by number"),
        ];
        for (family, name) in names {
            let (there, counted) = (state.counts.of(family), meta.counts().of(family));
            if there != counted {
                self.note(&what, &format!("{there} {name} can be read, and {counted} were written"));
            }
        }
        if state.counts.of(Family::Hits) != state.counts.of(Family::HitLog) {
            self.note(&what, "hits and hits by number do not fit");
        }
        // What follows says something only of a run whose blocks are all there.
        if self.found.faults.len() as u64 + self.found.more_faults > faults_before {
            return Ok(());
        }
        if state.counts.lookup_keys != meta.counts().lookup_keys || state.bytes != meta.bytes {
            self.note(&what, "the manifest counts other keys or bytes than there are");
        }
        if state.sums.iter().any(|sum| *sum != 0) {
            self.name_differences(meta, pairs, &state.sums);
        }
        Ok(())
    }

    /// Names the rows and entries of the index that do not belong together.
    fn name_differences(&mut self, meta: &RunMeta, pairs: &dyn Pairs, sums: &[u128]) {
        let what = format!("the index of run {}", meta.id);
        let differing: HashSet<usize> =
            sums.iter().enumerate().filter(|(_, sum)| **sum != 0).map(|(at, _)| at).take(8).collect();
        // By the key of the index: the value of the row, and that of the entry.
        let mut compared: BTreeMap<Vec<u8>, [Option<Vec<u8>>; 2]> = BTreeMap::new();
        let mut collect = |family: Family| -> Result<(), StoreError> {
            let mut entry = Vec::new();
            for pair in with_prefix(pairs, &[family.byte()]) {
                let (key, sealed) = pair?;
                let mut rows = block::Reader::new(open_block(meta.id, &key, &sealed)?.rows);
                while rows.advance()? {
                    if !index_entry(family, rows.key(), &mut entry)? {
                        continue;
                    }
                    let (at, _) = place(&mut entry, rows.value());
                    if differing.contains(&at) && compared.len() < COMPARED {
                        let [row, indexed] = compared.entry(entry.clone()).or_default();
                        let slot = if family == Family::ByName { row } else { indexed };
                        *slot = Some(rows.value().to_vec());
                    }
                }
            }
            Ok(())
        };
        let collected = collect(Family::ByName).and_then(|()| collect(Family::ByRdata));
        self.take(collected);
        let mut named = false;
        for (entry, [row, indexed]) in compared.iter().filter(|(_, [row, indexed])| row != indexed) {
            let place = shown(Family::ByRdata, entry);
            let why = match (row, indexed) {
                (Some(_), None) => format!("a row with {place} has no entry"),
                (None, Some(_)) => format!("an entry for {place} has no row"),
                _ => format!("an entry for {place} says something else than its row"),
            };
            self.note(&what, &why);
            named = true;
        }
        if !named {
            self.note(&what, "it does not fit the rows");
        }
    }
}

/// Says of damage from where on it is.
fn at_place(error: StoreError, place: &str) -> StoreError {
    match error {
        StoreError::Damaged { what, why } => {
            StoreError::Damaged { what, why: format!("{why} (from {place} on)") }
        }
        other => other,
    }
}

/// What of a log's progress cannot be.
fn nonsense(progress: &Progress) -> Option<&'static str> {
    let offsets = || progress.marks.iter().map(|mark| mark.offset);
    if offsets().zip(offsets().skip(1)).any(|(a, b)| a >= b) {
        return Some("its marks are not in order");
    }
    if offsets().any(|offset| offset >= progress.consumed.offset) {
        return Some("a mark is behind what was read");
    }
    // Each line has at least the byte that ends it; the last one may have none.
    if progress.tally.lines() > progress.consumed.offset.saturating_add(1) {
        return Some("more lines are counted than were read");
    }
    None
}

#[cfg(test)]
mod tests;
