//! What administrators can do about users: kicking, banning, and for how long.

mod common;

use common::client::kinds;
use common::rest::{PASSWORD, connect_from, encoded, eventually, loopback};
use common::{Client, Data, Rest, Server};
use serde_json::{Value, json};

/// An administrator's way to the REST interface.
fn admin(server: &Server) -> Rest {
    server.rest().with(&server.operator().register_admin("root"))
}

fn bans(admin: &Rest) -> Vec<(String, Value)> {
    let list = admin.get("/api/bans").expect(200);
    let rows = list.as_array().expect("a list").iter();
    rows.map(|row| (row["what"].as_str().expect("a name or an address").to_owned(), row.clone())).collect()
}

/// How a connection ends that may not come in.
fn shown_the_door(mut client: Client) -> (u16, String) {
    (client.expect_close(), client.reason)
}

#[test]
fn only_administrators_moderate() {
    let server = Server::start(&[]);
    let root = admin(&server);
    let member = server.rest().with(&server.rest().register("member"));
    let victim = server.client("victim");
    for mut client in [member.device("/"), server.client("guest")] {
        for command in [
            json!({"type": "kick", "user": "victim"}),
            json!({"type": "ban", "user": "victim"}),
            json!({"type": "unban", "user": "victim"}),
            json!({"type": "kick", "user": "nobody at all"}),
        ] {
            client.refused(command, "forbidden");
        }
    }
    let mut admin = root.device("/");
    admin.refused(json!({"type": "kick", "user": "nobody"}), "no_such_user");
    admin.refused(json!({"type": "kick"}), "bad_request");
    admin.refused(json!({"type": "ban", "user": " "}), "bad_name");
    admin.refused(json!({"type": "ban", "user": "nobody", "address": true}), "no_such_user");
    for kind in ["kick", "ban"] {
        admin.refused(json!({"type": kind, "user": "victim", "reason": "x".repeat(124)}), "too_long");
    }
    admin.refused(json!({"type": "unban", "user": "victim"}), "no_such_user");
    assert!(bans(&root).is_empty());
    victim.close();
}

#[test]
fn a_kick_closes_all_connections_with_its_reason_and_keeps_nobody_out() {
    let server = Server::start(&[]);
    let root = admin(&server);
    let alice = server.rest().with(&server.rest().register("alice"));
    let (mut boss, mut bob, mut guest) = (root.device("/"), server.client("bob"), server.client("guest"));
    let (mut phone, mut laptop) = (alice.device("/?room=room"), alice.device("/?room=room"));
    let mut stream = alice.listen("room", "", "");
    bob.join("room");
    guest.join("room");
    bob.drain();
    let session = phone.session().to_owned();
    let reason = "é".repeat(61);
    boss.ask(json!({"type": "kick", "user": "ALICE", "reason": reason}));
    for device in [&mut phone, &mut laptop] {
        assert_eq!((device.expect_close(), &device.reason), (4501, &reason));
    }
    assert!(stream.ended());
    assert_eq!(bob.skip_to("status")["status"], "offline", "at once, there is no grace period");
    assert_eq!(bob.skip_until(|event| event["data"]["kind"] == "leave")["data"]["subject"], "alice");
    boss.ask(json!({"type": "kick", "user": "guest"}));
    assert_eq!(guest.expect_close(), 4501);
    assert!(!guest.reason.is_empty());
    boss.refused(json!({"type": "kick", "user": "guest"}), "no_such_user");
    // Nothing keeps them from coming back, but their sessions are over.
    bob.refused(json!({"type": "hello", "session": session}), "bad_session");
    assert_eq!(alice.device("/?room=room").user(), "alice");
    server.client("guest").join("room");
    // One may show oneself out, and is answered before.
    boss.send(json!({"type": "kick", "user": "root", "id": "k"}));
    assert_eq!(boss.skip_until(|event| event["id"] == "k")["type"], "ack");
    assert_eq!(boss.expect_close(), 4501);
}

