//! Where logs lie now: at the path where they were met last, or else wherever in the sources a file begins with them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::needle::Needle;
use super::read::{ReadRules, first_log};
use crate::ingest::{Config, SourceConfig};
use crate::progress::LineageId;
use crate::tail::decode::{Decoder, Packing};
use crate::tail::discover::{FoundFile, Listing, Scope, Stamp, discover};

/// Files of which it is remembered with which log they begin.
const MOST_KNOWN: usize = 200_000;

/// Remembers with which log files begin, so that each of them is looked into once.
#[derive(Debug, Default)]
pub struct Beginnings {
    known: Mutex<HashMap<PathBuf, (Stamp, Option<LineageId>)>>,
}

impl Beginnings {
    fn of(&self, found: &FoundFile, how: ReadRules<'_>) -> Option<LineageId> {
        if let Some((stamp, first)) = self.known.lock().get(&found.path)
            && *stamp == found.stamp
        {
            return *first;
        }
        // What cannot be read holds nothing that could be handed out; it is looked into again.
        let decoder = Decoder::open(&found.path).ok()?;
        let first = match decoder.packing() {
            Packing::Unsupported(_) => None,
            _ => first_log(decoder, how).ok()?,
        };
        let mut known = self.known.lock();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(found.path.clone(), (found.stamp, first));
        first
    }
}

/// The files of the sources, by the logs that they begin with.
#[derive(Default)]
pub(super) struct Index {
    by_log: HashMap<LineageId, Vec<PathBuf>>,
}

impl Index {
    /// Looks through the sources, and through the folders in which logs lay that are looked for.
    pub fn make(
        config: &Config,
        also: &[PathBuf],
        folders: &[PathBuf],
        beginnings: &Beginnings,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Index {
        let mut index = Index::default();
        let flat = Scope { depth: 0, ..Scope::default() };
        let whole = Scope::default();
        let default = SourceConfig::default();
        let sources = config.sources.iter().map(|source| (&source.logs, &source.scope, source));
        let also = also.iter().map(|path| (path, &whole, &default));
        let folders = folders.iter().map(|path| (path, &flat, &default));
        let mut seen = std::collections::HashSet::new();
        for (path, scope, source) in sources.chain(also).chain(folders) {
            // What is not there holds no log.
            let Ok(listing) = discover(path, scope) else { continue };
            let how = ReadRules {
                zeek: &source.zeek,
                observe: &config.observe,
                max_line_bytes: config.max_line_bytes,
                needle: &Needle::NONE,
            };
            for found in all(listing) {
                if !seen.insert(found.path.clone()) {
                    continue;
                }
                if !go_on() {
                    return index;
                }
                if let Some(first) = beginnings.of(&found, how) {
                    index.by_log.entry(first).or_default().push(found.path);
                }
            }
        }
        index
    }

    /// The files that begin with a log.
    pub fn files(&self, log: &LineageId) -> &[PathBuf] {
        self.by_log.get(log).map(Vec::as_slice).unwrap_or_default()
    }
}

fn all(listing: Listing) -> impl Iterator<Item = FoundFile> {
    let Listing { live, archives, streaming, streaming_archives, .. } = listing;
    archives.into_iter().chain(live).chain(streaming_archives).chain(streaming)
}

/// The options by which a log is read: those of the source that it lies in, else of the one with its sensor.
pub(super) fn source_of<'c>(config: &'c Config, path: &Path, sensor: &str) -> Option<&'c SourceConfig> {
    let holds = |source: &&SourceConfig| path.starts_with(&source.logs);
    let sources = || config.sources.iter();
    sources().find(holds).or_else(|| sources().find(|source| source.sensor == sensor))
}
