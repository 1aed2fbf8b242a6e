//! The ledger's files: a store of its own in `accounts`, in which one room is the ledger.
//!
//! Owns: which room that is, how it is read at the start, and what is left behind when it has grown too long. Must never
//! know: what a change means.
//!
//! A snapshot is a new room with the changes that lead to the tables as they are, and a last record which says that it is
//! whole. From the moment that one is durable the room is the ledger, and the one before it is removed; one without it is
//! thrown away. So there is no moment at which a crash leaves none, and none at which it matters which is there.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ledger::Options;
use super::tables::{Numbers, Tables};
use super::types::{AccountId, Change, TokenId};
use crate::clock::Now;
use crate::limits;
use crate::log::{
    Disk, LogError, LogEvent, LogId, Options as StoreOptions, ReadBuffer, Retention, Store, StoreError, SyncBatch,
    SyncOutcome, SyncPolicy,
};

/// The first room; later ones have a number behind it, from 2.
const ROOM: &str = "accounts";
/// Read at once, in bytes of records.
const READ_BYTES: usize = 256 * 1024;
/// Records of a snapshot that are written at once.
const SNAPSHOT_BATCH: usize = 4_096;
/// One run to write a snapshot or throw one away, one to use what is left.
const PASSES: u64 = 2;

/// Records that are no changes: what a snapshot has besides.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Mark {
    /// The last numbers that were given, perhaps to what is gone.
    Numbers { account: AccountId, token: TokenId },
    /// Everything before this is a whole snapshot.
    SnapshotEnd,
}

/// An open ledger.
pub(super) struct Storage<D: Disk> {
    store: Store<D>,
    room: LogId,
}

/// What was read of a room.
struct Replayed {
    tables: Tables,
    records: u64,
    is_whole: bool,
    is_damaged: bool,
}

impl<D: Disk + Clone> Storage<D> {
    /// Opens the ledger if there is one, and reads it into `tables`.
    pub fn open_existing(disk: &D, options: &Options, tables: &mut Tables) -> Result<Option<Self>, StoreError> {
        let dir = folder(options);
        match disk.list(&dir.join("rooms")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| StoreError::Io { path: dir.clone(), source })?,
        };
        for pass in 1..=PASSES {
            let mut store = open_store(disk, options, pass)?;
            let generations = generations(&store)?;
            let (generation, room, replayed) = choose(&mut store, &generations, options, &dir)?;
            let mut keep = generation;
            if pass < PASSES && is_worth_it(&replayed) {
                keep = generations.first().map_or(1, |latest| latest + 1);
                write_snapshot(&mut store, keep, &replayed.tables, options)
                    .map_err(|source| StoreError::Io { path: dir.clone(), source })?;
                ::log::info!("accounts: {} records become {}", replayed.records, needed(&replayed.tables));
            }
            let stale: Vec<u32> =
                generations.iter().copied().chain([generation]).filter(|&other| other != keep).collect();
            if pass < PASSES && !stale.is_empty() {
                // Nothing may be open, or waiting for a sync, that is about to go.
                store.shutdown(options.opened)?;
                drop(store);
                stale.iter().for_each(|&old| throw_away(disk, &dir, old));
                continue;
            }
            *tables = replayed.tables;
            return Ok(Some(Self { store, room }));
        }
        unreachable!("the last pass returns")
    }

    /// Makes the folder and an empty ledger.
    pub fn create(disk: &D, options: &Options) -> Result<Self, LogError> {
        let made = open_store(disk, options, 1).map_err(|error| {
            ::log::error!("no accounts can be made: {error}");
            LogError::Unavailable
        });
        let mut store = made?;
        let room = store.open_room(ROOM, options.run_id, options.opened)?;
        Ok(Self { store, room })
    }

    /// Buffers a record; gives its number.
    pub fn append(&mut self, change: &Change) -> Result<u64, LogError> {
        append(&mut self.store, self.room, change)
    }

    pub fn next_sequence(&self) -> u64 {
        self.store.position(self.room).next
    }

    pub fn is_read_only(&self) -> bool {
        self.store.is_read_only(self.room)
    }

    pub fn write(&mut self, now: Now, events: &mut Vec<LogEvent>) {
        self.store.write_dirty(now, events);
    }

    pub fn next_sync(&mut self, now: Now) -> Option<SyncBatch<D>> {
        self.store.next_sync(now)
    }

    pub fn synced(&mut self, outcome: SyncOutcome, now: Now, events: &mut Vec<LogEvent>) {
        self.store.synced(outcome, now, events);
    }

    pub fn shutdown(&mut self, now: Now) -> Result<(), StoreError> {
        self.store.shutdown(now)
    }
}

