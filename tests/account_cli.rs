//! `roomlog account` with the real binary: on the files when nobody has them, through a server when one has.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use common::{Data, Server, operator_command, outcome};
use roomlog::accounts::control::{self, Control};
use roomlog::log::{RealDisk, lock};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

fn account_command(data: &Path, args: &[&str]) -> Command {
    operator_command("account", data, args)
}

fn run(data: &Path, args: &[&str]) -> (i32, String, String) {
    outcome(&account_command(data, args).env("ROOMLOG_PASSWORD", PASSWORD).output().expect("the binary starts"))
}

/// Runs with these bytes on stdin and no password in the environment.
fn run_with(data: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = account_command(data, args).stdin(Stdio::piped()).spawn().expect("the binary starts");
    // It may have seen what is wrong with the line before it reads.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    outcome(&child.wait_with_output().expect("it ends"))
}

fn done(line: &str) -> (i32, String, String) {
    (0, format!("{line}\n"), String::new())
}

fn failed(line: &str) -> (i32, String, String) {
    (1, String::new(), format!("roomlog: {line}\n"))
}

fn listed(data: &Path) -> Vec<(String, String)> {
    let (code, lines, error) = run(data, &["list", "--json"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let text = |account: &Value, key: &str| account[key].as_str().expect("a text").to_owned();
    let accounts = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    accounts.map(|account| (text(&account, "user"), text(&account, "role"))).collect()
}

#[test]
fn accounts_are_kept_in_the_files_without_a_server() {
    let data = Data::fresh();
    let path = data.path();
    assert_eq!(run(&path, &["add", "Ann Lee", "--role", "admin"]), done("added Ann Lee as admin"));
    assert_eq!(run(&path, &["add", "bob"]), done("added bob as member"));
    assert_eq!(listed(&path), [("Ann Lee".into(), "admin".into()), ("bob".into(), "member".into())]);
    assert_eq!(run(&path, &["role", "BOB", "admin"]), done("BOB is admin now"));
    assert_eq!(run(&path, &["role", "ann lee", "member"]), done("ann lee is member now"));
    assert_eq!(run(&path, &["role", "ann lee", "member"]), done("ann lee is member now"), "so it is");
    let (code, text, _) = run(&path, &["list"]);
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!((code, rows.len(), rows[0]), (0, 3, "ROLE    CREATED               NAME"), "{text}");
    assert!(rows[1].starts_with("member  20") && rows[1].ends_with("Z  Ann Lee"), "{text}");
    assert_eq!(run(&path, &["passwd", "bob"]), done("the password of bob is set, its logins are ended"));
    assert_eq!(run(&path, &["remove", "bob"]), done("removed bob"));
    assert_eq!(listed(&path), [("Ann Lee".into(), "member".into())]);
    assert_eq!(run(&path, &["bans"]), (0, "UNTIL                 WHAT, BY WHOM, WHY\n".into(), String::new()));

    let mode = fs::metadata(path.join("accounts")).expect("the ledger's folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let ledger = fs::read_to_string(path.join("accounts/rooms/accounts/00000000000000000001.log")).expect("text");
    assert!(ledger.contains("$argon2id$v=19$m=19456,t=2,p=1$") && !ledger.contains(PASSWORD), "{ledger}");

    // A server starts on it, and does not show it as a room.
    let server = Server::on(&data, &[]);
    server.stop();
    assert_eq!(listed(&path).len(), 1);
    assert!(!path.join("control").exists());
}

#[test]
fn what_cannot_be_done_is_one_line_and_exit_1() {
    let data = Data::fresh();
    let path = data.path();
    let (code, said, error) = run(&path, &["list"]);
    assert!(code == 1 && said.is_empty() && error.contains("No such file"), "{error}");
    assert!(!path.exists(), "only add makes a folder");
    assert_eq!(run(&path, &["add", "alice"]).0, 0);
    let nobody = format!("no account \"bob\" in {}", path.display());
    for (args, line) in [
        (&["add", "ALICE"][..], "This name is taken"),
        (&["add", "\u{430}lice"], "This name looks like \"alice\""),
        (&["add", "system"], "This name is reserved"),
        (&["add", " a"], "A name does not start or end with a space"),
        (&["remove", "bob"], &nobody),
        (&["passwd", "bob"], &nobody),
        (&["role", "bob", "admin"], &nobody),
        (&["unban", "bob"], "There is no such ban"),
    ] {
        assert_eq!(run(&path, args), failed(line), "{args:?}");
    }
    assert_eq!(listed(&path).len(), 1);
    let (code, said, error) = run(&path, &["add"]);
    assert_eq!((code, said.as_str()), (2, ""));
    assert_eq!(error, "roomlog: account add needs an account's name; see roomlog account add --help\n");
}

#[test]
fn a_password_comes_from_a_file_or_stdin_and_is_never_asked_for_without_a_terminal() {
    let data = Data::fresh();
    let path = data.path();
    let file = data.around().join("password");
    let file = file.to_str().expect("UTF-8");
    fs::write(file, "from the file\nsecond line\n").expect("a file");
    assert_eq!(run_with(&path, &["add", "a", "--password-file", file], ""), done("added a as member"));
    assert_eq!(run_with(&path, &["add", "b", "--password-file", "-"], "from stdin\n"), done("added b as member"));
    let (code, said, error) = run_with(&path, &["add", "c"], "not asked for\n");
    assert_eq!((code, said.as_str(), error.lines().count()), (1, "", 1), "{error}");
    assert!(error.contains("no terminal"), "{error}");
    assert_eq!(
        run_with(&path, &["add", "c", "--password-file", "-"], "short\n"),
        failed("A password has at least 8 characters")
    );
    let long = "x".repeat(600);
    assert_eq!(
        run_with(&path, &["add", "c", "--password-file", "-"], &long),
        failed("A password has at most 128 characters")
    );
    let (code, _, error) = run_with(&path, &["passwd", "a", "--password-file", &format!("{file}.none")], "");
    assert!(code == 1 && error.contains("No such file") && error.lines().count() == 1, "{error}");
    assert_eq!(listed(&path).len(), 2);
}

#[test]
fn a_folder_in_use_without_a_way_to_its_server_is_left_alone() {
    let data = Data::fresh();
    let path = data.path();
    assert_eq!(run(&path, &["add", "alice"]).0, 0);
    let held = lock(&RealDisk, &path).expect("the lock is free");
    let (code, said, error) = run(&path, &["remove", "alice"]);
    assert_eq!((code, said.as_str(), error.lines().count()), (1, "", 1), "{error}");
    assert!(error.contains("is in use by a server that cannot be asked") && error.contains("control"), "{error}");
    // One that was left by a crash leads nowhere.
    let nobody =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port");
    control::write(&path, &control_of(nobody, "secret-token")).expect("it is written");
    let (code, _, error) = run(&path, &["remove", "alice"]);
    assert!(code == 1 && error.contains("/api/accounts/alice: ") && !error.contains("secret-token"), "{error}");
    drop(held);
    assert_eq!(run(&path, &["remove", "alice"]), done("removed alice"), "the lock decides, not the file");
}

fn control_of(address: SocketAddr, token: &str) -> Control {
    Control { address, tls: false, token: token.to_owned() }
}

/// A request as the fake server got it: head and body.
type Asked = (String, String);

/// Answers one request after the other, and gives what was asked.
fn fake_server(data: &Path, answers: Vec<String>) -> JoinHandle<Vec<Asked>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    control::write(data, &control_of(listener.local_addr().expect("an address"), "the-token")).expect("it is written");
    thread::spawn(move || {
        let answer_one = |answer: String| {
            let (stream, _) = listener.accept().expect("the command connects");
            let mut input = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                input.read_line(&mut head).expect("a whole head");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            input.read_exact(&mut body).expect("a whole body");
            input.get_mut().write_all(answer.as_bytes()).expect("the command listens");
            (head, String::from_utf8(body).expect("UTF-8"))
        };
        answers.into_iter().map(answer_one).collect()
    })
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A command, what the server answers, and what must become of both.
struct Case {
    args: &'static [&'static str],
    answer: String,
    line: &'static str,
    body: Value,
    outcome: (i32, String, String),
}

fn case(
    args: &'static [&'static str],
    answer: String,
    line: &'static str,
    body: Value,
    outcome: (i32, String, String),
) -> Case {
    Case { args, answer, line, body, outcome }
}

#[test]
fn a_running_server_is_asked() {
    let data = Data::fresh();
    let path = data.path();
    fs::create_dir_all(&path).expect("a folder");
    let held = lock(&RealDisk, &path).expect("the lock is free");
    let accounts =
        json!([{"user": "Ann Lee", "role": "admin", "created": 951_868_800_000_u64, "later": 1}]).to_string();
    let bans = json!([{"what": "2001:db8::/64", "until": 951_868_800_000_u64, "reason": "a\nb", "by": "ann"},
                      {"what": "mallory", "until": null, "reason": "spam", "by": "ann"}])
    .to_string();
    let problem = |detail: &str| json!({"type": "about:blank", "title": "No", "detail": detail}).to_string();
    let no_content = || "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    let cases = [
        case(
            &["add", "Ann Lee", "--role", "admin"],
            answer("201 Created", "{}"),
            "POST /api/accounts",
            json!({"user": "Ann Lee", "password": PASSWORD, "role": "admin"}),
            done("added Ann Lee as admin"),
        ),
        case(
            &["add", "bob"],
            answer("409 Conflict", &problem("This name is taken")),
            "POST /api/accounts",
            json!({"user": "bob", "password": PASSWORD, "role": "member"}),
            failed("This name is taken"),
        ),
        case(
            &["passwd", "a/b"],
            no_content(),
            "PATCH /api/accounts/a%2Fb",
            json!({"password": PASSWORD}),
            done("the password of a/b is set, its logins are ended"),
        ),
        case(
            &["role", "bob", "member"],
            no_content(),
            "PATCH /api/accounts/bob",
            json!({"role": "member"}),
            done("bob is member now"),
        ),
        case(&["remove", "bob"], no_content(), "DELETE /api/accounts/bob", Value::Null, done("removed bob")),
        case(
            &["remove", "bob"],
            answer("500 Oh", "no JSON"),
            "DELETE /api/accounts/bob",
            Value::Null,
            failed("the server answered with status 500"),
        ),
        case(
            &["list"],
            answer("200 OK", &accounts),
            "GET /api/accounts",
            Value::Null,
            done("ROLE    CREATED               NAME\nadmin   2000-03-01T00:00:00Z  Ann Lee"),
        ),
        case(
            &["bans"],
            answer("200 OK", &bans),
            "GET /api/bans",
            Value::Null,
            done(
                "UNTIL                 WHAT, BY WHOM, WHY\n2000-03-01T00:00:00Z  2001:db8::/64, ann, a\\nb\n\
                  for ever              mallory, ann, spam",
            ),
        ),
        case(
            &["unban", "2001:db8::/64"],
            no_content(),
            "DELETE /api/bans/2001%3Adb8%3A%3A%2F64",
            Value::Null,
            done("2001:db8::/64 is let in again"),
        ),
    ];
    let server = fake_server(&path, cases.iter().map(|case| case.answer.clone()).collect());
    for Case { args, outcome, .. } in &cases {
        assert_eq!(run(&path, args), *outcome, "{args:?}");
    }
    let asked = server.join().expect("the server ends");
    for (Case { args, line, body, .. }, (head, sent)) in cases.iter().zip(&asked) {
        assert!(head.starts_with(&format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:")), "{args:?}: {head}");
        assert!(head.contains("\r\nAuthorization: Bearer the-token\r\n"), "{head}");
        let sent = if sent.is_empty() { Value::Null } else { serde_json::from_str(sent).expect("JSON") };
        assert_eq!(sent, *body, "{args:?}");
    }
    drop(held);
    assert!(!path.join("accounts").exists(), "nothing was done behind the server's back");
}
