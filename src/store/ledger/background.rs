//! Work in the background: segments become runs, runs become larger runs, and what nobody needs is removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commit::ManifestChange;
use super::disk::Run;
use super::room::MergePlace;
use super::view::ReadView;
use super::{CLEAR_PAUSE, Shared, Work, is_free};
use crate::store::StoreError;
use crate::store::engine::{self, with_prefix};
use crate::store::run::{BlockSource, CommitRange};
use crate::store::segment::Segment;

/// Keys that are removed together.
pub(super) const REMOVED_TOGETHER: usize = 64;
/// Rows in memory that are folded into a run: one in so many of those that are in runs, and at least so many.
const FOLD_SHARE: u64 = 8;
const FOLD_LEAST: u64 = 10_000;
/// Segments of one tier that are merged in memory into one of the next.
pub(super) const SEGMENT_FAN_IN: usize = 8;

impl Shared {
    /// The life of a thread: works while there is work, and waits to be notified.
    pub(super) fn work(&self, work: Work) {
        let mut wait = self.options.retry.0;
        loop {
            let seen = self.notifier.count();
            if self.check_stop().is_err() {
                return;
            }
            let generation = self.handle().generation();
            match self.recover(None).and_then(|()| self.step(work)) {
                Ok(true) => {
                    wait = self.options.retry.0;
                    self.set_failure(work, None);
                    self.notifier.notify();
                }
                Ok(false) => {
                    // Readers notify nobody when they let go.
                    let left = !self.replaced.lock().is_empty();
                    self.notifier.wait(seen, left.then_some(CLEAR_PAUSE));
                }
                Err(_) if self.check_stop().is_err() => return,
                Err(error) => {
                    tracing::warn!(work = work.thread_name(), %error, "Work on the ledger failed and will be tried again.");
                    self.set_failure(work, Some(error));
                    self.notifier.notify();
                    let until = std::time::Instant::now() + wait;
                    // The next one to write may open the engine again before.
                    while self.check_stop().is_ok()
                        && std::time::Instant::now() < until
                        && self.handle().generation() == generation
                    {
                        let seen = self.notifier.count();
                        self.notifier
                            .wait(seen, Some(until.saturating_duration_since(std::time::Instant::now())));
                    }
                    wait = (2 * wait).min(self.options.retry.1);
                }
            }
        }
    }

    pub(super) fn is_due(&self, work: Work) -> bool {
        let view = self.view();
        match work {
            Work::Fold => self.fold_is_due(&view) || segments_to_merge(&view.segments).is_some(),
            Work::Merge => {
                self.handle().has_obsolete_runs()
                    || self.replaced.lock().iter().any(|retired| is_free(&retired.handle))
                    || self.is_uncounted()
                    || self.runs_to_merge(&view).is_some()
                    || self.runs_to_cut(&view).is_some()
                    || self.first_sightings_are_due()
                    || self.rewrite_is_due(&view, 0)
                    || self.survey_is_due(&view)
            }
        }
    }

