//! A wall clock that is wrong: ahead, behind, never set, or set while the daemon runs. Nothing is lost by it, nothing is
//! said of it that is not so, and what it did is undone when it is right again.
//!
//! Stepped by hand, with a clock that is set by hand.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::SystemTime;

use super::{CLOSE, HEADER, contents, gzip};
use crate::base::clock::Hand;
use crate::ingest::follow::Stepped;
use crate::ingest::*;
use crate::status::Status;
use crate::store::memory::MemoryStore;
use crate::store::{ReadStore, WriteStore};
use crate::tally::Skip;

/// What the clock shows when it is right: some day in 2026.
const NOW: u64 = 1_795_000_000;
const YEAR: u64 = 365 * DAY;

struct Host {
    root: tempfile::TempDir,
    store: Arc<MemoryStore>,
    daemon: Option<Stepped>,
    hand: Option<Hand>,
    backfill: Backfill,
    /// What the clock shows at the next start.
    starts_at: u64,
    written: u64,
}

impl Host {
    fn new() -> Host {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("logs")).unwrap();
        Host {
            root,
            store: Arc::default(),
            daemon: None,
            hand: None,
            backfill: Backfill::All,
            starts_at: NOW,
            written: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("logs").join(name)
    }

    /// A record that nobody wrote before, at a time.
    fn record(&mut self, time: u64) -> String {
        self.written += 1;
        let n = self.written;
        format!("{time}.000001\tC{n}\t10.0.0.1\t53\tn{n}.example.com\t1\t1\tA\t0\t192.0.2.1\t60.000000\n")
    }

    /// Appends a record to the live log.
    fn write(&mut self, time: u64) {
        let record = self.record(time);
        let path = self.path("dns.log");
        let header = if path.exists() { "" } else { HEADER };
        let mut log = OpenOptions::new().append(true).create(true).open(path).unwrap();
        log.write_all((header.to_owned() + &record).as_bytes()).unwrap();
    }

    /// Puts an archive that was changed at a time, by the file system's clock.
    fn archive(&mut self, name: &str, time: u64, modified: u64) {
        let text = HEADER.to_owned() + &self.record(time) + CLOSE;
        fs::write(self.path(name), gzip(text.as_bytes())).unwrap();
        self.touch(name, modified);
    }

    fn touch(&self, name: &str, modified: u64) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified)).unwrap();
    }

    fn daemon(&mut self) -> &mut Stepped {
        if self.daemon.is_none() {
            let (clock, hand) = Hand::at(self.starts_at);
            let source = SourceConfig {
                logs: self.root.path().join("logs"),
                backfill: self.backfill,
                ..SourceConfig::default()
            };
            let config = Config {
                sources: vec![source],
                grace: Duration::ZERO,
                settling: Duration::ZERO,
                threads: 1,
                clock,
                ..Config::default()
            };
            self.store.crash();
            let store = Arc::clone(&self.store) as Arc<dyn WriteStore>;
            self.daemon = Some(Stepped::start(config, &store));
            self.hand = Some(hand);
        }
        self.daemon.as_mut().unwrap()
    }

    /// Sets the clock, also that of later starts.
    fn set(&mut self, time: u64) {
        self.starts_at = time;
        if let Some(hand) = &self.hand {
            hand.set(time);
        }
    }

    fn restart(&mut self) {
        self.daemon = None;
        self.hand = None;
    }

    /// Lets everything be read.
    fn settle(&mut self) -> Status {
        self.daemon().settle();
        self.daemon().status()
    }

    /// The names in the ledger.
    fn rows(&self) -> usize {
        contents(&*self.store).0.len()
    }
}

#[test]
fn records_of_the_future_and_of_1970_are_skipped_and_drive_nothing() {
    let mut host = Host::new();
    for time in [NOW - 2 * DAY, NOW - DAY, 4_039_374_839, 0, 946_684_799, NOW + DAY + 1] {
        host.write(time);
    }
    let status = host.settle();
    assert_eq!((status.totals.counted, status.totals.skipped(Skip::TimeRange)), (2, 4));
    assert_eq!((status.newest, host.rows()), (Some(NOW - DAY), 2));
    // A sensor whose clock is ahead by less is believed, and its records are as new as now.
    host.write(NOW + DAY / 2);
    let status = host.settle();
    assert_eq!((status.totals.counted, status.newest), (3, Some(NOW)));
    assert_eq!(status.sources[0].files[0].newest, Some(NOW));
}

#[test]
fn what_an_earlier_version_noted_as_newest_does_not_stay() {
    let mut host = Host::new();
    host.write(NOW - DAY);
    host.settle();
    let mut progress = host.store.lineages().unwrap().remove(0);
    progress.newest = 4_039_374_839;
    let mut batch = crate::store::batch::Batch::default();
    batch.advance(progress);
    host.store.apply(&batch).unwrap();
    host.restart();
    assert_eq!(host.daemon().status().newest, None);
    host.write(NOW - 10);
    assert_eq!(host.settle().newest, Some(NOW - 10));
}

