//! A consumer's place in its group: which partitions it reads, and what happens when one comes or goes.
//!
//! All of it runs on the source's thread, inside `poll`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::admin::HasEvents;
use super::client::{Events, client_context};
use crate::delivery::Ledger;

/// The context of a source's consumer.
pub struct Group {
    events: Events,
    topic: String,
    ledger: Arc<Ledger>,
    /// How long a partition that is taken away waits for what is in flight of it.
    patience: Duration,
    partitions: Mutex<Partitions>,
    commit_failed: AtomicBool,
    closing: AtomicBool,
}

#[derive(Default)]
struct Partitions {
    next: u64,
    reading: HashMap<i32, Reading>,
    /// Whether what is assigned must not be fetched for now.
    on_hold: bool,
}

/// One stretch of reading a partition: from an assignment, or from where its offsets went back, to its end.
struct Reading {
    stretch: u64,
    last: Option<i64>,
    /// The last commit that was answered.
    committed: Option<i64>,
    paused: bool,
}

/// What a message that was polled is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one of a stretch.
    Next(u64),
    /// Its offset is not past the last one: the topic was made anew, or cut. See [`Group::restart`].
    Back,
    /// Of a partition that is not ours.
    Stray,
}

client_context!(Group);

impl HasEvents for Group {
    fn events(&self) -> &Events {
        &self.events
    }
}

