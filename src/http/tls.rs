//! The certificate that the port is served with, and those that a client trusts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
pub use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_cert::Certificate;
use x509_cert::der::Decode;

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

/// When the first certificate of a chain ends that does, epoch seconds.
///
/// # Errors
///
/// When the file cannot be read, or holds what is no certificate.
pub fn ends(cert: &Path) -> Result<u64, TlsError> {
    let fault = |why: String| TlsError { path: cert.to_owned(), why, hint: SERVER_HINT };
    let mut first = u64::MAX;
    for der in certificates(cert).map_err(fault)? {
        let read = Certificate::from_der(&der).map_err(|error| fault(format!("no certificate: {error}")))?;
        first = first.min(read.tbs_certificate.validity.not_after.to_unix_duration().as_secs());
    }
    Ok(first)
}

/// A client's side, which trusts the certificates in this file, or without one those that the system trusts. A server that
/// shows a certificate which is itself in the file is who it says, see [`Named`].
///
/// # Errors
///
/// When the file cannot be read, or the system keeps its certificates where they are not looked for.
pub fn trusting(ca: Option<&Path>) -> Result<TlsConnector, TlsError> {
    trusting_for(ca, &[b"http/1.1"])
}

/// The same for who speaks something else.
///
/// # Errors
///
/// As [`trusting`].
pub fn trusting_for(ca: Option<&Path>, protocols: &[&[u8]]) -> Result<TlsConnector, TlsError> {
    let system = || SYSTEM_CAS.iter().map(Path::new).find(|path| path.exists());
    let [usual, _] = SYSTEM_CAS;
    let path = ca.or_else(system).unwrap_or(Path::new(usual));
    let fault = |why: String| TlsError { path: path.to_owned(), why, hint: CA_HINT };
    let mut roots = RootCertStore::empty();
    let named = certificates(path).map_err(fault)?;
    let (added, ignored) = roots.add_parsable_certificates(named.clone());
    // A bundle of the system may hold some that are not understood; a file that was named may not.
    if added == 0 || ca.is_some() && ignored > 0 {
        return Err(fault("it has a certificate that cannot be used as an authority's".to_owned()));
    }
    let provider = Arc::new(ring::default_provider());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let chains = chains.map_err(|error| fault(error.to_string()))?;
    // Of the hundreds that a system trusts none is a server.
    let named = ca.map(|_| named).unwrap_or_default();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { chains, named }))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Checks a server as browsers do, and knows one by its very certificate where that can do no more: what `openssl req -x509`
/// makes is an authority's, which no server may show, and often names no host.
#[derive(Debug)]
struct Named {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let error = match self.chains.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(error)) => error,
            verified => return verified,
        };
        let says_otherwise = match &error {
            // It names hosts, and this is none of them.
            CertificateError::NotValidForName => true,
            CertificateError::NotValidForNameContext { presented, .. } => !presented.is_empty(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => true,
            _ => false,
        };
        match !says_otherwise && self.named.iter().any(|named| named == end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
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
