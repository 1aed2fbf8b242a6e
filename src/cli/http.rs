//! One request over HTTP to a Roomlog server, as commands make it.
//!
//! Owns: the exchange, its bounds, and how a failure is worded. Must never know: what is asked for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::log::visible;
use super::tls;

/// Longest wait for each of: the connection, the request being taken, more of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most headers of an answer.
const HEADERS_MAX: usize = 64;

/// What the server says when it refuses (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

/// A request.
pub(super) struct Ask<'a> {
    pub method: &'a str,
    /// Percent-encoded.
    pub path: &'a str,
    /// For the `Host` header.
    pub host: &'a str,
    /// An account's token.
    pub token: Option<&'a str>,
    pub body: Option<&'a Value>,
}

/// What came back.
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body if all is well; what the server says if it is not, fit to be shown.
    pub fn good(self) -> Result<Vec<u8>, String> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let problem = serde_json::from_slice(&self.body).ok();
        let detail = problem.and_then(|Problem { detail, title }| detail.or(title));
        Err(visible(&detail.unwrap_or_else(|| format!("the server answered with status {}", self.status))))
    }
}

/// Asks the server at `address`.
///
/// # Errors
/// The words for why no whole answer came.
pub(super) fn exchange(address: &SocketAddr, ask: &Ask<'_>) -> Result<Answer, String> {
    connect(address, TIMEOUT).and_then(|stream| exchange_over(stream, ask)).map_err(worded)
}

/// As [`exchange`], with a server on this machine that speaks TLS.
///
/// # Errors
/// As [`exchange`]; also that this build has no TLS.
pub(super) fn exchange_tls(address: &SocketAddr, ask: &Ask<'_>) -> Result<Answer, String> {
    connect(address, TIMEOUT).and_then(tls::over).and_then(|stream| exchange_over(stream, ask)).map_err(worded)
}

/// Connects to a server, with one bound for each of: that, what is written being taken, more to read.
///
/// # Errors
/// The system's.
pub(super) fn connect(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

fn exchange_over(mut stream: impl Read + Write, ask: &Ask<'_>) -> io::Result<Answer> {
    let body = ask.body.map(Value::to_string).unwrap_or_default();
    let authorization = ask.token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        ask.method,
        ask.path,
        ask.host,
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    read_answer(stream)
}

/// Reads an answer of known length, or one that ends with the connection.
fn read_answer(stream: impl Read) -> io::Result<Answer> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut bytes = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(&bytes).map_err(|_| invalid("the answer is not HTTP"))?;
        if let httparse::Status::Complete(head_bytes) = parsed {
            let status = head.code.unwrap_or(0);
            let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
            // No body follows these, whatever else is said.
            let length = if status == 204 || status == 304 { Some(0) } else { length };
            if let Some(body) = length.and_then(|length| bytes.get(head_bytes..head_bytes.checked_add(length)?)) {
                return Ok(Answer { status, body: body.to_vec() });
            }
            if length.is_none() {
                stream.read_to_end(&mut bytes)?;
                return Ok(Answer { status, body: bytes.split_off(head_bytes) });
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A socket's timeout shows as `EAGAIN`, whose text says nothing to an operator.
fn worded(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed without a whole answer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_known_and_of_unknown_length_are_read() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]and more", Some((200, "[]"))),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", Some((200, "to the end"))),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, ""))),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Some((404, ""))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[]", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("", None),
        ] {
            let answer = read_answer(text.as_bytes()).ok();
            let answer = answer.map(|Answer { status, body }| (status, String::from_utf8(body).expect("UTF-8")));
            assert_eq!(answer.as_ref().map(|(status, body)| (*status, body.as_str())), expected, "{text}");
        }
    }
}
