//! The REST interface on plain connections: a request, its answer as JSON, and event streams as they arrive.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::raw::{Raw, Response};
use super::{Client, PATIENCE};

/// A password for those of whom nothing else is asked.
pub const PASSWORD: &str = "correct horse battery";

/// Where requests come from and for whom. Each has a connection of its own.
#[derive(Clone, Debug)]
pub struct Rest {
    pub address: SocketAddr,
    source: Option<Ipv4Addr>,
    token: Option<String>,
    forwarded: Option<String>,
}

impl Rest {
    /// For somebody without an account.
    pub fn new(address: SocketAddr) -> Rest {
        Rest { address, source: None, token: None, forwarded: None }
    }

    /// The same with a token.
    pub fn with(&self, token: &str) -> Rest {
        Rest { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same for another server, such as the next one on the same data.
    pub fn at(&self, address: SocketAddr) -> Rest {
        Rest { address, ..self.clone() }
    }

    /// The same from another address of this machine.
    pub fn from(&self, last_byte: u8) -> Rest {
        Rest { source: Some(loopback(last_byte)), ..self.clone() }
    }

    /// The same as a proxy passes it on, with this `X-Forwarded-For`.
    pub fn forwarded_for(&self, list: &str) -> Rest {
        Rest { forwarded: Some(list.to_owned()), ..self.clone() }
    }

    /// A connection from where requests come.
    pub fn raw(&self) -> Raw {
        Raw::over(match self.source {
            Some(source) => connect_from(source, self.address),
            None => TcpStream::connect(self.address).expect("the server listens"),
        })
    }

    /// A request as it is sent. Headers are whole lines.
    pub fn encode(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Vec<u8> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}", self.address);
        if let Some(token) = &self.token {
            text += &format!("Authorization: Bearer {token}\r\n");
        }
        if let Some(list) = &self.forwarded {
            text += &format!("X-Forwarded-For: {list}\r\n");
        }
        match body.map(Value::to_string) {
            Some(body) => {
                text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
            None => text += "\r\n",
        }
        text.into_bytes()
    }

    /// Sends a request and reads its answer.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Response {
        let mut raw = self.raw();
        raw.send(&self.encode(method, path, headers, body));
        raw.response(method == "HEAD")
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "", None)
    }

    pub fn post(&self, path: &str, body: Value) -> Response {
        self.request("POST", path, "", Some(&body))
    }

    pub fn put(&self, path: &str) -> Response {
        self.request("PUT", path, "", None)
    }

    pub fn patch(&self, path: &str, body: Value) -> Response {
        self.request("PATCH", path, "", Some(&body))
    }

    pub fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path, "", None)
    }

    /// Makes an account; its token.
    pub fn register(&self, user: &str) -> String {
        self.post("/api/accounts", json!({"user": user, "password": PASSWORD})).token(201)
    }

    /// Makes an administrator's account; its token.
    pub fn register_admin(&self, user: &str) -> String {
        self.post("/api/accounts", json!({"user": user, "password": PASSWORD, "role": "admin"})).token(201)
    }

    /// Logs in with the usual password; another token.
    pub fn log_in(&self, user: &str) -> String {
        self.post("/api/sessions", json!({"user": user, "password": PASSWORD})).token(200)
    }

    /// Says something by REST; the stored message.
    pub fn say(&self, room: &str, content: &str) -> Value {
        self.post(&messages(room), json!({"content": content})).expect(201)
    }

    /// Reads a room from the start.
    pub fn history(&self, room: &str) -> Value {
        self.get(&format!("{}?limit=1000", messages(room))).expect(200)
    }

    /// Opens an event stream of a room.
    pub fn listen(&self, room: &str, query: &str, headers: &str) -> Events {
        let mut raw = self.raw();
        raw.send(&self.encode("GET", &format!("{}{query}", events(room)), headers, None));
        let head = raw.response(true);
        assert_eq!((head.status, head.header("Content-Type")), (200, Some("text/event-stream")), "{}", head.head);
        Events { raw, head, comments: 0 }
    }

    /// Connects a client that is logged in, from where requests come.
    pub fn device(&self, path: &str) -> Client {
        let stream = self.source.map(|source| connect_from(source, self.address));
        let stream = stream.unwrap_or_else(|| TcpStream::connect(self.address).expect("the server listens"));
        let token = self.token.as_ref().map(|token| ("Authorization", format!("Bearer {token}")));
        let forwarded = self.forwarded.as_ref().map(|list| ("X-Forwarded-For", list.clone()));
        let headers: Vec<_> = token.iter().chain(&forwarded).map(|(name, value)| (*name, value.as_str())).collect();
        let mut client = Client::with_headers(stream, self.address, path, &headers);
        client.hello = client.expect("connected");
        client
    }
}

