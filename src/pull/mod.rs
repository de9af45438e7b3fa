//! Pulling feeds: what servers say is bad is got from them, and kept as feeds of [`crate::watch`].
//!
//! - [`list`] gets a list, whatever its format, if it has changed;
//! - [`misp_feed`], [`misp`] and [`taxii`] get of a feed of MISP, of a MISP and of a collection of TAXII what has changed; [`spool`] keeps what
//!   they have got, for each time all of it is read;
//! - [`remote`] is a server: keys, redirects, times and bounds.
//!
//! The daemon opens no connection, so this is a process of its own, `dnsledger feeds pull`. It puts a feed together beside its place and
//! flips it there in one step, as an import does; the daemon takes up what has changed. A pull that fails changes nothing but the
//! note that says so.

pub mod answer;
mod list;
mod misp;
mod misp_feed;
mod remote;
mod spool;
mod taxii;

pub use spool::Arrived;

use std::fs::{self, File};
use std::hash::Hasher;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::Xxh3;

use crate::http::client::ClientError;
use crate::http::fetch::Location;
use crate::indicators::Format;
use crate::watch::{Feed, FeedFolder, FeedRules, Imported, PullNote, WatchError};
use remote::Remote;
use spool::Spool;

/// How long one feed may take.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// How long an answer may take to begin, and to go on.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a pull that failed is tried again: twice as late each time.
const AFTER_FAILURE: u64 = 5 * 60;
/// After so long what is kept is read again where what is old is left out.
const READ_AGAIN: u64 = 86_400;

/// The kind of server a feed is pulled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerKind {
    /// A list in any format.
    #[default]
    List,
    /// A feed of MISP: a manifest and events.
    MispFeed,
    /// A MISP, by its REST API.
    Misp,
    /// A collection of TAXII 2.1.
    Taxii,
}

impl ServerKind {
    /// All of them.
    pub const ALL: [ServerKind; 4] =
        [ServerKind::List, ServerKind::MispFeed, ServerKind::Misp, ServerKind::Taxii];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::List => "list",
            ServerKind::MispFeed => "misp-feed",
            ServerKind::Misp => "misp",
            ServerKind::Taxii => "taxii",
        }
    }

    /// Whether a key is sent as it is, without a word before it.
    fn takes_bare_key(self) -> bool {
        self == ServerKind::Misp
    }

    /// The one that is called so.
    pub fn from_name(name: &str) -> Option<ServerKind> {
        ServerKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where a feed is pulled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSource {
    /// The feed.
    pub name: String,
    /// Where it is.
    pub url: Location,
    /// The kind of server.
    pub kind: ServerKind,
    /// The collection of TAXII, by id, title or alias; empty where there is only one.
    pub collection: String,
    /// Further terms of a search in MISP, as a JSON object; empty for none.
    pub search: String,
    /// The user, where the key is a password.
    pub user: String,
    /// The file with the key; empty for none.
    pub key_file: PathBuf,
    /// The header that the key is sent in; empty for `Authorization`.
    pub key_header: String,
    /// The certificates that are trusted instead of those of the system; empty for those.
    pub ca: PathBuf,
    /// How often it is pulled.
    pub every: Duration,
}

impl FeedSource {
    /// A number that another source, or another way to read it, would not have.
    fn settings(&self, reading: &FeedRules) -> u64 {
        let mut hash = Xxh3::new();
        // The location as text does not have the search and the options.
        let same = FeedSource { every: Duration::ZERO, ..self.clone() };
        hash.update(format!("{same:?} {:?}", reading.options).as_bytes());
        hash.finish()
    }

    /// Whether it is time to pull it.
    pub fn is_due(&self, note: &PullNote, now: u64) -> bool {
        let again = AFTER_FAILURE.saturating_mul(1 << note.failures.saturating_sub(1).min(10));
        let every = match note.failures {
            0 => self.every.as_secs(),
            _ => again.min(self.every.as_secs()),
        };
        // A clock that was set back delays nothing.
        note.tried_at > now || now - note.tried_at >= every
    }
}

/// The result of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// Nothing has changed since the last one.
    Unchanged,
    /// It was read.
    Imported(Box<Imported>),
}

