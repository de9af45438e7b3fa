//! `doctor`: what would keep the daemon from working, and what to do about each thing.
//!
//! It changes nothing. Run by root it judges as the user that owns the data folder, for that is who will open the logs:
//! by the mode and the access list of each folder on the way, with that user's groups (`/etc/passwd` and `/etc/group`).

mod disk;
mod feeds;
mod fleet;
mod outlets;
mod sources;
#[cfg(test)]
mod tests;
mod user;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use self::user::User;
use super::Exit;
use super::access::{SourceArgs, read_token, whole};
use super::client::ClientConfig;
use crate::base::clock::now;
use crate::base::time::{format_date, format_utc};
use crate::daemon::CONTROL_SOCKET;
use crate::daemon::config::{Config, Source};
use crate::http::client::Client;
use crate::http::tls;
use crate::http::token::Tokens;
use crate::http::{Delivering, Forwarding};
use crate::ingest::NotRead;
use crate::output::sanitise;
use crate::status::UnreadKind;
use crate::store::FORMAT;
use crate::store::sled::{kept_before, set_asides, whole_format_of};
use crate::tail::wake::try_events;

/// Files that are not read and are listed, for each source.
const LISTED: usize = 10;
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
    let status = running.then(|| DaemonStatus::of(&config.data_dir.join(CONTROL_SOCKET)));
    if let Some(lack) = NotRead::of(&config.data_dir).in_words() {
        findings.warn("data", lack, "until then answers say that not all logs are read");
    }
    disk::check(&mut findings, &config, &user, running);
    let sources = match &status {
        // Those that the daemon was started with, wherever they were named.
        Some(status) if !args.sources.are_typed() => status.sources(&config),
        _ => config.sources(),
    };
    sources::check(&mut findings, &config, &sources, &user, &told.unwrap_or_default());
    check_port(&mut findings, &config, running);
    check_keys(&mut findings, &config, &user);
    fleet::check(&mut findings, &config, status.as_ref());
    outlets::check(&mut findings, &config, &user, status.as_ref());
    if running {
        feeds::check(&mut findings, &config.data_dir.join(CONTROL_SOCKET));
    }
    check_limits(&mut findings, &config.data_dir);
    if !args.sources.is_folder_typed() {
        check_server(&mut findings, ClientConfig::load());
    }
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
struct DaemonStatus {
    warnings: Vec<String>,
    store: StoreStatus,
    sources: Vec<SourceStatus>,
    forwarding: Option<Forwarding>,
    delivering: Vec<Delivering>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct StoreStatus {
    missing_logs: u64,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct SourceStatus {
    logs: PathBuf,
    sensor: String,
    unread: Vec<UnreadStatus>,
    unread_counts: BTreeMap<String, u64>,
}

#[derive(serde::Deserialize)]
struct UnreadStatus {
    path: String,
    kind: String,
    reason: String,
}

/// Asks a daemon for something; nothing where it does not answer.
fn ask<T: DeserializeOwned + Default>(socket: &Path, path: &str) -> T {
    let answer = Client::of_socket(socket).and_then(|client| client.probing().get(path, &[]));
    let told = answer.ok().and_then(|answer| whole(answer).ok());
    told.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

impl DaemonStatus {
    /// What the daemon says of itself. One that does not tell is of another version, or on its way out.
    fn of(socket: &Path) -> DaemonStatus {
        ask(socket, "/api/v1/status")
    }

    /// The sources that it follows; those of the configuration where it says of none.
    fn sources(&self, config: &Config) -> Vec<Source> {
        let configured = config.sources();
        let followed = self.sources.iter().filter(|source| !source.logs.as_os_str().is_empty());
        let sources: Vec<Source> = followed
            .map(|SourceStatus { logs, sensor, .. }| {
                let known = configured.iter().find(|known| known.logs == *logs).cloned();
                known.unwrap_or_else(|| Source {
                    logs: logs.clone(),
                    sensor: sensor.clone(),
                    ..Source::default()
                })
            })
            .collect();
        if sources.is_empty() { configured } else { sources }
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
            for UnreadStatus { path, kind, reason } in source.unread.iter().take(LISTED) {
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
    let running = Client::of_socket(&socket).and_then(|client| client.probing().get("/healthz", &[])).is_ok();
    if running {
        findings.good("data", format!("{shown}: its daemon is running"));
        check_ready(findings, &socket);
        let told = DaemonStatus::of(&socket).tell(findings);
        tell_kept(findings, folder);
        return Some(told);
    }
    match fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => {
            findings.bad("data", format!("{shown} is not a folder"), "name another by data_dir or --data");
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
    let ready = Client::of_socket(socket).and_then(|client| client.probing().get("/readyz", &[]));
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

/// Looks at the server that other commands ask where none is typed, and that this one does not look at.
fn check_server(findings: &mut Findings, told: anyhow::Result<ClientConfig>) {
    let advice = "DNSLEDGER_SERVER, DNSLEDGER_TOKEN_FILE and DNSLEDGER_CA, or client.toml, say what is asked";
    let ClientConfig { server, token_file, ca } = match told {
        Ok(told) => told,
        Err(error) => return findings.bad("client", format!("{error:#}"), advice),
    };
    let Some(url) = server else { return };
    let asked = token_file.map(|path| read_token(&path)).transpose().and_then(|token| {
        let client = Client::of_url(&url, token.as_deref(), ca.as_deref())?;
        Ok(client.probing().get("/readyz", &[]).map(drop)?)
    });
    match asked {
        Ok(()) => findings.good(
            "client",
            format!("other commands ask {url}, which is ready; what is said here is of this machine"),
        ),
        Err(error) => findings.bad("client", format!("other commands ask {url}: {error:#}"), advice),
    }
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
