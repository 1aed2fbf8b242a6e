//! The protocol, sentence by sentence: commands and their answers, errors, limits, and what a URL may ask for.

mod common;

use std::time::{Duration, Instant};

use common::client::{contents, kinds, sequences};
use common::raw::{Raw, upgrade_head};
use common::{Client, Data, Server};
use serde_json::{Value, json};

const NO_RATE: &[&str] = &["--rate", "0"];

#[test]
fn connected_comes_first_and_tells_who_and_what() {
    let server = Server::start(&["--rate", "7", "--max-content", "100", "--heartbeat", "5s"]);
    let guest = Client::connect(server.address, "/");
    let name = guest.user();
    let digits = name.strip_prefix("user_").expect("a guest's name");
    assert!(digits.len() == 8 && digits.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    let hello = &guest.hello;
    assert!(hello["clientId"].is_string() && hello["session"].as_str().is_some_and(|text| text.len() >= 16), "{hello}");
    assert_eq!((&hello["heartbeatMs"], &hello["version"]), (&json!(5_000), &json!(1)));
    let limits = json!({"contentBytes": 100, "messageBytes": 16_384, "roomsPerConnection": 64, "messagesPerSecond": 7});
    assert_eq!(hello["limits"], limits);
    let other = Client::connect(server.address, "/ws");
    assert_ne!(other.user(), name);
    assert_ne!(other.session(), guest.session());
}

#[test]
fn joining_answers_in_the_order_of_the_protocol() {
    let server = Server::start(NO_RATE);
    let mut alice = server.client("alice");
    alice.join("general");
    alice.say("general", "one");
    alice.drain();
    let mut bob = server.client("bob");
    bob.send(json!({"type": "join", "id": "j"}));
    let ack = bob.expect_ack("j");
    assert_eq!((&ack["room"], &ack["head"]), (&json!("general"), &json!(1)), "the default room");
    assert!(ack["epoch"].is_string());
    let presence = bob.expect("presence");
    assert_eq!((&presence["count"], presence.get("more")), (&json!(2), None));
    let users = presence["users"].as_array().expect("a list");
    assert!(users.iter().all(|user| user["status"] == "online" && user["lastSeen"].is_u64()), "{presence}");
    let announcement = bob.expect("message");
    assert_eq!((&announcement["user"], &announcement["kind"]), (&json!("system"), &json!("join")));
    assert_eq!((&announcement["sequence"], &announcement["ephemeral"]), (&json!(1), &json!(true)), "{announcement}");
    let history = bob.expect("history");
    assert_eq!((&history["floor"], &history["head"], &history["more"]), (&json!(1), &json!(1), &json!(false)));
    assert_eq!((&history["epoch"], history.get("reset")), (&ack["epoch"], None));
    alice.say("general", "two");
    assert_eq!(bob.expect("message")["sequence"], 2);
}

#[test]
fn an_empty_room_sends_no_history_unless_since_is_given() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    alice.send(json!({"type": "join", "room": "empty"}));
    assert_eq!(kinds(&alice.drain()), ["presence", "message"], "no ack, none was asked for");
    alice.send(json!({"type": "join", "room": "empty", "since": 0}));
    assert_eq!(kinds(&alice.drain()), ["presence", "history"], "a member already: nothing to announce");
}

