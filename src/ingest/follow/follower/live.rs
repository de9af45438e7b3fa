//! The logs that are being written: opened, read as far as they go, closed.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::{Follower, LedgerUser, Live, NoLog, Resting};
use crate::base::fault::{end_to_start_again, point};
use crate::base::liveness::Liveness;
use crate::ingest::follow::{LONGEST_STEP, RETRY, STORE_RETRY, Shared};
use crate::ingest::intake::{Ending, Halt, Intake};
use crate::ingest::paired_logs::{self, PairSide, PairedLog};
use crate::ingest::probe::{LOOK_BYTES, LogProbe};
use crate::ingest::shown;
use crate::store::StoreError;
use crate::tail::decode::Packing;
use crate::tail::discover::Stamp;
use crate::tail::followed::{Followed, Read};
use crate::tail::wake::Touched;

/// Rows and questions of what was read and is not staged, at which it is: lookups do not see it before.
const STAGED_ROWS: usize = 2000;
/// How long what was read may wait for more to be staged with it, where there is more to read.
const STAGED_AFTER: Duration = Duration::from_millis(5);
/// Bytes of what is staged at which it is committed before its time.
const COMMITTED_BYTES: usize = 8 << 20;
/// The longest time between two looks into a live file that is no DNS log.
const LONGEST_LOOK_PAUSE: Duration = Duration::from_secs(300);
/// Logs that are held open though they do not grow: it costs little, and what they grow by is read at once.
const KEPT_OPEN: usize = 64;
/// How long one of more than these has not grown when it is closed.
const IDLE: Duration = Duration::from_secs(600);

impl Follower<'_> {
    /// Opens what is new at the paths of live logs. Of those that are not held open only those that may have been written
    /// to are looked at, where that is known.
    pub(super) fn open_live(&mut self, touched: Option<&Touched>) {
        let paths = std::mem::take(&mut self.live_paths);
        self.waits_for_room = false;
        for path in &paths {
            if self.put_off.get(path).is_some_and(|until| *until > Instant::now()) {
                continue;
            }
            // Of one that the ledger refuses it is said once, and not at each try.
            let was_refused =
                self.put_off.remove(path).is_some() && self.shared.is_refused(LedgerUser::Follower(self.at));
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
                        if !was_refused {
                            info!(path = shown(path), "Following.");
                        }
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
    pub(super) fn rest(&mut self) {
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
            && let Some(pair) = self.pairs.get(&paired_logs::zeek_folder(path))
        {
            intake.pair(PairedLog { pair: Arc::clone(pair), side: PairSide::of(path) });
        }
        Ok(intake)
    }

    /// Reads all live logs as far as they go, a bounded part of each. Says whether there is more.
    pub(super) fn read_live(&mut self) -> bool {
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
    pub(super) fn stage(&mut self) {
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
            self.shared.wake();
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
        let mut look = LogProbe::new(&self.source.config.zeek, self.shared.config.max_line_bytes);
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
        self.shared.wake();
        Turn::Gone
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
        self.wake();
        let limit = usize::try_from(self.config.memory / 4).unwrap_or(usize::MAX);
        while staged > limit && !self.stop.wait(Duration::from_millis(20)) {
            // A ledger that cannot be written now is waited for, however long that is.
            following.steps(LONGEST_STEP);
            self.wake();
            staged = self.store().staged_bytes();
        }
    }
}
