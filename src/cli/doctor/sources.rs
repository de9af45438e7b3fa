//! The logs: whether they are there, may be read, and are written as they are read.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::user::User;
use super::{Findings, LISTED};
use crate::daemon::config::{Config, Source};
use crate::ingest::look_at;
use crate::status::{Unread, shown_path};
use crate::tail::decode::Decoder;
use crate::tail::discover::discover;
use crate::tail::open::open;

/// Logs that are tried for each source: the newest of them.
const TRIED: usize = 20;
/// Logs of each source that are looked into: the newest of them.
const LOOKED_INTO: usize = 1000;
/// Bytes of a log that are looked at.
const HEAD_BYTES: u64 = 16 << 10;

/// Looks at each source as the daemon would. Files that the daemon itself has told of are not listed again.
pub(super) fn check(
    findings: &mut Findings,
    config: &Config,
    sources: &[Source],
    user: &User,
    told: &HashSet<String>,
) {
    if sources.is_empty() {
        let advice = "a [[source]] with logs = \"/path/to/zeek/logs\" in the configuration";
        findings.bad("source", "there is no log folder of Zeek in any usual place", advice);
    }
    for source in sources {
        let shown = source.logs.display();
        if let Some((path, metadata)) = user.barred(&source.logs) {
            let advice = user.advice(&path, &metadata, Some(&source.logs));
            findings.bad("source", user.says(&source.logs, &path), advice);
            continue;
        }
        let listing = match discover(&source.logs, &config.scope(source)) {
            Ok(mut listing) => {
                listing.live.append(&mut listing.streaming);
                listing.archives.append(&mut listing.streaming_archives);
                listing
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let advice = "it is read as soon as it is there; if Zeek logs elsewhere, name that folder";
                findings.warn("source", format!("{shown} is not there"), advice);
                continue;
            }
            Err(error) => {
                findings.bad("source", format!("{shown}: {error}"), "check the path and its permissions");
                continue;
            }
        };
        let newest = listing.archives.iter().rev().take(TRIED);
        let mut is_barred = false;
        for found in listing.live.iter().chain(newest) {
            let Some((path, metadata)) = user.barred(&found.path) else { continue };
            let says = user.says(&found.path, &path);
            // Who may write into the folder chose what a link leads to, and what a file is called.
            if is_link(&found.path) {
                let advice = "it is a link, and what it leads to is left alone; if that is a log of Zeek, name the folder it is in as a source";
                findings.warn("source", says, advice);
            } else if let Some(advice) = match is_dns_log(&path) {
                _ if metadata.is_dir() => None,
                Ok(true) => None,
                Ok(false) => Some("it is named like a DNS log and does not hold one: leave it"),
                Err(_) => Some(
                    "run `dnsledger doctor` as root: this user cannot see what the file is, so nothing can be advised",
                ),
            } {
                findings.warn("source", says, advice);
            } else if !std::mem::replace(&mut is_barred, true) {
                // One is enough, for all of a source are opened together; which comes first is a matter of chance.
                findings.bad("source", says, user.advice(&path, &metadata, Some(&source.logs)));
            }
        }
        if is_barred {
            continue;
        }
        let mut unread = listing.unread.clone();
        for found in listing.live.iter().chain(listing.archives.iter().rev()).take(LOOKED_INTO) {
            if !is_link(&found.path)
                && let Err((kind, reason)) = look_at(&found.path, &source.zeek())
            {
                unread.push(Unread { path: found.path.clone(), kind, reason });
            }
        }
        unread.retain(|unread| !told.contains(&shown_path(&unread.path)));
        unread.sort_by_key(|unread| unread.kind);
        for Unread { path, kind, reason } in unread.iter().take(LISTED) {
            let says = format!("{}: {reason}", path.display());
            match kind.may_hold_records() {
                true => findings.warn("source", says, "it is not read; everything else is"),
                false => findings.good("source", format!("{says}; it is passed over")),
            }
        }
        if let Some(more) = unread.len().checked_sub(LISTED).filter(|more| *more > 0) {
            findings.warn(
                "source",
                format!("{more} more files are not read"),
                "`dnsledger status` lists them",
            );
        }
        let (live, archives) = (listing.live.len(), listing.archives.len());
        let Some(newest) = listing.live.first().or(listing.archives.last()) else {
            let advice = "Zeek writes dns.log with its first DNS record: check that it sees port 53";
            findings.warn("source", format!("{shown}: no DNS log yet: {}", listing.seen()), advice);
            continue;
        };
        findings
            .good("source", format!("{shown}: {live} live, {archives} archived, readable by {}", user.name));
        check_log(findings, &newest.path);
    }
}