#[test]
fn every_command_with_an_id_gets_exactly_one_answer_with_it() {
    let server = Server::start(NO_RATE);
    let mut alice = server.client("alice");
    alice.join("room");
    let commands = [
        json!({"type": "hello", "user": "alicia"}),
        json!({"type": "hello"}),
        json!({"type": "hello", "token": "nobody's"}),
        json!({"type": "hello", "session": "nobody's"}),
        json!({"type": "join", "room": "room"}),
        json!({"type": "join", "room": ""}),
        json!({"type": "join", "room": "other", "username": "alice"}),
        json!({"type": "message", "data": {"room": "room", "content": "nested"}}),
        json!({"type": "message", "room": "room", "content": "flat"}),
        json!({"type": "message", "room": "elsewhere", "content": "lost"}),
        json!({"type": "presence", "room": "room"}),
        json!({"type": "status", "status": "away"}),
        json!({"type": "status", "status": "asleep"}),
        json!({"type": "history", "room": "room"}),
        json!({"type": "typing", "room": "room", "isTyping": true}),
        json!({"type": "typing.start", "room": "room"}),
        json!({"type": "typing.stop", "room": "room"}),
        json!({"type": "private", "to": "alice", "content": "to myself"}),
        json!({"type": "private", "to": "nobody", "content": "lost"}),
        json!({"type": "ping", "timestamp": 5}),
        json!({"type": "heartbeat"}),
        json!({"type": "dance"}),
        json!({"type": "leave", "room": "room"}),
        json!({"type": "leave", "room": "room"}),
    ];
    for (number, command) in commands.iter().enumerate() {
        // Both forms of an id, and every command with both.
        for id in [json!(number), json!(format!("id {number}"))] {
            let mut command = command.clone();
            command["id"] = id.clone();
            alice.send(command.clone());
            // A message's ack may come behind the next pong: it waits for the disk.
            let mut events = vec![alice.skip_until(|event| event.get("id").is_some())];
            events.extend(alice.drain());
            let answers: Vec<&Value> = events.iter().filter(|event| event.get("id").is_some()).collect();
            assert_eq!(answers.len(), 1, "{command}: {answers:?}");
            assert_eq!(answers[0]["id"], id);
            assert!(answers[0]["type"] == "ack" || answers[0]["type"] == "error", "{answers:?}");
        }
    }
}

#[test]
fn an_id_over_64_bytes_is_refused() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    alice.send(json!({"type": "heartbeat", "id": "x".repeat(64)}));
    alice.expect_ack("x".repeat(64));
    alice.send(json!({"type": "heartbeat", "id": "x".repeat(65)}));
    alice.expect_error("too_long");
    alice.send(json!({"type": "heartbeat", "id": {"a": 1}}));
    alice.expect_error("bad_request");
}

#[test]
fn a_message_is_delivered_with_all_its_fields() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    alice.join("room");
    let content = "tabs\t, \"quotes\", \u{1F980}, \u{0}, </script>";
    let command = json!({"type": "message", "data": {"room": "room", "content": content, "nonce": "n"}, "extra": [1]});
    let ack = alice.ask(command.clone());
    let events = alice.drain();
    // The ack tells what the message said; which of the two comes first is not promised.
    let again = alice.ask(json!({"type": "history", "room": "room"}));
    assert_eq!(again["room"], "room");
    let message = alice.expect("history")["messages"][0].clone();
    for field in ["id", "room", "sequence", "timestamp"] {
        assert_eq!(message[field], ack[field], "{field}");
    }
    assert_eq!(
        (&message["user"], &message["content"], &message["nonce"]),
        (&json!("alice"), &json!(content), &json!("n"))
    );
    assert_eq!(ack.get("duplicate"), None);
    assert!(events.iter().all(|event| event["type"] != "message" || event["data"] == message), "{events:?}");
    let mut fields: Vec<&str> = message.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["content", "id", "nonce", "room", "sequence", "timestamp", "user"]);
}

#[test]
fn announcements_are_neither_stored_nor_numbered() {
    let server = Server::start(NO_RATE);
    let mut alice = server.client("alice");
    alice.join("room");
    alice.say("room", "one");
    for n in 0..5 {
        let mut passer_by = server.client(&format!("passer{n}"));
        passer_by.join("room");
        passer_by.close();
    }
    assert_eq!(alice.say("room", "two")["sequence"], 2);
    alice.ask(json!({"type": "history", "room": "room"}));
    let history = alice.skip_to("history");
    assert_eq!(contents(history["messages"].as_array().expect("a list")), ["one", "two"]);
}

#[test]
fn content_is_bounded_and_not_empty() {
    let server = Server::start(NO_RATE);
    let mut alice = server.client("alice");
    alice.join("room");
    let say = |content: &str| json!({"type": "message", "room": "room", "content": content});
    alice.ask(say(&"é".repeat(2_048)));
    alice.refused(say(&format!("{}x", "é".repeat(2_048))), "too_long");
    alice.refused(say(""), "empty");
    alice.refused(json!({"type": "private", "to": "alice", "content": ""}), "empty");
    alice.refused(json!({"type": "message", "room": "room", "content": "x", "nonce": "n".repeat(65)}), "too_long");
    assert_eq!(alice.say("room", "x")["sequence"], 2, "what is refused takes no number");
}

