//! The configuration file: TOML, every key with a default, nothing unknown let through.
//!
//! Flags override the file, the file overrides the defaults. Each part of the program declares its own configuration;
//! here is only what a file says, and how the parts' values are made of it. Relative paths are relative to the folder of
//! the file they stand in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::de::{DeTable, DeValue};

use super::logging;
use crate::base::time::{format_date, parse_date};
use crate::base::units::{self, duration};
use crate::deliver::{MAX_OUTLETS, OutletConfig, Target};
use crate::dns::{Name, NameError};
use crate::fleet::Address;
use crate::http::fetch::Location;
use crate::http::{Hosts, Origins, Proxies};
use crate::indicators::Format as ListFormat;
use crate::ingest::{self, Backfill};
use crate::lookup::{Brands, NewSettings};
use crate::observation::check_sensor_name;
use crate::store::{MaxDisk, retention};
use crate::tail::discover::Scope;
use crate::watch::{self, FeedConfig, FileForm, HitFile, WatchConfig, Which};
use crate::{http, observe, pull, store, zeek};

/// The least budget of names of a domain: less would fold what nobody floods.
const LEAST_NAMES: u64 = 100;

/// Where the configuration is looked for when no file is named.
pub const DEFAULT_FILE: &str = "/etc/dnsledger/dnsledger.toml";

/// Where Zeek puts its logs: by its own packages, by its source, by distributions, and by what it was called before.
const USUAL_FOLDERS: &[&str] = &[
    "/opt/zeek/logs",
    "/usr/local/zeek/logs",
    "/var/log/zeek",
    "/nsm/zeek/logs",
    "/opt/bro/logs",
    "/usr/local/bro/logs",
    "/var/log/bro",
];

//--- Config ---------------------------------------------------------------------------------------------------------

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the ledger.
    pub data_dir: PathBuf,
    /// Whether the daemon takes from itself the right to write elsewhere, run programs and open connections (Landlock).
    pub sandbox: bool,
    /// What is followed; the usual folders of Zeek where there is none.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    /// What is kept of a log.
    pub observe: Observe,
    /// How logs are read.
    pub ingest: Ingest,
    /// How questions are answered.
    pub http: http::Config,
    /// How the ledger is kept.
    pub store: Store,
    /// From an answer back to the lines of logs.
    pub evidence: Evidence,
    /// What is told apart of what is new.
    pub new: New,
    /// What all feeds have in common.
    pub watch: Watch,
    /// Where hits go.
    pub hits: Hits,
    /// What is watched for.
    #[serde(rename = "feed")]
    pub feeds: Vec<FeedEntry>,
    /// Whom hits are delivered to.
    #[serde(rename = "outlet")]
    pub outlets: Vec<OutletEntry>,
    /// Shipping into a cluster.
    pub forward: Forward,
    /// What is logged.
    pub log: logging::Config,
}

/// One source of logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// A folder, a file or a glob.
    pub logs: PathBuf,
    /// The name its records are counted under.
    pub sensor: String,
    /// Which archives are read at first: `all`, `none`, or an age.
    #[serde(serialize_with = "write_backfill", deserialize_with = "read_backfill")]
    pub backfill: Backfill,
    /// Patterns of names of logs, beside those that contain `dns`.
    pub names: Vec<String>,
    /// How many levels of folders below it are searched.
    pub depth: usize,
    /// How often to look where no event arrives (NFS).
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// The columns of logs without a header, by Zeek's names.
    pub fields: Vec<String>,
    /// What separates the columns of logs without a header.
    pub separator: String,
    /// What header lines begin with.
    pub meta_prefix: String,
    /// Whether strings in JSON logs are escaped as in TSV.
    pub json_tsv_escapes: bool,
}

/// What is kept of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observe {
    /// Ports whose records are skipped.
    pub skip_ports: Vec<u16>,
    /// Whether addresses behind a chain are also recorded at the name that was asked.
    pub aliases: bool,
    /// Rows that one record may be a sighting of.
    pub max_observations: usize,
    /// Records before this day have a wrong time and are skipped; empty for no bound.
    #[serde(serialize_with = "write_day", deserialize_with = "read_day")]
    pub not_before: u64,
    /// How far ahead of the clock a record may be; empty for no bound.
    #[serde(serialize_with = "write_age", deserialize_with = "read_age")]
    pub max_ahead: Option<Duration>,
}

/// How logs are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// The longest line that is read.
    #[serde(serialize_with = "write_size", deserialize_with = "read_size")]
    pub max_line: u64,
    /// How often what was read is written to disk. Lookups see it before.
    #[serde(with = "duration")]
    pub commit_interval: Duration,
    /// Threads that read archives; 0 is one for each processor.
    pub threads: usize,
}

/// How the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Memory for rows that are not on disk yet and for the cache, together.
    #[serde(serialize_with = "write_size", deserialize_with = "read_size")]
    pub memory: u64,
    /// How long a row stays that is not seen any more; empty for ever.
    #[serde(serialize_with = "write_age", deserialize_with = "read_age")]
    pub retention: Option<Duration>,
    /// Bytes on disk above which rows go, the least telling first; `auto` is made of the disk, and empty is no bound.
    #[serde(serialize_with = "write_budget", deserialize_with = "read_budget")]
    pub max_disk: MaxDisk,
    /// Distinct names that a registrable domain may have before those that tell least are folded into one row; 0 is any.
    pub names_per_domain: u64,
    /// Names that are never folded, with all below them.
    pub names_per_domain_except: Vec<String>,
}

/// From an answer back to the lines of logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// Whether lines of logs are handed out over HTTP, to tokens of the scope `evidence`.
    pub http: bool,
    /// Bytes of the filters that say which logs need not be read; `auto` is a twentieth of the ledger, and 256 MiB at least.
    #[serde(serialize_with = "write_budget", deserialize_with = "read_budget")]
    pub disk: MaxDisk,
}

/// What is told apart of what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct New {
    /// Names of one's own: what looks like one is marked.
    pub brands: Vec<String>,
    /// Names that are watched, with all below them.
    pub watched: Vec<String>,
    /// Of which new domains events are made, among the hits: `none`, `lookalikes` or `all`.
    pub events: String,
}

impl Default for New {
    fn default() -> New {
        New { brands: Vec::new(), watched: Vec::new(), events: "lookalikes".to_owned() }
    }
}

