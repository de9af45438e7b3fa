//! The data folder: which ledger in it is the current one, in which format, and that only one process has it open.
//!
//! ```text
//! CURRENT                  names the ledger's folder and the version of its format
//! CURRENT.format-1         what CURRENT was before the ledger was brought up from format 1
//! ledger-2/                the ledger
//! ledger-2/replaces        names the ledgers that it took over from, until they are removed
//! ledger-2/keeps           names those of them that a CURRENT.format-N names, too
//! ledger-1/                the ledger as it was in format 1
//! ledger-3.discarded/      is being removed
//! ledger-4.unexplained/    set aside: nothing says what it is
//! ledger-5.damaged/        set aside: another was begun in its place
//! lock                     locked while a process has it open; not empty while one writes to it, and after one was killed
//! ```
//!
//! `CURRENT` is replaced as a whole: written beside, synced, renamed, and the folder synced. It has two lines,
//! `dnsledger format 3` and `ledger-2`, and a third one, `new`, while a first ledger is being made: what is in it then is
//! worth nothing. Before it names a ledger, the files of that ledger are synced.
//!
//! # What is removed
//!
//! Only who writes removes anything ([`DataFolder::open`]), never who only asks ([`DataFolder::look`]), and only after what `CURRENT`
//! names was seen to be there. It removes what says itself that it is not needed: a copy that never took over (its `replaces`
//! names the current ledger), a ledger that was taken over from (the current one's `replaces` or `keeps` names it), a first
//! ledger that was never whole, what was being removed already. Any other ledger that nothing names is set aside: it is renamed, and said.
//! A ledger without any `CURRENT` is an error, never the reason to begin anew.
//!
//! So to keep the older ledger takes one small file, to go back to it one rename, and to be rid of it one removal.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileType, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::files::{failed, sync, sync_files};
use super::stored::FORMAT;
use super::{StoreError, acknowledged, damaged, private, space};
use crate::base::fault::point;
use crate::base::replace::replace_file;

const CURRENT: &str = "CURRENT";
const NEXT: &str = "CURRENT.next";
const LOCK: &str = "lock";
/// The prefix of a copy of `CURRENT`; the number of its format follows.
const BEFORE: &str = "CURRENT.format-";
const LEDGER: &str = "ledger-";
/// The file in a ledger that names those that it takes over from, one a line.
const REPLACES: &str = "replaces";
/// The file in a ledger that names those of an older format that it took over from, and that are kept.
const KEEPS: &str = "keeps";
/// The suffix of a ledger that is being removed.
const DISCARDED: &str = ".discarded";
/// The suffix of a ledger that no file accounts for.
const UNEXPLAINED: &str = ".unexplained";
/// The suffix of a damaged ledger, and of a damaged `CURRENT`.
const DAMAGED: &str = ".damaged";

/// Folders of files beside the ledger.
const BESIDE: [&str; 3] = ["deliver", "evidence", "watch"];

/// How files are called that say what was not read.
const NOT_READ: &str = "not-read";

