//! Disks that are full or break.

use std::io::ErrorKind;

use super::support::*;
use roomlog::log::sim::{Fault, SimDisk};
use roomlog::log::{LogError, LogEvent, Store, StoreError, SyncPolicy};

const INTERVAL: SyncPolicy = SyncPolicy::Interval { ms: 1000 };

#[test]
fn full_disk_refuses_whole_records_and_writing_resumes_by_itself() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        for free in 0..900 {
            let disk = stored(policy, "r", 3, true);
            let mut store = open(&disk, policy, 2);
            let id = store.open_room("r", 22, at(0)).unwrap();
            disk.set_capacity(Some(disk.used() + free));
            append_many(&mut store, id, 1, 3);
            let events = commit(&mut store);
            let next = store.position(id).next;
            assert!((4..=7).contains(&next), "{policy:?}, {free} bytes free");
            let refused = LogEvent::Refused { id, from: next, why: LogError::Full };
            assert_eq!(events.contains(&refused), next < 7, "{policy:?}, {free} bytes free: {events:?}");
            assert!(!store.is_read_only(id));
            assert_holds(&mut store, id, 1, next - 1);
            assert!(disk.bytes(&segment("r", 1)).unwrap().ends_with(b"\n"), "the short write was rolled back");
            disk.set_capacity(None);
            append_many(&mut store, id, 1, 2);
            commit(&mut store);
            assert_holds(&mut store, id, 1, next + 1);
            store.shutdown(at(0)).unwrap();
            drop(store);
            let mut store = open(&disk, policy, 3);
            let id = store.open_room("r", 33, at(0)).unwrap();
            assert_eq!(epoch_of(&store, id).0, 11);
            assert_holds(&mut store, id, 1, next + 1);
        }
    }
}

#[test]
fn full_disk_refuses_a_new_room_and_takes_it_later() {
    for free in [0, 10, 100, 300, 500] {
        let disk = SimDisk::new();
        let mut store = open(&disk, SyncPolicy::Always, 1);
        disk.set_capacity(Some(disk.used() + free));
        let id = store.open_room("r", 11, at(0)).unwrap();
        append_many(&mut store, id, 1, 5);
        let events = commit(&mut store);
        let next = store.position(id).next;
        assert!(events.contains(&LogEvent::Refused { id, from: next, why: LogError::Full }), "{free}: {events:?}");
        disk.set_capacity(None);
        append_many(&mut store, id, 1, 5);
        commit(&mut store);
        assert_holds(&mut store, id, 1, next + 4);
    }
}

#[test]
fn a_room_that_was_refused_its_first_record_is_durable_later() {
    for (policy, seed) in
        [SyncPolicy::Always, INTERVAL].into_iter().flat_map(|policy| (0..20).map(move |n| (policy, n)))
    {
        let disk = SimDisk::new();
        let mut store = open(&disk, policy, 1);
        let id = store.open_room("r", 11, at(0)).unwrap();
        disk.set_capacity(Some(disk.used()));
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
        disk.set_capacity(None);
        store.close_room(id);
        // What makes the room's folder durable must not depend on who made it.
        let id = store.open_room("r", 12, at(0)).unwrap();
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
        assert_eq!(store.position(id).head, 1);
        drop(store);
        disk.power_cut(seed);
        let mut store = open(&disk, policy, 2);
        let id = store.open_room("r", 13, at(0)).unwrap();
        assert_holds(&mut store, id, 1, 1);
    }
}

/// Finds a call that fails a plain append in a warm room: 0 is the write, 1 the sync.
fn fail_warm(policy: SyncPolicy, offset: u64, fault: Fault) -> (SimDisk, Vec<LogEvent>) {
    let disk = stored(policy, "r", 3, true);
    let mut store = open(&disk, policy, 2);
    let id = store.open_room("r", 22, at(0)).unwrap();
    let other = store.open_room("other", 22, at(0)).unwrap();
    append_many(&mut store, id, 1, 1);
    commit(&mut store);
    disk.fail_at(disk.calls() + offset, fault);
    append_many(&mut store, id, 1, 2);
    let events = commit(&mut store);
    assert!(store.is_read_only(id));
    assert_eq!(store.append(id, store.position(id).next, b"x"), Err(LogError::Unavailable));
    let head = store.position(id).head;
    assert_holds(&mut store, id, 1, head);
    append_many(&mut store, other, 1, 1);
    commit(&mut store);
    assert_eq!(store.position(other).head, 1, "other rooms go on");
    store.close_room(id);
    let id = store.open_room("r", 22, at(0)).unwrap();
    assert!(store.is_read_only(id), "also when it was closed in between");
    assert!(matches!(store.shutdown(at(0)), Err(StoreError::NotDurable)), "such a run does not end cleanly");
    (disk, events)
}

