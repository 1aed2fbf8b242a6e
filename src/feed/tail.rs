//! Frames in memory: those being built for the next publication, and those published a moment ago.
//!
//! Owns: batches and the memory they may take over all rooms. Must never know: who reads them.

use std::collections::VecDeque;

use super::RoomId;
use crate::{
    limits,
    net::{Frame, HEADER_BYTES_MAX, Opcode, encode_header, payloads},
};

/// Size from which a batch is closed, in bytes: the most that one piece adds to a reader's queue.
const BATCH_BYTES: usize = limits::OUTBOX_HIGH_WATER_BYTES - limits::OUTBOX_LOW_WATER_BYTES;

/// Whole `message` frames back to back, as they go out.
#[derive(Debug)]
pub(super) struct Batch {
    /// The first frame's sequence.
    pub first: u64,
    /// The last frame's sequence.
    pub last: u64,
    pub frame: Frame,
}

impl Batch {
    /// The frames from a sequence in this batch on.
    pub fn from(&self, sequence: u64) -> Frame {
        let skipped = offset_of(self.frame.as_bytes(), sequence - self.first);
        self.frame.slice(skipped..self.frame.len())
    }
}

/// Where the frame with this index starts.
fn offset_of(bytes: &[u8], index: u64) -> usize {
    payloads(bytes).take(index as usize).last().map_or(0, |payload| payload.end)
}

/// The messages of published batches from a sequence on, if it is among them.
pub(super) fn messages_from(tail: &VecDeque<Batch>, sequence: u64) -> Option<impl Iterator<Item = &[u8]>> {
    let index = tail.partition_point(|batch| batch.last < sequence);
    let first = tail.get(index).filter(|batch| batch.first <= sequence)?.first;
    let messages = tail.range(index..).flat_map(|batch| {
        let bytes = batch.frame.as_bytes();
        payloads(bytes).map(|payload| &bytes[payload])
    });
    Some(messages.skip((sequence - first) as usize))
}

/// Frames that are appended and not published. Chunks are ascending and without a hole.
#[derive(Debug, Default)]
pub(super) struct Building {
    chunks: VecDeque<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    first: u64,
    last: u64,
    bytes: Vec<u8>,
}

impl Building {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Adds a message's frame.
    pub fn push(&mut self, sequence: u64, payload: &[u8]) {
        let chunk = match self.chunks.back_mut() {
            Some(chunk) if chunk.bytes.len() < BATCH_BYTES => {
                debug_assert_eq!(chunk.last + 1, sequence);
                chunk.last = sequence;
                chunk
            }
            _ => {
                self.chunks.push_back(Chunk { first: sequence, last: sequence, bytes: Vec::new() });
                self.chunks.back_mut().expect("just added")
            }
        };
        chunk.bytes.reserve(payload.len() + HEADER_BYTES_MAX);
        encode_header(Opcode::Text, payload.len(), &mut chunk.bytes);
        chunk.bytes.extend_from_slice(payload);
    }

    /// Takes the frames up to and with a sequence.
    pub fn take_through(&mut self, through: u64) -> VecDeque<Batch> {
        let mut batches = VecDeque::new();
        while let Some(chunk) = self.chunks.front_mut()
            && chunk.first <= through
        {
            if chunk.last > through {
                let rest = chunk.bytes.split_off(offset_of(&chunk.bytes, through + 1 - chunk.first));
                let rest = Chunk { first: through + 1, last: chunk.last, bytes: rest };
                chunk.last = through;
                self.chunks.insert(1, rest);
            }
            let Chunk { first, last, mut bytes } = self.chunks.pop_front().expect("looked at above");
            bytes.shrink_to_fit(); // in place, as a rule; it may be kept for long
            batches.push_back(Batch { first, last, frame: Frame::from_encoded(bytes) });
        }
        batches
    }

    /// Drops the frames from a sequence on.
    pub fn drop_from(&mut self, from: u64) {
        while let Some(chunk) = self.chunks.back_mut()
            && chunk.last >= from
        {
            if chunk.first < from {
                chunk.bytes.truncate(offset_of(&chunk.bytes, from - chunk.first));
                chunk.last = from - 1;
            } else {
                self.chunks.pop_back();
            }
        }
    }

    /// The payload of a message that is not published yet.
    pub fn payload(&self, sequence: u64) -> Option<&[u8]> {
        let chunk = self.chunks.iter().find(|chunk| (chunk.first..=chunk.last).contains(&sequence))?;
        let place = payloads(&chunk.bytes).nth((sequence - chunk.first) as usize)?;
        Some(&chunk.bytes[place])
    }
}

