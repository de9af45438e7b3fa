//! Filters: which names, addresses and targets a run cannot hold.
//!
//! A split-block Bloom filter (Putze, Sanders and Singler, 2007; the one Parquet stores): a hash chooses a block of 256
//! bits, and one bit in each of its eight words. An exact lookup asks it before it touches a run. It has a power of two
//! of blocks, chosen by the highest bits of the hash, so that one made too large, because the number of keys was only
//! bounded when it was begun, is folded to half its size by joining neighbours.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::seeded_hash;

/// Words of a block; one bit is set in each.
const WORDS: usize = 8;
/// Bits a key has at least; at most twice as many. Eight give about 3 % of needless looks, sixteen 0.1 %.
const BITS_PER_KEY: u64 = 8;
/// Bits a key has in the filter of a log, at least and at most: about 6 % and 0.1 % of needless looks; and between them as many as this for
/// each line. A log of a real site has a key for several lines.
const LOG_BITS_PER_KEY: [u64; 2] = [6, 16];
const LOG_BITS_PER_LINE: u64 = 11;
/// Bits of a key of any other filter that stands alone.
const BITS_PER_INDICATOR: u64 = 12;
/// Multipliers that choose the bit in each word (from the Parquet format).
const SALT: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The seed of filters that are never stored.
static IN_MEMORY: LazyLock<u64> = LazyLock::new(seeded_hash::new_seed);

/// The seed of filters that are never stored.
pub(crate) fn seed_in_memory() -> u64 {
    *IN_MEMORY
}

/// The hash that a filter with this seed is asked with.
pub(crate) fn hash(seed: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// Bytes of a block.
const BLOCK_BYTES: usize = WORDS * size_of::<u32>();

/// Which of so many blocks a hash chooses: by its highest bits where that is a power of two.
fn block_of(blocks: usize, hash: u64) -> usize {
    ((u128::from(hash) * blocks as u128) >> u64::BITS) as usize
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

    /// The seed of the hashes that it is asked with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn block_of(&self, hash: u64) -> usize {
        block_of(self.blocks.len(), hash)
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
        Filter::of_any_length(stored).filter(|filter| filter.blocks.len().is_power_of_two())
    }

    fn of_any_length(stored: &[u8]) -> Option<Filter> {
        let (words, rest) = stored.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
        let (blocks, tail) = words.as_chunks::<WORDS>();
        let seed = match *tail {
            [] => 0,
            [high, low] => u64::from(high) << 32 | u64::from(low),
            _ => return None,
        };
        (rest.is_empty() && !blocks.is_empty()).then(|| Filter { seed, blocks: blocks.to_vec() })
    }
}

//--- LogFilter ------------------------------------------------------------------------------------------------------

/// A filter of what is in a log, or of other things that are known by keys, for who has no business with runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(Filter);

impl LogFilter {
    /// The hash of a key.
    pub fn hash(seed: u64, key: &[u8]) -> u64 {
        hash(seed, key)
    }

    /// One of these hashes, with 12 bits for each: about 0.4 % of needless looks. It is never folded, and need not have a power of two of
    /// blocks.
    pub fn of(seed: u64, hashes: impl ExactSizeIterator<Item = u64>) -> LogFilter {
        let bits = (hashes.len() as u64).saturating_mul(BITS_PER_INDICATOR);
        LogFilter::filled(seed, bits, hashes)
    }

    /// One of these hashes, of which some may be there more than once, of a log with so many lines. It has more room for each than that of
    /// a run, for a needless look costs the reading of a log; and less where a log has more keys than lines.
    pub fn of_log(seed: u64, hashes: &[u64], lines: u64) -> LogFilter {
        let keys = distinct(hashes);
        let bits = lines
            .saturating_mul(LOG_BITS_PER_LINE)
            .clamp(keys.saturating_mul(LOG_BITS_PER_KEY[0]), keys.saturating_mul(LOG_BITS_PER_KEY[1]));
        LogFilter::filled(seed, bits, hashes.iter().copied())
    }

    fn filled(seed: u64, bits: u64, hashes: impl Iterator<Item = u64>) -> LogFilter {
        let blocks = usize::try_from(bits.div_ceil(8 * BLOCK_BYTES as u64)).unwrap_or(1).max(1);
        let mut filter = Filter { seed, blocks: vec![[0; WORDS]; blocks] };
        hashes.for_each(|hash| filter.insert(hash));
        LogFilter(filter)
    }

