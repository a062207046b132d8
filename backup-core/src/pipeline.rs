//! Work on all cores with results in order; the owner of `rayon`.
//!
//! A verb runs on its caller's thread, which decides; the workers read, hash, compress and seal. The caller bounds what is under way by waiting for the oldest result,
//! so memory is bounded by the number of results that it lets lie.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// A fixed set of worker threads.
pub(crate) struct Workers {
    pool: rayon::ThreadPool,
}

/// A result to come.
pub(crate) struct Pending<T>(Receiver<std::thread::Result<T>>);

impl Workers {
    /// Starts as many workers as there are cores, or as many as asked for.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(cores).max(1))
            .thread_name(|i| format!("holdfast-{i}"))
            .build()
            .expect("a few threads can be started, or nothing can");
        Self { pool }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Hands work over; first come, first served.
    pub(crate) fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (sender, receiver) = sync_channel(1);
        self.pool.spawn_fifo(move || {
            // A dropped receiver means that nobody wants the result any more.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        Pending(receiver)
    }

    /// Does something to each item, on all workers, and returns the results in the items' order.
    pub(crate) fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
        self.pool.install(|| items.into_par_iter().with_max_len(1).map(work).collect())
    }
}

impl<T> Pending<T> {
    /// Waits for the result. A panic of the work goes on here.
    pub(crate) fn wait(self) -> T {
        match self.0.recv().expect("a worker sends before it ends") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The result if it is there, else the claim to it.
    fn try_wait(self) -> Result<T, Self> {
        match self.0.try_recv() {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(TryRecvError::Empty) => Err(self),
            Err(TryRecvError::Disconnected) => unreachable!("a worker sends before it ends"),
        }
    }
}

/// Results to come, in order, and no more than a bound of them.
pub(crate) struct Ordered<T> {
    queue: VecDeque<Pending<T>>,
    bound: usize,
}

impl<T> Ordered<T> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { queue: VecDeque::new(), bound: bound.max(1) }
    }

    pub(crate) fn push(&mut self, pending: Pending<T>) {
        self.queue.push_back(pending);
    }

    /// The next result if it is there, or waits for it if too many are under way; `None` if there is no need to wait.
    pub(crate) fn next_ready(&mut self) -> Option<T> {
        let oldest = self.queue.pop_front()?;
        if self.queue.len() >= self.bound {
            return Some(oldest.wait());
        }
        match oldest.try_wait() {
            Ok(result) => Some(result),
            Err(oldest) => {
                self.queue.push_front(oldest);
                None
            }
        }
    }

    /// The next result, waited for; `None` when there is none left.
    pub(crate) fn next(&mut self) -> Option<T> {
        self.queue.pop_front().map(Pending::wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_submission() {
        let workers = Workers::new(Some(3));
        let mut ordered = Ordered::new(4);
        let mut results = Vec::new();
        for i in 0..100u64 {
            ordered.push(workers.submit(move || (0..(i * 7919) % 1000).sum::<u64>() + i));
            while let Some(result) = ordered.next_ready() {
                results.push(result);
            }
        }
        while let Some(result) = ordered.next() {
            results.push(result);
        }
        let expected: Vec<u64> = (0..100u64).map(|i| (0..(i * 7919) % 1000).sum::<u64>() + i).collect();
        assert_eq!(results, expected);
    }

    #[test]
    #[should_panic(expected = "a worker's panic")]
    fn a_panic_of_the_work_reaches_the_one_who_waits() {
        Workers::new(Some(1)).submit(|| panic!("a worker's panic")).wait();
    }
}
