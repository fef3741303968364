//! The gate before calls to a model: a call waits for the rate limits, and is counted against the budgets before it is
//! sent.
//!
//! `usage` does the counting. A call with a budget in its options is counted twice: first against that budget, then
//! against the limits of all calls. If the second count refuses it, or its time ends, the first one is taken back. Rows of
//! one library pass each count in order, and an agent whose budget is used up does not block others.

use crate::deadline::RowClock;
use crate::result::{Failure, Status};
use crate::usage::{Bound, Ledger, Refusal, Reserved, Shares, Taken};
use baton_llm_settings::limits::{Limits, NO_PLACE, Price};
use baton_llm_settings::options::Budget;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The limit of tokens in an answer if no setting has one but tokens are limited or the protocol requires a number.
pub(crate) const MOST_ANSWERED: u32 = 4096;

/// The weight of one answer in the moving average for the next.
const WEIGHT: f64 = 0.1;

/// The gate of one library, for the calls of one budget or of none.
#[derive(Debug)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
    /// The count of the budget in the options.
    own: Option<Arc<Count>>,
    /// Whether the options have a budget, but there is no folder to count it in.
    is_nowhere: bool,
}

#[derive(Debug)]
struct Shared {
    /// The count of all calls.
    all: Option<Arc<Count>>,
    folder: Option<PathBuf>,
    /// The counts of the budgets in options. SQL has a few different options, so they stay.
    named: Mutex<Vec<(Budget, Arc<Count>)>>,
    expected: Mutex<Expected>,
}

/// One count of calls.
#[derive(Debug)]
struct Count {
    ledger: Ledger,
    /// The row that holds it is next.
    next: tokio::sync::Mutex<()>,
    /// Calls in flight. Part of what is reserved for them may be released.
    under_way: AtomicUsize,
    settled: Notify,
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
    shared: Arc<Shared>,
    held: Vec<Held>,
    price: Option<Price>,
    bytes: usize,
}

/// What is reserved for a call in one count.
#[derive(Debug)]
struct Held {
    count: Arc<Count>,
    reserved: Reserved,
    shares: Shares,
    /// Whether the call may be sent. Before, dropping this takes the count back.
    leaves: bool,
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
    /// The gate for calls without a budget in their options.
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let shared = Shared {
            all: Ledger::new(limits).map(|ledger| Arc::new(Count::new(ledger))),
            folder: limits.state_dir.clone(),
            named: Mutex::default(),
            // Ordinary text and a short answer.
            expected: Mutex::new(Expected { prompt_tokens_a_byte: 0.3, answer_tokens: 64.0, calls: 0 }),
        };
        Arc::new(Self { shared: Arc::new(shared), own: None, is_nowhere: false })
    }

    /// The gate for calls with this budget in their options.
    pub(crate) fn of(self: &Arc<Self>, budget: Option<&Budget>) -> Arc<Self> {
        let Some(budget) = budget else { return Arc::clone(self) };
        let own = self.shared.named(budget);
        Arc::new(Self { shared: Arc::clone(&self.shared), is_nowhere: own.is_none(), own })
    }

    /// Whether a call must limit the length of its answer.
    pub(crate) fn needs_token_bound(&self) -> bool {
        self.counts().any(|count| count.ledger.needs_token_bound())
    }

    fn counts(&self) -> impl Iterator<Item = &Arc<Count>> {
        self.own.iter().chain(&self.shared.all)
    }

    /// Waits until a call with a body of `bytes` bytes and an answer of at most `most_answered` tokens may be sent.
    /// Returns a warning, too, if a budget is nearly used up.
    pub(crate) async fn leave(
        &self,
        bytes: usize,
        most_answered: u64,
        price: Option<Price>,
        clock: &mut RowClock,
    ) -> Result<(Bill, Option<String>), Failure> {
        let mut bill = Bill { shared: Arc::clone(&self.shared), held: Vec::new(), price, bytes };
        if self.is_nowhere {
            return Err(Failure::config(NO_PLACE));
        }
        if self.own.as_ref().is_some_and(|own| own.ledger.has_cost_budget()) && price.is_none() {
            return Err(Failure::config(
                "there is a budget of money, but no price for the model: set it in BATON_LLM_PRICES",
            ));
        }
        if self.counts().next().is_none() {
            return Ok((bill, None));
        }
        let started = Instant::now();
        let mut budget = None;
        let left = timeout(clock.queue_left(), self.turns(bytes, most_answered, price, &mut budget)).await;
        clock.waited(started.elapsed());
        let mut held = left.unwrap_or_else(|_| {
            if let Some(why) = budget {
                return Err(Failure::new(Status::Budget, why));
            }
            let message = format!(
                "no call allowed within {} s: BATON_LLM_REQUESTS_PER_MINUTE or BATON_LLM_TOKENS_PER_MINUTE is too low",
                started.elapsed().as_secs()
            );
            Err(Failure::new(Status::RateLimited, message))
        })?;
        let warnings: Vec<String> = held.iter().filter_map(|held| held.count.ledger.warning(&held.shares)).collect();
        held.iter_mut().for_each(|held| held.leaves = true);
        bill.held = held;
        Ok((bill, (!warnings.is_empty()).then(|| warnings.join("; "))))
    }

    /// The turn in each count. What the first one holds is released if the second one refuses.
    async fn turns(
        &self,
        bytes: usize,
        most_answered: u64,
        price: Option<Price>,
        budget: &mut Option<String>,
    ) -> Result<Vec<Held>, Failure> {
        let mut held = Vec::with_capacity(2);
        for count in self.counts() {
            held.push(count.turn(|| self.shared.bound(bytes, most_answered, price), budget).await?);
        }
        Ok(held)
    }
}

