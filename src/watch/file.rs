//! Hits in a file, each once: a line of JSON, or of Zeek's intel.log.
//!
//! Lines are appended and synced, and then it is noted how far that is (`sent` in the folder of the feeds). A crash between the two is
//! seen by the last line, which has its number; a line that was cut short is cut off. Where the file was taken away (logrotate) another is
//! begun, and goes on from the note.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outlet::{Outlet, Sent};
use crate::base::replace::replace_file;
use crate::base::shutdown::Stop;
use crate::store::WriteStore;

/// Bytes at the end of the file in which the last line is looked for.
const TAIL: u64 = 64 << 10;
/// How often it is looked for hits.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How hits are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileForm {
    /// A JSON object a line.
    #[default]
    Json,
    /// As Zeek's intel.log, with the number of the hit in a column of its own.
    Zeek,
}

/// A file that hits are written to.
#[derive(Debug, Clone)]
pub struct HitFile {
    /// Where it is.
    pub path: PathBuf,
    /// How they are written.
    pub form: FileForm,
    /// Where it is noted how far that is.
    pub note: PathBuf,
}

const ZEEK_HEAD: &str = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tintel\n\
    #fields\tts\tseen.indicator\tseen.indicator_type\tseen.where\tseen.node\tmatched\tsources\tdesc\tsequence\n\
    #types\ttime\tstring\tenum\tenum\tstring\tset[enum]\tset[string]\tstring\tcount\n";

impl HitFile {
    /// The number in a line.
    fn number(&self, line: &[u8]) -> Option<u64> {
        match self.form {
            FileForm::Json => {
                let value: serde_json::Value = serde_json::from_slice(line).ok()?;
                value.get("sequence").or_else(|| value.get("summed")?.get("to"))?.as_u64()
            }
            FileForm::Zeek => std::str::from_utf8(line).ok()?.rsplit('\t').next()?.parse().ok(),
        }
    }

    fn push(&self, sent: &Sent, out: &mut Vec<u8>) {
        match (self.form, sent) {
            // Plain values to memory: nothing that can fail.
            (FileForm::Json, Sent::Hit(hit)) => drop(serde_json::to_writer(&mut *out, hit)),
            (FileForm::Json, Sent::Summed(summed)) => {
                drop(serde_json::to_writer(&mut *out, &serde_json::json!({ "summed": summed })));
            }
            (FileForm::Zeek, Sent::Hit(hit)) => {
                let kind = match hit.kind.as_str() {
                    "address" => "Intel::ADDR",
                    "network" => "Intel::SUBNET",
                    _ => "Intel::DOMAIN",
                };
                let plain = |text: &str| text.replace(['\t', '\n', '\\'], " ");
                let said = hit.title.as_deref().or(hit.description.as_deref()).unwrap_or("-");
                let seen = hit.address.as_deref().unwrap_or(&hit.rrname);
                let line = format!(
                    "{}.000000\t{}\t{kind}\tDNS::IN_RESPONSE\t{}\t{kind}\t{}\t{}\t{}",
                    hit.time,
                    plain(seen),
                    plain(&hit.sensor),
                    if hit.feeds.is_empty() { "dnsledger".to_owned() } else { hit.feeds.join(",") },
                    plain(said),
                    hit.sequence
                );
                out.extend_from_slice(line.as_bytes());
            }
            (FileForm::Zeek, Sent::Summed(summed)) => {
                let line = format!(
                    "#summed\t{} hits from {} to {} are in the ledger\t{}",
                    summed.hits, summed.from, summed.to, summed.to
                );
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.push(b'\n');
    }

    /// Opens it, cuts off what was cut short, and finds the number of the last hit in it.
    fn open(&self) -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&file).take(TAIL).read_to_end(&mut tail)?;
        let whole = memchr::memrchr(b'\n', &tail).map_or(0, |end| end + 1);
        if whole < tail.len() {
            file.set_len(from + whole as u64)?;
            tail.truncate(whole);
        }
        if length == 0 && self.form == FileForm::Zeek {
            file.write_all(ZEEK_HEAD.as_bytes())?;
        }
        let mut lines = tail.split(|byte| *byte == b'\n').rev();
        let last = lines.find_map(|line| if line.is_empty() { None } else { self.number(line) });
        Ok((file, last.unwrap_or(0)))
    }

    fn noted(&self) -> u64 {
        fs::read_to_string(&self.note).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn note(&self, sequence: u64) -> io::Result<()> {
        let part = self.note.with_extension("part");
        if let Some(folder) = self.note.parent() {
            fs::create_dir_all(folder)?;
        }
        replace_file(&self.note, &part, 0o666, format!("{sequence}\n").as_bytes())
    }

    /// Writes hits as they come, until it is stopped.
    pub fn run(&self, store: &dyn WriteStore, stop: &Stop) {
        let mut told = false;
        while !stop.is_stopped() {
            match self.write(store, stop) {
                Ok(()) => return,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(path = %self.path.display(), %error, "Hits cannot be written. They stay in the ledger, and are written later.");
                    }
                }
            }
            if stop.wait(AFTER_FAILURE) {
                return;
            }
        }
    }

    fn write(&self, store: &dyn WriteStore, stop: &Stop) -> io::Result<()> {
        let (mut file, last) = self.open()?;
        let mut outlet = Outlet::new(last.max(self.noted()));
        while !stop.is_stopped() {
            let last = store.last_hit().0;
            if last <= outlet.after() {
                stop.wait(LOOK);
                continue;
            }
            // Where it was taken away another is begun.
            if !is_at(&file, &self.path) {
                file = self.open()?.0;
            }
            let sent = outlet.next(store, last).map_err(|error| io::Error::other(error.to_string()))?;
            let mut lines = Vec::new();
            sent.iter().for_each(|sent| self.push(sent, &mut lines));
            if !lines.is_empty() {
                file.write_all(&lines)?;
                file.sync_data()?;
                self.note(outlet.after())?;
            }
            stop.wait(outlet.pause());
        }
        Ok(())
    }
}

/// Whether the file at a path is the one that is open.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_short_is_cut_off_and_the_last_one_says_where_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        for (form, lines, last) in [
            (FileForm::Json, "{\"sequence\":1}\n{\"sequence\":2}\n{\"seq", 2),
            (FileForm::Json, "{\"sequence\":1}\n{\"summed\":{\"from\":2,\"to\":9,\"hits\":8}}\n", 9),
            (FileForm::Json, "{\"seq", 0),
            (FileForm::Json, "", 0),
            (FileForm::Zeek, "#path\tintel\n1.0\ta\tb\t7\n1.0\ta\tb\t8", 7),
            (FileForm::Zeek, "1.0\ta\t7\n#summed\t3 hits from 8 to 10 are in the ledger\t10\n", 10),
            (FileForm::Zeek, "", 0),
        ] {
            let (path, note) = (folder.path().join("hits"), folder.path().join("sent"));
            fs::write(&path, lines).unwrap();
            let hits = HitFile { path: path.clone(), form, note };
            assert_eq!(hits.open().unwrap().1, last, "{lines:?}");
            let left = fs::read_to_string(&path).unwrap();
            assert!(left.is_empty() || left.ends_with('\n'));
            assert_eq!(left.starts_with("#separator"), lines.is_empty() && form == FileForm::Zeek);
        }
    }
}
