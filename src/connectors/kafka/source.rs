//! A topic as a source: polls, gathers messages into micro-batches, pauses when too much is in flight, and commits what
//! is delivered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::admin::{self, HasEvents};
use super::batch::{BadMessage, Decoded, RowBuilder};
use super::client::Events;
use super::committer::Committer;
use super::config::SourceConfig;
use super::group::{Arrival, Group};
use crate::connectors::{ConnectorError, OpenContext, Output, Source, SourceSpec, Stopped};
use crate::delivery::{OffsetRange, OffsetTracker};
use crate::diag::Code;

/// How long an idle source sleeps in `poll`; a message wakes it.
const IDLE: Duration = Duration::from_millis(100);
/// The limits of one micro-batch; one message may be larger.
const BATCH_ROWS: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// How long to wait for a full pipeline before pausing, which discards the prefetched messages. Well below the shortest
/// `max.poll.interval.ms`.
const BRIEFLY: Duration = Duration::from_millis(500);
/// How long a revoked partition waits for its rows in flight, at most.
const REVOKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last commit and leaving the group may take when the broker does not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A table that is read.
pub struct KafkaSourceSpec(Arc<SourceConfig>);

impl KafkaSourceSpec {
    pub fn new(config: SourceConfig) -> Self {
        Self(Arc::new(config))
    }
}

#[async_trait]
impl SourceSpec for KafkaSourceSpec {
    fn describe(&self) -> String {
        format!("topic {}", self.0.connection.topic)
    }

    fn is_bounded(&self) -> bool {
        self.0.bounded
    }

    async fn open(&self, context: &OpenContext) -> Result<Box<dyn Source>, ConnectorError> {
        let (config, context) = (Arc::clone(&self.0), context.clone());
        let opened = tokio::task::spawn_blocking(move || KafkaSource::open(&config, context)).await;
        match opened {
            Ok(source) => Ok(Box::new(source?)),
            Err(error) => Err(ConnectorError::new(Code::SOURCE_FAILED, format!("the source was not opened: {error}"))),
        }
    }
}

struct KafkaSource {
    consumer: BaseConsumer<Group>,
    reader: Reader,
}

/// The source without its consumer, because messages borrow from that.
struct Reader {
    table: String,
    topic: String,
    rows: RowBuilder,
    context: OpenContext,
    bound: Option<Bound>,
}

/// How far a bounded source reads.
struct Bound {
    /// One past the last offset of each partition, as it was at the start.
    ends: HashMap<i32, i64>,
    /// Partitions that are read to their end.
    done: HashSet<i32>,
}

impl Bound {
    /// Whether a message is before the end.
    fn takes(&mut self, partition: i32, offset: i64) -> bool {
        let end = self.ends.get(&partition).copied().unwrap_or(0);
        if offset + 1 >= end {
            self.done.insert(partition);
        }
        offset < end
    }
}

/// A message, and the stretch of its partition that it belongs to.
struct Taken<'c> {
    message: BorrowedMessage<'c>,
    stretch: u64,
}