/// What all feeds have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// One's own names with all below them, networks, or paths of lists of them: harmless, whatever feeds say.
    pub own: Vec<String>,
}

/// Where hits go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hits {
    /// A file in the data folder; empty for none.
    pub file: PathBuf,
    /// How they are written there: `json` or `zeek`.
    pub format: String,
}

impl Default for Hits {
    fn default() -> Hits {
        Hits { file: PathBuf::new(), format: "json".to_owned() }
    }
}

/// A feed of indicators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedEntry {
    /// What it is called.
    pub name: String,
    /// The file, or the folder of files, that it is read from when it changes; empty where it is imported.
    pub file: PathBuf,
    /// Whether names are meant with all below them: `true`, `false`, or empty for what its format says.
    #[serde(serialize_with = "write_choice", deserialize_with = "read_choice")]
    pub below: Option<bool>,
    /// What is said with less confidence is left out.
    pub confidence_min: u8,
    /// What its source said last longer ago is left out, and a feed that was not read for so long is stale; empty for no bound.
    #[serde(serialize_with = "write_age", deserialize_with = "read_age")]
    pub max_age: Option<Duration>,
    /// What is harmless: names with all below them, networks, or paths of lists of them.
    pub allow: Vec<String>,
    /// Where `dnsledger feeds pull` gets it; empty where it does not.
    pub url: String,
    /// What is there.
    pub kind: String,
    /// The collection of TAXII, by id, title or alias; empty where there is only one.
    pub collection: String,
    /// What a MISP is asked for besides: an object of JSON; empty for nothing.
    pub search: String,
    /// The format of a list; empty where it is found out.
    pub format: String,
    /// The column of a list in CSV; empty where it is found out.
    pub column: String,
    /// The user, where the key is a password.
    pub user: String,
    /// The file with the key; empty for none.
    pub key_file: PathBuf,
    /// The header that the key is sent in; empty for `Authorization`.
    pub key_header: String,
    /// A file of certificates that are trusted instead of those of the system; empty for those.
    pub ca: PathBuf,
    /// How often it is pulled.
    #[serde(with = "duration")]
    pub every: Duration,
}

impl Default for FeedEntry {
    fn default() -> FeedEntry {
        FeedEntry {
            name: String::new(),
            file: PathBuf::new(),
            below: None,
            confidence_min: 0,
            max_age: None,
            allow: Vec::new(),
            url: String::new(),
            kind: pull::Kind::default().name().to_owned(),
            collection: String::new(),
            search: String::new(),
            format: String::new(),
            column: String::new(),
            user: String::new(),
            key_file: PathBuf::new(),
            key_header: String::new(),
            ca: PathBuf::new(),
            every: Duration::from_secs(3600),
        }
    }
}

/// An outlet that hits are delivered to, by `dnsledger deliver`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutletEntry {
    /// What it is called.
    pub name: String,
    /// What it is: `webhook`, `syslog`, `journal` or `misp`.
    pub kind: String,
    /// Where it is.
    pub to: String,
    /// The file with its key.
    pub key_file: PathBuf,
    /// The certificates that are trusted, instead of those of the system; empty for those.
    pub ca: PathBuf,
    /// Only hits of these feeds; of all where there is none.
    pub feeds: Vec<String>,
    /// Hits within an hour that are delivered one by one; 0 is any number.
    pub per_hour: u64,
    /// How long one attempt may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long an outlet may fail before hits that are as old are given up.
    #[serde(with = "duration")]
    pub give_up_after: Duration,
    /// Whether it is told of hits that were there before it.
    pub history: bool,
}

impl Default for OutletEntry {
    fn default() -> OutletEntry {
        OutletEntry {
            name: String::new(),
            kind: "webhook".to_owned(),
            to: String::new(),
            key_file: PathBuf::new(),
            ca: PathBuf::new(),
            feeds: Vec::new(),
            per_hour: watch::AN_HOUR,
            timeout: Duration::from_secs(10),
            give_up_after: Duration::from_secs(86_400),
            history: true,
        }
    }
}

impl FeedEntry {
    /// What is wrong with it, and what would be right.
    fn check(&self) -> Result<(), (String, &'static str)> {
        let bad = |what: String, hint| Err((what, hint));
        if self.confidence_min > 100 {
            return bad("confidence_min is above 100".to_owned(), "confidence_min = 50");
        }
        if !self.format.is_empty() && ListFormat::from_name(&self.format).is_none() {
            return bad(
                format!("there is no format {:?}", self.format),
                "`dnsledger hunt --help` lists them",
            );
        }
        if self.url.is_empty() {
            return Ok(());
        }
        if !self.file.as_os_str().is_empty() {
            return bad("it has both a file and a url".to_owned(), "one of them");
        }
        if let Err(why) = Location::parse(&self.url) {
            return bad(format!("url: {why}"), "url = \"https://list.example/domains.txt\"");
        }
        let Some(kind) = pull::Kind::from_name(&self.kind) else {
            return bad(format!("kind: there is none called {:?}", self.kind), KINDS);
        };
        let is_object =
            || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.search).is_ok();
        if !self.search.is_empty() && (kind != pull::Kind::Misp || !is_object()) {
            let what = "search is for kind = \"misp\", and an object of JSON";
            return bad(what.to_owned(), "search = '{\"tags\": [\"tlp:green\"]}'");
        }
        if !self.collection.is_empty() && kind != pull::Kind::Taxii {
            return bad("collection is for kind = \"taxii\"".to_owned(), KINDS);
        }
        if kind == pull::Kind::Misp && self.key_file.as_os_str().is_empty() {
            let what = "a MISP wants the key of a user".to_owned();
            return bad(what, "key_file = \"/etc/dnsledger/misp.key\"");
        }
        let no_key = self.key_file.as_os_str().is_empty();
        if no_key && !(self.user.is_empty() && self.key_header.is_empty()) {
            return bad(
                "it has a user or a key_header, and no key_file".to_owned(),
                "key_file = \"/etc/dnsledger/NAME.key\"",
            );
        }
        if !self.key_header.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return bad("key_header is no name of a header".to_owned(), "key_header = \"Auth-Key\"");
        }
        if self.every < Duration::from_secs(60) {
            return bad("every is less than a minute".to_owned(), "every = \"1h\"");
        }
        Ok(())
    }
}

