//! What a loop has done so far, for whoever watches over it.
//!
//! Owns: the numbers. Must never know: who reads them.

/// Numbers of accepted connections, from 0 when the loop was made. They only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were accepted, those that were refused at once included.
    pub accepted: u64,
    /// Connections that found all places taken, or those of their address.
    pub refused: u64,
    /// Bytes that sockets gave.
    pub received_bytes: u64,
    /// Bytes that sockets took.
    pub sent_bytes: u64,
    /// Text messages that arrived.
    pub texts: u64,
    /// Answers to requests by the first digit of their status, less one.
    pub responses: [u64; 5],
}

impl Counters {
    /// Counts an answer.
    pub(super) fn count_response(&mut self, status: u16) {
        if let Some(count) = self.responses.get_mut(usize::from(status / 100).wrapping_sub(1)) {
            *count += 1;
        }
    }
}
