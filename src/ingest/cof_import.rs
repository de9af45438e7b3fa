//! Merging what other sites saw: an import of the Common Output Format of passive DNS, as `export` and other tools write it.
//!
//! # What is taken of a line
//!
//! One JSON object a line. `rrname`, `rrtype` (a mnemonic, `TYPE123` or a number) and `rdata` (a string, or an array of them)
//! are needed, and `time_first` or `time_last` (epoch seconds, or RFC 3339; else `zone_time_first` and `zone_time_last`).
//! `count` is 1 where it is missing, `ttl` 0. `direct` and `alias` are as in an export; without them a row is direct.
//! `halves` are the figures of both where a row is both; everything else is passed over, `sensor_id` too. Of MX, SRV and SOA
//! the host name is taken, as from a log. The days between the first and the last sighting are not known.
//!
//! DNSDB's Streaming Answer Format is read, too, as version 2 of its API answers: each row is the `obj` of a line, between lines
//! that have a `cond` only. These are no rows, and count as nothing; where the last of them does not say that the answer was
//! whole, the import says so.
//!
//! A line whose `rdata` is null says that there was none, and is skipped. One that is none of this is malformed, for a
//! reason, and never ends an import.
//!
//! # Once
//!
//! The rows of one origin have a sensor of their own: the one that is named, else one that is called like the file. What was
//! read of an origin is progress like that of a log, in the same batch as its rows: an import that broke off goes on, the same
//! file again changes nothing, and another one of the same origin is refused, for it would count most of its rows twice. So
//! would what this ledger itself exported: it is known by its rows, which are found here with the same sensor and the same
//! first sighting. (An identity of the ledger in the export would make two exports of the same logs differ.) Where it is
//! asked for, a newer file takes the place of what was imported of its origin: that is dropped first, in one step, and the
//! file is then one of an origin that was never met.

use std::cmp::Ordering as Order;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::claims::Claimed;
use super::worker::{BEGIN, Chunks, ReadOutcome, Worker};
use super::{IngestError, newest};
use crate::base::time::{DAY, LATEST, parse_rfc3339};
use crate::dns::{Name, Rdata, RrType, push_text_presentation};
use crate::observation::{Halves, Seen, Tuple, check_sensor_name};
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::{Scan, Snapshot, StoreError};
use crate::tail::decode::End;
use crate::tail::lineage::Prefix;
use crate::tail::lines::{Block, Lines};
use crate::tally::{Fate, Malformed, Skip, Tally};

/// Rows that are looked up to see whether they are this ledger's own.
const LOOKED_UP: usize = 200;

/// The last one of an answer that is whole.
const SUCCEEDED: &str = "succeeded";

//--- rows -----------------------------------------------------------------------------------------------------------

/// A line as it is read.
#[derive(Deserialize)]
struct Line {
    rrname: String,
    rrtype: Value,
    rdata: Value,
    time_first: Option<Value>,
    time_last: Option<Value>,
    zone_time_first: Option<Value>,
    zone_time_last: Option<Value>,
    count: Option<Value>,
    ttl: Option<u64>,
    direct: Option<bool>,
    alias: Option<bool>,
    halves: Option<LineHalves>,
    sensor_id: Option<String>,
}

#[derive(Deserialize)]
struct LineHalves {
    direct: LineSeen,
    alias: LineSeen,
}

#[derive(Deserialize)]
struct LineSeen {
    count: u64,
    time_first: u64,
    time_last: u64,
    ttl: u64,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    rrname: Name,
    rrtype: RrType,
    /// Empty where the line says that there is none.
    rdata: Vec<Rdata>,
    halves: Halves,
    sensor: Option<String>,
}

/// Reads a line: a row, or the `cond` of a line that has none.
fn parse(line: &[u8]) -> Result<Result<Row, String>, Malformed> {
    #[derive(Deserialize)]
    struct Framed {
        cond: Option<String>,
        obj: Option<Line>,
    }
    if line.contains(&0) {
        return Err(Malformed::Nul);
    }
    match serde_json::from_slice(line) {
        Ok(line) => row_of(line).map(Ok),
        Err(_) => match serde_json::from_slice(line) {
            Ok(Framed { obj: Some(line), .. }) => row_of(line).map(Ok),
            Ok(Framed { cond: Some(cond), .. }) => Ok(Err(cond)),
            _ => Err(Malformed::Json),
        },
    }
}