/// What a feed may be pulled from.
const KINDS: &str = "kind = \"list\", \"misp-feed\", \"misp\" or \"taxii\"";

impl OutletEntry {
    fn target(&self) -> Result<Target, String> {
        Target::parse(self.kind.parse()?, &self.to)
    }
}

/// Shipping into a cluster, by `dnsledger forward`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forward {
    /// The cluster; empty for none.
    pub to: String,
    /// How often what has changed is shipped.
    #[serde(with = "duration")]
    pub every: Duration,
    /// How often all of the ledger is compared with what the cluster has.
    #[serde(with = "duration")]
    pub compare_every: Duration,
    /// Replicas that have a row before it counts as shipped, where tables are replicated; at most as many as a shard names.
    pub quorum: usize,
}

impl Default for Forward {
    fn default() -> Forward {
        let (every, compare_every) = (Duration::from_secs(5), Duration::from_secs(86_400));
        Forward { to: String::new(), every, compare_every, quorum: 2 }
    }
}

impl Default for Evidence {
    fn default() -> Evidence {
        Evidence { http: false, disk: MaxDisk::Auto }
    }
}

/// What is wrong with a pattern of names, if anything is.
fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() || name.contains('/') {
        return Some("it is for the name of a file, without its folder".to_owned());
    }
    glob::Pattern::new(name).err().map(|error| error.to_string())
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: PathBuf::from("/var/lib/dnsledger"),
            sandbox: true,
            sources: Vec::new(),
            observe: Observe::default(),
            ingest: Ingest::default(),
            http: http::Config::default(),
            store: Store::default(),
            evidence: Evidence::default(),
            new: New::default(),
            watch: Watch::default(),
            hits: Hits::default(),
            feeds: Vec::new(),
            outlets: Vec::new(),
            forward: Forward::default(),
            log: logging::Config::default(),
        }
    }
}

impl Default for Source {
    fn default() -> Source {
        let ingest::SourceConfig { logs, sensor, backfill, poll_interval, scope, .. } = Default::default();
        let (names, depth) = (Vec::new(), scope.depth);
        let zeek::Options { fields, json_tsv_escapes, .. } = Default::default();
        let (separator, meta_prefix) = ("\t".to_owned(), "#".to_owned());
        Source {
            logs,
            sensor,
            backfill,
            names,
            depth,
            poll_interval,
            fields,
            separator,
            meta_prefix,
            json_tsv_escapes,
        }
    }
}

impl Source {
    /// What its logs do not say about themselves.
    pub fn zeek(&self) -> zeek::Options {
        zeek::Options {
            fields: self.fields.clone(),
            separator: Some(self.separator.clone().into_bytes()),
            meta_prefix: Some(self.meta_prefix.clone().into_bytes()),
            json_tsv_escapes: self.json_tsv_escapes,
        }
    }
}

impl Default for Observe {
    fn default() -> Observe {
        let observe::Options { skip_ports, aliases, max_tuples, not_before, max_ahead, .. } =
            Default::default();
        Observe { skip_ports, aliases, max_observations: max_tuples, not_before, max_ahead }
    }
}

impl Default for Ingest {
    fn default() -> Ingest {
        let ingest::Config { max_line_bytes, commit_interval, .. } = Default::default();
        Ingest { max_line: max_line_bytes as u64, commit_interval, threads: 0 }
    }
}

