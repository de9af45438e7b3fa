//! The values of the ledger as bytes: bincode 2, big-endian, variable-length integers.
//!
//! A value has no version of its own: the block, or the record, that holds it has. What is stored is chosen to be small
//! and alike from row to row, so that it compresses: the distance to the first sighting instead of its time, and what
//! varies most (the time of the last one) at the end.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use bincode::config::{BigEndian, Configuration, Limit, Varint};
use bincode::{Decode, Encode};

use super::batch::Batch;
use super::key::{Family, Values};
use super::{Acknowledged, StoreError, damaged};
use crate::observation::{Asked, FirstSeen, Halves, Outcome, Seen};
use crate::progress::{LineageId, Mark, Progress};
use crate::tally::Tally;

/// No value is larger: a length beyond it is damage, not a reason to ask for memory.
const LIMIT: usize = 64 << 20;
const CONFIG: Configuration<BigEndian, Varint, Limit<LIMIT>> =
    bincode::config::standard().with_big_endian().with_limit::<LIMIT>();

//--- sightings and questions ----------------------------------------------------------------------------------------

#[derive(Encode, Decode)]
struct StoredSeen {
    count: u64,
    /// Seconds from the first sighting to the last.
    span: u64,
    days: u64,
    ttl: u32,
    time_last: u64,
}

impl From<&Seen> for StoredSeen {
    fn from(seen: &Seen) -> StoredSeen {
        StoredSeen {
            count: seen.count,
            span: seen.time_last.saturating_sub(seen.time_first),
            days: seen.days,
            ttl: seen.ttl,
            time_last: seen.time_last,
        }
    }
}

impl From<StoredSeen> for Seen {
    fn from(stored: StoredSeen) -> Seen {
        Seen {
            count: stored.count,
            time_first: stored.time_last.saturating_sub(stored.span),
            time_last: stored.time_last,
            days: stored.days,
            ttl: stored.ttl,
        }
    }
}

#[derive(Encode, Decode)]
enum StoredHalves {
    Direct(StoredSeen),
    Alias(StoredSeen),
    Both(StoredSeen, StoredSeen),
}

#[derive(Encode, Decode)]
enum StoredAsked {
    /// All with one outcome, which is nearly every question.
    One { outcome: u8, count: u64, span: u64, time_last: u64 },
    /// Counts in the order of [`Outcome::ALL`].
    Many { outcomes: [u64; Outcome::ALL.len()], span: u64, time_last: u64 },
}

/// Appends the stored form of sightings.
pub(crate) fn push_halves(halves: &Halves, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let Halves { direct, alias } = halves;
    push(
        &match (direct.is_none(), alias.is_none()) {
            (_, true) => StoredHalves::Direct(direct.into()),
            (true, false) => StoredHalves::Alias(alias.into()),
            (false, false) => StoredHalves::Both(direct.into(), alias.into()),
        },
        out,
    )
}

/// Takes sightings from their stored form.
pub(crate) fn halves(stored: &[u8]) -> Result<Halves, StoreError> {
    Ok(match take(stored, "a row")? {
        StoredHalves::Direct(direct) => Halves { direct: direct.into(), alias: Seen::default() },
        StoredHalves::Alias(alias) => Halves { direct: Seen::default(), alias: alias.into() },
        StoredHalves::Both(direct, alias) => Halves { direct: direct.into(), alias: alias.into() },
    })
}

/// Appends the stored form of a question's counts.
pub(crate) fn push_asked(asked: &Asked, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let span = asked.time_last.saturating_sub(asked.time_first);
    let mut counts = asked.outcomes.iter().zip(0u8..).filter(|(count, _)| **count > 0);
    let stored = match (counts.next(), counts.next()) {
        (Some((&count, outcome)), None) => {
            StoredAsked::One { outcome, count, span, time_last: asked.time_last }
        }
        _ => StoredAsked::Many { outcomes: asked.outcomes, span, time_last: asked.time_last },
    };
    push(&stored, out)
}

/// Takes a question's counts from their stored form.
pub(crate) fn asked(stored: &[u8]) -> Result<Asked, StoreError> {
    Ok(match take(stored, "a question")? {
        StoredAsked::One { outcome, count, span, time_last } => {
            let mut asked =
                Asked { time_first: time_last.saturating_sub(span), time_last, ..Asked::default() };
            let slot = asked.outcomes.get_mut(usize::from(outcome));
            *slot.ok_or_else(|| damaged("a question", "it has an unknown outcome"))? = count;
            asked
        }
        StoredAsked::Many { outcomes, span, time_last } => {
            Asked { outcomes, time_first: time_last.saturating_sub(span), time_last }
        }
    })
}

