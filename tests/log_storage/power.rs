//! A power cut after every I/O of a scripted run.

use super::support::*;
use roomlog::log::sim::{Fault, SimDisk};
use roomlog::log::{LogEvent, Options, Store, StoreError, SyncPolicy};

const ROOMS: [&str; 2] = ["general", "a/b"];

/// What clients were told of a room in one life.
#[derive(Clone, Default)]
struct Told {
    epoch: u64,
    head: u64,
    life: u64,
}

fn options_for(policy: SyncPolicy, run: u64) -> Options {
    Options { segment_bytes: 3000, ..options(policy, run) }
}

/// Runs a script until it ends or the power goes; notes in `told` what became visible.
fn script(disk: &SimDisk, policy: SyncPolicy, life: u64, told: &mut [Told; 2]) -> Result<(), StoreError> {
    let mut store = Store::open(disk.clone(), options_for(policy, life))?;
    let mut ids = Vec::new();
    for (n, room) in ROOMS.iter().enumerate() {
        let Ok(id) = store.open_room(room, life * 100 + n as u64, at(0)) else { return Ok(()) };
        let position = store.position(id);
        told[n] = Told { epoch: position.epoch.0, head: position.head, life };
        ids.push(id);
    }
    let mut events = Vec::new();
    for round in 0..8 {
        for (n, &id) in ids.iter().enumerate() {
            for _ in 0..1 + (round + n) % 4 {
                let _ = append(&mut store, id, life);
            }
        }
        store.write_dirty(at(0), &mut events);
        // Some rounds write twice before a sync, some append while one is out.
        if round % 3 == 1 {
            let _ = append(&mut store, ids[0], life);
            store.write_dirty(at(0), &mut events);
        }
        if let Some(batch) = store.next_sync(at(round as u64 * 700)) {
            let _ = append(&mut store, ids[1], life);
            store.write_dirty(at(0), &mut events);
            store.synced(batch.run(), at(0), &mut events);
        }
        for event in events.drain(..) {
            if let LogEvent::Visible { id, through } = event {
                let n = ids.iter().position(|&other| other == id).unwrap();
                assert!(through > told[n].head, "visible once, in order");
                told[n].head = through;
            }
        }
        if disk.is_off() {
            return Ok(());
        }
    }
    store.shutdown(at(0))
}

/// Opens everything after the cut and compares with what was told before it.
fn check(disk: &SimDisk, policy: SyncPolicy, life: u64, told: &[Told; 2], context: &str) {
    let mut store = Store::open(disk.clone(), options_for(policy, life)).expect(context);
    for (n, room) in ROOMS.iter().enumerate() {
        let id = store.open_room(room, life * 100 + n as u64, at(0)).expect(context);
        let position = store.position(id);
        assert!(!store.is_read_only(id), "{context}");
        let (records, gaps) = read_all(&mut store, id);
        let known = position.epoch.0 == told[n].epoch;
        let good_up_to = match store.epochs(id).iter().find(|(epoch, _)| epoch.0 == told[n].epoch) {
            Some(&(_, last)) => last,
            None if known => position.head,
            None => 0,
        };
        if policy == SyncPolicy::Always {
            assert_eq!(gaps, [], "{context}: {room}");
            assert!(told[n].head == 0 || known, "{context}: {room}: the epoch is stable");
            assert!(position.head >= told[n].head, "{context}: {room}: {} of {}", position.head, told[n].head);
            assert_eq!(records.len() as u64, position.head, "{context}: {room}");
        }
        if told[n].head > 0 && position.head < told[n].head {
            assert!(!known, "{context}: {room}: a lost tail means a new epoch");
        }
        assert!(good_up_to <= position.head);
        for (sequence, bytes) in &records {
            let lives = 1..=told[n].life.max(1);
            assert!(lives.into_iter().any(|life| *bytes == payload(life, *sequence)), "{context}: {room} {sequence}");
        }
        // The room goes on.
        append_many(&mut store, id, life, 2);
        commit(&mut store);
        assert_eq!(store.position(id).head, position.head + 2, "{context}");
    }
}

fn cut_everywhere(policy: SyncPolicy) {
    let calls = {
        let disk = SimDisk::new();
        script(&disk, policy, 1, &mut Default::default()).expect("without faults the script runs through");
        disk.calls()
    };
    assert!(calls > 40, "{calls}");
    let seeds: u64 = std::env::var("ROOMLOG_POWER_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for call in 0..calls {
        for seed in 0..seeds {
            let context = format!("{policy:?}, power off at call {call}, seed {seed}");
            let disk = SimDisk::new();
            disk.fail_at(call, Fault::PowerOff);
            let mut told: [Told; 2] = Default::default();
            let _ = script(&disk, policy, 1, &mut told);
            disk.power_cut(seed * 1000 + call);
            check(&disk, policy, 2, &told, &context);
        }
    }
}

#[test]
fn always_loses_nothing_visible_in_a_power_cut_at_any_moment() {
    cut_everywhere(SyncPolicy::Always);
}

#[test]
fn interval_tells_of_every_loss_in_a_power_cut_at_any_moment() {
    cut_everywhere(SyncPolicy::Interval { ms: 1000 });
}

#[test]
fn never_tells_of_every_loss_in_a_power_cut_at_any_moment() {
    cut_everywhere(SyncPolicy::Never);
}

/// The second run recovers from a cut and is cut itself at any moment, recovery included.
#[test]
fn always_survives_a_second_power_cut_during_and_after_recovery() {
    for first in [9, 17, 25, 33, 41] {
        for call in 0..60 {
            let context = format!("cut at {first}, then at {call}");
            let disk = SimDisk::new();
            disk.fail_at(first, Fault::PowerOff);
            let mut told: [Told; 2] = Default::default();
            let _ = script(&disk, SyncPolicy::Always, 1, &mut told);
            disk.power_cut(first);
            let before = told.clone();
            disk.fail_at(disk.calls() + call, Fault::PowerOff);
            let _ = script(&disk, SyncPolicy::Always, 2, &mut told);
            disk.power_cut(call);
            for (n, told) in told.iter_mut().enumerate() {
                told.life = 2;
                assert!(told.head >= before[n].head, "{context}");
            }
            check(&disk, SyncPolicy::Always, 3, &told, &context);
        }
    }
}

/// A killed process leaves the page cache: nothing that was written may be missing, whatever the policy.
#[test]
fn kill_at_any_moment_loses_nothing_visible() {
    for policy in [SyncPolicy::Always, SyncPolicy::Interval { ms: 1000 }, SyncPolicy::Never] {
        for call in 0.. {
            let disk = SimDisk::new();
            disk.fail_at(call, Fault::PowerOff);
            let mut told: [Told; 2] = Default::default();
            let _ = script(&disk, policy, 1, &mut told);
            if !disk.is_off() {
                break;
            }
            disk.crash();
            let mut store = Store::open(disk.clone(), options_for(policy, 2)).unwrap();
            for (n, room) in ROOMS.iter().enumerate() {
                let id = store.open_room(room, 200, at(0)).unwrap();
                let (records, gaps) = read_all(&mut store, id);
                assert_eq!(gaps, []);
                assert!(records.len() as u64 >= told[n].head, "{policy:?}, killed at call {call}");
            }
        }
    }
}
