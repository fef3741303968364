//! The topics of the reference system on the shared broker, empty for each test, and a reader of all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::broker::{Broker, eventually};
use crate::played::Model;
use crate::process::{Baton, project};

/// Where `route_messages` may put a message.
pub const DESTINATIONS: [&str; 8] = [
    "lead_ingestion",
    "lead_scoring",
    "active_outreach",
    "nurture_campaign",
    "send_email",
    "unrouted",
    "halted",
    "dead_letters",
];
/// All topics of product.md.
const TOPICS: [&str; 13] = [
    "incoming-leads.stratusdb.leads",
    "agent_messages",
    "agent_predictions",
    "lead_ingestion",
    "lead_scoring",
    "active_outreach",
    "nurture_campaign",
    "send_email",
    "unrouted",
    "dead_letters",
    "halted",
    "outbox",
    "completed",
];
/// Every pipeline that is always there.
pub const PIPELINES: [&str; 7] =
    ["copy_leads", "route_messages", "ingest_leads", "score_leads", "write_outreach", "plan_nurture", "send_emails"];
/// How long a test waits for rows.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A message as it stands in a topic.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: Option<String>,
    pub bytes: Vec<u8>,
    /// The same as JSON; NULL when it is none.
    pub json: Value,
}

impl Record {
    /// A text field; `-` when there is none.
    pub fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or("-")
    }
}

/// What has been read of all topics.
pub type Topics = BTreeMap<String, Vec<Record>>;

/// Broker and topics.
pub struct System {
    pub broker: &'static Broker,
    reader: RefCell<Reader>,
    producer: BaseProducer,
    _alone: MutexGuard<'static, ()>,
}

struct Reader {
    consumer: BaseConsumer,
    topics: Topics,
}

impl System {
    /// Fresh topics with that many partitions each.
    pub fn fresh(partitions: i32) -> Self {
        Self::with(partitions, &[])
    }

    /// The same with settings of the topics.
    pub fn with(partitions: i32, settings: &[(&str, &str)]) -> Self {
        Self::create(partitions, settings, &[])
    }

    /// The same with more topics.
    pub fn with_topics(partitions: i32, more: &[&str]) -> Self {
        Self::create(partitions, &[], more)
    }

    fn create(partitions: i32, settings: &[(&str, &str)], more: &[&str]) -> Self {
        let system = Self::without_topics();
        let topics: Vec<NewTopic<'_>> = TOPICS
            .iter()
            .chain(more)
            .map(|name| {
                let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let created = futures::executor::block_on(admin(system.broker).create_topics(&topics, &AdminOptions::new()));
        for topic in created.unwrap() {
            topic.unwrap();
        }
        for topic in more {
            eventually(&format!("topic {topic} has its partitions"), || system.broker.partitions(topic) > 0);
        }
        system.read_all();
        system
    }

    /// Nothing on the broker at all: what tests before this one left is deleted.
    pub fn without_topics() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = Broker::shared();
        let admin = admin(broker);
        let consumer: BaseConsumer = config(broker)
            .set("group.id", "baton-test-reader")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20")
            .set("queued.min.messages", "100000")
            .create()
            .unwrap();
        let topics = known_topics(&consumer);
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            for deleted in futures::executor::block_on(admin.delete_topics(&names, &AdminOptions::new())).unwrap() {
                deleted.unwrap();
            }
        }
        eventually("the topics of the last test are gone", || known_topics(&consumer).is_empty());
        // A process that was killed stays in its group until its session is over.
        eventually("the groups of the last test are gone", || {
            let groups = consumer.fetch_group_list(None, Duration::from_secs(10)).unwrap();
            let names: Vec<&str> = groups.groups().iter().map(rdkafka::groups::GroupInfo::name).collect();
            if !names.is_empty() {
                let _ = futures::executor::block_on(admin.delete_groups(&names, &AdminOptions::new()));
            }
            names.is_empty()
        });
        let reader = RefCell::new(Reader { consumer, topics: Topics::new() });
        Self { broker, reader, producer: producer(broker), _alone: alone }
    }

