//! What happens before the first row: reach the broker, find or create the topic, and commit where a consumer group
//! begins. All of it blocks for a bounded time, and none of it runs on an async thread.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Events, Reason, client_context};
use super::config::{Connection, Start};
use crate::connectors::ConnectorError;
use crate::diag::Code;

/// The time-out of one request: short, so that errors are noticed in between.
const REQUEST: Duration = Duration::from_secs(1);
/// How long a created topic may take to appear.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that only asks for metadata.
pub struct Probe {
    events: Events,
}

client_context!(Probe);
impl ConsumerContext for Probe {}
impl HasEvents for Probe {
    fn events(&self) -> &Events {
        &self.events
    }
}

/// A context with [`Events`].
pub trait HasEvents: ConsumerContext {
    /// The client's events.
    fn events(&self) -> &Events;
}

/// A client for [`ensure_topic`] where there is no consumer.
///
/// # Errors
/// When the settings do not fit together.
pub fn probe(connection: &Connection, pipeline: &str) -> Result<BaseConsumer<Probe>, ConnectorError> {
    let events = Events::new(format!("{pipeline}.{}", connection.table), connection.secrets.clone());
    // A consumer, because a producer's question makes brokers create the topic.
    let config = connection.client(pipeline, &[], &[]);
    config.create_with_context(Probe { events }).map_err(|error| bad_settings(connection, &error))
}

/// The error when librdkafka refuses the settings as a whole.
pub fn bad_settings(connection: &Connection, error: &KafkaError) -> ConnectorError {
    let reason = match error {
        KafkaError::ClientCreation(reason) => connection.secrets.redact(reason),
        KafkaError::ClientConfig(_, _, key, _) => format!("`{key}` has a value that it does not take"),
        other => connection.secrets.redact(&other.to_string()),
    };
    ConnectorError::new(
        Code::OPTION_VALUE,
        format!("the Kafka settings of table `{}` do not work: {reason}", connection.table),
    )
    .help("check `client_configs` and the `auth.` options")
}

