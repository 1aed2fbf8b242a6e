//! Cursors and history: where a subscription starts, in what portions it catches up, and reading the log by command.

mod common;

use common::client::{kinds, messages_of, sequences};
use common::{Client, Data, Server};
use serde_json::{Value, json};

const NO_RATE: &[&str] = &["--rate", "0"];

/// A room with this many messages, each of so many bytes.
fn filled(server: &Server, room: &str, count: u64, bytes: usize) -> Client {
    let mut writer = server.client("writer");
    writer.ask(json!({"type": "join", "room": room}));
    for n in 1..=count {
        let content = format!("{n:0>bytes$}");
        writer.send(json!({"type": "message", "data": {"room": room, "content": content}}));
    }
    writer.read_through(count);
    writer
}

/// Joins and reads all history frames up to the one that has caught up; they must follow ack, presence, announcement.
fn replay(client: &mut Client, join: Value) -> Vec<Value> {
    client.ask(join);
    client.expect("presence");
    let mut frames = Vec::new();
    loop {
        let event = client.next();
        if event["type"] == "message" && event["data"]["ephemeral"] == true && frames.is_empty() {
            continue;
        }
        assert_eq!(event["type"], "history", "nothing comes between the portions of a replay: {event}");
        let is_last = event["data"]["more"] == false;
        frames.push(event);
        if is_last {
            return frames;
        }
    }
}

fn range(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

#[test]
fn a_plain_join_gets_the_last_fifty_in_one_frame() {
    let server = Server::start(NO_RATE);
    filled(&server, "room", 120, 1);
    let mut reader = server.client("reader");
    let frames = replay(&mut reader, json!({"type": "join", "room": "room"}));
    assert_eq!((frames.len(), sequences(&messages_of(&frames))), (1, range(71, 120)));
}

#[test]
fn since_replays_everything_in_bounded_portions() {
    let server = Server::start(NO_RATE);
    filled(&server, "room", 2_500, 1);
    let mut reader = server.client("reader");
    let frames = replay(&mut reader, json!({"type": "join", "room": "room", "since": 0}));
    assert_eq!(sequences(&messages_of(&frames)), range(1, 2_500));
    assert!(frames.len() >= 3, "at most a thousand per frame");
    for frame in &frames {
        let messages = frame["data"]["messages"].as_array().expect("a list");
        let bytes: usize = messages.iter().map(|message| message.to_string().len()).sum();
        assert!(messages.len() <= 1_000 && bytes <= 64 * 1024, "{} messages, {bytes} bytes", messages.len());
        assert_eq!((&frame["data"]["head"], &frame["data"]["floor"]), (&json!(2_500), &json!(1)));
    }
    let frames = replay(&mut reader, json!({"type": "join", "room": "room", "since": 2_499}));
    assert_eq!(sequences(&messages_of(&frames)), [2_500], "joining again moves the cursor");
}

#[test]
fn live_messages_follow_a_replay_without_gap_or_repeat() {
    let server = Server::start(NO_RATE);
    let mut writer = filled(&server, "room", 500, 1_000);
    let mut reader = server.client("reader");
    reader.send(json!({"type": "join", "room": "room", "since": 0}));
    for n in 501..=1_000 {
        writer.send(json!({"type": "message", "room": "room", "content": n.to_string()}));
    }
    let mut events = Vec::new();
    while sequences(&messages_of(&events)).last() != Some(&1_000) {
        events.push(reader.next());
    }
    assert_eq!(sequences(&messages_of(&events)), range(1, 1_000));
    let shapes = kinds(&events);
    let last_frame = shapes.iter().rposition(|kind| *kind == "history").expect("a replay");
    let live = shapes[last_frame..].iter().filter(|kind| **kind == "history").count();
    assert_eq!(live, 1, "once caught up there are messages only");
    assert_eq!(events[last_frame]["data"]["more"], false);
}

#[test]
fn since_with_nothing_to_tell_still_sends_one_frame() {
    let server = Server::start(NO_RATE);
    filled(&server, "room", 3, 1);
    let mut reader = server.client("reader");
    let epoch = reader.ask(json!({"type": "join", "room": "room"}))["epoch"].clone();
    reader.drain();
    for epoch in [json!(null), epoch] {
        let frames = replay(&mut reader, json!({"type": "join", "room": "room", "since": 3, "epoch": epoch}));
        assert_eq!((frames.len(), &frames[0]["data"]["messages"]), (1, &json!([])));
        assert_eq!(frames[0]["data"].get("reset"), None);
    }
}

#[test]
fn a_position_that_cannot_be_honoured_says_why() {
    let server = Server::start(NO_RATE);
    filled(&server, "room", 3, 1);
    let mut reader = server.client("reader");
    let epoch = reader.ask(json!({"type": "join", "room": "room"}))["epoch"].clone();
    reader.drain();
    for (since, epoch, reset, first) in [
        (json!(4), json!(null), json!("ahead"), 1),
        (json!(4), epoch.clone(), json!("ahead"), 1),
        (json!(u64::MAX), epoch.clone(), json!("ahead"), 1),
        (json!(2), json!("feedfeedfeedfeed"), json!("epoch_changed"), 1),
        (json!(2), json!("not an epoch at all"), json!("epoch_changed"), 1),
        (json!(2), epoch, json!(null), 3),
    ] {
        let frames = replay(&mut reader, json!({"type": "join", "room": "room", "since": since, "epoch": epoch}));
        assert_eq!(frames[0]["data"]["reset"], reset, "since {since}, epoch {epoch}");
        assert_eq!(sequences(&messages_of(&frames)), range(first, 3), "since {since}, epoch {epoch}");
    }
    for since in [json!(-1), json!(1.5), json!("1"), json!(1e30)] {
        reader.refused(json!({"type": "join", "room": "room", "since": since}), "bad_request");
    }
}

#[test]
fn history_reads_any_part_of_the_log_in_ascending_order() {
    let server = Server::start(NO_RATE);
    let mut reader = filled(&server, "room", 1_200, 1);
    reader.drain();
    let mut history = |bounds: Value| {
        let mut command = bounds;
        command["type"] = json!("history");
        command["room"] = json!("room");
        reader.ask(command);
        let data = reader.expect("history");
        assert_eq!((&data["room"], &data["head"], &data["floor"]), (&json!("room"), &json!(1_200), &json!(1)));
        (sequences(data["messages"].as_array().expect("a list")), data["more"].as_bool().expect("a bool"))
    };
    assert_eq!(history(json!({})), (range(1, 100), true), "from the start, a hundred");
    assert_eq!(history(json!({"since": 1_150})), (range(1_151, 1_200), false));
    assert_eq!(history(json!({"since": 1_100})), (range(1_101, 1_200), false));
    assert_eq!(history(json!({"since": 5, "limit": 3})), (range(6, 8), true));
    assert_eq!(history(json!({"since": 0, "limit": 1_000})), (range(1, 1_000), true));
    assert_eq!(history(json!({"since": 0, "limit": 5_000})), (range(1, 1_000), true), "at most a thousand");
    assert_eq!(history(json!({"before": 1_201})), (range(1_101, 1_200), true));
    assert_eq!(history(json!({"before": 50, "limit": 3})), (range(47, 49), true));
    assert_eq!(history(json!({"before": 50})), (range(1, 49), false));
    assert_eq!(history(json!({"before": 50, "since": 40})), (range(41, 49), false));
    assert_eq!(history(json!({"before": u64::MAX, "limit": 2})), (range(1_199, 1_200), true));
    for empty in [json!({"since": 1_200}), json!({"since": u64::MAX}), json!({"before": 1}), json!({"before": 0})] {
        assert_eq!(history(empty), (vec![], false));
    }
}

#[test]
fn history_of_large_messages_comes_in_several_portions() {
    let server = Server::start(NO_RATE);
    let mut reader = filled(&server, "room", 200, 4_000);
    reader.drain();
    let (mut read, mut since) = (Vec::new(), 0);
    loop {
        reader.ask(json!({"type": "history", "room": "room", "since": since, "limit": 1_000}));
        let data = reader.expect("history");
        read.extend(sequences(data["messages"].as_array().expect("a list")));
        since = *read.last().expect("each portion has something");
        if data["more"] == false {
            break;
        }
    }
    assert_eq!(read, range(1, 200));
    let (mut read, mut before) = (Vec::new(), u64::MAX);
    loop {
        reader.ask(json!({"type": "history", "room": "room", "before": before, "limit": 1_000}));
        let data = reader.expect("history");
        let portion = sequences(data["messages"].as_array().expect("a list"));
        before = portion[0];
        read.splice(0..0, portion);
        if data["more"] == false {
            break;
        }
    }
    assert_eq!(read, range(1, 200), "backwards too");
}

#[test]
fn asking_about_a_room_does_not_create_it() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    for room in ["nothing", "was", "said"] {
        alice.ask(json!({"type": "history", "room": room}));
        assert_eq!(alice.expect("history")["messages"], json!([]));
        alice.ask(json!({"type": "presence", "room": room}));
        alice.join(room);
    }
    let folders = std::fs::read_dir(server.data().path().join("rooms")).expect("a folder").count();
    assert_eq!(folders, 0, "rooms in which nothing was said are not on the disk");
}

