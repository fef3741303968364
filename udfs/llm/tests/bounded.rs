//! Budgets, rates and the breaker: calls are counted by the server that receives them.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::{Classification, Llm, Settings, Source, Status};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stub::{AGENTS, KEY, Stub, completion, say, settings};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

/// The tests' settings with these limits on top, as the environment sets them.
fn limited(url: &str, state: &Path, limits: &[(&str, &str)]) -> Settings {
    let mut set: HashMap<String, String> =
        limits.iter().map(|(n, v)| (format!("BATON_LLM_{n}"), (*v).into())).collect();
    set.insert("BATON_LLM_STATE_DIR".into(), state.to_str().unwrap().into());
    let read = Settings::from_lookup(|name| set.get(name).cloned()).unwrap();
    Settings { limits: read.limits, ..settings(url) }
}

async fn ask(llm: &Llm, text: &str, options: Option<&str>) -> Classification {
    let result = llm.classify(Some(text), Some(AGENTS), options).await;
    assert_eq!(result.agent.is_some(), result.status == Status::Ok);
    assert!(!serde_json::to_string(&result).unwrap().contains(KEY));
    result
}

/// Asks `rows` different questions at the same time.
async fn ask_at_once(llm: &Arc<Llm>, rows: usize) -> Vec<Classification> {
    let running: Vec<_> = (0..rows)
        .map(|row| {
            let llm = Arc::clone(llm);
            tokio::spawn(async move { ask(&llm, &format!("question {row}"), None).await })
        })
        .collect();
    let mut results = Vec::new();
    for row in running {
        results.push(row.await.unwrap());
    }
    results
}

