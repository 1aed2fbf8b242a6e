//! The vocabulary of accounts: numbers, roles, secrets, changes, events, errors.
//!
//! Owns: plain data, and that secrets show in no debug output. Must never know: files, tables.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::token::TokenHash;
use crate::log::LogError;
use crate::names::{self, UserName};

/// Names an account for ever: from 1, never given to another. Printed as lowercase hex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u32);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Names a token without being it. Later ones are larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub u64);

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Take part.
    #[default]
    Member,
    /// Also look after accounts and bans.
    Admin,
}

impl Role {
    /// Reads what [`Role::as_str`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Member, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// A password's hash as a PHC string. It is no use to anybody, and so shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string as it is.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, to verify against.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Somebody who has registered.
///
/// Invariant: `rooms` and `peers` ascend, without repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its name as its owner wrote it.
    pub name: UserName,
    /// When it was made, in Unix milliseconds.
    pub created_ms: u64,
    /// What it may do.
    pub role: Role,
    /// What its password is checked against.
    pub password: PasswordHash,
    /// Rooms that it keeps, at most `limits::ACCOUNT_ROOMS_MAX`.
    pub rooms: Vec<Box<str>>,
    /// Accounts with which it has a direct conversation, at most `limits::ACCOUNT_PEERS_MAX`. They have it in theirs.
    pub peers: Vec<AccountId>,
}

/// Who is kept out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BanTarget {
    /// A folded name, of a guest or an account.
    Name(Box<str>),
    /// A network address; of IPv6 the first 64 bits, the others being zero.
    Address(IpAddr),
}

impl BanTarget {
    /// A name, in whatever spelling.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self::Name(names::fold(name).into())
    }

    /// The network that an address is in.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// What an operator wrote: an address, an IPv6 network as it is shown (`2001:db8::/64`), or else a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let network = text.strip_suffix("/64").and_then(|text| Some(IpAddr::V6(text.parse().ok()?)));
        network.or_else(|| text.parse().ok()).map_or_else(|| Self::name(text), Self::address)
    }
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "{address}/64"),
        }
    }
}

/// What stands for an address where a bound is kept per address: of IPv6 the network of 64 bits that one customer has at
/// least (RFC 6177), of an IPv4 address in IPv6 clothes the IPv4 address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

/// A ban in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is kept out.
    pub target: BanTarget,
    /// Until when, in Unix milliseconds; `None` for ever.
    pub until_ms: Option<u64>,
    /// Why, for people.
    pub reason: String,
    /// Who said so.
    pub by: String,
}

/// One thing that happens to the tables. Applied in the order in which they were submitted.
///
/// The record on disk is this as JSON, an object a line, told apart by `kind`. A later version may add kinds and fields:
/// unknown ones are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Change {
    /// An account is made.
    Added {
        /// Set by `submit`.
        #[serde(rename = "account")]
        id: AccountId,
        /// As its owner wrote it; valid by `names::user`.
        name: String,
        /// When, in Unix milliseconds.
        #[serde(rename = "created")]
        created_ms: u64,
        /// What it may do.
        role: Role,
        /// What its password is checked against.
        password: PasswordHash,
    },
    /// It has another password; all its tokens but one end.
    PasswordSet {
        /// Whose.
        account: AccountId,
        /// What it is checked against.
        password: PasswordHash,
        /// The token that goes on, that of whoever changed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<TokenId>,
    },
    /// It may do something else.
    RoleSet {
        /// Whose.
        account: AccountId,
        /// What.
        role: Role,
    },
    /// It is gone, with its tokens, and from the peers of others.
    Removed {
        /// Which.
        account: AccountId,
    },
    /// A token is good from now on.
    TokenIssued {
        /// Set by `submit`.
        #[serde(rename = "token")]
        id: TokenId,
        /// For whom.
        account: AccountId,
        /// All that is kept of it.
        hash: TokenHash,
        /// Until when, in Unix milliseconds.
        #[serde(rename = "expires")]
        expires_ms: u64,
        /// The oldest token, which makes room for it where there are too many. Set by `submit`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<TokenId>,
    },
    /// A token is good no more.
    TokenRevoked {
        /// Which.
        token: TokenId,
    },
    /// None of an account's tokens is.
    TokensRevoked {
        /// Whose.
        account: AccountId,
    },
    /// An account keeps a room.
    RoomKept {
        /// Which.
        account: AccountId,
        /// The room's name.
        room: String,
    },
    /// It does no more.
    RoomDropped {
        /// Which.
        account: AccountId,
        /// The room's name.
        room: String,
    },
    /// Two accounts have a direct conversation.
    DirectBegun {
        /// One.
        account: AccountId,
        /// The other.
        with: AccountId,
    },
    /// Somebody is kept out; an earlier ban of the same is replaced.
    Banned {
        /// Who.
        target: BanTarget,
        /// Until when, in Unix milliseconds; for ever if it is not said.
        #[serde(default, rename = "until", skip_serializing_if = "Option::is_none")]
        until_ms: Option<u64>,
        /// Why.
        reason: String,
        /// Who said so.
        by: String,
    },
    /// Nobody is kept out by that any more.
    Unbanned {
        /// Who.
        target: BanTarget,
    },
}

