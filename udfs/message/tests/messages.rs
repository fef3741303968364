//! The functions as SQL calls them: a message goes through the router and through agents.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use baton_message::{forward, open, reply, start_workflow};
use serde_json::{Value, json};

const ROUTER: &str = r#"{"agents": ["Lead Scoring Agent", "Send Email Agent"], "hops": 20, "messages": 100}"#;
const SCORING: &str = r#"{"agent": "Lead Scoring Agent"}"#;

fn open_at(value: &[u8], offset: i64, options: &str) -> String {
    open(Some(value), Some("t"), Some(2), Some(offset), Some(1_772_352_930_123), Some(options))
}

fn opened(value: &str, offset: i64, options: &str) -> Value {
    serde_json::from_str(&open_at(value.as_bytes(), offset, options)).unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_context_begins_a_workflow_with_ids_from_its_place() {
    let opened = opened(r#"{"x": 1, "context": "New lead."}"#, 7, ROUTER);
    // The first 32 digits of the SHA-256 of `message|t/2/7` and of `workflow|t/2/7`.
    let (message, workflow) = ("cb59a1e31a6debed02094793136d8f7e", "8f132d03c2d0db08b25fa6dff7aea292");
    let expected = json!({
        "refusal": null, "refusal_status": null, "halted": null,
        "message_id": message, "workflow_id": workflow, "parent_id": null, "hop": 0, "sender": "unknown",
        "created_at": "2026-03-01T08:15:30.123Z", "received_at": "2026-03-01T08:15:30.123Z", "agent": null,
        "message": {
            "message_id": message, "workflow_id": workflow, "parent_id": null, "hop": 0, "sender": "unknown",
            "created_at": "2026-03-01T08:15:30.123Z", "x": 1, "context": "New lead.",
        },
    });
    assert_eq!(opened, expected);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&opened), keys(&expected), "the keys have an order: the long ones are last");
}

#[test]
fn the_id_of_a_reply_without_one_follows_from_what_it_says() {
    let reply = r#"{"workflow_id":"w","parent_id":" p ","hop":1,"sender":"lead scoring agent","context":"c"}"#;
    let opened = opened(reply, 8, ROUTER);
    assert_eq!(opened["refusal"], Value::Null);
    // Of `p|lead scoring agent|c`.
    assert_eq!(opened["message_id"], "885227b583aa420625daf19ea2386734");
}

