//! HTTP with limits: a timeout for each call, a slot for each call in flight, a few retries with back-off, and a
//! maximum size of answers.
//!
//! `provider` and `http_call` define the requests and interpret the answers.

use crate::breaker::Pass;
use crate::deadline::RowClock;
use crate::gate::{Bill, Tokens};
use crate::guard::Guard;
use crate::result::{Failure, Status};
use baton_llm_settings::secret::{Secret, redact};
use baton_llm_settings::settings::Backoff;
use baton_llm_settings::text::excerpt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, StatusCode, Url, redirect};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

/// How many runtimes keep a client. A pipeline has one runtime for each UDF; clients of stopped ones are dropped first.
const MOST_CLIENTS: usize = 32;

/// The timeout for opening a connection. A call's own timeout is usually longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that can be sent more than once.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The server's name in messages, if its real name is hidden.
    pub(crate) shown: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Scheme, host and port. The rest of a URL is never shown, because a path or a query may contain a secret.
    pub(crate) fn origin(&self) -> String {
        self.shown.clone().unwrap_or_else(|| self.url.origin().ascii_serialization())
    }
}

/// A server's complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    retry_after: Option<Duration>,
    /// The bill of a success, still counted by its upper bound. The reader of the answer knows the actual usage.
    pub(crate) bill: Option<Bill>,
}

/// The state of a row across its HTTP calls: its clock, and the retries that it has used.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) clock: RowClock,
    pub(crate) attempts: u32,
    pub(crate) retries_left: u32,
    pub(crate) call_timeout: Duration,
    /// The guards before a model's server.
    pub(crate) guard: Option<Guard>,
    /// The server's number of answers when the row last failed, or when the first call after an answer was sent.
    pub(crate) answers_before: Option<u64>,
    /// Whether others were answered when the last call failed. Then the row fails, not the server.
    pub(crate) failed_alone: bool,
}

/// A row's failure, with the server's last answer if there was one.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) answer: Option<Answer>,
}

/// A call without an answer.
struct Lost {
    failure: Failure,
    /// Whether the server may have received it and bills it.
    arrived: bool,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, answer: None }
    }
}

/// The shared state of all calls of one library.
pub(crate) struct Transport {
    slots: Semaphore,
    concurrency: usize,
    /// A client's connections are tasks on the runtime that opened them, and end with it. A host may stop a UDF's
    /// runtime and start another one in the same library, so each runtime has its own client.
    clients: Mutex<Vec<(runtime::Id, Client)>>,
    ca_setting: &'static str,
    ca_file: Option<PathBuf>,
    backoff: Backoff,
    max_body: usize,
    rehearsed: Option<Rehearsed>,
}

