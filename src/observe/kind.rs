//! What an answer is by its looks: an address, something that Zeek has marked with its type, or a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::RrType;

/// What an answer is by its looks (typing 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// An address.
    Address(IpAddr),
    /// Something that Zeek has marked with its type, and is kept as Zeek wrote it.
    Typed(RrType),
    /// The text of a TXT or SPF record without a marker.
    PlainText(RrType),
    /// An RRSIG, and the type that it signs. Never kept.
    Signature(RrType),
    /// Something without record data: NSEC and its kin, and `<unknown type=N>`.
    Dropped,
    /// Anything else is a name.
    Name,
}

impl AnswerKind {
    #[inline]
    pub fn of(answer: &[u8]) -> AnswerKind {
        match answer.first() {
            Some(b'A'..=b'Z' | b'<') => AnswerKind::of_marked(answer).unwrap_or(AnswerKind::Name),
            Some(b'0'..=b'9' | b'a'..=b'f' | b':') => {
                parse_address(answer).map_or(AnswerKind::Name, AnswerKind::Address)
            }
            _ => AnswerKind::Name,
        }
    }

    /// Reads a marker. Names cannot forge one, since Zeek logs them in lower case.
    fn of_marked(answer: &[u8]) -> Option<AnswerKind> {
        let word = |word: &[u8]| answer.strip_prefix(word);
        if let Some((_, [b' ', ..])) = word(b"TXT ").and_then(number) {
            return Some(AnswerKind::Typed(RrType::TXT));
        }
        if let Some((_, [b' ', ..])) = word(b"SPF ").and_then(number) {
            return Some(AnswerKind::Typed(RrType::SPF));
        }
        if let Some((covered, [b' ', ..])) = word(b"RRSIG ").and_then(number) {
            let covered = std::str::from_utf8(covered).ok()?.parse().ok()?;
            return Some(AnswerKind::Signature(RrType(covered)));
        }
        if let Some((_, [])) = word(b"DNSKEY ").and_then(number) {
            return Some(AnswerKind::Typed(RrType::DNSKEY));
        }
        if let Some((_, [b' ', digest @ ..])) = word(b"DS ").and_then(number)
            && matches!(number(digest), Some((_, [])))
        {
            return Some(AnswerKind::Typed(RrType::DS));
        }
        if word(b"NSEC ").is_some() || matches!(answer, b"NSEC3" | b"NSEC3PARAM") {
            return Some(AnswerKind::Dropped);
        }
        if let Some((_, b">")) = word(b"<unknown type=").and_then(number) {
            return Some(AnswerKind::Dropped);
        }
        let markers = [(&b"SSHFP: "[..], RrType::SSHFP), (b"LOC: ", RrType::LOC), (b"NAPTR ", RrType::NAPTR)];
        if let Some((_, rrtype)) = markers.iter().find(|(marker, _)| answer.starts_with(marker)) {
            return Some(AnswerKind::Typed(*rrtype));
        }
        (answer == b"BIND9 signing signal").then_some(AnswerKind::Typed(RrType::BINDS))
    }

    /// Takes what looks like an address for the name that it is.
    pub fn make_name(&mut self) {
        if matches!(self, AnswerKind::Address(_)) {
            *self = AnswerKind::Name;
        }
    }
}

/// Splits off a number.
fn number(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 { None } else { text.split_at_checked(digits) }
}

/// Reads an address, strictly: nothing that a name could be mistaken for but four numbers.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    if text.len() > 45 {
        return None;
    }
    if memchr::memchr(b':', text).is_some() {
        return std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    // A name that ends in a digit is rare; one that begins with one is not.
    if !text.last()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}
