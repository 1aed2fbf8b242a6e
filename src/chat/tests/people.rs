//! The core's behaviour where it is about people: accounts and their devices, private conversations, typing, changes,
//! moderation, requests, rates.

use super::*;
use crate::{
    accounts::BanTarget,
    chat::{Departure, direct},
    protocol::{ErrorCode, HistoryRange},
};

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
fn all_guests_with_look_alikes_of_an_account_give_way() {
    let mut scene = Scene::new();
    // Two names of one script, which may stand side by side, and one of another that both are taken for.
    let (first, second) = (scene.named("\u{43e}\u{441}\u{430}1"), scene.named("\u{43e}\u{441}\u{430}\u{4cf}"));
    let name = names::user("ocal").expect("valid");
    assert!(scene.chat.is_held_by_another(&name, None));
    let own = scene.chat.clients.get(first).session(first);
    assert!(scene.chat.is_held_by_another(&name, Some(&own)), "by the second");
    let (_, token) = scene.account("ocal", Role::Member);
    let effects = scene.say(first, &format!(r#"{{"type":"hello","token":"{token}"}}"#));
    assert_eq!(sent(&effects, second)[0]["type"], "connected", "the other guest is told its new name");
    assert_eq!(sent(&effects, first)[0]["data"]["user"], "ocal");
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
    assert!((0..1_998).all(|_| sent(&scene.say(talker, r#"{"type":"ping"}"#), talker)[0]["type"] == "pong"));
    scene.say(talker, r#"{"type":"ping"}"#);
    assert_eq!(error_code(&scene.say(talker, r#"{"type":"ping","id":1}"#), talker), "rate_limited");
    assert!(matches!(
        scene.say(talker, r#"{"type":"message","room":"r","content":"still"}"#)[0],
        Effect::Append { .. }
    ));
    assert!(refusals(&scene.handle(Input::Control { client: pings, count: 2_000 })).is_empty());
    assert!(refusals(&scene.handle(Input::Control { client: pings, count: 199 })).is_empty());
    assert_eq!(refusals(&scene.handle(Input::Control { client: pings, count: 1 }))[0].1, 1008);
    assert!(refusals(&scene.handle(Input::Control { client: pings, count: 3_000 })).is_empty(), "once");
}
