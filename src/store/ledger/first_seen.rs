//! First sightings of registrable domains are made of older rows: in a ledger that was written before there were any, and when
//! another public suffix list says what one domain is.
//!
//! It is done in pieces, each a run of its own that is added to the others. What a piece says is true whatever comes meanwhile,
//! and once more is as good as once: so a crash between a piece and the note how far it is costs that piece.

use super::Shared;
use super::commit::ManifestChange;
use crate::store::StoreError;
use crate::store::derived::{Derived, Record};
use crate::store::key::Family;
use crate::store::run::CommitRange;

/// Rows and questions that are read for a piece, at least.
const PIECE: u64 = 1 << 20;

impl Shared {
    /// Whether older rows are left that were not read yet.
    pub(super) fn first_sightings_are_due(&self) -> bool {
        self.first_seen.lock().0.from.is_some()
    }

    /// While that is so, how many were read since it was opened.
    pub(super) fn first_sightings_read(&self) -> Option<u64> {
        let (record, read) = &*self.first_seen.lock();
        record.from.is_some().then_some(*read)
    }

    /// Makes a piece of them. Nothing is merged or dropped meanwhile.
    pub(super) fn make_first_sightings(&self) -> Result<(), StoreError> {
        let Some(from) = self.first_seen.lock().0.from.clone() else { return Ok(()) };
        let view = self.view();
        // It holds no rows or questions, so that no commit is looked for in it.
        let commits = CommitRange::one(view.last_commit);
        // What is only in the journal or staged brings its own.
        let sources = self.sources_of(&view.runs);
        let keys: u64 = view.runs.iter().map(|run| run.meta.counts().lookup_keys).sum();
        let mut rows = Derived::from(&sources, &from)?;
        let mut left = None;
        let handle = self.handle();
        let run = self.write_run(&handle, keys.min(PIECE), commits, |writer| {
            while rows.advance(&mut || self.check_stop())? {
                writer.push(Family::Domains, rows.key(), rows.value())?;
                if let Some(next) = rows.border().filter(|_| rows.read >= PIECE) {
                    left = next;
                    break;
                }
            }
            Ok(())
        })?;
        drop(view);
        if run.meta.counts().all() > 0 {
            let (replaced, journal, batch) = (&[], None, None);
            let change = ManifestChange { add: run, replaced, journal, batch, ends_cuts: false };
            self.apply_to_manifest(change, |_| {})?;
        } else {
            handle.mark_obsolete(run.meta.id);
        }
        let record = Record::from(left);
        handle.commit(record.to_changes()?)?;
        let is_done = record.from.is_none();
        {
            let mut known = self.first_seen.lock();
            known.0 = record;
            known.1 += rows.read;
        }
        if is_done {
            self.publish(|view| view.domains = true);
            tracing::info!("The first sightings of registrable domains are made of all rows.");
        }
        Ok(())
    }
}
