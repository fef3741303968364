//! Agents that state a wrong place in their workflow: whatever they say, the calls of the model are bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use serde_json::{Value, json};

use crate::agents::with_file;
use crate::model;
use crate::system::{System, config, send};

/// An agent whose work a program does.
const CIRCLING: &str = "CREATE AGENT circling WITH (
  name = 'Circling Agent', description = 'Goes round.', input = 'Round and round.', output = 'The same again.'
);
";

/// What an agent states, and what comes of it.
struct Case {
    /// Stands in brackets in all of its messages.
    mark: &'static str,
    /// The `hop` and `parent_id` of a reply; `None` leaves the field out.
    states: fn(&Value) -> (Option<Value>, Value),
    /// How often the model is asked.
    calls: usize,
    /// How the reason begins that ends it: for `halted`, else for `dead_letters`.
    halted: Option<&'static str>,
    refused: Option<&'static str>,
}

fn own(message: &Value) -> Value {
    message["message_id"].clone()
}

const HOPS: Option<&str> = Some("hop 21 is past the limit of 20");
const MESSAGES: Option<&str> = Some("the workflow has more than 100 messages, which is the limit");
const CONTRACT: Option<&str> = Some("the message does not match its contract: `hop` is ");

const CASES: [Case; 10] = [
    Case {
        mark: "honest",
        states: |message| (Some(json!(message["hop"].as_u64().unwrap() + 1)), own(message)),
        calls: 21,
        halted: HOPS,
        refused: None,
    },
    Case { mark: "one", states: |message| (Some(json!(1)), own(message)), calls: 21, halted: HOPS, refused: None },
    Case { mark: "first", states: |_| (Some(json!(1)), json!("m-first")), calls: 100, halted: MESSAGES, refused: None },
    Case {
        mark: "stranger",
        states: |message| (Some(json!(1)), json!(format!("nobody-{}", message["message_id"]))),
        calls: 100,
        halted: MESSAGES,
        refused: None,
    },
    Case {
        mark: "zero",
        states: |message| (Some(json!(0)), own(message)),
        calls: 1,
        halted: None,
        refused: Some("a reply must return `hop` + 1; this one has `hop` 0"),
    },
    Case {
        mark: "missing",
        states: |message| (None, own(message)),
        calls: 1,
        halted: None,
        refused: Some(
            "a reply must return `workflow_id`, `parent_id` and `hop` + 1; this one of Circling Agent lacks `hop`",
        ),
    },
    Case {
        mark: "negative",
        states: |message| (Some(json!(-1)), own(message)),
        calls: 1,
        halted: None,
        refused: CONTRACT,
    },
    Case {
        mark: "huge",
        states: |message| (Some(json!(1e30)), own(message)),
        calls: 1,
        halted: None,
        refused: CONTRACT,
    },
    Case {
        mark: "text",
        states: |message| (Some(json!("1")), own(message)),
        calls: 1,
        halted: None,
        refused: CONTRACT,
    },
    Case {
        mark: "far",
        states: |message| (Some(json!(1_000_000_000)), own(message)),
        calls: 1,
        halted: Some("hop 1000000000 is past the limit of 20"),
        refused: None,
    },
];

/// The program. It ends with its [`Program`].
struct Program {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    fn start(system: &System) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let consumer: BaseConsumer = config(system.broker)
            .set("group.id", "circling-program")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20")
            .create()
            .unwrap();
        consumer.subscribe(&["circling"]).unwrap();
        let producer = system.producer();
        let ends = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut round: BTreeMap<&str, u32> = BTreeMap::new();
            while !ends.load(Ordering::Relaxed) {
                let Some(Ok(record)) = consumer.poll(Duration::from_millis(50)) else { continue };
                let message: Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
                let context = message["context"].as_str().unwrap();
                let case = CASES.iter().find(|case| context.contains(&format!("[{}]", case.mark))).unwrap();
                let round = round.entry(case.mark).or_default();
                *round += 1;
                let (hop, parent) = (case.states)(&message);
                let mut reply = json!({
                    "workflow_id": message["workflow_id"], "parent_id": parent, "sender": "Circling Agent",
                    "context": format!("Round and round, {round}. [{}]", case.mark),
                });
                if let Some(hop) = hop {
                    reply["hop"] = hop;
                }
                let key = message["workflow_id"].as_str();
                send(&producer, "agent_messages", None, key, Some(reply.to_string().as_bytes()));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the program failed");
    }
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn whatever_hop_an_agent_states_it_is_halted_or_refused() {
    let folder = with_file("pipelines/circling.sql", CIRCLING);
    let (model, system) = (model::start(), System::with_topics(3, &["circling"]));
    let baton = system.run_in(folder.path(), &["route_messages"], &model, &[]);
    let program = Program::start(&system);
    system.publish(
        "agent_messages",
        CASES.iter().map(|case| {
            let Case { mark, .. } = case;
            let context = format!("Round and round. [{mark}]");
            json!({ "message_id": format!("m-{mark}"), "workflow_id": format!("w-{mark}"), "context": context })
        }),
    );
    let (halted, refused) = CASES.iter().partition::<Vec<&Case>, _>(|case| case.halted.is_some());
    system.wait_for("halted", halted.len());
    system.wait_for("dead_letters", refused.len());
    // Nothing goes on after that.
    let calls: usize = CASES.iter().map(|case| case.calls).sum();
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert!(model.seen().calls <= calls, "{:?}", model.seen().by_mark);
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(program);
    baton.stop(Duration::from_secs(10));

    let topics = system.all();
    let seen = model.seen();
    for Case { mark, calls, halted, refused, .. } in CASES {
        assert_eq!(seen.by_mark.get(mark), Some(&calls), "calls of the model for `{mark}`");
        let workflow = format!("w-{mark}");
        let reasons = |topic: &str, field: &str| -> Vec<String> {
            let rows = topics[topic].iter().filter(|row| row.key.as_deref() == Some(&workflow));
            rows.map(|row| row.text(field).to_owned()).collect()
        };
        for (topic, field, expected) in [("halted", "reason", halted), ("dead_letters", "error", refused)] {
            let found = reasons(topic, field);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{mark} in {topic}: {found:?}");
            assert!(
                found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)),
                "{mark}: {found:?}"
            );
        }
    }
    assert_eq!(system.rows("circling").len(), calls);
    assert_eq!(topics["agent_predictions"].len(), calls);
}
