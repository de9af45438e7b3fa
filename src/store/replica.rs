//! A copy of a ledger that is being made: the backup.
//!
//! It is made beside its target, in a folder that is called like it with `.partial` behind, and which is no ledger until it is
//! whole, synced and verified. Then it gets its name. One that a kill left behind is made anew, and nothing that is not such
//! a folder is touched.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::copy::Taken;
use super::engine::Engine;
use super::folder::{Folder, failed, sync};
use super::sled::SledEngine;
use super::verify::{Checker, OnProgress, Verification};
use super::{Options, StoreError, damaged};
use crate::fault::point;

/// A copy on its way to a target; removed when it is dropped before it is there.
pub struct Replica {
    target: PathBuf,
    partial: PathBuf,
    /// `None` once it was closed.
    engine: Option<SledEngine>,
    taken: Taken,
    /// It has its name.
    named: bool,
    folder: Folder,
}

impl Replica {
    /// Begins a copy that will be the data folder `target`, which there is not yet.
    ///
    /// # Errors
    ///
    /// When there is something, or nothing can be made beside it, or another copy to the same target is being made.
    pub fn begin(target: &Path, options: &Options) -> Result<Replica, StoreError> {
        check_absent(target)?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = target.with_file_name(name);
        let folder = empty_folder(&partial)?;
        let engine = SledEngine::open(&folder.ledger(), options)?;
        let (target, taken) = (target.to_owned(), Taken::default());
        Ok(Replica { target, partial, engine: Some(engine), taken, named: false, folder })
    }

    /// Takes the next piece of what [`super::Store::copy`] gives.
    ///
    /// # Errors
    ///
    /// When it is none, or cannot be written.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        point("snapshot_piece");
        let engine = self.engine.as_ref().ok_or(StoreError::Closed)?;
        self.taken.piece(piece, engine, &self.target)
    }

    /// Whether all pieces have come.
    pub fn is_whole(&self) -> bool {
        self.taken.is_whole()
    }

    /// Verifies the copy and gives it its name; also its bytes on disk. One that is not sound gets none, and is removed.
    ///
    /// # Errors
    ///
    /// When it is not whole, or cannot be written, or its target is there meanwhile. It is removed then.
    pub fn finish(mut self, on_progress: OnProgress<'_>) -> Result<(Verification, u64), StoreError> {
        let engine = self.engine.take().ok_or(StoreError::Closed)?;
        if !self.taken.is_whole() {
            return Err(damaged("the copy", "its end is missing"));
        }
        engine.sync()?;
        point("snapshot_synced");
        let found = Checker::new(on_progress).all(&engine)?;
        let bytes = engine.disk_bytes()?;
        drop(engine);
        if !found.is_sound() {
            return Ok((found, bytes));
        }
        self.folder.keep()?;
        point("snapshot_kept");
        check_absent(&self.target)?;
        fs::rename(&self.partial, &self.target).map_err(failed("could not make", &self.target))?;
        self.named = true;
        let around = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(around.unwrap_or(Path::new(".")))?;
        Ok((found, bytes))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.engine = None;
        if !self.named
            && let Err(error) = fs::remove_dir_all(&self.partial)
        {
            tracing::warn!(path = ?self.partial, %error, "A copy that was not finished could not be removed.");
        }
    }
}

/// Refuses a target where there is anything, also a link that leads nowhere.
fn check_absent(target: &Path) -> Result<(), StoreError> {
    match target.symlink_metadata() {
        Ok(_) => Err(failed("could not make", target)(ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// Makes a folder for a copy, or takes one that an earlier copy left.
fn empty_folder(path: &Path) -> Result<Folder, StoreError> {
    let make = || DirBuilder::new().mode(0o700).create(path);
    match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && Folder::has_nothing_else(path) => {
            let folder = Folder::open(path)?;
            if !folder.is_new() {
                // It was whole and had no name yet: what it holds is older than what is copied now.
                fs::remove_dir_all(path).map_err(failed("could not remove", path))?;
                drop(folder);
                make().map_err(failed("could not make", path))?;
                return Folder::open(path);
            }
            Ok(folder)
        }
        made => {
            made.map_err(failed("could not make", path))?;
            Folder::open(path)
        }
    }
}
