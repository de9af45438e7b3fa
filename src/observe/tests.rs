use std::net::{Ipv4Addr, Ipv6Addr};

use super::chain::MAX_CHAIN;
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
    let v4 = |text: &str| AnswerKind::Address(text.parse().unwrap());
    for (answer, kind) in [
        ("192.0.2.1", v4("192.0.2.1")),
        ("2001:db8::1", v4("2001:db8::1")),
        ("::ffff:192.0.2.1", v4("::ffff:192.0.2.1")),
        ("::1", v4("::1")),
        ("192.0.2.256", AnswerKind::Name),
        ("192.0.2.01", AnswerKind::Name),
        ("192.0.2", AnswerKind::Name),
        ("1.2.3.4.in-addr.arpa", AnswerKind::Name),
        ("fe80::1%eth0", AnswerKind::Name),
        ("a:b", AnswerKind::Name),
        ("", AnswerKind::Name),
        ("example.com", AnswerKind::Name),
        ("TXT 3 abc", AnswerKind::Typed(RrType::TXT)),
        ("SPF 0 ", AnswerKind::Typed(RrType::SPF)),
        ("RRSIG 5 example.com", AnswerKind::Signature(RrType::CNAME)),
        ("RRSIG 2 <Root>", AnswerKind::Signature(RrType::NS)),
        ("DNSKEY 8", AnswerKind::Typed(RrType::DNSKEY)),
        ("DS 8 2", AnswerKind::Typed(RrType::DS)),
        ("NSEC a.example b.example", AnswerKind::Dropped),
        ("NSEC3", AnswerKind::Dropped),
        ("NSEC3PARAM", AnswerKind::Dropped),
        ("SSHFP: 12ab", AnswerKind::Typed(RrType::SSHFP)),
        ("LOC:  18 22 19", AnswerKind::Typed(RrType::LOC)),
        ("NAPTR 100 100 s SIP+D2U _sip._udp.example", AnswerKind::Typed(RrType::NAPTR)),
        ("BIND9 signing signal", AnswerKind::Typed(RrType::BINDS)),
        ("<unknown type=39>", AnswerKind::Dropped),
        ("TXT", AnswerKind::Name),
        ("TXT x y", AnswerKind::Name),
        ("DS 8", AnswerKind::Name),
        ("DNSKEY 8 x", AnswerKind::Name),
        ("NSEC4", AnswerKind::Name),
        ("RRSIG 70000 x", AnswerKind::Name),
        ("<unknown type=39> ", AnswerKind::Name),
        ("WORKGROUP", AnswerKind::Name),
    ] {
        assert_eq!(AnswerKind::of(answer.as_bytes()), kind, "{answer}");
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
    assert_eq!(Log { answers: "www.example.com,192.0.2.1", ..LOG }.rows(), ["www.example.com A 192.0.2.1"]);
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
    let log = Log { qtype: "15", answers: "a.example,RRSIG 5 example,mx.example,RRSIG 15 example", ..LOG };
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
    assert_eq!(skipped(Log { qtype: "255", answers: "ns.example,mx.example", ..LOG }), Skip::UnusableAnswers);
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
