//! TLS to a server on this machine, as commands speak it, if it was built in (`--features rustls`).
//!
//! Owns: whom such a command trusts. Must never know: what is asked for.
//!
//! The certificate is the one that the server shows to the world, made for its public name, so it says nothing about the
//! address of this machine that is connected to here, and is not asked to: what is sent does not leave the machine, with
//! TLS as without. That the peer has the certificate's key is verified.

use std::io;
#[cfg(feature = "rustls")]
use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(feature = "rustls")]
use std::sync::Arc;

#[cfg(feature = "rustls")]
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Speaks TLS over a connection to this machine.
///
/// # Errors
/// This build has none.
#[cfg(not(feature = "rustls"))]
pub(super) fn over(_stream: TcpStream) -> io::Result<TcpStream> {
    let why = "the server speaks TLS, without which this roomlog was built (--features rustls)";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Speaks TLS over a connection to this machine.
///
/// # Errors
/// The connection is gone already; what else may fail does so with the first write.
#[cfg(feature = "rustls")]
pub(super) fn over(stream: TcpStream) -> io::Result<impl Read + Write> {
    let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(ThisMachine(provider))).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, stream))
}

/// Whoever listens there, as above.
#[cfg(feature = "rustls")]
#[derive(Debug)]
struct ThisMachine(Arc<CryptoProvider>);

#[cfg(feature = "rustls")]
impl ServerCertVerifier for ThisMachine {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
