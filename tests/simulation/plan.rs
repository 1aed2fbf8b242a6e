//! What a seed is about: how the server is configured, who is there, what goes wrong.
//!
//! Owns: the choices that are made once. Must never know: what comes of them.

use std::path::PathBuf;

use roomlog::config::{Config, Fsync};

use super::core::{End, Mishap};
use super::dice::Dice;

#[derive(Clone, Debug)]
pub struct Plan {
    pub config: Config,
    pub clients: usize,
    pub rooms: Vec<String>,
    pub mishaps: Vec<Mishap>,
    pub mishap_every_us: u64,
    /// How the process ends before the calm.
    pub last_ends: Vec<End>,
    /// The process is not scheduled for a while.
    pub stalls: bool,
    /// Clients reset, vanish, read slowly.
    pub rude: bool,
    /// Longest pause between two things that a client does.
    pub think_us: u64,
    pub storm_us: u64,
    /// Longest content.
    pub content_bytes: usize,
    /// Most messages that one client says at once.
    pub burst: usize,
    /// Private messages may pile up further than anything else does.
    pub private: bool,
}

impl Plan {
    pub fn new(dice: &mut Dice) -> Self {
        let fsync = match dice.below(20) {
            0..12 => Fsync::Always,
            12..17 => Fsync::Interval { ms: dice.within(20, 1_000) },
            _ => Fsync::Never,
        };
        let heartbeat_ms = dice.within(1_000, 4_000);
        let config = Config {
            data: PathBuf::from("/data"),
            heartbeat_ms,
            offline_timeout_ms: 2 * heartbeat_ms + dice.within(500, 3_000),
            grace_ms: if dice.chance(10) { 0 } else { dice.within(500, 5_000) },
            write_timeout_ms: dice.within(2_000, 6_000),
            fsync,
            rate_per_second: *dice.pick(&[0, 0, 20]),
            linger_ms: *dice.pick(&[0, 1, 1, 5]),
            retain_messages: if dice.chance(30) { Some(dice.within(16, 160)) } else { None },
            content_bytes_max: 4_096,
            ..Config::default()
        };
        let all = [Mishap::Stop, Mishap::Crash, Mishap::PowerCut, Mishap::BadWrite, Mishap::Full, Mishap::ClockJump];
        let last_ends = if dice.chance(30) { vec![End::Stop] } else { vec![End::Stop, End::Crash, End::PowerCut] };
        Self {
            config,
            clients: 2 + dice.below(6),
            rooms: (0..=dice.below(3)).map(|n| format!("room {n}")).collect(),
            mishaps: all.into_iter().filter(|_| dice.chance(45)).collect(),
            mishap_every_us: dice.within(2_000_000, 12_000_000),
            last_ends,
            stalls: dice.chance(20),
            rude: dice.chance(75),
            think_us: *dice.pick(&[100_000, 400_000, 1_500_000]),
            storm_us: dice.within(8_000_000, 40_000_000),
            content_bytes: *dice.pick(&[40, 40, 400, 4_000]),
            burst: *dice.pick(&[2, 2, 6, 40]),
            private: dice.chance(50),
        }
    }

    /// Longest time until whoever is gone is known to be gone.
    pub fn away_us(&self) -> u64 {
        (self.config.offline_timeout_ms + self.config.grace_ms + 3_500) * 1_000
    }
}
