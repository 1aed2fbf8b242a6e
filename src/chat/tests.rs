//! The core's behaviour, told as inputs and effects under a clock that the test turns.

use serde_json::Value;

use super::{Chat, ClientKey, Departure, Effect, Input, Recipient, RoomKey, Settings, Timer, direct};
use crate::{
    accounts::{
        AccountEvent, AccountId, BanTarget, Change, PasswordHash, Role, Token, TokenId,
        testing::{self, Ledger},
    },
    clock::Now,
    names,
    protocol::{self, Announcement, ErrorCode, HistoryRange, Wish},
};

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

fn refusals(effects: &[Effect]) -> Vec<(u64, u16)> {
    let of = |effect: &Effect| match *effect {
        Effect::Refuse { link, code, .. } => Some((link, code)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn departures(effects: &[Effect]) -> Vec<Departure> {
    let of = |effect: &Effect| match *effect {
        Effect::Offline { why, .. } => Some(why),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

const TYPES: &str = r#"{"type":"typing.start","room":"r"}"#;
const STOPS: &str = r#"{"type":"typing.stop","room":"r"}"#;

#[test]
fn at_most_one_typing_a_second_goes_out_and_the_last_one_counts() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    scene.join(alice, "r");
    assert_eq!(typed(&scene.say(alice, STOPS)), Vec::<bool>::new(), "nobody thought so");
    assert_eq!(typed(&scene.say(alice, TYPES)), [true]);
    for command in [STOPS, TYPES, STOPS] {
        assert_eq!(typed(&scene.say(alice, command)), Vec::<bool>::new());
        scene.pass(100);
    }
    assert_eq!(typed(&scene.pass(699)), Vec::<bool>::new());
    assert_eq!(typed(&scene.pass(1)), [false]);
    let repeated: usize = (0..30).map(|_| typed(&scene.say(alice, TYPES)).len() + typed(&scene.pass(100)).len()).sum();
    assert_eq!(repeated, 3, "repeats are passed on, one a second");
}

#[test]
fn typing_ends_by_silence_by_leaving_and_with_the_message() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    scene.join(bob, "r");
    scene.say(alice, TYPES);
    assert_eq!(typed(&scene.pass(5_999)), Vec::<bool>::new());
    assert_eq!(typed(&scene.pass(1)), [false]);
    assert_eq!(typed(&scene.pass(60_000)), Vec::<bool>::new());

    scene.say(alice, TYPES);
    let effects = scene.say(alice, r#"{"type":"message","room":"r","content":"done"}"#);
    assert_eq!(typed(&effects), [false]);
    assert!(matches!(effects.last(), Some(Effect::Append { .. })), "told before the message");
    assert_eq!(typed(&scene.pass(60_000)), Vec::<bool>::new());

    scene.say(alice, TYPES);
    assert_eq!(typed(&scene.say(alice, r#"{"type":"leave","room":"r"}"#)), [false]);
    assert!(scene.chat.typing.is_empty(), "nothing is kept of it");
}

#[test]
fn an_account_is_one_user_on_all_its_devices() {
    let mut scene = Scene::new();
    let (_, token) = scene.account("alice", Role::Member);
    let watcher = scene.named("watcher");
    scene.join(watcher, "r");
    let (phone, laptop) = (scene.device(&token), scene.device(&token));
    assert_eq!(announced(&scene.join(phone, "r")), [("alice".into(), Announcement::Join)]);
    let second = scene.join(laptop, "r");
    assert!(announced(&second).is_empty(), "she is there already");
    assert_eq!(sent(&second, laptop)[0]["data"]["count"], 2);
    let gone = scene.handle(Input::Disconnect { client: phone, goodbye: true });
    assert!(announced(&gone).is_empty() && departures(&gone).is_empty());
    let gone = scene.handle(Input::Disconnect { client: laptop, goodbye: true });
    assert_eq!(announced(&gone), [("alice".into(), Announcement::Leave)]);
    assert_eq!(departures(&gone), [Departure::Goodbye]);
}

#[test]
fn a_login_in_a_room_is_seen_as_one_leaving_and_one_joining() {
    let mut scene = Scene::new();
    let (_, token) = scene.account("alice", Role::Member);
    let guest = scene.named("somebody");
    scene.join(guest, "r");
    let hello = format!(r#"{{"type":"hello","token":"{token}","id":1}}"#);
    let effects = scene.say(guest, &hello);
    assert_eq!(announced(&effects), [("somebody".into(), Announcement::Leave), ("alice".into(), Announcement::Join)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Unsubscribe { .. })), "its cursor stays");
    let connected = &sent(&effects, guest)[1]["data"];
    assert_eq!((&connected["user"], &connected["role"]), (&"alice".into(), &"member".into()));
    assert!(announced(&scene.say(guest, &hello)).is_empty(), "once more is no news");
    let effects = scene.say(guest, r#"{"type":"hello","user":"bob","id":2}"#);
    assert_eq!(announced(&effects), [("alice".into(), Announcement::Leave), ("bob".into(), Announcement::Join)]);
    assert!(scene.chat.logins.is_empty(), "a guest again");
}

#[test]
fn registered_names_and_their_look_alikes_need_the_token() {
    let mut scene = Scene::new();
    let (_, token) = scene.account("alice", Role::Member);
    let guest = scene.connect(Wish::default()).0.expect("a guest");
    for name in ["alice", "ALICE", "ａｌｉｃｅ", "\u{430}lice"] {
        let (client, effects) = scene.connect(Wish { user: Some(name.into()), ..Wish::default() });
        assert!(client.is_none() && refusals(&effects)[0].1 == 1008, "{name}");
        let hello = format!(r#"{{"type":"hello","user":"{name}","id":1}}"#);
        assert_eq!(error_code(&scene.say(guest, &hello), guest), "name_taken", "{name}");
    }
    let other = format!(r#"{{"type":"hello","user":"bob","token":"{token}","id":1}}"#);
    assert_eq!(error_code(&scene.say(guest, &other), guest), "bad_token");
    scene.say(guest, &format!(r#"{{"type":"hello","user":"ALICE","token":"{token}"}}"#));
    assert!(!scene.chat.logins.is_empty());
}

#[test]
fn a_guest_gives_way_to_an_account_that_was_registered_meanwhile() {
    let mut scene = Scene::new();
    let guest = scene.named("alice");
    scene.join(guest, "r");
    let (_, token) = scene.account("alice", Role::Member);
    let name = names::user("ALICE").expect("valid");
    assert!(scene.chat.is_held_by_another(&name, None));
    let device = scene.connect(Wish::default()).0.expect("a guest");
    let effects = scene.say(device, &format!(r#"{{"type":"hello","token":"{token}"}}"#));
    let told = announced(&effects);
    assert_eq!(told[0], ("alice".into(), Announcement::Leave));
    assert!(told[1].0.starts_with("user_"), "{told:?}");
    assert_eq!(sent(&effects, guest)[0]["type"], "connected", "the guest is told its new name");
    assert_eq!(sent(&effects, device)[0]["data"]["user"], "alice");
}

#[test]
fn the_end_of_a_token_ends_its_connections_and_no_others() {
    let mut scene = Scene::new();
    let (id, token) = scene.account("alice", Role::Member);
    let other = scene.token(id);
    let (lost, kept) = (scene.device(&token), scene.device(&other));
    let lost_link = scene.chat.clients.get(lost).link().expect("connected");
    scene.join(lost, "r");
    scene.handle(Input::Listen {
        link: 99,
        reader: scene.accounts.tables().tokens.find(&token, scene.now),
        room: "r",
        since: None,
        epoch: None,
    });
    let token = scene.accounts.tables().tokens.find(&token, scene.now).expect("good").1;
    let (_, ended) = scene.settle(Change::TokenRevoked { token });
    let effects = scene.handle(Input::Ended { tokens: &ended });
    assert_eq!(refusals(&effects), [(lost_link, 4500), (99, 4500)]);
    assert_eq!(announced(&effects).len(), 1, "without a grace period");
    assert!(scene.chat.clients.try_get(kept).is_some());
    assert!(scene.handle(Input::Disconnect { client: lost, goodbye: false }).is_empty());
    assert!(scene.handle(Input::Command { client: lost, address: 0, request: protocol::parse("{}") }).is_empty());
    scene.handle(Input::Hangup { link: 99 });
    assert_eq!(scene.chat.room_count(), 0);
}

#[test]
fn where_guests_are_not_allowed_one_has_to_log_in_at_once() {
    let mut scene = Scene::with(Settings { guests: false, ..SETTINGS });
    let (_, token) = scene.account("alice", Role::Member);
    for wish in
        [Wish { user: Some("bob".into()), ..Wish::default() }, Wish { rooms: vec!["r".into()], ..Wish::default() }]
    {
        assert_eq!(refusals(&scene.connect(wish).1)[0].1, 4500);
    }
    for command in [r#"{"type":"join"}"#, r#"{"type":"hello","user":"bob"}"#, r#"{"type":"history","room":"r"}"#] {
        let client = scene.connect(Wish::default()).0.expect("may still log in");
        assert!(refusals(&scene.say(client, r#"{"type":"ping"}"#)).is_empty());
        assert_eq!(refusals(&scene.say(client, command))[0].1, 4500, "{command}");
    }
    let (late, _) = scene.connect(Wish::default());
    let device = scene.device(&token);
    let effects = scene.pass(60_000);
    assert_eq!(refusals(&effects).len(), 1, "{late:?} was too late");
    assert!(!scene.join(device, "r").is_empty() && refusals(&scene.pass(60_000)).is_empty());
}

#[test]
fn messages_between_accounts_go_into_a_room_of_the_two() {
    let mut scene = Scene::new();
    let ((a, alice_token), (b, bob_token), (_, eve_token)) =
        (scene.account("alice", Role::Member), scene.account("bob", Role::Member), scene.account("eve", Role::Admin));
    let (alice, eve) = (scene.device(&alice_token), scene.device(&eve_token));
    let effects = scene.say(alice, r#"{"type":"private","to":"Bob","content":"psst","nonce":"n","id":1}"#);
    assert!(effects.contains(&Effect::Converse { pair: (a, b) }), "{effects:?}");
    let Some(Effect::Append { room, pair, nonce, .. }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((*pair, nonce.as_deref()), (Some((a, b)), Some("n")));
    assert_eq!(sent(&effects, alice).len(), 0, "acknowledged when it is stored");
    let room = *room;
    let (first, second) = (scene.device(&bob_token), scene.device(&bob_token));
    let name = direct::room(a, b);
    scene.join(first, &name);
    let told = scene.handle(Input::Told { pair: (a, b), room, json: b"{}" });
    assert!(sent(&told, first).is_empty(), "it reads the room");
    assert_eq!((sent(&told, second).len(), sent(&told, alice).len(), told.len()), (1, 1, 2));
    for command in ["join", "history", "presence"] {
        let effects = scene.say(eve, &format!(r#"{{"type":"{command}","room":"{name}","id":1}}"#));
        assert_eq!(error_code(&effects, eve), "forbidden", "{command}");
        let unknown = scene.say(eve, &format!(r#"{{"type":"{command}","room":"@dm:1-2","id":1}}"#));
        assert_eq!(sent(&effects, eve), sent(&unknown, eve), "nothing tells whether it exists");
    }
    let change = scene.say(eve, &format!(r#"{{"type":"delete","room":"{name}","sequence":1,"id":1}}"#));
    assert_eq!(error_code(&change, eve), "forbidden");
    scene.settle(Change::DirectBegun { account: a, with: b });
    let effects = scene.say(alice, r#"{"type":"hello"}"#);
    let direct = &sent(&effects, alice)[0]["data"]["direct"];
    assert_eq!((&direct[0]["room"], &direct[0]["user"]), (&name.into(), &"bob".into()));
}

#[test]
fn whose_message_may_be_changed_depends_on_who_asks() {
    let mut scene = Scene::new();
    scene.now.unix_ms = 5_000;
    let (_, token) = scene.account("alice", Role::Member);
    let (_, admin_token) = scene.account("mod", Role::Admin);
    scene.now.unix_ms = 9_000;
    let (alice, admin, guest) = (scene.device(&token), scene.device(&admin_token), scene.named("guest"));
    let delete = r#"{"type":"delete","room":"r","sequence":3,"id":1}"#;
    let edit = r#"{"type":"edit","room":"r","sequence":3,"content":"new","nonce":"n","id":1}"#;
    assert_eq!(error_code(&scene.say(alice, delete), alice), "not_subscribed");
    scene.join(alice, "r");
    scene.join(guest, "r");
    let since = |effects: &[Effect]| match effects.last() {
        Some(Effect::Amend { target: 3, own_since_ms, .. }) => *own_since_ms,
        _ => panic!("{effects:?}"),
    };
    assert_eq!(since(&scene.say(alice, edit)), Some(5_000), "since the account is there");
    assert_eq!(since(&scene.say(guest, delete)), Some(9_000), "since the name is a guest's");
    assert_eq!(since(&scene.say(admin, delete)), None, "anybody's, and from outside the room");
    assert_eq!(error_code(&scene.say(admin, edit), admin), "not_subscribed", "but what others say stays their own");
    let empty = r#"{"type":"edit","room":"r","sequence":3,"content":" ","id":1}"#;
    assert_eq!(error_code(&scene.say(alice, empty), alice), "empty");
}

#[test]
fn administrators_kick_and_ban() {
    let mut scene = Scene::new();
    let (_, token) = scene.account("mod", Role::Admin);
    let (admin, eve, bob) = (scene.device(&token), scene.named("eve"), scene.named("bob"));
    scene.join(eve, "r");
    scene.join(bob, "r");
    for command in [r#""type":"kick","user":"eve""#, r#""type":"ban","user":"eve""#, r#""type":"unban","user":"eve""#] {
        assert_eq!(error_code(&scene.say(bob, &format!("{{{command},\"id\":1}}")), bob), "forbidden");
    }
    let effects = scene.say(admin, r#"{"type":"kick","user":"EVE","id":1}"#);
    assert_eq!((sent(&effects, admin).len(), refusals(&effects)[0].1), (1, 4501));
    assert_eq!((announced(&effects).len(), departures(&effects)), (1, vec![Departure::ShownOut]));
    assert_eq!(error_code(&scene.say(admin, r#"{"type":"kick","user":"eve","id":1}"#), admin), "no_such_user");
    let effects =
        scene.say(admin, r#"{"type":"ban","user":"bob","address":true,"durationMs":500,"reason":"spam","id":2}"#);
    let Effect::Ban { until_ms: Some(1_500), ref links, ref reason, .. } = effects[0] else { panic!("{effects:?}") };
    assert_eq!((links.len(), &**reason, refusals(&effects)[0].1), (1, "spam", 4501));
    assert!(sent(&effects, admin).is_empty(), "acknowledged when it is stored");
    let (target, reason) = (BanTarget::name("bob"), "spam".to_owned());
    scene.settle(Change::Banned { target, until_ms: Some(1_500), reason, by: "mod".into() });
    let (client, effects) = scene.connect(Wish { user: Some("BOB".into()), ..Wish::default() });
    assert!(client.is_none() && refusals(&effects)[0].1 == 4501);
    scene.now.unix_ms = 1_500;
    scene.named("bob");
}

#[test]
fn requests_have_the_same_rules_and_no_membership() {
    let mut scene = Scene::new();
    let (id, _) = scene.account("alice", Role::Member);
    let post = |scene: &mut Scene, room: &str, content: &str| {
        scene.handle(Input::Post { link: 9, address: 0, author: id, room, content, nonce: None })
    };
    let denied = |effects: &[Effect]| match effects {
        [Effect::Deny { link: 9, code, .. }] => *code,
        _ => panic!("{effects:?}"),
    };
    assert_eq!(denied(&post(&mut scene, "r", "")), ErrorCode::Empty);
    assert_eq!(denied(&post(&mut scene, "", "x")), ErrorCode::BadRoom);
    assert_eq!(denied(&post(&mut scene, "@dm:7-8", "x")), ErrorCode::Forbidden);
    let effects = post(&mut scene, "r", "x");
    assert!(matches!(effects[..], [Effect::OpenRoom { .. }, Effect::Append { to: Recipient::Request(9), .. }]));
    assert!((0..79).all(|_| matches!(post(&mut scene, "r", "x").last(), Some(Effect::Append { .. }))));
    assert_eq!(denied(&post(&mut scene, "r", "x")), ErrorCode::RateLimited, "the account's own rate");
    let range = HistoryRange::new(None, None, None);
    let effects = scene.handle(Input::Read { link: 9, reader: None, room: "other", range });
    assert!(matches!(
        effects[..],
        [Effect::OpenRoom { .. }, Effect::History { to: Recipient::Request(9), .. }, Effect::CloseRoom { .. }]
    ));
    let effects = scene.handle(Input::Read { link: 9, reader: None, room: "@dm:1-1", range });
    assert_eq!(denied(&effects), ErrorCode::Forbidden);
}

#[test]
fn control_frames_and_commands_have_a_bound_of_their_own() {
    let mut scene = Scene::new();
    let (pings, talker) = (scene.named("pings"), scene.named("talker"));
    scene.join(talker, "r");
    assert!((0..398).all(|_| sent(&scene.say(talker, r#"{"type":"ping"}"#), talker)[0]["type"] == "pong"));
    scene.say(talker, r#"{"type":"ping"}"#);
    assert_eq!(error_code(&scene.say(talker, r#"{"type":"ping","id":1}"#), talker), "rate_limited");
    assert!(matches!(
        scene.say(talker, r#"{"type":"message","room":"r","content":"still"}"#)[0],
        Effect::Append { .. }
    ));
    assert!(refusals(&scene.handle(Input::Control { client: pings, count: 400 })).is_empty());
    assert!(refusals(&scene.handle(Input::Control { client: pings, count: 199 })).is_empty());
    assert_eq!(refusals(&scene.handle(Input::Control { client: pings, count: 1 }))[0].1, 1008);
    assert!(refusals(&scene.handle(Input::Control { client: pings, count: 500 })).is_empty(), "once");
}
