//! What the ledger costs: tuples a second, memory, disk, the time to reopen, and lookups.
//!
//! `cargo bench --bench store -- [--tuples N] [--batch ROWS] [--steady BATCHES] [--rows ROWS] [--every BATCHES]
//! [--memory MIB] [--live SECONDS] [--rate LINES] [--dir DIR]` makes a ledger of synthetic tuples, all new, through the same pipeline as an import (one
//! thread folds observations into batches, another applies them), then adds batches of 50,000 rows (or ROWS) of which 80 %
//! are known, and asks for names, addresses, blocks and suffixes in between; at the end also with nothing of the ledger in
//! memory. For SECONDS before that it stages LINES a second (5,000) as one who follows does, every 5 ms, commits each second, and asks
//! all the time. `--every` says how it stands after each so many batches. Figures are of one process: peak memory includes the
//! batches. Run it twice and compare ratios.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and may panic")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use dnsledger::dns::{Name, RrType, push_name_key, push_name_rdata_key, push_text_key};
use dnsledger::observation::{Half, Observations, Outcome, SensorId};
use dnsledger::store::batch::Batch;
use dnsledger::store::sled::SledStore;
use dnsledger::store::{Options, ReadStore, Scan, WriteStore};
use rustix::fs::{Advice, fadvise};

//--- synthetic tuples -----------------------------------------------------------------------------------------------

/// A mixing function (SplitMix64): the same number always gives the same tuple.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const HOSTS: [&str; 12] =
    ["www", "mail", "api", "cdn", "static", "img", "app", "login", "vpn", "ns1", "m", "shop"];
const WORDS: [&str; 16] = [
    "blue", "stone", "river", "cloud", "data", "north", "media", "smart", "green", "home", "tech", "play",
    "swift", "lake", "fox", "prime",
];
const SUFFIXES: [&str; 8] = ["com", "net", "org", "de", "co.uk", "io", "com.br", "info"];

fn pick<'a>(words: &[&'a str], seed: u64) -> &'a str {
    words.get(usize::try_from(seed).unwrap() % words.len()).unwrap()
}

/// The owner name of tuple `i`, in log form: three tuples share one, and about ten a domain.
fn rrname(i: u64) -> String {
    let owner = i / 3;
    let (domain, host) = (mix(owner / 3), mix(owner));
    format!(
        "{}{}.{}{}{}.{}",
        pick(&HOSTS, host),
        host >> 8 & 0x3ff,
        pick(&WORDS, domain),
        pick(&WORDS, domain >> 8),
        domain >> 16 & 0xffff,
        pick(&SUFFIXES, domain >> 40)
    )
}

/// The IPv4 address of tuple `i`: about three tuples share one.
fn address(i: u64, tuples: u64) -> [u8; 4] {
    let address = mix(mix(i ^ 0xa5a5) % (tuples / 3 + 1)) as u32;
    address.to_be_bytes()
}

/// What one log record says that brings tuple `i`.
fn observe(i: u64, time: u64, tuples: u64, observations: &mut Observations) {
    let (mut owner, mut rdata) = (Vec::new(), Vec::new());
    push_name_key(rrname(i).as_bytes(), &mut owner).unwrap();
    let ttl = 60 << (mix(i) % 4 * 2);
    let rrtype = match mix(i ^ 77) % 20 {
        0..14 => {
            rdata.push(4);
            rdata.extend_from_slice(&address(i, tuples));
            RrType::A
        }
        14..17 => {
            rdata.push(6);
            rdata.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0]);
            rdata.extend_from_slice(&mix(i).to_be_bytes());
            RrType::AAAA
        }
        17..19 => {
            push_name_rdata_key(rrname(mix(i) % tuples).as_bytes(), &mut rdata).unwrap();
            RrType::CNAME
        }
        _ => {
            push_text_key(format!("\"v=spf1 include:_spf{} -all\"", mix(i) % 1000).as_bytes(), &mut rdata);
            RrType::TXT
        }
    };
    observations.reset(time);
    observations.push(&owner, rrtype, &rdata, Half::Direct, ttl);
    observations.ask(&owner, rrtype, Outcome::Answered);
}

/// Bytes of a tuple's rows by name and by record data; a value has about 12.
fn raw(tuples: u64) -> f64 {
    let mut observations = Observations::new(SensorId(0));
    let sample = 10_000.min(tuples);
    let bytes: usize = (0..sample)
        .map(|i| {
            observe(i, 0, tuples, &mut observations);
            observations.iter().map(|o| 2 * (o.row_key.len() + 12)).sum::<usize>()
        })
        .sum();
    bytes as f64 / sample as f64
}

/// When tuple `i` was first seen: a month of log, in order but for a few seconds.
fn time_of(i: u64, tuples: u64) -> u64 {
    1_790_000_000 + i * 2_592_000 / tuples + mix(i) % 60
}

//--- measuring ------------------------------------------------------------------------------------------------------

fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// MiB that this process has had from the disk (`read_bytes`) or given to it (`write_bytes`).
fn transferred(field: &str) -> f64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0 / 1024.0
}

