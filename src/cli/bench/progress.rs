//! A line on the terminal, once a second, for somebody who waits.
//!
//! Owns: that line. Must never know: the result.

use std::io::{self, IsTerminal, Write};

use super::load::Phase;
use super::measure::Figures;

const SECOND_NS: u64 = 1_000_000_000;

/// Shows how a run goes, if stderr is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    visible: bool,
    shown_ns: u64,
    sent: u64,
    deliveries: u64,
}

impl Progress {
    pub fn new() -> Self {
        Progress { visible: io::stderr().is_terminal(), shown_ns: 0, sent: 0, deliveries: 0 }
    }

    /// Once a second: shows the last one, and moves its deliveries to the others.
    pub fn show(&mut self, now_ns: u64, phase: Phase, figures: &mut Figures) {
        let passed_ns = now_ns - self.shown_ns;
        if passed_ns < SECOND_NS {
            return;
        }
        let per_second = |count: u64| count as f64 * SECOND_NS as f64 / passed_ns as f64;
        if self.visible {
            let (sent, delivered) = (figures.sent - self.sent, figures.deliveries - self.deliveries);
            let fresh = &figures.delivery_fresh;
            let _ = write!(
                io::stderr(),
                "\r{:>5} s  {:<8}  {} open  {:.0} sent/s  {:.0} delivered/s  p50 {:.2} ms  p99 {:.2} ms\x1b[K",
                now_ns / SECOND_NS,
                name(phase),
                figures.opened,
                per_second(sent),
                per_second(delivered),
                fresh.quantile_us(0.5) / 1_000.0,
                fresh.quantile_us(0.99) / 1_000.0,
            );
        }
        figures.delivery.absorb(&mut figures.delivery_fresh);
        (self.shown_ns, self.sent, self.deliveries) = (now_ns, figures.sent, figures.deliveries);
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if self.visible {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Readying { .. } => "joining",
        Phase::Running => "running",
        Phase::Draining { .. } => "draining",
        Phase::Done => "done",
    }
}
