//! The options of one call of `http_call`, and `${NAME}` in its URL and headers.
//!
//! | Option | Default | Range |
//! | --- | --- | --- |
//! | `method` | `POST` | `GET`, `POST`, `PUT`, `PATCH`, `DELETE` |
//! | `headers` | none | an object of texts; `${NAME}` in one is the environment's value |
//! | `content_type` | `application/json` where there is a body | any |
//! | `idempotency_key` | none | sent as the header `Idempotency-Key`, the same on every retry |
//! | `timeout` | `BATON_HTTP_TIMEOUT`, else `30s`: one call | `10ms` to `9m` |
//! | `deadline` | `BATON_HTTP_DEADLINE`, else `2m`: all calls and waits | `10ms` to `9m` |
//! | `retries` | `BATON_HTTP_RETRIES`, else 2 | 0 to 10 |
//!
//! `${NAME:-default}` is the default if the variable is not set.

use crate::options::{Reader, parse_object, unknown_keys};
use serde_json::{Map, Value};
use std::time::Duration;
use url::Url;

const OPTIONS: &[&str] = &["method", "headers", "content_type", "idempotency_key", "timeout", "deadline", "retries"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The options of one call, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Names and values, as written.
    pub headers: Vec<(String, String)>,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The timeout of one HTTP call.
    pub timeout: Option<Duration>,
    /// One row with all its calls and waits.
    pub deadline: Option<Duration>,
    /// Retries after the first call.
    pub retries: Option<u32>,
}

impl HttpOptions {
    /// Reads `text`; NULL and blank mean no options.
    ///
    /// # Errors
    /// One sentence for each error, with the edit to make.
    pub fn parse(text: Option<&str>) -> Result<Self, Vec<String>> {
        let mut object = parse_object(text).map_err(|error| vec![error])?;
        let mut errors = unknown_keys(&object, OPTIONS);
        let headers = object.remove("headers").filter(|value| !value.is_null());
        let mut reader = Reader { object: &mut object, errors: &mut errors };
        let method = reader.take("method", "one of GET, POST, PUT, PATCH, DELETE", |value| {
            let name = value.as_str()?.to_ascii_uppercase();
            METHODS.into_iter().find(|method| *method == name)
        });
        let content_type = reader.text("content_type");
        let idempotency_key = reader.text("idempotency_key");
        let timeout = reader.duration("timeout");
        let deadline = reader.duration("deadline");
        let retries = reader.take("retries", "a whole number from 0 to 10", |value| {
            value.as_u64().filter(|number| *number <= 10).and_then(|number| u32::try_from(number).ok())
        });
        let headers = match headers {
            None => Vec::new(),
            Some(Value::Object(headers)) => read_headers(&headers, &mut errors),
            Some(_) => {
                errors.push("the option `headers` is not an object: write it like {\"X-Name\": \"value\"}".into());
                Vec::new()
            }
        };
        let method = method.unwrap_or("POST");
        let options = Self { method, headers, content_type, idempotency_key, timeout, deadline, retries };
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }

    /// The variables without a default in the headers, each with its header.
    fn needed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .flat_map(|(name, value)| needed(value).into_iter().map(move |needed| (needed, name.as_str())))
    }
}

fn read_headers(headers: &Map<String, Value>, errors: &mut Vec<String>) -> Vec<(String, String)> {
    let mut read = Vec::new();
    for (name, value) in headers {
        match value.as_str() {
            None => errors.push(format!("the header `{name}` is not text: write its value in quotes")),
            Some(value) => match parts(value) {
                Ok(_) => read.push((name.clone(), value.to_owned())),
                Err(why) => errors.push(format!("the header `{name}` {why}")),
            },
        }
    }
    read
}

/// A part of a text with variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Literal text.
    Text(&'a str),
    /// `${NAME}` or `${NAME:-default}`.
    Variable {
        /// The name.
        name: &'a str,
        /// The value if it is not set.
        default: Option<&'a str>,
        /// The whole variable, as written.
        written: &'a str,
    },
}

