//! Whole workflows: from the change event to the outbox, and again after a model was away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::{eventually, free_port};
use crate::model::{self, is_classification};
use crate::played::{names, url};
use crate::process::Baton;
use crate::system::{PATIENCE, PIPELINES, System, Topics, sha256};

const LEADS: &str = "incoming-leads.stratusdb.leads";

/// A change event. Of three in a row the model engages one, nurtures one and closes one.
fn lead(number: usize) -> Value {
    let project = [
        "We want to replace a warehouse of 40 TB; the budget is approved.",
        "Just having a look at \"dashboards\".",
        "I am applying for a job with you.",
    ][number % 3];
    json!({
        "operationType": "insert",
        "ns": { "db": "stratusdb", "coll": "leads" },
        "documentKey": { "_id": { "$oid": format!("{number:024x}") } },
        "fullDocument": {
            "_id": { "$oid": format!("{number:024x}") }, "employees": 9_007_199_254_740_993_i64,
            "name": format!("Person {number}"), "email": format!("person{number}@example.com"),
            "job_title": "Head of Data", "company_name": format!("Company {number}"),
            "company_website": "https://example.com", "project_description": project, "lead_source": "Webinar",
        },
    })
}

/// The ids of `agent_messages`, by the lead's address and the hop.
fn ids(topics: &Topics) -> BTreeMap<(String, i64), (String, String)> {
    let rows = topics["agent_messages"].iter().map(|row| {
        let lead = row.json["lead_data"]["email"].as_str().unwrap().to_owned();
        ((lead, row.json["hop"].as_i64().unwrap()), (row.text("workflow_id").into(), row.text("message_id").into()))
    });
    rows.collect()
}

