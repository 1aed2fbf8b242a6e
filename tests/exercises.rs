//! The four exercises of the tutorial that the protocol grew out of, against the real binary.

mod common;

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;

use common::client::{contents, messages_of, sequences};
use common::{Client, Data, Server};
use serde_json::{Value, json};

/// Short, and yet long enough that a client on a busy machine can answer its pings in time.
const SHORT_TIMERS: &[&str] = &["--heartbeat", "200ms", "--offline-timeout", "1s", "--grace", "200ms"];

#[test]
fn two_clients_chat_and_one_leaves() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    assert!(alice.join("general").is_empty() && bob.join("general").is_empty(), "a new room has no history");
    let arrival = alice.skip_to("message");
    assert_eq!((&arrival["content"], &arrival["kind"]), (&json!("bob joined the room"), &json!("join")));
    alice.drain();

    let sent = alice.say("general", "hello");
    let heard = bob.expect("message");
    for field in ["room", "sequence", "id", "timestamp"] {
        assert_eq!(heard[field], sent[field], "the ack tells what was delivered: {field}");
    }
    assert_eq!((&heard["user"], &heard["content"], &heard["sequence"]), (&json!("alice"), &json!("hello"), &json!(1)));
    bob.say("general", "hello yourself");
    let echo = alice.skip_until(|event| event["data"]["user"] == "bob");
    assert_eq!(echo["data"]["content"], "hello yourself");

    bob.ask(json!({"type": "leave", "room": "general"}));
    let farewell = alice.skip_until(|event| event["data"]["kind"] == "leave");
    assert_eq!(farewell["data"]["content"], "bob left the room");
    alice.say("general", "are you there?");
    assert!(bob.drain().is_empty(), "who left hears nothing more");
    bob.refused(json!({"type": "message", "room": "general", "content": "no"}), "not_subscribed");
}

/// Joins, waits for the others, says a hundred things as fast as it can, and reads all eight hundred.
fn chatter(mut client: Client, start: &Barrier) -> (Client, Vec<Value>) {
    client.join("general");
    start.wait();
    for n in 1..=100 {
        let content = format!("{} {n}", client.user());
        client.send(json!({"type": "message", "data": {"room": "general", "content": content}}));
    }
    let messages = client.read_through(800);
    (client, messages)
}

#[test]
fn eight_clients_with_a_hundred_rapid_messages_each_see_one_order() {
    let server = Server::start(&["--rate", "0"]);
    let start = Arc::new(Barrier::new(8));
    let clients: Vec<Client> = (1..=8).map(|n| server.client(&format!("client{n}"))).collect();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let start = Arc::clone(&start);
            thread::spawn(move || chatter(client, &start))
        })
        .collect();
    let seen: Vec<(Client, Vec<Value>)> = threads.into_iter().map(|one| one.join().expect("a client")).collect();

    let first = &seen[0].1;
    assert_eq!(sequences(first), (1..=800).collect::<Vec<u64>>(), "no holes, no repeats");
    assert_eq!(contents(first).into_iter().collect::<HashSet<_>>().len(), 800, "each message once");
    for user in (1..=8).map(|n| format!("client{n}")) {
        let own: Vec<&str> = contents(first).into_iter().filter(|text| text.starts_with(&user)).collect();
        assert_eq!(own, (1..=100).map(|n| format!("{user} {n}")).collect::<Vec<_>>(), "in the order they were sent");
    }
    assert!(seen.iter().all(|(_, messages)| messages == first), "everybody sees the same");
    for (mut client, _) in seen {
        assert!(messages_of(&client.drain()).is_empty(), "and nothing more");
    }
}

#[test]
fn a_client_that_was_away_gets_exactly_what_it_missed_then_live() {
    let server = Server::start(&["--rate", "0"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("general");
    bob.join("general");
    for n in 1..=5 {
        alice.say("general", &format!("before {n}"));
    }
    let position = bob.read_through(5).pop().expect("five");
    let epoch = bob.ask(json!({"type": "join", "room": "general"}))["epoch"].clone();
    bob.close();

    for n in 1..=120 {
        alice.send(json!({"type": "message", "room": "general", "content": format!("missed {n}")}));
    }
    alice.read_through(125);
    let mut bob = server.client("bob");
    bob.send(json!({"type": "join", "room": "general", "since": position["sequence"], "epoch": epoch, "id": 1}));
    assert_eq!(bob.expect_ack(1)["head"], 125);
    bob.expect("presence");
    assert_eq!(bob.expect("message")["ephemeral"], true, "its own announcement");
    let history = bob.expect("history");
    assert_eq!((&history["more"], &history["head"], history.get("reset")), (&json!(false), &json!(125), None));
    let missed = history["messages"].as_array().expect("a list");
    assert_eq!(sequences(missed), (6..=125).collect::<Vec<u64>>());
    alice.say("general", "now");
    assert_eq!(bob.skip_to("message")["sequence"], 126);
}

#[test]
fn a_client_killed_without_a_close_is_found_offline() {
    let server = Server::start(SHORT_TIMERS);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("general");
    bob.join("general");
    bob.reset();
    let offline = alice.skip_to("status");
    assert_eq!((&offline["user"], &offline["status"]), (&json!("bob"), &json!("offline")));
    assert!(offline["lastSeen"].is_u64(), "{offline}");
    let farewell = alice.skip_until(|event| event["data"]["kind"] == "leave");
    assert_eq!(farewell["data"]["content"], "bob left the room");
    assert_eq!(names(&mut alice), ["alice"]);
}

#[test]
fn a_client_that_only_falls_silent_is_found_offline() {
    let server = Server::start(SHORT_TIMERS);
    let mut alice = server.client("alice");
    alice.join("general");
    // It neither reads nor answers pings, and its connection stays open.
    let mut mute = server.client("mute");
    mute.join("general");
    let offline = alice.skip_to("status");
    assert_eq!((&offline["user"], &offline["status"]), (&json!("mute"), &json!("offline")));
    assert_eq!(mute.expect_close(), 4000, "it is told why, should it ever listen");
    assert_eq!(names(&mut alice), ["alice"]);
}

fn names(client: &mut Client) -> Vec<String> {
    client.send(json!({"type": "presence", "room": "general", "id": "who"}));
    client.skip_until(|event| event["id"] == "who");
    let presence = client.skip_to("presence");
    let users = presence["users"].as_array().expect("a list");
    users.iter().map(|user| user["user"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_restart_keeps_history_and_goes_on_counting() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--rate", "0"]);
    let mut alice = server.client("alice");
    alice.join("general");
    for n in 1..=30 {
        alice.say("general", &format!("message {n}, with a \u{1F980} and a \"quote\"\n"));
    }
    let before = history(&mut alice);
    server.terminate();
    assert_eq!(alice.expect_close(), 1001, "told that the server goes");
    drop(alice);
    server.stop();

    let log = fs::read_to_string(&data.segments("general")[0]).expect("the log is text");
    for n in 1..=30 {
        let with = log.lines().filter(|line| line.contains(&format!("\"content\":\"message {n}, with a")));
        assert_eq!(with.count(), 1, "message {n} is one line of the log");
    }

    let server = Server::on(&data, &["--rate", "0"]);
    let mut alice = server.client("alice");
    let recent = alice.join("general");
    assert_eq!(history(&mut alice), before, "the same messages, the same epoch");
    assert_eq!(json!(recent), before["messages"]);
    assert_eq!(alice.say("general", "after the restart")["sequence"], 31);
}

fn history(client: &mut Client) -> Value {
    client.ask(json!({"type": "history", "room": "general", "limit": 1000}));
    client.expect("history")
}
