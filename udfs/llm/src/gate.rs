//! Where calls to a model leave: each waits for its turn in the rates, and is counted against the budgets before it goes.
//!
//! What is counted, and where, is in `usage`. Rows of one library come to their turn in order.

use crate::deadline::RowClock;
use crate::result::{Failure, Status};
use crate::usage::{Bound, Ledger, Refusal, Reserved, Taken};
use baton_llm_settings::limits::{Limits, Price};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The longest answer, in tokens, that is asked for where nobody says another, and tokens are limited or the protocol wants
/// a number.
pub(crate) const MOST_ANSWERED: u32 = 4096;

/// How much one answer changes what is expected of the next.
const WEIGHT: f64 = 0.1;

/// The gate of one library.
#[derive(Debug)]
pub(crate) struct Gate {
    ledger: Ledger,
    /// Whoever holds it is next.
    next: tokio::sync::Mutex<()>,
    /// Calls under way: what they hold back may be given back.
    under_way: AtomicUsize,
    settled: Notify,
    expected: Mutex<Expected>,
}

/// What calls take, from those before.
#[derive(Debug)]
struct Expected {
    prompt_tokens_a_byte: f64,
    answer_tokens: f64,
    calls: u64,
}

/// A call that was counted by its upper bound. [`Bill::settle`] counts what it took instead; dropped before, the bound stays.
#[derive(Debug)]
pub(crate) struct Bill {
    gate: Arc<Gate>,
    reserved: Reserved,
    price: Option<Price>,
    bytes: usize,
}

/// The tokens of a call, as its server counts them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// All of the prompt.
    pub(crate) prompt: u64,
    /// Those of them that came from the server's cache.
    pub(crate) cached: u64,
    /// Those of them that the server put into its cache.
    pub(crate) cache_write: u64,
    /// The answer.
    pub(crate) completion: u64,
}

impl Tokens {
    /// What they cost, in billionths.
    pub(crate) fn cost(self, price: Price) -> u64 {
        price.cost(self.prompt, self.cached, self.cache_write, self.completion)
    }
}

impl Gate {
    /// The gate that the limits ask for; `None` when nothing is limited.
    pub(crate) fn new(limits: &Limits) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            ledger: Ledger::new(limits)?,
            next: tokio::sync::Mutex::default(),
            under_way: AtomicUsize::new(0),
            settled: Notify::new(),
            // Usual text, and a short answer.
            expected: Mutex::new(Expected { prompt_tokens_a_byte: 0.3, answer_tokens: 64.0, calls: 0 }),
        }))
    }

    /// Whether a call has to limit the length of its answer.
    pub(crate) fn needs_token_bound(&self) -> bool {
        self.ledger.needs_token_bound()
    }

    /// Waits for the turn of a call with a body of `bytes` bytes and an answer of at most `most_answered` tokens.
    pub(crate) async fn leave(
        self: &Arc<Self>,
        bytes: usize,
        most_answered: u64,
        price: Option<Price>,
        clock: &mut RowClock,
    ) -> Result<Bill, Failure> {
        let started = Instant::now();
        let mut budget = None;
        let left = timeout(clock.queue_left(), self.turn(bytes, most_answered, price, &mut budget)).await;
        clock.waited(started.elapsed());
        left.unwrap_or_else(|_| {
            if let Some(why) = budget {
                return Err(Failure::new(Status::Budget, why));
            }
            let message = format!(
                "no call allowed within {} s: BATON_LLM_REQUESTS_PER_MINUTE or BATON_LLM_TOKENS_PER_MINUTE is too low",
                started.elapsed().as_secs()
            );
            Err(Failure::new(Status::RateLimited, message))
        })
    }

    /// `budget` says what it waits for, while that is the end of other calls.
    async fn turn(
        self: &Arc<Self>,
        bytes: usize,
        most_answered: u64,
        price: Option<Price>,
        budget: &mut Option<String>,
    ) -> Result<Bill, Failure> {
        let _next = self.next.lock().await;
        loop {
            let settled = self.settled.notified();
            // Before it is looked at what they hold: a call that settles behind that look has given something back.
            let others = self.under_way.load(Ordering::SeqCst) > 0;
            *budget = None;
            match self.ledger.reserve(self.bound(bytes, most_answered, price), SystemTime::now()) {
                Ok(reserved) => {
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                    return Ok(Bill { gate: Arc::clone(self), reserved, price, bytes });
                }
                // What was settled meanwhile may make the wait shorter.
                Err(Refusal::NotYet(wait)) => drop(timeout(wait.max(Duration::from_millis(1)), settled).await),
                // What calls under way hold back may be given back.
                Err(Refusal::Budget(why)) if others => {
                    *budget = Some(why);
                    settled.await;
                }
                Err(Refusal::Budget(why)) => return Err(Failure::new(Status::Budget, why)),
                Err(Refusal::File(why)) => return Err(Failure::config(why)),
            }
        }
    }

    /// A token is at least one byte of the request, whose own punctuation is more than what a server adds for its own.
    fn bound(&self, bytes: usize, most_answered: u64, price: Option<Price>) -> Bound {
        let tokens = (bytes as u64).saturating_add(most_answered);
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let likely = bytes as f64 * expected.prompt_tokens_a_byte + expected.answer_tokens;
        Bound {
            tokens,
            cost: price.map_or(0, |price| price.most(bytes as u64, most_answered)),
            likely_tokens: (likely as u64).clamp(1, tokens),
        }
    }
}

