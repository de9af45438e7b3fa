//! Logs of a Zeek that writes each event twice, plain and as a JSON stream: which of them are read, and when.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{info, warn};

use super::Follower;
use crate::ingest::paired_logs::{self, LogPair, PairSide, PairedLog, ReadSoFar};
use crate::ingest::plain_logs::{PlainLogs, began};
use crate::ingest::shown;
use crate::status::UnreadKind;
use crate::tail::discover::Listing;
use crate::tail::open::open as open_log;

impl Follower<'_> {
    /// Puts streaming logs to the others, but those whose events are told by plain logs. Says whether nothing had to be left
    /// for later.
    pub(super) fn pair(&mut self, listing: &mut Listing) -> bool {
        let is_first = !std::mem::replace(&mut self.is_known, true);
        let (streaming, archives) =
            (std::mem::take(&mut listing.streaming), std::mem::take(&mut listing.streaming_archives));
        let there: HashSet<&Path> =
            streaming.iter().chain(&archives).map(|found| found.path.as_path()).collect();
        self.held.retain(|path| there.contains(path.as_path()));
        self.judged.retain(|path, _| there.contains(path.as_path()));
        if streaming.is_empty() && archives.is_empty() {
            self.plain_archives.clear();
            return true;
        }
        self.plain_archives.clone_from(&listing.archives);
        let live_folders: HashSet<PathBuf> =
            listing.live.iter().map(|found| paired_logs::zeek_folder(&found.path)).collect();
        let mut folders = live_folders.clone();
        folders.extend(listing.archives.iter().map(|found| paired_logs::zeek_folder(&found.path)));
        // The ledger is asked after that: what was read until then is in it.
        let archives_read = self.source.state.lock().pending == 0 && !is_first;
        let plain = self.shared.context.claims.lineages().map(PlainLogs::of).ok();
        folders.extend(plain.iter().flat_map(PlainLogs::folders).cloned());
        for found in &streaming {
            let folder = paired_logs::zeek_folder(&found.path);
            if live_folders.contains(&folder) {
                let plain =
                    listing.live.iter().filter(|plain| paired_logs::zeek_folder(&plain.path) == folder);
                let paths: Vec<PathBuf> = plain.chain([found]).map(|found| found.path.clone()).collect();
                self.begin_pair(folder.clone(), &paths);
                listing.pass_over(&found.path, UnreadKind::PassedOver, paired_logs::COMPARED);
            }
            if is_first && folders.contains(&folder) {
                self.held.insert(found.path.clone());
            }
        }
        let mut nothing_held = true;
        for found in archives {
            let known = self.judged.get(&found.path).filter(|(stamp, _)| *stamp == found.stamp);
            let is_told = match known {
                Some((_, is_told)) => *is_told,
                None if !folders.contains(&paired_logs::zeek_folder(&found.path)) => false,
                None if self.source.state.lock().met.get(&found.path) == Some(&found.stamp) => false,
                // What was written while it was followed is known; the plain ones are read first.
                None if !archives_read => {
                    nothing_held = false;
                    continue;
                }
                None => match &plain {
                    Some(plain) => plain.cover(&self.source.config.zeek, &found.path).is_some(),
                    None => {
                        nothing_held = false;
                        continue;
                    }
                },
            };
            self.judged.insert(found.path.clone(), (found.stamp, is_told));
            if is_told {
                listing.pass_over(&found.path, UnreadKind::PassedOver, paired_logs::PASSED_OVER);
            } else {
                listing.archives.push(found);
            }
        }
        listing.live.extend(streaming);
        nothing_held && self.held.is_empty()
    }

    /// From now on the logs of a Zeek that writes two kinds are compared; what they told so far is taken down.
    fn begin_pair(&mut self, folder: PathBuf, paths: &[PathBuf]) {
        if self.pairs.contains_key(&folder) {
            return;
        }
        let pair: Arc<Mutex<LogPair>> = Arc::default();
        let zeek = &self.source.config.zeek;
        let of = |path: &Path| PairedLog { pair: Arc::clone(&pair), side: PairSide::of(path) };
        for path in paths {
            let paired = of(path);
            let open = self.live.iter().any(|live| live.file.path() == path);
            let known = if open { continue } else { ReadSoFar::Ledger };
            let looked = open_log(path).map_err(Into::into).and_then(|(file, _)| {
                paired_logs::look_through(&paired, &self.shared.context.claims, zeek, file, known)
            });
            if let Err(error) = looked {
                warn!(path = shown(path), %error, "What was read of a log before could not be looked through.");
            }
        }
        for live in self.live.iter_mut().filter(|live| paired_logs::zeek_folder(live.file.path()) == folder) {
            let paired = of(live.file.path());
            let known = ReadSoFar::Bytes(live.file.offset());
            if let Err(error) = paired_logs::look_through(
                &paired,
                &self.shared.context.claims,
                zeek,
                live.file.again(),
                known,
            ) {
                warn!(path = shown(live.file.path()), %error, "What was read of a log before could not be looked through.");
            }
            live.intake.pair(paired);
        }
        info!(
            folder = shown(&folder),
            "A plain and a JSON streaming log: an event that both hold is counted once."
        );
        self.pairs.insert(folder, pair);
    }

    /// Whether a streaming log that was there before us may be read now: when the plain logs are read that may hold the same.
    /// Then the time up to which they do.
    pub(super) fn is_free(&self, path: &Path) -> Option<Option<u64>> {
        let (folder, zeek) = (paired_logs::zeek_folder(path), &self.source.config.zeek);
        let is_of = |other: &Path| {
            PairSide::of(other) == PairSide::Plain && paired_logs::zeek_folder(other) == folder
        };
        let mut plain = self.live_paths.iter().filter(|other| is_of(other));
        let is_read = |other: &&PathBuf| {
            self.resting.contains_key(*other)
                || !other.exists()
                || self.live.iter().any(|live| {
                    live.file.path() == other.as_path()
                        && live.file.size().is_ok_and(|size| size == live.file.offset())
                })
        };
        if !plain.all(|other| is_read(&other)) {
            return None;
        }
        let began = i128::from(began(path, zeek).unwrap_or_default()) * 1_000_000_000;
        let standing = self.source.state.lock();
        let waits = self.plain_archives.iter().any(|found| {
            is_of(&found.path)
                && found.stamp.modified >= began
                && (standing.pending > 0 || !standing.met.contains_key(&found.path))
                && self.cut.is_none_or(|cut| found.stamp.modified >= cut)
        });
        drop(standing);
        if waits {
            return None;
        }
        let plain = self.shared.context.claims.lineages().map(PlainLogs::of).ok()?;
        Some(plain.cover(zeek, path))
    }
}
