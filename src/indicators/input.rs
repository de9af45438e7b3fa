//! The bytes of a list: inflated, in UTF-8 without a byte order mark, with line feeds at the ends of lines, bounded, and line by
//! line. A list that was saved on Windows (UTF-16) or on an old Mac (carriage returns) is a list as any other.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;

use super::ReadError;
use super::collect::Collect;
use super::reason::Reason;
use super::text::readable;

/// Bytes at the start that are looked at to find out what it is.
const HEAD: usize = 64 << 10;
/// Bytes of a line; one that is longer is passed over.
const MAX_LINE: usize = 64 << 10;

/// The bytes of a list.
pub struct Input<'a> {
    head: Vec<u8>,
    at: usize,
    rest: Box<dyn Read + 'a>,
    /// What came in the place of what follows the start: whoever is asked again may say that it was the end.
    failed: Option<io::Error>,
    bound: Bound,
}

/// What is shared with those who count bytes.
#[derive(Clone)]
struct Bound {
    most: u64,
    /// What was more, if anything was: whether that is of what was inflated.
    broken: Rc<Cell<Option<bool>>>,
}

impl<'a> Input<'a> {
    /// Looks at the start.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is packed in a way that is not read.
    pub fn open(input: &'a mut dyn Read, most: u64) -> Result<Input<'a>, ReadError> {
        let bound = Bound { most, broken: Rc::default() };
        let mut raw = BufReader::with_capacity(
            HEAD,
            Counted { inner: input, left: most, bound: bound.clone(), inflated: false },
        );
        // Also where the first piece is more than may be.
        let over = |error| match bound.broken.get() {
            Some(inflated) => ReadError::TooLarge { most, inflated },
            None => ReadError::Io(error),
        };
        let magic = raw.fill_buf().map_err(over)?;
        if let Some(packed) = packed(magic) {
            let what = format!("it is packed by {packed}");
            return Err(ReadError::NoList { what, hint: "it unpacked, or packed by gzip" });
        }
        let mut rest: Box<dyn Read + 'a> = match magic.starts_with(&[0x1f, 0x8b]) {
            true => {
                let inner = MultiGzDecoder::new(raw);
                Box::new(Counted { inner, left: most, bound: bound.clone(), inflated: true })
            }
            false => Box::new(raw),
        };
        let mut mark = Vec::new();
        rest.by_ref().take(2).read_to_end(&mut mark).map_err(over)?;
        let mut rest: Box<dyn Read + 'a> = match mark.as_slice() {
            [0xff, 0xfe] => Box::new(Breaks::of(Utf16::of(rest, u16::from_le_bytes))),
            [0xfe, 0xff] => Box::new(Breaks::of(Utf16::of(rest, u16::from_be_bytes))),
            // Without the mark: no text begins with a NUL, or has one behind its first letter.
            [1..=255, 0] => {
                Box::new(Breaks::of(Utf16::of(io::Cursor::new(mark).chain(rest), u16::from_le_bytes)))
            }
            [0, 1..=255] => {
                Box::new(Breaks::of(Utf16::of(io::Cursor::new(mark).chain(rest), u16::from_be_bytes)))
            }
            _ => Box::new(Breaks::of(io::Cursor::new(mark).chain(rest))),
        };
        let mut head = Vec::new();
        let read = rest.by_ref().take(HEAD as u64).read_to_end(&mut head);
        let failed = read.err();
        let at = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        match failed {
            Some(error) if head.is_empty() => Err(over(error)),
            failed => Ok(Input { head, at, rest, failed, bound }),
        }
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is more than may be.
    pub fn all(mut self) -> Result<Vec<u8>, ReadError> {
        let mut text = Vec::new();
        let read = self.read_to_end(&mut text);
        self.check_bound()?;
        read?;
        Ok(text)
    }

    /// Its start, as far as it was not read.
    pub fn head(&self) -> &[u8] {
        self.head.get(self.at..).unwrap_or_default()
    }

    /// Says whether there was more than may be.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooLarge`], if so.
    pub fn check_bound(&self) -> Result<(), ReadError> {
        match self.bound.broken.get() {
            Some(inflated) => Err(ReadError::TooLarge { most: self.bound.most, inflated }),
            None => Ok(()),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut head = self.head.get(self.at..).unwrap_or_default();
        if head.is_empty() {
            self.head = Vec::new();
            self.at = 0;
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            return self.rest.read(out);
        }
        let read = head.read(out)?;
        self.at += read;
        Ok(read)
    }
}

/// What packed some bytes, if it is nothing that is read.
fn packed(magic: &[u8]) -> Option<&'static str> {
    const KNOWN: &[(&[u8], &str)] = &[
        (b"PK\x03\x04", "zip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ", "xz"),
        (b"BZh", "bzip2"),
        (b"7z\xbc\xaf", "7-Zip"),
        (b"%PDF", "nobody, for it is a PDF"),
    ];
    KNOWN.iter().find(|(bytes, _)| magic.starts_with(bytes)).map(|(_, name)| *name)
}

/// Counts bytes, and gives no more of them than may be.
struct Counted<R> {
    inner: R,
    left: u64,
    bound: Bound,
    inflated: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                self.bound.broken.set(Some(self.inflated));
                return Err(io::Error::other("there are more bytes than may be"));
            }
        }
        Ok(read)
    }
}

/// Makes a line feed of each carriage return, and of one with a line feed behind it.
struct Breaks<R> {
    inner: R,
    /// Whether what came last was a carriage return.
    is_behind: bool,
}

impl<R> Breaks<R> {
    fn of(inner: R) -> Breaks<R> {
        Breaks { inner, is_behind: false }
    }
}

