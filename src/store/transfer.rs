//! Rows, questions and hits as they travel to who keeps them elsewhere: what [`super::Snapshot::changed_since`] tells, as bytes.
//!
//! A change is a byte for what it is, name, type (2), record data (of a row), sensor, names (8; one more than were folded, 0 where
//! that is not known) and the stored value; what has no end of its own is preceded by its length (4). Integers are big-endian. Of a hit it
//! is a byte, name, indicator, address (4 or 16 bytes; none where it is about none), sensor and the stored value.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Changed, Entry, Hit, Hits, Mark, Question, Snapshot, StoreError, damaged, value};
use crate::dns::{Name, Rdata, RrType};
use crate::observation::Tuple;

const ROW: u8 = b'r';
const QUESTION: u8 = b'q';
const HIT: u8 = b'h';

/// A row, a question or a hit, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A row.
    Row(Entry),
    /// A question.
    Question(Question),
    /// A hit.
    Hit(Hit),
}

impl Change {
    /// Appends it.
    ///
    /// # Errors
    ///
    /// When it cannot be written, which no ledger brings about.
    pub fn push(&self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let (kind, name, rrtype, sensor, names) = match self {
            Change::Row(row) => (ROW, &row.tuple.rrname, row.tuple.rrtype, &row.sensor, row.names),
            Change::Question(question) => {
                (QUESTION, &question.rrname, question.qtype, &question.sensor, question.names)
            }
            Change::Hit(hit) => return push_hit(hit, out),
        };
        out.push(kind);
        push_bytes(name.key(), out)?;
        out.extend_from_slice(&rrtype.0.to_be_bytes());
        if let Change::Row(row) = self {
            let mut rdata = Vec::new();
            row.tuple.rdata.push_key(&mut rdata);
            push_bytes(&rdata, out)?;
        }
        push_bytes(sensor.as_bytes(), out)?;
        out.extend_from_slice(&names.map_or(0, |names| names.saturating_add(1)).to_be_bytes());
        let mut stored = Vec::new();
        match self {
            Change::Row(row) => value::push_halves(&row.halves, &mut stored)?,
            Change::Question(question) => value::push_asked(&question.asked, &mut stored)?,
            Change::Hit(_) => {}
        }
        push_bytes(&stored, out)
    }

    /// Takes the next one off the front; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the bytes are none.
    pub fn take(bytes: &mut &[u8]) -> Result<Option<Change>, StoreError> {
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        *bytes = rest;
        if *kind == HIT {
            return take_hit(bytes).map(|hit| Some(Change::Hit(hit)));
        }
        let name = Name::from_key(take_bytes(bytes)?).map_err(|_| cut())?;
        let rrtype = RrType(u16::from_be_bytes(take_array(bytes)?));
        let rdata = match *kind {
            ROW => match Rdata::split_key(take_bytes(bytes)?) {
                Ok((rdata, [])) => Some(rdata),
                _ => return Err(cut()),
            },
            QUESTION => None,
            _ => return Err(cut()),
        };
        let sensor: Arc<str> = std::str::from_utf8(take_bytes(bytes)?).map_err(|_| cut())?.into();
        let names = u64::from_be_bytes(take_array(bytes)?).checked_sub(1);
        let stored = take_bytes(bytes)?;
        Ok(Some(match rdata {
            Some(rdata) => Change::Row(Entry {
                tuple: Tuple { rrname: name, rrtype, rdata },
                sensor,
                halves: value::halves(stored)?,
                names,
            }),
            None => Change::Question(Question {
                rrname: name,
                qtype: rrtype,
                sensor,
                asked: value::asked(stored)?,
                names,
            }),
        }))
    }
}

impl<'a> Changed<'a> {
    /// Rows and questions that have changed since a mark, which this is, and hits that have since another one, if they are wanted.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::changed_since`].
    pub fn all_with(
        self,
        snapshot: &'a dyn Snapshot,
        since: Mark,
        hits_since: Option<Mark>,
    ) -> Result<impl Iterator<Item = Result<Change, StoreError>> + 'a, StoreError> {
        let hits: Hits<'a> = match hits_since {
            None => Box::new(std::iter::empty()),
            Some(mark) if mark == since => self.hits,
            Some(mark) => snapshot.changed_since(mark)?.hits,
        };
        let rows = self.entries.map(|row| row.map(Change::Row));
        let questions = self.questions.map(|question| question.map(Change::Question));
        Ok(rows.chain(questions).chain(hits.map(|hit| hit.map(Change::Hit))))
    }
}

