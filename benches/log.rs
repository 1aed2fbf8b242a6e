//! What the log costs: each figure beside the plainest program that moves the same bytes, in interleaved rounds.
//!
//! `cargo bench --bench log [-- append|replay|sync|open]`; files go to `$TMPDIR`. Medians of the rounds' ratios.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use roomlog::clock::Now;
use roomlog::log::{Disk, FileSystem, LogId, Options, ReadBuffer, RealDisk, Retention, Store, SyncPolicy};

const ROUNDS: usize = 7;
const RECORDS: u64 = 1_000_000;
const BATCH: u64 = 32;
/// Bytes of a line besides its payload.
const FRAMING_BYTES: usize = 35;

type Bench = fn(&Path);

fn main() {
    let dir = std::env::temp_dir().join(format!("roomlog-bench-{}", std::process::id()));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let benches: [(&str, Bench); 4] = [("append", append), ("replay", replay), ("sync", sync), ("open", open)];
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            std::fs::create_dir_all(&dir).expect("the temporary folder is writable");
            bench(&dir);
            std::fs::remove_dir_all(&dir).expect("the folder is ours");
        }
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Both clocks at the same time.
fn at(ms: u64) -> Now {
    Now::at(ms, ms)
}

fn store(dir: &Path, run_id: u64, segment_bytes: u64) -> Store {
    let (policy, retention) = (SyncPolicy::Never, Retention::default());
    let options =
        Options { dir: dir.into(), policy, segment_bytes, files_open_max: 64, retention, run_id, opened: at(0) };
    Store::open(RealDisk, options).expect("the data folder opens")
}

fn sync_now(store: &mut Store) {
    while let Some(batch) = store.next_sync(at(u64::MAX)) {
        store.synced(batch.run(), at(0), &mut Vec::new());
    }
}

/// Appends `RECORDS` records of 200 bytes, `batch` per write.
fn fill(store: &mut Store, id: LogId, batch: u64) {
    let payload = [b'x'; 200];
    let mut events = Vec::new();
    for _ in 0..RECORDS / batch {
        let next = store.position(id).next;
        for n in 0..batch {
            store.append(id, next + n, &payload).expect("the record is taken");
        }
        store.write_dirty(at(0), &mut events);
        sync_now(store);
        events.clear();
    }
}

fn append(dir: &Path) {
    [1, BATCH].into_iter().for_each(|batch| append_batched(dir, batch));
}

fn append_batched(dir: &Path, batch: u64) {
    let (mut ratios, mut nanos, mut bare_nanos) = (Vec::new(), Vec::new(), Vec::new());
    let (mut checked_ratios, mut single_ratios) = (Vec::new(), Vec::new());
    for round in 0..2 * ROUNDS {
        let data = dir.join(format!("append-{round}"));
        std::fs::create_dir_all(&data).expect("the folder is writable");
        // Whoever is second writes into memory that the first has just filled: they take turns.
        let (mut ours, mut bare) = (0.0, 0.0);
        for turn in 0..2 {
            if turn == round % 2 {
                ours = seconds(|| append_ours(&data, batch));
            } else {
                bare = seconds(|| append_bare(&data, batch, false));
            }
            std::fs::remove_dir_all(&data).expect("the folder is ours");
            std::fs::create_dir_all(&data).expect("the folder is writable");
        }
        let other = |batch, checked| {
            let taken = seconds(|| append_bare(&data, batch, checked));
            std::fs::remove_file(data.join("bare")).expect("the file is ours");
            taken
        };
        checked_ratios.push(other(batch, true) / ours);
        single_ratios.push(other(1, false) / ours);
        ratios.push(bare / ours);
        nanos.push(ours * 1e9 / RECORDS as f64);
        bare_nanos.push(bare * 1e9 / RECORDS as f64);
        std::fs::remove_dir_all(&data).expect("the folder is ours");
    }
    println!(
        "append, 200 bytes, {batch} per write: {:.0} ns per record, bare write loop {:.0} ns: {:.0} % of its speed, {:.0} % of \
         one that copies and checksums each record, {:.0} % of one that writes each record",
        median(nanos),
        median(bare_nanos),
        100.0 * median(ratios),
        100.0 * median(checked_ratios),
        100.0 * median(single_ratios)
    );
}

fn append_ours(data: &Path, batch: u64) {
    // Sealing a segment syncs it, which the bare loop does not; so one segment takes it all.
    let mut store = store(data, 1, 1 << 30);
    let id = store.open_room("bench", 1, at(0)).expect("the room opens");
    fill(&mut store, id, batch);
}

fn append_bare(data: &Path, batch: u64, checked: bool) {
    let record = [b'x'; 200 + FRAMING_BYTES];
    let mut lines = record.repeat(batch as usize);
    let mut file = File::create(data.join("bare")).expect("the folder is writable");
    for _ in 0..RECORDS / batch {
        if checked {
            lines.clear();
            for _ in 0..batch {
                let start = lines.len();
                lines.extend_from_slice(&record);
                let crc = crc32fast::hash(&lines[start + 9..]);
                lines[start..start + 4].copy_from_slice(&crc.to_le_bytes());
            }
        }
        file.write_all(&lines).expect("the disk has space");
    }
}

/// A loopback connection whose other end reads and forgets; returns how many bytes it saw when the stream is dropped.
fn sink() -> (TcpStream, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (mut reader, _) = listener.accept().expect("it was connected to");
    let thread = std::thread::spawn(move || {
        let (mut buffer, mut seen) = (vec![0; 256 * 1024], 0);
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            seen += n;
        }
        seen
    });
    (stream, thread)
}

