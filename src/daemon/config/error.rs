//! What is wrong with a configuration, and what would be right.

use std::path::{Path, PathBuf};

use super::DEFAULT_FILE;

/// What is wrong in the text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigFault {
    /// The line, from 1, where the text tells.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// The file says something that has no meaning.
    #[error("{}{}: {fault}", path.display(), fault.line.map_or_else(String::new, |line| format!(":{line}")))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// What it says.
        fault: Box<ConfigFault>,
    },
    /// It cannot be written as TOML.
    #[error("the configuration cannot be printed: {0}")]
    Unprintable(String),
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ConfigError::Unreadable { path, error }
                if error.kind() == std::io::ErrorKind::PermissionDenied
                    && path == Path::new(DEFAULT_FILE) =>
            {
                Some(
                    "ask as root or as the daemon's user, `sudo -u dnsledger dnsledger ...`, or over HTTP: --server \
                     http://127.0.0.1:8081",
                )
            }
            ConfigError::Unreadable { .. } => Some("check the path, and that this user may read it"),
            ConfigError::Faulty { fault, .. } => fault.hint.as_deref(),
            ConfigError::Unprintable(_) => None,
        }
    }
}
