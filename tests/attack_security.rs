//! What nobody may reach: pages of other origins, files outside the data folder, secrets in a log.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::raw::{Raw, text, upgrade_head};
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
    let others = [format!("http://localhost:{port}"), format!("http://[::1]:{port}"), format!("http://127.0.0.1.:{port}")];
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

/// A tracer that writes down every file that a running server opens, makes, moves or removes.
struct Opens {
    tracer: Child,
    report: PathBuf,
}

impl Opens {
    fn of(server: &Server, report: PathBuf) -> Option<Opens> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-qq", "-s", "4096", "-e", "trace=%file", "-e", "signal=none", "-o"]).arg(&report);
        let mut tracer = strace.args(["-p", &server.id().to_string()]).stderr(Stdio::piped()).spawn().ok()?;
        let stderr = BufReader::new(tracer.stderr.take().expect("piped"));
        let attached = fs::read_to_string(format!("/proc/{}/status", server.id()));
        drop((stderr, attached));
        Some(Opens { tracer, report })
    }
}
