//! The yardstick of splitting: bytes from one topic to another, never looked at, committed when they are acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use crate::Outcome;
use crate::kafka::{like_batons_consumer, like_batons_producer};
use crate::options::CopyOptions;

/// How often offsets are committed, as Baton does it: what is read in between is acknowledged and committed as one.
const STRETCH: Duration = Duration::from_millis(200);

/// How many stretches may be open; far more than the producer's queue can hold.
const MOST_OPEN: usize = 1024;

/// How many messages of each stretch are not acknowledged, by its number.
struct Unacknowledged {
    missing: [AtomicU64; MOST_OPEN],
    refused: AtomicBool,
}

struct Acknowledgements(Arc<Unacknowledged>);

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, stretch: usize) {
        if result.is_err() {
            self.0.refused.store(true, Ordering::Release);
        }
        self.0.missing[stretch].fetch_sub(1, Ordering::Release);
    }
}

/// Copies until SIGTERM.
pub fn run(options: &CopyOptions) -> Outcome<()> {
    let terminated = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn({
        let terminated = Arc::clone(&terminated);
        async move {
            if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                signal.recv().await;
            }
            terminated.store(true, Ordering::Release);
        }
    });
    let consumer: BaseConsumer = like_batons_consumer(&options.servers, &options.group).create()?;
    consumer.subscribe(&[&options.from])?;
    let unacknowledged =
        Arc::new(Unacknowledged { missing: [const { AtomicU64::new(0) }; MOST_OPEN], refused: AtomicBool::new(false) });
    let producer: ThreadedProducer<Acknowledgements> =
        like_batons_producer(&options.servers).create_with_context(Acknowledgements(Arc::clone(&unacknowledged)))?;
    let mut next: HashMap<i32, i64> = HashMap::new();
    // Stretches that are read and not committed, with the offsets where they end.
    let mut read: VecDeque<(usize, HashMap<i32, i64>)> = VecDeque::new();
    let (mut stretch, mut began, mut polls) = (0, Instant::now(), 0_u32);
    while !terminated.load(Ordering::Acquire) {
        polls = polls.wrapping_add(1);
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            let payload = message.payload().unwrap_or_default();
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&options.to, stretch).payload(payload);
            record.key = message.key();
            unacknowledged.missing[stretch].fetch_add(1, Ordering::Relaxed);
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    return Err(error.into());
                }
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            next.insert(message.partition(), message.offset() + 1);
        } else {
            polls = 0;
        }
        // The clock costs something too.
        if polls.is_multiple_of(64) && began.elapsed() >= STRETCH {
            read.push_back((stretch, next.clone()));
            (stretch, began) = ((stretch + 1) % MOST_OPEN, Instant::now());
            commit(&consumer, &options.from, &unacknowledged, &mut read, CommitMode::Async)?;
        }
    }
    producer.flush(Duration::from_secs(30))?;
    read.push_back((stretch, next));
    commit(&consumer, &options.from, &unacknowledged, &mut read, CommitMode::Sync)
}

/// Commits where the last of the stretches ends that are acknowledged, as all before it are.
fn commit(
    consumer: &BaseConsumer,
    topic: &str,
    unacknowledged: &Unacknowledged,
    read: &mut VecDeque<(usize, HashMap<i32, i64>)>,
    mode: CommitMode,
) -> Outcome<()> {
    if unacknowledged.refused.load(Ordering::Acquire) {
        return Err("the broker has refused a message".into());
    }
    let mut ends = None;
    while let Some(first) =
        read.pop_front_if(|(stretch, _)| unacknowledged.missing[*stretch].load(Ordering::Acquire) == 0)
    {
        ends = Some(first.1);
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in ends.iter().flatten() {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    if list.count() > 0 {
        consumer.commit(&list, mode)?;
    }
    Ok(())
}
