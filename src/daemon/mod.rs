//! The daemon: everything put together, started in order and stopped in order.
//!
//! Start: the port, so that a taken one is known at once; the ledger, whose lock keeps a second daemon out; the readers;
//! the servers. Stop (SIGTERM, SIGINT): readers and servers are told at once, requests may end, the last batch is
//! applied and flushed, and the process ends within ten seconds, whatever hangs. On SIGHUP tokens, certificate and log level are read
//! anew; what cannot be read stays as it was. A second signal ends it on the spot; nothing is lost by
//! that but time, for the logs are read again from where the ledger stands.
//!
//! In the data folder, beside the ledger: `control.sock`, the control socket, for the owner only, and `listen`, one line
//! with the address that is served. Both go when the daemon goes in order.

pub mod config;
pub mod front;
pub mod logging;
pub mod recovery;
pub mod sandbox;
pub mod supervisor;

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use parking_lot::Mutex;
use tracing::{debug, error, info, warn};

use crate::base::clock::now;
use crate::base::descriptors;
use crate::base::fault::{end_to_start_again, patience, point};
use crate::base::priority;
use crate::base::shutdown::Stop;
use crate::base::threads;
use crate::base::time::format_utc;
use crate::daemon::config::Config;
use crate::daemon::recovery::{Recovery, begin_anew_if_safe};
use crate::daemon::sandbox::Restricted;
use crate::daemon::supervisor::Supervisor;
use crate::evidence::{FiltersStatus, LogFilters, budget, make_while_reading};
use crate::http::tls::{self, TlsAcceptor};
use crate::http::token::Tokens;
use crate::http::{self, Listener, State, serve, watch};
use crate::ingest::{self, ImportProgress};
use crate::status::Notices;
use crate::store::retention::{
    self, Bounds, Keeper, NO_ROOM, NO_ROOM_HINT, RETENTION, SURVEY_SHARE, Upkeep, fold,
};
use crate::store::sled::{ledger_bytes, lend_for_a_file, open as open_store, verify, was_killed};
use crate::store::{OnProgress, Options, StoreError, Survey, WriteStore};
use crate::watch::Watching;

/// The control socket in a data folder.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The file in a data folder that holds the address served.
const LISTEN_FILE: &str = "listen";
/// How long servers may take to end.
const DRAIN: Duration = Duration::from_secs(6);
/// How long it waits for threads that still hold the ledger then.
const RELEASE: Duration = Duration::from_secs(1);
/// How long stopping may take in all.
const STOP_LIMIT: Duration = Duration::from_secs(9);
/// Bytes of a ledger that is verified before it is opened, where the daemon was killed: less than a second.
const VERIFIED_BYTES: u64 = 16 << 20;
/// How long a verification beside other work waits after each block.
const VERIFY_PAUSE: Duration = Duration::from_millis(1);
/// How often it is looked whether the ledger is within its bounds.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How often it is looked whether the ledger takes more of the disk than it may.
const ROOM_EVERY: Duration = Duration::from_secs(1);
/// When names are counted first: who has just started a daemon asks it first.
const SURVEY_FIRST: Duration = if cfg!(debug_assertions) { Duration::ZERO } else { Duration::from_secs(60) };
/// How long names are counted at a stretch, and the rest after it.
const SURVEY_WORK: Duration = Duration::from_millis(4);
const SURVEY_REST: Duration = Duration::from_millis(36);
/// How often the supervisor is told that the ledger is still brought up to a new format.
const MIGRATION_TOLD_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether logs lack a filter, while some do, and where all have one.
const FILTERS_PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// How often a folder is tried that another process is just leaving.
const LOCK_TRIES: u32 = 10;
/// How long between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The port is taken, or not ours to take.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct PortError {
    /// The address.
    pub address: SocketAddr,
    /// The reason.
    pub error: io::Error,
}

impl PortError {
    /// What the operator can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                Some("another program has that port: stop it, or give another by --listen")
            }
            io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 are for root: give another by --listen")
            }
            _ => None,
        }
    }
}

