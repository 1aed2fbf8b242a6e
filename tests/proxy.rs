//! Behind a proxy: whose word about where requests come from is taken, and what follows for all that is counted by address.

mod common;

use common::raw::{Raw, request, upgrade_head};
use common::rest::{PASSWORD, events, eventually, messages};
use common::{Rest, Server};
use serde_json::{Value, json};

/// As tests connect, from 127.0.0.1.
const TRUSTED: &[&str] = &["--trust-proxy", "127.0.0.1"];

fn start(flags: &[&str]) -> Server {
    Server::start(&[TRUSTED, flags].concat())
}

/// The status of a failed login. The name is another each time, so that only the address is counted.
fn log_in(rest: &Rest, name: &str) -> u16 {
    rest.post("/api/sessions", json!({"user": name, "password": PASSWORD})).status
}

/// Whether an address is kept from logging in, told by what does not cost a password.
fn attempts_are_used_up(rest: &Rest) -> bool {
    (0..25).any(|n| log_in(rest, &format!("nobody{n}")) == 429)
}

/// An upgrade with these header lines: the connection, and the status of its answer.
fn upgrade(server: &Server, headers: &str) -> (Raw, u16) {
    let mut raw = Raw::connect(server.address);
    raw.send(format!("{}{headers}\r\n", upgrade_head("/")).as_bytes());
    let status = raw.response(true).status;
    (raw, status)
}

#[test]
fn clients_of_a_trusted_proxy_have_a_bound_each_and_the_proxy_has_none() {
    let server = start(&["--connections-per-address", "2"]);
    let from = |list: &str| upgrade(&server, &format!("X-Forwarded-For: {list}\r\n"));
    let mut kept = Vec::new();
    for (list, expected) in [
        ("192.0.2.1", 101),
        // What the client says itself stands further left, and is not looked at.
        ("6.6.6.6, 192.0.2.1", 101),
        ("192.0.2.1", 503),
        ("6.6.6.7, ::ffff:192.0.2.1", 503),
        ("6.6.6.7, 192.0.2.1:1234", 503),
        ("192.0.2.2", 101),
        ("2001:db8::1", 101),
        ("[2001:db8::2]:80", 101),
        ("2001:db8::3", 503),
        // Who is not told of is the proxy.
        ("unknown", 101),
        ("127.0.0.1", 101),
        ("", 101),
    ] {
        let (raw, status) = from(list);
        assert_eq!(status, expected, "{list}");
        kept.push((raw, list));
    }
    kept.extend((0..5).map(|_| (Raw::websocket(server.address, "/"), "the proxy itself")));
    // An event stream, a page and a call take a place each, too.
    for path in [events("room"), "/".to_owned(), "/api/rooms".to_owned()] {
        let refused = server.rest().forwarded_for("192.0.2.1").get(&path);
        assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("5")), "{path}");
        assert_eq!(server.rest().forwarded_for("192.0.2.3").request("HEAD", "/", "", None).status, 200);
    }
    kept.retain(|(_, list)| *list != "192.0.2.1");
    eventually("there is a place again", || Some(from("192.0.2.1")).filter(|(_, status)| *status == 101));
}

#[test]
fn event_streams_of_a_client_count_as_its_connections() {
    let server = start(&["--connections-per-address", "2"]);
    let [here, elsewhere] = ["192.0.2.1", "192.0.2.2"].map(|address| server.rest().forwarded_for(address));
    let mut streams = [here.listen("room", "", ""), here.listen("room", "", "")];
    assert_eq!(here.get(&events("room")).status, 503);
    assert_eq!(upgrade(&server, "X-Forwarded-For: 192.0.2.1\r\n").1, 503);
    let mut other = elsewhere.listen("room", "", "");
    let mut alice = server.client("alice");
    alice.join("room");
    alice.say("room", "x");
    for stream in streams.iter_mut().chain([&mut other]) {
        assert_eq!(stream.message()["content"], "x");
    }
}

#[test]
fn a_header_of_somebody_who_is_not_trusted_means_nothing() {
    // Nobody is trusted here, and there only another.
    for flags in [&[][..], &["--trust-proxy", "127.0.0.2", "--trust-proxy", "10.0.0.0/8,::1"]] {
        let server = Server::start(&[flags, &["--connections-per-address", "2"]].concat());
        let kept: Vec<Raw> =
            (1..=2).map(|n| upgrade(&server, &format!("X-Forwarded-For: 192.0.2.{n}\r\n")).0).collect();
        let mut refused = Raw::connect(server.address);
        refused.send(format!("{}X-Forwarded-For: 192.0.2.3\r\n\r\n", upgrade_head("/")).as_bytes());
        assert_eq!(refused.response(true).status, 503, "{flags:?}");
        drop(kept);
        let forwarded = |n: u8| server.rest().from(3).forwarded_for(&format!("192.0.2.{n}"));
        assert!((0..25).any(|n| log_in(&forwarded(n), &format!("nobody{n}")) == 429), "one address has tried them all");
        assert_eq!(log_in(&server.rest().from(4), "nobody"), 401, "and no other is held back");
    }
}

