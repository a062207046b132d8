//! What was used last, up to a number of bytes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// Byte strings by key; those that nobody asked for the longest go first when there are too many bytes.
pub(crate) struct Recent<K> {
    kept: HashMap<K, (Arc<Vec<u8>>, u64)>,
    /// By the time of the last use.
    order: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Copy + Eq + Hash> Recent<K> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { kept: HashMap::new(), order: BTreeMap::new(), uses: 0, bytes: 0, bytes_max }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<Arc<Vec<u8>>> {
        let (bytes, used) = self.kept.get_mut(key)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, *key);
        Some(Arc::clone(bytes))
    }

    pub(crate) fn put(&mut self, key: K, bytes: Arc<Vec<u8>>) {
        self.uses += 1;
        self.bytes += bytes.len();
        self.order.insert(self.uses, key);
        if let Some((replaced, used)) = self.kept.insert(key, (bytes, self.uses)) {
            self.bytes -= replaced.len();
            self.order.remove(&used);
        }
        while self.bytes > self.bytes_max
            && self.order.len() > 1
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |(bytes, _)| bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_the_longest_goes_first() {
        let mut recent = Recent::new(30);
        for key in 0..3 {
            recent.put(key, Arc::new(vec![0; 10]));
        }
        assert!(recent.get(&0).is_some());
        recent.put(3, Arc::new(vec![0; 10]));
        assert_eq!([0, 1, 2, 3].map(|key| recent.get(&key).is_some()), [true, false, true, true]);
        recent.put(3, Arc::new(vec![0; 20]));
        assert_eq!([0, 2, 3].map(|key| recent.get(&key).is_some()), [false, true, true]);
        recent.put(4, Arc::new(vec![0; 100]));
        assert_eq!([2, 3, 4].map(|key| recent.get(&key).is_some()), [false, false, true]);
    }
}
