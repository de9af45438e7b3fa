//! The keys of the ledger: families of rows, and what a scan means in key bytes.
//!
//! A run of the ledger (see [`super::run`]) holds rows of six families, each sorted by key:
//!
//! | family | key | value |
//! |---|---|---|
//! | [`Family::ByRdata`] | record data, name, type, sensor | sightings |
//! | [`Family::ByName`] | name, type, record data, sensor | sightings |
//! | [`Family::Questions`] | name, qtype, sensor | how often it was asked |
//! | [`Family::Domains`] | number of the suffix list, registrable domain, sensor | when it was first asked and answered |
//! | [`Family::Hits`] | name, indicator, address, sensor | a hit |
//! | [`Family::HitLog`] | number, key of the hit | the same |
//!
//! All parts end themselves (see [`crate::dns`]), types and sensors are two bytes, big-endian. Only addresses and names are
//! found by record data; text is not indexed. Both families of sightings carry the whole value, so that a lookup by
//! address is one scan of one family.

use std::net::IpAddr;

use crate::dns::{Name, Rdata, RrType, SUFFIX_LIST, push_address_key, split_name_key, split_rdata_key};
use crate::observation::{SensorId, Tuple, question_from_row_key};

use super::span::{FoundBy, Span, after_prefix};
use super::{Position, Scan, StoreError, damaged};

/// Bytes of a sensor's number at the end of each key.
const SENSOR: usize = 2;

/// A family of rows. A further one is a line here and in [`Family::ALL`], a place in [`Each`], and its definition below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Sightings by record data.
    ByRdata,
    /// Sightings by owner name.
    ByName,
    /// Questions by owner name.
    Questions,
    /// First sightings by registrable domain.
    Domains,
    /// Hits of indicators by owner name.
    Hits,
    /// Hits by their numbers.
    HitLog,
}

/// Splits a key in two.
type Split = fn(&[u8]) -> Option<(&[u8], &[u8])>;

/// The definition of a family.
pub(crate) struct Definition {
    /// In stored keys. They are in the order of [`Family::ALL`].
    byte: u8,
    /// The name of its rows.
    name: &'static str,
    /// Splits a key behind the part that exact lookups ask for, and filters remember.
    split: Split,
    /// The type of its values.
    pub values: Values,
    /// Whether it is the index of another family: the journal does not hold it, for it is made again of that one.
    pub is_index: bool,
}

/// Types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// How often and when a tuple was seen.
    Sightings,
    /// A count, two times, and how the questions ended.
    Questions,
    /// When it was first asked and answered.
    FirstSeen,
    /// Its number, when it was noted, and what is said of the indicator.
    Hit,
}

impl Family {
    /// All families, in the order of their bytes.
    pub const ALL: [Family; 6] =
        [Family::ByRdata, Family::ByName, Family::Questions, Family::Domains, Family::Hits, Family::HitLog];

    /// The table of families.
    pub fn definition(self) -> &'static Definition {
        match self {
            Family::ByRdata => &Definition {
                byte: b'd',
                name: "a row by record data",
                split: split_rdata_key,
                values: Values::Sightings,
                is_index: true,
            },
            Family::ByName => &Definition {
                byte: b'f',
                name: "a row",
                split: split_name_key,
                values: Values::Sightings,
                is_index: false,
            },
            Family::Questions => &Definition {
                byte: b'q',
                name: "a question",
                split: split_name_key,
                values: Values::Questions,
                is_index: false,
            },
            Family::Domains => &Definition {
                byte: b'r',
                name: "a registrable domain",
                split: split_domain,
                values: Values::FirstSeen,
                is_index: true,
            },
            Family::Hits => &Definition {
                byte: b'w',
                name: "a hit",
                split: split_name_key,
                values: Values::Hit,
                is_index: false,
            },
            Family::HitLog => &Definition {
                byte: b'y',
                name: "a hit by its number",
                split: split_sequence,
                values: Values::Hit,
                is_index: true,
            },
        }
    }

    /// The byte in stored keys.
    pub fn byte(self) -> u8 {
        self.definition().byte
    }

    /// The family of a byte.
    pub fn from_byte(byte: u8) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.byte() == byte)
    }

    /// The type of its values.
    pub fn values(self) -> Values {
        self.definition().values
    }

    /// The families that hold rows of the ledger, not an index of them.
    pub fn primary() -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|family| !family.definition().is_index)
    }

    /// The part of a row's key that exact lookups ask for, and filters remember: the record data, or the name.
    pub fn lookup_part(self, key: &[u8]) -> Option<&[u8]> {
        (self.definition().split)(key).map(|(part, _)| part)
    }
}

