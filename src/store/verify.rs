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

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::acknowledged::Acknowledged;
use super::derived::Record;
use super::engine::{self, Engine, Pairs, with_prefix};
use super::filter::{self, Filter};
use super::key::{self, Family, Values};
use super::manifest::{Commits, Manifest, RunMeta};
use super::run::{Counts, Extents};
use super::stored::{check_format, open_block, open_journal_part, open_progress, progress_hash, read_filter};
use super::undo::Undone;
use super::{Identity, StoreError, block, budget, damaged, value};
use crate::base::keyed;
use crate::dns::{Name, Rdata, split_name_key, split_rdata_key};
use crate::observation::{Halves, Seen, SensorId};
use crate::progress::{LineageId, Progress};

/// Faults that are told one by one.
const TOLD: usize = 100;
/// Sums by which rows and index entries are compared.
const SUMS: usize = 4096;
/// Keys of the main map that there is one of.
const SINGLE_KEYS: [&[u8]; 6] =
    [engine::FORMAT, engine::IDENTITY, engine::COMMITS, engine::MANIFEST, engine::DOMAINS, engine::SURVEYED];
/// Rows that are held against each other to name those that differ.
const COMPARED: usize = 100_000;

//--- Verification ---------------------------------------------------------------------------------------------------

/// What was read of a ledger, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Sorted runs.
    pub runs: u64,
    /// Blocks of them.
    pub blocks: u64,
    /// Rows in runs. One that lies in several runs counts in each.
    pub rows: u64,
    /// Entries of the index by record data.
    pub index_entries: u64,
    /// Questions in runs.
    pub questions: u64,
    /// Registrable domains with their first sightings, likewise.
    #[serde(default)]
    pub domains: u64,
    /// Hits of indicators, likewise.
    #[serde(default)]
    pub hits: u64,
    /// Commits in the journal.
    pub journal_entries: u64,
    /// Rows and questions in the journal.
    pub journal_rows: u64,
    /// Logs of which there is progress.
    pub logs: u64,
    /// Sensors.
    pub sensors: u64,
    /// Runs that are no longer needed, or that a crash left behind: they do not count, and will be removed.
    pub unnamed_runs: u64,
    /// Logs of which more was acknowledged than there is. Each is a fault.
    #[serde(default)]
    pub missing_logs: u64,
    /// What is wrong, as far as it is told.
    pub faults: Vec<Fault>,
    /// Faults that are not told one by one.
    pub more_faults: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file or the part of the ledger.
    pub what: String,
    /// What was found there.
    pub why: String,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether something is wrong that is not made good for by reading logs again from where the ledger is.
    pub fn is_damaged(&self) -> bool {
        self.faults.len() as u64 + self.more_faults > self.missing_logs
    }

    /// Hits that rows, questions and indicators make, and that are not there.
    pub fn missing_hits(&mut self, missing: Vec<String>) {
        for why in missing {
            self.fault(&damaged("the hits", &why));
        }
    }

    /// A ledger of which nothing could be read.
    pub(crate) fn of_error(error: &StoreError) -> Verification {
        let mut found = Verification::default();
        found.fault(error);
        found
    }

    pub(crate) fn fault(&mut self, error: &StoreError) {
        if self.faults.len() >= TOLD {
            self.more_faults += 1;
            return;
        }
        let (what, why) = match error {
            StoreError::Damaged { what, why } => (what.clone(), why.clone()),
            StoreError::Io { what, error } => (what.clone(), error.to_string()),
            other => ("the ledger".to_owned(), other.to_string()),
        };
        self.faults.push(Fault { what, why });
    }
}

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
                Some(family) => key::after_prefix(family).unwrap_or_default(),
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

