//! Random numbers that are the same everywhere and for ever: SplitMix64, and the few distributions that are needed.

/// A stream of numbers that follows from its seed alone (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The stream of one thing of a kind: whatever is asked of it, it answers the same each time.
    pub fn keyed(seed: u64, kind: u64, id: u64) -> Random {
        let mut seeded = Random(seed ^ kind.rotate_left(48));
        Random(seeded.bits() ^ id.wrapping_mul(0x9fb2_1c65_1e98_df25))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 128-bit product; its bias is below 2^-32 for every bound used here.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from the first to the last, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True so often.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A waiting time of this mean (exponential).
    pub fn gap(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// One of some things, each as likely; the default only when there is none.
    pub fn one_of<T: Copy + Default>(&mut self, things: &[T]) -> T {
        let at = self.below(things.len() as u64) as usize;
        things.get(at).copied().unwrap_or_default()
    }

    /// One of some things, each as likely as its weight; the default only when there is none.
    pub fn weighted<T: Copy + Default>(&mut self, things: &[(u32, T)]) -> T {
        let mut left = self.below(things.iter().map(|&(weight, _)| u64::from(weight)).sum());
        for &(weight, thing) in things {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return thing,
            }
        }
        T::default()
    }

    /// A rank below `count`, small ones often: Zipf's law, rank r having a share of about (r+1)^-skew.
    ///
    /// The distribution function is that of the integral of x^-skew, inverted in closed form.
    pub fn rank(&mut self, count: u64, skew: f64) -> u64 {
        let (u, n) = (self.unit(), (count + 1) as f64);
        let flatness = 1.0 - skew;
        let x = if flatness.abs() < 1e-9 {
            n.powf(u)
        } else {
            (u * (n.powf(flatness) - 1.0) + 1.0).powf(1.0 / flatness)
        };
        (x as u64).saturating_sub(1).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn weights_are_kept() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 3];
        for _ in 0..10_000 {
            seen[random.weighted(&[(1, 0usize), (0, 1), (3, 2)])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((2_300..2_700).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn ranks_follow_zipf() {
        for skew in [0.7, 1.0, 1.2] {
            let mut random = Random::new(2);
            let mut seen = [0u32; 1_000];
            for _ in 0..200_000 {
                seen[random.rank(1_000, skew) as usize] += 1;
            }
            let (tens, hundreds) = (seen[8..12].iter().sum::<u32>(), seen[80..120].iter().sum::<u32>());
            let integral = |from: f64, to: f64| match 1.0 - skew {
                0.0 => (to / from).ln(),
                flatness => (to.powf(flatness) - from.powf(flatness)) / flatness,
            };
            let expected = integral(9.0, 13.0) / integral(81.0, 121.0);
            let ratio = f64::from(tens) / f64::from(hundreds);
            assert!((ratio / expected - 1.0).abs() < 0.05, "skew {skew}: {ratio} instead of {expected}");
        }
    }

    #[test]
    fn bounds_hold_at_their_ends() {
        let mut random = Random::new(3);
        assert_eq!(
            (random.below(0), random.below(1), random.rank(0, 1.0), random.rank(1, 1.0)),
            (0, 0, 0, 0)
        );
        assert!((0..1_000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.one_of::<u8>(&[]), 0);
    }
}
