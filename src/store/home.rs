//! A home: where an engine lives, so that it can be closed and opened again beneath those who use it.
//!
//! An engine refuses all writes after one has failed, until it is opened again; and it cannot be opened while anybody
//! still holds it. So nobody does: readers and writers hold the home, which passes each of their calls on, and has the
//! engine to itself while it is closed and opened. What is read goes on to be read, before and after.
//!
//! Each opening begins a new *generation*. What was written and not synced in an earlier one may be lost, so a run is
//! written within one generation, or not at all.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::bell::Bell;
use super::cache::Cache;
use super::engine::{Changes, Engine, Pairs, Place};
use super::{Pair, StoreError};
use crate::fault::point;

/// An engine at its place.
pub(crate) struct Home {
    place: Arc<dyn Place>,
    state: RwLock<State>,
    /// Why nothing can be written until the engine was opened again.
    failure: Mutex<Option<StoreError>>,
    /// Runs to be removed.
    graves: Mutex<BTreeSet<u32>>,
    /// Runs that somebody reads, or writes.
    held: Mutex<HashSet<u32>>,
    /// Told of failures and of runs to be removed.
    bell: Arc<Bell>,
    /// Blocks of runs that lookups opened, of this home and of those before and after it.
    cache: Arc<Cache>,
    /// Another home has taken over: the place is removed with the last user.
    abandoned: AtomicBool,
}

struct State {
    generation: u64,
    /// `None` after it was closed and could not be opened again.
    engine: Option<Arc<dyn Engine>>,
    /// The maps of runs that were asked for in this generation.
    runs: RwLock<HashMap<u32, Arc<dyn Pairs>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_open() -> StoreError {
    StoreError::Io {
        what: "the ledger is not open".to_owned(),
        error: std::io::ErrorKind::NotConnected.into(),
    }
}

impl Home {
    /// Opens the engine at a place.
    ///
    /// # Errors
    ///
    /// As [`Place::open`] has them.
    pub fn open(place: Arc<dyn Place>, bell: &Arc<Bell>, cache: &Arc<Cache>) -> Result<Home, StoreError> {
        let engine = Some(place.open()?);
        Ok(Home {
            place,
            state: RwLock::new(State { generation: 0, engine, runs: RwLock::default() }),
            failure: Mutex::default(),
            graves: Mutex::default(),
            held: Mutex::default(),
            bell: Arc::clone(bell),
            cache: Arc::clone(cache),
            abandoned: AtomicBool::new(false),
        })
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        // Nothing panics while it is changed: engines turn their panics into errors.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place.
    pub fn place(&self) -> &dyn Place {
        &*self.place
    }

    /// Blocks that lookups opened.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// How often the engine was opened again.
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Why nothing can be written, if it cannot.
    pub fn failure(&self) -> Option<StoreError> {
        lock(&self.failure).as_ref().map(StoreError::again)
    }

    /// Nothing is written any more until the engine was opened again.
    pub fn fail(&self, error: &StoreError) {
        lock(&self.failure).get_or_insert_with(|| error.again());
        self.bell.ring();
    }

    /// Opens the engine again, if the place can be written to. What was not synced may be lost then.
    ///
    /// # Errors
    ///
    /// When the place cannot be written to: nothing has changed then, and what is there can be read. Or when the engine
    /// cannot be opened: nothing can be read then, either, until a later try succeeds.
    pub fn renew(&self) -> Result<(), StoreError> {
        self.place.probe()?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.runs = RwLock::default();
        state.engine = None;
        state.engine = Some(self.place.open()?);
        Ok(())
    }

    /// Makes what is in the engine that was opened again fit what is in memory: the one write that a failure does not
    /// stop. It is durable when it returns.
    pub fn correct(&self, changes: Changes) -> Result<(), StoreError> {
        self.read(|engine| {
            engine.write(changes)?;
            engine.sync()
        })
    }

    /// The failure has passed: others may write again.
    pub fn mended(&self) {
        *lock(&self.failure) = None;
        self.bell.ring();
    }

    /// Whether all that is at the place goes with the last user of this home: another one has taken over.
    pub fn abandon(&self, abandoned: bool) {
        self.abandoned.store(abandoned, Ordering::Relaxed);
    }

    fn closed(&self) -> StoreError {
        self.failure().unwrap_or_else(not_open)
    }

    fn read<T>(&self, read: impl FnOnce(&dyn Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.state().engine {
            Some(engine) => read(&**engine),
            None => Err(self.closed()),
        }
    }

    /// Changes something, within a generation where one is given. After a failure nothing more is written.
    fn change<T>(
        &self,
        generation: Option<u64>,
        change: impl FnOnce(&dyn Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let state = self.state();
        match (&state.engine, self.failure()) {
            (_, Some(failure)) => Err(failure),
            (None, None) => Err(not_open()),
            _ if generation.is_some_and(|generation| generation != state.generation) => Err(StoreError::Io {
                what: "the ledger was opened again meanwhile".to_owned(),
                error: std::io::ErrorKind::Interrupted.into(),
            }),
            (Some(engine), None) => change(&**engine).inspect_err(|error| self.fail(error)),
        }
    }

    /// Makes changes in the main map, all or none; they may be lost in a crash, and with the engine's next opening.
    pub fn write(&self, changes: Changes) -> Result<(), StoreError> {
        self.change(None, |engine| engine.write(changes))
    }

    /// Makes changes in the main map, all or none, durable when it returns. After a failure they may be there or not.
    pub fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        self.change(None, |engine| {
            engine.write(changes)?;
            point("commit_written");
            engine.sync()?;
            point("commit_synced");
            Ok(())
        })
    }

    /// Adds pairs to a run that has `before` so far, in a generation.
    pub fn append(&self, generation: u64, run: u32, before: u64, pairs: Vec<Pair>) -> Result<(), StoreError> {
        self.change(Some(generation), |engine| engine.append(run, before, pairs))
    }

    /// Waits until what was written in a generation is on stable storage.
    pub fn sync_in(&self, generation: u64) -> Result<(), StoreError> {
        self.change(Some(generation), |engine| engine.sync())
    }

    /// Waits until all that was written is on stable storage.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.change(None, |engine| engine.sync())
    }

    /// All runs of which there is a map, or the beginning of one.
    pub fn runs(&self) -> Result<BTreeSet<u32>, StoreError> {
        self.read(|engine| engine.runs())
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.read(|engine| engine.disk_bytes())
    }

    /// Does something with the map of a run.
    pub fn in_run<T>(
        &self,
        id: u32,
        work: impl FnOnce(&dyn Pairs) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let state = self.state();
        let Some(engine) = &state.engine else { return Err(self.closed()) };
        let known = state.runs.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(run) = known {
            return work(&*run);
        }
        let run = engine.run(id)?;
        state.runs.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&run));
        work(&*run)
    }

