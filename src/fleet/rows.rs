//! A row as the tables have it: to RowBinary, and its part of a bucket's digest.

use std::hash::Hasher;

use super::FleetError;
use super::bucket;
use super::names::{BY_DATA, BY_NAME, HITS, QUESTIONS};
use super::rowbinary::ColumnReader;
use super::rowbinary::{put_bytes, put_u16, put_u32, put_u64};
use crate::dns::{Rdata, push_address_key};
use crate::observation::{Asked, Halves, Seen};
use crate::store::{Change, Entry, Hit, Question};

/// A table of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterTable {
    /// Rows by name.
    ByName,
    /// Rows by record data.
    ByData,
    /// Questions.
    Questions,
    /// Hits, in the order of their ledgers and numbers.
    Hits,
}

impl ClusterTable {
    /// All of them. Tables that an older version made are those of [`ClusterTable::OF_ROWS`] alone.
    pub const ALL: [ClusterTable; 4] =
        [ClusterTable::ByName, ClusterTable::ByData, ClusterTable::Questions, ClusterTable::Hits];
    /// Those of rows and questions.
    pub const OF_ROWS: [ClusterTable; 3] =
        [ClusterTable::ByName, ClusterTable::ByData, ClusterTable::Questions];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            ClusterTable::ByName => BY_NAME,
            ClusterTable::ByData => BY_DATA,
            ClusterTable::Questions => QUESTIONS,
            ClusterTable::Hits => HITS,
        }
    }

    /// Its columns before the sensor, in the order of its key; that of hits begins with the generation.
    pub fn key(self) -> &'static [&'static str] {
        match self {
            ClusterTable::ByName => &["name", "rrtype", "rdata"],
            ClusterTable::ByData => &["rdata", "name", "rrtype"],
            ClusterTable::Questions => &["name", "rrtype"],
            ClusterTable::Hits => &["number", "name", "indicator", "address"],
        }
    }

    /// The first of them; of hits the name, by which all of them are gone through.
    pub fn first_column(self) -> &'static str {
        if self == ClusterTable::ByData { "rdata" } else { "name" }
    }

    /// Its columns of values, without `names`.
    pub fn values(self) -> &'static str {
        match self {
            ClusterTable::ByName | ClusterTable::ByData => {
                "count, first, last, days, ttl, a_count, a_first, a_last, a_days, a_ttl"
            }
            ClusterTable::Questions => "o0, o1, o2, o3, o4, o5, o6, o7, first, last",
            ClusterTable::Hits => "noted, time, note, seen_at, seen_by",
        }
    }

    /// The same as they are stored, where tables have spans, or where they have none.
    pub fn stored(self, spans: bool) -> String {
        if spans { self.values().replace("last", "span") } else { self.values().to_owned() }
    }

    /// All columns that are stored, in their order in RowBinary.
    pub fn columns(self, spans: bool) -> String {
        let names = if self == ClusterTable::Hits { "" } else { ", names" };
        format!("{}, sensor, gen, epoch, ver, bucket, {}{names}", self.key().join(", "), self.stored(spans))
    }

    /// What says of a row that there are sightings.
    pub fn is_alive(self) -> &'static str {
        match self {
            ClusterTable::ByName | ClusterTable::ByData => "count + a_count > 0",
            ClusterTable::Questions => "last > 0 OR o0 + o1 + o2 + o3 + o4 + o5 + o6 + o7 > 0",
            ClusterTable::Hits => "noted > 0",
        }
    }

    /// The last sighting of a row; when a hit was noted.
    pub fn last(self) -> &'static str {
        match self {
            ClusterTable::ByName | ClusterTable::ByData => "greatest(last, a_last)",
            ClusterTable::Questions => "last",
            ClusterTable::Hits => "noted",
        }
    }

    /// The first sighting of a row that has one.
    pub fn first(self) -> &'static str {
        match self {
            ClusterTable::ByName | ClusterTable::ByData => {
                "if(count = 0, a_first, if(a_count = 0, first, least(first, a_first)))"
            }
            ClusterTable::Questions => "first",
            ClusterTable::Hits => "noted",
        }
    }

    /// What is hashed of a row.
    fn hashed(self) -> &'static str {
        match self {
            ClusterTable::ByName | ClusterTable::ByData => "concat(name, rdata, sensor)",
            ClusterTable::Questions => "concat(name, sensor)",
            ClusterTable::Hits => "concat(name, indicator, address, sensor, note, seen_by)",
        }
    }

    /// The part of a row in the digest of its bucket, as a statement says it.
    pub fn digest(self) -> String {
        let numbers = match self {
            ClusterTable::Hits => "number, noted, time, seen_at".to_owned(),
            _ => "rrtype, ".to_owned() + self.values() + ", names",
        };
        let weighted = numbers
            .split(", ")
            .zip(0..)
            .map(|(column, at)| format!("toUInt64({column}) * toUInt64({})", weight(at)));
        let sum = weighted.collect::<Vec<_>>().join(" + ");
        format!("sipHash64({}) * ({sum} + toUInt64(1))", self.hashed())
    }

    /// Takes the columns of its key and the sensor out of an answer: their bytes.
    ///
    /// # Errors
    ///
    /// When the answer is cut.
    pub fn take_key<'a>(self, answer: &mut ColumnReader<'a>) -> Result<&'a [u8], FleetError> {
        let all = answer.0;
        for column in self.key() {
            match *column {
                "rrtype" => drop(answer.u16()?),
                "number" => drop(answer.u64()?),
                _ => drop(answer.bytes()?),
            }
        }
        answer.bytes()?;
        all.get(..all.len() - answer.0.len()).ok_or_else(FleetError::cut)
    }

    /// Appends a row of a key and sensor without sightings, as [`ShippedState::push`] does one that has some.
    pub fn push_empty(self, key: &[u8], bucket: u16, generation: u64, version: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(key);
        push_identity(bucket, generation, version, out);
        // All numbers are 0, and what is text has no bytes, which its length says.
        let zeros = match self {
            ClusterTable::ByName | ClusterTable::ByData => 2 * (4 * 8 + 4) + 8,
            ClusterTable::Questions => 11 * 8,
            ClusterTable::Hits => 3 * 8 + 2,
        };
        out.resize(out.len() + zeros, 0);
    }
}

