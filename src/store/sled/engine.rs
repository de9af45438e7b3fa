//! sled as the engine. This is the only file that names it.
//!
//! sled holds pairs of bytes and nothing more; what they mean is the business of the rest of this module. What was learnt
//! of sled 0.34 and is built upon here:
//!
//! - What a write costs is what becomes of its leaf, which is split above sixteen keys: split while it holds large values,
//!   it writes them all again. So the keys of a run's blocks are put first, without values, and the values then go into
//!   leaves that are split already: a third of the bytes written.
//! - A key that is removed costs the rest of its leaf. A tree that is dropped costs a few bytes a leaf on disk, so a run has
//!   trees of its own; but all of the tree is in memory at once then, so it has many small ones. (Killed in the middle, sled
//!   keeps leaves that belong to nothing, until the ledger is rewritten.)
//! - `apply_batch` is atomic, also over a crash, and holds all other users of the database up while it runs. So only what
//!   must be atomic goes through it.
//! - `flush` waits for `sync_file_range`, which is no barrier over a power loss: the file is synced after it.
//! - After a failed write sled refuses all further ones until it is opened again; what is in memory or on disk can still be
//!   read. Opening writes, too, so that a place is tried first.
//! - Who waits for a write that fails in one of sled's threads is not always told, and waits for ever, with a lock that all
//!   others need next: so somebody looks, and wakes them ([`Engine::wake`]).
//! - A page above 128 KiB goes to a file of its own. When that cannot be written sled refuses nothing afterwards: of the batch
//!   it was in, what came before is on disk, and closing waits for ever for the rest. So what is stored is small enough that
//!   sixteen values are no such page, but for single rows that are very long; and what else may come of it, `undo.rs` and
//!   `engine_handle.rs` see to. sled never syncs these files, so that is done here.
//! - A batch waits for a flush that is under way, and everybody else for the batch: so a batch is not begun during a flush.
//! - What panics in one of sled's own threads leaves those waiting that need it.
//! - Killed while it writes a snapshot of its page table, it leaves `snap.….generating`, takes that for the newest snapshot at
//!   the next opening, and finds it damaged. It is worth nothing before it has its name, so it is removed first.
//! - The file hardly gets shorter: what lies at its end is moved to the front only now and then. Space within it is used again.
//! - Opening right after the last handle was dropped can find the file still locked for a moment.

use std::any::Any;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::base::fault::{point, point_in_thread};
use crate::base::threads::PANICKED;
use crate::store::engine::{Changes, Engine, Pairs};
use crate::store::files::{failed, sync};
use crate::store::{Options, Pair, StoreError, damaged};

/// How long to wait for a lock that this process may just have let go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// sled's part of the memory is this fraction of it; what it uses is more than it is told.
const CACHE_SHARE: u64 = 8;

/// A database of sled.
pub(in crate::store) struct SledEngine {
    main: SledTree,
    pub(super) db: ::sled::Db,
    /// sled's file, to sync it.
    file: File,
    /// The files of large pages that are on stable storage. Held while a batch is written, or all is flushed: not both at a time.
    synced: Mutex<HashSet<OsString>>,
}

/// How many databases are just being opened.
static OPENING: AtomicUsize = AtomicUsize::new(0);

/// Counts one for as long as it is there.
struct Opening;

impl Opening {
    fn begin() -> Opening {
        OPENING.fetch_add(1, Ordering::SeqCst);
        Opening
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        OPENING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// From now on a panic in one of sled's own threads ends the process: others would wait for that thread for ever. Not so
/// while a database is opened, whose files may be damaged: sled tells of that, and nobody waits yet.
fn end_with_threads_of_sled() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            let thread = std::thread::current();
            let is_of_sled = thread.name().is_some_and(|name| name.starts_with("sled-io-") || name == "log flusher");
            if is_of_sled && OPENING.load(Ordering::SeqCst) == 0 {
                tracing::error!(
                    thread = thread.name(),
                    "A thread of the ledger's engine has panicked. The process ends, to be started again; nothing is lost, for the logs are read again from what is on disk."
                );
                std::process::exit(PANICKED);
            }
        }));
    });
}

impl SledEngine {
    /// Opens the database in a folder, or makes one.
    pub fn open(path: &Path, options: &Options) -> Result<SledEngine, StoreError> {
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity((options.memory / CACHE_SHARE).max(1 << 20))
            .flush_every_ms(Some(1000));
        remove_unfinished(path)?;
        // Also where it is only verified: sled writes whenever it opens.
        crate::store::private::begin();
        end_with_threads_of_sled();
        let _opening = Opening::begin();
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
        let main = SledTree::new(::sled::Tree::clone(&db), path.to_owned());
        Ok(SledEngine { main, db, file, synced: Mutex::default() })
    }

