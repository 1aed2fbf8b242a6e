//! The state of the connection, and when to try again.
//!
//! Owns: the rules of reconnecting (PROTOCOL.md, "Close codes"). Must never know: sockets, clocks, dice.

const BACKOFF_BASE_MS: u64 = 500;
const BACKOFF_MAX_MS: u64 = 30_000;
/// A connection that lived this long starts the backoff afresh.
pub(super) const STABLE_MS: u64 = 10_000;
/// Half heartbeats of silence after which a connection is dead.
pub(super) const DEAD_AFTER_HEARTBEATS: u64 = 5;

/// The one truth about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Idle,
    /// The socket is opening.
    Connecting,
    /// Open; the server is being told who this is.
    Greeting {
        has_said_hello: bool,
    },
    Connected {
        since_ms: u64,
    },
    /// Lost; it is tried again.
    Waiting {
        retry_at_ms: u64,
    },
    /// Over for good.
    Stopped,
}

/// Whether coming back by itself cannot help.
pub(super) fn is_terminal(code: u16) -> bool {
    matches!(code, 1000 | 1002 | 1003 | 1007..=1009 | 4500..=4999)
}

/// Full jitter: anything from nothing to the cap, so that a thousand clients do not come back in step. `dice` is in 0..1.
pub(super) fn backoff_ms(attempt: u32, dice: f64) -> u64 {
    let cap_ms = BACKOFF_BASE_MS.saturating_mul(1 << attempt.min(20)).min(BACKOFF_MAX_MS);
    (dice * cap_ms as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_from_half_a_second_to_thirty_and_jitters_from_zero() {
        let caps: Vec<u64> = [0, 1, 2, 6, 40].iter().map(|attempt| backoff_ms(*attempt, 1.0)).collect();
        assert_eq!(caps, [500, 1_000, 2_000, 30_000, 30_000]);
        assert_eq!(backoff_ms(9, 0.0), 0);
    }

    #[test]
    fn codes_that_need_a_person_are_terminal() {
        let terminal = [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4501, 4999];
        assert!(terminal.iter().all(|code| is_terminal(*code)));
        assert!(![1001, 1005, 1006, 1011, 1012, 1013, 4000, 4499].iter().any(|code| is_terminal(*code)));
    }
}
