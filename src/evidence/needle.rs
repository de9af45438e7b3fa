//! Which lines cannot hold what is asked for, told from their bytes alone: most of a log need not be parsed then.
//!
//! A line that holds a name or an address says it literally, but where something in it is escaped, is not ASCII, or writes an
//! IPv4 address in the form of an IPv6 one: such lines are always parsed.

use std::net::IpAddr;

use regex::bytes::{Regex, RegexBuilder};

use crate::dns::Name;
use crate::lookup::Query;

/// Fewer bytes than this are in too many lines to be worth a search.
const LEAST: usize = 3;
/// What comes before an IPv4 address in the form of an IPv6 one.
const MAPPED: &str = "ffff:";

/// What a line has in it that holds what is asked for. No needle is in each line.
pub(super) struct Needle(Option<Regex>);

impl Needle {
    /// All lines are to be parsed.
    pub const NONE: Needle = Needle(None);

    /// The needle of a query.
    pub fn of(query: &Query) -> Needle {
        let text = match query {
            Query::Name(name)
            | Query::Subtree(name)
            | Query::Target(name)
            | Query::TargetSubtree(name)
            | Query::Either(name) => of_name(name).map(|text| regex::escape(&text)),
            Query::Addresses(first, last) => {
                of_addresses(*first, *last).map(|text| format!("{}|{MAPPED}", regex::escape(&text)))
            }
            _ => None,
        };
        let build =
            |text: String| RegexBuilder::new(&text).unicode(false).case_insensitive(true).build().ok();
        Needle(text.and_then(build))
    }

    /// Whether a line, with or without its newline, may hold it.
    pub fn may_be_in(&self, line: &[u8]) -> bool {
        let Some(regex) = &self.0 else { return true };
        // JSON escapes by a backslash, as Zeek's own format does.
        regex.is_match(line) || !line.is_ascii() || memchr::memchr(b'\\', line).is_some()
    }
}

/// The longest part of a name that is written in one way only.
fn of_name(name: &Name) -> Option<String> {
    let shown = name.to_string();
    if shown.contains(':') {
        return None; // it may be read as an address, of which there are several spellings
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    // Behind a backslash there are digits or a sign, neither of which stands so in a log.
    let pieces = shown.split('\\').enumerate().map(|(at, piece)| match at {
        0 => piece,
        _ if piece.starts_with(|c: char| c.is_ascii_digit()) => piece.get(3..).unwrap_or_default(),
        _ => piece.get(1..).unwrap_or_default(),
    });
    pieces
        .flat_map(|piece| piece.split(|c| !is_plain(c)))
        .max_by_key(|piece| piece.len())
        .filter(|piece| piece.len() >= LEAST)
        .map(str::to_owned)
}

/// What all addresses of a range begin with.
fn of_addresses(first: IpAddr, last: IpAddr) -> Option<String> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first == last => Some(first.to_string()),
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.octets(), last.octets());
            let same = first.iter().zip(&last).take_while(|(a, b)| a == b);
            let text: String = same.map(|(octet, _)| format!("{octet}.")).collect();
            (text.len() >= LEAST).then_some(text)
        }
        // The first group is never left out, but where it is 0.
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let [first, last] = [first, last].map(|address| address.segments().into_iter().next());
            let group = first.filter(|group| *group != 0 && Some(*group) == last)?;
            Some(format!("{group:x}:"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(query: &str, line: &str) -> bool {
        Needle::of(&Query::parse(query).unwrap()).may_be_in(line.as_bytes())
    }

    #[test]
    fn a_line_without_what_is_asked_for_need_not_be_parsed() {
        for (query, with, without) in [
            ("www.example.com", "1\tC1\tWWW.Example.COM\tA", "1\tC1\twww.example.net\tA"),
            ("*.example.com", "1\tC1\tmail.example.com\tA", "1\tC1\texample.org\tA"),
            ("rdata:ns1.example.net", "x\tns1.example.net,192.0.2.1", "x\tns2.example.net"),
            (r"a\.b.example.com", "x\ta.b.example.com", "x\ta.b.example.org"),
            ("192.0.2.7", "x\t192.0.2.7,192.0.2.8", "x\t192.0.2.8"),
            ("192.0.2.0/24", "x\t192.0.2.200", "x\t192.0.3.1"),
            ("192.0.2.9-192.0.3.1", "x\t192.0.3.0", "x\t192.1.3.1"),
            ("2001:db8::7", "x\t2001:0DB8:0:0::7", "x\t2002:db8::7"),
            ("2001:db8::/32", "{\"answers\":[\"2001:db8:1::\"]}", "{\"answers\":[\"2a00::1\"]}"),
        ] {
            assert!(is_in(query, with), "{query} {with}");
            assert!(!is_in(query, without), "{query} {without}");
        }
    }

    #[test]
    fn a_line_that_may_say_it_in_another_way_is_parsed() {
        for (query, line) in [
            ("www.example.com", r#"{"query":"www\u002eexample.com"}"#),
            ("www.example.com", r"1	www\x2eexample.com	A"),
            ("xn--bcher-kva.example", "1\tb\u{fc}cher.example\tA"),
            ("192.0.2.7", "x\t::ffff:c000:207"),
            ("192.0.2.7", "x\t::FFFF:c000:207"),
            ("192.0.0.0/1", "x\t199.1.2.3"),
            ("::/8", "x\t0:1::1"),
            ("~x", "whatever"),
            ("a.b", "x\tA.b"),
        ] {
            assert!(is_in(query, line), "{query} {line}");
        }
    }
}
