//! The ledger in sled, the embedded default. This is the only file that names sled.
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
use std::io::Write;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::acknowledged::{Acknowledged, DiskMark};
use super::engine::MarkFile;
use super::engine::{Changes, Engine, Pairs, Place, Site};
use super::files::{failed, sync};
use super::folder::{self, Folder, discard, make_next};
pub use super::ledger::Ledger as SledStore;
use super::ledger::{Ledger, beginning};
use super::migrate::Migration;
use super::space::check_room;
use super::space::{self, MaxDisk};
use super::stored::FORMAT;
use super::verify::Checker;
use super::{OnProgress, Options, Pair, ReadStore, StoreError, Verification, WriteStore, damaged};
use crate::base::fault::{point, point_in_thread};
use crate::base::threads::PANICKED;
use crate::progress::LineageId;

/// How long to wait for a lock that this process may just have let go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// sled's part of the memory is this fraction of it; what it uses is more than it is told.
const CACHE_SHARE: u64 = 8;

/// What is written to see whether something can be written: more than sled needs to be opened.
const PROBE_BYTES: usize = 2 << 20;

/// Opens the ledger in a data folder, which is made if there is none.
///
/// One of an older format is brought up to this one first, once: `on_migration` is told how many bytes are copied, and of how
/// many. What it was stays beside it, for who wants to go back to the older version.
///
/// # Errors
///
/// [`StoreError::Locked`] when another process has it open, [`StoreError::NewerFormat`] when a newer version wrote it
/// (nothing is written then), [`StoreError::Damaged`] when what is there is not what was written, [`StoreError::NoRoom`] when
/// it must be brought up to this format and there is no room for a copy, [`StoreError::Closed`] when `on_migration` ended that.
pub fn open(path: &Path, options: &Options, on_migration: OnProgress<'_>) -> Result<SledStore, StoreError> {
    let folder = Folder::open(path)?;
    let store = open_folder(folder, options, on_migration)?;
    if options.max_disk == MaxDisk::Auto
        && let Some(bytes) = store.max_disk
    {
        space::keep(path, bytes);
    }
    store.renew_reserve();
    Ok(store)
}

/// Opens the ledger in a data folder for who only asks: nothing is removed, nothing is set aside, and nothing of it is folded
/// or merged. `None` when there is none. One of an older format is brought up to this one all the same.
///
/// # Errors
///
/// As [`open`].
pub fn open_to_read(
    path: &Path,
    options: &Options,
    on_migration: OnProgress<'_>,
) -> Result<Option<SledStore>, StoreError> {
    let folder = match Folder::look(path) {
        Err(StoreError::OlderFormat { .. }) => Some(Folder::open_to_bring_up(path)?),
        folder => folder?,
    };
    let options = options.clone().for_reading();
    folder.map(|folder| open_folder(folder, &options, on_migration)).transpose()
}

fn open_folder(
    mut folder: Folder,
    options: &Options,
    on_migration: OnProgress<'_>,
) -> Result<SledStore, StoreError> {
    if folder.is_older() {
        bring_up(&mut folder, options, on_migration)?;
    }
    let is_new = folder.is_new();
    let site = Arc::new(SledSite { folder: Mutex::new(folder), options: options.clone() });
    let mut ledger = Ledger::open_site(Arc::clone(&site) as Arc<dyn Site>, is_new, options)?;
    if is_new {
        site.folder.lock().keep()?;
    }
    ledger.max_disk = match options.max_disk {
        MaxDisk::Auto => {
            let place = site.folder.lock().ledger();
            let kept = place.parent().and_then(space::kept);
            let taken = ledger.stats()?.disk_bytes;
            kept.or_else(|| free_bytes(&place).map(|free| space::of_free(free, taken)))
        }
        MaxDisk::Unbounded => None,
        MaxDisk::Bytes(bytes) => Some(bytes),
    };
    Ok(ledger)
}

