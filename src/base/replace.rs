//! Small files that are replaced as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts these bytes at `path`, by way of the file `part` beside it: after a crash there is the former content or the new one, never
/// a part of it. `mode` is that of a file that is not there yet, less what the umask takes.
///
/// The folder is not synced: after a loss of power the former content may be back.
///
/// # Errors
///
/// When it cannot be written: the former content stays.
pub fn replace_file(path: &Path, part: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}
