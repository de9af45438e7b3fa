//! One view over what is committed and what is not yet, and the rules of who may read which log.
//!
//! The store knows what was applied. Live lines are folded into an *open batch* in memory first, and lookups must see
//! them there; each second the open batch is *applied*. A [`View`] sees every sighting exactly once, wherever it is
//! just then: batches are numbered, and a batch in memory counts only if the snapshot does not hold its number yet.
//!
//! History takes another way: a bulk batch is private to its reader until it is applied whole.
//!
//! # Claims
//!
//! A lineage may be met at several places at once: the live file, its rotated name, its archive. Only one reader may
//! read it at a time, and another only after everything read so far is applied, so that progress never runs ahead of
//! the counts it covers. [`Ledger::claim`] holds that.
//!
//! # Threads
//!
//! Everything here may be called from any thread. No lock is held while the store works.

use std::collections::HashMap;
use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::base::fault::point;
use crate::dns::{Rdata, push_address_key, split_name_key};
use crate::observation::{Asked, Tuple, question_from_row_key};
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::{Entries, Entry, Position, Question, Scan, Snapshot, Store, StoreError};

/// How often a lock that somebody holds just now is tried again by who must not wait for it.
const TRIES: usize = 32;
/// Rows and questions in memory that are looked through by who must not wait: less than a tenth of a millisecond.
const ROWS_AT_ONCE: usize = 4096;

//--- Ledger ---------------------------------------------------------------------------------------------------------

/// The ledger: a store, and what is on its way there.
pub struct Ledger {
    store: Arc<dyn Store>,
    live: Mutex<Live>,
    /// Held while a live batch is applied, so that they are applied in order.
    committing: Mutex<()>,
    claims: Mutex<HashMap<LineageId, Claim>>,
    /// Told whenever a claim ends.
    released: Condvar,
}

/// Live batches in memory.
struct Live {
    /// Takes what is read now.
    open: Batch,
    /// Closed, and not known to be applied; its number is one less than that of `open`.
    applying: Option<Arc<Batch>>,
}

/// Who has a lineage.
#[derive(Default)]
struct Claim {
    /// A reader has it.
    held: bool,
    /// That reader follows a live log.
    live: bool,
    /// The newest progress that was put in a batch and not yet applied.
    unapplied: Option<Progress>,
}

/// What came of asking for a lineage.
#[derive(Debug)]
pub enum Claimed {
    /// It is the caller's until [`Ledger::release`]; how far it was read before.
    Yes(Option<Box<Progress>>),
    /// Another reader has it, or had it and is not applied yet; whether that one follows it live.
    Busy {
        /// The reader follows a live log, and has read all of it that there is.
        live: bool,
    },
}

impl Ledger {
    /// A ledger on a store.
    pub fn new(store: Arc<dyn Store>) -> Ledger {
        Ledger {
            store,
            live: Mutex::new(Live { open: Batch::numbered(1), applying: None }),
            committing: Mutex::new(()),
            claims: Mutex::default(),
            released: Condvar::new(),
        }
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<LineageId, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the open batch: rows and the progress that covers them in one call, so that a lookup sees both or none.
    /// Says how many bytes of memory the open batch holds now.
    pub fn add_live(&self, add: impl FnOnce(&mut Batch)) -> usize {
        let mut live = self.live();
        add(&mut live.open);
        live.open.bytes()
    }

    /// Whether something live waits to be applied.
    pub fn has_unapplied(&self) -> bool {
        let live = self.live();
        live.applying.is_some() || !live.open.is_empty()
    }

    /// Applies what is open, and first what could not be applied before. When it returns well, everything that was
    /// added before the call is durable.
    ///
    /// # Errors
    ///
    /// When the store refuses. Nothing is lost: lookups go on seeing the batch, and the next call tries again.
    pub fn commit(&self) -> Result<(), StoreError> {
        let _in_order = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out first: the lock must not be held while it is applied.
        let left = self.live().applying.clone();
        if let Some(left) = left {
            self.finish(&left)?;
        }
        let batch = {
            let mut live = self.live();
            if live.open.is_empty() {
                return Ok(());
            }
            let next = Batch::numbered(live.open.number + 1);
            let batch = Arc::new(std::mem::replace(&mut live.open, next));
            live.applying = Some(Arc::clone(&batch));
            batch
        };
        point("live_closed");
        self.finish(&batch)
    }

    /// Applies the closed batch and forgets it.
    fn finish(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch)?;
        point("live_applied");
        self.live().applying = None;
        self.applied(batch);
        Ok(())
    }

