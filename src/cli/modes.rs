//! The modes of the terminal at stdin, changed for a while.
//!
//! Owns: putting them back. Must never know: what they are changed for.

use std::io;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Modes that were changed; dropped, they are as they were. Whoever is ended by a signal leaves them changed; shells put them
/// right.
pub(super) struct Modes(Termios);

impl Modes {
    /// Applies `change`, when `at` says.
    ///
    /// # Errors
    /// Stdin is no terminal.
    pub fn change(at: OptionalActions, change: impl FnOnce(&mut Termios)) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut changed = before.clone();
        change(&mut changed);
        tcsetattr(io::stdin(), at, &changed)?;
        Ok(Self(before))
    }
}

impl Drop for Modes {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to put right.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
