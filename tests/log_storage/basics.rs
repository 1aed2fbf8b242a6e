//! Without any fault: positions, visibility, bounds, what is on the disk.

use super::support::*;
use roomlog::log::sim::SimDisk;
use roomlog::log::{LogError, LogEvent, Options, ReadBuffer, RealDisk, Store, StoreError, SyncPolicy};

const INTERVAL: SyncPolicy = SyncPolicy::Interval { ms: 1000 };

#[test]
fn appended_records_come_back_after_a_clean_restart() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        let disk = stored(policy, "general", 10, true);
        let mut store = open(&disk, policy, 2);
        let id = store.open_room("general", 22, at(0)).unwrap();
        let position = store.position(id);
        assert_eq!((position.floor, position.head, position.next, position.epoch.0), (1, 10, 11, 11), "{policy:?}");
        assert_holds(&mut store, id, 1, 10);
        append_many(&mut store, id, 1, 5);
        commit(&mut store);
        assert_holds(&mut store, id, 1, 15);
    }
}

#[test]
fn always_shows_records_after_the_sync_and_the_others_after_the_first_mark() {
    let mut events = Vec::new();
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        let mut store = open(&SimDisk::new(), policy, 1);
        let id = store.open_room("r", 1, at(0)).unwrap();
        for (n, shown_by_write) in [(1, false), (2, policy != SyncPolicy::Always)] {
            append_many(&mut store, id, 1, 1);
            events.clear();
            store.write_dirty(at(0), &mut events);
            assert_eq!(events == [LogEvent::Visible { id, through: n }], shown_by_write, "{policy:?}, record {n}");
            events.clear();
            if let Some(batch) = store.next_sync(at(0)) {
                assert!(store.next_sync(at(0)).is_none(), "one at a time");
                store.synced(batch.run(), at(0), &mut events);
                assert_eq!(events, [LogEvent::Visible { id, through: n }]);
            }
            assert_eq!(store.position(id).head, n);
        }
    }
}

#[test]
fn interval_syncs_when_it_is_over_and_not_before() {
    let mut store = open(&SimDisk::new(), INTERVAL, 1);
    let id = store.open_room("r", 1, at(0)).unwrap();
    append_many(&mut store, id, 1, 1);
    commit(&mut store);
    assert_eq!(store.next_deadline_ms(), None);
    append_many(&mut store, id, 1, 1);
    store.write_dirty(at(5000), &mut Vec::new());
    assert_eq!(store.next_deadline_ms(), Some(6000));
    assert!(store.next_sync(at(5999)).is_none());
    assert_eq!(store.next_sync(at(6000)).map(|batch| batch.files()), Some(1));
}

#[test]
fn what_a_closed_room_left_is_synced_when_the_interval_is_over() {
    let mut store = open(&SimDisk::new(), INTERVAL, 1);
    let id = store.open_room("r", 1, at(0)).unwrap();
    append_many(&mut store, id, 1, 1);
    commit(&mut store);
    append_many(&mut store, id, 1, 1);
    store.write_dirty(at(5000), &mut Vec::new());
    store.close_room(id);
    assert_eq!(store.next_deadline_ms(), Some(6000));
    assert!(store.next_sync(at(5999)).is_none());
    let batch = store.next_sync(at(6000)).unwrap();
    assert_eq!(batch.files(), 1);
    store.synced(batch.run(), at(6000), &mut Vec::new());
    assert!(store.next_sync(at(u64::MAX)).is_none());
}

#[test]
fn records_appended_during_a_sync_wait_for_the_next() {
    let mut store = open(&SimDisk::new(), SyncPolicy::Always, 1);
    let id = store.open_room("r", 1, at(0)).unwrap();
    let mut events = Vec::new();
    append_many(&mut store, id, 1, 2);
    store.write_dirty(at(0), &mut events);
    let batch = store.next_sync(at(0)).unwrap();
    append_many(&mut store, id, 1, 2);
    store.write_dirty(at(0), &mut events);
    store.synced(batch.run(), at(0), &mut events);
    assert_eq!(events, [LogEvent::Visible { id, through: 2 }]);
    commit(&mut store);
    assert_holds(&mut store, id, 1, 4);
}

