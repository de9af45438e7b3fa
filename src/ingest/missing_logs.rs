//! Which logs are gone: whether a ledger could be made anew from what the sources hold.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Backfill, Config, ImportProgress, IngestError, import};
use crate::base::shutdown::Stop;
use crate::progress::LineageId;
use crate::store::WriteStore;
use crate::store::memory::MemoryStore;

/// Of logs and how far they were read, those that the sources do not hold any more, or not as far. Everything in the sources
/// is read for it, as if it was counted, and nothing of it is kept.
///
/// What is counted from a source that does not read all its archives says nothing: it would not be read again.
///
/// # Errors
///
/// When reading was ended, or there is no thread for it. A source that cannot be read holds nothing.
pub fn gone(
    config: &Config,
    logs: &[(LineageId, u64)],
    on_progress: &(dyn Fn(&ImportProgress) + Sync),
    stop: &Stop,
) -> Result<Vec<LineageId>, IngestError> {
    let store: Arc<dyn WriteStore> = Arc::new(MemoryStore::of_progress_only());
    for source in config.sources.iter().filter(|source| source.backfill == Backfill::All) {
        let paths: [PathBuf; 1] = [source.logs.clone()];
        let one = Config { sources: vec![source.clone()], ..config.clone() };
        match import(&store, &one, Some(source.sensor.as_str()), None, &paths, on_progress, stop) {
            Ok(_) | Err(IngestError::Path { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut gone = Vec::new();
    for (lineage, offset) in logs {
        if store.lineage(lineage)?.is_none_or(|progress| progress.consumed.offset < *offset) {
            gone.push(*lineage);
        }
    }
    Ok(gone)
}
