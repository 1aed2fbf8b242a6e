//! The helper thread: what would block the loop runs here, one job after the other.
//!
//! Owns: the thread and the way back. Must never know: why a job is asked for, or what its outcome means.

use std::{
    io,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use mio::Waker;

use crate::log::{Disk, SyncBatch, SyncOutcome};

/// A thread that makes batches durable and wakes the loop when one is done.
pub struct Jobs<D: Disk> {
    batches: Sender<SyncBatch<D>>,
    outcomes: Receiver<SyncOutcome>,
    in_flight: usize,
    _thread: JoinHandle<()>,
}

impl<D: Disk> Jobs<D> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn start(waker: Waker) -> io::Result<Self> {
        let (batches, todo) = mpsc::channel::<SyncBatch<D>>();
        let (done, outcomes) = mpsc::channel();
        let work = move || {
            for batch in todo {
                if done.send(batch.run()).is_err() || waker.wake().is_err() {
                    return; // the loop is gone
                }
            }
        };
        let thread = thread::Builder::new().name("jobs".into()).spawn(work)?;
        Ok(Self { batches, outcomes, in_flight: 0, _thread: thread })
    }

    /// Hands a batch over.
    ///
    /// # Panics
    /// The thread died, which is a bug: nothing could be made durable any more.
    pub fn submit(&mut self, batch: SyncBatch<D>) {
        self.in_flight += 1;
        self.batches.send(batch).expect("the jobs thread lives as long as the loop");
    }

    /// The outcome of a batch that is done, if there is one.
    pub fn try_take(&mut self) -> Option<SyncOutcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.in_flight -= 1;
        Some(outcome)
    }

    /// Waits for the outcome of a batch that is under way; `None` if none is.
    ///
    /// # Panics
    /// The thread died, which is a bug.
    pub fn wait(&mut self) -> Option<SyncOutcome> {
        if self.in_flight == 0 {
            return None;
        }
        self.in_flight -= 1;
        Some(self.outcomes.recv().expect("the jobs thread lives as long as the loop"))
    }
}
