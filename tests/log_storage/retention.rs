//! What retention drops.

use super::support::*;
use roomlog::clock::Now;
use roomlog::log::sim::{Fault, SimDisk};
use roomlog::log::{LogEvent, Options, Retention, Store, SyncPolicy};

fn run(retention: Retention, step_ms: u64) -> (SimDisk, Store<SimDisk>, roomlog::log::LogId) {
    let disk = SimDisk::new();
    let options = Options { segment_bytes: 2000, retention, ..options(SyncPolicy::Always, 1) };
    let mut store = Store::open(disk.clone(), options).unwrap();
    let id = store.open_room("r", 11, at(0)).unwrap();
    let mut events: Vec<LogEvent> = Vec::new();
    for n in 0..200 {
        let now_ms = n * step_ms;
        append_many(&mut store, id, 1, 1);
        store.write_dirty(at(now_ms), &mut events);
        while let Some(batch) = store.next_sync(at(now_ms)) {
            store.synced(batch.run(), at(now_ms), &mut events);
            store.write_dirty(at(now_ms), &mut events);
        }
    }
    let position = store.position(id);
    assert_eq!(position.head, 200);
    let (records, gaps) = read_all(&mut store, id);
    assert_eq!(gaps, []);
    assert_eq!(records, (position.floor..=200).map(|n| (n, payload(1, n))).collect::<Vec<_>>());
    (disk, store, id)
}

#[test]
fn messages_are_kept_to_an_eighth() {
    let (_, store, id) = run(Retention { messages: Some(80), ..Retention::default() }, 1);
    let kept = 201 - store.position(id).floor;
    assert!((80..=91).contains(&kept), "{kept}");
}

#[test]
fn bytes_are_kept_to_a_segment() {
    let (disk, store, id) = run(Retention { bytes: Some(20_000), ..Retention::default() }, 1);
    let floor = store.position(id).floor;
    let kept: usize = (floor..=200).map(|n| payload(1, n).len() + 35).sum();
    assert!((15_000..=24_000).contains(&kept), "{kept}");
    let first = disk.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "log"));
    assert_eq!(first, Some(segment("r", floor)), "the older files are gone");
}

#[test]
fn age_drops_what_is_older_and_keeps_what_is_not() {
    let (_, mut store, id) = run(Retention { age_ms: Some(8000), ..Retention::default() }, 100);
    let oldest_ms = (store.position(id).floor - 1) * 100;
    assert!((199 * 100 - 8000 - 1500..=199 * 100 - 8000).contains(&oldest_ms), "{oldest_ms}");
    // Later, without any append: the active segment stays, the sealed ones go.
    for now_ms in (1_000_000..2_000_000).step_by(10_000) {
        store.write_dirty(at(now_ms), &mut Vec::new());
        if let Some(batch) = store.next_sync(at(now_ms)) {
            store.synced(batch.run(), at(now_ms), &mut Vec::new());
        }
    }
    assert!(store.position(id).floor > 185, "{}", store.position(id).floor);
    assert!(store.next_deadline_ms().is_some());
}

#[test]
fn floor_stays_after_a_restart() {
    let (disk, mut store, id) = run(Retention { messages: Some(20), ..Retention::default() }, 1);
    let floor = store.position(id).floor;
    store.shutdown(at(0)).unwrap();
    drop(store);
    let mut store = open(&disk, SyncPolicy::Always, 2);
    let id = store.open_room("r", 22, at(0)).unwrap();
    assert_eq!((store.position(id).floor, epoch_of(&store, id).0), (floor, 11));
}

#[test]
fn power_cut_while_segments_are_dropped_leaves_no_hole() {
    for call in 0..200 {
        let disk = SimDisk::new();
        let mut store =
            Store::open(disk.clone(), Options { segment_bytes: 600, ..options(SyncPolicy::Always, 1) }).unwrap();
        let id = store.open_room("r", 11, at(0)).unwrap();
        for _ in 0..40 {
            append_many(&mut store, id, 1, 1);
            commit(&mut store);
        }
        store.shutdown(at(0)).unwrap();
        drop(store);
        let retention = Retention { messages: Some(3), ..Retention::default() };
        let mut store = Store::open(disk.clone(), Options { retention, ..options(SyncPolicy::Always, 2) }).unwrap();
        let id = store.open_room("r", 22, at(0)).unwrap();
        disk.fail_at(disk.calls() + call, Fault::PowerOff);
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
        drop(store);
        if !disk.is_off() {
            assert!(call > 20, "{call} calls");
            return;
        }
        disk.power_cut(call);
        let mut store = open(&disk, SyncPolicy::Always, 3);
        let id = store.open_room("r", 33, at(0)).unwrap();
        let (records, gaps) = read_all(&mut store, id);
        assert_eq!((gaps, records.last().map(|(n, _)| *n >= 40)), (vec![], Some(true)), "power off at call {call}");
    }
}

