//! Torn tails, flipped bits, misplaced records, wrong sidecars.

use super::support::*;
use roomlog::log::sim::SimDisk;
use roomlog::log::{LogError, LogId, Options, Store, SyncPolicy};

const ROOM: &str = "general";

fn log_bytes(disk: &SimDisk) -> Vec<u8> {
    disk.bytes(&segment(ROOM, 1)).expect("the segment is there")
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn torn_tail_is_cut_at_every_byte_of_the_last_three_records() {
    let whole = log_bytes(&stored(SyncPolicy::Always, ROOM, 8, false));
    let records = lines(&whole);
    let start = whole.len() - records[records.len() - 3..].iter().map(Vec::len).sum::<usize>();
    for cut in start..whole.len() {
        let disk = stored(SyncPolicy::Always, ROOM, 8, false);
        disk.tamper(&segment(ROOM, 1), &whole[..cut]);
        let mut store = open(&disk, SyncPolicy::Always, 2);
        let id = store.open_room(ROOM, 22, at(0)).unwrap();
        let left = lines(&whole[..cut]).iter().filter(|line| line.ends_with(b"\n")).count() as u64 - 1;
        assert_eq!((store.position(id).head, epoch_of(&store, id).0), (left, 11), "cut at {cut}");
        assert_eq!(store.rooms_damaged(), 0, "a torn end is no damage");
        assert_holds(&mut store, id, 1, left);
        let kept = disk.bytes(&room_file(ROOM, "00000000000000000001.torn-1")).unwrap_or_default();
        assert_eq!([log_bytes(&disk), kept].concat(), whole[..cut], "the cut bytes are kept beside");
        append_many(&mut store, id, 1, 3);
        commit(&mut store);
        assert_holds(&mut store, id, 1, left + 3);
    }
}

#[test]
fn lost_tail_after_a_clean_end_begins_a_new_epoch_wherever_it_is_cut() {
    let whole = log_bytes(&stored(SyncPolicy::Always, ROOM, 8, true));
    let start = whole.len() - lines(&whole)[8..].iter().map(Vec::len).sum::<usize>();
    for cut in start..whole.len() {
        let disk = stored(SyncPolicy::Always, ROOM, 8, true);
        disk.tamper(&segment(ROOM, 1), &whole[..cut]);
        for run in 2..4 {
            let mut store = open(&disk, SyncPolicy::Always, run);
            let id = store.open_room(ROOM, 20 + run, at(0)).unwrap();
            let head = store.position(id).head;
            assert_eq!((head >= 7, epoch_of(&store, id).0), (true, 22), "once, run {run}, cut at {cut}");
            assert_eq!(store.epochs(id).iter().map(|(e, last)| (e.0, *last)).collect::<Vec<_>>(), [(11, head)]);
            assert_holds(&mut store, id, 1, head);
            store.shutdown(at(0)).unwrap();
        }
    }
}

#[test]
fn garbage_behind_a_clean_end_is_cut_and_the_epoch_stays() {
    let disk = stored(SyncPolicy::Always, ROOM, 8, true);
    let whole = log_bytes(&disk);
    disk.tamper(&segment(ROOM, 1), &[&whole[..], b"no record\nat all"].concat());
    let mut store = open(&disk, SyncPolicy::Always, 2);
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    assert_eq!(epoch_of(&store, id).0, 11);
    assert_eq!(log_bytes(&disk), whole);
    assert_holds(&mut store, id, 1, 8);
}

#[test]
fn every_flipped_bit_is_found_and_never_served() {
    for clean in [true, false] {
        let disk = stored(SyncPolicy::Always, ROOM, 4, clean);
        let whole = log_bytes(&disk);
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let disk = disk.clone();
            disk.crash();
            reset(&disk, &bad);
            let mut store = open(&disk, SyncPolicy::Always, 2);
            let id = store.open_room(ROOM, 22, at(0)).unwrap();
            let (records, gaps) = read_all(&mut store, id);
            assert!(records.iter().all(|(n, bytes)| *bytes == payload(1, *n)), "bit {bit}");
            let missing: u64 = gaps.iter().map(|(from, to)| to - from + 1).sum();
            assert_eq!(records.len() as u64 + missing, store.position(id).head, "bit {bit}");
            // Without its line feed a record takes the next one with it.
            let taken = if whole[bit / 8] == b'\n' { 2 } else { 1 };
            assert!(records.len() + taken >= 4, "bit {bit}: {} left", records.len());
            append_many(&mut store, id, 1, 1);
            commit(&mut store);
            let (after, _) = read_all(&mut store, id);
            assert_eq!(after.len(), records.len() + 1, "bit {bit}");
        }
    }
}

