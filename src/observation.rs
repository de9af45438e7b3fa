//! What the ledger counts: tuples, sightings of them, and questions.
//!
//! A [`Tuple`] is (rrname, rrtype, rdata); with a sensor it names one row of the ledger. What is known of a row is
//! [`Halves`]: the sightings at the name itself and those through an alias, each a [`Seen`]. A question is (rrname,
//! qtype, sensor) and what is known of it is [`Asked`]. Merging any of these is commutative and associative, and
//! deliberately not idempotent: who counts a sighting twice gets two.
//!
//! # Row keys
//!
//! The *row key* of a sighting is the tuple's key form (name, type as two bytes big-endian, record data) and then the
//! sensor's number, two bytes big-endian. That of a question is name, qtype, sensor. Both order like the ledger prints.

use hashbrown::HashTable;

use crate::base::seeded_hash;
use crate::dns::{Name, Rdata, RdataError, RrType, split_name_key};

/// Seconds of a day.
const DAY: u64 = 86_400;

//--- Tuple ----------------------------------------------------------------------------------------------------------

/// The number a store gave to a sensor's name; it means nothing outside that store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorId(pub u16);

/// Something a name was seen to have. Ordered by name (as a tree), type, data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// The owner name.
    pub rrname: Name,
    /// The record type.
    pub rrtype: RrType,
    /// The record data.
    pub rdata: Rdata,
}

/// Bytes of a sensor's name at most.
pub const MAX_SENSOR_BYTES: usize = 128;

/// Why a text is no name of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SensorNameError {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is longer than {MAX_SENSOR_BYTES} bytes")]
    Long,
    /// It holds what cannot be seen.
    #[error("it holds control characters, or some that cannot be seen")]
    Unseen,
}

/// Checks a name of a sensor, wherever it comes from: it is shown in every answer.
///
/// # Errors
///
/// When it is none.
pub fn check_sensor_name(name: &str) -> Result<(), SensorNameError> {
    match name {
        "" => Err(SensorNameError::Empty),
        name if name.len() > MAX_SENSOR_BYTES => Err(SensorNameError::Long),
        name if name.chars().any(is_unsafe_char) => Err(SensorNameError::Unseen),
        _ => Ok(()),
    }
}

/// Whether a character is not safe to be shown: control characters, and those that change the direction of text or
/// cannot be seen.
pub fn is_unsafe_char(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl Tuple {
    /// Appends the key form.
    pub fn push_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.rrname.key());
        out.extend_from_slice(&self.rrtype.0.to_be_bytes());
        self.rdata.push_key(out);
    }

    /// Takes a tuple and the sensor's number from a row key.
    ///
    /// # Errors
    ///
    /// When the bytes are no row key.
    pub fn from_row_key(key: &[u8]) -> Result<(Tuple, SensorId), RdataError> {
        let (rrname, rest) = split_name_key(key).ok_or(RdataError)?;
        let (rrtype, rest) = rest.split_first_chunk::<2>().ok_or(RdataError)?;
        let (rdata, rest) = Rdata::split_key(rest)?;
        let sensor = <[u8; 2]>::try_from(rest).map_err(|_| RdataError)?;
        let rrname = Name::from_key(rrname).map_err(|_| RdataError)?;
        let rrtype = RrType(u16::from_be_bytes(*rrtype));
        Ok((Tuple { rrname, rrtype, rdata }, SensorId(u16::from_be_bytes(sensor))))
    }
}

/// Takes name, qtype and the sensor's number from the row key of a question.
///
/// # Errors
///
/// When the bytes are no such key.
pub fn question_from_row_key(key: &[u8]) -> Result<(Name, RrType, SensorId), RdataError> {
    let (rrname, rest) = split_name_key(key).ok_or(RdataError)?;
    let (qtype, sensor) = rest.split_first_chunk::<2>().ok_or(RdataError)?;
    let sensor = <[u8; 2]>::try_from(sensor).map_err(|_| RdataError)?;
    let rrname = Name::from_key(rrname).map_err(|_| RdataError)?;
    Ok((rrname, RrType(u16::from_be_bytes(*qtype)), SensorId(u16::from_be_bytes(sensor))))
}

