//! Keys: what of a log is looked for in its filter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::seeded_hash;
use crate::dns::{Name, split_name_key, split_rdata_key};
use crate::observation::Observations;
use crate::store::batch::NewKey;
use crate::store::{LogFilter, Scan};

/// Networks that a range is looked for by.
const MOST_NETWORKS: u64 = 256;
/// Addresses that a range is looked for by.
const MOST_ADDRESSES: u64 = 16;

/// Shows each key of the names at and above one, the longest first, until one is not wanted; it is given in key form.
fn name_keys(name: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
    // Each label ends in 0, and the name in one more.
    let labels = name.strip_suffix(&[0]).unwrap_or(name);
    for at in memchr::memrchr_iter(0, labels) {
        if !each(labels.get(..=at).unwrap_or_default()) {
            return;
        }
    }
}

/// Lengths in bytes of the networks of an address that are keys, the address itself last.
const V4: [usize; 3] = [2, 3, 4];
const V6: [usize; 4] = [4, 6, 8, 16];

/// Shows each key of an address and its networks, the address first, until one is not wanted. A tag keeps families and lengths apart,
/// and both from names, which begin with a character that no tag is.
fn address_keys(address: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
    let lengths: &[usize] = if address.len() == 4 { &V4 } else { &V6 };
    let mut key = [0; 3 + 16];
    if let Some(bytes) = key.get_mut(3..3 + address.len()) {
        bytes.copy_from_slice(address);
    }
    for &length in lengths.iter().rev() {
        if let Some(head) = key.first_chunk_mut::<3>() {
            *head = [0, address.len() as u8, length as u8];
        }
        if !each(key.get(..3 + length).unwrap_or_default()) {
            return;
        }
    }
}

/// Places for keys that were met of late.
const RECENT: usize = 4096;

/// Collects the keys of a log.
pub(super) struct Collector {
    seed: u64,
    /// Hashes of keys; some more than once.
    keys: Vec<u64>,
    /// Those of late, each at a place of its own.
    recent: Box<[u64]>,
    /// The name that was taken last, in key form.
    last: Vec<u8>,
    most: usize,
    has_too_many: bool,
}

impl Collector {
    /// One for at most so many keys; about so many are expected.
    pub fn new(most: usize, expected: usize) -> Collector {
        Collector {
            seed: seeded_hash::new_seed(),
            keys: Vec::with_capacity(expected.min(most)),
            recent: vec![0; RECENT].into(),
            last: Vec::new(),
            most,
            has_too_many: false,
        }
    }

    /// Adds what a record says that is in the ledger.
    pub fn add(&mut self, observations: &Observations) {
        for observation in observations.iter() {
            self.take(NewKey::Row(observation.row_key));
        }
        if let Some((row_key, _)) = observations.question() {
            self.take(NewKey::Question(row_key));
        }
    }

    /// Adds a row or a question.
    pub fn take(&mut self, met: NewKey<'_>) {
        if self.has_too_many {
            return;
        }
        let Collector { seed, keys, recent, last, .. } = self;
        // What was met of late is there, and so is what was added with it: with a name those above it, with an address its networks.
        let mut each = |key: &[u8]| {
            let hash = LogFilter::hash(*seed, key);
            let Some(place) = recent.get_mut(hash as usize % RECENT) else { return false };
            let is_new = std::mem::replace(place, hash) != hash;
            if is_new {
                keys.push(hash);
            }
            is_new
        };
        let (NewKey::Row(row_key) | NewKey::Question(row_key)) = met;
        let Some((name, rest)) = split_name_key(row_key) else { return };
        if *last != name {
            name_keys(name, &mut each);
            last.clear();
            last.extend_from_slice(name);
        }
        if let NewKey::Row(_) = met
            && let Some((rdata, _)) = rest.get(2..).and_then(split_rdata_key)
        {
            match rdata.split_first() {
                Some((4 | 6, address)) => address_keys(address, &mut each),
                Some((&crate::dns::Rdata::NAME_TAG, name)) => name_keys(name, &mut each),
                _ => {}
            }
        }
        if self.keys.len() > self.most {
            self.keys.sort_unstable();
            self.keys.dedup();
            self.has_too_many = self.keys.len() > self.most / 4 * 3;
        }
        if self.has_too_many {
            self.keys = Vec::new();
        }
    }

