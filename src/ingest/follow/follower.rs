//! The follower of one source: it reads live logs, and finds archives for others to read.

mod live;
mod pairs;
mod scan;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

use super::source::FollowedSource;
use super::{LONGEST_STEP, LedgerUser, Shared};
use crate::base::descriptors;
use crate::ingest::intake::Intake;
use crate::ingest::paired_logs::LogPair;
use crate::ingest::probe::LOOK_BYTES;
use crate::ingest::{shown, why_unreadable};
use crate::status::{SourceState, Unread, UnreadKind, UnreadSet};
use crate::store::StoreError;
use crate::store::batch::Batch;
use crate::tail::discover::{FoundFile, Stamp};
use crate::tail::followed::Followed;
use crate::tail::wake::{Alarm, LOST_EVENTS, Wake};

/// Bytes of a live log that are read at a time.
const LIVE_CHUNK_BYTES: usize = 32 << 10;
/// The longest time between two looks through a whole source.
const LONGEST_SCAN_PAUSE: Duration = Duration::from_secs(30);
/// One of no more bytes is looked at again whenever it has grown.
const LOOKED_AT_OFTEN: u64 = 64 << 10;
/// How many files are named at the start that an earlier run could not read; the status lists all.
const TOLD_AGAIN: usize = 10;
/// How often it is logged how far the archives are.
const TELL_PAUSE: Duration = Duration::from_secs(10);
/// How much longer than a look through a source took it is left alone when files come and go all the time.
const SCAN_SHARE: u32 = 4;
/// Looks that come soon after each other are not put off as long as they do not add up to more than this.
const SCAN_BURST: Duration = Duration::from_millis(100);
/// Looks through a source in a row: each may find folders that are to be listened to, and need another one.
const SCANS_AT_ONCE: usize = 4;
/// How often it is looked whether a log that is held back may be read.
const HELD_PAUSE: Duration = Duration::from_millis(50);

/// A live log that is not held open: nothing was written to it for long, or it is closed.
struct Resting {
    /// As it was when it was read to its end.
    stamp: Stamp,
    /// Its header, should the same file lose it.
    header: Option<Vec<u8>>,
}

/// A live log being followed.
pub(super) struct Live {
    file: Followed,
    intake: Intake,
    /// When it last grew, or went from its path.
    last_change: Instant,
    gone: bool,
    /// Another file at its path holds the same log (rsync replaces files so): there is nothing to wait for in this one.
    superseded: bool,
    /// Whether it has shown that it is a log.
    is_known: bool,
}

/// A live file that is no DNS log so far.
pub(super) struct NoLog {
    /// Its device and inode.
    identity: (u64, u64),
    /// How many bytes of it were looked at: all that it had, or [`LOOK_BYTES`].
    looked_at: u64,
    /// When it is looked at again though nothing speaks for it, and after which pause.
    pub(super) until: Instant,
    pause: Duration,
}

impl NoLog {
    /// Whether what is at the path would look the same: another file may be a log, and so may one that has grown. What is
    /// small is looked at again with each line, what is not when it is twice as large.
    fn is_still(&self, found: &Stamp) -> bool {
        let grown = found.size.checked_sub(self.looked_at);
        let is_same = self.looked_at >= LOOK_BYTES as u64
            || grown
                .is_some_and(|grown| grown == 0 || found.size > LOOKED_AT_OFTEN && grown < self.looked_at);
        (found.device, found.inode) == self.identity
            && grown.is_some()
            && is_same
            && self.until > Instant::now()
    }
}

