//! A store on a simulated disk, driven as the server drives it but on one thread.

use std::path::PathBuf;

use roomlog::clock::Now;
use roomlog::log::sim::SimDisk;
use roomlog::log::{Epoch, LogError, LogEvent, LogId, Options, ReadBuffer, Retention, Store, SyncPolicy};

/// The data folder on the simulated disk.
pub const DIR: &str = "/data";

/// Both clocks at the same time.
pub fn at(ms: u64) -> Now {
    Now::at(ms, ms)
}

pub fn options(policy: SyncPolicy, run_id: u64) -> Options {
    let retention = Retention::default();
    Options { dir: DIR.into(), policy, segment_bytes: 1 << 20, files_open_max: 16, retention, run_id, opened: at(0) }
}

pub fn open(disk: &SimDisk, policy: SyncPolicy, run_id: u64) -> Store<SimDisk> {
    Store::open(disk.clone(), options(policy, run_id)).expect("the store opens")
}

/// The payload that the tests store under a sequence; `life` tells apart what different runs stored there.
pub fn payload(life: u64, sequence: u64) -> Vec<u8> {
    let filler = "x".repeat((sequence * 37 % 300) as usize);
    format!(r#"{{"type":"message","life":{life},"sequence":{sequence},"content":"{filler}"}}"#).into_bytes()
}

pub fn append(store: &mut Store<SimDisk>, id: LogId, life: u64) -> Result<u64, LogError> {
    let sequence = store.position(id).next;
    store.append(id, sequence, &payload(life, sequence)).map(|()| sequence)
}

pub fn append_many(store: &mut Store<SimDisk>, id: LogId, life: u64, count: usize) {
    for _ in 0..count {
        append(store, id, life).expect("the record is taken");
    }
}

/// Writes and syncs until nothing is left to do.
pub fn commit(store: &mut Store<SimDisk>) -> Vec<LogEvent> {
    let mut events = Vec::new();
    store.write_dirty(at(0), &mut events);
    while let Some(batch) = store.next_sync(at(u64::MAX)) {
        store.synced(batch.run(), at(0), &mut events);
        store.write_dirty(at(0), &mut events);
    }
    events
}

/// Records with their sequences.
pub type Records = Vec<(u64, Vec<u8>)>;

/// Everything that is visible, and the gaps.
pub fn read_all(store: &mut Store<SimDisk>, id: LogId) -> (Records, Vec<(u64, u64)>) {
    let (mut records, mut gaps, mut buffer) = (Vec::new(), Vec::new(), ReadBuffer::default());
    let mut from = store.position(id).floor;
    while from <= store.position(id).head {
        store.read(id, from, 3, 500, &mut buffer).expect("reads work");
        records.extend(buffer.records().map(|(sequence, payload)| (sequence, payload.to_vec())));
        gaps.extend(buffer.gap);
        assert!(buffer.next > from, "a read goes on: {from}");
        from = buffer.next;
    }
    (records, gaps)
}

/// Checks that a room holds exactly 1..=count, all stored by `life`.
pub fn assert_holds(store: &mut Store<SimDisk>, id: LogId, life: u64, count: u64) {
    let (records, gaps) = read_all(store, id);
    assert_eq!(gaps, []);
    assert_eq!(records, (1..=count).map(|n| (n, payload(life, n))).collect::<Vec<_>>());
}

pub fn room_file(room: &str, file: &str) -> PathBuf {
    [DIR, "rooms", room, file].iter().collect()
}

/// The file of the segment that begins with `first`.
pub fn segment(room: &str, first: u64) -> PathBuf {
    room_file(room, &format!("{first:020}.log"))
}

pub fn epoch_of(store: &Store<SimDisk>, id: LogId) -> Epoch {
    store.position(id).epoch
}

/// A disk whose last run stored `count` records in one room, each in a write of its own, and ended as told.
pub fn stored(policy: SyncPolicy, room: &str, count: usize, clean: bool) -> SimDisk {
    let disk = SimDisk::new();
    let mut store = open(&disk, policy, 1);
    let id = store.open_room(room, 11, at(0)).expect("the room opens");
    for _ in 0..count {
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
    }
    if clean {
        store.shutdown(at(0)).expect("the run ends cleanly");
    }
    drop(store);
    disk
}
