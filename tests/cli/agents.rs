//! `CREATE AGENT`: what it is in plain SQL, and that one new file makes a whole agent. Everything that needs the list of
//! agents finds it: the router, `eval`, `redrive` and the demo.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Ended, Running, root, run};
use crate::played::{Model, names};

/// The first run compiles the UDFs, on a machine that may be slow.
const LONGEST: Duration = Duration::from_mins(15);

/// An agent whose work a model does.
const LEGAL_REVIEW: &str = include_str!("../fixtures/legal_review.sql");

/// The same agent, whose work is done by the SQL below it or somewhere else. Without a model, `output` is how its own
/// answer is known.
const DECLARED: &str = "CREATE AGENT legal_review WITH (
  name        = 'Legal Review Agent',
  description = 'Checks contracts for risky terms.',
  input       = 'A draft contract that has not been reviewed yet.',
  output      = 'Review of a contract, finished.'
);
";

/// The work in SQL of one's own.
const OWN_SQL: &str = "
CREATE VIEW reviews AS
SELECT *, CASE WHEN context ILIKE '%penalty%' THEN 'There is a penalty.' ELSE 'Nothing stands out.' END AS review
FROM legal_review;

INSERT INTO agent_messages (workflow_id, value)
SELECT workflow_id, reply(opened, concat('Review of a contract, finished. ', review), NULL, NULL) FROM reviews;
";

const CONTRACT: &str = "A draft contract that has not been reviewed yet. The buyer pays a penalty for each late day.";

/// A project with some of the repository's files and others.
fn project(shared: &[&str], files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in shared {
        copy(&root().join(name), &folder.path().join(name));
    }
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    std::os::unix::fs::symlink(root().join("udfs"), folder.path().join("udfs")).expect("a link");
    folder
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder that can be listed") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    }
}

/// The router and the tables of the repository, and other files.
fn small(files: &[(&str, &str)]) -> TempDir {
    project(&["sql", "pipelines/route_messages.sql"], files)
}

/// All of the reference system, and other files.
fn whole(files: &[(&str, &str)]) -> TempDir {
    project(&["sql", "pipelines"], files)
}

fn rendered(project: &TempDir, pipeline: &str) -> String {
    let text = run(project.path(), &["render", pipeline], &[]).expect_code(0).stdout;
    let (header, statements) = text.split_once("\n\n").expect("a header");
    let code: Vec<&str> = statements.lines().filter(|line| !line.starts_with("--")).collect();
    format!("{header}\n\n{}\n", code.join("\n"))
}

#[test]
fn an_agent_with_sql_of_its_own_is_an_inbox() {
    let project = small(&[("pipelines/review_contracts.sql", &format!("{DECLARED}{OWN_SQL}"))]);
    insta::assert_snapshot!("own_sql", rendered(&project, "review_contracts"));
}

#[test]
fn an_agent_with_a_prompt_is_a_pipeline() {
    let project = small(&[("sql/legal_review.sql", LEGAL_REVIEW)]);
    let text = rendered(&project, "legal_review");
    insta::assert_snapshot!("prompt", text);
    // It is the same in either folder.
    let project = small(&[("pipelines/legal_review.sql", LEGAL_REVIEW)]);
    assert_eq!(rendered(&project, "legal_review"), text);
}

#[test]
fn an_agent_with_a_schema_answers_in_json() {
    let agent = LEGAL_REVIEW.replace(
        "\n);",
        ",\n  schema = '{\"type\": \"object\", \"required\": [\"terms\"], \"properties\": {\"terms\": {\"type\": \"array\"}}}',\n  \
         options = '{\"temperature\": 0, \"max_tokens\": 4000}',\n  examples = ARRAY['A draft of a lease.', 'It''s a contract.'],\n  \
         topic = 'contracts.to-review'\n);",
    );
    let agent = agent.replace("finished.'   -- how its message begins: the next agent is chosen by it", "finished.'");
    let project = small(&[("pipelines/legal_review.sql", &agent)]);
    insta::assert_snapshot!("schema", rendered(&project, "legal_review"));
}

