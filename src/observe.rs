//! What a log record proves: which rows it is a sighting of, and what was asked.
//!
//! Zeek's `answers` is a flat list without owners and types. This module decides which (rrname, rrtype, rdata) each
//! answer stands for, from the type that was asked, from how the answer looks, and from its place in the list. What it
//! cannot decide it leaves out, with a reason. It never guesses a type, and it never fails.
//!
//! The rules, their evidence and where they fail are in `docs/dev/typing.md`; sections are cited below as (typing 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::base::keyed;
use crate::dns::{
    NameError, RrType, push_address_key, push_name_key, push_name_rdata_key, push_text_key,
    push_text_presentation,
};
use crate::observation::{DEFAULT_MAX_TUPLES, Half, Observations, Outcome};
use crate::tally::{Fate, Skip};
use crate::zeek::LogRecord;

/// The class Internet (RFC 1035 3.2.4).
const CLASS_IN: u16 = 1;
/// The opcode of an ordinary query (RFC 1035 4.1.1).
const OPCODE_QUERY: u16 = 0;
/// The longest chain that is followed; Zeek logs at most 100 answers since 8.1.
const MAX_CHAIN: usize = 100;
/// Above this a time to live means 0 (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;
/// 2000-01-01: Zeek logged no DNS before.
const YEAR_2000: u64 = 946_684_800;
/// Zeek's microseconds in a second.
const MICROS: u64 = 1_000_000;

//--- Options --------------------------------------------------------------------------------------------------------

/// What is kept of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Responder ports whose records are skipped: NetBIOS, mDNS and LLMNR unless told otherwise.
    pub skip_ports: Vec<u16>,
    /// Whether an address that was reached through a chain is also recorded at the name that was asked.
    pub aliases: bool,
    /// Tuples that are kept of one record; answers beyond are counted as cut.
    pub max_tuples: usize,
    /// Records older than this are skipped, epoch seconds; 0 skips none.
    pub expired_before: u64,
    /// Records before this have a wrong time and are skipped, epoch seconds; 0 skips none.
    pub not_before: u64,
    /// Records further ahead of the clock than this have a wrong time and are skipped; without a bound none is.
    pub max_ahead: Option<Duration>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            skip_ports: vec![137, 5353, 5355],
            aliases: true,
            max_tuples: DEFAULT_MAX_TUPLES,
            expired_before: 0,
            not_before: YEAR_2000,
            max_ahead: Some(Duration::from_secs(86_400)),
        }
    }
}

//--- Observer -------------------------------------------------------------------------------------------------------

/// Turns log records into observations. It keeps nothing from one record to the next but its buffers.
#[derive(Debug, Clone)]
pub struct Observer {
    options: Options,
    /// Records after this are of the future, epoch seconds.
    not_after: u64,
    /// The owners met, in key form: the name that was asked, then the chain from it.
    chain: Chain,
    /// What each answer is, in the order of the record.
    kinds: Vec<Kind>,
    /// The record data at hand, in key form.
    rdata: Vec<u8>,
    /// The text at hand, in presentation form.
    text: Vec<u8>,
}

impl Observer {
    /// An observer with its own buffers.
    pub fn new(options: &Options) -> Observer {
        Observer {
            options: options.clone(),
            not_after: u64::MAX,
            chain: Chain::default(),
            kinds: Vec::new(),
            rdata: Vec::new(),
            text: Vec::new(),
        }
    }

    /// From now on, records before this time are skipped, epoch seconds.
    pub fn set_expired_before(&mut self, time: u64) {
        self.options.expired_before = time;
    }

    /// From now on, records after this time are skipped as ones of the future, epoch seconds.
    pub fn set_not_after(&mut self, time: u64) {
        self.not_after = time;
    }

    /// Empties `out` and fills it with what a record proves.
    ///
    /// A record that was skipped leaves `out` empty, except that one without answers leaves its question.
    pub fn observe(&mut self, record: &LogRecord, out: &mut Observations) -> Fate {
        let time = record.ts_micros() / MICROS;
        out.reset(time);
        if let Err(reason) = self.accept(record, time) {
            return Fate::Skipped(reason);
        }
        self.kinds.clear();
        self.kinds.extend(record.answers().map(|(answer, _)| Kind::of(answer)));
        if self.kinds.is_empty() {
            self.ask(record, out);
            return Fate::Skipped(Skip::NoAnswer);
        }
        self.answer(record, out);
        if out.is_empty() {
            return Fate::Skipped(Skip::UnusableAnswers);
        }
        self.ask(record, out);
        Fate::Counted
    }

    /// Decides whether a record can prove anything (typing 2.1), and begins the chain with the name that was asked.
    fn accept(&mut self, record: &LogRecord, time: u64) -> Result<(), Skip> {
        let qtype = qtype_of(record);
        if record.resp_p().is_some_and(|port| self.options.skip_ports.contains(&port))
            || record.resp_h().is_some_and(is_multicast)
        {
            return Err(Skip::Port);
        }
        if record.qclass().is_some_and(|class| class != CLASS_IN) {
            return Err(Skip::Class);
        }
        let query = match record.opcode() {
            Some(opcode) => opcode == OPCODE_QUERY,
            None => {
                !(matches!(qtype, None | Some(RrType::SOA)) && record.answers().any(|(a, _)| is_update(a)))
            }
        };
        if !query {
            return Err(Skip::Opcode);
        }
        if matches!(qtype, Some(RrType::AXFR | RrType::IXFR)) {
            return Err(Skip::Transfer);
        }
        let query = record.query().ok_or(Skip::NoQuery)?;
        self.chain.begin(query).map_err(|_| Skip::BadName)?;
        if time < self.options.not_before || time > self.not_after {
            return Err(Skip::TimeRange);
        }
        if time < self.options.expired_before {
            return Err(Skip::Expired);
        }
        Ok(())
    }

    /// Counts the question (typing 2.7). A reply of which Zeek saw no query asked for nothing that is known.
    fn ask(&self, record: &LogRecord, out: &mut Observations) {
        if let Some(qtype) = qtype_of(record) {
            out.ask(self.chain.first(), qtype, outcome(record, qtype));
        }
    }

