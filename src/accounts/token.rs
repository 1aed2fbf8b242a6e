//! Login tokens: what a client holds, and what is kept of it.
//!
//! Owns: their text and their hash. Must never know: whose they are. The text shows in no debug output.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Random bytes in a token.
pub const TOKEN_BYTES: usize = 32;
/// What tokens begin with, so that people and scanners for leaked secrets know one when they see it.
pub const TOKEN_PREFIX: &str = "rl_";

/// A token as its owner gets it, once.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Makes one of random bytes.
    #[must_use]
    pub fn new(random: [u8; TOKEN_BYTES]) -> Self {
        Self(TOKEN_PREFIX.to_owned() + &hex(&random))
    }

    /// The text to give away.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// SHA-256 of a token's text. A token is random throughout, so no slower hash and no salt is needed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of what a client says is its token; `None` if it is not made like one.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(TOKEN_PREFIX)?;
        unhex(digits).map(|_| Self(Sha256::digest(text.as_bytes()).into()))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text).map(Self).ok_or("a hash is 64 lowercase hex digits")
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// 32 bytes from 64 lowercase hex digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_never_shown() {
        let token = Token::new(std::array::from_fn(|n| n as u8 * 8));
        assert_eq!(token.reveal(), "rl_0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8");
        assert_eq!(TokenHash::of(token.reveal()), Some(token.hash()));
        let stored = String::from(token.hash());
        assert_eq!(TokenHash::try_from(stored.clone()), Ok(token.hash()));
        for shown in [format!("{token:?}"), format!("{:?}", token.hash())] {
            assert!(!shown.contains("0008") && !shown.contains(&stored[..8]), "{shown}");
        }
    }

    #[test]
    fn what_is_not_made_like_a_token_is_none() {
        let good = Token::new([0xab; 32]).reveal().to_owned();
        for bad in ["", "rl_", &good[3..], &good[..66], &format!("{good}0"), &good.to_uppercase(), "rl_é"] {
            assert_eq!(TokenHash::of(bad), None, "{bad}");
        }
        assert_ne!(TokenHash::of(&good.replace("ab", "ac")), TokenHash::of(&good));
    }
}
