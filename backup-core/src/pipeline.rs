//! Work on all cores with results in order; the owner of `rayon`.
//!
//! A verb runs on its caller's thread, which decides; the workers read, hash, compress and seal. The caller bounds what is under way by waiting for the oldest result,
//! so memory is bounded by the number of results that it lets lie.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// A fixed set of worker threads.
pub(crate) struct Workers {
    pool: rayon::ThreadPool,
}

/// A result to come.
pub(crate) struct Pending<T> {
    receiver: Receiver<std::thread::Result<T>>,
    done: Arc<AtomicBool>,
}

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
        let (pending, work) = Pending::new(work);
        self.pool.spawn_fifo(work);
        pending
    }

    /// Does something to each item, on all workers, and returns the results in the items' order.
    pub(crate) fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
        self.pool.install(|| items.into_par_iter().with_max_len(1).map(work).collect())
    }

    /// Runs something on this thread that hands work over and may wait for it; returns when all of it is done.
    pub(crate) fn scope<'env, R>(&self, run: impl FnOnce(&Scope<'_, 'env>) -> R) -> R {
        self.pool.in_place_scope_fifo(|scope| run(&Scope(scope)))
    }

    /// Sorts on all workers; equal keys may change places.
    pub(crate) fn sort_by_key<T: Send, K: Ord + Send>(&self, items: &mut [T], key: impl Fn(&T) -> K + Sync + Send) {
        use rayon::slice::ParallelSliceMut;
        self.pool.install(|| items.par_sort_unstable_by_key(&key));
    }

    /// Hands over work that mostly waits for storage: it gets a thread of its own and takes no worker's time.
    pub(crate) fn submit_waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (pending, work) = Pending::new(work);
        std::thread::spawn(work);
        pending
    }
}

/// Lets work borrow what lives outside of it; see [`Workers::scope`].
pub(crate) struct Scope<'s, 'env>(&'s rayon::ScopeFifo<'env>);

impl<'env> Scope<'_, 'env> {
    /// Hands work over; first come, first served.
    pub(crate) fn submit<T: Send + 'env>(&self, work: impl FnOnce() -> T + Send + 'env) -> Pending<T> {
        let (pending, work) = Pending::new(work);
        self.0.spawn_fifo(|_| work());
        pending
    }
}

impl<T: Send> Pending<T> {
    fn new<'env>(work: impl FnOnce() -> T + Send + 'env) -> (Self, impl FnOnce() + Send + 'env)
    where
        T: 'env,
    {
        let (sender, receiver) = sync_channel(1);
        let done = Arc::new(AtomicBool::new(false));
        let pending = Self { receiver, done: Arc::clone(&done) };
        let run = move || {
            // A dropped receiver means that nobody wants the result any more.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
            done.store(true, Ordering::Release);
        };
        (pending, run)
    }
}

impl<T> Pending<T> {
    /// Waits for the result. A panic of the work goes on here.
    pub(crate) fn wait(self) -> T {
        match self.receiver.recv().expect("a worker sends before it ends") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whether the result is there, so that waiting takes no time.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
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
        let oldest = self.queue.front()?;
        if oldest.is_done() || self.queue.len() > self.bound { self.next() } else { None }
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
