//! The data folder: which ledger in it is the current one, in which format, and that only one process has it open.
//!
//! ```text
//! CURRENT     names the ledger's folder and the version of its format
//! ledger-1/   the ledger
//! lock        locked while a process has it open
//! ```
//!
//! `CURRENT` is replaced as a whole: written beside, synced, renamed, and the folder synced. It has two lines,
//! `dnsledger format 1` and `ledger-1`, and a third one, `new`, while a first ledger is being made: what is in it then is
//! worth nothing. A ledger that `CURRENT` does not name is what a crash left behind, and removed; one without any
//! `CURRENT` is an error, never the reason to begin anew.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::ledger::FORMAT;
use super::{StoreError, damaged};

const CURRENT: &str = "CURRENT";
const NEXT: &str = "CURRENT.next";
const LOCK: &str = "lock";
const LEDGER: &str = "ledger-";

/// A data folder that this process has locked.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    current: Current,
    /// Locked for as long as it is open.
    _lock: File,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Current {
    format: u32,
    ledger: String,
    is_new: bool,
}

impl Folder {
    /// Locks a data folder, which is made if there is none.
    pub fn open(path: &Path) -> Result<Folder, StoreError> {
        // Before anything is written: a newer version's folder is not touched at all.
        read_current(path)?;
        fs::create_dir_all(path).map_err(failed("could not make", path))?;
        let lock = lock(path)?;
        let ledgers = ledgers(path)?;
        let current = match read_current(path)? {
            Some(current) => current,
            None if ledgers.is_empty() => {
                Current { format: FORMAT, ledger: format!("{LEDGER}1"), is_new: true }
            }
            None => return Err(no_current(path, &ledgers)),
        };
        let folder = Folder { path: path.to_owned(), current, _lock: lock };
        for ledger in ledgers {
            if ledger != folder.current.ledger || folder.current.is_new {
                let leftover = path.join(ledger);
                fs::remove_dir_all(&leftover).map_err(failed("could not remove", &leftover))?;
            }
        }
        if folder.current.is_new {
            folder.write_current(&folder.current)?;
        } else {
            folder.check_files()?;
        }
        Ok(folder)
    }

    /// Whether there is a ledger in a folder, or what is left of one.
    pub fn is_there(path: &Path) -> bool {
        path.join(CURRENT).exists() || ledgers(path).is_ok_and(|ledgers| !ledgers.is_empty())
    }

    /// Whether a folder holds nothing but what a data folder does.
    pub fn has_nothing_else(path: &Path) -> bool {
        let is_ours = |name: &str| matches!(name, CURRENT | NEXT | LOCK) || is_ledger(name);
        fs::read_dir(path).is_ok_and(|mut entries| {
            entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_ours)))
        })
    }

    /// Locks a data folder in which there is a ledger, and changes nothing in it; `None` when there is none.
    pub fn look(path: &Path) -> Result<Option<Folder>, StoreError> {
        let ledgers = match ledgers(path) {
            Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(None),
            ledgers => ledgers?,
        };
        let current = match read_current(path)? {
            Some(current) => current,
            None if ledgers.is_empty() => return Ok(None),
            None => return Err(no_current(path, &ledgers)),
        };
        if current.is_new {
            return Ok(None);
        }
        let folder = Folder { path: path.to_owned(), current, _lock: lock(path)? };
        folder.check_files()?;
        Ok(Some(folder))
    }

    fn check_files(&self) -> Result<(), StoreError> {
        match self.files().into_iter().find(|file| !file.exists()) {
            Some(missing) => Err(damaged(&missing.display().to_string(), "it is missing")),
            None => Ok(()),
        }
    }

    /// The folder of the ledger.
    pub fn ledger(&self) -> PathBuf {
        self.path.join(&self.current.ledger)
    }

    /// Whether there is no ledger yet: [`Folder::keep`] is called once one was made.
    pub fn is_new(&self) -> bool {
        self.current.is_new
    }

    /// From now on what is in the ledger is worth keeping.
    pub fn keep(&mut self) -> Result<(), StoreError> {
        let kept = Current { is_new: false, ..self.current.clone() };
        self.write_current(&kept)?;
        self.current = kept;
        Ok(())
    }

    /// Where another ledger can be made: a folder that there is not yet.
    pub fn next_ledger(&self) -> Result<PathBuf, StoreError> {
        let number = |name: &String| name.strip_prefix(LEDGER).and_then(|n| n.parse::<u64>().ok());
        let last = ledgers(&self.path)?.iter().filter_map(number).max().unwrap_or_default();
        Ok(self.path.join(format!("{LEDGER}{}", last.saturating_add(1))))
    }

    /// Makes another ledger the current one.
    ///
    /// # Errors
    ///
    /// The one that was current still is.
    pub fn switch(&mut self, ledger: &str) -> Result<(), StoreError> {
        let next = Current { ledger: ledger.to_owned(), ..self.current.clone() };
        if let Err(error) = self.write_current(&next) {
            // It may have been renamed all the same, and only not be durable: then it is renamed back.
            if read_current(&self.path).ok().flatten().as_ref() != Some(&self.current) {
                self.write_current(&self.current)?;
            }
            return Err(error);
        }
        self.current = next;
        Ok(())
    }

    /// Files without which there is no ledger.
    fn files(&self) -> [PathBuf; 2] {
        [self.ledger().join("conf"), self.ledger().join("db")]
    }

    fn write_current(&self, current: &Current) -> Result<(), StoreError> {
        let Current { format, ledger, is_new } = current;
        let text = format!("dnsledger format {format}\n{ledger}\n{}", if *is_new { "new\n" } else { "" });
        let (path, beside) = (self.path.join(CURRENT), self.path.join(NEXT));
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("could not write", &path))
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed("could not open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed("could not lock", &path)(error)),
    }
}

