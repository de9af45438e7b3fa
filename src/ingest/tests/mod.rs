//! Logs in, entries out, on the store in memory.

mod bounds;
mod clocks;
mod deployments;
mod interpreter;

use std::fs;
use std::io::Write;

use super::intake::{Halt, Intake};
use super::*;
use crate::base::clock::now;
use crate::base::shutdown::Stop;
use crate::status::Status;
use crate::store::batch::Batch;
use crate::store::{self, Scan, WriteStore, memory::MemoryStore, sled::SledStore};
use generate::{Format, JsonTimes};

pub(super) const HEADER: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n\
    #open\t2024-04-12-19-29-12\n\
    #fields\tts\tuid\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\tqtype_name\trcode\tanswers\tTTLs\n\
    #types\ttime\tstring\taddr\tport\tstring\tcount\tcount\tstring\tcount\tvector[string]\tvector[interval]\n";
pub(super) const CLOSE: &str = "#close\t2024-04-12-19-34-07\n";

/// A record of its own, by number.
pub(super) fn record(n: u64) -> String {
    let (name, address) = (n % 7, n % 5);
    format!(
        "{}.000001\tC{n}\t10.0.0.1\t53\tn{name}.example.com\t1\t1\tA\t0\t192.0.2.{address}\t60.000000\n",
        1_700_000_000 + n * 3600
    )
}

pub(super) fn records(range: std::ops::Range<u64>) -> String {
    range.map(record).collect()
}

pub(super) fn log(range: std::ops::Range<u64>) -> String {
    format!("{HEADER}{}", records(range))
}

pub(super) fn ledger() -> Arc<dyn WriteStore> {
    Arc::new(MemoryStore::default())
}

pub(super) fn config() -> Config {
    Config { threads: 2, ..Config::default() }
}

pub(super) fn import_paths(ledger: &Arc<dyn WriteStore>, paths: &[&Path]) -> ImportSummary {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    import(ledger, &config(), Some("s"), None, &paths, &|_| {}, &Stop::new()).unwrap()
}

/// Everything the ledger would export, and how many lines it counted.
pub(super) fn contents(ledger: &dyn WriteStore) -> (Vec<String>, u64) {
    let now_there = ledger.now();
    let rows =
        now_there.entries(&Scan::All, None).unwrap().map(|entry| format!("{:?}", entry.unwrap())).collect();
    (rows, Status::at_rest(&ledger.lineages().unwrap(), now()).totals.counted)
}

/// What a clean ledger holds after these lines.
pub(super) fn expected(range: std::ops::Range<u64>) -> (Vec<String>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.log");
    fs::write(&path, log(range)).unwrap();
    let ledger = ledger();
    import_paths(&ledger, &[&path]);
    contents(&*ledger)
}

pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_log_counts_once_however_it_is_named_packed_or_copied() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text = log(0..500) + CLOSE;
    fs::create_dir_all(root.join("2024-04-12")).unwrap();
    fs::write(root.join("dns.log"), &text).unwrap();
    fs::write(root.join("2024-04-12/dns.19:00:00-20:00:00.log.gz"), gzip(text.as_bytes())).unwrap();
    fs::write(root.join("dns.2024.log.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    let ledger = ledger();
    let summary = import_paths(&ledger, &[root]);
    assert_eq!((summary.files, summary.tally.counted, summary.already), (3, 500, 2));
    assert_eq!(contents(&*ledger), expected(0..500));
    let again = import_paths(&ledger, &[root]);
    assert_eq!((again.files, again.tally.lines(), again.already), (3, 0, 3));
    assert_eq!(contents(&*ledger), expected(0..500));
}

#[test]
fn where_a_log_lies_is_where_it_was_met_last_and_between_which_times_its_records_are() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (first, moved) = (root.join("dns.log"), root.join("2024-04-12.dns.log"));
    let packed = root.join("2024-04-12.dns.log.gz");
    let text = log(0..500) + CLOSE;
    fs::write(&first, &text).unwrap();
    let ledger = ledger();
    for place in [&first, &moved, &packed, &first, &packed] {
        match place == &packed {
            true => fs::write(place, gzip(text.as_bytes())).unwrap(),
            false => fs::write(place, &text).unwrap(),
        }
        let before = contents(&*ledger);
        let summary = import_paths(&ledger, &[place]);
        let [progress] = &ledger.lineages().unwrap()[..] else { panic!() };
        assert_eq!(&progress.path, place);
        assert_eq!(progress.times(), (1_700_000_000, 1_700_000_000 + 499 * 3600));
        assert!(before.1 == 0 || (summary.already == 1 && contents(&*ledger) == before));
    }
    // A copy that lacks the end is not where the log is.
    let part = root.join("part.dns.log");
    fs::write(&part, log(0..100)).unwrap();
    import_paths(&ledger, &[&part]);
    assert_eq!(ledger.lineages().unwrap()[0].path, packed);
}

