//! HTTP/1.1 request heads and responses (RFC 9110, RFC 9112) and the WebSocket opening handshake (RFC 6455 section
//! 4.2).
//!
//! Owns: the syntax and the message framing; the chunked coding in `chunked`. Must never know: sockets, paths, what a request is for.

use std::borrow::Cow;
use std::io::Write;
use std::mem;
use std::ops::Range;

use tungstenite::handshake::derive_accept_key;

use chunked::Chunked;

mod chunked;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

const HEADERS_MAX: usize = 64;

/// A complete request: its head and its (bounded) body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The head as received, and behind it the body without its coding; everything else points into it.
    bytes: Vec<u8>,
    method: Range<u32>,
    target: Range<u32>,
    /// Name and value of each header, in order.
    headers: Vec<(Range<u32>, Range<u32>)>,
    body_at: usize,
    minor_version: u8,
}

impl Request {
    /// A request as it is sent, for tests of those who answer.
    #[cfg(test)]
    pub(crate) fn testing(text: &str) -> Box<Request> {
        match RequestReader::default().take(text.as_bytes(), 8 * 1024, 64 * 1024) {
            Ok(Progress::Complete { request, .. }) => request,
            other => panic!("no whole request: {other:?}"),
        }
    }

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

    /// The body, at most `body_bytes_max` long and without transfer coding; empty when there is none.
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
        self.elements(name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// The elements of a list, empty ones included.
    fn elements(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let elements = self.header_values(name).flat_map(|value| value.split(|&byte| byte == b','));
        elements.map(<[u8]>::trim_ascii)
    }

    /// The values of all headers of that name (in any case), in order, as sent.
    pub(super) fn header_values(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
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
        if self.method() != "GET" || !key_is_good || self.framing()? != Framing::Length(0) {
            return Err(Refusal::BadRequest);
        }
        Ok(())
    }

    /// How long the body is (RFC 9112 section 6.3). Two answers to that are how requests are smuggled past whoever
    /// stands in front of this server and believes the other one, so they are refused even where they agree.
    fn framing(&self) -> Result<Framing, Refusal> {
        let mut lengths = self.header_values("content-length");
        let (length, repeated) = (lengths.next(), lengths.next().is_some());
        if self.header_values("transfer-encoding").next().is_none() {
            let length = length.map_or(Ok(0), parse_length)?;
            return if repeated { Err(Refusal::BadRequest) } else { Ok(Framing::Length(length)) };
        }
        // HTTP/1.0 has no transfer codings (RFC 9112 section 6.1).
        if length.is_some() || self.minor_version == 0 {
            return Err(Refusal::BadRequest);
        }
        self.check_codings()?;
        Ok(Framing::Chunked)
    }

    /// The one coding that is known is chunked, which may be applied once and has no parameters (RFC 9112 sections 6.1
    /// and 7.1).
    fn check_codings(&self) -> Result<(), Refusal> {
        let codings = || self.elements("transfer-encoding");
        if !codings().all(|coding| !coding.is_empty() && coding.iter().copied().all(is_token_byte)) {
            return Err(Refusal::BadRequest);
        }
        if !codings().all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return Err(Refusal::UnknownCoding);
        }
        if codings().count() == 1 { Ok(()) } else { Err(Refusal::BadRequest) }
    }

    /// Whether the client waits for leave to send its body (RFC 9110 section 10.1.1).
    fn expects_continue(&self) -> Result<bool, Refusal> {
        // To be ignored in HTTP/1.0, whose clients do not know the answer.
        if self.minor_version == 0 {
            return Ok(false);
        }
        let expectations = || self.elements("expect").filter(|element| !element.is_empty());
        let known = expectations().all(|element| element.eq_ignore_ascii_case(b"100-continue"));
        if known { Ok(expectations().next().is_some()) } else { Err(Refusal::UnknownExpectation) }
    }
}

/// How the length of a body is told.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// By `Content-Length`, in bytes; 0 without one.
    Length(u64),
    Chunked,
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("no expectation but 100-continue can be met")]
    UnknownExpectation,
    #[error("WebSocket version 13 is required")]
    UpgradeRequired,
    #[error("the request head is too large")]
    HeadTooLarge,
    #[error("no transfer coding but chunked is known")]
    UnknownCoding,
    #[error("too many connections")]
    Overloaded,
}

