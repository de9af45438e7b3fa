//! Many ledgers in one cluster of ClickHouse: what changes in a ledger is shipped there, and asked there as a ledger is.
//!
//! Each sensor's ledger stays the truth of its rows. What travels is state: the whole cumulative row of each key that changed, with a
//! version that only grows. The tables keep the newest state of each (key, sensor, generation, epoch), so a shipment that is
//! repeated, half done, late, or made by two forwarders changes nothing.
//!
//! - [`address`] says where a cluster is, [`cluster`] asks its servers, [`rowbinary`] is how rows look on the way;
//! - [`tables`] makes the tables, [`registry`] keeps what is known of the ledgers that ship into them;
//! - [`source`] is where a ledger's changes come from, [`forward`] ships them, [`compare`] finds and mends what the cluster lost;
//! - [`retention`] drops what was not seen for long;
//! - [`store`] is the cluster as a store that is only asked: [`pages`] reads its rows in order, leaves out what is not wanted, and ends by
//!   `fence.rs`; `hits.rs` has the hits of ledgers; `domains.rs` and `firsts.rs` have first sightings summed up, in parts that `sweep.rs` makes.
//!
//! # Identity
//!
//! *Generation* is a number drawn when a ledger is made. *Epoch* 0 is what the ledger holds now. What it has dropped by age stays in the
//! cluster: before anything is shipped after such a drop, the state of each row it may have dropped is copied to the epoch that is the
//! time of its first sighting. A row that comes back is a new row in the ledger, and replaces that of epoch 0 here; the copy counts
//! beside it. If the row was not dropped after all, what is shipped of it includes the copy, which is seen by the first sighting: who
//! reads leaves out a copy that is not older than the row in epoch 0. What was dropped for another reason (a log that was read anew, names
//! that were folded) is found by comparing, and overwritten by a state without sightings.
//!
//! # Version
//!
//! Twice the number of the ledger's last commit when the state was read, and one more for a state without sightings. Where a ledger was put
//! back to an older state (a backup), its commits are counted on from a base that lies beyond all that it has shipped before.

pub mod address;
pub mod bucket;
pub mod cluster;
pub mod compare;
mod condition;
mod domains;
mod fence;
mod firsts;
pub mod forward;
mod hits;
mod names;
mod outbox;
pub mod pages;
pub mod registry;
pub mod retention;
pub mod rowbinary;
pub mod rows;
pub mod source;
pub mod store;
mod sweep;
pub mod tables;

use crate::http::client::ClientError;
use crate::store::StoreError;

pub use address::{Address, BadAddress};

/// Why something could not be done with a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// None of the servers of a shard does what is asked.
    #[error("shard {shard} of the cluster: {why}")]
    Shard {
        /// Its number, from 1 on.
        shard: usize,
        /// What its servers say.
        why: String,
    },
    /// A server said something that makes no sense.
    #[error("{what} makes no sense: {why}")]
    Nonsense {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The tables are not there, or not as they must be.
    #[error("{what}")]
    Tables {
        /// What is wrong.
        what: String,
        /// What can be done.
        hint: &'static str,
    },
    /// The password cannot be read.
    #[error("reading {}: {error}", path.display())]
    Password {
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// A server cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The ledger that is shipped from cannot be read.
    #[error("the ledger: {0}")]
    Ledger(#[from] StoreError),
    /// The daemon that has the ledger did not tell all.
    #[error("the daemon's answer: {0}")]
    Daemon(String),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

impl FleetError {
    fn cut() -> FleetError {
        FleetError::Nonsense { what: "an answer of the cluster", why: "it is cut".to_owned() }
    }

    /// Whether a server does not know the user, or not with this password.
    pub fn is_refused(&self) -> bool {
        // What ClickHouse calls UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED.
        let codes = ["Code: 192", "Code: 193", "Code: 194", "Code: 516"];
        matches!(self, FleetError::Shard { why, .. } if codes.iter().any(|code| why.contains(code)))
    }

    /// What the operator can do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            FleetError::Tables { hint, .. } => Some(hint),
            FleetError::Client(error) => error.hint(),
            FleetError::Ledger(error) => error.hint(),
            error if error.is_refused() => {
                Some("name the user and its password: ?user=NAME&password_file=FILE")
            }
            FleetError::Shard { .. } => {
                Some("see that its servers run, and that this machine may reach them")
            }
            _ => None,
        }
    }
}

impl FleetError {
    /// The same as a store says it.
    pub fn into_store_error(self) -> StoreError {
        match self {
            FleetError::Ledger(error) => error,
            error => StoreError::Cluster(error.to_string()),
        }
    }
}