#[derive(Encode, Decode)]
struct StoredFirstSeen {
    asked: Option<u64>,
    answered: Option<u64>,
    last: u64,
}

/// Appends the stored form of first sightings.
pub(crate) fn push_first_seen(times: &FirstSeen, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let FirstSeen { asked, answered, last } = *times;
    push(&StoredFirstSeen { asked, answered, last }, out)
}

/// Takes first sightings from their stored form.
pub(crate) fn first_seen(stored: &[u8]) -> Result<FirstSeen, StoreError> {
    let StoredFirstSeen { asked, answered, last } = take(stored, "a registrable domain")?;
    Ok(FirstSeen { asked, answered, last })
}

/// What is stored of a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HitValue {
    /// Its number.
    pub sequence: u64,
    /// When it was noted, epoch seconds.
    pub noted: u64,
    /// When the record was that was met, or the first of them.
    pub time: u64,
    /// The note of the indicator.
    pub note: Vec<u8>,
    /// Who has seen it, and when.
    pub acknowledged: Option<Acknowledged>,
}

#[derive(Encode, Decode)]
enum StoredHit {
    V1 { note: Vec<u8>, time: u64, noted: u64, sequence: u64 },
    V2 { note: Vec<u8>, time: u64, noted: u64, sequence: u64, at: u64, by: String },
}

/// The stored form of a hit.
pub(crate) fn hit_to_bytes(hit: &HitValue) -> Result<Vec<u8>, StoreError> {
    let HitValue { sequence, noted, time, note, acknowledged } = hit.clone();
    let stored = match acknowledged {
        None => StoredHit::V1 { note, time, noted, sequence },
        Some(Acknowledged { at, by }) => StoredHit::V2 { note, time, noted, sequence, at, by },
    };
    let mut out = Vec::new();
    push(&stored, &mut out)?;
    Ok(out)
}

/// Takes a hit from its stored form.
pub(crate) fn hit(stored: &[u8]) -> Result<HitValue, StoreError> {
    Ok(match take(stored, "a hit")? {
        StoredHit::V1 { note, time, noted, sequence } => {
            HitValue { sequence, noted, time, note, acknowledged: None }
        }
        StoredHit::V2 { note, time, noted, sequence, at, by } => {
            let acknowledged = Some(Acknowledged { at, by });
            HitValue { sequence, noted, time, note, acknowledged }
        }
    })
}

/// When a row of a family was last seen, or a question last asked, by its stored value.
pub(crate) fn last_seen(family: Family, stored: &[u8]) -> Result<u64, StoreError> {
    Ok(match family.values() {
        Values::Sightings => halves(stored)?.combined().time_last,
        Values::Questions => asked(stored)?.time_last,
        Values::FirstSeen => first_seen(stored)?.last,
        Values::Hit => hit(stored)?.noted,
    })
}

/// Merges a stored value of a family into another.
pub(crate) fn merge(family: Family, into: &mut Vec<u8>, other: &[u8]) -> Result<(), StoreError> {
    match family.values() {
        Values::Sightings => {
            let mut sum = halves(into)?;
            sum.merge(&halves(other)?);
            into.clear();
            push_halves(&sum, into)
        }
        Values::Questions => {
            let mut sum = asked(into)?;
            sum.merge(&asked(other)?);
            into.clear();
            push_asked(&sum, into)
        }
        Values::FirstSeen => {
            let mut sum = first_seen(into)?;
            sum.merge(&first_seen(other)?);
            into.clear();
            push_first_seen(&sum, into)
        }
        // There is one of each: the first stands, and of two of the same number the one that was acknowledged first.
        Values::Hit => {
            let order = |value: HitValue| {
                let seen = value.acknowledged.map(|seen| (seen.at, seen.by));
                (value.sequence, seen.is_none(), seen)
            };
            if order(hit(other)?) < order(hit(into)?) {
                into.clear();
                into.extend_from_slice(other);
            }
            Ok(())
        }
    }
}

/// Adds a stored row of a family, which is no index, to a batch.
pub(crate) fn add_row(
    family: Family,
    key: &[u8],
    stored: &[u8],
    batch: &mut Batch,
) -> Result<(), StoreError> {
    match family.values() {
        Values::Sightings => batch.add_halves(key, &halves(stored)?),
        Values::Questions => batch.add_asked(key, &asked(stored)?),
        // It is made again of the others.
        Values::FirstSeen => {}
        Values::Hit => batch.add_hit(key.to_vec(), stored.to_vec()),
    }
    Ok(())
}

//--- progress -------------------------------------------------------------------------------------------------------

