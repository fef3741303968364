//! What a message carries: fields that nobody knows arrive as they were sent, however many agents it goes through.

use std::time::Duration;

use serde_json::{Value, json};

use crate::model;
use crate::system::{PATIENCE, System};

/// As text, because a parser might change it: unknown fields at the top and below, numbers that no DOUBLE holds, keys that
/// are there twice.
const ODD: &str = r#"{
  "context": "Overwritten.", "trace": {"span": "first"}, "context": "New, raw lead, not researched yet. [odd]",
  "message_id": "odd-0", "workflow_id": "w-first", "workflow_id": "w-odd",
  "trace": {"span": "last", "baggage": [null, true, {"größe": "ß \"q\" \u0000 \ud83d\ude00"}]},
  "big": 9007199254740993, "long": 123456789012345678901234567890, "money": 1.10, "tiny": -0.0, "huge": 1e400,
  "lead_data": {
    "name": "Ada", "email": "old@nord.example", "email": "ada@nord.example", "job_title": "Head of Data",
    "project_description": "Move our warehouse; the budget is approved.",
    "employees": 9007199254740995, "custom": {"deep": [1.50, 18446744073709551617], "empty": {}, "none": null}
  }
}"#;

/// What must stand in each of the topics, byte by byte.
const KEPT: [&str; 8] = [
    r#""trace":{"span":"last","baggage":[null,true,{"größe":"ß \"q\" \u0000 😀"}]}"#,
    r#""big":9007199254740993"#,
    r#""long":123456789012345678901234567890"#,
    r#""money":1.10"#,
    r#""tiny":-0.0"#,
    r#""huge":1e+400"#,
    r#""employees":9007199254740995"#,
    r#""custom":{"deep":[1.50,18446744073709551617],"empty":{},"none":null}"#,
];

/// What came before a key that is there again.
const GONE: [&str; 4] = ["Overwritten", "first", "w-first", "old@nord.example"];

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn unknown_fields_and_large_numbers_go_through_three_agents() {
    let (model, system) = (model::start(), System::fresh(2));
    let pipelines = ["route_messages", "ingest_leads", "score_leads", "write_outreach", "send_emails"];
    let baton = system.run(&pipelines, &model, &[]);
    system.send("agent_messages", None, None, Some(ODD.as_bytes()));
    system.flush();
    system.wait_for("completed", 1);
    // One that nobody takes, and one that is past the limit, keep all of it as well.
    let unrouted = ODD.replace("New, raw lead", "Something else").replace("odd-0", "odd-1").replace("w-odd", "w-odd-1");
    let halted = ODD.replace("odd-0", "odd-2").replace("w-odd", "w-odd-2").replace("\"big\"", "\"hop\": 21, \"big\"");
    system.send("agent_messages", None, None, Some(unrouted.as_bytes()));
    system.send("agent_messages", None, None, Some(halted.as_bytes()));
    system.flush();
    system.wait("both are there", PATIENCE, |topics| topics.contains_key("unrouted") && topics.contains_key("halted"));
    baton.stop(Duration::from_secs(10));

    let topics = system.all();
    for (topic, hop, reason) in [
        ("lead_ingestion", 0, None),
        ("lead_scoring", 1, None),
        ("active_outreach", 2, None),
        ("send_email", 3, None),
        ("unrouted", 0, Some("no agent accepts this message")),
        ("halted", 21, Some("hop 21 is past the limit of 20")),
    ] {
        let [row] = topics[topic].as_slice() else { panic!("{topic} has {} rows", topics[topic].len()) };
        let text = String::from_utf8(row.bytes.clone()).unwrap();
        for part in KEPT {
            assert_eq!(text.matches(part).count(), 1, "{part} in {topic}: {text}");
        }
        for part in GONE {
            assert!(!text.contains(part), "{part} in {topic}: {text}");
        }
        assert_eq!((&row.json["hop"], &row.json["lead_data"]["email"]), (&json!(hop), &json!("ada@nord.example")));
        assert!(row.text("workflow_id").starts_with("w-odd") && row.key.as_deref() == Some(row.text("workflow_id")));
        assert_eq!(row.json["reason"].as_str(), reason);
        assert_eq!(row.json.get("decision").is_some(), topic != "halted");
    }
    assert_eq!(topics["outbox"][0].text("to"), "ada@nord.example");
    assert!(topics["dead_letters"].is_empty(), "{:?}", topics["dead_letters"]);
    let emails = |row: &Value| row["emails"].as_array().map_or(0, Vec::len);
    assert_eq!(emails(&topics["send_email"][0].json), 1);
}
