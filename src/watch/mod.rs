//! Watching: what feeds say is bad is met with what is there, and with each line that comes.
//!
//! - [`folder`] keeps feeds, each a file ([`feed`]) that is written once and replaced as a whole;
//! - [`set`] is all feeds together: the store hands it each batch before it is seen, and commits what is met with the rows;
//! - [`pulled`] is how pulling a feed from a server goes, which another process does;
//! - [`history`] looks through what is there when indicators come, and [`walk_progress`] is how far it is;
//! - [`novel`] makes events of what was never seen before;
//! - [`line`] is a hit as it is written, [`export`] many of them for other programs, [`outlet`] is how hits go out, [`file`] is a file of them, [`key`] and [`note`] are what is kept of indicators.
//!
//! [`Watching`] is what puts them together in a daemon, or in a command that has the ledger.
//!
//! Feeds are files and not rows of the ledger: a feed is replaced as a whole, which a file allows in one step, and it does not come
//! from logs. A backup of the ledger does without them.

mod export;
mod feed;
mod file;
mod folder;
mod history;
mod hit_pages;
mod key;
mod line;
mod note;
mod novel;
mod outlet;
mod pulled;
mod set;
mod walk_progress;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

pub use export::{misp, stix};
pub use feed::{Feed, FeedMeta};
pub use file::{FileForm, HitFile};
pub use folder::{FeedFolder, FeedRules, Imported, WatchError, check_name, expand_allow, read_allow};
pub use hit_pages::{HitPlace, HitsFound, HitsWanted, find_hits};
pub use line::{HitFilter, HitLine, KINDS, Sought, ledger_name, parse_numbers};
pub use novel::{Novelty, Which};
pub use outlet::{AN_HOUR, Outlet, Sent, Summed};
pub use pulled::{PullNote, PullStatus};
pub use set::Set;

use crate::base::clock::now;
use crate::base::shutdown::Stop;
use crate::indicators::{AllowList, Format, Options, ReadError};
use crate::lookup::Brands;
use crate::store::{NewHit, StoreError, Watch, WriteStore};
use set::SetBuilder;

/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How many feeds are listed where somebody names one that does not exist.
const MOST_TOLD: usize = 20;
/// Files that one feed is read of, at most.
const MAX_FILES: usize = 1000;

/// A feed that the configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedConfig {
    /// Its name.
    pub name: String,
    /// Whether names are meant with all that is below them, whatever its format says.
    pub below: Option<bool>,
    /// Indicators with less confidence than this are left out.
    pub confidence_min: Option<u8>,
    /// Indicators that their source last saw longer ago are left out; a feed that was not read for so long is stale.
    pub max_age: Option<Duration>,
    /// Harmless names, networks, or files of them.
    pub allow: Vec<String>,
    /// The file, or the folder of files, that it is read from when it changes; empty for none.
    pub file: PathBuf,
    /// Whether it is pulled from a server, by another process.
    pub is_pulled: bool,
    /// How its lists are written; found out where that is not said.
    pub format: Option<Format>,
    /// The column of a CSV that holds the indicators.
    pub column: Option<String>,
}

impl FeedConfig {
    /// How its list is read.
    pub fn reading(&self, now: u64) -> FeedRules {
        let options = Options {
            below: self.below,
            confidence_min: self.confidence_min,
            format: self.format,
            column: self.column.clone(),
            ..Options::default()
        };
        let not_before = self.max_age.map_or(0, |age| now.saturating_sub(age.as_secs()));
        FeedRules { options, not_before, ..FeedRules::default() }
    }
}

/// The feeds, and the settings they share.
#[derive(Debug, Clone, Default)]
pub struct WatchConfig {
    /// The feeds that the configuration names.
    pub feeds: Vec<FeedConfig>,
    /// Own names and networks, or files of them: harmless, whatever feeds say.
    pub own: Vec<String>,
    /// Which new domains become events.
    pub events: Which,
    /// The brands.
    pub brands: Brands,
}

/// The status of a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// Its indicators and exceptions.
    pub indicators: u64,
    /// When it was read, epoch seconds.
    pub read_at: u64,
    /// How long ago it was read, seconds.
    pub age: u64,
    /// Whether it was not read for longer than it may be.
    pub stale: bool,
    /// How it was written.
    pub format: String,
    /// Its title.
    pub title: Option<String>,
    /// How many entries were not taken, by reason.
    pub skipped: Vec<(String, u64)>,
    /// Whether a smaller one is held back.
    pub held: bool,
    /// Whether all that is there was looked through with it.
    pub walked: bool,
    /// Why it could not be read, if so.
    pub fault: Option<String>,
    /// How pulling it goes, where it is pulled from a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullStatus>,
}