    /// Gives each answer its owner and type, by the type that was asked (typing 2.3 to 2.6).
    fn answer(&mut self, record: &LogRecord, out: &mut Observations) {
        match qtype_of(record) {
            Some(qtype @ (RrType::NS | RrType::MX | RrType::SRV | RrType::SOA | RrType::PTR)) => {
                self.names(record, qtype, out);
            }
            Some(RrType::ANY) => self.rrset(record, RrType::ANY, out),
            Some(RrType::CNAME) => {
                self.kinds.iter_mut().for_each(Kind::make_name);
                self.follow(record, out);
            }
            Some(qtype @ (RrType::TXT | RrType::SPF)) => {
                self.mark_plain_texts(record, qtype);
                self.follow(record, out);
                self.rrset(record, qtype, out);
            }
            Some(qtype) => {
                self.follow(record, out);
                self.rrset(record, qtype, out);
            }
            None if is_one_answer(&self.kinds) => {
                self.follow(record, out);
                self.rrset(record, RrType::A, out);
            }
            None => {}
        }
    }

    /// Follows the names among the answers as one chain of CNAMEs (typing 2.3).
    fn follow(&mut self, record: &LogRecord, out: &mut Observations) {
        let Observer { chain, kinds, rdata, .. } = self;
        for ((answer, ttl), kind) in record.answers().zip(kinds.iter()) {
            if *kind == Kind::Name && !chain.link(answer, ttl, rdata, out) {
                return;
            }
        }
    }

    /// Records what is not a name at the end of the chain: addresses and what carries its own type (typing 2.3, 2.4).
    /// An address is also recorded at the name that was asked, if a chain led away from it.
    fn rrset(&mut self, record: &LogRecord, qtype: RrType, out: &mut Observations) {
        let Observer { chain, rdata, text, .. } = self;
        let alias = self.options.aliases && chain.has_moved();
        for ((answer, ttl), kind) in record.answers().zip(&self.kinds) {
            let ttl = bounded(ttl);
            rdata.clear();
            match *kind {
                Kind::Address(address) => {
                    let rrtype = match address {
                        IpAddr::V4(_) => RrType::A,
                        IpAddr::V6(_) if qtype == RrType::A6 => RrType::A6,
                        IpAddr::V6(_) => RrType::AAAA,
                    };
                    push_address_key(address, rdata);
                    let direct =
                        chain.last().is_none_or(|owner| out.push(owner, rrtype, rdata, Half::Direct, ttl));
                    let alias = !alias || out.push(chain.first(), rrtype, rdata, Half::Alias, ttl);
                    if !(direct && alias) {
                        out.cut_answer();
                    }
                }
                Kind::Typed(rrtype) | Kind::PlainText(rrtype) => {
                    let Some(owner) = chain.last() else { continue };
                    text.clear();
                    match (rrtype, *kind) {
                        (_, Kind::PlainText(_)) => push_quoted(answer, text),
                        (RrType::TXT, _) => push_strings(answer, b"TXT ", text),
                        (RrType::SPF, _) => push_strings(answer, b"SPF ", text),
                        _ => push_text_presentation(answer, text),
                    }
                    push_text_key(text, rdata);
                    if !out.push(owner, rrtype, rdata, Half::Direct, ttl) {
                        out.cut_answer();
                    }
                }
                Kind::Name | Kind::Signature(_) | Kind::Dropped => {}
            }
        }
    }

    /// Records names as the type that was asked (typing 2.5), and what carries its own type beside them. An answer
    /// that looks like an address is a name here: the answer section holds no addresses for these types.
    fn names(&mut self, record: &LogRecord, qtype: RrType, out: &mut Observations) {
        self.kinds.iter_mut().for_each(Kind::make_name);
        for (at, (answer, ttl)) in record.answers().enumerate() {
            if self.kinds.get(at) != Some(&Kind::Name) {
                continue;
            }
            let behind = self.kinds.get(at + 1..).unwrap_or_default();
            let is_cname = behind.first() == Some(&Kind::Signature(RrType::CNAME))
                || qtype == RrType::PTR && is_reverse(answer) && behind.contains(&Kind::Name);
            if is_cname {
                if !self.chain.link(answer, ttl, &mut self.rdata, out) {
                    break;
                }
                continue;
            }
            self.rdata.clear();
            if let Some(owner) = self.chain.last()
                && push_name_rdata_key(answer, &mut self.rdata).is_ok()
                && !out.push(owner, qtype, &self.rdata, Half::Direct, bounded(ttl))
            {
                out.cut_answer();
            }
        }
        self.rrset(record, qtype, out);
    }

    /// Finds texts without a marker, as Bro up to 2.2 logged them (typing 2.4). Zeek's names are in lower case, and a
    /// text is hardly ever made of the characters of a host name alone.
    fn mark_plain_texts(&mut self, record: &LogRecord, qtype: RrType) {
        let plain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.') || !b.is_ascii();
        for ((answer, _), kind) in record.answers().zip(&mut self.kinds) {
            if *kind == Kind::Name && !answer.iter().all(plain) {
                *kind = Kind::PlainText(qtype);
            }
        }
    }
}

/// How a question ended (typing 2.7).
/// The type that was asked for. The one by which the ledger tells folded rows is reserved in the DNS: it counts as unset, so that
/// nobody can ask for a row that looks like one.
fn qtype_of(record: &LogRecord) -> Option<RrType> {
    record.qtype().map(RrType).filter(|qtype| *qtype != RrType::FOLDED)
}

fn outcome(record: &LogRecord, qtype: RrType) -> Outcome {
    let answered = record.answers().next().is_some();
    match record.rcode() {
        Some(0) | None if answered => Outcome::Answered,
        Some(0) if is_not_logged(qtype) => Outcome::NotLogged,
        Some(0) => Outcome::NoData,
        Some(2) => Outcome::ServFail,
        Some(3) => Outcome::NxDomain,
        Some(5) => Outcome::Refused,
        Some(_) => Outcome::Other,
        None => Outcome::NoResponse,
    }
}

/// Whether Zeek logs no answers of a type, so that their absence says nothing: there is an event for it and no script
/// that logs it (`scripts/base/protocols/dns/main.zeek`). ANY is often answered with nothing but HINFO (RFC 8482).
fn is_not_logged(qtype: RrType) -> bool {
    matches!(
        qtype,
        RrType::HTTPS
            | RrType::SVCB
            | RrType::CAA
            | RrType::HINFO
            | RrType::WKS
            | RrType::NB
            | RrType::TKEY
            | RrType::TSIG
            | RrType::OPT
            | RrType::ANY
    )
}

/// RFC 2181 section 8.
fn bounded(ttl: u32) -> u32 {
    if ttl > MAX_TTL { 0 } else { ttl }
}

