//! The single requests to a service, each as one future that can be tried again: nothing here retries or counts.
//!
//! Reads and listings are streamed, so that storage that lies about a length cannot fill the memory, and are bounded by silence and not by duration, so
//! that a slow line is no failure.

use std::future::Future;
use std::time::{Duration, SystemTime};

use opendal::raw::oio::{List, Read, ReadStream};
use opendal::raw::{OpRead, Service};
use opendal::{Buffer, BytesRange, ErrorKind, Metadata, Operator, Result, options};

use super::ObjectInfo;
use super::local::Found;
use super::retry::WRONG_LENGTH;
use crate::time::Time;

/// What is allocated before the first byte came, at most.
const ALLOCATION_BYTES_MAX: u64 = 16 << 20;

/// Reads a whole object of at most `length_max` bytes.
pub(super) async fn read(operator: Operator, name: String, length_max: u64, silence: Duration) -> Result<Found> {
    let (context, service) = operator.into_parts();
    let reader = service.read(&context, &name, OpRead::default())?;
    let (reply, mut stream) = within(silence, reader.open(BytesRange::default())).await?;
    let length = file_length(reply.metadata()).unwrap_or(0);
    if length > length_max {
        return Ok(Found::TooLong);
    }
    let mut bytes = Vec::with_capacity(capacity(length));
    while let Some(part) = next(&mut stream, silence).await? {
        append(&mut bytes, &part);
        if bytes.len() as u64 > length_max {
            return Ok(Found::TooLong);
        }
    }
    Ok(Found::Bytes(bytes))
}

/// Reads exactly `length` bytes at `offset`.
pub(super) async fn read_range(
    operator: Operator,
    name: String,
    (offset, length): (u64, u64),
    silence: Duration,
) -> Result<Found> {
    let (context, service) = operator.clone().into_parts();
    let reader = service.read(&context, &name, OpRead::default())?;
    let opened = within(silence, reader.open(BytesRange::new(offset, Some(length)))).await;
    let (reply, mut stream) = match opened {
        Err(error) if error.kind() == ErrorKind::RangeNotSatisfied => return Ok(Found::TooShort),
        opened => opened?,
    };
    // Where the service tells the length of the whole object, what is missing will not come with the next attempt.
    let is_too_short = file_length(reply.metadata()).is_some_and(|whole| whole < offset.saturating_add(length));
    let mut bytes = Vec::with_capacity(capacity(length));
    while bytes.len() as u64 <= length {
        match next(&mut stream, silence).await {
            Ok(Some(part)) => append(&mut bytes, &part),
            Ok(None) if bytes.len() as u64 == length => return Ok(Found::Bytes(bytes)),
            Ok(None) => break,
            Err(_) if is_too_short => return Ok(Found::TooShort),
            Err(error) => return Err(error),
        }
    }
    // Some services say only by sending less that the object ends before.
    match is_too_short || is_shorter(operator, name, offset.saturating_add(length), silence).await {
        true => Ok(Found::TooShort),
        false => Err(wrong_length()),
    }
}

/// Asks for the length of an object; `None` where there is none.
pub(super) async fn stat(operator: Operator, name: String, silence: Duration) -> Result<Option<ObjectInfo>> {
    match within(silence, operator.stat(&name)).await {
        Ok(metadata) => Ok(metadata.is_file().then(|| info(name, &metadata))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists files recursively; says of each whether its length was told.
pub(super) async fn list(operator: Operator, prefix: String, silence: Duration) -> Result<Vec<(ObjectInfo, bool)>> {
    let (context, service) = operator.into_parts();
    let path = if prefix.is_empty() { "/" } else { &prefix };
    let options = options::ListOptions { recursive: true, ..Default::default() };
    let mut found = Vec::new();
    let mut lister = match service.list(&context, path, options.into()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        lister => lister?,
    };
    loop {
        match within(silence, lister.next()).await {
            Ok(Some(entry)) if entry.mode().is_dir() => {}
            Ok(Some(entry)) => {
                // A listing without lengths may say zero; an object of ours is never empty.
                let is_told = entry.mode().is_file() && entry.metadata().content_length() > 0;
                found.push((info(entry.path().to_owned(), entry.metadata()), is_told));
            }
            Ok(None) => return Ok(found),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

/// Deletes an object, if it is there.
pub(super) async fn delete(operator: Operator, name: String, silence: Duration) -> Result<()> {
    match within(silence, operator.delete(&name)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

pub(super) async fn within<T>(limit: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    let silent = || opendal::Error::new(ErrorKind::Unexpected, "no answer in time").set_temporary();
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_elapsed| Err(silent()))
}

async fn next(stream: &mut impl ReadStream, silence: Duration) -> Result<Option<Buffer>> {
    let part = within(silence, stream.read()).await?;
    Ok((!part.is_empty()).then_some(part))
}

async fn is_shorter(operator: Operator, name: String, end: u64, silence: Duration) -> bool {
    matches!(stat(operator, name, silence).await, Ok(Some(info)) if info.length_bytes < end)
}

fn append(bytes: &mut Vec<u8>, part: &Buffer) {
    for slice in part.to_io_slice() {
        bytes.extend_from_slice(&slice);
    }
}

fn capacity(length: u64) -> usize {
    usize::try_from(length.min(ALLOCATION_BYTES_MAX)).unwrap_or(0)
}

fn wrong_length() -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, WRONG_LENGTH).set_temporary()
}

fn file_length(metadata: Option<&Metadata>) -> Option<u64> {
    metadata.filter(|metadata| metadata.is_file()).map(Metadata::content_length)
}

fn info(name: String, metadata: &Metadata) -> ObjectInfo {
    let since = |time| SystemTime::from(time).duration_since(SystemTime::UNIX_EPOCH).ok();
    let modified = metadata
        .last_modified()
        .and_then(since)
        .and_then(|since| Some(Time::new(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())));
    ObjectInfo { name, length_bytes: metadata.content_length(), modified }
}
