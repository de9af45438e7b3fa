//! An alarm clock for a follower: file-system events wake it, and a poll interval does so at the latest.
//!
//! Events are hints. They can be late, merged, lost or not exist at all (NFS); whoever is woken looks for himself.
//!
//! # What is watched
//!
//! The folders of a source, each as a whole; and of other folders single names: those that a path goes through. `current`
//! may be a folder that is moved away and made anew, or a link that is pointed elsewhere; `dns.log` may be a link into a
//! folder of its own. A watch of the kernel is one of an inode, so what is watched is known by device and inode: a folder of
//! the same name that is another one is watched anew. Whoever adds a watch looks once more, for what came before it was
//! there gave no event.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;

/// Links that a path may go through, as the kernel has it.
const MAX_LINKS: usize = 40;
/// Links that are remembered.
const MAX_LINKS_KEPT: usize = 1024;
/// Files of which it is remembered that they were written to; with more of them all are looked at.
const MAX_TOUCHED: usize = 1024;

/// Why the follower is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// Nothing was heard of: the poll interval is over.
    Poll,
    /// A file was written to.
    Written,
    /// Files came, went, or changed their names; or events were lost.
    Changed,
}

/// Why there are no events for something; it is polled then.
#[derive(Debug, thiserror::Error)]
pub enum NoEvents {
    /// Linux: no watch is left for this user.
    #[error(
        "no inotify watch is left, so it is polled; raise the limit: sysctl fs.inotify.max_user_watches=524288"
    )]
    Watches,
    /// Linux: no inotify instance is left for this user.
    #[error(
        "no inotify instance is left, so it is polled; raise the limit: sysctl fs.inotify.max_user_instances=512"
    )]
    Instances,
    /// Anything else.
    #[error("no events for it, so it is polled: {0}")]
    Other(notify::Error),
}

impl From<notify::Error> for NoEvents {
    fn from(error: notify::Error) -> NoEvents {
        /// EMFILE (errno 24), which `inotify_init` gives.
        const TOO_MANY_OPEN_FILES: i32 = 24;
        match &error.kind {
            notify::ErrorKind::MaxFilesWatch => NoEvents::Watches,
            notify::ErrorKind::Io(io) if io.raw_os_error() == Some(TOO_MANY_OPEN_FILES) => {
                NoEvents::Instances
            }
            _ => NoEvents::Other(error),
        }
    }
}

impl NoEvents {
    /// Advice for the operator.
    pub fn advice(&self) -> &'static str {
        match self {
            NoEvents::Watches => "sysctl fs.inotify.max_user_watches=524288, and a file in /etc/sysctl.d",
            NoEvents::Instances => "sysctl fs.inotify.max_user_instances=512, and a file in /etc/sysctl.d",
            NoEvents::Other(_) => "logs are polled; poll_interval says how often",
        }
    }
}

/// Asks for the events of a folder, or of the nearest above it that there is, and takes no notice of them.
///
/// # Errors
///
/// Why there are none.
pub fn try_events(folder: &Path) -> Result<(), NoEvents> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let mut watcher = notify::recommended_watcher(|_: Result<notify::Event, notify::Error>| {})?;
    Ok(watcher.watch(there, RecursiveMode::NonRecursive)?)
}

/// The warning for a full event queue in the kernel. Nothing is missed: everything is looked at then.
pub const LOST_EVENTS: &str = "its queue was full and events were lost, so everything was looked at; should it happen often, \
    raise the limit: sysctl fs.inotify.max_queued_events=65536";

/// Wakes one follower.
pub struct Alarm {
    events: Receiver<Wake>,
    /// For whoever else wants to wake the follower.
    sender: SyncSender<Wake>,
    heard: Arc<Heard>,
    watcher: Option<RecommendedWatcher>,
    /// Watched folders, by device and inode, with the path of the watch.
    watched: HashMap<(u64, u64), PathBuf>,
    /// Links that lead to a folder or a log, or did: one that leads nowhere for a moment is not among either.
    links: HashSet<PathBuf>,
}