fn folder(options: &Options) -> PathBuf {
    options.data.join("accounts")
}

fn open_store<D: Disk + Clone>(disk: &D, options: &Options, pass: u64) -> Result<Store<D>, StoreError> {
    let dir = folder(options);
    let private = disk.create_dir(&dir).and_then(|_| disk.make_private(&dir));
    private.map_err(|source| StoreError::Io { path: dir.clone(), source })?;
    let options = StoreOptions {
        dir,
        policy: SyncPolicy::Always,
        segment_bytes: limits::SEGMENT_BYTES,
        files_open_max: 4,
        retention: Retention::default(),
        run_id: options.run_id.wrapping_add(pass),
        opened: options.opened,
    };
    Store::open(disk.clone(), options)
}

fn append<D: Disk>(store: &mut Store<D>, room: LogId, record: &impl Serialize) -> Result<u64, LogError> {
    let sequence = store.position(room).next;
    let payload = serde_json::to_vec(record).expect("records have string keys and no failing parts");
    store.append(room, sequence, &payload).map(|()| sequence)
}

fn room_name(generation: u32) -> String {
    if generation == 1 { ROOM.to_owned() } else { format!("{ROOM}-{generation}") }
}

/// The ledgers that are there, the latest first.
fn generations<D: Disk>(store: &Store<D>) -> Result<Vec<u32>, StoreError> {
    let number = |room: String| match room.strip_prefix(ROOM)?.strip_prefix('-') {
        None => (room == ROOM).then_some(1),
        Some(number) => number.parse().ok().filter(|&number| room_name(number) == room),
    };
    let mut found: Vec<u32> = store.rooms()?.filter_map(number).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Opens and reads the ledger: the latest that is whole.
fn choose<D: Disk>(
    store: &mut Store<D>,
    generations: &[u32],
    options: &Options,
    dir: &Path,
) -> Result<(u32, LogId, Replayed), StoreError> {
    let unavailable = |error: LogError| StoreError::Io { path: dir.to_owned(), source: io::Error::other(error) };
    for (at, &generation) in generations.iter().enumerate() {
        let room = store.open_room(&room_name(generation), options.run_id, options.opened).map_err(unavailable)?;
        let replayed = replay(store, room).map_err(unavailable)?;
        // Damage may have taken the end of a snapshot that is in use. One that was interrupted is not damaged.
        let is_only = at + 1 == generations.len();
        if replayed.is_whole || generation == 1 || replayed.is_damaged || is_only {
            return Ok((generation, room, replayed));
        }
        store.close_room(room);
    }
    let room = store.open_room(ROOM, options.run_id, options.opened).map_err(unavailable)?;
    let replayed = replay(store, room).map_err(unavailable)?;
    Ok((1, room, replayed))
}

/// Reads a room from its start.
fn replay<D: Disk>(store: &mut Store<D>, room: LogId) -> Result<Replayed, LogError> {
    let mut replayed = Replayed { tables: Tables::default(), records: 0, is_whole: false, is_damaged: false };
    let (mut buffer, head) = (ReadBuffer::default(), store.position(room).head);
    let mut from = 1;
    while from <= head {
        store.read(room, from, usize::MAX, READ_BYTES, &mut buffer)?;
        let mut gap = buffer.gap;
        for (sequence, payload) in buffer.records() {
            if let Some(gap) = gap.take_if(|(first, _)| *first < sequence) {
                replayed.skip(gap);
            }
            replayed.records += 1;
            replayed.take(sequence, payload);
        }
        if let Some(gap) = gap {
            replayed.skip(gap);
        }
        from = buffer.next.max(from + 1);
    }
    Ok(replayed)
}

impl Replayed {
    /// Passes over what is lost, which may have given numbers: they must not be given again.
    fn skip(&mut self, (first, last): (u64, u64)) {
        let lost = last - first + 1;
        ::log::error!("accounts: {lost} changes are lost to damage: names, logins or bans may be missing");
        self.is_damaged = true;
        let Numbers { account, token } = &mut self.tables.last;
        account.0 = account.0.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX));
        token.0 = token.0.saturating_add(lost);
    }

    fn take(&mut self, sequence: u64, payload: &[u8]) {
        if let Ok(change) = serde_json::from_slice::<Change>(payload) {
            self.tables.apply(&change);
            return;
        }
        match serde_json::from_slice(payload) {
            Ok(Mark::Numbers { account, token }) => {
                let last = &mut self.tables.last;
                *last = Numbers { account: last.account.max(account), token: last.token.max(token) };
            }
            Ok(Mark::SnapshotEnd) => self.is_whole = true,
            // What is in it is not told: it may be a secret.
            Err(_) => ::log::warn!("accounts: record {sequence} is of a kind that this version does not know"),
        }
    }
}