fn row_of(line: Line) -> Result<Row, Malformed> {
    let rrname = Name::parse(&line.rrname).map_err(|_| Malformed::Value)?;
    let rrtype = rrtype(&line.rrtype).ok_or(Malformed::Value)?;
    let texts = match line.rdata {
        Value::String(text) => vec![text],
        Value::Array(texts) => {
            let texts = texts.into_iter().map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty()).ok_or(Malformed::Value)?
        }
        Value::Null => Vec::new(),
        _ => return Err(Malformed::Value),
    };
    let rdata: Option<Vec<Rdata>> = texts.iter().map(|text| rdata(rrtype, text)).collect();
    let mut rdata = rdata.ok_or(Malformed::Value)?;
    // A row counts a tuple once, as a record of a log does.
    rdata.sort_unstable();
    rdata.dedup();
    let pair = match (line.time_first, line.time_last) {
        (None, None) => (line.zone_time_first, line.zone_time_last),
        pair => pair,
    };
    let (first, last) = match pair {
        (Some(first), Some(last)) => (time(&first), time(&last)),
        (Some(one), None) | (None, Some(one)) => (time(&one), time(&one)),
        (None, None) => (None, None),
    };
    let (time_first, time_last) = first.zip(last).ok_or(Malformed::Time)?;
    let count = line.count.as_ref().map_or(Some(1), number).ok_or(Malformed::Value)?;
    let seen = LineSeen { count, time_first, time_last, ttl: line.ttl.unwrap_or_default() };
    let halves = match (line.direct, line.alias, line.halves) {
        (_, Some(true), Some(both)) => Halves { direct: seen_of(both.direct)?, alias: seen_of(both.alias)? },
        (Some(false), Some(true), None) => Halves { alias: seen_of(seen)?, ..Halves::default() },
        _ => Halves { direct: seen_of(seen)?, ..Halves::default() },
    };
    // It only tells whether a row is of this ledger; none of those has another name.
    let sensor = line.sensor_id.filter(|name| check_sensor_name(name).is_ok());
    Ok(Row { rrname, rrtype, rdata, halves, sensor })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    }
}

/// A time of seconds since the epoch, or of RFC 3339; fractions are cut.
fn time(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok().or_else(|| parse_rfc3339(text.trim()).ok()),
        value => value.as_u64().or_else(|| {
            let seconds = value.as_f64()?;
            (0.0..1e15).contains(&seconds).then_some(seconds as u64)
        }),
    }
}

fn rrtype(value: &Value) -> Option<RrType> {
    match value {
        Value::String(text) => match text.trim().parse() {
            Ok(rrtype) => Some(rrtype),
            Err(_) => text.trim().parse().ok().map(RrType),
        },
        value => u16::try_from(value.as_u64()?).ok().map(RrType),
    }
}

/// Record data as a log of that type would have given it.
fn rdata(rrtype: RrType, text: &str) -> Option<Rdata> {
    let token = |at: usize, of: usize| {
        let tokens: Vec<&str> = text.split_ascii_whitespace().collect();
        if tokens.len() == of { tokens.get(at).copied() } else { Some(text) }
    };
    let name = |text: Option<&str>| Name::parse(text?).ok().map(Rdata::Name);
    match rrtype {
        RrType::A => text.trim().parse().ok().map(Rdata::V4),
        RrType::AAAA => text.trim().parse().ok().map(Rdata::V6),
        RrType::NS | RrType::CNAME | RrType::PTR => name(Some(text)),
        RrType::MX => name(token(1, 2)),
        RrType::SRV => name(token(3, 4)),
        RrType::SOA => name(token(0, 7)),
        RrType::TXT | RrType::SPF if !text.starts_with('"') => {
            let mut quoted = Vec::new();
            push_text_presentation(text.as_bytes(), &mut quoted);
            let quoted = String::from_utf8(quoted).ok()?;
            Some(Rdata::Text(format!("\"{}\"", quoted.replace('"', "\\\"")).into()))
        }
        // In presentation form already; only what that cannot hold is escaped.
        _ if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) => Some(Rdata::Text(text.into())),
        _ => {
            let mut out = Vec::new();
            for part in text.split_inclusive('\\') {
                let (plain, backslash) = part.strip_suffix('\\').map_or((part, ""), |plain| (plain, "\\"));
                push_text_presentation(plain.as_bytes(), &mut out);
                out.extend_from_slice(backslash.as_bytes());
            }
            String::from_utf8(out).ok().map(|text| Rdata::Text(text.into()))
        }
    }
}

