//! Blocks: sorted rows in a few kilobytes, front-coded, compressed and checked.
//!
//! *Raw* rows are what is searched: each is three lengths and two strings of bytes.
//!
//! ```text
//! ┌────────┬────────┬───────┬──────────────┬───────┐
//! │ shared │ suffix │ value │ suffix bytes │ value │   lengths are LEB128, 1 to 4 bytes
//! └────────┴────────┴───────┴──────────────┴───────┘
//! ```
//!
//! A key is the first `shared` bytes of the key before it and then the suffix. A block starts with `shared` 0, so raw
//! blocks may be joined end to end. A *sealed* block is what is stored:
//!
//! ```text
//! ┌─────────┬───────┬────────────┬──────────┬─────────┐
//! │ version │ codec │ raw length │ checksum │ payload │   1, 1, 4, 8 and n bytes, integers big-endian
//! └─────────┴───────┴────────────┴──────────┴─────────┘
//! ```
//!
//! The checksum is XXH3-64 of the payload, seeded with that of the six bytes before it, seeded with that of the key under
//! which the block is stored: a block in the wrong place is damage too. The version covers the layout of rows and of the
//! values in them.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{StoreError, damaged};

/// The version of blocks that is written.
const VERSION: u8 = 1;
const RAW: u8 = 0;
const LZ4: u8 = 1;
const HEADER: usize = 14;
/// No block is larger when raw: a length beyond it is damage. One row can be long (TXT), so this is generous.
const MAX_RAW: usize = 64 << 20;

//--- rows -----------------------------------------------------------------------------------------------------------

/// Puts rows together that come in order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    raw: Vec<u8>,
    last: Vec<u8>,
}

impl Builder {
    /// Appends a row; its key is greater than that of the last one.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.raw.is_empty() { 0 } else { shared_prefix(&self.last, key) };
        let suffix = key.get(shared..).unwrap_or_default();
        push_length(shared, &mut self.raw);
        push_length(suffix.len(), &mut self.raw);
        push_length(value.len(), &mut self.raw);
        self.raw.extend_from_slice(suffix);
        self.raw.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(suffix);
    }

    /// Raw bytes so far.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// The key of the last row, of this block or of the one before.
    pub fn last(&self) -> &[u8] {
        &self.last
    }

    /// The rows so far, raw.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Begins the next block.
    pub fn clear(&mut self) {
        self.raw.clear();
    }
}

/// Goes through the rows of a raw block.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    raw: Bytes,
    at: usize,
    key: Vec<u8>,
    value: std::ops::Range<usize>,
}

impl Reader {
    /// Stands before the first row of a raw block.
    pub fn new(raw: Bytes) -> Reader {
        Reader { raw, ..Reader::default() }
    }

    /// Goes on with another block.
    pub fn reset(&mut self, raw: Bytes) {
        self.raw = raw;
        self.at = 0;
    }

    /// Goes to the next row; `false` after the last.
    pub fn advance(&mut self) -> Result<bool, StoreError> {
        if self.at >= self.raw.len() {
            return Ok(false);
        }
        self.step().ok_or_else(|| damaged("a block of rows", "a row reaches beyond its end"))?;
        Ok(true)
    }

    fn step(&mut self) -> Option<()> {
        let mut at = self.at;
        let shared = take_length(&self.raw, &mut at)?;
        let suffix = take_length(&self.raw, &mut at)?;
        let value = take_length(&self.raw, &mut at)?;
        let bytes = self.raw.get(at..at + suffix)?;
        if shared > self.key.len() || at + suffix + value > self.raw.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(bytes);
        self.value = at + suffix..at + suffix + value;
        self.at = at + suffix + value;
        Some(())
    }

