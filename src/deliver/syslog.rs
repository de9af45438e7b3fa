//! Syslog as RFC 5424 has it: over TCP with octets counted (RFC 6587, 3.4.1), over TLS (RFC 5425), or a Unix socket.
//!
//! Syslog has no acknowledgement. Where there is a connection, messages count as delivered when the receiver has closed its end after the own
//! end was closed: it has read all of them then. A socket of datagrams has them in the receiver's queue when it took them.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::Message;
use super::target::SyslogTo;
use super::{DeliverError, Outcome, OutletConfig, Sink};
use crate::base::time::format_rfc3339;
use crate::http::pipe::Pipe;
use crate::watch::Sent;

/// Messages of one connection.
const TOGETHER: usize = 50;
/// Facility local0, severity warning.
const PRIORITY: u8 = 16 * 8 + 4;
/// The most of what a receiver says that is read.
const MAX_SAID: u64 = 64 << 10;
/// The system's number for a socket of another kind (`EPROTOTYPE`).
const OTHER_KIND: i32 = 91;

enum Way {
    Network(Pipe),
    Socket(PathBuf),
}

/// A receiver of syslog.
pub(super) struct Syslog {
    way: Way,
    host: String,
    timeout: Duration,
}

impl Syslog {
    /// Reads the certificates.
    pub fn open(config: &OutletConfig, to: &SyslogTo) -> Result<Syslog, DeliverError> {
        let way = match to {
            SyslogTo::Tcp(host, port) => Way::Network(Pipe::open(host, *port, false, None)?),
            SyslogTo::Tls(host, port) => Way::Network(Pipe::open(host, *port, true, config.ca.as_deref())?),
            SyslogTo::Unix(path) => Way::Socket(path.clone()),
        };
        Ok(Syslog { way, host: host_name(), timeout: config.timeout })
    }
}

impl Sink for Syslog {
    fn together(&self) -> usize {
        TOGETHER
    }

    fn send(&mut self, messages: &[Message]) -> Outcome {
        let lines: Vec<String> = messages.iter().map(|message| line(message, &self.host)).collect();
        let sent = match &self.way {
            Way::Network(pipe) => {
                pipe.send(&counted(&lines), self.timeout).map_err(|error| error.to_string())
            }
            Way::Socket(path) => to_socket(path, &lines, self.timeout)
                .map_err(|error| format!("the socket {}: {error}", path.display())),
        };
        match sent {
            Ok(()) => Outcome::Delivered,
            Err(why) => Outcome::failed(why),
        }
    }
}

/// The name of this machine, as syslog may have it.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// A message as RFC 5424 has it, without its frame: the id as structured data, and all of it as JSON.
fn line(message: &Message, host: &str) -> String {
    let (kind, time) = match &message.sent {
        Sent::Hit(hit) => ("hit", format_rfc3339(hit.noted)),
        Sent::Summed(_) => ("summed", "-".to_owned()),
    };
    // The number is the one that is reserved for examples (RFC 5612); the id has no character that would have to be escaped.
    let id = message.id();
    format!(
        "<{PRIORITY}>1 {time} {host} dnsledger - {kind} [dnsledger@32473 id=\"{id}\"] {}",
        message.document()
    )
}

/// Lines, each behind its length.
fn counted(lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(format!("{} ", line.len()).as_bytes());
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes
}

/// Hands lines to a socket of this machine, of whichever kind it is.
fn to_socket(path: &Path, lines: &[String], timeout: Duration) -> io::Result<()> {
    match UnixStream::connect(path) {
        Ok(mut stream) => {
            stream.set_write_timeout(Some(timeout))?;
            stream.set_read_timeout(Some(timeout))?;
            stream.write_all(&counted(lines))?;
            stream.shutdown(Shutdown::Write)?;
            match stream.take(MAX_SAID).read_to_end(&mut Vec::new())? {
                0 => Ok(()),
                _ => Err(io::Error::other("it answers, as who receives only does not")),
            }
        }
        Err(error) if error.raw_os_error() == Some(OTHER_KIND) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(timeout))?;
            lines.iter().try_for_each(|line| socket.send_to(line.as_bytes(), path).map(drop))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Summed;

    #[test]
    fn a_message_has_its_id_and_is_counted_in_octets() {
        let summed = Summed { from: 7, to: 9, hits: 3 };
        let said = line(&Message::summed("00ff", summed), "sensor");
        assert_eq!(
            said,
            "<132>1 - sensor dnsledger - summed [dnsledger@32473 id=\"dnsledger/00ff/7-9\"] \
             {\"id\":\"dnsledger/00ff/7-9\",\"ledger\":\"00ff\",\"summed\":{\"from\":7,\"hits\":3,\"to\":9},\"type\":\"summed\"}"
        );
        assert_eq!(counted(&["abc".to_owned(), "\u{e4}\n".to_owned()]), "3 abc3 \u{e4}\n".as_bytes());
        assert!(!host_name().contains([' ', '\n']));
    }
}
