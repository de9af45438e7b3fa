//! How much disk a ledger may take, where nobody has said it: two fifths of what is free when it is first opened. A copy of all of
//! it, which takes a quarter more, has room beside it then, and some is left for what comes meanwhile.
//!
//! The figure is kept in the data folder, in the file `max-disk`, so that a disk that fills does not make it smaller with
//! each start. It belongs to the disk and not to the ledger: a snapshot has none, and gets one where it is opened first. Who
//! removes the file has it made anew from what is free then.
//!
//! Beside it is `reserve`, a file of bytes that mean nothing, so that something can be done on a full disk: whoever makes room
//! removes it first. So does a copy of the ledger that has no room without it. Who opens the ledger on a full disk takes some of it. It is
//! made again where there is room.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use super::StoreError;
use super::files::failed;

/// The file in a data folder.
pub(super) const FILE: &str = "max-disk";
/// What it is while it is written.
const NEXT: &str = "max-disk.next";
/// The file that keeps some disk for whoever makes room, and the least bytes of it: what is in the ledger,
/// within these bounds: what is read and not committed yet needs some, too.
pub(super) const RESERVE: &str = "reserve";
const RESERVE_LEAST: (u64, u64) = (3 << 20, 8 << 20);
/// Beside that: the engine's file grows by half a MiB at a time, and what is followed takes some of these steps while room is made. With
/// none left, what nobody needs any more could not even be removed.
const RESERVE_STEPS: u64 = 2 << 20;
/// It takes no more than one in so many of the bytes that are free.
const RESERVE_SHARE: u64 = 2;
/// Bytes that a copy leaves free, and those that it needs at least beside its own.
const ROOM: u64 = 7 << 20;
const LEAST_ROOM: u64 = 1 << 20;
/// No figure is smaller: the engine takes some of it for itself.
pub const LEAST_DISK: u64 = 16 << 20;

/// The most disk that a ledger may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaxDisk {
    /// Two fifths of what was free at the first start.
    #[default]
    Auto,
    /// Any.
    Unbounded,
    /// So many bytes.
    Bytes(u64),
}

/// Two fifths of what a ledger has for itself: what is free, and what it takes already.
pub fn of_free(free: u64, taken: u64) -> u64 {
    (free.saturating_add(taken) / 5).saturating_mul(2).max(LEAST_DISK)
}

/// The figure that is kept in a data folder, if there is one that makes sense.
pub fn kept(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join(FILE)).ok()?;
    text.trim_end().parse().ok().filter(|bytes| *bytes >= LEAST_DISK)
}

/// When that figure was made: at the first start. `None` where none is kept.
pub fn kept_since(folder: &Path) -> Option<SystemTime> {
    fs::metadata(folder.join(FILE)).and_then(|file| file.modified()).ok()
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

/// Bytes of blocks of which a copy fits into so many bytes.
pub(super) fn copied_into(room: u64) -> u64 {
    room.saturating_sub(LEAST_ROOM) / 5 * 4
}

/// Bytes that a copy of so many bytes of blocks needs: also what the engine adds to them, and what is committed meanwhile.
pub(super) fn of_copy(bytes: u64) -> u64 {
    with_slack(bytes).saturating_add(ROOM)
}

/// The same where the disk is full, and nothing can be committed anyway.
pub(super) fn with_slack(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 4).saturating_add(LEAST_ROOM)
}

/// How large the reserve of a ledger should be: enough for a copy of four fifths of it, and with the ledger about twice what is in it.
fn reserve_of(taken: u64, live: u64) -> u64 {
    let with_it = (live / 10).saturating_mul(21);
    let least = live.clamp(RESERVE_LEAST.0, RESERVE_LEAST.1) + RESERVE_STEPS;
    with_slack(live / 5 * 4).min(with_it.saturating_sub(taken)).max(least)
}

/// Makes the reserve of a data folder whose ledger takes so much, and has so much in it, unless there is one that is large enough.
pub(super) fn set_aside(
    folder: &Path,
    (taken, live): (u64, u64),
    free: u64,
    allocate: fn(&File, u64) -> std::io::Result<()>,
) {
    let path = folder.join(RESERVE);
    let there = reserved(folder);
    let wanted = reserve_of(taken, live);
    let most = wanted.saturating_add(wanted / 2);
    let bytes = if there > most { wanted } else { wanted.min(free.saturating_add(there) / RESERVE_SHARE) };
    // It is not made anew for a little more or less, nor smaller because others fill the disk.
    if bytes < RESERVE_LEAST.0 || (bytes / 4 * 3 <= there && there <= most) {
        return;
    }
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    if let Err(error) = open.and_then(|file| allocate(&file, bytes)) {
        tracing::debug!(%error, "No disk could be set aside.");
        release(folder);
    }
}

