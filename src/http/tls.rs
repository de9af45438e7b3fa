//! The certificate that the port is served with, and those that a client trusts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
pub use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where systems keep the certificates that are trusted on them: Debian and its kind, Fedora and its kind.
const SYSTEM_CAS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// What helps where a server's certificate is meant.
const SERVER_HINT: &str = "tls_cert is a PEM file with the certificate and its chain, tls_key one with its key, both readable by the daemon";
/// What helps where those are meant that are trusted.
const CA_HINT: &str =
    "--ca FILE names a PEM file with the certificate of the authority, or of the server itself";

/// A certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
    hint: &'static str,
}

impl TlsError {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Reads a certificate with its chain, and its key. TLS 1.2 and 1.3 are spoken.
///
/// # Errors
///
/// When one of them cannot be read, or they do not belong together.
pub fn load(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let fault = |path: &Path, why: String| TlsError { path: path.to_owned(), why, hint: SERVER_HINT };
    let chain = certificates(cert).map_err(|why| fault(cert, why))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, unreadable(error)))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| fault(key, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A client's side, which trusts the certificates in this file, or without one those that the system trusts.
///
/// # Errors
///
/// When the file cannot be read, or the system keeps its certificates where they are not looked for.
pub fn trusting(ca: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let system = || SYSTEM_CAS.iter().map(Path::new).find(|path| path.exists());
    let [usual, _] = SYSTEM_CAS;
    let path = ca.or_else(system).unwrap_or(Path::new(usual));
    let fault = |why: String| TlsError { path: path.to_owned(), why, hint: CA_HINT };
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(certificates(path).map_err(fault)?);
    // A bundle of the system may hold some that are not understood; a file that was named may not.
    if added == 0 || ca.is_some() && ignored > 0 {
        return Err(fault("it has a certificate that cannot be used as an authority's".to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificates in a file, one at least; else why not.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => "it is not there".to_owned(),
        pem::Error::NoItemsFound => "there is nothing of this kind in it".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        error => format!("not PEM: {error:?}"),
    }
}