    //--- removal

    /// Somebody reads a run, or writes it.
    pub fn hold(&self, id: u32) {
        lock(&self.held).insert(id);
    }

    /// Nobody reads a run any more, nor writes it.
    pub fn let_go(&self, id: u32) {
        lock(&self.held).remove(&id);
    }

    /// Whether somebody reads a run, or writes it.
    pub fn is_held(&self, id: u32) -> bool {
        lock(&self.held).contains(&id)
    }

    /// Nobody needs a run any more: [`Home::remove_a_run`] removes it.
    pub fn bury(&self, id: u32) {
        lock(&self.graves).insert(id);
        self.bell.ring();
    }

    /// Whether there is a run to be removed.
    pub fn has_graves(&self) -> bool {
        !lock(&self.graves).is_empty()
    }

    /// Removes what is left of a run that nobody needs; `false` when there is none.
    pub fn remove_a_run(&self) -> Result<bool, StoreError> {
        let Some(id) = lock(&self.graves).first().copied() else { return Ok(false) };
        self.change(None, |engine| engine.remove_run(id))?;
        let state = self.state();
        state.runs.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        drop(state);
        lock(&self.graves).remove(&id);
        Ok(true)
    }
}

impl Pairs for Home {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|engine| engine.get(key))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.read(|engine| engine.at_most(key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.read(|engine| engine.above(key))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if *self.abandoned.get_mut() {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            state.runs = RwLock::default();
            state.engine = None;
            self.place.remove();
        }
    }
}
