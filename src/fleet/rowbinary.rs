//! ClickHouse's RowBinary: columns one after the other, integers little-endian, strings by their length (LEB128).

#![allow(clippy::little_endian_bytes, reason = "that is how ClickHouse writes numbers")]

use super::FleetError;

/// Appends an unsigned integer of any width.
pub fn put_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// As [`put_u16`].
pub fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// As [`put_u16`].
pub fn put_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a string.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// What an answer holds, column by column.
pub struct ColumnReader<'a>(pub &'a [u8]);

impl<'a> ColumnReader<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FleetError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or_else(FleetError::cut)?;
        self.0 = rest;
        Ok(*array)
    }

    /// Takes an integer.
    ///
    /// # Errors
    ///
    /// When the answer is cut.
    pub fn u16(&mut self) -> Result<u16, FleetError> {
        self.array().map(u16::from_le_bytes)
    }

    /// As [`ColumnReader::u16`].
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn u32(&mut self) -> Result<u32, FleetError> {
        self.array().map(u32::from_le_bytes)
    }

    /// As [`ColumnReader::u16`].
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn u64(&mut self) -> Result<u64, FleetError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a string.
    ///
    /// # Errors
    ///
    /// When the answer is cut.
    pub fn bytes(&mut self) -> Result<&'a [u8], FleetError> {
        let mut length = 0usize;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(FleetError::cut)?;
                self.0 = rest;
                return Ok(bytes);
            }
        }
        Err(FleetError::cut())
    }

    /// Takes a string that is text.
    ///
    /// # Errors
    ///
    /// When the answer is cut, or it is none.
    pub fn text(&mut self) -> Result<&'a str, FleetError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| FleetError::cut())
    }
}

/// Bytes as a literal in a statement: each as `\xHH`, which old and new servers read alike and use with the index.
pub fn literal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(4 * bytes.len() + 2);
    text.push('\'');
    for byte in bytes {
        // Writing to memory cannot fail.
        let _ = write!(text, "\\x{byte:02X}");
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_round_trip(a: u16, b: u32, c: u64, bytes in proptest::collection::vec(any::<u8>(), 0..400), end in 0usize..420) {
            let mut out = Vec::new();
            put_u16(a, &mut out);
            put_bytes(&bytes, &mut out);
            put_u32(b, &mut out);
            put_u64(c, &mut out);
            let mut columns = ColumnReader(&out);
            prop_assert_eq!(columns.u16().unwrap(), a);
            prop_assert_eq!(columns.bytes().unwrap(), &bytes[..]);
            prop_assert_eq!((columns.u32().unwrap(), columns.u64().unwrap()), (b, c));
            prop_assert!(columns.is_empty());
            let mut cut = ColumnReader(&out[..end.min(out.len() - 1)]);
            let read = cut.u16().is_ok() && cut.bytes().is_ok() && cut.u32().is_ok() && cut.u64().is_ok();
            prop_assert!(!read);
        }
    }

    #[test]
    fn a_literal_holds_nothing_that_ends_it() {
        assert_eq!(literal(b"a'\\\0"), r"'\x61\x27\x5C\x00'");
    }
}