//--- Seen -----------------------------------------------------------------------------------------------------------

/// Sightings of one row, one or ten years of them. `count` 0 means none, and everything else is 0 then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Log records that held the tuple.
    pub count: u64,
    /// The first sighting, epoch seconds, UTC.
    pub time_first: u64,
    /// The last sighting, epoch seconds, UTC.
    pub time_last: u64,
    /// The UTC days with a sighting: bit i is the day of `time_last` minus i days.
    pub days: u64,
    /// The time to live of the latest sighting, seconds: the maximum of (time_last, ttl).
    pub ttl: u32,
}

impl Seen {
    /// One sighting.
    pub fn once(time: u64, ttl: u32) -> Seen {
        Seen { count: 1, time_first: time, time_last: time, days: 1, ttl }
    }

    /// Whether there is no sighting.
    pub fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Adds other sightings of the same row.
    pub fn merge(&mut self, other: &Seen) {
        if other.is_none() {
            return;
        }
        if self.is_none() {
            *self = *other;
            return;
        }
        let (day, other_day) = (self.time_last / DAY, other.time_last / DAY);
        self.days = shift(self.days, other_day.saturating_sub(day))
            | shift(other.days, day.saturating_sub(other_day));
        self.ttl = (self.time_last, self.ttl).max((other.time_last, other.ttl)).1;
        self.count = self.count.saturating_add(other.count);
        self.time_first = self.time_first.min(other.time_first);
        self.time_last = self.time_last.max(other.time_last);
    }
}

/// Moves day bits to a later day; 64 days or more leave none.
fn shift(days: u64, by: u64) -> u64 {
    u32::try_from(by).ok().and_then(|by| days.checked_shl(by)).unwrap_or(0)
}

/// Which half of a row a sighting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// Seen at the name itself.
    Direct,
    /// An address that the name reached through a chain of CNAMEs.
    Alias,
}

/// What is kept of one row: both halves, of which at least one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Halves {
    /// Sightings at the name itself.
    pub direct: Seen,
    /// Sightings through a chain.
    pub alias: Seen,
}

impl Halves {
    /// One sighting in one half.
    pub fn once(half: Half, seen: Seen) -> Halves {
        match half {
            Half::Direct => Halves { direct: seen, alias: Seen::default() },
            Half::Alias => Halves { direct: Seen::default(), alias: seen },
        }
    }

    /// Adds other sightings of the same row, half by half.
    pub fn merge(&mut self, other: &Halves) {
        self.direct.merge(&other.direct);
        self.alias.merge(&other.alias);
    }

    /// Both halves as one.
    pub fn combined(&self) -> Seen {
        let mut seen = self.direct;
        seen.merge(&self.alias);
        seen
    }

    /// The last sighting in either half.
    pub fn time_last(&self) -> u64 {
        self.direct.time_last.max(self.alias.time_last)
    }
}

//--- Asked ----------------------------------------------------------------------------------------------------------

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// NOERROR with answers.
    Answered,
    /// NOERROR without answers, for a type whose answers Zeek logs.
    NoData,
    /// NXDOMAIN (rcode 3).
    NxDomain,
    /// SERVFAIL (rcode 2).
    ServFail,
    /// REFUSED (rcode 5).
    Refused,
    /// Any other response code.
    Other,
    /// No response was seen.
    NoResponse,
    /// NOERROR without answers, for a type whose answers Zeek never logs (HTTPS, SVCB, CAA and the like).
    NotLogged,
}

