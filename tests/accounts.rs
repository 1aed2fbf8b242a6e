//! Accounts: making one, logging in, being one user on several devices, and when a token is over.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use common::client::kinds;
use common::rest::{self, PASSWORD, eventually};
use common::{Client, Data, Server};
use serde_json::{Value, json};

fn credentials(user: &str, password: &str) -> Value {
    json!({"user": user, "password": password})
}

/// The subjects of announcements of a kind.
fn announced<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    let of_kind = events.iter().filter(|event| event["data"]["kind"] == kind && event["data"]["ephemeral"] == true);
    of_kind.map(|event| event["data"]["subject"].as_str().expect("announcements have a subject")).collect()
}

/// Who is in a room, by name.
fn members(client: &mut Client, room: &str) -> Vec<String> {
    client.ask(json!({"type": "presence", "room": room}));
    let presence = client.expect("presence");
    let users = presence["users"].as_array().expect("a list").iter();
    let mut names: Vec<String> = users.map(|user| user["user"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(presence["count"], names.len());
    names.sort();
    names
}

/// Nothing of what came tells of anybody who came, went, or changed.
fn assert_calm(events: &[Value]) {
    let kinds = kinds(events);
    assert!(!kinds.contains(&"status") && !kinds.contains(&"message"), "{events:?}");
}

#[test]
fn who_registers_gets_a_token_and_who_logs_in_another() {
    let server = Server::start(&[]);
    let rest = server.rest();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let response = rest.post("/api/accounts", credentials("Alice", PASSWORD));
    let registered = response.expect(201);
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    let login = rest.post("/api/sessions", credentials("ALICE", PASSWORD)).expect(200);
    let mut tokens = Vec::new();
    for answer in [&registered, &login] {
        assert_eq!(answer["user"], "Alice", "as it was written when it was registered");
        let token = answer["token"].as_str().expect("a token");
        let digits = token.strip_prefix("rl_").expect("one knows a token when one sees it");
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
        let days = (answer["expires"].as_u64().expect("a time") - now_ms) as f64 / 86_400_000.0;
        assert!((29.99..30.01).contains(&days), "{days}");
        tokens.push(token);
    }
    assert_ne!(tokens[0], tokens[1]);
    for token in tokens {
        let mut device = server.rest().with(token).device("/");
        assert_eq!((device.user(), &device.hello["role"]), ("Alice", &json!("member")));
        assert_eq!((&device.hello["rooms"], &device.hello["direct"]), (&json!([]), &json!([])));
        device.join("general");
        device.say("general", "it is me");
    }
    let guest = server.client("bob");
    for field in ["role", "rooms", "direct"] {
        assert_eq!(guest.hello.get(field), None, "a guest has no {field}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let server = Server::start(&[]);
    let rest = server.rest();
    rest.register("alice");
    let wrong = rest.post("/api/sessions", credentials("alice", "not the password"));
    let unknown = rest.post("/api/sessions", credentials("nobody", "not the password"));
    let impossible = rest.post("/api/sessions", credentials(&"x".repeat(500), ""));
    assert_eq!(wrong, unknown);
    assert_eq!(wrong, impossible);
    wrong.expect_problem(401, "bad_login");
}

#[test]
fn names_and_passwords_follow_rules() {
    let server = Server::start(&[]);
    let rest = server.rest();
    for name in ["", " alice", "alice ", "a\u{a0}", "a\nb", "al\u{202e}ice", "SYSTEM", "system", &"x".repeat(33)] {
        rest.post("/api/accounts", credentials(name, PASSWORD)).expect_problem(422, "bad_name");
    }
    for password in ["", "1234567", &"x".repeat(129), &"\u{1f40e}".repeat(129)] {
        rest.post("/api/accounts", credentials("alice", password)).expect_problem(422, "bad_password");
    }
    for body in [json!({"user": "alice"}), json!({"password": PASSWORD}), json!({"user": 5, "password": PASSWORD})] {
        let problem = rest.post("/api/accounts", body).expect_problem(400, "bad_request");
        assert!(!problem.to_string().contains(PASSWORD));
    }
    rest.post("/api/accounts", json!({"user": "alice", "password": PASSWORD, "role": "admin"}))
        .expect_problem(403, "forbidden");
    for (name, password) in [("a", "12345678"), (&*"é".repeat(32), &*"\u{1f40e}".repeat(128))] {
        let token = rest.post("/api/accounts", credentials(name, password)).token(201);
        assert_eq!(server.rest().with(&token).device("/").user(), name);
    }
}

#[test]
fn a_name_is_registered_once_in_all_its_spellings() {
    let server = Server::start(&[]);
    let rest = server.rest();
    rest.register("alice");
    for name in ["alice", "ALICE", "ａｌｉｃｅ", "\u{430}lice", "alic\u{435}"] {
        rest.post("/api/accounts", credentials(name, PASSWORD)).expect_problem(409, "name_taken");
        server.operator().post("/api/accounts", credentials(name, PASSWORD)).expect_problem(409, "name_taken");
    }
    rest.register("alicia");
    // The look-alike is not registered by having been asked for.
    rest.post("/api/sessions", credentials("\u{430}lice", PASSWORD)).expect_problem(401, "bad_login");
}

#[test]
fn a_guests_name_is_registered_by_that_guest_only_which_stays_where_it_is() {
    let server = Server::start(&[]);
    let (mut dora, mut bob) = (server.client("dora"), server.client("bob"));
    dora.join("room");
    bob.join("room");
    dora.drain();
    let rest = server.rest();
    for name in ["dora", "DORA", "d\u{43e}ra"] {
        rest.post("/api/accounts", credentials(name, PASSWORD)).expect_problem(409, "name_taken");
    }
    for session in ["", "0", bob.session()] {
        rest.post("/api/accounts", json!({"user": "dora", "password": PASSWORD, "session": session}))
            .expect_problem(409, "name_taken");
    }
    let token =
        rest.post("/api/accounts", json!({"user": "dora", "password": PASSWORD, "session": dora.session()})).token(201);
    bob.drain();
    let hello = dora.log_in(&token);
    assert_eq!((&hello["user"], &hello["role"]), (&json!("dora"), &json!("member")));
    dora.say("room", "still here");
    let events = bob.drain();
    assert_eq!(kinds(&events).iter().filter(|kind| **kind == "message").count(), 1, "only what was said: {events:?}");
    assert_eq!(members(&mut bob, "room"), ["bob", "dora"]);
}

#[test]
fn logging_in_renames_a_guest_in_its_rooms() {
    let server = Server::start(&[]);
    let token = server.rest().register("alice");
    let (mut guest, mut bob) = (server.client("guest"), server.client("bob"));
    guest.join("room");
    bob.join("room");
    guest.drain();
    bob.drain();
    guest.log_in(&token);
    let events = bob.drain();
    assert_eq!((announced(&events, "leave"), announced(&events, "join")), (vec!["guest"], vec!["alice"]));
    assert_eq!(members(&mut bob, "room"), ["alice", "bob"]);
    bob.say("room", "hello, alice");
    assert_eq!(guest.skip_until(|event| event["data"]["user"] == "bob")["data"]["content"], "hello, alice");
    assert_eq!(guest.say("room", "hello, bob")["sequence"], 2, "the cursor is where it was");
    assert_eq!(bob.skip_until(|event| event["data"]["sequence"] == 2)["data"]["user"], "alice");
    server.client("guest");
}

#[test]
fn a_token_counts_in_hello_and_at_the_upgrade_and_only_for_its_own_name() {
    let server = Server::start(&[]);
    let rest = server.rest();
    let (alice, bob) = (rest.register("alice"), rest.register("bob"));
    let mut client = server.client("somebody");
    for bad in ["x", "rl_", "rl_0", &alice[..66], &format!("{alice}0"), &alice.to_uppercase()] {
        client.refused(json!({"type": "hello", "token": bad}), "bad_token");
        assert_eq!(rest.with(bad).get("/api/rooms").status, 401, "{bad}");
    }
    client.refused(json!({"type": "hello", "token": alice, "user": "bob"}), "bad_token");
    client.ask(json!({"type": "hello", "token": alice, "user": "ALICE"}));
    assert_eq!(client.expect("connected")["user"], "alice", "in whatever spelling");
    client.ask(json!({"type": "hello", "token": bob}));
    assert_eq!(client.expect("connected")["user"], "bob", "from one account to the other");

    let mut device = rest.with(&alice).device("/?room=room&user=whatever");
    assert_eq!(device.user(), "alice", "the token says who it is");
    device.say("room", "joined by the URL");
    let stream = std::net::TcpStream::connect(server.address).expect("the server listens");
    let mut refused = Client::with_token(stream, server.address, "/", Some("rl_nothing"));
    assert_eq!(refused.expect_close(), 4500);
}

#[test]
fn two_devices_are_one_member() {
    let server = Server::start(&[]);
    let alice = server.rest().with(&server.rest().register("alice"));
    let mut bob = server.client("bob");
    bob.join("room");
    bob.drain();
    let (mut phone, mut laptop) = (alice.device("/"), alice.device("/"));
    phone.join("room");
    assert_eq!(announced(&bob.drain(), "join"), ["alice"]);
    laptop.join("room");
    assert_calm(&bob.drain());
    assert_eq!(members(&mut bob, "room"), ["alice", "bob"]);
    bob.say("room", "to both");
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.skip_until(|event| event["data"]["user"] == "bob")["data"]["content"], "to both");
    }
    phone.ask(json!({"type": "status", "status": "away"}));
    assert_eq!(bob.skip_to("status")["status"], "away", "a status is the user's");
    laptop.skip_to("status");

    laptop.ask(json!({"type": "leave", "room": "room"}));
    assert_calm(&bob.drain());
    laptop.join("room");
    phone.close();
    bob.drain();
    laptop.drain();
    assert_eq!(members(&mut bob, "room"), ["alice", "bob"]);
    laptop.close();
    let offline = bob.skip_to("status");
    assert_eq!((&offline["user"], &offline["status"]), (&json!("alice"), &json!("offline")));
    let farewell = bob.skip_until(|event| event["data"]["kind"] == "leave");
    assert_eq!(farewell["data"]["subject"], "alice");
    assert_eq!(members(&mut bob, "room"), ["bob"]);
}

#[test]
fn a_guest_cannot_take_a_registered_name_nor_one_that_looks_like_it() {
    let server = Server::start(&[]);
    server.rest().register("alice");
    let mut guest = server.client("guest");
    for name in ["alice", "Alice", "ａlice", "\u{430}lice"] {
        let path = format!("/?user={}", rest::encoded(name));
        let mut refused = Client::open(server.address, &path);
        assert_eq!(refused.expect_close(), 1008, "{name}");
        assert!(!refused.reason.is_empty());
        guest.refused(json!({"type": "hello", "user": name}), "name_taken");
        guest.refused(json!({"type": "join", "username": name}), "name_taken");
    }
    guest.ask(json!({"type": "hello"}));
    assert_eq!(guest.expect("connected")["user"], "guest");
}

#[test]
fn an_account_that_logs_in_pushes_a_guest_off_its_name() {
    let server = Server::start(&[]);
    let (mut erin, mut bob) = (server.client("erin"), server.client("bob"));
    erin.join("room");
    bob.join("room");
    erin.drain();
    bob.drain();
    // The operator's word counts, though a guest has the name.
    let token = server.operator().register("erin");
    assert_calm(&bob.drain());
    let mut device = server.rest().with(&token).device("/?room=room");
    assert_eq!(device.user(), "erin");
    let pushed = erin.skip_to("connected");
    let name = pushed["user"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("user_") && pushed.get("role").is_none(), "{pushed}");
    let events = bob.drain();
    assert_eq!(announced(&events, "leave"), ["erin"]);
    assert_eq!(announced(&events, "join"), [name.as_str(), "erin"]);
    erin.say("room", "so I am called otherwise");
    assert_eq!(device.skip_until(|event| event["data"]["sequence"] == 1)["data"]["user"], *name);
}

#[test]
fn a_revoked_token_closes_its_sockets_and_streams_at_once() {
    let server = Server::start(&[]);
    let rest = server.rest();
    let (first, mut bob) = (rest.with(&rest.register("alice")), server.client("bob"));
    let second = rest.with(&rest.log_in("alice"));
    bob.join("room");
    let (mut phone, mut laptop) = (first.device("/?room=room"), second.device("/"));
    let (mut own, mut public) = (first.listen("room", "", ""), rest.listen("room", "", ""));
    phone.drain();
    bob.drain();
    first.delete("/api/sessions").expect(204);
    assert_eq!((phone.expect_close(), phone.reason.is_empty()), (4500, false));
    assert!(own.ended());
    let events = bob.drain();
    assert_eq!(announced(&events, "leave"), ["alice"], "there is no grace period for that");
    assert!(!kinds(&events).contains(&"status"), "she is online on the other device");
    assert_eq!(first.get("/api/me/rooms").expect_problem(401, "bad_token")["status"], 401);
    assert_eq!(first.delete("/api/sessions").header("WWW-Authenticate"), Some("Bearer"));
    bob.refused(json!({"type": "hello", "token": first_token(&first)}), "bad_token");
    let session = phone.session().to_owned();
    bob.refused(json!({"type": "hello", "session": session}), "bad_session");
    laptop.join("room");
    laptop.say("room", "this one goes on");
    assert_eq!(public.message()["content"], "this one goes on");
    second.delete("/api/sessions").expect(204);
    assert_eq!(laptop.expect_close(), 4500);
    assert_eq!(bob.skip_to("status")["status"], "offline");
}

/// The token that requests are made with, as they are sent.
fn first_token(rest: &common::Rest) -> String {
    let text = String::from_utf8(rest.encode("GET", "/", "", None)).expect("a head is ASCII");
    text.lines().find_map(|line| line.strip_prefix("Authorization: Bearer ")).expect("a token").to_owned()
}

#[test]
fn a_new_password_keeps_the_callers_token_and_ends_the_others() {
    let server = Server::start(&[]);
    let rest = server.rest();
    let (own, other) = (rest.with(&rest.register("alice")), rest.with(&rest.log_in("alice")));
    let (mut here, mut there) = (own.device("/?room=room"), other.device("/"));
    let change = |from: &common::Rest, password: &str, new: &str| {
        from.request("PUT", "/api/me/password", "", Some(&json!({"password": password, "newPassword": new})))
    };
    change(&rest, PASSWORD, "another password").expect_problem(401, "bad_token");
    change(&own, "not the password", "another password").expect_problem(403, "bad_password");
    change(&own, PASSWORD, "short").expect_problem(422, "bad_password");
    there.drain();
    change(&own, PASSWORD, "another password").expect(204);
    assert_eq!(there.expect_close(), 4500);
    other.get("/api/me/rooms").expect_problem(401, "bad_token");
    here.say("room", "nothing happened to me");
    own.get("/api/me/rooms").expect(200);
    rest.post("/api/sessions", credentials("alice", PASSWORD)).expect_problem(401, "bad_login");
    rest.post("/api/sessions", credentials("alice", "another password")).expect(200);
}

#[test]
fn the_33rd_login_ends_the_first() {
    let server = Server::start(&[]);
    let rest = server.rest();
    let first = rest.with(&rest.register("alice"));
    let second = rest.with(&rest.log_in("alice"));
    let (mut oldest, mut next) = (first.device("/"), second.device("/"));
    for _ in 3..=32 {
        rest.log_in("alice");
    }
    oldest.drain();
    let newest = rest.with(&rest.log_in("alice"));
    assert_eq!(oldest.expect_close(), 4500);
    first.get("/api/me/rooms").expect_problem(401, "bad_token");
    for good in [second, newest] {
        good.get("/api/me/rooms").expect(200);
    }
    next.drain();
}

#[test]
fn accounts_survive_restarts_and_crashes() {
    let data = Data::fresh();
    let server = Server::on(&data, &[]);
    let alice = server.operator().register_admin("alice");
    let bob = server.rest().register("bob");
    let gone = server.rest().log_in("bob");
    server.rest().with(&gone).delete("/api/sessions").expect(204);
    server.rest().with(&alice).put("/api/me/rooms/work").expect(204);
    server.rest().with(&alice).put("/api/me/rooms/%C3%BCber%2Funter").expect(204);
    server.kill();
    for how in [Server::kill, Server::stop] {
        let server = Server::on(&data, &[]);
        let rest = server.rest();
        let device = rest.with(&alice).device("/");
        assert_eq!((device.user(), &device.hello["role"]), ("alice", &json!("admin")));
        assert_eq!(device.hello["rooms"], json!(["work", "über/unter"]));
        assert_eq!(rest.with(&bob).device("/").hello["role"], "member");
        rest.with(&gone).get("/api/me/rooms").expect_problem(401, "bad_token");
        rest.post("/api/accounts", credentials("BOB", PASSWORD)).expect_problem(409, "name_taken");
        rest.log_in("bob");
        let accounts = rest.with(&alice).get("/api/accounts").expect(200);
        let rows: Vec<(&Value, &Value)> =
            accounts.as_array().expect("a list").iter().map(|row| (&row["user"], &row["role"])).collect();
        assert_eq!(rows, [(&json!("alice"), &json!("admin")), (&json!("bob"), &json!("member"))]);
        how(server);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(path: &Path, secret: &str) -> bool {
    let bytes = fs::read(path).expect("a readable file");
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn tokens_and_passwords_are_in_no_log_and_no_file() {
    let data = Data::fresh();
    let server = Server::on(&data, &["--log-level", "trace"]);
    let rest = server.rest();
    let operator = first_token(&server.operator());
    let passwords = ["a secret of alice", "a better secret", "a wrong guess", "too sho"];
    let first = rest.post("/api/accounts", credentials("alice", passwords[0])).token(201);
    let second = rest.post("/api/sessions", credentials("alice", passwords[0])).token(200);
    rest.post("/api/sessions", credentials("alice", passwords[2])).expect(401);
    rest.post("/api/accounts", credentials("bob", passwords[3])).expect(422);
    rest.post("/api/sessions", json!({"user": "alice", "password": [passwords[2]]})).expect(400);
    let mut device = rest.with(&first).device("/?room=room");
    let mut other = server.client("somebody");
    other.log_in(&second);
    device.say("room", "something to store");
    rest.with(&second).say("room", "something else");
    rest.with(&first).put("/api/me/rooms/room").expect(204);
    let change = json!({"password": passwords[0], "newPassword": passwords[1]});
    rest.with(&first).request("PUT", "/api/me/password", "", Some(&change)).expect(204);
    assert_eq!(other.expect_close(), 4500);
    let secrets = [first.as_str(), &second].into_iter().chain(passwords);
    for secret in secrets.clone() {
        let found: Vec<PathBuf> = files(data.around()).into_iter().filter(|path| holds(path, secret)).collect();
        assert!(found.is_empty(), "{secret} is in {found:?}");
    }
    let found: Vec<PathBuf> = files(data.around()).into_iter().filter(|path| holds(path, &operator)).collect();
    assert_eq!(found, [data.path().join("control")], "the operator's own is where the operator finds it");
    assert!(files(data.around()).iter().any(|path| holds(path, "$argon2id$")), "a hash is kept");
    let output = server.stop();
    for secret in secrets.chain([operator.as_str()]) {
        let line = output.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
    assert!(output.contains("TRACE") || output.contains("DEBUG"), "it did log: {output}");
    assert!(!data.path().join("control").exists(), "nobody is to be reached any more");
}

#[test]
fn failed_logins_of_a_name_are_throttled_whether_or_not_it_exists() {
    let server = Server::start(&[]);
    let rest = server.rest();
    rest.register("alice");
    for name in ["alice", "nobody"] {
        for _ in 0..5 {
            rest.post("/api/sessions", credentials(name, "not the password")).expect_problem(401, "bad_login");
        }
        // From wherever it is tried, in whatever spelling, and with the right password too.
        let spellings = [name.to_owned(), name.to_uppercase()];
        for (source, name) in [rest.clone(), rest.from(2)].into_iter().zip(spellings) {
            let refused = source.post("/api/sessions", credentials(&name, PASSWORD));
            refused.expect_problem(429, "rate_limited");
            let seconds: u32 = refused.header("Retry-After").expect("a time").parse().expect("in seconds");
            assert!((1..=10).contains(&seconds), "{seconds}");
        }
    }
    rest.register("bob");
    rest.log_in("bob");
}

#[test]
fn failed_logins_and_registrations_of_an_address_are_throttled() {
    let server = Server::start(&[]);
    let rest = server.rest();
    for n in 0..5 {
        rest.register(&format!("account {n}"));
    }
    let refused = rest.post("/api/accounts", credentials("account 5", PASSWORD));
    refused.expect_problem(429, "rate_limited");
    assert!(refused.header("Retry-After").is_some());
    rest.from(2).register("account 5");
    server.operator().register("account 6");
    let guesses = (0..30).map(|n| rest.post("/api/sessions", credentials(&format!("guess {n}"), "not the password")));
    let statuses: Vec<u16> = guesses.map(|response| response.status).collect();
    // Twenty at once; one more for each three seconds that a slow machine took.
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(statuses[..20].iter().all(|status| *status == 401) && (5..=10).contains(&refused), "{statuses:?}");
    rest.from(2).log_in("account 0");
}

#[test]
fn an_account_keeps_rooms_and_is_told_of_them() {
    let server = Server::start(&[]);
    let alice = server.rest().with(&server.rest().register("alice"));
    assert_eq!(alice.get("/api/me/rooms").expect(200), json!([]));
    for room in ["work", "general", "work", "b\u{fc}ro/1", "../../etc"] {
        alice.put(&format!("/api/me/rooms/{}", rest::encoded(room))).expect(204);
    }
    let kept = json!(["../../etc", "b\u{fc}ro/1", "general", "work"]);
    assert_eq!(alice.get("/api/me/rooms").expect(200), kept);
    let device = alice.device("/");
    assert_eq!(device.hello["rooms"], kept, "it joins them itself");
    for _ in 0..2 {
        alice.delete("/api/me/rooms/general").expect(204);
    }
    assert_eq!(alice.get("/api/me/rooms").expect(200), json!(["../../etc", "b\u{fc}ro/1", "work"]));
    alice.put(&format!("/api/me/rooms/{}", "x".repeat(65))).expect_problem(422, "bad_room");
    alice.put("/api/me/rooms/a%0Ab").expect_problem(422, "bad_room");
    alice.put("/api/me/rooms/%40dm%3A7-8").expect_problem(403, "forbidden");
    for (method, path) in [("GET", "/api/me/rooms"), ("PUT", "/api/me/rooms/work"), ("DELETE", "/api/me/rooms/work")] {
        server.rest().request(method, path, "", None).expect_problem(401, "bad_token");
    }
    let before = 3;
    for n in before..256 {
        alice.put(&format!("/api/me/rooms/room{n}")).expect(204);
    }
    assert_eq!(alice.put("/api/me/rooms/one-more").expect(422)["status"], 422);
    alice.put("/api/me/rooms/work").expect(204);
    alice.delete("/api/me/rooms/work").expect(204);
    alice.put("/api/me/rooms/one-more").expect(204);
}

#[test]
fn a_session_of_an_account_is_resumed_without_a_flicker() {
    let server = Server::start(&[]);
    let token = server.rest().register("alice");
    let mut bob = server.client("bob");
    bob.join("room");
    let mut alice = server.rest().with(&token).device("/?room=room");
    alice.drain();
    bob.drain();
    let (session, id) = (alice.session().to_owned(), alice.hello["clientId"].clone());
    alice.reset();
    bob.say("room", "while she is away");
    // The session alone is enough: it proves who one is.
    let mut alice = Client::connect(server.address, &format!("/?session={session}"));
    assert_eq!((alice.user(), &alice.hello["role"], &alice.hello["clientId"]), ("alice", &json!("member"), &id));
    alice.ask(json!({"type": "join", "room": "room", "since": 0}));
    assert_eq!(alice.read_through(1).len(), 1);
    let events = bob.drain();
    assert!(announced(&events, "join").is_empty() && announced(&events, "leave").is_empty(), "{events:?}");
    assert!(!kinds(&events).contains(&"status"), "{events:?}");

    // A token that ends in that time takes the session along.
    let session = alice.session().to_owned();
    alice.reset();
    server.rest().with(&token).delete("/api/sessions").expect(204);
    let stranger = Client::connect(server.address, &format!("/?session={session}"));
    assert_ne!(stranger.user(), "alice");
    assert_eq!(announced(&bob.drain(), "leave"), ["alice"]);
}

#[test]
fn who_is_logged_in_and_takes_another_name_is_a_guest() {
    let server = Server::start(&[]);
    let alice = server.rest().with(&server.operator().register_admin("alice"));
    let mut bob = server.client("bob");
    bob.join("room");
    let (mut phone, mut laptop) = (alice.device("/?room=room"), alice.device("/?room=room"));
    laptop.drain();
    bob.drain();
    phone.ask(json!({"type": "hello", "user": "ALICE"}));
    assert_eq!(phone.skip_to("connected")["role"], "admin", "her own name is no other");
    phone.ask(json!({"type": "hello", "user": "walter"}));
    let hello = phone.skip_to("connected");
    assert_eq!((&hello["user"], hello.get("role")), (&json!("walter"), None));
    let events = bob.drain();
    assert_eq!((announced(&events, "join"), announced(&events, "leave")), (vec!["walter"], vec![]));
    assert_eq!(members(&mut bob, "room"), ["alice", "bob", "walter"]);
    phone.refused(json!({"type": "kick", "user": "bob"}), "forbidden");
    phone.refused(json!({"type": "hello", "user": "alice"}), "name_taken");
    laptop.ask(json!({"type": "hello", "user": "wanda"}));
    let events = bob.drain();
    assert_eq!((announced(&events, "join"), announced(&events, "leave")), (vec!["wanda"], vec!["alice"]));
    phone.say("room", "a guest may speak");
}

#[test]
fn administrators_look_after_accounts() {
    let server = Server::start(&[]);
    let rest = server.rest();
    let admin = rest.with(&server.operator().register_admin("root"));
    let (alice, bob) = (rest.with(&rest.register("alice")), rest.with(&rest.register("bob")));
    let requests = [
        ("GET", "/api/accounts", None),
        ("PATCH", "/api/accounts/bob", Some(json!({"role": "admin"}))),
        ("DELETE", "/api/accounts/bob", None),
        ("GET", "/api/bans", None),
        ("DELETE", "/api/bans/bob", None),
    ];
    for (method, path, body) in &requests {
        rest.request(method, path, "", body.as_ref()).expect_problem(401, "bad_token");
        alice.request(method, path, "", body.as_ref()).expect_problem(403, "forbidden");
    }
    for manager in [&admin, &server.operator()] {
        let accounts = manager.get("/api/accounts").expect(200);
        let rows = accounts.as_array().expect("a list");
        let names: Vec<&Value> = rows.iter().map(|row| &row["user"]).collect();
        assert_eq!(names, ["alice", "bob", "root"]);
        assert!(rows.iter().all(|row| row["created"].as_u64().is_some_and(|created| created > 1_700_000_000_000)));
        manager.patch("/api/accounts/nobody", json!({"role": "admin"})).expect_problem(404, "no_such_user");
        manager.patch("/api/accounts/bob", json!({"role": "emperor"})).expect(422);
        manager.patch("/api/accounts/bob", json!({"password": "short"})).expect_problem(422, "bad_password");
        manager.delete("/api/accounts/nobody").expect_problem(404, "no_such_user");
    }
    let mut device = alice.device("/");
    device.refused(json!({"type": "kick", "user": "nobody"}), "forbidden");
    admin.patch("/api/accounts/ALICE", json!({"role": "admin"})).expect(204);
    device.refused(json!({"type": "kick", "user": "nobody"}), "no_such_user");
    alice.get("/api/accounts").expect(200);
    admin.patch("/api/accounts/alice", json!({"role": "member"})).expect(204);
    alice.get("/api/accounts").expect_problem(403, "forbidden");

    let mut victim = bob.device("/");
    admin.patch("/api/accounts/bob", json!({"password": "set by the admin"})).expect(204);
    assert_eq!(victim.expect_close(), 4500);
    bob.get("/api/me/rooms").expect_problem(401, "bad_token");
    rest.post("/api/sessions", credentials("bob", PASSWORD)).expect(401);
    let bob = rest.with(&rest.post("/api/sessions", credentials("bob", "set by the admin")).token(200));
    let mut victim = bob.device("/");
    admin.delete("/api/accounts/bob").expect(204);
    assert_eq!(victim.expect_close(), 4500);
    rest.post("/api/sessions", credentials("bob", "set by the admin")).expect_problem(401, "bad_login");
    let mut guest = eventually("the name is free", || Some(server.client("bob")));
    guest.join("room");
}