#[test]
fn a_log_that_grew_is_read_on_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("dns.log");
    let ledger = ledger();
    for end in [1, 2, 100, 100, 5000, 5001] {
        let text = log(0..end);
        // A line that is cut belongs to nobody yet.
        fs::write(&plain, format!("{text}17000")).unwrap();
        import_paths(&ledger, &[&plain]);
        assert_eq!(contents(&*ledger), expected(0..end));
    }
    let packed = folder.path().join("dns.log.gz");
    fs::write(&packed, gzip((log(0..5100) + CLOSE).as_bytes())).unwrap();
    assert_eq!(import_paths(&ledger, &[&packed]).tally.lines(), 99);
    assert_eq!(contents(&*ledger), expected(0..5100));
}

#[test]
fn an_archive_that_was_cut_is_finished_when_it_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dns.log.gz");
    let whole = gzip((log(0..3000) + CLOSE).as_bytes());
    let ledger = ledger();
    for length in [20, whole.len() / 3, whole.len() / 2, whole.len() / 4, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let summary = import_paths(&ledger, &[&path]);
        assert_eq!(summary.incomplete.len(), 1, "{length}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(import_paths(&ledger, &[&path]).incomplete.is_empty());
    assert_eq!(contents(&*ledger), expected(0..3000));
    let status = Status::at_rest(&ledger.lineages().unwrap(), now());
    assert_eq!(status.totals.malformed(Malformed::Unterminated), 0);
}

#[test]
fn two_logs_in_one_file_are_two_logs() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, both) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("both"));
    fs::write(&a, log(0..50) + CLOSE).unwrap();
    fs::write(&b, log(50..90)).unwrap();
    fs::write(&both, [fs::read(&a).unwrap(), HEADER.into(), fs::read(&b).unwrap()].concat()).unwrap();
    for order in [[&a, &b, &both], [&both, &a, &b], [&b, &both, &a]] {
        let ledger = ledger();
        for path in order {
            import_paths(&ledger, &[path]);
        }
        assert_eq!(contents(&*ledger), expected(0..90));
        assert_eq!(ledger.lineages().unwrap().len(), 2);
    }
}

#[test]
fn a_log_whose_known_part_changed_is_never_counted_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dns.log");
    let ledger = ledger();
    fs::write(&path, log(0..1000)).unwrap();
    import_paths(&ledger, &[&path]);
    // Another writer overwrote bytes in the middle, and the log went on.
    let changed = log(0..1200).replace("C500\t", "X500\t");
    fs::write(&path, &changed).unwrap();
    let summary = import_paths(&ledger, &[&path]);
    assert_eq!(summary.tally.counted, 200);
    assert_eq!(contents(&*ledger), expected(0..1200));
    assert_eq!(ledger.lineages().unwrap()[0].prefix_changed, 1);
    assert_eq!(import_paths(&ledger, &[&path]).tally.lines(), 0);
}