impl Outcome {
    /// All outcomes. The place of one here is its code in the store: append, never reorder.
    pub const ALL: &'static [Outcome] = &[
        Outcome::Answered,
        Outcome::NoData,
        Outcome::NxDomain,
        Outcome::ServFail,
        Outcome::Refused,
        Outcome::Other,
        Outcome::NoResponse,
        Outcome::NotLogged,
    ];

    /// The name in answers and status.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::NoData => "nodata",
            Outcome::NxDomain => "nxdomain",
            Outcome::ServFail => "servfail",
            Outcome::Refused => "refused",
            Outcome::Other => "other",
            Outcome::NoResponse => "no_response",
            Outcome::NotLogged => "not_logged",
        }
    }
}

/// How often a question was asked, when, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Log records by outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// The first time, epoch seconds, UTC.
    pub time_first: u64,
    /// The last time, epoch seconds, UTC.
    pub time_last: u64,
}

impl Asked {
    /// Asked once.
    pub fn once(time: u64, outcome: Outcome) -> Asked {
        let mut asked = Asked { time_first: time, time_last: time, ..Asked::default() };
        if let Some(slot) = asked.outcomes.get_mut(outcome as usize) {
            *slot = 1;
        }
        asked
    }

    /// How often in all.
    pub fn count(&self) -> u64 {
        self.outcomes.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// How often with one outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome as usize).copied().unwrap_or_default()
    }

    /// Adds more of the same question.
    pub fn merge(&mut self, other: &Asked) {
        if other.count() == 0 {
            return;
        }
        if self.count() == 0 {
            *self = *other;
            return;
        }
        for (mine, theirs) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *mine = mine.saturating_add(*theirs);
        }
        self.time_first = self.time_first.min(other.time_first);
        self.time_last = self.time_last.max(other.time_last);
    }
}

//--- Observations ---------------------------------------------------------------------------------------------------

/// Tuples of one record that are compared with each other; from here on they are found by their hash.
const FEW: usize = 16;

/// How many tuples of one log record are kept when nobody says otherwise.
pub const DEFAULT_MAX_TUPLES: usize = 1000;

/// What one log record says, as row keys in one buffer that is used again for the next record.
///
/// It costs the same for each answer, however many there are: whoever sends a reply chooses them. What is kept has a
/// bound, and what is beyond it is counted.
#[derive(Debug)]
pub struct Observations {
    sensor: SensorId,
    time: u64,
    keys: Vec<u8>,
    items: Vec<Item>,
    /// The items by their hash, once they are more than [`FEW`].
    index: HashTable<u32>,
    question: Option<(usize, Outcome)>,
    max_tuples: usize,
    /// Answers of the record that were left out, all or in part, since there were too many.
    answers_cut: u64,
}

#[derive(Debug)]
struct Item {
    /// Where the row key is in `keys`.
    start: usize,
    end: usize,
    half: Half,
    ttl: u32,
    /// Of the key; 0 while it is not needed.
    hash: u64,
}

/// One sighting, borrowed from [`Observations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The row key: tuple and sensor.
    pub row_key: &'a [u8],
    /// Which half of the row.
    pub half: Half,
    /// Seconds; above 2^31-1 it is 0 already (RFC 2181 section 8).
    pub ttl: u32,
}

impl Observations {
    /// An empty buffer for the records of one sensor, each with at most [`DEFAULT_MAX_TUPLES`].
    pub fn new(sensor: SensorId) -> Observations {
        Observations {
            sensor,
            time: 0,
            keys: Vec::new(),
            items: Vec::new(),
            index: HashTable::new(),
            question: None,
            max_tuples: DEFAULT_MAX_TUPLES,
            answers_cut: 0,
        }
    }

    /// The same with another bound on the tuples of a record.
    pub fn with_max_tuples(self, max_tuples: usize) -> Observations {
        Observations { max_tuples, ..self }
    }

    /// Empties the buffer for a record of the time given (epoch seconds).
    pub fn reset(&mut self, time: u64) {
        self.time = time;
        self.keys.clear();
        self.items.clear();
        if !self.index.is_empty() {
            self.index.clear();
        }
        self.question = None;
        self.answers_cut = 0;
    }

