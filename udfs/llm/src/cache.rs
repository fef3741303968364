//! A small map from a text argument to its parsed value, so that a constant argument is parsed once instead of once per
//! row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// When `capacity` different texts are in it, it is cleared. Constant arguments are few, and arguments that are
/// computed for each row would not profit from a better rule.
pub(crate) struct TextCache<V> {
    capacity: usize,
    entries: Mutex<HashMap<String, Arc<V>>>,
}

impl<V> TextCache<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::new(HashMap::new()) }
    }

    /// The value that `make` computes from `text`. It is computed at most once while it stays in the cache. `make` runs
    /// without the lock.
    pub(crate) fn get_or_make(&self, text: &str, make: impl FnOnce(&str) -> V) -> Arc<V> {
        if let Some(found) = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Arc::clone(found);
        }
        let made = Arc::new(make(text));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity {
            entries.clear();
        }
        entries.insert(text.to_owned(), Arc::clone(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_once_and_stays_bounded() {
        let cache = TextCache::new(2);
        let mut made = 0;
        for text in ["a", "a", "b", "c", "c"] {
            cache.get_or_make(text, |_| made += 1);
        }
        assert_eq!(made, 3);
        assert!(cache.entries.lock().unwrap().len() <= 2);
    }
}