/// A data folder that this process has locked.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    current: Current,
    /// `CURRENT` may not match this: writing it failed, and so did restoring it.
    unsettled: bool,
    /// Locked for as long as it is open.
    lock: File,
    /// It was opened to write to it, and the file that is locked says so.
    writes: bool,
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if self.writes
            && let Err(error) = self.lock.set_len(0)
        {
            // The next one takes this one for killed, and looks closer than it needs to.
            tracing::debug!(%error, "The file that is locked could not be emptied.");
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Current {
    format: u32,
    ledger: String,
    is_new: bool,
}

impl DataFolder {
    /// Locks a data folder to write to it; it is made if there is none. What is not needed any more is cleared away.
    pub fn open(path: &Path) -> Result<DataFolder, StoreError> {
        let (mut folder, ledgers) = DataFolder::open_uncleared(path)?;
        folder.clear_away(ledgers)?;
        folder.lock.set_len(0).and_then(|()| folder.lock.write_all(b"open\n")).unwrap_or_else(|error| {
            tracing::debug!(%error, "The file that is locked could not be written.");
        });
        folder.writes = true;
        if folder.current.is_new {
            folder.write_current(&folder.current)?;
        }
        Ok(folder)
    }

    /// Likewise, for one of an older format that somebody only wants to look at: nothing is cleared away.
    pub fn open_to_bring_up(path: &Path) -> Result<DataFolder, StoreError> {
        Ok(DataFolder::open_uncleared(path)?.0)
    }

    /// Locks a data folder whose ledger is damaged, to begin another one. Also the ledgers that are damaged: the current one, or
    /// where none is, all that nothing else names.
    ///
    /// # Errors
    ///
    /// Also when the ledger is of another format, or there is none.
    pub fn open_damaged(path: &Path) -> Result<(DataFolder, Vec<PathBuf>), StoreError> {
        check_kinds(path)?;
        let lock = lock(path)?;
        let ledgers = ledgers(path)?;
        let known = match read_current(path) {
            Ok(current) => current,
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let known = known.filter(|current| path.join(&current.ledger).is_dir());
        // No older version wrote a mark: then it is `CURRENT` that is wrong.
        let is_marked = |current: &Current| path.join(&current.ledger).join(acknowledged::NAME).exists();
        let known = known.filter(|current| current.format == FORMAT || !is_marked(current));
        let olders: Vec<String> = olders(path)?.into_iter().map(|older| older.ledger).collect();
        let damaged: Vec<String> = match &known {
            Some(current) if current.format < FORMAT => {
                let (path, found, known) = (path.to_owned(), current.format, FORMAT);
                return Err(StoreError::OlderFormat { path, found, known });
            }
            Some(current) => vec![current.ledger.clone()],
            None => ledgers.into_iter().filter(|ledger| !olders.contains(ledger)).collect(),
        };
        let Some(last) = damaged.last().cloned() else {
            return Err(self::damaged(&path.display().to_string(), "there is no ledger in it"));
        };
        let current = known.unwrap_or(Current { format: FORMAT, ledger: last, is_new: false });
        let folder = DataFolder { path: path.to_owned(), current, unsettled: false, lock, writes: false };
        Ok((folder, damaged.into_iter().map(|ledger| path.join(ledger)).collect()))
    }

    /// Makes another ledger the current one, which is whole, and sets the damaged ones aside.
    pub fn begin_anew(&mut self, ledger: &str, damaged: &[PathBuf]) -> Result<Vec<PathBuf>, StoreError> {
        let current = self.path.join(CURRENT);
        let is_sound = read_current(&self.path).is_ok_and(|found| found.as_ref() == Some(&self.current));
        if current.exists() && !is_sound {
            let kept = self.path.join(format!("{CURRENT}{DAMAGED}"));
            fs::copy(&current, &kept).map_err(failed("could not write", &kept))?;
        }
        self.put(Current { format: FORMAT, ledger: ledger.to_owned(), is_new: false })?;
        damaged.iter().map(|ledger| set_aside(ledger, DAMAGED)).collect()
    }

    /// Also the ledgers that are there.
    fn open_uncleared(path: &Path) -> Result<(DataFolder, Vec<String>), StoreError> {
        // Before anything is written: a newer version's folder is not touched at all.
        read_current(path)?;
        make(path)?;
        close(path)?;
        let lock = lock(path)?;
        let ledgers = ledgers(path)?;
        let current = match read_current(path)? {
            Some(current) if current.is_new => Current { format: FORMAT, ..current },
            Some(current) => current,
            None if ledgers.is_empty() => {
                Current { format: FORMAT, ledger: format!("{LEDGER}1"), is_new: true }
            }
            None => return Err(no_current(path, &ledgers)),
        };
        let folder = DataFolder { path: path.to_owned(), current, unsettled: false, lock, writes: false };
        if !folder.current.is_new {
            folder.check_files(&ledgers)?;
        }
        Ok((folder, ledgers))
    }

    /// Removes what says itself that it is not needed, and sets aside what nothing names.
    fn clear_away(&self, ledgers: Vec<String>) -> Result<(), StoreError> {
        for name in names(&self.path)?.iter().filter(|name| is_discarded(name)) {
            let path = self.path.join(name);
            fs::remove_dir_all(&path).map_err(failed("could not remove", &path))?;
        }
        let olders: Vec<String> = olders(&self.path)?.into_iter().map(|older| older.ledger).collect();
        let mut kept = olders.clone();
        if !self.current.is_new {
            kept.push(self.current.ledger.clone());
        }
        if self.is_older() {
            // A migration may have been interrupted.
            kept.push(self.successor_name());
        }
        let replaced = self.replaced();
        for ledger in ledgers.into_iter().filter(|ledger| !kept.contains(ledger)) {
            let path = self.path.join(&ledger);
            let was_never_whole = self.current.is_new && ledger == self.current.ledger;
            if was_never_whole || self.is_copy(&path) || replaced.contains(&ledger) {
                discard(&path)?;
            } else {
                let aside = set_aside(&path, UNEXPLAINED)?;
                tracing::warn!(
                    ledger = ?path,
                    now = ?aside,
                    "Nothing says what this ledger is: it is set aside. Remove it when you know that it is not needed."
                );
            }
        }
        if self.current.is_new || self.is_older() {
            return Ok(());
        }
        let (keeps, replaces) = (self.ledger().join(KEEPS), self.ledger().join(REPLACES));
        if listed(&keeps) != olders {
            fs::write(&keeps, lines(&olders)).map_err(failed("could not write", &keeps))?;
        }
        match fs::remove_file(&replaces) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("could not remove", &replaces)(error))
            }
            _ => Ok(()),
        }
    }

    /// The ledgers from which the current one took over, as it says itself.
    fn replaced(&self) -> Vec<String> {
        let is_unclear = |name: &String| {
            format_of(name).is_some_and(|_| {
                fs::read_to_string(self.path.join(name)).ok().and_then(|text| parse(&text)).is_none()
            })
        };
        if names(&self.path).is_ok_and(|names| names.iter().any(is_unclear)) {
            // It may name any of them.
            return Vec::new();
        }
        [REPLACES, KEEPS].iter().flat_map(|file| listed(&self.ledger().join(file))).collect()
    }

    /// Whether a ledger says that it is to take over from the current one.
    fn is_copy(&self, ledger: &Path) -> bool {
        listed(&ledger.join(REPLACES)).contains(&self.current.ledger)
    }

    /// Whether there is a ledger in a folder, or what is left of one.
    pub fn is_there(path: &Path) -> bool {
        path.join(CURRENT).exists() || ledgers(path).is_ok_and(|ledgers| !ledgers.is_empty())
    }

    /// Whether whoever wrote to a folder last did not close it in order, or has it open.
    pub fn was_killed(path: &Path) -> bool {
        fs::metadata(path.join(LOCK)).is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Whether a folder holds nothing but what a data folder does.
    pub fn has_nothing_else(path: &Path) -> bool {
        let is_ours = |name: &str| {
            let is_ledger = is_ledger(name) || is_discarded(name);
            matches!(name, CURRENT | NEXT | LOCK) || is_ledger || format_of(name).is_some()
        };
        fs::read_dir(path).is_ok_and(|mut entries| {
            entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_ours)))
        })
    }

    /// Locks a data folder in which there is a ledger, and changes nothing in it; `None` when there is none.
    pub fn look(path: &Path) -> Result<Option<DataFolder>, StoreError> {
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
        if current.format < FORMAT {
            return Err(StoreError::OlderFormat {
                path: path.to_owned(),
                found: current.format,
                known: FORMAT,
            });
        }
        let folder =
            DataFolder { path: path.to_owned(), current, unsettled: false, lock: lock(path)?, writes: false };
        folder.check_files(&ledgers)?;
        Ok(Some(folder))
    }

    fn check_files(&self, ledgers: &[String]) -> Result<(), StoreError> {
        check_files(&self.path, &self.current, ledgers)
    }

    /// The folder of the ledger.
    pub fn ledger(&self) -> PathBuf {
        self.path.join(&self.current.ledger)
    }

    /// Whether there is no ledger yet: [`DataFolder::keep`] is called once one was made.
    pub fn is_new(&self) -> bool {
        self.current.is_new
    }

    /// From now on what is in the ledger is worth keeping.
    pub fn keep(&mut self) -> Result<(), StoreError> {
        self.put(Current { is_new: false, ..self.current.clone() })
    }

    /// Whether the ledger is of an older format, and must be brought up to this one.
    pub fn is_older(&self) -> bool {
        self.current.format < FORMAT
    }

    /// The version of the ledger's format.
    pub fn format(&self) -> u32 {
        self.current.format
    }

    /// Where the ledger is brought up to this format: the next folder, where a copy may have been begun.
    pub fn successor(&self) -> PathBuf {
        self.path.join(self.successor_name())
    }

    fn successor_name(&self) -> String {
        format!("{LEDGER}{}", number(&self.current.ledger).saturating_add(1))
    }

    /// Makes the folder of the successor anew. What is there and is no copy that was begun is set aside.
    pub fn clear_successor(&self, was_begun: bool) -> Result<(), StoreError> {
        let path = self.successor();
        if path.exists() && (was_begun || self.is_copy(&path)) {
            discard(&path)?;
        } else if path.exists() {
            let aside = set_aside(&path, UNEXPLAINED)?;
            tracing::warn!(ledger = ?path, now = ?aside, "A ledger was in the way and is set aside.");
        }
        make_next(&path, &lines(std::slice::from_ref(&self.current.ledger)))
    }

    /// Makes the successor, which is whole, the current ledger. The older one stays, under a name of its own.
    ///
    /// # Errors
    ///
    /// The older one is current still.
    pub fn succeed(&mut self) -> Result<(), StoreError> {
        let older = self.current.clone();
        self.write_file(&before(older.format), &older)?;
        point("older_named");
        self.put(Current { format: FORMAT, ledger: self.successor_name(), is_new: false })
    }

    /// Where another ledger can be made, and what it is to take over from: for [`make_next`].
    pub fn next_ledger(&self) -> Result<(PathBuf, String), StoreError> {
        let all = names(&self.path)?;
        // Also what is set aside has a number.
        let digits = |name: &&String| name.starts_with(LEDGER);
        let number_of = |name: &String| {
            let digits: String = name.chars().skip(LEDGER.len()).take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap_or_default()
        };
        let last = all.iter().filter(digits).map(number_of).max().unwrap_or_default();
        let path = self.path.join(format!("{LEDGER}{}", last.saturating_add(1)));
        let mut replaced = self.replaced();
        replaced.push(self.current.ledger.clone());
        replaced.retain(|ledger| self.path.join(ledger).exists());
        replaced.sort();
        replaced.dedup();
        Ok((path, lines(&replaced)))
    }

    /// Makes another ledger the current one.
    ///
    /// # Errors
    ///
    /// The one that was current still is; until [`DataFolder::settle`] if this is [`DataFolder::is_unsettled`].
    pub fn switch(&mut self, ledger: &str) -> Result<(), StoreError> {
        self.put(Current { ledger: ledger.to_owned(), ..self.current.clone() })
    }

    /// Whether `CURRENT` may name another ledger than the current one.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Makes sure that `CURRENT` names the current ledger.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.unsettled {
            self.write_current(&self.current)?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Lets `CURRENT` name a ledger: all that is new goes through here. All of it is on stable storage before.
    fn put(&mut self, next: Current) -> Result<(), StoreError> {
        sync_files(&self.path.join(&next.ledger))?;
        point("ledger_synced");
        if let Err(error) = self.write_current(&next) {
            // It may have been renamed all the same, and only not be durable: then it is renamed back.
            if read_current(&self.path).ok().flatten().as_ref() != Some(&self.current) {
                self.unsettled = true;
                self.settle()?;
            }
            return Err(error);
        }
        point("ledger_named");
        (self.current, self.unsettled) = (next, false);
        Ok(())
    }

    fn write_current(&self, current: &Current) -> Result<(), StoreError> {
        self.write_file(CURRENT, current)
    }

    fn write_file(&self, name: &str, current: &Current) -> Result<(), StoreError> {
        let Current { format, ledger, is_new } = current;
        let text = format!("dnsledger format {format}\n{ledger}\n{}", if *is_new { "new\n" } else { "" });
        let (path, beside) = (self.path.join(name), self.path.join(NEXT));
        let write = || {
            replace_file(&path, &beside, 0o666, text.as_bytes())?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("could not write", &path))
    }
}

