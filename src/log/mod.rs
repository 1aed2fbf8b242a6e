//! Append-only storage: a folder of segments per room, one line per record, durable before visible.
//!
//! Owns: the files under the data folder, sequence numbers, epochs, what is visible. Must never know: sockets, chat, JSON
//! schemas of messages, the time of day (`now` is passed in), randomness (`entropy` is passed in).
//!
//! A room is opened, appended to, and read by position:
//!
//! ```text
//! append ─► write_dirty ─► (policy: next_sync ─► SyncBatch::run on another thread ─► synced) ─► LogEvent::Visible ─► read
//! ```
//!
//! A record may change earlier ones (`append_amending`): once it is durable their lines are overwritten, and until then
//! `read` replaces them.
//!
//! `docs/LOG_FORMAT.md` describes the bytes.

mod amend;
mod control;
mod disk;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod index;
pub mod inspect;
mod name;
mod open;
mod read;
mod record;
mod repair;
mod retain;
mod room;
mod run;
mod scan;
pub mod sim;
mod store;
mod sync;
mod types;
mod write;

pub use disk::{Disk, DiskFile, FileSystem, RealDisk};
pub use read::ReadBuffer;
pub use repair::{Damage, Repaired};
pub use run::lock;
pub use store::Store;
pub use sync::{SyncBatch, SyncOutcome};
pub use types::{
    Epoch, LogError, LogEvent, LogId, Options, ParseEpochError, Position, Retention, StoreError, SyncPolicy,
};
