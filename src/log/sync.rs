//! Sync batches (signatures).
use super::Disk;

/// Files to make durable; runs on another thread.
pub struct SyncBatch<D: Disk> {
    _disk: std::sync::Arc<D>,
}

/// What became of a batch.
pub struct SyncOutcome {}

#[allow(missing_docs)]
impl<D: Disk> SyncBatch<D> {
    pub fn run(self) -> SyncOutcome {
        unimplemented!()
    }
}
