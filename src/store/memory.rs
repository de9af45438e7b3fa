//! The ledger in ordered maps: the oracle of the store's test suite, and what tests above the store run on.
//!
//! It is written to be obviously right, not fast: a snapshot copies everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::budget::Ages;
use super::{
    Changed, DomainSeen, Domains, Entries, Entry, Expired, Folded, Identity, Mark, NameBudget, OnPiece,
    OnProgress, Pair, Position, Question, Questions, ReadStore, Reduce, Reduced, Scan, Snapshot, Stats,
    StoreError, Survey, Verification, WriteStore, budget, damaged,
};
use crate::dns::{Name, RrType, registrable};
use crate::observation::{Asked, FirstSeen, Halves, SensorId, Tuple, question_from_row_key};
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;

/// A store that forgets when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    stored: Mutex<Stored>,
    keeps_no_rows: bool,
    names: NameBudget,
}

#[derive(Debug, Default)]
struct Stored {
    /// What is committed.
    state: State,
    /// What is seen, where something is staged.
    seen: Option<State>,
    /// How far logs were read, where that is staged only.
    staged: BTreeMap<LineageId, Progress>,
}

impl Stored {
    fn seen(&self) -> &State {
        self.seen.as_ref().unwrap_or(&self.state)
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    sensors: Vec<Arc<str>>,
    rows: BTreeMap<(Tuple, Arc<str>), Halves>,
    questions: BTreeMap<(Name, RrType, Arc<str>), Asked>,
    /// The first sightings by registrable domain.
    first_seen: BTreeMap<(Name, Arc<str>), FirstSeen>,
    /// How many commits there were, and the last one of each row and question.
    commits: u64,
    changed_rows: BTreeMap<RowKey, u64>,
    changed_questions: BTreeMap<QuestionKey, u64>,
    lineages: BTreeMap<LineageId, Progress>,
    hints: BTreeMap<Vec<u8>, Vec<u8>>,
    expired: Expired,
    folded: Folded,
    identity: Identity,
    /// The names that were folded, by domain and sensor.
    folded_names: BTreeMap<(Name, Arc<str>), BTreeSet<Name>>,
}

type RowKey = (Tuple, Arc<str>);
type QuestionKey = (Name, RrType, Arc<str>);

/// What is known of a name: when it was seen or asked first and last, and whether each of its rows was seen once.
#[derive(Clone, Copy)]
struct NameSpan {
    first: u64,
    last: u64,
    is_once: bool,
}

impl MemoryStore {
    /// One that keeps how far logs were read, and no rows.
    pub fn of_progress_only() -> MemoryStore {
        MemoryStore { keeps_no_rows: true, ..MemoryStore::default() }
    }

    /// A store with this budget of names.
    pub fn with_names(names: NameBudget) -> MemoryStore {
        MemoryStore { names, ..MemoryStore::default() }
    }

    /// Forgets what is staged, as a crash does.
    pub fn crash(&self) {
        let mut stored = self.stored.lock();
        (stored.seen, stored.staged) = (None, BTreeMap::new());
    }

    /// Changes what is committed, and what is seen where that is more.
    fn change<T>(&self, change: impl Fn(&mut State) -> T) -> T {
        let Stored { state, seen, .. } = &mut *self.stored.lock();
        if let Some(seen) = seen {
            change(seen);
        }
        change(state)
    }
}

impl State {
    fn sensor_name(&self, sensor: SensorId) -> Result<Arc<str>, StoreError> {
        self.sensors.get(usize::from(sensor.0)).cloned().ok_or_else(|| bad_batch("unknown sensor id"))
    }

    fn first_seen(&mut self, name: &Name, sensor: &Arc<str>, times: &FirstSeen) {
        if let Some(domain) = registrable(name) {
            let known = self.first_seen.entry((domain, Arc::clone(sensor)));
            known.and_modify(|known| known.merge(times)).or_insert(*times);
        }
    }

