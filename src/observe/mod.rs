//! What a log record proves: which rows it is a sighting of, and what was asked.
//!
//! Zeek's `answers` is a flat list without owners and types. This module decides which (rrname, rrtype, rdata) each
//! answer stands for, from the type that was asked, from how the answer looks, and from its place in the list. What it
//! cannot decide it leaves out, with a reason. It never guesses a type, and it never fails.
//!
//! The rules, their evidence and where they fail are in `docs/dev/typing.md`; sections are cited below as (typing 2.1).

mod chain;
mod kind;
#[cfg(test)]
mod tests;
mod txt;

use std::net::IpAddr;
use std::time::Duration;

use self::chain::Chain;
use self::kind::{AnswerKind, parse_address};
use self::txt::{push_quoted, push_strings};
use crate::dns::{RrType, push_address_key, push_name_rdata_key, push_text_key, push_text_presentation};
use crate::observation::{DEFAULT_MAX_TUPLES, Half, Observations, Outcome};
use crate::tally::{Fate, Skip};
use crate::zeek::LogRecord;

/// The class Internet (RFC 1035 3.2.4).
const CLASS_IN: u16 = 1;
/// The opcode of an ordinary query (RFC 1035 4.1.1).
const OPCODE_QUERY: u16 = 0;
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
    kinds: Vec<AnswerKind>,
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
        self.kinds.extend(record.answers().map(|(answer, _)| AnswerKind::of(answer)));
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
                self.kinds.iter_mut().for_each(AnswerKind::make_name);
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
            if *kind == AnswerKind::Name && !chain.link(answer, ttl, rdata, out) {
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
                AnswerKind::Address(address) => {
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
                AnswerKind::Typed(rrtype) | AnswerKind::PlainText(rrtype) => {
                    let Some(owner) = chain.last() else { continue };
                    text.clear();
                    match (rrtype, *kind) {
                        (_, AnswerKind::PlainText(_)) => push_quoted(answer, text),
                        (RrType::TXT, _) => push_strings(answer, b"TXT ", text),
                        (RrType::SPF, _) => push_strings(answer, b"SPF ", text),
                        _ => push_text_presentation(answer, text),
                    }
                    push_text_key(text, rdata);
                    if !out.push(owner, rrtype, rdata, Half::Direct, ttl) {
                        out.cut_answer();
                    }
                }
                AnswerKind::Name | AnswerKind::Signature(_) | AnswerKind::Dropped => {}
            }
        }
    }

    /// Records names as the type that was asked (typing 2.5), and what carries its own type beside them. An answer
    /// that looks like an address is a name here: the answer section holds no addresses for these types.
    fn names(&mut self, record: &LogRecord, qtype: RrType, out: &mut Observations) {
        self.kinds.iter_mut().for_each(AnswerKind::make_name);
        for (at, (answer, ttl)) in record.answers().enumerate() {
            if self.kinds.get(at) != Some(&AnswerKind::Name) {
                continue;
            }
            let behind = self.kinds.get(at + 1..).unwrap_or_default();
            let is_cname = behind.first() == Some(&AnswerKind::Signature(RrType::CNAME))
                || qtype == RrType::PTR && is_reverse(answer) && behind.contains(&AnswerKind::Name);
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
            if *kind == AnswerKind::Name && !answer.iter().all(plain) {
                *kind = AnswerKind::PlainText(qtype);
            }
        }
    }
}

/// The type that was asked for. The one by which the ledger tells folded rows is reserved in the DNS: it counts as unset, so that
/// nobody can ask for a row that looks like one.
fn qtype_of(record: &LogRecord) -> Option<RrType> {
    record.qtype().map(RrType).filter(|qtype| *qtype != RrType::FOLDED)
}

/// How a question ended (typing 2.7).
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
fn is_one_answer(kinds: &[AnswerKind]) -> bool {
    let mut end: Option<AnswerKind> = None;
    for kind in kinds {
        let same = match (*kind, end) {
            (AnswerKind::Signature(_), _) => true,
            (AnswerKind::Name, end) => end.is_none(),
            (AnswerKind::Dropped, _) => false,
            (_, None) => {
                end = Some(*kind);
                true
            }
            (AnswerKind::Address(a), Some(AnswerKind::Address(b))) => a.is_ipv4() == b.is_ipv4(),
            (kind, Some(end)) => kind == end,
        };
        if !same {
            return false;
        }
    }
    end.is_some()
}
