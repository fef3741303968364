//! Faults that a review found, each as it was met.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::settings::Backoff;
use baton_llm::{Llm, Settings, Status, contract_error};
use std::sync::Arc;
use std::time::Duration;
use stub::{AGENTS, Asked, KEY, Say, Stub, completion, say, settings};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

#[test]
fn a_schema_that_holds_itself_is_no_end_of_the_process() {
    for schema in [r##"{"$ref":"#"}"##, r##"{"allOf":[{"$ref":"#"}]}"##, r##"{"not":{"$ref":"#"}}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##] {
        println!("{schema}: {:?}", contract_error(Some(r#"{"a":1}"#), Some(schema)));
    }
}

#[tokio::test]
async fn a_key_at_the_cut_of_a_message_is_not_shown_in_part() {
    for padding in [185, 190, 195, 285, 290, 295] {
        for json in [true, false] {
            let words = "x".repeat(padding);
            let body = if json { format!(r#"{{"error":{{"message":"{words} {KEY}"}}}}"#) } else { format!("{words} {KEY}") };
            for status in [200, 400, 503] {
                let stub = Stub::start([say(status, body.clone())]).await;
                let llm = Llm::new(Settings { retries: 0, ..settings(&stub.url) });
                let error = llm.classify(Some("x"), Some(AGENTS), None).await.error.unwrap();
                assert!(!error.contains("sk-c"), "{padding} {json} {status}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_secret_in_the_url_is_not_shown() {
    let stub = Stub::start([say(404, r#"{"detail":"nothing at /v1/chat/completions?key=canary-in-query for u:canary-password"}"#)]).await;
    let base = format!("{}/v1?key=canary-in-query", stub.url.replace("http://", "http://u:canary-password@"));
    let llm = Llm::new(Settings { base_url: Some(base.parse().unwrap()), ..settings(&stub.url) });
    let error = llm.classify(Some("x"), Some(AGENTS), None).await.error.unwrap();
    assert!(!error.contains("canary"), "{error}");
}

#[tokio::test]
async fn a_header_does_not_take_words_out_of_an_agents_name() {
    let stub = Stub::start([completion(r#"{"agent":"Customer Agent"}"#)]).await;
    let set = [
        ("BATON_LLM_BASE_URL", format!("{}/v1", stub.url)),
        ("BATON_LLM_MODEL", "m".to_owned()),
        ("BATON_LLM_HEADERS", r#"{"X-Title":"Customer desk"}"#.to_owned()),
    ];
    let llm = Llm::from_lookup(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()));
    let result = llm.classify(Some("x"), Some(r#"[{"name":"Customer Agent"}]"#), None).await;
    assert_eq!(result.agent.as_deref(), Some("Customer Agent"), "{:?}", result.error);
}

fn poisoned(asked: &Asked) -> bool {
    String::from_utf8_lossy(&asked.body).contains("poison")
}

/// A row that fails fast, while others are answered, but never in the moment of its own call.
#[tokio::test]
async fn a_row_that_fails_between_the_answers_of_others_ends() {
    fn judge(asked: &Asked) -> Say {
        if poisoned(asked) { say(500, "crash") } else { completion(GOOD) }
    }
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("host");
    std::fs::write(&pipe, "").unwrap();
    let stub = Stub::judging(judge).await;
    let wait = Duration::from_millis(100);
    let llm = Arc::new(Llm::hosted(
        Settings { backoff: Backoff { base: wait, cap: wait }, ..settings(&stub.url) },
        &pipe,
    ));
    let poison = tokio::spawn({
        let llm = Arc::clone(&llm);
        async move { llm.classify(Some("poison"), Some(AGENTS), None).await }
    });
    let tries = || stub.asked().iter().filter(|asked| poisoned(asked)).count();
    let mut seen = 0;
    for row in 0.. {
        // Behind each failure of the one another is answered.
        while tries() == seen && !poison.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if poison.is_finished() {
            break;
        }
        seen = tries();
        assert!(seen < 30, "it has failed {seen} times, and was it alone each time");
        tokio::time::sleep(Duration::from_millis(3)).await;
        assert_eq!(llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await.status, Status::Ok);
    }
    assert_eq!(poison.await.unwrap().status, Status::Unavailable);
}
