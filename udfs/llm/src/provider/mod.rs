//! Sends a question to a model in its provider's protocol, and repeats it without the features that the server refuses.
//!
//! `ask` asks one question. `openai` and `anthropic` implement the protocols, with `lenient` and `end` for what servers
//! write differently. `dialect` knows the features of servers, `fault` and `cause` read their errors, and `strict` knows
//! the schemas that they enforce. `classify` and `complete` choose the questions and check the answers.

mod anthropic;
mod ask;
mod dialect;
mod end;
mod lenient;
mod openai;
mod room;
mod strict;

pub(crate) use ask::{AskError, ask};
pub(crate) use dialect::Dialects;
pub(crate) use end::End;
pub(crate) use room::Next;
pub(crate) use strict::is_strict;

use crate::client::Request;
use crate::confidence::Choice;
use crate::gate::Tokens;
use crate::prompt;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::Effort;
use baton_llm_settings::secret::Secret;
use baton_llm_settings::settings::Provider;
use dialect::Dialect;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

/// A question.
#[derive(Debug, Default)]
pub(crate) struct Question<'a> {
    pub(crate) system: Cow<'a, str>,
    pub(crate) user: String,
    /// A previous unusable answer, and the reply to it.
    pub(crate) again: Option<(String, String)>,
    /// The schema of the answer. It is in the prompt too, unless the server is assumed to enforce it.
    pub(crate) schema: Option<&'a Value>,
    /// Whether the schema is in the provider's strict subset, so that a server may enforce it.
    pub(crate) strict: bool,
    pub(crate) temperature: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    /// Whether `max_tokens` was raised after an answer that was cut off.
    pub(crate) has_more_room: bool,
    /// How much the model is to think; `None` leaves it to the server.
    pub(crate) effort: Option<Effort>,
    /// The possible answers, set if the model's confidence is needed.
    pub(crate) choices: Option<&'a [Choice]>,
}

/// A parsed answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) text: String,
    pub(crate) end: End,
    /// Whether the server was assumed to enforce the schema, so that it was not in the prompt.
    pub(crate) enforced: bool,
    /// The probability of the answer among the choices of the question, if it can be computed.
    pub(crate) confidence: Option<f64>,
    pub(crate) spent: Spent,
}

/// The usage of an answer, as far as the server reports it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) model: Option<String>,
    /// All tokens of the prompt, including those from the server's cache.
    pub(crate) prompt_tokens: Option<u64>,
    /// Prompt tokens read from the server's cache, which are cheaper at most servers.
    pub(crate) cached_tokens: Option<u64>,
    /// Prompt tokens written to the server's cache, which are more expensive at some.
    pub(crate) cache_write_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
}

impl Spent {
    /// All tokens, if the server reports them.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        Some(Tokens {
            // No prompt has no tokens: the server does not count.
            prompt: self.prompt_tokens.filter(|tokens| *tokens > 0)?,
            cached: self.cached_tokens.unwrap_or(0),
            cache_write: self.cache_write_tokens.unwrap_or(0),
            completion: self.completion_tokens?,
        })
    }
}

fn build(endpoint: &Endpoint, question: &Question<'_>, dialect: Dialect) -> Result<Request, String> {
    let system = match question.schema {
        Some(schema) if !dialect.enforces(question) => Cow::Owned(prompt::with_schema(&question.system, schema)),
        _ => Cow::Borrowed(&*question.system),
    };
    match endpoint.provider {
        Provider::Anthropic => anthropic::build(endpoint, question, &system, dialect),
        _ => openai::build(endpoint, question, &system, dialect),
    }
}