    /// Reads all that exists, once every topic of the reference system has its partitions.
    pub fn read_all(&self) {
        let consumer = &self.reader.borrow().consumer;
        eventually("the topics are there", || {
            let known = known_topics(consumer);
            TOPICS.iter().all(|name| known.iter().any(|(known, partitions)| known == name && *partitions > 0))
        });
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in known_topics(consumer) {
            for partition in 0..partitions {
                list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
            }
        }
        consumer.assign(&list).unwrap();
    }

    /// Settings of a `baton` that uses this broker and that model.
    pub fn settings<'a>(&self, url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
        let mut settings = vec![
            ("KAFKA_BOOTSTRAP_SERVERS", self.broker.servers()),
            ("BATON_LLM_BASE_URL", url.to_owned()),
            ("BATON_LLM_MODEL", "stub".to_owned()),
        ];
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        settings
    }

    /// Pipelines in one process, everything open.
    pub fn run(&self, pipelines: &[&str], model: &Model, more: &[(&str, &str)]) -> Baton {
        self.run_in(&project(), pipelines, model, more)
    }

    /// The same with another project.
    pub fn run_in(&self, project: &Path, pipelines: &[&str], model: &Model, more: &[(&str, &str)]) -> Baton {
        let url = model.url();
        let settings = self.settings(&url, more);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Baton::start_in(project, pipelines, &settings)
    }

    /// Publishes bytes (none: a tombstone) and does not wait.
    pub fn send(&self, topic: &str, partition: Option<i32>, key: Option<&str>, bytes: Option<&[u8]>) {
        send(&self.producer, topic, partition, key, bytes);
    }

    /// A producer for another thread.
    pub fn producer(&self) -> BaseProducer {
        producer(self.broker)
    }

    /// Waits until all that was sent is acknowledged.
    pub fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Publishes values and waits until they are acknowledged.
    pub fn publish(&self, topic: &str, values: impl IntoIterator<Item = Value>) {
        for value in values {
            self.send(topic, None, value["workflow_id"].as_str(), Some(value.to_string().as_bytes()));
        }
        self.flush();
    }

    /// Reads on until `done`; fails when the time is over.
    pub fn wait(&self, what: &str, timeout: Duration, done: impl Fn(&Topics) -> bool) {
        let deadline = Instant::now() + timeout;
        let mut reader = self.reader.borrow_mut();
        let mut changed = true;
        loop {
            if changed && done(&reader.topics) {
                return;
            }
            let counts: Vec<String> =
                reader.topics.iter().map(|(t, records)| format!("{t} {}", records.len())).collect();
            assert!(Instant::now() < deadline, "not within {timeout:?}: {what}; there are {}", counts.join(", "));
            changed = reader.read(Duration::from_millis(50));
        }
    }

    /// Waits for so many rows in a topic.
    pub fn wait_for(&self, topic: &str, count: usize) {
        self.wait(&format!("{count} rows in {topic}"), PATIENCE, |topics| {
            topics.get(topic).map_or(0, Vec::len) >= count
        });
    }

    /// All that is in a topic now.
    pub fn rows(&self, topic: &str) -> Vec<Record> {
        let count = usize::try_from(self.broker.ends(topic).values().sum::<i64>()).unwrap();
        self.wait_for(topic, count);
        self.reader.borrow().topics.get(topic).cloned().unwrap_or_default()
    }

    /// All that is in all topics now.
    pub fn all(&self) -> Topics {
        TOPICS.iter().map(|topic| ((*topic).to_owned(), self.rows(topic))).collect()
    }

    /// Waits until a group has nothing left to read of a topic.
    pub fn wait_until_committed(&self, group: &str, topic: &str) {
        eventually(&format!("{group} has committed all of {topic}"), || {
            let committed = self.broker.committed(group, topic);
            let ends = self.broker.ends(topic);
            ends.iter().all(|(partition, end)| *end == 0 || committed.get(partition) == Some(end))
        });
    }
}

impl Reader {
    /// Takes what is there, at most for so long; whether anything came.
    fn read(&mut self, wait: Duration) -> bool {
        let Some(first) = self.consumer.poll(wait) else { return false };
        let mut next = Some(first);
        while let Some(message) = next {
            let message = message.unwrap();
            let bytes = message.payload().unwrap_or_default().to_vec();
            let record = Record {
                key: message.key().map(|key| String::from_utf8_lossy(key).into_owned()),
                json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                bytes,
            };
            self.topics.entry(message.topic().to_owned()).or_default().push(record);
            next = self.consumer.poll(Duration::ZERO);
        }
        true
    }
}

