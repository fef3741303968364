//! The endpoint of a call: server, model, key, headers.
//!
//! `BATON_LLM_BASE_URL`, `…_MODEL`, `…_API_KEY` and `…_HEADERS` belong to one provider: the one of
//! `BATON_LLM_PROVIDER`, or the one that they imply. A call whose options name the other provider uses none of them,
//! because a key must not be sent to another server. Such a call goes to the other provider's own server, with that
//! provider's own key.
//!
//! **Invariant**: `OPENAI_API_KEY` and `ANTHROPIC_API_KEY` are sent to the hosts of OpenAI and of Anthropic alone.

use crate::address::{parse_url, shown};
use crate::headers::Headers;
use crate::key_file::KeyFile;
use crate::limits::NO_PLACE;
use crate::options::Budget;
use crate::provider::{ANTHROPIC, ANTHROPIC_KEY, Home, OPENAI, OPENAI_KEY, Provider};
use crate::secret::{LEAST_IN_ANSWERS, Secret, base64, is_ordinary};
use crate::settings::Settings;
use crate::text::excerpt;
use std::sync::Arc;
use url::Url;

/// Headers that carry a key.
const KEY_HEADERS: &[&str] = &["authorization", "api-key", "x-api-key"];

/// Words in the name of a header, or of a part of a URL, that mark its value as a key.
const KEY_WORDS: &[&str] = &[
    "accesskey",
    "accesstoken",
    "apikey",
    "apitoken",
    "auth",
    "authkey",
    "authorization",
    "authtoken",
    "cookie",
    "credential",
    "credentials",
    "key",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "signature",
    "token",
];

/// Words before a key in a header.
const SCHEMES: &[&str] = &["apikey", "basic", "bearer", "digest", "token"];

/// Domains of Azure, in its public and its sovereign clouds.
const AZURE: &[&str] = &[".azure.com", ".azure.us", ".azure.cn", ".azure-api.net"];

/// Whether a name marks its value as a key. It is compared word by word: an `X-Author` holds no key.
fn names_a_key(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        let separates = !character.is_alphanumeric();
        if separates || (was_lower && character.is_uppercase()) {
            words.push(String::new());
        }
        was_lower = character.is_lowercase();
        if let (false, Some(word)) = (separates, words.last_mut()) {
            word.extend(character.to_lowercase());
        }
    }
    words.iter().any(|word| KEY_WORDS.contains(&word.as_str()))
        || ["code", "sig"].contains(&name.to_ascii_lowercase().as_str())
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
    /// The file that the key comes from. It may hold a newer one by now: [`Endpoint::renew_key`].
    pub key_file: Option<Arc<KeyFile>>,
    /// The variable with a key of the provider that is set, but not sent to this server.
    pub unused_key: Option<&'static str>,
    /// Additional headers. They may replace the key's own header.
    pub headers: Headers,
}

