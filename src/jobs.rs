//! The helper threads: what would block the loop runs there. Syncs have a thread of their own, so that nothing delays
//! them; everything else that is slow shares another.
//!
//! Owns: the threads and the way back. Must never know: why a job is asked for, or what its outcome means.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use mio::Waker;

use crate::{
    limits,
    log::{Disk, SyncBatch, SyncOutcome},
};

/// A thread that makes batches durable and wakes the loop when one is done.
pub struct Jobs<D: Disk> {
    batches: Sender<(u8, SyncBatch<D>)>,
    outcomes: Receiver<(u8, SyncOutcome)>,
    in_flight: usize,
    _thread: JoinHandle<()>,
}

impl<D: Disk> Jobs<D> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (batches, todo) = mpsc::channel::<(u8, SyncBatch<D>)>();
        let (done, outcomes) = mpsc::channel();
        let work = move || {
            for (tag, batch) in todo {
                if done.send((tag, batch.run())).is_err() || waker.wake().is_err() {
                    return; // the loop is gone
                }
            }
        };
        let thread = thread::Builder::new().name("jobs".into()).spawn(work)?;
        Ok(Self { batches, outcomes, in_flight: 0, _thread: thread })
    }

    /// Hands a batch over. `tag` says whose it is, and comes back with the outcome.
    ///
    /// # Panics
    /// The thread died, which is a bug: nothing could be made durable any more.
    pub fn submit(&mut self, tag: u8, batch: SyncBatch<D>) {
        self.in_flight += 1;
        self.batches.send((tag, batch)).expect("the jobs thread lives as long as the loop");
    }

    /// The outcome of a batch that is done, if there is one, with its tag.
    pub fn try_take(&mut self) -> Option<(u8, SyncOutcome)> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.in_flight -= 1;
        Some(outcome)
    }

    /// Waits for the outcome of a batch that is under way; `None` if none is.
    ///
    /// # Panics
    /// The thread died, which is a bug.
    pub fn wait(&mut self) -> Option<(u8, SyncOutcome)> {
        if self.in_flight == 0 {
            return None;
        }
        self.in_flight -= 1;
        Some(self.outcomes.recv().expect("the jobs thread lives as long as the loop"))
    }
}

/// A thread for slow work of one kind, one job after the other; started with the first job. `T` is a ticket, which stays
/// on the caller's side and comes back with the outcome; `J` a job, `O` its outcome.
///
/// Nobody waits for it at the end: a process that exits leaves its jobs undone.
pub struct Worker<T, J, O> {
    waker: Arc<Waker>,
    work: fn(J) -> O,
    /// Whose jobs are waiting or under way, in order.
    tickets: VecDeque<T>,
    running: Option<Running<J, O>>,
}

/// `None` for a job that panicked.
type Outcome<O> = Option<O>;

struct Running<J, O> {
    jobs: Sender<J>,
    outcomes: Receiver<Outcome<O>>,
}

impl<T, J: Send + 'static, O: Send + 'static> Worker<T, J, O> {
    /// No thread yet; the first job starts it. `waker` wakes the loop when an outcome is there.
    pub fn new(waker: Arc<Waker>, work: fn(J) -> O) -> Self {
        Self { waker, work, tickets: VecDeque::new(), running: None }
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// The job and its ticket, because `limits::HELPER_QUEUE_MAX` others wait, or there is no thread to be had: answer
    /// that the server is busy.
    pub fn submit(&mut self, ticket: T, job: J) -> Result<(), (T, J)> {
        if self.tickets.len() >= limits::HELPER_QUEUE_MAX {
            return Err((ticket, job));
        }
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    ::log::error!("no thread for slow work: {error}");
                    return Err((ticket, job));
                }
            }
        }
        let running = self.running.as_ref().expect("it was started above");
        running.jobs.send(job).expect("the worker survives its jobs and lives as long as the loop");
        self.tickets.push_back(ticket);
        Ok(())
    }

    /// The next outcome, if one is there: `None` in place of it if the job panicked, which is a bug and was logged.
    pub fn try_take(&mut self) -> Option<(T, Option<O>)> {
        let outcome = self.running.as_ref()?.outcomes.try_recv().ok()?;
        let ticket = self.tickets.pop_front().expect("an outcome belongs to a job that was handed over");
        Some((ticket, outcome))
    }

    /// Whether nothing waits or is under way.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    fn start(&self) -> io::Result<Running<J, O>> {
        let (jobs, todo) = mpsc::channel::<J>();
        let (done, outcomes) = mpsc::channel();
        let (waker, work) = (Arc::clone(&self.waker), self.work);
        let run = move || {
            for job in todo {
                // A job owns all that it touches, so nothing half done is seen afterwards.
                let outcome = catch_unwind(AssertUnwindSafe(|| work(job))).ok();
                if outcome.is_none() {
                    ::log::error!("a job of the helper thread panicked");
                }
                if done.send(outcome).is_err() || waker.wake().is_err() {
                    return; // the loop is gone
                }
            }
        };
        thread::Builder::new().name("helper".into()).spawn(run)?;
        Ok(Running { jobs, outcomes })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Duration};

    use mio::{Events, Poll, Token};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn poll() -> (Poll, Arc<Waker>) {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        (poll, Arc::new(waker))
    }

    /// Waits, as the loop does, until there is an outcome.
    fn next<T, J: Send + 'static, O: Send + 'static>(poll: &mut Poll, worker: &mut Worker<T, J, O>) -> (T, Option<O>) {
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(outcome) = worker.try_take() {
                return outcome;
            }
            poll.poll(&mut events, Some(PATIENCE)).expect("a poll");
            assert!(!events.is_empty(), "the loop is woken");
        }
    }

    #[test]
    fn a_job_that_panics_fails_alone() {
        let (mut poll, waker) = poll();
        let mut worker = Worker::new(waker, |n: u32| if n == 2 { panic!("two") } else { n * 10 });
        assert!(worker.try_take().is_none() && worker.is_empty());
        for n in [1, 2, 3] {
            worker.submit(format!("ticket {n}"), n).expect("there is room");
        }
        for expected in [("ticket 1", Some(10)), ("ticket 2", None), ("ticket 3", Some(30))] {
            let (ticket, outcome) = next(&mut poll, &mut worker);
            assert_eq!((ticket.as_str(), outcome), expected);
        }
        assert!(worker.is_empty());
    }

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let (mut poll, waker) = poll();
        let (go, wait) = channel();
        let mut worker = Worker::new(waker, |job: Option<Receiver<()>>| job.map(|wait| wait.recv()).is_some());
        worker.submit(0, Some(wait)).expect("there is room");
        for n in 1..limits::HELPER_QUEUE_MAX {
            worker.submit(n, None).expect("there is room");
        }
        assert!(matches!(worker.submit(99, None), Err((99, None))));
        go.send(()).expect("the first job waits");
        assert_eq!(next(&mut poll, &mut worker), (0, Some(true)));
        assert!(worker.submit(99, None).is_ok(), "one is done");
        for n in (1..limits::HELPER_QUEUE_MAX).chain([99]) {
            assert_eq!(next(&mut poll, &mut worker), (n, Some(false)));
        }
    }
}
