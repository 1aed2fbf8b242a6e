//! HTTP/1.1 request heads and responses (RFC 9110, RFC 9112) and the WebSocket opening handshake (RFC 6455 section
//! 4.2).
//!
//! Owns: the syntax and the message framing. Must never know: sockets, paths, what a request is for.

use std::borrow::Cow;
use std::io::Write;
use std::mem;
use std::ops::Range;

use tungstenite::handshake::derive_accept_key;

const HEADERS_MAX: usize = 64;

/// A complete request: its head and its (bounded) body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Head and body as received; everything else points into it.
    bytes: Vec<u8>,
    method: Range<u32>,
    target: Range<u32>,
    /// Name and value of each header, in order.
    headers: Vec<(Range<u32>, Range<u32>)>,
    body_at: usize,
    minor_version: u8,
}

impl Request {
    /// The method, as sent.
    pub fn method(&self) -> &str {
        self.str(&self.method)
    }

    /// The request target without scheme and authority: path and query, still percent-encoded.
    pub fn target(&self) -> &str {
        let target = self.str(&self.target);
        // Absolute form (RFC 9112 section 3.2.2) is what proxies send, and a server must take it.
        let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else { return target };
        rest.find('/').map_or("/", |at| &rest[at..])
    }

    /// The path of the target.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The query of the target, without the question mark; empty when there is none.
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of the first header of that name (in any case), if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The elements of a header that is a comma-separated list, over all its lines (RFC 9110 section 5.6.1).
    pub fn header_list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.header_values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|element| !element.is_empty())
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// Whether the client asks for a WebSocket, in a way that can be granted.
    pub fn is_upgrade(&self) -> bool {
        // HTTP/1.0 has no upgrades; they are to be ignored there (RFC 9110 section 7.8).
        self.minor_version >= 1 && self.lists("upgrade", "websocket") && self.lists("connection", "upgrade")
    }

    /// Whether the connection outlives the answer (RFC 9112 section 9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        if self.lists("connection", "close") {
            return false;
        }
        self.minor_version >= 1 || self.lists("connection", "keep-alive")
    }

    /// The `Sec-WebSocket-Accept` value of an upgrade.
    pub(super) fn accept_key(&self) -> Option<String> {
        let key = self.header("sec-websocket-key").filter(|_| self.is_upgrade())?;
        Some(derive_accept_key(key.as_bytes()))
    }

    fn lists(&self, name: &str, element: &str) -> bool {
        let elements = self.header_values(name).flat_map(|value| value.split(|&byte| byte == b','));
        elements.map(<[u8]>::trim_ascii).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }

    fn header_values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| self.slice(found).eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| self.slice(value))
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    fn str(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(self.slice(range)).expect("httparse gives method and target as str")
    }

    /// Checks everything about a head that does not depend on what is asked for.
    fn validate(&self) -> Result<(), Refusal> {
        // RFC 9112 section 3.2.
        let hosts = self.header_values("host").count();
        if hosts > 1 || (hosts == 0 && self.minor_version >= 1) {
            return Err(Refusal::BadRequest);
        }
        if !self.is_upgrade() {
            return Ok(());
        }
        // RFC 6455 section 4.2.1.
        if self.header("sec-websocket-version") != Some("13") {
            return Err(Refusal::UpgradeRequired);
        }
        let mut keys = self.header_values("sec-websocket-key");
        let key_is_good = keys.next().is_some_and(is_websocket_key) && keys.next().is_none();
        if self.method() != "GET" || !key_is_good || self.body_bytes()? != 0 {
            return Err(Refusal::BadRequest);
        }
        Ok(())
    }

    /// The declared length of the body, in bytes (RFC 9112 section 6.3).
    fn body_bytes(&self) -> Result<u64, Refusal> {
        let mut lengths = self.header_values("content-length").map(parse_length);
        let length = lengths.next().transpose()?;
        if lengths.any(|other| other != length.ok_or(Refusal::BadRequest)) {
            return Err(Refusal::BadRequest);
        }
        if self.header_values("transfer-encoding").next().is_none() {
            return Ok(length.unwrap_or(0));
        }
        // Both at once is how requests are smuggled.
        let ambiguous = length.is_some() || self.minor_version == 0;
        Err(if ambiguous { Refusal::BadRequest } else { Refusal::LengthRequired })
    }
}

/// Sixteen bytes in base64.
fn is_websocket_key(value: &[u8]) -> bool {
    let Some(digits) = value.strip_suffix(b"==") else { return false };
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Refusal::BadRequest)
}

/// Why a request is answered by this layer and then closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("malformed request")]
    BadRequest,
    #[error("the request did not arrive in time")]
    Timeout,
    #[error("a body needs a Content-Length")]
    LengthRequired,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("WebSocket version 13 is required")]
    UpgradeRequired,
    #[error("the request head is too large")]
    HeadTooLarge,
    #[error("too many connections")]
    Overloaded,
}

impl Refusal {
    pub fn response(self) -> Response {
        let response = Response::new(match self {
            Refusal::BadRequest => 400,
            Refusal::Timeout => 408,
            Refusal::LengthRequired => 411,
            Refusal::BodyTooLarge => 413,
            Refusal::UpgradeRequired => 426,
            Refusal::HeadTooLarge => 431,
            Refusal::Overloaded => 503,
        });
        let response = match self {
            Refusal::UpgradeRequired => response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"),
            Refusal::Overloaded => response.header("Retry-After", "5"),
            _ => response,
        };
        response.header("Content-Type", "text/plain; charset=utf-8").body(format!("{self}\n").into_bytes())
    }
}

