//! What is shown, and how it looks as text.
//!
//! Owns: words, colours, times, and that nothing of what others wrote moves the cursor. Must never know: where it is
//! printed, why it is shown.

use std::env;
use std::fmt::Write;

use tz::TimeZone;

/// One thing to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Said(Said),
    /// Who came and went.
    Aside(String),
    /// Of this program, to whoever is at the terminal.
    Info(String),
    /// Something that did not go well.
    Trouble(String),
    /// Who is there.
    Members {
        room: String,
        members: Vec<(String, String)>,
        count: u64,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// As it is called: `#general`, `@bob`.
    pub room: String,
    pub is_private: bool,
    /// Not in the room that is typed into.
    pub is_elsewhere: bool,
    pub user: String,
    pub is_own: bool,
    /// `None` once it is deleted.
    pub content: Option<String>,
    /// The message that this one changes.
    pub change: Option<u64>,
    pub is_edited: bool,
    pub unix_ms: u64,
}

const DIM: &str = "2";
const BAD: &str = "31";
/// Colours of names that can be read on black and on white (of the 256 of xterm).
const TONES: &[u8] = &[26, 28, 31, 64, 94, 97, 125, 130, 133, 166];
/// The width of a time and the space behind it: where further lines of a message begin.
const INDENT: &str = "      ";
const DAY_S: i64 = 24 * 60 * 60;

/// Makes text of lines.
pub(super) struct Style {
    has_colours: bool,
    zone: TimeZone,
    /// The day of the last message, in days of local time since 1970.
    day: Option<i64>,
}

impl Style {
    pub fn new(has_colours: bool) -> Self {
        Self::with_zone(has_colours, local_zone())
    }

    fn with_zone(has_colours: bool, zone: TimeZone) -> Self {
        Self { has_colours, zone, day: None }
    }

    /// The line, or lines, without a line feed at the end.
    pub fn text(&mut self, line: &Line) -> String {
        match line {
            Line::Said(said) => self.said(said),
            Line::Aside(text) | Line::Info(text) => self.paint(DIM, &format!("-- {}", visible(text))),
            Line::Trouble(text) => self.paint(BAD, &format!("!! {}", visible(text))),
            Line::Members { room, members, count } => self.members(room, members, *count),
        }
    }

    fn said(&mut self, said: &Said) -> String {
        let local_s = self.local_s(said.unix_ms);
        let mut text = self.day(local_s);
        let _ = write!(text, "{:02}:{:02} ", local_s.rem_euclid(DAY_S) / 3_600, local_s.rem_euclid(3_600) / 60);
        if said.is_private {
            text += &self.paint("1", &format!("[private {}] ", visible(&said.room)));
        } else if said.is_elsewhere {
            text += &self.paint(DIM, &format!("{} ", visible(&said.room)));
        }
        text += &self.what(said);
        text
    }

    fn what(&self, said: &Said) -> String {
        let user = self.name(&said.user, said.is_own);
        let content = said.content.as_deref().map(|content| visible_lines(content).join(&format!("\n{INDENT}")));
        match (said.change, content) {
            (Some(target), None) => format!("{user} {}", self.paint(DIM, &format!("deleted message {target}"))),
            (Some(target), Some(content)) => {
                format!("{user} {}: {content}", self.paint(DIM, &format!("edited message {target}")))
            }
            (None, None) => format!("{user}  {}", self.paint(DIM, "(deleted)")),
            (None, Some(content)) => {
                let edited = if said.is_edited { self.paint(DIM, " (edited)") } else { String::new() };
                match action(&content) {
                    Some(action) => format!("* {user} {action}{edited}"),
                    None => format!("{user}  {content}{edited}"),
                }
            }
        }
    }

    fn members(&self, room: &str, members: &[(String, String)], count: u64) -> String {
        let name = |(user, status): &(String, String)| {
            let note = if status == "online" { String::new() } else { format!(" ({})", visible(status)) };
            format!("{}{note}", self.name(user, false))
        };
        let names: Vec<String> = members.iter().map(name).collect();
        let more = count.saturating_sub(members.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} {}{more}", self.paint(DIM, &format!("-- {count} in {}:", visible(room))), names.join(", "))
    }

    fn name(&self, user: &str, is_own: bool) -> String {
        let weight = if is_own { "1;" } else { "" };
        self.paint(&format!("{weight}38;5;{}", tone(user)), &visible(user))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line with the date, where a new day begins.
    fn day(&mut self, local_s: i64) -> String {
        let day = local_s.div_euclid(DAY_S);
        if self.day.replace(day) == Some(day) {
            return String::new();
        }
        let (year, month, date) = civil(day);
        format!("{}\n", self.paint(DIM, &format!("-- {year}-{month:02}-{date:02}")))
    }

    fn local_s(&self, unix_ms: u64) -> i64 {
        let unix_s = i64::try_from(unix_ms / 1_000).unwrap_or(0);
        unix_s + self.zone.find_local_time_type(unix_s).map_or(0, |kind| i64::from(kind.ut_offset()))
    }
}

/// As `TZ` says, or the system; UTC where neither can be read.
fn local_zone() -> TimeZone {
    let named = env::var("TZ").ok().filter(|name| !name.is_empty());
    let zone = named.map_or_else(TimeZone::local, |name| TimeZone::from_posix_tz(&name));
    zone.unwrap_or_else(|_| TimeZone::utc())
}

/// Year, month and day of the Gregorian calendar, of days since 1970 (Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// The same for the same name, always (FNV-1a).
fn tone(name: &str) -> u8 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    TONES[(hash % TONES.len() as u64) as usize]
}

