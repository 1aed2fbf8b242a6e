//! What a person types: a message, or a command.
//!
//! Owns: the commands' names and words. Must never know: what they do.

/// Commands, as `/help` shows them.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("join", "ROOM", "join a room, or turn to it"),
    ("leave", "[ROOM]", "leave a room"),
    ("msg", "USER TEXT", "to one user, privately"),
    ("who", "[ROOM]", "who is there"),
    ("history", "[N]", "the last N messages, 20 if not said"),
    ("rooms", "", "the rooms you are in, and those of the server"),
    ("nick", "NAME", "another name"),
    ("away", "", "show as away, until you say something"),
    ("me", "TEXT", "what you do"),
    ("help", "", "this"),
    ("quit", "", "leave; Ctrl-D does, too"),
];

/// Messages that `/history` shows when it is not told how many.
const HISTORY: u64 = 20;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    Nothing,
    Say(String),
    Join(String),
    Leave(Option<String>),
    Private {
        to: String,
        content: String,
    },
    Who(Option<String>),
    History(u64),
    Rooms,
    Nick(String),
    Away,
    Help,
    Quit,
    /// It cannot be done, for this reason.
    Wrong(String),
}

/// Reads a line. `//` at the start says a message that begins with a slash.
pub(super) fn read(line: &str) -> Typed {
    let line = line.trim_end();
    if line.trim().is_empty() {
        return Typed::Nothing;
    }
    match line.strip_prefix('/') {
        None => Typed::Say(line.to_owned()),
        Some(rest) if rest.starts_with('/') => Typed::Say(rest.to_owned()),
        Some(rest) => command(rest),
    }
}

fn command(text: &str) -> Typed {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let room = || (!rest.is_empty()).then(|| rest.trim_start_matches('#').to_owned());
    let some = |make: fn(String) -> Typed| if rest.is_empty() { usage(name) } else { make(rest.to_owned()) };
    match name {
        "join" => room().map_or_else(|| usage(name), Typed::Join),
        "leave" => Typed::Leave(room()),
        "msg" => match recipient(rest) {
            Some((to, content)) => Typed::Private { to: to.to_owned(), content: content.to_owned() },
            None => usage(name),
        },
        "who" => Typed::Who(room()),
        "history" if rest.is_empty() => Typed::History(HISTORY),
        "history" => rest.parse().map_or_else(|_| usage(name), Typed::History),
        "rooms" => Typed::Rooms,
        "nick" => some(Typed::Nick),
        "away" => Typed::Away,
        // As the page shows it: in italics.
        "me" => some(|text| Typed::Say(format!("*{text}*"))),
        "help" => Typed::Help,
        "quit" => Typed::Quit,
        _ => unknown(name),
    }
}

/// A user's name, in quotes if it has spaces, and the rest.
fn recipient(text: &str) -> Option<(&str, &str)> {
    let (to, content) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once(char::is_whitespace)?,
    };
    let (to, content) = (to.trim_start_matches('@').trim(), content.trim());
    (!to.is_empty() && !content.is_empty()).then_some((to, content))
}

fn usage(name: &str) -> Typed {
    let words = COMMANDS.iter().find(|(known, ..)| *known == name).map_or("", |(_, words, _)| words);
    Typed::Wrong(format!("Write /{name} {words}"))
}

fn unknown(name: &str) -> Typed {
    let nearest = crate::config::options::nearest(name, COMMANDS.iter().map(|(known, ..)| *known));
    let hint =
        nearest.map_or_else(|| "/help tells what there is".to_owned(), |nearest| format!("did you mean /{nearest}?"));
    Typed::Wrong(format!("No command /{name}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_and_commands() {
        let say = |text: &str| Typed::Say(text.to_owned());
        let private = |to: &str, content: &str| Typed::Private { to: to.to_owned(), content: content.to_owned() };
        for (line, typed) in [
            ("", Typed::Nothing),
            ("  \t", Typed::Nothing),
            ("hello ", say("hello")),
            ("  indented", say("  indented")),
            ("//etc/passwd", say("/etc/passwd")),
            ("/me waves", say("*waves*")),
            ("/join #ops", Typed::Join("ops".into())),
            ("/join two words", Typed::Join("two words".into())),
            ("/leave", Typed::Leave(None)),
            ("/msg @bob lunch?", private("bob", "lunch?")),
            ("/msg \"Ann Lee\" lunch now?", private("Ann Lee", "lunch now?")),
            ("/history", Typed::History(20)),
            ("/history 5", Typed::History(5)),
            ("/nick Ann Lee", Typed::Nick("Ann Lee".into())),
            ("/quit", Typed::Quit),
        ] {
            assert_eq!(read(line), typed, "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told_with_what_to_write() {
        for (line, why) in [
            ("/join", "Write /join ROOM"),
            ("/msg bob", "Write /msg USER TEXT"),
            ("/msg \"bob lunch", "Write /msg USER TEXT"),
            ("/history x", "Write /history [N]"),
            ("/jion ops", "No command /jion; did you mean /join?"),
            ("/xyzzy", "No command /xyzzy; /help tells what there is"),
        ] {
            assert_eq!(read(line), Typed::Wrong(why.to_owned()), "{line:?}");
        }
    }
}
