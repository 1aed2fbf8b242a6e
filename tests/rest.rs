//! The REST interface, request by request: rooms, messages, validators, other pages' scripts, and what is wrong with a
//! request.

mod common;

use common::client::{contents, sequences};
use common::raw::{Raw, Response};
use common::rest::{PASSWORD, messages};
use common::{Rest, Server};
use serde_json::{Value, json};

/// Names as they are, and not as a path would like them.
const ODD_NAMES: &[&str] = &[
    "../../etc",
    "a/b",
    "a b",
    "a%2Fb",
    "?since=1",
    "#top",
    ".",
    "..",
    "部屋",
    "e\u{301}",
    "\u{1f980}",
    "@dmitri",
    "+",
    "ROOM",
    "room",
];

fn alice(server: &Server) -> Rest {
    server.rest().with(&server.rest().register("alice"))
}

/// A request by hand; its answer.
fn by_hand(server: &Server, request: &str) -> (Response, Raw) {
    let mut raw = server.rest().raw();
    raw.send(request.as_bytes());
    (raw.response(false), raw)
}

#[test]
fn every_error_is_a_problem_with_all_its_fields() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let rest = server.rest();
    let say = |content: &str, nonce: Option<&str>| {
        alice.post("/api/rooms/room/messages", json!({"content": content, "nonce": nonce}))
    };
    say("once", Some("n")).expect(201);
    let login = |user: &str| rest.post("/api/sessions", json!({"user": user, "password": "not the password"}));
    for _ in 0..5 {
        login("nobody");
    }
    let problems = [
        (rest.get("/api/nothing"), 404, "not_found"),
        (rest.get("/api/"), 404, "not_found"),
        (rest.get("/api/rooms/room"), 404, "not_found"),
        (rest.get("/api/rooms/room/messages/1"), 404, "not_found"),
        (rest.get("/api/rooms/"), 404, "not_found"),
        (rest.get("/api/rooms/%ff/messages"), 400, "bad_request"),
        (rest.get("/api/rooms/room/messages?since=x"), 400, "bad_request"),
        (rest.get("/api/rooms/room/messages?limit=-1"), 400, "bad_request"),
        (rest.get("/api/rooms/room/events?since=1.5"), 400, "bad_request"),
        (rest.get("/api/rooms?limit=many"), 400, "bad_request"),
        (rest.get("/api/rooms//messages"), 422, "bad_room"),
        (rest.get("/api/rooms/a%00b/messages"), 422, "bad_room"),
        (rest.get(&messages(&"x".repeat(65))), 422, "bad_room"),
        (rest.delete("/api/rooms"), 405, "method_not_allowed"),
        (rest.post("/api/sessions", json!({"user": "alice"})), 400, "bad_request"),
        (rest.post("/api/sessions", json!([])), 400, "bad_request"),
        (rest.post("/api/rooms/room/messages", json!({"content": "x"})), 401, "bad_token"),
        (rest.with("rl_x").get("/api/rooms"), 401, "bad_token"),
        (login("alice"), 401, "bad_login"),
        (alice.get("/api/accounts"), 403, "forbidden"),
        (rest.get("/api/rooms/%40dm%3A1-2/messages"), 403, "forbidden"),
        (server.operator().delete("/api/accounts/nobody"), 404, "no_such_user"),
        (rest.post("/api/accounts", json!({"user": "alice", "password": PASSWORD})), 409, "name_taken"),
        (say("twice", Some("n")), 409, "nonce_conflict"),
        (say(" ", None), 422, "empty"),
        (say(&"x".repeat(4_097), None), 422, "too_long"),
        (say("x", Some(&"n".repeat(65))), 422, "too_long"),
        (say("x", Some("")), 400, "bad_request"),
        (rest.post("/api/accounts", json!({"user": "system", "password": PASSWORD})), 422, "bad_name"),
        (login("nobody"), 429, "rate_limited"),
    ];
    for (answer, status, code) in &problems {
        let problem = answer.expect_problem(*status, code);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.len() < 200 && !detail.contains('\n'), "one line for people: {detail:?}");
        let title = problem["title"].as_str().expect("a text");
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status} {title}\r\n")), "{}", answer.head);
        match status {
            401 if *code == "bad_token" => assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer")),
            405 => assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS")),
            429 => assert!(answer.header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok())),
            _ => {}
        }
    }
    assert_eq!(alice.history("room")["head"], 1, "nothing of all that was stored");
}

