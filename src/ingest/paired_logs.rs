//! Two logs of the same events: Zeek's plain `dns.log`, and the JSON streaming log beside it.
//!
//! Where a Zeek writes both, each event is in both, and counts once: when the first of them tells it. What only one of them
//! tells counts too, so that nothing is lost while Zeek is switched from one to the other and back. What belongs to one Zeek
//! lies in one folder, its `current` and its dated folders included; other folders are other Zeeks.
//!
//! Logs that are followed are compared event by event ([`LogPair`]). When a second log comes, and at each start, the part of both
//! that was read before is looked through once ([`look_through`]): which of its events the other one still has to tell is
//! known again then. Of what nobody followed, archives and what was written while the daemon was down, whole logs are
//! compared by their times (`plain_logs.rs`): a streaming log that began while a plain one was written holds
//! nothing else than that up to its last event.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::claims::Claims;
use crate::store::StoreError;
use crate::tail::decode::Decoder;
use crate::tail::lineage::Prefix;
use crate::zeek::{self, Line, LogRecord, Reader};

/// Events that one log has told and the other has not, at most; the oldest are forgotten.
const MOST: usize = 1 << 18;
/// A line that is longer is no record.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Why a streaming log beside a plain one is passed over.
pub(super) const PASSED_OVER: &str =
    "a JSON streaming log: it holds the same events as dns.log, which is read";
/// Likewise of one that is followed.
pub(super) const COMPARED: &str = "a JSON streaming log beside dns.log: an event that both hold is counted once, and what only it holds is read";

/// Which of two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairSide {
    /// `dns.log` and its kind.
    Plain,
    /// `json_streaming_dns.log` and its kind.
    Streaming,
}

impl PairSide {
    /// Which one a file is, by its name.
    pub fn of(path: &Path) -> PairSide {
        let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        if name.starts_with(b"json_streaming_") { PairSide::Streaming } else { PairSide::Plain }
    }
}

/// The folder of the Zeek that a log is of: without `current` and what is named by a date.
pub fn zeek_folder(path: &Path) -> PathBuf {
    let mut folder = path.parent().unwrap_or(Path::new(""));
    while let (Some(name), Some(above)) = (folder.file_name(), folder.parent()) {
        let name = name.as_encoded_bytes();
        let is_date = name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
            && matches!(name.len(), 2 | 4 | 8 | 10);
        if name != b"current" && !is_date {
            break;
        }
        folder = above;
    }
    folder.to_owned()
}

//--- LogPair ----------------------------------------------------------------------------------------------------------

/// Events that one of two logs has told, and the other has not yet.
#[derive(Debug, Default)]
pub struct LogPair {
    /// How much more often the plain one told an event than the streaming one.
    told: HashMap<u64, i64>,
    order: VecDeque<u64>,
}

/// Those of two logs, and which of them one is.
#[derive(Clone)]
pub(super) struct PairedLog {
    pub pair: Arc<Mutex<LogPair>>,
    pub side: PairSide,
}

impl LogPair {
    /// Takes down that a log tells an event; says whether the other one told it before.
    pub fn tell(&mut self, side: PairSide, record: &LogRecord) -> bool {
        self.tell_key(side, LogPair::key(record))
    }

    /// As [`LogPair::tell`], with the key of the event.
    pub fn tell_key(&mut self, side: PairSide, key: u64) -> bool {
        let step = match side {
            PairSide::Plain => 1,
            PairSide::Streaming => -1,
        };
        let told = self.told.entry(key).or_insert(0);
        let was_told = *told * step < 0;
        *told += step;
        if *told == 0 {
            self.told.remove(&key);
        } else if !was_told {
            self.order.push_back(key);
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.told.remove(&oldest);
            }
        }
        was_told
    }

    /// What an event is known by in both logs. Zeek may write times of milliseconds in JSON.
    pub fn key(record: &LogRecord) -> u64 {
        let mut key = Vec::with_capacity(64);
        key.extend_from_slice(&(record.ts_micros() / 1000).to_be_bytes());
        for number in [record.qtype(), record.rcode(), record.resp_p()] {
            key.extend_from_slice(&number.map_or(u32::MAX, u32::from).to_be_bytes());
        }
        key.extend_from_slice(record.query().unwrap_or(b"-"));
        xxh3_64(&key)
    }
}

//--- looking through ------------------------------------------------------------------------------------------------

/// How much of a log was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReadSoFar {
    /// This many bytes of the file were read.
    Bytes(u64),
    /// As much was read as the ledger has counted.
    Ledger,
}

