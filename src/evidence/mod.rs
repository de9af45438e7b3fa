//! Evidence: from an answer back to the lines of the logs that it was counted from, and so to who asked.
//!
//! The ledger keeps no clients. It knows of each log that it has read where it was met last and between which times its
//! records lie; so it can open just those that may hold what is asked for, and hand out the lines. Nothing of them is stored.
//!
//! - [`find`] is what is asked, which logs may hold it, and in which order lines are handed out;
//! - [`read`] reads a file, recognises logs in it by content, and says of each line what [`crate::ingest::Meaning`] says of it;
//! - [`needle`] says which lines need not be parsed;
//! - [`log_filters`] say which logs need not be read, by their [`keys`]; [`making`] makes them while archives are read;
//! - [`places`] finds logs that have moved;
//! - [`line`] is a line as it is handed out, and how an answer ended;
//! - [`times`] are the times at which something was seen.

mod asked;
mod find;
mod keys;
mod line;
mod log_filters;
mod making;
mod needle;
mod places;
mod read;
mod times;

pub use asked::Ask;
pub use find::{Evidence, Visit};
pub use line::{Answer, Compared, Ended, LogFault, LogLine, Missing, Raw};
pub use log_filters::{FiltersStatus, LogFilters, budget};
pub use making::make_while_reading;
pub use places::Beginnings;
