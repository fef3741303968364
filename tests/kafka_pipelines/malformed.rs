//! Messages that a typed table cannot read: a dead letter each, with its bytes and its place, and no offset is committed
//! before it is delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::model;
use crate::process::Baton;
use crate::system::System;

/// Reads agent_messages with types; the sinks are the project's own.
fn pipeline(rule: &str) -> (TempDir, PathBuf) {
    let text = format!(
        "CREATE TABLE typed (message_id TEXT NOT NULL, hop INT, at TIMESTAMP, tags TEXT[], more JSON) WITH (
           connector = 'kafka', type = 'source', bootstrap_servers = '${{KAFKA_BOOTSTRAP_SERVERS}}',
           topic = 'agent_messages', format = 'json', 'source.group_id' = 'typed', 'source.offset' = 'earliest', {rule}
         );
         CREATE TABLE taken (message_id TEXT, hop INT) WITH (
           connector = 'kafka', type = 'sink', bootstrap_servers = '${{KAFKA_BOOTSTRAP_SERVERS}}',
           topic = 'completed', format = 'json'
         );
         INSERT INTO taken SELECT message_id, hop FROM typed;"
    );
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("typed.sql");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn malformed() -> Vec<Vec<u8>> {
    let nested = [b"{\"message_id\":\"m\",\"more\":".to_vec(), vec![b'['; 100_000], vec![b']'; 100_000], b"}".to_vec()];
    let mut messages: Vec<Vec<u8>> = [
        b"\xff\xfe\x00garbage".as_slice(),
        b"\x00",
        b"\xef\xbb\xbf{\"message_id\":\"m\"}",
        b"{\"message_id\":\"\\ud800\"}",
        b"{\"hop\":1}",
        b"{\"message_id\":null}",
        b"{\"message_id\":\"m\",\"hop\":1e999}",
        b"{\"message_id\":\"m\",\"hop\":\"three\"}",
        b"{\"message_id\":\"m\",\"at\":\"soon\"}",
        b"{\"message_id\":\"m\",\"tags\":[1]}",
        b"{\"message_id\":\"m\"}\n{\"message_id\":\"n\"}",
        b"  ",
    ]
    .map(<[u8]>::to_vec)
    .into();
    messages.push(nested.concat());
    messages.push(format!("{{\"message_id\":{}}}", "9".repeat(10_000)).into_bytes());
    messages.push(vec![b'y'; 5_000_000]);
    messages
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_message_that_does_not_fit_its_table_is_a_dead_letter_with_its_bytes() {
    let (_folder, path) = pipeline("'baton.dead_letters' = 'dead_letters'");
    let system = System::with(2, &[("max.message.bytes", "16777216")]);
    let mut expected = BTreeMap::new();
    let mut next = [0_i64; 2];
    for (number, bytes) in malformed().into_iter().enumerate() {
        let at = number % 2;
        let partition = i32::try_from(at).unwrap();
        let good = json!({ "message_id": format!("good-{number}"), "hop": number }).to_string();
        for payload in [Some(good.as_bytes()), None, Some(b"".as_slice())] {
            system.send("agent_messages", Some(partition), Some("key"), payload);
        }
        system.send("agent_messages", Some(partition), Some("key"), Some(&bytes));
        expected.insert((partition, next[at] + 3), bytes);
        next[at] += 4;
    }
    system.flush();
    let count = expected.len();
    let baton = system.run(&[path.to_str().unwrap()], &model::start(), &[]);
    system.wait_for("dead_letters", count);
    system.wait_for("completed", count);
    system.wait_until_committed("typed", "agent_messages");
    baton.stop(Duration::from_secs(10));
    for row in system.rows("dead_letters") {
        let number = |field: &str| row.json[field].as_i64().unwrap();
        let place = (i32::try_from(number("partition")).unwrap(), number("offset_id"));
        let bytes = expected.remove(&place).unwrap_or_else(|| panic!("nothing bad was at {place:?}: {}", row.json));
        assert!(BASE64_STANDARD.decode(row.text("payload")).unwrap() == bytes, "{place:?} has other bytes");
        assert_eq!(
            (row.text("topic"), row.text("pipeline"), row.text("status")),
            ("agent_messages", "typed", "unreadable")
        );
        assert!(row.text("error").len() > 10 && row.text("error").len() < 500, "{}", row.json);
        let id = format!("agent_messages/{}/{}", place.0, place.1);
        assert_eq!((row.text("workflow_id"), row.key.as_deref()), (id.as_str(), Some(id.as_str())));
        assert!(number("timestamp") > 1_700_000_000_000 && row.text("created_at").ends_with('Z'), "{}", row.json);
    }
    assert!(expected.is_empty(), "no dead letter of {:?}", expected.keys());
    assert_eq!(system.rows("completed").len(), count);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_dead_letter_that_cannot_be_delivered_holds_the_offset_back() {
    let (_folder, path) = pipeline("'baton.dead_letters' = 'small'");
    let text = std::fs::read_to_string(&path).unwrap();
    let small = "CREATE TABLE small (payload TEXT, error TEXT) WITH (
        connector = 'kafka', type = 'sink', bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS}', topic = 'small-letters',
        format = 'json'
    );";
    std::fs::write(&path, format!("{small}\n{text}")).unwrap();
    let model = model::start();
    let system = System::fresh(1);
    system.broker.create_topic_with("small-letters", 1, &[("max.message.bytes", "2000")]);
    let good = |n: usize| json!({ "message_id": format!("good-{n}") }).to_string();
    system.send("agent_messages", Some(0), None, Some(good(0).as_bytes()));
    system.send("agent_messages", Some(0), None, Some(b"garbage"));
    // They come later, in a batch of their own.
    let url = model.url();
    let settings = system.settings(&url, &[]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut baton = Baton::start(&[path.to_str().unwrap()], &settings);
    system.flush();
    system.wait_until_committed("typed", "agent_messages");
    system.send("agent_messages", Some(0), None, Some(good(2).as_bytes()));
    system.send("agent_messages", Some(0), None, Some(&vec![b'y'; 5_000]));
    system.flush();
    assert_eq!(baton.end(Duration::from_mins(1)).code(), Some(1), "{}", baton.stderr());
    assert!(baton.stderr().contains("error[R002]"), "{}", baton.stderr());
    let committed = system.broker.committed("typed", "agent_messages")[&0];
    assert!((2..=3).contains(&committed), "{committed}: the letter at offset 3 was never delivered");
    system.broker.delete_topic("small-letters");
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn what_is_dropped_is_counted_and_passed_by_commits() {
    let (_folder, path) = pipeline("bad_data = 'drop'");
    let system = System::with(1, &[("max.message.bytes", "16777216")]);
    let bad = malformed();
    for (number, bytes) in bad.iter().enumerate() {
        system.send("agent_messages", Some(0), None, Some(bytes));
        let good = json!({ "message_id": format!("good-{number}") }).to_string();
        system.send("agent_messages", Some(0), None, Some(good.as_bytes()));
    }
    system.flush();
    let mut baton = system.run(&[path.to_str().unwrap()], &model::start(), &[]);
    system.wait_for("completed", bad.len());
    system.wait_until_committed("typed", "agent_messages");
    baton.terminate();
    baton.end_well(Duration::from_secs(10));
    assert!(
        baton.stderr().contains(&format!("messages that cannot be read are dropped table=typed total={}", bad.len()))
    );
}
