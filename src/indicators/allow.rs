//! What is harmless, whoever says otherwise: one's own domains, popular ones, exceptions of a list.

use std::collections::HashSet;
use std::net::IpAddr;

use super::value::{Network, Value};
use crate::base::seeded_hash;

/// Names, domains and networks that are harmless. Of names a hash is kept, so a million of them takes some 20 MB.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    names: HashSet<u64>,
    domains: HashSet<u64>,
    networks: HashSet<Network>,
    /// The lengths of networks there are, of IPv4 (`true`) and IPv6.
    lengths: Vec<(bool, u8)>,
}

impl AllowList {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.domains.is_empty() && self.networks.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len() + self.domains.len() + self.networks.len()
    }

    /// Adds one.
    pub fn add(&mut self, value: &Value) {
        match value {
            Value::Name(name) => drop(self.names.insert(seeded_hash::hash(name.key()))),
            Value::Domain(name) => drop(self.domains.insert(seeded_hash::hash(name.subtree_key()))),
            Value::Address(_) | Value::Network(_) => {
                if let Some(network) = value.network() {
                    self.networks.insert(network);
                    let length = (network.first().is_ipv4(), network.length());
                    if !self.lengths.contains(&length) {
                        self.lengths.push(length);
                    }
                }
            }
        }
    }

    /// Adds those of another list.
    pub fn merge(&mut self, other: &AllowList) {
        self.names.extend(&other.names);
        self.domains.extend(&other.domains);
        self.networks.extend(other.networks.iter().cloned());
        for length in &other.lengths {
            if !self.lengths.contains(length) {
                self.lengths.push(*length);
            }
        }
    }

    /// Whether a name in key form is harmless: itself, or because of what it is below.
    pub fn has_name(&self, key: &[u8]) -> bool {
        if self.names.is_empty() && self.domains.is_empty() {
            return false;
        }
        if self.names.contains(&seeded_hash::hash(key)) {
            return true;
        }
        let labels = key.split_last().map_or(&[][..], |(_, labels)| labels);
        let mut ends = memchr::memchr_iter(0, labels);
        ends.any(|end| {
            labels.get(..=end).is_some_and(|domain| self.domains.contains(&seeded_hash::hash(domain)))
        })
    }

    /// Whether an address is harmless.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.lengths.iter().any(|(v4, length)| {
            *v4 == address.is_ipv4()
                && Network::new(address, *length).is_some_and(|network| self.networks.contains(&network))
        })
    }

    /// Whether nothing that an indicator finds could be a hit.
    pub fn has(&self, value: &Value) -> bool {
        match value {
            Value::Name(name) | Value::Domain(name) => self.has_name(name.key()),
            Value::Address(address) => self.has_address(*address),
            Value::Network(network) => self.lengths.iter().any(|(v4, length)| {
                *v4 == network.first().is_ipv4()
                    && *length <= network.length()
                    && Network::new(network.first(), *length)
                        .is_some_and(|wider| self.networks.contains(&wider))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicators::value::{Values, read};

    fn value(text: &str, below: bool) -> Value {
        match read(text, below).unwrap() {
            Values::One(value) => value,
            Values::Many(_) => panic!("{text} is many"),
        }
    }

    #[test]
    fn what_is_below_or_in_it_is_harmless_and_nothing_else() {
        let mut allow = AllowList::default();
        assert!(allow.is_empty());
        for (text, below) in [("good.example", true), ("www.one.example", false), ("203.0.113.0/24", true)] {
            allow.add(&value(text, below));
        }
        assert_eq!(allow.len(), 3);
        for (text, below, is_harmless) in [
            ("good.example", true, true),
            ("a.b.good.example", false, true),
            ("notgood.example", true, false),
            ("example.com", true, false),
            ("www.one.example", false, true),
            ("a.www.one.example", false, false),
            ("203.0.113.7", true, true),
            ("203.0.113.128/25", true, true),
            ("203.0.112.0/23", true, false),
            ("2001:db8::1", true, false),
        ] {
            assert_eq!(allow.has(&value(text, below)), is_harmless, "{text}");
        }
    }
}