/// State that the thread of the kernel's events shares with the alarm.
#[derive(Default)]
struct Heard {
    /// Set when an event found the channel full.
    overflow: AtomicBool,
    /// Set when the kernel says that events were lost.
    lost: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which files are of interest, by watched folder.
    wanted: HashMap<PathBuf, Interest>,
    /// Watched folders that were moved or removed: no more is heard of them.
    dead: HashSet<PathBuf>,
    touched: Touched,
}

/// Which files of a folder are of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Interest {
    /// Everything.
    All,
    /// These names.
    Names(HashSet<OsString>),
}

/// Which files were written to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    paths: HashSet<PathBuf>,
    too_many: bool,
}

impl Touched {
    /// Whether this file may have been written to.
    pub fn contains(&self, path: &Path) -> bool {
        self.too_many || self.paths.contains(path)
    }

    fn add(&mut self, path: &Path) {
        if self.paths.len() >= MAX_TOUCHED {
            self.too_many = true;
        } else if !self.paths.contains(path) {
            self.paths.insert(path.to_owned());
        }
    }
}

impl Heard {
    /// Turns an event into a wake-up; none for an event about other files.
    fn hear(&self, event: Result<notify::Event, notify::Error>) -> Option<Wake> {
        if event.as_ref().is_ok_and(notify::Event::need_rescan) {
            self.lost.store(true, Ordering::Release);
        }
        let wake = meaning(&event)?;
        let Ok(event) = event else { return Some(wake) };
        if event.paths.is_empty() || event.need_rescan() {
            return Some(wake);
        }
        let mut state = self.state.lock();
        let State { wanted, dead, touched } = &mut *state;
        let goes = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        let mut concerns = false;
        for path in &event.paths {
            if goes && wanted.contains_key(path) {
                // The watch goes with it, and those of the folders below.
                dead.extend(wanted.keys().filter(|folder| folder.starts_with(path)).cloned());
                concerns = true;
            }
            let interest = path.parent().and_then(|folder| wanted.get(folder));
            concerns |= match (interest, path.file_name()) {
                (Some(Interest::All), _) => true,
                (Some(Interest::Names(names)), Some(name)) => names.contains(name),
                _ => false,
            };
            if wake == Wake::Written {
                touched.add(path);
            }
        }
        concerns.then_some(wake)
    }
}

