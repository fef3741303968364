//! Keys that change while Baton runs, and keys that belong to somebody else.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::case::Function;
use super::{project, ready, rows, start};
use crate::binary::until;
use crate::played::{Model, Reply, names};

const LONG: Duration = Duration::from_mins(5);

/// A server that takes one key at a time, as one does whose tokens expire.
fn guarded(key: &Arc<Mutex<String>>) -> Model {
    let key = Arc::clone(key);
    Model::start(move |call| {
        if call.key == *key.lock().unwrap_or_else(PoisonError::into_inner) {
            names("Send Email Agent")
        } else {
            let error = json!({ "error": { "message": "The token is expired.", "code": "token_expired" } });
            Reply::Answers(401, Vec::new(), error.to_string())
        }
    })
}

#[test]
fn a_key_file_is_read_again_when_it_changes() {
    const ROWS: usize = 400;
    let folder = project(Function::Classify, &json!({}), ROWS, 0);
    let key = Arc::new(Mutex::new("the-token-of-this-hour".to_owned()));
    let model = guarded(&key);
    model.takes(Duration::from_millis(50));
    let file = folder.path().join("key");
    fs::write(&file, "the-token-of-this-hour\n").expect("a file");
    let url = model.url();
    let settings = [
        ("BATON_LLM_BASE_URL", url.as_str()),
        ("BATON_LLM_MODEL", "m"),
        ("BATON_LLM_API_KEY_FILE", "key"),
        ("BATON_LLM_CONCURRENCY", "4"),
    ];
    let running = start(folder.path(), &settings);
    for hour in ["the-token-of-the-next", "the-token-of-the-last"] {
        let before = model.look(|seen| seen.calls);
        model.wait("calls are made", |seen| seen.calls >= before + 50);
        // As agents of clouds do it: a new file takes the old one's place, and the old token ends a little later.
        fs::write(folder.path().join("key.new"), format!("{hour}\n")).expect("a file");
        fs::rename(folder.path().join("key.new"), &file).expect("a file");
        hour.clone_into(&mut key.lock().unwrap_or_else(PoisonError::into_inner));
    }
    running.wait(LONG).expect_code(0);
    let failed = rows(folder.path(), "failed.json");
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(rows(folder.path(), "answered.json").len(), ROWS);
    let keys = model.seen().by_key;
    assert!(keys["the-token-of-the-last"] > 50, "{keys:?}");
}

#[test]
fn a_key_file_that_does_not_change_ends_the_process_when_its_key_is_refused() {
    let folder = project(Function::Classify, &json!({}), 20, 0);
    let model = guarded(&Arc::new(Mutex::new("another".to_owned())));
    fs::write(folder.path().join("key"), "an-old-token\n").expect("a file");
    let url = model.url();
    let settings = [("BATON_LLM_BASE_URL", url.as_str()), ("BATON_LLM_MODEL", "m"), ("BATON_LLM_API_KEY_FILE", "key")];
    let ended = start(folder.path(), &settings).wait(LONG).expect_code(78);
    assert!(ended.stderr.contains("BATON_LLM_API_KEY"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("an-old-token"), "{}", ended.stderr);
    assert!(rows(folder.path(), "failed.json").is_empty(), "it lost rows");
}

#[test]
fn each_providers_key_goes_to_its_own_host_alone() {
    // Somebody exports both keys for other tools, and asks a server that takes its own.
    for (provider, others) in [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")] {
        let folder = project(Function::Classify, &json!({}), 5, 0);
        let model = guarded(&Arc::new(Mutex::new("another".to_owned())));
        let url = model.url();
        let settings = [
            ("BATON_LLM_BASE_URL", url.as_str()),
            ("BATON_LLM_MODEL", "m"),
            ("BATON_LLM_PROVIDER", provider),
            (others, "sk-canary-of-another-tool"),
        ];
        let ended = start(folder.path(), &settings).wait(LONG).expect_code(78);
        assert!(ended.stderr.contains("BATON_LLM_API_KEY"), "{provider}: {}", ended.stderr);
        assert!(rows(folder.path(), "failed.json").is_empty(), "{provider}: it lost rows");
        let keys = model.seen().by_key;
        assert!(keys.keys().all(|key| !key.contains("canary")), "{provider}: {keys:?}");
    }
}

#[test]
fn a_proxy_is_named_where_it_cannot_be_reached_and_is_not_asked_for_this_machine() {
    let proxy = "http://127.0.0.1:9";
    let folder = project(Function::Classify, &json!({}), 3, 0);
    let through = [
        ("HTTP_PROXY", proxy),
        ("http_proxy", proxy),
        ("ALL_PROXY", ""),
        ("all_proxy", ""),
        ("NO_PROXY", ""),
        ("no_proxy", ""),
        ("BATON_LLM_MODEL", "m"),
    ];
    let mut running =
        start(folder.path(), &[&through[..], &[("BATON_LLM_BASE_URL", "http://models.example/v1")]].concat());
    until("it waits", LONG, || {
        assert!(running.is_running(), "it has ended");
        ready(folder.path()).starts_with("waiting: ")
    });
    let why = ready(folder.path());
    assert!(why.contains("proxy") && why.contains("127.0.0.1:9"), "{why}");
    running.kill();

    let model = Model::start(|_| names("Send Email Agent"));
    for host in ["127.0.0.1", "localhost"] {
        let folder = project(Function::Classify, &json!({}), 3, 0);
        let url = model.url().replace("127.0.0.1", host);
        let settings = [&through[..], &[("BATON_LLM_BASE_URL", url.as_str())]].concat();
        start(folder.path(), &settings).wait(LONG).expect_code(0);
        assert_eq!(rows(folder.path(), "answered.json").len(), 3, "{host}");
    }
}
