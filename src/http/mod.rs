//! The ledger over HTTP: the recipe's API, the native API, health, and the control socket.
//!
//! Routes are warp filters; they run as one service under an accept loop of our own ([`server`]), which has what warp's
//! lacks: a time limit for headers and for stalled writes, a cap on connections, and an end to shutting down.
//!
//! - [`server`] accepts connections, with TLS where [`tls`] has a certificate;
//! - [`guard`] lets a request in or turns it away, by the tokens of [`token`];
//! - [`cors`] says whose pages may read the answer, [`proxy`] what is taken from a proxy in front;
//! - [`request`] is a request as the routes see it, path segments decoded once;
//! - [`answer`] walks the ledger beside the event loop and streams what it finds, [`places`] say how much of that at once;
//! - [`recipe`], [`zeek_pdns`], [`circl`] and [`dnsdb`] are the endpoints that clients of other ledgers know, [`native`],
//!   [`names`], [`bulk`], [`machine`], [`metrics`] and [`control`] those of this one, [`error`] what they say when they fail;
//! - [`page`] serves what [`crate::page`] makes, for people with a browser;
//! - [`client`] is the other side, for the command line, and [`pipe`] that of who speaks no HTTP.
//!
//! # Bounds
//!
//! A lookup of one name or one address that can be answered from memory is answered within the event loop, for as many rows
//! as are read faster than another thread is woken. Nothing within it waits for a disk or a lock that is held over one:
//! whatever is not in memory is read elsewhere, unless reads prove quick (`pace.rs`). Text that may take long to understand is
//! understood elsewhere, too, as much at once as there are cores (`places.rs`). All else runs on blocking threads, in slices, each behind a semaphore: scans on few places
//! (`max_scans`), what an index answers on more (`max_lookups`), and the rest of long answers on as many as there are
//! cores, so that those who read much do not hold up those who ask little. Between two slices a walk holds neither a thread
//! nor a place. A response is in memory for one chunk at a time, and a client that takes none for too long loses its walk.

mod answer;
mod body;
mod bulk;
mod changes;
mod circl;
pub mod client;
mod control;
mod cors;
pub mod database;
mod dnsdb;
mod error;
mod evidence;
pub mod fetch;
mod guard;
mod gzip;
mod headers;
mod hits;
mod hunt;
mod machine;
mod metrics;
mod names;
mod native;
mod new;
mod pace;
mod page;
pub mod pipe;
mod places;
mod proxy;
mod recipe;
mod request;
mod routes;
mod server;
pub mod tls;
pub mod token;
mod zeek_pdns;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Deserializer, Serialize};
use tokio_rustls::TlsAcceptor;

pub use answer::of_fed;
pub use changes::{ChangesFrame, ChangesHead, Delivering, Forwarding};
pub use control::{ExpireLine, ImportReport, NotReadReport, SnapshotFrame, VerifyLine};
pub use cors::Origins;
pub use error::ApiError;
pub use evidence::EvidenceLine;
pub use machine::report;
pub use page::watch;
pub use proxy::{Hosts, Proxies};
pub use server::{Listener, serve};

use self::guard::{Asker, Guard};
use self::metrics::Metrics;
use self::pace::Pace;
use self::places::Places;
use self::token::Tokens;
use crate::base::shutdown::Stop;
use crate::base::units::duration;
use crate::evidence::{Beginnings, LogFilters};
use crate::ingest::Ingest;
use crate::lookup::NewSettings;
use crate::status::history::History;
use crate::store::{PartialStore, Snapshot, WriteStore};
use crate::watch::Watching;

/// Where it listens, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on.
    #[serde(deserialize_with = "read_listen")]
    pub listen: SocketAddr,
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// Connections from one address, or one /64 of IPv6, at once; more are refused (503).
    pub max_connections_per_address: usize,
    /// Scans of the whole ledger at once; more are told to come back (429).
    pub max_scans: usize,
    /// Scans of one address at a time.
    pub max_scans_per_address: usize,
    /// Other lookups at once.
    pub max_lookups: usize,
    /// Rows that one answer has when nothing else is asked for, on the native API.
    pub default_limit: u64,
    /// Rows that one answer has at most.
    pub max_limit: u64,
    /// Rows that one request looks at, at most.
    pub scan_rows: u64,
    /// How long a request may take until its answer begins, and how long a client may take none of it.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How long an answer may take as a whole; one that takes longer is ended, and says so.
    #[serde(with = "duration")]
    pub stream_timeout: Duration,
    /// How long a client may take to send its headers, and be idle between requests.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// The file of the API tokens; empty for none, and then only a loopback address is served.
    pub tokens_file: PathBuf,
    /// The certificate with its chain, PEM; empty for no TLS.
    pub tls_cert: PathBuf,
    /// Its key, PEM.
    pub tls_key: PathBuf,
    /// Requests a second that one token may make from one address; 0 is no limit. Without tokens there is none.
    pub rate_limit: u32,
    /// Whether it is logged who asked what.
    pub audit: bool,
    /// Sites whose pages may read answers, as their origins.
    pub cors_origins: Vec<String>,
    /// Names that a request may be for on a loopback address without tokens, besides this machine's own.
    pub allowed_hosts: Vec<String>,
    /// Addresses and networks of proxies whose `X-Forwarded-Proto` is believed.
    pub trusted_proxies: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            max_connections: 1024,
            max_connections_per_address: 512,
            max_scans: 4,
            max_scans_per_address: 3,
            max_lookups: 64,
            default_limit: 1000,
            max_limit: 100_000,
            scan_rows: 50_000_000,
            request_timeout: Duration::from_secs(30),
            stream_timeout: Duration::from_secs(3600),
            header_timeout: Duration::from_secs(15),
            tokens_file: PathBuf::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            rate_limit: 100,
            audit: false,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// The port that is listened on where an address has none.
