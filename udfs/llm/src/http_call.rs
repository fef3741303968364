//! `http_call`: sends a row to an agent that is an HTTP service and returns its answer.
//!
//! [`baton_llm_settings::http`] describes the options of a call. `BATON_HTTP_CONCURRENCY` (64) and `BATON_HTTP_CA_FILE`
//! can only be set in the environment. The value of `${NAME}` in a URL or a header is a secret: errors do not show it,
//! and it is removed from answers that quote it.

use crate::breaker::Breaker;
use crate::client::{Request, describe_answer};
use crate::deadline::RowClock;
use crate::guard::Guard;
use crate::host::Host;
use crate::limit::Limit;
use crate::registry::Registry;
use crate::result::{Failure, Status};
use crate::transport::{Failed, Requests, Row, Transport};
use baton_llm_settings::http::{HttpOptions, Part, not_set, parse_url, parts};
use baton_llm_settings::secret::{LEAST_IN_ANSWERS, Secret, redact, redact_answer};
use baton_llm_settings::settings::Backoff;
use baton_llm_settings::text::{parse_duration, parse_number};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which the circuit breaker of a service opens.
const BREAKER: u32 = 20;

/// The result of `http_call`. [`Status`] documents the statuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpAnswer {
    /// `ok` for an answer with status 200 to 299.
    pub status: Status,
    /// The last answer's status code; null if there was no answer.
    pub http_status: Option<u16>,
    /// The last answer's body, also of a refusal; null if there was no answer.
    pub body: Option<String>,
    /// Why `status` is not `ok`, in a sentence.
    pub error: Option<String>,
    /// HTTP calls made for this row.
    pub attempts: u32,
    /// From the start of the function to its result, waits included.
    pub latency_ms: u64,
}

/// The settings of `http_call` in the environment.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The timeout of one HTTP call.
    pub timeout: Duration,
    /// Whether it was set. If not, a slow service gets more.
    pub timeout_is_set: bool,
    /// The deadline of one row: all calls and waits, except the wait for a slot.
    pub deadline: Duration,
    /// Whether it was set. If not, a call to a slow service may take longer.
    pub deadline_is_set: bool,
    /// Retries after the first call.
    pub retries: u32,
    /// HTTP calls in flight at a time.
    pub concurrency: usize,
    /// Additional trusted certificates.
    pub ca_file: Option<PathBuf>,
    /// The back-off between retries. Not a setting of the environment.
    pub backoff: Backoff,
    /// The largest answer that is read, in bytes. Not a setting of the environment.
    pub max_body: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            timeout_is_set: false,
            deadline: Duration::from_secs(120),
            deadline_is_set: false,
            retries: 2,
            concurrency: 64,
            ca_file: None,
            backoff: Backoff::default(),
            max_body: 10_000_000,
        }
    }
}

impl HttpSettings {
    /// Reads all settings through `lookup`.
    ///
    /// # Errors
    /// One sentence for each error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut errors = Vec::new();
        let mut settings = Self {
            ca_file: get("BATON_HTTP_CA_FILE").map(PathBuf::from),
            timeout_is_set: get("BATON_HTTP_TIMEOUT").is_some(),
            deadline_is_set: get("BATON_HTTP_DEADLINE").is_some(),
            ..Self::default()
        };
        for (name, duration) in
            [("BATON_HTTP_TIMEOUT", &mut settings.timeout), ("BATON_HTTP_DEADLINE", &mut settings.deadline)]
        {
            if let Some(value) = get(name) {
                match parse_duration(&value) {
                    Ok(parsed) => *duration = parsed,
                    Err(why) => errors.push(format!("{name} is `{value}`: {why}")),
                }
            }
        }
        let mut number = |name: &str, range: std::ops::RangeInclusive<u32>, default: u32| match get(name) {
            None => default,
            Some(value) => parse_number(name, &value, range).unwrap_or_else(|error| {
                errors.push(error);
                default
            }),
        };
        settings.retries = number("BATON_HTTP_RETRIES", 0..=10, settings.retries);
        settings.concurrency = number("BATON_HTTP_CONCURRENCY", 1..=10_000, 64) as usize;
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

/// Returns the value of an environment variable.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Makes the calls of `http_call`.
pub struct HttpCaller {
    settings: Result<HttpSettings, String>,
    transport: Transport,
    /// By server and path: an agent may fail while others on its server work.
    breakers: Registry<Breaker>,
    /// By server.
    limits: Registry<Limit>,
    host: Option<Arc<Host>>,
    environment: Environment,
}

impl HttpCaller {
    /// A caller with these settings. `environment` returns the values for `${NAME}`.
    pub fn new(settings: HttpSettings, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::from_settings(Ok(settings), None, environment)
    }

