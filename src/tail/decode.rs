//! Bytes of a log, whatever it is packed in: told by its first bytes, never by its name.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// How a log is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// Zstandard (RFC 8878), one frame or several.
    Zstd,
    /// Something known that is not read: its usual file name ending.
    Unsupported(&'static str),
}

impl Packing {
    const MAGIC: &[(&[u8], Packing)] = &[
        (b"\x1f\x8b", Packing::Gzip),
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        (b"\xfd7zXZ\x00", Packing::Unsupported("xz")),
        (b"BZh", Packing::Unsupported("bz2")),
        (b"\x04\x22\x4d\x18", Packing::Unsupported("lz4")),
    ];

    /// Tells the packing from the first bytes of a file.
    pub fn of(start: &[u8]) -> Packing {
        let found = Packing::MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
        found.map_or(Packing::Plain, |(_, packing)| *packing)
    }

    /// Whether the first bytes of a file that grows are too few to tell: with the next ones it may be packed.
    pub fn is_undecided(start: &[u8]) -> bool {
        Packing::MAGIC.iter().any(|(magic, _)| magic.len() > start.len() && magic.starts_with(start))
    }
}

/// How a log that was read as far as it goes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At the end of the file, or of a sound archive.
    Whole,
    /// An archive ends too early: it is still being written, or was cut.
    CutShort,
    /// An archive's bytes make no sense from some place on.
    Corrupt(String),
}

/// A log being read from its start.
pub struct Decoder {
    packing: Packing,
    inner: Box<dyn Read + Send>,
}

impl Decoder {
    /// Opens a file. Reads ahead by large steps.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or its first bytes not be read.
    pub fn open(path: &Path) -> io::Result<Decoder> {
        Decoder::new(Box::new(File::open(path)?))
    }

    /// Takes any stream. One that ends within its first few bytes ends there for good: what a file that grows gets after
    /// they were looked at would be taken for something else than it is.
    ///
    /// # Errors
    ///
    /// When the first bytes cannot be read.
    pub fn new(mut stream: Box<dyn Read + Send>) -> io::Result<Decoder> {
        let mut start = [0; 6];
        let mut filled = 0;
        while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match stream.read(rest) {
                Ok(0) => {
                    stream = Box::new(io::empty());
                    break;
                }
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let start = start.get(..filled).unwrap_or_default().to_vec();
        let packing = Packing::of(&start);
        let stream = io::Cursor::new(start).chain(stream);
        let inner: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, stream))),
            Packing::Zstd => {
                let stream = BufReader::with_capacity(1 << 16, stream);
                Box::new(zstd::stream::read::Decoder::with_buffer(stream)?)
            }
            Packing::Plain | Packing::Unsupported(_) => Box::new(stream),
        };
        Ok(Decoder { packing, inner })
    }

    /// How it is packed.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Fills `buffer` as far as the log goes. The second value is how it ended, once it has; bytes that came before
    /// the end are good whatever the end is.
    ///
    /// # Errors
    ///
    /// When the file cannot be read: an error of the operating system, not of the content.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<End>)> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) => return Ok((filled, Some(End::Whole))),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.packing == Packing::Plain || error.raw_os_error().is_some() => {
                    return Err(error);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok((filled, Some(End::CutShort)));
                }
                Err(error) => return Ok((filled, Some(End::Corrupt(error.to_string())))),
            }
        }
        Ok((filled, None))
    }
}

/// As a plain stream, in which an archive that ends too early or is damaged is an error.
impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.fill(buffer)?, self.packing) {
            (_, Packing::Unsupported(ending)) => {
                let why = format!("{ending} archives are not read; repack it with gzip or zstd");
                Err(io::Error::new(io::ErrorKind::Unsupported, why))
            }
            ((0, Some(End::CutShort)), _) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early"))
            }
            ((0, Some(End::Corrupt(why))), _) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("the archive is damaged: {why}")))
            }
            ((n, _), _) => Ok(n),
        }
    }
}

