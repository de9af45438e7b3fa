//! How much disk a ledger may take, where nobody has said it: four fifths of what is free when it is first opened.
//!
//! The figure is kept in the data folder, in the file `max-disk`, so that a disk that fills does not make it smaller with
//! each start. It belongs to the disk and not to the ledger: a snapshot has none, and gets one where it is opened first. Who
//! removes the file has it made anew from what is free then.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::StoreError;
use super::folder::failed;

/// The file in a data folder.
pub(super) const FILE: &str = "max-disk";
/// What it is while it is written.
const NEXT: &str = "max-disk.next";
/// No figure is smaller: the engine takes some of it for itself.
pub const LEAST_DISK: u64 = 16 << 20;

/// The most disk that a ledger may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaxDisk {
    /// Four fifths of what was free at the first start; the rest is never touched.
    #[default]
    Auto,
    /// Any.
    Unbounded,
    /// So many bytes.
    Bytes(u64),
}

/// Four fifths of what a ledger has for itself: what is free, and what it takes already.
pub(super) fn of_free(free: u64, taken: u64) -> u64 {
    (free.saturating_add(taken) / 5).saturating_mul(4).max(LEAST_DISK)
}

/// The figure that is kept in a data folder, if there is one that makes sense.
pub fn kept(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join(FILE)).ok()?;
    text.trim_end().parse().ok().filter(|bytes| *bytes >= LEAST_DISK)
}

/// Keeps the figure of a data folder, where none is kept that makes sense.
pub(super) fn keep(folder: &Path, bytes: u64) {
    if kept(folder).is_none()
        && let Err(error) = write(folder, bytes)
    {
        // A disk that is full, or cannot be written: the next start tries again.
        tracing::warn!(%error, "The bound on the disk that the ledger takes could not be kept.");
    }
}

fn write(folder: &Path, bytes: u64) -> Result<(), StoreError> {
    let (path, beside) = (folder.join(FILE), folder.join(NEXT));
    let write = || {
        let mut file = File::create(&beside)?;
        writeln!(file, "{bytes}")?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    write().map_err(|error| {
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::debug!(%error, "What was written of it could not be removed.");
        }
        failed("could not write", &path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_the_first_start_stays_while_the_disk_fills() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(kept(path), None);
        keep(path, 1 << 40);
        keep(path, 1 << 30);
        assert_eq!(kept(path), Some(1 << 40));
        assert_eq!(fs::read_to_string(path.join(FILE)).unwrap(), format!("{}\n", 1u64 << 40));
        // One that makes no sense is made anew.
        for nonsense in ["", "x", "12", "99999999999999999999999"] {
            fs::write(path.join(FILE), nonsense).unwrap();
            assert_eq!(kept(path), None, "{nonsense}");
            keep(path, 4 << 30);
            assert_eq!(kept(path), Some(4 << 30), "{nonsense}");
        }
    }

    #[test]
    fn what_a_ledger_takes_already_counts_as_room_for_it() {
        assert_eq!(of_free(10 << 30, 90 << 30), 80 << 30);
        assert_eq!(of_free(0, 0), LEAST_DISK);
        assert_eq!(of_free(u64::MAX, u64::MAX), u64::MAX / 5 * 4);
    }
}
