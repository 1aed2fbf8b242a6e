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

/// What becomes of `input` that arrives in pieces of `size` bytes: bodies and what is left, or the status of a refusal.
fn requests_in(input: &[u8], size: usize) -> Result<(Vec<Vec<u8>>, bool), u16> {
    let mut reader = RequestReader::default();
    let mut bodies = Vec::new();
    for piece in input.chunks(size) {
        let mut unread = piece.to_vec();
        while !unread.is_empty() {
            match reader.take(&mem::take(&mut unread), 300, 10).map_err(|refusal| refusal.response().status())? {
                Progress::Complete { request, rest } => {
                    bodies.push(request.body().to_vec());
                    unread = rest;
                }
                Progress::Incomplete | Progress::ExpectsContinue => {}
            }
        }
    }
    Ok((bodies, reader.is_empty()))
}

/// Each is a way to make two servers on one connection disagree on where a request ends, so that one of them takes for
/// a request what the other takes for a body.
#[test]
fn requests_that_two_servers_could_read_differently_are_refused() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let cases: [(u16, &str, &str, &str); 52] = [
        (400, "CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
        (400, "TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "1\r\nG\r\n0\r\n\r\n"),
        (400, "CL with an unknown coding", "Content-Length: 3\r\nTransfer-Encoding: gzip\r\n", "abc"),
        (400, "CL with an empty coding", "Content-Length: 3\r\nTransfer-Encoding:\r\n", "abc"),
        (400, "two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n", "ab"),
        (400, "one length twice", "Content-Length: 2\r\nContent-Length: 2\r\n", "ab"),
        (400, "one length in a list", "Content-Length: 2, 2\r\n", "ab"),
        (400, "a length with a comma", "Content-Length: 2,\r\n", "ab"),
        (400, "a signed length", "Content-Length: +2\r\n", "ab"),
        (400, "a negative length", "Content-Length: -2\r\n", "ab"),
        (400, "two words of length", "Content-Length: 2 x\r\n", "ab"),
        (400, "a hexadecimal length", "Content-Length: 0x2\r\n", "ab"),
        (400, "a length with an underscore", "Content-Length: 1_0\r\n", "0123456789"),
        (400, "an empty length", "Content-Length:\r\n", ""),
        (400, "a length in quotes", "Content-Length: \"2\"\r\n", "ab"),
        (400, "a length beyond 64 bits", "Content-Length: 18446744073709551618\r\n", "ab"),
        (400, "a space before the colon", "Content-Length : 2\r\n", "ab"),
        (400, "a folded length", "Content-Length:\r\n 2\r\n", "ab"),
        (501, "a coding that is not final", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        (501, "a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        (501, "identity", "Transfer-Encoding: identity\r\n", "ab"),
        (501, "nearly chunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        (400, "chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        (400, "chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        (400, "an empty coding", "Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"),
        (400, "no coding", "Transfer-Encoding:\r\n", "0\r\n\r\n"),
        (400, "chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
        (400, "chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        (400, "a vertical tab before chunked", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        (400, "a space before the other colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        (400, "a folded coding", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        (400, "a bare CR in the head", "X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        (400, "a size with 0x", chunked, "0x1\r\nG\r\n0\r\n\r\n"),
        (400, "a signed size", chunked, "+1\r\nG\r\n0\r\n\r\n"),
        (400, "a negative size", chunked, "-1\r\nG\r\n0\r\n\r\n"),
        (400, "no size", chunked, "\r\nG\r\n0\r\n\r\n"),
        (400, "only an extension", chunked, ";a=b\r\nG\r\n0\r\n\r\n"),
        (400, "a blank before the size", chunked, " 1\r\nG\r\n0\r\n\r\n"),
        (400, "a blank behind the size", chunked, "1 \r\nG\r\n0\r\n\r\n"),
        (400, "two words of size", chunked, "1 1\r\nG\r\n0\r\n\r\n"),
        (400, "a size that ends with LF", chunked, "1\nG\r\n0\r\n\r\n"),
        (400, "a size that ends with CR", chunked, "1\rXG\r\n0\r\n\r\n"),
        (400, "an extension that ends with LF", chunked, "1;a\nG\r\n0\r\n\r\n"),
        (400, "an extension with a bare CR", chunked, "1;a\rb\r\nG\r\n0\r\n\r\n"),
        (400, "more data than the size says", chunked, "1\r\nGG\r\n0\r\n\r\n"),
        (400, "less data than the size says", chunked, "5\r\nabc\r\n0\r\n\r\n"),
        (400, "data that ends with LF", chunked, "1\r\nG\n0\r\n\r\n"),
        (400, "an endless size", chunked, "00000000000000001\r\nG\r\n0\r\n\r\n"),
        (413, "a size that wraps around to 1", chunked, "10000000000000001\r\nG\r\n0\r\n\r\n"),
        (400, "an end that is LF", chunked, "0\r\n\n"),
        (400, "a trailer without a colon", chunked, "0\r\nGET / HTTP/1.1\r\n\r\n"),
        (400, "a folded trailer", chunked, "0\r\nA: b\r\n c\r\n\r\n"),
    ];
    for (status, name, headers, body) in cases {
        let input =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        for size in [input.len(), 1] {
            assert_eq!(requests_in(input.as_bytes(), size), Err(status), "{name}, in pieces of {size}");
        }
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(requests_in(old, old.len()), Err(400), "HTTP/1.0 has no codings");
}

#[test]
fn pipelined_requests_are_the_same_wherever_they_are_cut() {
    let head = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let chunked = head("Transfer-Encoding: Chunked\r\n");
    let requests = [
        (format!("{chunked}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"), "helloworld"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), ""),
        (
            format!("{chunked}00A;a=\"b;c\" ; d\r\n0\r\n\r\nGET /\r\n0 ;x\r\nChecksum: 1, 2\r\nX:\r\n\r\n"),
            "0\r\n\r\nGET /",
        ),
        (format!("{}0123456789", head("Content-Length: 010\r\n")), "0123456789"),
        (format!("{chunked}0\r\n\r\n"), ""),
        (format!("{}\r\n", head("Content-Length: 2\r\nExpect: 100-Continue\r\n")), "\r\n"),
    ];
    let input: String = requests.iter().map(|(bytes, _)| bytes.as_str()).collect();
    let want: Vec<Vec<u8>> = requests.iter().map(|(_, body)| body.as_bytes().to_vec()).collect();
    for size in 1..=input.len() {
        assert_eq!(requests_in(input.as_bytes(), size), Ok((want.clone(), true)), "in pieces of {size}");
    }
    // Cut once, at every place.
    for cut in 1..input.len() {
        let mut reader = RequestReader::default();
        let (mut bodies, mut unread) = (Vec::new(), input.as_bytes()[..cut].to_vec());
        let mut behind = Some(input.as_bytes()[cut..].to_vec());
        while bodies.len() < want.len() {
            match reader.take(&unread, 300, 10).unwrap() {
                Progress::Complete { request, rest } => {
                    bodies.push(request.body().to_vec());
                    unread = rest;
                }
                _ => unread = behind.take().expect("no request is complete before its last byte, nor later"),
            }
        }
        assert_eq!(bodies, want, "cut at {cut}");
    }
}

#[test]
fn a_chunked_body_is_bounded_in_every_part() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(5_000);
    for (status, body) in [
        (413, "b"),
        (413, "5\r\nhello\r\n5\r\nworld\r\n1"),
        (413, "ffffffffffffffff"),
        (400, &format!("0;{long}")),
        (400, &format!("1{}", " ".repeat(5_000))),
        (400, &format!("0\r\n{long}")),
        (400, &format!("0\r\nX: {long}")),
        (400, &format!("0\r\n{}", "X: y\r\n".repeat(2_000))),
        // Each of these is short, all of them are not.
        (400, &format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", &long[..500]).repeat(10))),
    ] {
        assert_eq!(requests_in(format!("{head}{body}").as_bytes(), 7), Err(status), "{:.40}", body);
    }
    let full = format!("{head}{}0;{}\r\n\r\n", "1\r\nx\r\n".repeat(10), &long[..4_000]);
    assert_eq!(requests_in(full.as_bytes(), 7), Ok((vec![b"xxxxxxxxxx".to_vec()], true)));
}

#[test]
fn a_client_that_waits_for_leave_is_told_once() {
    for (header, first, last) in
        [("Content-Length: 2", "h", "i"), ("Transfer-Encoding: chunked", "2\r\nh", "i\r\n0\r\n\r\n")]
    {
        let mut reader = RequestReader::default();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{header}\r\n\r\n");
        assert_eq!(reader.take(head.as_bytes(), 300, 10), Ok(Progress::ExpectsContinue));
        assert_eq!(reader.take(first.as_bytes(), 300, 10), Ok(Progress::Incomplete));
        assert!(!reader.is_empty(), "a body is awaited");
        assert!(
            matches!(reader.take(last.as_bytes(), 300, 10), Ok(Progress::Complete { request, .. }) if request.body() == b"hi")
        );
    }
}

#[test]
fn an_expectation_that_cannot_be_met_is_refused() {
    let with = |version: &str, value: &str| format!("GET / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n");
    for value in ["200-ok", "100-continue, 200-ok", "100-continue=1", "\"100-continue\""] {
        assert_eq!(refusal(&with("1.1", value)).response().status(), 417, "{value}");
        request(&with("1.0", value));
    }
    for value in ["100-CONTINUE", "100-continue, 100-continue", ""] {
        request(&with("1.1", value));
    }
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(take(old.as_bytes()), Ok(Progress::Incomplete), "it would take the leave for the answer");
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