    /// Whether a key may be in it.
    pub fn may_hold(&self, key: &[u8]) -> bool {
        self.0.may_hold(hash(self.0.seed(), key))
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Takes one from its stored form; `None` when the length does not fit.
    pub fn from_bytes(stored: &[u8]) -> Option<LogFilter> {
        Filter::of_any_length(stored).map(LogFilter)
    }
}

/// About how many different hashes there are, at least: counted by how many of twice as many bits they leave free (Whang, Vander-Zanden and
/// Taylor, 1990).
fn distinct(hashes: &[u64]) -> u64 {
    let bits = (hashes.len() as u64).saturating_mul(2).next_power_of_two().max(1024);
    let mut words = vec![0u64; usize::try_from(bits / 64).unwrap_or_default()];
    for hash in hashes {
        // Not by the highest bits: these choose the block.
        let at = hash & (bits - 1);
        if let Some(word) = words.get_mut((at / 64) as usize) {
            *word |= 1 << (at % 64);
        }
    }
    let free: u64 = words.iter().map(|word| u64::from(word.count_zeros())).sum();
    let estimate = -(bits as f64) * (free.max(1) as f64 / bits as f64).ln();
    (estimate.ceil() as u64).min(hashes.len() as u64)
}

//--- Pages ----------------------------------------------------------------------------------------------------------

/// A filter as it is stored, of which only those pages are in memory that were asked for of late: [`super::cache`] has them go again.
#[derive(Debug)]
pub(crate) struct Pages {
    seed: u64,
    /// How many blocks there are in all, and in a page; none in a filter that denies nothing.
    blocks: usize,
    in_page: usize,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    page: RwLock<Option<Bytes>>,
    /// Whether it was asked for since it was looked at last.
    asked_for: AtomicBool,
}

impl Pages {
    /// A filter that denies no key.
    pub fn of_anything() -> Pages {
        Pages { seed: 0, blocks: 0, in_page: 1, slots: Box::default() }
    }

    /// One of so many pages of which these are the first and the last; `None` where that cannot be.
    pub fn new(pages: usize, first: &[u8], last: &[u8]) -> Option<Pages> {
        let all = first.len().checked_mul(pages.checked_sub(1)?)?.checked_add(last.len())?;
        let (blocks, seed) = match all % BLOCK_BYTES {
            0 => (all / BLOCK_BYTES, 0),
            8 => (all / BLOCK_BYTES, u64::from_be_bytes(*last.last_chunk()?)),
            _ => return None,
        };
        let in_page = first.len() / BLOCK_BYTES;
        let is_cut_between_blocks = pages == 1 || first.len().is_multiple_of(BLOCK_BYTES);
        if !blocks.is_power_of_two() || !is_cut_between_blocks {
            return None;
        }
        let slots = std::iter::repeat_with(Slot::default).take(pages).collect();
        Some(Pages { seed, blocks, in_page: in_page.max(1), slots })
    }

    /// The seed of the hashes that it is asked with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many pages there are.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// The page where a hash is looked for.
    pub fn page_of(&self, hash: u64) -> usize {
        block_of(self.blocks, hash) / self.in_page
    }

    /// Whether a key may have been added, if its page is in memory; what is being changed just now is not waited for.
    pub fn look(&self, hash: u64) -> Option<bool> {
        if self.blocks == 0 {
            return Some(true);
        }
        let slot = self.slots.get(self.page_of(hash))?;
        let page = slot.page.try_read()?;
        let found = self.look_in(page.as_ref()?, hash);
        // A write only where it changes something: the line of memory is shared by all who read.
        if !slot.asked_for.load(Ordering::Relaxed) {
            slot.asked_for.store(true, Ordering::Relaxed);
        }
        Some(found)
    }

    /// The same in a page that is at hand. What is not there denies nothing.
    pub fn look_in(&self, page: &[u8], hash: u64) -> bool {
        let (blocks, _) = page.as_chunks::<BLOCK_BYTES>();
        let Some(block) = blocks.get(block_of(self.blocks, hash) % self.in_page) else { return true };
        let (words, _) = block.as_chunks::<4>();
        words.iter().zip(Filter::masks(hash)).all(|(word, mask)| u32::from_be_bytes(*word) & mask != 0)
    }

