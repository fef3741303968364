//! The endpoint of a call: server, model, key, headers.
//!
//! `BATON_LLM_BASE_URL`, `…_MODEL`, `…_API_KEY` and `…_HEADERS` belong to one provider: the one of
//! `BATON_LLM_PROVIDER`, or the one that they imply. A call whose options name the other provider uses none of them,
//! because a key must not be sent to another server. Such a call goes to the other provider's own server, with that
//! provider's own key.

use crate::address::{parse_url, shown};
use crate::headers::Headers;
use crate::provider::{ANTHROPIC, ANTHROPIC_KEY, OPENAI, OPENAI_KEY, Provider};
use crate::secret::{LEAST_IN_ANSWERS, Secret};
use crate::settings::Settings;
use crate::text::excerpt;
use std::sync::Arc;
use url::Url;

/// Headers that carry a key.
const KEY_HEADERS: &[&str] = &["authorization", "api-key", "x-api-key"];

/// Words in the name of a header, or of a part of a URL, that mark its value as a key.
const KEY_WORDS: &[&str] =
    &["key", "auth", "token", "secret", "password", "passwd", "credential", "cookie", "signature"];

fn names_a_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    KEY_WORDS.iter().any(|word| name.contains(word)) || ["code", "sig"].contains(&name.as_str())
}

/// The server to call, and the credentials.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The protocol of the server; never offline.
    pub provider: Provider,
    /// The base URL, without the path of a call.
    pub base: Url,
    /// The requested model.
    pub model: String,
    /// The key that is sent.
    pub key: Option<Secret>,
    /// Additional headers. They may replace the key's own header.
    pub headers: Headers,
}

impl Endpoint {
    /// Whether calls carry a key, possibly in a header of the settings.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some() || self.headers.iter().any(|(name, _)| KEY_HEADERS.contains(&name.as_str()))
    }

    /// Everything that errors must not show: the keys, and the words of all headers.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = self.keys();
        secrets
            .extend(self.header_words().filter(|(name, word)| !is_key(name, word)).map(|(_, word)| Secret::new(word)));
        secrets
    }

    /// The words in the headers' values, as a server would quote them, with the header's name. Short words are left
    /// out: removing them would make texts unreadable.
    fn header_words(&self) -> impl Iterator<Item = (&str, &str)> {
        let words = self
            .headers
            .iter()
            .flat_map(|(name, value)| value.reveal().split_whitespace().map(move |word| (name.as_str(), word)));
        words.filter(|(_, word)| word.len() >= LEAST_IN_ANSWERS)
    }

    /// Everything that must not appear in an answer either: the key, the values of headers and parts of the URL whose
    /// names mark them as keys, words of other headers that can only be keys, and the URL's user and password. Other
    /// header values (an address, a title) may be part of a model's answer.
    #[must_use]
    pub fn keys(&self) -> Vec<Secret> {
        let mut keys: Vec<Secret> = self.key.iter().cloned().collect();
        keys.extend(self.header_words().filter(|(name, word)| is_key(name, word)).map(|(_, word)| Secret::new(word)));
        let base = &self.base;
        let mut in_url: Vec<String> = [base.username(), base.password().unwrap_or_default()].map(str::to_owned).into();
        for pair in base.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if names_a_key(name) {
                in_url.push(value.to_owned());
            }
        }
        for (name, value) in base.query_pairs() {
            if names_a_key(&name) {
                in_url.push(value.into_owned());
            }
        }
        keys.extend(in_url.into_iter().filter(|part| part.len() >= LEAST_IN_ANSWERS).map(Secret::new));
        keys
    }
}

/// Whether a word of a header is a key, by the header's name or by its form: long, with both letters and digits.
fn is_key(name: &str, word: &str) -> bool {
    let has = |what: fn(&char) -> bool| word.chars().any(|character| what(&character));
    let looks = word.len() >= 16
        && has(char::is_ascii_digit)
        && has(char::is_ascii_alphabetic)
        && word.chars().all(|character| character.is_ascii_alphanumeric() || "-_=+.".contains(character));
    looks || names_a_key(name)
}

