//! Who will open the logs, and what that user may read: by the mode and the access list of each folder on the way.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Who will open the logs.
pub(super) struct User {
    pub name: String,
    pub uid: u32,
    pub groups: Vec<u32>,
}

impl User {
    /// The owner of the data folder, where root asks; else whoever asks.
    pub fn of_folder(folder: &Path) -> User {
        let me = fs::metadata("/proc/self").map_or(0, |own| own.uid());
        let owner = fs::metadata(folder).map_or(me, |folder| folder.uid());
        let uid = if me == 0 { owner } else { me };
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        User::of(uid, &read("/etc/passwd"), &read("/etc/group"))
    }

    pub fn of(uid: u32, passwd: &str, group: &str) -> User {
        let field = |line: &str, i: usize| line.split(':').nth(i).unwrap_or_default().to_owned();
        let line = passwd.lines().find(|line| field(line, 2) == uid.to_string()).unwrap_or_default();
        let name = field(line, 0);
        let mut groups: Vec<u32> = field(line, 3).parse().ok().into_iter().collect();
        let mine = group.lines().filter(|line| field(line, 3).split(',').any(|member| member == name));
        groups.extend(mine.filter_map(|line| field(line, 2).parse::<u32>().ok()));
        User { name: if name.is_empty() { format!("uid {uid}") } else { name }, uid, groups }
    }

    /// The first thing on the way to a path that this user may not pass, or the path itself.
    pub fn barred(&self, path: &Path) -> Option<(PathBuf, Metadata)> {
        if self.uid == 0 {
            return None;
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut way: Vec<&Path> = real.ancestors().collect();
        way.reverse();
        for step in way {
            // What is not there, or is a pattern, is for others to tell.
            let Ok(metadata) = fs::metadata(step) else { return None };
            // Every folder is passed through; the last thing is read.
            let wanted = match (metadata.is_dir(), step == real) {
                (true, true) => 0o5,
                (true, false) => 0o1,
                (false, _) => 0o4,
            };
            if !self.may(&metadata, &access_list(step), wanted) {
                return Some((step.to_owned(), metadata));
            }
        }
        None
    }

    /// Whether a mode, and an access list if there is one, grant these rights (acl(5), access check algorithm).
    pub fn may(&self, metadata: &Metadata, list: &[Entry], wanted: u32) -> bool {
        let grants = |rights: u32| rights & wanted == wanted;
        let mode = metadata.mode();
        // With a list, the group's part of the mode is the mask.
        let mask = mode >> 3;
        if metadata.uid() == self.uid {
            return grants(mode >> 6);
        }
        if let Some(entry) = list.iter().find(|entry| entry.kind == Entry::USER && entry.id == self.uid) {
            return grants(entry.rights & mask);
        }
        let is_member = self.groups.contains(&metadata.gid());
        if list.is_empty() {
            return grants(if is_member { mask } else { mode });
        }
        let mut mine = list.iter().filter(|entry| match entry.kind {
            Entry::OWNING_GROUP => is_member,
            Entry::GROUP => self.groups.contains(&entry.id),
            _ => false,
        });
        match mine.clone().next() {
            Some(_) => mine.any(|entry| grants(entry.rights & mask)),
            None => grants(mode),
        }
    }

    /// That this user is barred from something on the way to a path that was named or found.
    pub fn says(&self, named: &Path, barred: &Path) -> String {
        let way = match named.starts_with(barred) {
            true => String::new(),
            // It is not on the way by its name: a link leads there.
            false => format!(", where a link leads from {}", named.display()),
        };
        format!("{} may not read {}{way}", self.name, barred.display())
    }

    /// What gives this user the right to read what it is barred from. What lies in the folder of a source is opened as a
    /// whole, and for the folders that Zeek will make in it.
    pub fn advice(&self, path: &Path, metadata: &Metadata, logs: Option<&Path>) -> String {
        let wanted = if metadata.is_dir() { 0o50 } else { 0o40 };
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let gid = metadata.gid().to_string();
        let group = groups.lines().find(|line| line.split(':').nth(2) == Some(gid.as_str()));
        let name = &self.name;
        match group.and_then(|line| line.split(':').next()) {
            Some(group) if metadata.mode() & wanted == wanted && metadata.gid() != 0 => {
                return format!("adduser {name} {group}, and restart the daemon");
            }
            _ => {}
        }
        let logs = logs.map(|logs| logs.canonicalize().unwrap_or_else(|_| logs.to_owned()));
        match logs.filter(|logs| logs.is_dir() && path.starts_with(logs)) {
            Some(logs) => {
                let logs = logs.display();
                format!("setfacl -R -m u:{name}:rX {logs} && setfacl -R -d -m u:{name}:rX {logs}")
            }
            // On the way only.
            None if metadata.is_dir() => format!("setfacl -m u:{name}:x {}", path.display()),
            None => format!("setfacl -m u:{name}:r {}", path.display()),
        }
    }
}

/// An entry of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub kind: u16,
    /// Read 4, write 2, search 1.
    pub rights: u32,
    /// The user or the group that it is about.
    pub id: u32,
}

impl Entry {
    pub const USER: u16 = 0x02;
    pub const OWNING_GROUP: u16 = 0x04;
    pub const GROUP: u16 = 0x08;
}

/// The access list of a path; empty where it has none, or the file system knows of none.
pub(super) fn access_list(path: &Path) -> Vec<Entry> {
    let mut bytes = [0; 4096];
    match rustix::fs::getxattr(path, "system.posix_acl_access", bytes.as_mut_slice()) {
        Ok(length) => entries(bytes.get(..length).unwrap_or_default()),
        Err(_) => Vec::new(),
    }
}

/// The entries of a list as Linux keeps it (`linux/posix_acl_xattr.h`): a version, and for each entry its kind, its rights
/// and an id, least byte first.
pub(super) fn entries(list: &[u8]) -> Vec<Entry> {
    let Some(([2, 0, 0, 0], entries)) = list.split_first_chunk() else { return Vec::new() };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let entry = |bytes: &[u8]| {
        let (kind, rest) = bytes.split_at_checked(2)?;
        let (rights, id) = rest.split_at_checked(2)?;
        Some(Entry { kind: u16::try_from(number(kind)).ok()?, rights: number(rights), id: number(id) })
    };
    entries.chunks_exact(8).filter_map(entry).collect()
}
