//! A ledger that is damaged, and whose logs are still there: it is set aside, and another one is made from them.
//!
//! What a ledger had read is noted outside of it, log by log. Where the sources still hold all of that, nothing is lost by
//! beginning anew. Where something is gone from them, or nothing says what there was, the ledger is left as it is: what is in
//! it may be in no log any more, and it is for the operator to decide.

use std::path::{Path, PathBuf};

use crate::base::shutdown::Stop;
use crate::ingest::{self, ImportProgress, IngestError};
use crate::store::Options;
use crate::store::sled::{acknowledged, begin_anew};

/// What was done about a damaged ledger.
#[derive(Debug)]
pub enum Recovery {
    /// It was set aside here, and another one was begun, into which so many logs are to be read again.
    Begun(Vec<PathBuf>, usize),
    /// Nothing: this is why rows could be lost.
    Unsafe(String),
}

/// Sets the damaged ledger in a data folder aside and begins another one, if the sources hold all that it had read.
///
/// # Errors
///
/// When something cannot be read or written, or was stopped.
pub fn begin_anew_if_safe(
    folder: &Path,
    options: &Options,
    feeding: &ingest::Config,
    on_progress: &(dyn Fn(&ImportProgress) + Sync),
    stop: &Stop,
) -> Result<Recovery, IngestError> {
    let Some(logs) = acknowledged(folder)? else {
        return Ok(Recovery::Unsafe("nothing says what it had read".to_owned()));
    };
    let gone = ingest::gone(feeding, &logs, on_progress, stop)?;
    if !gone.is_empty() {
        let why = format!(
            "of {} logs that it had read, {} are not in the sources any more, or not whole, or were imported by hand",
            logs.len(),
            gone.len()
        );
        return Ok(Recovery::Unsafe(why));
    }
    Ok(Recovery::Begun(begin_anew(folder, options)?, logs.len()))
}
