//! Commits: rows and progress become durable by one atomic write, and so does each change of the manifest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::Work;
use super::disk::Run;
use super::view::ReadView;
use crate::base::fault::point;
use crate::progress::{LineageId, Progress};
use crate::store::acknowledged::AckLog;
use crate::store::engine::MarkFile;
use crate::store::engine::{self, Changes, Pairs, with_prefix};
use crate::store::engine_handle::EngineHandle;
use crate::store::manifest::{Commits, Epochs};
use crate::store::run::CommitRange;
use crate::store::segment::{JournalPart, Segment};
use crate::store::stored::{open_progress, progress_hash};
use crate::store::undo::Undo;
use crate::store::{StoreError, block, damaged, value};

/// What was committed last, and what it needs to be kept up.
pub(super) struct Committed {
    pub(super) record: Commits,
    /// The hash of each lineage's progress.
    pub(super) lineages: HashMap<LineageId, u64>,
    /// How far each was read when that was acknowledged.
    pub(super) acks: AckLog,
    /// A batch that could not be applied, and may be on disk all the same.
    pub(super) uncertain: Option<UncertainCommit>,
}

/// How to take back what may be on disk.
pub(super) struct UncertainCommit {
    /// The record of the last commit, if it is there.
    pub(super) record: Commits,
    /// What makes the main map as it was before, but for that record and the manifest.
    pub(super) undo: Changes,
    /// The run that holds its rows, if it is large.
    pub(super) run: Option<u32>,
}

impl Committed {
    /// The number of the next commit.
    pub(super) fn next(&self) -> CommitRange {
        CommitRange::one(self.record.number.saturating_add(1))
    }

    /// Takes it from an engine, and what was acknowledged from the mark beside it.
    pub(super) fn load(
        engine: &dyn Pairs,
        mark: Box<dyn MarkFile>,
        next_run: u32,
        sensors: usize,
    ) -> Result<Committed, StoreError> {
        let (mut lineages, mut offsets) = (HashMap::new(), HashMap::new());
        for pair in with_prefix(engine, engine::PROGRESS) {
            let (key, sealed) = pair?;
            let progress = open_progress(&key, &sealed)?;
            lineages.insert(progress.lineage, progress_hash(&key, &sealed));
            offsets.insert(progress.lineage, progress.consumed.offset);
        }
        let record = Commits::from_bytes(engine.get(engine::COMMITS)?)?;
        let digest = lineages.values().fold(0, |all, hash| all ^ hash);
        if (record.lineages, record.digest) != (lineages.len() as u64, digest) {
            return Err(damaged("the progress of the logs", "it is not what was last committed"));
        }
        let acks = AckLog::open(mark, &offsets, next_run, sensors)?;
        Ok(Committed { record, lineages, acks, uncertain: None })
    }
}

/// Rows that are to be committed.
pub(super) enum CommitRows {
    /// They become an entry of the journal.
    Segment(Box<Segment>),
    /// They are a run that nobody knows yet.
    Run(Arc<Run>),
}

/// What changes in the manifest.
pub(super) struct ManifestChange<'a> {
    pub(super) add: Arc<Run>,
    pub(super) replaced: &'a [Arc<Run>],
    /// Where the journal begins now, if it was cut, and the number of the last commit before that.
    pub(super) journal: Option<(u64, u64)>,
    /// What is committed with it, and what is there before.
    pub(super) batch: Option<(Changes, Changes)>,
    /// Whether all cuts are carried out by it.
    pub(super) ends_cuts: bool,
}

impl Shared {
    /// Commits rows, among them so many new hits, and progress by one atomic write, and shows them to readers; `edit` changes the view with it.
    pub(super) fn commit_rows(
        &self,
        committed: &mut Committed,
        progress: &[&Progress],
        rows: CommitRows,
        hits: u64,
        edit: impl FnOnce(&mut ReadView),
    ) -> Result<(), StoreError> {
        let handle = self.handle();
        let mut record = committed.record;
        record.number += 1;
        record.hits += hits;
        let number = record.number;
        let edit = |view: &mut ReadView| {
            view.last_commit = number;
            edit(view);
        };
        let (mut changes, mut undo, mut hashes) = (Changes::new(), Changes::new(), Vec::new());
        for progress in progress {
            let key = engine::progress(&progress.lineage);
            let sealed = block::seal(&key, &value::progress_to_bytes(progress)?);
            let hash = progress_hash(&key, &sealed);
            match committed.lineages.get(&progress.lineage) {
                Some(last) => {
                    record.digest ^= last;
                    undo.push((key.clone(), handle.get(&key)?));
                }
                None => {
                    record.lineages += 1;
                    undo.push((key.clone(), None));
                }
            }
            record.digest ^= hash;
            hashes.push((progress.lineage, hash));
            changes.push((key, Some(sealed)));
        }
        let next_run = match rows {
            CommitRows::Run(run) => {
                changes.push((engine::COMMITS.to_vec(), Some(record.to_bytes()?)));
                let id = run.meta.id;
                let before = with_record(&undo, &committed.record)?;
                let batch = Some((changes, before));
                let change =
                    ManifestChange { add: run, replaced: &[], journal: None, batch, ends_cuts: false };
                self.apply_to_manifest(change, edit).inspect_err(|_| {
                    committed.uncertain = Some(UncertainCommit { record, undo, run: Some(id) });
                })?
            }
            CommitRows::Segment(mut segment) => {
                let sequence = record.journal_to;
                let parts = segment.journal_parts();
                let count =
                    u16::try_from(parts.len()).map_err(|_| damaged("the batch", "it is too large"))?;
                for (part, JournalPart { family, rows }) in (0..count).zip(parts) {
                    let key = engine::journal_part(sequence, part);
                    let sealed =
                        block::seal(&key, &engine::join(&[&count.to_be_bytes(), &[family.byte()], &rows]));
                    segment.journal_bytes += sealed.len() as u64;
                    undo.push((key.clone(), None));
                    changes.push((key, Some(sealed)));
                }
                record.journal_to += u64::from(count > 0);
                changes.push((engine::COMMITS.to_vec(), Some(record.to_bytes()?)));
                // Before it is committed: a change that comes between is not one that came before.
                let next_run = self.manifest.lock().next_run;
                let before = with_record(&undo, &committed.record)?;
                self.commit(&handle, changes, &before).inspect_err(|_| {
                    committed.uncertain = Some(UncertainCommit { record, undo, run: None });
                })?;
                self.publish(|view| {
                    if count > 0 {
                        view.segments.push(Arc::from(segment));
                    }
                    edit(view);
                });
                next_run
            }
        };
        committed.record = record;
        self.hits_committed(record.hits);
        committed.lineages.extend(hashes);
        self.acknowledge(progress, committed, &handle, next_run);
        Ok(())
    }

