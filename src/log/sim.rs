//! A disk in memory that fails on demand: errors, short writes, a full disk, crashes and power cuts.
//!
//! Owns: what is in the page cache, what is on the platter, and the dice. Must never know: the log that is tested on it.
//! Everything it does follows from the seeds it is given, so a failing test can be repeated.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile, FileSystem};

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong at some I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Error(io::ErrorKind),
    /// A write writes at most so many bytes. Nothing happens to other calls.
    Short(usize),
    /// The call succeeds, and then the power goes: all later calls fail until `power_cut`.
    PowerOff,
}

/// There is one device only.
const DEVICE: u64 = 1;

/// A simulated file system; clones are the same one.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of it.
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    boot: u64,
    holds_lock: Mutex<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Folder,
    File(u64),
}

#[derive(Clone)]
enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Default)]
struct Inode {
    /// What programs see.
    cached: Vec<u8>,
    /// What is on the platter for certain.
    durable: Vec<u8>,
    /// Up to here the two are the same.
    same_until: usize,
    locked: bool,
}

impl Inode {
    /// Notes that bytes from here on have changed.
    fn touch(&mut self, from: usize) {
        self.same_until = self.same_until.min(from);
    }

    fn sync(&mut self) {
        let same = self.same_until;
        self.durable.truncate(same);
        self.durable.extend_from_slice(&self.cached[same..]);
        self.same_until = self.cached.len();
    }
}

#[derive(Clone, Default)]
struct State {
    inodes: HashMap<u64, Inode>,
    inodes_made: u64,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// Changes to `names` that are not in `durable_names` yet, in order.
    changes: Vec<NameChange>,
    calls: u64,
    whole_syncs: u64,
    faults: HashMap<u64, Fault>,
    is_off: bool,
    boot: u64,
    capacity_bytes: Option<u64>,
}

/// SplitMix64: small, and every seed is a good one.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.roll() & 1 == 0
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the disk")
    }

    /// Calls so far that change or sync something; faults are set by this number.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Syncs of the whole disk so far.
    pub fn whole_syncs(&self) -> u64 {
        self.state().whole_syncs
    }

    /// Lets the call with this number, counted from 0, go wrong.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state().faults.insert(call, fault);
    }

    /// Forgets all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Whether a `PowerOff` has happened.
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Bytes that fit on the disk; `None` for any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// Bytes in files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The power goes and comes back: of what was not synced, each sector and each name survives or not, as `seed` has
    /// it. Open files are dead.
    pub fn power_cut(&self, seed: u64) {
        self.state().power_cut(&mut Dice(seed));
    }

    /// The process dies, the machine goes on: only locks are lost.
    pub fn crash(&self) {
        self.state().restart();
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.inode(path).ok()?;
        Some(state.inodes[&inode].cached.clone())
    }

    /// Changes a file behind everybody's back, durably. Makes it if need be.
    pub fn tamper(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inode(path).unwrap_or_else(|_| state.add_file(path));
        let file = state.inodes.entry(inode).or_default();
        (file.cached, file.durable, file.same_until) = (bytes.to_vec(), bytes.to_vec(), 0);
        state.durable_names.insert(path.to_owned(), Node::File(inode));
    }

    /// All files, ascending.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state();
        state.names.iter().filter(|(_, node)| **node != Node::Folder).map(|(path, _)| path.clone()).collect()
    }

    /// A copy of the disk as a backup would have it: same names and bytes, other files.
    pub fn copy(&self) -> SimDisk {
        let state = self.state();
        let copy = SimDisk::new();
        {
            let mut other = copy.state();
            other.inodes_made = state.inodes_made;
            other.boot = state.boot;
            for (path, node) in &state.names {
                let node = match node {
                    Node::Folder => Node::Folder,
                    Node::File(inode) => {
                        let bytes = &state.inodes[inode].cached;
                        let inode = other.add_file(path);
                        let file = other.inodes.entry(inode).or_default();
                        (file.cached, file.durable) = (bytes.clone(), bytes.clone());
                        Node::File(inode)
                    }
                };
                other.names.insert(path.clone(), node);
            }
            other.durable_names = other.names.clone();
            other.changes.clear();
        }
        copy
    }

    /// Another disk in the same state, with what is in the page cache: to see what else could have happened.
    pub fn fork(&self) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// Counts a call and says what happens to it.
    fn call(&self) -> io::Result<Call<'_>> {
        Call::new(self.state())
    }
}

