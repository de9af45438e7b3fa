//! Where the ledger is kept: two traits of a few logical verbs, for who asks and for who writes, and their implementations.
//!
//! No key bytes and no engine's words cross this border: who scans says *what* ([`Scan`]), and gets [`Entry`]s in a
//! stable order. [`memory::MemoryStore`] is the oracle of the test suite, [`sled::SledStore`] the embedded default.
//!
//! # Contract
//!
//! - [`WriteStore::commit`] and [`WriteStore::apply`] are atomic, also over a crash: rows, questions and progress are there
//!   whole or not at all.
//! - What is staged is seen at once, and once: also while it is being committed, and when that fails.
//! - Merging is commutative: batches in any order give the same entries.
//! - A [`Snapshot`] is one moment: what is staged or applied later does not show in it, and it blocks nobody.
//! - Entries come in the order of [`Scan::compare`], each (tuple, sensor) once.

mod acknowledged;
pub mod batch;

mod as_of;
mod block;
mod budget;
mod cache;
mod condition;
mod copy;
mod derived;
mod domains;
mod engine;
mod engine_handle;
mod entries;
mod error;
mod files;
mod filter;
mod firsts;
mod folder;
mod hyperloglog;
mod identity;
mod key;
mod ledger;
mod manifest;
pub mod memory;
mod migrate;
mod notifier;
mod options;
mod private;
mod replica;
pub mod retention;
mod run;
mod segment;
mod sensors;
pub mod sled;
mod space;
mod span;
mod stats;
mod stored;
#[cfg(test)]
mod tests;
mod transfer;
mod undo;
mod value;
mod verify;

pub use as_of::{Fed, PartialStore, SensorAsOf};
pub use budget::{FoldsBySpan, NameBudget, PARTS, SPANS, is_unresolved};
pub use condition::{Condition, Edge, Fence, LabelRegex, Looks, Side};
pub use copy::OnPiece;
pub use error::StoreError;
use error::damaged;
pub use filter::LogFilter;
pub use firsts::{About, First, Firsts, FirstsOf};
pub use folder::give_back;
pub use options::Options;
pub use private::as_the_user_has_it;
pub use replica::Replica;
pub use space::{LEAST_DISK, MaxDisk, kept as kept_max_disk, kept_since, of_free};
pub use span::{FoundBy, Span, after_prefix};
pub use stats::{Expired, Folded, Reduce, Reduced, Stats};
pub use stored::FORMAT;
pub use transfer::Change;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use verify::{LedgerFault, OnProgress, Verification};

use crate::dns::{Name, RrType};
use crate::observation::{Asked, FirstSeen, Halves, SensorId, Tuple};
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;

//--- ReadStore ------------------------------------------------------------------------------------------------------

/// A ledger on some engine, as those use it who ask. All methods may be called from several threads at once.
pub trait ReadStore: Send + Sync {
    /// One moment of the ledger, for lookups: all that is committed, and all that is staged. It takes no lock.
    fn now(&self) -> Arc<dyn Snapshot>;

    /// For a store that is fed by other ledgers: up to when it has the sightings of each sensor. `None` for a ledger, which
    /// is never behind. Does not wait.
    fn fed(&self) -> Option<Arc<Fed>> {
        None
    }

    /// A snapshot of the parts that can be reached now, with the names of those that cannot.
    ///
    /// # Errors
    ///
    /// When nothing can be asked.
    fn part(&self) -> Result<PartialStore, StoreError> {
        Ok(PartialStore { snapshot: self.now(), missing: Vec::new() })
    }

    /// The name of a sensor, if the store gave that number.
    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>>;

    /// How far a lineage was read, as last committed.
    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError>;

    /// All lineages, as last committed.
    fn lineages(&self) -> Result<Vec<Progress>, StoreError>;

    /// Figures for status.
    fn stats(&self) -> Result<Stats, StoreError>;

    /// The same figure as [`Stats::missing_logs`], without computing the others.
    fn missing_logs(&self) -> u64 {
        0
    }

