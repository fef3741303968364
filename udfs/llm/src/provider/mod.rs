//! Sends a question to a model in its provider's protocol, and repeats it without the features that the server refuses.
//!
//! `openai` and `anthropic` implement the protocols, `dialect` the features of servers, and `strict` the schemas that
//! they enforce. `classify` and `complete` choose the questions and check the answers.

mod anthropic;
mod dialect;
mod openai;
mod strict;

pub(crate) use dialect::Dialects;
pub(crate) use strict::is_strict;

use crate::confidence::Choice;

use crate::gate::Tokens;
use crate::prompt;
use crate::result::{Failure, Status};
use crate::transport::{Answer, Request, Row, Transport, describe_answer};
use baton_llm_settings::address::shown;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::secret::{Secret, redact, redact_answer};
use baton_llm_settings::settings::Provider;
use baton_llm_settings::text::excerpt;
use dialect::Dialect;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

/// A question.
#[derive(Debug)]
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
    /// The possible answers, set if the model's confidence is needed.
    pub(crate) choices: Option<&'a [Choice]>,
}

/// A parsed answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) text: String,
    /// The reason if the server cut the answer off.
    pub(crate) broken_off: Option<&'static str>,
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
            prompt: self.prompt_tokens?,
            cached: self.cached_tokens.unwrap_or(0),
            cache_write: self.cache_write_tokens.unwrap_or(0),
            completion: self.completion_tokens?,
        })
    }
}

/// The reason for a missing reply.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Asking again is useless: the row ends.
    Final(Failure),
    /// The answer does not follow the protocol. It may be requested once more.
    Unreadable(String),
}

/// Asks once, with the transport's retries, and again at once for each feature that the server refuses (at most four,
/// and only at the first call of a server and model).
pub(crate) async fn ask(
    transport: &Transport,
    dialects: &Dialects,
    endpoint: &Endpoint,
    question: &Question<'_>,
    row: &mut Row,
) -> Result<Reply, AskError> {
    let secrets = endpoint.secrets();
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let mut dialect = dialects.of(endpoint);
    loop {
        let request = build(endpoint, question, dialect).map_err(|why| AskError::Final(Failure::config(why)))?;
        let mut answer =
            transport.send(&request, row, &secrets).await.map_err(|failed| AskError::Final(failed.failure))?;
        if let Some(next) = dialect.after(&answer, endpoint.provider, question) {
            dialect = dialects.remember(endpoint, next);
            continue;
        }
        if !answer.status.is_success() {
            let message = describe_answer(&request, &answer, &secrets) + &refusal_hint(endpoint, &answer);
            if let Some(guard) = &row.guard {
                guard.refused(answer.status, &message).await;
            }
            return Err(AskError::Final(Failure::new(Status::Rejected, message)));
        }
        let read = match endpoint.provider {
            Provider::Anthropic => anthropic::read(&answer.body, &secrets),
            _ => openai::read(&answer.body, question.choices, &secrets),
        };
        // The call of an answer without usage stays counted by its upper bound.
        let tokens = read.as_ref().ok().and_then(|reply| reply.spent.tokens());
        if let Some((bill, tokens)) = answer.bill.take().zip(tokens) {
            bill.settle(tokens);
        }
        // A server may quote the key anywhere; it must not get into a topic.
        return match read {
            Ok(mut reply) => {
                reply.enforced = dialect.enforces(question);
                let keys = endpoint.keys();
                reply.text = redact_answer(&reply.text, &keys);
                let model = reply.spent.model.take();
                // Redacted before it is truncated, because half a key would not be found.
                let model = model.map(|model| excerpt(&redact_answer(&model, &keys), 200));
                reply.spent.model = model.filter(|model| !model.is_empty());
                Ok(reply)
            }
            Err(why) => {
                let message = format!("{} answers {why}", request.origin());
                Err(AskError::Unreadable(redact(&message, secrets.iter().copied())))
            }
        };
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

fn refusal_hint(endpoint: &Endpoint, answer: &Answer) -> String {
    match answer.status.as_u16() {
        401 | 403 if !endpoint.has_key() => ". No key was sent: set BATON_LLM_API_KEY".to_owned(),
        401 | 403 if endpoint.key.is_none() => ". Check BATON_LLM_HEADERS".to_owned(),
        401 | 403 => ". Check BATON_LLM_API_KEY".to_owned(),
        404 => format!(
            ". Check BATON_LLM_BASE_URL ({}) and BATON_LLM_MODEL ({})",
            shown(&endpoint.base),
            excerpt(&endpoint.model, 100)
        ),
        300..=399 => ". That is a redirect: set BATON_LLM_BASE_URL to the address it leads to".to_owned(),
        _ => String::new(),
    }
}

/// Describes a body that does not follow the protocol. The text continues after "the server answers".
fn unreadable(body: &[u8], expected: &str, secrets: &[&Secret]) -> String {
    if body.iter().all(u8::is_ascii_whitespace) {
        return "200 with an empty body".to_owned();
    }
    let said = crate::transport::said(body, secrets);
    format!("200, but with no {expected}: {said}. Check BATON_LLM_BASE_URL, which ends with /v1 on most servers")
}

const TOO_LONG: &str = "the answer was cut off at its maximum length: set the option max_tokens higher";
const REFUSED: &str = "the model refuses to answer";

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
}