impl Pulled {
    /// Whether it is held back: then the same is to be seen once more.
    fn is_held(&self) -> bool {
        matches!(self, Pulled::Imported(imported) if imported.held)
    }
}

/// Why a feed could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The server could not be reached, or the connection broke.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server answered, and not with what was asked for.
    #[error("{at} answered {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Answered {
        /// The URL that was asked.
        at: String,
        /// The status of HTTP.
        status: u16,
        /// The server's message.
        said: String,
    },
    /// It leads elsewhere.
    #[error("{at} leads to {to:?}, and {why}: it is not followed")]
    Redirect {
        /// The URL that was asked.
        at: String,
        /// Where it leads.
        to: String,
        /// Why that is refused.
        why: &'static str,
    },
    /// The answer is not what such a server gives.
    #[error("{at}: {what}")]
    Unexpected {
        /// The URL that was asked.
        at: String,
        /// The reason.
        what: String,
    },
    /// The key cannot be read.
    #[error("the key in {}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// It took too long.
    #[error("it took longer than 30 minutes")]
    Late,
    /// The feed was pulled, and cannot be used or stored.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl PullError {
    /// Advice for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            PullError::Client(ClientError::Trust(_)) => "ca of the feed names a PEM file with certificates",
            PullError::Client(_) => "the url of the feed, and whether this machine reaches it",
            PullError::Answered { status: 401 | 403, .. } => "the key in key_file of the feed",
            PullError::Answered { .. } | PullError::Late => "it again later; what was there stays in use",
            PullError::Redirect { .. } => "the url where it is now",
            PullError::Unexpected { .. } => "kind and url of the feed",
            PullError::Key { .. } => "a file with the key alone, which the user dnsledger may read",
            PullError::Watch(error) => error.hint(),
        }
    }
}

/// One pull.
struct Pull<'a> {
    folder: &'a FeedFolder,
    source: &'a FeedSource,
    reading: &'a FeedRules,
    remote: Remote<'a>,
    note: PullNote,
    /// Whether what the server said last still holds: all of it is asked for otherwise.
    goes_on: bool,
    now: u64,
}

/// Pulls a feed if it has changed, and notes how that went.
///
/// # Errors
///
/// On an error the feed stays as it was, and in use.
pub fn pull(
    folder: &FeedFolder,
    source: &FeedSource,
    reading: &FeedRules,
    now: u64,
) -> Result<Pulled, PullError> {
    let before = folder.pull_note(&source.name);
    let reading = FeedRules { replace: true, not_empty: true, ..reading.clone() };
    let settings = source.settings(&reading);
    let feed = Feed::open(&folder.feed(&source.name), &mut |_| ()).ok();
    let is_old = |feed: &Feed| reading.not_before > 0 && now.saturating_sub(feed.meta.read_at) > READ_AGAIN;
    // A feed that is held back is to be shown again, even if unchanged.
    let goes_on = before.settings == settings
        && folder.held(&source.name).is_none()
        && feed.as_ref().is_some_and(|feed| !is_old(feed));
    let note = match goes_on {
        true => before.clone(),
        false => PullNote {
            settings,
            failures: before.failures,
            pulled_at: before.pulled_at,
            ..PullNote::default()
        },
    };
    drop(feed);
    let pulled = Remote::new(source, Instant::now() + LONGEST).and_then(|remote| {
        let mut pull = Pull { folder, source, reading: &reading, remote, note, goes_on, now };
        let pulled = match source.kind {
            ServerKind::List => pull.list(),
            ServerKind::MispFeed => pull.misp_feed(),
            ServerKind::Misp => pull.misp(),
            ServerKind::Taxii => pull.taxii(),
        };
        pulled.map(|pulled| (pulled, pull.note))
    });
    let (result, note) = match pulled {
        Ok((pulled, note)) => {
            let note = PullNote { tried_at: now, pulled_at: now, failures: 0, error: None, ..note };
            (Ok(pulled), note)
        }
        Err(error) => {
            let (failures, said) = (before.failures + 1, Some(shown(&error)));
            (Err(error), PullNote { tried_at: now, failures, error: said, ..before })
        }
    };
    folder.note_pull(&source.name, &note)?;
    result
}

