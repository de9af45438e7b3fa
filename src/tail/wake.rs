//! An alarm clock for a follower: file-system events wake it, and a poll interval does so at the latest.
//!
//! Events are hints. They can be late, merged, lost or not exist at all (NFS); whoever is woken looks for himself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// What may have happened since the last look.
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

/// What is said when the kernel had more events than its queue holds: nothing is missed, for everything is looked at then.
pub const LOST_EVENTS: &str = "its queue was full and events were lost, so everything was looked at; should it happen often, \
    raise the limit: sysctl fs.inotify.max_queued_events=65536";

/// Wakes one follower.
pub struct Alarm {
    events: Receiver<Wake>,
    /// For whoever else wants to wake the follower.
    sender: SyncSender<Wake>,
    /// Set when an event found the channel full.
    overflow: Arc<AtomicBool>,
    /// Set when the kernel says that events were lost.
    lost: Arc<AtomicBool>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Alarm {
    /// Starts listening. The error says why there are no events; the alarm then only polls.
    pub fn new() -> (Alarm, Option<NoEvents>) {
        let (sender, events) = sync_channel(64);
        let events_to = sender.clone();
        let overflow = Arc::new(AtomicBool::new(false));
        let overflowed = Arc::clone(&overflow);
        let lost = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&lost);
        let watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            if event.as_ref().is_ok_and(notify::Event::need_rescan) {
                told.store(true, Ordering::Release);
            }
            let Some(wake) = meaning(event) else { return };
            if events_to.try_send(wake).is_err() {
                overflowed.store(true, Ordering::Release);
            }
        });
        let (watcher, error) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.into())),
        };
        (Alarm { events, sender, overflow, lost, watcher, watched: Vec::new() }, error)
    }

    /// Something that wakes the follower from elsewhere.
    pub fn bell(&self) -> SyncSender<Wake> {
        self.sender.clone()
    }

    /// Listens to exactly these folders, not to what is below them.
    ///
    /// # Errors
    ///
    /// The first refusal. The others are tried all the same, and a refused folder again at the next call.
    pub fn watch(&mut self, folders: &[PathBuf]) -> Result<(), NoEvents> {
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        self.watched.retain(|folder| {
            let keep = folders.contains(folder);
            if !keep {
                drop(watcher.unwatch(folder)); // it may be gone, and its watch with it
            }
            keep
        });
        let mut first_error = None;
        for folder in folders {
            if self.watched.contains(folder) {
                continue;
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => self.watched.push(folder.clone()),
                Err(error) => first_error = first_error.or(Some(error.into())),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Forgets a folder that was replaced by another of the same name, so that the next [`Alarm::watch`] takes the new one.
    pub fn forget(&mut self, folder: &Path) {
        if let Some(watcher) = &mut self.watcher {
            drop(watcher.unwatch(folder));
        }
        self.watched.retain(|watched| watched != folder);
    }

    /// Whether there are events at all; where there are none it only polls.
    pub fn has_events(&self) -> bool {
        self.watcher.is_some()
    }

    /// Whether the kernel lost events since this was asked last.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
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
        if self.overflow.swap(false, Ordering::AcqRel) {
            wake = Wake::Changed;
        }
        wake
    }
}

/// What an event may mean; nothing for one that does not concern us.
fn meaning(event: Result<notify::Event, notify::Error>) -> Option<Wake> {
    let Ok(event) = event else { return Some(Wake::Changed) };
    if event.need_rescan() {
        return Some(Wake::Changed);
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Wake::Changed),
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
        assert_eq!(meaning(Ok(lost)), Some(Wake::Changed));
        assert_eq!(meaning(Err(notify::Error::generic("x"))), Some(Wake::Changed));
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
        alarm.watch(&[folder.path().to_owned()]).unwrap();
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
        alarm.bell().send(Wake::Changed).unwrap();
        assert_eq!(alarm.wait(LONG), Wake::Changed);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_the_others_are_heard() {
        let folder = tempfile::tempdir().unwrap();
        let (mut alarm, _) = Alarm::new();
        let folders = [folder.path().join("missing"), folder.path().to_owned()];
        assert!(alarm.watch(&folders).is_err());
        std::fs::write(folder.path().join("new"), b"").unwrap();
        assert_eq!(alarm.wait(LONG), Wake::Changed);
    }
}