    /// Puts a page into memory; `false` where it is there already, or is none.
    pub fn put(&self, at: usize, bytes: &Bytes) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        let mut page = slot.page.write();
        let is_new = page.is_none();
        if is_new {
            *page = Some(bytes.clone());
        }
        is_new
    }

    /// Takes a page from memory, unless it was asked for since this was asked last; whether it is gone.
    pub fn take(&self, at: usize) -> bool {
        let Some(slot) = self.slots.get(at) else { return true };
        if slot.asked_for.swap(false, Ordering::Relaxed) {
            return false;
        }
        *slot.page.write() = None;
        true
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
        for seed in [SEED, seeded_hash::new_seed(), seed_in_memory()] {
            assert!(admitted(seed) < 100, "{}", admitted(seed));
        }
    }

    #[test]
    fn the_filter_of_a_log_has_no_more_bytes_than_its_keys_need() {
        for (keys, lines, bits, most) in [
            (0u32, 0, 0, 20),
            (1, 1, 11, 20),
            (1000, 10_000, 16, 40),
            (9000, 90_000, 16, 40),
            (9000, 7_500, 10, 300),
            (9000, 1000, 6, 1000),
        ] {
            // Each of them twice.
            let hashes: Vec<u64> = (0..keys).chain(0..keys).map(|i| hash(SEED, &i.to_be_bytes())).collect();
            let filter = LogFilter::of_log(SEED, &hashes, lines);
            let stored = filter.to_bytes();
            let expected = (keys * bits / 8) as usize;
            let is_near = |bytes: usize| bytes * 100 <= expected * 103 + 100 * (BLOCK_BYTES + 8);
            assert!(is_near(stored.len()), "{keys} {lines}: {} {expected}", stored.len());
            assert_eq!(LogFilter::from_bytes(&stored), Some(filter.clone()));
            assert!((0..keys).all(|i| filter.may_hold(&i.to_be_bytes())));
            let needless =
                (1 << 20..(1 << 20) + 10_000u32).filter(|i| filter.may_hold(&i.to_be_bytes())).count();
            assert!(needless < most, "{keys} {lines}: {needless}");
        }
        assert_eq!(LogFilter::from_bytes(&[]), None);
    }

    #[test]
    fn folding_gives_what_a_smaller_filter_had_been() {
        let mut folded = filled(100_000, 1000);
        folded.shrink(1000);
        assert_eq!(folded, filled(1000, 1000));
    }

    #[test]
    fn a_filter_is_asked_page_by_page_and_says_the_same() {
        for (keys, page_bytes) in [(10, 6144), (1000, 96), (3000, 6144), (100_000, 8192)] {
            let filter = filled(u64::from(keys), keys);
            let stored = filter.to_bytes();
            let pages: Vec<Bytes> = stored.chunks(page_bytes).map(Bytes::copy_from_slice).collect();
            let paged = Pages::new(pages.len(), &pages[0], &pages[pages.len() - 1]).unwrap();
            assert_eq!((paged.seed(), paged.count()), (SEED, pages.len()));
            for i in 0..2 * keys {
                let hash = hash(SEED, &i.to_be_bytes());
                let page = &pages[paged.page_of(hash)];
                assert_eq!(paged.look_in(page, hash), filter.may_hold(hash), "{i} of {keys}");
            }
            // In memory is what was put there and not taken.
            let one = hash(SEED, &7u32.to_be_bytes());
            let at = paged.page_of(one);
            assert_eq!(paged.look(one), None);
            assert!(paged.put(at, &pages[at]) && !paged.put(at, &pages[at]));
            assert_eq!(paged.look(one), Some(true));
            assert!(!paged.take(at) && paged.take(at), "what was asked for stays for once");
            assert_eq!(paged.look(one), None);
        }
        assert_eq!(Pages::of_anything().look(1), Some(true));
        assert!(Pages::new(1, &[0; 40], &[0; 44]).is_none() && Pages::new(2, &[0; 40], &[0; 24]).is_none());
        assert!(Pages::new(0, &[], &[]).is_none());
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