    /// Does one piece of work; `false` when none is due, and `true` also where the engine is to be opened again first.
    pub(super) fn step(&self, work: Work) -> Result<bool, StoreError> {
        let _alone = (if work == Work::Fold { &self.folding } else { &self.merging }).lock();
        // Who had the lock before may have failed since this thread saw to it that all is well: what it wrote may be there all
        // the same, and its rows in the view too. That is seen to first.
        if self.handle().failure().is_some() {
            return Ok(true);
        }
        let view = self.view();
        if work == Work::Fold {
            // A merge of much takes long, and readers must not hold too much meanwhile.
            self.end_long_readers(&view, 0);
        }
        match work {
            Work::Fold if self.fold_is_due(&view) => self.fold(&view.segments).map(|()| true),
            Work::Fold => match segments_to_merge(&view.segments) {
                Some(group) => self.merge_segments(&group).map(|()| true),
                None => Ok(false),
            },
            Work::Merge => {
                let (group, cut) = (self.runs_to_merge(&view), self.runs_to_cut(&view));
                // A merge needs room for what it makes of its runs.
                let coming = group.iter().flatten().map(|run| run.meta.bytes).sum();
                // The file system is asked where there is something to merge.
                let fits = group.is_none() || self.place_of_merge(coming)? == Some(MergePlace::Within);
                let (too_large, survey) =
                    (!fits || self.rewrite_is_due(&view, coming), self.survey_is_due(&view));
                self.end_long_readers(&view, coming);
                drop(view);
                // Removal goes first: what is removed makes room for what is written.
                match group {
                    _ if self.clear_away() || self.handle().remove_a_run()? => Ok(true),
                    _ if self.is_uncounted() => self.count_cuts().map(|()| true),
                    _ if self.first_sightings_are_due() => self.make_first_sightings().map(|()| true),
                    // A copy of everything is a merge, too, and gives back what the file has too much.
                    Some(group) if too_large => match self.rewrite_by_itself() {
                        Err(StoreError::NoRoom { .. }) if fits => self.merge_runs(group).map(|()| true),
                        Err(StoreError::NoRoom { .. }) => Ok(false),
                        done => done.map(|()| true),
                    },
                    Some(group) => self.merge_runs(group).map(|()| true),
                    None => match cut {
                        Some(runs) => self.carry_out_cuts(&runs).map(|()| true),
                        None if survey => self.fold_names_by_itself().map(|()| true),
                        None if too_large => self.rewrite_by_itself().map(|()| true),
                        None => Ok(false),
                    },
                }
            }
        }
    }

    pub(super) fn fold_is_due(&self, view: &ReadView) -> bool {
        let pending = view.pending();
        let in_runs: u64 = view.runs.iter().map(|run| run.meta.counts().primary()).sum();
        // What the journal took of the file is free then, and must be a small part of it: all of it is there twice while it is rewritten.
        let most = (in_runs / FOLD_SHARE).max(FOLD_LEAST).min(self.options.fold_rows as u64);
        pending.primary() >= most || view.pending_bytes() >= self.options.fold_bytes()
    }

