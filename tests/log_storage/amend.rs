//! Records that change earlier ones: what is read, what is on the disk, and what is left of both when things break.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::support::*;
use roomlog::log::sim::{Fault, SimDisk};
use roomlog::log::{Disk, LogError, LogEvent, LogId, Options, ReadBuffer, Retention, Store, StoreError, SyncPolicy};

const ROOM: &str = "r";
const INTERVAL: SyncPolicy = SyncPolicy::Interval { ms: 1000 };
const POLICIES: [SyncPolicy; 3] = [SyncPolicy::Always, INTERVAL, SyncPolicy::Never];

/// What nobody may find any more once the record is deleted; no longer than what fits a sector many times over.
fn secret(sequence: u64) -> String {
    format!("<{sequence}>")
}

/// Of up to three sectors.
fn said(sequence: u64) -> Vec<u8> {
    let text = secret(sequence).repeat(12 + (sequence * 131 % 300) as usize);
    format!(r#"{{"type":"message","sequence":{sequence},"content":"{text}"}}"#).into_bytes()
}

fn changed(by: u64, is_deleted: bool) -> Vec<u8> {
    format!(r#"{{"changed":{by},"deleted":{is_deleted}}}"#).into_bytes()
}

/// One room, and what was done in it.
#[derive(Clone, Default)]
struct Told {
    /// By the record that changes them: the records that are changed, and whether they are deleted.
    changes: BTreeMap<u64, (Vec<u64>, bool)>,
    /// What was shown.
    head: u64,
}

impl Told {
    /// The edits of a record that is not deleted; `None` for one that is, or is a change itself.
    fn edits(&self, target: u64) -> Option<Vec<u64>> {
        let of: Vec<_> = self.changes.iter().filter(|(_, (targets, _))| targets[0] == target).collect();
        let free = !self.changes.contains_key(&target) && of.iter().all(|(_, (_, is_deleted))| !is_deleted);
        free.then(|| of.iter().map(|(by, _)| **by).collect())
    }

    /// What stands at a sequence when these are the changes that count.
    fn expected(&self, sequence: u64, counts: impl Fn(u64) -> bool) -> Vec<u8> {
        let by = self.changes.iter().rev().find(|(by, (targets, _))| targets.contains(&sequence) && counts(**by));
        by.map_or_else(|| said(sequence), |(by, (_, is_deleted))| changed(*by, *is_deleted))
    }
}

fn trimmed(payload: &[u8]) -> Vec<u8> {
    payload.trim_ascii_end().to_vec()
}

fn say(store: &mut Store<SimDisk>, id: LogId) {
    let next = store.position(id).next;
    let _ = store.append(id, next, &said(next));
}

/// Changes a visible record, and with a deletion all its edits, seen or not.
fn change(store: &mut Store<SimDisk>, id: LogId, target: u64, is_deleted: bool, told: &mut Told) {
    let position = store.position(id);
    let Some(edits) = told.edits(target).filter(|_| (position.floor..=position.head).contains(&target)) else { return };
    let targets: Vec<u64> = [target].into_iter().chain(if is_deleted { edits } else { vec![] }).collect();
    let replacement = changed(position.next, is_deleted);
    let amendments: Vec<_> = targets.iter().map(|&target| (target, &replacement[..])).collect();
    if store.append_amending(id, position.next, &said(position.next), &amendments).is_ok() {
        told.changes.insert(position.next, (targets, is_deleted));
    }
}

fn take(events: &mut Vec<LogEvent>, told: &mut Told) {
    for event in events.drain(..) {
        // What was refused because the power is off may be there all the same when it is back.
        if let LogEvent::Visible { through, .. } = event {
            told.head = through;
        }
    }
}

fn options_for(policy: SyncPolicy, run: u64) -> Options {
    Options { segment_bytes: 6000, ..options(policy, run) }
}

/// What a reader is shown is what the changes up to the head say, at every moment.
fn check_shown(store: &mut Store<SimDisk>, id: LogId, told: &Told, context: &str) {
    let (records, head) = (read_all(store, id).0, store.position(id).head);
    for (sequence, payload) in records {
        let expected = told.expected(sequence, |by| by <= head);
        assert!(trimmed(&payload) == expected, "{context}: {sequence} of {head}");
    }
}

/// Edits and deletions of new and old records, while syncs are out, of edits nobody has seen, over segments and closings.
fn script(disk: &SimDisk, policy: SyncPolicy, told: &mut Told) -> Result<(), StoreError> {
    let mut store = Store::open(disk.clone(), options_for(policy, 1))?;
    let Ok(mut id) = store.open_room(ROOM, 11, at(0)) else { return Ok(()) };
    let mut events = Vec::new();
    for round in 0..9_u64 {
        (0..1 + round % 3).for_each(|_| say(&mut store, id));
        let head = store.position(id).head;
        change(&mut store, id, round * 5 % (head + 1), false, told);
        if round % 2 == 1 {
            say(&mut store, id);
            change(&mut store, id, round * 5 % (head + 1), round % 4 == 1, told);
        }
        store.write_dirty(at(0), &mut events);
        take(&mut events, told);
        if let Some(batch) = store.next_sync(at(round * 700)) {
            change(&mut store, id, head, round % 3 == 1, told);
            store.write_dirty(at(0), &mut events);
            store.synced(batch.run(), at(0), &mut events);
            take(&mut events, told);
        }
        if disk.is_off() {
            return Ok(());
        }
        check_shown(&mut store, id, told, "while it runs");
        if round % 4 == 2 {
            // Nothing waits, but changes may have to be carried out, or to be synced.
            let _ = settle_all_but_amends(&mut store, id, told);
            if disk.is_off() || store.is_read_only(id) {
                return Ok(());
            }
            store.close_room(id);
            let Ok(again) = store.open_room(ROOM, 12 + round, at(0)) else { return Ok(()) };
            id = again;
            check_shown(&mut store, id, told, "closed and opened");
        }
    }
    store.shutdown(at(0))
}

/// Brings a room to where it may be closed, and no further.
fn settle_all_but_amends(store: &mut Store<SimDisk>, id: LogId, told: &mut Told) -> Option<()> {
    let mut events = Vec::new();
    loop {
        store.write_dirty(at(0), &mut events);
        take(&mut events, told);
        let position = store.position(id);
        if position.head + 1 == position.next {
            return Some(());
        }
        let batch = store.next_sync(at(u64::MAX))?;
        store.synced(batch.run(), at(0), &mut events);
        take(&mut events, told);
    }
}

fn holds(disk: &SimDisk, text: &str) -> Option<std::path::PathBuf> {
    let is_in = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    disk.files().into_iter().find(|path| disk.bytes(path).is_some_and(is_in))
}

/// What a start finds is whole, and says what the surviving changes say.
fn check(disk: &SimDisk, policy: SyncPolicy, run: u64, told: &Told, context: &str) {
    let mut store = Store::open(disk.clone(), options_for(policy, run)).expect(context);
    let id = store.open_room(ROOM, 1000 + run, at(0)).expect(context);
    assert!(!store.is_read_only(id), "{context}");
    let (records, gaps) = read_all(&mut store, id);
    let position = store.position(id);
    if policy == SyncPolicy::Always {
        assert_eq!(gaps, [], "{context}");
        assert!(position.head >= told.head, "{context}: {} of {}", position.head, told.head);
        assert!(told.head == 0 || position.epoch.0 == 11, "{context}");
    }
    let is_there = |sequence: u64| records.iter().any(|(found, _)| *found == sequence);
    for (sequence, payload) in &records {
        let expected = told.expected(*sequence, is_there);
        let start = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(
            trimmed(payload) == expected,
            "{context}: {sequence} is {} and not {}",
            start(payload),
            start(&expected)
        );
    }
    for (by, (targets, is_deleted)) in told.changes.iter().filter(|(by, _)| is_there(**by)) {
        for target in targets.iter().filter(|&&target| target >= position.floor) {
            assert!(is_there(*target), "{context}: {target} is lost although {by} changes it");
            if *is_deleted {
                assert_eq!(holds(disk, &secret(*target)), None, "{context}: {target}, deleted by {by}");
            }
        }
    }
}

fn cut_everywhere(policy: SyncPolicy) {
    let calls = {
        let (disk, mut told) = (SimDisk::new(), Told::default());
        script(&disk, policy, &mut told).expect("without faults the script runs through");
        assert!(told.changes.values().filter(|(targets, is_deleted)| *is_deleted && targets.len() > 1).count() > 1);
        assert!(told.changes.len() > 8 && told.changes.values().any(|(_, is_deleted)| !is_deleted));
        let calls = disk.calls();
        check(&disk, policy, 2, &told, "undisturbed");
        calls
    };
    let seeds: u64 = std::env::var("ROOMLOG_POWER_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for call in 0..calls {
        for seed in 0..seeds {
            let context = format!("{policy:?}, power off at call {call}, seed {seed}");
            let (disk, mut told) = (SimDisk::new(), Told::default());
            disk.fail_at(call, Fault::PowerOff);
            let _ = script(&disk, policy, &mut told);
            disk.power_cut(seed * 1000 + call);
            check(&disk, policy, 2, &told, &context);
            check(&disk, policy, 3, &told, &format!("{context}, once more"));
        }
    }
}

#[test]
fn always_carries_out_what_survived_a_power_cut_at_any_moment_and_loses_nothing() {
    cut_everywhere(SyncPolicy::Always);
}

#[test]
fn interval_carries_out_what_survived_a_power_cut_at_any_moment() {
    cut_everywhere(INTERVAL);
}

#[test]
fn never_carries_out_what_survived_a_power_cut_at_any_moment() {
    cut_everywhere(SyncPolicy::Never);
}

#[test]
fn what_is_carried_out_again_survives_another_power_cut_at_any_moment() {
    for policy in POLICIES {
        for first in (5..70).step_by(3) {
            for call in 0..14 {
                for is_crash in [false, true] {
                    let context = format!("{policy:?}, off at {first}, crash {is_crash}, then at {call}");
                    let (disk, mut told) = (SimDisk::new(), Told::default());
                    disk.fail_at(first, Fault::PowerOff);
                    let _ = script(&disk, policy, &mut told);
                    if is_crash {
                        disk.crash()
                    } else {
                        disk.power_cut(first)
                    }
                    disk.fail_at(disk.calls() + call, Fault::PowerOff);
                    if let Ok(mut store) = Store::open(disk.clone(), options_for(policy, 2)) {
                        let _ = store.open_room(ROOM, 999, at(0)).map(|id| store.close_room(id));
                    }
                    disk.clear_faults();
                    disk.power_cut(call);
                    check(&disk, policy, 3, &told, &context);
                }
            }
        }
    }
}

#[test]
fn kill_at_any_moment_leaves_every_change_carried_out_at_the_next_start() {
    for policy in POLICIES {
        for call in 0.. {
            let (disk, mut told) = (SimDisk::new(), Told::default());
            disk.fail_at(call, Fault::PowerOff);
            let _ = script(&disk, policy, &mut told);
            if !disk.is_off() {
                break;
            }
            disk.crash();
            let context = format!("{policy:?}, killed at {call}");
            check(&disk, policy, 2, &told, &context);
            // What was shown after the start is on the disk: the power goes right behind it.
            for seed in 0..4 {
                let disk = disk.fork();
                disk.power_cut(seed);
                check(&disk, policy, 3, &told, &format!("{context}, then cut, seed {seed}"));
            }
        }
    }
}

/// Three records, all of them visible and durable.
fn three(policy: SyncPolicy) -> (SimDisk, Store<SimDisk>, LogId) {
    let disk = SimDisk::new();
    let mut store = open(&disk, policy, 1);
    let id = store.open_room(ROOM, 11, at(0)).unwrap();
    (0..3).for_each(|_| say(&mut store, id));
    commit(&mut store);
    (disk, store, id)
}

#[test]
fn line_is_overwritten_only_once_what_overwrites_it_is_durable() {
    let (disk, mut store, id) = three(SyncPolicy::Always);
    let (mut told, mut events) = (Told::default(), Vec::new());
    change(&mut store, id, 2, true, &mut told);
    store.write_dirty(at(0), &mut events);
    let batch = store.next_sync(at(0)).unwrap();
    check_shown(&mut store, id, &Told::default(), "nothing is shown before");
    assert!(holds(&disk, &secret(2)).is_some() && events.is_empty());
    store.synced(batch.run(), at(0), &mut events);
    assert_eq!(events, [LogEvent::Visible { id, through: 4 }]);
    assert_eq!(holds(&disk, &secret(2)), None, "before anybody reads of it");
    check_shown(&mut store, id, &told, "afterwards");
    assert!(store.is_amending(id), "the line is not durable yet");
    commit(&mut store);
    assert!(!store.is_amending(id));
    disk.power_cut(1);
    check(&disk, SyncPolicy::Always, 2, &told, "durable");
}

#[test]
fn volatile_run_shows_a_change_at_once_and_overwrites_when_a_power_cut_cannot_take_it() {
    for policy in [INTERVAL, SyncPolicy::Never] {
        let (disk, mut store, id) = three(policy);
        let (mut told, mut events) = (Told::default(), Vec::new());
        change(&mut store, id, 2, true, &mut told);
        store.write_dirty(at(0), &mut events);
        assert_eq!(events, [LogEvent::Visible { id, through: 4 }], "{policy:?}");
        check_shown(&mut store, id, &told, "shown");
        assert!(holds(&disk, &secret(2)).is_some(), "but not overwritten");
        let batch = store.next_sync(at(0)).expect("an urgent one");
        store.synced(batch.run(), at(0), &mut events);
        assert_eq!(holds(&disk, &secret(2)), None);
        check_shown(&mut store, id, &told, "carried out");
    }
}

#[test]
fn change_of_what_is_not_durable_is_written_behind_a_sync_of_it() {
    let (disk, mut store, id) = three(SyncPolicy::Always);
    let mut told = Told::default();
    change(&mut store, id, 2, false, &mut told);
    change(&mut store, id, 2, true, &mut told);
    assert_eq!(told.changes[&5].0, [2, 4], "the edit nobody has seen goes, too");
    let (mut events, mut heads) = (Vec::new(), Vec::new());
    store.write_dirty(at(0), &mut events);
    while let Some(batch) = store.next_sync(at(0)) {
        store.synced(batch.run(), at(0), &mut events);
        heads.push(store.position(id).head);
        check_shown(&mut store, id, &told, "in between");
        store.write_dirty(at(0), &mut events);
    }
    // The edit, the deletion with the edit's overwriting, the deletion's own.
    assert_eq!(heads, [4, 5, 5]);
    assert!(holds(&disk, &secret(2)).is_none() && holds(&disk, &secret(4)).is_none());
}

#[test]
fn change_of_what_an_earlier_run_left_waits_for_no_sync() {
    for policy in POLICIES {
        let (disk, mut store, _) = three(policy);
        store.shutdown(at(0)).unwrap();
        drop(store);
        let mut store = open(&disk, policy, 2);
        let id = store.open_room(ROOM, 22, at(0)).unwrap();
        say(&mut store, id);
        store.write_dirty(at(0), &mut Vec::new());
        change(&mut store, id, 2, true, &mut Told::default());
        store.write_dirty(at(0), &mut Vec::new());
        let bytes = disk.bytes(&segment(ROOM, 1)).expect("the segment is there");
        let line = bytes.split(|&byte| byte == b'\n').find(|line| line.get(17..33) == Some(b"0000000000000005"));
        assert!(line.is_some(), "{policy:?}: it is not written yet");
    }
}

#[test]
fn change_that_cannot_be_is_refused_and_nothing_happens() {
    let (_, mut store, id) = three(SyncPolicy::Always);
    let long = vec![b' '; said(2).len() + 1];
    for (target, replacement, why) in [
        (0, &b"{}"[..], LogError::NoSuchRecord),
        (4, b"{}", LogError::NoSuchRecord),
        (u64::MAX, b"{}", LogError::NoSuchRecord),
        (2, &long, LogError::TooLong),
        (2, b"{\n}", LogError::Reserved),
        (2, b"{\t}", LogError::Reserved),
        (2, br#"{"roomlog":1}"#, LogError::Reserved),
    ] {
        assert_eq!(store.append_amending(id, 4, b"{}", &[(1, b"{}"), (target, replacement)]), Err(why));
    }
    assert_eq!(store.append_amending(id, 4, b"{\t}", &[(1, b"{}")]), Err(LogError::Reserved));
    commit(&mut store);
    check_shown(&mut store, id, &Told::default(), "as before");
    assert_eq!(store.append_amending(id, 4, b"{}", &[(2, &long[1..])]), Ok(()), "just as long");
    commit(&mut store);
    assert_eq!(store.append_amending(id, 5, b"{}", &[(4, b"")]), Err(LogError::Reserved), "without what that changes");
    assert_eq!(store.append_amending(id, 5, b"{}", &[(4, b""), (2, b"")]), Ok(()));
    assert_eq!(store.append_amending(id, 6, b"{}", &[(5, b"")]), Err(LogError::Reserved), "not written yet, too");
    let fresh = store.open_room("fresh", 1, at(0)).unwrap();
    assert_eq!(store.append_amending(fresh, 1, b"{}", &[(1, b"{}")]), Err(LogError::NoSuchRecord));
}

#[test]
fn what_is_said_of_a_record_before_it_is_shown_can_be_read() {
    let (_, mut store, id) = three(SyncPolicy::Always);
    let mut buffer = ReadBuffer::default();
    change(&mut store, id, 2, false, &mut Told::default());
    store.read(id, 2, 1, 1, &mut buffer).unwrap();
    assert_eq!(buffer.records().next(), Some((2, &said(2)[..])));
    store.read_latest(id, 2, &mut buffer).unwrap();
    assert_eq!(buffer.records().next(), Some((2, &changed(4, false)[..])));
}

#[test]
fn segment_is_not_followed_by_another_before_its_changes_are_durable() {
    for policy in POLICIES {
        for seed in 0..20 {
            let (disk, mut store, id) = three(policy);
            let mut told = Told::default();
            change(&mut store, id, 2, true, &mut told);
            // Large enough to ask for a new segment.
            store.append(id, 5, &vec![b'x'; 2 << 20]).unwrap();
            commit(&mut store);
            say(&mut store, id);
            commit(&mut store);
            assert!(disk.bytes(&segment(ROOM, 6)).is_some(), "rolled");
            disk.power_cut(seed);
            assert_eq!(holds(&disk, &secret(2)), None, "{policy:?}, seed {seed}: nobody would look for it again");
        }
    }
}

#[test]
fn clean_end_makes_changes_durable() {
    for policy in POLICIES {
        for is_closed in [false, true] {
            let (disk, mut store, id) = three(policy);
            let mut told = Told::default();
            change(&mut store, id, 2, true, &mut told);
            let _ = settle_all_but_amends(&mut store, id, &mut told);
            assert!(store.is_amending(id));
            if is_closed {
                store.close_room(id);
            }
            store.shutdown(at(0)).unwrap();
            drop(store);
            disk.power_cut(7);
            assert_eq!(holds(&disk, &secret(2)), None, "{policy:?}, closed {is_closed}");
            check(&disk, policy, 2, &told, "after the end");
        }
    }
}

#[test]
fn failed_overwriting_or_sync_of_it_makes_the_room_read_only_and_is_done_at_the_next_start() {
    for policy in POLICIES {
        // The write and the sync of what changes it, then those of what it changes.
        for (offset, fault) in [
            (2, Fault::Error(ErrorKind::Other)),
            (2, Fault::Error(ErrorKind::StorageFull)),
            (3, Fault::Error(ErrorKind::Other)),
        ] {
            let context = format!("{policy:?}, call {offset}, {fault:?}");
            let (disk, mut store, id) = three(policy);
            let mut told = Told::default();
            disk.fail_at(disk.calls() + offset, fault);
            change(&mut store, id, 2, true, &mut told);
            let events = commit(&mut store);
            assert!(events.contains(&LogEvent::Visible { id, through: 4 }), "{context}: {events:?}");
            assert!(events.contains(&LogEvent::ReadOnly { id }), "{context}: {events:?}");
            check_shown(&mut store, id, &told, &context);
            store.close_room(id);
            let id = store.open_room(ROOM, 12, at(0)).unwrap();
            assert!(store.is_read_only(id));
            check_shown(&mut store, id, &told, &format!("{context}, opened again"));
            assert!(matches!(store.shutdown(at(0)), Err(StoreError::NotDurable)));
            drop(store);
            disk.crash();
            check(&disk, policy, 2, &told, &context);
        }
    }
}

#[test]
fn no_index_hides_a_change_that_is_not_carried_out() {
    let (disk, mut store, id) = three(SyncPolicy::Always);
    let mut told = Told::default();
    disk.fail_at(disk.calls() + 2, Fault::Error(ErrorKind::Other));
    change(&mut store, id, 2, true, &mut told);
    // Enough for an index of the segment to be worth writing.
    store.append(id, 5, &vec![b'x'; 300 << 10]).unwrap();
    commit(&mut store);
    assert!(store.is_read_only(id));
    store.close_room(id);
    drop(store);
    disk.crash();
    let mut store = open(&disk, SyncPolicy::Always, 2);
    store.open_room(ROOM, 22, at(0)).unwrap();
    assert_eq!(holds(&disk, &secret(2)), None);
}

#[test]
fn change_that_cannot_be_carried_out_at_a_start_is_shown_all_the_same_and_the_room_is_read_only() {
    for policy in POLICIES {
        let (disk, mut store, id) = three(policy);
        let mut told = Told::default();
        disk.fail_at(disk.calls() + 2, Fault::Error(ErrorKind::Other));
        change(&mut store, id, 2, true, &mut told);
        commit(&mut store);
        drop(store);
        disk.crash();
        let mut store = open(&disk, policy, 2);
        // Settling the file and the folder goes ahead.
        disk.fail_at(disk.calls() + 3, Fault::Error(ErrorKind::Other));
        let id = store.open_room(ROOM, 22, at(0)).unwrap();
        assert!(store.is_read_only(id), "{policy:?}");
        check_shown(&mut store, id, &told, "not on the disk");
        store.close_room(id);
        let id = store.open_room(ROOM, 23, at(0)).unwrap();
        assert!(!store.is_read_only(id), "the next opening tries again");
        check_shown(&mut store, id, &told, "now it is");
        assert_eq!(holds(&disk, &secret(2)), None);
    }
}

#[test]
fn lines_torn_while_they_were_overwritten_are_all_made_whole_and_are_no_damage() {
    for torn in [&[1][..], &[1, 2], &[1, 2, 3]] {
        let (disk, mut store, id) = three(SyncPolicy::Always);
        let mut told = Told::default();
        torn.iter().for_each(|&target| change(&mut store, id, target, true, &mut told));
        commit(&mut store);
        drop(store);
        disk.crash();
        let bytes = disk.bytes(&segment(ROOM, 1)).expect("the segment is there");
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        torn.iter().for_each(|&target| lines[target as usize][40] ^= 1);
        disk.tamper(&segment(ROOM, 1), &lines.concat());
        let mut store = open(&disk, SyncPolicy::Always, 2);
        let id = store.open_room(ROOM, 22, at(0)).unwrap();
        assert_eq!((store.rooms_damaged(), epoch_of(&store, id).0), (0, 11), "{torn:?}");
        check_shown(&mut store, id, &told, "made whole");
    }
}

#[test]
fn what_is_in_a_segment_that_somebody_removed_cannot_be_changed_and_the_rest_can() {
    let disk = SimDisk::new();
    let small = |run| Options { segment_bytes: 2_000, ..options(SyncPolicy::Always, run) };
    let mut store = Store::open(disk.clone(), small(1)).unwrap();
    let id = store.open_room(ROOM, 11, at(0)).unwrap();
    for _ in 0..12 {
        say(&mut store, id);
        commit(&mut store);
    }
    store.shutdown(at(0)).unwrap();
    drop(store);
    let mut store = Store::open(disk.clone(), small(2)).unwrap();
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    disk.remove(&segment(ROOM, 1)).unwrap();
    let amend = |store: &mut Store<SimDisk>, target| {
        let next = store.position(id).next;
        store.append_amending(id, next, &said(next), &[(target, &changed(next, true))])
    };
    assert_eq!(amend(&mut store, 1), Err(LogError::NoSuchRecord));
    assert_eq!(amend(&mut store, 12), Ok(()));
}

#[test]
fn retention_may_take_what_is_to_be_changed() {
    for policy in POLICIES {
        let disk = SimDisk::new();
        let retention = Retention { messages: Some(8), ..Retention::default() };
        let mut store = Store::open(disk.clone(), Options { retention, ..options(policy, 1) }).unwrap();
        let id = store.open_room(ROOM, 11, at(0)).unwrap();
        let mut told = Told::default();
        for _ in 0..40 {
            say(&mut store, id);
            let floor = store.position(id).floor;
            change(&mut store, id, floor, true, &mut told);
            commit(&mut store);
        }
        assert!(store.position(id).floor > 20);
        check_shown(&mut store, id, &told, "kept");
        store.shutdown(at(0)).unwrap();
        drop(store);
        check(&disk, policy, 2, &told, "restarted");
    }
}

#[test]
fn copy_of_a_running_servers_files_is_brought_up_to_date_when_it_is_opened() {
    let (disk, mut store, id) = three(SyncPolicy::Always);
    let mut told = Told::default();
    change(&mut store, id, 2, true, &mut told);
    store.write_dirty(at(0), &mut Vec::new());
    let copy = disk.copy();
    copy.crash();
    let mut store = open(&copy, SyncPolicy::Always, 2);
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    check_shown(&mut store, id, &told, "the copy");
    assert_eq!(holds(&copy, &secret(2)), None);
}