impl Bill {
    /// The call took this.
    pub(crate) fn settle(self, tokens: Tokens) {
        let all = tokens.prompt.saturating_add(tokens.completion);
        let taken = Taken { tokens: all, cost: self.price.map_or(0, |price| tokens.cost(price)) };
        if all > 0 && self.bytes > 0 {
            let mut expected = self.gate.expected.lock().unwrap_or_else(PoisonError::into_inner);
            expected.calls += 1;
            let weight = WEIGHT.max(1.0 / expected.calls as f64);
            expected.prompt_tokens_a_byte +=
                weight * (tokens.prompt as f64 / self.bytes as f64 - expected.prompt_tokens_a_byte);
            expected.answer_tokens += weight * (tokens.completion as f64 - expected.answer_tokens);
        }
        // A file that cannot be written keeps the upper bound, and stops the next call.
        let _kept = self.gate.ledger.settle(self.reserved, taken, SystemTime::now());
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.gate.under_way.fetch_sub(1, Ordering::SeqCst);
        self.gate.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    fn gate(change: impl FnOnce(&mut Limits)) -> (tempfile::TempDir, Arc<Gate>) {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = Limits { state_dir: Some(folder.path().to_owned()), ..Limits::default() };
        change(&mut limits);
        (folder, Gate::new(&limits).unwrap())
    }

    fn clock() -> RowClock {
        RowClock::start(Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_call_waits_for_what_others_may_give_back() {
        let (_folder, gate) = gate(|limits| limits.budget_tokens = Some(1500));
        let first = gate.leave(900, 100, None, &mut clock()).await.unwrap();
        let second = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.leave(900, 100, None, &mut clock()).await.map(drop) }
        });
        first.settle(Tokens { prompt: 200, completion: 10, ..Tokens::default() });
        second.await.unwrap().unwrap();
        // The second one's outcome is not known, so its bound stays.
        let failure = gate.leave(900, 100, None, &mut clock()).await.unwrap_err();
        assert_eq!(failure.status, Status::Budget);
        assert!(failure.message.contains("BATON_LLM_BUDGET_TOKENS is 1500, of which 1210 are used"), "{failure}");
    }

    #[tokio::test]
    async fn a_turn_that_comes_too_late_is_none() {
        let (_folder, gate) = gate(|limits| limits.requests_per_minute = Some(1));
        gate.leave(10, 1, None, &mut clock()).await.unwrap().settle(Tokens::default());
        let mut clock = clock();
        clock.waited(clock.queue_left() - Duration::from_millis(20));
        let failure = gate.leave(10, 1, None, &mut clock).await.unwrap_err();
        assert_eq!(failure.status, Status::RateLimited);
    }

    #[tokio::test]
    async fn rates_go_by_what_calls_took_before() {
        let (_folder, gate) = gate(|limits| limits.tokens_per_minute = Some(60_000_000));
        for _ in 0..50 {
            let bill = gate.leave(1000, 4096, None, &mut clock()).await.unwrap();
            bill.settle(Tokens { prompt: 500, completion: 20, ..Tokens::default() });
        }
        let bound = gate.bound(1000, 4096, None);
        assert_eq!((bound.tokens, bound.likely_tokens), (5096, 520));
    }
}
