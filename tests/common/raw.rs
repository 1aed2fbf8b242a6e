//! Bytes by hand: requests that no library would send, and WebSocket frames with every bit in reach.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::PATIENCE;

/// The head of a good upgrade, without its last line break, so that a test can add to it.
pub fn upgrade_head(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    )
}

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// The answer to one request, with these further header lines, on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> Response {
    let mut raw = Raw::connect(address);
    raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").as_bytes());
    let response = raw.response(method == "HEAD");
    assert!(raw.ended(), "closed when asked to");
    response
}

/// A TCP connection.
pub struct Raw {
    stream: TcpStream,
    /// Read, and not yet looked at.
    buffer: Vec<u8>,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).expect("the server listens"))
    }

    /// Over a connection that the test has made.
    pub fn over(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        stream.set_nodelay(true).expect("a TCP socket");
        Raw { stream, buffer: Vec::new() }
    }

    /// A connection that is a WebSocket, its `connected` still to be read.
    pub fn websocket(address: SocketAddr, path: &str) -> Raw {
        let mut raw = Raw::connect(address);
        raw.send(format!("{}\r\n", upgrade_head(path)).as_bytes());
        let response = raw.response(true);
        assert_eq!(response.status, 101, "{}", response.head);
        raw
    }

    /// Sends bytes; a peer that has hung up already is not this function's business.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Another hold on the same connection, for a thread that only sends.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("an open connection")
    }

    /// Reads more; false at the end (or at a reset).
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // The machine was stopped for a moment.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                panic!("nothing came for too long ({error}), after {:?}", String::from_utf8_lossy(&self.buffer))
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Everything up to and with `end`; `None` if the connection ends before.
    pub fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// One response; `bodyless` for those to HEAD and for upgrades.
    pub fn response(&mut self, bodyless: bool) -> Response {
        let head = self.until(b"\r\n\r\n");
        let head = head.unwrap_or_else(|| panic!("the end in a head: {:?}", String::from_utf8_lossy(&self.buffer)));
        let head = String::from_utf8(head).expect("a head is ASCII");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: Vec::new() };
        let length = response.header("Content-Length").map_or(0, |text| text.parse().expect("a length"));
        if !bodyless && length > 0 {
            response.body = self.take(length).expect("all of the body");
        }
        response
    }

    /// One frame: its first byte and its payload; `None` at the end.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.take(2)?;
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2)?.try_into().expect("two"))),
            127 => usize::try_from(u64::from_be_bytes(self.take(8)?.try_into().expect("eight"))).expect("64 bits"),
            short => usize::from(short),
        };
        assert!(head[1] < 128, "a server does not mask");
        Some((head[0], self.take(length)?))
    }

    /// The code of the close frame with which the server ends this; text frames before it are passed over.
    pub fn close_code(&mut self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "there are frames and frames, and none is a close");
            match self.frame() {
                Some((0x88, payload)) if payload.len() >= 2 => return u16::from_be_bytes([payload[0], payload[1]]),
                Some((0x88, _)) => return 1005,
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }

    /// Whether the server has hung up; reads what is left before that.
    pub fn ended(&mut self) -> bool {
        while self.fill() {}
        true
    }

    /// The sending half is over; answers can still be read.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("an open connection");
    }
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Text in one frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}
