//! `baton eval`: what it asks is what the pipeline asks, its numbers are those of the answers, and its exit code is what
//! CI goes by. Answers come from the offline method, or from a stub that is told in each message what to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::binary::{Ended, Running, SOON, root, until};

/// The first run compiles the UDF, on a machine that may be slow.
const LONGEST: Duration = Duration::from_mins(15);

/// A model that answers what the message says after the model's name, `old=Billing`, or after `any=`; a number is a
/// status.
struct Model {
    port: u16,
    inner: Arc<Inner>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Inner {
    seen: Mutex<Seen>,
    open: watch::Sender<bool>,
}

#[derive(Clone, Default)]
struct Seen {
    bodies: Vec<Value>,
    in_flight: usize,
    peak: usize,
    refuses_key: bool,
}

impl Model {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port for the model");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let port = listener.local_addr().expect("an address").port();
        let inner = Arc::new(Inner { seen: Mutex::default(), open: watch::Sender::new(true) });
        let app = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&inner));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, app).await.expect("a server");
        });
        Self { port, inner, runtime: Some(runtime) }
    }

    /// Holds answers back, or gives them.
    fn is_open(&self, open: bool) {
        self.inner.open.send_replace(open);
    }

    fn seen(&self) -> Seen {
        self.inner.seen.lock().expect("what was seen").clone()
    }

    fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("BATON_LLM_BASE_URL", format!("http://127.0.0.1:{}/v1", self.port)),
            ("BATON_LLM_MODEL", "stub".into()),
            ("BATON_LLM_RETRIES", "0".into()),
        ];
        settings.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(inner): State<Arc<Inner>>, body: Bytes) -> (StatusCode, String) {
    let request: Value = serde_json::from_slice(&body).expect("a request in JSON");
    {
        let mut seen = inner.seen.lock().expect("what was seen");
        seen.bodies.push(request.clone());
        seen.in_flight += 1;
        seen.peak = seen.peak.max(seen.in_flight);
    }
    inner.open.subscribe().wait_for(|open| *open).await.expect("a gate");
    inner.seen.lock().expect("what was seen").in_flight -= 1;
    let model = request["model"].as_str().expect("a model");
    let user = request["messages"][1]["content"].as_str().expect("a user's message");
    let word = |key: &str| user.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let said = word(model).or_else(|| word("any"));
    // Who is refused because of its key is refused whatever it asks.
    let is_refused = {
        let mut seen = inner.seen.lock().expect("what was seen");
        seen.refuses_key |= said == Some("401");
        seen.refuses_key
    };
    let said = if is_refused { "401" } else { said.unwrap_or("NONE") };
    if let Ok(status) = said.parse() {
        return (StatusCode::from_u16(status).expect("a status"), String::new());
    }
    let reply = json!({
        "model": model,
        "choices": [{ "message": { "role": "assistant", "content": json!({"agent": said}).to_string() }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 5 },
    });
    (StatusCode::OK, reply.to_string())
}

const AGENTS: &str = "
CREATE TABLE messages (value TEXT) WITH (connector = 'single_file', path = 'messages.json', format = 'json');
CREATE TABLE decisions (value TEXT, decision TEXT) WITH (connector = 'stdout', format = 'json');
CREATE TABLE agents (name TEXT, input TEXT);
INSERT INTO agents VALUES ('Billing', 'Questions about an invoice.'), ('Support', 'Something that does not work.');
";

/// Its options come from a view, its agents from a constant table.
fn pipeline(options: &str) -> String {
    format!(
        "{AGENTS}
CREATE VIEW questions AS
SELECT value, (SELECT json_agg(named_struct('name', name, 'input', input)) FROM agents) AS candidates,
  '{options}' AS options
FROM messages;
INSERT INTO decisions SELECT value, llm_classify(value, candidates, options) FROM questions;
"
    )
}

/// A project of a pipeline `route` and whatever else a test writes.
fn project(options: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    std::os::unix::fs::symlink(root().join("udfs"), folder.path().join("udfs")).expect("a link");
    write(&folder, "pipelines/route.sql", &pipeline(options));
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("a file");
}

fn start(folder: &Path, arguments: &[&str], settings: &[(String, String)]) -> Running {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Running::start(folder, arguments, &settings)
}

fn eval(folder: &TempDir, arguments: &[&str], model: &Model) -> Ended {
    let arguments: Vec<&str> = ["eval"].iter().chain(arguments).copied().collect();
    start(folder.path(), &arguments, &model.settings()).wait(LONGEST)
}

fn offline() -> Vec<(String, String)> {
    vec![("BATON_LLM_PROVIDER".into(), "offline".into())]
}

#[track_caller]
fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("stdout is for data: {}: {e}", ended.stdout))
}