/// One call under way; the power may go when it is done.
struct Call<'a> {
    state: MutexGuard<'a, State>,
    short: Option<usize>,
    is_last: bool,
}

impl<'a> Call<'a> {
    fn new(mut state: MutexGuard<'a, State>) -> io::Result<Call<'a>> {
        state.check_power()?;
        let number = state.calls;
        state.calls += 1;
        let (short, is_last) = match state.faults.remove(&number) {
            Some(Fault::Error(kind)) => return Err(kind.into()),
            Some(Fault::Short(bytes)) => (Some(bytes), false),
            Some(Fault::PowerOff) => (None, true),
            None => (None, false),
        };
        Ok(Call { state, short, is_last })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.state.is_off |= self.is_last;
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        let files =
            self.names.values().filter_map(|node| if let Node::File(inode) = node { Some(inode) } else { None });
        files.map(|inode| self.inodes[inode].cached.len() as u64).sum()
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn add_file(&mut self, path: &Path) -> u64 {
        self.inodes_made += 1;
        let inode = self.inodes_made;
        self.inodes.insert(inode, Inode::default());
        self.names.insert(path.to_owned(), Node::File(inode));
        self.changes.push(NameChange::Add(path.to_owned(), Node::File(inode)));
        inode
    }

    fn restart(&mut self) {
        self.is_off = false;
        self.inodes.values_mut().for_each(|inode| inode.locked = false);
    }

    fn power_cut(&mut self, dice: &mut Dice) {
        for change in std::mem::take(&mut self.changes) {
            if dice.coin() {
                apply(&mut self.durable_names, &change);
            }
        }
        let names = self.durable_names.clone();
        self.durable_names.retain(|path, _| path.ancestors().skip(1).all(|up| is_root(up) || names.contains_key(up)));
        self.names = self.durable_names.clone();
        let alive: Vec<u64> =
            self.names.values().filter_map(|n| if let Node::File(i) = n { Some(*i) } else { None }).collect();
        self.inodes.retain(|inode, _| alive.contains(inode));
        let mut inodes: Vec<_> = self.inodes.iter_mut().collect();
        inodes.sort_unstable_by_key(|(inode, _)| **inode);
        for (_, inode) in inodes {
            inode.durable = survivors(inode, dice);
            inode.cached = inode.durable.clone();
            inode.same_until = inode.cached.len();
        }
        self.boot += 1;
        self.restart();
    }
}

fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    match change {
        NameChange::Add(path, node) => drop(names.insert(path.clone(), *node)),
        NameChange::Remove(path) => drop(names.remove(path)),
        NameChange::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// A mixture of old and new sectors, of some length between the old and the new one.
fn survivors(inode: &Inode, dice: &mut Dice) -> Vec<u8> {
    let (old, new) = (&inode.durable, &inode.cached);
    let span = old.len().abs_diff(new.len()) as u64;
    let len = match dice.roll() % 3 {
        0 => old.len(),
        1 => new.len(),
        _ => old.len().min(new.len()) + (dice.roll() % (span + 1)) as usize,
    };
    let mut bytes = vec![0; len];
    for (n, sector) in bytes.chunks_mut(SECTOR_BYTES).enumerate() {
        let source = if dice.coin() { new } else { old };
        let from = source.get(n * SECTOR_BYTES..).unwrap_or_default();
        let present = from.len().min(sector.len());
        sector[..present].copy_from_slice(&from[..present]);
    }
    bytes
}

impl FileSystem for SimDisk {
    fn sync(&self) -> io::Result<()> {
        let mut call = self.call()?;
        call.state.whole_syncs += 1;
        call.state.durable_names = call.state.names.clone();
        call.state.changes.clear();
        call.state.inodes.values_mut().for_each(Inode::sync);
        Ok(())
    }

    fn answers_for(&self, device: u64) -> bool {
        device == DEVICE
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type FileSystem = SimDisk;

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let state = self.state();
        state.check_power()?;
        let (inode, boot) = (state.inode(path)?, state.boot);
        Ok(SimFile { state: Arc::clone(&self.state), inode, boot, holds_lock: Mutex::new(false) })
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut call = self.call()?;
        if call.state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if path.parent().is_some_and(|up| !is_root(up) && !call.state.names.contains_key(up)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (inode, boot) = (call.state.add_file(path), call.state.boot);
        Ok(SimFile { state: Arc::clone(&self.state), inode, boot, holds_lock: Mutex::new(false) })
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut call = self.call()?;
        let is_new = call.state.names.insert(path.to_owned(), Node::Folder).is_none();
        if is_new {
            call.state.changes.push(NameChange::Add(path.to_owned(), Node::Folder));
        }
        Ok(is_new)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_power()?;
        if !is_root(path) && !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.check_power()?;
        Ok(state.inodes[&state.inode(path)?].cached.len() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut call = self.call()?;
        let inode = call.state.inode(from)?;
        call.state.names.remove(from);
        call.state.names.insert(to.to_owned(), Node::File(inode));
        call.state.changes.push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut call = self.call()?;
        call.state.inode(path)?;
        call.state.names.remove(path);
        call.state.changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut call = self.call()?;
        if call.state.names.keys().any(|name| name.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        match call.state.names.remove(path) {
            Some(_) => call.state.changes.push(NameChange::Remove(path.to_owned())),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    fn make_private(&self, _path: &Path) -> io::Result<()> {
        self.state().check_power()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut call = self.call()?;
        let state = &mut *call.state;
        let (inside, others) = std::mem::take(&mut state.changes).into_iter().partition(|change| {
            let (NameChange::Add(name, _) | NameChange::Remove(name) | NameChange::Rename(_, name)) = change;
            name.parent() == Some(path)
        });
        state.changes = others;
        let inside: Vec<NameChange> = inside;
        inside.iter().for_each(|change| apply(&mut state.durable_names, change));
        Ok(())
    }

    fn file_system(&self, _path: &Path) -> io::Result<SimDisk> {
        Ok(SimDisk { state: Arc::clone(&self.state) })
    }

    fn boot_id(&self) -> u64 {
        self.state().boot + 1
    }
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().expect("no test panics while it holds the disk");
        state.check_power()?;
        match state.boot == self.boot {
            true => Ok(state),
            false => Err(io::Error::other("the file was open when the power went")),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        let mut call = Call::new(self.state()?)?;
        Ok(change(call.state.inodes.entry(self.inode).or_default()))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state()?;
        let bytes = state.inodes.get(&self.inode).map_or(&[][..], |inode| &inode.cached);
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(buffer.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut call = Call::new(self.state()?)?;
        let free = call.state.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(call.state.used()));
        let (at, short) = (offset as usize, call.short.unwrap_or(usize::MAX));
        let inode = call.state.inodes.entry(self.inode).or_default();
        let inside = inode.cached.len().saturating_sub(at) as u64;
        let fits = usize::try_from(free.saturating_add(inside)).unwrap_or(usize::MAX);
        let written = bytes.len().min(fits).min(short);
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.touch(at.min(inode.cached.len()));
        if inode.cached.len() < at + written {
            inode.cached.resize(at + written, 0);
        }
        inode.cached[at..at + written].copy_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inodes.get(&self.inode).map_or(0, |inode| inode.cached.len() as u64))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|inode| {
            inode.touch(inode.cached.len().min(bytes as usize));
            inode.cached.resize(bytes as usize, 0);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Inode::sync)
    }

    fn identity(&self) -> io::Result<String> {
        drop(self.state()?);
        Ok(format!("{}:0", self.inode))
    }

    fn device(&self) -> io::Result<u64> {
        self.state().map(|_| DEVICE)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.state()?;
        let inode = state.inodes.entry(self.inode).or_default();
        let is_free = !std::mem::replace(&mut inode.locked, true);
        *self.holds_lock.lock().expect("nothing panics under this lock") |= is_free;
        Ok(is_free)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let held = self.holds_lock.lock().is_ok_and(|held| *held);
        if let Ok(mut state) = self.state()
            && held
            && let Some(inode) = state.inodes.get_mut(&self.inode)
        {
            inode.locked = false;
        }
    }
}