    /// Applies a bulk batch, made by one reader for itself.
    ///
    /// # Errors
    ///
    /// When the store refuses; the same batch may be given again.
    pub fn apply_bulk(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch)?;
        point("bulk_applied");
        self.applied(batch);
        Ok(())
    }

    //--- claims

    /// Asks for a lineage, to read on in it; `live` says that the reader follows a live log.
    ///
    /// # Errors
    ///
    /// When the store cannot say how far it was read; the lineage is not claimed then.
    pub fn claim(&self, id: &LineageId, live: bool) -> Result<Claimed, StoreError> {
        {
            let mut claims = self.claims();
            if let Some(claim) = claims.get(id) {
                return Ok(Claimed::Busy { live: claim.live });
            }
            claims.insert(*id, Claim { held: true, live, unapplied: None });
        }
        // The disk may be slow, and others wait for that lock.
        match self.store.lineage(id) {
            Ok(progress) => Ok(Claimed::Yes(progress.map(Box::new))),
            Err(error) => {
                self.release(id);
                Err(error)
            }
        }
    }

    /// Puts progress into a batch. The caller holds the lineage.
    pub fn advance(&self, batch: &mut Batch, progress: Progress) {
        self.claims().entry(progress.lineage).or_default().unapplied = Some(progress.clone());
        batch.advance(progress);
    }

    /// Gives a lineage back. It can be claimed again once all progress in it is applied.
    pub fn release(&self, id: &LineageId) {
        let mut claims = self.claims();
        if let Some(claim) = claims.get_mut(id) {
            claim.held = false;
            claim.live = false;
            if claim.unapplied.is_none() {
                claims.remove(id);
                self.released.notify_all();
            }
        }
    }

    /// Ends the claims that waited for this batch.
    fn applied(&self, batch: &Batch) {
        let mut claims = self.claims();
        for progress in batch.progress() {
            if let Some(claim) = claims.get_mut(&progress.lineage) {
                if claim.unapplied.as_ref() == Some(progress) {
                    claim.unapplied = None;
                }
                if !claim.held && claim.unapplied.is_none() {
                    claims.remove(&progress.lineage);
                }
            }
        }
        self.released.notify_all();
    }

    /// Gives back what a batch holds that is never applied: its lineages can be claimed again, from where the store has them.
    pub fn abandon(&self, batch: &Batch) {
        if !batch.is_empty() {
            self.applied(batch);
        }
    }

    /// Waits until some claim has ended, at most so long.
    pub fn wait_for_release(&self, at_most: Duration) {
        let claims = self.claims();
        if !claims.is_empty() {
            drop(self.released.wait_timeout(claims, at_most).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// How far a lineage was read, applied or not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        let unapplied = self.claims().get(id).and_then(|claim| claim.unapplied.clone());
        unapplied.map_or_else(|| self.store.lineage(id), |progress| Ok(Some(progress)))
    }

    /// All lineages, as far as they were read, applied or not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        let unapplied: Vec<Progress> =
            self.claims().values().filter_map(|claim| claim.unapplied.clone()).collect();
        let mut all: HashMap<LineageId, Progress> =
            self.store.lineages()?.into_iter().map(|progress| (progress.lineage, progress)).collect();
        for progress in unapplied {
            // It may have been applied, and read on, between the two looks.
            let newer = all.get(&progress.lineage).is_none_or(|known| {
                known.read_at <= progress.read_at && known.consumed.offset <= progress.consumed.offset
            });
            if newer {
                all.insert(progress.lineage, progress);
            }
        }
        Ok(all.into_values().collect())
    }

    //--- lookups

    /// What a scan finds at this moment, applied or not.
    ///
    /// # Errors
    ///
    /// When a row in memory makes no sense, which no input can bring about.
    pub fn view(&self, scan: &Scan) -> Result<View, StoreError> {
        self.view_of(self.live(), scan)
    }

    /// As [`Ledger::view`], for who must not wait.
    ///
    /// # Errors
    ///
    /// Also [`StoreError::NotInMemory`] when what is not applied yet is being changed just now, or is much to look through.
    pub fn view_in_memory(&self, scan: &Scan) -> Result<View, StoreError> {
        for _ in 0..TRIES {
            match self.live.try_lock() {
                Ok(live) => {
                    let batches = live.applying.as_deref().into_iter().chain([&live.open]);
                    let rows: usize =
                        batches.map(|batch| batch.tuples().len() + batch.questions().len()).sum();
                    if rows > ROWS_AT_ONCE {
                        return Err(StoreError::NotInMemory);
                    }
                    return self.view_of(live, scan);
                }
                Err(TryLockError::Poisoned(poisoned)) => return self.view_of(poisoned.into_inner(), scan),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        Err(StoreError::NotInMemory)
    }

    fn view_of(&self, live: MutexGuard<'_, Live>, scan: &Scan) -> Result<View, StoreError> {
        let mut unapplied: Vec<Entry> = Vec::new();
        let mut asked: Vec<Question> = Vec::new();
        // Batches before snapshot: one that is applied in between is in the snapshot and dropped from here.
        let (batches, snapshot) = {
            let mut found: Vec<(u64, Vec<Entry>, Vec<Question>)> = Vec::with_capacity(2);
            let applying = live.applying.as_deref();
            for batch in applying.into_iter().chain([&live.open]) {
                found.push((batch.number, self.entries_of(batch, scan)?, self.questions_of(batch, scan)?));
            }
            drop(live);
            (found, self.store.snapshot())
        };
        for (number, entries, questions) in batches {
            if number > snapshot.applied() {
                unapplied.extend(entries);
                asked.extend(questions);
            }
        }
        unapplied.sort_by(|a, b| scan.compare((&a.tuple, &a.sensor), (&b.tuple, &b.sensor)));
        unapplied.dedup_by(|later, kept| {
            let same = later.tuple == kept.tuple && later.sensor == kept.sensor;
            if same {
                kept.merge(later);
            }
            same
        });
        Ok(View { scan: scan.clone(), snapshot, unapplied, asked })
    }

    /// The whole ledger at this moment, for many scans: what is not applied yet is looked through once and not for each.
    ///
    /// # Errors
    ///
    /// As [`Ledger::view`].
    pub fn moment(&self) -> Result<Moment, StoreError> {
        let View { snapshot, unapplied, .. } = self.view(&Scan::All)?;
        let mut by_rdata: Vec<u32> = (0..).zip(&unapplied).map(|(at, _)| at).collect();
        // Stable: rows of equal data stay in the order of their names.
        by_rdata.sort_by(|a, b| rdata_at(&unapplied, *a).cmp(&rdata_at(&unapplied, *b)));
        Ok(Moment { snapshot, unapplied, by_rdata })
    }

    fn entries_of(&self, batch: &Batch, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        let wanted = KeyTest::new(scan);
        let rows = batch.tuples().iter().filter(|(key, _)| wanted.matches(key));
        rows.map(|(key, halves)| {
            let (tuple, sensor) = Tuple::from_row_key(key).map_err(|_| in_memory("a row key"))?;
            let sensor = self.store.sensor_name(sensor).ok_or_else(|| in_memory("a sensor"))?;
            Ok(Entry { tuple, sensor, halves: *halves, names: None })
        })
        .collect()
    }

    fn questions_of(&self, batch: &Batch, scan: &Scan) -> Result<Vec<Question>, StoreError> {
        let wanted = match scan {
            Scan::All | Scan::Name(_) | Scan::Subtree(_) => KeyTest::new(scan),
            _ => return Ok(Vec::new()),
        };
        let rows = batch.questions().iter().filter(|(key, _)| wanted.matches(key));
        rows.map(|(key, asked)| {
            let (rrname, qtype, sensor) = question_from_row_key(key).map_err(|_| in_memory("a row key"))?;
            let sensor = self.store.sensor_name(sensor).ok_or_else(|| in_memory("a sensor"))?;
            Ok(Question { rrname, qtype, sensor, asked: *asked, names: None })
        })
        .collect()
    }
}

fn in_memory(what: &str) -> StoreError {
    StoreError::Damaged { what: "the open batch".to_owned(), why: format!("{what} that nobody made") }
}

//--- KeyTest --------------------------------------------------------------------------------------------------------

/// A scan as a test on row keys, so that rows that do not match cost no allocation.
enum KeyTest {
    All,
    Prefix(Vec<u8>),
    Rdata { from: Vec<u8>, to: Vec<u8> },
    RdataPrefix(Vec<u8>),
}

impl KeyTest {
    fn new(scan: &Scan) -> KeyTest {
        let address = |address: &IpAddr| {
            let mut key = Vec::with_capacity(17);
            push_address_key(*address, &mut key);
            key
        };
        // The tag of a name in rdata's key form, before the name's own key.
        let target = |key: &[u8]| [&[0x10], key].concat();
        match scan {
            Scan::All => KeyTest::All,
            Scan::Name(name) => KeyTest::Prefix(name.key().to_vec()),
            Scan::Subtree(name) => KeyTest::Prefix(name.subtree_key().to_vec()),
            Scan::Addresses(from, to) => KeyTest::Rdata { from: address(from), to: address(to) },
            Scan::Target(name) => KeyTest::RdataPrefix(target(name.key())),
            Scan::TargetSubtree(name) => KeyTest::RdataPrefix(target(name.subtree_key())),
        }
    }

    fn matches(&self, row_key: &[u8]) -> bool {
        let rdata = || split_name_key(row_key).and_then(|(_, rest)| rest.get(2..)).unwrap_or_default();
        match self {
            KeyTest::All => true,
            KeyTest::Prefix(prefix) => row_key.starts_with(prefix),
            KeyTest::RdataPrefix(prefix) => rdata().starts_with(prefix),
            KeyTest::Rdata { from, to } => {
                from.len() == to.len()
                    && rdata().get(..from.len()).is_some_and(|address| {
                        // The first byte is the family's tag: only equal families have equal tags.
                        address.first() == from.first()
                            && from.as_slice() <= address
                            && address <= to.as_slice()
                    })
            }
        }
    }
}

//--- Moment ---------------------------------------------------------------------------------------------------------

/// One moment of the whole ledger.
pub struct Moment {
    snapshot: Arc<dyn Snapshot>,
    /// Rows not yet applied, by name.
    unapplied: Vec<Entry>,
    /// Their places in the order of their data.
    by_rdata: Vec<u32>,
}

fn rdata_at(rows: &[Entry], at: u32) -> Option<&Rdata> {
    rows.get(at as usize).map(|row| &row.tuple.rdata)
}

impl Moment {
    /// What a scan finds in it; there are no questions in such a view.
    pub fn view(&self, scan: &Scan) -> View {
        let rows = &self.unapplied;
        let from = |start: &Rdata| {
            let at = self.by_rdata.partition_point(|at| rdata_at(rows, *at) < Some(start));
            let rest = self.by_rdata.get(at..).unwrap_or_default().iter();
            rest.filter_map(|at| rows.get(*at as usize)).take_while(|row| scan.matches(&row.tuple)).cloned()
        };
        let unapplied = match scan {
            _ if rows.is_empty() => Vec::new(),
            Scan::All => rows.clone(),
            Scan::Name(name) | Scan::Subtree(name) => {
                let at = rows.partition_point(|row| row.tuple.rrname < *name);
                let rest = rows.get(at..).unwrap_or_default().iter();
                rest.take_while(|row| scan.matches(&row.tuple)).cloned().collect()
            }
            Scan::Addresses(IpAddr::V4(first), _) => from(&Rdata::V4(*first)).collect(),
            Scan::Addresses(IpAddr::V6(first), _) => from(&Rdata::V6(*first)).collect(),
            Scan::Target(name) | Scan::TargetSubtree(name) => from(&Rdata::Name(name.clone())).collect(),
        };
        View { scan: scan.clone(), snapshot: Arc::clone(&self.snapshot), unapplied, asked: Vec::new() }
    }
}

//--- View -----------------------------------------------------------------------------------------------------------

/// One moment of the ledger, as far as one scan reaches.
pub struct View {
    scan: Scan,
    snapshot: Arc<dyn Snapshot>,
    /// Rows not yet applied, in the scan's order, each once.
    unapplied: Vec<Entry>,
    asked: Vec<Question>,
}

impl View {
    /// The entries in the scan's order, those after a position only where one is given.
    ///
    /// # Errors
    ///
    /// When the store fails, at once or at any later step.
    pub fn entries<'a>(&'a self, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        self.with_unapplied(self.snapshot.entries(&self.scan, after)?, after)
    }

    /// Likewise, from memory alone: it never waits.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInMemory`], at once or at any later step, where something must be read from disk first.
    pub fn entries_in_memory<'a>(&'a self, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        self.with_unapplied(self.snapshot.entries_in_memory(&self.scan, after)?, after)
    }

    fn with_unapplied<'a>(
        &'a self,
        applied: Entries<'a>,
        after: Option<&Position>,
    ) -> Result<Entries<'a>, StoreError> {
        let scan = &self.scan;
        let skip = after.map_or(0, |after| {
            self.unapplied.partition_point(|entry| {
                scan.compare((&entry.tuple, &entry.sensor), (&after.tuple, &after.sensor)).is_le()
            })
        });
        let unapplied = self.unapplied.get(skip..).unwrap_or_default();
        if unapplied.is_empty() {
            return Ok(applied);
        }
        Ok(Box::new(Union { scan, applied: applied.peekable(), unapplied }))
    }

    /// The questions of a name or a subtree, by (rrname, qtype, sensor).
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn questions(&self) -> Result<Vec<Question>, StoreError> {
        let mut all: Vec<Question> = self.snapshot.questions(&self.scan)?.collect::<Result<_, _>>()?;
        all.extend(self.asked.iter().cloned());
        all.sort_by(|a, b| (&a.rrname, a.qtype, &a.sensor).cmp(&(&b.rrname, b.qtype, &b.sensor)));
        all.dedup_by(|later, kept| {
            let same =
                (&later.rrname, later.qtype, &later.sensor) == (&kept.rrname, kept.qtype, &kept.sensor);
            if same {
                Asked::merge(&mut kept.asked, &later.asked);
            }
            same
        });
        Ok(all)
    }
}

