//! Made-up DNS traffic, as Zeek would log it: for tests, benches, demonstrations and `testdata/`.
//!
//! [`Generator`] yields [`Record`]s that follow from a [`Config`] alone: the same configuration gives the same records
//! everywhere, and each record can be written in every [`Format`]. [`Player`] writes them the way Zeek does, with
//! rotation and archives as zeekctl makes them; [`write_log`] and [`write_tree`] make a whole log or a whole folder.
//!
//! What is imitated is what real logs show: how often names come back (Zipf) and new ones appear (Heaps), question types,
//! chains, lifetimes with their points of mass, missing replies, replies without a question, records out of order and
//! twice, multicast noise, and, rarely, everything that is legal and that nobody expects.

mod player;
mod random;
mod record;
mod zone;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use player::{Archive, Layout, Player, Rotated, play, write_log, write_tree};
pub use random::Random;
pub use record::{Format, JsonTimes, Record};

use zone::Zone;

const MICROS: u64 = 1_000_000;

/// Numbers of record types, as far as they are asked for here.
mod qtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const NULL: u16 = 10;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const NIMLOC: u16 = 32;
    pub const SRV: u16 = 33;
    pub const NAPTR: u16 = 35;
    pub const DS: u16 = 43;
    pub const DNSKEY: u16 = 48;
    pub const HTTPS: u16 = 65;
    pub const SPF: u16 = 99;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
    pub const CAA: u16 = 257;
}

//--- Config ---------------------------------------------------------------------------------------------------------

/// What to make up.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Everything follows from it.
    pub seed: u64,
    /// How many records.
    pub lines: u64,
    /// When the first is written, in seconds since the epoch.
    pub start: u64,
    /// How many are written in a second, on average.
    pub lines_per_second: f64,
    /// Distinct host names after n records: `new_names * n ^ growth`.
    pub new_names: f64,
    /// See [`Config::new_names`]; 1 is a constant stream of new names.
    pub growth: f64,
    /// Zipf's exponent: how much more often the popular names are asked.
    pub skew: f64,
    /// The share of replies whose addresses were never seen before.
    pub fresh_addresses: f64,
    /// The share of multicast DNS, LLMNR and NetBIOS.
    pub local: f64,
    /// The share of records that are written twice, byte for byte.
    pub duplicates: f64,
    /// The share of strange but legal records.
    pub rare: f64,
}

impl Default for Config {
    /// An office's web traffic over a day.
    fn default() -> Config {
        Config {
            seed: 1,
            lines: 10_000,
            start: 1_712_880_000,
            lines_per_second: 0.12,
            new_names: 2.6,
            growth: 0.75,
            skew: 1.0,
            fresh_addresses: 0.05,
            local: 0.1,
            duplicates: 0.01,
            rare: 0.002,
        }
    }
}

impl Config {
    /// A log rich in new tuples, against which an importer's speed is measured: a million records of about 200 MB as
    /// TSV, with 0.2 million names and more than 0.5 million distinct address and CNAME rows.
    pub fn rich(seed: u64) -> Config {
        Config {
            seed,
            lines: 1_000_000,
            lines_per_second: 300.0,
            new_names: 0.21,
            growth: 1.0,
            skew: 0.9,
            fresh_addresses: 0.15,
            ..Config::default()
        }
    }

    /// The generator of these records.
    pub fn generate(self) -> Generator {
        Generator {
            random: Random::new(self.seed),
            zone: Zone::new(self.seed),
            now_micros: self.start * MICROS,
            made: 0,
            hosts: 0,
            queue: Vec::new(),
            config: self,
        }
    }
}

//--- Generator ------------------------------------------------------------------------------------------------------

/// An endless internet, and who asks it what.
#[derive(Debug, Clone)]
pub struct Generator {
    config: Config,
    random: Random,
    zone: Zone,
    /// The latest [`Record::written_micros`].
    now_micros: u64,
    /// Records handed out.
    made: u64,
    /// Host names in use; the first are the popular ones.
    hosts: u64,
    /// Records that come next, in reverse order.
    queue: Vec<Record>,
}

