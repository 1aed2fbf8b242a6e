//! `roomlog bench` against the real server, and against servers that are wrong on purpose: what is lost, repeated, swapped or
//! spoilt must be found and counted, and what stands still must be charged for it.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, path::Path, thread};

use common::Server;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {}{}", self.stdout, self.stderr))
    }
}

fn command(address: SocketAddr, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.arg("bench").arg(format!("ws://{address}")).args(flags.split_whitespace()).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(mut command: Command) -> Run {
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit, not a signal");
    Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn bench(address: SocketAddr, flags: &str) -> Run {
    finish(command(address, flags))
}

/// A server for loads: no rate, no waiting for the disk.
fn server() -> Server {
    Server::start(&["--rate", "0", "--fsync", "never"])
}

const NO_FAULTS: [(&str, u64); 5] =
    [("lost", 0), ("repeated", 0), ("reordered", 0), ("damaged", 0), ("unconfirmed", 0)];

fn checks(report: &Value) -> Vec<(&str, u64)> {
    NO_FAULTS.iter().map(|(name, _)| (*name, report["checks"][*name].as_u64().expect("a count"))).collect()
}

#[test]
fn an_open_loop_delivers_all_that_was_planned() {
    let server = server();
    let flags = "--conns 12 --rooms 3 --senders 5 --rate 200 --warmup 100ms --duration 500ms --json";
    let run = bench(server.address, &format!("{flags} --server-pid {}", server.id()));
    let report = run.json();
    assert_eq!((run.code, checks(&report)), (0, NO_FAULTS.to_vec()), "{}", run.stderr);
    // 600 ms at 200/s, from the very first moment on; each to the four members of a room.
    assert_eq!((&report["messages"]["sent"], &report["deliveries"]["received"]), (&json!(120), &json!(480)));
    assert_eq!(
        (&report["latencyUs"]["ack"]["count"], &report["latencyUs"]["delivery"]["count"]),
        (&json!(100), &json!(400))
    );
    assert_eq!(
        (&report["acks"], &report["mode"], &report["latencyUs"]["connect"]["count"]),
        (&json!(true), &json!("open"), &json!(12))
    );
    assert!(report["server"]["rssBytes"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[test]
fn a_closed_loop_goes_as_fast_as_it_is_answered() {
    let server = server();
    let run = bench(server.address, "--closed --window 4 --conns 6 --senders 2 --warmup 0 --duration 300ms --json");
    let report = run.json();
    assert_eq!((run.code, checks(&report)), (0, NO_FAULTS.to_vec()), "{}", run.stderr);
    let sent = report["messages"]["sent"].as_u64().unwrap();
    assert!(sent >= 8, "both windows at least");
    assert_eq!(report["deliveries"]["received"], 6 * sent);
    assert_eq!(report["messages"]["confirmed"], sent);
}

#[test]
fn members_that_never_read_and_connections_that_come_and_go_disturb_nobody() {
    let server = server();
    let flags =
        "--conns 6 --rooms 2 --senders 2 --rate 100 --slow 2 --churn 40 --ramp 50ms --warmup 0 --duration 500ms";
    let run = bench(server.address, &format!("{flags} --json"));
    let report = run.json();
    assert_eq!((run.code, checks(&report)), (0, NO_FAULTS.to_vec()), "{}{}", run.stdout, run.stderr);
    // 50 of the senders and 20 of those that come and go, to the three readers of a room.
    assert_eq!((&report["messages"]["sent"], &report["deliveries"]["received"]), (&json!(70), &json!(210)));
    assert_eq!((&report["latencyUs"]["churn"]["count"], &report["connections"]["opened"]), (&json!(20), &json!(28)));
}

#[test]
fn idle_connections_have_a_room_each_and_say_nothing() {
    let server = server();
    let run = bench(server.address, &format!("--idle --conns 30 --duration 200ms --json --server-pid {}", server.id()));
    let report = run.json();
    assert_eq!(
        (run.code, &report["messages"]["sent"], &report["settings"]["rooms"]),
        (0, &json!(0), &json!(30)),
        "{}",
        run.stderr
    );
    assert!(report["server"]["rssBytesPerConnection"].is_number() && report["server"]["cpuMs"].is_number());
    let stored = fs::read_dir(server.data().path().join("rooms")).map_or(0, |rooms| {
        rooms
            .filter(|room| room.as_ref().is_ok_and(|room| room.file_name().to_string_lossy().starts_with("bench")))
            .count()
    });
    assert_eq!(stored, 0, "no probe is needed where joins are acked");
}

#[test]
fn a_replay_fills_the_room_once_and_gives_everybody_all_of_it() {
    let server = server();
    for found in [0, 3_000] {
        let run = bench(server.address, "--replay 3000 --conns 4 --json");
        let report = run.json();
        assert_eq!((run.code, checks(&report)), (0, NO_FAULTS.to_vec()), "{}", run.stderr);
        assert_eq!(report["replay"], json!({"messages": 3_000, "found": found}));
        assert_eq!(
            (&report["deliveries"]["received"], &report["latencyUs"]["replay"]["count"]),
            (&json!(12_000), &json!(4))
        );
    }
}

/// Every field, as a path; what is in a list or absent in this run stands for itself.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| fields(value, &format!("{path}/{name}"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_json_has_the_fields_that_the_document_shows() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BENCH.md")).unwrap();
    let (_, example) = document.split_once("```json golden:bench\n").expect("an example");
    let example: Value = serde_json::from_str(example.split_once("```").unwrap().0).expect("the example is JSON");
    let server = server();
    let flags = "--conns 4 --senders 2 --rate 100 --churn 20 --warmup 0 --duration 200ms --fail-if lost>0 --json";
    let report = bench(server.address, &format!("{flags} --server-pid {}", server.id())).json();
    let (mut shown, mut made) = (BTreeSet::new(), BTreeSet::new());
    fields(&example, "", &mut shown);
    fields(&report, "", &mut made);
    assert_eq!(made, shown);
    assert_eq!(report["failIf"], json!([{"condition": "lost>0", "value": 0.0, "unit": "number", "failed": false}]));
}

#[test]
fn a_condition_that_is_true_is_exit_3_and_said_in_the_table() {
    let server = server();
    let load = "--conns 2 --rate 50 --warmup 0 --duration 100ms";
    let run = bench(server.address, &format!("{load} --fail-if p50>0us --fail-if lost>0"));
    assert_eq!(run.code, 3, "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("FAILED  p50>0us")
            && run.stdout.contains("good    lost>0  (0)")
            && run.stdout.contains(" ms)"),
        "{}",
        run.stdout
    );
    assert_eq!(bench(server.address, &format!("{load} --fail-if p50>10s")).code, 0);
}

#[test]
fn a_server_that_limits_rates_is_told_from_one_that_loses() {
    let server = Server::start(&["--rate", "5", "--fsync", "never"]);
    let run = bench(server.address, "--conns 2 --senders 1 --rate 200 --warmup 0 --duration 300ms --json");
    let report = run.json();
    assert!(report["messages"]["refused"].as_u64().is_some_and(|count| count > 20), "{report}");
    assert_eq!((checks(&report), run.code), (NO_FAULTS.to_vec(), 0), "{report}");
    assert!(report["connections"]["firstError"].as_str().is_some_and(|text| text.contains("rate_limited")), "{report}");
}

#[test]
fn an_interrupt_ends_the_run_early_and_keeps_the_result() {
    let server = server();
    let mut child = command(server.address, "--conns 2 --rate 100 --warmup 0 --duration 1h --json").spawn().unwrap();
    // A member of the same room sees that the load has begun: then it is interrupted, with something measured.
    let mut watcher = server.client("watcher");
    let pid = Pid::from_child(&child);
    let room = loop {
        let rooms = fs::read_dir(server.data().path().join("rooms"));
        let names = rooms.into_iter().flatten().flatten().map(|room| room.file_name().to_string_lossy().into_owned());
        if let Some(name) = names.into_iter().find(|name| name.starts_with("bench")) {
            break name;
        }
        assert!(child.try_wait().unwrap().is_none(), "it runs");
        watcher.drain();
    };
    watcher.join(&room);
    for _ in 0..20 {
        watcher.skip_until(|event| event["type"] == "message" && event["data"]["ephemeral"] != true);
    }
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &report["interrupted"]), (Some(0), &json!(true)), "{report}");
    assert!(report["messages"]["sent"].as_u64().is_some_and(|sent| sent >= 18), "{report}");
    assert_eq!(checks(&report), NO_FAULTS);
}

#[test]
fn a_server_that_is_not_there_is_one_line_and_exit_1() {
    // Bound but not listening: the port refuses, and nobody else can take it meanwhile.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let run = bench(address, "--conns 2");
    let line = format!(
        "roomlog: bench: cannot open ws://{address}/: Connection refused (os error 111) (0 of 2 connections were open)\n"
    );
    assert_eq!((run.code, run.stdout.as_str(), run.stderr), (1, "", line));
    let run = finish({
        let mut command = command(address, "--conns 2");
        command.arg("--server-pid").arg("2147483646");
        command
    });
    assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{}", run.stderr);
    assert!(run.stderr.contains("--server-pid 2147483646: no such process"), "{}", run.stderr);
}

#[test]
fn too_few_descriptors_are_explained_before_the_first_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_roomlog"), "bench"]);
    shell.arg(listener.local_addr().unwrap().to_string()).args(["--conns", "200"]).env_clear();
    let run = finish(shell);
    let line = "roomlog: bench: this run needs 232 file descriptors and may have 100: raise the hard limit (ulimit -Hn, \
                LimitNOFILE) or ask for fewer connections\n";
    assert_eq!((run.code, run.stderr.as_str()), (1, line));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nothing was opened");
}

/// What the other server does wrong with the tenth message of the load, for one member that did not send it.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    Drop,
    Repeat,
    Swap,
    Spoil,
    /// Nobody gets it, and it has no number.
    Swallow,
    /// Everything waits so long.
    Stall(Duration),
}

