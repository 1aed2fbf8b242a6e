//! HTTP on the same port: routes, health, and connections that stay open. What the page is sent as is in `page.rs`.

mod common;

use common::raw::{self, Raw, Response};
use common::{Data, Server};
use rustix::process::Signal;

fn get(server: &Server, path: &str, headers: &str) -> Response {
    request(server, "GET", path, headers)
}

fn request(server: &Server, method: &str, path: &str, headers: &str) -> Response {
    raw::request(server.address, method, path, headers)
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start(&[]);
    for path in ["/", "/style.css", "/healthz"] {
        let (head, full) = (request(&server, "HEAD", path, ""), get(&server, path, ""));
        assert_eq!(head.head, full.head, "{path}");
        assert!(head.body.is_empty() && !full.body.is_empty(), "{path}");
    }
}

#[test]
fn unknown_paths_are_404_and_other_methods_405() {
    let server = Server::start(&[]);
    for path in
        ["/index.html", "/nothing", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "//", "/style.css/", "/favicon.ico", "*"]
    {
        assert_eq!(get(&server, path, "").status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let response = request(&server, method, "/", "");
        assert_eq!((response.status, response.header("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn health_is_told_as_json_that_nobody_keeps() {
    let server = Server::start(&[]);
    let response = get(&server, "/healthz", "");
    assert_eq!((response.status, response.header("Content-Type")), (200, Some("application/json")));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    let health: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!((&health["status"], &health["roomsReadOnly"]), (&"ok".into(), &0.into()));
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start(&[]);
    let mut raw = Raw::connect(server.address);
    for path in ["/healthz", "/nothing", "/style.css"] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let response = raw.response(false);
        assert_eq!(response.header("Connection"), Some("keep-alive"), "{path}");
        assert_eq!(response.status == 404, path == "/nothing");
    }
    raw.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(raw.response(false).header("Connection"), Some("close"), "HTTP/1.0 closes unless asked");
    assert!(raw.ended());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut raw = Raw::connect(server.address);
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let requests = [one("/healthz"), one("/nothing"), "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), one("/")];
    raw.send(requests.concat().as_bytes());
    raw.finish_sending();
    assert!(raw.response(false).body.starts_with(b"{\"status\":\"ok\""));
    assert_eq!(raw.response(false).status, 404);
    assert_eq!(raw.response(true).header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(raw.response(false).body.ends_with(b"</html>\n"));
    assert!(raw.ended(), "who has finished sending is answered all the same");
}

#[test]
fn an_upgrade_may_follow_a_page_on_the_same_connection() {
    let server = Server::start(&[]);
    let mut raw = Raw::connect(server.address);
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw.response(false).status, 200);
    raw.send(format!("{}\r\n", common::raw::upgrade_head("/?user=alice")).as_bytes());
    assert_eq!(raw.response(true).status, 101);
    let (_, payload) = raw.frame().expect("a frame");
    assert!(payload.starts_with(br#"{"type":"connected""#));
}

#[test]
fn an_idle_browser_connection_does_not_hold_up_the_end() {
    let server = Server::start(&[]);
    let mut kept = Raw::connect(server.address);
    kept.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(kept.response(false).status, 200);
    let _silent = Raw::connect(server.address);
    let started = std::time::Instant::now();
    server.stop();
    assert!(kept.ended());
    assert!(started.elapsed().as_secs() < 2, "it took {:?}", started.elapsed());
}

#[test]
fn connections_beyond_the_descriptors_are_refused_with_503_until_some_end() {
    let data = Data::fresh();
    // Of these, 576 are kept back for the log and the loop.
    let server = Server::with_descriptors(&data, 600);
    let mut clients: Vec<_> = (0..24).map(|n| server.client(&format!("client{n}"))).collect();
    let response = get(&server, "/healthz", "");
    assert_eq!((response.status, response.header("Connection")), (503, Some("close")));
    assert!(response.header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{}", response.head);
    clients[7].join("room");
    clients[7].say("room", "who is in goes on");
    clients.pop().expect("there are some").close();
    // The place is free when the server has seen the end of it, which it answers; it may be a turn later.
    let free = (0..1_000).any(|_| get(&server, "/healthz", "").status == 200);
    assert!(free, "the place of one that has gone");
}

#[test]
fn sigint_ends_it_as_sigterm_does() {
    let mut server = Server::start(&[]);
    let mut alice = server.client("alice");
    server.interrupt();
    assert_eq!(alice.expect_close(), 1001);
    drop(alice);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_hangup_is_logged_and_is_no_end() {
    let server = Server::start(&[]);
    server.signal(Signal::HUP);
    server.client("ada").join("room");
    let output = server.stop();
    assert!(output.contains("SIGHUP: nothing to read again"), "{output}");
}