    /// Adds rows and questions, all or none.
    fn add(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (mut rows, mut questions) = (Vec::new(), Vec::new());
        for (key, halves) in batch.tuples().iter() {
            let (tuple, sensor) = Tuple::from_row_key(key).map_err(|e| bad_batch(&e.to_string()))?;
            rows.push(((tuple, self.sensor_name(sensor)?), halves));
        }
        for (key, asked) in batch.questions().iter() {
            let (rrname, qtype, sensor) =
                question_from_row_key(key).map_err(|e| bad_batch(&e.to_string()))?;
            questions.push(((rrname, qtype, self.sensor_name(sensor)?), asked));
        }
        let number = self.commits + 1;
        for (row, halves) in rows {
            if halves.combined().time_last >= self.expired.before {
                self.changed_rows.insert(row.clone(), number);
                self.first_seen(&row.0.rrname, &row.1, &FirstSeen::of_sightings(halves));
                self.rows.entry(row).or_default().merge(halves);
            }
        }
        for (question, asked) in questions {
            if asked.time_last >= self.expired.before {
                self.changed_questions.insert(question.clone(), number);
                self.first_seen(&question.0, &question.2, &FirstSeen::of_question(asked));
                self.questions.entry(question).or_default().merge(asked);
            }
        }
        Ok(())
    }
}

impl State {
    /// The names of each registrable domain that count for its budget.
    fn domains(&self, budget: &NameBudget) -> BTreeMap<Name, BTreeMap<Name, NameSpan>> {
        let mut domains: BTreeMap<Name, BTreeMap<Name, NameSpan>> = BTreeMap::new();
        let mut add = |name: &Name, rrtype: RrType, first: u64, last: u64, count: u64| {
            if rrtype == RrType::FOLDED || budget.except.iter().any(|except| except.is_at_or_above(name)) {
                return;
            }
            let Some(domain) = registrable(name) else { return };
            let known = domains.entry(domain).or_default().entry(name.clone());
            let known = known.or_insert(NameSpan { first, last, is_once: true });
            known.first = known.first.min(first);
            known.last = known.last.max(last);
            known.is_once &= count <= 1;
        };
        for ((tuple, _), halves) in &self.rows {
            let seen = halves.combined();
            add(&tuple.rrname, tuple.rrtype, seen.time_first, seen.time_last, seen.count);
        }
        for ((name, qtype, _), asked) in &self.questions {
            add(name, *qtype, asked.time_first, asked.time_last, 1);
        }
        domains
    }

    /// The names that fold, with their domains.
    fn folding(&self, budget: &NameBudget) -> BTreeMap<Name, Name> {
        let mut folding = BTreeMap::new();
        for (domain, mut names) in self.domains(budget) {
            names.retain(|_, known| known.first >= budget.since);
            if budget.names == 0 || names.len() as u64 <= budget.names {
                continue;
            }
            let mut beyond: Vec<(u64, &Name, NameSpan)> =
                names.iter().map(|(name, known)| (known.first, name, *known)).collect();
            beyond.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            beyond.drain(..usize::try_from(budget.names).unwrap_or(usize::MAX));
            beyond.retain(|(_, _, known)| known.first / 86_400 == known.last / 86_400);
            let once = beyond.iter().filter(|(_, _, known)| known.is_once).count();
            if (names.len() - once) as u64 <= 2 * budget.names {
                beyond.retain(|(_, _, known)| known.is_once);
            }
            folding.extend(beyond.into_iter().map(|(_, name, _)| (name.clone(), domain.clone())));
        }
        folding
    }

    /// Puts rows and questions into the folded row of their domains.
    fn fold(&mut self, rows: Vec<(RowKey, Name)>, questions: Vec<(QuestionKey, Name)>) {
        for (key, domain) in rows {
            let Some(halves) = self.rows.remove(&key) else { continue };
            let (Tuple { rrname, .. }, sensor) = key;
            self.folded_names.entry((domain.clone(), Arc::clone(&sensor))).or_default().insert(rrname);
            let tuple = Tuple { rrname: domain, rrtype: RrType::FOLDED, rdata: budget::folded_rdata() };
            self.rows.entry((tuple, sensor)).or_default().merge(&halves);
        }
        for (key, domain) in questions {
            let Some(asked) = self.questions.remove(&key) else { continue };
            let (name, _, sensor) = key;
            self.folded_names.entry((domain.clone(), Arc::clone(&sensor))).or_default().insert(name);
            self.questions.entry((domain, RrType::FOLDED, sensor)).or_default().merge(&asked);
        }
    }