    /// The same for an engine that waits for its rows and reads their states from `pipe`.
    pub fn hosted(
        settings: HttpSettings,
        pipe: &Path,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::from_settings(Ok(settings), Host::find(|_| Some(pipe.to_string_lossy().into_owned())), environment)
    }

    /// A caller with the settings that `lookup` returns. If they are wrong, every row gets the errors.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let settings = HttpSettings::from_lookup(&lookup).map_err(|errors| errors.join("; "));
        Self::from_settings(settings, Host::find(&lookup), lookup)
    }

    fn from_settings(
        settings: Result<HttpSettings, String>,
        host: Option<Host>,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let effective = settings.clone().unwrap_or_default();
        Self {
            settings,
            transport: Transport::new("BATON_HTTP_CA_FILE", effective.ca_file, effective.backoff, effective.max_body),
            breakers: Registry::default(),
            limits: Registry::default(),
            host: host.map(Arc::new),
            environment: Box::new(environment),
        }
    }

    /// The answer of the service at `url` to `body`.
    pub async fn call(&self, url: Option<&str>, body: Option<&str>, options: Option<&str>) -> HttpAnswer {
        let started = Instant::now();
        let mut answer =
            HttpAnswer { status: Status::Ok, http_status: None, body: None, error: None, attempts: 0, latency_ms: 0 };
        if let Err(failure) = self.call_row(url, body, options, &mut answer).await {
            answer.status = failure.status;
            answer.error = Some(failure.message);
        }
        answer.latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        answer
    }

    async fn call_row(
        &self,
        url: Option<&str>,
        body: Option<&str>,
        options: Option<&str>,
        result: &mut HttpAnswer,
    ) -> Result<(), Failure> {
        let settings = self.settings.as_ref().map_err(|error| Failure::config(error.clone()))?;
        let options = HttpOptions::parse(options).map_err(|mistakes| Failure::config(mistakes.join("; ")))?;
        let mut secrets = Secrets { environment: &self.environment, values: Vec::new(), errors: Vec::new() };
        let address = Address::read(url, &mut secrets)?;
        let mut headers = read_headers(&options, &mut secrets);
        let Secrets { values: secrets, errors, .. } = secrets;
        if !errors.is_empty() {
            return Err(Failure::config(errors.join("; ")));
        }
        let Address { url, shown, hidden } = address;
        if body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = Request {
            method: Method::from_bytes(options.method.as_bytes()).unwrap_or(Method::POST),
            url,
            shown,
            headers,
            body: body.unwrap_or_default().as_bytes().to_vec(),
        };
        let deadline = options.deadline.unwrap_or(settings.deadline);
        let deadline_is_set = options.deadline.is_some() || settings.deadline_is_set;
        let clock = match self.host {
            Some(_) if !deadline_is_set => RowClock::patient(deadline).extendable(),
            Some(_) => RowClock::patient(deadline),
            None => RowClock::start(deadline),
        };
        let call_timeout = options.timeout.or(settings.timeout_is_set.then_some(settings.timeout));
        let origin = request.url.origin().ascii_serialization();
        // Where no engine waits, a row ends by its own retries.
        let threshold = if self.host.is_some() { BREAKER } else { 0 };
        let guard = Guard {
            function: "http_call",
            breaker: self.breakers.of([&origin, request.url.path()], || Breaker::new(threshold, settings.backoff)),
            limit: self.limits.of([&origin, ""], || {
                Limit::new(settings.concurrency, settings.timeout_is_set.then_some(settings.timeout))
            }),
            jury: None,
            gate: None,
            host: self.host.clone(),
            price: None,
            most_answered: 0,
        };
        let mut row = Row::new(clock, guard, options.retries.unwrap_or(settings.retries), call_timeout);
        // The engine's log shows neither the secrets nor a server's name that must be hidden.
        let unshown: Vec<&Secret> = secrets.iter().chain(&hidden).collect();
        let secrets: Vec<&Secret> = secrets.iter().collect();
        let sent = self.transport.send(&OneRequest(&request), &mut row, &unshown).await;
        result.attempts = row.attempts;
        let (answer, failure) = match sent {
            Ok(answer) if answer.is_success() => (Some(answer), None),
            Ok(answer) => {
                let message = describe_answer(&answer, &secrets);
                (Some(answer), Some(Failure::new(Status::Rejected, message)))
            }
            Err(Failed { failure, answer }) => (answer, Some(failure)),
        };
        // The message of a lower library may contain the server's name.
        let failure = failure.map(|failure| Failure { message: redact(&failure.message, &hidden), ..failure });
        if let Some(answer) = answer {
            result.http_status = Some(answer.status.as_u16());
            match String::from_utf8(answer.body) {
                // An answer that quotes a key must not carry it into a topic.
                Ok(body) => result.body = Some(redact_answer(&body, secrets)),
                Err(_) if failure.is_none() => {
                    return Err(Failure::new(
                        Status::Invalid,
                        format!("the answer of {} is not text in UTF-8", request.origin()),
                    ));
                }
                Err(_) => {}
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The same request for every call of a row.
struct OneRequest<'a>(&'a Request);

impl Requests for OneRequest<'_> {
    fn next(&self) -> Result<Cow<'_, Request>, Failure> {
        Ok(Cow::Borrowed(self.0))
    }

    fn harmless(&self) -> Option<Request> {
        None
    }
}

/// Environment values in the texts of one call.
struct Secrets<'a> {
    environment: &'a Environment,
    /// Values from the environment, which must not be shown.
    values: Vec<Secret>,
    errors: Vec<String>,
}