type Member = Arc<Mutex<WebSocket<TcpStream>>>;
type Rooms = Arc<Mutex<BTreeMap<String, Room>>>;

#[derive(Default)]
struct Room {
    members: Vec<Member>,
    sequence: u64,
    loads: u32,
    /// A frame that is to come after the next one.
    late: Option<String>,
}

/// A server that speaks the plain subset of the protocol: joins and messages, no greeting, no acks, a thread a connection.
fn other_server(wrong: Wrong) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rooms = Rooms::default();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, rooms) = (stream.unwrap(), Arc::clone(&rooms));
            thread::spawn(move || talk(stream, &rooms, wrong));
        }
    });
    address
}

fn talk(stream: TcpStream, rooms: &Rooms, wrong: Wrong) {
    stream.set_nodelay(true).unwrap();
    let reading = stream.try_clone().unwrap();
    let writing = Arc::new(Mutex::new(tungstenite::accept(stream).unwrap()));
    let mut reader = WebSocket::from_raw_socket(reading, tungstenite::protocol::Role::Server, None);
    while let Ok(Message::Text(text)) = reader.read() {
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut rooms = rooms.lock().unwrap();
        match value["type"].as_str() {
            Some("join") => {
                // As a server that reads by position would have it: nothing but these two fields.
                assert_eq!(value.as_object().unwrap().len(), 2, "{value}");
                let name = value["room"].as_str().unwrap();
                rooms.entry(name.to_owned()).or_default().members.push(Arc::clone(&writing));
            }
            Some("message") => {
                assert_eq!(value.as_object().unwrap().len(), 2, "{value}");
                let name = value["data"]["room"].as_str().unwrap();
                say(rooms.get_mut(name).unwrap(), name, value["data"]["content"].as_str().unwrap(), &writing, wrong);
            }
            _ => {}
        }
    }
}

