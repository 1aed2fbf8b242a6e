//! Restarts: everybody is thrown out at once and comes back at once; and again and again amid load. Longer by
//! `ROOMLOG_STORM_CLIENTS` and `ROOMLOG_RESTARTS`.

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use common::client::{End, contents, sequences, stored};
use common::{Client, Data, Server};
use serde_json::json;

const FLAGS: [&str; 6] = ["--rate", "0", "--address-rate", "0", "--connections-per-address", "0"];
const ROOMS: usize = 20;
/// Messages of each room that are said while all are there; a client keeps some of them only.
const SAID: u64 = 20;
const THREADS: usize = 8;

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Where a client is in its room, as it knows it.
struct Position {
    number: usize,
    seen: u64,
    epoch: String,
}

impl Position {
    fn room(&self) -> String {
        format!("room{}", self.number % ROOMS)
    }

    /// Comes (back), says where it was, and is at the end of the history.
    fn join(&mut self, address: SocketAddr) -> Client {
        let mut client = Client::connect(address, &format!("/?user=user{}", self.number));
        let mut command = json!({"type": "join", "room": self.room(), "since": self.seen});
        if !self.epoch.is_empty() {
            command["epoch"] = json!(self.epoch);
        }
        let ack = client.ask(command);
        if !self.epoch.is_empty() {
            assert_eq!(ack["epoch"], self.epoch.as_str(), "a restart ends no epoch");
        }
        ack["epoch"].as_str().expect("an epoch").clone_into(&mut self.epoch);
        client
    }

    /// Reads through this number: without a hole, without a repeat.
    fn read_through(&mut self, client: &mut Client, last: u64) {
        let found = if self.seen == last { Vec::new() } else { sequences(&client.read_through(last)) };
        assert_eq!(found, (self.seen + 1..=last).collect::<Vec<u64>>(), "user{}", self.number);
        self.seen = last;
    }
}

/// Does this for all of them on a few threads, each with its own connection.
fn all<T: Send + 'static>(
    items: Vec<(Position, T)>,
    step: impl Fn(Position, T) -> (Position, Client) + Send + Clone + 'static,
) -> Vec<(Position, Client)> {
    let mut shares: Vec<Vec<(Position, T)>> = (0..THREADS).map(|_| Vec::new()).collect();
    for (n, item) in items.into_iter().enumerate() {
        shares[n % THREADS].push(item);
    }
    let start = |share: Vec<(Position, T)>| {
        let step = step.clone();
        thread::spawn(move || share.into_iter().map(|(position, with)| step(position, with)).collect::<Vec<_>>())
    };
    let threads: Vec<_> = shares.into_iter().map(start).collect();
    threads.into_iter().flat_map(|thread| thread.join().expect("all of it goes well")).collect()
}

fn say_everywhere(server: &Server, count: u64) {
    let mut speaker = server.client("speaker");
    for room in 0..ROOMS {
        let name = format!("room{room}");
        speaker.ask(json!({"type": "join", "room": name}));
        for n in 0..count {
            speaker.say(&name, &n.to_string());
        }
        speaker.ask(json!({"type": "leave", "room": name}));
    }
    speaker.close();
}

#[test]
fn everybody_comes_back_at_once_after_a_restart_and_misses_nothing() {
    let count = from_environment("ROOMLOG_STORM_CLIENTS", 2_000);
    let data = Data::fresh();
    let server = Server::on(&data, &FLAGS);
    let address = server.address;
    let positions = (0..count).map(|number| (Position { number, seen: 0, epoch: String::new() }, ()));
    let clients = all(positions.collect(), move |mut position, ()| {
        let client = position.join(address);
        (position, client)
    });
    say_everywhere(&server, SAID);
    // Each has seen another piece of it when the server goes.
    let clients = all(clients, |mut position, mut client| {
        let until = position.number as u64 % (SAID + 1);
        position.read_through(&mut client, until);
        (position, client)
    });
    server.stop();
    let positions = clients.into_iter().map(|(position, client)| {
        drop(client);
        (position, ())
    });
    let positions: Vec<(Position, ())> = positions.collect();

    let server = Server::on(&data, &FLAGS);
    let address = server.address;
    let started = Instant::now();
    let back = all(positions, move |mut position, ()| {
        let mut client = position.join(address);
        position.read_through(&mut client, SAID);
        (position, client)
    });
    eprintln!("{count} clients resumed in {ROOMS} rooms within {:?}; {}", started.elapsed(), server.turns());
    assert_eq!(back.len(), count);
    say_everywhere(&server, 1);
    let back = all(back, |mut position, mut client| {
        position.read_through(&mut client, SAID + 1);
        (position, client)
    });
    drop(back);
    server.stop();
}

