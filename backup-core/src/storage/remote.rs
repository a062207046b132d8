//! Everything but directories: an operator's service, driven on a hidden runtime, with retries, deadlines and bounded concurrency.
//!
//! Callers are threads without a runtime, or with one of their own: a request is spawned on ours and waited for on a channel of the standard library, which neither
//! needs nor disturbs theirs. Such a wait blocks, so an async program calls this library within `tokio::task::spawn_blocking`.

use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};

use opendal::{Buffer, Operator};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ObjectInfo;
use super::counts::{Meters, Verb};
use super::gate::{CANCEL_POLL, Gate};
use super::local::Found;
use super::options::StorageOptions;
use super::request;
use super::uri::{Failure, Redactor};
use crate::error::{Error, Result};
use crate::progress::Cancel;

/// What a call concerns.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) verb: Verb,
    pub(super) name: &'a str,
    pub(super) cancel: &'a Cancel,
}

/// A service behind an operator.
pub(super) struct Remote {
    operator: Operator,
    redactor: Redactor,
    gate: Gate,
    options: StorageOptions,
    meters: Arc<Meters>,
}

impl Remote {
    pub(super) fn new(operator: Operator, redactor: Redactor, options: StorageOptions, meters: Arc<Meters>) -> Self {
        Self { operator, redactor, gate: Gate::new(options.concurrency), options, meters }
    }

    pub(super) fn read(&self, call: Call<'_>, length_max: u64) -> Result<Found> {
        let (name, silence) = (call.name.to_owned(), self.options.deadline());
        self.run(call, move |operator| request::read(operator, name.clone(), length_max, silence))
    }

    pub(super) fn read_range(&self, call: Call<'_>, offset: u64, length: u64) -> Result<Found> {
        if length == 0 {
            return Ok(Found::Bytes(Vec::new()));
        }
        let Some(end) = offset.checked_add(length) else { return Ok(Found::TooShort) };
        let (name, silence) = (call.name.to_owned(), self.options.deadline());
        let range = (offset, length);
        let result = self.run(call, move |operator| request::read_range(operator, name.clone(), range, silence));
        // Services differ in what they say beyond the end of an object: its length decides.
        if let Err(Error::Storage { .. }) = result
            && let Ok(Some(info)) = self.stat(Call { verb: Verb::Stat, ..call })
            && info.length_bytes < end
        {
            return Ok(Found::TooShort);
        }
        result
    }

    pub(super) fn write(&self, call: Call<'_>, bytes: Vec<u8>) -> Result<()> {
        let (name, silence, bytes) = (call.name.to_owned(), self.options.deadline(), Buffer::from(bytes));
        self.run(call, move |operator| request::write(operator, name.clone(), bytes.clone(), silence))
    }

    pub(super) fn stat(&self, call: Call<'_>) -> Result<Option<ObjectInfo>> {
        let (name, silence) = (call.name.to_owned(), self.options.deadline());
        self.run(call, move |operator| request::stat(operator, name.clone(), silence))
    }

    pub(super) fn delete(&self, call: Call<'_>) -> Result<()> {
        let (name, silence) = (call.name.to_owned(), self.options.deadline());
        self.run(call, move |operator| request::delete(operator, name.clone(), silence))
    }

    /// Lists files in no order. Where the service's listing has no lengths, each object is asked for its own.
    pub(super) fn list(&self, call: Call<'_>) -> Result<Vec<ObjectInfo>> {
        let (prefix, silence) = (call.name.to_owned(), self.options.deadline());
        let found = self.run(call, move |operator| request::list(operator, prefix.clone(), silence))?;
        let (mut told, mut untold) = (Vec::with_capacity(found.len()), Vec::new());
        for (info, is_told) in found {
            if is_told { told.push(info) } else { untold.push(info.name) }
        }
        if !untold.is_empty() {
            told.extend(self.stat_all(call, untold)?);
        }
        Ok(told)
    }