/// Why reading stopped.
enum End {
    /// A stop was requested.
    Stop,
    /// A bounded source has read everything.
    Finished,
    /// The pipeline failed elsewhere.
    Stopped,
    Failed(ConnectorError),
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl KafkaSource {
    fn open(config: &SourceConfig, context: OpenContext) -> Result<Self, ConnectorError> {
        let connection = &config.connection;
        let events = Events::new(format!("{}.{}", context.pipeline, connection.table), connection.secrets.clone());
        let patience = REVOKE_PATIENCE.min(config.max_poll_interval() / 2);
        let group = Group::new(events, connection.topic.clone(), Arc::clone(&context.ledger), patience);
        let consumer: BaseConsumer<Group> = config
            .consumer(&context.pipeline)
            .create_with_context(group)
            .map_err(|error| admin::bad_settings(connection, &error))?;
        let partitions = admin::ensure_topic(&consumer, connection, &context.pipeline, context.create_topics)?;
        admin::settle_start(&consumer, connection, &config.group(&context.pipeline), &partitions, config.start)?;
        let bound = if config.bounded {
            Some(Bound { ends: admin::ends(&consumer, connection, &partitions)?, done: HashSet::new() })
        } else {
            None
        };
        let reader = Reader {
            table: connection.table.clone(),
            topic: connection.topic.clone(),
            rows: RowBuilder::new(&config.format, &config.table),
            context,
            bound,
        };
        Ok(Self { consumer, reader })
    }
}

impl Source for KafkaSource {
    fn run(self: Box<Self>, output: &mut dyn Output) -> Result<(), ConnectorError> {
        let Self { consumer, mut reader } = *self;
        let consumer = Arc::new(consumer);
        let topic = reader.topic.clone();
        if let Err(error) = consumer.subscribe(&[&topic]) {
            return Err(reader.error(Code::SOURCE_FAILED, format!("cannot be subscribed to: {error}")));
        }
        let committer = match Committer::start(Arc::clone(&consumer)) {
            Ok(committer) => committer,
            Err(error) => {
                return Err(
                    reader.error(Code::SOURCE_FAILED, format!("cannot be read: no thread can be started: {error}"))
                );
            }
        };
        let end = reader.read(&consumer, output);
        reader.rows.report();
        if matches!(end, End::Finished) {
            reader.finish(&consumer);
        }
        // After a failure elsewhere nothing more will be delivered.
        let wait = if matches!(end, End::Stopped) { Duration::ZERO } else { reader.context.drain_timeout };
        reader.wind_down(&consumer, committer, wait);
        leave(consumer, &topic);
        match end {
            End::Stop | End::Finished | End::Stopped => Ok(()),
            End::Failed(error) => Err(error),
        }
    }
}

impl Reader {
    fn read(&mut self, consumer: &BaseConsumer<Group>, output: &mut dyn Output) -> End {
        loop {
            if self.context.stop.is_set() {
                return End::Stop;
            }
            if let Err(end) = self.step(consumer, output, IDLE) {
                return end;
            }
            if self.is_read(consumer) {
                return End::Finished;
            }
            if !self.has_room(1)
                && let Err(end) = self.hold_back(consumer, output)
            {
                return end;
            }
        }
    }

    /// Whether a bounded source has read all the partitions that it was assigned.
    fn is_read(&self, consumer: &BaseConsumer<Group>) -> bool {
        let Some(bound) = &self.bound else { return false };
        let assigned = consumer.context().assigned();
        !assigned.is_empty() && assigned.iter().all(|partition| bound.done.contains(partition))
    }

    /// Waits, however long it takes, until the rows of a bounded source are delivered. A stop ends the wait.
    fn finish(&mut self, consumer: &BaseConsumer<Group>) {
        consumer.context().hold(consumer);
        let ledger = Arc::clone(&self.context.ledger);
        while !self.context.stop.is_set() && !ledger.wait_until(IDLE, OffsetTracker::is_idle) {
            while consumer.poll(Duration::ZERO).is_some() {}
        }
    }

