//! A line that is edited at a terminal while other lines come in.
//!
//! Owns: keys, the text and its cursor, history, completion, and what of it is drawn. Pure: bytes come in, lines go out. Must
//! never know: what lines mean, a file descriptor.
//!
//! Why not a library: the line is drawn below what others say, which comes at any time. rustyline's external printer loses
//! all but the first character of what is pasted until the next key (its issue 976), and others bring a terminal layer of
//! their own. The line takes one row, however long it is, so nothing has to be known of how a terminal wraps.

use std::fmt::Write;
use std::mem;

use unicode_width::UnicodeWidthChar;

/// Lines that are kept to go back to.
const HISTORY_MAX: usize = 500;
/// Longest line, in bytes; no server takes as much. More is not taken in.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest escape sequence, in bytes; what is longer is none.
const SEQUENCE_BYTES_MAX: usize = 32;
/// What a line feed within a line looks like.
const LINE_FEED: char = '↵';

/// What came of some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// A line is done.
    Line(String),
    /// Completions of what stands before the cursor, of which there are several.
    Choices(Vec<String>),
    /// Ctrl-D, or Ctrl-C where there was nothing to take back.
    End,
}

/// Where the word before the cursor begins, and what it may become.
pub(super) type Complete<'a> = &'a dyn Fn(&str) -> (usize, Vec<String>);

/// The line.
///
/// Invariant: `cursor` is on the boundary of a character, and not before one that takes no place of its own.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: String,
    cursor: usize,
    /// What was cut last.
    cut: String,
    history: Vec<String>,
    /// Which line of history is shown, and the line that was begun.
    back: Option<(usize, String)>,
    /// Bytes of a key that is not complete.
    pending: Vec<u8>,
    is_pasting: bool,
}

impl Editor {
    /// Takes in what was typed.
    pub fn feed(&mut self, bytes: &[u8], complete: Complete<'_>) -> Vec<Typed> {
        self.pending.extend_from_slice(bytes);
        let mut typed = Vec::new();
        while let Some(key) = self.next_key() {
            typed.extend(self.press(&key, complete));
        }
        typed
    }

    /// The next whole key: a character, or an escape sequence.
    fn next_key(&mut self) -> Option<String> {
        let count = key_bytes(&self.pending)?;
        let key: Vec<u8> = self.pending.drain(..count).collect();
        Some(String::from_utf8_lossy(&key).into_owned())
    }

    fn press(&mut self, key: &str, complete: Complete<'_>) -> Option<Typed> {
        match key {
            "\x1b[200~" => self.is_pasting = true,
            "\x1b[201~" => self.is_pasting = false,
            "\r" | "\n" if self.is_pasting => self.insert("\n"),
            "\r" | "\n" => return Some(Typed::Line(self.take())),
            "\t" if self.is_pasting => self.insert(" "),
            "\t" => return self.complete(complete),
            "\x04" if self.text.is_empty() => return Some(Typed::End),
            "\x03" if self.text.is_empty() => return Some(Typed::End),
            "\x03" => drop(self.take_back()),
            _ => self.edit(key),
        }
        None
    }

    /// The keys of Emacs, as everywhere in terminals, and those of keyboards.
    fn edit(&mut self, key: &str) {
        match key {
            "\x01" | "\x1b[H" | "\x1b[1~" | "\x1b[7~" | "\x1bOH" => self.cursor = 0,
            "\x05" | "\x1b[F" | "\x1b[4~" | "\x1b[8~" | "\x1bOF" => self.cursor = self.text.len(),
            "\x02" | "\x1b[D" | "\x1bOD" => self.cursor = self.before(),
            "\x06" | "\x1b[C" | "\x1bOC" => self.cursor = self.after(),
            "\x1bb" | "\x1b[1;5D" | "\x1b[1;3D" => self.cursor = self.word_before(),
            "\x1bf" | "\x1b[1;5C" | "\x1b[1;3C" => self.cursor = self.word_after(),
            "\x08" | "\x7f" => self.delete(self.before(), self.cursor),
            "\x04" | "\x1b[3~" => self.delete(self.cursor, self.after()),
            "\x17" | "\x1b\x7f" => self.cut(self.word_before(), self.cursor),
            "\x1bd" => self.cut(self.cursor, self.word_after()),
            "\x0b" => self.cut(self.cursor, self.text.len()),
            "\x15" => self.cut(0, self.cursor),
            "\x19" => self.insert(&self.cut.clone()),
            "\x10" | "\x1b[A" | "\x1bOA" => self.go_back(),
            "\x0e" | "\x1b[B" | "\x1bOB" => self.go_forth(),
            text if !text.starts_with(char::is_control) => self.insert(text),
            _ => {}
        }
    }

    fn take(&mut self) -> String {
        let line = self.take_back();
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            self.history.push(line.clone());
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
        line
    }

    /// Empties the line, as if it had not been typed.
    fn take_back(&mut self) -> String {
        (self.cursor, self.back) = (0, None);
        mem::take(&mut self.text)
    }

