//! What takes the last batch back, should only a part of it be on disk.
//!
//! An engine makes a batch whole or not at all over a crash. Not so over a write that it refuses in the middle of a batch
//! (a full disk): what came before may be on disk then, with nothing that says how far it went. So before a batch is
//! committed, what its keys held before and a hash of what they are to hold are written under [`engine::UNDO`]; afterwards
//! that goes. Whoever opens the ledger and finds it there compares: all is as after the batch, and it stays; or the keys get
//! what they held before.
//!
//! What is put there precedes the batch in the engine's log: of a batch of which anything is on disk, all of this is.

use std::collections::BTreeMap;
use std::ops::Bound;

use bincode::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_64;

use super::engine::{self, Changes, Pairs, with_prefix};
use super::{Pair, StoreError, block, damaged, value};

/// Raw bytes of a part.
const PART_BYTES: usize = 8 << 10;
/// Bytes before the rest of a part: how many there are, and the hash of all together.
const HEADER: usize = 10;

/// One key of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Change {
    key: Vec<u8>,
    before: Option<Vec<u8>>,
    /// The hash of what the batch puts there.
    after: Option<u64>,
}

/// How to take a batch back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Undo(Vec<Change>);

impl Undo {
    /// Of a batch, and of what each of its keys held before.
    pub fn of(batch: &Changes, before: &Changes) -> Undo {
        let before: BTreeMap<_, _> = before.iter().map(|(key, value)| (key, value)).collect();
        let change = |(key, after): &(Vec<u8>, Option<Vec<u8>>)| Change {
            key: key.clone(),
            before: before.get(key).and_then(|value| (*value).clone()),
            after: after.as_deref().map(xxh3_64),
        };
        Undo(batch.iter().map(change).collect())
    }

    /// What is stored, in the order in which it is to be written.
    pub fn to_pairs(&self) -> Result<Vec<Pair>, StoreError> {
        let mut all = Vec::new();
        value::push(self, &mut all)?;
        let hash = xxh3_64(&all).to_be_bytes();
        let count = all.len().div_ceil(PART_BYTES);
        let count = u16::try_from(count).map_err(|_| damaged("the batch", "it is too large"))?;
        let parts = (0..).zip(all.chunks(PART_BYTES)).map(|(part, bytes)| {
            let key = engine::undo_part(part);
            let sealed = block::seal(&key, &engine::join(&[&count.to_be_bytes(), &hash, bytes]));
            (key, sealed)
        });
        Ok(parts.collect())
    }

    /// Takes it from what is stored, if all of it is there: otherwise nothing of the batch is.
    fn from_pairs(pairs: &[Pair]) -> Option<Undo> {
        let (mut all, mut expected) = (Vec::new(), None);
        for (part, (key, sealed)) in (0..).zip(pairs) {
            if expected.is_some_and(|(count, _)| part >= count) {
                break;
            }
            let raw = block::open(key, sealed, &|| "a part".to_owned()).ok()?;
            let (header, bytes) = raw.split_first_chunk::<HEADER>()?;
            let (count, hash) = header.split_first_chunk::<2>()?;
            let header = (u16::from_be_bytes(*count), u64::from_be_bytes(hash.try_into().ok()?));
            if *key != engine::undo_part(part) || *expected.get_or_insert(header) != header {
                return None;
            }
            all.extend_from_slice(bytes);
        }
        let (count, hash) = expected?;
        (usize::from(count) == all.len().div_ceil(PART_BYTES) && hash == xxh3_64(&all)).then_some(())?;
        value::take(&all, "what takes a batch back").ok()
    }