#[test]
fn bodies_are_declared_and_bounded() {
    let server = Server::start(&[]);
    let path = "/api/sessions";
    let body = json!({"user": "alice", "password": PASSWORD}).to_string();
    for (kind, status) in [
        ("Content-Type: application/json\r\n", 401),
        ("Content-Type: Application/JSON; charset=utf-8\r\n", 401),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: application/jsonp\r\n", 415),
        ("", 415),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n", body.len());
        let (answer, _) = by_hand(&server, &(head + &body));
        assert_eq!(answer.status, status, "{kind}");
        if status == 415 {
            answer.expect_problem(415, "unsupported_media_type");
        }
    }
    for text in ["", "{", "null", "\"\u{fffd}\"", "{\"user\":\"a\",\"password\":\"b\"} x"] {
        let head = "POST /api/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ";
        let (answer, _) = by_hand(&server, &format!("{head}{}\r\n\r\n{text}", text.len()));
        answer.expect_problem(400, "bad_request");
    }
    // Of 64 KiB, and one byte more.
    let padded = |bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len()));
    let head = |bytes: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n")
    };
    let (answer, _) = by_hand(&server, &(head(65_536) + &padded(65_536)));
    assert_eq!(answer.status, 401);
    let (answer, mut raw) = by_hand(&server, &head(65_537));
    assert_eq!((answer.status, answer.header("Connection")), (413, Some("close")));
    assert!(raw.ended());
}

#[test]
fn chunked_bodies_are_put_together() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let body = json!({"content": "in pieces, \u{1f980}"}).to_string();
    let head = String::from_utf8(alice.encode("POST", "/api/rooms/room/messages", "", None)).expect("ASCII");
    let head = head.trim_end().to_owned() + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for size in [1, 7, 1_000] {
        let mut raw = alice.raw();
        raw.send(head.as_bytes());
        for chunk in body.as_bytes().chunks(size) {
            raw.send(format!("{:x}\r\n", chunk.len()).as_bytes());
            raw.send(chunk);
            raw.send(b"\r\n");
        }
        raw.send(b"0\r\n\r\n");
        assert_eq!(raw.response(false).expect(201)["content"], "in pieces, \u{1f980}");
        // The connection is at the next request.
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(raw.response(false).status, 200);
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    let server = Server::start(&[]);
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 0x4\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        let head = format!("POST /api/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{framing}\r\n");
        let (answer, mut raw) = by_hand(&server, &(head + "0\r\n\r\n" + smuggled));
        assert_eq!((answer.status, answer.header("Connection")), (400, Some("close")), "{framing}");
        assert!(raw.until(b"\r\n").is_none(), "what comes behind is no request: {framing}");
    }
    for chunks in
        ["4\n{}  \n0\n\n", "0x4\r\n", "-1\r\n", "4\r\n{}  0\r\n\r\n", "5\r\n{}  \r\n0\r\n\r\n", "fffffffffffffffff\r\n"]
    {
        let head = "POST /api/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (answer, mut raw) = by_hand(&server, &format!("{head}{chunks}{smuggled}"));
        assert!(matches!(answer.status, 400 | 413), "{chunks:?}: {}", answer.status);
        assert!(raw.until(b"\r\n").is_none(), "{chunks:?}");
    }
    let (answer, _) = by_hand(&server, "POST /api/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n");
    assert_eq!(answer.status, 501);
}

#[test]
fn a_connection_takes_one_request_after_the_other_and_answers_in_order() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    alice.say("room", "hello");
    let mut raw = alice.raw();
    for n in 0..3 {
        raw.send(&alice.encode("POST", "/api/rooms/kept/messages", "", Some(&json!({"content": n.to_string()}))));
        assert_eq!(raw.response(false).expect(201)["sequence"], n + 1);
        raw.send(&alice.encode("GET", "/api/rooms/kept/messages", "", None));
        let answer = raw.response(false);
        assert_eq!((answer.json()["head"].as_u64(), answer.header("Connection")), (Some(n + 1), Some("keep-alive")));
    }
    // A login takes its time, and what is asked behind it waits.
    let login = json!({"user": "alice", "password": PASSWORD});
    let requests = [
        alice.encode("POST", "/api/sessions", "", Some(&login)),
        alice.encode("GET", "/api/rooms/room/messages", "", None),
        alice.encode("GET", "/api/nothing", "", None),
        alice.encode("POST", "/api/sessions", "", Some(&login)),
        alice.encode("HEAD", "/api/rooms", "", None),
        alice.encode("GET", "/healthz", "", None),
        alice.encode("DELETE", "/api/sessions", "Connection: close\r\n", None),
    ];
    raw.send(&requests.concat());
    raw.response(false).token(200);
    assert_eq!(raw.response(false).expect(200)["messages"][0]["content"], "hello");
    raw.response(false).expect_problem(404, "not_found");
    raw.response(false).token(200);
    assert_eq!(raw.response(true).status, 200);
    assert_eq!(raw.response(false).json()["status"], "ok");
    let last = raw.response(false);
    assert_eq!((last.status, last.header("Connection")), (204, Some("close")));
    assert!(raw.ended());
}