fn disk(path: &Path) -> u64 {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                disk(&entry.path())
            } else {
                std::os::unix::fs::MetadataExt::blocks(&meta) * 512
            }
        })
        .sum()
}

/// Lets the system forget what it has read of the files in a folder.
fn evict(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            evict(&path);
        } else {
            let file = File::open(path).unwrap();
            // What is not on disk yet cannot be forgotten.
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }
}

/// How often one who follows shows what has come, and commits it.
const STAGED_EVERY: Duration = Duration::from_millis(5);
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What is asked for: one name, one address, its block of 65,536, all below a domain.
const KINDS: [&str; 4] = ["name", "address", "/16", "suffix"];

struct Bench {
    tuples: u64,
    batch: u64,
    store: SledStore,
    sensor: SensorId,
    dir: PathBuf,
    /// After how many commits it says how it stands; 0 is never.
    every: u64,
}

fn report(what: &str, tuples: u64, took: Duration) {
    println!(
        "{what:<28} {:>9.0} tuples/s  ({:.2} s)  rss {:.0} MiB  peak {:.0} MiB",
        tuples as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        memory("VmRSS"),
        memory("VmHWM")
    );
}

impl Bench {
    /// Folds tuples into batches on one thread and applies them on another.
    fn feed(
        &self,
        batch_rows: u64,
        tuples: impl Iterator<Item = (u64, u64)> + Send,
        commits: &mut Vec<Duration>,
    ) {
        let (send, receive) = sync_channel::<Batch>(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut observations = Observations::new(self.sensor);
                let mut batch = Batch::default();
                for (i, time) in tuples {
                    observe(i, time, self.tuples, &mut observations);
                    batch.add(&observations);
                    if batch.tuples().len() as u64 >= batch_rows {
                        send.send(std::mem::take(&mut batch)).unwrap();
                    }
                }
                send.send(batch).unwrap();
            });
            for batch in receive {
                let start = Instant::now();
                self.store.apply(&batch).unwrap();
                commits.push(start.elapsed());
                if self.every > 0 && (commits.len() as u64).is_multiple_of(self.every) {
                    let stats = self.store.stats().unwrap();
                    println!(
                        "  {:>6} commits: {} runs, live {:.0}, file {:.0}, rss {:.0} MiB",
                        commits.len(),
                        stats.runs,
                        stats.live_bytes as f64 / 1048576.0,
                        stats.disk_bytes as f64 / 1048576.0,
                        memory("VmRSS")
                    );
                }
            }
        });
    }

    /// Stages so many lines a second, four of five of rows that are there, and commits each second, as one who follows
    /// does; asks all the time.
    fn live(&self, rate: u64, seconds: u64) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let lookups = scope.spawn(|| self.lookups("while lines come", u64::MAX, &done));
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::thread::park_timeout(COMMIT_EVERY);
                    self.store.commit().unwrap();
                }
            });
            let (begin, mut staged) = (Instant::now(), 0);
            let mut observations = Observations::new(self.sensor);
            while begin.elapsed().as_secs() < seconds {
                let due = begin.elapsed().as_millis() as u64 * rate / 1000;
                let mut batch = Batch::default();
                for n in staged..due {
                    let i = if n % 5 == 0 { self.tuples * 2 + n } else { mix(n) % self.tuples };
                    observe(i, time_of(self.tuples, self.tuples) + n / rate, self.tuples, &mut observations);
                    batch.add(&observations);
                }
                self.store.stage(&batch).unwrap();
                staged = due;
                std::thread::park_timeout(STAGED_EVERY);
            }
            done.store(true, Ordering::Relaxed);
            lookups.join().unwrap();
        });
        self.store.commit().unwrap();
    }

    fn disk_line(&self, what: &str) {
        let stats = self.store.stats().unwrap();
        println!(
            "{what:<28} {:>9.1} B/tuple on disk  ({:.0} MiB, live {:.0}, written so far {:.0}; {} runs, {} pending)",
            disk(&self.dir) as f64 / self.tuples as f64,
            disk(&self.dir) as f64 / 1024.0 / 1024.0,
            stats.live_bytes as f64 / 1024.0 / 1024.0,
            transferred("write_bytes"),
            stats.runs,
            stats.pending_rows
        );
    }

    /// Asks for names and addresses in turn until told to stop, or so many times.
    fn lookups(&self, what: &str, times: u64, stop: &AtomicBool) {
        let mut took = [const { Vec::new() }; KINDS.len()];
        let mut found = 0;
        for n in 0..times {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let i = mix(n ^ 0x1234_5678) % self.tuples;
            let address = address(i, self.tuples);
            let block = u32::from_be_bytes(address) & 0xffff_0000;
            let last = std::net::Ipv4Addr::from(block | 0xffff).into();
            let domain = rrname(i).split_once('.').unwrap().1.to_owned();
            let scans = [
                Scan::Name(Name::from_log(rrname(i).as_bytes()).unwrap()),
                Scan::Addresses(address.into(), address.into()),
                Scan::Addresses(std::net::Ipv4Addr::from(block).into(), last),
                Scan::Subtree(Name::from_log(domain.as_bytes()).unwrap()),
            ];
            for (scan, took) in scans.iter().zip(&mut took) {
                let start = Instant::now();
                found += self.store.now().entries(scan, None).unwrap().count();
                took.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        for (kind, took) in KINDS.iter().zip(&mut took) {
            took.sort_by(f64::total_cmp);
            let at = |share: f64| took.get(((took.len() - 1) as f64 * share) as usize).copied().unwrap();
            println!(
                "{what:<20} {kind:<7} p50 {:>6.0}  p99 {:>6.0}  p99.9 {:>6.0}  max {:>6.0} µs  ({} lookups, {found} rows)",
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0),
                took.len()
            );
        }
    }
}

