//! Which files of a source may be logs, and which of them are live, whatever Zeek and those behind it call them.
//!
//! A name only says what to look at; what a file *is* the content says, to whoever reads it. Looked at are files whose
//! names contain `dns`, in capitals or not, and those that the source names by patterns, in folders of any depth within a
//! bound. What links lead to is looked at after all else. Named live are `dns.log` and `json_streaming_dns.log` outside dated folders; others may be live, too.
//! Names that start with a dot never count: Zeek's shadow files and an archiver's unfinished ones. What is seen and not
//! looked at is listed with its reason.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::open::{KERNELS_OWN, is_made_up};
use crate::status::{Unread, UnreadKind};

/// How many folders of a source are entered.
const MAX_FOLDERS: usize = 20_000;
/// How deep folders are searched that a link leads to: it may lead anywhere.
const MAX_DEPTH_BEHIND_LINK: usize = 8;
/// How many names are remembered of files that are no logs.
const OTHERS_NAMED: usize = 3;

/// Where is searched, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Patterns of further names of logs.
    pub names: Vec<glob::Pattern>,
    /// How many levels of folders below the source are entered.
    pub depth: usize,
    /// How many folders are entered.
    pub folders: usize,
    /// The folder of the ledger: nothing in it is a log.
    pub data: Option<PathBuf>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { names: Vec::new(), depth: 32, folders: MAX_FOLDERS, data: None }
    }
}

/// A file as the file system tells it: what must not have changed for a file to be the same as at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes on disk.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub modified: i128,
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        }
    }
}

impl Stamp {
    /// How long the form is that can be kept.
    pub const BYTES: usize = 40;

    /// A form that can be kept: every number big-endian.
    pub fn to_bytes(&self) -> [u8; Stamp::BYTES] {
        let mut bytes = [0; Stamp::BYTES];
        let parts = [self.device.to_be_bytes(), self.inode.to_be_bytes(), self.size.to_be_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.iter().flatten().chain(&self.modified.to_be_bytes())) {
            *to = *from;
        }
        bytes
    }

    /// Takes back what [`Stamp::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Stamp> {
        let (device, rest) = bytes.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        Some(Stamp {
            device: u64::from_be_bytes(*device),
            inode: u64::from_be_bytes(*inode),
            size: u64::from_be_bytes(*size),
            modified: i128::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// One file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it is.
    pub path: PathBuf,
    /// What the file system says of it.
    pub stamp: Stamp,
}

/// What is in a source.
#[derive(Debug, Default)]
pub struct Listing {
    /// Logs that may still grow.
    pub live: Vec<FoundFile>,
    /// Rotated and compressed logs, the oldest first. What is not compressed may be live as well.
    pub archives: Vec<FoundFile>,
    /// The folders it was found in: those to listen to.
    pub folders: Vec<PathBuf>,
    /// Files and folders that are not read, and why.
    pub unread: Vec<Unread>,
    /// JSON streaming logs that may still grow. A plain log may hold the same events.
    pub streaming: Vec<FoundFile>,
    /// Such logs that are rotated, the oldest first.
    pub streaming_archives: Vec<FoundFile>,
    /// How many files have other names than those that are looked for.
    pub others: u64,
    /// Some of them.
    pub other_names: Vec<PathBuf>,
}

impl Listing {
    /// Notes that something is not read.
    pub fn pass_over(&mut self, path: &Path, kind: UnreadKind, reason: &str) {
        self.unread.push(Unread { path: path.to_owned(), kind, reason: reason.to_owned() });
    }

    /// What was looked for and what was seen, for one who finds no log.
    pub fn seen(&self) -> String {
        let names: Vec<String> = self.other_names.iter().map(|name| name.display().to_string()).collect();
        let seen = match (self.others, names.as_slice()) {
            (0, _) => "no other file".to_owned(),
            (1, [name, ..]) => format!("one other file, {name}"),
            (others, names) => format!("{others} other files, such as {}", names.join(", ")),
        };
        let folders = match self.folders.len() {
            1 => "one folder".to_owned(),
            folders => format!("{folders} folders"),
        };
        format!("looked in {folders} for files whose names contain dns, and saw {seen}")
    }
}

/// What a file's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Live,
    Archive,
}

/// Looks through a source: a folder, a file, or a glob.
///
/// # Errors
///
/// When the source itself is not there or cannot be read; what fails within it is listed with its reason.
pub fn discover(logs: &Path, scope: &Scope) -> io::Result<Listing> {
    let mut search = Search::new(scope);
    if is_glob(logs) {
        search.glob(logs)?;
    } else {
        let metadata = fs::metadata(logs)?;
        if metadata.is_dir() {
            search.folder(logs, search.below_source(), false)?;
            search.follow_links();
        } else {
            search.named_file(logs, &metadata);
        }
    }
    Ok(search.finish())
}

/// Whether a path is a pattern: it has the signs of one, and there is nothing that is called so.
pub fn is_glob(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|b| matches!(b, b'*' | b'?' | b'['))
        && fs::symlink_metadata(path).is_err()
}

