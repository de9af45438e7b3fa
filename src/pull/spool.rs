//! What was pulled of a source that is asked for what has changed only: its objects, one a line, each once and the newest.
//!
//! A line is JSON that [`crate::indicators`] reads, with what the object is called, and since when it is so, before it:
//! `{"id":"…","at":1780000000,"objects":[{…}]}`, or an `Attribute` of MISP.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::PullError;
use crate::indicators::MAX_BYTES;
use crate::watch::WatchError;

/// Bytes that keeping an object takes beside its text, about.
const PLACE: usize = 96;

/// What came of a server, by what it is called: since when it is so, and its line.
#[derive(Default)]
pub struct Arrived {
    lines: BTreeMap<String, (u64, String)>,
    bytes: u64,
}

impl Arrived {
    /// Adds an object, which is a line; how it is wrapped says `wrap`. Of two of one name the newer stays, and of two of one time the later. Says
    /// whether the name is new here.
    ///
    /// # Errors
    ///
    /// When there is no room for more.
    pub fn add(
        &mut self,
        at: &str,
        id: &str,
        time: u64,
        wrap: &str,
        object: &str,
    ) -> Result<bool, PullError> {
        let list = if wrap == "objects" { ["[", "]"] } else { ["", ""] };
        let line =
            format!("{{\"id\":{},\"at\":{time},\"{wrap}\":{}{object}{}}}", Value::from(id), list[0], list[1]);
        let known = self.lines.get(id);
        if known.is_some_and(|(before, _)| *before > time) {
            return Ok(false);
        }
        let is_new = known.is_none();
        self.bytes += (id.len() + line.len() + PLACE) as u64;
        if self.bytes > MAX_BYTES {
            let what = format!(
                "it has more than {} MiB; search, or another collection, takes less",
                MAX_BYTES >> 20
            );
            return Err(PullError::Unexpected { at: at.to_owned(), what });
        }
        self.lines.insert(id.to_owned(), (time, line));
        Ok(is_new)
    }

    /// What came, a line of each.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.values().map(|(_, line)| line.as_str())
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The beginning of a line.
#[derive(Deserialize)]
struct Head {
    id: String,
    at: u64,
}

/// The objects of one feed.
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// That in a folder.
    pub fn of(folder: PathBuf) -> Spool {
        Spool { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("objects")
    }

    fn failed(path: &Path) -> impl FnOnce(io::Error) -> PullError {
        let path = path.to_owned();
        move |error| PullError::Watch(WatchError::Io { path, error })
    }

    /// Takes what arrived, into what is there or, where it is `whole`, in its place. Says whether anything is otherwise than before.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written: what is there is as it was then.
    pub fn merge(&self, arrived: Arrived, whole: bool) -> Result<bool, PullError> {
        let (path, part) = (self.path(), self.folder.join("objects.part"));
        let mut new = arrived.lines;
        let mut write = || -> io::Result<bool> {
            fs::create_dir_all(&self.folder)?;
            let mut out = BufWriter::new(File::create(&part)?);
            let mut changed = false;
            match File::open(&path) {
                Ok(file) => {
                    for line in BufReader::new(file).lines() {
                        let line = line?;
                        let head: Head = serde_json::from_str(&line)?;
                        match new.remove(&head.id) {
                            Some((at, newer)) if at >= head.at => {
                                changed |= newer != line;
                                writeln!(out, "{newer}")?;
                            }
                            Some(_) => writeln!(out, "{line}")?,
                            None if whole => changed = true,
                            None => writeln!(out, "{line}")?,
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => changed = true,
                Err(error) => return Err(error),
            }
            changed |= !new.is_empty();
            for (_, line) in new.values() {
                writeln!(out, "{line}")?;
            }
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&part, &path)?;
            Ok(changed)
        };
        write().map_err(Spool::failed(&path))
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn open(&self) -> Result<File, PullError> {
        File::open(self.path()).map_err(Spool::failed(&self.path()))
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.path().exists()
    }

    /// Forgets all of it: what is damaged is pulled again.
    pub fn clear(&self) {
        drop(fs::remove_file(self.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(objects: &[(&str, u64, &str)]) -> Arrived {
        let mut arrived = Arrived::default();
        for (id, at, says) in objects {
            arrived.add("x", id, *at, "objects", &format!("\"{says}\"")).unwrap();
        }
        arrived
    }

    #[test]
    fn each_object_is_there_once_and_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::of(folder.path().join("pulled"));
        let all = || -> Vec<String> {
            let text = io::read_to_string(spool.open().unwrap()).unwrap();
            let said = |line: &str| {
                let line: Value = serde_json::from_str(line).unwrap();
                format!("{} {}", line["id"].as_str().unwrap(), line["objects"][0].as_str().unwrap())
            };
            let mut all: Vec<String> = text.lines().map(said).collect();
            all.sort();
            all
        };
        assert!(!spool.is_there());
        assert!(
            spool
                .merge(arrived(&[("a", 1, "one"), ("b", 1, "two"), ("a", 2, "three"), ("a", 1, "old")]), true)
                .unwrap()
        );
        assert_eq!(all(), ["a three", "b two"]);
        assert!(!spool.merge(arrived(&[("b", 1, "two")]), false).unwrap(), "nothing is otherwise");
        assert!(spool.merge(arrived(&[("b", 3, "four"), ("c", 1, "five"), ("a", 1, "old")]), false).unwrap());
        assert_eq!(all(), ["a three", "b four", "c five"]);
        assert!(spool.merge(arrived(&[("c", 1, "five")]), true).unwrap(), "what is gone goes");
        assert_eq!(all(), ["c five"]);
    }
}
