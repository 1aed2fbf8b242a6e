//! `roomlog log` on real folders: beside a running server, on copies, on damaged files.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::client::sequences;
use common::raw::Raw;
use common::{Data, Server, operator_command, outcome};
use roomlog::clock::Now;
use roomlog::feed::{Amendment, Draft, Feed, RoomId};
use roomlog::log::inspect::Inspector;
use roomlog::log::{Options, RealDisk, Retention, Store, SyncPolicy};
use serde_json::{Value, json};

fn log_command(data: &Path, args: &[&str]) -> Command {
    operator_command("log", data, args)
}

fn run(data: &Path, args: &[&str]) -> (i32, String, String) {
    outcome(&log_command(data, args).output().expect("the binary starts"))
}

fn import(data: &Path, room: &str, lines: &str) -> (i32, String, String) {
    let mut child = log_command(data, &["import", room]).stdin(Stdio::piped()).spawn().expect("the binary starts");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    outcome(&child.wait_with_output().expect("it ends"))
}

/// A server that has stored `count` messages in a room.
fn talked(data: &Data, room: &str, count: usize) -> Server {
    let server = Server::on(data, &["--rate", "0"]);
    let mut client = server.client("alice");
    client.join(room);
    for n in 0..count {
        client
            .ask(json!({"type": "message", "room": room, "content": format!("message {n}"), "nonce": format!("n{n}")}));
    }
    server
}

/// Every file under a folder with its bytes and its time of change.
fn fingerprint(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.path().is_dir() {
            all.extend(fingerprint(&entry.path()));
        } else {
            let changed = entry.metadata().and_then(|metadata| metadata.modified()).expect("a file");
            all.push((entry.path(), fs::read(entry.path()).expect("readable"), changed));
        }
    }
    all.sort();
    all
}

/// Flips a bit of the first place where `text` stands in a room's first segment; returns its offset.
fn damage(data: &Data, room: &str, text: &str) -> usize {
    let path = &data.segments(room)[0];
    let mut bytes = fs::read(path).expect("a segment");
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("the text is there");
    bytes[at] ^= 1;
    // In place: another file would be a restored copy.
    let file = fs::OpenOptions::new().write(true).open(path).expect("a segment");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).expect("the disk has space");
    at
}

/// The messages of a history frame.
fn list(history: &Value) -> Vec<Value> {
    history["messages"].as_array().expect("a list").clone()
}