#[test]
fn rooms_are_listed_by_name_and_page_by_page() {
    let server = Server::start(&["--rate", "0"]);
    let alice = alice(&server);
    for n in 0..25 {
        alice.say(&format!("room {n:02}"), "hello");
    }
    alice.say("room 03", "hello again");
    let mut member = server.client("bob");
    member.join("room 03");
    member.join("room 99, silent");
    let all = server.rest().get("/api/rooms").expect(200);
    let all = all.as_array().expect("a list");
    let names: Vec<&str> = all.iter().map(|row| row["room"].as_str().expect("a name")).collect();
    assert_eq!(names.len(), 26);
    assert!(names.is_sorted(), "{names:?}");
    let fourth = &all[3];
    assert_eq!((&fourth["room"], &fourth["members"], &fourth["head"]), (&json!("room 03"), &json!(1), &json!(2)));
    assert!(fourth["epoch"].as_str().is_some_and(|epoch| epoch.len() == 16), "{fourth}");
    assert!(fourth["lastTimestamp"].as_u64().is_some_and(|time| time > 1_700_000_000_000), "{fourth}");
    let silent = json!({"room": "room 99, silent", "members": 1, "head": 0, "epoch": null, "lastTimestamp": null});
    assert_eq!(all[25], silent);

    for limit in [1, 5, 13, 25, 26] {
        let (mut rows, mut path) = (Vec::new(), format!("/api/rooms?limit={limit}"));
        loop {
            let answer = server.rest().get(&path);
            let page = answer.expect(200);
            let page = page.as_array().expect("a list");
            assert!(page.len() <= limit, "{path}");
            rows.extend(page.clone());
            let Some(link) = answer.header("Link") else { break };
            let target = link.strip_suffix(">; rel=\"next\"").and_then(|link| link.strip_prefix('<'));
            path = target.expect("a link to the next page").to_owned();
        }
        assert_eq!(&rows, all, "{limit} at once");
    }
    let after = server.rest().get("/api/rooms?after=room%2020&limit=0").expect(200);
    assert_eq!(after[0]["room"], "room 21", "a limit is moved into its range");
    assert_eq!(server.rest().get("/api/rooms?limit=100000").expect(200).as_array().map(Vec::len), Some(26));
    assert_eq!(server.rest().get("/api/rooms?after=z").expect(200), json!([]));
}