impl Change {
    /// A new account. `created_ms` in Unix milliseconds.
    #[must_use]
    pub fn added(name: &UserName, role: Role, password: PasswordHash, created_ms: u64) -> Self {
        Self::Added { id: AccountId::default(), name: name.as_str().to_owned(), created_ms, role, password }
    }

    /// A new token of an account, good until `expires_ms` in Unix milliseconds.
    #[must_use]
    pub fn token_issued(account: AccountId, hash: TokenHash, expires_ms: u64) -> Self {
        Self::TokenIssued { id: TokenId::default(), account, hash, expires_ms, replaces: None }
    }

    /// The account it is about, if it is about one; of a conversation the one who began it.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Added { id, .. } => Some(*id),
            Self::PasswordSet { account, .. }
            | Self::RoleSet { account, .. }
            | Self::Removed { account }
            | Self::TokenIssued { account, .. }
            | Self::TokensRevoked { account }
            | Self::RoomKept { account, .. }
            | Self::RoomDropped { account, .. }
            | Self::DirectBegun { account, .. } => Some(*account),
            Self::TokenRevoked { .. } | Self::Banned { .. } | Self::Unbanned { .. } => None,
        }
    }
}

/// What became of a submitted change. Those that are settled come in order; one that fails may overtake one before it.
#[derive(Debug, PartialEq, Eq)]
pub enum AccountEvent<T> {
    /// It is on the disk and in the tables.
    Settled {
        /// Came with the change.
        ticket: T,
        /// With the numbers it was given.
        change: Change,
        /// Tokens that were good and are no more: sockets that came in with them are to be closed.
        ended: Vec<TokenId>,
    },
    /// It never happened, and never will.
    Failed {
        /// Came with the change.
        ticket: T,
        /// What did not happen.
        change: Change,
        /// What the log said.
        why: LogError,
    },
}

/// Why a change was not taken. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Choose another name.
    #[error("This name is taken")]
    NameTaken,
    /// Choose another name: this one can be taken for that of somebody else.
    #[error("This name looks like {0:?}")]
    LookAlike(String),
    /// A text breaks the rules, which the sentence tells.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such account, or it is being removed.
    #[error("There is no such account")]
    UnknownAccount,
    /// There is no such token, or it is being revoked.
    #[error("There is no such login")]
    UnknownToken,
    /// There is no such ban.
    #[error("There is no such ban")]
    UnknownBan,
    /// A bound is reached: something else of the kind has to go first.
    #[error("There are too many {0}")]
    TooMany(&'static str),
    /// It is so already: answer as if it had been settled.
    #[error("This is so already")]
    Unchanged,
    /// Too many changes wait for the disk. Try again.
    #[error("Too many changes wait for the disk")]
    Busy,
    /// The ledger does not take it.
    #[error(transparent)]
    Storage(#[from] LogError),
}
