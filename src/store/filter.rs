//! Filters: which names, addresses and targets a run cannot hold.
//!
//! A split-block Bloom filter (Putze, Sanders and Singler, 2007; the one Parquet stores): a hash chooses a block of 256
//! bits, and one bit in each of its eight words. An exact lookup asks it before it touches a run. It has a power of two
//! of blocks, chosen by the highest bits of the hash, so that one made too large, because the number of keys was only
//! bounded when it was begun, is folded to half its size by joining neighbours.

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::keyed;

/// Words of a block; one bit is set in each.
const WORDS: usize = 8;
/// Bits a key has at least; at most twice as many. Eight give about 3 % of needless looks, sixteen 0.1 %.
const BITS_PER_KEY: u64 = 8;
/// Multipliers that choose the bit in each word (from the Parquet format).
const SALT: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The seed of filters that are never stored.
static IN_MEMORY: LazyLock<u64> = LazyLock::new(keyed::new_seed);

/// The seed of filters that are never stored.
pub(crate) fn seed_in_memory() -> u64 {
    *IN_MEMORY
}

/// The hash that a filter with this seed is asked with.
pub(crate) fn hash(seed: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// A set that says "no" or "perhaps".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Of its hash, so that nobody can choose names which all fall into one block. 0 in filters of earlier versions, which
    /// had none.
    seed: u64,
    blocks: Vec<[u32; WORDS]>,
}

impl Filter {
    /// An empty filter for up to so many keys.
    pub fn new(keys: u64, seed: u64) -> Filter {
        let blocks = (keys.saturating_mul(BITS_PER_KEY) / 256).max(1).next_power_of_two();
        Filter { seed, blocks: vec![[0; WORDS]; usize::try_from(blocks).unwrap_or(1)] }
    }

    /// One that denies nothing.
    pub fn of_anything() -> Filter {
        Filter { seed: 0, blocks: vec![[u32::MAX; WORDS]] }
    }

    /// The seed of the hashes that it is asked with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn block_of(&self, hash: u64) -> usize {
        let bits = self.blocks.len().trailing_zeros();
        hash.checked_shr(u64::BITS - bits).unwrap_or(0) as usize
    }

    fn masks(hash: u64) -> [u32; WORDS] {
        SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
    }

    /// Adds a key by its hash.
    pub fn insert(&mut self, hash: u64) {
        let at = self.block_of(hash);
        if let Some(block) = self.blocks.get_mut(at) {
            block.iter_mut().zip(Self::masks(hash)).for_each(|(word, mask)| *word |= mask);
        }
    }

    /// Whether a key may have been added.
    pub fn may_hold(&self, hash: u64) -> bool {
        self.blocks
            .get(self.block_of(hash))
            .is_some_and(|block| block.iter().zip(Self::masks(hash)).all(|(word, mask)| word & mask != 0))
    }

    /// Halves it for as long as it has room enough for so many keys.
    pub fn shrink(&mut self, keys: u64) {
        let enough = Filter::new(keys, self.seed).blocks.len();
        while self.blocks.len() > enough {
            let (pairs, _) = self.blocks.as_chunks::<2>();
            self.blocks = pairs
                .iter()
                .map(|[a, b]| {
                    let mut both = *a;
                    both.iter_mut().zip(b).for_each(|(word, other)| *word |= other);
                    both
                })
                .collect();
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * WORDS * size_of::<u32>()
    }

    /// The stored form: the words, big-endian, and behind them the seed, where there is one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.blocks.iter().flatten().flat_map(|word| word.to_be_bytes());
        let seed = if self.seed == 0 { None } else { Some(self.seed.to_be_bytes()) };
        words.chain(seed.into_iter().flatten()).collect()
    }

    /// Takes a filter from its stored form; `None` when the length does not fit.
    pub fn from_bytes(stored: &[u8]) -> Option<Filter> {
        let (words, rest) = stored.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
        let (blocks, tail) = words.as_chunks::<WORDS>();
        let seed = match *tail {
            [] => 0,
            [high, low] => u64::from(high) << 32 | u64::from(low),
            _ => return None,
        };
        (rest.is_empty() && blocks.len().is_power_of_two()).then(|| Filter { seed, blocks: blocks.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 0x1234_5678_9abc_def0;

    fn filled(room: u64, keys: u32) -> Filter {
        let mut filter = Filter::new(room, SEED);
        (0..keys).for_each(|i| filter.insert(hash(SEED, &i.to_be_bytes())));
        filter
    }

    fn needless(filter: &Filter) -> usize {
        (1 << 20..(1 << 20) + 10_000u32).filter(|i| filter.may_hold(hash(SEED, &i.to_be_bytes()))).count()
    }

    #[test]
    fn what_was_added_is_never_denied_and_little_else_is_admitted() {
        for keys in [0, 1, 30, 1000, 9000] {
            let filter = filled(u64::from(keys), keys);
            assert!((0..keys).all(|i| filter.may_hold(hash(SEED, &i.to_be_bytes()))));
            assert!(needless(&filter) < 500, "{keys}: {}", needless(&filter));
        }
    }

    #[test]
    fn names_that_collide_by_the_public_hash_are_told_apart_by_one_with_a_seed() {
        // The eight bytes at 16 are those of XXH3's secret, so that the eight beside them count for nothing.
        let name = |i: u32| {
            let mut name = vec![b'k'; 130];
            name[16..24].copy_from_slice(&[0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb]);
            name[24..32].copy_from_slice(format!("{i:08x}").as_bytes());
            name
        };
        let admitted = |seed: u64| {
            let mut filter = Filter::new(1000, seed);
            (0..1000).for_each(|i| filter.insert(hash(seed, &name(i))));
            assert!((0..1000).all(|i| filter.may_hold(hash(seed, &name(i)))));
            (1000..2000).filter(|i| filter.may_hold(hash(seed, &name(*i)))).count()
        };
        assert_eq!(admitted(0), 1000);
        for seed in [SEED, keyed::new_seed(), seed_in_memory()] {
            assert!(admitted(seed) < 100, "{}", admitted(seed));
        }
    }

    #[test]
    fn folding_gives_what_a_smaller_filter_had_been() {
        let mut folded = filled(100_000, 1000);
        folded.shrink(1000);
        assert_eq!(folded, filled(1000, 1000));
    }

    #[test]
    fn the_stored_form_round_trips() {
        let filter = filled(1000, 1000);
        let stored = filter.to_bytes();
        assert_eq!(stored.len(), filter.bytes() + 8);
        assert_eq!(Filter::from_bytes(&stored), Some(filter.clone()));
        // As earlier versions wrote it.
        let old = Filter::from_bytes(&stored[..filter.bytes()]).unwrap();
        assert_eq!((old.seed(), old.bytes()), (0, filter.bytes()));
        assert_eq!(old.to_bytes(), stored[..filter.bytes()]);
        for cut in [1, 4, 7, 12] {
            assert_eq!(Filter::from_bytes(&stored[..stored.len() - cut]), None);
        }
        assert_eq!(Filter::from_bytes(&stored[..100]), None);
        assert_eq!(Filter::from_bytes(&[]), None);
    }
}
