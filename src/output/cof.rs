//! The Passive DNS Common Output Format (draft-dulaunoy-dnsop-passive-dns-cof): one JSON object a line.
//!
//! # The lines of an export
//!
//! One object for each (tuple, sensor), in the order of the ledger, its two halves as one. Of the draft: `rrname`,
//! `rrtype` (a mnemonic, or a number where there is none), `rdata` (always an array), `time_first`, `time_last`,
//! `count`, `sensor_id`. Beside it: `ttl` in seconds, and the booleans `direct` and `alias`, which say whether the row
//! was seen at the name itself, through a chain of CNAMEs, or both; of a row that is both, `halves` has the figures of each.
//! A row of the type `FOLDED` stands for names that were folded; `folded_names` is how many they were, about.
//!
//! # The lines of a query's answer
//!
//! One object for each tuple, as CIRCL's and D4's clients read it: `rrname`, `rrtype`, `rdata` (a string), `time_first`,
//! `time_last`, `count`, `origin`. The type is a number also where some of them do not know the mnemonic.
//!
//! `count` is the number of log records that held the tuple. `bailiwick` is absent, for Zeek does not log it.

use serde::Serialize;

use super::json::{Text, push_bool, push_line, push_number, push_str, push_string};
use crate::dns::RrType;
use crate::lookup::Found;
use crate::observation::{Halves, Seen};

