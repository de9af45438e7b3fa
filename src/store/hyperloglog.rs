//! How many distinct names there were, without keeping them: a HyperLogLog of 4,096 registers (Flajolet, Fusy, Gandouet and
//! Meunier, 2007), which errs by 1.6 %.
//!
//! What is stored are the registers, one byte each. The hash of a name (XXH3-64 of its key form, seeded by the ledger, so
//! that nobody can choose names that count for many) has the register in its upper 12 bits; the register keeps the greatest
//! number of zero bits, plus one, that a hash of its own ended with. Two are merged by the maximum of each register, so that a name that comes twice counts once.

use std::hash::{BuildHasherDefault, DefaultHasher};

use hyperloglockless::HyperLogLog;

/// Bits of a hash that choose the register.
const PRECISION: u32 = 12;
/// Registers, and bytes that are stored.
pub(crate) const REGISTERS: usize = 1 << PRECISION;
/// The greatest value of a register: that of a hash of zeros.
const MOST: u8 = u64::BITS as u8 + 1;

/// A set of names of which only the number is known, about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketch(Vec<u8>);

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch(vec![0; REGISTERS])
    }
}

impl Sketch {
    /// Adds a name by its hash.
    pub fn insert(&mut self, hash: u64) {
        let value = 1 + hash.trailing_zeros() as u8;
        if let Some(register) = self.0.get_mut((hash >> (u64::BITS - PRECISION)) as usize) {
            *register = value.max(*register);
        }
    }

    /// Adds all that another one holds.
    pub fn merge(&mut self, other: &Sketch) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
    }

    /// How many names it holds, about.
    pub fn estimate(&self) -> u64 {
        let zeros = self.0.iter().filter(|register| **register == 0).count();
        let sum = self.0.iter().map(|register| f64::from(*register)).map(|value| (-value).exp2()).sum();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let count = HyperLogLog::from_parts(self.0.clone().into(), hasher, zeros, sum).raw_count();
        count.round() as u64
    }

    /// The stored form.
    pub fn to_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes one from its stored form.
    pub fn from_bytes(stored: &[u8]) -> Option<Sketch> {
        let sound = stored.len() == REGISTERS && stored.iter().all(|register| *register <= MOST);
        sound.then(|| Sketch(stored.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    fn of(names: std::ops::Range<u64>, seed: u64) -> Sketch {
        let mut sketch = Sketch::default();
        names.for_each(|name| sketch.insert(xxh3_64_with_seed(&name.to_be_bytes(), seed)));
        sketch
    }

    #[test]
    fn the_estimate_is_near_whatever_there_is() {
        assert_eq!(of(0..0, 1).estimate(), 0);
        for count in [1, 10, 100, 1000, 5_000, 20_000, 100_000, 1_000_000] {
            for seed in 0..3 {
                let estimate = of(0..count, seed).estimate();
                let error = estimate.abs_diff(count) as f64 / count as f64;
                assert!(error < 0.06, "{count} names with seed {seed}: {estimate}");
            }
        }
    }

    #[test]
    fn merging_counts_a_name_once_and_in_any_order() {
        let (a, b) = (of(0..6000, 5), of(3000..9000, 5));
        let mut ab = a.clone();
        ab.merge(&b);
        let mut ba = b.clone();
        ba.merge(&a);
        assert_eq!((&ab, ab.estimate()), (&ba, of(0..9000, 5).estimate()));
        let before = ab.clone();
        ab.merge(&a);
        assert_eq!(ab, before);
    }

    #[test]
    fn the_stored_form_round_trips_and_nonsense_is_none() {
        let sketch = of(0..500, 9);
        assert_eq!(Sketch::from_bytes(sketch.to_bytes()), Some(sketch.clone()));
        assert_eq!(Sketch::from_bytes(&sketch.to_bytes()[1..]), None);
        let mut nonsense = sketch.to_bytes().to_vec();
        nonsense[7] = 99;
        assert_eq!(Sketch::from_bytes(&nonsense), None);
        // All ones and all zeros are hashes, too.
        let mut extremes = Sketch::default();
        [0, u64::MAX, 1 << 63].into_iter().for_each(|hash| extremes.insert(hash));
        assert!(Sketch::from_bytes(extremes.to_bytes()).is_some() && extremes.estimate() < 10);
    }
}
