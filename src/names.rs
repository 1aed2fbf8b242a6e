//! Names of users and rooms: which are allowed, and which users' names are the same.
//!
//! Owns: the rules for names. Must never know: who has which name.
//!
//! Two names may be the *same* (equal after [`fold`]) or *look alike* (equal after [`skeleton`], in different scripts). Both
//! keep a name from being taken; the second is what keeps "аlice" with a Cyrillic letter from being Alice.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::borrow::Cow;

use caseless::Caseless;
use smol_str::SmolStr;
use unicode_normalization::UnicodeNormalization;
use unicode_security::{MixedScript, confusable_detection};

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

    /// What it looks like: see [`skeleton`].
    #[must_use]
    pub fn skeleton(&self) -> Cow<'_, str> {
        skeleton(&self.0)
    }
}

/// Checks a user name. The error is a sentence for the person who chose it.
///
/// # Errors
/// The name is empty, too long or invisible, has control or direction characters, spaces at an end, or is reserved.
pub fn user(name: &str) -> Result<UserName, &'static str> {
    let count = name.chars().count();
    if count == 0 || count > limits::USER_NAME_CHARS_MAX {
        return Err("A name has 1 to 32 characters");
    }
    if name.chars().any(is_unprintable) {
        return Err("A name has no control characters");
    }
    // What only chooses between drawings must not stand in for a character, nor hide a space.
    let visible = || name.chars().filter(|&c| !is_variation_selector(c));
    let (Some(first), Some(last)) = (visible().next(), visible().next_back()) else {
        return Err("A name has something to see");
    };
    if is_space_like(first) || is_space_like(last) {
        return Err("A name does not start or end with a space");
    }
    if visible().zip(visible().skip(1)).any(|(a, b)| is_space_like(a) && is_space_like(b)) {
        return Err("A name has no two spaces in a row");
    }
    let looks_like_system = || skeleton(name) == skeleton(SYSTEM_USER) && is_spoof(name, SYSTEM_USER);
    if fold(name) == SYSTEM_USER || looks_like_system() {
        return Err("This name is reserved");
    }
    Ok(UserName(name.into()))
}

/// The form in which user names are compared: Unicode's compatibility caseless match (D146 of chapter 3.13), without the
/// selectors that only choose between drawings of one character.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        let visible = name.chars().filter(|&c| !is_variation_selector(c));
        return visible.nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect::<String>().into();
    }
    // ASCII has no compatibility forms, and folds to lower case.
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

/// What a name looks like: the same for all names that can be taken for each other (UTS #39, section 4). Names that are
/// the same by [`fold`] have the same skeleton.
#[must_use]
pub fn skeleton(name: &str) -> Cow<'_, str> {
    let folded = fold(name);
    // Of what is left of ASCII, these are drawn like others; `m` is drawn like `rn`.
    let is_plain = |byte: u8| byte.is_ascii() && !matches!(byte, b'0' | b'1' | b'm' | b'|' | b'"' | b'`' | b'%');
    if folded.bytes().all(is_plain) {
        return folded;
    }
    confusable_detection::skeleton(&folded).collect::<String>().into()
}

/// Whether two names of the same [`skeleton`] are so because their letters come from different scripts. Within one script
/// people tell letters apart as well as they can: "bob1" is not taken for "bobl" there.
#[must_use]
pub fn is_spoof(name: &str, other: &str) -> bool {
    let mut scripts = name.resolve_script_set();
    scripts.intersect_with(other.resolve_script_set());
    scripts.is_empty()
}

/// Checks a room name: 1 to 64 characters of any script, none of them a control character.
#[must_use]
pub fn is_room(name: &str) -> bool {
    let count = name.chars().take(limits::ROOM_NAME_CHARS_MAX + 1).count();
    (1..=limits::ROOM_NAME_CHARS_MAX).contains(&count) && !name.chars().any(char::is_control)
}

/// Control characters, and the invisible ones that reorder or hide text (UAX #9, UTR #36, the default-ignorable code points
/// of UAX #44).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E00FF}'
            | '\u{E01F0}'..='\u{E0FFF}')
}

/// Choose between drawings of the character before them, as for emoji.
fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
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
    fn look_alikes_of_other_scripts_have_one_skeleton_and_are_spoofs() {
        for (name, other) in [
            ("alice", "\u{430}lice"),
            ("paypal", "\u{440}\u{430}\u{443}\u{440}\u{430}l"),
            ("oca", "\u{43e}\u{441}\u{430}"),
            ("admin", "adm\u{456}n"),
            ("scope", "\u{455}\u{441}\u{43e}\u{440}\u{435}"),
        ] {
            assert_eq!(skeleton(name), skeleton(other), "{name} {other}");
            assert_ne!(fold(name), fold(other));
            assert!(is_spoof(name, other), "{name} {other}");
        }
        for (name, other) in [("bob1", "bobl"), ("modern", "rnodern"), ("user_0", "user_O")] {
            assert!(!is_spoof(name, other), "{name} {other}");
        }
        for (name, other) in [("alice", "alike"), ("Иван", "Ivan"), ("名前", "名"), ("ana", "ána")] {
            assert_ne!(skeleton(name), skeleton(other), "{name} {other}");
        }
    }

    #[test]
    fn names_that_are_the_same_have_one_skeleton() {
        for (name, same) in
            [("Alice", "ＡＬＩＣＥ"), ("e\u{301}va", "ÉVA"), ("straße", "STRASSE"), ("❤", "❤\u{fe0f}"), ("M10", "m10")]
        {
            assert_eq!((fold(name), skeleton(name)), (fold(same), skeleton(same)), "{name}");
        }
        for byte in 0..128_u8 {
            let text = char::from(byte).to_string();
            let whole: String = confusable_detection::skeleton(&fold(&text)).collect();
            assert_eq!(skeleton(&text), whole, "the short cut for ASCII");
        }
    }

    #[test]
    fn bad_user_names_are_refused() {
        let long = "x".repeat(33);
        for name in [
            "",
            &long,
            " a",
            "a ",
            "a\u{a0}",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}",
            "System",
            "ＳＹＳＴＥＭ",
            "\u{3164}",
            "a  b",
            "a\u{2066}b",
            "a\u{e0041}",
            "a\u{34f}b",
            "system\u{fe0f}",
            "\u{455}ystem",
            "syst\u{435}m",
            "a \u{2003}b",
            "\u{fe0f}",
            "\u{e0100}",
            "\u{e01f0}",
            "a \u{fe0f}",
            "\u{fe0f} a",
            "a \u{fe0f} b",
        ] {
            assert!(user(name).is_err(), "{name:?}");
        }
        for name in ["a", "Ann Lee", "名前", &"é".repeat(32), "user_00ff00ff", "\u{2764}\u{fe0f}"] {
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
