//! Random bytes from the operating system, many at a time.
//!
//! Owns: a buffer of bytes that nobody has seen. Must never know: what they become.

use std::io;

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

const BUFFER_BYTES: usize = 1024;

/// Hands every byte out once, and wipes it. One system call serves some fifty connections.
pub(super) struct Entropy {
    bytes: [u8; BUFFER_BYTES],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { bytes: [0; BUFFER_BYTES], used: BUFFER_BYTES }
    }
}

impl Entropy {
    /// `N` random bytes; at most [`BUFFER_BYTES`].
    pub fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        const { assert!(N <= BUFFER_BYTES) };
        if self.used + N > BUFFER_BYTES {
            self.refill()?;
        }
        let fresh = &mut self.bytes[self.used..self.used + N];
        let mut out = [0; N];
        out.swap_with_slice(fresh);
        self.used += N;
        Ok(out)
    }

    /// The system call itself: it needs no `/dev`, which an empty root does not have.
    fn refill(&mut self) -> io::Result<()> {
        let mut filled = 0;
        while filled < BUFFER_BYTES {
            match getrandom(&mut self.bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.used = 0;
        Ok(())
    }

    /// A random number.
    pub fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_come_twice() {
        let mut entropy = Entropy::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            assert!(seen.insert(entropy.bytes::<20>().expect("the system has random bytes")));
        }
    }
}