impl Alarm {
    /// Starts listening. The error says why there are no events; the alarm then only polls.
    pub fn new() -> (Alarm, Option<NoEvents>) {
        let (sender, events) = sync_channel(64);
        let events_to = sender.clone();
        let heard: Arc<Heard> = Arc::default();
        let hears = Arc::clone(&heard);
        let watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            let Some(wake) = hears.hear(event) else { return };
            if events_to.try_send(wake).is_err() {
                hears.overflow.store(true, Ordering::Release);
            }
        });
        let (watcher, error) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.into())),
        };
        (Alarm { events, sender, heard, watcher, watched: HashMap::new(), links: HashSet::new() }, error)
    }

    /// Something that wakes the follower from elsewhere.
    pub fn wakeup(&self) -> SyncSender<Wake> {
        self.sender.clone()
    }

    /// Listens to exactly these folders, not to what is below them; to what the way to `root` depends on; and, where they
    /// are links, to what these files depend on. Says whether something is listened to that was not before: who looked
    /// already has to look again.
    ///
    /// # Errors
    ///
    /// The first refusal of a folder. The others are tried all the same, and a refused folder again at the next call.
    pub fn watch(
        &mut self,
        root: &Path,
        folders: &[PathBuf],
        files: &[PathBuf],
    ) -> (bool, Result<(), NoEvents>) {
        let Some(watcher) = &mut self.watcher else { return (false, Ok(())) };
        let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        self.links.retain(|path| is_link(path));
        // Where nothing was found yet the usual ones are waited for.
        let usual = ["current", "dns.log"].map(|name| root.join(name));
        for path in folders.iter().chain(files).chain(&usual) {
            if self.links.len() < MAX_LINKS_KEPT && is_link(path) {
                self.links.insert(path.clone());
            }
        }
        let wanted = wanted(root, folders, &self.links);
        let dead = {
            let mut state = self.heard.state.lock();
            state.wanted = wanted.values().map(|(path, interest)| (path.clone(), interest.clone())).collect();
            std::mem::take(&mut state.dead)
        };
        self.watched.retain(|id, path| {
            let keep = !dead.contains(path) && wanted.get(id).is_some_and(|(wanted, _)| wanted == path);
            if !keep {
                drop(watcher.unwatch(path)); // it may be gone, and its watch with it
            }
            keep
        });
        let (mut is_new, mut first_error) = (false, None);
        for (id, (path, interest)) in wanted {
            if self.watched.contains_key(&id) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    is_new = true;
                    self.watched.insert(id, path);
                }
                // A folder on the way may be closed to us; without it a change is noticed at the next poll.
                Err(error) if interest == Interest::All => {
                    first_error = first_error.or(Some(error.into()));
                }
                Err(_) => {}
            }
        }
        (is_new, first_error.map_or(Ok(()), Err))
    }

    /// The files that were written to since this was asked last, as far as events tell.
    pub fn take_touched(&self) -> Touched {
        std::mem::take(&mut self.heard.state.lock().touched)
    }

    /// Whether there are events at all; where there are none it only polls.
    pub fn has_events(&self) -> bool {
        self.watcher.is_some()
    }

    /// Whether the kernel lost events since this was asked last.
    pub fn take_lost(&self) -> bool {
        self.heard.lost.swap(false, Ordering::AcqRel)
    }

    /// Waits for something to happen, at most so long, and says the most that may have.
    pub fn wait(&self, at_most: Duration) -> Wake {
        let mut wake = match self.events.recv_timeout(at_most) {
            Ok(wake) => wake,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Wake::Poll,
        };
        while let Ok(more) = self.events.try_recv() {
            wake = wake.max(more);
        }
        if self.heard.overflow.swap(false, Ordering::AcqRel) {
            wake = Wake::Changed;
        }
        wake
    }
}

/// The folders to watch, by device and inode: path and files of interest.
fn wanted(
    root: &Path,
    folders: &[PathBuf],
    links: &HashSet<PathBuf>,
) -> HashMap<(u64, u64), (PathBuf, Interest)> {
    let mut wanted: HashMap<(u64, u64), (PathBuf, Interest)> = HashMap::new();
    let id = |folder: &Path| fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    for folder in folders {
        let path = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        if let Some(id) = id(&path) {
            wanted.entry(id).or_insert((path, Interest::All));
        }
    }
    for path in links.iter().map(PathBuf::as_path).chain([root]) {
        for (folder, name) in way(path) {
            let Some(id) = id(&folder) else { continue };
            let (_, interest) = wanted.entry(id).or_insert((folder, Interest::Names(HashSet::new())));
            if let Interest::Names(names) = interest {
                names.insert(name);
            }
        }
    }
    wanted
}

/// The names that a path goes through, each with the folder in which it is looked up; links on the way are followed.
fn way(path: &Path) -> Vec<(PathBuf, OsString)> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let owned = |path: &Path| -> Vec<OsString> {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            _ => None,
        });
        names.map(OsStr::to_owned).collect()
    };
    let (mut at, mut left, mut links) = (PathBuf::from("/"), VecDeque::from(owned(&path)), 0);
    let mut way = Vec::new();
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        way.push((at.clone(), name));
        match fs::read_link(&next) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                owned(&target).into_iter().rev().for_each(|name| left.push_front(name));
            }
            _ => at = next,
        }
    }
    way
}