/// The set of indicators in use.
#[derive(Default)]
pub struct Watched {
    /// All feeds together.
    pub set: Option<Arc<Set>>,
    /// Feeds that there are, or that are configured, by name.
    pub feeds: Vec<String>,
    /// How many indicators all feeds have.
    pub indicators: u64,
    /// Feeds that what is there was not held against yet, or that cannot be read.
    pub pending: Vec<String>,
}

impl Watched {
    /// The feeds that exist, as a hint for somebody who named another.
    pub fn feeds_hint(&self) -> String {
        let some: Vec<&str> = self.feeds.iter().take(MOST_TOLD).map(String::as_str).collect();
        match some.as_slice() {
            [] => "there is none: `dnsledger indicators import --feed NAME FILE` makes one".to_owned(),
            _ => format!("there are {}", some.join(", ")),
        }
    }
}

/// Watches for indicators, in a process that has the ledger.
pub struct Watching {
    store: Arc<dyn WriteStore>,
    folder: FeedFolder,
    configs: Vec<FeedConfig>,
    own: AllowList,
    novelty: Novelty,
    current: Mutex<Current>,
    wakeup: (Mutex<bool>, Condvar),
    /// Held by who changes the set.
    changing: Mutex<()>,
}

struct Current {
    set: Arc<Set>,
    /// Stamps of the files of the set, to see changes.
    stamps: BTreeMap<String, String>,
    faults: BTreeMap<String, String>,
}

impl Watching {
    /// Takes up what is kept in a data folder: from now on what comes is looked through.
    pub fn start(store: Arc<dyn WriteStore>, data: &Path, config: WatchConfig) -> Watching {
        let WatchConfig { feeds: configs, own, events, brands } = config;
        let own = read_allow(&own).unwrap_or_else(|error| {
            tracing::error!(%error, "The list of one's own names and networks (watch.own) cannot be read: it takes nothing for harmless.");
            AllowList::default()
        });
        let novelty = Novelty::of(Arc::clone(&store), data, events, brands, own.clone());
        let set = Arc::new(SetBuilder::new().finish());
        let current = Current { set, stamps: BTreeMap::new(), faults: BTreeMap::new() };
        let watching = Watching {
            store,
            folder: FeedFolder::of(data),
            configs,
            own,
            novelty,
            current: Mutex::new(current),
            wakeup: Default::default(),
            changing: Mutex::default(),
        };
        watching.reload();
        watching
    }

    /// Own names and networks, which are harmless.
    pub fn own(&self) -> &AllowList {
        &self.own
    }

    /// Events of what is new.
    pub fn novelty(&self) -> &Novelty {
        &self.novelty
    }

    /// All feeds together.
    pub fn set(&self) -> Arc<Set> {
        Arc::clone(&self.current.lock().set)
    }

    /// Somebody has changed a feed.
    pub fn wake(&self) {
        *self.wakeup.0.lock() = true;
        self.wakeup.1.notify_all();
    }

    fn config(&self, name: &str) -> Option<&FeedConfig> {
        self.configs.iter().find(|config| config.name == name)
    }

