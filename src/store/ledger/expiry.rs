//! Dropping by age: a cut, which every lookup honours from the next moment on, and which merges carry out.
//!
//! A cut is a time and the runs that were there when it was made. What of a row lies in them is dropped if the last of it is before
//! that time: readers leave it out ([`Merged`]), and so does whatever writes it anew. What comes later lies in other runs and is a
//! new row; so a merge takes runs from one side of a cut only, until one takes all that are before the last cut, and carries all of
//! them out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::commit::ManifestChange;
use super::disk::Run;
use super::view::{Folding, ReadView};
use crate::observation::SensorId;
use crate::store::budget::{Estimates, folded_place};
use crate::store::engine;
use crate::store::key::{Family, Range};
use crate::store::manifest::{Cut, Epochs, Manifest};
use crate::store::run::{BlockSource, CommitRange, Merged, Sources};
use crate::store::space::of_copy;
use crate::store::{Expired, StoreError, value};

/// Cuts are carried out when they drop one in so many of the rows before them.
const SHARE: u64 = 8;
/// Or when they are more than this.
const MOST_CUTS: usize = 16;
/// Rows between two looks whether the ledger is being closed.
const LOOK: u64 = 4096;

impl Shared {
    /// Drops what was last seen before a time. Nothing is written anew.
    pub(super) fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        let _alone = self.merging.lock();
        if before <= self.cut.load(Ordering::SeqCst) {
            return Ok(self.manifest.lock().expired);
        }
        {
            let mut committed = self.committed.lock();
            self.recover(Some(&mut committed))?;
            let _nothing_is_folded = self.folding.lock();
            let view = self.view();
            if !view.segments.is_empty() {
                self.fold(&view.segments)?;
            }
            drop(view);
            let mut manifest = self.manifest.lock();
            let mut next = manifest.clone();
            let (epochs, now) = (Epochs::of(&next.cuts), next.cuts.len() as u32);
            let ids = next.runs.iter().map(|run| run.id);
            let runs = ids.filter(|id| epochs.epoch(*id) == now).collect();
            next.cuts.push(Cut { before, runs, ..Cut::default() });
            (next.expired.before, next.expired.at) = (before, at);
            // When this fails it may be there all the same, and is taken back when the engine is opened again.
            self.change_manifest(&mut manifest, next)?;
            self.cut.store(before, Ordering::SeqCst);
        }
        if let Err(error) = self.count_cuts() {
            // It is dropped; the next merge counts it.
            tracing::warn!(%error, "What was dropped could not be counted yet.");
        }
        Ok(self.manifest.lock().expired)
    }

    /// Moves the time before which nothing is kept back. What is still on disk of what was dropped is there again.
    pub(super) fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        // Nothing is written anew meanwhile: what is, takes the cut over with which it was begun.
        let _alone = self.merging.lock();
        let mut manifest = self.manifest.lock();
        if before >= manifest.expired.before {
            return Ok(manifest.expired);
        }
        let mut next = manifest.clone();
        let Manifest { expired, cuts, .. } = &mut next;
        (expired.before, expired.at) = (before, at);
        for cut in cuts.iter_mut().filter(|cut| cut.before > before) {
            expired.rows = expired.rows.saturating_sub(cut.rows);
            expired.questions = expired.questions.saturating_sub(cut.questions);
            (cut.before, cut.is_counted, cut.rows, cut.questions) = (before, false, 0, 0);
        }
        self.change_manifest(&mut manifest, next)?;
        let expired = manifest.expired;
        self.cut.store(expired.before, Ordering::SeqCst);
        drop(manifest);
        self.notifier.notify();
        Ok(expired)
    }

    /// Writes a manifest with the same runs, and shows it to readers.
    fn change_manifest(&self, manifest: &mut Manifest, next: Manifest) -> Result<(), StoreError> {
        self.handle().commit(vec![(engine::MANIFEST.to_vec(), Some(next.to_bytes()?))])?;
        *manifest = next;
        let epochs = Arc::new(Epochs::of(&manifest.cuts));
        let before = manifest.expired.before;
        self.publish(|view| (view.epochs, view.expired_before) = (epochs, before));
        Ok(())
    }

    /// Whether it was not counted yet what a cut drops.
    pub(super) fn is_uncounted(&self) -> bool {
        self.manifest.lock().cuts.iter().any(|cut| !cut.is_counted)
    }

    /// Counts what each cut drops. Nothing is merged meanwhile, and no other cut made.
    pub(super) fn count_cuts(&self) -> Result<(), StoreError> {
        loop {
            let (at, before, view) = {
                let manifest = self.manifest.lock();
                let Some(at) = manifest.cuts.iter().position(|cut| !cut.is_counted) else { return Ok(()) };
                (at, manifest.cuts.get(at).map_or(0, |cut| cut.before), self.view())
            };
            let sources = view.sources().before_cut(at as u32);
            let (mut gone, mut alive) = (BTreeSet::new(), BTreeSet::new());
            let mut count = |family| {
                let (mut dropped, mut seen) = (0, 0u64);
                let mut rows = Merged::open(&sources, &Range::all(family))?;
                while rows.advance()? {
                    let is_dropped = value::last_seen(family, rows.value())? < before;
                    dropped += u64::from(is_dropped);
                    if let Some(place) = folded_place(family, rows.key())? {
                        if is_dropped {
                            gone.insert(place)
                        } else {
                            alive.insert(place)
                        };
                    }
                    seen += 1;
                    if seen.is_multiple_of(LOOK) {
                        self.check_stop()?;
                    }
                }
                Ok::<_, StoreError>(dropped)
            };
            let (rows, questions) = (count(Family::ByName)?, count(Family::Questions)?);
            let mut manifest = self.manifest.lock();
            let mut next = manifest.clone();
            if let Some(cut) = next.cuts.get_mut(at) {
                (cut.is_counted, cut.rows, cut.questions) = (true, rows, questions);
            }
            next.expired.rows += rows;
            next.expired.questions += questions;
            next.join_cuts();
            self.change_manifest(&mut manifest, next)?;
            drop(manifest);
            gone.retain(|place| !alive.contains(place));
            self.forget_estimates(&gone);
        }
    }

    /// Forgets how many names were folded into rows that are dropped. Where that fails the next copy of the ledger does it.
    fn forget_estimates(&self, gone: &BTreeSet<(Vec<u8>, SensorId)>) {
        if gone.is_empty() {
            return;
        }
        for (prefix, sensor) in gone {
            if self.handle().write(vec![(engine::sketch(prefix, *sensor), None)]).is_err() {
                break;
            }
        }
        self.publish(|view| {
            let mut estimates = Estimates::clone(&view.folding.estimates);
            estimates.0.retain(|place, _| !gone.contains(place));
            view.folding = Arc::new(Folding { record: view.folding.record, estimates: Arc::new(estimates) });
        });
    }

    /// Whether somebody is making room: what is free is theirs.
    pub(super) fn is_making_room(&self) -> bool {
        *self.making_room.lock() > 0
    }

    /// The runs that were there before the last cut, where it is worth the while to write anew what stays of them, and there is room.
    pub(super) fn runs_to_cut(&self, view: &ReadView) -> Option<Vec<Arc<Run>>> {
        let cuts = view.epochs.cuts.len();
        if cuts == 0 || self.is_making_room() || self.is_uncounted() {
            return None;
        }
        let is_before = |run: &&Arc<Run>| view.epochs.epoch(run.meta.id) < cuts as u32;
        let runs: Vec<Arc<Run>> = view.runs.iter().filter(is_before).map(Arc::clone).collect();
        let sum = |of: fn(&Run) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
        let (rows, questions) = self.manifest.lock().left();
        let (all, left) = (sum(|run| run.meta.counts().primary()), rows + questions);
        if left.saturating_mul(SHARE) < all && cuts <= MOST_CUTS {
            return None;
        }
        let stays = share(sum(|run| run.meta.bytes), all.saturating_sub(left), all);
        let handle = self.handle();
        let live: u64 = view.runs.iter().map(|run| run.meta.bytes).sum();
        // What is free in the engine's file is used first.
        let free_within = handle.disk_bytes().unwrap_or_default().saturating_sub(live);
        let free = handle.place().free_bytes().map_or(u64::MAX, |free| free.saturating_add(free_within));
        (of_copy(stays) <= free).then_some(runs)
    }

    /// Writes what stays of the runs before the last cut as one: all cuts are carried out then.
    pub(super) fn carry_out_cuts(&self, runs: &[Arc<Run>]) -> Result<(), StoreError> {
        let keys = runs.iter().map(|run| run.meta.counts().lookup_keys).sum();
        let commits = CommitRange::over(runs.iter().map(|run| run.meta.commits));
        let sources = self.sources_of(runs);
        let run = self.write_run(&self.handle(), keys, commits, |writer| writer.push_merged(&sources, 0))?;
        let change = ManifestChange { add: run, replaced: runs, journal: None, batch: None, ends_cuts: true };
        self.apply_to_manifest(change, |_| {}).map(drop)
    }

    /// Some runs of the present moment, to be gone through as one.
    pub(super) fn sources_of(&self, runs: &[Arc<Run>]) -> Sources {
        let epochs = Arc::clone(&self.view().epochs);
        let mut sources = Sources::with_cuts(epochs.cuts.clone());
        for run in runs {
            sources.push(epochs.epoch(run.meta.id), Arc::clone(run) as Arc<dyn BlockSource>);
        }
        sources
    }
}

