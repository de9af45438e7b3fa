//! Integration tests, one binary. Tests of one module live in that module.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do: by a panic"
)]

/// What tests of the whole program stand on.
mod env;

/// Nobody is told "nothing" where there is something.
mod all_clear;
/// Asking as people ask: pasted indicators, lists, times, and what was never answered.
mod ask;
/// The program as people and scripts meet it.
mod cli;
/// That the real clients of other ledgers work.
mod clients;
/// Merging other sites by the Common Output Format.
mod cof_import;
/// What clients of other ledgers get, byte for byte.
mod compat;
/// That no text of others costs more than its bytes.
mod cost;
/// That every record counts once, whatever happens to the daemon.
mod crash;
/// Delivery of hits to outlets of others.
mod deliver;
/// That there is a descriptor for what needs one.
mod descriptors;
/// Disks that are full, broken or read-only at random moments.
mod disk_trouble;
mod doctor;
mod documents;
/// Merging the tables of other passive-DNS tools, as their databases write them out.
mod dump_import;
/// From an answer back to the lines of the logs.
mod evidence;
mod evidence_limits;
/// What was not seen for long goes, and nothing else.
mod expire;
mod filters;
/// That the sample logs written by hand are read as each of them is meant to be.
mod fixtures;
/// Many ledgers in a cluster of ClickHouse.
mod fleet;
mod fleet_hits;
/// The same under kills of everything.
mod fleet_kills;
mod flood;
/// The daemon on a disk that is full for a while.
mod full_disk;
/// The short form of the fuzz targets.
mod fuzz;
/// Hits under kills of everything that makes them or takes them.
mod hit_kills;
/// What feeds say is bad, and was met.
mod hits;
/// The faces over HTTP.
mod http;
mod http_fuzz;
mod hunt;
/// That modules import downward only, and that engines and frameworks stay in their rooms.
mod layers;
/// That a line is visible at once and counts once over rotations.
mod live;
mod log_fuzz;
mod migration;
/// What was first seen of late.
mod new;
/// The page as a browser without a script gets it.
mod page;
/// That what the project says of itself is so.
mod project;
/// Feeds from servers.
mod pull;
mod pull_fuzz;
mod pull_misp;
mod pull_taxii;
/// That what is written is visible at once after a folder or a link was replaced.
mod replaced;
/// A small server for tests of what asks others.
mod served;
/// The backup: a whole copy at one moment, from which one goes on.
mod snapshot;
/// Kills and power losses of the real program, while the ledger commits, folds and merges all the time.
mod spoiled;
mod store_crash;
/// The contract of `Store`, on both of its implementations, and what only the one on disk can do wrong.
mod store_suite;
mod system_calls;
/// That the sample logs are what the generator makes.
mod testdata;
/// That no thread dies unseen.
mod threads;
/// That nobody is told more than is true.
mod unread;
/// `dnsledger verify`, on sound and on damaged ledgers.
mod verify;
/// The daemon under a wall clock that is wrong.
mod wrong_clock;
