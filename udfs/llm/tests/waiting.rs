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
    assert_eq!((result.status, result.facts.attempts as usize), (Status::Ok, count + 1), "{:?}", result.error);
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
    assert_eq!((result.status, result.facts.attempts), (Status::Ok, 7), "{:?}", result.error);
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
async fn a_refused_key_ends_the_engine_and_no_row() {
    for (answers, ends) in [
        (vec![say(401, "wrong key")], true),
        (vec![say(404, "no such model")], true),
        (vec![completion(GOOD), say(401, "revoked")], true),
        (vec![completion(GOOD), say(404, "odd")], false),
        (vec![completion(GOOD), say(403, "not this text")], false),
        (vec![say(400, "too long")], false),
        (vec![completion(GOOD), say(400, r#"{"error":{"message":"Your credit balance is too low to go on"}}"#)], true),
        // A server that quotes a message must not let it stop the engine.
        (vec![say(400, r#"{"error":{"message":"not taken: 'my credit balance is too low'"}}"#)], false),
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
        assert_eq!((rejected(), last.is_finished()), (ends, !ends), "{shown}");
        last.abort();
        assert!(!engine.told().contains(stub::KEY));
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
