//! `roomlog healthcheck`: is the server on this host well? For images that have no shell and no curl.
//!
//! Owns: one `GET /healthz`. Must never know: what the server counts as well.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::{http::connect, tls};
use crate::config::Healthcheck;

/// Longest wait for each of: the connection, the request being taken, more of the answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// `HTTP/1.1 200`: all of the answer that matters (RFC 9112, section 4).
const STATUS_BYTES: usize = 12;

/// Why the server does not count as well. The caller prints it and exits with 1.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// No whole answer came.
    #[error("healthcheck: {scheme}://{address}/healthz: {source}")]
    NoAnswer {
        /// How it was asked: http or https.
        scheme: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// What went wrong on the way.
        source: io::Error,
    },
    /// An answer came, and it was not `200`.
    #[error("healthcheck: {scheme}://{address}/healthz answered '{status}'")]
    Unwell {
        /// How it was asked: http or https.
        scheme: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// The beginning of the status line.
        status: String,
    },
}

/// Asks the server at `target` for `/healthz`; with TLS if that is what it speaks, so that nobody has to say so. Nothing
/// secret is sent, and only whoever has the port can answer.
///
/// # Errors
/// Whatever is not an answer of status 200 within the time limits.
pub fn run(target: &Healthcheck) -> Result<(), HealthcheckError> {
    let address = target.address();
    let mut scheme = "http";
    let connect = || connect(&address, TIMEOUT);
    let mut answer = connect().and_then(|stream| ask(address, stream));
    // To a request like this, that is the answer of a port that speaks TLS.
    if cfg!(feature = "rustls") && answer.as_ref().is_ok_and(|status| status.ends_with(b" 400")) {
        scheme = "https";
        answer = connect().and_then(tls::over).and_then(|stream| ask(address, stream));
    }
    let status = answer.map_err(|source| HealthcheckError::NoAnswer { scheme, address, source: worded(source) })?;
    if status.starts_with(b"HTTP/1.") && status.ends_with(b" 200") {
        return Ok(());
    }
    Err(HealthcheckError::Unwell { scheme, address, status: status.escape_ascii().to_string() })
}

fn ask(address: SocketAddr, mut stream: impl Read + Write) -> io::Result<[u8; STATUS_BYTES]> {
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status)?;
    Ok(status)
}

/// A socket's timeout shows as `EAGAIN`, whose text says nothing to an operator.
fn worded(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    /// Runs the check against a server that reads the request head and answers with `answer`; gives the head too.
    fn against(answer: &'static str) -> (Result<(), HealthcheckError>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the check connects");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a whole request head");
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).expect("the check listens");
            String::from_utf8(head).expect("ASCII")
        });
        let result = run(&Healthcheck { port, bind: Ipv4Addr::UNSPECIFIED.into() });
        (result, server.join().expect("the server ends"))
    }

    #[test]
    fn status_200_is_well_and_the_request_is_whole() {
        let (result, head) = against("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert!(result.is_ok(), "{result:?}");
        assert!(head.starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
    }

    #[test]
    fn any_other_answer_is_not_and_says_so_in_a_line() {
        for (answer, words) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 'HTTP/1.1 503'"),
            ("SSH-2.0- 200\r\n", "answered 'SSH-2.0- 200'"),
            ("HTTP/1.1 2\r\n", "answered 'HTTP/1.1 2\\r\\n'"),
            ("", "closed without an answer"),
        ] {
            let error = against(answer).0.expect_err(answer).to_string();
            assert!(error.ends_with(words) && !error.contains('\n'), "{error}");
        }
    }
}
