//! Paths, methods and bodies, each with what it is read as.

use super::*;
use crate::config::Origins;

fn ask(head: &str, headers: &str, body: &str) -> Result<Asked, Response> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = Request::testing(&format!("{head} HTTP/1.1\r\nHost: chat.example\r\n{headers}{length}\r\n{body}"));
    let origins = Origins::Listed(vec!["https://friend.example".into()]);
    let cors = Cors::of(&request, &origins).expect("an origin that may call");
    read(&request, &cors)
}

fn call(head: &str, body: &str) -> Call {
    match ask(head, "Content-Type: application/json; charset=utf-8\r\n", body) {
        Ok(asked) => asked.call,
        Err(wrong) => panic!("{head}: {}", String::from_utf8_lossy(&wrong.encoded())),
    }
}

fn wrong(head: &str, headers: &str, body: &str) -> (u16, String) {
    match ask(head, headers, body) {
        Ok(_) => panic!("{head} is read as a call"),
        Err(response) => (response.status(), String::from_utf8(response.encoded()).expect("text")),
    }
}

#[test]
fn requests_are_read_as_calls() {
    let room = || "über/raum".to_owned();
    let calls = [
        ("GET /api/rooms", "", Call::Rooms { after: None, limit: None }),
        ("GET /api/rooms?after=a%20b&limit=5", "", Call::Rooms { after: Some("a b".into()), limit: Some(5) }),
        (
            "GET /api/rooms/%C3%BCber%2Fraum/messages?before=9&limit=2",
            "",
            Call::Read { room: room(), range: HistoryRange::Before { before: 9, since: 0, limit: 2 } },
        ),
        (
            "POST /api/rooms/%C3%BCber%2Fraum/messages",
            r#"{"content":"hi","nonce":"n","more":1}"#,
            Call::Post { room: room(), content: "hi".into(), nonce: Some("n".into()) },
        ),
        ("GET /api/rooms/a/events?since=3", "", Call::Listen { room: "a".into(), since: Some(3), epoch: None }),
        ("GET /api/me/rooms", "", Call::OwnRooms),
        ("PUT /api/me/rooms/a", "", Call::KeepRoom { room: "a".into() }),
        ("DELETE /api/me/rooms/a", "", Call::DropRoom { room: "a".into() }),
        ("DELETE /api/sessions", "", Call::LogOut),
        ("DELETE /api/accounts/ann%20lee", "", Call::RemoveAccount { user: "ann lee".into() }),
        ("DELETE /api/bans/2001:db8::%2F64", "", Call::Unban { whom: "2001:db8::/64".into() }),
        ("GET /api/bans", "", Call::Bans),
        ("GET /api/accounts", "", Call::Accounts),
    ];
    for (head, body, expected) in calls {
        assert!(call(head, body) == expected, "{head}");
    }
    let login = call("POST /api/sessions", r#"{"user":"a","password":"p"}"#);
    assert!(login == Call::LogIn { user: "a".into(), password: "p".into() });
}

#[test]
fn a_head_is_a_get_without_its_body() {
    let asked = ask("HEAD /api/rooms", "If-None-Match: W/\"a\", \"b\"\r\nAuthorization: bearer  t \r\n", "");
    let asked = asked.unwrap_or_else(|_| panic!("a call"));
    assert!(asked.is_head && asked.call == Call::Rooms { after: None, limit: None });
    assert_eq!((asked.known, asked.token.as_deref()), (vec!["\"a\"".to_owned(), "\"b\"".to_owned()], Some("t")));
}

#[test]
fn what_cannot_be_read_is_a_problem_that_says_why() {
    const JSON: &str = "Content-Type: application/json\r\n";
    for (head, headers, body, status, detail) in [
        ("GET /api/nothing", "", "", 404, "nothing at this path"),
        ("GET /api/rooms/a", "", "", 404, "nothing at this path"),
        ("GET /api/rooms/a/messages/1", "", "", 404, "nothing at this path"),
        ("GET /api/rooms/%FF/messages", "", "", 400, "not UTF-8"),
        ("DELETE /api/rooms", "", "", 405, "GET, HEAD, OPTIONS"),
        ("BREW /api/sessions", "", "", 405, "POST, DELETE, OPTIONS"),
        ("GET /api/rooms?limit=many", "", "", 400, "limit is a number"),
        ("GET /api/rooms/a/messages?since=-1", "", "", 400, "since is a number"),
        ("GET /api/rooms/a/events", "Last-Event-ID: 7\r\n", "", 400, "epoch:sequence"),
        ("POST /api/sessions", "", "{}", 415, "application/json"),
        ("POST /api/sessions", "Content-Type: text/plain\r\n", "{}", 415, "application/json"),
        ("POST /api/sessions", JSON, "{", 400, "not JSON"),
        ("POST /api/sessions", JSON, "", 400, "not JSON"),
        ("POST /api/sessions", JSON, r#"{"user":"a"}"#, 400, "lacks a field"),
        ("POST /api/sessions", JSON, r#"{"user":"a","password":5}"#, 400, "lacks a field"),
        ("POST /api/rooms/a/messages", JSON, "[]", 400, "lacks a field"),
    ] {
        let (found, text) = wrong(head, headers, body);
        assert_eq!(found, status, "{head}: {text}");
        assert!(text.contains("application/problem+json") && text.contains(detail), "{head}: {text}");
    }
    let (_, text) = wrong("POST /api/sessions", JSON, r#"{"user":"a","password":"secret"#);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn an_event_stream_goes_on_where_the_browser_says() {
    let asked = ask("GET /api/rooms/a/events?since=3", "Last-Event-ID: 00000000000000ff:42\r\n", "");
    let expected = Call::Listen { room: "a".into(), since: Some(42), epoch: Some("00000000000000ff".into()) };
    assert!(asked.unwrap_or_else(|_| panic!("a call")).call == expected);
}

#[test]
fn options_tell_the_methods_and_allowed_origins_what_they_may_send() {
    let (status, text) = wrong("OPTIONS /api/rooms/a/messages", "", "");
    assert_eq!(status, 204);
    assert!(text.contains("Allow: GET, HEAD, POST, OPTIONS\r\n") && !text.contains("Access-Control"), "{text}");
    let preflight = "Origin: https://friend.example\r\nAccess-Control-Request-Method: POST\r\n";
    let (status, text) = wrong("OPTIONS /api/rooms/a/messages", preflight, "");
    assert_eq!(status, 204);
    for line in [
        "Access-Control-Allow-Origin: https://friend.example\r\n",
        "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS\r\n",
        "Authorization",
        "Vary: Origin\r\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(wrong("OPTIONS /api/nothing", "", "").0, 404);
}