/// A part of so many of something, as large as another part of all.
pub(super) fn share(of: u64, part: u64, all: u64) -> u64 {
    if all == 0 { of } else { (of as f64 * (part as f64 / all as f64)) as u64 }
}

#[cfg(test)]
mod tests {
    use super::super::Ledger;
    use super::*;
    use crate::dns::Name;
    use crate::store::memory::MemoryStore;
    use crate::store::tests::crash::{VolatileSite, batch, tiny};
    use crate::store::{Entry, Options, ReadStore, Scan, WriteStore};

    fn rows(store: &dyn ReadStore) -> Vec<Entry> {
        store.now().entries(&Scan::All, None).unwrap().map(Result::unwrap).collect()
    }

    /// A ledger and its model, with these batches.
    fn ledger(
        options: &Options,
        batches: std::ops::RangeInclusive<u64>,
    ) -> (VolatileSite, Ledger, MemoryStore) {
        let site = VolatileSite::new(usize::MAX, 1);
        let ledger = Ledger::open_site(Arc::new(site.clone()), true, options).unwrap();
        let model = MemoryStore::default();
        add(&ledger, &model, batches);
        (site, ledger, model)
    }

    fn add(ledger: &Ledger, model: &MemoryStore, batches: std::ops::RangeInclusive<u64>) {
        for number in batches {
            ledger.apply(&batch(number, ledger).unwrap()).unwrap();
            model.apply(&batch(number, model).unwrap()).unwrap();
        }
    }