    /// The time before which nothing is kept, epoch seconds; 0 before anything expired.
    fn expired_before(&self) -> u64;

    /// Counts the names of each domain, and remembers the domains that have got most names within the day before `now`, for
    /// [`ReadStore::stats`]. It reads all names; `goes_on` is asked now and then and ends it with `false`.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read; [`StoreError::Closed`] where it was ended.
    fn survey(&self, now: u64, goes_on: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError>;

    /// Why nothing can be written just now, if that is so. Whoever writes next tries whether it has passed.
    fn failing(&self) -> Option<StoreError>;

    /// Hands out all that is committed at one moment, hints too, in pieces that mean something to a [`Replica`] only;
    /// `take` ends it by `false`. Commits wait while what is in no run is read, and lookups for nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it was ended. What is damaged is handed out as it is, as far as it can be read.
    fn copy(&self, take: OnPiece<'_>) -> Result<(), StoreError>;

    /// Reads everything that is committed and says what is wrong, if anything is. Nothing is changed, and nobody who looks up
    /// waits for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] when it was ended. What is wrong with the ledger is no error.
    fn verify(&self, on_progress: OnProgress<'_>) -> Result<Verification, StoreError>;
}

//--- WriteStore -----------------------------------------------------------------------------------------------------

/// Is told the number of the last hit that is committed.
pub type OnHits = Box<dyn Fn(u64) + Send + Sync>;

/// A ledger on some engine, as those use it who change it.
pub trait WriteStore: ReadStore {
    /// The number of a sensor, given to it durably when it is first asked for.
    ///
    /// # Errors
    ///
    /// When a new number cannot be written, or all 65,536 are taken.
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError>;

    /// Stages a batch: from now on lookups see its rows and questions. They are durable, and the progress with them, after
    /// the next [`WriteStore::commit`]. It waits neither for the disk nor for a commit that is under way.
    ///
    /// # Errors
    ///
    /// When a row makes no sense, which no input can bring about. Nothing of the batch is staged then.
    fn stage(&self, batch: &Batch) -> Result<(), StoreError>;

    /// From now on what comes is looked through: what is met is kept with the rows by which it was met, each once. When this returns
    /// nothing is under way that was not looked through so.
    fn watch(&self, _watch: Option<Arc<dyn Watch>>) {}

    /// Keeps hits that were found in what is there; how many of them are new.
    ///
    /// # Errors
    ///
    /// As [`WriteStore::apply`].
    fn keep_hits(&self, _hits: &[NewHit]) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Notes that somebody has seen to the hits of these numbers; durable when it returns. Gives how many were not acknowledged before, and
    /// the numbers that no hit has. Who acknowledged first stands.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read or written: some of them may be acknowledged then.
    fn acknowledge_hits(
        &self,
        _numbers: &BTreeSet<u64>,
        _seen: &Acknowledged,
    ) -> Result<(u64, Vec<u64>), StoreError> {
        Ok((0, Vec::new()))
    }

    /// The hits among these that are not stored yet.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    fn missing_hits(&self, _hits: &[NewHit]) -> Result<Vec<NewHit>, StoreError> {
        Ok(Vec::new())
    }

    /// From now on this is called when hits are committed, with the number of the last one. It must not wait for anything.
    fn on_hits(&self, _told: OnHits) {}

    /// The number of the last hit of each ledger whose hits are here, by generation; of a ledger its own, under [`OWN`].
    ///
    /// # Errors
    ///
    /// Where a store that other ledgers feed has no place for hits.
    fn last_hits(&self) -> Result<BTreeMap<u64, u64>, StoreError> {
        Ok(BTreeMap::from([(OWN, self.last_hit().0)]))
    }

    /// The number of the last hit that is committed, and whether there are others that are only staged.
    fn last_hit(&self) -> (u64, bool) {
        (0, false)
    }

    /// Bytes of memory of what is staged and not committed, about; 0 only when nothing is.
    fn staged_bytes(&self) -> usize;

    /// Commits what was staged before: rows, questions and progress in one atomic step, durable when it returns. Gives the
    /// progress that was committed.
    ///
    /// # Errors
    ///
    /// Everything stays staged then, and lookups go on seeing it. The next call commits it with what came meanwhile. After a
    /// crash nothing of it is there.
    fn commit(&self) -> Result<Vec<Progress>, StoreError>;

    /// Applies a batch by itself, large ones too: rows, questions and progress together, visible and durable when it returns.
    ///
    /// Rows are merged into what is stored, so applying the same sightings twice counts them twice; the progress that
    /// travels with them is what prevents it. Progress replaces what was stored of the lineage.
    ///
    /// # Errors
    ///
    /// Nothing of the batch is visible then, nor will it be, and the same batch may be applied again later: a store that
    /// could not write goes on by itself once it can.
    fn apply(&self, batch: &Batch) -> Result<(), StoreError>;

    /// The follower's hints about files, by key, as given to [`WriteStore::cache`]. Nothing depends on them.
    fn cached(&self) -> Result<Vec<Pair>, StoreError>;

    /// Remembers hints and forgets others. They need not survive a crash.
    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError>;

    /// Drops rows and questions that were last seen, all their sightings taken together, before a time (epoch seconds). No
    /// snapshot that is taken after it has them; their space comes back when runs are merged, or by [`WriteStore::rewrite`]. Whole
    /// rows go or stay. From then on what a batch brings that was last seen before that time is left out, so that an old log
    /// cannot bring a part of a row back, and what is seen again is a new row. The time never goes back by this. `at` is when
    /// this is done, for status.
    ///
    /// # Errors
    ///
    /// Nothing was dropped then.
    fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError>;

    /// Moves the time before which nothing is kept back, where a wrong clock put it too late: what is applied from now on is
    /// kept from the earlier time on. What was dropped is there again only as far as it is still on disk. A later time changes
    /// nothing. `at` is when this is done.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError>;

    /// Drops all rows and questions of a sensor, and how far a lineage was read, in one step; what is applied later of either
    /// is as of one that was never met. It needs room as [`WriteStore::rewrite`] does.
    ///
    /// # Errors
    ///
    /// Nothing was dropped then.
    fn forget(&self, sensor: SensorId, lineage: &LineageId) -> Result<(), StoreError>;

    /// Gives space back that is taken and not needed, for which it needs as much room as the ledger. What is in the store
    /// stays as it is; reading and writing go on.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    fn rewrite(&self) -> Result<(), StoreError>;

    /// How many bytes of what is live a copy can have, by the room there is once what nobody needs any more is removed, which is done
    /// first; `None` where that is not known.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked.
    fn copy_room(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Somebody is about to make room: disk that is kept in reserve is let go of where it is needed, and no merge carries out meanwhile
    /// what a rewrite is to.
    fn use_reserve(&self) {}

    /// The caller no longer needs the reserve: it is filled again where there is disk, once nobody else uses it.
    fn keep_reserve(&self) {}

    /// Fills the reserve, where there is disk and nobody is making room.
    fn renew_reserve(&self) {}

    /// Makes less of what tells least, by a rule. Totals of a domain that is folded stay what they are. `at` is when this is
    /// done, for status.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError>;

    /// Waits until everything committed is on stable storage.
    fn flush(&self) -> Result<(), StoreError>;

    /// Like [`WriteStore::flush`], at the end of a bulk load. Also folds domains with too many names and, after a large load, does the
    /// merges that were put off, so that lookups are at their settled speed. Ends early when `is_stopped` says so; the rest is done
    /// when the ledger is opened next.
    ///
    /// # Errors
    ///
    /// Why something could not be written. All that was committed is there.
    fn end_bulk(&self, _is_much: bool, _is_stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
        self.flush()
    }
}

/// A key and a value that mean nothing to the store.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One moment of a ledger.
pub trait Snapshot: Send + Sync {
    /// The entries of a scan in its order, those after a position only where one is given.
    ///
    /// # Errors
    ///
    /// Each step can fail when the engine does; a scan that failed is never mistaken for one that ended.
    fn entries<'a>(&'a self, scan: &Scan, after: Option<&Position>) -> Result<Entries<'a>, StoreError>;

    /// Like [`Snapshot::entries`] for an exact lookup, from memory alone: never waits for the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotInMemory`], at once or at any later step, where something must be read from disk first.
    fn entries_in_memory<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
    ) -> Result<Entries<'a>, StoreError> {
        self.entries(scan, after)
    }

