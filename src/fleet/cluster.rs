//! The servers of a cluster: shards, each with replicas of which any is asked, over HTTP.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

use super::names::{HIT_MARKS, HITS, ODD};
use super::rowbinary::ColumnReader;
use super::rows::ClusterTable;
use super::{Address, FleetError};
use crate::http::client::ClientError;
use crate::http::database::Database;

/// How long a server may take to begin an answer, and to go on with it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an insert waits for its quorum, milliseconds: less than the client waits, so that the server says why.
const QUORUM_WAIT: &str = "15000";
/// Clients of one server, each with a connection that is kept.
const CLIENTS: usize = 8;
/// Bytes of an answer that are read: a page has fewer.
const MAX_ANSWER: usize = 256 << 20;
/// The server holds so much of an answer in memory before it begins, and the rest in a file: an error can be told until then.
const ANSWER_BUFFER: &str = "16777216";
/// Rows of the first page that is read of a table, and of the largest one.
pub const PAGE_ROWS: [u64; 2] = [1_000, 65_536];
/// Versions from which on inserts may be put off, which is switched off.
const PUTS_OFF: u32 = 22;
/// A replica that is more seconds behind is asked only where there is no other.
const BEHIND: u64 = 5;
/// How far a replica is behind that cannot know: it has lost ZooKeeper.
pub const UNKNOWN: u64 = u64::MAX;
/// Seconds that servers give where they do not know, too: more than these.
const MOST_BEHIND: u64 = 1_000_000_000;
/// How long it is taken for true what a replica says of that.
const LAG_KNOWN_FOR: Duration = Duration::from_secs(2);
/// No host of a shard.
const NONE: usize = usize::MAX;

/// A cluster.
pub struct Cluster {
    shards: Vec<Shard>,
    database: String,
    compresses: bool,
    page_rows: [u64; 2],
}

/// One shard.
pub struct Shard {
    number: usize,
    hosts: Vec<Host>,
    /// The host that answered last.
    last: AtomicUsize,
    /// The same where it is behind, and no other host answers; [`NONE`] where it is not.
    behind: AtomicUsize,
    /// How often another host was taken that may have less than the one before.
    lowered: AtomicU64,
    /// What asks a host how far it is behind.
    lag: String,
    /// How long it may take to begin an answer.
    patience: Duration,
    /// Whether its tables have spans, once that is known.
    spans: Mutex<Option<bool>>,
    /// Whether it is known to have tables of hits.
    hits: AtomicBool,
    /// Whether its tables are known to say which rows are odd.
    odd: AtomicBool,
}

struct Host {
    name: String,
    clients: Vec<Database>,
    next: AtomicUsize,
    /// The first number of its version, once it is known.
    version: Mutex<Option<u32>>,
    /// How many seconds it was behind, and when it said so.
    lag: Mutex<Option<(Instant, u64)>>,
}

impl Cluster {
    /// Reads the password; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// When that, or the certificates, cannot be read.
    pub fn new(address: &Address) -> Result<Cluster, FleetError> {
        Cluster::with_patience(address, PATIENCE)
    }

