//! Hostile input: whatever lies in a log folder is handled within bounds, and takes nothing along.
//!
//! Streams come from nowhere, so that their sizes cost neither memory nor disk.

use std::fs;
use std::io::{self, Read};
use std::process::Command;

use super::{HEADER, contents, expected, import_paths, ledger, log, records};
use crate::ingest::follow::Stepped;
use crate::ingest::intake::{Ending, Intake};
use crate::ingest::*;
use crate::store::batch::Batch;

const MIB: usize = 1 << 20;
const LIMIT: usize = 64 << 10;

/// So many bytes, the same again and again, from nowhere.
struct Repeat {
    byte: u8,
    left: u64,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..n].fill(self.byte);
        self.left -= n as u64;
        Ok(n)
    }
}

/// Compresses a stream, never holding it.
fn gzip_of(mut stream: impl Read) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::copy(&mut stream, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Bytes without any order (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn malformed(tally: &Tally) -> u64 {
    Malformed::ALL.iter().map(|&reason| tally.malformed(reason)).sum()
}

fn context() -> Arc<Context> {
    Context::new(&ledger(), &Config { max_line_bytes: LIMIT, ..Config::default() }).unwrap()
}

fn intake(context: &Arc<Context>) -> Intake {
    Intake::new(context, Path::new("dns.log"), "s", &zeek::Options::default(), false, None).unwrap()
}

/// Feeds a stream to an intake; whatever comes, it never holds more than a line.
fn feed(intake: &mut Intake, mut stream: impl Read, batch: &mut Batch) {
    let mut chunk = vec![0; 256 << 10];
    loop {
        let n = stream.read(&mut chunk).unwrap();
        if n == 0 {
            return;
        }
        intake.feed(&chunk[..n], batch).unwrap();
        assert!(intake.held() <= LIMIT, "{} bytes are held", intake.held());
    }
}

fn import_stream(stream: impl Read + Send + 'static) -> ImportSummary {
    let context = context();
    let apply = |batch: Batch| Ok(context.claims.apply(&batch)?);
    let mut worker = worker::Worker::new(&context, MIB, &apply);
    worker
        .read_stream(Box::new(stream), Path::new("a stream"), Some("s"), &zeek::Options::default())
        .unwrap();
    worker.flush().unwrap();
    worker.summary.clone()
}

#[test]
fn answers_that_are_cut_are_told_and_the_line_is_counted() {
    let answers =
        |n: u32| (0..n).map(|i| format!("10.0.{}.{}", i >> 8, i & 255)).collect::<Vec<_>>().join(",");
    let line =
        |answers: String| format!("1700000000.0\tC1\t10.0.0.1\t53\tbig.example\t1\t1\tA\t0\t{answers}\t-\n");
    let text = [log(0..10), line(answers(4000)), line(answers(1000)), records(10..20)].concat();
    let summary = import_stream(io::Cursor::new(text));
    assert_eq!((summary.tally.counted, summary.tally.lines()), (22, 22));
    assert_eq!(summary.tally.answers_cut, 3000);
}

#[test]
fn a_line_without_an_end_is_never_held() {
    let context = context();
    // As the first thing in a log: it is none, for there is no record.
    let (mut reading, mut batch) = (intake(&context), Batch::default());
    feed(&mut reading, Repeat { byte: b'x', left: 100 * MIB as u64 }, &mut batch);
    assert_eq!(reading.end(Ending::Exhausted, &mut batch), Tally::default());
    assert!(batch.is_empty());
    // Between records: one line that is too long.
    let mut reading = intake(&context);
    feed(&mut reading, log(0..10).as_bytes(), &mut batch);
    feed(&mut reading, Repeat { byte: b'x', left: 100 * MIB as u64 }, &mut batch);
    feed(&mut reading, &b"\n"[..], &mut batch);
    feed(&mut reading, records(10..20).as_bytes(), &mut batch);
    let tally = reading.end(Ending::Exhausted, &mut batch);
    assert_eq!((tally.counted, tally.malformed(Malformed::TooLong), tally.lines()), (20, 1, 21));
    context.claims.apply(&batch).unwrap();
    assert_eq!(contents(&*context.store), expected(0..20));
}

#[test]
fn an_archive_that_inflates_to_nothing_but_zeros_is_reported_and_holds_no_memory() {
    let bomb = gzip_of(Repeat { byte: 0, left: 64 * MIB as u64 });
    assert!(bomb.len() < MIB / 8);
    let summary = import_stream(io::Cursor::new(bomb));
    assert_eq!((summary.files, &summary.tally), (1, &Tally::default()));
    assert_eq!(summary.no_log.len(), 1, "{summary:?}");

    // Behind a record: a line that is too long, and does not end.
    let (context, mut batch) = (context(), Batch::default());
    let mut reading = intake(&context);
    feed(&mut reading, log(0..3).as_bytes(), &mut batch);
    feed(&mut reading, Repeat { byte: 0, left: 64 * MIB as u64 }, &mut batch);
    let tally = reading.end(Ending::Exhausted, &mut batch);
    assert_eq!((tally.counted, tally.malformed(Malformed::Unterminated)), (3, 1));
}

#[test]
fn noise_is_malformed_line_by_line() {
    let noise = noise(MIB);
    // Alone it is no log; behind the header of one it is.
    let alone = import_stream(io::Cursor::new(noise.clone()));
    assert_eq!((alone.tally, alone.no_log.len()), (Tally::default(), 1));
    let summary = import_stream(io::Cursor::new([HEADER.as_bytes(), &noise].concat()));
    // A directive counts as no line, unless it is not even text; a last line without an end is unterminated.
    let is_counted = |line: &&[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = &line[line.iter().take_while(|&&b| b == 0).count()..];
        !line.is_empty() && (line[0] != b'#' || line.contains(&0))
    };
    let lines = noise.split(|&b| b == b'\n').filter(is_counted).count() as u64;
    assert_eq!((summary.tally.counted, summary.tally.lines()), (0, lines));
    assert_eq!(malformed(&summary.tally), lines);
    // As an archive that is damaged.
    let damaged = [b"\x1f\x8b\x08\x00", noise.as_slice()].concat();
    assert_eq!(import_stream(io::Cursor::new(damaged)).incomplete.len(), 1);
}

/// A log folder in which hardly anything is what its name says, and twenty records.
fn hostile_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).unwrap();
    fs::create_dir(root.join("dns.log")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("dns.fifo.log")).status().unwrap().success());
    std::os::unix::fs::symlink("dns.loop.log", root.join("dns.loop.log")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("dns.device.log")).unwrap();
    write("dns.noise.log", &noise(64 << 10));
    write("dns.noise.log.gz", &[b"\x1f\x8b\x08\x00", noise(4096).as_slice()].concat());
    write("dns.bomb.log.gz", &gzip_of(Repeat { byte: 0, left: 8 * MIB as u64 }));
    write("dns.endless.log", &vec![b'x'; 3 * MIB]);
    write("dns.1.log", log(0..10).as_bytes());
    write("dns.2.log.gz", &gzip_of(log(10..20).as_bytes()));
    folder
}