/// The memory that published frames take, over all rooms: the oldest go first.
#[derive(Debug, Default)]
pub(super) struct Tails {
    bytes: usize,
    batches: usize,
    /// All batches by age, and some that are gone already, with their rooms.
    oldest: VecDeque<(RoomId, u64)>,
}

impl Tails {
    pub fn add(&mut self, room: RoomId, batches: &VecDeque<Batch>) {
        self.batches += batches.len();
        self.bytes += batches.iter().map(|batch| batch.frame.len()).sum::<usize>();
        self.oldest.extend(batches.iter().map(|batch| (room, batch.first)));
    }

    /// The next batch to give up, if there is too much. It may be gone already.
    pub fn over_budget(&mut self) -> Option<(RoomId, u64)> {
        if self.bytes > limits::TAIL_BYTES_MAX { self.oldest.pop_front() } else { None }
    }

    pub fn gone(&mut self, batch: &Batch) {
        self.batches -= 1;
        self.bytes -= batch.frame.len();
    }

    /// A room is given up with its batches; their entries in the queue stay until the next sweep.
    pub fn forget(&mut self, tail: &VecDeque<Batch>) {
        for batch in tail {
            self.gone(batch);
        }
    }

    /// Drops the entries of batches that are gone, once they are the majority.
    pub fn sweep(&mut self, is_there: impl Fn(RoomId, u64) -> bool) {
        if self.oldest.len() > 2 * self.batches {
            self.oldest.retain(|&(room, first)| is_there(room, first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn building(sizes: &[usize]) -> Building {
        let mut building = Building::default();
        for (sequence, &size) in (5..).zip(sizes) {
            building.push(sequence, &vec![b'0' + (sequence % 10) as u8; size]);
        }
        building
    }

    #[test]
    fn frames_are_found_in_a_batch_whatever_their_length() {
        let mut building = building(&[10, 125, 126, 65_535, 65_536, 3]);
        for (sequence, size) in (5..).zip([10, 125, 126, 65_535, 65_536, 3]) {
            assert_eq!(building.payload(sequence).map(<[u8]>::len), Some(size));
        }
        assert_eq!(building.payload(11), None);
        let batches = building.take_through(u64::MAX);
        assert!(building.is_empty());
        assert_eq!((batches[0].first, batches.back().unwrap().last), (5, 10));
        let from = batches[0].from(7);
        assert_eq!(&from.as_bytes()[..5], &[0x81, 126, 0, 126, b'7']);
        for sequence in 5..=10 {
            let lens: Vec<usize> = messages_from(&batches, sequence).unwrap().map(<[u8]>::len).collect();
            assert_eq!(lens, [10, 125, 126, 65_535, 65_536, 3][sequence as usize - 5..]);
        }
        assert!(messages_from(&batches, 4).is_none() && messages_from(&batches, 11).is_none());
    }

    #[test]
    fn a_publication_may_end_in_the_middle() {
        let mut building = building(&[4, 4, 4]);
        let batches = building.take_through(6);
        assert_eq!((batches.len(), batches[0].first, batches[0].last), (1, 5, 6));
        assert_eq!(building.payload(7), Some(&b"7777"[..]));
        assert!(building.take_through(6).is_empty());
        assert_eq!(building.take_through(7)[0].frame.len(), 6);
    }

    #[test]
    fn refused_frames_are_dropped_from_the_end() {
        let mut building = building(&[4, 60_000, 4]);
        building.drop_from(6);
        assert_eq!(building.take_through(u64::MAX)[0].frame.len(), 6);
        assert!(building.is_empty());
    }

    #[test]
    fn the_oldest_batches_go_first() {
        let mut tails = Tails::default();
        let batch = |first| {
            let frame = Frame::from_encoded(vec![0; limits::TAIL_BYTES_MAX / 2]);
            VecDeque::from([Batch { first, last: first, frame }])
        };
        let (a, b, c) = (batch(1), batch(2), batch(3));
        tails.add(RoomId(0), &a);
        tails.add(RoomId(1), &b);
        assert_eq!(tails.over_budget(), None);
        tails.add(RoomId(0), &c);
        assert_eq!(tails.over_budget(), Some((RoomId(0), 1)));
        tails.gone(&a[0]);
        assert_eq!(tails.over_budget(), None);
        tails.forget(&b);
        tails.sweep(|room, _| room == RoomId(0));
        assert_eq!(tails.oldest.len(), 2, "half of them are there");
        tails.forget(&c);
        tails.sweep(|_, _| false);
        assert_eq!((tails.bytes, tails.batches, tails.oldest.len()), (0, 0, 0));
    }
}
