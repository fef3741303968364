//! Calls with limits: a timeout for each call, a slot for each call in flight, and a few retries with back-off.
//!
//! `client` sends a request, `provider` and `http_call` define the requests and interpret the answers.

use crate::breaker::Pass;
use crate::client::{Answer, Clients, Lost, Rehearsed, Request, describe_answer};
use crate::control::Outcome;
use crate::deadline::RowClock;
use crate::fault::Fault;
use crate::gate::{Bill, Tokens};
use crate::guard::Guard;
use crate::result::{Failure, Status};
use baton_llm_settings::secret::{Secret, redact};
use baton_llm_settings::settings::Backoff;
use baton_llm_settings::text::LONGEST;
use std::borrow::Cow;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often a row whose engine waits may get 429 while others are answered.
const MOST_LIMITED: u32 = 20;

/// How long the engine is not told that a row waits for its answer.
const UNREPORTED: Duration = Duration::from_secs(30);

/// The shortest wait for `Retry-After` of which the engine is told.
const LEAST_REPORTED: Duration = Duration::from_secs(5);

/// The state of a row across its HTTP calls: its clock, and the retries that it has used.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) clock: RowClock,
    pub(crate) attempts: u32,
    pub(crate) retries_left: u32,
    /// The timeout of one call, if one is set.
    pub(crate) call_timeout: Option<Duration>,
    /// The guards before the server.
    pub(crate) guard: Guard,
    /// The server's number of answers when the row last failed, or when the first call after an answer was sent.
    pub(crate) answers_before: Option<u64>,
    /// Whether others were answered when the last call failed. Then the row fails, not the server.
    pub(crate) failed_alone: bool,
    /// Whether a server error is returned at once, because something in the request may cause it.
    pub(crate) returns_errors: bool,
    /// How often it got no answer in time.
    late: u32,
    /// The stamp of the last call for the jury.
    stamp: u64,
    /// Whether its calls test the server, so that no breaker holds them back.
    pub(crate) is_test: bool,
}

impl Row {
    /// A row that has not called anybody yet.
    pub(crate) fn new(clock: RowClock, guard: Guard, retries_left: u32, call_timeout: Option<Duration>) -> Self {
        Self {
            clock,
            attempts: 0,
            retries_left,
            call_timeout,
            guard,
            answers_before: None,
            failed_alone: false,
            returns_errors: false,
            late: 0,
            stamp: 0,
            is_test: false,
        }
    }

    /// The server accepted the last call, and its answer could be read.
    pub(crate) fn accepted(&self) {
        if let Some(jury) = &self.guard.jury {
            jury.accepted(self.stamp);
        }
    }

    /// The timeout of the next call.
    fn timeout(&self) -> Duration {
        // A row whose answer takes longer than others gets more time with each attempt.
        let adapted = || self.guard.limit.timeout().saturating_mul(1 << self.late.min(4)).min(LONGEST);
        let timeout = self.call_timeout.unwrap_or_else(adapted);
        // A row that its engine waits for has no deadline but the one that was set: a call may take longer than that of
        // other rows.
        let left = self.clock.work_left();
        if self.guard.is_patient() && self.clock.may_extend() { timeout.min(LONGEST) } else { timeout.min(left) }
    }
}

/// A row's failure, with the server's last answer if there was one.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) answer: Option<Answer>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, answer: None }
    }
}

/// Makes the requests of a row.
pub(crate) trait Requests: Sync {
    /// The request for the next call. It is made when the call may start: a row that waited for its slot knows what
    /// others have learnt meanwhile.
    fn next(&self) -> Result<Cow<'_, Request>, Failure>;

    /// A question that every healthy server answers; `None` if there is none.
    fn harmless(&self) -> Option<Request>;
}

/// The shared state of all calls of one library.
pub(crate) struct Transport {
    clients: Clients,
    backoff: Backoff,
}

impl Transport {
    pub(crate) fn new(ca_setting: &'static str, ca_file: Option<PathBuf>, backoff: Backoff, max_body: usize) -> Self {
        Self { clients: Clients::new(ca_setting, ca_file, max_body), backoff }
    }

