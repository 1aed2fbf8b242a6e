//! The feed over a real store in a temporary folder, with subscribers whose queues the test fills and drains.

mod amend;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use serde_json::Value;

use super::{Draft, Feed, FeedEvent, Rejection, RoomId, Sink, Start, SubscriberId, pieces};
use crate::{
    clock::Now,
    limits,
    log::{Options, RealDisk, Retention, Store, SyncPolicy},
    net::Frame,
    protocol::HistoryRange,
};

const ROOM: RoomId = RoomId(0);

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("roomlog-feed-{}-{number}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Queues of subscribers: what they were given, and whether they take more.
#[derive(Default)]
struct Queues {
    given: HashMap<u32, Vec<Value>>,
    full: Vec<u32>,
    /// Takes nothing, and will not say when it does.
    deaf: Vec<u32>,
    largest: usize,
    pieces: usize,
    /// Where the bytes lay that were given.
    buffers: HashSet<*const u8>,
}

impl Sink for Queues {
    fn accepts(&self, subscriber: SubscriberId) -> bool {
        !self.deaf.contains(&subscriber.slot) && !self.full.contains(&subscriber.slot)
    }

    fn is_blocked(&self, subscriber: SubscriberId) -> bool {
        self.full.contains(&subscriber.slot)
    }

    fn push(&mut self, subscriber: SubscriberId, frame: &Frame) {
        self.largest = self.largest.max(frame.len());
        self.pieces += 1;
        self.buffers.insert(frame.as_bytes().as_ptr());
        self.given.entry(subscriber.slot).or_default().extend(messages(frame));
    }
}

struct Scene {
    feed: Feed<RealDisk, u32>,
    queues: Queues,
    events: Vec<FeedEvent<u32>>,
    now: Now,
    folder: Folder,
}

fn store(folder: &Folder, policy: SyncPolicy) -> Store<RealDisk> {
    let options = Options {
        dir: folder.0.clone(),
        policy,
        segment_bytes: 64 * 1024,
        files_open_max: 8,
        retention: Retention::default(),
        run_id: u64::from(std::process::id()) << 32 | folder.0.as_os_str().len() as u64,
        opened: Now::default(),
    };
    Store::open(RealDisk, options).expect("a folder of our own")
}

/// Not random, but never the same.
fn entropy() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Scene {
    fn new() -> Self {
        Self::with_policy(SyncPolicy::Always)
    }

    fn with_policy(policy: SyncPolicy) -> Self {
        Self::over(Folder::new(), policy)
    }

    fn over(folder: Folder, policy: SyncPolicy) -> Self {
        let now = Now::at(1, 1_000_000);
        let mut feed = Feed::new(store(&folder, policy), 0);
        feed.open(ROOM, "r".into(), entropy(), now);
        Self { feed, queues: Queues::default(), events: Vec::new(), now, folder }
    }

    /// Ends the process, so to say, and starts another.
    fn restart(mut self) -> Self {
        self.feed.shutdown(self.now).expect("all is durable");
        drop(self.feed);
        Self::over(self.folder, SyncPolicy::Always)
    }

    fn append(&mut self, content: &str, nonce: Option<&str>, ticket: u32) {
        let draft = Draft { user: "alice", content, nonce };
        self.feed.append(ROOM, &draft, self.now, ticket, &mut self.events);
    }

    /// What is written becomes durable and is delivered.
    fn commit(&mut self) -> Vec<FeedEvent<u32>> {
        self.feed.write(self.now, &mut self.events);
        while let Some(batch) = self.feed.next_sync(self.now) {
            let outcome = batch.run();
            self.feed.synced(outcome, self.now, &mut self.events);
            self.feed.write(self.now, &mut self.events);
        }
        self.turn();
        std::mem::take(&mut self.events)
    }

    fn turn(&mut self) {
        self.feed.deliver(&mut self.queues);
        while self.feed.pull(&mut self.queues) {}
    }

    fn fill(&mut self, range: std::ops::RangeInclusive<u64>) {
        for number in range {
            self.append(&format!("message {number}"), None, 0);
        }
        self.commit();
    }

    fn subscribe(&mut self, slot: u32, start: Start<'_>) {
        self.feed.subscribe(who(slot), ROOM, start).expect("the log is there");
        self.turn();
    }

    fn given(&mut self, slot: u32) -> Vec<Value> {
        self.queues.given.remove(&slot).unwrap_or_default()
    }

    /// The sequences a subscriber was given, and the types of the frames they came in.
    fn sequences(&mut self, slot: u32) -> (Vec<u64>, Vec<String>) {
        let frames = self.given(slot);
        let types = frames.iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect();
        let number = |message: &Value| message["sequence"].as_u64().unwrap();
        let numbers = frames.iter().flat_map(|frame| match frame["data"]["messages"].as_array() {
            Some(messages) => messages.iter().map(number).collect(),
            None => vec![number(&frame["data"])],
        });
        (numbers.collect(), types)
    }

    fn history(&mut self, range: HistoryRange) -> Value {
        messages(&self.feed.history(ROOM, range).expect("readable")).remove(0)
    }
}

/// What the WebSocket frames in a shared frame say.
fn messages(frame: &Frame) -> Vec<Value> {
    let (mut bytes, mut messages) = (frame.as_bytes(), Vec::new());
    while !bytes.is_empty() {
        let (header, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().unwrap())).unwrap()),
            len => (2, usize::from(len)),
        };
        messages.push(serde_json::from_slice(&bytes[header..header + len]).expect("a frame is JSON"));
        bytes = &bytes[header + len..];
    }
    messages
}

