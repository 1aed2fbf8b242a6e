//! Everything at once: clients that join, leave, talk, log in, rename, resume, edit, delete, are kicked, break off and send
//! nonsense, by chance and from a seed. The server's own invariants are checked in debug builds; here it is what each client sees.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use common::client::{End, messages_of, sequences};
use common::{Client, Data, Server};
use serde_json::{Value, json};

const ROOMS: [&str; 4] = ["general", "a", "b", "../c"];
const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
/// The first is an administrator.
const ACCOUNTS: [&str; 3] = ["mod", "grace", "heidi"];

/// xorshift64*: enough chance for a test, and the same again from the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// What one client has been shown of each room since it last joined it: the last number.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    /// Within a subscription numbers ascend by one. A history frame that answers a command is another matter, so none
    /// is asked for here; a frame of a replay may begin anywhere only after a join.
    fn look_at(&mut self, event: &Value) {
        if event["type"] == "presence" {
            return;
        }
        if event["type"] == "ack" && event["data"].get("epoch").is_some() {
            self.0.remove(event["data"]["room"].as_str().expect("a name"));
        }
        for message in messages_of(std::slice::from_ref(event)) {
            let (room, sequence) =
                (message["room"].as_str().expect("a name"), message["sequence"].as_u64().expect("one"));
            if let Some(last) = self.0.insert(room.to_owned(), sequence) {
                assert_eq!(sequence, last + 1, "{room}: {event}");
            }
        }
    }
}

fn command(chance: &mut Chance, step: u64, session: &str, tokens: &[String]) -> Value {
    let room = chance.of(&ROOMS);
    match chance.below(32) {
        0..=4 => match chance.below(3) {
            0 => json!({"type": "join", "room": room, "id": step}),
            1 => json!({"type": "join", "room": room, "id": step, "since": chance.below(30)}),
            _ => json!({"type": "join", "room": room, "id": step, "username": chance.of(&NAMES)}),
        },
        5..=6 => json!({"type": "leave", "room": room, "id": step}),
        7..=14 => {
            let nonce = (chance.below(3) == 0).then(|| chance.below(50).to_string());
            json!({"type": "message", "room": room, "content": "x".repeat(1 + chance.below(200) as usize), "nonce": nonce})
        }
        15 => json!({"type": "hello", "user": chance.of(&NAMES), "id": step}),
        16 => json!({"type": "hello", "session": session}),
        17 => json!({"type": "status", "status": chance.of(&["away", "online", "nonsense"])}),
        18 => json!({"type": "typing", "room": room, "isTyping": true}),
        19 => json!({"type": "private", "to": chance.of(&NAMES), "content": "psst"}),
        20 => json!({"type": "presence", "room": room}),
        21 => json!({"type": chance.of(&["ping", "heartbeat", "dance", "typing.stop"])}),
        22 => json!([1, 2, 3]),
        23..=24 => json!({"type": "hello", "token": tokens[chance.below(tokens.len() as u64) as usize]}),
        25..=26 => json!({"type": "private", "to": chance.of(&ACCOUNTS), "content": "psst", "nonce": step.to_string()}),
        27..=28 => json!({"type": "edit", "room": room, "sequence": chance.below(40), "content": "better", "id": step}),
        29 => json!({"type": "delete", "room": room, "sequence": chance.below(40), "id": step}),
        30 => json!({"type": "kick", "user": chance.of(&NAMES)}),
        _ => json!({"type": "join", "room": "", "since": -1}),
    }
}

