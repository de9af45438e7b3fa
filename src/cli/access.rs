//! Who answers: the daemon that has the ledger, or the ledger itself.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;

use super::Misuse;
use super::client::ClientConfig;
use super::progress::Progress;
use crate::base::clock::now;
use crate::base::time::format_utc;
use crate::base::units;
use crate::daemon::config::{Config, ConfigError, Source};
use crate::daemon::{self, CONTROL_SOCKET};
use crate::fleet::Address;
use crate::fleet::cluster::Cluster;
use crate::fleet::store::FleetStore;
use crate::http::client::{Client, ClientError};
use crate::ingest::{NotRead, malformed_in_words};
use crate::output::sanitise;
use crate::status::Status;
use crate::store::sled::{format_of, is_ledger, kept_by, open_to_read};
use crate::store::{self, FORMAT, ReadStore, StoreError, WriteStore};

/// A folder that is in use is not waited for.
const ONE_TRY: u32 = 1;
/// Bytes at most of an answer that is read as a whole.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Sensors whose time is told one by one.
const TOLD_SENSORS: usize = 20;

/// Which ledger.
#[derive(Debug, Clone, clap::Args)]
pub struct LedgerArgs {
    /// Ask the daemon at this URL, such as 127.0.0.1:8081 or https://ledger.example:8081 [env: DNSLEDGER_SERVER]
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    server: Option<String>,
    /// Send the token in this file to the server [env: DNSLEDGER_TOKEN_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    token_file: Option<PathBuf>,
    /// Ask this cluster, as clickhouse://HOST:8123,REPLICA:8123/DATABASE
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "data", "token_file", "ca"])]
    store: Option<String>,
    /// Go on where parts of the cluster are away, and say which
    #[arg(long)]
    partial: bool,
    /// Give a server up that says nothing for so long [default: 60s]
    #[arg(long, value_name = "AGE", value_parser = units::parse_duration)]
    timeout: Option<Duration>,
    /// Trust the certificates in this PEM file, instead of those of the system, when the URL is https [env: DNSLEDGER_CA]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

/// Which data folder.
#[derive(Debug, Clone, clap::Args)]
pub struct FolderArgs {
    /// The folder of the ledger; its daemon is asked if there is one
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The configuration file [default: /etc/dnsledger/dnsledger.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl LedgerArgs {
    /// What a server is told, if what can be had is enough.
    pub fn partial(&self) -> Option<(&'static str, &'static str)> {
        self.partial.then_some(("partial", "1"))
    }
}

/// Refuses what only a sensor's own ledger knows, of a cluster: nothing found would be no answer.
pub fn only_of_a_ledger(ledger: &dyn ReadStore, what: &str) -> anyhow::Result<()> {
    if ledger.fed().is_none() {
        return Ok(());
    }
    let message = format!("{what} are not in a cluster: each sensor's own daemon has them");
    Err(Misuse { message, hint: "--server URL of the sensor's daemon, or --data where its ledger is" }.into())
}

/// Says as of when a cluster has what its sensors have seen, and what it lacks; nothing of a ledger.
pub fn tell_fed(ledger: &dyn ReadStore) -> io::Result<()> {
    let Some(fed) = ledger.fed() else { return Ok(()) };
    let mut err = io::stderr().lock();
    let expected = fed.sensors.iter().filter(|sensor| !sensor.is_closed);
    let last = expected.min_by_key(|sensor| sensor.as_of);
    if let (Some(as_of), Some(last)) = (fed.as_of(), last) {
        let others = fed.sensors.iter().map(|sensor| {
            let time = if sensor.as_of == 0 { "never".to_owned() } else { format_utc(sensor.as_of) };
            format!("{} {time}", sanitise(&sensor.sensor))
        });
        let shown: Vec<String> = others.take(TOLD_SENSORS).collect();
        let more = match fed.sensors.len().saturating_sub(TOLD_SENSORS) {
            0 => String::new(),
            more => format!(", and {more} more: `dnsledger fleet status`"),
        };
        writeln!(
            err,
            "As of {} UTC, when {} shipped last ({}{more}).",
            format_utc(as_of),
            sanitise(&last.sensor),
            shown.join(", ")
        )?;
    }
    for lack in &fed.lacks {
        writeln!(err, "{}", sanitise(lack))?;
    }
    Ok(())
}

/// Says that nobody reads logs into a ledger, and what its newest record is: what was not found may have been logged since. Of what
/// was found it is said where a daemon should be there, by the configuration.
pub fn tell_at_rest(args: &LedgerArgs, access: &Access, is_found: bool) -> anyhow::Result<()> {
    let Access::Folder(ledger, config) = access else { return Ok(()) };
    if let Some(lack) = NotRead::of(&config.data_dir).in_words() {
        writeln!(io::stderr(), "Not all logs are read. {lack}")?;
    }
    let is_followed = args.folder.data.is_none() && !config.sources.is_empty();
    if ledger.fed().is_some() || is_found && !is_followed {
        return Ok(());
    }
    let logs = ledger.lineages()?;
    if let Some(lack) = malformed_in_words(&logs, now()) {
        writeln!(io::stderr(), "Not all logs are read. {lack}")?;
    }
    let newest = Status::at_rest(&logs, now()).newest;
    let newest = match newest {
        Some(newest) => format!("the newest record that it has is of {} UTC", format_utc(newest)),
        None => "it has read no record".to_owned(),
    };
    writeln!(io::stderr(), "No daemon follows logs into this ledger: {newest}.")?;
    Ok(())
}

/// The data folder of this command.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Gives what this command has made in the data folder to whose folder it is, where root has run it.
///
/// # Errors
///
/// When it cannot be done.
pub fn give_back() -> anyhow::Result<()> {
    FOLDER.get().map_or(Ok(()), |folder| Ok(store::give_back(folder)?))
}

impl FolderArgs {
    /// Whether one was typed.
    fn is_typed(&self) -> bool {
        self.data.is_some() || self.config.is_some()
    }

    /// The configuration, with the folder that was typed.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::load_default()?,
        };
        if let Some(data) = &self.data {
            config.data_dir = data.clone();
        }
        FOLDER.get_or_init(|| config.data_dir.clone());
        Ok(config)
    }
}