fn who(slot: u32) -> SubscriberId {
    SubscriberId { slot, generation: 1 }
}

fn after(since: u64) -> Start<'static> {
    Start::After { since, epoch: None }
}

#[test]
fn nothing_is_delivered_or_acknowledged_before_it_is_durable() {
    let mut scene = Scene::new();
    scene.subscribe(1, Start::Recent);
    scene.append("hello", None, 5);
    scene.feed.write(scene.now, &mut scene.events);
    scene.turn();
    assert!(scene.events.is_empty() && scene.given(1).is_empty());
    let events = scene.commit();
    assert!(matches!(events[0], FeedEvent::Stored { ticket: 5, sequence: 1, duplicate: false, .. }), "{events:?}");
    assert_eq!(events[1], FeedEvent::Settled { room: ROOM, count: 1 });
    assert_eq!(scene.given(1)[0]["data"]["content"], "hello");
}

#[test]
fn one_turn_is_one_shared_piece_for_every_reader_that_keeps_up() {
    let mut scene = Scene::new();
    (1..=3).for_each(|slot| scene.subscribe(slot, Start::Recent));
    scene.fill(1..=20);
    assert_eq!(scene.queues.pieces, 3);
    for slot in 1..=3 {
        assert_eq!(scene.sequences(slot).0, (1..=20).collect::<Vec<_>>());
    }
}

#[test]
fn join_replay_and_live_are_one_sequence() {
    let mut scene = Scene::new();
    scene.fill(1..=2_500);
    scene.subscribe(1, after(10));
    scene.fill(2_501..=2_510);
    let (sequences, types) = scene.sequences(1);
    assert_eq!(sequences, (11..=2_510).collect::<Vec<_>>());
    let replay = types.iter().filter(|&kind| kind == "history").count();
    assert!(replay >= 3, "chunks of at most a thousand: {replay}");
    assert!(types[replay..].iter().all(|kind| kind == "message"));
}

#[test]
fn what_is_said_after_a_join_is_news_even_in_the_same_turn() {
    let mut scene = Scene::new();
    scene.fill(1..=3);
    scene.feed.subscribe(who(1), ROOM, Start::Recent).expect("the log is there");
    scene.feed.subscribe(who(2), ROOM, after(3)).expect("the log is there");
    scene.fill(4..=5);
    let types = |kinds: &[&str]| kinds.iter().map(|&kind| kind.to_owned()).collect::<Vec<_>>();
    assert_eq!(scene.sequences(1), ((1..=5).collect(), types(&["history", "message", "message"])));
    assert_eq!(scene.sequences(2), ((4..=5).collect(), types(&["history", "message", "message"])));
}

