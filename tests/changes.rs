//! Edits and deletions: who may, what everybody is shown from then on, and what is left of a message that is deleted.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::client::{contents, messages_of, sequences};
use common::rest::messages;
use common::{Client, Data, Rest, Server};
use serde_json::{Value, json};

const NO_RATE: &[&str] = &["--rate", "0"];

fn edit(room: &str, sequence: u64, content: &str) -> Value {
    json!({"type": "edit", "room": room, "sequence": sequence, "content": content})
}

fn delete(room: &str, sequence: u64) -> Value {
    json!({"type": "delete", "room": room, "sequence": sequence})
}

/// What somebody is shown who joins the room from its start.
fn joined(server: &Server, room: &str) -> Vec<Value> {
    let mut late = Client::connect(server.address, "/");
    late.ask(json!({"type": "join", "room": room, "since": 0}));
    messages_of(&late.drain())
}

/// The room as every way of reading shows it, which must be one.
fn shown(server: &Server, room: &str) -> Vec<Value> {
    let replayed = joined(server, room);
    let rest = server.rest();
    assert_eq!(rest.history(room)["messages"], json!(replayed), "REST");
    let mut client = Client::connect(server.address, "/");
    client.ask(json!({"type": "history", "room": room, "limit": 1000}));
    assert_eq!(client.expect("history")["messages"], json!(replayed), "the history command");
    let last = replayed.last().expect("something was said")["sequence"].as_u64().expect("a number");
    assert_eq!(rest.listen(room, "?since=0", "").read_through(last), replayed, "an event stream");
    assert_eq!(sequences(&replayed), (1..=last).collect::<Vec<u64>>(), "without a gap");
    replayed
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files that hold a text.
fn holding(data: &Data, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a readable file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(data.around()).into_iter().filter(holds).collect()
}

#[test]
fn an_edit_is_a_message_and_history_shows_what_is() {
    let server = Server::start(NO_RATE);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    let first = alice.ask(json!({"type": "message", "room": "room", "content": "Hi, Bob", "nonce": "n1"}));
    alice.say("room", "another");
    bob.drain();
    let mut stream = server.rest().listen("room", "", "");
    let ack = alice
        .ask(json!({"type": "edit", "room": "room", "sequence": 1, "content": "Hi, Bob and Carol", "nonce": "e1"}));
    assert_eq!((&ack["room"], &ack["sequence"], ack.get("duplicate")), (&json!("room"), &json!(3), None));
    let told = bob.expect("message");
    let expected = json!({"id": ack["id"], "room": "room", "user": "alice", "content": "Hi, Bob and Carol", "sequence": 3,
        "timestamp": ack["timestamp"], "nonce": "e1", "kind": "edit", "target": 1});
    assert_eq!(told, expected);
    assert_eq!(stream.message(), expected);
    assert_eq!(alice.skip_until(|event| event["data"]["kind"] == "edit")["data"], expected, "the author, too");

    let now = shown(&server, "room");
    let edited = json!({"id": first["id"], "room": "room", "user": "alice", "content": "Hi, Bob and Carol", "sequence": 1,
        "timestamp": first["timestamp"], "nonce": "n1", "edited": {"sequence": 3, "timestamp": ack["timestamp"]}});
    assert_eq!((&now[0], &now[1]["content"], &now[2]), (&edited, &json!("another"), &expected));

    // Who has seen all but the edit is told of the edit alone.
    let mut back = Client::connect(server.address, "/?room=room&since=2");
    assert_eq!(back.read_through(3), [expected]);

    let again = alice.ask(edit("room", 1, "Hi, everybody"));
    assert_eq!(again["sequence"], 4);
    let told = bob.skip_until(|event| event["data"]["kind"] == "edit")["data"].take();
    assert_eq!((&told["previous"], &told["target"]), (&json!(3), &json!(1)), "the edit before: {told}");
    let now = shown(&server, "room");
    assert_eq!((&now[0]["content"], &now[0]["edited"]["sequence"]), (&json!("Hi, everybody"), &json!(4)));
    assert_eq!(alice.say("room", "goes on")["sequence"], 5);
    assert_eq!(shown(&server, "room").len(), 5);
}

#[test]
fn a_deletion_leaves_a_stub() {
    let server = Server::start(NO_RATE);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    alice.join("room");
    bob.join("room");
    let first = alice.ask(json!({"type": "message", "room": "room", "content": "regretted", "nonce": "n1"}));
    alice.ask(edit("room", 1, "regretted too"));
    alice.say("room", "another");
    bob.drain();
    let ack = alice.ask(delete("room", 1));
    let told = bob.expect("message");
    let expected = json!({"id": ack["id"], "room": "room", "user": "alice", "content": "", "sequence": 4,
        "timestamp": ack["timestamp"], "kind": "delete", "target": 1});
    assert_eq!(told, expected);
    let now = shown(&server, "room");
    let stub = json!({"id": first["id"], "room": "room", "user": "alice", "content": "", "sequence": 1,
        "timestamp": first["timestamp"], "nonce": "n1", "deleted": {"sequence": 4}});
    assert_eq!((&now[0], &now[3]), (&stub, &expected));
    assert_eq!((&now[1]["kind"], &now[1]["target"], &now[1]["content"]), (&json!("edit"), &json!(1), &json!("")));
    assert_eq!(now[2]["content"], "another");

    // It cannot be changed any more, nor can what is no message of its own.
    for sequence in [1, 2, 4, 0, 99] {
        alice.refused(edit("room", sequence, "x"), "no_such_message");
        alice.refused(delete("room", sequence), "no_such_message");
    }
    // The nonce is remembered, whatever is said with it: what it was, nobody knows any more.
    let repeated = alice.ask(json!({"type": "message", "room": "room", "content": "regretted", "nonce": "n1"}));
    assert_eq!((&repeated["sequence"], &repeated["duplicate"]), (&json!(1), &json!(true)));
    assert_eq!(alice.say("room", "goes on")["sequence"], 5, "what was refused took no number");
}

#[test]
fn a_change_is_judged_like_a_message() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice");
    alice.refused(edit("room", 1, "x"), "not_subscribed");
    alice.refused(delete("room", 1), "not_subscribed");
    alice.join("room");
    alice.refused(edit("room", 1, "x"), "no_such_message");
    alice.say("room", "first");
    alice.refused(edit("room", 1, " \t"), "empty");
    alice.refused(edit("room", 1, &"x".repeat(4_097)), "too_long");
    alice.refused(json!({"type": "edit", "room": "room", "sequence": 1}), "bad_request");
    alice.refused(json!({"type": "edit", "room": "room", "content": "x"}), "bad_request");
    alice.refused(json!({"type": "delete", "room": "room"}), "bad_request");
    alice.refused(json!({"type": "delete", "room": "", "sequence": 1}), "bad_room");
    let once = json!({"type": "edit", "room": "room", "sequence": 1, "content": "second", "nonce": "e"});
    assert_eq!(alice.ask(once.clone())["sequence"], 2);
    let again = alice.ask(once.clone());
    assert_eq!((&again["sequence"], &again["duplicate"]), (&json!(2), &json!(true)));
    let mut other = once;
    other["content"] = json!("third");
    alice.refused(other, "nonce_conflict");
    for n in 0..60 {
        let mut command = edit("room", 1, &format!("edit {n}"));
        command["id"] = json!(n);
        alice.send(command);
    }
    let answers: Vec<Value> = (0..60).map(|_| alice.skip_until(|event| event.get("id").is_some())).collect();
    let refused = answers.iter().filter(|answer| answer["data"]["code"] == "rate_limited").count();
    assert!((5..=30).contains(&refused), "it counts against the rate: {refused}");
}

