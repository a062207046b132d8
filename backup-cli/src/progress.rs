//! What standard error shows while a verb runs: a bar where it is a terminal, warnings and notes as they come; and the signals that stop a verb.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backup_core::progress::{Cancel, Progress, Stage, Warning};
use backup_core::words::printable;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::render::say;

/// Notes that are always shown: something was not stored, or lies elsewhere than one may expect, or somebody else holds this installation's writer.
const NOTES_SHOWN: [&str; 6] = ["kept", "left_out", "set_aside", "sqlite", "cloned", "forked"];

/// Shows a verb's progress.
pub(crate) struct Screen {
    bar: ProgressBar,
    is_verbose: bool,
    is_quiet: bool,
    files: AtomicU64,
    /// What was said already: reports repeat it.
    said: Mutex<HashSet<(&'static str, Vec<u8>, String)>>,
}

impl Screen {
    /// Makes a bar where standard error is a terminal and somebody looks at it.
    pub(crate) fn new(quiet: bool, json: bool, verbose: bool) -> Self {
        let is_watched = std::io::stderr().is_terminal() && !quiet && !json;
        let bar = if is_watched { ProgressBar::no_length() } else { ProgressBar::hidden() };
        Self { bar, is_verbose: verbose, is_quiet: quiet, files: AtomicU64::new(0), said: Mutex::default() }
    }

    /// Says what a report holds and was not said while the verb ran.
    pub(crate) fn catch_up(&self, warnings: &[Warning], notes: &[Warning]) {
        warnings.iter().for_each(|warning| self.warning(warning));
        notes.iter().for_each(|note| self.note(note));
    }

    fn say_once(&self, word: &str, warning: &Warning) {
        let key = (warning.kind, warning.subject.clone(), warning.message.clone());
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            let message = printable(warning.message.as_bytes());
            let line = match warning.subject.as_slice() {
                b"" => format!("{word}: {message}"),
                subject => format!("{word}: {}: {message}", printable(subject)),
            };
            self.bar.suspend(|| say(&line));
        }
    }
}

impl Progress for Screen {
    fn started(&self, stage: Stage, bytes: Option<u64>) {
        if self.bar.is_hidden() {
            return;
        }
        let template = match bytes {
            Some(_) => {
                "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}, {prefix}, {binary_bytes_per_sec}, {eta} left"
            }
            None => "{spinner} {msg} {binary_bytes}, {prefix}, {binary_bytes_per_sec}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.reset();
        match bytes {
            Some(bytes) => self.bar.set_length(bytes),
            None => self.bar.unset_length(),
        }
        self.files.store(0, Ordering::Relaxed);
        self.bar.set_prefix(count(0));
        self.bar.set_message(name(stage));
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn advanced(&self, files: u64, bytes: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let before = self.files.fetch_add(files, Ordering::Relaxed);
        // A text for each of a million files would cost more than the files.
        if before / 64 != (before + files) / 64 || before == 0 {
            self.bar.set_prefix(count(before + files));
        }
        self.bar.inc(bytes);
    }

    fn warning(&self, warning: &Warning) {
        self.say_once("warning", warning);
    }

    fn note(&self, note: &Warning) {
        if self.is_verbose || (NOTES_SHOWN.contains(&note.kind) && !self.is_quiet) {
            self.say_once("note", note);
        }
    }

    fn finished(&self, _stage: Stage) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn count(files: u64) -> String {
    backup_core::words::count(files, "file")
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Opening => "opening",
        Stage::BackingUp => "backing up",
        Stage::Restoring => "restoring",
        Stage::Checking => "checking",
        Stage::Repairing => "repairing",
        _ => "working",
    }
}

/// Makes a token that Ctrl-C, SIGTERM and SIGHUP set. The second signal ends the process at once.
///
/// A signal that cannot be caught ends the process, too: what is not committed never shows.
pub(crate) fn cancel_on_signals() -> Cancel {
    let flag = Arc::new(AtomicBool::new(false));
    // Under nohup a hang-up is nothing to stop for. Ctrl-C is different: shells let background jobs ignore it, and `kill -INT` means them all the same.
    let hang_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hang_up) {
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
        let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
    }
    Cancel::from_flag(flag)
}

/// Whether this process was started with a signal ignored, where the system says so.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