    pub(super) fn tree(&self, name: &[u8]) -> Result<SledTree, StoreError> {
        let path = self.main.path.clone();
        Ok(SledTree::new(guarded(&path, || self.db.open_tree(name))?, path))
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, HashSet<OsString>> {
        self.synced.lock()
    }

    /// Syncs the files of large pages.
    fn sync_large(&self, synced: &mut HashSet<OsString>) -> Result<(), StoreError> {
        let folder = self.main.path.join("blobs");
        let mut there = HashSet::new();
        let mut is_new = false;
        for entry in fs::read_dir(&folder).map_err(failed("could not read", &folder))? {
            let name = entry.map_err(failed("could not read", &folder))?.file_name();
            let path = folder.join(&name);
            // One that is not needed any more may go at any time.
            if !synced.contains(&name) && path.exists() {
                sync(&path).or_else(|error| if path.exists() { Err(error) } else { Ok(()) })?;
                is_new = true;
            }
            there.insert(name);
        }
        if is_new {
            sync(&folder)?;
        }
        *synced = there;
        Ok(())
    }

    /// The numbers of a run's parts.
    fn parts(&self, run: u32) -> BTreeSet<u32> {
        let names = self.db.tree_names();
        names
            .iter()
            .filter_map(|name| run_of(name))
            .filter(|(of, _)| *of == run)
            .map(|(_, part)| part)
            .collect()
    }
}

/// Removes what sled was writing when it was killed and would choke on.
fn remove_unfinished(path: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("could not read", path)(error)),
    };
    for entry in entries {
        let file = entry.map_err(failed("could not read", path))?.path();
        let name = file.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        if name.starts_with(b"snap.") && name.ends_with(b".generating") {
            fs::remove_file(&file).map_err(failed("could not remove", &file))?;
        }
    }
    Ok(())
}

/// Does something with sled and makes its errors ours. sled panics where it finds what it holds impossible.
fn guarded<T>(path: &Path, work: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
    let broken = |why: String| StoreError::Damaged { what: path.display().to_string(), why };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(::sled::Error::Io(error))) => {
            Err(StoreError::Io { what: format!("could not use {}", path.display()), error })
        }
        Ok(Err(::sled::Error::Corruption { .. })) => {
            let what = path.join("db").display().to_string();
            Err(StoreError::Damaged { what, why: "it holds bytes that are not what was written".to_owned() })
        }
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(panic) => Err(broken(panic_message(&*panic).to_owned())),
    }
}

/// A call that writes is in sled.
fn write_point() {
    point("engine_write");
    point_in_thread("engine_thread", "sled-io-0");
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

/// What the trees of a run are named: this, its number and theirs, four bytes each.
const RUN_TREE: &[u8] = b"run-";
/// Pairs in a tree of a run: about 7 MB.
const PART_PAIRS: u64 = 2048;

fn run_tree(run: u32, part: u32) -> Vec<u8> {
    [RUN_TREE, &run.to_be_bytes(), &part.to_be_bytes()].concat()
}

/// The numbers of a run and of its part in the name of a tree.
pub(super) fn run_of(tree: &[u8]) -> Option<(u32, u32)> {
    let (run, part) = tree.strip_prefix(RUN_TREE)?.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*run), u32::from_be_bytes(part.try_into().ok()?)))
}

/// How often a pair is asked for that was read at a place of its own, and from how many bytes of a ledger on.
const ASKED_AGAIN: u32 = 48;
const ASKED_AGAIN_FROM: u64 = 512 << 20;
/// After so many reads it is looked again how large it is.
const SIZE_EVERY: u32 = 64;
/// The file that sled keeps all in.
const FILE: &str = "db";

/// A tree of sled.
pub(super) struct SledTree {
    pub(super) tree: ::sled::Tree,
    path: PathBuf,
    /// Pairs that were read by their place.
    reads: AtomicU32,
    /// Whether the ledger was a large one when that was last looked at.
    is_large: AtomicBool,
}

impl SledTree {
    fn new(tree: ::sled::Tree, path: PathBuf) -> SledTree {
        SledTree { tree, path, reads: AtomicU32::new(0), is_large: AtomicBool::new(false) }
    }

    /// Has sled's cache count a page that was read. It holds what is read back until 64 accesses have come together, in each of 256 parts: with
    /// pages that are read once each it is some hundred MiB above what it is told. A small ledger has less than that.
    fn make_known(&self, key: &[u8]) -> ::sled::Result<()> {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(SIZE_EVERY) {
            // One whose folder was removed is read on by who holds it.
            let file = self.path.join(FILE).metadata();
            self.is_large.store(file.is_ok_and(|file| file.len() >= ASKED_AGAIN_FROM), Ordering::Relaxed);
        }
        if !self.is_large.load(Ordering::Relaxed) {
            return Ok(());
        }
        for _ in 0..ASKED_AGAIN {
            self.tree.contains_key(key)?;
        }
        Ok(())
    }
}

