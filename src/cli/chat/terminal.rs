//! The terminal: as it was, and as a line is edited in it.
//!
//! Owns: its modes, and the last row of the screen. Must never know: what is shown, what is typed.

use std::io::{self, Write};

use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetwinsize};

use super::super::modes::Modes;
use super::editor::{Complete, Editor, Typed};

/// Asks the terminal to say where a paste begins and ends, and not to any more.
const PASTE_ON: &str = "\x1b[?2004h";
const PASTE_OFF: &str = "\x1b[?2004l";
/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// A terminal in which a line is edited. Dropped, it is as it was.
pub(super) struct Terminal {
    /// Given back behind what `drop` writes.
    _modes: Modes,
    editor: Editor,
    prompt: String,
}

impl Terminal {
    /// Takes the terminal of stdin and stdout over.
    ///
    /// # Errors
    /// It is none.
    pub fn take() -> io::Result<Self> {
        // Keys come as they are pressed; what is written keeps its line ends.
        let raw = |modes: &mut Termios| {
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
            modes.input_modes.remove(InputModes::ICRNL | InputModes::IXON);
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        };
        let terminal = Self {
            _modes: Modes::change(OptionalActions::Now, raw)?,
            editor: Editor::default(),
            prompt: String::new(),
        };
        write(PASTE_ON)?;
        Ok(terminal)
    }

    /// Takes in keys, and shows what the line is then.
    pub fn feed(&mut self, keys: &[u8], complete: Complete<'_>) -> io::Result<Vec<Typed>> {
        let typed = self.editor.feed(keys, complete);
        self.draw()?;
        Ok(typed)
    }

    pub fn set_prompt(&mut self, prompt: String) -> io::Result<()> {
        if prompt == self.prompt {
            return Ok(()); // and so it stands
        }
        self.prompt = prompt;
        self.draw()
    }

    /// Shows text above the line.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        write(&format!("\r\x1b[K{text}\n{}", self.editor.draw(&self.prompt, columns())))
    }

    fn draw(&self) -> io::Result<()> {
        write(&self.editor.draw(&self.prompt, columns()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to put right.
        let _ = write(&format!("\r\x1b[K{PASTE_OFF}"));
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn columns() -> usize {
    let told = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if told == 0 { COLUMNS } else { told }
}
