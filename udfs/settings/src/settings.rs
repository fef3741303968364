//! The settings of a process: `BATON_LLM_…` in the environment. They are read once, and every mistake in them is reported.
//!
//! | Setting | Default | Range |
//! | --- | --- | --- |
//! | `BATON_LLM_PROVIDER` | implied by a key or URL, else `offline` | `openai`, `anthropic`, `offline` |
//! | `BATON_LLM_BASE_URL` | the provider's own | `http` or `https`, up to and with `/v1` |
//! | `BATON_LLM_MODEL` | `gpt-6-luna` at OpenAI itself, `claude-haiku-5-5` at Anthropic itself, else none | any |
//! | `BATON_LLM_API_KEY` | at OpenAI itself `OPENAI_API_KEY`, at Anthropic itself `ANTHROPIC_API_KEY`, else none | any |
//! | `BATON_LLM_API_KEY_FILE` | none | a file that contains the key; read again when it changes |
//! | `BATON_LLM_HEADERS` | none | a JSON object of names to texts: headers of every call |
//! | `BATON_LLM_TIMEOUT` | for one HTTP call: `30s`, more at a slow server and for its first call | `10ms` to `9m` |
//! | `BATON_LLM_DEADLINE` | `2m`, for one row with all its calls and waits | `10ms` to `9m` |
//! | `BATON_LLM_CONCURRENCY` | at most `64` calls at a time, for each model on each server in each UDF | 1 to 10000 |
//! | `BATON_LLM_RETRIES` | `2` | 0 to 10 |
//! | `BATON_LLM_CA_FILE` | none | a PEM file with additional trusted certificates |
//! | `BATON_LLM_TEMPERATURE` | 0 in `llm_classify`, else the server's | 0 to 2, at Anthropic to 1 |
//! | `BATON_LLM_MAX_TOKENS` | the server's own; 4096 where tokens are limited | 1 to 1000000 |
//! | `BATON_LLM_EFFORT` | the server's | `none`, `minimal`, `low`, `medium`, `high` |
//!
//! [`crate::options`] has the options of a single call, [`crate::limits`] the limits across rows. [`crate::endpoint`]
//! selects the server of a call.

use crate::address::parse_url;
use crate::headers::{Headers, parse_headers};
use crate::key_file::{KeyFile, NOT_SENDABLE, is_sendable};
use crate::limits::Limits;
use crate::options::Effort;
use crate::provider::{ANTHROPIC, ANTHROPIC_KEY};
use crate::secret::Secret;
use crate::text::{keep, parse_duration, parse_number};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

pub use crate::provider::Provider;

/// Exponential back-off with jitter: a retry waits a random time below `base`, doubled with each retry, at most `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first retry.
    pub base: Duration,
    /// The longest wait before any retry.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(20) }
    }
}

/// The settings, with their defaults where the environment has none.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The provider, unless a call's options set another one.
    pub provider: Provider,
    /// The URL of the server; `None` for the provider's own server.
    pub base_url: Option<Url>,
    /// The model, unless a call's options set another one.
    pub model: Option<String>,
    /// `BATON_LLM_API_KEY`.
    pub api_key: Option<Secret>,
    /// `BATON_LLM_API_KEY_FILE`, unless `BATON_LLM_API_KEY` is set too.
    pub key_file: Option<Arc<KeyFile>>,
    /// `OPENAI_API_KEY`. It is sent to OpenAI's hosts alone.
    pub openai_key: Option<Secret>,
    /// `ANTHROPIC_API_KEY`. It is sent to Anthropic's host alone.
    pub anthropic_key: Option<Secret>,
    /// Headers sent with every call.
    pub headers: Headers,
    /// The time-out of one HTTP call.
    pub timeout: Duration,
    /// Whether `BATON_LLM_TIMEOUT` is set.
    pub timeout_is_set: bool,
    /// The time-out of one row: all calls and waits, except the wait for a slot.
    pub deadline: Duration,
    /// Whether `BATON_LLM_DEADLINE` is set.
    pub deadline_is_set: bool,
    /// HTTP calls in flight at a time.
    pub concurrency: usize,
    /// Retries after the first call.
    pub retries: u32,
    /// The model's temperature, unless a call's options set it.
    pub temperature: Option<f64>,
    /// The longest answer in tokens, unless a call's options set it.
    pub max_tokens: Option<u32>,
    /// How much the model reasons before it answers, unless a call's options set it.
    pub effort: Option<Effort>,
    /// Additional trusted certificates.
    pub ca_file: Option<PathBuf>,
    /// Limits across rows.
    pub limits: Limits,
    /// The back-off between retries. Not a setting of the environment.
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
            key_file: None,
            openai_key: None,
            anthropic_key: None,
            headers: Headers::default(),
            timeout: Duration::from_secs(30),
            timeout_is_set: false,
            deadline: Duration::from_secs(120),
            deadline_is_set: false,
            concurrency: 64,
            retries: 2,
            temperature: None,
            max_tokens: None,
            effort: None,
            ca_file: None,
            limits: Limits::default(),
            backoff: Backoff::default(),
            max_body: 10_000_000,
        }
    }
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
        let api_key = get("BATON_LLM_API_KEY").map(Secret::new);
        let key_file = get("BATON_LLM_API_KEY_FILE").filter(|_| api_key.is_none());
        let key_file = key_file.and_then(|path| keep(KeyFile::open(path), &mut errors)).map(Arc::new);
        let openai_key = get("OPENAI_API_KEY").map(Secret::new);
        let anthropic_key = get("ANTHROPIC_API_KEY").map(Secret::new);
        for (name, key) in
            [("BATON_LLM_API_KEY", &api_key), ("OPENAI_API_KEY", &openai_key), ("ANTHROPIC_API_KEY", &anthropic_key)]
        {
            if key.as_ref().is_some_and(|key| !is_sendable(key.reveal())) {
                errors.push(format!("{name} {NOT_SENDABLE}"));
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
        let effort = get("BATON_LLM_EFFORT").and_then(|name| {
            let wrong = || format!("BATON_LLM_EFFORT is `{name}`: set one of {}", Effort::NAMES);
            keep(Effort::from_name(&name).ok_or_else(wrong), &mut errors)
        });
        let limits = Limits::read(&get, &mut errors);

        let mut settings = Self {
            provider: Provider::Offline,
            base_url,
            model: get("BATON_LLM_MODEL"),
            api_key,
            key_file,
            openai_key,
            anthropic_key,
            headers: headers.unwrap_or_default(),
            timeout,
            timeout_is_set: get("BATON_LLM_TIMEOUT").is_some(),
            deadline,
            deadline_is_set: get("BATON_LLM_DEADLINE").is_some(),
            concurrency,
            retries,
            temperature,
            max_tokens,
            effort,
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

    /// The provider that a URL or a key implies.
    pub(crate) fn implied_provider(&self) -> Provider {
        if let Some(url) = &self.base_url {
            return if url.host_str() == Some(ANTHROPIC.host) { Provider::Anthropic } else { Provider::OpenAi };
        }
        let key = self.api_key.clone().or_else(|| self.key_file.as_ref().map(|file| file.key()));
        match key {
            Some(key) if key.reveal().starts_with(ANTHROPIC_KEY) => Provider::Anthropic,
            Some(_) => Provider::OpenAi,
            None if self.openai_key.is_some() => Provider::OpenAi,
            None if self.anthropic_key.is_some() => Provider::Anthropic,
            None => Provider::Offline,
        }
    }
}
