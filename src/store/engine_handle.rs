//! A handle on an engine, so that it can be closed and opened again beneath those who use it.
//!
//! An engine refuses all writes after one has failed, until it is opened again; and it cannot be opened while anybody
//! still holds it. So nobody does: readers and writers hold the handle, which passes each of their calls on, and has the
//! engine to itself while it is closed and opened. What is read goes on to be read, before and after.
//!
//! Each opening begins a new *generation*. What was written and not synced in an earlier one may be lost, so a run is
//! written within one generation, or not at all.
//!
//! An engine in which a write has failed may be in any state: calls may not return from it, nor its closing. So each step
//! of opening it again has a limit of time, and so has a call that began before the failure was known. Where one is
//! exceeded the process ends, and is started again: nothing of the engine's state outlives that, and the logs are read again
//! from what is on disk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cache::Cache;
use super::engine::{Changes, Engine, EnginePlace, Pairs};
use super::notifier::Notifier;
use super::{Pair, StoreError};
use crate::base::fault::{end_to_start_again, patience, point};

/// How long a call may be in an engine that has failed, and how long closing one may take.
const HUNG: Duration = Duration::from_secs(5);
/// How long opening it again may take: where more is needed a start takes that time.
const OPENING: Duration = Duration::from_secs(8);
/// Between two looks whether the last call has returned.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest time between two tries to open the engine again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The first one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A write that fails so soon after the engine was opened again belongs to the same trouble.
const SAME_TROUBLE: Duration = Duration::from_secs(20);

/// An engine at its place.
pub(crate) struct EngineHandle {
    place: Arc<dyn EnginePlace>,
    state: RwLock<State>,
    /// Set while somebody waits to have the engine to itself: no further call is begun.
    closing: AtomicBool,
    /// Why nothing can be written until the engine was opened again.
    failure: Mutex<Option<Failure>>,
    retries: Mutex<Retries>,
    /// When the calls began that write and have not returned.
    calls: Mutex<Vec<Instant>>,
    /// Runs to be removed.
    obsolete_runs: Mutex<BTreeSet<u32>>,
    /// Runs that somebody reads, or writes.
    held: Mutex<HashSet<u32>>,
    /// Told of failures and of runs to be removed.
    notifier: Arc<Notifier>,
    /// Blocks of runs that lookups opened, of this engine and of those before and after it.
    cache: Arc<Cache>,
    /// Another engine has taken over: the place is removed with the last user.
    abandoned: AtomicBool,
    /// Its readers have held it for too long: their next read fails.
    revoked: AtomicBool,
    /// Who reads it and is not to be ended.
    spared: AtomicU32,
}

/// An engine whose readers are not ended.
pub(crate) struct Spared(Arc<EngineHandle>);

impl Drop for Spared {
    fn drop(&mut self) {
        self.0.spared.fetch_sub(1, Ordering::SeqCst);
    }
}

struct State {
    generation: u64,
    /// `None` after it was closed and could not be opened again.
    engine: Option<Arc<dyn Engine>>,
    /// The maps of runs that were asked for in this generation.
    runs: RwLock<HashMap<u32, Arc<dyn Pairs>>>,
}

/// A write failed.
struct Failure {
    error: StoreError,
    since: Instant,
}

/// When it is tried again to open the engine.
struct Retries {
    /// The first wait and the longest.
    bounds: (Duration, Duration),
    wait: Duration,
    not_before: Option<Instant>,
    /// When the last failure had passed.
    passed: Option<Instant>,
}

impl Retries {
    /// The next try is put off, twice as long as the last.
    fn put_off(&mut self) {
        self.wait = (2 * self.wait).clamp(self.bounds.0, self.bounds.1);
        self.not_before = Some(Instant::now() + self.wait);
    }
}

/// A call that writes.
struct Call<'a> {
    handle: &'a EngineHandle,
    began: Instant,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut calls = self.handle.calls.lock();
        if let Some(at) = calls.iter().position(|began| *began == self.began) {
            calls.swap_remove(at);
        }
    }
}

/// Ends the process because the engine does not answer.
fn end(why: &str) -> ! {
    tracing::error!(
        "The engine of the ledger {why} after a failed write. The process ends, to be started again; nothing is lost, for the logs are read again from what is on disk."
    );
    end_to_start_again()
}

fn not_open() -> StoreError {
    StoreError::Io {
        what: "the ledger is not open".to_owned(),
        error: std::io::ErrorKind::NotConnected.into(),
    }
}

