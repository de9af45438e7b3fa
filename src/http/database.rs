//! A client of a database that speaks HTTP. Whatever it asks may be asked twice, so a connection is kept for the next request.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::CONTENT_ENCODING;
use hyper::{Method, Request, StatusCode};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::client::{Client, ClientError, MAX_ERROR_BYTES};

/// How long a connection is kept that nobody uses: servers end theirs after 10 s and more.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// An answer may take so many times as long as it may take to begin.
const WHOLE: u32 = 8;

/// Bytes of answers that are read at a time, of all servers together: each may be large, and there may be as many as there are lookups.
const MAX_TOGETHER: usize = 1 << 30;
static TOGETHER: AtomicUsize = AtomicUsize::new(0);

/// The bytes of an answer, as long as it is read.
struct Share<'a> {
    of: &'a AtomicUsize,
    taken: usize,
}

impl<'a> Share<'a> {
    fn of(of: &'a AtomicUsize) -> Share<'a> {
        Share { of, taken: 0 }
    }

    /// Takes so many bytes more; `false` where all together have more than may be.
    fn take(&mut self, bytes: usize, most: usize) -> bool {
        self.taken += bytes;
        self.of.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= most
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// A client of one server, with one connection that is kept. Who asks while another does has a connection of his own.
pub struct Database {
    client: Client,
    patience: Duration,
    kept: Mutex<Option<(Instant, SendRequest<Full<Bytes>>)>>,
    users: AtomicUsize,
}

/// Why there was no answer.
enum Ended {
    /// The connection was no more, before anything was answered.
    Closed(ClientError),
    /// Something else.
    Failed(ClientError),
}

impl Database {
    /// Each request says these headers; an answer may take so long to begin, and to go on.
    ///
    /// # Errors
    ///
    /// When the URL, the certificates or a header cannot be used.
    pub fn new(
        url: &str,
        ca: Option<&Path>,
        headers: &[(&'static str, &str)],
        patience: Duration,
    ) -> Result<Database, ClientError> {
        let client = Client::of_database(url, ca, headers, patience)?;
        Ok(Database { client, patience, kept: Mutex::default(), users: AtomicUsize::new(0) })
    }

    /// Whether nobody asks by it just now.
    pub fn is_free(&self) -> bool {
        self.users.load(Ordering::Relaxed) == 0
    }

    /// Posts bytes, with a header that says how they are compressed if they are, and reads the whole answer, which has fewer bytes than this.
    ///
    /// # Errors
    ///
    /// When there is no good answer.
    pub fn post(
        &self,
        params: &[(&str, &str)],
        body: Vec<u8>,
        encoding: Option<&'static str>,
        fewer_than: usize,
    ) -> Result<Vec<u8>, ClientError> {
        self.users.fetch_add(1, Ordering::Relaxed);
        let answer = self.asked(params, body.into(), encoding, fewer_than);
        self.users.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    fn asked(
        &self,
        params: &[(&str, &str)],
        body: Bytes,
        encoding: Option<&'static str>,
        fewer_than: usize,
    ) -> Result<Vec<u8>, ClientError> {
        let request = || {
            let mut request = self.client.request(Method::POST, "/", params);
            if let Some(encoding) = encoding {
                request = request.header(CONTENT_ENCODING, encoding);
            }
            request.body(Full::new(body.clone())).map_err(|error| self.client.broken(error.into()))
        };
        let kept = self.kept.lock().take();
        if let Some((_, mut sender)) =
            kept.filter(|(since, sender)| since.elapsed() < KEPT_FOR && !sender.is_closed())
        {
            match self.client.block_on(self.exchange(&mut sender, request()?, fewer_than)) {
                Err(Ended::Closed(_)) => {}
                Err(Ended::Failed(error)) => return Err(error),
                Ok((status, answer)) => return self.answered(status, answer, sender),
            }
        }
        let request = request()?;
        let answered = self.client.block_on(async {
            let mut sender = self.client.connect().await?;
            let answered = self.exchange(&mut sender, request, fewer_than).await;
            let (status, answer) = answered.map_err(|ended| match ended {
                Ended::Closed(error) | Ended::Failed(error) => error,
            })?;
            Ok::<_, ClientError>((status, answer, sender))
        });
        let (status, answer, sender) = answered?;
        self.answered(status, answer, sender)
    }

    fn answered(
        &self,
        status: StatusCode,
        answer: Vec<u8>,
        sender: SendRequest<Full<Bytes>>,
    ) -> Result<Vec<u8>, ClientError> {
        if !status.is_success() {
            return Err(self.client.refused(status, &answer));
        }
        *self.kept.lock() = Some((Instant::now(), sender));
        Ok(answer)
    }

    /// One request and its whole answer; of an error as much as is told.
    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
        fewer_than: usize,
    ) -> Result<(StatusCode, Vec<u8>), Ended> {
        let broken = |error: io::Error| Ended::Failed(self.client.broken(error.into()));
        let late = |_| broken(io::ErrorKind::TimedOut.into());
        let sent = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = timeout(self.patience, sent).await.map_err(late)?;
        let response = response.map_err(|error| match error.is_parse() {
            true => Ended::Failed(self.client.speaks_no_http()),
            false => Ended::Closed(self.client.broken(error.into())),
        })?;
        let (status, mut body) = (response.status(), response.into_body());
        let mut bytes = Vec::new();
        let mut share = Share::of(&TOGETHER);
        // One that comes by the byte goes on each time, and never ends.
        let until = Instant::now() + self.patience.saturating_mul(WHOLE);
        let left = || self.patience.min(until.saturating_duration_since(Instant::now()));
        while let Some(frame) = timeout(left(), body.frame()).await.map_err(late)? {
            let frame = frame.map_err(|error| Ended::Failed(self.client.broken(error.into())))?;
            if let Ok(data) = frame.into_data() {
                if !share.take(data.len(), MAX_TOGETHER) {
                    let why = "answers that are read at a time take more memory than they may: ask again";
                    return Err(broken(io::Error::other(why)));
                }
                bytes.extend_from_slice(&data);
            }
            if !status.is_success() && bytes.len() as u64 >= MAX_ERROR_BYTES {
                break;
            }
            if bytes.len() >= fewer_than {
                return Err(broken(io::Error::other(format!("an answer of {fewer_than} bytes and more"))));
            }
        }
        Ok((status, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Answers one request.
    fn answer(stream: &mut TcpStream, text: &str) {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\nasked") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    }

    #[test]
    fn a_connection_is_kept_and_one_that_was_closed_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (closed, is_closed) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            answer(&mut first, "1");
            answer(&mut first, "2");
            drop(first);
            closed.send(()).unwrap();
            let (mut second, _) = listener.accept().unwrap();
            answer(&mut second, "3");
            answer(&mut second, "4");
            answer(&mut second, "");
            drop(second);
            // This one ends in the middle.
            let (mut third, _) = listener.accept().unwrap();
            third.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n5").unwrap();
        });
        let database = Database::new(&url, None, &[], Duration::from_secs(20)).unwrap();
        let ask = || database.post(&[], b"asked".to_vec(), None, 100);
        let said = |said: Result<Vec<u8>, ClientError>| String::from_utf8(said.unwrap()).unwrap();
        assert_eq!([said(ask()), said(ask())], ["1", "2"]);
        is_closed.recv().unwrap();
        assert_eq!([said(ask()), said(ask()), said(ask())], ["3", "4", ""]);
        assert!(database.is_free());
        let broken = ask();
        assert!(matches!(broken, Err(ClientError::Broken { .. })), "{broken:?}");
        server.join().unwrap();
    }

    #[test]
    fn answers_that_are_read_at_a_time_have_a_bound_together() {
        let all = AtomicUsize::new(0);
        let (mut one, mut other) = (Share::of(&all), Share::of(&all));
        assert!(one.take(60, 100) && other.take(40, 100));
        assert!(!other.take(1, 100));
        drop(other);
        assert!(one.take(40, 100) && all.load(Ordering::Relaxed) == 100);
        drop(one);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_answer_that_comes_by_the_byte_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            // Each byte in time, until nobody takes one.
            while stream.write_all(b"a").is_ok() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        let database = Database::new(&url, None, &[], Duration::from_millis(200)).unwrap();
        let broken = database.post(&[], b"asked".to_vec(), None, usize::MAX);
        assert!(matches!(broken, Err(ClientError::Broken { .. })), "{broken:?}");
        // What is left of the connection goes with it.
        drop(database);
        server.join().unwrap();
    }
}
