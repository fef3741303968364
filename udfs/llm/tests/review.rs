//! Faults found in a review, each in its original form.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::settings::Backoff;
use baton_llm::{Llm, Settings, Status, contract_error};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stub::{AGENTS, Asked, KEY, Say, Stub, completion, say, settings};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

#[test]
fn a_schema_that_holds_itself_is_no_end_of_the_process() {
    for schema in [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#"}]}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##,
    ] {
        let _sentence = contract_error(Some(r#"{"a":1}"#), Some(schema));
    }
}

#[tokio::test]
async fn a_key_at_the_cut_of_a_message_is_not_shown_in_part() {
    for padding in [185, 190, 195, 285, 290, 295] {
        for json in [true, false] {
            let words = "x".repeat(padding);
            let body =
                if json { format!(r#"{{"error":{{"message":"{words} {KEY}"}}}}"#) } else { format!("{words} {KEY}") };
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
    let stub = Stub::start([say(
        404,
        r#"{"detail":"nothing at /v1/chat/completions?key=canary-in-query for u:canary-password"}"#,
    )])
    .await;
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

/// A row that fails fast while others are answered, but never at the moment of its own call.
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
    let llm =
        Arc::new(Llm::hosted(Settings { backoff: Backoff { base: wait, cap: wait }, ..settings(&stub.url) }, &pipe));
    let poison = tokio::spawn({
        let llm = Arc::clone(&llm);
        async move { llm.classify(Some("poison"), Some(AGENTS), None).await }
    });
    let tries = || stub.asked().iter().filter(|asked| poisoned(asked)).count();
    let mut seen = 0;
    for row in 0.. {
        // After each failure of this row, another row is answered.
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

/// A row on an engine that waits, with a pipe that is a file.
fn hosted(url: &str, folder: &std::path::Path, change: impl FnOnce(&mut Settings)) -> Llm {
    let pipe = folder.join("host");
    std::fs::write(&pipe, "").unwrap();
    let mut settings = settings(url);
    change(&mut settings);
    Llm::hosted(settings, &pipe)
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_is_asked_before() {
    let folder = tempfile::tempdir().unwrap();
    let hour = |status| say(status, "").header("retry-after", "3600");
    let stub = Stub::start([hour(503), hour(429), completion(GOOD)]).await;
    let llm = hosted(&stub.url, folder.path(), |settings| settings.deadline = Duration::from_millis(200));
    let row = llm.classify(Some("x"), Some(AGENTS), None);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), row).await.unwrap().status, Status::Ok);
}

#[tokio::test]
async fn a_refusal_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([say(401, "no")]).await;
    let llm = Arc::new(hosted(&stub.url, folder.path(), |_| {}));
    let rows: Vec<_> = (0..30)
        .map(|row| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await })
        })
        .collect();
    let told = || std::fs::read_to_string(folder.path().join("host")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while told().is_empty() {
        assert!(Instant::now() < deadline, "nothing is told");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Long enough for a second report.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(stub.calls() < 5, "{} calls after a refusal of all", stub.calls());
    rows.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(told().lines().count(), 1);
}

/// Rows without retries that are in flight when a server fails must wait for it like the rows after them.
#[tokio::test]
async fn a_server_that_dies_loses_no_row_that_has_no_second_try() {
    fn judge(asked: &Asked) -> Say {
        static DIES: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let since = DIES.get_or_init(std::time::Instant::now).elapsed();
        if String::from_utf8_lossy(&asked.body).contains("quick") {
            completion(GOOD).after(Duration::from_millis(20))
        } else if since < Duration::from_millis(500) {
            say(503, "going down").after(Duration::from_millis(60))
        } else {
            completion(GOOD)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::judging(judge).await;
    let llm = Arc::new(hosted(&stub.url, folder.path(), |settings| settings.retries = 0));
    let ask = |text: &'static str| {
        let llm = Arc::clone(&llm);
        async move { llm.classify(Some(text), Some(AGENTS), None).await }
    };
    let (quick, slow) = tokio::join!(ask("quick"), ask("slow"));
    assert_eq!((quick.status, slow.status), (Status::Ok, Status::Ok), "{:?}", slow.error);
}

#[tokio::test]
async fn what_a_gateway_gave_up_stays_reserved() {
    let state = tempfile::tempdir().unwrap();
    let stub = Stub::start([say(504, ""), say(503, ""), completion(GOOD)]).await;
    let mut settings = settings(&stub.url);
    settings.limits.budget_tokens = Some(100_000);
    settings.limits.state_dir = Some(state.path().to_owned());
    settings.max_tokens = Some(1000);
    assert_eq!(Llm::new(settings).classify(Some("x"), Some(AGENTS), None).await.status, Status::Ok);
    let used = std::fs::read_to_string(state.path().join("usage.json")).unwrap();
    let used: serde_json::Value = serde_json::from_str(&used).unwrap();
    assert!((2000..5000).contains(&used["tokens"].as_u64().unwrap()), "{used}");
}
