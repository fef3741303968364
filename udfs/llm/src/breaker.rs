//! The circuit breaker of a server. It opens after a number of failures in a row. While it is open, only
//! one row at a time calls the server, with exponential back-off, until the server answers.
//!
//! Failures in a row have no answer to any row between them. Single failures of a working server are handled by a row's
//! own retries.

use crate::deadline::RowClock;
use crate::result::{Failure, Status};
use baton_llm_settings::settings::Backoff;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Whether a server may be called.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    backoff: Backoff,
    /// Answers so far.
    answers: AtomicU64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Since the last answer.
    failures: u32,
    /// Set while it is open.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    next_try: Instant,
    /// Trial calls since it opened.
    tries: u32,
    /// A trial call is in flight.
    trying: bool,
    why: String,
}

/// Permission to make one call. [`Pass::answered`] or [`Pass::failed`] reports the outcome. A pass that is dropped
/// without either has no effect.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Arc<Breaker>,
    is_trial: bool,
}

impl Breaker {
    /// Opens after `threshold` failures in a row; with 0 it never opens.
    pub(crate) fn new(threshold: u32, backoff: Backoff) -> Self {
        Self { threshold, backoff, answers: AtomicU64::new(0), state: Mutex::default(), changed: Notify::new() }
    }

    /// How many answers came so far. A row that failed while this number grew has failed alone.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether the breaker is open.
    pub(crate) fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// Waits until the server may be called. A patient row waits without limit, others within their working time.
    pub(crate) async fn pass(self: &Arc<Self>, clock: &mut RowClock, patient: bool) -> Result<Pass, Failure> {
        loop {
            let changed = self.changed.notified();
            let (wait, why) = {
                let mut state = self.state();
                let Some(open) = &mut state.open else {
                    return Ok(Pass { breaker: Arc::clone(self), is_trial: false });
                };
                let now = Instant::now();
                if !open.trying && open.next_try <= now {
                    open.trying = true;
                    return Ok(Pass { breaker: Arc::clone(self), is_trial: true });
                }
                // The outcome of the trial call in flight decides.
                let wait = if open.trying { None } else { Some(open.next_try - now) };
                (wait, open.why.clone())
            };
            let left = if patient { clock.queue_left() } else { clock.work_left() };
            let started = Instant::now();
            let over = timeout(wait.unwrap_or(left).min(left), changed).await.is_err();
            if patient {
                clock.waited(started.elapsed());
            }
            if over && wait.is_none_or(|wait| wait >= left) {
                let message = format!(
                    "the circuit breaker is open after repeated failures, until the server answers again: {why}"
                );
                return Err(Failure::new(Status::Unavailable, message));
            }
        }
    }