    fn runs(ledger: &Ledger) -> Vec<u32> {
        let mut runs: Vec<u32> = ledger.shared.view().runs.iter().map(|run| run.meta.id).collect();
        runs.sort_unstable();
        runs
    }

    #[test]
    fn what_is_dropped_is_gone_at_once_and_nothing_is_written_anew() {
        let options = Options { fan_in: 100, ..tiny() };
        let (site, ledger, model) = ledger(&options, 1..=40);
        ledger.rewrite().unwrap();
        let (before, held) = (runs(&ledger), ledger.now());
        let all = rows(&ledger);
        assert_eq!(ledger.expire(1008, 7).unwrap(), model.expire(1008, 7).unwrap());
        assert_eq!(rows(&ledger), rows(&model));
        assert!(rows(&ledger).len() < all.len());
        let stats = ledger.stats().unwrap();
        assert!(stats.expired_on_disk > 0 && stats.rows == rows(&ledger).len() as u64, "{stats:?}");
        assert_eq!(runs(&ledger), before);
        // Who began to read before goes on with what there was.
        assert_eq!(held.entries(&Scan::All, None).unwrap().count(), all.len());
        drop(held);
        // Also after a start, and it is nothing that a verification minds.
        drop(ledger);
        let ledger = Ledger::open_site(Arc::new(site.clone()), false, &options).unwrap();
        assert_eq!((rows(&ledger), ledger.expired_before()), (rows(&model), 1008));
        assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
        // What is seen again is a new row, whatever is still on disk of it.
        add(&ledger, &model, 41..=80);
        assert_eq!(rows(&ledger), rows(&model));
        let one = rows(&model)[3].tuple.rrname.clone();
        for name in [one, Name::parse("49.example").unwrap()] {
            let scan = Scan::Name(name);
            let of = |store: &dyn ReadStore| {
                let found: Vec<Entry> =
                    store.now().entries(&scan, None).unwrap().map(Result::unwrap).collect();
                found
            };
            assert_eq!(of(&ledger), of(&model));
        }
        // A copy leaves it behind.
        ledger.rewrite().unwrap();
        assert_eq!((rows(&ledger), ledger.stats().unwrap().expired_on_disk), (rows(&model), 0));
    }

