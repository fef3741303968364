//! The decision log: a question is paid for once, even if it is asked again.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::{Classification, Llm, Settings, Source, Status};
use std::path::Path;
use std::time::Duration;
use stub::{AGENTS, KEY, Stub, completion, say, settings};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

fn logged(url: &str, folder: &Path) -> Settings {
    let mut settings = settings(url);
    settings.limits.decision_log = Some(folder.join("decisions.jsonl"));
    settings
}

async fn ask(llm: &Llm, text: &str, options: Option<&str>) -> Classification {
    llm.classify(Some(text), Some(AGENTS), options).await
}

#[tokio::test]
async fn a_decision_is_found_by_the_next_process() {
    let stub = Stub::start([completion(GOOD)]).await;
    let folder = tempfile::tempdir().unwrap();
    let first = ask(&Llm::new(logged(&stub.url, folder.path())), "A lead", None).await;
    assert_eq!((first.facts.source, first.facts.prompt_tokens), (Some(Source::Model), Some(10)));
    let again = ask(&Llm::new(logged(&stub.url, folder.path())), "A lead", None).await;
    assert_eq!((again.agent, again.status, again.confidence), (first.agent, Status::Ok, first.confidence));
    let facts = again.facts;
    assert_eq!((facts.source, facts.attempts, facts.cost), (Some(Source::Log), 0, Some(0.0)));
    assert_eq!((facts.prompt_tokens, facts.completion_tokens), (Some(0), Some(0)));
    assert_eq!(facts.model.as_deref(), Some("stub-1"));
    assert_eq!(stub.calls(), 1);
    let log = std::fs::read_to_string(folder.path().join("decisions.jsonl")).unwrap();
    assert!(log.contains("llm_classify") && !log.contains("A lead") && !log.contains(KEY), "{log}");
}

#[tokio::test]
async fn what_differs_is_asked() {
    let stub = Stub::start([completion(GOOD)]).await;
    let folder = tempfile::tempdir().unwrap();
    let llm = Llm::new(logged(&stub.url, folder.path()));
    for (asked, options) in [
        (1, None),
        (1, None),
        (2, Some(r#"{"model":"other"}"#)),
        (3, Some(r#"{"prompt":"Choose otherwise."}"#)),
        (4, Some(r#"{"temperature":1}"#)),
        (4, Some(r#"{"model":"other"}"#)),
    ] {
        assert_eq!(ask(&llm, "A lead", options).await.status, Status::Ok);
        assert_eq!(stub.calls(), asked, "{options:?}");
    }
    ask(&llm, "Another lead", None).await;
    llm.classify(Some("A lead"), Some(r#"[{"name":"Send Email Agent"}]"#), None).await;
    assert_eq!(stub.calls(), 6);
    // The same text asked of the other function is another question.
    llm.complete(Some(AGENTS), Some("A lead"), None, None).await;
    let again = llm.complete(Some(AGENTS), Some("A lead"), None, None).await;
    assert_eq!((again.text.as_deref(), again.facts.source), (Some(GOOD), Some(Source::Log)));
    assert_eq!(stub.calls(), 7);
}

#[tokio::test]
async fn only_good_answers_are_kept() {
    let wrong = completion(r#"{"agent":"Nobody"}"#);
    let stub = Stub::start([say(404, ""), wrong.clone(), wrong, completion(GOOD)]).await;
    let folder = tempfile::tempdir().unwrap();
    let llm = Llm::new(logged(&stub.url, folder.path()));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&llm, "A lead", None).await.status);
    }
    assert_eq!(statuses, [Status::Rejected, Status::Invalid, Status::Ok, Status::Ok]);
    assert_eq!(stub.calls(), 4);
}

#[tokio::test]
async fn the_topic_is_the_agents_wherever_the_answer_is_from() {
    const WITH_TOPICS: &str =
        r#"[{"name":"Send Email Agent","topic":"emails","input":"finished e-mails"},{"name":"B"}]"#;
    let stub = Stub::start([
        completion(GOOD).after(Duration::from_millis(100)),
        completion(r#"{"agent":"NONE"}"#),
        completion(r#"{"agent":"B"}"#),
        say(422, ""),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let llm = Llm::new(logged(&stub.url, folder.path()));
    let ask = |text| llm.classify(Some(text), Some(WITH_TOPICS), None);
    let (first, second) = tokio::join!(ask("A lead"), ask("A lead"));
    let logged = ask("A lead").await;
    for (result, source) in [(first, Source::Model), (second, Source::Shared), (logged, Source::Log)] {
        assert_eq!((result.facts.source, result.topic.as_deref()), (Some(source), Some("emails")));
    }
    for (text, agent) in [("Lunch", Some("NONE")), ("A letter", Some("B")), ("A refusal", None)] {
        let result = ask(text).await;
        assert_eq!((result.agent.as_deref(), result.topic), (agent, None));
    }
    let llm = Llm::from_lookup(|_| None);
    let offline = llm.classify(Some("Finished e-mails, ready."), Some(WITH_TOPICS), None).await;
    assert_eq!((offline.facts.source, offline.topic.as_deref()), (Some(Source::Offline), Some("emails")));
}

#[tokio::test]
async fn offline_is_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = logged("http://127.0.0.1:9", folder.path());
    settings.provider = baton_llm::settings::Provider::Offline;
    let result = ask(&Llm::new(settings), "Three e-mails, ready to be sent", None).await;
    assert_eq!(result.facts.source, Some(Source::Offline));
    assert!(!folder.path().join("decisions.jsonl").exists());
}

#[tokio::test]
async fn a_log_that_cannot_be_read_asks_nobody_and_one_that_cannot_be_written_loses_no_answer() {
    let stub = Stub::start([completion(GOOD)]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("decisions.jsonl")).unwrap();
    let result = ask(&Llm::new(logged(&stub.url, folder.path())), "A lead", None).await;
    assert_eq!((result.status, stub.calls()), (Status::Config, 0));
    assert!(result.error.unwrap().contains("set BATON_LLM_DECISION_LOG to another file"));
    // No lock can be taken either, but there is nothing to find.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("decisions.jsonl.lock")).unwrap();
    let pipe = folder.path().join("host");
    std::fs::write(&pipe, "").unwrap();
    let llm = Llm::hosted(logged(&stub.url, folder.path()), &pipe);
    assert_eq!((ask(&llm, "A lead", None).await.status, stub.calls()), (Status::Ok, 1));
    let told = std::fs::read_to_string(&pipe).unwrap();
    assert!(told.contains("\"state\":\"warning\"") && told.contains("cannot be written"), "{told}");
}