/// A member over many lives of the server, which talks and listens at once.
struct Member {
    name: String,
    sent: u64,
    seen: u64,
    epoch: Option<String>,
    /// Contents, which are the nonces too, that wait for their ack.
    waiting: Vec<String>,
    acked: HashMap<String, u64>,
    heard: HashMap<u64, String>,
}

impl Member {
    fn new(number: usize) -> Member {
        let (waiting, acked, heard) = (Vec::new(), HashMap::new(), HashMap::new());
        Member { name: format!("member{number}"), sent: 0, seen: 0, epoch: None, waiting, acked, heard }
    }

    /// Talks and listens until it is sent away, which must be with 1001.
    fn live(&mut self, address: SocketAddr, acks: &Sender<()>) {
        let mut client = Client::connect(address, &format!("/?user={}", self.name));
        client.send(json!({"type": "join", "room": "room", "since": self.seen, "epoch": self.epoch, "id": "join"}));
        let again = self.waiting.clone();
        again.iter().for_each(|content| self.send(&mut client, content));
        let end = loop {
            while self.waiting.len() < 8 {
                self.sent += 1;
                let content = format!("{} {}", self.name, self.sent);
                self.waiting.push(content.clone());
                self.send(&mut client, &content);
            }
            match client.read() {
                Ok(event) => self.hear(&event, acks),
                Err(end) => break end,
            }
        };
        assert_eq!(end, End::Closed(1001), "{}", self.name);
    }

    /// A server that is ending may not take it any more; then it is sent again in the next life.
    fn send(&self, client: &mut Client, content: &str) {
        client
            .try_send(&json!({"type": "message", "room": "room", "content": content, "nonce": content, "id": content}));
    }

    fn hear(&mut self, event: &serde_json::Value, acks: &Sender<()>) {
        if event["type"] == "ack" && event["id"] == "join" {
            self.epoch = event["data"]["epoch"].as_str().map(str::to_owned);
        } else if event["type"] == "ack" {
            let (content, sequence) = (event["id"].as_str().expect("as sent"), event["data"]["sequence"].as_u64());
            self.waiting.retain(|waiting| waiting != content);
            self.acked.insert(content.to_owned(), sequence.expect("numbered"));
            let _ = acks.send(());
        }
        for message in stored(event) {
            let sequence = sequences(std::slice::from_ref(&message))[0];
            assert_eq!(sequence, self.seen + 1, "{} hears all of it once", self.name);
            self.heard.insert(sequence, contents(std::slice::from_ref(&message))[0].to_owned());
            self.seen = sequence;
        }
    }
}

#[test]
fn restarts_amid_load_lose_no_acknowledged_message_and_close_with_1001() {
    let restarts = from_environment("ROOMLOG_RESTARTS", 5);
    let data = Data::fresh();
    let mut members: Vec<Member> = (0..20).map(Member::new).collect();
    for life in 0..restarts {
        let mut server = Server::on(&data, &FLAGS);
        let address = server.address;
        let (sender, acks) = mpsc::channel();
        thread::scope(|scope| {
            for member in &mut members {
                let sender = sender.clone();
                scope.spawn(move || member.live(address, &sender));
            }
            drop(sender);
            // At another moment each time.
            for _ in 0..400 + life * 37 % 101 {
                acks.recv().expect("the server acknowledges");
            }
            server.terminate();
        });
        let (status, output) = server.wait();
        assert_eq!(status.code(), Some(0), "{output}");
    }
    let server = Server::on(&data, &FLAGS);
    let mut reader = server.client("reader");
    let head = reader.ask(json!({"type": "join", "room": "room", "since": 0}))["head"].as_u64().expect("a number");
    let log = reader.read_through(head);
    assert_eq!(sequences(&log), (1..=head).collect::<Vec<u64>>());
    let log: HashMap<u64, &str> = (1..).zip(contents(&log)).collect();
    let mut acked = 0;
    for member in &members {
        for (content, sequence) in &member.acked {
            assert_eq!(log.get(sequence), Some(&content.as_str()), "acknowledged as {sequence}");
            acked += 1;
        }
        for (sequence, content) in &member.heard {
            assert_eq!(log.get(sequence), Some(&content.as_str()), "{} heard {sequence}", member.name);
        }
    }
    let texts: std::collections::HashSet<&&str> = log.values().collect();
    assert_eq!(texts.len(), log.len(), "nothing is stored twice");
    assert!(acked > 100 * restarts, "{acked} are a weak test");
    eprintln!("{restarts} restarts, {acked} messages acknowledged, {} members back each time", members.len());
}
