//! Where reading begins and goes on, how large messages may be, and a model that is slower than the group's patience.

use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::model;
use crate::process::project;
use crate::system::{PATIENCE, System, messages};

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_new_group_gets_all_that_was_there_before_and_a_known_one_goes_on() {
    let model = model::start();
    let system = System::fresh(3);
    system.publish("agent_messages", messages(0..300));
    let baton = system.run(&["route_messages"], &model, &[]);
    system.wait_until_routed(0..300);
    baton.stop(Duration::from_secs(10));
    assert_eq!(system.broker.committed("route_messages", "agent_messages"), system.broker.ends("agent_messages"));

    system.publish("agent_messages", messages(300..400));
    let baton = system.run(&["route_messages"], &model, &[]);
    system.wait_until_routed(0..400);
    baton.stop(Duration::from_secs(10));
    system.assert_routed(0..400, 1);
    assert_eq!(model.seen().calls, 400);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn messages_of_5_mb_arrive_whole() {
    let model = model::start();
    let system = System::with(2, &[("max.message.bytes", "16777216")]);
    // Not all of the same, and not all of one byte a character.
    let context = |n: usize| format!("New, raw lead. [large-{n}] {}", format!("ä\"\\{n} ").repeat(800_000));
    let message = |n: usize| json!({ "message_id": format!("l-{n}"), "workflow_id": "w", "context": context(n) });
    system.publish("agent_messages", (0..4).map(message));
    let baton = system.run(&["route_messages"], &model, &[]);
    system.wait_for("lead_ingestion", 4);
    system.wait_for("agent_predictions", 4);
    baton.stop(Duration::from_secs(10));
    for row in system.rows("lead_ingestion") {
        let number: usize = row.text("message_id")[2..].parse().unwrap();
        assert!(row.bytes.len() > 5_000_000);
        assert!(row.text("context") == context(number), "message {number} is not what was published");
    }
    assert_eq!(system.rows("agent_predictions").len(), 4);
}

/// A pipeline that brings everything along, from a folder of its own.
const PATIENT: &str = r#"
CREATE TABLE questions (value BYTEA) WITH (
  connector = 'kafka', type = 'source', bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS}', topic = 'agent_messages',
  format = 'raw_bytes', 'source.group_id' = 'patient', 'source.offset' = 'earliest',
  client_configs = 'max.poll.interval.ms=10000,session.timeout.ms=6000'
);
CREATE TABLE answers (message_id TEXT, decision TEXT) WITH (
  connector = 'kafka', type = 'sink', bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS}', topic = 'agent_predictions',
  format = 'json', 'sink.key_field' = 'message_id'
);
CREATE VIEW decided AS
SELECT
  json_get_str(TRY_CAST(value AS TEXT), 'message_id') AS message_id,
  llm_classify(
    json_get_str(TRY_CAST(value AS TEXT), 'context'),
    '[{"name": "Lead Ingestion Agent", "description": "Takes all.", "input": "Anything."}]',
    '{}'
  ) AS decision
FROM questions;
INSERT INTO answers SELECT message_id, decision FROM decided;
"#;

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_model_slower_than_max_poll_interval_does_not_cost_the_group_its_member() {
    const FIRST: usize = 500;
    let model = model::start();
    let system = System::with(1, &[("max.message.bytes", "16777216")]);
    // 80 MB, of which a pipeline has 64 MiB in flight at most: there is always something that it must not take yet.
    let padding = "x".repeat(1_000_000);
    let message = |n: usize| {
        let context = format!("New, raw lead. [p-{n}]");
        json!({ "message_id": format!("p-{n}"), "context": context, "padding": padding })
    };
    let small = |n: usize| json!({ "message_id": format!("s-{n}"), "context": format!("New, raw lead. [s-{n}]") });
    system.publish("agent_messages", (0..FIRST).map(small));
    let folder = TempDir::new().unwrap();
    let pipeline = folder.path().join("patient.sql");
    std::fs::write(&pipeline, PATIENT).unwrap();
    let udfs = project().join("udfs");
    let arguments = ["--udfs", udfs.to_str().unwrap(), pipeline.to_str().unwrap()];
    let baton = system.run(&arguments, &model, &[("BATON_LLM_CONCURRENCY", "200")]);

    // The limit of calls grows with the first answers.
    model.wait("the first are answered", |seen| seen.calls >= FIRST && seen.in_flight == 0);
    model.takes(Duration::from_secs(15));
    system.publish("agent_messages", (0..80).map(message));
    model.wait("it holds as many as may be in flight", |seen| seen.in_flight >= 60);
    let full = Instant::now();
    assert!(model.seen().calls < FIRST + 80, "nothing was left to hold back");
    while model.seen().in_flight >= 60 {
        assert_eq!(system.broker.members("patient"), 1, "after {:?}", full.elapsed());
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(full.elapsed() > Duration::from_secs(11), "the model was not slow enough for this test");
    system.wait("all are answered", PATIENCE, |topics| {
        topics.get("agent_predictions").is_some_and(|rows| rows.len() >= FIRST + 80)
    });
    system.wait_until_committed("patient", "agent_messages");
    assert!(!baton.stderr().contains("joining the group again"), "{}", baton.stderr());
    baton.stop(Duration::from_secs(10));
    let seen = model.seen();
    assert_eq!((seen.calls, seen.by_mark.len()), (FIRST + 80, FIRST + 80), "each was asked about once");
    assert_eq!(system.rows("agent_predictions").len(), FIRST + 80);
}
