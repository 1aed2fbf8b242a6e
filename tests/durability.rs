//! What a crash leaves: nothing acknowledged is lost, nothing is numbered twice, and clients are told the truth.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};

use common::client::{End, messages_of, sequences};
use common::{Client, Data, Server, command};
use serde_json::{Value, json};

/// Sequence to content: what somebody was shown or promised.
type Known = BTreeMap<u64, String>;

fn cycles() -> u32 {
    std::env::var("ROOMLOG_KILL_CYCLES").map_or(15, |text| text.parse().expect("ROOMLOG_KILL_CYCLES is a number"))
}

/// Sends without waiting, and reads whatever comes, for as long as the server lives; `stop` is called amid it, after so
/// many acks. Everything that was acknowledged or delivered goes into `known`.
fn talk_until(mut client: Client, cycle: u32, acks: u32, known: &mut Known, stop: impl FnOnce()) {
    let (mut sent, mut acked, mut stop) = (0, 0, Some(stop));
    let mut waiting = BTreeMap::new();
    loop {
        // A window of messages under way, so that the end comes between writes, syncs and acks.
        while sent < acked + 32 {
            let content = format!("cycle {cycle} message {sent}");
            let command = json!({"type": "message", "room": "room", "content": content, "nonce": content, "id": sent});
            waiting.insert(u64::from(sent), content);
            sent += 1;
            if !client.try_send(&command) {
                break;
            }
        }
        let event = match client.read() {
            Ok(event) => event,
            Err(End::Silent) => panic!("the server says nothing"),
            Err(End::Closed(_) | End::Broken(_)) => return,
        };
        if event["type"] == "ack" {
            let content = waiting.remove(&event["id"].as_u64().expect("as sent")).expect("one ack each");
            learn(known, &event["data"]["sequence"], &content);
            acked += 1;
            if acked >= acks
                && let Some(stop) = stop.take()
            {
                stop();
            }
        }
        for message in messages_of(&[event]) {
            learn(known, &message["sequence"], message["content"].as_str().expect("a text"));
        }
    }
}

fn learn(known: &mut Known, sequence: &Value, content: &str) {
    let before = known.insert(sequence.as_u64().expect("numbered"), content.to_owned());
    assert!(before.is_none_or(|before| before == content), "{sequence} was another message before");
}

/// Everything the room holds, checked for holes, and its epoch.
fn everything(client: &mut Client) -> (Known, String) {
    let ack = client.ask(json!({"type": "join", "room": "room", "since": 0}));
    let mut messages = Vec::new();
    loop {
        let event = client.next();
        messages.extend(messages_of(std::slice::from_ref(&event)));
        if event["type"] == "history" && event["data"]["more"] == false {
            break;
        }
    }
    let numbers = sequences(&messages);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<u64>>(), "no holes, no repeats");
    let contents = messages.iter().map(|message| message["content"].as_str().expect("a text").to_owned());
    let known: Known = numbers.iter().copied().zip(contents).collect();
    let distinct: std::collections::HashSet<&String> = known.values().collect();
    assert_eq!(distinct.len(), known.len(), "nothing is there twice");
    (known, ack["epoch"].as_str().expect("an epoch").to_owned())
}

fn assert_holds(log: &Known, known: &Known) {
    for (sequence, content) in known {
        assert_eq!(log.get(sequence), Some(content), "message {sequence} was acknowledged or shown");
    }
}

#[test]
fn kill_under_load_loses_nothing_that_was_acknowledged_or_shown() {
    let data = Data::fresh();
    let (mut known, mut epochs) = (Known::new(), Vec::new());
    for cycle in 0..cycles() {
        let mut server = Server::on(&data, &["--rate", "0"]);
        let mut client = server.client("writer");
        let (log, epoch) = everything(&mut client);
        assert_holds(&log, &known);
        epochs.push(epoch);
        // At another moment each time, from the very first write on.
        talk_until(client, cycle, cycle * 13 % 97, &mut known, || server.crash());
        server.wait();
    }
    let server = Server::on(&data, &["--rate", "0"]);
    let (log, epoch) = everything(&mut server.client("writer"));
    assert_holds(&log, &known);
    assert!(known.len() > 100, "{} messages are a weak test", known.len());
    epochs.push(epoch);
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "with always a crash ends no epoch");
}

#[test]
fn a_client_finds_out_by_its_nonces_what_a_crash_took() {
    let data = Data::fresh();
    let mut server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("writer");
    client.join("room");
    talk_until(client, 0, 20, &mut Known::new(), || server.crash());
    server.wait();
    let server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("writer");
    let (log, _) = everything(&mut client);
    for n in 0..log.len() as u64 + 5 {
        let content = format!("cycle 0 message {n}");
        let ack = client.ask(json!({"type": "message", "room": "room", "content": content, "nonce": content}));
        let known = log.iter().find(|(_, stored)| **stored == content).map(|(sequence, _)| *sequence);
        assert_eq!(ack.get("duplicate").is_some(), known.is_some(), "{content}");
        assert_eq!(ack["sequence"], known.unwrap_or(n + 1), "{content}");
    }
}

