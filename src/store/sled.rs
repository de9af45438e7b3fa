//! The ledger in sled, the embedded default: opened in a data folder, brought up to this format, verified, repaired.

mod engine;

pub(in crate::store) use engine::SledEngine;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::acknowledged::{Acknowledged, DiskMark};
use super::engine::{Engine, EnginePlace, MarkFile, Site};
use super::files::failed;
use super::folder::{self, DataFolder, discard, make_next};
pub use super::ledger::Ledger as SledStore;
use super::ledger::{Ledger, beginning};
use super::migrate::Migration;
use super::space::check_room;
use super::space::{self, MaxDisk};
use super::stored::FORMAT;
use super::verify::Checker;
use super::{OnProgress, Options, ReadStore, StoreError, Verification, WriteStore};
use crate::base::fault::point;
use crate::progress::LineageId;

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
    let folder = DataFolder::open(path)?;
    let store = open_folder(folder, options, on_migration)?;
    if options.max_disk == MaxDisk::Auto
        && let Some(bytes) = store.stats()?.max_disk
    {
        space::keep(path, bytes);
    }
    store.renew_reserve();
    Ok(store)
}

/// Opens the ledger in a data folder for who only asks: nothing is removed, nothing is set aside, and nothing of it is folded
/// or merged; on a full disk the reserve gets smaller by what that takes. `None` when there is none. One of an older format is brought up to this one all the same.
///
/// # Errors
///
/// As [`open`].
pub fn open_to_read(
    path: &Path,
    options: &Options,
    on_migration: OnProgress<'_>,
) -> Result<Option<SledStore>, StoreError> {
    let folder = match DataFolder::look(path) {
        Err(StoreError::OlderFormat { .. }) => Some(DataFolder::open_to_bring_up(path)?),
        folder => folder?,
    };
    let options = options.clone().for_reading();
    folder.map(|folder| open_folder(folder, &options, on_migration)).transpose()
}

fn open_folder(
    mut folder: DataFolder,
    options: &Options,
    on_migration: OnProgress<'_>,
) -> Result<SledStore, StoreError> {
    if folder.is_older() {
        bring_up(&mut folder, options, on_migration)?;
    }
    let is_new = folder.is_new();
    let site = Arc::new(SledSite { folder: Mutex::new(folder), options: options.clone() });
    let ledger = open_site(&site, is_new, options)?;
    if is_new {
        site.folder.lock().keep()?;
    }
    let most = match options.max_disk {
        MaxDisk::Auto => {
            let place = site.folder.lock().ledger();
            let kept = place.parent().and_then(space::kept);
            let taken = ledger.stats()?.disk_bytes;
            kept.or_else(|| free_bytes(&place).map(|free| space::of_free(free, taken)))
        }
        MaxDisk::Unbounded => None,
        MaxDisk::Bytes(bytes) => Some(bytes),
    };
    ledger.bound_disk(most);
    Ok(ledger)
}

/// Opens what is at a site. That writes: on a full disk it takes some of what is kept in reserve, more than once where it must.
fn open_site(site: &Arc<SledSite>, is_new: bool, options: &Options) -> Result<Ledger, StoreError> {
    loop {
        match Ledger::open_site(Arc::clone(site) as Arc<dyn Site>, is_new, options) {
            Err(error) if error.is_full() && lend(&site.folder.lock().ledger()) => {}
            opened => return opened,
        }
    }
}

/// Copies a ledger of an older format to one of this format, which takes over.
fn bring_up(
    folder: &mut DataFolder,
    options: &Options,
    on_progress: OnProgress<'_>,
) -> Result<(), StoreError> {
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
    DataFolder::was_killed(path)
}

/// Bytes of the ledgers in a data folder, as far as they can be told.
pub fn ledger_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).map(|path| size(&path)).sum()
}

