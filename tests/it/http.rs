//! The HTTP faces of a ledger, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dnsledger::base::shutdown::Stop;
use dnsledger::fleet::source::ChangeSource;
use dnsledger::http::client::{Client, ClientError};
use dnsledger::http::tls;
use dnsledger::http::token::{self, Scope, Tokens};
use dnsledger::http::{Config, Listener, State, serve};
use dnsledger::ingest::{self, Ingest};
use dnsledger::lookup::{Limits, Query, Search, Slice, Walk};
use dnsledger::observation::SensorId;
use dnsledger::output::Row;
use dnsledger::progress::{LineageId, Progress};
use dnsledger::store::batch::Batch;
use dnsledger::store::memory::MemoryStore;
use dnsledger::store::{
    Changed, Domains, Entries, Expired, Fed, Mark, OnPiece, OnProgress, Pair, Position, Questions, ReadStore,
    Reduce, Reduced, Scan, SensorAsOf, Snapshot, Stats, StoreError, Survey, Verification, WriteStore,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::env::until;

/// Of a log: ts, query, qtype_name, qtype, answers, the ttl of each.
type Record<'a> = (u64, &'a str, &'a str, u16, &'a [&'a str], u32);

/// A server on a port and a socket of its own, over a ledger in memory.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    folder: TempDir,
    ledger: Arc<dyn WriteStore>,
    ingest: Arc<Ingest>,
    stop: Stop,
    state: State,
    runtime: tokio::runtime::Runtime,
    serving: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        Server::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Server {
        Server::over(Arc::new(MemoryStore::default()), config)
    }

    fn over(ledger: Arc<dyn WriteStore>, config: Config) -> Server {
        let stop = Stop::new();
        let ingest = ingest::start(ingest::Config::default(), Arc::clone(&ledger), stop.clone()).unwrap();
        let ingest = Arc::new(ingest);
        let folder = tempfile::tempdir().unwrap();
        let filters = Arc::new(dnsledger::evidence::LogFilters::of(folder.path(), &ingest.config().observe));
        let state = State::new(Arc::clone(&ledger), Arc::clone(&ingest), filters, config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("served")
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let address = tcp.local_addr().unwrap();
        let tcp = Listener::Tcp(tokio::net::TcpListener::from_std(tcp).unwrap());
        let unix = tokio::net::UnixListener::bind(folder.path().join("control.sock")).unwrap();
        let serving = vec![
            runtime.spawn(serve(tcp, state.clone(), stop.clone())),
            runtime.spawn(serve(Listener::Unix(unix), state.clone(), stop.clone())),
        ];
        drop(inside);
        Server { address, folder, ledger, ingest, stop, state, runtime, serving }
    }

    /// Reads records.
    pub(super) fn feed(&self, sensor: &str, records: &[Record<'_>]) {
        let mut log = String::new();
        for (i, (ts, query, qtype_name, qtype, answers, ttl)) in records.iter().enumerate() {
            let ttls: Vec<_> = answers.iter().map(|_| *ttl).collect();
            let record = json!({
                "ts": ts, "uid": format!("C{sensor}{ts}{i}"), "id.resp_h": "192.0.2.53", "id.resp_p": 53,
                "query": query, "qclass": 1, "qtype": qtype, "qtype_name": qtype_name, "rcode": 0,
                "answers": answers, "TTLs": ttls,
            });
            log.push_str(&format!("{record}\n"));
        }
        let summary = self
            .ingest
            .import_stream(Path::new("dns.log"), Some(sensor), Box::new(std::io::Cursor::new(log)))
            .unwrap();
        assert_eq!(summary.tally.counted, records.len() as u64);
    }

    /// Reads so many names of one address.
    fn feed_names(&self, names: usize) {
        let names: Vec<String> = (0..names).map(|i| format!("n{i:05}.example.com")).collect();
        let record = |name| (1_767_323_045, name, "A", 1, &["192.0.2.10"] as &[_], 600);
        self.feed("lan", &names.iter().map(|name| record(name.as_str())).collect::<Vec<_>>());
    }

    /// The ledger that most tests ask.
    fn sample() -> Server {
        let server = Server::start();
        server.feed(
            "lan",
            &[
                (1_767_323_045, "www.example.com", "A", 1, &["192.0.2.10"], 600),
                (1_772_600_767, "www.example.com", "A", 1, &["192.0.2.10"], 300),
                (1_767_323_046, "blog.example.com", "A", 1, &["cdn.example.net", "192.0.2.77"], 60),
                (1_767_323_047, "example.com", "TXT", 16, &["TXT 11 v=spf1 -all"], 60),
                (1_767_323_048, "EVIL\\x1b[2J\"<script>.example.org", "A", 1, &["198.51.100.1"], 60),
            ],
        );
        server.feed("dmz", &[(1_767_323_045, "www.example.com", "A", 1, &["192.0.2.10"], 600)]);
        server
    }

    fn client(&self) -> Client {
        Client::of_url(&format!("http://{}", self.address), None, None).unwrap()
    }

    fn owner(&self) -> Client {
        Client::of_socket(&self.folder.path().join("control.sock")).unwrap()
    }

    /// Makes tokens the only way in: one to read, one for everything.
    fn with_tokens(&self) -> [String; 2] {
        let file = self.folder.path().join("tokens");
        let (read, read_line) = token::make("misp", Scope::Read, "now").unwrap();
        let (admin, admin_line) = token::make("ops", Scope::Admin, "now").unwrap();
        std::fs::write(&file, read_line + &admin_line).unwrap();
        self.state.set_tokens(Tokens::load(&file).unwrap());
        [read, admin]
    }

    fn get_with(&self, target: &str, header: &str) -> Answer {
        self.raw(&format!(
            "GET {target} HTTP/1.1\r\nHost: ledger.example\r\n{header}\r\nConnection: close\r\n\r\n"
        ))
    }

    pub(super) fn get(&self, target: &str) -> Answer {
        self.raw(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Sends bytes as they are and reads until the server closes.
    fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        for serving in std::mem::take(&mut self.serving) {
            self.runtime.block_on(serving).unwrap();
        }
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
        let head = head.to_ascii_lowercase();
        let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
        Answer { status, head, body }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.map(str::trim)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn records(&self) -> Vec<Value> {
        self.json()["records"].as_array().unwrap().clone()
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
}

//--- a disk that does not answer ------------------------------------------------------------------------------------

/// A store whose disk does not answer while it is told so. What is not in memory is on that disk.
#[derive(Default)]
struct Stalling {
    store: MemoryStore,
    disk: Arc<Disk>,
}

#[derive(Default)]
struct Disk {
    stalls: Mutex<bool>,
    changed: Condvar,
    /// Whether nothing is in memory.
    cold: AtomicBool,
    /// Whether nothing can be written.
    fails: AtomicBool,
    /// Reads that were begun.
    begun: AtomicU64,
    /// Whether it is a store that other ledgers feed, of which a server is lost each time that it was said as of when it is true.
    loses: AtomicBool,
    /// Servers that were lost.
    lost: AtomicU64,
}

impl Disk {
    fn stall(&self, stalls: bool) {
        self.cold.store(true, Ordering::SeqCst);
        *self.stalls.lock().unwrap() = stalls;
        self.changed.notify_all();
    }

    fn read(&self, lost: u64) -> Result<(), StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        drop(self.changed.wait_while(self.stalls.lock().unwrap(), |stalls| *stalls).unwrap());
        match self.lost.load(Ordering::SeqCst) == lost {
            true => Ok(()),
            false => Err(StoreError::Cluster("another server is asked, which may have less".to_owned())),
        }
    }
}

/// One moment of it.
struct Stalled {
    moment: Arc<dyn Snapshot>,
    disk: Arc<Disk>,
    /// Servers that were lost before.
    lost: u64,
}

impl Snapshot for Stalled {
    fn entries<'a>(&'a self, scan: &Scan, after: Option<&Position>) -> Result<Entries<'a>, StoreError> {
        self.disk.read(self.lost)?;
        self.moment.entries(scan, after)
    }

    fn entries_in_memory<'a>(
        &'a self,
        scan: &Scan,
        after: Option<&Position>,
    ) -> Result<Entries<'a>, StoreError> {
        match self.disk.cold.load(Ordering::SeqCst) {
            true => Err(StoreError::NotInMemory),
            false => self.moment.entries(scan, after),
        }
    }

    fn questions<'a>(&'a self, scan: &Scan) -> Result<Questions<'a>, StoreError> {
        self.disk.read(self.lost)?;
        self.moment.questions(scan)
    }

    fn domains<'a>(&'a self, scan: &Scan) -> Result<Domains<'a>, StoreError> {
        self.disk.read(self.lost)?;
        self.moment.domains(scan)
    }

    fn changed_since<'a>(&'a self, mark: Mark) -> Result<Changed<'a>, StoreError> {
        self.disk.read(self.lost)?;
        self.moment.changed_since(mark)
    }
}