#[test]
fn messages_faster_than_the_rate_are_refused_with_a_time_to_wait() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    alice.join("room");
    for n in 0..50 {
        alice.send(json!({"type": "message", "room": "room", "content": "x", "id": n}));
    }
    let answers: Vec<Value> = (0..50).map(|_| alice.skip_until(|event| event.get("id").is_some())).collect();
    let refused: Vec<&Value> = answers.iter().filter(|answer| answer["type"] == "error").collect();
    // Forty at once; a few more if the machine was slow to read them.
    assert!((1..=10).contains(&refused.len()), "{} were refused", refused.len());
    for answer in &refused {
        let wait_ms = answer["data"]["retryAfterMs"].as_u64().expect("a time to wait");
        assert!(answer["data"]["code"] == "rate_limited" && (1..=500).contains(&wait_ms), "{answer}");
    }
    let mut bob = server.client("bob");
    bob.join("room");
    bob.say("room", "others are not held back");
}

#[test]
fn who_never_slows_down_is_closed_with_1008() {
    let server = Server::start(&["--rate", "1"]);
    let mut alice = server.client("alice");
    alice.join("room");
    for _ in 0..300 {
        // It may be closed before all is sent.
        alice.try_send(&json!({"type": "message", "room": "room", "content": "x"}));
    }
    assert_eq!(alice.expect_close(), 1008);
}

#[test]
fn a_connection_is_in_64_rooms_at_most() {
    let server = Server::start(NO_RATE);
    let mut alice = server.client("alice");
    for n in 0..64 {
        alice.ask(json!({"type": "join", "room": format!("room {n}")}));
    }
    alice.refused(json!({"type": "join", "room": "one more"}), "too_many_rooms");
    alice.ask(json!({"type": "join", "room": "room 0"}));
    alice.ask(json!({"type": "leave", "room": "room 5"}));
    alice.ask(json!({"type": "join", "room": "one more"}));
}

#[test]
fn commands_in_rooms_one_is_not_in_are_refused() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    bob.join("room");
    for command in [
        json!({"type": "message", "room": "room", "content": "x"}),
        json!({"type": "typing", "room": "room", "isTyping": true}),
        json!({"type": "leave", "room": "room"}),
    ] {
        let error = alice.refused(command, "not_subscribed");
        assert!(error["message"].as_str().is_some_and(|text| text.starts_with("Not subscribed to room")), "{error}");
    }
    assert!(bob.drain().is_empty());
}

#[test]
fn typing_is_told_to_the_others_at_most_once_a_second_and_never_stored() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    alice.drain();
    bob.drain();
    let told = |bob: &mut Client| bob.skip_to("typing");
    let started = Instant::now();
    alice.ask(json!({"type": "typing", "data": {"room": "room", "isTyping": true}}));
    assert_eq!(told(&mut bob), json!({"room": "room", "user": "alice", "isTyping": true}), "at once");
    // What comes within the second waits for its end, and the last of it counts.
    alice.ask(json!({"type": "typing.start", "room": "room"}));
    alice.ask(json!({"type": "typing.start", "room": "room"}));
    alice.ask(json!({"type": "typing.stop", "room": "room"}));
    assert_eq!(told(&mut bob)["isTyping"], false);
    assert!(started.elapsed() >= Duration::from_millis(990), "told after {:?}", started.elapsed());
    alice.ask(json!({"type": "typing.stop", "room": "room"}));
    alice.ask(json!({"type": "typing.start", "room": "room"}));
    assert_eq!(told(&mut bob)["isTyping"], true, "what was said in between is not told");
    // The message itself ends it, and does not wait.
    alice.say("room", "what was typed");
    let events = [bob.next(), bob.next()];
    assert_eq!((kinds(&events), &events[0]["data"]["isTyping"]), (vec!["typing", "message"], &json!(false)));
    assert!(!kinds(&alice.drain()).contains(&"typing"), "not to the one who types");
    alice.ask(json!({"type": "history", "room": "room"}));
    assert_eq!(alice.expect("history")["head"], 1);
}

