//! Things outside that are missing or refuse: a topic, a broker, a model, a key. Each is said in so many words.

use std::time::Duration;

use crate::broker::free_port;
use crate::model::{Model, url};
use crate::process::Baton;
use crate::system::{DESTINATIONS, System, messages};

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_missing_topic_is_named_and_created_on_request() {
    let model = Model::start();
    let system = System::without_topics();
    let servers = system.broker.servers();
    let refused = || {
        let mut baton = Baton::spawn(&["send_emails"], &[("KAFKA_BOOTSTRAP_SERVERS", &servers)]);
        assert_eq!(baton.end(Duration::from_secs(30)).code(), Some(1));
        assert_eq!(baton.stdout(), "");
        without_log(&baton.stderr())
    };
    assert_eq!(
        refused(),
        "\
pipeline `send_emails` failed:
error[R006]: topic `send_email` (table `send_email`) does not exist
 --> sql/send_email.sql:7:14
  |
7 | CREATE TABLE send_email (
  |              ^^^^^^^^^^
  |
help: create it, or run with `--create-topics`"
    );
    // Of what it writes, all that is missing is named at once.
    system.broker.create_topic("send_email", 1);
    let stderr = refused();
    for topic in ["outbox", "completed", "dead_letters"] {
        let error = format!("error[R006]: topic `{topic}` (table `{topic}_sink`) does not exist");
        assert_eq!(stderr.matches(&error).count(), 1, "{stderr}");
    }

    let baton = system.run(&["--create-topics", "copy_leads", "route_messages"], &model, &[]);
    for topic in DESTINATIONS {
        assert!(system.broker.partitions(topic) > 0, "{topic}");
    }
    baton.stop(Duration::from_secs(10));
    let baton = system.run(&["--create-topics", "send_emails"], &model, &[]);
    baton.stop(Duration::from_secs(10));
    system.read_all();
    let baton = system.run(&["route_messages"], &model, &[]);
    system.publish("agent_messages", messages(0..6));
    system.wait_until_routed(0..6);
    baton.stop(Duration::from_secs(10));
}

/// What is written for people, without the log.
fn without_log(stderr: &str) -> String {
    let lines = stderr.lines().filter(|line| !line.contains(" INFO ") && !line.contains(" WARN "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_broker_that_is_not_there_is_said_within_15_seconds() {
    let servers = format!("127.0.0.1:{}", free_port());
    let mut baton = Baton::spawn(&["send_emails"], &[("KAFKA_BOOTSTRAP_SERVERS", &servers)]);
    assert_eq!(baton.end(Duration::from_secs(15)).code(), Some(1));
    let expected = format!(
        "\
pipeline `send_emails` failed:
error[R005]: cannot reach the Kafka broker at `{servers}` (table `send_email`): Connect to ipv4#{servers} failed: Connection \
         refused
 --> sql/send_email.sql:7:14
  |
7 | CREATE TABLE send_email (
  |              ^^^^^^^^^^
  |
help: check `bootstrap_servers`, that the broker runs, and that its listener expects the same `auth.protocol`"
    );
    assert_eq!(without_log(&baton.stderr()), expected);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_wrong_key_is_rejected_and_never_shown() {
    const KEY: &str = "sk-this-is-a-very-secret-key-0815";
    let model = Model::start();
    model.fails(401);
    let system = System::fresh(1);
    system.publish("agent_messages", messages(0..3));
    let mut baton = system.run(&["route_messages"], &model, &[("BATON_LLM_API_KEY", KEY)]);
    system.wait_for("dead_letters", 3);
    system.wait_for("agent_predictions", 3);
    baton.terminate();
    baton.end_well(Duration::from_secs(10));
    let (stdout, stderr) = (baton.stdout(), baton.stderr());
    let origin = model.url().replace("/v1", "");
    for row in system.rows("dead_letters") {
        assert_eq!(row.text("status"), "rejected");
        let error =
            format!("{origin} answers 401 Unauthorized: Incorrect API key provided: ***. Look at BATON_LLM_API_KEY");
        assert_eq!(row.text("error"), error);
    }
    let seen = model.seen();
    assert_eq!((seen.calls, seen.by_key.get(KEY)), (3, Some(&3)), "asked once each, with the key");
    assert!(!stdout.contains(KEY) && !stderr.contains(KEY), "{stderr}");
    for (topic, rows) in system.all() {
        for row in rows {
            assert!(!String::from_utf8_lossy(&row.bytes).contains(KEY), "{topic}: {}", row.json);
        }
    }
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_model_that_is_not_there_makes_dead_letters_after_its_retries() {
    let port = free_port();
    let (url, system) = (url(port), System::fresh(1));
    let settings = system.settings(&url, &[("BATON_LLM_RETRIES", "2")]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let baton = Baton::start(&["route_messages"], &settings);
    system.publish("agent_messages", messages(0..20));
    system.wait_for("dead_letters", 20);
    system.wait_for("agent_predictions", 20);
    baton.stop(Duration::from_secs(10));
    for row in system.rows("dead_letters") {
        assert_eq!(row.text("status"), "unavailable");
        let error = format!("cannot connect to http://127.0.0.1:{port}: ");
        assert!(row.text("error").starts_with(&error), "{}", row.json);
    }
    for row in system.rows("agent_predictions") {
        assert_eq!((row.text("status"), row.text("destination")), ("unavailable", "dead_letters"));
        assert_eq!(row.json["attempts"], 3, "{}", row.json);
    }
}