fn no_current(folder: &Path, ledgers: &[String]) -> StoreError {
    let why = format!("it is missing, and there is a {}", ledgers.join(" and a "));
    damaged(&folder.join(CURRENT).display().to_string(), &why)
}

/// What `CURRENT` says; `None` when there is none.
fn read_current(folder: &Path) -> Result<Option<Current>, StoreError> {
    let path = folder.join(CURRENT);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(damaged(&path.display().to_string(), "it is not text"));
        }
        Err(error) => return Err(failed("could not read", &path)(error)),
    };
    let mut lines = text.lines();
    let format = lines.next().and_then(|line| line.strip_prefix("dnsledger format ")?.parse().ok());
    // The first line is the same in every version to come.
    if let Some(found) = format.filter(|found| *found > FORMAT) {
        return Err(StoreError::NewerFormat { path: folder.to_owned(), found, known: FORMAT });
    }
    let ledger = lines.next().filter(|name| is_ledger(name));
    let is_new = match (lines.next(), lines.next()) {
        (None, None) => Some(false),
        (Some("new"), None) => Some(true),
        _ => None,
    };
    match (format, ledger, is_new) {
        // There never was a format 0.
        (Some(format @ 1..), Some(ledger), Some(is_new)) if text.ends_with('\n') => {
            Ok(Some(Current { format, ledger: ledger.to_owned(), is_new }))
        }
        _ => Err(damaged(&path.display().to_string(), "it does not name a format and a ledger")),
    }
}

fn is_ledger(name: &str) -> bool {
    name.strip_prefix(LEDGER)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The names of the ledgers in a folder.
fn ledgers(folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("could not read", folder))? {
        let entry = entry.map_err(failed("could not read", folder))?;
        names.extend(entry.file_name().into_string().ok().filter(|name| is_ledger(name)));
    }
    names.sort();
    Ok(names)
}

/// Says what was being done when the operating system refused.
pub(crate) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let what = format!("{what} {}", path.display());
    move |error| StoreError::Io { what, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_current(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CURRENT), text).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn make_files(folder: &Folder) {
        fs::create_dir_all(folder.ledger()).unwrap();
        folder.files().iter().for_each(|file| fs::write(file, b"x").unwrap());
    }

    #[test]
    fn a_new_folder_is_kept_only_once_its_ledger_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a").join("b");
        let folder = Folder::open(&path).unwrap();
        assert!(folder.is_new());
        make_files(&folder);
        drop(folder);
        let mut folder = Folder::open(&path).unwrap();
        assert!(folder.is_new() && !folder.ledger().exists());
        make_files(&folder);
        folder.keep().unwrap();
        drop(folder);
        assert!(!Folder::open(&path).unwrap().is_new());
        assert_eq!(names(&path), ["CURRENT", "ledger-1", "lock"]);
    }

    #[test]
    fn a_folder_is_open_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        assert!(matches!(Folder::open(dir.path()), Err(StoreError::Locked { .. })));
        drop(first);
        assert!(Folder::open(dir.path()).is_ok());
    }

    #[test]
    fn a_newer_format_is_refused_and_nothing_is_written() {
        let dir = with_current("dnsledger format 2\nsomething else\n");
        let refused = Folder::open(dir.path());
        assert!(matches!(refused, Err(StoreError::NewerFormat { found: 2, known: 1, .. })), "{refused:?}");
        assert_eq!(names(dir.path()), ["CURRENT"]);
    }

    #[test]
    fn a_current_that_makes_no_sense_is_damage() {
        for text in [
            "",
            "dnsledger format 0\nledger-1\n",
            "dnsledger format 1\n",
            "dnsledger format 1\nledger-1",
            "dnsledger format 1\n../x\n",
            "\0",
        ] {
            let refused = Folder::open(with_current(text).path());
            assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{text:?}: {refused:?}");
        }
    }

    #[test]
    fn a_ledger_without_current_is_never_the_reason_to_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ledger-3")).unwrap();
        assert!(matches!(Folder::open(dir.path()), Err(StoreError::Damaged { .. })));
        assert!(dir.path().join("ledger-3").exists());
    }

    #[test]
    fn a_ledger_that_is_missing_or_misses_a_file_is_damage() {
        let dir = with_current("dnsledger format 1\nledger-1\n");
        assert!(matches!(Folder::open(dir.path()), Err(StoreError::Damaged { .. })));
        fs::create_dir(dir.path().join("ledger-1")).unwrap();
        fs::write(dir.path().join("ledger-1/conf"), b"x").unwrap();
        let refused = Folder::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("ledger-1/db"), "{refused}");
    }

    #[test]
    fn what_a_crash_left_behind_is_removed_and_nothing_else() {
        let dir = with_current("dnsledger format 1\nledger-2\n");
        for name in ["ledger-1", "ledger-2", "ledger-2.bak", "ledger-"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("ledger-2/conf"), b"x").unwrap();
        fs::write(dir.path().join("ledger-2/db"), b"x").unwrap();
        Folder::open(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["CURRENT", "ledger-", "ledger-2", "ledger-2.bak", "lock"]);
    }
}