#[test]
fn a_chain_is_walked_as_long_as_it_is_trusted() {
    let server = start(&["--trust-proxy", "10.0.0.0/8", "--connections-per-address", "1"]);
    let from = |headers: &str| upgrade(&server, headers);
    let _kept = from("X-Forwarded-For: 192.0.2.1\r\n");
    for same in [
        "X-Forwarded-For: 192.0.2.1, 10.1.2.3\r\n",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.2.3, 10.3.2.1\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 10.1.2.3\r\n",
    ] {
        assert_eq!(from(same).1, 503, "{same}");
    }
    for other in [
        "X-Forwarded-For: 192.0.2.1, 192.0.2.9\r\n",
        "X-Forwarded-For: 192.0.2.1, garbage, 10.1.2.3\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.8\r\n",
        "X-Real-IP: 192.0.2.1\r\n",
        "Forwarded: for=192.0.2.1\r\n",
    ] {
        assert_eq!(from(other).1, 101, "{other}");
    }
    // As many as a head has room for.
    let long = format!("X-Forwarded-For: 192.0.2.1{}\r\n", ",10.0.0.1".repeat(800));
    assert_eq!(from(&long).1, 503);
    let longer = format!("X-Forwarded-For: 192.0.2.1{}\r\n", ",10.0.0.1".repeat(1_000));
    assert_eq!(from(&longer).1, 431);
}

#[test]
fn attempts_and_rates_are_the_clients_own_also_on_a_connection_that_is_shared() {
    let server = start(&["--address-rate", "10"]);
    let [eve, bob] = ["192.0.2.66", "192.0.2.2"].map(|address| server.rest().forwarded_for(address));
    assert!(attempts_are_used_up(&eve));
    assert_eq!(log_in(&bob, "nobody"), 401, "others are not held back");
    assert_eq!(log_in(&eve.forwarded_for("6.6.6.6, 192.0.2.66"), "nobody"), 429);
    // A proxy keeps its connections, and sends whatever comes over them.
    let [ann, zoe] = ["192.0.2.3", "192.0.2.4"].map(|address| server.rest().forwarded_for(address));
    let mut shared = server.rest().raw();
    let mut ask = |from: &Rest| {
        shared.send(&from.encode("GET", &messages("room"), "", None));
        shared.response(false).status
    };
    eventually("it is too much", || (ask(&ann) == 429).then_some(()));
    assert_eq!(ask(&zoe), 200);
    assert_eq!(ask(&eve), 200, "what failed is another count");
}

#[test]
fn messages_of_clients_at_one_address_share_its_rate() {
    let server = start(&["--address-rate", "2"]);
    let device = |address: &str| server.rest().forwarded_for(address).device("/?room=room");
    let (mut ann, mut bob, mut zoe) = (device("192.0.2.1"), device("192.0.2.1"), device("192.0.2.2"));
    for n in 0..6 {
        for client in [&mut ann, &mut bob] {
            client.send(json!({"type": "message", "room": "room", "content": "x", "id": n}));
        }
    }
    let mut refused = 0;
    for client in [&mut ann, &mut bob] {
        let answers: Vec<Value> = (0..6).map(|_| client.skip_until(|event| event.get("id").is_some())).collect();
        refused += answers.iter().filter(|answer| answer["data"]["code"] == "rate_limited").count();
    }
    assert!(refused >= 4, "four at once, and then two a second: {refused}");
    zoe.say("room", "others are not held back");
}

#[test]
fn a_ban_of_an_address_is_one_of_the_client() {
    let server = start(&[]);
    let root = server.rest().with(&server.operator().register_admin("root"));
    let [evil, good] = ["192.0.2.66", "192.0.2.2"].map(|address| server.rest().forwarded_for(address));
    let (mut eve, mut bob) = (evil.device("/?user=eve"), good.device("/?user=bob&room=room"));
    let mut stream = evil.listen("room", "", "");
    root.device("/").ask(json!({"type": "ban", "user": "eve", "address": true}));
    assert_eq!(eve.events_until_close().1, 4501);
    assert!(stream.ended());
    let bans = root.get("/api/bans").expect(200);
    assert!(bans.to_string().contains("\"192.0.2.66\"") && !bans.to_string().contains("127.0.0.1"), "{bans}");
    evil.get("/api/rooms").expect_problem(403, "banned");
    bob.say("room", "others are not held back");
    good.get("/api/rooms").expect(200);
    root.get("/api/rooms").expect(200);
}

#[test]
fn a_page_behind_a_proxy_with_tls_is_of_its_own_origin() {
    let server = start(&[]);
    let ask = |host: &str, origin: &str| {
        let mut raw = Raw::connect(server.address);
        let head = upgrade_head("/").replace("Host: localhost", &format!("Host: {host}"));
        raw.send(
            format!("{head}Origin: {origin}\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n")
                .as_bytes(),
        );
        raw.response(true).status
    };
    assert_eq!(ask("chat.example", "https://chat.example"), 101);
    assert_eq!(ask("chat.example:8443", "https://chat.example:8443"), 101);
    assert_eq!(ask("chat.example", "https://evil.example"), 403);
    assert_eq!(ask("127.0.0.1:8080", "https://chat.example"), 403, "a proxy has to pass on the host");
    // That header is not asked: it would let pages of other origins in.
    let headers = "Origin: https://evil.example\r\nX-Forwarded-Host: evil.example\r\n";
    assert_eq!(upgrade(&server, headers).1, 403);
    let call = "Origin: https://localhost\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(request(server.address, "GET", "/api/rooms", call).status, 200);
}
