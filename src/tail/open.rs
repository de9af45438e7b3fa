//! Opening a file that somebody else put where logs lie.
//!
//! What was a log at the last look can be a pipe, a device or a terminal now: whoever may write to the folder can
//! exchange it at any moment. So nothing here waits: a pipe is opened without its writer, no terminal becomes ours,
//! and what is open is looked at once more before a byte is read of it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading; anything else is an error, at once.
///
/// # Errors
///
/// When it cannot be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(no_file());
    }
    if rustix::fs::fstatfs(&file).is_ok_and(|system| is_kernels_own(&system)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, KERNELS_OWN));
    }
    Ok((file, metadata))
}

/// What is said of files that the kernel makes up: they tell no length, and other things at each look.
pub const KERNELS_OWN: &str = "it is not a file on a disk, but one that the kernel makes up (as in /proc)";

/// Whether a path leads to a file that the kernel makes up.
pub fn is_made_up(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|system| is_kernels_own(&system))
}

/// Whether a file system holds what the kernel makes up (`linux/magic.h`).
fn is_kernels_own(system: &rustix::fs::StatFs) -> bool {
    const THOSE: &[u64] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0x6265_6570, // configfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0xcafe_4a11, // bpf
        0xf97c_ff8c, // selinux
        0xde5e_81e4, // efivarfs
        0x6165_676c, // pstore
    ];
    // Its type has 32 bits, or 64, with a sign or without.
    u64::try_from(i128::from(system.f_type) & 0xffff_ffff).is_ok_and(|magic| THOSE.contains(&magic))
}

/// The error for what is no regular file.
pub fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_writer_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("dns.log");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert_eq!(open(path).unwrap_err().to_string(), "not a regular file", "{}", path.display());
        }
        for path in ["/proc/self/environ", "/proc/self/mem", "/sys/kernel/uevent_seqnum"].map(Path::new) {
            if path.exists() {
                assert!(
                    open(path).unwrap_err().to_string().contains("kernel") && is_made_up(path),
                    "{}",
                    path.display()
                );
            }
        }
        let log = folder.path().join("dns.1.log");
        std::fs::write(&log, "x").unwrap();
        assert_eq!(open(&log).unwrap().1.len(), 1);
        assert!(!is_made_up(&log));
    }
}
