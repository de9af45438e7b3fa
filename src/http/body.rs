//! A body as somebody on a blocking thread reads it, while it comes.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};

/// Chunks of a body that wait to be read.
const CHUNKS_AHEAD: usize = 16;

/// Bytes a second that somebody at least sends who is waited for: what a byte a second holds is held for hours.
const SLOWEST: u64 = 16 << 10;

/// How long a body is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long the next part may take.
    pause: Duration,
    /// Bytes a second; with fewer its time is over.
    slowest: Option<u64>,
}

impl Patience {
    /// For so long when nothing comes, and as much longer in all as it has bytes.
    pub fn with(pause: Duration) -> Patience {
        Patience { pause, slowest: Some(SLOWEST) }
    }

    /// For so long when nothing comes, however often.
    pub fn for_owner(pause: Duration) -> Patience {
        Patience { pause, slowest: None }
    }

    /// How long the next part is waited for, after so many bytes for which it was waited so long.
    fn left(&self, bytes: u64, waited: Duration) -> Duration {
        let Some(slowest) = self.slowest else { return self.pause };
        let time = self.pause + Duration::from_millis(bytes.saturating_mul(1000) / slowest);
        self.pause.min(time.saturating_sub(waited))
    }
}

/// A part of a body.
enum BodyPiece {
    /// Some bytes of it.
    Bytes(Bytes),
    /// It has ended, and all of it has come.
    End,
    /// The connection broke off before the end.
    Broken(io::Error),
}

/// Where the parts of a body go.
pub struct Parts(Sender<BodyPiece>);

/// A body, being read.
pub struct IncomingBody {
    receiver: Receiver<BodyPiece>,
    current: Bytes,
    /// How it ended, once it has: well or not. Whoever asks again is told the same.
    ended: Option<bool>,
}

/// A body, and where its parts go.
pub fn sent() -> (Parts, IncomingBody) {
    let (parts, receiver) = channel(CHUNKS_AHEAD);
    (Parts(parts), IncomingBody { receiver, current: Bytes::new(), ended: None })
}

impl Parts {
    /// Hands on a body until its end, or until the reader has had enough. Whether the client stalled: nothing came for so long,
    /// or too little. What the reader takes is not its time.
    pub async fn take<B: Buf>(
        self,
        mut body: impl Stream<Item = Result<B, warp::Error>> + Unpin,
        patience: Patience,
    ) -> bool {
        let (mut stalled, mut bytes, mut waited) = (false, 0, Duration::ZERO);
        loop {
            let begun = Instant::now();
            let next = timeout(patience.left(bytes, waited), body.next()).await;
            waited += begun.elapsed();
            let part = match next {
                Ok(Some(Ok(mut part))) => {
                    bytes += part.remaining() as u64;
                    BodyPiece::Bytes(part.copy_to_bytes(part.remaining()))
                }
                Ok(Some(Err(error))) => {
                    BodyPiece::Broken(io::Error::new(io::ErrorKind::ConnectionAborted, error))
                }
                Ok(None) => BodyPiece::End,
                Err(_) => {
                    stalled = true;
                    BodyPiece::Broken(io::ErrorKind::TimedOut.into())
                }
            };
            let is_last = !matches!(part, BodyPiece::Bytes(_));
            if self.0.send(part).await.is_err() || is_last {
                return stalled; // the reader may have had enough, and says why
            }
        }
    }
}

impl Read for IncomingBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let broken = || {
            io::Error::new(io::ErrorKind::ConnectionAborted, "it was not sent to its end; try: send it again")
        };
        while self.current.is_empty() {
            match (self.ended, self.ended.is_none().then(|| self.receiver.blocking_recv()).flatten()) {
                (Some(true), _) => return Ok(0),
                (Some(false), _) => return Err(broken()),
                (None, Some(BodyPiece::Bytes(bytes))) => self.current = bytes,
                (None, Some(BodyPiece::End)) => self.ended = Some(true),
                (None, Some(BodyPiece::Broken(error))) => {
                    self.ended = Some(false);
                    tracing::debug!(%error, "What a client sent broke off.");
                }
                // Nobody sends any more, and nobody has said that this was all.
                (None, None) => self.ended = Some(false),
            }
        }
        let n = self.current.len().min(buffer.len());
        self.current.split_to(n).copy_to_slice(buffer.get_mut(..n).unwrap_or_default());
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_a_byte_now_and_then_is_not_waited_for_longer_than_who_sends_none() {
        let (pause, second) = (Duration::from_secs(30), Duration::from_secs(1));
        let network = Patience::with(pause);
        assert_eq!(network.left(0, Duration::ZERO), pause);
        assert_eq!(network.left(29, 29 * second), second + Duration::from_millis(29_000 / SLOWEST));
        assert_eq!(network.left(40, 31 * second), Duration::ZERO);
        assert_eq!(network.left(SLOWEST * 3600, 3600 * second), pause, "a large one takes its time");
        assert_eq!(Patience::for_owner(pause).left(1, 3600 * second), pause);
    }

    #[test]
    fn a_body_that_breaks_off_is_not_its_end() {
        let broken = || Some(BodyPiece::Broken(io::ErrorKind::ConnectionAborted.into()));
        for (last, is_end) in [(broken(), false), (None, false), (Some(BodyPiece::End), true)] {
            let (parts, mut sent) = sent();
            for part in [BodyPiece::Bytes(Bytes::from_static(b"abc")), BodyPiece::Bytes(Bytes::new())] {
                assert!(parts.0.try_send(part).is_ok());
            }
            if let Some(last) = last {
                assert!(parts.0.try_send(last).is_ok());
            }
            drop(parts); // as when the request is dropped
            let mut buffer = [0; 2];
            assert_eq!(sent.read(&mut buffer).unwrap(), 2);
            assert_eq!(sent.read(&mut buffer).unwrap(), 1);
            for _ in 0..2 {
                assert_eq!(sent.read(&mut buffer).is_ok(), is_end);
            }
        }
    }
}
