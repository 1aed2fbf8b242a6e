//! The bounds of the protocol that other tests do not meet on their way: floods, and what is too much of one address or
//! account.

mod common;

use std::time::{Duration, Instant};

use common::client::{contents, sequences};
use common::raw::{Raw, frame, upgrade_head};
use common::rest::{PASSWORD, eventually, messages};
use common::{Client, Rest, Server};
use serde_json::{Value, json};

/// Sends a command so often, each time with an id, without waiting for answers.
fn flood(client: &mut Client, command: &Value, count: usize) {
    for n in 0..count {
        let mut command = command.clone();
        command["id"] = json!(n);
        client.send(command);
    }
}

/// The answers to so many commands; other events are passed over.
fn answers(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).map(|_| client.skip_until(|event| event.get("id").is_some())).collect()
}

/// How many answers are acks. All others must be `rate_limited`, with a time to wait that is no longer than this.
fn accepted(answers: &[Value], wait_ms_max: u64) -> usize {
    let refused: Vec<&Value> = answers.iter().filter(|answer| answer["type"] != "ack").collect();
    for answer in &refused {
        let wait_ms = answer["data"]["retryAfterMs"].as_u64().expect("a time to wait");
        assert!(answer["data"]["code"] == "rate_limited" && (1..=wait_ms_max).contains(&wait_ms), "{answer}");
    }
    answers.len() - refused.len()
}

/// What a bucket lets through: what comes at once, and what it may have got back since.
fn assert_through(accepted: usize, at_once: usize, per_second: usize, since: Instant) {
    let more = (since.elapsed().as_secs_f64() * per_second as f64).ceil() as usize;
    assert!((at_once..=at_once + more).contains(&accepted), "{accepted} instead of {at_once} to {}", at_once + more);
}

/// A connection that is a WebSocket, or nothing if there is no place for it.
fn upgraded(from: &Rest, path: &str) -> Option<Raw> {
    let mut raw = from.raw();
    raw.send(format!("{}\r\n", upgrade_head(path)).as_bytes());
    let status = raw.response(true).status;
    assert!(status == 101 || status == 503, "{status}");
    (status == 101).then_some(raw)
}

fn message(room: &str) -> Value {
    json!({"type": "message", "room": room, "content": "x"})
}

/// Repeats a request until it is refused with 429, which must be soon; checks what it says.
fn too_many(request: impl Fn() -> common::raw::Response) {
    let refused = eventually("it is too much", || Some(request()).filter(|response| response.status == 429));
    refused.expect_problem(429, "rate_limited");
    let seconds: u64 = refused.header("Retry-After").expect("a time").parse().expect("in seconds");
    assert!((1..=2).contains(&seconds), "{seconds}");
}

