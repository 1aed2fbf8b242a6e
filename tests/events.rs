//! Event streams: one more cursor over the log, as browsers' `EventSource` and `curl -N` read it.

mod common;

use std::time::{Duration, Instant};

use common::client::sequences;
use common::raw::Raw;
use common::rest::{Event, Events, events, eventually};
use common::{Data, Rest, Server};
use serde_json::{Value, json};

const NO_RATE: &[&str] = &["--rate", "0"];

fn alice(server: &Server) -> Rest {
    server.rest().with(&server.rest().register("alice"))
}

/// The epoch of a room in which something was said.
fn epoch(rest: &Rest, room: &str) -> String {
    rest.history(room)["epoch"].as_str().expect("it has settled on one").to_owned()
}

#[test]
fn a_stream_begins_with_what_is_said_next() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    alice.say("room", "before");
    let mut stream = server.rest().listen("room", "", "");
    assert_eq!(stream.head.header("Cache-Control"), Some("no-store"));
    assert_eq!(stream.head.header("Content-Length"), None);
    let mut device = alice.device("/?room=room");
    let stored = alice.say("room", "tabs\t, \"quotes\", line\nbreaks\r\n, \u{2028} and \u{1f980}");
    let event = stream.next();
    let id = format!("{}:2", epoch(&alice, "room"));
    assert_eq!(event, Event { kind: "message".into(), id, data: stored }, "on one line, with its position");
    // Of what is not stored there is nothing in it.
    device.ask(json!({"type": "typing.start", "room": "room"}));
    device.ask(json!({"type": "status", "status": "away"}));
    device.ask(json!({"type": "edit", "room": "room", "sequence": 1, "content": "edited"}));
    let change = stream.message();
    assert_eq!((&change["kind"], &change["target"], &change["sequence"]), (&json!("edit"), &json!(1), &json!(3)));
    device.ask(json!({"type": "presence", "room": "room"}));
    assert_eq!(device.skip_to("presence")["count"], 1, "who reads it is not a member");
    let mut other = server.rest().listen("an empty room", "", "");
    alice.say("an empty room", "the first");
    assert_eq!(other.message()["sequence"], 1);
}

#[test]
fn a_stream_begins_after_a_position() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    for n in 1..=5 {
        alice.say("room", &format!("message {n}"));
    }
    let epoch = epoch(&alice, "room");
    for (query, headers, expected) in [
        ("?since=0".to_owned(), String::new(), vec![1, 2, 3, 4, 5]),
        ("?since=3".to_owned(), String::new(), vec![4, 5]),
        (format!("?since=3&epoch={epoch}"), String::new(), vec![4, 5]),
        (String::new(), format!("Last-Event-ID: {epoch}:4\r\n"), vec![5]),
        // What the browser sends when it comes back goes before what the page's URL says.
        ("?since=0".to_owned(), format!("Last-Event-ID: {epoch}:2\r\n"), vec![3, 4, 5]),
        ("?since=2".to_owned(), "Last-Event-ID: \r\n".to_owned(), vec![3, 4, 5]),
    ] {
        let mut stream = server.rest().listen("room", &query, &headers);
        assert_eq!(sequences(&stream.read_through(5)), expected, "{query} {headers}");
    }
    let mut stream = server.rest().listen("room", &format!("?since=5&epoch={epoch}"), "");
    alice.say("room", "the next");
    assert_eq!(stream.message()["sequence"], 6);
    for id in ["x", "5", ":", "a:b", &format!("{epoch}:"), &format!("{epoch}:-1")] {
        let answer = server.rest().request("GET", &events("room"), &format!("Last-Event-ID: {id}\r\n"), None);
        answer.expect_problem(400, "bad_request");
    }
    server.rest().get(&events(&"x".repeat(65))).expect_problem(422, "bad_room");
}

#[test]
fn a_position_that_cannot_be_honoured_is_told_by_a_reset() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    for n in 1..=3 {
        alice.say("room", &format!("message {n}"));
    }
    let epoch = epoch(&alice, "room");
    let unknown = "0123456789abcdef";
    for (query, headers, why) in [
        (String::new(), format!("Last-Event-ID: {unknown}:2\r\n"), "epoch_changed"),
        (format!("?since=2&epoch={unknown}"), String::new(), "epoch_changed"),
        ("?since=99".to_owned(), String::new(), "ahead"),
        (String::new(), "Last-Event-ID: nonsense:2\r\n".to_owned(), "epoch_changed"),
    ] {
        let mut stream = server.rest().listen("room", &query, &headers);
        let first = stream.next();
        assert_eq!((first.kind.as_str(), first.id.as_str()), ("reset", ""), "{query} {headers}");
        assert_eq!((&first.data["reset"], &first.data["epoch"]), (&json!(why), &json!(epoch)), "{query} {headers}");
        assert_eq!(first.data["next"], 1, "from the start: {}", first.data);
        assert_eq!(sequences(&stream.read_through(3)), [1, 2, 3]);
    }
}

