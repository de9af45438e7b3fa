//! Bytes of a log, whatever it is packed in: told by its first bytes, never by its name.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::open::open;

/// The widest window of a Zstandard frame that is held in memory, as a power of two: 128 MiB, what `zstd` itself reads
/// without being asked to.
const MAX_WINDOW_LOG: u32 = 27;

/// How a log is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// Zstandard (RFC 8878), one frame or several, with skippable frames anywhere.
    Zstd,
    /// Something known that is not read: its usual file name ending.
    Unsupported(&'static str),
}

impl Packing {
    /// How many bytes are looked at.
    pub const BYTES: usize = 9;

    const MAGIC: &[(&[u8], Packing)] = &[
        (b"\x1f\x8b", Packing::Gzip),
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        (b"\xfd7zXZ\x00", Packing::Unsupported("xz")),
        (b"BZh", Packing::Unsupported("bz2")),
        (b"\x04\x22\x4d\x18", Packing::Unsupported("lz4")),
        (b"\x02\x21\x4c\x18", Packing::Unsupported("lz4")),
        (b"\x5d\x00\x00", Packing::Unsupported("lzma")),
        (b"LZIP", Packing::Unsupported("lz")),
        (b"\x89LZO\x00\r\n\x1a\n", Packing::Unsupported("lzo")),
        (b"\x1f\x9d", Packing::Unsupported("Z")),
        (b"PK\x03\x04", Packing::Unsupported("zip")),
        (b"7z\xbc\xaf\x27\x1c", Packing::Unsupported("7z")),
        (b"\xff\x06\x00\x00sNaPp", Packing::Unsupported("sz")),
        (b"x\x01", Packing::Unsupported("zlib")),
        (b"x\x9c", Packing::Unsupported("zlib")),
        (b"x\xda", Packing::Unsupported("zlib")),
        (b"Rar!\x1a\x07", Packing::Unsupported("rar")),
        (b"\xff\xfe", Packing::Unsupported(UTF_16)),
        (b"\xfe\xff", Packing::Unsupported(UTF_16)),
    ];

    /// Tells the packing from the first bytes of a file.
    pub fn of(start: &[u8]) -> Packing {
        if let [b'#' | b'{' | b'[', 0, b, 0, ..] | [0, b'#' | b'{' | b'[', 0, b, ..] = start
            && *b != 0
        {
            return Packing::Unsupported(UTF_16); // without its mark
        }
        if start.get(TAR_MAGIC_AT..).is_some_and(|magic| magic.starts_with(b"ustar")) {
            return Packing::Unsupported(TAR);
        }
        if is_skippable(start) && start.len() >= 4 {
            return Packing::Zstd;
        }
        let found = Packing::MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
        found.map_or(Packing::Plain, |(_, packing)| *packing)
    }

    /// Whether the first bytes of a file that grows are too few to tell: with the next ones it may be packed.
    pub fn is_undecided(start: &[u8]) -> bool {
        (is_skippable(start) && start.len() < 4)
            || Packing::MAGIC.iter().any(|(magic, _)| magic.len() > start.len() && magic.starts_with(start))
    }

    /// What to say of a file that is packed in a way that is not read.
    pub fn refusal(ending: &str) -> String {
        match ending {
            UTF_16 => {
                "text in UTF-16 is not read; make it UTF-8: `iconv -f UTF-16 -t UTF-8 OLD > NEW`".to_owned()
            }
            TAR => {
                "tar archives are not read, for there are several files in them; unpack it: `tar -xf FILE`"
                    .to_owned()
            }
            NESTED => {
                "it is packed twice, and what is in an archive within an archive is not read; unpack it once"
                    .to_owned()
            }
            ending => format!("{ending} archives are not read; repack it with gzip or zstd"),
        }
    }
}

/// What [`Packing::Unsupported`] says of what has no ending of its own.
const UTF_16: &str = "UTF-16";
const TAR: &str = "tar";
const NESTED: &str = "nested";
/// Where tar has its magic number, in the header of the first file.
const TAR_MAGIC_AT: usize = 257;
/// Bytes of the content that are looked at: the header of a tar archive.
const HEAD_BYTES: usize = 512;
/// Bytes that are read from disk at a time. Most archives of a quiet hour are no larger.
const READ_AT_ONCE: usize = 64 << 10;

