//! `http_call`: an agent that is an HTTP service gets a row, and what it answers is the row's result.
//!
//! | Option | Default | Range |
//! | --- | --- | --- |
//! | `method` | `POST` | `GET`, `POST`, `PUT`, `PATCH`, `DELETE` |
//! | `headers` | none | an object of texts; `${NAME}` in one is the environment's value |
//! | `content_type` | `application/json` where there is a body | any |
//! | `idempotency_key` | none | sent as the header `Idempotency-Key`, the same on every try |
//! | `timeout` | `BATON_HTTP_TIMEOUT`, else `30s`: one call | `10ms` to `9m` |
//! | `deadline` | `BATON_HTTP_DEADLINE`, else `2m`: all calls and waits | `10ms` to `9m` |
//! | `retries` | `BATON_HTTP_RETRIES`, else 2 | 0 to 10 |
//!
//! `BATON_HTTP_CONCURRENCY` (64) and `BATON_HTTP_CA_FILE` are settings of the environment alone.

use crate::deadline::RowClock;
use crate::result::{Failure, Status};
use crate::transport::{Failed, Request, Row, Transport, describe_answer};
use baton_llm_settings::options::{Reader, parse_object, unknown_keys};
use baton_llm_settings::secret::{Secret, redact_answer};
use baton_llm_settings::settings::Backoff;
use baton_llm_settings::text::{parse_duration, parse_number};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

const OPTIONS: &[&str] = &["method", "headers", "content_type", "idempotency_key", "timeout", "deadline", "retries"];

/// The result of `http_call`. The statuses mean what [`Status`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpAnswer {
    /// `ok` for an answer of 200 to 299.
    pub status: Status,
    /// The last answer's status code; null when there was none.
    pub http_status: Option<u16>,
    /// The last answer's body, also when it is a refusal; null when there was none.
    pub body: Option<String>,
    /// Why `status` is not `ok`, in a sentence.
    pub error: Option<String>,
    /// HTTP calls made for this row.
    pub attempts: u32,
    /// From the start of the function to its result, waits included.
    pub latency_ms: u64,
}

/// What the environment sets for `http_call`.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// One HTTP call.
    pub timeout: Duration,
    /// One row: all calls and waits, but for the wait for a slot.
    pub deadline: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// HTTP calls at a time.
    pub concurrency: usize,
    /// Certificates that are trusted too.
    pub ca_file: Option<PathBuf>,
    /// Waits between tries. Not a setting of the environment.
    pub backoff: Backoff,
    /// The largest answer that is read, in bytes. Not a setting of the environment.
    pub max_body: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(120),
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
    /// One sentence for each mistake.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut errors = Vec::new();
        let mut settings = Self { ca_file: get("BATON_HTTP_CA_FILE").map(PathBuf::from), ..Self::default() };
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

/// Gives the value of an environment variable.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What `http_call` calls with.
pub struct HttpCaller {
    settings: Result<HttpSettings, String>,
    transport: Transport,
    environment: Environment,
}

impl HttpCaller {
    /// Calls with these settings; `environment` gives the values for `${NAME}`.
    pub fn new(settings: HttpSettings, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::from_settings(Ok(settings), environment)
    }