#[test]
fn nobody_changes_what_is_somebody_elses() {
    let server = Server::start(NO_RATE);
    let rest = server.rest();
    let (mut alice, mut bob) = (server.client("alice"), rest.with(&rest.register("bob")).device("/"));
    let mut root = rest.with(&server.operator().register_admin("root")).device("/");
    for client in [&mut alice, &mut bob] {
        client.join("room");
        client.say("room", "mine");
    }
    for (client, others) in [(&mut alice, 2), (&mut bob, 1)] {
        client.refused(edit("room", others, "x"), "forbidden");
        client.refused(delete("room", others), "forbidden");
    }
    // An administrator takes anybody's away, without being there, but puts no words into their mouths.
    root.refused(edit("room", 1, "x"), "not_subscribed");
    assert_eq!(root.ask(delete("room", 1))["sequence"], 3);
    let told = bob.skip_until(|event| event["data"]["kind"] == "delete")["data"].clone();
    assert_eq!((&told["user"], &told["target"]), (&json!("root"), &json!(1)));
    root.join("room");
    root.refused(edit("room", 2, "x"), "forbidden");
    assert_eq!(root.ask(delete("room", 2))["sequence"], 4);
    let now = shown(&server, "room");
    assert_eq!((&now[0]["deleted"]["sequence"], &now[1]["deleted"]["sequence"]), (&json!(3), &json!(4)));
    root.refused(delete("nowhere", 1), "no_such_message");
}