    /// As [`Cluster::new`], where a server may take long to begin an answer.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn with_patience(address: &Address, patience: Duration) -> Result<Cluster, FleetError> {
        let password = match &address.password_file {
            None => String::new(),
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let read = read.map_err(|error| FleetError::Password { path: path.clone(), error })?;
                read.trim_end_matches(['\n', '\r']).to_owned()
            }
        };
        let mut headers = Vec::new();
        if !address.user.is_empty() {
            headers.push(("x-clickhouse-user", address.user.as_str()));
            headers.push(("x-clickhouse-key", password.as_str()));
        }
        let host = |host: &String| {
            let client = |_| Database::new(&address.url(host), address.ca.as_deref(), &headers, patience);
            let clients = (0..CLIENTS).map(client).collect::<Result<_, ClientError>>()?;
            let (next, version, lag) = (AtomicUsize::new(0), Mutex::default(), Mutex::default());
            Ok(Host { name: host.clone(), clients, next, version, lag })
        };
        let shards = address.shards.iter().enumerate().map(|(at, hosts)| {
            let hosts = hosts.iter().map(host).collect::<Result<_, FleetError>>()?;
            // Of tables that are not replicated there is nothing, which is 0. What ZooKeeper would be asked for is not among this.
            let lag = format!(
                "SELECT toUInt64(max(absolute_delay)), toUInt64(max(is_readonly)), toUInt64(max(is_session_expired)) \
                 FROM system.replicas WHERE database = '{}' FORMAT RowBinary",
                address.database
            );
            Ok(Shard {
                number: at + 1,
                hosts,
                last: AtomicUsize::new(0),
                behind: AtomicUsize::new(NONE),
                lowered: AtomicU64::new(0),
                lag,
                patience,
                spans: Mutex::default(),
                hits: AtomicBool::new(false),
                odd: AtomicBool::new(false),
            })
        });
        Ok(Cluster {
            shards: shards.collect::<Result<_, FleetError>>()?,
            database: address.database.clone(),
            compresses: address.compresses,
            page_rows: PAGE_ROWS,
        })
    }

    /// The same with other pages than the usual: rows of the first one, and of the largest.
    pub fn with_pages(self, rows: [u64; 2]) -> Cluster {
        Cluster { page_rows: rows, ..self }
    }

    /// Rows of the first page, and of the largest one.
    pub fn page_rows(&self) -> [u64; 2] {
        self.page_rows
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Its shards.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// When there is none of that number, which no bucket brings about.
    pub fn shard(&self, at: usize) -> Result<&Shard, FleetError> {
        let none = || FleetError::Nonsense { what: "the number of a shard", why: format!("{at} is none") };
        self.shards.get(at).ok_or_else(none)
    }

    /// How often a shard was asked at another replica that may have less than the one before.
    pub fn lowered(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lowered.load(Ordering::Relaxed)).sum()
    }

    /// Whether a shard is asked at a replica that is behind.
    pub fn is_behind(&self) -> bool {
        self.shards.iter().any(Shard::is_behind)
    }

    /// The tables that all shards have: all, or those of rows and questions alone.
    ///
    /// # Errors
    ///
    /// When a shard does not answer.
    pub fn tables(&self) -> Result<&'static [ClusterTable], FleetError> {
        for shard in &self.shards {
            if !shard.has_hits(&self.database)? {
                return Ok(&ClusterTable::OF_ROWS);
            }
        }
        Ok(&ClusterTable::ALL)
    }

    /// Asks each shard but some, from 0 on, all at once. Gives what each said, in their order.
    pub fn each<T: Send>(
        &self,
        without: &[usize],
        ask: impl Fn(usize, &Shard) -> Result<T, FleetError> + Sync,
    ) -> Vec<(usize, Result<T, FleetError>)> {
        let shards = self.shards.iter().enumerate().filter(|(at, _)| !without.contains(at));
        std::thread::scope(|scope| {
            let ask = &ask;
            let asked: Vec<_> = shards.map(|(at, shard)| (at, scope.spawn(move || ask(at, shard)))).collect();
            let answer = |(at, thread): (_, std::thread::ScopedJoinHandle<'_, Result<T, FleetError>>)| {
                (at, thread.join().unwrap_or(Err(FleetError::Stopped)))
            };
            asked.into_iter().map(answer).collect()
        })
    }

    /// The same of what every shard has: those that do not answer may be away, as long as one answers. Gives why those did not, too.
    ///
    /// # Errors
    ///
    /// When none answers, or one says what makes no sense.
    #[expect(clippy::type_complexity, reason = "two lists by the number of a shard")]
    pub fn any<T: Send>(
        &self,
        without: &[usize],
        ask: impl Fn(usize, &Shard) -> Result<T, FleetError> + Sync,
    ) -> Result<(Vec<(usize, T)>, Vec<(usize, FleetError)>), FleetError> {
        let (mut there, mut away) = (Vec::new(), Vec::new());
        for (at, answer) in self.each(without, ask) {
            match answer {
                Ok(answer) => there.push((at, answer)),
                Err(error @ FleetError::Shard { .. }) => away.push((at, error)),
                Err(error) => return Err(error),
            }
        }
        if there.is_empty() {
            let none = || FleetError::Nonsense { what: "a cluster", why: "it has no shards".to_owned() };
            return Err(away.into_iter().next().map_or_else(none, |(_, error)| error));
        }
        Ok((there, away))
    }

    /// Inserts the same rows into a table of every shard; all have them when this returns.
    ///
    /// # Errors
    ///
    /// When one of them did not take them: others may have.
    pub fn insert_everywhere(&self, table: &str, rows: &[u8], quorum: usize) -> Result<(), FleetError> {
        let all = self.each(&[], |at, _| self.insert(at, table, rows, quorum));
        all.into_iter().try_for_each(|(_, inserted)| inserted)
    }

    /// Inserts rows into a table of a shard; it has them when this returns.
    ///
    /// # Errors
    ///
    /// When none of its servers took them. Some may be there all the same: inserting them again changes nothing.
    pub fn insert(&self, shard: usize, table: &str, rows: &[u8], quorum: usize) -> Result<(), FleetError> {
        let (body, encoding) = match self.compresses {
            true => (gzip(rows), Some("gzip")),
            false => (rows.to_vec(), None),
        };
        let statement = format!("INSERT INTO {}.{table} FORMAT RowBinary", self.database);
        let (quorum, wait) = (quorum.to_string(), quorum_wait());
        let mut settings = vec![("insert_deduplicate", "0")];
        if quorum != "0" {
            settings.extend([("insert_quorum", quorum.as_str()), ("insert_quorum_timeout", wait.as_str())]);
        }
        let shard = self.shard(shard)?;
        let inserted = shard.tried(|host| {
            host.send(&[("query", statement.as_str())], &settings, body.clone(), encoding).map(drop)
        });
        if inserted.is_err() {
            // Its tables may have been made anew.
            *shard.spans.lock() = None;
            shard.hits.store(false, Ordering::Relaxed);
            shard.odd.store(false, Ordering::Relaxed);
        }
        inserted
    }
}

