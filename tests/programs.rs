//! The programs that this one grew out of, each as the story of an evening with it: what they could do can be done here.

mod common;

use std::time::{Duration, Instant};

use common::client::{contents, kinds, messages_of, sequences};
use common::raw::Raw;
use common::rest::messages;
use common::{Client, Data, Server};
use serde_json::{Value, json};

/// Who is in a room and how: names and states, by name.
fn people(client: &mut Client, room: &str) -> Vec<(String, String)> {
    client.ask(json!({"type": "presence", "room": room}));
    let presence = client.skip_to("presence");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let users = presence["users"].as_array().expect("a list").iter();
    let mut people: Vec<_> = users.map(|user| (text(&user["user"]), text(&user["status"]))).collect();
    people.sort();
    people
}

/// The names of those who are in a room.
fn names(client: &mut Client, room: &str) -> Vec<String> {
    people(client, room).into_iter().map(|(name, _)| name).collect()
}

/// The next announcement: who, and whether they came or left.
fn announced(client: &mut Client) -> (String, String) {
    let data = client.skip_until(|event| event["data"]["ephemeral"] == true)["data"].clone();
    assert_eq!((&data["user"], data["content"].is_string()), (&json!("system"), true), "{data}");
    (data["subject"].as_str().expect("who").to_owned(), data["kind"].as_str().expect("a kind").to_owned())
}

/// The next stored message that somebody hears.
fn heard(client: &mut Client) -> (String, String) {
    let data = client.skip_until(|event| event["type"] == "message" && event["data"].get("ephemeral").is_none());
    let text = |field: &str| data["data"][field].as_str().expect("a text").to_owned();
    (text("user"), text("content"))
}

fn pair(first: &str, second: &str) -> (String, String) {
    (first.to_owned(), second.to_owned())
}

/// A tutorial's chat: a page that joins, talks, and shows who is there.
mod a_tutorial_chat_with_presence {
    use super::*;

    #[test]
    fn one_joins_talks_sees_who_is_there_and_leaves() {
        let server = Server::start(&[]);
        let mut alice = Client::connect(server.address, "/ws");
        assert!(alice.user().starts_with("user_"), "somebody without a name can look around");
        // As simple as a client can be: it says its name and knows no rooms.
        alice.send(json!({"type": "join", "username": "alice"}));
        assert_eq!(alice.expect("connected")["user"], "alice");
        assert_eq!(alice.expect("presence")["count"], 1);
        assert_eq!(announced(&mut alice), pair("alice", "join"));
        for content in ["Is anybody here?", "I will wait."] {
            alice.say("general", content);
        }
        alice.drain();

        let mut bob = Client::connect(server.address, "/");
        bob.send(json!({"type": "join", "username": "bob"}));
        assert_eq!(bob.expect("connected")["user"], "bob");
        assert_eq!(bob.expect("presence")["count"], 2);
        let announcement = bob.expect("message");
        assert_eq!(announcement["content"], "bob joined the room");
        let history = bob.expect("history");
        assert_eq!(
            contents(history["messages"].as_array().expect("a list")),
            ["Is anybody here?", "I will wait."],
            "what was said before comes first"
        );
        assert_eq!(announced(&mut alice), pair("bob", "join"));
        bob.send(json!({"type": "message", "data": {"room": "general", "content": "I am."}}));
        for client in [&mut alice, &mut bob] {
            assert_eq!(heard(client), pair("bob", "I am."));
            assert_eq!(names(client, "general"), ["alice", "bob"]);
        }

        bob.ask(json!({"type": "leave", "room": "general"}));
        assert_eq!(announced(&mut alice), pair("bob", "leave"));
        assert_eq!(names(&mut alice, "general"), ["alice"]);
        alice.say("general", "Gone again");
        assert!(messages_of(&bob.drain()).is_empty(), "who left hears nothing");
        bob.refused(json!({"type": "message", "room": "general", "content": "x"}), "not_subscribed");
        bob.join("general");
        assert_eq!(announced(&mut alice), pair("bob", "join"));
        bob.close();
        assert_eq!(alice.skip_to("status")["status"], "offline");
        assert_eq!(announced(&mut alice), pair("bob", "leave"));
    }
}

