//! Indicators as bytes: a kind, and a name or an address in key form. Those of one kind sort as the ledger's keys do.

use std::net::IpAddr;

use crate::dns::{Name, Rdata, push_address_key};
use crate::indicators::{Action, Network, Value};

/// The kinds. An exception of a list has the letter in upper case.
const NAME: u8 = b'n';
const DOMAIN: u8 = b'd';
const ADDRESS: u8 = b'a';
const NETWORK: u8 = b'c';

/// Appends the key of an indicator.
pub(super) fn push(value: &Value, action: Action, out: &mut Vec<u8>) {
    let kind = match value {
        Value::Name(_) => NAME,
        Value::Domain(_) => DOMAIN,
        Value::Address(_) => ADDRESS,
        Value::Network(_) => NETWORK,
    };
    out.push(if action == Action::Allow { kind.to_ascii_uppercase() } else { kind });
    match value {
        Value::Name(name) | Value::Domain(name) => out.extend_from_slice(name.key()),
        Value::Address(address) => push_address_key(*address, out),
        Value::Network(network) => network.push_key(out),
    }
}

/// The indicator of a key.
pub(super) fn read(key: &[u8]) -> Option<(Value, Action)> {
    let (kind, rest) = key.split_first()?;
    let action = if kind.is_ascii_uppercase() { Action::Allow } else { Action::Watch };
    let value = match kind.to_ascii_lowercase() {
        NAME => Value::Name(Name::from_key(rest).ok()?),
        DOMAIN => Value::Domain(Name::from_key(rest).ok()?),
        ADDRESS => match Rdata::split_key(rest).ok()? {
            (rdata, []) => Value::Address(rdata.address()?),
            _ => return None,
        },
        NETWORK => Value::Network(Network::from_key(rest)?),
        _ => return None,
    };
    Some((value, action))
}

/// Which kinds of indicators there are, and of names of how many labels: others need not be looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Present {
    names: u64,
    domains: u64,
    addresses: bool,
}

impl Present {
    /// Adds an indicator by its key.
    pub fn add(&mut self, key: &[u8]) {
        match key.split_first() {
            Some((&NAME, name)) => self.names |= labels(name.iter().filter(|byte| **byte == 0).count()),
            Some((&DOMAIN, name)) => self.domains |= labels(name.iter().filter(|byte| **byte == 0).count()),
            Some((&ADDRESS, _)) => self.addresses = true,
            _ => {}
        }
    }
}

/// A bit for names with so many zero bytes in their key; one for all with many.
fn labels(zeros: usize) -> u64 {
    1 << zeros.min(63)
}

/// Hands out the keys of all indicators that would meet a name in key form, but for those within so many bytes of it: of them is known that
/// there are none.
pub(super) fn of_name(name: &[u8], known: usize, present: &Present, mut each: impl FnMut(&[u8])) {
    if known >= name.len() {
        return;
    }
    let mut buffer = Vec::with_capacity(name.len() + 2);
    let ends = name.split_last().map_or(&[][..], |(_, labels)| labels);
    if present.names & labels(1 + memchr::memchr_iter(0, ends).count()) != 0 {
        buffer.push(NAME);
        buffer.extend_from_slice(name);
        each(&buffer);
    }
    for (before, end) in memchr::memchr_iter(0, ends).enumerate() {
        if end >= known && present.domains & labels(before + 2) != 0 {
            buffer.clear();
            buffer.push(DOMAIN);
            buffer.extend_from_slice(ends.get(..=end).unwrap_or_default());
            buffer.push(0);
            each(&buffer);
        }
    }
}

/// Likewise of an address, for networks of these lengths, of IPv4 (`true`) and IPv6.
pub(super) fn of_address(
    address: IpAddr,
    lengths: &[(bool, u8)],
    present: &Present,
    mut each: impl FnMut(&[u8]),
) {
    let address = address.to_canonical();
    let buffer = &mut Vec::new();
    if present.addresses {
        buffer.push(ADDRESS);
        push_address_key(address, buffer);
        each(buffer);
    }
    for (_, length) in lengths.iter().filter(|(v4, _)| *v4 == address.is_ipv4()) {
        if let Some(network) = Network::new(address, *length) {
            buffer.clear();
            buffer.push(NETWORK);
            network.push_key(buffer);
            each(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indicator_comes_back_from_its_key() {
        let name = Name::parse("www.example.com").unwrap();
        let network = Network::new("203.0.113.0".parse().unwrap(), 24).unwrap();
        for value in [
            Value::Name(name.clone()),
            Value::Domain(name),
            Value::Address("2001:db8::1".parse().unwrap()),
            Value::Network(network),
        ] {
            for action in [Action::Watch, Action::Allow] {
                let mut key = Vec::new();
                push(&value, action, &mut key);
                assert_eq!(read(&key), Some((value.clone(), action)));
                assert_eq!(read(&key[..key.len() - 1]), None, "{value}");
            }
        }
    }

    #[test]
    fn what_meets_a_name_or_an_address_is_asked_for() {
        let mut present = Present::default();
        let asked = |present: &Present, name: &str| {
            let mut keys = Vec::new();
            let name = Name::parse(name).unwrap();
            of_name(name.key(), 0, present, |key| keys.push(read(key).unwrap().0));
            keys.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let add = |value: Value, present: &mut Present| {
            let mut key = Vec::new();
            push(&value, Action::Watch, &mut key);
            present.add(&key);
        };
        let name = |text: &str| Name::parse(text).unwrap();
        // Only what there is, of as many labels.
        assert!(asked(&present, "a.example.com").is_empty());
        add(Value::Domain(name("bad.test")), &mut present);
        assert_eq!(asked(&present, "a.example.com"), ["example.com"]);
        add(Value::Name(name("b.example.net")), &mut present);
        assert_eq!(asked(&present, "a.example.com"), ["a.example.com", "example.com"]);
        assert_eq!(asked(&present, "com"), [""; 0]);
        add(Value::Domain(name("test")), &mut present);
        add(Value::Domain(name("a.bad.test")), &mut present);
        assert_eq!(
            asked(&present, "a.example.com"),
            ["a.example.com", "com", "example.com", "a.example.com"]
        );
        // Names of very many labels are all alike.
        let deep = ["a"; 70].join(".");
        assert!(!asked(&present, &deep).contains(&deep));
        add(Value::Name(name(&["b"; 80].join("."))), &mut present);
        assert!(asked(&present, &deep).contains(&deep));
        let lengths = [(true, 24), (false, 32), (true, 16)];
        let address = "::ffff:203.0.113.7".parse().unwrap();
        let mut keys = Vec::new();
        of_address(address, &lengths, &present, |key| keys.push(read(key).unwrap().0.to_string()));
        assert_eq!(keys, ["203.0.113.0/24", "203.0.0.0/16"]);
        add(Value::Address(address), &mut present);
        keys.clear();
        of_address(address, &lengths, &present, |key| keys.push(read(key).unwrap().0.to_string()));
        assert_eq!(keys, ["203.0.113.7", "203.0.113.0/24", "203.0.0.0/16"]);
    }
}