/// Whether a replica is so many seconds behind that another one is better.
pub fn is_behind(lag: u64) -> bool {
    let told = cfg!(feature = "test-hooks").then(|| std::env::var("DNSLEDGER_TEST_BEHIND").ok());
    lag > told.flatten().and_then(|told| told.parse().ok()).unwrap_or(BEHIND)
}

fn quorum_wait() -> String {
    let told = cfg!(feature = "test-hooks").then(|| std::env::var("DNSLEDGER_TEST_QUORUM_MS").ok());
    told.flatten().unwrap_or_else(|| QUORUM_WAIT.to_owned())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

impl Shard {
    /// Its number, from 1 on.
    pub fn number(&self) -> usize {
        self.number
    }

    /// How many hosts it has.
    pub fn replicas(&self) -> usize {
        self.hosts.len()
    }

    /// Whether its tables have how long after the first sighting the last one was, and not the last one itself.
    ///
    /// # Errors
    ///
    /// When none of its hosts answers.
    pub fn has_spans(&self, database: &str) -> Result<bool, FleetError> {
        if let Some(spans) = *self.spans.lock() {
            return Ok(spans);
        }
        let found = self.rows(&format!(
            "SELECT count() FROM system.columns WHERE database = '{database}' AND name = 'span'"
        ))?;
        let spans = ColumnReader(&found).u64()? > 0;
        *self.spans.lock() = Some(spans);
        Ok(spans)
    }

    /// Whether it has tables of hits: an upgrade brings them to those of an older version.
    ///
    /// # Errors
    ///
    /// When none of its hosts answers.
    pub fn has_hits(&self, database: &str) -> Result<bool, FleetError> {
        if !self.hits.load(Ordering::Relaxed) {
            let found = self.rows(&format!(
                "SELECT count() FROM system.tables WHERE database = '{database}' AND name IN ('{HITS}', '{HIT_MARKS}')"
            ))?;
            self.hits.store(ColumnReader(&found).u64()? == 2, Ordering::Relaxed);
        }
        Ok(self.hits.load(Ordering::Relaxed))
    }

    /// Whether its tables of rows and questions say which rows are odd: an upgrade has those of an older version say so.
    ///
    /// # Errors
    ///
    /// When none of its hosts answers.
    pub fn has_odd(&self, database: &str) -> Result<bool, FleetError> {
        if !self.odd.load(Ordering::Relaxed) {
            let found = self.rows(&format!(
                "SELECT count() FROM system.columns WHERE database = '{database}' AND name = '{ODD}'"
            ))?;
            let all = ClusterTable::OF_ROWS.len() as u64;
            self.odd.store(ColumnReader(&found).u64()? == all, Ordering::Relaxed);
        }
        Ok(self.odd.load(Ordering::Relaxed))
    }

    /// Its hosts with their numbers, from 0 on, beginning with the one that answered last.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &Host)> {
        let first = self.last.load(Ordering::Relaxed);
        let all = (0..self.hosts.len()).map(move |at| (first + at) % self.hosts.len());
        all.filter_map(|at| Some((at, self.hosts.get(at)?)))
    }

    fn failed(&self, why: &[String]) -> FleetError {
        FleetError::Shard { shard: self.number, why: why.join("; ") }
    }

    /// Has one of its hosts take something, each in its turn until one does.
    fn tried<T>(&self, ask: impl Fn(&Host) -> Result<T, ClientError>) -> Result<T, FleetError> {
        let mut why = Vec::new();
        for (at, host) in self.in_turn() {
            match ask(host) {
                Ok(answer) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => why.push(format!("{}: {error}", host.name)),
            }
        }
        Err(self.failed(&why))
    }

    /// Asks one of its hosts, each in its turn until one answers; those that are behind the others only when no other does.
    fn asked<T>(&self, ask: impl Fn(&Host) -> Result<T, ClientError>) -> Result<T, FleetError> {
        let taken = self.behind.load(Ordering::Relaxed);
        let (mut why, mut behind) = (Vec::new(), Vec::new());
        let last = self.last.load(Ordering::Relaxed);
        for (at, host) in self.in_turn() {
            // Of another one than the last it is asked anew: it may have fallen behind since.
            let known_for = if at == last { LAG_KNOWN_FOR } else { Duration::ZERO };
            let lag = match self.lag_of(host, known_for) {
                Ok(lag) if is_behind(lag) && (at != taken || !behind.is_empty()) => {
                    behind.push((lag, at, host));
                    continue;
                }
                Ok(lag) => lag,
                Err(error) => {
                    why.push(format!("{}: {error}", host.name));
                    continue;
                }
            };
            match ask(host) {
                Ok(answer) => return Ok(self.take(at, lag, answer)),
                Err(error) => why.push(format!("{}: {error}", host.name)),
            }
        }
        behind.sort_by_key(|(lag, ..)| *lag);
        for (lag, at, host) in behind {
            match ask(host) {
                Ok(answer) => return Ok(self.take(at, lag, answer)),
                Err(error) => why.push(format!("{}: {error}", host.name)),
            }
        }
        Err(self.failed(&why))
    }

    /// Goes on with a host that has answered.
    fn take<T>(&self, at: usize, lag: u64, answer: T) -> T {
        self.behind.store(if is_behind(lag) { at } else { NONE }, Ordering::Relaxed);
        if self.last.swap(at, Ordering::Relaxed) != at && lag > 0 {
            self.lowered.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// How many seconds a host is behind: what came later to another replica it may lack.
    fn lag_of(&self, host: &Host, known_for: Duration) -> Result<u64, ClientError> {
        if let Some((at, lag)) = *host.lag.lock()
            && at.elapsed() < known_for
        {
            return Ok(lag);
        }
        let asked = Instant::now();
        let said = host.send(&[], &[], self.lag.clone().into_bytes(), None)?;
        let mut read = ColumnReader(&said);
        let mut number = || read.u64().unwrap_or(UNKNOWN);
        let (delay, is_lost) = (number(), number() > 0 || number() > 0);
        let lag = if is_lost || delay > MOST_BEHIND { UNKNOWN } else { delay };
        *host.lag.lock() = Some((asked, lag));
        Ok(lag)
    }

    /// Whether it is asked at a host that is far behind.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) != NONE
    }

    /// Which host it is asked at, and how many seconds that one is behind just now.
    ///
    /// # Errors
    ///
    /// When that one does not answer.
    pub fn lag(&self) -> Result<(String, u64), FleetError> {
        let (_, host) = self.in_turn().next().ok_or_else(|| self.failed(&[]))?;
        let lag = self.lag_of(host, Duration::ZERO);
        let lag = lag.map_err(|error| self.failed(&[format!("{}: {error}", host.name)]))?;
        Ok((host.name.clone(), lag))
    }

    /// How many seconds each of its hosts is behind, of those that answer.
    pub fn lags(&self) -> Vec<(&str, u64)> {
        let lag = |host| self.lag_of(host, LAG_KNOWN_FOR).ok();
        self.hosts.iter().filter_map(|host| Some((host.name.as_str(), lag(host)?))).collect()
    }

    /// Where it is asked at a host that is behind: takes another one that is less so.
    pub fn look_for_newer(&self) {
        let taken = self.behind.load(Ordering::Relaxed);
        if taken == NONE {
            return;
        }
        let lags = self.hosts.iter().enumerate();
        let lags = lags.filter_map(|(at, host)| Some((self.lag_of(host, LAG_KNOWN_FOR).ok()?, at)));
        if let Some((lag, at)) = lags.min_by_key(|(lag, at)| (*lag, *at != taken)) {
            self.behind.store(if is_behind(lag) { at } else { NONE }, Ordering::Relaxed);
            self.last.store(at, Ordering::Relaxed);
        }
    }

    /// Asks for rows, in RowBinary. All of them are there when this returns, or it is an error.
    ///
    /// # Errors
    ///
    /// When none of its hosts answers.
    pub fn rows(&self, statement: &str) -> Result<Vec<u8>, FleetError> {
        self.rows_by(statement, "2")
    }

    /// The same, of what is read from the beginning on, one after the other.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn rows_in_turn(&self, statement: &str) -> Result<Vec<u8>, FleetError> {
        self.rows_by(statement, "1")
    }

    fn rows_by(&self, statement: &str, threads: &str) -> Result<Vec<u8>, FleetError> {
        let statement = format!("{statement} FORMAT RowBinary");
        // Said when all of it is known: an error in the middle would look like an end.
        // Nobody waits for it any more.
        let patience = self.patience.as_secs().to_string();
        let settings = [
            ("wait_end_of_query", "1"),
            ("buffer_size", ANSWER_BUFFER),
            ("max_threads", threads),
            ("max_execution_time", patience.as_str()),
        ];
        self.asked(|host| host.send(&[], &settings, statement.clone().into_bytes(), None))
    }

    /// Has one of its hosts do something.
    ///
    /// # Errors
    ///
    /// When none of them does.
    pub fn execute(&self, statement: &str) -> Result<(), FleetError> {
        let settings = [("wait_end_of_query", "1")];
        self.tried(|host| host.send(&[], &settings, statement.to_owned().into_bytes(), None).map(drop))
    }

    /// Has one of its hosts insert what it reads, where it has all that any replica has: so many replicas have what is inserted, where that
    /// is not 0.
    ///
    /// # Errors
    ///
    /// When none of them does.
    pub fn copy(&self, statement: &str, quorum: usize) -> Result<(), FleetError> {
        let mut settings = vec![("insert_deduplicate", "0"), ("wait_end_of_query", "1")];
        let (with_quorum, wait) = (quorum.to_string(), quorum_wait());
        if quorum > 0 {
            // What was acknowledged by a quorum is read, and no less.
            settings.extend([
                ("insert_quorum", with_quorum.as_str()),
                ("insert_quorum_timeout", wait.as_str()),
                ("select_sequential_consistency", "1"),
            ]);
        }
        let mut why = Vec::new();
        for (_, host) in self.in_turn() {
            let copied = self.lag_of(host, Duration::ZERO).and_then(|lag| match (lag, quorum) {
                (1.., 0) => Ok(false),
                _ => host.send(&[], &settings, statement.to_owned().into_bytes(), None).map(|_| true),
            });
            match copied {
                Ok(true) => return Ok(()),
                Ok(false) => why.push(format!("{}: it is behind its other replicas", host.name)),
                Err(error) => why.push(format!("{}: {error}", host.name)),
            }
        }
        Err(self.failed(&why))
    }

    /// Has each of its hosts do something.
    ///
    /// # Errors
    ///
    /// When one of them does not.
    pub fn execute_on_each(&self, statement: &str) -> Result<(), FleetError> {
        for host in &self.hosts {
            let done = host.send(&[], &[], statement.to_owned().into_bytes(), None);
            done.map_err(|error| FleetError::Shard {
                shard: self.number,
                why: format!("{}: {error}", host.name),
            })?;
        }
        Ok(())
    }

    /// Whether each of its hosts answers.
    pub fn ping_each(&self) -> Vec<(&str, Result<(), ClientError>)> {
        let ping = |host: &Host| host.send(&[], &[], b"SELECT 1".to_vec(), None).map(drop);
        self.hosts.iter().map(|host| (host.name.as_str(), ping(host))).collect()
    }

    /// What each of its hosts says of its version.
    ///
    /// # Errors
    ///
    /// When one of them does not answer.
    pub fn versions(&self) -> Result<Vec<(String, String)>, FleetError> {
        let version = |host: &Host| {
            let said = host.send(&[], &[], b"SELECT version() FORMAT RowBinary".to_vec(), None);
            let said = said.map_err(|error| FleetError::Shard {
                shard: self.number,
                why: format!("{}: {error}", host.name),
            })?;
            Ok((host.name.clone(), ColumnReader(&said).text()?.to_owned()))
        };
        self.hosts.iter().map(version).collect()
    }
}