/// A text report without what no two runs share: times, and the stub's port.
fn steady(report: &str) -> String {
    let line = |line: &str| {
        if line.contains("127.0.0.1:") {
            return "  (why)".to_string();
        }
        if !line.starts_with("latency") {
            return line.to_string();
        }
        let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-'));
        let words = line.split_whitespace().map(|word| if is_number(word) { "N" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    report.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_pipeline_is_evaluated_offline() {
    let file = root().join("udfs/llm/tests/sets/sales.jsonl");
    let file = file.to_string_lossy();
    let run = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["eval", "route_messages", &file, "--format", "json"].iter().chain(more).copied().collect();
        start(&root(), &arguments, &offline()).wait(LONGEST)
    };
    let report = report(&run(&["--min-accuracy", "0.8"]).expect_code(0));
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} is no number"));
    let messages = number(&report["messages"]);
    assert_eq!(messages, 66);
    let decisions = report["decisions"].as_array().expect("decisions");
    let right = decisions.iter().filter(|d| d["right"] == true).count();
    assert_eq!((decisions.len(), number(&report["right"])), (66, right as u64));
    assert_eq!(report["accuracy"].as_f64(), Some(f64::from(u32::try_from(right).expect("a small number")) / 66.0));
    let names: Vec<&str> =
        report["agents"].as_array().expect("agents").iter().filter_map(|a| a["agent"].as_str()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!((names[0], names[5]), ("Lead Ingestion Agent", "NONE"));
    // Rows of the confusion matrix hold what is expected, its columns what is chosen.
    let confusion = report["confusion"].as_array().expect("a matrix");
    for (i, agent) in report["agents"].as_array().expect("agents").iter().enumerate() {
        let row = confusion[i]["chosen"].as_object().expect("a row");
        assert_eq!(
            row.values().map(&number).sum::<u64>() + number(&confusion[i]["no_answer"]),
            number(&agent["support"])
        );
        let column: u64 = confusion.iter().map(|row| number(&row["chosen"][names[i]])).sum();
        assert_eq!(column, number(&agent["chosen"]));
    }
    let thresholds = report["thresholds"].as_array().expect("thresholds");
    assert_eq!(thresholds[0]["accuracy"], report["accuracy"]);
    let routed: Vec<u64> = thresholds.iter().map(|at| number(&at["routed"])).collect();
    assert!(routed.is_sorted_by(|a, b| a >= b) && routed[0] > *routed.last().expect("thresholds"), "{routed:?}");
    assert_eq!((&report["cost"], &report["sources"]), (&json!(0.0), &json!({"offline": 66})));
    assert_eq!(report["without_confidence"], 0);

    let ended = run(&["--min-accuracy", "1"]).expect_code(1);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("the report is there all the same")["right"], right);
    let wanted = format!("below 1: {right} right of 66");
    assert!(ended.stderr.contains(&wanted), "{}", ended.stderr);
}

/// Nine messages: two wrong, two without an answer.
const NINE: &str = r#"{"text": "any=Billing An invoice.", "expected": "Billing"}
{"text": "any=Billing Another invoice.", "expected": "Billing"}
{"text": "any=Support It says invoice, and is broken.", "expected": "Billing"}
{"text": "any=Support\nThe printer does not print.", "expected": "Support"}
{"text": "any=422 The screen is dark.", "expected": "Support"}
{"text": "any=NONE Lunch is at noon.", "expected": "NONE"}
{"text": "any=Billing Invoice your friends!", "expected": "NONE"}

{"text": "any=422 Good-bye.", "expected": "NONE"}
{"text": "any=NONE Hello.", "expected": "NONE"}
"#;

#[test]
fn the_report_has_the_numbers_of_the_answers() {
    let model = Model::start();
    let folder = project("{}");
    write(&folder, "labelled.jsonl", NINE);
    let ended = eval(&folder, &["route", "labelled.jsonl"], &model).expect_code(0);
    insta::assert_snapshot!(steady(&ended.stdout), @r"
    route: 9 messages of labelled.jsonl

    accuracy 0.556 (5 right of 9)
    2 messages without an answer, counted as wrong

                support  chosen  precision  recall
     1 Billing        3       3      0.667   0.667
     2 Support        2       2      0.500   0.500
       NONE           4       2      1.000   0.500

    expected \ chosen  1  2  NONE  no answer
     1 Billing         2  1     .          .
     2 Support         .  1     .          1
       NONE            1  .     2          1

    No decision has a confidence, so a threshold changes nothing.

    rejected: 2 messages, such as line 5:
      (why)

    Wrong decisions:
      line 3: Billing, chosen Support
        any=Support It says invoice, and is broken.
      line 7: NONE, chosen Billing
        any=Billing Invoice your friends!

    cost unknown (no price is set)
    tokens 700 read, 35 written; 11 HTTP calls
    latency p50 N ms, p95 N ms, max N ms
    answers from model (9)
    models stub (9)
    ");
    // A price is not known, and nobody says how sure it is: nothing is made up.
    let ended =
        eval(&folder, &["route", "labelled.jsonl", "--format", "json", "--min-accuracy", "0.6"], &model).expect_code(1);
    let report = report(&ended);
    assert_eq!(
        (&report["cost"], &report["without_cost"], &report["without_confidence"]),
        (&Value::Null, &json!(9), &json!(7))
    );
    assert_eq!(
        (&report["prompt_tokens"], &report["completion_tokens"], &report["attempts"]),
        (&json!(700), &json!(35), &json!(11))
    );
    assert_eq!(report["decisions"][7]["line"], 9, "blank lines are counted");
    assert_eq!(report["decisions"][7]["status"], "rejected");
    assert!(
        ended.stderr.contains("0.556, below 0.6: 5 right of 9, 2 without an answer (2 rejected)"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("route: 0 of 9 messages done"), "{}", ended.stderr);
}

#[test]
fn what_is_asked_is_what_the_pipeline_asks() {
    let model = Model::start();
    let folder = project(r#"{"model": "special", "temperature": 0.25, "max_tokens": 77, "prompt": "Who?"}"#);
    let texts = ["any=Billing An \"invoice\", please", "any=Support\nü </message> {}", "plain"];
    let json = |key: &str| {
        texts.iter().fold(String::new(), |mut lines, text| {
            let _ = writeln!(lines, "{}", json!({key: text, "expected": "NONE"}));
            lines
        })
    };
    write(&folder, "messages.json", &json("value"));
    write(&folder, "labelled.jsonl", &json("text"));
    let csv = texts.iter().fold("text,expected\r\n".to_string(), |mut lines, text| {
        let _ = write!(lines, "\"{}\",NONE\r\n", text.replace('"', "\"\""));
        lines
    });
    write(&folder, "labelled.csv", &csv);
    let asked = |arguments: &[&str]| {
        let before = model.seen().bodies.len();
        start(folder.path(), arguments, &model.settings()).wait(LONGEST).expect_code(0);
        let bodies = model.seen().bodies.split_off(before);
        assert_eq!(bodies.len(), texts.len());
        bodies.iter().map(Value::to_string).collect::<BTreeSet<_>>()
    };
    let by_the_pipeline = asked(&["run", "route"]);
    assert_eq!(by_the_pipeline.len(), texts.len());
    assert!(by_the_pipeline.iter().all(|body| body.contains("special") && body.contains("Questions about an invoice")));
    assert_eq!(asked(&["eval", "route", "labelled.jsonl"]), by_the_pipeline);
    assert_eq!(asked(&["eval", "route", "labelled.csv"]), by_the_pipeline);
}

#[test]
fn two_pipelines_are_put_side_by_side() {
    let model = Model::start();
    let folder = project(r#"{"model": "new"}"#);
    // Another model, and an agent that the new catalogue does not have.
    let old = pipeline(r#"{"model": "old"}"#).replace("('Billing',", "('Archive', 'Old things.'), ('Billing',");
    write(&folder, "pipelines/route_before.sql", &old);
    write(
        &folder,
        "labelled.csv",
        "expected,text\nBilling,old=Billing new=Billing One.\nBilling,old=Support new=Billing Two.\n\
         Support,old=Support new=NONE Three.\nNONE,old=422 new=NONE Four.\nNONE,old=Billing new=Support Five.\n\
         Archive,old=Archive new=NONE Six.\n",
    );
    let arguments = ["route", "labelled.csv", "--against", "route_before"];
    let ended = eval(&folder, &arguments, &model).expect_code(0);
    let comparison = ended.stdout.split_once("before: ").expect("a comparison").1;
    insta::assert_snapshot!(steady(comparison), @r"
    route_before; after: route

                         before    after  difference
    accuracy              0.500    0.500       0.000
    Billing, precision    0.500    1.000      +0.500
    Billing, recall       0.500    1.000      +0.500
    Support, precision    0.500    0.000      -0.500
    Support, recall       1.000    0.000      -1.000
    Archive, precision    1.000        -           -
    Archive, recall       1.000    0.000      -1.000
    NONE, precision           -    0.333           -
    NONE, recall          0.000    0.500      +0.500
    cost                unknown  unknown           -
    latency p50, ms N N N
    latency p95, ms N N N
    without an answer         1        0

    5 messages changed: 2 better, 2 worse, 1 wrong before and after
      line 3 better: Support → Billing, expected Billing
        old=Support new=Billing Two.
      line 4 worse: Support → NONE, expected Support
        old=Support new=NONE Three.
      line 5 better: no answer (rejected) → NONE, expected NONE
        old=422 new=NONE Four.
      line 6 still wrong: Billing → Support, expected NONE
        old=Billing new=Support Five.
      line 7 worse: Archive → NONE, expected Archive
        old=Archive new=NONE Six.
    ");

    let json: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
    let report = report(&eval(&folder, &json, &model).expect_code(0));
    assert_eq!((&report["pipeline"], &report["against"]["pipeline"]), (&json!("route"), &json!("route_before")));
    assert_eq!(report["difference"]["accuracy"], json!({"before": 0.5, "after": 0.5, "difference": 0.0}));
    let turns: Vec<(u64, &str)> = report["changed"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|c| (c["line"].as_u64().expect("a line"), c["change"].as_str().expect("a change")))
        .collect();
    assert_eq!(turns, [(3, "better"), (4, "worse"), (5, "better"), (6, "still_wrong"), (7, "worse")]);
    assert_eq!(report["changed"][2]["before"], json!({"agent": null, "status": "rejected", "confidence": null}));
    assert_eq!(report["models"], json!({"new": 6}));
    // A name that neither has is wrong, at its place.
    write(&folder, "labelled.csv", "expected,text\nArchives,Six.\n");
    let ended = eval(&folder, &arguments, &model).expect_code(78);
    assert!(ended.stderr.contains("`Archives` is not an agent of `route` or `route_before`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("labelled.csv:2:1") && ended.stderr.contains("did you mean `Archive`?"));
    assert!(ended.stdout.is_empty());
}

#[test]
fn no_more_is_asked_at_once_than_is_set_and_a_signal_ends_it() {
    let model = Model::start();
    let folder = project("{}");
    let labelled = (0..600).fold(String::new(), |mut lines, i| {
        let _ = writeln!(lines, "{}", json!({"text": format!("any=NONE {i}"), "expected": "NONE"}));
        lines
    });
    write(&folder, "labelled.jsonl", &labelled);
    let mut settings = model.settings();
    settings.push(("BATON_LLM_CONCURRENCY".into(), "3".into()));
    let running = start(folder.path(), &["eval", "route", "labelled.jsonl", "--format", "json"], &settings);
    let ended = running.wait(LONGEST).expect_code(0);
    // Each message has its own answer, also past the first few hundred.
    let report = report(&ended);
    assert_eq!(report["right"], 600);
    assert_eq!(model.seen().bodies.len(), 600);
    assert!(model.seen().peak <= 3, "{} at once", model.seen().peak);
    let asked: BTreeMap<String, usize> = model.seen().bodies.iter().fold(BTreeMap::new(), |mut counts, body| {
        *counts.entry(body["messages"][1].to_string()).or_default() += 1;
        counts
    });
    assert_eq!(asked.len(), 600);

    model.is_open(false);
    let running = start(folder.path(), &["eval", "route", "labelled.jsonl"], &settings);
    until("calls are held back", SOON, || model.seen().in_flight > 0);
    // As Ctrl-C does, which who runs in the background is made deaf to.
    running.terminate();
    let ended = running.wait(SOON);
    assert!(ended.code.is_none() && ended.stdout.is_empty(), "{ended:?}");
}

#[test]
fn a_model_that_gives_no_answer_is_an_error() {
    let model = Model::start();
    let folder = project("{}");
    let labelled = |status: u16, messages: usize| {
        (0..messages).fold(String::new(), |mut lines, i| {
            let _ = writeln!(lines, "{}", json!({"text": format!("any={status} {i}"), "expected": "NONE"}));
            lines
        })
    };
    // A model that is down is waited for, and not for ever: the report is there, and that it measures nothing is said.
    write(&folder, "labelled.jsonl", &labelled(503, 3));
    let ended = eval(&folder, &["route", "labelled.jsonl", "--patience", "1s"], &model).expect_code(1);
    assert!(ended.stdout.contains("unavailable: 3 messages"), "{}", ended.stdout);
    assert!(ended.stderr.contains("gave no answer to any message, such as line 1, unavailable"), "{}", ended.stderr);
    // What was answered before is kept.
    write(&folder, "labelled.jsonl", &(labelled(503, 1) + NINE));
    let arguments = ["route", "labelled.jsonl", "--patience", "1s", "--format", "json"];
    let report = report(&eval(&folder, &arguments, &model).expect_code(0));
    assert_eq!((&report["messages"], &report["right"], &report["no_answer"]), (&json!(10), &json!(5), &json!(3)));
    // A refused key is refused for all.
    write(&folder, "labelled.jsonl", &labelled(401, 500));
    let before = model.seen().bodies.len();
    let mut settings = model.settings();
    settings.push(("BATON_LLM_CONCURRENCY".into(), "5".into()));
    let ended = start(folder.path(), &["eval", "route", "labelled.jsonl"], &settings).wait(LONGEST).expect_code(78);
    assert!(ended.stderr.contains("error[R007]") && ended.stderr.contains("401"), "{}", ended.stderr);
    let calls = model.seen().bodies.len() - before;
    assert!(calls < 30 && ended.stdout.is_empty(), "{calls} calls");
}

#[test]
fn tables_are_not_opened_and_their_variables_not_needed() {
    let folder = project("{}");
    let kafka = AGENTS.replace(
        "'single_file', path = 'messages.json'",
        "'kafka', type = 'source', bootstrap_servers = '${NO_SUCH_SERVERS}', topic = 'm'",
    );
    assert_ne!(kafka, AGENTS);
    write(&folder, "pipelines/route.sql", &pipeline("{}").replace(AGENTS, &kafka));
    write(&folder, "labelled.jsonl", "{\"text\": \"Questions about an invoice.\", \"expected\": \"Billing\"}\n");
    let ended =
        start(folder.path(), &["eval", "route", "labelled.jsonl", "--format", "json"], &offline()).wait(LONGEST);
    assert_eq!(report(&ended.expect_code(0))["right"], 1);
    let wrong = start(folder.path(), &["eval", "route", "labelled.jsonl", "--min-accuracy", "90"], &[]).wait(SOON);
    assert!(wrong.expect_code(2).stderr.contains("write 0.9 for 90 %"));
    let settings = [("BATON_LLM_CONCURRENCY".to_string(), "many".to_string())];
    let wrong = start(folder.path(), &["eval", "route", "labelled.jsonl"], &settings).wait(SOON).expect_code(78);
    assert!(wrong.stderr.contains("error[P004]: BATON_LLM_CONCURRENCY"), "{}", wrong.stderr);
    // What these options need of the environment is not there.
    write(&folder, "pipelines/route.sql", &pipeline(r#"{"provider": "openai"}"#));
    let wrong = start(folder.path(), &["eval", "route", "labelled.jsonl"], &[]).wait(SOON).expect_code(78);
    assert!(wrong.stderr.contains("error[P004]") && wrong.stdout.is_empty(), "{}", wrong.stderr);
}