struct Search<'s> {
    scope: &'s Scope,
    listing: Listing,
    /// JSON streaming logs, which hold the same events as the plain logs beside them.
    streaming: Listing,
    /// Folders that were entered, by device and inode: links may lead in circles, or twice to one place.
    entered: HashSet<(u64, u64)>,
    /// Files that were found, likewise.
    files: HashSet<(u64, u64)>,
    /// The folder of the ledger, likewise, and its true path.
    data: Option<((u64, u64), PathBuf)>,
    /// Folders that links lead to, and whether they lie in a folder of a day: they are entered after all others, for they may
    /// be among those, where more of them is entered.
    links: VecDeque<Link>,
    /// Whether the bound on folders was reached.
    full: bool,
}

/// A folder that a link leads to.
struct Link {
    path: PathBuf,
    depth: Depth,
    dated: bool,
}

/// How many levels of folders may still be entered.
#[derive(Clone, Copy)]
struct Depth {
    left: usize,
    /// Whether that is so because a link led here.
    behind_link: bool,
}

impl Depth {
    fn below(self) -> Depth {
        Depth { left: self.left.saturating_sub(1), ..self }
    }

    /// Behind a link: it may lead anywhere.
    fn behind_link(self) -> Depth {
        match self.left > MAX_DEPTH_BEHIND_LINK {
            true => Depth { left: MAX_DEPTH_BEHIND_LINK, behind_link: true },
            false => self,
        }
    }
}

