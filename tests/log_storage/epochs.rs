//! When a room's numbering goes on under the same epoch, and when it may not.

use super::support::*;
use roomlog::log::SyncPolicy;
use roomlog::log::sim::SimDisk;

const INTERVAL: SyncPolicy = SyncPolicy::Interval { ms: 1000 };

fn reopened(disk: &SimDisk, run: u64, entropy: u64) -> (u64, Vec<(u64, u64)>, u64) {
    let mut store = open(disk, SyncPolicy::Always, run);
    let id = store.open_room("r", entropy, at(0)).unwrap();
    let old = store.epochs(id).iter().map(|(epoch, last)| (epoch.0, *last)).collect();
    (store.position(id).epoch.0, old, store.position(id).head)
}

#[test]
fn clean_restart_keeps_the_epoch() {
    for policy in [SyncPolicy::Always, INTERVAL, SyncPolicy::Never] {
        let disk = stored(policy, "r", 5, true);
        assert_eq!(reopened(&disk, 2, 22), (11, vec![], 5), "{policy:?}");
        assert_eq!(reopened(&disk, 3, 33), (11, vec![], 5), "{policy:?}: a run that only read does not matter");
    }
}

#[test]
fn crash_keeps_the_epoch_only_with_always() {
    assert_eq!(reopened(&stored(SyncPolicy::Always, "r", 5, false), 2, 22), (11, vec![], 5));
    for policy in [INTERVAL, SyncPolicy::Never] {
        let disk = stored(policy, "r", 5, false);
        assert_eq!(reopened(&disk, 2, 22), (22, vec![(11, 5)], 5), "{policy:?}");
        assert_eq!(reopened(&disk, 3, 33), (22, vec![(11, 5)], 5), "{policy:?}: one crash, one epoch");
    }
}

#[test]
fn power_cut_after_a_sync_keeps_the_epoch_with_always() {
    for seed in 0..50 {
        let disk = stored(SyncPolicy::Always, "r", 5, false);
        disk.power_cut(seed);
        assert_eq!(reopened(&disk, 2, 22), (11, vec![], 5), "seed {seed}");
    }
}

#[test]
fn crash_of_a_run_that_did_not_write_to_the_room_does_not_matter() {
    let disk = stored(INTERVAL, "r", 5, true);
    let mut store = open(&disk, INTERVAL, 2);
    store.open_room("r", 22, at(0)).unwrap();
    let other = store.open_room("other", 22, at(0)).unwrap();
    append_many(&mut store, other, 1, 1);
    commit(&mut store);
    drop(store);
    assert_eq!(reopened(&disk, 3, 33), (11, vec![], 5));
}

#[test]
fn crash_counts_for_rooms_that_were_full_segments_ago_and_opened_runs_later() {
    let disk = stored(INTERVAL, "r", 5, false);
    for run in 2..5 {
        open(&disk, SyncPolicy::Always, run).shutdown(at(0)).unwrap();
    }
    assert_eq!(reopened(&disk, 5, 55), (55, vec![(11, 5)], 5));
}

#[test]
fn each_crash_of_a_volatile_run_that_wrote_adds_an_epoch() {
    let disk = SimDisk::new();
    for run in 1..=4 {
        let mut store = open(&disk, INTERVAL, run);
        let id = store.open_room("r", run * 11, at(0)).unwrap();
        append_many(&mut store, id, 1, 2);
        commit(&mut store);
    }
    assert_eq!(reopened(&disk, 5, 55), (55, vec![(11, 2), (22, 4), (33, 6), (44, 8)], 8));
    let mut store = open(&disk, SyncPolicy::Always, 6);
    let id = store.open_room("r", 66, at(0)).unwrap();
    assert_holds(&mut store, id, 1, 8);
}

#[test]
fn restored_copy_begins_a_new_epoch_once() {
    let copy = stored(SyncPolicy::Always, "r", 5, true).copy();
    assert_eq!(reopened(&copy, 2, 22), (22, vec![(11, 5)], 5));
    assert_eq!(reopened(&copy, 3, 33), (22, vec![(11, 5)], 5));
}

#[test]
fn unreadable_header_begins_a_new_epoch_and_keeps_the_records() {
    let disk = stored(SyncPolicy::Always, "r", 5, true);
    let mut bytes = disk.bytes(&segment("r", 1)).unwrap();
    bytes[60] ^= 1;
    disk.tamper(&segment("r", 1), &bytes);
    assert_eq!(reopened(&disk, 2, 22), (22, vec![], 5));
    let mut store = open(&disk, SyncPolicy::Always, 3);
    let id = store.open_room("r", 33, at(0)).unwrap();
    assert_holds(&mut store, id, 1, 5);
}

#[test]
fn epoch_of_a_room_nobody_wrote_to_is_the_one_given() {
    let mut store = open(&SimDisk::new(), SyncPolicy::Always, 1);
    let id = store.open_room("r", 77, at(0)).unwrap();
    assert_eq!(epoch_of(&store, id).0, 77);
    append_many(&mut store, id, 1, 1);
    commit(&mut store);
    assert_eq!(epoch_of(&store, id).0, 77);
}