impl ReadStore for Stalling {
    fn now(&self) -> Arc<dyn Snapshot> {
        let lost = self.disk.lost.load(Ordering::SeqCst);
        Arc::new(Stalled { moment: self.store.now(), disk: Arc::clone(&self.disk), lost })
    }
    fn fed(&self) -> Option<Arc<Fed>> {
        if !self.disk.loses.load(Ordering::SeqCst) {
            return None;
        }
        self.disk.lost.fetch_add(1, Ordering::SeqCst);
        let sensor = SensorAsOf { sensor: "lan".into(), as_of: 1_767_323_045, is_closed: false };
        Some(Arc::new(Fed { sensors: vec![sensor], lacks: Vec::new() }))
    }
    fn sensor_name(&self, sensor: SensorId) -> Option<Arc<str>> {
        self.store.sensor_name(sensor)
    }
    fn lineage(&self, id: &LineageId) -> Result<Option<Progress>, StoreError> {
        self.store.lineage(id)
    }
    fn lineages(&self) -> Result<Vec<Progress>, StoreError> {
        self.store.lineages()
    }
    fn stats(&self) -> Result<Stats, StoreError> {
        self.store.stats()
    }
    fn expired_before(&self) -> u64 {
        self.store.expired_before()
    }
    fn survey(&self, now: u64, goes_on: &mut dyn FnMut() -> bool) -> Result<Survey, StoreError> {
        self.store.survey(now, goes_on)
    }
    fn failing(&self) -> Option<StoreError> {
        let error = std::io::ErrorKind::StorageFull.into();
        let failed = StoreError::Io { what: "could not use /srv/secret/ledger".to_owned(), error };
        self.disk.fails.load(Ordering::SeqCst).then_some(failed)
    }
    fn copy(&self, take: OnPiece<'_>) -> Result<(), StoreError> {
        self.store.copy(take)
    }
    fn verify(&self, on_progress: OnProgress<'_>) -> Result<Verification, StoreError> {
        self.store.verify(on_progress)
    }
}

impl WriteStore for Stalling {
    fn stage(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.stage(batch)
    }
    fn staged_bytes(&self) -> usize {
        self.store.staged_bytes()
    }
    fn commit(&self) -> Result<Vec<Progress>, StoreError> {
        self.store.commit()
    }
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch)
    }
    fn sensor(&self, name: &str) -> Result<SensorId, StoreError> {
        self.store.sensor(name)
    }
    fn cached(&self) -> Result<Vec<Pair>, StoreError> {
        self.store.cached()
    }
    fn cache(&self, puts: &[Pair], drops: &[Vec<u8>]) -> Result<(), StoreError> {
        self.store.cache(puts, drops)
    }
    fn expire(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        self.store.expire(before, at)
    }
    fn lower_expired(&self, before: u64, at: u64) -> Result<Expired, StoreError> {
        self.store.lower_expired(before, at)
    }
    fn forget(&self, sensor: SensorId, lineage: &LineageId) -> Result<(), StoreError> {
        self.store.forget(sensor, lineage)
    }
    fn rewrite(&self) -> Result<(), StoreError> {
        self.store.rewrite()
    }
    fn reduce(&self, rule: Reduce, at: u64) -> Result<Reduced, StoreError> {
        self.store.reduce(rule, at)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }
}

#[test]
fn lookups_that_wait_for_the_disk_hold_up_nobody_else() {
    let store = Stalling::default();
    let disk = Arc::clone(&store.disk);
    let server = Server::over(Arc::new(store), Config::default());
    server.feed_names(3);
    assert_eq!(server.get("/dns/n00001.example.com").records().len(), 1);
    assert_eq!(disk.begun.load(Ordering::SeqCst), 0, "what is in memory is answered from there");
    // Quick ones may go on within the event loop, until one is not quick any more.
    disk.stall(false);
    for _ in 0..20 {
        assert_eq!(server.get("/dns/n00001.example.com").records().len(), 1);
    }
    let before = disk.begun.load(Ordering::SeqCst);
    disk.stall(true);
    let paths = ["/dns/n00000.example.com", "/api/v1/records?q=192.0.2.10", "/name/n00001.example.com"];
    std::thread::scope(|scope| {
        let server = &server;
        // Twice as many as the event loop has threads.
        let asked: Vec<_> = (0..6).map(|i| scope.spawn(move || server.get(paths[i % 3]).status)).collect();
        let begun = || disk.begun.load(Ordering::SeqCst) - before;
        until("each of them waits for the disk", || (begun() >= 6).then_some(()));
        assert_eq!(server.get("/healthz").status, 200);
        disk.stall(false);
        assert!(asked.into_iter().all(|asked| asked.join().unwrap() == 200));
    });
}

#[test]
fn an_answer_does_not_claim_to_be_as_of_more_than_what_was_read() {
    let store = Stalling::default();
    let disk = Arc::clone(&store.disk);
    let server = Server::over(Arc::new(store), Config::default());
    server.feed_names(3);
    disk.stall(false);
    // A server that is lost between what is said and what is read has another one read, which may have less.
    disk.loses.store(true, Ordering::SeqCst);
    for path in [
        "/dns/n00001.example.com",
        "/api/v1/records?q=n00001.example.com",
        "/api/v1/records?q=192.0.2.10",
        "/api/v1/export",
        "/api/v1/names/n00001.example.com",
        "/api/v1/seen/n00001.example.com",
        "/pdns/query/n00001.example.com",
        "/name/n00001.example.com",
        "/address/192.0.2.10",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
    }
    disk.loses.store(false, Ordering::SeqCst);
    assert_eq!(server.get("/dns/n00001.example.com").status, 200);
}

#[test]
fn a_lookup_that_waits_for_the_disk_has_a_deadline_and_a_place() {
    let store = Stalling::default();
    let disk = Arc::clone(&store.disk);
    let config = Config { request_timeout: Duration::from_millis(50), max_lookups: 1, ..Config::default() };
    let server = Server::over(Arc::new(store), config);
    server.feed_names(1);
    disk.stall(true);
    let late = server.get("/dns/n00000.example.com");
    assert_eq!((late.status, late.json()["error"]["code"].as_str()), (504, Some("timeout")));
    let busy = server.get("/dns/n00000.example.com");
    assert_eq!((busy.status, busy.json()["error"]["code"].as_str()), (429, Some("busy")));
    disk.stall(false);
}

//--- hostile requests -----------------------------------------------------------------------------------------------

