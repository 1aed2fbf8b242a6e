//! What tests of the ledger share: a simulated disk, driven as the server drives it but on one thread.

use std::path::Path;

use super::{AccountEvent, Accounts, Change, Options, PasswordHash, Role, Token};
use crate::clock::Now;
use crate::log::sim::SimDisk;
use crate::log::{self, Disk, Retention, Store, StoreError, SyncPolicy};
use crate::names;

/// The ledger, with numbers for tickets.
pub type Ledger = Accounts<SimDisk, u32>;

/// Both clocks at the same time.
pub fn at(ms: u64) -> Now {
    Now::at(ms, ms)
}

/// A disk with a data folder, as the main store has made it.
pub fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/data")).and_then(|_| disk.sync_dir(Path::new("/"))).expect("a folder");
    disk
}

pub fn try_open(disk: &SimDisk, run_id: u64, opened: Now) -> Result<Ledger, StoreError> {
    Accounts::open(disk.clone(), Options { data: "/data".into(), run_id, opened })
}

pub fn open(disk: &SimDisk, run_id: u64, opened: Now) -> Ledger {
    try_open(disk, run_id, opened).expect("the ledger opens")
}

/// Writes and syncs until nothing is left to do.
pub fn commit(accounts: &mut Ledger, now: Now) -> Vec<AccountEvent<u32>> {
    let mut events = Vec::new();
    accounts.write(now, &mut events);
    while let Some(batch) = accounts.next_sync(now) {
        accounts.synced(batch.run(), now, &mut events);
        accounts.write(now, &mut events);
    }
    events
}

/// A new account; the hash of its password tells whose it is.
pub fn added(name: &str) -> Change {
    let password = PasswordHash::new(format!("hash of {name}"));
    match names::user(name) {
        Ok(name) => Change::added(&name, Role::Member, password, 5),
        Err(_) => {
            Change::Added { id: Default::default(), name: name.into(), created_ms: 5, role: Role::Member, password }
        }
    }
}

/// One token of many.
pub fn token(n: u32) -> Token {
    Token::new(std::array::from_fn(|at| n.to_be_bytes()[at % 4] ^ at as u8))
}

/// Appends to the ledger behind its back, as another version would.
pub fn append_raw(disk: &SimDisk, payload: &[u8]) {
    let options = log::Options {
        dir: "/data/accounts".into(),
        policy: SyncPolicy::Always,
        segment_bytes: 1 << 20,
        files_open_max: 4,
        retention: Retention::default(),
        run_id: 1_000 + disk.calls(),
        opened: at(0),
    };
    let mut store = Store::open(disk.clone(), options).expect("the store opens");
    let room = store.open_room("accounts", 5, at(0)).expect("the room opens");
    store.append(room, store.position(room).next, payload).expect("the record is taken");
    store.shutdown(at(0)).expect("a clean end");
}