    fn insert(&mut self, text: &str) {
        if self.text.len() + text.len() <= LINE_BYTES_MAX {
            self.text.insert_str(self.cursor, text);
            self.cursor += text.len();
        }
    }

    fn delete(&mut self, from: usize, to: usize) {
        self.text.drain(from..to);
        self.cursor = from;
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.cut = self.text[from..to].to_owned();
        self.delete(from, to);
    }

    fn before(&self) -> usize {
        let mut head = self.text[..self.cursor].char_indices().rev();
        head.find(|(_, c)| width(*c) > 0).map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        let mut tail = self.text[self.cursor..].char_indices().skip(1);
        tail.find(|(_, c)| width(*c) > 0).map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    fn word_before(&self) -> usize {
        let head = self.text[..self.cursor].trim_end();
        head.rfind(char::is_whitespace).map_or(0, |at| at + head[at..].chars().next().map_or(0, char::len_utf8))
    }

    fn word_after(&self) -> usize {
        let tail = &self.text[self.cursor..];
        let blanks = tail.len() - tail.trim_start().len();
        self.cursor + blanks + tail[blanks..].find(char::is_whitespace).unwrap_or(tail.len() - blanks)
    }

    fn go_back(&mut self) {
        let at = self.back.as_ref().map_or(self.history.len(), |(at, _)| *at);
        let Some(at) = at.checked_sub(1) else { return };
        let shown = mem::replace(&mut self.text, self.history[at].clone());
        let begun = self.back.take().map_or(shown, |(_, begun)| begun);
        self.back = Some((at, begun));
        self.cursor = self.text.len();
    }

    fn go_forth(&mut self) {
        let Some((at, begun)) = self.back.take() else { return };
        match self.history.get(at + 1) {
            Some(line) => {
                self.text.clone_from(line);
                self.back = Some((at + 1, begun));
            }
            None => self.text = begun,
        }
        self.cursor = self.text.len();
    }

    fn complete(&mut self, complete: Complete<'_>) -> Option<Typed> {
        let (start, found) = complete(&self.text[..self.cursor]);
        let common = common_prefix(&found)?;
        // A prefix that differs in case only is no progress, but what is typed then is right.
        let progress = common.chars().count() > self.text[start..self.cursor].chars().count() || found.len() == 1;
        if progress {
            self.delete(start, self.cursor);
            self.insert(&common);
            return None;
        }
        Some(Typed::Choices(found))
    }

    /// What stands on the last row: `prompt`, as much of the text as there is room for, and the cursor in its place.
    /// `\r` and "erase to the end" are all it asks of a terminal.
    pub fn draw(&self, prompt: &str, columns: usize) -> String {
        let room = columns.saturating_sub(text_width(prompt) + 1).max(8);
        let mut from = 0;
        while text_width(&self.text[from..self.cursor]) >= room {
            from += self.text[from..].chars().next().map_or(1, char::len_utf8);
        }
        let mut shown = String::new();
        let mut used = 0;
        for c in self.text[from..].chars() {
            used += width(c);
            if used > room {
                break;
            }
            shown.push(if c == '\n' { LINE_FEED } else { c });
        }
        let mut row = format!("\r\x1b[K{prompt}{shown}");
        let at = text_width(prompt) + text_width(&self.text[from..self.cursor]);
        let _ = write!(row, "\r");
        if at > 0 {
            let _ = write!(row, "\x1b[{at}C");
        }
        row
    }
}

/// How many bytes the key at the start of `bytes` has; `None` if it is not complete.
fn key_bytes(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        b'\x1b' => escape_bytes(bytes),
        first => {
            let count = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            let is_whole = bytes.len() >= count;
            let is_broken = bytes[1..bytes.len().min(count)].iter().any(|byte| byte & 0xc0 != 0x80);
            if is_broken { Some(1) } else { is_whole.then_some(count) }
        }
    }
}

/// An escape sequence: ESC and a key, SS3 and a key, or CSI with parameters (ECMA-48, 5.4).
fn escape_bytes(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'[' => {
            let end = bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte));
            end.map(|at| at + 3).or_else(|| (bytes.len() >= SEQUENCE_BYTES_MAX).then_some(1))
        }
        b'O' => (bytes.len() >= 3).then_some(3),
        _ => Some(2),
    }
}

fn width(c: char) -> usize {
    if c == '\n' { 1 } else { c.width().unwrap_or(0) }
}

