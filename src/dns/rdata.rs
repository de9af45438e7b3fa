//! Record data, as far as a Zeek log tells it: an address, a name, or text.
//!
//! The *key form* is one tag byte and a payload that ends itself, so that more can follow it in a key:
//!
//! | tag | payload |
//! |---|---|
//! | `0x04` | 4 bytes, an IPv4 address |
//! | `0x06` | 16 bytes, an IPv6 address (an IPv4-mapped one stays IPv6) |
//! | `0x10` | a name in key form |
//! | `0x20` | text in presentation form (printable ASCII), ended by `0x00` |

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::{Name, NameError, push_key, split_key};

const V4: u8 = 0x04;
const V6: u8 = 0x06;
const NAME: u8 = 0x10;
const TEXT: u8 = 0x20;

/// Bytes that are no record data in key form; only a damaged store holds such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not record data in key form")]
pub struct RdataError;

/// The data of one record. Its order is the order of its key form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rdata {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// A name: the target of a CNAME, NS, PTR, MX, SRV or SOA.
    Name(Name),
    /// Anything else, already in presentation form: printable ASCII, other bytes as `\DDD`.
    Text(Box<str>),
}

impl Rdata {
    /// The byte that the key form of a name starts with.
    pub const NAME_TAG: u8 = NAME;
    /// The byte that the key form of a text starts with.
    pub const TEXT_TAG: u8 = TEXT;

    /// Whether record data in key form is text.
    pub fn is_text_key(key: &[u8]) -> bool {
        key.first() == Some(&TEXT)
    }

    /// Makes text of any bytes: what is not printable ASCII becomes `\DDD`, a backslash `\\`.
    pub fn text(raw: &[u8]) -> Rdata {
        let mut text = Vec::with_capacity(raw.len());
        push_text_presentation(raw, &mut text);
        Rdata::Text(String::from_utf8(text).unwrap_or_default().into())
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Rdata::V4(address) => Some(IpAddr::V4(*address)),
            Rdata::V6(address) => Some(IpAddr::V6(*address)),
            _ => None,
        }
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Rdata::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Appends presentation form (printable ASCII), as [`Display`](fmt::Display) writes it.
    pub fn push_presentation(&self, out: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        match self {
            Rdata::V4(address) => drop(write!(out, "{address}")),
            Rdata::V6(address) => drop(write!(out, "{address}")),
            Rdata::Name(name) => name.push_presentation(out),
            Rdata::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// Appends the key form.
    pub fn push_key(&self, out: &mut Vec<u8>) {
        match self {
            Rdata::V4(address) => push_address_key(IpAddr::V4(*address), out),
            Rdata::V6(address) => push_address_key(IpAddr::V6(*address), out),
            Rdata::Name(name) => {
                out.push(NAME);
                out.extend_from_slice(name.key());
            }
            Rdata::Text(text) => push_text_key(text.as_bytes(), out),
        }
    }

    /// Takes record data in key form off the front of `key`, and gives back what follows it.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn split_key(key: &[u8]) -> Result<(Rdata, &[u8]), RdataError> {
        let (tag, rest) = key.split_first().ok_or(RdataError)?;
        match *tag {
            V4 => {
                let (bytes, rest) = rest.split_first_chunk::<4>().ok_or(RdataError)?;
                Ok((Rdata::V4(Ipv4Addr::from(*bytes)), rest))
            }
            V6 => {
                let (bytes, rest) = rest.split_first_chunk::<16>().ok_or(RdataError)?;
                Ok((Rdata::V6(Ipv6Addr::from(*bytes)), rest))
            }
            NAME => {
                let (name, rest) = split_key(rest).ok_or(RdataError)?;
                Ok((Rdata::Name(Name::from_key(name).map_err(|_| RdataError)?), rest))
            }
            TEXT => {
                let end = memchr::memchr(0, rest).ok_or(RdataError)?;
                let (text, rest) = rest.split_at_checked(end).ok_or(RdataError)?;
                let text = std::str::from_utf8(text).map_err(|_| RdataError)?;
                Ok((Rdata::Text(text.into()), rest.get(1..).ok_or(RdataError)?))
            }
            _ => Err(RdataError),
        }
    }
}

impl fmt::Display for Rdata {
    /// Writes presentation form: RFC 5952 for addresses, RFC 1035 for names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rdata::V4(address) => address.fmt(f),
            Rdata::V6(address) => address.fmt(f),
            Rdata::Name(name) => name.fmt(f),
            Rdata::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rdata({self})")
    }
}