/// Follows the sources and serves the ledger until it is told to stop.
///
/// # Errors
///
/// When it cannot start, or the last batch cannot be applied.
///
/// `again` reads the configuration anew.
pub fn run(
    config: Config,
    again: impl Fn() -> anyhow::Result<Config> + Send + 'static,
) -> anyhow::Result<()> {
    let keys = Keys::load(&config)?;
    let tcp = bind(config.http.listen)?;
    let address = tcp.local_addr().context("asking for the port")?;
    make(&config.data_dir)?;
    if config.sandbox {
        // Threads inherit it, so it comes before all of them.
        match sandbox::restrict(&config.data_dir) {
            Ok(Restricted::Not) => {
                info!("No Landlock in this kernel: the daemon is not restricted from within.");
            }
            Ok(restricted) => debug!(?restricted, "Restricted to writing in the data folder."),
            Err(error) => warn!(%error, "The daemon could not be restricted from within."),
        }
        match sandbox::close_sockets() {
            Ok(true) => debug!("No sockets are left but those of TCP and of this machine."),
            Ok(false) => info!("This kind of machine is not known: UDP is not closed to the daemon."),
            Err(error) => warn!(%error, "UDP could not be closed to the daemon."),
        }
    }
    if let Some(limit) = descriptors::raise() {
        debug!(limit, "Files that may be open at once.");
    }
    let supervisor = Arc::new(Supervisor::of_environment());
    let mut told: Option<Instant> = None;
    let mut on_migration = |done, total| {
        if told.is_none_or(|at| at.elapsed() >= MIGRATION_TOLD_EVERY) {
            told = Some(Instant::now());
            supervisor.migrating(done, total);
        }
        true
    };
    let was_killed = was_killed(&config.data_dir);
    let ledger = open_or_begin_anew(&config, was_killed, &supervisor, &mut on_migration)?;
    let stop = stop_on_signals()?;
    end_in_time(stop.clone())?;
    // Before anything is read: a time that lies too late would have what comes skipped.
    let bounds = config.bounds(&ledger.stats()?);
    heal(&*ledger, &bounds);
    let mut feeding = config.ingest();
    let filters = Arc::new(LogFilters::of(&config.data_dir, &feeding.observe));
    feeding.listening = make_while_reading(&filters, &ledger, config.evidence.disk);
    feeding.not_read = ingest::NotRead::of(&config.data_dir);
    if let Some(fault) = feeding.clock.fault() {
        warn!("{fault}. Times that are ahead of it are doubted less until it is right.");
    }
    // Before anything is read: each line is looked through.
    let watching = Arc::new(Watching::start(Arc::clone(&ledger), &config.data_dir, config.watching()));
    let ingest = Arc::new(ingest::start(feeding, Arc::clone(&ledger), stop.clone())?);
    let (held, released) = channel();
    watch_feeds(&watching, stop.clone(), held.clone())?;
    watch_novelty(&watching, &ingest, stop.clone(), held.clone())?;
    write_hits(&config, &ledger, stop.clone(), held.clone())?;
    keep_within(&ledger, bounds, ingest.notices().clone(), stop.clone(), held.clone())?;
    filter_logs(&filters, &ledger, &config, stop.clone(), held.clone())?;
    if was_killed {
        verify_meanwhile(&ledger, ingest.notices().clone(), stop.clone(), held.clone())?;
    }
    drop(held);
    let runtime = event_loop()?;
    let served = {
        let mut http = config.http.clone();
        let possible = descriptors::for_connections().and_then(|possible| usize::try_from(possible).ok());
        if let Some(possible) = possible.filter(|possible| *possible < http.max_connections) {
            warn!(
                max_connections = http.max_connections,
                possible,
                "Fewer connections are served than http.max_connections: raise LimitNOFILE (ulimit -n)."
            );
            http.max_connections = possible;
        }
        let state = State::new(Arc::clone(&ledger), Arc::clone(&ingest), filters, http);
        state.tell_new(config.new_settings());
        state.tell_watching(Arc::clone(&watching), stop.clone());
        if config.evidence.http {
            state.hand_out_lines();
        }
        if !address.ip().is_loopback() && keys.tls.is_none() {
            warn!(%address, "Tokens and answers cross the network in the clear: set http.tls_cert, or use a proxy.");
        }
        keys.give(&state);
        let _reloads = reload_on_hangup(config.clone(), state.clone(), again)?;
        let _inside = runtime.enter();
        let listeners = listeners(tcp, &config.data_dir);
        listeners.and_then(|listeners| {
            let announced = Announced::new(&config.data_dir, address)?;
            info!(%address, data = ?config.data_dir, version = env!("CARGO_PKG_VERSION"), "Listening.");
            supervisor.ready(address);
            if let Some(pulse) = supervisor.pulse() {
                // From the event loop, and only while what feeds the ledger gets on: when either hangs, this stops.
                let (supervisor, mut beat) = (Arc::clone(&supervisor), tokio::time::interval(pulse));
                let ingest = Arc::downgrade(&ingest);
                runtime.spawn(async move {
                    let mut told = None;
                    loop {
                        beat.tick().await;
                        let stuck = ingest.upgrade().and_then(|ingest| ingest.stuck());
                        match &stuck {
                            None => supervisor.alive(),
                            Some(thread) if told != stuck => {
                                error!(thread, "A thread has not got on for too long: the supervisor is not told that the daemon is alive.");
                            }
                            Some(_) => {}
                        }
                        told = stuck;
                    }
                });
            }
            let serving: Vec<_> = listeners
                .into_iter()
                .map(|listener| runtime.spawn(serve(listener, state.clone(), stop.clone())))
                .collect();
            runtime.spawn(async move {
                if let Err(error) = tokio::spawn(watch(state)).await
                    && error.is_panic()
                {
                    threads::end(&*error.into_panic());
                }
            });
            runtime.block_on(async {
                for serving in serving {
                    serving.await.context("serving")?;
                }
                anyhow::Ok(())
            })?;
            drop(announced);
            Ok(())
        })
    };
    stop.stop();
    supervisor.stopping();
    info!("Stopping.");
    runtime.shutdown_timeout(DRAIN);
    match Arc::try_unwrap(ingest) {
        Ok(ingest) => ingest.join()?,
        // A lookup still holds it. The readers have been told, and what they have read is applied here.
        Err(ingest) => {
            warn!("A request did not end; stopping without it.");
            ingest.commit()?;
            ledger.flush()?;
        }
    }
    drop(watching);
    // Whoever has the ledger last closes it: that is to be here, since a process that ends before has not closed it in order.
    if released.recv_timeout(RELEASE) == Err(RecvTimeoutError::Timeout) {
        debug!("What goes on in the background did not end; the ledger is verified at the next start.");
    }
    drop(ledger);
    info!("Stopped.");
    served
}

