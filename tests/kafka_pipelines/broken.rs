//! Messages that are broken: each is a dead letter with its reason and its bytes, and the loop goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::json;

use crate::model;
use crate::system::System;

fn decoded(base64: &str) -> Vec<u8> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(base64).unwrap()
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn broken_messages_are_dead_letters_and_nothing_else_suffers() {
    const CONTRACT: &str = "the message does not match its contract: ";
    const NO_JSON: &str = "the message is not JSON (";
    const NO_OBJECT: &str = "the message is JSON, but not an object";
    // What is published, and how its dead letter begins.
    let broken: Vec<(&[u8], &str, String)> = vec![
        (b"\xff\xfe\x00garbage", "unreadable", "the message is not UTF-8 text".into()),
        (b"{\"context\": \"h\xc3\x28\"}", "unreadable", "the message is not UTF-8 text".into()),
        (b"Thanks, I have sent the e-mail.", "contract", NO_JSON.into()),
        (b"{\"context\": \"cut of", "contract", NO_JSON.into()),
        (b"   ", "contract", NO_JSON.into()),
        (b"null", "contract", NO_OBJECT.into()),
        (b"[{\"context\": \"a\"}]", "contract", NO_OBJECT.into()),
        (b"\"context\"", "contract", NO_OBJECT.into()),
        (b"{}", "contract", format!("{CONTRACT}`context` is missing")),
        (b"{\"context\": \"  \"}", "contract", format!("{CONTRACT}`context` is blank")),
        (b"{\"context\": null}", "contract", format!("{CONTRACT}`context` is missing")),
        (b"{\"context\": {\"text\": \"a\"}}", "contract", format!("{CONTRACT}`context` is an object: it must be")),
        (b"{\"context\": \"a\", \"hop\": \"three\"}", "contract", format!("{CONTRACT}`hop` is \"three\"")),
        (b"{\"context\": \"a\", \"hop\": 1.5}", "contract", format!("{CONTRACT}`hop` is 1.5")),
        (b"{\"context\": \"a\", \"hop\": -1}", "contract", format!("{CONTRACT}`hop` is -1")),
        (b"{\"context\": \"a\", \"hop\": 99999999999999999999999}", "contract", format!("{CONTRACT}`hop` is 99999999999999999999999")),
        (b"{\"context\": \"a\", \"workflow_id\": 7}", "contract", format!("{CONTRACT}`workflow_id` is 7")),
        (b"{\"context\": \"a\", \"lead_data\": \"a\"}", "contract", format!("{CONTRACT}`lead_data` is \"a\"")),
        (b"{\"context\": \"a\", \"emails\": {\"to\": \"a\"}}", "contract", format!("{CONTRACT}`emails` is an object: it must be")),
        (
            b"{\"sender\": \"Lead Scoring Agent\", \"context\": \"done\"}",
            "contract",
            "a reply must return `workflow_id`, `parent_id` and `hop` + 1; this one of Lead Scoring Agent lacks \
             `workflow_id`, `parent_id`, `hop`"
                .into(),
        ),
        (
            b"{\"sender\": \" lead scoring agent \", \"context\": \"done\", \"workflow_id\": \"w\", \"parent_id\": \"p\"}",
            "contract",
            "a reply must return `workflow_id`, `parent_id` and `hop` + 1; this one of lead scoring agent lacks `hop`"
                .into(),
        ),
        (
            b"{\"parent_id\": \"p\", \"context\": \"done\", \"hop\": 2}",
            "contract",
            "a reply must return `workflow_id`, `parent_id` and `hop` + 1; this one of unknown lacks `workflow_id`".into(),
        ),
        (
            b"{\"sender\": \"Lead Scoring Agent\", \"context\": \"a\", \"workflow_id\": \"w\", \"parent_id\": \"p\", \"hop\": 0}",
            "contract",
            "a reply must return `hop` + 1; this one has `hop` 0".into(),
        ),
    ];
    let model = model::start();
    let system = System::fresh(2);
    let baton = system.run(&["route_messages"], &model, &[]);
    let mut next = [0_i64; 2];
    let mut expected = BTreeMap::new();
    for (number, (bytes, status, error)) in broken.iter().enumerate() {
        let partition = number % 2;
        let at = i32::try_from(partition).unwrap();
        system.send("agent_messages", Some(at), Some("agent"), Some(bytes));
        expected.insert((at, next[partition]), (*bytes, *status, error));
        next[partition] += 1;
        // Between them what is nothing, and what is good.
        match number % 5 {
            0 => system.send("agent_messages", Some(at), Some("agent"), None),
            1 => system.send("agent_messages", Some(at), Some("agent"), Some(b"")),
            2 => {
                let id = format!("good-{number}");
                // Equal questions at one time would share a call.
                let good = json!({ "message_id": id, "context": format!("New, raw lead. [{id}]") });
                system.send("agent_messages", Some(at), None, Some(good.to_string().as_bytes()));
            }
            _ => continue,
        }
        next[partition] += 1;
    }
    let halted = json!({
        "sender": "Lead Scoring Agent", "workflow_id": "w-h", "parent_id": "p", "hop": 21, "message_id": "h",
        "context": "New, raw lead. [halted]", "lead_data": { "email": "a@example.com" },
    });
    let mut at_the_limit = halted.clone();
    (at_the_limit["hop"], at_the_limit["message_id"]) = (20.into(), "l".into());
    system.publish("agent_messages", [halted, at_the_limit]);
    // The last thing that comes is nothing.
    system.send("agent_messages", Some(0), Some("agent"), None);
    system.flush();

    system.wait_for("dead_letters", broken.len());
    system.wait_for("lead_ingestion", 6);
    system.wait_for("halted", 1);
    // A last good one shows that the loop goes on.
    system.publish("agent_messages", [json!({ "message_id": "last", "context": "New, raw lead. [last]" })]);
    system.wait_for("lead_ingestion", 7);
    system.wait_for("agent_predictions", 7);
    baton.stop(Duration::from_secs(10));

    let topics = system.all();
    for row in &topics["dead_letters"] {
        let place =
            (i32::try_from(row.json["partition"].as_i64().unwrap()).unwrap(), row.json["offset_id"].as_i64().unwrap());
        let (bytes, status, error) =
            expected.remove(&place).unwrap_or_else(|| panic!("nothing broken was at {place:?}: {}", row.json));
        assert_eq!(decoded(row.text("payload")), bytes, "{}", row.json);
        assert_eq!((row.text("topic"), row.text("pipeline")), ("agent_messages", "route_messages"));
        assert_eq!(row.text("status"), status, "{}", row.json);
        assert!(row.text("error").starts_with(error.as_str()), "{}", row.json);
        // A reply that says which workflow it belongs to keeps it.
        let id = if bytes.ends_with(b"\"workflow_id\": \"w\", \"parent_id\": \"p\"}") || bytes.ends_with(b"\"hop\": 0}")
        {
            "w".to_owned()
        } else {
            format!("agent_messages/{}/{}", place.0, place.1)
        };
        assert_eq!((row.text("workflow_id"), row.key.as_deref()), (id.as_str(), Some(id.as_str())));
    }
    assert!(expected.is_empty(), "no dead letter of {expected:?}");
    assert_eq!(topics["halted"].len(), 1);
    let halted = &topics["halted"][0];
    assert_eq!((halted.text("message_id"), halted.text("reason")), ("h", "hop 21 is past the limit of 20"));
    assert_eq!(halted.json["lead_data"]["email"], "a@example.com");
    // The halted one and the broken ones cost nothing; the one at the limit was asked about.
    let seen = model.seen();
    assert_eq!((seen.calls, seen.by_mark.get("halted")), (7, Some(&1)));
    assert_eq!(topics["agent_predictions"].len(), 7);
    assert!(topics["agent_predictions"].iter().any(|row| row.text("message_id") == "l"));
}
