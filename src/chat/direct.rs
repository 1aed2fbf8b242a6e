//! Direct conversations: rooms of two accounts, which nobody else can name.
//!
//! Owns: the names of such rooms. Must never know: what is said there.

use crate::accounts::AccountId;

const PREFIX: &str = "@dm:";
/// Stands behind the names of all direct conversations, and before those of rooms that come after them.
pub const LAST: &str = "@dm;";

/// The name of the room of two accounts, whichever comes first; of one's own if both are one.
#[must_use]
pub fn room(one: AccountId, other: AccountId) -> String {
    let (low, high) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    format!("{PREFIX}{:x}-{:x}", low.0, high.0)
}

/// The two accounts whose room this name is; `None` for all other rooms.
#[must_use]
pub fn pair(name: &str) -> Option<(AccountId, AccountId)> {
    let (low, high) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let id = |digits: &str| u32::from_str_radix(digits, 16).ok().map(AccountId);
    let pair = (id(low)?, id(high)?);
    // One name for one room: not with a sign, zeros in front, capitals, or the other way round.
    (room(pair.0, pair.1) == name).then_some(pair)
}

/// Whether a name is that of a direct conversation, or tries to look like one. Such rooms are not listed.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_one_room_and_a_room_one_pair() {
        let (a, b) = (AccountId(3), AccountId(31));
        assert_eq!((room(a, b), room(b, a)), ("@dm:3-1f".to_owned(), "@dm:3-1f".to_owned()));
        assert_eq!(pair("@dm:3-1f"), Some((a, b)));
        assert_eq!(pair(&room(a, a)), Some((a, a)));
        for name in [
            "@dm:1f-3",
            "@dm:03-1f",
            "@dm:3-1F",
            "@dm:+3-1f",
            "@dm:3",
            "@dm:-",
            "@dm:3-1f ",
            "dm:3-1f",
            "@dm:3-1ffffffff",
        ] {
            assert_eq!(pair(name), None, "{name}");
        }
        assert!(is_reserved("@dm:1f-3") && !is_reserved("@dmitri"));
        assert!(*room(AccountId(u32::MAX), AccountId(u32::MAX)) < *LAST && *LAST < *"@dma" && !is_reserved(LAST));
    }
}