impl Secrets<'_> {
    /// `text` with its variables replaced. Inserted values are not expanded again. Errors refer to `what`.
    fn expand(&mut self, what: &str, text: &str) -> Option<String> {
        let parts = parts(text).map_err(|why| self.errors.push(format!("{what} {why}"))).ok()?;
        let mut expanded = String::new();
        let mut whole = true;
        for part in parts {
            match part {
                Part::Text(text) => expanded.push_str(text),
                Part::Variable { name, default, .. } => {
                    match ((self.environment)(name).filter(|value| !value.trim().is_empty()), default) {
                        (Some(value), _) => {
                            expanded.push_str(value.trim());
                            self.values.push(Secret::new(value.trim()));
                        }
                        (None, Some(default)) => expanded.push_str(default),
                        (None, None) => {
                            self.errors.push(not_set(what, name));
                            whole = false;
                        }
                    }
                }
            }
        }
        whole.then_some(expanded)
    }
}

/// The target of a call.
struct Address {
    url: Url,
    /// The server's name in messages if it comes from the environment: `https://${HOST}`.
    shown: Option<String>,
    /// The server's name, if it must be hidden.
    hidden: Vec<Secret>,
}

impl Address {
    /// Reads a URL. If a variable is missing, the error is recorded, and the returned URL is not used.
    fn read(url: Option<&str>, secrets: &mut Secrets<'_>) -> Result<Self, Failure> {
        let Some(written) = url.map(str::trim).filter(|url| !url.is_empty()) else {
            return Err(Failure::bad_input("the URL is NULL or blank"));
        };
        let before = secrets.values.len();
        let Some(expanded) = secrets.expand("the URL", written) else {
            return Err(Failure::config(secrets.errors.join("; ")));
        };
        let url = parse_url(&expanded).map_err(Failure::bad_input)?;
        let derived: Vec<Secret> = secrets.values[before..].iter().flat_map(|value| forms(value.reveal())).collect();
        secrets.values.extend(derived);
        let server = server(written);
        let (shown, hidden) = if server.contains("${") {
            (Some(server), url.host_str().map(Secret::new).into_iter().collect())
        } else {
            (None, Vec::new())
        };
        Ok(Self { url, shown, hidden })
    }
}