#[test]
fn only_the_last_replay_frame_says_there_is_no_more() {
    let mut scene = Scene::new();
    scene.fill(1..=1_200);
    scene.subscribe(1, after(0));
    let more: Vec<bool> = scene.given(1).iter().map(|frame| frame["data"]["more"].as_bool().unwrap()).collect();
    assert!(more.len() > 1 && !more[more.len() - 1] && more[..more.len() - 1].iter().all(|&more| more), "{more:?}");
}

#[test]
fn a_replay_of_nothing_is_one_empty_frame_and_a_plain_join_of_nothing_is_none() {
    let mut scene = Scene::new();
    scene.subscribe(1, after(0));
    let frames = scene.given(1);
    assert_eq!((frames.len(), &frames[0]["data"]["more"]), (1, &false.into()));
    scene.subscribe(2, Start::Recent);
    assert!(scene.given(2).is_empty());
}

#[test]
fn a_plain_join_gets_the_last_fifty_in_one_frame() {
    let mut scene = Scene::new();
    (1..=60).for_each(|_| scene.append(&"x".repeat(4_000), None, 0));
    scene.commit();
    scene.subscribe(1, Start::Recent);
    let (sequences, types) = scene.sequences(1);
    assert_eq!((sequences, types.len()), ((11..=60).collect::<Vec<_>>(), 1));
}

#[test]
fn a_slow_reader_lags_and_catches_up_without_a_gap_as_messages() {
    let mut scene = Scene::new();
    scene.subscribe(1, Start::Recent);
    scene.queues.full = vec![1];
    // Far more than the tail keeps: the beginning has to come from the log.
    (1..=400).for_each(|_| {
        scene.append(&"y".repeat(4_000), None, 0);
        scene.commit();
    });
    assert!(scene.given(1).is_empty());
    scene.queues.full.clear();
    scene.feed.resume(who(1));
    scene.turn();
    let (sequences, types) = scene.sequences(1);
    assert_eq!(sequences, (1..=400).collect::<Vec<_>>());
    assert!(types.iter().all(|kind| kind == "message"));
    assert!(scene.queues.largest < 96 * 1024, "pieces are bounded: {}", scene.queues.largest);
}

#[test]
fn leaving_ends_delivery_and_others_stay() {
    let mut scene = Scene::new();
    (1..=4).for_each(|slot| scene.subscribe(slot, Start::Recent));
    scene.feed.unsubscribe(who(1), ROOM);
    scene.feed.drop_subscriber(who(3));
    scene.feed.unsubscribe(who(3), ROOM);
    scene.fill(1..=1);
    let reached: Vec<bool> = (1..=4).map(|slot| !scene.given(slot).is_empty()).collect();
    assert_eq!(reached, [false, true, false, true]);
    let left: Vec<u32> = scene.feed.subscribers(ROOM).map(|subscriber| subscriber.slot).collect();
    assert_eq!(left.len(), 2);
}

