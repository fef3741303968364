//! The settings of a process: `BATON_LLM_…` in the environment, read once, every mistake named.
//!
//! | Setting | Default | Range |
//! | --- | --- | --- |
//! | `BATON_LLM_PROVIDER` | what a key or URL implies, else `offline` | `openai`, `anthropic`, `offline` |
//! | `BATON_LLM_BASE_URL` | the provider's own | `http` or `https`, up to and with `/v1` |
//! | `BATON_LLM_MODEL` | `gpt-4.1-mini` at OpenAI itself, `claude-haiku-5-5` at Anthropic itself, else none | any |
//! | `BATON_LLM_API_KEY` | `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`, by provider | any |
//! | `BATON_LLM_API_KEY_FILE` | none | a file with the key in it |
//! | `BATON_LLM_HEADERS` | none | a JSON object of names to texts: headers of every call |
//! | `BATON_LLM_TIMEOUT` | `30s`, one HTTP call | `10ms` to `9m` |
//! | `BATON_LLM_DEADLINE` | `2m`, one row with all its calls and waits | `10ms` to `9m` |
//! | `BATON_LLM_CONCURRENCY` | `64` calls at a time, for each UDF in each process | 1 to 10000 |
//! | `BATON_LLM_RETRIES` | `2` | 0 to 10 |
//! | `BATON_LLM_CA_FILE` | none | a PEM file whose certificates are trusted too |
//! | `BATON_LLM_TEMPERATURE` | 0 in `llm_classify`, else the server's | 0 to 2, at Anthropic to 1 |
//! | `BATON_LLM_MAX_TOKENS` | the server's own; 4096 where tokens are limited | 1 to 1000000 |
//!
//! What differs by call is in [`crate::options`], what bounds more than a row in [`crate::limits`].

use crate::endpoint::{Headers, parse_headers};
use crate::limits::Limits;
use crate::secret::Secret;
use crate::text::{parse_duration, parse_number};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Any server that speaks OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages API.
    Anthropic,
    /// Nobody: a text method, and the fallback argument.
    Offline,
}

impl Provider {
    /// All names, for messages.
    pub const NAMES: &'static str = "openai, anthropic, offline";

    /// The provider called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "openai" => Some(Self::OpenAi),
            "anthropic" => Some(Self::Anthropic),
            "offline" => Some(Self::Offline),
            _ => None,
        }
    }

    /// The highest temperature that its protocol takes.
    #[must_use]
    pub fn most_temperature(self) -> f64 {
        if self == Self::Anthropic { 1.0 } else { 2.0 }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Offline => "offline",
        })
    }
}

/// How long to wait before another try: a random time up to `base` doubled by every try, never above `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound of every wait.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(20) }
    }
}

/// What the environment sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who answers, unless a call's options say otherwise.
    pub provider: Provider,
    /// Where the provider's protocol is spoken; `None` is the provider's own server.
    pub base_url: Option<Url>,
    /// Which model is asked, unless a call's options say otherwise.
    pub model: Option<String>,
    /// `BATON_LLM_API_KEY` or what its file holds.
    pub api_key: Option<Secret>,
    /// `OPENAI_API_KEY`.
    pub openai_key: Option<Secret>,
    /// `ANTHROPIC_API_KEY`.
    pub anthropic_key: Option<Secret>,
    /// What is sent with every call besides.
    pub headers: Headers,
    /// One HTTP call.
    pub timeout: Duration,
    /// One row: all calls and waits, but for the wait for a slot.
    pub deadline: Duration,
    /// HTTP calls at a time.
    pub concurrency: usize,
    /// Tries after the first.
    pub retries: u32,
    /// How freely a model answers, unless a call's options say otherwise.
    pub temperature: Option<f64>,
    /// The longest answer in tokens, unless a call's options say otherwise.
    pub max_tokens: Option<u32>,
    /// Certificates that are trusted too.
    pub ca_file: Option<PathBuf>,
    /// What bounds more than one row.
    pub limits: Limits,
    /// Waits between tries. Not a setting of the environment.
    pub backoff: Backoff,
    /// The largest answer that is read, in bytes. Not a setting of the environment.
    pub max_body: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            provider: Provider::Offline,
            base_url: None,
            model: None,
            api_key: None,
            openai_key: None,
            anthropic_key: None,
            headers: Headers::default(),
            timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(120),
            concurrency: 64,
            retries: 2,
            temperature: None,
            max_tokens: None,
            ca_file: None,
            limits: Limits::default(),
            backoff: Backoff::default(),
            max_body: 10_000_000,
        }
    }
}