    /// Adds a tuple, given by key forms; `false` when there is no more room for one. One record counts a tuple once: of a
    /// repeated one the larger ttl stands.
    pub fn push(
        &mut self,
        rrname_key: &[u8],
        rrtype: RrType,
        rdata_key: &[u8],
        half: Half,
        ttl: u32,
    ) -> bool {
        let start = self.keys.len();
        self.keys.extend_from_slice(rrname_key);
        self.keys.extend_from_slice(&rrtype.0.to_be_bytes());
        self.keys.extend_from_slice(rdata_key);
        self.keys.extend_from_slice(&self.sensor.0.to_be_bytes());
        let end = self.keys.len();
        let at = self.items.len();
        if at >= FEW && self.index.is_empty() {
            self.begin_index();
        }
        let Observations { keys, items, index, .. } = self;
        let new = keys.get(start..end);
        let is_known = |item: &Item| item.half == half && keys.get(item.start..item.end) == new;
        let (hash, known) = if at < FEW {
            (0, items.iter().position(is_known))
        } else {
            let hash = new.map_or(0, seeded_hash::hash);
            let found = index.find(hash, |&at| items.get(at as usize).is_some_and(is_known));
            (hash, found.map(|&at| at as usize))
        };
        if let Some(item) = known.and_then(|known| items.get_mut(known)) {
            item.ttl = item.ttl.max(ttl);
            keys.truncate(start);
            return true;
        }
        if at >= self.max_tuples {
            keys.truncate(start);
            return false;
        }
        items.push(Item { start, end, half, ttl, hash });
        if at >= FEW {
            index.insert_unique(hash, at as u32, |&at| items.get(at as usize).map_or(0, |item| item.hash));
        }
        true
    }

    /// The tuples have become more than a few: from now on they are found by their hash.
    fn begin_index(&mut self) {
        let Observations { keys, items, index, .. } = self;
        for item in items.iter_mut() {
            item.hash = keys.get(item.start..item.end).map_or(0, seeded_hash::hash);
        }
        for (at, item) in items.iter().enumerate() {
            let hash_of = |&at: &u32| items.get(at as usize).map_or(0, |item| item.hash);
            index.insert_unique(item.hash, at as u32, hash_of);
        }
    }

    /// Sets the question. It is added last, if at all, and at most once.
    pub fn ask(&mut self, rrname_key: &[u8], qtype: RrType, outcome: Outcome) {
        let start = self.keys.len();
        self.keys.extend_from_slice(rrname_key);
        self.keys.extend_from_slice(&qtype.0.to_be_bytes());
        self.keys.extend_from_slice(&self.sensor.0.to_be_bytes());
        self.question = Some((start, outcome));
    }

    /// Counts an answer for which there was no room.
    pub fn cut_answer(&mut self) {
        self.answers_cut += 1;
    }

    /// How many answers were left out since there was no room for them.
    pub fn answers_cut(&self) -> u64 {
        self.answers_cut
    }

    /// When the record was seen, epoch seconds.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Whether there is no tuple.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The tuples.
    pub fn iter(&self) -> impl Iterator<Item = Observation<'_>> {
        self.items.iter().filter_map(|item| {
            let row_key = self.keys.get(item.start..item.end)?;
            Some(Observation { row_key, half: item.half, ttl: item.ttl })
        })
    }

    /// The row key of the question and how it ended.
    pub fn question(&self) -> Option<(&[u8], Outcome)> {
        self.question.and_then(|(start, outcome)| Some((self.keys.get(start..)?, outcome)))
    }
}

//--- FirstSeen ------------------------------------------------------------------------------------------------------

/// When something of a registrable domain was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstSeen {
    /// When it was first asked for, epoch seconds.
    pub asked: Option<u64>,
    /// When it was first answered.
    pub answered: Option<u64>,
    /// When it was last asked for or answered.
    pub last: u64,
}

