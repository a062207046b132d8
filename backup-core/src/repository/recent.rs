//! What was used last, up to a number of bytes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// Byte strings by key. When there are too many bytes, the oldest go first, but what was used meanwhile is passed over once.
pub(crate) struct Recent<K> {
    kept: HashMap<K, Kept>,
    order: VecDeque<K>,
    bytes: usize,
    bytes_max: usize,
}

struct Kept {
    bytes: Arc<Vec<u8>>,
    is_used: bool,
    /// How many of the bytes nobody has spent.
    unspent: u64,
}

impl<K: Copy + Eq + Hash> Recent<K> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<Arc<Vec<u8>>> {
        let kept = self.kept.get_mut(key)?;
        kept.is_used = true;
        Some(Arc::clone(&kept.bytes))
    }

    pub(crate) fn put(&mut self, key: K, bytes: Arc<Vec<u8>>) {
        self.bytes += bytes.len();
        let unspent = bytes.len() as u64;
        match self.kept.insert(key, Kept { bytes, is_used: false, unspent }) {
            Some(replaced) => self.bytes -= replaced.bytes.len(),
            None => self.order.push_back(key),
        }
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Notes that so many bytes of one are not wanted again. When that holds for all of them, it goes at once.
    pub(crate) fn spend(&mut self, key: &K, bytes: u64) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        kept.unspent = kept.unspent.saturating_sub(bytes);
        if kept.unspent == 0 {
            self.bytes -= self.kept.remove(key).map_or(0, |kept| kept.bytes.len());
            self.order.retain(|other| other != key);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    fn drop_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else { return };
        match self.kept.get_mut(&key) {
            Some(kept) if kept.is_used => {
                kept.is_used = false;
                self.order.push_back(key);
            }
            _ => self.bytes -= self.kept.remove(&key).map_or(0, |kept| kept.bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_bytes_stay_bounded() {
        let mut recent = Recent::new(100);
        for key in 0..50 {
            recent.put(key, Arc::new(vec![0; 10]));
            assert!(recent.get(&0).is_some(), "it was used before {key} came");
            assert!(recent.bytes <= 100 && recent.bytes == 10 * recent.kept.len());
        }
        assert!(recent.get(&1).is_none() && recent.get(&49).is_some());
        recent.put(49, Arc::new(vec![0; 20]));
        assert!(recent.bytes <= 100);
    }

    #[test]
    fn what_is_spent_goes_at_once_and_only_then() {
        let mut recent = Recent::new(100);
        recent.put(1, Arc::new(vec![0; 10]));
        recent.put(2, Arc::new(vec![0; 10]));
        recent.spend(&1, 9);
        assert!(recent.get(&1).is_some());
        recent.spend(&1, 1);
        recent.spend(&3, 1);
        assert!(recent.get(&1).is_none() && recent.get(&2).is_some());
        assert_eq!((recent.bytes, recent.order.len()), (10, 1));
    }
}
