//! What nobody may reach: pages of other origins, files outside the data folder, secrets in a log.

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::raw::{Raw, frame, text, upgrade_head};
use common::rest::{PASSWORD, encoded, messages};
use common::{Client, Data, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// The status of an upgrade with this `Origin`, in which `OWN` is the server's own address.
fn upgrade_from(server: &Server, origin: &str) -> u16 {
    let own = server.address.to_string();
    let head = upgrade_head("/").replace("Host: localhost", &format!("Host: {own}"));
    let mut raw = Raw::connect(server.address);
    raw.send(format!("{head}Origin: {}\r\n\r\n", origin.replace("OWN", &own)).as_bytes());
    raw.response(true).status
}

#[test]
fn an_origin_that_only_looks_like_an_allowed_one_is_refused() {
    let server = Server::start(&["--allow-origin", "https://app.example", "--allow-origin", "http://localhost:3000"]);
    let port = server.address.port();
    for good in ["http://OWN", "https://OWN", "https://app.example", "http://localhost:3000"] {
        assert_eq!(upgrade_from(&server, good), 101, "{good}");
    }
    let others =
        [format!("http://localhost:{port}"), format!("http://[::1]:{port}"), format!("http://127.0.0.1.:{port}")];
    let lookalikes = [
        "null",
        "",
        "*",
        "file://",
        "app.example",
        "//app.example",
        "http://app.example",
        "ws://app.example",
        "https://app.example:8443",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example.",
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://evil.example?https://app.example",
        "https://evil.example#https://app.example",
        "https://app.example@evil.example",
        "https://evil.example:443@app.example",
        "https://app.example evil.example",
        "https://app.example, https://evil.example",
        "https://xapp.example",
        "https://sub.app.example",
        "https://app.example%00.evil.example",
        "https://app-example",
        "https://\u{430}pp.example",
        "http://localhost",
        "http://localhost:30000",
        "http://localhost:3000.evil.example",
        "http://OWN.evil.example",
        "http://OWN@evil.example",
        "http://evil.example@OWN",
        "http://OWN/",
        "http://OWN0",
        "chrome-extension://OWN",
        "http://127.0.0.1",
        "http://2130706433",
    ];
    for evil in lookalikes.iter().copied().chain(others.iter().map(String::as_str)) {
        let status = upgrade_from(&server, evil);
        assert!(status == 403 || status == 400, "{evil:?}: {status}");
        let request = format!("Origin: {}\r\n", evil.replace("OWN", &server.address.to_string()));
        let read = server.rest().request("GET", &messages("room"), &request, None);
        assert!(read.status == 403 || read.status == 400, "{evil:?}: {}", read.head);
        assert_eq!(read.header("Access-Control-Allow-Origin"), None, "{evil:?}");
    }
}

/// A tracer that writes down every file that a running server names to the kernel.
struct Tracer {
    process: Child,
    report: PathBuf,
}

impl Tracer {
    /// None where nothing can be traced.
    fn of(server: &Server, report: PathBuf) -> Option<Tracer> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-s", "4096", "-e", "trace=%file", "-e", "signal=none", "-o"]).arg(&report);
        let mut process = strace.args(["-p", &server.id().to_string()]).stderr(Stdio::piped()).spawn().ok()?;
        let stderr = BufReader::new(process.stderr.take().expect("piped"));
        // It says when it is attached to the threads that are there.
        let attached = stderr.lines().map_while(Result::ok).any(|line| line.contains("attached"));
        let tracer = Tracer { process, report };
        attached.then_some(tracer)
    }

    /// Detaches; every call.
    fn finish(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.process), Signal::INT).expect("ours until it is waited for");
        self.process.wait().expect("waited for once");
        let report = fs::read(&self.report).expect("a report");
        String::from_utf8_lossy(&report).lines().map(str::to_owned).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Names that climb, in all the ways of writing them that a server may take for one: `(as a name, as a path)`.
fn climbing() -> Vec<(String, String)> {
    const UP: [&str; 16] = [
        "..",
        "../..",
        "../../..",
        "..//..",
        "./..",
        "....//..",
        "..;/..",
        "..\\..",
        "\\..\\..",
        "/..",
        "//",
        "~/..",
        ".../...",
        "\u{ff0e}\u{ff0e}/..",
        "../.\u{2024}./..",
        "..\u{2215}..\u{2044}..",
    ];
    const TARGET: [&str; 6] = ["secret", "etc/passwd", "control", "lock", "rooms/room/1.log", "secret.js"];
    const PATH: [(&str, &str); 6] =
        [("/", "/"), ("/", "%2f"), (".", "%2e"), ("..", "%252e%252e"), ("..", "%c0%ae%c0%ae"), ("/", "%5c")];
    let mut names: Vec<(String, String)> = Vec::new();
    for up in UP {
        for target in TARGET {
            let name = format!("{up}/{target}");
            for path in PATH.map(|(plain, coded)| name.replace(plain, coded)) {
                if names.last().is_none_or(|(_, last)| *last != path) {
                    names.push((name.clone(), path));
                }
            }
        }
    }
    names
}

