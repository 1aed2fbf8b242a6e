//! Names of users and rooms: which are allowed, and which users' names are the same.
//!
//! Owns: the rules for names. Must never know: who has which name.

use std::borrow::Cow;

use caseless::Caseless;
use smol_str::SmolStr;
use unicode_normalization::UnicodeNormalization;

use crate::{limits, protocol::SYSTEM_USER};

/// A valid user name, as its user wrote it. Up to 23 bytes lie inline; a clone allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(SmolStr);

impl UserName {
    /// What is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is compared: see [`fold`].
    #[must_use]
    pub fn key(&self) -> Cow<'_, str> {
        fold(&self.0)
    }
}

/// Checks a user name. The error is a sentence for the person who chose it.
///
/// # Errors
/// The name is empty or too long, has control or direction characters, spaces at an end, or is reserved.
pub fn user(name: &str) -> Result<UserName, &'static str> {
    let count = name.chars().count();
    if count == 0 || count > limits::USER_NAME_CHARS_MAX {
        return Err("A name has 1 to 32 characters");
    }
    if name.chars().any(is_unprintable) {
        return Err("A name has no control characters");
    }
    if name.starts_with(is_space_like) || name.ends_with(is_space_like) {
        return Err("A name does not start or end with a space");
    }
    if fold(name) == SYSTEM_USER {
        return Err("This name is reserved");
    }
    Ok(UserName(name.into()))
}

/// The form in which user names are compared: Unicode's compatibility caseless match (D146 of chapter 3.13).
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        return name.nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect::<String>().into();
    }
    // ASCII has no compatibility forms, and folds to lower case.
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

/// Checks a room name: 1 to 64 characters of any script, none of them a control character.
#[must_use]
pub fn is_room(name: &str) -> bool {
    let count = name.chars().take(limits::ROOM_NAME_CHARS_MAX + 1).count();
    (1..=limits::ROOM_NAME_CHARS_MAX).contains(&count) && !name.chars().any(char::is_control)
}

/// Control characters, and the invisible ones that reorder or hide text (UAX #9, Unicode TR36).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{00AD}')
}

/// White space, and the letters that are drawn as nothing.
fn is_space_like(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' | '\u{2800}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_by_case_or_width_are_the_same_name() {
        let key = |name: &str| fold(name).into_owned();
        assert_eq!(key("Alice"), key("ALICE"));
        assert_eq!(key("alice"), key("ａｌｉｃｅ"));
        assert_eq!(key("straße"), key("STRASSE"));
        assert_eq!(key("e\u{301}va"), key("Éva"));
        assert_ne!(key("alice"), key("alicé"));
        for byte in 0..128_u8 {
            let text = char::from(byte).to_string();
            let whole: String = text.nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect();
            assert_eq!(key(&text), whole, "the short cut for ASCII");
        }
    }

    #[test]
    fn bad_user_names_are_refused() {
        let long = "x".repeat(33);
        for name in
            ["", &long, " a", "a ", "a\u{a0}", "a\nb", "a\u{202e}b", "a\u{200b}", "System", "ＳＹＳＴＥＭ", "\u{3164}"]
        {
            assert!(user(name).is_err(), "{name:?}");
        }
        for name in ["a", "Ann Lee", "名前", &"é".repeat(32), "user_00ff00ff"] {
            assert!(user(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn rooms_may_be_any_script_but_not_control_characters() {
        for name in ["general", "../../etc", "über-raum", "部屋", "a b", &"字".repeat(64)] {
            assert!(is_room(name), "{name:?}");
        }
        for name in ["", "a\0b", "a\u{7f}", "line\nbreak", &"x".repeat(65)] {
            assert!(!is_room(name), "{name:?}");
        }
    }
}