/// Reads the whole room in chunks of 64 KiB and gives each chunk's payloads to `each`.
fn read_room(store: &mut Store, id: LogId, mut each: impl FnMut(&[u8])) {
    let (mut buffer, mut chunk, mut from) = (ReadBuffer::default(), Vec::new(), 1);
    while from <= store.position(id).head {
        store.read(id, from, 1000, 64 * 1024, &mut buffer).expect("the disk reads");
        assert_eq!(buffer.gap, None);
        chunk.clear();
        buffer.records().for_each(|(_, payload)| chunk.extend_from_slice(payload));
        each(&chunk);
        from = buffer.next;
    }
}

fn replay(dir: &Path) {
    let mut store = store(dir, 1, 64 << 20);
    let id = store.open_room("bench", 1, at(0)).expect("the room opens");
    fill(&mut store, id, BATCH);
    let mut segments = RealDisk.list(&dir.join("rooms/bench")).expect("the room has a folder");
    segments.retain(|name| name.ends_with(".log"));
    let (mut alone, mut raw, mut over_tcp, mut ratios, mut raw_ratios) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let ours = seconds(|| read_room(&mut store, id, |_| ()));
        let pread = seconds(|| segments.iter().for_each(|path| read_raw(&dir.join("rooms/bench").join(path))));
        let (mut stream, thread) = sink();
        let sent = seconds(|| {
            read_room(&mut store, id, |chunk| stream.write_all(chunk).expect("the sink reads"));
            drop(stream);
            assert_eq!(thread.join().expect("the sink ends") as u64, RECORDS * 200);
        });
        let (mut stream, thread) = sink();
        let sendfile = seconds(|| {
            for path in &segments {
                let mut file = File::open(dir.join("rooms/bench").join(path)).expect("the segment is there");
                // On Linux this is sendfile(2).
                std::io::copy(&mut file, &mut stream).expect("the sink reads");
            }
            drop(stream);
            thread.join().expect("the sink ends");
        });
        alone.push(ours * 1e9 / RECORDS as f64);
        raw.push(pread * 1e9 / RECORDS as f64);
        over_tcp.push(sent * 1e9 / RECORDS as f64);
        ratios.push(sendfile / sent);
        raw_ratios.push(pread / ours);
    }
    println!(
        "read and check: {:.0} ns per record; pread of the same bytes {:.0} ns: {:.0} % of its speed",
        median(alone),
        median(raw),
        100.0 * median(raw_ratios)
    );
    println!(
        "replay over TCP: {:.0} ns per record: {:.0} % of the speed of sendfile of the files",
        median(over_tcp),
        100.0 * median(ratios)
    );
}

fn read_raw(path: &Path) {
    let (mut file, mut buffer) = (File::open(path).expect("the segment is there"), vec![0; 64 * 1024]);
    while file.read(&mut buffer).expect("the disk reads") > 0 {}
}

/// Finds out from how many files on one syncfs(2) ahead of the fdatasync(2)s pays, and in their place.
fn sync(dir: &Path) {
    let whole = RealDisk.file_system(dir).expect("the folder is there");
    println!("files written to: fdatasync of each / syncfs and then fdatasync of each / syncfs alone, ms");
    for count in [1, 4, 16, 32, 64, 256, 1024] {
        let open = |n| OpenOptions::new().create(true).append(true).open(dir.join(format!("sync-{n}")));
        let mut files: Vec<File> = (0..count).map(|n| open(n).expect("the folder is writable")).collect();
        whole.sync().expect("the disk syncs");
        let mut taken = [const { Vec::new() }; 3];
        for round in 0..3 * ROUNDS {
            let way = round % 3;
            files.iter_mut().for_each(|file| file.write_all(&[b'x'; 700]).expect("the disk has space"));
            taken[way].push(seconds(|| {
                if way > 0 {
                    whole.sync().expect("the disk syncs");
                }
                if way < 2 {
                    files.iter().for_each(|file| file.sync_data().expect("the disk syncs"));
                }
            }));
        }
        let [each, both, alone] = taken.map(|seconds| median(seconds) * 1e3);
        println!("{count:5} {each:8.2} / {both:8.2} / {alone:8.2}");
    }
}

/// Opening a room whose active segment is nearly full, with and without a sidecar.
fn open(dir: &Path) {
    let mut first = store(dir, 1, 64 << 20);
    let id = first.open_room("bench", 1, at(0)).expect("the room opens");
    let payload = [b'x'; 200];
    for n in 1..=250_000 {
        first.append(id, n, &payload).expect("the record is taken");
        if n % BATCH == 0 {
            first.write_dirty(at(0), &mut Vec::new());
            sync_now(&mut first);
        }
    }
    drop(first);
    let mut second = store(dir, 2, 64 << 20);
    let scan = seconds(|| assert!(second.open_room("bench", 2, at(0)).is_ok()));
    second.shutdown(at(0)).expect("the run ends");
    drop(second);
    let mut third = store(dir, 3, 64 << 20);
    let open = seconds(|| assert!(third.open_room("bench", 3, at(0)).is_ok()));
    println!("open a room after a crash with 56 MiB to scan: {:.1} ms; again: {:.2} ms", scan * 1e3, open * 1e3);
}