fn say(room: &mut Room, name: &str, content: &str, author: &Member, wrong: Wrong) {
    // The kind of a message of the load stands behind the run's name.
    room.loads += u32::from(content.as_bytes()[10] == b'm');
    let chosen = room.loads == 10 && content.as_bytes()[10] == b'm';
    if chosen && wrong == Wrong::Swallow {
        return;
    }
    if let (true, Wrong::Stall(time)) = (chosen, wrong) {
        thread::sleep(time);
    }
    room.sequence += 1;
    let frame = |content: &str| {
        let data = json!({"id": "m", "room": name, "user": "u", "content": content, "sequence": room.sequence, "timestamp": 1});
        json!({"type": "message", "data": data}).to_string()
    };
    let not_author = |member: &Member| !Arc::ptr_eq(member, author);
    let victim = room.members.iter().rposition(not_author).unwrap_or(0);
    let last = &room.members[victim];
    let others = room.members.iter().enumerate().filter(|(at, _)| *at != victim).map(|(_, member)| member);
    let send = |member: &Member, text: String| {
        let _ = member.lock().unwrap().send(Message::text(text));
    };
    others.for_each(|member| send(member, frame(content)));
    match (chosen, wrong) {
        (true, Wrong::Drop) => {}
        (true, Wrong::Repeat) => (0..2).for_each(|_| send(last, frame(content))),
        (true, Wrong::Spoil) => send(last, frame(&content.replace("xxx", "xyx"))),
        (true, Wrong::Swap) => room.late = Some(frame(content)),
        _ => {
            send(last, frame(content));
            room.late.take().into_iter().for_each(|late| send(last, late));
        }
    }
}