#[test]
fn a_folder_of_anything_but_logs_is_imported_around() {
    let folder = hostile_folder();
    let ledger = ledger();
    let summary = import_paths(&ledger, &[folder.path()]);
    assert_eq!(contents(&*ledger), expected(0..20));
    let names = |of: &[(PathBuf, String)]| {
        let mut names: Vec<String> =
            of.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&summary.passed_over),
        ["dns.bomb.log.gz", "dns.device.log", "dns.endless.log", "dns.fifo.log", "dns.noise.log"]
    );
    assert_eq!(names(&summary.incomplete), ["dns.noise.log.gz"]);
    assert_eq!(names(&summary.failed), ["dns.loop.log"]);
    assert_eq!(summary.tally.lines(), summary.tally.counted + malformed(&summary.tally));
}

#[test]
fn no_rights_are_advised_for_what_a_link_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let (log, link) = (folder.path().join("dns.log"), folder.path().join("dns.1.log"));
    fs::write(&log, "x").unwrap();
    std::os::unix::fs::symlink("/etc/shadow", &link).unwrap();
    let denied = io::Error::from_raw_os_error(13);
    assert!(why_unreadable(&log, &denied).contains("give the user"));
    assert_eq!(
        why_unreadable(&link, &denied),
        "Permission denied (os error 13); it is a link to /etc/shadow"
    );
}

#[test]
fn a_pipe_that_is_named_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, good) = (folder.path().join("dns.log"), folder.path().join("dns.1.log"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::write(&good, log(0..5)).unwrap();
    let ledger = ledger();
    let summary = import_paths(&ledger, &[&pipe, &good]);
    assert_eq!((summary.tally.counted, summary.failed.len()), (5, 1));
}

#[test]
fn a_folder_of_anything_but_logs_is_followed_around() {
    let folder = hostile_folder();
    let ledger = ledger();
    let source = SourceConfig { logs: folder.path().to_owned(), ..SourceConfig::default() };
    let config = Config {
        sources: vec![source],
        grace: Duration::ZERO,
        settling: Duration::ZERO,
        threads: 1,
        max_line_bytes: LIMIT,
        ..Config::default()
    };
    let mut daemon = Stepped::start(config, &ledger);
    daemon.settle();
    let (rows, _) = contents(&*ledger);
    let (wanted, _) = expected(0..20);
    assert_eq!(rows.len(), wanted.len());
    assert_eq!(daemon.status().totals.counted, 20);
}
