//! TLS between the operating system's sockets and connections, if it was built in (`--features rustls`).
//!
//! Owns: what differs between the two builds, so that nothing else has to ask. Must never know: connections, timers, who
//! waits for sockets.

#[cfg(not(feature = "rustls"))]
mod absent;
#[cfg(feature = "rustls")]
mod files;
#[cfg(feature = "rustls")]
mod session;
#[cfg(feature = "rustls")]
mod socket;
#[cfg(all(test, feature = "rustls"))]
mod tests;

use std::io;
use std::path::PathBuf;

#[cfg(not(feature = "rustls"))]
pub(super) use absent::tcp;
#[cfg(not(feature = "rustls"))]
pub use absent::{SystemSocket, Tls};
#[cfg(feature = "rustls")]
pub use files::Tls;
#[cfg(feature = "rustls")]
pub use socket::SystemSocket;
#[cfg(feature = "rustls")]
pub(super) use socket::tcp;

/// Why a certificate and its key cannot be used. Fix the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file does not have what it should.
    #[error("{}: {why}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Each of them is good, but they are not a pair.
    #[error("the key in {} does not fit the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// Where the certificate is.
        cert: PathBuf,
        /// Where the key is.
        key: PathBuf,
    },
}
