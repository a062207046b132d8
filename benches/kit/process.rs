//! Another program as a whole: seconds by the clock and of the processors, and its peak of memory.

use std::error::Error;
use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::PeakMemory;
use super::memory::Memory;

/// What a program took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ran {
    /// By the clock.
    pub seconds: f64,
    /// Of all processors, in the system and outside, to a hundredth of a second.
    pub processor_seconds: f64,
    /// Of the first process; those that it starts are not seen.
    pub memory: Memory,
}

/// Runs a program with nothing to read; what it prints is thrown away, or is the error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<Ran, Box<dyn Error>> {
    let mut complaints = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints.try_clone()?);
    let before = processor_seconds();
    let start = Instant::now();
    let mut child = command.spawn()?;
    let memory = PeakMemory::start_of(child.id());
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    let ran = Ran { seconds, processor_seconds: processor_seconds() - before, memory: memory.stop_all() };
    if status.success() {
        return Ok(ran);
    }
    let mut text = String::new();
    complaints.rewind()?;
    complaints.read_to_string(&mut text)?;
    Err(format!("{command:?} failed: {text}").into())
}

/// What all children that were waited for have used; the system counts it in hundredths of a second.
fn processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, which may hold anything, ends with the last bracket; the numbers wanted are the 16th and 17th of the line.
    let numbers = text.rsplit_once(')').map_or("", |(_, numbers)| numbers).split_whitespace().skip(13).take(2);
    numbers.filter_map(|number| number.parse::<f64>().ok()).sum::<f64>() / 100.0
}
