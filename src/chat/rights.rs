//! Who may do what, and what somebody is told who may not.
//!
//! Owns: access to rooms, roles, whether guests may be here. Must never know: how a command is carried out.

use std::borrow::Cow;

use super::{Chat, ClientKey, Recipient, Step, direct, users::Identity};
use crate::{
    accounts::{AccountId, Role, Tables},
    names,
    protocol::{ErrorCode, Event},
};

use super::Effect;

/// Why a command is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub code: ErrorCode,
    pub message: Cow<'static, str>,
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

pub(super) type Outcome<T = ()> = Result<T, Refusal>;

/// Whether this account, or a guest, may read and write a room of this name; and if it is a direct conversation, the two.
pub(super) fn check_room(name: &str, who: Option<AccountId>) -> Outcome<Option<(AccountId, AccountId)>> {
    if !names::is_room(name) {
        let rule = "A room name has 1 to 64 characters, none of them a control character";
        return Err(Refusal::new(ErrorCode::BadRoom, rule));
    }
    if !direct::is_reserved(name) {
        return Ok(None);
    }
    // Whether the conversation exists makes no difference: that, too, is only for the two to know.
    let pair = direct::pair(name).filter(|&(one, other)| who.is_some_and(|who| who == one || who == other));
    pair.map(Some).ok_or_else(|| Refusal::new(ErrorCode::Forbidden, "This conversation is between others"))
}

/// The two of a direct conversation, with this one of them first.
pub(super) fn with_first(pair: (AccountId, AccountId), first: AccountId) -> (AccountId, AccountId) {
    if pair.0 == first { pair } else { (pair.1, pair.0) }
}

impl Chat {
    /// The account that a client is logged in to.
    pub(super) fn account_of(&self, client: ClientKey) -> Option<AccountId> {
        self.users.get(self.clients.get(client).user).account()
    }

    /// Whether an account may read and write a room of this name.
    ///
    /// # Errors
    /// Why not: the code, and a sentence for people.
    pub fn check_room(&self, name: &str, account: AccountId) -> Result<(), (ErrorCode, Cow<'static, str>)> {
        check_room(name, Some(account)).map(|_| ()).map_err(|refusal| (refusal.code, refusal.message))
    }

    /// Only administrators may do this.
    pub(super) fn check_admin(&self, client: ClientKey, accounts: &Tables) -> Outcome {
        let account = self.account_of(client).and_then(|id| accounts.directory.get(id));
        match account.map(|account| account.role) {
            Some(Role::Admin) => Ok(()),
            _ => Err(Refusal::new(ErrorCode::Forbidden, "Only administrators may do this")),
        }
    }

    /// From when on a client's user has had its name, Unix milliseconds: what was written under it before is not its own.
    pub(super) fn own_since_ms(&self, client: ClientKey, accounts: &Tables) -> u64 {
        match self.users.get(self.clients.get(client).user).identity() {
            Identity::Guest { since_ms } => since_ms,
            Identity::Account(id) => accounts.directory.get(id).map_or(u64::MAX, |account| account.created_ms),
        }
    }

    /// Whether a client has yet to log in before it may do anything.
    pub(super) fn must_log_in(&self, client: ClientKey) -> bool {
        !self.settings.guests && self.account_of(client).is_none()
    }

    pub(super) fn refuse(&mut self, to: Recipient, refusal: Refusal, step: &mut Step<'_>) {
        let Refusal { code, message, retry_after_ms } = refusal;
        match to {
            Recipient::Client { client, id } => {
                self.errors[code as usize] += 1;
                let json = Event::Error { code, message: &message, retry_after_ms }.to_vec(id.as_deref());
                step.push(Effect::Send { client, json });
            }
            Recipient::Request(link) => {
                let message = message.into_owned().into_boxed_str();
                step.push(Effect::Deny { link, code, message, retry_after_ms });
            }
        }
    }
}