    /// How many hashes there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The filter of a log with so many lines; none where there were too many keys.
    pub fn finish(self, lines: u64) -> Option<LogFilter> {
        (!self.has_too_many).then(|| LogFilter::of_log(self.seed, &self.keys, lines))
    }
}

//--- Probes ---------------------------------------------------------------------------------------------------------

/// What a log must hold of a search to be worth reading.
pub(super) struct Probes {
    /// All keys of one of these.
    any: Vec<Vec<Vec<u8>>>,
    /// And all of one of these, if there are some.
    data: Vec<Vec<Vec<u8>>>,
}

impl Probes {
    /// Those of a search; none where a filter cannot tell.
    pub fn of(scans: &[Scan], rdata: &[String]) -> Option<Probes> {
        let mut any = Vec::new();
        for scan in scans {
            match scan {
                Scan::Name(name) | Scan::Subtree(name) | Scan::Target(name) | Scan::TargetSubtree(name) => {
                    any.push(keys_of(name)?);
                }
                Scan::Addresses(first, last) => any.extend(range(*first, *last)?),
                Scan::All | Scan::From(_) => return None,
            }
        }
        let keys_of_address = |address: IpAddr| {
            let mut keys = Vec::new();
            address_keys(&bytes_of(address), &mut |key| {
                keys.push(key.to_vec());
                true
            });
            keys
        };
        // Where one form of it is no address, a filter cannot tell.
        let addresses: Result<Vec<IpAddr>, _> = rdata.iter().map(|text| text.parse()).collect();
        let data = addresses.unwrap_or_default().into_iter().map(keys_of_address).collect();
        Some(Probes { any, data })
    }

    /// Whether a log may hold what is looked for.
    pub fn may_be_in(&self, filter: &LogFilter) -> bool {
        let has = |key: &Vec<u8>| filter.may_hold(key);
        let is_one_there = |of: &[Vec<Vec<u8>>]| of.iter().any(|keys| keys.iter().all(has));
        (self.data.is_empty() || is_one_there(&self.data)) && is_one_there(&self.any)
    }
}

/// Of the root, which all names are below, there are none.
fn keys_of(name: &Name) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    // The rarest comes first.
    name_keys(name.key(), &mut |key| {
        keys.push(key.to_vec());
        true
    });
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
            address_keys(&bytes, &mut |key| {
                keys.push(key.to_vec());
                true
            });
            // The rarest comes first; those that are longer than the networks of this range fall away.
            keys.split_off(lengths.len() - 1 - at)
        };
        return Some((from..=to).map(network).collect());
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dns::RrType;
    use crate::observation::{Half, Outcome, SensorId};

    /// A filter of a log in which these names had these addresses.
    pub(in crate::evidence) fn observed(names: &[&str], addresses: &[&str]) -> LogFilter {
        let mut collector = Collector::new(1000, 0);
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
        collector.finish(3).unwrap()
    }

    fn asks(filter: &LogFilter, scan: Scan, rdata: Option<&str>) -> Option<bool> {
        let rdata: Vec<String> = rdata.into_iter().map(str::to_owned).collect();
        Probes::of(&[scan], &rdata).map(|probes| probes.may_be_in(filter))
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
    fn a_log_with_too_many_keys_has_no_filter() {
        let mut observations = Observations::new(SensorId(0));
        let mut collector = Collector::new(10, 0);
        for n in 0..20 {
            observations.reset(1000);
            observations.ask(
                Name::parse(&format!("n{n}.example")).unwrap().key(),
                RrType::A,
                Outcome::Answered,
            );
            collector.add(&observations);
            assert!(collector.len() <= 12);
        }
        assert!(collector.finish(20).is_none());
    }
}