impl Refusal {
    pub fn response(self) -> Response {
        let response = Response::new(match self {
            Refusal::BadRequest => 400,
            Refusal::Timeout => 408,
            Refusal::BodyTooLarge => 413,
            Refusal::UnknownExpectation => 417,
            Refusal::UpgradeRequired => 426,
            Refusal::HeadTooLarge => 431,
            Refusal::UnknownCoding => 501,
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

/// Where a body ends.
#[derive(Debug, PartialEq, Eq)]
enum Awaited {
    /// When head and body are so long.
    Length(usize),
    Chunked(Chunked),
}

/// Collects a request from the pieces in which it arrives, looking at each byte once or twice, however small they
/// are.
#[derive(Debug, Default)]
pub(super) struct RequestReader {
    bytes: Vec<u8>,
    /// Bytes before this are known to hold no end of a head.
    scanned: usize,
    /// The request whose body is arriving. It has taken over `bytes`.
    awaiting_body: Option<(Box<Request>, Awaited)>,
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
        match self.awaiting_body.take() {
            Some((mut request, Awaited::Length(expected))) => {
                request.bytes.extend_from_slice(input);
                return Ok(self.finish(request, expected));
            }
            Some((request, Awaited::Chunked(chunked))) => return self.decode(request, chunked, input, body_bytes_max),
            None => {}
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
        let Some(request) = parsed else { return Ok(Progress::Incomplete) };
        self.begin_body(request, body_bytes_max)
    }

    /// Judges a complete head, and takes in what came along with it.
    fn begin_body(&mut self, mut request: Request, body_bytes_max: usize) -> Result<Progress, Refusal> {
        request.bytes = mem::take(self).bytes;
        request.validate()?;
        let framing = request.framing()?;
        let expects_continue = request.expects_continue()?;
        let progress = match framing {
            Framing::Length(body_bytes) if body_bytes > body_bytes_max as u64 => return Err(Refusal::BodyTooLarge),
            Framing::Length(body_bytes) => {
                let expected = request.body_at + body_bytes as usize;
                self.finish(Box::new(request), expected)
            }
            Framing::Chunked => {
                let behind = request.bytes.split_off(request.body_at);
                self.decode(Box::new(request), Chunked::default(), &behind, body_bytes_max)?
            }
        };
        let asks_for_leave = expects_continue && progress == Progress::Incomplete;
        Ok(if asks_for_leave { Progress::ExpectsContinue } else { progress })
    }

    /// Whether an empty line has arrived since the last look.
    fn scan(&mut self) -> bool {
        let tail = &self.bytes[self.scanned..];
        self.scanned = self.bytes.len().saturating_sub(2);
        tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|triple| triple == b"\n\r\n")
    }

    fn finish(&mut self, mut request: Box<Request>, expected: usize) -> Progress {
        if request.bytes.len() < expected {
            self.awaiting_body = Some((request, Awaited::Length(expected)));
            return Progress::Incomplete;
        }
        let rest = request.bytes.split_off(expected);
        Progress::Complete { request, rest }
    }

    fn decode(
        &mut self,
        mut request: Box<Request>,
        mut chunked: Chunked,
        input: &[u8],
        body_bytes_max: usize,
    ) -> Result<Progress, Refusal> {
        let bytes_max = request.body_at.saturating_add(body_bytes_max);
        Ok(match chunked.take(input, &mut request.bytes, bytes_max)? {
            Some(taken) => Progress::Complete { request, rest: input[taken..].to_vec() },
            None => {
                self.awaiting_body = Some((request, Awaited::Chunked(chunked)));
                Progress::Incomplete
            }
        })
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

    /// As it is sent, for tests of those who make answers.
    #[cfg(test)]
    pub(crate) fn encoded(&self) -> Vec<u8> {
        self.encode(true, true)
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether its status allows one (RFC 9110 section 6.4.1).
    pub(super) fn may_have_body(&self) -> bool {
        self.status != 204 && self.status != 304
    }

    /// Encodes it as the beginning of a body that ends with the connection; `with_body` is false where the head is all.
    pub(super) fn encode_stream(&self, with_body: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        self.encode_head(&mut out);
        out.extend_from_slice(b"Connection: close\r\n\r\n");
        if with_body {
            out.extend_from_slice(&self.body);
        }
        out
    }

    /// Encodes it; `with_body` is false in answer to HEAD, which is told the length but not given the body.
    pub(super) fn encode(&self, with_body: bool, keep_alive: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        self.encode_head(&mut out);
        // Neither status may carry a length (RFC 9110 sections 8.6 and 15.4.5).
        let may_have_body = self.may_have_body();
        if may_have_body {
            write!(out, "Content-Length: {}\r\n", self.body.len()).expect("writing to a Vec cannot fail");
        }
        out.extend_from_slice(if keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        if with_body && may_have_body {
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

/// The phrase of a status (RFC 9110 section 15); empty for one that is not in use here.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        // The phrase may be empty, and clients ignore it (RFC 9112 section 4).
        _ => "",
    }
}

#[cfg(test)]
mod tests;
