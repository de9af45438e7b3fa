//! Rows for people and programs: a table for a terminal, JSON, CSV.
//!
//! Text of the ledger is printable ASCII with everything else escaped. Text that comes from elsewhere (a sensor's name,
//! a path, what the user typed) goes through [`sanitise`] before it reaches a terminal.

pub mod cof;
pub mod hunt;
pub mod json;
mod printable;
mod row;
pub mod summary;
mod table;
#[cfg(test)]
mod tests;

use table::push_padded;

pub use printable::{PrintableAscii, file_name, sanitise, sanitise_json, shortened};
pub use row::{CSV_HEADER, QueryLabel, Row, csv_header, push_csv_cell, push_json};
pub use table::{TextTable, time_in};