#[test]
fn every_fault_of_a_server_is_found_and_counted() {
    let load = "--conns 3 --senders 1 --rate 100 --warmup 0 --duration 300ms --json";
    let faults = [
        (Wrong::Nothing, 0, &[][..]),
        (Wrong::Drop, 4, &[("lost", 1)]),
        (Wrong::Repeat, 4, &[("repeated", 1)]),
        (Wrong::Swap, 4, &[("reordered", 1)]),
        (Wrong::Spoil, 4, &[("damaged", 1)]),
        (Wrong::Swallow, 4, &[("lost", 3), ("unconfirmed", 1)]),
    ];
    let runs = faults.map(|(wrong, code, counts)| {
        let address = other_server(wrong);
        (thread::spawn(move || bench(address, load)), code, counts)
    });
    for (run, code, counts) in runs {
        let run = run.join().unwrap();
        let report = run.json();
        let expected = NO_FAULTS.map(|(name, none)| {
            (name, counts.iter().find(|(counted, _)| *counted == name).map_or(none, |(_, count)| *count))
        });
        assert_eq!((checks(&report), run.code), (expected.to_vec(), code), "{counts:?}: {report}");
        assert_eq!((&report["acks"], &report["messages"]["sent"]), (&json!(false), &json!(30)));
        // An own delivery stands for the ack that this server does not send.
        let confirmed = &report["messages"]["confirmed"];
        assert_eq!(&report["latencyUs"]["ack"]["count"], confirmed);
    }
}

#[test]
fn a_server_that_stands_still_is_charged_for_all_that_was_planned_meanwhile() {
    let stall = Duration::from_millis(500);
    let address = other_server(Wrong::Stall(stall));
    let run = bench(address, "--conns 1 --rate 100 --warmup 0 --duration 1s --json");
    let report = run.json();
    assert_eq!((run.code, &report["latencyUs"]["delivery"]["count"]), (0, &json!(100)), "{report}");
    let delivery = &report["latencyUs"]["delivery"];
    // Half of the messages were due while it stood still, for 250 ms on average; a closed loop would have seen one.
    assert!(delivery["max"].as_f64().is_some_and(|us| us >= 490_000.0), "{report}");
    assert!(delivery["p90"].as_f64().is_some_and(|us| us >= 350_000.0), "{report}");
    assert!(delivery["mean"].as_f64().is_some_and(|us| us >= 100_000.0), "{report}");
}
