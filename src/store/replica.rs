//! A copy of a ledger that is being made: the backup.
//!
//! It is made beside its target, in a folder that is called like it with `.partial` behind, and which is no ledger until it is
//! whole, synced and verified. Then it gets its name. It is its user's alone, and what another user has put there is not used. One that a kill left behind is made anew, and nothing that is not such
//! a folder is touched.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::acknowledged::DiskMark;
use super::copy::CopyReceiver;
use super::engine::Engine;
use super::engine::MarkFile;
use super::files::{failed, sync};
use super::folder::DataFolder;
use super::sled::SledEngine;
use super::verify::{Checker, OnProgress, Verification};
use super::{Options, StoreError, damaged, private};
use crate::base::fault::point;
use crate::base::seeded_hash::new_seed;

/// A copy on its way to a target; removed when it is dropped before it is there.
pub struct Replica {
    target: PathBuf,
    partial: PathBuf,
    /// `None` once it was closed.
    engine: Option<SledEngine>,
    taken: CopyReceiver,
    /// It has its name.
    named: bool,
    folder: DataFolder,
}

impl Replica {
    /// Begins a copy that will be the data folder `target`, which there is not yet.
    ///
    /// # Errors
    ///
    /// When there is something, or nothing can be made beside it, or another copy to the same target is being made.
    pub fn begin(target: &Path, options: &Options) -> Result<Replica, StoreError> {
        check_absent(target)?;
        let (partial, folder) = empty_folder(target)?;
        let engine = SledEngine::open(&folder.ledger(), options)?;
        let (target, taken) = (target.to_owned(), CopyReceiver::default());
        Ok(Replica { target, partial, engine: Some(engine), taken, named: false, folder })
    }

    /// Takes the next piece of what [`super::ReadStore::copy`] gives.
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

    /// Of how many logs rows are missing in it, as in the ledger that it is a copy of.
    pub fn missing_logs(&self) -> usize {
        self.taken.lost().map_or(0, |lost| lost.logs().count())
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
        if let Some(lost) = self.taken.lost() {
            // Who opens it learns what it lacks, and reads that again where its logs are.
            DiskMark::of(&self.folder.ledger()).replace(&lost.to_bytes())?;
        }
        self.folder.keep()?;
        point("snapshot_kept");
        check_absent(&self.target)?;
        private::rename_new(&self.partial, &self.target).map_err(failed("could not make", &self.target))?;
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
///
/// What another user has put at that name, who could then read the copy or exchange it, is left alone: a name that nobody can
/// foretell is taken instead.
fn empty_folder(target: &Path) -> Result<(PathBuf, DataFolder), StoreError> {
    let beside = |more: &str| {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(more);
        target.with_file_name(name)
    };
    let partial = beside(".partial");
    let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    let path = match make(&partial) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !private::is_own_folder(&partial) {
                let other = beside(&format!(".{:016x}.partial", new_seed()));
                make(&other).map_err(failed("could not make", &other))?;
                tracing::warn!(
                    ?partial,
                    "This is not a folder of this user's alone, and is not touched; the copy is made beside it."
                );
                other
            } else if DataFolder::has_nothing_else(&partial) {
                let folder = DataFolder::open(&partial)?;
                if folder.is_new() {
                    return Ok((partial, folder));
                }
                // It was whole and had no name yet: what it holds is older than what is copied now.
                fs::remove_dir_all(&partial).map_err(failed("could not remove", &partial))?;
                drop(folder);
                make(&partial).map_err(failed("could not make", &partial))?;
                partial
            } else {
                return Err(failed("could not make", &partial)(error));
            }
        }
        made => {
            made.map_err(failed("could not make", &partial))?;
            partial
        }
    };
    let folder = DataFolder::open(&path)?;
    Ok((path, folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn what_another_user_has_put_at_the_name_of_a_copy_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let others = dir.path().join("others");
        fs::create_dir(&others).unwrap();
        let target = dir.path().join("backup");
        let partial = dir.path().join("backup.partial");
        let puts: [&dyn Fn(); 3] = [
            &|| {
                fs::create_dir(&partial).unwrap();
                fs::set_permissions(&partial, fs::Permissions::from_mode(0o777)).unwrap();
            },
            &|| symlink(&others, &partial).unwrap(),
            &|| symlink(dir.path().join("nowhere"), &partial).unwrap(),
        ];
        for put in puts {
            put();
            let (path, folder) = empty_folder(&target).unwrap();
            assert!(path != partial && path.to_str().unwrap().ends_with(".partial"), "{path:?}");
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
            assert!(fs::read_dir(&others).unwrap().next().is_none());
            assert!(!dir.path().join("nowhere").exists());
            drop(folder);
            fs::remove_dir_all(&path).unwrap();
            match partial.symlink_metadata().unwrap().is_dir() {
                true => fs::remove_dir(&partial).unwrap(),
                false => fs::remove_file(&partial).unwrap(),
            }
        }
        // One of another user, where this one is root.
        fs::create_dir(&partial).unwrap();
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(empty_folder(&target).unwrap().0, partial, "an own one is used again");
        if std::os::unix::fs::chown(&partial, Some(12_345), None).is_ok() {
            assert_ne!(empty_folder(&target).unwrap().0, partial);
        }
    }

    #[test]
    fn a_copy_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        // An empty folder would be replaced by a plain rename.
        fs::create_dir(&to).unwrap();
        assert!(private::rename_new(&from, &to).is_err() && from.exists());
        fs::remove_dir(&to).unwrap();
        private::rename_new(&from, &to).unwrap();
        assert!(to.exists() && !from.exists());
    }
}
