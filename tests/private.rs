//! Private messages: live between guests, kept between accounts, and nobody else's business.

mod common;

use common::client::{contents, kinds, messages_of, sequences};
use common::rest::{encoded, events, messages};
use common::{Client, Data, Rest, Server};
use serde_json::{Value, json};

const NO_RATE: &[&str] = &["--rate", "0"];

fn to(user: &str, content: &str) -> Value {
    json!({"type": "private", "to": user, "content": content})
}

/// Two accounts.
fn alice_and_bob(server: &Server) -> (Rest, Rest) {
    let rest = server.rest();
    (rest.with(&rest.register("alice")), rest.with(&rest.register("bob")))
}

/// The room of the two, once the first has written.
fn begin(alice: &Rest, content: &str) -> String {
    let ack = alice.device("/").ask(to("bob", content));
    ack["room"].as_str().expect("it is kept in a room").to_owned()
}

/// The private messages among events.
fn private(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["type"] == "private").map(|event| &event["data"]).collect()
}

#[test]
fn between_guests_it_is_live_only() {
    let server = Server::start(&[]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    assert_eq!(alice.ask(json!({"type": "private", "to": "bob", "content": "psst", "nonce": "n"})), json!({}));
    let (sent, got) = (alice.expect("private"), bob.expect("private"));
    assert_eq!(sent, got);
    assert!(got.get("room").is_none() && got.get("sequence").is_none(), "{got}");
    assert!(got["id"].as_str().is_some_and(|id| id.starts_with('~')), "{got}");
    // The same nonce again is another message.
    alice.ask(json!({"type": "private", "to": "bob", "content": "psst", "nonce": "n"}));
    assert_ne!(bob.expect("private")["id"], got["id"]);
    bob.close();
    alice.refused(to("bob", "are you there?"), "no_such_user");
    let bob = server.client("bob");
    assert_eq!(bob.hello.get("direct"), None);
    let session = bob.session().to_owned();
    bob.reset();
    // In the grace period he is a member, but does not see it.
    common::rest::eventually("he is gone", || {
        alice.send(json!({"type": "private", "to": "bob", "content": "and now?", "id": "p"}));
        Some(()).filter(|()| alice.skip_until(|event| event["id"] == "p")["type"] == "error")
    });
    let mut bob = Client::connect(server.address, &format!("/?session={session}"));
    assert_eq!(bob.user(), "bob");
    assert!(private(&bob.drain()).is_empty());
    assert_eq!(server.rest().get("/api/rooms").expect(200), json!([]), "nothing was kept");
}

#[test]
fn content_is_bounded_and_counts_against_the_rate() {
    let server = Server::start(&[]);
    let (alice, _) = alice_and_bob(&server);
    let (mut device, guest) = (alice.device("/"), server.client("guest"));
    for user in ["bob", guest.user()] {
        device.refused(to(user, &"x".repeat(4_097)), "too_long");
        device.refused(to(user, " \n"), "empty");
        device.refused(json!({"type": "private", "to": user, "content": "x", "nonce": ""}), "bad_request");
        device.refused(json!({"type": "private", "to": user}), "bad_request");
    }
    for n in 0..60 {
        let mut command = to("bob", "x");
        command["id"] = json!(n);
        device.send(command);
    }
    let answers: Vec<Value> = (0..60).map(|_| device.skip_until(|event| event.get("id").is_some())).collect();
    let refused = answers.iter().filter(|answer| answer["data"]["code"] == "rate_limited").count();
    assert!((5..=20).contains(&refused), "{refused}");
}

#[test]
fn between_accounts_it_waits_for_a_recipient_who_is_away() {
    let server = Server::start(&[]);
    let (alice, bob) = alice_and_bob(&server);
    let mut device = alice.device("/");
    let ack = device.ask(json!({"type": "private", "to": "BOB", "content": "lunch?", "nonce": "a4"}));
    assert_eq!(ack["sequence"], 1);
    let room = ack["room"].as_str().expect("a room").to_owned();
    assert!(room.starts_with("@dm:"), "{room}");
    let echo = device.skip_to("private");
    let expected = json!({"id": ack["id"], "from": "alice", "to": "bob", "content": "lunch?", "nonce": "a4",
        "timestamp": ack["timestamp"], "room": room, "sequence": 1});
    assert_eq!(echo, expected);
    assert_eq!(device.ask(to("bob", "or dinner?"))["sequence"], 2);

    let mut phone = bob.device("/");
    assert_eq!(phone.hello["direct"], json!([{"room": room, "user": "alice"}]));
    assert_eq!(alice.device("/").hello["direct"], json!([{"room": room, "user": "bob"}]));
    phone.ask(json!({"type": "join", "room": room, "since": 1}));
    assert_eq!(contents(&messages_of(&phone.drain())), ["or dinner?"]);
    phone.ask(json!({"type": "history", "room": room}));
    let history = phone.expect("history");
    assert_eq!(contents(history["messages"].as_array().expect("a list")), ["lunch?", "or dinner?"]);
    assert_eq!(history["messages"][0]["user"], "alice");
    for reader in [&alice, &bob] {
        assert_eq!(reader.history(&room), history);
    }
    let mut stream = bob.listen(&room, "?since=0", "");
    assert_eq!(stream.message()["content"], "lunch?");
    assert_eq!(stream.message()["content"], "or dinner?");
    // What he says in the room, or by REST, is private too.
    phone.say(&room, "dinner");
    assert_eq!(device.skip_until(|event| event["data"]["from"] == "bob")["data"]["content"], "dinner");
    let stored = bob.say(&room, "at eight");
    let told = device.skip_to("private");
    assert_eq!((&told["content"], &told["sequence"], &told["id"]), (&json!("at eight"), &json!(4), &stored["id"]));
    assert_eq!((&told["from"], &told["to"]), (&json!("bob"), &json!("alice")));
    assert_eq!(sequences(&stream.read_through(4)), [3, 4]);
}

#[test]
fn every_device_of_both_is_told_once_by_the_room_if_it_has_joined_it() {
    let server = Server::start(&[]);
    let (alice, bob) = alice_and_bob(&server);
    let room = begin(&alice, "first");
    let mut devices: Vec<Client> = [&alice, &alice, &bob, &bob].into_iter().map(|rest| rest.device("/")).collect();
    for joined in [1, 3] {
        devices[joined].ask(json!({"type": "join", "room": room, "since": 1}));
    }
    for device in &mut devices {
        device.drain();
    }
    let ack = devices[0].ask(to("bob", "to all"));
    assert_eq!(ack["sequence"], 2);
    // Behind it there is something else for everybody, so that nothing can come too late to be seen.
    devices[2].send(to("alice", "behind it"));
    for (number, device) in devices.iter_mut().enumerate() {
        let mut got = Vec::new();
        while !got.iter().any(|event: &Value| event["data"]["content"] == "behind it") {
            got.push(device.next());
        }
        got.retain(|event| event["data"]["content"] == "to all");
        let expected = if number % 2 == 1 { "message" } else { "private" };
        assert_eq!((kinds(&got), &got[0]["data"]["id"]), (vec![expected], &ack["id"]), "device {number}: {got:?}");
    }
    devices[3].ask(json!({"type": "leave", "room": room}));
    devices[0].ask(to("bob", "after he left the room"));
    assert_eq!(devices[3].skip_to("private")["content"], "after he left the room");
}

#[test]
fn to_everybody_else_the_conversation_is_forbidden_whether_or_not_it_exists() {
    let server = Server::start(NO_RATE);
    let (alice, _) = alice_and_bob(&server);
    let room = begin(&alice, "between us");
    let rest = server.rest();
    let strangers = [
        rest.clone(),
        rest.with(&rest.register("eve")),
        server.operator(),
        rest.with(&server.operator().register_admin("root")),
    ];
    // One that exists, one of accounts that have none, of accounts that are not there, and names that are none.
    let names = [room.as_str(), "@dm:2-2", "@dm:77-78", "@dm:", "@dm:01-2", "@dm:x"];
    for stranger in &strangers {
        for &name in &names {
            let answers = [
                stranger.get(&messages(name)),
                stranger.get(&events(name)),
                stranger.get(&format!("{}?since=0", events(name))),
            ];
            for answer in answers {
                answer.expect_problem(403, "forbidden");
            }
        }
    }
    for stranger in [&strangers[1], &strangers[3]] {
        for &name in &names {
            stranger.post(&messages(name), json!({"content": "let me in"})).expect_problem(403, "forbidden");
            stranger.put(&format!("/api/me/rooms/{}", encoded(name))).expect_problem(403, "forbidden");
        }
    }
    let clients = [server.client("guest"), strangers[1].device("/"), strangers[3].device("/")];
    for mut client in clients {
        let mut told = Vec::new();
        for &name in &names {
            let mut texts = Vec::new();
            for kind in ["join", "history", "presence", "edit", "delete"] {
                let command = json!({"type": kind, "room": name, "sequence": 1, "content": "x"});
                let error = client.refused(command, "forbidden");
                texts.push(error["message"].as_str().expect("a text").to_owned());
            }
            for kind in ["message", "typing.start", "leave"] {
                let error = client.refused(json!({"type": kind, "room": name, "content": "x"}), "not_subscribed");
                texts.push(error["message"].as_str().expect("a text").replace(name, "it"));
            }
            told.push(texts);
        }
        assert!(told.iter().all(|texts| *texts == told[0]), "{}: {told:?}", client.user());
    }
    let mut curious = Client::connect(server.address, &format!("/?room={}", encoded(&room)));
    curious.expect_error("forbidden");
    assert!(curious.drain().is_empty());
    let answers = [rest.get(&messages(&room)), rest.get(&messages("@dm:77-78"))];
    assert_eq!(answers[0], answers[1]);
    alice.say("public", "a room is listed once something is said in it");
    let listed = rest.get("/api/rooms").expect(200);
    let names: Vec<&Value> = listed.as_array().expect("a list").iter().map(|row| &row["room"]).collect();
    assert_eq!(names, ["public"], "and it is in no list");
    assert_eq!(alice.history(&room)["head"], 1, "nobody came in");
}

#[test]
fn a_nonce_is_stored_once_across_crashes() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let (alice, bob) = alice_and_bob(&server);
    let once = json!({"type": "private", "to": "bob", "content": "once", "nonce": "n"});
    let mut device = alice.device("/");
    let first = device.ask(once.clone());
    device.ask(to("bob", "another"));
    server.kill();
    let server = Server::on(&data, &[]);
    let (alice, bob) = (alice.at(server.address), bob.at(server.address));
    let (mut device, mut phone) = (alice.device("/"), bob.device("/"));
    let again = device.ask(once.clone());
    for field in ["room", "sequence", "id", "timestamp"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    assert_eq!(again["duplicate"], true);
    let mut changed = once;
    changed["content"] = json!("something else");
    device.refused(changed, "nonce_conflict");
    assert!(private(&phone.drain()).is_empty() && private(&device.drain()).is_empty(), "told once");
    let room = first["room"].as_str().expect("a room");
    assert_eq!(phone.hello["direct"], json!([{"room": room, "user": "alice"}]));
    assert_eq!(contents(bob.history(room)["messages"].as_array().expect("a list")), ["once", "another"]);
    // The two count nonces for themselves.
    assert_eq!(phone.ask(json!({"type": "private", "to": "alice", "content": "mine", "nonce": "n"}))["sequence"], 3);
}

#[test]
fn one_can_keep_notes_by_writing_to_oneself() {
    let server = Server::start(&[]);
    let (alice, bob) = alice_and_bob(&server);
    let (mut phone, mut laptop) = (alice.device("/"), alice.device("/"));
    let ack = phone.ask(to("alice", "milk"));
    let room = ack["room"].as_str().expect("a room").to_owned();
    for device in [&mut phone, &mut laptop] {
        let events = device.drain();
        let told = private(&events);
        assert_eq!((told.len(), &told[0]["from"], &told[0]["to"]), (1, &json!("alice"), &json!("alice")), "once each");
    }
    assert_eq!(alice.device("/").hello["direct"], json!([{"room": room, "user": "alice"}]));
    bob.get(&messages(&room)).expect_problem(403, "forbidden");
}

#[test]
fn where_one_is_a_guest_it_is_live_only_for_both() {
    let server = Server::start(&[]);
    let (alice, _) = alice_and_bob(&server);
    let (mut device, mut guest) = (alice.device("/"), server.client("guest"));
    let mut other = alice.device("/");
    assert_eq!(device.ask(to("guest", "hello, guest")), json!({}));
    for client in [&mut device, &mut other, &mut guest] {
        let told = client.skip_to("private");
        assert_eq!((&told["content"], told.get("room")), (&json!("hello, guest"), None));
    }
    assert_eq!(guest.ask(to("alice", "hello, account")), json!({}));
    for client in [&mut device, &mut other, &mut guest] {
        assert_eq!(client.skip_to("private")["content"], "hello, account");
    }
    guest.refused(to("bob", "he is away, and I am a guest"), "no_such_user");
    for nobody in ["nobody", "", "x\u{0}", &"x".repeat(500)] {
        device.refused(to(nobody, "hello?"), "no_such_user");
        guest.refused(to(nobody, "hello?"), "no_such_user");
    }
    guest.close();
    device.refused(to("guest", "still there?"), "no_such_user");
    assert_eq!(alice.device("/").hello["direct"], json!([]));
}

#[test]
fn who_becomes_somebody_else_leaves_the_conversation() {
    let server = Server::start(&[]);
    let (alice, bob) = alice_and_bob(&server);
    let eve = server.rest().register("eve");
    let room = begin(&alice, "between us");
    let (mut guest, mut account, mut writer) = (alice.device("/"), alice.device("/"), bob.device("/"));
    for device in [&mut guest, &mut account] {
        device.join(&room);
        device.join("lobby");
    }
    guest.ask(json!({"type": "hello", "user": "walter"}));
    account.log_in(&eve);
    writer.ask(to("alice", "a secret"));
    for device in [&mut guest, &mut account] {
        device.refused(json!({"type": "message", "room": room, "content": "I am not alice"}), "not_subscribed");
        device.refused(json!({"type": "history", "room": room}), "forbidden");
        device.say("lobby", "other rooms go on");
        let events = device.drain();
        assert!(events.iter().all(|event| event["data"]["content"] != "a secret"), "{events:?}");
    }
    assert_eq!(alice.history(&room)["head"], 2);
}

#[test]
fn a_new_account_of_an_old_name_has_none_of_its_conversations() {
    let server = Server::start(&[]);
    let (alice, bob) = alice_and_bob(&server);
    let room = begin(&alice, "for the old bob");
    server.operator().delete("/api/accounts/bob").expect(204);
    assert_eq!(bob.get(&messages(&room)).status, 401);
    assert_eq!(alice.device("/").hello["direct"], json!([]), "with nobody");
    let mut device = alice.device("/");
    device.refused(to("bob", "are you there?"), "no_such_user");
    let new = server.rest().with(&server.rest().register("bob"));
    assert_eq!(new.device("/").hello["direct"], json!([]));
    new.get(&messages(&room)).expect_problem(403, "forbidden");
    let ack = device.ask(to("bob", "for the new bob"));
    assert_eq!(ack["sequence"], 1);
    assert_ne!(ack["room"], room);
}
