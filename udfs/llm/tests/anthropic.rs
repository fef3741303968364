//! Anthropic's messages API: requests, models with fewer features, and results of answers.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::settings::Provider;
use baton_llm::{Llm, Source, Status};
use serde_json::{Value, json};
use stub::{AGENTS, Asked, KEY, Say, Stub, message, say, settings_of};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

fn llm(url: &str) -> Llm {
    Llm::new(settings_of(Provider::Anthropic, url))
}

fn refusal(message: &str) -> Say {
    let body = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } });
    say(400, body.to_string())
}

/// An answer through the tool.
fn tool_use(input: &Value) -> Say {
    let content = json!([{ "type": "tool_use", "id": "t", "name": "answer", "input": input }]);
    say(200, json!({ "model": "stub-1", "content": content, "stop_reason": "tool_use" }).to_string())
}

fn system(body: &Value) -> &str {
    body["system"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn the_request_is_what_it_should_be() {
    let stub = Stub::start([message(GOOD)]).await;
    let result = llm(&stub.url).classify(Some("Zwei <E-Mails>"), Some(AGENTS), None).await;
    assert_eq!(result.agent.as_deref(), Some("Send Email Agent"), "{:?}", result.error);
    assert_eq!((result.facts.source, result.facts.model.as_deref()), (Some(Source::Model), Some("stub-1")));
    // The server counts cache writes and reads separately; the prompt is the sum.
    assert_eq!((result.facts.prompt_tokens, result.facts.completion_tokens), (Some(10), Some(3)));
    assert_eq!(result.confidence, None);
    let asked = stub.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/messages"));
    assert_eq!(asked.headers["x-api-key"], KEY);
    assert_eq!(asked.headers["anthropic-version"], "2023-06-01");
    assert!(!asked.headers.contains_key("authorization"));
    let body = asked.json();
    assert_eq!((&body["model"], &body["temperature"], &body["max_tokens"]), (&json!("m"), &json!(0.0), &json!(4096)));
    // The server can cache the part that all rows share, and it contains nothing of a row.
    assert_eq!(body["system"][0]["cache_control"], json!({ "type": "ephemeral" }));
    assert!(system(&body).contains("- name: Lead Scoring Agent\n") && !system(&body).contains("E-Mails"));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "<message>\nZwei &lt;E-Mails&gt;\n</message>" }]));
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
    assert_eq!(
        body["output_config"]["format"]["schema"]["properties"]["agent"]["enum"],
        json!(["Lead Scoring Agent", "Send Email Agent", "NONE"])
    );
    for absent in ["tools", "tool_choice", "response_format", "logprobs"] {
        assert!(body.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn options_are_passed_on() {
    let stub = Stub::start([message(GOOD)]).await;
    let llm = llm(&stub.url);
    let options = r#"{"model":"other","max_tokens":50,"temperature":0.5}"#;
    llm.classify(Some("x"), Some(AGENTS), Some(options)).await;
    let body = stub.asked().remove(0).json();
    assert_eq!((&body["model"], &body["temperature"], &body["max_tokens"]), (&json!("other"), &json!(0.5), &json!(50)));
    let result = llm.classify(Some("x"), Some(AGENTS), Some(r#"{"temperature":1.5}"#)).await;
    assert_eq!((result.status, stub.calls()), (Status::Config, 1));
    assert!(result.error.unwrap().contains("set one from 0 to 1"));
}

/// A model from before schemas could be enforced: it rejects a temperature too, but calls a tool.
fn old_model(asked: &Asked) -> Say {
    let body = asked.json();
    if body.get("temperature").is_some() {
        refusal("`temperature` is deprecated for this model.")
    } else if body.get("output_config").is_some() {
        refusal("output_config: Extra inputs are not permitted")
    } else {
        tool_use(&json!({ "agent": "Send Email Agent" }))
    }
}

#[tokio::test]
async fn a_model_without_enforced_formats_calls_a_tool() {
    let stub = Stub::judging(old_model).await;
    let llm = llm(&stub.url);
    let first = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((first.agent.as_deref(), first.facts.attempts), (Some("Send Email Agent"), 3), "{:?}", first.error);
    let second = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((second.status, second.facts.attempts), (Status::Ok, 1));
    let body = stub.asked().pop().unwrap().json();
    assert_eq!(body["tool_choice"], json!({ "type": "tool", "name": "answer", "disable_parallel_tool_use": true }));
    assert_eq!(body["tools"][0]["name"], "answer");
    assert_eq!(body["tools"][0]["input_schema"]["required"], json!(["agent"]));
    assert!(!system(&body).contains("JSON Schema"));
}

/// A model that supports neither an enforced format nor a forced tool.
fn plain_model(asked: &Asked) -> Say {
    let body = asked.json();
    if body.get("output_config").is_some() {
        refusal("structured outputs are not supported")
    } else if body.get("tool_choice").is_some() {
        refusal("tool_choice: type \"tool\" and \"any\" are not supported for this model.")
    } else {
        message("```json\n{\"agent\": \"Send Email Agent\"}\n```")
    }
}

#[tokio::test]
async fn a_model_that_takes_no_tool_either_reads_the_schema_in_its_prompt() {
    let stub = Stub::judging(plain_model).await;
    let llm = llm(&stub.url);
    let first = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((first.agent.as_deref(), first.facts.attempts), (Some("Send Email Agent"), 3), "{:?}", first.error);
    let second = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((second.status, second.facts.attempts), (Status::Ok, 1));
    let body = stub.asked().pop().unwrap().json();
    assert!(body.get("output_config").is_none() && body.get("tools").is_none());
    assert!(system(&body).contains(r#""enum":["Lead Scoring Agent","Send Email Agent","NONE"]"#));
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_asked_for_ever() {
    let stub = Stub::start([refusal("temperature output_config tool max_tokens logprobs: no")]).await;
    let result = llm(&stub.url).classify(Some("x"), Some(AGENTS), Some(r#"{"max_tokens":5}"#)).await;
    assert_eq!((result.status, stub.calls()), (Status::Rejected, 4), "{:?}", result.error);
}

#[tokio::test]
async fn a_tool_that_is_called_with_another_name_is_asked_for_again() {
    let wrong = tool_use(&json!({ "agent": "Evil Agent" }));
    let stub = Stub::start([refusal("output_config"), wrong, tool_use(&json!({ "agent": "NONE" }))]).await;
    let result = llm(&stub.url).classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((result.agent.as_deref(), result.facts.attempts), (Some("NONE"), 3), "{:?}", result.error);
    let body = stub.asked().pop().unwrap().json();
    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert!(system(&body).contains("JSON Schema"), "the server does not hold the model to the schema");
}

const SCORE: &str = r#"{"schema":{"type":"object","properties":{"score":{"type":"integer"}},"required":["score"],
                        "additionalProperties":false}}"#;

#[tokio::test]
async fn complete_holds_the_answer_to_a_schema() {
    let stub = Stub::start([message(r#"{"score":7}"#)]).await;
    let result = llm(&stub.url).complete(Some("Score."), Some("x"), None, Some(SCORE)).await;
    assert_eq!(result.text.as_deref(), Some(r#"{"score":7}"#), "{:?}", result.error);
    let body = stub.asked().remove(0).json();
    assert_eq!(body["output_config"]["format"]["schema"]["required"], json!(["score"]));
    assert!(body.get("temperature").is_none());
    assert!(!system(&body).contains("JSON Schema"));
}

#[tokio::test]
async fn a_schema_that_anthropic_does_not_enforce_goes_into_the_prompt_and_is_checked() {
    let stub = Stub::start([message(r#"{"score":101}"#), message(r#"{"score":100}"#)]).await;
    let options = SCORE.replace(r#""integer""#, r#""integer","maximum":100"#);
    let result = llm(&stub.url).complete(Some("Score."), Some("x"), None, Some(&options)).await;
    assert_eq!((result.text.as_deref(), result.facts.attempts), (Some(r#"{"score":100}"#), 2), "{:?}", result.error);
    let body = stub.asked().remove(0).json();
    assert!(body.get("output_config").is_none() && body.get("tools").is_none());
    assert!(system(&body).contains(r#""maximum":100"#));
}

#[tokio::test]
async fn a_broken_off_answer_is_none() {
    for (reason, error) in [("max_tokens", "option max_tokens higher"), ("refusal", "refuses to answer")] {
        let body = json!({ "content": [{ "type": "text", "text": "{\"sco" }], "stop_reason": reason });
        let stub = Stub::start([say(200, body.to_string())]).await;
        let llm = llm(&stub.url);
        let result = llm.complete(Some("Score."), Some("x"), None, Some(SCORE)).await;
        assert_eq!((result.text, result.status), (None, Status::Invalid));
        assert!(result.error.unwrap().contains(error));
        // The answer proves nothing about the server.
        assert!(!system(&stub.asked().pop().unwrap().json()).contains("JSON Schema"));
    }
}