/// Connections one after the other, each with some commands, each ended in one of the ways there are.
fn misbehave(address: std::net::SocketAddr, seed: u64, connections: u32, tokens: &[String]) {
    let mut chance = Chance(seed);
    let mut session = String::new();
    for _ in 0..connections {
        let path = match chance.below(4) {
            0 => "/".to_owned(),
            1 => format!("/?user={}&room=general&since={}", chance.of(&NAMES), chance.below(20)),
            2 => format!("/?session={session}&room=a&room=b"),
            _ => format!("/?user={}&room=a&room=b", chance.of(&NAMES)),
        };
        let mut client = Client::open(address, &path);
        match client.read() {
            Ok(connected) => session = connected["data"]["session"].as_str().expect("a secret").to_owned(),
            Err(End::Closed(1008 | 4501)) => continue, // the name is taken, or its user was kicked
            Err(other) => panic!("{other:?}"),
        }
        let mut seen = Seen::default();
        for step in 0..chance.below(60) {
            let batch = 1 + chance.below(4);
            let open = (0..batch).all(|_| client.try_send(&command(&mut chance, step, &session, tokens)));
            let mark = json!(step);
            if !open || !client.try_send(&json!({"type": "ping", "timestamp": mark})) {
                break;
            }
            // Its session may have been taken over by nobody but itself, so it is open until it ends it.
            let end = loop {
                match client.read() {
                    Ok(event) if event["type"] == "pong" && event["data"]["timestamp"] == mark => break None,
                    Ok(event) => seen.look_at(&event),
                    Err(end) => break Some(end),
                }
            };
            match end {
                None => {}
                Some(End::Closed(4501)) => break, // kicked
                Some(end) => panic!("seed {seed}: {end:?}"),
            }
        }
        match chance.below(3) {
            0 => client.close(),
            1 => client.reset(),
            _ => drop(client),
        }
    }
}

#[test]
fn chance_finds_no_way_to_break_it() {
    let seed: u64 = std::env::var("ROOMLOG_SEED").map_or(0x9e37_79b9_7f4a_7c15, |text| text.parse().expect("a number"));
    let connections = std::env::var("ROOMLOG_TORTURE").map_or(25, |text| text.parse().expect("a number"));
    eprintln!("ROOMLOG_SEED={seed}");
    let data = Data::fresh();
    let mut server = Server::on(&data, &["--rate", "0", "--grace", "30ms"]);
    let address = server.address;
    let admin = server.operator().register_admin(ACCOUNTS[0]);
    let tokens: Vec<String> = ACCOUNTS[1..].iter().map(|user| server.rest().register(user)).collect();
    let tokens: Arc<[String]> = tokens.into_iter().chain([admin]).collect();
    let misbehave_by = |n: u64| {
        let (tokens, seed) = (Arc::clone(&tokens), seed.wrapping_mul(n * 2 + 1));
        thread::spawn(move || misbehave(address, seed, connections, &tokens))
    };
    let threads: Vec<_> = (1..=6).map(misbehave_by).collect();
    let outcomes: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    assert!(outcomes.iter().all(Result::is_ok));

    let mut logs = Vec::new();
    for _ in 0..2 {
        let mut reader = Client::connect(server.address, "/?user=reader");
        for room in ROOMS {
            let head =
                reader.ask(json!({"type": "join", "room": room, "since": 0}))["head"].as_u64().expect("a number");
            let mut messages = Vec::new();
            // What its authors did not wait for may still come live, in the rooms before as well.
            while (messages.len() as u64) < head {
                let read = messages_of(&[reader.next()]);
                messages.extend(read.into_iter().filter(|message| message["room"] == room));
            }
            assert_eq!(sequences(&messages), (1..=messages.len() as u64).collect::<Vec<u64>>(), "{room}");
            logs.push(messages);
        }
        drop(reader);
        server.stop();
        server = Server::on(&data, &[]);
    }
    for (before, after) in logs[..ROOMS.len()].iter().zip(&logs[ROOMS.len()..]) {
        // A change that nobody waited for may have come behind the first reading of what it changes.
        let ids = |messages: &[Value]| messages.iter().map(|message| message["id"].clone()).collect::<Vec<_>>();
        assert!(ids(after).starts_with(&ids(before)), "and the disk has the same");
    }
    assert!(logs.iter().map(Vec::len).sum::<usize>() > 100, "a weak test");
}