/// Answers a request's body instead of a server.
pub(crate) type Rehearsed = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Transport {
    pub(crate) fn new(
        concurrency: usize,
        ca_setting: &'static str,
        ca_file: Option<PathBuf>,
        backoff: Backoff,
        max_body: usize,
    ) -> Self {
        Self {
            slots: Semaphore::new(concurrency),
            concurrency,
            clients: Mutex::default(),
            ca_setting,
            ca_file,
            backoff,
            max_body,
            rehearsed: None,
        }
    }

    /// Disables the network: `answer` makes the body of each success.
    pub(crate) fn rehearse(&mut self, answer: Rehearsed) {
        self.rehearsed = Some(answer);
    }

    /// Sends `request` until the answer is final: a success, or a refusal that a retry would not change. Everything
    /// else is retried while `row` has retries and time left.
    ///
    /// A row whose engine waits for it uses up neither while the server answers nobody. Only a failure while others are
    /// answered is the row's own.
    pub(crate) async fn send(&self, request: &Request, row: &mut Row, secrets: &[&Secret]) -> Result<Answer, Failed> {
        let mut tries = 0;
        let mut alone = 0;
        loop {
            let (failure, answer) = match self.send_once(request, row, secrets).await {
                Ok(answer) => match retryable(answer.status) {
                    None => return Ok(answer),
                    Some(status) => (Failure::new(status, describe_answer(request, &answer, secrets)), Some(answer)),
                },
                Err(failure) if matches!(failure.status, Status::Timeout | Status::Unavailable) => (failure, None),
                Err(failure) => return Err(failure.into()),
            };
            let asked = answer.as_ref().and_then(|answer| answer.retry_after);
            let wait = self.wait(tries, asked);
            let failure = Failure::new(failure.status, redact(&failure.message, secrets.iter().copied()));
            if let Some(guard) = row.guard.as_ref().filter(|guard| guard.is_patient()) {
                alone += u32::from(row.failed_alone);
                // A call may fail beside others' answers because the server is just failing, so one or two such
                // failures are not enough.
                let most = if failure.status == Status::RateLimited { MOST_LIMITED } else { row.retries_left.max(2) };
                if row.failed_alone && alone > most {
                    return Err(Failed { failure, answer });
                }
                // Of the rows that an open breaker holds back, only the trial call is ever retried.
                let tried = tries >= row.retries_left || guard.breaker.is_open();
                if tried && (!row.failed_alone || failure.status == Status::RateLimited) {
                    guard.waiting(&failure.message);
                }
                // A server may be back before the time in its `Retry-After`.
                tokio::time::sleep(wait.min(row.clock.work().max(self.backoff.cap))).await;
                row.clock.begin_anew();
                tries += 1;
                continue;
            }
            let give_up = if row.retries_left == 0 || failure.message.starts_with(NO_SLOT) {
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

    /// Full jitter, so that rows that failed together do not retry together. `Retry-After` is respected, plus a little
    /// jitter for the same reason.
    fn wait(&self, tries: u32, asked: Option<Duration>) -> Duration {
        let bound = self.backoff.base.saturating_mul(1 << tries.min(16)).min(self.backoff.cap);
        match asked {
            Some(asked) => asked + self.backoff.base.mul_f64(fastrand::f64()),
            None => bound.mul_f64(fastrand::f64()),
        }
    }

    async fn send_once(&self, request: &Request, row: &mut Row, secrets: &[&Secret]) -> Result<Answer, Failure> {
        let client = if self.rehearsed.is_none() { Some(self.client()?) } else { None };
        let guard = row.guard.clone();
        row.failed_alone = false;
        // If the server fails while a row waits for its slot, the row releases the slot before it waits for the server.
        let (pass, _slot) = loop {
            let pass = match &guard {
                Some(guard) => Some(guard.breaker.pass(&mut row.clock, guard.is_patient()).await?),
                None => None,
            };
            let slot = self.slot(&mut row.clock).await?;
            if pass.as_ref().is_none_or(Pass::stands) {
                break (pass, slot);
            }
        };
        if let Some(guard) = &guard {
            guard.pause_if_stopped().await;
        }
        let bill = match guard.as_ref().and_then(|guard| Some((guard, guard.gate.as_ref()?))) {
            Some((guard, gate)) => {
                match gate.leave(request.body.len(), guard.most_answered, guard.price, &mut row.clock).await {
                    Ok(bill) => Some(bill),
                    Err(failure) => {
                        // If a call cannot be counted, this row is not the cause.
                        match failure.status {
                            Status::Config => guard.stop(&failure.message).await,
                            Status::Budget => guard.warning(&failure.message),
                            _ => {}
                        }
                        return Err(failure);
                    }
                }
            }
            None => None,
        };
        let time = row.call_timeout.min(row.clock.work_left());
        if time.is_zero() {
            bill.into_iter().for_each(|bill| bill.settle(Tokens::default()));
            return Err(Failure::new(Status::Timeout, "the row's deadline has passed"));
        }
        row.attempts += 1;
        let answers = || guard.as_ref().map_or(0, |guard| guard.breaker.answers());
        let answers_at_call = answers();
        let answers_before = row.answers_before.take().unwrap_or(answers_at_call);
        let sent = timeout(time, self.exchange(client.as_ref(), request)).await.unwrap_or_else(|_| {
            let message = format!("no answer from {} within {} ms", request.origin(), time.as_millis());
            Err(Lost { failure: Failure::new(Status::Timeout, message), arrived: true })
        });
        // Whether this is the first failure since an answer.
        let mut first = false;
        if let (Some(guard), Some(pass)) = (&guard, pass) {
            match &sent {
                Ok(answer) if retryable(answer.status).is_some() => {
                    first = pass.failed(&describe_answer(request, answer, secrets));
                }
                Ok(answer) => {
                    pass.answered(answer.status.is_success());
                    guard.working();
                }
                Err(lost) if matches!(lost.failure.status, Status::Timeout | Status::Unavailable) => {
                    first = pass.failed(&redact(&lost.failure.message, secrets.iter().copied()));
                }
                // No call was made.
                Err(lost) if lost.failure.status == Status::Config => drop(pass),
                // An answer that is too large is an answer too.
                Err(_) => pass.answered(true),
            }
        }
        // The first failure after an answer is not the server's, no matter when the answer came since the row's last
        // failure.
        row.failed_alone = answers() != answers_at_call || (first && answers() != answers_before);
        if sent.as_ref().map_or(true, |answer| retryable(answer.status).is_some()) {
            row.answers_before = Some(answers());
        }
        match sent {
            Ok(answer) if answer.status.is_success() => Ok(Answer { bill, ..answer }),
            Ok(answer) => {
                // A refusal is not billed. A call that a gateway timed out may be.
                if !matches!(answer.status.as_u16(), 504 | 524) {
                    bill.into_iter().for_each(|bill| bill.settle(Tokens::default()));
                }
                Ok(answer)
            }
            Err(Lost { failure, arrived }) => {
                if !arrived {
                    bill.into_iter().for_each(|bill| bill.settle(Tokens::default()));
                }
                Err(failure)
            }
        }
    }

    /// One of the library's slots. The wait does not count as the call's time; it has its own limit.
    async fn slot(&self, clock: &mut RowClock) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        let started = Instant::now();
        let slot = timeout(clock.queue_left(), self.slots.acquire()).await;
        clock.waited(started.elapsed());
        match slot {
            Ok(Ok(slot)) => Ok(slot),
            _ => {
                let message = format!("{NO_SLOT} of {} for {} s", self.concurrency, started.elapsed().as_secs());
                Err(Failure::new(Status::Timeout, message))
            }
        }
    }

    async fn exchange(&self, client: Option<&Client>, request: &Request) -> Result<Answer, Lost> {
        let Some(client) = client else {
            let body = self.rehearsed.as_ref().map(|answer| answer(&request.body)).unwrap_or_default();
            return Ok(Answer { status: StatusCode::OK, body, retry_after: None, bill: None });
        };
        let lost = |error: reqwest::Error, what: &str, arrived: bool| Lost {
            failure: Failure::new(Status::Unavailable, format!("{what} {}: {}", request.origin(), cause(error))),
            arrived,
        };
        let sent = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(request.body.clone())
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(lost(error, "cannot connect to", false)),
            Err(error) if error.is_builder() => {
                let failure = Failure::config(format!("the request cannot be made: {}", cause(error)));
                return Err(Lost { failure, arrived: false });
            }
            Err(error) => return Err(lost(error, "the connection was lost to", true)),
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| read_retry_after(value.to_str().ok()?));
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= self.max_body => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let message = format!(
                        "the answer of {} is larger than {} bytes: it was cut off",
                        request.origin(),
                        self.max_body
                    );
                    return Err(Lost { failure: Failure::new(Status::Invalid, message), arrived: true });
                }
                Ok(None) => return Ok(Answer { status, body, retry_after, bill: None }),
                Err(error) => return Err(lost(error, "the answer broke off from", true)),
            }
        }
    }

    /// The client of the current runtime.
    fn client(&self) -> Result<Client, Failure> {
        let runtime = runtime::Handle::try_current()
            .map_err(|error| Failure::new(Status::Unavailable, format!("no runtime for HTTP calls: {error}")))?
            .id();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(id, _)| *id == runtime) {
            return Ok(client.clone());
        }
        let client = self.build_client().map_err(Failure::config)?;
        if clients.len() >= MOST_CLIENTS {
            clients.remove(0);
        }
        clients.push((runtime, client.clone()));
        Ok(client)
    }

    fn build_client(&self) -> Result<Client, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::custom(redirect));
        if let Some(path) = &self.ca_file {
            for certificate in read_certificates(self.ca_setting, path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(|error| format!("no HTTP client can be made: {}", cause(error)))
    }
}

