//! Millions of keys in the order of the ledger, in little memory.
//!
//! What comes is collected, sorted by some hundred thousands, and packed: of each key only what differs from the one before. The
//! packed pieces are merged when they are read.

/// Entries that are sorted together.
const PIECE: usize = 1 << 18;

/// An indicator among those that are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedKey {
    /// The name in key form, or the network.
    pub key: Vec<u8>,
    /// Whether it is that name alone.
    pub is_name: bool,
    /// The line in the source.
    pub line: u64,
    /// What is seen after this is no hit.
    pub until: u64,
    /// The place of its note in the file of notes.
    pub note: u64,
}

impl WantedKey {
    fn order(&self) -> (&[u8], bool, u64) {
        (&self.key, self.is_name, self.line)
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    at: usize,
    length: u32,
    is_name: bool,
    line: u64,
    until: u64,
    note: u64,
}

/// Keys that are collected.
#[derive(Debug, Default)]
pub struct Sorted {
    keys: Vec<u8>,
    waiting: Vec<Waiting>,
    pieces: Vec<Box<[u8]>>,
    piece_bytes: u64,
    len: u64,
}

impl Sorted {
    /// Adds one.
    pub fn push(&mut self, key: &[u8], is_name: bool, line: u64, until: u64, note: u64) {
        let (at, length) = (self.keys.len(), u32::try_from(key.len()).unwrap_or(u32::MAX));
        self.keys.extend_from_slice(key);
        self.waiting.push(Waiting { at, length, is_name, line, until, note });
        self.len += 1;
        if self.waiting.len() >= PIECE {
            self.pack();
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of memory that they take, about.
    pub fn bytes(&self) -> u64 {
        let waiting = self.keys.capacity() + self.waiting.capacity() * size_of::<Waiting>();
        self.piece_bytes + waiting as u64
    }

    fn pack(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let keys = &self.keys;
        let key = |one: &Waiting| keys.get(one.at..one.at + one.length as usize).unwrap_or_default();
        self.waiting.sort_unstable_by(|a, b| {
            key(a).cmp(key(b)).then_with(|| (a.is_name, a.line).cmp(&(b.is_name, b.line)))
        });
        let mut out = Vec::with_capacity(self.keys.len() / 2 + self.waiting.len() * 8);
        let mut before: &[u8] = &[];
        for one in &self.waiting {
            let key = key(one);
            let shared = key.iter().zip(before).take_while(|(a, b)| a == b).count();
            let has_more = u64::from(one.until != u64::MAX || one.note != 0);
            push_varint((shared as u64) << 2 | has_more << 1 | u64::from(one.is_name), &mut out);
            let rest = key.get(shared..).unwrap_or_default();
            push_varint(rest.len() as u64, &mut out);
            out.extend_from_slice(rest);
            push_varint(one.line, &mut out);
            if has_more > 0 {
                push_varint(if one.until == u64::MAX { 0 } else { one.until + 1 }, &mut out);
                push_varint(one.note, &mut out);
            }
            before = key;
        }
        let piece = out.into_boxed_slice();
        self.piece_bytes += piece.len() as u64;
        self.pieces.push(piece);
        self.keys.clear();
        self.waiting.clear();
    }

    /// All of them in their order, the same key once.
    pub fn into_iter(mut self) -> MergedKeys {
        self.pack();
        let pieces = std::mem::take(&mut self.pieces);
        let mut heap: Vec<Piece> = pieces.into_iter().filter_map(Piece::open).collect();
        for at in (0..heap.len() / 2).rev() {
            sink(&mut heap, at);
        }
        MergedKeys { heap, ahead: None, duplicates: 0 }
    }
}

/// A packed piece being read.
#[derive(Debug)]
struct Piece {
    bytes: Box<[u8]>,
    at: usize,
    current: WantedKey,
}

impl Piece {
    fn open(bytes: Box<[u8]>) -> Option<Piece> {
        let mut piece = Piece { bytes, at: 0, current: WantedKey::default() };
        piece.advance().then_some(piece)
    }

    fn advance(&mut self) -> bool {
        self.step().is_some()
    }

    fn step(&mut self) -> Option<()> {
        let mut rest = self.bytes.get(self.at..)?;
        let head = varint(&mut rest)?;
        self.current.key.truncate(usize::try_from(head >> 2).ok()?);
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let (own, after) = rest.split_at_checked(length)?;
        self.current.key.extend_from_slice(own);
        rest = after;
        self.current.is_name = head & 1 > 0;
        self.current.line = varint(&mut rest)?;
        (self.current.until, self.current.note) = (u64::MAX, 0);
        if head & 2 > 0 {
            self.current.until = varint(&mut rest)?.checked_sub(1).unwrap_or(u64::MAX);
            self.current.note = varint(&mut rest)?;
        }
        self.at = self.bytes.len() - rest.len();
        Some(())
    }
}

/// Puts a piece of a heap in its place, the least first.
fn sink(heap: &mut [Piece], mut at: usize) {
    loop {
        let least = [2 * at + 1, 2 * at + 2, at].into_iter().filter_map(|at| Some((at, heap.get(at)?)));
        let Some((least, _)) = least.min_by(|(_, a), (_, b)| a.current.order().cmp(&b.current.order()))
        else {
            return;
        };
        if least == at {
            return;
        }
        heap.swap(least, at);
        at = least;
    }
}

/// Keys in their order.
pub struct MergedKeys {
    heap: Vec<Piece>,
    ahead: Option<WantedKey>,
    duplicates: u64,
}

impl MergedKeys {
    /// How many were left out, because they were there already.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Whether a key is left.
    pub fn has_any(&self) -> bool {
        self.ahead.is_some() || !self.heap.is_empty()
    }

    fn pop(&mut self) -> Option<WantedKey> {
        let first = self.heap.first_mut()?;
        let wanted = first.current.clone();
        if !first.advance() {
            self.heap.swap_remove(0);
        }
        sink(&mut self.heap, 0);
        Some(wanted)
    }
}

impl Iterator for MergedKeys {
    type Item = WantedKey;

    fn next(&mut self) -> Option<WantedKey> {
        let mut wanted = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.pop()?,
        };
        loop {
            match self.pop() {
                // Also a name whose domain is there for as long.
                Some(next)
                    if next.key == wanted.key
                        && (next.is_name == wanted.is_name || next.until <= wanted.until) =>
                {
                    self.duplicates += 1;
                    wanted.until = wanted.until.max(next.until);
                    if next.line < wanted.line && next.is_name == wanted.is_name {
                        (wanted.line, wanted.note) = (next.line, next.note);
                    }
                }
                next => {
                    self.ahead = next;
                    return Some(wanted);
                }
            }
        }
    }
}

//--- varint ---------------------------------------------------------------------------------------------------------

/// Appends a number, seven bits a byte, the lowest first.
pub fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes such a number off the front.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_pushed_comes_in_order_and_once(
            pushed in proptest::collection::vec(
                (proptest::collection::vec(0u8..3, 0..4), any::<bool>(), prop_oneof![Just(u64::MAX), 0u64..9], 0u64..9), 0..60),
            packs in proptest::collection::vec(0usize..60, 0..5),
        ) {
            let mut sorted = Sorted::default();
            for (at, (key, is_name, until, note)) in pushed.iter().enumerate() {
                sorted.push(key, *is_name, at as u64 + 1, *until, *note);
                if packs.contains(&at) {
                    sorted.pack();
                }
            }
            prop_assert_eq!(sorted.len(), pushed.len() as u64);
            let mut merged = sorted.into_iter();
            let all: Vec<WantedKey> = merged.by_ref().collect();
            prop_assert_eq!(all.len() as u64 + merged.duplicates(), pushed.len() as u64);
            prop_assert!(all.is_sorted_by(|a, b| (&a.key, a.is_name) < (&b.key, b.is_name)));
            for (key, is_name, until, _) in &pushed {
                let holds = |one: &WantedKey| one.key == *key && (!one.is_name || *is_name) && one.until >= *until;
                prop_assert!(all.iter().any(holds), "{:?} {:?}", key, all);
            }
            for one in &all {
                let at = usize::try_from(one.line).unwrap() - 1;
                prop_assert_eq!((&one.key, one.is_name, one.note), (&pushed[at].0, pushed[at].1, pushed[at].3));
            }
        }

        #[test]
        fn numbers_are_read_back(number: u64) {
            let mut out = Vec::new();
            push_varint(number, &mut out);
            prop_assert_eq!(varint(&mut &out[..]), Some(number));
        }
    }
}
