//! OpenAI's chat completions, as all compatible servers implement them: the request and the answer.

use super::{Dialect, Question, REFUSED, Reply, Spent, TOO_LONG, request, unreadable};
use crate::confidence::{Choice, Token, confidence};
use crate::transport::Request;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// How many alternatives of each token are requested. Every server supports this many, and more would enlarge the
/// answer.
const TOP_LOGPROBS: u8 = 5;

pub(super) fn build(
    endpoint: &Endpoint,
    question: &Question<'_>,
    system: &str,
    dialect: Dialect,
) -> Result<Request, String> {
    let mut messages =
        vec![ChatMessage { role: "system", content: system }, ChatMessage { role: "user", content: &question.user }];
    if let Some((answer, correction)) = &question.again {
        messages.push(ChatMessage { role: "assistant", content: answer });
        messages.push(ChatMessage { role: "user", content: correction });
    }
    let schema = question.schema.filter(|_| dialect.sends_schema(question));
    let logprobs = dialect.logprobs && question.choices.is_some();
    let body = ChatRequest {
        model: &endpoint.model,
        messages,
        temperature: question.temperature.filter(|_| dialect.temperature),
        max_tokens: question.max_tokens.filter(|_| !dialect.completion_tokens),
        max_completion_tokens: question.max_tokens.filter(|_| dialect.completion_tokens),
        logprobs: logprobs.then_some(true),
        top_logprobs: logprobs.then_some(TOP_LOGPROBS),
        response_format: schema.map(|schema| ResponseFormat {
            kind: "json_schema",
            json_schema: NamedSchema { name: "answer", strict: true, schema },
        }),
    };
    let mut headers: Vec<(HeaderName, Cow<'_, str>)> = Vec::new();
    if let Some(key) = &endpoint.key {
        headers.push((AUTHORIZATION, format!("Bearer {}", key.reveal()).into()));
        if endpoint.base.host_str().is_some_and(|host| host.ends_with(".azure.com")) {
            headers.push((HeaderName::from_static("api-key"), key.reveal().into()));
        }
    }
    request(endpoint, &["chat", "completions"], headers, &body, system.len() + question.user.len() + 2048)
}

/// The body of a request. Its parts are borrowed, because a prompt has some kilobytes and is serialised for every row.
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
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
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

/// The body of an answer. `L` is the part of the log-probabilities that is needed.
#[derive(Deserialize)]
struct ChatCompletion<L> {
    model: Option<String>,
    #[serde(default = "Vec::new")]
    choices: Vec<ChatChoice<L>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct ChatChoice<L> {
    message: Option<Message>,
    finish_reason: Option<String>,
    logprobs: Option<L>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs<'a> {
    #[serde(borrow)]
    content: Option<Vec<Token<'a>>>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

/// Reads the body of a success. The error continues after "the server answers".
pub(super) fn read(body: &[u8], choices: Option<&[Choice]>, secrets: &[&Secret]) -> Result<Reply, String> {
    // If log-probabilities cannot be read (some servers write null for a number), only the confidence is lost.
    if let Some(choices) = choices
        && let Ok(mut completion) = serde_json::from_slice::<ChatCompletion<Logprobs<'_>>>(body)
    {
        let logprobs = completion.choices.first_mut().and_then(|choice| choice.logprobs.take());
        let mut reply = reply(completion, body, secrets)?;
        let tokens = logprobs.and_then(|logprobs| logprobs.content);
        reply.confidence = tokens.and_then(|tokens| confidence(&reply.text, &tokens, choices));
        return Ok(reply);
    }
    match serde_json::from_slice::<ChatCompletion<IgnoredAny>>(body) {
        Ok(completion) => reply(completion, body, secrets),
        Err(_) => Err(unreadable(body, "chat completion", secrets)),
    }
}

fn reply<L>(completion: ChatCompletion<L>, body: &[u8], secrets: &[&Secret]) -> Result<Reply, String> {
    let usage = completion.usage;
    let spent = Spent {
        model: completion.model,
        prompt_tokens: usage.as_ref().and_then(|usage| usage.prompt_tokens),
        cached_tokens: usage.as_ref().and_then(|usage| usage.prompt_tokens_details.as_ref()?.cached_tokens),
        cache_write_tokens: None,
        completion_tokens: usage.as_ref().and_then(|usage| usage.completion_tokens),
    };
    let Some(choice) = completion.choices.into_iter().next() else {
        return Err(unreadable(body, "chat completion", secrets));
    };
    let (text, refusal) = choice.message.map(|message| (message.content, message.refusal)).unwrap_or_default();
    let broken_off = match choice.finish_reason.as_deref() {
        _ if refusal.is_some_and(|refusal| !refusal.is_empty()) => Some(REFUSED),
        Some("length") => Some(TOO_LONG),
        Some("content_filter") => Some("the server's content filter stopped the answer"),
        _ => None,
    };
    Ok(Reply { text: text.unwrap_or_default(), broken_off, enforced: false, confidence: None, spent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_is_read() {
        let body = br#"{"model":"m-1","choices":[{"message":{"content":"A"},"finish_reason":"stop"}],
                        "usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":4}}}"#;
        let reply = read(body, None, &[]).unwrap();
        assert_eq!((reply.text.as_str(), reply.broken_off), ("A", None));
        assert_eq!(
            reply.spent,
            Spent {
                model: Some("m-1".into()),
                prompt_tokens: Some(5),
                cached_tokens: Some(4),
                cache_write_tokens: None,
                completion_tokens: Some(1)
            }
        );
        let cut = br#"{"choices":[{"message":{"content":null,"refusal":null},"finish_reason":"length"}]}"#;
        assert!(read(cut, None, &[]).unwrap().broken_off.unwrap().contains("max_tokens"));
        let refused = br#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#;
        assert_eq!(read(refused, None, &[]).unwrap().broken_off, Some("the model refuses to answer"));
    }

    #[test]
    fn log_probabilities_that_are_none_cost_no_answer() {
        let choices = [Choice::new("A"), Choice::new("B")];
        for logprobs in [
            "null",
            "{}",
            r#"{"content":null}"#,
            r#"{"content":[]}"#,
            r#"{"tokens":["A"],"token_logprobs":[-0.1]}"#,
            r#"{"content":[{"token":"\"A\"","logprob":null,"top_logprobs":[]}]}"#,
            r#"{"content":[{"token":"\"A\"","logprob":"high","top_logprobs":[]}]}"#,
            r#"{"content":[{"token":"\"A\"","logprob":-0.1,"bytes":[300],"top_logprobs":[]}]}"#,
            r#"{"content":[{"token":"\"A\"","logprob":-0.1,"top_logprobs":null}]}"#,
            "[1]",
        ] {
            let body = format!(r#"{{"choices":[{{"message":{{"content":"\"A\""}},"logprobs":{logprobs}}}]}}"#);
            let reply = read(body.as_bytes(), Some(&choices), &[]).unwrap();
            assert_eq!((reply.text.as_str(), reply.confidence), ("\"A\"", None), "{logprobs}");
        }
    }

    #[test]
    fn what_is_no_completion_is_said() {
        assert_eq!(read(b" ", None, &[]).unwrap_err(), "200 with an empty body");
        assert!(read(b"<html>", None, &[]).unwrap_err().contains("an HTML page"));
        assert!(read(br#"{"choices":[]}"#, Some(&[]), &[]).is_err());
        assert!(read(br#"{"error":{"message":"busy"}}"#, None, &[]).unwrap_err().contains("busy"));
    }
}