#[test]
fn a_ban_keeps_a_guests_name_out_in_every_spelling_until_it_is_lifted() {
    let server = Server::start(&[]);
    let root = admin(&server);
    let (mut boss, mut eve, mut other) = (root.device("/"), server.client("eve"), server.client("other"));
    boss.ask(json!({"type": "ban", "user": "Eve", "reason": "Spam"}));
    assert_eq!((eve.expect_close(), eve.reason.as_str()), (4501, "Spam"));
    for name in ["eve", "EVE", "ｅve"] {
        let path = format!("/?user={}", encoded(name));
        assert_eq!(shown_the_door(Client::open(server.address, &path)).0, 4501, "{name}");
        other.refused(json!({"type": "hello", "user": name}), "banned");
        server.rest().post("/api/accounts", json!({"user": name, "password": PASSWORD})).expect_problem(403, "banned");
    }
    // The name is out, not whoever had it.
    assert_eq!(other.user(), "other");
    let list = bans(&root);
    let row = json!({"what": "eve", "until": null, "reason": "Spam", "by": "root"});
    assert_eq!(list, [("eve".to_owned(), row)]);
    assert_eq!(server.operator().get("/api/bans").expect(200), root.get("/api/bans").expect(200));
    // Somebody who is not here can be banned too; banning again replaces the ban.
    boss.ask(json!({"type": "ban", "user": "mallory", "durationMs": 3_600_000}));
    boss.ask(json!({"type": "ban", "user": "eve", "reason": "More spam"}));
    let list = bans(&root);
    assert_eq!(list.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(), ["eve", "mallory"]);
    assert_eq!(list[0].1["reason"], "More spam");
    assert!(list[1].1["until"].as_u64().is_some_and(|until| until > 1_700_000_000_000), "{list:?}");

    boss.ask(json!({"type": "unban", "user": "EVE"}));
    server.client("eve");
    boss.refused(json!({"type": "unban", "user": "eve"}), "no_such_user");
    root.delete("/api/bans/Mallory").expect(204);
    root.delete("/api/bans/mallory").expect(404);
    server.client("mallory");
    assert!(bans(&root).is_empty());
}

#[test]
fn a_ban_survives_restarts_and_crashes() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let token = server.operator().register_admin("root");
    server.rest().with(&token).device("/").ask(json!({"type": "ban", "user": "eve"}));
    server.kill();
    let server = Server::on(&data, &[]);
    assert_eq!(shown_the_door(Client::open(server.address, "/?user=eve")).0, 4501);
    server.stop();
    let server = Server::on(&data, &[]);
    assert_eq!(shown_the_door(Client::open(server.address, "/?user=eve")).0, 4501);
    let root = server.rest().with(&token);
    root.device("/").ask(json!({"type": "unban", "user": "eve"}));
    server.kill();
    let server = Server::on(&data, &[]);
    server.client("eve");
}

#[test]
fn a_ban_may_be_for_a_time() {
    let server = Server::start(&[]);
    let root = admin(&server);
    let mut boss = root.device("/");
    boss.ask(json!({"type": "ban", "user": "eve", "durationMs": 700}));
    let started = std::time::Instant::now();
    assert_eq!(shown_the_door(Client::open(server.address, "/?user=eve")).0, 4501);
    eventually("the ban is over", || {
        let mut eve = Client::open(server.address, "/?user=eve");
        eve.read().ok().filter(|event| event["type"] == "connected")
    });
    assert!(started.elapsed().as_millis() >= 650, "it is over after {:?}", started.elapsed());
    assert!(bans(&root).is_empty(), "and not in the list");
    boss.refused(json!({"type": "ban", "user": "eve", "durationMs": -1}), "bad_request");
    boss.refused(json!({"type": "ban", "user": "eve", "durationMs": "1h"}), "bad_request");
}

