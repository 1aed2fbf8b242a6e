//! `roomlog chat` with the real binary and pipes: what is piped in is stored, once and in order, or the exit status says so.
//! What it does at a terminal is tested in `tests/clients/test_chat.py`.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::rest::PASSWORD;
use common::{Data, Server, outcome};
use serde_json::Value;

fn chat(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.arg("chat").arg(format!("http://{address}")).args(args);
    command.env_clear().env("TZ", "UTC0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Pipes `input` in, and waits for the end: exit status, stdout, stderr.
fn pipe(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command.spawn().expect("the binary starts");
    // It may have ended before it reads.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    outcome(&child.wait_with_output().expect("it ends"))
}

/// One that is under way; killed when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        Running(command.spawn().expect("the binary starts"))
    }

    fn write(&mut self, text: &str) {
        let stdin = self.0.stdin.as_mut().expect("piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("it reads");
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let stdout: ChildStdout = self.0.stdout.take().expect("piped, and taken once");
        BufReader::new(stdout).lines().map(|line| line.expect("UTF-8"))
    }

    /// Closes stdin; the exit status and what it said on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        (self.0.wait().expect("it ends").code(), said)
    }
}

fn contents(server: &Server, room: &str) -> Vec<String> {
    let history = server.rest().get(&format!("/api/rooms/{room}/messages?limit=1000")).expect(200);
    let messages = history["messages"].as_array().expect("a list").iter();
    messages.map(|message| message["content"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn lines_are_stored_in_order_under_the_default_rate_and_nothing_is_printed() {
    let server = Server::start(&[]);
    let input: String = (1..=100).map(|number| format!("line {number}\n\n")).collect();
    let done = pipe(chat(server.address, &["--user", "pipe", "--room", "ops"]), &input);
    assert_eq!(done, (0, String::new(), String::new()));
    let expected: Vec<_> = (1..=100).map(|number| format!("line {number}")).collect();
    assert_eq!(contents(&server, "ops"), expected, "empty lines are none");
}

#[test]
fn server_that_is_killed_and_started_again_has_every_line_once() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--rate", "0"]);
    let address = server.address;
    let mut pipe = Running::start(chat(address, &["--user", "pipe", "--room", "ops", "--follow"]));
    let mut shown = pipe.lines();
    pipe.write(&(1..=500).map(|number| format!("{number}\n")).collect::<String>());
    let mut sees = |text: &str| shown.any(|line| line.ends_with(text));
    assert!(sees("pipe  20"), "it is amid them");
    server.kill();
    let server = Server::on(&data, &["--rate", "0", "--port", &address.port().to_string()]);
    assert!(sees("pipe  500"));
    let expected: Vec<_> = (1..=500).map(|number| number.to_string()).collect();
    assert_eq!(contents(&server, "ops"), expected);
}

#[test]
fn exit_status_says_what_became_of_it() {
    let server = Server::start(&[]);
    let token = server.rest().register("ada");
    let address = server.address;
    let as_ada = |password: &str| {
        let mut command = chat(address, &["--user", "ada"]);
        command.env("ROOMLOG_PASSWORD", password);
        command
    };
    let (code, _, error) = pipe(as_ada("wrong horse"), "x\n");
    assert_eq!((code, error.lines().count()), (3, 1), "{error}");
    assert_eq!(pipe(chat(address, &["--user", "ada"]), "x\n").0, 3, "a registered name needs its password");
    let mut with_token = chat(address, &[]);
    with_token.env("ROOMLOG_TOKEN", &token);
    assert_eq!(pipe(with_token, "with a token\n").0, 0);
    let mut with_token = chat(address, &[]);
    with_token.env("ROOMLOG_TOKEN", "rl_none");
    assert_eq!(pipe(with_token, "x\n").0, 3);
    let (code, _, error) = pipe(chat(address, &[]), &format!("fine\n{}\nfine, too\n", "x".repeat(5_000)));
    assert_eq!((code, error.lines().count()), (5, 1), "{error}");
    assert!(error.contains("Not sent: Too long by 904 bytes"), "{error}");
    assert_eq!(contents(&server, "general"), ["with a token", "fine", "fine, too"]);
    assert_eq!(pipe(chat(address, &["--room", "bad\u{1}room"]), "x\n").0, 3);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let (code, _, error) = pipe(chat(nobody, &[]), "x\n");
    assert_eq!((code, error.lines().count()), (4, 1), "{error}");
    assert_eq!(pipe(chat(nobody, &["--timeout", "300ms"]), "x\n").0, 4);
    let nowhere = "255.255.255.255:9".parse().expect("an address that cannot be connected to");
    assert_eq!(pipe(chat(nowhere, &[]), "x\n").0, 4);
    assert_eq!(pipe(chat(address, &["--password", "x"]), "").0, 2);
}

#[test]
fn server_that_does_not_come_back_leaves_5() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let mut pipe = Running::start(chat(server.address, &["--follow", "--timeout", "500ms"]));
    let mut shown = pipe.lines();
    pipe.write("stored\n");
    assert!(shown.any(|line| line.ends_with("stored")));
    server.kill();
    pipe.write("lost\n");
    let (code, error) = pipe.end();
    assert_eq!(code, Some(5), "{error}");
}

#[test]
fn password_comes_from_a_file_and_closed_servers_are_entered_with_it() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--guests", "no"]);
    server.rest().register("ada");
    let file = data.around().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    let file = file.display().to_string();
    assert_eq!(pipe(chat(server.address, &["--user", "guest"]), "x\n").0, 3);
    let in_file = pipe(chat(server.address, &["--user", "ada", "--password-file", &file]), "x\n");
    assert_eq!(in_file, (0, String::new(), String::new()));
    let (code, shown, _) = pipe(chat(server.address, &["--user", "ada", "--password-file", &file, "--tail", "1"]), "");
    assert!(code == 0 && shown.ends_with("ada  x\n"), "{shown}");
}

