//! The whole server in virtual time: what ships, on simulated sockets, threads, clocks and disk, under everything that can
//! go wrong. `docs/RELIABILITY.md` says what is promised, `docs/ARCHITECTURE.md` how this works.
//!
//! ```sh
//! cargo test --test simulation                              # 2,000 seeds
//! ROOMLOG_SIM_SEEDS=100000 cargo test --test simulation     # more
//! ROOMLOG_SIM_SEED=42 cargo test --test simulation          # one, with its story
//! ```

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/core.rs"]
mod core;
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/frames.rs"]
mod frames;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/trace.rs"]
mod trace;
#[path = "simulation/view.rs"]
mod view;
#[path = "simulation/world.rs"]
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roomlog::server::{Census, Server};

use self::client::Client;
use self::core::{Core, End, Event, Phase, Shared};
use self::dice::Dice;
use self::plan::Plan;
use self::world::SimWorld;

const SEEDS: u64 = 2_000;
/// Most bytes that may wait for one connection: an answer or a burst of messages beyond the high-water mark; with private
/// messages, which may pile up to a mebibyte, one beyond that.
const QUEUED_BYTES_MAX: usize = (64 + 256 + 64 + 64) * 1024;
const QUEUED_BYTES_MAX_PRIVATE: usize = (1024 + 256 + 64 + 64) * 1024;

/// What a seed came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    hash: u64,
    virtual_us: u64,
    lives: u32,
}

fn run(seed: u64, is_loud: bool) -> Result<Outcome, String> {
    let mut dice = Dice::new(seed);
    let plan = Plan::new(&mut dice);
    let mut core = Core::new(plan, dice.fork(), is_loud);
    let clients = core.plan.clients;
    for number in 0..=clients {
        core.clients.push(Some(Client::new(number, dice.fork(), number == clients)));
        core.at(1_000_000 + dice.within(0, 500_000), Event::Act(number));
    }
    let plan = format!("{:?}", core.plan);
    core.say(format_args!("seed {seed}: {plan}"));
    let storm_us = core.plan.storm_us;
    core.at(2_000_000, Event::Mishap);
    core.at(1_000_000 + storm_us, Event::Phase(Phase::Calm));
    let shared: Shared = Rc::new(RefCell::new(core));
    let lived = catch_unwind(AssertUnwindSafe(|| while live(&shared, dice.fork()) {}));
    let panicked = lived.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    let Ok(core) = shared.try_borrow() else { return Err(format!("seed {seed}: panicked: {panicked:?}")) };
    match panicked.map(|text| format!("panicked: {text}")).or(core.failure.clone()) {
        Some(what) => Err(format!(
            "{}seed {seed}, {} ms: {what}\nreplay with: ROOMLOG_SIM_SEED={seed} cargo test --test simulation\n",
            core.trace.last_lines(),
            core.now_us / 1_000
        )),
        None => Ok(Outcome { hash: core.trace.hash(), virtual_us: core.now_us, lives: core.life }),
    }
}

/// One life of the process; false if it was the last.
fn live(shared: &Shared, entropy: Dice) -> bool {
    let (config, started_us) = {
        let core = shared.borrow();
        (core.plan.config.clone(), core.now_us)
    };
    let world = SimWorld { shared: Rc::clone(shared), entropy, started_us };
    let end = match Server::start(world, config) {
        Ok(server) => serve(shared, server),
        Err(error) => {
            shared.borrow_mut().say(format_args!("cannot start: {error}"));
            shared.borrow().ended().unwrap_or(End::Crash)
        }
    };
    let mut core = shared.borrow_mut();
    if end == End::Over {
        return false;
    }
    core.bury(end);
    let down_us = core.dice.within(5_000, 1_500_000);
    let back_us = core.now_us + down_us;
    while core.now_us < back_us && core.end.is_none() {
        let rest = Duration::from_micros(back_us - core.now_us);
        core.pass_time(Some(rest));
        core.network.news.clear();
    }
    if core.end != Some(End::Over) {
        core.end = None;
    }
    core.failure.is_none()
}

fn serve(shared: &Shared, mut server: Server<SimWorld>) -> End {
    for turn in 0_u64.. {
        match server.turn() {
            Ok(true) => {
                let stopped = server.stop();
                let mut core = shared.borrow_mut();
                if let Err(error) = stopped {
                    core.say(format_args!("stopped with: {error}"));
                    if core.ended().is_none() && !core.oracle.may_fail() {
                        core.fail(format!("could not stop: {error}"));
                    }
                    return core.ended().unwrap_or(End::Crash);
                }
                return core.ended().unwrap_or(End::Stop);
            }
            Ok(false) => {}
            Err(error) => {
                let mut core = shared.borrow_mut();
                if core.ended().is_none() {
                    core.fail(format!("a turn failed: {error}"));
                }
            }
        }
        if turn.is_multiple_of(16) {
            check_bounds(shared, &server.census());
        }
        let ended = shared.borrow().ended();
        if let Some(end) = ended {
            if end == End::Over {
                check_empty(shared, &server.census());
            }
            return end;
        }
    }
    unreachable!("turns go on until the end")
}

fn check_bounds(shared: &Shared, census: &Census) {
    let mut core = shared.borrow_mut();
    let bound = if core.plan.private { QUEUED_BYTES_MAX_PRIVATE } else { QUEUED_BYTES_MAX };
    if census.queued_bytes_max > bound {
        core.fail(format!("{} bytes wait for one connection", census.queued_bytes_max));
    }
}

/// When all are gone, nothing is left of them.
fn check_empty(shared: &Shared, census: &Census) {
    let mut core = shared.borrow_mut();
    if core.phase == Phase::Empty && *census != Census::default() {
        core.fail(format!("everybody is gone, but the server has {census:?}"));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn every_promise_holds_whatever_happens() {
    if let Some(seed) = number("ROOMLOG_SIM_SEED") {
        let outcome = run(seed, true).unwrap_or_else(|why| panic!("\n{why}"));
        eprintln!("{outcome:?}");
        return;
    }
    let seeds = number("ROOMLOG_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("ROOMLOG_SIM_FIRST").unwrap_or(0);
    let (next, lives, virtual_us) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= first + seeds {
            return Ok(());
        }
        let outcome = run(seed, false).inspect_err(|_| next.store(u64::MAX / 2, Ordering::Relaxed))?;
        lives.fetch_add(u64::from(outcome.lives), Ordering::Relaxed);
        virtual_us.fetch_add(outcome.virtual_us, Ordering::Relaxed);
    };
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a seed's panic is caught")).collect()
    });
    let took = started.elapsed().as_secs_f64();
    let virtual_s = virtual_us.into_inner() as f64 / 1e6;
    if let Some(why) = results.into_iter().find_map(Result::err) {
        panic!("\n{why}after {took:.1} s");
    }
    println!(
        "{seeds} seeds, {} lives of the server, {virtual_s:.0} s of virtual time in {took:.1} s: {:.0} × real time",
        lives.into_inner(),
        virtual_s / took
    );
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    for seed in 0..20 {
        let tell = || run(seed, false).unwrap_or_else(|why| panic!("\n{why}"));
        assert_eq!(tell(), tell(), "seed {seed}");
    }
}

/// A planted bug that does not fit the tree any more finds nothing.
#[test]
fn every_planted_bug_can_still_be_planted() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check-mutants");
    let checked = std::process::Command::new(script).arg("--applies").output().expect("a shell and git");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
