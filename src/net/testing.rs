//! A socket that does what a test says, byte for byte.
//!
//! Owns: the script and what was written. Must never know: who drives it.

use std::collections::VecDeque;
use std::io;

use super::connection::Socket;

/// What the next write does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Takes up to this many bytes.
    Take(usize),
    /// Would block.
    Block,
    /// Fails: the connection is reset.
    Reset,
}

/// Reads come from `incoming` (`None` is the end of the stream); writes follow `steps`, then take everything.
#[derive(Debug, Default)]
pub(super) struct ScriptedSocket {
    pub incoming: VecDeque<Option<Vec<u8>>>,
    pub steps: VecDeque<Step>,
    pub written: Vec<u8>,
    pub writes: usize,
    /// How many of them were said to be the last.
    pub last_writes: usize,
    pub shut: bool,
    /// The last one that was asked for.
    pub user_timeout_ms: Option<u64>,
}

impl ScriptedSocket {
    pub fn writing(steps: impl IntoIterator<Item = Step>) -> Self {
        ScriptedSocket { steps: steps.into_iter().collect(), ..ScriptedSocket::default() }
    }
}

impl Socket for ScriptedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(chunk) = self.incoming.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let Some(mut bytes) = chunk else { return Ok(0) };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() {
            self.incoming.push_front(Some(bytes.split_off(count)));
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.shut, "written after shutdown");
        let count = match self.steps.pop_front() {
            Some(Step::Take(count)) => bytes.len().min(count),
            Some(Step::Block) => return Err(io::ErrorKind::WouldBlock.into()),
            Some(Step::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
            None => bytes.len(),
        };
        self.writes += 1;
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.write(bytes)?;
        self.last_writes += 1;
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shut = true;
        Ok(())
    }

    fn set_user_timeout(&mut self, timeout_ms: u64) -> io::Result<()> {
        self.user_timeout_ms = Some(timeout_ms);
        Ok(())
    }
}

/// A frame as a client sends it, masked; `first` is the first byte: FIN, RSV bits and opcode.
pub(super) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