impl Endpoint {
    /// Whether calls carry a key, possibly in a header of the settings.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some() || has_key(&self.headers)
    }

    /// Whether the server is Azure's, which takes a key in the header `api-key`.
    #[must_use]
    pub fn is_azure(&self) -> bool {
        self.base.host_str().is_some_and(|host| AZURE.iter().any(|domain| host.ends_with(domain)))
    }

    /// The variable whose key is not sent to this server, with the only host that it is sent to.
    #[must_use]
    pub fn unused_key_and_host(&self) -> Option<(&'static str, &'static str)> {
        let name = self.unused_key?;
        [OPENAI, ANTHROPIC].iter().find(|home| home.key_setting == name).map(|home| (name, home.host))
    }

    /// Takes the key from its file, which is read now, because the server refused the key. Returns whether it is another
    /// key. Then the call may be made again.
    #[must_use]
    pub fn renew_key(&mut self) -> bool {
        let Some(file) = &self.key_file else { return false };
        let _another_row_may_have_read_it = file.reread();
        let key = Some(file.key());
        let is_new = key != self.key;
        self.key = key;
        is_new
    }

    /// Everything that errors must not show: the keys, and the words of all headers but ordinary ones.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = self.all_keys();
        let others = self.headers.iter().filter(|(name, _)| !names_a_key(name));
        let words = others.flat_map(|(_, value)| value.reveal().split_whitespace());
        secrets.extend(words.filter(|word| word.len() >= LEAST_IN_ANSWERS && !is_ordinary(word)).map(Secret::new));
        secrets
    }

    /// Everything that must not appear in an answer either: what is certainly a key. Ordinary words and the values of
    /// other headers (an address, a title) may be part of a model's answer.
    #[must_use]
    pub fn keys(&self) -> Vec<Secret> {
        let mut keys = self.all_keys();
        keys.retain(Secret::is_certain);
        keys
    }

    /// The key and its predecessors in the file, the values of headers and parts of the URL whose names mark them as
    /// keys, and the URL's password.
    fn all_keys(&self) -> Vec<Secret> {
        let mut keys: Vec<Secret> = self.key.iter().cloned().collect();
        keys.extend(self.key_file.iter().flat_map(|file| file.keys()).filter(|key| self.key.as_ref() != Some(key)));
        for (_, value) in self.headers.iter().filter(|(name, _)| names_a_key(name)) {
            // As a server would quote them: `Bearer …`, `session=…; …`, `Credential=…, Signature=…`.
            for word in value.reveal().split(|character: char| character.is_whitespace() || ",;".contains(character)) {
                if SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(word)) {
                    continue;
                }
                keys.push(Secret::new(word));
                // A `=` at the end is Base64's.
                let value = word.split_once('=').map(|(_, value)| value).filter(|value| value.len() > 1);
                keys.extend(value.map(Secret::new));
            }
        }
        // `Token …` is a key, whatever the header is called.
        for (_, value) in self.headers.iter().filter(|(name, _)| !names_a_key(name)) {
            if let Some((scheme, key)) = value.reveal().trim().split_once(' ')
                && SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme))
            {
                keys.extend(key.split_whitespace().map(Secret::new));
            }
        }
        let base = &self.base;
        let (user, password) = (base.username(), base.password().unwrap_or_default());
        if !user.is_empty() || !password.is_empty() {
            let (user, plain) = (decoded(user), decoded(password));
            // The header that these two become.
            keys.push(Secret::new(base64(format!("{user}:{plain}").as_bytes())));
            keys.extend([password.to_owned(), plain].map(Secret::new));
            // With a token as the user, there is no password.
            if password.is_empty() {
                keys.extend([base.username().to_owned(), user].map(Secret::new));
            }
        }
        for pair in base.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if names_a_key(name) {
                keys.push(Secret::new(value));
            }
        }
        keys.extend(
            base.query_pairs().filter(|(name, _)| names_a_key(name)).map(|(_, value)| Secret::new(value.into_owned())),
        );
        keys.retain(|key| key.reveal().len() >= LEAST_OF_KEYS);
        let mut seen: Vec<Secret> = Vec::with_capacity(keys.len());
        keys.retain(|key| {
            let is_new = !seen.contains(key);
            if is_new {
                seen.push(key.clone());
            }
            is_new
        });
        keys
    }
}

/// Parts of headers and URLs that are shorter are no keys.
const LEAST_OF_KEYS: usize = 4;

fn has_key(headers: &Headers) -> bool {
    headers.iter().any(|(name, _)| KEY_HEADERS.contains(&name.as_str()))
}

/// A percent-encoded part of a URL as it is meant.
fn decoded(text: &str) -> String {
    // A `+` is itself in this part of a URL.
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(text.as_bytes()).map(|(name, value)| format!("{name}{value}")).collect()
}

