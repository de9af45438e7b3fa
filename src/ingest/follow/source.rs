//! One source, as its follower, the readers of its archives and status share it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::base::liveness::Liveness;
use crate::ingest::worker::READ_ELSEWHERE;
use crate::ingest::{SourceConfig, shown};
use crate::progress::LineageId;
use crate::status::{BackfillStatus, SourceState, UnreadKind, UnreadSet};
use crate::store::{Pair, StoreError, WriteStore};
use crate::tail::discover::{FoundFile, Stamp};
use crate::tail::wake::Wake;

/// One source, as its follower and status share it.
pub(super) struct FollowedSource {
    pub(super) config: SourceConfig,
    pub(super) state: Mutex<SourceProgress>,
    /// Wakes its follower.
    pub(super) wakeup: Mutex<Option<SyncSender<Wake>>>,
    /// Whether its follower gets on.
    pub(super) following: Liveness,
}

/// How a source stands.
#[derive(Default)]
pub(super) struct SourceProgress {
    pub(super) state: SourceState,
    /// Why the source itself cannot be looked through.
    pub(super) reason: Option<String>,
    /// What makes reading slower, and loses nothing.
    pub(super) notice: Option<String>,
    /// What the last look through the source saw and nobody reads.
    pub(super) seen: UnreadSet,
    /// What could not be read when it was tried.
    pub(super) failed: UnreadSet,
    /// When everything visible had been read, epoch milliseconds; from an earlier run until this one has caught up.
    pub(super) as_of_ms: Option<u64>,
    /// The same as the ledger has it for the next run.
    pub(super) kept_as_of_ms: Option<u64>,
    /// Whether there is nothing left that could be read now.
    pub(super) settled: bool,
    /// Whether everything visible is read.
    pub(super) caught_up: bool,
    pub(super) lag_bytes: u64,
    /// Archives that were queued or read, as they were then: none of them is met again unless it changes.
    pub(super) met: HashMap<PathBuf, Stamp>,
    /// Logs that a damaged archive holds only a part of, and why that is.
    pub(super) parts: HashMap<PathBuf, (LineageId, String)>,
    /// Archives that could not be read, and when to try again.
    pub(super) troubled: HashMap<PathBuf, Instant>,
    /// Archives of logs that are followed live, and when to try again.
    pub(super) shadowed: HashMap<PathBuf, Instant>,
    /// Whether an archive was given back since the last look through the source.
    pub(super) unsettled: bool,
    /// Queued and not read yet.
    pub(super) pending: u64,
    pub(super) backfill: BackfillStatus,
    pub(super) pace: Pace,
}

/// Why a file is not read, or not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kind: UnreadKind,
    pub(super) reason: String,
    /// The log that is not read to its end in it.
    pub(super) lineage: Option<LineageId>,
}

impl Verdict {
    /// A form that can be kept.
    fn to_bytes(&self) -> Vec<u8> {
        let lineage = self.lineage.map_or([0; 16], |lineage| lineage.0);
        [&[self.kind as u8][..], &lineage, self.reason.as_bytes()].concat()
    }

    /// Takes back what [`Verdict::to_bytes`] gave.
    fn from_bytes(bytes: &[u8]) -> Option<Verdict> {
        let (&kind, rest) = bytes.split_first()?;
        let (lineage, reason) = rest.split_first_chunk()?;
        Some(Verdict {
            kind: *UnreadKind::ALL.get(usize::from(kind))?,
            reason: std::str::from_utf8(reason).ok()?.to_owned(),
            lineage: (*lineage != [0; 16]).then_some(LineageId(*lineage)),
        })
    }
}

/// For how long archives were read, so that rates do not sink while there are none.
#[derive(Default)]
pub(super) struct Pace {
    /// The time of the spells that are over.
    before: Duration,
    /// When the present one began.
    since: Option<Instant>,
}

