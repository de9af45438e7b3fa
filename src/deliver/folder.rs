//! How far each outlet is, and what it refused for good: the folder `deliver` in the data folder.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | nothing: who delivers has it locked |
//! | `NAME.json` | a [`Cursor`], replaced as a whole after each delivery |
//! | `NAME.dead` | what was refused or given up, a line of JSON each |
//!
//! A cursor that is lost costs that hits are delivered again, never that one is not.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DeliverError;
use super::message::Message;
use crate::base::time::format_rfc3339;

/// Bytes of dead letters of an outlet; those before are kept once as `NAME.dead.old`.
const MAX_DEAD: u64 = 64 << 20;

/// How far an outlet is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// The ledger that the numbers are of.
    pub ledger: String,
    /// The number of the last hit that is settled.
    pub after: u64,
    /// When the hour began of which hits are counted, epoch seconds.
    pub hour: u64,
    /// Hits that were delivered one by one within it.
    pub sent: u64,
    /// When a sum was last delivered, epoch seconds.
    pub summed: u64,
    /// Since when the outlet fails, epoch seconds; 0 while it does not.
    pub failing_since: u64,
}

/// The folder, locked.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder in a data folder; it is made if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process has it.
    pub fn take(data: &Path) -> Result<Folder, DeliverError> {
        let path = data.join("deliver");
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |error| DeliverError::State { path, error }
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(fault(&path))?;
        let lock = path.join("lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&lock).map_err(fault(&lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Folder { path, _lock: file }),
            Err(TryLockError::WouldBlock) => Err(DeliverError::Running { folder: data.to_owned() }),
            Err(TryLockError::Error(error)) => Err(DeliverError::State { path: lock, error }),
        }
    }

    /// The files of an outlet.
    pub(super) fn of(&self, outlet: &str) -> Files {
        let file = |end: &str| self.path.join(format!("{outlet}.{end}"));
        Files { cursor: file("json"), dead: file("dead") }
    }
}

/// The files of one outlet.
#[derive(Debug, Clone)]
pub(super) struct Files {
    cursor: PathBuf,
    dead: PathBuf,
}

impl Files {
    /// How far it is; nothing where it is new.
    ///
    /// # Errors
    ///
    /// When that cannot be read. One that makes no sense is told, and is none: hits are delivered again then.
    pub fn load(&self) -> Result<Option<Cursor>, DeliverError> {
        let text = match fs::read(&self.cursor) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fault(&self.cursor)(error)),
        };
        match serde_json::from_slice(&text) {
            Ok(cursor) => Ok(Some(cursor)),
            Err(error) => {
                tracing::error!(path = %self.cursor.display(), %error, "How far an outlet is cannot be read. All hits are delivered again.");
                // Not as one that is new, which may be told of later hits only.
                Ok(Some(Cursor::default()))
            }
        }
    }

    /// Keeps how far it is.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn save(&self, cursor: &Cursor) -> Result<(), DeliverError> {
        let part = self.cursor.with_extension("part");
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&part)?;
            serde_json::to_writer(&mut file, cursor)?;
            file.sync_data()?;
            fs::rename(&part, &self.cursor)
        };
        write().map_err(self.fault(&self.cursor))
    }

    /// Keeps what will not be delivered.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn bury(&self, messages: &[Message], why: &str, now: u64) -> Result<(), DeliverError> {
        let mut lines = Vec::new();
        for message in messages {
            let line = serde_json::json!({ "at": now, "at_utc": format_rfc3339(now), "why": why, "message": message.document() });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        let write = || {
            if fs::metadata(&self.dead).is_ok_and(|metadata| metadata.len() > MAX_DEAD) {
                fs::rename(&self.dead, self.dead.with_extension("dead.old"))?;
            }
            let mut options = OpenOptions::new();
            let mut file = options.create(true).append(true).mode(0o600).open(&self.dead)?;
            file.write_all(&lines)?;
            file.sync_data()
        };
        write().map_err(self.fault(&self.dead))
    }

    fn fault(&self, path: &Path) -> impl FnOnce(io::Error) -> DeliverError + use<> {
        let path = path.to_owned();
        move |error| DeliverError::State { path, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_delivers_and_a_cursor_that_makes_no_sense_is_before_the_first_hit() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::take(data.path()).unwrap();
        assert!(matches!(Folder::take(data.path()), Err(DeliverError::Running { .. })));
        let files = folder.of("soar");
        assert_eq!(files.load().unwrap(), None);
        let cursor = Cursor { ledger: "x".to_owned(), after: 7, ..Cursor::default() };
        files.save(&cursor).unwrap();
        assert_eq!(files.load().unwrap(), Some(cursor));
        for torn in ["", "{\"after\":", "[]"] {
            fs::write(data.path().join("deliver/soar.json"), torn).unwrap();
            assert_eq!(files.load().unwrap(), Some(Cursor::default()), "{torn}");
        }
        drop(folder);
        Folder::take(data.path()).unwrap();
    }
}