#[test]
fn login_by_password_is_given_back_so_that_scripts_do_not_use_all_up() {
    let server = Server::start(&[]);
    let first = server.rest().register("ada");
    for _ in 0..roomlog::limits::TOKENS_PER_ACCOUNT_MAX {
        let mut command = chat(server.address, &["--user", "ada", "--tail", "0"]);
        command.env("ROOMLOG_PASSWORD", PASSWORD);
        assert_eq!(pipe(command, "").0, 0);
    }
    server.rest().with(&first).get("/api/me/rooms").expect(200);
}

#[test]
fn tail_shows_the_last_messages_and_ends() {
    let server = Server::start(&["--rate", "0"]);
    let input: String = (1..=120).map(|number| format!("{number}\n")).collect();
    assert_eq!(pipe(chat(server.address, &["--user", "pipe"]), &input).0, 0);
    for count in [1, 50, 51, 120] {
        let (code, shown, _) = pipe(chat(server.address, &["--tail", &count.to_string()]), "");
        let said: Vec<_> = shown.lines().filter_map(|line| line.split_once("pipe  ")).map(|(_, said)| said).collect();
        let expected: Vec<_> = (121 - count..=120).map(|number| number.to_string()).collect();
        assert_eq!((code, said), (0, expected.iter().map(String::as_str).collect()));
        assert!(!shown.contains('\x1b'), "no colours in a pipe");
    }
    assert_eq!(pipe(chat(server.address, &["--tail", "5", "--room", "empty"]), ""), (0, String::new(), String::new()));
}

#[test]
fn json_passes_events_through_a_line_each() {
    let server = Server::start(&[]);
    let mut chat = Running::start(chat(server.address, &["--user", "ada", "--json"]));
    let mut shown = chat.lines().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    assert_eq!(shown.next().map(|event| event["type"].clone()), Some("connected".into()), "the first of all");
    let mut bob = server.client("bob");
    bob.join("general");
    bob.say("general", "hello\nthere");
    let message = shown.find(|event| event["data"]["user"] == "bob").expect("it is passed on");
    assert_eq!((&message["type"], &message["data"]["content"]), (&"message".into(), &"hello\nthere".into()));
    assert_eq!(chat.end(), (Some(0), String::new()));
}

#[test]
fn reader_that_has_seen_enough_ends_it_without_a_word() {
    let server = Server::start(&[]);
    let mut chat = Running::start(chat(server.address, &["--json", "--follow"]));
    assert!(chat.lines().next().is_some());
    // Nobody reads on; the next event finds that out.
    let mut bob = server.client("bob");
    bob.join("general");
    bob.say("general", "anybody?");
    assert_eq!(chat.end(), (Some(0), String::new()));
}

#[test]
fn what_others_write_moves_no_cursor() {
    let server = Server::start(&[]);
    let mut eve = server.client("eve");
    eve.join("general");
    eve.say("general", "\x1b]0;pwned\x07\x1b[2J\u{9b}31mhello\u{202e}");
    let (code, shown, _) = pipe(chat(server.address, &["--tail", "1"]), "");
    assert_eq!(code, 0);
    assert!(shown.ends_with("eve  ]0;pwned[2J31mhello\n"), "{shown:?}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
}

#[test]
fn input_is_not_read_ahead_of_what_can_be_stored() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let address = server.address;
    let mut pipe = Running::start(chat(address, &["--follow", "--timeout", "1m"]));
    let mut shown = pipe.lines();
    pipe.write("first\n");
    assert!(shown.any(|line| line.ends_with("first")));
    server.kill();
    // Far more than it may hold and the pipe has room for: writing it all blocks until the server is back.
    let mut stdin = pipe.0.stdin.take().expect("piped");
    let text: String = (0..4_000).map(|number| format!("{number:0>1000}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let held = fs::read_to_string(format!("/proc/{}/status", pipe.0.id())).expect("its status");
    let resident = held.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 64 * 1024, "{kilobytes} kB");
    let server = Server::on(&data, &["--rate", "0", "--port", &address.port().to_string()]);
    assert!(shown.any(|line| line.ends_with(&format!("{:0>1000}", 3_999))));
    writer.join().expect("no panic").expect("it is all read");
    assert_eq!(server.rest().history("general")["head"], 4_001);
}