fn health(server: &Server) -> (u16, Value) {
    let mut raw = Raw::connect(server.address);
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = raw.response(false);
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

#[test]
fn reading_actions_work_beside_a_server_and_on_a_copy_and_change_nothing() {
    let data = Data::fresh();
    let server = talked(&data, "general", 3);
    let copy = data.around().join("copy");
    assert!(Command::new("cp").arg("-a").arg(data.path()).arg(&copy).status().expect("cp").success());
    for dir in [&data.path(), &copy] {
        let before = fingerprint(dir);
        let (code, listed, _) = run(dir, &["list", "--json"]);
        let room: Value = serde_json::from_str(&listed).expect("one line of JSON");
        assert_eq!(
            (code, &room["room"], &room["messages"], &room["floor"], &room["head"]),
            (0, &json!("general"), &json!(3), &json!(1), &json!(3))
        );
        let (code, text, _) = run(dir, &["list"]);
        assert!(code == 0 && text.lines().count() == 2 && text.ends_with("general\n"), "{text}");
        let (code, text, _) = run(dir, &["stat", "general"]);
        assert!(
            code == 0 && text.contains("messages  3\n") && text.contains(room["epoch"].as_str().unwrap()),
            "{text}"
        );
        assert_eq!(run(dir, &["verify"]), (0, "general: 3 messages, no damage\n".into(), String::new()));
        let (code, lines, _) = run(dir, &["export", "general", "--since", "1", "--until", "2"]);
        let line: Value = serde_json::from_str(&lines).expect("one line");
        assert_eq!(
            (code, &line["sequence"], &line["content"], &line["nonce"]),
            (0, &json!(2), &json!("message 1"), &json!("n1"))
        );
        assert_eq!(fingerprint(dir), before, "nothing was written");
    }
    server.stop();
}

#[test]
fn exported_lines_are_the_messages_that_clients_get() {
    let data = Data::fresh();
    let server = talked(&data, "a/b ü", 5);
    let mut client = server.client("bob");
    client.send(json!({"type": "join", "room": "a/b ü", "since": 0}));
    let history = client.skip_to("history");
    let (code, text, _) = run(&data.path(), &["export", "a/b ü"]);
    let exported: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((code, exported), (0, list(&history)));
    server.stop();
}

#[test]
fn export_into_a_closed_pipe_ends_quietly() {
    let data = Data::fresh();
    talked(&data, "general", 3).stop();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = log_command(&data.path(), &["export", "general"]).stdout(writer).output().expect("the binary starts");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn import_appends_with_new_numbers_and_a_server_shows_it() {
    let data = Data::fresh();
    talked(&data, "general", 2).stop();
    let (_, exported, _) = run(&data.path(), &["export", "general"]);
    let other = Data::fresh();
    let more = concat!(
        r#"{"user":"carol","content":"old","timestamp":5}"#,
        "\n\n",
        r#"{"user":"dave","content":"no time"}"#,
        "\n",
        r#"{"user":"dave","content":"with nonce","nonce":"n0"}"#
    );
    let (code, said, errors) = import(&other.path(), "copied", &(exported.clone() + more));
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(said.starts_with("copied: imported 5 messages as 1 to 5\n") && said.contains("1 timestamps"), "{said}");
    // The same once more: nonces are stored once.
    let (code, said, _) = import(&other.path(), "copied", &exported);
    assert!(code == 0 && said.contains("imported 0 messages") && said.contains("skipped 2"), "{said}");
    let server = Server::on(&other, &[]);
    let mut client = server.client("alice");
    client.send(json!({"type": "join", "room": "copied", "since": 0}));
    let messages = list(&client.skip_to("history"));
    assert_eq!(sequences(&messages), [1, 2, 3, 4, 5]);
    let times: Vec<u64> = messages.iter().map(|message| message["timestamp"].as_u64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 5, "{times:?}");
    let ack = client.ask(json!({"type": "message", "room": "copied", "content": "message 1", "nonce": "n1"}));
    assert_eq!((&ack["sequence"], &ack["duplicate"]), (&json!(2), &json!(true)), "nonces come along");
    server.stop();
}

#[test]
fn import_says_which_line_is_wrong_and_keeps_those_before_it() {
    let data = Data::fresh();
    let good = r#"{"user":"a","content":"x"}"#;
    for (bad, why) in [
        ("{", "EOF while parsing"),
        (r#"{"user":"a"}"#, "missing field `content`"),
        (r#"{"user":"system","content":"x"}"#, "the user cannot be system"),
        (r#"{"user":"a","content":""}"#, "a content has 1 to"),
    ] {
        let (code, said, error) = import(&data.path(), "general", &format!("{good}\n{bad}\n{good}\n"));
        assert!(code == 1 && said.is_empty() && error.starts_with("roomlog: line 2: "), "{error}");
        assert!(error.contains(why) && error.ends_with("1 messages of the lines before it were imported\n"), "{error}");
    }
    assert_eq!(run(&data.path(), &["verify"]), (0, "general: 4 messages, no damage\n".into(), String::new()));
}

#[test]
fn writing_actions_refuse_a_folder_in_use_and_unknown_rooms_are_told() {
    let data = Data::fresh();
    let server = talked(&data, "general", 4);
    damage(&data, "general", "message 1");
    let in_use = format!("roomlog: {} is in use by another process\n", data.path().display());
    assert_eq!(import(&data.path(), "general", ""), (1, String::new(), in_use.clone()));
    let (code, _, error) = run(&data.path(), &["repair", "general", "--yes"]);
    assert_eq!((code, error), (1, in_use));
    server.stop();
    let (code, said, error) = run(&data.path(), &["stat", "nowhere"]);
    assert_eq!(
        (code, said, error),
        (1, String::new(), format!("roomlog: no room \"nowhere\" in {}\n", data.path().display()))
    );
    let (code, _, error) = run(&data.around().join("none"), &["list"]);
    assert!(code == 1 && error.lines().count() == 1 && error.contains("No such file"), "{error}");
}

#[test]
fn damage_is_located_shown_as_a_gap_and_repaired_into_a_new_epoch() {
    let data = Data::fresh();
    talked(&data, "general", 6).stop();
    let at = damage(&data, "general", "message 2");
    let (code, said, error) = run(&data.path(), &["verify"]);
    assert_eq!((code, error.as_str()), (1, "roomlog: 1 of 1 room damaged\n"));
    let place = format!("general: {}: byte ", data.segments("general")[0].display());
    let offset = said.lines().find_map(|line| line.strip_prefix(&place)?.split(':').next()?.parse::<usize>().ok());
    assert!(offset.is_some_and(|offset| offset < at && at < offset + 250), "{said}");
    assert!(said.contains("general: message 3 is lost\n"), "{said}");
    let (code, lines, error) = run(&data.path(), &["export", "general"]);
    assert_eq!(
        (code, lines.lines().count(), error.as_str()),
        (1, 5, "roomlog: 1 messages are lost to damage; all others were exported\n")
    );

    // The server goes on, tells readers and says so.
    let server = Server::on(&data, &[]);
    assert_eq!(
        health(&server),
        (200, json!({"status": "ok", "roomsReadOnly": 0, "roomsDamaged": 0})),
        "nobody has looked"
    );
    let mut client = server.client("bob");
    client.send(json!({"type": "join", "room": "general", "since": 0, "id": 1}));
    let epoch = client.skip_to("ack")["epoch"].clone();
    let history = client.skip_to("history");
    assert_eq!(history["gap"], json!({"from": 3, "to": 3}));
    assert_eq!(sequences(&list(&history)), [1, 2, 4, 5, 6]);
    let ack = client.ask(json!({"type": "message", "room": "general", "content": "goes on"}));
    assert_eq!(ack["sequence"], 7);
    let degraded = (200, json!({"status": "degraded", "roomsReadOnly": 0, "roomsDamaged": 1}));
    assert_eq!(health(&server), degraded);
    client.ask(json!({"type": "leave", "room": "general"}));
    client.send(json!({"type": "join", "room": "general", "since": 0}));
    client.skip_to("history");
    assert_eq!(health(&server), degraded, "a room is counted once, however often it is opened");
    let told = server.stop();
    assert_eq!(told.matches("message 3 is lost").count(), 1, "{told}");

    // Repair: first in words, then in deed.
    let before = fingerprint(&data.path());
    let (code, said, _) = run(&data.path(), &["repair", "general"]);
    assert!(code == 0 && said.contains("message 3 is lost\n") && said.contains("--yes"), "{said}");
    assert_eq!(fingerprint(&data.path()), before, "words only");
    let (code, said, error) = run(&data.path(), &["repair", "general", "--yes"]);
    assert!(code == 0 && said.contains("repaired; the epoch is ") && said.contains(".damaged-1"), "{said}{error}");
    let (code, said, _) = run(&data.path(), &["verify"]);
    assert!(code == 0 && said.contains("general: 6 messages, no damage\n"), "{said}");
    assert!(said.contains("message 3 is lost; a repair has written that down\n"), "{said}");
    let (code, said, _) = run(&data.path(), &["repair", "general", "--yes"]);
    assert!(code == 0 && said.ends_with("nothing to repair\n"), "{said}");

    // The loss stays a gap, and is no news any more; old positions are good up to the repair.
    let server = Server::on(&data, &[]);
    let mut client = server.client("bob");
    client.send(json!({"type": "join", "room": "general", "since": 1, "epoch": epoch}));
    let history = client.skip_to("history");
    assert_eq!((&history["gap"], history.get("reset")), (&json!({"from": 3, "to": 3}), None));
    assert_ne!(history["epoch"], epoch);
    assert_eq!(sequences(&list(&history)), [2, 4, 5, 6, 7]);
    let ack = client.ask(json!({"type": "message", "room": "general", "content": "after"}));
    assert_eq!(ack["sequence"], 8);
    assert_eq!(health(&server).1["status"], "ok");
    server.stop();
}

#[test]
fn torn_end_is_told_apart_from_damage() {
    let data = Data::fresh();
    talked(&data, "general", 2).kill();
    let path = &data.segments("general")[0];
    let bytes = fs::read(path).expect("a segment");
    fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(bytes.len() as u64 - 5)).expect("cut");
    let (code, said, _) = run(&data.path(), &["verify", "general"]);
    assert!(code == 1 && said.contains("a torn end of "), "{said}");
    let (code, said, _) = run(&data.path(), &["repair", "general"]);
    assert!(code == 0 && said.ends_with("nothing to repair\n"), "{said}");
}

/// A room in which message 2 was edited twice, 3 was edited and deleted, 4 deleted and 5 left alone.
fn changed(data: &Data) {
    let options = Options {
        dir: data.path().to_owned(),
        policy: SyncPolicy::Always,
        segment_bytes: 600,
        files_open_max: 8,
        retention: Retention::default(),
        run_id: 77,
        opened: Now::at(1, 1_790_000_000_000),
    };
    let (room, now) = (RoomId(0), options.opened);
    let mut feed = Feed::new(Store::open(RealDisk, options).expect("a folder of our own"), 0);
    feed.open(room, "general".into(), 5, now);
    let commit = |feed: &mut Feed<RealDisk, ()>| {
        feed.write(now, &mut Vec::new());
        while let Some(batch) = feed.next_sync(now) {
            feed.synced(batch.run(), now, &mut Vec::new());
            feed.write(now, &mut Vec::new());
        }
    };
    for number in 1..=5 {
        let (content, nonce) = (format!("message {number}"), format!("n{number}"));
        let draft = Draft { user: "alice", content: &content, nonce: Some(&nonce) };
        feed.append(room, &draft, now, (), &mut Vec::new());
        commit(&mut feed);
    }
    for (target, content) in [(2, Some("second")), (2, Some("third")), (3, Some("hidden")), (3, None), (4, None)] {
        let amendment = Amendment { user: "alice", target, content, nonce: None, author: None };
        feed.amend(room, &amendment, now, (), &mut Vec::new());
        commit(&mut feed);
    }
    feed.shutdown(now).expect("all is durable");
}

#[test]
fn export_tells_the_present_text_and_import_takes_messages_only() {
    let data = Data::fresh();
    changed(&data);
    assert!(data.segments("general").len() > 2);
    assert_eq!(run(&data.path(), &["verify"]), (0, "general: 10 messages, no damage\n".into(), String::new()));
    let (code, lines, _) = run(&data.path(), &["export", "general"]);
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let contents: Vec<&str> = objects.iter().map(|object| object["content"].as_str().expect("a text")).collect();
    assert_eq!(
        (code, &contents[..]),
        (0, &["message 1", "third", "", "", "message 5", "second", "third", "", "", ""][..])
    );
    assert_eq!((&objects[1]["edited"]["sequence"], &objects[1]["nonce"]), (&json!(7), &json!("n2")));
    assert_eq!((&objects[2]["deleted"], &objects[7]["deleted"]), (&json!({"sequence": 9}), &json!({"sequence": 9})));
    assert_eq!(
        (&objects[6]["kind"], &objects[6]["target"], &objects[6]["previous"]),
        (&json!("edit"), &json!(2), &json!(6))
    );
    assert_eq!((&objects[9]["kind"], &objects[9]["target"]), (&json!("delete"), &json!(4)));

    let other = Data::fresh();
    fs::create_dir_all(other.path()).expect("a folder");
    let (code, told, _) = import(&other.path(), "general", &lines);
    assert_eq!(code, 0);
    assert!(told.contains("imported 3 messages as 1 to 3") && told.contains("left out 7 lines"), "{told}");
    let (_, lines, _) = run(&other.path(), &["export", "general"]);
    let contents: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["content"].clone()).collect();
    assert_eq!(contents, ["message 1", "third", "message 5"]);
}

#[test]
fn rooms_can_be_paged_through_and_looked_at_beside_a_server() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let mut client = server.client("alice");
    let long = "\u{1f980}".repeat(64);
    let rooms = ["a", "a/b", "b", "\u{e9}", &long];
    for room in rooms {
        client.join(room);
        client.ask(json!({"type": "message", "room": room, "content": "hello"}));
    }
    fs::create_dir(data.path().join("rooms/empty")).expect("a folder");
    let inspector = Inspector::open(&data.path()).expect("a data folder");
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = inspector.names_after(found.last().map(String::as_str), 2).expect("it can be listed");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        found.extend(page);
    }
    assert_eq!(found, rooms);
    for room in rooms {
        let stand = inspector.room(room).expect("listed").expect("it is there").stand().expect("readable");
        let last: Value = serde_json::from_slice(&stand.last).expect("JSON");
        assert_eq!((stand.floor, stand.head, &last["data"]["content"]), (1, 1, &json!("hello")));
        assert!(stand.epoch.is_some());
    }
    server.stop();
    changed(&data);
    let stand = inspector.room("general").expect("listed").expect("it is there").stand().expect("readable");
    assert_eq!((stand.floor, stand.head), (1, 10));
}