impl Shared {
    /// The count of a budget; `None` if there is no folder for it.
    fn named(&self, budget: &Budget) -> Option<Arc<Count>> {
        let folder = self.folder.as_ref()?;
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = named.iter().find(|(of, _)| of == budget) {
            return Some(Arc::clone(count));
        }
        let count = Arc::new(Count::new(Ledger::named(folder, budget)));
        named.push((budget.clone(), Arc::clone(&count)));
        Some(count)
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

impl Count {
    fn new(ledger: Ledger) -> Self {
        Self { ledger, next: tokio::sync::Mutex::default(), under_way: AtomicUsize::new(0), settled: Notify::new() }
    }

    /// `budget` holds the exhausted budget while the call waits for other calls to settle.
    async fn turn(self: &Arc<Self>, bound: impl Fn() -> Bound, budget: &mut Option<String>) -> Result<Held, Failure> {
        let _next = self.next.lock().await;
        loop {
            let settled = self.settled.notified();
            // Read it before the reservation: a call that settles after this line has released its rest by then.
            let others = self.under_way.load(Ordering::SeqCst) > 0;
            *budget = None;
            match self.ledger.reserve(bound(), SystemTime::now()) {
                Ok((reserved, shares)) => {
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                    return Ok(Held { count: Arc::clone(self), reserved, shares, leaves: false });
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
}

impl Bill {
    /// Replaces the bound by the actual usage.
    pub(crate) fn settle(self, tokens: Tokens) {
        let all = tokens.prompt.saturating_add(tokens.completion);
        let taken = Taken { tokens: all, cost: self.price.map_or(0, |price| tokens.cost(price)) };
        if all > 0 && self.bytes > 0 {
            let mut expected = self.shared.expected.lock().unwrap_or_else(PoisonError::into_inner);
            expected.calls += 1;
            let weight = WEIGHT.max(1.0 / expected.calls as f64);
            expected.prompt_tokens_a_byte +=
                weight * (tokens.prompt as f64 / self.bytes as f64 - expected.prompt_tokens_a_byte);
            expected.answer_tokens += weight * (tokens.completion as f64 - expected.answer_tokens);
        }
        for held in &self.held {
            held.settle(taken);
        }
    }
}

impl Held {
    fn settle(&self, taken: Taken) {
        // If the file cannot be written, the upper bound stays, and the next call is stopped.
        let _kept = self.count.ledger.settle(self.reserved, taken, SystemTime::now());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.leaves {
            self.settle(Taken { tokens: 0, cost: 0 });
        }
        self.count.under_way.fetch_sub(1, Ordering::SeqCst);
        self.count.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;
    use baton_llm_settings::limits::Budgets;

    fn gate(change: impl FnOnce(&mut Limits)) -> (tempfile::TempDir, Arc<Gate>) {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = Limits { state_dir: Some(folder.path().to_owned()), ..Limits::default() };
        change(&mut limits);
        (folder, Gate::new(&limits))
    }

    fn clock() -> RowClock {
        RowClock::start(Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_call_waits_for_what_others_may_give_back() {
        let (_folder, gate) = gate(|limits| limits.budget_tokens = Some(1500));
        let (first, _) = gate.leave(900, 100, None, &mut clock()).await.unwrap();
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
        gate.leave(10, 1, None, &mut clock()).await.unwrap().0.settle(Tokens::default());
        let mut clock = clock();
        clock.waited(clock.queue_left() - Duration::from_millis(20));
        let failure = gate.leave(10, 1, None, &mut clock).await.unwrap_err();
        assert_eq!(failure.status, Status::RateLimited);
    }

    #[tokio::test]
    async fn rates_go_by_what_calls_took_before() {
        let (_folder, gate) = gate(|limits| limits.tokens_per_minute = Some(60_000_000));
        for _ in 0..50 {
            let (bill, _) = gate.leave(1000, 4096, None, &mut clock()).await.unwrap();
            bill.settle(Tokens { prompt: 500, completion: 20, ..Tokens::default() });
        }
        let bound = gate.shared.bound(1000, 4096, None);
        assert_eq!((bound.tokens, bound.likely_tokens), (5096, 520));
    }

    fn budget(name: &str, tokens: u64) -> Budget {
        Budget { name: name.to_owned(), limits: Budgets { tokens: Some(tokens), ..Budgets::default() } }
    }

    fn used(folder: &tempfile::TempDir) -> Vec<(String, u64)> {
        let mut files: Vec<(String, u64)> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let usage: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), usage["tokens"].as_u64().unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[tokio::test]
    async fn of_two_budgets_the_smaller_one_stops() {
        for (of_agent, of_all, expected) in [
            (1000, 1500, "the option `budget_tokens` of `Support Agent` is 1000, of which 600 are used"),
            (1500, 1000, "BATON_LLM_BUDGET_TOKENS is 1000, of which 600 are used"),
        ] {
            let (folder, gate) = gate(|limits| limits.budget_tokens = Some(of_all));
            let agent = gate.of(Some(&budget("Support Agent", of_agent)));
            assert!(agent.needs_token_bound());
            drop(agent.leave(500, 100, None, &mut clock()).await.unwrap());
            let failure = agent.leave(500, 100, None, &mut clock()).await.unwrap_err();
            assert_eq!(failure.status, Status::Budget);
            assert!(failure.message.starts_with(expected), "{failure}");
            // All or nothing: what one budget refuses is not counted by the other.
            let counted: Vec<u64> = used(&folder).into_iter().map(|(_, tokens)| tokens).collect();
            assert_eq!(counted, [600, 600]);
            // A call of another agent counts only against its own budget and the one of all.
            let other = gate.of(Some(&budget("Other Agent", 400)));
            let (bill, _) = other.leave(300, 100, None, &mut clock()).await.unwrap();
            bill.settle(Tokens { prompt: 20, completion: 5, ..Tokens::default() });
            let mut counted: Vec<u64> = used(&folder).into_iter().map(|(_, tokens)| tokens).collect();
            counted.sort_unstable();
            assert_eq!(counted, [25, 600, 625]);
        }
    }

    #[tokio::test]
    async fn a_budget_of_an_agent_outlives_the_process() {
        let (folder, gate) = gate(|_| ());
        assert!(!gate.needs_token_bound());
        let agent = gate.of(Some(&budget("a", 1000)));
        drop(agent.leave(500, 100, None, &mut clock()).await.unwrap());
        let limits = Limits { state_dir: Some(folder.path().to_owned()), ..Limits::default() };
        let again = Gate::new(&limits).of(Some(&budget("a", 1000)));
        assert_eq!(again.leave(500, 100, None, &mut clock()).await.unwrap_err().status, Status::Budget);
        assert_eq!(used(&folder).len(), 1);
        // Calls without a budget are not counted.
        gate.leave(5_000_000, 100, None, &mut clock()).await.unwrap();
    }

    #[tokio::test]
    async fn an_agent_without_budget_blocks_no_other() {
        let (_folder, gate) = gate(|limits| limits.budget_tokens = Some(10_000));
        let agent = gate.of(Some(&budget("a", 1000)));
        let (in_flight, _) = agent.leave(500, 100, None, &mut clock()).await.unwrap();
        let waits = tokio::spawn({
            let agent = Arc::clone(&agent);
            async move { agent.leave(500, 100, None, &mut clock()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        // Others pass while that call waits for the one in flight.
        let others = gate.of(Some(&budget("b", 1000)));
        drop(tokio::time::timeout(Duration::from_secs(10), others.leave(10, 1, None, &mut clock())).await.unwrap());
        drop(tokio::time::timeout(Duration::from_secs(10), gate.leave(10, 1, None, &mut clock())).await.unwrap());
        in_flight.settle(Tokens { prompt: 1, completion: 1, ..Tokens::default() });
        waits.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_call_that_gets_no_turn_is_not_counted() {
        let (folder, gate) = gate(|limits| limits.requests_per_minute = Some(1));
        let agent = gate.of(Some(&budget("a", 1000)));
        agent.leave(10, 1, None, &mut clock()).await.unwrap().0.settle(Tokens::default());
        let mut clock = clock();
        clock.waited(clock.queue_left() - Duration::from_millis(20));
        assert_eq!(agent.leave(10, 1, None, &mut clock).await.unwrap_err().status, Status::RateLimited);
        assert!(used(&folder).iter().all(|(_, tokens)| *tokens == 0), "{:?}", used(&folder));
    }

    #[tokio::test]
    async fn both_budgets_warn_once() {
        let (_folder, gate) = gate(|limits| limits.budget_tokens = Some(1000));
        let agent = gate.of(Some(&budget("a", 1000)));
        let mut warnings = Vec::new();
        for _ in 0..3 {
            let (bill, warning) = agent.leave(200, 50, None, &mut clock()).await.unwrap();
            bill.settle(Tokens { prompt: 400, completion: 0, ..Tokens::default() });
            warnings.push(warning);
            if warnings.len() == 2 {
                // 800 of 1000 are used, and 250 do not fit.
                agent.leave(200, 50, None, &mut clock()).await.unwrap_err();
                let (bill, warning) = agent.leave(100, 50, None, &mut clock()).await.unwrap();
                bill.settle(Tokens::default());
                warnings.push(warning);
                let (bill, warning) = agent.leave(100, 50, None, &mut clock()).await.unwrap();
                bill.settle(Tokens::default());
                warnings.push(warning);
                break;
            }
        }
        let expected = "80 % of the option `budget_tokens` of `a` (1000) are used or held for calls; \
                        80 % of BATON_LLM_BUDGET_TOKENS (1000) are used or held for calls";
        assert_eq!(warnings, [None, None, Some(expected.to_owned()), None]);
    }

    #[tokio::test]
    async fn money_needs_a_price_and_a_count_a_place() {
        let (_folder, counted) = gate(|_| ());
        let limits = Budgets { cost: Some(1_000_000), ..Budgets::default() };
        let agent = counted.of(Some(&Budget { name: "a".to_owned(), limits }));
        let failure = agent.leave(10, 1, None, &mut clock()).await.unwrap_err();
        assert!(failure.message.contains("BATON_LLM_PRICES"), "{failure}");
        let nowhere = Gate::new(&Limits::default()).of(Some(&budget("a", 1)));
        let failure = nowhere.leave(10, 1, None, &mut clock()).await.unwrap_err();
        assert!(failure.status == Status::Config && failure.message.contains("BATON_LLM_STATE_DIR"), "{failure}");
    }
}