#[test]
fn a_guest_changes_its_own_as_long_as_it_goes_by_that_name() {
    let server = Server::start(NO_RATE);
    let mut dora = server.client("dora");
    dora.join("room");
    dora.say("room", "one");
    dora.say("room", "two");
    // Coming back with the session is being the same.
    let session = dora.session().to_owned();
    dora.reset();
    let mut dora = Client::connect(server.address, &format!("/?session={session}"));
    dora.join("room");
    dora.ask(edit("room", 1, "one, edited"));
    dora.ask(json!({"type": "hello", "user": "theodora"}));
    dora.refused(edit("room", 2, "x"), "forbidden");
    dora.say("room", "as theodora");
    dora.ask(edit("room", 4, "as theodora, edited"));
    dora.close();
    let mut other = server.client("dora");
    other.join("room");
    for sequence in [1, 2] {
        other.refused(edit("room", sequence, "x"), "forbidden");
        other.refused(delete("room", sequence), "forbidden");
    }
    other.close();
    // Nor can an account of that name.
    let mut account = server.rest().with(&server.rest().register("dora")).device("/?room=room");
    account.refused(edit("room", 2, "x"), "forbidden");
    account.say("room", "by the account");
    account.ask(edit("room", 6, "by the account, edited"));
    let now = shown(&server, "room");
    let texts = contents(&now);
    assert_eq!((texts[0], texts[1], texts[5]), ("one, edited", "two", "by the account, edited"));
}

#[test]
fn an_account_changes_its_own_for_ever_and_from_every_device() {
    let data = Data::fresh();
    let server = Server::on(&data, NO_RATE);
    let token = server.rest().register("alice");
    let mut phone = server.rest().with(&token).device("/?room=room");
    phone.say("room", "from the phone");
    server.rest().with(&token).say("room", "by REST");
    server.kill();
    let server = Server::on(&data, NO_RATE);
    let mut laptop = server.rest().with(&token).device("/?room=room");
    laptop.ask(edit("room", 1, "from the laptop"));
    laptop.ask(delete("room", 2));
    let now = shown(&server, "room");
    assert_eq!((&now[0]["content"], &now[1]["content"]), (&json!("from the laptop"), &json!("")));
    server.operator().patch("/api/accounts/alice", json!({"role": "admin"})).expect(204);
    laptop.ask(edit("room", 1, "an administrator, and still the author"));
}