#[test]
fn failed_write_makes_the_room_read_only_and_shows_nothing_of_it() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        let (disk, events) = fail_warm(policy, 0, Fault::Error(ErrorKind::Other));
        assert!(
            matches!(
                events[..],
                [LogEvent::Refused { from: 5, why: LogError::Unavailable, .. }, LogEvent::ReadOnly { .. }]
            ),
            "{events:?}"
        );
        let mut store = open(&disk, policy, 3);
        let id = store.open_room("r", 33, at(0)).unwrap();
        assert_holds(&mut store, id, 1, 4);
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
        assert_holds(&mut store, id, 1, 5);
    }
}

#[test]
fn failed_sync_is_not_tried_again_and_shows_nothing_with_always() {
    let (disk, events) = fail_warm(SyncPolicy::Always, 1, Fault::Error(ErrorKind::Other));
    assert!(
        matches!(
            events[..],
            [LogEvent::Refused { from: 5, why: LogError::Unavailable, .. }, LogEvent::ReadOnly { .. }]
        ),
        "{events:?}"
    );
    let mut store = open(&disk, SyncPolicy::Always, 3);
    let id = store.open_room("r", 33, at(0)).unwrap();
    assert_eq!(epoch_of(&store, id).0, 11);
    assert_holds(&mut store, id, 1, 4);
}

#[test]
fn failed_sync_of_an_interval_run_begins_a_new_epoch_at_the_next_start() {
    let (disk, events) = fail_warm(INTERVAL, 1, Fault::Error(ErrorKind::Other));
    assert!(matches!(events[..], [LogEvent::Visible { through: 6, .. }, LogEvent::ReadOnly { .. }]), "{events:?}");
    let mut store = open(&disk, INTERVAL, 3);
    let id = store.open_room("r", 33, at(0)).unwrap();
    assert_eq!(epoch_of(&store, id).0, 33);
}

#[test]
fn what_keeps_a_store_from_opening_is_told_as_the_disk_said_it() {
    for disk in [SimDisk::new(), stored(SyncPolicy::Always, "r", 3, true), stored(SyncPolicy::Always, "r", 3, false)] {
        let mut failed = 0;
        for call in 0..20 {
            let disk = disk.copy();
            disk.crash();
            disk.fail_at(disk.calls() + call, Fault::Error(ErrorKind::PermissionDenied));
            match Store::open(disk, options(SyncPolicy::Always, 2)) {
                Ok(_) => {}
                Err(StoreError::Io { source, .. }) => {
                    assert_eq!(source.kind(), ErrorKind::PermissionDenied, "call {call}");
                    failed += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(failed > 3, "{failed}");
    }
}

#[test]
fn every_single_failing_call_is_survived() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        for fault in [Fault::Error(ErrorKind::Other), Fault::Error(ErrorKind::StorageFull), Fault::Short(7)] {
            for call in 0..40 {
                let disk = stored(policy, "r", 3, false);
                disk.fail_at(disk.calls() + call, fault);
                let context = format!("{policy:?} {fault:?} at {call}");
                let Ok(mut store) = roomlog::log::Store::open(disk.clone(), options(policy, 2)) else { continue };
                let mut shown = 3;
                if let Ok(id) = store.open_room("r", 22, at(0)) {
                    for _ in 0..6 {
                        let _ = append(&mut store, id, 1);
                        commit(&mut store);
                        let head = store.position(id).head;
                        assert!(head >= shown, "{context}");
                        shown = head;
                    }
                    assert_holds(&mut store, id, 1, shown);
                }
                let _ = store.shutdown(at(0));
                drop(store);
                disk.clear_faults();
                let mut store = open(&disk, policy, 3);
                let id = store.open_room("r", 33, at(0)).unwrap();
                let head = store.position(id).head;
                assert!(head >= shown, "{context}: {head} of {shown}");
                assert_holds(&mut store, id, 1, head);
            }
        }
    }
}
