//! dnsledger: a passive-DNS appliance in one binary.
//!
//! It follows Zeek's `dns.log`, keeps a ledger of every (rrname, rrtype, rdata) ever answered, and answers questions
//! about it. This crate is the whole program; `main.rs` only calls the command line. Read it in the order the data flows:
//!
//! - what all of it stands on: [`base`]; words: [`dns`], [`observation`], [`tally`], [`progress`], [`status`];
//! - reading: [`tail`] gives lines, [`zeek`] log records, [`observe`] observations; [`indicators`] what lists and feeds say is bad;
//! - keeping: [`store`] folds them into batches, shows these at once, keeps them, and drops what was not seen for long;
//! - feeding: [`ingest`] brings all of that together, with threads and back-pressure; [`watch`] holds what comes against feeds;
//! - asking: [`lookup`] answers queries, [`hunt`] many indicators at once, [`evidence`] finds the lines of logs behind the
//!   answer; [`output`] is how answers look;
//! - faces: [`page`] is what a browser shows, [`http`] serves it and the APIs; [`pull`] gets feeds from servers, [`deliver`]
//!   hands hits to programs of others, [`fleet`] ships ledgers into one cluster; [`daemon`] puts the parts together, and
//!   [`cli`] is the command line.

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
pub mod status;
pub mod store;
pub mod tail;
pub mod tally;
pub mod watch;
pub mod zeek;