#[test]
fn private_messages_go_to_one_user_and_back_to_the_sender() {
    let server = Server::start(&[]);
    let (mut alice, mut bob, mut eve) = (server.client("alice"), server.client("bob"), server.client("eve"));
    for client in [&mut alice, &mut bob, &mut eve] {
        client.join("room");
    }
    for client in [&mut alice, &mut bob, &mut eve] {
        client.drain();
    }
    alice.ask(json!({"type": "private", "to": "BOB", "content": "psst", "nonce": "n"}));
    let (sent, got) = (alice.expect("private"), bob.expect("private"));
    assert_eq!(sent, got);
    assert_eq!((&got["from"], &got["to"], &got["content"]), (&json!("alice"), &json!("bob"), &json!("psst")));
    assert!(got["id"].is_string() && got["timestamp"].is_u64() && got["nonce"] == "n", "{got}");
    assert!(eve.drain().is_empty());
    alice.ask(json!({"type": "private", "to": "alice", "content": "note"}));
    assert_eq!(kinds(&alice.drain()), ["private"], "once, although sender and recipient are one");
    alice.refused(json!({"type": "private", "to": "nobody", "content": "x"}), "no_such_user");
}

#[test]
fn ping_is_answered_with_the_same_value() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    for value in ["1700000000000", "1e3", "\"text\"", "{\"a\":[1]}"] {
        alice.send_text(&format!(r#"{{"type":"ping","timestamp":{value}}}"#));
        assert_eq!(alice.expect("pong")["timestamp"], serde_json::from_str::<Value>(value).expect("JSON"));
    }
    alice.send(json!({"type": "ping", "data": {"timestamp": 7}}));
    assert_eq!(alice.expect("pong")["timestamp"], 7);
    alice.send(json!({"type": "ping"}));
    alice.expect("pong");
}

#[test]
fn heartbeats_come_at_their_interval() {
    let server = Server::start(&["--heartbeat", "50ms", "--offline-timeout", "10s"]);
    let mut alice = server.client("alice");
    let stamps: Vec<u64> = (0..4).map(|_| alice.expect("heartbeat")["timestamp"].as_u64().expect("a time")).collect();
    assert!(stamps.windows(2).all(|two| two[1] - two[0] >= 40), "{stamps:?}");
    alice.send(json!({"type": "heartbeat"}));
    assert!(alice.drain().iter().all(|event| event["type"] == "heartbeat"), "accepted without an answer");
}

#[test]
fn a_nonce_is_stored_once_across_connections_and_crashes() {
    let data = Data::fresh();
    let server = Server::on(&data, NO_RATE);
    let mut alice = server.client("alice");
    alice.join("room");
    let say = |nonce: &str| json!({"type": "message", "room": "room", "content": "once", "nonce": nonce});
    let first = alice.ask(say("n1"));
    let again = alice.ask(say("n1"));
    assert_eq!((&again["sequence"], &again["duplicate"]), (&first["sequence"], &json!(true)));
    assert_eq!((&again["id"], &again["timestamp"]), (&first["id"], &first["timestamp"]));
    let mut changed = say("n1");
    changed["content"] = json!("something else");
    alice.refused(changed.clone(), "nonce_conflict");
    let mut bob = server.client("bob");
    assert_eq!(bob.join("room").len(), 1, "a repeat is not broadcast");
    assert_eq!(bob.ask(say("n1"))["sequence"], 2, "another user's nonce is another nonce");
    alice.ask(json!({"type": "join", "room": "other"}));
    let elsewhere = json!({"type": "message", "room": "other", "content": "once", "nonce": "n1"});
    assert_eq!(alice.ask(elsewhere)["sequence"], 1, "another room's too");

    // Both at once: the second waits for the first one's sync, and gets its number.
    alice.send(json!({"type": "message", "room": "room", "content": "twin", "nonce": "t", "id": 1}));
    alice.send(json!({"type": "message", "room": "room", "content": "twin", "nonce": "t", "id": 2}));
    let twins: Vec<Value> =
        [1, 2].into_iter().map(|id| alice.skip_until(|event| event["id"] == id)["data"].clone()).collect();
    assert_eq!((&twins[0]["sequence"], &twins[1]["sequence"]), (&json!(3), &json!(3)));
    assert_eq!((twins[0].get("duplicate"), &twins[1]["duplicate"]), (None, &json!(true)));

    server.kill();
    let server = Server::on(&data, NO_RATE);
    let mut alice = server.client("alice");
    assert_eq!(sequences(&alice.join("room")), [1, 2, 3]);
    let after = alice.ask(say("n1"));
    assert_eq!((&after["sequence"], &after["duplicate"], &after["id"]), (&json!(1), &json!(true), &first["id"]));
    alice.refused(changed, "nonce_conflict");
    assert_eq!(alice.ask(say("n2"))["sequence"], 4);
}

#[test]
fn a_url_may_name_the_user_and_join_rooms() {
    let server = Server::start(&[]);
    let mut alice =
        Client::connect(server.address, "/ws?username=Ann%20Lee&room=a&room=%C3%BCber%20uns&client_id=7&x=y");
    assert_eq!(alice.user(), "Ann Lee");
    let events = alice.drain();
    let rooms: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "presence").map(|event| &event["data"]["room"]).collect();
    assert_eq!(rooms, ["a", "über uns"]);
    alice.say("über uns", "one");
    alice.say("über uns", "two");
    let mut bob = Client::connect(server.address, "/?user=bob&room=%C3%BCber%20uns&since=1");
    let history = bob.skip_to("history");
    assert_eq!(contents(history["messages"].as_array().expect("a list")), ["two"]);
    let mut eve = Client::connect(server.address, "/?user=eve&room=a&room=%C3%BCber%20uns&since=1");
    let history = eve.skip_to("history");
    assert_eq!(
        contents(history["messages"].as_array().expect("a list")),
        ["one", "two"],
        "since needs exactly one room"
    );
    let mut odd = Client::connect(server.address, "/?user=odd&room=");
    odd.expect_error("bad_room");
    odd.join("a");
}

