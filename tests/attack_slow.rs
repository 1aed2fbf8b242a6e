//! Peers that are slow on purpose, by the hundred: what each costs, when it is thrown out, and that nobody else notices.
//! Longer by `ROOMLOG_SLOW_READERS`.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{End, messages_of, sequences};
use common::raw::{Raw, frame, text, upgrade_head};
use common::rest::eventually;
use common::{Client, PATIENCE, Server};
use serde_json::json;
use socket2::{Domain, Socket, Type};

const KIB: u64 = 1024;
const HEALTHY: usize = 20;
const MESSAGES: u64 = 2_400;
const CONTENT_BYTES: usize = 2_000;
const SLOW_READER_BYTES_MAX: u64 = 80 * KIB;
const BEFORE_UPGRADE_BYTES_MAX: u64 = 2 * KIB;

fn slow_readers() -> usize {
    std::env::var("ROOMLOG_SLOW_READERS").map_or(100, |text| text.parse().expect("a number"))
}

/// A member that will not read: the kernel keeps little for it.
fn slow_member(address: SocketAddr, number: usize) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a size");
    socket.connect(&address.into()).expect("the server listens");
    let mut client = Client::over(socket.into(), address, &format!("/?user=slow{number}&room=room"));
    client.hello = client.expect("connected");
    client
}

/// Says all of it with a window, while the healthy read; the most memory that the server had.
fn load(server: &Server, writer: &mut Client) -> u64 {
    const WINDOW: u64 = 100;
    let (content, mut most) = ("x".repeat(CONTENT_BYTES), 0);
    for round in 1..=MESSAGES / WINDOW {
        for _ in 0..WINDOW {
            writer.send(json!({"type": "message", "room": "room", "content": content}));
        }
        writer.read_through(round * WINDOW);
        most = most.max(server.resident_bytes());
    }
    most
}

/// How many are in the room.
fn members(client: &mut Client) -> u64 {
    client.ask(json!({"type": "presence", "room": "room"}));
    client.skip_to("presence")["count"].as_u64().expect("a number")
}

/// Reads what is left of a dropped connection and then, on a new one, the rest: without a hole, without a repeat.
fn comes_back(mut client: Client, address: SocketAddr, epoch: &str, number: usize) -> bool {
    let mut seen = Vec::new();
    let end = loop {
        match client.read() {
            Ok(event) => seen.extend(sequences(&messages_of(&[event]))),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, End::Closed(1013) | End::Broken(_)), "slow{number}: {end:?}");
    assert!((seen.len() as u64) < MESSAGES, "slow{number} was slow");
    let mut again = Client::connect(address, &format!("/?user=slow{number}"));
    again.ask(json!({"type": "join", "room": "room", "since": seen.len(), "epoch": epoch}));
    seen.extend(sequences(&again.read_through(MESSAGES)));
    assert_eq!(seen, (1..=MESSAGES).collect::<Vec<u64>>(), "slow{number}");
    end == End::Closed(1013)
}

#[test]
fn slow_readers_cost_little_hold_nobody_up_are_dropped_and_lose_nothing() {
    let count = slow_readers();
    let flags = ["--rate", "0", "--address-rate", "0", "--connections-per-address", "0", "--fsync", "never"];
    let server = Server::start(&[&flags[..], &["--write-timeout", "4s", "--grace", "0ms"]].concat());
    let address = server.address;
    let mut writer = server.client("writer");
    let epoch = writer.ask(json!({"type": "join", "room": "room"}))["epoch"].as_str().expect("an epoch").to_owned();
    let healthy: Vec<Client> =
        (0..HEALTHY).map(|n| Client::connect(address, &format!("/?user=healthy{n}&room=room"))).collect();
    let before = server.resident_bytes();
    let slow: Vec<Client> = (0..count).map(|number| slow_member(address, number)).collect();
    let started = Instant::now();
    let readers: Vec<_> = healthy
        .into_iter()
        .map(|mut client| thread::spawn(move || (sequences(&client.read_through(MESSAGES)), client)))
        .collect();
    let most = load(&server, &mut writer);
    let mut healthy = Vec::new();
    for reader in readers {
        let (seen, client) = reader.join().expect("a healthy reader hears all of it");
        assert_eq!(seen, (1..=MESSAGES).collect::<Vec<u64>>());
        healthy.push(client);
    }
    let rate = (HEALTHY as u64 * MESSAGES) as f64 / started.elapsed().as_secs_f64();
    let each = most.saturating_sub(before) / count as u64;
    eprintln!(
        "{count} slow readers: {each} bytes each, {rate:.0} deliveries/s to {HEALTHY} others; {}",
        server.turns()
    );
    assert!(each <= SLOW_READER_BYTES_MAX, "{each} bytes for each slow reader");

    eventually("the slow are dropped", || (members(&mut writer) == 1 + HEALTHY as u64).then_some(()));
    let mut slow: Vec<(usize, Client)> = slow.into_iter().enumerate().collect();
    let other = slow.split_off(count / 2);
    let halves = [slow, other].map(|half| {
        let epoch = epoch.clone();
        thread::spawn(move || {
            half.into_iter().filter_map(|(n, client)| comes_back(client, address, &epoch, n).then_some(())).count()
        })
    });
    let told: usize = halves.map(|half| half.join().expect("nothing is lost")).into_iter().sum();
    eprintln!("{told} of {count} could still read 1013");
    drop(healthy);
}

