//! What is known about each server, by its name. Few servers are called, so a list is enough; the one that was called
//! last stands first.

use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of servers that are remembered.
const MOST_KNOWN: usize = 256;

/// Values by name.
#[derive(Debug)]
pub(crate) struct Registry<T>(Mutex<Vec<(String, Arc<T>)>>);

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Registry<T> {
    /// The value for `parts`, which name a server. `make` makes a new one.
    pub(crate) fn of(&self, parts: [&str; 2], make: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |name: &str| {
            let rest = name.strip_prefix(parts[0]).and_then(|rest| rest.strip_prefix(' '));
            rest == Some(parts[1])
        };
        if let Some(at) = known.iter().position(|(name, _)| is(name)) {
            if at > 0 {
                let found = known.remove(at);
                known.insert(0, found);
            }
            return Arc::clone(&known[0].1);
        }
        let made = Arc::new(make());
        known.truncate(MOST_KNOWN - 1);
        known.insert(0, (parts.join(" "), Arc::clone(&made)));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_once_and_stays_bounded() {
        let registry = Registry::default();
        assert_eq!(
            [*registry.of(["a", "b"], || 1), *registry.of(["a", "c"], || 2), *registry.of(["a", "b"], || 3)],
            [1, 2, 1]
        );
        for number in 0..1000 {
            registry.of([&number.to_string(), ""], || 4);
        }
        assert_eq!(*registry.of(["a", "b"], || 5), 5);
        assert_eq!(registry.0.lock().unwrap().len(), MOST_KNOWN);
    }
}
