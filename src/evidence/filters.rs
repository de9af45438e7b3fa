//! Filters: which names and addresses a log cannot hold, so that it need not be read for them.
//!
//! Each complete log may have one, a file in the folder `evidence` of the data folder: what the log holds, as the filter of a run
//! does ([`crate::store::LogFilter`]). It is made by reading the log once more, by a thread that gives way to all others, the
//! newest log first, as far as the budget goes; what is there from before is kept, so a pass that was ended goes on where it was.
//!
//! A filter that is wrong would hide lines. So it is written beside its place, synced, and then named; it says of which log it is, up
//! to which byte and by which options, and has a checksum over all of that. What does not fit is no filter: then the log is read.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::places::source_of;
use super::read::{Found, Reading, Wanted, read};
use crate::base::keyed;
use crate::base::shutdown::Stop;
use crate::dns::{Name, split_name_key, split_rdata_key};
use crate::ingest::{Config, SourceConfig, is_origin};
use crate::observation::{Observations, SensorId};
use crate::observe;
use crate::progress::{LineageId, Progress};
use crate::store::{LogFilter, ReadStore, Scan, StoreError};
use crate::tail::decode::Decoder;
use crate::tally::Skip;

/// What each file begins with.
const MAGIC: &[u8] = b"dnsledger evidence 1\n";
/// Bytes of a file that is read: none is so large.
const MAX_BYTES: u64 = 64 << 20;
/// Different keys of a log at most; one with more has no filter.
const MOST_KEYS: usize = 8 << 20;
/// Networks that a range is looked for by.
const MOST_NETWORKS: u64 = 256;
/// Addresses that a range is looked for by.
const MOST_ADDRESSES: u64 = 16;

//--- Keys -----------------------------------------------------------------------------------------------------------

/// Shows each key of the names at and above one; it is given in key form.
fn name_keys(name: &[u8], each: &mut dyn FnMut(&[u8])) {
    // Each label ends in 0, and the name in one more.
    let labels = name.strip_suffix(&[0]).unwrap_or(name);
    for at in memchr::memchr_iter(0, labels) {
        each(labels.get(..=at).unwrap_or_default());
    }
}

/// Lengths in bytes of the networks of an address that are keys, the address itself last.
const V4: [usize; 3] = [2, 3, 4];
const V6: [usize; 4] = [4, 6, 8, 16];

/// Shows each key of an address and its networks. A tag keeps families and lengths apart, and both from names, which begin with a
/// character that no tag is.
fn address_keys(address: &[u8], each: &mut dyn FnMut(&[u8])) {
    let lengths: &[usize] = if address.len() == 4 { &V4 } else { &V6 };
    for &length in lengths {
        let mut key = vec![0, address.len() as u8, length as u8];
        key.extend_from_slice(address.get(..length).unwrap_or_default());
        each(&key);
    }
}

/// Collects the keys of a log.
struct Collector {
    seed: u64,
    keys: HashSet<u64, std::hash::BuildHasherDefault<Hashed>>,
}

/// Keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

impl Collector {
    fn new() -> Collector {
        Collector { seed: keyed::new_seed(), keys: HashSet::default() }
    }

    fn add(&mut self, observations: &Observations) {
        let Collector { seed, keys } = self;
        let mut each = |key: &[u8]| _ = keys.insert(LogFilter::hash(*seed, key));
        for observation in observations.iter() {
            let Some((name, rest)) = split_name_key(observation.row_key) else { continue };
            name_keys(name, &mut each);
            let Some((rdata, _)) = rest.get(2..).and_then(split_rdata_key) else { continue };
            match rdata.split_first() {
                Some((4 | 6, address)) => address_keys(address, &mut each),
                Some((&crate::dns::Rdata::NAME_TAG, name)) => name_keys(name, &mut each),
                _ => {}
            }
        }
        if let Some((name, _)) = observations.question().and_then(|(key, _)| split_name_key(key)) {
            name_keys(name, &mut each);
        }
    }

    fn finish(self) -> Option<LogFilter> {
        (self.keys.len() <= MOST_KEYS).then(|| LogFilter::of(self.seed, self.keys.into_iter()))
    }
}

//--- Probes ---------------------------------------------------------------------------------------------------------

/// What a log must hold of a search to be worth reading.
pub(super) struct Probes {
    /// All keys of one of these.
    any: Vec<Vec<Vec<u8>>>,
    /// And all of these.
    all: Vec<Vec<u8>>,
}