#[test]
fn a_hole_before_the_first_record_keeps_the_header_it_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dns.log");
    let context = Context::new(&ledger(), &config()).unwrap();
    let zeek = zeek::Options::default();
    let mut first = Intake::new(&context, &path, "s", &zeek, false, None).unwrap();
    let mut batch = Batch::default();
    first.feed(log(0..10).as_bytes(), &mut batch).unwrap();
    let header = first.header().unwrap();
    first.end(intake::Ending::Exhausted, &mut batch);
    context.claims.apply(&batch).unwrap();
    // Truncated in place by somebody else; Zeek goes on writing at its old place.
    let hole = [vec![0; 3000], records(10..20).into_bytes()].concat();
    let mut second = Intake::new(&context, &path, "s", &zeek, false, Some(&header)).unwrap();
    let mut batch = Batch::default();
    for piece in hole.chunks(700) {
        second.feed(piece, &mut batch).unwrap();
    }
    assert_eq!(second.end(intake::Ending::Exhausted, &mut batch).counted, 10);
    context.claims.apply(&batch).unwrap();
    assert_eq!(contents(&*context.store), expected(0..20));
    // A copy of that file, met later without the header: it is known, and goes on.
    let copy = [hole, records(20..30).into_bytes()].concat();
    fs::write(&path, copy).unwrap();
    assert_eq!(import_paths(&context.store, &[&path]).tally.counted, 10);
    assert_eq!(contents(&*context.store), expected(0..30));
}

#[test]
fn any_split_into_reads_gives_the_same() {
    let text = log(0..40) + CLOSE + &log(40..60);
    for size in [1, 2, 3, 7, 64, 1000] {
        let context = Context::new(&ledger(), &config()).unwrap();
        let mut intake =
            Intake::new(&context, Path::new("x"), "s", &zeek::Options::default(), false, None).unwrap();
        for piece in text.as_bytes().chunks(size) {
            // A batch for each piece: progress and rows always go together.
            let mut batch = Batch::default();
            intake.feed(piece, &mut batch).unwrap();
            context.claims.apply(&batch).unwrap();
        }
        let mut batch = Batch::default();
        intake.end(intake::Ending::Exhausted, &mut batch);
        context.claims.apply(&batch).unwrap();
        assert_eq!(contents(&*context.store), expected(0..60));
    }
}

#[test]
fn a_log_can_be_left_at_any_byte_and_taken_up_again() {
    let text = log(0..30) + CLOSE;
    let whole = expected(0..30);
    for cut in (0..text.len()).step_by(37) {
        let ledger = ledger();
        let context = Context::new(&ledger, &config()).unwrap();
        for part in [&text.as_bytes()[..cut], text.as_bytes()] {
            let mut intake =
                Intake::new(&context, Path::new("x"), "s", &zeek::Options::default(), false, None).unwrap();
            let mut batch = Batch::default();
            intake.feed(part, &mut batch).unwrap();
            drop(intake); // as a crash after the commit does
            context.claims.apply(&batch).unwrap();
        }
        assert_eq!(contents(&*ledger), whole, "{cut}");
    }
}

#[test]
fn one_reader_at_a_time_has_a_log() {
    let ledger = ledger();
    let context = Context::new(&ledger, &config()).unwrap();
    let new = || Intake::new(&context, Path::new("x"), "s", &zeek::Options::default(), false, None).unwrap();
    let (mut a, mut b) = (new(), new());
    let mut batch = Batch::default();
    a.feed(log(0..10).as_bytes(), &mut batch).unwrap();
    assert!(matches!(b.feed(log(0..10).as_bytes(), &mut Batch::default()), Err(Halt::Busy { live: false })));
    a.end(intake::Ending::Exhausted, &mut batch);
    assert!(matches!(
        new().feed(log(0..10).as_bytes(), &mut Batch::default()),
        Err(Halt::Busy { live: false })
    ));
    context.claims.apply(&batch).unwrap();
    let mut c = new();
    c.feed(log(0..12).as_bytes(), &mut batch).unwrap();
    assert_eq!(c.counted().counted, 2);
}

