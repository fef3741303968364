//! The producer that a pipeline's sinks share, and the count of rows that are not acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, ProducerContext};
use tokio::sync::Notify;

use super::client::{Events, client_context};
use crate::connectors::ConnectorError;
use crate::delivery::Lineage;
use crate::diag::Code;

/// A producer that polls on a thread of its own.
///
/// rdkafka's `ThreadedProducer` polls ten times a second and spins through the last millisecond of each wait, which
/// costs an idle engine CPU. Here an acknowledgement ends a wait at once, however long it is.
pub struct Producer {
    base: Arc<BaseProducer<Acknowledgements>>,
    gone: Arc<AtomicBool>,
}

/// How long the polling thread waits for acknowledgements at a time.
const POLL: Duration = Duration::from_secs(1);

impl Producer {
    fn start(config: &ClientConfig, events: Events) -> Result<Self, KafkaError> {
        let base: Arc<BaseProducer<_>> = Arc::new(config.create_with_context(Acknowledgements { events })?);
        let gone = Arc::new(AtomicBool::new(false));
        let (polled, stop) = (Arc::clone(&base), Arc::clone(&gone));
        let poll = move || {
            while !stop.load(Ordering::Acquire) {
                polled.poll(POLL);
            }
        };
        match thread::Builder::new().name("kafka-producer".into()).spawn(poll) {
            Ok(_polls_until_gone) => Ok(Self { base, gone }),
            Err(error) => Err(KafkaError::ClientCreation(format!("no thread can be started: {error}"))),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

impl Deref for Producer {
    type Target = BaseProducer<Acknowledgements>;

    fn deref(&self) -> &Self::Target {
        &self.base
    }
}

type Key = (String, BTreeMap<String, String>);

/// The producers in use, one for each pipeline and set of settings: exactly-once will need a producer for each
/// pipeline.
static PRODUCERS: Mutex<Option<HashMap<Key, Weak<Producer>>>> = Mutex::new(None);

/// The producer of a pipeline with these settings.
///
/// # Errors
/// When the settings do not fit together.
pub fn shared(
    pipeline: &str,
    config: &ClientConfig,
    events: impl FnOnce() -> Events,
) -> Result<Arc<Producer>, KafkaError> {
    let settings = config.config_map().into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let key = (pipeline.to_string(), settings);
    let mut producers = PRODUCERS.lock().unwrap_or_else(PoisonError::into_inner);
    let producers = producers.get_or_insert_default();
    producers.retain(|_, producer| producer.strong_count() > 0);
    if let Some(producer) = producers.get(&key).and_then(Weak::upgrade) {
        return Ok(producer);
    }
    let producer = Arc::new(Producer::start(config, events())?);
    producers.insert(key, Arc::downgrade(&producer));
    Ok(producer)
}

/// The producer's context.
pub struct Acknowledgements {
    events: Events,
}

client_context!(Acknowledgements);

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Arc<BatchAck>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<BatchAck>) {
        match result {
            Ok(_) => {
                self.events.up();
                batch.acknowledged();
            }
            Err((error, message)) => {
                let bytes = message.payload_len() + message.key_len();
                batch.refused(message.topic(), error, bytes, || self.events.last().map(|reason| reason.text));
            }
        }
    }
}

/// The rows that a sink has written and that are not acknowledged.
pub struct Outstanding {
    table: String,
    rows: AtomicUsize,
    changed: Notify,
    failed: Mutex<Option<ConnectorError>>,
    failure: Arc<dyn Fn(ConnectorError) + Send + Sync>,
}

impl Outstanding {
    pub fn new(table: String, failure: Arc<dyn Fn(ConnectorError) + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { table, rows: AtomicUsize::new(0), changed: Notify::new(), failed: Mutex::new(None), failure })
    }

    /// Opens a batch of `rows` rows.
    pub fn begin(self: &Arc<Self>, rows: usize, lineage: Lineage) -> Arc<BatchAck> {
        Arc::new(BatchAck {
            missing: AtomicUsize::new(rows),
            lineage: Mutex::new(Some(lineage)),
            outstanding: Arc::clone(self),
        })
    }

    /// Counts a row as in flight. Call it before sending: the answer may come at once.
    pub fn sending(&self) {
        self.rows.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a row as answered, or as not sent.
    pub fn answered(&self) {
        if self.rows.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    /// The final failure, if there is one.
    pub fn failed(&self) -> Option<ConnectorError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until nothing is outstanding.
    ///
    /// # Errors
    /// The final failure.
    pub async fn settled(&self) -> Result<(), ConnectorError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.rows.load(Ordering::Acquire) == 0 {
                return self.failed().map_or(Ok(()), Err);
            }
            changed.await;
        }
    }

    /// The error for a row of `bytes` bytes that cannot be written.
    pub fn refusal(&self, topic: &str, error: &KafkaError, bytes: usize, last: Option<String>) -> ConnectorError {
        let table = &self.table;
        let code = error.rdkafka_error_code();
        let failed = |why: String| {
            ConnectorError::new(Code::SINK_FAILED, format!("cannot write to topic `{topic}` (table `{table}`): {why}"))
        };
        match code {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                failed(format!("a row of {bytes} bytes is larger than the topic takes"))
                    .help(format!("raise `max.message.bytes` of topic `{topic}`, or make the row smaller"))
            }
            Some(RDKafkaErrorCode::MessageTimedOut) => failed(match last {
                Some(last) => format!("no acknowledgement within `message.timeout.ms`; the last error was: {last}"),
                None => "no acknowledgement within `message.timeout.ms`".into(),
            })
            .help("check the brokers; rows that were not acknowledged will be redelivered"),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => failed("the topic does not exist any more".into()).help("create it again"),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
                failed("the broker refuses it".into())
                    .help("give the user of `auth.username` the right to write the topic")
            }
            Some(code) => failed(code.to_string()),
            None => failed(error.to_string()),
        }
    }

    /// Records that delivery has failed for good. Only the first reason is reported.
    pub fn fail(&self, error: ConnectorError) {
        {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.is_some() {
                return;
            }
            *failed = Some(error.clone());
        }
        (self.failure)(error);
    }
}

/// The unacknowledged rows of one batch. When all are acknowledged, the lineage is delivered. When one is refused, the
/// lineage is dropped with the last of them, and so lost.
pub struct BatchAck {
    missing: AtomicUsize,
    lineage: Mutex<Option<Lineage>>,
    outstanding: Arc<Outstanding>,
}

impl BatchAck {
    fn acknowledged(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            let lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(lineage) = lineage {
                lineage.deliver();
            }
        }
        self.outstanding.answered();
    }

    fn refused(&self, topic: &str, error: &KafkaError, bytes: usize, last: impl FnOnce() -> Option<String>) {
        // Messages are purged when the process exits, or when the pipeline has failed elsewhere.
        let purged =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        if !purged {
            self.outstanding.fail(self.outstanding.refusal(topic, error, bytes, last()));
        }
        self.outstanding.answered();
    }
}