/// Something of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Each<T>([T; Family::ALL.len()]);

impl<T> Each<T> {
    /// The element of a family.
    pub fn of(&self, family: Family) -> &T {
        let [by_rdata, by_name, questions, domains, hits, log] = &self.0;
        match family {
            Family::ByRdata => by_rdata,
            Family::ByName => by_name,
            Family::Questions => questions,
            Family::Domains => domains,
            Family::Hits => hits,
            Family::HitLog => log,
        }
    }

    /// The element of a family, to be changed.
    pub fn of_mut(&mut self, family: Family) -> &mut T {
        let [by_rdata, by_name, questions, domains, hits, log] = &mut self.0;
        match family {
            Family::ByRdata => by_rdata,
            Family::ByName => by_name,
            Family::Questions => questions,
            Family::Domains => domains,
            Family::Hits => hits,
            Family::HitLog => log,
        }
    }

    /// All of them, in the order of [`Family::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Family, &T)> {
        Family::ALL.into_iter().zip(&self.0)
    }
}

/// Why a row cannot be kept or read.
pub(crate) fn bad_key(family: Family) -> StoreError {
    damaged(family.definition().name, "its key is not one")
}

/// Splits the sensor's number off the end of a key; what is before it names the tuple or the question.
pub(crate) fn split_sensor(key: &[u8]) -> Option<(&[u8], SensorId)> {
    let (before, sensor) = key.split_last_chunk::<SENSOR>()?;
    Some((before, SensorId(u16::from_be_bytes(*sensor))))
}

/// The record data of a row key in key form, if rows are found by it: an address or a name.
pub(crate) fn indexed_rdata(row_key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
    let bad = || bad_key(Family::ByName);
    let (_, rest) = split_name_key(row_key).ok_or_else(bad)?;
    let (_, rest) = rest.split_first_chunk::<2>().ok_or_else(bad)?;
    let (rdata, sensor) = split_rdata_key(rest).ok_or_else(bad)?;
    if sensor.len() != SENSOR {
        return Err(bad());
    }
    Ok((!Rdata::is_text_key(rdata)).then_some(rdata))
}

/// Appends the by-rdata key of a row: the record data moves to the front.
pub(crate) fn push_by_rdata(row_key: &[u8], rdata: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let bad = || bad_key(Family::ByName);
    let owner = row_key.len().checked_sub(rdata.len() + SENSOR).ok_or_else(bad)?;
    out.extend_from_slice(rdata);
    out.extend_from_slice(row_key.get(..owner).ok_or_else(bad)?);
    out.extend_from_slice(row_key.get(row_key.len() - SENSOR..).ok_or_else(bad)?);
    Ok(())
}

/// Appends the row key of a by-rdata key: the way back of [`push_by_rdata`].
pub(crate) fn push_by_name(by_rdata: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let bad = || bad_key(Family::ByRdata);
    let (rdata, rest) = split_rdata_key(by_rdata).ok_or_else(bad)?;
    let (owner, sensor) = rest.split_last_chunk::<SENSOR>().ok_or_else(bad)?;
    out.extend_from_slice(owner);
    out.extend_from_slice(rdata);
    out.extend_from_slice(sensor);
    Ok(())
}

/// The tuple and sensor of a key of sightings.
pub(crate) fn tuple(family: Family, key: &[u8]) -> Result<(Tuple, SensorId), StoreError> {
    if family != Family::ByRdata {
        return Tuple::from_row_key(key).map_err(|_| bad_key(family));
    }
    let mut row_key = Vec::with_capacity(key.len());
    push_by_name(key, &mut row_key)?;
    Tuple::from_row_key(&row_key).map_err(|_| bad_key(family))
}