/// The start of a URL up to its path, as written, without user and password.
fn server(written: &str) -> String {
    let mut server = String::new();
    for part in parts(written).unwrap_or_default() {
        match part {
            Part::Variable { name, .. } => server.push_str(&format!("${{{name}}}")),
            Part::Text(text) => {
                // The two slashes before the server do not begin a path.
                let from = if server.is_empty() { text.find("://").map_or(0, |at| at + 3) } else { 0 };
                match text[from..].find(['/', '?', '#', '&']) {
                    Some(end) => {
                        server.push_str(&text[..from + end]);
                        break;
                    }
                    None => server.push_str(text),
                }
            }
        }
    }
    match (server.rfind('@'), server.find("://")) {
        (Some(at), Some(slashes)) => format!("{}{}", &server[..slashes + 3], &server[at + 1..]),
        (Some(at), None) => server[at + 1..].to_owned(),
        _ => server,
    }
}

/// The forms in which a value of a URL may come back: as the URL encodes it, as a server decodes it, and, if the value
/// is a whole URL, its parts. Short ones are left out: they may be plain words.
fn forms(value: &str) -> Vec<Secret> {
    let mut parts = vec![value.to_owned()];
    let whole = Url::parse(value).ok().filter(Url::has_host);
    for url in whole.iter().chain(&Url::parse(&format!("http://h/?{value}")).ok()) {
        let [path, query] = [url.path(), url.query().unwrap_or_default()];
        parts.extend([format!("{path}?{query}"), path.into(), query.into(), url.username().into()]);
        parts.extend(url.password().map(str::to_owned));
        parts.extend(query.split(['&', '=']).map(str::to_owned));
        parts.extend(url.query_pairs().flat_map(|(key, value)| [key.into_owned(), value.into_owned()]));
    }
    let encoded: Vec<String> = parts.iter().flat_map(|part| encodings(part)).collect();
    parts.extend(encoded);
    parts.retain(|part| part.len() >= LEAST_IN_ANSWERS);
    // A form that contains another one is replaced first.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.dedup();
    parts.into_iter().map(Secret::new).collect()
}

/// The encodings of a text in a path and in a query. A query has two encodings of a blank.
fn encodings(text: &str) -> Vec<String> {
    let Ok(mut url) = Url::parse("http://h/") else { return Vec::new() };
    url.set_path(text);
    let path = url.path().trim_start_matches('/').to_owned();
    url.query_pairs_mut().append_key_only(text);
    let query = url.query().unwrap_or_default().to_owned();
    vec![path, query.replace('+', "%20"), query]
}