/// The topic's partitions. With `create`, a missing topic is created.
///
/// # Errors
/// When no broker can be reached, or the topic is missing or forbidden.
pub fn ensure_topic<C: HasEvents>(
    client: &BaseConsumer<C>,
    connection: &Connection,
    pipeline: &str,
    create: bool,
) -> Result<Vec<i32>, ConnectorError> {
    if let Some(partitions) = reach(client, connection)? {
        return Ok(partitions);
    }
    let (table, topic) = (&connection.table, &connection.topic);
    if !create {
        return Err(ConnectorError::new(
            Code::TOPIC_MISSING,
            format!("topic `{topic}` (table `{table}`) does not exist"),
        )
        .help("create it, or run with `--create-topics`"));
    }
    create_topic(connection, pipeline)?;
    let deadline = Instant::now() + CREATE_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(partitions) = reach(client, connection)? {
            return Ok(partitions);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(ConnectorError::new(
        Code::TOPIC_MISSING,
        format!(
            "topic `{topic}` (table `{table}`) was created but did not appear within {} s",
            CREATE_TIMEOUT.as_secs()
        ),
    ))
}

/// Asks for the topic until a broker answers. Returns its partitions, or `None` when it does not exist.
fn reach<C: HasEvents>(client: &BaseConsumer<C>, connection: &Connection) -> Result<Option<Vec<i32>>, ConnectorError> {
    let deadline = Instant::now() + connection.connect_timeout();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = client.fetch_metadata(Some(&connection.topic), left.min(REQUEST).max(Duration::from_millis(10)));
        // Errors come as events, and only a poll delivers events.
        while client.poll(Duration::ZERO).is_some() {}
        match answer {
            Ok(metadata) => {
                let Some(topic) = metadata.topics().iter().find(|t| t.name() == connection.topic) else {
                    return Ok(None);
                };
                match topic.error() {
                    None if !topic.partitions().is_empty() => {
                        return Ok(Some(
                            topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect(),
                        ));
                    }
                    Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => return Ok(None),
                    Some(error) if is_lasting(error.into()) => return Err(refused_topic(connection, error.into())),
                    // Its leader is being elected.
                    _ => {}
                }
            }
            Err(_) if client.context().events().last().is_some_and(|reason| reason.is_final()) => {
                return Err(unreachable(connection, client.context().events().last().as_ref()));
            }
            Err(_) => {}
        }
        if left.is_zero() {
            return Err(unreachable(connection, client.context().events().last().as_ref()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_lasting(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::InvalidTopic
    )
}

fn refused_topic(connection: &Connection, code: RDKafkaErrorCode) -> ConnectorError {
    let (table, topic) = (&connection.table, &connection.topic);
    if code == RDKafkaErrorCode::InvalidTopic {
        return ConnectorError::new(
            Code::OPTION_VALUE,
            format!("`{topic}` (table `{table}`) is not a valid topic name"),
        )
        .help("use letters, digits, `.`, `_` and `-`, at most 249");
    }
    ConnectorError::new(Code::BROKER, format!("the Kafka broker refuses access to topic `{topic}` (table `{table}`)"))
        .help("give the user of `auth.username` the right to describe and read or write the topic")
}

/// No broker answers, or none accepts the login.
fn unreachable(connection: &Connection, reason: Option<&Reason>) -> ConnectorError {
    let (servers, table) = (&connection.servers, &connection.table);
    match reason {
        Some(reason) if reason.is_login() => ConnectorError::new(
            Code::BROKER,
            format!("the Kafka broker at `{servers}` refuses the login (table `{table}`): {}", reason.text),
        )
        .help("check `auth.mechanism`, `auth.username` and `auth.password`"),
        Some(reason) if reason.is_tls() => ConnectorError::new(
            Code::BROKER,
            format!("no encrypted connection to the Kafka broker at `{servers}` (table `{table}`): {}", reason.text),
        )
        .help("check `auth.protocol`, or `security.protocol` and `ssl.ca.location` in `client_configs`"),
        reason => ConnectorError::new(
            Code::BROKER,
            format!(
                "cannot reach the Kafka broker at `{servers}` (table `{table}`): {}",
                reason.map_or("no answer", |reason| &reason.text)
            ),
        )
        .help(
            "check `bootstrap_servers`, that the broker runs, and that its listener expects the same `auth.protocol`",
        ),
    }
}

/// Another process may create it at the same time, which is fine: it only has to exist.
fn create_topic(connection: &Connection, pipeline: &str) -> Result<(), ConnectorError> {
    let (table, topic) = (&connection.table, &connection.topic);
    let failed = |reason: String| {
        ConnectorError::new(
            Code::TOPIC_MISSING,
            format!(
                "topic `{topic}` (table `{table}`) does not exist and cannot be created: {}",
                connection.secrets.redact(&reason)
            ),
        )
        .help("create it by hand, or check `baton.create_partitions`, `baton.create_replication` and the user's rights")
    };
    let config = connection.client(pipeline, &[], &[]);
    let events = Events::new(format!("{pipeline}.{table}"), connection.secrets.clone());
    let admin: AdminClient<Probe> =
        config.create_with_context(Probe { events }).map_err(|error| bad_settings(connection, &error))?;
    let mut new =
        NewTopic::new(topic, connection.create_partitions, TopicReplication::Fixed(connection.create_replication));
    let max_message_bytes = connection.create_max_message_bytes.map(|bytes| bytes.to_string());
    if let Some(bytes) = &max_message_bytes {
        new = new.set("max.message.bytes", bytes);
    }
    let options = AdminOptions::new().request_timeout(Some(CREATE_TIMEOUT)).operation_timeout(Some(CREATE_TIMEOUT));
    let results = futures::executor::block_on(admin.create_topics([&new], &options))
        .map_err(|error| failed(error.to_string()))?;
    for result in results {
        match result {
            Ok(_) => tracing::info!(target: "kafka", %topic, "created the topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(code.to_string())),
        }
    }
    Ok(())
}

/// Commits the group's start for partitions without a committed offset.
///
/// With `latest`, librdkafka would find a new start at every start and rebalance until the first commit, and skip
/// messages published in between. `earliest` needs no commit: the beginning does not move.
///
/// # Errors
/// When the group cannot be asked, or when it has no committed offset and must not choose a start.
pub fn settle_start<C: HasEvents>(
    client: &BaseConsumer<C>,
    connection: &Connection,
    group: &str,
    partitions: &[i32],
    start: Start,
) -> Result<(), ConnectorError> {
    if start == Start::Earliest {
        return Ok(());
    }
    let deadline = Instant::now() + connection.connect_timeout().max(Duration::from_secs(10));
    loop {
        let outcome = settle_once(client, connection, group, partitions, start);
        while client.poll(Duration::ZERO).is_some() {}
        match outcome {
            Ok(()) => return Ok(()),
            Err(Unsettled::For(error)) => return Err(error),
            Err(Unsettled::Yet(error)) if Instant::now() >= deadline => {
                return Err(ConnectorError::new(
                    Code::BROKER,
                    format!(
                        "cannot find out where consumer group `{group}` begins (table `{}`): {}",
                        connection.table,
                        connection.secrets.redact(&error.to_string())
                    ),
                ));
            }
            Err(Unsettled::Yet(_)) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

enum Unsettled {
    /// Final.
    For(ConnectorError),
    /// A retry may help, for example while the group's coordinator is being elected.
    Yet(KafkaError),
}

impl From<KafkaError> for Unsettled {
    fn from(error: KafkaError) -> Self {
        Self::Yet(error)
    }
}

fn settle_once<C: HasEvents>(
    client: &BaseConsumer<C>,
    connection: &Connection,
    group: &str,
    partitions: &[i32],
    start: Start,
) -> Result<(), Unsettled> {
    let topic = &connection.topic;
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, *partition);
    }
    let committed = client.committed_offsets(asked, Duration::from_secs(5))?;
    let mut open = Vec::new();
    for element in committed.elements() {
        element.error()?;
        if element.offset() == Offset::Invalid {
            open.push(element.partition());
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    if start == Start::Refuse {
        return Err(Unsettled::For(
            ConnectorError::new(
                Code::SOURCE_FAILED,
                format!(
                    "consumer group `{group}` has no committed offset for topic `{topic}` (table `{}`)",
                    connection.table
                ),
            )
            .help("`auto.offset.reset=error` asks for this; write `=earliest`, or commit an offset for the group"),
        ));
    }
    let mut begin = TopicPartitionList::new();
    for partition in open {
        let (_, end) = client.fetch_watermarks(topic, partition, Duration::from_secs(5))?;
        begin.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    match client.commit(&begin, CommitMode::Sync) {
        // Other members of the group are reading already, so they have committed the start.
        Err(KafkaError::ConsumerCommit(
            RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::RebalanceInProgress,
        )) => Ok(()),
        other => Ok(other?),
    }
}

/// Where each partition ends now.
///
/// # Errors
/// When the broker does not answer.
pub fn ends<C: HasEvents>(
    client: &BaseConsumer<C>,
    connection: &Connection,
    partitions: &[i32],
) -> Result<HashMap<i32, i64>, ConnectorError> {
    let patience = connection.connect_timeout();
    let end = |partition: &i32| {
        let (_, end) = client.fetch_watermarks(&connection.topic, *partition, patience).map_err(|error| {
            let (topic, table) = (&connection.topic, &connection.table);
            let reason = connection.secrets.redact(&error.to_string());
            ConnectorError::new(
                Code::BROKER,
                format!("cannot find out where topic `{topic}` (table `{table}`) ends: {reason}"),
            )
        })?;
        Ok((*partition, end))
    };
    partitions.iter().map(end).collect()
}