/// Whether a path itself is a link.
fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// A path, with where it leads if a link is on the way.
fn told(path: &Path) -> String {
    match path.canonicalize() {
        Ok(real) if std::path::absolute(path).is_ok_and(|named| named != real) => {
            format!("{} (a link leads to {})", path.display(), real.display())
        }
        _ => path.display().to_string(),
    }
}

/// Whether a file is a DNS log by what it begins with.
fn is_dns_log(path: &Path) -> io::Result<bool> {
    let mut decoder = Decoder::open(path)?;
    let mut head = vec![0; HEAD_BYTES as usize];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match decoder.fill(rest) {
            Ok((read, None)) if read > 0 => filled += read,
            Ok((read, _)) => {
                filled += read;
                break;
            }
            Err(_) => return Ok(false),
        }
    }
    head.truncate(filled);
    let lines: Vec<&[u8]> = head.split(|&b| b == b'\n').filter(|line| !line.is_empty()).take(20).collect();
    let Some(first) = lines.first() else { return Ok(true) }; // nothing in it so far
    let has = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|window| window == word);
    Ok(match first.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{' | b'[') => {
            has(first, b"\"query\"") || has(first, b"\"id.orig_h\"") || has(first, b"\"id\"")
        }
        Some(b'#') => {
            lines.iter().any(|line| line.starts_with(b"#path") && has(line, b"dns"))
                || lines
                    .iter()
                    .any(|line| line.starts_with(b"#fields") && has(line, b"query") && has(line, b"id."))
        }
        // Without a header: a time, and many columns.
        _ => {
            first.iter().filter(|&&b| b == b'\t').count() >= 9
                && first.first().is_some_and(u8::is_ascii_digit)
        }
    })
}

/// Looks at how Zeek writes a log that is not compressed.
fn check_log(findings: &mut Findings, path: &Path) {
    let shown = told(path);
    let mut head = Vec::new();
    let read = open(path).and_then(|(file, _)| file.take(HEAD_BYTES).read_to_end(&mut head));
    if read.is_err() || head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return;
    }
    if let Ok(age) = fs::metadata(path).and_then(|metadata| metadata.modified()).map(|at| at.elapsed()) {
        match age {
            Err(_) => findings.warn(
                "clock",
                format!("{shown} was last written in the future"),
                "set the time on the sensor by NTP",
            ),
            Ok(age) if age > Duration::from_secs(86_400) => {
                let says = format!("{shown} has not grown for {} days", age.as_secs() / 86_400);
                findings.warn("zeek", says, "check that Zeek runs: `zeekctl status`");
            }
            Ok(_) => {}
        }
    }
    let is_column = |name: &[u8]| {
        let found = |separator: &[u8]| {
            head.split(|&b| b == b'\n')
                .filter(|line| line.starts_with(b"#fields"))
                .any(|line| line.split(|b| separator.contains(b)).any(|word| word == name))
        };
        found(b"\t, |;")
    };
    match head.iter().find(|b| !b.is_ascii_whitespace()) {
        None => findings.good("zeek", format!("{shown} is empty so far")),
        Some(b'{') => findings.good("zeek", format!("{shown} is JSON")),
        Some(b'#') if is_column(b"answers") && is_column(b"query") => {
            findings.good("zeek", format!("{shown} is TSV, with its header"));
        }
        Some(b'#') => {
            let advice =
                "the columns query and answers are needed: look for a policy script that leaves them out";
            findings.bad("zeek", format!("{shown} has no columns of answers"), advice);
        }
        Some(_) => {
            let advice = "set `fields` of the source, or LogAscii::include_meta=T in Zeek";
            findings.warn("zeek", format!("{shown} has no header"), advice);
        }
    }
}