    /// Disables the network: `answer` makes the body of each success.
    pub(crate) fn rehearse(&mut self, answer: Rehearsed) {
        self.clients.rehearse(answer);
    }

    /// Sends `request` until the answer is final: a success, or a refusal that a retry would not change. Everything
    /// else is retried while `row` has retries and time left.
    ///
    /// A row whose engine waits for it uses up neither while the server answers nobody. Only a failure while others are
    /// answered is the row's own; if there are no others, a `harmless` question is asked.
    pub(crate) async fn send(
        &self,
        requests: &impl Requests,
        row: &mut Row,
        secrets: &[&Secret],
    ) -> Result<Answer, Failed> {
        let (mut tries, mut alone) = (0, 0);
        let mut done_before = None;
        loop {
            let failed_at = Instant::now();
            let (failure, answer) = match self.send_once(|| requests.next(), row, secrets).await {
                Ok(answer) => match answer.retryable() {
                    None => return Ok(answer),
                    Some(status) => (Failure::new(status, describe_answer(&answer, secrets)), Some(answer)),
                },
                Err(failure) if matches!(failure.status, Status::Timeout | Status::Unavailable) => (failure, None),
                Err(failure) => return Err(failure.into()),
            };
            let failure = Failure::new(failure.status, redact(&failure.message, secrets.iter().copied()));
            if row.returns_errors && answer.as_ref().is_some_and(|answer| matches!(answer.code(), 500 | 501)) {
                return Err(Failed { failure, answer });
            }
            let asked = answer.as_ref().and_then(|answer| answer.retry_after);
            let wait = self.wait(tries, asked);
            if row.guard.is_patient() {
                // A call may fail beside others' answers because the server is just failing, so one or two such
                // failures are not enough.
                let least = row.retries_left.max(2);
                // Others are refused, too, if a server has too much to do.
                let is_limited = answer.as_ref().is_some_and(|answer| matches!(answer.code(), 429 | 503 | 529));
                if !row.failed_alone && !is_limited && answer.is_some() && tries >= least {
                    row.failed_alone = self.is_well(row, failed_at, requests.harmless()).await;
                }
                alone += u32::from(row.failed_alone);
                let is_alone = row.failed_alone && alone > if is_limited { MOST_LIMITED } else { least };
                // A service has no harmless question. If its server answered others since this row's first failure, and
                // nobody now, there may be nobody. Gateways answer 502 to 504 for a service that is down.
                let done = row.guard.limit.done();
                let others_were = *done_before.get_or_insert(done) != done;
                let crashed = answer.as_ref().is_some_and(|answer| matches!(answer.code(), 500 | 501));
                let is_last = others_were && crashed && tries > 2 * least && row.guard.jury.is_none();
                if is_alone || is_last {
                    return Err(Failed { failure, answer });
                }
                // Of the rows that an open breaker holds back, only the trial call is ever retried.
                let tried = tries >= row.retries_left || row.guard.breaker.is_open();
                if (tried && (!row.failed_alone || is_limited)) || asked.is_some_and(|wait| wait >= LEAST_REPORTED) {
                    row.guard.waiting(&failure.message);
                }
                tokio::time::sleep(wait.min(self.longest_wait(row))).await;
                row.clock.begin_anew();
                tries += 1;
                continue;
            }
            let give_up = if row.retries_left == 0 || row.clock.queue_left().is_zero() {
                Some(String::new())
            } else if wait >= row.clock.work_left() {
                Some(match asked {
                    Some(asked) => {
                        format!(" (it asks to wait {} s, which is past the row's deadline)", asked.as_secs())
                    }
                    None => " (the row's deadline leaves no time for another try)".to_owned(),
                })
            } else {
                None
            };
            if let Some(why) = give_up {
                return Err(Failed { failure: Failure::new(failure.status, failure.message + &why), answer });
            }
            row.retries_left -= 1;
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether the server answers a harmless question that is asked after `since`. One row at a time asks.
    async fn is_well(&self, row: &Row, since: Instant, harmless: Option<Request>) -> bool {
        let (Some(jury), Some(request)) = (&row.guard.jury, harmless) else { return false };
        let mut answered = jury.harmless.lock().await;
        if answered.is_some_and(|at| at > since) {
            return true;
        }
        let asked_at = Instant::now();
        let is_well = self.test(&request, row).await.is_ok_and(|(answer, _)| answer.is_success());
        if is_well {
            *answered = Some(asked_at);
        }
        is_well
    }

    /// Sends a request that tests the server, once. Budgets count it by its upper bound.
    pub(crate) async fn test(&self, request: &Request, row: &Row) -> Result<(Answer, Row), Failure> {
        let clock = RowClock::patient(row.clock.work());
        let mut test = Row::new(clock, row.guard.clone(), 0, row.call_timeout);
        test.is_test = true;
        let answer = self.send_once(|| Ok(Cow::Borrowed(request)), &mut test, &[]).await?;
        Ok((answer, test))
    }

    /// How long a row whose engine waits for it waits between two calls.
    fn longest_wait(&self, row: &Row) -> Duration {
        row.clock.work().max(self.backoff.cap)
    }

    /// Full jitter, so that rows that failed together do not retry together. `Retry-After` is respected, plus a little
    /// jitter for the same reason.
    fn wait(&self, tries: u32, asked: Option<Duration>) -> Duration {
        let bound = self.backoff.base.saturating_mul(1 << tries.min(16)).min(self.backoff.cap);
        match asked {
            Some(asked) => asked + self.backoff.base.mul_f64(fastrand::f64()),
            None => bound.mul_f64(fastrand::f64()),
        }
    }

    async fn send_once<'r>(
        &self,
        make: impl FnOnce() -> Result<Cow<'r, Request>, Failure>,
        row: &mut Row,
        secrets: &[&Secret],
    ) -> Result<Answer, Failure> {
        let guard = row.guard.clone();
        row.failed_alone = false;
        // If the server fails while a row waits for its slot, the row releases the slot before it waits for the server.
        let (pass, slot) = loop {
            if row.is_test {
                // It decides what the rows in the queue are waiting for.
                break (guard.breaker.test(), None);
            }
            let pass = guard.breaker.pass(&mut row.clock, guard.is_patient()).await?;
            let slot = guard.limit.slot(&mut row.clock).await?;
            if pass.stands() {
                break (pass, Some(slot));
            }
        };
        guard.pause_if_stopped().await;
        let request = make()?;
        let request = &*request;
        let bill = self.leave(request, &guard, &mut row.clock).await?;
        let time = row.timeout();
        if time.is_zero() {
            bill.into_iter().for_each(|bill| bill.settle(Tokens::default()));
            return Err(Failure::new(Status::Timeout, "the row's deadline has passed"));
        }
        row.attempts += 1;
        row.stamp = guard.jury.as_ref().map_or(0, |jury| jury.stamp());
        let answers_at_call = guard.breaker.answers();
        let answers_before = row.answers_before.take().unwrap_or(answers_at_call);
        let mut sent = self.exchange(request, time, &guard).await;
        if let (Ok(answer), Some(_)) = (&mut sent, &guard.jury) {
            answer.fault = Fault::read(answer.status, &answer.body);
        }
        let (ended, retry_after) = match &sent {
            // A server may be back before the time in its `Retry-After`.
            Ok(answer) => (outcome(answer), answer.retry_after.map(|wait| wait.min(self.longest_wait(row)))),
            Err(lost) if lost.failure.status == Status::Timeout => (Outcome::TimedOut, None),
            Err(_) => (Outcome::Other, None),
        };
        row.late += u32::from(ended == Outcome::TimedOut);
        if let Some(slot) = slot {
            slot.end(ended, retry_after);
        }
        let first = settle_pass(pass, &sent, &guard, secrets);
        // The first failure after an answer is not the server's, no matter when the answer came since the row's last
        // failure.
        let answers = guard.breaker.answers();
        row.failed_alone = answers != answers_at_call || (first && answers != answers_before);
        if sent.as_ref().map_or(true, |answer| answer.retryable().is_some()) {
            row.answers_before = Some(answers);
        }
        match sent {
            Ok(answer) if answer.is_success() => Ok(Answer { bill, ..answer }),
            Ok(answer) => {
                // A refusal is not billed. A call that a gateway timed out may be.
                if !matches!(answer.status.as_u16(), 504 | 524) {
                    bill.into_iter().for_each(|bill| bill.settle(Tokens::default()));
                }
                Ok(answer)
            }
            Err(Lost { failure, arrived }) => {
                // Without a client, no call was made.
                row.attempts -= u32::from(failure.status == Status::Config);
                if !arrived {
                    bill.into_iter().for_each(|bill| bill.settle(Tokens::default()));
                }
                Err(failure)
            }
        }
    }

    /// Passes the gate. If a call cannot be counted, the row is not the cause.
    async fn leave(&self, request: &Request, guard: &Guard, clock: &mut RowClock) -> Result<Option<Bill>, Failure> {
        let Some(gate) = &guard.gate else { return Ok(None) };
        match gate.leave(request.body.len(), guard.most_answered, guard.price, clock).await {
            Ok((bill, warning)) => {
                warning.iter().for_each(|warning| guard.notice(warning));
                Ok(Some(bill))
            }
            Err(failure) => {
                match failure.status {
                    Status::Config => guard.stop(&failure.message).await,
                    Status::Budget => guard.warning(&failure.message),
                    _ => {}
                }
                Err(failure)
            }
        }
    }

    /// One call. The engine is told of one that takes very long.
    async fn exchange(&self, request: &Request, time: Duration, guard: &Guard) -> Result<Answer, Lost> {
        let mut exchange = pin!(self.clients.exchange(request));
        let unreported = UNREPORTED.max(guard.limit.usual().unwrap_or_default() * 3).min(time);
        let mut sent = timeout(unreported, &mut exchange).await;
        if sent.is_err() && unreported < time {
            guard.waiting(&format!("no answer from {} within {} s so far", request.origin(), unreported.as_secs()));
            sent = timeout(time - unreported, exchange).await;
        }
        sent.unwrap_or_else(|_| {
            let message = format!("no answer from {} within {} ms", request.origin(), time.as_millis());
            Err(Lost { failure: Failure::new(Status::Timeout, message), arrived: true })
        })
    }
}

/// What an answer says about how much the server can take.
fn outcome(answer: &Answer) -> Outcome {
    match answer.code() {
        _ if answer.is_success() => Outcome::Done,
        429 | 503 | 529 if answer.is_retryable() => Outcome::Refused,
        _ => Outcome::Other,
    }
}

/// Reports a call's outcome to the breaker. Returns whether it is the first failure since an answer.
fn settle_pass(pass: Pass, sent: &Result<Answer, Lost>, guard: &Guard, secrets: &[&Secret]) -> bool {
    match sent {
        Ok(answer) if answer.retryable().is_some() => return pass.failed(&describe_answer(answer, secrets)),
        Ok(_) => {
            pass.answered();
            guard.working();
        }
        Err(lost) if matches!(lost.failure.status, Status::Timeout | Status::Unavailable) => {
            return pass.failed(&redact(&lost.failure.message, secrets.iter().copied()));
        }
        // No call was made.
        Err(lost) if lost.failure.status == Status::Config => drop(pass),
        // An answer that is too large is an answer too.
        Err(_) => pass.answered(),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };
        let transport = Transport::new("X", None, backoff, 1);
        for tries in 0..40 {
            let bound = Duration::from_millis(100 << tries.min(10)).min(Duration::from_secs(1));
            let waits: Vec<Duration> = (0..50).map(|_| transport.wait(tries, None)).collect();
            assert!(waits.iter().all(|wait| *wait <= bound));
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
        let asked = Duration::from_secs(5);
        assert!((asked..=asked + backoff.base).contains(&transport.wait(0, Some(asked))));
    }
}
