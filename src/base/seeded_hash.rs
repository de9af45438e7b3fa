//! The hash of tables whose keys come from logs.
//!
//! Whoever can send a DNS query chooses names. With a hash that they can compute they would choose names that all collide,
//! and each look-up in a table would walk through all of them. So the secret of this hash is drawn anew by each process:
//! what collides in one does not collide in another, and nobody outside knows either. It is never stored. What is stored (filters of runs) has a seed of its own, beside it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_secret;

/// Bytes of a secret of XXH3: as many as its own has.
const SECRET_BYTES: usize = 192;

/// The secret of this process, from the system's randomness by way of the standard library's keyed hash.
static SECRET: LazyLock<[u8; SECRET_BYTES]> = LazyLock::new(|| {
    let random = RandomState::new();
    let mut secret = [0; SECRET_BYTES];
    for (at, word) in secret.chunks_mut(size_of::<u64>()).enumerate() {
        word.copy_from_slice(&random.hash_one(at).to_be_bytes());
    }
    secret
});

/// The hash of a key in this process.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64_with_secret(key, &*SECRET)
}

/// A number that nobody can foretell, and not 0: the seed of a hash that is to be kept.
pub fn new_seed() -> u64 {
    RandomState::new().hash_one(0u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use xxhash_rust::xxh3::xxh3_64;

    /// Keys that all have one hash under the secret that XXH3 has by itself: the eight bytes at 16 are those of the secret
    /// that they are multiplied with, so that the eight beside them count for nothing.
    fn colliding(count: u32) -> Vec<Vec<u8>> {
        const SECRET_AT_16: [u8; 8] = [0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb];
        let key = |i: u32| {
            let mut key = vec![b'k'; 130];
            key[16..24].copy_from_slice(&SECRET_AT_16);
            key[24..32].copy_from_slice(format!("{i:08x}").as_bytes());
            key
        };
        (0..count).map(key).collect()
    }

    #[test]
    fn keys_that_collide_by_the_public_secret_do_not_collide_here() {
        let keys = colliding(1000);
        let public: HashSet<u64> = keys.iter().map(|key| xxh3_64(key)).collect();
        assert_eq!(public.len(), 1, "the construction is one");
        let own: HashSet<u64> = keys.iter().map(|key| hash(key)).collect();
        assert_eq!(own.len(), keys.len());
        // Nor do their low bits, by which a table chooses, gather.
        let buckets: HashSet<u64> = own.iter().map(|hash| hash % 1024).collect();
        assert!(buckets.len() > 512, "{}", buckets.len());
    }
}