/// Makes a folder for its user alone, where there is none; those around it are as the user makes folders.
fn make(path: &Path) -> Result<(), StoreError> {
    if !path.is_dir() {
        if let Some(around) = path.parent().filter(|around| !around.as_os_str().is_empty()) {
            fs::create_dir_all(around).map_err(failed("could not make", around))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.map_err(failed("could not make", path))?,
        }
    }
    private::begin();
    Ok(())
}

/// Closes a folder that others may enter, or whose files others may read. One that this user cannot close is refused.
fn close(path: &Path) -> Result<(), StoreError> {
    if private::close(path).map_err(failed("others may enter, and this user cannot `chmod -R go=`,", path))? {
        tracing::warn!(
            ?path,
            "Others could enter this folder, or read files in it: it is its owner's alone from now on (`chmod -R go=`)."
        );
    }
    Ok(())
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

/// Checks that what a ledger reads and writes is files, and folders of files: a backup of somebody else may have links there, which lead
/// to what is written over then, or pipes, which never end.
fn check_kinds(folder: &Path) -> Result<(), StoreError> {
    for (path, kind) in entries(folder)? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if is_of_ledger(name) || kind.is_dir() && BESIDE.contains(&name) {
            check_kind(&path, kind)?;
        }
    }
    Ok(())
}

