//! Crashes by the hundred, full disks and broken ones, against the real binary.

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;

use common::client::sequences;
use common::raw::Raw;
use common::{Client, Data, Server};
use serde_json::{Value, json};

const ROOMS: [&str; 2] = ["one", "two"];
const WRITERS: usize = 3;
/// Messages that a writer has under way.
const WINDOW: usize = 8;
/// Cycles from one look at everything to the next.
const CHECK_EVERY: u32 = 25;

fn cycles() -> u32 {
    std::env::var("ROOMLOG_KILL_CYCLES").map_or(200, |text| text.parse().expect("ROOMLOG_KILL_CYCLES is a number"))
}

/// A client over many lives of the server: what it sent and was not answered it sends again, under the same nonce.
struct Writer {
    name: String,
    sent: u64,
    /// Contents, which are the nonces too, that wait for their ack.
    waiting: Vec<(usize, String)>,
    /// What was acknowledged: room and content to sequence.
    acked: HashMap<(usize, String), u64>,
}

impl Writer {
    fn new(number: usize) -> Writer {
        Writer { name: format!("writer{number}"), sent: 0, waiting: Vec::new(), acked: HashMap::new() }
    }

    /// Sends and reads until the server is gone; tells of each ack.
    fn talk(&mut self, mut client: Client, acks: &Sender<()>) {
        let mut ids: HashMap<u64, (usize, String)> = HashMap::new();
        let mut next_id = 0;
        let mut again = self.waiting.clone();
        loop {
            while ids.len() < WINDOW {
                let (room, content) = again.pop().unwrap_or_else(|| self.fresh());
                let command = json!({"type": "message", "room": ROOMS[room], "content": content, "nonce": content,
                                     "id": next_id});
                ids.insert(next_id, (room, content));
                next_id += 1;
                if !client.try_send(&command) {
                    return;
                }
            }
            let Ok(event) = client.read() else { return };
            if event["type"] == "ack" {
                let of = ids.remove(&event["id"].as_u64().expect("as sent")).expect("one ack each");
                let sequence = event["data"]["sequence"].as_u64().expect("numbered");
                self.waiting.retain(|waiting| *waiting != of);
                let before = self.acked.insert(of, sequence);
                assert!(before.is_none_or(|before| before == sequence), "renumbered: {event}");
                let _ = acks.send(());
            }
        }
    }

    fn fresh(&mut self) -> (usize, String) {
        self.sent += 1;
        let message = ((self.sent % 2) as usize, format!("{} {}", self.name, self.sent));
        self.waiting.push(message.clone());
        message
    }
}

fn epoch_of(client: &mut Client, room: &str) -> String {
    client.ask(json!({"type": "join", "room": room}))["epoch"].as_str().expect("an epoch").to_owned()
}

/// Everything in a room by sequence, without holes or repeats.
fn everything(client: &mut Client, room: &str) -> BTreeMap<u64, String> {
    client.ask(json!({"type": "join", "room": room, "since": 0}));
    let mut all = BTreeMap::new();
    loop {
        let history = client.skip_to("history");
        let messages = history["messages"].as_array().expect("a list");
        for (message, sequence) in messages.iter().zip(sequences(messages)) {
            let before = all.insert(sequence, message["content"].as_str().expect("a text").to_owned());
            assert_eq!(before, None, "{room} {sequence} is there once");
        }
        if history["more"] == false {
            break;
        }
    }
    assert!(all.keys().copied().eq(1..=all.len() as u64), "{room} has no holes");
    assert_eq!(all.values().collect::<HashSet<_>>().len(), all.len(), "nothing is in {room} twice");
    all
}

fn check(server: &Server, writers: &[Writer]) -> usize {
    let mut client = server.client("reader");
    let rooms = ROOMS.map(|room| everything(&mut client, room));
    let mut acked = 0;
    for writer in writers {
        for ((room, content), sequence) in &writer.acked {
            assert_eq!(rooms[*room].get(sequence), Some(content), "{} was acknowledged as {sequence}", ROOMS[*room]);
            acked += 1;
        }
    }
    acked
}

/// One life of the server, ended by SIGKILL after some acks. Returns the rooms' epochs.
fn cycle(data: &Data, flags: &[&str], cycle: u32, writers: &mut [Writer]) -> [String; 2] {
    let mut server = Server::on(data, flags);
    if cycle.is_multiple_of(CHECK_EVERY) {
        check(&server, writers);
    }
    let (sender, acks) = mpsc::channel();
    let mut clients: Vec<Client> = writers.iter().map(|writer| server.client(&writer.name)).collect();
    let epochs = ROOMS.map(|room| clients.iter_mut().map(|client| epoch_of(client, room)).next_back().expect("some"));
    thread::scope(|scope| {
        for (writer, client) in writers.iter_mut().zip(clients) {
            let sender = sender.clone();
            scope.spawn(move || writer.talk(client, &sender));
        }
        drop(sender);
        // At another moment each time, from before the first ack on.
        for _ in 0..cycle * 37 % 101 {
            acks.recv().expect("the server acknowledges");
        }
        server.crash();
    });
    server.wait();
    epochs
}

