//! The follower of one source: it reads live logs, and finds archives for others to read.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::source::Job;
use super::source::{Source, SourceProgress};
use super::{LONGEST_STEP, Part, RETRY, STORE_RETRY, Shared};
use crate::base::descriptors;
use crate::base::fault::{end_to_start_again, point};
use crate::base::liveness::Liveness;
use crate::ingest::intake::{Ending, Halt, Intake};
use crate::ingest::look::{LOOK_BYTES, Look};
use crate::ingest::plain_logs::{PlainLogs, began};
use crate::ingest::twins::{self, Known, Side, Twin, Twins};
use crate::ingest::{reading_hint, shown};
use crate::status::{SourceState, Unread, UnreadKind, UnreadSet};
use crate::store::StoreError;
use crate::store::batch::Batch;
use crate::tail::decode::Packing;
use crate::tail::discover::{Found, Listing, Stamp, discover, is_glob};
use crate::tail::followed::{Followed, Read};
use crate::tail::open::open as open_log;
use crate::tail::wake::{Alarm, LOST_EVENTS, Touched, Wake};

/// Bytes of a live log that are read at a time.
const LIVE_CHUNK_BYTES: usize = 32 << 10;
/// Rows and questions of what was read and is not staged, at which it is: lookups do not see it before.
const STAGED_ROWS: usize = 2000;
/// How long what was read may wait for more to be staged with it, where there is more to read.
const STAGED_AFTER: Duration = Duration::from_millis(5);
/// Bytes of what is staged at which it is committed before its time.
const COMMITTED_BYTES: usize = 8 << 20;
/// The longest time between two looks through a whole source.
const LONGEST_SCAN_PAUSE: Duration = Duration::from_secs(30);
/// How many logs of a source are followed that are not called as a live one is.
const ALSO_LIVE: usize = 16;
/// What is larger than this is read as an archive first, by those who read faster.
const FRESH_BYTES: u64 = 8 << 20;
/// The longest time between two looks into a live file that is no DNS log.
const LONGEST_LOOK_PAUSE: Duration = Duration::from_secs(300);
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
/// Logs that are held open though they do not grow: it costs little, and what they grow by is read at once.
const KEPT_OPEN: usize = 64;
/// How often it is looked whether a log that is held back may be read.
const HELD_PAUSE: Duration = Duration::from_millis(50);
/// How long one of more than these has not grown when it is closed.
const IDLE: Duration = Duration::from_secs(600);

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
    source: &'a Source,
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
    pairs: HashMap<PathBuf, Arc<Mutex<Twins>>>,
    /// Streaming logs that were there before us: plain ones that may hold the same are read first.
    held: HashSet<PathBuf>,
    /// Streaming logs that are rotated, as they were, and whether a plain one holds the same.
    judged: HashMap<PathBuf, (Stamp, bool)>,
    /// Whether the source was looked through.
    is_known: bool,
    /// Plain archives, as the last look found them, where there are streaming logs.
    plain_archives: Vec<Found>,
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

/// The folder from which on a source is looked through: itself, or what comes before a pattern.
fn base(logs: &Path) -> PathBuf {
    if !is_glob(logs) {
        return logs.to_owned();
    }
    let literal = logs.components().take_while(|part| !is_glob(Path::new(part.as_os_str())));
    literal.collect()
}

