//! Whose fault a refusal is: the message's, or the server's and its settings'. Decided by other messages, not by the
//! status alone.
//!
//! A call that was sent after the refusal and is accepted clears the server. Several different messages that are
//! refused in a row, and none accepted between them, convict it. If no other message is there to be asked about, a
//! harmless one is (`provider::ask`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How many different messages in a row are refused if it is the server.
pub(crate) const SEVERAL: usize = 3;

/// How long a server that failed without any optional feature is not tested for them again.
const CLEARED_FOR: Duration = Duration::from_secs(60);

/// How many refused messages are remembered.
const MOST_REMEMBERED: usize = 32;

/// What is known about one model on one server. Times are stamps: the numbers of calls and refusals in their order.
#[derive(Debug, Default)]
pub(crate) struct Jury {
    clock: AtomicU64,
    /// The stamp of the latest call that was accepted.
    accepted: AtomicU64,
    any_refused: AtomicBool,
    /// Hashes of what was refused since a call was accepted: a message, and its instructions.
    refused: Mutex<Vec<(u64, u64)>>,
    changed: Notify,
    warned_of_cut_prompts: AtomicBool,
    features_cleared: Mutex<Option<Instant>>,
    /// Held by the row that asks a harmless question, with the time of the last one that was answered well.
    pub(crate) harmless: tokio::sync::Mutex<Option<Instant>>,
}

impl Jury {
    /// The stamp of a call that is sent now, or of a refusal that arrives now.
    pub(crate) fn stamp(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A call with this stamp was accepted.
    pub(crate) fn accepted(&self, stamp: u64) {
        self.accepted.fetch_max(stamp, Ordering::SeqCst);
        if self.any_refused.swap(false, Ordering::SeqCst) {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.changed.notify_waiters();
        }
    }

    /// Whether a call that was sent after `stamp` was accepted.
    pub(crate) fn cleared_since(&self, stamp: u64) -> bool {
        self.accepted.load(Ordering::SeqCst) > stamp
    }

    /// A message was refused. Returns how many different ones were refused in a row, and how many of these with the
    /// same instructions.
    pub(crate) fn refused(&self, message: u64, instructions: u64) -> (usize, usize) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if !refused.iter().any(|(other, _)| *other == message) {
            if refused.len() >= MOST_REMEMBERED {
                refused.remove(0);
            }
            refused.push((message, instructions));
        }
        self.any_refused.store(true, Ordering::SeqCst);
        (refused.len(), refused.iter().filter(|(_, other)| *other == instructions).count())
    }

    /// Whether a feature of the request may be why the server fails.
    pub(crate) fn blames_features(&self) -> bool {
        let cleared = self.features_cleared.lock().unwrap_or_else(PoisonError::into_inner);
        cleared.is_none_or(|at| at.elapsed() > CLEARED_FOR)
    }

    /// It fails without them, too.
    pub(crate) fn clears_features(&self) {
        *self.features_cleared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether nobody has warned of cut prompts yet.
    pub(crate) fn warns_of_cut_prompts(&self) -> bool {
        !self.warned_of_cut_prompts.swap(true, Ordering::SeqCst)
    }

    /// Waits until a call is accepted, at most so long.
    pub(crate) async fn wait(&self, stamp: u64, most: Duration) {
        let changed = self.changed.notified();
        if !self.cleared_since(stamp) {
            let _changed_or_over = timeout(most, changed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_was_sent_after_the_refusal_clears_the_server() {
        let jury = Jury::default();
        let (early, refusal) = (jury.stamp(), jury.stamp());
        assert_eq!(jury.refused(1, 7), (1, 1));
        jury.accepted(early);
        assert!(!jury.cleared_since(refusal));
        jury.accepted(jury.stamp());
        assert!(jury.cleared_since(refusal));
    }

    #[test]
    fn different_messages_count_until_one_is_accepted() {
        let jury = Jury::default();
        for (message, instructions, counts) in [(1, 7, (1, 1)), (1, 7, (1, 1)), (2, 8, (2, 1)), (3, 7, (3, 2))] {
            assert_eq!(jury.refused(message, instructions), counts);
        }
        jury.accepted(jury.stamp());
        assert_eq!(jury.refused(4, 7), (1, 1));
    }
}