/// Name, type and sensor of a question's key.
pub(crate) fn question(key: &[u8]) -> Result<(crate::dns::Name, RrType, SensorId), StoreError> {
    question_from_row_key(key).map_err(|_| bad_key(Family::Questions))
}

/// Bytes of the number of a hit.
const SEQUENCE: usize = 8;
/// Bytes of the number of a suffix list at the beginning of the keys of domains.
const LIST: usize = 4;

/// Splits the key of a domain behind its name.
fn split_domain(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, sensor) = split_name_key(key.get(LIST..)?)?;
    Some((key.get(..LIST + name.len())?, sensor))
}

/// The name in the key of a domain, in key form.
pub(crate) fn domain(key: &[u8]) -> Option<&[u8]> {
    split_name_key(key.get(LIST..)?).map(|(name, _)| name)
}

/// The identity of a hit: the name, the indicator, the address if it is about one, the sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HitKey {
    pub rrname: Name,
    pub indicator: Vec<u8>,
    pub address: Option<IpAddr>,
    pub sensor: SensorId,
}

/// Appends the key of a hit; the name is in key form.
pub(crate) fn push_hit(
    rrname: &[u8],
    indicator: &[u8],
    address: Option<IpAddr>,
    sensor: SensorId,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(rrname);
    out.extend_from_slice(&(indicator.len() as u16).to_be_bytes());
    out.extend_from_slice(indicator);
    match address {
        Some(address) => push_address_key(address, out),
        None => out.push(0),
    }
    out.extend_from_slice(&sensor.0.to_be_bytes());
}

/// Reads the key of a hit.
pub(crate) fn hit(key: &[u8]) -> Option<HitKey> {
    let (rrname, rest) = split_name_key(key)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (indicator, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (address, sensor) = match rest.split_first()? {
        (0, sensor) => (None, sensor),
        _ => {
            let (rdata, sensor) = Rdata::split_key(rest).ok()?;
            (Some(rdata.address()?), sensor)
        }
    };
    let sensor = SensorId(u16::from_be_bytes(sensor.try_into().ok()?));
    let (rrname, indicator) = (Name::from_key(rrname).ok()?, indicator.to_vec());
    Some(HitKey { rrname, indicator, address, sensor })
}

/// Splits the key of a hit by its number behind that.
fn split_sequence(key: &[u8]) -> Option<(&[u8], &[u8])> {
    key.split_at_checked(SEQUENCE)
}

/// The key of a hit without its number.
pub(crate) fn hit_of_log(key: &[u8]) -> Option<&[u8]> {
    split_sequence(key).map(|(_, key)| key)
}

/// Whether the key of a domain was made by the suffix list that this program has.
pub(crate) fn is_of_this_list(key: &[u8]) -> bool {
    key.starts_with(&SUFFIX_LIST.to_be_bytes())
}

//--- Range ----------------------------------------------------------------------------------------------------------

/// The rows of one family from a key up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub family: Family,
    /// The first key.
    pub from: Vec<u8>,
    /// The first key that is no longer in it; `None` for the end of the family.
    pub to: Option<Vec<u8>>,
    /// The lookup part that all its keys share, if it is an exact lookup: what filters are asked for.
    pub exact: Option<Vec<u8>>,
}

impl Range {
    /// A whole family.
    pub fn all(family: Family) -> Range {
        Range { family, from: Vec::new(), to: None, exact: None }
    }

    /// The rows whose keys begin so.
    pub fn starting(family: Family, prefix: Vec<u8>) -> Range {
        Range { family, to: after_prefix(&prefix), from: prefix, exact: None }
    }

    /// The rows with a lookup part.
    pub fn exact(family: Family, part: Vec<u8>) -> Range {
        Range { exact: Some(part.clone()), ..Range::starting(family, part) }
    }

    /// What a span is in the keys of a family that begin with what it is a span of.
    fn of(family: Family, span: Span) -> Range {
        let exact = span.is_exact.then(|| span.from.clone());
        Range { family, from: span.from, to: span.to, exact }
    }