/// A FastAPI chat: the name stands in the URL, and the server looks after its manners.
mod a_chat_with_names_in_the_url {
    use super::*;

    #[test]
    fn a_name_is_one_persons_and_free_once_that_one_is_gone() {
        let server = Server::start(&["--grace", "0ms"]);
        let mut watcher = Client::connect(server.address, "/ws?username=watcher&room=lobby");
        let mut dora = Client::connect(server.address, "/ws?username=dora&room=lobby");
        assert_eq!(dora.user(), "dora");
        let mut twin = Client::open(server.address, "/ws?username=dora&room=lobby");
        assert_eq!((twin.expect_close(), twin.reason.is_empty()), (1008, false));
        dora.say("lobby", "there is one of me");
        assert_eq!(names(&mut watcher, "lobby"), ["dora", "watcher"]);
        // Whichever way she goes.
        for how in [Client::close, Client::reset] {
            how(dora);
            watcher.skip_until(|event| event["data"]["kind"] == "leave");
            assert_eq!(names(&mut watcher, "lobby"), ["watcher"]);
            dora = Client::connect(server.address, "/ws?username=dora&room=lobby");
            assert_eq!(contents(&messages_of(&dora.drain())), ["there is one of me"]);
        }
        assert_eq!(names(&mut watcher, "lobby"), ["dora", "watcher"]);
    }

    #[test]
    fn what_is_too_long_empty_or_too_much_is_refused_and_the_chat_goes_on() {
        let server = Server::start(&["--max-content", "200", "--rate", "2"]);
        let mut dora = Client::connect(server.address, "/ws?username=dora&room=lobby");
        let mut erik = Client::connect(server.address, "/ws?username=erik&room=lobby");
        let limits = &dora.hello["limits"];
        assert_eq!((&limits["contentBytes"], &limits["messagesPerSecond"]), (&json!(200), &json!(2)));
        let say = |content: &str| json!({"type": "message", "room": "lobby", "content": content});
        dora.refused(say(&"x".repeat(201)), "too_long");
        dora.refused(say("   "), "empty");
        dora.ask(say(&"x".repeat(200)));
        let mut wait_ms = 0;
        for n in 0.. {
            dora.send(json!({"type": "message", "room": "lobby", "content": "and on", "id": n}));
            let answer = dora.skip_until(|event| event["id"] == n);
            if answer["type"] == "error" {
                assert_eq!(answer["data"]["code"], "rate_limited");
                wait_ms = answer["data"]["retryAfterMs"].as_u64().expect("a time to wait");
                break;
            }
        }
        assert!((1..=500).contains(&wait_ms), "{wait_ms}");
        erik.say("lobby", "my turn");
        assert_eq!(dora.skip_until(|event| event["data"]["user"] == "erik")["data"]["content"], "my turn");
        // What it was told is true.
        std::thread::sleep(Duration::from_millis(wait_ms));
        dora.say("lobby", "I have waited");
        erik.skip_until(|event| event["data"]["content"] == "I have waited");
    }

    #[test]
    fn who_falls_silent_is_put_out_and_comes_back_under_the_same_name() {
        let server = Server::start(&["--heartbeat", "100ms", "--offline-timeout", "500ms", "--grace", "0ms"]);
        let mut watcher = Client::connect(server.address, "/ws?username=watcher&room=lobby");
        // Reads everything and answers nothing, not even pings.
        let mut dora = Raw::websocket(server.address, "/ws?username=dora&room=lobby");
        let offline = watcher.skip_until(|event| event["data"]["status"] == "offline");
        assert_eq!(offline["data"]["user"], "dora");
        watcher.skip_until(|event| event["data"]["kind"] == "leave" && event["data"]["subject"] == "dora");
        assert_eq!(dora.close_code(), 4000);
        let again = Client::connect(server.address, "/ws?username=dora&room=lobby");
        assert_eq!(again.user(), "dora");
    }
}

/// A lesson about WebSockets: private messages, typing, the state of a connection, and coming back to it.
mod a_lesson_about_web_sockets {
    use super::*;