impl EngineHandle {
    /// Opens the engine at a place.
    ///
    /// # Errors
    ///
    /// As [`EnginePlace::open`] has them.
    ///
    /// `retry` bounds the waits between tries to open it again after a failure.
    pub fn open(
        place: Arc<dyn EnginePlace>,
        notifier: &Arc<Notifier>,
        cache: &Arc<Cache>,
        retry: (Duration, Duration),
    ) -> Result<EngineHandle, StoreError> {
        let engine = Some(place.open()?);
        let bounds = (retry.0.min(FIRST_WAIT), retry.1.min(LONGEST_WAIT));
        let retries = Retries { bounds, wait: Duration::ZERO, not_before: None, passed: None };
        Ok(EngineHandle {
            place,
            state: RwLock::new(State { generation: 0, engine, runs: RwLock::default() }),
            closing: AtomicBool::new(false),
            failure: Mutex::default(),
            retries: Mutex::new(retries),
            calls: Mutex::default(),
            obsolete_runs: Mutex::default(),
            held: Mutex::default(),
            notifier: Arc::clone(notifier),
            cache: Arc::clone(cache),
            abandoned: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            spared: AtomicU32::new(0),
        })
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        while self.closing.load(Ordering::Relaxed) {
            std::thread::park_timeout(PAUSE);
        }
        // Nothing panics while it is changed: engines turn their panics into errors.
        self.state.read()
    }

    /// The place.
    pub fn place(&self) -> &dyn EnginePlace {
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
        self.failure.lock().as_ref().map(|failure| failure.error.again())
    }

