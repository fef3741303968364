//! A question to a model: asked in its provider's protocol, and asked again without what the server turns out not to take.
//!
//! The protocols are in `openai` and `anthropic`, what servers take in `dialect`, and which schemas they hold a model to in
//! `strict`. Which question is asked and whether its answer will do is the business of `classify` and `complete`.

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

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) system: Cow<'a, str>,
    pub(crate) user: String,
    /// An answer that would not do, and what was said to it.
    pub(crate) again: Option<(String, String)>,
    /// The form of the answer. Unless the server is believed to hold the model to it, it is said in the prompt too.
    pub(crate) schema: Option<&'a Value>,
    /// Whether the schema lies in the provider's strict subset, so that a server may hold the model to it.
    pub(crate) strict: bool,
    pub(crate) temperature: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    /// What the answer is one of; set when it is wanted how sure the model is of it.
    pub(crate) choices: Option<&'a [Choice]>,
}

/// An answer that can be read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) text: String,
    /// Set when the server stopped the answer itself: why.
    pub(crate) broken_off: Option<&'static str>,
    /// Whether the server was believed to hold the model to the schema, so that the prompt was silent about it.
    pub(crate) enforced: bool,
    /// How probable the model found the answer among the choices of the question, where that can be computed.
    pub(crate) confidence: Option<f64>,
    pub(crate) spent: Spent,
}

/// What an answer took, as far as the server says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) model: Option<String>,
    /// All tokens of the prompt, those from the server's cache among them.
    pub(crate) prompt_tokens: Option<u64>,
    /// Those of them that the server had in its cache, which are cheaper at most servers.
    pub(crate) cached_tokens: Option<u64>,
    /// Those of them that the server has put into its cache, which are dearer at some.
    pub(crate) cache_write_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
}

impl Spent {
    /// All of it, when the server has counted it.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        Some(Tokens {
            prompt: self.prompt_tokens?,
            cached: self.cached_tokens.unwrap_or(0),
            cache_write: self.cache_write_tokens.unwrap_or(0),
            completion: self.completion_tokens?,
        })
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Asking again makes no sense: the row ends.
    Final(Failure),
    /// An answer came that is none of the protocol: it may be asked for once more.
    Unreadable(String),
}

/// Asks once, with the transport's tries, and again at once for each thing that the server turns out not to take (four at
/// most, and only the first time for a server and model).
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
        // An answer that does not say what it took stays counted by its upper bound.
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
                // Before it is cut, because half a key is not found again.
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

/// The request of a provider: its body, its own headers, and those of the settings, which may replace them.
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

/// The base URL with `path` at the end of its own; its query stays.
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

/// What a body that is no answer of the protocol is, in the words of an error that goes on after "the server answers".
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