#[test]
fn a_repeated_nonce_is_stored_once_also_after_a_restart() {
    let mut scene = Scene::new();
    scene.append("hello", Some("n"), 1);
    scene.append("hello", Some("n"), 2); // while the first is not durable yet
    let events = scene.commit();
    let stored = |events: &[FeedEvent<u32>]| -> Vec<(u32, u64, bool)> {
        let of = |event: &FeedEvent<u32>| match *event {
            FeedEvent::Stored { ticket, sequence, duplicate, .. } => Some((ticket, sequence, duplicate)),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    };
    assert_eq!(stored(&events), [(1, 1, false), (2, 1, true)]);
    scene.append("hello", Some("n"), 3);
    assert_eq!(stored(&scene.commit()), [(3, 1, true)]);
    let mut scene = scene.restart();
    scene.append("hello", Some("n"), 4);
    scene.append("other", Some("n"), 5);
    scene.append("hello", Some("m"), 6);
    let events = scene.commit();
    assert_eq!(stored(&events), [(4, 1, true), (6, 2, false)]);
    assert!(events.contains(&FeedEvent::Rejected { ticket: 5, why: Rejection::NonceConflict }));
}

#[test]
fn every_draft_is_settled_once() {
    let mut scene = Scene::new();
    scene.append("a", Some("n"), 1);
    scene.append("b", Some("n"), 2);
    scene.append("a", Some("n"), 3);
    scene.append("c", None, 4);
    let events = scene.commit();
    let counts = events.iter().map(|event| match event {
        FeedEvent::Settled { count, .. } => *count,
        _ => 0,
    });
    assert_eq!(counts.sum::<u32>(), 4);
}

#[test]
fn timestamps_never_go_backwards_in_a_room() {
    let mut scene = Scene::new();
    scene.append("a", None, 1);
    scene.now.unix_ms -= 500_000;
    scene.append("b", None, 2);
    scene.commit();
    let mut scene = scene.restart();
    scene.now.unix_ms = 3;
    scene.append("c", None, 3);
    scene.commit();
    let history = scene.history(HistoryRange::Since { since: 0, limit: 10 });
    let times: Vec<u64> = (0..3).map(|n| history["data"]["messages"][n]["timestamp"].as_u64().unwrap()).collect();
    assert_eq!(times, [1_000_000; 3]);
}

#[test]
fn history_reads_in_both_directions() {
    let mut scene = Scene::new();
    scene.fill(1..=300);
    let mut read = |range| {
        let history = scene.history(range);
        let data = &history["data"];
        let messages = data["messages"].as_array().unwrap();
        let ends = [messages.first(), messages.last()].map(|end| end.map(|m| m["sequence"].as_u64().unwrap()));
        (ends[0], ends[1], data["more"].as_bool().unwrap())
    };
    let since = |since, limit| HistoryRange::Since { since, limit };
    let before = |before, since, limit| HistoryRange::Before { before, since, limit };
    assert_eq!(read(since(0, 100)), (Some(1), Some(100), true));
    assert_eq!(read(since(290, 100)), (Some(291), Some(300), false));
    assert_eq!(read(since(300, 100)), (None, None, false));
    assert_eq!(read(since(u64::MAX, 100)), (None, None, false));
    assert_eq!(read(before(301, 0, 50)), (Some(251), Some(300), true));
    assert_eq!(read(before(u64::MAX, 0, 50)), (Some(251), Some(300), true));
    assert_eq!(read(before(20, 0, 50)), (Some(1), Some(19), false));
    assert_eq!(read(before(20, 10, 50)), (Some(11), Some(19), false));
    assert_eq!(read(before(1, 0, 50)), (None, None, false));
    assert_eq!(read(before(0, 0, 50)), (None, None, false));
}

#[test]
fn history_that_does_not_fit_a_frame_keeps_the_end_that_was_asked_for() {
    let mut scene = Scene::new();
    (1..=200).for_each(|_| scene.append(&"z".repeat(4_000), None, 0));
    scene.commit();
    let numbers = |history: &Value| -> Vec<u64> {
        let messages = history["data"]["messages"].as_array().unwrap().iter();
        messages.map(|message| message["sequence"].as_u64().unwrap()).collect()
    };
    let first = scene.history(HistoryRange::Since { since: 0, limit: 200 });
    assert_eq!((numbers(&first)[0], &first["data"]["more"]), (1, &true.into()));
    let last = scene.history(HistoryRange::Before { before: 201, since: 0, limit: 200 });
    let found = numbers(&last);
    assert_eq!((found[found.len() - 1], &last["data"]["more"]), (200, &true.into()));
    assert!(found.len() > 30 && found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{found:?}");
}

#[test]
fn the_tail_in_memory_is_bounded_and_given_back() {
    let mut scene = Scene::new();
    for _ in 0..400 {
        scene.append(&"y".repeat(4_000), None, 0);
        scene.commit();
    }
    let bytes = |scene: &Scene| {
        let hot = scene.feed.rooms[0].as_ref().and_then(|room| room.hot.as_ref()).expect("warm");
        hot.tail.iter().map(|batch| batch.frame.len()).sum::<usize>()
    };
    assert!((500_000..=1024 * 1024).contains(&bytes(&scene)), "{}", bytes(&scene));
    scene.feed.close(ROOM, scene.now);
    for round in 0..50 {
        scene.feed.open(ROOM, "r".into(), 7, scene.now);
        scene.append(&round.to_string(), None, 0);
        scene.commit();
        scene.feed.close(ROOM, scene.now);
    }
    scene.feed.open(ROOM, "r".into(), 7, scene.now);
    assert_eq!(scene.history(HistoryRange::Since { since: 449, limit: 1 })["data"]["head"], 450);
}

#[test]
fn a_copied_log_is_a_new_epoch_and_old_messages_keep_theirs() {
    let mut scene = Scene::new();
    scene.append("hello", Some("n"), 1);
    scene.commit();
    let first = scene.feed.position(ROOM).unwrap().epoch;
    scene.feed.shutdown(scene.now).expect("all is durable");
    let copy = Folder::new();
    let room = |folder: &Folder| folder.0.join("rooms/r");
    std::fs::create_dir_all(room(&copy)).unwrap();
    for file in std::fs::read_dir(room(&scene.folder)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), room(&copy).join(file.file_name())).unwrap();
    }
    let mut scene = Scene::over(copy, SyncPolicy::Always);
    scene.append("hello", Some("n"), 2);
    scene.append("more", None, 3);
    scene.commit();
    let second = scene.feed.position(ROOM).unwrap().epoch;
    assert_ne!(first, second);
    assert_eq!((scene.feed.epoch_of(ROOM, 1), scene.feed.epoch_of(ROOM, 2)), (Ok(first), Ok(second)));
    let start = Start::After { since: 1, epoch: Some(&first.to_string()) };
    scene.subscribe(1, start);
    let frames = scene.given(1);
    assert_eq!((&frames[0]["data"]["reset"], &frames[0]["data"]["messages"][0]["sequence"]), (&Value::Null, &2.into()));
}