fn push_hit(hit: &Hit, out: &mut Vec<u8>) -> Result<(), StoreError> {
    out.push(HIT);
    push_bytes(hit.rrname.key(), out)?;
    push_bytes(&hit.indicator, out)?;
    match hit.address {
        None => push_bytes(&[], out)?,
        Some(IpAddr::V4(address)) => push_bytes(&address.octets(), out)?,
        Some(IpAddr::V6(address)) => push_bytes(&address.octets(), out)?,
    }
    push_bytes(hit.sensor.as_bytes(), out)?;
    let Hit { sequence, noted, time, .. } = *hit;
    let (note, acknowledged) = (hit.note.clone(), hit.acknowledged.clone());
    push_bytes(&value::hit_to_bytes(&value::HitValue { sequence, noted, time, note, acknowledged })?, out)
}

fn take_hit(bytes: &mut &[u8]) -> Result<Hit, StoreError> {
    let rrname = Name::from_key(take_bytes(bytes)?).map_err(|_| cut())?;
    let indicator = take_bytes(bytes)?.to_vec();
    let address = take_bytes(bytes)?;
    let address = match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
        (Ok(octets), _) => Some(octets.into()),
        (_, Ok(octets)) => Some(octets.into()),
        _ if address.is_empty() => None,
        _ => return Err(cut()),
    };
    let sensor = std::str::from_utf8(take_bytes(bytes)?).map_err(|_| cut())?.into();
    let value::HitValue { sequence, noted, time, note, acknowledged } = value::hit(take_bytes(bytes)?)?;
    Ok(Hit { sequence, noted, time, rrname, indicator, address, sensor, note, acknowledged })
}

fn cut() -> StoreError {
    damaged("a row on its way", "it is cut, or none")
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let length = u32::try_from(bytes.len()).map_err(|_| damaged("a row on its way", "it is too long"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (array, rest) = bytes.split_first_chunk::<N>().ok_or_else(cut)?;
    *bytes = rest;
    Ok(*array)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], StoreError> {
    let length = u32::from_be_bytes(take_array(bytes)?) as usize;
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Asked, Half, Halves, Outcome, Seen};
    use crate::store::Acknowledged;

    #[test]
    fn what_travels_comes_whole_or_is_an_error() {
        let name = Name::parse("www.example.com").unwrap();
        let rdata = [Rdata::V4([192, 0, 2, 1].into()), Rdata::Name(name.clone()), Rdata::text(b"\"x\0y\"")];
        let rows = rdata.into_iter().zip([None, Some(0), Some(7)]).map(|(rdata, names)| {
            Change::Row(Entry {
                tuple: Tuple { rrname: name.clone(), rrtype: RrType(1), rdata },
                sensor: "dmz".into(),
                halves: Halves::once(Half::Alias, Seen::once(1_790_000_000, 60)),
                names,
            })
        });
        let asked = Asked::once(1_790_000_000, Outcome::NxDomain);
        let question =
            Question { rrname: name.clone(), qtype: RrType(28), sensor: "dmz".into(), asked, names: None };
        let addresses = [None, Some("192.0.2.1".parse().unwrap()), Some("2001:db8::1".parse().unwrap())];
        let hits = addresses.into_iter().zip(7..).map(|(address, sequence)| {
            let seen = Acknowledged { at: 1_790_000_009, by: "soc".to_owned() };
            Change::Hit(Hit {
                sequence,
                noted: 1_790_000_001,
                time: 1_790_000_000,
                rrname: name.clone(),
                indicator: b"\0x".to_vec(),
                address,
                sensor: "dmz".into(),
                note: b"{}".to_vec(),
                acknowledged: (sequence == 8).then_some(seen),
            })
        });
        let changes: Vec<Change> = rows.chain([Change::Question(question)]).chain(hits).collect();
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for change in &changes {
            change.push(&mut bytes).unwrap();
            ends.push(bytes.len());
        }
        for end in 0..=bytes.len() {
            let (mut left, mut read) = (&bytes[..end], Vec::new());
            let ended = loop {
                match Change::take(&mut left) {
                    Ok(Some(change)) => read.push(change),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            assert_eq!(ended, ends.contains(&end), "{end}");
            assert_eq!(read, changes[..read.len()]);
        }
    }
}