impl Default for Store {
    fn default() -> Store {
        let store::NameBudget { names, .. } = Default::default();
        Store {
            memory: 256 << 20,
            retention: None,
            max_disk: MaxDisk::Auto,
            names_per_domain: names,
            names_per_domain_except: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or says something that has no meaning.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let mut config = Config::parse(&text)
            .map_err(|fault| ConfigError::Faulty { path: path.to_owned(), fault: Box::new(fault) })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.data_dir = folder.join(&config.data_dir);
        for source in &mut config.sources {
            source.logs = folder.join(&source.logs);
        }
        for feed in &mut config.feeds {
            for path in [&mut feed.file, &mut feed.key_file, &mut feed.ca] {
                if !path.as_os_str().is_empty() {
                    *path = folder.join(&path);
                }
            }
        }
        let http::Config { tokens_file, tls_cert, tls_key, .. } = &mut config.http;
        let keys = config.outlets.iter_mut().flat_map(|outlet| [&mut outlet.key_file, &mut outlet.ca]);
        for path in [tokens_file, tls_cert, tls_key].into_iter().chain(keys) {
            if !path.as_os_str().is_empty() {
                *path = folder.join(&path);
            }
        }
        Ok(config)
    }

    /// Reads the file where it is looked for by default, or gives the defaults where there is none.
    ///
    /// # Errors
    ///
    /// As [`Config::load`]: a file that is there and cannot be used is an error.
    pub fn load_default() -> Result<Config, ConfigError> {
        match Config::load(Path::new(DEFAULT_FILE)) {
            Err(ConfigError::Unreadable { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Config::default())
            }
            loaded => loaded,
        }
    }

    /// Reads the text of a file; paths stay as they are.
    ///
    /// # Errors
    ///
    /// When it says something that has no meaning.
    pub fn parse(text: &str) -> Result<Config, Fault> {
        let fault = |error: toml::de::Error| {
            let line = error.span().map(|span| line_of(text, span.start));
            Fault { line, message: error.message().to_owned(), hint: None }
        };
        let table = DeTable::parse(text).map_err(fault)?;
        check_keys(text, table.get_ref(), &known_keys(), "")?;
        let config: Config = toml::from_str(text).map_err(fault)?;
        config.check()?;
        Ok(config)
    }

    /// Checks what single values cannot tell.
    ///
    /// # Errors
    ///
    /// When values do not go together, or are out of bounds.
    pub fn check(&self) -> Result<(), Fault> {
        let fault =
            |message: String, hint: &'static str| Err(Fault { line: None, message, hint: Some(hint.into()) });
        let http::Config {
            listen,
            max_connections,
            max_scans,
            max_lookups,
            default_limit,
            max_limit,
            scan_rows,
            ..
        } = self.http;
        if !listen.ip().is_loopback() && self.http.tokens_file.as_os_str().is_empty() {
            return fault(
                format!("http.listen is {listen}, which is no loopback address, and there are no tokens"),
                "name a file by http.tokens_file and make a token by `dnsledger token new NAME`, or listen on 127.0.0.1",
            );
        }
        if !self.forward.to.is_empty()
            && let Err(error) = Address::parse(&self.forward.to)
        {
            return fault(format!("forward.to: {error}"), error.hint());
        }
        if self.forward.every < Duration::from_secs(1) {
            return fault(
                "forward.every is less than a second, which is more than a cluster merges".to_owned(),
                "forward.every = \"5s\"",
            );
        }
        if self.evidence.http && self.http.tokens_file.as_os_str().is_empty() {
            return fault(
                "evidence.http is on, and there are no tokens: nobody would be handed out a line".to_owned(),
                "name a file by http.tokens_file, and make a token by `dnsledger token new NAME --scope evidence`",
            );
        }
        if self.http.tls_cert.as_os_str().is_empty() != self.http.tls_key.as_os_str().is_empty() {
            return fault(
                "http.tls_cert and http.tls_key belong together, and one of them is missing".to_owned(),
                "give both, or neither",
            );
        }
        if let Err((origin, why)) = Origins::parse(&self.http.cors_origins) {
            return fault(
                format!("http.cors_origins: {origin:?} is no origin: {why}"),
                "cors_origins = [\"https://dash.example\"]",
            );
        }
        if let Err(host) = Hosts::parse(&self.http.allowed_hosts) {
            return fault(
                format!("http.allowed_hosts: {host:?} is no host: a name or an address, without a port"),
                "allowed_hosts = [\"ledger.example\"]",
            );
        }
        if let Err(proxy) = Proxies::parse(&self.http.trusted_proxies) {
            return fault(
                format!("http.trusted_proxies: {proxy:?} is no address, network or range"),
                "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]",
            );
        }
        let positive = [
            ("observe.max_observations", self.observe.max_observations as u64),
            ("http.max_connections", max_connections as u64),
            ("http.max_connections_per_address", self.http.max_connections_per_address as u64),
            ("http.max_scans", max_scans as u64),
            ("http.max_scans_per_address", self.http.max_scans_per_address as u64),
            ("http.max_lookups", max_lookups as u64),
            ("http.default_limit", default_limit),
            ("http.max_limit", max_limit),
            ("http.scan_rows", scan_rows),
            ("http.request_timeout", self.http.request_timeout.as_millis() as u64),
            ("http.stream_timeout", self.http.stream_timeout.as_millis() as u64),
            ("http.header_timeout", self.http.header_timeout.as_millis() as u64),
            ("ingest.commit_interval", self.ingest.commit_interval.as_millis() as u64),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return fault(format!("{key} is 0"), "anything above 0");
        }
        if self.ingest.max_line < 1 << 10 {
            return fault("ingest.max_line is below 1KiB".to_owned(), "the default is 1MiB");
        }
        if self.store.memory < 16 << 20 {
            return fault("store.memory is below 16MiB".to_owned(), "the default is 256MiB");
        }
        if self.store.retention.is_some_and(|age| age < retention::LEAST_AGE) {
            return fault("store.retention is below 1d".to_owned(), "retention = \"400d\", or \"\" for ever");
        }
        if matches!(self.store.max_disk, MaxDisk::Bytes(bytes) if bytes < store::LEAST_DISK) {
            return fault(
                "store.max_disk is below 16MiB".to_owned(),
                "max_disk = \"20GiB\", \"auto\", or \"\" for no bound",
            );
        }
        if (1..LEAST_NAMES).contains(&self.store.names_per_domain) {
            return fault(
                format!("store.names_per_domain is below {LEAST_NAMES}"),
                "the default is 50000; 0 is no bound",
            );
        }
        for name in &self.store.names_per_domain_except {
            if let Err(error) = exception(name) {
                return fault(
                    format!("store.names_per_domain_except: {name:?} is no name: {error}"),
                    "names_per_domain_except = [\"example.com\"]",
                );
            }
        }
        if !["json", "zeek"].contains(&self.hits.format.as_str()) {
            let message = format!("hits.format: there is no format {:?}", self.hits.format);
            return fault(message, "format = \"json\" or \"zeek\"");
        }
        let file = &self.hits.file;
        let is_within = file.components().all(|part| matches!(part, std::path::Component::Normal(_)))
            || file.is_absolute() && file.starts_with(&self.data_dir);
        if !file.as_os_str().is_empty() && !is_within {
            let message = format!(
                "hits.file is {}, and the daemon writes nowhere but in its data folder",
                file.display()
            );
            return fault(message, "file = \"hits.json\"");
        }
        for (at, feed) in self.feeds.iter().enumerate() {
            if let Err(error) = watch::check_name(&feed.name) {
                return fault(format!("feed {}: {error}", at + 1), "name = \"urlhaus\"");
            }
            if self.feeds.iter().take(at).any(|other| other.name == feed.name) {
                return fault(
                    format!("feed {}: there is another {}", at + 1, feed.name),
                    "a name of its own",
                );
            }
            if let Err((what, hint)) = feed.check() {
                return fault(format!("feed {}: {what}", feed.name), hint);
            }
        }
        if self.outlets.len() > MAX_OUTLETS {
            return fault(format!("there are more than {MAX_OUTLETS} outlets"), "fewer");
        }
        for (at, outlet) in self.outlets.iter().enumerate() {
            let OutletEntry { name, timeout, give_up_after, .. } = outlet;
            if let Err(error) = watch::check_name(name) {
                return fault(format!("outlet {}: {error}", at + 1), "name = \"soar\"");
            }
            if self.outlets.iter().take(at).any(|other| other.name == *name) {
                return fault(format!("outlet {}: there is another {name}", at + 1), "a name of its own");
            }
            if let Err(why) = outlet.target() {
                let message = format!("outlet {name}: to is {:?}: {why}", outlet.to);
                return fault(message, "kind = \"webhook\" and to = \"https://soar.example/hook\"");
            }
            if outlet.kind == "misp" && outlet.key_file.as_os_str().is_empty() {
                return fault(format!("outlet {name}: a MISP wants a key"), "key_file = \"misp-key\"");
            }
            if timeout.is_zero() || *timeout > Duration::from_secs(300) {
                return fault(format!("outlet {name}: timeout is 0, or above 5m"), "timeout = \"10s\"");
            }
            if give_up_after.is_zero() {
                return fault(format!("outlet {name}: give_up_after is 0"), "give_up_after = \"1d\"");
            }
        }
        if Which::from_name(&self.new.events).is_none() {
            let message = format!("new.events: there is no {:?}", self.new.events);
            return fault(message, "events = \"none\", \"lookalikes\" or \"all\"");
        }
        // A file may be written later; it is looked at when the daemon starts.
        for own in self.watch.own.iter().filter(|own| !Path::new(own).is_absolute()) {
            let is_any = watch::read_allow(std::slice::from_ref(own)).is_ok_and(|list| !list.is_empty());
            if !is_any {
                let message = format!("watch.own: {own:?} is no name, no network and no absolute path");
                return fault(message, "own = [\"example.com\", \"192.0.2.0/24\"]");
            }
        }
        if let Err(brand) = Brands::parse(&self.new.brands) {
            return fault(
                format!("new.brands: {brand:?} is no name that can be registered, and no word"),
                "brands = [\"example.com\"]",
            );
        }
        for name in &self.new.watched {
            if let Err(error) = exception(name) {
                return fault(
                    format!("new.watched: {name:?} is no name: {error}"),
                    "watched = [\"example.com\"]",
                );
            }
        }
        for (i, source) in self.sources.iter().enumerate() {
            if source.logs.as_os_str().is_empty() {
                return fault(format!("source {} has no logs", i + 1), "logs = \"/opt/zeek/logs\"");
            }
            if let Err(why) = check_sensor_name(&source.sensor) {
                return fault(
                    format!("source {} has no proper sensor: {why}", i + 1),
                    "sensor = \"default\"",
                );
            }
            if source.separator.is_empty() || source.meta_prefix.is_empty() {
                let message = format!("source {}: separator and meta_prefix cannot be empty", i + 1);
                return fault(message, "leave them out where logs have a header");
            }
            if let Some((name, why)) = source.names.iter().find_map(|name| Some((name, name_fault(name)?))) {
                let message = format!("source {}: names: {name:?} is no pattern of a name: {why}", i + 1);
                return fault(message, "names = [\"zeek-dns*.log\"]");
            }
            if source.poll_interval.is_zero() {
                return fault(format!("source {}: poll_interval is 0", i + 1), "the default is 1s");
            }
            if self.sources.iter().take(i).any(|other| other.logs == source.logs) {
                let message =
                    format!("source {}: {} belongs to another source", i + 1, source.logs.display());
                return fault(message, "a log belongs to one source");
            }
        }
        Ok(())
    }

    /// The configuration as a file has it.
    ///
    /// # Errors
    ///
    /// When a path is not UTF-8, which TOML cannot hold.
    pub fn print(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Unprintable(error.to_string()))
    }

