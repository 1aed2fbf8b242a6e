//! Who is here: names, status, who types, sessions and the grace period, member lists, and rooms too large for
//! announcements.

mod common;

use std::time::{Duration, Instant};

use common::client::kinds;
use common::raw::Raw;
use common::{Client, Server};
use serde_json::{Value, json};

/// The member list of a room, as this client is told it.
fn members(client: &mut Client, room: &str) -> Value {
    client.ask(json!({"type": "presence", "room": room}));
    client.expect("presence")
}

/// Names in a member list, sorted.
fn names(presence: &Value) -> Vec<&str> {
    let users = presence["users"].as_array().expect("a list");
    let mut names: Vec<&str> = users.iter().map(|user| user["user"].as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

fn announced<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    let fitting = events.iter().filter(|event| event["data"]["kind"] == kind);
    fitting.map(|event| event["data"]["content"].as_str().expect("a text")).collect()
}

#[test]
fn member_lists_tell_who_is_there() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.drain();
    assert_eq!(names(&members(&mut alice, "room")), ["alice", "bob"]);
    bob.ask(json!({"type": "leave", "room": "room"}));
    alice.drain();
    assert_eq!(names(&members(&mut alice, "room")), ["alice"]);
    let nobody = members(&mut bob, "nobody is here");
    assert_eq!((&nobody["users"], &nobody["count"]), (&json!([]), &json!(0)));
    bob.refused(json!({"type": "presence", "room": ""}), "bad_room");
}

#[test]
fn status_is_told_to_the_rooms_one_is_in() {
    let server = Server::start(&[]);
    let (mut alice, mut bob, mut eve) = (server.client("alice"), server.client("bob"), server.client("eve"));
    alice.join("room");
    bob.join("room");
    eve.join("elsewhere");
    alice.drain();
    bob.ask(json!({"type": "status", "status": "away"}));
    let status = alice.skip_to("status");
    assert_eq!((&status["room"], &status["user"], &status["status"]), (&json!("room"), &json!("bob"), &json!("away")));
    assert!(status["lastSeen"].is_u64());
    let list = members(&mut eve, "room");
    let bobs =
        list["users"].as_array().expect("a list").iter().find(|user| user["user"] == "bob").expect("he is there");
    assert_eq!(bobs["status"], "away");
    bob.ask(json!({"type": "status", "status": "online"}));
    assert_eq!(alice.skip_to("status")["status"], "online");
    bob.ask(json!({"type": "status", "status": "online"}));
    assert!(!kinds(&alice.drain()).contains(&"status"), "nothing changed");
    assert!(eve.drain().is_empty());
    bob.refused(json!({"type": "status", "status": "offline"}), "bad_request");
}

#[test]
fn a_name_in_use_is_refused_at_connect_with_1008() {
    let server = Server::start(&[]);
    let _alice = server.client("Alice");
    for name in ["Alice", "ALICE", "%EF%BD%81lice"] {
        let mut twin = Client::open(server.address, &format!("/?user={name}"));
        assert_eq!(twin.events_until_close(), (vec![], 1008), "{name}");
    }
}

#[test]
fn bad_names_are_refused() {
    let server = Server::start(&[]);
    let long = "x".repeat(33);
    let mut alice = server.client("alice");
    for name in [long.as_str(), " x", "x ", "a\nb", "system", "SYSTEM", ""] {
        alice.refused(json!({"type": "hello", "user": name}), "bad_name");
    }
    for name in [long.as_str(), "%20x", "system", "a%00b"] {
        assert_eq!(Client::open(server.address, &format!("/?user={name}")).expect_close(), 1008, "{name}");
    }
    assert_eq!(Client::connect(server.address, &format!("/?user={}", "x".repeat(32))).user().len(), 32);
}

#[test]
fn hello_changes_the_name_and_the_rooms_are_told() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.drain();
    let before = bob.session().to_owned();
    bob.ask(json!({"type": "hello", "user": "robert"}));
    let connected = bob.skip_to("connected");
    assert_eq!((&connected["user"], &connected["session"]), (&json!("robert"), &json!(before)));
    let events = alice.drain();
    assert_eq!(announced(&events, "leave"), ["bob left the room"]);
    assert_eq!(announced(&events, "join"), ["robert joined the room"]);
    assert_eq!(names(&members(&mut alice, "room")), ["alice", "robert"]);
    let error = alice.refused(json!({"type": "hello", "user": "ROBERT"}), "name_taken");
    assert!(error["message"].is_string());
    let mut eve = Client::connect(server.address, "/");
    eve.ask(json!({"type": "hello", "user": "bob"}));
    assert_eq!(eve.expect("connected")["user"], "bob", "the old name is free");
    bob.say("room", "still here");
    assert_eq!(alice.skip_until(|event| event["data"]["content"] == "still here")["data"]["user"], "robert");
}

