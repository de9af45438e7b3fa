//! What systemd is told: that the daemon is ready, alive, being stopped (`sd_notify(3)`). Without systemd, nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a start may take after it was last said that it goes on.
const STILL_STARTING: Duration = Duration::from_secs(60);

/// The socket that `Type=notify` gives.
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The supervisor that started this process, by its environment.
    pub fn of_environment() -> Supervisor {
        let path = std::env::var_os("NOTIFY_SOCKET");
        let socket = path.and_then(|path| open(&path).inspect_err(said_nothing).ok());
        let for_us = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok());
        let watchdog = micros.filter(|&micros| for_us && micros > 0).map(Duration::from_micros);
        Supervisor { socket, watchdog }
    }

    /// How often [`Supervisor::alive`] is wanted, twice in the time after which the daemon would be taken for dead.
    pub fn pulse(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|watchdog| watchdog / 2)
    }

    /// Tells systemd that the daemon serves.
    pub fn ready(&self, address: std::net::SocketAddr) {
        self.tell(&format!("READY=1\nSTATUS=Listening on {address}"));
    }

    /// It is not ready yet, and at work: the ledger is brought up to a new format, of which so many bytes are done.
    pub fn migrating(&self, done: u64, total: u64) {
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or_default();
        let micros = STILL_STARTING.as_micros();
        self.tell(&format!(
            "EXTEND_TIMEOUT_USEC={micros}\nSTATUS=Bringing the ledger up to a new format: {percent} %"
        ));
    }

    /// It is not ready yet, and at work: the ledger is damaged, and it is looked whether the logs are still there.
    pub fn recovering(&self, done: u64, total: u64) {
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or_default();
        let micros = STILL_STARTING.as_micros();
        self.tell(&format!(
            "EXTEND_TIMEOUT_USEC={micros}\nSTATUS=The ledger is damaged; looking for its logs: {percent} %"
        ));
    }

    /// It gets on: its event loop turns, logs are followed and committed.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// It has been told to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Applying the last batch");
    }

    fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // It stops a silent daemon sooner or later; there is nothing else to do about it.
            let _ = socket.send_to_addr(text.as_bytes(), address).inspect_err(said_nothing);
        }
    }
}

fn open(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    Ok((UnixDatagram::unbound()?, address))
}

fn said_nothing(error: &io::Error) {
    tracing::debug!(%error, "systemd could not be told.");
}