    /// What is followed: the sources that are configured, else the usual folders of Zeek that there are.
    pub fn sources(&self) -> Vec<Source> {
        if !self.sources.is_empty() {
            return self.sources.clone();
        }
        let mut found: Vec<(PathBuf, Source)> = Vec::new();
        for folder in USUAL_FOLDERS {
            // Some of them may be links to others.
            if let Ok(folder) = Path::new(folder).canonicalize()
                && !found.iter().any(|(known, _)| *known == folder)
            {
                found.push((folder.clone(), Source { logs: folder, ..Source::default() }));
            }
        }
        found.into_iter().map(|(_, source)| source).collect()
    }

    /// Where is searched for the logs of a source.
    pub fn scope(&self, source: &Source) -> Scope {
        Scope {
            names: source.names.iter().filter_map(|name| glob::Pattern::new(name).ok()).collect(),
            depth: source.depth,
            data: Some(self.data_dir.clone()),
            ..Scope::default()
        }
    }

    /// What reads logs is told this.
    pub fn ingest(&self) -> ingest::Config {
        let defaults = ingest::Config::default();
        let source = |source: Source| ingest::SourceConfig {
            scope: self.scope(&source),
            zeek: source.zeek(),
            logs: source.logs,
            sensor: source.sensor,
            backfill: source.backfill,
            poll_interval: source.poll_interval,
        };
        ingest::Config {
            sources: self.sources().into_iter().map(source).collect(),
            observe: observe::Options {
                skip_ports: self.observe.skip_ports.clone(),
                aliases: self.observe.aliases,
                max_tuples: self.observe.max_observations,
                not_before: self.observe.not_before,
                max_ahead: self.observe.max_ahead,
                ..observe::Options::default()
            },
            max_line_bytes: usize::try_from(self.ingest.max_line).unwrap_or(usize::MAX),
            commit_interval: tiny().map_or(self.ingest.commit_interval, |_| Duration::from_millis(5)),
            memory: self.share_of_memory(),
            threads: if self.ingest.threads == 0 { defaults.threads } else { self.ingest.threads },
            ..defaults
        }
    }

    /// What keeps the ledger is told this.
    pub fn store(&self) -> store::Options {
        let options = store::Options {
            memory: self.share_of_memory(),
            max_disk: self.store.max_disk,
            names: store::NameBudget {
                names: self.store.names_per_domain,
                // What is no name was refused when the file was read.
                except: self
                    .store
                    .names_per_domain_except
                    .iter()
                    .filter_map(|name| exception(name).ok())
                    .collect(),
            },
            ..store::Options::default()
        };
        match tiny() {
            Some(rows) => store::Options {
                fold_rows: rows,
                bulk_rows: rows * 8,
                fan_in: 2,
                rewrite_bytes: 1 << 20,
                survey_rows: rows as u64,
                ..options
            },
            None => options,
        }
    }

    /// The file that hits are written to, if there is one.
    pub fn hit_file(&self) -> Option<HitFile> {
        let form = if self.hits.format == "zeek" { FileForm::Zeek } else { FileForm::Json };
        let (path, note) = (self.data_dir.join(&self.hits.file), self.data_dir.join("watch/sent"));
        (!self.hits.file.as_os_str().is_empty()).then_some(HitFile { path, form, note })
    }

    /// What is watched for.
    pub fn feeds(&self) -> Vec<FeedConfig> {
        let feed = |feed: &FeedEntry| FeedConfig {
            name: feed.name.clone(),
            below: feed.below,
            confidence_min: (feed.confidence_min > 0).then_some(feed.confidence_min),
            max_age: feed.max_age,
            allow: feed.allow.clone(),
            file: feed.file.clone(),
            is_pulled: !feed.url.is_empty(),
            format: ListFormat::from_name(&feed.format),
            column: (!feed.column.is_empty()).then(|| feed.column.clone()),
        };
        self.feeds.iter().map(feed).collect()
    }

