//! Wire form: the bytes that names and data are in a DNS message (RFC 1035 3 and 4.1.2), uncompressed.
//!
//! The ledger keeps what Zeek logs, and Zeek does not log everything: no preference of an MX, no port of an SRV, no
//! serial of a SOA. Such data is read from wire form by its name alone, and cannot be written in it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::Name;
use super::rdata::Rdata;
use super::rrtype::RrType;

/// The longest label, and the longest string of a TXT record, in bytes.
const MAX_LABEL: usize = 63;
const MAX_STRING: usize = 255;

/// Reads a name that is all of these bytes.
pub fn name_from_wire(wire: &[u8]) -> Option<Name> {
    split_name(wire).filter(|(_, rest)| rest.is_empty()).map(|(name, _)| name)
}

/// Reads a name off the front.
fn split_name(mut wire: &[u8]) -> Option<(Name, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (&length, rest) = wire.split_first()?;
        let length = usize::from(length);
        if length > MAX_LABEL {
            return None;
        }
        let (label, rest) = rest.split_at_checked(length)?;
        wire = rest;
        if label.is_empty() {
            return Name::from_labels(labels.into_iter()).ok().map(|name| (name, wire));
        }
        labels.push(label);
    }
}

/// What the ledger would have kept of data in wire form; several where no type says how to read it, none where Zeek logs
/// nothing that could be compared.
pub fn rdata_from_wire(wire: &[u8], rrtype: Option<RrType>) -> Vec<Rdata> {
    let is = |types: &[RrType]| rrtype.is_none_or(|rrtype| types.contains(&rrtype));
    let mut found = Vec::new();
    if let Ok(octets) = <[u8; 4]>::try_from(wire)
        && is(&[RrType::A])
    {
        found.push(Rdata::V4(Ipv4Addr::from(octets)));
    }
    if let Ok(octets) = <[u8; 16]>::try_from(wire)
        && is(&[RrType::AAAA])
    {
        found.push(Rdata::V6(Ipv6Addr::from(octets)));
    }
    if is(ALONE) {
        found.extend(name_from_wire(wire).map(Rdata::Name));
    }
    if is(&[RrType::MX]) {
        found.extend(wire.get(2..).and_then(name_from_wire).map(Rdata::Name));
    }
    if is(&[RrType::SRV]) {
        found.extend(wire.get(6..).and_then(name_from_wire).map(Rdata::Name));
    }
    if is(&[RrType::SOA]) {
        let primary = split_name(wire)
            .filter(|(_, rest)| split_name(rest).is_some_and(|(_, numbers)| numbers.len() == 20));
        found.extend(primary.map(|(name, _)| Rdata::Name(name)));
    }
    // Nearly every name would read as strings, too; and text has no index.
    if is(&[RrType::TXT, RrType::SPF]) && found.is_empty() {
        found.extend(strings(wire).map(|text| Rdata::Text(text.into())));
    }
    found
}

/// Types whose data is a name and nothing else.
const ALONE: &[RrType] = &[RrType::NS, RrType::CNAME, RrType::PTR, RrType::DNAME];

/// Appends data in wire form; `false`, and nothing is appended, where the ledger does not hold all of it.
pub fn push_wire_rdata(rrtype: RrType, rdata: &Rdata, out: &mut Vec<u8>) -> bool {
    match rdata {
        Rdata::V4(address) => out.extend_from_slice(&address.octets()),
        Rdata::V6(address) => out.extend_from_slice(&address.octets()),
        Rdata::Name(name) if ALONE.contains(&rrtype) => {
            for label in name.labels() {
                out.push(label.len() as u8); // at most 63
                out.extend_from_slice(&label);
            }
            out.push(0);
        }
        Rdata::Text(text) if matches!(rrtype, RrType::TXT | RrType::SPF) => {
            let start = out.len();
            if push_strings(text.as_bytes(), out).is_none() {
                out.truncate(start);
                return false;
            }
        }
        Rdata::Name(_) | Rdata::Text(_) => return false,
    }
    true
}

/// The strings of a TXT record as they are shown: each in quotation marks, with spaces between.
fn strings(mut wire: &[u8]) -> Option<String> {
    let mut text = String::new();
    while let Some((&length, rest)) = wire.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(length))?;
        wire = rest;
        if !text.is_empty() {
            text.push(' ');
        }
        text.push('"');
        for &byte in string {
            match byte {
                b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
                0x20..=0x7e => text.push(char::from(byte)),
                _ => text.push_str(&format!("\\{byte:03}")),
            }
        }
        text.push('"');
    }
    (!text.is_empty()).then_some(text)
}