/// Puts a room back to one segment with these bytes.
fn reset(disk: &SimDisk, bytes: &[u8]) {
    use roomlog::log::Disk;
    for path in disk.files() {
        if path.starts_with("/data/rooms") && path != segment(ROOM, 1) {
            disk.remove(&path).unwrap();
        }
    }
    disk.tamper(&segment(ROOM, 1), bytes);
}

#[test]
fn damage_with_valid_records_after_it_is_a_gap_and_stays() {
    for clean in [true, false] {
        let disk = stored(SyncPolicy::Always, ROOM, 9, clean);
        let mut records = lines(&log_bytes(&disk));
        for line in &mut records[4..6] {
            line[40] ^= 1;
        }
        disk.tamper(&segment(ROOM, 1), &records.concat());
        let mut store = open(&disk, SyncPolicy::Always, 2);
        let id = store.open_room(ROOM, 22, at(0)).unwrap();
        assert_eq!((store.position(id).head, epoch_of(&store, id).0), (9, 11));
        assert_eq!(store.rooms_damaged(), 1, "it is noticed before anybody reads");
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
        let (found, gaps) = read_all(&mut store, id);
        assert_eq!(found.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 6, 7, 8, 9, 10]);
        assert_eq!(gaps, [(4, 5)]);
        assert!(log_bytes(&disk).starts_with(&records.concat()), "nothing was truncated");
    }
}

#[test]
fn record_in_another_place_is_found() {
    let disk = stored(SyncPolicy::Always, ROOM, 6, true);
    let mut records = lines(&log_bytes(&disk));
    records.insert(5, records[2].clone());
    disk.tamper(&segment(ROOM, 1), &records.concat());
    let mut store = open(&disk, SyncPolicy::Always, 2);
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    assert_holds(&mut store, id, 1, 6);

    let other = stored(SyncPolicy::Always, "other", 6, true);
    let foreign = lines(&other.bytes(&segment("other", 1)).unwrap());
    let disk = stored(SyncPolicy::Always, ROOM, 6, true);
    let mut records = lines(&log_bytes(&disk));
    records[3].clone_from(&foreign[3]);
    disk.tamper(&segment(ROOM, 1), &records.concat());
    let mut store = open(&disk, SyncPolicy::Always, 2);
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    assert_eq!(read_all(&mut store, id).1, [(3, 3)]);
}

#[test]
fn folder_with_another_rooms_log_is_refused() {
    let disk = stored(SyncPolicy::Always, "other", 6, true);
    let bytes = disk.bytes(&segment("other", 1)).unwrap();
    use roomlog::log::Disk;
    disk.create_dir(&room_file(ROOM, "")).unwrap();
    disk.tamper(&segment(ROOM, 1), &bytes);
    let mut store = open(&disk, SyncPolicy::Always, 2);
    assert_eq!(store.open_room(ROOM, 22, at(0)), Err(LogError::Unavailable));
    assert_eq!(log_bytes(&disk), bytes, "untouched");
    let id = store.open_room("other", 22, at(0)).unwrap();
    assert_holds(&mut store, id, 1, 6);
}

#[test]
fn sidecars_are_rebuilt_when_missing_and_not_believed_when_wrong() {
    let disk = SimDisk::new();
    let options = |run| Options { segment_bytes: 40_000, ..options(SyncPolicy::Always, run) };
    let mut store = Store::open(disk.clone(), options(1)).unwrap();
    let id = store.open_room(ROOM, 11, at(0)).unwrap();
    for _ in 0..60 {
        append_many(&mut store, id, 1, 10);
        commit(&mut store);
    }
    store.shutdown(at(0)).unwrap();
    drop(store);
    use roomlog::log::Disk;
    let sidecars: Vec<_> = disk.files().into_iter().filter(|f| f.extension().is_some_and(|e| e == "idx")).collect();
    assert!(sidecars.len() >= 2, "{sidecars:?}");
    let (missing, wrong) = (&sidecars[0], &sidecars[1]);
    let good = disk.bytes(missing).unwrap();
    disk.remove(missing).unwrap();
    let mut bytes = disk.bytes(wrong).unwrap();
    bytes[70] ^= 1;
    disk.tamper(wrong, &bytes);
    let mut store = Store::open(disk.clone(), options(2)).unwrap();
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    assert_holds(&mut store, id, 1, 600);
    assert_eq!(disk.bytes(missing).unwrap()[..40], good[..40], "the same segment is covered");
    assert_ne!(disk.bytes(wrong).unwrap(), bytes);
}

