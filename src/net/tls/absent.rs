//! What stands for TLS in a build without it: nothing, and it costs nothing.
//!
//! Owns: the names that the other build has. Must never know: anything of TLS.

use std::path::Path;

use mio::net::TcpStream;

use super::TlsError;

/// A certificate and its key, of which there are none in this build.
#[derive(Debug, Clone)]
pub enum Tls {}

impl Tls {
    /// Refuses: this build has no TLS.
    ///
    /// # Errors
    /// Always.
    pub fn load(cert: &Path, _key: &Path) -> Result<Tls, TlsError> {
        let why = "this roomlog was built without TLS (--features rustls)".to_owned();
        Err(TlsError::Content { path: cert.to_owned(), why })
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn reload(&self) -> Result<(), TlsError> {
        match *self {}
    }

    pub(in crate::net) fn wrap(_tls: Option<&Tls>, socket: TcpStream) -> SystemSocket {
        socket
    }
}

/// The socket of an accepted connection.
pub type SystemSocket = TcpStream;

/// What is to be polled.
pub fn tcp(socket: &mut SystemSocket) -> &mut TcpStream {
    socket
}