#[test]
fn lines_that_are_too_long_are_counted_and_take_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dns.log");
    let long = "x".repeat(3 << 20);
    fs::write(&path, format!("{}{long}\n{}{long}", log(0..10), records(10..20))).unwrap();
    let ledger = ledger();
    let summary = import_paths(&ledger, &[&path]);
    assert_eq!(summary.tally.counted, 20);
    assert_eq!(summary.tally.malformed(Malformed::TooLong), 1);
    assert_eq!(summary.tally.malformed(Malformed::Unterminated), 1);
    // The long line without an end may yet get one.
    fs::write(&path, format!("{}{long}\n{}{long}\n{}", log(0..10), records(10..20), records(20..21)))
        .unwrap();
    let summary = import_paths(&ledger, &[&path]);
    assert_eq!((summary.tally.counted, summary.tally.malformed(Malformed::TooLong)), (1, 1));
    let status = Status::at_rest(&ledger.lineages().unwrap(), now());
    assert_eq!((status.totals.lines(), status.totals.malformed(Malformed::Unterminated)), (23, 0));
}

#[test]
fn what_cannot_be_read_is_reported_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("dns.1.log"), log(0..10)).unwrap();
    fs::write(root.join("dns.2.log.xz"), b"\xfd7zXZ\x00rest").unwrap();
    fs::write(root.join("dns.3.log.gz"), b"\x1f\x8bnonsense that is not an archive").unwrap();
    fs::write(root.join("dns.4.log"), b"").unwrap();
    fs::write(root.join("dns.5.log"), HEADER).unwrap();
    fs::create_dir(root.join("dns.log")).unwrap();
    let ledger = ledger();
    let summary = import_paths(&ledger, &[root]);
    assert_eq!(summary.tally.counted, 10);
    assert_eq!((summary.passed_over.len(), summary.incomplete.len(), summary.failed.len()), (0, 1, 1));
    let missing = [root.join("missing")];
    let error = import(&ledger, &config(), Some("s"), None, &missing, &|_| {}, &Stop::new()).unwrap_err();
    assert!(matches!(error, IngestError::Path { .. }) && error.hint().is_some());
}

//--- order, threads and formats --------------------------------------------------------------------------------------

/// A store with small limits: a few hundred kilobytes of logs become many batches, segments and runs.
fn sled_store(folder: &Path) -> Arc<dyn WriteStore> {
    let options = store::Options {
        memory: 1 << 20,
        fold_rows: 300,
        bulk_rows: 500,
        fan_in: 2,
        ..store::Options::default()
    };
    Arc::new(SledStore::open(folder, &options).unwrap())
}

/// A folder of logs as Zeek leaves it after some hours: rotated ones as archives, and one that is not closed.
fn zeek_folder(seed: u64, format: Format) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let traffic = generate::Config {
        seed,
        lines: 1500,
        new_names: 0.5,
        growth: 1.0,
        rare: 0.05,
        ..generate::Config::default()
    };
    generate::write_tree(traffic.generate(), format, folder.path(), 3600).unwrap();
    let files = files_under(&[folder.path().to_owned()]).unwrap().paths();
    assert!(files.len() > 3);
    (folder, files)
}

/// All that a ledger holds and any output could show: entries, questions, and the lines by how they ended.
fn everything(ledger: Arc<dyn WriteStore>, paths: &[PathBuf], threads: usize) -> (Vec<String>, Tally) {
    let config = Config { threads, memory: 300 << 10, ..Config::default() };
    let summary = import(&ledger, &config, Some("s"), None, paths, &|_| {}, &Stop::new()).unwrap();
    assert!(summary.failed.is_empty() && summary.incomplete.is_empty() && summary.passed_over.is_empty());
    let all = ledger.now();
    let entries = all.entries(&Scan::All, None).unwrap().map(|entry| format!("{:?}", entry.unwrap()));
    let questions = all.questions(&Scan::All).unwrap().map(|question| format!("{:?}", question.unwrap()));
    (entries.chain(questions).collect(), summary.tally)
}

