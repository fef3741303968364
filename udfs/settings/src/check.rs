//! Checks the settings of a process before a run, and sums them up for the start message.

use crate::address::shown;
use crate::provider::Provider;
use crate::settings::Settings;
use std::fmt;

/// The settings in short, without any secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The provider.
    pub provider: Provider,
    /// The server's URL without credentials and query; `None` offline.
    pub base_url: Option<String>,
    /// The model; `None` offline.
    pub model: Option<String>,
    /// Whether a key is sent.
    pub has_key: bool,
    /// A variable with a key that is set but not sent to this server, and the only host that it is sent to.
    pub unused_key: Option<(&'static str, &'static str)>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.base_url, &self.model) {
            (Some(url), Some(model)) => {
                let key = if self.has_key { "with a key" } else { "without a key" };
                write!(f, "{model} at {url} ({}, {key}", self.provider)?;
                if let Some((name, host)) = self.unused_key {
                    write!(f, "; {name} is for {host} alone")?;
                }
                f.write_str(")")
            }
            _ => f.write_str("offline (no model is asked)"),
        }
    }
}

/// Checks the settings that `lookup` gives and sums them up, or returns one sentence for each mistake.
///
/// # Errors
/// Every error, with the setting's name, its value (never a key) and the edit to make.
pub fn check_settings(lookup: impl Fn(&str) -> Option<String>) -> Result<Summary, Vec<String>> {
    let settings = Settings::from_lookup(lookup)?;
    if settings.provider == Provider::Offline {
        return Ok(Summary {
            provider: Provider::Offline,
            base_url: None,
            model: None,
            has_key: false,
            unused_key: None,
        });
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
        unused_key: endpoint.unused_key_and_host(),
        model: Some(endpoint.model),
    })
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
    fn a_key_that_is_not_sent_is_named() {
        let summary = check_settings(lookup(&[
            ("BATON_LLM_BASE_URL", "https://gateway.example/v1"),
            ("BATON_LLM_MODEL", "m"),
            ("OPENAI_API_KEY", "sk-canary"),
        ]))
        .unwrap();
        assert_eq!(
            summary.to_string(),
            "m at https://gateway.example/v1 (openai, without a key; OPENAI_API_KEY is for api.openai.com alone)"
        );
    }

    #[test]
    fn a_key_implies_its_provider() {
        let summary = check_settings(lookup(&[("OPENAI_API_KEY", "sk-canary")])).unwrap();
        assert_eq!(summary.to_string(), "gpt-6-luna at https://api.openai.com/v1 (openai, with a key)");
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
                "BATON_LLM_HEADERS is JSON, but not an object: set a JSON object of names to texts, like {\"x-team\": \
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

    #[test]
    fn a_header_can_be_the_key() {
        let pairs = [("BATON_LLM_PROVIDER", "anthropic"), ("BATON_LLM_HEADERS", r#"{"X-Api-Key":"canary-canary"}"#)];
        let summary =
            check_settings(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
        assert_eq!(
            summary.unwrap().to_string(),
            "claude-haiku-5-5 at https://api.anthropic.com/v1 (anthropic, with a key)"
        );
    }
}
