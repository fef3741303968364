//! Outgoing messages: a reply, a message with the decision about it, and the first message of a workflow.

use crate::{ENVELOPE, Object, id_of};
use serde_json::{Value, json};

/// The fields that belong to one hop. A reply does not inherit them.
const OF_ONE_HOP: [&str; 3] = ["decision", "reason", "usage"];

/// The usage fields that a reply copies from its call.
const USAGE: [&str; 6] = ["model", "source", "prompt_tokens", "completion_tokens", "cost", "latency_ms"];

/// SQL's `reply`: the message with which an agent answers.
///
/// `opened` is the result of `open_message`, with the option `agent`, for the message to answer. `context` begins with
/// a description of the reply, by which the router chooses the next agent. `answer` is the result of the agent's own
/// `llm_complete`, for `usage`, or NULL. `fields` is a JSON object with additional fields, or NULL.
///
/// The reply has the next hop, an id made from the message's id and the agent's name, and all fields of the message
/// that it does not change.
#[must_use]
pub fn reply(opened: Option<&str>, context: Option<&str>, answer: Option<&str>, fields: Option<&str>) -> Vec<u8> {
    let Some((opened, message)) = message_of(opened) else { return unusable("reply") };
    let text = |name: &str| opened.get(name).and_then(Value::as_str);
    let sender = text("agent").unwrap_or("unknown");
    let parent = text("message_id").unwrap_or_default();
    let hop = opened.get("hop").and_then(Value::as_u64).unwrap_or(0);
    let mut out = Object::new();
    out.insert("message_id".into(), json!(id_of(&[parent, sender, "1"])));
    out.insert("workflow_id".into(), json!(text("workflow_id")));
    out.insert("parent_id".into(), json!(parent));
    out.insert("hop".into(), json!(hop + 1));
    out.insert("sender".into(), json!(sender));
    out.insert("created_at".into(), json!(text("received_at")));
    for (name, value) in message {
        if !ENVELOPE.contains(&name.as_str()) && !OF_ONE_HOP.contains(&name.as_str()) {
            out.insert(name, value);
        }
    }
    out.insert("context".into(), json!(context));
    for (name, value) in object(fields) {
        if name != "context" && !ENVELOPE.contains(&name.as_str()) {
            out.insert(name, value);
        }
    }
    if let Some(usage) = usage(&object(answer)) {
        out.insert("usage".into(), usage);
    }
    bytes(out)
}

/// SQL's `forward`: the original message with the `decision` about it and the `reason` for its destination. Either may
/// be NULL. `opened` is the result of `open_message`.
#[must_use]
pub fn forward(opened: Option<&str>, decision: Option<&str>, reason: Option<&str>) -> Vec<u8> {
    let Some((_, mut message)) = message_of(opened) else { return unusable("forward") };
    // Remove the fields that an earlier router wrote.
    message.shift_remove("decision");
    message.shift_remove("reason");
    if decision.is_some() {
        message.insert("decision".into(), Value::Object(object(decision)));
    }
    if let Some(reason) = reason {
        message.insert("reason".into(), json!(reason));
    }
    bytes(message)
}

/// SQL's `start_workflow`: the first message of a workflow, with an id made from the workflow's id and the sender's
/// name. `lead_data` is a JSON object, or NULL. Keys in it that begin with `_` are left out: `_id` and the like belong
/// to the source database.
#[must_use]
pub fn start_workflow(
    workflow_id: Option<&str>,
    sender: Option<&str>,
    created_at: Option<&str>,
    context: Option<&str>,
    lead_data: Option<&str>,
) -> Vec<u8> {
    let sender = sender.unwrap_or("unknown");
    let mut out = Object::new();
    out.insert("message_id".into(), json!(id_of(&[workflow_id.unwrap_or_default(), sender, "1"])));
    out.insert("workflow_id".into(), json!(workflow_id));
    out.insert("parent_id".into(), Value::Null);
    out.insert("hop".into(), json!(0));
    out.insert("sender".into(), json!(sender));
    out.insert("created_at".into(), json!(created_at));
    let lead_data: Object = object(lead_data).into_iter().filter(|(name, _)| !name.starts_with('_')).collect();
    out.insert("lead_data".into(), Value::Object(lead_data));
    out.insert("context".into(), json!(context));
    bytes(out)
}

/// The result of `open_message`, and the message in it.
fn message_of(opened: Option<&str>) -> Option<(Object, Object)> {
    let mut opened = serde_json::from_str::<Value>(opened?).ok()?.as_object_mut().map(std::mem::take)?;
    match opened.shift_remove("message")? {
        Value::Object(message) => Some((opened, message)),
        _ => None,
    }
}

/// The router refuses a message without `context` and reports why, so nothing is lost and the error is visible.
fn unusable(function: &str) -> Vec<u8> {
    let error = format!("the first argument of {function} is not the result of open_message for a message");
    json!({ "error": error }).to_string().into_bytes()
}

/// The fields of a JSON object; empty for anything else.
fn object(text: Option<&str>) -> Object {
    match text.map(serde_json::from_str::<Value>) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => Object::new(),
    }
}

/// The usage of a call; `None` if no model was called.
fn usage(answer: &Object) -> Option<Value> {
    let known: Object =
        USAGE.iter().filter_map(|name| Some(((*name).to_owned(), answer.get(*name)?.clone()))).collect();
    (!known.is_empty()).then_some(Value::Object(known))
}

fn bytes(message: Object) -> Vec<u8> {
    Value::Object(message).to_string().into_bytes()
}