    /// Nothing is written any more until the engine was opened again.
    pub fn fail(&self, error: &StoreError) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            *failure = Some(Failure { error: error.again(), since: Instant::now() });
            let mut retries = self.retries.lock();
            if retries.passed.is_some_and(|passed| passed.elapsed() < SAME_TROUBLE) {
                retries.put_off();
            } else {
                (retries.wait, retries.not_before) = (Duration::ZERO, None);
            }
        }
        drop(failure);
        self.notifier.notify();
    }

    /// Looks whether the engine has failed by itself, and whether a call does not return from one that has.
    pub fn watch(&self) {
        // Who opens it again has it to itself, and watches the time.
        let Some(state) = self.state.try_read() else { return };
        if let Some(engine) = &state.engine
            && let Some(error) = engine.failure()
        {
            // Again and again: a call may begin to wait just after it.
            engine.wake();
            if self.failure().is_none() {
                self.fail(&error);
            }
        }
        drop(state);
        let hung = patience(HUNG);
        let failed = self.failure.lock().as_ref().is_some_and(|failure| failure.since.elapsed() > hung);
        if failed && self.calls.lock().iter().any(|began| began.elapsed() > hung) {
            end("does not return from a call");
        }
    }

    /// Why it is too soon to try again to open the engine, if it is.
    pub fn too_soon(&self) -> Option<StoreError> {
        let not_before = self.retries.lock().not_before;
        not_before.filter(|not_before| *not_before > Instant::now()).and_then(|_| self.failure())
    }

    /// The engine could not be opened again: the next try is put off.
    pub fn put_off(&self) {
        self.retries.lock().put_off();
    }

    /// Room was made: the next try is not put off any more.
    pub fn try_now(&self) {
        self.retries.lock().not_before = None;
    }

    /// Has the engine to itself, once all calls have returned.
    fn alone(&self) -> RwLockWriteGuard<'_, State> {
        self.closing.store(true, Ordering::Relaxed);
        let until = Instant::now() + patience(HUNG);
        let state = loop {
            match self.state.try_write() {
                Some(state) => break state,
                None if Instant::now() < until => std::thread::park_timeout(PAUSE),
                None => end("does not return from a call"),
            }
        };
        self.closing.store(false, Ordering::Relaxed);
        state
    }

    /// Opens the engine again, if the place can be written to. What was not synced may be lost then.
    ///
    /// # Errors
    ///
    /// When the place cannot be written to: nothing has changed then, and what is there can be read. Or when the engine
    /// cannot be opened: nothing can be read then, either, until a later try succeeds.
    pub fn renew(&self) -> Result<(), StoreError> {
        let taken = self.place.probe()?;
        let mut state = self.alone();
        state.generation += 1;
        state.runs = RwLock::default();
        let (old, place) = (state.engine.take(), Arc::clone(&self.place));
        let (tell, told) = mpsc::channel();
        // Closing an engine that has failed may take for ever, so it is done where nobody has to wait for it.
        let work = move || {
            point("engine_closes");
            let closed = catch_unwind(AssertUnwindSafe(|| drop(old)));
            drop(tell.send(closed.map(|()| None).map_err(|_| not_open())));
            point("engine_opens");
            drop(taken);
            drop(tell.send(place.open().map(Some)));
        };
        let thread = std::thread::Builder::new().name("ledger-open".to_owned());
        thread.spawn(work).map_err(|error| StoreError::Io {
            what: "could not start a thread of the ledger".to_owned(),
            error,
        })?;
        match told.recv_timeout(patience(HUNG)) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => end("failed when it was closed"),
            Err(_) => end("could not be closed"),
        }
        match told.recv_timeout(patience(OPENING)) {
            Ok(Ok(engine)) => {
                state.engine = engine;
                Ok(())
            }
            // Its own threads keep the lock: they wait for ever.
            Ok(Err(StoreError::Locked { .. })) => end("holds on to its files"),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => end("could not be opened"),
        }
    }

    /// Makes what is in the engine that was opened again fit what is in memory: the one write that a failure does not
    /// stop. It is durable when it returns.
    pub fn correct(&self, changes: Changes) -> Result<(), StoreError> {
        let _call = self.call();
        self.read(|engine| {
            engine.write(changes)?;
            engine.sync()
        })
    }

    /// The failure has passed: others may write again.
    pub fn recovered(&self) {
        *self.failure.lock() = None;
        let mut retries = self.retries.lock();
        (retries.passed, retries.not_before) = (Some(Instant::now()), None);
        drop(retries);
        self.notifier.notify();
    }

    /// Whether all that is at the place goes with the last user of this engine: another one has taken over.
    pub fn abandon(&self, abandoned: bool) {
        self.abandoned.store(abandoned, Ordering::Relaxed);
    }

    /// From now on whoever reads a run of it fails, unless it is spared.
    pub fn revoke(&self) {
        if self.spared.load(Ordering::SeqCst) == 0 {
            self.revoked.store(true, Ordering::SeqCst);
        }
    }

    /// As [`EngineHandle::revoke`], and closes it, whoever still holds it: a reader that is slow may not look for long. Of one that is abandoned
    /// nothing is left then. `false` while it is spared, or somebody just reads.
    pub fn end(&self) -> bool {
        self.revoke();
        if !self.revoked.load(Ordering::SeqCst) {
            return false;
        }
        // Until it is closed and gone: somebody else may be about to end it, too.
        let Some(mut state) = self.state.try_write() else { return false };
        state.runs = RwLock::default();
        drop(state.engine.take());
        if self.abandoned.swap(false, Ordering::Relaxed) {
            self.place.remove();
        }
        true
    }

    /// Whether it is being ended, or was.
    pub fn is_ended(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    /// Spares it for as long as this lives: a backup or a verification may take long, and is to come to its end.
    pub fn spare(self: &Arc<EngineHandle>) -> Spared {
        self.spared.fetch_add(1, Ordering::SeqCst);
        Spared(Arc::clone(self))
    }

    fn call(&self) -> Call<'_> {
        let began = Instant::now();
        self.calls.lock().push(began);
        Call { handle: self, began }
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
            (Some(engine), None) => {
                let _call = self.call();
                change(&**engine).inspect_err(|error| self.fail(error))
            }
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
        if self.revoked.load(Ordering::Relaxed) {
            return Err(StoreError::Superseded);
        }
        let state = self.state();
        let Some(engine) = &state.engine else { return Err(self.closed()) };
        let known = state.runs.read().get(&id).cloned();
        if let Some(run) = known {
            return work(&*run);
        }
        let run = engine.run(id)?;
        state.runs.write().insert(id, Arc::clone(&run));
        work(&*run)
    }

    //--- removal

    /// Somebody reads a run, or writes it.
    pub fn hold(&self, id: u32) {
        self.held.lock().insert(id);
    }

    /// Nobody reads a run any more, nor writes it.
    pub fn release(&self, id: u32) {
        self.held.lock().remove(&id);
    }

    /// Whether somebody reads a run, or writes it.
    pub fn is_held(&self, id: u32) -> bool {
        self.held.lock().contains(&id)
    }

    /// Nobody needs a run any more: [`EngineHandle::remove_a_run`] removes it.
    pub fn mark_obsolete(&self, id: u32) {
        self.obsolete_runs.lock().insert(id);
        self.notifier.notify();
    }

    /// Whether there is a run to be removed.
    pub fn has_obsolete_runs(&self) -> bool {
        !self.obsolete_runs.lock().is_empty()
    }

    /// Removes what is left of a run that nobody needs; `false` when there is none.
    pub fn remove_a_run(&self) -> Result<bool, StoreError> {
        let Some(id) = self.obsolete_runs.lock().first().copied() else { return Ok(false) };
        self.change(None, |engine| engine.remove_run(id))?;
        let state = self.state();
        state.runs.write().remove(&id);
        drop(state);
        self.obsolete_runs.lock().remove(&id);
        Ok(true)
    }
}

impl Pairs for EngineHandle {
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

impl Drop for EngineHandle {
    fn drop(&mut self) {
        let failed = self.failure().is_some();
        let state = self.state.get_mut();
        state.runs = RwLock::default();
        if let Some(engine) = state.engine.take() {
            if failed { release(engine) } else { drop(engine) }
        }
        if *self.abandoned.get_mut() {
            self.place.remove();
        }
    }
}

/// Closes an engine that has failed, and waits only for so long until it is.
fn release(engine: Arc<dyn Engine>) {
    let (tell, told) = mpsc::channel();
    let work = move || {
        drop(catch_unwind(AssertUnwindSafe(|| drop(engine))));
        // Who waits may have given up.
        let _ = tell.send(());
    };
    let thread = std::thread::Builder::new().name("ledger-close".to_owned());
    if thread.spawn(work).is_ok() && told.recv_timeout(HUNG).is_err() {
        tracing::warn!(
            "The engine of the ledger could not be closed after a failed write; the process goes on without it."
        );
    }
}