/// The event loop that requests are answered in.
fn event_loop() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        // More than there are cores: one goes on where lookups that are not as quick as expected hold up the others, and one makes room for
        // lookups that read while others do (see http/pace.rs).
        .worker_threads(cores + 2)
        .enable_all()
        .build()
        .context("starting the event loop")
}

/// Once it is to stop, ends the process after a while, whatever it is that does not end.
fn end_in_time(stop: Stop) -> anyhow::Result<()> {
    let work = move || {
        while !stop.wait(LOOK_EVERY) {}
        // Nobody gives this signal: the process ends before, or here.
        Stop::new().wait(patience(STOP_LIMIT));
        error!(
            "Stopping took too long; the process ends. Nothing is lost: the logs are read again from what is on disk."
        );
        end_to_start_again();
    };
    std::thread::Builder::new().name("stop-limit".to_owned()).spawn(work).context("starting a thread")?;
    Ok(())
}

/// Held by a thread for as long as it may hold the ledger.
type Held = Sender<()>;

/// Starts work that may hold the ledger until it has ended, on a thread of its own.
fn start_holder(name: &str, held: Held, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let work = move || {
        work();
        drop(held);
    };
    threads::spawn(name, work).context("starting a thread")?;
    Ok(())
}

/// Keeps feeds up, and looks through history when indicators come, on a thread that gives way to all others.
fn watch_feeds(watching: &Arc<Watching>, stop: Stop, held: Held) -> anyhow::Result<()> {
    let watching = Arc::clone(watching);
    start_holder("watch", held, move || {
        priority::give_way();
        watching.run(&stop);
    })
}

/// Makes events of what is new, once the logs are caught up with, on a thread that gives way to all others.
fn watch_novelty(
    watching: &Arc<Watching>,
    ingest: &Arc<ingest::Ingest>,
    stop: Stop,
    held: Held,
) -> anyhow::Result<()> {
    let (watching, ingest) = (Arc::clone(watching), Arc::downgrade(ingest));
    start_holder("new", held, move || {
        priority::give_way();
        // What is not read yet may be older.
        let is_ready = || {
            let status = ingest.upgrade().and_then(|ingest| ingest.status().ok());
            status.is_some_and(|status| status.caught_up)
        };
        watching.novelty().run(&is_ready, &now, &stop);
    })
}