#[test]
fn a_room_that_is_left_and_entered_again_was_never_closed() {
    let mut scene = Scene::new();
    scene.fill(1..=3);
    let epoch = scene.feed.position(ROOM).unwrap().epoch;
    let files_of = |scene: &Scene| std::fs::read_dir(scene.folder.0.join("rooms/r")).unwrap().count();
    let files = files_of(&scene);
    scene.feed.close(ROOM, scene.now);
    assert_eq!(scene.feed.next_deadline_ms(), Some(scene.now.monotonic_ms + 30_000));
    let other = RoomId(4);
    scene.feed.open(other, "r".into(), entropy(), scene.now);
    scene.feed.append(other, &Draft { user: "a", content: "b", nonce: None }, scene.now, 9, &mut scene.events);
    let events = scene.commit();
    assert!(matches!(events[0], FeedEvent::Stored { ticket: 9, room, sequence: 4, .. } if room == other));
    assert_eq!((scene.feed.position(other).unwrap().epoch, files_of(&scene)), (epoch, files));
    scene.feed.close(other, scene.now);
    scene.now.monotonic_ms += 30_000;
    scene.commit();
    assert_eq!(scene.feed.next_deadline_ms(), None, "now it is closed");
}

/// The frames that a subscriber from `since` is given, once for one that comes alone and once for one that comes along.
fn replayed(scene: &mut Scene, since: u64) -> (Vec<Value>, Vec<Value>) {
    scene.feed.subscribe(who(1), ROOM, after(since)).expect("the log is there");
    scene.feed.subscribe(who(2), ROOM, after(since)).expect("the log is there");
    scene.turn();
    (scene.given(1), scene.given(2))
}