/// How often a row whose engine waits may get 429 while others are answered.
const MOST_LIMITED: u32 = 20;

const NO_SLOT: &str = "waited for a free slot";

/// Follows only redirects that repeat the same request at the same origin. Others would turn it into a GET, or send its
/// headers, which may contain secrets, to another host or without TLS.
fn redirect(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let repeats = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let same_place = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if repeats && same_place && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
}

/// The row's status after this last answer, if a retry may help.
fn retryable(status: StatusCode) -> Option<Status> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Status::RateLimited),
        StatusCode::REQUEST_TIMEOUT => Some(Status::Unavailable),
        status if status.is_server_error() => Some(Status::Unavailable),
        _ => None,
    }
}

/// `Retry-After` in both forms: seconds, or a date. A date in the past means no wait.
fn read_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(86_400 * 365)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The PEM certificates in the file of a setting.
pub(crate) fn read_certificates(setting: &str, path: &Path) -> Result<Vec<Certificate>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("{setting} is `{shown}`, which cannot be read: {error}"))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{setting} is `{shown}`, which holds no certificate in PEM form")),
    }
}

/// Describes an answer that is not a success in a sentence, without secrets.
pub(crate) fn describe_answer(request: &Request, answer: &Answer, secrets: &[&Secret]) -> String {
    let said = said(&answer.body, secrets);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let reason = answer.status.canonical_reason().map_or(String::new(), |reason| format!(" {reason}"));
    redact(&format!("{} answers {}{reason}{said}", request.origin(), answer.status.as_u16()), secrets.iter().copied())
}

