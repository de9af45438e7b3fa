//! The configuration file: TOML, every key with a default, nothing unknown let through.
//!
//! Flags override the file, the file overrides the defaults. Each part of the program declares its own configuration;
//! here is only what a file says (`sections.rs`), and how the parts' values are made of it (`parts.rs`). Relative paths are
//! relative to the folder of the file they stand in.

mod check;
mod error;
mod keys;
mod parts;
mod sections;
#[cfg(test)]
mod tests;
mod values;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

pub use self::error::{ConfigError, ConfigFault};
pub use self::sections::{
    Evidence, FeedEntry, Forward, Hits, Ingest, New, Observe, OutletEntry, Source, Store, Watch,
};
use super::logging;
use crate::http;

/// Where the configuration is looked for when no file is named.
pub const DEFAULT_FILE: &str = "/etc/dnsledger/dnsledger.toml";

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
    pub fn parse(text: &str) -> Result<Config, ConfigFault> {
        let fault = |error: toml::de::Error| {
            let line = error.span().map(|span| keys::line_of(text, span.start));
            ConfigFault { line, message: error.message().to_owned(), hint: None }
        };
        let table = DeTable::parse(text).map_err(fault)?;
        keys::check(text, table.get_ref(), &keys::known(), "")?;
        let config: Config = toml::from_str(text).map_err(fault)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as a file has it.
    ///
    /// # Errors
    ///
    /// When a path is not UTF-8, which TOML cannot hold.
    pub fn print(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Unprintable(error.to_string()))
    }
}