/// Reads the lines of a stream with the bytes that each takes, until `each` says that it is enough.
fn lines(stream: impl Read, mut each: impl FnMut(&[u8], u64) -> bool) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = stream.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 || !each(&line, read as u64) {
            return Ok(());
        }
    }
}

/// Takes down what a log has told so far.
///
/// # Errors
///
/// When it cannot be read, or the ledger cannot say how much of it is known.
pub(super) fn look_through(
    paired: &PairedLog,
    claims: &Claims,
    options: &zeek::Options,
    stream: impl Read,
    known: ReadSoFar,
) -> Result<(), IngestTrouble> {
    let (mut reader, mut record) = (Reader::new(options), LogRecord::default());
    let mut pair = paired.pair.lock();
    let (mut prefix, mut end, mut at) = (Prefix::default(), None, 0);
    if let ReadSoFar::Bytes(bytes) = known {
        end = Some(bytes);
    }
    let mut failed = None;
    lines(stream, |line, length| {
        at += length;
        if end.is_some_and(|end| at > end) || !line.ends_with(b"\n") {
            return false;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let parsed = reader.read(text, &mut record);
        if end.is_none() {
            // A hole at the start is no part of a log.
            let hole =
                if prefix.offset() == 0 { line.iter().take_while(|&&byte| byte == 0).count() } else { 0 };
            prefix.update(line.get(hole..).unwrap_or_default());
            if matches!(parsed, Line::Directive | Line::Close) {
                return true;
            }
            let progress = match claims.lineage(&prefix.lineage_id()) {
                Ok(progress) => progress,
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            };
            let Some(progress) = progress else { return false };
            end = Some(progress.consumed.offset.saturating_add(at - prefix.offset()));
        }
        if parsed == Line::Record {
            pair.tell(paired.side, &record);
        }
        true
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Why a log could not be looked through.
#[derive(Debug, thiserror::Error)]
pub(super) enum IngestTrouble {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The ledger cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

//--- times ----------------------------------------------------------------------------------------------------------

/// The times of a log's records, seconds; of the first of them, or of all.
pub(super) fn times(path: &Path, options: &zeek::Options, most: usize) -> Vec<u64> {
    let (mut reader, mut record) = (Reader::new(options), LogRecord::default());
    let mut times = Vec::new();
    // One that cannot be read has no times, and is found out by who reads it.
    let read = Decoder::open(path).and_then(|stream| {
        lines(stream, |line, _| {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if reader.read(text, &mut record) == Line::Record {
                times.push(record.ts_micros() / 1_000_000);
            }
            times.len() < most
        })
    });
    drop(read);
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> LogRecord {
        let line = format!(
            "{{\"ts\":17{n:08}.5,\"uid\":\"C\",\"id.resp_p\":53,\"query\":\"n{n}\",\"qtype\":1,\"rcode\":0}}"
        );
        let mut record = LogRecord::default();
        assert_eq!(Reader::new(&zeek::Options::default()).read(line.as_bytes(), &mut record), Line::Record);
        record
    }

    #[test]
    fn an_event_that_both_tell_is_told_once_in_any_order_and_a_doubled_one_twice() {
        let mut pair = LogPair::default();
        let mut count = 0;
        let mut tell = |side, n| count += u32::from(!pair.tell(side, &record(n)));
        for n in [1, 2, 2, 3] {
            tell(PairSide::Plain, n);
        }
        for n in [3, 2, 1, 4, 2] {
            tell(PairSide::Streaming, n);
        }
        tell(PairSide::Plain, 4);
        assert_eq!(count, 5);
        assert!(pair.told.is_empty());
        let records: Vec<LogRecord> = (0..7).map(record).collect();
        for record in records.iter().cycle().take(2 * MOST) {
            pair.tell(PairSide::Plain, record);
        }
        assert!(pair.order.len() <= MOST && pair.told.len() <= MOST);
    }

    #[test]
    fn a_zeek_is_known_by_its_folder() {
        for (path, expected) in [
            ("/logs/current/dns.log", "/logs"),
            ("/logs/2024-04-19/dns.10:00:00-11:00:00.log.gz", "/logs"),
            ("/logs/2024/04/19/dns.log.gz", "/logs"),
            ("/logs/zeekA/json_streaming_dns.1.log", "/logs/zeekA"),
            ("/logs/zeekA/current/dns.log", "/logs/zeekA"),
            ("dns.log", ""),
        ] {
            assert_eq!(zeek_folder(Path::new(path)), Path::new(expected), "{path}");
        }
        assert_eq!(PairSide::of(Path::new("/x/json_streaming_dns.1.log")), PairSide::Streaming);
        assert_eq!(PairSide::of(Path::new("/x/dns.log")), PairSide::Plain);
    }
}