impl<'a> Follower<'a> {
    pub(super) fn new(shared: &'a Shared, at: usize) -> Option<Follower<'a>> {
        let source = shared.sources.get(at)?;
        let (alarm, no_events) = Alarm::new();
        *source.bell.lock() = Some(alarm.bell());
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
            self.shared.works(Part::Follower(self.at));
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
        self.shared.fails(Part::Follower(self.at), error);
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
        let reason = format!("{error}; {}", reading_hint(error).unwrap_or("it is tried again"));
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

    /// Takes down what a look through the source saw that nobody reads. What is gone from it has no reason any more.
    fn see(&mut self, listing: &Listing) {
        let mut seen = UnreadSet::default();
        for Unread { path, kind, reason } in &listing.unread {
            seen.put(path, *kind, reason);
        }
        let mut standing = self.source.state.lock();
        let news = seen.news(&standing.seen);
        standing.seen = seen;
        standing.reason = None;
        if !standing.failed.is_empty() || !standing.troubled.is_empty() {
            let there: HashSet<&Path> =
                listing.live.iter().chain(&listing.archives).map(|found| found.path.as_path()).collect();
            standing.failed.retain(|path| there.contains(path));
            standing.troubled.retain(|path, _| there.contains(path.as_path()));
            self.live_failed.retain(|path| there.contains(path.as_path()));
        }
        drop(standing);
        for Unread { path, reason, .. } in news {
            warn!(path = shown(&path), reason = %reason.escape_debug(), "A source needs attention.");
        }
    }

    /// Looks through the source: which live logs there are, and which archives were not met. Says whether nothing had
    /// to be left for later.
    fn scan(&mut self) -> bool {
        let logs = self.source.config.logs.clone();
        let listing = match discover(&logs, &self.source.config.scope) {
            Ok(listing) => listing,
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let hint = if missing {
                    "it is waited for"
                } else {
                    reading_hint(&error).unwrap_or("it is tried again")
                };
                let reason = format!("{error}; {hint}");
                self.say(&logs, &reason);
                self.failures = if missing { 0 } else { self.failures.saturating_add(1) };
                let mut standing = self.source.state.lock();
                standing.state = if missing { SourceState::Waiting } else { SourceState::Failing };
                standing.reason = Some(reason);
                if missing {
                    standing.seen = UnreadSet::default();
                    standing.failed = UnreadSet::default();
                    standing.troubled.clear();
                    self.live_failed.clear();
                }
                drop(standing);
                // Wait where it will appear: at what is there of the way to it.
                self.look_again = self.alarm.watch(&base(&logs), &[], &[]).0;
                return missing && self.live.is_empty();
            }
        };
        self.unsay(&logs);
        self.failures = 0;
        let mut listing = listing;
        self.set_packed_apart(&mut listing);
        let nothing_held = self.pair(&mut listing);
        let files: Vec<PathBuf> = listing.live.iter().map(|found| found.path.clone()).collect();
        let (base, mut folders) = (base(&logs), listing.folders.clone());
        if is_glob(&logs) {
            folders.push(base.clone()); // what matches may come to be in it
        }
        let (is_new, watched) = self.alarm.watch(&base, &folders, &files);
        self.look_again = is_new;
        if self.alarm.has_events() {
            self.polls(watched.err().map(|error| error.to_string()).as_deref());
        }
        self.see(&listing);
        self.live_paths = listing.live.into_iter().map(|found| found.path).collect();
        // What was put off and has gone since is met under its other name.
        self.put_off.retain(|path, _| self.live_paths.contains(path));
        let listed = self.live_paths.len();
        let nothing_left = self.queue_archives(listing.archives);
        self.grown = self.live_paths.iter().skip(listed).cloned().collect();
        if self.resting.len() > self.live_paths.len() {
            let there: HashSet<&PathBuf> = self.live_paths.iter().collect();
            self.resting.retain(|path, _| there.contains(path));
        }
        nothing_left && nothing_held
    }

    /// Puts what has the name of a live log and is packed to the archives, for as long as it is.
    fn set_packed_apart(&mut self, listing: &mut Listing) {
        if self.packed.is_empty() {
            return;
        }
        let Listing { live, streaming, .. } = listing;
        self.packed.retain(|path| live.iter().chain(&*streaming).any(|found| found.path == *path));
        for live in [&mut listing.live, &mut listing.streaming] {
            for found in std::mem::take(live) {
                if self.packed.contains(&found.path) && Form::of(&found) == Form::Packed {
                    listing.archives.push(found);
                } else {
                    self.packed.remove(&found.path);
                    live.push(found);
                }
            }
        }
    }

    /// Puts streaming logs to the others, but those whose events are told by plain logs. Says whether nothing had to be left
    /// for later.
    fn pair(&mut self, listing: &mut Listing) -> bool {
        let is_first = !std::mem::replace(&mut self.is_known, true);
        let (streaming, archives) =
            (std::mem::take(&mut listing.streaming), std::mem::take(&mut listing.streaming_archives));
        let there: HashSet<&Path> =
            streaming.iter().chain(&archives).map(|found| found.path.as_path()).collect();
        self.held.retain(|path| there.contains(path.as_path()));
        self.judged.retain(|path, _| there.contains(path.as_path()));
        if streaming.is_empty() && archives.is_empty() {
            self.plain_archives.clear();
            return true;
        }
        self.plain_archives.clone_from(&listing.archives);
        let live_homes: HashSet<PathBuf> =
            listing.live.iter().map(|found| twins::home(&found.path)).collect();
        let mut homes = live_homes.clone();
        homes.extend(listing.archives.iter().map(|found| twins::home(&found.path)));
        // The ledger is asked after that: what was read until then is in it.
        let archives_read = self.source.state.lock().pending == 0 && !is_first;
        let plain = self.shared.context.claims.lineages().map(PlainLogs::of).ok();
        homes.extend(plain.iter().flat_map(PlainLogs::homes).cloned());
        for found in &streaming {
            let home = twins::home(&found.path);
            if live_homes.contains(&home) {
                let plain = listing.live.iter().filter(|plain| twins::home(&plain.path) == home);
                let paths: Vec<PathBuf> = plain.chain([found]).map(|found| found.path.clone()).collect();
                self.begin_pair(home.clone(), &paths);
                listing.pass_over(&found.path, UnreadKind::PassedOver, twins::COMPARED);
            }
            if is_first && homes.contains(&home) {
                self.held.insert(found.path.clone());
            }
        }
        let mut nothing_held = true;
        for found in archives {
            let known = self.judged.get(&found.path).filter(|(stamp, _)| *stamp == found.stamp);
            let is_told = match known {
                Some((_, is_told)) => *is_told,
                None if !homes.contains(&twins::home(&found.path)) => false,
                None if self.source.state.lock().met.get(&found.path) == Some(&found.stamp) => false,
                // What was written while it was followed is known; the plain ones are read first.
                None if !archives_read => {
                    nothing_held = false;
                    continue;
                }
                None => match &plain {
                    Some(plain) => plain.cover(&self.source.config.zeek, &found.path).is_some(),
                    None => {
                        nothing_held = false;
                        continue;
                    }
                },
            };
            self.judged.insert(found.path.clone(), (found.stamp, is_told));
            if is_told {
                listing.pass_over(&found.path, UnreadKind::PassedOver, twins::PASSED_OVER);
            } else {
                listing.archives.push(found);
            }
        }
        listing.live.extend(streaming);
        nothing_held && self.held.is_empty()
    }

    /// From now on the logs of a Zeek that writes two kinds are compared; what they told so far is taken down.
    fn begin_pair(&mut self, home: PathBuf, paths: &[PathBuf]) {
        if self.pairs.contains_key(&home) {
            return;
        }
        let pair: Arc<Mutex<Twins>> = Arc::default();
        let zeek = &self.source.config.zeek;
        let of = |path: &Path| Twin { twins: Arc::clone(&pair), side: Side::of(path) };
        for path in paths {
            let twin = of(path);
            let open = self.live.iter().any(|live| live.file.path() == path);
            let known = if open { continue } else { Known::Ledger };
            let looked = open_log(path).map_err(Into::into).and_then(|(file, _)| {
                twins::look_through(&twin, &self.shared.context.claims, zeek, file, known)
            });
            if let Err(error) = looked {
                warn!(path = shown(path), %error, "What was read of a log before could not be looked through.");
            }
        }
        for live in self.live.iter_mut().filter(|live| twins::home(live.file.path()) == home) {
            let twin = of(live.file.path());
            let known = Known::Bytes(live.file.offset());
            if let Err(error) =
                twins::look_through(&twin, &self.shared.context.claims, zeek, live.file.again(), known)
            {
                warn!(path = shown(live.file.path()), %error, "What was read of a log before could not be looked through.");
            }
            live.intake.pair(twin);
        }
        info!(
            folder = shown(&home),
            "A plain and a JSON streaming log: an event that both hold is counted once."
        );
        self.pairs.insert(home, pair);
    }

    /// Whether a streaming log that was there before us may be read now: when the plain logs are read that may hold the same.
    /// Then the time up to which they do.
    fn is_free(&self, path: &Path) -> Option<Option<u64>> {
        let (home, zeek) = (twins::home(path), &self.source.config.zeek);
        let is_of = |other: &Path| Side::of(other) == Side::Plain && twins::home(other) == home;
        let mut plain = self.live_paths.iter().filter(|other| is_of(other));
        let is_read = |other: &&PathBuf| {
            self.resting.contains_key(*other)
                || !other.exists()
                || self.live.iter().any(|live| {
                    live.file.path() == other.as_path()
                        && live.file.size().is_ok_and(|size| size == live.file.offset())
                })
        };
        if !plain.all(|other| is_read(&other)) {
            return None;
        }
        let began = i128::from(began(path, zeek).unwrap_or_default()) * 1_000_000_000;
        let standing = self.source.state.lock();
        let waits = self.plain_archives.iter().any(|found| {
            is_of(&found.path)
                && found.stamp.modified >= began
                && (standing.pending > 0 || !standing.met.contains_key(&found.path))
                && self.cut.is_none_or(|cut| found.stamp.modified >= cut)
        });
        drop(standing);
        if waits {
            return None;
        }
        let plain = self.shared.context.claims.lineages().map(PlainLogs::of).ok()?;
        Some(plain.cover(zeek, path))
    }

    /// The instant before which archives are not read, nanoseconds since the epoch. It is settled at the first look for
    /// good, but for one that cannot be: a clock that was ahead then must not hide what comes.
    fn cut(&mut self, archives: &[Found], wall: i128) -> i128 {
        let Some(age) = self.source.config.backfill.age() else { return i128::MIN };
        let age = i128::try_from(age.as_nanos()).unwrap_or(i128::MAX);
        let kept = self.cut;
        let cut = match kept {
            Some(kept) if kept <= wall.saturating_sub(age) => return kept,
            Some(_) => wall.saturating_sub(age),
            None => {
                // What is there is no later than its newest file.
                let found = archives.iter().map(|found| found.stamp.modified);
                let live =
                    self.live_paths.iter().filter_map(|path| Some(Stamp::from(&fs::metadata(path).ok()?)));
                let newest = found.chain(live.map(|stamp| stamp.modified)).filter(|time| *time <= wall).max();
                newest.map_or(wall, |newest| newest.saturating_add(1).min(wall)).saturating_sub(age)
            }
        };
        if kept.is_some() {
            warn!(
                logs = shown(&self.source.config.logs),
                "The clock was ahead when this source was first met: archives are read from a time on that fits the clock of now."
            );
        }
        self.cut = Some(cut);
        // Lost, it is settled anew at the next start.
        drop(self.shared.store().cache(&[self.source.cut_hint(cut)], &[]));
        cut
    }

    /// Queues the archives that were not met as they are now.
    fn queue_archives(&mut self, archives: Vec<Found>) -> bool {
        let now = Instant::now();
        let wall = i128::from(self.shared.context.clock.now_ms()) * 1_000_000;
        let cut = self.cut(&archives, wall);
        let mut due = Vec::new();
        {
            let mut standing = self.source.state.lock();
            standing.unsettled = false;
            if standing.met.len() > archives.len() {
                self.forget_gone(&mut standing, &archives);
            }
            for found in archives {
                let stamp = found.stamp;
                let met = standing.met.get(&found.path).copied();
                if met == Some(stamp) || stamp.modified < cut {
                    continue;
                }
                if self.live.iter().any(|live| live.file.identity() == (stamp.device, stamp.inode)) {
                    // The rotated name of a log that is still followed, or one that is followed under this name.
                    if self.also_live.contains(&found.path) {
                        self.live_paths.push(found.path);
                    }
                    continue;
                }
                let put_off =
                    standing.troubled.get(&found.path).or_else(|| standing.shadowed.get(&found.path));
                if put_off.is_some_and(|until| *until > now) {
                    continue;
                }
                standing.shadowed.remove(&found.path);
                due.push((found, met));
            }
        }
        // Files are opened without the lock: lookups wait for that, and a file may be slow to open.
        let mut nothing_left = true;
        let mut new = Vec::new();
        self.also_live.retain(|path| self.live_paths.contains(path));
        due.sort_by_key(|(found, _)| std::cmp::Reverse(found.stamp.modified));
        for (found, met) in due {
            let stamp = found.stamp;
            let age = (wall - stamp.modified).unsigned_abs();
            // A plain file that goes on growing, or was written to just now, is followed like a live one, also under its
            // rotated name: who has it open goes on writing.
            let grew = met.is_some_and(|met| {
                (met.device, met.inode) == (stamp.device, stamp.inode) && met.size < stamp.size
            });
            let is_fresh = age < self.shared.config.active.as_nanos()
                && stamp.size <= FRESH_BYTES
                && self.also_live.len() < ALSO_LIVE;
            let is_young = age < self.shared.config.settling.as_nanos();
            let form = if grew || is_fresh || is_young { Form::of(&found) } else { Form::Closed };
            if form == Form::Open && (grew || is_fresh) {
                self.live_paths.push(found.path.clone());
                self.also_live.insert(found.path);
            } else if form == Form::Packed && is_young {
                nothing_left = false; // still being written, perhaps: look again soon
            } else {
                new.push(Job { source: self.at, found, verdict: None });
            }
        }
        if !new.is_empty() {
            new.reverse(); // the oldest first
            let mut standing = self.source.state.lock();
            for job in &new {
                standing.met.insert(job.found.path.clone(), job.found.stamp);
                standing.pending += 1;
                standing.pace.begin();
                standing.backfill.files_total += 1;
                standing.backfill.bytes_total += job.found.stamp.size;
            }
            drop(standing);
            self.shared.archives.lock().extend(new);
            self.shared.archives_changed.notify_all();
        }
        nothing_left
    }

    /// Forgets archives that are no more.
    fn forget_gone(&self, standing: &mut SourceProgress, archives: &[Found]) {
        let there: HashSet<&Path> = archives.iter().map(|found| found.path.as_path()).collect();
        let mut drops = Vec::new();
        standing.met.retain(|path, stamp| {
            let keep = there.contains(path.as_path());
            if !keep {
                drops.push(self.source.met_hint(path, stamp).0);
                drops.push(self.source.unread_key(path));
            }
            keep
        });
        drop(self.shared.store().cache(&[], &drops)); // hints that stay do no harm
    }

    /// Opens what is new at the paths of live logs. Of those that are not held open only those that may have been written
    /// to are looked at, where that is known.
    fn open_live(&mut self, touched: Option<&Touched>) {
        let paths = std::mem::take(&mut self.live_paths);
        self.waits_for_room = false;
        for path in &paths {
            if self.put_off.get(path).is_some_and(|until| *until > Instant::now()) {
                continue;
            }
            self.put_off.remove(path);
            let resting = self.resting.get(path);
            if resting.is_some() && touched.is_some_and(|touched| !touched.contains(path)) {
                continue;
            }
            let Ok(metadata) = fs::metadata(path) else { continue };
            let stamp = Stamp::from(&metadata);
            let identity = (stamp.device, stamp.inode);
            if self.no_logs.get(path).is_some_and(|no_log| no_log.is_still(&stamp)) {
                continue;
            }
            if !metadata.is_file()
                || resting.is_some_and(|resting| resting.stamp == stamp)
                || self.live.iter().any(|live| live.file.identity() == identity)
            {
                continue;
            }
            let mut told_until = None;
            if self.held.contains(path) {
                // `live_paths` is taken out while it is gone through.
                self.live_paths.clone_from(&paths);
                match self.is_free(path) {
                    None => continue,
                    Some(until) => told_until = until,
                }
            }
            if self.live.len() >= self.max_open && !self.close_idlest() {
                self.waits_for_room = true;
                break;
            }
            let resting = self.resting.remove(path);
            let header = resting
                .filter(|resting| (resting.stamp.device, resting.stamp.inode) == identity)
                .and_then(|resting| resting.header);
            let opened = Followed::open(path);
            match opened {
                Ok(file) => match self.intake(path, header.as_deref()) {
                    Ok(mut intake) => {
                        if let Some(time) = told_until {
                            intake.set_told_until(time, stamp.size);
                        }
                        self.held.remove(path);
                        info!(path = shown(path), "Following.");
                        let last_change = Instant::now();
                        let (gone, superseded) = (false, false);
                        let is_known = false;
                        self.live.push(Live { file, intake, last_change, gone, superseded, is_known });
                    }
                    Err(error) => {
                        self.refused(&error);
                        self.put_off.insert(path.clone(), Instant::now() + STORE_RETRY);
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.cannot_read(path, &error, self.source.config.poll_interval),
            }
        }
        self.live_paths = paths;
    }

    /// Closes logs of which nothing is expected: those that are closed, and of very many those that do not grow.
    fn rest(&mut self) {
        let idle = |live: &Live, length: Duration| live.last_change.elapsed() >= length;
        let mut open = self.live.len();
        let mut at = 0;
        while let Some(live) = self.live.get(at) {
            let is_over = live.intake.is_closed();
            let rests = (is_over && (open > KEPT_OPEN || idle(live, self.shared.config.grace)))
                || (open > KEPT_OPEN && idle(live, IDLE));
            if !rests || !self.close(at) {
                at += 1;
            } else {
                open -= 1;
            }
        }
    }

    /// Makes room for another log by closing the one that has not grown for longest. Says whether there was one.
    fn close_idlest(&mut self) -> bool {
        let mut order: Vec<(bool, Instant, usize)> = (self.live.iter().enumerate())
            .map(|(at, live)| (!live.intake.is_closed(), live.last_change, at))
            .collect();
        order.sort_unstable();
        order.into_iter().any(|(_, _, at)| self.close(at))
    }

    /// Closes a log that is read to its end and is where it was found; growth opens it again. Says whether it did.
    fn close(&mut self, at: usize) -> bool {
        let Some(live) = self.live.get(at).filter(|live| !live.gone) else { return false };
        let path = live.file.path().to_owned();
        // What it is now is taken down before its end is asked for: what comes later makes it another.
        let Ok(metadata) = fs::metadata(&path) else { return false };
        let stamp = Stamp::from(&metadata);
        if (stamp.device, stamp.inode) != live.file.identity() || stamp.size != live.file.offset() {
            return false;
        }
        let live = self.live.swap_remove(at);
        let header = live.intake.header();
        live.intake.end(Ending::Exhausted, &mut self.read);
        let mut standing = self.source.state.lock();
        standing.shadowed.clear(); // its archive can be met, once this is committed
        if self.grown.contains(&path) {
            standing.met.insert(path, stamp);
        } else {
            drop(standing);
            self.resting.insert(path, Resting { stamp, header });
        }
        true
    }

    fn intake(&self, path: &Path, header: Option<&[u8]>) -> Result<Intake, StoreError> {
        let config = &self.source.config;
        let mut intake = Intake::new(&self.shared.context, path, &config.sensor, &config.zeek, true, header)?;
        if !self.pairs.is_empty()
            && let Some(pair) = self.pairs.get(&twins::home(path))
        {
            intake.pair(Twin { twins: Arc::clone(pair), side: Side::of(path) });
        }
        Ok(intake)
    }

    /// Reads all live logs as far as they go, a bounded part of each. Says whether there is more.
    fn read_live(&mut self) -> bool {
        let mut more = false;
        let mut at = 0;
        while at < self.live.len() {
            match self.read_one(at) {
                Turn::More => {
                    more = true;
                    at += 1;
                }
                Turn::End => at += 1,
                Turn::LetGo => {
                    self.live.swap_remove(at);
                }
                Turn::Gone => more = true, // the next turn meets its archive
            }
        }
        more
    }

    /// Lets lookups see what was read, and has it committed soon.
    fn stage(&mut self) {
        if self.read.is_empty() {
            return;
        }
        self.staged = Instant::now();
        if let Err(error) = self.shared.store().stage(&self.read) {
            error!(
                %error,
                "What was read of a log cannot be kept. The process ends, to be started again: the log is read again from what is on disk."
            );
            end_to_start_again();
        }
        self.read.clear();
        // Who waits for hits is not to wait for the next commit.
        if self.shared.store().last_hit().1 {
            self.shared.ring();
        }
        let staged = self.shared.store().staged_bytes();
        if staged > COMMITTED_BYTES {
            self.shared.make_room(staged, &self.source.following);
        }
    }

    fn read_one(&mut self, at: usize) -> Turn {
        for _ in 0..64 {
            let Some(live) = self.live.get_mut(at) else { return Turn::End };
            let read = match live.file.read(&mut self.buffer) {
                Ok(read) => read,
                Err(error) => {
                    let path = live.file.path().to_owned();
                    self.cannot_read(&path, &error, RETRY);
                    return Turn::LetGo; // what was read of it is known, and it is met again
                }
            };
            if !self.live_failed.is_empty() {
                let path = live.file.path().to_owned();
                self.can_read(&path);
            }
            let Some(live) = self.live.get_mut(at) else { return Turn::End };
            match read {
                Read::Bytes(n) => {
                    let bytes = self.buffer.get(..n).unwrap_or_default();
                    if live.file.offset() == n as u64 && Packing::is_undecided(bytes) {
                        live.file.rewind();
                        return self.at_end(at);
                    }
                    if live.file.offset() == n as u64 && Packing::of(bytes) != Packing::Plain {
                        // Whatever it is called, it is an archive, or nothing that can be read: the next look takes it for one.
                        let path = live.file.path().to_owned();
                        self.packed.insert(path);
                        (self.changed, self.settled) = (true, false);
                        return Turn::LetGo;
                    }
                    live.last_change = Instant::now();
                    point("live_read");
                    self.source.following.steps(LONGEST_STEP);
                    let fed = live.intake.feed(bytes, &mut self.read);
                    if self.read.tuples().len() + self.read.questions().len() > STAGED_ROWS
                        || self.staged.elapsed() > STAGED_AFTER
                    {
                        self.stage();
                    }
                    let Some(live) = self.live.get_mut(at) else { return Turn::End };
                    match fed {
                        Ok(()) => {
                            if !live.is_known && live.intake.lineage().is_some() {
                                live.is_known = true;
                                // Whatever it was before, it is a log now.
                                self.no_logs.remove(live.file.path());
                                self.source.state.lock().failed.remove(live.file.path());
                            }
                        }
                        Err(Halt::Unproven) => return self.look(at),
                        Err(Halt::Busy { live: true }) if self.also_live.contains(live.file.path()) => {
                            // A copy of what is followed: it can hold nothing new before that is finished.
                            let path = live.file.path().to_owned();
                            self.also_live.remove(&path);
                            self.source.state.lock().shadowed.insert(path, Instant::now() + RETRY);
                            return Turn::LetGo;
                        }
                        Err(halt) => {
                            let path = live.file.path().to_owned();
                            let mut pause = Duration::from_millis(50);
                            if let Halt::Store(error) = halt {
                                self.refused(&error);
                                pause = STORE_RETRY;
                            }
                            for older in self.live.iter_mut().filter(|older| older.file.path() == path) {
                                older.superseded |= older.gone;
                            }
                            self.put_off.insert(path, Instant::now() + pause);
                            return Turn::LetGo;
                        }
                    }
                    if self.shared.stop.is_stopped() {
                        return Turn::End;
                    }
                }
                Read::Replaced => {
                    let header = live.intake.header();
                    let path = live.file.path().to_owned();
                    info!(
                        path = shown(&path),
                        read = live.file.offset(),
                        "The log was truncated or rewritten in place."
                    );
                    match self.intake(&path, header.as_deref()) {
                        Ok(intake) => {
                            let Some(live) = self.live.get_mut(at) else { return Turn::End };
                            let old = std::mem::replace(&mut live.intake, intake);
                            live.is_known = false;
                            old.end(Ending::Exhausted, &mut self.read);
                            live.file.rewind();
                            self.source.state.lock().shadowed.clear(); // a copy may hold what we did not see
                            live.last_change = Instant::now();
                            return Turn::More;
                        }
                        Err(error) => {
                            self.refused(&error);
                            self.put_off.insert(path, Instant::now() + STORE_RETRY);
                            return Turn::LetGo;
                        }
                    }
                }
                Read::End => return self.at_end(at),
            }
        }
        Turn::More
    }

    /// The first line of a live file is no record: looks whether others are.
    fn look(&mut self, at: usize) -> Turn {
        let Some(live) = self.live.get_mut(at) else { return Turn::End };
        let path = live.file.path().to_owned();
        let head = match live.file.head(LOOK_BYTES) {
            Ok(head) => head,
            Err(error) => {
                self.cannot_read(&path, &error, RETRY);
                return Turn::LetGo;
            }
        };
        let mut look = Look::new(&self.source.config.zeek, self.shared.config.max_line_bytes);
        if look.take(&head) {
            match self.intake(&path, None) {
                Ok(intake) => {
                    let Some(live) = self.live.get_mut(at) else { return Turn::End };
                    live.intake = intake.proven();
                    live.file.rewind();
                    return Turn::More;
                }
                Err(error) => {
                    self.refused(&error);
                    self.put_off.insert(path, Instant::now() + STORE_RETRY);
                    return Turn::LetGo;
                }
            }
        }
        let (kind, why) = look.why_not();
        let identity = live.file.identity();
        let pause =
            self.no_logs.get(&path).map_or(self.source.config.poll_interval, |before| before.pause * 2);
        let pause = pause.min(LONGEST_LOOK_PAUSE);
        self.say(&path, &why);
        self.source.state.lock().failed.put(&path, kind, &why);
        self.no_logs.insert(
            path,
            NoLog { identity, looked_at: head.len() as u64, until: Instant::now() + pause, pause },
        );
        Turn::LetGo
    }

    /// A live log is read to its end: is it finished?
    fn at_end(&mut self, at: usize) -> Turn {
        let Some(live) = self.live.get_mut(at) else { return Turn::End };
        match live.file.is_at_its_path() {
            // A log of another name than the live one's is over when it does not grow any more, or when an archive waits
            // that holds the same: it may be a copy that is not whole. If it grows, it is met again.
            Ok(true)
                if self.also_live.contains(live.file.path())
                    && (live.intake.is_closed()
                        || live.last_change.elapsed() > self.shared.config.active
                        || !self.source.state.lock().shadowed.is_empty())
                    && let Ok(stamp) = live.file.stamp() =>
            {
                let path = live.file.path().to_owned();
                self.also_live.remove(&path);
                self.live_paths.retain(|live| *live != path);
                self.source.state.lock().met.insert(path, stamp);
                return self.finish(at);
            }
            Ok(true) => {
                live.gone = false;
                return Turn::End;
            }
            Ok(false) => {}
            Err(_) => return Turn::End, // the file system does not say just now
        }
        if !std::mem::replace(&mut live.gone, true) {
            live.last_change = Instant::now();
            return Turn::More; // once more: it may have grown between the last read and the rename
        }
        let is_over = live.intake.is_closed() || live.superseded;
        if !is_over && live.last_change.elapsed() < self.shared.config.grace {
            return Turn::End;
        }
        self.finish(at)
    }

    /// A live log is over.
    fn finish(&mut self, at: usize) -> Turn {
        if at >= self.live.len() {
            return Turn::End;
        }
        let live = self.live.swap_remove(at);
        info!(path = shown(live.file.path()), lines = live.intake.counted().lines(), "The log is finished.");
        if live.intake.is_closed()
            && let Some((lineage, _)) = live.intake.lineage()
        {
            self.source.state.lock().completed(&lineage);
        }
        live.intake.end(Ending::Exhausted, &mut self.read);
        self.stage();
        self.source.state.lock().shadowed.clear(); // its archive can be met, once this is committed
        self.shared.ring();
        Turn::Gone
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

/// What came of reading a live log for a while.
enum Turn {
    /// There is more to read.
    More,
    /// Everything there is was read.
    End,
    /// It is not followed any more, and is to be dropped.
    LetGo,
    /// It is finished and was taken out of the list.
    Gone,
}

impl Shared {
    /// Much is staged: has it committed, and waits while it is so much that memory would not hold.
    fn make_room(&self, mut staged: usize, following: &Liveness) {
        self.ring();
        let limit = usize::try_from(self.config.memory / 4).unwrap_or(usize::MAX);
        while staged > limit && !self.stop.wait(Duration::from_millis(20)) {
            // A ledger that cannot be written now is waited for, however long that is.
            following.steps(LONGEST_STEP);
            self.ring();
            staged = self.store().staged_bytes();
        }
    }
}

/// What a file is at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Not compressed, and there may be more to come.
    Open,
    /// Not compressed, and Zeek has closed it.
    Closed,
    /// Compressed, or too short to tell, or it cannot be looked at.
    Packed,
}

impl Form {
    fn of(found: &Found) -> Form {
        let Ok((file, metadata)) = open_log(&found.path) else { return Form::Packed };
        let mut start = [0; 512];
        let Ok(n) = file.read_at(&mut start, 0) else { return Form::Packed };
        let start = start.get(..n).unwrap_or_default();
        if Packing::is_undecided(start) || Packing::of(start) != Packing::Plain {
            return Form::Packed;
        }
        let mut end = [0; 64];
        let from = metadata.len().saturating_sub(end.len() as u64);
        let n = file.read_at(&mut end, from).unwrap_or_default();
        let last = end.get(..n).unwrap_or_default().trim_ascii_end();
        let last = last.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if last.starts_with(b"#close") { Form::Closed } else { Form::Open }
    }
}
