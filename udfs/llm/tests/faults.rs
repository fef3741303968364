//! Every fault of a model's server, in both protocols: the row's status, the number of HTTP calls, and the time they
//! take.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::settings::Provider;
use baton_llm::{Classification, Llm, Settings, Source, Status};
use std::time::{Duration, Instant, SystemTime};
use stub::{AGENTS, KEY, PROVIDERS, Say, Stub, Wire, answer_of, completion, llm, raw, say, settings, settings_of};

const GOOD: &str = r#"{"agent":"Send Email Agent"}"#;

async fn ask(llm: &Llm) -> (Classification, Duration) {
    let started = Instant::now();
    let result = llm.classify(Some("Three e-mails, ready to be sent"), Some(AGENTS), None).await;
    let text = serde_json::to_string(&result).unwrap();
    assert!(!text.contains(KEY), "the key is in {text}");
    assert_eq!(result.agent.is_some(), result.status == Status::Ok, "{text}");
    assert_eq!(result.error.is_none(), result.status == Status::Ok, "{text}");
    assert_eq!(result.facts.source, Some(Source::Model));
    (result, started.elapsed())
}

/// The server's answers, the row's status, HTTP calls, and a part of the error.
async fn check(provider: Provider, name: &str, answers: Vec<Say>, status: Status, calls: usize, error: &str) {
    let name = format!("{provider}, {name}");
    let stub = Stub::start(answers).await;
    // All cases run at once, and each makes a client: on a busy machine that takes more than the 400 ms of other tests.
    let (timeout, deadline) = (Duration::from_secs(2), Duration::from_secs(20));
    let settings = Settings { timeout, deadline, ..settings_of(provider, &stub.url) };
    let (result, took) = ask(&Llm::new(settings)).await;
    let shown = result.error.clone().unwrap_or_default();
    assert_eq!(result.status, status, "{name}: {shown}");
    assert_eq!(stub.calls(), calls, "{name}: HTTP calls; {shown}");
    assert_eq!(result.facts.attempts as usize, calls, "{name}: attempts");
    assert!(shown.contains(error), "{name}: {shown}");
    assert!(took < deadline, "{name}: {took:?}");
}