impl Probes {
    /// Those of a search; none where a filter cannot tell.
    pub fn of(scans: &[Scan], rdata: Option<&str>) -> Option<Probes> {
        let mut any = Vec::new();
        for scan in scans {
            match scan {
                Scan::Name(name) | Scan::Subtree(name) | Scan::Target(name) | Scan::TargetSubtree(name) => {
                    any.push(keys_of(name)?);
                }
                Scan::Addresses(first, last) => any.extend(range(*first, *last)?),
                Scan::All => return None,
            }
        }
        let mut all = Vec::new();
        if let Some(Ok(address)) = rdata.map(str::parse::<IpAddr>) {
            address_keys(&bytes_of(address), &mut |key| all.push(key.to_vec()));
        }
        Some(Probes { any, all })
    }

    /// Whether a log may hold what is looked for.
    fn may_be_in(&self, filter: &LogFilter) -> bool {
        let has = |key: &Vec<u8>| filter.may_hold(key);
        self.all.iter().all(has) && self.any.iter().any(|keys| keys.iter().all(has))
    }
}

/// Of the root, which all names are below, there are none.
fn keys_of(name: &Name) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    name_keys(name.key(), &mut |key| keys.push(key.to_vec()));
    keys.reverse(); // the rarest first
    (!keys.is_empty()).then_some(keys)
}

fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The keys of each network that a range meets; none where these are too many.
fn range(first: IpAddr, last: IpAddr) -> Option<Vec<Vec<Vec<u8>>>> {
    let (from, to, bits) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (u128::from(first.to_bits()), u128::from(last.to_bits()), 32)
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits(), last.to_bits(), 128),
        _ => return None,
    };
    let lengths: &[usize] = if bits == 32 { &V4 } else { &V6 };
    for (at, length) in lengths.iter().enumerate().rev() {
        let shift = bits - 8 * *length as u32;
        let (from, to) = (from >> shift, to >> shift);
        let most = if shift == 0 { MOST_ADDRESSES } else { MOST_NETWORKS };
        if to - from >= u128::from(most) {
            continue;
        }
        let network = |network: u128| {
            let address = network << shift;
            let bytes = match bits {
                32 => bytes_of(Ipv4Addr::from_bits(u32::try_from(address).unwrap_or_default()).into()),
                _ => bytes_of(Ipv6Addr::from_bits(address).into()),
            };
            let mut keys = Vec::new();
            address_keys(&bytes, &mut |key| keys.push(key.to_vec()));
            keys.truncate(at + 1);
            keys.reverse();
            keys
        };
        return Some((from..=to).map(network).collect());
    }
    None
}

//--- Filters --------------------------------------------------------------------------------------------------------

/// How far filters are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FiltersStatus {
    /// Complete logs, each of which may have one.
    pub logs: u64,
    /// Those that have one.
    pub filters: u64,
    /// Bytes on disk of these.
    pub bytes: u64,
    /// The most bytes; absent where there is no bound, or before the first pass.
    pub max_bytes: Option<u64>,
}

/// The filters of a ledger's logs.
pub struct Filters {
    folder: PathBuf,
    /// What of a log counts: by other options it would hold other names.
    options: u64,
    status: Mutex<FiltersStatus>,
    /// Logs of which none could be made, where they were.
    failed: Mutex<HashMap<LineageId, PathBuf>>,
}