    /// Writes segments as a run.
    pub(super) fn fold(&self, segments: &[Arc<Segment>]) -> Result<(), StoreError> {
        let keys = segments.iter().map(|segment| segment.counts().lookup_keys).sum();
        let sources = segments.iter().map(|s| Arc::clone(s) as Arc<dyn BlockSource>).collect();
        let handle = self.handle();
        let mut folded_keys = Vec::new();
        let mut journal_from = 0;
        for sequence in segments.iter().flat_map(|segment| &segment.sequences) {
            for pair in with_prefix(&*handle, &engine::journal(*sequence)) {
                folded_keys.push(pair?.0);
            }
            journal_from = journal_from.max(sequence + 1);
        }
        let commits = CommitRange::over(segments.iter().map(|segment| segment.commits));
        let run = self.write_run(&handle, keys, commits, |writer| writer.push_merged(&sources, 0))?;
        let folded = |view: &mut ReadView| {
            view.segments.retain(|kept| !segments.iter().any(|folded| Arc::ptr_eq(kept, folded)));
        };
        let journal = Some((journal_from, commits.last));
        let change = ManifestChange { add: run, replaced: &[], journal, batch: None, ends_cuts: false };
        self.apply_to_manifest(change, folded)?;
        for keys in folded_keys.chunks(REMOVED_TOGETHER) {
            // They count no more. What is left of them goes when the engine is opened again.
            if handle.write(keys.iter().map(|key| (key.clone(), None)).collect()).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Merges segments in memory.
    pub(super) fn merge_segments(&self, group: &[Arc<Segment>]) -> Result<(), StoreError> {
        let merged = Arc::new(Segment::merge(group)?);
        self.publish(|view| {
            view.segments.retain(|kept| !group.iter().any(|old| Arc::ptr_eq(kept, old)));
            view.segments.push(merged);
        });
        Ok(())
    }

    /// Merges runs into one.
    pub(super) fn merge_runs(&self, group: Vec<Arc<Run>>) -> Result<(), StoreError> {
        let keys = group.iter().map(|run| run.meta.counts().lookup_keys).sum();
        let commits = CommitRange::over(group.iter().map(|run| run.meta.commits));
        // From one side of each cut, so that none is carried out by this.
        let sources = group.iter().map(|run| Arc::clone(run) as Arc<dyn BlockSource>).collect();
        let run = self.write_run(&self.handle(), keys, commits, |writer| writer.push_merged(&sources, 0))?;
        let change =
            ManifestChange { add: run, replaced: &group, journal: None, batch: None, ends_cuts: false };
        self.apply_to_manifest(change, |_| {}).map(drop)
    }

    /// How many runs of one size are too many.
    fn fan_in(&self) -> usize {
        let put_off = if self.puts_off_merges.load(Ordering::Relaxed) { 8 } else { 1 };
        put_off * self.options.fan_in.max(2)
    }

    /// The runs of one size that have become too many, or all that came between two cuts, where there is room for what they become.
    pub(super) fn runs_to_merge(&self, view: &ReadView) -> Option<Vec<Arc<Run>>> {
        let ReadView { runs, epochs, .. } = view;
        let fan_in = self.fan_in();
        let now = epochs.cuts.len() as u32;
        let tier = |run: &Run| {
            let tier = (run.meta.counts().primary() / (self.options.fold_rows.max(1) as u64))
                .checked_ilog(fan_in as u64)
                .map_or(0, |tier| tier + 1);
            let epoch = epochs.epoch(run.meta.id);
            let is_between = epoch > 0 && epoch < now;
            (epoch, if is_between { 0 } else { tier }, if is_between { 2 } else { fan_in })
        };
        let tiers: BTreeSet<_> = runs.iter().map(|run| tier(run)).collect();
        tiers.into_iter().find_map(|wanted| {
            let group: Vec<_> = runs.iter().filter(|run| tier(run) == wanted).map(Arc::clone).collect();
            let bytes = || group.iter().map(|run| run.meta.bytes).sum();
            let has_room = || self.place_of_merge(bytes()).is_ok_and(|place| place.is_some());
            (group.len() >= wanted.2 && has_room()).then_some(group)
        })
    }
}

/// The segments of one tier that have become too many.
pub(super) fn segments_to_merge(segments: &[Arc<Segment>]) -> Option<Vec<Arc<Segment>>> {
    let tiers: BTreeSet<u32> = segments.iter().map(|segment| segment.tier).collect();
    tiers.into_iter().find_map(|tier| {
        let group: Vec<_> = segments.iter().filter(|segment| segment.tier == tier).map(Arc::clone).collect();
        (group.len() >= SEGMENT_FAN_IN).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::store::ledger::Ledger;
    use crate::store::tests::crash::{VolatileSite, batch, tiny};
    use crate::store::{Options, ReadStore, WriteStore};

    #[test]
    fn merges_that_were_put_off_while_much_was_loaded_are_done_at_its_end() {
        let options = Options { bulk_rows: 1, ..tiny() };
        let open = |options: Options| {
            let site = Arc::new(VolatileSite::new(usize::MAX, 1));
            Ledger::open_site(site, true, &options).unwrap()
        };
        let (ledger, at_once) = (open(options.clone().put_off_merges()), open(options));
        for ledger in [&ledger, &at_once] {
            (1..=5).for_each(|number| ledger.apply(&batch(number, ledger).unwrap()).unwrap());
            ledger.settle().unwrap();
        }
        let settled = at_once.stats().unwrap().runs;
        assert!(ledger.stats().unwrap().runs > settled, "they were put off");
        // Who is told to stop waits for nothing.
        ledger.end_bulk(true, &|| true).unwrap();
        ledger.end_bulk(true, &|| false).unwrap();
        assert!(ledger.stats().unwrap().runs <= settled);
        assert!(ledger.verify(&mut |_, _| true).unwrap().is_sound());
    }
}