#[derive(Encode, Decode)]
struct StoredMark {
    offset: u64,
    hash: [u8; 16],
}

impl From<&Mark> for StoredMark {
    fn from(mark: &Mark) -> StoredMark {
        StoredMark { offset: mark.offset, hash: mark.hash }
    }
}

impl From<StoredMark> for Mark {
    fn from(stored: StoredMark) -> Mark {
        Mark { offset: stored.offset, hash: stored.hash }
    }
}

/// Versions of a lineage's progress; a new one is appended, an old one stays readable.
#[derive(Encode, Decode)]
enum StoredProgress {
    V1(ProgressV1),
    /// That, and how many answers were cut: written only where there are any.
    V2 {
        v1: ProgressV1,
        answers_cut: u64,
    },
    /// And the time of the oldest record, since format 3.
    V3 {
        v1: ProgressV1,
        answers_cut: u64,
        oldest: u64,
    },
    /// And the time of the latest record: written only where that was ahead of the clock.
    V4 {
        v1: ProgressV1,
        answers_cut: u64,
        oldest: u64,
        latest: u64,
    },
}

#[derive(Encode, Decode)]
struct ProgressV1 {
    sensor: String,
    consumed: StoredMark,
    marks: Vec<StoredMark>,
    header: Option<Vec<u8>>,
    counted: u64,
    skipped: Vec<u64>,
    malformed: Vec<u64>,
    newest: u64,
    complete: bool,
    archive_bytes: u64,
    prefix_changed: u64,
    path: Vec<u8>,
    read_at: u64,
}

/// The stored form of a lineage's progress, without its identity: that is the key.
pub(crate) fn progress_to_bytes(progress: &Progress) -> Result<Vec<u8>, StoreError> {
    let (counted, skipped, malformed) = progress.tally.to_counts();
    let v1 = ProgressV1 {
        sensor: progress.sensor.clone(),
        consumed: (&progress.consumed).into(),
        marks: progress.marks.iter().map(StoredMark::from).collect(),
        header: progress.header.clone(),
        counted,
        skipped,
        malformed,
        newest: progress.newest,
        complete: progress.complete,
        archive_bytes: progress.archive_bytes,
        prefix_changed: progress.prefix_changed,
        path: progress.path.as_os_str().as_bytes().to_vec(),
        read_at: progress.read_at,
    };
    let stored = match (progress.tally.answers_cut, progress.oldest) {
        (answers_cut, oldest) if progress.latest > progress.newest => {
            StoredProgress::V4 { v1, answers_cut, oldest, latest: progress.latest }
        }
        (0, 0) => StoredProgress::V1(v1),
        (answers_cut, 0) => StoredProgress::V2 { v1, answers_cut },
        (answers_cut, oldest) => StoredProgress::V3 { v1, answers_cut, oldest },
    };
    let mut out = Vec::new();
    push(&stored, &mut out)?;
    Ok(out)
}

/// Takes a lineage's progress from its stored form.
pub(crate) fn progress(lineage: LineageId, stored: &[u8]) -> Result<Progress, StoreError> {
    let (v1, answers_cut, oldest, latest) = match take(stored, "the progress of a log")? {
        StoredProgress::V1(v1) => (v1, 0, 0, 0),
        StoredProgress::V2 { v1, answers_cut } => (v1, answers_cut, 0, 0),
        StoredProgress::V3 { v1, answers_cut, oldest } => (v1, answers_cut, oldest, 0),
        StoredProgress::V4 { v1, answers_cut, oldest, latest } => (v1, answers_cut, oldest, latest),
    };
    let ProgressV1 {
        sensor,
        consumed,
        marks,
        header,
        counted,
        skipped,
        malformed,
        newest,
        complete,
        archive_bytes,
        prefix_changed,
        path,
        read_at,
    } = v1;
    let mut tally = Tally::from_counts(counted, &skipped, &malformed);
    tally.answers_cut = answers_cut;
    Ok(Progress {
        lineage,
        sensor,
        consumed: consumed.into(),
        marks: marks.into_iter().map(Mark::from).collect(),
        header,
        tally,
        newest,
        oldest,
        latest: latest.max(newest),
        complete,
        archive_bytes,
        prefix_changed,
        path: PathBuf::from(std::ffi::OsString::from_vec(path)),
        read_at,
    })
}

//--- bincode --------------------------------------------------------------------------------------------------------

/// Appends the stored form of anything that has one.
pub(crate) fn push(value: &impl Encode, out: &mut Vec<u8>) -> Result<(), StoreError> {
    bincode::encode_into_std_write(value, out, CONFIG)
        .map(drop)
        .map_err(|error| damaged("a value to be stored", &error.to_string()))
}