fn seen_of(line: LineSeen) -> Result<Seen, Malformed> {
    let LineSeen { count, time_first, time_last, ttl } = line;
    if time_first > time_last || time_last > LATEST {
        return Err(Malformed::Time);
    }
    if count == 0 {
        return Err(Malformed::Value);
    }
    let between = time_last / DAY - time_first / DAY;
    let first_day = u32::try_from(between).ok().and_then(|days| 1u64.checked_shl(days)).unwrap_or(0);
    // RFC 2181 section 8.
    let ttl = u32::try_from(ttl).ok().filter(|ttl| *ttl <= i32::MAX as u32).unwrap_or(0);
    Ok(Seen { count, time_first, time_last, days: 1 | first_day, ttl })
}

/// Whether the first rows of a file are rows of this ledger.
fn is_own(ledger: &dyn Snapshot, first: &[u8]) -> Result<bool, StoreError> {
    let rows = first.split(|&byte| byte == b'\n').filter_map(|line| parse(line).ok()?.ok()).take(LOOKED_UP);
    let (mut own, mut all) = (0, 0);
    for Row { rrname, rrtype, rdata, halves, sensor } in rows {
        all += 1;
        let (Some(sensor), [rdata]) = (sensor, rdata.as_slice()) else { continue };
        let tuple = Tuple { rrname, rrtype, rdata: rdata.clone() };
        let scan = Scan::Name(tuple.rrname.clone());
        for entry in ledger.entries(&scan, None)? {
            let entry = entry?;
            if entry.tuple != tuple || *entry.sensor != *sensor {
                continue;
            }
            let (mine, theirs) = (entry.halves.combined(), halves.combined());
            own += usize::from(mine.time_first == theirs.time_first && mine.count >= theirs.count);
        }
    }
    Ok(2 * own > all)
}

//--- reading --------------------------------------------------------------------------------------------------------

/// The identity of an origin: there is one progress for all that came from it.
fn origin(sensor: &str) -> LineageId {
    LineageId(xxh3_128(format!("dnsledger: COF imported as {sensor}").as_bytes()).to_be_bytes())
}

/// Whether progress is that of an origin, of which there are no logs.
pub fn is_origin(progress: &Progress) -> bool {
    progress.lineage == origin(&progress.sensor)
}

