//! Where feeds are kept: the folder `watch` in the data folder, a file for each.
//!
//! | file | is |
//! |---|---|
//! | `NAME.feed` | the feed |
//! | `NAME.held` | one that shrank by over half or to nothing, and waits to be confirmed or seen so once more |
//! | `NAME.walked` | a number: the content with which history was looked through |
//! | `walking` | how far the walk through history is ([`WalkProgress`]) |
//! | `NAME.pull` | how pulling it goes ([`super::PullNote`]) |
//! | `NAME.pulled/` | what was pulled of it, where its source is asked for what has changed only |

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::feed::{Feed, FeedMeta, FeedWriter};
use super::key;
use super::note::Note;
use super::walk_progress::WalkProgress;
use crate::base::replace::replace_file;
use crate::indicators::{
    self, Action, AllowList, Indicator, ListSummary, Options, ReadError, Reason, Skipped,
};

/// A feed that has fewer indicators may shrink as it likes, but not to nothing.
const SMALL: u64 = 20;
/// The most characters of a feed's name.
const MAX_NAME: usize = 64;

/// Why a feed is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It cannot be called so.
    #[error("{0:?} is not a name for a feed: letters, digits, dots, dashes and underscores, 64 at most")]
    BadName(String),
    /// There is none of this name.
    #[error("unknown feed {0:?}")]
    NoFeed(String),
    /// Nothing of it waits to be confirmed.
    #[error("nothing of a feed {0:?} is held back")]
    NoneHeld(String),
    /// There is nothing in it, where there should be.
    #[error("there is nothing in it, not even a comment")]
    Empty,
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

impl WatchError {
    /// Advice for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            WatchError::BadName(_) => "--feed NAME",
            WatchError::NoFeed(_) => "`dnsledger feeds` lists them",
            WatchError::NoneHeld(_) => "`dnsledger feeds` says which are",
            WatchError::Empty => "what its server says: what was there of it stays in use",
            WatchError::Read(error) => error.hint(),
            WatchError::Io { .. } => "check the data folder, and that this user may write it",
        }
    }
}

/// The result of reading a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The result of reading its list.
    pub taken: ListSummary,
    /// Different indicators before, and now.
    pub before: u64,
    /// Entries there are now, or would be.
    pub entries: u64,
    /// It shrank by over half, and is held back.
    pub held: bool,
}

/// How a feed is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedRules {
    /// How its list is read.
    pub options: Options,
    /// Whether it takes the place of what is there.
    pub replace: bool,
    /// Whether it may shrink by over half.
    pub confirm: bool,
    /// Entries that the source last confirmed before this are left out, epoch seconds.
    pub not_before: u64,
    /// The stamps of its files, so that they are not read again.
    pub source: Option<String>,
    /// Whether one without a line is refused: a server that has nothing to say may be broken.
    pub not_empty: bool,
}

/// The folder of feeds.
#[derive(Debug, Clone)]
pub struct FeedFolder(PathBuf);

/// Whether a feed may be called so.
pub fn check_name(name: &str) -> Result<(), WatchError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(WatchError::BadName(name.chars().take(MAX_NAME).collect()));
    }
    Ok(())
}

impl FeedFolder {
    /// The folder of feeds in a data folder.
    pub fn of(data: &Path) -> FeedFolder {
        FeedFolder(data.join("watch"))
    }

    fn failed(path: &Path) -> impl FnOnce(io::Error) -> WatchError {
        let path = path.to_owned();
        move |error| WatchError::Io { path, error }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str, end: &str) -> PathBuf {
        self.0.join(format!("{name}.{end}"))
    }

    /// The file of a feed.
    pub fn feed(&self, name: &str) -> PathBuf {
        self.file(name, "feed")
    }