    /// A call that tests the server, whether the breaker is open or not.
    pub(crate) fn test(self: &Arc<Self>) -> Pass {
        Pass { breaker: Arc::clone(self), is_trial: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Whether the call may still be made: the breaker may have opened since.
    pub(crate) fn stands(&self) -> bool {
        self.is_trial || self.breaker.state().open.is_none()
    }

    /// The server has answered.
    pub(crate) fn answered(mut self) {
        self.is_trial = false;
        self.breaker.answers.fetch_add(1, Ordering::Relaxed);
        let mut state = self.breaker.state();
        state.failures = 0;
        if state.open.take().is_some() {
            self.breaker.changed.notify_waiters();
        }
    }

    /// The server did not answer, or answered that it is unable to. Returns whether it is the first failure since an
    /// answer.
    pub(crate) fn failed(mut self, why: &str) -> bool {
        // The trial has an outcome now, so dropping the pass must not cancel it.
        let is_trial = std::mem::take(&mut self.is_trial);
        let breaker = &self.breaker;
        let mut state = breaker.state();
        let is_first = state.failures == 0;
        state.failures = state.failures.saturating_add(1);
        let opens = breaker.threshold > 0 && state.failures >= breaker.threshold;
        match &mut state.open {
            Some(open) if is_trial => {
                open.tries += 1;
                open.trying = false;
                open.next_try = Instant::now() + wait(breaker.backoff, open.tries);
                why.clone_into(&mut open.why);
            }
            // A call that was in flight when the breaker opened.
            Some(_) => return is_first,
            None if opens => {
                let next_try = Instant::now() + wait(breaker.backoff, 0);
                state.open = Some(Open { next_try, tries: 0, trying: false, why: why.to_owned() });
            }
            None => return is_first,
        }
        breaker.changed.notify_waiters();
        is_first
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.is_trial {
            return;
        }
        // The row dropped its trial: another may start one at once.
        let mut state = self.breaker.state();
        if let Some(open) = &mut state.open
            && open.trying
        {
            open.trying = false;
            self.breaker.changed.notify_waiters();
        }
    }
}

/// The wait before the next trial call: at least half of the doubled back-off.
fn wait(backoff: Backoff, tries: u32) -> std::time::Duration {
    let whole = backoff.base.saturating_mul(1 << tries.min(16)).min(backoff.cap);
    whole / 2 + (whole / 2).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;
    use std::time::Duration;

    fn breaker(threshold: u32) -> Arc<Breaker> {
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(8) };
        Arc::new(Breaker::new(threshold, backoff))
    }

    async fn fail(breaker: &Arc<Breaker>, clock: &mut RowClock) {
        breaker.pass(clock, false).await.unwrap().failed("down");
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_closes_with_an_answer() {
        let breaker = breaker(3);
        let mut clock = RowClock::start(Duration::from_secs(60));
        for _ in 0..2 {
            fail(&breaker, &mut clock).await;
            fail(&breaker, &mut clock).await;
            breaker.pass(&mut clock, false).await.unwrap().answered();
        }
        let started = Instant::now();
        for _ in 0..3 {
            fail(&breaker, &mut clock).await;
        }
        assert_eq!(started.elapsed(), Duration::ZERO);
        // While open, the waits double up to the cap; each is at least half of its maximum.
        for most in [1, 2, 4, 8, 8] {
            let asked = Instant::now();
            fail(&breaker, &mut RowClock::start(Duration::from_secs(60))).await;
            let waited = asked.elapsed();
            assert!(waited * 2 >= Duration::from_secs(most) && waited <= Duration::from_secs(most), "{waited:?}");
        }
        breaker.pass(&mut RowClock::start(Duration::from_secs(60)), false).await.unwrap().answered();
        let closed = Instant::now();
        breaker.pass(&mut clock, false).await.unwrap();
        assert_eq!((closed.elapsed(), breaker.answers()), (Duration::ZERO, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn one_row_tries_and_the_others_wait_for_it() {
        let breaker = breaker(1);
        let mut clock = RowClock::start(Duration::from_secs(60));
        fail(&breaker, &mut clock).await;
        let trial = breaker.pass(&mut clock, false).await.unwrap();
        let other = tokio::spawn({
            let breaker = Arc::clone(&breaker);
            async move { breaker.pass(&mut RowClock::start(Duration::from_secs(60)), false).await.map(|_| ()) }
        });
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!other.is_finished());
        trial.answered();
        other.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_given_up_is_taken_over() {
        let breaker = breaker(1);
        let mut clock = RowClock::start(Duration::from_secs(60));
        fail(&breaker, &mut clock).await;
        drop(breaker.pass(&mut clock, false).await.unwrap());
        let now = Instant::now();
        breaker.pass(&mut clock, false).await.unwrap().answered();
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_waits_within_its_deadline_and_a_patient_one_as_long_as_it_takes() {
        let breaker = breaker(1);
        let mut clock = RowClock::start(Duration::from_secs(60));
        fail(&breaker, &mut clock).await;
        let trial = breaker.pass(&mut clock, false).await.unwrap();
        let started = Instant::now();
        let failure = breaker.pass(&mut RowClock::start(Duration::from_secs(5)), false).await.unwrap_err();
        assert_eq!((failure.status, started.elapsed()), (Status::Unavailable, Duration::from_secs(5)));
        assert!(failure.message.ends_with("answers again: down"), "{}", failure.message);
        let patient = tokio::spawn({
            let breaker = Arc::clone(&breaker);
            async move {
                let mut clock = RowClock::patient(Duration::from_secs(5));
                breaker.pass(&mut clock, true).await.map(|_| clock.work_left())
            }
        });
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert!(!patient.is_finished());
        trial.answered();
        assert_eq!(patient.await.unwrap().unwrap(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn off_is_never_open() {
        let breaker = breaker(0);
        let mut clock = RowClock::start(Duration::from_secs(1));
        for _ in 0..1000 {
            fail(&breaker, &mut clock).await;
        }
    }
}