#[test]
fn read_keeps_its_bounds_and_continues_where_it_ended() {
    let disk = stored(SyncPolicy::Always, "r", 50, true);
    let mut store = open(&disk, SyncPolicy::Always, 2);
    let id = store.open_room("r", 1, at(0)).unwrap();
    let mut buffer = ReadBuffer::default();
    store.read(id, 7, 5, usize::MAX, &mut buffer).unwrap();
    assert_eq!(buffer.records().map(|(n, _)| n).collect::<Vec<_>>(), [7, 8, 9, 10, 11]);
    assert_eq!(buffer.next, 12);
    store.read(id, 12, 100, 1, &mut buffer).unwrap();
    assert_eq!(buffer.records().map(|(n, _)| n).collect::<Vec<_>>(), [12], "at least one");
    let two = payload(1, 12).len() + payload(1, 13).len();
    store.read(id, 12, 100, two, &mut buffer).unwrap();
    assert_eq!((buffer.records().len(), buffer.payload_bytes(), buffer.next), (2, two, 14));
    store.read(id, 51, 100, 1000, &mut buffer).unwrap();
    assert_eq!((buffer.records().len(), buffer.next), (0, 51));
    store.read(id, 0, 1, 1000, &mut buffer).unwrap();
    assert_eq!(buffer.records().next(), Some((1, &payload(1, 1)[..])));
}

#[test]
fn segments_roll_and_are_read_as_one_log() {
    let disk = SimDisk::new();
    for (policy, run) in [(SyncPolicy::Always, 1), (INTERVAL, 2), (SyncPolicy::Never, 3)] {
        let mut store = Store::open(disk.clone(), Options { segment_bytes: 2000, ..options(policy, run) }).unwrap();
        let id = store.open_room("r", 1, at(0)).unwrap();
        for _ in 0..10 {
            append_many(&mut store, id, 1, 5);
            commit(&mut store);
        }
        assert_holds(&mut store, id, 1, run * 50);
        store.shutdown(at(0)).unwrap();
    }
    assert!(disk.files().iter().filter(|path| path.extension().is_some_and(|e| e == "log")).count() > 10);
    let mut store = open(&disk, SyncPolicy::Always, 9);
    let id = store.open_room("r", 1, at(0)).unwrap();
    assert_holds(&mut store, id, 1, 150);
}

#[test]
fn never_written_rooms_leave_nothing_on_the_disk() {
    let disk = SimDisk::new();
    let mut store = open(&disk, SyncPolicy::Always, 1);
    let before = (disk.files(), disk.calls());
    let ids: Vec<_> = (0..100).map(|n| store.open_room(&format!("room {n}"), n, at(0)).unwrap()).collect();
    assert!(ids.iter().all(|&id| (store.position(id).floor, store.position(id).next) == (1, 1)));
    ids.into_iter().for_each(|id| store.close_room(id));
    assert_eq!((disk.files(), disk.calls()), before);
    assert_eq!(store.files_open(), 0);
}

#[test]
fn open_files_are_bounded_and_all_rooms_get_written() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        let disk = SimDisk::new();
        let mut store = Store::open(disk, Options { files_open_max: 4, ..options(policy, 1) }).unwrap();
        let ids: Vec<_> = (0..40).map(|n| store.open_room(&format!("{n}"), n, at(0)).unwrap()).collect();
        for round in 1..=3 {
            ids.iter().for_each(|&id| append_many(&mut store, id, 1, 1));
            commit(&mut store);
            assert!(store.files_open() <= 4, "{policy:?}: {}", store.files_open());
            assert!(ids.iter().all(|&id| store.position(id).head == round), "{policy:?}");
        }
        ids.iter().for_each(|&id| assert_holds(&mut store, id, 1, 3));
        assert_eq!(store.files_open(), 4, "{policy:?}");
    }
}

#[test]
fn a_room_that_is_closed_during_a_sync_takes_nothing_of_it_to_the_next_in_its_place() {
    for reopened in [false, true] {
        let mut store = open(&SimDisk::new(), INTERVAL, 1);
        let id = store.open_room("r", 1, at(0)).unwrap();
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
        append_many(&mut store, id, 1, 1);
        store.write_dirty(at(0), &mut Vec::new());
        let batch = store.next_sync(at(5_000)).unwrap();
        store.close_room(id);
        let mut events = Vec::new();
        let next = reopened.then(|| store.open_room("other", 2, at(0)).unwrap());
        if let Some(next) = next {
            assert_eq!(next, id, "the same place");
            append_many(&mut store, next, 1, 1);
            store.write_dirty(at(5_000), &mut events);
        }
        store.synced(batch.run(), at(5_000), &mut events);
        assert_eq!(events, [], "the other room's mark is not durable yet");
        if let Some(next) = next {
            assert_eq!(store.position(next).head, 0);
            commit(&mut store);
            assert_holds(&mut store, next, 1, 1);
        }
    }
}