#[test]
fn rooms_of_odd_names_are_read_and_written_like_others() {
    let server = Server::start(&["--rate", "0"]);
    let alice = alice(&server);
    for name in ODD_NAMES {
        let mut member = server.client("bob");
        member.join(name);
        let stored = alice.say(name, name);
        assert_eq!((&stored["room"], &stored["content"], &stored["sequence"]), (&json!(name), &json!(name), &json!(1)));
        assert_eq!(member.skip_until(|event| event["data"]["user"] == "alice")["data"], stored);
        assert_eq!(server.rest().history(name)["messages"], json!([stored]));
        assert_eq!(server.rest().listen(name, "?since=0", "").message(), stored);
        member.close();
    }
    let listed = server.rest().get("/api/rooms").expect(200);
    let listed: Vec<&str> =
        listed.as_array().expect("a list").iter().map(|row| row["room"].as_str().expect("a name")).collect();
    let mut expected = ODD_NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn messages_are_read_in_both_directions_and_within_bounds() {
    let server = Server::start(&["--rate", "0"]);
    let alice = alice(&server);
    for n in 1..=12 {
        alice.say("room", &format!("message {n}"));
    }
    let read = |query: &str| server.rest().get(&format!("/api/rooms/room/messages{query}")).expect(200);
    let numbers = |history: &Value| sequences(history["messages"].as_array().expect("a list"));
    for (query, expected, more) in [
        ("", (1..=12).collect::<Vec<u64>>(), false),
        ("?since=10", vec![11, 12], false),
        ("?since=0&limit=3", vec![1, 2, 3], true),
        ("?limit=0", vec![1], true),
        ("?before=5&limit=2", vec![3, 4], true),
        ("?before=3", vec![1, 2], false),
        ("?since=4&before=9&limit=2", vec![7, 8], true),
        ("?since=4&before=9", vec![5, 6, 7, 8], false),
        ("?since=12", vec![], false),
        ("?since=99", vec![], false),
        ("?before=1", vec![], false),
        ("?since=10&unknown=1", vec![11, 12], false),
    ] {
        let history = read(query);
        assert_eq!((numbers(&history), &history["more"]), (expected, &json!(more)), "{query}");
        assert_eq!((&history["room"], &history["head"], &history["floor"]), (&json!("room"), &json!(12), &json!(1)));
    }
    // It is what the history command says, to the byte.
    let mut client = server.client("bob");
    client.ask(json!({"type": "history", "room": "room", "since": 3, "limit": 4}));
    assert_eq!(client.expect("history"), read("?since=3&limit=4"));
    let nowhere = server.rest().get("/api/rooms/nowhere/messages").expect(200);
    assert_eq!((&nowhere["messages"], &nowhere["head"], &nowhere["more"]), (&json!([]), &json!(0), &json!(false)));
}

#[test]
fn polling_costs_nothing_until_something_is_new() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let mut device = alice.device("/?room=room");
    device.say("room", "hello");
    let path = "/api/rooms/room/messages";
    let first = server.rest().get(path);
    let tag = first.header("ETag").expect("a validator").to_owned();
    assert_eq!(first.header("Cache-Control"), Some("no-cache"));
    let ask = |known: &str| server.rest().request("GET", path, &format!("If-None-Match: {known}\r\n"), None);
    for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
        let answer = ask(&known);
        assert_eq!((answer.status, answer.header("ETag"), answer.body.len()), (304, Some(tag.as_str()), 0), "{known}");
    }
    assert_eq!(ask("\"other\"").status, 200);
    let mut tags = vec![tag];
    for command in [
        json!({"type": "message", "room": "room", "content": "news"}),
        json!({"type": "edit", "room": "room", "sequence": 1, "content": "other news"}),
        json!({"type": "delete", "room": "room", "sequence": 1}),
    ] {
        device.ask(command.clone());
        let answer = ask(tags.last().expect("there is one"));
        assert_eq!(answer.status, 200, "{command}");
        tags.push(answer.header("ETag").expect("a validator").to_owned());
    }
    tags.dedup();
    assert_eq!(tags.len(), 4);
    let other = server.rest().get("/api/rooms/other/messages");
    assert!(!tags.iter().any(|tag| Some(tag.as_str()) == other.header("ETag")));
}

#[test]
fn a_message_by_rest_is_stored_once_for_its_nonce() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let post = |body: Value| alice.post("/api/rooms/room/messages", body);
    let first = post(json!({"content": "once", "nonce": "n"}));
    let stored = first.expect(201);
    let mut fields: Vec<&str> = stored.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["content", "id", "nonce", "room", "sequence", "timestamp", "user"]);
    let again = post(json!({"content": "once", "nonce": "n"}));
    assert_eq!(again.expect(200), stored);
    post(json!({"content": "something else", "nonce": "n"})).expect_problem(409, "nonce_conflict");
    // The same user by WebSocket has the same nonces.
    let mut device = alice.device("/?room=room");
    let ack = device.ask(json!({"type": "message", "room": "room", "content": "once", "nonce": "n"}));
    assert_eq!((&ack["sequence"], &ack["duplicate"]), (&json!(1), &json!(true)));
    device.ask(json!({"type": "message", "room": "room", "content": "twice", "nonce": "m"}));
    assert_eq!(post(json!({"content": "twice", "nonce": "m"})).expect(200)["sequence"], 2);
    assert_eq!(post(json!({"content": "thrice", "nonce": null})).expect(201).get("nonce"), None);
    assert_eq!(alice.history("room")["head"], 3);
}

#[test]
fn rest_and_websocket_members_hear_each_other() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    let (mut bob, mut device) = (server.client("bob"), alice.device("/"));
    bob.join("room");
    let stored = alice.say("room", "from a script");
    assert_eq!(bob.expect("message"), stored, "at once, and nobody came in");
    assert_eq!(stored["user"], "alice");
    bob.ask(json!({"type": "presence", "room": "room"}));
    assert_eq!(bob.expect("presence")["count"], 1, "who posts is not there for it");
    assert!(device.drain().is_empty(), "nor is her other device");
    bob.say("room", "from a member");
    let history = alice.history("room");
    assert_eq!(contents(history["messages"].as_array().expect("a list")), ["from a script", "from a member"]);
}