impl Pairs for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(guarded(&self.path, || self.tree.get(key))?.map(|value| value.to_vec()))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        guarded(&self.path, || {
            let found = self.tree.range(..=key).next_back().transpose()?;
            if let Some((key, _)) = &found {
                self.make_known(key)?;
            }
            Ok(found.map(pair))
        })
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        let range = (Bound::Excluded(key), Bound::Unbounded);
        guarded(&self.path, || Ok(self.tree.range::<&[u8], _>(range).next().transpose()?.map(pair)))
    }
}

/// A run, in several trees.
struct SledRun {
    /// Where each part begins; in order.
    parts: Vec<(Vec<u8>, SledTree)>,
}

impl SledRun {
    /// The part where a key is, if it is anywhere, and those after it.
    fn from(&self, key: &[u8]) -> &[(Vec<u8>, SledTree)] {
        let after = self.parts.partition_point(|(first, _)| first.as_slice() <= key);
        self.parts.get(after.saturating_sub(1)..).unwrap_or_default()
    }
}

impl Pairs for SledRun {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.from(key).first().map_or(Ok(None), |(_, tree)| tree.get(key))
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.from(key).first().map_or(Ok(None), |(_, tree)| tree.at_most(key))
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.from(key).iter().find_map(|(_, tree)| tree.above(key).transpose()).transpose()
    }
}

impl Pairs for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.main.get(key)
    }

    fn at_most(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.main.at_most(key)
    }

    fn above(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.main.above(key)
    }
}

impl Engine for SledEngine {
    fn write(&self, mut changes: Changes) -> Result<(), StoreError> {
        // A single one is atomic by itself, and holds nobody up.
        if changes.len() == 1
            && let Some((key, value)) = changes.pop()
        {
            let tree = &self.main.tree;
            return guarded(&self.main.path, || {
                write_point();
                match value {
                    Some(value) => tree.insert(key, value).map(drop),
                    None => tree.remove(key).map(drop),
                }
            });
        }
        let _no_flush = self.one_at_a_time();
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        guarded(&self.main.path, || {
            write_point();
            self.main.tree.apply_batch(batch)
        })
    }

    fn append(&self, id: u32, before: u64, pairs: Vec<Pair>) -> Result<(), StoreError> {
        let mut before = before;
        let mut pairs = pairs.into_iter().peekable();
        while pairs.peek().is_some() {
            let (part, filled) = (before / PART_PAIRS, before % PART_PAIRS);
            let part = u32::try_from(part).map_err(|_| damaged("a run", "it has too many parts"))?;
            let SledTree { tree, path, .. } = self.tree(&run_tree(id, part))?;
            let some: Vec<Pair> = pairs.by_ref().take((PART_PAIRS - filled) as usize).collect();
            before += some.len() as u64;
            guarded(&path, || {
                for (key, _) in &some {
                    tree.insert(key, &[])?;
                }
                for (key, value) in some {
                    tree.insert(key, value)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn run(&self, id: u32) -> Result<Arc<dyn Pairs>, StoreError> {
        let mut parts = Vec::new();
        for part in self.parts(id) {
            let tree = self.tree(&run_tree(id, part))?;
            if let Some((first, _)) = guarded(&tree.path, || tree.tree.first())? {
                parts.push((first.to_vec(), tree));
            }
        }
        Ok(Arc::new(SledRun { parts }))
    }

    fn runs(&self) -> Result<BTreeSet<u32>, StoreError> {
        Ok(self.db.tree_names().iter().filter_map(|name| run_of(name)).map(|(run, _)| run).collect())
    }

    fn remove_run(&self, id: u32) -> Result<(), StoreError> {
        // The last part first: what is left of a run by a crash still shows its number.
        for part in self.parts(id).into_iter().rev() {
            guarded(&self.main.path, || self.db.drop_tree(run_tree(id, part)))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut no_batch = self.one_at_a_time();
        guarded(&self.main.path, || self.db.flush())?;
        self.file.sync_data().map_err(failed("could not sync", &self.main.path))?;
        self.sync_large(&mut no_batch)
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        guarded(&self.main.path, || self.db.size_on_disk())
    }

    fn failure(&self) -> Option<StoreError> {
        guarded(&self.main.path, || self.db.context.global_error()).err()
    }

    fn wake(&self) {
        if self.failure().is_some() {
            // After a failure this waits for nothing, and wakes all who do.
            drop(guarded(&self.main.path, || self.db.context.pagecache.log.make_stable(i64::MAX)));
        }
    }
}
