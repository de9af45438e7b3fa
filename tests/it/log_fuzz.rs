//! Logs that nobody would write: whatever lines a file holds, nothing panics, and each of them is accounted for.
//!
//! Lines of TSV and JSON logs are made up and spoilt, imported as a whole file, and counted by hand. `DNSLEDGER_FUZZ_SECONDS`
//! asks for the long form.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dnsledger::base::shutdown::Stop;
use dnsledger::ingest::{self, ImportSummary, import};
use dnsledger::observe;
use dnsledger::status::Status;
use dnsledger::store::{Scan, WriteStore, memory::MemoryStore};
use dnsledger::zeek::{Line, LogRecord, Options, Reader};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::env::setting;

/// Bytes of a line at most: some are longer.
const MAX_LINE: usize = 8 << 10;
/// Rows of a record at most: some hold more.
const MAX_TUPLES: usize = 20;

const HEADER: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n\
    #fields\tts\tuid\tid.orig_h\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\tanswers\tTTLs\n";

/// A value as it may stand in a column, or be spoilt.
fn value(usual: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => select(usual).prop_map(|text| text.as_bytes().to_vec()),
        2 => select(&["-", "(empty)", "", "\\x09", "\\", "\\x", "\\xg0", "\"", "\\u0000", "\u{202e}"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => select(&[
            "18446744073709551616", "-1", "1e400", "NaN", "inf", "65536", "0x10", "99999999999999999999999", "1.2.3",
        ][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0usize..400).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

/// Answers, few or very many, and those that are odd by type.
fn answers() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = value(&[
        "192.0.2.1",
        "2001:db8::1",
        "a.example",
        "b.example",
        "TXT 3 abc",
        "TXT 999999 abc TXT 1 x",
        "SPF 6 v=spf1",
        "<unknown type=65>",
        "RRSIG 5 example.com",
        "NSEC a b",
        "DNSKEY 8",
        "DS 8 2",
        "NAPTR x",
        "4.3.2.1.in-addr.arpa",
        "::ffff:192.0.2.1",
        "add: x",
    ]);
    prop_oneof![
        8 => prop::collection::vec(one, 0..6),
        1 => (0u32..1200).prop_map(|n| (0..n).map(|i| format!("10.0.{}.{}", i >> 8, i & 255).into_bytes()).collect()),
        1 => (0u32..300).prop_map(|n| (0..n).map(|i| format!("n{}", i % 120).into_bytes()).collect()),
    ]
}

/// Values of columns.
type Values = Vec<Vec<u8>>;

/// The values of a record, in the order of the columns, its answers, and their times to live.
fn record() -> impl Strategy<Value = (Values, Values, Values)> {
    let scalars = (
        value(&[
            "1700000000.123456",
            "1700003600.000001",
            "0.0",
            "1521911720.9999999",
            "2018-03-24T17:15:20.865716Z",
        ]),
        value(&["CAbc1", "CAbc2", "CAbc3"]),
        value(&["10.0.0.1", "2001:db8::2"]),
        value(&["192.0.2.53", "224.0.0.251", "ff02::fb"]),
        value(&["53", "5353", "137"]),
        value(&["www.example.com", "a.example", ".", "UPPER.Example", "_tcp.local", "a..b", "\\x00.example"]),
        value(&["1", "3", "32769"]),
        value(&["1", "28", "5", "12", "16", "15", "33", "65", "255", "252", "6"]),
        value(&["0", "2", "3", "5", "9"]),
    );
    let scalars = scalars.prop_map(|(a, b, c, d, e, f, g, h, i)| vec![a, b, c, d, e, f, g, h, i]);
    (scalars, answers(), prop::collection::vec(value(&["60.0", "300.000000", "4294967296.0"]), 0..4))
}

/// As many times to live as answers, as Zeek has it, unless they are to be odd.
fn ttls(given: Vec<Vec<u8>>, answers: usize) -> Vec<Vec<u8>> {
    match given.split_first() {
        Some((first, [])) => vec![first.clone(); answers],
        _ => given,
    }
}

fn tsv_line() -> impl Strategy<Value = Vec<u8>> {
    record().prop_map(|(mut columns, answers, given)| {
        let join = |values: Vec<Vec<u8>>| if values.is_empty() { b"-".to_vec() } else { values.join(&b',') };
        let ttls = ttls(given, answers.len());
        columns.push(join(answers));
        columns.push(join(ttls));
        columns.join(&b'\t')
    })
}

fn json_line() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: [&str; 9] =
        ["ts", "uid", "id.orig_h", "id.resp_h", "id.resp_p", "query", "qclass", "qtype", "rcode"];
    (record(), any::<u16>()).prop_map(|((columns, answers, given), quoted)| {
        let string = |bytes: &[u8]| {
            let mut text = b"\"".to_vec();
            text.extend(bytes.iter().flat_map(|byte| match byte {
                b'"' => b"\\\"".to_vec(),
                byte => vec![*byte],
            }));
            text.push(b'"');
            text
        };
        let mut fields: Vec<Vec<u8>> = Vec::new();
        for (at, (name, column)) in NAMES.iter().zip(&columns).enumerate() {
            // Numbers as numbers, mostly.
            let is_number = matches!(at, 0 | 4 | 6 | 7 | 8) && quoted >> at & 1 == 0;
            let value = if is_number { column.clone() } else { string(column) };
            fields.push([b"\"", name.as_bytes(), b"\":", &value].concat());
        }
        let ttls = ttls(given, answers.len());
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| string(answer)).collect();
        fields.push([&b"\"answers\":["[..], &answers.join(&b','), b"]"].concat());
        fields.push([&b"\"TTLs\":["[..], &ttls.join(&b','), b"]"].concat());
        [&b"{"[..], &fields.join(&b','), b"}"].concat()
    })
}

/// A line of any kind, whole or spoilt.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        8 => tsv_line(),
        8 => json_line(),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (any::<u8>(), MAX_LINE - 2..2 * MAX_LINE).prop_map(|(byte, length)| vec![byte; length]),
        1 => (0usize..300).prop_map(|depth| [vec![b'{'; 1], vec![b'['; depth]].concat()),
        1 => Just(b"{\"ts\":1,\"message\":\"1700000000.0\\tC1\"}".to_vec()),
    ];
    let spoil = prop_oneof![
        6 => Just(None),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Some((at, Some(byte)))),
        1 => any::<prop::sample::Index>().prop_map(|at| Some((at, None))),
    ];
    (whole, spoil, prop::bool::weighted(0.1)).prop_map(|(mut line, spoil, carriage_return)| {
        match spoil {
            Some((at, Some(byte))) if !line.is_empty() => {
                let at = at.index(line.len());
                line[at] = byte;
            }
            Some((at, None)) if !line.is_empty() => line.truncate(at.index(line.len())),
            _ => {}
        }
        if carriage_return {
            line.push(b'\r');
        }
        // One line, and no directive: what those do to a log is tried elsewhere.
        line.retain(|byte| *byte != b'\n');
        if line.iter().find(|byte| **byte != 0) == Some(&b'#') {
            line.insert(0, b'x');
        }
        line
    })
}

