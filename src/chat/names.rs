//! Names of users and rooms: which are allowed, and which users' names are the same.
//!
//! Owns: the rules for names. Must never know: who has which name.

use std::rc::Rc;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use crate::{limits, protocol::SYSTEM_USER};

/// A valid user name: as written, and in the form in which names are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// As the user wrote it.
    pub shown: Rc<str>,
    /// After NFKC and case folding; equal for names that look alike by case or width.
    pub key: Rc<str>,
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
    let key = fold(name);
    if key == SYSTEM_USER {
        return Err("This name is reserved");
    }
    let shown: Rc<str> = name.into();
    let key = if key == name { Rc::clone(&shown) } else { key.into() };
    Ok(UserName { shown, key })
}

/// The form in which user names are compared: Unicode's compatibility caseless match (D146 of chapter 3.13).
#[must_use]
pub fn fold(name: &str) -> String {
    name.nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect()
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
        let key = |name| user(name).expect("valid").key;
        assert_eq!(key("Alice"), key("ALICE"));
        assert_eq!(key("alice"), key("ａｌｉｃｅ"));
        assert_eq!(key("straße"), key("STRASSE"));
        assert_eq!(key("e\u{301}va"), key("Éva"));
        assert_ne!(key("alice"), key("alicé"));
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