/// The server's answers, the row's status, HTTP calls, and a part of the error, each with a name.
fn cases(provider: Provider) -> Vec<(&'static str, Vec<Say>, Status, usize, &'static str)> {
    let completion = |content: &str| answer_of(provider, content);
    let (nothing, none) = match provider {
        Provider::Anthropic => (r#"{"content":[]}"#, "no message: ]]garbage"),
        _ => (r#"{"choices":[{}]}"#, "no chat completion: ]]garbage"),
    };
    let wrong = r#"{"agent":"Send Emails Agent"}"#;
    // What a request can do without is left out, in case that is why a server fails.
    let features = if provider == Provider::Anthropic { 3 } else { 5 };
    let date = |seconds| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
    let quotes_key = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}"}}}}"#);
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let large = vec![b' '; 10_000_001];
    vec![
        ("ok", vec![completion(GOOD)], Status::Ok, 1, ""),
        ("content that quotes", vec![completion(KEY)], Status::Invalid, 2, "not defined: ***"),
        ("401", vec![say(401, quotes_key)], Status::Rejected, 1, "key provided: ***. Check BATON_LLM_API_KEY"),
        ("403", vec![say(403, "")], Status::Rejected, 1, "answers 403 Forbidden"),
        ("404", vec![say(404, r#"{"error":"no model m"}"#)], Status::Rejected, 1, "no model m. Check BATON_LLM_BASE"),
        ("400", vec![say(400, "context too long")], Status::Rejected, 1, "answers 400 Bad Request: context too long"),
        ("redirect", vec![say(302, "").header("location", "/x")], Status::Rejected, 1, "That is a redirect"),
        ("429", vec![say(429, "")], Status::RateLimited, 3, "answers 429 Too Many Requests"),
        ("429, then ok", vec![say(429, ""), completion(GOOD)], Status::Ok, 2, ""),
        ("429, 0 s", vec![say(429, "").header("retry-after", "0"), completion(GOOD)], Status::Ok, 2, ""),
        (
            "429, 60 s",
            vec![say(429, "").header("retry-after", "60"), completion(GOOD)],
            Status::RateLimited,
            1,
            "it asks to wait 60 s, which is past the row's deadline",
        ),
        (
            "429, a date",
            vec![say(429, "").header("retry-after", &date(100)), completion(GOOD)],
            Status::RateLimited,
            1,
            "past the row's deadline",
        ),
        (
            "429, a date that is over",
            vec![say(429, "").header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), completion(GOOD)],
            Status::Ok,
            2,
            "",
        ),
        ("500", vec![say(500, "oops")], Status::Unavailable, 3 + features, "answers 500 Internal Server Error: oops"),
        ("503", vec![say(503, "<html>down</html>")], Status::Unavailable, 3, "503 Service Unavailable: an HTML page"),
        ("529", vec![say(529, overloaded)], Status::Unavailable, 3, "answers 529: Overloaded"),
        ("503, then ok", vec![say(503, ""), say(500, ""), completion(GOOD)], Status::Ok, 3, ""),
        ("garbage", vec![say(200, "]]garbage")], Status::Invalid, 2, none),
        ("empty", vec![say(200, "")], Status::Invalid, 2, "answers 200 with an empty body"),
        ("HTML", vec![say(200, "<html></html>")], Status::Invalid, 2, "an HTML page. Check BATON_LLM_BASE_URL"),
        ("no answer in it", vec![say(200, nothing)], Status::Invalid, 2, "the model's answer is empty (asked twice)"),
        (
            "an error that is called 200",
            vec![say(200, r#"{"error":{"message":"busy"}}"#)],
            Status::Unavailable,
            3,
            "answers 200 OK with the error 502: busy",
        ),
        ("garbage, then ok", vec![say(200, "x"), completion(GOOD)], Status::Ok, 2, ""),
        ("wrong name, then ok", vec![completion(wrong), completion(GOOD)], Status::Ok, 2, ""),
        (
            "wrong name twice",
            vec![completion(wrong)],
            Status::Invalid,
            2,
            "not defined: Send Emails Agent (asked twice)",
        ),
        ("empty content", vec![completion(" ")], Status::Invalid, 2, "the model's answer is empty"),
        ("larger than 10 MB", vec![say(200, large)], Status::Invalid, 1, "is larger than 10000000 bytes"),
        ("slow", vec![completion(GOOD).after(Duration::from_secs(30))], Status::Timeout, 3, "within 2000 ms"),
        ("slow, then ok", vec![completion(GOOD).after(Duration::from_secs(30)), completion(GOOD)], Status::Ok, 2, ""),
    ]
}

#[tokio::test]
async fn answers_of_a_server() {
    let mut running = Vec::new();
    for provider in PROVIDERS {
        for (name, answers, status, calls, error) in cases(provider) {
            running.push(tokio::spawn(check(provider, name, answers, status, calls, error)));
        }
    }
    for case in running {
        case.await.unwrap();
    }
}

#[tokio::test]
async fn retry_after_is_kept() {
    let stub = Stub::start([say(429, "").header("retry-after", "1"), completion(GOOD)]).await;
    let (result, took) = ask(&llm(&stub.url)).await;
    assert_eq!((result.status, stub.calls()), (Status::Ok, 2));
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn connections_that_fail() {
    let faults = [
        (Wire::Hang, Status::Timeout, "no answer from http://127.0.0.1:"),
        (Wire::Trickle, Status::Timeout, "within 400 ms"),
        (Wire::Reset, Status::Unavailable, "http://127.0.0.1:"),
        (Wire::Close, Status::Unavailable, "the answer broke off from"),
        (Wire::Gibberish, Status::Unavailable, "the connection was lost to"),
    ];
    for (provider, (wire, status, error)) in
        PROVIDERS.into_iter().flat_map(|provider| faults.map(|fault| (provider, fault)))
    {
        let (url, connections) = raw(wire).await;
        let (result, took) = ask(&Llm::new(settings_of(provider, &url))).await;
        let shown = result.error.unwrap();
        assert_eq!(result.status, status, "{wire:?}: {shown}");
        assert_eq!((result.facts.attempts, *connections.lock().unwrap()), (3, 3), "{wire:?}: {shown}");
        assert!(shown.contains(error), "{wire:?}: {shown}");
        assert!(took < Duration::from_secs(2), "{wire:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    for provider in PROVIDERS {
        let (url, _) = raw(Wire::Flood).await;
        let mut settings = settings_of(provider, &url);
        settings.timeout = Duration::from_secs(3);
        let (result, _) = ask(&Llm::new(settings)).await;
        assert_eq!(result.status, Status::Invalid, "{:?}", result.error);
        assert_eq!(result.facts.attempts, 1);
    }
}

#[tokio::test]
async fn nobody_listens() {
    for provider in PROVIDERS {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let (result, took) = ask(&Llm::new(settings_of(provider, &url))).await;
        assert_eq!((result.status, result.facts.attempts), (Status::Unavailable, 3));
        assert!(result.error.unwrap().starts_with(&format!("cannot connect to {url}: ")));
        assert!(took < Duration::from_secs(2));
        let mut settings = settings_of(provider, "http://nowhere.invalid");
        settings.timeout = Duration::from_secs(5);
        let (result, _) = ask(&Llm::new(settings)).await;
        assert_eq!(result.status, Status::Unavailable, "{:?}", result.error);
    }
}

#[tokio::test]
async fn tls_that_is_none() {
    for provider in PROVIDERS {
        let stub = Stub::start([answer_of(provider, GOOD)]).await;
        let (result, _) = ask(&Llm::new(settings_of(provider, &stub.url.replace("http:", "https:")))).await;
        assert_eq!((result.status, stub.calls()), (Status::Unavailable, 0), "{:?}", result.error);
    }
}

#[tokio::test]
async fn the_deadline_ends_a_row_before_its_tries_do() {
    let (url, _) = raw(Wire::Hang).await;
    let mut settings = settings(&url);
    settings.timeout = Duration::from_millis(300);
    settings.deadline = Duration::from_millis(450);
    settings.retries = 10;
    let (result, took) = ask(&Llm::new(settings)).await;
    assert_eq!(result.status, Status::Timeout);
    assert!(result.facts.attempts <= 2, "{}", result.facts.attempts);
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[tokio::test]
async fn no_retries_is_one_call() {
    let stub = Stub::start([say(500, "")]).await;
    let mut settings = settings(&stub.url);
    settings.retries = 0;
    let (result, _) = ask(&Llm::new(settings)).await;
    assert_eq!((result.status, stub.calls()), (Status::Unavailable, 1));
}

#[tokio::test]
async fn the_limit_of_calls_at_a_time_is_kept_and_does_not_eat_their_time() {
    let stub = Stub::start([completion(GOOD).after(Duration::from_millis(60))]).await;
    let mut settings = settings(&stub.url);
    settings.concurrency = 2;
    settings.timeout = Duration::from_secs(2);
    settings.deadline = Duration::from_secs(2);
    let llm = std::sync::Arc::new(Llm::new(settings));
    // They take longer than the deadline of one.
    let rows: Vec<_> = (0..80)
        .map(|row| {
            let llm = std::sync::Arc::clone(&llm);
            // Different questions, because identical ones would share a call.
            tokio::spawn(async move { llm.classify(Some(&format!("{row}")), Some(AGENTS), None).await.status })
        })
        .collect();
    for row in rows {
        assert_eq!(row.await.unwrap(), Status::Ok);
    }
    assert_eq!((stub.calls(), stub.most_at_once()), (80, 2));
}

#[test]
fn a_new_runtime_gets_a_working_client() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let stub = servers.block_on(Stub::start([completion(GOOD)]));
    let llm = llm(&stub.url);
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (result, _) = runtime.block_on(ask(&llm));
        assert_eq!((result.status, result.facts.attempts), (Status::Ok, 1), "{:?}", result.error);
    }
}
