//! The certificate that the port is served with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

impl TlsError {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        "tls_cert is a PEM file with the certificate and its chain, tls_key one with its key, both readable by the daemon"
    }
}

/// Reads a certificate with its chain, and its key. TLS 1.2 and 1.3 are spoken.
///
/// # Errors
///
/// When one of them cannot be read, or they do not belong together.
pub fn load(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let fault = |path: &Path, why: String| TlsError { path: path.to_owned(), why };
    let unreadable = |path: &Path, error: pem::Error| {
        let why = match error {
            pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => "it is not there".to_owned(),
            pem::Error::NoItemsFound => "there is nothing of this kind in it".to_owned(),
            pem::Error::Io(error) => error.to_string(),
            error => format!("not PEM: {error:?}"),
        };
        fault(path, why)
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(cert, error))?;
    if chain.is_empty() {
        return Err(fault(cert, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| fault(key, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