/// Which data folder, and which logs are followed into it.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Follow this folder, file or glob instead of the configured ones; may be repeated
    #[arg(long, value_name = "PATH")]
    logs: Vec<PathBuf>,
}

impl SourceArgs {
    /// Whether logs were typed.
    pub fn are_typed(&self) -> bool {
        !self.logs.is_empty()
    }

    /// Whether a folder or a configuration was typed.
    pub fn is_folder_typed(&self) -> bool {
        self.folder.is_typed()
    }

    /// The configuration, with the folder and the logs that were typed.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut config = self.folder.load()?;
        if !self.logs.is_empty() {
            let source = |logs: &PathBuf| Source { logs: logs.clone(), ..Source::default() };
            config.sources = self.logs.iter().map(source).collect();
        }
        Ok(config)
    }
}

/// What a ledger is opened for, where no daemon has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be asked: nothing of it is removed or put in order, and one that lacks rows is refused.
    Ask,
    /// To be looked at, whatever it lacks.
    Look,
    /// To be changed.
    Change,
    /// Likewise, and made if there is none.
    Make,
}

/// A ledger that can be asked.
pub enum Access {
    /// Through a daemon, by its control socket.
    Socket(Client),
    /// Through a daemon, over HTTP.
    Server(Client),
    /// It is this process's own.
    Folder(Arc<dyn WriteStore>, Box<Config>),
}

impl Access {
    /// The same, where a daemon may say nothing for so long.
    fn patient(self, timeout: Option<Duration>) -> Access {
        match self {
            Access::Socket(client) => Access::Socket(client.patient(timeout)),
            other => other,
        }
    }

    /// Reaches the ledger that is meant, to ask it.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or there is no ledger, or another process without a daemon's socket has it.
    pub fn open(args: &LedgerArgs) -> anyhow::Result<Access> {
        Access::open_for(args, Purpose::Ask)
    }

