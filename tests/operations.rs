//! What operators have: numbers, the way to a supervisor, an end that is spread.

mod common;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::client::sequences;
use common::raw::{Raw, request};
use common::rest::eventually;
use common::{Client, Data, Server};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

/// The value behind a name, labels included; 0 if there is none.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

fn scrape(server: &Server) -> String {
    let response = request(server.address, "GET", "/metrics", "");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(response.body).expect("text")
}

#[test]
fn what_was_said_delivered_refused_and_closed_is_counted_without_a_name() {
    let server = Server::start(&[]);
    let before = scrape(&server);
    let (mut alice, mut bob) = (server.client("secret-alice"), server.client("secret-bob"));
    alice.join("secret-room");
    bob.join("secret-room");
    for n in 1..=3 {
        alice.say("secret-room", "secret-word");
        assert_eq!(sequences(&bob.read_through(n)), [n]);
    }
    alice.refused(json!({"type": "message", "room": "elsewhere", "content": "x"}), "not_subscribed");
    let text = scrape(&server);
    for (name, expected) in [
        ("roomlog_messages_total", 3.0),
        ("roomlog_deliveries_total", 6.0),
        ("roomlog_connections{kind=\"websocket\"}", 2.0),
        ("roomlog_connections{kind=\"stream\"}", 0.0),
        ("roomlog_users", 2.0),
        ("roomlog_rooms", 1.0),
        ("roomlog_errors_total{code=\"not_subscribed\"}", 1.0),
        ("roomlog_errors_total{code=\"empty\"}", 0.0),
        // Each join is followed by two heartbeats of the test's client.
        ("roomlog_commands_total", 10.0),
        ("roomlog_http_responses_total{class=\"1xx\"}", 2.0),
        ("roomlog_slow_readers", 0.0),
        ("roomlog_draining", 0.0),
        (concat!("roomlog_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(value(&text, name), expected, "{name} in:\n{text}");
    }
    for name in [
        "roomlog_turn_seconds_count",
        "roomlog_log_sync_seconds_count",
        "roomlog_log_sync_seconds_bucket{le=\"+Inf\"}",
        "roomlog_received_bytes_total",
        "roomlog_sent_bytes_total",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(value(&text, name) > value(&before, name).min(0.5), "{name} in:\n{text}");
    }
    assert!(!text.contains("secret"), "nothing of what people write is in it:\n{text}");
    alice.close();
    let closed = "roomlog_connections_closed_total{reason=\"peer\",code=\"1000\"}";
    eventually("the end of a connection", || (value(&scrape(&server), closed) == 1.0).then_some(()));
}

#[test]
fn numbers_are_only_read() {
    let server = Server::start(&[]);
    assert_eq!(request(server.address, "POST", "/metrics", "Content-Length: 0\r\n").status, 405);
    assert_eq!(request(server.address, "GET", "/metrics/", "").status, 404);
    let mut raw = Raw::connect(server.address);
    raw.send(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let response = raw.response(true);
    assert_eq!(response.status, 200);
    assert!(response.header("Content-Length").is_some_and(|length| length != "0"));
}

#[test]
fn a_supervisor_hears_of_the_start_of_each_round_and_of_the_end() {
    let data = Data::fresh();
    let path = data.around().join("notify");
    let listens = UnixDatagram::bind(&path).expect("a socket");
    listens.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let hear = || {
        let mut buffer = [0; 512];
        let count = listens.recv(&mut buffer).expect("it is told in time");
        String::from_utf8(buffer[..count].to_vec()).expect("text")
    };
    let path = path.to_str().expect("a path");
    let server = Server::with_variables(&data, &[], &[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "200000")]);
    assert_eq!(hear(), format!("READY=1\nSTATUS=Listening on http://{}", server.address));
    // Though nobody says anything.
    (0..5).for_each(|_| assert_eq!(hear(), "WATCHDOG=1"));
    server.terminate();
    let rest = std::iter::from_fn(|| Some(hear())).find(|told| told != "WATCHDOG=1");
    assert_eq!(rest.as_deref(), Some("STOPPING=1"));
    server.stop();
}

#[test]
fn an_end_with_many_is_spread_and_those_who_are_still_there_are_served() {
    const CROWD: usize = 4_000;
    let server = Server::start(&["--connections-per-address", "0", "--address-rate", "0", "--rate", "0"]);
    let connect = |n: usize| Client::connect(server.address, &format!("/?user=user{n}"));
    let mut first = connect(0);
    let crowd: Vec<Raw> = (0..CROWD).map(|_| Raw::websocket(server.address, "/")).collect();
    let mut last = connect(1);
    last.join("room");
    server.terminate();
    assert_eq!(first.expect_close(), 1001);
    last.say("room", "still here");
    assert_eq!(last.expect_close(), 1001);
    for mut raw in crowd {
        assert_eq!(raw.close_code(), 1001);
    }
    server.stop();
}

#[test]
fn who_tells_twice_to_stop_does_not_wait_for_the_spread() {
    let server = Server::start(&["--connections-per-address", "0", "--address-rate", "0"]);
    let mut first = server.client("first");
    let crowd: Vec<Raw> = (0..2_000).map(|_| Raw::websocket(server.address, "/")).collect();
    server.terminate();
    assert_eq!(first.expect_close(), 1001);
    server.terminate();
    for mut raw in crowd {
        assert_eq!(raw.close_code(), 1001);
    }
    server.stop();
}
