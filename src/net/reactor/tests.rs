//! The loop with real sockets on loopback, turned by hand; time is a number here too.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::net::TcpStream as Client;

use mio::net::TcpStream;
use socket2::{Domain, Socket as RawSocket, Type};

use super::*;
use crate::net::event::CloseReason;
use crate::net::port::POLL_EVENTS;
use crate::net::testing::client_frame;
use crate::net::wheel::TICK_MS;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A test that waits this long for an event will not get it.
const PATIENCE_MS: u64 = 10_000;

struct Rig {
    reactor: Reactor,
    now_ms: u64,
    /// Everything that happened, but for requests: those are answered with an upgrade, or kept if none was asked for.
    events: Vec<NetEvent>,
    upgraded: Vec<ConnId>,
    asked: Vec<ConnId>,
}

impl Rig {
    fn new(config: NetConfig) -> Self {
        let reactor = Reactor::bind(([127, 0, 0, 1], 0).into(), config, 0).unwrap();
        Rig { reactor, now_ms: 0, events: Vec::new(), upgraded: Vec::new(), asked: Vec::new() }
    }

    fn connect(&self) -> Client {
        let mut client = Client::connect(self.reactor.local_addr()).unwrap();
        client.write_all(UPGRADE).unwrap();
        client
    }

    fn turn(&mut self, timeout_ms: u64) {
        self.reactor.wait(Some(Duration::from_millis(timeout_ms))).unwrap();
        let mut events = Vec::new();
        self.reactor.collect(self.now_ms, &mut events);
        for event in events {
            match event {
                NetEvent::Request { conn, request } if !request.is_upgrade() => self.asked.push(conn),
                NetEvent::Request { conn, .. } => {
                    self.reactor.upgrade(conn, None);
                    self.upgraded.push(conn);
                }
                event => self.events.push(event),
            }
        }
        self.reactor.flush(self.now_ms, &mut self.events);
        let deadline_ms = self.reactor.next_deadline_ms();
        assert!(deadline_ms.is_none_or(|deadline_ms| deadline_ms + 4 > self.now_ms), "a deadline was left behind");
    }

    /// Lets time pass as it does for a process that runs: from deadline to deadline.
    fn run_until(&mut self, now_ms: u64) {
        while let Some(deadline_ms) = self.reactor.next_deadline_ms().filter(|&deadline_ms| deadline_ms <= now_ms) {
            self.now_ms = self.now_ms.max(deadline_ms);
            self.turn(0);
        }
        self.now_ms = now_ms;
    }

    /// The head of the answer that this client gets.
    fn turn_until_answered(&mut self, client: &mut Client) -> String {
        client.set_nonblocking(true).unwrap();
        self.turn_until("answer", |_| client.peek(&mut [0]).is_ok());
        client.set_nonblocking(false).unwrap();
        read_head(client)
    }

    /// A client that has sent this upgrade, which is granted.
    fn turn_until_upgraded(&mut self, request: &[u8]) -> Client {
        let mut client = Client::connect(self.reactor.local_addr()).unwrap();
        client.write_all(request).unwrap();
        let wanted = self.upgraded.len() + 1;
        self.turn_until("upgrade", |rig| rig.upgraded.len() == wanted);
        client
    }

    fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Rig) -> bool) {
        while !done(self) {
            let busy_before = self.busy();
            let started = std::time::Instant::now();
            self.turn(PATIENCE_MS);
            let waited = started.elapsed() >= Duration::from_millis(PATIENCE_MS);
            assert!(!waited || self.busy() != busy_before, "nothing happened, still no {what}");
        }
    }

    /// Grows with all that happens, but for what ends.
    fn busy(&self) -> usize {
        self.events.len() + self.reactor.open_connections() + self.upgraded.len() + self.asked.len()
    }

    /// A client whose request is with the program.
    fn ask(&mut self) -> Client {
        let mut client = Client::connect(self.reactor.local_addr()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let wanted = self.asked.len() + 1;
        self.turn_until("request", |rig| rig.asked.len() == wanted);
        client
    }

    fn closed(&self) -> Vec<CloseReason> {
        let reason = |event: &NetEvent| match event {
            NetEvent::Closed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    /// Connects clients and upgrades them.
    fn upgrade(&mut self, count: usize) -> Vec<Client> {
        let wanted = self.upgraded.len() + count;
        let clients = (0..count).map(|_| self.connect()).collect();
        self.turn_until("upgrade", |rig| rig.upgraded.len() == wanted);
        clients
    }
}

fn read_head(client: &mut Client) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_stale_name_does_nothing_to_whoever_has_the_slot_now() {
    let mut rig = Rig::new(NetConfig::default());
    drop(rig.upgrade(1));
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    assert!(matches!(rig.events[..], [NetEvent::Closed { reason: CloseReason::Eof | CloseReason::Reset, .. }]));
    let mut client = rig.upgrade(1).remove(0);
    let (old, new) = (rig.upgraded[0], rig.upgraded[1]);
    assert_eq!((old.slot(), old == new), (new.slot(), false), "the slot is used again");
    rig.reactor.push(old, &Frame::text(b"for the old"));
    rig.reactor.close(old, 1000, "");
    assert_eq!((rig.reactor.queued_bytes(old), rig.reactor.peer_addr(old)), (0, None));
    rig.reactor.push(new, &Frame::text(b"for the new"));
    rig.turn(0);
    read_head(&mut client);
    let mut frame = [0; 13];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(&frame[2..], b"for the new");
    assert_eq!(rig.reactor.peer_addr(new), Some(client.local_addr().unwrap()));
}

#[test]
fn connections_beyond_the_bound_are_told_to_come_back() {
    let mut rig = Rig::new(NetConfig { connections_max: 2, ..NetConfig::default() });
    let mut clients = rig.upgrade(2);
    let mut refused = rig.connect();
    rig.turn_until("refusal", |rig| rig.reactor.open_connections() == 3);
    rig.turn(0);
    let head = read_head(&mut refused);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
    drop((refused, clients.pop()));
    rig.turn_until("room", |rig| rig.reactor.open_connections() == 1);
    rig.upgrade(1);
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    const FRAMES: u32 = 4_000;
    let mut rig = Rig::new(NetConfig::default());
    let mut client = rig.upgrade(1).remove(0);
    let conn = rig.upgraded[0];
    let payload = |n: u32| n.to_be_bytes().repeat(1_000);
    let mut sent = 0;
    while sent < FRAMES && !rig.reactor.is_blocked(conn) {
        rig.reactor.push(conn, &Frame::binary(&payload(sent)));
        sent += 1;
        rig.turn(0);
    }
    assert!(sent < FRAMES, "the socket must fill up for this test to mean something");
    let reader = std::thread::spawn(move || {
        read_head(&mut client);
        for n in 0..FRAMES {
            let mut frame = [0; 4_004];
            client.read_exact(&mut frame).unwrap();
            assert_eq!(frame[4..], payload(n), "frame {n}");
        }
        client
    });
    let mut drained = 0;
    while sent < FRAMES {
        while sent < FRAMES && rig.reactor.queued_bytes(conn) < rig.reactor.config.outbox_low_water_bytes {
            rig.reactor.push(conn, &Frame::binary(&payload(sent)));
            sent += 1;
        }
        // As long as nothing blocks the program goes on by itself; once blocked it waits to be told.
        rig.turn(if rig.reactor.is_blocked(conn) { PATIENCE_MS } else { 0 });
        drained += rig.events.drain(..).filter(|event| matches!(event, NetEvent::Drained { .. })).count();
    }
    rig.turn_until("last byte", |rig| rig.reactor.queued_bytes(conn) == 0);
    reader.join().unwrap();
    assert!(drained > 0, "somebody must say when there is room again");
}

#[test]
fn everyone_is_heard_before_anyone_is_declared_silent() {
    const CLIENTS: usize = POLL_EVENTS + 200;
    let quiet = NetConfig { heartbeat_ms: 0, ..NetConfig::default() };
    let idle_timeout_ms = quiet.idle_timeout_ms;
    let mut rig = Rig::new(quiet);
    let mut clients = rig.upgrade(CLIENTS);
    rig.run_until(idle_timeout_ms - 10);
    // More of them speak at the last moment than one poll reports.
    for client in &mut clients {
        client.write_all(&client_frame(0x8a, b"")).unwrap();
    }
    rig.now_ms = idle_timeout_ms + 10;
    rig.turn(PATIENCE_MS);
    assert_eq!(rig.closed(), [], "nobody was silent");
    rig.run_until(2 * idle_timeout_ms + 20);
    let silent = |event: &&NetEvent| matches!(event, NetEvent::Closed { reason: CloseReason::IdleTimeout, .. });
    assert_eq!(rig.events.iter().filter(silent).count(), CLIENTS, "and silence is found in the end");
}

#[test]
fn a_peer_that_ignores_our_close_is_dropped_long_before_its_heartbeat() {
    let mut rig = Rig::new(NetConfig::default());
    let _client = rig.upgrade(1);
    rig.reactor.close(rig.upgraded[0], 1000, "");
    rig.turn(0);
    let close_timeout_ms = rig.reactor.config.close_timeout_ms;
    rig.run_until(close_timeout_ms - 10);
    assert_eq!(rig.reactor.open_connections(), 1);
    rig.run_until(close_timeout_ms + TICK_MS);
    assert_eq!(rig.reactor.open_connections(), 0);
}

#[test]
fn an_ending_program_says_goodbye_to_websockets_and_drops_silent_peers() {
    let mut rig = Rig::new(NetConfig::default());
    let mut clients = rig.upgrade(1);
    let mut silent = Client::connect(rig.reactor.local_addr()).unwrap();
    rig.turn_until("second connection", |rig| rig.reactor.open_connections() == 2);
    rig.reactor.close_all(1001, "");
    rig.turn(0);
    assert_eq!(rig.reactor.open_connections(), 1, "only the WebSocket has a handshake to finish");
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    read_head(&mut clients[0]);
    let mut frame = [0; 4];
    clients[0].read_exact(&mut frame).unwrap();
    assert_eq!(frame, [0x88, 2, 0x03, 0xE9]);
}

#[test]
fn a_waker_ends_the_wait_under_its_key() {
    let mut rig = Rig::new(NetConfig::default());
    let waker = rig.reactor.waker(7).unwrap();
    let waking = std::thread::spawn(move || waker.wake().map(|()| waker).unwrap());
    rig.turn_until("wake", |rig| matches!(rig.events[..], [NetEvent::External { key: 7 }]));
    waking.join().unwrap();
}

#[test]
fn stop_accepting_leaves_the_rest_alone() {
    let mut rig = Rig::new(NetConfig::default());
    let mut client = rig.upgrade(1).remove(0);
    rig.reactor.stop_accepting();
    assert!(Client::connect(rig.reactor.local_addr()).is_err());
    rig.reactor.close(rig.upgraded[0], 1001, "later");
    rig.turn(0);
    read_head(&mut client);
    let mut goodbye = Vec::new();
    client.read_to_end(&mut goodbye).unwrap();
    assert_eq!(goodbye, b"\x88\x07\x03\xe9later");
    drop(client);
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    assert!(matches!(rig.events[..], [NetEvent::Closed { reason: CloseReason::Local { code: 1001 }, .. }]));
}

/// Closes a socket so that the other end sees a reset.
fn reset(client: Client) {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_stream_ends_where_the_connection_does() {
    let mut rig = Rig::new(NetConfig::default());
    let mut client = rig.ask();
    let conn = rig.asked[0];
    rig.reactor.stream(conn, &Response::new(200).header("Content-Type", "text/event-stream"));
    rig.reactor.push(conn, &Frame::from_encoded(b"data: 1\n\n".to_vec()));
    rig.turn(0);
    rig.run_until(rig.reactor.config.heartbeat_ms + TICK_MS);
    assert!(matches!(rig.events[..], [NetEvent::HeartbeatDue { .. }]), "{:?}", rig.events);
    rig.reactor.push(conn, &Frame::from_encoded(b":\n\n".to_vec()));
    rig.reactor.close(conn, 1001, "");
    rig.turn(0);
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert_eq!(all, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n:\n\n");
    drop(client);
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    assert_eq!(rig.closed(), [CloseReason::Local { code: 1001 }]);
}

#[test]
fn the_end_of_a_streams_reader_is_told_however_it_comes() {
    let mut rig = Rig::new(NetConfig::default());
    for (leave, told) in [(drop as fn(Client), CloseReason::Eof), (reset, CloseReason::Reset)] {
        let mut client = rig.ask();
        rig.reactor.stream(rig.asked.pop().unwrap(), &Response::new(200));
        rig.turn(0);
        read_head(&mut client);
        leave(client);
        rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
        assert_eq!(rig.closed(), [told]);
        rig.events.clear();
    }
}

/// The kernel's time is real, so this test takes some; ours stands still, so it is not we who give up.
#[cfg(target_os = "linux")]
#[test]
fn a_streams_reader_that_acknowledges_nothing_is_given_up_by_the_system() {
    let mut rig = Rig::new(NetConfig { write_timeout_ms: 100, ..NetConfig::default() });
    let _client = rig.ask();
    let conn = rig.asked[0];
    rig.reactor.stream(conn, &Response::new(200));
    while !rig.reactor.is_blocked(conn) && rig.reactor.open_connections() > 0 {
        rig.reactor.push(conn, &Frame::from_encoded(vec![0; 64 * 1024]));
        rig.turn(0);
    }
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    assert_eq!((rig.closed(), rig.now_ms), (vec![CloseReason::Stalled], 0));
}

#[test]
fn an_answer_may_come_many_turns_after_its_request() {
    let mut rig = Rig::new(NetConfig::default());
    let mut client = rig.ask();
    for _ in 0..3 {
        rig.upgrade(1);
    }
    rig.reactor.respond(rig.asked[0], &Response::new(204));
    rig.turn(0);
    assert!(read_head(&mut client).starts_with("HTTP/1.1 204 "));
}

#[test]
fn a_client_that_resets_before_it_is_answered_is_reported_once() {
    let mut rig = Rig::new(NetConfig::default());
    let client = rig.ask();
    reset(client);
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 0);
    rig.reactor.respond(rig.asked[0], &Response::new(204));
    rig.turn(0);
    assert_eq!(rig.closed(), [CloseReason::Reset]);
}

#[test]
fn a_client_that_leaves_before_it_is_answered_is_reported_once() {
    let mut rig = Rig::new(NetConfig::default());
    drop(rig.ask());
    let mut other = rig.ask();
    assert_eq!(rig.closed(), [], "it may only have finished sending");
    rig.reactor.respond(rig.asked[0], &Response::new(204));
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 1);
    assert_eq!(rig.closed().len(), 1, "{:?}", rig.events);
    rig.reactor.respond(rig.asked[0], &Response::new(204));
    rig.reactor.respond(rig.asked[1], &Response::new(204));
    rig.turn(0);
    assert!(read_head(&mut other).starts_with("HTTP/1.1 204 "), "nobody else is disturbed");
}

#[test]
fn an_ending_program_may_still_answer_what_it_was_asked() {
    let mut rig = Rig::new(NetConfig::default());
    let (mut answered, mut forgotten) = (rig.ask(), rig.ask());
    rig.reactor.close_all(1001, "");
    rig.turn(0);
    rig.reactor.respond(rig.asked[0], &Response::new(204));
    rig.turn(0);
    assert!(read_head(&mut answered).contains("\r\nConnection: close\r\n"));
    rig.run_until(rig.reactor.config.close_timeout_ms + TICK_MS);
    assert_eq!(rig.closed(), [CloseReason::HttpDone, CloseReason::Local { code: 1001 }]);
    assert_eq!((rig.reactor.open_connections(), forgotten.read(&mut [0]).unwrap()), (0, 0));
}

/// A client from one of the addresses of the loopback network.
fn connect_from(source: [u8; 4], to: SocketAddr) -> Client {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_beyond_its_bound_is_told_to_come_back_and_nobody_else_is() {
    let mut rig = Rig::new(NetConfig { connections_per_address_max: 2, ..NetConfig::default() });
    let mut clients = rig.upgrade(2);
    let mut refused: Vec<Client> = (0..2 * REFUSALS_MAX).map(|_| rig.connect()).collect();
    rig.turn_until("refusals", |rig| rig.reactor.open_connections() == 2 + REFUSALS_MAX);
    let head = read_head(&mut refused[0]);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 5\r\n"), "{head}");
    // Behind all that were dropped without a word, so they have been.
    let mut other = connect_from([127, 0, 0, 2], rig.reactor.local_addr());
    other.write_all(UPGRADE).unwrap();
    rig.turn_until("another address", |rig| rig.upgraded.len() == 3);
    assert_eq!(rig.reactor.open_connections(), 3 + REFUSALS_MAX, "no more places than these");
    drop((refused, clients.pop()));
    rig.turn_until("room", |rig| rig.reactor.open_connections() == 2);
    rig.upgrade(1);
}

/// An upgrade, or a plain request, as a proxy passes it on.
fn passed_on(client: &str, is_upgrade: bool) -> Vec<u8> {
    let request: &[u8] = if is_upgrade { UPGRADE } else { b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" };
    let head = request.strip_suffix(b"\r\n").unwrap();
    [head, format!("X-Forwarded-For: {client}\r\n\r\n").as_bytes()].concat()
}

/// A loop that trusts 127.0.0.1, with two connections an address.
fn behind_a_proxy() -> Rig {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    Rig::new(NetConfig { connections_per_address_max: 2, trusted_proxies, ..NetConfig::default() })
}

#[test]
fn clients_of_a_proxy_are_bounded_each_and_the_proxy_is_not() {
    let mut rig = behind_a_proxy();
    let to = rig.reactor.local_addr();
    let silent: Vec<Client> = (0..2 * REFUSALS_MAX).map(|_| Client::connect(to).unwrap()).collect();
    rig.turn_until("connections", |rig| rig.reactor.open_connections() == silent.len());
    let mut clients = Vec::new();
    for (address, upgraded) in
        [("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 3), ("127.0.0.1", 4), ("x", 5), ("x", 6)]
    {
        clients.push(Client::connect(to).unwrap());
        clients.last_mut().unwrap().write_all(&passed_on(address, true)).unwrap();
        rig.turn_until(address, |rig| rig.upgraded.len() == upgraded);
    }
    let ips: Vec<_> = rig.upgraded.iter().map(|conn| rig.reactor.peer_ip(*conn).unwrap().to_string()).collect();
    assert_eq!(ips, ["192.0.2.1", "192.0.2.1", "192.0.2.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"]);
    let mut refused = Client::connect(to).unwrap();
    refused.write_all(&passed_on("192.0.2.1", true)).unwrap();
    let open = rig.reactor.open_connections();
    let head = rig.turn_until_answered(&mut refused);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 5\r\n"), "{head}");
    clients.remove(0);
    drop(refused);
    rig.turn_until("room", |rig| rig.reactor.open_connections() == open - 1);
    rig.turn_until_upgraded(&passed_on("192.0.2.1", true));
    assert_eq!(rig.reactor.addresses.count([192, 0, 2, 1].into()), 2);
}

#[test]
fn a_connection_that_a_proxy_keeps_belongs_to_whom_it_is_used_for() {
    let mut rig = behind_a_proxy();
    let mut kept = Client::connect(rig.reactor.local_addr()).unwrap();
    for (n, address) in ["192.0.2.1", "192.0.2.1", "192.0.2.2"].into_iter().enumerate() {
        kept.write_all(&passed_on(address, false)).unwrap();
        rig.turn_until("a request", |rig| rig.asked.len() == n + 1);
        let conn = rig.asked[n];
        assert_eq!(rig.reactor.peer_ip(conn), Some(address.parse().unwrap()));
        rig.reactor.respond(conn, &Response::new(204));
        assert_eq!(rig.reactor.peer_ip(conn), Some(address.parse().unwrap()), "for what is left to be done about it");
        assert!(rig.turn_until_answered(&mut kept).starts_with("HTTP/1.1 204 "));
        assert_eq!(rig.reactor.peer_ip(conn), Some([127, 0, 0, 1].into()));
        assert_eq!(rig.reactor.addresses.count(address.parse().unwrap()), 0);
    }
    // The bound is met on a connection that was good until now, and ends it.
    let _clients = [
        rig.turn_until_upgraded(&passed_on("192.0.2.1", true)),
        rig.turn_until_upgraded(&passed_on("192.0.2.1", true)),
    ];
    kept.write_all(&passed_on("192.0.2.1", false)).unwrap();
    let head = rig.turn_until_answered(&mut kept);
    assert_eq!(rig.closed(), [CloseReason::HttpDone]);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nConnection: close\r\n"), "{head}");
    drop(kept);
    rig.turn_until("the end of it", |rig| rig.reactor.open_connections() == 2);
    assert_eq!((rig.asked.len(), rig.reactor.proxied.len()), (3, 2));
}

#[cfg(target_os = "linux")]
#[test]
fn who_is_no_trusted_proxy_is_bounded_by_its_own_address() {
    let mut rig = behind_a_proxy();
    let mut clients = Vec::new();
    for n in 1..=3_usize {
        let mut client = connect_from([127, 0, 0, 2], rig.reactor.local_addr());
        client.write_all(&passed_on(&format!("192.0.2.{n}"), true)).unwrap();
        rig.turn_until("a connection", |rig| rig.reactor.open_connections() == n && rig.upgraded.len() == n.min(2));
        clients.push(client);
    }
    assert!(rig.turn_until_answered(&mut clients[2]).starts_with("HTTP/1.1 503 "));
    assert_eq!(rig.reactor.peer_ip(rig.upgraded[0]), Some([127, 0, 0, 2].into()));
    assert!(rig.reactor.proxied.is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn connections_of_one_address_are_told_to_be_so() {
    let mut rig = Rig::new(NetConfig::default());
    let clients = rig.upgrade(2);
    let mut other = connect_from([127, 0, 0, 2], rig.reactor.local_addr());
    other.write_all(UPGRADE).unwrap();
    rig.turn_until("another address", |rig| rig.upgraded.len() == 3);
    let bits: Vec<_> = rig.upgraded.iter().map(|conn| rig.reactor.address_bits(*conn).unwrap()).collect();
    assert_eq!([bits[0], bits[2]], [1, 2].map(|last| Ipv4Addr::new(127, 0, 0, last).to_ipv6_mapped().to_bits()));
    assert_eq!(bits[0], bits[1]);
    assert_eq!(rig.reactor.peer_ip(rig.upgraded[2]), Some([127, 0, 0, 2].into()));
    drop(clients);
    rig.turn_until("end", |rig| rig.reactor.open_connections() == 1);
    assert_eq!((rig.reactor.peer_ip(rig.upgraded[0]), rig.reactor.address_bits(rig.upgraded[0])), (None, None));
    let mut third = connect_from([127, 0, 0, 3], rig.reactor.local_addr());
    third.write_all(UPGRADE).unwrap();
    rig.turn_until("third address", |rig| rig.upgraded.len() == 4);
    assert!(!bits.contains(&rig.reactor.address_bits(rig.upgraded[3]).unwrap()), "whatever place it takes");
}

#[test]
fn an_address_is_known_when_the_socket_has_forgotten_it() {
    let mut rig = Rig::new(NetConfig::default());
    reset(rig.ask());
    // Not to be dropped yet: the end is told with one turn, and comes into force with its flush.
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, NetEvent::Closed { .. })) {
        rig.reactor.wait(Some(Duration::from_millis(PATIENCE_MS))).unwrap();
        rig.reactor.collect(0, &mut events);
    }
    assert_eq!(rig.reactor.peer_addr(rig.asked[0]), None);
    assert_eq!(rig.reactor.peer_ip(rig.asked[0]), Some([127, 0, 0, 1].into()));
}

#[test]
fn ipv4_over_a_listener_for_both_is_ipv4() {
    let Ok(reactor) = Reactor::bind(([0; 8], 0).into(), NetConfig::default(), 0) else {
        return; // a machine without IPv6
    };
    let port = reactor.local_addr().port();
    let mut rig = Rig { reactor, ..Rig::new(NetConfig::default()) };
    let mut client = Client::connect(("127.0.0.1", port)).unwrap();
    client.write_all(UPGRADE).unwrap();
    rig.turn_until("upgrade", |rig| rig.upgraded.len() == 1);
    assert_eq!(rig.reactor.peer_ip(rig.upgraded[0]), Some([127, 0, 0, 1].into()));
}

#[test]
fn a_connection_costs_no_more_than_its_budget() {
    // A debug build's stream is larger than the descriptor it is.
    let connection = size_of::<Connection<std::os::fd::RawFd>>();
    assert!(connection <= 72, "{connection}");
    let slot = size_of::<Slot<TcpStream>>() - size_of::<Connection<TcpStream>>() + connection;
    assert!(slot <= 88, "{slot}");
}