#[test]
fn an_agent_with_a_url_calls_its_service() {
    let agent = DECLARED.replace(
        "\n);",
        ",\n  url = 'http://localhost:8080/review',\n  options = '{\"timeout\": \"30s\", \"retries\": 2, \"headers\": \
         {\"Authorization\": \"Bearer ${REVIEW_TOKEN}\"}}'\n);",
    );
    let project = small(&[("pipelines/legal_review.sql", &agent)]);
    insta::assert_snapshot!("url", rendered(&project, "legal_review"));
    let plain = agent.split(",\n  options").next().expect("the text before it").to_string() + "\n);";
    let project = small(&[("pipelines/legal_review.sql", &plain)]);
    let text = rendered(&project, "legal_review");
    assert!(text.contains(r#"concat('{"idempotency_key": "', encode(sha256(message_id), 'hex'), '"}')"#), "{text}");
}

#[test]
fn the_router_knows_an_agent_that_is_only_declared() {
    let project = small(&[("pipelines/legal_review.sql", DECLARED)]);
    insta::assert_snapshot!("router", rendered(&project, "route_messages"));
    // There is nothing to run for it, and that is no mistake of the project.
    let ended = run(project.path(), &["run"], &[("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")]).expect_code(1);
    assert!(ended.stderr.contains("pipeline `route_messages` failed"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("legal_review"), "{}", ended.stderr);
}

/// Runs the demo on one message.
fn demo(project: &TempDir, format: &str, settings: &[(&str, &str)]) -> Ended {
    let _one = crate::demo::one_at_a_time();
    let file = project.path().join("contract.jsonl");
    fs::write(&file, json!({ "context": CONTRACT }).to_string()).expect("a file");
    let arguments = ["demo", "--format", format, "--leads", &file.to_string_lossy()];
    let settings: Vec<(&str, &str)> = [("BATON_LLM_PROVIDER", "offline")].iter().chain(settings).copied().collect();
    Running::start(project.path(), &arguments, &settings).wait(LONGEST).expect_code(0)
}

/// The message goes to the agent, and its answer to nobody.
#[track_caller]
fn answers_in_the_demo(project: &TempDir, answer: &str, settings: &[(&str, &str)]) {
    let told = demo(project, "text", settings).stdout;
    assert!(told.lines().any(|line| line.ends_with(&format!("Legal Review Agent says: {answer}"))), "{told}");
    let workflow = demo(project, "json", settings).stdout;
    let workflow: Value = serde_json::from_str(&workflow).unwrap_or_else(|e| panic!("one workflow: {e}: {workflow}"));
    assert_eq!(
        (&workflow["path"], &workflow["outcome"], &workflow["hops"]),
        (&json!(["Legal Review Agent"]), &json!("unrouted"), &json!(1))
    );
}

/// Everything but the demo: the router, its plan, its evaluation, and redrive have the agent.
#[track_caller]
fn is_known_everywhere(project: &TempDir) {
    let plan = run(project.path(), &["plan", "route_messages", "--format", "json"], &[]).expect_code(0).stdout;
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let topics = |node: &Value| node["topics_of_agents"].as_array().is_some_and(|t| t.contains(&json!("legal_review")));
    assert!(plan["nodes"].as_array().expect("nodes").iter().any(topics), "{plan}");
    for pipeline in ["route_messages", "redrive"] {
        let text = rendered(project, pipeline);
        assert!(text.contains("topic = 'legal_review'"), "{pipeline}: {text}");
        assert!(text.contains("INSERT INTO agent_topics_legal_review"), "{pipeline}: {text}");
    }
    let file = project.path().join("labelled.jsonl");
    let labelled = [json!({ "text": CONTRACT, "expected": "Legal Review Agent" }), {
        json!({ "text": "New, raw lead from the web form, not researched yet.", "expected": "Lead Ingestion Agent" })
    }];
    fs::write(&file, labelled.map(|line| line.to_string()).join("\n")).expect("a file");
    let arguments = ["eval", "route_messages", "labelled.jsonl", "--min-accuracy", "1", "--format", "json"];
    let ended = Running::start(project.path(), &arguments, &[("BATON_LLM_PROVIDER", "offline")]).wait(LONGEST);
    let report: Value = serde_json::from_str(&ended.expect_code(0).stdout).expect("JSON");
    assert_eq!((&report["messages"], &report["right"]), (&json!(2), &json!(2)), "{report}");
}

#[test]
fn one_file_in_sql_is_an_agent() {
    let project = whole(&[("sql/legal_review.sql", LEGAL_REVIEW)]);
    is_known_everywhere(&project);
    answers_in_the_demo(&project, "Review of a contract, finished. No model was asked.", &[]);
}

#[test]
fn one_file_in_pipelines_is_an_agent() {
    let project = whole(&[("pipelines/legal_review.sql", LEGAL_REVIEW)]);
    is_known_everywhere(&project);
    answers_in_the_demo(&project, "Review of a contract, finished. No model was asked.", &[]);
}

#[test]
fn one_file_with_sql_of_its_own_is_an_agent() {
    let project = whole(&[("pipelines/review_contracts.sql", &format!("{DECLARED}{OWN_SQL}"))]);
    is_known_everywhere(&project);
    answers_in_the_demo(&project, "Review of a contract, finished. There is a penalty.", &[]);
}

#[test]
fn the_examples_of_an_agent_reach_the_model() {
    let examples = ["A lease that nobody has read.", "It's a contract, isn't it?"];
    let option = examples.map(|example| format!("'{}'", example.replace('\'', "''"))).join(", ");
    let agent = DECLARED.replace("\n);", &format!(",\n  examples = ARRAY[{option}]\n);"));
    let project = small(&[("pipelines/legal_review.sql", &agent)]);
    let labelled = json!({ "text": CONTRACT, "expected": "Legal Review Agent" }).to_string();
    fs::write(project.path().join("labelled.jsonl"), labelled).expect("a file");
    let prompts: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&prompts);
    let model = Model::start(move |call| {
        kept.lock().expect("the prompts").push(call.request["messages"].to_string());
        names("Legal Review Agent")
    });
    let url = model.url();
    let settings = [("BATON_LLM_BASE_URL", url.as_str()), ("BATON_LLM_MODEL", "stub")];
    let arguments = ["eval", "route_messages", "labelled.jsonl", "--min-accuracy", "1"];
    Running::start(project.path(), &arguments, &settings).wait(LONGEST).expect_code(0);
    let prompts = prompts.lock().expect("the prompts");
    assert_eq!(prompts.len(), 1);
    for example in examples {
        assert!(prompts[0].contains(example), "{example} is not in {}", prompts[0]);
    }
}

/// A service that reviews contracts.
struct Service {
    port: u16,
    seen: Seen,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port for the service");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let port = listener.local_addr().expect("an address").port();
        let seen: Seen = Arc::default();
        let app = Router::new().route("/review", post(review)).with_state(Arc::clone(&seen));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, app).await.expect("a server");
        });
        Self { port, seen, runtime: Some(runtime) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Seen = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

async fn review(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> String {
    let message: Value = serde_json::from_slice(&body).expect("a message in JSON");
    seen.lock().expect("what was seen").push((headers, message));
    json!({ "context": "Review of a contract, finished. Two risky terms.", "terms": ["penalty", "venue"] }).to_string()
}

#[test]
fn one_file_with_a_url_is_an_agent() {
    let service = Service::start();
    let agent = DECLARED.replace(
        "\n);",
        &format!(
            ",\n  url = 'http://127.0.0.1:{}/review',\n  options = '{{\"headers\": {{\"Authorization\": \"Bearer \
             ${{REVIEW_TOKEN}}\"}}}}'\n);",
            service.port
        ),
    );
    let project = whole(&[("sql/legal_review.sql", &agent)]);
    is_known_everywhere(&project);
    let settings = [("REVIEW_TOKEN", "a-token-of-the-environment")];
    answers_in_the_demo(&project, "Review of a contract, finished. Two risky terms.", &settings);
    let seen = service.seen.lock().expect("what was seen");
    assert_eq!(seen.len(), 2, "once in each of the two demos");
    for (headers, message) in seen.iter() {
        assert_eq!(headers["authorization"], "Bearer a-token-of-the-environment");
        assert_eq!(headers["idempotency-key"].len(), 64);
        assert_eq!((&message["context"], &message["hop"]), (&json!(CONTRACT), &json!(0)));
        assert_eq!(message["decision"]["agent"], "Legal Review Agent");
    }
}

/// A call of each function that comes with Baton.
const STANDARD: [(&str, &str); 8] = [
    ("contract_error", "contract_error(value, '{\"type\": \"object\"}')"),
    ("forward", "TRY_CAST(forward(value, '{}', NULL) AS TEXT)"),
    ("http_call", "http_call('http://localhost/', value, '{}')"),
    ("llm_classify", "llm_classify(value, '[{\"name\": \"One\", \"description\": \"d\", \"input\": \"i\"}]', '{}')"),
    ("llm_complete", "llm_complete('Answer.', value, 'nothing', '{}')"),
    ("open_message", "open_message(CAST(value AS BYTEA), 't', CAST(0 AS INT), 1, 2, '{}')"),
    ("reply", "TRY_CAST(reply(value, 'Done.', NULL, NULL) AS TEXT)"),
    ("start_workflow", "TRY_CAST(start_workflow('w', 'sender', value, 'New.', '{}') AS TEXT)"),
];

#[test]
fn a_project_without_udfs_has_those_that_come_with_baton() {
    let mut names: Vec<String> = fs::read_dir(root().join("udfs"))
        .expect("udfs/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, STANDARD.map(|(name, _)| name), "a call of each function in udfs/");

    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    for (name, call) in STANDARD {
        let sql = format!(
            "CREATE TABLE src (value TEXT) WITH (connector = 'single_file', path = 'in.json', format = 'json');
             CREATE TABLE o (result TEXT) WITH (connector = 'stdout', format = 'json');
             INSERT INTO o SELECT {call} FROM src;"
        );
        fs::write(folder.path().join(format!("pipelines/call_{name}.sql")), sql).expect("a file");
        let plan = run(folder.path(), &["plan", &format!("call_{name}")], &[]).expect_code(0);
        assert!(plan.stdout.contains("src (file in.json)"), "{name}: {}", plan.stdout);
    }
    assert!(!folder.path().join("udfs").exists(), "planning compiles nothing");
}