#[test]
fn a_crash_without_always_begins_an_epoch_and_old_positions_are_told_the_truth() {
    let data = Data::fresh();
    let mut known = Known::new();
    let mut server = Server::on(&data, &["--rate", "0", "--fsync", "50ms"]);
    let mut client = server.client("writer");
    let (_, old) = everything(&mut client);
    talk_until(client, 0, 200, &mut known, || server.crash());
    server.wait();

    let server = Server::on(&data, &["--rate", "0", "--fsync", "50ms"]);
    let mut client = server.client("writer");
    let (log, new) = everything(&mut client);
    // The process was killed and not the machine: what was written is there.
    assert_holds(&log, &known);
    assert_ne!(old, new);
    let head = log.len() as u64;
    client.say("room", "in the new epoch");
    client.drain();
    for (since, epoch, reset, first) in [
        (head - 5, &old, json!(null), head - 4),
        (head, &old, json!(null), head + 1),
        (head + 1, &old, json!("epoch_changed"), head + 1),
        (head + 100, &old, json!("epoch_changed"), head + 1),
        (head, &new, json!(null), head + 1),
        (head + 1, &new, json!(null), head + 2),
    ] {
        client.ask(json!({"type": "join", "room": "room", "since": since, "epoch": epoch}));
        let history = client.skip_to("history");
        assert_eq!(history["reset"], reset, "since {since} of {epoch}");
        let numbers = sequences(history["messages"].as_array().expect("a list"));
        assert_eq!(numbers, (first..=head + 1).collect::<Vec<u64>>(), "since {since} of {epoch}");
        assert_eq!(history["epoch"], *new);
    }
    drop(client);
    server.stop();
    let server = Server::on(&data, &["--fsync", "50ms"]);
    assert_eq!(everything(&mut server.client("writer")).1, new, "a clean end keeps it");
}

#[test]
fn a_torn_tail_is_cut_off_and_said_so() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("writer");
    client.join("room");
    for n in 1..=20 {
        client.say("room", &format!("message {n}"));
    }
    server.kill();
    let segment = data.segments("room").pop().expect("a log");
    let bytes = fs::metadata(&segment).expect("a file").len();
    // Amid the last message.
    OpenOptions::new().write(true).open(&segment).and_then(|file| file.set_len(bytes - 10)).expect("a writable log");

    let server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("writer");
    let (log, _) = everything(&mut client);
    assert_eq!(log.len(), 19);
    assert_eq!(client.say("room", "in its place")["sequence"], 20);
    drop(client);
    let output = server.stop();
    assert!(output.lines().any(|line| line.contains("WARN") && line.contains("room")), "{output}");
}

#[test]
fn damage_amid_a_log_is_told_and_nothing_behind_it_is_lost() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("writer");
    client.join("room");
    for n in 1..=20 {
        client.say("room", &format!("message number {n}."));
    }
    server.kill();
    let segment = data.segments("room").pop().expect("a log");
    let mut bytes = fs::read(&segment).expect("a readable log");
    let at = bytes.windows(18).position(|window| window == b"message number 10.").expect("it is there");
    bytes[at] ^= 1;
    fs::write(&segment, bytes).expect("a writable log");

    let server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("writer");
    client.ask(json!({"type": "join", "room": "room", "since": 0}));
    let events = client.drain();
    let numbers = sequences(&messages_of(&events));
    assert_eq!(numbers, (1..=20).filter(|n| *n != 10).collect::<Vec<u64>>());
    let gaps: Vec<&Value> = events.iter().map(|event| &event["data"]["gap"]).filter(|gap| !gap.is_null()).collect();
    assert_eq!(gaps, [&json!({"from": 10, "to": 10})]);
}

#[test]
fn sigterm_under_load_keeps_everything_that_was_acknowledged() {
    for fsync in ["always", "50ms", "never"] {
        let data = Data::fresh();
        let mut known = Known::new();
        let mut server = Server::on(&data, &["--rate", "0", "--fsync", fsync]);
        let mut client = server.client("writer");
        let (_, before) = everything(&mut client);
        talk_until(client, 0, 300, &mut known, || server.terminate());
        let (status, output) = server.wait();
        assert_eq!(status.code(), Some(0), "{output}");
        let server = Server::on(&data, &["--rate", "0", "--fsync", fsync]);
        let (log, after) = everything(&mut server.client("writer"));
        assert_holds(&log, &known);
        assert_eq!(before, after, "--fsync {fsync}: the end was clean");
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused_in_one_line() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let output = command(&data, &[]).output().expect("the binary starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.lines().count(), output.stdout.len()), (Some(1), 1, 0), "{said}");
    assert!(said.starts_with("roomlog: ") && said.contains(&data.path().display().to_string()), "{said}");
    server.client("alice").join("room");
    server.kill();
    Server::on(&data, &[]).stop();
}

#[test]
fn a_data_folder_that_cannot_be_used_is_one_line_and_exit_1() {
    let data = Data::fresh();
    fs::write(data.path(), "a file where a folder should be").expect("a writable folder");
    let output = command(&data, &[]).output().expect("the binary starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.lines().count(), output.stdout.len()), (Some(1), 1, 0), "{said}");
    assert!(said.contains(&data.path().display().to_string()), "{said}");
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let server = Server::start(&[]);
    let data = Data::fresh();
    let port = server.address.port().to_string();
    let output = command(&data, &["--port", &port]).output().expect("the binary starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains(&port), "{said}");
}

#[test]
fn a_room_whose_log_cannot_be_opened_is_refused_and_the_others_go_on() {
    let data = Data::fresh();
    fs::create_dir_all(data.path().join("rooms")).expect("a writable folder");
    fs::write(data.room("broken"), "a file where a folder should be").expect("a writable folder");
    let server = Server::on(&data, &["--rate", "0"]);
    let mut client = server.client("client");
    client.join("fine");
    for _ in 0..2 {
        client.refused(json!({"type": "join", "room": "broken"}), "storage_unavailable");
        client.drain();
        client.send(json!({"type": "message", "room": "broken", "content": "x", "id": 1}));
        let answer = client.skip_until(|event| event["id"] == 1);
        assert_eq!(answer["type"], "error", "{answer}");
        client.say("fine", "x");
    }
    client.ask(json!({"type": "leave", "room": "broken"}));
    client.drain();
    drop(client);
    server.stop();
}