/// The headers of a call.
fn read_headers(options: &HttpOptions, secrets: &mut Secrets<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut insert = |name: &str, value: &str, errors: &mut Vec<String>| {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) => errors.push(format!("`{name}` is not a valid header name")),
            // The value may be a secret, so the error does not quote it.
            (_, Err(_)) => errors.push(format!("the header `{name}` has a character in it that no header takes")),
        }
    };
    for (name, value) in &options.headers {
        if let Some(value) = secrets.expand(&format!("the header `{name}`"), value) {
            insert(name, &value, &mut secrets.errors);
        }
    }
    for (name, value) in [("content-type", &options.content_type), ("idempotency-key", &options.idempotency_key)] {
        if let Some(value) = value {
            insert(name, value, &mut secrets.errors);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Box::new(|name| {
            let values =
                [("TOKEN", "canary"), ("HOST", "agents.example"), ("URL", "https://u:canary-0@h.example/w?k=canary+1")];
            values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn headers(text: &str) -> Result<HeaderMap, String> {
        let options = HttpOptions::parse(Some(text)).map_err(|errors| errors.join("; "))?;
        let environment = environment();
        let mut secrets = Secrets { environment: &environment, values: Vec::new(), errors: Vec::new() };
        let headers = read_headers(&options, &mut secrets);
        if secrets.errors.is_empty() { Ok(headers) } else { Err(secrets.errors.join("; ")) }
    }

    #[test]
    fn headers_take_secrets_from_the_environment() {
        let headers =
            headers(r#"{"headers":{"Authorization":"Bearer ${TOKEN}!","X-A":"$b {c}","X-B":"${NOPE:-d}"}}"#).unwrap();
        assert_eq!(headers["authorization"], "Bearer canary!");
        assert_eq!(
            (&headers["x-a"], &headers["x-b"]),
            (&HeaderValue::from_static("$b {c}"), &HeaderValue::from_static("d"))
        );
        assert_eq!(format!("{:?}", headers["authorization"]), "Sensitive");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            (r#"{"header":{}}"#, "there is no option `header`: did you mean `headers`?"),
            (r#"{"method":"TRACE"}"#, "the option `method` is \"TRACE\": set one of GET, POST, PUT, PATCH, DELETE"),
            (r#"{"retries":11}"#, "the option `retries` is 11: set a whole number from 0 to 10"),
            (
                r#"{"headers":{"X":"${NOPE}"}}"#,
                "the header `X` needs NOPE, which is not set: set NOPE in the environment",
            ),
            (r#"{"headers":{"X":"${TOKEN"}}"#, "the header `X` has a `${` without its `}`: write `${NAME}`"),
            (r#"{"headers":{"X":1}}"#, "the header `X` is not text: write its value in quotes"),
            (r#"{"headers":{"X Y":"1"}}"#, "`X Y` is not a valid header name"),
            (r#"{"headers":[]}"#, "the option `headers` is not an object: write it like {\"X-Name\": \"value\"}"),
            (
                r#"{"idempotency_key":"a\nb"}"#,
                "the header `idempotency-key` has a character in it that no header takes",
            ),
        ] {
            assert_eq!(headers(text).err().as_deref(), Some(message), "{text}");
        }
    }

    #[test]
    fn urls_take_values_from_the_environment_and_messages_show_none_of_them() {
        let environment = environment();
        let read = |url: &str| {
            let mut secrets = Secrets { environment: &environment, values: Vec::new(), errors: Vec::new() };
            Address::read(Some(url), &mut secrets).map(|address| (address, secrets.values))
        };
        for (written, url, shown) in [
            ("https://agent.example/x?key=${TOKEN}", "https://agent.example/x?key=canary", None),
            ("https://${HOST}:8080/x", "https://agents.example:8080/x", Some("https://${HOST}:8080")),
            ("https://u:${TOKEN}@${HOST}/", "https://u:canary@agents.example/", Some("https://${HOST}")),
            ("${URL}&y=1", "https://u:canary-0@h.example/w?k=canary+1&y=1", Some("${URL}")),
            ("${NOPE:-http://localhost:1/x}/y", "http://localhost:1/x/y", Some("${NOPE}")),
        ] {
            let (address, secrets) = read(written).unwrap();
            assert_eq!((address.url.as_str(), address.shown.as_deref()), (url, shown), "{written}");
            assert_eq!(address.hidden.is_empty(), shown.is_none());
            let text = redact("canary-0 canary 1 canary+1 /w?k=canary+1", &secrets);
            assert!(written != "${URL}&y=1" || !text.contains("canary"), "{text}");
        }
        for (written, status, error) in [
            (
                "https://h/?key=${NOPE}&x=${NOPE_2}",
                Status::Config,
                "the URL needs NOPE, which is not set: set NOPE in the environment; \
                 the URL needs NOPE_2, which is not set: set NOPE_2 in the environment",
            ),
            ("https://h/${TOKEN", Status::Config, "the URL has a `${` without its `}`: write `${NAME}`"),
        ] {
            let failure = read(written).err().unwrap();
            assert_eq!((failure.status, failure.message.as_str()), (status, error));
        }
    }

    #[test]
    fn urls_are_http_or_https() {
        let environment = environment();
        for wrong in [None, Some(" "), Some("agent"), Some("file:///etc/passwd"), Some("${TOKEN}:x")] {
            let mut secrets = Secrets { environment: &environment, values: Vec::new(), errors: Vec::new() };
            let failure = Address::read(wrong, &mut secrets).err().unwrap();
            assert_eq!(failure.status, Status::BadInput);
            assert!(!failure.message.contains("canary"), "{}", failure.message);
        }
    }
}
