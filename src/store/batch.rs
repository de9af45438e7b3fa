//! The batch: observations folded by row, questions, and the progress that covers them.
//!
//! A batch is what the store stages or applies at once. Folding here first is what makes the ledger fast: most sightings are of
//! rows that are already in the batch, and cost one look-up in a hash table and no allocation.

use std::collections::{BTreeMap, HashMap};

use hashbrown::HashTable;

use crate::base::seeded_hash;
use crate::observation::{Asked, Half, Halves, Observations, Seen};
use crate::progress::{LineageId, Progress};

/// Rows by key, in one arena, found by hash. Nothing is ever removed; sorting is the reader's business.
#[derive(Debug)]
pub struct RowTable<V> {
    arena: Vec<u8>,
    rows: Vec<Row<V>>,
    index: HashTable<u32>,
}

#[derive(Debug, Clone)]
struct Row<V> {
    hash: u64,
    /// Where the key is in the arena.
    start: usize,
    length: u32,
    /// Whose turn it was when the row was met last: see [`Batch::add_and_show`].
    turn: u32,
    value: V,
}

impl<V> Default for RowTable<V> {
    fn default() -> RowTable<V> {
        RowTable { arena: Vec::new(), rows: Vec::new(), index: HashTable::new() }
    }
}

impl<V> RowTable<V> {
    /// Finds the row of a key, or makes it with the value given; says whether it was there.
    fn entry(&mut self, key: &[u8], new: V) -> Option<&mut V> {
        self.entry_in_turn(key, new, 0).0
    }

    /// Likewise; says also whether it is the first time in this turn.
    fn entry_in_turn(&mut self, key: &[u8], new: V, turn: u32) -> (Option<&mut V>, bool) {
        let hash = seeded_hash::hash(key);
        let RowTable { arena, rows, index } = self;
        let key_of = |row: &Row<V>| arena.get(row.start..row.start + row.length as usize);
        let found = index.find(hash, |&at| {
            rows.get(at as usize).is_some_and(|row| row.hash == hash && key_of(row) == Some(key))
        });
        if let Some(&at) = found {
            return match rows.get_mut(at as usize) {
                Some(row) => {
                    let is_first = std::mem::replace(&mut row.turn, turn) != turn;
                    (Some(&mut row.value), is_first)
                }
                None => (None, false),
            };
        }
        let at = rows.len() as u32;
        rows.push(Row { hash, start: arena.len(), length: key.len() as u32, turn, value: new });
        arena.extend_from_slice(key);
        index.insert_unique(hash, at, |&at| rows.get(at as usize).map_or(0, |row| row.hash));
        (None, true)
    }

    /// Forgets all rows and keeps the memory.
    fn clear(&mut self) {
        self.arena.clear();
        self.rows.clear();
        self.index.clear();
    }

    /// The rows in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.rows.iter().filter_map(|row| {
            let key = self.arena.get(row.start..row.start + row.length as usize)?;
            Some((key, &row.value))
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let hash = seeded_hash::hash(key);
        let at = *self.index.find(hash, |&at| {
            self.rows.get(at as usize).is_some_and(|row| {
                row.hash == hash && self.arena.get(row.start..row.start + row.length as usize) == Some(key)
            })
        })?;
        self.rows.get(at as usize).map(|row| &row.value)
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of memory it holds, about.
    pub fn bytes(&self) -> usize {
        self.arena.capacity()
            + self.rows.capacity() * size_of::<Row<V>>()
            + self.index.capacity() * (size_of::<u32>() + 1)
    }
}

