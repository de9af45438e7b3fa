//! Bytes to a server that speaks no HTTP, over TCP or TLS, until it has read all of them.
//!
//! What is written into a connection is on its way, not there. So each time has a connection of its own: all is written, the own end is closed, and
//! then it is waited until the other side closes its end. It does so when it has read all; where it does not, because it died or was ended before,
//! the system says so by a reset.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::client::ClientError;
use super::server::Stream;
use super::tls;

/// Bytes of what a server says, at most: one that receives only says nothing.
const MAX_SAID: usize = 64 << 10;

/// A server that takes bytes.
pub struct Pipe {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    runtime: Runtime,
}

impl Pipe {
    /// One over TCP, or with `secure` over TLS: the certificates in the file `ca` are trusted then, or without one those of the system.
    ///
    /// # Errors
    ///
    /// When the host or the file cannot be used, or the system gives no event queue.
    pub fn open(host: &str, port: u16, secure: bool, ca: Option<&Path>) -> Result<Pipe, ClientError> {
        let server = || format!("{host}:{port}");
        let tls = match secure {
            false => None,
            true => {
                let plain = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let why = "its host has no certificate";
                let name =
                    ServerName::try_from(plain).map_err(|_| ClientError::BadUrl { url: server(), why })?;
                Some((tls::trusting_for(ca, &[])?, name))
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ClientError::Unreachable { server: server(), error })?;
        Ok(Pipe { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port, tls, runtime })
    }

    /// Has the server read all of it, within this time.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or may not have read all.
    pub fn send(&self, bytes: &[u8], at_most: Duration) -> Result<(), ClientError> {
        let server = || format!("{}:{}", self.host, self.port);
        let broken = |error| ClientError::Broken { server: server(), error };
        let sent = async {
            let stream = self.connect().await;
            let mut stream = stream.map_err(|error| ClientError::Unreachable { server: server(), error })?;
            stream.write_all(bytes).await.map_err(broken)?;
            stream.shutdown().await.map_err(broken)?;
            let (mut said, mut buffer) = (0, [0; 1024]);
            loop {
                match stream.read(&mut buffer).await {
                    Ok(0) => return Ok(()),
                    // With TLS: it closed, and did not say so before.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(broken(error)),
                    Ok(read) => said += read,
                }
                if said > MAX_SAID {
                    return Err(broken(io::Error::other("it says much, as who receives only does not")));
                }
            }
        };
        self.runtime.block_on(async {
            let late =
                || broken(io::Error::new(io::ErrorKind::TimedOut, "timed out before it closed its end"));
            timeout(at_most, sent).await.unwrap_or_else(|_| Err(late()))
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }
}
