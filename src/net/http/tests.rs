//! What heads are taken and refused, and how responses are framed.

use super::*;

const UPGRADE: &str = "GET /ws?user=ada HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn take(input: &[u8]) -> Result<Progress, Refusal> {
    RequestReader::default().take(input, 300, 10)
}

fn request(input: &str) -> Request {
    match take(input.as_bytes()) {
        Ok(Progress::Complete { request, rest }) if rest.is_empty() => *request,
        other => panic!("{input:?}: {other:?}"),
    }
}

fn refusal(input: &str) -> Refusal {
    take(input.as_bytes()).expect_err(input)
}

#[test]
fn bad_heads_are_refused() {
    let cases = [
        (400, "\x16\x03\x01\x02\x00\x01"),
        (400, "GET\r\n\r\n"),
        (400, "GET / HTTP/2.0\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (411, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"),
    ];
    for (status, head) in cases {
        assert_eq!(refusal(head).response().status(), status, "{head:?}");
    }
}

#[test]
fn bad_upgrades_are_refused() {
    let cases = [
        (400, "GET /ws", "POST /ws"),
        (426, "Version: 13", "Version: 8"),
        (426, "Sec-WebSocket-Version: 13\r\n", ""),
        (400, "jZQ==", "jZQ="),
        (400, "dGhl", "dG!l"),
        (400, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        (400, "Host: a\r\n", "Host: a\r\nContent-Length: 5\r\n"),
        (400, "Host: a\r\n", "Host: a\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
    ];
    for (status, from, to) in cases {
        assert!(UPGRADE.contains(from), "{from:?}");
        assert_eq!(refusal(&UPGRADE.replace(from, to)).response().status(), status, "{from:?} → {to:?}");
    }
    let told = String::from_utf8(Refusal::UpgradeRequired.response().encode(true, false)).unwrap();
    assert!(told.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{told}");
}

#[test]
fn an_upgrade_is_recognised_and_accepted_as_the_rfc_shows() {
    let upgrade = request(UPGRADE);
    assert!(upgrade.is_upgrade());
    assert_eq!((upgrade.path(), upgrade.query()), ("/ws", "user=ada"));
    let accept_key = upgrade.accept_key().unwrap();
    assert_eq!(accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455 section 1.3");
    assert_eq!(
        String::from_utf8(encode_upgrade(&accept_key, Some("chat.v1"))).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n"
    );
}

#[test]
fn what_is_no_upgrade_is_a_plain_request() {
    for (from, to) in [("WebSocket", "h2c"), ("keep-alive, Upgrade", "keep-alive"), ("HTTP/1.1", "HTTP/1.0")] {
        let plain = request(&UPGRADE.replacen(from, to, 1));
        assert!(!plain.is_upgrade() && plain.accept_key().is_none(), "{to}");
    }
}

#[test]
fn the_head_is_bounded_whether_or_not_it_ends() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(300));
    assert_eq!(refusal(&long), Refusal::HeadTooLarge);
    assert_eq!(refusal(&format!("{long}\r\n\r\n")), Refusal::HeadTooLarge);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(64));
    let refused = RequestReader::default().take(many.as_bytes(), 8192, 0);
    assert_eq!(refused, Err(Refusal::HeadTooLarge));
}

#[test]
fn a_request_is_the_same_however_it_is_cut() {
    let input = b"\r\nPOST http://host/a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /next";
    for size in 1..input.len() {
        let mut reader = RequestReader::default();
        let mut fed = 0;
        let (request, rest) = loop {
            let chunk = &input[fed..input.len().min(fed + size)];
            fed += chunk.len();
            match reader.take(chunk, 300, 10).unwrap() {
                Progress::Complete { request, rest } => break (request, rest),
                progress => assert_eq!(progress, Progress::Incomplete),
            }
        };
        assert_eq!((request.method(), request.target(), request.path()), ("POST", "/a/b?c", "/a/b"));
        assert_eq!((request.header("HOST"), request.body()), (Some("a"), &b"hello"[..]), "pieces of {size}");
        assert_eq!([&rest, &input[fed..]].concat(), b"GET /next", "pieces of {size}");
        assert!(reader.is_empty());
    }
}

#[test]
fn a_client_that_waits_for_leave_is_told_once() {
    let mut reader = RequestReader::default();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(reader.take(head, 300, 10), Ok(Progress::ExpectsContinue));
    assert_eq!(reader.take(b"h", 300, 10), Ok(Progress::Incomplete));
    assert!(!reader.is_empty(), "a body is awaited");
    assert!(matches!(reader.take(b"i", 300, 10), Ok(Progress::Complete { .. })));
}

#[test]
fn keep_alive_follows_version_and_header() {
    for (head, keeps_alive) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
    ] {
        assert_eq!(request(head).keeps_alive(), keeps_alive, "{head:?}");
    }
}

#[test]
fn lists_are_read_over_several_lines() {
    let request = request("GET / HTTP/1.1\r\nHost: a\r\nAccept: x, y ,\r\naccept: z\r\n\r\n");
    assert_eq!(request.header_list("ACCEPT").collect::<Vec<_>>(), ["x", "y", "z"]);
    assert_eq!(request.header("accept"), Some("x, y ,"));
}

#[test]
fn responses_are_framed() {
    let response = Response::new(200).header("ETag", "\"1\"").body(&b"hello"[..]);
    let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 5\r\nConnection: ";
    assert_eq!(response.encode(true, true), format!("{head}keep-alive\r\n\r\nhello").as_bytes());
    assert_eq!(response.encode(false, false), format!("{head}close\r\n\r\n").as_bytes(), "HEAD");
    assert_eq!(
        Response::new(304).encode(true, true),
        b"HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n",
        "no length of what is not sent"
    );
}

#[test]
#[should_panic(expected = "line break")]
fn a_header_cannot_smuggle_another() {
    let _ = Response::new(200).header("X", "a\r\nSet-Cookie: b");
}
