//! Accounts in the files of a data folder that nobody else has open.
//!
//! Owns: the folder's lock, and the ledger while the command runs. Must never know: how a command line looks.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{AccountCommandError, Keeper, ListedAccount, ListedBan, random};
use crate::accounts::{
    Account, AccountEvent, AccountId, Accounts, BanTarget, Change, Options, PasswordHash, Role, SubmitError,
};
use crate::clock::{Clock, Now};
use crate::log::RealDisk;
use crate::{names, passwords};

pub(super) struct Local {
    data: PathBuf,
    accounts: Accounts<RealDisk, ()>,
    now: Now,
    /// Keeps a server from starting meanwhile.
    _lock: File,
}

impl Local {
    pub fn open(data: &Path, lock: File) -> Result<Self, AccountCommandError> {
        let now = Clock::start().now();
        let options = Options { data: data.to_owned(), run_id: u64::from_ne_bytes(random()?), opened: now };
        Ok(Self { data: data.to_owned(), accounts: Accounts::open(RealDisk, options)?, now, _lock: lock })
    }

    fn find(&self, name: &str) -> Result<AccountId, AccountCommandError> {
        let account = self.accounts.tables().directory.by_name(name).map(|account| account.id);
        account.ok_or_else(|| AccountCommandError::NoAccount { name: name.to_owned(), data: self.data.clone() })
    }

    /// Makes a change, and waits until it is on the disk.
    fn change(&mut self, change: Change) -> Result<(), AccountCommandError> {
        match self.accounts.submit(change, (), self.now) {
            Err(SubmitError::Unchanged) => return Ok(()),
            other => other?,
        }
        let mut events = Vec::new();
        self.accounts.write(self.now, &mut events);
        while let Some(batch) = self.accounts.next_sync(self.now) {
            self.accounts.synced(batch.run(), self.now, &mut events);
            self.accounts.write(self.now, &mut events);
        }
        match events.pop() {
            Some(AccountEvent::Settled { .. }) => Ok(()),
            Some(AccountEvent::Failed { why, .. }) => Err(SubmitError::Storage(why).into()),
            None => unreachable!("what was submitted is settled or failed when nothing is left to sync"),
        }
    }

    fn hash(password: &str) -> Result<PasswordHash, AccountCommandError> {
        Ok(PasswordHash::new(passwords::hash(password, random()?)))
    }
}

impl Keeper for Local {
    fn add(&mut self, name: &str, role: Role, password: &str) -> Result<(), AccountCommandError> {
        let name = names::user(name).map_err(|why| AccountCommandError::Invalid(why.to_owned()))?;
        self.change(Change::added(&name, role, Self::hash(password)?, self.now.unix_ms))
    }

    fn set_password(&mut self, name: &str, password: &str) -> Result<(), AccountCommandError> {
        let account = self.find(name)?;
        self.change(Change::PasswordSet { account, password: Self::hash(password)?, keep: None })
    }

    fn set_role(&mut self, name: &str, role: Role) -> Result<(), AccountCommandError> {
        let account = self.find(name)?;
        self.change(Change::RoleSet { account, role })
    }

    fn remove(&mut self, name: &str) -> Result<(), AccountCommandError> {
        let account = self.find(name)?;
        self.change(Change::Removed { account })
    }

    fn accounts(&mut self) -> Result<Vec<ListedAccount>, AccountCommandError> {
        let listed = |account: &Account| ListedAccount {
            user: account.name.as_str().to_owned(),
            role: account.role,
            created: account.created_ms,
        };
        Ok(self.accounts.tables().directory.iter().map(listed).collect())
    }

    fn bans(&mut self) -> Result<Vec<ListedBan>, AccountCommandError> {
        let bans = self.accounts.tables().bans.iter(self.now);
        Ok(bans
            .map(|ban| ListedBan {
                what: ban.target.to_string(),
                until: ban.until_ms,
                reason: ban.reason.clone(),
                by: ban.by.clone(),
            })
            .collect())
    }

    fn unban(&mut self, what: &str) -> Result<(), AccountCommandError> {
        self.change(Change::Unbanned { target: BanTarget::parse(what) })
    }

    fn finish(&mut self) -> Result<(), AccountCommandError> {
        Ok(self.accounts.shutdown(self.now)?)
    }
}