/// Asks for each name as a room, by WebSocket and REST, and as a file of the page.
fn climb(server: &Server, names: &[(String, String)]) -> usize {
    let rest = server.rest();
    let mut client = server.client("climber");
    let mut last = String::new();
    let mut asked = 0;
    for (name, path) in names {
        if *name != last {
            client.ask(json!({"type": "join", "room": name}));
            client.say(name, "x");
            client.ask(json!({"type": "history", "room": name, "since": 0}));
            client.ask(json!({"type": "leave", "room": name}));
            assert_eq!(rest.get(&messages(name)).expect(200)["head"], 1, "{name}: its own log");
            name.clone_into(&mut last);
            asked += 2;
        }
        let path: String =
            path.chars().map(|c| if c.is_ascii() { c.to_string() } else { encoded(&c.to_string()) }).collect();
        for request in [format!("/{path}"), format!("/api/rooms/{path}/messages"), format!("/app.js/{path}")] {
            let answer = rest.get(&request);
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains("OUTSIDE") && !body.contains("root:"), "{request}: {body}");
            asked += 1;
        }
    }
    asked
}

#[test]
fn no_name_leads_out_of_the_data_folder_or_the_page() {
    let data = Data::fresh();
    let public = data.around().join("public");
    fs::create_dir(&public).expect("a folder");
    fs::write(public.join("index.html"), "inside").expect("a file");
    for outside in ["secret", "secret.js"] {
        fs::write(data.around().join(outside), "OUTSIDE").expect("a file");
    }
    let flags = ["--rate", "0", "--account-rate", "0", "--address-rate", "0", "--fsync", "never", "--public"];
    let server = Server::on(&data, &[&flags[..], &[public.to_str().expect("UTF-8")]].concat());
    let tracer = Tracer::of(&server, data.around().join("trace"));
    let names = climbing();
    assert!(names.iter().map(|(_, path)| path).collect::<HashSet<_>>().len() >= 500);
    let asked = climb(&server, &names);
    assert_eq!(server.rest().get("/").body, b"inside");
    let Some(tracer) = tracer else {
        return eprintln!("{asked} names asked for; no strace, so only the answers were looked at");
    };
    let calls = tracer.finish();
    let allowed = [data.path(), public];
    let mut files = 0;
    for call in calls.iter().filter(|call| call.contains('"')) {
        files += 1;
        assert!(stays_inside(call, &allowed), "{call}");
    }
    assert!(files > 100, "a weak test: {files} calls");
    eprintln!("{asked} names asked for, {files} system calls with a path, none outside; {}", server.turns());
}

/// Whether all paths of a traced call are below one of these folders: absolute, or relative to a descriptor of one.
fn stays_inside(call: &str, folders: &[PathBuf]) -> bool {
    let inside = |path: &str| {
        let climbs = Path::new(path).components().any(|part| part == std::path::Component::ParentDir);
        !climbs && folders.iter().any(|folder| Path::new(path).starts_with(folder))
    };
    let base = call.split_once("</").map(|(_, rest)| format!("/{}", rest.split('>').next().unwrap_or_default()));
    call.split('"').skip(1).step_by(2).all(|path| {
        let relative = !path.starts_with('/');
        let full = if relative { base.as_ref().map(|base| format!("{base}/{path}")) } else { Some(path.to_owned()) };
        full.is_some_and(|full| inside(full.trim_end_matches('/')))
    })
}

/// Everything that a person would not want to find in a log, said by all the ways there are.
fn talk_of_secrets(server: &Server) -> Vec<String> {
    let rest = server.rest();
    let token = rest.register("alice");
    let alice = rest.with(&token);
    let mut device = alice.device("/?room=room");
    let mut guest = server.client("guest");
    let guest_session = guest.session().to_owned();
    guest.join("room");
    let said = ["body-by-socket", "body-by-rest", "body-edited", "body-private", "body-direct", "body-too-long"];
    let sequence = guest.say("room", said[0])["sequence"].clone();
    alice.say("room", said[1]);
    guest.ask(json!({"type": "edit", "room": "room", "sequence": sequence, "content": said[2]}));
    device.ask(json!({"type": "private", "to": "guest", "content": said[3]}));
    guest.skip_to("private");
    guest.refused(json!({"type": "private", "to": "nobody", "content": said[4]}), "no_such_user");
    guest.send_text(&format!(r#"{{"type":"message","room":"room","content":"{}"#, said[5]));
    guest.skip_to("error");
    for wrong in ["rl_wrong-token-one", "Bearer wrong-token-two"] {
        guest.refused(json!({"type": "hello", "token": wrong}), "bad_token");
        rest.with(wrong).get("/api/me/rooms").expect_problem(401, "bad_token");
    }
    guest.reset();
    let again = Client::connect(server.address, &format!("/?session={guest_session}"));
    assert_eq!(again.user(), "guest");
    let later = again.session().to_owned();
    let wrong_session = "0123456789abcdef0123456789abcdef";
    drop(Client::open(server.address, &format!("/?session={wrong_session}")).read());
    let mut raw = Raw::websocket(server.address, "/");
    raw.send(&text(&format!(r#"{{"type":"hello","token":"{token}"}}"#)));
    raw.send(&frame(0x83, b"no such opcode"));
    raw.close_code();
    rest.post("/api/sessions", json!({"user": "alice", "password": "a wrong password"})).expect(401);
    let mut secrets: Vec<String> = said.iter().map(|text| (*text).to_owned()).collect();
    secrets.extend([token, guest_session, later, device.session().to_owned(), wrong_session.to_owned()]);
    secrets.extend(["wrong-token-one", "wrong-token-two", "a wrong password", PASSWORD].map(str::to_owned));
    secrets
}

#[test]
fn no_session_token_password_or_message_is_in_a_log_of_everything() {
    let server = Server::start(&["--log-level", "trace"]);
    let secrets = talk_of_secrets(&server);
    let output = server.stop();
    for secret in &secrets {
        let line = output.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{secret} is in the log");
    }
    assert!(output.contains("TRACE") || output.contains("DEBUG"), "it did log: {output}");
    eprintln!("{} secrets, {} lines", secrets.len(), output.lines().count());
}