    /// Whom hits are delivered to.
    pub fn outlets(&self) -> Vec<OutletConfig> {
        let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let outlet = |outlet: &OutletEntry| {
            Some(OutletConfig {
                name: outlet.name.clone(),
                // What makes no sense was refused when the file was read.
                target: outlet.target().ok()?,
                key_file: path(&outlet.key_file),
                ca: path(&outlet.ca),
                feeds: outlet.feeds.clone(),
                per_hour: outlet.per_hour,
                timeout: outlet.timeout,
                give_up_after: outlet.give_up_after,
                history: outlet.history,
            })
        };
        self.outlets.iter().filter_map(outlet).collect()
    }

    /// What is watched for, and what is one's own.
    pub fn watching(&self) -> WatchConfig {
        WatchConfig {
            feeds: self.feeds(),
            own: self.watch.own.clone(),
            // What is none was refused when the file was read.
            events: Which::from_name(&self.new.events).unwrap_or_default(),
            brands: Brands::parse(&self.new.brands).unwrap_or_default(),
        }
    }

    /// What is pulled.
    pub fn pulls(&self) -> Vec<pull::Source> {
        let source = |feed: &FeedEntry| {
            Some(pull::Source {
                name: feed.name.clone(),
                // What is none was refused when the file was read.
                url: Location::parse(&feed.url).ok()?,
                kind: pull::Kind::from_name(&feed.kind)?,
                collection: feed.collection.clone(),
                search: feed.search.clone(),
                user: feed.user.clone(),
                key_file: feed.key_file.clone(),
                key_header: feed.key_header.clone(),
                ca: feed.ca.clone(),
                every: feed.every,
            })
        };
        self.feeds.iter().filter(|feed| !feed.url.is_empty()).filter_map(source).collect()
    }

    /// What tells apart what is new is told this.
    pub fn new_settings(&self) -> NewSettings {
        NewSettings {
            // What is none was refused when the file was read.
            brands: Brands::parse(&self.new.brands).unwrap_or_default(),
            watched: self.new.watched.iter().filter_map(|name| exception(name).ok()).collect(),
        }
    }

    /// What keeps a ledger within bounds is told this. The ledger knows how much disk it may take where the configuration
    /// leaves that to it.
    pub fn bounds(&self, ledger: &store::Stats) -> retention::Bounds {
        let max_disk = match self.store.max_disk {
            MaxDisk::Auto => ledger.max_disk,
            MaxDisk::Unbounded => None,
            MaxDisk::Bytes(bytes) => Some(bytes),
        };
        retention::Bounds { retention: self.store.retention, max_disk, before: None }
    }

    /// Whether there are no bounds.
    pub fn is_unbounded(&self) -> bool {
        self.store.retention.is_none() && self.store.max_disk == MaxDisk::Unbounded
    }

    /// Readers and the ledger get three eighths of the memory each. The rest is what an allocator and the buffers of threads need
    /// beside what is counted: the process as a whole is to stay within the figure that was configured.
    fn share_of_memory(&self) -> u64 {
        self.store.memory / 8 * 3
    }
}

/// A name of `names_per_domain_except` or `watched`; a leading `*.` says the same as none.
fn exception(text: &str) -> Result<Name, NameError> {
    Name::parse(text.strip_prefix("*.").unwrap_or(text))
}

/// Rows that are folded into a run, where a test (feature `test-hooks`) wants the program to do often what it seldom does: to commit, to fold,
/// to merge and to rewrite. No user has a use for it, so it is no key of the configuration.
fn tiny() -> Option<usize> {
    let rows = cfg!(feature = "test-hooks").then(|| std::env::var("DNSLEDGER_TEST_FOLD_ROWS").ok())??;
    rows.parse().ok().filter(|rows| *rows > 0)
}

//--- ConfigError ----------------------------------------------------------------------------------------------------

/// What is wrong in the text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The line, from 1, where the text tells.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// The file says something that has no meaning.
    #[error("{}{}: {fault}", path.display(), fault.line.map_or_else(String::new, |line| format!(":{line}")))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// What it says.
        fault: Box<Fault>,
    },
    /// It cannot be written as TOML.
    #[error("the configuration cannot be printed: {0}")]
    Unprintable(String),
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ConfigError::Unreadable { path, error }
                if error.kind() == std::io::ErrorKind::PermissionDenied
                    && path == Path::new(DEFAULT_FILE) =>
            {
                Some(
                    "ask as root or as the daemon's user, `sudo -u dnsledger dnsledger ...`, or over HTTP: --server \
                     http://127.0.0.1:8081",
                )
            }
            ConfigError::Unreadable { .. } => Some("check the path, and that this user may read it"),
            ConfigError::Faulty { fault, .. } => fault.hint.as_deref(),
            ConfigError::Unprintable(_) => None,
        }
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&b| b == b'\n').count() + 1
}

/// All keys there are: those of the defaults, with one source.
fn known_keys() -> toml::Table {
    let with_a_source = Config {
        sources: vec![Source::default()],
        feeds: vec![FeedEntry::default()],
        outlets: vec![OutletEntry::default()],
        ..Config::default()
    };
    // The defaults are plain text and numbers: they are always a table.
    toml::Table::try_from(with_a_source).unwrap_or_default()
}

/// Refuses a key that there is not, with the nearest one.
fn check_keys(text: &str, table: &DeTable<'_>, known: &toml::Table, within: &str) -> Result<(), Fault> {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let line = line_of(text, key.span().start);
        let Some(expected) = known.get(name) else {
            let nearest = known.keys().map(|key| (strsim::levenshtein(key, name), key)).min();
            let hint = match nearest {
                Some((distance, key)) if distance <= key.len().div_ceil(2) => format!("{within}{key}"),
                _ => format!("one of {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no key {within}{name}");
            return Err(Fault { line: Some(line), message, hint: Some(hint) });
        };
        let within = format!("{within}{name}.");
        match (value.get_ref(), expected) {
            (DeValue::Table(inner), toml::Value::Table(known)) => check_keys(text, inner, known, &within)?,
            (DeValue::Array(items), toml::Value::Array(known)) => {
                let known = known.first().and_then(toml::Value::as_table);
                for item in items {
                    if let (DeValue::Table(inner), Some(known)) = (item.get_ref(), known) {
                        check_keys(text, inner, known, &within)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

//--- values as text -------------------------------------------------------------------------------------------------

fn write_size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&units::format_size(*bytes))
}

fn read_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::parse_size(&text).map_err(serde::de::Error::custom)
}

/// An empty text is no age.
fn write_age<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&age.map(units::format_duration).unwrap_or_default())
}

fn read_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    read_unless_empty(deserializer, units::parse_duration)
}