/// Writes hits to a file as they come, where one is configured.
fn write_hits(config: &Config, ledger: &Arc<dyn WriteStore>, stop: Stop, held: Held) -> anyhow::Result<()> {
    let Some(file) = config.hit_file() else { return Ok(()) };
    let ledger = Arc::clone(ledger);
    start_holder("hits", held, move || file.run(&*ledger, &stop))
}

/// Makes the filters of logs, for evidence, on a thread that gives way to all others.
fn filter_logs(
    filters: &Arc<LogFilters>,
    ledger: &Arc<dyn WriteStore>,
    config: &Config,
    stop: Stop,
    held: Held,
) -> anyhow::Result<()> {
    let (filters, ledger) = (Arc::clone(filters), Arc::clone(ledger));
    let (feeding, disk) = (config.ingest(), config.evidence.disk);
    start_holder("evidence-filters", held, move || {
        priority::give_way();
        let mut told = None;
        while !stop.wait(filters_pause(filters.status())) {
            let budget = budget(disk, ledger.stats().map_or(0, |stats| stats.live_bytes));
            let failed = filters.pass(&*ledger, &feeding, budget, &stop).err().map(|error| error.to_string());
            if let Some(why) = failed.as_ref().filter(|_| told != failed) {
                warn!(%why, "Filters of logs cannot be made just now: evidence takes longer without them.");
            }
            told = failed;
        }
    })
}

/// How long it waits before logs are looked at for the lack of a filter. A test (feature `test-hooks`) may want it often.
fn filters_pause(status: FiltersStatus) -> Duration {
    let often =
        cfg!(feature = "test-hooks").then(|| std::env::var("DNSLEDGER_TEST_FILTERS_MS").ok()).flatten();
    if let Some(often) = often.and_then(|often| often.parse().ok()) {
        return Duration::from_millis(often);
    }
    let [soon, seldom] = FILTERS_PAUSES;
    if status.logs > 0 && status.filters == status.logs { seldom } else { soon }
}

/// Counts the names of each domain now and then, on a thread that gives way to all others: it reads all names.
fn count_names(
    ledger: &Arc<dyn WriteStore>,
    counted: Sender<Survey>,
    stop: Stop,
    held: Held,
) -> anyhow::Result<()> {
    let ledger = Arc::downgrade(ledger);
    start_holder("names", held, move || {
        priority::give_way();
        if stop.wait(SURVEY_FIRST) {
            return;
        }
        while let Some(ledger) = ledger.upgrade() {
            let began = Instant::now();
            // It takes a small part of the time: reading all names, it also takes room in caches and turns at locks.
            let mut since = began;
            let mut goes_on = || {
                if since.elapsed() < SURVEY_WORK {
                    return !stop.is_stopped();
                }
                let is_stopped = stop.wait(SURVEY_REST);
                since = Instant::now();
                !is_stopped
            };
            match ledger.survey(now(), &mut goes_on) {
                // Nobody folds any more once it is to stop.
                Ok(found) => drop(counted.send(found)),
                Err(StoreError::Closed) => {}
                Err(error) => {
                    warn!(%error, hint = error.hint(), "The names of each domain could not be counted.");
                }
            }
            drop(ledger);
            if stop.wait(LOOK_EVERY.max(began.elapsed() * SURVEY_SHARE)) {
                return;
            }
        }
    })
}

