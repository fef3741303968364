//! The broker's side of a run: topics, consumer groups, and what stands in partitions.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::Outcome;
use crate::broker::Broker;

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many partitions a topic gets, as in `sql/`.
pub const PARTITIONS: i32 = 6;

/// A broker, started here or given.
pub struct Kafka {
    servers: String,
    asks: BaseConsumer,
    created: Vec<String>,
    own: Option<Broker>,
}

impl Kafka {
    /// The given broker, or a new one.
    pub fn open(given: Option<&str>) -> Outcome<Self> {
        let own = given.is_none().then(Broker::start);
        let servers = match (&own, given) {
            (Some(broker), _) => broker.servers(),
            (None, given) => given.unwrap_or_default().to_owned(),
        };
        let asks = client(&servers).create()?;
        Ok(Self { servers, asks, created: Vec::new(), own })
    }

    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Creates topics, none of which may exist: what stands in them would be read, and they are deleted at the end.
    pub fn create(&mut self, topics: &[&str]) -> Outcome<()> {
        let known = self.known()?;
        if let Some(topic) = topics.iter().find(|topic| known.contains(&(**topic).to_owned())) {
            return Err(format!(
                "topic {topic} exists at {}: give a broker that is used by nothing else",
                self.servers
            )
            .into());
        }
        let new = topics.iter().map(|name| {
            NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", "16777216")
        });
        let admin: AdminClient<DefaultClientContext> = client(&self.servers).create()?;
        let new: Vec<NewTopic<'_>> = new.collect();
        for created in futures::executor::block_on(admin.create_topics(&new, &AdminOptions::new()))? {
            self.created.push(created.map_err(|(topic, code)| format!("topic {topic} cannot be created: {code}"))?);
        }
        let deadline = Instant::now() + PATIENCE;
        while topics.iter().any(|topic| self.ends(&[topic]).is_err()) {
            if Instant::now() > deadline {
                return Err(format!("topics do not appear: {topics:?}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn known(&self) -> Outcome<Vec<String>> {
        let metadata = self.asks.fetch_metadata(None, PATIENCE)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// One past the last offset of each partition, in one request.
    pub fn ends(&self, topics: &[&str]) -> Outcome<TopicPartitionList> {
        let mut asked = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..PARTITIONS {
                asked.add_partition_offset(topic, partition, Offset::End)?;
            }
        }
        let ends = self.asks.offsets_for_times(asked, PATIENCE)?;
        for end in ends.elements() {
            end.error()?;
        }
        Ok(ends)
    }

    /// How many messages stand in these topics.
    pub fn count(&self, topics: &[&str]) -> Outcome<u64> {
        let ends = self.ends(topics)?;
        let count = ends.elements().iter().filter_map(|end| end.offset().to_raw()).filter(|end| *end > 0).sum::<i64>();
        Ok(u64::try_from(count)?)
    }

    /// A group that nobody is in goes on at the end of a topic, or at its beginning.
    pub fn place_group(&self, group: &str, topic: &str, at_end: bool) -> Outcome<()> {
        let consumer: BaseConsumer = client(&self.servers).set("group.id", group).create()?;
        let mut places = TopicPartitionList::new();
        for end in self.ends(&[topic])?.elements() {
            let end_offset = end.offset().to_raw().filter(|offset| *offset > 0).unwrap_or(0);
            places.add_partition_offset(topic, end.partition(), Offset::Offset(if at_end { end_offset } else { 0 }))?;
        }
        // The group may still be losing its last member.
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = consumer.commit(&places, CommitMode::Sync) {
            if Instant::now() > deadline {
                return Err(format!("group {group} cannot be placed: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// How many messages of a topic a group has committed.
    pub fn committed(&self, group: &str, topic: &str) -> Outcome<u64> {
        let consumer: BaseConsumer = client(&self.servers).set("group.id", group).create()?;
        let mut asked = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            asked.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(asked, PATIENCE)?;
        let offsets = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        });
        Ok(offsets.sum())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Our own broker goes away with all that it holds.
        if self.own.is_none()
            && let Ok(admin) = client(&self.servers).create::<AdminClient<DefaultClientContext>>()
        {
            let topics: Vec<&str> = self.created.iter().map(String::as_str).collect();
            let _ = futures::executor::block_on(admin.delete_topics(&topics, &AdminOptions::new()));
        }
    }
}

/// The settings of a client that says nothing of its own accord.
pub fn client(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config
}

/// The consumer's settings of the yardsticks: Baton's own (`src/connectors/kafka/config.rs`).
pub fn like_batons_consumer(servers: &str, group: &str) -> ClientConfig {
    let mut config = client(servers);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.max.bytes", "16777216")
        .set("fetch.queue.backoff.ms", "20")
        .set("session.timeout.ms", "10000")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("isolation.level", "read_committed");
    config
}

/// The producer's settings of the yardsticks: Baton's own.
pub fn like_batons_producer(servers: &str) -> ClientConfig {
    let mut config = client(servers);
    config
        .set("linger.ms", "0")
        .set("message.max.bytes", "67108864")
        .set("enable.idempotence", "true")
        .set("acks", "all");
    config
}
