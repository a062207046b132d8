//! When a failed request is sent again, how long after, and until when.
//!
//! The bound is a time, not a number: a backup whose storage is gone for a minute goes on. What the storage has answered for good is told at once, and storage that never
//! answered is given up soon, since most likely its address is wrong.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opendal::ErrorKind;
use tokio::time::Instant;

use super::counts::{Meters, Verb};
use super::options::StorageOptions;
use super::uri::Redactor;

/// How long storage that never answered is tried.
const FIRST_CONTACT: Duration = Duration::from_secs(10);

/// How long storage that never answered may be silent: connections are made in less.
const FIRST_SILENCE: Duration = Duration::from_secs(20);

/// After how long somebody is told that a request is still being tried.
const TROUBLE: Duration = Duration::from_secs(5);

/// Most that a service can ask to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How many answers of the server itself that something failed are taken before they count as final.
const DOUBTS_MAX: u32 = 4;

/// The message of an error that says that a range came with the wrong length.
pub(super) const WRONG_LENGTH: &str = "not as many bytes as asked for";

/// A request that failed for good: the last error, how often it was sent, and for how long.
pub(super) struct Exhausted {
    pub(super) attempts: u32,
    pub(super) elapsed: Duration,
    pub(super) error: opendal::Error,
}

impl Exhausted {
    /// A request whose own task died, which no other attempt would change.
    pub(super) fn died() -> Self {
        let error = opendal::Error::new(ErrorKind::Unexpected, "the request died");
        Self { attempts: 1, elapsed: Duration::ZERO, error }
    }
}

/// What all requests to one storage share: its bounds, and whether it answers.
pub(super) struct Persistence {
    pub(super) options: StorageOptions,
    pub(super) meters: Arc<Meters>,
    pub(super) redactor: Redactor,
    /// Whether it ever answered.
    is_known: AtomicBool,
    /// Whether somebody was told that it does not.
    is_in_trouble: AtomicBool,
}

impl Persistence {
    pub(super) fn new(options: StorageOptions, meters: Arc<Meters>, redactor: Redactor) -> Self {
        Self { options, meters, redactor, is_known: AtomicBool::new(false), is_in_trouble: AtomicBool::new(false) }
    }

    /// Repeats a request while that may help, within the bounds.
    pub(super) async fn repeat<T, C>(&self, verb: Verb, make: impl Fn() -> C) -> Result<T, Exhausted>
    where
        C: Future<Output = opendal::Result<T>>,
    {
        // A timer of the runtime, which no change of the calendar's clock moves.
        let start = Instant::now();
        let (mut attempt, mut doubts) = (1, 0);
        loop {
            self.meters.request(verb, attempt);
            let error = match make().await {
                Ok(value) => {
                    self.answered();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let outlook = outlook(&error);
            if outlook != Outlook::Hopeful {
                doubts += 1;
                self.answered();
            }
            let pause = self.options.pause(attempt).max(retry_after(&error).unwrap_or_default());
            let elapsed = start.elapsed();
            let is_hopeless = outlook == Outlook::Final || doubts >= DOUBTS_MAX || attempt >= self.options.attempts;
            if is_hopeless || elapsed + pause > self.deadline() {
                return Err(Exhausted { attempts: attempt, elapsed, error });
            }
            if elapsed + pause > TROUBLE {
                self.tell(verb, attempt, &error);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Whether the storage ever answered anything.
    pub(super) fn has_answered(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// How long the storage may be silent now.
    pub(super) fn silence(&self) -> Duration {
        if self.has_answered() { self.options.silence() } else { self.options.silence().min(FIRST_SILENCE) }
    }

    fn deadline(&self) -> Duration {
        if self.has_answered() { self.options.deadline() } else { self.options.deadline().min(FIRST_CONTACT) }
    }

    fn answered(&self) {
        self.is_known.store(true, Ordering::Relaxed);
        if self.is_in_trouble.swap(false, Ordering::Relaxed)
            && let Some(notify) = &self.options.notify
        {
            notify.say("the storage answers again");
        }
    }

    /// Says once for all requests that they wait.
    fn tell(&self, verb: Verb, attempts: u32, error: &opendal::Error) {
        let Some(notify) = &self.options.notify else { return };
        if !self.is_in_trouble.swap(true, Ordering::Relaxed) {
            let (verb, bound) = (verb.name(), self.deadline().as_secs());
            let why = self.redactor.failure(error);
            notify.say(&format!(
                "the storage failed to {verb} {attempts} times, and is tried for up to {bound} s: {why}"
            ));
        }
    }
}

/// What can be hoped for after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// The same request will fail again.
    Final,
    /// The server answered with a failure that may be anything, a full disk as well as a moment's trouble.
    Doubtful,
    /// The line or the server is in trouble, and may come back.
    Hopeful,
}

fn outlook(error: &opendal::Error) -> Outlook {
    // OpenDAL counts a refused connection of `ssh` as permanent.
    let is_line_of_ssh = || error.kind() == ErrorKind::Unexpected && error.message() == "ssh error";
    match error.is_temporary() {
        true if is_answer_of_sftp(error) || error.message() == WRONG_LENGTH => Outlook::Doubtful,
        true => Outlook::Hopeful,
        false if is_line_of_ssh() => Outlook::Hopeful,
        false => Outlook::Final,
    }
}

/// Whether an SFTP server answered that a request failed, so that it was not done.
pub(super) fn is_answer_of_sftp(error: &opendal::Error) -> bool {
    error.message() == "sftp error" && error.to_string().contains("Sftp server reported error kind")
}

/// The seconds that a response's `Retry-After` asked to wait. OpenDAL shows headers in the text of an error only; the form with a date is not understood.
fn retry_after(error: &opendal::Error) -> Option<Duration> {
    let text = error.to_string();
    let (_, value) = text.split_once("\"retry-after\": \"")?;
    let (value, _) = value.split_once('"')?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &str) -> opendal::Error {
        let response = format!("Parts {{ status: 503, version: HTTP/1.1, headers: {{{headers}}} }}");
        opendal::Error::new(ErrorKind::Unexpected, "slow down").set_temporary().with_context("response", response)
    }

    #[test]
    fn a_service_may_ask_to_wait_but_not_for_ever() {
        let seconds = |headers: &str| retry_after(&refused(headers)).map(|pause| pause.as_secs());
        assert_eq!(seconds("\"server\": \"x\", \"retry-after\": \"7\", \"a\": \"b\""), Some(7));
        assert_eq!(seconds("\"retry-after\": \"86400\""), Some(60));
        assert_eq!(seconds("\"retry-after\": \"Fri, 31 Dec 1999 23:59:59 GMT\""), None);
        assert_eq!(seconds("\"server\": \"x\""), None);
    }

    #[test]
    fn what_the_server_answered_for_good_is_final() {
        let plain = |message: &str| opendal::Error::new(ErrorKind::Unexpected, message);
        assert_eq!(outlook(&plain("400")), Outlook::Final);
        assert_eq!(outlook(&opendal::Error::new(ErrorKind::NotFound, "ssh error")), Outlook::Final);
        assert_eq!(outlook(&refused("")), Outlook::Hopeful);
        assert_eq!(outlook(&plain("ssh error")), Outlook::Hopeful);
        assert_eq!(outlook(&plain("sftp error").set_temporary()), Outlook::Hopeful);
        let failure = std::io::Error::other("Sftp server reported error kind Failure, msg: Failure");
        assert_eq!(outlook(&plain("sftp error").set_source(failure).set_temporary()), Outlook::Doubtful);
    }
}