/// Whether a row can be read and makes sense.
pub(super) fn check_row(family: Family, key: &[u8], stored: &[u8], sensors: usize) -> Result<(), StoreError> {
    let bad = |why: &str| damaged(&format!("a row with {}", shown(family, key)), why);
    match key::split_sensor(key) {
        Some((_, SensorId(number))) if usize::from(number) < sensors => {}
        _ => return Err(bad("it has a sensor that nobody is")),
    }
    match family.values() {
        Values::Sightings => {
            key::tuple(family, key)?;
            let Halves { direct, alias } = value::halves(stored)?;
            let sound =
                |seen: &Seen| seen.is_none() || (seen.time_first <= seen.time_last && seen.days & 1 == 1);
            if (direct.is_none() && alias.is_none()) || !sound(&direct) || !sound(&alias) {
                return Err(bad("its sightings make no sense"));
            }
        }
        Values::Questions => {
            key::question(key)?;
            let asked = value::asked(stored)?;
            if asked.count() == 0 || asked.time_first > asked.time_last {
                return Err(bad("its counts make no sense"));
            }
        }
        Values::Hit => {
            let value = value::hit(stored)?;
            let own = if family == Family::HitLog { key::hit_of_log(key) } else { Some(key) };
            let fits = family != Family::HitLog || key.starts_with(&value.sequence.to_be_bytes());
            if own.and_then(key::hit).is_none() || value.sequence == 0 || !fits {
                return Err(bad("its number makes no sense"));
            }
        }
        Values::FirstSeen => {
            let name = key::domain(key).and_then(|name| Name::from_key(name).ok());
            if name.is_none() || !value::first_seen(stored)?.is_sound() {
                return Err(bad("its times make no sense"));
            }
        }
    }
    Ok(())
}

/// The key of the index under which a row is found, if it is; of an entry of the index, its own.
fn index_entry(family: Family, key: &[u8], entry: &mut Vec<u8>) -> Result<bool, StoreError> {
    entry.clear();
    match family {
        Family::ByRdata => entry.extend_from_slice(key),
        Family::ByName => match key::indexed_rdata(key)? {
            Some(rdata) => key::push_by_rdata(key, rdata, entry)?,
            None => return Ok(false),
        },
        Family::Questions | Family::Domains | Family::Hits | Family::HitLog => return Ok(false),
    }
    Ok(true)
}

/// Which sum an entry with its value belongs to, and its hash. `entry` is as it was when this returns.
fn place(entry: &mut Vec<u8>, stored: &[u8]) -> (usize, u128) {
    let length = entry.len();
    entry.extend_from_slice(stored);
    entry.extend_from_slice(&(length as u32).to_be_bytes());
    let hash = xxh3_128(entry);
    entry.truncate(length);
    // The sum is chosen by the key alone, so that a row and an entry that differ in their values meet.
    (keyed::hash(entry) as usize % SUMS, hash)
}

/// A key, or the first bytes of one, for people.
pub(crate) fn shown(family: Family, key: &[u8]) -> String {
    let text = match family {
        Family::ByRdata => split_rdata_key(key)
            .and_then(|(rdata, _)| Rdata::split_key(rdata).ok())
            .map(|(rdata, _)| format!("the data {rdata}")),
        Family::ByName | Family::Questions => split_name_key(key)
            .and_then(|(name, _)| Name::from_key(name).ok())
            .map(|name| format!("the name {name}")),
        Family::Hits | Family::HitLog => {
            let key = if family == Family::HitLog { key::hit_of_log(key) } else { Some(key) };
            key.and_then(key::hit).map(|hit| format!("the hit of {}", hit.rrname))
        }
        Family::Domains => key::domain(key)
            .and_then(|name| Name::from_key(name).ok())
            .map(|name| format!("the domain {name}")),
    };
    match text {
        Some(text) => text,
        None if key.is_empty() => "the first key".to_owned(),
        None => format!("the key \"{}\"", key.escape_ascii()),
    }
}

//--- RunState -------------------------------------------------------------------------------------------------------