    /// Whether all of the batch is there.
    fn is_whole(&self, map: &(impl Pairs + ?Sized)) -> Result<bool, StoreError> {
        for change in &self.0 {
            if map.get(&change.key)?.as_deref().map(xxh3_64) != change.after {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn into_changes(self) -> Changes {
        self.0.into_iter().map(|change| (change.key, change.before)).collect()
    }
}

/// What is to be changed where a batch is there in part, and the keys that go then.
#[derive(Debug, Default)]
pub(crate) struct PartialBatch {
    pub changes: Changes,
    pub keys: Vec<Vec<u8>>,
}

/// Looks whether a batch is there in part.
pub(crate) fn find(map: &(impl Pairs + ?Sized)) -> Result<PartialBatch, StoreError> {
    let there = with_prefix(map, engine::UNDO).collect::<Result<Vec<Pair>, _>>()?;
    let changes = match Undo::from_pairs(&there) {
        Some(undo) if !undo.is_whole(map)? => undo.into_changes(),
        _ => Changes::new(),
    };
    Ok(PartialBatch { changes, keys: there.into_iter().map(|(key, _)| key).collect() })
}

/// A map as it is once such a batch is taken back.
pub(crate) struct Undone<'a> {
    map: &'a dyn Pairs,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Undone<'a> {
    pub fn of(map: &'a dyn Pairs) -> Result<Undone<'a>, StoreError> {
        let PartialBatch { changes, keys } = find(map)?;
        let changes = changes.into_iter().chain(keys.into_iter().map(|key| (key, None))).collect();
        Ok(Undone { map, changes })
    }
}

impl Pairs for Undone<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.changes.get(key).map_or_else(|| self.map.get(key), |value| Ok(value.clone()))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        // Nobody asks the main map for this, so it need not be fast.
        let mut last = self.get(b"")?.map(|value| (Vec::new(), value));
        while let Some(next) = self.above(last.as_ref().map_or(b"", |(key, _)| key))? {
            if next.0.as_slice() > key {
                break;
            }
            last = Some(next);
        }
        Ok(last)
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        let mut at = key.to_vec();
        loop {
            let stored = self.map.above(&at)?;
            let from = (Bound::Excluded(at.as_slice()), Bound::Unbounded);
            match (stored, self.changes.range::<[u8], _>(from).next()) {
                (stored, None) => return Ok(stored),
                (Some(pair), Some((changed, _))) if pair.0 < *changed => return Ok(Some(pair)),
                (_, Some((changed, Some(value)))) => return Ok(Some((changed.clone(), value.clone()))),
                (_, Some((changed, None))) => at.clone_from(changed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::crash::Map;

    fn set(map: &mut Map, changes: &[(Vec<u8>, Option<Vec<u8>>)]) {
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
    }

    /// A map, a batch on it, and what the keys of the batch held before; one value is longer than a part.
    fn case() -> (Map, Changes, Changes) {
        let before = Map::from([(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), vec![7; 3 * PART_BYTES])]);
        let batch = vec![
            (b"a".to_vec(), Some(b"2".to_vec())),
            (b"b".to_vec(), Some(b"3".to_vec())),
            (b"c".to_vec(), None),
        ];
        let held = batch.iter().map(|(key, _)| (key.clone(), Map::get(&before, key).cloned())).collect();
        (before, batch, held)
    }

    #[test]
    fn a_batch_that_is_there_in_part_is_taken_back_and_a_whole_one_stays() {
        let (before, batch, held) = case();
        let parts = Undo::of(&batch, &held).to_pairs().unwrap();
        assert!(parts.len() > 3);
        for there in 0..1 << batch.len() {
            let mut map = before.clone();
            map.extend(parts.clone());
            let kept: Changes = (0..)
                .zip(&batch)
                .filter(|(at, _)| there >> at & 1 == 1)
                .map(|(_, change)| change.clone())
                .collect();
            set(&mut map, &kept);
            let found = find(&map).unwrap();
            assert_eq!(found.keys.len(), parts.len());
            let seen: Map = {
                let undone = Undone::of(&map).unwrap();
                let pairs: Map = with_prefix(&undone, b"").map(Result::unwrap).collect();
                for (key, value) in &pairs {
                    assert_eq!(undone.get(key).unwrap().as_ref(), Some(value));
                    assert_eq!(undone.at_most(key).unwrap(), Some((key.clone(), value.clone())));
                }
                pairs
            };
            set(&mut map, &found.changes);
            set(&mut map, &found.keys.into_iter().map(|key| (key, None)).collect::<Vec<_>>());
            let mut expected = before.clone();
            if kept.len() == batch.len() {
                set(&mut expected, &batch);
            }
            assert_eq!(map, expected, "{there:b}");
            assert_eq!(seen, expected, "{there:b}");
        }
    }

    #[test]
    fn where_not_all_of_it_is_there_nothing_of_the_batch_is_and_it_only_goes() {
        let (mut map, batch, held) = case();
        let parts = Undo::of(&batch, &held).to_pairs().unwrap();
        let before = map.clone();
        for kept in 0..parts.len() {
            map.clone_from(&before);
            map.extend(parts[..kept].iter().cloned());
            let found = find(&map).unwrap();
            assert_eq!((found.changes.len(), found.keys.len()), (0, kept));
        }
        // A part of another one.
        map.extend(parts.clone());
        let (key, other) = Undo::of(&batch[..1].to_vec(), &held).to_pairs().unwrap().remove(0);
        map.insert(key, other);
        assert_eq!(find(&map).unwrap().changes.len(), 1, "the shorter one is whole");
        map.insert(parts[1].0.clone(), b"damaged".to_vec());
        map.insert(parts[0].0.clone(), parts[0].1.clone());
        assert!(find(&map).unwrap().changes.is_empty());
    }
}