/// A log: whether it has a header, its lines, and whether the last of them is finished.
fn log() -> impl Strategy<Value = (bool, Vec<Vec<u8>>, bool)> {
    (prop::bool::weighted(0.8), prop::collection::vec(line(), 0..30), prop::bool::weighted(0.8))
}

/// Lines that must be accounted for, counted by hand: all but blank ones and what a log says of itself; and how many of them are
/// records, without any of which a file is no DNS log.
fn lines_to_count(has_header: bool, lines: &[Vec<u8>]) -> (u64, u64) {
    let mut reader = Reader::new(&Options::default());
    let mut record = LogRecord::default();
    if has_header {
        HEADER
            .lines()
            .for_each(|line| assert_eq!(reader.read(line.as_bytes(), &mut record), Line::Directive));
    }
    // NULs before the first other byte of a file are the hole of a copytruncate, and no part of a line.
    let (mut in_hole, mut all, mut records) = (!has_header, 0, 0);
    for line in lines {
        let hole = if in_hole { line.iter().take_while(|byte| **byte == 0).count() } else { 0 };
        let line = &line[hole..];
        in_hole &= line.is_empty() && hole > 0;
        match reader.read(line, &mut record) {
            _ if line.len() > MAX_LINE => all += 1,
            Line::Directive | Line::Close => {}
            read => {
                all += 1;
                // An object with a time and little else is read as a record of a log that has shown itself to be one of DNS.
                records += u64::from(read == Line::Record && reader.shows_dns(read, &record));
            }
        }
    }
    (all, records)
}

