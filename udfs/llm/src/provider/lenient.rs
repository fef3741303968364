//! Reads the parts of an answer that servers write in different ways: texts, counts, and answers sent as streams.

use crate::fault::events;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

/// Counts above this are not believed.
const MOST_TOKENS: u64 = 1 << 40;

/// How many brackets are tried in search of an object's start.
const MOST_TRIED: usize = 50;

/// The JSON of a body, without regard to a byte order mark; an event stream is joined by `join`.
pub(super) fn value(body: &[u8], join: fn(&[Value], bool) -> Value) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(Value::Array(mut items)) if items.len() == 1 => items.pop(),
        Ok(value) => Some(value),
        Err(_) => {
            let mut parts = Vec::new();
            let mut done = false;
            for event in events(body) {
                match serde_json::from_slice(event) {
                    Ok(part) => parts.push(part),
                    Err(_) if event == b"[DONE]" => done = true,
                    Err(_) => return None,
                }
            }
            (!parts.is_empty()).then(|| join(&parts, done))
        }
    }
}

/// A number of tokens in any spelling; `None` if it is none.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    let number: f64 = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // The range is checked first, so nothing is lost.
    (0.0..=MOST_TOKENS as f64).contains(&number).then_some(number as u64)
}

/// A count as it was parsed, if it can be true.
pub(super) fn believable(count: Option<u64>) -> Option<u64> {
    count.filter(|count| *count <= MOST_TOKENS)
}

/// The text of a message's content: a text, a list of parts without the model's thoughts, or an object.
pub(super) fn text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<String> = parts.iter().filter_map(part).collect();
            (!texts.is_empty()).then(|| texts.concat())
        }
        Value::Object(fields) if fields.contains_key("text") || fields.contains_key("type") => part(content),
        Value::Object(_) | Value::Number(_) => Some(content.to_string()),
        Value::Null | Value::Bool(_) => None,
    }
}

fn part(part: &Value) -> Option<String> {
    match part {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            match fields.get("type").and_then(Value::as_str) {
                None | Some("text" | "output_text") => {}
                Some(_) => return None, // A thought, a refusal, a picture.
            }
            let text = fields.get("text")?;
            text.as_str().or_else(|| text.get("value")?.as_str()).map(str::to_owned)
        }
        _ => None,
    }
}

/// A text or a list of texts, for thoughts: their parts have other types.
pub(super) fn thoughts(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(thoughts).collect()),
        Value::Object(fields) => ["text", "thinking"].iter().find_map(|key| thoughts(fields.get(*key)?)),
        _ => None,
    }
}

/// The JSON object at the end of thoughts. Others in them were only considered.
pub(super) fn object_at_end(thoughts: &str) -> Option<&str> {
    let thoughts = thoughts.trim().trim_end_matches('`').trim_end();
    let starts = thoughts.rmatch_indices('{').map(|(at, _)| &thoughts[at..]);
    starts.take(MOST_TRIED).filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()).last()
}

/// A JSON value that may be written as a text.
pub(super) fn json_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A chat completion from the chunks of its stream.
pub(super) fn join_chunks(chunks: &[Value], done: bool) -> Value {
    let mut message = Map::new();
    let mut arguments = String::new();
    let mut completion = Map::new();
    let mut reason = Value::Null;
    for chunk in chunks {
        for key in ["model", "usage"] {
            if let Some(value) = chunk.get(key).filter(|value| !value.is_null()) {
                completion.insert(key.to_owned(), value.clone());
            }
        }
        let Some(choice) = chunk.pointer("/choices/0") else { continue };
        if let Some(given) = choice.get("finish_reason").filter(|given| !given.is_null()) {
            reason = given.clone();
        }
        let Some(delta) = choice.get("delta").or_else(|| choice.get("message")).and_then(Value::as_object) else {
            continue;
        };
        for (key, value) in delta {
            let piece = if key == "content" { text(value) } else { value.as_str().map(str::to_owned) };
            match (piece, message.get_mut(key)) {
                (Some(piece), Some(Value::String(whole))) => whole.push_str(&piece),
                (Some(piece), _) => {
                    message.insert(key.clone(), piece.into());
                }
                (None, _) => {}
            }
        }
        if let Some(Value::String(piece)) = choice.pointer("/delta/tool_calls/0/function/arguments") {
            arguments.push_str(piece);
        }
    }
    if !arguments.is_empty() {
        message.insert("tool_calls".to_owned(), json!([{ "function": { "arguments": arguments } }]));
    }
    if reason.is_null() && !done {
        reason = ENDED_EARLY.into();
    }
    completion.insert("choices".to_owned(), json!([{ "message": message, "finish_reason": reason }]));
    completion.into()
}

/// A message of Anthropic's from the events of its stream.
pub(super) fn join_events(events: &[Value], _done: bool) -> Value {
    let mut message = json!({});
    let (mut text, mut input) = (String::new(), String::new());
    let mut reason = Value::from(ENDED_EARLY);
    let mut usage = Map::new();
    for event in events {
        if let Some(start) = event.get("message") {
            message = start.clone();
        }
        for counts in [event.get("usage"), event.pointer("/message/usage")].into_iter().flatten() {
            for (key, value) in counts.as_object().into_iter().flatten() {
                usage.insert(key.clone(), value.clone());
            }
        }
        let piece = |place: &str| event.pointer(place).and_then(Value::as_str).unwrap_or_default();
        text.push_str(piece("/content_block/text"));
        text.push_str(piece("/delta/text"));
        input.push_str(piece("/delta/partial_json"));
        if let Some(given) = event.pointer("/delta/stop_reason").filter(|given| !given.is_null()) {
            reason = given.clone();
        }
    }
    let block = if is_blank(&input) {
        json!({ "type": "text", "text": text })
    } else {
        json!({ "type": "tool_use", "input": input })
    };
    let Value::Object(fields) = &mut message else { return Value::Null };
    fields.insert("content".to_owned(), json!([block]));
    fields.insert("stop_reason".to_owned(), reason);
    fields.insert("usage".to_owned(), usage.into());
    message
}

const ENDED_EARLY: &str = "the stream ended early";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_any_spelling() {
        for (value, expected) in [
            (json!(5), Some(5)),
            (json!(5.0), Some(5)),
            (json!(" 5 "), Some(5)),
            (json!(0), Some(0)),
            (json!(-1), None),
            (json!("many"), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!(1e300), None),
            (json!(null), None),
            (json!({ "total": 5 }), None),
            (json!([5]), None),
            (json!(true), None),
        ] {
            assert_eq!(count(Some(&value)), expected, "{value}");
        }
        assert_eq!(count(None), None);
    }

    #[test]
    fn contents_in_any_shape() {
        for (content, expected) in [
            (json!("a"), Some("a")),
            (json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]), Some("ab")),
            (
                json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "text": "a" }]),
                Some("a"),
            ),
            (json!([{ "type": "reasoning", "text": "hm" }, "a", 7, null]), Some("a")),
            (json!({ "text": "a" }), Some("a")),
            (json!({ "type": "text", "text": { "value": "a" } }), Some("a")),
            (json!({ "agent": "A" }), Some(r#"{"agent":"A"}"#)),
            (json!({ "type": "thinking", "thinking": "hm" }), None),
            (json!([]), None),
            (json!(null), None),
            (json!(7), Some("7")),
        ] {
            assert_eq!(text(&content).as_deref(), expected, "{content}");
        }
        let nested = json!([{ "type": "text", "text": "h" }, { "thinking": "m" }]);
        assert_eq!(thoughts(&nested).as_deref(), Some("hm"));
    }
}