impl Iterator for Generator {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.made >= self.config.lines {
            return None;
        }
        let queued = self.queue.pop();
        let record = queued.unwrap_or_else(|| self.make());
        self.made += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.config.lines - self.made).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl Generator {
    /// Makes the next record, and queues what belongs to it.
    fn make(&mut self) -> Record {
        let mut record = self.client_asks();
        // Multicast noise has a share of the records, and the rest comes in groups of about 1.6.
        let local = self.config.local * 1.6;
        if self.random.chance(self.config.rare * 1.6) {
            self.rare(&mut record);
        } else if self.random.chance(local) {
            self.local(&mut record);
        } else {
            match self.random.weighted(&[(830, 0), (118, 1), (52, 2)]) {
                0 => self.addresses(&mut record),
                1 => self.pointer(&mut record),
                _ => self.service(&mut record),
            }
        }
        if self.random.chance(self.config.duplicates) {
            self.queue.push(record.clone());
        }
        record
    }

    /// A query without its question, from some client to some resolver, a moment after the last.
    fn client_asks(&mut self) -> Record {
        let gap = self.random.gap(1.6 * MICROS as f64 / self.config.lines_per_second);
        self.now_micros += (gap as u64).max(1);
        let client = self.random.rank(250, 0.8) as u8;
        let delay = match self.random.below(1_000) {
            0 => self.random.between(60 * MICROS, 600 * MICROS),
            1..200 => self.random.between(1_000, 30 * MICROS),
            _ => 0,
        };
        let rtt = self.random.gap(30_000.0) as u64 + 150;
        Record {
            ts_micros: self.now_micros.saturating_sub(rtt + delay),
            written_micros: self.now_micros,
            uid: self.uid(),
            orig_h: Ipv4Addr::new(10, 0, client % 4, client).into(),
            orig_p: self.random.between(1_024, 65_535) as u16,
            resp_h: Ipv4Addr::new(10, 0, 0, 250 + self.random.weighted(&[(6, 3), (3, 4), (1, 2)])).into(),
            resp_p: 53,
            proto: self.random.weighted(&[(98, "udp"), (2, "tcp")]),
            trans_id: self.random.bits() as u16,
            rtt_micros: Some(rtt),
            query: None,
            qclass: Some(1),
            qtype: None,
            rcode: Some(0),
            aa: false,
            rd: true,
            ra: true,
            answers: Vec::new(),
            rejected: false,
        }
    }

    fn uid(&mut self) -> [u8; 18] {
        let mut uid = [b'C'; 18];
        for byte in uid.iter_mut().skip(1) {
            *byte = match self.random.below(62) as u8 {
                digit @ 0..10 => b'0' + digit,
                upper @ 10..36 => b'A' + upper - 10,
                lower => b'a' + lower - 36,
            };
        }
        uid
    }

    /// A host: a new one when it is time, else a known one.
    fn host(&mut self) -> u64 {
        let due = self.config.new_names * (self.made as f64 + 1.0).powf(self.config.growth);
        if self.hosts == 0 || (self.hosts as f64) < due {
            self.hosts += 1;
            self.hosts - 1
        } else {
            self.random.rank(self.hosts, self.config.skew)
        }
    }

    /// A lifetime as a resolver hands it out: counted down from what the server gave, more often than not.
    fn lifetime(&mut self, host: u64) -> u32 {
        let full = self.zone.lifetime(host);
        if self.random.chance(0.4) { full } else { self.random.below(u64::from(full) + 1) as u32 }
    }

    /// Says how a question ended, when that is without an answer.
    fn fails(&mut self, record: &mut Record) -> bool {
        let rcode = match self.random.below(1_000) {
            0..80 => None,
            80..130 => Some(3),
            130..135 => Some(2),
            135..138 => Some(5),
            _ => return false,
        };
        record.rcode = rcode;
        record.no_answers();
        record.rejected = rcode.is_some_and(|rcode| rcode != 3);
        true
    }

    /// Asks for a host's addresses: A, most often AAAA as well, at times HTTPS.
    fn addresses(&mut self, record: &mut Record) {
        let host = self.host();
        record.query = Some(self.zone.host(host).into_bytes());
        record.qtype = Some(qtype::A);
        if self.random.chance(0.2) {
            let twin = self.twin(record, qtype::HTTPS, host);
            self.queue.push(twin);
        }
        if self.random.chance(0.6) {
            let twin = self.twin(record, qtype::AAAA, host);
            self.queue.push(twin);
        }
        self.answer(record, host);
    }

    /// Another question about the same name on the same connection.
    fn twin(&mut self, record: &Record, qtype: u16, host: u64) -> Record {
        let mut twin = record.clone();
        twin.qtype = Some(qtype);
        twin.trans_id = self.random.bits() as u16;
        twin.ts_micros += self.random.below(200);
        self.answer(&mut twin, host);
        twin
    }

    fn answer(&mut self, record: &mut Record, host: u64) {
        if self.fails(record) {
            return;
        }
        let mut names = self.zone.chain(host);
        let addresses = match record.qtype {
            Some(qtype::HTTPS) => Vec::new(),
            asked => {
                let fresh = self.random.chance(self.config.fresh_addresses);
                self.zone.addresses(host, asked == Some(qtype::AAAA), fresh, &mut self.random)
            }
        };
        if record.qtype == Some(qtype::HTTPS) && self.random.chance(0.6) {
            names.clear();
        }
        let texts = names.into_iter().chain(addresses.iter().map(IpAddr::to_string));
        let ttl = self.lifetime(host);
        record.answers = texts.map(|text| (text.into_bytes(), ttl)).collect();
        if let [.., (_, last)] = record.answers.as_mut_slice() {
            *last = self.lifetime(host + 1);
        }
        if record.answers.is_empty() {
            record.no_answers();
        } else if self.random.chance(0.027) {
            // The query was not seen: the name is the owner of the first answer, and nothing is known of the question.
            (record.qtype, record.qclass, record.rtt_micros, record.rd) = (None, None, None, false);
        }
    }

    /// Asks for the name of an address.
    fn pointer(&mut self, record: &mut Record) {
        let host = self.random.rank(self.hosts.max(1), self.config.skew);
        let v6 = self.random.chance(0.1);
        let address = self.zone.addresses(host, v6, false, &mut self.random).first().copied();
        let address = address.unwrap_or(Ipv4Addr::new(10, 0, 1, host as u8).into());
        record.query = Some(reverse(address));
        record.qtype = Some(qtype::PTR);
        if !self.fails(record) {
            record.answers = vec![(self.zone.host(host).into_bytes(), self.lifetime(host))];
        }
    }

    /// Asks a domain for something other than addresses.
    fn service(&mut self, record: &mut Record) {
        let host = self.random.rank(self.hosts.max(1), self.config.skew);
        let domain = self.zone.domain(host);
        let asked = self.random.weighted(&[
            (10, qtype::MX),
            (10, qtype::TXT),
            (8, qtype::SRV),
            (6, qtype::NS),
            (6, qtype::SOA),
            (3, qtype::CAA),
            (1, qtype::CNAME),
        ]);
        let (query, answers) = match asked {
            qtype::MX => (domain.clone(), vec![format!("mx1.{domain}"), format!("mx2.{domain}")]),
            qtype::TXT => {
                let policy = format!("v=spf1 include:_spf.{domain} -all");
                (domain.clone(), vec![format!("TXT {} {policy}", policy.len())])
            }
            qtype::SRV => (format!("_ldap._tcp.dc._msdcs.{domain}"), vec![format!("dc1.{domain}")]),
            qtype::NS => (domain.clone(), vec![format!("ns1.{domain}"), format!("ns2.{domain}")]),
            qtype::SOA => (domain.clone(), vec![format!("ns1.{domain}")]),
            qtype::CNAME => (self.zone.host(host), self.zone.chain(host).into_iter().take(1).collect()),
            _ => (domain, Vec::new()),
        };
        record.query = Some(query.into_bytes());
        record.qtype = Some(asked);
        if !self.fails(record) {
            let ttl = self.lifetime(host);
            record.answers = answers.into_iter().map(|text| (text.into_bytes(), ttl)).collect();
            if record.answers.is_empty() {
                record.no_answers();
            }
        }
    }

    /// Something that never leaves the local network.
    fn local(&mut self, record: &mut Record) {
        record.orig_p = match self.random.below(10) {
            0..7 => {
                record.resp_h = if self.random.chance(0.5) {
                    Ipv4Addr::new(224, 0, 0, 251).into()
                } else {
                    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb).into()
                };
                record.resp_p = 5_353;
                record.query = Some(b"_printer._tcp.local".to_vec());
                record.qtype = Some(qtype::PTR);
                record.qclass = Some(self.random.one_of(&[1, 32_769]));
                if self.random.chance(0.8) {
                    record.answers =
                        vec![(b"Meagan\xe2\x80\x99s LaserJet._printer._tcp.local".to_vec(), 4_500)];
                } else {
                    record.no_answers();
                    record.rcode = None;
                }
                5_353
            }
            7..9 => {
                record.resp_h = Ipv4Addr::new(10, 0, 3, 255).into();
                record.resp_p = 137;
                record.query = Some(b"WORKGROUP".to_vec());
                record.qtype = Some(qtype::NIMLOC);
                record.no_answers();
                record.rcode = None;
                137
            }
            _ => {
                record.resp_h = Ipv4Addr::new(224, 0, 0, 252).into();
                record.resp_p = 5_355;
                record.query = Some(b"wpad".to_vec());
                record.qtype = Some(qtype::A);
                record.no_answers();
                record.rcode = None;
                record.orig_p
            }
        };
    }

    /// Something strange that real networks do.
    fn rare(&mut self, record: &mut Record) {
        let host = self.random.rank(self.hosts.max(1), self.config.skew);
        let name = self.zone.host(host);
        let ttl = self.lifetime(host);
        let mut set = |asked: u16, query: &[u8], answers: &[&[u8]]| {
            record.qtype = Some(asked);
            record.query = Some(query.to_vec());
            record.answers = answers.iter().map(|text| (text.to_vec(), ttl)).collect();
        };
        match self.random.below(25) {
            0 => set(qtype::NS, b"", &[b"a.root.example", b"b.root.example"]),
            // What an iodine tunnel asks.
            1 => set(qtype::NULL, b"zi1ba\xd0\xd1\xfe.t.example", &[b"<unknown type=10>"]),
            2 => set(qtype::A, b"bin\xff\x80.example", &[b"100.64.0.1"]),
            3 => set(qtype::A, "caf\u{e9}.example".as_bytes(), &[b"100.64.0.2"]),
            4 => set(qtype::A, b"back\\slash.example", &[b"100.64.0.3"]),
            5 => set(qtype::A, b"nul\0byte.example", &[b"100.64.0.4"]),
            6 => set(qtype::A, b"tab\tand,comma.example", &[b"100.64.0.5"]),
            7 => set(qtype::TXT, b"txt.example", &[b"TXT 15 a,b;c=\"d\\\" E, F TXT 1 x", b"TXT 3 p\tq"]),
            8 => set(qtype::TXT, b"bytes.example", &[b"TXT 4 \x00\x01\xff\xfe", b"TXT 0 "]),
            9 => {
                set(qtype::A, name.as_bytes(), &[b"100.64.0.6"]);
                record.answers = vec![(b"100.64.0.6".to_vec(), 3_286_499_344)];
            }
            10 => {
                set(qtype::A, b"crowd.example", &[]);
                record.answers = (0..120).map(|at| (format!("100.64.9.{at}").into_bytes(), ttl)).collect();
            }
            11 => set(qtype::A, self.random.one_of(&[b"-".as_slice(), b"(empty)"]), &[b"100.64.0.7"]),
            12 => set(qtype::A, b"signed.example", &[b"100.64.0.8", b"RRSIG 1 example"]),
            13 => set(
                qtype::A,
                b"www.moved.example",
                &[b"<unknown type=39>", b"www.new.example", b"100.64.0.9"],
            ),
            14 => {
                set(qtype::TXT, b"version.bind", &[b"TXT 5 9.18."]);
                record.qclass = Some(3);
            }
            15 => set(qtype::ANY, b"any.example", &[b"ns1.any.example", b"100.64.0.10", b"TXT 1 x"]),
            16 => set(qtype::AXFR, b"zone.example", &[b"ns1.zone.example", b"100.64.0.11"]),
            17 => {
                let asked = self.random.one_of(&[qtype::DS, qtype::DNSKEY, qtype::SPF, qtype::NAPTR]);
                let answer: &[u8] = match asked {
                    qtype::DS => b"DS 8 2",
                    qtype::DNSKEY => b"DNSKEY 8",
                    qtype::SPF => b"SPF 11 v=spf1 -all",
                    _ => b"NAPTR 100 10 u E2U+sip !^.*$!sip:info@example.test!",
                };
                set(asked, b"secure.example", &[answer]);
            }
            18 => set(qtype::A, b"loop.example", &[b"pool.example", b"loop.example"]),
            19 => {
                set(qtype::A, b"twice.example", &[]);
                record.answers = vec![(b"100.64.0.12".to_vec(), 3_600), (b"100.64.0.12".to_vec(), 0)];
            }
            20 => set(qtype::AAAA, b"mapped.example", &[b"::ffff:100.64.0.13"]),
            // RFC 2317: delegation of a part of a /24.
            21 => set(
                qtype::PTR,
                b"7.0.64.100.in-addr.arpa",
                &[b"7.0/25.0.64.100.in-addr.arpa", b"seven.example"],
            ),
            22 if self.random.chance(0.05) => {
                let mut text = b"TXT 255".to_vec();
                for at in 0..256 {
                    let before: &[u8] = if at > 0 { b" TXT 255 " } else { b" " };
                    text.extend_from_slice(before);
                    text.extend([b'a' + (at % 26) as u8; 255]);
                }
                set(qtype::TXT, b"long.example", &[&text]);
            }
            22 | 23 => {
                // A reply that holds nothing, and whose query was not seen.
                (record.query, record.qclass, record.qtype) = (None, None, None);
                record.no_answers();
            }
            _ => set(65_280, b"private.example", &[b"<unknown type=65280>"]),
        }
    }
}