/// Whether these bytes begin a skippable frame (RFC 8878 3.1.2), as far as they go. `pzstd` begins its files so.
fn is_skippable(start: &[u8]) -> bool {
    let mut bytes = start.iter();
    bytes.next().is_none_or(|first| first & 0xf0 == 0x50)
        && bytes.zip(b"\x2a\x4d\x18").all(|(byte, magic)| byte == magic)
}

/// How a log that was read as far as it goes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At the end of the file, or of a sound archive.
    Whole,
    /// An archive ends too early: it is still being written, or was cut.
    CutShort,
    /// An archive cannot be read on from some place: why.
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
        Decoder::new(Box::new(open(path)?.0))
    }

    /// Takes any stream. One that ends within its first few bytes ends there for good: what a file that grows gets after
    /// they were looked at would be taken for something else than it is.
    ///
    /// # Errors
    ///
    /// When the first bytes cannot be read.
    pub fn new(mut stream: Box<dyn Read + Send>) -> io::Result<Decoder> {
        let mut start = first_bytes(&mut stream, Vec::new())?;
        let mut packing = Packing::of(&start);
        // What a skippable frame holds is nobody's log. LZ4 has them, too: the first other frame tells.
        while is_skippable(&start)
            && let Some((&[_, _, _, _, a, b, c, d], behind)) = start.split_first_chunk()
        {
            let length = u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16 | u64::from(d) << 24;
            let behind = behind.to_vec();
            let missing = length.saturating_sub(behind.len() as u64);
            if io::copy(&mut Read::by_ref(&mut stream).take(missing), &mut io::sink())? < missing {
                break; // it is cut short: its decoder says so
            }
            let behind = behind.into_iter().skip(usize::try_from(length).unwrap_or(usize::MAX)).collect();
            start = first_bytes(&mut stream, behind)?;
            if start.is_empty() {
                break;
            }
            packing = match Packing::of(&start) {
                Packing::Plain => Packing::Zstd,
                packing => packing,
            };
        }
        if start.is_empty() {
            return Ok(Decoder { packing, inner: Box::new(io::empty()) });
        }
        let stream = io::Cursor::new(start).chain(stream);
        let mut inner: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(Gzip::new(BufReader::with_capacity(READ_AT_ONCE, stream))),
            Packing::Zstd => {
                let stream = BufReader::with_capacity(READ_AT_ONCE, stream);
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Packing::Plain | Packing::Unsupported(_) => Box::new(stream),
        };
        if let Packing::Unsupported(_) = packing {
            return Ok(Decoder { packing, inner });
        }
        let (head, failed) = head(&mut inner);
        let packing = match Packing::of(&head) {
            Packing::Plain => packing,
            within @ Packing::Unsupported(UTF_16 | TAR) => within,
            _ if packing == Packing::Plain => packing, // it had become so since its first bytes were looked at
            _ => Packing::Unsupported(NESTED),
        };
        Ok(Decoder { packing, inner: Box::new(io::Cursor::new(head).chain(Failed(failed)).chain(inner)) })
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
                Err(error) => return Ok((filled, Some(End::Corrupt(why_corrupt(&error))))),
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
                Err(io::Error::new(io::ErrorKind::Unsupported, Packing::refusal(ending)))
            }
            ((0, Some(End::CutShort)), _) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early"))
            }
            ((0, Some(End::Corrupt(why))), _) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
            ((n, _), _) => Ok(n),
        }
    }
}

/// The first bytes of the content, and why there are no more of them, if that is not its end.
fn head(content: &mut dyn Read) -> (Vec<u8>, Option<io::Error>) {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    let mut failed = None;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    head.truncate(filled);
    (head, failed)
}