/// Whether a data folder holds a ledger, sound or not.
pub fn is_ledger(path: &Path) -> bool {
    DataFolder::is_there(path)
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
    let opened = DataFolder::look(path).and_then(|folder| match folder {
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
    let Some(folder) = DataFolder::look(path)? else { return Ok(None) };
    let site = Arc::new(SledSite { folder: Mutex::new(folder), options: options.clone() });
    Ledger::repair(site, options, on_progress).map(Some)
}

/// How far the damaged ledger in a data folder had read which log; `None` when that is not known.
///
/// # Errors
///
/// As [`open`], but for damage.
pub fn acknowledged(path: &Path) -> Result<Option<Vec<(LineageId, u64)>>, StoreError> {
    let (_folder, damaged) = DataFolder::open_damaged(path)?;
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
    let (mut folder, damaged) = DataFolder::open_damaged(path)?;
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

/// What a small file may take, whatever the file system.
const SMALL_FILE: u64 = 64 << 10;

/// Bytes that sled writes when it opens a ledger: a new snapshot of its page table, and what its file grows by.
fn needed_to_open(ledger: &Path) -> u64 {
    let entries = fs::read_dir(ledger).into_iter().flatten().flatten();
    let snapshots = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"snap."));
    let last = snapshots.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).max();
    last.unwrap_or_default().saturating_mul(2).saturating_add(1 << 20)
}

/// Makes room to open a ledger: what is kept in reserve beside it gets smaller. `false` where there is none.
fn lend(ledger: &Path) -> bool {
    ledger.parent().is_some_and(|folder| space::lend(folder, needed_to_open(ledger)))
}

/// Makes room for a small file beside the ledger on a full disk, from what is kept in reserve; `false` where there is none.
pub fn lend_for_a_file(folder: &Path) -> bool {
    space::lend(folder, SMALL_FILE)
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
    folder: Mutex<DataFolder>,
    options: Options,
}

impl SledSite {
    fn place(&self, path: PathBuf, replaces: Option<String>) -> Arc<dyn EnginePlace> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Arc::new(SledPlace { path, name, replaces, options: self.options.clone() })
    }
}

impl Site for SledSite {
    fn current(&self) -> Arc<dyn EnginePlace> {
        self.place(self.folder.lock().ledger(), None)
    }

    fn next(&self) -> Result<Arc<dyn EnginePlace>, StoreError> {
        let (path, replaces) = self.folder.lock().next_ledger()?;
        Ok(self.place(path, Some(replaces)))
    }

    fn switch(&self, to: &dyn EnginePlace) -> Result<(), StoreError> {
        self.folder.lock().switch(to.name())
    }

    fn is_unsettled(&self) -> bool {
        self.folder.lock().is_unsettled()
    }

    fn reserved(&self) -> u64 {
        self.folder.lock().ledger().parent().map_or(0, space::reserved)
    }

    fn use_reserve(&self, live: u64) -> u64 {
        let ledger = self.folder.lock().ledger();
        match (ledger.parent(), free_bytes(&ledger)) {
            (Some(folder), Some(free)) if free < space::of_copy(live) => {
                let bytes = space::reserved(folder);
                if space::release(folder) { bytes } else { 0 }
            }
            _ => 0,
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

/// A file that is gone with this.
struct Probe(PathBuf);

impl Drop for Probe {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = ?self.0, %error, "What was written to see whether the disk is full could not be removed.");
        }
    }
}

impl EnginePlace for SledPlace {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<Arc<dyn Engine>, StoreError> {
        if let Some(replaces) = &self.replaces
            && !self.path.exists()
        {
            make_next(&self.path, replaces)?;
        }
        let open = || SledEngine::open(&self.path, &self.options);
        let engine = match open() {
            // Also after a failed write: without it nothing could be looked up.
            Err(error) if error.is_full() && lend(&self.path) => open(),
            opened => opened,
        };
        Ok(Arc::new(engine?))
    }

    fn mark(&self) -> Box<dyn MarkFile> {
        Box::new(DiskMark::of(&self.path))
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.path)
    }

    fn probe(&self) -> Result<Box<dyn Send>, StoreError> {
        let probe = Probe(self.path.join("probe"));
        // More than sled needs to be opened: what is closed for that cannot be read before it is.
        let mut bytes = io::repeat(0x55).take((1 << 20) + needed_to_open(&self.path));
        let write = File::create(&probe.0).and_then(|mut file| {
            io::copy(&mut bytes, &mut file)?;
            file.sync_all()
        });
        write.map_err(failed("could not write", &probe.0))?;
        Ok(Box::new(probe))
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

#[cfg(test)]
mod tests;
