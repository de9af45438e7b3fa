//! dnsledger: a passive-DNS appliance in one binary.
//!
//! It follows Zeek's `dns.log`, keeps a ledger of every (rrname, rrtype, rdata) ever answered, and answers questions
//! about it. This crate is the whole program; `main.rs` only calls [`cli`]. Read it in the order the data flows:
//!
//! - words: [`dns`], [`observation`], [`tally`], [`progress`], [`time`];
//! - made-up traffic for tests and benches: [`generate`];

pub mod dns;
pub mod generate;
pub mod merge;
pub mod observation;
pub mod progress;
pub mod store;
pub mod tally;
pub mod time;
