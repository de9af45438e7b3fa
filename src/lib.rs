//! dnsledger: a passive-DNS appliance in one binary.
//!
//! It follows Zeek's `dns.log`, keeps a ledger of every (rrname, rrtype, rdata) ever answered, and answers questions
//! about it. This crate is the whole program; `main.rs` only calls the command line. Read it in the order the data flows:
//!
//! - words: [`dns`], [`observation`], [`tally`], [`progress`], [`status`], [`time`]; the process: [`threads`], [`descriptors`];
//! - reading: [`tail`] gives lines, [`zeek`] log records, [`observe`] observations;
//! - keeping: [`merge`] folds them into batches, [`store`] keeps those, [`ledger`] shows what is and what is to be there;
//! - feeding: [`ingest`] brings all of that together, with threads and back-pressure;
//! - bounding: [`retention`] drops what was not seen for long;
//! - asking: [`lookup`] answers queries; [`cof`], [`json`] and the tables are how answers look, [`page`]
//!   is what a browser shows;
//! - made-up traffic for tests and benches: [`generate`].

pub mod cli;
pub mod clock;
pub mod cof;
pub mod config;
pub mod daemon;
pub mod descriptors;
pub mod dns;
pub mod fault;
pub mod generate;
pub mod history;
pub mod http;
pub mod ingest;
pub mod json;
pub mod keyed;
pub mod ledger;
pub mod liveness;
pub mod logging;
pub mod lookup;
pub mod merge;
pub mod observation;
pub mod observe;
pub mod output;
pub mod page;
pub mod progress;
pub mod recovery;
pub mod retention;
pub mod sandbox;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod tail;
pub mod tally;
pub mod threads;
pub mod time;
pub mod units;
pub mod zeek;
