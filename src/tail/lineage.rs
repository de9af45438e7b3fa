//! The running identity of a log.
//!
//! A lineage is hashed from its first byte on, so that at every line end the hash of everything before it is known:
//! the hash at the end of the first record *is* the lineage's identity, later ones prove that another file holds the
//! same bytes up to there.

use xxhash_rust::xxh3::Xxh3;

use crate::progress::{LineageId, Mark};

/// Marks that are always kept, the newest ones.
const RECENT_MARKS: usize = 8;

/// The hash of a lineage's bytes up to some place.
#[derive(Clone)]
pub struct Prefix {
    hasher: Box<Xxh3>,
    offset: u64,
}

impl Default for Prefix {
    fn default() -> Prefix {
        Prefix { hasher: Box::new(Xxh3::new()), offset: 0 }
    }
}

impl Prefix {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Bytes taken so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// This place and the hash of everything before it.
    pub fn mark(&self) -> Mark {
        Mark { offset: self.offset, hash: self.hasher.digest128().to_be_bytes() }
    }

    /// The identity, when the bytes taken end with the first complete record.
    pub fn lineage_id(&self) -> LineageId {
        LineageId(self.hasher.digest128().to_be_bytes())
    }
}

/// Adds a mark to ascending ones and thins the older: the newest few stay, before them the gaps grow with the distance,
/// so that the number of marks grows with the logarithm of the length.
pub fn push_mark(marks: &mut Vec<Mark>, mark: Mark) {
    if marks.last().is_some_and(|last| last.offset >= mark.offset) {
        return;
    }
    marks.push(mark);
    let recent = marks.len().saturating_sub(RECENT_MARKS);
    let end = mark.offset;
    let mut kept_before: Option<u64> = None;
    let mut at = 0;
    marks.retain(|mark| {
        let keep =
            at >= recent || kept_before.is_none_or(|before| (mark.offset - before) * 4 >= end - mark.offset);
        if keep {
            kept_before = Some(mark.offset);
        }
        at += 1;
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_depend_on_the_reads() {
        let mut a = Prefix::default();
        a.update(b"hello ");
        a.update(b"world\n");
        let mut b = Prefix::default();
        b.update(b"hello world\n");
        assert_eq!((a.mark(), a.offset()), (b.mark(), 12));
        assert_eq!(a.lineage_id().0, b.mark().hash);
    }

    #[test]
    fn marks_stay_few_and_cover_the_whole_length() {
        let mut marks = Vec::new();
        for i in 1..=100_000u64 {
            push_mark(&mut marks, Mark { offset: i * 1000, hash: [0; 16] });
            assert!(marks.len() <= 64, "{}", marks.len());
        }
        assert!(marks.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        let last: Vec<u64> = marks.iter().rev().take(8).map(|m| m.offset).collect();
        assert_eq!(last, (0..8).map(|i| (100_000 - i) * 1000).collect::<Vec<_>>());
        assert!(marks[0].offset < 50_000_000);
    }
}