    /// The feeds there are, by name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, WatchError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FeedFolder::failed(&self.0)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(FeedFolder::failed(&self.0))?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".feed"))
                && check_name(name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads a feed: adds it to what is there under its name, or puts it in its place in one step.
    ///
    /// # Errors
    ///
    /// On an error the feed stays as it was.
    pub fn import(
        &self,
        name: &str,
        inputs: &mut dyn Iterator<Item = io::Result<Box<dyn Read>>>,
        reading: &FeedRules,
        now: u64,
    ) -> Result<Imported, WatchError> {
        check_name(name)?;
        fs::create_dir_all(&self.0).map_err(FeedFolder::failed(&self.0))?;
        let (path, held) = (self.feed(name), self.file(name, "held"));
        self.sweep(name);
        let beside = self.0.join(format!(".{name}-{}.new", std::process::id()));
        let mut writer = FeedWriter::new(&beside);
        let mut all: Option<ListSummary> = None;
        for input in inputs {
            let mut input = input.map_err(ReadError::from)?;
            let mut too_old = Skipped::default();
            let mut taken = indicators::read(&mut input, &reading.options, &mut |indicator| {
                let Indicator { value, action, reference } = indicator;
                if reference.time.is_some_and(|time| time < reading.not_before) {
                    too_old.add(Reason::Age, reference.line, &value.to_string());
                    return Ok(());
                }
                let mut stored = Vec::with_capacity(64);
                key::push(&value, action, &mut stored);
                writer.push(&stored, &Note::from(reference).to_bytes()).map_err(ReadError::from)
            })?;
            taken.taken = taken.taken.saturating_sub(too_old.of(Reason::Age));
            taken.skipped.merge(&too_old);
            all = Some(match all {
                None => taken,
                Some(mut sum) => {
                    sum.lines += taken.lines;
                    sum.taken += taken.taken;
                    sum.allowed += taken.allowed;
                    sum.skipped.merge(&taken.skipped);
                    sum.left_out.extend(taken.left_out);
                    sum
                }
            });
        }
        let Some(taken) = all else { return Err(WatchError::NoFeed(name.to_owned())) };
        if reading.not_empty && taken.lines == 0 {
            return Err(WatchError::Empty);
        }
        let before = match Feed::open(&path, &mut |_| ()) {
            Ok(feed) => Some(feed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // What is damaged is worth nothing: another takes its place.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && reading.replace => None,
            Err(error) => return Err(FeedFolder::failed(&path)(error)),
        };
        if let Some(feed) = before.as_ref().filter(|_| !reading.replace) {
            let mut failed = None;
            let put = &mut |key: &[u8], note: &[u8]| {
                failed = writer.push(key, note).err();
                failed.is_none()
            };
            feed.each(put).map_err(FeedFolder::failed(&path))?;
            failed.map_or(Ok(()), Err).map_err(FeedFolder::failed(&beside))?;
        }
        let skipped = taken.skipped.iter().map(|(reason, n)| (reason.name().to_owned(), n));
        // Whoever looks at the feeds later hears of these, too.
        let left_out = taken
            .left_out
            .iter()
            .map(|left| (format!("in column {}", left.column), left.names.max(left.addresses)));
        let meta = FeedMeta {
            name: name.to_owned(),
            read_at: now,
            format: taken.format.name().to_owned(),
            title: taken.title.clone(),
            skipped: skipped.chain(left_out).collect(),
            source: reading.source.clone(),
        };
        let written = writer.finish(&meta).map_err(FeedFolder::failed(&beside))?;
        let (entries, before) = (written.entries, before.map_or(0, |feed| feed.entries));
        let shrinks = match entries {
            0 => before > 0,
            _ => before >= SMALL && entries.saturating_mul(2) < before,
        };
        let is_held =
            shrinks && !reading.confirm && !written.resembles(&held).map_err(FeedFolder::failed(&held))?;
        let place = if is_held { &held } else { &path };
        written.flip_to(place).map_err(FeedFolder::failed(place))?;
        if !is_held {
            drop(fs::remove_file(&held));
        }
        Ok(Imported { taken, before, entries, held: is_held })
    }

    /// Removes what imports of a feed have left that were killed: files that are named by processes that are gone.
    fn sweep(&self, name: &str) {
        let before = format!(".{name}-");
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let process = file.to_str().and_then(|file| file.strip_prefix(&before)?.split('.').next());
            let process = process.and_then(|number| number.parse::<u32>().ok());
            if process.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    /// Takes one that is held back.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn confirm(&self, name: &str) -> Result<(), WatchError> {
        check_name(name)?;
        match fs::rename(self.file(name, "held"), self.feed(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(WatchError::NoneHeld(name.to_owned()))
            }
            renamed => renamed.map_err(FeedFolder::failed(&self.0)),
        }
    }

    /// Indicators of one that is held back.
    pub fn held(&self, name: &str) -> Option<FeedMeta> {
        Feed::open(&self.file(name, "held"), &mut |_| ()).ok().map(|feed| feed.meta)
    }

    /// Removes a feed; its hits stay.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn remove(&self, name: &str) -> Result<(), WatchError> {
        check_name(name)?;
        let path = self.feed(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(WatchError::NoFeed(name.to_owned()));
            }
            removed => removed.map_err(FeedFolder::failed(&path))?,
        }
        for end in ["held", "walked"] {
            drop(fs::remove_file(self.file(name, end)));
        }
        self.forget_pull(name);
        Ok(())
    }