#[tokio::test]
async fn a_budget_of_tokens_is_shared_and_outlives_who_used_it() {
    // An answer takes 13 tokens, a call at most its bytes and 4096.
    let stub = Stub::start([completion(GOOD)]).await;
    let state = tempfile::tempdir().unwrap();
    let set = || limited(&stub.url, state.path(), &[("BUDGET_TOKENS", "20000"), ("MAX_TOKENS", "100")]);
    let first = Llm::new(Settings { max_tokens: Some(100), ..set() });
    for row in 0..5 {
        assert_eq!(ask(&first, &format!("a{row}"), None).await.status, Status::Ok);
    }
    drop(first);
    let used = std::fs::read_to_string(state.path().join("usage.json")).unwrap();
    assert!(used.contains("\"tokens\":65,"), "{used}");
    // A call that does not fit by its upper bound is not sent, not even by another library.
    let second = Llm::new(set());
    let refused = ask(&second, "x", Some(r#"{"max_tokens":19900}"#)).await;
    assert_eq!((refused.status, refused.facts.attempts, stub.calls()), (Status::Budget, 0, 5));
    assert!(refused.error.unwrap().starts_with("BATON_LLM_BUDGET_TOKENS is 20000, of which 65 are used"));
    assert_eq!(ask(&second, "y", None).await.status, Status::Ok);
}

#[tokio::test]
async fn a_call_whose_outcome_is_not_known_stays_counted() {
    let answers = [completion(GOOD).after(Duration::from_secs(5)), say(500, ""), completion(GOOD)];
    let stub = Stub::start(answers).await;
    let state = tempfile::tempdir().unwrap();
    let llm = Llm::new(limited(&stub.url, state.path(), &[("BUDGET_TOKENS", "100000")]));
    let result = ask(&llm, "x", Some(r#"{"max_tokens":1000}"#)).await;
    assert_eq!((result.status, result.facts.attempts), (Status::Ok, 3), "{:?}", result.error);
    let used: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(state.path().join("usage.json")).unwrap()).unwrap();
    // The call that timed out counts by its bound, the refused one not at all, the last one by its usage.
    let used = used["tokens"].as_u64().unwrap();
    assert!((1000 + 13 + 500..1000 + 13 + 4000).contains(&used), "{used}");
}

#[tokio::test]
async fn a_budget_of_money_stops_calls_and_costs_are_told() {
    let stub = Stub::start([completion(GOOD)]).await;
    let state = tempfile::tempdir().unwrap();
    // 10 tokens in, 3 out: 10 × 1 + 3 × 2 millionths.
    let limits = [("BUDGET_COST_PER_DAY", "0.01"), ("PRICES", "m=1/2")];
    let llm = Llm::new(limited(&stub.url, state.path(), &limits));
    let options = r#"{"max_tokens":1000}"#;
    let result = ask(&llm, "x", Some(options)).await;
    assert_eq!(result.status, Status::Ok, "{:?}", result.error);
    assert!((result.facts.cost.unwrap() - 16e-6).abs() < 1e-12, "{:?}", result.facts.cost);
    let refused = ask(&llm, "y", Some(r#"{"max_tokens":5000}"#)).await;
    assert_eq!((refused.status, stub.calls()), (Status::Budget, 1));
    // A model without a price cannot be counted.
    let unpriced = ask(&llm, "z", Some(r#"{"model":"other"}"#)).await;
    assert_eq!((unpriced.status, stub.calls()), (Status::Config, 1));
    assert!(unpriced.error.unwrap().contains("no price for the model other: set it in BATON_LLM_PRICES"));
}

#[tokio::test]
async fn an_agent_has_a_budget_of_its_own() {
    let stub = Stub::start([completion(GOOD)]).await;
    let state = tempfile::tempdir().unwrap();
    let set = || limited(&stub.url, state.path(), &[("PRICES", "m=1/2")]);
    // A call is counted by its bytes and 100 tokens at most, and takes 13.
    let options = |name: &str| format!(r#"{{"max_tokens":100,"budget_tokens":4000,"budget_name":"{name}"}}"#);
    let first = Llm::new(set());
    for row in 0..3 {
        assert_eq!(ask(&first, &format!("a{row}"), Some(&options("A"))).await.status, Status::Ok);
    }
    // Another process knows what the first one used.
    drop(first);
    let second = Llm::new(set());
    let greedy = r#"{"max_tokens":3990,"budget_tokens":4000,"budget_name":"A"}"#;
    let refused = ask(&second, "b", Some(greedy)).await;
    assert_eq!((refused.status, stub.calls()), (Status::Budget, 3));
    let error = refused.error.unwrap();
    assert!(error.starts_with("the option `budget_tokens` of `A` is 4000, of which 39 are used"), "{error}");
    // Another agent has its own, and calls without a budget are not counted.
    assert_eq!(ask(&second, "b", Some(&options("B"))).await.status, Status::Ok);
    assert_eq!(ask(&second, "c", None).await.status, Status::Ok);
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 2);
    // Money, for a model without a price.
    let unpriced = r#"{"model":"other","budget_cost_per_day":5,"budget_name":"C"}"#;
    let result = ask(&second, "d", Some(unpriced)).await;
    assert_eq!((result.status, stub.calls()), (Status::Config, 5));
    assert!(result.error.unwrap().contains("BATON_LLM_PRICES"));
}

#[tokio::test]
async fn a_budget_that_is_nearly_used_up_is_reported_once() {
    let stub = Stub::start([completion(GOOD)]).await;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    std::fs::write(&pipe, "").unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    // 80 % used by an earlier process.
    let used = r#"{"version":1,"day":0,"tokens_of_day":0,"cost_of_day":0,"tokens":80000,"cost":0,"requests_paid":0,"tokens_paid":0}"#;
    std::fs::write(state.join("usage.json"), used).unwrap();
    let llm = Llm::hosted(limited(&stub.url, &state, &[("BUDGET_TOKENS", "100000")]), &pipe);
    for row in 0..3 {
        assert_eq!(ask(&llm, &format!("a{row}"), Some(r#"{"max_tokens":100}"#)).await.status, Status::Ok);
    }
    let told = std::fs::read_to_string(&pipe).unwrap();
    let warning = r#""state":"warning","why":"80 % of BATON_LLM_BUDGET_TOKENS (100000) are used or held for calls""#;
    assert_eq!(told.matches(warning).count(), 1, "{told}");
    assert_eq!(told.matches("warning").count(), 1, "{told}");
}

#[tokio::test]
async fn a_key_that_is_not_sent_is_named_when_a_server_wants_one() {
    let stub = Stub::start([say(401, "no key")]).await;
    let mut set = settings(&stub.url);
    set.api_key = None;
    set.openai_key = Some(baton_llm::Secret::new(KEY));
    let error = ask(&Llm::new(set), "x", None).await.error.unwrap();
    let hint =
        "No key was sent, because OPENAI_API_KEY is sent to api.openai.com alone: set BATON_LLM_API_KEY for 127.0.0.1";
    assert!(error.ends_with(hint), "{error}");
    assert!(!stub.asked()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_price_alone_tells_costs() {
    let stub = Stub::start([completion(GOOD)]).await;
    let state = tempfile::tempdir().unwrap();
    let llm = Llm::new(limited(&stub.url, state.path(), &[("PRICES", "*=1/2")]));
    assert!(ask(&llm, "x", None).await.facts.cost.unwrap() > 0.0);
    let llm = Llm::new(limited(&stub.url, state.path(), &[]));
    assert_eq!(ask(&llm, "x", None).await.facts.cost, None);
    assert!(!state.path().join("usage.json").exists());
}

#[tokio::test]
async fn a_budget_is_never_passed_by_rows_at_once() {
    let stub = Stub::start([completion(GOOD).after(Duration::from_millis(20))]).await;
    let state = tempfile::tempdir().unwrap();
    let limits = [("BUDGET_TOKENS", "10000"), ("MAX_TOKENS", "100")];
    let one = Arc::new(Llm::new(Settings { max_tokens: Some(100), ..limited(&stub.url, state.path(), &limits) }));
    // About three fit at a time; the waiting ones get what is released.
    let results = ask_at_once(&one, 60).await;
    assert!(results.iter().all(|result| result.status == Status::Ok));
    assert!(stub.most_at_once() <= 10, "{}", stub.most_at_once());
}

#[tokio::test]
async fn a_rate_of_requests_is_kept_by_two_together() {
    let stub = Stub::start([completion(GOOD)]).await;
    let state = tempfile::tempdir().unwrap();
    // 1200 a minute: 20 at once, and then one every 51 ms.
    let set = || limited(&stub.url, state.path(), &[("REQUESTS_PER_MINUTE", "1200")]);
    let (one, two) = (Arc::new(Llm::new(set())), Arc::new(Llm::new(set())));
    let started = Instant::now();
    let (a, b) = tokio::join!(ask_at_once(&one, 30), ask_at_once(&two, 30));
    let took = started.elapsed();
    assert!(a.iter().chain(&b).all(|result| result.facts.attempts <= 1));
    // Identical questions of two libraries are asked by each.
    assert_eq!(stub.calls(), 60);
    assert!(took >= Duration::from_millis(2000), "{took:?}");
    // Far more time than needed: the limit is fully used, and no row waits for ever.
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[tokio::test]
async fn a_dead_server_is_left_alone() {
    let stub = Stub::start([say(503, "down")]).await;
    let state = tempfile::tempdir().unwrap();
    let mut set = limited(&stub.url, state.path(), &[("BREAKER", "10")]);
    set.concurrency = 4;
    set.deadline = Duration::from_millis(500);
    set.backoff.base = Duration::from_millis(50);
    set.backoff.cap = Duration::from_millis(200);
    let results = ask_at_once(&Arc::new(Llm::new(set.clone())), 200).await;
    // A call sent just before its row's deadline has no time.
    let dead = |result: &Classification| matches!(result.status, Status::Unavailable | Status::Timeout);
    assert!(results.iter().all(dead));
    let alone =
        results.iter().filter(|result| result.error.as_ref().unwrap().contains("circuit breaker is open")).count();
    assert!(alone > 150, "{alone}");
    assert!(stub.calls() < 40, "{}", stub.calls());
    // With the breaker off, every row has all its retries.
    set.limits.breaker = 0;
    let off = Stub::start([say(503, "down")]).await;
    set.base_url = Some(format!("{}/v1", off.url).parse().unwrap());
    set.deadline = Duration::from_secs(3);
    ask_at_once(&Arc::new(Llm::new(set)), 50).await;
    assert_eq!(off.calls(), 150);
}

#[tokio::test]
async fn identical_questions_at_once_share_one_call() {
    let stub = Stub::start([completion(GOOD).after(Duration::from_millis(100))]).await;
    let llm = Arc::new(Llm::new(settings(&stub.url)));
    let rows: Vec<_> = (0..10)
        .map(|_| {
            let llm = Arc::clone(&llm);
            tokio::spawn(async move { ask(&llm, "the same", None).await })
        })
        .collect();
    let mut sources = Vec::new();
    for row in rows {
        let result = row.await.unwrap();
        assert_eq!(result.agent.as_deref(), Some("Send Email Agent"));
        if result.facts.source == Some(Source::Shared) {
            let facts = &result.facts;
            assert_eq!((facts.attempts, facts.prompt_tokens, facts.cost), (0, Some(0), Some(0.0)));
            assert_eq!(facts.model.as_deref(), Some("stub-1"));
        }
        sources.push(result.facts.source.unwrap());
    }
    assert_eq!((stub.calls(), sources.iter().filter(|source| **source == Source::Shared).count()), (1, 9));
    // Other options, another agent list, another text: another question.
    tokio::join!(
        ask(&llm, "the same", None),
        ask(&llm, "the same", Some(r#"{"prompt":"Otherwise"}"#)),
        ask(&llm, "the same ", None)
    );
    assert_eq!(stub.calls(), 4);
}

#[tokio::test]
async fn a_failure_is_shared_too() {
    let stub = Stub::start([say(404, "no such model").after(Duration::from_millis(50))]).await;
    let llm = Arc::new(Llm::new(settings(&stub.url)));
    let (a, b) = tokio::join!(ask(&llm, "x", None), ask(&llm, "x", None));
    assert_eq!((a.status, b.status, stub.calls()), (Status::Rejected, Status::Rejected, 1));
}