/// What a file is called, without what says how it is written.
fn name_of(path: &Path) -> Option<String> {
    let mut name = path.file_name()?.to_str()?;
    for ending in [".gz", ".zst", ".json", ".jsonl", ".ndjson", ".cof", ".txt", ".sql", ".dump"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    let proper = !matches!(name, "" | "-" | "standard input") && check_sensor_name(name).is_ok();
    proper.then(|| name.to_owned())
}

/// A file on its way in.
struct Incoming {
    prefix: Prefix,
    progress: Progress,
    /// How far the file was read before.
    known: Progress,
    new: Tally,
    row_key: Vec<u8>,
    sensor: [u8; 2],
    /// Tuples of one line at most.
    max_tuples: usize,
    changed: bool,
    bounds: Bounds,
    /// The last `cond` of DNSDB's frame.
    cond: Option<String>,
}

/// Between which times rows are taken, epoch seconds.
struct Bounds {
    not_before: u64,
    not_after: u64,
    now: u64,
}

impl Bounds {
    /// Whether both ends of a row lie within.
    fn holds(&self, halves: &Halves) -> bool {
        let all = halves.combined();
        all.time_first >= self.not_before && all.time_last <= self.not_after
    }
}

impl Incoming {
    fn block(&mut self, block: Block<'_>, batch: &mut Batch) -> Result<(), Changed> {
        match block {
            Block::Lines(lines) => {
                lines.split_inclusive(|&b| b == b'\n').try_for_each(|l| self.line(l, batch))
            }
            Block::Element(element) => self.line(element, batch),
            Block::Long(piece) => {
                self.prefix.update(piece);
                Ok(())
            }
            Block::LongEnd(piece) => self.end_line(piece, Some(Fate::Malformed(Malformed::TooLong))),
        }
    }

    fn line(&mut self, line: &[u8], batch: &mut Batch) -> Result<(), Changed> {
        let text = line.trim_ascii();
        // Behind the end of a file that was read whole nothing may be counted.
        let may_count = self.prefix.offset() >= self.known.consumed.offset && !self.known.complete;
        if !may_count || text.is_empty() {
            return self.end_line(line, None);
        }
        let row = match parse(text) {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(cond)) => {
                self.cond = Some(cond);
                return self.end_line(line, None);
            }
            Err(why) => Err(why),
        };
        let fate = match row {
            Ok(row) if !self.bounds.holds(&row.halves) => Fate::Malformed(Malformed::Time),
            Ok(row) if row.rdata.is_empty() => Fate::Skipped(Skip::NoAnswer),
            Ok(row) => {
                let cut = row.rdata.len().saturating_sub(self.max_tuples) as u64;
                self.progress.tally.cut_answers(cut);
                self.new.cut_answers(cut);
                for rdata in row.rdata.iter().take(self.max_tuples) {
                    self.row_key.clear();
                    self.row_key.extend_from_slice(row.rrname.key());
                    self.row_key.extend_from_slice(&row.rrtype.0.to_be_bytes());
                    rdata.push_key(&mut self.row_key);
                    self.row_key.extend_from_slice(&self.sensor);
                    batch.add_halves(&self.row_key, &row.halves);
                }
                self.progress.note_time(row.halves.combined().time_first);
                self.progress.latest = self.progress.latest.max(row.halves.time_last());
                self.progress.newest = newest(self.progress.newest, row.halves.time_last(), self.bounds.now);
                Fate::Counted
            }
            Err(why) => Fate::Malformed(why),
        };
        self.end_line(line, Some(fate))
    }

    fn end_line(&mut self, bytes: &[u8], fate: Option<Fate>) -> Result<(), Changed> {
        let was_known = self.prefix.offset() < self.known.consumed.offset;
        self.prefix.update(bytes);
        let known = &self.known.consumed;
        if !was_known && self.known.complete {
            return Err(Changed);
        }
        if was_known {
            return match self.prefix.offset().cmp(&known.offset) {
                Order::Less => Ok(()),
                Order::Equal if self.prefix.mark() == *known => Ok(()),
                _ => Err(Changed),
            };
        }
        if let Some(fate) = fate {
            self.new.add(fate);
            self.progress.tally.add(fate);
        }
        self.changed = true;
        Ok(())
    }

    /// Takes a last line without a newline: many tools leave it out. Nothing is given of one that is too long.
    fn end(&mut self, last: &[u8], batch: &mut Batch) -> Result<(), Changed> {
        let is_new = self.prefix.offset() >= self.known.consumed.offset;
        match last {
            [] if self.known.complete => Ok(()),
            [] => self.end_line(&[], Some(Fate::Malformed(Malformed::TooLong))),
            last if is_new && parse(last.trim_ascii()).is_err() => {
                self.end_line(last, Some(Fate::Malformed(Malformed::Unterminated)))
            }
            last => self.line(last, batch),
        }
    }
}

/// The file is not the one that was read before.
struct Changed;