#[test]
fn what_is_no_request_for_a_path_is_refused_and_the_connection_ends() {
    let server = Server::sample();
    for line in [
        "CONNECT example.com:443",
        "CONNECT /dns/www.example.com",
        "GET example.com:80",
        "GET www.example.com",
        "OPTIONS *",
        "GET *",
        "POST localhost:1",
    ] {
        // Without `Connection: close`: it ends all the same.
        let answer = server.raw(&format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(answer.status, 400, "{line}: {answer:?}");
        assert!(answer.header("x-content-type-options").is_some(), "{line}");
    }
    // The absolute form is for a path of the server that it names, whatever `Host` says; two of these name none.
    let name = "/dns/www.example.com";
    for (status, target, hosts) in [
        (200, format!("http://localhost{name}"), &["localhost"][..]),
        (200, format!("http://localhost{name}"), &["evil.example"]),
        (403, format!("http://evil.example{name}"), &["localhost"]),
        (403, format!("http://localhost@evil.example{name}"), &["localhost"]),
        (403, name.to_owned(), &["evil.example"]),
        (400, name.to_owned(), &["localhost", "evil.example"]),
        (400, name.to_owned(), &["localhost", "localhost"]),
    ] {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let answer = server.raw(&format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{target}, {hosts}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn one_address_cannot_take_all_connections() {
    let server = Server::with(Config { max_connections_per_address: 3, ..Config::default() });
    let answer_of = |mut stream: TcpStream| {
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // What was refused is closed with a request unread, which resets the connection at times.
        drop(stream.read_to_end(&mut bytes));
        Answer::parse(&bytes).status
    };
    let idle: Vec<_> = (0..3).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let refused = TcpStream::connect(server.address).unwrap();
    let mut said = Vec::new();
    (&refused).read_to_end(&mut said).unwrap();
    let said = Answer::parse(&said);
    assert_eq!((said.status, said.json()["error"]["code"].as_str()), (503, Some("too_many_connections")));
    // Another address of this machine.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    other.connect(&server.address.into()).unwrap();
    assert_eq!(answer_of(other.into()), 200);
    drop(idle);
    until("the first is let in again", || {
        (answer_of(TcpStream::connect(server.address).ok()?) == 200).then_some(())
    });
}

#[test]
fn a_body_that_stalls_is_given_up_and_there_are_few_of_them() {
    let server = Server::with(Config { request_timeout: Duration::from_millis(100), ..Config::default() });
    let [_, admin] = server.with_tokens();
    let begin = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!(
            "POST /control/import?name=dns.log HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n\
             Connection: close\r\nContent-Length: 1000\r\n\r\nthe beginning"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let stalled: Vec<_> = (0..24).map(|_| begin()).collect();
    let statuses: Vec<u16> = stalled
        .into_iter()
        .map(|mut stream| {
            let mut bytes = Vec::new();
            drop(stream.read_to_end(&mut bytes));
            Answer::parse(&bytes).status
        })
        .collect();
    assert!(statuses.iter().all(|status| [408, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&408) && statuses.contains(&429), "{statuses:?}");
    until("there is a place again", || {
        let whole = format!(
            "POST /control/import?name=dns.log HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n\
             Connection: close\r\nContent-Length: 0\r\n\r\n"
        );
        (server.raw(&whole).status == 200).then_some(())
    });
}

/// Sends a request with a body and reads until the server closes.
fn send(server: &Server, path: &str, body: &str) -> Answer {
    let length = body.len();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It may be refused before its end.
    drop(stream.write_all(body.as_bytes()));
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    Answer::parse(&bytes)
}

#[test]
fn text_that_takes_long_to_understand_holds_up_nobody() {
    let server = Server::with(Config { request_timeout: Duration::from_secs(10), ..Config::default() });
    let regexes = "/(a{1,90}){90}/\n".repeat(60_000);
    let form = format!("list={}", regexes.replace('{', "%7B").replace('}', "%7D"));
    let form = &form[..1_000_000];
    let paths =
        ["/api/v1/records?q=/(%5Cw%7B200%7D)%7B40%7D/".to_owned(), format!("/dns/{}", "(".repeat(30_000))];
    let ended = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        let looked = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !ended.load(Ordering::SeqCst) {
                let begun = std::time::Instant::now();
                assert_eq!(server.get("/healthz").status, 200);
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        });
        let asking: Vec<_> = (0..6)
            .map(|i| {
                let (server, regexes, path) = (&server, &regexes, &paths[i % 2]);
                scope.spawn(move || {
                    [
                        send(server, "/list", form).status,
                        send(server, "/api/v1/lookup", regexes).status,
                        server.get(path).status,
                    ]
                })
            })
            .collect();
        for statuses in asking {
            let statuses = statuses.join().unwrap();
            assert!(statuses.iter().all(|status| [200, 400, 429, 504].contains(status)), "{statuses:?}");
        }
        ended.store(true, Ordering::SeqCst);
        looked.join().unwrap()
    });
    // A thread of the loop was held for a minute.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn one_address_cannot_take_all_streams_hunts_and_memory_for_lists() {
    let server = Server::with(Config { request_timeout: Duration::from_millis(500), ..Config::default() });
    let begin = |request: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let status = |stream: &mut TcpStream| {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        std::str::from_utf8(&head[9..]).unwrap().parse::<u16>().unwrap()
    };
    let mut streams: Vec<_> =
        (0..32).map(|_| begin("GET /api/v1/hits/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    let statuses: Vec<u16> = streams.iter_mut().map(status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    // The owner of the ledger is at none.
    let mut owner = UnixStream::connect(server.folder.path().join("control.sock")).unwrap();
    owner.write_all(b"GET /api/v1/hits/stream HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut head = [0; 12];
    owner.read_exact(&mut head).unwrap();
    assert_eq!(&head[9..], b"200");
    drop(streams);
    // Who sends a byte now and then holds a hunt no longer than who sends none.
    let head = "POST /api/v1/hunt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    let mut hunts = [begin(head), begin(head)];
    until("they are given up", || {
        for hunt in &mut hunts {
            // One that is given up takes no more.
            drop(hunt.write_all(b"a"));
        }
        (send(&server, "/api/v1/hunt", "a.example\n").status == 200).then_some(())
    });
    // Lists take memory, those that are still being sent too.
    let server = Server::start();
    let list = "a.example\n".repeat(1_500_000);
    let length = list.len() + 1;
    let mut held = Vec::new();
    for _ in 0..14 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = "POST /api/v1/lookup HTTP/1.1\r\nHost: localhost\r\n";
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
        // One that is refused takes no more.
        drop(stream.write_all(list.as_bytes()));
        stream.set_nonblocking(true).unwrap();
        held.push(stream);
    }
    until("there is no room for one more", || {
        let mut head = [0; 12];
        let answers = held.iter_mut().filter_map(|stream| stream.read(&mut head).is_ok().then_some(()));
        (answers.count() > 0).then_some(())
    });
    drop(held);
    until("there is room again", || {
        (send(&server, "/api/v1/lookup", "a.example\n").status == 200).then_some(())
    });
}

#[test]
fn who_has_no_token_is_not_told_where_the_ledger_lies() {
    let store = Stalling::default();
    let disk = Arc::clone(&store.disk);
    let server = Server::over(Arc::new(store), Config::default());
    assert_eq!(server.get("/readyz").status, 200);
    disk.fails.store(true, Ordering::SeqCst);
    let [read, _] = server.with_tokens();
    let reason = |answer: Answer| {
        assert_eq!(answer.status, 503, "{answer:?}");
        answer.json()["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(server.get("/readyz")), "the ledger cannot be written: no storage space");
    assert!(!reason(server.get_with("/readyz", "Authorization: Bearer no")).contains('/'));
    let token = format!("Authorization: Bearer {read}");
    assert!(reason(server.get_with("/readyz", &token)).contains("/srv/secret/ledger"));
}

#[test]
fn an_answer_that_takes_too_long_is_ended_and_says_so() {
    let server = Server::with(Config { stream_timeout: Duration::ZERO, ..Config::default() });
    server.feed_names(5000);
    let json = server.get("/api/v1/records?q=*&limit=100000").json();
    let first = json["records"].as_array().unwrap().len();
    assert_eq!((json["truncated"].as_bool(), json["ended"].as_str()), (Some(true), Some("time")));
    assert!((1..5000).contains(&first), "{first}");
    let mut found = first;
    let mut next = json["next"].as_str().unwrap().to_owned();
    loop {
        let rest = server.get(&format!("/api/v1/records?q=*&limit=100000&format=ndjson&cursor={next}"));
        let lines: Vec<Value> = rest.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (last, rows) = lines.split_last().unwrap();
        found += rows.len();
        match last["next"].as_str() {
            Some(more) => next = more.to_owned(),
            None => break,
        }
        assert_eq!(last["ended"], "time");
    }
    assert_eq!(found, 5000, "the rest begins where it was ended");
    let framed = server.get("/dnsdb/v2/lookup/rdata/ip/192.0.2.10?limit=0");
    assert!(framed.body.lines().last().unwrap().starts_with("{\"cond\":\"limited\""), "{}", framed.status);
    // A format without words for it is cut: no client takes a part for the whole.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /api/v1/export HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    assert!(!bytes.ends_with(b"0\r\n\r\n"));
}

#[test]
fn what_a_forwarder_is_told_has_no_end_before_all_of_it() {
    let server = Server::with(Config { stream_timeout: Duration::ZERO, ..Config::default() });
    server.feed_names(5000);
    let mut changes = 0;
    let told = ChangeSource::Daemon(server.owner()).changes(Mark(0), None, &mut |_, _| {
        changes += 1;
        Ok(())
    });
    told.unwrap();
    assert_eq!(changes, 10_000, "rows and questions");
}

#[test]
fn who_takes_nothing_of_a_stream_is_let_go_and_who_reads_it_is_not() {
    let server = Server::with(Config { stream_timeout: Duration::from_secs(2), ..Config::default() });
    server.feed_names(5000);
    let stream = "GET /api/v1/hits/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut reader = TcpStream::connect(server.address).unwrap();
    reader.write_all(stream.as_bytes()).unwrap();
    // All of an answer is with the system of the server, or of the client, soon. A place of the server is held by it.
    let idle = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    idle.set_recv_buffer_size(4096).unwrap();
    idle.connect(&server.address.into()).unwrap();
    let mut idle = TcpStream::from(idle);
    idle.write_all(b"GET /api/v1/records?q=*&limit=500 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    idle.write_all(stream.as_bytes()).unwrap();
    let open = || {
        let metrics = server.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("dnsledger_http_connections ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    until("both are there", || (open() >= 3).then_some(()));
    until("who takes nothing is let go", || (open() <= 2).then_some(()));
    let mut head = [0; 15];
    reader.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    reader.set_nonblocking(true).unwrap();
    let mut rest = vec![0; 4096];
    while reader.read(&mut rest).is_ok_and(|read| read > 0) {}
    assert_eq!(reader.read(&mut rest).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it goes on");
}

#[test]
fn a_page_of_another_site_gets_nothing_by_a_browser() {
    let server = Server::sample();
    let asked = |path: &str, header: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n");
        server.raw(&request).status
    };
    assert_eq!(asked("/dns/www.example.com", "Sec-Fetch-Site: cross-site"), 403);
    assert_eq!(asked("/dns/www.example.com", "Sec-Fetch-Site: same-origin"), 200);
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document";
    assert_eq!(asked("/?q=www.example.com", link), 200);
}

//--- small wishes of clients ----------------------------------------------------------------------------------------

#[test]
fn clients_get_what_they_expect() {
    let server = Server::sample();
    let nothing = server.get("/summarize/rrset/name/nothing.example");
    assert_eq!(nothing.status, 404, "{nothing:?}");
    assert_eq!(server.get("/summarize/rrset/name/www.example.com").status, 200);
    assert_eq!(server.get("/dnsdb/v2/summarize/rrset/name/nothing.example").status, 200);
    let slashes = server.get("/lookup/rrset/name/www.example.com?limit=101/&aggr=False//&humantime=false/");
    assert_eq!((slashes.status, slashes.body.lines().count()), (200, 1), "{slashes:?}");
    let ssl = server.get("/v2pssl/query/192.0.2.10");
    assert_eq!((ssl.status, ssl.body.trim()), (200, "{}"));
}

#[test]
fn one_object_tells_all_that_is_known_of_a_value() {
    let server = Server::sample();
    let seen = server.get("/api/v1/seen/www.example.com").json();
    assert_eq!(
        (seen["kind"].as_str(), seen["seen"].as_bool(), seen["count"].as_u64()),
        (Some("name"), Some(true), Some(3))
    );
    assert_eq!((seen["rows_as_rrname"].as_u64(), seen["rows_as_rdata"].as_u64()), (Some(1), Some(0)));
    assert_eq!((seen["asked"].as_bool(), seen["questions"]["count"].as_u64()), (Some(true), Some(3)));
    assert_eq!(seen["time_first"], 1_767_323_045);
    let address = server.get("/api/v1/seen/192.0.2.10").json();
    assert_eq!((address["kind"].as_str(), address["rows_as_rdata"].as_u64()), (Some("address"), Some(1)));
    let target = server.get("/api/v1/seen/cdn.example.net").json();
    assert_eq!((target["rows_as_rrname"].as_u64(), target["rows_as_rdata"].as_u64()), (Some(1), Some(1)));
    for none in ["never.example", "203.0.113.9", "2001:db8::9"] {
        let answer = server.get(&format!("/api/v1/seen/{none}"));
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (404, Some("nothing_found")),
            "{none}"
        );
    }
    assert_eq!(server.get("/api/v1/seen/a..b").status, 400);
}

//--- the recipe's API -----------------------------------------------------------------------------------------------

#[test]
fn the_recipe_answers_byte_for_byte() {
    let server = Server::sample();
    let answer = server.get("/dns/www.example.com");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.body,
        "{\"records\": [{\"query\": \"www.example.com\", \"type\": \"A\", \"answer\": \"192.0.2.10\", \"count\": 3, \
         \"ttl\": 300, \"first\": \"2026-01-02 03:04:05\", \"last\": \"2026-03-04 05:06:07\"}]}\n"
    );
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(answer.header("x-truncated"), None);
}

#[test]
fn the_recipe_finds_what_it_always_found() {
    let server = Server::sample();
    let answers = |target: &str| -> Vec<String> {
        let answer = server.get(target);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        let shown = |r: &Value| format!("{} {}", r["query"].as_str().unwrap(), r["answer"].as_str().unwrap());
        answer.records().iter().map(shown).collect()
    };
    assert_eq!(answers("/dns/nothing.example"), [""; 0]);
    assert_eq!(answers("/dns/192.0.2.10"), ["www.example.com 192.0.2.10"]);
    assert_eq!(answers("//dns/WWW.example.COM./"), ["www.example.com 192.0.2.10"]);
    assert_eq!(
        answers("/dns/cdn.example.net"),
        ["cdn.example.net 192.0.2.77", "blog.example.com cdn.example.net"]
    );
    assert_eq!(answers("/dns/192.0.2.77"), ["blog.example.com 192.0.2.77", "cdn.example.net 192.0.2.77"]);
    assert_eq!(answers("/dns/192.0.2.77?aliases=False"), ["cdn.example.net 192.0.2.77"]);
    assert_eq!(answers("/dns/192.0.2.0/26"), ["www.example.com 192.0.2.10"]);
    assert_eq!(answers("/dns/full/MAIL"), [""; 0]);
    assert_eq!(answers("/dns/full/EXAMPLE.com").len(), 4);
    assert_eq!(answers("/dns/full/spf1%20-all"), ["example.com \"v=spf1 -all\""]);
    assert_eq!(answers("/dns/%22v=spf1%20-all%22"), ["example.com \"v=spf1 -all\""]);
    assert_eq!(answers("/dns/full/%25"), [""; 0]);
    assert_eq!(answers("/dns/*.example.com"), [""; 0]);
    assert_eq!(answers("/dns/a..b"), [""; 0]);
    assert_eq!(answers("/dns/www.example.com?limit=1&swclient=x&version=1").len(), 1);
}

#[test]
fn a_cut_answer_of_the_recipe_says_so() {
    let server = Server::sample();
    let answer = server.get("/dns/full/example?limit=2");
    assert_eq!((answer.records().len(), answer.header("x-truncated")), (2, Some("true")));
    assert_eq!(server.get("/dns/full/example?limit=100").header("x-truncated"), None);
}

#[test]
fn a_long_answer_of_the_recipe_says_before_it_begins_whether_it_is_cut() {
    let server = Server::with(Config { max_limit: 4000, ..Config::default() });
    server.feed_names(5000);
    let cut = server.get("/dns/192.0.2.10");
    assert_eq!((cut.records().len(), cut.header("x-truncated")), (4000, Some("true")));
    assert_eq!(cut.header("transfer-encoding"), Some("chunked"));
    let whole = server.get("/dns/full/n03");
    assert_eq!((whole.records().len(), whole.header("x-truncated")), (1000, None));
}

#[test]
fn hostile_names_stay_text() {
    let server = Server::sample();
    let answer = server.get("/dns/198.51.100.1");
    let shown = answer.records()[0]["query"].as_str().unwrap().to_owned();
    assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown:?}");
    let encoded = percent_encoding::utf8_percent_encode(&shown, percent_encoding::NON_ALPHANUMERIC);
    assert_eq!(server.get(&format!("/dns/{encoded}")).records().len(), 1);
}

//--- the native API -------------------------------------------------------------------------------------------------

#[test]
fn a_native_record_has_every_field() {
    let server = Server::sample();
    let answer = server.get("/api/v1/records?q=www.example.com&sensor=lan");
    let document = answer.json();
    assert_eq!(
        document["records"],
        json!([{
            "rrname": "www.example.com", "rrtype": "A", "rdata": "192.0.2.10", "count": 2,
            "time_first": 1_767_323_045, "time_last": 1_772_600_767, "ttl": 300, "direct": true, "alias": false,
            "sensor": "lan", "days": (1u64 << 61) | 1,
        }])
    );
    assert_eq!(document["truncated"], false);
    assert_eq!(document["ended"], "complete");
    assert_eq!(document["next"], Value::Null);
}

#[test]
fn pages_follow_the_cursor() {
    let server = Server::sample();
    let all = server.get("/api/v1/records?q=*").records();
    assert_eq!(all.len(), 7);
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/v1/records?q=*&limit=2{cursor}")).json();
        paged.extend(page["records"].as_array().unwrap().iter().cloned());
        assert_eq!(page["truncated"], page["next"].is_string());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
}

#[test]
fn formats_are_asked_for_by_parameter_or_header() {
    let server = Server::sample();
    let ndjson = server.get("/api/v1/records?q=example.com&format=ndjson");
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = ndjson.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["rrtype"].as_str(), lines[1]["ended"].as_str()), (Some("TXT"), Some("complete")));
    let accepted = server.raw(
        "GET /api/v1/records?q=example.com HTTP/1.1\r\nHost: [::1]\r\nAccept: text/csv, */*\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(accepted.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(accepted.body.contains("\nexample.com,TXT,\"\"\"v=spf1 -all\"\"\",1,"), "{}", accepted.body);
    assert_eq!(server.get("/api/v1/records?q=example.com&format=xml").status, 400);
}

#[test]
fn a_name_can_be_asked_with_what_points_at_it() {
    let server = Server::sample();
    assert_eq!(server.get("/api/v1/records?q=cdn.example.net").records().len(), 1);
    assert_eq!(server.get("/api/v1/records?q=cdn.example.net&pointing=true").records().len(), 2);
}

#[test]
fn a_scan_stops_at_its_budget_and_says_where_to_go_on() {
    let server = Server::with(Config { scan_rows: 3, ..Config::default() });
    server.feed_names(10);
    let first = server.get("/api/v1/records?q=~n00008").json();
    assert_eq!((first["ended"].as_str(), first["records"].as_array().unwrap().len()), (Some("budget"), 0));
    let mut page = first;
    let mut found = 0;
    while let Some(next) = page["next"].as_str() {
        page = server.get(&format!("/api/v1/records?q=~n00008&cursor={next}")).json();
        found += page["records"].as_array().unwrap().len();
    }
    assert_eq!(found, 1);
}

#[test]
fn an_export_is_the_ledger_line_by_line() {
    let server = Server::sample();
    let export = server.get("/api/v1/export");
    assert_eq!(export.body.lines().count(), 7);
    let first = export.body.lines().next().unwrap();
    assert_eq!(
        first,
        "{\"rrname\":\"example.com\",\"rrtype\":\"TXT\",\"rdata\":[\"\\\"v=spf1 -all\\\"\"],\"time_first\":1767323047,\
         \"time_last\":1767323047,\"count\":1,\"sensor_id\":\"lan\",\"ttl\":60,\"direct\":true,\"alias\":false}"
    );
    let mut over_socket = String::new();
    server.owner().get("/control/export", &[]).unwrap().read_to_string(&mut over_socket).unwrap();
    assert_eq!(over_socket, export.body);
    assert_eq!(server.get("/api/v1/export?format=csv&type=TXT").body.lines().count(), 2);
}

#[test]
fn a_name_tells_how_it_was_asked_for_even_if_it_never_was() {
    let server = Server::start();
    server.feed(
        "lan",
        &[
            (1_767_323_045, "www.example.com", "A", 1, &["192.0.2.10"], 600),
            (1_772_600_767, "www.example.com", "A", 1, &["192.0.2.10"], 300),
            (1_767_323_046, "www.example.com", "AAAA", 28, &["2001:db8::1"], 60),
        ],
    );
    server.feed("dmz", &[(1_767_323_040, "WWW.example.com", "A", 1, &["192.0.2.10"], 600)]);
    let document = server.get("/api/v1/names/www.example.com").json();
    assert_eq!((document["asked"].as_bool(), document["count"].as_u64()), (Some(true), Some(4)));
    assert_eq!(
        (&document["time_first"], &document["time_last"]),
        (&json!(1_767_323_040), &json!(1_772_600_767))
    );
    assert_eq!(
        (&document["outcomes"]["answered"], &document["outcomes"]["nxdomain"]),
        (&json!(4), &json!(0))
    );
    let questions = document["questions"].as_array().unwrap();
    let shown = |q: &Value| format!("{} {} {}", q["qtype"], q["sensor"], q["count"]).replace('"', "");
    let shown: Vec<_> = questions.iter().map(shown).collect();
    assert_eq!(shown, ["A dmz 1", "A lan 2", "AAAA lan 1"]);
    let few = server.get("/api/v1/names/www.example.com/?type=A&sensor=lan").json();
    assert_eq!((few["count"].as_u64(), few["questions"].as_array().unwrap().len()), (Some(2), 1));
    let never = server.get("/api/v1/names/never.example").json();
    assert_eq!((never["asked"].as_bool(), &never["time_first"]), (Some(false), &Value::Null));
    assert_eq!(server.get("/api/v1/names/a..b").status, 400);
    assert_eq!(server.get("/api/v1/names").status, 404);
}

/// What is answered to a body at `/api/v1/lookup`: the lines.
fn bulk(server: &Server, params: &str, body: &str) -> Vec<Value> {
    let answer = post(server, params, body);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-ndjson")),
        "{answer:?}"
    );
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn post(server: &Server, params: &str, body: &str) -> Answer {
    let length = body.len();
    server.raw(&format!(
        "POST /api/v1/lookup{params} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[test]
fn many_queries_are_answered_each_with_its_line() {
    let server = Server::sample();
    let body = "\"www.example.com\"\n{\"q\": \"192.0.2.77\", \"id\": 7}\n\nnothing.example\r\n\"a..b\"\n~scan\n{\"x\":1}\n*.example.net";
    let lines = bulk(&server, "?sensor=lan", body);
    let of = |line: u64| -> Vec<&Value> { lines.iter().filter(|v| v["line"] == line).collect() };
    let www = of(1);
    assert_eq!(www.len(), 2);
    assert_eq!(
        (&www[0]["query"], &www[0]["rdata"], &www[0]["count"]),
        (&json!("www.example.com"), &json!("192.0.2.10"), &json!(2))
    );
    assert_eq!(
        *www[1],
        json!({
            "line": 1, "query": "www.example.com", "asked": "www.example.com", "found": 1, "ended": "complete", "next": null,
            "questions": {
                "count": 2, "time_first": 1_767_323_045, "time_last": 1_772_600_767, "outcomes": {"answered": 2}, "names": 1,
                "complete": true, "filtered": true,
            },
        })
    );
    assert_eq!(of(2).len(), 3, "{lines:?}");
    assert_eq!(
        of(4),
        [&json!({
            "line": 4, "query": "nothing.example", "asked": "nothing.example", "found": 0, "ended": "complete", "next": null,
            "questions": {
                "count": 0, "time_first": null, "time_last": null, "outcomes": {}, "names": 0, "complete": true,
                "filtered": true,
            },
        })]
    );
    for line in 5..=7 {
        assert_eq!((of(line).len(), &of(line)[0]["error"]["code"]), (1, &json!("bad_query")), "{lines:?}");
    }
    assert_eq!(of(8).len(), 2);
    let sum = lines.last().unwrap();
    assert_eq!((&sum["queries"], &sum["found"], &sum["errors"]), (&json!(7), &json!(4), &json!(3)));
}

#[test]
fn many_queries_have_the_answers_that_they_have_alone_over_many_chunks() {
    let server = Server::start();
    server.feed_names(1500);
    let names: Vec<String> = (0..1500).rev().map(|i| format!("n{i:05}.example.com")).collect();
    let lines = bulk(&server, "", &names.join("\n"));
    assert_eq!(lines.len(), 3001);
    for pair in lines[..3000].chunks(2) {
        let line = pair[0]["line"].as_u64().unwrap() as usize;
        assert_eq!(pair[0]["rrname"], names[line - 1].as_str());
        assert_eq!((&pair[1]["line"], &pair[1]["found"]), (&pair[0]["line"], &json!(1)));
    }
    assert_eq!(lines[3000]["found"], 1500);
    let limited = bulk(&server, "?limit=2", "192.0.2.10");
    assert_eq!((limited.len(), &limited[2]["ended"]), (4, &json!("limit")));
    let next = limited[2]["next"].as_str().unwrap();
    assert_eq!(server.get(&format!("/api/v1/records?q=192.0.2.10&cursor={next}")).records().len(), 1000);
}

#[test]
fn a_body_that_is_no_list_of_queries_is_refused() {
    // However slow the machine is.
    let server = Server::with(Config { request_timeout: Duration::from_secs(600), ..Config::default() });
    let code = |answer: Answer| (answer.status, answer.json()["error"]["code"].as_str().unwrap().to_owned());
    assert_eq!(code(post(&server, "", "\n \n")), (400, "bad_body".to_owned()));
    assert_eq!(code(post(&server, "", &"a..b\n".repeat(1001))), (400, "bad_body".to_owned()));
    assert_eq!(code(post(&server, "?type=BOGUS", "a")), (400, "bad_query".to_owned()));
    assert_eq!(code(post(&server, "", &"a\n".repeat(100_001))), (413, "too_large".to_owned()));
    assert_eq!(code(post(&server, "", &"a".repeat(40_000))), (413, "too_large".to_owned()));
    assert_eq!(bulk(&server, "", &"a\n".repeat(100_000)).len(), 100_001);
    let get = server.get("/api/v1/lookup");
    assert_eq!((get.status, get.header("allow")), (405, Some("post")));
}

//--- OpenAPI --------------------------------------------------------------------------------------------------------

fn documented(server: &Server) -> Value {
    let answer = server.get("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// Follows a reference within the document.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Documented paths that look for what points at the example, or for certificates, and find nothing.
const NOTHING_POINTS: &[&str] = &[
    "/dnsdb/v2/glob/rdata",
    "/dnsdb/v2/lookup/rdata/name",
    "/dnsdb/v2/regex/rdata",
    "/dnsdb/v2/summarize/rdata/name",
    "/fquery",
    "/lookup/rdata/name",
    "/summarize/rdata/name",
    "/v2pssl",
];

#[test]
fn every_documented_path_answers_as_it_is_documented() {
    let server = Server::sample();
    let document = documented(&server);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    // A stream of events has no end: `hits.rs` reads it.
    let paths = document["paths"].as_object().unwrap();
    for (path, operations) in paths.iter().filter(|(path, _)| !path.ends_with("/stream")) {
        for (method, operation) in operations.as_object().unwrap() {
            let mut target = path.clone();
            let mut query = String::new();
            for parameter in operation["parameters"].as_array().unwrap() {
                let parameter = resolved(&document, parameter);
                let name = parameter["name"].as_str().unwrap();
                if parameter["required"] == true {
                    let example = parameter["example"]
                        .as_str()
                        .unwrap_or_else(|| panic!("{path}: no example of {name}"));
                    match parameter["in"].as_str() {
                        Some("path") => target = target.replace(&format!("{{{name}}}"), example),
                        _ => query.push_str(&format!("?{name}={example}")),
                    }
                }
            }
            assert!(!target.contains('{'), "{path}: a part of the path is not a parameter");
            let answer = match method.as_str() {
                "get" => server.get(&format!("{target}{query}")),
                "post" if path.ends_with("/acknowledge") => server.raw(&format!(
                    "POST {target}{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )),
                "post" => post(&server, &query, "www.example.com"),
                _ => panic!("{path}: {method}"),
            };
            // Who asked is nobody's to know who has no token for that, and neither does he acknowledge a hit.
            let needs_scope = ["/api/v1/evidence", "/api/v1/hits/acknowledge"].contains(&path.as_str());
            // Nothing points at the name that is the example.
            let finds_nothing = NOTHING_POINTS.iter().any(|start| path.starts_with(start));
            // Version 1 of the DNSDB API answers 404 where nothing is found.
            let is_version_1 = path.starts_with("/lookup") || path.starts_with("/summarize");
            let expected = match (needs_scope, finds_nothing && is_version_1) {
                (true, _) => 403,
                (_, true) => 404,
                _ => 200,
            };
            assert_eq!(answer.status, expected, "{target}: {answer:?}");
            if answer.status == 200 && path.contains('{') && method == "get" {
                let found = ["time_first", "first_seen", "First", "\"count\": 3"];
                let is_found = found.iter().any(|word| answer.body.contains(word));
                assert_eq!(is_found, !finds_nothing, "{target}: {answer:?}");
            }
            let response = &operation["responses"][answer.status.to_string()];
            let content = resolved(&document, response)["content"].as_object().unwrap();
            let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
            assert!(content.contains_key(kind), "{target}: {kind} is not documented");
            let wrong = server.raw(&format!(
                "PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ));
            assert_eq!(wrong.status, 405, "{target}: {wrong:?}");
            assert!(operation["responses"].get("405").is_some(), "{path}");
        }
    }
}

#[test]
fn every_route_is_documented() {
    let document = documented(&Server::start());
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    // What the server's own table of routes names, but for what its owner reaches and what is for people.
    let others = ["control", "import", "export", "name", "address", "list", "status", "assets"];
    let routes = include_str!("../../src/http/routes.rs");
    let mut named = 0;
    for part in routes.split("warp::path(\"").skip(1) {
        let segment = part.split('"').next().unwrap();
        if !others.contains(&segment) {
            named += 1;
            let known = paths.iter().any(|path| path.split('/').any(|part| part == segment));
            assert!(known, "nothing is documented below {segment}");
        }
    }
    let native = routes.split("async fn api(").nth(1).unwrap().split("\n}").next().unwrap();
    for part in native.split("[\"").skip(1) {
        let segment = part.split('"').next().unwrap();
        named += 1;
        let known = paths.iter().any(|path| path.split('/').nth(3) == Some(segment));
        assert!(known, "/api/v1/{segment} is not documented");
    }
    assert!(named >= 10, "the table of routes was not understood");
}

//--- errors ---------------------------------------------------------------------------------------------------------

#[test]
fn errors_have_one_form_and_point_at_the_character() {
    let server = Server::sample();
    for (target, status, code, says) in [
        ("/api/v1/records", 400, "bad_query", "q is missing"),
        ("/api/v1/records?q=ex%20mple", 400, "bad_query", "character 3 of \"ex mple\""),
        ("/api/v1/records?q=a&type=BOGUS", 400, "bad_query", "not a record type"),
        ("/api/v1/records?q=a&cursor=zzz", 400, "bad_cursor", "not a cursor"),
        ("/api/v1/records?q=a&last_after=soon", 400, "bad_query", "not a time"),
        ("/api/v1/records?q=%ff", 400, "bad_encoding", "UTF-8"),
        ("/dns/192.0.2.0/33", 400, "bad_query", "the prefix length is 0 to 32"),
        ("/dns/192.0.2.0/x", 404, "not_found", ""),
        ("/dns/", 404, "not_found", ""),
        ("/dns/a/b/c", 404, "not_found", ""),
        ("/dns/../etc/passwd", 404, "not_found", ""),
        ("/nothing", 404, "not_found", ""),
        ("/api/v1/records/x", 404, "not_found", ""),
        ("/api/v1/status/x", 404, "not_found", ""),
        ("/control/export", 404, "not_found", ""),
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, status, "{target} {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{target}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{target}");
        assert!(error["message"].as_str().unwrap().contains(says), "{target} {error}");
        assert!(answer.body.ends_with('\n'));
    }
}

#[test]
fn another_method_is_refused_with_those_that_are_allowed() {
    let server = Server::sample();
    let post = |target: &str| {
        server.raw(&format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    };
    for target in ["/dns/www.example.com", "/api/v1/records?q=a", "/api/v1/status", "/healthz", "/readyz"] {
        let answer = post(target);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("get, head")), "{target}");
    }
    assert_eq!(post("/control/import?name=x").status, 404);
}

#[test]
fn head_has_the_head_and_no_body() {
    let server = Server::sample();
    let answer =
        server.raw("HEAD /dns/www.example.com HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(answer.header("content-length").is_some());
}

/// The head and the body of an answer as they came. By HTTP/1.0, which knows no chunks.
fn as_it_came(server: &Server, target: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(stream, "GET {target} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    (head, bytes[end + 4..].to_vec())
}

#[test]
fn an_answer_is_compressed_when_that_is_asked_and_worth_it() {
    let server = Server::sample();
    let gzip = "Accept-Encoding: gzip\r\n";
    for target in ["/api/v1/export", "/openapi.json", "/?q=*"] {
        let (head, plain) = as_it_came(&server, target, "");
        assert!(plain.len() > 1024 && !head.contains("content-encoding"), "{target}: {head}");
        let (head, packed) = as_it_came(&server, target, gzip);
        assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
        assert!(packed.len() < plain.len() / 2, "{target}: {} of {} bytes", packed.len(), plain.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain || target.starts_with("/?"), "{target} is another one compressed");
    }
    for (target, why) in [("/healthz", "is small"), ("/assets/page.css", "has a tag of its bytes")] {
        let (head, _) = as_it_came(&server, target, gzip);
        assert!(!head.contains("content-encoding"), "{target} {why}: {head}");
    }
    let head = server.raw("HEAD /openapi.json HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    assert!(head.header("content-encoding").is_none() && head.body.is_empty());
}

#[test]
fn pages_of_other_origins_may_not_read_anything_unless_they_are_named() {
    let server = Server::sample();
    for request in ["GET", "OPTIONS"] {
        let answer = server.raw(&format!(
            "{request} /dns/www.example.com HTTP/1.1\r\nHost: localhost\r\nOrigin: https://other.example\r\n\
             Access-Control-Request-Method: GET\r\nConnection: close\r\n\r\n"
        ));
        assert!(!answer.head.to_ascii_lowercase().contains("access-control-"), "{request}: {}", answer.head);
    }
}

#[test]
fn pages_of_the_origins_that_are_named_may_read_and_no_others() {
    let cors_origins = vec!["https://dash.example".to_owned(), "http://127.0.0.1:3000".to_owned()];
    let server = Server::with(Config { cors_origins, ..Config::default() });
    let [read, _] = server.with_tokens();
    let asked = |method: &str, origin: &str, more: &str| {
        server.raw(&format!(
            "{method} /api/v1/records?q=www.example.com HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n{more}\
             Connection: close\r\n\r\n"
        ))
    };
    let preflight = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    for origin in ["https://dash.example", "http://127.0.0.1:3000"] {
        let may = asked("OPTIONS", origin, preflight);
        assert_eq!((may.status, may.header("access-control-allow-origin")), (204, Some(origin)));
        assert!(may.header("access-control-allow-headers").unwrap().contains("authorization"));
        assert!(may.header("access-control-allow-methods").unwrap().contains("post"));
        let read = asked("GET", origin, &format!("Authorization: Bearer {read}\r\n"));
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some(origin)));
        assert_eq!(read.header("vary"), Some("origin"));
        assert!(read.header("access-control-expose-headers").unwrap().contains("x-truncated"));
        // It may read the error, and gets no more than that.
        let refused = asked("GET", origin, "");
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(origin)));
    }
    for origin in
        ["https://other.example", "https://dash.example.evil.example", "http://dash.example", "null"]
    {
        let may = asked("OPTIONS", origin, preflight);
        assert!(may.status == 401 && !may.head.contains("access-control-"), "{origin}: {}", may.head);
        let read = asked("GET", origin, &format!("Authorization: Bearer {read}\r\n"));
        assert!(read.status == 200 && !read.head.contains("access-control-"), "{origin}: {}", read.head);
        assert_eq!(read.header("vary"), Some("origin"), "a cache must not give this to the others");
    }
    // An OPTIONS that asks for nothing is no preflight.
    assert_eq!(asked("OPTIONS", "https://dash.example", "").status, 401);
}

#[test]
fn only_loopback_names_are_answered_and_every_answer_is_guarded() {
    let server = Server::sample();
    let rebound = server.raw("GET /dns/a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!((rebound.status, rebound.json()["error"]["code"].as_str()), (403, Some("bad_host")));
    for answer in [rebound, server.get("/dns/a"), server.get("/nothing")] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
}

#[test]
fn a_proxy_passes_on_its_own_host_name_and_says_that_it_has_tls() {
    let allowed_hosts = vec!["ledger.example".to_owned()];
    let trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    let trusting = Config { allowed_hosts: allowed_hosts.clone(), trusted_proxies, ..Config::default() };
    for (config, scheme) in [(trusting, "https"), (Config { allowed_hosts, ..Config::default() }, "http")] {
        let server = Server::with(config);
        server.feed("lan", &[(1_767_323_045, "www.example.com", "A", 1, &["192.0.2.10"], 600)]);
        let asked = |host: &str| {
            server.raw(&format!(
                "GET /pdns/query/www.example.com HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
            ))
        };
        let answer = asked("ledger.example");
        let origin = format!("\"origin\":\"{scheme}://ledger.example/\"");
        assert!(answer.status == 200 && answer.body.contains(&origin), "{}", answer.body);
        assert_eq!(asked("localhost").status, 200);
        let other = asked("evil.example");
        assert!(other.status == 403 && other.body.contains("http.allowed_hosts"), "{}", other.body);
    }
}

#[test]
fn a_browser_gets_a_page_where_there_is_nothing_and_programs_get_json() {
    let server = Server::sample();
    let asked = |path: &str, accept: &str, host: &str| {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        let answer = server.raw(&head);
        let kind = answer.header("content-type").unwrap().to_owned();
        (answer.status, kind, answer.body)
    };
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for path in ["/nothing", "/nothing/at/all?q=1", "/api/v1/nothing", "/dns", "/ui/", "/favicon.ico"] {
        let (status, kind, page) = asked(path, browser, "localhost");
        assert_eq!((status, kind.as_str()), (404, "text/html; charset=utf-8"), "{path}");
        assert!(page.contains("There is nothing here") && page.contains("id=\"q\""), "{path}: {page}");
        for program in ["*/*", "application/json", "application/json, text/html2"] {
            let (status, kind, json) = asked(path, program, "localhost");
            assert_eq!((status, kind.as_str()), (404, "application/json"), "{path}");
            assert!(json.contains("\"not_found\""), "{path}: {json}");
        }
    }
    // Where an API says that nothing is known, that is an answer and no missing page.
    assert_eq!(asked("/api/v1/seen/nothing.example", browser, "localhost").1, "application/json");
    let (status, kind, page) = asked("/", browser, "evil.example");
    assert!(status == 403 && kind.starts_with("text/html") && page.contains("http.allowed_hosts"), "{page}");
}

#[test]
fn what_a_browser_keeps_is_named_after_the_query() {
    let server = Server::sample();
    let name = |path: &str| server.get(path).header("content-disposition").unwrap_or_default().to_owned();
    for (path, disposition) in [
        ("/api/v1/export", "attachment; filename=\"dnsledger.jsonl\""),
        ("/api/v1/export?q=www.example.com", "attachment; filename=\"dnsledger-www.example.com.jsonl\""),
        (
            "/api/v1/export?q=*.example.com&format=csv",
            "attachment; filename=\"dnsledger-any.example.com.csv\"",
        ),
        (
            "/api/v1/records?q=hxxp://www[.]example[.]com/x&format=csv",
            "attachment; filename=\"dnsledger-www.example.com.csv\"",
        ),
        (
            "/api/v1/records?q=192.0.2.0/24&sort=-last&limit=5",
            "inline; filename=\"dnsledger-192.0.2.0_24.json\"",
        ),
        ("/api/v1/records?q=~%22%0d%0aX:y", "inline; filename=\"dnsledger-____x_y.json\""),
    ] {
        assert_eq!(name(path), disposition, "{path}");
    }
}

#[test]
fn without_a_place_the_client_is_told_to_come_back() {
    let server = Server::with(Config { max_scans: 0, ..Config::default() });
    let answer = server.get("/dns/full/x");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert_eq!(server.get("/dns/x.example").status, 200, "an exact lookup needs no place among the scans");
}

#[test]
fn clients_of_dnsdb_are_told_of_bounds_in_their_words() {
    let server = Server::with(Config { max_scans: 0, ..Config::default() });
    // To them 429 is a quota that is used up, and 503 too much at once.
    let busy = server.get("/dnsdb/v2/regex/rrnames/x");
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
    assert!(busy.body.starts_with("Error: too many lookups at once"), "{}", busy.body);

    let server = Server::with(Config { scan_rows: 3, ..Config::default() });
    server.feed_names(10);
    for path in ["lookup/rrset/name/n00008.*", "regex/rrnames/n00008", "summarize/rrset/name/n00008.*"] {
        let answer = server.get(&format!("/dnsdb/v2/{path}"));
        let last: Value = serde_json::from_str(answer.body.lines().last().unwrap()).unwrap();
        assert_eq!((answer.status, last["cond"].as_str()), (200, Some("limited")), "{path}: {}", answer.body);
        assert!(last["msg"].as_str().unwrap().contains("before the end of the ledger"), "{last}");
    }
    // Where the format has no words for it, it is no empty answer.
    for path in ["/lookup/rrset/name/n00008.*", "/summarize/rrset/name/n00008.*", "/pdns/query/n00008.*"] {
        assert_eq!(server.get(path).status, 504, "{path}");
    }
}

#[test]
fn without_time_the_answer_is_an_error() {
    let server = Server::with(Config { request_timeout: Duration::ZERO, ..Config::default() });
    server.feed_names(50_000);
    let answer = server.get("/api/v1/records?q=~x");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (504, Some("timeout")));
}

//--- tokens ---------------------------------------------------------------------------------------------------------

#[test]
fn with_tokens_nothing_but_health_answers_without_one() {
    let server = Server::sample();
    let [read, _] = server.with_tokens();
    for target in
        ["/dns/www.example.com", "/api/v1/records?q=*", "/api/v1/status", "/api/v1/export", "/", "/x"]
    {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (401, Some("unauthorized")));
        assert!(answer.head.contains("www-authenticate: basic realm="), "{target}");
        assert!(answer.head.contains("cache-control: no-store"), "{target}");
        assert_eq!(server.get_with(target, "X-API-Key: dnl_wrong").status, 401, "{target}");
    }
    assert_eq!(server.get("/dnsdb/v2/lookup/rrset/name/a").status, 403, "as its clients expect it");
    for target in ["/healthz", "/readyz"] {
        assert_eq!(server.get(target).status, 200, "{target}");
    }
    let bearer = format!("Authorization: Bearer {read}");
    assert_eq!(server.get_with("/dns/www.example.com", &bearer).records().len(), 1);
    assert_eq!(server.get_with("/dns/www.example.com", &format!("X-Api-Key: {read}")).records().len(), 1);
    let client = Client::of_url(&format!("http://{}", server.address), Some(&read), None).unwrap();
    assert!(client.get("/api/v1/status", &[]).is_ok());
    assert!(server.owner().get("/api/v1/status", &[]).is_ok(), "the owner needs none");
}

#[test]
fn no_path_in_any_method_gives_anything_to_who_has_no_good_token() {
    let server = Server::with(Config { rate_limit: 0, ..Config::default() });
    server.feed("lan", &[(1_767_323_045, "www.example.com", "A", 1, &["192.0.2.10"], 600)]);
    let documented: Vec<String> =
        documented(&server).as_object().unwrap()["paths"].as_object().unwrap().keys().cloned().collect();
    let [read, _] = server.with_tokens();
    let others = [
        "/",
        "/status",
        "/name/a",
        "/address/192.0.2.1",
        "/assets/page.css",
        "/control/import",
        "/control/flush",
        "/control/export",
        "/control/verify",
        "/control/snapshot",
        "/control/expire",
        "/nothing",
        "//api//v1//status",
        "/api/v1/../../control/flush",
        "/%2e%2e/etc/passwd",
    ];
    let targets = documented.iter().map(String::as_str).chain(others);
    let mut asked = 0;
    for target in targets {
        let is_open = ["/healthz", "/readyz"].contains(&target);
        let target = target.replace(['{', '}'], "");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            for token in ["", "X-API-Key: dnl_0000\r\n", &format!("X-API-Key: {read}x\r\n")] {
                let answer = server.raw(&format!(
                    "{method} {target} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n"
                ));
                let allowed: &[u16] = if is_open { &[200, 405] } else { &[401, 403] };
                assert!(allowed.contains(&answer.status), "{method} {target} {token:?}: {answer:?}");
                for secret in ["192.0.2.", "example.com", "dnl_", read.as_str()] {
                    assert!(!answer.body.contains(secret), "{method} {target}: {answer:?}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 800, "{asked}");
}

#[test]
fn a_token_to_read_changes_nothing() {
    let server = Server::start();
    let [read, admin] = server.with_tokens();
    let flush = |token: &str| {
        server.raw(&format!(
            "POST /control/flush HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        ))
    };
    let refused = flush(&read);
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(flush(&admin).status, 200);
    assert_eq!(flush("").status, 401);
}

#[test]
fn who_asks_too_often_waits() {
    let server = Server::with(Config { rate_limit: 1, ..Config::default() });
    let [read, admin] = server.with_tokens();
    let ask = |token: &str| server.get_with("/dns/a.example", &format!("X-API-Key: {token}"));
    let answers: Vec<Answer> = (0..12).map(|_| ask(&read)).collect();
    let late = answers.iter().find(|answer| answer.status == 429).expect("a limit");
    assert!(late.header("retry-after").is_some() && late.json()["error"]["code"] == "rate_limited");
    assert_eq!(ask(&admin).status, 200, "another token has an allowance of its own");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn the_port_speaks_tls_once_there_is_a_certificate() {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
    let server = Server::sample();
    let signed = rcgen::generate_simple_self_signed(["ledger.example".to_owned()]).unwrap();
    let (cert, key) = (server.folder.path().join("cert.pem"), server.folder.path().join("key.pem"));
    std::fs::write(&cert, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    server.state.set_tls(tls::load(&cert, &key).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("ledger.example").unwrap();
    let connection = tokio_rustls::rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut stream =
        tokio_rustls::rustls::StreamOwned::new(connection, TcpStream::connect(server.address).unwrap());
    stream
        .write_all(b"GET /dns/www.example.com HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(Answer::parse(&bytes).records().len(), 1);
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    // What comes back is an alert of TLS, or nothing.
    let _ = plain.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP/"));
    assert!(server.owner().get("/healthz", &[]).is_ok(), "the control socket stays plain");
}

#[test]
fn the_client_trusts_the_certificates_that_it_is_told_of_and_no_other() {
    let server = Server::sample();
    let signed = ["127.0.0.1", "127.0.0.2"]
        .map(|address| rcgen::generate_simple_self_signed([address.to_owned()]).unwrap());
    let path = |name: &str| server.folder.path().join(name);
    for (signed, name) in signed.iter().zip(["good", "other"]) {
        std::fs::write(path(&format!("{name}.pem")), signed.cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), signed.signing_key.serialize_pem()).unwrap();
    }
    server.state.set_tls(tls::load(&path("good.pem"), &path("good.key")).unwrap());
    let url = format!("https://{}", server.address);
    let get = |url: &str, ca: Option<&std::path::Path>| {
        let mut answer = Client::of_url(url, None, ca)?.get("/dns/www.example.com", &[])?;
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        Ok::<_, ClientError>(text)
    };
    assert!(get(&url, Some(&path("good.pem"))).unwrap().contains("www.example.com"));
    // An address alone is asked over TLS where a certificate is named.
    let address = server.address.to_string();
    assert!(get(&address, Some(&path("good.pem"))).unwrap().contains("www.example.com"));
    let plain = format!("http://{}", server.address);
    assert!(matches!(get(&plain, Some(&path("good.pem"))), Err(ClientError::BadUrl { .. })));
    let error = get(&plain, None).unwrap_err();
    assert!(
        matches!(error, ClientError::NoHttp { .. }) && error.hint().unwrap().contains("https://"),
        "{error}"
    );
    // Another certificate, and that of another host.
    let error = get(&url, Some(&path("other.pem"))).unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }) && error.hint().unwrap().contains("--ca"),
        "{error}"
    );
    server.state.set_tls(tls::load(&path("other.pem"), &path("other.key")).unwrap());
    let error = get(&url, Some(&path("other.pem"))).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    // As `openssl req -x509` makes them: of an authority, and without a name; named by its very certificate it is known.
    let mut made = rcgen::CertificateParams::new([]).unwrap();
    made.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(path("made.pem"), made.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(path("made.key"), key.serialize_pem()).unwrap();
    server.state.set_tls(tls::load(&path("made.pem"), &path("made.key")).unwrap());
    assert!(get(&url, Some(&path("made.pem"))).unwrap().contains("www.example.com"));
    assert!(get(&url, Some(&path("good.pem"))).unwrap_err().to_string().contains("certificate"));
    // A file that holds none.
    for (name, says) in [("absent.pem", "it is not there"), ("good.key", "no certificate in it")] {
        let error = get(&url, Some(&path(name))).unwrap_err();
        assert!(matches!(error, ClientError::Trust(_)) && error.to_string().contains(says), "{error}");
        assert!(error.hint().unwrap().contains("--ca"));
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = || rcgen::generate_simple_self_signed(["ledger.example".to_owned()]).unwrap();
    let says = |text: &str| {
        let Err(error) = tls::load(&cert, &key) else { panic!("{text}") };
        assert!(error.to_string().contains(text), "{error}");
    };
    says("cert.pem: it is not there");
    std::fs::write(&cert, "nothing").unwrap();
    says("cert.pem: there is no certificate");
    std::fs::write(&cert, pair().cert.pem()).unwrap();
    std::fs::write(&key, "nothing").unwrap();
    says("key.pem: there is nothing of this kind");
    std::fs::write(&key, pair().signing_key.serialize_pem()).unwrap();
    says("key.pem: ");
}

//--- connections ----------------------------------------------------------------------------------------------------

#[test]
fn a_client_that_never_ends_its_head_is_let_go() {
    let server = Server::with(Config { header_timeout: Duration::from_millis(50), ..Config::default() });
    let mut slow = TcpStream::connect(server.address).unwrap();
    // On a busy machine it may be let go before it has written.
    let _ = slow.write_all(b"GET /dns/a HTTP/1.1\r\nHost: loc");
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    let server = Server::with(Config { max_connections: 1, ..Config::default() });
    let first = TcpStream::connect(server.address).unwrap();
    let mut second = TcpStream::connect(server.address).unwrap();
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut bytes = Vec::new();
    assert!(second.read_to_end(&mut bytes).is_err(), "answered beyond the cap");
    drop(first);
    second.set_read_timeout(None).unwrap();
    second.read_to_end(&mut bytes).unwrap();
    assert_eq!(Answer::parse(&bytes).status, 200);
}

#[test]
fn heads_of_any_size_are_survived() {
    let server = Server::sample();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let long = format!("GET /dns/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(8 << 20));
    // The server may close before all is sent.
    let _ = stream.write_all(long.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    if !bytes.is_empty() {
        assert!(Answer::parse(&bytes).status >= 400);
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_client_that_reads_nothing_loses_its_walk_and_holds_up_nobody() {
    let server = Server::with(Config { request_timeout: Duration::from_millis(500), ..Config::default() });
    server.feed_names(5000); // far more than the buffers of a socket of this kind hold
    let mut deaf = UnixStream::connect(server.folder.path().join("control.sock")).unwrap();
    deaf.write_all(b"GET /control/export HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(server.get("/dns/n00001.example.com").records().len(), 1);
    // Once the server has hung up, nothing more can be sent to it.
    while deaf.write_all(b"x").is_ok() {
        assert_eq!(server.get("/healthz").status, 200);
    }
    let mut bytes = Vec::new();
    let _ = deaf.read_to_end(&mut bytes);
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "a cut answer must not look whole");
}

#[test]
fn clients_that_never_read_or_never_end_hold_up_nobody() {
    let server = Server::with(Config { max_connections: 300, ..Config::default() });
    server.feed_names(5000);
    let deaf: Vec<TcpStream> = (0..200)
        .map(|i| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let asked: &[u8] = match i % 4 {
                0 => b"",
                1 => b"GET /dns/half HTTP/1.1\r\nHo",
                2 => b"POST /api/v1/lookup HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nn00",
                _ => b"GET /api/v1/export HTTP/1.1\r\nHost: localhost\r\n\r\n",
            };
            stream.write_all(asked).unwrap();
            stream
        })
        .collect();
    for i in 0..50 {
        assert_eq!(server.get(&format!("/dns/n{i:05}.example.com")).records().len(), 1);
    }
    drop(deaf);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn paths_of_any_kind_are_answered_and_lead_to_no_file() {
    let server = Server::sample();
    for target in [
        "/../../etc/passwd",
        "/dns/..%2f..%2fetc%2fpasswd",
        "/dns/%2e%2e/%2e%2e/etc/passwd",
        "/%2e%2e%2fetc/passwd",
        "/dns/%00",
        "/dns/%",
        "/dns/%zz%1",
        "/dns/%25%32%35",
        "/dns/%c0%ae%c0%ae/",
        "/dns/%ff%fe",
        "/api/v1/records?q=%",
        "/api/v1/records?q=%00",
        "/api/v1/records?q=a&q=%f0%28%8c%bc",
        "/api/v1/records?%ff=%ff&q=a",
        "/api/v1/names/%2F",
        "/dnsdb/v2/lookup/rrset/name/%2e%2e%2f",
        "/////////",
        "/dns/a%0d%0aX-Injected:%201",
    ] {
        let answer = server.get(target);
        assert!([200, 400, 404].contains(&answer.status), "{target}: {answer:?}");
        assert!(
            !answer.head.contains("x-injected") && !answer.body.contains("root:"),
            "{target}: {answer:?}"
        );
    }
    let many = "&q=x".repeat(5000);
    assert_eq!(server.get(&format!("/api/v1/records?q=a{many}")).status, 400);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn an_answer_that_breaks_off_is_an_error_to_our_own_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let half = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
    });
    let mut answer = Client::of_url(&url, None, None).unwrap().get("/x", &[]).unwrap();
    let mut text = String::new();
    assert!(answer.read_to_string(&mut text).is_err());
    half.join().unwrap();
}

//--- machines -------------------------------------------------------------------------------------------------------

#[test]
fn status_counts_every_line_and_health_is_plain() {
    let server = Server::sample();
    let status = server.get("/api/v1/status").json();
    assert_eq!(status["totals"]["lines_read"], 6);
    assert_eq!(status["totals"]["counted"], 6);
    assert!(status["totals"]["skipped"]["no_answer"].is_u64());
    assert!(status["caught_up"].is_boolean());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["store"]["rows"].is_u64() && status["format"].is_u64());
    assert_eq!(server.get("/healthz").json()["status"], "ok");
    assert_eq!(server.get("/readyz/").json()["status"], "ok");
}

//--- the control socket ---------------------------------------------------------------------------------------------

#[test]
fn a_log_is_imported_over_the_socket_once() {
    let server = Server::start();
    let log = "{\"ts\":1767323045.5,\"uid\":\"C1\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"a.example\",\
               \"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\"answers\":[\"192.0.2.1\"],\"TTLs\":[60.0]}\n"
        .repeat(3);
    let import = || -> Value {
        let body: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(log.clone()));
        let params = [("name", "/var/log/dns ü.log"), ("sensor", "dmz")];
        let mut answer = server.owner().post("/control/import", &params, Some(body)).unwrap();
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(import()["counted"], 3);
    let again = import();
    assert_eq!((again["counted"].as_u64(), again["already"].as_u64()), (Some(0), Some(1)));
    let row = &server.get("/api/v1/records?q=a.example").records()[0];
    assert_eq!((row["count"].as_u64(), row["sensor"].as_str()), (Some(3), Some("dmz")));
    server.owner().post("/control/flush", &[], None).unwrap();
    match server.owner().get("/control/flush", &[]) {
        Err(ClientError::Refused { status, .. }) => assert_eq!(status, 405),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn the_socket_needs_no_host() {
    let server = Server::sample();
    let mut stream = UnixStream::connect(server.folder.path().join("control.sock")).unwrap();
    stream.write_all(b"GET /dns/www.example.com HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(Answer::parse(&bytes).records().len(), 1);
}

#[test]
fn our_own_client_reads_what_the_server_writes() {
    let server = Server::sample();
    let params = [("q", "*.example.com"), ("format", "ndjson"), ("last_after", "2026-01-01T00:00:00+00:00")];
    let mut text = String::new();
    server.client().get("/api/v1/records", &params).unwrap().read_to_string(&mut text).unwrap();
    let rows: Vec<Row> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let search = Search::new(Query::parse("*.example.com").unwrap());
    let mut walk = Walk::start(&server.ledger.now(), &search, Limits::NONE, None).unwrap();
    let mut expected = Vec::new();
    walk.advance(Slice { examined: 100 }, |found| {
        expected.push(Row::from(found));
        true
    })
    .unwrap();
    assert_eq!(rows, expected);
    match server.client().get("/api/v1/records", &[("q", "a b")]) {
        Err(error @ ClientError::Refused { .. }) => assert!(error.hint().is_some()),
        other => panic!("{:?}", other.map(|_| ())),
    }
}