    /// The sightings of a scan; `None` where there can be none.
    pub fn entries(scan: &Scan) -> Option<Range> {
        let span = scan.span()?;
        let family = match span.found_by {
            FoundBy::Rrname => Family::ByName,
            FoundBy::Rdata => Family::ByRdata,
        };
        Some(Range::of(family, span))
    }

    /// The questions of a scan; `None` where there can be none.
    pub fn questions(scan: &Scan) -> Option<Range> {
        scan.span_of_names().map(|span| Range::of(Family::Questions, span))
    }

    /// The domains at and below a name, or all, by the suffix list that this program has; `None` where there can be none.
    pub fn domains(scan: &Scan) -> Option<Range> {
        let below = scan.domains_below()?;
        Some(Range::starting(Family::Domains, [&SUFFIX_LIST.to_be_bytes(), below.subtree_key()].concat()))
    }

    /// The hits with numbers above this.
    pub fn hits_after(sequence: u64) -> Range {
        Range { from: sequence.saturating_add(1).to_be_bytes().to_vec(), ..Range::all(Family::HitLog) }
    }

    /// The one hit with a key, if it is there.
    pub fn hit(key: &[u8]) -> Range {
        let exact = split_name_key(key).map(|(name, _)| name.to_vec());
        Range { family: Family::Hits, from: key.to_vec(), to: Some([key, &[0]].concat()), exact }
    }

    /// Leaves out everything before a row's tuple, and gives back the tuple's part of the key.
    pub fn skip_to(&mut self, position: &Position) -> Vec<u8> {
        let mut key = Vec::new();
        match self.family {
            Family::ByRdata => {
                position.tuple.rdata.push_key(&mut key);
                key.extend_from_slice(position.tuple.rrname.key());
                key.extend_from_slice(&position.tuple.rrtype.0.to_be_bytes());
            }
            _ => position.tuple.push_key(&mut key),
        }
        if key > self.from {
            self.from.clone_from(&key);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row_key(rrname: &str, rdata: &Rdata, sensor: u16) -> Vec<u8> {
        let tuple =
            Tuple { rrname: Name::parse(rrname).unwrap(), rrtype: RrType::CNAME, rdata: rdata.clone() };
        let mut key = Vec::new();
        tuple.push_key(&mut key);
        key.extend_from_slice(&sensor.to_be_bytes());
        key
    }

    #[test]
    fn a_row_is_found_by_record_data_and_back_unless_it_is_text() {
        for rdata in [
            Rdata::V4([192, 0, 2, 1].into()),
            Rdata::V6("2001:db8::1".parse().unwrap()),
            Rdata::Name(Name::parse("a.example").unwrap()),
            Rdata::Name(Name::root()),
        ] {
            let key = row_key("www.example.com", &rdata, 0x0102);
            let found = indexed_rdata(&key).unwrap().unwrap();
            let mut by_rdata = Vec::new();
            push_by_rdata(&key, found, &mut by_rdata).unwrap();
            assert_eq!(tuple(Family::ByRdata, &by_rdata).unwrap(), tuple(Family::ByName, &key).unwrap());
            let mut back = Vec::new();
            push_by_name(&by_rdata, &mut back).unwrap();
            assert_eq!(back, key);
        }
        assert!(indexed_rdata(&row_key("a.example", &Rdata::text(b"x"), 7)).unwrap().is_none());
    }

    #[test]
    fn keys_that_are_cut_are_damage() {
        let key = row_key("www.example.com", &Rdata::V4([192, 0, 2, 1].into()), 7);
        for cut in 0..key.len() {
            assert!(indexed_rdata(&key[..cut]).is_err(), "{cut}");
            assert!(tuple(Family::ByName, &key[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn what_has_a_prefix_is_before_its_end(
            prefix in proptest::collection::vec(250u8.., 0..4),
            rest in proptest::collection::vec(any::<u8>(), 0..4),
            other in proptest::collection::vec(250u8.., 0..6),
        ) {
            let end = after_prefix(&prefix);
            let inside = |key: &[u8]| key >= &prefix[..] && end.as_deref().is_none_or(|end| key < end);
            prop_assert!(inside(&[prefix.clone(), rest].concat()));
            prop_assert_eq!(inside(&other), other.starts_with(&prefix));
        }
    }
}
