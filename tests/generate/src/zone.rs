//! What the names of a made-up internet have: texts, chains, addresses, lifetimes.
//!
//! Nothing is kept: all of it follows from the seed and the number of a name, so that a log of any length costs no
//! memory. Names lie under `example` and `test` (RFC 2606), addresses in 100.64.0.0/10 (RFC 6598) and 2001:db8::/32
//! (RFC 3849): none of it is anybody's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::random::Random;

/// The kinds of things that answers are drawn for; see [`Random::keyed`].
mod kind {
    pub const DOMAIN: u64 = 1;
    pub const HOST: u64 = 2;
    pub const CHAIN: u64 = 3;
    pub const OWN_ADDRESSES: u64 = 4;
    pub const SHARED_ADDRESSES: u64 = 5;
    pub const LIFETIME: u64 = 6;
}

/// Hosts of one domain.
const HOSTS_PER_DOMAIN: u64 = 4;
/// Names that may share the end of their chain.
const NAMES_PER_EDGE: u64 = 6;
/// First labels of hosts; a prime number of them, so that steps of 5 visit all.
const HOST_LABELS: [&str; 13] = [
    "api",
    "cdn",
    "mail",
    "static",
    "img",
    "login",
    "assets",
    "news",
    "ns1",
    "app",
    "media",
    "docs",
    "telemetry",
];
/// Lifetimes in seconds that servers are configured with, and how often each is seen.
const LIFETIMES: [(u32, u32); 12] = [
    (18, 60),
    (18, 300),
    (14, 3_600),
    (10, 86_400),
    (8, 20),
    (8, 30),
    (6, 299),
    (6, 120),
    (6, 600),
    (3, 0),
    (12, 41_580),
    (1, 1_209_600),
];

/// A made-up internet.
#[derive(Debug, Clone)]
pub struct Zone {
    seed: u64,
}

impl Zone {
    /// The internet of a seed.
    pub fn new(seed: u64) -> Zone {
        Zone { seed }
    }

    /// The text of a host's name. Different hosts have different names.
    pub fn host(&self, host: u64) -> String {
        let (domain, index) = (host / HOSTS_PER_DOMAIN, host % HOSTS_PER_DOMAIN);
        let first = self.draws(kind::DOMAIN, domain).below(HOST_LABELS.len() as u64) as usize;
        let label = if index == 0 {
            "www"
        } else {
            HOST_LABELS.iter().cycle().nth(first + 5 * index as usize).copied().unwrap_or_default()
        };
        let mut draws = self.draws(kind::HOST, host);
        let deep = match draws.below(20) {
            0 => format!("{:016x}{:08x}.eu-west-1.", draws.bits(), draws.bits() as u32),
            1..=3 => format!("{:010x}.", draws.bits() >> 24),
            _ => String::new(),
        };
        format!("{deep}{label}.{}", self.domain(host))
    }

    /// The text of the domain that a host is in.
    pub fn domain(&self, host: u64) -> String {
        let domain = host / HOSTS_PER_DOMAIN;
        let mut draws = self.draws(kind::DOMAIN, domain);
        draws.bits();
        let suffix = draws.weighted(&[
            (10, "example"),
            (4, "com.example"),
            (2, "net.example"),
            (3, "test"),
            (1, "co.test"),
        ]);
        format!("{}.{suffix}", word(domain))
    }

    /// The CNAMEs that a host's address is behind, from the host on; mostly none or one.
    pub fn chain(&self, host: u64) -> Vec<String> {
        let length = self.chain_length(host);
        let mut chain: Vec<String> =
            (1..length).map(|hop| format!("{}.hop{hop}.{}.test", self.host(host), word(host % 23))).collect();
        if length > 0 {
            let edge = host / NAMES_PER_EDGE;
            chain.push(format!("e{edge}.{}.edge.example", word(edge % 97)));
        }
        chain
    }

    fn chain_length(&self, host: u64) -> usize {
        self.draws(kind::CHAIN, host).weighted(&[(450, 0), (320, 1), (180, 2), (30, 3), (15, 4), (5, 5)])
    }

