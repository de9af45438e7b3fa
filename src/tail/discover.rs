//! Which files of a source are live logs and which are history, by the names of every way Zeek is deployed.
//!
//! A name only says what to look at; what a file *is* the content says. Names that count: `dns.log`, `dns.log.*`,
//! `dns.*.log`, `dns-*.log`, `dns__*.log`, `json_streaming_dns*.log`, plain or with a compressor's ending. Live are
//! `dns.log` and `json_streaming_dns.log` outside dated folders. Names that start with a dot never count: Zeek's shadow
//! files and an archiver's unfinished ones.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep a folder is searched: `logs/2024-04-19/dns….log.gz`, `spool/tmp/post-terminate-…/dns.log`.
const MAX_DEPTH: usize = 3;

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
    /// A form that can be kept: every number big-endian.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
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
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What the file system says of it.
    pub stamp: Stamp,
}

/// What is in a source.
#[derive(Debug, Default)]
pub struct Listing {
    /// Logs that may still grow.
    pub live: Vec<Found>,
    /// Rotated and compressed logs, the oldest first.
    pub archives: Vec<Found>,
    /// The folders it was found in: those to listen to.
    pub folders: Vec<PathBuf>,
    /// Files and folders that are passed over, and why.
    pub passed_over: Vec<(PathBuf, String)>,
    /// The first of them that this user may not look into.
    pub barred: Option<PathBuf>,
    /// JSON streaming logs that may still grow. A plain log may hold the same events.
    pub streaming: Vec<Found>,
    /// Such logs that are rotated, the oldest first.
    pub streaming_archives: Vec<Found>,
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
/// When the source itself is not there or cannot be read; what fails within it is passed over with its reason.
pub fn discover(logs: &Path) -> io::Result<Listing> {
    let mut search = Search::default();
    if is_glob(logs) {
        search.glob(logs)?;
    } else {
        let metadata = fs::metadata(logs)?;
        if metadata.is_dir() {
            search.folder(logs, MAX_DEPTH, false)?;
        } else {
            search.named_file(logs, &metadata);
        }
    }
    Ok(search.finish())
}

/// Whether a path is a pattern.
pub fn is_glob(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

#[derive(Default)]
struct Search {
    listing: Listing,
    /// JSON streaming logs, which hold the same events as the plain logs beside them.
    streaming: Listing,
    /// Folders that were entered, by device and inode: links may lead in circles, or twice to one place.
    entered: HashSet<(u64, u64)>,
    /// Files that were found, likewise.
    files: HashSet<(u64, u64)>,
}

impl Search {
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

    fn fail(&mut self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            self.listing.barred.get_or_insert_with(|| path.to_owned());
        }
        self.pass_over(path, error);
    }

    fn pass_over(&mut self, path: &Path, why: impl ToString) {
        self.listing.passed_over.push((path.to_owned(), why.to_string()));
    }

    /// Looks through one folder and those below it.
    fn folder(&mut self, folder: &Path, depth: usize, dated: bool) -> io::Result<()> {
        let metadata = fs::metadata(folder)?;
        if !self.entered.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder)? {
            entries.push(entry?.path());
        }
        entries.sort();
        self.listing.folders.push(folder.to_owned());
        for path in entries {
            let Some(name) = path.file_name() else { continue };
            let name = name.as_encoded_bytes();
            // Nothing of Zeek's is in the latter, which only root may look into.
            if name.starts_with(b".") || name == b"lost+found" {
                continue;
            }
            let kind = kind(name);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    if kind.is_some() {
                        self.pass_over(&path, "a folder with a log's name");
                    }
                    if depth > 1
                        && let Err(error) = self.folder(&path, depth - 1, is_date(name))
                    {
                        self.fail(&path, &error);
                    }
                    if name == b"current" {
                        self.other_loggers(&path);
                    }
                }
                Ok(metadata) => {
                    if let Some(kind) = kind {
                        self.file(&path, &metadata, if dated { Kind::Archive } else { kind });
                    }
                }
                // A link to nowhere, or a file that went away while we looked.
                Err(error) if kind.is_some() && error.kind() != io::ErrorKind::NotFound => {
                    self.fail(&path, &error);
                }
                Err(_) => {}
            }
        }
        Ok(())
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
                && let Err(error) = self.folder(&logger, 1, false)
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
                    let (path, error) = (error.path().to_owned(), error.error().to_string());
                    self.pass_over(&path, error);
                    continue;
                }
            };
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) => self.named_file(&path, &metadata),
                Err(error) => self.pass_over(&path, error),
            }
        }
        Ok(())
    }

    /// A file that the user named himself: whatever its name, it is a log.
    fn named_file(&mut self, path: &Path, metadata: &Metadata) {
        let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        let kind = kind(name).unwrap_or(if packed(name) { Kind::Archive } else { Kind::Live });
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
            return self.pass_over(path, "not a regular file");
        }
        if !self.files.insert((metadata.dev(), metadata.ino())) {
            return; // another name of a file that is in the list
        }
        let found = Found { path: path.to_owned(), stamp: metadata.into() };
        let streaming =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"json_streaming_"));
        let listing = if streaming { &mut self.streaming } else { &mut self.listing };
        match kind {
            Kind::Live => listing.live.push(found),
            Kind::Archive => listing.archives.push(found),
        }
    }
}

