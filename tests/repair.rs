//! `roomlog log repair` on logs of many segments, damaged in every way that a repair has to tell apart.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Data, PATIENCE};
use roomlog::clock::Now;
use roomlog::log::{Epoch, Options, RealDisk, Retention, Store, StoreError, SyncPolicy};
use roomlog::protocol::{MessageIdentity, StoredMessage, encode_message};
use serde_json::Value;

const MESSAGES: u64 = 60;
const NOW: Now = Now::at(1, 1_700_000_000_000);

fn store(data: &Data, run_id: u64) -> Store {
    let options = Options {
        dir: data.path().to_owned(),
        policy: SyncPolicy::Always,
        segment_bytes: 2_000,
        files_open_max: 8,
        retention: Retention::default(),
        run_id,
        opened: NOW,
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Store::open(RealDisk, options.clone()) {
            // A process that another test starts holds our lock from its fork to its exec.
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.expect("a folder of our own"),
        }
    }
}

/// Appends messages `from..=to` to the room, each durable on its own, and ends cleanly. Returns the epoch.
fn fill(data: &Data, run_id: u64, from: u64, to: u64) -> Epoch {
    let mut store = store(data, run_id);
    let id = store.open_room("room", run_id, NOW).expect("it opens");
    let epoch = store.position(id).epoch;
    for sequence in from..=to {
        let (content, timestamp) = (format!("message {sequence}"), NOW.unix_ms + sequence);
        let id_of = MessageIdentity { epoch, sequence };
        let (room, user, nonce) = ("room", "alice", None);
        let mut payload = Vec::new();
        encode_message(
            &StoredMessage { id: id_of, room, user, content: &content, sequence, timestamp, nonce, change: None },
            &mut payload,
        );
        store.append(id, sequence, &payload).expect("the next number");
        store.write_dirty(NOW, &mut Vec::new());
        while let Some(batch) = store.next_sync(NOW) {
            store.synced(batch.run(), NOW, &mut Vec::new());
            store.write_dirty(NOW, &mut Vec::new());
        }
    }
    store.close_room(id);
    store.shutdown(NOW).expect("all is durable");
    epoch
}

/// The room's segments, ascending.
fn segments(data: &Data) -> Vec<PathBuf> {
    let files = fs::read_dir(data.path().join("rooms/room")).expect("the room has a folder");
    let paths = files.map(|file| file.expect("listed").path());
    let mut segments: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}

/// Every file of the folder with its bytes.
fn bytes(data: &Data) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(data.path().join("rooms/room")).expect("the room has a folder");
    let mut all: Vec<_> =
        files.map(|file| file.expect("listed").path()).map(|p| (p.clone(), fs::read(p).unwrap())).collect();
    all.sort();
    all
}

/// Flips a bit in the middle of message `sequence`.
fn flip(data: &Data, sequence: u64) {
    let needle = format!("\"content\":\"message {sequence}\"");
    for path in segments(data) {
        let mut text = fs::read(&path).expect("readable");
        if let Some(at) = text.windows(needle.len()).position(|part| part == needle.as_bytes()) {
            text[at + 12] ^= 1;
            return fs::write(&path, text).expect("writable");
        }
    }
    panic!("message {sequence} is nowhere");
}

