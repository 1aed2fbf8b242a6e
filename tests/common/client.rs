//! A chat client on a blocking socket, as strict as a test wants it: what is not asked for is a failure.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket, client::IntoClientRequest, handshake::client::Request};

use super::PATIENCE;

/// A connection, past its `connected`.
pub struct Client<S = TcpStream> {
    socket: WebSocket<S>,
    /// The data of the last `connected`.
    pub hello: Value,
    /// The reason in the close frame with which it ended.
    pub reason: String,
    commands: u64,
}

impl Client {
    /// Connects to a path (with its query) and reads `connected`.
    pub fn connect(address: SocketAddr, path: &str) -> Client {
        let mut client = Client::open(address, path);
        client.hello = client.expect("connected");
        client
    }

    /// Connects, and reads nothing.
    pub fn open(address: SocketAddr, path: &str) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        Client::over(stream, address, path)
    }

    /// Upgrades a connection that the test has made.
    pub fn over(stream: TcpStream, address: SocketAddr, path: &str) -> Client {
        Client::with_token(stream, address, path, None)
    }

    /// As [`Client::over`], with an account's token in `Authorization`.
    pub fn with_token(stream: TcpStream, address: SocketAddr, path: &str, token: Option<&str>) -> Client {
        let value = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&'static str, &str)> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
        Client::with_headers(stream, address, path, &headers)
    }

    /// As [`Client::over`], with further headers.
    pub fn with_headers(
        stream: TcpStream,
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Client {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a valid address");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header's value"));
        }
        Client::upgraded(stream, request)
    }

    /// Breaks the connection off without a close frame: the peer is reset.
    pub fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }
}