/// Splits a text into its parts.
///
/// # Errors
/// The error of a variable, as the rest of a sentence.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').ok_or("has a `${` without its `}`: write `${NAME}`")?;
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("has `${{{inside}}}`, which does not name a variable: write `${{NAME}}`"));
        }
        let written = &rest[before.len()..rest.len() - after.len()];
        parts.push(Part::Text(before));
        parts.push(Part::Variable { name, default, written });
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

/// The variables without a default in a text.
fn needed(text: &str) -> Vec<&str> {
    let parts = parts(text).unwrap_or_default();
    let names = parts.into_iter().filter_map(|part| match part {
        Part::Variable { name, default: None, .. } => Some(name),
        _ => None,
    });
    names.collect()
}

/// Checks a URL. One that contains variables can only be checked with their values.
///
/// # Errors
/// The error with the edit to make. It does not quote the URL, which may contain a secret.
pub fn check_url(url: &str) -> Result<(), String> {
    let parts = parts(url).map_err(|why| format!("the URL {why}"))?;
    if parts.iter().any(|part| matches!(part, Part::Variable { .. })) { Ok(()) } else { parse_url(url).map(drop) }
}

/// Parses a URL that can be called.
///
/// # Errors
/// The error with the edit to make. It does not quote the URL, which may contain a secret.
pub fn parse_url(url: &str) -> Result<Url, String> {
    const LIKE: &str = "write one like `https://agents.example.com/work`";
    let url = Url::parse(url.trim()).map_err(|error| format!("the URL is not valid ({error}): {LIKE}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!("the URL begins with neither `http:` nor `https:`: {LIKE}")),
    }
}

/// The variables that a call needs but `lookup` does not have, each in a sentence.
pub fn missing(url: &str, options: Option<&HttpOptions>, lookup: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let of_url = needed(url).into_iter().map(|name| (name, "the URL".to_owned()));
    let of_headers = options.into_iter().flat_map(HttpOptions::needed);
    let of_headers = of_headers.map(|(name, header)| (name, format!("the header `{header}`")));
    let unset = of_url.chain(of_headers).filter(|(name, _)| lookup(name).is_none_or(|value| value.is_empty()));
    unset.map(|(name, what)| not_set(&what, name)).collect()
}

/// The sentence for a variable that is not set.
pub fn not_set(what: &str, name: &str) -> String {
    format!("{what} needs {name}, which is not set: set {name} in the environment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_variables() {
        let variable = |name, default, written| Part::Variable { name, default, written };
        assert_eq!(
            parts("https://${HOST:-h}/x?key=${KEY}&$b{c}").unwrap(),
            [
                Part::Text("https://"),
                variable("HOST", Some("h"), "${HOST:-h}"),
                Part::Text("/x?key="),
                variable("KEY", None, "${KEY}"),
                Part::Text("&$b{c}"),
            ]
        );
        assert_eq!(needed("${A}${B:-}${C}"), ["A", "C"]);
        for (text, why) in [
            ("${A", "has a `${` without its `}`: write `${NAME}`"),
            ("${A B}", "has `${A B}`, which does not name a variable: write `${NAME}`"),
            ("${}", "has `${}`, which does not name a variable: write `${NAME}`"),
        ] {
            assert_eq!(parts(text).unwrap_err(), why);
        }
    }

    #[test]
    fn a_url_is_checked_as_far_as_it_is_known() {
        for right in ["https://h/x", " http://h ", "${URL}", "https://${HOST}/?key=${KEY}"] {
            assert_eq!(check_url(right), Ok(()), "{right}");
        }
        for (wrong, why) in [
            ("agent", "the URL is not valid (relative URL without a base)"),
            ("file:///x", "the URL begins with neither `http:` nor `https:`"),
            ("https://${HOST/", "the URL has a `${` without its `}`"),
        ] {
            assert!(check_url(wrong).unwrap_err().starts_with(why), "{wrong}");
        }
        let options = HttpOptions::parse(Some(r#"{"headers":{"A":"${B} ${C}"}}"#)).unwrap();
        assert_eq!(
            missing("https://${HOST}/${C}", Some(&options), |name| (name == "C").then(|| "c".to_owned())),
            [
                "the URL needs HOST, which is not set: set HOST in the environment",
                "the header `A` needs B, which is not set: set B in the environment",
            ]
        );
    }
}
