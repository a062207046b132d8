//! What was used last, up to a number of bytes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// Byte strings by key; the oldest go first when there are too many bytes.
pub(crate) struct Recent<K> {
    kept: HashMap<K, Arc<Vec<u8>>>,
    order: VecDeque<K>,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Copy + Eq + Hash> Recent<K> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<Vec<u8>>> {
        self.kept.get(key).map(Arc::clone)
    }

    pub(crate) fn put(&mut self, key: K, bytes: Arc<Vec<u8>>) {
        self.bytes += bytes.len();
        match self.kept.insert(key, bytes) {
            Some(replaced) => self.bytes -= replaced.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            if let Some(oldest) = self.order.pop_front().and_then(|key| self.kept.remove(&key)) {
                self.bytes -= oldest.len();
            }
        }
    }
}
