//! What this process allocates: how often, and how many bytes, counted around the system's allocator.
//!
//! A thread counts in a lane of its own, so that counting costs no more than two additions in a cache line that nobody else writes.
//! What C code allocates for itself (zstd, SQLite) is not seen.
#![allow(unsafe_code, reason = "an allocator is an unsafe trait; this one hands every call over as it came")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// More than the threads that a bench has at once; when they come and go, they share.
const LANES: usize = 64;

/// Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
struct Lane {
    count: AtomicU64,
    bytes: AtomicU64,
}

static COUNTED: [Lane; LANES] = [const { Lane { count: AtomicU64::new(0), bytes: AtomicU64::new(0) } }; LANES];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

/// Allocations and their bytes since the process began. One that grows counts again, with its new size.
pub(crate) fn so_far() -> (u64, u64) {
    COUNTED
        .iter()
        .fold((0, 0), |(count, bytes), lane| (count + lane.count.load(Relaxed), bytes + lane.bytes.load(Relaxed)))
}

fn count(bytes: usize) {
    let number = LANE.with(|lane| {
        if lane.get() == usize::MAX {
            lane.set(NEXT.fetch_add(1, Relaxed) % LANES);
        }
        lane.get()
    });
    COUNTED[number].count.fetch_add(1, Relaxed);
    COUNTED[number].bytes.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: every method passes its arguments to `System` unchanged and returns its answer, so what `System` promises holds here. Counting allocates nothing
// (the thread's lane is a constant that needs no destructor) and cannot unwind (the number is below the length of the array).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