/// What the settings come to, without any secret: for a start message or a check before the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Who answers.
    pub provider: Provider,
    /// Where, without credentials and query; `None` offline.
    pub base_url: Option<String>,
    /// Which model; `None` offline.
    pub model: Option<String>,
    /// Whether a key is sent.
    pub has_key: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.base_url, &self.model) {
            (Some(url), Some(model)) => {
                let key = if self.has_key { "with a key" } else { "without a key" };
                write!(f, "{model} at {url} ({}, {key})", self.provider)
            }
            _ => f.write_str("offline (no model is asked)"),
        }
    }
}

/// Whether the settings that `lookup` gives are good, and what they come to; else one sentence for each mistake.
///
/// # Errors
/// Every mistake, with the setting's name, its value (never of a key) and the edit to make.
pub fn check_settings(lookup: impl Fn(&str) -> Option<String>) -> Result<Summary, Vec<String>> {
    let settings = Settings::from_lookup(lookup)?;
    if settings.provider == Provider::Offline {
        return Ok(Summary { provider: Provider::Offline, base_url: None, model: None, has_key: false });
    }
    let endpoint = settings.endpoint(settings.provider, None).map_err(|message| vec![message])?;
    if let Some(path) = &settings.ca_file {
        let pem = std::fs::read(path).map_err(|error| {
            vec![format!("BATON_LLM_CA_FILE is `{}`, which cannot be read: {error}", path.display())]
        })?;
        if !pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
            return Err(vec![format!(
                "BATON_LLM_CA_FILE is `{}`, which holds no certificate in PEM form",
                path.display()
            )]);
        }
    }
    Ok(Summary {
        provider: settings.provider,
        base_url: Some(shown(&endpoint.base)),
        has_key: endpoint.has_key(),
        model: Some(endpoint.model),
    })
}

impl Settings {
    /// Reads all settings through `lookup`.
    ///
    /// # Errors
    /// One sentence for each mistake.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut errors = Vec::new();
        let defaults = Self::default();

        let base_url = get("BATON_LLM_BASE_URL").and_then(|value| keep(parse_url(&value), &mut errors));
        let mut api_key = get("BATON_LLM_API_KEY").map(Secret::new);
        if let (None, Some(path)) = (&api_key, get("BATON_LLM_API_KEY_FILE")) {
            api_key = keep(read_key(&path), &mut errors);
        }
        let openai_key = get("OPENAI_API_KEY").map(Secret::new);
        let anthropic_key = get("ANTHROPIC_API_KEY").map(Secret::new);
        for (name, key) in
            [("BATON_LLM_API_KEY", &api_key), ("OPENAI_API_KEY", &openai_key), ("ANTHROPIC_API_KEY", &anthropic_key)]
        {
            if key.as_ref().is_some_and(|key| !key.reveal().bytes().all(|byte| (0x21..0x7f).contains(&byte))) {
                errors.push(format!(
                    "{name} holds a character that no key has (a space, a line break, an accent): set the bare key"
                ));
            }
        }
        let headers = get("BATON_LLM_HEADERS").and_then(|value| keep(parse_headers(&value), &mut errors));
        let provider = get("BATON_LLM_PROVIDER").and_then(|name| {
            let wrong = || format!("BATON_LLM_PROVIDER is `{name}`: set one of {}", Provider::NAMES);
            keep(Provider::from_name(&name).ok_or_else(wrong), &mut errors)
        });
        let mut duration = |name: &str, default: Duration| {
            get(name)
                .and_then(|value| {
                    keep(parse_duration(&value).map_err(|why| format!("{name} is `{value}`: {why}")), &mut errors)
                })
                .unwrap_or(default)
        };
        let timeout = duration("BATON_LLM_TIMEOUT", defaults.timeout);
        let deadline = duration("BATON_LLM_DEADLINE", defaults.deadline);
        let mut number = |name: &str, range: std::ops::RangeInclusive<u32>, default: u32| {
            get(name).and_then(|value| keep(parse_number(name, &value, range), &mut errors)).unwrap_or(default)
        };
        let concurrency = number("BATON_LLM_CONCURRENCY", 1..=10_000, 64) as usize;
        let retries = number("BATON_LLM_RETRIES", 0..=10, defaults.retries);

