//! Agents that are HTTP services: requests, and the result of each answer.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::settings::Backoff;
use baton_llm::{HttpCaller, HttpSettings, Status};
use std::time::Duration;
use stub::{KEY, Say, Stub, Wire, raw, say};

fn caller() -> HttpCaller {
    let settings = HttpSettings {
        timeout: Duration::from_millis(300),
        timeout_is_set: true,
        deadline: Duration::from_secs(2),
        backoff: Backoff { base: Duration::from_millis(2), cap: Duration::from_millis(10) },
        ..HttpSettings::default()
    };
    HttpCaller::new(settings, |name| (name == "AGENT_TOKEN").then(|| KEY.to_owned()))
}

const OPTIONS: &str = r#"{"headers":{"Authorization":"Bearer ${AGENT_TOKEN}"},"idempotency_key":"m-1"}"#;

#[tokio::test]
async fn a_call_goes_out_as_the_options_say() {
    let stub = Stub::start([say(201, "done: ü")]).await;
    let url = format!("{}/work?x=1", stub.url);
    let answer = caller().call(Some(&url), Some(r#"{"a":1}"#), Some(OPTIONS)).await;
    assert_eq!((answer.status, answer.http_status, answer.attempts), (Status::Ok, Some(201), 1));
    assert_eq!((answer.body.as_deref(), answer.error), (Some("done: ü"), None));
    let asked = stub.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.body), ("POST", "/work?x=1", br#"{"a":1}"#.to_vec()));
    assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(asked.headers["idempotency-key"], "m-1");
    assert_eq!(asked.headers["content-type"], "application/json");
    let get = r#"{"method":"get","content_type":"text/plain"}"#;
    caller().call(Some(&stub.url), None, Some(get)).await;
    let asked = stub.asked().remove(1);
    assert_eq!((asked.method.as_str(), asked.body.len()), ("GET", 0));
    assert_eq!(asked.headers["content-type"], "text/plain");
}

#[tokio::test]
async fn every_answer_has_its_status() {
    // The agent's answers, the row's status, HTTP calls, and the row's body.
    type Case = (&'static str, Vec<Say>, Status, usize, Option<&'static str>);
    let cases: Vec<Case> = vec![
        ("400", vec![say(400, "no")], Status::Rejected, 1, Some("no")),
        ("401 that quotes", vec![say(401, format!("bad {KEY}"))], Status::Rejected, 1, Some("bad ***")),
        ("200 that quotes", vec![say(200, format!("got {KEY}"))], Status::Ok, 1, Some("got ***")),
        ("429", vec![say(429, "")], Status::RateLimited, 3, Some("")),
        ("503, then ok", vec![say(503, ""), say(200, "ok")], Status::Ok, 2, Some("ok")),
        ("500", vec![say(500, "oops")], Status::Unavailable, 3, Some("oops")),
        ("slow", vec![say(200, "").after(Duration::from_secs(3))], Status::Timeout, 3, None),
        ("not UTF-8", vec![say(200, [0xff])], Status::Invalid, 1, None),
        ("too large", vec![say(200, vec![b'x'; 10_000_001])], Status::Invalid, 1, None),
        (
            "redirect",
            vec![say(307, "").header("location", "https://elsewhere.invalid/")],
            Status::Rejected,
            1,
            Some(""),
        ),
        (
            "redirect that drops the body",
            vec![say(302, "").header("location", "/there"), say(200, "")],
            Status::Rejected,
            1,
            Some(""),
        ),
        ("redirect in place", vec![say(308, "").header("location", "/there"), say(200, "y")], Status::Ok, 2, Some("y")),
    ];
    for (name, answers, status, calls, body) in cases {
        let stub = Stub::start(answers).await;
        let answer = caller().call(Some(&stub.url), Some("x"), Some(OPTIONS)).await;
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!((answer.status, stub.calls()), (status, calls), "{name}: {}", answer.error.unwrap_or_default());
        assert_eq!(answer.body.as_deref(), body, "{name}");
        assert!(!text.contains(KEY), "{name}: {text}");
        assert!(stub.asked().iter().all(|asked| asked.headers["idempotency-key"] == "m-1"), "{name}");
    }
}

#[tokio::test]
async fn what_a_url_takes_from_the_environment_is_seen_by_the_service_alone() {
    // A secret with characters that a URL encodes, one that is a whole URL, and a service that quotes both.
    const SECRET: &str = "canary key/1";
    let said = "no canary%20key%2F1, canary%20key/1, canary key/1, secret-path";
    for (variable, expected) in [("KEY", "/secret-path?key=canary%20key/1"), ("URL", "/secret-path?key=canary%20key/1")]
    {
        for (status, last) in [(200, Status::Ok), (403, Status::Rejected), (500, Status::Unavailable)] {
            let stub = Stub::start([say(status, said)]).await;
            let whole = format!("{}/secret-path?key={SECRET}", stub.url);
            let caller =
                HttpCaller::new(HttpSettings { retries: 0, ..HttpSettings::default() }, move |name| match name {
                    "KEY" => Some(SECRET.to_owned()),
                    "URL" => Some(whole.clone()),
                    _ => None,
                });
            let url =
                if variable == "KEY" { format!("{}/secret-path?key=${{KEY}}", stub.url) } else { "${URL}".into() };
            let answer = caller.call(Some(&url), Some("x"), None).await;
            assert_eq!((answer.status, stub.asked().remove(0).path.as_str()), (last, expected), "{:?}", answer.error);
            let text = serde_json::to_string(&answer).unwrap();
            assert!(!text.contains("canary") && !text.contains("key/1"), "{text}");
            if variable == "URL" {
                assert!(!text.contains(&stub.url) && (status == 200 || text.contains("${URL} answers")), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_service_that_the_environment_names_is_not_named_when_it_is_not_there() {
    for url in ["http://${HOST}:1/x", "http://${HOST}/x", "https://user:${TOKEN}@${HOST}/x"] {
        let settings = HttpSettings { retries: 0, ..HttpSettings::default() };
        let caller = HttpCaller::new(settings, |name| match name {
            "HOST" => Some("canary-host.invalid".to_owned()),
            "TOKEN" => Some("canary".to_owned()),
            _ => None,
        });
        let answer = caller.call(Some(url), Some("x"), None).await;
        let error = answer.error.unwrap();
        assert_eq!(answer.status, Status::Unavailable, "{error}");
        assert!(error.contains("${HOST}") && !error.contains("canary") && !error.contains("user"), "{error}");
    }
}

#[tokio::test]
async fn connections_that_fail() {
    for (wire, status) in [(Wire::Hang, Status::Timeout), (Wire::Reset, Status::Unavailable)] {
        let (url, _) = raw(wire).await;
        let answer = caller().call(Some(&url), Some("x"), Some(r#"{"retries":1,"timeout":"100ms"}"#)).await;
        assert_eq!((answer.status, answer.attempts, answer.http_status), (status, 2, None), "{wire:?}");
    }
}

#[tokio::test]
async fn wrong_arguments_make_no_call() {
    let stub = Stub::start([say(200, "")]).await;
    for (url, options, status, error) in [
        (None, None, Status::BadInput, "the URL is NULL or blank"),
        (Some("ftp://x/"), None, Status::BadInput, "neither `http:` nor `https:`"),
        (Some("nothing"), None, Status::BadInput, "the URL is not valid"),
        (Some(stub.url.as_str()), Some(r#"{"headers":{"A":"${NOT_SET}"}}"#), Status::Config, "NOT_SET"),
        (
            Some("${NOT_SET}/x"),
            None,
            Status::Config,
            "the URL needs NOT_SET, which is not set: set NOT_SET in the environment",
        ),
        (Some(stub.url.as_str()), Some(r#"{"timeot":"1s"}"#), Status::Config, "did you mean `timeout`?"),
    ] {
        let answer = caller().call(url, Some("x"), options).await;
        assert_eq!((answer.status, answer.attempts), (status, 0));
        assert!(answer.error.unwrap().contains(error), "{error}");
    }
    assert_eq!(stub.calls(), 0);
}