/// Copies a ledger of an older format to one of this format, which takes over.
fn bring_up(folder: &mut Folder, options: &Options, on_progress: OnProgress<'_>) -> Result<(), StoreError> {
    let (from, to) = (folder.format(), folder.successor());
    let old = SledEngine::open(&folder.ledger(), options)?;
    let migration = Migration::of(&old, from)?;
    let there = to.exists().then(|| SledEngine::open(&to, options).ok()).flatten();
    // A copy that was begun is worth nothing, also where it is of another state of the ledger.
    let is_copy = there.as_ref().is_some_and(|there| Migration::is_any_begun_in(there));
    let begun = there.filter(|begun| migration.is_begun_in(begun));
    let left = migration.bytes_left(begun.as_ref().map(|begun| begun as &dyn Engine));
    check_room("bringing the ledger up to a new format", left, free_bytes(&to))?;
    tracing::info!(
        from,
        to = FORMAT,
        bytes = left,
        goes_on = begun.is_some(),
        "Bringing the ledger up to a new format."
    );
    let new = match begun {
        Some(begun) => begun,
        None => {
            folder.clear_successor(is_copy)?;
            SledEngine::open(&to, options)?
        }
    };
    migration.copy_to(&new, on_progress)?;
    drop((new, old));
    point("ledger_migrated");
    folder.succeed()?;
    tracing::info!(
        kept = folder::before(from),
        "The ledger is brought up. It is also kept as it was, until this file is removed."
    );
    Ok(())
}

/// The version of the format of the ledger in a data folder; `None` when there is none in it. Nothing is opened.
///
/// # Errors
///
/// [`StoreError::NewerFormat`], or [`StoreError::Damaged`] when nothing says which it is.
pub fn format_of(path: &Path) -> Result<Option<u32>, StoreError> {
    folder::format(path)
}

/// Likewise, of a ledger whose files are all there.
///
/// # Errors
///
/// As [`format_of`], and when what `CURRENT` names is not there.
pub fn whole_format_of(path: &Path) -> Result<Option<u32>, StoreError> {
    folder::check(path)?;
    folder::format(path)
}

/// The file in a data folder that keeps the ledger as it was in an older format.
pub fn kept_by(path: &Path, format: u32) -> PathBuf {
    path.join(folder::before(format))
}

/// What is kept of ledgers as they were before they were brought up to this format: the file to remove to be rid of each, and
/// the bytes that are free then, after the next start.
pub fn kept_before(path: &Path) -> Vec<(PathBuf, u64)> {
    folder::kept_before(path).into_iter().map(|(file, ledger)| (file, size(&ledger))).collect()
}

/// What was set aside in a data folder because nothing says what it is, or because it is damaged, with its bytes.
pub fn set_asides(path: &Path) -> Vec<(PathBuf, u64)> {
    folder::set_asides(path).into_iter().map(|aside| (aside.clone(), size(&aside))).collect()
}

fn size(ledger: &Path) -> u64 {
    let files = fs::read_dir(ledger).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Whether whoever wrote to a data folder last was killed, or has it open.
pub fn was_killed(path: &Path) -> bool {
    Folder::was_killed(path)
}

/// Bytes of the ledgers in a data folder, as far as they can be told.
pub fn ledger_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).map(|path| size(&path)).sum()
}

/// Whether a data folder holds a ledger, sound or not.
pub fn is_ledger(path: &Path) -> bool {
    Folder::is_there(path)
}

/// Verifies the ledger in a data folder that no process has open; `None` when there is none in it.
///
/// The ledger is not changed. (sled itself, as whenever it opens, takes back a write that a crash cut short.)
///
/// # Errors
///
/// As [`open`], but for damage: that is what a verification tells.
pub fn verify(
    path: &Path,
    options: &Options,
    on_progress: OnProgress<'_>,
) -> Result<Option<Verification>, StoreError> {
    let opened = Folder::look(path).and_then(|folder| match folder {
        Some(folder) => SledEngine::open(&folder.ledger(), options).map(|engine| Some((engine, folder))),
        None => Ok(None),
    });
    match opened {
        Ok(Some((engine, folder))) => {
            let stored = DiskMark::of(&folder.ledger()).read()?.unwrap_or_default();
            let (acknowledged, _) = Acknowledged::from_bytes(&stored);
            Checker::new(on_progress).acknowledged(acknowledged).all(&engine).map(Some)
        }
        Ok(None) => Ok(None),
        Err(error @ StoreError::Damaged { .. }) => Ok(Some(Verification::of_error(&error))),
        Err(error) => Err(error),
    }
}

/// Makes the index and the filters of the ledger in a data folder anew from its rows; `None` when there is none in it.
///
/// # Errors
///
/// As [`open`], and when rows, questions or progress are damaged, from which nothing can be made: nothing has changed then.
pub fn repair(path: &Path, options: &Options, on_progress: OnProgress<'_>) -> Result<Option<()>, StoreError> {
    let Some(folder) = Folder::look(path)? else { return Ok(None) };
    let site = Arc::new(SledSite { folder: Mutex::new(folder), options: options.clone() });
    Ledger::repair(site, options, on_progress).map(Some)
}

