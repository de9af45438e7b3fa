//! One live file, read through its open descriptor.
//!
//! Zeek opens its log with `O_TRUNC` and without `O_APPEND`, and tools rotate it in many ways; a place in a file is
//! worth nothing unless the bytes before it are still those that were read. So before and after each read the
//! beginning of the file is compared with what it was. An open descriptor keeps its inode: a rotated file can be read
//! to its end whatever became of its name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::discover::Stamp;
use super::open::open;

/// Bytes of the beginning that are compared. A header and a record fit in.
const START_BYTES: usize = 4096;
/// Bytes before the place that are compared where the beginning is a hole, which tells nothing.
const END_BYTES: usize = 64;

/// A live file and how far it was read.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    file: File,
    device: u64,
    inode: u64,
    /// Bytes read so far, those of a hole included.
    offset: u64,
    /// The first bytes as they were read, at most [`START_BYTES`].
    start: Vec<u8>,
    /// The last bytes as they were read, at most [`END_BYTES`]; empty where the file does not begin with a hole.
    end: Vec<u8>,
}

/// Reads a part of a file, whatever else is read of it.
#[derive(Debug)]
pub struct Again<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl io::Read for Again<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let n = self.file.read_at(buffer.get_mut(..length).unwrap_or_default(), self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing new.
    End,
    /// The file is shorter than what was read, or begins with other bytes: it was truncated or rewritten in place.
    /// Nothing was read; [`Followed::rewind`] starts over.
    Replaced,
}

impl Followed {
    /// Opens a file, read-only.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> io::Result<Followed> {
        let (file, metadata) = open(path)?;
        Ok(Followed {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            file,
            offset: 0,
            start: Vec::new(),
            end: Vec::new(),
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode: equal to those of a path only while that path leads here.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes in the file now.
    ///
    /// # Errors
    ///
    /// When the file system does not say.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// What the file system says of the file now, as if it ended where it was read to.
    ///
    /// # Errors
    ///
    /// When the file system does not say.
    pub fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp { size: self.offset, ..Stamp::from(&self.file.metadata()?) })
    }

    /// The first bytes of the file, at most so many.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn head(&self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        let mut piece = [0; START_BYTES];
        while head.len() < bytes {
            match self.file.read_at(&mut piece, head.len() as u64) {
                Ok(0) => break,
                Ok(n) => head.extend_from_slice(piece.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(head)
    }

    /// Reads on.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; the place is kept.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        let size = self.size()?;
        if size < self.offset || !self.starts_as_before()? {
            return Ok(Read::Replaced);
        }
        let n = loop {
            match self.file.read_at(buffer, self.offset) {
                Ok(n) => break n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        // It may have been rewritten, and grown past our place, while we read.
        if !self.starts_as_before()? {
            return Ok(Read::Replaced);
        }
        if n == 0 {
            return Ok(Read::End);
        }
        if size == 0 && self.size()? == 0 {
            // It would be taken for one that was rewritten, again and again.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it says that it is empty, and gives bytes: its file system does not tell how long files are",
            ));
        }
        let read = buffer.get(..n).unwrap_or_default();
        let missing = START_BYTES - self.start.len();
        self.start.extend_from_slice(read.get(..missing.min(n)).unwrap_or_default());
        self.offset += n as u64;
        if self.start.first() == Some(&0) {
            let kept = END_BYTES.saturating_sub(n).min(self.end.len());
            self.end.drain(..self.end.len() - kept);
            self.end.extend_from_slice(read.get(n.saturating_sub(END_BYTES)..).unwrap_or_default());
        }
        Ok(Read::Bytes(n))
    }

    /// What was read so far, once more.
    pub fn again(&self) -> Again<'_> {
        Again { file: &self.file, at: 0, end: self.offset }
    }

    /// Goes back to the beginning and forgets what was there.
    pub fn rewind(&mut self) {
        self.offset = 0;
        self.start.clear();
        self.end.clear();
    }

    /// Whether the path still leads to this file.
    ///
    /// # Errors
    ///
    /// When the file system does not say; a path that leads nowhere is a plain no.
    pub fn is_at_its_path(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok((metadata.dev(), metadata.ino()) == self.identity()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the file begins as it did. One that was truncated under a writer that goes on at its place begins with a hole; if
    /// it did before, the bytes before our place tell, which lie in the hole now.
    fn starts_as_before(&self) -> io::Result<bool> {
        let end = self.end.len() as u64;
        Ok(self.is_as_before(&self.start, 0)?
            && (end == 0 || self.is_as_before(&self.end, self.offset - end)?))
    }

    fn is_as_before(&self, before: &[u8], at: u64) -> io::Result<bool> {
        let mut now = [0; START_BYTES];
        let now = now.get_mut(..before.len()).unwrap_or_default();
        match self.file.read_exact_at(now, at) {
            Ok(()) => Ok(*now == *before),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(followed: &mut Followed) -> Result<Vec<u8>, Read> {
        let mut buffer = [0; 64];
        match followed.read(&mut buffer).unwrap() {
            Read::Bytes(n) => Ok(buffer[..n].to_vec()),
            other => Err(other),
        }
    }

    #[test]
    fn what_is_appended_is_read_also_after_a_rename_and_a_removal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dns.log");
        let mut file = File::create(&path).unwrap();
        let mut followed = Followed::open(&path).unwrap();
        assert_eq!(read(&mut followed), Err(Read::End));
        file.write_all(b"one\n").unwrap();
        assert_eq!(read(&mut followed), Ok(b"one\n".to_vec()));
        assert!(followed.is_at_its_path().unwrap());
        fs::rename(&path, folder.path().join("old")).unwrap();
        file.write_all(b"two\n").unwrap();
        assert!(!followed.is_at_its_path().unwrap());
        assert_eq!(read(&mut followed), Ok(b"two\n".to_vec()));
        fs::remove_file(folder.path().join("old")).unwrap();
        file.write_all(b"three\n").unwrap();
        assert_eq!(read(&mut followed), Ok(b"three\n".to_vec()));
    }

    #[test]
    fn a_file_that_begins_with_a_hole_is_known_by_what_was_read_last_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dns.log");
        let file = File::create(&path).unwrap();
        file.write_all_at(b"one\ntwo\n", 10_000).unwrap();
        let mut followed = Followed::open(&path).unwrap();
        let mut all = Vec::new();
        while let Ok(bytes) = read(&mut followed) {
            all.extend(bytes);
        }
        assert!(all.ends_with(b"\0one\ntwo\n"));
        file.write_all_at(b"three\n", 10_008).unwrap();
        assert_eq!(read(&mut followed), Ok(b"three\n".to_vec()));
        // Truncated again, and written to at the same place on.
        file.set_len(0).unwrap();
        file.write_all_at(b"four\n", 10_014).unwrap();
        assert_eq!(read(&mut followed), Err(Read::Replaced));
    }

    #[test]
    fn a_file_rewritten_in_place_is_noticed_whatever_its_new_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dns.log");
        for new in [
            &b""[..],
            b"x\n",
            b"new contents\n",
            b"new contents that are longer than the old ones\n",
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x\n",
        ] {
            fs::write(&path, b"old contents\n").unwrap();
            let mut followed = Followed::open(&path).unwrap();
            read(&mut followed).unwrap();
            fs::write(&path, new).unwrap(); // truncates in place, as Zeek does
            assert_eq!(read(&mut followed), Err(Read::Replaced));
            followed.rewind();
            assert_eq!(read(&mut followed).unwrap_or_default(), new);
        }
    }
}