    #[test]
    fn whispers_and_typing_reach_whom_they_should() {
        let server = Server::start(&[]);
        let [mut teacher, mut tom, mut eve] = ["teacher", "tom", "eve"].map(|user| server.client(user));
        for client in [&mut teacher, &mut tom, &mut eve] {
            client.join("class");
        }
        for client in [&mut teacher, &mut tom, &mut eve] {
            client.drain();
        }
        let started = Instant::now();
        tom.ask(json!({"type": "typing.start", "room": "class"}));
        for client in [&mut teacher, &mut eve] {
            assert_eq!(client.expect("typing"), json!({"room": "class", "user": "tom", "isTyping": true}), "at once");
        }
        for _ in 0..10 {
            tom.ask(json!({"type": "typing.stop", "room": "class"}));
            tom.ask(json!({"type": "typing", "room": "class", "isTyping": true}));
        }
        tom.say("class", "May I go out?");
        let seconds = started.elapsed().as_secs() as usize;
        for client in [&mut teacher, &mut eve] {
            let mut told = vec![client.next()];
            while told.last().is_some_and(|event| event["type"] == "typing") {
                told.push(client.next());
            }
            let message = told.pop().expect("not empty");
            assert_eq!(message["data"]["content"], "May I go out?", "{message}");
            assert_eq!(told.last().expect("he stopped")["data"]["isTyping"], false, "a message ends it");
            assert!(told.len() <= 2 + seconds, "at most one a second, and the end: {told:?}");
        }
        teacher.ask(json!({"type": "private", "to": "tom", "content": "Yes, but hurry"}));
        for client in [&mut teacher, &mut tom] {
            let whisper = client.skip_to("private");
            assert_eq!((&whisper["from"], &whisper["to"]), (&json!("teacher"), &json!("tom")));
            assert_eq!(whisper["content"], "Yes, but hurry");
        }
        assert!(eve.drain().is_empty());
        eve.ask(json!({"type": "history", "room": "class"}));
        let history = eve.expect("history");
        assert_eq!(contents(history["messages"].as_array().expect("a list")), ["May I go out?"], "neither is kept");
    }

    #[test]
    fn a_connection_is_online_away_offline_and_back_with_what_it_missed() {
        let server = Server::start(&["--grace", "1h"]);
        let (mut teacher, mut tom) = (server.client("teacher"), server.client("tom"));
        teacher.join("class");
        tom.join("class");
        assert_eq!(people(&mut teacher, "class"), [pair("teacher", "online"), pair("tom", "online")]);
        for state in ["away", "online"] {
            tom.ask(json!({"type": "status", "status": state}));
            let status = teacher.skip_to("status");
            assert_eq!((&status["user"], &status["status"]), (&json!("tom"), &json!(state)));
            assert_eq!(people(&mut teacher, "class")[1], pair("tom", state));
        }
        teacher.say("class", "one");
        let history = tom.ask(json!({"type": "join", "room": "class", "since": 0}));
        let epoch = history["epoch"].as_str().expect("an epoch").to_owned();
        assert_eq!(sequences(&tom.read_through(1)), [1]);
        let (session, id) = (tom.session().to_owned(), tom.hello["clientId"].clone());
        tom.reset();
        teacher.say("class", "two");
        teacher.say("class", "three");
        teacher.drain();

        let mut tom = Client::connect(server.address, &format!("/?session={session}"));
        assert_eq!((tom.user(), &tom.hello["clientId"]), ("tom", &id), "the same one");
        tom.ask(json!({"type": "join", "room": "class", "since": 1, "epoch": epoch}));
        let missed = tom.read_through(3);
        assert_eq!((sequences(&missed), contents(&missed)), (vec![2, 3], vec!["two", "three"]));
        teacher.say("class", "four");
        assert_eq!(sequences(&tom.read_through(4)), [4], "and goes on");
        let seen = teacher.drain();
        assert!(!kinds(&seen).contains(&"status"), "nobody noticed: {seen:?}");

        tom.close();
        assert_eq!(teacher.skip_to("status")["status"], "offline");
        assert_eq!(announced(&mut teacher), pair("tom", "leave"));
        let stranger = Client::connect(server.address, &format!("/?session={session}"));
        assert_ne!(stranger.user(), "tom", "who says goodbye does not come back by the session");
    }
}

