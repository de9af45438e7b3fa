//! Files and folders of a ledger are their user's alone, whatever was there before and whatever the umask is.
//!
//! Who can read them knows what a network asked for; who can write them can make a program read on what is not its ledger.

use std::ffi::CStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, chownat, fstat, openat, renameat_with,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid, umask};

/// What of a mode is for others than the owner.
const OTHERS: u32 = 0o077;

/// The umask that this process was started with.
static USERS_UMASK: OnceLock<u32> = OnceLock::new();

/// From now on this process makes files and folders for its user alone: sled makes its own, whenever it likes.
pub(super) fn begin() {
    let before = umask(Mode::from_raw_mode(OTHERS)).bits();
    USERS_UMASK.get_or_init(|| before);
}

/// Gives a file that was asked for by name, and is no part of a ledger, the rights that the user's umask leaves it.
///
/// # Errors
///
/// When it cannot be done.
pub fn as_the_user_has_it(path: &Path) -> io::Result<()> {
    match USERS_UMASK.get() {
        Some(umask) => fs::set_permissions(path, Permissions::from_mode(0o666 & !umask)),
        None => Ok(()),
    }
}

/// Takes a folder, and the files in it and in its folders, from all but their owner; says whether something had to change.
/// Links are left alone.
pub(super) fn close(folder: &Path) -> io::Result<bool> {
    // First itself: what is in it cannot be exchanged then.
    let metadata = fs::metadata(folder)?;
    let mut changed = close_one(folder, &metadata)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            changed |= close(&entry.path())?;
        } else if metadata.is_file() {
            changed |= close_one(&entry.path(), &metadata)?;
        }
    }
    Ok(changed)
}

fn close_one(path: &Path, metadata: &fs::Metadata) -> io::Result<bool> {
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))?;
    Ok(true)
}

/// Gives what root has made in a folder to the user whose folder it is, and who could not open it otherwise: of what is in the folder only
/// that of which the name says so, and all that is in folders of it.
///
/// # Errors
///
/// When it cannot be done.
pub(super) fn give_back(folder: &Path, is_ours: fn(&str) -> bool) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let folder = File::open(folder)?;
    let metadata = folder.metadata()?;
    match metadata.uid() {
        0 => Ok(()),
        uid => Ok(give(&folder, (Uid::from_raw(uid), Gid::from_raw(metadata.gid())), is_ours)?),
    }
}

/// Everything is looked at by what is opened and never by its path, in the place of which that user may put a link meanwhile.
fn give(folder: impl AsFd, to: (Uid, Gid), is_ours: fn(&str) -> bool) -> rustix::io::Result<()> {
    let is_named = |name: &CStr| !matches!(name.to_bytes(), b"." | b"..") && name.to_str().is_ok_and(is_ours);
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_named(name) {
            continue;
        }
        let found =
            match openat(&folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
        let stat = fstat(&found)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // Where a file has another name, it may be root's there.
        let may_be_given = kind == FileType::Directory || kind == FileType::RegularFile && stat.st_nlink == 1;
        if stat.st_uid == 0 && may_be_given {
            chownat(&found, c"", Some(to.0), Some(to.1), AtFlags::EMPTY_PATH)?;
        }
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            give(openat(&found, c".", flags, Mode::empty())?, to, |_| true)?;
        }
    }
    Ok(())
}

/// Whether something is a folder, and no link to one, that is this user's and that nobody else may enter.
pub(super) fn is_own_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| {
        metadata.is_dir() && metadata.uid() == geteuid().as_raw() && metadata.mode() & OTHERS == 0
    })
}

/// Renames, and replaces nothing, where the file system can promise that.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    }
}
