//! Mending: the index and the filters of a damaged ledger are made anew from its rows.
//!
//! Only the blocks of rows and of questions are read, and what is in no run; all of it must be whole, for of a row that is
//! lost nothing else says what it was. The repaired ledger is written to a fresh place, which then takes over as after a
//! rewrite.

use std::sync::Arc;

use super::disk::Run;
use super::rewrite::Copy;
use super::{Ledger, Shared};
use crate::store::batch::Batch;
use crate::store::engine::Site;
use crate::store::key::{Family, Range};
use crate::store::run::{BlockSource, Merged};
use crate::store::verify::{OnProgress, check_row};
use crate::store::{Options, StoreError, damaged, value};

impl Ledger {
    /// Makes the index and the filters of a ledger anew that nobody has open. Rows that it lacks are no longer asked for: the
    /// logs are read again from where the ledger is, as far as they are there.
    ///
    /// # Errors
    ///
    /// When something else is damaged: the ledger is as it was then. [`StoreError::Closed`] when it was ended.
    pub(in crate::store) fn repair(
        site: Arc<dyn Site>,
        options: &Options,
        on_progress: OnProgress<'_>,
    ) -> Result<(), StoreError> {
        let shared = Shared::open(site, false, options, Run::without_filter)?;
        let runs = shared.view().runs.clone();
        let total: u64 = runs.iter().map(|run| run.meta.counts().primary()).sum();
        let mut done = 0;
        for run in &runs {
            check_rows(run, shared.sensors.len(), &mut done, &mut |done| on_progress(done, 2 * total))?;
        }
        let place = shared.site.next()?;
        shared.check_room(place.free_bytes())?;
        let handle = shared.open_handle(place)?;
        handle.abandon(true);
        let mut copy = Copy::new(&shared, handle);
        copy.gives_up_missing = true;
        let sources = shared.sources_of(&runs);
        let mut batch = Batch::default();
        for family in Family::primary() {
            let mut rows = Merged::open(&sources, &Range::all(family))?;
            while rows.advance()? {
                value::add_row(family, rows.key(), rows.value(), &mut batch)?;
                done += 1;
                // As much again is needed to sort it.
                if batch.bytes() as u64 > options.memory / 4 {
                    copy.add_batch(&std::mem::take(&mut batch))?;
                    if !on_progress(done, 2 * total) {
                        return Err(StoreError::Closed);
                    }
                }
            }
        }
        copy.add_batch(&batch)?;
        copy.copied(runs);
        copy.keep_folding();
        copy.take_over(0).map(drop)
    }
}

/// Makes sure that all rows and questions of a run are there and can be read.
fn check_rows(
    run: &Arc<Run>,
    sensors: usize,
    done: &mut u64,
    on_progress: &mut dyn FnMut(u64) -> bool,
) -> Result<(), StoreError> {
    for (family, what) in [(Family::ByName, "rows"), (Family::Questions, "questions")] {
        // What is dropped and still there, too.
        let source = [Arc::clone(run) as Arc<dyn BlockSource>].into_iter().collect();
        let mut rows = Merged::open(&source, &Range::all(family))?;
        let (mut found, mut last) = (0, Vec::new());
        while rows.advance()? {
            check_row(family, rows.key(), rows.value(), sensors)?;
            if found > 0 && rows.key() <= last.as_slice() {
                return Err(damaged(
                    &format!("run {}", run.meta.id),
                    &format!("its {what} are not in order"),
                ));
            }
            last.clear();
            last.extend_from_slice(rows.key());
            found += 1;
            *done += 1;
            if done.is_multiple_of(4096) && !on_progress(*done) {
                return Err(StoreError::Closed);
            }
        }
        let expected = run.meta.counts().of(family);
        if found != expected {
            let why = format!("{found} {what} can be read, and there were {expected}");
            return Err(damaged(&format!("run {}", run.meta.id), &why));
        }
    }
    Ok(())
}
