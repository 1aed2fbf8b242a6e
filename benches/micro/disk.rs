//! Appending to a room's log, on a disk and in memory, without and with a sync.
//!
//! Owns: the data folders. Must never know: what a record means.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use roomlog::clock::Now;
use roomlog::log::{Options, RealDisk, Retention, Store, SyncPolicy};

const AT_START: Now = Now { monotonic_ms: 0, fraction_us: 0, unix_ms: 1_795_442_400_000 };
/// As the feed would write it: a message of some 60 characters.
const RECORD: [u8; 200] = [b'x'; 200];

/// A data folder, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    /// In the temporary folder, or on a file system in memory where there is one.
    pub fn fresh(in_memory: bool) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if in_memory && memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let name = format!("roomlog-micro-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        fs::create_dir_all(&path).expect("the folder is writable");
        Folder(path)
    }

    /// A store in it.
    pub fn store(&self, policy: SyncPolicy) -> Store {
        let options = Options {
            dir: self.0.clone(),
            policy,
            segment_bytes: 64 << 20,
            files_open_max: 64,
            retention: Retention { bytes: Some(256 << 20), ..Retention::default() },
            run_id: 1,
            opened: AT_START,
        };
        Store::open(RealDisk, options).expect("the data folder opens")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// So many records in one write, in memory: the log's own part.
#[divan::bench(args = [1, 32, 256])]
fn append_in_memory(bencher: Bencher, records: u64) {
    append(bencher, records, true, SyncPolicy::Never);
}

/// So many records in one write; the kernel writes them back when it likes.
#[divan::bench(args = [1, 32, 256])]
fn append_to_disk(bencher: Bencher, records: u64) {
    append(bencher, records, false, SyncPolicy::Never);
}

/// So many records in one write and one sync: what `--fsync always` waits for, here on the same thread.
#[divan::bench(args = [1, 32, 256], sample_size = 1, sample_count = 50)]
fn append_and_sync(bencher: Bencher, records: u64) {
    append(bencher, records, false, SyncPolicy::Always);
}

fn append(bencher: Bencher, records: u64, in_memory: bool, policy: SyncPolicy) {
    let folder = Folder::fresh(in_memory);
    let mut store = folder.store(policy);
    let id = store.open_room("general", 7, AT_START).expect("the room opens");
    let mut events = Vec::new();
    bencher.counter(ItemsCount::new(records)).bench_local(|| {
        let next = store.position(id).next;
        for sequence in next..next + records {
            store.append(id, sequence, &RECORD).expect("the record is taken");
        }
        store.write_dirty(AT_START, &mut events);
        while let Some(batch) = store.next_sync(AT_START) {
            store.synced(batch.run(), AT_START, &mut events);
        }
        events.clear();
    });
    store.shutdown(AT_START).expect("the run ends cleanly");
}
