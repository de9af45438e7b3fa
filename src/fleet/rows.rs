//! A row as the tables have it: to RowBinary, and its part of a bucket's digest.

use std::hash::Hasher;

use super::bucket;
use super::rowbinary::{put_bytes, put_u16, put_u32, put_u64};
use super::tables::{BY_DATA, BY_NAME, QUESTIONS};
use crate::dns::Rdata;
use crate::observation::{Asked, Halves, Seen};
use crate::store::Change;

/// A table of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Rows by name.
    ByName,
    /// Rows by record data.
    ByData,
    /// Questions.
    Questions,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 3] = [Table::ByName, Table::ByData, Table::Questions];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Table::ByName => BY_NAME,
            Table::ByData => BY_DATA,
            Table::Questions => QUESTIONS,
        }
    }

    /// Its columns before the sensor, in the order of its key.
    pub fn key(self) -> &'static [&'static str] {
        match self {
            Table::ByName => &["name", "rrtype", "rdata"],
            Table::ByData => &["rdata", "name", "rrtype"],
            Table::Questions => &["name", "rrtype"],
        }
    }

    /// The first of them.
    pub fn first_column(self) -> &'static str {
        if self == Table::ByData { "rdata" } else { "name" }
    }

    /// Its columns of values, without `names`.
    pub fn values(self) -> &'static str {
        match self {
            Table::ByName | Table::ByData => {
                "count, first, last, days, ttl, a_count, a_first, a_last, a_days, a_ttl"
            }
            Table::Questions => "o0, o1, o2, o3, o4, o5, o6, o7, first, last",
        }
    }

    /// The same as they are stored, where tables have spans, or where they have none.
    pub fn stored(self, spans: bool) -> String {
        if spans { self.values().replace("last", "span") } else { self.values().to_owned() }
    }

    /// All columns that are stored, in their order in RowBinary.
    pub fn columns(self, spans: bool) -> String {
        format!("{}, sensor, gen, epoch, ver, bucket, {}, names", self.key().join(", "), self.stored(spans))
    }

    /// What says of a row that there are sightings.
    pub fn is_alive(self) -> &'static str {
        match self {
            Table::ByName | Table::ByData => "count + a_count > 0",
            Table::Questions => "last > 0 OR o0 + o1 + o2 + o3 + o4 + o5 + o6 + o7 > 0",
        }
    }

    /// The last sighting of a row.
    pub fn last(self) -> &'static str {
        match self {
            Table::ByName | Table::ByData => "greatest(last, a_last)",
            Table::Questions => "last",
        }
    }

    /// The first sighting of a row that has one.
    pub fn first(self) -> &'static str {
        match self {
            Table::ByName | Table::ByData => {
                "if(count = 0, a_first, if(a_count = 0, first, least(first, a_first)))"
            }
            Table::Questions => "first",
        }
    }

    /// What is hashed of a row's key.
    fn hashed(self) -> &'static str {
        match self {
            Table::ByName | Table::ByData => "concat(name, rdata, sensor)",
            Table::Questions => "concat(name, sensor)",
        }
    }

    /// The part of a row in the digest of its bucket, as a statement says it.
    pub fn digest(self) -> String {
        let numbers = "rrtype, ".to_owned() + self.values() + ", names";
        let weighted = numbers
            .split(", ")
            .zip(0..)
            .map(|(column, at)| format!("toUInt64({column}) * toUInt64({})", weight(at)));
        let sum = weighted.collect::<Vec<_>>().join(" + ");
        format!("sipHash64({}) * ({sum} + toUInt64(1))", self.hashed())
    }
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

/// A row of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
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
    /// The last sighting, as [`Table::last`] has it.
    pub fn last(&self) -> u64 {
        match self {
            Values::Seen(halves) => halves.direct.time_last.max(halves.alias.time_last),
            Values::Asked(asked) => asked.time_last,
        }
    }
}

impl Row {
    /// Of a change.
    pub fn of(change: &Change) -> Row {
        let names = |names: Option<u64>| names.map_or(0, |names| names.saturating_add(1));
        match change {
            Change::Row(row) => {
                let mut rdata = Vec::new();
                row.tuple.rdata.push_key(&mut rdata);
                Row {
                    name: row.tuple.rrname.key().to_vec(),
                    rrtype: row.tuple.rrtype.0,
                    rdata,
                    sensor: row.sensor.to_string(),
                    values: Values::Seen(row.halves),
                    names: names(row.names),
                }
            }
            Change::Question(question) => Row {
                name: question.rrname.key().to_vec(),
                rrtype: question.qtype.0,
                rdata: Vec::new(),
                sensor: question.sensor.to_string(),
                values: Values::Asked(question.asked),
                names: names(question.names),
            },
        }
    }

    /// The tables that have it.
    pub fn tables(&self) -> &'static [Table] {
        match self.values {
            Values::Asked(_) => &[Table::Questions],
            Values::Seen(_) if Rdata::is_text_key(&self.rdata) => &[Table::ByName],
            Values::Seen(_) => &[Table::ByName, Table::ByData],
        }
    }

    /// The bucket that it is in, in a table.
    pub fn bucket(&self, table: Table) -> u16 {
        match table {
            Table::ByData => bucket::of_data(&self.rdata),
            Table::ByName | Table::Questions => bucket::of_name(&self.name),
        }
    }

    /// The same without sightings.
    pub fn emptied(self) -> Row {
        let values = match self.values {
            Values::Seen(_) => Values::Seen(Halves::default()),
            Values::Asked(_) => Values::Asked(Asked::default()),
        };
        Row { values, names: 0, ..self }
    }

    /// Its last sighting.
    pub fn last(&self) -> u64 {
        self.values.last()
    }

    /// Whether it has sightings.
    pub fn is_alive(&self) -> bool {
        match self.values {
            Values::Seen(halves) => !halves.direct.is_none() || !halves.alias.is_none(),
            Values::Asked(asked) => asked.time_last > 0 || asked.count() > 0,
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

    /// Its part in the digest of its bucket.
    pub fn digest(&self) -> u64 {
        let sum = self
            .numbers()
            .zip(0..)
            .fold(1u64, |sum, (number, at)| sum.wrapping_add(number.wrapping_mul(weight(at))));
        let parts: [&[u8]; 3] = [&self.name, &self.rdata, self.sensor.as_bytes()];
        sip_hash(&parts).wrapping_mul(sum)
    }

    /// Appends it as a table has it ([`Table::columns`]), with its bucket there.
    pub fn push(
        &self,
        table: Table,
        spans: bool,
        bucket: u16,
        generation: u64,
        version: u64,
        out: &mut Vec<u8>,
    ) {
        match table {
            Table::ByName => {
                put_bytes(&self.name, out);
                put_u16(self.rrtype, out);
                put_bytes(&self.rdata, out);
            }
            Table::ByData => {
                put_bytes(&self.rdata, out);
                put_bytes(&self.name, out);
                put_u16(self.rrtype, out);
            }
            Table::Questions => {
                put_bytes(&self.name, out);
                put_u16(self.rrtype, out);
            }
        }
        put_bytes(self.sensor.as_bytes(), out);
        put_u64(generation, out);
        put_u32(0, out);
        put_u64(version, out);
        put_u16(bucket, out);
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
