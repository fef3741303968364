//! OpenAI's chat completions, as all compatible servers implement them: the request and the answer.

use super::dialect::Role;
use super::end::End;
use super::{Dialect, Question, Reply, Spent, lenient, request, unreadable};
use crate::client::Request;
use crate::confidence::{Token, confidence};
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
    let mut messages = match dialect.system {
        Role::System => vec![message("system", system), message("user", &*question.user)],
        Role::Folded => vec![message("user", format!("{system}\n\n{}", question.user))],
    };
    if let Some((answer, correction)) = &question.again {
        messages.push(message("assistant", &**answer));
        messages.push(message("user", &**correction));
    }
    let schema = question.schema.filter(|_| dialect.sends_schema(question));
    let logprobs = dialect.logprobs && question.choices.is_some();
    let max_tokens = dialect.bounded(question.max_tokens);
    let body = ChatRequest {
        model: &endpoint.model,
        messages,
        temperature: question.temperature.filter(|_| dialect.temperature),
        max_tokens: max_tokens.filter(|_| !dialect.completion_tokens),
        max_completion_tokens: max_tokens.filter(|_| dialect.completion_tokens),
        reasoning_effort: dialect.effort(question),
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
        if endpoint.is_azure() {
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
    reasoning_effort: Option<&'static str>,
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
    content: Cow<'a, str>,
}

fn message<'a>(role: &'static str, content: impl Into<Cow<'a, str>>) -> ChatMessage<'a> {
    ChatMessage { role, content: content.into() }
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

/// The body of an answer as most servers write it. `L` is the part of the log-probabilities that is needed.
#[derive(Deserialize)]
struct ChatCompletion<L> {
    model: Option<String>,
    choices: Vec<ChatChoice<L>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct ChatChoice<L> {
    message: Message,
    finish_reason: Option<String>,
    logprobs: Option<L>,
}

#[derive(Deserialize)]
struct Message {
    content: String,
    refusal: Option<IgnoredAny>,
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
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptTokens>,
    /// DeepSeek's name for cached tokens.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

/// Reads the body of a success. The error continues after "the server answers".
pub(super) fn read(body: &[u8], question: &Question<'_>, secrets: &[&Secret]) -> Result<Reply, String> {
    // If log-probabilities cannot be read (some servers write null for a number), only the confidence is lost.
    if let Some(choices) = question.choices
        && let Ok(mut completion) = serde_json::from_slice::<ChatCompletion<Logprobs<'_>>>(body)
    {
        let logprobs = completion.choices.first_mut().and_then(|choice| choice.logprobs.take());
        if let Some(mut reply) = usual(completion) {
            let tokens = logprobs.and_then(|logprobs| logprobs.content);
            reply.confidence = tokens.and_then(|tokens| confidence(&reply.text, &tokens, choices));
            return Ok(reply);
        }
    } else if let Ok(completion) = serde_json::from_slice::<ChatCompletion<IgnoredAny>>(body)
        && let Some(reply) = usual(completion)
    {
        return Ok(reply);
    }
    let value = lenient::value(body, lenient::join_chunks);
    value.and_then(|value| unusual(&value, question)).ok_or_else(|| unreadable(body, "chat completion", secrets))
}

/// The reply in a usual answer; `None` if it has no text or refuses one.
fn usual<L>(completion: ChatCompletion<L>) -> Option<Reply> {
    let choice = completion.choices.into_iter().next()?;
    if lenient::is_blank(&choice.message.content) || choice.message.refusal.is_some() {
        return None;
    }
    let spent = completion.usage.map(|usage| {
        let details = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
        let cached = details.or(usage.prompt_cache_hit_tokens);
        spent(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, cached)
    });
    Some(Reply {
        text: choice.message.content,
        end: choice.finish_reason.as_deref().map_or(End::Complete, End::of),
        enforced: false,
        confidence: None,
        spent: Spent { model: completion.model, ..spent.unwrap_or_default() },
    })
}

/// Gemini leaves thoughts out of `completion`, but not out of `total`.
fn spent(prompt: Option<u64>, completion: Option<u64>, total: Option<u64>, cached: Option<u64>) -> Spent {
    let prompt = lenient::believable(prompt);
    let rest = lenient::believable(total).zip(prompt).and_then(|(total, prompt)| total.checked_sub(prompt));
    Spent {
        model: None,
        prompt_tokens: prompt,
        cached_tokens: lenient::believable(cached).map(|cached| prompt.map_or(cached, |prompt| cached.min(prompt))),
        cache_write_tokens: None,
        completion_tokens: lenient::believable(completion).max(rest),
    }
}

/// The reply in an answer of any shape that has choices.
fn unusual(value: &Value, question: &Question<'_>) -> Option<Reply> {
    let none = Vec::new();
    let choices = value.get("choices").and_then(Value::as_array).unwrap_or(&none);
    let blocked = ["/promptFeedback/blockReason", "/prompt_feedback/block_reason"];
    if choices.is_empty() && !blocked.iter().any(|place| value.pointer(place).is_some_and(Value::is_string)) {
        return None;
    }
    let mut said = choices.iter().filter(|choice| choice.is_object()).map(|choice| (choice, said(choice, question)));
    let first = said.next();
    let answered = first.iter().cloned().chain(said).find(|(_, text)| !lenient::is_blank(text)).or(first);
    let usage = |place: &str| lenient::count(value.get("usage").and_then(|usage| usage.pointer(place)));
    let cached = ["/prompt_tokens_details/cached_tokens", "/prompt_cache_hit_tokens", "/cached_tokens"];
    let spent = Spent {
        model: value.get("model").and_then(Value::as_str).map(str::to_owned),
        ..spent(
            usage("/prompt_tokens").or_else(|| usage("/input_tokens")),
            usage("/completion_tokens").or_else(|| usage("/output_tokens")),
            usage("/total_tokens"),
            cached.iter().find_map(|place| usage(place)),
        )
    };
    let Some((choice, text)) = answered else {
        let end = if choices.is_empty() { End::Filtered } else { return None };
        return Some(Reply { text: String::new(), end, enforced: false, confidence: None, spent });
    };
    let refusal = choice.pointer("/message/refusal").and_then(Value::as_str);
    let refused = refusal.is_some_and(|refusal| !lenient::is_blank(refusal));
    let end = if refused { End::Refused } else { End::of_value(choice.get("finish_reason")) };
    let confidence = question.choices.and_then(|choices| {
        let tokens = choice.pointer("/logprobs/content")?.to_string();
        confidence(&text, &serde_json::from_str::<Vec<Token<'_>>>(&tokens).ok()?, choices)
    });
    Some(Reply { text, end, enforced: false, confidence, spent })
}

/// The text of a choice. If a schema is asked for, it may be the input of a tool, or stand where thoughts do: some
/// servers put a whole answer there if the model does not think. A free text there cannot be told from thoughts.
fn said(choice: &Value, question: &Question<'_>) -> String {
    let Some(message) = choice.get("message").or_else(|| choice.get("delta")) else {
        return choice.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    };
    let content = message.get("content").and_then(lenient::text);
    if let Some(content) = content.filter(|content| !lenient::is_blank(content)) {
        return content;
    }
    if question.schema.is_none() {
        return String::new();
    }
    for place in ["/tool_calls/0/function/arguments", "/function_call/arguments"] {
        if let Some(arguments) = message.pointer(place) {
            return lenient::json_text(arguments);
        }
    }
    if End::of_value(choice.get("finish_reason")) != End::Complete {
        return String::new();
    }
    let thoughts = ["reasoning_content", "reasoning", "thinking"].iter().find_map(|key| {
        let thoughts = lenient::thoughts(message.get(key)?)?;
        lenient::object_at_end(&thoughts).map(str::to_owned)
    });
    thoughts.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::Choice;

    fn question<'a>(choices: Option<&'a [Choice]>, schema: Option<&'static Value>) -> Question<'a> {
        Question { choices, schema, ..Question::default() }
    }

    fn free(body: &str) -> Reply {
        read(body.as_bytes(), &question(None, None), &[]).unwrap_or_else(|why| panic!("{body}: {why}"))
    }

    #[test]
    fn a_completion_is_read() {
        let reply = free(
            r#"{"model":"m-1","choices":[{"message":{"content":"A"},"finish_reason":"stop"}],
                "usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        );
        assert_eq!((reply.text.as_str(), reply.end), ("A", End::Complete));
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
        for (choice, end) in [
            (r#"{"message":{"content":null,"refusal":null},"finish_reason":"length"}"#, End::Cut),
            (r#"{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}"#, End::Refused),
            (r#"{"message":{"content":"a","refusal":"no"},"finish_reason":"stop"}"#, End::Refused),
            (r#"{"message":{"content":"a","refusal":""},"finish_reason":"stop"}"#, End::Complete),
            (r#"{"message":{"content":"a"},"finish_reason":"abort"}"#, End::Broken("abort".into())),
            (r#"{"message":{"content":"a"},"finish_reason":7}"#, End::Broken("7".into())),
            (r#"{"message":{"content":"a"}}"#, End::Complete),
        ] {
            assert_eq!(free(&format!(r#"{{"choices":[{choice}]}}"#)).end, end, "{choice}");
        }
        assert_eq!(free(r#"{"choices":[],"promptFeedback":{"blockReason":"SAFETY"}}"#).end, End::Filtered);
    }

    #[test]
    fn the_text_is_found_in_any_shape() {
        for (choices, text) in [
            (r#"[{"message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"A"}]}}]"#, "A"),
            (r#"[{"message":{"content":{"text":"A"}}}]"#, "A"),
            (r#"[{"message":{"content":["A","B"]}}]"#, "AB"),
            (r#"[{"text":"A"}]"#, "A"),
            (r#"[{"index":0,"message":{"content":""}},{"index":1,"message":{"content":"A"}}]"#, "A"),
            (r#"[{"message":{"content":"B","content":"A"},"index":"x","odd":{"deep":[1]}}]"#, "A"),
            (r#"[{"message":{"content":null,"reasoning":"hm"}}]"#, ""),
            (r#"[{"message":{"content":null}}]"#, ""),
            ("[{}]", ""),
        ] {
            for body in [format!(r#"{{"choices":{choices}}}"#), format!("\u{feff} [{{\"choices\":{choices}}}]")] {
                assert_eq!(free(&body).text, text, "{body}");
            }
        }
    }

    #[test]
    fn with_a_schema_the_answer_may_stand_elsewhere() {
        static SCHEMA: Value = Value::Bool(true);
        for (message, reason, text) in [
            (r#""content":null,"reasoning_content":"{}""#, "stop", "{}"),
            (r#""content":" ","reasoning":"{}""#, "stop", "{}"),
            (r#""content":"","thinking":[{"text":"{}"}]"#, "stop", "{}"),
            (r#""content":"","reasoning":"{}""#, "length", ""),
            (r#""content":"","reasoning":"{\"a\":1}? No: ```{\"b\":{}}```""#, "stop", r#"{"b":{}}"#),
            (r#""content":"","reasoning":"{\"a\":1}? I do not know.""#, "stop", ""),
            (r#""content":"A","reasoning":"{}""#, "stop", "A"),
            (r#""content":null,"tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]"#, "tool_calls", r#"{"a":1}"#),
            (r#""content":null,"tool_calls":[{"function":{"arguments":{"a":1}}}]"#, "tool_calls", r#"{"a":1}"#),
            (r#""content":null,"function_call":{"arguments":"{}"}"#, "function_call", "{}"),
        ] {
            let body = format!(r#"{{"choices":[{{"message":{{{message}}},"finish_reason":"{reason}"}}]}}"#);
            let reply = read(body.as_bytes(), &question(None, Some(&SCHEMA)), &[]).unwrap();
            assert_eq!(reply.text, text, "{body}");
            assert!(message.contains("\"A\"") || free(&body).text.trim().is_empty(), "{body}");
        }
    }

    #[test]
    fn a_stream_that_nobody_asked_for_is_joined() {
        let chunks = r#": ping

data: {"model":"m","choices":[{"delta":{"role":"assistant","reasoning":"hm"}}]}

data: {"choices":[{"delta":{"content":"A "}}]}
data: {"choices":[{"delta":{"content":"B"},"finish_reason":"stop"}]}

data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}
"#;
        let reply = free(chunks);
        assert_eq!((reply.text.as_str(), reply.end, reply.spent.prompt_tokens), ("A B", End::Complete, Some(5)));
        let half = "data: {\"choices\":[{\"delta\":{\"content\":\"A\"}}]}\n";
        assert_eq!(free(half).end, End::Broken("the stream ended early".into()));
        assert_eq!(free(&format!("{half}data: [DONE]\n")).end, End::Complete);
        assert!(read(b"data: {\"choices\":[{\n", &question(None, None), &[]).is_err());
    }

    #[test]
    fn no_count_costs_an_answer() {
        for (usage, prompt, completion) in [
            ("null", None, None),
            ("7", None, None),
            (r#"{"prompt_tokens":5.0,"completion_tokens":"7"}"#, Some(5), Some(7)),
            (r#"{"prompt_tokens":-5,"completion_tokens":null}"#, None, None),
            (r#"{"prompt_tokens":[5],"completion_tokens":{"a":1},"prompt_tokens_details":7}"#, None, None),
            (r#"{"prompt_tokens":18446744073709551615,"completion_tokens":7}"#, None, Some(7)),
            (r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":112}"#, Some(5), Some(107)),
            (r#"{"prompt_tokens":5,"total_tokens":12}"#, Some(5), Some(7)),
            (r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":1}"#, Some(5), Some(7)),
            (r#"{"prompt_tokens":"5","completion_tokens":7,"total_tokens":112}"#, Some(5), Some(107)),
        ] {
            let reply = free(&format!(r#"{{"choices":[{{"message":{{"content":"A"}}}}],"usage":{usage}}}"#));
            assert_eq!((reply.spent.prompt_tokens, reply.spent.completion_tokens), (prompt, completion), "{usage}");
        }
        let hit =
            r#"{"choices":[{"message":{"content":"A"}}],"usage":{"prompt_tokens":5,"prompt_cache_hit_tokens":9}}"#;
        assert_eq!(free(hit).spent.cached_tokens, Some(5));
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
            let reply = read(body.as_bytes(), &question(Some(&choices), None), &[]).unwrap();
            assert_eq!((reply.text.as_str(), reply.confidence), ("\"A\"", None), "{logprobs}");
        }
    }

    #[test]
    fn what_is_no_completion_is_said() {
        let read = |body: &str| read(body.as_bytes(), &question(None, None), &[]).unwrap_err();
        assert_eq!(read(" "), "200 with an empty body");
        assert!(read("<html>").contains("an HTML page"));
        assert!(read(r#"{"choices":[]}"#).contains("no chat completion"));
        assert!(read(r#"{"choices":[7]}"#).contains("no chat completion"));
        assert!(read(r#"{"error":{"message":"busy"}}"#).contains("busy"));
    }
}
