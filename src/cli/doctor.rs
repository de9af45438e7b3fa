//! `doctor`: what would keep the daemon from working, and what to do about each thing.
//!
//! It changes nothing. Run by root it judges as the user that owns the data folder, for that is who will open the logs:
//! by the mode and the access list of each folder on the way, with that user's groups (`/etc/passwd` and `/etc/group`).

mod disk;
mod fleet;
mod outlets;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Exit;
use super::access::SourceArgs;
use crate::base::clock::now;
use crate::base::time::{format_date, format_utc};
use crate::daemon::CONTROL_SOCKET;
use crate::daemon::config::{Config, Source};
use crate::http::client::Client;
use crate::http::tls;
use crate::http::token::Tokens;
use crate::http::{Delivering, Forwarding};
use crate::ingest::look_at;
use crate::output::sanitise;
use crate::status::{Unread, UnreadKind, shown_path};
use crate::store::FORMAT;
use crate::store::sled::{kept_before, set_asides, whole_format_of};
use crate::tail::decode::Decoder;
use crate::tail::discover::discover;
use crate::tail::open::open;
use crate::tail::wake::try_events;

/// Logs that are tried for each source: the newest of them.
const TRIED: usize = 20;
/// Logs of each source that are looked into: the newest of them.
const LOOKED_INTO: usize = 1000;
/// Files that are not read and are listed, for each source.
const LISTED: usize = 10;
/// Bytes of a log that are looked at.
const HEAD_BYTES: u64 = 16 << 10;
/// Bytes of a status that is looked at.
const STATUS_BYTES: u64 = 64 << 20;
/// Watches that a long archive wants.
const WATCHES: u64 = 8192;
/// Where the system says how many watches a user may have, and how many in this namespace: the lower one holds.
const WATCH_LIMITS: [&str; 2] =
    ["/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"];
/// A certificate that ends sooner is near its end.
const CERTIFICATE_DAYS: u64 = 14;
/// 2024-01-01: a clock before it is not set.
const EARLIEST: u64 = 1_704_067_200;

/// What `doctor` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    sources: SourceArgs,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    /// It works, and could be better.
    Warning,
    /// It does not work.
    Bad,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::Good => "ok",
            Grade::Warning => "warn",
            Grade::Bad => "FAIL",
        })
    }
}

