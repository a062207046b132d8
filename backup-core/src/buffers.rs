//! Memory for content on its way, used again: the system clears each page of fresh memory when it is first touched, which costs as much as copying.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers of one size. Clones share them.
#[derive(Clone)]
pub(crate) struct Buffers(Arc<Shared>);

struct Shared {
    bytes: usize,
    free_max: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Buffers with room for so many bytes each, of which at most `free_max` are kept while nobody uses them.
    pub(crate) fn new(bytes: usize, free_max: usize) -> Self {
        Self(Arc::new(Shared { bytes, free_max, free: Mutex::default() }))
    }

    /// Bytes that each has room for.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// An empty buffer, the one that was used last where there is a choice.
    pub(crate) fn take(&self) -> Vec<u8> {
        let used = self.free().pop();
        used.unwrap_or_else(|| Vec::with_capacity(self.0.bytes))
    }

    /// Takes a buffer back. One of another size goes back to the system, as do too many.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let is_one = (self.0.bytes..=2 * self.0.bytes).contains(&buffer.capacity());
        let mut free = self.free();
        if is_one && free.len() < self.0.free_max {
            buffer.clear();
            free.push(buffer);
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_others_are_not_kept() {
        let buffers = Buffers::new(1000, 1);
        let (mut first, second) = (buffers.take(), buffers.take());
        first.extend_from_slice(b"content");
        let place = first.as_ptr();
        buffers.give(vec![1; 10]);
        buffers.give(vec![1; 10_000]);
        buffers.give(first);
        buffers.give(second);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(buffers.free().is_empty());
    }
}