/// Records that a snapshot has.
fn needed(tables: &Tables) -> u64 {
    let accounts = tables.directory.iter().map(|account| 1 + account.rooms.len() + account.peers.len());
    (accounts.sum::<usize>() + tables.tokens.len() + tables.bans.len() + 2) as u64
}

/// Damage is left as it is: a repair may bring back more.
fn is_worth_it(replayed: &Replayed) -> bool {
    let Replayed { tables, records, is_damaged, .. } = replayed;
    !is_damaged
        && *records > limits::LEDGER_COMPACT_RECORDS
        && *records > limits::LEDGER_COMPACT_FACTOR * needed(tables)
}

/// Writes a snapshot into a new room, and makes it durable.
fn write_snapshot<D: Disk>(
    store: &mut Store<D>,
    generation: u32,
    tables: &Tables,
    options: &Options,
) -> io::Result<()> {
    let room = store.open_room(&room_name(generation), options.run_id, options.opened).map_err(io::Error::other)?;
    let mut events = Vec::new();
    let changes = tables.snapshot();
    for batch in changes.chunks(SNAPSHOT_BATCH) {
        for change in batch {
            append(store, room, change).map_err(io::Error::other)?;
        }
        store.write_dirty(options.opened, &mut events);
        drain(store, options.opened, &mut events);
    }
    let Numbers { account, token } = tables.last;
    for mark in [Mark::Numbers { account, token }, Mark::SnapshotEnd] {
        append(store, room, &mark).map_err(io::Error::other)?;
        store.write_dirty(options.opened, &mut events);
        drain(store, options.opened, &mut events);
    }
    let position = store.position(room);
    match position.head + 1 == position.next && position.head == changes.len() as u64 + 2 {
        true => Ok(()),
        false => Err(io::Error::other("the snapshot of accounts could not be written")),
    }
}

/// Makes everything durable that was written. Here, not on another thread: the server has not started yet.
fn drain<D: Disk>(store: &mut Store<D>, now: Now, events: &mut Vec<LogEvent>) {
    while let Some(batch) = store.next_sync(now) {
        store.synced(batch.run_at_end(), now, events);
        store.write_dirty(now, events);
    }
}

/// Removes a ledger that is not in use. What cannot be removed now is tried again at the next start.
fn throw_away<D: Disk>(disk: &D, dir: &Path, generation: u32) {
    let rooms = dir.join("rooms");
    let folder = rooms.join(room_name(generation));
    let removed = disk
        .list(&folder)
        .and_then(|names| names.iter().try_for_each(|name| disk.remove(&folder.join(name))))
        .and_then(|()| disk.remove_dir(&folder))
        .and_then(|()| disk.sync_dir(&rooms));
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            ::log::error!("{}: an old ledger of accounts could not be removed: {error}", folder.display());
        }
        _ => {}
    }
}