impl<S: Read + Write> Client<S> {
    /// Upgrades any connection, with any request; reads nothing.
    pub fn upgraded(stream: S, request: Request) -> Client<S> {
        // A history frame is larger than a client's usual bound.
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => Client { socket, hello: Value::Null, reason: String::new(), commands: 0 },
            Err(error) => panic!("no upgrade: {error}"),
        }
    }

    /// The name it goes by.
    pub fn user(&self) -> &str {
        self.hello["user"].as_str().expect("connected has a user")
    }

    /// What resumes it.
    pub fn session(&self) -> &str {
        self.hello["session"].as_str().expect("connected has a session")
    }

    /// Sends one command.
    pub fn send(&mut self, command: Value) {
        self.send_text(&command.to_string());
    }

    /// Sends any text.
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the connection takes it");
    }

    /// Puts a command into the socket without waiting for room: false if the socket is full or broken.
    pub fn try_send(&mut self, command: &Value) -> bool {
        self.socket.send(Message::text(command.to_string())).is_ok()
    }

    /// The next event; a heartbeat is one too.
    pub fn next(&mut self) -> Value {
        match self.read() {
            Ok(event) => event,
            Err(end) => panic!("{} waits for an event: {end:?}", self.hello["user"]),
        }
    }

    /// The next event, or how the connection ended.
    pub fn read(&mut self) -> Result<Value, End> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("events are JSON")),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    let _ = self.socket.flush();
                    self.reason = frame.as_ref().map_or(String::new(), |frame| frame.reason.as_str().to_owned());
                    return Err(End::Closed(frame.map_or(1005, |frame| frame.code.into())));
                }
                Ok(other) => panic!("a server sends text: {other:?}"),
                Err(Error::Io(error)) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                    return Err(End::Silent);
                }
                Err(error) => return Err(End::Broken(error.to_string())),
            }
        }
    }

    /// The data of the next event, which must be of this type.
    pub fn expect(&mut self, kind: &str) -> Value {
        let mut event = self.next();
        assert_eq!(event["type"], kind, "{} got {event}", self.hello["user"]);
        event["data"].take()
    }

    /// The data of the next event of this type; those before it are left out on purpose.
    pub fn skip_to(&mut self, kind: &str) -> Value {
        self.skip_until(|event| event["type"] == kind)["data"].take()
    }

    /// The next event that fits; those before it are left out on purpose.
    pub fn skip_until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            if fits(&event) {
                return event;
            }
            assert!(Instant::now() < deadline, "{} still waits, now at {event}", self.hello["user"]);
        }
    }

    /// The data of the `ack` of a command, which must be the next event.
    pub fn expect_ack(&mut self, id: impl Into<Value>) -> Value {
        let mut event = self.next();
        assert_eq!((&event["type"], &event["id"]), (&json!("ack"), &id.into()), "{event}");
        event["data"].take()
    }

    /// The data of an `error`, which must be the next event.
    pub fn expect_error(&mut self, code: &str) -> Value {
        let data = self.expect("error");
        assert_eq!(data["code"], code, "{data}");
        assert!(data["message"].as_str().is_some_and(|text| !text.is_empty()), "for people: {data}");
        data
    }

    /// Sends a command with a fresh id; the data of its `ack`. What comes before the ack is left out on purpose.
    pub fn ask(&mut self, mut command: Value) -> Value {
        let id = self.send_numbered(&mut command);
        let mut event = self.skip_until(|event| event["id"] == id.as_str());
        assert_eq!(event["type"], "ack", "{command}: {event}");
        event["data"].take()
    }

    /// Sends a command with a fresh id that must be refused; the error's data.
    pub fn refused(&mut self, mut command: Value, code: &str) -> Value {
        let id = self.send_numbered(&mut command);
        let mut event = self.skip_until(|event| event["id"] == id.as_str());
        assert_eq!((&event["type"], &event["data"]["code"]), (&json!("error"), &json!(code)), "{command}: {event}");
        event["data"].take()
    }

    fn send_numbered(&mut self, command: &mut Value) -> String {
        self.commands += 1;
        let id = format!("c{}", self.commands);
        command["id"] = json!(id);
        self.send(command.clone());
        id
    }

    /// Joins a room and reads everything that belongs to it; the messages of its history.
    pub fn join(&mut self, room: &str) -> Vec<Value> {
        self.ask(json!({"type": "join", "room": room}));
        messages_of(&self.drain())
    }

    /// Says something; the data of the ack. Everything else that comes before it is left out on purpose.
    pub fn say(&mut self, room: &str, content: &str) -> Value {
        self.ask(json!({"type": "message", "data": {"room": room, "content": content}}))
    }

    /// Everything that the server had for this client when it was asked. A pong overtakes stored messages of its own turn,
    /// so it takes a second one to be behind them.
    pub fn drain(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        for _ in 0..2 {
            self.commands += 1;
            let mark = json!(format!("drain {}", self.commands));
            self.send(json!({"type": "ping", "timestamp": mark}));
            loop {
                let event = self.next();
                if event["type"] == "pong" && event["data"]["timestamp"] == mark {
                    break;
                }
                events.push(event);
            }
        }
        events
    }

    /// Reads stored messages (of history frames and live ones) until one has this sequence; all of them.
    pub fn read_through(&mut self, last: u64) -> Vec<Value> {
        let (mut messages, deadline) = (Vec::new(), Instant::now() + 2 * PATIENCE);
        while messages.last().is_none_or(|message: &Value| message["sequence"] != last) {
            let event = self.next();
            assert!(Instant::now() < deadline, "{} still waits for {last}, now at {event}", self.hello["user"]);
            messages.extend(stored(&event));
        }
        messages
    }

    /// Logs in on this connection; the data of the new `connected`, which is also kept.
    pub fn log_in(&mut self, token: &str) -> Value {
        self.ask(json!({"type": "hello", "token": token}));
        self.hello = self.expect("connected");
        self.hello.clone()
    }

    /// Reads on to the end of the connection; the close code.
    pub fn expect_close(&mut self) -> u16 {
        self.events_until_close().1
    }

    /// Reads on to the end of the connection; what came before, and the close code.
    pub fn events_until_close(&mut self) -> (Vec<Value>, u16) {
        let (mut events, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            assert!(Instant::now() < deadline, "{} still lives, now at {:?}", self.hello["user"], events.last());
            match self.read() {
                Ok(event) => events.push(event),
                Err(End::Closed(code)) => return (events, code),
                Err(other) => panic!("no close frame after {:?}: {other:?}", events.last()),
            }
        }
    }

    /// Says goodbye with 1000 and waits for the answer.
    pub fn close(mut self) {
        let normal = tungstenite::protocol::frame::coding::CloseCode::Normal;
        let frame = tungstenite::protocol::CloseFrame { code: normal, reason: "".into() };
        self.socket.close(Some(frame)).expect("the connection takes it");
        while self.read().is_ok() {}
    }

    /// The socket under it.
    pub fn stream(&self) -> &S {
        self.socket.get_ref()
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame of this code.
    Closed(u16),
    /// Nothing came for longer than the test has patience.
    Silent,
    /// Without a close frame.
    Broken(String),
}

/// The stored messages in an event: a live one, or those of a history frame.
pub fn stored(event: &Value) -> Vec<Value> {
    match event["type"].as_str() {
        Some("message") if event["data"]["ephemeral"] != true => vec![event["data"].clone()],
        Some("history") => event["data"]["messages"].as_array().expect("a list").clone(),
        _ => Vec::new(),
    }
}

/// The stored messages in several events, in order.
pub fn messages_of(events: &[Value]) -> Vec<Value> {
    events.iter().flat_map(stored).collect()
}

/// The numbers of messages.
pub fn sequences(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["sequence"].as_u64().expect("numbered")).collect()
}

/// The texts of messages.
pub fn contents(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["content"].as_str().expect("with a text")).collect()
}

/// The types of events.
pub fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("with a type")).collect()
}