impl Group {
    pub fn new(events: Events, topic: String, ledger: Arc<Ledger>, patience: Duration) -> Self {
        Self {
            events,
            topic,
            ledger,
            patience,
            partitions: Mutex::default(),
            commit_failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a message that was polled.
    pub fn arrived(&self, partition: i32, offset: i64) -> Arrival {
        self.events.up();
        let mut partitions = self.partitions();
        let Some(reading) = partitions.reading.get_mut(&partition) else { return Arrival::Stray };
        if reading.last.is_some_and(|last| offset <= last) {
            return Arrival::Back;
        }
        reading.last = Some(offset);
        Arrival::Next(reading.stretch)
    }

    /// Begins a new stretch of a partition whose offsets went back. What is in flight of the old one still counts: until
    /// it is delivered nothing of the new one is committed.
    pub fn restart(&self, partition: i32) {
        let mut partitions = self.partitions();
        partitions.next += 1;
        let stretch = partitions.next;
        if let Some(reading) = partitions.reading.get_mut(&partition) {
            (reading.stretch, reading.last) = (stretch, None);
            self.ledger.tracker().restart(partition);
        }
    }

    /// The partitions that are read now.
    pub fn assigned(&self) -> Vec<i32> {
        self.partitions().reading.keys().copied().collect()
    }

    /// Whether a stretch is still being read.
    pub fn is_current(&self, partition: i32, stretch: u64) -> bool {
        self.partitions().reading.get(&partition).is_some_and(|reading| reading.stretch == stretch)
    }

    /// Stops fetching, also for what is assigned later.
    pub fn hold(&self, consumer: &BaseConsumer<Self>) {
        let mut partitions = self.partitions();
        partitions.on_hold = true;
        self.pause(consumer, &mut partitions);
    }

    /// Fetches again. Only what was paused is resumed: librdkafka takes a partition that was not back to where it began.
    pub fn release(&self, consumer: &BaseConsumer<Self>) {
        let mut partitions = self.partitions();
        partitions.on_hold = false;
        let paused = partitions.reading.iter_mut().filter_map(|(p, r)| std::mem::take(&mut r.paused).then_some(*p));
        if let Err(error) = consumer.resume(&self.list(paused)) {
            tracing::warn!(target: "kafka", topic = %self.topic, "cannot resume: {error}");
        }
    }

    fn pause(&self, consumer: &BaseConsumer<Self>, partitions: &mut Partitions) {
        let fetching =
            partitions.reading.iter_mut().filter_map(|(p, r)| (!std::mem::replace(&mut r.paused, true)).then_some(*p));
        if let Err(error) = consumer.pause(&self.list(fetching)) {
            tracing::warn!(target: "kafka", topic = %self.topic, "cannot pause: {error}");
        }
    }

    fn list(&self, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }

    /// Asks for a commit of what may be committed and is not; the answer comes to `commit_callback`, or with `Sync` is
    /// waited for. Gives what it asked for.
    pub fn commit(&self, consumer: &BaseConsumer<Self>, mode: CommitMode) -> Vec<(i32, i64)> {
        let offsets = self.ledger.tracker().committable();
        if offsets.is_empty() {
            return offsets;
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &offsets {
            // It fails for negative offsets only, and there are none.
            let _ = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset));
        }
        if let Err(error) = consumer.commit(&list, mode) {
            self.not_committed(&error, offsets.iter().map(|(partition, _)| *partition));
        }
        offsets
    }

    fn not_committed(&self, error: &KafkaError, partitions: impl IntoIterator<Item = i32>) {
        tracing::debug!(target: "kafka", topic = %self.topic, "offsets are not committed yet, trying again: {error}");
        self.commit_failed.store(true, Ordering::Relaxed);
        self.ledger.tracker().not_committed(partitions);
    }

    /// Commits everything that may be, and waits for the answer; says whether it came in time. After this, partitions
    /// go without waiting and without a commit. (Not `CommitMode::Sync`, which waits for a broker that is away.)
    pub fn commit_last(&self, consumer: &BaseConsumer<Self>, deadline: Instant) -> bool {
        let all: Vec<i32> = self.partitions().reading.keys().copied().collect();
        self.ledger.tracker().not_committed(all);
        let answered = loop {
            self.commit_failed.store(false, Ordering::Relaxed);
            let asked = self.commit(consumer, CommitMode::Async);
            while !self.is_committed(&asked) && !self.commit_failed.load(Ordering::Relaxed) && Instant::now() < deadline
            {
                // What comes now is the next reader's.
                let _ = consumer.poll(Duration::from_millis(50));
            }
            if self.is_committed(&asked) {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            let _ = consumer.poll(Duration::from_millis(50));
        };
        self.closing.store(true, Ordering::Relaxed);
        answered
    }

    fn is_committed(&self, offsets: &[(i32, i64)]) -> bool {
        let partitions = self.partitions();
        offsets.iter().all(|(partition, offset)| match partitions.reading.get(partition) {
            Some(reading) => reading.committed.is_some_and(|committed| committed >= *offset),
            None => true, // It was taken away, with a commit.
        })
    }

    fn taken(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let taken: Vec<i32> =
            list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        // Before the wait: what was polled and not passed on yet is the next owner's.
        self.partitions().reading.retain(|partition, _| !taken.contains(partition));
        let closing = self.closing.load(Ordering::Relaxed);
        if consumer.assignment_lost() {
            // Another owns them, and may have read past us.
            tracing::warn!(target: "kafka", topic = %self.topic, partitions = ?taken, "partitions were lost; what is in flight of them will be read again");
        } else if !closing {
            if !self.ledger.wait_until(self.patience, |tracker| !tracker.has_open(&taken)) {
                tracing::info!(target: "kafka", topic = %self.topic, partitions = ?taken, "partitions go to another process with rows in flight; they will be read again");
            }
            // What was handed out may still be on its way, and would come too late.
            self.ledger.tracker().not_committed(taken.iter().copied());
            self.commit(consumer, CommitMode::Sync);
        }
        let mut tracker = self.ledger.tracker();
        for partition in &taken {
            tracker.revoke(*partition);
        }
    }

    fn given(&self, list: &TopicPartitionList) {
        let mut partitions = self.partitions();
        let mut tracker = self.ledger.tracker();
        for element in list.elements() {
            partitions.next += 1;
            let reading = Reading { stretch: partitions.next, last: None, committed: None, paused: false };
            partitions.reading.insert(element.partition(), reading);
            tracker.assign(element.partition());
        }
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::info!(target: "kafka", topic = %self.topic, partitions = ?numbers(list), "partitions assigned");
                self.given(list);
            }
            Rebalance::Revoke(list) => {
                tracing::info!(target: "kafka", topic = %self.topic, partitions = ?numbers(list), "partitions taken back");
                self.taken(consumer, list);
            }
            Rebalance::Error(error) => {
                tracing::warn!(target: "kafka", topic = %self.topic, "the group could not be balanced: {error}");
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut partitions = self.partitions();
        if matches!(rebalance, Rebalance::Assign(_)) && partitions.on_hold {
            self.pause(consumer, &mut partitions);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            return self.not_committed(&error, numbers(offsets));
        }
        self.events.up();
        for element in offsets.elements() {
            let partition = element.partition();
            if let Err(error) = element.error() {
                self.not_committed(&error, [partition]);
            } else if let Offset::Offset(offset) = element.offset()
                && let Some(reading) = self.partitions().reading.get_mut(&partition)
            {
                reading.committed = Some(offset);
            }
        }
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}
