//! A consumer's place in its group: which partitions it reads, and what happens when they are assigned or revoked.
//!
//! Rebalances are handled on the source's thread, inside `poll`. Commits come from there and from `committer`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::{Offset, TopicPartitionList};

use super::admin::HasEvents;
use super::client::{Events, client_context};
use crate::delivery::Ledger;

/// The context of a source's consumer.
pub struct Group {
    events: Events,
    topic: String,
    ledger: Arc<Ledger>,
    /// How long a revoked partition waits for its rows in flight.
    patience: Duration,
    partitions: Mutex<Partitions>,
    committing: Mutex<()>,
    closing: AtomicBool,
}

#[derive(Default)]
struct Partitions {
    next: u64,
    reading: HashMap<i32, Reading>,
    /// Whether newly assigned partitions start paused.
    on_hold: bool,
}

/// One stretch of reading a partition: from its assignment, or from where its offsets went back, to its end.
struct Reading {
    stretch: u64,
    last: Option<i64>,
    paused: bool,
}

/// How a polled message fits its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one of a stretch.
    Next(u64),
    /// Its offset is not past the last one: the topic was recreated or truncated. See [`Group::restart`].
    Back,
    /// Its partition is not ours.
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
            committing: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a polled message.
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

    /// Begins a new stretch of a partition whose offsets went back. The old stretch's rows in flight still count:
    /// nothing of the new stretch is committed until they are delivered.
    pub fn restart(&self, partition: i32) {
        let mut partitions = self.partitions();
        partitions.next += 1;
        let stretch = partitions.next;
        if let Some(reading) = partitions.reading.get_mut(&partition) {
            (reading.stretch, reading.last) = (stretch, None);
            self.ledger.tracker().restart(partition);
        }
    }

    /// The partitions that are assigned now.
    pub fn assigned(&self) -> Vec<i32> {
        self.partitions().reading.keys().copied().collect()
    }

    /// Whether a stretch is still being read.
    pub fn is_current(&self, partition: i32, stretch: u64) -> bool {
        self.partitions().reading.get(&partition).is_some_and(|reading| reading.stretch == stretch)
    }

    /// Pauses fetching, also for partitions that are assigned later.
    pub fn hold(&self, consumer: &BaseConsumer<Self>) {
        let mut partitions = self.partitions();
        partitions.on_hold = true;
        self.pause(consumer, &mut partitions);
    }

    /// Resumes fetching. Only paused partitions are resumed: librdkafka moves a partition that was not paused back to
    /// its start.
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

    /// Commits what can be committed, and waits for the answer. Returns whether nothing is left to commit.
    pub fn commit(&self, consumer: &BaseConsumer<Self>) -> bool {
        // One at a time: an earlier offset that is committed later would move the group back.
        let _one = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = self.ledger.tracker().committable();
        if offsets.is_empty() {
            return true;
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &offsets {
            // It fails for negative offsets only, and there are none.
            let _ = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset));
        }
        match consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => {
                self.events.up();
                true
            }
            Err(error) => {
                tracing::debug!(target: "kafka", topic = %self.topic, "offsets are not committed yet, retrying: {error}");
                self.ledger.tracker().not_committed(offsets.iter().map(|(partition, _)| *partition));
                false
            }
        }
    }

    /// From now on, revoked partitions neither wait nor commit.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn taken(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let taken = numbers(list);
        // Before the wait: the next owner gets what was polled and not passed on.
        self.partitions().reading.retain(|partition, _| !taken.contains(partition));
        let closing = self.closing.load(Ordering::Relaxed);
        if consumer.assignment_lost() {
            // Another process owns them, and may have read past us.
            tracing::warn!(target: "kafka", topic = %self.topic, partitions = ?taken, "partitions were lost; their rows in flight will be redelivered");
        } else if !closing {
            if !self.ledger.wait_until(self.patience, |tracker| !tracker.has_open(&taken)) {
                tracing::info!(target: "kafka", topic = %self.topic, partitions = ?taken, "partitions were revoked with rows in flight, which will be redelivered");
            }
            self.commit(consumer);
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
            let reading = Reading { stretch: partitions.next, last: None, paused: false };
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
                tracing::info!(target: "kafka", topic = %self.topic, partitions = ?numbers(list), "partitions revoked");
                self.taken(consumer, list);
            }
            Rebalance::Error(error) => {
                tracing::warn!(target: "kafka", topic = %self.topic, "the group could not be rebalanced: {error}");
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut partitions = self.partitions();
        if matches!(rebalance, Rebalance::Assign(_)) && partitions.on_hold {
            self.pause(consumer, &mut partitions);
        }
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}