/// Appends the strings of a TXT record from the text that shows them; nothing when that is no such text.
fn push_strings(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut bytes = text.iter().copied();
    loop {
        if bytes.next()? != b'"' {
            return None;
        }
        let start = out.len();
        out.push(0);
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => match bytes.next()? {
                    first @ b'0'..=b'9' => {
                        let mut value = u16::from(first - b'0');
                        for _ in 0..2 {
                            let digit = bytes.next().filter(u8::is_ascii_digit)?;
                            value = value * 10 + u16::from(digit - b'0');
                        }
                        out.push(u8::try_from(value).ok()?);
                    }
                    escaped => out.push(escaped),
                },
                byte => out.push(byte),
            }
        }
        let length = out.len() - start - 1;
        *out.get_mut(start)? = u8::try_from(length).ok().filter(|_| length <= MAX_STRING)?;
        match bytes.next() {
            None => return Some(()),
            Some(b' ') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn read(wire: &[u8], rrtype: Option<RrType>) -> Vec<String> {
        rdata_from_wire(wire, rrtype).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_read_whole_or_not_at_all() {
        assert_eq!(name_from_wire(b"\x03wWw\x07example\x03com\x00"), Some(name("www.example.com")));
        assert_eq!(name_from_wire(b"\x00"), Some(Name::root()));
        for bad in
            [&b""[..], b"\x03ww", b"\x03www", b"\x03www\x00x", b"\xc0\x0c", b"\x40a\x00", b"\x01\x00\x00"]
        {
            assert_eq!(name_from_wire(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn data_is_read_by_its_type_and_without_one_in_every_way_that_fits() {
        assert_eq!(read(&[192, 0, 2, 7], None), ["192.0.2.7"]);
        assert_eq!(read(&[2, b'a', b'b', 0], None), ["2.97.98.0", "ab"]);
        assert_eq!(read(&[2, b'a', b'b', 0], Some(RrType::A)), ["2.97.98.0"]);
        assert_eq!(read(&[2, b'a', b'b', 0], Some(RrType::NS)), ["ab"]);
        assert_eq!(read(&[2, b'a', b'b', 0], Some(RrType::TXT)), ["\"ab\" \"\""]);
        assert_eq!(read(b"\x00\x0a\x02mx\x00", Some(RrType::MX)), ["mx"]);
        assert_eq!(read(b"\x00\x0a\x00\x01\x00\x50\x02mx\x00", Some(RrType::SRV)), ["mx"]);
        let soa = [&b"\x02ns\x00\x05admin\x00"[..], &[0; 20]].concat();
        assert_eq!(read(&soa, Some(RrType::SOA)), ["ns"]);
        assert_eq!(read(&soa[..soa.len() - 1], Some(RrType::SOA)), [""; 0]);
        assert_eq!(read(b"\x03a\"\xff\x01b", Some(RrType::TXT)), ["\"a\\\"\\255\" \"b\""]);
        assert_eq!(read(b"\x03abc", Some(RrType::SSHFP)), [""; 0]);
        assert_eq!(read(b"", None), [""; 0]);
        assert_eq!(read(&[9; 16], None), ["909:909:909:909:909:909:909:909"]);
    }

    #[test]
    fn what_is_not_kept_whole_is_not_written() {
        let mut out = b"x".to_vec();
        assert!(!push_wire_rdata(RrType::MX, &Rdata::Name(name("mx.example")), &mut out));
        assert!(!push_wire_rdata(RrType::SSHFP, &Rdata::text(b"12ab"), &mut out));
        assert!(!push_wire_rdata(RrType::TXT, &Rdata::text(b"no quotes"), &mut out));
        let long = Rdata::Text(format!("\"{}\"", "a".repeat(256)).into());
        assert!(!push_wire_rdata(RrType::TXT, &long, &mut out));
        assert_eq!(out, b"x");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..4)) {
            let mut wire = Vec::new();
            for string in &strings {
                wire.push(string.len() as u8);
                wire.extend_from_slice(string);
            }
            let [text] = &rdata_from_wire(&wire, Some(RrType::TXT))[..] else { panic!("{wire:?}") };
            let mut again = Vec::new();
            prop_assert!(push_wire_rdata(RrType::TXT, text, &mut again));
            prop_assert_eq!(again, wire);
        }

        #[test]
        fn names_come_back(labels in proptest::collection::vec("[a-z0-9_.\\\\-]{1,9}", 0..5)) {
            let name = Name::from_labels(labels.iter().map(|label| label.as_bytes())).unwrap();
            let mut wire = Vec::new();
            prop_assert!(push_wire_rdata(RrType::CNAME, &Rdata::Name(name.clone()), &mut wire));
            prop_assert_eq!(name_from_wire(&wire), Some(name));
        }

        #[test]
        fn no_bytes_make_it_panic(wire: Vec<u8>, rrtype: u16) {
            let _ = rdata_from_wire(&wire, None);
            let _ = rdata_from_wire(&wire, Some(RrType(rrtype)));
        }
    }
}
