//! Dialling, with a real socket at the other end: this very reactor, tungstenite, or a few bytes by hand. Time is a number.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Peer};
use std::thread::{self, JoinHandle};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, WebSocket};

use crate::net::event::{CloseReason, ConnId, NetEvent};
use crate::net::handshake::{Dial, DialError};
use crate::net::inbox::Inbox;
use crate::net::outbox::Frame;
use crate::net::reactor::Reactor;
use crate::net::{NetConfig, TICK_MS};

/// A test that waits this long for an event will not get it.
const PATIENCE_MS: u64 = 10_000;

struct Rig {
    reactor: Reactor,
    inbox: Inbox,
    now_ms: u64,
    events: Vec<NetEvent>,
    /// What dialled connections received.
    texts: Vec<String>,
    /// Accepted connections; requests are answered with an upgrade.
    accepted: Vec<ConnId>,
}

impl Rig {
    fn new() -> Self {
        let config = NetConfig { message_bytes_max: 1 << 20, ..NetConfig::default() };
        let reactor = Reactor::bind(([127, 0, 0, 1], 0).into(), config, 0).unwrap();
        Rig { reactor, inbox: Inbox::new(), now_ms: 0, events: Vec::new(), texts: Vec::new(), accepted: Vec::new() }
    }

    fn dial(&mut self, addr: std::net::SocketAddr) -> ConnId {
        let dial = Dial { addr, source: None, host: "a", target: "/", headers: &[], receive_buffer_bytes: None };
        self.reactor.dial(&dial).unwrap()
    }

    /// A dialled connection to this very reactor, and its other end.
    fn pair(&mut self) -> (ConnId, ConnId) {
        let (near, before) = (self.dial(self.reactor.local_addr()), self.accepted.len());
        self.turn_until("opening", |rig| rig.opened(near) && rig.accepted.len() > before);
        (near, self.accepted[before])
    }

    fn opened(&self, wanted: ConnId) -> bool {
        self.events.iter().any(|event| matches!(event, NetEvent::Opened { conn } if *conn == wanted))
    }

    fn closed(&self, wanted: ConnId) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            NetEvent::Closed { conn, reason } if *conn == wanted => Some(*reason),
            _ => None,
        })
    }

    fn failure(&self) -> Option<&DialError> {
        self.events.iter().find_map(|event| match event {
            NetEvent::DialFailed { error, .. } => Some(error),
            _ => None,
        })
    }

    fn turn(&mut self, timeout_ms: u64) {
        self.reactor.wait(Some(std::time::Duration::from_millis(timeout_ms))).unwrap();
        let mut events = Vec::new();
        self.reactor.collect(self.now_ms, &mut events);
        for event in events {
            match event {
                NetEvent::Request { conn, .. } => {
                    self.reactor.upgrade(conn, None);
                    self.accepted.push(conn);
                }
                event => self.events.push(event),
            }
        }
        while self.reactor.receive(&mut self.inbox).is_some() {
            self.texts.extend(self.inbox.texts().map(|text| String::from_utf8(text.to_vec()).unwrap()));
        }
        self.reactor.flush(self.now_ms, &mut self.events);
    }

    fn turn_until(&mut self, what: &str, done: impl Fn(&Rig) -> bool) {
        let started = std::time::Instant::now();
        while !done(self) {
            self.turn(PATIENCE_MS);
            assert!(started.elapsed().as_millis() < u128::from(PATIENCE_MS), "still no {what}: {:?}", self.events);
        }
    }
}

/// A server of one connection, on a thread of its own.
fn serve<T: Send + 'static>(serve: impl FnOnce(Peer) -> T + Send + 'static) -> (std::net::SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

fn serve_websocket<T: Send + 'static>(
    talk: impl FnOnce(WebSocket<Peer>) -> T + Send + 'static,
) -> (std::net::SocketAddr, JoinHandle<T>) {
    serve(|stream| talk(tungstenite::accept(stream).unwrap()))
}

#[test]
fn both_ends_of_a_connection_understand_each_other() {
    let mut rig = Rig::new();
    let (near, far) = rig.pair();
    assert!(near.is_dialled() && !far.is_dialled());
    rig.reactor.send_text(near, "hä".as_bytes());
    rig.reactor.send_text(near, b"ho");
    let heard = |rig: &Rig| -> Vec<String> {
        let texts = rig.events.iter().filter_map(|event| match event {
            NetEvent::Text { text, .. } => Some(text.to_string()),
            _ => None,
        });
        texts.collect()
    };
    rig.turn_until("text", |rig| heard(rig) == ["hä", "ho"]);
    let long = "long".repeat(200_000);
    for text in ["a", &long, "ü"] {
        rig.reactor.push(far, &Frame::text(text.as_bytes()));
    }
    rig.turn_until("texts", |rig| rig.texts.len() == 3);
    assert_eq!(rig.texts, ["a", &long, "ü"]);
    assert_eq!(rig.reactor.open_connections(), 2);
}

