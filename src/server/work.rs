//! What the helper thread does for the server: what would keep the loop from its next turn.
//!
//! Owns: the jobs and how each is done. Must never know: who waits for it.

use std::path::{Path, PathBuf};

use super::World;
use crate::{
    accounts::PasswordHash,
    chat::direct,
    log::inspect::{Inspector, Stand},
    passwords,
    protocol::recorded,
};

/// What is to be done. Secrets are not shown by `Debug`.
pub(super) enum Work {
    /// Hash a new password.
    Hash { password: String, salt: [u8; 16] },
    /// Check a password; without a hash it takes as long, and is wrong.
    Verify { password: String, hash: Option<PasswordHash> },
    /// Check a password, and hash the one that is to take its place.
    Replace { password: String, hash: PasswordHash, new_password: String, salt: [u8; 16] },
    /// List stored rooms.
    List { data: PathBuf, after: Option<String>, limit: usize },
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Work::Hash { .. } => "Hash",
            Work::Verify { .. } => "Verify",
            Work::Replace { .. } => "Replace",
            Work::List { .. } => "List",
        })
    }
}

/// A stored room.
#[derive(Debug)]
pub(super) struct Brief {
    pub name: String,
    /// The last sequence.
    pub head: u64,
    pub epoch: Option<String>,
    /// When it was given, Unix milliseconds.
    pub last_timestamp: Option<u64>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// The hash of the new password.
    Hashed(PasswordHash),
    /// Whether the password is right.
    Verified(bool),
    /// The hash of the next password, if the one so far was right.
    Replaced(Option<PasswordHash>),
    /// Stored rooms that anybody may know of, by name; `None` where the folder cannot be read.
    Listed(Option<Vec<Brief>>),
}

/// Does a job. Runs on the helper thread.
pub(super) fn run<W: World>(work: Work) -> Done {
    let hash = |password: &str, salt| PasswordHash::new(W::hash(password, salt));
    match work {
        Work::Hash { password, salt } => Done::Hashed(hash(&password, salt)),
        Work::Verify { password, hash } => {
            let is_right = W::verify(&password, hash.as_ref().map_or(passwords::DUMMY, PasswordHash::as_str));
            Done::Verified(is_right && hash.is_some())
        }
        Work::Replace { password, hash: so_far, new_password, salt } => {
            let is_right = W::verify(&password, so_far.as_str());
            Done::Replaced(is_right.then(|| hash(&new_password, salt)))
        }
        Work::List { data, after, limit } => Done::Listed(list(&data, after.as_deref(), limit)),
    }
}

fn list(data: &Path, after: Option<&str>, limit: usize) -> Option<Vec<Brief>> {
    let told = |error: &dyn std::fmt::Display| log::warn!("the rooms cannot be listed: {error}");
    let inspector = Inspector::open(data).inspect_err(|error| told(error)).ok()?;
    let mut rooms = Vec::new();
    let mut after = after.map(str::to_owned);
    while rooms.len() < limit {
        let names = inspector.names_after(after.as_deref(), limit).inspect_err(|error| told(error)).ok()?;
        let Some(last) = names.last().cloned() else { break };
        // Direct conversations stand side by side, however many they are.
        after = Some(if direct::is_reserved(&last) { direct::LAST.to_owned() } else { last });
        // A room that cannot be read is left out: the server's log tells of it when it is used.
        rooms.extend(
            names.into_iter().filter(|name| !direct::is_reserved(name)).filter_map(|name| brief(&inspector, name)),
        );
    }
    rooms.truncate(limit);
    Some(rooms)
}

fn brief(inspector: &Inspector, name: String) -> Option<Brief> {
    let files = inspector.room(&name).ok()??;
    let Stand { head, epoch, last, .. } = files.stand().ok()?;
    let last_timestamp = recorded::parse(&last).map(|message| message.timestamp);
    Some(Brief { name, head, epoch: epoch.map(|epoch| epoch.to_string()), last_timestamp })
}
