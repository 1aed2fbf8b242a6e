//! Hostile and broken input: each kind gets the protocol's answer, and nobody else notices.

mod common;

use std::fs;

use common::client::kinds;
use common::raw::{Raw, frame, text, upgrade_head};
use common::{Client, Server};
use serde_json::{Value, json};

const FIN_TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A bystander, who must be as well after the test's input as before.
struct Bystander(Client);

impl Bystander {
    fn of(server: &Server) -> Bystander {
        let mut client = server.client("bystander");
        client.join("calm");
        Bystander(client)
    }

    fn is_well(&mut self) {
        self.0.say("calm", "still here");
        let events = self.0.drain();
        assert!(!kinds(&events).contains(&"error"), "{events:?}");
    }
}

#[test]
fn text_that_is_no_command_is_an_error_and_the_connection_lives() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let mut client = server.client("client");
    let deep = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    let nested = format!("{}1{}", r#"{"type":"ping","data":"#.repeat(700), "}".repeat(700));
    for (input, code) in [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("hello", "bad_request"),
        ("[]", "bad_request"),
        ("null", "bad_request"),
        ("\"join\"", "bad_request"),
        ("{}", "bad_request"),
        (r#"{"type":"join"}{"type":"join"}"#, "bad_request"),
        (r#"{"type":"join",}"#, "bad_request"),
        (r#"{"type":5}"#, "bad_request"),
        (r#"{"type":null}"#, "bad_request"),
        (r#"{"type":"message"}"#, "bad_request"),
        (r#"{"type":"message","data":"text"}"#, "bad_request"),
        (r#"{"type":"message","data":{"room":"r"}}"#, "bad_request"),
        (r#"{"type":"message","data":{"room":7,"content":"x"}}"#, "bad_request"),
        (r#"{"type":"message","data":{"room":"r","content":["x"]}}"#, "bad_request"),
        (r#"{"type":"join","room":{}}"#, "bad_request"),
        (r#"{"type":"join","since":"1"}"#, "bad_request"),
        (r#"{"type":"history","room":"r","limit":-1}"#, "bad_request"),
        (r#"{"type":"typing","room":"r","isTyping":"yes"}"#, "bad_request"),
        (r#"{"type":"message","room":"r","content":"\ud800"}"#, "bad_request"),
        (r#"{"type":"dance"}"#, "unknown_type"),
        (r#"{"type":""}"#, "unknown_type"),
        (&deep, "bad_request"),
        (&nested, "bad_request"),
    ] {
        client.send_text(input);
        let error = client.expect_error(code);
        let message = error["message"].as_str().expect("for people");
        assert!(message.len() < 300 && !message.contains('\n'), "one line, not the input again: {message:?}");
    }
    client.send_text(&format!(r#"{{"type":"heartbeat","id":1,"unknown":{deep}}}"#));
    client.expect_ack(1);
    bystander.is_well();
}

#[test]
fn an_error_carries_the_id_of_a_command_that_is_wrong_elsewhere() {
    let server = Server::start(&[]);
    let mut client = server.client("client");
    for input in [r#"{"type":"join","room":5,"id":"a"}"#, r#"{"id":"a","type":"dance"}"#, r#"{"id":"a"}"#] {
        client.send_text(input);
        let event = client.next();
        assert_eq!((&event["type"], &event["id"]), (&json!("error"), &json!("a")), "{input}: {event}");
    }
}

#[test]
fn frames_up_to_16_kib_are_taken_and_beyond_closed_with_1009() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let padded = |bytes: usize| format!(r#"{{"type":"ping"{}}}"#, " ".repeat(bytes - 15));
    let mut raw = Raw::websocket(server.address, "/");
    raw.frame();
    raw.send(&text(&padded(16 * 1024)));
    assert!(raw.frame().is_some_and(|(_, payload)| payload.starts_with(br#"{"type":"pong""#)));
    raw.send(&text(&padded(16 * 1024 + 1)));
    assert_eq!(raw.close_code(), 1009);

    // A header alone, that promises more than anybody would send.
    let mut raw = Raw::websocket(server.address, "/");
    raw.send(&[FIN_TEXT, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
    assert_eq!(raw.close_code(), 1009);

    // Fragments, each small, that add up.
    let mut raw = Raw::websocket(server.address, "/");
    raw.send(&frame(0x01, &[b' '; 8_000]));
    raw.send(&frame(0x00, &[b' '; 8_000]));
    raw.send(&frame(0x00, &[b' '; 8_000]));
    assert_eq!(raw.close_code(), 1009);
    bystander.is_well();
}

#[test]
fn well_formed_control_frames_are_answered() {
    let server = Server::start(&[]);
    let mut raw = Raw::websocket(server.address, "/");
    raw.frame();
    raw.send(&[frame(0x01, br#"{"type":"#), frame(PING, b"amid"), frame(0x80, br#""ping"}"#)].concat());
    assert_eq!(raw.frame(), Some((0x8a, b"amid".to_vec())), "a ping between two fragments");
    assert!(raw.frame().is_some_and(|(_, payload)| payload.starts_with(br#"{"type":"pong""#)));
    raw.send(&frame(0x8a, b"unasked"));
    raw.send(&frame(CLOSE, &[&4_321_u16.to_be_bytes()[..], b"bye"].concat()));
    assert_eq!(raw.close_code(), 4_321, "the code is given back");
    let mut raw = Raw::websocket(server.address, "/");
    raw.frame();
    raw.send(&frame(CLOSE, b""));
    assert_eq!(raw.frame(), Some((0x88, vec![])));
    assert!(raw.ended());
}

#[test]
fn a_frame_may_arrive_byte_by_byte_and_many_in_one_segment() {
    let server = Server::start(&["--rate", "0"]);
    let mut raw = Raw::websocket(server.address, "/");
    raw.frame();
    for byte in text(r#"{"type":"ping","timestamp":1}"#) {
        raw.send(&[byte]);
    }
    let pong = |raw: &mut Raw| serde_json::from_slice::<Value>(&raw.frame().expect("a frame").1).expect("JSON");
    assert_eq!(pong(&mut raw)["data"]["timestamp"], 1);
    let many: Vec<u8> = (0..500).flat_map(|n| text(&format!(r#"{{"type":"ping","timestamp":{n}}}"#))).collect();
    raw.send(&many);
    for n in 0..500 {
        assert_eq!(pong(&mut raw)["data"]["timestamp"], n);
    }
}

#[test]
fn requests_that_are_not_http_are_answered_400_and_closed() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let twice = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    for request in [
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "hello\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        twice,
        "GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut raw = Raw::connect(server.address);
        raw.send(request.as_bytes());
        assert_eq!(raw.response(false).status, 400, "{request:?}");
        assert!(raw.ended());
    }
    // The beginning of a TLS handshake: somebody typed https.
    let mut raw = Raw::connect(server.address);
    raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    raw.finish_sending();
    assert!(raw.ended());
    bystander.is_well();
}

#[test]
fn a_head_over_8_kib_or_a_body_over_64_kib_is_refused() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    for filler in [format!("X-Filler: {}\r\n", "x".repeat(8_192)), "A: b\r\n".repeat(200)] {
        let mut raw = Raw::connect(server.address);
        raw.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{filler}\r\n").as_bytes());
        assert_eq!(raw.response(false).status, 431);
        assert!(raw.ended());
    }
    let mut raw = Raw::connect(server.address);
    raw.send(format!("GET /{}", "x".repeat(10_000)).as_bytes());
    assert_eq!(raw.response(false).status, 431, "not only when it is complete");
    let mut raw = Raw::connect(server.address);
    raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n");
    assert_eq!(raw.response(false).status, 413, "before any of it comes");
    assert!(raw.ended());
    bystander.is_well();
}

#[test]
fn upgrades_that_cannot_be_granted_are_refused() {
    let server = Server::start(&[]);
    let head = upgrade_head("/");
    for (what, request, status) in [
        ("version 8", head.replace("Version: 13", "Version: 8"), 426),
        ("no version", head.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("no key", head.replace("Sec-WebSocket-Key", "X-Key"), 400),
        ("a short key", head.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
        ("POST", head.replace("GET", "POST"), 400),
        ("another path", head.replace("GET /", "GET /chat"), 404),
        ("since is no number", head.replace("GET /", "GET /?room=a&since=x"), 400),
        ("/ws without an upgrade", "GET /ws HTTP/1.1\r\nHost: a\r\n".into(), 426),
    ] {
        let mut raw = Raw::connect(server.address);
        raw.send(format!("{request}\r\n").as_bytes());
        let response = raw.response(false);
        assert_eq!(response.status, status, "{what}");
        if status == 426 {
            assert_eq!(response.header("Upgrade"), Some("websocket"), "{what}");
        }
    }
}

#[test]
fn pages_of_other_origins_may_not_connect() {
    let status = |server: &Server, origin: &str| {
        let mut raw = Raw::connect(server.address);
        let own = server.address.to_string();
        let head = upgrade_head("/").replace("Host: localhost", &format!("Host: {own}"));
        raw.send(format!("{head}Origin: {}\r\n\r\n", origin.replace("OWN", &own)).as_bytes());
        raw.response(true).status
    };
    let server = Server::start(&[]);
    for origin in ["http://OWN", "https://OWN"] {
        assert_eq!(status(&server, origin), 101, "{origin}");
    }
    for origin in ["https://evil.example", "null", "http://OWN.evil.example", "http://127.0.0.1:1", "file://"] {
        assert_eq!(status(&server, origin), 403, "{origin}");
    }
    let server = Server::start(&["--allow-origin", "https://app.example", "--allow-origin", "http://localhost:3000"]);
    for (origin, expected) in [
        ("https://app.example", 101),
        ("http://localhost:3000", 101),
        ("http://OWN", 101),
        ("http://app.example", 403),
        ("https://app.example.evil.example", 403),
    ] {
        assert_eq!(status(&server, origin), expected, "{origin}");
    }
    let server = Server::start(&["--allow-origin", "*"]);
    assert_eq!(status(&server, "https://anything.example"), 101);
}

#[test]
fn room_names_of_any_form_stay_inside_the_data_folder() {
    let server = Server::start(&["--rate", "0"]);
    let mut client = server.client("client");
    let crab = "\u{1F980}".repeat(64);
    let good = [
        "../../etc",
        "..",
        ".",
        "/",
        "/etc/passwd",
        "~",
        "a/b",
        "a\\b",
        "C:",
        "con",
        "%2e%2e",
        "a b",
        " ",
        "部屋",
        "ROOM",
        "room",
        &crab,
        "\u{202e}",
    ];
    for name in good {
        client.ask(json!({"type": "join", "room": name}));
        assert_eq!(client.say(name, "x")["sequence"], 1, "{name:?}: names are told apart");
        client.drain();
    }
    let long = "x".repeat(65);
    let long_crab = "\u{1F980}".repeat(65);
    for name in ["", "\0", "a\0b", "line\nbreak", "\u{7f}", "\u{85}", &long, &long_crab] {
        client.refused(json!({"type": "join", "room": name}), "bad_room");
        client.refused(json!({"type": "history", "room": name}), "bad_room");
        client.refused(json!({"type": "presence", "room": name}), "bad_room");
    }
    let data = server.data();
    let listed = |path: &std::path::Path| {
        let entries = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.into_string().expect("UTF-8")).collect::<Vec<_>>()
    };
    assert_eq!(listed(data.around()), ["data"]);
    let mut inside = listed(&data.path());
    inside.sort();
    assert_eq!(inside, ["control", "lock", "rooms", "running"]);
    let rooms = listed(&data.path().join("rooms"));
    assert_eq!(rooms.len(), good.len());
    assert!(rooms.iter().all(|name| !name.contains('.') && name.len() <= 255), "{rooms:?}");
}

#[test]
fn connections_that_break_off_anywhere_leave_no_trace() {
    let server = Server::start(&["--grace", "0ms"]);
    let mut bystander = Bystander::of(&server);
    let upgrade = format!("{}\r\n", upgrade_head("/?user=fleeting&room=calm")).into_bytes();
    let message = text(r#"{"type":"message","room":"calm","content":"x"}"#);
    let all = [upgrade, message].concat();
    for cut in (0..all.len()).step_by(7) {
        let mut raw = Raw::connect(server.address);
        raw.send(&all[..cut]);
        raw.finish_sending();
        assert!(raw.ended());
    }
    bystander.is_well();
    bystander.0.ask(json!({"type": "presence", "room": "calm"}));
    assert_eq!(bystander.0.skip_to("presence")["count"], 1);
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let server = Server::start(&[]);
    let (mut silent, mut slow) = (Raw::connect(server.address), Raw::connect(server.address));
    slow.send(b"GET / HTTP/1.1\r\nHost: local");
    assert_eq!(slow.response(false).status, 408);
    assert!(slow.ended() && silent.ended());
}

#[test]
fn who_takes_long_to_read_an_answer_is_not_cut_off_by_the_time_for_a_request() {
    let server = Server::start(&[]);
    let mut slow = Raw::connect(server.address);
    slow.send("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400).as_bytes());
    // Until a connection that was made later has run out of time, nothing is read.
    assert!(Raw::connect(server.address).ended());
    for n in 0..400 {
        assert_eq!(slow.response(false).status, 200, "answer {n}");
    }
}