/// Takes a value from its stored form, which must be nothing else.
pub(crate) fn take<T: Decode<()>>(stored: &[u8], what: &str) -> Result<T, StoreError> {
    match bincode::decode_from_slice(stored, CONFIG) {
        Ok((value, read)) if read == stored.len() => Ok(value),
        Ok(_) => Err(damaged(what, "bytes are left over")),
        Err(error) => Err(damaged(what, &error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Half;
    use crate::tally::{Fate, Malformed, Skip};
    use proptest::prelude::*;

    fn seen() -> impl Strategy<Value = Seen> {
        (1u64.., any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
            |(count, a, b, days, ttl)| Seen { count, time_first: a.min(b), time_last: a.max(b), days, ttl },
        )
    }

    fn any_halves() -> impl Strategy<Value = Halves> {
        (seen(), seen(), 0..3).prop_map(|(a, b, which)| match which {
            0 => Halves::once(Half::Direct, a),
            1 => Halves::once(Half::Alias, b),
            _ => Halves { direct: a, alias: b },
        })
    }

    proptest! {
        #[test]
        fn sightings_round_trip(all in any_halves()) {
            let mut stored = Vec::new();
            push_halves(&all, &mut stored).unwrap();
            prop_assert_eq!(halves(&stored).unwrap(), all);
        }

        #[test]
        fn questions_round_trip(outcomes: [u64; 8], a: u64, b: u64, only in 0usize..9) {
            let mut question = Asked { outcomes, time_first: a.min(b), time_last: a.max(b) };
            if only < 8 {
                question.outcomes = [0; 8];
                question.outcomes[only] = outcomes[only];
            }
            let mut stored = Vec::new();
            push_asked(&question, &mut stored).unwrap();
            prop_assert_eq!(asked(&stored).unwrap(), question);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = halves(&bytes);
            let _ = asked(&bytes);
            let _ = first_seen(&bytes);
            let _ = hit(&bytes);
            let _ = progress(LineageId([0; 16]), &bytes);
        }
    }

    #[test]
    fn a_single_sighting_is_small() {
        let mut stored = Vec::new();
        push_halves(&Halves::once(Half::Direct, Seen::once(1_790_000_000, 300)), &mut stored).unwrap();
        assert_eq!(stored.len(), 12);
    }

    #[test]
    fn merging_stored_values_is_merging_values() {
        let (a, b) =
            (Halves::once(Half::Direct, Seen::once(1000, 5)), Halves::once(Half::Alias, Seen::once(2000, 6)));
        let (mut into, mut other) = (Vec::new(), Vec::new());
        push_halves(&a, &mut into).unwrap();
        push_halves(&b, &mut other).unwrap();
        merge(Family::ByName, &mut into, &other).unwrap();
        assert_eq!(halves(&into).unwrap(), Halves { direct: a.direct, alias: b.alias });
    }

    #[test]
    fn progress_round_trips() {
        let mut known = Progress::start(LineageId([7; 16]), "sensor");
        known.consumed = Mark { offset: 1 << 40, hash: [3; 16] };
        known.marks = vec![Mark { offset: 5, hash: [1; 16] }, Mark { offset: 9, hash: [2; 16] }];
        known.header = Some(b"#fields\tts".to_vec());
        known.tally.add(Fate::Counted);
        known.tally.add(Fate::Skipped(Skip::Port));
        known.tally.add(Fate::Malformed(Malformed::Nul));
        known.newest = 1_790_000_000;
        known.latest = known.newest;
        known.complete = true;
        known.prefix_changed = 2;
        known.path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/logs/\xff/dns.log"));
        known.read_at = 1_790_000_001;
        let stored = progress_to_bytes(&known).unwrap();
        assert_eq!(progress(known.lineage, &stored).unwrap(), known);
        assert!(progress(known.lineage, &stored[..stored.len() - 1]).is_err());
        known.tally.cut_answers(9);
        let with_cut = progress_to_bytes(&known).unwrap();
        assert_eq!(with_cut[1..], [&stored[1..], &[9]].concat());
        assert_eq!(progress(known.lineage, &with_cut).unwrap(), known);
        for oldest in [0, 1_700_000_000] {
            known.oldest = oldest;
            assert_eq!(progress(known.lineage, &progress_to_bytes(&known).unwrap()).unwrap(), known);
        }
        let before = progress_to_bytes(&known).unwrap();
        known.latest += 3600;
        let ahead = progress_to_bytes(&known).unwrap();
        assert!(ahead.len() > before.len(), "it is written only where it says something");
        assert_eq!(progress(known.lineage, &ahead).unwrap(), known);
    }
}
