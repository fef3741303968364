//! `baton run` without names: every pipeline of the project that does not end by itself, and the topics that it declares.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use serde_json::json;
use tempfile::TempDir;

use crate::model;
use crate::system::{DESTINATIONS, PATIENCE, PIPELINES, System, admin, message};

/// The largest message that a topic takes, as the broker has it.
fn largest_message(system: &System, topic: &str) -> u64 {
    let wanted = [ResourceSpecifier::Topic(topic)];
    let answer = futures::executor::block_on(admin(system.broker).describe_configs(&wanted, &AdminOptions::new()));
    let resource = answer.unwrap().remove(0).unwrap();
    resource.get("max.message.bytes").and_then(|entry| entry.value.as_deref()).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn run_without_names_starts_all_but_redrive_and_creates_their_topics() {
    let (model, system) = (model::start(), System::without_topics());
    let folder = TempDir::new().unwrap();
    let ready = folder.path().join("ready");
    let arguments = ["--create-topics", "--ready-file", ready.to_str().unwrap()];
    let baton = system.run(&arguments, &model, &[("BATON_TOPIC_PARTITIONS", "2")]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(&ready).is_ok_and(|text| text.starts_with("ready")) {
        assert!(Instant::now() < deadline, "not ready:\n{}", baton.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = baton.stderr();
    let list = log.split("running pipelines=").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let mut names: Vec<&str> = list.trim_matches('"').split(", ").collect();
    names.sort_unstable();
    let mut expected = PIPELINES.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected, "all but redrive, which ends by itself");

    // A message of 1 MB fits wherever it goes, with its decision and in base64.
    for topic in DESTINATIONS.iter().chain(&["outbox", "completed", "agent_predictions"]) {
        let expected = if *topic == "dead_letters" { 16_777_216 } else { 4_194_304 };
        assert_eq!(largest_message(&system, topic), expected, "{topic}");
        assert_eq!(system.broker.partitions(topic), 2, "{topic}");
    }
    system.read_all();
    let mut large = message(4).0;
    large["padding"] = json!("x".repeat(1_040_000));
    system.publish("agent_messages", [large, message(5).0]);
    system.wait("both are routed", PATIENCE, |topics| {
        topics.contains_key("dead_letters") && topics.contains_key("unrouted")
    });
    // It has no e-mails: the agent refuses it, and its dead letter holds all of it.
    assert!(system.rows("dead_letters")[0].bytes.len() > 1_300_000);
    baton.stop(Duration::from_secs(10));
}