impl<'s> Search<'s> {
    fn new(scope: &'s Scope) -> Search<'s> {
        let data = scope.data.as_deref().and_then(|data| {
            let metadata = fs::metadata(data).ok()?;
            Some(((metadata.dev(), metadata.ino()), data.canonicalize().ok()?))
        });
        Search {
            scope,
            listing: Listing::default(),
            streaming: Listing::default(),
            entered: HashSet::new(),
            files: HashSet::new(),
            data,
            links: VecDeque::new(),
            full: false,
        }
    }

    fn below_source(&self) -> Depth {
        Depth { left: self.scope.depth.saturating_add(1), behind_link: false }
    }

    /// Looks through the folders that links lead to.
    fn follow_links(&mut self) {
        while let Some(Link { path, depth, dated }) = self.links.pop_front() {
            if let Err(error) = self.folder(&path, depth, dated) {
                self.fail(&path, &error);
            }
            if path.file_name().is_some_and(|name| name == "current") {
                self.other_loggers(&path);
            }
        }
    }

    fn finish(mut self) -> Listing {
        self.listing.streaming = self.streaming.live;
        self.listing.streaming_archives = self.streaming.archives;
        for archives in [&mut self.listing.archives, &mut self.listing.streaming_archives] {
            archives.sort_by(|a, b| (a.stamp.modified, &a.path).cmp(&(b.stamp.modified, &b.path)));
        }
        for live in [&mut self.listing.live, &mut self.listing.streaming] {
            live.sort_by(|a, b| a.path.cmp(&b.path));
        }
        self.listing
    }

    /// Notes what the file system refuses.
    fn fail(&mut self, path: &Path, error: &io::Error) {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; `dnsledger doctor`, run as root, says how to let the daemon read it"
            }
            _ => "",
        };
        self.pass_over(path, UnreadKind::Unreadable, format!("{error}{hint}"));
    }

    fn pass_over(&mut self, path: &Path, kind: UnreadKind, reason: impl Into<String>) {
        self.listing.unread.push(Unread { path: path.to_owned(), kind, reason: reason.into() });
    }

    /// Looks through one folder and those below it, so many levels.
    fn folder(&mut self, folder: &Path, depth: Depth, dated: bool) -> io::Result<()> {
        let metadata = fs::metadata(folder)?;
        let identity = (metadata.dev(), metadata.ino());
        if self.data.as_ref().is_some_and(|(data, _)| *data == identity) {
            self.pass_over(folder, UnreadKind::PassedOver, "it is the folder of the ledger");
            return Ok(());
        }
        if self.entered.contains(&identity) {
            return Ok(());
        }
        if depth.left == 0 {
            let levels = self.scope.depth;
            let why = match depth.behind_link {
                true => format!(
                    "it lies more than {MAX_DEPTH_BEHIND_LINK} levels below what a link leads to: name that as a source of its own"
                ),
                false => {
                    format!("it lies more than {levels} levels below the source: raise `depth` of the source")
                }
            };
            self.pass_over(folder, UnreadKind::NotEntered, why);
            return Ok(());
        }
        if self.entered.len() >= self.scope.folders {
            if !std::mem::replace(&mut self.full, true) {
                let why = format!(
                    "this folder and all that would come after it are not entered, for there are more than {}: \
                     name folders nearer to the logs, as several sources",
                    self.scope.folders
                );
                self.pass_over(folder, UnreadKind::NotEntered, why);
            }
            return Ok(());
        }
        let entries = fs::read_dir(folder)?;
        self.entered.insert(identity);
        self.listing.folders.push(folder.to_owned());
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push((entry.path(), entry.file_type().ok())),
                Err(error) => {
                    self.fail(folder, &error);
                    break;
                }
            }
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, file_type) in names {
            let Some(name) = path.file_name() else { continue };
            let bytes = name.as_encoded_bytes();
            // Nothing of Zeek's is in the latter, which only root may look into.
            if bytes.starts_with(b".") || bytes == b"lost+found" {
                continue;
            }
            let kind = self.kind(name);
            // Most files of a folder are no logs, and are not looked at.
            if kind.is_none() && file_type.is_some_and(|file_type| file_type.is_file()) {
                self.other(name);
                continue;
            }
            let is_link = file_type.is_none_or(|file_type| file_type.is_symlink());
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    let (below, dated) = (depth.below(), dated || is_date(bytes));
                    if is_link {
                        self.links.push_back(Link { path, depth: below.behind_link(), dated });
                    } else if let Err(error) = self.folder(&path, below, dated) {
                        self.fail(&path, &error);
                    }
                }
                Ok(metadata) => match kind {
                    Some(_) if is_link && self.leads_into_data(&path) => {
                        self.pass_over(
                            &path,
                            UnreadKind::PassedOver,
                            "it leads into the folder of the ledger",
                        );
                    }
                    // Who may write to the folder may let a link lead anywhere.
                    Some(_) if is_link && metadata.is_file() && is_made_up(&path) => {
                        self.pass_over(&path, UnreadKind::PassedOver, KERNELS_OWN);
                    }
                    Some(kind) => self.file(&path, &metadata, if dated { Kind::Archive } else { kind }),
                    None => self.other(name),
                },
                // A link to nowhere, or a file that went away while we looked.
                Err(error) if kind.is_some() && error.kind() != io::ErrorKind::NotFound => {
                    self.fail(&path, &error);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Notes a file that is not looked for.
    fn other(&mut self, name: &OsStr) {
        self.listing.others += 1;
        if self.listing.other_names.len() < OTHERS_NAMED {
            self.listing.other_names.push(name.into());
        }
    }

    fn leads_into_data(&self, path: &Path) -> bool {
        self.data
            .as_ref()
            .is_some_and(|(_, data)| path.canonicalize().is_ok_and(|real| real.starts_with(data)))
    }

    /// In a cluster with several loggers zeekctl's `current` leads to the first one only (`spool/logger-1`); the others
    /// lie beside it.
    fn other_loggers(&mut self, current: &Path) {
        let Ok(target) = fs::canonicalize(current) else { return };
        let (Some(name), Some(spool)) = (target.file_name(), target.parent()) else { return };
        if !name.as_encoded_bytes().starts_with(b"logger-") {
            return;
        }
        let Ok(entries) = fs::read_dir(spool) else { return };
        let mut loggers: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"logger-"))
            })
            .collect();
        loggers.sort();
        for logger in loggers {
            if logger.is_dir()
                && let Err(error) = self.folder(&logger, Depth { left: 1, behind_link: false }, false)
            {
                self.fail(&logger, &error);
            }
        }
    }

    fn glob(&mut self, pattern: &Path) -> io::Result<()> {
        let not_utf8 = || io::Error::new(io::ErrorKind::InvalidInput, "a pattern must be UTF-8");
        let text = pattern.to_str().ok_or_else(not_utf8)?;
        let paths =
            glob::glob(text).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
        for path in paths {
            let path = match path {
                Ok(path) => path,
                Err(error) => {
                    self.fail(error.path(), error.error());
                    continue;
                }
            };
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
                    if let Err(error) = self.folder(&path, self.below_source(), is_date(name)) {
                        self.fail(&path, &error);
                    }
                }
                Ok(metadata) => self.named_file(&path, &metadata),
                Err(error) => self.fail(&path, &error),
            }
        }
        self.follow_links();
        Ok(())
    }

    /// A file that the user named himself: whatever its name, it is looked at.
    fn named_file(&mut self, path: &Path, metadata: &Metadata) {
        let name = path.file_name().unwrap_or_default();
        let packed = unpacked(name.as_encoded_bytes()).len() < name.len();
        let kind = self.kind(name).unwrap_or(if packed { Kind::Archive } else { Kind::Live });
        self.file(path, metadata, kind);
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if !self.listing.folders.iter().any(|known| known == folder) {
                self.listing.folders.push(folder.to_owned());
            }
        }
    }

    fn file(&mut self, path: &Path, metadata: &Metadata, kind: Kind) {
        if !metadata.is_file() {
            return self.pass_over(path, UnreadKind::PassedOver, "not a regular file");
        }
        if !self.files.insert((metadata.dev(), metadata.ino())) {
            return; // another name of a file that is in the list
        }
        let found = FoundFile { path: path.to_owned(), stamp: metadata.into() };
        let streaming =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"json_streaming_"));
        let listing = if streaming { &mut self.streaming } else { &mut self.listing };
        match kind {
            Kind::Live => listing.live.push(found),
            Kind::Archive => listing.archives.push(found),
        }
    }

    /// What a name says, if it is one that is looked for.
    fn kind(&self, name: &OsStr) -> Option<Kind> {
        let bytes = name.as_encoded_bytes();
        if matches!(bytes, b"dns.log" | b"json_streaming_dns.log") {
            return Some(Kind::Live);
        }
        let is_one = bytes.windows(3).any(|part| part.eq_ignore_ascii_case(b"dns"))
            || (!self.scope.names.is_empty() && {
                let name = name.to_string_lossy();
                self.scope.names.iter().any(|pattern| pattern.matches(&name))
            });
        is_one.then_some(Kind::Archive)
    }
}

