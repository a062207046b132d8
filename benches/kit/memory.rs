//! What memory a process has, seen while it runs: its own (anonymous and shared), which nobody can take away, and mapped files, which the system can.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The most that was seen, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// RssAnon and RssShmem together.
    pub own: u64,
    /// RssFile.
    pub mapped: u64,
    /// All resident memory, as the system noted its peak; what is mapped counts.
    pub resident: u64,
}

/// Samples a process's memory until it is asked.
pub(crate) struct PeakMemory {
    stop: Arc<AtomicBool>,
    sampler: JoinHandle<Memory>,
}

impl PeakMemory {
    /// Begins to sample this process, every two milliseconds.
    pub(crate) fn start() -> Self {
        Self::sample("self", Duration::from_millis(2))
    }

    /// Begins to sample another process, every five milliseconds.
    pub(crate) fn start_of(process: u32) -> Self {
        Self::sample(&process.to_string(), Duration::from_millis(5))
    }

    fn sample(process: &str, pause: Duration) -> Self {
        let status = File::open(format!("/proc/{process}/status")).ok();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let sampler = std::thread::spawn(move || {
            let mut peak = Memory::default();
            loop {
                let now = status.as_ref().map(read).unwrap_or_default();
                peak.own = peak.own.max(now.own);
                peak.mapped = peak.mapped.max(now.mapped);
                peak.resident = peak.resident.max(now.resident);
                if flag.load(Ordering::Relaxed) {
                    return peak;
                }
                std::thread::sleep(pause);
            }
        });
        Self { stop, sampler }
    }

    /// The peaks of its own memory and of mapped files.
    pub(crate) fn stop(self) -> (u64, u64) {
        let memory = self.stop_all();
        (memory.own, memory.mapped)
    }

    /// All peaks.
    pub(crate) fn stop_all(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        self.sampler.join().unwrap_or_default()
    }
}

/// Reads without an allocation, so that samples are not among those that are counted. A process that has ended has nothing.
fn read(status: &File) -> Memory {
    let mut buffer = [0; 4096];
    let length = status.read_at(&mut buffer, 0).unwrap_or(0);
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    Memory { own: field("RssAnon:") + field("RssShmem:"), mapped: field("RssFile:"), resident: field("VmHWM:") }
}
