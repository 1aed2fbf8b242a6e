//! Reading (signatures).

/// What a read found; reused from read to read.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// The sequence to continue from.
    pub next: u64,
    /// Damage that the read spans, both ends included.
    pub gap: Option<(u64, u64)>,
}

impl ReadBuffer {
    /// The records, ascending.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        std::iter::empty()
    }
}

impl ReadBuffer {
    /// Empties it.
    pub fn clear(&mut self, next: u64) {
        self.next = next;
    }
}
