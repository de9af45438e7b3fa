//! A feed of MISP: a manifest that names events, and a file for each. Events that have not changed are not got again.
//!
//! `hashes.csv`, beside the manifest, tells MISP whether a value is in a feed that it does not keep; this one is kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use super::answer::{Manifest, check_event};
use super::remote::parsed;
use super::{Pull, PullError, Pulled};
use crate::http::fetch::Location;
use crate::indicators::{Format, MAX_BYTES};
use crate::watch::WatchError;

/// Bytes of events on disk.
const MAX_KEPT: u64 = 1 << 30;

impl Pull<'_> {
    pub(super) fn misp_feed(&mut self) -> Result<Pulled, PullError> {
        let base = match self.source.url.path().ends_with(".json") {
            true => self.source.url.clone(),
            false => self.below("manifest.json"),
        };
        let kept = self.folder.pulled(&self.source.name);
        let etag = self.note.etag.take().filter(|_| kept.is_dir());
        let mut headers = vec![("accept", "application/json")];
        headers.extend(etag.as_deref().map(|etag| ("if-none-match", etag)));
        let (at, reply) = self.remote.get(&base, &headers)?;
        match reply.status {
            200 => {}
            304 if etag.is_some() => {
                self.note.etag = etag;
                return Ok(Pulled::Unchanged);
            }
            _ => return Err(self.remote.answered(&at, reply)),
        }
        let etag = reply.header("etag").filter(|value| value.len() < 1000).map(str::to_owned);
        let manifest: Manifest = parsed(&at, &self.remote.document(&at, reply)?)?;
        let unexpected = |what: &str| PullError::Unexpected { at: at.to_string(), what: what.to_owned() };
        manifest.check().map_err(unexpected)?;
        let failed = |error| PullError::Watch(WatchError::Io { path: kept.clone(), error });
        let was_unread = self.change()?;
        let mut there = files(&kept).map_err(failed)?;
        let (mut wanted, mut missing, mut changed) = (Vec::new(), 0, false);
        let mut bytes: u64 = there.values().sum();
        for (uuid, name) in manifest.events() {
            if there.remove(&name).is_none() {
                match self.event(&at, uuid, &kept.join(&name))? {
                    Some(length) => (bytes, changed) = (bytes + length, true),
                    None => {
                        missing += 1;
                        continue;
                    }
                }
                if bytes > MAX_KEPT {
                    return Err(unexpected("its events have more than 1 GiB"));
                }
            }
            wanted.push(kept.join(name));
        }
        // Of an event that has changed the file before, and events that are no more; not while a newer one is missing.
        for name in there.keys() {
            let uuid = name.get(..36).unwrap_or_default();
            let is_superseded = wanted.iter().any(|path| has_uuid(path, uuid));
            if is_superseded || !manifest.has(uuid) {
                fs::remove_file(kept.join(name)).map_err(failed)?;
                changed = true;
            } else {
                wanted.push(kept.join(name));
            }
        }
        self.note.remark = (missing > 0)
            .then(|| format!("{missing} of {} events that are listed are not there", manifest.len()));
        if wanted.is_empty() {
            return Err(unexpected("none of the events that are listed is there"));
        }
        if !changed && self.goes_on && !was_unread {
            drop(fs::remove_file(self.unread()));
            self.note.etag = etag.filter(|_| missing == 0);
            return Ok(Pulled::Unchanged);
        }
        let mut inputs =
            wanted.iter().map(|path| File::open(path).map(|file| Box::new(file) as Box<dyn Read>));
        let pulled = self.import(&mut inputs, Some(Format::Misp))?;
        self.note.etag = etag.filter(|_| missing == 0 && !pulled.is_held());
        Ok(pulled)
    }

    /// Gets an event, and how long it is; `None` where it is not there.
    fn event(&self, manifest: &Location, uuid: &str, path: &Path) -> Result<Option<u64>, PullError> {
        let at = manifest.linked(&format!("{uuid}.json"));
        let unexpected =
            |what: String| PullError::Unexpected { at: format!("{manifest}: event {uuid}"), what };
        let at = at.map_err(|why| unexpected(why.to_owned()))?;
        let (at, reply) = self.remote.get(&at, &[("accept", "application/json")])?;
        match reply.status {
            200 => {}
            404 | 410 => return Ok(None),
            _ => return Err(self.remote.answered(&at, reply)),
        }
        let part = path.with_extension("part");
        let failed = |error| PullError::Watch(WatchError::Io { path: path.to_owned(), error });
        let mut body = self.remote.body(&at, reply)?;
        let mut file =
            File::options().create(true).truncate(true).read(true).write(true).open(&part).map_err(failed)?;
        let (mut piece, mut length) = (vec![0; 64 << 10], 0);
        loop {
            let read = match body.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| unexpected(format!("reading it: {error}")))?,
            };
            length += read as u64;
            if length > MAX_BYTES {
                return Err(unexpected(format!("it has more than {} MiB", MAX_BYTES >> 20)));
            }
            match piece.get(..read) {
                Some(piece @ [_, ..]) => file.write_all(piece).map_err(failed)?,
                _ => break,
            }
        }
        // What is kept is read again and again: it must be one.
        file.rewind().map_err(failed)?;
        check_event(BufReader::new(&file))
            .map_err(|error| unexpected(format!("it is not an event: {error}")))?;
        file.sync_data().and_then(|()| fs::rename(&part, path)).map_err(failed)?;
        Ok(Some(length))
    }
}

/// The events that are kept, with their lengths.
fn files(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Some(name) if name.ends_with(".json") => {
                files.insert(name.to_owned(), entry.metadata()?.len());
            }
            Some("unread") => {}
            // What was left by a pull that was killed.
            _ => drop(fs::remove_file(entry.path())),
        }
    }
    Ok(files)
}

fn has_uuid(path: &Path, uuid: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(uuid.as_bytes()))
}
