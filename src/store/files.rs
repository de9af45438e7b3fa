//! Files and folders beside the engine: syncing them, and saying what failed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::StoreError;

/// Syncs the files in a folder and in those within, and the folders. What is removed meanwhile is not needed.
pub(crate) fn sync_files(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(failed("could not read", folder))? {
        let path = entry.map_err(failed("could not read", folder))?.path();
        let synced = if path.is_dir() { sync_files(&path) } else { sync(&path) };
        match synced {
            Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            synced => synced?,
        }
    }
    sync(folder)
}

/// Syncs a file or a folder.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed("could not sync", path))
}

/// Says what was being done when the operating system refused.
pub(crate) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let what = format!("{what} {}", path.display());
    move |error| StoreError::Io { what, error }
}
