//! Who may be here at all: guests, new accounts, and tokens for as long as they are good.

mod common;

use std::time::{Duration, Instant};

use common::client::{End, kinds};
use common::{Client, Rest, Server};
use serde_json::json;

#[test]
fn where_guests_are_not_allowed_one_logs_in_first() {
    let server = Server::start(&["--guests", "no"]);
    let rest = server.rest();
    let alice = rest.with(&rest.register("alice"));
    for path in ["/?user=bob", "/?room=room", "/?user=bob&room=room"] {
        let mut refused = Client::open(server.address, path);
        assert_eq!(refused.read(), Err(End::Closed(4500)), "{path}");
    }
    for command in [
        json!({"type": "join", "room": "room"}),
        json!({"type": "hello", "user": "bob"}),
        json!({"type": "hello"}),
        json!({"type": "history", "room": "room"}),
        json!({"type": "presence", "room": "room"}),
        json!({"type": "private", "to": "alice", "content": "x"}),
    ] {
        let mut stranger = Client::connect(server.address, "/");
        stranger.send(json!({"type": "ping"}));
        stranger.expect("pong");
        stranger.ask(json!({"type": "heartbeat"}));
        stranger.send(command.clone());
        assert_eq!(stranger.expect_close(), 4500, "{command}");
    }
    let mut device = alice.device("/?room=room");
    device.say("room", "who is logged in may");
    device.refused(json!({"type": "hello", "user": "bob"}), "forbidden");
    let mut stranger = Client::connect(server.address, "/");
    stranger.refused(json!({"type": "hello", "token": "rl_x"}), "bad_token");
    stranger.log_in(&rest.log_in("alice"));
    stranger.join("room");
    for path in ["/api/rooms", "/api/rooms/room/messages", "/api/rooms/room/events"] {
        rest.get(path).expect_problem(401, "bad_token");
    }
    assert_eq!(alice.history("room")["head"], 1);
    assert_eq!(alice.listen("room", "?since=0", "").message()["sequence"], 1);
    let session = device.session().to_owned();
    device.reset();
    let mut device = Client::connect(server.address, "/");
    device.ask(json!({"type": "hello", "session": session}));
    assert_eq!(device.skip_to("connected")["user"], "alice");
}

#[test]
fn a_connection_that_does_not_log_in_within_ten_seconds_is_closed_where_guests_are_not_allowed() {
    let server = Server::start(&["--guests", "no"]);
    let started = Instant::now();
    let mut stranger = Client::connect(server.address, "/");
    let mut member = Client::connect(server.address, "/");
    member.log_in(&server.rest().register("alice"));
    assert_eq!(stranger.expect_close(), 4500);
    let elapsed = started.elapsed().as_secs_f64();
    assert!((9.9..15.0).contains(&elapsed), "{elapsed} s");
    member.drain();
}

#[test]
fn where_registration_is_closed_accounts_come_from_the_operator() {
    let server = Server::start(&["--registration", "closed"]);
    let credentials = json!({"user": "alice", "password": common::rest::PASSWORD});
    server.rest().post("/api/accounts", credentials.clone()).expect_problem(403, "forbidden");
    let root = server.rest().with(&server.operator().register_admin("root"));
    let member = server.rest().with(&root.register("bob"));
    member.post("/api/accounts", credentials).expect_problem(403, "forbidden");
    root.register("alice");
    server.rest().log_in("alice");
    server.client("guest").join("room");
}

#[test]
fn a_token_is_over_when_its_time_is() {
    let server = Server::start(&["--token-age", "2s"]);
    let rest = server.rest();
    let started = Instant::now();
    let alice: Rest = rest.with(&rest.register("alice"));
    let mut bob = server.client("bob");
    bob.join("room");
    let mut device = alice.device("/?room=room");
    let (mut own, mut public) = (alice.listen("room", "", ""), rest.listen("room", "", ""));
    device.say("room", "while it is good");
    bob.drain();
    assert_eq!(device.expect_close(), 4500);
    assert!(started.elapsed() >= Duration::from_millis(1_900), "after {:?}", started.elapsed());
    assert!(own.ended());
    assert!(kinds(&bob.drain()).contains(&"status"), "she is offline at once");
    alice.get("/api/me/rooms").expect_problem(401, "bad_token");
    rest.with(&rest.log_in("alice")).say("room", "with another one");
    assert_eq!(public.read_through(2).len(), 2, "who came without a token reads on");
}
