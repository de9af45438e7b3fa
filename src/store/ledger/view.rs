//! One moment of the ledger, which lookups read.

use std::sync::Arc;

use super::disk::Run;
use crate::store::budget::{Estimates, FoldRecord, load_estimates};
use crate::store::derived::Derived;
use crate::store::engine::Pairs;
use crate::store::entries::{DomainScan, EntryScan, HitScan, QuestionScan, Rows};
use crate::store::key::{Family, Range};
use crate::store::manifest::Epochs;
use crate::store::run::{BlockSource, Counts, Merged, Reach, Sources, Whole};
use crate::store::segment::Segment;
use crate::store::sensors::Sensors;
use crate::store::{
    Changed, Domains, Entries, Hits, Identity, Mark, Position, Questions, Scan, Snapshot, StoreError,
};

/// One moment of the ledger.
#[derive(Clone)]
pub(super) struct ReadView {
    pub(super) runs: Vec<Arc<Run>>,
    /// What is in the journal and in no run.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Segments that are staged and not committed.
    pub(super) staged: Vec<Arc<Segment>>,
    /// The number of the last commit.
    pub(super) last_commit: u64,
    pub(super) sensors: Arc<Sensors>,
    pub(super) folding: Arc<Folding>,
    /// Which of the runs were there when which cut was made.
    pub(super) epochs: Arc<Epochs>,
    /// Whether the rows of registrable domains are all there.
    pub(super) domains: bool,
    /// Which ledger this is.
    pub(super) identity: Identity,
    /// What was last seen before this was dropped, epoch seconds.
    pub(super) expired_before: u64,
}

/// What is known of what was folded.
pub(super) struct Folding {
    pub(super) record: FoldRecord,
    pub(super) estimates: Arc<Estimates>,
}

impl Folding {
    pub(super) fn load(main: &dyn Pairs) -> Result<Folding, StoreError> {
        Ok(Folding { record: FoldRecord::load(main)?, estimates: Arc::new(load_estimates(main)?) })
    }
}

impl ReadView {
    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::with_cuts(self.epochs.cuts.clone());
        for run in &self.runs {
            sources.push(self.epochs.epoch(run.meta.id), Arc::clone(run) as Arc<dyn BlockSource>);
        }
        // Where there is a cut all that is in memory came after it.
        for segment in self.segments.iter().chain(&self.staged) {
            sources.push(self.epochs.cuts.len() as u32, Arc::clone(segment) as Arc<dyn BlockSource>);
        }
        sources
    }

    /// What is not in the rows themselves.
    pub(super) fn known(&self) -> (Arc<Sensors>, Arc<Estimates>) {
        (Arc::clone(&self.sensors), Arc::clone(&self.folding.estimates))
    }

    pub(super) fn pending(&self) -> Counts {
        self.segments.iter().fold(Counts::default(), |sum, segment| sum.plus(*segment.counts()))
    }

    /// Bytes on disk of what is there: the runs, and what of the journal is in none of them yet.
    pub(super) fn live_bytes(&self) -> u64 {
        let runs: u64 = self.runs.iter().map(|run| run.meta.bytes).sum();
        runs + self.segments.iter().map(|segment| segment.journal_bytes).sum::<u64>()
    }

    /// Bytes of what is there once all of it is in runs, about.
    pub(super) fn block_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.meta.bytes).sum::<u64>() + self.pending_bytes() as u64
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes()).sum()
    }
}

impl Snapshot for ReadView {
    fn expired_before(&self) -> u64 {
        self.expired_before
    }

    fn entries<'a>(&'a self, scan: &Scan, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        self.entries_within(scan, after, Reach::Disk)
    }

    fn entries_in_memory<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
    ) -> Result<Entries<'a>, StoreError> {
        self.entries_within(scan, after, Reach::Memory)
    }

    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError> {
        let Some(range) = Range::questions(scan) else { return Ok(Box::new(std::iter::empty())) };
        let rows = Merged::open(&self.sources(), &range)?;
        Ok(Box::new(QuestionScan::new(rows.into(), self.known())))
    }

    fn domains<'a>(&'a self, scan: &Scan) -> Result<Domains<'a>, StoreError> {
        let none = || Box::new(std::iter::empty());
        let sources = self.sources();
        let rows: Rows = if self.domains {
            let Some(range) = Range::domains(scan) else { return Ok(none()) };
            Merged::open(&sources, &range)?.into()
        } else {
            let Some(derived) = Derived::open(&sources, scan)? else { return Ok(none()) };
            derived.into()
        };
        Ok(Box::new(DomainScan::new(rows, self.known())))
    }

    fn hits<'a>(&'a self, after: u64) -> Result<Hits<'a>, StoreError> {
        let rows = Merged::open(&self.sources(), &Range::hits_after(after))?;
        Ok(Box::new(HitScan::new(rows.into(), Arc::clone(&self.sensors))))
    }

    fn changed_since<'a>(&'a self, mark: Mark) -> Result<Changed<'a>, StoreError> {
        // A mark that is ahead is of another ledger: all of this one is new.
        let mark = if mark.0 > self.last_commit { 0 } else { mark.0 };
        let mut all = Sources::with_cuts(self.epochs.cuts.clone());
        let mut newer = Vec::new();
        let now = self.epochs.cuts.len() as u32;
        let runs = self.runs.iter().map(|run| {
            (self.epochs.epoch(run.meta.id), Arc::clone(run) as Arc<dyn BlockSource>, run.meta.commits)
        });
        let segments = self
            .segments
            .iter()
            .map(|segment| (now, Arc::clone(segment) as Arc<dyn BlockSource>, segment.commits));
        for (epoch, source, commits) in runs.chain(segments) {
            if commits.last > mark {
                newer.push(Arc::clone(&source));
            }
            all.push(epoch, source);
        }
        let rows = Whole::open(Family::ByName, &newer, &all)?;
        let questions = Whole::open(Family::Questions, &newer, &all)?;
        let hits = Whole::open(Family::HitLog, &newer, &all)?;
        Ok(Changed {
            entries: Box::new(EntryScan::new(rows.into(), Family::ByName, self.known(), None)),
            questions: Box::new(QuestionScan::new(questions.into(), self.known())),
            hits: Box::new(HitScan::new(hits.into(), Arc::clone(&self.sensors))),
            mark: Mark(self.last_commit),
            identity: self.identity,
            expired_before: self.expired_before,
        })
    }
}

impl ReadView {
    fn entries_within<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
        reach: Reach,
    ) -> Result<Entries<'a>, StoreError> {
        let Some(mut range) = Range::entries(scan) else { return Ok(Box::new(std::iter::empty())) };
        let skip = after.map(|after| (range.skip_to(after), Arc::clone(&after.sensor)));
        let rows = Merged::open_within(&self.sources(), &range, reach)?;
        Ok(Box::new(EntryScan::new(rows.into(), range.family, self.known(), skip)))
    }
}