    /// Whether history was looked through with this content.
    pub(super) fn is_walked(&self, feed: &Feed) -> bool {
        let noted = fs::read_to_string(self.file(&feed.meta.name, "walked")).unwrap_or_default();
        noted.trim() == format!("{:016x}", feed.id)
    }

    /// Notes that history was looked through with this content.
    pub(super) fn walked(&self, feed: &Feed) -> Result<(), WatchError> {
        let (path, part) = (self.file(&feed.meta.name, "walked"), self.file(&feed.meta.name, "walked-part"));
        replace(&path, &part, &format!("{:016x}\n", feed.id))
    }

    /// How far a walk is that was cut short; nothing where none was, or what is noted makes no sense: it is begun anew then.
    pub(super) fn place(&self) -> Option<WalkProgress> {
        serde_json::from_slice(&fs::read(self.0.join("walking")).ok()?).ok()
    }

    /// Notes how far a walk is, whose hits up to there are kept.
    pub(super) fn keep_place(&self, place: &WalkProgress) -> Result<(), WatchError> {
        let text = serde_json::to_string(place).unwrap_or_default();
        replace(&self.0.join("walking"), &self.0.join("walking-part"), &text)
    }

    /// Forgets it: the walk is at its end.
    pub(super) fn forget_place(&self) {
        drop(fs::remove_file(self.0.join("walking")));
    }
}

/// Puts a small file in its place, whole.
fn replace(path: &Path, part: &Path, text: &str) -> Result<(), WatchError> {
    replace_file(path, part, 0o666, text.as_bytes()).map_err(FeedFolder::failed(path))
}

/// Harmless names and networks as text: given directly, or read from files.
///
/// # Errors
///
/// When a file cannot be read.
pub fn expand_allow(allow: &[String]) -> Result<Vec<String>, WatchError> {
    let mut all = Vec::new();
    let options = Options { allow: true, below: Some(true), ..Options::default() };
    for text in allow {
        let path = Path::new(text);
        if !path.is_absolute() {
            all.push(text.clone());
            continue;
        }
        let mut file = fs::File::open(path).map_err(FeedFolder::failed(path))?;
        indicators::read(&mut file, &options, &mut |indicator| {
            all.push(indicator.value.to_string());
            Ok(())
        })?;
    }
    Ok(all)
}

/// Reads what is harmless: names and networks, or files of them.
///
/// # Errors
///
/// When a file cannot be read.
pub fn read_allow(allow: &[String]) -> Result<AllowList, WatchError> {
    let mut list = AllowList::default();
    let options = Options { allow: true, below: Some(true), ..Options::default() };
    for text in allow {
        let path = Path::new(text);
        let mut input: Box<dyn Read> = match path.is_absolute() {
            true => Box::new(fs::File::open(path).map_err(FeedFolder::failed(path))?),
            false => Box::new(io::Cursor::new(format!("{text}\n").into_bytes())),
        };
        indicators::read(&mut input, &options, &mut |indicator| {
            if indicator.action == Action::Allow {
                list.add(&indicator.value);
            }
            Ok(())
        })?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_was_said_too_long_ago_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = FeedFolder::of(dir.path());
        let text = "domain,last_seen\nnew.example,2026-11-20\nold.example,2025-01-01\n";
        let input: Box<dyn Read> = Box::new(Cursor::new(text.as_bytes().to_vec()));
        let reading = FeedRules { not_before: 1_790_000_000, ..FeedRules::default() };
        let imported = folder.import("bad", &mut [Ok(input)].into_iter(), &reading, 7).unwrap();
        assert_eq!(
            (imported.entries, imported.taken.taken, imported.taken.skipped.of(Reason::Age)),
            (1, 1, 1)
        );
    }
}