/// Follows one source.
pub(super) struct Follower<'a> {
    shared: &'a Shared,
    at: usize,
    source: &'a FollowedSource,
    alarm: Alarm,
    /// When the source is looked through at the latest.
    next_scan: Instant,
    /// Whether something changed since the last look through it.
    changed: bool,
    /// Until then the looks so far are paid for: before it is not looked through again, but for a few looks in a row.
    pub(super) not_before: Instant,
    /// Whether something is listened to since the last look that was not before.
    look_again: bool,
    /// Whether the last look left nothing for later.
    settled: bool,
    /// How often in a row the source could not be looked through.
    failures: u32,
    /// When it was last logged how far the archives are.
    told: Option<Instant>,
    /// Whether it was logged that all of them are read.
    told_all: bool,
    /// Since when archives are being read.
    reading_since: Option<Instant>,
    pub(super) live: Vec<Live>,
    /// Logs that are held open at most.
    pub(super) max_open: usize,
    /// Live logs that are not held open, by the paths at which they were found.
    resting: HashMap<PathBuf, Resting>,
    /// Whether a log waits for another one to be closed.
    waits_for_room: bool,
    /// Paths at which live logs were found.
    live_paths: Vec<PathBuf>,
    /// Those of them that have the names of archives.
    grown: HashSet<PathBuf>,
    /// What was warned of, so that it is said once.
    said: HashMap<PathBuf, String>,
    /// Live files that another reader has, or that cannot be opened, and when to try again.
    pub(super) put_off: HashMap<PathBuf, Instant>,
    /// Live paths that are so by what happens to them, not by their names.
    also_live: HashSet<PathBuf>,
    /// Live files that are no DNS logs so far.
    pub(super) no_logs: HashMap<PathBuf, NoLog>,
    /// Files with the names of live logs that are packed: they are read as archives.
    packed: HashSet<PathBuf>,
    /// Live files that could not be opened or read.
    live_failed: HashSet<PathBuf>,
    /// Archives are read that changed at or after this instant, nanoseconds since the epoch; none before the first look.
    cut: Option<i128>,
    /// Of each Zeek that writes a plain log and a streaming one: what one of them has told.
    pairs: HashMap<PathBuf, Arc<Mutex<LogPair>>>,
    /// Streaming logs that were there before us: plain ones that may hold the same are read first.
    held: HashSet<PathBuf>,
    /// Streaming logs that are rotated, as they were, and whether a plain one holds the same.
    judged: HashMap<PathBuf, (Stamp, bool)>,
    /// Whether the source was looked through.
    is_known: bool,
    /// Plain archives, as the last look found them, where there are streaming logs.
    plain_archives: Vec<FoundFile>,
    buffer: Vec<u8>,
    /// What was read and is not staged yet.
    read: Batch,
    /// When something was staged last.
    staged: Instant,
    /// Whether the ledger refused something in this turn.
    refused: bool,
}

pub(super) fn follow(shared: &Shared, at: usize) {
    let Some(mut follower) = Follower::new(shared, at) else { return };
    let mut wake = Wake::Changed;
    while !shared.stop.is_stopped() {
        follower.source.following.steps(LONGEST_STEP);
        let more = follower.turn(wake);
        let patience = follower.patience();
        follower.source.following.steps(LONGEST_STEP + patience);
        wake = if more { Wake::Poll } else { follower.alarm.wait(patience) };
    }
    follower.source.following.ends();
}