#[test]
fn changes_survive_restarts_and_crashes() {
    let data = Data::fresh();
    let server = Server::on(&data, NO_RATE);
    let mut alice = server.client("alice");
    alice.join("room");
    for n in 1..=20 {
        alice.ask(
            json!({"type": "message", "room": "room", "content": format!("message {n}"), "nonce": format!("n{n}")}),
        );
    }
    for n in (2..=20).step_by(2) {
        alice.ask(edit("room", n, &format!("message {n}, edited, and now a good deal longer than it was before")));
    }
    for n in (4..=20).step_by(4) {
        alice.ask(delete("room", n));
    }
    alice.ask(edit("room", 2, "2"));
    let before = shown(&server, "room");
    assert_eq!(before.len(), 36);
    server.kill();
    for how in [Server::stop, Server::kill] {
        let server = Server::on(&data, NO_RATE);
        assert_eq!(shown(&server, "room"), before);
        let mut client = server.client("alice");
        client.join("room");
        let again = client.ask(json!({"type": "message", "room": "room", "content": "message 4", "nonce": "n4"}));
        assert_eq!((&again["sequence"], &again["duplicate"]), (&json!(4), &json!(true)), "its nonce is remembered");
        client.refused(delete("room", 4), "no_such_message");
        drop(client);
        how(server);
    }
}

#[test]
fn what_is_deleted_is_in_no_file() {
    let data = Data::fresh();
    let server = Server::on(&data, NO_RATE);
    let (alice, bob) = (server.rest().register("alice"), server.rest().register("bob"));
    let (alice, bob) = (server.rest().with(&alice), server.rest().with(&bob));
    let mut device = alice.device("/?room=room");
    let secrets = ["the first secret", "the second, in an edit", "the third, edited again"];
    device.say("room", secrets[0]);
    device.say("room", "stays as it is");
    device.ask(edit("room", 1, secrets[1]));
    device.ask(edit("room", 1, secrets[2]));
    let private = "a secret between two";
    let kept = device.ask(json!({"type": "private", "to": "bob", "content": private}));
    let room = kept["room"].as_str().expect("a room").to_owned();
    assert!(!holding(&data, secrets[2]).is_empty() && !holding(&data, private).is_empty(), "it can be found");
    device.ask(delete("room", 1));
    device.join(&room);
    device.ask(delete(&room, 1));
    for secret in secrets.into_iter().chain([private]) {
        assert_eq!(holding(&data, secret), [] as [PathBuf; 0], "{secret:?} while it runs");
    }
    server.kill();
    let server = Server::on(&data, NO_RATE);
    assert_eq!(shown(&server, "room")[1]["content"], "stays as it is");
    assert_eq!(bob.at(server.address).history(&room)["messages"][0]["deleted"]["sequence"], 2);
    server.stop();
    for secret in secrets.into_iter().chain([private]) {
        assert_eq!(holding(&data, secret), [] as [PathBuf; 0], "{secret:?} after a restart");
    }
    assert!(!holding(&data, "stays as it is").is_empty());
}

#[test]
fn a_private_conversation_can_be_changed_and_both_are_told() {
    let server = Server::start(NO_RATE);
    let rest = server.rest();
    let (alice, bob) = (rest.with(&rest.register("alice")), rest.with(&rest.register("bob")));
    let root = rest.with(&server.operator().register_admin("root"));
    let (mut hers, mut his) = (alice.device("/"), bob.device("/"));
    let room = hers.ask(json!({"type": "private", "to": "bob", "content": "lunch?"}))["room"].clone();
    let room = room.as_str().expect("a room");
    let mut joined = bob.device("/");
    joined.join(room);
    hers.refused(edit(room, 1, "dinner?"), "not_subscribed");
    hers.join(room);
    his.drain();
    assert_eq!(hers.ask(edit(room, 1, "dinner?"))["sequence"], 2);
    let told = his.skip_to("private");
    assert_eq!((&told["kind"], &told["target"], &told["content"]), (&json!("edit"), &json!(1), &json!("dinner?")));
    assert_eq!((&told["from"], &told["to"], &told["sequence"]), (&json!("alice"), &json!("bob"), &json!(2)));
    let live = joined.skip_until(|event| event["data"]["kind"] == "edit");
    assert_eq!((&live["type"], &live["data"]["target"]), (&json!("message"), &json!(1)));
    joined.refused(delete(room, 1), "forbidden");
    root.device("/").refused(delete(room, 1), "forbidden");
    hers.ask(delete(room, 1));
    let told = his.skip_to("private");
    assert_eq!((&told["kind"], &told["target"], &told["content"]), (&json!("delete"), &json!(1), &json!("")));
    assert_eq!(bob.history(room)["messages"][0]["content"], "");
    root.get(&messages(room)).expect_problem(403, "forbidden");
}