/// The wall clock jumps, the monotonic one does not: what is due is still done, and nothing becomes old by it.
#[test]
fn jumps_of_the_wall_clock_drop_nothing_and_stop_nothing() {
    const DECADE_MS: u64 = 10 * 365 * 24 * 3_600_000;
    let opened = Now::at(0, 2 * DECADE_MS);
    for unix_ms in [DECADE_MS, 3 * DECADE_MS] {
        let retention = Retention { age_ms: Some(8000), ..Retention::default() };
        let policy = SyncPolicy::Interval { ms: 1000 };
        let options = Options { segment_bytes: 2000, retention, opened, ..options(policy, 1) };
        let mut store = Store::open(SimDisk::new(), options).unwrap();
        let id = store.open_room("r", 11, opened).unwrap();
        let jumped = |ms| Now::at(ms, unix_ms + ms);
        let (mut syncs, mut events) = (0, Vec::new());
        for ms in (0..7000).step_by(50) {
            append_many(&mut store, id, 1, 1);
            let now = if ms < 100 { Now { monotonic_ms: ms, ..opened } } else { jumped(ms) };
            store.write_dirty(now, &mut events);
            while let Some(batch) = store.next_sync(now) {
                store.synced(batch.run(), now, &mut events);
                syncs += 1;
            }
        }
        assert!((7..=40).contains(&syncs), "{syncs} syncs in seven seconds");
        assert_eq!(store.position(id).floor, 1, "nothing is eight seconds old");
        for ms in (7000..40_000).step_by(500) {
            store.write_dirty(jumped(ms), &mut events);
            while let Some(batch) = store.next_sync(jumped(ms)) {
                store.synced(batch.run(), jumped(ms), &mut events);
            }
        }
        assert!(store.position(id).floor > 100, "what is old goes: {}", store.position(id).floor);
    }
}

/// A segment that the wall clock of an earlier run dated into the future is as old as this run knows it, and no younger.
#[test]
fn segments_from_the_future_age_from_the_start_of_the_run() {
    let disk = SimDisk::new();
    let retention = Retention { age_ms: Some(8000), ..Retention::default() };
    let future = Now::at(0, 1 << 50);
    for (run, opened) in [(1, future), (2, at(0))] {
        let options = Options { segment_bytes: 2000, retention, opened, ..options(SyncPolicy::Always, run) };
        let mut store = Store::open(disk.clone(), options).unwrap();
        let id = store.open_room("r", 11, opened).unwrap();
        if run == 1 {
            for _ in 0..20 {
                append_many(&mut store, id, 1, 5);
                store.write_dirty(opened, &mut Vec::new());
                while let Some(batch) = store.next_sync(opened) {
                    store.synced(batch.run(), opened, &mut Vec::new());
                    store.write_dirty(opened, &mut Vec::new());
                }
            }
            store.shutdown(opened).unwrap();
            continue;
        }
        for ms in (0..40_000).step_by(500) {
            store.write_dirty(at(ms), &mut Vec::new());
            while let Some(batch) = store.next_sync(at(ms)) {
                store.synced(batch.run(), at(ms), &mut Vec::new());
            }
            assert_eq!(store.position(id).floor > 1, ms >= 8000, "at {ms} ms");
        }
    }
}

#[test]
fn a_segment_covers_an_eighth_of_the_age() {
    let disk = SimDisk::new();
    let retention = Retention { age_ms: Some(8_000), ..Retention::default() };
    let mut store = Store::open(disk.clone(), Options { retention, ..options(SyncPolicy::Always, 1) }).unwrap();
    let id = store.open_room("r", 1, at(0)).unwrap();
    for ms in [0, 999, 1_000, 1_001] {
        append_many(&mut store, id, 1, 1);
        store.write_dirty(at(ms), &mut Vec::new());
        while let Some(batch) = store.next_sync(at(ms)) {
            store.synced(batch.run(), at(ms), &mut Vec::new());
        }
    }
    assert!(disk.bytes(&segment("r", 4)).is_some(), "the fourth begins another");
    assert!(disk.bytes(&segment("r", 3)).is_none() && disk.bytes(&segment("r", 2)).is_none());
}
