//! A power cut after every I/O of a scripted run.

use std::io;

use super::support::*;
use roomlog::log::sim::{Fault, SimDisk};
use roomlog::log::{LogEvent, Options, Position, Store, StoreError, SyncPolicy};

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
        // A room that is closed and opened again within the run.
        if round == 4 && commit(&mut store).is_empty() {
            store.close_room(ids[1]);
            let Ok(id) = store.open_room(ROOMS[1], life * 100 + 50, at(0)) else { return Ok(()) };
            ids[1] = id;
            let position = store.position(id);
            assert!(position.head >= told[1].head, "closing takes nothing away");
            told[1] = Told { epoch: position.epoch.0, head: position.head, life };
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

/// What a killed run left in the page cache is not shown before it is on the disk: the power goes right after it was.
#[test]
fn kill_and_then_a_power_cut_takes_nothing_that_was_shown_in_between() {
    for idle_runs in [0, 1] {
        for call in 0.. {
            let disk = SimDisk::new();
            disk.fail_at(call, Fault::PowerOff);
            let _ = script(&disk, SyncPolicy::Always, 1, &mut Default::default());
            if !disk.is_off() {
                break;
            }
            disk.crash();
            for run in 0..idle_runs {
                open(&disk, SyncPolicy::Always, 10 + run).shutdown(at(0)).unwrap();
            }
            let mut store = Store::open(disk.clone(), options_for(SyncPolicy::Always, 2)).unwrap();
            let told = ROOMS.map(|room| {
                let id = store.open_room(room, 200, at(0)).unwrap();
                let Position { epoch, head, .. } = store.position(id);
                Told { epoch: epoch.0, head, life: 1 }
            });
            drop(store);
            for seed in 0..6 {
                let disk = disk.fork();
                disk.power_cut(seed * 1000 + call);
                check(
                    &disk,
                    SyncPolicy::Always,
                    3,
                    &told,
                    &format!("killed at {call}, {idle_runs} idle runs, seed {seed}"),
                );
            }
        }
    }
}

/// Stores one message in each of `rooms` rooms; the calls that its commit took.
fn commit_in_many_rooms(disk: &SimDisk, rooms: u64, fault: Option<Fault>) -> u64 {
    let options = Options { files_open_max: 2 * rooms as usize, ..options(SyncPolicy::Always, 1) };
    let mut store = Store::open(disk.clone(), options).unwrap();
    let ids: Vec<_> = (0..rooms).map(|n| store.open_room(&format!("{n}"), n, at(0)).unwrap()).collect();
    for &id in &ids {
        append_many(&mut store, id, 1, 1);
    }
    store.write_dirty(at(0), &mut Vec::new());
    let before = disk.calls();
    if let Some(fault) = fault {
        disk.fail_at(before, fault);
    }
    let batch = store.next_sync(at(0)).unwrap();
    let mut events = Vec::new();
    store.synced(batch.run(), at(0), &mut events);
    let visible = events.iter().filter(|event| matches!(event, LogEvent::Visible { through: 1, .. })).count();
    assert_eq!((visible as u64, events.len() as u64), (rooms, rooms));
    disk.calls() - before
}

/// Each room costs a sync of its file, its folder and, once, of the folder above, unless one call does it all.
#[test]
fn many_rooms_become_durable_by_one_sync_of_the_file_system_or_by_their_own() {
    let failure = Some(Fault::Error(io::ErrorKind::Other));
    for (rooms, fault, calls) in [(15, None, 31), (16, None, 1), (40, None, 1), (40, failure, 82)] {
        let disk = SimDisk::new();
        assert_eq!(commit_in_many_rooms(&disk, rooms, fault), calls, "{rooms} rooms");
        disk.power_cut(rooms);
        let mut store = open(&disk, SyncPolicy::Always, 2);
        for n in 0..rooms {
            let id = store.open_room(&format!("{n}"), 9999, at(0)).unwrap();
            assert_holds(&mut store, id, 1, 1);
            store.close_room(id);
        }
    }
}

/// The end of a run, and the start after a crash, wait for this store's files and not for everybody's.
#[test]
fn whole_file_system_is_synced_at_the_end_only_for_very_many_files() {
    for policy in [SyncPolicy::Always, SyncPolicy::Interval { ms: 1000 }, SyncPolicy::Never] {
        for (rooms, is_whole) in [(10, false), (600, true)] {
            let disk = SimDisk::new();
            let mut store = open(&disk, policy, 1);
            for n in 0..rooms {
                let id = store.open_room(&format!("{n}"), n, at(0)).unwrap();
                append_many(&mut store, id, 1, 1);
                commit(&mut store);
                store.close_room(id);
            }
            let before = disk.whole_syncs();
            store.shutdown(at(0)).unwrap();
            drop(store);
            let is_drained = policy != SyncPolicy::Never;
            assert_eq!(disk.whole_syncs() > before, is_whole && !is_drained, "{policy:?}, {rooms} rooms");
            disk.power_cut(rooms);
            let mut store = open(&disk, policy, 2);
            for n in 0..rooms {
                let id = store.open_room(&format!("{n}"), 9999, at(0)).unwrap();
                assert_eq!((store.position(id).epoch.0, store.position(id).head), (n, 1), "{policy:?}: {n} of {rooms}");
            }
            drop(store);
            disk.crash();
            let before = disk.whole_syncs();
            open(&disk, policy, 3).open_room("0", 9999, at(0)).unwrap();
            assert_eq!(disk.whole_syncs(), before, "{policy:?}: after a crash");
        }
    }
}