#[test]
fn a_record_says_whether_all_before_it_was_durable_when_it_was_written() {
    for (policy, flags) in [(SyncPolicy::Always, *b" | |"), (INTERVAL, *b"    "), (SyncPolicy::Never, *b"    ")] {
        let disk = SimDisk::new();
        let mut store = open(&disk, policy, 1);
        let id = store.open_room("r", 1, at(0)).unwrap();
        for count in [1, 2, 1] {
            append_many(&mut store, id, 1, count);
            commit(&mut store);
        }
        let bytes = disk.bytes(&segment("r", 1)).expect("the segment is there");
        let records = bytes.split(|&byte| byte == b'\n').filter(|line| line.get(34..41) == Some(br#"{"type""#));
        assert_eq!(records.map(|line| line[33]).collect::<Vec<_>>(), flags, "{policy:?}");
    }
}

#[test]
fn a_segment_may_have_megabytes() {
    let disk = SimDisk::new();
    let options = Options { segment_bytes: 8 << 20, ..options(SyncPolicy::Always, 1) };
    let mut store = Store::open(disk.clone(), options).unwrap();
    let id = store.open_room("r", 1, at(0)).unwrap();
    for sequence in 1..=5 {
        store.append(id, sequence, &vec![b'x'; 1 << 20]).unwrap();
        commit(&mut store);
    }
    assert_eq!(disk.files().iter().filter(|path| path.extension().is_some_and(|e| e == "log")).count(), 1);
}

#[test]
fn closed_rooms_come_back_in_the_same_run() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        let mut store = open(&SimDisk::new(), policy, 1);
        for round in 0..4 {
            let id = store.open_room("r", 7 + round, at(0)).unwrap();
            assert_eq!(epoch_of(&store, id).0, 7, "{policy:?}");
            append_many(&mut store, id, 1, 3);
            commit(&mut store);
            assert_holds(&mut store, id, 1, 3 * (round + 1));
            store.close_room(id);
            assert_eq!(store.files_open(), 0);
        }
    }
}

#[test]
fn payloads_that_are_no_line_of_their_own_are_refused() {
    let mut store = open(&SimDisk::new(), SyncPolicy::Always, 1);
    let id = store.open_room("r", 1, at(0)).unwrap();
    assert_eq!(store.append(id, 1, b"two\nlines"), Err(LogError::Reserved));
    assert_eq!(store.append(id, 1, br#"{"roomlog":1}"#), Err(LogError::Reserved));
    assert_eq!(store.append(id, 1, &vec![b'x'; 10_000_000]), Err(LogError::TooLong));
    assert_eq!(store.append(id, 1, &vec![b'x'; 9_999_999]), Ok(()));
    commit(&mut store);
    let mut buffer = ReadBuffer::default();
    store.read(id, 1, 10, 10, &mut buffer).unwrap();
    assert_eq!(buffer.records().map(|(n, payload)| (n, payload.len())).collect::<Vec<_>>(), [(1, 9_999_999)]);
}

#[test]
fn data_folder_is_used_by_one_process_at_a_time() {
    let disk = SimDisk::new();
    let store = open(&disk, SyncPolicy::Always, 1);
    let second = Store::open(disk.clone(), options(SyncPolicy::Always, 2));
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    drop(store);
    open(&disk, SyncPolicy::Always, 3);
}

#[test]
fn hostile_room_names_live_on_a_real_disk() {
    let dir = std::env::temp_dir().join(format!("roomlog-names-{}", std::process::id()));
    let long = "🦀".repeat(64);
    let longer = "🦀".repeat(63) + "🦞";
    let names = ["../../etc", ".", "..", "a/b", "-rf", "a b", "🙂", "%2E", "\u{1}", &long, &longer];
    for run in 1..=2 {
        let options = Options { dir: dir.clone(), ..options(SyncPolicy::Always, run) };
        let mut store = Store::open(RealDisk, options).unwrap();
        for (n, name) in names.iter().enumerate() {
            let id = store.open_room(name, n as u64, at(0)).unwrap();
            assert_eq!((store.position(id).next, store.position(id).epoch.0), (run, n as u64), "{name}");
            store.append(id, run, name.escape_default().to_string().as_bytes()).unwrap();
            store.write_dirty(at(0), &mut Vec::new());
            let batch = store.next_sync(at(0)).unwrap();
            store.synced(batch.run(), at(0), &mut Vec::new());
        }
        let mut found: Vec<String> = store.rooms().unwrap().collect();
        found.sort();
        let mut expected: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert!(matches!(
            Store::open(RealDisk, Options { dir: dir.clone(), ..super::support::options(SyncPolicy::Always, 9) }),
            Err(StoreError::InUse { .. })
        ));
        store.shutdown(at(0)).unwrap();
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
