//! From what is asked to the lines: which logs may hold some, in which order they are read, and whether all were found.
//!
//! Lines are handed out by their time, over all logs. A log is read as a whole, since its lines are only about in order; what
//! was found waits until no log that is still to be read can hold an earlier one. What waits has a bound: beyond it the
//! lines that would come last are given up, and the logs are read once more for them when the others are handed out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::asked::{Ask, AskedRows, Log, LogState, may_have_grown};
use super::keys::Probes;
use super::line::{Answer, Compared, Ended, LogFault, LogLine, Missing, Raw};
use super::log_filters::LogFilters;
use super::needle::Needle;
use super::places::{Beginnings, Index, source_of};
use super::read::{At, Came, LogMatch, ReadRules, WantedLog, read};
use crate::base::time::format_utc;
use crate::ingest::{Config, LogPair, PairSide, SourceConfig, zeek_folder};
use crate::progress::LineageId;
use crate::status::shown_path;
use crate::store::{ReadStore, StoreError};
use crate::tail::decode::{Decoder, Packing};
use crate::tally::Skip;
use crate::zeek::LogRecord;

/// Bytes of lines that wait.
const HELD_BYTES: usize = 64 << 20;
/// Missing logs that are named.
const MOST_MISSING: usize = 100;

/// Who takes the lines.
pub trait Visit {
    /// Takes a line; `false` when no more are wanted.
    fn line(&mut self, line: LogLine) -> bool;

    /// Is told now and then how many of how many logs are read; `false` when no more is wanted.
    fn progress(&mut self, _logs: u64, _of: u64) -> bool {
        true
    }
}

/// Where logs are looked for, and how they are read.
pub struct Evidence<'a> {
    /// The ledger.
    pub ledger: &'a dyn ReadStore,
    /// How its logs are read, and where they are.
    pub config: &'a Config,
    /// Where logs may lie beside the sources.
    pub also: &'a [PathBuf],
    /// What says of logs that they need not be read.
    pub filters: &'a LogFilters,
    /// With which logs files begin, as far as that is known.
    pub beginnings: &'a Beginnings,
}

impl Evidence<'_> {
    /// Finds the lines. `commit` commits what was read and is not yet committed, where there is a daemon.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read. A log that cannot be is named in the answer.
    pub fn find(
        &self,
        ask: &Ask,
        commit: &dyn Fn() -> Result<(), StoreError>,
        visit: &mut dyn Visit,
    ) -> Result<Answer, StoreError> {
        // What was committed before is in the moment that is looked at, and all of that is committed afterwards.
        let before: HashMap<LineageId, u64> =
            self.ledger.lineages()?.iter().map(|log| (log.lineage, log.consumed.offset)).collect();
        let now = self.ledger.now();
        commit()?;
        let logs = self.ledger.lineages()?;
        let asked = AskedRows::of(ask, &*now, &logs)?;
        let candidates = asked.candidates(ask, logs, &before);
        let mut finding = Finding::new(self, ask, asked, candidates);
        finding.run(visit);
        let mut answer = finding.answer();
        let expired_before = now.expired_before();
        if answer.lines == 0 && expired_before > 0 {
            answer.notes.push(format!(
                "Nothing is kept of what was last seen before {} UTC, so it is not known which logs hold that.",
                format_utc(expired_before)
            ));
        }
        Ok(answer)
    }
}

//--- finding --------------------------------------------------------------------------------------------------------

/// The place of a line in the answer.
type LineOrder = (u64, usize, u64);

/// A line that was found.
struct FoundLine {
    line: LogLine,
    header: Option<Arc<[u8]>>,
    /// The rows and questions that it was counted in.
    of: Vec<usize>,
    /// Whether that was certainly so.
    before: bool,
    /// Bytes of its log up to it.
    end: u64,
    /// What it is known by in another log that tells the same events.
    paired: Option<(usize, PairSide, u64)>,
}