#[test]
fn a_join_may_bring_its_name() {
    let server = Server::start(&[]);
    let mut guest = Client::connect(server.address, "/");
    guest.send(json!({"type": "join", "room": "room", "username": "alice", "id": 1}));
    assert_eq!(guest.expect("connected")["user"], "alice");
    guest.expect_ack(1);
    assert_eq!(names(&guest.expect("presence")), ["alice"]);
    let mut bob = server.client("bob");
    bob.refused(json!({"type": "join", "room": "room", "username": "alice"}), "name_taken");
    assert_eq!(names(&members(&mut bob, "room")), ["alice"], "and nobody was joined");
}

#[test]
fn a_close_with_1000_is_announced_at_once() {
    let server = Server::start(&["--grace", "1h"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.drain();
    bob.close();
    assert_eq!(alice.skip_to("status")["status"], "offline");
    assert_eq!(alice.skip_until(|event| event["data"]["kind"] == "leave")["data"]["subject"], "bob");
    server.client("bob");
}

#[test]
fn a_session_resumed_in_time_is_seen_by_nobody() {
    let server = Server::start(&["--grace", "1h"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.say("room", "one");
    alice.drain();
    let session = bob.session().to_owned();
    bob.reset();
    // Once the server has seen the reset, messages do not reach him; his name and room are kept.
    alice.say("room", "two");
    assert_eq!(names(&members(&mut alice, "room")), ["alice", "bob"]);
    assert_eq!(Client::open(server.address, "/?user=bob").expect_close(), 1008, "the name is kept for its session");

    let mut bob = Client::connect(server.address, &format!("/?session={session}&room=room&since=1"));
    assert_eq!((bob.user(), bob.session()), ("bob", session.as_str()));
    let history = bob.skip_to("history");
    assert_eq!(history["messages"][0]["content"], "two");
    bob.say("room", "back");
    let events = alice.drain();
    assert!(!kinds(&events).contains(&"status"), "{events:?}");
    assert!(announced(&events, "join").is_empty() && announced(&events, "leave").is_empty(), "{events:?}");
}

#[test]
fn a_session_may_be_resumed_by_hello() {
    let server = Server::start(&["--grace", "1h"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.drain();
    let session = bob.session().to_owned();
    bob.reset();
    let mut bob = Client::connect(server.address, "/");
    bob.ask(json!({"type": "hello", "session": session}));
    assert_eq!(bob.expect("connected")["user"], "bob");
    bob.refused(json!({"type": "hello", "session": "0".repeat(session.len())}), "bad_session");
    bob.join("room");
    assert_eq!(announced(&alice.drain(), "join"), Vec::<&str>::new());
}

#[test]
fn a_session_resumed_elsewhere_closes_the_connection_it_had() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    let again = Client::connect(server.address, &format!("/?session={}", alice.session()));
    assert_eq!(again.user(), "alice");
    assert_eq!(alice.expect_close(), 1008);
}

#[test]
fn after_the_grace_period_the_session_is_over_and_the_name_free() {
    let server = Server::start(&["--grace", "50ms"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.drain();
    let session = bob.session().to_owned();
    bob.reset();
    assert_eq!(alice.skip_to("status")["status"], "offline");
    let stranger = Client::connect(server.address, &format!("/?session={session}"));
    assert_ne!(stranger.user(), "bob");
    server.client("bob");
}

#[test]
fn rooms_that_a_resumed_session_does_not_join_again_are_left() {
    let server = Server::start(&["--grace", "1s"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("kept");
    alice.join("dropped");
    bob.join("kept");
    bob.join("dropped");
    alice.drain();
    let session = bob.session().to_owned();
    bob.reset();
    let mut bob = Client::connect(server.address, &format!("/?session={session}&room=kept"));
    assert_eq!(bob.user(), "bob");
    let farewell = alice.skip_until(|event| event["data"]["kind"] == "leave");
    assert_eq!(farewell["data"]["room"], "dropped");
    bob.refused(json!({"type": "message", "room": "dropped", "content": "x"}), "not_subscribed");
    bob.say("kept", "x");
    assert!(!kinds(&alice.drain()).contains(&"status"), "he was online all the time");
}

#[test]
fn large_rooms_are_told_counts_and_not_who_comes_and_goes() {
    let server = Server::start(&["--grace", "0ms"]);
    let mut watcher = server.client("watcher");
    watcher.join("hall");
    let mut crowd: Vec<Client> = (1..=99).map(|n| server.client(&format!("member{n}"))).collect();
    for member in &mut crowd {
        member.ask(json!({"type": "join", "room": "hall"}));
    }
    let events = watcher.drain();
    assert_eq!(announced(&events, "join").len(), 99, "up to a hundred members each is announced");
    let list = members(&mut watcher, "hall");
    assert_eq!((&list["count"], list.get("more"), names(&list).len()), (&json!(100), None, 100));

    let mut late: Vec<Client> = (1..=10).map(|n| server.client(&format!("late{n}"))).collect();
    for member in &mut late {
        member.ask(json!({"type": "join", "room": "hall"}));
        let own = member.expect("presence");
        assert_eq!((names(&own).len(), &own["more"]), (100, &json!(true)), "a hundred are listed");
    }
    // The last count comes when a second has passed since the one before.
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["type"] != "presence" || event["data"]["count"] != 110) {
        events.push(watcher.next());
    }
    assert!(announced(&events, "join").is_empty(), "{events:?}");
    let counts = kinds(&events).iter().filter(|kind| **kind == "presence").count();
    assert!(counts <= 4, "{counts} counts for ten joins within a second or two");
    let last = events.pop().expect("not empty");
    assert_eq!((&last["data"]["users"], &last["data"]["more"]), (&json!([]), &json!(true)), "the count alone");

    for member in late.drain(..5) {
        member.reset();
    }
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["type"] != "presence" || event["data"]["count"] != 105) {
        events.push(watcher.next());
    }
    assert!(announced(&events, "leave").is_empty(), "{events:?}");
    assert_eq!(watcher.say("hall", "hello, all")["sequence"], 1);
    assert_eq!(crowd[42].skip_until(|event| event["data"]["user"] == "watcher")["data"]["sequence"], 1);
}

#[test]
fn silence_ends_a_connection_but_an_answered_ping_does_not() {
    let server = Server::start(&["--heartbeat", "100ms", "--offline-timeout", "500ms"]);
    let mut raw = Raw::websocket(server.address, "/?user=raw");
    // Reads everything and answers nothing, not even pings.
    assert_eq!(raw.close_code(), 4000);
    let mut alice = server.client("alice");
    for _ in 0..10 {
        alice.expect("heartbeat");
    }
    alice.drain();
}

#[test]
fn who_falls_silent_or_leaves_has_stopped_typing() {
    let server = Server::start(&["--grace", "0ms"]);
    let mut watcher = server.client("watcher");
    watcher.join("room");
    let start = json!({"type": "typing.start", "room": "room"});
    let names = ["silent", "leaver", "gone"];
    let mut typists: Vec<Client> = names.iter().map(|name| server.client(name)).collect();
    for typist in &mut typists {
        typist.join("room");
    }
    let started = Instant::now();
    let told = |watcher: &mut Client, name: &str, is_typing: bool| {
        let event = watcher.skip_until(|event| event["type"] == "typing" && event["data"]["user"] == name);
        assert_eq!(event["data"]["isTyping"], is_typing, "{event}");
    };
    for (typist, name) in typists.iter_mut().zip(names) {
        typist.ask(start.clone());
        told(&mut watcher, name, true);
    }
    typists[1].ask(json!({"type": "leave", "room": "room"}));
    told(&mut watcher, "leaver", false);
    typists.pop().expect("there are three").reset();
    told(&mut watcher, "gone", false);
    assert!(started.elapsed() < Duration::from_millis(5_900), "both at once");
    told(&mut watcher, "silent", false);
    let elapsed = started.elapsed();
    assert!((5.9..9.0).contains(&elapsed.as_secs_f64()), "after six seconds without a word: {elapsed:?}");
}

#[test]
fn member_lists_come_at_most_once_a_second() {
    let server = Server::start(&["--rate", "0"]);
    let mut watcher = server.client("watcher");
    watcher.join("room");
    let started = Instant::now();
    for n in 0..30 {
        let mut passer_by = server.client(&format!("passer{n}"));
        passer_by.join("room");
        passer_by.close();
    }
    // The last state is told in the end: she is alone.
    let (mut lists, mut count, mut has_left) = (0, 0, false);
    while !(has_left && count == 1) {
        let event = watcher.next();
        has_left |= event["data"]["kind"] == "leave" && event["data"]["subject"] == "passer29";
        if event["type"] == "presence" {
            lists += 1;
            count = event["data"]["count"].as_u64().expect("a number");
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    assert!(f64::from(lists) <= seconds + 2.0, "{lists} lists within {seconds} s");
}
