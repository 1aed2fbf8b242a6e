//! The command line of the real binary: what goes to which stream, and with which exit code.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use socket2::{Domain, Socket, Type};

/// The binary with a clean environment, so that the caller's variables decide nothing.
fn roomlog(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    outcome(&roomlog(args).output().expect("the binary starts"))
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code().expect("an exit, not a signal"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn wrong_usage_is_one_line_on_stderr_and_exit_2() {
    for (args, line) in [
        (&["--heartbeat", "30"][..], "roomlog: --heartbeat: '30' is not a duration: write 30s, 500ms or 5m\n"),
        (&["--hartbeat=30s"], "roomlog: unknown flag '--hartbeat'; did you mean --heartbeat?\n"),
        (&["serv"], "roomlog: unknown command 'serv'; did you mean serve?\n"),
    ] {
        assert_eq!(run(args), (2, String::new(), line.to_owned()), "{args:?}");
    }
}

#[cfg(not(feature = "rustls"))]
#[test]
fn tls_is_refused_by_a_build_that_has_none() {
    for flag in ["--tls-cert", "--tls-key"] {
        let (code, stdout, stderr) = run(&[flag, "cert.pem"]);
        assert!(code == 2 && stdout.is_empty() && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.starts_with(&format!("roomlog: {flag}: 'cert.pem' ")), "{stderr}");
        assert!(stderr.ends_with("cargo build --release --features rustls\n"), "{stderr}");
    }
}

#[test]
fn wrong_environment_is_blamed_by_name_and_exit_2() {
    let output = roomlog(&[]).env("ROOMLOG_GRACE", "soon").output().expect("the binary starts");
    let line = "roomlog: ROOMLOG_GRACE: 'soon' is not a duration: write 30s, 500ms or 5m\n";
    assert_eq!(outcome(&output), (2, String::new(), line.to_owned()));
}

#[test]
fn help_and_version_go_to_stdout() {
    for args in [&["--help"][..], &["serve", "-h"], &["healthcheck", "--help"], &["completions", "-h"], &["man", "-h"]]
    {
        let (code, stdout, stderr) = run(args);
        assert!(code == 0 && stderr.is_empty() && stdout.contains("Usage: roomlog"), "{args:?}: {stdout}{stderr}");
    }
    let version = concat!("roomlog ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&["--version"]), (0, version.to_owned(), String::new()));
}

#[test]
fn help_into_a_closed_pipe_ends_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = roomlog(&["--help"]).stdout(writer).stderr(Stdio::piped()).output().expect("the binary starts");
    assert_eq!(outcome(&output), (0, String::new(), String::new()));
}

#[test]
fn healthcheck_without_a_server_is_one_line_and_exit_1() {
    // Bound but not listening: the port refuses, and nobody else can take it meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let port = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an IP address").port();
    let (code, stdout, stderr) = run(&["healthcheck", "--port", &port.to_string()]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
    assert!(stderr.starts_with(&format!("roomlog: healthcheck: http://127.0.0.1:{port}/healthz: ")), "{stderr}");
}