/// An empty text is no day.
fn write_day<S: Serializer>(day: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let text = if *day == 0 { String::new() } else { format_date(*day) };
    serializer.serialize_str(&text)
}

fn read_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(read_unless_empty(deserializer, parse_date)?.unwrap_or(0))
}

/// An empty text is no bound.
fn write_budget<S: Serializer>(bound: &MaxDisk, serializer: S) -> Result<S::Ok, S::Error> {
    match bound {
        MaxDisk::Auto => serializer.serialize_str("auto"),
        MaxDisk::Unbounded => serializer.serialize_str(""),
        MaxDisk::Bytes(bytes) => write_size(bytes, serializer),
    }
}

fn read_budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MaxDisk, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "auto" => Ok(MaxDisk::Auto),
        "" | "none" => Ok(MaxDisk::Unbounded),
        size => units::parse_size(size)
            .map(MaxDisk::Bytes)
            .map_err(|error| serde::de::Error::custom(format!("{error}; or \"auto\", or \"\" for no bound"))),
    }
}

fn read_unless_empty<'de, D: Deserializer<'de>, T, E: std::fmt::Display>(
    deserializer: D,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let value = (!text.is_empty()).then(|| parse(&text)).transpose();
    value.map_err(serde::de::Error::custom)
}

/// An empty text is neither.
fn write_choice<S: Serializer>(choice: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
    match choice {
        Some(choice) => serializer.serialize_bool(*choice),
        None => serializer.serialize_str(""),
    }
}

fn read_choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Choice {
        Is(bool),
        Text(String),
    }
    match Choice::deserialize(deserializer)? {
        Choice::Is(choice) => Ok(Some(choice)),
        Choice::Text(text) if text.is_empty() => Ok(None),
        Choice::Text(_) => Err(serde::de::Error::custom("true, false, or \"\" for what the format says")),
    }
}

fn write_backfill<S: Serializer>(backfill: &Backfill, serializer: S) -> Result<S::Ok, S::Error> {
    match backfill {
        Backfill::All => serializer.serialize_str("all"),
        Backfill::None => serializer.serialize_str("none"),
        Backfill::Age(age) => duration::serialize(age, serializer),
    }
}