impl Settings {
    /// The endpoint of `provider`, for `model` if a call names one.
    ///
    /// # Errors
    /// A sentence that names the setting that is missing or does not fit.
    pub fn endpoint(&self, provider: Provider, model: Option<&str>) -> Result<Endpoint, String> {
        let home = match provider {
            Provider::OpenAi => OPENAI,
            Provider::Anthropic => ANTHROPIC,
            Provider::Offline => return Err("the provider is offline: there is nobody to ask".to_owned()),
        };
        let owner = self.owner();
        let own = provider == owner;
        let base_url = self.base_url.as_ref().filter(|_| own);
        // A server with the other provider's protocol still gets only its own key.
        let fallback_key = match base_url.and_then(Url::host_str) {
            Some(host) if host == OPENAI.host => &self.openai_key,
            Some(host) if host == ANTHROPIC.host => &self.anthropic_key,
            _ if provider == Provider::Anthropic => &self.anthropic_key,
            _ => &self.openai_key,
        };
        let key = self.api_key.as_ref().filter(|_| own).or(fallback_key.as_ref()).cloned();
        let headers = if own { Arc::clone(&self.headers) } else { Headers::default() };
        let base = match base_url {
            Some(url) => url.clone(),
            None if key.is_some() || !headers.is_empty() => parse_url(home.url)?,
            None if own => return Err(nobody(provider)),
            None => {
                return Err(format!(
                    "a call asks {provider}, and BATON_LLM_… is set for {owner}: set {} as well",
                    home.key_setting
                ));
            }
        };
        for (host, start, whose) in [(OPENAI.host, ANTHROPIC_KEY, "anthropic"), (ANTHROPIC.host, OPENAI_KEY, "openai")]
        {
            if base.host_str() == Some(host) && key.as_ref().is_some_and(|key| key.reveal().starts_with(start)) {
                return Err(format!(
                    "the key for {host} begins with {start}, so it is for {whose}: set BATON_LLM_PROVIDER to {whose}, \
                     or the right key"
                ));
            }
        }
        let at_home = base.host_str() == Some(home.host);
        let model = model.or(self.model.as_deref().filter(|_| own)).or(at_home.then_some(home.model));
        let Some(model) = model else {
            return Err(format!("no model is named for {}: set BATON_LLM_MODEL", shown(&base)));
        };
        if self.limits.has_cost_budget() && self.limits.prices.of(model).is_none() {
            return Err(format!(
                "there is a budget of money, but no price for the model {}: set it in BATON_LLM_PRICES",
                excerpt(model, 100)
            ));
        }
        Ok(Endpoint { provider, base, model: model.to_owned(), key, headers })
    }

    /// The provider to which `BATON_LLM_BASE_URL`, `…_MODEL`, `…_API_KEY` and `…_HEADERS` belong.
    fn owner(&self) -> Provider {
        match self.provider {
            Provider::Offline => self.implied_provider(),
            provider => provider,
        }
    }
}

