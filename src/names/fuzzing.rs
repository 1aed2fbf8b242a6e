//! What a fuzzer calls of names: any text, or two.
//!
//! Owns: the promises about names. Must never know: who has which name.

use super::{fold, is_room, is_spoof, skeleton, user};
use crate::limits;

/// One name or, separated by a line feed, two: comparing forms are stable and can be seen, names that are the same look
/// alike, and looking like another is mutual.
///
/// # Panics
/// If a promise is broken.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (one, two) = text.split_once('\n').unwrap_or((&text, "alice"));
    for name in [one, two] {
        let key = fold(name);
        assert_eq!(fold(&key), key, "{name:?}");
        assert_eq!(skeleton(&key), skeleton(name), "{name:?}");
        if is_room(name) {
            assert!((1..=limits::ROOM_NAME_CHARS_MAX).contains(&name.chars().count()));
        }
        let Ok(good) = user(name) else { continue };
        assert_eq!(good.as_str(), name);
        assert!(is_room(name), "what is good for a person is good for a room: {name:?}");
        assert!(key.chars().any(|c| !c.is_whitespace()), "{name:?} cannot be seen");
        let gaps = |text: &str| text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
        assert!(!gaps(&visible(name)), "{name:?} has spaces that cannot be seen");
    }
    assert_eq!(is_spoof(one, two), is_spoof(two, one), "{one:?} {two:?}");
    if fold(one) == fold(two) {
        assert_eq!(skeleton(one), skeleton(two), "{one:?} {two:?}");
    }
}

/// Without what only chooses between drawings.
fn visible(name: &str) -> String {
    name.chars().filter(|c| !super::is_variation_selector(*c)).collect()
}
