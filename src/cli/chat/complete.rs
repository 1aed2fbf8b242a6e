//! What Tab makes of the word before the cursor.
//!
//! Owns: where commands, rooms and names are expected. Must never know: keys, the screen.

use super::typed::COMMANDS;

/// What there is to complete.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub rooms: Vec<String>,
    /// Of the room one is in, without oneself.
    pub members: Vec<String>,
}

/// Where the word at the end of `head` begins, and what it may become.
pub(super) fn complete(words: &Words, head: &str) -> (usize, Vec<String>) {
    let start =
        head.rfind(char::is_whitespace).map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
    let word = &head[start..];
    let begins = |name: &str, word: &str| name.to_lowercase().starts_with(&word.to_lowercase());
    let command = head[..start].trim();
    if start == 0 && word.starts_with('/') {
        let names =
            COMMANDS.iter().map(|(name, words, _)| format!("/{name}{}", if words.is_empty() { "" } else { " " }));
        return (start, names.filter(|name| name.starts_with(word)).collect());
    }
    if matches!(command, "/join" | "/leave" | "/who") {
        let word = word.trim_start_matches('#');
        return (start, words.rooms.iter().filter(|room| begins(room, word)).cloned().collect());
    }
    let (at, word) = word.strip_prefix('@').map_or(("", word), |word| ("@", word));
    if word.is_empty() {
        return (start, Vec::new());
    }
    let end = if start == 0 && at.is_empty() { ": " } else { " " };
    let named = |name: &String| match command {
        "/msg" if name.contains(' ') => format!("\"{name}\" "),
        _ => format!("{at}{name}{end}"),
    };
    (start, words.members.iter().filter(|name| begins(name, word)).map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_commands_rooms_and_names() {
        let words = Words {
            rooms: vec!["general".into(), "games".into(), "ops".into()],
            members: vec!["Ada".into(), "bob".into(), "Ann Lee".into()],
        };
        for (head, start, found) in [
            ("/jo", 0, &["/join "][..]),
            ("/h", 0, &["/history ", "/help"]),
            ("/join g", 6, &["general", "games"]),
            ("/join #o", 6, &["ops"]),
            ("/msg a", 5, &["Ada ", "\"Ann Lee\" "]),
            ("a", 0, &["Ada: ", "Ann Lee: "]),
            ("ask b", 4, &["bob "]),
            ("ask @b", 4, &["@bob "]),
            ("@b", 0, &["@bob "]),
            ("é b", 3, &["bob "]),
            ("ask ", 4, &[]),
            ("", 0, &[]),
            ("xyz", 0, &[]),
        ] {
            let found = found.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            assert_eq!(complete(&words, head), (start, found), "{head:?}");
        }
    }
}