/// Whether a responder is a multicast address.
fn is_multicast(address: &[u8]) -> bool {
    matches!(address, [b'2', b'2' | b'3', ..] | [b'f' | b'F', b'f' | b'F', ..])
        && parse_address(address).is_some_and(|address| address.is_multicast())
}

/// Whether an answer is an operation of a dynamic update (RFC 2136), as Zeek logs it since 8.1.
fn is_update(answer: &[u8]) -> bool {
    [&b"pre: "[..], b"add: ", b"del: "].iter().any(|operation| answer.starts_with(operation))
}

/// Whether a name is in one of the trees of addresses.
fn is_reverse(name: &[u8]) -> bool {
    let ends = |suffix: &[u8]| {
        name.len()
            .checked_sub(suffix.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    ends(b".in-addr.arpa") || ends(b".ip6.arpa")
}

/// Whether the answers of a reply without a question can only be one chain and the RRset at its end (typing 2.6):
/// names first, then addresses of one kind or answers of one type.
fn is_one_answer(kinds: &[Kind]) -> bool {
    let mut end: Option<Kind> = None;
    for kind in kinds {
        let same = match (*kind, end) {
            (Kind::Signature(_), _) => true,
            (Kind::Name, end) => end.is_none(),
            (Kind::Dropped, _) => false,
            (_, None) => {
                end = Some(*kind);
                true
            }
            (Kind::Address(a), Some(Kind::Address(b))) => a.is_ipv4() == b.is_ipv4(),
            (kind, Some(end)) => kind == end,
        };
        if !same {
            return false;
        }
    }
    end.is_some()
}

//--- Kind -----------------------------------------------------------------------------------------------------------

/// What an answer is by its looks (typing 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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

impl Kind {
    #[inline]
    fn of(answer: &[u8]) -> Kind {
        match answer.first() {
            Some(b'A'..=b'Z' | b'<') => Kind::of_marked(answer).unwrap_or(Kind::Name),
            Some(b'0'..=b'9' | b'a'..=b'f' | b':') => parse_address(answer).map_or(Kind::Name, Kind::Address),
            _ => Kind::Name,
        }
    }

    /// Reads a marker. Names cannot forge one, since Zeek logs them in lower case.
    fn of_marked(answer: &[u8]) -> Option<Kind> {
        let word = |word: &[u8]| answer.strip_prefix(word);
        if let Some((_, [b' ', ..])) = word(b"TXT ").and_then(number) {
            return Some(Kind::Typed(RrType::TXT));
        }
        if let Some((_, [b' ', ..])) = word(b"SPF ").and_then(number) {
            return Some(Kind::Typed(RrType::SPF));
        }
        if let Some((covered, [b' ', ..])) = word(b"RRSIG ").and_then(number) {
            let covered = std::str::from_utf8(covered).ok()?.parse().ok()?;
            return Some(Kind::Signature(RrType(covered)));
        }
        if let Some((_, [])) = word(b"DNSKEY ").and_then(number) {
            return Some(Kind::Typed(RrType::DNSKEY));
        }
        if let Some((_, [b' ', digest @ ..])) = word(b"DS ").and_then(number)
            && matches!(number(digest), Some((_, [])))
        {
            return Some(Kind::Typed(RrType::DS));
        }
        if word(b"NSEC ").is_some() || matches!(answer, b"NSEC3" | b"NSEC3PARAM") {
            return Some(Kind::Dropped);
        }
        if let Some((_, b">")) = word(b"<unknown type=").and_then(number) {
            return Some(Kind::Dropped);
        }
        let markers = [(&b"SSHFP: "[..], RrType::SSHFP), (b"LOC: ", RrType::LOC), (b"NAPTR ", RrType::NAPTR)];
        if let Some((_, rrtype)) = markers.iter().find(|(marker, _)| answer.starts_with(marker)) {
            return Some(Kind::Typed(*rrtype));
        }
        (answer == b"BIND9 signing signal").then_some(Kind::Typed(RrType::BINDS))
    }

    /// Takes what looks like an address for the name that it is.
    fn make_name(&mut self) {
        if matches!(self, Kind::Address(_)) {
            *self = Kind::Name;
        }
    }
}

/// Splits off a number.
fn number(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 { None } else { text.split_at_checked(digits) }
}

/// Reads an address, strictly: nothing that a name could be mistaken for but four numbers.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
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

//--- texts ----------------------------------------------------------------------------------------------------------

/// Appends the strings of a TXT or SPF record, each quoted, separated by spaces (typing 2.4).
///
/// Zeek writes each as its marker, its length in bytes, and itself, joined by spaces; a string may hold anything, even
/// a marker, so only the lengths divide them. Where they do not fit (Zeek cuts texts at 4096 bytes since 8.1), all that
/// follows the first length is one string.
fn push_strings(answer: &[u8], marker: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = answer;
    while let Some((Some(length), text)) = string_head(rest, marker)
        && let Some((string, after)) = text.split_at_checked(length)
    {
        push_quoted(string, out);
        match after {
            [] => return,
            [b' ', after @ ..] => rest = after,
            _ => break,
        }
        out.push(b' ');
    }
    out.truncate(start);
    push_quoted(string_head(answer, marker).map_or(answer, |(_, text)| text), out);
}

/// Splits off a marker and a length; `None` for a length that no text can have.
fn string_head<'a>(text: &'a [u8], marker: &[u8]) -> Option<(Option<usize>, &'a [u8])> {
    let text = text.strip_prefix(marker)?;
    let space = memchr::memchr(b' ', text)?;
    let length = std::str::from_utf8(text.get(..space)?).ok()?.parse().ok();
    Some((length, text.get(space + 1..)?))
}

/// Appends a string in quotes; quotes, backslashes and what is not printable ASCII are escaped (RFC 1035 5.1).
fn push_quoted(string: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for part in string.split_inclusive(|&b| b == b'"') {
        match part.strip_suffix(b"\"") {
            Some(part) => {
                push_text_presentation(part, out);
                out.extend_from_slice(b"\\\"");
            }
            None => push_text_presentation(part, out),
        }
    }
    out.push(b'"');
}

//--- Chain ----------------------------------------------------------------------------------------------------------

/// The owners of a record in key form: the name that was asked, and where it leads.
#[derive(Debug, Clone, Default)]
struct Chain {
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
    /// The hash of each key: an answer may name the same few names thousands of times.
    hashes: Vec<u64>,
    /// Where the last key begins; `None` when it is not known where the chain leads.
    end: Option<usize>,
}

impl Chain {
    fn begin(&mut self, query: &[u8]) -> Result<(), NameError> {
        self.keys.clear();
        self.ends.clear();
        self.hashes.clear();
        self.end = Some(0);
        push_name_key(query, &mut self.keys)?;
        self.ends.push(self.keys.len());
        self.hashes.push(keyed::hash(&self.keys));
        Ok(())
    }

    /// Records that the last name leads to another one; says whether the end is known still.
    ///
    /// A name that is already in the chain adds nothing. Behind one that is no valid name the end is unknown.
    fn link(&mut self, target: &[u8], ttl: u32, rdata: &mut Vec<u8>, out: &mut Observations) -> bool {
        rdata.clear();
        if self.ends.len() > MAX_CHAIN || push_name_rdata_key(target, rdata).is_err() {
            self.end = None;
            return false;
        }
        // Record data that is a name is one byte and then the name's own key form.
        let name = rdata.get(1..).unwrap_or_default();
        let hash = keyed::hash(name);
        if !self.contains(name, hash) {
            if let Some(owner) = self.last()
                && !out.push(owner, RrType::CNAME, rdata, Half::Direct, bounded(ttl))
            {
                out.cut_answer();
            }
            self.push(name, hash);
        }
        true
    }

    fn push(&mut self, name: &[u8], hash: u64) {
        self.end = Some(self.keys.len());
        self.keys.extend_from_slice(name);
        self.ends.push(self.keys.len());
        self.hashes.push(hash);
    }

    /// The name that was asked.
    fn first(&self) -> &[u8] {
        self.ends.first().and_then(|&end| self.keys.get(..end)).unwrap_or_default()
    }

    /// The name at the end, if it is known.
    fn last(&self) -> Option<&[u8]> {
        self.keys.get(self.end?..)
    }

    /// Whether the end is another name than the one that was asked, or unknown.
    fn has_moved(&self) -> bool {
        self.end != Some(0)
    }

    fn contains(&self, name: &[u8], hash: u64) -> bool {
        let key = |at: usize| {
            let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            self.keys.get(start..*self.ends.get(at)?)
        };
        let mut known = self.hashes.iter().enumerate().filter(|(_, known)| **known == hash);
        known.any(|(at, _)| key(at) == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{SensorId, Tuple, question_from_row_key};
    use crate::zeek::{self, Line, Reader};

    /// A record of a log, as TSV; every column can be left out.
    #[derive(Clone, Copy)]
    struct Log<'a> {
        ts: &'a str,
        resp_h: &'a str,
        resp_p: &'a str,
        query: &'a str,
        qclass: &'a str,
        qtype: &'a str,
        rcode: &'a str,
        opcode: &'a str,
        answers: &'a str,
        ttls: &'a str,
    }

    const LOG: Log = Log {
        ts: "1700000000.9",
        resp_h: "192.0.2.53",
        resp_p: "53",
        query: "www.example.com",
        qclass: "1",
        qtype: "1",
        rcode: "0",
        opcode: "-",
        answers: "192.0.2.1",
        ttls: "-",
    };

    impl Log<'_> {
        fn record(&self) -> LogRecord {
            let mut reader = Reader::new(&zeek::Options::default());
            let mut record = LogRecord::default();
            reader.read(
                b"#fields\tts\tid.resp_h\tid.resp_p\tquery\tqclass\tqtype\trcode\topcode\tanswers\tTTLs",
                &mut record,
            );
            let Log { ts, resp_h, resp_p, query, qclass, qtype, rcode, opcode, answers, ttls } = self;
            let line = format!(
                "{ts}\t{resp_h}\t{resp_p}\t{query}\t{qclass}\t{qtype}\t{rcode}\t{opcode}\t{answers}\t{ttls}"
            );
            assert_eq!(reader.read(line.as_bytes(), &mut record), Line::Record, "{line}");
            record
        }

        /// The fate, and the observations as text: rrname, rrtype, rdata, whether an alias.
        fn observe(&self) -> (Fate, Vec<String>) {
            self.observe_with(&Options::default())
        }

        fn observe_with(&self, options: &Options) -> (Fate, Vec<String>) {
            self.observe_by(&mut Observer::new(options))
        }

        fn observe_by(&self, observer: &mut Observer) -> (Fate, Vec<String>) {
            let mut out = Observations::new(SensorId(3));
            let fate = observer.observe(&self.record(), &mut out);
            assert_eq!(out.time().to_string(), self.ts.split('.').next().unwrap());
            assert_eq!(fate == Fate::Counted, !out.is_empty());
            if !matches!(fate, Fate::Counted | Fate::Skipped(Skip::NoAnswer)) {
                assert!(out.question().is_none());
            }
            (fate, rows(&out))
        }

        fn rows(&self) -> Vec<String> {
            let (fate, rows) = self.observe();
            assert_eq!(fate, Fate::Counted, "{}", self.answers);
            rows
        }

        fn question(&self) -> Option<Outcome> {
            let mut out = Observations::new(SensorId(3));
            Observer::new(&Options::default()).observe(&self.record(), &mut out);
            out.question().map(|(key, outcome)| {
                let (rrname, _, sensor) = question_from_row_key(key).unwrap();
                assert_eq!((rrname.to_string().as_str(), sensor), ("www.example.com", SensorId(3)));
                outcome
            })
        }
    }

    fn rows(out: &Observations) -> Vec<String> {
        out.iter()
            .map(|seen| {
                let (tuple, _) = Tuple::from_row_key(seen.row_key).unwrap();
                let alias = if seen.half == Half::Alias { " alias" } else { "" };
                format!("{} {} {}{alias}", tuple.rrname, tuple.rrtype, tuple.rdata)
            })
            .collect()
    }

    fn skipped(log: Log) -> Skip {
        match log.observe().0 {
            Fate::Skipped(reason) => reason,
            fate => panic!("{fate:?}"),
        }
    }

    //--- accepting (typing 2.1) ---

    #[test]
    fn netbios_mdns_and_llmnr_are_skipped_by_port() {
        for resp_p in ["137", "5353", "5355"] {
            assert_eq!(skipped(Log { resp_p, ..LOG }), Skip::Port);
        }
        let options = Options { skip_ports: vec![53], ..Options::default() };
        assert_eq!(LOG.observe_with(&options).0, Fate::Skipped(Skip::Port));
        assert_eq!(Log { resp_p: "5353", ..LOG }.observe_with(&options).0, Fate::Counted);
    }

    #[test]
    fn a_multicast_responder_is_skipped_whatever_its_port() {
        for resp_h in ["224.0.0.251", "239.255.255.250", "ff02::fb", "FF02::FB"] {
            assert_eq!(skipped(Log { resp_h, ..LOG }), Skip::Port, "{resp_h}");
        }
        for resp_h in ["22.0.0.1", "223.0.0.1", "240.0.0.1", "2001:db8::ff", "fe80::1", "-"] {
            assert_eq!(Log { resp_h, ..LOG }.observe().0, Fate::Counted, "{resp_h}");
        }
    }

    #[test]
    fn classes_other_than_in_are_skipped() {
        for qclass in ["3", "255", "32769"] {
            assert_eq!(skipped(Log { qclass, ..LOG }), Skip::Class);
        }
        assert_eq!(Log { qclass: "-", ..LOG }.observe().0, Fate::Counted);
    }

    #[test]
    fn opcodes_other_than_query_are_skipped() {
        for opcode in ["4", "5"] {
            assert_eq!(skipped(Log { opcode, ..LOG }), Skip::Opcode);
        }
        assert_eq!(Log { opcode: "0", ..LOG }.observe().0, Fate::Counted);
    }

    #[test]
    fn dynamic_updates_are_known_by_their_answers_where_the_opcode_is_not_logged() {
        let answers = "pre: NoRRSet CNAME a.example,del: RRSet A,add: A a.example 192.0.2.1";
        for (qtype, opcode, reason) in
            [("-", "-", Skip::Opcode), ("6", "-", Skip::Opcode), ("-", "5", Skip::Opcode)]
        {
            assert_eq!(skipped(Log { qtype, opcode, answers, ..LOG }), reason);
        }
        for answers in ["add: x", "del: x", "192.0.2.1,pre: x"] {
            assert_eq!(skipped(Log { qtype: "-", answers, ..LOG }), Skip::Opcode);
        }
        let text = Log { qtype: "16", answers: "TXT 6 add: x", ..LOG };
        assert_eq!(text.rows(), [r#"www.example.com TXT "add: x""#]);
    }

    #[test]
    fn zone_transfers_are_skipped() {
        for qtype in ["251", "252"] {
            assert_eq!(skipped(Log { qtype, ..LOG }), Skip::Transfer);
        }
    }

    #[test]
    fn a_record_without_a_valid_name_is_skipped() {
        assert_eq!(skipped(Log { query: "-", ..LOG }), Skip::NoQuery);
        let label = "a".repeat(64);
        for query in [label.as_str(), "a..b", r"a\x00b", &"a.".repeat(128)] {
            assert_eq!(skipped(Log { query, ..LOG }), Skip::BadName, "{query}");
        }
        let root = Log { query: "(empty)", qtype: "2", answers: "a.root-servers.net", ..LOG };
        assert_eq!(root.rows(), [". NS a.root-servers.net"]);
    }

    #[test]
    fn records_of_1970_and_of_the_future_are_out_of_range() {
        let at = |ts: &'static str, not_after: u64| {
            let log = Log { ts, ..LOG };
            let mut observer = Observer::new(&Options::default());
            observer.set_not_after(not_after);
            log.observe_by(&mut observer).0
        };
        let bound = 1_795_086_400;
        for ts in ["0.000000", "1000.000000", "946684799.999999", "1795086401.000000", "4039374839.932000"] {
            assert_eq!(at(ts, bound), Fate::Skipped(Skip::TimeRange), "{ts}");
        }
        for ts in ["946684800.000000", "1795086400.999999"] {
            assert_eq!(at(ts, bound), Fate::Counted, "{ts}");
        }
        // It is tried before whether the record is expired or has answers: no question is counted of it.
        let log = Log { ts: "4039374839.932000", answers: "-", ..LOG };
        let options = Options { expired_before: u64::MAX, ..Options::default() };
        let mut observer = Observer::new(&options);
        observer.set_not_after(bound);
        assert_eq!(log.observe_by(&mut observer).0, Fate::Skipped(Skip::TimeRange));
    }

    #[test]
    fn records_older_than_the_cut_are_expired() {
        let options = |expired_before| Options { expired_before, ..Options::default() };
        assert_eq!(LOG.observe_with(&options(1_700_000_001)).0, Fate::Skipped(Skip::Expired));
        assert_eq!(LOG.observe_with(&options(1_700_000_000)).0, Fate::Counted);
    }

    #[test]
    fn the_first_reason_that_fits_is_given() {
        let mut log =
            Log { resp_p: "137", qclass: "3", opcode: "5", qtype: "252", query: "-", answers: "-", ..LOG };
        let cut = Options { expired_before: 1_800_000_000, ..Options::default() };
        let reason = |log: &Log, options: &Options| log.observe_with(options).0;
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::Port));
        log.resp_p = "53";
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::Class));
        log.qclass = "1";
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::Opcode));
        log.opcode = "0";
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::Transfer));
        log.qtype = "1";
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::NoQuery));
        log.query = "a..b";
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::BadName));
        log.query = "a.b";
        assert_eq!(reason(&log, &cut), Fate::Skipped(Skip::Expired));
        assert_eq!(reason(&log, &Options::default()), Fate::Skipped(Skip::NoAnswer));
        log.answers = "RRSIG 1 b";
        assert_eq!(reason(&log, &Options::default()), Fate::Skipped(Skip::UnusableAnswers));
    }

    //--- looks (typing 2.2) ---

    #[test]
    fn answers_are_told_apart_by_their_looks() {
        let v4 = |text: &str| Kind::Address(text.parse().unwrap());
        for (answer, kind) in [
            ("192.0.2.1", v4("192.0.2.1")),
            ("2001:db8::1", v4("2001:db8::1")),
            ("::ffff:192.0.2.1", v4("::ffff:192.0.2.1")),
            ("::1", v4("::1")),
            ("192.0.2.256", Kind::Name),
            ("192.0.2.01", Kind::Name),
            ("192.0.2", Kind::Name),
            ("1.2.3.4.in-addr.arpa", Kind::Name),
            ("fe80::1%eth0", Kind::Name),
            ("a:b", Kind::Name),
            ("", Kind::Name),
            ("example.com", Kind::Name),
            ("TXT 3 abc", Kind::Typed(RrType::TXT)),
            ("SPF 0 ", Kind::Typed(RrType::SPF)),
            ("RRSIG 5 example.com", Kind::Signature(RrType::CNAME)),
            ("RRSIG 2 <Root>", Kind::Signature(RrType::NS)),
            ("DNSKEY 8", Kind::Typed(RrType::DNSKEY)),
            ("DS 8 2", Kind::Typed(RrType::DS)),
            ("NSEC a.example b.example", Kind::Dropped),
            ("NSEC3", Kind::Dropped),
            ("NSEC3PARAM", Kind::Dropped),
            ("SSHFP: 12ab", Kind::Typed(RrType::SSHFP)),
            ("LOC:  18 22 19", Kind::Typed(RrType::LOC)),
            ("NAPTR 100 100 s SIP+D2U _sip._udp.example", Kind::Typed(RrType::NAPTR)),
            ("BIND9 signing signal", Kind::Typed(RrType::BINDS)),
            ("<unknown type=39>", Kind::Dropped),
            ("TXT", Kind::Name),
            ("TXT x y", Kind::Name),
            ("DS 8", Kind::Name),
            ("DNSKEY 8 x", Kind::Name),
            ("NSEC4", Kind::Name),
            ("RRSIG 70000 x", Kind::Name),
            ("<unknown type=39> ", Kind::Name),
            ("WORKGROUP", Kind::Name),
        ] {
            assert_eq!(Kind::of(answer.as_bytes()), kind, "{answer}");
        }
    }

    //--- chains (typing 2.3) ---

    #[test]
    fn addresses_belong_to_the_last_name_of_the_chain() {
        let log = Log { answers: "a.cdn.example,b.cdn.example,192.0.2.1,192.0.2.2", ..LOG };
        assert_eq!(
            log.rows(),
            [
                "www.example.com CNAME a.cdn.example",
                "a.cdn.example CNAME b.cdn.example",
                "b.cdn.example A 192.0.2.1",
                "www.example.com A 192.0.2.1 alias",
                "b.cdn.example A 192.0.2.2",
                "www.example.com A 192.0.2.2 alias",
            ]
        );
        assert_eq!(LOG.rows(), ["www.example.com A 192.0.2.1"]);
    }

    #[test]
    fn alias_rows_can_be_switched_off() {
        let log = Log { answers: "a.example,192.0.2.1", ..LOG };
        let (_, rows) = log.observe_with(&Options { aliases: false, ..Options::default() });
        assert_eq!(rows, ["www.example.com CNAME a.example", "a.example A 192.0.2.1"]);
    }

    #[test]
    fn names_may_come_behind_the_addresses() {
        let log = Log { answers: "192.0.2.1,a.example", ..LOG };
        assert_eq!(
            log.rows(),
            ["www.example.com CNAME a.example", "a.example A 192.0.2.1", "www.example.com A 192.0.2.1 alias"]
        );
    }

    #[test]
    fn the_form_of_an_address_decides_between_a_and_aaaa() {
        let answers = "192.0.2.1,2001:DB8::1,::ffff:192.0.2.1";
        for qtype in ["1", "28"] {
            assert_eq!(
                Log { qtype, answers: &answers.to_lowercase(), ..LOG }.rows(),
                [
                    "www.example.com A 192.0.2.1",
                    "www.example.com AAAA 2001:db8::1",
                    "www.example.com AAAA ::ffff:192.0.2.1"
                ]
            );
        }
        let a6 = Log { qtype: "38", answers: "2001:db8::1", ..LOG };
        assert_eq!(a6.rows(), ["www.example.com A6 2001:db8::1"]);
    }

    #[test]
    fn a_chain_without_an_address_is_kept() {
        let log = Log { qtype: "28", rcode: "3", answers: "a.example,b.example", ..LOG };
        assert_eq!(log.rows(), ["www.example.com CNAME a.example", "a.example CNAME b.example"]);
        assert_eq!(log.question(), Some(Outcome::NxDomain));
    }

    #[test]
    fn a_name_already_in_the_chain_is_ignored() {
        let log = Log { answers: "a.example,www.EXAMPLE.com,A.example,b.example,192.0.2.1", ..LOG };
        assert_eq!(
            log.rows(),
            [
                "www.example.com CNAME a.example",
                "a.example CNAME b.example",
                "b.example A 192.0.2.1",
                "www.example.com A 192.0.2.1 alias",
            ]
        );
        assert_eq!(
            Log { answers: "www.example.com,192.0.2.1", ..LOG }.rows(),
            ["www.example.com A 192.0.2.1"]
        );
    }

    #[test]
    fn behind_an_invalid_name_only_alias_rows_are_kept() {
        let log = Log { answers: "a.example,b..c,d.example,192.0.2.1", ..LOG };
        assert_eq!(log.rows(), ["www.example.com CNAME a.example", "www.example.com A 192.0.2.1 alias"]);
        let text = Log { qtype: "16", answers: "b..c,TXT 1 x", ..LOG };
        assert_eq!(skipped(text), Skip::UnusableAnswers);
    }

    #[test]
    fn a_chain_has_an_end() {
        let answers: Vec<String> =
            (0..200).map(|i| format!("n{i}.example")).chain(["192.0.2.1".into()]).collect();
        let rows = Log { answers: &answers.join(","), ..LOG }.rows();
        assert_eq!(rows.len(), MAX_CHAIN + 1);
        assert_eq!(rows.last().unwrap(), "www.example.com A 192.0.2.1 alias");
    }

    #[test]
    fn signatures_among_addresses_do_not_matter() {
        let log = Log { answers: "a.example,RRSIG 5 example,192.0.2.1,RRSIG 1 example", ..LOG };
        assert_eq!(log.rows().len(), 3);
        assert_eq!(
            skipped(Log { answers: "RRSIG 1 example,NSEC a b,NSEC3,NSEC3PARAM", ..LOG }),
            Skip::UnusableAnswers
        );
    }

    #[test]
    fn the_target_of_a_cname_question_is_a_name_even_if_it_looks_like_an_address() {
        let log = Log { qtype: "5", answers: "192.0.2.1", ..LOG };
        assert_eq!(log.rows(), ["www.example.com CNAME 192.0.2.1"]);
    }

    #[test]
    fn one_record_counts_a_tuple_once_with_the_larger_ttl() {
        let record = Log { answers: "192.0.2.1,192.0.2.1", ttls: "3600.000000,0.000000", ..LOG }.record();
        let mut out = Observations::new(SensorId(0));
        Observer::new(&Options::default()).observe(&record, &mut out);
        assert_eq!(out.iter().map(|seen| seen.ttl).collect::<Vec<_>>(), [3600]);
    }

    #[test]
    fn a_ttl_above_two_to_the_31_is_zero() {
        let answers = "192.0.2.1,192.0.2.2,192.0.2.3";
        let ttls = "2147483647.000000,2147483648.000000,4294967295.000000";
        let mut out = Observations::new(SensorId(0));
        Observer::new(&Options::default()).observe(&Log { answers, ttls, ..LOG }.record(), &mut out);
        assert_eq!(out.iter().map(|seen| seen.ttl).collect::<Vec<_>>(), [2_147_483_647, 0, 0]);
    }

    //--- self-marking answers (typing 2.4) ---

    #[test]
    fn marked_answers_carry_their_own_type_and_belong_to_the_end_of_the_chain() {
        for (qtype, answer, row) in [
            ("16", "TXT 3 a b", r#"TXT "a b""#),
            ("99", "SPF 6 v=spf1", r#"SPF "v=spf1""#),
            ("48", "DNSKEY 8", "DNSKEY DNSKEY 8"),
            ("43", "DS 8 2", "DS DS 8 2"),
            ("44", "SSHFP: 12ab", "SSHFP SSHFP: 12ab"),
            ("29", "LOC:  18 22 19", "LOC LOC:  18 22 19"),
            ("35", r"NAPTR 1 1 s x !^.*$!\\1!", r"NAPTR NAPTR 1 1 s x !^.*$!\\1!"),
            ("65534", "BIND9 signing signal", "TYPE65534 BIND9 signing signal"),
        ] {
            assert_eq!(Log { qtype, answers: answer, ..LOG }.rows(), [format!("www.example.com {row}")]);
            let behind = format!("a.example,{answer}");
            assert_eq!(
                Log { qtype, answers: &behind, ..LOG }.rows(),
                ["www.example.com CNAME a.example".to_string(), format!("a.example {row}")]
            );
        }
    }

    #[test]
    fn a_txt_record_is_its_strings_in_quotes() {
        for (answer, rdata) in [
            ("TXT 5 hello", r#""hello""#),
            ("TXT 2 ab TXT 3 c d", r#""ab" "c d""#),
            ("TXT 0 ", r#""""#),
            ("TXT 0  TXT 1 x", r#""" "x""#),
            ("TXT 11 TXT 2 ab cd TXT 1 x", r#""TXT 2 ab cd" "x""#),
            (r#"TXT 4 a"\\\xe9"#, r#""a\"\\\233""#),
            // Cut by Zeek: one string.
            ("TXT 9 hello", r#""hello""#),
            ("TXT 2 hello", r#""hello""#),
            ("TXT 2 ab TXT 9 cd", r#""ab TXT 9 cd""#),
            ("TXT 2 ab SPF 2 cd", r#""ab SPF 2 cd""#),
            ("TXT 99999999999999999999 x", r#""x""#),
        ] {
            let rows = Log { qtype: "16", answers: answer, ..LOG }.rows();
            assert_eq!(rows, [format!("www.example.com TXT {rdata}")], "{answer}");
        }
    }

    #[test]
    fn a_text_without_a_marker_is_one_string() {
        let log = Log { qtype: "16", answers: r"v=spf1 -all", ..LOG };
        assert_eq!(log.rows(), [r#"www.example.com TXT "v=spf1 -all""#]);
        assert_eq!(
            Log { qtype: "16", answers: "alias.example", ..LOG }.rows(),
            ["www.example.com CNAME alias.example"]
        );
    }

    #[test]
    fn an_unknown_type_is_no_rdata() {
        for (qtype, answers) in [("10", "<unknown type=10>"), ("65", "<unknown type=65>,<unknown type=65>")] {
            assert_eq!(skipped(Log { qtype, answers, ..LOG }), Skip::UnusableAnswers);
        }
        // DNAME: the CNAME that the server made of it is typed.
        let dname = Log { qtype: "1", answers: "<unknown type=39>,a.example,192.0.2.1", ..LOG };
        assert_eq!(dname.rows().len(), 3);
        let https = Log { qtype: "65", answers: "a.example", ..LOG };
        assert_eq!(https.rows(), ["www.example.com CNAME a.example"]);
    }

    //--- names (typing 2.5) ---

    #[test]
    fn names_of_ns_mx_srv_and_soa_are_of_the_type_that_was_asked() {
        for (qtype, name) in [("2", "NS"), ("15", "MX"), ("33", "SRV"), ("6", "SOA")] {
            let log = Log { qtype, answers: "a.example,b.example,RRSIG 2 example", ..LOG };
            assert_eq!(
                log.rows(),
                [format!("www.example.com {name} a.example"), format!("www.example.com {name} b.example")]
            );
        }
    }

    #[test]
    fn a_null_mx_points_to_the_root() {
        let log = Log { qtype: "15", answers: "(empty)", ttls: "300.000000", ..LOG };
        assert_eq!(log.rows(), ["www.example.com MX ."]);
    }

    #[test]
    fn an_mx_that_looks_like_an_address_is_a_name() {
        for answers in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(Log { qtype: "15", answers, ..LOG }.rows(), [format!("www.example.com MX {answers}")]);
        }
    }

    #[test]
    fn an_invalid_name_is_no_rdata() {
        let log = Log { qtype: "2", answers: r"a..b,a\x00b,c.example", ..LOG };
        assert_eq!(log.rows(), ["www.example.com NS c.example"]);
    }

    #[test]
    fn a_signature_reveals_a_cname_before_it() {
        let log =
            Log { qtype: "15", answers: "a.example,RRSIG 5 example,mx.example,RRSIG 15 example", ..LOG };
        assert_eq!(log.rows(), ["www.example.com CNAME a.example", "a.example MX mx.example"]);
    }

    #[test]
    fn a_classless_delegation_moves_the_owner_of_a_ptr() {
        let log = Log {
            query: "9.2.0.192.in-addr.arpa",
            qtype: "12",
            answers: "9.0-15.2.0.192.in-addr.arpa,host.example,other.example",
            ..LOG
        };
        assert_eq!(
            log.rows(),
            [
                "9.2.0.192.in-addr.arpa CNAME 9.0-15.2.0.192.in-addr.arpa",
                "9.0-15.2.0.192.in-addr.arpa PTR host.example",
                "9.0-15.2.0.192.in-addr.arpa PTR other.example",
            ]
        );
    }

    #[test]
    fn a_ptr_may_point_into_arpa_or_look_like_an_address() {
        for (answers, rdata) in [
            ("1.0.0.127.in-addr.arpa", "1.0.0.127.in-addr.arpa"),
            ("192.0.2.1", "192.0.2.1"),
            ("x.ip6.arpa,RRSIG 12 a", "x.ip6.arpa"),
        ] {
            assert_eq!(Log { qtype: "12", answers, ..LOG }.rows(), [format!("www.example.com PTR {rdata}")]);
        }
    }

    //--- ANY and no question (typing 2.6) ---

    #[test]
    fn any_keeps_what_carries_its_type_and_leaves_names_out() {
        let log = Log { qtype: "255", answers: "ns.example,192.0.2.1,2001:db8::1,TXT 1 x,RRSIG 1 e", ..LOG };
        assert_eq!(
            log.rows(),
            ["www.example.com A 192.0.2.1", "www.example.com AAAA 2001:db8::1", r#"www.example.com TXT "x""#]
        );
        assert_eq!(
            skipped(Log { qtype: "255", answers: "ns.example,mx.example", ..LOG }),
            Skip::UnusableAnswers
        );
    }

    #[test]
    fn a_reply_without_a_question_is_typed_when_it_can_only_be_one_answer() {
        let log = Log { qtype: "-", qclass: "-", answers: "a.example,192.0.2.1,192.0.2.2,RRSIG 1 e", ..LOG };
        assert_eq!(log.rows().len(), 5);
        assert_eq!(log.question(), None);
        let text = Log { qtype: "-", answers: "TXT 1 x", ..LOG };
        assert_eq!(text.rows(), [r#"www.example.com TXT "x""#]);
        for answers in [
            "a.example",
            "a.example,RRSIG 5 e",
            "192.0.2.1,a.example",
            "192.0.2.1,2001:db8::1",
            "192.0.2.1,TXT 1 x",
            "DS 8 2,DNSKEY 8",
            "<unknown type=39>,192.0.2.1",
        ] {
            assert_eq!(skipped(Log { qtype: "-", answers, ..LOG }), Skip::UnusableAnswers, "{answers}");
        }
    }

    //--- questions (typing 2.7) ---

    #[test]
    fn every_question_has_an_outcome() {
        for (rcode, qtype, answers, outcome) in [
            ("0", "1", "192.0.2.1", Outcome::Answered),
            ("-", "1", "192.0.2.1", Outcome::Answered),
            ("0", "1", "-", Outcome::NoData),
            ("3", "1", "-", Outcome::NxDomain),
            ("2", "1", "-", Outcome::ServFail),
            ("5", "1", "-", Outcome::Refused),
            ("4", "1", "-", Outcome::Other),
            ("-", "1", "-", Outcome::NoResponse),
            ("-", "65", "-", Outcome::NoResponse),
            ("0", "65", "-", Outcome::NotLogged),
            ("0", "64", "-", Outcome::NotLogged),
            ("0", "257", "-", Outcome::NotLogged),
            ("0", "255", "-", Outcome::NotLogged),
            ("3", "65", "-", Outcome::NxDomain),
            ("0", "65", "a.example", Outcome::Answered),
        ] {
            let log = Log { rcode, qtype, answers, ..LOG };
            assert_eq!(log.question(), Some(outcome), "{rcode} {qtype} {answers}");
        }
    }

    #[test]
    fn a_record_with_very_many_answers_is_counted_and_what_is_beyond_the_bound_is_cut() {
        let addresses = |n: u32| (0..n).map(|i| Ipv4Addr::from(0x0100_0000 + i).to_string());
        let observe = |answers: String, options: &Options| {
            let mut out = Observations::new(SensorId(3)).with_max_tuples(options.max_tuples);
            let log = Log { answers: &answers, ..LOG };
            let fate = Observer::new(options).observe(&log.record(), &mut out);
            assert_eq!(fate, Fate::Counted);
            assert!(out.question().is_some());
            (out.iter().count(), out.answers_cut())
        };
        let options = Options::default();
        let plain = addresses(4000).collect::<Vec<_>>().join(",");
        assert_eq!(observe(plain, &options), (1000, 3000));
        // Behind a chain each address is two rows: one was kept in part.
        let chained = [vec!["c.cdn.example".to_owned()], addresses(4000).collect()].concat().join(",");
        assert_eq!(observe(chained.clone(), &options), (1000, 3501));
        assert_eq!(observe(chained, &Options { aliases: false, ..options.clone() }), (1000, 3001));
        // As many as there is room for are not cut, and one that is named again is not one more.
        let again = addresses(1000).chain(addresses(1000)).collect::<Vec<_>>().join(",");
        assert_eq!(observe(again, &options), (1000, 0));
    }

    #[test]
    fn a_line_of_a_megabyte_costs_no_more_than_its_bytes() {
        let long = |answer: &dyn Fn(u32) -> String| {
            let mut answers = String::new();
            for i in 0.. {
                if answers.len() > 1 << 20 {
                    break;
                }
                answers.push_str(&answer(i));
                answers.push(',');
            }
            answers
        };
        let lines = [
            ("1", long(&|i| Ipv4Addr::from(i).to_string())),
            ("1", long(&|_| "a".to_owned())),
            // A chain as long as it may be, and then one of its names for ever.
            ("1", long(&|i| if i < 100 { format!("n{i}") } else { "n50".to_owned() })),
            ("2", long(&|i| format!("n{i}"))),
            ("12", long(&|i| if i % 2 == 0 { "1.in-addr.arpa".to_owned() } else { "TXT 1 a".to_owned() })),
            ("16", long(&|i| format!("TXT 9 {i}"))),
            ("-", long(&|i| Ipv6Addr::from_bits(i.into()).to_string())),
        ];
        // What was there before looked at each answer once for each other one: minutes. Now it is milliseconds, and some
        // patience for a machine that does other things as well.
        let begun = std::time::Instant::now();
        for (qtype, answers) in lines {
            let log = Log { answers: &answers, qtype, ..LOG };
            let mut out = Observations::new(SensorId(3)).with_max_tuples(usize::MAX);
            Observer::new(&Options { max_tuples: usize::MAX, ..Options::default() })
                .observe(&log.record(), &mut out);
            assert!(begun.elapsed().as_secs() < 20, "type {qtype}");
        }
    }

    #[test]
    fn an_unanswered_line_counts_its_question_and_other_skips_none() {
        assert_eq!(Log { answers: "-", ..LOG }.observe(), (Fate::Skipped(Skip::NoAnswer), vec![]));
        assert_eq!(Log { answers: "-", qtype: "-", ..LOG }.question(), None);
        assert_eq!(Log { answers: "RRSIG 1 e", ..LOG }.question(), None);
        assert_eq!(Log { answers: "-", resp_p: "5353", ..LOG }.question(), None);
    }
}