#[test]
fn what_has_expired_is_told_by_a_reset() {
    let server = Server::start(&["--rate", "0", "--retain-messages", "80"]);
    let alice = alice(&server);
    let mut device = alice.device("/?room=room");
    for n in 1..=200 {
        device.say("room", &format!("message {n}"));
    }
    let (epoch, floor) = (epoch(&alice, "room"), alice.history("room")["floor"].as_u64().expect("a number"));
    assert!(floor > 50, "{floor}");
    let mut stream = server.rest().listen("room", "", &format!("Last-Event-ID: {epoch}:50\r\n"));
    let first = stream.next();
    assert_eq!((first.kind.as_str(), &first.data["reset"]), ("reset", &json!("expired")));
    assert_eq!((&first.data["next"], &first.data["epoch"]), (&json!(floor), &json!(epoch)));
    assert_eq!(sequences(&stream.read_through(200)), (floor..=200).collect::<Vec<u64>>());
    let mut stream = server.rest().listen("room", &format!("?epoch={epoch}&since={}", floor - 1), "");
    assert_eq!(stream.message()["sequence"], floor, "just above it nothing is missing");
}

#[test]
fn a_dropped_stream_is_taken_up_again_exactly_where_it_was() {
    let data = Data::fresh();
    let server = Server::on(&data, NO_RATE);
    let alice = alice(&server);
    let mut stream = server.rest().listen("room", "", "");
    let mut seen = Vec::new();
    let mut last = String::new();
    let mut read = |stream: &mut Events, count: usize| {
        for _ in 0..count {
            let event = stream.next();
            last = event.id.clone();
            seen.push(event.data);
        }
        format!("Last-Event-ID: {last}\r\n")
    };
    for n in 1..=10 {
        alice.say("room", &format!("message {n}"));
    }
    let position = read(&mut stream, 4);
    drop(stream);
    let mut stream = server.rest().listen("room", "", &position);
    let position = read(&mut stream, 3);
    server.kill();
    assert!(stream.ended());
    let server = Server::on(&data, NO_RATE);
    let mut stream = server.rest().listen("room", "", &position);
    let position = read(&mut stream, 3);
    let alice = alice.at(server.address);
    alice.say("room", "message 11");
    // What was acknowledged is there for who comes back, whether or not it was read before the end.
    let ending = std::thread::spawn(move || stream.ended());
    server.stop();
    assert!(ending.join().expect("it ends"));
    let server = Server::on(&data, NO_RATE);
    let mut stream = server.rest().listen("room", "", &position);
    alice.at(server.address).say("room", "message 12");
    read(&mut stream, 2);
    assert_eq!(sequences(&seen), (1..=12).collect::<Vec<u64>>(), "each once, in order");
}

#[test]
fn many_read_one_room_and_each_its_own() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    let mut readers: Vec<Events> = (0..20).map(|_| server.rest().listen("room", "?since=0", "")).collect();
    let mut elsewhere = server.rest().listen("elsewhere", "", "");
    let mut device = alice.device("/?room=room");
    for n in 1..=50 {
        device.send(json!({"type": "message", "room": "room", "content": format!("message {n}")}));
        if n == 25 {
            readers.extend((0..5).map(|_| server.rest().listen("room", "?since=0", "")));
        }
    }
    let first = readers[0].read_through(50);
    assert_eq!(sequences(&first), (1..=50).collect::<Vec<u64>>());
    for reader in &mut readers[1..] {
        assert_eq!(reader.read_through(50), first);
    }
    alice.say("elsewhere", "only here");
    assert_eq!(elsewhere.message()["content"], "only here");
}

#[test]
fn ten_thousand_messages_pass_without_a_gap_while_they_are_said() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    let mut stream = server.rest().listen("room", "", "");
    let mut writer = alice.device("/?room=room");
    let reader = std::thread::spawn(move || sequences(&stream.read_through(10_000)));
    for n in 1..=10_000 {
        writer.send(json!({"type": "message", "room": "room", "content": format!("message {n}")}));
        if n % 500 == 0 {
            writer.read_through(n);
        }
    }
    assert_eq!(reader.join().expect("it reads on"), (1..=10_000).collect::<Vec<u64>>());
}

