//! Things outside that are missing or refuse: a topic, a broker, a model, a key. Each is said in so many words.

use std::time::{Duration, Instant};

use crate::broker::{eventually, free_port};
use crate::model;
use crate::played::url;
use crate::process::Baton;
use crate::system::{DESTINATIONS, System, messages};

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_missing_topic_is_named_and_created_on_request() {
    let model = model::start();
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
error[R006]: topic `send_email` (table `send_email_topic`) does not exist
 --> pipelines/send_emails.sql:5:1
  |
5 | CREATE AGENT send_email WITH (
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
help: create it, or run with `--create-topics`"
    );
    // Of what it writes, all that is missing is named at once.
    system.broker.create_topic("send_email", 1);
    let stderr = refused();
    for topic in ["outbox", "completed", "dead_letters"] {
        let error = format!("error[R006]: topic `{topic}` (table `{topic}`) does not exist");
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
error[R005]: cannot reach the Kafka broker at `{servers}` (table `send_email_topic`): Connect to ipv4#{servers} failed: \
         Connection refused
 --> pipelines/send_emails.sql:5:1
  |
5 | CREATE AGENT send_email WITH (
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
help: check `bootstrap_servers`, that the broker runs, and that its listener expects the same `auth.protocol`"
    );
    assert_eq!(without_log(&baton.stderr()), expected);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_wrong_key_ends_the_process_is_never_shown_and_loses_nothing() {
    const KEY: &str = "sk-this-is-a-very-secret-key-0815";
    let model = model::start();
    model.fails(401);
    let system = System::fresh(1);
    system.publish("agent_messages", messages(0..3));
    let url = model.url();
    let settings = system.settings(&url, &[("BATON_LLM_API_KEY", KEY)]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut baton = Baton::spawn(&["route_messages"], &settings);
    assert_eq!(baton.end(Duration::from_secs(30)).code(), Some(78), "{}", baton.stderr());
    let (stdout, stderr) = (baton.stdout(), baton.stderr());
    let origin = url.replace("/v1", "");
    let error = format!(
        "error[R007]: {origin} answers 401 Unauthorized: Incorrect API key provided: ***. Check BATON_LLM_API_KEY"
    );
    assert!(stderr.contains(&error), "{stderr}");
    assert!(!stdout.contains(KEY) && !stderr.contains(KEY), "{stderr}");
    // A refusal is no decision: the messages are where they were.
    let calls = model.seen().calls;
    // Each is asked about once, and two harmless questions are.
    assert!((3..=5).contains(&calls) && model.seen().by_key.get(KEY) == Some(&calls), "{calls} calls, with the key");
    assert!(system.rows("agent_predictions").is_empty() && system.rows("dead_letters").is_empty());
    assert!(system.broker.committed("route_messages", "agent_messages").values().all(|offset| *offset <= 0));

    model.recovers();
    let baton = system.run(&["route_messages"], &model, &[("BATON_LLM_API_KEY", "the-right-one")]);
    system.wait_until_routed(0..3);
    system.wait_until_committed("route_messages", "agent_messages");
    baton.stop(Duration::from_secs(10));
    system.assert_routed(0..3, 1);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn messages_wait_for_a_model_that_is_not_there() {
    let port = free_port();
    let (url, system) = (url(port), System::fresh(1));
    let settings = system.settings(&url, &[("BATON_LLM_RETRIES", "0"), ("BATON_LLM_DEADLINE", "1s")]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let baton = Baton::start(&["route_messages"], &settings);
    system.publish("agent_messages", messages(0..20));
    let waits = format!("`llm_classify` waits: cannot connect to http://127.0.0.1:{port}: ");
    eventually("the log says that rows wait", || baton.stderr().contains(&waits));
    // Several times what a row may take elsewhere.
    let model = {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            assert!(system.rows("agent_predictions").is_empty() && system.rows("dead_letters").is_empty());
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(system.broker.committed("route_messages", "agent_messages").values().all(|offset| *offset <= 0));
        model::start_at(port)
    };
    system.wait_until_routed(0..20);
    system.wait_until_committed("route_messages", "agent_messages");
    eventually("the log says that they go on", || baton.stderr().contains("`llm_classify` continues after "));
    baton.stop(Duration::from_secs(10));
    system.assert_routed(0..20, 1);
    assert_eq!(model.seen().calls, 20);
}
