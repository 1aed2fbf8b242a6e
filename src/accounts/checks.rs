//! What may be changed, given what is and what waits for the disk.
//!
//! Owns: the rules. Must never know: the disk, who asks, whether they may.

use super::directory::is_look_alike;
use super::tables::Tables;
use super::types::{Account, AccountId, Ban, BanTarget, Change, Role, SubmitError, TokenId};
use crate::clock::Now;
use crate::{limits, names};

/// The tables as they are, and the changes that are on their way to them.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a, P> {
    pub tables: &'a Tables,
    /// Makes the iterator over the changes that wait, in order.
    pub pending: P,
    pub now: Now,
}

impl<'a, P, I> Judge<'a, P>
where
    P: Fn() -> I,
    I: Iterator<Item = &'a Change>,
{
    /// Whether a change makes sense after those that wait. Fills in what a new token takes the place of.
    ///
    /// # Errors
    /// [`SubmitError`], but `Busy` and `Storage`.
    pub fn check(&self, change: &mut Change) -> Result<(), SubmitError> {
        match change {
            Change::Added { name, .. } => self.added(name),
            Change::PasswordSet { account, .. } | Change::Removed { account } => self.account(*account).map(drop),
            Change::RoleSet { account, role } => changes(self.role(*account)? != *role),
            Change::TokenIssued { account, replaces, .. } => {
                self.account(*account)?;
                let tokens = self.tokens(*account);
                *replaces = tokens.first().copied().filter(|_| tokens.len() >= limits::TOKENS_PER_ACCOUNT_MAX);
                Ok(())
            }
            Change::TokenRevoked { token } => self.token_revoked(*token),
            Change::TokensRevoked { account } => {
                self.account(*account)?;
                changes(!self.tokens(*account).is_empty())
            }
            Change::RoomKept { account, room } => self.room_kept(*account, room),
            Change::RoomDropped { account, room } => changes(self.keeps(self.account(*account)?, room)),
            Change::DirectBegun { account, with } => self.direct_begun(*account, *with),
            Change::Banned { target, until_ms, reason, by } => self.banned(&Ban {
                target: target.clone(),
                until_ms: *until_ms,
                reason: reason.clone(),
                by: by.clone(),
            }),
            Change::Unbanned { target } => match self.ban(target) {
                true => Ok(()),
                false => Err(SubmitError::UnknownBan),
            },
        }
    }

    /// An account that is there and not about to go.
    fn account(&self, id: AccountId) -> Result<&'a Account, SubmitError> {
        let leaves = (self.pending)().any(|change| matches!(change, Change::Removed { account } if *account == id));
        self.tables.directory.get(id).filter(|_| !leaves).ok_or(SubmitError::UnknownAccount)
    }

    fn added(&self, name: &str) -> Result<(), SubmitError> {
        let name = names::user(name).map_err(SubmitError::Invalid)?;
        let directory = &self.tables.directory;
        let adding = (self.pending)().filter_map(|change| match change {
            Change::Added { name, .. } => names::user(name).ok(),
            _ => None,
        });
        let adding: Vec<_> = adding.collect();
        if directory.by_name(name.as_str()).is_some() || adding.iter().any(|other| other.key() == name.key()) {
            return Err(SubmitError::NameTaken);
        }
        let alike = directory.look_alike(&name).map(|account| &account.name);
        if let Some(alike) = alike.or_else(|| adding.iter().find(|other| is_look_alike(other, &name))) {
            return Err(SubmitError::LookAlike(alike.as_str().to_owned()));
        }
        bounded(directory.len() + adding.len(), limits::ACCOUNTS_MAX, "accounts")
    }

    fn role(&self, id: AccountId) -> Result<Role, SubmitError> {
        let set = (self.pending)().filter_map(|change| match change {
            Change::RoleSet { account, role } if *account == id => Some(*role),
            _ => None,
        });
        Ok(set.last().unwrap_or(self.account(id)?.role))
    }

    /// The tokens of an account that will be good, the oldest first.
    fn tokens(&self, owner: AccountId) -> Vec<TokenId> {
        let tokens = &self.tables.tokens;
        let is_good = |&id: &TokenId| tokens.get(id).is_some_and(|token| self.now.unix_ms < token.expires_ms);
        let mut good: Vec<TokenId> = tokens.of(owner).filter(is_good).collect();
        for change in (self.pending)() {
            match change {
                Change::TokenIssued { id, account, replaces, .. } if *account == owner => {
                    good.push(*id);
                    good.retain(|id| Some(*id) != *replaces);
                }
                Change::TokenRevoked { token } => good.retain(|id| id != token),
                Change::PasswordSet { account, keep, .. } if *account == owner => good.retain(|id| Some(*id) == *keep),
                Change::TokensRevoked { account } | Change::Removed { account } if *account == owner => good.clear(),
                _ => {}
            }
        }
        good
    }

    fn token_revoked(&self, token: TokenId) -> Result<(), SubmitError> {
        let issued = || {
            (self.pending)().find_map(|change| match change {
                Change::TokenIssued { id, account, .. } if *id == token => Some(*account),
                _ => None,
            })
        };
        let owner = self.tables.tokens.get(token).map(|token| token.account).or_else(issued);
        let is_good = owner.is_some_and(|owner| self.tokens(owner).contains(&token));
        if is_good { Ok(()) } else { Err(SubmitError::UnknownToken) }
    }

    /// Whether an account will keep a room.
    fn keeps(&self, owner: &Account, name: &str) -> bool {
        let latest = (self.pending)().filter_map(|change| match change {
            Change::RoomKept { account, room } if *account == owner.id && room == name => Some(true),
            Change::RoomDropped { account, room } if *account == owner.id && room == name => Some(false),
            _ => None,
        });
        latest.last().unwrap_or_else(|| owner.rooms.iter().any(|kept| **kept == *name))
    }

    fn room_kept(&self, id: AccountId, room: &str) -> Result<(), SubmitError> {
        let owner = self.account(id)?;
        if !names::is_room(room) {
            return Err(SubmitError::Invalid("A room name has 1 to 64 characters"));
        }
        changes(!self.keeps(owner, room))?;
        // Each that waits changes something, so they can be counted.
        let rooms = (self.pending)().fold(owner.rooms.len(), |rooms, change| match change {
            Change::RoomKept { account, .. } if *account == id => rooms + 1,
            Change::RoomDropped { account, .. } if *account == id => rooms - 1,
            _ => rooms,
        });
        bounded(rooms, limits::ACCOUNT_ROOMS_MAX, "rooms")
    }

    fn direct_begun(&self, one: AccountId, other: AccountId) -> Result<(), SubmitError> {
        let pairs = || {
            (self.pending)().filter_map(|change| match change {
                Change::DirectBegun { account, with } => Some((*account, *with)),
                _ => None,
            })
        };
        let begins = pairs().any(|pair| pair == (one, other) || pair == (other, one));
        let (first, second) = (self.account(one)?, self.account(other)?);
        changes(!begins && !first.peers.contains(&other))?;
        for account in [first, second] {
            let waiting = pairs().filter(|pair| pair.0 == account.id || pair.1 == account.id).count();
            bounded(account.peers.len() + waiting, limits::ACCOUNT_PEERS_MAX, "conversations")?;
        }
        Ok(())
    }

    /// Whether somebody will be banned.
    fn ban(&self, of: &BanTarget) -> bool {
        let latest = (self.pending)().filter_map(|change| match change {
            Change::Banned { target, .. } if target == of => Some(true),
            Change::Unbanned { target } if target == of => Some(false),
            _ => None,
        });
        latest.last().unwrap_or_else(|| self.tables.bans.get(of, self.now).is_some())
    }

    fn banned(&self, ban: &Ban) -> Result<(), SubmitError> {
        let name_bytes = if let BanTarget::Name(name) = &ban.target { name.len() } else { 0 };
        if [name_bytes, ban.reason.len(), ban.by.len()].iter().any(|&bytes| bytes > limits::BAN_REASON_BYTES_MAX) {
            return Err(SubmitError::Invalid("A ban's name and reason have at most 1,024 bytes"));
        }
        if ban.until_ms.is_some_and(|until_ms| until_ms <= self.now.unix_ms) {
            return Err(SubmitError::Invalid("A ban ends in the future"));
        }
        let waiting = (self.pending)().filter(|change| matches!(change, Change::Banned { .. })).count();
        let count = self.tables.bans.len() + waiting;
        if self.ban(&ban.target) { Ok(()) } else { bounded(count, limits::BANS_MAX, "bans") }
    }
}

fn changes(it_does: bool) -> Result<(), SubmitError> {
    if it_does { Ok(()) } else { Err(SubmitError::Unchanged) }
}

fn bounded(count: usize, max: usize, what: &'static str) -> Result<(), SubmitError> {
    if count < max { Ok(()) } else { Err(SubmitError::TooMany(what)) }
}
