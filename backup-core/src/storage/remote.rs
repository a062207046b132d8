//! Everything but directories: an operator's service, driven on a hidden runtime, with retries, deadlines and bounded concurrency.
//!
//! Callers are threads without a runtime, or with one of their own: a request is spawned on ours and waited for on a channel of the standard library, which neither
//! needs nor disturbs theirs. Such a wait blocks, so an async program calls this library within `tokio::task::spawn_blocking`.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use opendal::{Buffer, Operator};
use tokio::task::JoinSet;

use super::counts::Verb;
use super::gate::{CANCEL_POLL, Gate};
use super::home::Home;
use super::local::{Found, is_stale};
use super::name::temporary_name;
use super::retry::{Exhausted, Persistence};
use super::service::Service;
use super::write::{Way, write};
use super::{ObjectInfo, request, storage_error};
use crate::error::{Error, Result};
use crate::progress::Cancel;
use crate::time::Time;

/// What is written through the operator for data, where there is one.
const DATA_PREFIX: &str = "packs/";

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
    /// Declared behind the operator, so that it outlives it.
    home: Home,
    data: Option<Operator>,
    part_bytes: Option<usize>,
    /// Whether objects come under a temporary name first.
    renames: bool,
    gate: Gate,
    persistence: Arc<Persistence>,
}

impl Remote {
    pub(super) fn new(service: Service, persistence: Persistence) -> Self {
        let capability = service.operator.info().capability();
        // What can rename is a file system elsewhere, where a file that is being written can be seen.
        let renames = capability.rename;
        let has_parts = service.has_parts && capability.write_can_multi && !renames;
        let part_bytes = usize::try_from(persistence.options.part_bytes).ok().filter(|_| has_parts);
        let gate = Gate::new(persistence.options.concurrency);
        let (operator, data) = (service.operator, service.data);
        let home = Home::of(operator.info().scheme());
        Self { operator, home, data, part_bytes, renames, gate, persistence: Arc::new(persistence) }
    }

    pub(super) fn read(&self, call: Call<'_>, length_max: u64) -> Result<Found> {
        let (name, silence) = (call.name.to_owned(), self.silence());
        self.run(call, move |operator| request::read(operator, name.clone(), length_max, silence))
    }

    pub(super) fn read_range(&self, call: Call<'_>, offset: u64, length: u64) -> Result<Found> {
        if length == 0 {
            return Ok(Found::Bytes(Vec::new()));
        }
        let Some(end) = offset.checked_add(length) else { return Ok(Found::TooShort) };
        let (name, silence) = (call.name.to_owned(), self.silence());
        let range = (offset, length);
        let result = self.run(call, move |operator| request::read_range(operator, name.clone(), range, silence));
        // Services differ in what they say beyond the end of an object: its length decides.
        if let Err(Error::Storage { attempts: 1, .. }) = result
            && let Ok(Some(info)) = self.stat(Call { verb: Verb::Stat, ..call })
            && info.length_bytes < end
        {
            return Ok(Found::TooShort);
        }
        result
    }

    pub(super) fn write(&self, call: Call<'_>, parts: Vec<Vec<u8>>) -> Result<()> {
        let (name, silence) = (call.name.to_owned(), self.silence());
        let bytes = Buffer::from(parts.into_iter().map(Into::into).collect::<VecDeque<_>>());
        let (part_bytes, renames) = (self.part_bytes, self.renames);
        let environment = self.persistence.options.environment.clone();
        let data = self.data.clone().filter(|_| name.starts_with(DATA_PREFIX));
        self.run(call, move |operator| {
            let temporary = renames.then(|| temporary_name(&name, &environment));
            let operator = data.clone().unwrap_or(operator);
            write(Way { operator, name: name.clone(), part_bytes, temporary, silence }, bytes.clone())
        })
    }

    pub(super) fn stat(&self, call: Call<'_>) -> Result<Option<ObjectInfo>> {
        let (name, silence) = (call.name.to_owned(), self.silence());
        self.run(call, move |operator| request::stat(operator, name.clone(), silence))
    }

