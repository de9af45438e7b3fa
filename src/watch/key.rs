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

/// Hands out the keys of all indicators that would meet a name in key form.
pub(super) fn of_name(name: &[u8], buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
    buffer.clear();
    buffer.push(NAME);
    buffer.extend_from_slice(name);
    each(buffer);
    let labels = name.split_last().map_or(&[][..], |(_, labels)| labels);
    for end in memchr::memchr_iter(0, labels) {
        buffer.clear();
        buffer.push(DOMAIN);
        buffer.extend_from_slice(labels.get(..=end).unwrap_or_default());
        buffer.push(0);
        each(buffer);
    }
}

/// Likewise of an address, for networks of these lengths, of IPv4 (`true`) and IPv6.
pub(super) fn of_address(
    address: IpAddr,
    lengths: &[(bool, u8)],
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]),
) {
    let address = address.to_canonical();
    buffer.clear();
    buffer.push(ADDRESS);
    push_address_key(address, buffer);
    each(buffer);
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
        let mut keys = Vec::new();
        let name = Name::parse("a.example.com").unwrap();
        of_name(name.key(), &mut Vec::new(), |key| keys.push(read(key).unwrap().0.to_string()));
        assert_eq!(keys, ["a.example.com", "com", "example.com", "a.example.com"]);
        keys.clear();
        let lengths = [(true, 24), (false, 32), (true, 16)];
        let address = "::ffff:203.0.113.7".parse().unwrap();
        of_address(address, &lengths, &mut Vec::new(), |key| keys.push(read(key).unwrap().0.to_string()));
        assert_eq!(keys, ["203.0.113.7", "203.0.113.0/24", "203.0.0.0/16"]);
    }
}