/// Keeps a ledger within bounds for as long as it is open, and looks after what a wrong clock did. A process that ends in the
/// middle of that loses what was written anew, and nothing else.
fn keep_within(
    ledger: &Arc<dyn WriteStore>,
    bounds: Bounds,
    notices: Notices,
    stop: Stop,
    held: Held,
) -> anyhow::Result<()> {
    let (counted, counts) = channel();
    count_names(ledger, counted, stop, held.clone())?;
    // Between two looks the ledger is not held: it is closed in order when the others let go.
    let ledger = Arc::downgrade(ledger);
    let mut keeper = Keeper::new(bounds);
    start_holder("retention", held, move || {
        let mut found: Option<Survey> = None;
        while let Some(ledger) = ledger.upgrade() {
            if let Some(Err(error)) = found.take().map(|found| fold(&*ledger, &found, now())) {
                warn!(%error, hint = error.hint(), "The names of domains beyond their budget could not be folded.");
            }
            point("bounds_due");
            heal(&*ledger, &bounds);
            let look = keeper.look(&*ledger, now());
            let asks = match &look {
                Ok(Upkeep::Asks(told)) => Some(format!(
                    "{told}, more than half of all: they stay until they are dropped by hand; `dnsledger expire --dry-run` says what would go, \
                     `dnsledger expire` drops it"
                )),
                _ => None,
            };
            if notices.set(RETENTION, asks.clone())
                && let Some(asks) = asks
            {
                warn!(hint = "is the clock right?", "{asks}");
            }
            match look {
                Ok(Upkeep::Within | Upkeep::Asks(_)) => {}
                Ok(Upkeep::Reduced(kept)) if kept.fits => {
                    info!(?kept, "{}", kept.what());
                }
                Ok(Upkeep::Reduced(kept)) if kept.no_room => {
                    warn!(?kept, hint = NO_ROOM_HINT, "{NO_ROOM}");
                }
                Ok(Upkeep::Reduced(kept)) => {
                    warn!(?kept, "The ledger exceeds store.max_disk: the last day alone takes more.");
                }
                Err(error) => {
                    warn!(%error, hint = error.hint(), "What was not seen for long could not be dropped yet.");
                }
            }
            let weak = Arc::downgrade(&ledger);
            drop(ledger);
            let next = Instant::now() + LOOK_EVERY;
            let is_due = || {
                weak.upgrade().is_some_and(|ledger| {
                    let is_due = keeper.is_due(&*ledger, now());
                    if !is_due {
                        // It grows with the ledger.
                        ledger.renew_reserve();
                    }
                    is_due
                })
            };
            found = loop {
                match counts.recv_timeout(ROOM_EVERY) {
                    Ok(found) => break Some(found),
                    Err(RecvTimeoutError::Timeout) if Instant::now() >= next || is_due() => break None,
                    Err(RecvTimeoutError::Timeout) => {}
                    // Who counts ends when it is to stop.
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            };
        }
    })
}

/// Moves the time back before which nothing is kept, where a clock that was ahead had set it, and says so.
pub fn heal(ledger: &dyn WriteStore, bounds: &Bounds) {
    match retention::heal(ledger, bounds, now()) {
        Ok(None) => {}
        Ok(Some((was, is))) => warn!(
            was = format_utc(was),
            is = format_utc(is),
            "The clock was ahead when rows were dropped last: what was seen since then is kept again. Rows that were dropped are \
             in the logs, or in a snapshot."
        ),
        Err(error) => warn!(%error, "It could not be found out whether rows are dropped by a wrong clock."),
    }
}

//--- What is read anew ----------------------------------------------------------------------------------------------

/// Tokens and certificate, as their files have them.
struct Keys {
    tokens: Option<Tokens>,
    tls: Option<TlsAcceptor>,
}

impl Keys {
    fn load(config: &Config) -> anyhow::Result<Keys> {
        let http = &config.http;
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        let tokens = is_set(&http.tokens_file).then(|| Tokens::load(&http.tokens_file)).transpose()?;
        let tls = is_set(&http.tls_cert).then(|| tls::load(&http.tls_cert, &http.tls_key)).transpose()?;
        Ok(Keys { tokens, tls })
    }

    fn give(self, state: &State) {
        if let Some(tokens) = self.tokens {
            state.set_tokens(tokens);
        }
        if let Some(tls) = self.tls {
            state.set_tls(tls);
        }
    }
}

/// The thread that reloads. It ends when this is dropped: until then it holds on to what is served.
struct Reloads {
    signals: signal_hook::iterator::Handle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Reloads {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // one that panics ends the process
        }
    }
}

/// Reads tokens, certificate and log level anew at each SIGHUP.
fn reload_on_hangup(
    started: Config,
    state: State,
    again: impl Fn() -> anyhow::Result<Config> + Send + 'static,
) -> anyhow::Result<Reloads> {
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGHUP]).context("catching signals")?;
    let handle = signals.handle();
    let wait = move || {
        for _ in signals.forever() {
            match again().and_then(|config| Ok((Keys::load(&config)?, config))) {
                Ok((keys, config)) => {
                    keys.give(&state);
                    logging::set_level(config.log.level);
                    info!("Read tokens, certificate and log level anew.");
                    if needs_restart(&started, &config) {
                        warn!("The configuration has other changes, which need a restart.");
                    }
                }
                Err(error) => error!("Nothing is changed: {error:#}"),
            }
        }
    };
    Ok(Reloads {
        signals: handle,
        thread: Some(threads::spawn("reload", wait).context("starting a thread")?),
    })
}