    /// The addresses a reply holds for a host: a few out of all that the end of its chain has.
    ///
    /// `turn` says where in the pool the reply begins, as servers rotate; `fresh` takes them from an endless pool.
    pub fn addresses(&self, host: u64, v6: bool, fresh: bool, turn: &mut Random) -> Vec<IpAddr> {
        let mut draws = match self.chain_length(host) {
            0 => self.draws(kind::OWN_ADDRESSES, host),
            _ => self.draws(kind::SHARED_ADDRESSES, host / NAMES_PER_EDGE),
        };
        if v6 && draws.chance(0.2) {
            return Vec::new();
        }
        let count = draws.weighted(&[(50, 1), (20, 2), (8, 3), (12, 4), (5, 6), (4, 8), (1, 16)]);
        let pool = count * draws.weighted(&[(70, 1), (20, 3), (9, 10), (1, 100)]);
        let (first, turned) = (draws.bits(), turn.bits());
        let start = if fresh { turned } else { turned % pool };
        (0..count)
            .map(|at| {
                let place = if fresh { start.wrapping_add(at) } else { (start + at) % pool };
                let mut address = Random::new(first.wrapping_add(place));
                if v6 { v6_address(address.bits()) } else { v4_address(address.bits()) }
            })
            .collect()
    }

    /// The lifetime that a host's records have at their server, in seconds.
    pub fn lifetime(&self, host: u64) -> u32 {
        self.draws(kind::LIFETIME, host).weighted(&LIFETIMES)
    }

    fn draws(&self, kind: u64, id: u64) -> Random {
        Random::keyed(self.seed, kind, id)
    }
}

/// An address in 100.64.0.0/10.
fn v4_address(bits: u64) -> IpAddr {
    Ipv4Addr::from_bits(0x6440_0000 | (bits as u32 & 0x003f_ffff)).into()
}

/// An address in 2001:db8::/32.
fn v6_address(bits: u64) -> IpAddr {
    let network = 0x2001_0db8 << 32 | (bits & 0xff_ffff);
    Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(bits >> 40)).into()
}

/// The name under `arpa` that an address is asked by (RFC 1035 3.5, RFC 3596 2.5).
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = format!("{:032x}", address.to_bits());
            nibbles.chars().rev().flat_map(|nibble| [nibble, '.']).collect::<String>() + "ip6.arpa"
        }
    }
}

/// A word that can be spoken, another one for each number.
fn word(number: u64) -> String {
    // An odd multiplier that 5 does not divide makes the last six digits a permutation: neighbours look unlike.
    let mut left = number / 1_000_000 * 1_000_000 + number % 1_000_000 * 387_420_489 % 1_000_000;
    let mut word = String::new();
    loop {
        let (consonant, vowel) = ((left % 100 / 5) as usize, (left % 5) as usize);
        word.extend("bcdfghjklmnprstvwxyz".chars().nth(consonant));
        word.extend("aeiou".chars().nth(vowel));
        left /= 100;
        if left == 0 {
            return word;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_hosts_have_different_names() {
        let zone = Zone::new(1);
        let names: HashSet<String> = (0..100_000).map(|host| zone.host(host)).collect();
        assert_eq!(names.len(), 100_000);
        assert!(names.iter().all(|name| name.ends_with(".example") || name.ends_with(".test")));
    }

    #[test]
    fn a_host_has_the_same_chain_and_pool_each_time() {
        let zone = Zone::new(1);
        let host = (0..).find(|&host| zone.chain(host).len() == 2).unwrap();
        assert_eq!(zone.chain(host), Zone::new(1).chain(host));
        let mut turn = Random::new(9);
        let asked: HashSet<IpAddr> =
            (0..1_000).flat_map(|_| zone.addresses(host, false, false, &mut turn)).collect();
        assert!(asked.len() <= 1_600, "{}", asked.len());
        let fresh: HashSet<IpAddr> =
            (0..1_000).flat_map(|_| zone.addresses(host, false, true, &mut turn)).collect();
        assert!(fresh.len() > 900, "{}", fresh.len());
    }

    #[test]
    fn reverse_names_are_those_of_the_rfcs() {
        assert_eq!(reverse_name([192, 0, 2, 7].into()), "7.2.0.192.in-addr.arpa");
        let name = reverse_name("2001:db8::567:89ab".parse().unwrap());
        assert_eq!(name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[test]
    fn words_differ_beyond_a_million() {
        let words: HashSet<String> = (999_000..1_001_000).map(word).collect();
        assert_eq!(words.len(), 2_000);
    }
}