/// The request of a provider: its body, its own headers, and the headers of the settings, which may replace them.
fn request(
    endpoint: &Endpoint,
    path: &[&str],
    own_headers: Vec<(HeaderName, Cow<'_, str>)>,
    body: &impl Serialize,
    size_hint: usize,
) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in own_headers {
        headers.insert(name, sensitive(&value).ok_or("the key in BATON_LLM_API_KEY cannot be sent: set the bare key")?);
    }
    for (name, value) in endpoint.headers.iter() {
        let pair = name.parse::<HeaderName>().ok().zip(sensitive(value.reveal()));
        let (name, value) = pair.ok_or_else(|| format!("the header {name} of BATON_LLM_HEADERS cannot be sent"))?;
        headers.insert(name, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut json = Vec::with_capacity(size_hint);
    serde_json::to_writer(&mut json, body)
        .map_err(|error| format!("the request cannot be written as JSON ({error})"))?;
    Ok(Request { method: Method::POST, url: url(&endpoint.base, path)?, shown: None, headers, body: json })
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The base URL with `path` appended to its own path. Its query is kept.
fn url(base: &Url, path: &[&str]) -> Result<Url, String> {
    let mut url = base.clone();
    if !url.path().trim_end_matches('/').ends_with(&format!("/{}", path.join("/"))) {
        url.path_segments_mut()
            .map_err(|()| "BATON_LLM_BASE_URL has no path: set it like https://api.openai.com/v1".to_owned())?
            .pop_if_empty()
            .extend(path);
    }
    Ok(url)
}

/// Describes a body that does not follow the protocol. The text continues after "the server answers".
fn unreadable(body: &[u8], expected: &str, secrets: &[&Secret]) -> String {
    if body.iter().all(u8::is_ascii_whitespace) {
        return "200 with an empty body".to_owned();
    }
    let said = crate::client::said(body, secrets);
    format!("200, but with no {expected}: {said}. Check BATON_LLM_BASE_URL, which ends with /v1 on most servers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_and_the_query_kept() {
        for (base, path, expected) in [
            ("http://h/v1", &["chat", "completions"][..], "http://h/v1/chat/completions"),
            ("http://h/v1/", &["chat", "completions"], "http://h/v1/chat/completions"),
            ("http://h", &["messages"], "http://h/messages"),
            ("http://h/v1?api-version=1", &["messages"], "http://h/v1/messages?api-version=1"),
            ("http://h/v1/chat/completions", &["chat", "completions"], "http://h/v1/chat/completions"),
            ("http://h/v1/messages/", &["messages"], "http://h/v1/messages/"),
        ] {
            assert_eq!(url(&Url::parse(base).unwrap(), path).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn any_body_is_survived() {
        let bodies = [
            r#"{"model":"m","choices":[{"message":{"content":[{"type":"text","text":"{}"}],"tool_calls":[]},
                "logprobs":{"content":[{"token":"a","logprob":-1}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":5}}"#,
            r#"{"type":"message","content":[{"type":"tool_use","input":{"a":[1]}},{"type":"text","text":"x"}],
                "stop_reason":"end_turn","usage":{"input_tokens":1}}"#,
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"tool_calls\":[{\"function\":{\"arguments\":\"{\"}}]}}]}\n",
            "data: {\"message\":{\"usage\":{}}}\ndata: {\"delta\":{\"text\":\"a\",\"stop_reason\":\"end_turn\"}}\n",
        ];
        let schema = Value::Bool(true);
        let choices = [Choice::new("A"), Choice::new("B")];
        let question = Question { schema: Some(&schema), choices: Some(&choices), ..Question::default() };
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let mut body = bodies[random.usize(0..bodies.len())].as_bytes().to_vec();
            for _ in 0..random.usize(0..4).min(body.len()) {
                let at = random.usize(0..body.len());
                match random.u8(0..3) {
                    0 => drop(body.remove(at)),
                    1 => body[at] = *random.choice(br#"{}[]":,0-n"#).unwrap(),
                    _ => body.truncate(at.max(9)),
                }
            }
            let _ = openai::read(&body, &question, &[]);
            let _ = anthropic::read(&body, &[]);
            let _ = crate::fault::Fault::read(reqwest::StatusCode::OK, &body);
        }
    }
}
