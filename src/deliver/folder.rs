//! How far each outlet is, and what it refused for good: the folder `deliver` in the data folder.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | nothing: who delivers has it locked |
//! | `NAME.json` | a [`OutletProgress`], replaced as a whole after each delivery |
//! | `NAME.dead` | what was refused or given up, a line of JSON each; what was before as `NAME.dead.old` |
//! | `NAME.again`, `NAME.again.old` | such lines, which are to be delivered once more |
//!
//! A cursor that is lost costs that hits are delivered again, never that one is not.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DeliverError;
use super::message::Message;
use crate::base::replace::replace_file;
use crate::base::time::format_rfc3339;

/// Bytes of dead letters of an outlet; those before are kept once as `NAME.dead.old`.
const MAX_DEAD: u64 = 64 << 20;

/// Bytes of a letter at most.
const MAX_LETTER: u64 = 1 << 20;

/// How far an outlet is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OutletProgress {
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
pub struct OutletFolder {
    path: PathBuf,
    _lock: File,
}

impl OutletFolder {
    /// Takes the folder in a data folder; it is made if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process has it.
    pub fn take(data: &Path) -> Result<OutletFolder, DeliverError> {
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
            Ok(()) => Ok(OutletFolder { path, _lock: file }),
            Err(TryLockError::WouldBlock) => Err(DeliverError::Running { folder: data.to_owned() }),
            Err(TryLockError::Error(error)) => Err(DeliverError::State { path: lock, error }),
        }
    }

    /// The files of an outlet.
    pub(super) fn of(&self, outlet: &str) -> Files {
        Files::of(&self.path, outlet)
    }
}

/// How an outlet stands by what is kept of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutletState {
    /// Since when it fails, epoch seconds; 0 while it does not.
    pub failing_since: u64,
    /// Messages that were refused or given up.
    pub dead: u64,
    /// Those of them that are to be delivered once more.
    pub again: u64,
}

/// What is kept of an outlet in a data folder, whoever delivers.
///
/// # Errors
///
/// When that cannot be read.
pub fn kept(data: &Path, outlet: &str) -> Result<OutletState, DeliverError> {
    let files = Files::of(&data.join("deliver"), outlet);
    let count =
        |path: &PathBuf, old: &PathBuf| Ok::<_, DeliverError>(files.letters(path)? + files.letters(old)?);
    let failing_since = files.load()?.unwrap_or_default().failing_since;
    let (dead, again) = (count(&files.dead, &files.dead_old)?, count(&files.again, &files.again_old)?);
    Ok(OutletState { failing_since, dead, again })
}

/// Has the dead letters of an outlet delivered once more, by whoever delivers; how many there are.
///
/// # Errors
///
/// When the files cannot be read or named.
pub fn send_again(data: &Path, outlet: &str) -> Result<u64, DeliverError> {
    let files = Files::of(&data.join("deliver"), outlet);
    for (from, to) in [(&files.dead_old, &files.again_old), (&files.dead, &files.again)] {
        // What waits there already goes first; the rest is taken the next time.
        if from.exists() && !to.exists() {
            fs::rename(from, to).map_err(files.fault(from))?;
        }
    }
    Ok(files.letters(&files.again)? + files.letters(&files.again_old)?)
}

/// The lines of a file.
type Lines = Box<dyn Iterator<Item = io::Result<Vec<u8>>>>;

/// The files of one outlet.
#[derive(Debug, Clone)]
pub(super) struct Files {
    cursor: PathBuf,
    dead: PathBuf,
    dead_old: PathBuf,
    again: PathBuf,
    again_old: PathBuf,
}

impl Files {
    fn of(folder: &Path, outlet: &str) -> Files {
        let file = |end: &str| folder.join(format!("{outlet}.{end}"));
        let [cursor, dead, dead_old] = ["json", "dead", "dead.old"].map(file);
        Files { cursor, dead, dead_old, again: file("again"), again_old: file("again.old") }
    }

