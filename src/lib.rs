//! dnsledger: a passive-DNS appliance in one binary.
//!
//! It follows Zeek's `dns.log`, keeps a ledger of every (rrname, rrtype, rdata) ever answered, and answers questions
//! about it. This crate is the whole program; `main.rs` only calls [`cli`]. Read it in the order the data flows:
//!
//! - words: [`dns`], [`observation`], [`tally`], [`progress`];
//! - reading: [`zeek`], [`observe`];

pub mod cof;
pub mod dns;
pub mod json;
pub mod ledger;
pub mod lookup;
pub mod merge;
pub mod observation;
pub mod observe;
pub mod output;
pub mod progress;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod tail;
pub mod tally;
pub mod time;
pub mod units;
pub mod zeek;
