//! Sends one request over HTTP and reads its answer, up to a maximum size. Describes answers that are no success.
//!
//! A proxy from the environment is used as reqwest uses it, but never for this machine's own addresses.

use crate::fault::{Cause, Fault};
use crate::gate::Bill;
use crate::result::{Failure, Status};
use baton_llm_settings::secret::{Secret, redact};
use baton_llm_settings::text::excerpt;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, StatusCode, Url, redirect};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime;

/// How many runtimes keep a client. A pipeline has one runtime for each UDF; clients of stopped ones are dropped first.
const MOST_CLIENTS: usize = 32;

/// The timeout for opening a connection. A call's own timeout is usually longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
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
    /// The server's name for messages.
    pub(crate) origin: String,
    /// The error of a model's server, which may come with the status of a success.
    pub(crate) fault: Option<Fault>,
    pub(crate) retry_after: Option<Duration>,
    /// The bill of a success, still counted by its upper bound. The reader of the answer knows the actual usage.
    pub(crate) bill: Option<Bill>,
}

impl Answer {
    pub(crate) fn new(origin: String, status: StatusCode, body: Vec<u8>, retry_after: Option<Duration>) -> Self {
        Self { status, body, origin, fault: None, retry_after, bill: None }
    }

    /// Whether the server did what it was asked for.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success() && self.fault.is_none()
    }

    /// The status that the answer amounts to.
    pub(crate) fn code(&self) -> u16 {
        self.fault.as_ref().map_or(self.status.as_u16(), |fault| fault.status)
    }

    /// Whether a retry may help.
    pub(crate) fn is_retryable(&self) -> bool {
        self.retryable().is_some()
    }

    /// The row's status after this last answer, if a retry may help.
    pub(crate) fn retryable(&self) -> Option<Status> {
        let later = match &self.fault {
            Some(fault) => matches!(fault.cause(), Cause::Busy | Cause::Loading),
            None => matches!(self.code(), 408 | 425 | 429 | 500..),
        };
        let status = if self.code() == 429 { Status::RateLimited } else { Status::Unavailable };
        later.then_some(status)
    }
}

/// A call without an answer.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) failure: Failure,
    /// Whether the server may have received it and bills it.
    pub(crate) arrived: bool,
}

/// Answers a request's body instead of a server.
pub(crate) type Rehearsed = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// The HTTP clients of one library.
pub(crate) struct Clients {
    /// A client's connections are tasks on the runtime that opened them, and end with it. A host may stop a UDF's
    /// runtime and start another one in the same library, so each runtime has its own: one for this machine's
    /// addresses (`true`), and one for all others.
    clients: Mutex<Vec<(runtime::Id, bool, Client)>>,
    ca_setting: &'static str,
    ca_file: Option<PathBuf>,
    max_body: usize,
    rehearsed: Option<Rehearsed>,
}

impl Clients {
    /// Trusts the certificates in `ca_file` too, which the setting `ca_setting` names. Reads at most `max_body` bytes.
    pub(crate) fn new(ca_setting: &'static str, ca_file: Option<PathBuf>, max_body: usize) -> Self {
        Self { clients: Mutex::default(), ca_setting, ca_file, max_body, rehearsed: None }
    }

    /// Disables the network: `answer` makes the body of each success.
    pub(crate) fn rehearse(&mut self, answer: Rehearsed) {
        self.rehearsed = Some(answer);
    }

    /// The server's answer.
    pub(crate) async fn exchange(&self, request: &Request) -> Result<Answer, Lost> {
        if let Some(answer) = &self.rehearsed {
            return Ok(Answer::new(request.origin(), StatusCode::OK, answer(&request.body), None));
        }
        let client = self.client(is_this_machine(&request.url)).map_err(|failure| Lost { failure, arrived: false })?;
        let lost = |error: reqwest::Error, what: &str, arrived: bool| {
            let message = format!("{what} {}{}: {}", request.origin(), through_proxy(&request.url), cause(error));
            Lost { failure: Failure::new(Status::Unavailable, message), arrived }
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
        let retry_after = retry_after(response.headers());
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
                Ok(None) => return Ok(Answer::new(request.origin(), status, body, retry_after)),
                Err(error) => return Err(lost(error, "the answer broke off from", true)),
            }
        }
    }

    /// The client of the current runtime.
    fn client(&self, this_machine: bool) -> Result<Client, Failure> {
        let runtime = runtime::Handle::try_current()
            .map_err(|error| Failure::new(Status::Unavailable, format!("no runtime for HTTP calls: {error}")))?
            .id();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., client)) = clients.iter().find(|(id, own, _)| *id == runtime && *own == this_machine) {
            return Ok(client.clone());
        }
        let client = self.build_client(this_machine).map_err(Failure::config)?;
        if clients.len() >= MOST_CLIENTS {
            clients.remove(0);
        }
        clients.push((runtime, this_machine, client.clone()));
        Ok(client)
    }

    fn build_client(&self, this_machine: bool) -> Result<Client, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::custom(redirect));
        if this_machine {
            builder = builder.no_proxy();
        }
        if let Some(path) = &self.ca_file {
            for certificate in read_certificates(self.ca_setting, path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(|error| format!("no HTTP client can be made: {}", cause(error)))
    }
}