    #[test]
    fn the_space_of_what_is_dropped_comes_back_at_a_merge_once_it_is_worth_it() {
        let (_, ledger, model) = ledger(&tiny(), 1..=40);
        ledger.rewrite().unwrap();
        ledger.settle().unwrap();
        let bytes = ledger.stats().unwrap().live_bytes;
        let (mut carried_out, mut last) = (0, u64::MAX);
        for cut in 1001..1040 {
            assert_eq!(ledger.expire(cut, cut).unwrap(), model.expire(cut, cut).unwrap());
            ledger.settle().unwrap();
            assert_eq!(rows(&ledger), rows(&model));
            let now = ledger.stats().unwrap().expired_on_disk;
            let all: u64 = ledger.shared.view().runs.iter().map(|run| run.meta.counts().primary()).sum();
            carried_out += u64::from(all < last);
            last = all;
            assert!(now * SHARE < all.max(1) || all == 0, "{now} of {all} are dropped and still there");
            assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
        }
        assert!((3..30).contains(&carried_out), "{carried_out}");
        assert!(ledger.stats().unwrap().live_bytes < bytes / 4);
    }

    #[test]
    fn cuts_do_not_become_many_and_runs_neither() {
        let (_, ledger, model) = ledger(&tiny(), 1..=8);
        // One row goes with each step, of very many.
        for day in 0..60 {
            add(&ledger, &model, 9 + 4 * day..=12 + 4 * day);
            ledger.expire(1002 + day, 1).unwrap();
            model.expire(1002 + day, 1).unwrap();
            ledger.settle().unwrap();
            let view = ledger.shared.view();
            assert!(view.epochs.cuts.len() <= MOST_CUTS + 1, "{:?}", view.epochs.cuts);
            assert!(view.runs.len() <= MOST_CUTS + 16, "{} runs", view.runs.len());
        }
        assert_eq!(rows(&ledger), rows(&model));
    }

    #[test]
    fn a_time_that_is_moved_back_shows_what_is_still_on_disk() {
        let (_, ledger, _) = ledger(&Options { fan_in: 100, ..tiny() }, 1..=40);
        let all = rows(&ledger);
        ledger.expire(1003, 1).unwrap();
        let fewer = rows(&ledger);
        assert!(fewer.len() < all.len());
        ledger.lower_expired(1000, 2).unwrap();
        assert_eq!(rows(&ledger), all);
        ledger.settle().unwrap();
        let stats = ledger.stats().unwrap();
        assert_eq!((stats.expired.before, stats.expired.rows, stats.expired_on_disk), (1000, 0, 0));
        assert_eq!(rows(&ledger), all);
    }
}