/// The wake-up for a kind of event; none for kinds that change no log.
fn meaning(event: &Result<notify::Event, notify::Error>) -> Option<Wake> {
    let Ok(event) = event else { return Some(Wake::Changed) };
    if event.need_rescan() {
        return Some(Wake::Changed);
    }
    match event.kind {
        // Some writers close a log after each line. What is new in the folder itself has told of itself before.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Wake::Written),
        EventKind::Access(_) => None, // reading wakes nobody, least of all ourselves
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => Some(Wake::Written),
        _ => Some(Wake::Changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lost_events_mean_that_everything_may_have_changed_and_name_the_sysctl() {
        let lost = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(meaning(&Ok(lost)), Some(Wake::Changed));
        assert_eq!(meaning(&Err(notify::Error::generic("x"))), Some(Wake::Changed));
        assert!(LOST_EVENTS.contains("fs.inotify.max_queued_events"));
    }

    #[test]
    fn a_limit_that_is_reached_names_the_sysctl() {
        let watches = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
        assert!(NoEvents::from(watches).to_string().contains("fs.inotify.max_user_watches"));
        let instances = notify::Error::io(std::io::Error::from_raw_os_error(24));
        assert!(NoEvents::from(instances).to_string().contains("fs.inotify.max_user_instances"));
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn writing_and_renaming_wake_and_reading_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dns.log");
        let mut file = std::fs::File::create(&path).unwrap();
        let (mut alarm, error) = Alarm::new();
        assert!(error.is_none());
        let watched = alarm.watch(folder.path(), &[folder.path().to_owned()], &[]);
        assert!(watched.0 && watched.1.is_ok());
        file.write_all(b"x\n").unwrap();
        assert_eq!(alarm.wait(LONG), Wake::Written);
        std::fs::read(&path).unwrap();
        assert_eq!(alarm.wait(Duration::from_millis(20)), Wake::Poll);
        std::fs::rename(&path, folder.path().join("dns.1.log")).unwrap();
        assert_eq!(alarm.wait(LONG), Wake::Changed);
    }

    #[test]
    fn a_bell_wakes() {
        let (alarm, _) = Alarm::new();
        alarm.wakeup().send(Wake::Changed).unwrap();
        assert_eq!(alarm.wait(LONG), Wake::Changed);
    }

    #[test]
    fn a_folder_that_is_not_there_does_not_keep_the_others_from_being_heard() {
        let folder = tempfile::tempdir().unwrap();
        let (mut alarm, _) = Alarm::new();
        let folders = [folder.path().join("missing"), folder.path().to_owned()];
        let (is_new, watched) = alarm.watch(folder.path(), &folders, &[]);
        // A folder that does not exist yet is awaited in its parent.
        assert!(is_new && watched.is_ok());
        std::fs::write(folder.path().join("new"), b"").unwrap();
        assert_eq!(alarm.wait(LONG), Wake::Changed);
    }

    /// What is heard once something is done; [`Wake::Poll`] is nothing.
    fn heard(alarm: &Alarm, done: impl FnOnce()) -> Wake {
        while alarm.wait(Duration::from_millis(20)) != Wake::Poll {}
        done();
        alarm.wait(LONG)
    }

    #[test]
    fn a_folder_of_the_same_name_that_is_another_one_is_watched_anew() {
        let root = tempfile::tempdir().unwrap();
        let current = root.path().join("current");
        let folders = [root.path().to_owned(), current.clone()];
        fs::create_dir(&current).unwrap();
        let (mut alarm, _) = Alarm::new();
        assert!(alarm.watch(root.path(), &folders, &[]).0);
        for round in 0..5 {
            let gone = root.path().join(format!("gone{round}"));
            let wake = heard(&alarm, || {
                // Moved away, or removed: the new one may have the inode of the old one then.
                match round % 2 {
                    0 => fs::rename(&current, &gone).unwrap(),
                    _ => fs::remove_dir_all(&current).unwrap(),
                }
                fs::create_dir(&current).unwrap();
            });
            assert_eq!(wake, Wake::Changed);
            while alarm.wait(Duration::from_millis(20)) != Wake::Poll {}
            assert!(alarm.watch(root.path(), &folders, &[]).0, "{round}");
            assert!(!alarm.watch(root.path(), &folders, &[]).0, "{round}");
            assert_eq!(heard(&alarm, || fs::write(current.join("dns.log"), b"x").unwrap()), Wake::Changed);
            // The event of writing may come after the event of creation.
            let begun = std::time::Instant::now();
            while !alarm.take_touched().contains(&current.join("dns.log")) {
                assert!(begun.elapsed() < LONG, "{round}");
                alarm.wait(Duration::from_millis(20));
            }
        }
    }

    #[test]
    fn links_are_heard_of_when_they_lead_elsewhere_and_where_they_lead() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in ["logs", "a", "b", "elsewhere"] {
            fs::create_dir(path(folder)).unwrap();
        }
        fs::write(path("elsewhere/1.log"), b"x").unwrap();
        // The folder that holds the link to the folder of logs is no part of the source, nor is what the log links to.
        symlink(path("a"), path("current")).unwrap();
        symlink("../elsewhere/1.log", path("a/dns.log")).unwrap();
        let (mut alarm, _) = Alarm::new();
        let source = path("current");
        alarm.watch(&source, std::slice::from_ref(&source), &[source.join("dns.log")]).1.unwrap();
        let mut log = fs::File::options().append(true).open(path("elsewhere/1.log")).unwrap();
        assert_eq!(heard(&alarm, || log.write_all(b"y").unwrap()), Wake::Written);
        let point = |to: &str| {
            symlink(path(to), path("current.new")).unwrap();
            fs::rename(path("current.new"), path("current")).unwrap();
        };
        assert_eq!(heard(&alarm, || point("b")), Wake::Changed);
        assert!(alarm.watch(&source, std::slice::from_ref(&source), &[]).0);
        assert_eq!(heard(&alarm, || fs::write(path("b/dns.log"), b"x").unwrap()), Wake::Changed);
        // Other files there wake nobody.
        while alarm.wait(Duration::from_millis(20)) != Wake::Poll {}
        fs::write(path("unrelated"), b"x").unwrap();
        fs::write(path("elsewhere/2.log"), b"x").unwrap();
        assert_eq!(alarm.wait(Duration::from_millis(100)), Wake::Poll);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_heard_of_when_it_leads_somewhere_again() {
        let root = tempfile::tempdir().unwrap();
        let (logs, spool) = (root.path().join("logs"), root.path().join("spool"));
        fs::create_dir(&logs).unwrap();
        std::os::unix::fs::symlink("../spool", logs.join("current")).unwrap();
        let (mut alarm, _) = Alarm::new();
        // There from the start, and moved away under us: what is found does not hold it then.
        alarm.watch(&logs, std::slice::from_ref(&logs), &[]).1.unwrap();
        for round in 0..3 {
            assert_eq!(heard(&alarm, || fs::create_dir(&spool).unwrap()), Wake::Changed, "{round}");
            let folders = [logs.clone(), logs.join("current")];
            assert!(alarm.watch(&logs, &folders, &[]).0);
            let gone = root.path().join(format!("gone{round}"));
            assert_eq!(heard(&alarm, || fs::rename(&spool, gone).unwrap()), Wake::Changed, "{round}");
            alarm.watch(&logs, std::slice::from_ref(&logs), &[]).1.unwrap();
        }
    }

    #[test]
    fn a_writer_that_closes_its_log_after_each_line_changes_nothing_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("dns.log");
        fs::write(&log, b"x\n").unwrap();
        let (mut alarm, _) = Alarm::new();
        alarm.watch(folder.path(), &[folder.path().to_owned()], &[]).1.unwrap();
        for _ in 0..5 {
            let wake = heard(&alarm, || {
                let mut log = fs::File::options().create(true).append(true).open(&log).unwrap();
                log.write_all(b"y\n").unwrap();
            });
            assert_eq!(wake, Wake::Written);
        }
    }
}