#[test]
fn neither_the_order_of_files_nor_threads_nor_the_store_matter() {
    let (_folder, files) = zeek_folder(11, Format::Tsv);
    let wanted = everything(Arc::new(MemoryStore::default()), &files, 1);
    assert!(wanted.0.len() > 1000 && wanted.1.lines() == 1500);
    let mut orders = vec![files.clone()];
    orders.push(files.iter().rev().cloned().collect());
    orders.push(files.iter().skip(2).chain(files.iter().take(2)).cloned().collect());
    let mut by_size = files.clone();
    by_size.sort_by_key(|file| fs::metadata(file).unwrap().len());
    orders.push(by_size);
    for (at, order) in orders.iter().enumerate() {
        for threads in [1, 2] {
            let store = Arc::new(MemoryStore::default());
            assert!(everything(store, order, threads) == wanted, "order {at}, {threads} threads");
            let folder = tempfile::tempdir().unwrap();
            assert!(
                everything(sled_store(folder.path()), order, threads) == wanted,
                "order {at}, {threads} threads"
            );
        }
    }
}

#[test]
fn a_log_in_tsv_and_in_json_says_the_same() {
    let (_folder, files) = zeek_folder(12, Format::Tsv);
    let wanted = everything(Arc::new(MemoryStore::default()), &files, 2);
    for times in [JsonTimes::Epoch, JsonTimes::Millis, JsonTimes::Iso8601] {
        for path in [false, true] {
            let (_folder, files) = zeek_folder(12, Format::Json { times, path });
            let folder = tempfile::tempdir().unwrap();
            assert!(everything(sled_store(folder.path()), &files, 2) == wanted, "{times:?}, {path}");
        }
    }
}

//--- what is no log --------------------------------------------------------------------------------------------------

fn conn_log() -> String {
    "#separator \\x09\n#path\tconn\n#fields\tts\tuid\n1.0\tC1\n1.5\tC2\n".to_owned()
}

#[test]
fn a_file_that_is_no_dns_log_is_named_with_what_it_is_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let ledger = ledger();
    let gz = gzip(conn_log().as_bytes());
    for (name, content, why) in [
        ("README.md", &b"# Notes\n\nread me\n"[..], "text"),
        ("passwd", b"root:x:0:0:root:/root:/bin/bash\n", "text"),
        ("x.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n", "not text"),
        ("dns.log", conn_log().as_bytes(), "conn"),
        ("dns.1.log.gz", &gz, "conn"),
        ("only-comments", b"# one\n# two\n", "not one whole line"),
        ("conn.json", b"{\"ts\":1.0,\"id.resp_p\":80,\"history\":\"S\"}\n", "JSON"),
    ] {
        let path = root.join(name);
        fs::write(&path, content).unwrap();
        let summary = import_paths(&ledger, &[&path]);
        assert_eq!(summary.no_log.len(), 1, "{name}: {summary:?}");
        assert!(summary.no_log[0].0 == path && summary.no_log[0].1.contains(why), "{:?}", summary.no_log);
        assert_eq!(summary.tally, Tally::default());
        // In a folder with a log in it, it is passed over.
        let summary = import_paths(&ledger, &[&path, root]);
        assert!(summary.no_log.iter().any(|(no_log, _)| *no_log == path));
    }
    assert!(ledger.lineages().unwrap().is_empty());
    fs::write(root.join("dns.2.log"), log(0..5)).unwrap();
    let summary = import_paths(&ledger, &[root]);
    assert_eq!((summary.tally.counted, summary.no_log.len(), summary.passed_over.len()), (5, 0, 2));
}

