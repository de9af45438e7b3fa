//! Searching in short texts, eight bytes at a time, and undoing Zeek's escapes in them.
//!
//! Columns, keys and values are a few bytes long. `memchr` looks with wide registers and is unbeaten in long texts; begun
//! anew for each column it takes twice as long as this.

use memchr::memchr;

/// The places of a byte, in order.
pub(super) struct Places<'a> {
    rest: &'a [u8],
    /// The byte, eight times.
    pattern: u64,
    /// The byte's places in the word at hand that were not given out, as [`zeros`] has them.
    found: u64,
    /// Where the word at hand begins, and where it ends.
    start: usize,
    end: usize,
}

impl<'a> Places<'a> {
    pub(super) fn new(byte: u8, text: &'a [u8]) -> Places<'a> {
        Places { rest: text, pattern: repeat(byte), found: 0, start: 0, end: 0 }
    }
}

impl Iterator for Places<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let (word, rest) = split_word(self.rest, !self.pattern)?;
            self.rest = rest;
            self.found = zeros(word ^ self.pattern);
            self.start = self.end;
            self.end += 8;
        }
        let at = self.found.leading_zeros();
        self.found &= !(1 << 63 >> at);
        Some(self.start + (at / 8) as usize)
    }
}

/// The first place of either of two bytes.
#[inline]
pub(super) fn find_either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    // Filled up with a byte that is neither.
    let filling = (0..=2).find(|&byte| byte != one && byte != other).map(repeat)?;
    let (one, other) = (repeat(one), repeat(other));
    let mut rest = text;
    let mut start = 0;
    loop {
        let (word, behind) = split_word(rest, filling)?;
        let found = zeros(word ^ one) | zeros(word ^ other);
        if found != 0 {
            return Some(start + (found.leading_zeros() / 8) as usize);
        }
        rest = behind;
        start += 8;
    }
}

/// A byte, eight times.
fn repeat(byte: u8) -> u64 {
    u64::from_be_bytes([byte; 8])
}

/// Splits off eight bytes, the first the most significant; the last ones are filled up.
#[inline]
fn split_word(text: &[u8], filling: u64) -> Option<(u64, &[u8])> {
    if let Some((word, rest)) = text.split_first_chunk::<8>() {
        return Some((u64::from_be_bytes(*word), rest));
    }
    if text.is_empty() {
        return None;
    }
    let word = text.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let there = 8 * text.len() as u32;
    Some((word << (64 - there) | filling >> there, &[]))
}

/// The highest bit of each byte that is zero; exactly those.
#[inline]
fn zeros(word: u64) -> u64 {
    const LOW: u64 = u64::from_be_bytes([0x7f; 8]);
    !(((word & LOW) + LOW) | word | LOW)
}

/// Undoes Zeek's escaping: `\\` is a backslash, `\xHH` is a byte, and everything else is itself.
///
/// Zeek escapes the separators, control bytes, bytes that are not UTF-8, and what would read as an unset or empty
/// value (`src/Desc.cc`, `AddBytes`; `src/threading/formatters/Ascii.cc`). Exact for every version since 2.4; before,
/// a backslash was not escaped, so that a name with one in it may be ambiguous.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'\\', rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [_, b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest
            }
            [_, rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [] => escape,
        };
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts in which the byte 9 is common, beside bytes that differ from it in one bit.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(9), Just(0x89), Just(8), Just(b'"'), any::<u8>()], 0..40)
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![Just(9), any::<u8>()]
    }

    proptest! {
        #[test]
        fn places_are_those_of_the_byte(text in text(), byte in byte()) {
            let expected: Vec<usize> = (0..text.len()).filter(|&at| text[at] == byte).collect();
            prop_assert_eq!(Places::new(byte, &text).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn the_first_of_either_byte_is_found(text in text(), one in byte(), other in byte()) {
            let expected = text.iter().position(|&b| b == one || b == other);
            prop_assert_eq!(find_either(one, other, &text), expected);
        }
    }
}