fn read_backfill<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backfill, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "all" => Ok(Backfill::All),
        "none" => Ok(Backfill::None),
        age => units::parse_duration(age)
            .map(Backfill::Age)
            .map_err(|_| serde::de::Error::custom("backfill is \"all\", \"none\" or an age such as \"30d\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> (Option<usize>, String, String) {
        let fault = Config::parse(text).unwrap_err();
        (fault.line, fault.message, fault.hint.unwrap_or_default())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn hosts_and_proxies_are_names_and_addresses() {
        let named =
            "[http]\nallowed_hosts = [\"ledger.example\"]\ntrusted_proxies = [\"::1\", \"10.0.0.0/8\"]";
        let named = Config::parse(named).unwrap();
        assert_eq!(named.http.allowed_hosts, ["ledger.example"]);
        assert_eq!(named.http.trusted_proxies, ["::1", "10.0.0.0/8"]);
        for (key, value) in
            [("allowed_hosts", "https://ledger.example"), ("trusted_proxies", "proxy.example")]
        {
            let (_, message, hint) = fault(&format!("[http]\n{key} = [\"{value}\"]"));
            assert!(message.contains(key) && message.contains(value), "{message}");
            assert!(hint.starts_with(key), "{hint}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        let named = Config::parse("[http]\ncors_origins = [\"https://dash.example\"]").unwrap();
        assert_eq!(named.http.cors_origins, ["https://dash.example"]);
        for (origin, says) in [("*", "every page"), ("https://dash.example/", "not of the form")] {
            let (_, message, hint) = fault(&format!("[http]\ncors_origins = [\"{origin}\"]"));
            assert!(message.contains(says) && message.contains("cors_origins"), "{message}");
            assert!(hint.contains("https://"), "{hint}");
        }
    }

    #[test]
    fn the_packaged_file_names_every_key_at_its_default() {
        let packaged = include_str!("../../packaging/dnsledger.toml");
        assert_eq!(Config::parse(packaged).unwrap(), Config::default(), "everything is commented out");
        // What reads like a key or a section is one; everything else is prose.
        let is_key = |line: &str| {
            line.starts_with('[')
                || line
                    .split_once(" = ")
                    .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        };
        let uncommented: Vec<&str> =
            packaged.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| is_key(line)).collect();
        let uncommented = uncommented.join("\n");
        let logs = PathBuf::from("/opt/zeek/logs");
        let feeds = vec![FeedEntry { name: "urlhaus".to_owned(), ..FeedEntry::default() }];
        let outlet = OutletEntry {
            name: "soar".to_owned(),
            to: "https://soar.example/hook".to_owned(),
            ..OutletEntry::default()
        };
        let expected = Config {
            sources: vec![Source { logs, ..Source::default() }],
            feeds,
            outlets: vec![outlet],
            ..Config::default()
        };
        assert_eq!(Config::parse(&uncommented).unwrap(), expected);
        let mut table: toml::Table = uncommented.parse().unwrap();
        let mut known = known_keys();
        for table in [&mut table, &mut known] {
            table["source"][0].as_table_mut().unwrap().insert("logs".to_owned(), "".into());
            table["feed"][0].as_table_mut().unwrap().insert("name".to_owned(), "".into());
            let outlet = table["outlet"][0].as_table_mut().unwrap();
            outlet.insert("name".to_owned(), "".into());
            outlet.insert("to".to_owned(), "".into());
        }
        assert_eq!(table, known, "a key is missing");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        assert_eq!(
            fault("\n[http]\nlisten = \"127.0.0.1:1\"\nmax_scan = 3\n"),
            (Some(4), "there is no key http.max_scan".to_owned(), "http.max_scans".to_owned())
        );
        assert_eq!(
            fault("[[source]]\nlogs = \"x\"\n[[source]]\nlogs = \"y\"\nsensors = \"z\""),
            (Some(5), "there is no key source.sensors".to_owned(), "source.sensor".to_owned())
        );
        let (_, message, hint) = fault("completely = 1");
        assert_eq!(message, "there is no key completely");
        assert!(hint.contains("data_dir"), "{hint}");
    }

    #[test]
    fn a_value_without_meaning_is_refused_with_its_line() {
        for (text, line, says) in [
            ("[store]\nmemory = \"lots\"", Some(2), "not a size"),
            ("[[source]]\nlogs = \"x\"\nbackfill = \"some\"", Some(3), "backfill is"),
            ("[ingest]\n\ncommit_interval = 5", Some(3), "invalid type"),
            ("[http]\nlisten = \"here\"", Some(2), "such as \"127.0.0.1:8081\""),
            ("data_dir =", Some(1), ""),
            ("[log]\nlevel = \"loud\"", Some(2), "unknown variant"),
            ("[http]\nmax_scans = 0", None, "http.max_scans is 0"),
            ("[http]\ntls_cert = \"x\"", None, "belong together"),
            ("[store]\nmemory = \"1MiB\"", None, "store.memory is below 16MiB"),
            ("[store]\nretention = \"12h\"", None, "store.retention is below 1d"),
            ("[store]\nretention = \"long\"", Some(2), "not a duration"),
            ("[observe]\nnot_before = \"2000\"", Some(2), "YYYY-MM-DD"),
            ("[observe]\nmax_ahead = \"1\"", Some(2), "not a duration"),
            ("[store]\nmax_disk = \"1MiB\"", None, "store.max_disk is below 16MiB"),
            ("[store]\nnames_per_domain = 7", None, "store.names_per_domain is below 100"),
            ("[store]\nnames_per_domain_except = [\"a..b\"]", None, "\"a..b\" is no name"),
            ("[[source]]\nsensor = \"x\"", None, "source 1 has no logs"),
            ("[[source]]\nlogs = \"x\"\n[[source]]\nlogs = \"x\"", None, "belongs to another source"),
            ("[[source]]\nlogs = \"x\"\nsensor = \"\"", None, "no proper sensor"),
        ] {
            let (at, message, _) = fault(text);
            assert_eq!(at, line, "{text}: {message}");
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn only_loopback_is_listened_on_without_tokens() {
        for refused in ["0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081"] {
            let text = format!("[http]\nlisten = \"{refused}\"\n");
            let (_, message, hint) = fault(&text);
            assert!(message.contains("loopback") && hint.contains("token"), "{message}");
            assert!(Config::parse(&format!("{text}tokens_file = \"tokens\"")).is_ok());
        }
        for served in ["127.0.0.1:0", "[::1]:8081", "127.3.2.1:80"] {
            assert!(Config::parse(&format!("[http]\nlisten = \"{served}\"")).is_ok(), "{served}");
        }
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dnsledger.toml");
        std::fs::write(
            &path,
            "data_dir = \"ledger\"\n[[source]]\nlogs = \"/opt/zeek/logs\"\n[[source]]\nlogs = \"logs\"",
        )
        .unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.data_dir, folder.path().join("ledger"));
        assert_eq!(config.sources[0].logs, Path::new("/opt/zeek/logs"));
        assert_eq!(config.sources[1].logs, folder.path().join("logs"));
        std::fs::write(&path, "nope = 1").unwrap();
        let error = Config::load(&path).unwrap_err();
        assert!(error.to_string().ends_with("dnsledger.toml:1: there is no key nope"), "{error}");
        assert!(matches!(Config::load(&folder.path().join("none")), Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn the_parts_are_told_what_the_file_says() {
        let config = Config::parse(
            "[[source]]\nlogs = \"x\"\nfields = [\"ts\"]\nseparator = \",\"\nbackfill = \"2d\"\n[observe]\naliases = false\n\
             [ingest]\nthreads = 3\nmax_line = \"64KiB\"\n[http]\nmax_limit = 7\n[store]\nmemory = \"64MiB\"",
        )
        .unwrap();
        let told = config.ingest();
        assert_eq!(told.sources[0].zeek.fields, ["ts"]);
        assert_eq!(told.sources[0].zeek.separator.as_deref(), Some(&b","[..]));
        assert_eq!(told.sources[0].backfill, Backfill::Age(Duration::from_secs(2 * 86_400)));
        assert_eq!((told.threads, told.max_line_bytes, told.observe.aliases), (3, 64 << 10, false));
        assert_eq!(config.http.max_limit, 7);
        assert_eq!((told.memory, config.store().memory), (24 << 20, 24 << 20));
        assert!(Config::default().ingest().threads > 0);
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::char::range(' ', 'ÿ').prop_filter("", |c| !c.is_control()), 1..12)
            .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            data_dir in text(), logs in text(), sensor in text(), separator in text(), fields in proptest::collection::vec(text(), 0..3),
            age in 86_400_000u64..1 << 40, kept: bool, aliases: bool, ports: Vec<u16>, port: u16, limit in 1u64..1 << 40, memory in 16u64 << 20..1 << 50, max_observations in 1usize..1 << 30,
        ) {
            prop_assume!(check_sensor_name(&sensor).is_ok());
            let source = Source {
                logs: logs.into(), sensor, separator, fields, backfill: Backfill::Age(Duration::from_millis(age)),
                ..Source::default()
            };
            let config = Config {
                data_dir: data_dir.into(),
                sources: vec![source],
                observe: Observe {
                    skip_ports: ports,
                    aliases,
                    max_observations,
                    not_before: age / 86_400_000 % 20_000 * 86_400,
                    max_ahead: kept.then_some(Duration::from_millis(age)),
                },
                http: http::Config { listen: ([127, 0, 0, 1], port).into(), max_limit: limit, ..http::Config::default() },
                store: Store {
                    memory,
                    retention: kept.then_some(Duration::from_millis(age)),
                    max_disk: match memory % 3 {
                        0 => MaxDisk::Auto,
                        1 => MaxDisk::Unbounded,
                        _ => MaxDisk::Bytes(memory),
                    },
                    names_per_domain: limit.max(100),
                    names_per_domain_except: vec!["example.com".to_owned()],
                },
                ..Config::default()
            };
            prop_assert_eq!(Config::parse(&config.print().unwrap()).unwrap(), config);
        }
    }
}