/// Which block must come next.
enum Expected {
    /// The one with this bound.
    Bound(Bytes),
    /// None of this family.
    None,
    /// That cannot be told: the one before could not be read.
    Unknown,
}

/// How far a run is read.
struct RunState {
    run: u32,
    filter: Option<Filter>,
    sensors: usize,
    family: Option<Family>,
    expected: Expected,
    /// The last key, and its lookup part.
    last: Vec<u8>,
    part: Vec<u8>,
    counts: Counts,
    /// What the manifest says of its keys.
    extents: Extents,
    bytes: u64,
    /// Hashes of rows, added, and of entries of the index, subtracted.
    sums: Vec<u128>,
    entry: Vec<u8>,
}

impl RunState {
    fn new(meta: &RunMeta, filter: Option<Filter>, sensors: usize) -> RunState {
        RunState {
            run: meta.id,
            filter,
            sensors,
            family: None,
            expected: Expected::None,
            last: Vec::new(),
            part: Vec::new(),
            counts: Counts::default(),
            extents: meta.contents.extents.clone(),
            bytes: 0,
            sums: vec![0; SUMS],
            entry: Vec::new(),
        }
    }

    /// Comes to a block.
    fn enter(&mut self, family: Family, bound: &[u8], found: &mut Verification) {
        if self.family != Some(family) {
            self.leave(found);
            self.family = Some(family);
            self.expected = Expected::Bound(Bytes::new());
            self.last.clear();
            self.part.clear();
        }
        let what = format!("run {}", self.run);
        match &self.expected {
            Expected::Bound(expected) if **expected == *bound => {}
            Expected::Bound(expected) => {
                let why = format!("the block from {} on is missing", shown(family, expected));
                found.fault(&damaged(&what, &why));
            }
            Expected::None => {
                let why = format!("the block from {} on belongs to no other", shown(family, bound));
                found.fault(&damaged(&what, &why));
            }
            Expected::Unknown => {}
        }
    }

    /// Reads the rows of a block; how many they are.
    fn block(&mut self, family: Family, bound: &[u8], block: super::run::Block) -> Result<u64, StoreError> {
        let what = || format!("a block of run {}", self.run);
        let mut count = 0;
        let mut rows = block::Reader::new(block.rows);
        while rows.advance()? {
            let key = rows.key();
            if key < bound || (count + self.last.len() > 0 && key <= self.last.as_slice()) {
                return Err(damaged(&what(), "its rows are not in order"));
            }
            check_row(family, key, rows.value(), self.sensors)?;
            if self.extents.of(family).as_ref().is_some_and(|extent| !extent.holds(key)) {
                let why = format!("the manifest says that it does not hold {}", shown(family, key));
                return Err(damaged(&format!("run {}", self.run), &why));
            }
            if self.part.is_empty() || !key.starts_with(&self.part) {
                let part = family.lookup_part(key).ok_or_else(|| key::bad_key(family))?;
                if self
                    .filter
                    .as_ref()
                    .is_some_and(|filter| !filter.may_hold(filter::hash(filter.seed(), part)))
                {
                    let why = format!("it does not hold {}", shown(family, key));
                    return Err(damaged(&format!("the filter of run {}", self.run), &why));
                }
                self.part.clear();
                self.part.extend_from_slice(part);
                self.counts.lookup_keys += 1;
            }
            if index_entry(family, key, &mut self.entry)? {
                let (at, hash) = place(&mut self.entry, rows.value());
                if let Some(sum) = self.sums.get_mut(at) {
                    *sum = match family {
                        Family::ByName => sum.wrapping_add(hash),
                        _ => sum.wrapping_sub(hash),
                    };
                }
            }
            *self.counts.slot(family) += 1;
            self.last.clear();
            self.last.extend_from_slice(key);
            count += 1;
        }
        if block.next.as_deref().is_some_and(|next| next <= self.last.as_slice()) {
            return Err(damaged(&what(), "the next one begins before its end"));
        }
        self.expected = block.next.map_or(Expected::None, Expected::Bound);
        Ok(count as u64)
    }

