//! Accounts: names, password hashes, tokens, roles, kept rooms, bans; in memory, and durable in a ledger of changes.
//!
//! Owns: what is known of people who registered, and `accounts` in the data folder. Must never know: sockets, messages,
//! passwords. Randomness and time are passed in.
//!
//! ```text
//! submit (checked against what is and what waits) ─► write ─► next_sync ─► synced ─► AccountEvent::Settled ─► the tables
//! ```

mod attempts;
mod bans;
mod checks;
pub mod control;
mod directory;
mod ledger;
mod storage;
mod tables;
mod token;
mod tokens;
mod types;

pub use attempts::Attempts;
pub use bans::Bans;
pub use directory::Directory;
pub use ledger::{Accounts, Options};
pub use tables::Tables;
pub use token::{TOKEN_BYTES, TOKEN_PREFIX, Token, TokenHash};
pub use tokens::{TokenInfo, Tokens};
pub use types::{
    Account, AccountEvent, AccountId, Ban, BanTarget, Change, PasswordHash, Role, SubmitError, TokenId, network,
};

#[cfg(test)]
mod model_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