#[test]
fn index_that_points_to_the_wrong_place_makes_no_gap() {
    let disk = SimDisk::new();
    let mut store = open(&disk, SyncPolicy::Always, 1);
    let id = store.open_room(ROOM, 11, at(0)).unwrap();
    append_many(&mut store, id, 1, 100);
    commit(&mut store);
    // The record that an index entry points to is damaged in the file, but the ones around it are not.
    let mut records = lines(&log_bytes(&disk));
    let damaged: Vec<usize> = (2..100).step_by(3).collect();
    damaged.iter().for_each(|&n| records[n][45] ^= 1);
    disk.tamper(&segment(ROOM, 1), &records.concat());
    let (found, gaps) = read_all(&mut store, id);
    assert_eq!(gaps, damaged.iter().map(|&n| (n as u64, n as u64)).collect::<Vec<_>>());
    assert_eq!(found.len() + gaps.len(), 100);
}

#[test]
fn lost_segment_in_the_middle_is_a_gap() {
    let disk = SimDisk::new();
    let mut store =
        Store::open(disk.clone(), Options { segment_bytes: 1000, ..options(SyncPolicy::Always, 1) }).unwrap();
    let id = store.open_room(ROOM, 11, at(0)).unwrap();
    for _ in 0..40 {
        append_many(&mut store, id, 1, 1);
        commit(&mut store);
    }
    store.shutdown(at(0)).unwrap();
    drop(store);
    use roomlog::log::Disk;
    let logs: Vec<_> = disk.files().into_iter().filter(|f| f.extension().is_some_and(|e| e == "log")).collect();
    let first = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    disk.remove(&logs[2]).unwrap();
    let mut store = open(&disk, SyncPolicy::Always, 2);
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    assert_eq!(read_all(&mut store, id).1, [(first(&logs[2]), first(&logs[3]) - 1)]);
}

#[test]
fn old_record_behind_the_end_does_not_turn_the_numbering_back() {
    for old in [2, 6] {
        let disk = stored(SyncPolicy::Always, ROOM, 6, true);
        let mut records = lines(&log_bytes(&disk));
        records.push(records[old].clone());
        disk.tamper(&segment(ROOM, 1), &records.concat());
        let mut store = open(&disk, SyncPolicy::Always, 2);
        let id = store.open_room(ROOM, 22, at(0)).unwrap();
        assert_eq!((store.position(id).head, epoch_of(&store, id).0), (6, 11), "{old}");
        assert_holds(&mut store, id, 1, 6);
    }
}

/// Pairs of a long and a short record, so that the sizes of two such logs agree but not what stands where.
fn store_pairs(disk: &SimDisk, run: u64, pairs: u64, long_first: bool) -> (Store<SimDisk>, LogId) {
    let mut store = open(disk, SyncPolicy::Always, run);
    let id = store.open_room(ROOM, 11, at(0)).unwrap();
    for _ in 0..2 * pairs {
        let next = store.position(id).next;
        let size = if (next % 2 == 1) == long_first { 900 } else { 100 };
        store.append(id, next, &vec![b'x'; size]).unwrap();
        commit(&mut store);
    }
    (store, id)
}

#[test]
fn sidecar_of_another_log_is_checked_against_what_it_points_to() {
    let (one, other) = (SimDisk::new(), SimDisk::new());
    store_pairs(&one, 1, 300, false).0.shutdown(at(0)).unwrap();
    store_pairs(&other, 1, 300, true).0.shutdown(at(0)).unwrap();
    let sidecar = room_file(ROOM, "00000000000000000001.idx");
    let foreign = other.bytes(&sidecar).expect("the segment is long enough for one");
    assert_ne!(one.bytes(&sidecar).unwrap(), foreign);
    one.tamper(&sidecar, &foreign);
    let mut store = open(&one, SyncPolicy::Always, 2);
    let id = store.open_room(ROOM, 22, at(0)).unwrap();
    let (records, gaps) = read_all(&mut store, id);
    assert_eq!((records.len(), gaps), (600, vec![]));
}

#[test]
fn sidecar_that_no_longer_fits_is_not_believed_when_the_segment_has_grown_again() {
    let disk = SimDisk::new();
    // Closing the room writes a sidecar; then the process crashes, so that epoch and segment go on.
    let (mut store, id) = store_pairs(&disk, 1, 300, true);
    store.close_room(id);
    drop(store);
    assert!(disk.bytes(&room_file(ROOM, "00000000000000000001.idx")).is_some());
    let bytes = log_bytes(&disk);
    disk.tamper(&segment(ROOM, 1), &lines(&bytes)[..101].concat());
    drop(store_pairs(&disk, 3, 300, false));
    let mut store = open(&disk, SyncPolicy::Always, 4);
    let id = store.open_room(ROOM, 44, at(0)).unwrap();
    assert_eq!(store.position(id).head, 700);
    let (records, gaps) = read_all(&mut store, id);
    assert_eq!((records.len(), gaps), (700, vec![]));
}
