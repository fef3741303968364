//! The one place that decides which offset may be committed.
//!
//! A source opens a micro-batch in its [`Ledger`] and gets a [`Lineage`], which travels with every row that comes from
//! the batch: through stages, async UDFs and sinks. Where rows split, the lineage is cloned. Where rows end (delivered,
//! or filtered on purpose), [`Lineage::deliver`] is called. A lineage that is merely dropped (a panic, a stop, an
//! error) marks its batch as lost: it is never committed, and will be redelivered.
//!
//! The rules are in [`offsets`], which is pure; this file adds the lock and the reference count.

pub mod offsets;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use offsets::{BatchId, OffsetRange, OffsetTracker};

/// What one source has read, and what of it is delivered. The source's thread shares it with all holders of a
/// [`Lineage`].
#[derive(Debug, Default)]
pub struct Ledger {
    tracker: Mutex<OffsetTracker>,
    changed: Condvar,
    /// How many threads wait for any change, and below how many rows in flight the source is woken (0: it does not
    /// wait). A wake-up is a system call, which is too slow for thousands of changes a second.
    waiting: AtomicUsize,
    wake_below: AtomicUsize,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The rules, locked. Hold the lock briefly.
    pub fn tracker(&self) -> MutexGuard<'_, OffsetTracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a micro-batch: its offsets, and how many rows and bytes it keeps in flight.
    pub fn begin(self: &Arc<Self>, ranges: Vec<OffsetRange>, rows: usize, bytes: usize) -> Lineage {
        let batch = self.tracker().begin(ranges, rows, bytes);
        Lineage { tokens: vec![Arc::new(Token { ledger: Arc::clone(self), batch, lost: AtomicBool::new(false) })] }
    }

    /// Waits until `done` holds for the tracker, or the time is over. Returns whether it holds.
    pub fn wait_until(&self, timeout: Duration, done: impl Fn(&OffsetTracker) -> bool) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let holds = self.wait(timeout, done);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        holds
    }

    /// Waits until at most `rows` rows and `bytes` bytes are in flight, or the time is over. Returns whether that is
    /// so. Only one thread, the source's, may wait like this.
    pub fn wait_for_room(&self, timeout: Duration, rows: usize, bytes: usize) -> bool {
        self.wake_below.store(rows.saturating_add(1), Ordering::SeqCst);
        let room = self.wait(timeout, |tracker| tracker.rows_in_flight() <= rows && tracker.bytes_in_flight() <= bytes);
        self.wake_below.store(0, Ordering::SeqCst);
        room
    }

    fn wait(&self, timeout: Duration, done: impl Fn(&OffsetTracker) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut tracker = self.tracker();
        loop {
            if done(&tracker) {
                return true;
            }
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            tracker = self.changed.wait_timeout(tracker, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn finish(&self, batch: BatchId, lost: bool) {
        let rows = {
            let mut tracker = self.tracker();
            if lost {
                tracker.lost(batch);
            } else {
                tracker.delivered(batch);
            }
            tracker.rows_in_flight()
        };
        self.changed(rows);
    }

    fn release(&self, batch: BatchId, rows: usize) {
        let rows = {
            let mut tracker = self.tracker();
            tracker.release(batch, rows);
            tracker.rows_in_flight()
        };
        self.changed(rows);
    }

    /// Wakes the threads that wait for this change. A thread registers before it looks at the tracker, and this is
    /// called after the tracker has changed, so no thread is missed.
    fn changed(&self, rows_in_flight: usize) {
        if self.waiting.load(Ordering::SeqCst) > 0 || rows_in_flight < self.wake_below.load(Ordering::SeqCst) {
            self.changed.notify_all();
        }
    }
}

/// The source batches that a group of rows comes from. Cloned where rows split, merged where they meet.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    tokens: Vec<Arc<Token>>,
}

impl Lineage {
    /// The lineage of constant rows: nothing was read, so there is nothing to commit.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The lineage of rows that come from several batches.
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = Self::default();
        for mut part in parts {
            for token in std::mem::take(&mut part.tokens) {
                if !merged.tokens.iter().any(|t| Arc::ptr_eq(t, &token)) {
                    merged.tokens.push(token);
                }
            }
        }
        merged
    }

    /// Stops counting `rows` rows of this handle against the in-flight limit: their async call has returned. So one
    /// slow row does not keep its whole batch counted.
    pub fn release(&self, rows: usize) {
        // Rows from several batches are counted with the first one: they are rare, and only the sum matters.
        if let Some(token) = self.tokens.first() {
            token.ledger.release(token.batch, rows);
        }
    }

    /// Marks everything behind this handle as delivered, or as dropped on purpose.
    pub fn deliver(mut self) {
        self.tokens.clear();
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        for token in &self.tokens {
            token.lost.store(true, Ordering::Release);
        }
    }
}

#[derive(Debug)]
struct Token {
    ledger: Arc<Ledger>,
    batch: BatchId,
    lost: AtomicBool,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.finish(self.batch, *self.lost.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64) -> Vec<OffsetRange> {
        vec![OffsetRange { partition: 0, first, last }]
    }

    #[test]
    fn a_batch_is_done_when_its_last_clone_is_delivered() {
        let ledger = Ledger::new();
        ledger.tracker().assign(0);
        let a = ledger.begin(range(0, 4), 5, 50);
        let b = a.clone();
        a.deliver();
        assert_eq!(ledger.tracker().committable(), vec![]);
        Lineage::merge([b]).deliver();
        assert_eq!(ledger.tracker().committable(), vec![(0, 5)]);
    }

    #[test]
    fn a_lineage_that_is_dropped_is_never_committed() {
        let ledger = Ledger::new();
        ledger.tracker().assign(0);
        let lost = ledger.begin(range(0, 4), 5, 50);
        let clone = lost.clone();
        drop(lost);
        clone.deliver();
        ledger.begin(range(5, 9), 5, 50).deliver();
        assert_eq!(ledger.tracker().committable(), vec![]);
        assert_eq!(ledger.tracker().rows_in_flight(), 0, "what is lost holds no place");
        assert!(ledger.tracker().is_idle() && !ledger.tracker().all_delivered());
    }

    #[test]
    fn released_rows_make_room_and_commit_nothing() {
        let ledger = Ledger::new();
        ledger.tracker().assign(0);
        let lineage = ledger.begin(range(0, 4), 5, 50);
        lineage.release(4);
        lineage.release(9);
        assert_eq!(ledger.tracker().rows_in_flight(), 0);
        assert!(!ledger.tracker().is_idle());
        assert_eq!(ledger.tracker().committable(), vec![]);
        lineage.deliver();
        assert!(ledger.tracker().is_idle() && ledger.tracker().all_delivered());
        assert_eq!(ledger.tracker().committable(), vec![(0, 5)]);
    }

    #[test]
    fn merging_keeps_one_handle_for_each_batch() {
        let ledger = Ledger::new();
        ledger.tracker().assign(0);
        let a = ledger.begin(range(0, 0), 1, 1);
        let merged = Lineage::merge([a.clone(), a]);
        merged.deliver();
        assert_eq!(ledger.tracker().committable(), vec![(0, 1)]);
    }
}