impl FirstSeen {
    /// What a row says.
    pub fn of_sightings(halves: &Halves) -> FirstSeen {
        let seen = halves.combined();
        FirstSeen { asked: None, answered: Some(seen.time_first), last: seen.time_last }
    }

    /// What a question says.
    pub fn of_question(asked: &Asked) -> FirstSeen {
        FirstSeen { asked: Some(asked.time_first), answered: None, last: asked.time_last }
    }

    /// Adds what else is known.
    pub fn merge(&mut self, other: &FirstSeen) {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        self.asked = least(self.asked, other.asked);
        self.answered = least(self.answered, other.answered);
        self.last = self.last.max(other.last);
    }

    /// When it was first met at all.
    pub fn first(&self) -> u64 {
        self.asked.into_iter().chain(self.answered).min().unwrap_or(self.last)
    }

    /// Whether it makes sense.
    pub fn is_sound(&self) -> bool {
        let mut times = self.asked.into_iter().chain(self.answered).peekable();
        times.peek().is_some() && times.all(|time| time <= self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen() -> impl Strategy<Value = Seen> {
        proptest::collection::vec((0u64..100 * DAY, 0u32..1000), 0..5).prop_map(|sightings| {
            let mut seen = Seen::default();
            for (time, ttl) in sightings {
                seen.merge(&Seen::once(time, ttl));
            }
            seen
        })
    }

    fn asked() -> impl Strategy<Value = Asked> {
        proptest::collection::vec((0u64..1000, 0usize..8), 0..5).prop_map(|questions| {
            let mut asked = Asked::default();
            for (time, outcome) in questions {
                asked.merge(&Asked::once(time, Outcome::ALL[outcome]));
            }
            asked
        })
    }

    proptest! {
        #[test]
        fn merging_sightings_is_commutative_and_associative(a in seen(), b in seen(), c in seen()) {
            let merged = |parts: &[Seen]| {
                let mut sum = Seen::default();
                parts.iter().for_each(|part| sum.merge(part));
                sum
            };
            let ab = merged(&[a, b]);
            prop_assert_eq!(ab, merged(&[b, a]));
            prop_assert_eq!(merged(&[ab, c]), merged(&[a, merged(&[b, c])]));
        }

        #[test]
        fn merging_questions_is_commutative_and_associative(a in asked(), b in asked(), c in asked()) {
            let merged = |parts: &[Asked]| {
                let mut sum = Asked::default();
                parts.iter().for_each(|part| sum.merge(part));
                sum
            };
            let ab = merged(&[a, b]);
            prop_assert_eq!(ab, merged(&[b, a]));
            prop_assert_eq!(merged(&[ab, c]), merged(&[a, merged(&[b, c])]));
        }
    }

    #[test]
    fn a_sensor_has_a_name_that_can_be_shown() {
        for name in ["default", "dmz \u{fc}", "a;b", &"s".repeat(128)] {
            assert_eq!(check_sensor_name(name), Ok(()), "{name}");
        }
        for (name, why) in [
            ("", SensorNameError::Empty),
            (&"s".repeat(129), SensorNameError::Long),
            ("a\nb", SensorNameError::Unseen),
            ("\x1b[2J", SensorNameError::Unseen),
            ("a\u{202e}", SensorNameError::Unseen),
            ("\u{9b}", SensorNameError::Unseen),
        ] {
            assert_eq!(check_sensor_name(name), Err(why), "{name:?}");
        }
    }

    #[test]
    fn days_show_a_gap() {
        let mut seen = Seen::once(10 * DAY + 5, 60);
        seen.merge(&Seen::once(12 * DAY, 30));
        assert_eq!(seen.days, 0b101);
        assert_eq!((seen.count, seen.time_first, seen.time_last, seen.ttl), (2, 10 * DAY + 5, 12 * DAY, 30));
        seen.merge(&Seen::once(200 * DAY, 1));
        assert_eq!(seen.days, 1);
        seen.merge(&Seen::once(3 * DAY, 1));
        assert_eq!((seen.days, seen.time_first), (1, 3 * DAY));
    }

    #[test]
    fn the_ttl_is_that_of_the_latest_sighting_and_the_larger_of_two_at_once() {
        let mut seen = Seen::once(100, 60);
        seen.merge(&Seen::once(99, 900));
        assert_eq!(seen.ttl, 60);
        seen.merge(&Seen::once(100, 70));
        assert_eq!(seen.ttl, 70);
    }

    #[test]
    fn tuples_of_a_record_are_counted_once_however_many_there_are_and_have_a_bound() {
        let rrname = Name::parse("www.example.com").unwrap();
        let mut observations = Observations::new(SensorId(7)).with_max_tuples(300);
        for _ in 0..2 {
            observations.reset(1000);
            for ttl in [1, 9, 5] {
                for i in 0..400u32 {
                    let mut rdata = Vec::new();
                    Rdata::V4(i.into()).push_key(&mut rdata);
                    let half = if i % 2 == 0 { Half::Direct } else { Half::Alias };
                    let kept = observations.push(rrname.key(), RrType::A, &rdata, half, ttl);
                    assert_eq!(kept, i < 300, "{i}");
                }
            }
            observations.ask(rrname.key(), RrType::A, Outcome::Answered);
            let keys: std::collections::HashSet<&[u8]> = observations.iter().map(|o| o.row_key).collect();
            assert_eq!((keys.len(), observations.iter().count()), (300, 300));
            assert!(observations.iter().all(|o| o.ttl == 9));
            assert_eq!(observations.question().map(|(_, outcome)| outcome), Some(Outcome::Answered));
        }
        // A small record after a large one.
        observations.reset(1000);
        assert!(observations.push(rrname.key(), RrType::A, b"\x04\xc0\x00\x02\x01", Half::Direct, 1));
        assert_eq!(observations.iter().count(), 1);
    }

    #[test]
    fn one_record_counts_a_tuple_once_in_each_half() {
        let rrname = Name::parse("www.example.com").unwrap();
        let mut rdata = Vec::new();
        Rdata::V4([192, 0, 2, 1].into()).push_key(&mut rdata);
        let mut observations = Observations::new(SensorId(7));
        observations.reset(1000);
        observations.push(rrname.key(), RrType::A, &rdata, Half::Direct, 5);
        observations.push(rrname.key(), RrType::A, &rdata, Half::Alias, 6);
        observations.push(rrname.key(), RrType::A, &rdata, Half::Direct, 9);
        observations.ask(rrname.key(), RrType::A, Outcome::Answered);
        let all: Vec<_> = observations.iter().collect();
        assert_eq!(
            all.iter().map(|o| (o.half, o.ttl)).collect::<Vec<_>>(),
            [(Half::Direct, 9), (Half::Alias, 6)]
        );
        let (tuple, sensor) = Tuple::from_row_key(all[0].row_key).unwrap();
        assert_eq!((tuple.rrname.clone(), tuple.rrtype, sensor), (rrname.clone(), RrType::A, SensorId(7)));
        assert_eq!(tuple.rdata.to_string(), "192.0.2.1");
        let (key, outcome) = observations.question().unwrap();
        assert_eq!(question_from_row_key(key), Ok((rrname, RrType::A, SensorId(7))));
        assert_eq!(outcome, Outcome::Answered);
    }

    #[test]
    fn first_sightings_are_merged_by_minimum_and_maximum() {
        let mut first = FirstSeen { asked: Some(5), answered: None, last: 9 };
        first.merge(&FirstSeen { asked: Some(7), answered: Some(3), last: 4 });
        assert_eq!(first, FirstSeen { asked: Some(5), answered: Some(3), last: 9 });
        assert_eq!(first.first(), 3);
        assert!(first.is_sound() && !FirstSeen::default().is_sound());
        assert!(!FirstSeen { asked: Some(5), answered: None, last: 4 }.is_sound());
    }
}
