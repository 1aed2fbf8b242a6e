//! The opening handshake as a client makes it (RFC 6455 section 4.1).
//!
//! Owns: the request that asks for a WebSocket, and the judgement of what comes back. Must never know: sockets, deadlines.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

const HEADERS_MAX: usize = 64;

/// Where to connect to, and what to ask for there.
#[derive(Debug, Clone, Copy)]
pub struct Dial<'a> {
    /// The server's address.
    pub addr: SocketAddr,
    /// The address to come from; the kernel's choice if it is not said. One address has some 28,000 ports for one server.
    pub source: Option<IpAddr>,
    /// The `Host` header: name and port.
    pub host: &'a str,
    /// Path and query, percent-encoded, beginning with a slash.
    pub target: &'a str,
    /// Further headers, such as `Origin` or `Sec-WebSocket-Protocol`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Size of the kernel's receive buffer, in bytes; its own choice if it is not said.
    pub receive_buffer_bytes: Option<usize>,
}

/// Why a connection did not become a WebSocket. The connection is gone; dialling again may help after all but the last
/// two.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The kernel's word: refused, unreachable, out of descriptors or ports.
    #[error(transparent)]
    Connect(#[from] io::Error),
    /// `handshake_timeout_ms` have passed.
    #[error("no answer in time")]
    Timeout,
    /// The server ended the connection instead of answering.
    #[error("the server hung up instead of answering the upgrade")]
    Ended,
    /// An answer other than 101.
    #[error("the server answered {status} instead of 101 Switching Protocols")]
    Refused {
        /// The status code.
        status: u16,
    },
    /// An answer that RFC 6455 does not allow.
    #[error("the server's answer to the upgrade has {0}")]
    Malformed(&'static str),
}

/// A handshake that has been asked for.
#[derive(Debug)]
pub(super) struct Handshake {
    /// What the server has to give back.
    accept_key: String,
    /// What has arrived of its answer.
    head: Vec<u8>,
}

/// The request for `dial`, and what judges its answer.
///
/// # Panics
/// If host, target or a header contains a line break: it would become a header, or a request, of its own.
pub(super) fn ask(dial: &Dial<'_>) -> (Vec<u8>, Handshake) {
    let key = generate_key();
    let mut request = Vec::with_capacity(256);
    let plain = |text: &str| assert!(!text.contains(['\r', '\n', '\0']), "a line break in a request head");
    plain(dial.target);
    plain(dial.host);
    write!(
        request,
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n",
        dial.target, dial.host
    )
    .expect("writing to a Vec cannot fail");
    for (name, value) in dial.headers {
        plain(name);
        plain(value);
        write!(request, "{name}: {value}\r\n").expect("writing to a Vec cannot fail");
    }
    request.extend_from_slice(b"\r\n");
    (request, Handshake { accept_key: derive_accept_key(key.as_bytes()), head: Vec::new() })
}

impl Handshake {
    /// Takes in what has arrived. Once the answer is complete and good: the bytes behind it.
    ///
    /// # Errors
    /// The answer is another one, or none; the connection is of no more use.
    pub fn take(&mut self, input: &[u8], head_bytes_max: usize) -> Result<Option<Vec<u8>>, DialError> {
        self.head.extend_from_slice(input);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let end = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) if self.head.len() <= head_bytes_max => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(DialError::Malformed("too long a head")),
            Err(_) => return Err(DialError::Malformed("no HTTP head")),
        };
        judge(&response, &self.accept_key)?;
        Ok(Some(self.head.split_off(end)))
    }
}

/// RFC 6455 section 4.1, the second list of requirements.
fn judge(response: &httparse::Response<'_, '_>, accept_key: &str) -> Result<(), DialError> {
    let status = response.code.unwrap_or(0);
    if status != 101 {
        return Err(DialError::Refused { status });
    }
    let values = |name: &'static str| {
        let named = response.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok())
    };
    let lists = |name, element: &str| {
        values(name).flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(element))
    };
    if !lists("upgrade", "websocket") || !lists("connection", "upgrade") {
        return Err(DialError::Malformed("no upgrade to WebSocket in it"));
    }
    if !values("sec-websocket-accept").map(str::trim).eq([accept_key]) {
        return Err(DialError::Malformed("a wrong Sec-WebSocket-Accept"));
    }
    if values("sec-websocket-extensions").any(|value| !value.trim().is_empty()) {
        return Err(DialError::Malformed("an extension that was not offered"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial() -> Dial<'static> {
        Dial {
            addr: ([127, 0, 0, 1], 80).into(),
            source: None,
            host: "chat.example:80",
            target: "/ws?user=a",
            headers: &[("Origin", "https://a.example")],
            receive_buffer_bytes: None,
        }
    }

    /// A handshake and the good answer to it.
    fn asked() -> (Handshake, String) {
        let (request, handshake) = ask(&dial());
        let request = String::from_utf8(request).unwrap();
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        (handshake, answer)
    }

    #[test]
    fn a_server_of_this_house_takes_the_request() {
        let (request, _) = ask(&dial());
        let Ok(crate::net::http::Progress::Complete { request, rest }) =
            crate::net::http::RequestReader::default().take(&request, 8_192, 0)
        else {
            panic!("not a request")
        };
        assert!(request.is_upgrade() && rest.is_empty());
        assert_eq!((request.target(), request.header("host")), ("/ws?user=a", Some("chat.example:80")));
        assert_eq!(request.header("origin"), Some("https://a.example"));
    }

    #[test]
    fn an_answer_may_come_in_pieces_and_with_frames_behind_it() {
        let (_, answer) = asked();
        for cut in 1..answer.len() {
            let (mut handshake, answer) = asked();
            let bytes = [answer.as_bytes(), b"\x81\x00"].concat();
            assert!(matches!(handshake.take(&bytes[..cut], 8_192), Ok(None)), "cut at {cut}");
            assert_eq!(handshake.take(&bytes[cut..], 8_192).unwrap().unwrap(), b"\x81\x00", "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_upgrade_is_told_apart() {
        let spoilt = |from: &str, to: &str| {
            let (mut handshake, answer) = asked();
            assert!(answer.contains(from));
            let error = handshake.take(answer.replace(from, to).as_bytes(), 8_192).unwrap_err();
            error.to_string()
        };
        for (from, to, words) in [
            ("101 Switching Protocols", "503 Busy", "the server answered 503 instead of 101 Switching Protocols"),
            ("WebSocket", "h2c", "the server's answer to the upgrade has no upgrade to WebSocket in it"),
            (", Upgrade", "", "the server's answer to the upgrade has no upgrade to WebSocket in it"),
            ("Accept: ", "Accept: x", "the server's answer to the upgrade has a wrong Sec-WebSocket-Accept"),
            (
                "\r\n\r\n",
                "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                "the server's answer to the upgrade has an extension that was not offered",
            ),
            ("HTTP/1.1", "SSH-2.0", "the server's answer to the upgrade has no HTTP head"),
        ] {
            assert_eq!(spoilt(from, to), words);
        }
        let (mut handshake, answer) = asked();
        let endless = answer.replace("\r\n\r\n", &format!("\r\nX: {}", "x".repeat(9_000)));
        assert!(matches!(handshake.take(endless.as_bytes(), 8_192), Err(DialError::Malformed("too long a head"))));
    }

    #[test]
    #[should_panic(expected = "a line break in a request head")]
    fn a_target_cannot_smuggle_a_header() {
        ask(&Dial { target: "/ HTTP/1.1\r\nX: y", ..dial() });
    }
}