/// An app with accounts, rooms that one keeps, and a history that one can leaf through.
mod an_app_with_accounts {
    use super::*;

    /// All texts of a room, leafed through by REST from the end, a page at a time.
    fn leafed(server: &Server, room: &str, page: usize) -> Vec<String> {
        let (mut texts, mut before) = (Vec::new(), String::new());
        loop {
            let path = format!("{}?limit={page}{before}", messages(room));
            // Without a bound below it would read from the start.
            let path = if before.is_empty() { format!("{path}&before={}", u64::MAX) } else { path };
            let answer = server.rest().get(&path).expect(200);
            let portion = answer["messages"].as_array().expect("a list");
            assert!(portion.len() <= page && !portion.is_empty(), "{answer}");
            texts.splice(0..0, contents(portion).into_iter().map(str::to_owned));
            before = format!("&before={}", sequences(portion)[0]);
            if answer["more"] == false {
                return texts;
            }
        }
    }

    #[test]
    fn from_the_registration_to_the_logout_over_a_restart() {
        let data = Data::fresh();
        let server = Server::on(&data, &["--rate", "0"]);
        server.rest().register("alice");
        let token = server.rest().log_in("alice");
        let alice = server.rest().with(&token);
        alice.put("/api/me/rooms/work").expect(204);
        alice.put("/api/me/rooms/home").expect(204);
        assert_eq!(alice.get("/api/me/rooms").expect(200), json!(["home", "work"]));
        let mut socket = Client::connect(server.address, "/");
        let hello = socket.log_in(&token);
        assert_eq!((&hello["user"], &hello["rooms"]), (&json!("alice"), &json!(["home", "work"])));
        for room in hello["rooms"].as_array().expect("a list") {
            assert!(socket.join(room.as_str().expect("a name")).is_empty());
        }
        let said: Vec<String> = (1..=70).map(|n| format!("message {n}")).collect();
        for (n, text) in said.iter().enumerate() {
            // From the page and by a script, in turn.
            if n % 10 == 0 {
                assert_eq!(alice.say("work", text)["user"], "alice");
            } else {
                assert_eq!(socket.say("work", text)["sequence"], n as u64 + 1);
            }
        }
        assert_eq!(leafed(&server, "work", 35), said);
        let listed = alice.get("/api/rooms").expect(200);
        let rows: Vec<_> = listed.as_array().expect("a list").iter().map(|row| (&row["room"], &row["head"])).collect();
        assert_eq!(rows, [(&json!("home"), &json!(0)), (&json!("work"), &json!(70))]);

        server.terminate();
        assert_eq!(socket.expect_close(), 1001);
        drop(socket);
        server.stop();
        let server = Server::on(&data, &["--rate", "0"]);
        let alice = alice.at(server.address);
        assert_eq!(leafed(&server, "work", 7), said, "every single one");
        let mut socket = Client::connect(server.address, "/");
        assert_eq!(socket.log_in(&token)["rooms"], json!(["home", "work"]), "the login too");
        let last = socket.join("work");
        assert_eq!(contents(&last), said[20..].iter().map(String::as_str).collect::<Vec<_>>());
        alice.delete("/api/me/rooms/home").expect(204);
        assert_eq!(alice.get("/api/me/rooms").expect(200), json!(["work"]));

        let mut bob = server.client("bob");
        bob.join("work");
        alice.delete("/api/sessions").expect(204);
        assert_eq!((socket.expect_close(), socket.reason.is_empty()), (4500, false));
        assert_eq!(bob.skip_to("status")["status"], "offline");
        alice.get("/api/me/rooms").expect_problem(401, "bad_token");
        bob.refused(json!({"type": "hello", "token": token}), "bad_token");
        let again = server.rest().log_in("alice");
        let device = server.rest().with(&again).device("/?room=work");
        assert_eq!(device.hello["rooms"], json!(["work"]));
        assert_eq!(announced(&mut bob).0, "alice");
    }
}