    /// Like [`Snapshot::entries`], for a caller that wants only entries that meet a condition. It may get others too. It may also
    /// get marks ([`Entry::is_mark`]), entries without sightings: they say how far the scan is, so that the caller can check the time.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn entries_where<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
        _condition: &Condition,
    ) -> Result<Entries<'a>, StoreError> {
        self.entries(scan, after)
    }

    /// Announces scans that will be asked for next, each from its beginning, so that a remote store can fetch them at the same time. Changes
    /// no answer.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn entries_soon(&self, _scans: &[Scan], _condition: &Condition) -> Result<(), StoreError> {
        Ok(())
    }

    /// The questions for a name, or for a name and all below it ([`Scan::Name`], [`Scan::Subtree`], [`Scan::All`],
    /// [`Scan::From`]; other scans give nothing), by (rrname, qtype, sensor name).
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError>;

    /// Like [`Snapshot::questions`], with a condition, as [`Snapshot::entries_where`] has one.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn questions_where<'a>(
        &'a self,
        scan: &Scan,
        _condition: &Condition,
    ) -> Result<Questions<'a>, StoreError> {
        self.questions(scan)
    }

    /// The registrable domains at and below a name, or all ([`Scan::Subtree`], [`Scan::All`]; other scans of names are taken
    /// for the first, and the rest give nothing), with when each was first asked and first answered, by (domain, sensor name).
    /// Sightings that expired still count for a domain of which something is left.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn domains<'a>(&'a self, scan: &Scan) -> Result<Domains<'a>, StoreError>;

    /// Like [`Snapshot::domains`], for a caller that wants only domains first seen since a time. There may be marks among them
    /// ([`DomainSeen::is_mark`]).
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn domains_since<'a>(&'a self, scan: &Scan, _since: u64) -> Result<Domains<'a>, StoreError> {
        self.domains(scan)
    }

    /// Like [`Snapshot::domains`] of several domains, one after another in any order. There may be others among them.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn domains_of_each<'a>(&'a self, wanted: BTreeSet<Name>) -> Result<Domains<'a>, StoreError> {
        let of_one = |domain| match self.domains(&Scan::Subtree(domain)) {
            Ok(found) => found,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        Ok(Box::new(wanted.into_iter().flat_map(of_one)))
    }

    /// First sightings, summed up by who keeps the rows: `None` where going through the rows is as quick.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn firsts<'a>(&'a self, _of: FirstsOf) -> Result<Option<Firsts<'a>>, StoreError> {
        Ok(None)
    }

    /// Rows last seen before this were dropped, epoch seconds; 0 if none were.
    fn expired_before(&self) -> u64 {
        0
    }

    /// The hits with numbers above one, in their order: those that are committed.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn hits<'a>(&'a self, _after: u64) -> Result<Hits<'a>, StoreError> {
        Ok(Box::new(std::iter::empty()))
    }

    /// The hits of some of the ledgers that feed a store, in the order of the spans and of their numbers. Of a ledger they are its own.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn hits_within(&self, spans: &[HitSpan]) -> Result<Vec<(u64, Hit)>, StoreError> {
        let mut found = Vec::new();
        for span in spans {
            for hit in self.hits(span.after)? {
                let hit = hit?;
                if hit.sequence > span.to {
                    break;
                }
                found.push((span.ledger, hit));
            }
        }
        Ok(found)
    }

    /// The rows, questions and hits that commits after a mark have changed, each whole, with all its sightings. Some that have not
    /// changed may be among them, where runs were merged or the ledger was opened since. What is only staged is not in it.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::entries`].
    fn changed_since<'a>(&'a self, mark: Mark) -> Result<Changed<'a>, StoreError>;
}