    /// Calls with the settings that `lookup` gives. Mistakes in them are every row's result.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::from_settings(HttpSettings::from_lookup(&lookup).map_err(|errors| errors.join("; ")), lookup)
    }

    fn from_settings(
        settings: Result<HttpSettings, String>,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let effective = settings.clone().unwrap_or_default();
        Self {
            settings,
            transport: Transport::new(
                effective.concurrency,
                "BATON_HTTP_CA_FILE",
                effective.ca_file,
                effective.backoff,
                effective.max_body,
            ),
            environment: Box::new(environment),
        }
    }

    /// What the service at `url` answers to `body`.
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
        let options = HttpOptions::parse(options, &self.environment).map_err(Failure::config)?;
        let url = read_url(url)?;
        let mut headers = options.headers;
        if body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request =
            Request { method: options.method, url, headers, body: body.unwrap_or_default().as_bytes().to_vec() };
        let mut row = Row {
            clock: RowClock::start(options.deadline.unwrap_or(settings.deadline)),
            attempts: 0,
            retries_left: options.retries.unwrap_or(settings.retries),
            call_timeout: options.timeout.unwrap_or(settings.timeout),
            guard: None,
            answers_before: None,
            failed_alone: false,
        };
        let secrets: Vec<&Secret> = options.secrets.iter().collect();
        let sent = self.transport.send(&request, &mut row, &secrets).await;
        result.attempts = row.attempts;
        let (answer, failure) = match sent {
            Ok(answer) if answer.status.is_success() => (Some(answer), None),
            Ok(answer) => {
                let message = describe_answer(&request, &answer, &secrets);
                (Some(answer), Some(Failure::new(Status::Rejected, message)))
            }
            Err(Failed { failure, answer }) => (answer, Some(failure)),
        };
        if let Some(answer) = answer {
            result.http_status = Some(answer.status.as_u16());
            match String::from_utf8(answer.body) {
                // What quotes a key back must not carry it into a topic.
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

fn read_url(url: Option<&str>) -> Result<Url, Failure> {
    let Some(url) = url.map(str::trim).filter(|url| !url.is_empty()) else {
        return Err(Failure::bad_input("the URL is NULL or blank"));
    };
    // The text may hold a password, so it is not quoted.
    let url = Url::parse(url).map_err(|error| Failure::bad_input(format!("the URL is none ({error})")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(Failure::bad_input(format!("the URL begins with `{other}:`, which is neither http nor https"))),
    }
}

/// The options of one call.
struct HttpOptions {
    method: Method,
    headers: HeaderMap,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    retries: Option<u32>,
    /// What came out of the environment: it must not be seen in an error.
    secrets: Vec<Secret>,
}

impl HttpOptions {
    fn parse(text: Option<&str>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut object = parse_object(text)?;
        let mut errors = unknown_keys(&object, OPTIONS);
        let headers = object.remove("headers").filter(|value| !value.is_null());
        let mut reader = Reader { object: &mut object, errors: &mut errors };
        let method = reader.take("method", "one of GET, POST, PUT, PATCH, DELETE", |value| {
            match value.as_str()?.to_ascii_uppercase().as_str() {
                "GET" => Some(Method::GET),
                "POST" => Some(Method::POST),
                "PUT" => Some(Method::PUT),
                "PATCH" => Some(Method::PATCH),
                "DELETE" => Some(Method::DELETE),
                _ => None,
            }
        });
        let content_type = reader.text("content_type");
        let idempotency_key = reader.text("idempotency_key");
        let timeout = reader.duration("timeout");
        let deadline = reader.duration("deadline");
        let retries = reader.take("retries", "a whole number from 0 to 10", |value| {
            value.as_u64().filter(|number| *number <= 10).and_then(|number| u32::try_from(number).ok())
        });
        let mut sent = Headers { headers: HeaderMap::new(), secrets: Vec::new(), errors: &mut errors };
        match headers {
            None => {}
            Some(Value::Object(headers)) => sent.read(&headers, environment),
            Some(_) => {
                sent.errors.push("the option `headers` is no object: write it like {\"X-Name\": \"value\"}".into())
            }
        }
        for (name, value) in [("content-type", content_type), ("idempotency-key", idempotency_key)] {
            if let Some(value) = value {
                sent.insert(name, &value);
            }
        }
        let Headers { headers, secrets, .. } = sent;
        if !errors.is_empty() {
            return Err(errors.join("; "));
        }
        Ok(Self { method: method.unwrap_or(Method::POST), headers, timeout, deadline, retries, secrets })
    }
}

struct Headers<'a> {
    headers: HeaderMap,
    secrets: Vec<Secret>,
    errors: &'a mut Vec<String>,
}

impl Headers<'_> {
    fn read(&mut self, headers: &Map<String, Value>, environment: &dyn Fn(&str) -> Option<String>) {
        for (name, value) in headers {
            let Some(value) = value.as_str() else {
                self.errors.push(format!("the header `{name}` is no text: write its value in quotes"));
                continue;
            };
            match self.expand(value, environment) {
                Ok(value) => self.insert(name, &value),
                Err(why) => self.errors.push(format!("the header `{name}` {why}")),
            }
        }
    }

    /// `value` with every `${NAME}` in it replaced. What was put in is not looked at again.
    fn expand(&mut self, value: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("has a `${` without its `}`")?;
            let found = environment(name).filter(|value| !value.is_empty());
            let found = found.ok_or_else(|| format!("needs {name}, which is not set: set it in the environment"))?;
            expanded.push_str(before);
            expanded.push_str(found.trim());
            self.secrets.push(Secret::new(found));
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn insert(&mut self, name: &str, value: &str) {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            (Err(_), _) => self.errors.push(format!("`{name}` is no name of a header")),
            // The value may be a secret, so it is not quoted.
            (_, Err(_)) => self.errors.push(format!("the header `{name}` has a character in it that no header takes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HttpOptions, String> {
        HttpOptions::parse(Some(text), &|name| (name == "TOKEN").then(|| "canary".to_owned()))
    }

    #[test]
    fn headers_take_secrets_from_the_environment() {
        let options = parse(r#"{"headers":{"Authorization":"Bearer ${TOKEN}!","X-A":"$b {c}"}}"#).unwrap();
        assert_eq!(options.headers["authorization"], "Bearer canary!");
        assert_eq!(options.headers["x-a"], "$b {c}");
        assert_eq!(format!("{:?}", options.headers["authorization"]), "Sensitive");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            (r#"{"header":{}}"#, "there is no option `header`: did you mean `headers`?"),
            (r#"{"method":"TRACE"}"#, "the option `method` is \"TRACE\": set one of GET, POST, PUT, PATCH, DELETE"),
            (r#"{"retries":11}"#, "the option `retries` is 11: set a whole number from 0 to 10"),
            (
                r#"{"headers":{"X":"${NOPE}"}}"#,
                "the header `X` needs NOPE, which is not set: set it in the environment",
            ),
            (r#"{"headers":{"X":"${TOKEN"}}"#, "the header `X` has a `${` without its `}`"),
            (r#"{"headers":{"X":1}}"#, "the header `X` is no text: write its value in quotes"),
            (r#"{"headers":{"X Y":"1"}}"#, "`X Y` is no name of a header"),
            (r#"{"headers":[]}"#, "the option `headers` is no object: write it like {\"X-Name\": \"value\"}"),
            (
                r#"{"idempotency_key":"a\nb"}"#,
                "the header `idempotency-key` has a character in it that no header takes",
            ),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(message), "{text}");
        }
    }

    #[test]
    fn urls_are_http_or_https() {
        for wrong in [None, Some(" "), Some("agent"), Some("file:///etc/passwd")] {
            assert_eq!(read_url(wrong).unwrap_err().status, Status::BadInput);
        }
        assert!(read_url(Some("https://agent.example/x")).is_ok());
    }
}