impl Filters {
    /// Those in a data folder.
    pub fn of(data: &Path, observe: &observe::Options) -> Filters {
        Filters {
            folder: data.join("evidence"),
            options: xxh3_64(format!("{observe:?}").as_bytes()),
            status: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// How far they are made.
    pub fn status(&self) -> FiltersStatus {
        *self.status.lock()
    }

    fn path(&self, log: &LineageId) -> PathBuf {
        self.folder.join(log.to_string())
    }

    /// What stands before the filter of a log.
    fn head(&self, log: &Progress) -> Vec<u8> {
        let numbers = [log.consumed.offset.to_be_bytes(), self.options.to_be_bytes()];
        [MAGIC, &log.lineage.0, numbers.as_flattened()].concat()
    }

    /// Whether a log may hold what is looked for; where it has no filter that fits, it may.
    pub(super) fn may_hold(&self, log: &Progress, probes: &Probes) -> bool {
        self.load(log).is_none_or(|filter| probes.may_be_in(&filter))
    }

    fn load(&self, log: &Progress) -> Option<LogFilter> {
        let mut bytes = Vec::new();
        File::open(self.path(&log.lineage)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let (sealed, checksum) = bytes.split_last_chunk()?;
        if xxh3_64(sealed) != u64::from_be_bytes(*checksum) {
            return None;
        }
        LogFilter::from_bytes(sealed.strip_prefix(self.head(log).as_slice())?)
    }

    fn save(&self, log: &Progress, filter: &LogFilter) -> io::Result<u64> {
        let mut bytes = self.head(log);
        bytes.extend_from_slice(&filter.to_bytes());
        bytes.extend_from_slice(&xxh3_64(&bytes).to_be_bytes());
        let path = self.path(&log.lineage);
        let beside = path.with_extension("part");
        let mut file = File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        Ok(bytes.len() as u64)
    }

    /// Makes the filters that are missing, the newest log's first, as far as `budget` bytes go, and removes those for which there is
    /// no room, or no log, any more.
    ///
    /// # Errors
    ///
    /// When the ledger or the folder cannot be read or written.
    pub fn pass(
        &self,
        ledger: &dyn ReadStore,
        config: &Config,
        budget: Option<u64>,
        stop: &Stop,
    ) -> Result<(), StoreError> {
        let mut logs = ledger.lineages()?;
        logs.retain(|log| {
            log.complete
                && !is_origin(log)
                && (log.tally.counted > 0 || log.tally.skipped(Skip::NoAnswer) > 0)
        });
        logs.sort_by_key(|log| std::cmp::Reverse((log.times().1, log.lineage)));
        let failed =
            |error: io::Error| StoreError::Io { what: format!("writing {}", self.folder.display()), error };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut there: HashMap<String, u64> = HashMap::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            if let Ok(name) = entry.file_name().into_string() {
                there.insert(name, bytes);
            }
        }
        let mut status =
            FiltersStatus { logs: logs.len() as u64, max_bytes: budget, ..FiltersStatus::default() };
        let room = budget.unwrap_or(u64::MAX);
        for log in &logs {
            let known = there.remove(&log.lineage.to_string());
            if stop.is_stopped() {
                return Ok(());
            }
            let fits = |bytes: u64| status.bytes.saturating_add(bytes) <= room;
            let kept = match known {
                Some(bytes) if fits(bytes) && self.is_of(log) => Some(bytes),
                Some(_) => {
                    fs::remove_file(self.path(&log.lineage)).map_err(failed)?;
                    None
                }
                None => None,
            };
            let made = match kept {
                Some(bytes) => Some(bytes),
                None if status.bytes >= room => None,
                None if self.failed.lock().get(&log.lineage) == Some(&log.path) => None,
                None => match self.make(log, config, stop) {
                    Some(filter) if fits(filter.to_bytes().len() as u64 + 64) => {
                        Some(self.save(log, &filter).map_err(failed)?)
                    }
                    // Neither one that is too large nor a log that is not there is tried again and again.
                    _ => {
                        self.failed.lock().insert(log.lineage, log.path.clone());
                        None
                    }
                },
            };
            if let Some(bytes) = made {
                status.filters += 1;
                status.bytes += bytes;
            }
            *self.status.lock() = status;
        }
        *self.status.lock() = status;
        // Logs that the ledger knows no more, and what a process left that was killed.
        for name in there.keys() {
            fs::remove_file(self.folder.join(name)).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether the file of a log says that it is of that log as it is now. Its checksum is looked at when it is used.
    fn is_of(&self, log: &Progress) -> bool {
        let head = self.head(log);
        let mut found = vec![0; head.len()];
        let read = File::open(self.path(&log.lineage)).and_then(|mut file| file.read_exact(&mut found));
        read.is_ok() && found == head
    }

    /// Makes the filter of a log; none where it is not there, or not what was counted.
    fn make(&self, log: &Progress, config: &Config, stop: &Stop) -> Option<LogFilter> {
        let default = SourceConfig::default();
        let source = source_of(config, &log.path, &log.sensor).unwrap_or(&default);
        let how =
            Reading { zeek: &source.zeek, observe: &config.observe, max_line_bytes: config.max_line_bytes };
        let want = |id: &LineageId| {
            let wanted = Wanted { index: 0, progress: log, sensor: SensorId(0) };
            (*id == log.lineage).then_some(wanted)
        };
        let mut collector = Collector::new();
        let decoder = Decoder::open(&log.path).ok()?;
        let mut each = |at: super::read::At<'_>| collector.add(&at.meaning.observations);
        let came = read(decoder, how, &want, &mut each, &mut || !stop.is_stopped()).ok()?;
        let is_whole = !came.stopped && came.found.iter().any(|(_, found)| *found == Found::Whole);
        if is_whole { collector.finish() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RrType;
    use crate::observation::{Half, Outcome};

    fn observed(names: &[&str], addresses: &[&str]) -> LogFilter {
        let mut collector = Collector::new();
        for name in names {
            let mut observations = Observations::new(SensorId(3));
            observations.reset(1000);
            let name = Name::parse(name).unwrap();
            for address in addresses {
                let mut rdata = Vec::new();
                crate::dns::push_address_key(address.parse().unwrap(), &mut rdata);
                observations.push(name.key(), RrType::A, &rdata, Half::Direct, 1);
            }
            observations.ask(name.key(), RrType::A, Outcome::Answered);
            collector.add(&observations);
        }
        collector.finish().unwrap()
    }

    fn asks(filter: &LogFilter, scan: Scan, rdata: Option<&str>) -> Option<bool> {
        Probes::of(&[scan], rdata).map(|probes| probes.may_be_in(filter))
    }

    #[test]
    fn what_is_in_a_log_is_never_denied_however_it_is_asked_for() {
        let filter = observed(&["www.example.com", "a.b.c.example.net"], &["192.0.2.7", "2001:db8::7"]);
        let name = |text: &str| Name::parse(text).unwrap();
        for (scan, expected) in [
            (Scan::Name(name("www.example.com")), true),
            (Scan::Subtree(name("example.com")), true),
            (Scan::Subtree(name("com")), true),
            (Scan::Target(name("a.b.c.example.net")), true),
            (Scan::Name(name("mail.example.com")), false),
            (Scan::Subtree(name("example.org")), false),
            (Scan::Addresses("192.0.2.7".parse().unwrap(), "192.0.2.7".parse().unwrap()), true),
            (Scan::Addresses("192.0.2.0".parse().unwrap(), "192.0.2.255".parse().unwrap()), true),
            (Scan::Addresses("192.0.0.0".parse().unwrap(), "192.0.255.255".parse().unwrap()), true),
            (Scan::Addresses("192.0.1.250".parse().unwrap(), "192.0.2.9".parse().unwrap()), true),
            (Scan::Addresses("192.0.2.250".parse().unwrap(), "192.0.3.9".parse().unwrap()), false),
            (Scan::Addresses("192.0.2.8".parse().unwrap(), "192.0.2.11".parse().unwrap()), false),
            (Scan::Addresses("198.51.100.0".parse().unwrap(), "198.51.100.255".parse().unwrap()), false),
            (Scan::Addresses("2001:db8::".parse().unwrap(), "2001:db8::ffff:ffff".parse().unwrap()), true),
            (Scan::Addresses("2001:db8:1::".parse().unwrap(), "2001:db8:1::ffff".parse().unwrap()), false),
        ] {
            assert_eq!(asks(&filter, scan.clone(), None), Some(expected), "{scan:?}");
        }
        let named = || Scan::Name(name("www.example.com"));
        assert_eq!(asks(&filter, named(), Some("192.0.2.7")), Some(true));
        assert_eq!(asks(&filter, named(), Some("192.0.2.8")), Some(false));
        // What a filter cannot tell is not asked.
        for scan in [
            Scan::All,
            Scan::Subtree(Name::root()),
            Scan::Addresses("0.0.0.0".parse().unwrap(), "255.255.255.255".parse().unwrap()),
        ] {
            assert_eq!(asks(&filter, scan, None), None);
        }
    }

    #[test]
    fn a_filter_that_is_cut_spoiled_or_of_something_else_is_none() {
        let data = tempfile::tempdir().unwrap();
        let options = observe::Options::default();
        let filters = Filters::of(data.path(), &options);
        fs::create_dir(&filters.folder).unwrap();
        let mut log = Progress::start(LineageId([7; 16]), "s");
        log.consumed.offset = 1234;
        let filter = observed(&["www.example.com"], &["192.0.2.7"]);
        filters.save(&log, &filter).unwrap();
        assert!(filters.load(&log).is_some() && filters.is_of(&log));
        let path = filters.path(&log.lineage);
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(filters.load(&log).is_none(), "{end}");
        }
        for at in 0..whole.len() {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1;
            fs::write(&path, spoiled).unwrap();
            assert!(filters.load(&log).is_none(), "{at}");
        }
        fs::write(&path, &whole).unwrap();
        let longer =
            Progress { consumed: crate::progress::Mark { offset: 1235, hash: [0; 16] }, ..log.clone() };
        assert!(filters.load(&longer).is_none() && !filters.is_of(&longer));
        let other = observe::Options { skip_ports: vec![53], ..options };
        assert!(Filters::of(data.path(), &other).load(&log).is_none());
    }
}
