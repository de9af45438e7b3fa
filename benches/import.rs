//! What a whole import costs, beside the floor: only decompressing the log and splitting it into lines and columns.
//!
//! `cargo bench --bench import -- [--rounds N] [--threads N] [--memory MIB] [LOG]...` imports each log into a fresh ledger on disk, as
//! `dnsledger import` does but without filters, then with them (those for evidence), and takes turns with the floor. Without a log it makes two: one rich in new rows, as the first
//! day of a ledger is, and one whose records come again and again, as every later day is. Medians are quoted. Peak memory is
//! that of the whole process up to then, so that a figure for one log needs a run of its own.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and may panic")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dnsledger::base::shutdown::Stop;
use dnsledger::daemon::config::Config;
use dnsledger::evidence::{LogFilters, make_while_reading};
use dnsledger::ingest::{self, import};
use dnsledger::store::sled::SledStore;
use dnsledger::store::{MaxDisk, Options, WriteStore};
use dnsledger::tail::decode::Decoder;
use generate::{Format, write_log};

/// Bytes that the floor takes at a time, as an import does.
const CHUNK_BYTES: usize = 256 << 10;
/// Records of the log with many new rows.
const RICH_LINES: u64 = 1_000_000;
/// Records of the log that repeats itself, and how often it does.
const REPEATED: (u64, usize) = (50_000, 40);

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut rounds, mut told, mut threads, mut logs) = (3, Config::default(), None, Vec::new());
    while let Some(arg) = args.next() {
        let mut number = || args.next().unwrap().parse::<usize>().unwrap();
        match arg.as_str() {
            "--rounds" => rounds = number().max(1),
            "--threads" => threads = Some(number()),
            "--memory" => told.store.memory = (number() as u64) << 20,
            "--bench" => {} // cargo says so
            log => logs.push(PathBuf::from(log)),
        }
    }
    // As the command has them.
    let (mut config, options) = (told.ingest(), told.store().put_off_merges());
    config.threads = threads.unwrap_or(config.threads);
    let folder = tempfile::tempdir().unwrap();
    if logs.is_empty() {
        logs = made(folder.path());
    }
    println!(
        "{:>30}  {:>9}  {:>7}  {:>8}  {:>11}  {:>5}  {:>8}  {:>9}  {:>6}  {:>6}",
        "log", "lines", "floor s", "import s", "lines/s", "ratio", "peak MiB", "filters s", "speed", "B/line"
    );
    for log in &logs {
        let (mut floors, mut imports, mut filtered, mut lines, mut bytes) =
            (Vec::new(), Vec::new(), Vec::new(), 0, 0);
        for _ in 0..rounds {
            floors.push(timed(|| floor(log)).0);
            let data = tempfile::tempdir_in(folder.path()).unwrap();
            let (took, read) = timed(|| imported(log, data.path(), &config, &options, false));
            imports.push(took);
            lines = read;
            let data = tempfile::tempdir_in(folder.path()).unwrap();
            filtered.push(timed(|| imported(log, data.path(), &config, &options, true)).0);
            bytes = size_of_all(&data.path().join("evidence"));
        }
        let (floor, import, filtered) = (median(floors), median(imports), median(filtered));
        println!(
            "{:>30}  {lines:>9}  {floor:>7.2}  {import:>8.2}  {:>11.0}  {:>5.2}  {:>8.0}  {filtered:>9.2}  {:>6.3}  {:>6.2}",
            log.file_name().unwrap().display().to_string(),
            lines as f64 / import,
            import / floor,
            peak_mib(),
            import / filtered,
            bytes as f64 / lines as f64
        );
    }
}

/// Bytes of the files in a folder.
fn size_of_all(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let done = work();
    (began.elapsed().as_secs_f64(), done)
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    *seconds.get(seconds.len() / 2).unwrap()
}

/// The highest resident memory of this process so far.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Decompresses a log and finds its lines and columns; says how many columns there are, so that nothing is left out.
fn floor(log: &Path) -> usize {
    let mut decoder = Decoder::open(log).unwrap();
    let (mut buffer, mut columns) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let (filled, end) = decoder.fill(&mut buffer).unwrap();
        let mut rest = buffer.get(..filled).unwrap();
        while let Some(length) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(length + 1);
            columns += memchr::memchr_iter(b'\t', line).count() + 1;
            rest = after;
        }
        if end.is_some() {
            return columns;
        }
    }
}

/// Imports a log into a new ledger; says how many lines were read.
fn imported(log: &Path, data: &Path, config: &ingest::Config, options: &Options, with_filters: bool) -> u64 {
    let ledger: Arc<dyn WriteStore> = Arc::new(SledStore::open(data, options).unwrap());
    let paths = [log.to_owned()];
    let mut config = config.clone();
    if with_filters {
        let filters = Arc::new(LogFilters::of(data, &config.observe));
        config.listening = make_while_reading(&filters, &ledger, MaxDisk::Unbounded);
    }
    let summary = import(&ledger, &config, Some("bench"), None, &paths, &|_| {}, &Stop::new()).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    summary.tally.lines()
}

/// The logs that are measured when none is named.
fn made(folder: &Path) -> Vec<PathBuf> {
    let rich = folder.join("rich.log");
    let config = generate::Config { lines: RICH_LINES, ..generate::Config::rich(7) };
    write_log(config.generate(), Format::Tsv, true, BufWriter::new(File::create(&rich).unwrap())).unwrap();
    let (lines, times) = REPEATED;
    let config = generate::Config { lines, ..generate::Config::default() };
    let mut once = Vec::new();
    write_log(config.generate(), Format::Tsv, false, &mut once).unwrap();
    let is_record = |line: &&[u8]| !line.starts_with(b"#");
    let records: Vec<&[u8]> = once.split_inclusive(|&byte| byte == b'\n').filter(is_record).collect();
    let header: Vec<u8> = once
        .split_inclusive(|&byte| byte == b'\n')
        .take_while(|line| line.starts_with(b"#"))
        .flatten()
        .copied()
        .collect();
    let repeated = folder.join("repeated.log");
    let mut out = BufWriter::new(File::create(&repeated).unwrap());
    out.write_all(&header).unwrap();
    for _ in 0..times {
        records.iter().for_each(|record| out.write_all(record).unwrap());
    }
    out.flush().unwrap();
    vec![rich, repeated]
}
