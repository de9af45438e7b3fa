//! The disk under the data folder: what it is, whether it may be written, and for how long it lasts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, StatVfsMountFlags, access, statfs, statvfs};

use super::Findings;
use super::user::{User, access_list};
use crate::cli::import::human_size;
use crate::daemon::config::Config;
use crate::store::sled::ledger_bytes;
use crate::store::{MaxDisk, kept_max_disk, kept_since, of_free};

/// `f_type` of a file system in memory (statfs(2)): tmpfs, ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// A disk with less than this left is full: a commit needs some room, and so does a merge.
const FULL: u64 = 64 << 20;
/// Days for which a disk should last.
const DAYS: u64 = 14;
const DAY: u64 = 86_400;

/// How much the ledger may still take, and how fast it does.
#[derive(Debug, Clone, Copy)]
struct Growth {
    /// Bytes that are free.
    free: u64,
    /// Bytes that the ledger takes.
    taken: u64,
    /// Bytes that it may take at most.
    most: Option<u64>,
    /// For how long it has been growing, seconds.
    age: u64,
}

impl Growth {
    /// Days until the disk is full, if the ledger goes on growing as it did on average; `None` while it is too young to tell,
    /// and where its bound is reached before.
    fn days_left(self) -> Option<u64> {
        let may_grow = self.most.map_or(u64::MAX, |most| most.saturating_sub(self.taken));
        if self.age < DAY || self.taken == 0 || may_grow <= self.free {
            return None;
        }
        let a_day = (u128::from(self.taken) * u128::from(DAY) / u128::from(self.age)).max(1);
        u64::try_from(u128::from(self.free) / a_day).ok()
    }
}

/// The nearest folder that there is: the data folder may have to be made.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Looks at where the data folder is, or will be.
pub(super) fn check(findings: &mut Findings, config: &Config, user: &User, running: bool) {
    let folder = &config.data_dir;
    let there = nearest(folder);
    check_kind(findings, &there);
    if !running {
        check_rights(findings, folder, &there, user);
    }
    let space = statvfs(&there).ok();
    let free = space.as_ref().and_then(|space| space.f_bavail.checked_mul(space.f_frsize));
    let most = match config.store.max_disk {
        MaxDisk::Bytes(most) => Some(most),
        MaxDisk::Auto => kept_max_disk(folder),
        MaxDisk::Unbounded => None,
    };
    let left = free.map(|free| format!(", {} free", human_size(free))).unwrap_or_default();
    match (config.store.max_disk, most) {
        (MaxDisk::Unbounded, _) => findings.warn(
            "disk",
            format!("no bound on what the ledger takes{left}"),
            "store.max_disk = \"auto\": who can make DNS queries can fill the disk",
        ),
        (MaxDisk::Auto, None) => {
            findings.good("disk", format!("at most two fifths of what is free at the first start{left}"));
        }
        (MaxDisk::Auto, Some(most)) => findings
            .good("disk", format!("at most {}, by what was free at the first start{left}", human_size(most))),
        (MaxDisk::Bytes(most), _) => findings.good("disk", format!("at most {}{left}", human_size(most))),
    }
    let Some(free) = free else { return };
    if free < FULL {
        return findings.bad(
            "disk",
            format!("{} is full", there.display()),
            "remove what is not needed there, or `dnsledger expire --max-disk SIZE`; the daemon goes on by itself once there is room",
        );
    }
    let taken = ledger_bytes(folder);
    let with_copy = of_free(free, taken);
    if let MaxDisk::Bytes(most) = config.store.max_disk
        && most > with_copy
    {
        findings.warn(
            "disk",
            format!(
                "store.max_disk leaves no room for a copy of the ledger, which is needed to give space back: above {} that is done only within its own file",
                human_size(with_copy)
            ),
            "a smaller store.max_disk, or none: that is two fifths of what is free",
        );
    }
    let now = SystemTime::now();
    let age = kept_since(folder).and_then(|since| now.duration_since(since).ok());
    let growth = Growth { free, taken, most, age: age.map_or(0, |age| age.as_secs()) };
    if let Some(days) = growth.days_left().filter(|days| *days < DAYS) {
        findings.bad(
            "disk",
            format!("the disk is full in about {days} days, as the ledger grew so far, and before its bound is reached"),
            "a smaller store.max_disk, a store.retention, or more disk",
        );
    }
}

fn check_kind(findings: &mut Findings, there: &Path) {
    let is_in_memory = statfs(there).is_ok_and(|kind| IN_MEMORY.contains(&kind.f_type));
    if is_in_memory {
        findings.bad(
            "disk",
            format!("{} is in memory: what is there is gone at the next boot", there.display()),
            "name a folder on a disk by data_dir or --data",
        );
    }
    if statvfs(there).is_ok_and(|space| space.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        findings.bad(
            "data",
            format!("{} is mounted read-only", there.display()),
            "mount it to be written to: `dmesg` says whether the disk has errors; or name another by data_dir or --data",
        );
    }
}

/// Whether who opens the ledger may write to its folder, or make it.
fn check_rights(findings: &mut Findings, folder: &Path, there: &Path, user: &User) {
    let Ok(metadata) = fs::metadata(there) else { return };
    let own = fs::metadata("/proc/self").map_or(0, |own| std::os::unix::fs::MetadataExt::uid(&own));
    let may = match user.uid == own {
        true => access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok() || is_read_only(there),
        // Only root asks for another.
        false => user.may(&metadata, &access_list(there), 0o3),
    };
    if !may {
        let name = &user.name;
        let advice = match there == folder {
            true => format!("chown -R {name} {}", there.display()),
            false => format!("install -d -m 700 -o {name} {}", folder.display()),
        };
        findings.bad("data", format!("{name} may not write in {}", there.display()), advice);
    }
}

/// Of a file system that is read-only that is said already.
fn is_read_only(there: &Path) -> bool {
    statvfs(there).is_ok_and(|space| space.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_lasts_as_long_as_the_ledger_grows_as_it_did() {
        let growth = Growth { free: 30 << 30, taken: 10 << 30, most: None, age: 10 * DAY };
        assert_eq!(growth.days_left(), Some(30));
        let bounded = |most| Growth { most: Some(most), ..growth }.days_left();
        assert_eq!(bounded(40 << 30), None, "its bound comes first");
        assert_eq!(bounded(41 << 30), Some(30));
        assert_eq!(bounded(1 << 30), None);
        assert_eq!(Growth { age: DAY - 1, ..growth }.days_left(), None, "too young to tell");
        assert_eq!(Growth { taken: 0, ..growth }.days_left(), None);
    }
}
