//! The core's behaviour, told as inputs and effects under a clock that the test turns.

use serde_json::Value;

use super::{Chat, ClientKey, Effect, Input, Recipient, RoomKey, Settings, Timer};
use crate::{
    accounts::{
        AccountEvent, AccountId, Change, PasswordHash, Role, Token, TokenId,
        testing::{self, Ledger},
    },
    clock::Now,
    names,
    protocol::{self, Announcement, Wish},
};

mod members;
mod people;

const SETTINGS: Settings = Settings {
    grace_ms: 10_000,
    heartbeat_ms: 30_000,
    messages_per_second: 20,
    account_messages_per_second: 40,
    address_messages_per_second: 1_000,
    content_bytes_max: 64,
    message_bytes_max: 1024,
    guests: true,
};

/// A chat, a clock, and the timers that the chat asked for.
struct Scene {
    chat: Chat,
    accounts: Ledger,
    now: Now,
    links: u64,
    timers: Vec<(u64, Timer)>,
}

impl Scene {
    fn new() -> Self {
        Self::with(SETTINGS)
    }

    fn with(settings: Settings) -> Self {
        let now = Now::at(5, 1_000);
        let accounts = testing::open(&testing::disk(), 7, now);
        Self { chat: Chat::new(settings), accounts, now, links: 0, timers: Vec::new() }
    }

    fn settle(&mut self, change: Change) -> (Change, Vec<TokenId>) {
        self.accounts.submit(change, 0, self.now).expect("a change that makes sense");
        match testing::commit(&mut self.accounts, self.now).pop() {
            Some(AccountEvent::Settled { change, ended, .. }) => (change, ended),
            other => panic!("not settled: {other:?}"),
        }
    }

    /// A new account, and a token of it.
    fn account(&mut self, name: &str, role: Role) -> (AccountId, String) {
        let (user, hash) = (names::user(name).expect("a valid name"), PasswordHash::new("x".into()));
        let (change, _) = self.settle(Change::added(&user, role, hash, self.now.unix_ms));
        let id = change.account().expect("an account's");
        (id, self.token(id))
    }

    fn token(&mut self, id: AccountId) -> String {
        self.links += 1;
        let token = Token::new([u8::try_from(self.links).unwrap(); 32]);
        self.settle(Change::token_issued(id, token.hash(), self.now.unix_ms + 1_000_000));
        token.reveal().to_owned()
    }

