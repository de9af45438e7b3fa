//! The configuration of each part of the program, made from that of the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::exception;
use super::{Config, FeedEntry, OutletEntry, Source};
use crate::deliver::OutletConfig;
use crate::http::fetch::Location;
use crate::indicators::Format as ListFormat;
use crate::lookup::{Brands, NewSettings};
use crate::store::{self, MaxDisk, retention};
use crate::tail::discover::Scope;
use crate::watch::{FeedConfig, FileForm, HitFile, WatchConfig, Which};
use crate::{ingest, observe, pull};

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

impl Config {
    /// The sources to follow: those configured, else Zeek's usual folders that exist.
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

    /// The configuration of ingest.
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

    /// The options of the store.
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
                ..store::NameBudget::default()
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

    /// The feeds to watch.
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

    /// The configuration of watching, with own names and networks.
    pub fn watching(&self) -> WatchConfig {
        WatchConfig {
            feeds: self.feeds(),
            own: self.watch.own.clone(),
            // What is none was refused when the file was read.
            events: Which::from_name(&self.new.events).unwrap_or_default(),
            brands: Brands::parse(&self.new.brands).unwrap_or_default(),
        }
    }

    /// The feeds to pull.
    pub fn pulls(&self) -> Vec<pull::FeedSource> {
        let source = |feed: &FeedEntry| {
            Some(pull::FeedSource {
                name: feed.name.clone(),
                // What is none was refused when the file was read.
                url: Location::parse(&feed.url).ok()?,
                kind: pull::ServerKind::from_name(&feed.kind)?,
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

    /// The settings for first sightings.
    pub fn new_settings(&self) -> NewSettings {
        NewSettings {
            // What is none was refused when the file was read.
            brands: Brands::parse(&self.new.brands).unwrap_or_default(),
            watched: self.new.watched.iter().filter_map(|name| exception(name).ok()).collect(),
        }
    }

    /// The bounds of the ledger. The ledger knows how much disk it may take where the configuration
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

/// Rows that are folded into a run, where a test (feature `test-hooks`) wants the program to do often what it seldom does: to commit, to fold,
/// to merge and to rewrite. No user has a use for it, so it is no key of the configuration.
fn tiny() -> Option<usize> {
    let rows = cfg!(feature = "test-hooks").then(|| std::env::var("DNSLEDGER_TEST_FOLD_ROWS").ok())??;
    rows.parse().ok().filter(|rows| *rows > 0)
}