#[test]
fn a_clock_that_steps_loses_nothing_and_what_is_said_is_never_of_the_future() {
    for (step, restarts) in [
        (NOW - 10 * DAY, false),
        (NOW - 25 * YEAR, false),
        (NOW + 400 * DAY, false),
        (NOW - 10 * DAY, true),
        (NOW - 25 * YEAR, true),
        (NOW + 400 * DAY, true),
    ] {
        let mut host = Host::new();
        let mut shows = NOW;
        for (turn, shown) in [NOW, step, step, NOW, NOW].into_iter().enumerate() {
            if restarts && turn > 0 {
                host.restart();
            }
            host.set(shown);
            shows = shown;
            // Zeek has a clock of its own, which is right.
            host.write(NOW + turn as u64);
            host.archive(&format!("dns.{turn}.log.gz"), NOW - turn as u64 * DAY, NOW);
            let status = host.settle();
            assert_eq!(status.totals.lines(), status.totals.counted, "{step} {turn}: {:?}", status.totals);
            assert_eq!(status.totals.counted, 2 * (turn as u64 + 1));
            assert!(status.caught_up && status.as_of_ms.is_some_and(|as_of| as_of <= shown * 1000));
            assert!(status.newest.is_none_or(|newest| newest <= shown.max(NOW)), "{:?}", status.newest);
        }
        assert_eq!(shows, NOW);
        let status = host.settle();
        assert!(status.newest.is_some_and(|newest| newest.abs_diff(NOW) <= 5), "{step}: {:?}", status.newest);
    }
}

#[test]
fn as_of_is_unknown_where_the_clock_was_set_back_and_not_everything_is_read() {
    let mut host = Host::new();
    host.write(NOW);
    assert_eq!(host.settle().as_of_ms, Some(NOW * 1000));
    host.set(NOW + 400 * DAY);
    assert_eq!(host.settle().as_of_ms, Some((NOW + 400 * DAY) * 1000));
    host.set(NOW);
    let whole = gzip((HEADER.to_owned() + &host.record(NOW) + CLOSE).as_bytes());
    fs::write(host.path("dns.1.log.gz"), &whole[..whole.len() / 2]).unwrap();
    let status = host.settle();
    assert_eq!((status.caught_up, status.as_of_ms), (false, None));
    host.restart();
    assert_eq!(host.daemon().status().as_of_ms, None, "nothing is true of an instant that is to come");
    fs::write(host.path("dns.1.log.gz"), &whole).unwrap();
    assert_eq!(host.settle().as_of_ms, Some(NOW * 1000));
    // It is kept again for the next start.
    host.restart();
    assert_eq!(host.daemon().status().as_of_ms, Some(NOW * 1000));
}

#[test]
fn a_clock_that_is_never_set_refuses_no_record_of_today() {
    for clock in [0, 7, 946_684_800 + 5, 1_600_000_000] {
        let mut host = Host::new();
        host.set(clock);
        host.write(NOW);
        host.write(4_039_374_839);
        host.archive("dns.1.log.gz", NOW - DAY, NOW);
        let status = host.settle();
        assert_eq!((status.totals.counted, status.totals.skipped(Skip::TimeRange)), (2, 1));
        host.set(NOW + 60);
        host.write(NOW + 60);
        let status = host.settle();
        assert_eq!((status.totals.counted, status.newest), (3, Some(NOW + 60)));
    }
}

#[test]
fn a_first_start_with_a_clock_that_is_ahead_hides_no_archive_that_comes_later() {
    for (backfill, corrected_while_it_runs) in [
        (Backfill::Age(Duration::from_secs(30 * DAY)), false),
        (Backfill::Age(Duration::from_secs(30 * DAY)), true),
        (Backfill::None, false),
        (Backfill::None, true),
    ] {
        for is_empty_at_first in [false, true] {
            let mut host = Host::new();
            host.backfill = backfill;
            host.set(NOW + 3 * YEAR);
            if !is_empty_at_first {
                host.archive("dns.old.log.gz", NOW - 400 * DAY, NOW - 390 * DAY);
                host.write(NOW - 5);
                host.touch("dns.log", NOW - 5);
            }
            host.settle();
            if !corrected_while_it_runs {
                host.restart();
            }
            host.set(NOW);
            host.settle();
            host.archive("dns.1.log.gz", NOW + 1, NOW + 2);
            host.set(NOW + 10);
            host.write(NOW + 9);
            host.settle();
            let wanted = if is_empty_at_first { 2 } else { 3 };
            assert_eq!(host.rows(), wanted, "{backfill:?}, {corrected_while_it_runs}, {is_empty_at_first}");
        }
    }
}

#[test]
fn a_cut_that_an_earlier_version_made_by_a_clock_that_was_ahead_is_lowered() {
    let mut host = Host::new();
    host.backfill = Backfill::Age(Duration::from_secs(30 * DAY));
    let logs = host.root.path().join("logs").into_os_string().into_encoded_bytes();
    let key = [b"cut\0".as_slice(), &logs, b"\0"].concat();
    let cut = i128::from(NOW + 3 * YEAR - 30 * DAY) * 1_000_000_000;
    host.store.cache(&[(key, cut.to_be_bytes().to_vec())], &[]).unwrap();
    host.archive("dns.1.log.gz", NOW - 20 * DAY, NOW - 20 * DAY);
    host.archive("dns.2.log.gz", NOW - 40 * DAY, NOW - 40 * DAY);
    host.settle();
    assert_eq!(host.rows(), 1);
}
