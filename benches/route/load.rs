//! The messages: what is in them, a topic filled with them beforehand, and a steady stream of them.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::Outcome;
use crate::kafka::client;
use crate::stub::ROUTES;

/// Stands before a message's number and before its stamp.
pub const NUMBER: &str = "[number ";
pub const STAMP: &str = "[stamp ";

/// What stands for the kind in the messages that are split.
pub const KINDS: [&str; 5] = ["order", "refund", "shipment", "review", "visit"];

/// A message to be routed: its key and itself. The stamp stays in the context, which every place of the decision gets.
pub fn message(number: u64, stamp: Duration) -> (String, String) {
    let (words, ..) = ROUTES[usize::try_from(number).unwrap_or(0) % ROUTES.len()];
    let context = format!(
        "{words}. {NUMBER}{number}] {STAMP}{}] The company moves goods by rail between Rotterdam and Basel and wants to \
         know where each waggon is. Its warehouse holds eight years of events, reports come a day late, and the team of \
         four keeps them alive by hand. It asked for a first talk in the second week of June, with its head of data and \
         two engineers.",
        stamp.as_nanos()
    );
    let workflow = format!("workflow-{number:010}");
    let message = json!({
        "message_id": format!("message-{number:010}"),
        "workflow_id": workflow,
        "hop": 0,
        "sender": "web form",
        "created_at": "2026-11-23T01:02:03.004Z",
        "context": context,
        "lead_data": {
            "name": "Ada Beispiel",
            "email": "ada@rail.example",
            "job_title": "Head of Data",
            "company_name": "Rail & Cargo",
            "company_website": "https://rail.example",
            "project_description": "Move the warehouse to the cloud, and reports with it.",
            "lead_source": "web",
        },
    });
    (workflow, message.to_string())
}

/// An event of 500 bytes, of one of five kinds.
pub fn event(number: u64) -> String {
    let kind = KINDS[usize::try_from(number).unwrap_or(0) % KINDS.len()];
    let mut event = json!({
        "id": number,
        "kind": kind,
        "customer": format!("customer-{:06}", number % 100_000),
        "amount": (number % 10_000) as f64 / 100.0,
        "quantity": number % 12,
        "express": number.is_multiple_of(3),
        "created_at": "2026-11-23T01:02:03.004Z",
        "address": "Hafenstrasse 25, 4057 Basel, Switzerland",
        "note": "",
    });
    let missing = 500_usize.saturating_sub(event.to_string().len());
    let words = "Leave it with the neighbour on the second floor, who is at home until noon on every day but Monday. ";
    event["note"] = words.chars().cycle().take(missing).collect::<String>().into();
    event.to_string()
}

/// What the number or the stamp in a message is.
pub fn marked(message: &[u8], mark: &str) -> Option<u64> {
    let at = message.windows(mark.len()).position(|window| window == mark.as_bytes())? + mark.len();
    let mut digits = message[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// Publishes messages as fast as they go, and waits until all stand in the topic.
pub fn fill(servers: &str, topic: &str, messages: impl Iterator<Item = (Option<String>, String)>) -> Outcome<()> {
    let producer: BaseProducer = client(servers)
        .set("linger.ms", "20")
        .set("batch.num.messages", "2000")
        .set("queue.buffering.max.messages", "100000")
        .create()?;
    for (key, message) in messages {
        publish(&producer, topic, key.as_deref(), &message)?;
    }
    Ok(producer.flush(Duration::from_mins(2))?)
}

/// Publishes one message after the other, evenly, each stamped with the time since `epoch` at which it is handed over.
pub fn pace(servers: &str, topic: &str, numbers: std::ops::Range<u64>, a_second: u32, epoch: Instant) -> Outcome<()> {
    let producer: BaseProducer = client(servers).set("linger.ms", "0").create()?;
    // Finds out where the topic is before the first message.
    producer.client().fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let start = Instant::now();
    for (index, number) in (0_u32..).zip(numbers) {
        let due = start + Duration::from_secs(1) * index / a_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (key, message) = message(number, epoch.elapsed());
        publish(&producer, topic, Some(&key), &message)?;
    }
    Ok(producer.flush(Duration::from_mins(1))?)
}

fn publish(producer: &BaseProducer, topic: &str, key: Option<&str>, message: &str) -> Outcome<()> {
    let mut record = BaseRecord::<str, str>::to(topic).payload(message);
    record.key = key;
    loop {
        match producer.send(record) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
