//! A key appears nowhere: in no log at any level, file, row or plan, also when the server quotes it and a message is cut
//! in the middle of it.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{LONG, Project, drawn, good};
use crate::binary::{Ended, until};
use crate::played::{Call, Model, Reply, names};

const KEY: &str = "canary7f3a91c2d4e5b6a7c8d9e0f1a2";
const HEADER: &str = "header0b5e8d1c4f7a2936e5d8c1b4a7";
const QUERY: &str = "query60d3f9a2c5b8e1d4f7a0c3b6e9";

/// A part of a secret that is so long tells it.
const TELLS: usize = 8;

#[track_caller]
fn is_not_in(text: &str, place: &str) {
    for secret in [KEY, HEADER, QUERY] {
        for start in 0..=secret.len() - TELLS {
            let part = &secret[start..start + TELLS];
            if let Some(at) = text.find(part) {
                let around: String = text[..at + TELLS].chars().rev().take(300).collect();
                panic!("a part of a secret is in {place}: …{}…", around.chars().rev().collect::<String>());
            }
        }
    }
}

/// All files of a folder, but for the key's own.
#[track_caller]
fn is_in_no_file(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            is_in_no_file(&path);
        } else if !path.ends_with("key") {
            let bytes = fs::read(&path).expect("a file that can be read");
            is_not_in(&String::from_utf8_lossy(&bytes), &path.display().to_string());
        }
    }
}

#[track_caller]
fn is_not_told(ended: &Ended, project: &Project) {
    is_not_in(&ended.stdout, "stdout");
    is_not_in(&ended.stderr, "stderr");
    is_in_no_file(project.path());
}

/// A server that quotes all that is secret, wherever it can, at all places where a message may be cut.
fn quotes(call: &Call) -> Reply {
    // A server that refuses a harmless question, too, is not at work.
    if !call.text.starts_with('[') {
        return good(call);
    }
    let secrets = quoted(call, 120 + drawn((&call.text, call.nth, "where"), 200));
    let status = |status: u16, body: String| Reply::Answers(status, Vec::new(), body);
    let error = json!({ "error": { "message": secrets } }).to_string();
    match drawn((&call.text, call.nth, "how"), 12) {
        0 => status(500, secrets),
        1 => status(503, error),
        2 => status(429, error),
        3 => status(400, error),
        4 => status(422, secrets),
        5 => status(200, secrets),
        6 => status(200, error),
        7 => status(200, format!("<html>{secrets}")),
        8 => names(&secrets),
        9 => Reply::Says(secrets),
        10 => answer_of_model(call, &secrets),
        _ => answer_of_model(call, KEY),
    }
}

/// All secrets that came with a call, after so many other characters.
fn quoted(call: &Call, before: usize) -> String {
    let header = call.head.lines().find_map(|line| line.strip_prefix("x-team: ")).unwrap_or_default();
    format!("{} {} {header} {}", "x".repeat(before), call.key, call.key)
}

/// A good answer of a model with such a name.
fn answer_of_model(call: &Call, model: &str) -> Reply {
    let Reply::Says(said) = good(call) else { unreachable!("a good answer is said") };
    let choice = json!({ "message": { "role": "assistant", "content": said }, "finish_reason": "stop" });
    Reply::Answers(200, Vec::new(), json!({ "model": model, "choices": [choice] }).to_string())
}

#[test]
fn a_key_appears_nowhere() {
    let (project, model) = (Project::with_rows(400), Model::start(quotes));
    let url = format!("{}?token={QUERY}", model.url());
    let headers = json!({ "X-Team": format!("Token {HEADER}") }).to_string();
    let state = project.file("state");
    let settings = [
        ("BATON_LLM_BASE_URL", url.as_str()),
        ("BATON_LLM_API_KEY", KEY),
        ("BATON_LLM_HEADERS", &headers),
        ("BATON_LLM_STATE_DIR", state.to_str().expect("a path in UTF-8")),
        ("BATON_LLM_BUDGET_TOKENS", "1000000000"),
        ("BATON_LLM_DECISION_LOG", "decisions.jsonl"),
        ("BATON_LLM_CONCURRENCY", "100"),
        ("BATON_LLM_RETRIES", "0"),
        ("BATON_LOG", "trace"),
        ("RUST_LOG", "trace"),
    ];
    for arguments in [
        &["plan", "ask.sql"][..],
        &["plan", "ask.sql", "--format", "json"],
        &["plan", "ask.sql", "--format", "svg"],
        &["render", "ask.sql"],
    ] {
        let ended = project.start(arguments, &model, &settings).wait(LONG);
        is_not_told(&ended, &project);
    }
    // What rows wait for is cut in the middle of the key.
    model.replies(|call| {
        Reply::Answers(503, Vec::new(), json!({ "error": { "message": quoted(call, 286) } }).to_string())
    });
    let mut running =
        project.start(&["run", "ask.sql", "--ready-file", "ready", "--log-format", "json"], &model, &settings);
    until("rows wait", LONG, || project.ready().starts_with("waiting: "));
    is_not_in(&project.ready(), "the ready file");
    model.recovers();
    until("it ends", LONG, || {
        is_not_in(&project.ready(), "the ready file");
        !running.is_running()
    });
    let ended = running.wait(LONG).expect_code(0);
    is_not_told(&ended, &project);
    let decisions = project.decisions();
    assert_eq!(decisions.len(), 400);
    for status in ["ok", "invalid", "rejected", "unavailable"] {
        assert!(decisions.values().any(|decision| decision.text("status") == status), "{status}");
    }
    assert!(decisions.values().any(|decision| decision.text("error").contains("***")), "nothing was ever quoted");
    for file in ["decisions.jsonl", "state/usage.json"] {
        assert!(project.file(file).exists(), "{file}");
    }
    assert!(model.look(|seen| seen.by_key[KEY] == seen.calls), "the key was sent");
}

#[test]
fn a_key_out_of_a_file_appears_nowhere_when_it_is_refused() {
    let (project, model) = (Project::with_rows(20), Model::start(good));
    fs::write(project.file("key"), format!("{KEY}\n")).expect("a file");
    for before in [0, 190, 286] {
        for status in [401, 404] {
            model.replies(move |call| {
                let error = json!({ "error": { "message": quoted(call, before) } });
                Reply::Answers(status, Vec::new(), error.to_string())
            });
            let url = format!("{}?token={QUERY}", model.url());
            let settings = [("BATON_LLM_API_KEY_FILE", "key"), ("BATON_LLM_BASE_URL", &url), ("BATON_LOG", "trace")];
            let ended = project.run(&model, &settings).wait(LONG).expect_code(78);
            assert!(ended.stderr.contains("error[R007]"), "{}", ended.stderr);
            is_not_told(&ended, &project);
        }
    }
    assert!(model.look(|seen| seen.by_key[KEY] == seen.calls), "the key was sent");
}
