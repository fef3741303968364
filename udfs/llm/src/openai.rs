//! OpenAI's chat completions, as every compatible server speaks them: the request, what the server turns out not to take,
//! and the answer.
//!
//! Which question is asked and whether its answer will do is the business of `classify` and `complete`.

use crate::result::{Failure, Status};
use crate::transport::{Answer, Request, Row, Transport, describe_answer, said};
use baton_llm_settings::secret::{Secret, redact, redact_answer};
use baton_llm_settings::settings::{Endpoint, shown};
use baton_llm_settings::text::excerpt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many pairs of server and model are remembered.
const MOST_REMEMBERED: usize = 256;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) system: Cow<'a, str>,
    pub(crate) user: String,
    /// An answer that would not do, and what was said to it.
    pub(crate) again: Option<(String, String)>,
    /// The form of the answer as a schema of the strict subset.
    pub(crate) schema: Option<&'a Value>,
    pub(crate) temperature: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
}

/// An answer that can be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) text: String,
    /// Set when the server stopped the answer itself: why.
    pub(crate) broken_off: Option<&'static str>,
    pub(crate) spent: Spent,
}

/// What an answer took, as far as the server says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) model: Option<String>,
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Asking again makes no sense: the row ends.
    Final(Failure),
    /// An answer came that is none of the protocol: it may be asked for once more.
    Unreadable(String),
}

/// What one model on one server takes. Found out from refusals, and remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Takes `response_format` with a schema.
    pub(crate) response_format: bool,
    /// Keeps to that schema: some take it and ignore it.
    pub(crate) enforces: bool,
    temperature: bool,
    /// Wants `max_completion_tokens` in place of `max_tokens`.
    completion_tokens: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { response_format: true, enforces: true, temperature: true, completion_tokens: false }
    }
}

impl Dialect {
    /// The dialect to try next when the server refuses a request with 400 or 422 and says why; `None` when what it says
    /// has nothing to do with what could be left out.
    fn without(mut self, complaint: &str, question: &Question<'_>) -> Option<Self> {
        let complaint = complaint.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        if self.temperature && question.temperature.is_some() && says(&["temperature"]) {
            self.temperature = false;
        } else if !self.completion_tokens && question.max_tokens.is_some() && says(&["max_tokens", "max_completion"]) {
            self.completion_tokens = true;
        } else if self.response_format
            && question.schema.is_some()
            && says(&["response_format", "response format", "json_schema", "schema", "structured", "grammar", "guided"])
        {
            self.response_format = false;
            self.enforces = false;
        } else {
            return None;
        }
        Some(self)
    }
}

/// What has been found out about servers.
#[derive(Debug, Default)]
pub(crate) struct Dialects(Mutex<HashMap<(String, String), Dialect>>);

impl Dialects {
    pub(crate) fn of(&self, endpoint: &Endpoint) -> Dialect {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(endpoint)).copied().unwrap_or_default()
    }

    /// Adds what was found out to what is known. Nothing is ever taken back, so that rows which find out different things
    /// at the same time end up with all of them, and no row meets more than three refusals.
    fn remember(&self, endpoint: &Endpoint, found: Dialect) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        let dialect = known.entry(key(endpoint)).or_default();
        dialect.response_format &= found.response_format;
        dialect.enforces &= found.enforces;
        dialect.temperature &= found.temperature;
        dialect.completion_tokens |= found.completion_tokens;
    }

    /// Notes that the server took a schema and answered past it.
    pub(crate) fn ignores_schema(&self, endpoint: &Endpoint) {
        self.remember(endpoint, Dialect { enforces: false, ..self.of(endpoint) });
    }
}

fn key(endpoint: &Endpoint) -> (String, String) {
    (endpoint.base.to_string(), endpoint.model.clone())
}