    /// Comes to the end of a family.
    fn leave(&mut self, found: &mut Verification) {
        if let (Some(family), Expected::Bound(bound)) = (self.family, &self.expected) {
            let why = format!("the block from {} on is missing", shown(family, bound));
            found.fault(&damaged(&format!("run {}", self.run), &why));
        }
        self.expected = Expected::None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pair;
    use super::super::ReadStore;
    use super::*;
    use crate::store::tests::crash::{Map, above, at_most, filled_ledger};

    impl Pairs for Map {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(Map::get(self, key).cloned())
        }

        fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
            Ok(at_most(self, key))
        }

        fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
            Ok(above(self, key))
        }
    }

    /// What is stored of a ledger.
    #[derive(Clone)]
    struct Maps {
        main: Map,
        runs: BTreeMap<u32, Map>,
    }

    /// A ledger with several runs and a journal, closed.
    fn ledger() -> Maps {
        let (site, ledger) = filled_ledger();
        let open = ledger.verify(&mut |_, _| true).unwrap();
        drop(ledger);
        let (main, mut runs) = site.maps();
        // Merged runs that were not removed yet would be at the next opening.
        let manifest = Manifest::from_bytes(main.get(engine::MANIFEST).cloned()).unwrap();
        runs.retain(|id, _| manifest.runs.iter().any(|run| run.id == *id));
        let maps = Maps { main, runs };
        // The same is said of a ledger that is open.
        let closed = verified(&maps);
        assert_eq!(
            (open.is_sound(), open.rows + open.journal_rows),
            (true, closed.rows + closed.journal_rows)
        );
        maps
    }

    fn verified(maps: &Maps) -> Verification {
        let mut go_on = |_, _| true;
        let mut checker = Checker::new(&mut go_on);
        for meta in checker.main(&maps.main, Ok(maps.runs.keys().copied().collect())) {
            checker.run(&meta, &maps.runs[&meta.id]).unwrap();
        }
        checker.end()
    }

    /// Every place where something is stored: of the main map, or of a run.
    fn places(maps: &Maps) -> Vec<(Option<u32>, Vec<u8>)> {
        let main = maps.main.keys().map(|key| (None, key.clone()));
        let runs = maps.runs.iter().flat_map(|(id, map)| map.keys().map(|key| (Some(*id), key.clone())));
        main.chain(runs).filter(|(run, key)| run.is_some() || !key.starts_with(engine::CACHE)).collect()
    }

    fn edit(maps: &mut Maps, run: Option<u32>, edit: impl FnOnce(&mut Map)) {
        match run {
            Some(id) => edit(maps.runs.get_mut(&id).unwrap()),
            None => edit(&mut maps.main),
        }
    }

    #[test]
    fn a_sound_ledger_is_said_to_be_sound_and_counted() {
        let engine = ledger();
        let found = verified(&engine);
        assert_eq!((found.is_sound(), &found.faults), (true, &Vec::new()));
        let Verification { runs, blocks, rows, index_entries, questions, .. } = found;
        assert!(runs >= 2 && blocks >= 6 && rows > 40 && index_entries == rows && questions > 0, "{found:?}");
        let Verification { journal_entries, journal_rows, logs, sensors, unnamed_runs, .. } = found;
        assert!(journal_entries > 0 && journal_rows > 0, "{found:?}");
        assert_eq!((logs, sensors, unnamed_runs), (1, 2, 0));
    }

    #[test]
    fn it_can_be_ended() {
        let maps = ledger();
        let mut stop = |_, _| false;
        let mut checker = Checker::new(&mut stop);
        let runs = checker.main(&maps.main, Ok(maps.runs.keys().copied().collect()));
        let ended = checker.run(&runs[0], &maps.runs[&runs[0].id]);
        assert!(matches!(ended, Err(StoreError::Closed)));
    }

    #[test]
    fn whatever_is_removed_is_missed() {
        let engine = ledger();
        // Without the record of first sightings these are made anew, and without an identity it gets another one.
        let is_made_anew = |key: &[u8]| [engine::DOMAINS, engine::IDENTITY, engine::SURVEYED].contains(&key);
        let places = places(&engine).into_iter().filter(|(_, key)| !is_made_anew(key));
        for (run, key) in places {
            let mut damaged = engine.clone();
            edit(&mut damaged, run, |map| drop(map.remove(&key).unwrap()));
            assert!(!verified(&damaged).is_sound(), "run {run:?}, {}", key.escape_ascii());
        }
        let runs: Vec<u32> = engine.runs.keys().copied().collect();
        for id in runs {
            let mut damaged = engine.clone();
            damaged.runs.remove(&id);
            assert!(!verified(&damaged).is_sound(), "run {id}");
        }
    }

    #[test]
    fn whatever_is_changed_or_added_is_found() {
        let engine = ledger();
        for (run, key) in places(&engine) {
            let mut damaged = engine.clone();
            edit(&mut damaged, run, |map| *map.get_mut(&key).unwrap().last_mut().unwrap() ^= 1);
            assert!(!verified(&damaged).is_sound(), "run {run:?}, {} changed", key.escape_ascii());
            let mut damaged = engine.clone();
            edit(&mut damaged, run, |map| {
                let value = map.get(&key).unwrap().clone();
                map.insert([&key, b"\0".as_slice()].concat(), value);
            });
            assert!(!verified(&damaged).is_sound(), "run {run:?}, {} twice", key.escape_ascii());
        }
    }

    /// Changes the rows of the first block of a family of the first run, and seals it again.
    fn reseal(maps: &mut Maps, family: Family, change: impl FnOnce(&mut Vec<Pair>)) {
        let id = *maps.runs.keys().next().unwrap();
        edit(maps, Some(id), |map| {
            let (key, sealed) = map.iter().find(|(key, _)| key[0] == family.byte()).unwrap();
            let (key, block) = (key.clone(), open_block(id, key, sealed).unwrap());
            assert!(block.next.is_none());
            let mut rows = Vec::new();
            let mut reader = block::Reader::new(block.rows);
            while reader.advance().unwrap() {
                rows.push((reader.key().to_vec(), reader.value().to_vec()));
            }
            change(&mut rows);
            let mut builder = block::Builder::default();
            rows.iter().for_each(|(key, value)| builder.push(key, value));
            let sealed = block::seal(&key, &[&[0], builder.raw()].concat());
            map.insert(key, sealed);
        });
    }

    #[test]
    fn an_index_that_does_not_fit_its_rows_is_found_and_named() {
        let whole = ledger();
        let faults = |family, change: fn(&mut Vec<Pair>)| {
            let mut engine = whole.clone();
            reseal(&mut engine, family, change);
            verified(&engine).faults.into_iter().map(|f| format!("{}: {}", f.what, f.why)).collect::<String>()
        };
        let swapped = |rows: &mut Vec<Pair>| {
            let other = rows.iter().position(|row| row.1.len() == rows[0].1.len() && row.1 != rows[0].1);
            rows[0].1 = rows[other.unwrap()].1.clone();
        };
        let found = faults(Family::ByRdata, swapped);
        assert!(found.contains("says something else than its row"), "{found}");
        let found = faults(Family::ByName, swapped);
        assert!(found.contains("says something else than its row"), "{found}");
        let found = faults(Family::ByRdata, |rows| drop(rows.pop()));
        assert!(found.contains("index entries can be read, and"), "{found}");
        let found = faults(Family::ByName, |rows| rows.swap(0, 1));
        assert!(found.contains("rows are not in order"), "{found}");
        let found = faults(Family::ByName, |rows| rows[0].0[0] = 0xff);
        assert!(!found.is_empty());
    }
}
