//! Readers that do not read: they miss nothing, cost little, and hold nobody up.

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::client::sequences;
use common::raw::{Raw, text};
use common::{Client, Server};
use serde_json::{Value, json};

const MIB: u64 = 1024 * 1024;
const CONTENT_BYTES: usize = 4_000;
/// As much as overflows the buffers of the kernel on both sides several times over.
const MESSAGES: u64 = 6_000;

/// Says this many messages, a few at a time, and hears each of them; the longest time that one took to come back.
fn flood(writer: &mut Client, room: &str, messages: u64) -> Duration {
    const AT_ONCE: u64 = 50;
    let content = "x".repeat(CONTENT_BYTES);
    let mut slowest = Duration::ZERO;
    for round in 1..=messages / AT_ONCE {
        let started = Instant::now();
        for _ in 0..AT_ONCE {
            writer.send(json!({"type": "message", "data": {"room": room, "content": content}}));
        }
        writer.read_through(round * AT_ONCE);
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

#[test]
fn a_reader_that_stops_gets_everything_later_and_costs_no_memory() {
    let server = Server::start(&["--rate", "0"]);
    let (mut writer, mut slow) = (server.client("writer"), server.client("slow"));
    writer.join("room");
    slow.join("room");
    flood(&mut writer, "warm", 0);
    let before = server.resident_bytes();
    let slowest = flood(&mut writer, "room", MESSAGES);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "{} MiB of messages cost {grown} bytes", MESSAGES * CONTENT_BYTES as u64 / MIB);
    assert!(slowest < Duration::from_secs(5), "others wait {slowest:?} at most");
    let read = slow.read_through(MESSAGES);
    assert_eq!(sequences(&read), (1..=MESSAGES).collect::<Vec<u64>>());
    writer.say("room", "the end");
    assert_eq!(slow.skip_to("message")["sequence"], MESSAGES + 1, "and it is live again");
}

#[test]
fn a_reader_that_missed_who_came_and_went_is_shown_who_is_there() {
    fn users(event: &Value) -> Vec<&str> {
        let users = event["data"]["users"].as_array().into_iter().flatten();
        users.filter_map(|user| user["user"].as_str()).collect()
    }
    let server = Server::start(&["--rate", "0", "--grace", "0ms"]);
    let (mut writer, mut slow) = (server.client("writer"), server.client("slow"));
    let mut early = server.client("early");
    early.join("lobby");
    writer.join("room");
    slow.join("room");
    slow.join("lobby");
    flood(&mut writer, "room", MESSAGES);
    early.close();
    let mut watcher = server.client("watcher");
    watcher.join("lobby");
    let mut late = server.client("late");
    late.join("lobby");
    watcher.skip_until(|event| users(event).contains(&"late"));
    late.close();
    // From here on the room has told everybody what there was to tell.
    watcher.skip_until(|event| !users(event).is_empty() && !users(event).contains(&"late"));
    let shown = slow.skip_until(|event| users(event).contains(&"watcher"));
    let mut there = users(&shown);
    there.sort_unstable();
    assert_eq!(there, ["slow", "watcher"]);
}

#[test]
fn a_reader_of_which_nothing_drains_is_closed_with_1013() {
    let server = Server::start(&["--rate", "0", "--write-timeout", "300ms", "--grace", "0ms"]);
    let (mut writer, mut slow) = (server.client("writer"), server.client("slow"));
    let mut watcher = server.client("watcher");
    writer.join("room");
    slow.join("room");
    slow.join("lobby");
    watcher.join("lobby");
    flood(&mut writer, "room", MESSAGES);
    // Not before this does it read again.
    assert_eq!(watcher.skip_to("status")["status"], "offline");
    let (events, code) = slow.events_until_close();
    assert_eq!(code, 1013);
    let read = sequences(&common::client::messages_of(&events));
    assert_eq!(read, (1..=read.len() as u64).collect::<Vec<u64>>(), "what it did get was without a gap");
}

#[test]
fn commands_whose_answers_nobody_reads_cost_no_memory_and_are_answered_when_somebody_does() {
    const COMMANDS: u64 = 300;
    let server = Server::start(&["--rate", "0"]);
    let mut writer = server.client("writer");
    writer.join("room");
    flood(&mut writer, "room", 100);
    let before = server.resident_bytes();
    let mut greedy = Raw::websocket(server.address, "/?user=greedy");
    // All of it in one read of the server: a quarter of a mebibyte is asked for with 70 bytes, again and again.
    let command = |id| text(&json!({"type": "history", "room": "room", "limit": 1_000, "id": id}).to_string());
    greedy.send(&(0..COMMANDS).flat_map(command).collect::<Vec<u8>>());
    writer.drain();
    writer.say("room", "others go on");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 4 * MIB, "it grew by {grown} bytes");
    let mut answered = 0;
    while answered < COMMANDS {
        let (_, payload) = greedy.frame().expect("the connection lives");
        let event: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if event["type"] == "ack" {
            assert_eq!(event["id"], answered, "in the order they were asked");
            answered += 1;
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 4 * MIB, "it grew by {grown} bytes");
}

#[test]
fn pipelined_requests_whose_answers_nobody_reads_cost_no_memory() {
    let server = Server::start(&[]);
    let before = server.resident_bytes();
    let mut greedy = Raw::connect(server.address);
    // Asked for with 35 bytes each: the page's script, a thousand times and more.
    greedy.send("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_500).as_bytes());
    // One request is taken up per turn, and each of these pings takes a turn.
    let mut other = server.client("other");
    for _ in 0..1_000 {
        other.drain();
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "it grew by {grown} bytes");
    for n in 0..1_500 {
        assert_eq!(greedy.response(false).status, 200, "answer {n}");
    }
}

#[test]
fn readers_that_stop_cost_no_processor_time() {
    let server = Server::start(&["--rate", "0", "--heartbeat", "1s"]);
    let (mut writer, mut slow) = (server.client("writer"), server.client("slow"));
    writer.join("room");
    slow.join("room");
    let mut greedy = Raw::connect(server.address);
    greedy.send("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_500).as_bytes());
    let mut asker = Raw::websocket(server.address, "/?room=room");
    flood(&mut writer, "room", MESSAGES);
    asker.send(&text(r#"{"type":"history","room":"room","limit":1000}"#).repeat(16));
    writer.drain();
    writer.skip_to("heartbeat");
    let before = server.processor_ms();
    writer.skip_to("heartbeat");
    let used = server.processor_ms() - before;
    assert!(used < 150, "{used} ms in a second in which there was nothing to do");
    drop((slow, greedy, asker));
}

#[test]
fn private_messages_to_a_reader_that_stops_cost_no_memory() {
    let server = Server::start(&["--rate", "0"]);
    let (mut writer, mut slow) = (server.client("writer"), server.client("slow"));
    let before = server.resident_bytes();
    let content = "x".repeat(CONTENT_BYTES);
    for _ in 0..MESSAGES {
        writer.send(json!({"type": "private", "to": "slow", "content": content}));
        if writer.next()["type"] == "error" {
            break; // the recipient is not here any more
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "it grew by {grown} bytes");
    assert_eq!(slow.expect_close(), 1013);
}

#[test]
fn a_client_that_only_writes_is_not_heard_until_it_reads() {
    let server = Server::start(&["--rate", "0", "--write-timeout", "500ms"]);
    let mut writer = server.client("writer");
    writer.join("room");
    let deaf = server.client("deaf");
    let mut stream = deaf.stream();
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a TCP socket");
    let pings = text(&format!(r#"{{"type":"ping","timestamp":"{}"}}"#, "x".repeat(8_000))).repeat(16);
    let before = server.resident_bytes();
    let started = Instant::now();
    // Until it is thrown out, its own socket fills up.
    while stream.write_all(&pings).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "it is closed at some time");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "it grew by {grown} bytes");
    writer.say("room", "others go on");
}

#[test]
fn a_reader_that_stops_does_not_hold_up_the_end() {
    let server = Server::start(&["--rate", "0"]);
    let (mut writer, mut slow) = (server.client("writer"), server.client("slow"));
    writer.join("room");
    slow.join("room");
    flood(&mut writer, "room", MESSAGES);
    drop(writer);
    // Within the five seconds that the service promises, although `slow` takes nothing.
    server.stop();
    drop(slow);
}