    /// Goes to the first row whose key is not less than this one, from the row of a restart point on where there is one before
    /// it; `false` when there is none.
    pub fn seek(&mut self, restarts: &Restarts, key: &[u8]) -> Result<bool, StoreError> {
        let after = restarts.0.partition_point(|restart| *restart.key <= *key);
        if let Some(restart) = after.checked_sub(1).and_then(|at| restarts.0.get(at)) {
            self.key.clear();
            self.key.extend_from_slice(&restart.key);
            (self.value, self.at) = (restart.value.clone(), restart.value.end);
            if self.key.as_slice() >= key {
                return Ok(true);
            }
        }
        while self.advance()? {
            if self.key.as_slice() >= key {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The key of the row.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value of the row.
    pub fn value(&self) -> &[u8] {
        self.raw.get(self.value.clone()).unwrap_or_default()
    }
}

/// Rows of a block from which on it can be gone through, with their whole keys: by them a row is found without going through
/// half of the block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restarts(Arc<[Restart]>);

#[derive(Debug)]
struct Restart {
    key: Box<[u8]>,
    /// Where its value is; the next row is behind it.
    value: std::ops::Range<usize>,
}

/// From one restart point to the next.
const RESTART_ROWS: usize = 16;

impl Restarts {
    /// Finds the restart points of a raw block.
    pub fn of(raw: &Bytes) -> Result<Restarts, StoreError> {
        let (mut rows, mut restarts, mut row) = (Reader::new(raw.clone()), Vec::new(), 0usize);
        while rows.advance()? {
            if row > 0 && row.is_multiple_of(RESTART_ROWS) {
                restarts.push(Restart { key: rows.key().into(), value: rows.value.clone() });
            }
            row += 1;
        }
        Ok(Restarts(restarts.into()))
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|restart| restart.key.len() + size_of::<Restart>()).sum()
    }
}

/// How many bytes two keys have in common at their beginning: eight at a time, for this is hot when runs are written.
fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a8, b8) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let mut same = 0;
    for (a, b) in a8.iter().zip(b8) {
        let differs = u64::from_be_bytes(*a) ^ u64::from_be_bytes(*b);
        if differs != 0 {
            return same + (differs.leading_zeros() / u8::BITS) as usize;
        }
        same += 8;
    }
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    same + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Appends a length as LEB128.
pub(crate) fn push_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Takes a length off `bytes` at a place, and moves the place behind it.
pub(crate) fn take_length(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

//--- sealed blocks --------------------------------------------------------------------------------------------------

/// Makes what is stored under a key of raw rows.
pub(crate) fn seal(key: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; HEADER + lz4_flex::block::get_maximum_output_size(raw.len())];
    let compressed = sealed
        .get_mut(HEADER..)
        .and_then(|room| lz4_flex::block::compress_into(raw, room).ok())
        .filter(|&length| length < raw.len());
    sealed.truncate(HEADER + compressed.unwrap_or(0));
    let codec = if compressed.is_some() { LZ4 } else { RAW };
    if compressed.is_none() {
        sealed.extend_from_slice(raw);
    }
    let mut start = [0; HEADER - 8];
    start[0] = VERSION;
    start[1] = codec;
    start[2..].copy_from_slice(&(raw.len() as u32).to_be_bytes());
    let sum = checksum(key, &start, sealed.get(HEADER..).unwrap_or_default());
    if let Some(header) = sealed.first_chunk_mut::<HEADER>() {
        let (front, back) = header.split_at_mut(start.len());
        front.copy_from_slice(&start);
        back.copy_from_slice(&sum.to_be_bytes());
    }
    sealed
}

/// Takes raw rows from what is stored under a key.
///
/// # Errors
///
/// [`StoreError::Damaged`], naming `what`, when it is not what [`seal`] made for this key.
pub(crate) fn open(key: &[u8], sealed: &[u8], what: &dyn Fn() -> String) -> Result<Bytes, StoreError> {
    let bad = |why: &str| StoreError::Damaged { what: what(), why: why.to_owned() };
    let (header, payload) = sealed.split_first_chunk::<HEADER>().ok_or_else(|| bad("it is cut short"))?;
    let [version, codec, l0, l1, l2, l3, sum @ ..] = *header;
    let raw_length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if checksum(key, &[version, codec, l0, l1, l2, l3], payload) != u64::from_be_bytes(sum) {
        return Err(bad("its checksum does not fit"));
    }
    if version != VERSION {
        return Err(bad(&format!("it has version {version}, and this program knows {VERSION}")));
    }
    match codec {
        RAW if payload.len() == raw_length => Ok(Bytes::copy_from_slice(payload)),
        LZ4 if raw_length <= MAX_RAW => match lz4_flex::block::decompress(payload, raw_length) {
            Ok(raw) if raw.len() == raw_length => Ok(raw.into()),
            _ => Err(bad("it does not decompress")),
        },
        _ => Err(bad("its header makes no sense")),
    }
}

fn checksum(key: &[u8], header: &[u8], payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, xxh3_64_with_seed(header, xxh3_64(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn rows() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
        let bytes = |byte| proptest::collection::vec(byte, 0..40);
        proptest::collection::btree_map(bytes(0u8..3), bytes(0u8..255), 0..60)
    }

    fn build(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
        let mut builder = Builder::default();
        rows.iter().for_each(|(key, value)| builder.push(key, value));
        builder.raw().to_vec()
    }

    fn read(raw: Bytes) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut reader = Reader::new(raw);
        let mut rows = BTreeMap::new();
        while reader.advance().unwrap() {
            rows.insert(reader.key().to_vec(), reader.value().to_vec());
        }
        rows
    }

    proptest! {
        #[test]
        fn rows_round_trip(rows in rows()) {
            let raw = build(&rows);
            let sealed = seal(b"key", &raw);
            prop_assert_eq!(read(open(b"key", &sealed, &String::new).unwrap()), rows.clone());
            prop_assert_eq!(read([raw.clone(), raw].concat().into()), rows);
        }

        #[test]
        fn a_flipped_bit_is_damage(rows in rows(), at: prop::sample::Index, bit in 0..8) {
            let mut sealed = seal(b"key", &build(&rows));
            let at = at.index(sealed.len());
            sealed[at] ^= 1u8 << bit;
            prop_assert!(open(b"key", &sealed, &String::new).is_err());
        }

        #[test]
        fn any_bytes_are_rows_or_an_error(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = Reader::new(raw.clone().into());
            while let Ok(true) = reader.advance() {}
            prop_assert!(open(b"key", &raw, &String::new).is_err());
        }

        #[test]
        fn shared_prefixes_are_counted(a in proptest::collection::vec(0u8..2, 0..30), b in proptest::collection::vec(0u8..2, 0..30)) {
            prop_assert_eq!(shared_prefix(&a, &b), a.iter().zip(&b).take_while(|(a, b)| a == b).count());
        }
    }

    #[test]
    fn a_row_is_found_from_the_restart_point_before_it_as_it_is_from_the_beginning() {
        let mut builder = Builder::default();
        let key = |i: u32| format!("name-{:05}", 3 * i);
        for i in 0..100 {
            builder.push(key(i).as_bytes(), &i.to_be_bytes());
        }
        let raw = Bytes::copy_from_slice(builder.raw());
        let restarts = Restarts::of(&raw).unwrap();
        assert!(restarts.bytes() > 0);
        for points in [&restarts, &Restarts::default()] {
            for i in 0..100u32 {
                for (sought, found) in [(key(i), i), (format!("name-{:05}", 3 * i + 1), i + 1)] {
                    let mut rows = Reader::new(raw.clone());
                    assert_eq!(rows.seek(points, sought.as_bytes()).unwrap(), found < 100, "{sought}");
                    // And the rows behind it follow.
                    for next in found..100 {
                        assert_eq!(rows.key(), key(next).as_bytes());
                        assert_eq!(rows.value(), next.to_be_bytes());
                        assert_eq!(rows.advance().unwrap(), next < 99);
                    }
                }
            }
            let mut rows = Reader::new(raw.clone());
            assert!(rows.seek(points, b"").unwrap() && rows.key() == key(0).as_bytes());
        }
    }

    #[test]
    fn a_block_belongs_to_its_key() {
        let sealed = seal(b"key", b"\x00\x01\x00a");
        assert!(open(b"key", &sealed, &String::new).is_ok());
        assert!(open(b"kez", &sealed, &String::new).is_err());
        assert!(open(b"key", &sealed[..sealed.len() - 1], &String::new).is_err());
    }
}