const PORT: u16 = 8081;

/// Reads an address to listen on. A port alone is one of the loopback address, and so is `localhost`; an address alone has
/// port 8081.
///
/// # Errors
///
/// A hint, for anything else: other names are not looked up.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let address = text.parse().ok();
    let port = || text.strip_prefix("localhost:").unwrap_or(text).parse().ok().map(loopback);
    let alone = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
    let named = || (text == "localhost").then(|| loopback(PORT));
    address.or_else(port).or_else(alone).or_else(named).ok_or_else(|| {
        format!(
            "{text:?} is not an address to listen on: write an address and a port, such as \"127.0.0.1:8081\", \"[::1]:8081\", \
             or \"0.0.0.0:8081\" for all"
        )
    })
}

fn read_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_listen(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// Logs that clients send, at once: each holds a thread. And those of one address.
const MAX_IMPORTS: (usize, usize) = (8, 6);

/// Streams of hits, at once, and those of one address.
const MAX_HIT_STREAMS: (usize, usize) = (32, 24);

/// Hunts at once: each holds the indicators of a list in memory. And those of one address.
const MAX_HUNTS: (usize, usize) = (3, 2);

/// How many requests may read logs for evidence at once: in all, and of one address.
const MAX_EVIDENCE: (usize, usize) = (3, 2);

/// Memory for lists of queries that are asked together, MiB, and what those of one address may have of it.
const MAX_LISTS: (usize, usize) = (256, 192);

/// The state of the endpoints, and the caller. Clones share everything.
#[derive(Clone)]
pub struct State(Arc<Shared>, Asker, Option<Arc<PartialStore>>);

struct Shared {
    ledger: Arc<dyn WriteStore>,
    ingest: Arc<Ingest>,
    config: Config,
    scans: Places,
    lookups: Places,
    imports: Places,
    hunts: Places,
    /// For text of clients that takes long to understand.
    reading: Places,
    /// Memory for lists of queries, MiB.
    lists: Places,
    /// For whole answers about the daemon itself.
    reports: Places,
    /// Whether lookups may ask the engine within the event loop.
    pace: Arc<Pace>,
    /// For the rest of an answer of which a part is sent.
    streams: Places,
    /// Places for requests for evidence, which read logs once more.
    evidence: Places,
    /// Whether lines of logs are handed out over the network, to who may see them.
    hands_out_lines: AtomicBool,
    /// Filters that tell which logs need not be read.
    filters: Arc<LogFilters>,
    /// The first log of each file, where known.
    beginnings: Arc<Beginnings>,
    /// The watch, and what stops it.
    watching: Mutex<Option<(Arc<Watching>, Stop)>>,
    /// Places for streams of hits.
    hit_streams: Places,
    /// The number of the last hit, for who waits for the next.
    hits: tokio::sync::watch::Receiver<u64>,
    /// Brands and names by which first sightings are marked.
    new: Mutex<Arc<NewSettings>>,
    guard: Guard,
    origins: Origins,
    proxies: Proxies,
    metrics: Metrics,
    tls: RwLock<Option<TlsAcceptor>>,
    /// The last hour, as far as [`watch`] runs.
    history: Mutex<History>,
    /// How forwarding goes, as last told.
    forwarding: Mutex<Option<Forwarding>>,
    /// How delivery of hits goes, as last told.
    delivering: Mutex<Vec<Delivering>>,
}

impl State {
    /// Puts the parts together, without tokens and without TLS.
    pub fn new(
        ledger: Arc<dyn WriteStore>,
        ingest: Arc<Ingest>,
        filters: Arc<LogFilters>,
        config: Config,
    ) -> State {
        let scans = Places::new(config.max_scans, config.max_scans_per_address);
        let lookups = Places::new(config.max_lookups, usize::MAX);
        let imports = Places::new(MAX_IMPORTS.0, MAX_IMPORTS.1);
        let reports = Places::new(config.max_lookups, usize::MAX);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let streams = Places::new(cores, usize::MAX);
        // What is none was refused with the configuration.
        let origins = Origins::parse(&config.cors_origins).unwrap_or_default();
        let proxies = Proxies::parse(&config.trusted_proxies).unwrap_or_default();
        let hosts = Hosts::parse(&config.allowed_hosts).unwrap_or_default();
        let guard = Guard::new(config.rate_limit, config.audit, hosts);
        let (told, hits) = tokio::sync::watch::channel(ledger.last_hit().0);
        ledger.on_hits(Box::new(move |last| {
            told.send_replace(last);
        }));
        let (metrics, tls, history) = (Metrics::default(), RwLock::default(), Mutex::default());
        let shared = Shared {
            ledger,
            ingest,
            config,
            scans,
            lookups,
            imports,
            hunts: Places::new(MAX_HUNTS.0, MAX_HUNTS.1),
            // It is work for a processor.
            reading: Places::new(cores + 1, cores),
            lists: Places::new(MAX_LISTS.0, MAX_LISTS.1),
            reports,
            pace: Pace::new(),
            streams,
            evidence: Places::new(MAX_EVIDENCE.0, MAX_EVIDENCE.1),
            hands_out_lines: AtomicBool::new(false),
            filters,
            beginnings: Arc::default(),
            new: Mutex::default(),
            watching: Mutex::default(),
            hit_streams: Places::new(MAX_HIT_STREAMS.0, MAX_HIT_STREAMS.1),
            hits,
            guard,
            origins,
            proxies,
            metrics,
            tls,
            history,
            forwarding: Mutex::default(),
            delivering: Mutex::default(),
        };
        State(Arc::new(shared), Asker::default(), None)
    }

    /// This state, with the caller who asks.
    fn asked_by(&self, asker: Asker) -> State {
        State(Arc::clone(&self.0), asker, None)
    }

    /// The same for who is content with what can be had just now (`partial=1`).
    async fn partial(self) -> Result<State, ApiError> {
        let ledger = Arc::clone(&self.0.ledger);
        let until = tokio::time::Instant::now() + self.0.config.request_timeout;
        let part = answer::in_time(until, move || ledger.part()).await??;
        Ok(State(self.0, self.1, Some(Arc::new(part))))
    }

    /// Refuses what only a sensor's own daemon knows, at a front end of a cluster: nothing found would be no answer.
    fn only_of_a_ledger(&self, what: &str) -> Result<(), ApiError> {
        if self.0.ledger.fed().is_some() { Err(ApiError::elsewhere(what)) } else { Ok(()) }
    }

    /// The same with what is read of a store that other ledgers feed begun before it is said as of when it is true: where it has to be
    /// read from a server that may have less, after that was said, it cannot be read any more.
    fn begun(self) -> State {
        if self.0.ledger.fed().is_none() {
            return self;
        }
        let part = PartialStore { snapshot: self.0.ledger.now(), missing: Vec::new() };
        State(self.0, self.1, Some(Arc::new(part)))
    }

    /// One moment of the ledger, or of what can be had of it.
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        match &self.2 {
            Some(part) => Arc::clone(&part.snapshot),
            None => self.0.ledger.now(),
        }
    }

    /// From now on lines of logs are handed out over the network, to tokens of the scope for that.
    pub fn hand_out_lines(&self) {
        self.0.hands_out_lines.store(true, Ordering::Relaxed);
    }

    /// Whether lines of logs are handed out to who asks.
    ///
    /// # Errors
    ///
    /// 403 where they are not.
    fn may_see_lines(&self) -> Result<(), ApiError> {
        // The owner of the ledger needs nobody to allow it.
        let are_handed_out = self.1.network.is_none() || self.0.hands_out_lines.load(Ordering::Relaxed);
        match are_handed_out && self.1.may_see_lines {
            true => Ok(()),
            false => Err(ApiError::no_lines(are_handed_out)),
        }
    }

    /// From now on only who has one of these tokens is let in from the network.
    pub fn set_tokens(&self, tokens: Tokens) {
        self.0.guard.set_tokens(tokens);
    }

    /// From now on connections over the network speak TLS, with this certificate.
    pub fn set_tls(&self, tls: TlsAcceptor) {
        *self.0.tls.write() = Some(tls);
    }

    /// Why the ledger does not take what is read, if it does not: readers cannot hand it on, or work on it fails.
    fn failing(&self) -> Option<String> {
        let ingest = self.0.ingest.failing();
        ingest.or_else(|| self.0.ledger.failing().map(|error| error.to_string()))
    }

    fn guard(&self) -> &Guard {
        &self.0.guard
    }

    fn origins(&self) -> &Origins {
        &self.0.origins
    }

    fn proxies(&self) -> &Proxies {
        &self.0.proxies
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        self.0.tls.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_is_read_as_people_write_it() {
        for (text, means) in [
            ("127.0.0.1:8081", "127.0.0.1:8081"),
            ("[::1]:80", "[::1]:80"),
            ("9090", "127.0.0.1:9090"),
            ("localhost:9090", "127.0.0.1:9090"),
            ("localhost", "127.0.0.1:8081"),
            ("192.0.2.5", "192.0.2.5:8081"),
            ("::1", "[::1]:8081"),
            ("[2001:db8::1]", "[2001:db8::1]:8081"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), means, "{text}");
        }
        for wrong in
            ["", ":8081", "*:8081", "ledger.example:8081", "70000", "127.0.0.1:", "http://127.0.0.1:8081"]
        {
            assert!(parse_listen(wrong).unwrap_err().contains("such as \"127.0.0.1:8081\""), "{wrong}");
        }
    }
}