/// How far a request has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    Incomplete,
    /// More bytes are needed, and the client waits for leave to send them (RFC 9110 section 10.1.1).
    ExpectsContinue,
    /// Complete; the bytes behind it belong to whatever comes next.
    Complete { request: Box<Request>, rest: Vec<u8> },
}

/// Collects a request from the pieces in which it arrives, looking at each byte once or twice, however small they
/// are.
#[derive(Debug, Default)]
pub(super) struct RequestReader {
    bytes: Vec<u8>,
    /// Bytes before this are known to hold no end of a head.
    scanned: usize,
    /// The request whose body is arriving, and the length of both. It has taken over `bytes`.
    awaiting_body: Option<(Box<Request>, usize)>,
}

impl RequestReader {
    /// Whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.awaiting_body.is_none()
    }

    /// Takes in what has arrived.
    ///
    /// # Errors
    /// The refusal is to be answered and the connection closed: where the next request begins is not known.
    pub fn take(&mut self, input: &[u8], head_bytes_max: usize, body_bytes_max: usize) -> Result<Progress, Refusal> {
        if let Some((mut request, expected)) = self.awaiting_body.take() {
            request.bytes.extend_from_slice(input);
            return Ok(self.finish(request, expected));
        }
        let first = self.bytes.is_empty();
        self.bytes.extend_from_slice(input);
        // The first bytes are looked at even without an end: what is no HTTP at all need not wait for the deadline.
        let ended = self.scan();
        let parsed = if ended || first { parse(&self.bytes)? } else { None };
        let head_bytes = parsed.as_ref().map_or(self.bytes.len(), |request| request.body_at);
        if head_bytes > head_bytes_max {
            return Err(Refusal::HeadTooLarge);
        }
        let Some(mut request) = parsed else { return Ok(Progress::Incomplete) };
        request.bytes = mem::take(self).bytes;
        request.validate()?;
        let body_bytes = request.body_bytes()?;
        if body_bytes > body_bytes_max as u64 {
            return Err(Refusal::BodyTooLarge);
        }
        let expected = head_bytes + body_bytes as usize;
        let expects_continue = request.lists("expect", "100-continue");
        match self.finish(Box::new(request), expected) {
            Progress::Incomplete if expects_continue => Ok(Progress::ExpectsContinue),
            progress => Ok(progress),
        }
    }

    /// Whether an empty line has arrived since the last look.
    fn scan(&mut self) -> bool {
        let tail = &self.bytes[self.scanned..];
        self.scanned = self.bytes.len().saturating_sub(2);
        tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|triple| triple == b"\n\r\n")
    }

    fn finish(&mut self, mut request: Box<Request>, expected: usize) -> Progress {
        if request.bytes.len() < expected {
            self.awaiting_body = Some((request, expected));
            return Progress::Incomplete;
        }
        let rest = request.bytes.split_off(expected);
        Progress::Complete { request, rest }
    }
}

/// Parses the head at the start of `bytes`; `None` when it is incomplete. The result points into `bytes`, which the
/// caller puts in.
fn parse(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(_) => return Err(Refusal::BadRequest),
    };
    let range = |part: &[u8]| {
        let start = (part.as_ptr() as usize - bytes.as_ptr() as usize) as u32;
        start..start + part.len() as u32
    };
    let known = "a complete head has a request line";
    Ok(Some(Request {
        method: range(head.method.expect(known).as_bytes()),
        target: range(head.path.expect(known).as_bytes()),
        headers: head.headers.iter().map(|header| (range(header.name.as_bytes()), range(header.value))).collect(),
        body_at,
        minor_version: head.version.expect(known),
        bytes: Vec::new(),
    }))
}

/// An answer. `Content-Length` and `Connection` are added when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

impl Response {
    /// An answer without headers and body.
    pub fn new(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Cow::Borrowed(b"") }
    }

    /// Adds a header.
    ///
    /// # Panics
    /// If `value` contains a line break: it would become a header, or a response, of its own.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        let value = value.into();
        assert!(!value.contains(['\r', '\n', '\0']), "a line break in header {name}");
        self.headers.push((name, value));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Cow<'static, [u8]>>) -> Response {
        self.body = body.into();
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Encodes it; `with_body` is false in answer to HEAD, which is told the length but not given the body.
    pub(super) fn encode(&self, with_body: bool, keep_alive: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        self.encode_head(&mut out);
        // Neither status may carry a length (RFC 9110 sections 8.6 and 15.4.5).
        let bodyless = self.status == 204 || self.status == 304;
        if !bodyless {
            write!(out, "Content-Length: {}\r\n", self.body.len()).expect("writing to a Vec cannot fail");
        }
        out.extend_from_slice(if keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        if with_body && !bodyless {
            out.extend_from_slice(&self.body);
        }
        out
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).expect("writing to a Vec cannot fail");
        for (name, value) in &self.headers {
            write!(out, "{name}: {value}\r\n").expect("writing to a Vec cannot fail");
        }
    }
}

/// The answer that opens a WebSocket (RFC 6455 section 4.2.2).
pub(super) fn encode_upgrade(accept_key: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    let mut response = Response::new(101)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Accept", accept_key.to_owned());
    if let Some(subprotocol) = subprotocol {
        response = response.header("Sec-WebSocket-Protocol", subprotocol.to_owned());
    }
    response.encode_head(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        // The phrase may be empty, and clients ignore it (RFC 9112 section 4).
        _ => "",
    }
}

#[cfg(test)]
mod tests;
