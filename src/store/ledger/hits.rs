//! Hits: what is looked for and was met gets a number, and is committed with the rows by which it was met.
//!
//! A hit is a row of its own family, known by name, indicator, address and sensor. Whoever commits looks whether it is there
//! already, under the lock under which all commits are made; if not it gets the next number. The number of the last hit is in the
//! record of the last commit. So each hit is there once, and has one number, whatever is met how often and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::commit::CommitRows;
use crate::base::clock;
use crate::store::batch::Batch;
use crate::store::key::{Range, hit_of_log, push_hit};
use crate::store::run::{Merged, Sources};
use crate::store::segment::Segment;
use crate::store::value::{HitValue, hit, hit_to_bytes};
use crate::store::{Acknowledged, MAX_BY, NewHit, StoreError, Watch, damaged};

/// The longest indicator, and the most that is kept of what is said of one.
const MAX_INDICATOR: usize = 1000;
const MAX_NOTE: usize = 1000;

/// Hits that are acknowledged in one commit.
const ACKNOWLEDGED_TOGETHER: usize = 500;

/// Hits that have no number yet, by key.
pub(super) type NewHits = BTreeMap<Vec<u8>, NewHit>;

/// What of a batch is looked for, each once.
pub(super) fn look(watch: Option<&(dyn Watch + 'static)>, batch: &Batch) -> NewHits {
    let Some(watch) = watch else { return NewHits::new() };
    let mut found = Vec::new();
    watch.look(batch, &mut found);
    by_key(found.iter())
}

fn by_key<'a>(hits: impl Iterator<Item = &'a NewHit>) -> NewHits {
    let mut found = NewHits::new();
    for hit in hits.filter(|hit| hit.indicator.len() <= MAX_INDICATOR) {
        let mut key = Vec::new();
        push_hit(hit.rrname.key(), &hit.indicator, hit.address, hit.sensor, &mut key);
        let known = found.entry(key).or_insert_with(|| hit.clone());
        known.time = known.time.min(hit.time);
        known.note.truncate(MAX_NOTE);
    }
    found
}

impl Shared {
    /// Leaves out those that are there.
    pub(super) fn only_new(&self, found: NewHits) -> Result<NewHits, StoreError> {
        if found.is_empty() {
            return Ok(found);
        }
        let sources = self.view().sources();
        let mut new = NewHits::new();
        for (key, hit) in found {
            if !is_there(&sources, &key)? {
                new.insert(key, hit);
            }
        }
        Ok(new)
    }

    /// Gives those numbers that are not there yet, above the last; in a batch of nothing else. Nobody else commits meanwhile.
    pub(super) fn number_hits(&self, last: u64, found: &NewHits) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        if found.is_empty() {
            return Ok(batch);
        }
        let (sources, sensors, noted) = (self.view().sources(), self.sensors.len(), clock::now());
        let mut sequence = last;
        for (key, hit) in found {
            if usize::from(hit.sensor.0) >= sensors {
                return Err(damaged("a hit", "unknown sensor id"));
            }
            if is_there(&sources, key)? {
                continue;
            }
            sequence += 1;
            let (time, note, acknowledged) = (hit.time, hit.note.clone(), None);
            let value = HitValue { sequence, noted, time, note, acknowledged };
            batch.add_hit(key.clone(), hit_to_bytes(&value)?);
        }
        Ok(batch)
    }

    /// Keeps hits that were found in what is there; how many are new.
    pub(super) fn keep_hits(&self, hits: &[NewHit]) -> Result<u64, StoreError> {
        let found = self.only_new(by_key(hits.iter()))?;
        if found.is_empty() {
            return Ok(0);
        }
        let mut committed = self.committed.lock();
        self.recover(Some(&mut committed))?;
        self.wait_for_room()?;
        let batch = self.number_hits(committed.record.hits, &found)?;
        let count = batch.hits().len() as u64;
        if count == 0 {
            return Ok(0);
        }
        let (sequences, commits) = (vec![committed.record.journal_to], committed.next());
        let segment =
            Segment::from_batch(&batch, &Batch::default(), self.sensors.len(), sequences, commits, 0)?;
        self.commit_rows(&mut committed, &[], CommitRows::Segment(Box::new(segment)), count, |_| {})?;
        Ok(count)
    }

    /// Notes that somebody has seen to hits. One that is acknowledged is written once more as it is, with that: where both are merged it stands.
    pub(super) fn acknowledge_hits(
        &self,
        numbers: &BTreeSet<u64>,
        seen: &Acknowledged,
    ) -> Result<(u64, Vec<u64>), StoreError> {
        let by = seen.by.chars().take(MAX_BY).collect();
        let seen = Acknowledged { at: seen.at, by };
        let (mut new, mut none) = (0, Vec::new());
        let all: Vec<u64> = numbers.iter().copied().collect();
        for some in all.chunks(ACKNOWLEDGED_TOGETHER) {
            let mut committed = self.committed.lock();
            self.recover(Some(&mut committed))?;
            self.wait_for_room()?;
            let mut batch = Batch::default();
            let sources = self.view().sources();
            for number in some {
                let mut rows = Merged::open(&sources, &Range::hits_after(number.saturating_sub(1)))?;
                let Some((key, value)) = next_hit(&mut rows)?.filter(|(_, value)| value.sequence == *number)
                else {
                    none.push(*number);
                    continue;
                };
                if value.acknowledged.is_none() {
                    let value = HitValue { acknowledged: Some(seen.clone()), ..value };
                    batch.add_hit(key, hit_to_bytes(&value)?);
                }
            }
            let count = batch.hits().len() as u64;
            if count == 0 {
                continue;
            }
            let (sequences, commits) = (vec![committed.record.journal_to], committed.next());
            let segment =
                Segment::from_batch(&batch, &Batch::default(), self.sensors.len(), sequences, commits, 0)?;
            self.commit_rows(&mut committed, &[], CommitRows::Segment(Box::new(segment)), 0, |_| {})?;
            new += count;
        }
        Ok((new, none))
    }

    /// Those of some hits that the ledger does not have.
    pub(super) fn missing_hits(&self, hits: &[NewHit]) -> Result<Vec<NewHit>, StoreError> {
        self.only_new(by_key(hits.iter())).map(|missing| missing.into_values().collect())
    }

    /// A segment of hits that are committed with others; none where there is none.
    pub(super) fn hit_segment(&self, hits: &Batch) -> Result<Option<Arc<Segment>>, StoreError> {
        if hits.hits().is_empty() {
            return Ok(None);
        }
        let (sensors, nobody) = (self.sensors.len(), Default::default());
        Segment::from_batch(hits, &Batch::default(), sensors, Vec::new(), nobody, 0)
            .map(|segment| Some(Arc::new(segment)))
    }

    /// Says that hits up to a number are committed.
    pub(super) fn hits_committed(&self, last: u64) {
        if self.last_hit.swap(last, Ordering::SeqCst) != last
            && let Some(told) = &*self.on_hits.read()
        {
            told(last);
        }
    }
}

/// The next hit of those by number, with its key.
fn next_hit(rows: &mut Merged) -> Result<Option<(Vec<u8>, HitValue)>, StoreError> {
    if !rows.advance()? {
        return Ok(None);
    }
    let key = hit_of_log(rows.key()).ok_or_else(|| damaged("a hit", "its key makes no sense"))?;
    Ok(Some((key.to_vec(), hit(rows.value())?)))
}

fn is_there(sources: &Sources, key: &[u8]) -> Result<bool, StoreError> {
    Merged::open(sources, &Range::hit(key))?.advance()
}
