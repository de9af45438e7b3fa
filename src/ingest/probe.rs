//! Looking into a file before anything of it is counted: is it a DNS log?
//!
//! Nearly always its first record tells, and then nobody looks further. Where it does not, the first part of the file is
//! read for a line that does: a log may begin with a torn line, or behind another log.

use std::convert::Infallible;
use std::path::Path;

use crate::status::UnreadKind;
use crate::tail::decode::{Decoder, Packing};
use crate::tail::lines::{Block, Lines};
use crate::zeek::{self, Recogniser};

/// How far a file is looked into, bytes of its content.
pub const LOOK_BYTES: usize = 8 << 20;

/// A look at the first part of a file.
pub struct LogProbe {
    lines: Lines,
    recogniser: Recogniser,
    is_one: bool,
}

impl LogProbe {
    pub fn new(options: &zeek::Options, max_line_bytes: usize) -> LogProbe {
        LogProbe { lines: Lines::new(max_line_bytes), recogniser: Recogniser::new(options), is_one: false }
    }

    /// Takes the next bytes. Says whether the file is a DNS log.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        let LogProbe { lines, recogniser, is_one } = self;
        let taken: Result<(), Infallible> = lines.push(bytes, &mut |block| {
            match block {
                Block::Lines(lines) => {
                    let mut lines = lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n');
                    *is_one = *is_one || lines.any(|line| recogniser.take(line));
                }
                Block::Element(line) => *is_one = *is_one || recogniser.take(line),
                Block::Long(_) | Block::LongEnd(_) => {}
            }
            Ok(())
        });
        let Ok(()) = taken;
        *is_one
    }

    /// What the file is instead, and whether it may hold records all the same.
    pub fn why_not(&self) -> (UnreadKind, String) {
        let may = self.recogniser.may_hold_records();
        let kind = if may { UnreadKind::Undecodable } else { UnreadKind::PassedOver };
        (kind, self.recogniser.why_not())
    }
}

/// What compressors and ciphers add to the names of files whose content does not tell what it is.
const PACKED_ENDINGS: &[&str] = &["age", "asc", "br", "enc", "gpg", "lzma", "pgp", "zz"];

/// What a file that is no DNS log is by its name: one that is packed in a way that nobody knows may hold records.
pub fn by_name(path: &Path, (kind, why): (UnreadKind, String)) -> (UnreadKind, String) {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.filter(|ending| kind == UnreadKind::PassedOver && PACKED_ENDINGS.contains(&ending.as_str()))
    {
        Some(_) => (
            UnreadKind::Undecodable,
            format!("{why}; by its name it is packed: where that is so, repack it with gzip or zstd"),
        ),
        None => (kind, why),
    }
}

/// Reads the first part of a file; the error says what it is, if it is no DNS log.
pub fn look_into(
    mut decoder: Decoder,
    options: &zeek::Options,
    max_line_bytes: usize,
) -> Result<(), (UnreadKind, String)> {
    let mut look = LogProbe::new(options, max_line_bytes);
    let mut buffer = vec![0; 64 << 10];
    let mut looked = 0;
    while looked < LOOK_BYTES {
        let (filled, end) =
            decoder.fill(&mut buffer).map_err(|error| (UnreadKind::Unreadable, error.to_string()))?;
        if look.take(buffer.get(..filled).unwrap_or_default()) {
            return Ok(());
        }
        if end.is_some() {
            // A log without a record so far, or without anything at all, is one all the same.
            let is_one = look.recogniser.has_header() || looked + filled == 0;
            return if is_one { Ok(()) } else { Err(look.why_not()) };
        }
        looked += filled;
    }
    Err(look.why_not())
}

/// Looks into a file; the error says why it is not read.
///
/// # Errors
///
/// When it cannot be opened or decompressed, or is no DNS log.
pub fn look_at(path: &Path, options: &zeek::Options) -> Result<(), (UnreadKind, String)> {
    let decoder = Decoder::open(path).map_err(|error| (UnreadKind::Unreadable, error.to_string()))?;
    match decoder.packing() {
        Packing::Unsupported(ending) => Err((UnreadKind::Undecodable, Packing::refusal(ending))),
        _ => look_into(decoder, options, super::Config::default().max_line_bytes)
            .map_err(|fault| by_name(path, fault)),
    }
}
