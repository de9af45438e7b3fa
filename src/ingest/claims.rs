//! Who may read which log.
//!
//! A lineage may be met at several places at once: the live file, its rotated name, its archive. Only one reader may
//! read it at a time, and another only after everything read so far is committed, so that progress never runs ahead of
//! the counts it covers: rows and the progress that covers them are one batch, and the next reader begins at the progress
//! that is stored. So whatever stops when, each line is counted exactly once.
//!
//! Everything here may be called from any thread. No lock is held while the store works.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::fault::point;
use crate::progress::{LineageId, Progress};
use crate::store::batch::Batch;
use crate::store::{StoreError, WriteStore};

/// The logs that are being read into a store, and by whom.
pub(super) struct Claims {
    store: Arc<dyn WriteStore>,
    claims: Mutex<HashMap<LineageId, Claim>>,
    /// Told whenever a claim ends.
    released: Condvar,
}

/// Who has a lineage.
#[derive(Default)]
struct Claim {
    /// A reader has it.
    held: bool,
    /// That reader follows a live log.
    live: bool,
    /// The newest progress that was put in a batch and not yet committed.
    uncommitted: Option<Progress>,
}

/// What came of asking for a lineage.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It is the caller's until [`Claims::release`]; how far it was read before.
    Yes(Option<Box<Progress>>),
    /// Another reader has it, or what it read is not committed yet; whether that one follows it live.
    Busy {
        /// The reader follows a live log, and has read all of it that there is.
        live: bool,
    },
}

impl Claims {
    /// None so far, on the logs of a store.
    pub fn new(store: &Arc<dyn WriteStore>) -> Claims {
        Claims { store: Arc::clone(store), claims: Mutex::default(), released: Condvar::new() }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<LineageId, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
            claims.insert(*id, Claim { held: true, live, uncommitted: None });
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
        self.claims().entry(progress.lineage).or_default().uncommitted = Some(progress.clone());
        batch.advance(progress);
    }

    /// Gives a lineage back. It can be claimed again once all progress in it is committed.
    pub fn release(&self, id: &LineageId) {
        let mut claims = self.claims();
        if let Some(claim) = claims.get_mut(id) {
            claim.held = false;
            claim.live = false;
            if claim.uncommitted.is_none() {
                claims.remove(id);
                self.released.notify_all();
            }
        }
    }

    /// Commits what is staged, and lets others read on where that ends.
    ///
    /// # Errors
    ///
    /// When the store refuses. Nothing is lost: everything stays staged, and the next call tries again.
    pub fn commit(&self) -> Result<(), StoreError> {
        let committed = self.store.commit()?;
        self.committed(committed.iter());
        Ok(())
    }

    /// Applies a batch that one reader made for itself.
    ///
    /// # Errors
    ///
    /// When the store refuses; the same batch may be given again.
    pub fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch)?;
        point("bulk_applied");
        self.committed(batch.progress());
        Ok(())
    }

    /// Gives back what a batch holds that is never staged or applied: its lineages can be claimed again, from where the store
    /// has them.
    pub fn abandon(&self, batch: &Batch) {
        self.committed(batch.progress());
    }

    /// Ends the claims that waited for this progress.
    fn committed<'a>(&self, progress: impl Iterator<Item = &'a Progress>) {
        let mut claims = self.claims();
        for progress in progress {
            if let Some(claim) = claims.get_mut(&progress.lineage) {
                if claim.uncommitted.as_ref() == Some(progress) {
                    claim.uncommitted = None;
                }
                if !claim.held && claim.uncommitted.is_none() {
                    claims.remove(&progress.lineage);
                }
            }
        }
        self.released.notify_all();
    }

    /// Waits until some claim has ended, at most so long.
    pub fn wait_for_release(&self, at_most: Duration) {
        let claims = self.claims();
        if !claims.is_empty() {
            drop(self.released.wait_timeout(claims, at_most).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// How far a lineage was read, committed or not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        let uncommitted = self.claims().get(id).and_then(|claim| claim.uncommitted.clone());
        uncommitted.map_or_else(|| self.store.lineage(id), |progress| Ok(Some(progress)))
    }

    /// All lineages, as far as they were read, committed or not.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        let uncommitted: Vec<Progress> =
            self.claims().values().filter_map(|claim| claim.uncommitted.clone()).collect();
        let mut all: HashMap<LineageId, Progress> =
            self.store.lineages()?.into_iter().map(|progress| (progress.lineage, progress)).collect();
        for progress in uncommitted {
            // It may have been committed, and read on, between the two looks.
            let newer = all.get(&progress.lineage).is_none_or(|known| {
                known.read_at <= progress.read_at && known.consumed.offset <= progress.consumed.offset
            });
            if newer {
                all.insert(progress.lineage, progress);
            }
        }
        Ok(all.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_lineage_is_busy_until_all_that_was_read_of_it_is_committed() {
        let store: Arc<dyn WriteStore> = Arc::new(MemoryStore::default());
        let claims = Claims::new(&store);
        let id = LineageId([7; 16]);
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Yes(None)));
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        let (mut progress, mut batch) = (Progress::start(id, "s"), Batch::default());
        progress.consumed.offset = 10;
        claims.advance(&mut batch, progress.clone());
        claims.release(&id);
        // It is not even staged, then not committed.
        claims.commit().unwrap();
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        store.stage(&batch).unwrap();
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Busy { live: false }));
        assert_eq!(claims.lineages().unwrap(), [progress.clone()]);
        claims.commit().unwrap();
        match claims.claim(&id, false).unwrap() {
            Claimed::Yes(Some(known)) => assert_eq!(*known, progress),
            other => panic!("{other:?}"),
        }
        claims.release(&id);
        assert!(matches!(claims.claim(&id, false).unwrap(), Claimed::Yes(Some(_))));
    }
}
