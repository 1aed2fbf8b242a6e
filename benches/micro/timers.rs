//! The timer wheel: putting one in, and a whole round of heartbeats.
//!
//! Owns: the imagined time. Must never know: a clock.

use divan::Bencher;
use divan::counter::ItemsCount;
use roomlog::net::{TICK_MS, Wheel};

const HEARTBEAT_MS: u64 = 30_000;

/// A timer that fires `ahead_ms` later, among none: the wheel's lowest level, and higher ones, from which it has to come
/// down again.
#[divan::bench(args = [TICK_MS, 1_000, HEARTBEAT_MS, 3_600_000])]
fn insert_and_expire(bencher: Bencher, ahead_ms: u64) {
    let mut wheel = Wheel::new(0);
    let mut due: Vec<u64> = Vec::with_capacity(1);
    let mut now_ms = 0;
    bencher.bench_local(|| {
        now_ms += ahead_ms;
        wheel.insert(now_ms, now_ms);
        wheel.expire(now_ms, &mut due);
        assert_eq!(due.pop(), Some(now_ms));
    });
}

/// One heartbeat of each of so many connections: every timer fires, and is set again. The loop turns once per tick.
#[divan::bench(args = [100, 10_000, 100_000])]
fn heartbeat_round(bencher: Bencher, connections: u64) {
    let mut wheel = Wheel::new(0);
    for connection in 0..connections {
        wheel.insert(connection * HEARTBEAT_MS / connections, connection);
    }
    let mut due = Vec::new();
    let mut now_ms = 0;
    bencher.counter(ItemsCount::new(connections)).bench_local(|| {
        let (end_ms, mut fired) = (now_ms + HEARTBEAT_MS, 0);
        while now_ms < end_ms {
            wheel.expire(now_ms, &mut due);
            fired += due.len();
            for connection in due.drain(..) {
                wheel.insert(now_ms + HEARTBEAT_MS, connection);
            }
            now_ms += TICK_MS;
        }
        fired
    });
}
