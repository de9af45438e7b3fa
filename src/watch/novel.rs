//! Events of what is new: a registrable domain that was never seen before is noted among the hits, once.
//!
//! They are made of the ledger alone, from time to time: of each domain its first sighting is known, whatever the order in which logs were
//! read. So an event is made once the logs are caught up with, and not in the first two weeks that the ledger knows of, in which
//! everything is new. What an older archive shows to have been seen before is taken back by another event.
//!
//! An event is a hit whose indicator is one of the bytes below; the domain is its name. Which sensor saw it first is in its note.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::note::{HitNote, Note};
use crate::base::replace::replace_file;
use crate::base::seeded_hash;
use crate::base::shutdown::Stop;
use crate::base::time::format_rfc3339;
use crate::dns::Name;
use crate::indicators::AllowList;
use crate::lookup::Brands;
use crate::observation::SensorId;
use crate::store::{NewHit, Scan, Snapshot, StoreError, WriteStore};

/// A domain that was never seen before, one that was seen before all the same, and a sum of many.
pub(super) const NEW: &[u8] = b"w";
pub(super) const RETRACTED: &[u8] = b"r";
const SUMMED: u8 = b's';

/// How long everything is new.
const WARM_UP: u64 = 14 * 86_400;
/// A domain first seen longer ago makes no event, seconds.
const NEWS: u64 = 7 * 86_400;
/// An event is taken back where the domain was seen so much earlier: logs of several sensors come a little late.
const EARLIER: u64 = 600;
/// Events within an hour; a sum stands for the rest.
const AN_HOUR: u64 = 1000;
const HOUR: u64 = 3600;
/// How often it is looked, and at most this part of the time.
const LOOK: Duration = Duration::from_secs(2);
const SHARE: u32 = 20;
/// Domains between two looks whether it is to stop.
const STOP: u64 = 4096;
/// Events that may still be taken back, at most.
const REMEMBERED: usize = 1_000_000;

/// Which new domains become events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// No domain.
    None,
    /// Those that look like a brand.
    #[default]
    Lookalikes,
    /// All new domains.
    All,
}

impl Which {
    /// The one that is called so.
    pub fn from_name(name: &str) -> Option<Which> {
        match name {
            "none" => Some(Which::None),
            "lookalikes" => Some(Which::Lookalikes),
            "all" => Some(Which::All),
            _ => None,
        }
    }
}

/// The kind of an event by its indicator; `None` where it is none.
pub(super) fn kind(indicator: &[u8]) -> Option<&'static str> {
    match indicator {
        NEW => Some("new"),
        RETRACTED => Some("new_retracted"),
        [SUMMED, ..] => Some("new_summed"),
        _ => None,
    }
}

/// Whether a first sighting is so much earlier than an event says that the event is taken back.
pub(super) fn is_earlier(first: u64, time: u64) -> bool {
    first.saturating_add(EARLIER) < time
}

/// The state that is kept in a file.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// When events began, epoch seconds: domains first seen before make none.
    since: u64,
    /// Domains first seen up to this second, epoch seconds, that made no event are in a sum.
    summed_until: u64,
    /// When the hour began, the events in it, and how many domains are beyond.
    hour: u64,
    in_hour: u64,
    beyond: u64,
    /// Events so far, of any kind.
    events: u64,
}

/// Makes events of what is new.
pub struct Novelty {
    store: Arc<dyn WriteStore>,
    path: PathBuf,
    which: Which,
    brands: Brands,
    own: AllowList,
    memory: Mutex<Memory>,
    events: AtomicU64,
}

#[derive(Default)]
struct Memory {
    record: Option<Record>,
    /// Events that were not taken back: the first sighting they tell, by a hash of the domain.
    told: HashMap<u64, u64>,
    /// Domains that are looked at and are no event.
    passed: HashSet<u64>,
}

/// The result of a pass: new domains, the oldest first, and events to take back.
struct Looked {
    found: Vec<NewDomain>,
    taken_back: Vec<NewHit>,
}

/// A domain that is new.
struct NewDomain {
    domain: Name,
    first: u64,
    sensor: Arc<str>,
}

