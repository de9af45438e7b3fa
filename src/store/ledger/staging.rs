//! Staged segments: what was read of live logs, visible and not durable yet.
//!
//! Who follows a log hands over what it read in small batches. Each becomes a sorted segment, built outside every lock, and is
//! published: lookups see it from then on. A commit makes everything that was staged before it durable by one atomic write:
//! one entry of the journal (or a run, where it is large) and the progress of the logs. In the view the committed segment
//! takes the place of the staged ones in one step, so each sighting is seen once at any moment.
//!
//! A commit that fails changes nothing here: lookups go on seeing what is staged, and the next commit takes it with all that
//! came meanwhile. After a crash it is gone, and the logs are read again from the progress that was committed last.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::background::segments_to_merge;
use super::commit::CommitRows;
use super::disk::RunSink;
use super::hits::{NewHits, look};
use super::view::ReadView;
use crate::base::fault::point;
use crate::progress::{LineageId, Progress};
use crate::store::StoreError;
use crate::store::batch::Batch;
use crate::store::run::{BlockSource, CommitRange, Writer};
use crate::store::segment::Segment;

/// Rows and questions of staged segments that are merged by who stages: it takes a few milliseconds at most. Larger ones are
/// merged when they are committed.
const MERGED_ROWS: u64 = 1000;
/// Bytes of memory of the progress of a log, about.
const PROGRESS_BYTES: usize = 512;

/// What belongs to the staged segments in the view.
#[derive(Default)]
pub(super) struct Staging {
    /// How far logs were read, where that is not committed.
    progress: HashMap<LineageId, Progress>,
    /// Hits of which it is not known whether they are committed.
    pub(super) hits: NewHits,
    /// Segments that are just being committed: they are not merged meanwhile.
    taken: Vec<Arc<Segment>>,
}

impl Staging {
    /// Small staged segments of one tier that have become too many, among those that are not being committed.
    fn to_merge(&self, view: &ReadView) -> Option<Vec<Arc<Segment>>> {
        let free = view.staged.iter().filter(|segment| !is_among(&self.taken, segment));
        let small: Vec<_> = free.filter(|segment| segment.rows() < MERGED_ROWS).map(Arc::clone).collect();
        segments_to_merge(&small)
    }
}

fn is_among(segments: &[Arc<Segment>], segment: &Arc<Segment>) -> bool {
    segments.iter().any(|other| Arc::ptr_eq(other, segment))
}

impl Shared {
    /// Stages a batch.
    pub(super) fn stage(&self, batch: &Batch) -> Result<(), StoreError> {
        let cut = self.cut.load(Ordering::SeqCst);
        let watch = self.watch.read();
        let found = look(watch.as_deref(), batch);
        // Where the disk cannot be asked just now, who commits will.
        let new = self.only_new(found.clone()).unwrap_or(found);
        let segment = Arc::new(Segment::from_batch(
            batch,
            &Batch::default(),
            self.sensors.len(),
            Vec::new(),
            CommitRange::default(),
            cut,
        )?);
        let mut group = {
            let mut staging = self.staging.lock();
            staging.hits.extend(new);
            staging.progress.extend(batch.progress().map(|progress| (progress.lineage, progress.clone())));
            if segment.rows() > 0 {
                self.show(|view| view.staged.push(segment));
            }
            staging.to_merge(&self.view.load())
        };
        while let Some(merging) = group {
            let merged = Arc::new(Segment::merge(&merging)?);
            let staging = self.staging.lock();
            let is_there = |segment| is_among(&self.view.load().staged, segment);
            // A commit may have taken them meanwhile, or another who stages has merged them.
            if !merging.iter().all(|one| is_there(one) && !is_among(&staging.taken, one)) {
                break;
            }
            self.show(|view| {
                view.staged.retain(|segment| !is_among(&merging, segment));
                view.staged.push(merged);
            });
            group = staging.to_merge(&self.view.load());
        }
        Ok(())
    }

    /// Bytes of memory of what is staged, about.
    pub(super) fn staged_bytes(&self) -> usize {
        let progress = self.staging.lock().progress.len() * PROGRESS_BYTES;
        progress + self.view.load().staged.iter().map(|segment| segment.bytes()).sum::<usize>()
    }

    /// Commits what is staged. Gives the progress that was committed.
    pub(super) fn commit_staged(&self) -> Result<Vec<Progress>, StoreError> {
        if self.staged_bytes() > 0 {
            self.leave_room()?;
        }
        let mut committed = self.committed.lock();
        let (staged, progress, found) = {
            let mut staging = self.staging.lock();
            staging.taken.clone_from(&self.view.load().staged);
            (
                staging.taken.clone(),
                staging.progress.values().cloned().collect::<Vec<_>>(),
                staging.hits.clone(),
            )
        };
        if staged.is_empty() && progress.is_empty() && found.is_empty() {
            return Ok(progress);
        }
        point("live_closed");
        let done = self.recover(Some(&mut committed)).and_then(|()| {
            point("apply_begun");
            self.wait_for_room()?;
            let cut = self.cut.load(Ordering::SeqCst);
            let commits = committed.next();
            let hits = self.number_hits(committed.record.hits, &found)?;
            let with_hits: Vec<_> = staged.iter().cloned().chain(self.hit_segment(&hits)?).collect();
            let hits = hits.hits().len() as u64;
            let segment = Segment::to_commit(&with_hits, committed.record.journal_to, commits.last, cut)?;
            let rows = if segment.rows() >= self.options.bulk_rows as u64 {
                let keys = segment.counts().lookup_keys;
                let sources = [Arc::new(segment) as Arc<dyn BlockSource>].into_iter().collect();
                let fill = |writer: &mut Writer<RunSink<'_>>| writer.push_merged(&sources, 0);
                CommitRows::Run(self.write_run(&self.handle(), keys, commits, fill)?)
            } else {
                CommitRows::Segment(Box::new(segment))
            };
            let progress: Vec<&Progress> = progress.iter().collect();
            self.commit_rows(&mut committed, &progress, rows, hits, |view| {
                view.staged.retain(|segment| !is_among(&staged, segment));
            })
        });
        let mut staging = self.staging.lock();
        staging.taken.clear();
        done?;
        staging.hits.retain(|key, _| !found.contains_key(key));
        for committed in &progress {
            // A log may have been read on meanwhile.
            if staging.progress.get(&committed.lineage) == Some(committed) {
                staging.progress.remove(&committed.lineage);
            }
        }
        drop(staging);
        point("live_applied");
        Ok(progress)
    }
}

#[cfg(test)]
impl super::Ledger {
    /// How many segments in memory are committed, and how many are staged.
    pub(in crate::store) fn segments(&self) -> (usize, usize) {
        let view = self.shared.view();
        (view.segments.len(), view.staged.len())
    }

    /// Of how many runs it is known between which keys they are, and how many there are.
    pub(in crate::store) fn known_extents(&self) -> (usize, usize) {
        let view = self.shared.view();
        let is_known = |run: &&Arc<super::disk::Run>| {
            let contents = &run.meta.contents;
            contents
                .extents
                .iter()
                .all(|(family, extent)| extent.is_some() || contents.counts.of(family) == 0)
        };
        (view.runs.iter().filter(is_known).count(), view.runs.len())
    }
}