    /// Forgets the names of folded rows that are gone.
    fn prune(&mut self) {
        let State { rows, questions, folded_names, .. } = self;
        folded_names.retain(|(domain, sensor), _| {
            let row = |(tuple, of): &(Tuple, Arc<str>)| {
                tuple.rrname == *domain && tuple.rrtype == RrType::FOLDED && of == sensor
            };
            let question = |(name, qtype, of): &(Name, RrType, Arc<str>)| {
                name == domain && *qtype == RrType::FOLDED && of == sensor
            };
            rows.keys().any(row) || questions.keys().any(question)
        });
    }

    fn names(&self, name: &Name, rrtype: RrType, sensor: &Arc<str>) -> Option<u64> {
        if rrtype != RrType::FOLDED {
            return None;
        }
        self.folded_names.get(&(name.clone(), Arc::clone(sensor))).map(|names| names.len() as u64)
    }
}

fn bad_batch(why: &str) -> StoreError {
    damaged("the batch", why)
}

impl ReadStore for MemoryStore {
    fn now(&self) -> Arc<dyn Snapshot> {
        Arc::new(self.stored.lock().seen().clone())
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.stored.lock().state.sensor_name(sensor).ok()
    }

    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        Ok(self.stored.lock().state.lineages.get(id).cloned())
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        Ok(self.stored.lock().state.lineages.values().cloned().collect())
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        let stored = self.stored.lock();
        let state = stored.seen();
        let folded = Folded { domains: state.folded_names.len() as u64, ..state.folded };
        Ok(Stats { rows: state.rows.len() as u64, expired: state.expired, folded, ..Stats::default() })
    }

    fn expired_before(&self) -> u64 {
        self.stored.lock().state.expired.before
    }

    fn survey(&self, now: u64, _goes_on: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError> {
        let budget = self.names.names;
        let mut survey = Survey::default();
        for known in self.stored.lock().seen().domains(&self.names).into_values() {
            let (names, mut ages) = (known.len() as u64, Ages::default());
            for known in known.values() {
                ages.add(now, known.first, known.last, known.is_once);
            }
            survey.names += names;
            survey.new += known.values().filter(|known| budget::is_new(now, known.first)).count() as u64;
            survey.names_over += if budget > 0 { names.saturating_sub(budget) } else { 0 };
            ages.add_folds(budget, &mut survey.names_over_parts);
        }
        Ok(survey)
    }

    fn failing(&self) -> Option<StoreError> {
        None
    }

    fn copy(&self, _take: OnPiece<'_>) -> Result<(), StoreError> {
        let error = std::io::ErrorKind::Unsupported.into();
        Err(StoreError::Io { what: "a ledger in memory cannot be copied".to_owned(), error })
    }

    fn verify(&self, _on_progress: OnProgress<'_>) -> Result<Verification, StoreError> {
        let Stored { state, .. } = &*self.stored.lock();
        Ok(Verification {
            rows: state.rows.len() as u64,
            questions: state.questions.len() as u64,
            logs: state.lineages.len() as u64,
            sensors: state.sensors.len() as u64,
            ..Verification::default()
        })
    }
}

impl WriteStore for MemoryStore {
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        self.change(|state| {
            let at = match state.sensors.iter().position(|known| &**known == name) {
                Some(at) => at,
                None => {
                    super::sensors::check(name)?;
                    state.sensors.push(name.into());
                    state.sensors.len() - 1
                }
            };
            u16::try_from(at).map(SensorId).map_err(|_| StoreError::TooManySensors)
        })
    }

    fn stage(&self, batch: &Batch) -> Result<(), StoreError> {
        let Stored { state, seen, staged } = &mut *self.stored.lock();
        if !self.keeps_no_rows {
            seen.get_or_insert_with(|| state.clone()).add(batch)?;
        }
        staged.extend(batch.progress().map(|progress| (progress.lineage, progress.clone())));
        Ok(())
    }