fn log(data: &Data, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    let output = command.arg("log").args(args).arg("--data").arg(data.path()).env_clear().stdin(Stdio::null()).output();
    let output = output.expect("the binary starts");
    (output.status.code().expect("an exit"), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn exported(data: &Data) -> Vec<u64> {
    let (_, lines) = log(data, &["export", "room"]);
    let number =
        |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].as_u64().expect("a number");
    lines.lines().map(number).collect()
}

/// Repairs, and checks what holds after every repair. `lost` are the messages that are gone.
fn repair(data: &Data, old: Epoch, lost: &[u64]) {
    let left: Vec<u64> = (1..=MESSAGES).filter(|sequence| !lost.contains(sequence)).collect();
    assert_eq!(log(data, &["verify", "room"]).0, 1, "the damage is found");
    assert_eq!(exported(data), left, "what is readable is readable before a repair too");
    let before = bytes(data);
    let (code, said) = log(data, &["repair", "room"]);
    assert!(code == 0 && said.contains("--yes"), "it says what it would do: {said}");
    assert_eq!(bytes(data), before, "nothing is done without --yes");
    let (code, said) = log(data, &["repair", "room", "--yes"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = log(data, &["verify", "room"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(exported(data), left);
    let again = bytes(data);
    assert_eq!(log(data, &["repair", "room", "--yes"]).0, 0);
    assert_eq!(bytes(data), again, "a second repair finds nothing");
    let (mut next, mut buffer) = (1, roomlog::log::ReadBuffer::default());
    let (mut seen, mut missing) = (Vec::new(), Vec::new());
    let mut store = store(data, 77);
    let id = store.open_room("room", 5, NOW).expect("it opens");
    let position = store.position(id);
    assert_ne!(position.epoch, old);
    assert_eq!((position.head, position.next), (MESSAGES, MESSAGES + 1), "numbers are not given twice");
    assert!(store.epochs(id).iter().any(|&(epoch, last)| epoch == old && last <= MESSAGES), "{:?}", store.epochs(id));
    while next <= position.head {
        store.read(id, next, 100, 1 << 20, &mut buffer).expect("readable");
        seen.extend(buffer.records().map(|(sequence, _)| sequence));
        missing.extend(buffer.gap.into_iter().flat_map(|(from, to)| from..=to));
        next = buffer.next;
    }
    assert_eq!((seen, missing), (left, lost.to_vec()), "readers are told the gap");
    store.close_room(id);
    store.shutdown(NOW).expect("all is durable");
    drop(store);
    fill(data, 78, MESSAGES + 1, MESSAGES + 3);
    assert_eq!(exported(data).last(), Some(&(MESSAGES + 3)), "it goes on");
}

fn filled() -> (Data, Epoch) {
    let data = Data::fresh();
    let epoch = fill(&data, 1, 1, MESSAGES);
    assert!(segments(&data).len() > 4, "of many segments");
    (data, epoch)
}

fn first_of(path: &Path) -> u64 {
    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).expect("a number")
}

#[test]
fn one_message_of_a_sealed_segment() {
    let (data, epoch) = filled();
    flip(&data, 20);
    repair(&data, epoch, &[20]);
}

#[test]
fn messages_of_two_segments_and_of_the_active_one() {
    let (data, epoch) = filled();
    [15, 30, 31, MESSAGES - 1].into_iter().for_each(|sequence| flip(&data, sequence));
    repair(&data, epoch, &[15, 30, 31, MESSAGES - 1]);
}

#[test]
fn the_first_and_the_last_message_of_a_sealed_segment() {
    let (data, epoch) = filled();
    let (from, next) = (first_of(&segments(&data)[1]), first_of(&segments(&data)[2]));
    flip(&data, from);
    flip(&data, next - 1);
    repair(&data, epoch, &[from, next - 1]);
}

#[test]
fn a_sealed_segments_header() {
    let (data, epoch) = filled();
    let path = &segments(&data)[2];
    let mut text = fs::read(path).expect("readable");
    text[60] ^= 1;
    fs::write(path, text).expect("writable");
    repair(&data, epoch, &[]);
}

#[test]
fn a_segment_that_is_missing() {
    let (data, epoch) = filled();
    let (path, from, next) = (segments(&data)[2].clone(), first_of(&segments(&data)[2]), first_of(&segments(&data)[3]));
    fs::remove_file(path).expect("removable");
    repair(&data, epoch, &(from..next).collect::<Vec<_>>());
}

#[test]
fn a_wrong_sidecar_is_nothing_to_repair() {
    let (data, epoch) = filled();
    let sidecar = segments(&data)[0].with_extension("idx");
    fs::write(&sidecar, "nonsense").expect("writable");
    let before = bytes(&data);
    assert_eq!((log(&data, &["verify", "room"]).0, log(&data, &["repair", "room", "--yes"]).0), (0, 0));
    assert_eq!(bytes(&data), before);
    assert_eq!(fill(&data, 2, MESSAGES + 1, MESSAGES + 1), epoch, "the numbering goes on");
}

#[test]
fn a_repair_that_was_killed_is_done_again_and_nothing_readable_is_lost() {
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !strace {
        println!("skipped: there is no strace to kill a repair with");
        return;
    }
    let mut killed = 0;
    for (call, count) in [("write,pwrite64", 6), ("rename", 2), ("fsync,fdatasync", 8)] {
        for nth in 1..=count {
            let (data, epoch) = filled();
            flip(&data, 15);
            flip(&data, 45);
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            command
                .arg(env!("CARGO_BIN_EXE_roomlog"))
                .args(["log", "repair", "room", "--yes", "--data"])
                .arg(data.path());
            let output = command.stdin(Stdio::null()).output().expect("strace starts");
            killed += usize::from(output.status.code().is_none()); // strace dies as its child did
            let left: Vec<u64> = (1..=MESSAGES).filter(|sequence| ![15, 45].contains(sequence)).collect();
            assert_eq!(exported(&data), left, "{inject}");
            let (code, said) = log(&data, &["repair", "room", "--yes"]);
            assert_eq!(code, 0, "{inject}: {said}");
            assert_eq!((log(&data, &["verify", "room"]).0, exported(&data)), (0, left), "{inject}");
            assert_ne!(fill(&data, 9, MESSAGES + 1, MESSAGES + 1), epoch, "{inject}");
        }
    }
    assert!(killed >= 8, "only {killed} repairs were killed");
}

/// Reads everything as a server does; the gaps, and whether any of them is news.
fn gaps(data: &Data) -> (Vec<(u64, u64)>, bool) {
    let mut store = store(data, 79);
    let id = store.open_room("room", 6, NOW).expect("it opens");
    let (mut next, mut gaps, mut buffer) = (1, Vec::new(), roomlog::log::ReadBuffer::default());
    while next <= store.position(id).head {
        store.read(id, next, 100, 1 << 20, &mut buffer).expect("readable");
        gaps.extend(buffer.gap);
        next = buffer.next;
    }
    (gaps, store.rooms_damaged() > 0)
}

#[test]
fn a_loss_beside_one_that_is_written_down_is_found_and_both_are_one_gap() {
    let (data, _) = filled();
    let at = first_of(&segments(&data)[1]) + 3; // not where a segment ends, which ends a gap too
    for (sequence, gap) in [(at, (at, at)), (at - 1, (at - 1, at)), (at + 1, (at - 1, at + 1))] {
        flip(&data, sequence);
        let (_, said) = log(&data, &["verify", "room"]);
        assert!(said.contains(&format!("message {sequence} is lost\n")), "{said}");
        assert_eq!(log(&data, &["repair", "room", "--yes"]).0, 0);
        assert_eq!(log(&data, &["verify", "room"]).0, 0);
        assert_eq!(gaps(&data), (vec![gap], false), "what is written down is no news");
    }
}

#[test]
fn a_loss_on_both_sides_of_a_restart_is_one_gap() {
    let (data, _) = filled();
    fill(&data, 2, MESSAGES + 1, MESSAGES + 3);
    flip(&data, MESSAGES);
    flip(&data, MESSAGES + 1);
    assert_eq!(log(&data, &["repair", "room", "--yes"]).0, 0);
    assert_eq!(log(&data, &["verify", "room"]).0, 0);
    assert_eq!(gaps(&data), (vec![(MESSAGES, MESSAGES + 1)], false), "what is written down is no news");
}

/// Two epochs, of which the first ends with message `MESSAGES`; both, and the first segment of the second.
fn two_epochs() -> (Data, [Epoch; 2], PathBuf) {
    let (data, old) = filled();
    let last = segments(&data).pop().expect("many");
    let copy = last.with_extension("copy");
    fs::copy(&last, &copy).and_then(|_| fs::rename(&copy, &last)).expect("a restored file begins an epoch");
    let new = fill(&data, 2, MESSAGES + 1, MESSAGES + 3);
    assert_ne!(new, old);
    let path = segments(&data).into_iter().find(|path| first_of(path) == MESSAGES + 1).expect("it begins a segment");
    (data, [old, new], path)
}

fn spoil_header(path: &Path) {
    let mut text = fs::read(path).expect("readable");
    text[60] ^= 1;
    fs::write(path, text).expect("writable");
}

fn epochs(data: &Data) -> Vec<(Epoch, u64)> {
    let mut store = store(data, 80);
    let id = store.open_room("room", 7, NOW).expect("it opens");
    store.epochs(id).to_vec()
}

#[test]
fn the_last_segments_header_is_not_guessed_to_go_on_with_the_epoch_before() {
    let (data, [old, new], path) = two_epochs();
    assert_eq!(segments(&data).last(), Some(&path));
    spoil_header(&path);
    assert_eq!(log(&data, &["repair", "room", "--yes"]).0, 0);
    let epochs = epochs(&data);
    let ends: Vec<u64> = epochs.iter().filter(|(epoch, _)| *epoch == old).map(|&(_, last)| last).collect();
    assert_eq!(ends, [MESSAGES], "positions of the first epoch are good up to its end, not up to the repair");
    assert!(epochs.iter().all(|&(epoch, _)| epoch != new), "which epoch the segment had, nobody can know: {epochs:?}");
    assert_eq!(log(&data, &["verify", "room"]).0, 0);
    assert_eq!(exported(&data), (1..=MESSAGES + 3).collect::<Vec<_>>());
}

#[test]
fn a_sealed_segments_header_is_made_from_what_later_ones_tell() {
    let (data, [old, new], path) = two_epochs();
    fill(&data, 3, MESSAGES + 4, MESSAGES + 40);
    assert_ne!(segments(&data).last(), Some(&path));
    spoil_header(&path);
    assert_eq!(log(&data, &["repair", "room", "--yes"]).0, 0);
    let line = fs::read_to_string(&path).expect("text").lines().next().expect("a header").to_owned();
    let header: Value = serde_json::from_str(&line[34..]).expect("JSON");
    assert_eq!(header["epoch"], new.to_string());
    assert_eq!(header["epochs"], serde_json::json!([[old.to_string(), MESSAGES]]));
    assert_eq!(epochs(&data), [(old, MESSAGES), (new, MESSAGES + 40)]);
}

#[test]
fn a_repair_killed_before_it_ended_is_found_and_ends_in_a_new_epoch() {
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !strace {
        println!("skipped: there is no strace to kill a repair with");
        return;
    }
    for nth in 1.. {
        let (data, epoch) = filled();
        flip(&data, 15);
        let inject = format!("inject=openat:signal=KILL:when={nth}");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat", "-e", &inject]);
        command.arg(env!("CARGO_BIN_EXE_roomlog")).args(["log", "repair", "room", "--yes", "--data"]).arg(data.path());
        let was_killed = command.stdin(Stdio::null()).output().expect("strace starts").status.code().is_none();
        assert_eq!(log(&data, &["repair", "room", "--yes"]).0, 0, "{inject}");
        assert_eq!(log(&data, &["verify", "room"]).0, 0, "{inject}");
        let left: Vec<u64> = (1..=MESSAGES).filter(|&sequence| sequence != 15).collect();
        assert_eq!(exported(&data), left, "{inject}");
        assert_ne!(fill(&data, 9, MESSAGES + 1, MESSAGES + 1), epoch, "{inject}");
        if !was_killed {
            assert!(nth > 10, "only {} repairs were killed", nth - 1);
            break;
        }
    }
}
