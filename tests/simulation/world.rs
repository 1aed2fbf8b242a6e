//! The server's surroundings, simulated: its clocks, its helpers, its disk.
//!
//! Owns: how jobs are put off. Must never know: the server.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use roomlog::accounts::Token;
use roomlog::clock::Now;
use roomlog::config::Config;
use roomlog::jobs::{Helper, Helpers};
use roomlog::log::sim::SimDisk;
use roomlog::server::{ServerError, Stage, World};

use super::core::{Event, Shared};
use super::dice::Dice;
use super::network::SimPort;

pub struct SimWorld {
    pub shared: Shared,
    pub entropy: Dice,
    /// When this process started.
    pub started_us: u64,
}

impl World for SimWorld {
    type Disk = SimDisk;
    type Port = SimPort;
    type Helpers = SimHelpers;

    fn now(&self) -> Now {
        let core = self.shared.borrow();
        let monotonic_us = core.now_us - self.started_us;
        let unix_ms = core.unix_ms();
        Now { monotonic_ms: monotonic_us / 1_000, unix_ms, fraction_us: (monotonic_us % 1_000) as u16 }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.iter_mut().for_each(|byte| *byte = self.entropy.roll() as u8);
        Ok(())
    }

    fn disk(&self) -> SimDisk {
        self.shared.borrow().disk.clone()
    }

    fn descriptors(&self) -> usize {
        4_096
    }

    fn listen(&mut self, _address: SocketAddr) -> Result<(SimPort, SimHelpers), ServerError> {
        self.shared.borrow_mut().network.is_listening = true;
        Ok((SimPort(self.shared.clone()), SimHelpers(self.shared.clone())))
    }

    fn announce(&mut self, _config: &Config, _operator: &Token) -> io::Result<()> {
        Ok(())
    }

    fn tell(&mut self, _stage: Stage) {}

    fn withdraw(&mut self, _data: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_told_to_stop(&mut self) -> bool {
        std::mem::take(&mut self.shared.borrow_mut().is_signalled)
    }

    /// As good as any for people who do not exist.
    fn hash(password: &str, salt: [u8; 16]) -> String {
        format!("{password}:{}", salt[0])
    }

    fn verify(password: &str, hash: &str) -> bool {
        hash.rsplit_once(':').is_some_and(|(of, _)| of == password)
    }
}

#[derive(Clone)]
pub struct SimHelpers(pub Shared);

struct Bench<J, O> {
    todo: VecDeque<J>,
    done: VecDeque<O>,
    work: Box<dyn Fn(J) -> O>,
}

impl<J, O> Bench<J, O> {
    fn do_next(&mut self) {
        if let Some(job) = self.todo.pop_front() {
            self.done.push_back((self.work)(job));
        }
    }
}

/// Does its jobs in order, each at its time, between two turns of the loop.
pub struct SimHelper<J, O> {
    shared: Shared,
    bench: Rc<RefCell<Bench<J, O>>>,
    number: usize,
    /// When the last of its jobs is done.
    busy_until_us: u64,
}

impl Helpers for SimHelpers {
    type Helper<J: Send + 'static, O: Send + 'static> = SimHelper<J, O>;

    fn start<J: Send + 'static, O: Send + 'static>(
        &self,
        _name: &str,
        work: impl Fn(J) -> O + Send + 'static,
    ) -> io::Result<SimHelper<J, O>> {
        let bench = Bench { todo: VecDeque::new(), done: VecDeque::new(), work: Box::new(work) };
        let bench = Rc::new(RefCell::new(bench));
        let mut core = self.0.borrow_mut();
        let works = Rc::clone(&bench);
        core.helpers.push(Box::new(move || works.borrow_mut().do_next()));
        let number = core.helpers.len() - 1;
        Ok(SimHelper { shared: self.0.clone(), bench, number, busy_until_us: 0 })
    }
}

impl<J, O> Helper<J, O> for SimHelper<J, O> {
    fn submit(&mut self, job: J) {
        self.bench.borrow_mut().todo.push_back(job);
        let core = &mut *self.shared.borrow_mut();
        let takes_us =
            if core.dice.chance(3) { core.dice.within(50_000, 600_000) } else { core.dice.within(50, 5_000) };
        self.busy_until_us = self.busy_until_us.max(core.now_us) + takes_us;
        core.at(self.busy_until_us, Event::Job { helper: self.number, life: core.life });
    }

    fn try_take(&mut self) -> Option<O> {
        self.bench.borrow_mut().done.pop_front()
    }

    fn take(&mut self) -> O {
        let mut bench = self.bench.borrow_mut();
        if bench.done.is_empty() {
            bench.do_next();
        }
        bench.done.pop_front().expect("a job was handed over")
    }
}
