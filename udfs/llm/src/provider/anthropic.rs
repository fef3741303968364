//! Anthropic's messages API: the request and the answer.

use super::dialect::SchemaBy;
use super::{Dialect, Question, REFUSED, Reply, Spent, TOO_LONG, request, unreadable};
use crate::gate::MOST_ANSWERED;
use crate::transport::Request;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::secret::Secret;
use baton_llm_settings::settings::Provider;
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The tool whose input contains the answer.
const TOOL: &str = "answer";

pub(super) fn build(
    endpoint: &Endpoint,
    question: &Question<'_>,
    system: &str,
    dialect: Dialect,
) -> Result<Request, String> {
    let most = Provider::Anthropic.most_temperature();
    if let Some(temperature) = question.temperature.filter(|temperature| *temperature > most) {
        return Err(format!("the temperature is {temperature}: set one from 0 to {most}, for anthropic"));
    }
    let mut messages = vec![Message { role: "user", content: &question.user }];
    if let Some((answer, correction)) = &question.again {
        messages.push(Message { role: "assistant", content: answer });
        messages.push(Message { role: "user", content: correction });
    }
    let schema = question.schema.filter(|_| dialect.sends_schema(question));
    let by_tool = schema.filter(|_| dialect.schema_by == SchemaBy::Tool);
    let by_format = schema.filter(|_| dialect.schema_by == SchemaBy::Format);
    let body = MessagesRequest {
        model: &endpoint.model,
        max_tokens: question.max_tokens.unwrap_or(MOST_ANSWERED),
        // All rows of a query share this part, so the server may cache it.
        system: [SystemBlock { kind: "text", text: system, cache_control: CacheControl { kind: "ephemeral" } }],
        messages,
        temperature: question.temperature.filter(|_| dialect.temperature),
        output_config: by_format.map(|schema| OutputConfig { format: Format { kind: "json_schema", schema } }),
        tools: by_tool.map(|schema| [Tool { name: TOOL, description: "Gives the answer.", input_schema: schema }]),
        tool_choice: by_tool.map(|_| ToolChoice { kind: "tool", name: TOOL, disable_parallel_tool_use: true }),
    };
    let mut headers = vec![(HeaderName::from_static("anthropic-version"), "2023-06-01".into())];
    if let Some(key) = &endpoint.key {
        headers.push((HeaderName::from_static("x-api-key"), key.reveal().into()));
    }
    request(endpoint, &["messages"], headers, &body, system.len() + question.user.len() + 2048)
}

#[derive(Serialize)]
struct MessagesRequest<'a> {
    model: &'a str,
    max_tokens: u32,
    system: [SystemBlock<'a>; 1],
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tool<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice>,
}

#[derive(Serialize)]
struct SystemBlock<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
    cache_control: CacheControl,
}

#[derive(Serialize)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a Value,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'static str,
    description: &'static str,
    input_schema: &'a Value,
}

#[derive(Serialize)]
struct ToolChoice {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    disable_parallel_tool_use: bool,
}

#[derive(Deserialize)]
struct MessagesAnswer {
    model: Option<String>,
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    input: Option<Value>,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Reads the body of a success. The error continues after "the server answers".
pub(super) fn read(body: &[u8], secrets: &[&Secret]) -> Result<Reply, String> {
    let Ok(answer) = serde_json::from_slice::<MessagesAnswer>(body) else {
        return Err(unreadable(body, "message", secrets));
    };
    let usage = answer.usage.as_ref();
    let cached_tokens = usage.and_then(|usage| usage.cache_read_input_tokens);
    let spent = Spent {
        model: answer.model,
        prompt_tokens: usage.and_then(|usage| {
            // Tokens written to the cache and read from it are counted separately.
            let cache = usage.cache_creation_input_tokens.unwrap_or(0).saturating_add(cached_tokens.unwrap_or(0));
            Some(usage.input_tokens?.saturating_add(cache))
        }),
        cached_tokens,
        cache_write_tokens: usage.and_then(|usage| usage.cache_creation_input_tokens),
        completion_tokens: usage.and_then(|usage| usage.output_tokens),
    };
    let broken_off = match answer.stop_reason.as_deref() {
        Some("refusal") => Some(REFUSED),
        Some("max_tokens") => Some(TOO_LONG),
        Some("model_context_window_exceeded") => {
            Some("the model's context is full: set the option max_input_chars lower")
        }
        _ => None,
    };
    let tool_input =
        answer.content.iter().filter(|block| block.kind == "tool_use").find_map(|block| block.input.as_ref());
    let text = match tool_input {
        Some(input) => input.to_string(),
        // A model's thoughts are in blocks of other types.
        None => {
            answer.content.into_iter().filter(|block| block.kind == "text").filter_map(|block| block.text).collect()
        }
    };
    Ok(Reply { text, broken_off, enforced: false, confidence: None, spent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_skipped_and_texts_joined() {
        let body = br#"{"type":"message","model":"claude-x","stop_reason":"end_turn","content":[
            {"type":"thinking","thinking":"B?","signature":"s"},{"type":"redacted_thinking","data":"x"},
            {"type":"text","text":"{\"agent\":"},{"type":"text","text":"\"A\"}","citations":null}],
            "usage":{"input_tokens":5,"cache_creation_input_tokens":100,"cache_read_input_tokens":20,"output_tokens":7}}"#;
        let reply = read(body, &[]).unwrap();
        assert_eq!((reply.text.as_str(), reply.broken_off), (r#"{"agent":"A"}"#, None));
        assert_eq!(
            reply.spent,
            Spent {
                model: Some("claude-x".into()),
                prompt_tokens: Some(125),
                cached_tokens: Some(20),
                cache_write_tokens: Some(100),
                completion_tokens: Some(7)
            }
        );
    }

    #[test]
    fn a_tools_input_is_the_answer() {
        let body = br#"{"content":[{"type":"text","text":"I call it."},{"type":"tool_use","id":"1","name":"answer",
                        "input":{"agent":"A"}}],"stop_reason":"tool_use"}"#;
        let reply = read(body, &[]).unwrap();
        assert_eq!((reply.text.as_str(), reply.broken_off), (r#"{"agent":"A"}"#, None));
        assert_eq!(reply.spent, Spent::default());
    }

    #[test]
    fn why_an_answer_was_broken_off() {
        for (reason, why) in [
            ("max_tokens", Some("max_tokens higher")),
            ("refusal", Some("refuses")),
            ("model_context_window_exceeded", Some("max_input_chars lower")),
            ("end_turn", None),
            ("something_new", None),
        ] {
            let body = format!(r#"{{"content":[],"stop_reason":"{reason}"}}"#);
            let broken_off = read(body.as_bytes(), &[]).unwrap().broken_off;
            assert_eq!(broken_off.is_some(), why.is_some(), "{reason}");
            assert!(broken_off.unwrap_or_default().contains(why.unwrap_or_default()), "{reason}");
        }
    }

    #[test]
    fn what_is_no_message_is_said() {
        assert_eq!(read(b" ", &[]).unwrap_err(), "200 with an empty body");
        assert!(read(b"<html>", &[]).unwrap_err().contains("with no message: an HTML page"));
        let overloaded = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert!(read(overloaded, &[]).unwrap_err().contains("Overloaded"));
    }
}
