//! dnsledger: a passive-DNS appliance in one binary.
//!
//! It follows Zeek's `dns.log`, keeps a ledger of every (rrname, rrtype, rdata) ever answered, and answers questions
//! about it. This crate is the whole program; `main.rs` only calls the command line. Read it in the order the data flows:
//!
//! - what all of it stands on: [`base`]; words: [`dns`], [`observation`], [`tally`], [`progress`], [`status`];
//! - reading: [`tail`] gives lines, [`zeek`] log records, [`observe`] observations; [`indicators`] what lists and feeds say is bad;
//! - keeping: [`store`] folds them into batches, shows these at once, and keeps them;
//! - feeding: [`ingest`] brings all of that together, with threads and back-pressure;
//! - bounding: [`retention`] drops what was not seen for long;
//! - delivering: [`deliver`] hands what was met to programs of others;
//! - asking: [`lookup`] answers queries, [`hunt`] many indicators at once, [`evidence`] finds the lines of logs behind the answer; [`output`] is how answers look, [`page`]
//!   is what a browser shows;

pub mod base;
pub mod cli;
pub mod daemon;
pub mod deliver;
pub mod dns;
pub mod evidence;
pub mod fleet;
pub mod http;
pub mod hunt;
pub mod indicators;
pub mod ingest;
pub mod lookup;
pub mod observation;
pub mod observe;
pub mod output;
pub mod page;
pub mod progress;
pub mod pull;
pub mod retention;
pub mod status;
pub mod store;
pub mod tail;
pub mod tally;
pub mod watch;
pub mod zeek;