#[test]
fn a_slow_reader_lags_and_catches_up_and_holds_nobody_up() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    let mut slow = server.rest().listen("room", "", "");
    let mut writer = alice.device("/?room=room");
    let filler = "x".repeat(4_000);
    // More than sockets hold between the two, read by one of them only.
    let last = 4_000;
    let before = server.resident_bytes();
    for n in 1..=last {
        writer.send(json!({"type": "message", "room": "room", "content": format!("{n} {filler}")}));
        if n % 100 == 0 {
            writer.read_through(n);
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{last} messages of 4 KB wait in the log, and not in memory: {grown} bytes more");
    assert_eq!(sequences(&slow.read_through(last)), (1..=last).collect::<Vec<u64>>());
    alice.say("room", "and live again");
    assert_eq!(slow.message()["content"], "and live again");
}

#[test]
fn a_comment_every_heartbeat_shows_that_it_lives() {
    let server = Server::start(&["--heartbeat", "50ms", "--offline-timeout", "300ms"]);
    let alice = alice(&server);
    let mut stream = server.rest().listen("room", "", "");
    let started = Instant::now();
    while stream.comments < 10 {
        assert_eq!(stream.read(), Some(None), "nothing but comments");
    }
    assert!(started.elapsed() >= Duration::from_millis(400), "ten within {:?}", started.elapsed());
    // A reader says nothing, and is not taken for gone.
    alice.say("room", "still listening?");
    assert_eq!(stream.message()["content"], "still listening?");
}

#[test]
fn who_hangs_up_is_forgotten_and_its_room_with_it() {
    let server = Server::start(&["--heartbeat", "50ms"]);
    let stream = server.rest().listen("quiet", "", "");
    let rooms = || server.rest().get("/api/rooms").expect(200);
    let quiet = json!([{"room": "quiet", "members": 0, "head": 0, "epoch": null, "lastTimestamp": null}]);
    assert_eq!(rooms(), quiet, "it is in use as long as somebody listens");
    drop(stream);
    eventually("the room is given up", || (rooms() == json!([])).then_some(()));
    for _ in 0..200 {
        drop(server.rest().listen("quiet", "", ""));
    }
    eventually("the room is given up again", || (rooms() == json!([])).then_some(()));
}

#[test]
fn head_gets_the_head_and_a_stream_ends_its_connection() {
    let server = Server::start(&[]);
    let mut raw = server.rest().raw();
    raw.send(&server.rest().encode("HEAD", &events("room"), "", None));
    let head = raw.response(true);
    assert_eq!((head.status, head.header("Content-Type")), (200, Some("text/event-stream")));
    assert!(head.body.is_empty());
    // No length is known, so it is the connection that ends.
    let stream = server.rest().listen("room", "", "");
    assert_eq!(stream.head.header("Connection"), Some("close"));
    // What is sent behind the request is not answered in the midst of it.
    let mut raw: Raw = server.rest().raw();
    let both =
        [server.rest().encode("GET", &events("room"), "", None), server.rest().encode("GET", "/healthz", "", None)];
    raw.send(&both.concat());
    assert_eq!(raw.response(true).header("Content-Type"), Some("text/event-stream"));
    alice(&server).say("room", "hello");
    let block = raw.until(b"\n\n").expect("an event");
    assert!(block.starts_with(b"id: "), "{:?}", String::from_utf8_lossy(&block));
}

#[test]
fn a_stream_ends_when_the_server_does() {
    let server = Server::start(&[]);
    let streams: Vec<Events> = (0..3).map(|_| server.rest().listen("room", "", "")).collect();
    let started = Instant::now();
    // A reader hangs up when it has read to the end.
    let readers = streams.into_iter().map(|mut stream| std::thread::spawn(move || stream.ended()));
    let readers: Vec<_> = readers.collect();
    server.stop();
    assert!(readers.into_iter().all(|reader| reader.join().expect("it ends")));
    assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
}

#[test]
fn a_stream_shows_what_is_and_not_what_was() {
    let server = Server::start(NO_RATE);
    let alice = alice(&server);
    let mut device = alice.device("/?room=room");
    device.say("room", "one");
    device.say("room", "two");
    device.ask(json!({"type": "edit", "room": "room", "sequence": 1, "content": "one, edited"}));
    device.ask(json!({"type": "delete", "room": "room", "sequence": 2}));
    let seen = server.rest().listen("room", "?since=0", "").read_through(4);
    let texts: Vec<&Value> = seen.iter().map(|message| &message["content"]).collect();
    assert_eq!(texts, ["one, edited", "", "one, edited", ""]);
    assert_eq!((&seen[0]["edited"]["sequence"], &seen[1]["deleted"]["sequence"]), (&json!(3), &json!(4)));
}
