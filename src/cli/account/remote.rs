//! Accounts of a running server, asked for over HTTP on this machine.
//!
//! Owns: the requests, and what comes back. Must never know: how the server keeps accounts.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AccountCommandError, Keeper, ListedAccount, ListedBan};
use crate::accounts::Role;
use crate::accounts::control::{self, Control};

/// Longest wait for each of: the connection, the request being taken, more of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most headers of an answer.
const HEADERS_MAX: usize = 64;

pub(super) struct Remote {
    control: Control,
}

/// What the server says when it refuses (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Remote {
    /// Finds the server that has a data folder.
    pub fn find(data: &Path) -> Result<Self, AccountCommandError> {
        match control::read(data) {
            Ok(control) => Ok(Self { control }),
            Err(error) => Err(AccountCommandError::Unreachable {
                data: data.to_owned(),
                why: format!("{}: {error}", data.join("control").display()),
            }),
        }
    }

    /// Asks, and gives the body of the answer if it says that all is well.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>, AccountCommandError> {
        let answer = self.exchange(method, path, body).map_err(|error| {
            AccountCommandError::Server(format!("http://{}{path}: {}", self.control.address, worded(error)))
        })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let problem = serde_json::from_slice(&answer.body).ok();
        let detail = problem.and_then(|Problem { detail, title }| detail.or(title));
        let detail = detail.unwrap_or_else(|| format!("the server answered with status {}", answer.status));
        Err(AccountCommandError::Server(super::visible(&detail)))
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let Control { address, token } = &self.control;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect_timeout(address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        read_answer(stream)
    }

    fn account(name: &str) -> String {
        format!("/api/accounts/{}", percent(name))
    }
}

impl Keeper for Remote {
    fn add(&mut self, name: &str, role: Role, password: &str) -> Result<(), AccountCommandError> {
        let body = json!({"user": name, "password": password, "role": role});
        self.ask("POST", "/api/accounts", Some(&body)).map(drop)
    }

    fn set_password(&mut self, name: &str, password: &str) -> Result<(), AccountCommandError> {
        self.ask("PATCH", &Self::account(name), Some(&json!({"password": password}))).map(drop)
    }

    fn set_role(&mut self, name: &str, role: Role) -> Result<(), AccountCommandError> {
        self.ask("PATCH", &Self::account(name), Some(&json!({"role": role}))).map(drop)
    }

    fn remove(&mut self, name: &str) -> Result<(), AccountCommandError> {
        self.ask("DELETE", &Self::account(name), None).map(drop)
    }

    fn accounts(&mut self) -> Result<Vec<ListedAccount>, AccountCommandError> {
        parse(&self.ask("GET", "/api/accounts", None)?)
    }

    fn bans(&mut self) -> Result<Vec<ListedBan>, AccountCommandError> {
        parse(&self.ask("GET", "/api/bans", None)?)
    }

    fn unban(&mut self, what: &str) -> Result<(), AccountCommandError> {
        self.ask("DELETE", &format!("/api/bans/{}", percent(what)), None).map(drop)
    }

    fn finish(&mut self) -> Result<(), AccountCommandError> {
        Ok(())
    }
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, AccountCommandError> {
    let parsed = serde_json::from_slice(body);
    parsed.map_err(|error| AccountCommandError::Server(format!("the server's answer cannot be read: {error}")))
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

/// What is escaped in a segment of a path (RFC 3986, section 3.3). Dots too, so that none is taken for a step up.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

fn percent(text: &str) -> impl Display {
    utf8_percent_encode(text, ESCAPED)
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

    #[test]
    fn names_are_one_segment_of_a_path() {
        assert_eq!(percent("Ann Lee/../é").to_string(), "Ann%20Lee%2F%2E%2E%2F%C3%A9");
        assert_eq!(percent("2001:db8::/64").to_string(), "2001%3Adb8%3A%3A%2F64");
    }
}