impl Record {
    /// Without answers Zeek sets none of these either.
    fn no_answers(&mut self) {
        self.answers.clear();
        self.rtt_micros = None;
        self.ra = false;
    }
}

fn reverse(address: IpAddr) -> Vec<u8> {
    zone::reverse_name(address).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn text(config: Config, format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        config.generate().for_each(|record| record.push_line(format, &mut out));
        out
    }

    fn share(records: &[Record], of: impl Fn(&Record) -> bool) -> f64 {
        records.iter().filter(|record| of(record)).count() as f64 / records.len() as f64
    }

    #[track_caller]
    fn about(share: f64, from: f64, to: f64) {
        assert!((from..to).contains(&share), "{share} is not between {from} and {to}");
    }

    #[test]
    fn a_seed_is_a_log() {
        let config = Config { lines: 2_000, rare: 0.1, ..Config::default() };
        let log = text(config.clone(), Format::Tsv);
        assert_eq!(text(config.clone(), Format::Tsv), log);
        assert_ne!(text(Config { seed: 2, ..config.clone() }, Format::Tsv), log);
        let shorter = text(Config { lines: 1_000, ..config }, Format::Tsv);
        assert!(log.starts_with(&shorter));
    }

    #[test]
    fn every_line_has_all_columns_and_every_object_is_json() {
        let config = Config { lines: 3_000, rare: 0.3, ..Config::default() };
        let log = text(config.clone(), Format::Tsv);
        let columns = |line: &[u8]| line.iter().filter(|byte| **byte == b'\t').count() + 1;
        let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 3_000);
        assert!(lines.iter().all(|line| columns(line) == 24));
        let log = text(config.clone(), Format::Json { times: JsonTimes::Epoch, path: true });
        for (line, record) in log.split_inclusive(|byte| *byte == b'\n').zip(config.generate()) {
            let object: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(object["trans_id"], record.trans_id);
            assert_eq!(object["answers"].as_array().map_or(0, Vec::len), record.answers.len());
            assert_eq!((object["ts"].as_f64().unwrap() * 1e6).round() as u64, record.ts_micros);
        }
    }

    #[test]
    fn the_mix_is_that_of_real_logs() {
        let config = Config { lines: 50_000, lines_per_second: 5.0, ..Config::default() };
        let records: Vec<Record> = config.generate().collect();
        let unanswered = |record: &Record| record.answers.is_empty();
        about(share(&records, unanswered), 0.2, 0.32);
        about(share(&records, |record| record.rcode.is_none()), 0.07, 0.13);
        about(share(&records, |record| record.rcode == Some(3)), 0.03, 0.07);
        about(share(&records, |record| record.qtype.is_none()), 0.01, 0.03);
        about(share(&records, |record| record.resp_p != 53), 0.07, 0.13);
        for (asked, from, to) in [
            (qtype::A, 0.40, 0.56),
            (qtype::AAAA, 0.22, 0.33),
            (qtype::HTTPS, 0.07, 0.13),
            (qtype::PTR, 0.1, 0.2),
            (qtype::TXT, 0.003, 0.01),
        ] {
            about(share(&records, |record| record.qtype == Some(asked)), from, to);
        }
        let late = records.windows(2).filter(|pair| pair[1].ts_micros < pair[0].ts_micros).count();
        about(late as f64 / records.len() as f64, 0.1, 0.3);
        assert!(records.is_sorted_by_key(|record| record.written_micros));
        let twice = records.windows(2).filter(|pair| pair[0] == pair[1]).count();
        about(twice as f64 / records.len() as f64, 0.004, 0.02);
        let seconds = records.last().unwrap().written_micros / MICROS - Config::default().start;
        about(records.len() as f64 / seconds as f64, 4.8, 5.2);
    }

    #[test]
    fn answers_have_the_shape_of_real_ones() {
        let records: Vec<Record> = Config { lines: 50_000, ..Config::default() }.generate().collect();
        let is_address =
            |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
        let chains: Vec<usize> = records
            .iter()
            .filter(|record| {
                record.qtype == Some(qtype::A) && record.resp_p == 53 && !record.answers.is_empty()
            })
            .map(|record| record.answers.iter().filter(|(text, _)| !is_address(text)).count())
            .collect();
        let length = |length| chains.iter().filter(|l| **l == length).count() as f64 / chains.len() as f64;
        about(length(0), 0.35, 0.7);
        about(length(1), 0.15, 0.45);
        about(length(2), 0.05, 0.3);
        about(length(3), 0.001, 0.08);
        let lifetimes: Vec<u32> =
            records.iter().flat_map(|record| record.answers.iter().map(|answer| answer.1)).collect();
        let at = |ttl| lifetimes.iter().filter(|t| **t == ttl).count() as f64 / lifetimes.len() as f64;
        for mass in [60, 300, 3_600, 86_400] {
            assert!(at(mass) > 0.01, "{mass}: {}", at(mass));
        }
    }

    #[test]
    fn few_names_are_asked_often_and_new_ones_keep_coming() {
        let config = Config { lines: 50_000, local: 0.0, rare: 0.0, ..Config::default() };
        let mut asked: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut distinct = Vec::new();
        for (line, record) in config.generate().enumerate() {
            if matches!(record.qtype, Some(qtype::A | qtype::AAAA | qtype::HTTPS)) {
                *asked.entry(record.query.unwrap_or_default()).or_default() += 1;
            }
            if [5_000, 49_999].contains(&line) {
                distinct.push(asked.len() as f64);
            }
        }
        let growth = (distinct[1] / distinct[0]).log10();
        about(growth, 0.7, 0.8);
        let mut counts: Vec<u32> = asked.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let all = f64::from(counts.iter().sum::<u32>());
        about(f64::from(counts[0]) / all, 0.03, 0.25);
        about(f64::from(counts[..10].iter().sum::<u32>()) / all, 0.15, 0.5);
    }

    #[test]
    fn the_strange_happens() {
        let records: Vec<Record> =
            Config { lines: 5_000, rare: 0.5, ..Config::default() }.generate().collect();
        let seen = |what: &str, of: &dyn Fn(&Record) -> bool| assert!(records.iter().any(of), "{what}");
        let query = |of: fn(&[u8]) -> bool| move |record: &Record| record.query.as_deref().is_some_and(of);
        seen("the root", &query(<[u8]>::is_empty));
        seen("a name that is not UTF-8", &query(|name| std::str::from_utf8(name).is_err()));
        seen("a backslash in a name", &query(|name| name.contains(&b'\\')));
        seen("a NUL in a name", &query(|name| name.contains(&0)));
        seen("a name that reads like unset", &query(|name| name == b"-"));
        seen("a comma in an answer", &|record| record.answers.iter().any(|(text, _)| text.contains(&b',')));
        seen("a TTL above 2^31", &|record| record.answers.iter().any(|(_, ttl)| *ttl > 1 << 31));
        seen("more than a hundred answers", &|record| record.answers.len() > 100);
        seen("64 KB of text", &|record| record.answers.iter().any(|(text, _)| text.len() > 65_000));
        seen("another class", &|record| record.qclass == Some(3));
        seen("nothing known at all", &|record| record.query.is_none() && record.answers.is_empty());
        // Bytes that read like an escape could not be told from one in JSON.
        for record in &records {
            for (text, _) in &record.answers {
                assert!(!text.windows(2).any(|pair| pair == b"\\x"));
            }
        }
    }

    #[test]
    fn the_rich_log_has_the_names_and_rows_it_promises() {
        // A tenth of it, to be quick: names grow in step with lines, rows nearly so.
        let config = Config { lines: 100_000, ..Config::rich(7) };
        let (mut names, mut rows, mut bytes) = (HashSet::new(), HashSet::new(), Vec::new());
        for record in config.generate() {
            record.push_line(Format::Tsv, &mut bytes);
            let Some(query) = record.query.filter(|_| record.resp_p == 53) else { continue };
            if matches!(record.qtype, Some(qtype::A | qtype::AAAA)) {
                let mut owner = query.clone();
                for (text, _) in record.answers {
                    rows.insert((owner.clone(), text.clone()));
                    if !text.contains(&b':') && text.iter().any(u8::is_ascii_alphabetic) {
                        owner = text;
                    }
                }
            }
            names.insert(query);
        }
        about(names.len() as f64, 20_000.0, 30_000.0);
        about(rows.len() as f64, 55_000.0, 90_000.0);
        about(bytes.len() as f64 / 100_000.0, 180.0, 230.0);
    }
}
