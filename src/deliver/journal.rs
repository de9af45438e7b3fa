//! The journal of systemd, by its native protocol: fields a line, a message a datagram.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::message::Message;
use super::{Outcome, OutletConfig, Sink};
use crate::watch::Sent;

/// What all messages of hits have in common, for `journalctl MESSAGE_ID=…`; likewise of sums.
const HIT: &str = "5b0f6c4f2f6a4d0c9d1e7f8a3c2b6e11";
const SUMMED: &str = "5b0f6c4f2f6a4d0c9d1e7f8a3c2b6e12";

/// The socket of a journal.
pub(super) struct Journal {
    path: PathBuf,
    timeout: Duration,
}

impl Journal {
    /// Takes the socket of the journal; nothing is connected yet.
    pub fn open(config: &OutletConfig, path: &std::path::Path) -> Journal {
        Journal { path: path.to_owned(), timeout: config.timeout }
    }

    fn say(&self, messages: &[Message]) -> std::io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(self.timeout))?;
        messages
            .iter()
            .try_for_each(|message| socket.send_to(fields(message).as_bytes(), &self.path).map(drop))
    }
}

/// A message in fields. None of them has a line break: JSON has none, and the others are of printable ASCII or are shown as JSON does.
fn fields(message: &Message) -> String {
    let (kind, said, more) = match &message.sent {
        Sent::Hit(hit) => {
            let address = hit.address.as_deref().map(|address| format!(" ({address})")).unwrap_or_default();
            let met = format!(
                "{}{address} is met by {} {} of {}",
                hit.rrname,
                hit.kind,
                hit.indicator,
                hit.feeds.join(", ")
            );
            let said = if hit.is_event() {
                format!("{} is {}", hit.rrname, hit.kind.replace('_', " "))
            } else {
                met
            };
            let more = format!(
                "DNSLEDGER_SEQUENCE={}\nDNSLEDGER_RRNAME={}\nDNSLEDGER_INDICATOR={}\nDNSLEDGER_SENSOR={}\n",
                hit.sequence,
                plain(&hit.rrname),
                plain(&hit.indicator),
                plain(&hit.sensor)
            );
            (HIT, said, more)
        }
        Sent::Summed(summed) => {
            (SUMMED, format!("{} more hits, {} to {}", summed.hits, summed.from, summed.to), String::new())
        }
    };
    format!(
        "MESSAGE={}\nPRIORITY=4\nSYSLOG_IDENTIFIER=dnsledger\nMESSAGE_ID={kind}\nDNSLEDGER_ID={}\n{more}DNSLEDGER_MESSAGE={}\n",
        plain(&said),
        message.id(),
        message.document()
    )
}

fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

impl Sink for Journal {
    fn together(&self) -> usize {
        10
    }

    fn send(&mut self, messages: &[Message]) -> Outcome {
        match self.say(messages) {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::failed(format!("the socket {}: {error}", self.path.display())),
        }
    }
}
