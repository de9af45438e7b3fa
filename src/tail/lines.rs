//! Cutting a stream of bytes into lines.
//!
//! The result does not depend on how the bytes were split into reads. A line longer than the limit is not kept: its
//! bytes are handed on in pieces, so that they can be hashed, and then it is said to have ended. An unfinished line is
//! held back until its newline comes.

use memchr::memrchr;

/// Some bytes of the stream, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Whole lines, each with its newline.
    Lines(&'a [u8]),
    /// A piece of a line that is longer than the limit.
    Long(&'a [u8]),
    /// The last piece of such a line, its newline included.
    LongEnd(&'a [u8]),
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct Lines {
    /// The longest line that is kept, in bytes without the newline.
    max_line_bytes: usize,
    /// The beginning of a line whose newline has not come; at most `max_line_bytes` long.
    held: Vec<u8>,
    /// Whether the stream is inside a line that is too long; `held` is empty then.
    in_long: bool,
    /// Whether NULs are passed over until another byte comes.
    skip_nuls: bool,
}

impl Lines {
    /// A stream at its beginning: NULs before the first other byte are passed over (the hole of a copytruncate).
    pub fn new(max_line_bytes: usize) -> Lines {
        Lines { max_line_bytes, held: Vec::new(), in_long: false, skip_nuls: true }
    }

    /// Bytes of an unfinished line; they belong to the stream but were not handed on.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether the stream ends inside a line.
    pub fn is_inside_line(&self) -> bool {
        self.in_long || !self.held.is_empty()
    }

    /// Takes the next bytes of the stream and hands on what is whole.
    ///
    /// # Errors
    ///
    /// Those of `each`; the stream cannot be continued then.
    pub fn push<E>(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.skip_nuls {
            // A hole can have the size of the log that was there: it is passed over by large steps.
            while let Some(rest) = bytes.strip_prefix(&[0; 4096]) {
                bytes = rest;
            }
            let first = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len());
            bytes = bytes.get(first..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            self.skip_nuls = false;
        }
        // Finish the line that an earlier push began.
        if self.is_inside_line() {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return self.hold(bytes, each) };
            let (rest_of_line, rest) = bytes.split_at_checked(end + 1).unwrap_or((bytes, &[]));
            if self.in_long {
                self.in_long = false;
                each(Block::LongEnd(rest_of_line))?;
            } else if self.held.len() + end > self.max_line_bytes {
                each(Block::Long(&self.held))?;
                self.held.clear();
                each(Block::LongEnd(rest_of_line))?;
            } else {
                self.held.extend_from_slice(rest_of_line);
                each(Block::Lines(&self.held))?;
                self.held.clear();
            }
            bytes = rest;
        }
        let end = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        self.whole(lines, each)?;
        self.hold(rest, each)
    }

    /// Hands on whole lines, those that are too long apart.
    fn whole<E>(&self, lines: &[u8], each: &mut impl FnMut(Block<'_>) -> Result<(), E>) -> Result<(), E> {
        if lines.len() <= self.max_line_bytes {
            return if lines.is_empty() { Ok(()) } else { each(Block::Lines(lines)) };
        }
        let (mut start, mut at) = (0, 0);
        while let Some(length) = lines.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let next = at + length + 1;
            if length > self.max_line_bytes {
                if start < at {
                    each(Block::Lines(lines.get(start..at).unwrap_or_default()))?;
                }
                each(Block::LongEnd(lines.get(at..next).unwrap_or_default()))?;
                start = next;
            }
            at = next;
        }
        match lines.get(start..) {
            Some(rest) if !rest.is_empty() => each(Block::Lines(rest)),
            _ => Ok(()),
        }
    }

    /// Keeps the beginning of a line, or gives it up when it is too long.
    fn hold<E>(&mut self, bytes: &[u8], each: &mut impl FnMut(Block<'_>) -> Result<(), E>) -> Result<(), E> {
        if !self.in_long && self.held.len() + bytes.len() > self.max_line_bytes {
            each(Block::Long(&self.held))?;
            self.held.clear();
            self.in_long = true;
        }
        if self.in_long {
            each(Block::Long(bytes))
        } else {
            self.held.extend_from_slice(bytes);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each line as it was handed on, and whether it was too long.
    fn cut(pieces: &[&[u8]], limit: usize) -> (Vec<(Vec<u8>, bool)>, Vec<u8>) {
        let mut lines = Lines::new(limit);
        let (mut out, mut long, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            lines
                .push(piece, &mut |block| {
                    match block {
                        Block::Lines(bytes) => {
                            assert!(long.is_empty() && bytes.ends_with(b"\n"));
                            all.extend_from_slice(bytes);
                            out.extend(bytes.split_inclusive(|&b| b == b'\n').map(|l| (l.to_vec(), false)));
                        }
                        Block::Long(bytes) => {
                            all.extend_from_slice(bytes);
                            long.extend_from_slice(bytes);
                        }
                        Block::LongEnd(bytes) => {
                            all.extend_from_slice(bytes);
                            long.extend_from_slice(bytes);
                            out.push((std::mem::take(&mut long), true));
                        }
                    }
                    Ok::<(), ()>(())
                })
                .unwrap();
            assert!(lines.held() <= limit);
        }
        (out, all)
    }

    #[test]
    fn a_line_waits_for_its_newline() {
        let (lines, _) = cut(&[b"ab", b"c\nd", b"e", b"\nf"], 100);
        assert_eq!(lines, [(b"abc\n".to_vec(), false), (b"de\n".to_vec(), false)]);
    }

    #[test]
    fn nuls_before_the_first_line_are_passed_over() {
        let (lines, _) = cut(&[b"\0\0", b"\0", b"\0a\0\n\0b\n"], 100);
        assert_eq!(lines, [(b"a\0\n".to_vec(), false), (b"\0b\n".to_vec(), false)]);
    }

    #[test]
    fn a_long_line_is_never_held_and_does_not_take_its_neighbours_along() {
        let (lines, all) = cut(&[b"ok\n12345", b"6789", b"0\nok\n123456\nlast\n"], 5);
        let long: Vec<bool> = lines.iter().map(|(_, long)| *long).collect();
        assert_eq!(long, [false, true, false, true, false]);
        assert_eq!(all, b"ok\n1234567890\nok\n123456\nlast\n");
    }

    proptest! {
        #[test]
        fn reads_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(0u8)], 0..200), cuts in proptest::collection::vec(0usize..200, 0..20), limit in 1usize..20) {
            let whole = cut(&[&bytes], limit);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for to in cuts {
                pieces.push(&bytes[from..to]);
                from = to;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(cut(&pieces, limit).0, whole.0);
        }
    }
}