fn percentiles(what: &str, took: &mut [Duration]) {
    took.sort();
    let at = |share: f64| took.get(((took.len() - 1) as f64 * share) as usize).unwrap().as_secs_f64() * 1e3;
    println!(
        "{what:<28} p50 {:.1}  p99 {:.1}  max {:.1} ms  ({} commits)",
        at(0.5),
        at(0.99),
        at(1.0),
        took.len()
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: u64| argument(name).map_or(default, |text| text.parse().unwrap());
    let (tuples, batch) = (number("--tuples", 1_000_000), number("--batch", 200_000));
    let options = Options { memory: number("--memory", 256) << 20, ..Options::default() };
    let scratch = tempfile::tempdir().unwrap();
    let dir = argument("--dir").map_or(scratch.path().to_owned(), PathBuf::from);
    let store = SledStore::open(&dir, &options).unwrap();
    let sensor = store.sensor("bench").unwrap();
    let every = number("--every", 0);
    let mut bench = Bench { tuples, batch, store, sensor, dir, every };
    let never = AtomicBool::new(false);

    println!(
        "{:<28} {:>9.1} B/tuple raw, by name and by data, without the question",
        "keys and values",
        raw(tuples)
    );
    let mut commits = Vec::new();
    let start = Instant::now();
    bench.feed(bench.batch, (0..tuples).map(|i| (i, time_of(i, tuples))), &mut commits);
    report("new", tuples, start.elapsed());
    percentiles("new: apply", &mut commits);
    bench.disk_line("new");
    let start = Instant::now();
    bench.store.end_bulk(true, &|| false).unwrap();
    report("merges at its end", tuples, start.elapsed());
    bench.lookups("right after", 20_000, &never);
    bench.store.settle().unwrap();
    bench.disk_line("new, settled");
    bench.lookups("settled", 20_000, &never);

    let live = number("--live", 20);
    if live > 0 {
        bench.live(number("--rate", 5_000), live);
    }

    let steady = number("--steady", 20);
    if steady > 0 {
        let rows = number("--rows", 50_000);
        let mut fresh = tuples;
        let mut next = 0;
        let sample = (0..steady * rows).map(move |n| {
            // Four of five are rows that are there already.
            if n % 5 == 0 {
                fresh += 1;
                (fresh, time_of(tuples, tuples) + n / rows)
            } else {
                next += 1;
                (mix(next) % tuples, time_of(tuples, tuples) + n / rows)
            }
        });
        let (mut commits, done) = (Vec::new(), AtomicBool::new(false));
        let start = Instant::now();
        std::thread::scope(|scope| {
            let lookups = scope.spawn(|| bench.lookups("during steady load", u64::MAX, &done));
            bench.feed(rows - 1, sample, &mut commits);
            bench.store.settle().unwrap();
            done.store(true, Ordering::Relaxed);
            report("steady, settled", steady * rows, start.elapsed());
            lookups.join().unwrap();
        });
        // What the last lookup held is cleared away.
        bench.store.settle().unwrap();
        percentiles("steady: apply", &mut commits);
        bench.disk_line("steady");
        bench.lookups("after", 20_000, &never);
    }

    // What the system has in its page cache first, then as after a boot.
    for cache in ["warm", "cold"] {
        let start = Instant::now();
        let Bench { store, dir, .. } = bench;
        drop(store);
        println!("{:<28} {:.2} s", "close", start.elapsed().as_secs_f64());
        if cache == "cold" {
            evict(&dir);
        }
        let start = Instant::now();
        bench = Bench { store: SledStore::open(&dir, &options).unwrap(), tuples, batch, sensor, dir, every };
        println!("{:<28} {:.2} s", format!("reopen, {cache}"), start.elapsed().as_secs_f64());
    }
    let before = transferred("read_bytes");
    bench.lookups("reopened, cold", 500, &never);
    println!("{:<28} {:.0} MiB", "read for that", transferred("read_bytes") - before);
    bench.lookups("the same, warm", 500, &never);
    let start = Instant::now();
    let snapshot = bench.store.now();
    let rows = snapshot.entries(&Scan::All, None).unwrap().inspect(|row| assert!(row.is_ok())).count();
    report("scan of everything", rows as u64, start.elapsed());
}
