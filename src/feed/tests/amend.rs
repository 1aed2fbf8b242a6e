//! Edits and deletions as readers see them: from memory, from the log, before and after a restart.

use super::*;
use crate::feed::{Amendment, Author};

fn edit(target: u64, content: &str) -> Amendment<'_> {
    Amendment { user: "alice", target, content: Some(content), nonce: None, author: None }
}

fn deletion(target: u64) -> Amendment<'static> {
    Amendment { user: "mod", target, content: None, nonce: None, author: None }
}

impl Scene {
    fn amend(&mut self, amendment: &Amendment<'_>, ticket: u32) {
        self.feed.amend(ROOM, amendment, self.now, ticket, &mut self.events);
    }

    /// What became of changes: their numbers, or why not.
    fn amended(&mut self, amendments: &[Amendment<'_>]) -> Vec<Result<(u64, bool), Rejection>> {
        for (ticket, amendment) in (100..).zip(amendments) {
            self.amend(amendment, ticket);
        }
        let mut found: Vec<_> = self
            .commit()
            .into_iter()
            .filter_map(|event| match event {
                FeedEvent::Stored { ticket, sequence, duplicate, .. } => Some((ticket, Ok((sequence, duplicate)))),
                FeedEvent::Rejected { ticket, why } => Some((ticket, Err(why))),
                _ => None,
            })
            .collect();
        found.sort_by_key(|&(ticket, _)| ticket);
        found.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// All messages, by `history`.
    fn all(&mut self) -> Vec<Value> {
        self.history(HistoryRange::Since { since: 0, limit: 1_000 })["data"]["messages"].as_array().unwrap().clone()
    }

    fn contents(&mut self) -> Vec<String> {
        self.all().iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether a text is anywhere in the data folder.
    fn is_on_disk(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.folder.0.join("rooms/r")).unwrap();
        let read = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        read.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

#[test]
fn an_edit_is_an_event_of_its_own_and_the_message_has_its_text() {
    let mut scene = Scene::new();
    scene.append("old", Some("n"), 0);
    scene.append("other", None, 0);
    scene.commit();
    scene.subscribe(1, Start::Recent);
    scene.given(1);
    assert_eq!(scene.amended(&[edit(1, "new")]), [Ok((3, false))]);
    let event = &scene.given(1)[0]["data"];
    assert_eq!((&event["content"], &event["kind"], &event["target"]), (&"new".into(), &"edit".into(), &1.into()));
    let first = scene.all()[0].clone();
    assert_eq!(
        (&first["content"], &first["nonce"], &first["edited"]["sequence"]),
        (&"new".into(), &"n".into(), &3.into())
    );
    assert_eq!(scene.amended(&[edit(1, "newest")]), [Ok((4, false))]);
    assert_eq!(scene.all()[3]["previous"], 3);
    for _ in 0..2 {
        assert_eq!(scene.contents(), ["newest", "other", "new", "newest"]);
        scene.given(1);
        let (alone, along) = replayed(&mut scene, 0);
        assert_eq!((&alone[0]["data"]["messages"][0]["content"], alone == along), (&"newest".into(), true));
        scene.subscribe(3, Start::Recent);
        assert_eq!(scene.given(3)[0]["data"]["messages"][0]["content"], "newest");
        scene = scene.restart();
    }
}

#[test]
fn a_deleted_text_is_nowhere_any_more_and_neither_are_its_edits() {
    let mut scene = Scene::new();
    scene.append("first secret", None, 0);
    scene.commit();
    scene.amended(&[edit(1, "second secret")]);
    // The last two in one turn: the deletion empties an edit that nobody has seen.
    assert_eq!(scene.amended(&[edit(1, "third secret"), deletion(1)]), [Ok((3, false)), Ok((4, false))]);
    assert!(!scene.is_on_disk("secret"));
    for _ in 0..2 {
        let all = scene.all();
        assert!(all.iter().all(|message| message["content"] == ""), "{all:?}");
        assert!(all[..3].iter().all(|message| message["deleted"]["sequence"] == 4), "{all:?}");
        assert_eq!(
            (&all[3]["user"], &all[3]["kind"], &all[0]["user"]),
            (&"mod".into(), &"delete".into(), &"alice".into())
        );
        scene = scene.restart();
    }
}

#[test]
fn only_a_message_that_is_there_can_be_changed() {
    let mut scene = Scene::new();
    scene.fill(1..=3);
    scene.append("not shown yet", None, 0);
    let no = Err(Rejection::NoSuchMessage);
    assert_eq!(scene.amended(&[edit(4, "x"), edit(0, "x"), edit(9, "x"), edit(u64::MAX, "x")])[1..], [no; 4]);
    assert_eq!(scene.amended(&[edit(2, "x"), deletion(3)]), [Ok((5, false)), Ok((6, false))]);
    assert_eq!(scene.amended(&[edit(5, "x"), deletion(6), edit(3, "x"), deletion(3)]), [no; 4]);
    let mut scene = scene.restart();
    assert_eq!(scene.amended(&[edit(5, "x"), deletion(6), edit(3, "x"), deletion(3)]), [no; 4]);
}

#[test]
fn an_author_changes_only_what_is_theirs_and_recent() {
    let mut scene = Scene::new();
    scene.fill(1..=1);
    let by = |user, since_ms| Amendment { author: Some(Author { user, since_ms }), ..edit(1, "x") };
    let no = Err(Rejection::NotAuthor);
    let tried = scene.amended(&[by("bob", 0), by("Alice", 0), by("alice", 1_000_001), by("alice", 1_000_000)]);
    assert_eq!(tried, [no, no, no, Ok((2, false))]);
    assert_eq!(scene.amended(&[by("bob", 0), by("alice", 1_000_000)]), [no, Ok((3, false))], "it is still hers");
}

#[test]
fn of_two_changes_in_one_turn_the_later_counts_unless_the_message_is_gone() {
    for _ in 0..2 {
        let mut scene = Scene::new();
        scene.fill(1..=2);
        assert_eq!(scene.amended(&[edit(1, "a"), edit(1, "b")]), [Ok((3, false)), Ok((4, false))]);
        let (tried, no) = (scene.amended(&[deletion(2), edit(2, "c"), deletion(2)]), Err(Rejection::NoSuchMessage));
        assert_eq!(tried, [Ok((5, false)), no, no]);
        assert_eq!(scene.contents(), ["b", "", "a", "b", ""]);
        let mut scene = scene.restart();
        assert_eq!(scene.contents(), ["b", "", "a", "b", ""]);
    }
}

#[test]
fn a_repeated_change_is_made_once_and_a_changed_message_is_still_known() {
    let mut scene = Scene::new();
    scene.append("hello", Some("m"), 0);
    scene.append("bye", Some("b"), 0);
    scene.commit();
    let again = |content| Amendment { nonce: Some("e"), ..edit(1, content) };
    let gone = Amendment { user: "alice", nonce: Some("d"), ..deletion(2) };
    assert_eq!(scene.amended(&[again("x"), again("x"), gone]), [Ok((3, false)), Ok((3, true)), Ok((4, false))]);
    for _ in 0..2 {
        let conflict = Err(Rejection::NonceConflict);
        let (other, plain) = (Amendment { target: 2, ..again("x") }, Amendment { nonce: Some("m"), ..again("x") });
        let tried = scene.amended(&[again("x"), again("y"), other, plain, gone]);
        assert_eq!(tried, [Ok((3, true)), conflict, conflict, conflict, Ok((4, true))]);
        // The texts are gone, so whoever asks with the nonce has asked before.
        for (content, nonce, sequence) in [("hello", "m", 1), ("bye", "b", 2)] {
            scene.append(content, Some(nonce), 7);
            let events = scene.commit();
            assert!(
                matches!(events[0], FeedEvent::Stored { sequence: found, duplicate: true, .. } if found == sequence),
                "{events:?}"
            );
        }
        scene.append("x", Some("e"), 8);
        assert!(scene.commit().contains(&FeedEvent::Rejected { ticket: 8, why: Rejection::NonceConflict }));
        scene = scene.restart();
    }
}

#[test]
fn readers_that_are_behind_are_shown_the_present_text_and_nobody_waits_for_the_next_message() {
    let mut scene = Scene::new();
    scene.subscribe(1, Start::Recent);
    scene.subscribe(2, Start::Recent);
    scene.queues.full = vec![2];
    scene.fill(1..=5);
    scene.amended(&[edit(4, "new")]);
    assert_eq!(scene.sequences(1).0, (1..=6).collect::<Vec<_>>());
    scene.queues.full.clear();
    scene.feed.resume(who(2));
    scene.turn();
    let given = scene.given(2);
    assert!(given.iter().all(|frame| frame["type"] == "message"), "{given:?}");
    let contents: Vec<_> = given.iter().map(|frame| frame["data"]["content"].as_str().unwrap()).collect();
    assert_eq!(contents, ["message 1", "message 2", "message 3", "new", "message 5", "new"]);
    assert_eq!(given[3]["data"]["edited"]["sequence"], 6);
    // The whole tail goes, with the event itself; the event is delivered all the same.
    scene.amended(&[edit(5, "x"), deletion(5)]);
    assert_eq!((scene.sequences(1).0, scene.sequences(2).0), (vec![7, 8], vec![7, 8]));
    scene.fill(9..=9);
    assert_eq!((scene.sequences(1).0, scene.sequences(2).0), (vec![9], vec![9]));
}

#[test]
fn a_frame_that_was_made_for_others_does_not_outlive_a_change() {
    let mut scene = Scene::new();
    scene.fill(1..=3);
    for slot in 1..=2 {
        scene.feed.subscribe(who(slot), ROOM, after(0)).expect("the log is there");
    }
    scene.queues.deaf = vec![2];
    assert!(scene.feed.pull(&mut scene.queues), "one is behind, so the frame is kept");
    assert_eq!(scene.given(1)[0]["data"]["messages"][1]["content"], "message 2");
    scene.amend(&deletion(2), 0);
    scene.feed.write(scene.now, &mut scene.events);
    let batch = scene.feed.next_sync(scene.now).expect("due");
    scene.feed.synced(batch.run(), scene.now, &mut scene.events);
    scene.queues.deaf.clear();
    scene.turn();
    assert_eq!(scene.given(2)[0]["data"]["messages"][1]["content"], "");
}

#[test]
fn a_volatile_run_shows_a_change_as_soon_as_it_is_written() {
    for policy in [SyncPolicy::Interval { ms: 1_000 }, SyncPolicy::Never] {
        let mut scene = Scene::with_policy(policy);
        // In the first sync of a run all of it becomes durable.
        scene.fill(1..=1);
        scene.fill(2..=3);
        scene.amend(&deletion(2), 0);
        // Until what is to be changed is durable, the change is not even written.
        scene.feed.write(scene.now, &mut scene.events);
        let batch = scene.feed.next_sync(scene.now).expect("urgent");
        scene.feed.synced(batch.run(), scene.now, &mut scene.events);
        assert_eq!(scene.contents().len(), 3);
        scene.feed.write(scene.now, &mut scene.events);
        assert_eq!(scene.contents(), ["message 1", "", "message 3", ""], "{policy:?}");
        assert!(scene.is_on_disk("message 2"), "and is carried out when it is durable");
        scene.commit();
        assert!(!scene.is_on_disk("message 2"));
        assert_eq!(scene.contents(), ["message 1", "", "message 3", ""], "{policy:?}");
    }
}

#[test]
fn pages_of_short_messages_with_long_texts_are_bounded() {
    let mut scene = Scene::new();
    scene.fill(1..=200);
    let long = "y".repeat(4_000);
    (1..=200).for_each(|target| scene.amend(&edit(target, &long), 0));
    scene.commit();
    let mut scene = scene.restart();
    scene.subscribe(1, after(0));
    assert_eq!(scene.sequences(1).0, (1..=400).collect::<Vec<_>>());
    assert!(scene.queues.largest < 2 * limits::REPLAY_FRAME_BYTES_MAX, "{}", scene.queues.largest);
    let newest = scene.history(HistoryRange::Before { before: 201, since: 0, limit: 200 });
    let found = newest["data"]["messages"].as_array().unwrap();
    assert_eq!((&found[found.len() - 1]["sequence"], &newest["data"]["more"]), (&200.into(), &true.into()));
    assert!((30..70).contains(&found.len()), "{}", found.len());
}

#[test]
fn who_follows_is_given_messages_only() {
    let mut scene = Scene::new();
    scene.fill(1..=60);
    scene.amended(&[edit(2, "new")]);
    let mut follow = |slot, start: Start<'_>| {
        let (position, next, reset) = scene.feed.follow(who(slot), ROOM, start).expect("the log is there");
        scene.turn();
        let (sequences, types) = scene.sequences(slot);
        assert!(types.iter().all(|kind| kind == "message"));
        (position.head, next, reset.is_some(), sequences)
    };
    assert_eq!(follow(1, after(0)), (61, 1, false, (1..=61).collect()));
    assert_eq!(follow(2, after(58)), (61, 59, false, (59..=61).collect()));
    assert_eq!(follow(3, after(99)), (61, 1, true, (1..=61).collect()));
    assert_eq!(follow(4, Start::Recent), (61, 12, false, (12..=61).collect()));
    assert_eq!(follow(5, Start::Head), (61, 62, false, vec![]));
    scene.feed.subscribe(who(6), ROOM, Start::Head).expect("the log is there");
    scene.fill(62..=62);
    for slot in 1..=6 {
        assert_eq!(scene.sequences(slot).0, [62], "{slot}");
    }
}

#[test]
fn a_room_tells_when_something_was_last_said() {
    let mut scene = Scene::new();
    assert_eq!(scene.feed.last_timestamp(ROOM), None);
    scene.fill(1..=1);
    assert_eq!(scene.feed.last_timestamp(ROOM), Some(1_000_000));
    let mut scene = scene.restart();
    assert_eq!(scene.feed.last_timestamp(ROOM), Some(1_000_000));
    assert!(scene.feed.room(ROOM).hot.is_none(), "asking costs nothing");
}

#[test]
fn a_message_is_edited_a_hundred_times_and_then_only_deleted() {
    let mut scene = Scene::new();
    scene.append("first", None, 0);
    scene.commit();
    for n in 1..=100 {
        assert_eq!(scene.amended(&[edit(1, &format!("text {n}."))]), [Ok((n + 1, false))]);
    }
    assert_eq!(scene.amended(&[edit(1, "once more")]), [Err(Rejection::TooManyEdits)]);
    assert_eq!(scene.amended(&[deletion(1)]), [Ok((102, false))]);
    assert!((1..=100).all(|n| !scene.is_on_disk(&format!("text {n}."))));
}
