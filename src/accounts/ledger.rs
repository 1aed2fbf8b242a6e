//! The ledger: changes on their way to the disk, and from there into the tables.
//!
//! Owns: what waits, and the tables. Must never know: who is told, what a ticket is. Persist, then apply, then reply:
//! nothing that is not on the disk is in the tables, and nothing is in the tables that a restart would not bring back.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::checks::Judge;
use super::storage::Storage;
use super::tables::{Numbers, Tables};
use super::types::{AccountEvent, AccountId, Change, SubmitError, TokenId};
use crate::clock::Now;
use crate::limits;
use crate::log::{Disk, LogEvent, StoreError, SyncBatch, SyncOutcome};

/// How accounts are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; accounts are in `accounts` in there.
    pub data: PathBuf,
    /// A random number that names this run of the process; never used twice on one data folder.
    pub run_id: u64,
    /// Both clocks at the start of the run.
    pub opened: Now,
}

/// A change that waits for the disk.
struct Pending<T> {
    sequence: u64,
    change: Change,
    ticket: T,
}

/// All accounts of a data folder. `T` comes with a change and goes back with what became of it.
///
/// Invariant: `pending` ascends by sequence, without gaps, and ends with the last record that was appended.
pub struct Accounts<D: Disk + Clone, T> {
    disk: D,
    options: Options,
    /// `None` as long as there was never an account, nor anything else to keep.
    storage: Option<Storage<D>>,
    tables: Tables,
    pending: VecDeque<Pending<T>>,
    /// The last numbers that were given, to what waits too.
    given: Numbers,
    log_events: Vec<LogEvent>,
}

impl<D: Disk + Clone, T> Accounts<D, T> {
    /// Reads everything that was settled. Creates and syncs nothing where there are no accounts yet. The caller has the
    /// data folder's lock.
    ///
    /// # Errors
    /// The files cannot be used. Damage is no error: it is told in the log, and the rest is read.
    pub fn open(disk: D, options: Options) -> Result<Self, StoreError> {
        let mut tables = Tables::default();
        let storage = Storage::open_existing(&disk, &options, &mut tables)?;
        tables.expire(options.opened);
        let given = tables.last;
        Ok(Self { disk, options, storage, tables, pending: VecDeque::new(), given, log_events: Vec::new() })
    }

    /// What is settled.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Changes that wait for the disk.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes a change, if it makes sense after those that wait. It gets its number here, and is in the tables when it is
    /// on the disk: see [`AccountEvent`]. The first change of a data folder creates the files.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing has happened, and there will be no event.
    pub fn submit(&mut self, mut change: Change, ticket: T, now: Now) -> Result<(), SubmitError> {
        if self.pending.len() >= limits::LEDGER_PENDING_MAX {
            return Err(SubmitError::Busy);
        }
        if matches!(change, Change::Banned { .. }) {
            self.tables.bans.expire(now);
        }
        let pending = || self.pending.iter().map(|waiting| &waiting.change);
        Judge { tables: &self.tables, pending, now }.check(&mut change)?;
        let mut given = self.given;
        match &mut change {
            Change::Added { id, .. } => {
                given.account = AccountId(given.account.0 + 1);
                *id = given.account;
            }
            Change::TokenIssued { id, .. } => {
                given.token = TokenId(given.token.0 + 1);
                *id = given.token;
            }
            _ => {}
        }
        let storage = match &mut self.storage {
            Some(storage) => storage,
            none => none.insert(Storage::create(&self.disk, &self.options)?),
        };
        let sequence = storage.append(&change)?;
        self.given = given;
        self.pending.push_back(Pending { sequence, change, ticket });
        self.check_invariants();
        Ok(())
    }

    /// Writes what was submitted; to be called once per turn.
    pub fn write(&mut self, now: Now, events: &mut Vec<AccountEvent<T>>) {
        if let Some(storage) = &mut self.storage {
            storage.write(now, &mut self.log_events);
            self.settle(events);
        }
    }

    /// What is to be made durable next, on another thread; at most one batch is out at a time.
    pub fn next_sync(&mut self, now: Now) -> Option<SyncBatch<D>> {
        self.storage.as_mut()?.next_sync(now)
    }

    /// Takes a batch's outcome: what it made durable is settled.
    pub fn synced(&mut self, outcome: SyncOutcome, now: Now, events: &mut Vec<AccountEvent<T>>) {
        if let Some(storage) = &mut self.storage {
            storage.synced(outcome, now, &mut self.log_events);
            self.settle(events);
        }
    }

    /// Ends the tokens whose time is over, and gives them; to be called when [`Accounts::next_expiry_ms`] is due.
    pub fn expired(&mut self, now: Now) -> Vec<TokenId> {
        self.tables.expire(now)
    }

    /// When the next token ends, in milliseconds on the monotonic clock.
    pub fn next_expiry_ms(&self, now: Now) -> Option<u64> {
        let expires_ms = self.tables.tokens.next_expiry_ms()?;
        Some(now.monotonic_ms.saturating_add(expires_ms.saturating_sub(now.unix_ms)))
    }

    /// Whether the ledger takes nothing more in this run, because its files failed.
    pub fn is_read_only(&self) -> bool {
        self.storage.as_ref().is_some_and(Storage::is_read_only)
    }

    /// Marks the run as cleanly ended. What waits should have been written, synced and settled before: nobody is told of
    /// it any more. No use afterwards; drop it.
    ///
    /// # Errors
    /// The next start will treat this run as one that crashed.
    pub fn shutdown(&mut self, now: Now) -> Result<(), StoreError> {
        self.storage.as_mut().map_or(Ok(()), |storage| storage.shutdown(now))
    }

    fn settle(&mut self, events: &mut Vec<AccountEvent<T>>) {
        for event in self.log_events.drain(..) {
            match event {
                LogEvent::Visible { through, .. } => {
                    let durable = self.pending.partition_point(|waiting| waiting.sequence <= through);
                    for Pending { change, ticket, .. } in self.pending.drain(..durable) {
                        let ended = self.tables.apply(&change);
                        events.push(AccountEvent::Settled { ticket, change, ended });
                    }
                }
                LogEvent::Refused { from, why, .. } => {
                    let kept = self.pending.partition_point(|waiting| waiting.sequence < from);
                    let refused = self.pending.drain(kept..);
                    events.extend(refused.map(|Pending { change, ticket, .. }| AccountEvent::Failed {
                        ticket,
                        change,
                        why,
                    }));
                }
                LogEvent::ReadOnly { .. } => ::log::error!("accounts cannot be changed until the server is restarted"),
            }
        }
        self.check_invariants();
    }

    /// What waits, in order.
    #[cfg(test)]
    pub(super) fn waiting(self) -> Vec<Change> {
        self.pending.into_iter().map(|waiting| waiting.change).collect()
    }

    fn check_invariants(&self) {
        let next = self.storage.as_ref().map_or(1, Storage::next_sequence);
        debug_assert!(self.pending.iter().rev().zip((1..next).rev()).all(|(waiting, n)| waiting.sequence == n));
        debug_assert!(self.given.account >= self.tables.last.account && self.given.token >= self.tables.last.token);
    }
}