    /// A device of an account.
    fn device(&mut self, token: &str) -> ClientKey {
        let (client, _) = self.connect(Wish::default());
        let client = client.expect("anybody may connect");
        let effects = self.say(client, &format!(r#"{{"type":"hello","token":"{token}","id":1}}"#));
        assert_eq!(sent(&effects, client)[0]["type"], "ack", "{effects:?}");
        client
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.chat.handle(self.now, self.accounts.tables(), input, &mut effects);
        self.timers.extend(effects.iter().filter_map(|effect| match *effect {
            Effect::Timer { at_ms, timer } => Some((at_ms, timer)),
            _ => None,
        }));
        effects
    }

    fn connect(&mut self, wish: Wish) -> (Option<ClientKey>, Vec<Effect>) {
        self.links += 1;
        let entropy = [u8::try_from(self.links).unwrap(); 18];
        let effects = self.handle(Input::Connect { link: self.links, wish, token: None, entropy });
        let client = effects.iter().find_map(|effect| match *effect {
            Effect::Attach { client, .. } => Some(client),
            _ => None,
        });
        (client, effects)
    }

    fn named(&mut self, name: &str) -> ClientKey {
        self.connect(Wish { user: Some(name.into()), ..Wish::default() }).0.expect("a free name")
    }

    fn say(&mut self, client: ClientKey, text: &str) -> Vec<Effect> {
        self.handle(Input::Command { client, address: 0, request: protocol::parse(text) })
    }

    fn join(&mut self, client: ClientKey, room: &str) -> Vec<Effect> {
        self.say(client, &format!(r#"{{"type":"join","room":"{room}","id":1}}"#))
    }

    /// Lets time pass and fires the timers that fall due, in order.
    fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let until = self.now.monotonic_ms + ms;
        let mut effects = Vec::new();
        loop {
            self.timers.sort_by_key(|&(at, _)| at);
            match self.timers.first().copied() {
                Some((at, timer)) if at <= until => {
                    self.timers.remove(0);
                    self.now.monotonic_ms = at.max(self.now.monotonic_ms);
                    effects.extend(self.handle(Input::Timer(timer)));
                }
                _ => break,
            }
        }
        self.now.monotonic_ms = until;
        effects
    }
}

/// Frames sent to one client.
fn sent(effects: &[Effect], to: ClientKey) -> Vec<Value> {
    let of = |effect: &Effect| match effect {
        Effect::Send { client, json } if *client == to => Some(serde_json::from_slice(json).expect("valid JSON")),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn error_code(effects: &[Effect], to: ClientKey) -> String {
    let frames = sent(effects, to);
    assert_eq!(frames.len(), 1, "one answer: {frames:?}");
    assert_eq!(frames[0]["type"], "error");
    frames[0]["data"]["code"].as_str().expect("a code").to_owned()
}

fn announced(effects: &[Effect]) -> Vec<(String, Announcement)> {
    let of = |effect: &Effect| match effect {
        Effect::Announce { user, kind, .. } => Some((user.as_str().to_owned(), *kind)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn broadcasts(effects: &[Effect]) -> Vec<Value> {
    let of = |effect: &Effect| match effect {
        Effect::Broadcast { json, .. } => Some(serde_json::from_slice(json).expect("valid JSON")),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn session(effects: &[Effect], client: ClientKey) -> String {
    sent(effects, client)[0]["data"]["session"].as_str().expect("a session").to_owned()
}

#[test]
fn the_first_frame_says_who_one_is() {
    let mut scene = Scene::new();
    let (client, effects) = scene.connect(Wish::default());
    let client = client.unwrap();
    let frame = &sent(&effects, client)[0];
    assert_eq!(frame["type"], "connected");
    assert_eq!(frame["data"]["user"], "user_01010101");
    assert_eq!(frame["data"]["heartbeatMs"], 30_000);
    assert_eq!(frame["data"]["limits"]["contentBytes"], 64);
    assert_eq!(frame["data"]["version"], 1);
}

#[test]
fn a_join_is_acknowledged_then_listed_then_announced() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    let first = scene.join(alice, "r");
    assert!(matches!(&first[0], Effect::OpenRoom { name, .. } if &**name == "r"));
    let second = scene.join(bob, "r");
    assert!(
        matches!(&second[0], Effect::Subscribe { client, id: Some(id), since: None, .. } if *client == bob && &**id == "1")
    );
    assert!(matches!(&second[1], Effect::Send { client, .. } if *client == bob));
    assert!(matches!(&second[2], Effect::Announce { kind: Announcement::Join, .. }));
    let list = &sent(&second, bob)[0];
    assert_eq!((&list["type"], &list["data"]["count"]), (&"presence".into(), &2.into()));
    assert_eq!(list["data"]["users"][1]["user"], "bob");
    assert_eq!(list["data"]["users"][1]["status"], "online");
}

#[test]
fn joining_twice_is_not_announced_twice() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    scene.join(alice, "r");
    let again = scene.join(alice, "r");
    assert!(announced(&again).is_empty());
    assert!(again.iter().any(|effect| matches!(effect, Effect::Subscribe { .. })), "the cursor moves");
}

#[test]
fn leaving_is_announced_at_once_and_frees_the_room() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    scene.join(bob, "r");
    let left = scene.say(bob, r#"{"type":"leave","room":"r","id":"x"}"#);
    assert!(matches!(left[0], Effect::Unsubscribe { client, .. } if client == bob));
    assert_eq!(announced(&left), [("bob".into(), Announcement::Leave)]);
    assert_eq!(sent(&left, bob)[0]["id"], "x");
    let last = scene.say(alice, r#"{"type":"leave","room":"r"}"#);
    assert!(matches!(last.last(), Some(Effect::CloseRoom { .. })));
    assert_eq!(scene.chat.room_count(), 0);
    assert_eq!(error_code(&scene.say(alice, r#"{"type":"leave","room":"r"}"#), alice), "not_subscribed");
}

#[test]
fn a_room_with_an_append_in_flight_outlives_its_members() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    scene.join(alice, "r");
    let effects = scene.say(alice, r#"{"type":"message","room":"r","content":"hi","id":9}"#);
    let Effect::Append { room, ref to, ref user, ref content, pair: None, .. } = effects[0] else {
        panic!("{effects:?}")
    };
    assert_eq!(*to, Recipient::Client { client: alice, id: Some("9".into()) });
    assert_eq!((user.as_str(), &**content), ("alice", "hi"));
    let left = scene.say(alice, r#"{"type":"leave","room":"r"}"#);
    assert!(!left.iter().any(|effect| matches!(effect, Effect::CloseRoom { .. })));
    assert_eq!(scene.handle(Input::Settled { room, count: 1 }), [Effect::CloseRoom { room }]);
}

#[test]
fn messages_are_checked_before_they_are_appended() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    let message = |content: &str| format!(r#"{{"type":"message","id":1,"data":{{"room":"r","content":"{content}"}}}}"#);
    assert_eq!(error_code(&scene.say(alice, &message("hi")), alice), "not_subscribed");
    scene.join(alice, "r");
    assert_eq!(error_code(&scene.say(alice, &message("")), alice), "empty");
    assert_eq!(error_code(&scene.say(alice, &message(&"x".repeat(65))), alice), "too_long");
    assert!(matches!(scene.say(alice, &message(&"x".repeat(64)))[0], Effect::Append { .. }));
}

#[test]
fn a_flood_is_refused_then_shown_out() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    scene.join(alice, "r");
    let message = r#"{"type":"message","room":"r","content":"x"}"#;
    assert!((0..40).all(|_| matches!(scene.say(alice, message)[0], Effect::Append { .. })));
    let refused = scene.say(alice, message);
    assert_eq!(error_code(&refused, alice), "rate_limited");
    assert_eq!(sent(&refused, alice)[0]["data"]["retryAfterMs"], 50);
    let shown_out = (0..500)
        .map(|_| scene.say(alice, message))
        .filter(|effects| effects.iter().any(|effect| matches!(effect, Effect::Refuse { code: 1008, .. })));
    assert_eq!(shown_out.count(), 1);
}

#[test]
fn a_taken_name_is_refused() {
    let mut scene = Scene::new();
    scene.named("alice");
    let (client, effects) = scene.connect(Wish { user: Some("ALICE".into()), ..Wish::default() });
    assert!(client.is_none());
    assert!(matches!(effects[..], [Effect::Refuse { code: 1008, .. }]));
    let bob = scene.named("bob");
    assert_eq!(error_code(&scene.say(bob, r#"{"type":"hello","user":"Alice","id":1}"#), bob), "name_taken");
    assert_eq!(error_code(&scene.say(bob, r#"{"type":"join","username":"system","id":1}"#), bob), "bad_name");
    assert_eq!(error_code(&scene.say(bob, r#"{"type":"hello","token":"t","id":1}"#), bob), "bad_token");
}

#[test]
fn hello_renames_and_rooms_see_it() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    scene.join(alice, "r");
    let effects = scene.say(alice, r#"{"type":"hello","user":"Alicia","id":4}"#);
    assert_eq!(announced(&effects), [("alice".into(), Announcement::Leave), ("Alicia".into(), Announcement::Join)]);
    let frames = sent(&effects, alice);
    assert_eq!((&frames[0]["type"], &frames[0]["id"]), (&"ack".into(), &4.into()));
    assert_eq!(frames[1]["data"]["user"], "Alicia");
    scene.named("alice");
}

#[test]
fn a_drop_within_the_grace_period_is_seen_by_nobody() {
    let mut scene = Scene::new();
    let bob = scene.named("bob");
    scene.join(bob, "r");
    let (alice, effects) = scene.connect(Wish { user: Some("alice".into()), ..Wish::default() });
    let (alice, session) = (alice.unwrap(), session(&effects, alice.unwrap()));
    scene.join(alice, "r");
    scene.pass(2_000);
    assert!(announced(&scene.handle(Input::Disconnect { client: alice, goodbye: false })).is_empty());
    assert!(announced(&scene.pass(9_000)).is_empty());
    let (again, effects) = scene.connect(Wish { session: Some(session), ..Wish::default() });
    assert_eq!(again, Some(alice));
    assert_eq!(sent(&effects, alice)[0]["data"]["user"], "alice");
    assert!(announced(&effects).is_empty());
    assert!(announced(&scene.join(alice, "r")).is_empty());
    let later = scene.pass(60_000);
    assert!(announced(&later).is_empty() && broadcasts(&later).is_empty(), "{later:?}");
}

#[test]
fn a_client_that_stays_away_is_offline_after_the_grace_period() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    scene.join(bob, "r");
    scene.handle(Input::Disconnect { client: alice, goodbye: false });
    assert!(announced(&scene.pass(9_999)).is_empty());
    let effects = scene.pass(1);
    assert_eq!(announced(&effects), [("alice".into(), Announcement::Leave)]);
    let told = broadcasts(&effects);
    let status = told.iter().find(|frame| frame["type"] == "status").expect("a status");
    assert_eq!((&status["data"]["user"], &status["data"]["status"]), (&"alice".into(), &"offline".into()));
    scene.named("alice");
}

#[test]
fn a_goodbye_needs_no_grace_period() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    scene.join(bob, "r");
    let effects = scene.handle(Input::Disconnect { client: alice, goodbye: true });
    assert_eq!(announced(&effects), [("alice".into(), Announcement::Leave)]);
    assert_eq!(scene.chat.user_count(), 1);
}

#[test]
fn who_missed_something_is_shown_all_rooms_it_is_subscribed_to() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    scene.join(alice, "s");
    scene.join(bob, "r");
    let shown = sent(&scene.handle(Input::Missed { client: alice }), alice);
    let lists: Vec<_> =
        shown.iter().map(|event| (event["data"]["room"].as_str(), event["data"]["count"].as_u64())).collect();
    assert_eq!(lists, [(Some("r"), Some(2)), (Some("s"), Some(1))]);
}

#[test]
fn rooms_not_joined_again_after_a_resume_are_left() {
    let mut scene = Scene::new();
    let bob = scene.named("bob");
    scene.join(bob, "a");
    scene.join(bob, "b");
    let (alice, effects) = scene.connect(Wish { user: Some("alice".into()), ..Wish::default() });
    let (alice, session) = (alice.unwrap(), session(&effects, alice.unwrap()));
    scene.join(alice, "a");
    scene.join(alice, "b");
    scene.handle(Input::Disconnect { client: alice, goodbye: false });
    scene.connect(Wish { session: Some(session), ..Wish::default() });
    scene.join(alice, "a");
    assert!(matches!(scene.say(alice, r#"{"type":"message","room":"b","content":"x"}"#)[0], Effect::Append { .. }));
    let effects = scene.pass(10_000);
    assert_eq!(announced(&effects), [("alice".into(), Announcement::Leave)]);
    let effects = scene.say(alice, r#"{"type":"message","room":"b","content":"x"}"#);
    assert_eq!(error_code(&effects, alice), "not_subscribed");
}

#[test]
fn a_session_moves_to_the_newer_connection() {
    let mut scene = Scene::new();
    let (alice, effects) = scene.connect(Wish::default());
    let (alice, session) = (alice.unwrap(), session(&effects, alice.unwrap()));
    let (again, effects) = scene.connect(Wish { session: Some(session.clone()), ..Wish::default() });
    assert_eq!(again, Some(alice));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Refuse { link: 1, code: 1008, .. })));
    let (guest, _) = scene.connect(Wish { session: Some(format!("{session}0")), ..Wish::default() });
    assert_ne!(guest, Some(alice), "a wrong secret is a stranger");
    let hello = format!(r#"{{"type":"hello","session":"{session}","id":1}}"#);
    let effects = scene.say(guest.unwrap(), &hello);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Attach { link: 3, client } if *client == alice)));
    assert_eq!(scene.chat.user_count(), 1, "the guest is gone");
}

#[test]
fn large_rooms_are_told_the_count_once_a_second() {
    let mut scene = Scene::new();
    scene.chat.settings.messages_per_second = 0;
    for number in 0..150 {
        let client = scene.named(&format!("user {number}"));
        let effects = scene.join(client, "r");
        assert_eq!(announced(&effects).len(), usize::from(number < 100));
        assert!(broadcasts(&effects).len() <= usize::from(number == 1), "{number}");
        let list = &sent(&effects, client)[0]["data"];
        assert_eq!(list["users"].as_array().unwrap().len(), (number + 1).min(100));
        assert_eq!(list["more"] == true, number >= 100);
    }
    let told = broadcasts(&scene.pass(1_000));
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["data"]["count"], &told[0]["data"]["more"]), (&150.into(), &true.into()));
    assert!(told[0]["data"]["users"].as_array().unwrap().is_empty());
    assert!(broadcasts(&scene.pass(10_000)).is_empty(), "nothing changed");
}

#[test]
fn typing_and_status_reach_the_room() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    scene.join(bob, "r");
    let effects = scene.say(alice, r#"{"type":"typing","room":"r","isTyping":true}"#);
    assert!(matches!(effects[0], Effect::Broadcast { except: Some(client), .. } if client == alice));
    assert_eq!(typed(&effects), [true]);
    let effects = scene.say(alice, r#"{"type":"status","status":"away"}"#);
    assert_eq!(broadcasts(&effects)[0]["data"]["status"], "away");
    assert!(broadcasts(&scene.say(alice, r#"{"type":"status","status":"away"}"#)).is_empty(), "no change");
}

#[test]
fn private_messages_reach_both_and_nobody_else() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    let effects = scene.say(alice, r#"{"type":"private","to":"BOB","content":"psst","id":1}"#);
    assert_eq!(sent(&effects, bob)[0]["data"]["from"], "alice");
    assert_eq!(sent(&effects, alice).iter().map(|frame| frame["type"].clone()).collect::<Vec<_>>(), ["ack", "private"]);
    scene.handle(Input::Disconnect { client: bob, goodbye: false });
    let effects = scene.say(alice, r#"{"type":"private","to":"bob","content":"psst","id":1}"#);
    assert_eq!(error_code(&effects, alice), "no_such_user");
}

#[test]
fn every_command_with_an_id_is_answered_once() {
    let mut scene = Scene::new();
    let (alice, _bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    for command in [
        r#""type":"presence","room":"r""#,
        r#""type":"presence","room":"elsewhere""#,
        r#""type":"history","room":"r""#,
        r#""type":"history","room":"elsewhere""#,
        r#""type":"status","status":"away""#,
        r#""type":"typing.start","room":"r""#,
        r#""type":"private","to":"bob","content":"x""#,
        r#""type":"private","to":"nobody","content":"x""#,
        r#""type":"ping","timestamp":5"#,
        r#""type":"heartbeat""#,
        r#""type":"hello""#,
        r#""type":"leave","room":"r""#,
        r#""type":"leave","room":"r""#,
        r#""type":"nonsense""#,
    ] {
        let effects = scene.say(alice, &format!(r#"{{"id":"7",{command}}}"#));
        let answers = sent(&effects, alice).into_iter().filter(|frame| frame["id"] == "7");
        assert_eq!(answers.count(), 1, "{command}: {effects:?}");
    }
}

#[test]
fn one_client_is_in_at_most_64_rooms() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    for number in 0..64 {
        scene.join(alice, &format!("r{number}"));
    }
    assert_eq!(error_code(&scene.join(alice, "one more"), alice), "too_many_rooms");
    assert!(scene.join(alice, "r5").iter().any(|effect| matches!(effect, Effect::Subscribe { .. })));
    assert_eq!(scene.chat.room_count(), 64);
}

#[test]
fn rooms_of_the_url_are_joined_at_once() {
    let mut scene = Scene::new();
    let wish = Wish { rooms: vec!["a".into(), "b".into(), "bad\n".into()], since: Some(3), ..Wish::default() };
    let (client, effects) = scene.connect(wish);
    let joins = effects.iter().filter(|effect| matches!(effect, Effect::Subscribe { since: None, id: None, .. }));
    assert_eq!(joins.count(), 2, "since counts only with exactly one room");
    let frames = sent(&effects, client.unwrap());
    assert_eq!(frames.last().unwrap()["data"]["code"], "bad_room");
    let (_, effects) = scene.connect(Wish { rooms: vec!["a".into()], since: Some(3), ..Wish::default() });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Subscribe { since: Some(3), .. })));
}

#[test]
fn a_timer_of_a_room_that_is_gone_does_nothing() {
    let mut scene = Scene::new();
    assert!(scene.handle(Input::Timer(Timer::Presence(RoomKey::from_bits(7)))).is_empty());
}

/// What the room is told of who types.
fn typed(effects: &[Effect]) -> Vec<bool> {
    let frames = broadcasts(effects).into_iter().filter(|frame| frame["type"] == "typing");
    frames.map(|frame| frame["data"]["isTyping"].as_bool().expect("a flag")).collect()
}
