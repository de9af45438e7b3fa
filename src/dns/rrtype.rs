//! Record types: a number with a mnemonic where IANA has given one.
//!
//! A type is never lost for want of a name: unknown ones are `TYPE123` (RFC 3597 section 5).

use std::fmt;
use std::str::FromStr;

/// A record type (RFC 1035 3.2.2 and the IANA registry "Resource Record (RR) TYPEs").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RrType(pub u16);

/// The text is neither a mnemonic nor `TYPEn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record type: use a mnemonic such as AAAA, or TYPE and a number up to 65535")]
pub struct RrTypeError;

/// Mnemonics of the IANA registry, by number.
const MNEMONICS: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (3, "MD"),
    (4, "MF"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (22, "NSAP"),
    (23, "NSAP-PTR"),
    (24, "SIG"),
    (25, "KEY"),
    (26, "PX"),
    (27, "GPOS"),
    (28, "AAAA"),
    (29, "LOC"),
    (30, "NXT"),
    (31, "EID"),
    (32, "NIMLOC"),
    (33, "SRV"),
    (34, "ATMA"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (38, "A6"),
    (39, "DNAME"),
    (40, "SINK"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (56, "NINFO"),
    (57, "RKEY"),
    (58, "TALINK"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (104, "NID"),
    (105, "L32"),
    (106, "L64"),
    (107, "LP"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (258, "AVC"),
    (32768, "TA"),
    (32769, "DLV"),
    (65535, "FOLDED"),
];

#[allow(missing_docs, reason = "each constant is the type its name says")]
impl RrType {
    pub const A: RrType = RrType(1);
    pub const NS: RrType = RrType(2);
    pub const CNAME: RrType = RrType(5);
    pub const SOA: RrType = RrType(6);
    pub const WKS: RrType = RrType(11);
    pub const PTR: RrType = RrType(12);
    pub const HINFO: RrType = RrType(13);
    pub const MX: RrType = RrType(15);
    pub const TXT: RrType = RrType(16);
    pub const AAAA: RrType = RrType(28);
    pub const LOC: RrType = RrType(29);
    pub const NB: RrType = RrType(32);
    pub const SRV: RrType = RrType(33);
    pub const NAPTR: RrType = RrType(35);
    pub const A6: RrType = RrType(38);
    pub const DNAME: RrType = RrType(39);
    pub const OPT: RrType = RrType(41);
    pub const DS: RrType = RrType(43);
    pub const SSHFP: RrType = RrType(44);
    pub const RRSIG: RrType = RrType(46);
    pub const NSEC: RrType = RrType(47);
    pub const DNSKEY: RrType = RrType(48);
    pub const NSEC3: RrType = RrType(50);
    pub const NSEC3PARAM: RrType = RrType(51);
    pub const CDS: RrType = RrType(59);
    pub const CDNSKEY: RrType = RrType(60);
    pub const SVCB: RrType = RrType(64);
    pub const HTTPS: RrType = RrType(65);
    pub const SPF: RrType = RrType(99);
    pub const TKEY: RrType = RrType(249);
    pub const TSIG: RrType = RrType(250);
    pub const IXFR: RrType = RrType(251);
    pub const AXFR: RrType = RrType(252);
    pub const ANY: RrType = RrType(255);
    pub const CAA: RrType = RrType(257);
    pub const TA: RrType = RrType(32768);
    pub const DLV: RrType = RrType(32769);
    /// No type of the DNS, where this number is reserved (RFC 6895 section 3.1): that of a row which stands for names that were
    /// folded. No log record brings one.
    pub const FOLDED: RrType = RrType(65535);
    /// BIND's private type for signing state, logged by Zeek as `BIND9 signing signal`.
    pub const BINDS: RrType = RrType(65534);
}

impl RrType {
    /// The mnemonic, where there is one.
    pub fn mnemonic(self) -> Option<&'static str> {
        let at = MNEMONICS.binary_search_by_key(&self.0, |&(number, _)| number).ok()?;
        MNEMONICS.get(at).map(|&(_, name)| name)
    }

    /// Whether the type exists only for DNSSEC, as the DNSDB API divides `ANY` from `ANY-DNSSEC`.
    pub fn is_dnssec(self) -> bool {
        matches!(
            self,
            RrType::DS
                | RrType::RRSIG
                | RrType::NSEC
                | RrType::DNSKEY
                | RrType::NSEC3
                | RrType::NSEC3PARAM
                | RrType::DLV
                | RrType::CDS
                | RrType::CDNSKEY
                | RrType::TA
        )
    }
}

impl fmt::Display for RrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RrType {
    type Err = RrTypeError;

    /// Reads a mnemonic or `TYPEn`, in any case.
    fn from_str(text: &str) -> Result<RrType, RrTypeError> {
        if let Some(&(number, _)) = MNEMONICS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
            return Ok(RrType(number));
        }
        match text.split_at_checked(4) {
            Some((word, number))
                if word.eq_ignore_ascii_case("TYPE") && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                number.parse().map(RrType).map_err(|_| RrTypeError)
            }
            _ => Err(RrTypeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(MNEMONICS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn every_type_round_trips() {
        for number in 0..=u16::MAX {
            assert_eq!(RrType(number).to_string().parse(), Ok(RrType(number)));
        }
    }

    #[test]
    fn case_does_not_matter_and_nonsense_is_refused() {
        assert_eq!("aaaa".parse(), Ok(RrType::AAAA));
        assert_eq!("type65280".parse(), Ok(RrType(65280)));
        for bad in ["", "TYPE", "TYPE65536", "TYPE-1", "AAAAA", "TYPE+1", "tÿpe1"] {
            assert_eq!(bad.parse::<RrType>(), Err(RrTypeError), "{bad}");
        }
    }
}