    /// Changes the manifest, with a batch or alone, and shows it to readers. Gives the number of the next run, which each such
    /// change makes greater: by it one sees that none is missing.
    pub(super) fn apply_to_manifest(
        &self,
        change: ManifestChange<'_>,
        edit: impl FnOnce(&mut ReadView),
    ) -> Result<u32, StoreError> {
        let mut manifest = self.manifest.lock();
        // When it fails the run is let go of before the lock is: whoever opens the engine again then sees to what became of it.
        let ManifestChange { add, replaced, journal, batch, ends_cuts } = change;
        let replaced_ids: Vec<u32> = replaced.iter().map(|run| run.meta.id).collect();
        let mut next = manifest.clone();
        if ends_cuts {
            next.cuts.clear();
        }
        next.replace(&replaced_ids, add.meta.clone());
        next.next_run = self.next_run.load(Ordering::SeqCst).max(manifest.next_run.saturating_add(1));
        self.next_run.fetch_max(next.next_run, Ordering::SeqCst);
        let next_run = next.next_run;
        if let Some(journal) = journal {
            (next.journal_from, next.journal_after) = journal;
        }
        let (handle, change) = (self.handle(), (engine::MANIFEST.to_vec(), Some(next.to_bytes()?)));
        match batch {
            Some((mut changes, mut before)) => {
                changes.push(change);
                before.push((engine::MANIFEST.to_vec(), Some(manifest.to_bytes()?)));
                self.commit(&handle, changes, &before)?;
            }
            // One key: it is there or not.
            None => handle.commit(vec![change])?,
        }
        *manifest = next;
        replaced.iter().for_each(|run| run.obsolete.store(true, Ordering::Relaxed));
        let epochs = Arc::new(Epochs::of(&manifest.cuts));
        self.publish(|view| {
            view.runs.retain(|run| !replaced_ids.contains(&run.meta.id));
            view.runs.push(add);
            view.epochs = epochs;
            edit(view);
        });
        Ok(next_run)
    }

    /// Notes what was committed, with the number of the next run that the manifest had then. It is durable in the
    /// engine: where it cannot be noted nothing more is written before it was.
    pub(super) fn acknowledge(
        &self,
        progress: &[&Progress],
        committed: &mut Committed,
        handle: &EngineHandle,
        next_run: u32,
    ) {
        let logs = progress.iter().map(|progress| (progress.lineage, progress.consumed.offset));
        let noted = committed.acks.acknowledge(logs, next_run, self.sensors.len());
        noted.unwrap_or_else(|error| handle.fail(&error));
        let left = committed.acks.missing_logs();
        if self.missing.swap(left, Ordering::SeqCst) > 0 && left == 0 {
            tracing::info!("All rows that were missing are there again.");
        }
    }

    /// Waits while there is too much in memory that could not be folded yet.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        loop {
            let seen = self.notifier.count();
            if self.view().pending_bytes() < 2 * self.options.fold_bytes() {
                return Ok(());
            }
            self.failure(Work::Fold)?;
            // Who waits here holds the lock that recovery needs.
            self.handle().failure().map_or(Ok(()), Err)?;
            self.check_stop()?;
            self.notifier.wait(seen, None);
        }
    }

    /// Commits a batch: `before` is what its keys hold until then. After an error it may be there, or a part of it.
    pub(super) fn commit(
        &self,
        handle: &EngineHandle,
        batch: Changes,
        before: &Changes,
    ) -> Result<(), StoreError> {
        let mut keys = Vec::new();
        for (key, sealed) in Undo::of(&batch, before).to_pairs()? {
            keys.push((key.clone(), None));
            handle.write(vec![(key, Some(sealed))])?;
        }
        point("undo_written");
        handle.commit(batch)?;
        // Before anything else is written that changes these keys. If it fails the batch is there all the same, and this goes
        // when the engine is opened again.
        drop(handle.write(keys));
        Ok(())
    }
}

/// What keys held before, with the record of the last commit.
fn with_record(before: &Changes, record: &Commits) -> Result<Changes, StoreError> {
    let record = (engine::COMMITS.to_vec(), Some(record.to_bytes()?));
    Ok(before.iter().cloned().chain([record]).collect())
}
