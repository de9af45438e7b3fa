//! What single values of a configuration cannot tell: whether they go together, and are within bounds.

use std::path::Path;
use std::time::Duration;

use super::error::ConfigFault;
use super::{Config, FeedEntry, OutletEntry};
use crate::deliver::MAX_OUTLETS;
use crate::dns::{Name, NameError};
use crate::fleet::Address;
use crate::http::fetch::Location;
use crate::http::{self, Hosts, Origins, Proxies};
use crate::indicators::Format as ListFormat;
use crate::lookup::Brands;
use crate::observation::check_sensor_name;
use crate::pull;
use crate::store::{self, MaxDisk, retention};
use crate::watch::{self, Which};

/// The least budget of names of a domain: less would fold what nobody floods.
const LEAST_NAMES: u64 = 100;

impl Config {
    /// Checks what single values cannot tell.
    ///
    /// # Errors
    ///
    /// When values do not go together, or are out of bounds.
    pub fn check(&self) -> Result<(), ConfigFault> {
        let fault = |message: String, hint: &'static str| {
            Err(ConfigFault { line: None, message, hint: Some(hint.into()) })
        };
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
                format!("http.listen is {listen}, which is not a loopback address, and there are no tokens"),
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
                format!("http.cors_origins: {origin:?} is not an origin: {why}"),
                "cors_origins = [\"https://dash.example\"]",
            );
        }
        if let Err(host) = Hosts::parse(&self.http.allowed_hosts) {
            return fault(
                format!("http.allowed_hosts: {host:?} is not a host: a name or an address, without a port"),
                "allowed_hosts = [\"ledger.example\"]",
            );
        }
        if let Err(proxy) = Proxies::parse(&self.http.trusted_proxies) {
            return fault(
                format!("http.trusted_proxies: {proxy:?} is not an address, network or range"),
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
                "the default is 50000; 0 means no bound",
            );
        }
        for name in &self.store.names_per_domain_except {
            if let Err(error) = exception(name) {
                return fault(
                    format!("store.names_per_domain_except: {name:?} is not a name: {error}"),
                    "names_per_domain_except = [\"example.com\"]",
                );
            }
        }
        if !["json", "zeek"].contains(&self.hits.format.as_str()) {
            let message = format!("hits.format: unknown format {:?}", self.hits.format);
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
            let message = format!("new.events: unknown value {:?}", self.new.events);
            return fault(message, "events = \"none\", \"lookalikes\" or \"all\"");
        }
        // A file may be written later; it is looked at when the daemon starts.
        for own in self.watch.own.iter().filter(|own| !Path::new(own).is_absolute()) {
            let is_any = watch::read_allow(std::slice::from_ref(own)).is_ok_and(|list| !list.is_empty());
            if !is_any {
                let message = format!("watch.own: {own:?} is not a name, a network or an absolute path");
                return fault(message, "own = [\"example.com\", \"192.0.2.0/24\"]");
            }
        }
        if let Err(brand) = Brands::parse(&self.new.brands) {
            return fault(
                format!("new.brands: {brand:?} is neither a name that can be registered nor a word"),
                "brands = [\"example.com\"]",
            );
        }
        for name in &self.new.watched {
            if let Err(error) = exception(name) {
                return fault(
                    format!("new.watched: {name:?} is not a name: {error}"),
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
                let message = format!("source {}: names: {name:?} is not a pattern of a name: {why}", i + 1);
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
}

impl FeedEntry {
    /// What is wrong with it, and what would be right.
    fn check(&self) -> Result<(), (String, &'static str)> {
        let bad = |what: String, hint| Err((what, hint));
        if self.confidence_min > 100 {
            return bad("confidence_min is above 100".to_owned(), "confidence_min = 50");
        }
        if !self.format.is_empty() && ListFormat::from_name(&self.format).is_none() {
            return bad(format!("unknown format {:?}", self.format), "`dnsledger hunt --help` lists them");
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
        let Some(kind) = pull::ServerKind::from_name(&self.kind) else {
            return bad(format!("kind: unknown kind {:?}", self.kind), KINDS);
        };
        let is_object =
            || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.search).is_ok();
        if !self.search.is_empty() && (kind != pull::ServerKind::Misp || !is_object()) {
            let what = "search is for kind = \"misp\", and an object of JSON";
            return bad(what.to_owned(), "search = '{\"tags\": [\"tlp:green\"]}'");
        }
        if !self.collection.is_empty() && kind != pull::ServerKind::Taxii {
            return bad("collection is for kind = \"taxii\"".to_owned(), KINDS);
        }
        if kind == pull::ServerKind::Misp && self.key_file.as_os_str().is_empty() {
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
            return bad("key_header is not a name of a header".to_owned(), "key_header = \"Auth-Key\"");
        }
        if self.every < Duration::from_secs(60) {
            return bad("every is less than a minute".to_owned(), "every = \"1h\"");
        }
        Ok(())
    }
}

/// What a feed may be pulled from.
const KINDS: &str = "kind = \"list\", \"misp-feed\", \"misp\" or \"taxii\"";

/// What is wrong with a pattern of names, if anything is.
fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() || name.contains('/') {
        return Some("it is for the name of a file, without its folder".to_owned());
    }
    glob::Pattern::new(name).err().map(|error| error.to_string())
}

/// A name of `names_per_domain_except` or `watched`; a leading `*.` says the same as none.
pub(super) fn exception(text: &str) -> Result<Name, NameError> {
    Name::parse(text.strip_prefix("*.").unwrap_or(text))
}