/// Lines that wait, in the order of the answer, and the first place at which some were given up.
struct Held {
    hits: BTreeMap<LineOrder, FoundLine>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    floor: Option<LineOrder>,
}

/// Bytes of lines that wait. A test (feature `test-hooks`) may want them to be few.
fn held_bytes() -> usize {
    let few = cfg!(feature = "test-hooks").then(|| std::env::var("DNSLEDGER_TEST_HELD_BYTES").ok()).flatten();
    few.and_then(|few| few.parse().ok()).unwrap_or(HELD_BYTES)
}

impl Held {
    fn new(most: usize) -> Held {
        Held { hits: BTreeMap::new(), bytes: 0, most, most_bytes: held_bytes(), floor: None }
    }

    fn put(&mut self, place: LineOrder, hit: FoundLine) {
        if self.floor.is_some_and(|floor| place >= floor) {
            return;
        }
        self.bytes += hit.line.bytes();
        self.hits.insert(place, hit);
        while self.hits.len() > 1 && (self.bytes > self.most_bytes || self.hits.len() > self.most) {
            let Some((last, hit)) = self.hits.pop_last() else { break };
            self.bytes = self.bytes.saturating_sub(hit.line.bytes());
            self.floor = Some(last);
        }
    }

    fn take(&mut self, other: Held) {
        if let Some(floor) = other.floor {
            self.floor = Some(self.floor.map_or(floor, |own| own.min(floor)));
            for (_, hit) in self.hits.split_off(&floor) {
                self.bytes = self.bytes.saturating_sub(hit.line.bytes());
            }
        }
        for (place, hit) in other.hits {
            self.put(place, hit);
        }
    }

    /// The first line, if it comes before any that is still to be found.
    fn pop_before(&mut self, bound: Option<u64>) -> Option<(LineOrder, FoundLine)> {
        let first = self.hits.first_entry()?;
        if bound.is_some_and(|bound| first.key().0 >= bound) {
            return None;
        }
        let (place, hit) = first.remove_entry();
        self.bytes = self.bytes.saturating_sub(hit.line.bytes());
        Some((place, hit))
    }
}

struct Finding<'a> {
    evidence: &'a Evidence<'a>,
    ask: &'a Ask,
    asked: AskedRows,
    logs: Vec<Log>,
    by_lineage: HashMap<LineageId, usize>,
    index: Option<Index>,
    /// Paths that were read in this round.
    tried: HashSet<PathBuf>,
    /// Paths that hold something else than they did, by the logs that are gone from there.
    moved: HashMap<PathBuf, PathBuf>,
    /// Paths that cannot be read, and why.
    unreadable: HashMap<PathBuf, String>,
    held: Held,
    /// The last line that was handed out.
    after: Option<LineOrder>,
    lines: u64,
    ended: Ended,
    pairs: Vec<LogPair>,
    pair_of: HashMap<PathBuf, usize>,
    default_source: SourceConfig,
    header: Option<Arc<[u8]>>,
    logs_read: u64,
    /// What a log must hold to be read; none where that cannot be told.
    probes: Option<Probes>,
    needle: Needle,
    passed_over: u64,
}

