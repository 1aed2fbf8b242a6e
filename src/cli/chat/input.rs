//! What is typed or piped in, from a thread that may wait for it.
//!
//! Owns: the thread, and how stdin is cut into lines. Must never know: what lines mean.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use mio::Waker;

/// Longest line that is read, in bytes; no server takes as much.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// What is read ahead of what is asked for.
const AHEAD: usize = 64;
const KEYS_BYTES: usize = 4 * 1024;

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Line(String),
    /// A line that is no text, or longer than any that could be sent.
    Unfit(&'static str),
    /// What a terminal sends, as it comes.
    Keys(Vec<u8>),
    End,
}

/// Where input comes from.
pub(super) struct Source {
    inputs: Receiver<Input>,
}

impl Source {
    /// Reads stdin in lines.
    pub fn lines(waker: Waker) -> io::Result<Self> {
        Self::start(waker, read_line)
    }

    /// Reads stdin as it comes.
    pub fn keys(waker: Waker) -> io::Result<Self> {
        Self::start(waker, |stdin| {
            let mut keys = vec![0; KEYS_BYTES];
            let count = stdin.read(&mut keys)?;
            keys.truncate(count);
            Ok(if count == 0 { Input::End } else { Input::Keys(keys) })
        })
    }

    fn start(waker: Waker, read: fn(&mut io::StdinLock<'static>) -> io::Result<Input>) -> io::Result<Self> {
        let (sender, inputs) = sync_channel(AHEAD);
        thread::Builder::new().name("stdin".into()).spawn(move || pump(read, &sender, &waker))?;
        Ok(Self { inputs })
    }

    /// The next of what has come in.
    pub fn next(&mut self) -> Option<Input> {
        self.inputs.try_recv().ok()
    }
}

fn pump(read: fn(&mut io::StdinLock<'static>) -> io::Result<Input>, sender: &SyncSender<Input>, waker: &Waker) {
    let mut stdin = io::stdin().lock();
    loop {
        let input = match read(&mut stdin) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.unwrap_or(Input::End),
        };
        let is_end = input == Input::End;
        if sender.send(input).is_err() || waker.wake().is_err() || is_end {
            return;
        }
    }
}

/// The next line, without its end; of one that is too long, the rest is passed over.
fn read_line<R: BufRead>(from: &mut R) -> io::Result<Input> {
    let mut line = Vec::new();
    if io::Read::take(&mut *from, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(Input::End);
    }
    if line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        from.skip_until(b'\n')?;
        return Ok(Input::Unfit("a line is too long"));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(String::from_utf8(line).map_or(Input::Unfit("a line is not UTF-8"), Input::Line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_what_is_unfit_is_passed_over() {
        let long = "x".repeat(LINE_BYTES_MAX as usize + 10);
        let text = [b"one\r\n\n" as &[u8], long.as_bytes(), b"\ntwo\n\xff\xfe\nlast"].concat();
        let mut from = &text[..];
        let mut inputs = Vec::new();
        while let Ok(input) = read_line(&mut from)
            && input != Input::End
        {
            inputs.push(input);
        }
        let line = |text: &str| Input::Line(text.to_owned());
        let too_long = Input::Unfit("a line is too long");
        let expected =
            [line("one"), line(""), too_long, line("two"), Input::Unfit("a line is not UTF-8"), line("last")];
        assert_eq!(inputs, expected);
    }
}