/// The error in a server's answer: its message if it is in a known place, else the start of the body. Secrets are
/// removed before the text is truncated, so that no part of one remains.
pub(crate) fn said(body: &[u8], secrets: &[&Secret]) -> String {
    let redacted = |text: &str| redact(text, secrets.iter().copied());
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        let messages = [value.pointer("/error/message"), value.get("error"), value.get("message"), value.get("detail")];
        if let Some(message) = messages.into_iter().flatten().find_map(serde_json::Value::as_str) {
            return excerpt(&redacted(message), 300);
        }
    }
    let text = redacted(&String::from_utf8_lossy(body));
    if text.trim_start().starts_with('<') {
        return "an HTML page".to_owned();
    }
    excerpt(&text, 200)
}

/// The innermost cause of an error, which is the informative one ("Connection refused"), without the URL.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    excerpt(&innermost.to_string(), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        assert_eq!(read_retry_after(" 7 "), Some(Duration::from_secs(7)));
        let soon = SystemTime::now() + Duration::from_secs(100);
        let wait = read_retry_after(&httpdate::fmt_http_date(soon)).unwrap();
        assert!((95..=100).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(read_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(read_retry_after("soon"), None);
        assert_eq!(read_retry_after("-1"), None);
    }

    #[test]
    fn waits_grow_and_stay_below_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };
        let transport = Transport::new(1, "X", None, backoff, 1);
        for tries in 0..40 {
            let bound = Duration::from_millis(100 << tries.min(10)).min(Duration::from_secs(1));
            let waits: Vec<Duration> = (0..50).map(|_| transport.wait(tries, None)).collect();
            assert!(waits.iter().all(|wait| *wait <= bound));
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
        let asked = Duration::from_secs(5);
        assert!((asked..=asked + backoff.base).contains(&transport.wait(0, Some(asked))));
    }

    #[test]
    fn what_a_server_says_is_found() {
        assert_eq!(said(br#"{"error":{"message":"no such model"}}"#, &[]), "no such model");
        assert_eq!(said(br#"{"error":"no such model"}"#, &[]), "no such model");
        assert_eq!(said(b" <html><body>x", &[]), "an HTML page");
        assert_eq!(said(b"plain\nwords", &[]), "plain words");
        assert_eq!(said(&[0xff, 0xfe], &[]), "\u{fffd}\u{fffd}");
        assert_eq!(said(b"", &[]), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_slot_ends_by_itself() {
        let transport = Transport::new(1, "X", None, Backoff::default(), 1);
        let _taken = transport.slots.acquire().await.unwrap();
        let mut clock = RowClock::start(Duration::from_secs(120));
        let started = Instant::now();
        let failure = transport.slot(&mut clock).await.unwrap_err();
        assert_eq!(failure.status, Status::Timeout);
        assert_eq!(failure.message, "waited for a free slot of 1 for 450 s");
        assert!(started.elapsed() + clock.work_left() <= crate::deadline::WHOLE + Duration::from_secs(1));
    }
}