/// Asks once, with the transport's tries, and again at once for each thing that the server turns out not to take (three
/// at most, and only the first time for a server and model).
pub(crate) async fn ask(
    transport: &Transport,
    dialects: &Dialects,
    endpoint: &Endpoint,
    question: &Question<'_>,
    row: &mut Row,
) -> Result<Reply, AskError> {
    let secrets: Vec<&Secret> = endpoint.key.iter().collect();
    loop {
        let dialect = dialects.of(endpoint);
        let request = build(endpoint, question, dialect).map_err(|why| AskError::Final(Failure::config(why)))?;
        let answer = transport.send(&request, row, &secrets).await.map_err(|failed| AskError::Final(failed.failure))?;
        if matches!(answer.status.as_u16(), 400 | 422)
            && let Some(next) = dialect.without(&String::from_utf8_lossy(&answer.body), question)
        {
            dialects.remember(endpoint, next);
            continue;
        }
        if !answer.status.is_success() {
            let hint = refusal_hint(endpoint, &answer);
            let message = describe_answer(&request, &answer, &secrets) + &hint;
            return Err(AskError::Final(Failure::new(Status::Rejected, message)));
        }
        // A server may quote the key anywhere; it must not get into a topic.
        return match read(&answer.body) {
            Ok(mut reply) => {
                reply.text = redact_answer(&reply.text, secrets.iter().copied());
                let model = reply.spent.model.take();
                reply.spent.model = model.map(|model| redact_answer(&model, secrets.iter().copied()));
                Ok(reply)
            }
            Err(why) => {
                let message = format!("{} answers {why}", request.origin());
                Err(AskError::Unreadable(redact(&message, secrets.iter().copied())))
            }
        };
    }
}

fn refusal_hint(endpoint: &Endpoint, answer: &Answer) -> String {
    match answer.status.as_u16() {
        401 | 403 if endpoint.key.is_none() => ". No key was sent: set BATON_LLM_API_KEY".to_owned(),
        401 | 403 => ". Look at BATON_LLM_API_KEY".to_owned(),
        404 => format!(
            ". Look at BATON_LLM_BASE_URL ({}) and BATON_LLM_MODEL ({})",
            shown(&endpoint.base),
            excerpt(&endpoint.model, 100)
        ),
        300..=399 => ". That is a redirect: set BATON_LLM_BASE_URL to the address it leads to".to_owned(),
        _ => String::new(),
    }
}

fn build(endpoint: &Endpoint, question: &Question<'_>, dialect: Dialect) -> Result<Request, String> {
    let mut messages = vec![
        ChatMessage { role: "system", content: &question.system },
        ChatMessage { role: "user", content: &question.user },
    ];
    if let Some((answer, correction)) = &question.again {
        messages.push(ChatMessage { role: "assistant", content: answer });
        messages.push(ChatMessage { role: "user", content: correction });
    }
    let schema = question.schema.filter(|_| dialect.response_format);
    let body = ChatRequest {
        model: &endpoint.model,
        messages,
        temperature: question.temperature.filter(|_| dialect.temperature),
        max_tokens: question.max_tokens.filter(|_| !dialect.completion_tokens),
        max_completion_tokens: question.max_tokens.filter(|_| dialect.completion_tokens),
        response_format: schema.map(|schema| ResponseFormat {
            kind: "json_schema",
            json_schema: NamedSchema { name: "answer", strict: true, schema },
        }),
    };
    let mut json = Vec::with_capacity(question.system.len() + question.user.len() + 2048);
    serde_json::to_writer(&mut json, &body)
        .map_err(|error| format!("the request cannot be written as JSON ({error})"))?;
    Ok(Request { method: Method::POST, url: chat_url(&endpoint.base)?, headers: headers(endpoint)?, body: json })
}

/// The body of a request. Its parts are borrowed: a prompt is some kilobytes, and this is done for every row.
#[derive(Serialize)]
struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<ChatMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: NamedSchema<'a>,
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a Value,
}

/// The base URL with `/chat/completions` at the end of its path; its query stays.
fn chat_url(base: &Url) -> Result<Url, String> {
    let mut url = base.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/chat/completions") {
        url.path_segments_mut()
            .map_err(|()| "BATON_LLM_BASE_URL has no path: set it like https://api.openai.com/v1".to_owned())?
            .pop_if_empty()
            .extend(["chat", "completions"]);
    }
    Ok(url)
}

fn headers(endpoint: &Endpoint) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = &endpoint.key {
        let unfit = |_| "the key in BATON_LLM_API_KEY cannot be sent: set the bare key".to_owned();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(unfit)?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        if endpoint.base.host_str().is_some_and(|host| host.ends_with(".azure.com")) {
            let mut value = HeaderValue::from_str(key.reveal()).map_err(unfit)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("api-key"), value);
        }
    }
    Ok(headers)
}

