//! How pulling a feed goes: a note beside the feed, which who pulls writes and the daemon shows.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::folder::{FeedFolder, WatchError, check_name};
use crate::base::replace::replace_file;

/// The end of the file of a note, and of the folder of what was pulled.
const NOTE: &str = "pull";
const KEPT: &str = "pulled";
/// Bytes of a note at most.
const MAX_NOTE: u64 = 64 << 10;

/// How pulling a feed goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PullNote {
    /// When it was tried last, epoch seconds.
    pub tried_at: u64,
    /// When it was pulled last, also where nothing had changed; 0 is never.
    pub pulled_at: u64,
    /// Pulls that failed since.
    pub failures: u64,
    /// Why the last one failed, if it did.
    pub error: Option<String>,
    /// What is to be said of the last one that went well.
    pub remark: Option<String>,
    /// A number of what it was pulled from and how: of another one nothing below holds.
    pub settings: u64,
    /// What the server called that content.
    pub etag: Option<String>,
    /// When it had changed last, in the server's words.
    pub last_modified: Option<String>,
    /// What has changed since then is asked for next.
    pub since: Option<String>,
    /// When all of it was asked for last, epoch seconds.
    pub full_at: u64,
}

/// How pulling goes, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullStatus {
    /// When it was pulled last, epoch seconds; 0 is never.
    pub pulled_at: u64,
    /// When it was tried last.
    pub tried_at: u64,
    /// Pulls that failed since.
    pub failures: u64,
    /// Why the last one failed, if it did.
    pub error: Option<String>,
    /// What is to be said of the last one that went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

impl From<PullNote> for PullStatus {
    fn from(note: PullNote) -> PullStatus {
        let PullNote { pulled_at, tried_at, failures, error, remark, .. } = note;
        PullStatus { pulled_at, tried_at, failures, error, remark }
    }
}

impl FeedFolder {
    /// How pulling a feed goes; nothing where it was never pulled.
    pub fn pull_note(&self, name: &str) -> PullNote {
        let read = || -> io::Result<PullNote> {
            let path = self.file(name, NOTE);
            if fs::metadata(&path)?.len() > MAX_NOTE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(serde_json::from_slice(&fs::read(path)?)?)
        };
        // One that is damaged is worth nothing: all is pulled again.
        read().unwrap_or_default()
    }

    /// Writes the note on how pulling a feed goes.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn note_pull(&self, name: &str, note: &PullNote) -> Result<(), WatchError> {
        check_name(name)?;
        let (path, part) = (self.file(name, NOTE), self.file(name, "pull-part"));
        let write = || {
            fs::create_dir_all(self.path())?;
            replace_file(&path, &part, 0o666, &serde_json::to_vec(note)?)
        };
        write().map_err(|error| WatchError::Io { path: path.clone(), error })
    }

    /// The folder of what was pulled of a feed whose source is asked for what has changed only.
    pub fn pulled(&self, name: &str) -> PathBuf {
        self.file(name, KEPT)
    }

    /// Forgets how pulling went, and what was pulled.
    pub(super) fn forget_pull(&self, name: &str) {
        drop(fs::remove_file(self.file(name, NOTE)));
        drop(fs::remove_dir_all(self.pulled(name)));
    }
}
