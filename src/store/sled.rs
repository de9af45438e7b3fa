//! The ledger in sled, the embedded default. This is the only file that names sled.
//!
//! sled holds pairs of bytes and nothing more; what they mean is the business of the rest of this module. What was learnt
//! of sled 0.34 and is built upon here:
//!
//! - `apply_batch` is atomic, also over a crash, and holds all other users of the database up while it runs. So only what
//!   must be atomic goes through it; blocks of a run are written one by one.
//! - `flush` waits for `sync_file_range`, which is no barrier over a power loss: the file is synced after it.
//! - After a failed write sled refuses all further ones until it is opened again; what is in memory or on disk can still be
//!   read.
//! - Opening right after the last handle was dropped can find the file still locked for a moment.

use std::any::Any;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{Changes, Engine};
use super::folder::{Folder, failed};
use super::ledger::Ledger;
use super::{Options, Pair, Snapshot, Stats, Store, StoreError};
use crate::merge::Batch;
use crate::observation::SensorId;
use crate::progress::{LineageId, Progress};

/// How long to wait for a lock that this process may just have let go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// sled's part of the memory is this fraction of it; what it uses is more than it is told.
const CACHE_SHARE: u64 = 4;

/// A ledger in a data folder.
pub struct SledStore {
    // Dropped in this order: the lock of the folder goes last.
    ledger: Ledger,
    folder: Folder,
}

/// Opens the ledger in a data folder, which is made if there is none.
///
/// # Errors
///
/// [`StoreError::Locked`] when another process has it open, [`StoreError::NewerFormat`] when a newer version wrote it
/// (nothing is written then), [`StoreError::Damaged`] when what is there is not what was written.
pub fn open(path: &Path, options: &Options) -> Result<SledStore, StoreError> {
    let mut folder = Folder::open(path)?;
    let engine = SledEngine::open(&folder.ledger(), options)?;
    let ledger = Ledger::open(Arc::new(engine), folder.is_new(), options)?;
    if folder.is_new() {
        folder.keep()?;
    }
    Ok(SledStore { ledger, folder })
}

impl SledStore {
    /// Opens the ledger in a data folder: see [`open`].
    ///
    /// # Errors
    ///
    /// As [`open`] says.
    pub fn open(path: &Path, options: &Options) -> Result<SledStore, StoreError> {
        open(path, options)
    }

    /// Waits until no work is due in the background: rows in memory are few, and runs of one size too.
    ///
    /// # Errors
    ///
    /// Why the work failed, if it did.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.ledger.settle()
    }

    /// The folder that holds the ledger's files.
    pub fn ledger_folder(&self) -> PathBuf {
        self.folder.ledger()
    }
}

impl Store for SledStore {
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        self.ledger.sensor(name)
    }

    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.ledger.sensor_name(sensor)
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.ledger.apply(batch)
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.ledger.snapshot()
    }

    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        self.ledger.lineage(id)
    }

    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        self.ledger.lineages()
    }

    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        self.ledger.cached()
    }

    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        self.ledger.cache(puts, drops)
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        self.ledger.stats()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.ledger.flush()
    }
}

//--- engine ---------------------------------------------------------------------------------------------------------

struct SledEngine {
    db: ::sled::Db,
    /// sled's file, to sync it.
    file: File,
    path: PathBuf,
}

impl SledEngine {
    fn open(path: &Path, options: &Options) -> Result<SledEngine, StoreError> {
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity((options.memory / CACHE_SHARE).max(1 << 20))
            .flush_every_ms(Some(1000));
        let until = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            match guarded(path, || config.open()) {
                Err(StoreError::Io { error, .. }) if error.to_string().contains("could not acquire lock") => {
                    if Instant::now() >= until {
                        return Err(StoreError::Locked { path: path.to_owned() });
                    }
                    std::thread::park_timeout(LOCK_PAUSE);
                }
                opened => break opened?,
            }
        };
        let file_path = path.join("db");
        let file = File::open(&file_path).map_err(failed("could not open", &file_path))?;
        Ok(SledEngine { db, file, path: path.to_owned() })
    }

    fn guarded<T>(&self, work: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
        guarded(&self.path, work)
    }
}

/// Does something with sled and makes its errors ours. sled panics where it finds what it holds impossible.
fn guarded<T>(path: &Path, work: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
    let damaged = |why: String| StoreError::Damaged { what: path.display().to_string(), why };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(::sled::Error::Io(error))) => {
            Err(StoreError::Io { what: format!("could not use {}", path.display()), error })
        }
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(panic) => Err(damaged(panic_message(&*panic).to_owned())),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("sled panicked")
}

fn pair((key, value): (::sled::IVec, ::sled::IVec)) -> Pair {
    (key.to_vec(), value.to_vec())
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.guarded(|| self.db.get(key))?.map(|value| value.to_vec()))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.guarded(|| Ok(self.db.range(..=key).next_back().transpose()?.map(pair)))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        let range = (Bound::Excluded(key), Bound::Unbounded);
        self.guarded(|| Ok(self.db.range::<&[u8], _>(range).next().transpose()?.map(pair)))
    }

    fn write(&self, changes: Changes) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.guarded(|| self.db.apply_batch(batch))
    }

    fn write_loosely(&self, changes: Changes) -> Result<(), StoreError> {
        self.guarded(|| {
            for (key, value) in changes {
                match value {
                    Some(value) => self.db.insert(key, value)?,
                    None => self.db.remove(key)?,
                };
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.guarded(|| self.db.flush())?;
        self.file.sync_data().map_err(failed("could not sync", &self.path))
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.guarded(|| self.db.size_on_disk())
    }
}
