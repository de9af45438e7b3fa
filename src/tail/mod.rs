//! Files in, whole lines out: finding logs, reading them in whatever form they lie there, knowing them again.
//!
//! Nothing here knows what a line means; [`crate::ingest`] brings these parts together with the reader of Zeek's formats.
//!
//! - [`discover`] says which files of a folder are live logs and which are history;
//! - [`wake`] wakes a follower when something happened (`notify`), and at the latest after a poll interval;
//! - [`open`] opens what may be anything;
//! - [`followed`] is one live file, read through its open descriptor: truncation, renaming, holes;
//! - [`decode`] tells plain from compressed by content and inflates;
//! - [`lines`] cuts bytes into lines, whatever the reads were;
//! - [`lineage`] is the running identity of a log: the hash of all bytes consumed so far.
//!
//! Events only wake; `fstat` and the content decide. Only whole lines are ever handed on.

pub mod decode;
pub mod discover;
pub mod followed;
pub mod lineage;
pub mod lines;
pub mod open;
pub mod wake;