/// Whether `host` is the provider's own, in any of its regions.
fn is_of(home: &Home, host: &str) -> bool {
    host == home.host || (home.has_regions && host.strip_suffix(home.host).is_some_and(|region| region.ends_with('.')))
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
        let headers = if own { Arc::clone(&self.headers) } else { Headers::default() };
        // A server with the other provider's protocol still gets only its own key.
        let host_key = |host: &str| {
            let homes = [(OPENAI, &self.openai_key), (ANTHROPIC, &self.anthropic_key)];
            homes.into_iter().find(|(home, _)| is_of(home, host)).and_then(|(_, key)| key.as_ref())
        };
        let host = base_url.map_or(Some(home.host), Url::host_str).unwrap_or_default();
        let key_file = self.key_file.as_ref().filter(|_| own && self.api_key.is_none());
        let own_key = self.api_key.clone().filter(|_| own).or_else(|| key_file.map(|file| file.key()));
        let key = own_key.or_else(|| host_key(host).cloned());
        let provider_key = if provider == Provider::Anthropic { &self.anthropic_key } else { &self.openai_key };
        let unused_key = (provider_key.is_some() && key.is_none() && !has_key(&headers)).then_some(home.key_setting);
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
        if base.scheme() == "http" && [OPENAI, ANTHROPIC].iter().any(|home| is_of(home, host)) {
            return Err(format!(
                "BATON_LLM_BASE_URL is `{}`, and a key is not sent to {host} without TLS: set it like https://{host}/v1",
                shown(&base)
            ));
        }
        for (of, start, whose) in [(OPENAI, ANTHROPIC_KEY, "anthropic"), (ANTHROPIC, OPENAI_KEY, "openai")] {
            if is_of(&of, host) && key.as_ref().is_some_and(|key| key.reveal().starts_with(start)) {
                return Err(format!(
                    "the key for {host} begins with {start}, so it is for {whose}: set BATON_LLM_PROVIDER to {whose}, \
                     or the right key"
                ));
            }
        }
        let at_home = is_of(&home, host);
        let model = model.or(self.model.as_deref().filter(|_| own)).or(at_home.then_some(home.model));
        let Some(model) = model else {
            return Err(format!("no model is named for {}: set BATON_LLM_MODEL", shown(&base)));
        };
        if self.limits.has_cost_budget() {
            self.price_of(model)?;
        }
        let (model, key_file) = (model.to_owned(), key_file.cloned());
        Ok(Endpoint { provider, base, model, key, key_file, unused_key, headers })
    }

    /// Whether a call of `model` can be counted against the budget in its options.
    ///
    /// # Errors
    /// A sentence that names the missing setting.
    pub fn check_budget(&self, budget: &Budget, model: &str) -> Result<(), String> {
        if budget.limits.has_cost() {
            self.price_of(model)?;
        }
        match self.limits.state_dir {
            Some(_) => Ok(()),
            None => Err(NO_PLACE.to_owned()),
        }
    }

    fn price_of(&self, model: &str) -> Result<(), String> {
        match self.limits.prices.of(model) {
            Some(_) => Ok(()),
            None => Err(format!(
                "there is a budget of money, but no price for the model {}: set it in BATON_LLM_PRICES",
                excerpt(model, 100)
            )),
        }
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
    use crate::limits::Budgets;

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
        assert_eq!(asked(&settings, Provider::OpenAi), "https://api.openai.com/v1 gpt-6-luna sk-proj-o ");
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
    fn a_providers_key_goes_to_its_own_hosts_alone() {
        let at = |url: &str, provider: &str| {
            let pairs: Vec<_> = BOTH
                .into_iter()
                .chain([("BATON_LLM_PROVIDER", provider), ("BATON_LLM_BASE_URL", url), ("BATON_LLM_MODEL", "m")])
                .collect();
            let settings = settings(&pairs);
            settings.endpoint(settings.provider, None).map(|endpoint| {
                (endpoint.key.as_ref().map(|key| key.reveal().to_owned()), endpoint.unused_key_and_host())
            })
        };
        for url in ["https://api.openai.com/v1", "https://eu.api.openai.com/v1", "https://us.api.openai.com:443/v1"] {
            assert_eq!(at(url, "openai"), Ok((Some("sk-proj-o".to_owned()), None)), "{url}");
        }
        assert_eq!(at("https://api.anthropic.com/v1", "anthropic"), Ok((Some("sk-ant-a".to_owned()), None)));
        for url in [
            "http://localhost:11434/v1",
            "https://gateway.example/v1",
            "https://api.openai.com.evil.example/v1",
            "https://evilapi.openai.com/v1",
            "https://openai.com/v1",
            "https://eu.api.anthropic.com/v1",
            "https://api.openai.com@evil.example/v1",
        ] {
            assert_eq!(at(url, "openai"), Ok((None, Some(("OPENAI_API_KEY", "api.openai.com")))), "{url}");
            assert_eq!(at(url, "anthropic"), Ok((None, Some(("ANTHROPIC_API_KEY", "api.anthropic.com")))), "{url}");
        }
        for url in ["http://api.openai.com/v1", "http://eu.api.openai.com/v1", "http://api.anthropic.com/v1"] {
            assert!(at(url, "openai").unwrap_err().contains("without TLS: set it like https://"), "{url}");
        }
    }

    #[test]
    fn a_key_from_a_file_is_renewed() {
        let path = std::env::temp_dir().join(format!("baton-endpoint-key-{}", std::process::id()));
        std::fs::write(&path, "canary-1").unwrap();
        let settings = settings(&[
            ("BATON_LLM_BASE_URL", "https://gateway.example/v1"),
            ("BATON_LLM_MODEL", "m"),
            ("BATON_LLM_API_KEY_FILE", path.to_str().unwrap()),
        ]);
        let mut endpoint = settings.endpoint(Provider::OpenAi, None).unwrap();
        let mut late = endpoint.clone();
        assert!(!endpoint.renew_key());
        std::fs::write(&path, "canary-2").unwrap();
        assert!(endpoint.renew_key());
        // Another row has read it, and this one still has the old key.
        assert!(late.renew_key());
        assert!(!late.renew_key());
        let _left = std::fs::remove_file(&path);
        assert_eq!(late.key, Some(Secret::new("canary-2")));
        assert_eq!(late.keys(), ["canary-2", "canary-1"].map(Secret::new));
        assert_eq!(settings.endpoint(Provider::OpenAi, None).unwrap().key, Some(Secret::new("canary-2")));
        // It is not sent to the other provider.
        assert!(settings.endpoint(Provider::Anthropic, None).is_err());
    }

    #[test]
    fn azure_has_several_clouds() {
        for (host, expected) in [
            ("x.openai.azure.com", true),
            ("x.cognitiveservices.azure.com", true),
            ("x.openai.azure.us", true),
            ("x.openai.azure.cn", true),
            ("x.azure-api.net", true),
            ("azure.com.example", false),
            ("notazure.com", false),
        ] {
            let url = format!("https://{host}/openai/v1");
            let settings = settings(&[("BATON_LLM_BASE_URL", url.as_str()), ("BATON_LLM_MODEL", "m")]);
            assert_eq!(settings.endpoint(Provider::OpenAi, None).unwrap().is_azure(), expected, "{host}");
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
                "https://user:canary%2Dpass1@h/v1?api-version=2024-10-21&subscription-key=canary-query1",
            ),
            ("BATON_LLM_MODEL", "m"),
            (
                "BATON_LLM_HEADERS",
                r#"{"X-Title":"Customer desk","X-Gateway-Token":"canary-header1","X-Trace":"a1b2c3d4e5f6a7b8",
                    "Cookie":"sid=canary-cookie1; theme=dark","X-Author":"anonymous7"}"#,
            ),
        ]);
        let endpoint = settings.endpoint(Provider::OpenAi, None).unwrap();
        let keys = endpoint.keys();
        let keys: Vec<&str> = keys.iter().map(Secret::reveal).collect();
        assert_eq!(
            keys,
            [
                "canary-header1",
                "sid=canary-cookie1",
                "canary-cookie1",
                "theme=dark",
                &base64(b"user:canary-pass1"),
                "canary%2Dpass1",
                "canary-pass1",
                "canary-query1",
            ]
        );
        // Errors show neither a trace nor a name, but ordinary words.
        let secrets = endpoint.secrets();
        assert!(secrets.contains(&Secret::new("a1b2c3d4e5f6a7b8")) && secrets.contains(&Secret::new("anonymous7")));
        assert!(!secrets.contains(&Secret::new("Customer")));
    }

    #[test]
    fn a_budget_in_options_needs_a_price_and_a_place() {
        let check = |limits: Budgets, pairs: &[(&str, &str)]| {
            settings(pairs).check_budget(&Budget { name: "a".to_owned(), limits }, "m")
        };
        let tokens = Budgets { tokens: Some(1), ..Budgets::default() };
        let cost = Budgets { cost_per_day: Some(1), ..Budgets::default() };
        let place = ("BATON_LLM_STATE_DIR", "/d");
        assert_eq!(check(tokens, &[place]), Ok(()));
        assert_eq!(check(tokens, &[]), Err(NO_PLACE.to_owned()));
        assert_eq!(check(cost, &[place, ("BATON_LLM_PRICES", "m=1/2")]), Ok(()));
        assert!(check(cost, &[place]).unwrap_err().contains("no price for the model m: set it in BATON_LLM_PRICES"));
    }

    #[test]
    fn names_of_keys() {
        for name in [
            "authorization",
            "x-api-key",
            "apikey",
            "accessToken",
            "X-Amz-Signature",
            "client_secret",
            "code",
            "ocp-apim-subscription-key",
            "sig",
        ] {
            assert!(names_a_key(name), "{name}");
        }
        for name in ["x-author", "x-title", "max_tokens", "monkey", "x-status-code", "design", "keyboard", ""] {
            assert!(!names_a_key(name), "{name}");
        }
    }
}