fn nobody(provider: Provider) -> String {
    match provider {
        Provider::Anthropic => {
            "the provider is anthropic, but there is neither a key nor a URL: set BATON_LLM_API_KEY \
                                or ANTHROPIC_API_KEY, or BATON_LLM_BASE_URL for another server that speaks its protocol"
                .to_owned()
        }
        _ => "the provider is openai, but there is neither a URL nor a key: set BATON_LLM_BASE_URL (for Ollama \
              http://localhost:11434/v1), or BATON_LLM_API_KEY for OpenAI itself"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::from_lookup(lookup).unwrap()
    }

    /// The server and the key of a call.
    fn asked(settings: &Settings, provider: Provider) -> String {
        match settings.endpoint(provider, None) {
            Ok(endpoint) => {
                let key = endpoint.key.as_ref().map_or("no key", Secret::reveal);
                let headers: Vec<&str> = endpoint.headers.iter().map(|(name, _)| name.as_str()).collect();
                format!("{} {} {key} {}", shown(&endpoint.base), endpoint.model, headers.join(","))
            }
            Err(error) => error,
        }
    }

    const BOTH: [(&str, &str); 2] = [("OPENAI_API_KEY", "sk-proj-o"), ("ANTHROPIC_API_KEY", "sk-ant-a")];

    #[test]
    fn each_provider_has_its_own_key_server_and_model() {
        let settings = settings(&BOTH);
        assert_eq!(settings.provider, Provider::OpenAi);
        assert_eq!(asked(&settings, Provider::OpenAi), "https://api.openai.com/v1 gpt-4.1-mini sk-proj-o ");
        assert_eq!(asked(&settings, Provider::Anthropic), "https://api.anthropic.com/v1 claude-haiku-5-5 sk-ant-a ");
    }

    #[test]
    fn what_is_set_for_one_provider_is_not_used_for_the_other() {
        let own = [
            ("BATON_LLM_BASE_URL", "https://gateway.example/v1"),
            ("BATON_LLM_MODEL", "m"),
            ("BATON_LLM_API_KEY", "canary"),
            ("BATON_LLM_HEADERS", r#"{"Authorization":"Bearer canary"}"#),
        ];
        for (provider, first, second) in
            [("openai", Provider::OpenAi, Provider::Anthropic), ("anthropic", Provider::Anthropic, Provider::OpenAi)]
        {
            let pairs: Vec<_> = own.into_iter().chain(BOTH).chain([("BATON_LLM_PROVIDER", provider)]).collect();
            let settings = settings(&pairs);
            assert_eq!(asked(&settings, first), "https://gateway.example/v1 m canary authorization");
            let other = settings.endpoint(second, None).unwrap();
            let home = if second == Provider::OpenAi { OPENAI } else { ANTHROPIC };
            assert_eq!((other.base.host_str(), other.model.as_str()), (Some(home.host), home.model));
            assert!(!asked(&settings, second).contains("canary"));
        }
        // The other provider cannot be called without its own key.
        let pairs: Vec<_> = own.into_iter().chain([("BATON_LLM_PROVIDER", "openai")]).collect();
        assert_eq!(
            asked(&settings(&pairs), Provider::Anthropic),
            "a call asks anthropic, and BATON_LLM_… is set for openai: set ANTHROPIC_API_KEY as well"
        );
    }

    #[test]
    fn offline_by_setting_the_rest_still_belongs_to_whom_it_implies() {
        let settings = settings(&[
            ("BATON_LLM_PROVIDER", "offline"),
            ("BATON_LLM_BASE_URL", "https://api.anthropic.com/v1"),
            ("BATON_LLM_API_KEY", "sk-ant-a"),
        ]);
        assert_eq!(asked(&settings, Provider::Anthropic), "https://api.anthropic.com/v1 claude-haiku-5-5 sk-ant-a ");
        assert!(asked(&settings, Provider::OpenAi).contains("set OPENAI_API_KEY as well"));
    }

    #[test]
    fn a_key_does_not_get_to_the_other_providers_server() {
        // Anthropic's server speaks OpenAI's protocol too.
        let pairs: Vec<_> = BOTH
            .into_iter()
            .chain([
                ("BATON_LLM_PROVIDER", "openai"),
                ("BATON_LLM_BASE_URL", "https://api.anthropic.com/v1"),
                ("BATON_LLM_MODEL", "m"),
            ])
            .collect();
        assert_eq!(asked(&settings(&pairs), Provider::OpenAi), "https://api.anthropic.com/v1 m sk-ant-a ");
        for (provider, key) in [("openai", "sk-ant-canary"), ("anthropic", "sk-proj-canary")] {
            let pairs = [("BATON_LLM_PROVIDER", provider), ("BATON_LLM_API_KEY", key)];
            let settings = settings(&pairs);
            let error = asked(&settings, settings.provider);
            assert!(error.contains("set BATON_LLM_PROVIDER to"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (pairs, expected) in [
            (&[("BATON_LLM_PROVIDER", "openai")][..], "set BATON_LLM_BASE_URL (for Ollama"),
            (&[("BATON_LLM_PROVIDER", "anthropic")], "set BATON_LLM_API_KEY or ANTHROPIC_API_KEY"),
            (
                &[("BATON_LLM_PROVIDER", "anthropic"), ("BATON_LLM_BASE_URL", "http://u:canary@h/v1?k=canary")],
                "no model is named for http://h/v1: set BATON_LLM_MODEL",
            ),
        ] {
            let settings = settings(pairs);
            let error = asked(&settings, settings.provider);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn secrets_are_the_words_that_a_server_would_quote() {
        let settings = settings(&[
            ("OPENAI_API_KEY", "sk-proj-o"),
            ("BATON_LLM_HEADERS", r#"{"Authorization":"Bearer sk-canary-1","x-team":"leads"}"#),
        ]);
        let secrets = settings.endpoint(Provider::OpenAi, None).unwrap().secrets();
        assert_eq!(secrets.iter().map(Secret::reveal).collect::<Vec<_>>(), ["sk-proj-o", "sk-canary-1"]);
        assert!(!format!("{settings:?}").contains("canary"));
    }

    #[test]
    fn keys_are_told_by_the_names_that_they_go_by() {
        let settings = settings(&[
            (
                "BATON_LLM_BASE_URL",
                "https://user:canary%2Dpass@h/v1?api-version=2024-10-21&subscription-key=canary-query",
            ),
            ("BATON_LLM_MODEL", "m"),
            (
                "BATON_LLM_HEADERS",
                r#"{"X-Title":"Customer desk","X-Gateway-Token":"canary-header","X-Team":"Token a1b2c3d4e5f6a7b8"}"#,
            ),
        ]);
        let endpoint = settings.endpoint(Provider::OpenAi, None).unwrap();
        let keys = endpoint.keys();
        let keys: Vec<&str> = keys.iter().map(Secret::reveal).collect();
        assert_eq!(keys, ["canary-header", "a1b2c3d4e5f6a7b8", "canary%2Dpass", "canary-query", "canary-query"]);
        assert!(endpoint.secrets().contains(&Secret::new("Customer")));
    }
}