    fn stat_all(&self, call: Call<'_>, names: Vec<String>) -> Result<Vec<ObjectInfo>> {
        let _pass = self.gate.enter(call.cancel)?;
        let (operator, options, meters) = (self.operator.clone(), self.options.clone(), Arc::clone(&self.meters));
        self.wait(call, async move {
            let mut found = Vec::with_capacity(names.len());
            let mut names = names.into_iter();
            let mut under_way = JoinSet::new();
            loop {
                while under_way.len() < options.concurrency
                    && let Some(name) = names.next()
                {
                    let (operator, options, meters) = (operator.clone(), options.clone(), Arc::clone(&meters));
                    under_way.spawn(async move {
                        let make = |operator| request::stat(operator, name.clone(), options.deadline());
                        persist(Verb::Stat, &operator, &options, &meters, make).await
                    });
                }
                match under_way.join_next().await {
                    Some(Ok(info)) => found.extend(info?),
                    Some(Err(_died)) => return Err((1, died())),
                    None => return Ok(found),
                }
            }
        })
    }

    /// Sends a request, again and again where that may help, and waits for the outcome.
    fn run<T, F, C>(&self, call: Call<'_>, make: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(Operator) -> C + Send + Sync + 'static,
        C: Future<Output = opendal::Result<T>> + Send + 'static,
    {
        let _pass = self.gate.enter(call.cancel)?;
        let (operator, options, meters) = (self.operator.clone(), self.options.clone(), Arc::clone(&self.meters));
        let verb = call.verb;
        self.wait(call, async move { persist(verb, &operator, &options, &meters, make).await })
    }

    fn wait<T, C>(&self, call: Call<'_>, task: C) -> Result<T>
    where
        T: Send + 'static,
        C: Future<Output = Result<T, Exhausted>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let task = runtime(call)?.spawn(async move {
            // Nobody listens any more after a cancellation.
            let _ = sender.send(task.await);
        });
        loop {
            match receiver.recv_timeout(CANCEL_POLL) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err((attempts, error))) => return Err(self.error(call, attempts, &error)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.error(call, 1, &died())),
                Err(RecvTimeoutError::Timeout) if call.cancel.is_cancelled() => {
                    task.abort();
                    return Err(Error::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn error(&self, call: Call<'_>, attempts: u32, error: &opendal::Error) -> Error {
        if error.kind() == opendal::ErrorKind::NotFound && call.verb == Verb::Read {
            return Error::Missing { object: call.name.to_owned() };
        }
        failed(call, attempts, self.redactor.failure(error))
    }
}

/// The last error of a request, and how often it was sent.
type Exhausted = (u32, opendal::Error);

/// Repeats a request while its errors are temporary, within the bounds of the options.
async fn persist<T, C>(
    verb: Verb,
    operator: &Operator,
    options: &StorageOptions,
    meters: &Meters,
    make: impl Fn(Operator) -> C,
) -> Result<T, Exhausted>
where
    C: Future<Output = opendal::Result<T>>,
{
    // A timer of the runtime, which no change of the calendar's clock moves.
    let deadline = Instant::now() + options.deadline();
    let mut attempt = 1;
    loop {
        meters.request(verb, attempt);
        let error = match make(operator.clone()).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let pause = options.pause(attempt);
        if !error.is_temporary() || attempt >= options.attempts || Instant::now() + pause > deadline {
            return Err((attempt, error));
        }
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// Makes the error of a call that failed for good.
fn failed(call: Call<'_>, attempts: u32, source: Failure) -> Error {
    let object = if call.name.is_empty() { "/" } else { call.name };
    Error::Storage { action: call.verb.name(), object: object.to_owned(), attempts, source: Box::new(source) }
}

fn died() -> opendal::Error {
    opendal::Error::new(opendal::ErrorKind::Unexpected, "the request died")
}

/// The runtime of all storages of this process. It is never dropped, for that would panic within somebody else's.
fn runtime(call: Call<'_>) -> Result<&'static Runtime> {
    const THREADS: usize = 2;
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let build =
        || Builder::new_multi_thread().worker_threads(THREADS).thread_name("holdfast-storage").enable_all().build();
    RUNTIME.get_or_init(build).as_ref().map_err(|error| failed(call, 1, Failure(error.to_string())))
}
