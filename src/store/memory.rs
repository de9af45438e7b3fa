//! The ledger in ordered maps: the oracle of the store's test suite, and what tests above the store run on.
//!
//! It is written to be obviously right, not fast: a snapshot copies everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Entries, Entry, Expired, OnPiece, OnProgress, Pair, Position, Question, Questions, Scan, Snapshot, Stats,
    Store, StoreError, Verification, damaged,
};
use crate::dns::{Name, RrType};
use crate::merge::Batch;
use crate::observation::{Asked, Halves, SensorId, Tuple, question_from_row_key};
use crate::progress::{LineageId, Progress};

/// A store that forgets when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    keeps_no_rows: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    sensors: Vec<Arc<str>>,
    rows: BTreeMap<(Tuple, Arc<str>), Halves>,
    questions: BTreeMap<(Name, RrType, Arc<str>), Asked>,
    lineages: BTreeMap<LineageId, Progress>,
    hints: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: u64,
    expired: Expired,
}

impl MemoryStore {
    /// One that keeps how far logs were read, and no rows.
    pub fn of_progress_only() -> MemoryStore {
        MemoryStore { keeps_no_rows: true, ..MemoryStore::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere cannot leave half a batch here: `apply` builds the new state first.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sensor_name(&self, sensor: SensorId) -> Result<Arc<str>, StoreError> {
        self.sensors
            .get(usize::from(sensor.0))
            .cloned()
            .ok_or_else(|| bad_batch("a sensor number nobody gave out"))
    }
}

fn bad_batch(why: &str) -> StoreError {
    damaged("the batch", why)
}

impl Store for MemoryStore {
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        let mut state = self.state();
        let at = match state.sensors.iter().position(|known| &**known == name) {
            Some(at) => at,
            None => {
                super::sensors::check(name)?;
                state.sensors.push(name.into());
                state.sensors.len() - 1
            }
        };
        u16::try_from(at).map(SensorId).map_err(|_| StoreError::TooManySensors)
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.state().sensor_name(sensor).ok()
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut guard = self.state();
        if self.keeps_no_rows {
            guard.lineages.extend(batch.progress().map(|progress| (progress.lineage, progress.clone())));
            guard.applied = guard.applied.max(batch.number);
            return Ok(());
        }
        let mut state = guard.clone();
        for (key, halves) in batch.tuples().iter() {
            let (tuple, sensor) = Tuple::from_row_key(key).map_err(|e| bad_batch(&e.to_string()))?;
            let sensor = state.sensor_name(sensor)?;
            if halves.combined().time_last < state.expired.before {
                continue;
            }
            state.rows.entry((tuple, sensor)).or_default().merge(halves);
        }
        for (key, asked) in batch.questions().iter() {
            let (rrname, qtype, sensor) =
                question_from_row_key(key).map_err(|e| bad_batch(&e.to_string()))?;
            let sensor = state.sensor_name(sensor)?;
            if asked.time_last < state.expired.before {
                continue;
            }
            state.questions.entry((rrname, qtype, sensor)).or_default().merge(asked);
        }
        for progress in batch.progress() {
            state.lineages.insert(progress.lineage, progress.clone());
        }
        state.applied = state.applied.max(batch.number);
        *guard = state;
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(self.state().clone())
    }

    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        Ok(self.state().lineages.get(id).cloned())
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        Ok(self.state().lineages.values().cloned().collect())
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        Ok(self.state().hints.clone().into_iter().collect())
    }

    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.hints.extend(puts.iter().cloned());
        state.hints.retain(|key, _| !drops.contains(key));
        Ok(())
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        let state = self.state();
        Ok(Stats { rows: state.rows.len() as u64, expired: state.expired, ..Stats::default() })
    }

    fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        let mut state = self.state();
        if before > state.expired.before {
            let (rows, questions) = (state.rows.len(), state.questions.len());
            state.rows.retain(|_, halves| halves.combined().time_last >= before);
            state.questions.retain(|_, asked| asked.time_last >= before);
            let dropped = (rows - state.rows.len(), questions - state.questions.len());
            let Expired { rows, questions, .. } = state.expired;
            state.expired = Expired {
                before,
                at,
                rows: rows + dropped.0 as u64,
                questions: questions + dropped.1 as u64,
            };
        }
        Ok(state.expired)
    }

    fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        let mut state = self.state();
        if before < state.expired.before {
            (state.expired.before, state.expired.at) = (before, at);
        }
        Ok(state.expired)
    }

    fn forget(&self, sensor: SensorId, lineage: &LineageId) -> Result<(), StoreError> {
        let mut state = self.state();
        let name = state.sensor_name(sensor)?;
        state.rows.retain(|(_, sensor), _| *sensor != name);
        state.questions.retain(|(_, _, sensor), _| *sensor != name);
        state.lineages.remove(lineage);
        Ok(())
    }

    fn expired_before(&self) -> u64 {
        self.state().expired.before
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn failing(&self) -> Option<StoreError> {
        None
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn copy(&self, _take: OnPiece<'_>) -> Result<(), StoreError> {
        let error = std::io::ErrorKind::Unsupported.into();
        Err(StoreError::Io { what: "a ledger in memory cannot be copied".to_owned(), error })
    }

    fn verify(&self, _on_progress: OnProgress<'_>) -> Result<Verification, StoreError> {
        let state = self.state();
        Ok(Verification {
            rows: state.rows.len() as u64,
            questions: state.questions.len() as u64,
            logs: state.lineages.len() as u64,
            sensors: state.sensors.len() as u64,
            ..Verification::default()
        })
    }
}

impl Snapshot for State {
    fn applied(&self) -> u64 {
        self.applied
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
            Ok(Entry { tuple: tuple.clone(), sensor: Arc::clone(sensor), halves: *halves })
        })))
    }

    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError> {
        let scan = scan.clone();
        let wanted = move |name: &Name| match &scan {
            Scan::All => true,
            Scan::Name(asked) => name == asked,
            Scan::Subtree(top) => name.key().starts_with(top.subtree_key()),
            _ => false,
        };
        Ok(Box::new(self.questions.iter().filter(move |((name, ..), _)| wanted(name)).map(
            |((rrname, qtype, sensor), asked)| {
                Ok(Question {
                    rrname: rrname.clone(),
                    qtype: *qtype,
                    sensor: Arc::clone(sensor),
                    asked: *asked,
                })
            },
        )))
    }
}