impl Novelty {
    /// For a ledger in a data folder.
    pub fn of(
        store: Arc<dyn WriteStore>,
        data: &Path,
        which: Which,
        brands: Brands,
        own: AllowList,
    ) -> Novelty {
        let which = if which == Which::Lookalikes && brands.is_empty() { Which::None } else { which };
        let path = data.join("watch/new");
        Novelty { store, path, which, brands, own, memory: Mutex::default(), events: AtomicU64::new(0) }
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Looks for what is new for ever; `is_ready` says whether the logs are caught up with.
    pub fn run(&self, is_ready: &dyn Fn() -> bool, now: &dyn Fn() -> u64, stop: &Stop) {
        if self.which == Which::None {
            return;
        }
        let mut told = false;
        let mut pause = LOOK;
        while !stop.wait(pause) {
            if !is_ready() {
                continue;
            }
            let began = Instant::now();
            match self.pass(now(), stop) {
                Ok(()) => told = false,
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::error!(%error, "Events of what is new cannot be made just now.");
                }
                Err(_) => {}
            }
            // In a large ledger a look takes long.
            pause = LOOK.max(began.elapsed() * SHARE);
        }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read, or an event not be noted: it is made later then.
    pub fn pass(&self, now: u64, stop: &Stop) -> Result<(), StoreError> {
        let mut memory = self.memory.lock();
        let ledger = self.store.now();
        if memory.record.is_none() {
            memory.record = Some(self.begin(&*ledger, now, &mut memory)?);
        }
        let mut record = memory.record.unwrap_or_default();
        let Some(Looked { found, taken_back }) = self.find(&*ledger, &record, now, &mut memory, stop)? else {
            return Ok(());
        };
        if now >= record.hour.saturating_add(HOUR) || now < record.hour {
            if record.beyond > 0 {
                self.keep(&[self.sum(&record)], &mut record)?;
            }
            (record.hour, record.in_hour, record.beyond) = (now, 0, 0);
        }
        self.keep(&taken_back, &mut record)?;
        let room = usize::try_from(AN_HOUR.saturating_sub(record.in_hour)).unwrap_or(0);
        let (now_told, beyond) = found.split_at(room.min(found.len()));
        let hits: Vec<NewHit> = now_told.iter().map(|found| self.event(found)).collect();
        record.in_hour += self.keep(&hits, &mut record)?;
        record.beyond += beyond.len() as u64;
        record.summed_until = beyond.iter().map(|found| found.first).fold(record.summed_until, u64::max);
        for found in now_told {
            if memory.told.len() < REMEMBERED {
                memory.told.insert(seeded_hash::hash(found.domain.key()), found.first);
            }
        }
        memory.record = Some(record);
        self.events.store(record.events, Ordering::Relaxed);
        self.write(&record)
            .map_err(|error| StoreError::Io { what: format!("writing {}", self.path.display()), error })
    }

    /// Loads the kept state and the events in the ledger.
    fn begin(&self, ledger: &dyn Snapshot, now: u64, memory: &mut Memory) -> Result<Record, StoreError> {
        let kept = fs::read(&self.path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        for hit in ledger.hits(0)? {
            let hit = hit?;
            let hash = seeded_hash::hash(hit.rrname.key());
            match hit.indicator.as_slice() {
                NEW if memory.told.len() < REMEMBERED => drop(memory.told.insert(hash, hit.time)),
                RETRACTED => {
                    memory.told.remove(&hash);
                    memory.passed.insert(hash);
                }
                _ => {}
            }
        }
        Ok(kept.unwrap_or(Record { since: now, ..Record::default() }))
    }

    /// Looks through all domains; `None` where it was stopped.
    fn find(
        &self,
        ledger: &dyn Snapshot,
        record: &Record,
        now: u64,
        memory: &mut Memory,
        stop: &Stop,
    ) -> Result<Option<Looked>, StoreError> {
        let after = record.since.max(now.saturating_sub(NEWS)).max(record.summed_until.saturating_add(1));
        let (mut found, mut taken_back, mut passed) = (Vec::new(), Vec::new(), HashSet::new());
        let (mut oldest, mut read) = (u64::MAX, 0u64);
        let mut last: Option<NewDomain> = None;
        let mut domains = ledger.domains(&Scan::All)?;
        loop {
            let next = domains.next().transpose()?;
            if let (Some(seen), Some(known)) = (&next, &mut last)
                && seen.domain == known.domain
            {
                if (seen.times.first(), &seen.sensor) < (known.first, &known.sensor) {
                    (known.first, known.sensor) = (seen.times.first(), Arc::clone(&seen.sensor));
                }
                continue;
            }
            let following = next.map(|seen| {
                let (first, sensor) = (seen.times.first(), Arc::clone(&seen.sensor));
                NewDomain { domain: seen.domain, first, sensor }
            });
            let is_end = following.is_none();
            if let Some(one) = std::mem::replace(&mut last, following) {
                oldest = oldest.min(one.first);
                let hash = seeded_hash::hash(one.domain.key());
                match memory.told.get(&hash) {
                    Some(time) if is_earlier(one.first, *time) => {
                        memory.told.remove(&hash);
                        passed.insert(hash);
                        taken_back.push(self.retraction(&one));
                    }
                    Some(_) => {}
                    None if one.first < after => {}
                    None if memory.passed.contains(&hash) => drop(passed.insert(hash)),
                    None if self.is_wanted(&one.domain) => found.push(one),
                    None => drop(passed.insert(hash)),
                }
            }
            if is_end {
                break;
            }
            read += 1;
            if read.is_multiple_of(STOP) && stop.is_stopped() {
                return Ok(None);
            }
        }
        drop(domains);
        memory.passed = passed;
        // In the first weeks everything is new.
        let warm = oldest.saturating_add(WARM_UP);
        found.retain(|found| found.first >= warm);
        found.sort_by(|a, b| (a.first, &a.domain).cmp(&(b.first, &b.domain)));
        Ok(Some(Looked { found, taken_back }))
    }

    fn is_wanted(&self, domain: &Name) -> bool {
        let is_of = self.which == Which::All || self.brands.like(domain).is_some();
        is_of && !self.own.has_name(domain.key())
    }

    fn event(&self, found: &NewDomain) -> NewHit {
        let like = self.brands.like(&found.domain);
        let like = like.map(|like| format!(", and looks like {} ({})", like.brand, like.how.name()));
        let said = format!("never seen before{}", like.unwrap_or_default());
        hit(&found.domain, NEW, found.first, said, &found.sensor)
    }

    fn retraction(&self, found: &NewDomain) -> NewHit {
        let said = format!("not new: an older log shows it at {}", format_rfc3339(found.first));
        hit(&found.domain, RETRACTED, found.first, said, &found.sensor)
    }

    fn sum(&self, record: &Record) -> NewHit {
        let indicator = [[SUMMED].as_slice(), &record.hour.to_be_bytes()].concat();
        let from = format_rfc3339(record.hour);
        let said = format!(
            "{} more new domains within the hour from {from} on: `dnsledger new` has them",
            record.beyond
        );
        hit(&Name::root(), &indicator, record.hour, said, "")
    }

    fn keep(&self, hits: &[NewHit], record: &mut Record) -> Result<u64, StoreError> {
        if hits.is_empty() {
            return Ok(0);
        }
        let kept = self.store.keep_hits(hits)?;
        record.events += kept;
        Ok(kept)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        if fs::read(&self.path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        replace_file(&self.path, &self.path.with_extension("part"), 0o666, &text)
    }
}

/// An event as a hit. Its key is of no sensor, so that it is there once; the sensor is in the note.
fn hit(domain: &Name, indicator: &[u8], time: u64, said: String, sensor: &str) -> NewHit {
    let sensor_name = (!sensor.is_empty()).then(|| sensor.to_owned());
    let note = Note { title: Some(said), id: sensor_name, ..Note::default() };
    let note = HitNote { feeds: Vec::new(), note }.to_bytes();
    let (rrname, indicator) = (domain.clone(), indicator.to_vec());
    NewHit { rrname, indicator, address: None, sensor: SensorId(0), time, note }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Asked, Outcome};
    use crate::store::Options;
    use crate::store::batch::Batch;
    use crate::store::sled::SledStore;
    use crate::watch::HitLine;

    const DAY: u64 = 86_400;
    const NOW: u64 = 1_780_000_000;

    struct Ledger {
        _folder: tempfile::TempDir,
        store: Arc<dyn WriteStore>,
        novelty: Novelty,
    }

    impl Ledger {
        /// One that knows of something three weeks ago.
        fn new(which: Which) -> Ledger {
            let folder = tempfile::tempdir().unwrap();
            let store: Arc<dyn WriteStore> =
                Arc::new(SledStore::open(folder.path(), &Options::default()).unwrap());
            let novelty = Ledger::novelty(&store, folder.path(), which);
            let ledger = Ledger { _folder: folder, store, novelty };
            ledger.ask("lan", &[("www.old.test", NOW - 21 * DAY)]);
            ledger
        }

        fn novelty(store: &Arc<dyn WriteStore>, folder: &Path, which: Which) -> Novelty {
            let brands = Brands::parse(&["example.com".to_owned()]).unwrap();
            let own = crate::watch::read_allow(&["own.test".to_owned()]).unwrap();
            Novelty::of(Arc::clone(store), folder, which, brands, own)
        }

        fn ask(&self, sensor: &str, names: &[(&str, u64)]) {
            let (sensor, mut batch) = (self.store.sensor(sensor).unwrap(), Batch::default());
            for (name, time) in names {
                let mut key = Name::parse(name).unwrap().key().to_vec();
                key.extend_from_slice(&1u16.to_be_bytes());
                key.extend_from_slice(&sensor.0.to_be_bytes());
                batch.add_asked(&key, &Asked::once(*time, Outcome::ALL[0]));
            }
            self.store.apply(&batch).unwrap();
        }

        fn pass(&self, now: u64) {
            self.novelty.pass(now, &Stop::new()).unwrap();
        }

        /// The events: their kind, the domain, the sensor; and whether it was taken back.
        fn events(&self) -> Vec<(String, String, String, bool)> {
            let snapshot = self.store.now();
            let mut lines: Vec<HitLine> =
                snapshot.hits(0).unwrap().map(|hit| HitLine::from(&hit.unwrap())).collect();
            HitLine::retract(&mut lines, &*snapshot).unwrap();
            lines.into_iter().map(|line| (line.kind, line.rrname, line.sensor, line.retracted)).collect()
        }
    }

    fn event(kind: &str, name: &str, sensor: &str, retracted: bool) -> (String, String, String, bool) {
        (kind.to_owned(), name.to_owned(), sensor.to_owned(), retracted)
    }

    #[test]
    fn a_domain_that_was_never_seen_before_is_told_once_and_taken_back_by_an_older_log() {
        let ledger = Ledger::new(Which::All);
        ledger.ask("lan", &[("a.early.test", NOW - 5)]);
        ledger.pass(NOW);
        assert!(ledger.events().is_empty(), "what was there before is no news");
        ledger.ask("dmz", &[("b.fresh.test", NOW + 5), ("x.own.test", NOW + 5), ("www.old.test", NOW + 5)]);
        // A second sensor has seen it, too, a little earlier or later.
        ledger.ask("lan", &[("c.fresh.test", NOW + 7), ("examp1e.com", NOW + 9)]);
        for _ in 0..2 {
            ledger.pass(NOW + 10);
            let told = [event("new", "examp1e.com", "lan", false), event("new", "fresh.test", "dmz", false)];
            assert_eq!(ledger.events(), told);
        }
        ledger.ask("lan", &[("b.fresh.test", NOW + 3), ("fresh.test", NOW + 4)]);
        ledger.pass(NOW + 20);
        assert_eq!(ledger.events().len(), 2, "seconds earlier is the same news");
        // Another process goes on where this one was, and an older archive comes.
        let again = Ledger::novelty(&ledger.store, ledger._folder.path(), Which::All);
        let ledger = Ledger { novelty: again, ..ledger };
        ledger.pass(NOW + 30);
        ledger.ask("lan", &[("z.fresh.test", NOW - 9 * DAY)]);
        for _ in 0..2 {
            ledger.pass(NOW + 40);
            let told = [
                event("new", "examp1e.com", "lan", false),
                event("new", "fresh.test", "dmz", true),
                event("new_retracted", "fresh.test", "lan", false),
            ];
            assert_eq!(ledger.events(), told);
        }
        assert_eq!(ledger.novelty.events(), 3);
    }

    #[test]
    fn nothing_is_told_in_the_first_two_weeks_nor_where_it_is_not_wanted() {
        for (which, wanted) in [(Which::All, 2), (Which::Lookalikes, 1), (Which::None, 0)] {
            let ledger = Ledger::new(which);
            if which != Which::None {
                ledger.pass(NOW - 21 * DAY);
                ledger.ask("lan", &[("early.test", NOW - 8 * DAY), ("examp1e.org", NOW - 8 * DAY)]);
                ledger.pass(NOW - 8 * DAY);
                assert!(ledger.events().is_empty());
                ledger.ask("lan", &[("fresh.test", NOW), ("examp1e.com", NOW)]);
                ledger.pass(NOW);
            }
            ledger.novelty.run(&|| true, &|| NOW, &{
                let stop = Stop::new();
                stop.stop();
                stop
            });
            assert_eq!(ledger.events().len(), wanted, "{which:?}");
        }
    }

    #[test]
    fn of_a_flood_a_thousand_are_told_and_a_sum() {
        let ledger = Ledger::new(Which::All);
        ledger.pass(NOW);
        let names: Vec<String> = (0..1300).map(|n| format!("d{n}.test")).collect();
        let asked: Vec<(&str, u64)> =
            names.iter().zip(NOW + 1..).map(|(name, at)| (name.as_str(), at)).collect();
        ledger.ask("lan", &asked[..700]);
        ledger.pass(NOW + 1400);
        ledger.ask("lan", &asked[700..]);
        for _ in 0..2 {
            ledger.pass(NOW + 1500);
            assert_eq!(ledger.events().len(), 1000);
        }
        // The next hour begins with what the last one left out, as a sum.
        ledger.ask("lan", &[("later.test", NOW + 3700)]);
        for _ in 0..2 {
            ledger.pass(NOW + 3800);
            let events = ledger.events();
            assert_eq!(
                events[1000..],
                [event("new_summed", ".", "", false), event("new", "later.test", "lan", false)]
            );
        }
        let snapshot = ledger.store.now();
        let sum = snapshot.hits(1000).unwrap().next().unwrap().unwrap();
        assert!(HitLine::from(&sum).title.unwrap().starts_with("300 more new domains"));
    }
}
