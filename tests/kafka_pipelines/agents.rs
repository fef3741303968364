//! One new file is an agent: a model, a service, SQL or a program of its own does the work.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{self, is_classification};
use crate::process::{Baton, project};
use crate::system::{PATIENCE, System, sha256};

const LEGAL_REVIEW: &str = include_str!("../fixtures/legal_review.sql");

/// The same without anybody who does the work.
const DECLARED: &str = "CREATE AGENT legal_review WITH (
  name        = 'Legal Review Agent',
  description = 'Checks contracts for risky terms.',
  input       = 'A draft contract that has not been reviewed yet.',
  output      = 'A review.'
);
";

/// The project and one more file.
pub fn with_file(name: &str, text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    for part in ["sql", "pipelines"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for entry in std::fs::read_dir(project().join(part)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    std::os::unix::fs::symlink(project().join("udfs"), folder.path().join("udfs")).unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// A contract that begins a workflow.
fn contract(number: usize) -> Value {
    json!({
        "message_id": format!("c-{number}"), "workflow_id": format!("w-{number}"),
        "context": format!("A draft contract that has not been reviewed yet. [c-{number}]"),
    })
}

/// The id of the agent's reply to a message.
fn reply_id(message: &str) -> String {
    sha256(&format!("{message}|Legal Review Agent|1"))[..32].to_owned()
}

/// The agent's reply to a contract is published once, and ends where nobody takes it.
#[track_caller]
fn is_answered(system: &System, number: usize, context: &str) {
    let id = reply_id(&format!("c-{number}"));
    for topic in ["agent_messages", "unrouted"] {
        let rows = system.rows(topic);
        let replies: Vec<_> = rows.iter().filter(|row| row.text("message_id") == id).collect();
        assert_eq!(replies.len(), 1, "replies to c-{number} in {topic}");
        let reply = &replies[0];
        assert_eq!(reply.key.as_deref(), Some(format!("w-{number}").as_str()));
        assert_eq!(reply.text("workflow_id"), format!("w-{number}"));
        assert_eq!(reply.text("parent_id"), format!("c-{number}"));
        assert_eq!((reply.json["hop"].as_i64(), reply.text("sender")), (Some(1), "Legal Review Agent"));
        assert!(reply.text("context").starts_with(context), "{}", reply.json);
    }
}

fn redrive(system: &System, folder: &Path, url: &str) {
    let settings = system.settings(url, &[]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Baton::spawn_in(folder, &["redrive"], &settings).end_well(Duration::from_secs(30));
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_prompt_is_an_agent_with_dead_letters_and_redrive() {
    let folder = with_file("sql/legal_review.sql", LEGAL_REVIEW);
    let (model, system) = (model::start(), System::with_topics(1, &["legal_review"]));
    let baton = system.run_in(folder.path(), &[], &model, &[]);
    system.publish("agent_messages", [contract(0)]);
    system.wait_for("unrouted", 1);
    is_answered(&system, 0, "Review of a contract, finished. A person who works with data");
    let reply = system.rows("agent_messages").pop().unwrap();
    assert_eq!(reply.json["usage"]["model"], "stub-1");
    let routed = system.rows("legal_review").pop().unwrap();
    let decision = &routed.json["decision"];
    assert_eq!((decision["agent"].as_str(), decision["topic"].as_str()), {
        (Some("Legal Review Agent"), Some("legal_review"))
    });
    assert_eq!(routed.text("context"), contract(0)["context"]);

    // What it cannot take, and what its model refuses.
    system.send("legal_review", None, Some("w"), Some(b"garbage"));
    system.flush();
    system.wait_for("dead_letters", 1);
    model.fails_where(400, |call| !is_classification(call));
    system.publish("agent_messages", [contract(1)]);
    system.wait_for("dead_letters", 2);
    let letters = system.rows("dead_letters");
    for (letter, (id, status)) in letters.iter().zip([("legal_review/0/1", "contract"), ("w-1", "rejected")]) {
        assert_eq!((letter.text("pipeline"), letter.text("topic")), ("legal_review", "legal_review"));
        assert_eq!((letter.text("workflow_id"), letter.text("status")), (id, status), "{}", letter.json);
    }
    assert!(letters[0].text("error").starts_with("the message is not JSON ("), "{}", letters[0].json);

    model.recovers();
    redrive(&system, folder.path(), &model.url());
    system.wait_for("unrouted", 2);
    system.wait_for("dead_letters", 3);
    is_answered(&system, 1, "Review of a contract, finished. A person who works with data");
    baton.stop(Duration::from_secs(10));
    assert_eq!(system.rows("legal_review").len(), 5, "three that were new, two that came back");
    assert_eq!(system.rows("dead_letters")[2].text("payload"), letters[0].text("payload"));
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn sql_of_its_own_is_an_agent() {
    let text = format!(
        "{DECLARED}
         INSERT INTO agent_messages (workflow_id, value)
         SELECT workflow_id, reply(opened, concat('Review of a contract, finished. It has ', character_length(context), ' signs: ', message_id),
           NULL, '{{\"terms\": [\"penalty\"]}}')
         FROM legal_review;"
    );
    let folder = with_file("pipelines/review_contracts.sql", &text);
    let (model, system) = (model::start(), System::with_topics(2, &["legal_review"]));
    let baton = system.run_in(folder.path(), &["route_messages", "review_contracts"], &model, &[]);
    system.publish("agent_messages", (0..20).map(contract));
    system.send("legal_review", Some(1), Some("w"), Some(b"{\"context\": \"Straight to the agent.\"}"));
    system.flush();
    system.wait_for("unrouted", 20);
    system.wait_for("dead_letters", 1);
    system.wait_until_committed("review_contracts", "legal_review");
    baton.stop(Duration::from_secs(10));
    for number in 0..20 {
        is_answered(&system, number, "Review of a contract, finished. It has ");
    }
    assert!(system.rows("unrouted").iter().all(|row| row.json["terms"] == json!(["penalty"])));
    let letter = system.rows("dead_letters").pop().unwrap();
    assert_eq!((letter.text("pipeline"), letter.text("status")), ("review_contracts", "contract"));
    assert!(letter.text("error").contains("publish to agent_messages"), "{}", letter.json);
    // Its model is asked for the routes alone.
    assert_eq!(model.seen().calls, 40);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn an_agent_without_work_just_gets_its_messages() {
    let folder = with_file("pipelines/legal_review.sql", DECLARED);
    let (model, system) = (model::start(), System::with_topics(2, &["legal_review"]));
    let baton = system.run_in(folder.path(), &[], &model, &[]);
    assert!(!baton.stderr().contains("legal_review"), "there is nothing to run: {}", baton.stderr());
    system.publish("agent_messages", (0..20).map(contract));
    system.wait_for("legal_review", 20);
    system.wait_until_committed("route_messages", "agent_messages");
    baton.stop(Duration::from_secs(10));
    let topics = system.all();
    for row in system.rows("legal_review") {
        let mut message = row.json.clone();
        let decision = message.as_object_mut().unwrap().remove("decision").unwrap();
        assert_eq!(decision["agent"], "Legal Review Agent");
        let published = contract(row.text("message_id")[2..].parse().unwrap());
        for key in ["message_id", "workflow_id", "context"] {
            assert_eq!(message[key], published[key]);
        }
        assert_eq!(row.key.as_deref(), published["workflow_id"].as_str());
    }
    assert_eq!((topics["agent_messages"].len(), topics["agent_predictions"].len()), (20, 20));
    for empty in ["unrouted", "dead_letters", "halted", "lead_ingestion", "completed"] {
        assert!(topics[empty].is_empty(), "{empty}: {:?}", topics[empty]);
    }
}

type Calls = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A service that reviews contracts: it refuses those with `[c-1]` and says nothing of those with `[c-2]`.
async fn review(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let context = message["context"].as_str().unwrap().to_owned();
    calls.lock().unwrap().push((headers, message));
    if context.contains("[c-1]") {
        (StatusCode::UNPROCESSABLE_ENTITY, "no contract".into())
    } else if context.contains("[c-2]") {
        (StatusCode::OK, json!({ "terms": [] }).to_string())
    } else {
        let answer =
            json!({ "context": "Review of a contract, finished. Two terms.", "terms": ["penalty"], "hop": 99 });
        (StatusCode::OK, answer.to_string())
    }
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_service_is_an_agent() {
    let calls = Calls::default();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/review", post(review)).with_state(Arc::clone(&calls));
    let service = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    service.spawn(async move {
        axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
    });
    let more = format!(
        ",\n  url = 'http://127.0.0.1:{port}/review',\n  options = '{{\"headers\": {{\"Authorization\": \"Bearer \
         ${{REVIEW_TOKEN}}\"}}}}'\n);"
    );
    let folder = with_file("sql/legal_review.sql", &DECLARED.replace("\n);", &more));
    let (model, system) = (model::start(), System::with_topics(1, &["legal_review"]));
    let pipelines = ["route_messages", "legal_review"];
    let baton = system.run_in(folder.path(), &pipelines, &model, &[("REVIEW_TOKEN", "from the environment")]);
    system.publish("agent_messages", [contract(0)]);
    system.wait_for("unrouted", 1);
    system.publish("agent_messages", (1..3).map(contract));
    system.wait("both are dead letters", PATIENCE, |topics| topics.get("dead_letters").map_or(0, Vec::len) >= 2);
    baton.stop(Duration::from_secs(10));

    is_answered(&system, 0, "Review of a contract, finished. Two terms.");
    let reply = system.rows("unrouted").pop().unwrap();
    assert_eq!((&reply.json["terms"], &reply.json["hop"]), (&json!(["penalty"]), &json!(1)));
    let mut letters = system.rows("dead_letters");
    letters.sort_by_key(|row| row.text("workflow_id").to_owned());
    for (letter, (status, error)) in
        letters.iter().zip([("rejected", "422"), ("invalid", "the service answered without a `context`")])
    {
        assert_eq!((letter.text("pipeline"), letter.text("status")), ("legal_review", status), "{}", letter.json);
        assert!(letter.text("error").contains(error), "{}", letter.json);
    }
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 3);
    for (headers, message) in calls.iter() {
        assert_eq!(headers["authorization"], "Bearer from the environment");
        let id = message["message_id"].as_str().unwrap();
        assert_eq!(headers["idempotency-key"], sha256(id).as_str());
        assert_eq!((&message["hop"], &message["decision"]["agent"]), (&json!(0), &json!("Legal Review Agent")));
    }
    service.shutdown_background();
}