/// Appends what stands behind key and sensor in all tables.
fn push_identity(bucket: u16, generation: u64, version: u64, out: &mut Vec<u8>) {
    put_u64(generation, out);
    put_u32(0, out);
    put_u64(version, out);
    put_u16(bucket, out);
}

/// An odd number for each column.
fn weight(at: u64) -> u64 {
    (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// SipHash-2-4 with the key 0, which is ClickHouse's `sipHash64`.
pub fn sip_hash(parts: &[&[u8]]) -> u64 {
    #[expect(deprecated, reason = "what replaced it has another number of rounds")]
    let mut hasher = std::hash::SipHasher::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// What travels: a row or a question, or a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShippedState {
    /// A row or a question.
    Row(ClusterRow),
    /// A hit.
    Hit(Hit),
}

impl ShippedState {
    /// Of a change.
    pub fn of(change: Change) -> ShippedState {
        match change {
            Change::Row(entry) => ShippedState::Row(ClusterRow::of_entry(&entry)),
            Change::Question(question) => ShippedState::Row(ClusterRow::of_question(&question)),
            Change::Hit(hit) => ShippedState::Hit(hit),
        }
    }

    /// The tables that have it.
    pub fn tables(&self) -> &'static [ClusterTable] {
        match self {
            ShippedState::Row(row) => row.tables(),
            ShippedState::Hit(_) => &[ClusterTable::Hits],
        }
    }

    /// The bucket that it is in, in a table.
    pub fn bucket(&self, table: ClusterTable) -> u16 {
        match self {
            ShippedState::Row(row) => row.bucket(table),
            ShippedState::Hit(hit) => bucket::of_name(hit.rrname.key()),
        }
    }

    /// The sensor.
    pub fn sensor(&self) -> &str {
        match self {
            ShippedState::Row(row) => &row.sensor,
            ShippedState::Hit(hit) => &hit.sensor,
        }
    }

    /// Its last sighting; when a hit was noted.
    pub fn last(&self) -> u64 {
        match self {
            ShippedState::Row(row) => row.values.last(),
            ShippedState::Hit(hit) => hit.noted,
        }
    }

    /// The number of a hit; 0 of anything else.
    pub fn number(&self) -> u64 {
        match self {
            ShippedState::Row(_) => 0,
            ShippedState::Hit(hit) => hit.sequence,
        }
    }

    /// Its part in the digest of its bucket.
    pub fn digest(&self) -> u64 {
        match self {
            ShippedState::Row(row) => row.digest(),
            ShippedState::Hit(hit) => {
                let (seen_at, seen_by) = seen(hit);
                let numbers = [hit.sequence, hit.noted, hit.time, seen_at];
                let address = address_of(hit);
                let parts: [&[u8]; 6] = [
                    hit.rrname.key(),
                    &hit.indicator,
                    &address,
                    hit.sensor.as_bytes(),
                    &hit.note,
                    seen_by.as_bytes(),
                ];
                sip_hash(&parts).wrapping_mul(weighted(numbers.into_iter()))
            }
        }
    }

    /// Appends its key and sensor, in the order of a table.
    pub fn push_key(&self, table: ClusterTable, out: &mut Vec<u8>) {
        match self {
            ShippedState::Row(row) => row.push_key(table, out),
            ShippedState::Hit(hit) => {
                put_u64(hit.sequence, out);
                put_bytes(hit.rrname.key(), out);
                put_bytes(&hit.indicator, out);
                put_bytes(&address_of(hit), out);
                put_bytes(hit.sensor.as_bytes(), out);
            }
        }
    }

    /// Appends it as a table has it ([`ClusterTable::columns`]), with its bucket there.
    pub fn push(
        &self,
        table: ClusterTable,
        spans: bool,
        bucket: u16,
        generation: u64,
        version: u64,
        out: &mut Vec<u8>,
    ) {
        self.push_key(table, out);
        push_identity(bucket, generation, version, out);
        match self {
            ShippedState::Row(row) => row.push_values(spans, out),
            ShippedState::Hit(hit) => {
                let (seen_at, seen_by) = seen(hit);
                put_u64(hit.noted, out);
                put_u64(hit.time, out);
                put_bytes(&hit.note, out);
                put_u64(seen_at, out);
                put_bytes(seen_by.as_bytes(), out);
            }
        }
    }
}

/// The address of a hit in key form; empty where it is about none.
fn address_of(hit: &Hit) -> Vec<u8> {
    let mut key = Vec::new();
    if let Some(address) = hit.address {
        push_address_key(address, &mut key);
    }
    key
}

/// When a hit was acknowledged, and by whom; 0 and nobody where it was not.
fn seen(hit: &Hit) -> (u64, &str) {
    hit.acknowledged.as_ref().map_or((0, ""), |seen| (seen.at, &seen.by))
}

/// How names are stored that were folded: one more than they are, where that is known.
fn one_more(names: Option<u64>) -> u64 {
    names.map_or(0, |names| names.saturating_add(1))
}

/// A sum of numbers, each by the weight of its place, and 1.
fn weighted(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.zip(0..).fold(1u64, |sum, (number, at)| sum.wrapping_add(number.wrapping_mul(weight(at))))
}

/// A row of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRow {
    /// The name, in key form.
    pub name: Vec<u8>,
    /// The type.
    pub rrtype: u16,
    /// The record data, in key form; empty of a question.
    pub rdata: Vec<u8>,
    /// The sensor.
    pub sensor: String,
    /// The values.
    pub values: Values,
    /// One more than names were folded into it, where that is known.
    pub names: u64,
}