/// Whether a configuration differs from the one that runs in more than SIGHUP can change.
fn needs_restart(started: &Config, config: &Config) -> bool {
    let mut same = config.clone();
    same.log.level = started.log.level;
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    // Another file is taken; that there is none any more is not.
    if is_set(&config.http.tokens_file) {
        same.http.tokens_file.clone_from(&started.http.tokens_file);
    }
    if is_set(&config.http.tls_cert) {
        same.http.tls_cert.clone_from(&started.http.tls_cert);
        same.http.tls_key.clone_from(&started.http.tls_key);
    }
    same != *started
}

/// Where this machine reaches the daemon of this configuration, and the certificate that it shows.
pub fn own_url(http: &http::Config) -> (String, Option<PathBuf>) {
    let mut address = http.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    match !http.tls_cert.as_os_str().is_empty() {
        true => (format!("https://{address}"), Some(http.tls_cert.clone())),
        false => (format!("http://{address}"), None),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, PortError> {
    TcpListener::bind(address).map_err(|error| PortError { address, error })
}

/// Opens the ledger in a folder, which is made, for its owner only, if there is none. A folder that is in use is tried so
/// many times: a process that ends lets go of it a moment later.
///
/// # Errors
///
/// As opening a store has them.
pub fn open(
    folder: &Path,
    options: &Options,
    tries: u32,
    on_migration: OnProgress<'_>,
) -> Result<Arc<dyn WriteStore>, StoreError> {
    make(folder)?;
    let mut left = tries;
    loop {
        match open_store(folder, options, on_migration) {
            Ok(store) => return Ok(Arc::new(store)),
            Err(StoreError::Locked { .. }) if left > 1 => {
                left -= 1;
                // Nobody gives this signal: it is only a pause.
                Stop::new().wait(LOCK_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens the ledger as [`open`]. One that is damaged is set aside, and another one begun, if the logs still hold all that it had
/// read; else it is an error, or where the ledger can be opened all the same, said in the log.
///
/// After a kill a small ledger is verified first, for not all that is damaged is seen by opening it.
fn open_or_begin_anew(
    config: &Config,
    was_killed: bool,
    supervisor: &Supervisor,
    on_migration: OnProgress<'_>,
) -> anyhow::Result<Arc<dyn WriteStore>> {
    let (folder, options) = (&config.data_dir, config.store());
    let damage =
        if was_killed && ledger_bytes(folder) <= VERIFIED_BYTES { damage(folder, &options) } else { None };
    let (damage, refused) = match damage {
        Some(damage) => (damage, None),
        None => match open(folder, &options, LOCK_TRIES, on_migration) {
            Ok(ledger) => return Ok(ledger),
            Err(error @ StoreError::Damaged { .. }) => (error.to_string(), Some(error)),
            Err(error) => return Err(error.into()),
        },
    };
    error!(damage, "The ledger is damaged. Looking whether the logs still hold all that it had read.");
    let told = Mutex::new(None::<Instant>);
    let on_progress = |done: &ImportProgress| {
        let mut told = told.lock();
        if told.is_none_or(|at| at.elapsed() >= MIGRATION_TOLD_EVERY) {
            *told = Some(Instant::now());
            supervisor.recovering(done.bytes_done, done.bytes_total);
        }
    };
    match begin_anew_if_safe(folder, &options, &config.ingest(), &on_progress, &Stop::new())? {
        Recovery::Begun(aside, logs) => warn!(
            ?aside,
            logs,
            "The damaged ledger was set aside and another one begun: the logs hold all that it had read, and are read again."
        ),
        Recovery::Unsafe(why) => match refused {
            Some(error) => {
                let context = format!("it is not begun anew, for rows could be lost: {why}");
                return Err(anyhow::Error::from(error).context(context));
            }
            None => error!(
                why,
                "The ledger is not begun anew, for rows could be lost. What is damaged cannot be looked up: \
                 see `dnsledger verify --repair`."
            ),
        },
    }
    Ok(open(folder, &options, LOCK_TRIES, on_migration)?)
}

/// Verifies a ledger while it serves, slowly, and says what is damaged: after a kill nobody knows why there was one.
fn verify_meanwhile(
    ledger: &Arc<dyn WriteStore>,
    notices: Notices,
    stop: Stop,
    held: Held,
) -> anyhow::Result<()> {
    let ledger = Arc::clone(ledger);
    start_holder("verify", held, move || verify_all(&*ledger, &notices, &stop))
}

fn verify_all(ledger: &dyn WriteStore, notices: &Notices, stop: &Stop) {
    match ledger.verify(&mut |_, _| !stop.wait(VERIFY_PAUSE)) {
        Ok(found) if found.is_damaged() => {
            let fault = found.faults.first().map(|fault| format!("{}: {}", fault.what, fault.why));
            let fault = fault.unwrap_or_default();
            error!(
                fault,
                "The ledger is damaged. What is damaged cannot be looked up: see `dnsledger verify --repair`."
            );
            let says = format!("The ledger is damaged; see `dnsledger verify --repair`: {fault}");
            notices.set("damage", Some(says));
        }
        Ok(_) => debug!("The ledger is sound."),
        Err(StoreError::Closed) => {}
        Err(error) => warn!(%error, "The ledger could not be verified."),
    }
}

/// What is damaged in a ledger, in a few words.
fn damage(folder: &Path, options: &Options) -> Option<String> {
    // What keeps it from being verified is met when it is opened.
    let found = verify(folder, options, &mut |_, _| true).ok().flatten()?;
    let fault = found.faults.iter().find(|_| found.is_damaged())?;
    Some(format!("{}: {}", fault.what, fault.why))
}

/// Makes a data folder, for its owner only, if there is none.
fn make(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| StoreError::Io { what: format!("making {}", folder.display()), error })
}

/// Both listeners: the port, and the control socket. Runs within the runtime.
fn listeners(tcp: TcpListener, folder: &Path) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = vec![Listener::tcp(tcp).context("taking the port into the event loop")?];
    let path = folder.join(CONTROL_SOCKET);
    match control_socket(&path) {
        Ok(socket) => listeners.push(Listener::Unix(socket)),
        // Lookups go on over the port; only the command line beside a running daemon is the poorer for it.
        Err(error) => warn!(?path, %error, "No control socket: commands on this machine need --server."),
    }
    Ok(listeners)
}

/// Binds the control socket. It has its permissions before it has its name; one that a dead daemon left is replaced, and
/// that it is dead we know, for we hold the lock of the ledger.
fn control_socket(path: &Path) -> io::Result<tokio::net::UnixListener> {
    let unnamed = path.with_extension("new");
    match fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = tokio::net::UnixListener::bind(&unnamed)?;
    fs::set_permissions(&unnamed, Permissions::from_mode(0o600))?;
    fs::rename(&unnamed, path)?;
    Ok(socket)
}

/// The files that tell others where the daemon is, for as long as it is there.
struct Announced {
    folder: PathBuf,
}

impl Announced {
    fn new(folder: &Path, address: SocketAddr) -> anyhow::Result<Announced> {
        let (new, path) = (folder.join("listen.new"), folder.join(LISTEN_FILE));
        let write = || fs::write(&new, format!("{address}\n")).and_then(|()| fs::rename(&new, &path));
        let written = match write() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && lend_for_a_file(folder) => write(),
            written => written,
        };
        match written {
            // Lookups go on; only who looks for the port there does not find it.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                warn!(?path, %error, "Where the daemon listens could not be written.");
            }
            written => written.with_context(|| format!("writing {}", path.display()))?,
        }
        Ok(Announced { folder: folder.to_owned() })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        for file in [LISTEN_FILE, CONTROL_SOCKET] {
            let path = self.folder.join(file);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(?path, %error, "A file could not be removed.");
            }
        }
    }
}

/// A stop signal that SIGTERM and SIGINT give. The second of them ends the process at once.
///
/// # Errors
///
/// When the signals cannot be caught.
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("catching signals")?;
    let stop = Stop::new();
    let told = stop.clone();
    let wait = move || {
        for signal in signals.forever() {
            if told.is_stopped() {
                std::process::exit(128 + signal);
            }
            told.stop();
        }
    };
    threads::spawn("signals", wait).context("starting a thread")?;
    Ok(stop)
}
