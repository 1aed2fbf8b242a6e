//! What a machine does to a process: no descriptor left, and time in which it does not run. `ROOMLOG_PAUSE_S` makes the
//! pause longer.

mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::raw::Raw;
use common::rest::eventually;
use common::{Client, Data, PATIENCE, Server};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

/// Bounds the descriptors of a running server; the bound that there was.
fn set_descriptors(server: &Server, bound: Rlimit) -> Rlimit {
    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a small number"));
    prlimit(pid, Resource::Nofile, bound).expect("our own child")
}

/// The lowest number that no descriptor of the server has: with this bound it gets no further one.
fn lowest_free(server: &Server) -> u64 {
    let listed = fs::read_dir(format!("/proc/{}/fd", server.id())).expect("a living process");
    let used: Vec<u64> = listed
        .map(|entry| entry.expect("listed").file_name().to_str().and_then(|name| name.parse().ok()).expect("a number"))
        .collect();
    (0..).find(|number| !used.contains(number)).expect("there are infinitely many")
}

#[test]
fn without_a_descriptor_nobody_is_stranded_nothing_spins_and_service_returns() {
    let server = Server::start(&["--rate", "0", "--heartbeat", "1s"]);
    let (mut alice, mut bob) = (server.client("alice"), server.client("bob"));
    for client in [&mut alice, &mut bob] {
        client.join("room");
    }
    alice.say("room", "first");
    let lowest = lowest_free(&server);
    let before =
        set_descriptors(&server, Rlimit { current: Some(lowest), maximum: getrlimit(Resource::Nofile).maximum });
    // The kernel takes these, and the server cannot.
    let mut waiting: Vec<Raw> = (0..50).map(|_| Raw::connect(server.address)).collect();
    for raw in &mut waiting {
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for n in 0..50 {
        alice.say("room", &n.to_string());
    }
    assert_eq!(bob.read_through(51).len(), 51, "who is connected goes on, and the log with them");
    bob.skip_to("heartbeat");
    let used = server.processor_ms();
    bob.skip_to("heartbeat");
    let used = server.processor_ms() - used;
    assert!(used < 100, "{used} ms in a second in which nobody can be accepted");

    let released = Instant::now();
    set_descriptors(&server, before);
    for raw in &mut waiting {
        assert_eq!(raw.response(false).status, 200, "who waited is served");
    }
    eprintln!("no descriptors: {used} ms of processor time in a second; 50 served {:?} after", released.elapsed());
    eprintln!("{}", server.turns());
    assert!(released.elapsed() < Duration::from_secs(1), "after {:?}", released.elapsed());
    let output = server.stop();
    assert_eq!(output.matches("cannot accept").count(), 1, "said once: {output}");
}

#[test]
fn with_all_places_taken_the_log_still_has_its_descriptors() {
    const ROOMS: usize = 200;
    let data = Data::fresh();
    // Of these, 576 are kept back for the log and the loop.
    let server = Server::with_descriptors(&data, 600);
    let mut clients: Vec<Client> = (0..24).map(|n| server.client(&format!("client{n}"))).collect();
    let mut refused: Vec<Raw> = (0..10).map(|_| Raw::connect(server.address)).collect();
    for raw in &mut refused {
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(raw.response(false).status, 503);
    }
    let members = clients.len();
    for room in 0..ROOMS {
        let name = format!("room{room}");
        let client = &mut clients[room % members];
        client.join(&name);
        assert_eq!(client.say(&name, "into a file of its own")["sequence"], 1);
    }
    assert_eq!(fs::read_dir(data.path().join("rooms")).expect("a folder").count(), ROOMS);
}

fn pause() -> Duration {
    Duration::from_secs(std::env::var("ROOMLOG_PAUSE_S").map_or(5, |text| text.parse().expect("a number of seconds")))
}

/// What each client is shown, from before the pause until its third heartbeat after it.
fn through_the_pause(mut client: Client) -> Vec<(Instant, serde_json::Value)> {
    let mut events = Vec::new();
    let mut after = None;
    loop {
        let event = client.next();
        let kind = event["type"].clone();
        events.push((Instant::now(), event));
        match after {
            Some(2) if kind == "heartbeat" => return events,
            Some(heartbeats) if kind == "heartbeat" => after = Some(heartbeats + 1),
            // Said when it runs again.
            None if kind == "message" => after = Some(0),
            _ => {}
        }
    }
}

#[test]
fn a_stopped_process_goes_on_as_if_no_time_had_passed() {
    const HEARTBEAT: Duration = Duration::from_millis(500);
    let flags = ["--heartbeat", "500ms", "--offline-timeout", "2500ms", "--grace", "1s", "--write-timeout", "2500ms"];
    let server = Server::start(&flags);
    let mut clients: Vec<Client> = (0..8).map(|n| server.client(&format!("client{n}"))).collect();
    let mut speaker = server.client("speaker");
    let mut gone = server.client("gone");
    for client in clients.iter_mut().chain([&mut speaker, &mut gone]) {
        client.join("room");
    }
    // Its name is kept for a second, which ends while nothing runs.
    gone.reset();
    eventually("its connection is seen to end", || {
        speaker.ask(json!({"type": "presence", "room": "room"}));
        Some(speaker.drain())
    });
    for client in &mut clients {
        client.drain();
        client.stream().set_read_timeout(Some(PATIENCE + pause())).expect("a socket");
    }
    let threads: Vec<_> = clients.into_iter().map(|client| thread::spawn(move || through_the_pause(client))).collect();
    // It does not answer pings while this thread sleeps, so it says something now.
    speaker.drain();
    server.signal(rustix::process::Signal::STOP);
    thread::sleep(pause()); // the fault itself
    server.signal(rustix::process::Signal::CONT);
    let continued = Instant::now();
    speaker.say("room", "we go on");
    for thread in threads {
        let events = thread.join().expect("it stays connected");
        let told: Vec<&serde_json::Value> = events.iter().map(|(_, event)| event).collect();
        let offline: Vec<_> = told.iter().filter(|event| event["data"]["status"] == "offline").collect();
        assert_eq!(offline.len(), 1, "timers fire once, and for nobody else: {told:?}");
        assert_eq!(offline[0]["data"]["user"], "gone");
        let soon = |at: &Instant| *at >= continued && at.duration_since(continued) < HEARTBEAT / 2;
        let burst = events.iter().filter(|(at, event)| soon(at) && event["type"] == "heartbeat").count();
        assert!(burst <= 1, "{burst} heartbeats at once");
        assert!(events.last().expect("some").0 >= continued + HEARTBEAT, "three heartbeats take their time");
    }
    speaker.drain();
}