fn ended(topics: &Topics) -> usize {
    ["completed", "unrouted", "halted", "dead_letters"].iter().filter_map(|t| topics.get(*t)).map(Vec::len).sum()
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn every_lead_goes_through_its_agents_to_an_end_and_keeps_its_ids() {
    let model = model::start();
    let system = System::fresh(3);
    // What is no new lead ends nowhere.
    let mut update = lead(7);
    update["operationType"] = "update".into();
    system.publish(LEADS, [update]);
    system.publish(LEADS, (0..30).map(lead));
    let baton = system.run(&PIPELINES, &model, &[]);
    system.wait("30 workflows have ended", PATIENCE, |topics| ended(topics) >= 30);
    baton.stop(Duration::from_secs(10));

    let topics = system.all();
    let count = |topic: &str| topics[topic].len();
    assert_eq!((count("dead_letters"), count("halted")), (0, 0), "{:?}", topics["dead_letters"]);
    assert_eq!((count("completed"), count("unrouted")), (20, 10));
    // Four hops for those who get e-mails, three for those who are closed; one decision each.
    assert_eq!((count("agent_messages"), count("agent_predictions")), (110, 110));
    assert_eq!((count("lead_ingestion"), count("lead_scoring")), (30, 30));
    assert_eq!((count("active_outreach"), count("nurture_campaign"), count("send_email")), (10, 10, 20));
    assert_eq!(count("outbox"), 10 + 3 * 10);
    assert_eq!(model.seen().calls, 110 + 30 + 30 + 10 + 10);

    for (topic, rows) in topics.iter().filter(|(topic, _)| *topic != LEADS) {
        for row in rows {
            let workflow = row.text("workflow_id");
            assert_eq!(workflow.len(), 32, "{topic}: {}", row.json);
            assert_eq!(row.key.as_deref(), Some(workflow), "{topic}: {}", row.json);
        }
    }
    let decided: BTreeSet<&str> = topics["agent_predictions"].iter().map(|row| row.text("message_id")).collect();
    let published: BTreeSet<&str> = topics["agent_messages"].iter().map(|row| row.text("message_id")).collect();
    assert_eq!((decided.len(), &decided), (110, &published), "one decision a message");
    for row in &topics["agent_predictions"] {
        assert_eq!((row.text("status"), row.text("source"), row.text("model")), ("ok", "model", "stub-1"));
        assert!(row.json["attempts"] == 1 && row.json["prompt_tokens"].as_i64().unwrap() > 0, "{}", row.json);
    }
    // The document goes along as it is, without what belongs to MongoDB.
    for row in ["agent_messages", "lead_ingestion", "lead_scoring", "send_email"].iter().flat_map(|t| &topics[*t]) {
        let number = row.json["lead_data"]["email"].as_str().unwrap().trim_start_matches("person");
        let number = number.trim_end_matches("@example.com").parse().unwrap();
        let mut document = lead(number)["fullDocument"].take();
        document.as_object_mut().unwrap().remove("_id");
        assert_eq!(row.json["lead_data"], document);
    }
    // What is written to an agent's topic is the message and the decision about it.
    let messages: BTreeMap<&str, &Value> =
        topics["agent_messages"].iter().map(|row| (row.text("message_id"), &row.json)).collect();
    for (topic, agent) in [
        ("lead_ingestion", "Lead Ingestion Agent"),
        ("lead_scoring", "Lead Scoring Agent"),
        ("active_outreach", "Active Outreach Agent"),
        ("nurture_campaign", "Nurture Campaign Agent"),
        ("send_email", "Send Email Agent"),
        ("unrouted", "NONE"),
    ] {
        for row in &topics[topic] {
            let mut routed = row.json.clone();
            let fields = routed.as_object_mut().unwrap();
            let decision = fields.remove("decision").unwrap();
            assert_eq!((&decision["agent"], &decision["status"]), (&json!(agent), &json!("ok")));
            let reason = fields.remove("reason");
            assert_eq!(reason, (topic == "unrouted").then(|| "no agent accepts this message".into()));
            assert_eq!(&routed, messages[row.text("message_id")]);
        }
    }
    // An agent says what its own call took.
    for row in &topics["agent_messages"] {
        let usage = &row.json["usage"];
        if row.text("sender") == "copy_leads" {
            assert_eq!(usage, &Value::Null);
        } else {
            assert_eq!((&usage["model"], &usage["source"]), (&json!("stub-1"), &json!("model")));
            assert!(usage["prompt_tokens"].as_i64().unwrap() > 0 && usage["latency_ms"].is_number(), "{usage}");
        }
    }
    // Parents are there, one hop before.
    let hops: BTreeMap<&str, i64> = topics["agent_messages"]
        .iter()
        .map(|row| (row.text("message_id"), row.json["hop"].as_i64().unwrap()))
        .collect();
    for row in &topics["agent_messages"] {
        match row.json["parent_id"].as_str() {
            None => assert_eq!((row.json["hop"].as_i64(), row.text("sender")), (Some(0), "copy_leads")),
            Some(parent) => assert_eq!(row.json["hop"].as_i64(), Some(hops[parent] + 1)),
        }
    }
    for row in &topics["outbox"] {
        assert!(row.text("to").starts_with("person") && row.text("to").ends_with("@example.com"), "{}", row.json);
        assert!(row.text("body").contains("\n\nletter "), "{}", row.json);
    }
    assert_eq!(topics["outbox"].iter().map(|row| row.text("email_id")).collect::<BTreeSet<_>>().len(), 40);
    assert!(topics["completed"].iter().all(|row| row.json["hop"] == 3 && row.text("outcome") == "completed"));

    // The same leads on new topics, at other places, in another process.
    drop(system);
    let again = System::fresh(2);
    again.publish(LEADS, (0..30).rev().map(lead));
    let baton = again.run(&PIPELINES, &model, &[]);
    again.wait("30 workflows have ended", PATIENCE, |topics| ended(topics) >= 30);
    baton.stop(Duration::from_secs(10));
    assert_eq!(ids(&again.all()), ids(&topics));
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn what_the_model_answered_badly_is_put_back_and_completes() {
    let (model, system) = (model::start(), System::fresh(1));
    let baton = system.run(&PIPELINES, &model, &[]);
    let url = model.url();
    let settings = system.settings(&url, &[]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();

    model.replies(|_| names("Nobody that is defined"));
    system.publish(LEADS, (0..6).map(lead));
    system.wait_for("dead_letters", 6);
    // Now it routes, but refuses an agent's question.
    model.fails_where(400, |call| !is_classification(call));
    system.publish(LEADS, (6..12).map(lead));
    system.wait_for("dead_letters", 12);
    for (row, number) in system.rows("dead_letters").iter().zip(0..) {
        let expected = if number < 6 {
            ("route_messages", "agent_messages", "invalid")
        } else {
            ("ingest_leads", "lead_ingestion", "rejected")
        };
        assert_eq!((row.text("pipeline"), row.text("topic"), row.text("status")), expected);
    }
    assert!(system.rows("completed").is_empty());

    model.recovers();
    let mut redrive = Baton::spawn(&["redrive"], &settings);
    redrive.end_well(Duration::from_secs(30));
    system.wait("12 workflows have ended well", PATIENCE, |topics| ended(topics) >= 24);
    assert_eq!((system.rows("completed").len(), system.rows("unrouted").len()), (8, 4));
    assert_eq!(system.rows("agent_messages").len(), 12 + 6 + 8 * 3 + 4 * 2, "only those of the router came back");

    // It keeps its place: nothing is put back twice.
    let mut redrive = Baton::spawn(&["redrive"], &settings);
    redrive.end_well(Duration::from_secs(30));
    baton.stop(Duration::from_secs(10));
    let topics = system.all();
    assert_eq!((topics["completed"].len(), topics["dead_letters"].len()), (8, 12));
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn workflows_wait_for_a_missing_model_and_then_complete() {
    let port = free_port();
    let (url, system) = (url(port), System::fresh(1));
    let settings = system.settings(&url, &[("BATON_LLM_RETRIES", "0")]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let baton = Baton::start(&PIPELINES, &settings);
    system.publish(LEADS, (0..6).map(lead));
    system.wait_for("agent_messages", 6);
    eventually("the router waits", || baton.stderr().contains("`llm_classify` waits: "));
    // It comes up, but not in full: now an agent has no model.
    let model = model::start_at(port);
    model.fails_where(503, |call| !is_classification(call));
    system.wait_for("lead_ingestion", 6);
    eventually("an agent waits", || baton.stderr().contains("`llm_complete` waits: "));
    assert_eq!(system.rows("agent_messages").len(), 6);
    model.recovers();
    system.wait("6 workflows have ended", PATIENCE, |topics| ended(topics) >= 6);
    baton.stop(Duration::from_secs(10));
    let topics = system.all();
    let count = |topic: &str| topics[topic].len();
    assert_eq!((count("completed"), count("unrouted"), count("dead_letters"), count("halted")), (4, 2, 0, 0));
}

/// The ids of the first version: the first 32 hexadecimal digits of the SHA-256 of `stratusdb.leads|KEY`,
/// `WORKFLOW|copy_leads|1`, `MESSAGE|AGENT|1`, `message|PLACE` and `workflow|PLACE`.
#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn ids_are_what_they_have_always_been() {
    let (model, system) = (model::start(), System::fresh(1));
    system.publish("agent_messages", [json!({ "context": "Something else." })]);
    system.publish(LEADS, (0..2).map(lead));
    let baton = system.run(&PIPELINES, &model, &[]);
    system.wait("3 workflows have ended", PATIENCE, |topics| ended(topics) >= 3);
    baton.stop(Duration::from_secs(10));

    let topics = system.all();
    let first = |topic: &str| topics[topic].first().unwrap();
    let by_place = ("c1d4a9a33ebedefe8e7af5fe1e5f6731", "86be80c4af67dd55d7e1fd0bc95a516b");
    assert_eq!((first("unrouted").text("workflow_id"), first("unrouted").text("message_id")), by_place);
    for (address, workflow, messages) in [
        (
            "person0@example.com",
            "6d2b3e9a6530cafa28b145aaee29daa4",
            [
                ("copy_leads", "dee49aafd6a1105578944d08ec7bc98b"),
                ("Lead Ingestion Agent", "cefd2d845cf0f4ead225d8d09a3d22c3"),
                ("Lead Scoring Agent", "e86d4137a481dd792b8c19396812ce39"),
                ("Active Outreach Agent", "956023112ab47bc38610e2c018e7efae"),
            ],
        ),
        (
            "person1@example.com",
            "f50c39a4aadf00275f5671c33c3f1bb6",
            [
                ("copy_leads", "8c5a049ff3a84e5c50b61433ce64417b"),
                ("Lead Ingestion Agent", "ed340e497c16523376ef1e4adc54f29c"),
                ("Lead Scoring Agent", "138ad744ced2b56cb44b7889c8439261"),
                ("Nurture Campaign Agent", "3981e2604967389d47d5c6f989bba3f3"),
            ],
        ),
    ] {
        let rows = topics["agent_messages"].iter().filter(|row| row.json["lead_data"]["email"] == address);
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| row.json["hop"].as_i64());
        let ids: Vec<_> = rows.iter().map(|row| (row.text("sender"), row.text("message_id"))).collect();
        assert_eq!(ids, messages, "{address}");
        assert!(rows.iter().all(|row| row.text("workflow_id") == workflow), "{address}");
        let end = topics["completed"].iter().find(|row| row.text("email") == address).unwrap();
        assert_eq!((end.text("workflow_id"), end.text("message_id")), (workflow, messages[3].1));
    }
    // An e-mail's is that of `MESSAGE|to|send_at|subject|body`.
    for row in &topics["outbox"] {
        let sent = topics["send_email"].iter().find(|sent| sent.text("message_id") == row.text("message_id")).unwrap();
        let emails = sent.json["emails"].as_array().unwrap();
        let of = |email: &Value| {
            let text = |key: &str| email[key].as_str().unwrap().to_owned();
            let parts = [row.text("message_id").to_owned(), text("to"), text("send_at"), text("subject"), text("body")];
            sha256(&parts.join("|"))[..32].to_owned()
        };
        assert!(emails.iter().any(|email| of(email) == row.text("email_id")), "{}", row.json);
    }
}
