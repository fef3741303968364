//! Reads the topics that show where each workflow goes.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::story::Event;
use crate::connectors::StopFlag;

const TOPICS: [&str; 6] = ["agent_messages", "agent_predictions", "completed", "unrouted", "halted", "dead_letters"];

/// Reads them from their start, on a thread of its own, until `stop` is set.
///
/// # Errors
/// When the broker cannot be reached.
pub fn start(
    servers: &str,
    topics: &BTreeSet<String>,
    stop: &StopFlag,
) -> Result<mpsc::UnboundedReceiver<Event>, String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "demo-watch")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
        .map_err(|e| e.to_string())?;
    let mut partitions = TopicPartitionList::new();
    for topic in TOPICS.into_iter().filter(|topic| topics.contains(*topic)) {
        partitions.add_partition_offset(topic, 0, Offset::Beginning).map_err(|e| e.to_string())?;
    }
    consumer.assign(&partitions).map_err(|e| e.to_string())?;
    let (send, events) = mpsc::unbounded_channel();
    let stop = stop.clone();
    let watching = move || {
        while !stop.is_set() {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let Some(Ok(row)) = message.payload().map(serde_json::from_slice) else { continue };
            let timestamp = message.timestamp().to_millis().unwrap_or(0);
            if send.send(Event { topic: message.topic().to_string(), timestamp, row }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("demo watch".into()).spawn(watching).map_err(|e| e.to_string())?;
    Ok(events)
}