#[test]
fn a_path_without_any_log_says_what_was_looked_for_and_seen() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/conn.log"), conn_log()).unwrap();
    let said = |path: &Path| {
        let summary = import_paths(&ledger(), &[path]);
        let [(named, why)] = summary.no_log.as_slice() else { panic!("{summary:?}") };
        assert_eq!(named, path);
        why.clone()
    };
    let why = said(root);
    assert!(why.contains("3 folders") && why.contains("contain dns") && why.contains("conn.log"), "{why}");
    assert_eq!(said(&root.join("*.log")), "no DNS log: nothing matches this pattern");
    fs::write(root.join("dns-notes.txt"), "hello\n").unwrap();
    assert!(said(root).contains("not one of 1 files"));
}

#[test]
fn a_log_may_begin_with_anything_if_a_record_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any name");
    let ledger = ledger();
    let torn = "torn off by a crash\tin the middle\n".repeat(20_000);
    for (text, counted) in [
        (format!("{torn}{}", log(0..10)), 10),
        (format!("{}{}", conn_log(), log(10..20)), 10),
        (format!("{torn}{}", log(20..30)).replace("torn", "worn"), 10),
    ] {
        fs::write(&path, gzip(text.as_bytes())).unwrap();
        let summary = import_paths(&ledger, &[&path]);
        assert_eq!((summary.tally.counted, summary.no_log.len()), (counted, 0), "{summary:?}");
    }
    assert_eq!(contents(&*ledger), expected(0..30));
}

#[test]
fn names_of_other_tools_and_deep_folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (at, name) in [
        "dns.log-20240418",
        "dns_20240722_12:00:00-13:00:00+0000.log",
        "dns(SITE1,pcap,1780421280279628398).log",
        "2024/04/19/dns.10:00:00-11:00:00.log",
        "logs/zeek/SENSOR/2024-04-19/dns.log",
        "a [1]/dns.log",
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, log(at as u64 * 10..at as u64 * 10 + 10)).unwrap();
    }
    let ledger = ledger();
    assert_eq!(import_paths(&ledger, &[root]).files, 6);
    assert_eq!(contents(&*ledger), expected(0..60));
    assert_eq!(import_paths(&ledger, &[&root.join("a [1]")]).already, 1);
}

#[test]
fn what_is_packed_in_a_way_that_only_its_name_tells_is_not_said_to_be_no_log() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, is_named) in
        [("dns.1.log.br", &b"\x0b\x02\x80\x00\x01"[..], true), ("dns.2.log", b"\x0b\x02\x80\x00\x01", false)]
    {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (kind, why) = look_at(&path, &Default::default()).unwrap_err();
        assert_eq!(
            (kind == crate::status::UnreadKind::Undecodable, why.contains("by its name")),
            (is_named, is_named)
        );
        let summary = import_paths(&ledger(), &[&path]);
        assert_eq!(summary.no_log.len(), 1, "{summary:?}");
        assert_eq!(summary.no_log[0].1.contains("by its name"), is_named);
    }
}

#[test]
fn progress_counts_the_files_of_all_readers() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..60 {
        fs::write(folder.path().join(format!("dns.{n}.log")), log(n * 10..n * 10 + 10)).unwrap();
    }
    let (ledger, paths) = (ledger(), [folder.path().to_owned()]);
    let told = parking_lot::Mutex::new(Vec::new());
    let tell = |progress: &ImportProgress| {
        told.lock().push(progress.files_done);
        // So that the other reader has its turn.
        std::thread::yield_now();
    };
    import(&ledger, &config(), Some("s"), None, &paths, &tell, &Stop::new()).unwrap();
    let told = told.into_inner();
    // While no more than 30 are read, no more than 30 times it is told.
    assert!(told.iter().filter(|files| **files <= 30).count() <= 30, "{told:?}");
    assert_eq!(told.iter().max(), Some(&60));
}