//--- key form without a value ---------------------------------------------------------------------------------------

/// Splits record data in key form off the front of `key`, without looking into it. `None` when there is none.
pub fn split_rdata_key(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, rest) = key.split_first()?;
    let payload = match *tag {
        V4 => 4,
        V6 => 16,
        NAME => split_key(rest)?.0.len(),
        TEXT => memchr::memchr(0, rest)? + 1,
        _ => return None,
    };
    key.split_at_checked(1 + payload)
}

/// Appends the key form of an address. An address index starts its keys with the same bytes.
pub fn push_address_key(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            out.push(V4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.push(V6);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// Appends the key form of a name that is record data, from its log form.
///
/// # Errors
///
/// When the bytes are no name; `out` is then as it was.
pub fn push_name_rdata_key(raw: &[u8], out: &mut Vec<u8>) -> Result<(), NameError> {
    let start = out.len();
    out.push(NAME);
    push_key(raw, out).inspect_err(|_| out.truncate(start))
}

/// Appends the key form of text that is in presentation form already (printable ASCII only).
pub fn push_text_key(presentation: &[u8], out: &mut Vec<u8>) {
    out.push(TEXT);
    out.extend_from_slice(presentation);
    out.push(0);
}

/// Appends bytes in presentation form: printable ASCII as it is, a backslash doubled, the rest as `\DDD`.
pub fn push_text_presentation(raw: &[u8], out: &mut Vec<u8>) {
    for &byte in raw {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Rdata> {
        vec![
            Rdata::V4(Ipv4Addr::new(192, 0, 2, 7)),
            Rdata::V4(Ipv4Addr::new(192, 0, 2, 200)),
            Rdata::V6("2001:db8::1".parse().unwrap()),
            Rdata::V6("::ffff:192.0.2.1".parse().unwrap()),
            Rdata::Name(Name::parse("ns1.example.net").unwrap()),
            Rdata::Name(Name::root()),
            Rdata::text(b"\"v=spf1 -all\" \"\x00\xff\\\""),
            Rdata::text(b""),
        ]
    }

    #[test]
    fn key_form_round_trips_with_anything_behind_it() {
        for rdata in samples() {
            let mut key = Vec::new();
            rdata.push_key(&mut key);
            key.extend_from_slice(b"\x00\x07rest");
            assert_eq!(split_rdata_key(&key).unwrap().1, b"\x00\x07rest");
            assert_eq!(Rdata::split_key(&key), Ok((rdata, &b"\x00\x07rest"[..])));
        }
    }

    #[test]
    fn key_order_is_value_order() {
        let key = |rdata: &Rdata| {
            let mut key = Vec::new();
            rdata.push_key(&mut key);
            key
        };
        for a in samples() {
            for b in samples() {
                assert_eq!(a.cmp(&b), key(&a).cmp(&key(&b)), "{a} {b}");
            }
        }
    }

    #[test]
    fn text_is_printable_ascii() {
        assert_eq!(Rdata::text(b"a\tb\\\xe9").to_string(), r"a\009b\\\233");
    }

    #[test]
    fn what_is_appended_is_what_is_shown() {
        for rdata in samples() {
            let mut out = b"x".to_vec();
            rdata.push_presentation(&mut out);
            assert_eq!(out, format!("x{rdata}").into_bytes());
        }
    }

    #[test]
    fn addresses_print_as_rfc_5952_says() {
        assert_eq!(Rdata::V6("2001:DB8:0:0:1:0:0:1".parse().unwrap()).to_string(), "2001:db8::1:0:0:1");
        assert_eq!(Rdata::V6("::ffff:192.0.2.1".parse().unwrap()).to_string(), "::ffff:192.0.2.1");
    }
}