/// Merges applied and unapplied entries, both in order.
struct Union<'a> {
    scan: &'a Scan,
    applied: Peekable<Entries<'a>>,
    unapplied: &'a [Entry],
}

impl Iterator for Union<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((mine, rest)) = self.unapplied.split_first() else { return self.applied.next() };
        let order = match self.applied.peek() {
            Some(Ok(theirs)) => {
                self.scan.compare((&mine.tuple, &mine.sensor), (&theirs.tuple, &theirs.sensor))
            }
            Some(Err(_)) => return self.applied.next(),
            None => std::cmp::Ordering::Less,
        };
        if order.is_gt() {
            return self.applied.next();
        }
        self.unapplied = rest;
        let mut entry = mine.clone();
        if order.is_eq()
            && let Some(Ok(theirs)) = self.applied.next()
        {
            entry.merge(&theirs);
        }
        Some(Ok(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Name, RrType};
    use crate::observation::{Half, Observations, Outcome};
    use crate::store::memory::MemoryStore;

    fn ledger() -> (Ledger, Observations) {
        let store = MemoryStore::default();
        let sensor = store.sensor("s").unwrap();
        (Ledger::new(Arc::new(store)), Observations::new(sensor))
    }

    fn see(observations: &mut Observations, name: &str, address: [u8; 4], time: u64) {
        let name = Name::parse(name).unwrap();
        let mut rdata = Vec::new();
        Rdata::V4(address.into()).push_key(&mut rdata);
        observations.reset(time);
        observations.push(name.key(), RrType::A, &rdata, Half::Direct, 60);
        observations.ask(name.key(), RrType::A, Outcome::Answered);
    }

    fn counts(ledger: &Ledger, scan: &Scan) -> Vec<(String, u64)> {
        let view = ledger.view(scan).unwrap();
        let entries = view.entries(None).unwrap();
        entries.map(|e| e.unwrap()).map(|e| (e.tuple.rrname.to_string(), e.halves.combined().count)).collect()
    }

    #[test]
    fn a_lookup_sees_each_sighting_once_before_and_after_it_is_applied() {
        let (ledger, mut seen) = ledger();
        let scans = [
            Scan::All,
            Scan::Name(Name::parse("a.example").unwrap()),
            Scan::Subtree(Name::parse("example").unwrap()),
            Scan::Addresses([192, 0, 2, 0].into(), [192, 0, 2, 255].into()),
        ];
        for round in 1..=3 {
            see(&mut seen, "a.example", [192, 0, 2, 1], round);
            ledger.add_live(|batch| batch.add(&seen));
            for scan in &scans {
                assert_eq!(counts(&ledger, scan), [("a.example".to_owned(), round)], "{scan:?}");
            }
            ledger.commit().unwrap();
            for scan in &scans {
                assert_eq!(counts(&ledger, scan), [("a.example".to_owned(), round)], "{scan:?}");
            }
        }
        assert!(counts(&ledger, &Scan::Addresses([192, 0, 2, 2].into(), [192, 0, 2, 255].into())).is_empty());
        let view = ledger.view(&Scan::Name(Name::parse("a.example").unwrap())).unwrap();
        assert_eq!(view.questions().unwrap()[0].asked.outcome(Outcome::Answered), 3);
    }

    #[test]
    fn a_moment_has_for_each_scan_what_a_view_has() {
        let (ledger, mut seen) = ledger();
        for (i, name) in ["a.example", "www.a.example", "b.example", "example", "zz"].iter().enumerate() {
            for octet in [i as u8, 7] {
                see(&mut seen, name, [192, 0, 2, octet], 1);
                ledger.add_live(|batch| batch.add(&seen));
            }
            if i == 1 {
                ledger.commit().unwrap();
            }
        }
        let moment = ledger.moment().unwrap();
        let name = |text| Name::parse(text).unwrap();
        for scan in [
            Scan::All,
            Scan::Name(name("a.example")),
            Scan::Name(name("none.example")),
            Scan::Subtree(name("example")),
            Scan::Subtree(name("a.example")),
            Scan::Subtree(Name::root()),
            Scan::Addresses([192, 0, 2, 7].into(), [192, 0, 2, 7].into()),
            Scan::Addresses([192, 0, 2, 1].into(), [192, 0, 2, 7].into()),
            Scan::Addresses([198, 51, 100, 0].into(), [198, 51, 100, 9].into()),
            Scan::Target(name("a.example")),
            Scan::TargetSubtree(name("example")),
        ] {
            let rows =
                |view: View| -> Vec<Entry> { view.entries(None).unwrap().map(Result::unwrap).collect() };
            let found = rows(moment.view(&scan));
            assert_eq!(found, rows(ledger.view(&scan).unwrap()), "{scan:?}");
        }
        // It stays what it was.
        see(&mut seen, "later.example", [192, 0, 2, 7], 2);
        ledger.add_live(|batch| batch.add(&seen));
        ledger.commit().unwrap();
        assert_eq!(moment.view(&Scan::All).entries(None).unwrap().count(), 10);
    }

    #[test]
    fn applied_and_unapplied_rows_come_in_one_order_and_pages_meet() {
        let (ledger, mut seen) = ledger();
        for (i, name) in ["d.x", "b.x", "a.x", "c.x", "e.x"].iter().enumerate() {
            see(&mut seen, name, [10, 0, 0, i as u8], 1);
            ledger.add_live(|batch| batch.add(&seen));
            if i == 2 {
                ledger.commit().unwrap();
            }
        }
        let view = ledger.view(&Scan::All).unwrap();
        let all: Vec<Entry> = view.entries(None).unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(all.iter().map(|e| e.tuple.rrname.to_string()).collect::<String>(), "a.xb.xc.xd.xe.x");
        for at in 0..all.len() {
            let rest: Vec<Entry> =
                view.entries(Some(&all[at].position())).unwrap().map(|e| e.unwrap()).collect();
            assert_eq!(rest, all[at + 1..]);
        }
    }

    #[test]
    fn a_lineage_is_busy_until_all_that_was_read_of_it_is_applied() {
        let (ledger, _) = ledger();
        let id = LineageId([7; 16]);
        assert!(matches!(ledger.claim(&id, false).unwrap(), Claimed::Yes(None)));
        assert!(matches!(ledger.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        let mut progress = Progress::start(id, "s");
        progress.consumed.offset = 10;
        ledger.add_live(|batch| ledger.advance(batch, progress.clone()));
        ledger.release(&id);
        assert!(matches!(ledger.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        ledger.commit().unwrap();
        match ledger.claim(&id, false).unwrap() {
            Claimed::Yes(Some(known)) => assert_eq!(*known, progress),
            other => panic!("{other:?}"),
        }
        ledger.release(&id);
        assert!(matches!(ledger.claim(&id, false).unwrap(), Claimed::Yes(Some(_))));
    }
}