impl Response {
    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("no JSON ({error}) after {}: {:?}", self.head, String::from_utf8_lossy(&self.body))
        })
    }

    /// The body as JSON of an answer with this status.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}{}", self.head, String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The token of an answer with this status.
    pub fn token(&self, status: u16) -> String {
        self.expect(status)["token"].as_str().expect("a token").to_owned()
    }

    /// An error by the book (RFC 9457), with this status and code; its fields.
    pub fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("Content-Type"), Some("application/problem+json"), "{}", self.head);
        assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        for text in ["title", "detail"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{text} of {problem}");
        }
        problem
    }
}

/// An event stream.
pub struct Events {
    raw: Raw,
    pub head: Response,
    /// Comments so far.
    pub comments: usize,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `message` where nothing is said.
    pub kind: String,
    /// Empty where nothing is said.
    pub id: String,
    pub data: Value,
}

impl Events {
    /// The next event, or comment (`None`); the outer `None` is the end of the stream.
    pub fn read(&mut self) -> Option<Option<Event>> {
        let block = String::from_utf8(self.raw.until(b"\n\n")?).expect("a stream is UTF-8");
        if block.starts_with(':') {
            self.comments += 1;
            return Some(None);
        }
        let field = |name: &str| {
            let mut values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = values.next().unwrap_or_default();
            assert!(values.next().is_none(), "{name} once: {block:?}");
            value
        };
        let kind = Some(field("event")).filter(|kind| !kind.is_empty()).unwrap_or("message").to_owned();
        let data = serde_json::from_str(field("data")).expect("the data is JSON");
        Some(Some(Event { kind, id: field("id").to_owned(), data }))
    }

    /// The next event; comments are passed over.
    pub fn next(&mut self) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nothing but comments");
            if let Some(event) = self.read().expect("the stream goes on") {
                return event;
            }
        }
    }

    /// The next event, which must be a message; its data. Its id is checked: it is the message's own.
    pub fn message(&mut self) -> Value {
        let event = self.next();
        assert_eq!((event.kind.as_str(), &event.data["id"]), ("message", &json!(event.id)), "{event:?}");
        event.data
    }

    /// Messages through the one with this number.
    pub fn read_through(&mut self, last: u64) -> Vec<Value> {
        let mut messages = vec![self.message()];
        while messages.last().is_some_and(|message| message["sequence"] != last) {
            messages.push(self.message());
        }
        messages
    }

    /// Whether the server has ended it; what comes before is passed over.
    pub fn ended(&mut self) -> bool {
        self.raw.ended()
    }
}

/// The path of a room's messages.
pub fn messages(room: &str) -> String {
    format!("/api/rooms/{}/messages", encoded(room))
}

/// The path of a room's event stream.
pub fn events(room: &str) -> String {
    format!("/api/rooms/{}/events", encoded(room))
}

/// A name as it stands in a path.
pub fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// An address of this machine: 127.0.0.x.
pub fn loopback(last_byte: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last_byte)
}

/// A connection from an address of this machine.
pub fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((IpAddr::V4(source), 0)).into()).expect("an address of this machine");
    socket.connect(&address.into()).expect("the server listens");
    socket.into()
}

/// Tries until it works; for what becomes true without an event that tells so.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happens that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
