//! The store (signatures).
use super::{
    Disk, Epoch, LogError, LogEvent, LogId, Options, Position, ReadBuffer, RealDisk, StoreError, SyncBatch, SyncOutcome,
};

/// All rooms of one data folder.
pub struct Store<D: Disk = RealDisk> {
    _disk: D,
}

#[allow(missing_docs, unused_variables)]
impl<D: Disk> Store<D> {
    pub fn open(disk: D, options: Options) -> Result<Store<D>, StoreError> {
        unimplemented!()
    }
    pub fn open_room(&mut self, room: &str, entropy: u64, now_ms: u64) -> Result<LogId, LogError> {
        unimplemented!()
    }
    pub fn close_room(&mut self, id: LogId) {
        unimplemented!()
    }
    pub fn position(&self, id: LogId) -> Position {
        unimplemented!()
    }
    pub fn epochs(&self, id: LogId) -> &[(Epoch, u64)] {
        unimplemented!()
    }
    pub fn append(&mut self, id: LogId, sequence: u64, payload: &[u8]) -> Result<(), LogError> {
        unimplemented!()
    }
    pub fn write_dirty(&mut self, now_ms: u64, events: &mut Vec<LogEvent>) {
        unimplemented!()
    }
    pub fn next_sync(&mut self, now_ms: u64) -> Option<SyncBatch<D>> {
        unimplemented!()
    }
    pub fn synced(&mut self, outcome: SyncOutcome, now_ms: u64, events: &mut Vec<LogEvent>) {
        unimplemented!()
    }
    pub fn next_deadline_ms(&self) -> Option<u64> {
        unimplemented!()
    }
    pub fn read(
        &mut self,
        id: LogId,
        from: u64,
        records_max: usize,
        bytes_max: usize,
        out: &mut ReadBuffer,
    ) -> Result<(), LogError> {
        unimplemented!()
    }
    pub fn shutdown(&mut self, now_ms: u64) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn rooms(&self) -> Result<impl Iterator<Item = String>, StoreError> {
        Ok(std::iter::empty())
    }
}