#[test]
fn head_is_get_without_the_body_and_options_tells_the_methods() {
    let server = Server::start(&[]);
    let alice = alice(&server);
    alice.say("room", "hello");
    for path in ["/api/rooms", "/api/rooms/room/messages", "/api/me/rooms", "/api/nothing", "/api/accounts"] {
        let (head, full) = (alice.request("HEAD", path, "", None), alice.get(path));
        assert_eq!((&head.head, head.body.len()), (&full.head, 0), "{path}");
        assert!(!full.body.is_empty(), "{path}");
    }
    for (path, methods) in [
        ("/api/rooms", "GET, HEAD, OPTIONS"),
        ("/api/rooms/room/messages", "GET, HEAD, POST, OPTIONS"),
        ("/api/rooms/a%2Fb/events", "GET, HEAD, OPTIONS"),
        ("/api/sessions", "POST, DELETE, OPTIONS"),
        ("/api/accounts", "GET, HEAD, POST, OPTIONS"),
        ("/api/accounts/alice", "PATCH, DELETE, OPTIONS"),
        ("/api/me/rooms", "GET, HEAD, OPTIONS"),
        ("/api/me/rooms/room", "PUT, DELETE, OPTIONS"),
        ("/api/me/password", "PUT, OPTIONS"),
        ("/api/bans", "GET, HEAD, OPTIONS"),
        ("/api/bans/eve", "DELETE, OPTIONS"),
    ] {
        let answer = server.rest().request("OPTIONS", path, "", None);
        assert_eq!((answer.status, answer.header("Allow"), answer.body.len()), (204, Some(methods), 0), "{path}");
        assert_eq!(answer.header("Access-Control-Allow-Methods"), None, "no page asked");
        let refused = server.rest().request("BREW", path, "", None);
        refused.expect_problem(405, "method_not_allowed");
        assert_eq!(refused.header("Allow"), Some(methods), "{path}");
    }
    server.rest().request("OPTIONS", "/api/nothing", "", None).expect_problem(404, "not_found");
}

#[test]
fn scripts_of_other_pages_may_call_where_the_operator_allows_it() {
    let server = Server::start(&["--allow-origin", "https://app.example"]);
    let alice = alice(&server);
    alice.say("room", "hello");
    let path = "/api/rooms/room/messages";
    let from = |origin: &str, method: &str, more: &str| {
        server.rest().request(method, path, &format!("Origin: {origin}\r\n{more}"), None)
    };
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, content-type\r\n";
    let preflight = from("https://app.example", "OPTIONS", asks);
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("Access-Control-Allow-Origin"), Some("https://app.example"));
    assert_eq!(preflight.header("Access-Control-Allow-Methods"), Some("GET, HEAD, POST, OPTIONS"));
    let headers = preflight.header("Access-Control-Allow-Headers").expect("headers").to_ascii_lowercase();
    assert!(headers.contains("authorization") && headers.contains("content-type"), "{headers}");
    for answer in [from("https://app.example", "GET", ""), from("https://app.example", "BREW", "")] {
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://app.example"), "errors can be read too");
        assert_eq!(answer.header("Vary"), Some("Origin"));
        assert!(answer.header("Access-Control-Expose-Headers").is_some_and(|names| names.contains("ETag")));
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None, "tokens are no cookies");
    }
    let stream = server.rest().listen("room", "", "Origin: https://app.example\r\n");
    assert_eq!(stream.head.header("Access-Control-Allow-Origin"), Some("https://app.example"));
    let own = from(&format!("http://{}", server.address), "GET", "");
    assert_eq!((own.status, own.header("Access-Control-Allow-Origin")), (200, None), "its own page needs no leave");
    for (origin, method) in [("https://evil.example", "GET"), ("null", "GET"), ("https://evil.example", "OPTIONS")] {
        let refused = from(origin, method, asks);
        refused.expect_problem(403, "bad_origin");
        assert_eq!(refused.header("Access-Control-Allow-Origin"), None, "{origin}");
    }
    let login = json!({"user": "alice", "password": PASSWORD});
    let foreign = server.rest().request("POST", "/api/sessions", "Origin: https://evil.example\r\n", Some(&login));
    foreign.expect_problem(403, "bad_origin");
}