    /// Likewise, for another purpose where no daemon has it.
    ///
    /// # Errors
    ///
    /// As [`Access::open`].
    pub fn open_for(args: &LedgerArgs, purpose: Purpose) -> anyhow::Result<Access> {
        if let Some(url) = &args.store {
            let cluster = Cluster::new(&Address::parse(url)?)?;
            let store = match args.partial {
                true => FleetStore::open_partial(cluster)?,
                false => FleetStore::open(cluster)?,
            };
            return Ok(Access::Folder(Arc::new(store), Box::default()));
        }
        let told = match args.folder.is_typed() {
            true => ClientConfig::default(),
            false => ClientConfig::load()?,
        };
        let token_file = args.token_file.as_ref().or(told.token_file.as_ref());
        let ca = args.ca.as_deref().or(told.ca.as_deref());
        let token = || token_file.map(|path| read_token(path)).transpose();
        if let Some(url) = args.server.as_ref().or(told.server.as_ref()) {
            return Ok(Access::Server(Client::of_url(url, token()?.as_deref(), ca)?.patient(args.timeout)));
        }
        let denied = match Access::open_folder(&args.folder, purpose) {
            Err(error) if args.folder.data.is_none() && is_denied(&error) => error,
            opened if args.token_file.is_none() && args.ca.is_none() => {
                return opened.map(|access| access.patient(args.timeout));
            }
            _ => {
                let message = "there is no server to send a token to, or to trust".to_owned();
                return Err(Misuse { message, hint: "--server URL says which" }.into());
            }
        };
        // The daemon of this machine may answer who may not open its folder.
        let config = match args.folder.load() {
            Ok(config) => config,
            Err(_) if args.folder.config.is_none() => Config::default(),
            Err(error) => return Err(error),
        };
        let (url, cert) = daemon::own_url(&config.http);
        let client = Client::of_url(&url, token()?.as_deref(), ca.or(cert.as_deref()))?;
        match client.probing().get("/healthz", &[]) {
            Ok(_) => Ok(Access::Server(client.patient(args.timeout))),
            Err(error) => Err(denied.context(format!("{url} does not answer either ({error})"))),
        }
    }

    /// Reaches the ledger in a folder, by its daemon if it has one.
    ///
    /// # Errors
    ///
    /// As [`Access::open`].
    pub fn open_folder(args: &FolderArgs, purpose: Purpose) -> anyhow::Result<Access> {
        let config = args.load()?;
        if let Some(client) = daemon_of(&config.data_dir)? {
            return Ok(Access::Socket(client));
        }
        if purpose != Purpose::Make && !is_ledger(&config.data_dir) {
            return Err(no_ledger(&config.data_dir));
        }
        let older = format_of(&config.data_dir)?.filter(|format| *format < FORMAT);
        let progress = Progress::new();
        let mut on_migration = |done, total| {
            progress.show_count(done, total, "bytes brought up to a new format");
            true
        };
        let options = config.store().put_off_merges();
        let ledger = match purpose {
            Purpose::Ask | Purpose::Look => open_to_read(&config.data_dir, &options, &mut on_migration)
                .map(|store| store.map(|store| Arc::new(store) as Arc<dyn WriteStore>)),
            _ => daemon::open(&config.data_dir, &options, ONE_TRY, &mut on_migration).map(Some),
        };
        progress.finish();
        let Some(ledger) = ledger? else { return Err(no_ledger(&config.data_dir)) };
        if let (Purpose::Ask, logs @ 1..) = (purpose, ledger.stats()?.missing_logs) {
            // An answer would be wrong, and nobody would see it.
            return Err(StoreError::Missing { logs }.into());
        }
        if let Some(format) = older {
            let kept = kept_by(&config.data_dir, format).display().to_string();
            // When nobody listens there is nobody to tell.
            let _ = writeln!(
                io::stderr(),
                "The ledger was brought up to format {FORMAT}; as it was it is kept, until {} is removed.",
                sanitise(&kept)
            );
        }
        Ok(Access::Folder(ledger, Box::new(config)))
    }
}

/// There is none where one was looked for.
pub fn no_ledger(folder: &Path) -> anyhow::Error {
    let message = format!("there is no ledger in {}", folder.display());
    let hint = "`dnsledger import --data DIR PATH...` or `dnsledger run` makes one; --data says where it is";
    Misuse { message, hint }.into()
}

/// Whether this user may not read what was to be opened.
fn is_denied(error: &anyhow::Error) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(ClientError::Unreachable { error, .. }) => denied(error),
        _ => match cause.downcast_ref() {
            Some(ConfigError::Unreadable { error, .. }) => denied(error),
            _ => false,
        },
    })
}

/// The daemon that has a folder, if one answers. A socket that a dead one left is nobody.
pub fn daemon_of(folder: &Path) -> Result<Option<Client>, ClientError> {
    let socket = folder.join(CONTROL_SOCKET);
    match socket.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => {
            return Err(ClientError::Unreachable { server: socket.display().to_string(), error });
        }
    }
    let client = Client::of_socket(&socket)?;
    match client.probing().get("/healthz", &[]) {
        Ok(_) => Ok(Some(client)),
        Err(error) if error.is_nobody() => Ok(None),
        Err(error) => Err(error),
    }
}

/// All of an answer, which has a bound: who sends it may be anybody.
pub fn whole(answer: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    answer.take(MAX_ANSWER_BYTES).read_to_end(&mut text).context("reading the answer")?;
    Ok(text)
}

/// A token from a file: its first line.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(4096).read_to_string(&mut text))
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
