//! What servers are known to do, from tests/cases.json: each case is run against a server that does it, and all of them
//! are a table in udfs/README.md, which `UPDATE_EXPECT=1` writes anew.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod stub;

use baton_llm::settings::Provider;
use baton_llm::{Llm, Settings};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;
use stub::{AGENTS, KEY, PROVIDERS, Say, Stub, answer_of, say, settings_of};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    server: String,
    /// What the server does.
    about: String,
    /// What follows.
    want: String,
    function: String,
    provider: String,
    #[serde(default = "one")]
    rows: usize,
    options: Option<Value>,
    replies: Vec<Reply>,
    expect: Expect,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    /// A body that is no JSON.
    raw: Option<String>,
    /// The text of a usual answer.
    answer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// Of each row.
    status: String,
    agent: Option<String>,
    text: Option<String>,
    /// A part of the error.
    error: Option<String>,
    confidence: Option<f64>,
    completion_tokens: Option<u64>,
    calls: usize,
    /// Parts of the last request by their JSON pointers; null if they are not to be in it.
    #[serde(default)]
    sent: BTreeMap<String, Value>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn say_of(reply: &Reply, provider: Provider) -> Say {
    let say = match (&reply.answer, &reply.raw, &reply.body) {
        (Some(answer), None, None) => answer_of(provider, answer),
        (None, Some(raw), None) => say(reply.status.unwrap_or(200), raw.as_str()),
        (None, None, body) => say(reply.status.unwrap_or(200), body.as_ref().map(Value::to_string).unwrap_or_default()),
        _ => panic!("a reply has one of answer, raw and body"),
    };
    reply.headers.iter().fold(say, |say, (name, value)| say.header(name, value))
}

/// The differences from what is expected.
async fn run(case: &Case) -> Vec<String> {
    let provider = PROVIDERS.into_iter().find(|provider| provider.to_string() == case.provider).unwrap();
    let stub = Stub::start(case.replies.iter().map(|reply| say_of(reply, provider))).await;
    let (timeout, deadline) = (Duration::from_secs(10), Duration::from_secs(60));
    let llm = Llm::new(Settings { timeout, deadline, ..settings_of(provider, &stub.url) });
    let options = case.options.as_ref().map(Value::to_string);
    let mut wrong = Vec::new();
    let mut differs = |what: &str, is: Value, expected: Value| {
        if is != expected {
            wrong.push(format!("{}: {what} is {is}, not {expected}", case.name));
        }
    };
    for row in 0..case.rows {
        let input = format!("Three e-mails, ready to be sent ({row})");
        let result = match case.function.as_str() {
            "classify" => json!(llm.classify(Some(&input), Some(AGENTS), options.as_deref()).await),
            "complete" => json!(llm.complete(Some("Write a report."), Some(&input), None, options.as_deref()).await),
            other => panic!("there is no function {other}"),
        };
        assert!(!result.to_string().contains(KEY), "{}: the key is in {result}", case.name);
        let expect = &case.expect;
        differs("status", json!([result["status"], result["error"]]), json!([expect.status, result["error"]]));
        for (key, expected) in [("agent", &expect.agent), ("text", &expect.text)] {
            if let Some(expected) = expected {
                differs(key, result[key].clone(), json!(expected));
            }
        }
        if let Some(confidence) = expect.confidence {
            differs("confidence", result["confidence"].clone(), json!(confidence));
        }
        if let Some(tokens) = expect.completion_tokens {
            differs("completion_tokens", result["completion_tokens"].clone(), json!(tokens));
        }
        let error = result["error"].as_str().unwrap_or_default();
        let part = expect.error.as_deref().unwrap_or_default();
        differs("error", json!([error, error.contains(part)]), json!([error, true]));
    }
    differs("number of calls", json!(stub.calls()), json!(case.expect.calls));
    let last = stub.asked().pop().map(|asked| asked.json()).unwrap_or_default();
    for (place, expected) in &case.expect.sent {
        differs(place, last.pointer(place).cloned().unwrap_or_default(), expected.clone());
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_may_do_what_they_are_known_to_do() {
    let cases = cases();
    assert!(cases.len() > 60, "{} cases", cases.len());
    let mut names = HashSet::new();
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(names.insert(&case.name), "{} is there twice", case.name);
        wrong.extend(run(case).await);
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

const START: &str = "<!-- servers: from llm/tests/cases.json -->\n";
const END: &str = "<!-- end of servers -->";

#[test]
fn the_readme_has_them_all() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(START).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut cases = cases();
    // Stable: within a server, the order is that of the file.
    cases.sort_by_key(|case| case.server.to_lowercase());
    let mut table = "| Server | What it does | What follows |\n| --- | --- | --- |\n".to_owned();
    for Case { server, about, want, .. } in &cases {
        assert!(!format!("{server}{about}{want}").contains(['|', '\n']), "{about}");
        table += &format!("| {server} | {about} | {want} |\n");
    }
    let current = format!("{before}{START}\n{table}\n{END}{after}");
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|update| update == "1") {
        std::fs::write(&path, current).unwrap();
    } else {
        assert!(readme == current, "the table of servers is not current: UPDATE_EXPECT=1 writes it anew");
    }
}