/// What is met for the first time in a turn, by its row key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKey<'a> {
    /// A row.
    Row(&'a [u8]),
    /// A question.
    Question(&'a [u8]),
}

/// What the store stages or applies at once: counts, questions, and how far into which logs they reach.
#[derive(Debug, Default)]
pub struct Batch {
    tuples: RowTable<Halves>,
    questions: RowTable<Asked>,
    progress: HashMap<LineageId, Progress>,
    /// Hits as they are stored, by key: they have their numbers.
    hits: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Batch {
    /// Folds in what one log record says.
    pub fn add(&mut self, observations: &Observations) {
        self.add_and_show(observations, 0, &mut |_| {});
    }

    /// Likewise, and shows the rows and questions that are met for the first time in this turn; in another batch they are shown once
    /// more. A turn is any number that is not 0.
    pub fn add_and_show(&mut self, observations: &Observations, turn: u32, show: &mut dyn FnMut(NewKey<'_>)) {
        let time = observations.time();
        for observation in observations.iter() {
            let seen = Seen::once(time, observation.ttl);
            let new = Halves::once(observation.half, seen);
            let (known, is_first) = self.tuples.entry_in_turn(observation.row_key, new, turn);
            if let Some(halves) = known {
                match observation.half {
                    Half::Direct => halves.direct.merge(&seen),
                    Half::Alias => halves.alias.merge(&seen),
                }
            }
            if is_first && turn != 0 {
                show(NewKey::Row(observation.row_key));
            }
        }
        if let Some((row_key, outcome)) = observations.question() {
            let once = Asked::once(time, outcome);
            let (known, is_first) = self.questions.entry_in_turn(row_key, once, turn);
            if let Some(asked) = known {
                asked.merge(&once);
            }
            if is_first && turn != 0 {
                show(NewKey::Question(row_key));
            }
        }
    }

    /// Empties it and keeps its memory for what comes next.
    pub fn clear(&mut self) {
        self.tuples.clear();
        self.questions.clear();
        self.progress.clear();
        self.hits.clear();
    }

    /// Folds in sightings of one row.
    pub fn add_halves(&mut self, row_key: &[u8], halves: &Halves) {
        if let Some(known) = self.tuples.entry(row_key, *halves) {
            known.merge(halves);
        }
    }

    /// Folds in a question.
    pub fn add_asked(&mut self, row_key: &[u8], asked: &Asked) {
        if let Some(known) = self.questions.entry(row_key, *asked) {
            known.merge(asked);
        }
    }

    /// Says how far a lineage was read; everything up to there is in this batch or in an earlier one.
    pub fn advance(&mut self, progress: Progress) {
        self.progress.insert(progress.lineage, progress);
    }

    /// Adds a hit as it is stored.
    pub(crate) fn add_hit(&mut self, key: Vec<u8>, stored: Vec<u8>) {
        self.hits.insert(key, stored);
    }

    /// The hits.
    pub(crate) fn hits(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.hits
    }

    /// The rows.
    pub fn tuples(&self) -> &RowTable<Halves> {
        &self.tuples
    }

    /// The questions.
    pub fn questions(&self) -> &RowTable<Asked> {
        &self.questions
    }

    /// The progress of each lineage in it.
    pub fn progress(&self) -> impl Iterator<Item = &Progress> {
        self.progress.values()
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.tuples.is_empty()
            && self.questions.is_empty()
            && self.progress.is_empty()
            && self.hits.is_empty()
    }

    /// Bytes of memory it holds, about.
    pub fn bytes(&self) -> usize {
        self.tuples.bytes() + self.questions.bytes() + self.progress.len() * 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Name, RrType};
    use crate::observation::{Outcome, SensorId};

    #[test]
    fn sightings_of_a_row_fold_into_one() {
        let rrname = Name::parse("a.example").unwrap();
        let mut batch = Batch::default();
        let mut observations = Observations::new(SensorId(0));
        for time in [30, 10, 20] {
            observations.reset(time);
            observations.push(rrname.key(), RrType::A, b"\x04\xc0\x00\x02\x01", Half::Direct, 60);
            observations.push(rrname.key(), RrType::A, b"\x04\xc0\x00\x02\x02", Half::Alias, 60);
            observations.ask(rrname.key(), RrType::A, Outcome::Answered);
            batch.add(&observations);
        }
        assert_eq!((batch.tuples().len(), batch.questions().len()), (2, 1));
        for (key, halves) in batch.tuples().iter() {
            let seen = halves.combined();
            assert_eq!((seen.count, seen.time_first, seen.time_last), (3, 10, 30));
            assert_eq!(batch.tuples().get(key), Some(halves));
        }
        assert_eq!(batch.questions().iter().map(|(_, asked)| asked.count()).sum::<u64>(), 3);
    }

    #[test]
    fn what_is_met_for_the_first_time_in_a_turn_is_told() {
        let mut batch = Batch::default();
        let mut observations = Observations::new(SensorId(0));
        let mut told = |batch: &mut Batch, names: &[&str], turn: u32| {
            let mut told = (0, 0);
            for name in names {
                let rrname = Name::parse(name).unwrap();
                observations.reset(10);
                observations.push(rrname.key(), RrType::A, b"\x04\xc0\x00\x02\x01", Half::Direct, 60);
                observations.ask(rrname.key(), RrType::A, Outcome::Answered);
                batch.add_and_show(&observations, turn, &mut |met| match met {
                    NewKey::Row(_) => told.0 += 1,
                    NewKey::Question(_) => told.1 += 1,
                });
            }
            told
        };
        assert_eq!(told(&mut batch, &["a.example", "b.example", "a.example"], 1), (2, 2));
        assert_eq!(told(&mut batch, &["a.example"], 1), (0, 0));
        assert_eq!(told(&mut batch, &["a.example", "c.example"], 2), (2, 2));
        assert_eq!(told(&mut batch, &["a.example", "d.example"], 0), (0, 0));
        // What was met meanwhile by somebody else is told once more.
        assert_eq!(told(&mut batch, &["a.example", "c.example"], 2), (1, 1));
        assert_eq!(batch.tuples().len(), 4);
    }

    #[test]
    fn many_rows_are_each_found_again() {
        let mut table = RowTable::default();
        for i in 0..10_000u32 {
            assert!(table.entry(&i.to_be_bytes(), i).is_none());
        }
        for i in 0..10_000u32 {
            assert_eq!(table.get(&i.to_be_bytes()), Some(&i));
        }
        assert_eq!(table.get(b"no"), None);
    }
}