/// Fails once where what was read ahead had ended so.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Reads the first bytes of a stream, behind those that were read of it, and what comes with them. One that ends within them
/// ends there for good.
fn first_bytes(stream: &mut Box<dyn Read + Send>, read: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut start = read;
    let mut filled = start.len();
    start.resize(READ_AT_ONCE.max(filled), 0);
    while filled < Packing::BYTES {
        match stream.read(start.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => {
                *stream = Box::new(io::empty());
                break;
            }
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    start.truncate(filled);
    Ok(start)
}

/// What to say of an archive that cannot be read on.
fn why_corrupt(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("too much memory") {
        let megabytes = 1u64 << (MAX_WINDOW_LOG - 20);
        return format!(
            "its window is wider than {megabytes} MiB, which is the most that is held in memory; \
             repack it: `zstd -dc --long=31 OLD | zstd -o NEW`"
        );
    }
    if error.kind() == io::ErrorKind::Other && text == BEHIND_THE_END {
        return text;
    }
    format!("the archive is damaged: {text}")
}

/// What stands behind the last sound part of a gzip file may be a damaged part as well as rubbish.
const BEHIND_THE_END: &str = "what stands behind its end is not gzip; all before that is read";

/// Members of gzip one after the other, and nothing else but zeros behind them, which tapes leave.
struct Gzip<R> {
    member: Option<GzDecoder<R>>,
    /// Bytes behind the last member.
    behind: Option<R>,
}

impl<R: BufRead> Gzip<R> {
    fn new(stream: R) -> Gzip<R> {
        Gzip { member: Some(GzDecoder::new(stream)), behind: None }
    }

    /// Goes to the next member; says whether there is one.
    fn next_member(&mut self) -> io::Result<bool> {
        let Some(mut stream) = self.behind.take() else { return Ok(false) };
        loop {
            let bytes = match stream.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.behind = Some(stream);
                    return Err(error);
                }
            };
            match bytes.first() {
                None => return Ok(false),
                Some(0) => {
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    stream.consume(zeros);
                }
                Some(0x1f) => {
                    self.member = Some(GzDecoder::new(stream));
                    return Ok(true);
                }
                Some(_) => {
                    self.behind = Some(stream);
                    return Err(io::Error::other(BEHIND_THE_END));
                }
            }
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(member) = &mut self.member {
                match member.read(buffer)? {
                    0 if !buffer.is_empty() => self.behind = self.member.take().map(GzDecoder::into_inner),
                    n => return Ok(n),
                }
            } else if !self.next_member()? {
                return Ok(0);
            }
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
    let (mut file, metadata) = open(path)?;
    if metadata.len() < 18 {
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
    fn what_is_packed_twice_or_holds_files_or_other_text_is_refused_by_name() {
        let text = b"#separator \\x09\n#path\tdns\n".to_vec();
        let mut tar = vec![0; 1024];
        tar[..7].copy_from_slice(b"dns.log");
        tar[257..262].copy_from_slice(b"ustar");
        let wide = |mark: &[u8], order: fn(u16) -> [u8; 2]| {
            let wide = text.iter().flat_map(|byte| order(u16::from(*byte)));
            mark.iter().copied().chain(wide).collect::<Vec<u8>>()
        };
        for (bytes, refused, says) in [
            (gzip(&gzip(&text)), NESTED, "packed twice"),
            (zstd::encode_all(&gzip(&text)[..], 1).unwrap(), NESTED, "packed twice"),
            (gzip(b"\xfd7zXZ\x00rest"), NESTED, "packed twice"),
            (tar.clone(), TAR, "tar -xf"),
            (gzip(&tar), TAR, "tar -xf"),
            (wide(b"\xff\xfe", u16::to_le_bytes), UTF_16, "iconv"),
            (wide(b"\xfe\xff", u16::to_be_bytes), UTF_16, "iconv"),
            (wide(b"", u16::to_le_bytes), UTF_16, "iconv"),
            (wide(b"", u16::to_be_bytes), UTF_16, "iconv"),
            (gzip(&wide(b"\xff\xfe", u16::to_le_bytes)), UTF_16, "iconv"),
            (b"x\x9cpacked".to_vec(), "zlib", "repack it"),
        ] {
            let decoder = Decoder::new(Box::new(io::Cursor::new(bytes.clone()))).unwrap();
            assert_eq!(decoder.packing(), Packing::Unsupported(refused), "{}", bytes.escape_ascii());
            assert!(Packing::refusal(refused).contains(says));
        }
        // A hole that copytruncate left is none of these.
        assert_eq!(Packing::of(b"\0\0\0\0\0\0\0\0{"), Packing::Plain);
    }

    #[test]
    fn several_members_are_one_log() {
        let two = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(read(two), (b"a\nb\n".to_vec(), End::Whole));
    }

    fn skippable(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap();
        let mut size = length.to_be_bytes();
        size.reverse();
        [&b"\x5a\x2a\x4d\x18"[..], &size, content].concat()
    }

    #[test]
    fn skippable_frames_are_passed_over_wherever_they_are() {
        let text = b"line one\nline two\n".to_vec();
        let packed = zstd::encode_all(&text[..], 1).unwrap();
        // pzstd writes one with the size of the next frame before each frame.
        let pzstd = [skippable(&[7, 0, 0, 0]), packed.clone()].concat();
        assert_eq!(Packing::of(&pzstd), Packing::Zstd);
        for (file, expected) in [
            (pzstd.clone(), text.clone()),
            ([pzstd.clone(), pzstd.clone()].concat(), text.repeat(2)),
            (
                [skippable(b""), skippable(&[9; 100_000]), packed.clone(), skippable(b"x")].concat(),
                text.clone(),
            ),
            (skippable(b"nothing else"), Vec::new()),
            (skippable(b""), Vec::new()),
        ] {
            assert_eq!(read(file), (expected, End::Whole));
        }
        let whole = [skippable(&[7; 50]), packed].concat();
        for cut in [9, 30, 57, 58, 60, whole.len() - 1] {
            let (out, end) = read(whole[..cut].to_vec());
            assert!(text.starts_with(&out) && (end == End::CutShort || cut == 58), "{cut}: {end:?}");
        }
        let lz4 = [skippable(b"x"), b"\x04\x22\x4d\x18rest and more".to_vec()].concat();
        assert_eq!(
            Decoder::new(Box::new(io::Cursor::new(lz4))).unwrap().packing(),
            Packing::Unsupported("lz4")
        );
        assert!([&b"\x5a"[..], b"\x50\x2a\x4d"].into_iter().all(Packing::is_undecided));
    }

    #[test]
    fn a_window_beyond_the_bound_is_refused_with_its_reason() {
        let encode = |window: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window).unwrap();
            encoder.write_all(b"line\n").unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(read(encode(27)), (b"line\n".to_vec(), End::Whole));
        let (out, End::Corrupt(why)) = read(encode(31)) else { panic!("it was read") };
        assert!(out.is_empty() && why.contains("128 MiB") && why.contains("--long=31"), "{why}");
    }

    #[test]
    fn zeros_behind_a_gzip_file_are_nothing_and_rubbish_is_said() {
        let whole = gzip(b"a\n");
        assert_eq!(read([whole.clone(), vec![0; 200_000]].concat()), (b"a\n".to_vec(), End::Whole));
        assert_eq!(
            read([whole.clone(), vec![0; 9], whole.clone()].concat()),
            (b"a\na\n".to_vec(), End::Whole)
        );
        let (out, end) = read([whole, b"junk\n".to_vec()].concat());
        assert_eq!((out, end), (b"a\n".to_vec(), End::Corrupt(BEHIND_THE_END.to_owned())));
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

    #[test]
    fn a_small_archive_is_read_from_disk_by_one_call() {
        struct Calls(io::Cursor<Vec<u8>>, Arc<AtomicUsize>);
        impl Read for Calls {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.0.read(buffer)?;
                self.1.fetch_add(usize::from(n > 0), Ordering::Relaxed);
                Ok(n)
            }
        }
        for packed in [gzip(b"one\ntwo\n"), zstd::encode_all(&b"one\ntwo\n"[..], 1).unwrap()] {
            let calls = Arc::new(AtomicUsize::new(0));
            let stream = Calls(io::Cursor::new(packed), Arc::clone(&calls));
            let mut decoder = Decoder::new(Box::new(stream)).unwrap();
            let mut buffer = [0; 64];
            assert_eq!(decoder.fill(&mut buffer).unwrap(), (8, Some(End::Whole)));
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        }
    }
}