    /// Takes feeds up that have changed, and lets go of those that are gone.
    pub fn reload(&self) {
        let _alone = self.changing.lock();
        let names = match self.folder.names() {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "Feeds cannot be read.");
                return;
            }
        };
        let stamps: BTreeMap<String, String> =
            names.iter().map(|name| (name.clone(), stamp(&self.folder.feed(name)))).collect();
        if stamps == self.current.lock().stamps {
            return;
        }
        let (mut builder, mut faults) = (SetBuilder::new(), BTreeMap::new());
        for name in &names {
            let allow =
                self.config(name).map_or(Ok(AllowList::default()), |config| read_allow(&config.allow));
            let mut allow = allow.unwrap_or_else(|error| {
                faults.insert(name.clone(), format!("its exceptions: {error}"));
                AllowList::default()
            });
            allow.merge(&self.own);
            if let Err(error) = builder.open(&self.folder.feed(name), &allow) {
                tracing::error!(feed = name, %error, "A feed cannot be used.");
                faults.insert(name.clone(), error.to_string());
            }
        }
        let set = Arc::new(builder.finish());
        tracing::info!(feeds = names.len(), indicators = set.indicators, "Feeds are taken up.");
        // Batches staged from now on are matched against the new set.
        let watch = (!set.is_empty()).then(|| Arc::clone(&set) as Arc<dyn Watch>);
        self.store.watch(watch);
        let mut current = self.current.lock();
        (current.set, current.stamps) = (set, stamps);
        current.faults.retain(|name, _| self.config(name).is_some());
        current.faults.extend(faults);
    }

    /// Reads feeds whose files have changed, takes up what is there, and looks through history with what is new in it.
    pub fn pass(&self, stop: &Stop) {
        for config in self.configs.iter().filter(|config| !config.file.as_os_str().is_empty()) {
            let fault = self.read(config).err().map(|error| error.to_string());
            let mut current = self.current.lock();
            if let Some(why) = fault.as_ref().filter(|why| current.faults.get(&config.name) != Some(why)) {
                tracing::error!(feed = config.name, %why, "A feed cannot be read. What is there of it stays.");
            }
            match fault {
                Some(why) => drop(current.faults.insert(config.name.clone(), why)),
                None => drop(current.faults.remove(&config.name)),
            }
        }
        self.reload();
        let set = self.set();
        let due: Vec<Arc<Feed>> = set.feeds().filter(|feed| !self.folder.is_walked(feed)).cloned().collect();
        if due.is_empty() || stop.is_stopped() {
            return;
        }
        match history::walk(&*self.store, &set, &due, &self.folder, stop) {
            Ok(Some(new)) => {
                tracing::info!(hits = new, "All that is there was looked through with the new indicators.");
                for feed in &due {
                    if let Err(error) = self.folder.walked(feed) {
                        tracing::warn!(%error, "It cannot be noted that history was looked through.");
                    }
                }
                self.folder.forget_place();
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "Looking through history failed. It goes on later.");
            }
        }
    }

    /// Makes one pass after the other, until it is stopped.
    pub fn run(&self, stop: &Stop) {
        while !stop.is_stopped() {
            self.pass(stop);
            let mut is_woken = self.wakeup.0.lock();
            let until = std::time::Instant::now() + LOOK_EVERY;
            while !*is_woken && !stop.is_stopped() && std::time::Instant::now() < until {
                self.wakeup.1.wait_for(&mut is_woken, Duration::from_millis(200));
            }
            *is_woken = false;
        }
    }

    /// Reads the files of a feed if they have changed.
    fn read(&self, config: &FeedConfig) -> Result<(), WatchError> {
        let files =
            files(&config.file).map_err(|error| WatchError::Io { path: config.file.clone(), error })?;
        let source: String = files.iter().map(|file| format!("{};", stamp(file))).collect();
        let known = |meta: Option<FeedMeta>| meta.is_some_and(|meta| meta.source.as_deref() == Some(&source));
        let there =
            self.set().feeds().find(|feed| feed.meta.name == config.name).map(|feed| feed.meta.clone());
        if known(there) || known(self.folder.held(&config.name)) {
            return Ok(());
        }
        let now = now();
        let reading = FeedRules { replace: true, source: Some(source), ..config.reading(now) };
        let mut inputs =
            files.iter().map(|file| fs::File::open(file).map(|file| Box::new(file) as Box<dyn Read>));
        let imported = self.folder.import(&config.name, &mut inputs, &reading, now)?;
        if imported.held {
            tracing::warn!(
                feed = config.name,
                before = imported.before,
                indicators = imported.entries,
                "A feed shrank by over half, or to nothing, and is held back: `dnsledger indicators confirm` takes it, or when it is read so once more."
            );
        }
        Ok(())
    }

    /// How pulling a feed goes, where it is pulled.
    fn pull_status(&self, name: &str) -> Option<PullStatus> {
        let is_pulled = self.config(name).is_some_and(|config| config.is_pulled);
        is_pulled.then(|| self.folder.pull_note(name).into())
    }

    /// The status of each feed.
    pub fn feeds(&self) -> Vec<FeedStatus> {
        let (set, faults) = {
            let current = self.current.lock();
            (Arc::clone(&current.set), current.faults.clone())
        };
        let now = now();
        let mut all: Vec<FeedStatus> = set
            .feeds()
            .map(|feed| {
                let FeedMeta { name, read_at, format, title, skipped, .. } = feed.meta.clone();
                let age = now.saturating_sub(read_at);
                let max_age = self.config(&name).and_then(|config| config.max_age);
                let pull = self.pull_status(&name);
                // Where nothing has changed it is as good as read.
                let fresh = pull.as_ref().map_or(age, |pull| age.min(now.saturating_sub(pull.pulled_at)));
                FeedStatus {
                    indicators: feed.entries,
                    read_at,
                    age,
                    stale: max_age.is_some_and(|max| fresh > max.as_secs()),
                    format,
                    title,
                    skipped,
                    held: self.folder.held(&name).is_some(),
                    walked: self.folder.is_walked(feed),
                    fault: faults.get(&name).cloned(),
                    pull,
                    name,
                }
            })
            .collect();
        for config in self.configs.iter().filter(|config| config.is_pulled) {
            if !all.iter().any(|feed| feed.name == config.name) {
                let (name, pull) = (config.name.clone(), self.pull_status(&config.name));
                let fault = faults.get(&name).cloned();
                let held = self.folder.held(&name).is_some();
                all.push(FeedStatus { name, pull, fault, held, walked: true, ..FeedStatus::default() });
            }
        }
        for (name, fault) in faults {
            if !all.iter().any(|feed| feed.name == name) {
                all.push(FeedStatus { name, fault: Some(fault), ..FeedStatus::default() });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The set of indicators in use.
    pub fn watched(&self) -> Watched {
        let (set, faults) = {
            let current = self.current.lock();
            (Arc::clone(&current.set), current.faults.clone())
        };
        let configured = self.configs.iter().map(|config| config.name.clone());
        let there = set.feeds().map(|feed| feed.meta.name.clone());
        let feeds: BTreeSet<String> = there.chain(configured).chain(faults.keys().cloned()).collect();
        let unwalked = set.feeds().filter(|feed| !self.folder.is_walked(feed));
        let pending: BTreeSet<String> =
            unwalked.map(|feed| feed.meta.name.clone()).chain(faults.into_keys()).collect();
        Watched {
            feeds: feeds.into_iter().collect(),
            indicators: set.indicators,
            pending: pending.into_iter().collect(),
            set: Some(set),
        }
    }

    /// Makes the set of hits again of rows, questions and indicators, and says which are missing. `commit` commits what is staged.
    /// Indicators whose walk through the history is not done yet are left out.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn missing(&self, commit: &dyn Fn() -> Result<(), StoreError>) -> Result<Vec<String>, StoreError> {
        let set = self.set();
        // Where something was dropped by age, hits are dropped by when they were noted.
        let is_cut = self.store.expired_before() > 0;
        if is_cut || set.is_empty() || set.feeds().any(|feed| !self.folder.is_walked(feed)) {
            return Ok(Vec::new());
        }
        let missing = history::missing(&*self.store, &set)?;
        // Hits that were staged meanwhile get their numbers with the commit.
        commit()?;
        let missing = self.store.missing_hits(&missing)?;
        let shown = |hit: &NewHit| {
            let indicator = key::read(&hit.indicator).map(|(value, _)| value.to_string()).unwrap_or_default();
            format!("{} is met by {indicator}, and is not a hit", hit.rrname)
        };
        Ok(missing.iter().map(shown).collect())
    }

    /// Matches that an exception suppressed, and matches that failed.
    pub fn counts(&self) -> (u64, u64) {
        let set = self.set();
        (set.muted.load(Ordering::Relaxed), set.failed.load(Ordering::Relaxed))
    }
}

/// The files of a feed: itself, or those of a folder.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if entry.is_file() && !is_hidden {
            files.push(entry);
        }
        if files.len() > MAX_FILES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the folder has more than 1,000 files"));
        }
    }
    files.sort();
    Ok(files)
}

/// A file's stamp: it changes whenever the file is replaced or written to.
fn stamp(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else { return String::new() };
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}:{}", changed.unwrap_or_default().as_nanos(), metadata.len())
}

impl From<WatchError> for io::Error {
    fn from(error: WatchError) -> io::Error {
        match error {
            WatchError::Io { error, .. } | WatchError::Read(ReadError::Io(error)) => error,
            error => io::Error::other(error.to_string()),
        }
    }
}