/// A reader that lags behind the room is shown what is, in order and without a gap.
#[test]
fn a_reader_that_is_behind_sees_the_present_text() {
    let server = Server::start(NO_RATE);
    let (mut alice, mut slow) = (server.client("alice"), server.client("slow"));
    alice.join("room");
    slow.join("room");
    let filler = "x".repeat(4_000);
    // More than sockets hold: it stays behind, and is read from the log later.
    let last = 3_000;
    for n in 1..=last {
        alice.send(json!({"type": "message", "room": "room", "content": format!("{n} {filler}")}));
        if n % 100 == 0 {
            alice.drain();
        }
    }
    alice.drain();
    let changed = [1_000, 2_000, 2_999];
    for &n in &changed {
        alice.ask(edit("room", n, "short now"));
    }
    alice.ask(delete("room", 2_500));
    let seen = slow.read_through(last + 4);
    assert_eq!(sequences(&seen), (1..=last + 4).collect::<Vec<u64>>());
    for n in changed {
        let message = &seen[n as usize - 1];
        // It may have been underway before; then the change that comes later puts it right.
        let before = message["content"].as_str().is_some_and(|text| text.starts_with(&n.to_string()));
        assert!(message["content"] == "short now" || before, "{n}: {message}");
    }
    assert_eq!(seen[2_998]["content"], "short now", "this one was not sent yet");
    assert_eq!((&seen[2_499]["content"], &seen[2_499]["deleted"]["sequence"]), (&json!(""), &json!(last + 4)));
    let kinds: Vec<&Value> = seen[last as usize..].iter().map(|message| &message["kind"]).collect();
    assert_eq!(kinds, ["edit", "edit", "edit", "delete"]);
}

#[test]
fn paging_through_changed_messages_skips_nothing() {
    let server = Server::start(NO_RATE);
    let rest: Rest = server.rest();
    let mut alice = server.client("alice");
    alice.join("room");
    for n in 1..=30 {
        alice.say("room", &format!("message {n}"));
    }
    for n in (1..=30).step_by(3) {
        alice.ask(edit("room", n, &"long ".repeat(700)));
        alice.ask(delete("room", n + 1));
    }
    let all = shown(&server, "room");
    let (mut upwards, mut since) = (Vec::new(), 0);
    loop {
        let page = rest.get(&format!("{}?since={since}&limit=7", messages("room"))).expect(200);
        upwards.extend(page["messages"].as_array().expect("a list").clone());
        since = upwards.last().map_or(0, |message| message["sequence"].as_u64().expect("a number"));
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(upwards, all);
    let (mut downwards, mut before) = (Vec::new(), 1_000);
    loop {
        let page = rest.get(&format!("{}?before={before}&limit=7", messages("room"))).expect(200);
        let mut part = page["messages"].as_array().expect("a list").clone();
        before = part.first().map_or(0, |message| message["sequence"].as_u64().expect("a number"));
        part.extend(downwards);
        downwards = part;
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(downwards, all);
}

#[test]
fn a_message_is_edited_a_hundred_times_and_can_still_be_deleted() {
    let server = Server::start(NO_RATE);
    let mut alice = server.client("alice");
    alice.join("room");
    alice.say("room", "version 0");
    let edit = |n: u32| json!({"type": "edit", "room": "room", "sequence": 1, "content": format!("version {n}")});
    for n in 1..=100 {
        alice.ask(edit(n));
    }
    alice.refused(edit(101), "forbidden");
    assert_eq!(server.rest().history("room")["messages"][0]["content"], "version 100");
    assert_eq!(alice.ask(json!({"type": "delete", "room": "room", "sequence": 1}))["sequence"], 102);
    let history = server.rest().history("room");
    let texts = history["messages"].as_array().expect("a list").iter();
    assert!(texts.clone().all(|message| message["content"] == ""), "of none of its versions anything is left");
    assert_eq!(texts.count(), 102);
}
