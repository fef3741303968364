//! Which offsets may be committed, as pure code: no clock, no lock, no Kafka.
//!
//! **Invariant**: what is committable of a partition never passes a row that is not delivered.

use std::collections::{BTreeMap, HashMap};

/// A micro-batch in a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(u64);

/// Offsets `first..=last` of a partition, all of which are in one micro-batch. Gaps (compaction, transaction markers)
/// are nobody's rows and may be inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last offset, itself included.
    pub last: i64,
}

/// What was read, what of it is delivered, and so what may be committed.
#[derive(Debug, Default)]
pub struct OffsetTracker {
    next_batch: u64,
    next_assignment: u64,
    partitions: HashMap<i32, Partition>,
    open: HashMap<BatchId, Open>,
    rows: usize,
    bytes: usize,
    any_lost: bool,
}

#[derive(Debug)]
struct Partition {
    /// Tells this assignment from an earlier one of the same partition: what was read then says nothing now.
    assignment: u64,
    /// Assignments that ended in a restart, and how many of their ranges are not delivered. While there are any, nothing
    /// is committable.
    restarted: Vec<u64>,
    held_by: usize,
    /// Ranges that were read and not yet passed, by first offset.
    pending: BTreeMap<i64, Pending>,
    /// The offset to commit: one past the last that is delivered without a gap.
    position: Option<i64>,
    /// What was last handed out to be committed.
    handed_out: Option<i64>,
}

#[derive(Debug)]
struct Pending {
    last: i64,
    delivered: bool,
}

#[derive(Debug)]
struct Open {
    ranges: Vec<(u64, OffsetRange)>,
    rows: usize,
    bytes: usize,
}

impl OffsetTracker {
    /// The partition is ours from now on, and nothing of it has been read.
    pub fn assign(&mut self, partition: i32) {
        self.next_assignment += 1;
        let fresh = Partition {
            assignment: self.next_assignment,
            restarted: Vec::new(),
            held_by: 0,
            pending: BTreeMap::new(),
            position: None,
            handed_out: None,
        };
        self.partitions.insert(partition, fresh);
    }

    /// The partition's offsets went back while it was ours (its topic was made anew), so that those of before and of
    /// after cannot be compared. Nothing is committable until what was read before is delivered; then only what came
    /// after counts.
    pub fn restart(&mut self, partition: i32) {
        let Some(old) = self.partitions.remove(&partition) else { return };
        self.assign(partition);
        if let Some(new) = self.partitions.get_mut(&partition) {
            new.held_by = old.held_by + old.pending.values().filter(|p| !p.delivered).count();
            new.restarted = old.restarted;
            new.restarted.push(old.assignment);
        }
    }

    /// The partition is no longer ours: nothing of it may be committed, whatever is still delivered.
    pub fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// A micro-batch was read. Ranges of partitions that are not assigned are not tracked, as they cannot be committed.
    pub fn begin(&mut self, ranges: Vec<OffsetRange>, rows: usize, bytes: usize) -> BatchId {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        let mut tracked = Vec::with_capacity(ranges.len());
        for range in ranges {
            if let Some(partition) = self.partitions.get_mut(&range.partition) {
                partition.pending.insert(range.first, Pending { last: range.last, delivered: false });
                tracked.push((partition.assignment, range));
            }
        }
        self.rows += rows;
        self.bytes += bytes;
        self.open.insert(id, Open { ranges: tracked, rows, bytes });
        id
    }

    /// Everything that came of the batch is delivered.
    pub fn delivered(&mut self, batch: BatchId) {
        for (assignment, range) in self.close(batch) {
            let Some(partition) = self.partitions.get_mut(&range.partition) else { continue };
            if partition.assignment != assignment {
                if partition.restarted.contains(&assignment) {
                    partition.held_by -= 1;
                }
                continue;
            }
            if let Some(pending) = partition.pending.get_mut(&range.first) {
                pending.delivered = true;
            }
            while let Some(first) = partition.pending.first_entry() {
                if !first.get().delivered {
                    break;
                }
                partition.position = Some(first.remove().last + 1);
            }
        }
    }

    /// The batch will not be delivered by this process: its offsets hold back every later one of their partitions.
    pub fn lost(&mut self, batch: BatchId) {
        self.any_lost |= self.open.contains_key(&batch);
        self.close(batch);
    }

    /// `rows` of an open batch are through all that is slow: they make room for others. What may be committed does not
    /// change.
    pub fn release(&mut self, batch: BatchId, rows: usize) {
        if let Some(open) = self.open.get_mut(&batch) {
            let released = rows.min(open.rows);
            open.rows -= released;
            self.rows -= released;
        }
    }

    /// Whether every batch is delivered or lost.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether every batch was delivered, and none was lost on the way.
    #[must_use]
    pub fn all_delivered(&self) -> bool {
        self.open.is_empty() && !self.any_lost
    }

    fn close(&mut self, batch: BatchId) -> Vec<(u64, OffsetRange)> {
        let Some(open) = self.open.remove(&batch) else { return Vec::new() };
        self.rows -= open.rows;
        self.bytes -= open.bytes;
        open.ranges
    }

    /// The partitions whose committable offset has moved since the last call, with the offset to commit (the next one
    /// to read), by partition.
    pub fn committable(&mut self) -> Vec<(i32, i64)> {
        let mut moved: Vec<(i32, i64)> = Vec::new();
        for (id, partition) in &mut self.partitions {
            if let Some(position) = partition.position
                && partition.held_by == 0
                && partition.handed_out != Some(position)
            {
                partition.handed_out = Some(position);
                moved.push((*id, position));
            }
        }
        moved.sort_unstable();
        moved
    }

    /// A commit failed: what was handed out is handed out again.
    pub fn not_committed(&mut self, partitions: impl IntoIterator<Item = i32>) {
        for id in partitions {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.handed_out = None;
            }
        }
    }

    /// Rows of batches that are neither delivered nor lost, less those that were released.
    #[must_use]
    pub fn rows_in_flight(&self) -> usize {
        self.rows
    }

    /// Payload bytes of batches that are neither delivered nor lost.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes
    }

    /// Whether a batch that holds rows of one of these partitions is still open.
    #[must_use]
    pub fn has_open(&self, partitions: &[i32]) -> bool {
        self.open.values().any(|open| open.ranges.iter().any(|(_, r)| partitions.contains(&r.partition)))
    }
}
