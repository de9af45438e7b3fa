//! The look through a source: which logs are live, and which archives wait to be read.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::warn;

use super::Follower;
use crate::ingest::follow::source::{Job, SourceProgress};
use crate::ingest::{reading_hint, shown};
use crate::status::{SourceState, Unread, UnreadSet};
use crate::tail::decode::Packing;
use crate::tail::discover::{FoundFile, Listing, Stamp, discover, is_glob};
use crate::tail::open::open as open_log;

/// How many logs of a source are followed that are not called as a live one is.
const ALSO_LIVE: usize = 16;
/// What is larger than this is read as an archive first, by those who read faster.
const FRESH_BYTES: u64 = 8 << 20;

impl Follower<'_> {
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
    pub(super) fn scan(&mut self) -> bool {
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

    /// The instant before which archives are not read, nanoseconds since the epoch. It is settled at the first look for
    /// good, but for one that cannot be: a clock that was ahead then must not hide what comes.
    fn cut(&mut self, archives: &[FoundFile], wall: i128) -> i128 {
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
    fn queue_archives(&mut self, archives: Vec<FoundFile>) -> bool {
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
    fn forget_gone(&self, standing: &mut SourceProgress, archives: &[FoundFile]) {
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
}

/// The folder from which on a source is looked through: itself, or what comes before a pattern.
fn base(logs: &Path) -> PathBuf {
    if !is_glob(logs) {
        return logs.to_owned();
    }
    let literal = logs.components().take_while(|part| !is_glob(Path::new(part.as_os_str())));
    literal.collect()
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
    fn of(found: &FoundFile) -> Form {
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