/// Rooms that have been written to, so that their epochs are on the disk.
fn founded(data: &Data, flags: &[&str]) -> [String; 2] {
    let server = Server::on(data, flags);
    let mut client = server.client("founder");
    let epochs = ROOMS.map(|room| epoch_of(&mut client, room));
    for room in ROOMS {
        client.say(room, "founded");
    }
    drop(client);
    server.kill();
    epochs
}

#[test]
fn kill_by_the_hundred_loses_repeats_and_renumbers_nothing() {
    let data = Data::fresh();
    let flags = ["--rate", "0"];
    let epochs = founded(&data, &flags);
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    for n in 0..cycles() {
        assert_eq!(cycle(&data, &flags, n, &mut writers), epochs, "with always no crash ends an epoch");
    }
    let server = Server::on(&data, &flags);
    let acked = check(&server, &writers);
    println!("{} kills, {acked} messages acknowledged", cycles());
    assert!(acked as u32 > 20 * cycles(), "{acked} messages are a weak test");
    server.stop();
}

#[test]
fn kill_without_always_loses_nothing_written_and_ends_the_epochs_that_were_written_to() {
    let data = Data::fresh();
    let flags = ["--rate", "0", "--fsync", "20ms"];
    let mut before = founded(&data, &flags);
    let mut was_written = [true; 2];
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    for n in 0..cycles().min(30) {
        let acked = |writers: &[Writer]| {
            let of = |room| writers.iter().flat_map(|w| w.acked.keys()).filter(|(of, _)| *of == room).count();
            [of(0), of(1)]
        };
        let so_far = acked(&writers);
        let epochs = cycle(&data, &flags, n, &mut writers);
        for room in 0..2 {
            assert!(!was_written[room] || epochs[room] != before[room], "{} was written to and killed", ROOMS[room]);
        }
        let now = acked(&writers);
        (before, was_written) = (epochs, [now[0] > so_far[0], now[1] > so_far[1]]);
    }
    let server = Server::on(&data, &flags);
    check(&server, &writers);
    server.stop();
}

fn health(server: &Server) -> (u16, Value) {
    let mut raw = Raw::connect(server.address);
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = raw.response(false);
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

fn can(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A small file system in memory, unmounted with its guard.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, size: &str) -> Option<SmallDisk<'a>> {
        fs::create_dir_all(path).expect("a folder to mount on");
        let path_text = path.to_str().expect("UTF-8");
        can("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path_text]).then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        can("umount", &["-l", self.0.to_str().expect("UTF-8")]);
    }
}

#[test]
fn full_disk_refuses_messages_and_resumes_by_itself() {
    let data = Data::fresh();
    let path = data.path();
    let Some(_disk) = SmallDisk::mount(&path, "1m") else {
        return println!("skipped: mounting is not allowed here");
    };
    let ballast = path.join("ballast");
    fs::write(&ballast, vec![0; 512 * 1024]).expect("there is space yet");
    let server = Server::on(&data, &["--rate", "0"]);
    let (mut client, mut other) = (server.client("alice"), server.client("bob"));
    client.join("room");
    other.join("room");
    let say = |client: &mut Client, n: u64| {
        let content = format!("{n} {}", "x".repeat(3000));
        client.send(json!({"type": "message", "room": "room", "content": content, "id": n}));
        client.skip_until(|event| event["id"] == n)
    };
    let mut stored = 0;
    let refusal = loop {
        let answer = say(&mut client, stored + 1);
        if answer["type"] == "error" {
            break answer;
        }
        stored += 1;
        assert_eq!(answer["data"]["sequence"], stored);
        assert!(stored < 1000, "the disk has an end");
    };
    assert_eq!(refusal["data"]["code"], "storage_unavailable");
    assert!(stored > 50, "{stored}");
    for n in 0..20 {
        assert_eq!(say(&mut client, 5000 + n)["data"]["code"], "storage_unavailable");
    }
    // Everything but writing goes on.
    assert_eq!(health(&server), (200, json!({"status": "ok", "roomsReadOnly": 0, "roomsDamaged": 0})));
    assert_eq!(everything(&mut other, "room").len() as u64, stored);
    other.send(json!({"type": "presence", "room": "room"}));
    assert_eq!(other.skip_to("presence")["count"], 2);
    fs::remove_file(&ballast).expect("the ballast is ours");
    for _ in 0..20 {
        stored += 1;
        assert_eq!(say(&mut client, stored)["data"]["sequence"], stored, "writing resumes where it stopped");
    }
    assert_eq!(everything(&mut other, "room").len() as u64, stored);
    server.kill();
    let server = Server::on(&data, &[]);
    assert_eq!(everything(&mut server.client("alice"), "room").len() as u64, stored);
    server.kill();
}

/// A tracer that makes one system call on one file of a running server fail.
struct Fault(Child);

