//! The tables of a configuration file, key by key, with what stands where a key is left out.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{
    read_age, read_backfill, read_budget, read_choice, read_day, read_size, write_age, write_backfill,
    write_budget, write_choice, write_day, write_size,
};
use crate::base::units::duration;
use crate::deliver::Target;
use crate::ingest::{self, Backfill};
use crate::store::MaxDisk;
use crate::{observe, pull, store, watch, zeek};

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
    /// The column separator of logs without a header.
    pub separator: String,
    /// The prefix of header lines.
    pub meta_prefix: String,
    /// Whether strings in JSON logs are escaped as in TSV.
    pub json_tsv_escapes: bool,
}

/// Which records of a log count.
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

/// Settings for what is first seen: `[new]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct New {
    /// Names of one's own: what looks like one is marked.
    pub brands: Vec<String>,
    /// Names that are watched, with all below them.
    pub watched: Vec<String>,
    /// Which new domains become events among the hits: `none`, `lookalikes` or `all`.
    pub events: String,
}

impl Default for New {
    fn default() -> New {
        New { brands: Vec::new(), watched: Vec::new(), events: "lookalikes".to_owned() }
    }
}

/// Settings of all feeds.
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
    /// Its name.
    pub name: String,
    /// The file, or the folder of files, that it is read from when it changes; empty where it is imported.
    pub file: PathBuf,
    /// Whether names are meant with all below them: `true`, `false`, or empty for what its format says.
    #[serde(serialize_with = "write_choice", deserialize_with = "read_choice")]
    pub below: Option<bool>,
    /// Indicators with less confidence are left out.
    pub confidence_min: u8,
    /// Indicators that the source has not confirmed for so long are left out, and a feed not read for so long is stale; empty for no bound.
    #[serde(serialize_with = "write_age", deserialize_with = "read_age")]
    pub max_age: Option<Duration>,
    /// Harmless names with all below them, networks, or paths of lists of them.
    pub allow: Vec<String>,
    /// Where `dnsledger feeds pull` gets it; empty where it does not.
    pub url: String,
    /// The kind of server.
    pub kind: String,
    /// The collection of TAXII, by id, title or alias; empty where there is only one.
    pub collection: String,
    /// Further terms of a search in MISP, as a JSON object; empty for none.
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
            kind: pull::ServerKind::default().name().to_owned(),
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
    /// Its name.
    pub name: String,
    /// Its kind: `webhook`, `syslog`, `journal` or `misp`.
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
    /// What its logs do not say themselves: the options of the parser.
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

impl OutletEntry {
    pub(super) fn target(&self) -> Result<Target, String> {
        Target::parse(self.kind.parse()?, &self.to)
    }
}