#[test]
fn the_epoch_outlives_clean_restarts_and_crashes_with_always() {
    let data = Data::fresh();
    let mut epochs = Vec::new();
    for (end, last) in [("stop", 1), ("kill", 2), ("kill", 3), ("stop", 4)] {
        let server = Server::on(&data, &[]);
        let mut alice = server.client("alice");
        epochs.push(alice.ask(json!({"type": "join", "room": "room"}))["epoch"].clone());
        assert_eq!(alice.say("room", "x")["sequence"], last);
        drop(alice);
        if end == "stop" {
            server.stop()
        } else {
            server.kill()
        };
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

#[test]
fn a_room_left_by_all_keeps_its_log() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    alice.join("room");
    alice.say("room", "one");
    let epoch = alice.ask(json!({"type": "join", "room": "room"}))["epoch"].clone();
    alice.ask(json!({"type": "leave", "room": "room"}));
    assert_eq!(alice.ask(json!({"type": "join", "room": "room"}))["epoch"], epoch);
    assert_eq!(alice.say("room", "two")["sequence"], 2);
    alice.ask(json!({"type": "leave", "room": "room"}));
    // A room that was never written to is another after it was empty: nobody can have a position in it.
    alice.join("silent");
    alice.ask(json!({"type": "leave", "room": "silent"}));
    alice.ask(json!({"type": "join", "room": "silent"}));
    assert_eq!(alice.say("silent", "first")["sequence"], 1);
}