/// How far the damaged ledger in a data folder had read which log; `None` when that is not known.
///
/// # Errors
///
/// As [`open`], but for damage.
pub fn acknowledged(path: &Path) -> Result<Option<Vec<(LineageId, u64)>>, StoreError> {
    let (_folder, damaged) = Folder::open_damaged(path)?;
    let Some(table) = marks(&damaged)? else { return Ok(None) };
    Ok(Some(table.logs().map(|(lineage, ack)| (*lineage, ack.offset)).collect()))
}

/// What the marks of ledgers say, unless one is not there or not whole.
fn marks(ledgers: &[PathBuf]) -> Result<Option<Acknowledged>, StoreError> {
    let mut all = Acknowledged::default();
    for ledger in ledgers {
        match DiskMark::of(ledger).read()?.as_deref().map(Acknowledged::from_bytes) {
            Some((table, true)) => all.merge(table),
            _ => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// Sets the damaged ledger in a data folder aside and begins another one, in which all that the damaged one had read of logs is
/// missing until it is read again. Gives what was set aside: nothing of it is removed.
///
/// # Errors
///
/// Also when the ledger is of another format.
pub fn begin_anew(path: &Path, options: &Options) -> Result<Vec<PathBuf>, StoreError> {
    let (mut folder, damaged) = Folder::open_damaged(path)?;
    let mut missing = Acknowledged::default();
    for ledger in &damaged {
        let stored = DiskMark::of(ledger).read()?.unwrap_or_default();
        missing.merge(Acknowledged::from_bytes(&stored).0);
    }
    let (next, _) = folder.next_ledger()?;
    // It takes over from none: nothing is removed because of it.
    make_next(&next, "")?;
    let engine = SledEngine::open(&next, options)?;
    engine.write(beginning()?)?;
    engine.sync()?;
    drop(engine);
    DiskMark::of(&next).replace(&missing.rebased().to_bytes())?;
    let name = next.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folder.begin_anew(&name, &damaged)
}

/// Removes what a data folder keeps in reserve, where its disk is so full that the ledger may not even be opened: for who is about to
/// make room there.
pub fn use_reserve(folder: &Path) {
    if free_bytes(&folder.join("any")).is_some_and(|free| free < space::SCARCE) {
        space::release(folder);
    }
}

/// Takes disk for a file.
fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
}

impl SledStore {
    /// Opens the ledger in a data folder: see [`open`].
    ///
    /// # Errors
    ///
    /// As [`open`] says.
    pub fn open(path: &Path, options: &Options) -> Result<SledStore, StoreError> {
        open(path, options, &mut |_, _| true)
    }
}

//--- places ---------------------------------------------------------------------------------------------------------

/// The ledgers in a data folder.
struct SledSite {
    folder: Mutex<Folder>,
    options: Options,
}

impl SledSite {
    fn place(&self, path: PathBuf, replaces: Option<String>) -> Arc<dyn Place> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Arc::new(SledPlace { path, name, replaces, options: self.options.clone() })
    }
}

impl Site for SledSite {
    fn current(&self) -> Arc<dyn Place> {
        self.place(self.folder.lock().ledger(), None)
    }

    fn next(&self) -> Result<Arc<dyn Place>, StoreError> {
        let (path, replaces) = self.folder.lock().next_ledger()?;
        Ok(self.place(path, Some(replaces)))
    }

    fn switch(&self, to: &dyn Place) -> Result<(), StoreError> {
        self.folder.lock().switch(to.name())
    }

    fn is_unsettled(&self) -> bool {
        self.folder.lock().is_unsettled()
    }

    fn use_reserve(&self, live: u64) {
        let ledger = self.folder.lock().ledger();
        if let (Some(folder), Some(free)) = (ledger.parent(), free_bytes(&ledger))
            && free < space::of_copy(live)
        {
            space::release(folder);
        }
    }

    fn keep_reserve(&self, taken: u64, live: u64) {
        let ledger = self.folder.lock().ledger();
        if let (Some(folder), Some(free)) = (ledger.parent(), free_bytes(&ledger)) {
            space::set_aside(folder, (taken, live), free, allocate);
        }
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.folder.lock().settle()
    }
}

/// A folder with sled's files.
struct SledPlace {
    path: PathBuf,
    name: String,
    /// Of a place that is new: what it is to take over from.
    replaces: Option<String>,
    options: Options,
}

impl Place for SledPlace {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<Arc<dyn Engine>, StoreError> {
        if let Some(replaces) = &self.replaces
            && !self.path.exists()
        {
            make_next(&self.path, replaces)?;
        }
        Ok(Arc::new(SledEngine::open(&self.path, &self.options)?))
    }

    fn mark(&self) -> Box<dyn MarkFile> {
        Box::new(DiskMark::of(&self.path))
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.path)
    }

    fn probe(&self) -> Result<(), StoreError> {
        let path = self.path.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0x55; PROBE_BYTES])?;
            file.sync_all()
        });
        // Also what was written in part.
        let removed = fs::remove_file(&path);
        written.and(removed).map_err(failed("could not write", &path))
    }

    fn remove(&self) {
        if let Err(error) = discard(&self.path) {
            tracing::warn!(path = ?self.path, %error, "A ledger that is no longer used could not be removed; it will be when the folder is opened again.");
        }
    }
}