/// Whether a name in a data folder is one of what the store reads and writes.
fn is_of_ledger(name: &str) -> bool {
    name.starts_with(CURRENT)
        || name.starts_with(LEDGER)
        || name.starts_with(space::FILE)
        || [LOCK, space::RESERVE].contains(&name)
}

/// Gives what root has made in a data folder of another user to that user: a daemon could not open its ledger any more.
///
/// # Errors
///
/// When it cannot be done.
pub fn give_back(folder: &Path) -> Result<(), StoreError> {
    if !DataFolder::is_there(folder) {
        return Ok(());
    }
    let is_ours = |name: &str| is_of_ledger(name) || BESIDE.contains(&name) || name.starts_with(NOT_READ);
    private::give_back(folder, is_ours).map_err(failed("could not give to its owner what is in", folder))
}

/// Likewise, of one of them and all that is in it.
fn check_kind(path: &Path, kind: FileType) -> Result<(), StoreError> {
    if kind.is_dir() {
        return entries(path)?.iter().try_for_each(|(path, kind)| check_kind(path, *kind));
    }
    let why = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_symlink() => "it is a link; put the file in its place, or remove it",
        () => "it is a pipe, a device or a socket; remove it",
    };
    Err(failed("will not use", path)(std::io::Error::new(ErrorKind::InvalidInput, why)))
}

