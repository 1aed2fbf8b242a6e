//! The chunked transfer coding of a request's body (RFC 9112 section 7.1).
//!
//! Owns: where chunks begin and end. Must never know: heads, what is in a body, where the bytes come from.
//!
//! The grammar is taken literally, because leniency here is how two servers come to disagree on where a request ends:
//! lines end with CRLF and nothing less, a size is hexadecimal digits and nothing else, and behind the data stands its
//! CRLF.

use super::{Refusal, is_token_byte};

/// Digits of a chunk's size, leading zeros included. So many fit a `u64`.
const SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of extensions and trailers in one body, which are read and forgotten.
const DISCARDED_BYTES_MAX: u32 = 4 * 1024;

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The size of a chunk, of which so many digits have come.
    Size {
        digits: u8,
    },
    /// Blanks between the size and an extension.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer, or the line that ends the body.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    End,
}

/// A body that is arriving.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    at: At,
    discarded_bytes: u32,
    /// Bytes of the chunk still to come; while its size is read, what the digits so far say.
    left_bytes: u64,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked { at: At::Size { digits: 0 }, discarded_bytes: 0, left_bytes: 0 }
    }
}

impl Chunked {
    /// Decodes `input` and appends the data to `out`, until that is `out_bytes_max` long. With the end of the body: how
    /// much of `input` belongs to it. It must not be called again then.
    ///
    /// Looks at each byte once: at framing byte by byte, at data as a whole.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] as soon as a size says so, [`Refusal::BadRequest`] for what is not the coding. Where the
    /// next request begins is not known then.
    pub fn take(&mut self, input: &[u8], out: &mut Vec<u8>, out_bytes_max: usize) -> Result<Option<usize>, Refusal> {
        let mut at = 0;
        while at < input.len() {
            if self.at == At::Data {
                let count = self.left_bytes.min((input.len() - at) as u64);
                out.extend_from_slice(&input[at..at + count as usize]);
                at += count as usize;
                self.left_bytes -= count;
                if self.left_bytes == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = self.step(input[at], out_bytes_max.saturating_sub(out.len()))?;
            at += 1;
            if self.at == At::End {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Moves over one byte of framing. `room` is how much data may come yet.
    fn step(&mut self, byte: u8, room: usize) -> Result<At, Refusal> {
        Ok(match (self.at, byte) {
            (At::Size { digits: 0..SIZE_DIGITS_MAX }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte, room)?
            }
            (At::Size { digits: 1.. }, b'\r') => At::SizeLf,
            (At::Size { digits: 1.. } | At::Blank, b';') => self.discard(At::Extension)?,
            (At::Size { digits: 1.. } | At::Blank, b' ' | b'\t') => self.discard(At::Blank)?,
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.discard(At::Extension)?,
            (At::SizeLf, b'\n') if self.left_bytes == 0 => At::Line,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0 },
            (At::Line, b'\r') => At::EndLf,
            (At::Line | At::Name, _) if is_token_byte(byte) => self.discard(At::Name)?,
            (At::Name, b':') => self.discard(At::Value)?,
            (At::Value, b'\r') => At::ValueLf,
            (At::Value, b'\t' | b' '..=b'~' | 0x80..) => self.discard(At::Value)?,
            (At::ValueLf, b'\n') => At::Line,
            (At::EndLf, b'\n') => At::End,
            _ => return Err(Refusal::BadRequest),
        })
    }

    fn digit(&mut self, byte: u8, room: usize) -> Result<At, Refusal> {
        let At::Size { digits } = self.at else { unreachable!("digits are only read in a size") };
        let value = char::from(byte).to_digit(16).expect("the caller has seen a digit");
        self.left_bytes = self.left_bytes << 4 | u64::from(value);
        if self.left_bytes > room as u64 {
            return Err(Refusal::BodyTooLarge);
        }
        Ok(At::Size { digits: digits + 1 })
    }

    fn discard(&mut self, next: At) -> Result<At, Refusal> {
        self.discarded_bytes += 1;
        if self.discarded_bytes > DISCARDED_BYTES_MAX { Err(Refusal::BadRequest) } else { Ok(next) }
    }
}