    /// How many letters a file has; none where there is none.
    fn letters(&self, path: &Path) -> Result<u64, DeliverError> {
        let count = || -> io::Result<u64> {
            let mut file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error),
            };
            let (mut bytes, mut lines) = (vec![0; 64 << 10], 0);
            loop {
                let read = file.read(&mut bytes)?;
                let some = bytes.get(..read).unwrap_or_default();
                lines += some.iter().filter(|byte| **byte == b'\n').count() as u64;
                if read == 0 {
                    return Ok(lines);
                }
            }
        };
        count().map_err(self.fault(path))
    }

    /// The next file of letters that are to be delivered once more, the oldest first, with its lines; one that is too long for a letter
    /// is cut.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn again(&self) -> Result<Option<(PathBuf, Lines)>, DeliverError> {
        for path in [&self.again_old, &self.again] {
            match File::open(path) {
                Ok(file) => {
                    let mut input = BufReader::new(file);
                    let lines = std::iter::from_fn(move || {
                        let mut line = Vec::new();
                        match input.by_ref().take(MAX_LETTER).read_until(b'\n', &mut line) {
                            Ok(0) => None,
                            read => Some(read.map(|_| line)),
                        }
                    });
                    return Ok(Some((path.clone(), Box::new(lines))));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.fault(path)(error)),
            }
        }
        Ok(None)
    }

    /// Keeps those letters of a file that are not delivered yet.
    ///
    /// # Errors
    ///
    /// When it cannot be written: all of them are delivered again then.
    pub fn keep_letters(
        &self,
        path: &Path,
        lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    ) -> Result<(), DeliverError> {
        let part = path.with_extension("letters-part");
        let write = || {
            let mut options = OpenOptions::new();
            let file = options.create(true).write(true).truncate(true).mode(0o600).open(&part)?;
            let mut out = io::BufWriter::new(file);
            for line in lines {
                out.write_all(&line?)?;
            }
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            fs::rename(&part, path)
        };
        write().map_err(self.fault(path))
    }

    /// All letters of a file were delivered once more, or are dead letters again.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn delivered_again(&self, path: &Path) -> Result<(), DeliverError> {
        fs::remove_file(path).map_err(self.fault(path))
    }

    /// How far it is; nothing where it is new.
    ///
    /// # Errors
    ///
    /// When that cannot be read. One that makes no sense is told, and is none: hits are delivered again then.
    pub fn load(&self) -> Result<Option<OutletProgress>, DeliverError> {
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
                Ok(Some(OutletProgress::default()))
            }
        }
    }

    /// Keeps how far it is.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn save(&self, cursor: &OutletProgress) -> Result<(), DeliverError> {
        let part = self.cursor.with_extension("part");
        let write = || replace_file(&self.cursor, &part, 0o600, &serde_json::to_vec(cursor)?);
        write().map_err(self.fault(&self.cursor))
    }

    /// Keeps what will not be delivered.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn give_up(&self, messages: &[Message], why: &str, now: u64) -> Result<(), DeliverError> {
        let mut lines = Vec::new();
        for message in messages {
            let line = serde_json::json!({ "at": now, "at_utc": format_rfc3339(now), "why": why, "message": message.document() });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        self.bury_lines(&lines)
    }

    /// Keeps letters as they are.
    ///
    /// # Errors
    ///
    /// As [`Files::give_up`].
    pub fn bury_lines(&self, lines: &[u8]) -> Result<(), DeliverError> {
        let write = || {
            if fs::metadata(&self.dead).is_ok_and(|metadata| metadata.len() > MAX_DEAD) {
                fs::rename(&self.dead, &self.dead_old)?;
            }
            let mut options = OpenOptions::new();
            let mut file = options.create(true).append(true).mode(0o600).open(&self.dead)?;
            file.write_all(lines)?;
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
    use crate::watch::Summed;

    #[test]
    fn dead_letters_are_counted_and_set_apart_to_be_delivered_once_more() {
        let data = tempfile::tempdir().unwrap();
        let folder = OutletFolder::take(data.path()).unwrap();
        let files = folder.of("soar");
        let summed = Summed { from: 3, to: 9, hits: 7 };
        files.give_up(&[Message::summed("x", summed)], "no", 5).unwrap();
        fs::write(&files.dead_old, "old\n").unwrap();
        assert_eq!(kept(data.path(), "soar").unwrap(), OutletState { dead: 2, ..OutletState::default() });
        assert_eq!(
            (send_again(data.path(), "soar").unwrap(), send_again(data.path(), "other").unwrap()),
            (2, 0)
        );
        files.bury_lines(b"more\n").unwrap();
        assert_eq!(send_again(data.path(), "soar").unwrap(), 2, "what waits goes first");
        assert_eq!(kept(data.path(), "soar").unwrap(), OutletState { dead: 1, again: 2, failing_since: 0 });
        let (path, mut lines) = files.again().unwrap().unwrap();
        assert_eq!((lines.next().unwrap().unwrap(), lines.next().is_none()), (b"old\n".to_vec(), true));
        files.delivered_again(&path).unwrap();
        let (path, mut lines) = files.again().unwrap().unwrap();
        let letter = Message::of_letter(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(letter, Message::summed("x", summed));
        files.delivered_again(&path).unwrap();
        assert!(files.again().unwrap().is_none());
    }

    #[test]
    fn one_process_delivers_and_a_cursor_that_makes_no_sense_is_before_the_first_hit() {
        let data = tempfile::tempdir().unwrap();
        let folder = OutletFolder::take(data.path()).unwrap();
        assert!(matches!(OutletFolder::take(data.path()), Err(DeliverError::Running { .. })));
        let files = folder.of("soar");
        assert_eq!(files.load().unwrap(), None);
        let cursor = OutletProgress { ledger: "x".to_owned(), after: 7, ..OutletProgress::default() };
        files.save(&cursor).unwrap();
        assert_eq!(files.load().unwrap(), Some(cursor));
        for torn in ["", "{\"after\":", "[]"] {
            fs::write(data.path().join("deliver/soar.json"), torn).unwrap();
            assert_eq!(files.load().unwrap(), Some(OutletProgress::default()), "{torn}");
        }
        drop(folder);
        OutletFolder::take(data.path()).unwrap();
    }
}