/// What is in a folder, and its kind, where links are not followed; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, FileType)>, StoreError> {
    let read = || -> std::io::Result<_> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) => entries.push((entry.path(), kind)),
                // It was renamed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(failed("could not read", folder)),
    }
}

/// Reads `CURRENT`; `None` when there is none.
fn read_current(folder: &Path) -> Result<Option<Current>, StoreError> {
    check_kinds(folder)?;
    let path = folder.join(CURRENT);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(damaged(&path.display().to_string(), "it is not text"));
        }
        Err(error) => return Err(failed("could not read", &path)(error)),
    };
    // The first line is the same in every version to come.
    if let Some(found) = first_line(&text).filter(|found| *found > FORMAT) {
        let olders = olders(folder)?;
        let known = olders.iter().rfind(|older| older.format <= FORMAT);
        let before = known.map(|older| before(older.format));
        return Err(StoreError::NewerFormat { path: folder.to_owned(), found, known: FORMAT, before });
    }
    let why = "it does not name a format and a ledger";
    parse(&text).map(Some).ok_or_else(|| damaged(&path.display().to_string(), why))
}

/// The version of the format of the ledger in a folder; `None` when there is none, or it was never whole.
pub fn format(folder: &Path) -> Result<Option<u32>, StoreError> {
    Ok(read_current(folder)?.filter(|current| !current.is_new).map(|current| current.format))
}

/// Checks that what `CURRENT` names is there.
pub fn check(folder: &Path) -> Result<(), StoreError> {
    match read_current(folder)?.filter(|current| !current.is_new) {
        Some(current) => check_files(folder, &current, &ledgers(folder)?),
        None => Ok(()),
    }
}

/// Files without which there is no ledger.
fn files(ledger: &Path) -> [PathBuf; 2] {
    [ledger.join("conf"), ledger.join("db")]
}

fn check_files(folder: &Path, current: &Current, ledgers: &[String]) -> Result<(), StoreError> {
    let missing = files(&folder.join(&current.ledger)).into_iter().find(|file| !file.exists());
    let Some(missing) = missing else { return Ok(()) };
    let others: Vec<String> = ledgers.iter().filter(|ledger| **ledger != current.ledger).cloned().collect();
    let why = match others.as_slice() {
        [] => "it is missing".to_owned(),
        _ => format!("it is missing, and there is a {}; nothing was removed", others.join(" and a ")),
    };
    Err(damaged(&missing.display().to_string(), &why))
}

fn first_line(text: &str) -> Option<u32> {
    text.lines().next()?.strip_prefix("dnsledger format ")?.parse().ok()
}

/// Parses `CURRENT`, or a copy of it.
fn parse(text: &str) -> Option<Current> {
    // There never was a format 0.
    let format = first_line(text).filter(|format| *format > 0)?;
    let mut lines = text.strip_suffix('\n')?.split('\n').skip(1);
    let ledger = lines.next().filter(|name| is_ledger(name))?.to_owned();
    let is_new = match (lines.next(), lines.next()) {
        (None, None) => false,
        (Some("new"), None) => true,
        _ => return None,
    };
    Some(Current { format, ledger, is_new })
}

