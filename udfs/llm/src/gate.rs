//! The gate before calls to a model: a call waits for the rate limits, and is counted against the budgets before it is
//! sent.
//!
//! `usage` does the counting. Rows of one library pass in order.

use crate::deadline::RowClock;
use crate::result::{Failure, Status};
use crate::usage::{Bound, Ledger, Refusal, Reserved, Taken};
use baton_llm_settings::limits::{Limits, Price};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The limit of tokens in an answer if no setting has one but tokens are limited or the protocol requires a number.
pub(crate) const MOST_ANSWERED: u32 = 4096;

/// The weight of one answer in the moving average for the next.
const WEIGHT: f64 = 0.1;

/// The gate of one library.
#[derive(Debug)]
pub(crate) struct Gate {
    ledger: Ledger,
    /// The row that holds it is next.
    next: tokio::sync::Mutex<()>,
    /// Calls in flight. Part of what is reserved for them may be released.
    under_way: AtomicUsize,
    settled: Notify,
    expected: Mutex<Expected>,
}

/// The expected usage of a call, from previous calls.
#[derive(Debug)]
struct Expected {
    prompt_tokens_a_byte: f64,
    answer_tokens: f64,
    calls: u64,
}

/// A call counted by its upper bound. [`Bill::settle`] replaces the bound by the actual usage. If the bill is dropped
/// before, the bound stays.
#[derive(Debug)]
pub(crate) struct Bill {
    gate: Arc<Gate>,
    reserved: Reserved,
    price: Option<Price>,
    bytes: usize,
}

/// The tokens of a call, as its server reports them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// All tokens of the prompt.
    pub(crate) prompt: u64,
    /// Prompt tokens read from the server's cache.
    pub(crate) cached: u64,
    /// Prompt tokens written to the server's cache.
    pub(crate) cache_write: u64,
    /// The tokens of the answer.
    pub(crate) completion: u64,
}

impl Tokens {
    /// Their cost, in billionths.
    pub(crate) fn cost(self, price: Price) -> u64 {
        price.cost(self.prompt, self.cached, self.cache_write, self.completion)
    }
}

impl Gate {
    /// The gate for the limits; `None` if nothing is limited.
    pub(crate) fn new(limits: &Limits) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            ledger: Ledger::new(limits)?,
            next: tokio::sync::Mutex::default(),
            under_way: AtomicUsize::new(0),
            settled: Notify::new(),
            // Ordinary text and a short answer.
            expected: Mutex::new(Expected { prompt_tokens_a_byte: 0.3, answer_tokens: 64.0, calls: 0 }),
        }))
    }

    /// Whether a call must limit the length of its answer.
    pub(crate) fn needs_token_bound(&self) -> bool {
        self.ledger.needs_token_bound()
    }

    /// Waits until a call with a body of `bytes` bytes and an answer of at most `most_answered` tokens may be sent.
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

    /// `budget` holds the exhausted budget while the call waits for other calls to settle.
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
            // Read it before the reservation: a call that settles after this line has released its rest by then.
            let others = self.under_way.load(Ordering::SeqCst) > 0;
            *budget = None;
            match self.ledger.reserve(self.bound(bytes, most_answered, price), SystemTime::now()) {
                Ok(reserved) => {
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                    return Ok(Bill { gate: Arc::clone(self), reserved, price, bytes });
                }
                // A call that settled meanwhile may shorten the wait.
                Err(Refusal::NotYet(wait)) => drop(timeout(wait.max(Duration::from_millis(1)), settled).await),
                // Calls in flight may release part of their reservations.
                Err(Refusal::Budget(why)) if others => {
                    *budget = Some(why);
                    settled.await;
                }
                Err(Refusal::Budget(why)) => return Err(Failure::new(Status::Budget, why)),
                Err(Refusal::File(why)) => return Err(Failure::config(why)),
            }
        }
    }

    /// A token is at least one byte of the request. The request's own punctuation exceeds the tokens that a server
    /// adds.
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
    /// Replaces the bound by the actual usage.
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
        // If the file cannot be written, the upper bound stays, and the next call is stopped.
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
        // The outcome of the second call is unknown, so its bound stays.
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