impl Pace {
    pub(super) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn end(&mut self) {
        self.before += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl SourceProgress {
    /// Why the source is not read, or not wholly, or slowly: the gravest reason.
    pub(super) fn gravest(&self) -> Option<String> {
        let unread = || {
            let first = self.failed.gravest().or_else(|| self.seen.gravest())?;
            Some(format!("{}: {}", shown(&first.path), first.reason))
        };
        self.reason.clone().or_else(unread).or_else(|| self.notice.clone())
    }

    /// Whether records may be missing for a file or folder that is not read.
    pub(super) fn misses_files(&self) -> bool {
        self.seen.may_hold_records() || self.failed.may_hold_records()
    }

    /// Takes down why a file is not read, or that it is. Says whether that is new.
    pub(super) fn judge(&mut self, path: &Path, verdict: Option<&Verdict>) -> bool {
        self.parts.remove(path);
        let Some(Verdict { kind, reason, lineage }) = verdict else { return self.failed.remove(path) };
        if let Some(lineage) = lineage.filter(|_| kind.may_hold_records()) {
            self.parts.insert(path.to_owned(), (lineage, reason.clone()));
        }
        self.failed.put(path, *kind, reason)
    }

    /// A log was read to its end: an archive that holds only a part of it hides nothing.
    pub(super) fn completed(&mut self, lineage: &LineageId) {
        let SourceProgress { parts, failed, .. } = self;
        parts.retain(|path, (of, reason)| {
            let is_open = of != lineage;
            if !is_open && failed.contains(path) {
                failed.put(path, UnreadKind::PassedOver, &format!("{reason}{READ_ELSEWHERE}"));
            }
            is_open
        });
    }

    /// Notes that one archive less is to be read.
    pub(super) fn settled_one(&mut self) {
        self.pending -= 1;
        if self.pending == 0 {
            self.pace.end();
        }
    }

    /// An archive that was queued is not read after all.
    pub(super) fn forget(&mut self, job: &Job) {
        self.met.remove(&job.found.path);
        self.settled_one();
        self.backfill.files_total -= 1;
        self.backfill.bytes_total -= job.found.stamp.size;
    }
}

impl FollowedSource {
    /// What the store's hints of this source begin with.
    pub(super) fn hint_key(&self, kind: &[u8]) -> Vec<u8> {
        [kind, b"\0", self.config.logs.as_os_str().as_bytes(), b"\0"].concat()
    }

    /// The hint that an archive was read as it was then.
    pub(super) fn met_hint(&self, path: &Path, stamp: &Stamp) -> Pair {
        let key = [&self.hint_key(b"met"), path.as_os_str().as_bytes()].concat();
        (key, stamp.to_bytes().to_vec())
    }

    /// The hint of the instant before which archives are not read.
    pub(super) fn cut_hint(&self, cut: i128) -> Pair {
        (self.hint_key(b"cut"), cut.to_be_bytes().to_vec())
    }

    /// The key of the hint that a file is not read, or not whole.
    pub(super) fn unread_key(&self, path: &Path) -> Vec<u8> {
        [&self.hint_key(b"unread"), path.as_os_str().as_bytes()].concat()
    }

    /// That hint.
    pub(super) fn unread_hint(&self, path: &Path, stamp: &Stamp, verdict: &Verdict) -> Pair {
        (self.unread_key(path), [&stamp.to_bytes()[..], &verdict.to_bytes()].concat())
    }

    /// Takes up what earlier runs left: which archives were read, and where this source's time begins. That instant is
    /// kept from the first start on, so that later starts read every log after it that is unknown.
    pub(super) fn recall(&self, store: &dyn WriteStore, now_ms: u64) -> Result<Option<i128>, StoreError> {
        let (met_key, cut_key) = (self.hint_key(b"met"), self.hint_key(b"cut"));
        let unread_key = self.hint_key(b"unread");
        let mut unread = Vec::new();
        let as_of_key = self.hint_key(b"as_of");
        let mut cut = None;
        let mut standing = self.state.lock();
        for (key, value) in store.cached()? {
            if key == cut_key {
                cut = value.try_into().ok().map(i128::from_be_bytes);
            } else if key == as_of_key {
                standing.kept_as_of_ms = value.try_into().ok().map(u64::from_be_bytes);
                // Nothing can be true of an instant that is to come: the clock was ahead then.
                standing.as_of_ms = standing.kept_as_of_ms.filter(|as_of| *as_of <= now_ms);
            } else if let Some(path) = key.strip_prefix(met_key.as_slice())
                && let Some(stamp) = Stamp::from_bytes(&value)
            {
                standing.met.insert(PathBuf::from(OsStr::from_bytes(path)), stamp);
            } else if let Some(path) = key.strip_prefix(unread_key.as_slice())
                && let Some((stamp, verdict)) = value.split_at_checked(Stamp::BYTES)
                && let (Some(stamp), Some(verdict)) = (Stamp::from_bytes(stamp), Verdict::from_bytes(verdict))
            {
                unread.push((PathBuf::from(OsStr::from_bytes(path)), stamp, verdict));
            }
        }
        for (path, stamp, verdict) in unread {
            // What has changed since is looked at anew.
            if standing.met.get(&path) == Some(&stamp) {
                standing.judge(&path, Some(&verdict));
                if let Some(lineage) = verdict.lineage
                    && store.lineage(&lineage)?.is_some_and(|progress| progress.complete)
                {
                    standing.completed(&lineage);
                }
            }
        }
        Ok(cut)
    }
}

/// An archive to be read.
pub(super) struct Job {
    pub(super) source: usize,
    pub(super) found: FoundFile,
    /// Why it is not read, or not whole, if so.
    pub(super) verdict: Option<Verdict>,
}
