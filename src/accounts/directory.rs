//! Who has an account: by number, by name, and by what a name looks like.
//!
//! Owns: the accounts in memory and their indexes. Must never know: tokens, bans, the disk.

use std::collections::{BTreeMap, HashMap};

use super::types::{Account, AccountId};
use crate::few::Few;
use crate::names::{self, UserName};

/// All accounts.
///
/// Invariant: each account is in all three under what it is now; peers are mutual, and exist.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    by_id: BTreeMap<AccountId, Account>,
    /// By folded name, so that listings are in its order.
    by_name: BTreeMap<Box<str>, AccountId>,
    by_skeleton: HashMap<Box<str>, Few<AccountId>>,
}

impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        // The indexes follow.
        self.by_id == other.by_id
    }
}

impl Eq for Directory {}

impl Directory {
    /// Who has this name, in whatever spelling.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Account> {
        self.get(*self.by_name.get(&*names::fold(name))?)
    }

    /// The account of a number.
    #[must_use]
    pub fn get(&self, id: AccountId) -> Option<&Account> {
        self.by_id.get(&id)
    }

    /// Somebody for whom a person of this name could be taken, and who has another name.
    #[must_use]
    pub fn look_alike(&self, name: &UserName) -> Option<&Account> {
        let alike = self.by_skeleton.get(&*name.skeleton())?;
        alike.iter().filter_map(|&id| self.get(id)).find(|account| is_look_alike(&account.name, name))
    }

    /// All accounts, by folded name.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.by_name.values().filter_map(|&id| self.get(id))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn get_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.by_id.get_mut(&id)
    }

    /// Adds an account; `false` if its number or name is taken.
    pub(super) fn insert(&mut self, account: Account) -> bool {
        let key: Box<str> = account.name.key().into();
        if self.by_id.contains_key(&account.id) || self.by_name.contains_key(&key) {
            return false;
        }
        self.by_skeleton.entry(account.name.skeleton().into()).or_default().push(account.id);
        self.by_name.insert(key, account.id);
        self.by_id.insert(account.id, account);
        true
    }

    /// Removes an account, also from the peers of others.
    pub(super) fn remove(&mut self, id: AccountId) {
        let Some(account) = self.by_id.remove(&id) else { return };
        self.by_name.remove(&*account.name.key());
        let skeleton = account.name.skeleton();
        if let Some(alike) = self.by_skeleton.get_mut(&*skeleton) {
            if let Some(at) = alike.iter().position(|&other| other == id) {
                alike.swap_remove(at);
            }
            if alike.is_empty() {
                self.by_skeleton.remove(&*skeleton);
            }
        }
        for peer in &account.peers {
            if let Some(peer) = self.by_id.get_mut(peer) {
                peer.peers.retain(|&other| other != id);
            }
        }
    }

    /// Notes that two have a conversation, with each other or one with itself.
    pub(super) fn join(&mut self, one: AccountId, other: AccountId) {
        if self.by_id.contains_key(&one) && self.by_id.contains_key(&other) {
            for (account, peer) in [(one, other), (other, one)] {
                let peers = &mut self.by_id.get_mut(&account).expect("looked up above").peers;
                if let Err(at) = peers.binary_search(&peer) {
                    peers.insert(at, peer);
                }
            }
        }
    }
}

/// Whether two names of different spelling look the same although their letters are from different scripts.
pub(super) fn is_look_alike(one: &UserName, other: &UserName) -> bool {
    one.key() != other.key() && one.skeleton() == other.skeleton() && names::is_spoof(one.as_str(), other.as_str())
}