/// How far somebody has seen what changes: up to a commit. The default is before the first; it means something to the ledger
/// that gave it, and for another one it is before the first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Mark(pub u64);

/// The changes since a mark.
pub struct Changed<'a> {
    /// Rows, in the order of [`Scan::All`].
    pub entries: Entries<'a>,
    /// Whole questions, in the order of their keys.
    pub questions: Questions<'a>,
    /// Hits, in the order of their numbers.
    pub hits: Hits<'a>,
    /// Where to go on from.
    pub mark: Mark,
    /// Which ledger it is that says so.
    pub identity: Identity,
    /// Rows and questions last seen before this were dropped, epoch seconds; 0 before any were.
    pub expired_before: u64,
}

/// Which ledger this is, for those who keep what it has told them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Drawn when the ledger was made; 0 in one that was made before there were such numbers, and was only read since.
    pub generation: u64,
    /// How often rows were dropped that were not too old: forgotten, replaced, folded, or lost to damage. Who keeps rows of this
    /// ledger has some then that it has not any more.
    pub drops: u32,
}

/// A stream of entries.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, StoreError>> + Send + 'a>;
/// A stream of hits.
pub type Hits<'a> = Box<dyn Iterator<Item = Result<Hit, StoreError>> + Send + 'a>;
/// A stream of registrable domains.
pub type Domains<'a> = Box<dyn Iterator<Item = Result<DomainSeen, StoreError>> + Send + 'a>;
/// A stream of questions.
pub type Questions<'a> = Box<dyn Iterator<Item = Result<Question, StoreError>> + Send + 'a>;

