//! Cutting a stream of bytes into lines.
//!
//! The result does not depend on how the bytes were split into reads. A line longer than the limit is not kept: its
//! bytes are handed on in pieces, so that they can be hashed, and then it is said to have ended. An unfinished line is
//! held back until its newline comes.
//!
//! A stream that begins with `[` is a JSON array, or several: each element of it is handed on like a line of its own, with
//! the brackets and commas beside it, so that an array of any length is read in pieces of the size of a record.

use memchr::{memchr3, memrchr};

/// Some bytes of the stream, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Whole lines, each with its newline.
    Lines(&'a [u8]),
    /// A piece of a line that is longer than the limit.
    Long(&'a [u8]),
    /// The last piece of such a line, its newline included.
    LongEnd(&'a [u8]),
    /// One element of a JSON array, or what stands between two of them, up to the comma, bracket or newline behind it.
    Element(&'a [u8]),
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
    /// Where the stream stands in its arrays, if it is made of such.
    array: Option<Array>,
}

/// A place in a stream of JSON arrays. Brackets are counted, no more: what an element is its reader decides.
#[derive(Debug, Default)]
struct Array {
    /// Brackets and braces that are open.
    depth: u32,
    /// Whether the outermost of them is a bracket.
    in_list: bool,
    in_string: bool,
    /// Whether the last byte of a string was a backslash.
    escaped: bool,
    /// Whether a newline was the last byte but for spaces.
    at_line_start: bool,
}

impl Array {
    /// Where the element ends that these bytes go on with, if it does.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.in_string {
                if std::mem::take(&mut self.escaped) && byte != b'\n' {
                    continue;
                }
                // Most of a log is inside of strings.
                at -= 1;
                at += memchr3(b'"', b'\\', b'\n', bytes.get(at..)?)?;
                match bytes.get(at) {
                    Some(b'\\') => self.escaped = true,
                    Some(b'"') => self.in_string = false,
                    _ => {
                        self.new_line();
                        return Some(at + 1);
                    }
                }
                at += 1;
                continue;
            }
            // A line that begins with a bracket begins anew, whatever is missing in those before it.
            if std::mem::take(&mut self.at_line_start) && byte == b'[' {
                self.depth = 0;
            }
            match byte {
                b'"' => self.in_string = true,
                b'[' | b'{' => {
                    if self.depth == 0 {
                        self.in_list = byte == b'[';
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 && byte == b']' {
                        return Some(at);
                    }
                }
                b',' if self.depth == 1 && self.in_list => return Some(at),
                b'\n' => {
                    self.new_line();
                    return Some(at);
                }
                b' ' | b'\t' | b'\r' => self.at_line_start |= self.depth == 0,
                _ => {}
            }
        }
        None
    }

    /// No element goes beyond its line: one that does is torn.
    fn new_line(&mut self) {
        self.in_string = false;
        self.escaped = false;
        self.depth = if self.in_list { self.depth.min(1) } else { 0 };
        self.at_line_start = true;
    }
}

impl Lines {
    /// A stream at its beginning: NULs before the first other byte are passed over (the hole of a copytruncate).
    pub fn new(max_line_bytes: usize) -> Lines {
        Lines { max_line_bytes, held: Vec::new(), in_long: false, skip_nuls: true, array: None }
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
            if bytes.first() == Some(&b'[') {
                self.array = Some(Array::default());
            }
        }
        if self.array.is_some() {
            return self.elements(bytes, each);
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

    /// Takes the next bytes of a stream of arrays.
    fn elements<E>(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let Some(end) = self.array.as_mut().and_then(|array| array.end(bytes)) else {
                return self.hold(bytes, each);
            };
            let (element, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            bytes = rest;
            if self.in_long {
                self.in_long = false;
                each(Block::LongEnd(element))?;
            } else if self.held.len() + element.len() > self.max_line_bytes.saturating_add(1) {
                if !self.held.is_empty() {
                    each(Block::Long(&self.held))?;
                    self.held.clear();
                }
                each(Block::LongEnd(element))?;
            } else if self.held.is_empty() {
                each(Block::Element(element))?;
            } else {
                self.held.extend_from_slice(element);
                each(Block::Element(&self.held))?;
                self.held.clear();
            }
        }
        Ok(())
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
                        Block::Element(bytes) => {
                            assert!(long.is_empty());
                            all.extend_from_slice(bytes);
                            out.push((bytes.to_vec(), false));
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

    fn elements(text: &str) -> Vec<String> {
        let (lines, _) = cut(&[text.as_bytes()], 100);
        lines.into_iter().map(|(line, _)| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn the_elements_of_an_array_are_lines_whether_or_not_a_newline_ends_it() {
        let expected = [r#"[{"a":[1,{"x":"],["}]},"#, r#"{"b":"\\\"],\\"},"#, r#" {}]"#];
        assert_eq!(elements(&expected.concat()), expected);
        assert_eq!(elements("[{\"a\":1},\n{\"a\":2}\n]\n"), ["[{\"a\":1},", "\n", "{\"a\":2}\n", "]", "\n"]);
        assert_eq!(
            elements("[]\n[{},{}]\n{\"a\":1,\"b\":2}\n"),
            ["[]", "\n", "[{},", "{}]", "\n", "{\"a\":1,\"b\":2}\n"]
        );
        // A log of lines is none, also where a line in it is.
        assert_eq!(elements("{\"a\":1,\"b\":2}\n[{},{}]\n"), ["{\"a\":1,\"b\":2}\n", "[{},{}]\n"]);
    }

    #[test]
    fn a_torn_element_takes_no_line_after_it_along() {
        assert_eq!(
            elements("[{\"a\":\"x\n[{\"a\":1},{\"a\":2}]\n"),
            ["[{\"a\":\"x\n", "[{\"a\":1},", "{\"a\":2}]", "\n"]
        );
        assert_eq!(
            elements("[{\"a\":{\n{\"a\":1},\n{\"a\":2}]"),
            ["[{\"a\":{\n", "{\"a\":1},", "\n", "{\"a\":2}]"]
        );
    }

    proptest! {
        #[test]
        fn reads_of_arrays_do_not_matter(text in "[\\[\\]{},\"\\\\ a\n]{0,60}", size in 1usize..9, limit in 1usize..20) {
            let bytes = [b"[", text.as_bytes()].concat();
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(cut(&pieces, limit), cut(&[&bytes], limit));
        }

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