#[test]
fn pings_are_answered_and_fragments_joined() {
    let (addr, server) = serve_websocket(|mut socket| {
        socket.send(Message::Ping("are you there".into())).unwrap();
        socket.read().unwrap()
    });
    let mut rig = Rig::new();
    let conn = rig.dial(addr);
    rig.turn_until("opening", |rig| rig.opened(conn));
    rig.turn_until("end", |rig| rig.closed(conn).is_some());
    assert_eq!(server.join().unwrap(), Message::Pong("are you there".into()));
}

#[test]
fn what_comes_with_the_answer_to_the_upgrade_is_received() {
    let (addr, server) = serve(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(&[answer.as_bytes(), b"\x81\x05hello\x81\x02"].concat()).unwrap();
        stream.read(&mut [0]).unwrap()
    });
    let mut rig = Rig::new();
    let conn = rig.dial(addr);
    rig.turn_until("text", |rig| rig.texts == ["hello"]);
    assert!(rig.opened(conn) && rig.closed(conn).is_none());
    drop(rig);
    assert_eq!(server.join().unwrap(), 0);
}

#[test]
fn a_connection_that_cannot_be_is_told_why() {
    // Bound but not listening: the port refuses, and nobody else can take it meanwhile.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let mut rig = Rig::new();
    rig.dial(socket.local_addr().unwrap().as_socket().unwrap());
    rig.turn_until("refusal", |rig| rig.failure().is_some());
    let Some(DialError::Connect(error)) = rig.failure() else { panic!("{:?}", rig.failure()) };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);

    for (answer, words) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "the server answered 404 instead of 101 Switching Protocols"),
        ("", "the server hung up instead of answering the upgrade"),
    ] {
        let (addr, server) = serve(move |mut stream| {
            let asked = stream.read(&mut [0; 8_192]).unwrap();
            stream.write_all(answer.as_bytes()).map(|()| asked)
        });
        let mut rig = Rig::new();
        rig.dial(addr);
        rig.turn_until("refusal", |rig| rig.failure().is_some());
        assert_eq!(rig.failure().unwrap().to_string(), words);
        assert!(server.join().unwrap().is_ok());
        assert_eq!(rig.reactor.open_connections(), 0);
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut rig = Rig::new();
    rig.dial(listener.local_addr().unwrap());
    let deadline_ms = NetConfig::default().handshake_timeout_ms;
    rig.now_ms = deadline_ms - 2 * TICK_MS;
    rig.turn(0);
    assert!(rig.failure().is_none());
    rig.now_ms = deadline_ms + TICK_MS;
    rig.turn(0);
    assert!(matches!(rig.failure(), Some(DialError::Timeout)));
    assert_eq!(rig.reactor.open_connections(), 0);
}

#[test]
fn a_held_connection_is_not_read_until_it_is_let_go() {
    let mut rig = Rig::new();
    let (near, far) = rig.pair();
    rig.reactor.hold(near, true);
    rig.reactor.push(far, &Frame::text(b"later"));
    rig.turn(0);
    // The other end has been heard in the same turn, so the text has arrived too.
    rig.reactor.send_text(near, b"now");
    rig.turn_until("text", |rig| rig.events.iter().any(|event| matches!(event, NetEvent::Text { .. })));
    assert!(rig.texts.is_empty());
    rig.reactor.hold(near, false);
    rig.turn_until("text", |rig| rig.texts == ["later"]);
}

#[test]
fn closing_says_goodbye_and_waits_for_the_server() {
    let mut rig = Rig::new();
    let (near, far) = rig.pair();
    rig.reactor.close(near, 1000, "done");
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    assert_eq!(rig.closed(near), Some(CloseReason::Local { code: 1000 }));
    assert_eq!(rig.closed(far), Some(CloseReason::PeerClosed { code: Some(1000) }));

    let (near, far) = rig.pair();
    rig.reactor.close(far, 4000, "");
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    assert_eq!(rig.closed(near), Some(CloseReason::PeerClosed { code: Some(4000) }));
    rig.reactor.send_text(near, b"too late");
    assert_eq!((rig.reactor.queued_bytes(near), rig.reactor.peer_addr(near)), (0, None));
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_so() {
    let (addr, server) = serve_websocket(|mut socket| {
        let masked = [0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1];
        socket.get_mut().write_all(&masked).unwrap();
        socket.read().unwrap()
    });
    let mut rig = Rig::new();
    let conn = rig.dial(addr);
    rig.turn_until("end", |rig| rig.closed(conn).is_some());
    assert_eq!(rig.closed(conn), Some(CloseReason::Protocol { code: 1002 }));
    let told = Message::Close(Some(CloseFrame { code: CloseCode::Protocol, reason: "".into() }));
    assert_eq!(server.join().unwrap(), told);
    assert!(rig.texts.is_empty());
}

#[test]
fn a_peer_that_never_ends_is_dropped() {
    let (addr, server) = serve_websocket(|mut socket| socket.read().map(|message| (message, socket)));
    let mut rig = Rig::new();
    let conn = rig.dial(addr);
    rig.turn_until("opening", |rig| rig.opened(conn));
    rig.reactor.close(conn, 1000, "");
    rig.turn(0);
    let _silent = server.join().unwrap();
    assert_eq!(rig.reactor.open_connections(), 1);
    rig.now_ms = NetConfig::default().close_timeout_ms + TICK_MS;
    rig.turn(0);
    assert_eq!(rig.reactor.open_connections(), 0);
}