//--- Scan -----------------------------------------------------------------------------------------------------------

/// A range of the ledger to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// Everything.
    All,
    /// Everything at or behind this name, in the order of names.
    From(Name),
    /// Rows of this owner name.
    Name(Name),
    /// A name and all names below it.
    Subtree(Name),
    /// Rows whose rdata is an address from the first to the last, both included and of one family.
    Addresses(IpAddr, IpAddr),
    /// Rows whose rdata is this name.
    Target(Name),
    /// Rows whose rdata is this name or one below it.
    TargetSubtree(Name),
}

/// A place in the order of a scan: just after this row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The row's tuple.
    pub tuple: Tuple,
    /// The row's sensor, by name.
    pub sensor: Arc<str>,
}

//--- Entry ----------------------------------------------------------------------------------------------------------

/// One row as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The rrname, rrtype and rdata.
    pub tuple: Tuple,
    /// The sensor that saw it.
    pub sensor: Arc<str>,
    /// The sightings.
    pub halves: Halves,
    /// For a row of folded names ([`RrType::FOLDED`]): about how many names, where that is known.
    pub names: Option<u64>,
}

impl Entry {
    /// Whether it is no row but says how far the rows were looked at: see [`Snapshot::entries_where`].
    pub fn is_mark(&self) -> bool {
        self.halves.direct.is_none() && self.halves.alias.is_none()
    }

    /// Appends the record data in presentation form; of a folded row with how many names it stands for.
    pub fn push_rdata(&self, out: &mut Vec<u8>) {
        self.tuple.rdata.push_presentation(out);
        if let Some(names) = self.names {
            out.extend_from_slice(format!(" (about {names} names)").as_bytes());
        }
    }

    /// Adds another row of the same tuple. Which names two sensors have both folded is not known: the larger number stands.
    pub fn merge(&mut self, other: &Entry) {
        self.halves.merge(&other.halves);
        self.names = self.names.max(other.names);
    }