        let temperature = get("BATON_LLM_TEMPERATURE").and_then(|value| {
            let number = value.parse().ok().filter(|number| (0.0..=2.0).contains(number));
            let wrong = || format!("BATON_LLM_TEMPERATURE is `{value}`: set a number from 0 to 2");
            keep(number.ok_or_else(wrong), &mut errors)
        });
        let max_tokens = get("BATON_LLM_MAX_TOKENS")
            .and_then(|value| keep(parse_number("BATON_LLM_MAX_TOKENS", &value, 1..=1_000_000), &mut errors));
        let limits = Limits::read(&get, &mut errors);

        let mut settings = Self {
            provider: Provider::Offline,
            base_url,
            model: get("BATON_LLM_MODEL"),
            api_key,
            openai_key,
            anthropic_key,
            headers: headers.unwrap_or_default(),
            timeout,
            deadline,
            concurrency,
            retries,
            temperature,
            max_tokens,
            ca_file: get("BATON_LLM_CA_FILE").map(PathBuf::from),
            limits,
            ..defaults
        };
        settings.provider = provider.unwrap_or_else(|| settings.implied_provider());
        let most = settings.provider.most_temperature();
        if let Some(temperature) = settings.temperature.filter(|temperature| *temperature > most) {
            errors.push(format!(
                "BATON_LLM_TEMPERATURE is `{temperature}`: set a number from 0 to {most}, for {}",
                settings.provider
            ));
        }
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

pub(crate) fn keep<T>(result: Result<T, String>, errors: &mut Vec<String>) -> Option<T> {
    result.map_err(|message| errors.push(message)).ok()
}

/// A URL as it may be shown: without user, password, query and fragment.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

pub(crate) fn parse_url(value: &str) -> Result<Url, String> {
    // The value may hold a password, so it is shown only as far as it is known to be none.
    let wrong = |why: &str| format!("BATON_LLM_BASE_URL {why}: set it like https://api.openai.com/v1");
    let url = Url::parse(value).map_err(|error| wrong(&format!("is no URL ({error})")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(wrong(&format!("is `{}`, which is neither http nor https", shown(&url)))),
    }
}

fn read_key(path: &str) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("BATON_LLM_API_KEY_FILE is `{path}`, which cannot be read: {error}"))?;
    match text.trim() {
        "" => Err(format!("BATON_LLM_API_KEY_FILE is `{path}`, which is empty: write the key into it")),
        key => Ok(Secret::new(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn nothing_set_is_offline() {
        let summary = check_settings(lookup(&[])).unwrap();
        assert_eq!(summary.to_string(), "offline (no model is asked)");
    }

    #[test]
    fn a_url_without_a_key_works() {
        let summary = check_settings(lookup(&[
            ("BATON_LLM_BASE_URL", "http://localhost:11434/v1/"),
            ("BATON_LLM_MODEL", "llama3.2"),
        ]))
        .unwrap();
        assert_eq!(summary.to_string(), "llama3.2 at http://localhost:11434/v1 (openai, without a key)");
    }

    #[test]
    fn a_key_implies_its_provider() {
        let summary = check_settings(lookup(&[("OPENAI_API_KEY", "sk-canary")])).unwrap();
        assert_eq!(summary.to_string(), "gpt-4.1-mini at https://api.openai.com/v1 (openai, with a key)");
        for pairs in [
            &[("ANTHROPIC_API_KEY", "sk-ant-canary")][..],
            &[("BATON_LLM_API_KEY", "sk-ant-canary")],
            &[("BATON_LLM_API_KEY", "sk-ant-canary"), ("OPENAI_API_KEY", "sk-canary")],
            &[("BATON_LLM_BASE_URL", "https://api.anthropic.com/v1"), ("ANTHROPIC_API_KEY", "sk-ant-canary")],
            &[("BATON_LLM_PROVIDER", "anthropic"), ("ANTHROPIC_API_KEY", "x"), ("OPENAI_API_KEY", "sk-canary")],
        ] {
            let summary = check_settings(lookup(pairs)).unwrap();
            assert_eq!(summary.to_string(), "claude-haiku-5-5 at https://api.anthropic.com/v1 (anthropic, with a key)");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let errors = check_settings(lookup(&[
            ("BATON_LLM_PROVIDER", "opnai"),
            ("BATON_LLM_BASE_URL", "localhost:8000/v1"),
            ("BATON_LLM_TIMEOUT", "10"),
            ("BATON_LLM_DEADLINE", "10m"),
            ("BATON_LLM_CONCURRENCY", "0"),
            ("BATON_LLM_RETRIES", "many"),
            ("BATON_LLM_API_KEY", "sk canary"),
            ("BATON_LLM_HEADERS", "[]"),
        ]))
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "BATON_LLM_BASE_URL is `localhost:8000/v1`, which is neither http nor https: set it like \
                 https://api.openai.com/v1",
                "BATON_LLM_API_KEY holds a character that no key has (a space, a line break, an accent): set the bare \
                 key",
                "BATON_LLM_HEADERS is JSON, but no object: set a JSON object of names to texts, like {\"x-team\": \
                 \"leads\"}",
                "BATON_LLM_PROVIDER is `opnai`: set one of openai, anthropic, offline",
                "BATON_LLM_TIMEOUT is `10`: set a whole number with its unit, such as 500ms, 10s or 2m",
                "BATON_LLM_DEADLINE is `10m`: set a time from 10ms to 9m",
                "BATON_LLM_CONCURRENCY is `0`: set a whole number from 1 to 10000",
                "BATON_LLM_RETRIES is `many`: set a whole number from 0 to 10",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let errors = check_settings(lookup(&[("BATON_LLM_BASE_URL", "http://u:canary@h/v1?k=canary")])).unwrap_err();
        assert_eq!(errors, ["no model is named for http://h/v1: set BATON_LLM_MODEL"]);
        let errors = check_settings(lookup(&[("BATON_LLM_API_KEY_FILE", "/nowhere/key")])).unwrap_err();
        assert!(errors[0].starts_with("BATON_LLM_API_KEY_FILE is `/nowhere/key`, which cannot be read"));
    }

    #[test]
    fn anthropic_takes_less_of_temperature() {
        let both = [("ANTHROPIC_API_KEY", "sk-ant-canary"), ("BATON_LLM_TEMPERATURE", "1.5")];
        let errors =
            check_settings(|name| both.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()));
        assert_eq!(errors.unwrap_err(), ["BATON_LLM_TEMPERATURE is `1.5`: set a number from 0 to 1, for anthropic"]);
        assert!(check_settings(lookup(&[("OPENAI_API_KEY", "sk-canary"), ("BATON_LLM_TEMPERATURE", "1.5")])).is_ok());
    }

    #[test]
    fn keys_are_not_in_debug_output() {
        let settings = Settings::from_lookup(lookup(&[("OPENAI_API_KEY", "canary")])).unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