/// What was found.
#[derive(Default)]
struct Findings(Vec<(Grade, &'static str, String, Option<String>)>);

impl Findings {
    fn good(&mut self, what: &'static str, says: impl Into<String>) {
        self.0.push((Grade::Good, what, says.into(), None));
    }

    fn warn(&mut self, what: &'static str, says: impl Into<String>, advice: impl Into<String>) {
        self.0.push((Grade::Warning, what, says.into(), Some(advice.into())));
    }

    fn bad(&mut self, what: &'static str, says: impl Into<String>, advice: impl Into<String>) {
        self.0.push((Grade::Bad, what, says.into(), Some(advice.into())));
    }
}

/// Looks at everything and says what it found.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let config = args.sources.load()?;
    let mut findings = Findings::default();
    match config.check() {
        Ok(()) => findings.good("config", "sound"),
        Err(fault) => {
            let advice = fault.hint.clone().unwrap_or_default();
            findings.bad("config", fault.to_string(), advice);
        }
    }
    let told = check_folder(&mut findings, &config.data_dir);
    let user = User::of_folder(&config.data_dir);
    let running = told.is_some();
    let standing = running.then(|| Standing::of(&config.data_dir.join(CONTROL_SOCKET)));
    disk::check(&mut findings, &config, &user, running);
    check_sources(&mut findings, &config, &config.sources(), &user, &told.unwrap_or_default());
    check_port(&mut findings, &config, running);
    check_keys(&mut findings, &config, &user);
    fleet::check(&mut findings, &config, standing.as_ref());
    outlets::check(&mut findings, &config, &user, standing.as_ref());
    check_limits(&mut findings, &config.data_dir);
    tell_clock(&mut findings, now());
    let mut out = io::stdout().lock();
    for (grade, what, says, advice) in &findings.0 {
        writeln!(out, "{grade:<6}{what:<9}{}", sanitise(says))?;
        if let Some(advice) = advice {
            writeln!(out, "      {:<9}try: {}", "", sanitise(advice))?;
        }
    }
    let is_bad = findings.0.iter().any(|(grade, ..)| *grade == Grade::Bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

//--- the data folder, the port, the keys ----------------------------------------------------------------------------

/// What is looked at of the status of a daemon.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Standing {
    warnings: Vec<String>,
    store: StandingStore,
    sources: Vec<StandingSource>,
    forwarding: Option<Forwarding>,
    delivering: Vec<Delivering>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct StandingStore {
    missing_logs: u64,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct StandingSource {
    unread: Vec<StandingUnread>,
    unread_counts: BTreeMap<String, u64>,
}

#[derive(serde::Deserialize)]
struct StandingUnread {
    path: String,
    kind: String,
    reason: String,
}

impl Standing {
    /// What the daemon says of itself. One that does not tell is of another version, or on its way out.
    fn of(socket: &Path) -> Standing {
        let answer = Client::of_socket(socket).and_then(|client| client.get("/api/v1/status", &[]));
        let standing = answer.ok().map(|answer| serde_json::from_reader(answer.take(STATUS_BYTES)));
        standing.and_then(Result::ok).unwrap_or_default()
    }

    /// Says what needs the operator, and what the daemon has seen and does not read. Gives the paths that are named so.
    fn tell(&self, findings: &mut Findings) -> HashSet<String> {
        for warning in &self.warnings {
            findings.warn("daemon", warning, "see `dnsledger status`");
        }
        if self.store.missing_logs > 0 {
            findings.bad(
                "data",
                format!(
                    "rows of {} logs are missing that were there: the ledger was damaged",
                    self.store.missing_logs
                ),
                "they are read again from logs that are still there; `dnsledger verify` names what is missing",
            );
        }
        let passed_over = UnreadKind::PassedOver.name();
        let mut told = HashSet::new();
        for source in &self.sources {
            for StandingUnread { path, kind, reason } in source.unread.iter().take(LISTED) {
                let says = format!("{path}: {reason}");
                match kind == passed_over {
                    true => findings.good("daemon", format!("{says}; it is passed over")),
                    false => findings.warn("daemon", says, "it is not read; everything else is"),
                }
                told.insert(path.clone());
            }
            let total: u64 = source.unread_counts.values().sum();
            let passed_over = source.unread_counts.get(passed_over).copied().unwrap_or_default();
            let more = total.saturating_sub(LISTED as u64);
            if more > 0 {
                let says = format!("{more} more files are not read");
                match total == passed_over {
                    true => findings.good("daemon", format!("{says}; they are passed over")),
                    false => findings.warn("daemon", says, "`dnsledger status` lists them"),
                }
            }
        }
        told
    }
}

/// Looks at the data folder; says whether its daemon runs, and then which files that one says it does not read.
fn check_folder(findings: &mut Findings, folder: &Path) -> Option<HashSet<String>> {
    let shown = folder.display();
    let socket = folder.join(CONTROL_SOCKET);
    let running = Client::of_socket(&socket).and_then(|client| client.get("/healthz", &[])).is_ok();
    if running {
        findings.good("data", format!("{shown}: its daemon is running"));
        check_ready(findings, &socket);
        let told = Standing::of(&socket).tell(findings);
        tell_kept(findings, folder);
        return Some(told);
    }
    match fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => {
            findings.bad("data", format!("{shown} is no folder"), "name another by data_dir or --data");
        }
        Ok(metadata) => {
            match fs::read_dir(folder) {
                Err(error) => {
                    let advice =
                        format!("run this as root, or as the user that owns it (uid {})", metadata.uid());
                    findings.bad("data", format!("{shown}: {error}"), advice);
                }
                Ok(_) if folder.join("CURRENT").is_file() => check_format(findings, folder),
                Ok(_) => findings.good("data", format!("{shown} is there, and has no ledger yet")),
            }
            if metadata.permissions().mode() & 0o077 != 0 {
                let advice = format!("chmod 700 {shown}");
                findings.warn(
                    "data",
                    format!("{shown} is open to other users: who reads it reads it all"),
                    advice,
                );
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.good("data", format!("{shown} is not there; it is made at the first start"));
        }
        Err(error) => findings.bad("data", format!("{shown}: {error}"), "check the path and its permissions"),
    }
    None
}

/// Looks at whether the daemon is ready.
fn check_ready(findings: &mut Findings, socket: &Path) {
    let ready = Client::of_socket(socket).and_then(|client| client.get("/readyz", &[]));
    if let Err(error) = ready {
        findings.bad(
            "daemon",
            format!("it is not ready: {error}"),
            "`dnsledger status` says more; so does its log",
        );
    }
}

/// Looks at the ledger that is named, and at the version of its format.
fn check_format(findings: &mut Findings, folder: &Path) {
    let shown = folder.display();
    match whole_format_of(folder) {
        Ok(Some(found)) if found < FORMAT => findings.good(
            "data",
            format!("{shown} has format {found}: the next start converts it to format {FORMAT}, and keeps the old one beside it"),
        ),
        Ok(_) => findings.good("data", format!("{shown} holds a ledger; no daemon is running")),
        Err(error) => {
            findings.bad("data", error.to_string(), error.hint().unwrap_or_default());
        }
    }
    tell_kept(findings, folder);
}

/// Names what is kept of older formats.
fn tell_kept(findings: &mut Findings, folder: &Path) {
    for (file, bytes) in kept_before(folder) {
        let (megabytes, file) = (bytes >> 20, file.display());
        findings.good(
            "data",
            format!("the ledger as it was before the upgrade is still kept, {megabytes} MiB: `rm {file}` and a restart free that space"),
        );
    }
    for (aside, bytes) in set_asides(folder) {
        let (megabytes, aside) = (bytes >> 20, aside.display());
        findings.warn(
            "data",
            format!("{aside} was set aside, {megabytes} MiB: it is damaged or unknown, and nothing uses it"),
            format!("`rm -r {aside}` when you no longer need it"),
        );
    }
}

fn check_port(findings: &mut Findings, config: &Config, running: bool) {
    let listen = config.http.listen;
    if running {
        return findings.good("port", "served by the daemon");
    }
    match TcpListener::bind(listen) {
        Ok(_) => findings.good("port", format!("{listen} is free")),
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program has it: `ss -ltnp` says which; or change http.listen"
                }
                io::ErrorKind::PermissionDenied => "ports below 1024 need root: use a higher one",
                _ => "http.listen must be an address of this machine",
            };
            findings.bad("port", format!("{listen}: {error}"), advice);
        }
    }
}

fn check_keys(findings: &mut Findings, config: &Config, user: &User) {
    let http = &config.http;
    for (what, named) in [("tokens", &http.tokens_file), ("tls", &http.tls_cert), ("tls", &http.tls_key)] {
        if let Some((path, metadata)) = user.barred(named) {
            findings.bad(what, user.says(named, &path), user.advice(&path, &metadata, None));
        }
    }
    if !http.tokens_file.as_os_str().is_empty() {
        match Tokens::load(&http.tokens_file) {
            Ok(tokens) if tokens.iter().next().is_none() => {
                findings.warn("tokens", "there are no tokens, so nobody can ask", "dnsledger token new NAME");
            }
            Ok(tokens) => findings.good("tokens", format!("{} of them", tokens.iter().count())),
            Err(error) => findings.bad("tokens", error.to_string(), error.hint().unwrap_or_default()),
        }
    }
    if !http.tls_cert.as_os_str().is_empty() {
        match tls::load(&http.tls_cert, &http.tls_key) {
            Ok(_) => {
                findings.good("tls", "certificate and key belong together");
                check_end(findings, &http.tls_cert);
            }
            Err(error) => findings.bad("tls", error.to_string(), error.hint()),
        }
    } else if !http.listen.ip().is_loopback() {
        let advice = "set http.tls_cert and http.tls_key, or put a proxy in front";
        findings.warn("tls", "tokens and answers cross the network in the clear", advice);
    }
}

/// Looks at how long a certificate is good.
fn check_end(findings: &mut Findings, cert: &Path) {
    let says = match tls::ends(cert) {
        Ok(end) => match (end.saturating_sub(now())) / 86_400 {
            CERTIFICATE_DAYS.. => return,
            0 if end <= now() => format!("the certificate ended on {}", format_date(end)),
            days => format!("the certificate ends in {days} days, on {}", format_date(end)),
        },
        Err(error) => return findings.bad("tls", error.to_string(), error.hint()),
    };
    findings.bad("tls", says, "put a new one in its place, and `systemctl reload dnsledger`");
}

fn check_limits(findings: &mut Findings, folder: &Path) {
    if let Err(why) = try_events(folder) {
        return findings.bad("inotify", why.to_string(), why.advice());
    }
    let limit = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    tell_watches(findings, WATCH_LIMITS.into_iter().filter_map(limit).min());
}

/// Says how many watches there may be, as far as that can be read.
fn tell_watches(findings: &mut Findings, watches: Option<u64>) {
    match watches {
        Some(watches) if watches < WATCHES => findings.warn(
            "inotify",
            format!("{watches} watches; folders beyond that are polled"),
            "sysctl fs.inotify.max_user_watches=524288, and a file in /etc/sysctl.d",
        ),
        Some(watches) => findings.good("inotify", format!("{watches} watches")),
        None => findings.warn("inotify", "its limits cannot be read", "logs are polled where events fail"),
    }
}

/// Says what time it is, if it is one.
fn tell_clock(findings: &mut Findings, now: u64) {
    match now {
        0..EARLIEST => findings.bad("clock", "it is not set", "set the time, and keep it by NTP"),
        _ => findings.good("clock", format!("{} UTC", format_utc(now))),
    }
}

//--- sources --------------------------------------------------------------------------------------------------------

/// Looks at each source as the daemon would. Files that the daemon itself has told of are not listed again.
fn check_sources(
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

//--- User -----------------------------------------------------------------------------------------------------------

/// Who will open the logs.
struct User {
    name: String,
    uid: u32,
    groups: Vec<u32>,
}

impl User {
    /// The owner of the data folder, where root asks; else whoever asks.
    fn of_folder(folder: &Path) -> User {
        let me = fs::metadata("/proc/self").map_or(0, |own| own.uid());
        let owner = fs::metadata(folder).map_or(me, |folder| folder.uid());
        let uid = if me == 0 { owner } else { me };
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        User::of(uid, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn of(uid: u32, passwd: &str, group: &str) -> User {
        let field = |line: &str, i: usize| line.split(':').nth(i).unwrap_or_default().to_owned();
        let line = passwd.lines().find(|line| field(line, 2) == uid.to_string()).unwrap_or_default();
        let name = field(line, 0);
        let mut groups: Vec<u32> = field(line, 3).parse().ok().into_iter().collect();
        let mine = group.lines().filter(|line| field(line, 3).split(',').any(|member| member == name));
        groups.extend(mine.filter_map(|line| field(line, 2).parse::<u32>().ok()));
        User { name: if name.is_empty() { format!("uid {uid}") } else { name }, uid, groups }
    }

    /// The first thing on the way to a path that this user may not pass, or the path itself.
    fn barred(&self, path: &Path) -> Option<(PathBuf, Metadata)> {
        if self.uid == 0 {
            return None;
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut way: Vec<&Path> = real.ancestors().collect();
        way.reverse();
        for step in way {
            // What is not there, or is a pattern, is for others to tell.
            let Ok(metadata) = fs::metadata(step) else { return None };
            // Every folder is passed through; the last thing is read.
            let wanted = match (metadata.is_dir(), step == real) {
                (true, true) => 0o5,
                (true, false) => 0o1,
                (false, _) => 0o4,
            };
            if !self.may(&metadata, &access_list(step), wanted) {
                return Some((step.to_owned(), metadata));
            }
        }
        None
    }

    /// Whether a mode, and an access list if there is one, grant these rights (acl(5), access check algorithm).
    fn may(&self, metadata: &Metadata, list: &[Entry], wanted: u32) -> bool {
        let grants = |rights: u32| rights & wanted == wanted;
        let mode = metadata.mode();
        // With a list, the group's part of the mode is the mask.
        let mask = mode >> 3;
        if metadata.uid() == self.uid {
            return grants(mode >> 6);
        }
        if let Some(entry) = list.iter().find(|entry| entry.kind == Entry::USER && entry.id == self.uid) {
            return grants(entry.rights & mask);
        }
        let is_member = self.groups.contains(&metadata.gid());
        if list.is_empty() {
            return grants(if is_member { mask } else { mode });
        }
        let mut mine = list.iter().filter(|entry| match entry.kind {
            Entry::OWNING_GROUP => is_member,
            Entry::GROUP => self.groups.contains(&entry.id),
            _ => false,
        });
        match mine.clone().next() {
            Some(_) => mine.any(|entry| grants(entry.rights & mask)),
            None => grants(mode),
        }
    }

    /// That this user is barred from something on the way to a path that was named or found.
    fn says(&self, named: &Path, barred: &Path) -> String {
        let way = match named.starts_with(barred) {
            true => String::new(),
            // It is not on the way by its name: a link leads there.
            false => format!(", where a link leads from {}", named.display()),
        };
        format!("{} may not read {}{way}", self.name, barred.display())
    }

    /// What gives this user the right to read what it is barred from. What lies in the folder of a source is opened as a
    /// whole, and for the folders that Zeek will make in it.
    fn advice(&self, path: &Path, metadata: &Metadata, logs: Option<&Path>) -> String {
        let wanted = if metadata.is_dir() { 0o50 } else { 0o40 };
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let gid = metadata.gid().to_string();
        let group = groups.lines().find(|line| line.split(':').nth(2) == Some(gid.as_str()));
        let name = &self.name;
        match group.and_then(|line| line.split(':').next()) {
            Some(group) if metadata.mode() & wanted == wanted && metadata.gid() != 0 => {
                return format!("adduser {name} {group}, and restart the daemon");
            }
            _ => {}
        }
        let logs = logs.map(|logs| logs.canonicalize().unwrap_or_else(|_| logs.to_owned()));
        match logs.filter(|logs| logs.is_dir() && path.starts_with(logs)) {
            Some(logs) => {
                let logs = logs.display();
                format!("setfacl -R -m u:{name}:rX {logs} && setfacl -R -d -m u:{name}:rX {logs}")
            }
            // On the way only.
            None if metadata.is_dir() => format!("setfacl -m u:{name}:x {}", path.display()),
            None => format!("setfacl -m u:{name}:r {}", path.display()),
        }
    }
}

/// An entry of an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    kind: u16,
    /// Read 4, write 2, search 1.
    rights: u32,
    /// The user or the group that it is about.
    id: u32,
}

impl Entry {
    const USER: u16 = 0x02;
    const OWNING_GROUP: u16 = 0x04;
    const GROUP: u16 = 0x08;
}

/// The access list of a path; empty where it has none, or the file system knows of none.
fn access_list(path: &Path) -> Vec<Entry> {
    let mut bytes = [0; 4096];
    match rustix::fs::getxattr(path, "system.posix_acl_access", bytes.as_mut_slice()) {
        Ok(length) => entries(bytes.get(..length).unwrap_or_default()),
        Err(_) => Vec::new(),
    }
}

/// The entries of a list as Linux keeps it (`linux/posix_acl_xattr.h`): a version, and for each entry its kind, its rights
/// and an id, least byte first.
fn entries(list: &[u8]) -> Vec<Entry> {
    let Some(([2, 0, 0, 0], entries)) = list.split_first_chunk() else { return Vec::new() };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let entry = |bytes: &[u8]| {
        let (kind, rest) = bytes.split_at_checked(2)?;
        let (rights, id) = rest.split_at_checked(2)?;
        Some(Entry { kind: u16::try_from(number(kind)).ok()?, rights: number(rights), id: number(id) })
    };
    entries.chunks_exact(8).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\ndnsledger:x:901:902::/var/lib/dnsledger:/usr/sbin/nologin\n";
    const GROUP: &str = "zeek:x:77:alice,dnsledger\nadm:x:4:alice\n";

    #[test]
    fn a_user_has_the_groups_that_name_it() {
        let user = User::of(901, PASSWD, GROUP);
        assert_eq!((user.name.as_str(), user.groups.as_slice()), ("dnsledger", &[902, 77][..]));
        assert_eq!(User::of(5, PASSWD, GROUP).name, "uid 5");
    }

    #[test]
    fn a_clock_that_is_not_set_and_few_or_unknown_watches_are_told() {
        let told = |tell: &dyn Fn(&mut Findings)| {
            let mut findings = Findings::default();
            tell(&mut findings);
            let (grade, what, says, advice) = findings.0.pop().unwrap();
            assert_eq!(grade == Grade::Good, advice.is_none(), "{what}: {says}");
            (grade, what, says)
        };
        for (now, grade) in [(0, Grade::Bad), (EARLIEST - 1, Grade::Bad), (EARLIEST, Grade::Good)] {
            let (told, what, says) = told(&|findings| tell_clock(findings, now));
            assert_eq!((told, what), (grade, "clock"), "{now}: {says}");
        }
        for (watches, grade, part) in [
            (Some(WATCHES - 1), Grade::Warning, "8191 watches; folders beyond that are polled"),
            (Some(WATCHES), Grade::Good, "8192 watches"),
            (None, Grade::Warning, "its limits cannot be read"),
        ] {
            assert_eq!(
                told(&|findings| tell_watches(findings, watches)),
                (grade, "inotify", part.to_owned())
            );
        }
    }

    #[test]
    fn the_first_closed_folder_on_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let closed = folder.path().canonicalize().unwrap().join("logs");
        fs::create_dir(&closed).unwrap();
        let log = closed.join("dns.log");
        fs::write(&log, "").unwrap();
        // Nobody of this machine has that number.
        let user = User { name: "dnsledger".to_owned(), uid: 4_000_000_001, groups: vec![] };
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (folder_mode, log_mode, barred) in
            [(0o700, 0o644, Some(&closed)), (0o755, 0o640, Some(&log)), (0o755, 0o644, None)]
        {
            mode(&closed, folder_mode);
            mode(&log, log_mode);
            assert_eq!(
                user.barred(&log).map(|(path, _)| path).as_ref(),
                barred,
                "{folder_mode:o} {log_mode:o}"
            );
        }
    }

    #[test]
    fn nothing_is_advised_about_what_is_no_dns_log_or_lies_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let logs = root.join("logs");
        fs::create_dir(&logs).unwrap();
        let put = |name: &str, text: &str| {
            fs::write(root.join(name), text).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        };
        let header = "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tquery\tanswers\n";
        put("secret", "root:x:0:0\nsecond line\n");
        put("logs/dns.a.log", "a secret under another name\n");
        put("logs/dns.b.log", header);
        // The newest is looked at first.
        let newest = fs::File::options().write(true).open(logs.join("dns.b.log")).unwrap();
        newest.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000)).unwrap();
        std::os::unix::fs::symlink(root.join("secret"), logs.join("dns.link.log")).unwrap();
        let user = User { name: "dnsledger".to_owned(), uid: 4_000_000_001, groups: vec![] };
        let found = |remove: &str| {
            drop(fs::remove_file(logs.join(remove)));
            let mut findings = Findings::default();
            let source = Source { logs: logs.clone(), ..Source::default() };
            check_sources(&mut findings, &Config::default(), &[source], &user, &HashSet::new());
            findings.0
        };
        let all = found("");
        let about = |name: &str| -> Vec<String> {
            all.iter()
                .filter(|(_, _, says, _)| says.contains(name))
                .map(|(_, _, says, advice)| format!("{says}: {}", advice.clone().unwrap_or_default()))
                .collect()
        };
        for none in ["dns.a.log", "secret"] {
            let said = about(none).join(" ");
            assert!(!said.contains("setfacl") && !said.contains("adduser"), "{said}");
        }
        assert!(about("secret").iter().any(|said| said.contains("a link leads from")), "{all:?}");
        let advised = about("dns.b.log").join(" ");
        assert!(advised.contains("setfacl"), "{advised} {all:?}");
        let rest = found("dns.b.log");
        assert!(rest.iter().all(|(grade, ..)| *grade != Grade::Bad), "{rest:?}");
    }

    #[test]
    fn an_access_list_grants_and_denies() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("dns.log");
        fs::write(&log, "").unwrap();
        let may = |mode: u32, list: &[Entry], uid: u32, groups: &[u32]| {
            fs::set_permissions(&log, fs::Permissions::from_mode(mode)).unwrap();
            let user = User { name: String::new(), uid, groups: groups.to_vec() };
            user.may(&fs::metadata(&log).unwrap(), list, 4)
        };
        let group = fs::metadata(&log).unwrap().gid();
        let nobody = 4_000_000_001;
        // As `setfacl -m u:901:r` and the like leave it: the group's part of the mode is the mask.
        let entry = |kind, rights, id| Entry { kind, rights, id };
        let list = [
            entry(Entry::USER, 4, 901),
            entry(Entry::USER, 0, 902),
            entry(Entry::OWNING_GROUP, 0, u32::MAX),
            entry(Entry::GROUP, 4, 77),
            entry(0x10, 4, u32::MAX),
            entry(0x20, 0, u32::MAX),
        ];
        assert!(may(0o640, &list, 901, &[]) && !may(0o600, &list, 901, &[]), "within the mask");
        assert!(!may(0o644, &list, 902, &[77]), "who is named has what is said of him alone");
        assert!(may(0o640, &list, nobody, &[group, 77]), "one group that may is enough");
        assert!(!may(0o644, &list, nobody, &[group]), "a member is not one of the others");
        assert!(may(0o644, &list, nobody, &[]) && !may(0o640, &list, nobody, &[]));
        assert!(may(0o640, &[], nobody, &[group]) && !may(0o640, &[], nobody, &[77]));
    }

    #[test]
    fn an_access_list_is_read_as_linux_keeps_it() {
        let list = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x05\0\x85\x03\0\0\x10\0";
        let read =
            [Entry { kind: 1, rights: 6, id: u32::MAX }, Entry { kind: Entry::USER, rights: 5, id: 901 }];
        assert_eq!(entries(list), read);
        assert_eq!((entries(b"\x03\0\0\0"), entries(b"")), (vec![], vec![]));
        assert_eq!(access_list(Path::new("/proc/self/status")), vec![]);
    }

    #[test]
    fn advice_opens_a_source_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().canonicalize().unwrap().join("logs");
        fs::create_dir_all(logs.join("current")).unwrap();
        fs::set_permissions(logs.join("current"), fs::Permissions::from_mode(0o700)).unwrap();
        let user = User { name: "dnsledger".to_owned(), uid: 4_000_000_001, groups: vec![] };
        let advice = |path: &Path, logs| user.advice(path, &fs::metadata(path).unwrap(), logs);
        let shown = logs.display();
        assert_eq!(
            advice(&logs.join("current"), Some(&logs)),
            format!("setfacl -R -m u:dnsledger:rX {shown} && setfacl -R -d -m u:dnsledger:rX {shown}")
        );
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let above = folder.path().canonicalize().unwrap();
        assert_eq!(advice(&above, Some(&logs)), format!("setfacl -m u:dnsledger:x {}", above.display()));
    }
}