/// The values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Of a row.
    Seen(Halves),
    /// Of a question.
    Asked(Asked),
}

impl Values {
    /// The last sighting, as [`ClusterTable::last`] has it.
    pub fn last(&self) -> u64 {
        match self {
            Values::Seen(halves) => halves.direct.time_last.max(halves.alias.time_last),
            Values::Asked(asked) => asked.time_last,
        }
    }
}

impl ClusterRow {
    fn of_entry(row: &Entry) -> ClusterRow {
        let mut rdata = Vec::new();
        row.tuple.rdata.push_key(&mut rdata);
        ClusterRow {
            name: row.tuple.rrname.key().to_vec(),
            rrtype: row.tuple.rrtype.0,
            rdata,
            sensor: row.sensor.to_string(),
            values: Values::Seen(row.halves),
            names: one_more(row.names),
        }
    }

    fn of_question(question: &Question) -> ClusterRow {
        ClusterRow {
            name: question.rrname.key().to_vec(),
            rrtype: question.qtype.0,
            rdata: Vec::new(),
            sensor: question.sensor.to_string(),
            values: Values::Asked(question.asked),
            names: one_more(question.names),
        }
    }

    fn tables(&self) -> &'static [ClusterTable] {
        match self.values {
            Values::Asked(_) => &[ClusterTable::Questions],
            Values::Seen(_) if Rdata::is_text_key(&self.rdata) => &[ClusterTable::ByName],
            Values::Seen(_) => &[ClusterTable::ByName, ClusterTable::ByData],
        }
    }

    fn bucket(&self, table: ClusterTable) -> u16 {
        match table {
            ClusterTable::ByData => bucket::of_data(&self.rdata),
            ClusterTable::ByName | ClusterTable::Questions | ClusterTable::Hits => {
                bucket::of_name(&self.name)
            }
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        let seen = |seen: Seen| [seen.count, seen.time_first, seen.time_last, seen.days, u64::from(seen.ttl)];
        let values = match self.values {
            Values::Seen(halves) => [seen(halves.direct), seen(halves.alias)].concat(),
            Values::Asked(asked) => [&asked.outcomes[..], &[asked.time_first, asked.time_last]].concat(),
        };
        [u64::from(self.rrtype)].into_iter().chain(values).chain([self.names])
    }

    fn digest(&self) -> u64 {
        let parts: [&[u8]; 3] = [&self.name, &self.rdata, self.sensor.as_bytes()];
        sip_hash(&parts).wrapping_mul(weighted(self.numbers()))
    }

    fn push_key(&self, table: ClusterTable, out: &mut Vec<u8>) {
        match table {
            ClusterTable::ByName => {
                put_bytes(&self.name, out);
                put_u16(self.rrtype, out);
                put_bytes(&self.rdata, out);
            }
            ClusterTable::ByData => {
                put_bytes(&self.rdata, out);
                put_bytes(&self.name, out);
                put_u16(self.rrtype, out);
            }
            ClusterTable::Questions | ClusterTable::Hits => {
                put_bytes(&self.name, out);
                put_u16(self.rrtype, out);
            }
        }
        put_bytes(self.sensor.as_bytes(), out);
    }

    fn push_values(&self, spans: bool, out: &mut Vec<u8>) {
        let stored = |first: u64, last: u64| if spans { last.wrapping_sub(first) } else { last };
        match &self.values {
            Values::Seen(halves) => {
                for seen in [halves.direct, halves.alias] {
                    let last = stored(seen.time_first, seen.time_last);
                    for number in [seen.count, seen.time_first, last, seen.days] {
                        put_u64(number, out);
                    }
                    put_u32(seen.ttl, out);
                }
            }
            Values::Asked(asked) => {
                let last = stored(asked.time_first, asked.time_last);
                for number in asked.outcomes.into_iter().chain([asked.time_first, last]) {
                    put_u64(number, out);
                }
            }
        }
        put_u64(self.names, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_engine() {
        // SELECT sipHash64('abc')
        assert_eq!(sip_hash(&[b"a", b"bc"]), 4_596_069_200_710_135_518);
    }
}