/// Bytes in the reserve of a data folder.
pub(super) fn reserved(folder: &Path) -> u64 {
    fs::metadata(folder.join(RESERVE)).map_or(0, |there| there.len())
}

/// Makes the reserve of a data folder smaller by so many bytes, which a start needs on a full disk; `false` where there is none. It is not
/// removed at once: there may be many starts until somebody makes room.
pub(super) fn lend(folder: &Path, bytes: u64) -> bool {
    let left = reserved(folder).saturating_sub(bytes);
    if left == 0 {
        return release(folder);
    }
    let path = folder.join(RESERVE);
    let shrunk = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(left));
    match &shrunk {
        Ok(()) => tracing::info!(bytes, "The disk is full: some of what was kept in reserve is free now."),
        Err(error) => tracing::warn!(?path, %error, "The reserve could not be made smaller."),
    }
    shrunk.is_ok()
}

/// Removes the reserve of a data folder; `false` where there was none.
pub(super) fn release(folder: &Path) -> bool {
    let path = folder.join(RESERVE);
    let removed = fs::remove_file(&path);
    match &removed {
        Ok(()) => tracing::info!(?path, "The disk is nearly full: what was kept in reserve is free now."),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(?path, %error, "The reserve could not be removed."),
    }
    removed.is_ok()
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

/// What a file takes with nothing in it but so many bytes of blocks: the engine adds up to a fifth.
pub(super) fn in_file(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 5)
}

/// Refuses a copy of so many bytes of blocks for which there is no room.
pub(super) fn check_room(what: &'static str, bytes: u64, free: Option<u64>) -> Result<(), StoreError> {
    match free.filter(|free| of_copy(bytes) > *free) {
        Some(free) => Err(StoreError::NoRoom { what, needed: of_copy(bytes), free }),
        None => Ok(()),
    }
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
    fn the_reserve_is_what_a_copy_needs_and_no_large_part_of_what_is_free() {
        assert_eq!(reserve_of(0, 0), 5 << 20);
        assert_eq!(reserve_of(105 << 20, 100 << 20), 101 << 20);
        assert_eq!(reserve_of(110 << 20, 100 << 20), 100 << 20);
        assert_eq!(reserve_of(200 << 20, 100 << 20), 10 << 20);
        assert_eq!(reserve_of(250 << 20, 100 << 20), 10 << 20);
        assert_eq!(reserve_of(15 << 20, 6 << 20), 8 << 20);
        assert_eq!(reserve_of(11 << 30, 10 << 30), 10 << 30);
        let folder = tempfile::tempdir().unwrap();
        let (path, reserve) = (folder.path(), folder.path().join(RESERVE));
        let allocate = |file: &File, bytes| file.set_len(bytes);
        let size = || fs::metadata(&reserve).map_or(0, |there| there.len());
        set_aside(path, (0, 0), 5 << 20, allocate);
        assert_eq!(size(), 0, "there is little free");
        set_aside(path, (0, 0), 1 << 30, allocate);
        assert_eq!(size(), 5 << 20);
        set_aside(path, (110 << 20, 100 << 20), 1 << 40, allocate);
        set_aside(path, (100 << 20, 100 << 20), 1 << 40, allocate);
        assert_eq!(size(), 100 << 20);
        set_aside(path, (110 << 20, 100 << 20), 1 << 20, allocate);
        assert_eq!(size(), 100 << 20, "others fill the disk");
        set_aside(path, (300 << 20, 100 << 20), 1 << 40, allocate);
        assert_eq!(size(), 10 << 20);
        set_aside(path, (110 << 20, 100 << 20), 1 << 40, |_, _| Err(ErrorKind::StorageFull.into()));
        assert!(!reserve.exists());
        assert!(!release(path) && !lend(path, 1));
        set_aside(path, (0, 0), 1 << 30, allocate);
        let left: Vec<u64> =
            std::iter::from_fn(|| lend(path, 2 << 20).then(size)).map(|size| size >> 20).collect();
        assert_eq!(left, [3, 1, 0]);
        assert!(!reserve.exists());
    }

    #[test]
    fn what_a_ledger_takes_already_counts_as_room_for_it() {
        assert_eq!(of_free(10 << 30, 90 << 30), 40 << 30);
        assert_eq!(of_free(0, 0), LEAST_DISK);
        assert_eq!(of_free(u64::MAX, u64::MAX), u64::MAX / 5 * 2);
    }
    #[test]
    fn a_copy_of_all_has_room_beside_a_ledger_that_takes_as_much_as_it_may() {
        for disk in [100u64 << 20, 13 << 30, 40 << 40] {
            let most = of_free(disk, 0);
            assert!(most + of_copy(most) <= disk, "{disk}");
            assert!(with_slack(copied_into(most)) <= most && copied_into(most) >= most / 5 * 4 - LEAST_ROOM);
        }
        assert_eq!(copied_into(0), 0);
    }
}