#[test]
fn a_banned_account_can_neither_log_in_nor_speak() {
    let server = Server::start(&[]);
    let root = admin(&server);
    let rest = server.rest();
    let alice = rest.with(&rest.register("alice"));
    let (mut boss, mut device) = (root.device("/"), alice.device("/?room=room"));
    let mut stream = alice.listen("room", "", "");
    alice.say("room", "before");
    boss.ask(json!({"type": "ban", "user": "alice", "reason": "Enough"}));
    assert_eq!((device.expect_close(), device.reason.as_str()), (4501, "Enough"));
    assert!(stream.ended());
    let login = json!({"user": "alice", "password": PASSWORD});
    rest.post("/api/sessions", login.clone()).expect_problem(403, "banned");
    alice.post("/api/rooms/room/messages", json!({"content": "x"})).expect_problem(403, "banned");
    let mut guest = server.client("guest");
    guest.refused(json!({"type": "hello", "token": token_of(&alice)}), "banned");
    assert_eq!(shown_the_door(open_device(&alice)).0, 4501);
    // Who only guesses is not told that there is a ban.
    rest.post("/api/sessions", json!({"user": "alice", "password": "not the password"}))
        .expect_problem(401, "bad_login");
    boss.ask(json!({"type": "unban", "user": "alice"}));
    rest.post("/api/sessions", login).expect(200);
    assert_eq!(alice.say("room", "after")["sequence"], 2, "the token is as good as before");
}

fn token_of(rest: &Rest) -> String {
    let text = String::from_utf8(rest.encode("GET", "/", "", None)).expect("a head is ASCII");
    text.lines().find_map(|line| line.strip_prefix("Authorization: Bearer ")).expect("a token").to_owned()
}

/// A logged-in connection, of which nothing is read yet.
fn open_device(rest: &Rest) -> Client {
    let stream = std::net::TcpStream::connect(rest.address).expect("the server listens");
    Client::with_token(stream, rest.address, "/", Some(&token_of(rest)))
}

#[test]
fn a_ban_with_the_address_keeps_out_whoever_comes_from_there() {
    let server = Server::start(&[]);
    let root = admin(&server);
    let mut boss = root.device("/");
    let from = |last: u8, path: &str| Client::over(connect_from(loopback(last), server.address), server.address, path);
    let (mut eve, mut neighbour, mut bob) = (from(2, "/?user=eve"), from(2, "/?user=neighbour"), from(3, "/?user=bob"));
    for client in [&mut eve, &mut neighbour, &mut bob] {
        client.hello = client.expect("connected");
    }
    let mut stream = server.rest().from(2).listen("room", "", "");
    boss.ask(json!({"type": "ban", "user": "eve", "address": true}));
    assert_eq!(eve.expect_close(), 4501);
    assert_eq!(neighbour.expect_close(), 4501);
    assert!(stream.ended());
    assert_eq!(shown_the_door(from(2, "/?user=somebody")).0, 4501);
    server.rest().from(2).get("/api/rooms").expect_problem(403, "banned");
    server.rest().from(2).post("/api/sessions", json!({"user": "root", "password": PASSWORD})).expect(403);
    bob.join("room");
    bob.say("room", "others are not concerned");
    let names: Vec<String> = bans(&root).into_iter().map(|(what, _)| what).collect();
    assert_eq!(names, ["eve", "127.0.0.2"]);
    // Each of the two is lifted by itself.
    boss.ask(json!({"type": "unban", "user": "eve"}));
    server.client("eve").close();
    assert_eq!(shown_the_door(from(2, "/?user=eve")).0, 4501);
    root.delete("/api/bans/127.0.0.2").expect(204);
    assert!(kinds(&[from(2, "/?user=eve").next()]).contains(&"connected"));
    boss.ask(json!({"type": "ban", "user": "bob", "address": true}));
    assert_eq!(bob.expect_close(), 4501);
    boss.ask(json!({"type": "unban", "user": "127.0.0.3"}));
    assert!(kinds(&[from(3, "/?user=robert").next()]).contains(&"connected"));
}
