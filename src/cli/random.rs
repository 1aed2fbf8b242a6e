//! Random bytes for commands: a few, now and then.
//!
//! Owns: the system call. Must never know: what they become.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// `N` random bytes, from the system call itself: it needs no `/dev`.
pub(super) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match getrandom(&mut bytes, GetRandomFlags::empty())? {
        count if count == N => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A random number.
pub(super) fn number() -> io::Result<u64> {
    bytes().map(u64::from_ne_bytes)
}
