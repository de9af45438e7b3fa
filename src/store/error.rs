//! Why a store could not do what it was asked, and what the operator can do.

use std::path::{Path, PathBuf};

use crate::observation::SensorNameError;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the folder open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The data folder.
        path: PathBuf,
    },
    /// The folder was written by a newer version; nothing was touched.
    #[error("{} has format {found}, and this version reads up to {known}{}", path.display(), way_back(path, before.as_deref()))]
    NewerFormat {
        /// The data folder.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
        /// The file that names the ledger as it was before it was brought up to that format, if this version can read it.
        before: Option<String>,
    },
    /// The folder was written by an older version, and is not to be changed.
    #[error("{} has format {found}, and not yet {known}", path.display())]
    OlderFormat {
        /// The data folder.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The version to which it is brought up.
        known: u32,
    },
    /// Data that was read is not what was written.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// The file or the part of the ledger.
        what: String,
        /// The reason.
        why: String,
    },
    /// The ledger was damaged and lacks rows that were acknowledged.
    #[error("rows of {logs} logs are missing that were there: the ledger was damaged")]
    Missing {
        /// Logs of which rows are missing.
        logs: u64,
    },
    /// The operating system refused.
    #[error("{what}: {error}")]
    Io {
        /// The operation, with the path.
        what: String,
        /// The reason.
        error: std::io::Error,
    },
    /// The ledger is written anew beside itself, and there is too little room for that.
    #[error(
        "{what} needs about {} free beside the ledger, and there are {}: nothing was changed",
        mebibytes(*needed),
        mebibytes(*free)
    )]
    NoRoom {
        /// The operation.
        what: &'static str,
        /// Bytes that it needs, about.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// What is free on the disk is needed to make room in the ledger: commits go on afterwards.
    #[error("room is made on the disk first, and what is free there is needed for that")]
    MakingRoom,
    /// The ledger was written anew, and what is read is the one before, which was held for too long.
    #[error("the ledger was written anew meanwhile, and this took too long")]
    Superseded,
    /// The answer is not in memory, and the caller must not wait.
    #[error("not in memory")]
    NotInMemory,
    /// The name of a new sensor is none.
    #[error("{name:?} is not a name for a sensor: {why}")]
    BadSensor {
        /// The name, cut.
        name: String,
        /// The reason.
        why: SensorNameError,
    },
    /// There is no number left for another sensor.
    #[error("65,536 sensors are the limit")]
    TooManySensors,
    /// A cluster of databases did not do what it was asked: it is away, or a part of it is.
    #[error("{0}")]
    Cluster(String),
    /// The tables of a cluster are of a version that had no place for hits.
    #[error(
        "the tables of the cluster are older than hits in it: `dnsledger fleet upgrade` makes room for them"
    )]
    OlderTables,
    /// A cluster is only asked.
    #[error(
        "a cluster is only asked here: rows come into it by `dnsledger forward`, from where the logs are"
    )]
    OnlyAsked,
    /// The store is being closed.
    #[error("the ledger is being closed")]
    Closed,
}

/// How to go back to an older version of the program.
fn way_back(folder: &Path, before: Option<&str>) -> String {
    let Some(before) = before else { return String::new() };
    let (before, current) = (folder.join(before), folder.join("CURRENT"));
    format!(
        "; the ledger as it was before is there, and is gone back to by `mv {} {}`: what was counted since is then read \
         again from logs that are still there",
        before.display(),
        current.display()
    )
}

/// Bytes for people.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Says that something is not what was written.
pub(super) fn damaged(what: &str, why: &str) -> StoreError {
    StoreError::Damaged { what: what.to_owned(), why: why.to_owned() }
}

impl StoreError {
    /// Whether waiting can help: a full disk, a read-only file system, a folder in use.
    pub fn can_pass(&self) -> bool {
        matches!(
            self,
            StoreError::Locked { .. }
                | StoreError::Io { .. }
                | StoreError::NoRoom { .. }
                | StoreError::MakingRoom
                | StoreError::Cluster(_)
        )
    }

    /// Whether it is that there is no room.
    pub fn is_full(&self) -> bool {
        match self {
            StoreError::NoRoom { .. } | StoreError::MakingRoom => true,
            StoreError::Io { error, .. } => error.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// The same error once more, for another who waited for the same work.
    pub(super) fn again(&self) -> StoreError {
        match self {
            StoreError::Locked { path } => StoreError::Locked { path: path.clone() },
            StoreError::NewerFormat { path, found, known, before } => StoreError::NewerFormat {
                path: path.clone(),
                found: *found,
                known: *known,
                before: before.clone(),
            },
            StoreError::OlderFormat { path, found, known } => {
                StoreError::OlderFormat { path: path.clone(), found: *found, known: *known }
            }
            StoreError::Damaged { what, why } => StoreError::Damaged { what: what.clone(), why: why.clone() },
            StoreError::Missing { logs } => StoreError::Missing { logs: *logs },
            StoreError::Io { what, error } => StoreError::Io {
                what: what.clone(),
                error: std::io::Error::new(error.kind(), error.to_string()),
            },
            StoreError::NoRoom { what, needed, free } => {
                StoreError::NoRoom { what, needed: *needed, free: *free }
            }
            StoreError::MakingRoom => StoreError::MakingRoom,
            StoreError::Superseded => StoreError::Superseded,
            StoreError::NotInMemory => StoreError::NotInMemory,
            StoreError::BadSensor { name, why } => StoreError::BadSensor { name: name.clone(), why: *why },
            StoreError::TooManySensors => StoreError::TooManySensors,
            StoreError::Cluster(what) => StoreError::Cluster(what.clone()),
            StoreError::OlderTables => StoreError::OlderTables,
            StoreError::OnlyAsked => StoreError::OnlyAsked,
            StoreError::Closed => StoreError::Closed,
        }
    }

    /// Advice for the operator.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StoreError::Locked { .. } => Some("stop the other process, or ask it: `--server URL`"),
            StoreError::NewerFormat { .. } => Some("install the version that wrote it, or a newer one"),
            StoreError::OlderFormat { .. } => Some(
                "`dnsledger run`, `import`, `lookup` or `status` brings it up; the ledger as it was is kept",
            ),
            StoreError::Superseded => Some("ask again; the rest begins where this ended"),
            StoreError::Damaged { .. } => Some("run `dnsledger verify --repair`, or restore a snapshot"),
            StoreError::Missing { .. } => Some(
                "`dnsledger run` or `dnsledger import` reads those logs again; `dnsledger verify` names them, and \
                 `dnsledger verify --repair` goes on without what no log has any more",
            ),
            StoreError::MakingRoom => Some("nothing: it goes on by itself"),
            StoreError::NoRoom { .. } => {
                Some("make room on the disk, or move the data folder to a larger one")
            }
            StoreError::Io { error, .. } if error.kind() == std::io::ErrorKind::StorageFull => {
                Some("make room on the disk; writing goes on by itself")
            }
            _ => None,
        }
    }
}