/// SHA-256 of a text in hexadecimal, as SQL writes `encode(sha256(text), 'hex')`.
pub fn sha256(text: &str) -> String {
    let digits = Sha256::digest(text).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

pub fn config(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.servers()).set("reconnect.backoff.max.ms", "500");
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config
}

fn producer(broker: &Broker) -> BaseProducer {
    let mut config = config(broker);
    config.set("linger.ms", "0").set("message.max.bytes", "67108864").set("queue.buffering.max.kbytes", "1048576");
    config.create().unwrap()
}

/// Publishes bytes (none: a tombstone) and does not wait.
pub fn send(producer: &BaseProducer, topic: &str, partition: Option<i32>, key: Option<&str>, bytes: Option<&[u8]>) {
    let mut record = BaseRecord::<str, [u8]>::to(topic);
    (record.partition, record.key, record.payload) = (partition, key, bytes);
    while let Err((error, back)) = producer.send(record) {
        let full = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull);
        assert!(full, "cannot produce to {topic}: {error}");
        record = back;
        producer.poll(Duration::from_millis(10));
    }
    producer.poll(Duration::ZERO);
}

pub fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    config(broker).create().unwrap()
}

/// Names and counts of partitions that have a leader, without the broker's own topics.
fn known_topics(consumer: &BaseConsumer) -> Vec<(String, i32)> {
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).unwrap();
    let topics = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
    topics
        .map(|topic| {
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            (topic.name().to_owned(), i32::try_from(led).unwrap())
        })
        .collect()
}

/// A message of which the model makes what the number says: five agents, or none. Its id is in the context.
pub fn message(number: usize) -> (Value, &'static str) {
    let (words, destination) = [
        ("New, raw lead", "lead_ingestion"),
        ("Research report on a lead", "lead_scoring"),
        ("Scored lead whose next step is Actively Engage", "active_outreach"),
        ("Scored lead whose next step is Nurture", "nurture_campaign"),
        ("One finished e-mail", "send_email"),
        ("Something else", "unrouted"),
    ][number % 6];
    let id = format!("m-{number:05}");
    let context = format!("{words}. [{id}]");
    (json!({ "message_id": id, "workflow_id": format!("w-{number:05}"), "context": context }), destination)
}

/// Several of them.
pub fn messages(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Value> {
    numbers.map(|number| message(number).0)
}

/// How often each message was decided on, and how often it stands in each destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fate {
    pub decisions: usize,
    pub places: BTreeMap<&'static str, usize>,
}

/// What became of every message, by its id.
pub fn fates(topics: &Topics) -> BTreeMap<String, Fate> {
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    for record in topics.get("agent_predictions").into_iter().flatten() {
        fates.entry(record.text("message_id").to_owned()).or_default().decisions += 1;
    }
    for place in DESTINATIONS {
        for record in topics.get(place).into_iter().flatten() {
            let fate = fates.entry(record.text("message_id").to_owned()).or_default();
            *fate.places.entry(place).or_default() += 1;
        }
    }
    fates
}

impl System {
    /// Waits until each of these messages is decided and in its place.
    pub fn wait_until_routed(&self, numbers: std::ops::Range<usize>) {
        self.wait(&format!("messages {numbers:?} are routed"), PATIENCE, |topics| {
            let fates = fates(topics);
            numbers.clone().all(|number| {
                let (message, place) = message(number);
                fates
                    .get(message["message_id"].as_str().unwrap())
                    .is_some_and(|fate| fate.decisions > 0 && fate.places.contains_key(place))
            })
        });
    }

    /// Each of these messages is decided and in its place and nowhere else, `most` times at most.
    pub fn assert_routed(&self, numbers: std::ops::Range<usize>, most: usize) {
        let fates = fates(&self.all());
        assert_eq!(fates.len(), numbers.len(), "messages that nobody published");
        for number in numbers {
            let (message, place) = message(number);
            let fate = &fates[message["message_id"].as_str().unwrap()];
            assert!((1..=most).contains(&fate.decisions), "{message}: {fate:?}");
            assert_eq!(fate.places.keys().collect::<Vec<_>>(), [&place], "{message}");
            assert!(fate.places[place] <= most, "{message}: {fate:?}");
        }
    }
}