    pub(super) fn delete(&self, call: Call<'_>) -> Result<()> {
        let (name, silence) = (call.name.to_owned(), self.silence());
        self.run(call, move |operator| request::delete(operator, name.clone(), silence))
    }

    /// Lists files in no order. Where the service's listing has no lengths, each object is asked for its own.
    pub(super) fn list(&self, call: Call<'_>) -> Result<Vec<ObjectInfo>> {
        let (prefix, silence) = (call.name.to_owned(), self.silence());
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
        let (operator, persistence, silence) = (self.operator.clone(), Arc::clone(&self.persistence), self.silence());
        self.wait(call, async move {
            let mut found = Vec::with_capacity(names.len());
            let mut names = names.into_iter();
            let mut under_way = JoinSet::new();
            loop {
                while under_way.len() < persistence.options.concurrency
                    && let Some(name) = names.next()
                {
                    let (operator, persistence) = (operator.clone(), Arc::clone(&persistence));
                    under_way.spawn(async move {
                        let make = || request::stat(operator.clone(), name.clone(), silence);
                        persistence.repeat(Verb::Stat, make).await
                    });
                }
                match under_way.join_next().await {
                    Some(Ok(info)) => found.extend(info?),
                    Some(Err(_died)) => return Err(Exhausted::died()),
                    None => return Ok(found),
                }
            }
        })
    }

    /// Removes what writers that died left under temporary names.
    pub(super) fn remove_stale_temporaries(&self, call: Call<'_>, now: Time) -> Result<u64> {
        if !self.renames {
            return Ok(0);
        }
        let found = self.list(Call { verb: Verb::List, ..call })?;
        let stale: Vec<_> = found.iter().filter(|info| is_stale(&info.name, info.modified, now)).collect();
        for info in &stale {
            self.delete(Call { name: &info.name, ..call })?;
        }
        Ok(stale.len() as u64)
    }

    /// Removes directories that nothing is in any more, deepest first; where the service has none, there is nothing to do.
    pub(super) fn remove_directories(&self, call: Call<'_>, directories: &[String]) -> Result<()> {
        let has_directories = self.operator.info().capability().create_dir;
        for directory in directories.iter().filter(|_| has_directories) {
            let name = format!("{directory}/");
            self.delete(Call { name: &name, ..call })?;
        }
        Ok(())
    }

    pub(super) fn has_answered(&self) -> bool {
        self.persistence.has_answered()
    }

    fn silence(&self) -> Duration {
        self.persistence.silence()
    }

    /// Sends a request, again and again where that may help, and waits for the outcome.
    fn run<T, F, C>(&self, call: Call<'_>, make: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(Operator) -> C + Send + Sync + 'static,
        C: Future<Output = opendal::Result<T>> + Send + 'static,
    {
        let _pass = self.gate.enter(call.cancel)?;
        let (operator, persistence, verb) = (self.operator.clone(), Arc::clone(&self.persistence), call.verb);
        self.wait(call, async move { persistence.repeat(verb, || make(operator.clone())).await })
    }

    fn wait<T, C>(&self, call: Call<'_>, task: C) -> Result<T>
    where
        T: Send + 'static,
        C: Future<Output = Result<T, Exhausted>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let runtime =
            self.home.runtime().map_err(|why| storage_error(call.verb, call.name, (1, Duration::ZERO), why))?;
        let task = runtime.spawn(async move {
            // Nobody listens any more after a cancellation.
            let _ = sender.send(task.await);
        });
        loop {
            match receiver.recv_timeout(CANCEL_POLL) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(exhausted)) => return Err(self.error(call, &exhausted)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.error(call, &Exhausted::died())),
                Err(RecvTimeoutError::Timeout) if call.cancel.is_cancelled() => {
                    task.abort();
                    return Err(Error::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn error(&self, call: Call<'_>, Exhausted { attempts, elapsed, error }: &Exhausted) -> Error {
        if error.kind() == opendal::ErrorKind::NotFound && call.verb == Verb::Read {
            return Error::Missing { object: call.name.to_owned() };
        }
        storage_error(call.verb, call.name, (*attempts, *elapsed), self.persistence.redactor.failure(error))
    }
}