    /// Its place in a scan's order.
    pub fn position(&self) -> Position {
        Position { tuple: self.tuple.clone(), sensor: Arc::clone(&self.sensor) }
    }
}

/// One question as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name that was asked.
    pub rrname: Name,
    /// The type that was asked for.
    pub qtype: RrType,
    /// The sensor that saw it.
    pub sensor: Arc<str>,
    /// How often, when, and how it ended.
    pub asked: Asked,
    /// As [`Entry::names`].
    pub names: Option<u64>,
}

impl Question {
    /// As [`Entry::is_mark`].
    pub fn is_mark(&self) -> bool {
        self.asked.time_last == 0 && self.asked.count() == 0
    }
}

/// Finds indicators in what is written.
pub trait Watch: Send + Sync {
    /// Adds the hits of a batch. The same hit may be added more than once, or again.
    fn look(&self, batch: &Batch, found: &mut Vec<NewHit>);
}

/// Something that is looked for and was met. What makes it the one it is are the name, the indicator, the address and the sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHit {
    /// The owner name of the row, or the name that was asked for.
    pub rrname: Name,
    /// The indicator, in a form that means nothing to the store; 1,000 bytes at most.
    pub indicator: Vec<u8>,
    /// The address that was answered, where the indicator is about such.
    pub address: Option<IpAddr>,
    /// The sensor that saw it.
    pub sensor: SensorId,
    /// When it was seen, epoch seconds.
    pub time: u64,
    /// The note of the indicator, kept as it is.
    pub note: Vec<u8>,
}

/// What stands for the generation of a ledger among those whose hits are here, where it is the only one.
pub const OWN: u64 = 0;

/// Hits of one ledger: those with numbers above one, and up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HitSpan {
    /// The generation of the ledger; [`OWN`] of a ledger itself.
    pub ledger: u64,
    /// The number before the first of these hits.
    pub after: u64,
    /// The number of the last of these hits.
    pub to: u64,
}

/// A hit as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its number, one more than that of the hit before.
    pub sequence: u64,
    /// When it was noted, epoch seconds.
    pub noted: u64,
    /// When the record was by which it was met, or the first of them.
    pub time: u64,
    /// The owner name of the row, or the name that was asked for.
    pub rrname: Name,
    /// The indicator.
    pub indicator: Vec<u8>,
    /// The address that was answered, where the indicator is about such.
    pub address: Option<IpAddr>,
    /// The sensor that saw it.
    pub sensor: Arc<str>,
    /// The note of the indicator at that time.
    pub note: Vec<u8>,
    /// Set when somebody has acknowledged it.
    pub acknowledged: Option<Acknowledged>,
}

/// The acknowledgement of a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// When that was, epoch seconds.
    pub at: u64,
    /// By whom, at most [`MAX_BY`] characters.
    pub by: String,
}

/// Characters of the name of who acknowledges.
pub const MAX_BY: usize = 64;

/// When a registrable domain was first seen by a sensor, as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSeen {
    /// The domain.
    pub domain: Name,
    /// The sensor that saw it.
    pub sensor: Arc<str>,
    /// When it was seen, epoch seconds.
    pub times: FirstSeen,
}

impl DomainSeen {
    /// As [`Entry::is_mark`]: see [`Snapshot::domains_since`].
    pub fn is_mark(&self) -> bool {
        self.times == FirstSeen::default()
    }
}

/// The result of a survey of all names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Distinct names.
    pub names: u64,
    /// Names first seen so late that they may be of a flood.
    pub new: u64,
    /// Names beyond the budget of their domain. At most so many fold: some may have to stay.
    pub names_over: u64,
    /// Those that would fold, about, where a domain had only a part of its budget.
    pub names_over_parts: FoldsBySpan,
}

/// A domain that grows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Growth {
    /// The registrable domain, in presentation form.
    pub domain: String,
    /// Names that were first seen within the day before the last look.
    pub names_a_day: u64,
    /// All names in it.
    pub names: u64,
}
