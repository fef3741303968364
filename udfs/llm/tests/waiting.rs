//! An engine that waits for its rows: a dead model loses no row, and a refused key stops the engine.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::{Llm, Settings, Status};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stub::{AGENTS, Asked, Say, Stub, completion, say, settings};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

/// A file instead of the pipe, which keeps the reports.
struct Engine {
    _folder: tempfile::TempDir,
    pipe: PathBuf,
}

impl Engine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("host");
        std::fs::write(&pipe, "").unwrap();
        Self { _folder: folder, pipe }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.pipe).unwrap()
    }
}

fn hosted(url: &str, pipe: &Path) -> Llm {
    let mut settings = settings(url);
    settings.deadline = Duration::from_millis(300);
    settings.timeout = Duration::from_millis(200);
    Llm::hosted(settings, pipe)
}

/// Returns when `holds` returns true.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn waits_for(faults: Vec<Say>, why: &str) {
    let engine = Engine::new();
    let count = faults.len();
    let stub = Stub::start(faults.into_iter().chain([completion(GOOD)])).await;
    let llm = hosted(&stub.url, &engine.pipe);
    let result = llm.classify(Some("x"), Some(AGENTS), None).await;
    assert_eq!(result.status, Status::Ok, "{:?}", result.error);
    // Some calls were harmless questions: the row was alone.
    assert!(stub.calls() > count && result.facts.attempts as usize > count / 2, "{}", result.facts.attempts);
    let told = engine.told();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(
        lines[0].starts_with(r#"{"udf":"llm_classify","state":"waiting","why":""#) && lines[0].contains(why),
        "{told}"
    );
    assert_eq!(lines[1], r#"{"udf":"llm_classify","state":"working"}"#);
}

#[tokio::test]
async fn a_row_waits_for_a_model_that_does_not_answer() {
    waits_for(vec![say(503, "loading"); 30], "503 Service Unavailable: loading").await;
    waits_for(vec![say(429, ""); 30], "429 Too Many Requests").await;
    waits_for(vec![completion(GOOD).after(Duration::from_secs(30)); 5], "within 200 ms").await;
}

#[tokio::test]
async fn nobody_listens_until_somebody_does() {
    let engine = Engine::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let llm = Arc::new(hosted(&format!("http://{address}"), &engine.pipe));
    let rows: Vec<_> = (0..50)
        .map(|row| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await.status })
        })
        .collect();
    until("rows wait", || engine.told().contains("waiting")).await;
    // Longer than the deadline of a row.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(rows.iter().all(|row| !row.is_finished()));
    let stub = Stub::start_at(address, [completion(GOOD)]).await;
    for row in rows {
        assert_eq!(row.await.unwrap(), Status::Ok);
    }
    assert_eq!(stub.calls(), 50);
    assert!(engine.told().ends_with("\"state\":\"working\"}\n"));
}

#[tokio::test]
async fn a_row_that_was_on_its_way_when_the_model_died_waits_too() {
    let engine = Engine::new();
    let dying = [say(503, "").after(Duration::from_millis(100)), completion(GOOD)];
    let dead = vec![say(503, ""); 5];
    let stub = Stub::start(dying.into_iter().chain(dead).chain([completion(GOOD)])).await;
    let mut settings = settings(&stub.url);
    settings.retries = 0;
    let llm = Arc::new(Llm::hosted(settings, &engine.pipe));
    let row = tokio::spawn({
        let llm = Arc::clone(&llm);
        async move { llm.classify(Some("on its way"), Some(AGENTS), None).await }
    });
    until("it is on its way", || stub.calls() == 1).await;
    assert_eq!(llm.classify(Some("the last"), Some(AGENTS), None).await.status, Status::Ok);
    let result = row.await.unwrap();
    assert_eq!(result.status, Status::Ok, "{:?}", result.error);
    assert!(stub.calls() >= 8, "{} calls", stub.calls());
}

#[tokio::test]
async fn rows_that_a_breaker_holds_back_are_told_of() {
    let engine = Engine::new();
    let stub = Stub::start([say(503, "loading")]).await;
    let mut settings = settings(&stub.url);
    settings.limits.breaker = 3;
    let llm = Arc::new(Llm::hosted(settings, &engine.pipe));
    let rows: Vec<_> = (0..200)
        .map(|row| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await })
        })
        .collect();
    until("it is told that rows wait", || engine.told().contains("waiting")).await;
    assert!(stub.calls() < 150, "{} calls before anybody was told", stub.calls());
    rows.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_row_that_fails_alone_ends() {
    fn judge(asked: &Asked) -> Say {
        if String::from_utf8_lossy(&asked.body).contains("poison") { say(500, "crash") } else { completion(GOOD) }
    }
    let engine = Engine::new();
    let stub = Stub::judging(judge).await;
    let llm = Arc::new(hosted(&stub.url, &engine.pipe));
    let others = tokio::spawn({
        let llm = Arc::clone(&llm);
        async move {
            for row in 0.. {
                llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await;
            }
        }
    });
    let result = llm.classify(Some("poison"), Some(AGENTS), None).await;
    others.abort();
    assert_eq!(result.status, Status::Unavailable, "{:?}", result.error);
}