/// Bytes that can still be written at a path. It need not be there yet, and the folder around it is.
fn free_bytes(path: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(path.parent()?).ok()?;
    space.f_bavail.checked_mul(space.f_frsize)
}

//--- engine ---------------------------------------------------------------------------------------------------------

pub(super) struct SledEngine {
    main: SledTree,
    db: ::sled::Db,
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
        super::private::begin();
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
        let main = SledTree { tree: ::sled::Tree::clone(&db), path: path.to_owned() };
        Ok(SledEngine { main, db, file, synced: Mutex::default() })
    }

    fn tree(&self, name: &[u8]) -> Result<SledTree, StoreError> {
        let path = self.main.path.clone();
        Ok(SledTree { tree: guarded(&path, || self.db.open_tree(name))?, path })
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
fn run_of(tree: &[u8]) -> Option<(u32, u32)> {
    let (run, part) = tree.strip_prefix(RUN_TREE)?.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*run), u32::from_be_bytes(part.try_into().ok()?)))
}

/// How often a pair is asked for that was read at a place of its own, and from how many bytes of a ledger on.
const ASKED_AGAIN: u32 = 48;
const ASKED_AGAIN_FROM: u64 = 512 << 20;
/// The file that sled keeps all in.
const FILE: &str = "db";

/// A tree of sled.
struct SledTree {
    tree: ::sled::Tree,
    path: PathBuf,
}

impl SledTree {
    /// Has sled's cache count a page that was read. It holds what is read back until 64 accesses have come together, in each of 256 parts: with
    /// pages that are read once each it is some hundred MiB above what it is told. A small ledger has less than that.
    fn make_known(&self, key: &[u8]) -> ::sled::Result<()> {
        // One whose folder was removed is read on by who holds it.
        let file = self.path.join(FILE).metadata();
        if file.map_or(true, |file| file.len() < ASKED_AGAIN_FROM) {
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
            let SledTree { tree, path } = self.tree(&run_tree(id, part))?;
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

#[cfg(test)]
mod tests {
    use super::super::key::Family;
    use super::*;
    use crate::dns::{Name, Rdata, RrType};
    use crate::observation::{Half, Halves, Seen, Tuple};
    use crate::store::batch::Batch;
    use crate::store::tests::crash::{batch, tiny};
    use crate::store::{Entries, Entry, Scan, WriteStore};

    fn verified(path: &Path) -> Verification {
        verify(path, &tiny(), &mut |_, _| true).unwrap().unwrap()
    }

    fn rows(path: &Path) -> Vec<Entry> {
        let store = SledStore::open(path, &tiny()).unwrap();
        let snapshot = store.now();
        snapshot.entries(&Scan::All, None).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn nobody_takes_the_reserve_from_who_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), &tiny()).unwrap();
        let reserve = folder.path().join("reserve");
        assert!(reserve.exists());
        store.use_reserve();
        store.use_reserve();
        std::fs::remove_file(&reserve).unwrap();
        store.renew_reserve();
        store.keep_reserve();
        assert!(!reserve.exists(), "somebody still makes room");
        store.keep_reserve();
        assert!(reserve.exists());
    }

    /// What no compression makes smaller.
    fn random_rows(number: u64, rows: u32, store: &dyn WriteStore) -> Batch {
        let sensor = store.sensor("north").unwrap();
        let mut batch = Batch::default();
        let mut random = number;
        for _ in 0..rows {
            let mut digit = || {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 59) as u8
            };
            let label: String = (0..40).map(|_| char::from(b'a' + digit() % 26)).collect();
            let rrname = Name::parse(&format!("{label}.example")).unwrap();
            let rdata = Rdata::V4([digit(), digit(), digit(), digit()].into());
            let mut key = Vec::new();
            Tuple { rrname, rrtype: RrType::A, rdata }.push_key(&mut key);
            key.extend_from_slice(&sensor.0.to_be_bytes());
            batch.add_halves(&key, &Halves::once(Half::Direct, Seen::once(1000 + number, 60)));
        }
        batch
    }