#[test]
fn the_subprotocol_is_selected_when_offered() {
    let server = Server::start(&[]);
    for (offer, selected) in [
        ("", None),
        ("Sec-WebSocket-Protocol: chat, roomlog.v1\r\n", Some("roomlog.v1")),
        ("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: roomlog.v1\r\n", Some("roomlog.v1")),
        ("Sec-WebSocket-Protocol: chat\r\n", None),
    ] {
        let mut raw = Raw::connect(server.address);
        raw.send(format!("{}{offer}\r\n", upgrade_head("/")).as_bytes());
        let response = raw.response(true);
        assert_eq!((response.status, response.header("Sec-WebSocket-Protocol")), (101, selected), "{offer}");
    }
}

#[test]
fn commands_sent_along_with_the_upgrade_are_heard() {
    let server = Server::start(&[]);
    let mut raw = Raw::connect(server.address);
    let mut bytes = format!("{}\r\n", upgrade_head("/")).into_bytes();
    bytes.extend(common::raw::text(r#"{"type":"ping","timestamp":1}"#));
    raw.send(&bytes);
    assert_eq!(raw.response(true).status, 101);
    let texts: Vec<String> =
        (0..2).map(|_| String::from_utf8(raw.frame().expect("a frame").1).expect("text")).collect();
    assert!(texts[0].contains("connected") && texts[1].contains("pong"), "{texts:?}");
}

#[test]
fn what_is_said_on_the_way_out_is_stored() {
    let server = Server::start(NO_RATE);
    for (number, goodbye) in [(1, true), (2, false), (3, true), (4, false)] {
        let mut alice = server.client("alice");
        alice.ask(json!({"type": "join", "room": "room"}));
        alice.send(json!({"type": "message", "room": "room", "content": "last words"}));
        alice.send(json!({"type": "leave", "room": "room"}));
        if goodbye {
            alice.close();
        } else {
            alice.drain();
            alice.close();
        }
        let mut bob = server.client("bob");
        bob.send(json!({"type": "join", "room": "room", "since": number - 1}));
        assert_eq!(sequences(&bob.read_through(number)), [number]);
        bob.close();
    }
}