#[test]
fn commands_have_a_bound_at_fifty_times_the_rate() {
    let server = Server::start(&["--rate", "1"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.ask(json!({"type": "join", "room": "room"}));
    let started = Instant::now();
    flood(&mut alice, &json!({"type": "heartbeat"}), 150);
    let through = accepted(&answers(&mut alice, 150), 20);
    // One was the join.
    assert_through(through + 1, 100, 50, started);
    alice.ask(message("room"));
    // What is no command at all counts too.
    for _ in 0..100 {
        alice.send_text("{}");
    }
    flood(&mut alice, &json!({"type": "dance"}), 1);
    let answer = &answers(&mut alice, 1)[0];
    assert_eq!(answer["data"]["code"], "rate_limited", "{answer}");
    bob.join("room");
    bob.say("room", "others are not held back");
}

#[test]
fn who_floods_with_commands_is_closed_with_1008() {
    let server = Server::start(&["--rate", "1"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    bob.join("room");
    for _ in 0..1_000 {
        // It may be closed before all is sent.
        alice.try_send(&json!({"type": "presence", "room": "room"}));
    }
    let (events, code) = alice.events_until_close();
    assert_eq!((code, alice.reason.is_empty()), (1008, false));
    let refused = events.iter().filter(|event| event["data"]["code"] == "rate_limited").count();
    assert_eq!(refused, 199, "and with the 200th it is enough");
    bob.say("room", "others are not held back");
}

#[test]
fn who_floods_with_control_frames_is_closed_with_1008() {
    let server = Server::start(&["--rate", "1"]);
    let mut bob = server.client("bob");
    bob.join("room");
    for first in [0x89, 0x8a] {
        let mut raw = Raw::websocket(server.address, "/");
        raw.send(&frame(first, b"x").repeat(90));
        raw.send(&frame(0x89, b"the last"));
        while raw.frame().expect("the connection lives") != (0x8a, b"the last".to_vec()) {}
        for _ in 0..10 {
            raw.send(&frame(first, b"x").repeat(100));
        }
        assert_eq!(raw.close_code(), 1008, "{first:x}");
    }
    bob.say("room", "others are not held back");
}

#[test]
fn an_address_has_so_many_connections_and_others_have_theirs() {
    let server = Server::start(&["--connections-per-address", "5"]);
    let mut clients: Vec<Client> = (1..=5).map(|n| server.client(&format!("client{n}"))).collect();
    for client in &mut clients {
        client.join("room");
    }
    // An upgrade and a plain request alike.
    for request in [format!("{}\r\n", upgrade_head("/")), "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
        let mut raw = Raw::connect(server.address);
        raw.send(request.as_bytes());
        let response = raw.response(false);
        assert_eq!((response.status, response.header("Retry-After")), (503, Some("5")), "{}", response.head);
        assert!(raw.ended());
    }
    let elsewhere = server.rest().from(2);
    let mut neighbours: Vec<Client> = (0..5).map(|_| elsewhere.device("/?room=room")).collect();
    neighbours[4].say("room", "we are from elsewhere");
    assert!(upgraded(&elsewhere, "/").is_none(), "the bound is theirs too");
    for client in &mut clients {
        assert_eq!(client.read_through(1).len(), 1, "who is there goes on");
    }
    clients[0].say("room", "still here");

    clients.pop().expect("five").close();
    let mut late = eventually("there is a place again", || upgraded(&server.rest(), "/?user=late"));
    assert_eq!(late.frame().expect("connected").0, 0x81);
}

#[test]
fn all_devices_of_an_account_share_its_rate() {
    let server = Server::start(&["--account-rate", "1"]);
    let alice = server.rest().with(&server.rest().register("alice"));
    let (mut phone, mut laptop) = (alice.device("/?room=room"), alice.from(2).device("/?room=room"));
    let started = Instant::now();
    let mut through = 0;
    flood(&mut phone, &message("room"), 5);
    flood(&mut laptop, &message("room"), 5);
    for device in [&mut phone, &mut laptop] {
        through += accepted(&answers(device, 5), 1_000);
    }
    assert_through(through, 2, 1, started);
    too_many(|| alice.post(&messages("room"), json!({"content": "x"})));
    // Requests that say nothing count for the address alone.
    alice.get("/api/me/rooms").expect(200);
    let mut bob = server.client("bob");
    bob.join("room");
    bob.say("room", "others are not held back");
}

#[test]
fn all_that_comes_from_an_address_shares_its_rate() {
    let server = Server::start(&["--address-rate", "2"]);
    let rest = server.rest();
    let mut clients = ["alice", "bob"].map(|user| server.client(user));
    for client in &mut clients {
        client.join("room");
    }
    let started = Instant::now();
    for client in &mut clients {
        flood(client, &message("room"), 6);
    }
    let through = clients.iter_mut().map(|client| accepted(&answers(client, 6), 500)).sum();
    assert_through(through, 4, 2, started);
    too_many(|| rest.get("/api/rooms"));
    too_many(|| rest.post("/api/sessions", json!({"user": "nobody", "password": PASSWORD})));
    // Commands that say nothing are counted for their connection, and other addresses for themselves.
    clients[0].ask(json!({"type": "presence", "room": "room"}));
    let elsewhere = rest.from(2);
    elsewhere.get(&messages("room")).expect(200);
    elsewhere.device("/?room=room").say("room", "others are not held back");
}

#[test]
fn what_a_connection_sends_too_much_of_costs_its_address_nothing() {
    let server = Server::start(&["--rate", "1", "--address-rate", "10"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    flood(&mut alice, &message("room"), 100);
    accepted(&answers(&mut alice, 100), 1_000);
    bob.say("room", "one");
    server.rest().history("room");
}

#[test]
fn requests_count_for_what_they_cost() {
    let server = Server::start(&["--address-rate", "30"]);
    let rest = server.rest();
    // Sixty at once: three pages of the list of rooms, and from elsewhere six long readings.
    (0..3).for_each(|_| drop(rest.get("/api/rooms").expect(200)));
    too_many(|| rest.get("/api/rooms"));
    let elsewhere = rest.from(2);
    let long = format!("{}?limit=1000", messages("room"));
    (0..6).for_each(|_| drop(elsewhere.get(&long).expect(200)));
    too_many(|| elsewhere.get(&long));
}

fn alice(server: &Server) -> Rest {
    server.rest().with(&server.rest().register("alice"))
}

#[test]
fn a_body_of_64_kib_is_read_and_a_longer_one_is_413() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let post = |length: &str, body: &str| {
        let head =
            alice.encode("POST", &messages("room"), &format!("Content-Type: application/json\r\n{length}"), None);
        let mut raw = alice.raw();
        raw.send(&head);
        raw.send(body.as_bytes());
        raw.response(false)
    };
    let command = r#"{"content":"x"}"#;
    let padded = |bytes: usize| command.to_owned() + &" ".repeat(bytes - command.len());
    let declared = |bytes: usize| post(&format!("Content-Length: {bytes}\r\n"), &padded(bytes));
    let chunked = |bytes: usize| {
        let chunks = padded(bytes).as_bytes().chunks(4_096).fold(String::new(), |text, chunk| {
            text + &format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).expect("ASCII"))
        });
        post("Transfer-Encoding: chunked\r\n", &(chunks + "0\r\n\r\n"))
    };
    assert_eq!(declared(65_536).expect(201)["sequence"], 1);
    assert_eq!(declared(65_537).status, 413);
    assert_eq!(chunked(65_536).expect(201)["sequence"], 2);
    assert_eq!(chunked(65_537).status, 413, "also if its length is not said before");
    assert_eq!(alice.history("room")["head"], 2);
}

#[test]
fn what_is_posted_is_bounded_as_what_is_said() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let post = |room: &str, content: &str, nonce: &str| {
        alice.post(&messages(room), json!({"content": content, "nonce": nonce}))
    };
    let (room, nonce) = ("\u{fc}".repeat(64), "n".repeat(64));
    assert_eq!(post(&room, &"é".repeat(2_048), &nonce).expect(201)["sequence"], 1);
    post(&room, &format!("{}x", "é".repeat(2_048)), "n").expect_problem(422, "too_long");
    post(&room, " \t\n", "n").expect_problem(422, "empty");
    post(&room, "x", &format!("{nonce}n")).expect_problem(422, "too_long");
    post(&room, "x", "").expect_problem(400, "bad_request");
    post(&format!("{room}x"), "x", "n").expect_problem(422, "bad_room");
    alice.get(&messages(&format!("{room}x"))).expect_problem(422, "bad_room");
    assert_eq!(alice.history(&room)["head"], 1, "what is refused takes no number");
}

#[test]
fn a_limit_outside_its_range_is_moved_into_it() {
    let server = Server::start(&["--rate", "0"]);
    let mut alice = server.client("alice");
    alice.join("room");
    for n in 1..=1_010 {
        alice.send(json!({"type": "message", "room": "room", "content": n.to_string()}));
    }
    alice.read_through(1_010);
    let rest = server.rest();
    for (limit, count) in [(None, 100), (Some(0), 1), (Some(1), 1), (Some(1_000), 1_000), (Some(u64::MAX), 1_000)] {
        alice.ask(json!({"type": "history", "room": "room", "limit": limit}));
        let asked = alice.expect("history");
        let query = limit.map_or(String::new(), |limit| format!("?limit={limit}"));
        let read = rest.get(&format!("{}{query}", messages("room"))).expect(200);
        assert_eq!(asked, read);
        let found = asked["messages"].as_array().expect("a list");
        assert_eq!(sequences(found), (1..=count).collect::<Vec<u64>>(), "{limit:?}");
        assert_eq!((contents(found)[0], &asked["more"]), ("1", &json!(true)));
    }
    for wrong in ["-1", "x", "1.5", ""] {
        rest.get(&format!("{}?limit={wrong}", messages("room"))).expect_problem(400, "bad_request");
    }
}

#[test]
fn who_does_not_hang_up_after_a_close_is_dropped() {
    let server = Server::start(&["--connections-per-address", "1"]);
    let mut raw = Raw::websocket(server.address, "/?user=alice");
    raw.send(&frame(0x82, b"binary"));
    assert_eq!(raw.close_code(), 1003);
    let closed = Instant::now();
    assert!(upgraded(&server.rest(), "/").is_none(), "it still has its place");
    eventually("its place is free", || upgraded(&server.rest(), "/"));
    assert!(closed.elapsed() >= Duration::from_millis(2_900), "after {:?}", closed.elapsed());
}
