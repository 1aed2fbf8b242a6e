//! Everything that is known of accounts, in memory, and how a change changes it.
//!
//! Owns: the tables and the next numbers. Must never know: the disk, or who waits for a change. `apply` takes whatever
//! comes: what makes no sense (any more) changes nothing, so a damaged ledger is read as far as it goes.

use super::bans::Bans;
use super::directory::Directory;
use super::tokens::{TokenInfo, Tokens};
use super::types::{Account, AccountId, Ban, Change, TokenId};
use crate::clock::Now;
use crate::{limits, names};

/// Accounts, tokens, bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Who has an account.
    pub directory: Directory,
    /// What they come in with.
    pub tokens: Tokens,
    /// Who is kept out.
    pub bans: Bans,
    /// The last numbers that were given.
    pub(super) last: Numbers,
}

/// The last account's and the last token's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub account: AccountId,
    pub token: TokenId,
}

impl Tables {
    /// Does what the change says. Gives the tokens that ended by it.
    pub(super) fn apply(&mut self, change: &Change) -> Vec<TokenId> {
        match change {
            Change::Added { id, name, created_ms, role, password } => {
                self.last.account = self.last.account.max(*id);
                match names::user(name) {
                    Ok(name) => {
                        let (id, created_ms, role, password) = (*id, *created_ms, *role, password.clone());
                        let (rooms, peers) = (Vec::new(), Vec::new());
                        let account = Account { id, name, created_ms, role, password, rooms, peers };
                        self.directory.insert(account);
                    }
                    Err(error) => ::log::error!("account {id} has a name that is not allowed: {error}"),
                }
            }
            Change::PasswordSet { account, password, keep } => {
                if let Some(found) = self.directory.get_mut(*account) {
                    found.password = password.clone();
                    return self.tokens.remove_of(*account, *keep);
                }
            }
            Change::RoleSet { account, role } => {
                if let Some(found) = self.directory.get_mut(*account) {
                    found.role = *role;
                }
            }
            Change::Removed { account } => {
                self.directory.remove(*account);
                return self.tokens.remove_of(*account, None);
            }
            Change::TokensRevoked { account } => return self.tokens.remove_of(*account, None),
            Change::TokenRevoked { token } => return self.end(Some(*token)),
            Change::TokenIssued { id, account, hash, expires_ms, replaces } => {
                self.last.token = self.last.token.max(*id);
                if self.directory.get(*account).is_some() {
                    let (account, expires_ms, hash) = (*account, *expires_ms, *hash);
                    self.tokens.insert(*id, TokenInfo { account, expires_ms, hash });
                }
                return self.end(*replaces);
            }
            Change::RoomKept { account, room } => self.keep_room(*account, room),
            Change::RoomDropped { account, room } => {
                if let Some(found) = self.directory.get_mut(*account) {
                    found.rooms.retain(|kept| **kept != **room);
                }
            }
            Change::DirectBegun { account, with } => self.directory.join(*account, *with),
            Change::Banned { target, until_ms, reason, by } => {
                let (target, reason, by) = (target.clone(), reason.clone(), by.clone());
                self.bans.insert(Ban { target, until_ms: *until_ms, reason, by });
            }
            Change::Unbanned { target } => self.bans.remove(target),
        }
        Vec::new()
    }

    /// Ends what is over; gives the tokens among it.
    pub(super) fn expire(&mut self, now: Now) -> Vec<TokenId> {
        self.bans.expire(now);
        self.tokens.expire(now)
    }

    /// Changes that lead from nothing to these tables, but for the last numbers.
    pub(super) fn snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for Account { id, name, created_ms, role, password, rooms, .. } in self.directory.iter() {
            let (id, name, created_ms, role) = (*id, name.as_str().to_owned(), *created_ms, *role);
            changes.push(Change::Added { id, name, created_ms, role, password: password.clone() });
            changes.extend(rooms.iter().map(|room| Change::RoomKept { account: id, room: room.to_string() }));
        }
        for Account { id, peers, .. } in self.directory.iter() {
            let once = peers.iter().filter(|peer| *id <= **peer);
            changes.extend(once.map(|&with| Change::DirectBegun { account: *id, with }));
        }
        let tokens = self.tokens.iter().map(|(id, token)| {
            let TokenInfo { account, expires_ms, hash } = *token;
            Change::TokenIssued { id, account, hash, expires_ms, replaces: None }
        });
        changes.extend(tokens);
        let bans = self.bans.all().cloned().map(|Ban { target, until_ms, reason, by }| Change::Banned {
            target,
            until_ms,
            reason,
            by,
        });
        changes.extend(bans);
        changes
    }

    fn end(&mut self, token: Option<TokenId>) -> Vec<TokenId> {
        token.filter(|&token| self.tokens.remove(token)).into_iter().collect()
    }

    fn keep_room(&mut self, account: AccountId, room: &str) {
        let found = self.directory.get_mut(account).filter(|found| found.rooms.len() < limits::ACCOUNT_ROOMS_MAX);
        let Some(Account { rooms, .. }) = found else { return };
        if let Err(at) = rooms.binary_search_by(|kept| (**kept).cmp(room)) {
            rooms.insert(at, room.into());
        }
    }
}