    #[test]
    fn no_page_of_the_engine_is_so_large_that_it_goes_to_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { fold_rows: 20_000, bulk_rows: 10_000, ..tiny() };
        let options = Options { memory: 64 << 20, ..options };
        let store = SledStore::open(folder.path(), &options).unwrap();
        // Three in the journal, one that is a run at once, and a fold of them.
        for (number, rows) in [(1, 4000), (2, 4000), (3, 4000), (4, 20_000), (5, 9000)] {
            store.apply(&random_rows(number, rows, &store)).unwrap();
            let large = fs::read_dir(folder.path().join("ledger-1/blobs")).unwrap().count();
            assert_eq!(large, 0, "after batch {number}");
        }
        store.settle().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("ledger-1/blobs")).unwrap().count(), 0);
    }

    #[test]
    fn an_index_that_is_lost_on_disk_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let store = SledStore::open(path, &tiny()).unwrap();
        for number in 1..=21 {
            store.apply(&batch(number, &store).unwrap()).unwrap();
        }
        store.settle().unwrap();
        drop(store);
        let before = rows(path);
        assert!(verified(path).is_sound());
        let ledger = Folder::look(path).unwrap().unwrap().ledger();
        let engine = SledEngine::open(&ledger, &tiny()).unwrap();
        let mut lost = 0;
        for name in engine.db.tree_names().iter().filter(|name| run_of(name).is_some()) {
            let SledTree { tree, .. } = engine.tree(name).unwrap();
            let keys: Vec<_> = tree.iter().keys().map(Result::unwrap).collect();
            for key in keys
                .iter()
                .filter(|key| [Family::ByRdata.byte(), super::super::engine::FILTER].contains(&key[0]))
            {
                tree.remove(key).unwrap();
                lost += 1;
            }
        }
        engine.sync().unwrap();
        drop(engine);
        assert!(lost > 0 && !verified(path).is_sound());
        repair(path, &tiny(), &mut |_, _| true).unwrap().unwrap();
        let found = verified(path);
        assert!(found.is_sound() && found.index_entries == found.rows && found.logs == 1, "{found:?}");
        assert_eq!(rows(path), before);
        assert!(!ledger.exists(), "the damaged one is gone");
        assert!(repair(&path.join("none"), &tiny(), &mut |_, _| true).unwrap().is_none());
    }

    #[test]
    fn an_exact_lookup_is_answered_from_memory_once_it_was_answered_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), &tiny()).unwrap();
        for number in 1..=21 {
            store.apply(&batch(number, &store).unwrap()).unwrap();
        }
        drop(store);
        let store = SledStore::open(folder.path(), &Options { bulk_rows: 1, ..tiny() }).unwrap();
        store.apply(&batch(22, &store).unwrap()).unwrap();
        store.rewrite().unwrap();
        let snapshot = store.now();
        let all = |entries: Entries<'_>| entries.collect::<Result<Vec<Entry>, _>>().unwrap();
        let rows = all(snapshot.entries(&Scan::All, None).unwrap());
        let scans: Vec<Scan> = rows
            .iter()
            .flat_map(|row| {
                let by_data = match &row.tuple.rdata {
                    Rdata::Name(name) => Some(Scan::Target(name.clone())),
                    rdata => rdata.address().map(|address| Scan::Addresses(address, address)),
                };
                by_data.into_iter().chain([Scan::Name(row.tuple.rrname.clone())])
            })
            .collect();
        let in_memory = |scan: &Scan| snapshot.entries_in_memory(scan, None).map(all);
        assert!(scans.iter().all(|scan| matches!(in_memory(scan), Err(StoreError::NotInMemory))));
        for scan in &scans {
            let found = all(snapshot.entries(scan, None).unwrap());
            assert!(!found.is_empty() && in_memory(scan).unwrap() == found, "{scan:?}");
            let after = found[0].position();
            let rest = all(snapshot.entries_in_memory(scan, Some(&after)).unwrap());
            assert_eq!(rest, found[1..], "{scan:?}");
        }
        // What a scan reads is not kept: it would leave nothing of use.
        assert!(matches!(in_memory(&Scan::All), Err(StoreError::NotInMemory)));
    }
}