#[derive(Deserialize)]
struct ChatCompletion {
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

/// Reads the body of a success. The error goes on after "the server answers".
fn read(body: &[u8]) -> Result<Reply, String> {
    let completion = match serde_json::from_slice::<ChatCompletion>(body) {
        Ok(completion) if !completion.choices.is_empty() => completion,
        _ if body.iter().all(u8::is_ascii_whitespace) => return Err("200 with nothing in it".to_owned()),
        _ => {
            return Err(format!(
                "200, but with no chat completion: {}. Look at BATON_LLM_BASE_URL, which ends with /v1 on most servers",
                said(body)
            ));
        }
    };
    let usage = completion.usage;
    let spent = Spent {
        model: completion.model.map(|model| excerpt(&model, 200)).filter(|model| !model.is_empty()),
        prompt_tokens: usage.as_ref().and_then(|usage| usage.prompt_tokens),
        completion_tokens: usage.as_ref().and_then(|usage| usage.completion_tokens),
    };
    let choice = completion.choices.into_iter().next();
    let finish = choice.as_ref().and_then(|choice| choice.finish_reason.clone());
    let message = choice.and_then(|choice| choice.message);
    let refused = message.as_ref().and_then(|message| message.refusal.as_ref()).is_some_and(|text| !text.is_empty());
    let broken_off = match finish.as_deref() {
        _ if refused => Some("the model refuses to answer"),
        Some("length") => Some("the answer was broken off at its largest length: set the option max_tokens higher"),
        Some("content_filter") => Some("the server's content filter stopped the answer"),
        _ => None,
    };
    let text = message.and_then(|message| message.content).unwrap_or_default();
    Ok(Reply { text, broken_off, spent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_path_is_added_and_the_query_kept() {
        for (base, url) in [
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("http://h/v1/", "http://h/v1/chat/completions"),
            ("http://h", "http://h/chat/completions"),
            ("http://h/v1?api-version=1", "http://h/v1/chat/completions?api-version=1"),
            ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ] {
            assert_eq!(chat_url(&Url::parse(base).unwrap()).unwrap().as_str(), url);
        }
    }

    #[test]
    fn a_completion_is_read() {
        let body = br#"{"model":"m-1","choices":[{"message":{"content":"A"},"finish_reason":"stop"}],
                        "usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
        let reply = read(body).unwrap();
        assert_eq!((reply.text.as_str(), reply.broken_off), ("A", None));
        assert_eq!(
            reply.spent,
            Spent { model: Some("m-1".into()), prompt_tokens: Some(5), completion_tokens: Some(1) }
        );
        let cut = br#"{"choices":[{"message":{"content":null,"refusal":null},"finish_reason":"length"}]}"#;
        assert!(read(cut).unwrap().broken_off.unwrap().contains("max_tokens"));
        let refused = br#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#;
        assert_eq!(read(refused).unwrap().broken_off, Some("the model refuses to answer"));
    }

    #[test]
    fn what_is_no_completion_is_said() {
        assert_eq!(read(b" ").unwrap_err(), "200 with nothing in it");
        assert!(read(b"<html>").unwrap_err().contains("an HTML page"));
        assert!(read(br#"{"choices":[]}"#).is_err());
        assert!(read(br#"{"error":{"message":"busy"}}"#).unwrap_err().contains("busy"));
    }

    #[test]
    fn a_dialect_only_ever_gives_up_what_was_sent() {
        let schema = json!({});
        let question = Question {
            system: Cow::Borrowed(""),
            user: String::new(),
            again: None,
            schema: Some(&schema),
            temperature: Some(0.0),
            max_tokens: Some(1),
        };
        let mut dialect = Dialect::default();
        for complaint in ["Unsupported: 'temperature'", "use max_completion_tokens", "unknown field response_format"] {
            dialect = dialect.without(complaint, &question).unwrap();
            assert_eq!(dialect.without(complaint, &question), None);
        }
        assert_eq!(Dialect::default().without("no such model", &question), None);
    }
}