/// A name without a compressor's ending.
fn unpacked(name: &[u8]) -> &[u8] {
    const ENDINGS: [&[u8]; 5] = [b".gz", b".zst", b".xz", b".bz2", b".lz4"];
    ENDINGS.iter().find_map(|ending| name.strip_suffix(*ending)).unwrap_or(name)
}

/// Whether a folder's name is a date or a part of one: `2024-04-19`, `20240419`, `2024`, `04`.
fn is_date(name: &[u8]) -> bool {
    name.len() >= 2
        && name.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
        && name.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[FoundFile], root: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            found.iter().map(|f| f.path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn touch(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.to_str().unwrap()).unwrap();
    }

    #[test]
    fn a_stamp_can_be_kept() {
        let stamp = Stamp { device: 1, inode: u64::MAX, size: 3 << 40, modified: -5 };
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), Some(stamp));
        assert_eq!(Stamp::from_bytes(&[0; 39]), None);
    }

    #[test]
    fn names_of_every_deployment_are_known() {
        for (name, expected) in [
            ("dns.log", Some(Kind::Live)),
            ("json_streaming_dns.log", Some(Kind::Live)),
            ("dns.2024-04-19-10-00-00.log", Some(Kind::Archive)),
            ("dns-24-04-19_10.00.00.log", Some(Kind::Archive)),
            ("dns.10:00:00-11:00:00.log.gz", Some(Kind::Archive)),
            ("dns.10:00:00-11:00:00-logger-1.log.zst", Some(Kind::Archive)),
            ("dns__2020-07-16-09-43-10__2020-07-16-10-43-10__.log", Some(Kind::Archive)),
            ("json_streaming_dns.1.log", Some(Kind::Archive)),
            ("dns.log.1", Some(Kind::Archive)),
            ("dns.log.2.gz", Some(Kind::Archive)),
            ("dns.log.gz", Some(Kind::Archive)),
            ("dns.log.xz", Some(Kind::Archive)),
            ("dns.log-20240419", Some(Kind::Archive)),
            ("dns.log-20240419-1713520800.gz", Some(Kind::Archive)),
            ("dns_20240722_12:00:00-13:00:00+0000.log.gz", Some(Kind::Archive)),
            ("dns(SITE1,pcap,1780421280279628398).log", Some(Kind::Archive)),
            ("dns_red.log", Some(Kind::Archive)),
            ("dns.txt", Some(Kind::Archive)),
            ("zeek_dns.log", Some(Kind::Archive)),
            ("20240419-DNS.log.gz", Some(Kind::Archive)),
            ("resolver-3.log", Some(Kind::Archive)),
            (".shadow.dns.log", None),
            (".dns.log", None),
            ("conn.log", None),
            ("resolver.log", None),
            ("dn-s.log", None),
        ] {
            let names = vec![glob::Pattern::new("resolver-?.log").unwrap()];
            let scope = Scope { names, ..Scope::default() };
            let root = tempfile::tempdir().unwrap();
            touch(root.path(), name);
            let listing = discover(root.path(), &scope).unwrap();
            let live = listing.live.len() + listing.streaming.len();
            let found = match (live, listing.archives.len() + listing.streaming_archives.len()) {
                (0, 0) => None,
                (1, 0) => Some(Kind::Live),
                _ => Some(Kind::Archive),
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn folders_of_any_depth_are_searched_within_bounds_that_are_said() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for path in ["2024/04/19", "logs/zeek/SENSOR/2024-04-19", "a/b/c/d/e/f/g/h/i/j/k/l"] {
            touch(root, &format!("{path}/dns.10:00:00-11:00:00.log"));
        }
        touch(root, "logs/zeek/SENSOR/current/dns.log");
        touch(root, "2024/04/20/dns.log");
        touch(root, "README");
        let listing = discover(root, &Scope::default()).unwrap();
        assert_eq!((listing.archives.len(), listing.live.len(), listing.unread.len()), (4, 1, 0));
        assert_eq!((listing.others, listing.other_names), (1, vec![PathBuf::from("README")]));

        let shallow = discover(root, &Scope { depth: 3, ..Scope::default() }).unwrap();
        assert_eq!((shallow.archives.len(), shallow.live.len()), (2, 0));
        let unread: Vec<_> = shallow.unread.iter().map(|unread| (&*unread.path, unread.kind)).collect();
        let deep = ["a/b/c/d", "logs/zeek/SENSOR/2024-04-19", "logs/zeek/SENSOR/current"]
            .map(|path| root.join(path));
        assert_eq!(unread, deep.each_ref().map(|path| (&**path, UnreadKind::NotEntered)));
        assert!(shallow.unread[0].reason.contains("more than 3 levels"));

        let few = discover(root, &Scope { folders: 5, ..Scope::default() }).unwrap();
        assert_eq!(few.folders.len(), 5);
        assert_eq!(few.unread.len(), 1);
        assert!(few.unread[0].kind == UnreadKind::NotEntered && few.unread[0].reason.contains("more than 5"));
    }

    #[test]
    fn a_link_takes_nothing_from_the_folders_that_it_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let deep = "z/1/2/3/4/5/6/7/8/9/10";
        touch(root, &format!("logs/{deep}/dns.log"));
        touch(root, "far/a/b/c/d/e/f/g/h/i/dns.log");
        for (link, to) in [("a", "logs/z"), ("b", "logs"), ("y", "far"), ("loop", "logs/loop")] {
            std::os::unix::fs::symlink(root.join(to), root.join("logs").join(link)).unwrap();
        }
        let listing = discover(&root.join("logs"), &Scope::default()).unwrap();
        let found: Vec<_> = [&listing.live, &listing.archives].into_iter().flatten().collect();
        assert_eq!(
            found.iter().map(|found| found.path.clone()).collect::<Vec<_>>(),
            [root.join("logs").join(deep).join("dns.log")]
        );
        let [unread] = &listing.unread[..] else { panic!("{:?}", listing.unread) };
        assert_eq!(unread.path, root.join("logs/y/a/b/c/d/e/f/g/h"));
        assert!(unread.reason.contains("what a link leads to"), "{}", unread.reason);
    }

    #[test]
    fn nothing_in_the_folder_of_the_ledger_is_a_log() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "logs/data/dns.log");
        touch(root, "logs/dns.log");
        touch(root, "logs/x/dns.1.log");
        std::os::unix::fs::symlink(root.join("logs/data/dns.log"), root.join("logs/dns.2.log")).unwrap();
        std::os::unix::fs::symlink(root.join("logs/data"), root.join("logs/x/link")).unwrap();
        let scope = Scope { data: Some(root.join("logs/data")), ..Scope::default() };
        let listing = discover(&root.join("logs"), &scope).unwrap();
        assert_eq!(
            (names(&listing.live, root).concat(), names(&listing.archives, root).concat()),
            ("logs/dns.log".to_owned(), "logs/x/dns.1.log".to_owned())
        );
        assert_eq!(listing.unread.len(), 3);
        assert!(listing.unread.iter().all(|unread| unread.kind == UnreadKind::PassedOver));
    }

    #[test]
    fn a_path_that_is_there_is_no_pattern() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for name in ["a[1]/dns.log", "dns[2].log", "b*/dns.log", "b1/dns.1.log"] {
            touch(root, name);
        }
        let found = |path: &str| {
            let listing = discover(&root.join(path), &Scope::default()).unwrap();
            listing.live.len() + listing.archives.len()
        };
        assert_eq!(
            (found("a[1]"), found("dns[2].log"), found("b*"), found("b?"), found("c*")),
            (1, 1, 1, 2, 0)
        );
    }

    #[test]
    fn a_zeekctl_tree_has_one_live_log_and_its_history() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "spool/zeek/dns.log");
        touch(root, "spool/zeek/.shadow.dns.log");
        touch(root, "logs/2024-04-19/dns.10:00:00-11:00:00.log.gz");
        touch(root, "logs/2024-04-19/conn.10:00:00-11:00:00.log.gz");
        touch(root, "logs/2024-04-20/dns.log");
        std::os::unix::fs::symlink(root.join("spool/zeek"), root.join("logs/current")).unwrap();
        std::os::unix::fs::symlink(root.join("nowhere"), root.join("logs/dns.dead.log")).unwrap();
        std::os::unix::fs::symlink(root.join("logs"), root.join("logs/loop")).unwrap();
        let listing = discover(&root.join("logs"), &Scope::default()).unwrap();
        assert_eq!(names(&listing.live, root), ["logs/current/dns.log"]);
        assert_eq!(
            names(&listing.archives, root),
            ["logs/2024-04-19/dns.10:00:00-11:00:00.log.gz", "logs/2024-04-20/dns.log"]
        );
        assert!(listing.unread.is_empty(), "{:?}", listing.unread);
        assert!(listing.folders.contains(&root.join("logs/current")));
    }

    #[test]
    fn all_loggers_of_a_cluster_are_found_from_the_first() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "spool/logger-1/dns.log");
        touch(root, "spool/logger-2/dns.log");
        fs::create_dir_all(root.join("logs")).unwrap();
        std::os::unix::fs::symlink(root.join("spool/logger-1"), root.join("logs/current")).unwrap();
        assert_eq!(discover(&root.join("logs"), &Scope::default()).unwrap().live.len(), 2);
    }

    #[test]
    fn streaming_logs_are_told_apart_from_plain_ones() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "json_streaming_dns.log");
        touch(root, "json_streaming_dns.1.log");
        touch(root, "dns.2024-04-19-10-00-00.log");
        let listing = discover(root, &Scope::default()).unwrap();
        assert_eq!(names(&listing.streaming, root), ["json_streaming_dns.log"]);
        assert_eq!(names(&listing.streaming_archives, root), ["json_streaming_dns.1.log"]);
        assert_eq!((listing.live.len(), listing.archives.len()), (0, 1));
    }

    #[test]
    fn pipes_with_a_logs_name_are_passed_over_with_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::os::unix::fs::symlink("/proc/self/environ", root.join("dns.0.log")).unwrap();
        touch(root, "dns.log/dns/x");
        let socket = std::os::unix::net::UnixListener::bind(root.join("dns.1.log")).unwrap();
        let listing = discover(root, &Scope::default()).unwrap();
        assert!(listing.live.is_empty() && listing.archives.is_empty());
        let kinds: Vec<_> = listing.unread.iter().map(|unread| unread.kind).collect();
        assert_eq!(kinds, [UnreadKind::PassedOver; 2], "{:?}", listing.unread);
        drop(socket);
    }

    #[test]
    fn files_and_globs_are_sources_too() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "any-name");
        touch(root, "a/dns.log");
        touch(root, "b/old.gz");
        assert_eq!(
            names(&discover(&root.join("any-name"), &Scope::default()).unwrap().live, root),
            ["any-name"]
        );
        let listing = discover(&root.join("*/*"), &Scope::default()).unwrap();
        assert_eq!(
            (names(&listing.live, root), names(&listing.archives, root)),
            (vec!["a/dns.log".to_owned()], vec!["b/old.gz".to_owned()])
        );
        assert_eq!(
            discover(&root.join("missing"), &Scope::default()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
