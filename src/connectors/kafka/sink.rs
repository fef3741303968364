//! A topic as a sink: rows become messages, in order. A batch is delivered when the broker has acknowledged all its
//! rows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMillisecondType};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _};

use super::admin;
use super::client::Events;
use super::config::{SinkConfig, Topics};
use super::producer::{BatchAck, Outstanding, Producer, shared};
use crate::connectors::{ConnectorError, OpenContext, Sink, SinkSpec};
use crate::delivery::Lineage;
use crate::diag::Code;
use crate::formats::Encoder;

/// How long to wait before a row is offered again to a producer whose queue is full.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// A table that is written.
pub struct KafkaSinkSpec(Arc<SinkConfig>);

impl KafkaSinkSpec {
    pub fn new(config: SinkConfig) -> Self {
        Self(Arc::new(config))
    }
}

#[async_trait]
impl SinkSpec for KafkaSinkSpec {
    fn describe(&self) -> String {
        match &self.0.topics {
            None => format!("topic {}", self.0.connection.topic),
            Some(topics) => format!("topics {}", topics.all.join(", ")),
        }
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Sink>, ConnectorError> {
        let (config, context) = (Arc::clone(&self.0), context.clone());
        let opened = tokio::task::spawn_blocking(move || KafkaSink::open(&config, &context)).await;
        match opened {
            Ok(sink) => Ok(Arc::new(sink?)),
            Err(error) => Err(ConnectorError::new(Code::SINK_FAILED, format!("the sink was not opened: {error}"))),
        }
    }
}

struct KafkaSink {
    table: String,
    /// Empty when each row names its topic.
    topic: String,
    topics: Option<Topics>,
    /// The columns that are in the message, when the topic's column is left out.
    in_message: Option<Vec<usize>>,
    producer: Arc<Producer>,
    encoder: Encoder,
    key: Option<usize>,
    timestamp: Option<usize>,
    outstanding: Arc<Outstanding>,
}

impl KafkaSink {
    fn open(config: &SinkConfig, context: &OpenContext) -> Result<Self, ConnectorError> {
        let connection = &config.connection;
        let probe = admin::probe(connection, &context.pipeline)?;
        let one = [connection.topic.clone()];
        for topic in config.topics.as_ref().map_or(&one[..], |topics| &topics.all) {
            admin::ensure_topic(&probe, &connection.with_topic(topic), &context.pipeline, context.create_topics)?;
        }
        let events = || Events::new(context.pipeline.clone(), connection.secrets.clone());
        let producer = shared(&context.pipeline, &config.producer(&context.pipeline), events)
            .map_err(|error| admin::bad_settings(connection, &error))?;
        let in_message: Option<Vec<usize>> = config
            .topics
            .as_ref()
            .map(|topics| (0..config.schema.fields().len()).filter(|column| *column != topics.column).collect());
        let in_message_schema = match &in_message {
            None => config.schema.as_ref().clone(),
            Some(columns) => config.schema.project(columns).map_err(|error| {
                ConnectorError::new(Code::SINK_FAILED, format!("table `{}`: {error}", connection.table))
            })?,
        };
        Ok(Self {
            table: connection.table.clone(),
            topic: connection.topic.clone(),
            producer,
            topics: config.topics.clone(),
            encoder: Encoder::new(&config.format, Arc::new(in_message_schema)),
            in_message,
            key: config.key,
            timestamp: config.timestamp,
            outstanding: Outstanding::new(connection.table.clone(), Arc::clone(&context.failure)),
        })
    }

    fn column(
        &self,
        batch: &RecordBatch,
        index: Option<usize>,
        as_type: &DataType,
    ) -> Result<Option<ArrayRef>, ConnectorError> {
        let Some(index) = index else { return Ok(None) };
        cast(batch.column(index), as_type).map(Some).map_err(|error| self.error(&error))
    }

    /// The topic of each row, when rows name theirs.
    fn row_topics(&self, batch: &RecordBatch) -> Result<Option<StringArray>, ConnectorError> {
        let Some(topics) = &self.topics else { return Ok(None) };
        let column = cast(batch.column(topics.column), &DataType::Utf8).map_err(|error| self.error(&error))?;
        let column = column.as_string::<i32>().clone();
        let stray = column.iter().find(|topic| !topics.all.iter().any(|known| Some(known.as_str()) == *topic));
        if let Some(stray) = stray {
            let named = stray.map_or_else(|| "no topic".to_string(), |topic| format!("the topic `{topic}`"));
            let message = format!("a row of table `{}` names {named}, which no agent has", self.table);
            let help = "filter out such rows with WHERE, and write them to another table";
            return Err(ConnectorError::new(Code::SINK_FAILED, message).help(help));
        }
        Ok(Some(column))
    }

    fn error(&self, error: &dyn std::fmt::Display) -> ConnectorError {
        ConnectorError::new(Code::SINK_FAILED, format!("a row of table `{}` cannot be encoded: {error}", self.table))
    }

    /// Gives one row to the producer. It waits for a full queue here, because later rows must not overtake.
    fn send(
        &self,
        topic: &str,
        payload: &[u8],
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        batch: &Arc<BatchAck>,
    ) -> Result<(), ConnectorError> {
        let mut record = BaseRecord::with_opaque_to(topic, Arc::clone(batch)).payload(payload);
        record.key = key;
        record.timestamp = timestamp;
        self.outstanding.sending();
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if self.outstanding.failed().is_none() =>
                {
                    record = back;
                    std::thread::sleep(QUEUE_FULL);
                }
                Err((error, _)) => {
                    self.outstanding.answered();
                    let last = self.producer.client().fatal_error().map(|(_, reason)| reason);
                    let bytes = payload.len() + key.map_or(0, <[u8]>::len);
                    return Err(match self.outstanding.failed() {
                        Some(earlier) => earlier,
                        None => self.outstanding.refusal(topic, &error, bytes, last),
                    });
                }
            }
        }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn write(&self, batch: RecordBatch, lineage: Lineage) -> Result<(), ConnectorError> {
        if let Some(error) = self.outstanding.failed() {
            return Err(error);
        }
        if batch.num_rows() == 0 {
            lineage.deliver();
            return Ok(());
        }
        let keys = self.column(&batch, self.key, &DataType::Binary)?;
        let keys = keys.as_ref().map(AsArray::as_binary::<i32>);
        let timestamps = self.column(&batch, self.timestamp, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
        let timestamps = timestamps.as_ref().map(AsArray::as_primitive::<TimestampMillisecondType>);
        let topics = self.row_topics(&batch)?;
        let rows = match &self.in_message {
            None => self.encoder.encode(&batch),
            Some(columns) => self.encoder.encode(&batch.project(columns).map_err(|error| self.error(&error))?),
        };
        let rows = rows.map_err(|error| self.error(&error))?;
        let acknowledgements = self.outstanding.begin(batch.num_rows(), lineage);
        for (row, payload) in rows.iter().enumerate() {
            let key = keys.filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row));
            let timestamp = timestamps.filter(|t| t.is_valid(row)).map(|t| t.value(row));
            let topic = topics.as_ref().map_or(self.topic.as_str(), |topics| topics.value(row));
            self.send(topic, payload, key, timestamp, &acknowledgements)?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), ConnectorError> {
        self.outstanding.settled().await
    }
}