impl Host {
    fn send(
        &self,
        params: &[(&str, &str)],
        settings: &[(&str, &str)],
        body: Vec<u8>,
        encoding: Option<&'static str>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut params = [params, settings].concat();
        // Old servers refuse settings that they do not know.
        if self.version()? >= PUTS_OFF {
            params.push(("async_insert", "0"));
            // One insert after the other, so that it is known up to where a quorum has all.
            params.push(("insert_quorum_parallel", "0"));
        }
        self.send_plain(&params, body, encoding)
    }

    fn version(&self) -> Result<u32, ClientError> {
        if let Some(version) = *self.version.lock() {
            return Ok(version);
        }
        let said = self.send_plain(&[], b"SELECT version() FORMAT RowBinary".to_vec(), None)?;
        let major = ColumnReader(&said).text().ok().and_then(|text| text.split('.').next()?.parse().ok());
        let major = major.ok_or_else(|| ClientError::NoHttp {
            server: format!("{} is not a ClickHouse: it", self.name),
        })?;
        *self.version.lock() = Some(major);
        Ok(major)
    }

    fn send_plain(
        &self,
        params: &[(&str, &str)],
        body: Vec<u8>,
        encoding: Option<&'static str>,
    ) -> Result<Vec<u8>, ClientError> {
        let free = self.clients.iter().find(|client| client.is_free());
        let any = || self.clients.get(self.next.fetch_add(1, Ordering::Relaxed) % CLIENTS);
        let none =
            || ClientError::Broken { server: self.name.clone(), error: std::io::ErrorKind::NotFound.into() };
        free.or_else(any).ok_or_else(none)?.post(params, body, encoding, MAX_ANSWER)
    }
}