/// The length that a gzip file says its last member has, modulo 2^32 (RFC 1952 2.3.1, ISIZE).
///
/// # Errors
///
/// When the file cannot be read.
pub fn gzip_length(path: &Path) -> io::Result<Option<u32>> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    if file.metadata()?.len() < 18 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-4))?;
    let mut tail = [0; 4];
    file.read_exact(&mut tail)?;
    tail.reverse();
    Ok(Some(u32::from_be_bytes(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> (Vec<u8>, End) {
        let mut decoder = Decoder::new(Box::new(io::Cursor::new(bytes))).unwrap();
        let mut out = Vec::new();
        let mut buffer = [0; 7];
        loop {
            let (n, end) = decoder.fill(&mut buffer).unwrap();
            out.extend_from_slice(&buffer[..n]);
            if let Some(end) = end {
                return (out, end);
            }
        }
    }

    #[test]
    fn plain_gzip_and_zstd_are_told_by_their_first_bytes() {
        let text = b"line one\nline two\n".to_vec();
        assert_eq!(read(text.clone()), (text.clone(), End::Whole));
        assert_eq!(read(gzip(&text)), (text.clone(), End::Whole));
        assert_eq!(read(zstd::encode_all(&text[..], 1).unwrap()), (text.clone(), End::Whole));
        assert_eq!(read(Vec::new()), (Vec::new(), End::Whole));
        assert_eq!(read(b"\x1f".to_vec()), (b"\x1f".to_vec(), End::Whole));
        assert_eq!(Packing::of(b"BZh91AY"), Packing::Unsupported("bz2"));
        assert!([&b""[..], b"\x1f", b"BZ", b"\x28\xb5\x2f"].into_iter().all(Packing::is_undecided));
        assert!([&b"#"[..], b"\x1f\x8b", b"B1", b"{"].iter().all(|start| !Packing::is_undecided(start)));
    }

    /// Hands out one piece for each read; an empty one is the end of a file that grows after it was read.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = if self.0.is_empty() { Vec::new() } else { self.0.remove(0) };
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn an_archive_that_grows_while_its_first_bytes_are_read_is_never_a_plain_log() {
        let text = b"line one\nline two\n".to_vec();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap()] {
            for begun in 0..4 {
                let (first, rest) = whole.split_at(begun);
                let mut pieces = vec![first.to_vec(), Vec::new(), rest.to_vec()];
                pieces.drain(..usize::from(begun == 0));
                let mut decoder = Decoder::new(Box::new(Pieces(pieces))).unwrap();
                let mut buffer = [0; 1000];
                let (n, _) = decoder.fill(&mut buffer).unwrap();
                // What was not there when the packing was told is for the next time the file is met.
                assert!(buffer[..n] == *first || text.starts_with(&buffer[..n]), "{begun}: {n}");
            }
        }
    }

    #[test]
    fn several_members_are_one_log() {
        let two = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(read(two), (b"a\nb\n".to_vec(), End::Whole));
    }

    #[test]
    fn an_archive_cut_anywhere_gives_a_prefix_and_says_so() {
        let text: Vec<u8> =
            (0..2000).flat_map(|i| format!("line {}\n", i * 7919 % 1000).into_bytes()).collect();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap()] {
            for cut in [6, 11, whole.len() / 2, whole.len() - 1] {
                let (out, end) = read(whole[..cut].to_vec());
                assert!(text.starts_with(&out));
                assert_eq!(end, End::CutShort, "{cut} of {}", whole.len());
            }
        }
    }

    #[test]
    fn an_archive_with_flipped_bits_is_never_whole() {
        let text: Vec<u8> =
            (0..2000).flat_map(|i| format!("line {}\n", i * 7919 % 1000).into_bytes()).collect();
        let mut broken = gzip(&text);
        let middle = broken.len() / 2;
        broken[middle] ^= 0xff;
        assert_ne!(read(broken).1, End::Whole);
    }
}
