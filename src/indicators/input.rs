//! The bytes of a list: inflated, without a byte order mark, bounded, and line by line.

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
        let mut head = Vec::new();
        let read = rest.by_ref().take(HEAD as u64).read_to_end(&mut head);
        let failed = read.err();
        let at = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        match failed {
            Some(error) if head.is_empty() => Err(over(error)),
            failed => Ok(Input { head, at, rest, failed, bound }),
        }
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

//--- lines ----------------------------------------------------------------------------------------------------------

/// The lines of a list.
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// Those of an input.
    pub fn of(input: R) -> Lines<R> {
        Lines { input: BufReader::with_capacity(64 << 10, input), line: Vec::new(), number: 0 }
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