/// What somebody does, if the whole message is in italics, as `/me` writes it.
fn action(content: &str) -> Option<&str> {
    let inner = content.strip_prefix('*')?.strip_suffix('*')?;
    let is_plain = !inner.is_empty() && !inner.contains(['*', '\n']) && inner.trim() == inner;
    is_plain.then_some(inner)
}

/// The lines of a text, each fit to be shown.
fn visible_lines(text: &str) -> Vec<String> {
    text.lines().map(visible).collect()
}

/// A text that moves no cursor, rings no bell and turns no direction: without control characters (C0 and C1, and so without
/// escape sequences' first characters) and without those that reorder what is read.
pub(super) fn visible(text: &str) -> String {
    let is_harmless = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
    };
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(is_harmless).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tz::timezone::LocalTimeType;

    use super::*;

    fn style(has_colours: bool) -> Style {
        let local = LocalTimeType::with_ut_offset(2 * 3_600).expect("an offset");
        let zone = TimeZone::fixed(local.ut_offset()).expect("a zone");
        Style { day: Some(19_000), ..Style::with_zone(has_colours, zone) }
    }

    fn said(content: &str) -> Said {
        Said {
            room: "#ops".to_owned(),
            is_private: false,
            is_elsewhere: false,
            user: "ada".to_owned(),
            is_own: false,
            content: Some(content.to_owned()),
            change: None,
            is_edited: false,
            unix_ms: (19_000 * DAY_S as u64 + 9 * 3_600 + 5 * 60) * 1_000,
        }
    }

    fn shown(said: Said) -> String {
        style(false).text(&Line::Said(said))
    }

    #[test]
    fn messages_are_a_line_with_local_time_and_name() {
        assert_eq!(shown(said("hello")), "11:05 ada  hello");
        assert_eq!(shown(said("one\ntwo\n")), "11:05 ada  one\n      two");
        assert_eq!(shown(Said { is_elsewhere: true, ..said("hello") }), "11:05 #ops ada  hello");
        let private = Said { is_private: true, room: "@ada".to_owned(), ..said("psst") };
        assert_eq!(shown(private), "11:05 [private @ada] ada  psst");
        assert_eq!(shown(said("*waves*")), "11:05 * ada waves");
        for not in ["**bold**", "*", "**", "* a *", "*a* and *b*"] {
            assert_eq!(shown(said(not)), format!("11:05 ada  {not}"));
        }
    }

    #[test]
    fn changes_say_what_they_change() {
        assert_eq!(shown(Said { change: Some(7), ..said("better") }), "11:05 ada edited message 7: better");
        assert_eq!(shown(Said { change: Some(7), content: None, ..said("") }), "11:05 ada deleted message 7");
        assert_eq!(shown(Said { content: None, ..said("") }), "11:05 ada  (deleted)");
        assert_eq!(shown(Said { is_edited: true, ..said("better") }), "11:05 ada  better (edited)");
    }

    #[test]
    fn a_new_day_is_told_once() {
        let mut style = Style { day: None, ..style(false) };
        let line = Line::Said(said("x"));
        assert_eq!(style.text(&line), "-- 2022-01-08\n11:05 ada  x");
        assert_eq!(style.text(&line), "11:05 ada  x");
        let late = Line::Said(Said { unix_ms: said("").unix_ms + 14 * 3_600_000, ..said("x") });
        assert_eq!(style.text(&late), "-- 2022-01-09\n01:05 ada  x");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [(0, (1970, 1, 1)), (-1, (1969, 12, 31)), (11_016, (2000, 2, 29)), (20_781, (2026, 11, 24))]
        {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn colours_are_only_where_they_are_wanted_and_are_the_same_for_a_name() {
        let text = style(true).text(&Line::Said(said("hello")));
        assert!(text.contains("\x1b[38;5;") && text.ends_with("\x1b[0m  hello"), "{text:?}");
        assert_eq!(text, style(true).text(&Line::Said(said("hello"))));
    }

    #[test]
    fn members_are_listed_with_what_they_do() {
        let members = vec![("ada".to_owned(), "online".to_owned()), ("bob".to_owned(), "away".to_owned())];
        let line = Line::Members { room: "#ops".to_owned(), members, count: 5 };
        assert_eq!(style(false).text(&line), "-- 5 in #ops: ada, bob (away) and 3 more");
    }

    #[test]
    fn what_others_write_moves_no_cursor() {
        let nasty = "\x1b]0;pwned\x07\x1b[2J\x1b[1;1Hhi\r\x08\u{9b}31m\u{202e}olleh\u{2066}\x7f\0";
        let said = Said { user: nasty.to_owned(), room: nasty.to_owned(), is_elsewhere: true, ..said(nasty) };
        assert_eq!(
            shown(said),
            "11:05 ]0;pwned[2J[1;1Hhi31molleh ]0;pwned[2J[1;1Hhi31molleh  ]0;pwned[2J[1;1Hhi31molleh"
        );
    }

    proptest! {
        #[test]
        fn no_text_holds_a_control_character(text in any::<String>()) {
            let said = Said { user: text.clone(), room: text.clone(), is_private: true, ..said(&text) };
            prop_assert!(shown(said).chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
