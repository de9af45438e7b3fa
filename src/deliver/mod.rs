//! Delivery: hits on their way to outlets of others, each at least once, with an id by which a second time is recognised.
//!
//! The daemon may open no connection, and what an outlet does must not reach who follows logs: so this is a process of its own, which asks
//! the daemon for hits by their numbers.
//!
//! - [`source`] is where hits come from, [`message`] what one is on its way;
//! - [`webhook`], [`syslog`], [`journal`] and [`misp`] are kinds of outlets, [`secret`] is the key of one, [`target`] where one is;
//! - [`folder`] keeps how far each outlet is, and what was refused for good;
//! - [`outlet`] delivers to one outlet: in order, not too fast, again and again until it is settled.
//!
//! Each outlet has a thread, a cursor and a source of its own: one that is down, stalls or fails delays its own hits only.

mod folder;
mod journal;
mod message;
mod misp;
mod outlet;
mod secret;
mod source;
mod syslog;
mod target;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use folder::{OutletFolder, OutletState, kept, send_again};
pub use outlet::Delivery;
pub use source::HitSource;
pub use target::{OutletKind, Target};

use crate::http::client::ClientError;

/// Outlets at most: each has a thread.
pub const MAX_OUTLETS: usize = 32;

/// An outlet as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletConfig {
    /// What it is called.
    pub name: String,
    /// The kind of the outlet, and its address.
    pub target: Target,
    /// The file with its key, if it has one.
    pub key_file: Option<PathBuf>,
    /// The certificates that are trusted, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Only hits of these feeds; of all where there is none.
    pub feeds: Vec<String>,
    /// Hits within an hour that are delivered one by one; 0 is any number.
    pub per_hour: u64,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long an outlet may fail before hits that are as old are given up.
    pub give_up_after: Duration,
    /// Whether an outlet that is new is told of hits that were there before.
    pub history: bool,
}

/// Why hits are not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// A key cannot be used.
    #[error("{}: {why}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What is kept of an outlet cannot be read or written.
    #[error("{}: {error}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// Another process delivers.
    #[error("another process delivers for {} already", folder.display())]
    Running {
        /// The folder.
        folder: PathBuf,
    },
    /// The outlet or the daemon cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl DeliverError {
    /// What the user can do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            DeliverError::Secret { .. } => Some(
                "a file with one line that only its owner, or its group too, may read: chmod 0600 FILE, or chown root:dnsledger and chmod 0640",
            ),
            DeliverError::State { .. } => Some(
                "it is in the folder deliver of the data folder, which the user that delivers must be able to write",
            ),
            DeliverError::Running { .. } => Some("stop it first: systemctl stop dnsledger-deliver"),
            DeliverError::Client(error) => error.hint(),
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The outlet has it.
    Delivered,
    /// It will never take it.
    Refused(String),
    /// It did not take it, and does not say whether it takes any: a key that it does not know, a URL that is gone, or a rule of a
    /// firewall that fits this one.
    Barred {
        /// Why.
        why: String,
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// It did not take it now.
    Failed {
        /// Why.
        why: String,
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
}

impl Outcome {
    fn failed(why: impl ToString) -> Outcome {
        Outcome::Failed { why: why.to_string(), retry_after: None }
    }
}

/// A kind of outlet.
trait Sink: Send {
    /// How many messages it takes together.
    fn together(&self) -> usize;

    /// Hands messages over: all of them, or none is delivered.
    fn send(&mut self, messages: &[message::Message]) -> Outcome;
}

/// Whether the key and the certificates of an outlet can be used. Nothing is connected.
///
/// # Errors
///
/// When they cannot.
pub fn check(config: &OutletConfig) -> Result<(), DeliverError> {
    open(config).map(drop)
}

/// Opens what a configuration names. Nothing is connected yet.
fn open(config: &OutletConfig) -> Result<Box<dyn Sink>, DeliverError> {
    match &config.target {
        Target::Webhook(url) => Ok(Box::new(webhook::Webhook::open(config, url)?)),
        Target::Syslog(to) => Ok(Box::new(syslog::Syslog::open(config, to)?)),
        Target::Misp(url) => Ok(Box::new(misp::Misp::open(config, url)?)),
        Target::Journal(path) => Ok(Box::new(journal::Journal::open(config, path))),
    }
}

#[cfg(test)]
mod tests;
