//! Questions to a model: requests, servers with fewer features, and results of answers.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::{Llm, Source, Status};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use stub::{AGENTS, Asked, KEY, PROVIDERS, Say, Stub, answer_of, completion, llm, say, settings};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

#[tokio::test]
async fn the_request_is_what_it_should_be() {
    let stub = Stub::start([completion(GOOD)]).await;
    let options = r#"{"model":"other","max_tokens":50,"prompt":"Choose well."}"#;
    let result = llm(&stub.url).classify(Some("Zwei E-Mails"), Some(AGENTS), Some(options)).await;
    assert_eq!(result.agent.as_deref(), Some("Send Email Agent"));
    assert_eq!(result.facts.model.as_deref(), Some("stub-1"));
    assert_eq!((result.facts.prompt_tokens, result.facts.completion_tokens), (Some(10), Some(3)));
    assert_eq!((result.facts.cost, result.confidence), (None, None));
    let asked = stub.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
    let body = asked.json();
    assert_eq!((&body["model"], &body["temperature"], &body["max_tokens"]), (&json!("other"), &json!(0.0), &json!(50)));
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert_eq!(
        body["response_format"]["json_schema"]["schema"]["properties"]["agent"]["enum"],
        json!(["Lead Scoring Agent", "Send Email Agent", "NONE"])
    );
    let system = body["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("Choose well.\n\nThe agents:\n\n- name: Lead Scoring Agent\n"), "{system}");
    assert_eq!(body["messages"][1]["content"], "<message>\nZwei E-Mails\n</message>");
}

#[tokio::test]
async fn no_key_is_no_header() {
    let stub = Stub::start([completion(GOOD)]).await;
    let mut settings = settings(&stub.url);
    settings.api_key = None;
    let result = Llm::new(settings).classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!(result.status, Status::Ok);
    assert!(!stub.asked()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn headers_of_the_settings_are_sent_and_are_secrets() {
    let quotes = say(401, "no entry for canary-in-header, canary-key, team leads, with Bearer canary-in-header");
    for provider in PROVIDERS {
        let stub = Stub::start([answer_of(provider, GOOD), quotes.clone()]).await;
        let url = format!("{}/v1", stub.url);
        let llm = Llm::from_lookup(|name| {
            let value = match name {
                "BATON_LLM_PROVIDER" => provider.to_string(),
                "BATON_LLM_BASE_URL" => url.clone(),
                "BATON_LLM_MODEL" => "m".to_owned(),
                "BATON_LLM_API_KEY" => "canary-key".to_owned(),
                "BATON_LLM_HEADERS" => r#"{"Authorization":"Bearer canary-in-header","X-Team":"leads"}"#.to_owned(),
                _ => return None,
            };
            Some(value)
        });
        let result = llm.classify(Some("x"), Some(AGENTS), None).await;
        assert_eq!(result.status, Status::Ok, "{:?}", result.error);
        let headers = stub.asked().remove(0).headers;
        assert_eq!(headers["authorization"], "Bearer canary-in-header");
        assert_eq!(headers.get_all("authorization").iter().count(), 1);
        assert_eq!(
            (&headers["x-team"], &headers["content-type"]),
            (&"leads".parse().unwrap(), &"application/json".parse().unwrap())
        );
        let refused = llm.classify(Some("x"), Some(AGENTS), None).await;
        let error = refused.error.unwrap();
        assert!(error.contains("no entry for ***, ***, team leads, with Bearer ***"), "{error}");
    }
}

#[tokio::test]
async fn a_call_can_ask_the_other_provider() {
    let stub = Stub::start([completion(GOOD)]).await;
    let mut settings = settings(&stub.url);
    settings.anthropic_key = Some(baton_llm::Secret::new("sk-ant-canary"));
    settings.retries = 0;
    let llm = Llm::new(settings);
    // The configured server is not called, and the other one gets no key of it.
    let options = Some(r#"{"provider":"anthropic","timeout":"10ms","deadline":"20ms"}"#);
    let result = llm.classify(Some("x"), Some(AGENTS), options).await;
    assert_eq!((result.facts.model.as_deref(), stub.calls()), (Some("claude-haiku-5-5"), 0));
    assert!(!result.error.unwrap().contains("canary"));
}

#[tokio::test]
async fn what_a_server_refuses_is_left_out_from_then_on() {
    let refused =
        |what: &str| say(400, json!({ "error": { "message": format!("{what} is not supported") } }).to_string());
    let stub = Stub::start([refused("temperature"), refused("response_format"), completion(GOOD)]).await;
    let llm = llm(&stub.url);
    let first = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((first.status, first.facts.attempts), (Status::Ok, 3), "{:?}", first.error);
    let second = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((second.status, second.facts.attempts), (Status::Ok, 1));
    let last = stub.asked().pop().unwrap().json();
    assert!(last.get("temperature").is_none() && last.get("response_format").is_none(), "{last}");
    // Another model on the same server has not refused anything yet.
    llm.classify(Some("x"), Some(AGENTS), Some(r#"{"model":"other"}"#)).await;
    assert!(stub.asked().pop().unwrap().json().get("response_format").is_some());
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_asked_for_ever() {
    let stub = Stub::start([say(400, "temperature logprobs max_completion_tokens response_format: no")]).await;
    let result = llm(&stub.url).classify(Some("x"), Some(AGENTS), Some(r#"{"max_tokens":5}"#)).await;
    assert_eq!((result.status, stub.calls()), (Status::Rejected, 5), "{:?}", result.error);
}

#[tokio::test]
async fn rows_that_find_out_at_the_same_time_are_all_answered() {
    let stub = Stub::judging(|asked| match asked.json().get("response_format") {
        Some(_) => say(422, "extra inputs are not permitted: response_format").after(Duration::from_millis(20)),
        None => completion(GOOD),
    })
    .await;
    let llm = Arc::new(llm(&stub.url));
    let rows: Vec<_> = (0..20)
        .map(|row| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { llm.classify(Some(&format!("row {row}")), Some(AGENTS), None).await })
        })
        .collect();
    for row in rows {
        let result = row.await.unwrap();
        assert_eq!(result.status, Status::Ok, "{:?}", result.error);
        assert!(result.facts.attempts <= 2, "{} attempts", result.facts.attempts);
    }
    assert!(stub.calls() < 25, "{} calls: a row that waits for its slot hears what others found out", stub.calls());
    assert!(stub.asked().pop().unwrap().json().get("response_format").is_none());
}

/// Whether the system prompt of a request contains the schema.
fn says_schema(asked: &Asked) -> bool {
    asked.json()["messages"][0]["content"].as_str().unwrap().contains("JSON Schema")
}

#[tokio::test]
async fn whether_a_server_holds_the_model_to_the_schema_is_found_out() {
    let broken = json!({ "choices": [{ "message": { "content": "{\"agent\":\"Se" }, "finish_reason": "length" }] });
    let broken = say(200, broken.to_string());
    for (first, believed) in [
        (completion(GOOD), true),
        (completion(" {\"agent\": \"NONE\"}\n"), true),
        (broken, true),
        (completion("Send Email Agent"), false),
        (completion("```json\n{\"agent\":\"NONE\"}\n```"), false),
        (completion(r#"{"agent":"none"}"#), false),
        (completion(r#"{"agent":"NONE","why":"x"}"#), false),
        (completion(r#"{"agent":"Evil Agent"}"#), false),
        (completion(""), false),
    ] {
        let body = String::from_utf8(first.body.clone()).unwrap();
        let stub = Stub::start([first, completion(GOOD)]).await;
        let llm = llm(&stub.url);
        llm.classify(Some("x"), Some(AGENTS), None).await;
        assert!(!says_schema(&stub.asked()[0]));
        llm.classify(Some("x"), Some(AGENTS), None).await;
        let last = stub.asked().pop().unwrap();
        assert_eq!(says_schema(&last), !believed, "{body}");
        // It is sent as before: a server that enforces the schema sometimes is better than none.
        assert!(last.json().get("response_format").is_some());
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_schema_is_read_all_the_same() {
    let stub = Stub::start([completion("I think it is for sending."), completion("Send Email Agent")]).await;
    let result = llm(&stub.url).classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((result.agent.as_deref(), result.facts.attempts), (Some("Send Email Agent"), 2));
    assert_eq!((result.facts.prompt_tokens, result.facts.completion_tokens), (Some(20), Some(6)));
    let messages = stub.asked()[1].json()["messages"].clone();
    assert_eq!(messages[2], json!({ "role": "assistant", "content": "I think it is for sending." }));
    assert!(messages[3]["content"].as_str().unwrap().contains(r#"exactly one of: "Lead Scoring Agent""#));
}

#[tokio::test]
async fn a_long_message_is_cut_where_the_options_say() {
    let stub = Stub::start([completion(GOOD)]).await;
    let llm = llm(&stub.url);
    llm.classify(Some(&"ü".repeat(30_000)), Some(AGENTS), None).await;
    llm.classify(Some("üüü"), Some(AGENTS), Some(r#"{"max_input_chars":2}"#)).await;
    let users: Vec<String> =
        stub.asked().iter().map(|asked| asked.json()["messages"][1]["content"].as_str().unwrap().to_owned()).collect();
    assert_eq!(users[0].matches('ü').count(), 24_000);
    assert_eq!(users[1], "<message>\nüü\n[cut here: the rest is left out]\n</message>");
}

/// A chat completion in three tokens. The second one is the name, with the probability of `Lead Scoring Agent` as its
/// alternative.
fn with_logprobs(name: &str, probability: f64, rival: f64) -> Say {
    let alternative =
        |token: &str, probability: f64| json!({ "token": token, "logprob": probability.ln(), "bytes": null });
    let token = |token: &str, probability: f64, others: Vec<Value>| {
        let mut json = alternative(token, probability);
        json["top_logprobs"] = others.into_iter().chain([alternative(token, probability)]).collect();
        json
    };
    let content = format!("{{\"agent\":\"{name}\"}}");
    let tokens = [
        token("{\"agent\":\"", 1.0, vec![]),
        token(name, probability, vec![alternative("Lead", rival), alternative("NONE", 1.0 - probability - rival)]),
        token("\"}", 1.0, vec![]),
    ];
    let choice =
        json!({ "message": { "content": content }, "finish_reason": "stop", "logprobs": { "content": tokens } });
    say(200, json!({ "model": "stub-1", "choices": [choice] }).to_string())
}

#[tokio::test]
async fn confidence_is_the_probability_of_the_name() {
    let stub = Stub::start([with_logprobs("Send Email Agent", 0.75, 0.2)]).await;
    let llm = llm(&stub.url);
    let result = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!(
        (result.agent.as_deref(), result.confidence),
        (Some("Send Email Agent"), Some(0.75)),
        "{:?}",
        result.error
    );
    let body = stub.asked()[0].json();
    assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(5)));
    // Log-probabilities are only requested for a choice.
    llm.complete(Some("Write."), Some("x"), None, None).await;
    let body = stub.asked().pop().unwrap().json();
    assert!(body.get("logprobs").is_none() && body.get("top_logprobs").is_none());
}

#[tokio::test]
async fn a_server_without_log_probabilities_is_left_alone_with_them() {
    for (status, message) in [
        (400, "Unsupported parameter: 'logprobs' is not supported with this model."),
        (403, "You are not allowed to request logprobs from this model."),
    ] {
        let stub = Stub::start([say(status, message), completion(GOOD)]).await;
        let llm = llm(&stub.url);
        let first = llm.classify(Some("x"), Some(AGENTS), None).await;
        assert_eq!((first.status, first.confidence, first.facts.attempts), (Status::Ok, None, 2), "{:?}", first.error);
        llm.classify(Some("x"), Some(AGENTS), None).await;
        let body = stub.asked().pop().unwrap().json();
        assert!(body.get("logprobs").is_none() && body.get("top_logprobs").is_none());
        assert!(body.get("response_format").is_some());
    }
}

#[tokio::test]
async fn a_name_that_was_asked_for_twice_has_no_confidence() {
    let stub = Stub::start([completion("Evil Agent"), with_logprobs("Send Email Agent", 0.9, 0.05)]).await;
    let result = llm(&stub.url).classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!((result.status, result.confidence), (Status::Ok, None));
}

#[tokio::test]
async fn wrong_arguments_make_no_call() {
    let stub = Stub::start([completion(GOOD)]).await;
    let llm = llm(&stub.url);
    for (text, agents, options, status, error) in [
        (None, Some(AGENTS), None, Status::BadInput, "the text is NULL"),
        (Some(" \n"), Some(AGENTS), None, Status::BadInput, "the text is blank"),
        (Some("x"), None, None, Status::Config, "the agents are NULL or blank"),
        (Some("x"), Some("[]"), None, Status::Config, "the list of agents is empty"),
        (Some("x"), Some("?"), None, Status::Config, "the agents are not JSON"),
        (Some("x"), Some(r#"[{"name":"A"},{"name":"A"}]"#), None, Status::Config, "two agents are called `A`"),
        (Some("x"), Some(AGENTS), Some(r#"{"temprature":1}"#), Status::Config, "did you mean `temperature`?"),
        (Some("x"), Some(AGENTS), Some(r#"{"provider":"anthropic"}"#), Status::Config, "set ANTHROPIC_API_KEY as well"),
    ] {
        let result = llm.classify(text, agents, options).await;
        assert_eq!((result.status, result.agent, result.facts.attempts), (status, None, 0));
        assert!(result.error.unwrap().contains(error), "{error}");
    }
    assert_eq!(stub.calls(), 0);
}

#[tokio::test]
async fn wrong_settings_are_every_rows_result() {
    let llm = Llm::from_lookup(|name| (name == "BATON_LLM_TIMEOUT").then(|| "soon".to_owned()));
    let result = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!(result.status, Status::Config);
    assert!(result.error.unwrap().starts_with("BATON_LLM_TIMEOUT is `soon`: set a whole number with its unit"));
}

const SCHEMA: &str = r#"{"schema":{"type":"object","properties":{"score":{"type":"integer"}},"required":["score"],
                         "additionalProperties":false}}"#;

#[tokio::test]
async fn complete_gives_the_models_text() {
    let stub = Stub::start([completion("Dear Ada,\nhello.")]).await;
    let result = llm(&stub.url).complete(Some("Write."), Some("</input> x"), Some("fallback"), None).await;
    assert_eq!((result.text.as_deref(), result.status), (Some("Dear Ada,\nhello."), Status::Ok));
    assert_eq!(result.facts.source, Some(Source::Model));
    let body = stub.asked()[0].json();
    assert!(body["messages"][0]["content"].as_str().unwrap().starts_with("Write.\n\n"));
    assert_eq!(body["messages"][1]["content"], "<input>\n&lt;/input&gt; x\n</input>");
    assert!(body.get("temperature").is_none() && body.get("response_format").is_none());
}

#[tokio::test]
async fn complete_holds_the_answer_to_a_schema() {
    let stub = Stub::start([completion("```json\n{\"score\": 7}\n```")]).await;
    let result = llm(&stub.url).complete(Some("Score."), Some("x"), None, Some(SCHEMA)).await;
    assert_eq!((result.text.as_deref(), result.facts.attempts), (Some("{\"score\": 7}"), 1), "{:?}", result.error);
    let body = stub.asked()[0].json();
    assert_eq!(body["response_format"]["json_schema"]["schema"]["required"], json!(["score"]));
    assert!(!body["messages"][0]["content"].as_str().unwrap().contains("JSON Schema"));
}

#[tokio::test]
async fn complete_asks_once_more_and_then_gives_up() {
    let stub = Stub::start([completion(r#"{"score":"high"}"#)]).await;
    let llm = llm(&stub.url);
    let result = llm.complete(Some("Score."), Some("x"), Some("{\"score\":1}"), Some(SCHEMA)).await;
    assert_eq!((result.text, result.status, stub.calls()), (None, Status::Invalid, 2));
    assert!(result.error.unwrap().contains(r#"/score: "high" is not of type "integer" (asked twice)"#));
    // The server ignored the schema: from then on the prompt has it too.
    let body = stub.asked().pop().unwrap().json();
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("keeps this JSON Schema"));
}

#[tokio::test]
async fn a_schema_outside_of_the_strict_subset_goes_into_the_prompt() {
    let stub = Stub::start([completion("[1]")]).await;
    let options = r#"{"schema":{"type":"array","items":{"type":"integer"}}}"#;
    let result = llm(&stub.url).complete(Some("List."), Some("x"), None, Some(options)).await;
    assert_eq!(result.text.as_deref(), Some("[1]"));
    let body: Value = stub.asked()[0].json();
    assert!(body.get("response_format").is_none());
    assert!(body["messages"][0]["content"].as_str().unwrap().contains(r#"{"type":"array""#));
}

#[tokio::test]
async fn a_broken_off_answer_is_none() {
    let body = json!({ "choices": [{ "message": { "content": "Dear" }, "finish_reason": "length" }] });
    let stub = Stub::start([say(200, body.to_string())]).await;
    let result = llm(&stub.url).complete(Some("Write."), Some("x"), None, None).await;
    assert_eq!((result.text, result.status), (None, Status::Invalid));
    assert!(result.error.unwrap().contains("max_tokens"));
}

#[tokio::test]
async fn a_failed_model_never_falls_back() {
    let stub = Stub::start([say(500, "")]).await;
    let result = llm(&stub.url).complete(Some("Write."), Some("x"), Some("fallback"), None).await;
    assert_eq!((result.text, result.status), (None, Status::Unavailable));
    assert_eq!(result.facts.source, Some(Source::Model));
}

#[tokio::test]
async fn complete_offline_is_its_fallback() {
    let llm = Llm::from_lookup(|_| None);
    let result = llm.complete(Some("p"), Some("i"), Some("as it is"), None).await;
    assert_eq!((result.text.as_deref(), result.status), (Some("as it is"), Status::Ok));
    assert_eq!((result.facts.source, result.facts.cost), (Some(Source::Offline), Some(0.0)));
    let without = llm.complete(Some("p"), Some("i"), None, None).await;
    assert_eq!((without.text, without.status), (None, Status::Config));
    assert!(without.error.unwrap().contains("fallback argument"));
    let wrong = llm.complete(Some("p"), Some("i"), Some("{}"), Some(SCHEMA)).await;
    assert_eq!((wrong.text, wrong.status), (None, Status::Invalid));
    assert_eq!(llm.complete(Some("p"), None, Some("f"), None).await.status, Status::BadInput);
    assert_eq!(llm.complete(None, Some("i"), Some("f"), None).await.status, Status::Config);
}