#[test]
fn what_cannot_be_read_or_breaks_the_contract_is_refused_with_its_place() {
    for (value, status, why) in [
        (&b"\xff"[..], "unreadable", "the message is not UTF-8 text"),
        (b"{", "contract", "the message is not JSON ("),
        (b"", "contract", "the message is not JSON ("),
        (b"[1]", "contract", "the message is JSON, but not an object"),
        (br#"{"hop": "1"}"#, "contract", "the message does not match its contract: `hop` is \"1\""),
        (br#"{"context": "x", "hop": -1}"#, "contract", "the message does not match its contract: `hop` is -1"),
        (br#"{"context": "x", "hop": 1e30}"#, "contract", "the message does not match its contract: `hop` is 1e+30"),
    ] {
        let opened: Value = serde_json::from_str(&open_at(value, 9, ROUTER)).unwrap();
        assert_eq!(opened["refusal_status"], status, "{opened}");
        assert!(opened["refusal"].as_str().unwrap().starts_with(why), "{opened}");
        assert_eq!((&opened["workflow_id"], &opened["message"]), (&json!("t/2/9"), &Value::Null));
    }
    let long = json!({"message_id": "m".repeat(300), "workflow_id": "w".repeat(300), "context": "x"}).to_string();
    let opened = opened(&long, 9, ROUTER);
    assert_eq!(opened["workflow_id"], "w".repeat(200));
    assert_eq!(opened["message_id"], "m".repeat(200));
}

#[test]
fn a_reply_must_state_its_place() {
    for (reply, lacks) in [
        (r#"{"sender":"Send Email Agent","context":"c"}"#, "`workflow_id`, `parent_id`, `hop`"),
        (r#"{"sender":" send email AGENT ","context":"c","workflow_id":"w","hop":1}"#, "`parent_id`"),
        (r#"{"parent_id":"p","context":"c","workflow_id":"w"}"#, "`hop`"),
    ] {
        let refusal = opened(reply, 1, ROUTER)["refusal"].as_str().unwrap().to_owned();
        assert!(refusal.ends_with(&format!("lacks {lacks}")), "{refusal}");
    }
    let zero = opened(r#"{"parent_id":"p","context":"c","workflow_id":"w","hop":0}"#, 1, ROUTER);
    assert_eq!(zero["refusal"], "a reply must return `hop` + 1; this one has `hop` 0");
    // Two agents' names joined by something are not an agent's name.
    let other = r#"{"sender":"lead scoring agent|send email agent","context":"c"}"#;
    assert_eq!(opened(other, 1, ROUTER)["refusal"], Value::Null);
}

#[test]
fn what_an_agent_reads_has_its_ids() {
    let refusal = |message: &str| opened(message, 1, SCORING)["refusal"].clone();
    assert_eq!(refusal(r#"{"message_id":"m","workflow_id":"w","hop":3,"context":"c"}"#), Value::Null);
    assert!(refusal(r#"{"message_id":"m","hop":3,"context":"c"}"#).as_str().unwrap().contains("lacks"));
}

#[test]
fn a_key_that_is_there_twice_counts_once_everywhere() {
    let twice = r#"{"workflow_id":"first","workflow_id":"w","message_id":"m","hop":1,"hop":2,"context":"a","context":"b",
        "lead_data":{"email":"a@x.example","email":"b@x.example"}}"#;
    let opened = open_at(twice.as_bytes(), 1, SCORING);
    assert!(!opened.contains("first") && !opened.contains("a@x.example"), "{opened}");
    let value: Value = serde_json::from_str(&opened).unwrap();
    assert_eq!((&value["workflow_id"], &value["hop"]), (&json!("w"), &json!(2)));
    assert_eq!(value["message"]["context"], "b");
    assert_eq!(value["message"]["lead_data"]["email"], "b@x.example");
}

#[test]
fn fields_that_baton_does_not_know_travel_on_unchanged() {
    let odd = r#""lead_data":{"name":"Ada","n":9007199254740993,"x":{"deep":[1.10,-0.0,1e400,123456789012345678901234567890]}},"trace":{"a":[null,true]},"größe":"ß \u0000 \"q\"","#;
    let first = format!(r#"{{{odd}"context":"New."}}"#);
    let routed = text(forward(Some(&open_at(first.as_bytes(), 1, ROUTER)), Some(r#"{"agent":"A","cost":0.1}"#), None));
    let replied = text(reply(Some(&open_at(routed.as_bytes(), 1, SCORING)), Some("Scored."), None, None));
    let again = text(forward(Some(&open_at(replied.as_bytes(), 2, ROUTER)), Some("{}"), Some("why")));
    for message in [&routed, &replied, &again] {
        for part in [
            r#""n":9007199254740993"#,
            "[1.10,-0.0,1e+400,123456789012345678901234567890]",
            r#""trace":{"a":[null,true]}"#,
            r#""größe":"ß \u0000 \"q\"""#,
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
    assert!(routed.contains(r#""decision":{"agent":"A","cost":0.1}"#) && !routed.contains("reason"), "{routed}");
    assert!(!replied.contains("decision"), "{replied}");
    assert!(again.contains(r#""decision":{},"reason":"why""#), "{again}");
}

#[test]
fn a_reply_states_its_place_and_what_it_took() {
    let message = r#"{"message_id":"m","workflow_id":"w","hop":3,"sender":"x","context":"c","usage":{"model":"old"},"emails":[1]}"#;
    let opened = open_at(message.as_bytes(), 1, SCORING);
    let answer = r#"{"text":"t","status":"ok","attempts":1,"prompt_tokens":7,"cost":null,"latency_ms":3,"model":"m1","source":"model"}"#;
    let fields = r#"{"emails":[{"to":"a@b.example"}],"hop":99,"context":"no","own":1}"#;
    let reply: Value =
        serde_json::from_slice(&reply(Some(&opened), Some("Scored."), Some(answer), Some(fields))).unwrap();
    let expected = json!({
        // Of `m|Lead Scoring Agent|1`.
        "message_id": "57744fee9a11ce62e9e98faef2a2f2de", "workflow_id": "w", "parent_id": "m", "hop": 4,
        "sender": "Lead Scoring Agent", "created_at": "2026-03-01T08:15:30.123Z", "context": "Scored.",
        "emails": [{"to": "a@b.example"}], "own": 1,
        "usage": {"model": "m1", "source": "model", "prompt_tokens": 7, "cost": null, "latency_ms": 3},
    });
    assert_eq!(reply, expected);
}

#[test]
fn the_first_message_has_ids_of_its_own() {
    let first = start_workflow(Some("w"), Some("copy_leads"), Some("now"), Some("New."), Some(r#"{"name":"Ada"}"#));
    assert_eq!(
        text(first),
        // The id is of `w|copy_leads|1`.
        r#"{"message_id":"d4ccc43c0ef4ca48949665702977e7c9","workflow_id":"w","parent_id":null,"hop":0,"sender":"copy_leads","created_at":"now","lead_data":{"name":"Ada"},"context":"New."}"#
    );
}

#[test]
fn the_lead_is_the_document_without_what_belongs_to_the_database() {
    let document = r#"{"_id":{"$oid":"6b0a318c91904226c9899fab"},"name":"Ada","__v":0,"_class":"Lead","employees":9007199254740993,"nested":{"_id":1},"a_b":null}"#;
    let first = text(start_workflow(Some("w"), Some("copy_leads"), Some("now"), Some("New."), Some(document)));
    let kept = r#""lead_data":{"name":"Ada","employees":9007199254740993,"nested":{"_id":1},"a_b":null},"#;
    assert!(first.contains(kept), "{first}");
}

#[test]
fn a_mistake_in_the_sql_loses_nothing_and_is_told() {
    for bytes in [reply(None, Some("c"), None, None), reply(Some("{}"), Some("c"), None, None)] {
        let refused = open_at(&bytes, 1, ROUTER);
        assert!(refused.contains("`context` is missing"), "{refused}");
        assert!(text(bytes).contains("the first argument of reply is not the result of open_message"));
    }
    let wrong = |options: &str| opened(r#"{"context":"x"}"#, 1, options);
    for (options, why) in [
        ("[]", "no JSON object"),
        (r#"{"hop":1}"#, "there is no option `hop`"),
        (r#"{"hops":0}"#, "`hops` must be a whole number above 0, not 0"),
        (r#"{"agent":1}"#, "`agent` must be a name, not 1"),
        (r#"{"agents":[1]}"#, "`agents` must be a list of names"),
    ] {
        let opened = wrong(options);
        assert_eq!(opened["refusal_status"], "config");
        assert!(opened["refusal"].as_str().unwrap().contains(why), "{opened}");
    }
}

#[test]
fn a_workflow_that_goes_on_for_too_long_is_halted() {
    let options = r#"{"hops": 3, "messages": 100}"#;
    let mut parent: Option<String> = None;
    for n in 0..6 {
        let id = format!("halting-{n}");
        // Whatever its sender states, it counts one hop more than its parent.
        let message =
            json!({"message_id": id, "workflow_id": "halting", "parent_id": parent, "hop": 1, "context": "c"});
        let opened = opened(&message.to_string(), 100 + n, options);
        let hop = if n == 0 { 1 } else { n + 1 };
        assert_eq!((&opened["hop"], &opened["message"]["hop"]), (&json!(hop), &json!(hop)));
        let halted = (hop > 3).then(|| format!("hop {hop} is past the limit of 3"));
        assert_eq!(opened["halted"], json!(halted));
        parent = Some(id);
    }
}