fn imported(ledger: &Arc<dyn WriteStore>, path: &Path) -> ImportSummary {
    let observe = observe::Options { max_tuples: MAX_TUPLES, ..observe::Options::default() };
    let config =
        ingest::Config { max_line_bytes: MAX_LINE, threads: 1, observe, ..ingest::Config::default() };
    let paths: [PathBuf; 1] = [path.to_owned()];
    import(ledger, &config, Some("s"), None, &paths, &|_| {}, &Stop::new()).unwrap()
}

/// Imports a log, twice, and looks whether each of its lines was counted, once.
fn check(path: &Path, (has_header, lines, is_finished): &(bool, Vec<Vec<u8>>, bool)) {
    let mut text = if *has_header { HEADER.as_bytes().to_vec() } else { Vec::new() };
    text.extend(lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()));
    let (mut expected, mut records) = lines_to_count(*has_header, lines);
    if !is_finished && !lines.is_empty() {
        // A last line without its end is dropped, and counted as that, where there is a log at all.
        text.pop();
        let (last, whole) = lines.split_last().unwrap();
        let before;
        (before, records) = lines_to_count(*has_header, whole);
        expected = if before == 0 { 0 } else { before + u64::from(!last.is_empty()) };
    }
    fs::write(path, &text).unwrap();
    let ledger: Arc<dyn WriteStore> = Arc::new(MemoryStore::default());
    let summary = imported(&ledger, path);
    let log = text.escape_ascii();
    let tally = &summary.tally;
    if tally.lines() == 0 && expected > 0 {
        // Nothing in it is a record: it is named as what is no log, or cannot be read as one.
        assert!(
            records == 0 && !(summary.no_log.is_empty() && summary.failed.is_empty()),
            "{summary:?} of\n{log}"
        );
    } else {
        assert_eq!(tally.lines(), expected, "{tally:?} of\n{log}");
    }
    let totals = Status::at_rest(&ledger.lineages().unwrap(), 0).totals;
    assert_eq!(totals, *tally, "{log}");
    // Each row can be told, and holds no more than there was.
    let all = ledger.now();
    let mut rows = 0;
    for entry in all.entries(&Scan::All, None).unwrap() {
        let entry = entry.unwrap();
        let tuple = format!("{} {} {}", entry.tuple.rrname, entry.tuple.rrtype, entry.tuple.rdata);
        assert!(tuple.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{tuple:?}");
        assert!(entry.halves.combined().count <= tally.counted, "{tuple}");
        rows += 1;
    }
    assert!(rows <= tally.counted * MAX_TUPLES as u64 && (rows > 0) == (tally.counted > 0), "{log}");
    assert_eq!(imported(&ledger, path).tally.lines(), 0, "it counts once\n{log}");
}

#[test]
fn each_line_of_any_log_is_counted_skipped_or_malformed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dns.log");
    let seconds = setting("DNSLEDGER_FUZZ_SECONDS", 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    let rounds = if seconds == 0 { 120 } else { u64::MAX };
    let mut runner = match seconds {
        0 => TestRunner::deterministic(),
        _ => TestRunner::new(Config::default()),
    };
    let strategy = log();
    for round in 0..rounds {
        if seconds > 0 && Instant::now() >= until {
            eprintln!("{round} logs");
            return;
        }
        check(&path, &strategy.new_tree(&mut runner).unwrap().current());
    }
}
