//! What is told of a data folder without opening it as a server does, and the repair of what is wrong there.

use std::fs;
use std::path::PathBuf;

use super::support::*;
use roomlog::log::inspect::{Batch, Found, Inspector, Lookup, RoomFiles, Stand, Summary};
use roomlog::log::{Damage, Epoch, Options, RealDisk, Store, SyncPolicy};

const RECORDS: u64 = 60;

/// A data folder of its own for a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("roomlog-inspect-{name}-{}", std::process::id())))
    }

    fn store(&self, policy: SyncPolicy, run_id: u64) -> Store<RealDisk> {
        let options = Options { dir: self.0.clone(), segment_bytes: 4_000, ..options(policy, run_id) };
        Store::open(RealDisk, options).expect("the store opens")
    }

    /// Appends so many records to a room, each durable before the next.
    fn append(store: &mut Store<RealDisk>, room: &str, epoch: u64, count: u64) {
        let id = store.open_room(room, epoch, at(0)).expect("the room opens");
        for _ in 0..count {
            let sequence = store.position(id).next;
            store.append(id, sequence, &payload(1, sequence)).expect("the record is taken");
            store.write_dirty(at(0), &mut Vec::new());
            while let Some(batch) = store.next_sync(at(u64::MAX)) {
                store.synced(batch.run(), at(0), &mut Vec::new());
            }
        }
    }

    /// A room with some segments.
    fn filled(name: &str) -> Folder {
        let folder = Folder::new(name);
        let mut store = folder.store(SyncPolicy::Always, 1);
        Self::append(&mut store, "general", 11, RECORDS);
        store.shutdown(at(0)).expect("the run ends cleanly");
        folder
    }

    fn room(&self) -> RoomFiles {
        Inspector::open(&self.0).expect("a data folder").room("general").expect("readable").expect("it is stored")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The records from a segment on, and everything else that is found.
fn walked(files: &RoomFiles, from: u64) -> (Records, Vec<Found>) {
    let (mut walk, mut batch) = (files.walk_from(from), Batch::default());
    let (mut records, mut others) = (Vec::new(), Vec::new());
    while walk.next(&mut batch).expect("readable files") {
        for found in &batch.found {
            match found {
                Found::Message { sequence, payload } => records.push((*sequence, batch.payload(payload).to_vec())),
                other => others.push(other.clone()),
            }
        }
    }
    (records, others)
}

fn expected(from: u64) -> Records {
    (from..=RECORDS).map(|sequence| (sequence, payload(1, sequence))).collect()
}

/// Where the line of a record stands in its segment, and its size.
fn place(files: &RoomFiles, segment: u64, sequence: u64) -> (usize, usize) {
    let bytes = fs::read(files.path(segment)).expect("the segment");
    let wanted = payload(1, sequence);
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("the record");
    let start = bytes[..at].iter().rposition(|&byte| byte == b'\n').expect("a header stands before it") + 1;
    (start, at + wanted.len() + 1 - start)
}

#[test]
fn rooms_are_listed_by_name_and_in_pages() {
    let folder = Folder::new("rooms");
    let long = "🦀".repeat(64);
    let mut store = folder.store(SyncPolicy::Always, 1);
    for room in ["b", &long, "a/b", "c"] {
        Folder::append(&mut store, room, 1, 1);
    }
    fs::create_dir(folder.0.join("rooms/empty")).expect("a folder");
    let inspector = Inspector::open(&folder.0).expect("a data folder, beside its server");
    let names: Vec<String> = inspector.rooms().expect("readable").into_iter().map(|files| files.room).collect();
    assert_eq!(names, ["a/b", "b", "c", &long]);
    for (after, limit, page) in [
        (None, 9, &["a/b", "b", "c", &long][..]),
        (None, 2, &["a/b", "b"]),
        (Some("b"), 9, &["c", &long]),
        (Some("aa"), 1, &["b"]),
        (Some("c"), 0, &[]),
        (Some(&*long), 9, &[]),
    ] {
        assert_eq!(inspector.names_after(after, limit).expect("readable"), page, "{after:?} {limit}");
    }
    assert!(inspector.room("empty").expect("readable").is_none());
    assert!(inspector.room("nobody").expect("readable").is_none());
    assert_eq!(inspector.room(&long).expect("readable").map(|files| files.room), Some(long));
    assert!(Inspector::open(&folder.0.join("elsewhere")).is_err());
}

#[test]
fn summary_and_stand_say_where_a_room_is() {
    let folder = Folder::filled("summary");
    let files = folder.room();
    assert!(files.segments.len() > 3, "{:?}", files.segments);
    let mut bytes = 0;
    for segment in &files.segments {
        assert_eq!(segment.bytes, fs::metadata(files.path(segment.first)).expect("the segment").len());
        bytes += segment.bytes;
    }
    let epoch = Some(Epoch(11));
    let summary = Summary { floor: 1, head: RECORDS, epoch, old_epochs: Vec::new(), bytes };
    assert_eq!(files.summary().expect("readable"), summary);
    let stand = Stand { floor: 1, head: RECORDS, epoch, last: payload(1, RECORDS) };
    assert_eq!(files.stand().expect("readable"), stand);
    fs::remove_file(files.path(1)).expect("the first segment");
    let files = folder.room();
    let (summary, floor) = (files.summary().expect("readable"), files.segments[0].first);
    assert!(floor > 1);
    assert_eq!((summary.floor, files.stand().expect("readable").floor), (floor, floor));
}

#[test]
fn summary_tells_earlier_epochs() {
    let folder = Folder::new("epochs");
    let interval = SyncPolicy::Interval { ms: 1_000 };
    let mut store = folder.store(interval, 1);
    Folder::append(&mut store, "general", 11, 5);
    drop(store);
    let mut store = folder.store(interval, 2);
    Folder::append(&mut store, "general", 22, 1);
    let summary = folder.room().summary().expect("readable");
    assert_eq!((summary.epoch, summary.old_epochs, summary.head), (Some(Epoch(22)), vec![(Epoch(11), 5)], 6));
}

#[test]
fn a_walk_tells_every_record_from_the_segment_on_that_has_the_first() {
    let folder = Folder::filled("walk");
    let files = folder.room();
    assert_eq!(walked(&files, 1), (expected(1), vec![]));
    for (before, segment) in files.segments.iter().zip(&files.segments[1..]) {
        for from in [segment.first, segment.first + 1] {
            assert_eq!(walked(&files, from), (expected(segment.first), vec![]), "{from}");
        }
        assert_eq!(walked(&files, segment.first - 1), (expected(before.first), vec![]));
    }
}

#[test]
fn a_large_segment_is_walked_in_several_batches() {
    let folder = Folder::new("large");
    let options = Options { dir: folder.0.clone(), ..options(SyncPolicy::Always, 1) };
    let mut store = Store::open(RealDisk, options).expect("the store opens");
    let id = store.open_room("general", 11, at(0)).expect("the room opens");
    let sizes = [200_000, 200_000, 1, 200_000, 1];
    for (sequence, size) in (1..).zip(sizes) {
        store.append(id, sequence, &vec![b'x'; size]).expect("the record is taken");
    }
    store.write_dirty(at(0), &mut Vec::new());
    let files = folder.room();
    assert_eq!(files.segments.len(), 1);
    let (records, others) = walked(&files, 1);
    let found: Vec<_> = records.iter().map(|(sequence, payload)| (*sequence, payload.len())).collect();
    assert_eq!(found, (1..).zip(sizes).collect::<Vec<_>>());
    assert_eq!(others, []);
    assert_eq!(files.summary().expect("readable").head, 5);
    let stand = files.stand().expect("readable");
    assert_eq!((stand.head, &*stand.last), (5, &b"x"[..]));
}

#[test]
fn a_lookup_finds_every_record_and_no_other() {
    let folder = Folder::filled("lookup");
    let mut lookup = Lookup::new(&folder.room());
    for sequence in (1..=RECORDS).rev() {
        assert_eq!(lookup.record(sequence).expect("readable"), Some(payload(1, sequence)), "{sequence}");
    }
    assert_eq!(lookup.record(0).expect("readable"), None);
    assert_eq!(lookup.record(RECORDS + 1).expect("readable"), None);
}

#[test]
fn damage_is_told_with_its_place_and_what_is_lost_by_it() {
    let folder = Folder::filled("damage");
    let files = folder.room();
    let ((start, size), (next, next_size)) = (place(&files, 1, 4), place(&files, 1, 5));
    assert_eq!(next, start + size);
    let mut bytes = fs::read(files.path(1)).expect("the segment");
    bytes[start + size - 3] ^= 1;
    bytes[next + 40] ^= 1;
    fs::write(files.path(1), &bytes).expect("a segment to damage");
    let (records, others) = walked(&files, 1);
    let damage = Found::Damage { segment: 1, offset: start as u64, bytes: (size + next_size) as u64, is_tail: false };
    assert_eq!(others, [damage, Found::Lost { from: 4, to: 5, is_known: false }]);
    assert_eq!(records.len() as u64, RECORDS - 2);
    let mut lookup = Lookup::new(&files);
    assert_eq!(lookup.record(4).expect("readable"), None);
    assert_eq!(lookup.record(6).expect("readable"), Some(payload(1, 6)));
}

#[test]
fn a_torn_end_is_told_apart_from_damage_and_a_missing_segment_is_lost() {
    let folder = Folder::filled("torn");
    let files = folder.room();
    let [.., missing, last] = files.segments[..] else { panic!("some segments") };
    fs::remove_file(files.path(missing.first)).expect("a sealed segment");
    let mut bytes = fs::read(files.path(last.first)).expect("the active segment");
    bytes.extend_from_slice(b"half a li");
    fs::write(files.path(last.first), &bytes).expect("a torn end");
    let (records, others) = walked(&folder.room(), 1);
    let lost = Found::Lost { from: missing.first, to: last.first - 1, is_known: false };
    let torn = Found::Damage { segment: last.first, offset: last.bytes, bytes: 9, is_tail: true };
    assert_eq!(others, [lost, torn]);
    assert_eq!(records.len() as u64, RECORDS - (last.first - missing.first));
}

#[test]
fn a_repair_writes_down_what_is_lost_wherever_it_was_in_its_segment() {
    let folder = Folder::filled("repair");
    let files = folder.room();
    let second = files.segments[1].first;
    for sequence in [1, second - 1, second + 1] {
        let segment = if sequence < second { 1 } else { second };
        let (start, _) = place(&files, segment, sequence);
        let mut bytes = fs::read(files.path(segment)).expect("the segment");
        bytes[start + 40] ^= 1;
        fs::write(files.path(segment), &bytes).expect("a segment to damage");
    }
    let lost = vec![(1, 1), (second - 1, second - 1), (second + 1, second + 1)];
    let damage = Damage::find(&files).expect("readable");
    assert_eq!((damage.spots.len(), &damage.lost, &damage.known), (3, &lost, &vec![]));
    let mut store = folder.store(SyncPolicy::Always, 2);
    let repaired = store.repair_room(&files, &damage, 99, at(0)).expect("it can be repaired");
    assert_eq!((repaired.kept.len(), repaired.epoch), (2, Epoch(99)));
    let after = Damage::find(&folder.room()).expect("readable");
    assert_eq!((after.is_none(), after.known, after.messages), (true, lost, RECORDS - 3));
}

#[test]
fn a_repair_of_the_last_header_ends_the_epoch_before_it() {
    let folder = Folder::filled("header");
    let files = folder.room();
    let last = files.segments[files.segments.len() - 1].first;
    let mut bytes = fs::read(files.path(last)).expect("the segment");
    bytes[40] ^= 1;
    fs::write(files.path(last), &bytes).expect("a segment to damage");
    let damage = Damage::find(&files).expect("readable");
    let mut store = folder.store(SyncPolicy::Always, 2);
    store.repair_room(&files, &damage, 99, at(0)).expect("it can be repaired");
    let summary = folder.room().summary().expect("readable");
    assert_eq!((summary.epoch, summary.old_epochs[0]), (Some(Epoch(99)), (Epoch(11), last - 1)));
}