    fn staged_bytes(&self) -> usize {
        let stored = self.stored.lock();
        usize::from(stored.seen.is_some()) + stored.staged.len()
    }

    fn commit(&self) -> Result<Vec<Progress>, StoreError> {
        let Stored { state, seen, staged } = &mut *self.stored.lock();
        if seen.is_some() || !staged.is_empty() {
            state.commits += 1;
        }
        if let Some(seen) = seen.take() {
            *state = State { commits: state.commits, ..seen };
        }
        state.lineages.extend(staged.clone());
        Ok(std::mem::take(staged).into_values().collect())
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.change(|state| {
            if !self.keeps_no_rows {
                state.add(batch)?;
            }
            state.commits += 1;
            state.lineages.extend(batch.progress().map(|progress| (progress.lineage, progress.clone())));
            Ok(())
        })
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        Ok(self.stored.lock().state.hints.clone().into_iter().collect())
    }

    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        self.change(|state| {
            state.hints.extend(puts.iter().cloned());
            state.hints.retain(|key, _| !drops.contains(key));
            Ok(())
        })
    }

    fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        Ok(self.change(|state| {
            if before > state.expired.before {
                let (rows, questions) = (state.rows.len(), state.questions.len());
                state.rows.retain(|_, halves| halves.combined().time_last >= before);
                state.questions.retain(|_, asked| asked.time_last >= before);
                state.first_seen.retain(|_, times| times.last >= before);
                let dropped = (rows - state.rows.len(), questions - state.questions.len());
                let Expired { rows, questions, .. } = state.expired;
                state.expired = Expired {
                    before,
                    at,
                    rows: rows + dropped.0 as u64,
                    questions: questions + dropped.1 as u64,
                };
                state.prune();
            }
            state.expired
        }))
    }

    fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        Ok(self.change(|state| {
            if before < state.expired.before {
                (state.expired.before, state.expired.at) = (before, at);
            }
            state.expired
        }))
    }

    fn forget(&self, sensor: SensorId, lineage: &LineageId) -> Result<(), StoreError> {
        self.change(|state| {
            let name = state.sensor_name(sensor)?;
            state.rows.retain(|(_, sensor), _| *sensor != name);
            state.questions.retain(|(_, _, sensor), _| *sensor != name);
            state.first_seen.retain(|(_, sensor), _| *sensor != name);
            state.lineages.remove(lineage);
            state.identity = state.identity.after_a_drop();
            state.prune();
            Ok(())
        })
    }

    fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError> {
        Ok(self.change(|state| state.reduce(&self.names, rule, at)))
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl State {
    /// Makes less of what tells least.
    fn reduce(&mut self, names: &NameBudget, rule: Reduce, at: u64) -> Reduced {
        let mut reduced = Reduced::default();
        let (folding, least, unresolved) = match rule {
            Reduce::Names { at_least } => (self.folding(names), at_least.max(1), None),
            Reduce::LargeDomains { part, since } => (self.folding(&names.share(part, since)), 1, None),
            Reduce::Unresolved { since, before } => (BTreeMap::new(), 0, Some(since..before)),
        };
        if (folding.len() as u64) < least {
            return reduced;
        }
        let domain = |name: &Name, rrtype: RrType| {
            if rrtype == RrType::FOLDED { None } else { folding.get(name).cloned() }
        };
        let rows: Vec<_> = self
            .rows
            .keys()
            .filter_map(|key| Some((key.clone(), domain(&key.0.rrname, key.0.rrtype)?)))
            .collect();
        let mut questions: Vec<_> =
            self.questions.keys().filter_map(|key| Some((key.clone(), domain(&key.0, key.1)?))).collect();
        let mut dropped = 0;
        if let Some(unresolved) = unresolved {
            let known: Vec<_> = self.folded_names.keys().cloned().collect();
            self.questions.retain(|(name, qtype, sensor), asked| {
                let goes = unresolved.contains(&asked.time_last) && budget::is_unresolved(asked);
                if *qtype == RrType::FOLDED || !goes {
                    return true;
                }
                match registrable(name).filter(|domain| known.contains(&(domain.clone(), Arc::clone(sensor))))
                {
                    Some(domain) => {
                        questions.push(((name.clone(), *qtype, Arc::clone(sensor)), domain));
                        true
                    }
                    None => {
                        dropped += 1;
                        false
                    }
                }
            });
        }
        (reduced.rows, reduced.questions) = (rows.len() as u64, questions.len() as u64 + dropped);
        let folded = &mut self.folded;
        match rule {
            Reduce::Names { .. } => {
                folded.rows += reduced.rows;
                folded.questions += reduced.questions;
            }
            _ => {
                folded.pressed_rows += reduced.rows;
                folded.pressed_questions += reduced.questions - dropped;
                folded.unresolved += dropped;
            }
        }
        if reduced != Reduced::default() {
            folded.at = at;
            self.identity = self.identity.after_a_drop();
        }
        self.fold(rows, questions);
        reduced
    }
}

impl Snapshot for State {
    fn expired_before(&self) -> u64 {
        self.expired.before
    }

    fn changed_since<'a>(&'a self, mark: Mark) -> Result<Changed<'a>, StoreError> {
        let mark = if mark.0 > self.commits { 0 } else { mark.0 };
        let is_new = move |number: Option<&u64>| number.is_some_and(|number| *number > mark);
        let rows = self.entries(&Scan::All, None)?;
        let questions = self.questions(&Scan::All)?;
        Ok(Changed {
            entries: Box::new(rows.filter(move |row| {
                let key = |row: &Entry| (row.tuple.clone(), Arc::clone(&row.sensor));
                row.as_ref().is_ok_and(|row| is_new(self.changed_rows.get(&key(row))))
            })),
            questions: Box::new(questions.filter(move |question| {
                let key = |q: &Question| (q.rrname.clone(), q.qtype, Arc::clone(&q.sensor));
                question.as_ref().is_ok_and(|q| is_new(self.changed_questions.get(&key(q))))
            })),
            hits: Box::new(std::iter::empty()),
            mark: Mark(self.commits),
            identity: self.identity,
            expired_before: self.expired.before,
        })
    }

    fn entries<'a>(&'a self, scan: &Scan, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        let mut rows: Vec<_> = self.rows.iter().filter(|((tuple, _), _)| scan.matches(tuple)).collect();
        rows.sort_by(|((a, x), _), ((b, y), _)| scan.compare((a, x), (b, y)));
        if let Some(after) = after {
            rows.retain(|((tuple, sensor), _)| {
                scan.compare((tuple, sensor), (&after.tuple, &after.sensor)).is_gt()
            });
        }
        Ok(Box::new(rows.into_iter().map(|((tuple, sensor), halves)| {
            let names = self.names(&tuple.rrname, tuple.rrtype, sensor);
            Ok(Entry { tuple: tuple.clone(), sensor: Arc::clone(sensor), halves: *halves, names })
        })))
    }

    fn domains<'a>(&'a self, scan: &Scan) -> Result<Domains<'a>, StoreError> {
        let Some(below) = scan.domains_below() else { return Ok(Box::new(std::iter::empty())) };
        let domains = self.first_seen.iter().filter(move |((domain, _), _)| below.is_at_or_above(domain));
        Ok(Box::new(domains.map(|((domain, sensor), times)| {
            Ok(DomainSeen { domain: domain.clone(), sensor: Arc::clone(sensor), times: *times })
        })))
    }

    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError> {
        let Some(span) = scan.span_of_names() else { return Ok(Box::new(std::iter::empty())) };
        Ok(Box::new(self.questions.iter().filter(move |((name, ..), _)| span.holds(name.key())).map(
            |((rrname, qtype, sensor), asked)| {
                Ok(Question {
                    rrname: rrname.clone(),
                    qtype: *qtype,
                    sensor: Arc::clone(sensor),
                    asked: *asked,
                    names: self.names(rrname, *qtype, sensor),
                })
            },
        )))
    }
}