impl<R: Read> Read for Breaks<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(out)?;
            let bytes = out.get_mut(..read).unwrap_or_default();
            if read == 0 || !self.is_behind && memchr(b'\r', bytes).is_none() {
                return Ok(read);
            }
            let mut kept = 0;
            for at in 0..read {
                let Some(&byte) = bytes.get(at) else { break };
                let is_second = byte == b'\n' && self.is_behind;
                self.is_behind = byte == b'\r';
                if is_second {
                    continue;
                }
                if let Some(place) = bytes.get_mut(kept) {
                    *place = if byte == b'\r' { b'\n' } else { byte };
                }
                kept += 1;
            }
            // Nothing is left of a line feed alone, and that is not the end.
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

/// Makes UTF-8 of UTF-16; what is none is U+FFFD.
struct Utf16<R> {
    inner: R,
    unit: fn([u8; 2]) -> u16,
    /// Bytes of a character whose rest has not come.
    begun: Vec<u8>,
    /// What was made and not taken yet.
    made: io::Cursor<Vec<u8>>,
}

impl<R> Utf16<R> {
    fn of(inner: R, unit: fn([u8; 2]) -> u16) -> Utf16<R> {
        Utf16 { inner, unit, begun: Vec::new(), made: io::Cursor::default() }
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.made.read(out)? {
                0 if !out.is_empty() => {}
                read => return Ok(read),
            }
            let mut piece = vec![0; 8 << 10];
            let read = self.inner.read(&mut piece)?;
            if read == 0 && self.begun.is_empty() {
                return Ok(0);
            }
            let mut bytes = std::mem::take(&mut self.begun);
            bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
            if read > 0 {
                let (pairs, odd) = bytes.as_chunks::<2>();
                // The first half of a character of two.
                let is_half = pairs.last().is_some_and(|pair| (0xd800..0xdc00).contains(&(self.unit)(*pair)));
                let whole = bytes.len() - odd.len() - if is_half { 2 } else { 0 };
                self.begun = bytes.split_off(whole);
            }
            let (pairs, odd) = bytes.as_chunks::<2>();
            let units = pairs.iter().copied().map(self.unit);
            let mut text: String =
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            text.extend((!odd.is_empty()).then_some(char::REPLACEMENT_CHARACTER));
            self.made = io::Cursor::new(text.into_bytes());
        }
    }
}

//--- lines ----------------------------------------------------------------------------------------------------------

/// The lines of a list.
pub struct ListLines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> ListLines<R> {
    /// Those of an input.
    pub fn of(input: R) -> ListLines<R> {
        ListLines { input: BufReader::with_capacity(64 << 10, input), line: Vec::new(), number: 0 }
    }

    /// The next line and its number, from 1, without what ends it. What is no text is counted and passed over.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn next(&mut self, collect: &mut Collect<'_>) -> Result<Option<(u64, &str)>, ReadError> {
        loop {
            self.line.clear();
            if !self.read_line()? {
                return Ok(None);
            }
            self.number += 1;
            collect.line();
            if self.line.len() > MAX_LINE {
                collect.skip(Reason::Line, self.number, "");
                continue;
            }
            while matches!(self.line.last(), Some(b'\n' | b'\r')) {
                self.line.pop();
            }
            if std::str::from_utf8(&self.line).is_err() || memchr(0, &self.line).is_some() {
                collect.skip(Reason::Line, self.number, &readable(&self.line));
                continue;
            }
            return Ok(Some((self.number, std::str::from_utf8(&self.line).unwrap_or_default())));
        }
    }

    /// Reads up to the end of a line; of one that is too long only its start is kept.
    fn read_line(&mut self) -> io::Result<bool> {
        let mut is_any = false;
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Ok(is_any);
            }
            is_any = true;
            let end = memchr(b'\n', bytes);
            let taken = end.map_or(bytes.len(), |at| at + 1);
            if self.line.len() <= MAX_LINE {
                self.line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            }
            self.input.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a byte at a time.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let one = out.len().min(1);
            self.0.read(&mut out[..one])
        }
    }

    #[test]
    fn lists_of_windows_and_of_an_old_mac_are_read_in_whatever_pieces_they_come() {
        let text = "a.example\nb\u{fc}.example\n\u{1f600}\n";
        let windows = text.replace('\n', "\r\n");
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{windows}").encode_utf16().flat_map(unit).collect()
        };
        let forms = [
            text.as_bytes().to_vec(),
            windows.clone().into_bytes(),
            text.replace('\n', "\r").into_bytes(),
            format!("\u{feff}{windows}").into_bytes(),
            wide(u16::to_le_bytes),
            wide(u16::to_be_bytes),
            wide(u16::to_le_bytes)[2..].to_vec(),
            wide(u16::to_be_bytes)[2..].to_vec(),
        ];
        for form in &forms {
            let all = Input::open(&mut form.as_slice(), 1 << 20).unwrap().all().unwrap();
            assert_eq!(String::from_utf8(all).unwrap(), text, "{form:?}");
            let slowly = Input::open(&mut Slowly(form), 1 << 20).unwrap().all().unwrap();
            assert_eq!(String::from_utf8(slowly).unwrap(), text, "{form:?}");
        }
        let mut broken = forms[4].clone();
        broken.truncate(broken.len() - 1);
        let read = Input::open(&mut broken.as_slice(), 1 << 20).unwrap().all().unwrap();
        assert!(String::from_utf8(read).unwrap().ends_with('\u{fffd}'));
        let small = Input::open(&mut forms[1].as_slice(), 8).and_then(Input::all);
        assert!(matches!(small, Err(ReadError::TooLarge { .. })), "{small:?}");
    }
}
