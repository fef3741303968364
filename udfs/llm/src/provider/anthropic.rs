//! Anthropic's messages API: the request and the answer.

use super::dialect::SchemaBy;
use super::end::End;
use super::{Dialect, Question, Reply, Spent, lenient, request, unreadable};
use crate::client::Request;
use crate::gate::MOST_ANSWERED;
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::Effort;
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
    let effort = dialect.effort(question);
    let off = effort == Some(Effort::None.as_str());
    let effort = effort.filter(|_| !off);
    let format = by_format.map(|schema| Format { kind: "json_schema", schema });
    let body = MessagesRequest {
        model: &endpoint.model,
        max_tokens: dialect.bounded(Some(question.max_tokens.unwrap_or(MOST_ANSWERED))).unwrap_or(MOST_ANSWERED),
        // All rows of a query share this part, so the server may cache it.
        system: [SystemBlock { kind: "text", text: system, cache_control: CacheControl { kind: "ephemeral" } }],
        messages,
        temperature: question.temperature.filter(|_| dialect.temperature),
        thinking: off.then_some(Thinking { kind: "disabled" }),
        output_config: (format.is_some() || effort.is_some()).then_some(OutputConfig { format, effort }),
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
    thinking: Option<Thinking>,
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
struct Thinking {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
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

/// The body of an answer as Anthropic writes it.
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

#[derive(Default, Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Reads the body of a success. The error continues after "the server answers".
pub(super) fn read(body: &[u8], secrets: &[&Secret]) -> Result<Reply, String> {
    if let Ok(answer) = serde_json::from_slice::<MessagesAnswer>(body) {
        return Ok(usual(answer));
    }
    let value = lenient::value(body, lenient::join_events);
    value.and_then(|value| unusual(&value)).ok_or_else(|| unreadable(body, "message", secrets))
}

fn usual(answer: MessagesAnswer) -> Reply {
    let tool_input =
        answer.content.iter().filter(|block| block.kind == "tool_use").find_map(|block| block.input.as_ref());
    let text = match tool_input {
        Some(input) => lenient::json_text(input),
        // A model's thoughts are in blocks of other types.
        None => {
            answer.content.into_iter().filter(|block| block.kind == "text").filter_map(|block| block.text).collect()
        }
    };
    Reply {
        text,
        end: answer.stop_reason.as_deref().map_or(End::Complete, End::of),
        enforced: false,
        confidence: None,
        spent: spent(answer.model, answer.usage.unwrap_or_default()),
    }
}

/// The reply in an answer of another shape that has content.
fn unusual(value: &Value) -> Option<Reply> {
    let content = value.get("content")?;
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_tool = |block: &&Value| block.get("type").and_then(Value::as_str) == Some("tool_use");
    let input = blocks.iter().filter(is_tool).find_map(|block| block.get("input"));
    let text = input.map(lenient::json_text).or_else(|| lenient::text(content)).unwrap_or_default();
    let count = |name: &str| lenient::count(value.get("usage").and_then(|usage| usage.get(name)));
    let usage = Usage {
        input_tokens: count("input_tokens"),
        cache_creation_input_tokens: count("cache_creation_input_tokens"),
        cache_read_input_tokens: count("cache_read_input_tokens"),
        output_tokens: count("output_tokens"),
    };
    Some(Reply {
        text,
        end: End::of_value(value.get("stop_reason")),
        enforced: false,
        confidence: None,
        spent: spent(value.get("model").and_then(Value::as_str).map(str::to_owned), usage),
    })
}

fn spent(model: Option<String>, usage: Usage) -> Spent {
    let cached_tokens = lenient::believable(usage.cache_read_input_tokens);
    let cache_write_tokens = lenient::believable(usage.cache_creation_input_tokens);
    Spent {
        model,
        // Tokens written to the cache and read from it are counted separately.
        prompt_tokens: lenient::believable(usage.input_tokens).map(|input| {
            input.saturating_add(cache_write_tokens.unwrap_or(0)).saturating_add(cached_tokens.unwrap_or(0))
        }),
        cached_tokens,
        cache_write_tokens,
        completion_tokens: lenient::believable(usage.output_tokens),
    }
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
        assert_eq!((reply.text.as_str(), reply.end), (r#"{"agent":"A"}"#, End::Complete));
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
        assert_eq!((reply.text.as_str(), reply.end), (r#"{"agent":"A"}"#, End::Complete));
        assert_eq!(reply.spent, Spent::default());
    }

    #[test]
    fn other_shapes_are_read_too() {
        for (body, text, end, prompt) in [
            (r#"{"content":"A","stop_reason":"max_tokens"}"#, "A", End::Cut, None),
            (
                r#"{"content":[{"type":"text","text":"A"}],"stop_reason":null,"usage":{"input_tokens":"5"}}"#,
                "A",
                End::Complete,
                Some(5),
            ),
            (r#"{"content":null,"stop_reason":"refusal"}"#, "", End::Refused, None),
            ("\u{feff}{\"content\":[{\"type\":\"text\",\"text\":\"A\"}],\"usage\":7}", "A", End::Complete, None),
            (
                r#"{"content":["A",{"type":"tool_use","input":"{}"}],"stop_reason":{}}"#,
                "{}",
                End::Broken("{}".into()),
                None,
            ),
            (
                r#"event: message_start
data: {"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}

data: {"type":"content_block_start","content_block":{"type":"text","text":""}}
data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"A"}}
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}
"#,
                "A",
                End::Complete,
                Some(5),
            ),
        ] {
            let reply = read(body.as_bytes(), &[]).unwrap_or_else(|why| panic!("{body}: {why}"));
            assert_eq!((reply.text.as_str(), reply.end, reply.spent.prompt_tokens), (text, end, prompt), "{body}");
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
