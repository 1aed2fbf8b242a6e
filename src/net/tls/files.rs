//! The certificate and the key: read from their files, and read again when they were renewed.
//!
//! Owns: what new handshakes are offered. Must never know: a connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use mio::net::TcpStream;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, UnbufferedServerConnection,
};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::TlsError;
use super::session::Session;
use super::socket::SystemSocket;

/// All that is spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// A certificate and its key, with all that connections share. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    pair: Arc<Pair>,
}

/// The two files, and what was last in them.
#[derive(Debug)]
struct Pair {
    cert: PathBuf,
    key: PathBuf,
    /// Behind a lock because rustls wants it shareable between threads; only one thread is here.
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads a certificate, with those that lead from it to a root behind it, and its key, both PEM.
    ///
    /// # Errors
    /// A file cannot be read, has something else in it, or the two do not belong together.
    pub fn load(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let current = RwLock::new(Arc::new(read_pair(cert, key, &provider)?));
        let pair = Arc::new(Pair { cert: cert.to_owned(), key: key.to_owned(), current });
        let failed = |error: Error| TlsError::Content { path: cert.to_owned(), why: error.to_string() };
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let resolver = Arc::clone(&pair) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.map_err(failed)?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Who comes back brings a ticket, so that nothing is kept here for those who do not.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(failed)?;
        config.send_tls13_tickets = 1;
        Ok(Tls { config: Arc::new(config), pair })
    }

    /// Reads the files again, for handshakes from here on; connections stay as they are.
    ///
    /// # Errors
    /// As [`Tls::load`]; what was read before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Pair { cert, key, current } = &*self.pair;
        let read = Arc::new(read_pair(cert, key, self.config.crypto_provider())?);
        *current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The socket of a connection that was accepted.
    pub(in crate::net) fn wrap(tls: Option<&Tls>, socket: TcpStream) -> SystemSocket {
        let Some(Tls { config, .. }) = tls else { return SystemSocket::Plain(socket) };
        let session = UnbufferedServerConnection::new(Arc::clone(config));
        let session = session.expect("only a size of fragments can be wrong in a configuration, and none is set");
        SystemSocket::Tls(Box::new(Session::new(socket, session)))
    }
}

fn read_pair(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
    let chain = chain.map_err(|error| unreadable(cert, error, "no certificate in it (PEM)"))?;
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|error| unreadable(key, error, "no private key in it (PEM, without a password)"))?;
    let of = |path: &Path, why: String| TlsError::Content { path: path.to_owned(), why };
    CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
        }
        Error::InvalidCertificate(why) => of(cert, format!("the certificate is damaged: {why:?}")),
        other => of(key, format!("the key is of a kind that cannot be used: {other}")),
    })
}

/// The words for a file that is no PEM file, or has something else in it.
fn unreadable(path: &Path, error: pem::Error, nothing: &str) -> TlsError {
    let path = path.to_owned();
    let why = match error {
        pem::Error::Io(source) => return TlsError::File { path, source },
        pem::Error::NoItemsFound => nothing.to_owned(),
        other => format!("it is no PEM file: {other}"),
    };
    TlsError::Content { path, why }
}