#[test]
fn history_is_the_same_from_memory_from_the_log_and_from_what_another_was_given() {
    let mut scene = Scene::new();
    for number in 0..1_100_u64 {
        scene.append(&"x".repeat((number * 37 % 300) as usize + 1), None, 0);
        if number % 7 == 0 {
            scene.commit();
        }
    }
    scene.commit();
    assert!(scene.feed.room(ROOM).hot.as_ref().unwrap().published_from(1).is_some(), "all of it is in memory");
    let froms = [0, 1, 99, 100, 1_000, 1_098, 1_099, 1_100];
    let from_memory = froms.map(|since| replayed(&mut scene, since));
    let mut scene = scene.restart();
    for (since, (alone, along)) in froms.into_iter().zip(from_memory) {
        assert_eq!(alone, along, "since {since}");
        assert_eq!(replayed(&mut scene, since), (alone, along), "since {since}, from the log");
    }
}

#[test]
fn who_joins_at_the_same_place_shares_the_frame() {
    let mut scene = Scene::new();
    scene.fill(1..=60);
    for slot in 0..100 {
        scene.feed.subscribe(who(slot), ROOM, Start::Recent).expect("the log is there");
    }
    scene.turn();
    assert_eq!((scene.queues.pieces, scene.queues.buffers.len()), (100, 1));
    let bytes_max = limits::HISTORY_FRAME_BYTES_MAX;
    let place = pieces::Place { room: ROOM, from: 11, until: 60, floor: 1, bytes_max };
    assert!(scene.feed.pieces.get(place).is_none(), "it is kept only while somebody is behind");
}

#[test]
fn a_room_that_was_left_remembers_what_the_next_to_join_is_shown() {
    let mut scene = Scene::new();
    for number in 1..=70 {
        scene.append(&format!("{number}"), None, 0);
        scene.commit();
    }
    scene.feed.close(ROOM, scene.now);
    scene.feed.open(ROOM, "r".into(), entropy(), scene.now);
    let hot = scene.feed.room(ROOM).hot.as_ref().unwrap();
    assert!(hot.published_from(21).is_some() && hot.published_from(20).is_none());
    scene.subscribe(1, Start::Recent);
    assert_eq!(scene.sequences(1).0, (21..=70).collect::<Vec<_>>());
    scene.fill(71..=72);
    assert_eq!(scene.sequences(1).0, [71, 72]);
}

#[test]
fn messages_of_a_busy_room_leave_together_and_none_is_left_behind() {
    const MEMBERS: u32 = 100;
    let mut scene = Scene::new();
    scene.feed.linger_us = 1_000;
    for slot in 0..MEMBERS {
        scene.subscribe(slot, Start::Recent);
    }
    let mut due_us = None;
    for number in 1..=500_u64 {
        let now_us = number * 400;
        scene.now = Now { monotonic_ms: now_us / 1_000, fraction_us: (now_us % 1_000) as u16, ..scene.now };
        scene.append(&format!("message {number}"), None, 0);
        scene.commit();
        let until_us = scene.feed.lingers_until_us();
        assert!(until_us.is_none_or(|until_us| now_us < until_us && until_us <= now_us + 1_000), "{until_us:?}");
        assert!(
            due_us.is_none_or(|due_us| until_us == Some(due_us) || now_us + 400 > due_us),
            "it ends when it was said"
        );
        due_us = until_us;
    }
    scene.feed.end_linger();
    scene.commit();
    assert_eq!(scene.feed.lingers_until_us(), None);
    assert!(scene.queues.pieces < 300 * MEMBERS as usize, "{} pieces for 500 messages", scene.queues.pieces);
    for slot in 0..MEMBERS {
        assert_eq!(scene.sequences(slot).0, (1..=500).collect::<Vec<_>>());
    }
}