impl<'a> Finding<'a> {
    fn new(evidence: &'a Evidence<'a>, ask: &'a Ask, asked: AskedRows, mut logs: Vec<Log>) -> Finding<'a> {
        logs.sort_by(|a, b| {
            (a.bound, &a.progress.path, a.progress.lineage).cmp(&(
                b.bound,
                &b.progress.path,
                b.progress.lineage,
            ))
        });
        let by_lineage = logs.iter().enumerate().map(|(at, log)| (log.progress.lineage, at)).collect();
        // Of one Zeek two logs may tell the same events: the plain one and the streaming one.
        let mut sides: HashMap<PathBuf, (bool, bool)> = HashMap::new();
        for log in &logs {
            let sides = sides.entry(zeek_folder(&log.progress.path)).or_default();
            match PairSide::of(&log.progress.path) {
                PairSide::Plain => sides.0 = true,
                PairSide::Streaming => sides.1 = true,
            }
        }
        let both = sides.into_iter().filter(|(_, sides)| *sides == (true, true)).map(|(folder, _)| folder);
        let pair_of: HashMap<PathBuf, usize> = both.enumerate().map(|(at, folder)| (folder, at)).collect();
        let probes = Probes::of(asked.test.scans(), &asked.rdata);
        Finding {
            evidence,
            ask,
            asked,
            by_lineage,
            index: None,
            tried: HashSet::new(),
            moved: HashMap::new(),
            unreadable: HashMap::new(),
            held: Held::new(usize::MAX),
            after: None,
            lines: 0,
            ended: Ended::Complete,
            pairs: pair_of.iter().map(|_| LogPair::default()).collect(),
            pair_of,
            default_source: SourceConfig::default(),
            header: None,
            logs_read: 0,
            probes,
            needle: Needle::of(&ask.search.query),
            passed_over: 0,
            logs,
        }
    }

    fn most(&self) -> usize {
        let left = self.ask.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.lines));
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Reads logs and hands out lines until all are, or somebody has had enough.
    fn run(&mut self, visit: &mut dyn Visit) {
        loop {
            self.held = Held::new(self.most());
            self.tried.clear();
            for at in 0..self.logs.len() {
                let Some(log) = self.logs.get(at) else { break };
                if matches!(log.state, LogState::Read | LogState::Denied | LogState::Missing(..)) {
                    continue;
                }
                if self.held.floor.is_some_and(|(floor, ..)| log.bound >= floor) {
                    break; // it holds only what comes later
                }
                if self.is_passed_over(at) {
                    continue;
                }
                if !visit.progress(at as u64, self.logs.len() as u64) {
                    self.ended = Ended::Stopped;
                } else {
                    self.settle(at, visit);
                }
                if self.ended != Ended::Complete {
                    break;
                }
                let unread = self.logs.iter().skip(at + 1);
                let bound = unread
                    .filter(|log| matches!(log.state, LogState::Unread | LogState::At(_)))
                    .map(|log| log.bound)
                    .min();
                self.hand_out(bound, visit);
                if self.ended != Ended::Complete {
                    break;
                }
            }
            if !matches!(self.ended, Ended::Complete | Ended::Time) {
                return;
            }
            self.hand_out(None, visit);
            if self.held.floor.is_none() || self.ended != Ended::Complete {
                return;
            }
            for log in &mut self.logs {
                if log.state == LogState::Read {
                    log.state = LogState::At(log.progress.path.clone());
                }
            }
        }
    }

    /// Whether a log holds nothing of what is looked for, by its filter.
    fn is_passed_over(&mut self, at: usize) -> bool {
        let (Some(probes), Some(log)) = (&self.probes, self.logs.get_mut(at)) else { return false };
        let may_hold = log.state != LogState::Unread
            || !log.progress.complete
            || may_have_grown(&log.progress)
            || self.evidence.filters.may_hold(&log.progress, probes);
        if !may_hold {
            log.state = LogState::Denied;
            self.passed_over += 1;
        }
        !may_hold
    }