impl Worker<'_> {
    /// Reads a file of COF, whose first bytes are given.
    pub(super) fn read_cof(
        &mut self,
        first: &[u8],
        end: Option<End>,
        mut chunks: Chunks,
        path: &Path,
        sensor: Option<&str>,
    ) -> Result<ReadOutcome, IngestError> {
        let Some(sensor) = sensor.map(str::to_owned).or_else(|| name_of(path)) else {
            let why = "it is passive DNS of another site, and has no name; try: --sensor NAME";
            return Ok(self.refuse(path, why));
        };
        let context = Arc::clone(&self.context);
        let (store, claims) = (&context.store, &context.claims);
        if is_own(&*store.now(), first)? {
            return Ok(self.refuse(path, "this ledger exported it; try: `dnsledger snapshot` for a backup"));
        }
        let id = origin(&sensor);
        if claims.lineages()?.iter().any(|other| other.sensor == sensor && other.lineage != id) {
            let why = format!("sensor {sensor} has logs of its own; try: --sensor NAME, with another name");
            return Ok(self.refuse(path, &why));
        }
        let known = match claims.claim(&id, false)? {
            Claimed::Busy { .. } => {
                return Ok(self.refuse(path, "another import of the same origin is running"));
            }
            Claimed::Yes(known) => known.map_or_else(|| Progress::start(id, &sensor), |known| *known),
        };
        let known = match self.replaces && known.read_at > 0 {
            true => {
                // Nothing of it waits to be applied: it could not be claimed then.
                let number = store.sensor(&sensor)?;
                if let Err(error) = claims.forget(number, &id) {
                    claims.release(&id);
                    return Err(error.into());
                }
                Progress::start(id, &sensor)
            }
            false => known,
        };
        let met = self.read_claimed(first, end, &mut chunks, path, &sensor, known);
        claims.release(&id);
        met
    }

    fn read_claimed(
        &mut self,
        first: &[u8],
        mut end: Option<End>,
        chunks: &mut Chunks,
        path: &Path,
        sensor: &str,
        known: Progress,
    ) -> Result<ReadOutcome, IngestError> {
        let number = self.context.store.sensor(sensor)?;
        let mut incoming = Incoming {
            prefix: Prefix::default(),
            progress: Progress { path: path.to_owned(), ..known.clone() },
            known,
            new: Tally::default(),
            row_key: Vec::new(),
            sensor: number.0.to_be_bytes(),
            max_tuples: self.context.observe.max_tuples,
            changed: false,
            bounds: Bounds {
                not_before: self.context.observe.not_before,
                not_after: self.context.not_after(),
                now: self.context.clock.newest(),
            },
            cond: None,
        };
        let mut lines = Lines::new(self.context.max_line_bytes);
        // The line that the file ends in, if it does, for it may have no newline.
        let mut last: Vec<u8> = Vec::new();
        let mut told = 0;
        let mut next = Some(first.to_vec());
        let ended = loop {
            let bytes = match next.take() {
                Some(bytes) => bytes,
                None => match chunks.next() {
                    Ok((bytes, chunk_end)) => {
                        end = chunk_end;
                        bytes.to_vec()
                    }
                    Err(error) => {
                        self.settle_cof(&mut incoming, false);
                        return Ok(self.fail(path, &error));
                    }
                },
            };
            let batch = &mut self.batch;
            if lines.push(&bytes, &mut |block| incoming.block(block, batch)).is_err() {
                return Ok(self.refuse_again(path, sensor));
            }
            match memchr::memrchr(b'\n', &bytes) {
                Some(at) => last = bytes.get(at + 1..).unwrap_or_default().to_vec(),
                None if last.len() <= self.context.max_line_bytes => last.extend_from_slice(&bytes),
                None => {}
            }
            self.lines.fetch_add(incoming.new.lines() - told, Ordering::Relaxed);
            told = incoming.new.lines();
            if self.batch.bytes() > self.batch_bytes {
                self.settle_cof(&mut incoming, false);
                self.flush()?;
            }
            if let Some(end) = end.take() {
                break end;
            }
        };
        if matches!(ended, End::Whole)
            && lines.is_inside_line()
            && incoming.end(if lines.held() > 0 { &last } else { &[] }, &mut self.batch).is_err()
        {
            return Ok(self.refuse_again(path, sensor));
        }
        if incoming.prefix.offset() < incoming.known.consumed.offset {
            return Ok(self.refuse_again(path, sensor));
        }
        self.settle_cof(&mut incoming, matches!(ended, End::Whole));
        self.summary.already += u64::from(incoming.new == Tally::default());
        self.summary.tally.merge(&incoming.new);
        match ended {
            End::Whole => match incoming.cond.as_deref() {
                None | Some(SUCCEEDED) => {}
                Some(BEGIN) => self.incomplete(path, "it is an answer of DNSDB that broke off"),
                Some(_) => {
                    self.incomplete(path, "it is an answer of DNSDB that was limited, or failed on the way");
                }
            },
            End::CutShort => self.incomplete(path, "the archive ends too early"),
            End::Corrupt(why) => self.incomplete(path, &why),
        }
        Ok(ReadOutcome::Read)
    }

    /// Puts what was read into the batch.
    fn settle_cof(&mut self, incoming: &mut Incoming, complete: bool) {
        if !incoming.changed && incoming.known.complete == complete {
            return;
        }
        let progress = &mut incoming.progress;
        if incoming.prefix.offset() >= incoming.known.consumed.offset {
            progress.consumed = incoming.prefix.mark();
            progress.complete = complete;
            progress.read_at = self.context.clock.now();
            self.context.claims.advance(&mut self.batch, progress.clone());
        }
    }

    fn refuse_again(&mut self, path: &Path, sensor: &str) -> ReadOutcome {
        let why = format!(
            "another file was imported as sensor {sensor}, and what both hold would count twice; try: --replace, if this is \
             newer, or --sensor NAME, if it is another origin"
        );
        self.refuse(path, &why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::is_cof;
    use super::*;

    fn row(line: &str) -> Result<Row, Malformed> {
        parse(line.as_bytes()).map(|row| row.unwrap())
    }

    fn shown(line: &str) -> String {
        let Row { rrname, rrtype, rdata, halves, .. } = row(line).unwrap();
        let seen = halves.combined();
        format!("{rrname} {rrtype} {rdata:?} {} {}..{}", seen.count, seen.time_first, seen.time_last)
    }

    #[test]
    fn what_others_write_is_read() {
        for (line, expected) in [
            // CIRCL: a string, a final dot, a number for a type nobody knows.
            (
                r#"{"rrname":"WWW.Example.com.","rrtype":"A","rdata":"192.0.2.1","time_first":100,"time_last":200,"count":7}"#,
                "www.example.com A [Rdata(192.0.2.1)] 7 100..200",
            ),
            (
                r#"{"rrname":"a.test","rrtype":65280,"rdata":["\\# 1 00","x"],"time_first":"5","time_last":5.9}"#,
                r"a.test TYPE65280 [Rdata(\# 1 00), Rdata(x)] 1 5..5",
            ),
            (
                r#"{"rrname":"a.test","rrtype":"TYPE28","rdata":"2001:DB8::1","time_last":"2024-04-12T19:29:12Z"}"#,
                "a.test AAAA [Rdata(2001:db8::1)] 1 1712950152..1712950152",
            ),
            // DNSDB.
            (
                r#"{"count":3,"zone_time_first":1,"zone_time_last":9,"rrname":"test.","rrtype":"MX","bailiwick":"test.","rdata":["10 mx.test.","mx.test"]}"#,
                "test MX [Rdata(mx.test)] 3 1..9", // once, as in a log
            ),
            (
                r#"{"cond":"ongoing","obj":{"count":3,"time_first":1,"time_last":9,"rrname":"b.test.","rrtype":"A","rdata":["192.0.2.1"]}}"#,
                "b.test A [Rdata(192.0.2.1)] 3 1..9",
            ),
            (
                r#"{"rrname":"t","rrtype":"SOA","rdata":"ns.t. root.t. 1 2 3 4 5","time_first":1,"extra":{}}"#,
                "t SOA [Rdata(ns.t)] 1 1..1",
            ),
            (
                r#"{"rrname":"t","rrtype":"TXT","rdata":["say \"ü\"","\"a\\010\" \"b\""],"time_first":1}"#,
                r#"t TXT [Rdata("a\010" "b"), Rdata("say \"\195\188\"")] 1 1..1"#,
            ),
            (
                r#"{"rrname":"t","rrtype":"99","rdata":"\"é\"","time_first":1}"#,
                r#"t SPF [Rdata("\195\169")] 1 1..1"#,
            ),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_row_is_malformed_for_a_reason() {
        for (line, reason) in [
            ("", Malformed::Json),
            ("[1]", Malformed::Json),
            (r#"{"obj":{"rrname":"a","rrtype":"A"}}"#, Malformed::Json),
            (r#"{"obj":{"rrname":"a","rrtype":"A","rdata":"192.0.2.1"}}"#, Malformed::Time),
            (r#"{"rrname":"a","rrtype":"A"}"#, Malformed::Json),
            (r#"{"rrname":"a..b","rrtype":"A","rdata":"192.0.2.1","time_first":1}"#, Malformed::Value),
            (r#"{"rrname":"a","rrtype":"BOGUS","rdata":"x","time_first":1}"#, Malformed::Value),
            (r#"{"rrname":"a","rrtype":70000,"rdata":"x","time_first":1}"#, Malformed::Value),
            (r#"{"rrname":"a","rrtype":"A","rdata":"x","time_first":1}"#, Malformed::Value),
            (r#"{"rrname":"a","rrtype":"A","rdata":[],"time_first":1}"#, Malformed::Value),
            (r#"{"rrname":"a","rrtype":"A","rdata":[1],"time_first":1}"#, Malformed::Value),
            (r#"{"rrname":"a","rrtype":"A","rdata":"192.0.2.1"}"#, Malformed::Time),
            (r#"{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":-1}"#, Malformed::Time),
            (
                r#"{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":2,"time_last":1}"#,
                Malformed::Time,
            ),
            // Nothing is seen after the year 9999.
            (
                r#"{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":1,"time_last":253402300800}"#,
                Malformed::Time,
            ),
            (
                r#"{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":1,"time_last":18446744073709551615}"#,
                Malformed::Time,
            ),
            (r#"{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":1,"count":0}"#, Malformed::Value),
            ("{\"rrname\":\"a\0\"}", Malformed::Nul),
        ] {
            assert_eq!(row(line), Err(reason), "{line}");
        }
    }

    #[test]
    fn a_sensor_that_has_no_proper_name_is_none_of_this_ledger() {
        let sensor = |name: &str| {
            let name = serde_json::to_string(name).unwrap();
            let line = format!(
                r#"{{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":1,"sensor_id":{name}}}"#
            );
            row(&line).unwrap().sensor
        };
        assert_eq!(sensor("dmz").as_deref(), Some("dmz"));
        for hostile in ["", "\x1b[2J", "a\nb", "\u{202e}", &"s".repeat(100_000)] {
            assert_eq!(sensor(hostile), None);
        }
        assert_eq!(name_of(Path::new(&format!("{}.json", "s".repeat(200)))), None);
    }

    #[test]
    fn halves_are_kept_apart() {
        let line =
            |more: &str| format!(r#"{{"rrname":"a","rrtype":"A","rdata":"192.0.2.1","time_first":1{more}}}"#);
        let halves = |more: &str| row(&line(more)).unwrap().halves;
        assert!(halves("").alias.is_none() && halves(r#","direct":true,"alias":true"#).alias.is_none());
        assert!(halves(r#","direct":false,"alias":true"#).direct.is_none());
        let seen = |count| format!(r#"{{"count":{count},"time_first":86400,"time_last":259200,"ttl":5}}"#);
        let both = format!(r#","alias":true,"halves":{{"direct":{},"alias":{}}}"#, seen(2), seen(3));
        let Halves { direct, alias } = halves(&both);
        assert_eq!((direct.count, alias.count, alias.days, alias.ttl), (2, 3, 0b101, 5));
    }

    #[test]
    fn a_file_is_told_by_its_first_lines() {
        assert!(is_cof(b"{\"rrname\":\"a\",\"rrtype\":\"A\",\"rdata\":[]}\n{\"rrname"));
        assert!(is_cof(b"garbage\n\n{\"rrname\":\"a\",\"rrtype\":1,\"rdata\":\"x\"}"));
        assert!(!is_cof(b"{\"ts\":1.5,\"uid\":\"C\",\"query\":\"a\"}\n"));
        assert!(is_cof(b"{\"cond\":\"begin\"}\n{\"cond\":\"succeeded\"}\n"));
        assert!(is_cof(b"{\"obj\":{\"rrname\":\"a\",\"rrtype\":\"A\",\"rdata\":[]}}"));
        assert!(!is_cof(b"{\"cond\":\"open\"}"));
        assert!(!is_cof(b"#separator \\x09\n"));
        let named = |path: &str| name_of(Path::new(path));
        assert_eq!(named("/x/site-b.json.gz").as_deref(), Some("site-b"));
        assert_eq!(named("b.cof").as_deref(), Some("b"));
        assert_eq!((named("-"), named("standard input"), named(".json")), (None, None, None));
    }
}
