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
    thread,
};

use mio::Waker;

use crate::{
    limits,
    log::{Disk, SyncBatch, SyncOutcome},
};

/// Where helpers come from.
pub trait Helpers {
    /// One that does jobs of one kind.
    type Helper<J: Send + 'static, O: Send + 'static>: Helper<J, O>;

    /// Starts a helper, which wakes the loop whenever an outcome is there.
    ///
    /// # Errors
    /// There is none to be had.
    fn start<J: Send + 'static, O: Send + 'static>(
        &self,
        name: &str,
        work: impl Fn(J) -> O + Send + 'static,
    ) -> io::Result<Self::Helper<J, O>>;
}

/// Does one job after the other, beside the loop.
pub trait Helper<J, O> {
    /// Hands a job over.
    ///
    /// # Panics
    /// The helper died, which is a bug.
    fn submit(&mut self, job: J);

    /// The next outcome, if it is there.
    fn try_take(&mut self) -> Option<O>;

    /// The next outcome, which a job that was handed over will have.
    ///
    /// # Panics
    /// The helper died, which is a bug.
    fn take(&mut self) -> O;
}

/// Helpers that are threads.
#[derive(Clone)]
pub struct Threads(pub Arc<Waker>);

/// A thread, which ends with the loop.
pub struct Thread<J, O> {
    jobs: Sender<J>,
    outcomes: Receiver<O>,
}

impl Helpers for Threads {
    type Helper<J: Send + 'static, O: Send + 'static> = Thread<J, O>;

    fn start<J: Send + 'static, O: Send + 'static>(
        &self,
        name: &str,
        work: impl Fn(J) -> O + Send + 'static,
    ) -> io::Result<Thread<J, O>> {
        let (jobs, todo) = mpsc::channel::<J>();
        let (done, outcomes) = mpsc::channel();
        let waker = Arc::clone(&self.0);
        let run = move || {
            for job in todo {
                if done.send(work(job)).is_err() || waker.wake().is_err() {
                    return; // the loop is gone
                }
            }
        };
        thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Thread { jobs, outcomes })
    }
}

impl<J, O> Helper<J, O> for Thread<J, O> {
    fn submit(&mut self, job: J) {
        self.jobs.send(job).expect("the thread lives as long as the loop");
    }

    fn try_take(&mut self) -> Option<O> {
        self.outcomes.try_recv().ok()
    }

    fn take(&mut self) -> O {
        self.outcomes.recv().expect("the thread lives as long as the loop")
    }
}

/// A batch and whose it is.
type Tagged<D> = (u8, SyncBatch<D>);

/// A helper that makes batches durable and wakes the loop when one is done.
pub struct Jobs<D: Disk, H: Helpers> {
    helper: H::Helper<Tagged<D>, (u8, SyncOutcome)>,
    /// When those that are under way were handed over, in microseconds.
    since_us: VecDeque<u64>,
}

impl<D: Disk, H: Helpers> Jobs<D, H> {
    /// Starts the helper.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn start(helpers: &H) -> io::Result<Self> {
        let helper = helpers.start("jobs", |(tag, batch): Tagged<D>| (tag, batch.run()))?;
        Ok(Self { helper, since_us: VecDeque::new() })
    }

    /// Hands a batch over at `now_us`. `tag` says whose it is, and comes back with the outcome.
    ///
    /// # Panics
    /// The helper died, which is a bug: nothing could be made durable any more.
    pub fn submit(&mut self, tag: u8, batch: SyncBatch<D>, now_us: u64) {
        self.since_us.push_back(now_us);
        self.helper.submit((tag, batch));
    }

    /// The outcome of a batch that is done, if there is one, with its tag and when it was handed over.
    pub fn try_take(&mut self) -> Option<(u8, SyncOutcome, u64)> {
        let (tag, outcome) = self.helper.try_take()?;
        let since_us = self.since_us.pop_front().expect("an outcome belongs to a batch that was handed over");
        Some((tag, outcome, since_us))
    }

    /// Waits for the outcome of a batch that is under way; `None` if none is.
    ///
    /// # Panics
    /// The helper died, which is a bug.
    pub fn wait(&mut self) -> Option<(u8, SyncOutcome)> {
        self.since_us.pop_front()?;
        Some(self.helper.take())
    }
}

/// A helper for slow work of one kind, one job after the other; started with the first job. `T` is a ticket, which stays
/// on the caller's side and comes back with the outcome; `J` a job, `O` its outcome.
///
/// Nobody waits for it at the end: a process that exits leaves its jobs undone.
pub struct Worker<T, J: Send + 'static, O: Send + 'static, H: Helpers> {
    helpers: H,
    work: fn(J) -> O,
    /// Whose jobs are waiting or under way, in order.
    tickets: VecDeque<T>,
    /// Its outcome is `None` for a job that panicked.
    running: Option<H::Helper<J, Option<O>>>,
}

impl<T, J: Send + 'static, O: Send + 'static, H: Helpers> Worker<T, J, O, H> {
    /// No helper yet; the first job starts it.
    pub fn new(helpers: H, work: fn(J) -> O) -> Self {
        Self { helpers, work, tickets: VecDeque::new(), running: None }
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
        self.running.as_mut().expect("it was started above").submit(job);
        self.tickets.push_back(ticket);
        Ok(())
    }

    /// The next outcome, if one is there: `None` in place of it if the job panicked, which is a bug and was logged.
    pub fn try_take(&mut self) -> Option<(T, Option<O>)> {
        let outcome = self.running.as_mut()?.try_take()?;
        let ticket = self.tickets.pop_front().expect("an outcome belongs to a job that was handed over");
        Some((ticket, outcome))
    }

    /// Whether nothing waits or is under way.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    fn start(&self) -> io::Result<H::Helper<J, Option<O>>> {
        let work = self.work;
        self.helpers.start("helper", move |job| {
            // A job owns all that it touches, so nothing half done is seen afterwards.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(job))).ok();
            if outcome.is_none() {
                ::log::error!("a job of the helper thread panicked");
            }
            outcome
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Duration};

    use mio::{Events, Poll, Token};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn poll() -> (Poll, Threads) {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        (poll, Threads(Arc::new(waker)))
    }

    /// Waits, as the loop does, until there is an outcome.
    fn next<T, J: Send + 'static, O: Send + 'static>(
        poll: &mut Poll,
        worker: &mut Worker<T, J, O, Threads>,
    ) -> (T, Option<O>) {
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
        let (mut poll, threads) = poll();
        let mut worker = Worker::new(threads, |n: u32| if n == 2 { panic!("two") } else { n * 10 });
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
        let (mut poll, threads) = poll();
        let (go, wait) = channel();
        let mut worker = Worker::new(threads, |job: Option<Receiver<()>>| job.map(|wait| wait.recv()).is_some());
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
