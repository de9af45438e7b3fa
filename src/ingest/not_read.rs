//! Archives that somebody wanted to import and that could not be read, or not to their end: who asks later must hear of them, until they
//! are read or somebody says that they are not missed.
//!
//! They are kept in a file beside the ledger. Only who has the ledger writes it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::STANDARD_INPUT;
use crate::base::clock::now;
use crate::base::replace::replace_file;
use crate::output::sanitise;
use crate::status::shown_path;

/// The file, beside the ledger.
const NAME: &str = "not-read.json";
/// Archives that are kept; those beyond are counted.
const MOST: usize = 1000;
/// Characters of a path, and of a reason, that are kept.
const MOST_CHARS: usize = 4096;
/// Bytes of the file that are read.
const MOST_BYTES: u64 = 32 << 20;

/// Archives that could not be read. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct NotRead(Arc<Mutex<NotReadFile>>);

impl PartialEq for NotRead {
    fn eq(&self, other: &NotRead) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug, Default)]
struct NotReadFile {
    /// Where the file is; nowhere in a ledger that is not kept.
    folder: Option<PathBuf>,
    list: List,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct List {
    /// The archives by their paths, as these are shown.
    archives: BTreeMap<String, Archive>,
    /// How many more there are that are not listed.
    more: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Archive {
    /// Why it could not be read.
    why: String,
    /// When that was, epoch seconds.
    at: u64,
}

impl NotRead {
    /// The archives of the ledger in this folder that could not be read.
    pub fn of(folder: &Path) -> NotRead {
        let list = match read(&folder.join(NAME)) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::NotFound => List::default(),
            // That there was something is all that is known.
            Err(error) => {
                let why = format!("the list of them cannot be read: {error}");
                let archive = Archive { why, at: now() };
                List { archives: [(shown_path(&folder.join(NAME)), archive)].into(), more: 0 }
            }
        };
        NotRead(Arc::new(Mutex::new(NotReadFile { folder: Some(folder.to_owned()), list })))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().list.archives.is_empty()
    }

    /// Takes down what came of an import: which files were to be read, and which of them could not be.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn take(&self, files: &[PathBuf], failed: &[&(PathBuf, String)]) -> io::Result<()> {
        let mut kept = self.0.lock();
        let mut is_changed = false;
        let is_failed = |path: &PathBuf| failed.iter().any(|(one, _)| one == path);
        if !kept.list.archives.is_empty() {
            for path in files.iter().filter(|path| !is_failed(path)) {
                is_changed |= kept.list.archives.remove(&key(path)).is_some();
            }
        }
        for (path, why) in failed {
            // What came by a pipe cannot be named again.
            if path.as_os_str() == "-" || path.as_os_str() == STANDARD_INPUT {
                continue;
            }
            is_changed = true;
            let archive = Archive { why: why.chars().take(MOST_CHARS).collect(), at: now() };
            let key = key(path);
            if kept.list.archives.len() < MOST || kept.list.archives.contains_key(&key) {
                kept.list.archives.insert(key, archive);
            } else {
                kept.list.more += 1;
            }
        }
        if is_changed { kept.write() } else { Ok(()) }
    }

    /// An archive was read.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn was_read(&self, path: &Path) -> io::Result<()> {
        match self.is_empty() {
            true => Ok(()),
            false => self.take(&[path.to_owned()], &[]),
        }
    }

    /// Forgets an archive, or all in a folder: nobody misses them. How many they were.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn dismiss(&self, path: &Path) -> io::Result<u64> {
        let mut kept = self.0.lock();
        let (key, before) = (key(path), kept.list.archives.len());
        let folder = format!("{}/", key.trim_end_matches('/'));
        kept.list.archives.retain(|path, _| *path != key && !path.starts_with(&folder));
        let dismissed = before - kept.list.archives.len();
        if dismissed > 0 {
            kept.write()?;
        }
        Ok(dismissed as u64)
    }

    /// That there are some, in a sentence.
    pub fn in_words(&self) -> Option<String> {
        let kept = self.0.lock();
        let List { archives, more } = &kept.list;
        let (path, Archive { why, .. }) = archives.first_key_value()?;
        let (path, why) = (sanitise(path), sanitise(why));
        Some(match archives.len() as u64 + more {
            1 => format!(
                "An archive that was to be imported could not be read whole, {path}: {why}. Import it again; or, where it is not missed: \
                 `dnsledger import --dismiss {path}`."
            ),
            all => format!(
                "{all} archives that were to be imported could not be read whole, the first is {path}: {why}. Import them again; or, where \
                 one or a folder of them is not missed: `dnsledger import --dismiss PATH`."
            ),
        })
    }
}

impl NotReadFile {
    fn write(&mut self) -> io::Result<()> {
        if self.list.archives.is_empty() {
            self.list.more = 0;
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        let (path, beside) = (folder.join(NAME), folder.join(format!("{NAME}.new")));
        if self.list.archives.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        replace_file(&path, &beside, 0o666, &serde_json::to_vec(&self.list)?)
    }
}

fn read(path: &Path) -> io::Result<List> {
    if fs::metadata(path)?.len() > MOST_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// A path as it is kept, from the root.
fn key(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    shown_path(&path).chars().take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_kept_until_it_is_read_or_dismissed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| PathBuf::from(format!("/logs/{name}"));
        let failed = |name: &str| (path(name), "it ends too early".to_owned());
        let not_read = NotRead::of(folder.path());
        assert_eq!(not_read.in_words(), None);
        let all = [path("a.gz"), path("b.gz"), path("c/d.gz")];
        not_read.take(&all, &[&failed("a.gz"), &failed("c/d.gz"), &failed("c/e.gz")]).unwrap();
        let said = NotRead::of(folder.path()).in_words().unwrap();
        assert!(said.starts_with("3 archives") && said.contains("/logs/a.gz: it ends too early"), "{said}");
        not_read.take(&all, &[&failed("c/d.gz")]).unwrap();
        assert_eq!(not_read.dismiss(Path::new("/logs/b.gz")).unwrap(), 0);
        assert_eq!(not_read.dismiss(Path::new("/logs/c")).unwrap(), 2);
        assert!(NotRead::of(folder.path()).is_empty() && !folder.path().join(NAME).exists());
        // More than are kept are counted, and a file that is none is said to be.
        let many: Vec<_> = (0..MOST + 5).map(|at| failed(&format!("{at}.gz"))).collect();
        not_read.take(&[], &many.iter().collect::<Vec<_>>()).unwrap();
        assert!(NotRead::of(folder.path()).in_words().unwrap().starts_with("1005 archives"));
        fs::write(folder.path().join(NAME), "{").unwrap();
        assert!(NotRead::of(folder.path()).in_words().unwrap().contains("cannot be read"));
    }
}