/// The ledgers that were kept when they were brought up to a newer format, as far as they are there; the newest format last.
/// Newer ones than this version knows are among them, if somebody has gone back by more than one.
fn olders(folder: &Path) -> Result<Vec<Current>, StoreError> {
    let mut olders = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("could not read", folder))? {
        let name = entry.map_err(failed("could not read", folder))?.file_name();
        let format = name.to_str().and_then(format_of);
        // One that makes no sense names nothing, and keeps nobody from the ledger that is current.
        let older = format.and_then(|_| parse(&fs::read_to_string(folder.join(&name)).ok()?));
        olders.extend(
            older.filter(|older| Some(older.format) == format && folder.join(&older.ledger).is_dir()),
        );
    }
    olders.sort_by_key(|older| older.format);
    Ok(olders)
}

/// Ledgers kept from before a migration to this format: for each the file to remove to discard it, and the folder that goes
/// with it.
pub fn kept_before(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let olders = olders(folder).unwrap_or_default().into_iter();
    olders.map(|older| (folder.join(before(older.format)), folder.join(&older.ledger))).collect()
}

/// The name of the file that names the ledger as it was in an older format.
pub fn before(format: u32) -> String {
    format!("{BEFORE}{format}")
}

/// The format in the name of such a file.
fn format_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix(BEFORE)?;
    number.parse().ok().filter(|format: &u32| format.to_string() == number)
}

/// The number of a ledger.
fn number(ledger: &str) -> u64 {
    ledger.strip_prefix(LEDGER).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn is_ledger(name: &str) -> bool {
    name.strip_prefix(LEDGER)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether this is a ledger that is being removed.
fn is_discarded(name: &str) -> bool {
    name.starts_with(LEDGER) && name.ends_with(DISCARDED)
}

/// The names of all that is in a folder, as far as they are UTF-8; in order.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("could not read", folder))? {
        names.extend(entry.map_err(failed("could not read", folder))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The names of the ledgers in a folder.
fn ledgers(folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = names(folder)?;
    names.retain(|name| is_ledger(name));
    Ok(names)
}

/// The ledgers that a file in a ledger names.
fn listed(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|name| is_ledger(name)).map(str::to_owned).collect()
}

fn lines(names: &[String]) -> String {
    names.iter().flat_map(|name| [name.as_str(), "\n"]).collect()
}

/// Makes the folder of another ledger, with the note of what it is to take over from.
pub(crate) fn make_next(path: &Path, replaces: &str) -> Result<(), StoreError> {
    let make = || {
        fs::create_dir(path)?;
        let mut file = File::create(path.join(REPLACES))?;
        file.write_all(replaces.as_bytes())?;
        file.sync_all()?;
        File::open(path)?.sync_all()
    };
    make().map_err(failed("could not make", path))
}

/// Removes a ledger. It has another name before anything of it is gone: what is left by a crash is known by that.
pub(crate) fn discard(ledger: &Path) -> Result<(), StoreError> {
    let path = set_aside(ledger, DISCARDED)?;
    fs::remove_dir_all(&path).map_err(failed("could not remove", &path))
}

/// Gives a ledger a name that nothing takes for one that is in use.
fn set_aside(ledger: &Path, ending: &str) -> Result<PathBuf, StoreError> {
    let around = ledger.parent().unwrap_or(Path::new("."));
    let name = ledger.file_name().unwrap_or_default().to_string_lossy();
    // Nothing that is there is replaced.
    let free = (1..=u32::MAX)
        .map(|time| match time {
            1 => around.join(format!("{name}{ending}")),
            _ => around.join(format!("{name}-{time}{ending}")),
        })
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| around.join(format!("{name}{ending}")));
    fs::rename(ledger, &free).map_err(failed("could not rename", ledger))?;
    sync(around)?;
    Ok(free)
}

/// Unused ledgers that were set aside in a data folder.
pub fn set_asides(folder: &Path) -> Vec<PathBuf> {
    let names = names(folder).unwrap_or_default().into_iter();
    let is_aside =
        |name: &String| name.starts_with(LEDGER) && (name.ends_with(UNEXPLAINED) || name.ends_with(DAMAGED));
    names.filter(is_aside).map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests;