/// Appends one line of an export, its newline included: straight, for by serde it took twice as long.
pub fn push_export_line(found: &Found<'_>, out: &mut Vec<u8>) {
    let Found { entry, seen, .. } = found;
    out.extend_from_slice(b"{\"rrname\":");
    push_string(out, |out| entry.tuple.rrname.push_presentation(out));
    out.extend_from_slice(b",\"rrtype\":");
    push_rrtype(entry.tuple.rrtype, out);
    out.extend_from_slice(b",\"rdata\":[");
    push_string(out, |out| entry.tuple.rdata.push_presentation(out));
    out.extend_from_slice(b"],\"time_first\":");
    push_number(seen.time_first, out);
    out.extend_from_slice(b",\"time_last\":");
    push_number(seen.time_last, out);
    out.extend_from_slice(b",\"count\":");
    push_number(seen.count, out);
    out.extend_from_slice(b",\"sensor_id\":");
    push_str(&entry.sensor, out);
    out.extend_from_slice(b",\"ttl\":");
    push_number(u64::from(seen.ttl), out);
    out.extend_from_slice(b",\"direct\":");
    push_bool(!entry.halves.direct.is_none(), out);
    out.extend_from_slice(b",\"alias\":");
    push_bool(!entry.halves.alias.is_none(), out);
    if let Some(names) = entry.names {
        out.extend_from_slice(b",\"folded_names\":");
        push_number(names, out);
    }
    let Halves { direct, alias } = &entry.halves;
    // Of a row that is both, and whole.
    if !direct.is_none() && !alias.is_none() && *seen == entry.halves.combined() {
        for (start, half) in [(&b",\"halves\":{\"direct\":"[..], direct), (b",\"alias\":", alias)] {
            out.extend_from_slice(start);
            push_half(half, out);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
}

/// A line of a query's answer.
#[derive(Serialize)]
struct QueryLine<'a> {
    rrname: Text<'a>,
    rrtype: Type,
    rdata: Text<'a>,
    time_first: u64,
    time_last: u64,
    count: u64,
    origin: &'a str,
}

/// Appends one line of a query's answer, its newline included. `origin` is the URL of the ledger.
pub fn push_query_line(found: &Found<'_>, origin: &str, out: &mut Vec<u8>) {
    let Found { entry, seen, .. } = found;
    let line = QueryLine {
        rrname: Text::Name(&entry.tuple.rrname),
        rrtype: match entry.tuple.rrtype {
            rrtype if is_little_known(rrtype) => Type::Number(rrtype.0),
            rrtype => rrtype.mnemonic().map_or(Type::Number(rrtype.0), Type::Name),
        },
        rdata: Text::DataOf(entry),
        time_first: seen.time_first,
        time_last: seen.time_last,
        count: seen.count,
        origin,
    };
    push_line(&line, out);
}

#[derive(Serialize)]
#[serde(untagged)]
enum Type {
    Name(&'static str),
    Number(u16),
}

/// Whether dnspython, on which pypdns stands, has no mnemonic for a type that IANA has one for: NSAP-PTR, EID, NIMLOC,
/// ATMA, SINK, RKEY, TALINK; nor has it ours for folded rows. A mnemonic that it does not know is an error there, and a number never is.
fn is_little_known(rrtype: RrType) -> bool {
    rrtype == RrType::FOLDED || matches!(rrtype.0, 23 | 31 | 32 | 34 | 40 | 57 | 58)
}

fn push_half(half: &Seen, out: &mut Vec<u8>) {
    let figures = [
        (&b"{\"count\":"[..], half.count),
        (b",\"time_first\":", half.time_first),
        (b",\"time_last\":", half.time_last),
        (b",\"ttl\":", u64::from(half.ttl)),
    ];
    for (name, figure) in figures {
        out.extend_from_slice(name);
        push_number(figure, out);
    }
    out.push(b'}');
}

/// A type as COF has it: a string where there is a mnemonic, else a number (RFC 3597).
fn push_rrtype(rrtype: RrType, out: &mut Vec<u8>) {
    match rrtype.mnemonic() {
        Some(name) => push_str(name, out),
        None => push_number(u64::from(rrtype.0), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Name, Rdata};
    use crate::observation::{Half, Tuple};
    use crate::store::Entry;

    #[test]
    fn a_line_is_one_object_with_both_halves_as_one() {
        let mut halves = Halves::once(Half::Direct, Seen::once(100, 60));
        halves.merge(&Halves::once(Half::Alias, Seen::once(200, 30)));
        let entry = Entry {
            tuple: Tuple {
                rrname: Name::from_log(b"a\\b\".example").unwrap(),
                rrtype: RrType::TXT,
                rdata: Rdata::text(b"\"x\"\n"),
            },
            sensor: "dmz".into(),
            halves,
            names: None,
        };
        let mut out = Vec::new();
        push_export_line(&Found { entry: &entry, seen: entry.halves.combined(), during: None }, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"rrname\":\"a\\\\\\\\b\\\".example\",\"rrtype\":\"TXT\",\"rdata\":[\"\\\"x\\\"\\\\010\"],\"time_first\":100,\
             \"time_last\":200,\"count\":2,\"sensor_id\":\"dmz\",\"ttl\":30,\"direct\":true,\"alias\":true,\
             \"halves\":{\"direct\":{\"count\":1,\"time_first\":100,\"time_last\":100,\"ttl\":60},\
             \"alias\":{\"count\":1,\"time_first\":200,\"time_last\":200,\"ttl\":30}}}\n"
        );
    }

    #[test]
    fn a_line_of_an_answer_has_a_string_of_data_and_an_origin() {
        let line = |rrtype: RrType| {
            let entry = Entry {
                tuple: Tuple {
                    rrname: Name::parse("www.example.com").unwrap(),
                    rrtype,
                    rdata: Rdata::text(b"\"x\""),
                },
                sensor: "dmz".into(),
                halves: Halves::once(Half::Direct, Seen::once(100, 60)),
                names: (rrtype == RrType::FOLDED).then_some(77),
            };
            let mut out = Vec::new();
            push_query_line(
                &Found { entry: &entry, seen: entry.halves.direct, during: None },
                "http://localhost/",
                &mut out,
            );
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            line(RrType::TXT),
            "{\"rrname\":\"www.example.com\",\"rrtype\":\"TXT\",\"rdata\":\"\\\"x\\\"\",\"time_first\":100,\
             \"time_last\":100,\"count\":1,\"origin\":\"http://localhost/\"}\n"
        );
        assert!(line(RrType(31)).contains("\"rrtype\":31,"));
        let folded = line(RrType::FOLDED);
        assert!(folded.contains("\"rrtype\":65535,") && folded.contains(" (about 77 names)\","), "{folded}");
        assert!(line(RrType(65280)).contains("\"rrtype\":65280,"));
    }

    #[test]
    fn a_type_without_a_mnemonic_is_a_number() {
        let shown = |rrtype: RrType| {
            let mut out = Vec::new();
            push_rrtype(rrtype, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(RrType::AAAA), "\"AAAA\"");
        assert_eq!(shown(RrType(65280)), "65280");
    }
}