    /// Polls once, and passes on what has come.
    fn step(&mut self, consumer: &BaseConsumer<Group>, output: &mut dyn Output, wait: Duration) -> Result<(), End> {
        let mut gathered: Vec<Taken<'_>> = Vec::new();
        let (mut bytes, mut wait) = (0, wait);
        while gathered.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let message = match consumer.poll(wait) {
                // No message is available, or a rebalance was handled.
                None => break,
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(bound) = &mut self.bound {
                        bound.done.insert(partition);
                    }
                    continue;
                }
                Some(Err(error)) => {
                    self.pass_on(consumer, &mut gathered, output)?;
                    return self.trouble(consumer, &error).map_err(End::Failed);
                }
            };
            let (partition, offset) = (message.partition(), message.offset());
            if self.bound.as_mut().is_some_and(|bound| !bound.takes(partition, offset)) {
                continue;
            }
            let mut arrival = consumer.context().arrived(partition, offset);
            if arrival == Arrival::Back {
                tracing::warn!(
                    target: "kafka", topic = %self.topic, partition, offset,
                    "the partition's offsets went back (the topic was recreated or truncated); continuing from there"
                );
                self.pass_on(consumer, &mut gathered, output)?;
                consumer.context().restart(partition);
                arrival = consumer.context().arrived(partition, offset);
            }
            if let Arrival::Next(stretch) = arrival {
                bytes += size(&message);
                gathered.push(Taken { message, stretch });
            }
            // Take what is available; do not wait for more.
            wait = Duration::ZERO;
            if !self.has_room(gathered.len() + 1) {
                break;
            }
        }
        self.pass_on(consumer, &mut gathered, output)
    }

    fn pass_on(
        &mut self,
        consumer: &BaseConsumer<Group>,
        gathered: &mut Vec<Taken<'_>>,
        output: &mut dyn Output,
    ) -> Result<(), End> {
        gathered.retain(|taken| consumer.context().is_current(taken.message.partition(), taken.stretch));
        if gathered.is_empty() {
            return Ok(());
        }
        let messages: Vec<BorrowedMessage<'_>> = gathered.drain(..).map(|taken| taken.message).collect();
        let Decoded { rows, rejected, bad } = self.rows.decode(&messages);
        // Rows before a bad message are delivered and committed; the message and those after it are not.
        let good = match &bad {
            Some(BadMessage { index: Some(index), .. }) => &messages[..*index],
            Some(BadMessage { index: None, .. }) => &messages[..0],
            None => &messages[..],
        };
        if !good.is_empty() {
            let count = rows.as_ref().map_or(0, RecordBatch::num_rows) + rejected.len();
            let bytes = if count > 0 { good.iter().map(size).sum() } else { 0 };
            let lineage = self.context.ledger.begin(ranges(good), count, bytes);
            if let Some(rows) = rows {
                output.push(rows, lineage.clone())?;
            }
            if rejected.is_empty() {
                lineage.deliver();
            } else {
                output.reject(rejected, lineage)?;
            }
        }
        match bad {
            Some(bad) => Err(End::Failed(self.bad_data(&messages, &bad))),
            None => Ok(()),
        }
    }

    fn bad_data(&self, messages: &[BorrowedMessage<'_>], bad: &BadMessage) -> ConnectorError {
        let place = match bad.index {
            Some(index) => format!("partition {}, offset {}", messages[index].partition(), messages[index].offset()),
            None => ranges(messages)
                .iter()
                .map(|range| format!("partition {}, offsets {} to {}", range.partition, range.first, range.last))
                .collect::<Vec<_>>()
                .join("; "),
        };
        self.error(Code::BAD_DATA, format!("has a message that cannot be read ({place}): {}", bad.reason)).help(
            "give the table `'baton.dead_letters' = '…'` or `bad_data = 'drop'`, or read the topic as `raw_bytes`",
        )
    }

    fn error(&self, code: Code, what: impl std::fmt::Display) -> ConnectorError {
        ConnectorError::new(code, format!("topic `{}` (table `{}`) {what}", self.topic, self.table))
    }

    /// An error of `poll`. Most are temporary: a broker that is down, a leader that moves.
    fn trouble(&self, consumer: &BaseConsumer<Group>, error: &KafkaError) -> Result<(), ConnectorError> {
        let reason = || match consumer.client().fatal_error() {
            Some((_, reason)) => reason,
            None => consumer.context().events().last().map_or_else(|| error.to_string(), |reason| reason.text),
        };
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(self.error(Code::SOURCE_FAILED, format!("cannot be read any more: {}", reason())));
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => Err(self
                .error(Code::BROKER, "may not be read: the broker refuses the topic or the consumer group")
                .help("give the user of `auth.username` the right to read the topic and to use the group")),
            Some(RDKafkaErrorCode::AutoOffsetReset) => Err(self
                .error(
                    Code::SOURCE_FAILED,
                    format!("has no message at the offset where the group goes on: {}", reason()),
                )
                .help("`auto.offset.reset=error` asks for this; write `=earliest` to go on with what is there")),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                tracing::warn!(target: "kafka", topic = %self.topic, "the topic is gone; waiting until it exists again");
                Ok(())
            }
            Some(RDKafkaErrorCode::PollExceeded) => {
                tracing::warn!(target: "kafka", topic = %self.topic, "the process did not poll for longer than `max.poll.interval.ms`; rejoining the group");
                Ok(())
            }
            // `Events` has logged it.
            _ => Ok(()),
        }
    }

    fn has_room(&self, more: usize) -> bool {
        let tracker = self.context.ledger.tracker();
        tracker.rows_in_flight() + more <= self.context.limits.rows.max(1)
            && tracker.bytes_in_flight() < self.context.limits.bytes.max(1)
    }

    /// Waits until less is in flight. After a short wait, it pauses fetching and goes on polling, so that it stays a
    /// member of the group.
    fn hold_back(&mut self, consumer: &BaseConsumer<Group>, output: &mut dyn Output) -> Result<(), End> {
        let (limits, stop) = (self.context.limits, self.context.stop.clone());
        let ledger = Arc::clone(&self.context.ledger);
        let relieved = |wait| ledger.wait_for_room(wait, limits.resume_rows, limits.bytes / 2);
        let patient_until = Instant::now() + BRIEFLY;
        while Instant::now() < patient_until {
            if stop.is_set() || relieved(IDLE) {
                return Ok(());
            }
        }
        tracing::debug!(target: "kafka", topic = %self.topic, "too much is in flight: fetching is paused");
        consumer.context().hold(consumer);
        while !stop.is_set() && !relieved(IDLE / 2) {
            // Only rebalances and answers to commits should come. A message that does come is taken.
            self.step(consumer, output, Duration::ZERO)?;
        }
        consumer.context().release(consumer);
        tracing::debug!(target: "kafka", topic = %self.topic, "fetching is resumed");
        Ok(())
    }

    /// Waits for what is in flight, then commits a last time.
    fn wind_down(&mut self, consumer: &BaseConsumer<Group>, committer: Committer, wait: Duration) {
        consumer.context().hold(consumer);
        let ledger = Arc::clone(&self.context.ledger);
        let deadline = Instant::now() + wait;
        // A message that still comes is neither passed on nor committed: the next reader gets it.
        let poll = || while consumer.poll(Duration::ZERO).is_some() {};
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if ledger.wait_until(left.min(Duration::from_millis(50)), OffsetTracker::is_idle) {
                break;
            }
            if left.is_zero() {
                let rows = ledger.tracker().rows_in_flight();
                tracing::warn!(target: "kafka", topic = %self.topic, rows, "stopping with rows in flight, which will be redelivered");
                break;
            }
            poll();
        }
        let answered = committer.finish(CLOSE_TIMEOUT, poll);
        consumer.context().close();
        if !answered {
            tracing::warn!(target: "kafka", topic = %self.topic, "the last commit was not answered; rows may be redelivered");
        }
    }
}

/// Leaves the group, so that others take over at once. When the broker is down, this may take long; then the process
/// exits first.
fn leave(consumer: Arc<BaseConsumer<Group>>, topic: &str) {
    let (done, closed) = std::sync::mpsc::channel();
    let spawned = std::thread::Builder::new().name("kafka-close".into()).spawn(move || {
        drop(consumer);
        let _ = done.send(());
    });
    if spawned.is_ok() && closed.recv_timeout(CLOSE_TIMEOUT).is_err() {
        tracing::warn!(target: "kafka", %topic, "the broker does not answer: the group will notice later that this process left");
    }
}

fn size(message: &BorrowedMessage<'_>) -> usize {
    message.payload_len() + message.key_len()
}

/// The offsets of some messages, one range for each partition.
fn ranges(messages: &[BorrowedMessage<'_>]) -> Vec<OffsetRange> {
    let mut ranges: Vec<OffsetRange> = Vec::new();
    for message in messages {
        let (partition, offset) = (message.partition(), message.offset());
        match ranges.iter_mut().find(|range| range.partition == partition) {
            Some(range) => range.last = offset,
            None => ranges.push(OffsetRange { partition, first: offset, last: offset }),
        }
    }
    ranges
}
