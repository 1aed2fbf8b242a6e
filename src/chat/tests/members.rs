//! The core's behaviour where it is about who is in a room: lists, counts, statuses, and who is told when.

use super::*;

const LEAVES: &str = r#"{"type":"leave","room":"r"}"#;

/// A room of so many members, and them.
fn crowd(scene: &mut Scene, count: usize) -> Vec<ClientKey> {
    scene.chat.settings.messages_per_second = 0;
    let members: Vec<ClientKey> = (0..count).map(|number| scene.named(&format!("member {number}"))).collect();
    for &member in &members {
        scene.join(member, "r");
    }
    members
}

/// Of each member list that the room is told: how many are in it, the count, whether there are more, and who is not told.
fn lists(effects: &[Effect]) -> Vec<(usize, u64, bool, Option<ClientKey>)> {
    let of = |effect: &Effect| match effect {
        Effect::Broadcast { json, except, .. } => {
            let frame: Value = serde_json::from_slice(json).expect("valid JSON");
            let data = &frame["data"];
            let users = data["users"].as_array()?;
            Some((users.len(), data["count"].as_u64()?, data["more"] == true, *except))
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// When the chat asked to be called for a member list.
fn list_timers(effects: &[Effect]) -> Vec<u64> {
    let of = |effect: &Effect| match *effect {
        Effect::Timer { at_ms, timer: Timer::Presence(_) } => Some(at_ms),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_change_is_told_at_once_if_the_last_was_told_a_second_ago_and_else_then() {
    let mut scene = Scene::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| scene.named(name));
    let first = scene.join(alice, "r");
    assert_eq!((lists(&first), list_timers(&first)), (vec![], vec![]), "nobody else is there");
    scene.pass(1_000);
    let second = scene.join(bob, "r");
    assert_eq!((lists(&second), list_timers(&second)), (vec![(2, 2, false, Some(bob))], vec![]), "a second after");
    scene.pass(999);
    let early = scene.join(carol, "r");
    assert_eq!((lists(&early), list_timers(&early)), (vec![], vec![2_005]), "not yet a second");
    let again = scene.say(carol, LEAVES);
    assert_eq!((lists(&again), list_timers(&again)), (vec![], vec![]), "one timer for all changes");
    assert_eq!(lists(&scene.pass(1)), [(2, 2, false, None)]);
    assert_eq!(lists(&scene.pass(5_000)), []);
    assert_eq!(lists(&scene.say(bob, LEAVES)), [(1, 1, false, None)], "who is left alone is told");
}

#[test]
fn a_timer_of_a_room_fires_neither_early_nor_for_nothing() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    let (room, _) = scene.chat.room("r").expect("a room with a member");
    assert!(scene.handle(Input::Timer(Timer::Presence(room))).is_empty(), "nothing changed");
    scene.pass(1_000);
    assert!(scene.handle(Input::Timer(Timer::Presence(room))).is_empty(), "nor a second later");
    scene.join(bob, "r");
    scene.say(bob, LEAVES);
    assert!(scene.handle(Input::Timer(Timer::Presence(room))).is_empty(), "the change is not due");
    assert_eq!(lists(&scene.pass(1_000)), [(1, 1, false, None)]);
}

#[test]
fn the_last_one_out_is_told_nothing() {
    let mut scene = Scene::new();
    let alice = scene.named("alice");
    scene.join(alice, "r");
    scene.pass(2_000);
    let last = scene.say(alice, LEAVES);
    assert!(broadcasts(&last).is_empty(), "{last:?}");
}

#[test]
fn a_list_has_up_to_100_names_and_beyond_only_the_count() {
    let mut scene = Scene::new();
    crowd(&mut scene, 100);
    assert_eq!(lists(&scene.pass(1_000)), [(100, 100, false, None)]);
    let late = scene.named("late");
    scene.join(late, "r");
    assert_eq!(lists(&scene.pass(1_000)), [(0, 101, true, None)]);
}

#[test]
fn who_leaves_is_announced_to_a_room_that_had_up_to_100_members() {
    let mut scene = Scene::new();
    let members = crowd(&mut scene, 101);
    assert_eq!(announced(&scene.say(members[7], LEAVES)), []);
    assert_eq!(announced(&scene.say(members[8], LEAVES)), [("member 8".into(), Announcement::Leave)]);
}

#[test]
fn a_status_is_told_to_rooms_of_up_to_100_members() {
    let mut scene = Scene::new();
    let members = crowd(&mut scene, 100);
    scene.pass(1_000);
    scene.now.unix_ms = 7_000;
    let told = broadcasts(&scene.say(members[0], r#"{"type":"status","status":"away"}"#));
    assert_eq!(told.len(), 1);
    let data = serde_json::json!({ "room": "r", "user": "member 0", "status": "away", "lastSeen": 7_000 });
    assert_eq!((&told[0]["type"], &told[0]["data"]), (&"status".into(), &data));
    let late = scene.named("late");
    scene.join(late, "r");
    assert!(broadcasts(&scene.say(members[0], r#"{"type":"status","status":"online"}"#)).is_empty());
}

#[test]
fn who_is_offline_was_last_seen_with_its_last_command() {
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(bob, "r");
    scene.now.unix_ms = 3_000;
    scene.join(alice, "r");
    scene.now.unix_ms = 9_000;
    let told = broadcasts(&scene.handle(Input::Disconnect { client: alice, goodbye: true }));
    assert_eq!((&told[0]["data"]["status"], &told[0]["data"]["lastSeen"]), (&"offline".into(), &3_000.into()));
}

#[test]
fn only_what_is_subscribed_on_a_connection_is_unsubscribed() {
    let unsubscribed = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Unsubscribe { .. }));
    let mut scene = Scene::new();
    let (alice, bob) = (scene.named("alice"), scene.named("bob"));
    scene.join(alice, "r");
    assert!(!unsubscribed(&scene.handle(Input::Disconnect { client: alice, goodbye: true })), "no connection");
    scene.join(bob, "r");
    scene.handle(Input::Disconnect { client: bob, goodbye: false });
    assert!(!unsubscribed(&scene.pass(10_000)), "no connection after the grace period");
    let (carol, effects) = scene.connect(Wish { user: Some("carol".into()), ..Wish::default() });
    let (carol, session) = (carol.unwrap(), session(&effects, carol.unwrap()));
    scene.join(carol, "r");
    scene.handle(Input::Disconnect { client: carol, goodbye: false });
    scene.connect(Wish { session: Some(session), ..Wish::default() });
    let over = scene.pass(10_000);
    assert_eq!(announced(&over), [("carol".into(), Announcement::Leave)]);
    assert!(!unsubscribed(&over), "a connection, but not joined again");
}

#[test]
fn a_user_leaves_a_room_with_the_last_of_its_devices() {
    let mut scene = Scene::new();
    let (_, token) = scene.account("alice", Role::Member);
    let devices = [(); 3].map(|()| scene.device(&token));
    let announcements = devices.map(|device| announced(&scene.join(device, "r")).len());
    assert_eq!(announcements, [1, 0, 0]);
    assert_eq!(devices.map(|device| announced(&scene.say(device, LEAVES)).len()), [0, 0, 1]);
    assert_eq!(scene.chat.room_count(), 0);
}
