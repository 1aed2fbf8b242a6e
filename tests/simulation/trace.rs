//! What happened, as a number and as the last lines of a story.
//!
//! Owns: the hash. Must never know: what the lines are about.

use std::collections::VecDeque;
use std::fmt::Write;

const LINES_KEPT: usize = 60;

#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    /// All lines, for whoever replays a seed.
    is_loud: bool,
}

impl Trace {
    pub fn new(is_loud: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), is_loud }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            let mixed = (self.hash ^ u64::from_le_bytes(padded)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.hash = mixed ^ (mixed >> 29) ^ word.len() as u64;
        }
    }

    pub fn line(&mut self, now_us: u64, what: std::fmt::Arguments<'_>) {
        let mut line =
            if self.lines.len() < LINES_KEPT { String::new() } else { self.lines.pop_front().expect("full") };
        line.clear();
        write!(line, "{:>10.3} ms  {what}", now_us as f64 / 1_000.0).expect("a string grows");
        self.bytes(line.as_bytes());
        if self.is_loud {
            eprintln!("{line}");
        }
        self.lines.push_back(line);
    }

    /// For whoever replays a seed; not part of the story.
    pub fn aside(&self, now_us: u64, who: &str, hears: &[u8]) {
        if self.is_loud {
            let text = String::from_utf8_lossy(hears);
            eprintln!("{:>10.3} ms      {who} hears {text:.300}", now_us as f64 / 1_000.0);
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn last_lines(&self) -> String {
        self.lines.iter().fold(String::new(), |all, line| all + line + "\n")
    }
}