/// Ways to begin a request and not to end it, each with what is sent on, a byte at a time.
const BEGINNINGS: [(&str, &str); 4] = [
    ("", ""),
    ("GET /?user=a HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nX-A: ", "x"),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: a header in which nothing stands\r\n", "X"),
    (
        "POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        " ",
    ),
];

/// Sends one more byte to each until the server has hung up on all; the time of the last.
fn drip(mut open: Vec<(TcpStream, &'static str)>, bystander: &mut Client, started: Instant) -> Duration {
    let mut rounds = 0;
    while !open.is_empty() {
        assert!(started.elapsed() < PATIENCE + Duration::from_secs(10), "{} are still there", open.len());
        rounds += 1;
        bystander.say("room", &format!("round {rounds}"));
        open.retain_mut(|(stream, more)| {
            let mut byte = [0];
            // A peer that hung up answers with 408 or with the end.
            let alive = matches!(stream.peek(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            alive && (more.is_empty() || stream.write_all(more.as_bytes()).is_ok())
        });
        thread::sleep(Duration::from_millis(100)); // the pace of the attack
    }
    started.elapsed()
}

#[test]
fn requests_that_never_end_cost_two_kib_each_and_end_after_ten_seconds() {
    const CONNECTIONS: usize = 2_000;
    let server = Server::start(&["--connections-per-address", "0", "--rate", "0", "--address-rate", "0"]);
    let mut bystander = server.client("bystander");
    bystander.join("room");
    bystander.say("room", "before");
    let before = server.resident_bytes();
    let started = Instant::now();
    let open: Vec<(TcpStream, &str)> = (0..CONNECTIONS)
        .map(|n| {
            let mut stream = TcpStream::connect(server.address).expect("the server listens");
            let (beginning, more) = BEGINNINGS[n % BEGINNINGS.len()];
            stream.write_all(beginning.as_bytes()).expect("a fresh connection");
            stream.set_nonblocking(true).expect("a TCP socket");
            (stream, more)
        })
        .collect();
    bystander.say("room", "all are there");
    let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
    assert!(each <= BEFORE_UPGRADE_BYTES_MAX, "{each} bytes for each");
    let took = drip(open, &mut bystander, started);
    eprintln!(
        "{CONNECTIONS} unfinished requests: {each} bytes each, the last ended after {took:?}; {}",
        server.turns()
    );
    bystander.say("room", "they are gone");
}

/// Opens WebSockets that then send this and never read; the memory for each.
fn hold(server: &Server, count: u64, bytes: &[u8]) -> (Vec<Raw>, u64) {
    let mut bystander = server.client("bystander");
    bystander.drain();
    let before = server.resident_bytes();
    let held: Vec<Raw> = (0..count)
        .map(|_| {
            let mut raw = Raw::connect(server.address);
            raw.send(format!("{}\r\n", upgrade_head("/")).as_bytes());
            raw.send(bytes);
            raw
        })
        .collect();
    bystander.drain();
    (held, server.resident_bytes().saturating_sub(before) / count)
}

#[test]
fn frames_that_never_end_cost_what_was_sent_of_them_and_silence_ends_them() {
    const CONNECTIONS: u64 = 500;
    let flags = ["--connections-per-address", "0", "--rate", "0", "--heartbeat", "1s", "--offline-timeout", "4s"];
    // 16 KiB announced, and nothing of it; a fragment of a message that is not continued.
    let header_only = [0x81, 0xfe, 0x40, 0x00, 1, 2, 3, 4];
    for (what, bytes) in [("a header", header_only.to_vec()), ("a fragment", frame(0x01, b"begun"))] {
        let server = Server::start(&flags);
        let (held, each) = hold(&server, CONNECTIONS, &bytes);
        eprintln!("{what} of a message and no more: {each} bytes each");
        assert!(each <= 8 * KIB, "{what}: {each} bytes");
        server.client("another").join("room");
        for mut raw in held {
            assert_eq!(raw.response(true).status, 101);
            assert_eq!(raw.close_code(), 4000, "{what}");
        }
    }
}

#[test]
fn endless_fragments_and_floods_of_tiny_frames_are_closed() {
    let server = Server::start(&["--rate", "1", "--address-rate", "0"]);
    let mut bystander = server.client("bystander");
    bystander.join("room");
    let first = frame(0x01, b"x");
    let cases: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("fragments of nothing", first.clone(), frame(0x00, b"")),
        ("fragments of a byte", first, frame(0x00, b"x")),
        ("texts of a byte", Vec::new(), text("x")),
        ("pings", Vec::new(), frame(0x89, b"")),
    ];
    for (what, begin, endless) in cases {
        let mut raw = Raw::websocket(server.address, "/");
        raw.send(&begin);
        let mut sender = raw.writer();
        let flood = thread::spawn(move || {
            let many = endless.repeat(500);
            let begun = Instant::now();
            while sender.write_all(&many).is_ok() {
                assert!(begun.elapsed() < PATIENCE, "it may go on for ever");
            }
        });
        let code = raw.close_code();
        assert!(matches!(code, 1008 | 1009), "{what}: {code}");
        drop(raw);
        flood.join().unwrap_or_else(|_| panic!("{what} end the connection"));
        bystander.drain();
    }
}