impl<'a> Follower<'a> {
    pub(super) fn new(shared: &'a Shared, at: usize) -> Option<Follower<'a>> {
        let source = shared.sources.get(at)?;
        let (alarm, no_events) = Alarm::new();
        *source.wakeup.lock() = Some(alarm.wakeup());
        let mut follower = Follower {
            shared,
            at,
            source,
            alarm,
            next_scan: Instant::now(),
            changed: true,
            not_before: Instant::now(),
            look_again: false,
            settled: false,
            failures: 0,
            told: None,
            told_all: false,
            reading_since: None,
            live: Vec::new(),
            max_open: usize::try_from(descriptors::for_live_logs()).unwrap_or(usize::MAX)
                / shared.sources.len().max(1),
            resting: HashMap::new(),
            waits_for_room: false,
            live_paths: Vec::new(),
            grown: HashSet::new(),
            said: HashMap::new(),
            also_live: HashSet::new(),
            no_logs: HashMap::new(),
            packed: HashSet::new(),
            live_failed: HashSet::new(),
            put_off: HashMap::new(),
            cut: None,
            pairs: HashMap::new(),
            held: HashSet::new(),
            judged: HashMap::new(),
            is_known: false,
            plain_archives: Vec::new(),
            buffer: vec![0; LIVE_CHUNK_BYTES],
            read: Batch::default(),
            staged: Instant::now(),
            refused: false,
        };
        if let Some(error) = no_events {
            follower.polls(Some(&error.to_string()));
        }
        match source.recall(shared.store(), shared.context.clock.now_ms()) {
            Ok(cut) => follower.cut = cut,
            Err(error) => follower.refused(&error),
        }
        // What an earlier run could not read is said again: it is not tried before it changes.
        let known = source.state.lock().failed.news(&UnreadSet::default());
        for Unread { path, reason, .. } in known.into_iter().take(TOLD_AGAIN) {
            warn!(path = shown(&path), reason = %reason.escape_debug(), "A file is not read, or not whole, as before.");
        }
        follower.max_open = follower.max_open.max(8);
        Some(follower)
    }

    /// Looks at everything once. Says whether there is more to read at once.
    pub(super) fn turn(&mut self, wake: Wake) -> bool {
        let started_ms = self.shared.context.clock.now_ms();
        if self.alarm.take_lost() {
            self.say(Path::new("inotify"), LOST_EVENTS);
        }
        self.changed |= wake == Wake::Changed;
        let mut touched = (wake != Wake::Poll && self.alarm.has_events()).then(|| self.alarm.take_touched());
        if (self.changed && Instant::now() + SCAN_BURST >= self.not_before)
            || Instant::now() >= self.next_scan
        {
            touched = None;
            let begun = Instant::now();
            self.changed = false;
            for _ in 0..SCANS_AT_ONCE {
                self.look_again = false;
                self.settled = self.scan();
                if !self.look_again {
                    break;
                }
            }
            let took = begun.elapsed();
            // A large tree is looked through less often, so that looking never is what the daemon mostly does.
            let pause = (took * 50).min(LONGEST_SCAN_PAUSE).max(self.source.config.poll_interval);
            // One that fails is left alone for longer and longer.
            let pause = (pause * (1 << self.failures.min(8))).min(LONGEST_SCAN_PAUSE.max(pause));
            self.next_scan = Instant::now() + pause;
            self.not_before = self.not_before.max(Instant::now()) + took * SCAN_SHARE;
        }
        self.open_live(touched.as_ref());
        let more = self.read_live();
        self.rest();
        // Before it is said how the source stands: what was read is seen then.
        self.stage();
        // Also where what it was refused for is gone meanwhile, or an archive by now.
        if !std::mem::take(&mut self.refused) && self.put_off.is_empty() {
            self.shared.works(LedgerUser::Follower(self.at));
        }
        let more = more || self.waits_for_room;
        self.stand(started_ms, self.settled && !more);
        more
    }

    /// How long to wait for something to happen.
    fn patience(&self) -> Duration {
        let mut poll = self.source.config.poll_interval;
        if !self.held.is_empty() {
            poll = poll.min(HELD_PAUSE);
        }
        if self.changed {
            // It is looked through as soon as it may be.
            return poll.min(self.not_before.saturating_duration_since(Instant::now() + SCAN_BURST));
        }
        poll
    }

    /// The ledger could not be asked about a log, or refused it.
    fn refused(&mut self, error: &StoreError) {
        self.refused = true;
        self.shared.fails(LedgerUser::Follower(self.at), error);
    }

    /// Says something about a path, once and then when it changes.
    fn say(&mut self, path: &Path, what: &str) {
        if self.said.insert(path.to_owned(), what.to_owned()).is_none_or(|said| said != what) {
            warn!(path = shown(path), reason = %what.escape_debug(), "A source needs attention.");
        }
    }

    fn unsay(&mut self, path: &Path) {
        self.said.remove(path);
    }

    /// Takes down whether the file system tells of changes; the reason where it does not. It is said when it changes.
    fn polls(&mut self, why: Option<&str>) {
        match why {
            Some(why) => self.say(Path::new("inotify watches"), why),
            None => self.unsay(Path::new("inotify watches")),
        }
        self.source.state.lock().notice = why.map(str::to_owned);
    }

    /// A live file cannot be opened or read.
    fn cannot_read(&mut self, path: &Path, error: &io::Error, pause: Duration) {
        let reason = why_unreadable(path, error);
        self.say(path, &reason);
        self.put_off.insert(path.to_owned(), Instant::now() + pause);
        self.live_failed.insert(path.to_owned());
        self.source.state.lock().failed.put(path, UnreadKind::Unreadable, &reason);
    }

    /// A live file can be read.
    fn can_read(&mut self, path: &Path) {
        if self.live_failed.remove(path) {
            self.unsay(path);
            self.source.state.lock().failed.remove(path);
        }
    }

    /// Says how the source stands after a turn that began at the instant given.
    fn stand(&mut self, started_ms: u64, all_read: bool) {
        let lag = self
            .live
            .iter()
            .map(|live| live.file.size().map_or(0, |size| size.saturating_sub(live.file.offset())));
        let lag = lag.sum();
        // A log that is put off is visible and not read.
        let all_read = all_read && self.put_off.is_empty() && self.held.is_empty();
        let writes_fail = !self.shared.failing.lock().is_empty();
        let lacks_rows = self.shared.store().missing_logs() > 0;
        let may_be_partial = !self.also_live.is_empty();
        let mut standing = self.source.state.lock();
        standing.lag_bytes = lag;
        let waits = may_be_partial && !standing.shadowed.is_empty();
        standing.settled = all_read && standing.pending == 0 && !standing.unsettled && !waits;
        standing.caught_up = standing.settled && !standing.misses_files() && !writes_fail && !lacks_rows;
        if standing.caught_up {
            standing.as_of_ms = Some(started_ms);
        } else if standing.as_of_ms.is_some_and(|as_of| as_of > started_ms) {
            standing.as_of_ms = None; // the clock was set back: what it said before means another instant now
        }
        if standing.reason.is_some() {
            return; // the look through the source failed, and has said how it stands
        }
        standing.state = if !self.live_failed.is_empty() {
            SourceState::Failing
        } else if standing.pending > 0 {
            SourceState::Backfilling
        } else {
            SourceState::Following
        };
        // After the first look one new archive, read at once, is nothing to tell.
        let since = (standing.pending > 0).then(|| self.reading_since.unwrap_or_else(Instant::now));
        let lasts = since.is_some_and(|since| since.elapsed() > TELL_PAUSE);
        let is_due = (lasts || !self.told_all) && self.told.is_none_or(|told| told.elapsed() > TELL_PAUSE);
        self.reading_since = since;
        if (standing.pending > 0 && is_due) || (standing.pending == 0 && self.told.is_some()) {
            let rated = self.shared.rated(self.at, &standing);
            self.told = (standing.pending > 0).then(Instant::now);
            self.told_all |= self.told.is_none();
            drop(standing);
            let seconds_left = rated.seconds_left.map(|left| left.round() as u64);
            info!(
                logs = shown(&self.source.config.logs),
                files = rated.files_done,
                files_total = rated.files_total,
                bytes = rated.bytes_done,
                bytes_total = rated.bytes_total,
                lines = rated.lines,
                lines_per_second = rated.lines_per_second.round() as u64,
                seconds_left,
                "{}",
                if self.told.is_some() { "Reading archives." } else { "All archives are read." }
            );
        }
    }
}