/// What a name says, if it is that of a DNS log.
fn kind(name: &[u8]) -> Option<Kind> {
    let plain = unpacked(name);
    if name.len() == plain.len() && matches!(name, b"dns.log" | b"json_streaming_dns.log") {
        return Some(Kind::Live);
    }
    let is_log = plain == b"dns.log"
        || plain.starts_with(b"dns.log.")
        || (plain.ends_with(b".log")
            && [&b"dns."[..], b"dns-", b"dns__", b"json_streaming_dns"]
                .iter()
                .any(|start| plain.starts_with(start)));
    is_log.then_some(Kind::Archive)
}

/// A name without a compressor's ending.
fn unpacked(name: &[u8]) -> &[u8] {
    const ENDINGS: [&[u8]; 5] = [b".gz", b".zst", b".xz", b".bz2", b".lz4"];
    ENDINGS.iter().find_map(|ending| name.strip_suffix(*ending)).unwrap_or(name)
}

fn packed(name: &[u8]) -> bool {
    unpacked(name).len() < name.len()
}

/// Whether a name is `YYYY-MM-DD`.
fn is_date(name: &[u8]) -> bool {
    name.len() == 10
        && name
            .iter()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found], root: &Path) -> Vec<String> {
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
            (".shadow.dns.log", None),
            ("conn.log", None),
            ("dns_red.log", None),
            ("mydns.log", None),
            ("dns.txt", None),
        ] {
            assert_eq!(kind(name.as_bytes()), expected, "{name}");
        }
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
        let listing = discover(&root.join("logs")).unwrap();
        assert_eq!(names(&listing.live, root), ["logs/current/dns.log"]);
        assert_eq!(
            names(&listing.archives, root),
            ["logs/2024-04-19/dns.10:00:00-11:00:00.log.gz", "logs/2024-04-20/dns.log"]
        );
        assert!(listing.passed_over.is_empty(), "{:?}", listing.passed_over);
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
        assert_eq!(discover(&root.join("logs")).unwrap().live.len(), 2);
    }

    #[test]
    fn streaming_logs_are_told_apart_from_plain_ones() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "json_streaming_dns.log");
        touch(root, "json_streaming_dns.1.log");
        touch(root, "dns.2024-04-19-10-00-00.log");
        let listing = discover(root).unwrap();
        assert_eq!(names(&listing.streaming, root), ["json_streaming_dns.log"]);
        assert_eq!(names(&listing.streaming_archives, root), ["json_streaming_dns.1.log"]);
        assert_eq!((listing.live.len(), listing.archives.len()), (0, 1));
    }

    #[test]
    fn folders_and_pipes_with_a_logs_name_are_passed_over_with_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("dns.log")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("dns.1.log")).unwrap();
        let listing = discover(root).unwrap();
        assert!(listing.live.is_empty() && listing.archives.is_empty());
        assert_eq!(listing.passed_over.len(), 2);
        drop(socket);
    }

    #[test]
    fn files_and_globs_are_sources_too() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root, "any-name");
        touch(root, "a/dns.log");
        touch(root, "b/old.gz");
        assert_eq!(names(&discover(&root.join("any-name")).unwrap().live, root), ["any-name"]);
        let listing = discover(&root.join("*/*")).unwrap();
        assert_eq!(
            (names(&listing.live, root), names(&listing.archives, root)),
            (vec!["a/dns.log".to_owned()], vec!["b/old.gz".to_owned()])
        );
        assert_eq!(discover(&root.join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