fn text_width(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// What all of them begin with, without regard to case, spelled as the first; `None` of none.
fn common_prefix(found: &[String]) -> Option<String> {
    let (first, rest) = found.split_first()?;
    let same = |at: usize, c: char| {
        rest.iter().all(|other| other.chars().nth(at).is_some_and(|o| o.to_lowercase().eq(c.to_lowercase())))
    };
    Some(first.chars().enumerate().take_while(|(at, c)| same(*at, *c)).map(|(_, c)| c).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nothing(_: &str) -> (usize, Vec<String>) {
        (0, Vec::new())
    }

    fn names(head: &str) -> (usize, Vec<String>) {
        let start = head.rfind(' ').map_or(0, |at| at + 1);
        let all = ["Anna ", "ann-lee ", "bob "];
        (
            start,
            all.iter()
                .filter(|name| name.to_lowercase().starts_with(&head[start..].to_lowercase()))
                .map(|name| (*name).into())
                .collect(),
        )
    }

    /// The line and the place of the cursor after these keys.
    fn after(keys: &str) -> String {
        let mut editor = Editor::default();
        editor.feed(keys.as_bytes(), &names);
        format!("{}|{}", &editor.text[..editor.cursor], &editor.text[editor.cursor..])
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, line) in [
            ("hello", "hello|"),
            ("helo\x1b[Dl", "hell|o"),
            ("ello\x01h", "h|ello"),
            ("abc\x1b[H\x1b[3~", "|bc"),
            ("abc\x7f\x7f", "a|"),
            ("one two\x17", "one |"),
            ("one two\x1bb\x1bb\x1bd", "| two"),
            ("one two\x15\x19\x19", "one twoone two|"),
            ("one two\x01\x0b", "|"),
            ("one\x01\x1bf!", "one!|"),
            ("grüße\x1b[D\x1b[D\x7f", "gr|ße"),
            ("e\u{301}x\x1b[D\x1b[Dy", "y|e\u{301}x"),
            ("e\u{301}\x7f", "|"),
            ("ab\x1b[1;5D\x1b[99;9Zc", "c|ab"),
            ("gone\x03here", "here|"),
            ("\x1b[200~one\rtwo\t3\x1b[201~", "one\ntwo 3|"),
        ] {
            assert_eq!(after(keys), line, "{keys:?}");
        }
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let keys = "grüße 🎉\rund\x1b[Dn\x1b[3~d\r".as_bytes();
        for cut in 0..keys.len() {
            let mut editor = Editor::default();
            let mut typed = editor.feed(&keys[..cut], &nothing);
            typed.extend(editor.feed(&keys[cut..], &nothing));
            let lines = [Typed::Line("grüße 🎉".into()), Typed::Line("unnd".into())];
            assert_eq!(typed, lines, "cut at {cut}");
        }
    }

    #[test]
    fn pasted_lines_are_one_message_and_typed_ones_are_many() {
        let mut editor = Editor::default();
        let typed = editor.feed(b"\x1b[200~a\nb\x1b[201~\rc\rd\r", &nothing);
        let lines = ["a\nb", "c", "d"].map(|line| Typed::Line(line.to_owned()));
        assert_eq!(typed, lines);
    }

    #[test]
    fn history_goes_back_and_forth_and_keeps_what_was_begun() {
        let mut editor = Editor::default();
        editor.feed(b"one\rtwo\rtwo\rthr\x1b[A", &nothing);
        assert_eq!(editor.text, "two");
        editor.feed(b"\x1b[A\x1b[A\x1b[A", &nothing);
        assert_eq!(editor.text, "one");
        editor.feed(b"\x1b[B\x1b[B\x1b[B", &nothing);
        assert_eq!(editor.text, "thr");
    }

    #[test]
    fn tab_completes_what_is_sure_and_offers_the_rest() {
        assert_eq!(after("hi b\t"), "hi bob |");
        assert_eq!(after("an\t"), "Ann|");
        assert_eq!(after("x\t"), "x|");
        let mut editor = Editor::default();
        let typed = editor.feed(b"an\t\t", &names);
        assert_eq!(typed, [Typed::Choices(vec!["Anna ".into(), "ann-lee ".into()])]);
        assert_eq!(editor.text, "Ann");
    }

    #[test]
    fn control_c_takes_the_line_back_and_ends_an_empty_one() {
        let mut editor = Editor::default();
        assert_eq!(editor.feed(b"text\x03", &nothing), []);
        assert_eq!(editor.feed(b"\x03", &nothing), [Typed::End]);
        assert_eq!(editor.feed(b"text\x04", &nothing), []);
        assert_eq!(editor.feed(b"\x15\x04", &nothing), [Typed::End]);
    }

    #[test]
    fn row_is_one_however_long_the_line_is() {
        let mut editor = Editor::default();
        editor.feed("x".repeat(100).as_bytes(), &nothing);
        assert_eq!(editor.draw("> ", 20), format!("\r\x1b[K> {}\r\x1b[18C", "x".repeat(16)));
        editor.feed(b"\x01", &nothing);
        assert_eq!(editor.draw("> ", 20), format!("\r\x1b[K> {}\r\x1b[2C", "x".repeat(17)));
        let mut editor = Editor::default();
        editor.feed("日本\x1b[200~\n\x1b[201~".as_bytes(), &nothing);
        assert_eq!(editor.draw("> ", 20), "\r\x1b[K> 日本↵\r\x1b[7C");
    }

    proptest! {
        #[test]
        fn no_keys_break_it(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20), columns in 0_usize..30) {
            let mut editor = Editor::default();
            for chunk in chunks {
                editor.feed(&chunk, &names);
                prop_assert!(editor.text.is_char_boundary(editor.cursor));
                let row = editor.draw("> ", columns);
                prop_assert!(!row.contains('\n'));
                prop_assert!(editor.pending.len() < SEQUENCE_BYTES_MAX);
            }
        }
    }
}
