//! The tokens that are good.
//!
//! Owns: which token is whose, and until when. Must never know: the tokens themselves; it has their hashes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::token::TokenHash;
use super::types::{AccountId, TokenId};
use crate::clock::Now;

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Whose it is.
    pub account: AccountId,
    /// Until when it is good, in Unix milliseconds.
    pub expires_ms: u64,
    pub(super) hash: TokenHash,
}

/// All tokens, by number, by hash, by owner and by the time of their end.
///
/// Invariant: all four hold the same tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    by_id: BTreeMap<TokenId, TokenInfo>,
    by_hash: HashMap<TokenHash, TokenId>,
    by_account: BTreeSet<(AccountId, TokenId)>,
    by_expiry: BTreeSet<(u64, TokenId)>,
}

impl Tokens {
    /// Whose token this is, if it is good.
    #[must_use]
    pub fn find(&self, text: &str, now: Now) -> Option<(AccountId, TokenId)> {
        let id = *self.by_hash.get(&TokenHash::of(text)?)?;
        let token = self.get(id).filter(|token| now.unix_ms < token.expires_ms)?;
        Some((token.account, id))
    }

    /// A token by its number, even if its time is over and nobody has asked for those that are.
    #[must_use]
    pub fn get(&self, id: TokenId) -> Option<&TokenInfo> {
        self.by_id.get(&id)
    }

    /// The tokens of an account, the oldest first.
    pub fn of(&self, account: AccountId) -> impl Iterator<Item = TokenId> {
        self.by_account.range((account, TokenId(0))..=(account, TokenId(u64::MAX))).map(|&(_, id)| id)
    }

    /// When the next token ends, in Unix milliseconds.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.by_expiry.first().map(|&(expires_ms, _)| expires_ms)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TokenId, &TokenInfo)> {
        self.by_id.iter().map(|(&id, token)| (id, token))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn insert(&mut self, id: TokenId, token: TokenInfo) {
        self.remove(id);
        self.by_hash.insert(token.hash, id);
        self.by_account.insert((token.account, id));
        self.by_expiry.insert((token.expires_ms, id));
        self.by_id.insert(id, token);
        self.check_invariants();
    }

    /// Ends a token; tells whether there was one.
    pub(super) fn remove(&mut self, id: TokenId) -> bool {
        let Some(token) = self.by_id.remove(&id) else { return false };
        self.by_hash.remove(&token.hash);
        self.by_account.remove(&(token.account, id));
        self.by_expiry.remove(&(token.expires_ms, id));
        self.check_invariants();
        true
    }

    /// Ends all tokens of an account but one; gives those that ended.
    pub(super) fn remove_of(&mut self, account: AccountId, keep: Option<TokenId>) -> Vec<TokenId> {
        let ended: Vec<TokenId> = self.of(account).filter(|&id| Some(id) != keep).collect();
        for &id in &ended {
            self.remove(id);
        }
        ended
    }

    /// Ends those whose time is over; gives them, the first to end first.
    pub(super) fn expire(&mut self, now: Now) -> Vec<TokenId> {
        let over = self.by_expiry.range(..(now.unix_ms.saturating_add(1), TokenId(0)));
        let ended: Vec<TokenId> = over.map(|&(_, id)| id).collect();
        for &id in &ended {
            self.remove(id);
        }
        ended
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.by_id.len(), self.by_hash.len());
        debug_assert_eq!(self.by_id.len(), self.by_account.len());
        debug_assert_eq!(self.by_id.len(), self.by_expiry.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::Token;
    use super::*;

    #[test]
    fn a_token_is_good_until_its_time_is_over_or_it_is_ended() {
        let mut tokens = Tokens::default();
        let token = |n: u8| Token::new([n; 32]);
        for (n, account, expires_ms) in [(1, 1, 300), (2, 1, 100), (3, 2, 200)] {
            let (account, hash) = (AccountId(account), token(n).hash());
            tokens.insert(TokenId(u64::from(n)), TokenInfo { account, expires_ms, hash });
        }
        let at = |ms| Now::at(0, ms);
        assert_eq!(tokens.find(token(2).reveal(), at(99)), Some((AccountId(1), TokenId(2))));
        assert_eq!(tokens.find(token(2).reveal(), at(100)), None, "though nobody has swept it away");
        assert_eq!(tokens.find(token(4).reveal(), at(0)), None);
        assert_eq!(tokens.next_expiry_ms(), Some(100));
        assert_eq!(tokens.expire(at(99)), []);
        assert_eq!(tokens.expire(at(200)), [TokenId(2), TokenId(3)]);
        assert_eq!((tokens.next_expiry_ms(), tokens.get(TokenId(3))), (Some(300), None));
        assert_eq!(tokens.remove_of(AccountId(1), Some(TokenId(1))), []);
        assert_eq!(tokens.remove_of(AccountId(1), None), [TokenId(1)]);
        assert_eq!((tokens.next_expiry_ms(), tokens.find(token(1).reveal(), at(0))), (None, None));
    }
}