/// An error as it is kept: printable, and no longer than is read.
fn shown(error: &PullError) -> String {
    let text = error.to_string();
    text.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Pull<'_> {
    /// Reads what was pulled into the feed.
    fn import(
        &mut self,
        inputs: &mut dyn Iterator<Item = io::Result<Box<dyn io::Read>>>,
        format: Option<Format>,
    ) -> Result<Pulled, PullError> {
        let mut reading = self.reading.clone();
        reading.options.format = format.or(reading.options.format);
        let imported = self.folder.import(&self.source.name, inputs, &reading, self.now)?;
        drop(fs::remove_file(self.unread()));
        Ok(Pulled::Imported(Box::new(imported)))
    }

    /// A file that is there while the feed lacks something of what was pulled: a pull may be killed before all of it is read.
    fn unread(&self) -> PathBuf {
        self.folder.pulled(&self.source.name).join("unread")
    }

    /// Says that what was pulled is about to change; and whether it has been so since before.
    fn change(&self) -> Result<bool, PullError> {
        let path = self.unread();
        let make = || {
            fs::create_dir_all(self.folder.pulled(&self.source.name))?;
            match File::options().create_new(true).write(true).open(&path) {
                Ok(file) => file.sync_all().map(|()| false),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
                Err(error) => Err(error),
            }
        };
        Ok(make().map_err(|error| WatchError::Io { path: path.clone(), error })?)
    }

    /// Takes what arrived of a source that is asked for what has changed, and reads all of it if that is to be read.
    fn import_spool(
        &mut self,
        spool: &Spool,
        arrived: Arrived,
        whole: bool,
        format: Format,
    ) -> Result<Pulled, PullError> {
        let was_unread = self.change()?;
        // A damaged spool is pulled again.
        let changed = spool.merge(arrived, whole).inspect_err(|_| spool.clear())?;
        if !changed && self.goes_on && !was_unread {
            drop(fs::remove_file(self.unread()));
            return Ok(Pulled::Unchanged);
        }
        let file = Box::new(spool.open()?) as Box<dyn io::Read>;
        self.import(&mut [Ok(file)].into_iter(), Some(format))
    }

    /// A path below the one of the source.
    fn below(&self, path: &str) -> Location {
        let url = &self.source.url;
        let target = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.with_target(&target)
    }
}

/// Lets one process pull at a time: held while it is there, and `None` where another pulls.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn alone(folder: &FeedFolder) -> Result<Option<File>, WatchError> {
    let path = folder.path().join(".pull.lock");
    let lock = || -> io::Result<Option<File>> {
        fs::create_dir_all(folder.path())?;
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    };
    lock().map_err(|error| WatchError::Io { path: path.clone(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_tried_again_soon_and_then_less_often() {
        let source = FeedSource {
            name: "a".to_owned(),
            url: Location::parse("https://list.example/").unwrap(),
            kind: ServerKind::List,
            collection: String::new(),
            search: String::new(),
            user: String::new(),
            key_file: PathBuf::new(),
            key_header: String::new(),
            ca: PathBuf::new(),
            every: Duration::from_secs(3600),
        };
        let tried = |failures: u64| PullNote { tried_at: 100_000, failures, ..PullNote::default() };
        for (failures, after, is_due) in [
            (0, 3599, false),
            (0, 3600, true),
            (1, 299, false),
            (1, 300, true),
            (2, 599, false),
            (2, 600, true),
            (900, 3599, false),
            (900, 3600, true),
        ] {
            assert_eq!(source.is_due(&tried(failures), 100_000 + after), is_due, "{failures} {after}");
        }
        assert!(source.is_due(&tried(0), 99_000), "the clock was set back");
        assert!(source.is_due(&PullNote::default(), 1_780_000_000));
    }
}