impl Fault {
    fn inject(server: &Server, call: &str, file: &Path) -> Option<Fault> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:error=EIO"), "-P"]).arg(file);
        strace.args(["-o", "/dev/null", "-p", &server.id().to_string()]);
        let mut child = strace.stderr(Stdio::piped()).spawn().ok()?;
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        // It says when it is attached to the threads that are there.
        let attached = stderr.lines().map_while(Result::ok).any(|line| line.contains("attached"));
        let fault = Fault(child);
        attached.then_some(fault)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn failed_sync_or_write_makes_the_room_read_only_and_nothing_is_acknowledged() {
    for call in ["fdatasync", "pwrite64"] {
        let data = Data::fresh();
        let server = Server::on(&data, &["--rate", "0"]);
        let mut client = server.client("alice");
        for room in ["bad", "good"] {
            client.join(room);
            for n in 1..=3 {
                assert_eq!(client.say(room, &format!("{n}"))["sequence"], n);
            }
        }
        let Some(fault) = Fault::inject(&server, call, &data.segments("bad")[0]) else {
            server.stop();
            return println!("skipped: strace is not there, or may not attach");
        };
        let refused = json!({"type": "message", "room": "bad", "content": "refused"});
        client.refused(refused.clone(), "storage_unavailable");
        assert_eq!(health(&server), (503, json!({"status": "degraded", "roomsReadOnly": 1, "roomsDamaged": 0})));
        drop(fault);
        // The disk is well again; what failed is not tried again as if nothing had happened.
        client.refused(refused, "storage_unavailable");
        assert_eq!(client.say("good", "4")["sequence"], 4, "other rooms go on");
        let stored = |client: &mut Client, room| everything(client, room).into_values().collect::<Vec<_>>();
        assert_eq!(stored(&mut client, "bad"), ["1", "2", "3"], "{call}");
        // Closed and opened again it is still read-only.
        client.ask(json!({"type": "leave", "room": "bad"}));
        client.ask(json!({"type": "join", "room": "bad"}));
        client.refused(json!({"type": "message", "room": "bad", "content": "refused"}), "storage_unavailable");
        assert_eq!(health(&server).1["roomsReadOnly"], 1);
        drop(client);
        server.kill();
        let server = Server::on(&data, &["--rate", "0"]);
        let mut client = server.client("alice");
        assert_eq!(stored(&mut client, "bad"), ["1", "2", "3"], "{call}: what was refused does not come back");
        assert_eq!(client.say("bad", "4")["sequence"], 4);
        assert_eq!(stored(&mut client, "good"), ["1", "2", "3", "4"]);
        assert_eq!(health(&server).0, 200);
        server.stop();
    }
}

#[test]
fn cursor_below_the_floor_is_told_that_it_expired() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--rate", "0", "--retain-messages", "80"]);
    let mut client = server.client("alice");
    client.join("room");
    for n in 0..200 {
        client.say("room", &format!("{n}"));
    }
    let epoch = epoch_of(&mut client, "room");
    for since in [0, 1, 50] {
        client.ask(json!({"type": "join", "room": "room", "since": since, "epoch": epoch}));
        let history = client.skip_to("history");
        let floor = history["floor"].as_u64().expect("a number");
        assert!((100..=121).contains(&floor), "{floor}");
        assert_eq!(history["reset"], "expired", "since {since}");
        let numbers = sequences(history["messages"].as_array().expect("a list"));
        assert_eq!(numbers, (floor..=200).collect::<Vec<u64>>());
        client.ask(json!({"type": "join", "room": "room", "since": floor - 1, "epoch": epoch}));
        assert_eq!(client.skip_to("history").get("reset"), None, "just above it nothing is missing");
    }
    drop(client);
    server.stop();
}

#[test]
fn restored_older_copy_is_told_as_a_changed_epoch() {
    let data = Data::fresh();
    let (backup, place) = (data.around().join("backup"), data.path());
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").args([from, to]).status().is_ok_and(|s| s.success()))
    };
    let talk = |texts: [&str; 3]| {
        let server = Server::on(&data, &[]);
        let mut client = server.client("alice");
        client.join("room");
        let epoch = epoch_of(&mut client, "room");
        texts.iter().for_each(|text| drop(client.say("room", text)));
        drop(client);
        server.stop();
        epoch
    };
    talk(["1", "2", "3"]);
    copy(&place, &backup);
    let old = talk(["4", "5", "6"]);
    fs::remove_dir_all(&place).expect("the folder is ours");
    copy(&backup, &place);
    let new = talk(["other 4", "other 5", "other 6"]);
    assert_ne!(old, new, "(epoch, 4) must not name two messages");
    let server = Server::on(&data, &[]);
    let mut client = server.client("bob");
    for (since, reset, first) in [(2, json!(null), 3), (3, json!(null), 4), (5, json!("epoch_changed"), 4)] {
        client.ask(json!({"type": "join", "room": "room", "since": since, "epoch": old}));
        let history = client.skip_to("history");
        assert_eq!(history["reset"], reset, "since {since}");
        assert_eq!(sequences(history["messages"].as_array().expect("a list"))[0], first);
    }
    drop(client);
    server.stop();
}