#[tokio::test]
async fn what_the_server_refuses_to_everybody_ends_the_engine_and_no_row() {
    let credit = r#"{"error":{"message":"Your credit balance is too low to go on"}}"#;
    let quota = r#"{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}"#;
    for (answers, setting) in [
        (vec![say(401, "wrong key")], "BATON_LLM_API_KEY"),
        (vec![say(404, "no such model")], "BATON_LLM_MODEL"),
        (vec![completion(GOOD), say(401, "revoked")], "BATON_LLM_API_KEY"),
        (vec![completion(GOOD), say(404, "odd")], "BATON_LLM_BASE_URL"),
        (vec![completion(GOOD), say(403, "not you")], "BATON_LLM_API_KEY"),
        (vec![completion(GOOD), say(400, "odd")], "BATON_LLM_MODEL"),
        (vec![completion(GOOD), say(400, credit)], "BATON_LLM_API_KEY"),
        (vec![say(429, quota)], "BATON_LLM_API_KEY"),
        (vec![completion(GOOD), say(422, "")], "BATON_LLM_MODEL"),
        (vec![say(302, "").header("location", "/x")], "BATON_LLM_BASE_URL"),
        (vec![say(200, "<html>Welcome</html>")], "BATON_LLM_BASE_URL"),
    ] {
        let engine = Engine::new();
        let before = answers.len() - 1;
        let shown = format!("{answers:?}");
        let stub = Stub::start(answers).await;
        let llm = Arc::new(hosted(&stub.url, &engine.pipe));
        for row in 0..before {
            llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await;
        }
        let last = tokio::spawn(async move { llm.classify(Some("x"), Some(AGENTS), None).await.status });
        let rejected = || engine.told().contains("\"state\":\"rejected\"");
        until("the row ends, or the engine is told", || last.is_finished() || rejected()).await;
        assert!(rejected() && !last.is_finished(), "{shown}");
        last.abort();
        assert!(engine.told().contains(setting), "{shown}: {}", engine.told());
        assert!(!engine.told().contains(stub::KEY));
    }
}

#[tokio::test]
async fn what_the_server_refuses_to_one_message_costs_that_message_alone() {
    fn judge(asked: &Asked) -> Say {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let message = |status: u16, message: &str| {
            say(status, serde_json::json!({ "error": { "message": message } }).to_string())
        };
        match body.find("poison ").map(|at| &body[at + 7..at + 8]) {
            None => completion(GOOD),
            Some("0") => message(400, "This model's maximum context length is 8192 tokens"),
            Some("1") => say(400, r#"{"error":{"code":"content_filter","message":"filtered"}}"#),
            Some("2") => message(400, "odd"),
            Some("3") => message(403, "not this text"),
            // A server that quotes a message must not let it stop the engine.
            Some("4") => message(400, "not taken: 'your credit balance is too low'"),
            Some("5") => message(404, "x"),
            Some("6") => say(500, "crash"),
            Some(_) => say(413, "too large"),
        }
    }
    // Nobody else is asked, and others are asked at the same time.
    for others in [0, 30] {
        let engine = Engine::new();
        let stub = Stub::judging(judge).await;
        let llm = Arc::new(hosted(&stub.url, &engine.pipe));
        let ask = |text: String| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { llm.classify(Some(&text), Some(AGENTS), None).await })
        };
        let good: Vec<_> = (0..others).map(|row| ask(format!("good {row}"))).collect();
        let bad: Vec<_> = (0..8).map(|kind| ask(format!("poison {kind}"))).collect();
        for (kind, row) in bad.into_iter().enumerate() {
            let result = tokio::time::timeout(Duration::from_secs(20), row).await;
            let result = result.unwrap_or_else(|_| panic!("{kind} is waited for; {}", engine.told())).unwrap();
            let expected = if kind == 6 { Status::Unavailable } else { Status::Rejected };
            assert_eq!(result.status, expected, "{kind}: {:?}", result.error);
        }
        for row in good {
            assert_eq!(row.await.unwrap().status, Status::Ok);
        }
        assert!(!engine.told().contains("rejected"), "{}", engine.told());
    }
}

#[tokio::test]
async fn without_such_an_engine_every_row_ends() {
    let stub = Stub::start([say(503, "")]).await;
    let llm = Llm::new(Settings { deadline: Duration::from_millis(300), ..settings(&stub.url) });
    let started = Instant::now();
    assert_eq!(llm.classify(Some("x"), Some(AGENTS), None).await.status, Status::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(1));
}