    /// Hands out what waits, as far as nothing that is still to be read can come before it.
    fn hand_out(&mut self, bound: Option<u64>, visit: &mut dyn Visit) {
        while self.ask.limit.is_none_or(|limit| self.lines < limit) {
            let Some((place, hit)) = self.held.pop_before(bound) else { return };
            self.after = Some(place);
            let told = hit.paired.is_some_and(|(pair, side, key)| {
                self.pairs.get_mut(pair).is_some_and(|pair| pair.tell_key(side, key))
            });
            if told {
                continue;
            }
            for at in &hit.of {
                if let Some(counted) = self.asked.counted.get_mut(*at) {
                    counted.found += 1;
                    counted.found_before += u64::from(hit.before);
                }
            }
            let mut line = hit.line;
            if let Some(header) = hit.header
                && self.header.as_ref().is_none_or(|known| !reads_alike(known, &header))
            {
                line.header = Some(Raw(Arc::clone(&header)));
                self.header = Some(header);
            }
            self.lines += 1;
            if !visit.line(line) {
                self.ended = Ended::Stopped;
                return;
            }
        }
        if bound.is_some() || !self.held.hits.is_empty() || self.held.floor.is_some() {
            self.ended = Ended::Limit;
        }
    }

    /// Reads a log, wherever it is, or finds out why not.
    fn settle(&mut self, at: usize, visit: &mut dyn Visit) {
        let Some(log) = self.logs.get(at) else { return };
        let (lineage, own) = (log.progress.lineage, log.progress.path.clone());
        let first = match &log.state {
            LogState::At(path) => path.clone(),
            _ => own.clone(),
        };
        let mut partial: Option<(Held, LogFault, String, PathBuf)> = None;
        let mut fault = (LogFault::Gone, String::new());
        let mut paths = vec![first];
        let mut looked = false;
        while let Some(path) = paths.pop() {
            if self.ended != Ended::Complete {
                return;
            }
            if self.tried.contains(&path) {
                // It is not in there, or it would be settled; unless it is a part.
            } else {
                match self.read_file(&path, at, visit) {
                    Ok(None) => {}
                    Ok(Some((held, of))) => match of {
                        None => {
                            self.held.take(held);
                            self.done(at, &path);
                            return;
                        }
                        Some((fault, why)) => {
                            if partial.as_ref().is_none_or(|(best, ..)| best.hits.len() <= held.hits.len()) {
                                partial = Some((held, fault, why, path.clone()));
                            }
                        }
                    },
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    }
                    Err(error) => _ = self.unreadable.insert(path.clone(), error.to_string()),
                }
            }
            if self.logs.get(at).is_some_and(|log| log.state == LogState::Read) {
                return;
            }
            if paths.is_empty() && !std::mem::replace(&mut looked, true) {
                if let Some(why) = self.unreadable.get(&own) {
                    fault = (LogFault::Unreadable, why.clone());
                } else if self.tried.contains(&own) && own.exists() {
                    fault.0 = LogFault::Replaced;
                }
                paths.extend(self.moved.get(&own).cloned());
                paths.extend(self.index(visit).files(&lineage).iter().rev().cloned());
                paths.retain(|path| !self.tried.contains(path));
            }
        }
        if let Some((held, fault, why, path)) = partial {
            self.held.take(held);
            self.logs_read += 1;
            if let Some(log) = self.logs.get_mut(at) {
                log.progress.path = path;
                log.state = LogState::Missing(fault, why);
            }
        } else if let Some(log) = self.logs.get_mut(at) {
            log.state = LogState::Missing(fault.0, fault.1);
        }
    }

    fn done(&mut self, at: usize, path: &std::path::Path) {
        self.logs_read += 1;
        if let Some(log) = self.logs.get_mut(at) {
            if log.progress.path != path {
                self.moved.insert(log.progress.path.clone(), path.to_owned());
                log.progress.path = path.to_owned();
            }
            log.state = LogState::Read;
        }
    }

    /// The files of the sources; they are looked through once.
    fn index(&mut self, visit: &mut dyn Visit) -> &Index {
        if self.index.is_none() {
            let Evidence { config, also, beginnings, .. } = self.evidence;
            let mut folders: Vec<PathBuf> = (self.logs.iter())
                .filter(|log| log.progress.path.is_absolute())
                .filter_map(|log| log.progress.path.parent().map(PathBuf::from))
                .collect();
            folders.sort();
            folders.dedup();
            let (until, of) = (self.ask.until, self.logs.len() as u64);
            let mut go_on = || until.is_none_or(|until| Instant::now() < until) && visit.progress(0, of);
            self.index = Some(Index::make(config, also, &folders, beginnings, &mut go_on));
        }
        self.index.get_or_insert_with(Index::default)
    }

    /// Reads a file. What it holds of the log that is looked for is given back, with what is wrong about it; other logs in it
    /// that are wanted and whole are settled.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn read_file(
        &mut self,
        path: &std::path::Path,
        looked_for: usize,
        visit: &mut dyn Visit,
    ) -> io::Result<Option<(Held, Option<(LogFault, String)>)>> {
        self.tried.insert(path.to_owned());
        let decoder = Decoder::open(path)?;
        if let Packing::Unsupported(ending) = decoder.packing() {
            return Err(io::Error::other(Packing::refusal(ending)));
        }
        let Finding {
            logs,
            by_lineage,
            asked,
            ask,
            after,
            pair_of,
            default_source,
            evidence,
            held,
            needle,
            ..
        } = &mut *self;
        let (config, most) = (evidence.config, held.most);
        let sensor = logs.get(looked_for).map(|log| log.progress.sensor.as_str()).unwrap_or_default();
        let source = source_of(config, path, sensor).unwrap_or(default_source);
        let how = ReadRules {
            zeek: &source.zeek,
            observe: &config.observe,
            max_line_bytes: config.max_line_bytes,
            needle,
        };
        let logs: &[Log] = logs;
        let want = |id: &LineageId| {
            let index = *by_lineage.get(id)?;
            let log =
                logs.get(index).filter(|log| matches!(log.state, LogState::Unread | LogState::At(_)))?;
            Some(WantedLog { index, progress: &log.progress, sensor: log.sensor })
        };
        let mut found: HashMap<usize, Held> = HashMap::new();
        let (mut record, mut shown, mut of) = (LogRecord::with_client(), Vec::new(), Vec::new());
        let name = shown_path(path);
        let side = PairSide::of(path);
        let pair = pair_of.get(&zeek_folder(path)).copied();
        let mut each = |at: At<'_>| {
            if !asked.wants(&at.meaning.observations, &mut shown, &mut of) {
                return;
            }
            let Some(log) = logs.get(at.index) else { return };
            let micros = at.meaning.record.ts_micros();
            let place = match ask.oldest_first {
                true => (micros, at.index, at.number),
                false => (u64::MAX - micros, at.index, u64::MAX - at.number),
            };
            if after.is_some_and(|after| place <= after) {
                return;
            }
            // Once more, now with who asked.
            at.meaning.reader.read(at.raw, &mut record);
            let mut line = LogLine::of(&record);
            line.sensor.clone_from(&log.progress.sensor);
            line.log.clone_from(&name);
            line.line = at.number;
            line.raw = ask.raw.then(|| Raw(at.raw.into()));
            let hit = FoundLine {
                line,
                header: at.header.filter(|_| ask.raw),
                of: of.clone(),
                before: at.end <= log.before,
                end: at.end,
                paired: pair.map(|pair| (pair, side, LogPair::key(&record))),
            };
            found.entry(at.index).or_insert_with(|| Held::new(most)).put(place, hit);
        };
        let (until, done, all) = (ask.until, looked_for as u64, logs.len() as u64);
        let mut late = false;
        let mut go_on = || {
            late = until.is_some_and(|until| Instant::now() >= until);
            !late && visit.progress(done, all)
        };
        let Came { found: met, damage, stopped } = read(decoder, how, &want, &mut each, &mut go_on)?;
        if stopped {
            self.ended = if late { Ended::Time } else { Ended::Stopped };
        }
        let mut own = None;
        for (index, met) in met {
            let mut held = found.remove(&index).unwrap_or_else(|| Held::new(most));
            let wrong = match met {
                LogMatch::Whole => None,
                LogMatch::Cut(_) if stopped => None,
                LogMatch::Cut(bytes) => {
                    let of = self.logs.get(index).map_or(0, |log| log.progress.consumed.offset);
                    Some(match &damage {
                        Some(why) => (LogFault::Damaged, why.clone()),
                        None => (LogFault::Cut, format!("{bytes} of {of} bytes are there")),
                    })
                }
                LogMatch::Changed(proven) => {
                    held.hits.retain(|_, hit| hit.end <= proven);
                    held.bytes = held.hits.values().map(|hit| hit.line.bytes()).sum();
                    Some((LogFault::Changed, format!("from byte {proven} on, at the latest")))
                }
            };
            match (index == looked_for, wrong) {
                (true, wrong) => own = Some((held, wrong)),
                (false, None) => {
                    self.held.take(held);
                    self.done(index, path);
                }
                // It is looked for when its turn comes; the file is read for it once more.
                (false, Some(_)) => _ = self.tried.remove(path),
            }
        }
        Ok(own)
    }

    /// How it all ended.
    fn answer(self) -> Answer {
        let AskedRows { counted, uncompared, notes, .. } = self.asked;
        let mut answer = Answer {
            lines: self.lines,
            ended: self.ended,
            notes,
            logs: self.logs.len() as u64,
            logs_read: self.logs_read,
            logs_passed_over: self.passed_over,
            ..Answer::default()
        };
        if uncompared.is_none() && self.ended == Ended::Complete {
            let (mut sightings, mut questions) = (Compared::default(), Compared::default());
            for row in &counted {
                let sum = if row.is_question { &mut questions } else { &mut sightings };
                sum.counted = sum.counted.saturating_add(row.counted);
                sum.found = sum.found.saturating_add(row.found);
                sum.missing = sum.missing.saturating_add(row.counted.saturating_sub(row.found));
                sum.more = sum.more.saturating_add(row.found_before.saturating_sub(row.counted));
            }
            let more = sightings.more.max(questions.more);
            if more > 0 {
                answer.notes.push(format!(
                    "{more} more were found than were counted: older sightings were dropped by retention, or other options \
                     were in force when the logs were read."
                ));
            }
            answer.sightings = Some(sightings);
            answer.questions = self.asked.questions.is_some().then_some(questions);
        }
        let lacks = |compared: Option<Compared>| compared.is_none_or(|compared| compared.missing > 0);
        let adds_up = answer.sightings.is_some()
            && !lacks(answer.sightings)
            && answer.questions.is_none_or(|q| q.missing == 0);
        if !adds_up {
            for log in &self.logs {
                let LogState::Missing(fault, why) = &log.state else { continue };
                answer.missing_logs += 1;
                if answer.missing.len() < MOST_MISSING {
                    let (time_first, time_last) = log.progress.times();
                    answer.missing.push(Missing {
                        log: shown_path(&log.progress.path),
                        fault: *fault,
                        why: why.clone(),
                        sensor: log.progress.sensor.clone(),
                        lines: log.progress.tally.counted + log.progress.tally.skipped(Skip::NoAnswer),
                        time_first,
                        time_last,
                    });
                }
            }
        }
        answer.complete = match self.ended {
            Ended::Complete if answer.sightings.is_some() => adds_up,
            Ended::Complete | Ended::Limit => answer.missing_logs == 0,
            Ended::Time | Ended::Stopped => false,
        };
        answer
    }
}

/// Whether lines behind one header are read by the other in the same way: when they were begun does not matter.
fn reads_alike(a: &[u8], b: &[u8]) -> bool {
    let matters = |line: &&[u8]| !line.starts_with(b"#open") && !line.starts_with(b"#close");
    let lines = |header: &'_ [u8]| -> Vec<Vec<u8>> {
        header.split(|&byte| byte == b'\n').filter(matters).map(<[u8]>::to_vec).collect()
    };
    a == b || lines(a) == lines(b)
}