/// Whether a URL names this machine by a loopback address.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Names the proxy between this machine and a URL, without its user and password.
fn through_proxy(url: &Url) -> String {
    if is_this_machine(url) {
        return String::new();
    }
    let proxy = url.as_str().parse().ok().and_then(|uri| Matcher::from_system().intercept(&uri));
    let Some(proxy) = proxy else { return String::new() };
    let address = proxy.uri().authority().map_or("", |authority| authority.as_str());
    let address = address.rsplit_once('@').map_or(address, |(_, address)| address);
    let of_scheme = if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let names = of_scheme.into_iter().chain(["ALL_PROXY", "all_proxy"]);
    let name = names.into_iter().find(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()));
    format!(" through the proxy {address} of {}", name.unwrap_or("the environment"))
}

/// Follows only redirects that repeat the same request at the same origin. Others would turn it into a GET, or send its
/// headers, which may contain secrets, to another host or without TLS.
fn redirect(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let repeats = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let same_place = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if repeats && same_place && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
}

/// The wait that a server asks for: `retry-after-ms`, as OpenAI sends it, else `Retry-After`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let precise = text("retry-after-ms").and_then(|value| value.trim().parse::<f64>().ok()).map(|ms| ms / 1000.0);
    precise.and_then(seconds).or_else(|| read_retry_after(text(RETRY_AFTER.as_str())?))
}

/// A wait of so many seconds, a year at most.
fn seconds(number: f64) -> Option<Duration> {
    (number >= 0.0).then(|| Duration::from_secs_f64(number.min(86_400.0 * 365.0)))
}

/// `Retry-After` in both forms: seconds, also with a fraction, or a date. A date in the past means no wait.
fn read_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
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
pub(crate) fn describe_answer(answer: &Answer, secrets: &[&Secret]) -> String {
    let said = said(&answer.body, secrets);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let reason = answer.status.canonical_reason().map_or(String::new(), |reason| format!(" {reason}"));
    let in_body = match &answer.fault {
        Some(fault) if answer.status.is_success() => format!(" with the error {}", fault.status),
        _ => String::new(),
    };
    let status = answer.status.as_u16();
    redact(&format!("{} answers {status}{reason}{in_body}{said}", answer.origin), secrets.iter().copied())
}

/// The error in a server's answer: its message if it is in a known place, else the start of the body. Secrets are
/// removed before the text is truncated, so that no part of one remains.
pub(crate) fn said(body: &[u8], secrets: &[&Secret]) -> String {
    let redacted = |text: &str| redact(text, secrets.iter().copied());
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        let messages = [value.pointer("/error/message"), value.get("error"), value.get("message"), value.get("detail")];
        if let Some(message) = messages.into_iter().flatten().find_map(serde_json::Value::as_str) {
            // OpenRouter passes on there what the provider behind it says.
            let behind = value.pointer("/error/metadata/raw").and_then(serde_json::Value::as_str);
            let behind = behind.map_or(String::new(), |raw| format!(": {raw}"));
            return excerpt(&redacted(&format!("{message}{behind}")), 300);
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
    fn retry_after_in_all_forms() {
        assert_eq!(read_retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(read_retry_after("0.5"), Some(Duration::from_millis(500)));
        let soon = SystemTime::now() + Duration::from_secs(100);
        let wait = read_retry_after(&httpdate::fmt_http_date(soon)).unwrap();
        assert!((95..=100).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(read_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for wrong in ["soon", "-1", "nan", ""] {
            assert_eq!(read_retry_after(wrong), None, "{wrong}");
        }
        assert_eq!(read_retry_after("1e300"), Some(Duration::from_secs(86_400 * 365)));
        let headers = [("retry-after-ms", "250"), ("retry-after", "1")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert_eq!(retry_after(&HeaderMap::from_iter(headers)), Some(Duration::from_millis(250)));
    }

    #[test]
    fn this_machine_needs_no_proxy() {
        let is = |url: &str| is_this_machine(&Url::parse(url).unwrap());
        for own in [
            "http://localhost:1/v1",
            "http://127.8.0.1",
            "https://[::1]:8",
            "http://[::ffff:127.0.0.1]/",
            "http://a.localhost",
        ] {
            assert!(is(own), "{own}");
        }
        for other in ["http://local.host", "http://10.0.0.1", "https://api.openai.com", "http://[fe80::1]"] {
            assert!(!is(other), "{other}");
        }
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
}
